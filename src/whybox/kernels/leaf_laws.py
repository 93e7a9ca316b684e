"""Expectation and derivatives under a product law, leaf by leaf in NumPy: a second way that shares no code with the native kernel, for checks of an answer.

Every node keeps, for each player, the range of classes that reach it; masses of ranges are differences of cumulated masses. Ensembles whose splits do not cut
ranges (categories, zero as missing) are left to :func:`whybox.kernels.reference.product_law` if they are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels import reference
from whybox.kernels.product_law import PlayerLaw
from whybox.kernels.reference import is_left_of
from whybox.models.trees import CATEGORICAL_SPLIT, ZERO_MISSING, TreeEnsemble

__all__ = ["LeafLaws"]

MAX_REFERENCE_LEAVES: Final = 1_000  # that the specification walks in a fraction of a second
MAX_CELLS: Final = 2**24  # nodes x players

Ints = npt.NDArray[np.int64]
_Ranges = tuple[Ints, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.bool_]]


class LeafLaws:
    """The leaves of an ensemble with the ranges of classes that reach them, found once for some laws.

    Args:
        e: the model. laws: as :func:`whybox.kernels.product_law.expected_outputs` takes them; those of one player share edges or atoms.
    """

    def __init__(self, e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> None:
        self.ensemble, self.laws = e, tuple(laws)
        splits = _Splits.of(e, laws) if len(e.left) * len(laws) <= MAX_CELLS else None
        self._ranges = None if splits is None else splits.leaf_ranges(e, laws)

    @property
    def is_quick(self) -> bool:
        """Whether rows are read in a fraction of a second."""
        return self._ranges is not None or int((self.ensemble.left < 0).sum()) <= MAX_REFERENCE_LEAVES

    def expected_outputs(self, mass: Sequence[Floats], derivative: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Return the expectation, (rows, outputs), base included, and the derivative for each player, (rows, players, outputs).

        Args:
            mass, derivative: for each player (rows, classes) or (rows, atoms).
        """
        e, rows = self.ensemble, len(mass[0]) if mass else 0
        if self._ranges is None:
            columns, points = [law.columns for law in self.laws], [law.points() for law in self.laws]
            law_of = np.tile(np.arange(rows)[:, None], (1, len(self.laws)))
            return reference.product_law(e, columns, points, mass, derivative, law_of)
        found = [self._one_row([m[i] for m in mass], [d[i] for d in derivative]) for i in range(rows)]
        return np.array([mean for mean, _ in found]), np.array([slopes for _, slopes in found])

    def _one_row(self, mass: Sequence[Floats], derivative: Sequence[Floats]) -> tuple[Floats, Floats]:
        assert self._ranges is not None  # noqa: S101  # asked for ranges
        leaf, low, high, missing = self._ranges
        masses, slope = _of_ranges(mass, low, high, missing), _of_ranges(derivative, low, high, missing)
        before, after = np.ones_like(masses), np.ones_like(masses)
        before[:, 1:] = np.cumprod(masses[:, :-1], axis=1)
        after[:, :-1] = np.cumprod(masses[:, :0:-1], axis=1)[:, ::-1]
        each = np.column_stack([slope * before * after, masses.prod(axis=1)])
        added = _add_leaves(self.ensemble, leaf, each)
        return self.ensemble.base_values + added[-1], added[:-1]


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

    def leaf_ranges(self, e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> _Ranges:
        """Walk all trees level by level; return the leaves, and for each player the classes that reach them, and whether NaN does."""
        n, count = len(e.left), len(laws)
        first = np.repeat(e.tree_offsets[:-1], np.diff(e.tree_offsets)).astype(np.int64)
        low, high = np.zeros((n, count), dtype=np.int32), np.zeros((n, count), dtype=np.int32)
        missing = np.ones((n, count), dtype=bool)
        roots = e.tree_offsets[:-1].astype(np.int64)
        high[roots] = [len(law.points()) - 1 for law in laws]
        nodes = roots[e.left[roots] >= 0]
        while len(nodes):
            j, cut = self.player[nodes], self.cut[nodes]
            children = []
            for side, is_left in ((e.left, True), (e.right, False)):
                child = first[nodes] + side[nodes]
                low[child], high[child], missing[child] = low[nodes], high[nodes], missing[nodes]
                missing[child, j] &= self.missing_left[nodes] == is_left
                if is_left:
                    high[child, j] = np.minimum(high[child, j], cut)
                else:
                    low[child, j] = np.maximum(low[child, j], cut)
                children.append(child)
            following = np.concatenate(children)
            nodes = following[e.left[following] >= 0]
        leaf = np.flatnonzero(e.left < 0)
        return leaf, low[leaf], high[leaf], missing[leaf]


def _count_left(points: Floats, threshold: Floats, flags: int) -> Ints:
    """How many of the rising points go left at each threshold, by bisection: those that do come first."""
    low, high = np.zeros(len(threshold), dtype=np.int64), np.full(len(threshold), len(points))
    while (low < high).any():
        middle = (low + high) // 2
        left = is_left_of(points[np.minimum(middle, len(points) - 1)], threshold, flags) & (low < high)
        low, high = np.where(left, middle + 1, low), np.where(left, high, middle)
    return low


def _of_ranges(
    laws: Sequence[Floats], low: npt.NDArray[np.int32], high: npt.NDArray[np.int32], missing: npt.NDArray[np.bool_]
) -> Floats:
    out = np.empty(low.shape)
    for j, law in enumerate(laws):
        total = np.concatenate([[0.0], np.cumsum(law[:-1])])
        inside = np.maximum(high[:, j], low[:, j])
        out[:, j] = total[inside] - total[low[:, j]] + np.where(missing[:, j], law[-1], 0.0)
    return out


def _add_leaves(e: TreeEnsemble, leaf: Ints, each: Floats) -> Floats:
    tree = np.repeat(np.arange(e.n_trees), np.diff(e.tree_offsets))[leaf]
    value = e.tree_weight[tree][:, None] * e.leaf_values[e.leaf[leaf]]
    if value.shape[1] == len(e.base_values) and (e.tree_output < 0).all():
        return np.asarray(each.T @ value)
    out = np.zeros((each.shape[1], len(e.base_values)))
    for k in range(len(e.base_values)):
        of = np.maximum(e.tree_output[tree], 0) == k
        out[:, k] = each[of].T @ value[of, 0]
    return out
