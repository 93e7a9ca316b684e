"""Probe rows that test whether a model was read correctly.

Rows are built backwards from the nodes: a row that reaches the node (its features set to values that the path allows, as often as possible
exactly on a boundary), with the node's own feature exactly on the threshold, just below it, just above it, or something nasty (NaN, infinities,
-0.0, denormals, unseen categories). So splits are tested exactly at their thresholds, wherever the data are.
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
    CATEGORICAL_SPLIT,
    FLOAT32_SPLIT,
    LESS_EQUAL,
    SET_RIGHT,
    TINY_AS_ZERO,
    ZERO_MISSING,
    TreeEnsemble,
)

__all__ = ["Domain", "ProbeRowMaker", "can_probe_every_node", "rows_for_every_node", "rows_for_some_nodes"]

MAX_NODE_VISITS: Final = 30_000_000  # node visits of the library's predict that rows for all trees may cost
MAX_PROBE_ROWS: Final = 30_000  # rows
MIN_PROBE_ROWS: Final = 900
MAX_NODES_COVERED: Final = 75_000  # models of no more nodes get rows at every one of them
MAX_ROUND_CELLS: Final = 20_000_000  # of such rows
POOL_ROWS: Final = 500  # rows, from which what a path leaves open is taken
_ODD_VALUES: Final = (0.0, -0.0, 5e-324, -1e-45, 1e-36, 1e-30, 1e30)

_NodeArray = npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class Domain:
    """The inputs that a library's predict accepts: whether NaN and infinities are allowed, and how many codes a categorical column has.

    ``sparse``: it also accepts a sparse matrix with stored zeros and missing values, and reads it the same.
    """

    nan: bool = True
    infinite: bool = True
    categories: Mapping[int, int] | None = None
    unseen: bool = True
    sparse: bool = False


def can_probe_every_node(ensemble: TreeEnsemble, domain: Domain) -> bool:
    """Whether `rows_everywhere` can be made: few enough nodes, none of which asks for categories or is a linear function.

    Category sets hold too many values for a few rows a node; they are tested by rows for all trees together.
    """
    is_small = (
        len(ensemble.left) <= MAX_NODES_COVERED and 2 * len(ensemble.left) * ensemble.inputs.width <= MAX_ROUND_CELLS
    )
    return (
        is_small
        and not domain.categories
        and not ensemble.has_linear_leaves
        and not (ensemble.flags & CATEGORICAL_SPLIT).any()
    )


def rows_for_every_node(maker: ProbeRowMaker) -> tuple[Floats, int, int]:
    """Make two rows for each node, to be evaluated by its own tree.

    At a leaf they are the two corners of its box: every feature at the largest value that its path allows, and every feature at the smallest.
    Left of any split stands a leaf whose largest value is the last that goes left, right of it one whose smallest is the first that goes
    right, and both sides are reached. So together the corners pin every threshold from both sides to the last bit, and visit every leaf.
    At a node inside, its own feature is NaN in one row, and something odd or one step further from the threshold in the other; features that
    its path does not ask for are odd as often as not, for the nodes below it and for other trees that are asked about the row.

    Returns:
        rows (nodes, 2, model columns); how many different split points they pin; how many the model has.
    """
    ensemble, rng = maker.ensemble, maker.rng
    low, high = _node_boxes(maker)
    is_inner = ensemble.left >= 0
    inner = np.flatnonzero(is_inner)
    ordinary = maker.ordinary_rows(POOL_ROWS)
    with_odd_values = np.where(
        rng.random(ordinary.shape) < 0.5, maker.odd_values(ordinary.size).reshape(ordinary.shape), ordinary
    )
    row_pool = np.concatenate([ordinary, with_odd_values])
    rows = row_pool[rng.integers(0, POOL_ROWS, (len(ensemble.left), 2)) + POOL_ROWS * is_inner[:, None]]
    has_low, has_high, possible = np.isfinite(low), np.isfinite(high), np.asarray(low <= high)
    has_low &= possible
    has_high &= possible
    swap_side = rng.integers(0, 2, (256, ensemble.inputs.width), dtype=bool)[rng.integers(0, 256, len(ensemble.left))]
    swap_side &= is_inner[:, None]
    use_own_side = has_low & ~(swap_side & has_high)
    np.copyto(rows[:, 0], low, where=use_own_side)
    np.copyto(rows[:, 0], high, where=has_high & ~use_own_side)
    use_own_side = has_high & ~(swap_side & has_low)
    np.copyto(rows[:, 1], high, where=use_own_side)
    np.copyto(rows[:, 1], low, where=has_low & ~use_own_side)
    own_column, rounds_to_float32 = ensemble.feature[inner], ensemble.flags[inner] & FLOAT32_SPLIT > 0
    rows[inner, 0, own_column] = np.nan if maker.domain.nan else maker.odd_values(len(inner))
    last_left_value, first_right_value = maker.last_left[inner], maker.first_right[inner]
    less_equal = ensemble.flags[inner] & LESS_EQUAL > 0
    one_step_further = np.where(
        less_equal,
        _next_float(last_left_value, rounds_to_float32, up=False),
        _next_float(first_right_value, rounds_to_float32, up=True),
    )
    rows[inner, 1, own_column] = np.where(rng.random(len(inner)) < 0.25, one_step_further, maker.odd_values(len(inner)))
    maker.clip_to_float32(rows)
    reached, first_node = np.asarray(possible.all(axis=1)), maker.first_node[inner]
    pinned = inner[reached[first_node + ensemble.left[inner]] & reached[first_node + ensemble.right[inner]]]
    total = len(maker.split_nodes)
    return (
        rows,
        total if len(pinned) == len(inner) else len(_distinct_thresholds(_group_by_column(ensemble, pinned), ensemble)),
        total,
    )


def _node_boxes(maker: ProbeRowMaker) -> tuple[Floats, Floats]:
    """Smallest and largest value of each column that lead to each node, each (nodes, columns)."""
    ensemble = maker.ensemble
    low = np.full((len(ensemble.left), ensemble.inputs.width), -np.inf)
    high = -low
    level = ensemble.tree_offsets[:-1]
    while level.size:
        inner = level[ensemble.left[level] >= 0]
        left, right, column = (
            maker.first_node[inner] + ensemble.left[inner],
            maker.first_node[inner] + ensemble.right[inner],
            ensemble.feature[inner],
        )
        for children in (left, right):
            low[children], high[children] = low[inner], high[inner]
        high[left, column] = np.minimum(high[left, column], maker.last_left[inner])
        low[right, column] = np.maximum(low[right, column], maker.first_right[inner])
        level = np.concatenate([left, right])
    return low, high


def rows_for_some_nodes(maker: ProbeRowMaker, max_rows: int = MAX_PROBE_ROWS) -> tuple[Floats, int, int]:
    """Make rows that reach nodes exactly on their thresholds, to be evaluated by all trees together.

    Returns:
        rows (n, model columns); how many different split points they stand on; how many the model has.
    """
    ensemble, rng, width = maker.ensemble, maker.rng, maker.ensemble.inputs.width
    depth = max(1.0, tree_shap.native_ensemble(ensemble).depth)
    n_rows = int(np.clip(MAX_NODE_VISITS / max(1.0, ensemble.n_trees * depth), min(MIN_PROBE_ROWS, max_rows), max_rows))
    n_rows = int(min(n_rows, max(60, 4e7 / max(1, width))))
    if not (ensemble.left >= 0).any():
        return maker.ordinary_rows(min(n_rows, 50)), 0, 0
    split_nodes = maker.split_nodes
    chosen_nodes = split_nodes[rng.choice(len(split_nodes), min(n_rows // 4, len(split_nodes)), replace=False)]
    if len(chosen_nodes) < n_rows // 4:
        other_nodes = np.setdiff1d(np.flatnonzero(ensemble.left >= 0), chosen_nodes)
        chosen_nodes = np.concatenate([chosen_nodes, rng.permutation(other_nodes)[: n_rows // 4 - len(chosen_nodes)]])
    probe_rows = maker.ordinary_rows(4 * len(chosen_nodes) + min(200, n_rows // 4))
    maker.put_rows_around(chosen_nodes, probe_rows)
    maker.clip_to_float32(probe_rows)
    return probe_rows, min(len(split_nodes), len(chosen_nodes)), len(split_nodes)


@final
@dataclass
class ProbeRowMaker:
    """Makes probe rows; holds what all of them need."""

    ensemble: TreeEnsemble
    domain: Domain
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    first_node: _NodeArray = field(init=False)  # of each node's tree
    members_seen: dict[int, npt.NDArray[np.int64]] = field(
        default_factory=dict
    )  # members of the category sets met so far

    def __post_init__(self) -> None:
        self.first_node = np.repeat(self.ensemble.tree_offsets[:-1], np.diff(self.ensemble.tree_offsets))
        self.last_left, self.first_right = _split_sides(self.ensemble)

    @cached_property
    def nodes_by_column(self) -> dict[int, _NodeArray]:
        """Nodes that compare numbers, by column, in the order of their thresholds."""
        return _group_by_column(
            self.ensemble, np.flatnonzero((self.ensemble.left >= 0) & (self.ensemble.flags & CATEGORICAL_SPLIT == 0))
        )

    @cached_property
    def split_nodes(self) -> _NodeArray:
        """One node for each different split point; each category set counts as different."""
        sets = np.flatnonzero((self.ensemble.left >= 0) & (self.ensemble.flags & CATEGORICAL_SPLIT > 0))
        return np.concatenate([sets, _distinct_thresholds(self.nodes_by_column, self.ensemble)])

    @cached_property
    def thresholds_by_column(self) -> dict[int, Floats]:
        """Finite thresholds of each column, in order."""
        all_thresholds = {column: self.ensemble.threshold[nodes] for column, nodes in self.nodes_by_column.items()}
        finite = {column: values[np.isfinite(values)] for column, values in all_thresholds.items()}
        return {column: values for column, values in finite.items() if len(values)}

    @cached_property
    def parents_of_nodes(self) -> tuple[_NodeArray, npt.NDArray[np.bool_]]:
        """For every node: its parent among all nodes (-1 at roots), and whether it is a left child."""
        parent, left_child = (
            np.full(len(self.ensemble.left), -1, dtype=np.int64),
            np.zeros(len(self.ensemble.left), dtype=bool),
        )
        inner = np.flatnonzero(self.ensemble.left >= 0)
        left = self.first_node[inner] + self.ensemble.left[inner]
        parent[left] = inner
        parent[self.first_node[inner] + self.ensemble.right[inner]] = inner
        left_child[left] = True
        return parent, left_child

    def odd_values(self, count: int) -> Floats:
        """Return values at the limits: zeros, denormals, huge values, NaN and infinities."""
        values = [*_ODD_VALUES] + [np.nan] * 3 * self.domain.nan + [np.inf, -np.inf] * self.domain.infinite
        return self.rng.choice(np.array(values), count)

    def clip_to_float32(self, rows: Floats) -> None:
        """Clip to the range of float32, if the library refuses infinities and values that overflow to them."""
        if not self.domain.infinite:
            np.clip(rows, -3e38, 3e38, out=rows)

    def ordinary_rows(self, n_rows: int) -> Floats:
        """Return rows of split points, points between them, and missing values, column by column."""
        ensemble, rng = self.ensemble, self.rng
        rows = rng.normal(size=(n_rows, ensemble.inputs.width)).round(1)
        for column, thresholds in self.thresholds_by_column.items():
            step = rng.choice([0.0, 1.0, -1.0], n_rows) * rng.choice([0.0, 1e-3, 1.0], n_rows)
            rows[:, column] = rng.choice(thresholds, n_rows) + step * (thresholds[-1] - thresholds[0] + 1)
        for column in np.unique(ensemble.feature[(ensemble.flags & CATEGORICAL_SPLIT > 0) & (ensemble.left >= 0)]):
            rows[:, column] = self.category_codes(int(column), n_rows)
        for column in self.domain.categories or {}:
            rows[:, column] = self.category_codes(column, n_rows)
        if self.domain.nan:
            rows[rng.random(rows.shape) < 0.05] = np.nan
        return rows

    def category_codes(self, column: int, n_rows: int) -> Floats:
        """Return codes of a categorical column: any code, or in half of the rows one of the large codes that sets list."""
        ensemble = self.ensemble
        n_codes = (self.domain.categories or {}).get(column)
        if n_codes is None:
            n_codes = int(
                32
                * ensemble.set_words[(ensemble.feature == column) & (ensemble.flags & CATEGORICAL_SPLIT > 0)].max(
                    initial=1
                )
            )
        codes = self.rng.integers(0, max(n_codes, 1), n_rows).astype(np.float64)
        large_codes = self.listed_categories.get(column)
        if large_codes is not None:
            near_listed = self.rng.choice(large_codes, n_rows) + (
                self.rng.choice([0, 0, 0, 1], n_rows) if self.domain.unseen else 0
            )
            codes = np.where(self.rng.random(n_rows) < 0.5, near_listed, codes)
        return codes

    @cached_property
    def listed_categories(self) -> dict[int, Floats]:
        """Categories of each column whose sets are lists."""
        members_by_column: dict[int, list[npt.NDArray[np.int64]]] = {}
        for node in np.flatnonzero((self.ensemble.set_words < 0) & (self.ensemble.left >= 0)).tolist():
            members_by_column.setdefault(int(self.ensemble.feature[node]), []).append(self.ensemble.set_members(node))
        return {
            column: np.unique(np.concatenate(sets)).astype(np.float64) for column, sets in members_by_column.items()
        }

    def put_rows_around(self, nodes: _NodeArray, out: Floats) -> None:
        """Change the first rows of `out`, four a node, so that they reach it, with its own feature on, below, above its threshold, or odd."""
        ensemble, domain, n_nodes = self.ensemble, self.domain, len(nodes)
        self._obey_paths(np.tile(nodes, 4), out[: 4 * n_nodes])
        columns, thresholds, rounds_to_float32 = (
            ensemble.feature[nodes],
            ensemble.threshold[nodes],
            ensemble.flags[nodes] & FLOAT32_SPLIT > 0,
        )
        categorical = ensemble.flags[nodes] & CATEGORICAL_SPLIT > 0
        below, above = (
            _next_float(thresholds, rounds_to_float32, up=False),
            _next_float(thresholds, rounds_to_float32, up=True),
        )
        for variant, numbers in enumerate((thresholds, below, above, self.odd_values(n_nodes))):
            rows, value = np.arange(variant * n_nodes, (variant + 1) * n_nodes), numbers
            if categorical.any():
                value = np.where(categorical, self._categories(columns, categorical, odd=variant == 3), numbers)
            elif domain.categories:
                value = np.where(np.isin(columns, list(domain.categories)), out[rows, columns], numbers)
            fits = np.isfinite(value) | (np.isnan(value) & domain.nan) | domain.infinite
            out[rows, columns] = np.where(fits, value, out[rows, columns])

    def _categories(self, columns: npt.NDArray[np.int32], categorical: npt.NDArray[np.bool_], *, odd: bool) -> Floats:
        """Return a code for each categorical node, or an unusual value."""
        unusual = ([np.nan] if self.domain.nan else []) + ([-1.0, 1e6, 1e12] if self.domain.unseen else [])
        if unusual and (self.ensemble.flags & CATEGORICAL_SPLIT > 0)[self.ensemble.flags & TINY_AS_ZERO > 0].any():
            unusual += [-0.5, 0.5]  # whose fraction is cut off
        if odd and unusual:
            return self.rng.choice(np.array(unusual), len(columns))
        return np.array(
            [self.category_codes(int(c), 1)[0] if k else 0.0 for c, k in zip(columns, categorical, strict=True)]
        )

    def _obey_paths(self, nodes: _NodeArray, out: Floats) -> None:
        """Set in `out`, row by row, values that lead from the root to the node."""
        ensemble = self.ensemble
        parent, left_child = self.parents_of_nodes
        rows = np.arange(len(nodes))
        low, high = np.full_like(out, -np.inf), np.full_like(out, np.inf)
        child = nodes.copy()
        while True:
            parent_nodes = parent[child]
            has_parent = parent_nodes >= 0
            if not has_parent.any():
                break
            at_rows, parents, left = rows[has_parent], parent_nodes[has_parent], left_child[child[has_parent]]
            self._obey_sets(at_rows, parents, left, out)
            numeric = ensemble.flags[parents] & CATEGORICAL_SPLIT == 0
            at_rows, parents, left = at_rows[numeric], parents[numeric], left[numeric]
            column, top, bottom = ensemble.feature[parents], self.last_left[parents], self.first_right[parents]
            high[at_rows[left], column[left]] = np.minimum(high[at_rows[left], column[left]], top[left])
            low[at_rows[~left], column[~left]] = np.maximum(low[at_rows[~left], column[~left]], bottom[~left])
            child = np.where(has_parent, parent_nodes, child)
        is_bounded = (np.isfinite(low) | np.isfinite(high)) & (low <= high)
        pick_low = np.isfinite(low) & (~np.isfinite(high) | (self.rng.random(out.shape) < 0.5))
        np.copyto(out, np.where(pick_low, low, high), where=is_bounded)

    def _obey_sets(self, rows: _NodeArray, nodes: _NodeArray, goes_to_left: npt.NDArray[np.bool_], out: Floats) -> None:
        ensemble = self.ensemble
        for i in np.flatnonzero(ensemble.flags[nodes] & CATEGORICAL_SPLIT > 0):
            node, row = int(nodes[i]), int(rows[i])
            if node not in self.members_seen:
                self.members_seen[node] = ensemble.set_members(node)
            members, draw = self.members_seen[node], row * 7919
            if goes_to_left[i] != bool(ensemble.flags[node] & SET_RIGHT):  # a member
                code = members[draw % len(members)] if len(members) else -1
            else:  # the gap before a member holds codes that are none
                code = draw % (int(members[-1]) + 2 - len(members) if len(members) else 1)
                code += np.searchsorted(members - np.arange(len(members)), code, side="right")
            value = np.array([float(code)])
            if code >= 0 and goes_left(ensemble, node, value)[0] == goes_to_left[i]:
                out[row, ensemble.feature[node]] = value[0]


def _group_by_column(ensemble: TreeEnsemble, nodes: _NodeArray) -> dict[int, _NodeArray]:
    """Nodes of each column, sorted by threshold; sorting by column is five times as fast as one sort of all."""
    column = ensemble.feature[nodes]
    if ensemble.inputs.width < 2**15:
        column = column.astype(np.int16)  # sorted by counting
    nodes = nodes[np.argsort(column, kind="stable")]
    ends = np.cumsum(np.bincount(column, minlength=1))
    groups = {int(c): nodes[a:b] for c, (a, b) in enumerate(zip([0, *ends[:-1]], ends, strict=True)) if b > a}
    return {c: group[np.argsort(ensemble.threshold[group])] for c, group in groups.items()}


def _distinct_thresholds(columns: Mapping[int, _NodeArray], ensemble: TreeEnsemble) -> _NodeArray:
    """Return the first node of each different threshold of each column."""
    firsts = []
    for nodes in columns.values():
        thresholds = ensemble.threshold[nodes]
        firsts.append(nodes[np.concatenate([[True], thresholds[1:] != thresholds[:-1]])])
    return np.concatenate(firsts) if firsts else np.empty(0, np.int64)


def _split_sides(ensemble: TreeEnsemble) -> tuple[Floats, Floats]:
    """Largest value that goes left and smallest that goes right at each numeric node, with the node's own comparison."""
    thresholds, less_equal, rounds_to_float32 = (
        ensemble.threshold,
        ensemble.flags & LESS_EQUAL > 0,
        ensemble.flags & FLOAT32_SPLIT > 0,
    )
    with np.errstate(over="ignore", invalid="ignore"):
        left = np.where(less_equal, thresholds, _next_float(thresholds, np.zeros(1, bool), up=False))
    if rounds_to_float32.any():  # the last number that is rounded to a float32 that goes left: half way to the next
        with np.errstate(over="ignore", invalid="ignore"):
            nearest = thresholds.astype(np.float32)
            nearest = np.where(
                (nearest > thresholds) | ((nearest == thresholds) & ~less_equal),
                np.nextafter(nearest, np.float32(-np.inf)),
                nearest,
            )
            half_way = (nearest.astype(np.float64) + np.nextafter(nearest, np.float32(np.inf)).astype(np.float64)) / 2
            half_way = np.where(half_way.astype(np.float32) == nearest, half_way, np.nextafter(half_way, -np.inf))
        left = np.where(rounds_to_float32, np.where(np.isfinite(half_way), half_way, nearest), left)
    right = _next_float(left, np.zeros(1, bool), up=True)
    has_zero_zone = ensemble.flags & (TINY_AS_ZERO | ZERO_MISSING) > 0
    in_zone = [has_zero_zone & (np.abs(side) <= ZERO_THRESHOLD) for side in (left, right)]
    if in_zone[0].any() or in_zone[1].any():  # all of it goes one way: that of zero, or of missing values
        zero_is_missing, zero_left = (
            ensemble.flags & ZERO_MISSING > 0,
            np.where(less_equal, thresholds >= 0, thresholds > 0),
        )
        beyond = float(np.nextafter(ZERO_THRESHOLD, 1))
        one_way = (in_zone[0] | in_zone[1]) & ~zero_is_missing
        left = np.where(
            in_zone[0] & zero_is_missing, -beyond, np.where(one_way, np.where(zero_left, ZERO_THRESHOLD, -beyond), left)
        )
        right = np.where(
            in_zone[1] & zero_is_missing, beyond, np.where(one_way, np.where(zero_left, beyond, -ZERO_THRESHOLD), right)
        )
    return left, right


def _next_float(values: Floats, rounds_to_float32: npt.NDArray[np.bool_], *, up: bool) -> Floats:
    direction = np.inf if up else -np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        if not rounds_to_float32.any():
            return np.asarray(np.nextafter(values, direction))
        nearest = np.nextafter(values.astype(np.float32), np.float32(direction)).astype(np.float64)
        return (
            nearest
            if rounds_to_float32.all()
            else np.where(rounds_to_float32, nearest, np.nextafter(values, direction))
        )
