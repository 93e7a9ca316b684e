"""What a regression on single players leaves over, smoothed over coalitions: a Gaussian process whose Shapley values are known in closed form.

The residuals of paired coalitions are odd functions of them, that is sums over sets S of an odd number of players of c_S prod_{j in S} z_j with z = +1 or
-1. The prior gives all sets of a size k the same variance, so the covariance of two coalitions hangs on how many players they differ in, by Krawtchouk's
polynomials; and prod_S z gives each player in S the Shapley value 2 / |S|. How fast the variance falls with the size is chosen, for each game, by leaving
one pair out (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, section 5.4.2, equation 5.12). Bayesian quadrature in the sense of
O'Hagan 1991 (doi:10.1016/0378-3758(91)90002-V); the use on coalitions is ours, after the regression adjustment of Witter et al. 2025 (arXiv:2506.11849).
"""

from __future__ import annotations

from math import comb
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.frames import Floats

__all__ = ["Kriging"]

FALLS: Final = (0.02, 0.1, 0.3, 0.7)  # variance of size k + 2 over that of size k
SIZES: Final = (1, 3, 5, 7, 9)
FREE: Final = 1e3  # variance of single players over that of triples: they are hardly shrunk
JITTER: Final = 1e-6


@final
class Kriging:
    """Linear maps from residuals to Shapley values and to leave-one-out residuals, for each fall; they are the same for every row."""

    def __init__(self, coalitions: npt.NDArray[np.bool_], drawn: npt.NDArray[np.bool_]) -> None:
        """`coalitions` (pairs, players), one of each pair; `drawn` (pairs,): those that were drawn, by which falls are compared."""
        pairs, players = coalitions.shape
        signs = np.concatenate(
            [np.where(coalitions, 1.0, -1.0), np.ones((1, players))]
        )  # the full one is known too: nothing is left over there
        apart = np.rint((players - signs @ signs.T) / 2).astype(int)
        against = np.rint((players - signs.sum(axis=1)) / 2).astype(int)[:, None] - (signs < 0)  # of the others
        sizes = [k for k in SIZES if k <= players]
        kernels = [_krawtchouk(players, k) / comb(players, k) for k in sizes]
        slopes = [_krawtchouk(players - 1, k - 1) * 2 / k / comb(players, k) for k in sizes]
        self._drawn, self._pairs = drawn, pairs
        self._ways: list[tuple[Floats, Floats, Floats]] = []
        for fall in FALLS:
            variances = [FREE if k == 1 else fall ** ((k - 3) / 2) for k in sizes]
            covariance = (np.array(variances) @ np.array(kernels))[apart]
            inverse = np.linalg.inv(covariance + JITTER * np.eye(pairs + 1))
            value = (np.array(variances) @ np.array(slopes))[against] * signs
            self._ways.append((value.T @ inverse, inverse, np.diag(inverse)[:, None]))

    def __call__(self, residuals: Floats) -> tuple[Floats, Floats]:
        """Residuals (pairs, targets) -> what they add to the values (players, targets), and what is left of each when it is left out."""
        known = np.concatenate([residuals, np.zeros((1, residuals.shape[1]))])
        best: Any = None
        for to_values, inverse, diagonal in self._ways:
            out = ((inverse @ known) / diagonal)[: self._pairs]
            score = (out[self._drawn] ** 2).mean(axis=0)
            found = to_values @ known
            if best is None:
                best = [score, found, out]
                continue
            better = score < best[0]
            best = [np.where(better, new, old) for new, old in zip((score, found, out), best, strict=True)]
        return best[1], best[2]


def _krawtchouk(n: int, k: int) -> Floats:
    """Sums over the sets of k of n signs, h of them negative, of the product in the set; for h = 0 ... n."""
    return np.array(
        [float(sum((-1) ** j * comb(h, j) * comb(n - h, k - j) for j in range(k + 1))) for h in range(n + 1)]
    )
