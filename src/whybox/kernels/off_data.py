"""How many changed rows are off the data, natively, for many sets of neighbours. The specification is in reference_effects.py."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.kernels.compiled_trees import fastest_instructions

__all__ = ["HALF_PAIRS", "off_data_shares", "split_into_quarters"]

Ints = npt.NDArray[np.int64]

HALF_PAIRS: Final = ((0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2))  # of quarters of the neighbours: three times two
FIRST_SETS: Final = 512  # of neighbours, in the first call


def off_data_shares(
    data: Floats, changed: Ints, weights: Floats, neighbours: Ints, usual_share: float, *, halves: bool
) -> tuple[Floats, Floats]:
    """Return the weight of the changed rows that are off the data, (sets, 1 + halves), and the sum of the squared weights of the same, (sets,).

    A row is off the data if it is farther from its nearest neighbour than most neighbours are from theirs; a row is no neighbour of its own. The first share is by
    all neighbours; with `halves`, the next six are by the halves of :data:`HALF_PAIRS`.

    Args:
        data: (rows, dimensions). changed: (changed rows,) positions, in order. weights: (changed rows,).
        neighbours: (sets, neighbours) positions of rows; at least two, with halves eight.
        usual_share: the share of the neighbours that are not farther than what is usual.
        halves: whether shares by halves of the neighbours are wanted.
    """
    sets, size = neighbours.shape
    starts = np.array([0, size])
    if halves:
        order, starts = split_into_quarters(size)
        neighbours = neighbours[:, order]
    data, neighbours = np.ascontiguousarray(data), np.ascontiguousarray(neighbours)
    shares, squares = np.empty((sets, 1 + halves * len(HALF_PAIRS))), np.empty(sets)
    for some in timed_batches(sets, description="rows off the data", first_size=FIRST_SETS, quiet=True):
        _native.off_data_shares(
            data,
            changed,
            weights,
            usual_share,
            neighbours[some].reshape(-1),
            size,
            starts,
            fastest_instructions(),
            shares[some],
            squares[some],
        )
    return shares, squares


@lru_cache(maxsize=256)
def split_into_quarters(count: int) -> tuple[Ints, Ints]:
    """Return an order of neighbours, at random, in which quarters of them stand together, and where each begins, and the last ends."""
    quarter = np.random.default_rng(0).permutation(count) % 4
    return np.argsort(quarter, kind="stable"), np.searchsorted(np.sort(quarter), np.arange(5))
