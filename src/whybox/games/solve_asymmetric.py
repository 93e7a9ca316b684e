"""Values of an index that weighs a coalition and its complement differently, of many games from the worths of one design, with a standard error each.

Half the differences of pairs of coalitions hold the sets of an odd number of players, their means those of an even number, and a value is a sum over both.
"""

from __future__ import annotations

import numpy as np

from whybox.games.donor_blocks import BlockDesign
from whybox.games.even_part import EvenPart, over_donors, slopes_of_all
from whybox.games.even_process import EvenProcess
from whybox.games.exact import exact_values
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.indices import Index
from whybox.games.solve import GameValues, ObservedPairs, OneOutput, is_of_all_pairs, share_total

__all__ = ["solve_asymmetric"]


def solve_asymmetric(design: BlockDesign, observed: ObservedPairs, index: Index) -> GameValues:
    """Return each game's values, (games, players, outputs); their spread over donors is NaN where it is not known.

    Args:
        design: that the games share. observed: their outputs. index: any.
    """
    shape = (len(observed.own), design.coalitions.shape[1], observed.own.shape[1])
    out = GameValues(np.empty(shape), np.empty(shape), np.empty(shape))
    processes = None
    if not is_of_all_pairs(design):
        processes = CoalitionProcess(design.coalitions, index), EvenProcess(design.coalitions, index, order=1)
    total = observed.total
    for k in range(shape[2]):
        one = OneOutput(design, observed, total[:, k], k)
        if processes is None:
            maps = (exact_values(worths, index) for worths in slopes_of_all(design))
            values, variances, spread = over_donors(design, one, *maps)
        else:
            values, variances = one.by_process(processes[0])
            even, of_even, both = EvenPart(design, one, processes[1]).solve(processes[0])
            # errors of both parts are of the same donors; where they seem to cancel, that is not counted
            values, variances = values + even, variances + of_even + 2 * np.maximum(both, 0.0)
            spread = np.full(shape[:2], np.nan)  # that of the odd part alone is seen
        out.values[:, :, k], out.variances[:, :, k], out.spread[:, :, k] = values, variances, spread
    share_total(out, observed, total, efficient=False)
    return out
