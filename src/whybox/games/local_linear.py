"""The local linear fit of one game, as LIME defines it: which coalitions to evaluate, and coefficients with standard errors from their worths.

The law is that of Ribeiro, Singh & Guestrin 2016 (LIME, arXiv:1602.04938), section 3, as their package has it for pictures: each player is present with
probability 1/2, and a coalition of m of M players has the weight sqrt(exp(-d^2 / width^2)), where d = 1 - sqrt(m / M) is the cosine distance between its mask
and that of all players (1 for the empty one). The coefficients are those of the weighted least squares of the worth on the mask. Weights depend on sizes
alone, so the law of a size is known, and all coalitions of a size are alike.

Where all coalitions fit into the budget, the coefficients are exact. Else coalitions are drawn from the weighted law itself, so that none is evaluated for nothing;
stratified by size (Rashid et al. 2024, Using Stratified Sampling to Improve LIME Image Explanations, AAAI, strata of sizes as well); and no coalition twice. Sizes of
which the law would draw all coalitions are enumerated. Errors are the sandwich errors of the regression, each residual taken without its own coalition (HC3), with the
correction for finite populations.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, lgamma
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.exact import all_coalitions
from whybox.games.sampling import draw_of_size, systematic_counts
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = [
    "LocalDesign",
    "LocalFit",
    "draw_local_design",
    "fit_local_linear",
    "min_local_evaluations",
    "size_law",
    "size_weights",
]

Coalitions = npt.NDArray[np.bool_]
MIN_DRAWN: Final = 16  # evaluations beyond the coefficients: the residuals have to be estimated
MAX_LEVERAGE: Final = 0.95  # of one coalition; beyond, its own residual tells nothing


@final
@dataclass(frozen=True)
class LocalDesign:
    """Which coalitions are evaluated.

    Attributes:
        coalitions: (evaluations, players). weights: of each in the regression; they add up to 1.
        undrawn_share: (evaluations,), the share of the coalitions of this size that was not drawn; 0 where all were.
        mean_weight: the mean of the weights of draws with probability 1/2, which says what a ridge penalty is held against.
    """

    coalitions: Coalitions
    weights: Floats
    undrawn_share: Floats
    mean_weight: float

    @property
    def is_exact(self) -> bool:
        """True if all coalitions are evaluated."""
        return not self.undrawn_share.any()

    @property
    def effective_share(self) -> float:
        """How many equally weighted coalitions would tell as much, as a share of those evaluated: (sum w)^2 / (n sum w^2)."""
        return float(self.weights.sum() ** 2 / (len(self.weights) * (self.weights**2).sum()))


@final
@dataclass(frozen=True)
class LocalFit:
    """The fit of each output.

    Attributes:
        coefficients, variances: (players, outputs). intercept: (outputs,). r_squared: (outputs,), of the weighted law; NaN where the worths do not vary.
    """

    coefficients: Floats
    variances: Floats
    intercept: Floats
    r_squared: Floats

    @property
    def local_prediction(self) -> Floats:
        """The fit where all players are present, (outputs,)."""
        return np.asarray(self.intercept + self.coefficients.sum(axis=0))


def size_weights(players: int, kernel_width: float) -> Floats:
    """Return the weight of a coalition of each size, (players + 1,)."""
    return np.asarray(np.exp(_log_weights(players, kernel_width)))


def size_law(players: int, kernel_width: float) -> Floats:
    """Return the share of each size in the weighted law, (players + 1,): proportional to the number of its coalitions times their weight."""
    logs = _log_counts(players) + _log_weights(players, kernel_width)
    law = np.exp(logs - logs.max())
    return np.asarray(law / law.sum())


def _log_weights(players: int, kernel_width: float) -> Floats:
    distance = 1 - np.sqrt(np.arange(players + 1) / players)
    return np.asarray(-(distance**2) / (2 * kernel_width**2))


def _log_counts(players: int) -> Floats:
    """Log of the number of coalitions of each size."""
    return np.array([lgamma(players + 1) - lgamma(m + 1) - lgamma(players - m + 1) for m in range(players + 1)])


def min_local_evaluations(players: int) -> int:
    """Return the fewest evaluations that give coefficients and errors."""
    evaluations = 2 * (players + 1) + MIN_DRAWN
    return min(2**players, evaluations) if players < 30 else evaluations


def draw_local_design(players: int, evaluations: int, kernel_width: float, draw: np.random.Generator) -> LocalDesign:
    """Choose the coalitions, the empty and the full one among them.

    Args:
        players: 1 or more. evaluations: at least ``min_local_evaluations(players)``. draw: random numbers.
    """
    law, weights = size_law(players, kernel_width), size_weights(players, kernel_width)
    mean_weight = float((np.exp(_log_counts(players) - players * np.log(2.0)) * weights).sum())
    if players < 30 and 2**players <= evaluations:
        every = all_coalitions(players)
        own = weights[every.sum(axis=1)]
        return LocalDesign(every, own / own.sum(), np.zeros(len(every)), mean_weight)
    population = np.array([float(comb(players, m)) for m in range(players + 1)])
    counts = _counts_of_sizes(law, population, evaluations, draw)
    complete = counts == population
    each = law[~complete].sum() / max(int(counts[~complete].sum()), 1)
    parts, own_weights, undrawn = [], [], []
    for m in np.flatnonzero(counts).tolist():
        n = int(counts[m])
        parts.append(draw_of_size(players, m, n, int(population[m]), draw, paired=False))
        own_weights.append(np.full(n, law[m] / n if complete[m] else each))
        undrawn.append(np.full(n, 1 - n / population[m]))
    w = np.concatenate(own_weights)
    return LocalDesign(np.concatenate(parts), w / w.sum(), np.concatenate(undrawn), mean_weight)


def _counts_of_sizes(
    law: Floats, population: Floats, evaluations: int, draw: np.random.Generator
) -> npt.NDArray[np.int64]:
    """How many coalitions of each size: all where the law would draw as many, and of the others systematically, each by its share."""
    complete = np.zeros(len(law), dtype=bool)
    complete[[0, -1]] = True
    while True:
        left = int(evaluations - population[complete].sum())
        more = ~complete & (population * law[~complete].sum() <= left * law)
        if not more.any() or population[complete | more].sum() >= evaluations:
            break
        complete |= more
    counts = np.where(complete, population, 0).astype(np.int64)
    others = np.flatnonzero(~complete)
    drawn = systematic_counts(np.cumsum(law[others]), left, draw)
    counts[others] = np.minimum(drawn, population[others])
    return counts


def fit_local_linear(design: LocalDesign, worths: Floats, penalty: float = 0.0) -> LocalFit:
    """Return the weighted least squares of the worths on the masks.

    Args:
        design: the coalitions. worths: of each, (evaluations, outputs).
        penalty: of the squared coefficients, beside weights that add up to 1.
    """
    players = design.coalitions.shape[1]
    x = np.column_stack([np.ones(len(worths)), design.coalitions])
    root = np.sqrt(design.weights)[:, None]
    ridge = np.sqrt(penalty) * np.eye(players + 1)[1:]
    q, r = np.linalg.qr(np.concatenate([root * x, ridge]) if penalty else root * x)
    q = q[: len(x)]
    to_coefficients = np.linalg.solve(r, q.T) * root.T  # (players + 1, evaluations)
    fitted = to_coefficients @ worths
    residual = worths - x @ fitted
    leverage = (q * q).sum(axis=1)
    apart = residual / np.maximum(1 - leverage, 1 - MAX_LEVERAGE)[:, None]
    variances = (to_coefficients**2) @ (design.undrawn_share[:, None] * apart**2)
    w = design.weights[:, None]
    spread = (w * (worths - (w * worths).sum(axis=0)) ** 2).sum(axis=0)
    left = (w * residual**2).sum(axis=0)
    if not design.is_exact:  # the fit follows the draws: what it would leave of others is more
        left = left / (1 - min(float(leverage.mean()), MAX_LEVERAGE))
    share = ratio_above_rounding(left, spread, rounding_floor(worths) ** 2, np.nan)
    return LocalFit(fitted[1:], variances[1:], fitted[0], np.asarray(1 - share))
