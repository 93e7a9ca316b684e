"""Owen values of several levels from a sample of orders that are compatible with the hierarchy (owen.py), with standard errors.

A draw is an order and its reverse, and of a game that is a mean over donors (the rows of a background) also one donor. The mean of what a player adds in the
two orders depends on half the differences of a coalition's worth and its complement's alone, so that interactions of two players leave no error. Draws go
through all donors before one comes a second time, except that some donors come twice: these show how far the values of the same donor vary with the order,
and so how much of the variance is left where nearly all donors were drawn (Cochran, Sampling Techniques, 1977, section 10.4). The worth of no player is
known for every donor; what the draws missed of its mean is taken out by a regression, which keeps the values adding up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.owen import Hierarchy
from whybox.numerics.statistics import critical_value, critical_values

__all__ = ["MIN_DRAWS", "OrderDraws", "SampledOwen", "draw_donors", "draw_orders", "estimate_owen_values"]

Ints = npt.NDArray[np.int64]
MIN_DRAWS: Final = 4  # of orders: their variance has to be estimated
MIN_REPEATS: Final = 8  # donors that come twice
REPEATED_SHARE: Final = 1 / 8  # of draws, where that is more
EXTRA_REPEATS: Final = 1.0  # that differ as draws of different donors do
SMALL_SHARE: Final = 0.1  # of donors: where fewer are drawn, that the rest is finite does not matter
MIN_UNITS_FOR_SLOPE: Final = 10  # donors, or draws, that a regression on the worth of no player takes


@final
@dataclass(frozen=True, eq=False)
class OrderDraws:
    """Orders of the players, (draws, players): who comes first, second, ... Each stands for its reverse too."""

    orders: Ints

    def coalitions(self) -> npt.NDArray[np.bool_]:
        """The first 1, 2, ... players of each order, (draws, players - 1, players); their complements are evaluated too."""
        players = self.orders.shape[1]
        place = np.empty_like(self.orders)
        np.put_along_axis(place, self.orders, np.arange(players)[None, :], axis=1)
        return place[:, None, :] <= np.arange(players - 1)[None, :, None]

    def contributions(self, halves: Floats, total: Floats) -> Floats:
        """Return what each player adds in each draw, (draws, players, outputs).

        Args:
            halves: (worth of the coalition - worth of its complement) / 2, (draws, players - 1, outputs).
            total: worth of all players less that of none, (draws, outputs).
        """
        ends = total[:, None] / 2
        steps = np.diff(np.concatenate([-ends, halves, ends], axis=1), axis=1)
        out = np.empty_like(steps)
        np.put_along_axis(out, self.orders[:, :, None], steps, axis=1)
        return out

    def first(self, draws: int) -> OrderDraws:
        """The first draws alone."""
        return OrderDraws(self.orders[:draws])


@final
@dataclass(frozen=True, eq=False)
class SampledOwen:
    """Values and their variances.

    Attributes:
        values, variances: (players, outputs). 1.96 roots of a variance hold the value in 95 % of samples: few draws have larger ones.
        donor_variance: (players, outputs), of the values of single donors.
    """

    values: Floats
    variances: Floats
    donor_variance: Floats


def draw_orders(hierarchy: Hierarchy, draws: int, draw: np.random.Generator) -> OrderDraws:
    """Draw orders that are compatible with the hierarchy, all with the same probability.

    Args:
        hierarchy: of one player or more. draws: how many, each of which stands for its reverse too. draw: random numbers.
    """
    sizes = hierarchy.sizes
    start = np.zeros((draws, len(sizes)), dtype=np.int64)
    for block in range(len(hierarchy.blocks) - 1, -1, -1):
        children = list(hierarchy.blocks[block])
        rank = np.argsort(draw.random((draws, len(children))), axis=1)
        before = np.cumsum(sizes[children][rank], axis=1) - sizes[children][rank]
        offset = np.empty_like(before)
        np.put_along_axis(offset, rank, before, axis=1)
        start[:, children] = start[:, [hierarchy.players + block]] + offset
    return OrderDraws(np.argsort(start[:, : hierarchy.players], axis=1))


def draw_donors(donors: int, draws: int, draw: np.random.Generator, weights: Floats | None = None) -> Ints:
    """Return a donor for each draw, (draws,).

    Args:
        donors: how many there are. draws: how many are wanted. draw: random numbers.
        weights: (donors,), summing to one: each donor comes by its weight; None: all are equal.
    """
    order = draw.permutation(donors)
    if weights is not None:
        at = np.searchsorted(np.cumsum(weights[order]), (np.arange(draws) + draw.random()) / draws)
        systematic = order[np.minimum(at, donors - 1)]
        quarters = (
            systematic[::4],
            systematic[2::4],
            systematic[1::2],
        )  # so that the first quarter and half are even too
        return np.concatenate([draw.permutation(part) for part in quarters])
    if draws <= SMALL_SHARE * donors:
        return np.asarray(order[:draws])
    repeats = min(max(MIN_REPEATS, round(REPEATED_SHARE * draws), draws - donors), draws // 2)
    new = min(draws - repeats, donors)
    is_new = np.zeros(draws, dtype=bool)
    is_new[np.floor(np.arange(new) * (draws / new)).astype(int)] = True
    place = np.where(is_new, np.cumsum(is_new) - 1, np.cumsum(~is_new) - 1)
    return np.asarray(order[place % donors])


def estimate_owen_values(
    contributions: Floats,
    *,
    donor: Ints | None = None,
    none: Floats | None = None,
    donors: int = 1,
    base: Floats | None = None,
    weights: Floats | None = None,
) -> SampledOwen:
    """Return values and their variances from what each player adds in each draw.

    Args:
        contributions: (draws, players, outputs), each draw adding up to the worth of all players less that of none of its donor. Two draws or more.
        donor: (draws,), the donor of each draw; None: the game has none. none: (draws, outputs), the worth of no player with that donor.
        donors: how many donors there are. base: (outputs,), the mean of the worth of no player over all of them.
        weights: (donors,), by which donors came; None: all are equal.
    """
    draws = len(contributions)
    _, units = np.unique(np.arange(draws) if donor is None else donor, return_inverse=True)
    count = np.bincount(units).astype(np.float64)
    means = _unit_means(contributions, units, count)
    spread, within_freedom = _variance_within(contributions, means, units)
    share = 0.0 if donor is None else len(count) / donors  # of the variance between donors that is no error
    if weights is not None:  # how often a donor came is what its weight says, rounded up or down
        rest = np.modf(draws * weights)[0]
        share = 1 - float((rest * (1 - rest)).sum()) / draws
        means, units, count = contributions, np.arange(draws), np.ones(draws)
    raw = means.var(axis=0, ddof=1) if len(count) > 1 else np.zeros(means.shape[1:])
    values, between, freedom = means.mean(axis=0), raw, float(len(count) - 1)
    if none is not None and base is not None:
        values, between, freedom = _regressed(means, _unit_means(none, units, count), base)
    if not within_freedom:
        share = 0.0
    within = spread
    if within_freedom and len(count) > 1:  # few donors came twice, and a rare jump may be in none of them
        within = (within_freedom * spread + EXTRA_REPEATS * between) / (within_freedom + EXTRA_REPEATS)
    first = (1 - share) * between / len(count)
    second = share * within * (1 / count).sum() / len(count) ** 2
    variances = (first + second) * _widening(first, freedom, second, within_freedom)
    donor_variance = np.maximum(raw - spread * (1 / count).mean(), 0.0) if within_freedom else raw
    return SampledOwen(values, variances, donor_variance)


def _unit_means(numbers: Floats, units: Ints, count: Floats) -> Floats:
    """Means over the draws of each unit."""
    out = np.zeros((len(count), *numbers.shape[1:]))
    np.add.at(out, units, numbers)
    return np.asarray(out / count.reshape(-1, *(1,) * (numbers.ndim - 1)))


def _variance_within(contributions: Floats, means: Floats, units: Ints) -> tuple[Floats, float]:
    """Variance of draws of the same unit, (players, outputs), and its degrees of freedom."""
    freedom = float(len(contributions) - len(means))
    squares = ((contributions - means[units]) ** 2).sum(axis=0)
    return squares / max(freedom, 1.0), freedom


def _regressed(means: Floats, none: Floats, base: Floats) -> tuple[Floats, Floats, float]:
    """Values with the worth of no player at its mean over all donors, the variance around the regression, and its degrees of freedom."""
    units, players, _ = means.shape
    away = none - none.mean(axis=0)
    square = (away**2).sum(axis=0)
    centred = means - means.mean(axis=0)
    slope = np.full(means.shape[1:], -1.0 / players)  # what a draw misses is shared equally
    used = 0.0
    if units >= MIN_UNITS_FOR_SLOPE:
        known = square > np.finfo(np.float64).eps * units * np.maximum((none**2).max(axis=0), np.finfo(float).tiny)
        fitted = np.einsum("upk,uk->pk", centred, away) / np.where(known, square, 1.0)
        slope, used = np.where(known, fitted, slope), 1.0
    values = means.mean(axis=0) + slope * (base - none.mean(axis=0))
    freedom = max(units - 1 - used, 1.0)
    residual = centred - slope * away[:, None]
    return values, (residual**2).sum(axis=0) / freedom, freedom


def _widening(first: Floats, freedom: float, second: Floats, within_freedom: float) -> Floats:
    """Square of Student's quantile over the normal one, by the degrees of freedom of a sum of two variances (Satterthwaite)."""
    total = first + second
    parts = first**2 / max(freedom, 1.0) + second**2 / max(within_freedom, 1.0)
    of_sum = np.where(total > 0, total**2 / np.where(parts > 0, parts, 1.0), max(freedom, 1.0))
    return np.asarray((critical_values(0.95, np.maximum(of_sum, 1.0)) / critical_value(0.95)) ** 2)
