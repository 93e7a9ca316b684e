"""Expectation and derivatives under a product law, leaf by leaf in NumPy: a second way that shares no code with the native kernel, for checks of an answer.

Every node keeps, for each player, the range of classes that reach it; masses of ranges are differences of cumulated masses. Ensembles whose splits do not cut
ranges (categories, zero as missing) are left to :func:`whybox.kernels.reference.product_law` if they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels import reference
from whybox.kernels.product_law import PlayerLaw
from whybox.kernels.reference import is_left_of
from whybox.models.trees import CATEGORICAL_SPLIT, ZERO_MISSING, TreeEnsemble

__all__ = ["derivatives_of_row"]

MAX_REFERENCE_LEAVES: Final = 1_000  # that the specification walks in a fraction of a second
MAX_CELLS: Final = 2**24  # nodes x players
LEAVES_AT_ONCE: Final = 2_048  # whose masses of all players are held

Ints = npt.NDArray[np.int64]


def derivatives_of_row(e: TreeEnsemble, laws: Sequence[PlayerLaw], law_of: Ints) -> Floats | None:
    """Return the derivative for each player, (players, outputs), of one row; None where that takes too long.

    Args:
        laws: as :func:`whybox.kernels.product_law.expected_outputs` takes them. law_of: (players,), the row's own.
    """
    leaves = int((e.left < 0).sum())
    splits = _Splits.of(e, laws) if len(e.left) * len(laws) <= MAX_CELLS else None
    if splits is None:
        if leaves > MAX_REFERENCE_LEAVES:
            return None
        columns, points = [law.columns for law in laws], [law.points() for law in laws]
        masses, slopes = [law.mass for law in laws], [law.derivative for law in laws]
        return np.asarray(reference.product_law(e, columns, points, masses, slopes, law_of[None])[1][0])
    return splits.derivatives(e, laws, law_of)


class _Splits:
    """Nodes with the player of each split and where it cuts that player's classes."""

    def __init__(self, player: Ints, cut: Ints, missing_left: npt.NDArray[np.bool_]) -> None:
        self.player, self.cut, self.missing_left = player, cut, missing_left

    @classmethod
    def of(cls, e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> _Splits | None:
        """Return the splits; None where one does not cut a range of classes."""
        inner = e.left >= 0
        if (e.flags[inner] & CATEGORICAL_SPLIT).any() or any(law.edges is None for law in laws):
            return None
        player, cut = np.full(len(e.left), -1, dtype=np.int64), np.zeros(len(e.left), dtype=np.int64)
        missing_left = np.zeros(len(e.left), dtype=bool)
        for j, law in enumerate(laws):
            points = law.points()[:, 0]
            nodes = np.flatnonzero(inner & (e.feature == law.columns[0]))
            player[nodes] = j
            for flags in np.unique(e.flags[nodes]):
                of = nodes[e.flags[nodes] == flags]
                if flags & ZERO_MISSING:
                    left = is_left_of(points[None, :-1], e.threshold[of][:, None], int(flags))
                    if (left[:, 1:] > left[:, :-1]).any():
                        return None
                cut[of] = _count_left(points[:-1], e.threshold[of], int(flags))
                missing_left[of] = is_left_of(points[-1:], e.threshold[of], int(flags))
        return cls(player, cut, missing_left)

    def derivatives(self, e: TreeEnsemble, laws: Sequence[PlayerLaw], law_of: Ints) -> Floats:
        """Walk all trees level by level, then add up the leaves."""
        n, count = len(e.left), len(laws)
        first = np.repeat(e.tree_offsets[:-1], np.diff(e.tree_offsets)).astype(np.int64)
        small = np.int16 if max((len(law.points()) for law in laws), default=0) < 2**15 else np.int32
        ranges = np.zeros(
            (n, 3, count), dtype=small
        )  # of each player first class, the one after the last, and 1 where missing values come along
        roots = e.tree_offsets[:-1].astype(np.int64)
        ranges[roots, 1] = [len(law.points()) - 1 for law in laws]
        ranges[roots, 2] = 1
        nodes = roots[e.left[roots] >= 0]
        while len(nodes):
            j, cut = self.player[nodes], self.cut[nodes]
            children, above = [], ranges[nodes]
            for side, is_left in ((e.left, True), (e.right, False)):
                child = first[nodes] + side[nodes]
                ranges[child] = above
                ranges[child, 2, j] &= self.missing_left[nodes] == is_left
                if is_left:
                    ranges[child, 1, j] = np.minimum(ranges[child, 1, j], cut)
                else:
                    ranges[child, 0, j] = np.maximum(ranges[child, 0, j], cut)
                children.append(child)
            following = np.concatenate(children)
            nodes = following[e.left[following] >= 0]
        leaf = np.flatnonzero(e.left < 0)
        of_row = [(law.mass[at], law.derivative[at]) for law, at in zip(laws, law_of, strict=True)]
        out = np.zeros((count, len(e.base_values)))
        for start in range(0, len(leaf), LEAVES_AT_ONCE):
            some = leaf[start : start + LEAVES_AT_ONCE]
            low, high, missing = np.ascontiguousarray(ranges[some].transpose(1, 2, 0))
            mass, slope = (
                _of_ranges(law, low, np.maximum(low, high), missing > 0) for law in zip(*of_row, strict=True)
            )
            before, after = np.ones_like(mass), np.ones_like(mass)
            np.cumprod(mass[:-1], axis=0, out=before[1:])
            after[:-1] = np.cumprod(mass[:0:-1], axis=0)[::-1]
            out += _add_leaves(e, some, slope * before * after)
        return out


def _count_left(points: Floats, threshold: Floats, flags: int) -> Ints:
    """How many of the rising points go left at each threshold, by bisection: those that do come first."""
    low, high = np.zeros(len(threshold), dtype=np.int64), np.full(len(threshold), len(points))
    while (low < high).any():
        middle = (low + high) // 2
        left = is_left_of(points[np.minimum(middle, len(points) - 1)], threshold, flags) & (low < high)
        low, high = np.where(left, middle + 1, low), np.where(left, high, middle)
    return low


def _of_ranges(
    laws: Sequence[Floats], low: npt.NDArray[Any], high: npt.NDArray[Any], missing: npt.NDArray[np.bool_]
) -> Floats:
    """Masses of ranges of classes, (players, leaves), as all arrays here are."""
    out = np.empty(low.shape)
    for j, law in enumerate(laws):
        total = np.concatenate([[0.0], np.cumsum(law[:-1])])
        out[j] = total[high[j]] - total[low[j]]
        if law[-1] != 0.0:
            out[j] += np.where(missing[j], law[-1], 0.0)
    return out


def _add_leaves(e: TreeEnsemble, leaf: Ints, each: Floats) -> Floats:
    tree = np.searchsorted(e.tree_offsets, leaf, side="right") - 1
    value = e.tree_weight[tree][:, None] * e.leaf_values[e.leaf[leaf]]
    if value.shape[1] == len(e.base_values) and (e.tree_output < 0).all():
        return np.asarray(each @ value)
    out = np.zeros((len(each), len(e.base_values)))
    for k in range(len(e.base_values)):
        of = np.maximum(e.tree_output[tree], 0) == k
        out[:, k] = each[:, of] @ value[of, 0]
    return out
