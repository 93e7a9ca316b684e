"""Values of single rows, leaf by leaf in NumPy: a second way that shares no code with the native kernels, for the checks of an answer.

The formulas are those of :mod:`whybox.kernels.reference`. A leaf's path has slots, one for each different player on it, and a row has a bit for each slot:
whether it satisfies that player's conditions. All background rows that have the same bits at a leaf count as one, with the sum of their weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels.reference import goes_left, is_left_of
from whybox.models.trees import CATEGORICAL_SPLIT, TreeEnsemble

__all__ = ["MAX_SLOTS", "BackgroundBits", "Bits", "LeafGames", "add_cells", "leaf_games"]

MAX_SLOTS: Final = 64  # different players on one path
MAX_BITS_COUNTED: Final = 10  # slots up to which background rows with equal bits are counted in a table
MAX_CELLS_COUNTED: Final = 2**14  # cells up to which numbers are added up in a table of them all

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.unsignedinteger[Any]]
QuadratureRule = tuple[Floats, Floats]


@final
@dataclass(frozen=True, eq=False)
class BackgroundBits:
    """Which slots background rows satisfy, (entries,) each: at this leaf, these bits, the weight of the rows that have them."""

    leaf: Ints
    bits: Bits
    weight: Floats


@final
@dataclass(frozen=True, eq=False)
class _TreeLevel:
    """Nodes of all trees at one depth: those that split, the slot bit of each, where they stand among the level's nodes, and which of these are leaves."""

    nodes: Ints
    slot_bit: Bits
    inner_nodes: Ints
    leaves: Ints


@final
@dataclass(frozen=True, eq=False)
class LeafGames:
    """The leaves of some trees.

    Attributes:
        players: (leaves, slots) the player of each slot, -1 where a path has fewer.
        shares: (leaves, slots) share of training weight that satisfies the slot, 1 where a path has fewer.
        values: (leaves, outputs) what a leaf adds to each output.
        all_bits: (leaves,) bits of all slots.
    """

    ensemble: TreeEnsemble
    levels: tuple[_TreeLevel, ...]
    players: Ints
    shares: Floats
    values: Floats
    all_bits: Bits

    @property
    def slots(self) -> int:
        """Most slots of a path."""
        return int(self.players.shape[1])

    def slot_bits(self, X: Floats) -> Bits:
        """Which slots of each leaf rows satisfy, (leaves, rows)."""
        bits = np.full(
            (len(self.levels[0].inner_nodes) + len(self.levels[0].leaves), len(X)), ~self.all_bits.dtype.type(0)
        )
        out = []
        for level in self.levels:
            out.append(bits[level.leaves])
            above = bits[level.inner_nodes]
            lost = _goes_left(self.ensemble, level.nodes, X) * level.slot_bit[:, None]  # the bit, where a row goes left
            right = above & ~lost
            lost ^= level.slot_bit[:, None]
            bits = np.concatenate([above & ~lost, right])
        return np.concatenate(out) & self.all_bits[:, None]

    def background_bits(self, B: Floats, weights: Floats) -> BackgroundBits:
        """Bits of background rows, those with the same bits at a leaf together where that is cheap."""
        bits = self.slot_bits(B)
        if self.slots > MAX_BITS_COUNTED:
            leaf = np.repeat(np.arange(len(bits)), len(B))
            return BackgroundBits(leaf, bits.reshape(-1), np.tile(weights, len(bits)))
        key = (np.arange(len(bits), dtype=np.int64) << self.slots)[:, None] + bits
        same = np.bincount(key.reshape(-1), np.tile(weights, len(bits)))
        found = np.flatnonzero(same)
        return BackgroundBits(
            found >> self.slots, (found & ((1 << self.slots) - 1)).astype(bits.dtype), np.asarray(same[found])
        )

    def interventional_values(
        self, x: Bits, background: BackgroundBits, rule: QuadratureRule, order: int, count: int
    ) -> tuple[Ints, Floats]:
        """Return the values of one row against the background.

        Args:
            x: (leaves,) its bits.
            rule: nodes and weights of the index, exact up to as many players as there are slots.
            order: 1 for players, 2 for pairs. count: how many players there are.

        Returns:
            Cells that are not zero, (n,), and their numbers, (n, outputs). A cell is a player, or for order 2 ``i * count + j`` for the whole
            interaction of players i < j.
        """
        alive = np.flatnonzero((background.bits | x[background.leaf]) == self.all_bits[background.leaf])
        leaf, weight = background.leaf[alive], background.weight[alive]
        only_x = x[leaf] & ~background.bits[alive]
        only_b = self.all_bits & ~x  # at a leaf that counts, the background row satisfies all that the row does not
        slot = np.arange(self.slots, dtype=only_x.dtype)[:, None]
        plus, minus = ((only_x >> slot) & 1).astype(bool), ((only_b >> slot) & 1).astype(np.float64)
        s, t = plus.sum(axis=0), minus.sum(axis=0).astype(np.int64)[leaf]
        chance = _coalition_chances(rule, self.slots)

        def summed(a: int, b: int, *slots: int) -> Floats:
            """Over background rows, for a target that takes `a` of the players satisfied by the row alone and `b` of the others."""
            where = (s >= a) & (t >= b)
            for k in slots:
                where &= plus[k]
            at = np.flatnonzero(where)
            sums = np.bincount(leaf[at], weight[at] * chance[s[at] - a, t[at] - b], minlength=len(x))
            return np.asarray(sums, dtype=np.float64)

        if order == 1:
            neither = summed(0, 1)
            return self._collect_cells([((k,), summed(1, 0, k) - minus[k] * neither) for k in range(self.slots)], count)
        neither, mixed = summed(0, 2), [summed(1, 1, k) for k in range(self.slots)]
        return self._collect_cells(
            [
                ((k, m), summed(2, 0, k, m) - mixed[k] * minus[m] - mixed[m] * minus[k] + neither * minus[k] * minus[m])
                for k, m in combinations(range(self.slots), 2)
            ],
            count,
            order=2,
        )

    def path_dependent_values(self, x: Bits, rule: QuadratureRule, order: int, count: int) -> tuple[Ints, Floats]:
        """Return the values of one row where absent players follow the training weights; arguments and result as of :meth:`interventional_values`."""
        p, weights = rule
        present = [((x >> k) & 1).astype(np.float64) for k in range(self.slots)]
        rest = [self.players[:, k] < 0 for k in range(self.slots)]
        factors = [
            np.where(rest[k], 1.0, p[:, None] * present[k] + (1 - p[:, None]) * self.shares[:, k])
            for k in range(self.slots)
        ]
        gaps = [np.where(rest[k], 0.0, present[k] - self.shares[:, k]) for k in range(self.slots)]
        before, after = [np.ones((len(p), len(x)))], [np.ones((len(p), len(x)))]
        for k in range(self.slots - 1):
            before.append(before[-1] * factors[k])
            after.append(after[-1] * factors[self.slots - 1 - k])
        after = after[::-1]
        parts: list[tuple[tuple[int, ...], Floats]] = []
        for k in range(self.slots):
            if order == 1:
                parts.append(((k,), (weights @ (before[k] * after[k])) * gaps[k]))
                continue
            between = before[k]
            for m in range(k + 1, self.slots):
                parts.append(((k, m), (weights @ (between * after[m])) * gaps[k] * gaps[m]))
                between = between * factors[m]
        return self._collect_cells(parts, count, order=order)

    def _collect_cells(
        self, parts: Sequence[tuple[tuple[int, ...], Floats]], count: int, order: int = 1
    ) -> tuple[Ints, Floats]:
        """Add up what slots, or pairs of slots, get at each leaf, for the players they belong to."""
        outputs = self.values.shape[1]
        cells, numbers = [np.zeros(0, dtype=np.int64)], [np.zeros((0, outputs))]
        for slots, each in parts:
            here = np.flatnonzero((self.players[:, slots[-1]] >= 0) & (each != 0))
            cell = self.players[here, slots[0]]
            if order == 2:
                other = self.players[here, slots[1]]
                cell = np.minimum(cell, other) * count + np.maximum(cell, other)
            cells.append(cell)
            numbers.append(each[here, None] * self.values[here])
        return add_cells(np.concatenate(cells), np.concatenate(numbers), count**order)


def add_cells(cells: Ints, numbers: Floats, size: int) -> tuple[Ints, Floats]:
    """Add up numbers, (n, outputs), of the same cell, of which there are `size`; cells that get nothing are left out."""
    if size <= MAX_CELLS_COUNTED:
        different, which, many = np.arange(size), cells, size
    else:
        different, which = np.unique(cells, return_inverse=True)
        which, many = which.reshape(-1), len(different)
    sums = np.zeros((many, numbers.shape[1]))
    for k in range(numbers.shape[1]):
        sums[:, k] = np.bincount(which, numbers[:, k], minlength=many)
    kept = sums.any(axis=1)
    return different[kept], sums[kept]


def _coalition_chances(rule: QuadratureRule, size: int) -> Floats:
    """E[p^s (1-p)^t] for s + t below the size, by quadrature."""
    p, weights = rule
    powers = np.arange(size + 1)[:, None]
    return np.asarray((p**powers * weights) @ ((1 - p) ** powers).T)


def leaf_games(
    e: TreeEnsemble, player_of: npt.NDArray[np.int32], trees: Ints, outputs: Sequence[int], most_nodes: int
) -> Iterator[LeafGames]:
    """Lay out the leaves of some trees, a few trees at a time.

    Args:
        player_of: (model columns,) the player of each. trees: which. outputs: the model's outputs that are asked for.
        most_nodes: nodes of the trees that come together, about.
    """
    sizes = np.diff(e.tree_offsets)[trees]
    group = np.cumsum(sizes) // max(most_nodes, 1)
    for some in np.split(trees, np.flatnonzero(np.diff(group)) + 1):
        if len(some):
            yield _lay_out(e, player_of, some, outputs)


def _lay_out(e: TreeEnsemble, player_of: npt.NDArray[np.int32], trees: Ints, outputs: Sequence[int]) -> LeafGames:
    node, tree = e.tree_offsets[:-1][trees], trees
    players, shares = np.zeros((len(node), 0), dtype=np.int64), np.ones((len(node), 0))
    levels: list[tuple[Ints, Ints, Ints, Ints]] = []
    found: list[tuple[Ints, Ints, Ints, Floats]] = []
    while len(node):
        split = e.left[node] >= 0
        inner, leaves = np.flatnonzero(split), np.flatnonzero(~split)
        found.append((node[leaves], tree[leaves], players[leaves], shares[leaves]))
        at = node[inner]
        players, shares = players[inner], shares[inner]
        player = player_of[e.feature[at]].astype(np.int64)
        same = players == player[:, None]
        used = (players >= 0).sum(axis=1)
        slot = np.where(same.any(axis=1), same.argmax(axis=1) if same.shape[1] else 0, used)
        if len(slot) and slot.max() >= players.shape[1]:
            players = np.column_stack([players, np.full(len(players), -1)])
            shares = np.column_stack([shares, np.ones(len(shares))])
        players[np.arange(len(slot)), slot] = player
        levels.append((at, slot, inner, leaves))
        start = e.tree_offsets[:-1][tree[inner]]
        children = [start + e.left[at], start + e.right[at]]
        with np.errstate(invalid="ignore", divide="ignore"):
            parts = [np.where(e.cover[at] > 0, e.cover[child] / e.cover[at], 0.5) for child in children]
        sides = []
        for part in parts:
            side = shares.copy()
            side[np.arange(len(slot)), slot] *= part
            sides.append(side)
        node, tree = np.concatenate(children), np.tile(tree[inner], 2)
        players, shares = np.concatenate([players, players]), np.concatenate(sides)
    width = players.shape[1]
    kind = np.dtype(f"uint{next(b for b in (8, 16, 32, 64) if b >= min(width, MAX_SLOTS))}").type
    one = kind(1)
    every_player = np.concatenate([_pad_columns(p, width, -1) for _, _, p, _ in found])
    full = np.zeros(len(every_player), dtype=kind)
    for k in range(width):
        full |= (every_player[:, k] >= 0).astype(kind) << kind(k)
    at, tree = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    return LeafGames(
        e,
        tuple(_TreeLevel(n, one << slot.astype(kind), inner, leaves) for n, slot, inner, leaves in levels),
        every_player,
        np.concatenate([_pad_columns(s, width, 1.0) for _, _, _, s in found]),
        _leaf_values(e, e.leaf[at], tree, outputs),
        full,
    )


def _pad_columns(a: npt.NDArray[Any], width: int, fill: float) -> npt.NDArray[Any]:
    return np.pad(a, ((0, 0), (0, width - a.shape[1])), constant_values=fill)


def _leaf_values(e: TreeEnsemble, leaf: npt.NDArray[Any], tree: Ints, outputs: Sequence[int]) -> Floats:
    """What leaves add to some of the outputs, (leaves, outputs)."""
    out = np.zeros((len(leaf), len(outputs)))
    of_tree, wide = e.tree_output[tree], e.leaf_values.shape[1]
    for i, k in enumerate(outputs):
        column = np.where(of_tree < 0, k if k < wide else -1, np.where(of_tree == k, 0, -1))
        here = np.flatnonzero(column >= 0)
        out[here, i] = e.tree_weight[tree[here]] * e.leaf_values[leaf[here], column[here]]
    return out


def _goes_left(e: TreeEnsemble, nodes: Ints, X: Floats) -> npt.NDArray[np.bool_]:
    """Which rows go left at each node, (nodes, rows)."""
    out = np.empty((len(nodes), len(X)), dtype=bool)
    kind = e.feature[nodes].astype(np.int64) * 256 + e.flags[nodes]
    order = np.argsort(kind, kind="stable")
    for same in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        if not len(same):
            continue
        column, flags = X[:, e.feature[nodes[same[0]]]], int(e.flags[nodes[same[0]]])
        if flags & CATEGORICAL_SPLIT:
            for i in same:
                out[i] = goes_left(e, int(nodes[i]), column)
            continue
        out[same] = is_left_of(column, e.threshold[nodes[same]][:, None], flags)
    return out
