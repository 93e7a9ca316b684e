"""Shapley values from few pairs of coalitions: a Gaussian process over coalitions, whose Shapley values are known in closed form.

With z = +1 for a player who is there and -1 else, half the difference of a pair is a sum over sets S of an odd number of players of c_S prod_{j in S} z_j,
and prod_S z gives each player in S the Shapley value 2 / |S|. The prior gives c_S the variance t_|S| prod_{j in S} w_j. Single players are free, a
regression within the process; t falls with the size; what is left is white noise over pairs, whose Shapley values are known too. Sums over all sets of
a size are elementary symmetric polynomials, by Newton's identities. The weights w_j say who takes part in interactions. They are learnt from the other half of what was asked:
the mean of a pair holds the sets of even size, above all the pairs of players, and no Shapley value. How fast t falls, and how much noise there is,
maximise the marginal likelihood (Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, equations 2.25, 2.26, 2.45 and 5.8). Errors are those of
the posterior, or larger by as much as pairs that are left out, one by one, are further off than it says.

Bayesian quadrature in the sense of O'Hagan 1991 (doi:10.1016/0378-3758(91)90002-V). That a pair's difference holds the odd sets alone: Covert & Lee 2021
(arXiv:2012.01536), section 4.2; a surrogate of interactions under the regression: Witter et al. 2025 (arXiv:2506.11849). The kernel, and weights from the
even half, are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, factorial
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats

__all__ = ["Kriging"]

MEAN_VARIANCE: Final = 1e3  # variance of the mean over that of pairs of players, while weights are learnt
FALLS_TRIED: Final = (0.003, 0.01, 0.03, 0.1, 0.3)  # variance of size k + 2 over that of size k
NOISES_TRIED: Final = (1e-6, 1e-4, 1e-2, 1.0)  # of a pair, over the variance of its triples
MAX_SET_SIZE: Final = 7  # larger sets are left to the noise
LEARNING_ROUNDS: Final = 4  # of learning weights
DEFAULT_FALL_AND_NOISE: Final = (0.1, 1e-4)  # fall and noise while weights are learnt
MIN_PLAYER_SHARE: Final = 1e-3  # of the largest: a player's share in interactions
SHARE_POWER: Final = 0.7  # of that share: 1 where variances are products; 0.7 found values of networks best
EXCHANGEABLE_SHARE: Final = 0.02  # share of sets whose variance does not hang on who is in them
ROUNDING_SHARE: Final = (
    1e-5  # sums over sets of a size that are less than this share of what they could be are rounding
)
ERROR_FACTOR: Final = 1.1  # errors, since weights, fall and noise were chosen by these very numbers; and Student's t of few pairs is wider than a normal
MAX_PAIRS_FOR_LEARNING: Final = 400  # pairs by which weights, fall and noise are chosen; the work grows with their cube


@final
class Kriging:
    """Shapley values and their variances from what a pair of coalitions is worth; one for all rows that share a design."""

    def __init__(self, coalitions: npt.NDArray[np.bool_]) -> None:
        """`coalitions` (pairs, players), one of each pair; the pair of all and none is known too, and comes last."""
        players = coalitions.shape[1]
        self._signs = np.concatenate([np.where(coalitions, 1.0, -1.0), np.ones((1, players))])
        self._orders = [k for k in range(1, MAX_SET_SIZE + 1, 2) if k <= players]
        self._fit = np.linalg.pinv(self._signs)
        self._rest = _beyond(self._signs)
        self._some = slice(None, None, max(1, len(self._signs) // max(MAX_PAIRS_FOR_LEARNING, 3 * players)))
        self._some_rest = self._rest if self._some.step == 1 else _beyond(self._signs[self._some])
        # Shapley's weights of a pair, of which one has the player: white noise over pairs has Shapley values too
        of = [2 / (players * comb(players - 1, k)) for k in range(players)]
        size = (self._signs > 0).sum(axis=1)[:, None]
        inside, outside = np.array([0.0, *of])[size], np.array([*of, 0.0])[size]
        self._noise = np.where(self._signs > 0, inside, -outside)
        self._noise_prior = sum(comb(players - 1, k) * of[k] ** 2 for k in range(players))
        self._alike = _terms(self._signs, np.ones(players), self._orders[1:])

    def __call__(self, halves: Floats, means: Floats) -> tuple[Floats, Floats]:
        """Half the differences of pairs (pairs + 1, targets), their means (pairs, targets) -> values and variances (players, targets)."""
        each = [self._one(halves[:, t], self._weights(means[:, t])) for t in range(halves.shape[1])]
        return np.stack([e[0] for e in each], axis=1), np.stack([e[1] for e in each], axis=1)

    def _weights(self, means: Floats) -> Floats:
        """How much each player takes part in interactions: by the energy of the pairs of players that it is in, as a process on the means sees them."""
        some = self._some
        z, y = self._signs[:-1][some], means[some] - means[some].mean()
        w = np.ones(z.shape[1])
        fall, noise = DEFAULT_FALL_AND_NOISE
        for _ in range(LEARNING_ROUNDS):
            e, whole = _sums(z, z, w, 4), _symmetric(lambda i, w=w: (w**i).sum(), 4)  # type: ignore[misc]
            covariance = MEAN_VARIANCE + e[2] / whole[2] + fall * e[4] / whole[4] + noise * np.eye(len(y))
            together = np.outer(w, w) * ((z.T * np.linalg.solve(covariance, y)) @ z)
            energy = (together**2).sum(axis=1) - np.diag(together) ** 2
            w = (energy / max(energy.max(), np.finfo(float).tiny) + MIN_PLAYER_SHARE) ** SHARE_POWER
            w /= w.mean()
        return w

    def _one(self, halves: Floats, w: Floats) -> tuple[Floats, Floats]:
        """Values and variances (players,) of one target, from (pairs + 1,)."""
        z, fit, rest = self._signs, self._fit, self._rest
        terms = self._mixed(w)
        fall, noise = self._chosen(halves, [t[0] for t in terms])
        covariance = noise * np.eye(len(z))
        slopes, prior = noise * self._noise, np.full(z.shape[1], noise * self._noise_prior)
        for k, (kernel, slope, own) in enumerate(terms):
            covariance += fall**k * kernel
            slopes += fall**k * slope
            prior += fall**k * own
        # of the values less those of the regression, on which single players have no bearing
        apart = slopes - 2 * covariance @ fit.T
        prior += 4 * np.einsum("in,in->i", fit, fit @ covariance - slopes.T)
        inverse = np.asarray(np.linalg.inv(rest.T @ covariance @ rest), dtype=np.float64)
        left, seen = rest.T @ halves, rest.T @ apart
        free, weighed = len(left), inverse @ left
        scale = max(float(left @ weighed) / free, _surprise(rest[:-1], inverse, weighed))
        spread = np.maximum(prior - np.einsum("ni,ni->i", seen, inverse @ seen), 0.0)
        return 2 * fit @ halves + seen.T @ weighed, spread * scale * (ERROR_FACTOR * (1 + 1.2 / free)) ** 2

    def _mixed(self, w: Floats) -> list[tuple[Floats, ...]]:
        """What _terms gives for these weights, with a share of what it gives where all are alike."""
        out = []
        whole = _symmetric(lambda i: (w**i).sum(), self._orders[-1])
        for k, own, alike in zip(self._orders[1:], _terms(self._signs, w, self._orders[1:]), self._alike, strict=True):
            # few players with nearly all the weight: sums over larger sets are differences of large numbers
            share = EXCHANGEABLE_SHARE if whole[k] > ROUNDING_SHARE * len(w) ** k / factorial(k) else 1.0
            out.append(tuple((1 - share) * a + share * b for a, b in zip(own, alike, strict=True)))
        return out

    def _chosen(self, halves: Floats, kernels: list[Floats]) -> tuple[float, float]:
        """Fall and noise of the largest marginal likelihood, its scale being the best one."""
        some, rest = self._some, self._some_rest
        left, eye = rest.T @ halves[some], np.eye(rest.shape[1])
        kernels = [rest.T @ k[some, some] @ rest for k in kernels]
        left = left / max(float(np.abs(left).max()), np.finfo(float).tiny)
        bordered = np.empty((len(left) + 1, len(left) + 1))
        bordered[-1, :-1] = bordered[:-1, -1] = left
        bordered[-1, -1] = 2 * len(left) / NOISES_TRIED[0]  # more than left' inverse left
        best = (np.inf, FALLS_TRIED[0], NOISES_TRIED[0])
        for fall in FALLS_TRIED:
            covariance = sum(fall**k * kernel for k, kernel in enumerate(kernels))
            for noise in NOISES_TRIED:
                # with `left` as one more row and column, the last row of the root is the root's inverse times it
                bordered[:-1, :-1] = covariance + noise * eye
                root = np.linalg.cholesky(bordered)
                u, spread = root[-1, :-1], np.diag(root)[:-1]
                unlikely = len(u) * np.log(max(float(u @ u), np.finfo(float).tiny)) + 2 * np.log(spread).sum()
                best = min(best, (float(unlikely), fall, noise))
        return best[1:]


def _beyond(signs: Floats) -> Floats:
    """An orthonormal basis (pairs, pairs - players) of what no regression on single players explains."""
    return np.asarray(np.linalg.qr(signs, mode="complete")[0][:, signs.shape[1] :])


def _surprise(rest: Floats, inverse: Floats, weighed: Floats) -> float:
    """How far each pair is from what the others say of it, squared, over the variance that the process gives that: the mean over pairs.

    Where fall and noise are those of the game, this is the process's own scale but for chance. Where they are not, that scale is a mean over all there is,
    most of which is known by now; what values still lack is pairs that were not asked, and those are like pairs that are left out.
    """
    # one over the variance of a pair when all others are known (Rasmussen & Williams, equation 5.12)
    alone = np.einsum("nf,nf->n", rest @ inverse, rest)
    return float(np.mean((rest @ weighed) ** 2 / np.maximum(alone, np.finfo(float).tiny)))


def _terms(z: Floats, w: Floats, orders: list[int]) -> list[tuple[Floats, Floats, Floats]]:
    """For each size of sets, of variance 1 in all: covariances of pairs, of values with pairs, variances of values."""
    e, whole = _sums(z, z, w, orders[-1]), _symmetric(lambda i: (w**i).sum(), orders[-1])
    others = _symmetric(lambda i: ((z**i) @ w**i)[:, None] - (z * w) ** i, orders[-1])
    behind = _symmetric(lambda i: (w**i).sum() - w**i, orders[-1])
    return [
        (e[k] / whole[k], 2 / k * z * w * others[k - 1] / whole[k], 4 / k**2 * w * behind[k - 1] / whole[k])
        for k in orders
    ]


def _symmetric(power: Callable[[int], Floats], highest: int) -> list[Floats]:
    """Elementary symmetric polynomials of sizes 0 ... `highest` from sums of powers (Newton's identities)."""
    p = [power(i) for i in range(1, highest + 1)]
    out = [np.ones_like(p[0])]
    for k in range(1, highest + 1):
        out.append(sum((-1) ** (i - 1) * out[k - i] * p[i - 1] for i in range(1, k + 1)) / k)
    return out


def _sums(a: Floats, b: Floats, w: Floats, highest: int) -> list[Floats]:
    """Sums over the sets of each size of prod_j w_j a_j b_j, for every two rows of signs."""
    return _symmetric(lambda i: (a * w**i) @ b.T if i % 2 else np.full((len(a), len(b)), (w**i).sum()), highest)
