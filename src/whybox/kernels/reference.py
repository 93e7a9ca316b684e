"""The specification: what the native kernels compute, in plain numpy. Slow, short, and tested against brute force.

Symbols (docs/mathematics.md): a leaf of value v is reached when every player j on its path is satisfied; ``a`` says whether a row
satisfies it, ``r`` is the share of training weight that does. An index is a distribution of the probability p that another
player takes part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.models.trees import (
    CATEGORICAL_SPLIT,
    FLOAT32_SPLIT,
    LESS_EQUAL,
    MISSING_LEFT,
    NAN_AS_ZERO,
    SET_RIGHT,
    TINY_AS_ZERO,
    ZERO_MISSING,
    TreeEnsemble,
)

__all__ = [
    "expectation",
    "goes_left",
    "interventional",
    "is_left_of",
    "leaf_indices",
    "path_dependent",
    "predict",
    "product_games",
    "product_law",
]

ZERO_THRESHOLD = float(np.float32(1e-35))
Bools = npt.NDArray[np.bool_]


def goes_left(e: TreeEnsemble, node: int, x: Floats) -> Bools:
    """Route values through one node (its index among all nodes)."""
    flags = int(e.flags[node])
    if not flags & CATEGORICAL_SPLIT:
        return is_left_of(x, e.threshold[node], flags)
    x, missing = _as_compared(x, flags)
    left = _in_set(e, node, x) != bool(flags & SET_RIGHT)
    return np.asarray(np.where(missing, bool(flags & MISSING_LEFT), left))


def is_left_of(x: Floats, threshold: Floats | np.float64, flags: int) -> Bools:
    """Route values through nodes that compare them with thresholds and have these flags; both broadcast."""
    x, missing = _as_compared(x, flags)
    left = x <= threshold if flags & LESS_EQUAL else x < threshold
    return np.asarray(np.where(missing, bool(flags & MISSING_LEFT), left))


def _as_compared(x: Floats, flags: int) -> tuple[Floats, Bools]:
    """Return values as a node compares them, and which count as missing."""
    if flags & FLOAT32_SPLIT:
        with np.errstate(over="ignore"):
            x = x.astype(np.float32).astype(np.float64)
    missing = np.isnan(x)
    if flags & NAN_AS_ZERO:
        x, missing = np.where(missing, 0.0, x), np.zeros_like(missing)
    if flags & TINY_AS_ZERO:
        x = np.where(np.abs(x) <= ZERO_THRESHOLD, 0.0, x)
    if flags & ZERO_MISSING:
        missing = missing | (np.abs(x) <= ZERO_THRESHOLD)
    return x, missing


def _in_set(e: TreeEnsemble, node: int, x: Floats) -> Bools:
    if e.flags[node] & TINY_AS_ZERO:  # LightGBM makes a whole number of it first: -0.5 is category 0
        x = np.trunc(x)
    count = int(e.set_words[node])
    held = e.sets[e.set_begin[node] : e.set_begin[node] + abs(count)]
    inside = (x >= 0) & (x < (2.0**32 if count < 0 else 32 * count))
    category = np.where(inside, x, 0).astype(np.int64)
    if not len(held):
        return np.asarray(inside)
    if count < 0:
        at = np.minimum(np.searchsorted(held, category), len(held) - 1)
        return np.asarray(inside & (held[at] == category))
    return np.asarray(inside & ((held[category // 32] >> (category % 32).astype(np.uint32)) & 1).astype(bool))


def leaf_indices(e: TreeEnsemble, X: Floats) -> npt.NDArray[np.int32]:
    """Return the leaf (node of its tree) that each row ends in, (rows, trees)."""
    out = np.zeros((len(X), e.n_trees), dtype=np.int32)
    for t, start in enumerate(e.tree_offsets[:-1]):
        waiting = [(0, np.arange(len(X)))]
        while waiting:
            node, rows = waiting.pop()
            if not len(rows):
                continue
            at = start + node
            if e.left[at] < 0:
                out[rows, t] = node
                continue
            left = goes_left(e, at, X[rows, e.feature[at]])
            waiting += [(int(e.left[at]), rows[left]), (int(e.right[at]), rows[~left])]
    return out


def predict(e: TreeEnsemble, X: Floats) -> Floats:
    """Raw outputs (rows, outputs): base, then every tree in order. The native kernel equals this bit for bit."""
    out = np.tile(e.base_values, (len(X), 1))
    at = leaf_indices(e, X)
    for t, start in enumerate(e.tree_offsets[:-1]):
        leaf = e.leaf[start + at[:, t]]
        value = _linear_leaf_values(e, leaf, X) if e.has_linear_leaves else e.leaf_values[leaf]
        if e.tree_output[t] < 0:
            out += e.tree_weight[t] * value
        else:
            out[:, e.tree_output[t]] += e.tree_weight[t] * value[:, 0]
    return out


def _linear_leaf_values(e: TreeEnsemble, leaf: npt.NDArray[np.int32], X: Floats) -> Floats:
    value = np.empty((len(X), 1))
    for one in np.unique(leaf):
        rows = leaf == one
        total = np.full(int(rows.sum()), e.linear_const[one])
        span = range(e.linear_offset[one], e.linear_offset[one + 1])
        for k in span:
            total = total + e.linear_coef[k] * X[rows, e.linear_feature[k]]
        broken = np.isnan(X[np.ix_(rows, e.linear_feature[list(span)])]).any(axis=1)
        value[rows, 0] = np.where(broken, e.leaf_values[one, 0], total)
    return value


@dataclass
class _LeafConditions:
    """The conditions of a leaf: for each player on its path, the (node, goes left) steps and the share r."""

    value: Floats
    first_output: int
    path_steps: dict[int, list[tuple[int, bool]]] = field(default_factory=dict)
    cover_share: dict[int, float] = field(default_factory=dict)

    def satisfied_players(self, e: TreeEnsemble, X: Floats) -> dict[int, Bools]:
        out = {}
        for player, steps in self.path_steps.items():
            yes = np.ones(len(X), dtype=bool)
            for node, left in steps:
                yes &= goes_left(e, node, X[:, e.feature[node]]) == left
            out[player] = yes
        return out


def _leaves_of(e: TreeEnsemble, player_of: npt.NDArray[np.int32]) -> Iterator[_LeafConditions]:
    for t, start in enumerate(e.tree_offsets[:-1]):
        waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
        while waiting:
            node, path = waiting.pop()
            at = int(start) + node
            if e.left[at] >= 0:
                waiting += [(int(e.left[at]), [*path, (at, True)]), (int(e.right[at]), [*path, (at, False)])]
                continue
            leaf = _LeafConditions(e.tree_weight[t] * e.leaf_values[e.leaf[at]], max(int(e.tree_output[t]), 0))
            for n, left in path:
                player = int(player_of[e.feature[n]])
                child = int(start) + int(e.left[n] if left else e.right[n])
                leaf.path_steps.setdefault(player, []).append((n, left))
                leaf.cover_share[player] = leaf.cover_share.get(player, 1.0) * (
                    e.cover[child] / e.cover[n] if e.cover[n] > 0 else 0.5
                )
            yield leaf


def expectation(e: TreeEnsemble) -> Floats:
    """Path-dependent value of the empty coalition: base plus the cover-weighted mean of every tree, (outputs,)."""
    out = e.base_values.copy()
    for leaf in _leaves_of(e, np.arange(e.inputs.width, dtype=np.int32)):
        out[leaf.first_output : leaf.first_output + len(leaf.value)] += leaf.value * np.prod(
            list(leaf.cover_share.values())
        )
    return out


def path_dependent(
    e: TreeEnsemble, player_of: npt.NDArray[np.int32], count: int, X: Floats, rule: tuple[Floats, Floats], order: int
) -> Floats:
    """Sum over leaves of v E_p[prod_(k not in T) (p a_k + (1-p) r_k) prod_(j in T) (a_j - r_j)], T of one or two players.

    Returns:
        (rows, players, outputs), or (rows, players, players, outputs) with a zero diagonal.
    """
    out = np.zeros((len(X), *(count,) * order, len(e.base_values)))
    for leaf in _leaves_of(e, player_of):
        satisfied = {j: yes.astype(np.float64) for j, yes in leaf.satisfied_players(e, X).items()}
        for target in combinations(leaf.path_steps, order):
            total = np.zeros(len(X))
            for p, w in zip(*rule, strict=True):
                term = np.full(len(X), w)
                for j, a in satisfied.items():
                    r = leaf.cover_share[j]
                    term *= (a - r) if j in target else p * a + (1 - p) * r
                total += term
            _add_to_cells(out, target, total[:, None] * leaf.value, leaf.first_output)
    return out


def interventional(
    e: TreeEnsemble,
    player_of: npt.NDArray[np.int32],
    count: int,
    X: Floats,
    B: Floats,
    weights: Floats,
    table: Floats,
    order: int,
) -> Floats:
    """As `path_dependent`, with r replaced by whether a background row meets the condition, averaged over background rows.

    Args:
        weights: (background rows,), summing to one.
        table: ``table[s, t] = E[p^s (1-p)^t]``.
    """
    out = np.zeros((len(X), *(count,) * order, len(e.base_values)))
    for leaf in _leaves_of(e, player_of):
        a, b = leaf.satisfied_players(e, X), leaf.satisfied_players(e, B)
        sign = {j: a[j][:, None].astype(int) - b[j][None, :].astype(int) for j in leaf.path_steps}
        alive = np.ones((len(X), len(B)), dtype=bool)
        for j in leaf.path_steps:
            alive &= a[j][:, None] | b[j][None, :]
        only_x = sum(((s > 0).astype(int) for s in sign.values()), np.zeros_like(alive, dtype=int))
        only_b = sum(((s < 0).astype(int) for s in sign.values()), np.zeros_like(alive, dtype=int))
        for target in combinations(leaf.path_steps, order):
            signs = np.prod([sign[j] for j in target], axis=0)
            s = np.maximum(only_x - sum((sign[j] > 0).astype(int) for j in target), 0)
            t = np.maximum(only_b - sum((sign[j] < 0).astype(int) for j in target), 0)
            total = (alive * signs * table[s, t]) @ weights
            _add_to_cells(out, target, total[:, None] * leaf.value, leaf.first_output)
    return out


def product_law(
    e: TreeEnsemble,
    columns: Sequence[Sequence[int]],
    points: Sequence[Floats],
    mass: Sequence[Floats],
    derivative: Sequence[Floats],
    law_of: npt.NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Expectation when players are independent, sum over leaves of v prod_k M_k, and for each player j sum of v D_j prod_(k != j) M_k.

    M_k is the mass of the player's points that meet the leaf's conditions on it, D_k the sum of their derivatives.

    Args:
        columns: of each player. points: for each player (points, its columns). mass, derivative: for each player (laws, points).
        law_of: (rows, players), the law that each row gives to each player.

    Returns:
        (rows, outputs), base included, and (rows, players, outputs).
    """
    player_of = np.zeros(e.inputs.width, dtype=np.int32)
    for j, of_player in enumerate(columns):
        player_of[list(of_player)] = j
    expected = np.tile(e.base_values, (len(law_of), 1))
    slopes = np.zeros((len(law_of), len(columns), len(e.base_values)))
    for leaf in _leaves_of(e, player_of):
        M, D = np.ones((2, *law_of.shape))
        for j, steps in leaf.path_steps.items():
            inside = np.ones(len(points[j]), dtype=bool)
            for n, left in steps:
                inside &= goes_left(e, n, points[j][:, columns[j].index(int(e.feature[n]))]) == left
            M[:, j] = mass[j][:, inside].sum(axis=1)[law_of[:, j]]
            D[:, j] = derivative[j][:, inside].sum(axis=1)[law_of[:, j]]
        outputs = slice(leaf.first_output, leaf.first_output + len(leaf.value))
        expected[:, outputs] += M.prod(axis=1)[:, None] * leaf.value
        for j in leaf.path_steps:
            others = np.delete(M, j, axis=1).prod(axis=1)
            slopes[:, j, outputs] += (D[:, j] * others)[:, None] * leaf.value
    return expected, slopes


def product_games(rows: Floats, donors: Floats, weights: Floats, nodes: Floats, node_weights: Floats) -> Floats:
    """Values of games whose worth is a mean over donors of a product with one factor a player, (n, products, players).

    The integral over p of (row's factor - donor's) times the product over the other players of p times the row's factor and (1 - p) times the donor's.

    Args:
        rows: (n, products, players). donors: (B, products, players). weights: (B,). nodes, node_weights: of the quadrature in p.
    """
    out = np.zeros(rows.shape)
    for b, donor in enumerate(donors):
        for p, weight in zip(nodes, node_weights, strict=True):
            factors = donor + p * (rows - donor)
            for j in range(rows.shape[2]):
                others = np.delete(factors, j, axis=2).prod(axis=2)
                out[:, :, j] += weights[b] * weight * (rows[:, :, j] - donor[:, j]) * others
    return out


def _add_to_cells(out: Floats, target: tuple[int, ...], value: Floats, first: int) -> None:
    at = slice(first, first + value.shape[1])
    for cell in {target, target[::-1]}:
        index: Any = (slice(None), *cell, at)
        out[index] += value
