"""Rows made to find out whether a model was read right.

Rows are built backwards from the nodes: a row that reaches the node (its features set to values that the path allows, as often as possible
exactly on a boundary), with the node's own feature exactly on the threshold, just below it, just above it, or something nasty (NaN, infinities,
-0.0, denormals, unseen categories). So splits are tested where they are, not where data happens to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels import tree_shap
from whybox.kernels.reference import ZERO_THRESHOLD, goes_left
from whybox.models.trees import (
    CATEGORICAL,
    FLOAT32_SPLIT,
    LESS_EQUAL,
    SET_RIGHT,
    TINY_AS_ZERO,
    ZERO_MISSING,
    TreeEnsemble,
)

__all__ = ["Domain", "ProbeRowMaker", "complete", "rows_everywhere", "some_rows"]

MAX_NODE_VISITS: Final = 30_000_000  # node visits of the library's predict that rows for all trees may cost
MAX_PROBE_ROWS: Final = 30_000  # rows
MIN_PROBE_ROWS: Final = 900
MAX_NODES_COVERED: Final = 75_000  # models of no more nodes get rows at every one of them
MAX_ROUND_CELLS: Final = 20_000_000  # of such rows
POOL_ROWS: Final = 500  # rows, from which what a path leaves open is taken
_ODD: Final = (0.0, -0.0, 5e-324, -1e-45, 1e-36, 1e-30, 1e30)

_Nodes = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Domain:
    """What a library's predict takes: whether NaN and infinities are allowed, and how many codes a categorical column has.

    ``sparse``: it also takes a sparse matrix with zeros and missing values stored, and reads the same in it.
    """

    nan: bool = True
    infinite: bool = True
    categories: Mapping[int, int] | None = None
    unseen: bool = True
    sparse: bool = False


def complete(e: TreeEnsemble, domain: Domain) -> bool:
    """Whether `rows_everywhere` can be made: few enough nodes, none of which asks for categories or is a linear function.

    Category sets hold too many values for a few rows a node; they are tested by rows that meet all trees.
    """
    small = len(e.left) <= MAX_NODES_COVERED and 2 * len(e.left) * e.inputs.width <= MAX_ROUND_CELLS
    return small and not domain.categories and not e.has_linear_leaves and not (e.flags & CATEGORICAL).any()


def rows_everywhere(maker: ProbeRowMaker) -> tuple[Floats, int, int]:
    """Make two rows for each node, to be asked of its own tree.

    At a leaf they are the two corners of its box: every feature at the largest value that its path allows, and every feature at the smallest.
    Left of any split stands a leaf whose largest value is the last that goes left, right of it one whose smallest is the first that goes
    right, and both sides are reached. So together the corners pin every threshold from both sides to the last bit, and visit every leaf.
    At a node inside, its own feature is NaN in one row, and something odd or one step further from the threshold in the other; features that
    its path does not ask for are odd as often as not, for the nodes below it and for other trees that are asked about the row.

    Returns:
        rows (nodes, 2, model columns); how many different split points they pin; how many the model has.
    """
    e, rng = maker.e, maker.rng
    low, high = _boxes(maker)
    is_inner = e.left >= 0
    inner = np.flatnonzero(is_inner)
    plain = maker.background(POOL_ROWS)
    wild = np.where(rng.random(plain.shape) < 0.5, maker.odd(plain.size).reshape(plain.shape), plain)
    pool = np.concatenate([plain, wild])
    out = pool[rng.integers(0, POOL_ROWS, (len(e.left), 2)) + POOL_ROWS * is_inner[:, None]]
    has_low, has_high, possible = np.isfinite(low), np.isfinite(high), np.asarray(low <= high)
    has_low &= possible
    has_high &= possible
    mixed = rng.integers(0, 2, (256, e.inputs.width), dtype=bool)[rng.integers(0, 256, len(e.left))]
    mixed &= is_inner[:, None]
    take = has_low & ~(mixed & has_high)
    np.copyto(out[:, 0], low, where=take)
    np.copyto(out[:, 0], high, where=has_high & ~take)
    take = has_high & ~(mixed & has_low)
    np.copyto(out[:, 1], high, where=take)
    np.copyto(out[:, 1], low, where=has_low & ~take)
    own, single = e.feature[inner], e.flags[inner] & FLOAT32_SPLIT > 0
    out[inner, 0, own] = np.nan if maker.domain.nan else maker.odd(len(inner))
    below, above = maker.last_left[inner], maker.first_right[inner]
    equal = e.flags[inner] & LESS_EQUAL > 0
    far = np.where(equal, _beside(below, single, up=False), _beside(above, single, up=True))
    out[inner, 1, own] = np.where(rng.random(len(inner)) < 0.25, far, maker.odd(len(inner)))
    maker.clip(out)
    reached, first = np.asarray(possible.all(axis=1)), maker.first[inner]
    pinned = inner[reached[first + e.left[inner]] & reached[first + e.right[inner]]]
    total = len(maker.points)
    return out, total if len(pinned) == len(inner) else len(_different(_by_column(e, pinned), e)), total


def _boxes(maker: ProbeRowMaker) -> tuple[Floats, Floats]:
    """Smallest and largest value of each column that lead to each node, (nodes, columns) each."""
    e = maker.e
    low = np.full((len(e.left), e.inputs.width), -np.inf)
    high = -low
    level = e.tree_offsets[:-1]
    while level.size:
        at = level[e.left[level] >= 0]
        left, right, column = maker.first[at] + e.left[at], maker.first[at] + e.right[at], e.feature[at]
        for kids in (left, right):
            low[kids], high[kids] = low[at], high[at]
        high[left, column] = np.minimum(high[left, column], maker.last_left[at])
        low[right, column] = np.maximum(low[right, column], maker.first_right[at])
        level = np.concatenate([left, right])
    return low, high


def some_rows(maker: ProbeRowMaker, most: int = MAX_PROBE_ROWS) -> tuple[Floats, int, int]:
    """Make rows that reach nodes and stand on their thresholds, to be asked of all trees together.

    Returns:
        rows (n, model columns); how many different split points they stand on; how many the model has.
    """
    e, rng, width = maker.e, maker.rng, maker.e.inputs.width
    depth = max(1.0, tree_shap.native(e).depth)
    rows = int(np.clip(MAX_NODE_VISITS / max(1.0, e.n_trees * depth), min(MIN_PROBE_ROWS, most), most))
    rows = int(min(rows, max(60, 4e7 / max(1, width))))
    if not (e.left >= 0).any():
        return maker.background(min(rows, 50)), 0, 0
    points = maker.points
    chosen = points[rng.choice(len(points), min(rows // 4, len(points)), replace=False)]
    if len(chosen) < rows // 4:
        rest = np.setdiff1d(np.flatnonzero(e.left >= 0), chosen)
        chosen = np.concatenate([chosen, rng.permutation(rest)[: rows // 4 - len(chosen)]])
    made = maker.background(4 * len(chosen) + min(200, rows // 4))
    maker.around(chosen, made)
    maker.clip(made)
    return made, min(len(points), len(chosen)), len(points)


@final
@dataclass
class ProbeRowMaker:
    """What rows are made from, computed once for all of them."""

    e: TreeEnsemble
    domain: Domain
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    first: _Nodes = field(init=False)  # of each node's tree
    sets: dict[int, npt.NDArray[np.int64]] = field(default_factory=dict)  # members of the category sets met so far

    def __post_init__(self) -> None:
        self.first = np.repeat(self.e.tree_offsets[:-1], np.diff(self.e.tree_offsets))
        self.last_left, self.first_right = _sides(self.e)

    @cached_property
    def columns(self) -> dict[int, _Nodes]:
        """Nodes that compare numbers, by column, in the order of their thresholds."""
        return _by_column(self.e, np.flatnonzero((self.e.left >= 0) & (self.e.flags & CATEGORICAL == 0)))

    @cached_property
    def points(self) -> _Nodes:
        """One node for each different split point; each category set counts as different."""
        sets = np.flatnonzero((self.e.left >= 0) & (self.e.flags & CATEGORICAL > 0))
        return np.concatenate([sets, _different(self.columns, self.e)])

    @cached_property
    def thresholds(self) -> dict[int, Floats]:
        """Finite thresholds of each column, in order."""
        found = {column: self.e.threshold[nodes] for column, nodes in self.columns.items()}
        finite = {column: t[np.isfinite(t)] for column, t in found.items()}
        return {column: t for column, t in finite.items() if len(t)}

    @cached_property
    def parents(self) -> tuple[_Nodes, npt.NDArray[np.bool_]]:
        """For every node: its parent among all nodes (-1 at roots), and whether it is a left child."""
        parent, left_child = np.full(len(self.e.left), -1, dtype=np.int64), np.zeros(len(self.e.left), dtype=bool)
        inner = np.flatnonzero(self.e.left >= 0)
        left = self.first[inner] + self.e.left[inner]
        parent[left] = inner
        parent[self.first[inner] + self.e.right[inner]] = inner
        left_child[left] = True
        return parent, left_child

    def odd(self, n: int) -> Floats:
        """Return nasty values."""
        odd = [*_ODD] + [np.nan] * 3 * self.domain.nan + [np.inf, -np.inf] * self.domain.infinite
        return self.rng.choice(np.array(odd), n)

    def clip(self, rows: Floats) -> None:
        """Keep inside float32, where the library refuses infinities: it refuses what becomes one, too."""
        if not self.domain.infinite:
            np.clip(rows, -3e38, 3e38, out=rows)

    def background(self, n: int) -> Floats:
        """Return rows of split points, points between them, and missing values, column by column."""
        e, rng = self.e, self.rng
        out = rng.normal(size=(n, e.inputs.width)).round(1)
        for column, group in self.thresholds.items():
            step = rng.choice([0.0, 1.0, -1.0], n) * rng.choice([0.0, 1e-3, 1.0], n)
            out[:, column] = rng.choice(group, n) + step * (group[-1] - group[0] + 1)
        for column in np.unique(e.feature[(e.flags & CATEGORICAL > 0) & (e.left >= 0)]):
            out[:, column] = self.category(int(column), n)
        for column in self.domain.categories or {}:
            out[:, column] = self.category(column, n)
        if self.domain.nan:
            out[rng.random(out.shape) < 0.05] = np.nan
        return out

    def category(self, column: int, n: int) -> Floats:
        """Return codes of a categorical column: any of them, and where sets list few large ones, these as often."""
        e = self.e
        count = (self.domain.categories or {}).get(column)
        if count is None:
            count = int(32 * e.set_words[(e.feature == column) & (e.flags & CATEGORICAL > 0)].max(initial=1))
        out = self.rng.integers(0, max(count, 1), n).astype(np.float64)
        listed = self.listed.get(column)
        if listed is not None:
            some = self.rng.choice(listed, n) + (self.rng.choice([0, 0, 0, 1], n) if self.domain.unseen else 0)
            out = np.where(self.rng.random(n) < 0.5, some, out)
        return out

    @cached_property
    def listed(self) -> dict[int, Floats]:
        """Categories of each column whose sets are lists."""
        found: dict[int, list[npt.NDArray[np.int64]]] = {}
        for node in np.flatnonzero((self.e.set_words < 0) & (self.e.left >= 0)).tolist():
            found.setdefault(int(self.e.feature[node]), []).append(self.e.set_members(node))
        return {column: np.unique(np.concatenate(sets)).astype(np.float64) for column, sets in found.items()}

    def around(self, nodes: _Nodes, out: Floats) -> None:
        """Change the first rows of `out`, four a node, so that they reach it, with its own feature on, below, above its threshold, or odd."""
        e, domain, n = self.e, self.domain, len(nodes)
        self._obey_paths(np.tile(nodes, 4), out[: 4 * n])
        at, t, single = e.feature[nodes], e.threshold[nodes], e.flags[nodes] & FLOAT32_SPLIT > 0
        categorical = e.flags[nodes] & CATEGORICAL > 0
        below, above = _beside(t, single, up=False), _beside(t, single, up=True)
        for k, number in enumerate((t, below, above, self.odd(n))):
            rows, value = np.arange(k * n, (k + 1) * n), number
            if categorical.any():
                value = np.where(categorical, self._categories(at, categorical, odd=k == 3), number)
            elif domain.categories:
                value = np.where(np.isin(at, list(domain.categories)), out[rows, at], number)
            fits = np.isfinite(value) | (np.isnan(value) & domain.nan) | domain.infinite
            out[rows, at] = np.where(fits, value, out[rows, at])

    def _categories(self, at: npt.NDArray[np.int32], categorical: npt.NDArray[np.bool_], *, odd: bool) -> Floats:
        """Return a code for each categorical node, or something strange."""
        strange = ([np.nan] if self.domain.nan else []) + ([-1.0, 1e6, 1e12] if self.domain.unseen else [])
        if strange and (self.e.flags & CATEGORICAL > 0)[self.e.flags & TINY_AS_ZERO > 0].any():
            strange += [-0.5, 0.5]  # whose fraction is cut off
        if odd and strange:
            return self.rng.choice(np.array(strange), len(at))
        return np.array([self.category(int(c), 1)[0] if k else 0.0 for c, k in zip(at, categorical, strict=True)])

    def _obey_paths(self, nodes: _Nodes, out: Floats) -> None:
        """Set in `out`, row by row, values that lead from the root to the node."""
        e = self.e
        parent, left_child = self.parents
        rows = np.arange(len(nodes))
        low, high = np.full_like(out, -np.inf), np.full_like(out, np.inf)
        child = nodes.copy()
        while True:
            up = parent[child]
            go = up >= 0
            if not go.any():
                break
            r, p, left = rows[go], up[go], left_child[child[go]]
            self._obey_sets(r, p, left, out)
            numeric = e.flags[p] & CATEGORICAL == 0
            r, p, left = r[numeric], p[numeric], left[numeric]
            column, top, bottom = e.feature[p], self.last_left[p], self.first_right[p]
            high[r[left], column[left]] = np.minimum(high[r[left], column[left]], top[left])
            low[r[~left], column[~left]] = np.maximum(low[r[~left], column[~left]], bottom[~left])
            child = np.where(go, up, child)
        inside = (np.isfinite(low) | np.isfinite(high)) & (low <= high)
        pick_low = np.isfinite(low) & (~np.isfinite(high) | (self.rng.random(out.shape) < 0.5))
        np.copyto(out, np.where(pick_low, low, high), where=inside)

    def _obey_sets(self, rows: _Nodes, at: _Nodes, left: npt.NDArray[np.bool_], out: Floats) -> None:
        e = self.e
        for i in np.flatnonzero(e.flags[at] & CATEGORICAL > 0):
            node, row = int(at[i]), int(rows[i])
            if node not in self.sets:
                self.sets[node] = e.set_members(node)
            members, turn = self.sets[node], row * 7919
            if left[i] != bool(e.flags[node] & SET_RIGHT):  # a member
                code = members[turn % len(members)] if len(members) else -1
            else:  # the gap before a member holds codes that are none
                code = turn % (int(members[-1]) + 2 - len(members) if len(members) else 1)
                code += np.searchsorted(members - np.arange(len(members)), code, side="right")
            value = np.array([float(code)])
            if code >= 0 and goes_left(e, node, value)[0] == left[i]:
                out[row, e.feature[node]] = value[0]


def _by_column(e: TreeEnsemble, nodes: _Nodes) -> dict[int, _Nodes]:
    """Nodes of each column, in the order of their thresholds; one sort a column takes a fifth of one sort of all."""
    column = e.feature[nodes]
    if e.inputs.width < 2**15:
        column = column.astype(np.int16)  # sorted by counting
    nodes = nodes[np.argsort(column, kind="stable")]
    ends = np.cumsum(np.bincount(column, minlength=1))
    groups = {int(c): nodes[a:b] for c, (a, b) in enumerate(zip([0, *ends[:-1]], ends, strict=True)) if b > a}
    return {c: at[np.argsort(e.threshold[at])] for c, at in groups.items()}


def _different(columns: Mapping[int, _Nodes], e: TreeEnsemble) -> _Nodes:
    """Return the first node of each different threshold of each column."""
    found = []
    for at in columns.values():
        t = e.threshold[at]
        found.append(at[np.concatenate([[True], t[1:] != t[:-1]])])
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _sides(e: TreeEnsemble) -> tuple[Floats, Floats]:
    """Largest value that goes left and smallest that goes right at each node that compares a number, as it is compared."""
    t, equal, single = e.threshold, e.flags & LESS_EQUAL > 0, e.flags & FLOAT32_SPLIT > 0
    with np.errstate(over="ignore", invalid="ignore"):
        left = np.where(equal, t, _beside(t, np.zeros(1, bool), up=False))
    if single.any():  # the last number that is rounded to a float32 that goes left: half way to the next
        with np.errstate(over="ignore", invalid="ignore"):
            near = t.astype(np.float32)
            near = np.where((near > t) | ((near == t) & ~equal), np.nextafter(near, np.float32(-np.inf)), near)
            half = (near.astype(np.float64) + np.nextafter(near, np.float32(np.inf)).astype(np.float64)) / 2
            half = np.where(half.astype(np.float32) == near, half, np.nextafter(half, -np.inf))
        left = np.where(single, np.where(np.isfinite(half), half, near), left)
    right = _beside(left, np.zeros(1, bool), up=True)
    zone = e.flags & (TINY_AS_ZERO | ZERO_MISSING) > 0
    in_zone = [zone & (np.abs(side) <= ZERO_THRESHOLD) for side in (left, right)]
    if in_zone[0].any() or in_zone[1].any():  # all of it goes one way: that of zero, or of missing values
        missing, zero_left = e.flags & ZERO_MISSING > 0, np.where(equal, t >= 0, t > 0)
        beyond = float(np.nextafter(ZERO_THRESHOLD, 1))
        one_way = (in_zone[0] | in_zone[1]) & ~missing
        left = np.where(
            in_zone[0] & missing, -beyond, np.where(one_way, np.where(zero_left, ZERO_THRESHOLD, -beyond), left)
        )
        right = np.where(
            in_zone[1] & missing, beyond, np.where(one_way, np.where(zero_left, beyond, -ZERO_THRESHOLD), right)
        )
    return left, right


def _beside(t: Floats, single: npt.NDArray[np.bool_], *, up: bool) -> Floats:
    to = np.inf if up else -np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        if not single.any():
            return np.asarray(np.nextafter(t, to))
        near = np.nextafter(t.astype(np.float32), np.float32(to)).astype(np.float64)
        return near if single.all() else np.where(single, near, np.nextafter(t, to))
