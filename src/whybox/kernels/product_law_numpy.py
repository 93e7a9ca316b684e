"""Expectation and derivatives under a product law, node by node in NumPy: a second way that shares no code with the native kernel, for checks of an answer.

Every node keeps the range of classes that reach it of the player that its parent splits on; masses of ranges are differences of cumulated masses. One pass
down the trees gives the chance of each node, one pass up what its leaves add to the expectation. Ensembles whose splits do not cut ranges (categories, zero
as missing) are left to :func:`whybox.kernels.reference.product_law` if they are small.
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

__all__ = ["NumpyProductLaw"]

MAX_REFERENCE_LEAVES: Final = 1_000  # that the specification walks in a fraction of a second
MAX_NODES: Final = 2**22  # that are walked in about a second

Ints = npt.NDArray[np.int64]
Positions = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]


class NumpyProductLaw:
    """The nodes of an ensemble with the ranges of classes that reach them, found once for some laws.

    Args:
        e: the model. laws: as :func:`whybox.kernels.product_law.expected_outputs` takes them; those of one player share edges or atoms.
    """

    def __init__(self, e: TreeEnsemble, laws: Sequence[PlayerLaw]) -> None:
        self.ensemble, self.laws = e, tuple(laws)
        splits = _Splits.of(e, laws) if len(e.left) <= MAX_NODES else None
        self._walk = None if splits is None else _Walk(e, [len(law.points()) for law in laws], splits)

    @property
    def is_quick(self) -> bool:
        """Whether rows are read in a fraction of a second."""
        return self._walk is not None or int((self.ensemble.left < 0).sum()) <= MAX_REFERENCE_LEAVES

    def expected_outputs(self, mass: Sequence[Floats], derivative: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Return the expectation, (rows, outputs), base included, and the derivative for each player, (rows, players, outputs).

        Args:
            mass, derivative: for each player (rows, classes) or (rows, atoms); a derivative is zero where the mass is.
        """
        e, rows = self.ensemble, len(mass[0]) if mass else 0
        if self._walk is None:
            columns, points = [law.columns for law in self.laws], [law.points() for law in self.laws]
            law_of = np.tile(np.arange(rows)[:, None], (1, len(self.laws)))
            return reference.product_law(e, columns, points, mass, derivative, law_of)
        found = [self._walk.sums([m[i] for m in mass], [d[i] for d in derivative]) for i in range(rows)]
        return e.base_values + np.array([mean for mean, _ in found]), np.array([slopes for _, slopes in found])


class _Splits:
    """Nodes with the player of each split and where it cuts that player's classes."""

    def __init__(self, player: Ints, cut: Ints, missing_left: Bools) -> None:
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


class _Walk:
    """Nodes level by level, all left children of a level before all right ones.

    Attributes of a level, for each of its inner nodes (and for children twice as many): player; ranges of that player's classes at the node and at its
    children, as positions in the cumulated masses of all players, one after the other; whether NaN comes along; where among the level its inner nodes are.
    """

    def __init__(self, e: TreeEnsemble, points: Sequence[int], splits: _Splits) -> None:
        self.ensemble, self.count = e, len(points)
        self._start = np.concatenate([[0], np.cumsum(points)])[:-1].astype(
            np.int32
        )  # of each player's cumulated masses
        tree = np.repeat(np.arange(e.n_trees), np.diff(e.tree_offsets))
        first = e.tree_offsets[tree].astype(np.int64)
        nodes = e.tree_offsets[:-1].astype(np.int64)
        low = np.zeros((len(nodes), self.count), dtype=np.int32)
        high = np.tile(np.array(points, dtype=np.int32) - 1, (len(nodes), 1))
        missing = np.ones((len(nodes), self.count), dtype=bool)
        self.levels: list[_Level] = []
        self.values: list[Floats] = []  # of the leaves of each level, and 0 for inner nodes
        self.outputs: list[Ints] = []
        while len(nodes):
            value = e.tree_weight[tree[nodes], None] * e.leaf_values[np.where(e.left[nodes] < 0, e.leaf[nodes], 0)]
            inner = np.flatnonzero(e.left[nodes] >= 0)
            value[inner] = 0.0
            self.values.append(value)
            self.outputs.append(np.maximum(e.tree_output[tree[nodes]], 0))
            split = nodes[inner]
            j, cut, at = splits.player[split], splits.cut[split], np.arange(len(inner))
            own = self._ranges(low[inner, j], high[inner, j], missing[inner, j], j)
            low, high = (np.concatenate([a[inner], a[inner]]) for a in (low, high))
            missing = np.concatenate([missing[inner], missing[inner]])
            right = at + len(inner)
            high[at, j] = np.minimum(high[at, j], cut)
            low[right, j] = np.maximum(low[right, j], cut)
            missing[at, j] &= splits.missing_left[split]
            missing[right, j] &= ~splits.missing_left[split]
            both, twice = np.concatenate([at, right]), np.concatenate([j, j])
            self.levels.append(
                _Level(j, inner, own, self._ranges(low[both, twice], high[both, twice], missing[both, twice], twice))
            )
            nodes = np.concatenate([first[split] + e.left[split], first[split] + e.right[split]])

    def _ranges(self, low: Positions, high: Positions, missing: Bools, player: Ints) -> _Ranges:
        start = self._start[player]
        return start + low, start + np.maximum(low, high), missing

    def sums(self, mass: Sequence[Floats], derivative: Sequence[Floats]) -> tuple[Floats, Floats]:
        """Return the expectation without base, (outputs,), and the derivative for each player, (players, outputs)."""
        masses, slopes = _Cumulated(mass), _Cumulated(derivative)
        chances = [np.ones(self.ensemble.n_trees)]
        contrasts = []
        for level in self.levels:
            own, of_children = masses.between(level.own, level.player), masses.between(level.children, level.twice)
            parent = np.concatenate([chances[-1][level.inner]] * 2)
            before = np.concatenate([own, own])
            chances.append(parent * _ratio(of_children, before))
            at_node = _ratio(slopes.between(level.own, level.player), own)
            at_children = _ratio(slopes.between(level.children, level.twice), of_children)
            contrasts.append(at_children - np.concatenate([at_node, at_node]))
        return self._added_up(chances, contrasts)

    def _added_up(self, chances: list[Floats], contrasts: list[Floats]) -> tuple[Floats, Floats]:
        e, count = self.ensemble, self.count
        outputs = len(e.base_values)
        of_trees = self.values[0].shape[1] < outputs or (e.tree_output >= 0).any()  # a tree has one output
        out = np.zeros((count, outputs))
        below = np.zeros((0, self.values[0].shape[1]))
        for depth in range(len(self.levels) - 1, -1, -1):
            level, value = self.levels[depth], chances[depth][:, None] * self.values[depth]
            if len(below):
                moved = contrasts[depth][:, None] * below
                if of_trees:
                    key = level.twice * outputs + self.outputs[depth + 1]
                    out += np.bincount(key, moved[:, 0], count * outputs).reshape(count, outputs)
                else:
                    out += np.column_stack([np.bincount(level.twice, column, count) for column in moved.T])
                half = len(below) // 2
                value[level.inner] = below[:half] + below[half:]
            below = value
        if of_trees:
            return np.bincount(self.outputs[0], below[:, 0], outputs).astype(np.float64), out
        return below.sum(axis=0), out


_Ranges = tuple[Positions, Positions, Bools]


class _Level:
    """The inner nodes of a level; see :class:`_Walk`."""

    def __init__(self, player: Ints, inner: Ints, own: _Ranges, children: _Ranges) -> None:
        self.player, self.inner, self.own, self.children = player, inner, own, children
        self.twice = np.concatenate([player, player])


class _Cumulated:
    """Masses of all players, added up class by class from either end; each player's begin with 0 and leave out the last, of NaN."""

    def __init__(self, laws: Sequence[Floats]) -> None:
        nothing = [np.zeros(0)]
        self._up = np.concatenate([np.concatenate([[0.0], np.cumsum(law[:-1])]) for law in laws] or nothing)
        self._down = np.concatenate([np.concatenate([[0.0], np.cumsum(law[-2::-1])])[::-1] for law in laws] or nothing)
        self._missing = np.array([law[-1] for law in laws])
        self._any_missing = bool(self._missing.any())

    def between(self, ranges: _Ranges, player: Ints) -> Floats:
        """Return the masses of ranges, by the sums that are smaller: a small mass beside a large one would be rounded away."""
        low, high, missing = ranges
        below, above = self._up[high], self._down[low]
        out = np.where(np.abs(below) <= np.abs(above), below - self._up[low], above - self._down[high])
        return np.asarray(out + np.where(missing, self._missing[player], 0.0) if self._any_missing else out)


def _ratio(of: Floats, to: Floats) -> Any:
    """Quotients; 0 where there is no mass, which no row reaches."""
    return np.divide(of, to, out=np.zeros_like(of), where=to > 0)


def _count_left(points: Floats, threshold: Floats, flags: int) -> Ints:
    """How many of the rising points go left at each threshold: those that do come first.

    The place in order is right but where values are rounded or read in another way before they are compared; there it is found by bisection.
    """

    def goes_left(count: Ints, of: Ints) -> Bools:
        inside = (count >= 0) & (count < len(points))
        return np.where(inside, is_left_of(points[np.clip(count, 0, len(points) - 1)], threshold[of], flags), count < 0)

    every = np.arange(len(threshold))
    low = np.searchsorted(points, threshold, side="right").astype(np.int64)
    low += goes_left(low, every)  # a threshold that is rounded up
    wrong = np.flatnonzero(~goes_left(low - 1, every) | goes_left(low, every))
    first, last = np.zeros(len(wrong), dtype=np.int64), np.full(len(wrong), len(points))
    while (first < last).any():
        middle = (first + last) // 2
        left = goes_left(middle, wrong) & (first < last)
        first, last = np.where(left, middle + 1, first), np.where(left, last, middle)
    low[wrong] = first
    return low
