"""A second way to compute attributions and interactions of a few rows, for the checks of an answer: slow, in NumPy, without the kernel that ran.

Trees are added up leaf by leaf (:mod:`whybox.kernels.leaf_games`); games that no sum over leaves describes, coalition by coalition. Where that is too much work
for a check, the kernel that ran is run again on a part of the problem: some of the trees, or one background row and some of the players.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels.leaf_games import MAX_SLOTS, BackgroundBits, Bits, LeafGames, add_cells, leaf_games
from whybox.kernels.predict import raw_outputs, rounding_scale
from whybox.methods.shap.added_columns import split_added
from whybox.methods.shap.compute import KernelRunner
from whybox.methods.shap.link_slopes import slopes_between
from whybox.methods.shap.problem import ShapProblem
from whybox.methods.shap.second_way_linear import CoalitionsByRegression, LinearTerms
from whybox.methods.shap.second_way_rows import SecondWay, SparseValues, picked_outputs, result_rows, row_of_worths
from whybox.models.trees import TreeEnsemble

__all__ = ["choose_second_way", "kernel_nanoseconds"]

# Nanoseconds that NumPy takes, on a 2.6 GHz server core, as far as they decide how much is recomputed.
LAYOUT_PER_NODE: Final = 250.0
BITS_PER_BACKGROUND_ROW: Final = 28.0  # of each leaf
ROW_PER_ENTRY, PAIRS_PER_ENTRY = 18.0, 1.0  # of distinct bits at a leaf; pairs by the square of the slots
PATH_PER_FACTOR: Final = 17.0
PREDICTION_PER_TREE, COALITION_PER_TREE = 40.0, 6.0  # one by one; in the kernel that enumerates them
NANOSECONDS_PER_COALITION: Final = 30_000.0  # for each coalition
ENTRIES_PER_LEAF: Final = 24.0  # distinct bits of many background rows at a leaf, about
NODES_TOGETHER: Final = 2**22  # nodes times background rows laid out at a time
MAX_OUTPUTS: Final = 8  # outputs recomputed together
MAX_PLAYERS_ENUMERATED: Final = 12
MAX_PLAYERS_VARIED: Final = 8  # of a row against one background row
NUMBERS_WANTED: Final = 64  # that are recomputed, rather than more outputs or trees: they find a tenth of wrong numbers in 999 of 1,000 runs
MAX_ROWS_WANTED: Final = 16

Ints = npt.NDArray[np.int64]


def choose_second_way(
    problem: ShapProblem, runner: KernelRunner, nanoseconds: float, rng: np.random.Generator
) -> SecondWay | None:
    """Return the best way that takes no longer; None where there is nothing to recompute.

    Args:
        nanoseconds: how long it may take, as counted, not measured.
        rng: draws outputs, trees and players.
    """
    if problem.kernel == "linear":
        return LinearTerms(problem)
    if problem.kernel == "linear, correlated":
        return CoalitionsByRegression.draw(problem, rng)
    model = problem.model
    in_leaves = isinstance(model, TreeEnsemble) and not model.has_linear_leaves
    if in_leaves and problem.kernel in ("path-dependent", "interventional"):
        found = _plan_leaf_by_leaf(problem, runner, nanoseconds, rng)
        if found is not None or problem.background is None:
            return found
    return _plan_coalition_by_coalition(problem, runner, nanoseconds, rng)


def kernel_nanoseconds(problem: ShapProblem, runner: KernelRunner, rows: int) -> float:
    """About how long the kernel takes for this many rows, on one thread, as counted."""
    planned = runner.estimated_nanoseconds(rows)
    if np.isfinite(planned):
        return planned
    background = 0 if problem.background is None else len(problem.background.matrix)
    if problem.kernel == "enumeration":
        return float(rows) * background * 2.0 ** len(problem.players_read) * _tree_count(problem) * COALITION_PER_TREE
    nodes = len(problem.model.left) if isinstance(problem.model, TreeEnsemble) else problem.model.inputs.width
    return float(rows) * background * nodes


def _tree_count(problem: ShapProblem) -> int:
    return max(problem.model.n_trees, 1) if isinstance(problem.model, TreeEnsemble) else 1


def _kernel_values(problem: ShapProblem, runner: KernelRunner, X: Floats, outputs: Ints) -> Floats:
    """What the kernel says of rows of a part of a problem, (rows, *computed shape, outputs)."""
    picks, signs = picked_outputs(problem, outputs)
    return np.asarray(runner.compute_values(X, "")[..., picks] * signs)


# Leaf by leaf


@final
@dataclass(frozen=True, eq=False)
class _LeafByLeaf:
    """Adds up the leaves of all trees, or of some of them: then `part` is the problem about those, and `runner` its kernels."""

    problem: ShapProblem
    runner: KernelRunner
    output_positions: Ints
    max_rows: int
    leaf_games: tuple[tuple[LeafGames, BackgroundBits | None], ...]
    description: str
    is_part: bool

    def recompute_values(self, X: Floats) -> tuple[Floats, Floats]:
        picks, signs = picked_outputs(self.problem, self.output_positions)
        found: list[list[list[SparseValues]]] = [[[] for _ in range(self.problem.options.order)] for _ in X]
        for games, background in self.leaf_games:
            bits = games.slot_bits(X)
            for row, cells in enumerate(found):
                for k in range(self.problem.options.order):
                    cells[k].append(self._sparse_values(games, background, np.ascontiguousarray(bits[:, row]), k + 1))
        size = np.broadcast_to(rounding_scale(self.problem.model, X), (len(X), len(self.problem.model.base)))
        return np.stack([self._result_row(cells) for cells in found]) * signs, np.asarray(size[:, picks])

    def _sparse_values(
        self, games: LeafGames, background: BackgroundBits | None, bits: Bits, order: int
    ) -> SparseValues:
        index, count = self.problem.options.game_index, self.problem.players.count
        if background is None:
            return games.path_dependent_values(bits, index.rule(max(games.slots - order, 0)), order, count)
        return games.interventional_values(bits, background, index.rule(games.slots), order, count)

    def _result_row(self, cells: list[list[SparseValues]]) -> Floats:
        count = self.problem.players.count
        summed = [
            add_cells(np.concatenate([c for c, _ in each]), np.concatenate([n for _, n in each]), count ** (k + 1))
            for k, each in enumerate(cells)
        ]
        return result_rows(self.problem, summed[0], summed[1] if len(summed) == 2 else None)

    def kernel_values(self, X: Floats) -> Floats | None:
        return _kernel_values(self.problem, self.runner, X, self.output_positions) if self.is_part else None


def _plan_leaf_by_leaf(
    problem: ShapProblem, runner: KernelRunner, nanoseconds: float, rng: np.random.Generator
) -> _LeafByLeaf | None:
    forest = problem.model
    assert isinstance(forest, TreeEnsemble)  # noqa: S101  # the caller knows
    slots = problem.players_on_path
    nodes = np.diff(forest.tree_offsets)
    if not forest.n_trees or slots.max() > MAX_SLOTS:
        return None
    fixed, row = _costs_by_tree(problem, nodes, slots)
    rows_wanted = int(np.clip(-(-NUMBERS_WANTED // max(len(problem.players_read), 1)), 1, MAX_ROWS_WANTED))
    cost = fixed + rows_wanted * row
    outputs, trees = _affordable_outputs(problem, cost, nanoseconds, rng)
    some = trees
    if (fixed + (rows_wanted + 1) // 2 * row)[trees].sum() > nanoseconds:
        cost = (
            cost + kernel_nanoseconds(problem, runner, rows_wanted) * nodes / nodes.sum()
        )  # of the same kernel on a part
        some = rng.permutation(trees)
        some = np.sort(some[np.cumsum(cost[some]) <= nanoseconds])
        if not len(some):
            cheapest = trees[np.argmin(cost[trees])]
            if problem.background is not None:
                return None
            some = np.array([cheapest])
    is_part = len(some) < len(trees)
    spent, each = float(fixed[some].sum()), float(row[some].sum())
    about = problem
    words = "leaf by leaf"
    if is_part:
        about = replace(problem, model=_select_trees(forest, some), options=replace(problem.options, sparse=False))
        runner = runner.same_kernels(about)
        words = f"leaf by leaf for {len(some):,} of {len(trees):,} trees, given to the same kernel (all would take longer than a check may)"
        some = np.arange(len(some))
    background = problem.background
    most = NODES_TOGETHER // (1 if background is None else len(background.matrix))
    picks, _ = picked_outputs(problem, outputs)
    games = [
        (part, None if background is None else part.background_bits(background.matrix, background.weights))
        for part in leaf_games(about.model, problem.players.of_column, some, picks.tolist(), most)  # type: ignore[arg-type]  # trees
    ]
    if background is not None and not is_part:
        each *= sum(len(b.leaf) for _, b in games if b is not None) / max(
            _background_entries(problem, nodes[trees]).sum(), 1
        )
    rows = int(max((nanoseconds - spent) / max(each, 1.0), 1))
    return _LeafByLeaf(about, runner, outputs, rows, tuple(games), words, is_part)


def _costs_by_tree(problem: ShapProblem, nodes: Ints, slots: npt.NDArray[np.int32]) -> tuple[Floats, Floats]:
    """Nanoseconds to lay out each tree with the background, and for each row."""
    leaves: Floats = np.asarray((nodes + 1) / 2, dtype=np.float64)
    many: Floats = slots.astype(np.float64)
    layout: Floats = LAYOUT_PER_NODE * nodes.astype(np.float64)
    pairs = problem.options.order - 1
    if problem.background is None:
        factors = leaves * many * np.ceil(many / 2) * (1 + pairs * many / 2)
        return layout, np.asarray(PATH_PER_FACTOR * factors, dtype=np.float64)
    fixed = layout + BITS_PER_BACKGROUND_ROW * leaves * len(problem.background.matrix)
    row = _background_entries(problem, nodes) * (ROW_PER_ENTRY + pairs * PAIRS_PER_ENTRY * many**2)
    return fixed, np.asarray(row, dtype=np.float64)


def _background_entries(problem: ShapProblem, nodes: Ints) -> Floats:
    assert problem.background is not None  # noqa: S101  # the caller knows
    return (nodes + 1) / 2 * min(len(problem.background.matrix), ENTRIES_PER_LEAF)


def _affordable_outputs(
    problem: ShapProblem, cost: Floats, nanoseconds: float, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Draw as many of the outputs explained as can be recomputed, at least one, and return them with the trees that add to them."""
    forest = problem.model
    assert isinstance(forest, TreeEnsemble)  # noqa: S101  # the caller knows
    picks = np.array(problem.selection.output_positions)
    order = rng.permutation(len(picks))[:MAX_OUTPUTS]
    shared = forest.tree_output < 0
    trees = np.flatnonzero(shared | (forest.tree_output == picks[order[0]]))
    many = 1
    for k in range(2, len(order) + 1):
        more = np.flatnonzero(shared | np.isin(forest.tree_output, picks[order[:k]]))
        if cost[more].sum() > nanoseconds:
            break
        trees, many = more, k
    return np.sort(order[:many]), trees if len(trees) else np.arange(1)


def _select_trees(forest: TreeEnsemble, trees: Ints) -> TreeEnsemble:
    """The same ensemble with some of its trees."""
    spans = [np.arange(forest.tree_offsets[t], forest.tree_offsets[t + 1]) for t in trees]
    nodes = np.concatenate(spans)
    arrays = ("left", "right", "feature", "leaf", "threshold", "cover", "flags", "set_begin", "set_words")
    return replace(
        forest,
        tree_offsets=np.concatenate([[0], np.cumsum([len(span) for span in spans])]).astype(np.int64),
        **{name: getattr(forest, name)[nodes] for name in arrays},
        gain=None,
        tree_output=forest.tree_output[trees],
        tree_weight=forest.tree_weight[trees],
    )


# Coalition by coalition


@final
@dataclass(frozen=True, eq=False)
class _CoalitionByCoalition:
    """Evaluates every coalition of some players: of all that are read, or, where that is too much, of a few against one background row."""

    problem: ShapProblem  # with one background row where `is_part`
    runner: KernelRunner
    output_positions: Ints
    max_rows: int
    description: str
    is_part: bool
    players: Ints  # those that are read, in an order that was drawn

    def recompute_values(self, X: Floats) -> tuple[Floats, Floats]:
        values, sizes = zip(*(self._result_row(*self._varied_players(x)) for x in X), strict=True)
        return np.stack(values), np.stack(sizes)

    def kernel_values(self, X: Floats) -> Floats | None:
        if not self.is_part:
            return None
        found = []
        for x in X:
            mixed, players = self._varied_players(x)
            problem = replace(self.problem, players_read=np.sort(players)) if len(players) else self.problem
            found.append(_kernel_values(problem, self.runner.same_kernels(problem), mixed[None], self.output_positions))
        return np.concatenate(found)

    def _varied_players(self, x: Floats) -> tuple[Floats, Ints]:
        """The row to recompute, and the players whose coalitions are evaluated: the others have the values of the background row."""
        if not self.is_part:
            return x, self.players
        of_column = self.problem.players.of_column
        assert self.problem.background is not None  # noqa: S101  # coalitions need one
        x, added = split_added(x, len(of_column))
        donor = self.problem.background.matrix[0]
        differs = np.unique(of_column[(x != donor) & ~(np.isnan(x) & np.isnan(donor))])
        players = self.players[np.isin(self.players, differs)][:MAX_PLAYERS_VARIED]
        mixed = np.ascontiguousarray(np.where(np.isin(of_column, players), x, donor))
        return mixed if added is None else np.concatenate([mixed, added]), players

    def _result_row(self, x: Floats, players: Ints) -> tuple[Floats, Floats]:
        picks, signs = picked_outputs(self.problem, self.output_positions)
        worths, size = self._coalition_worths(x, players, picks)
        return row_of_worths(self.problem, worths, players) * signs, size

    def _coalition_worths(self, x: Floats, players: Ints, picks: Ints) -> tuple[Floats, Floats]:
        """What each coalition is worth, (2^players, outputs), and the size of what was summed."""
        problem, background = self.problem, self.problem.background
        assert background is not None  # noqa: S101  # coalitions need one
        B, link = background.matrix, problem.model.outputs.link
        x, of_row = split_added(x, B.shape[1])
        added = np.zeros(len(problem.model.base)) if of_row is None else of_row
        raw_size = np.abs(added) + np.broadcast_to(
            rounding_scale(problem.model, np.concatenate([x[None], B])), (len(B) + 1, len(problem.model.base))
        ).max(axis=0)
        weights = np.repeat(background.weights[:, None], len(problem.model.base), axis=1)
        size = raw_size
        if problem.kernel == "rescaled":
            fx, fb = raw_outputs(problem.model, x[None]), raw_outputs(problem.model, B)
            slope = np.stack([slopes_between(link, fx, fb, k)[0] for k in range(fx.shape[1])], axis=1)
            weights = weights * slope
            size = np.abs(slope).max(axis=0) * raw_size + np.abs(link(fx)).max() + np.abs(link(fb)).max()
        columns = [problem.players.of_column == player for player in players]
        worths = np.zeros((2 ** len(players), len(problem.model.base)))
        for coalition in range(2 ** len(players)):
            from_x = np.zeros(len(x), dtype=bool)
            for j, those in enumerate(columns):
                if coalition >> j & 1:
                    from_x |= those
            raw = raw_outputs(problem.model, np.ascontiguousarray(np.where(from_x, x, B))) + added
            outputs = raw
            if problem.kernel == "enumeration":
                outputs, step = link(raw), 1e-6 * raw_size
                size = np.maximum(
                    size, np.abs(outputs).max(axis=0) + 1e6 * np.abs(link(raw + step) - link(raw - step)).max(axis=0)
                )
            worths[coalition] = (weights * outputs).sum(axis=0)
        return worths[:, picks], size[picks]


def _plan_coalition_by_coalition(
    problem: ShapProblem, runner: KernelRunner, nanoseconds: float, rng: np.random.Generator
) -> _CoalitionByCoalition | None:
    background = problem.background
    if background is None:
        return None
    read = rng.permutation(problem.players_read)
    outputs = np.sort(rng.permutation(len(problem.selection.output_positions))[:MAX_OUTPUTS])
    prediction = PREDICTION_PER_TREE * _tree_count(problem)
    row = 2.0 ** len(read) * (NANOSECONDS_PER_COALITION + prediction * len(background.matrix))
    if len(read) <= MAX_PLAYERS_ENUMERATED and row <= nanoseconds:
        return _CoalitionByCoalition(
            problem, runner, outputs, int(nanoseconds // row), "coalition by coalition", False, read
        )
    one = rng.choice(len(background.matrix), p=background.weights)
    single = replace(background, matrix=np.ascontiguousarray(background.matrix[[one]]), weights=np.ones(1))
    part = replace(problem, background=single, options=replace(problem.options, sparse=False))
    row = 2.0 ** min(MAX_PLAYERS_VARIED, len(read)) * (NANOSECONDS_PER_COALITION + prediction)
    words = (
        f"coalition by coalition for {min(MAX_PLAYERS_VARIED, len(read))} features against one background row, given to the same kernel "
        "(all would take longer than a check may)"
    )
    return _CoalitionByCoalition(
        part, runner, outputs, int(np.clip(nanoseconds // row, 1, MAX_ROWS_WANTED)), words, True, read
    )
