"""How much of a surrogate's game is taken from a game before its values are estimated: the share that leaves the smallest variances.

A share of a surrogate whose values are known is a control variate with a coefficient (Lavenberg & Welch 1981, doi:10.1287/mnsc.27.3.322). What a surrogate adds
where it is wrong grows as the square of the share, and what it takes away where it is right grows as the share: so half of a surrogate can be better than all and none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.games.solve import GameValues, ObservedPairs

__all__ = ["best_share", "solve_with_surrogate"]

LEAVES_LITTLE: Final = 0.05  # of the variances without a surrogate: all of it is taken then
TINY: Final = 1e-9  # of a variance


def solve_with_surrogate(
    solve: Callable[[ObservedPairs], GameValues],
    observed: ObservedPairs,
    fitted: ObservedPairs,
    known: Floats,
    plain: GameValues,
) -> GameValues:
    """Return values and variances less a share of a surrogate, of each game its own; the spread over donors is NaN where that is most of it.

    Args:
        solve: gives values of what was observed. observed: of the games. fitted: what a surrogate of each game says of the same, not fitted to what was observed.
        known: exact values of the surrogates, (games, players, outputs). plain: the values without them.
    """
    best, share = solve(observed.less(fitted)), np.ones(observed.own.shape)
    if float(best.variances.sum()) > LEAVES_LITTLE * float(plain.variances.sum()):
        at_half = solve(observed.less(fitted, np.full(observed.own.shape, 0.5)))
        share = best_share(plain, at_half, best)
        best = solve(observed.less(fitted, share))
    each = share[:, None]
    return GameValues(
        best.values + each * known,
        best.variances,
        np.where(each > 0.5, np.nan, plain.spread),
        best.with_all_donors,
    )


def best_share(plain: GameValues, at_half: GameValues, whole: GameValues) -> Floats:
    """Return the share with the smallest variances, (games, outputs), between 0 and 1: of each game, drawn halfway to that of all games.

    Args:
        plain, at_half, whole: with none of the surrogate, half of it and all of it.
    """
    size = plain.variances.sum(axis=1)
    size = np.maximum(size, max(float(size.max(initial=0.0)) * TINY, np.finfo(float).tiny))
    ratios = (each.variances.sum(axis=1) / size for each in (at_half, whole))
    half, one = ((each + each.mean(axis=0)) / 2 for each in ratios)
    bend, slope = 2 * (1 - 2 * half + one), 4 * half - one - 3  # variances are 1 + slope s + bend s^2
    bends = bend > TINY
    lowest = np.where(bends, -slope / (2 * np.where(bends, bend, 1.0)), np.where(one < 1, 1.0, 0.0))
    return np.asarray(np.clip(lowest, 0.0, 1.0))
