"""One function a kernel: a block of encoded rows in, values of the model's outputs out, on the scale explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.core.workers import thread_count
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.games.exact import exact_values, interventional_worths
from whybox.kernels import compiled_trees, predict, tree_shap
from whybox.kernels.compiled_trees import CompiledTrees
from whybox.methods.shap.added_columns import split_added
from whybox.methods.shap.additive_values import AdditiveTables, additive_hybrids
from whybox.methods.shap.linear_values import linear_attributions, linear_hybrids
from whybox.methods.shap.plan import (
    KernelPlan,
    cheapest_plan,
    make_compiled_trees,
    possible_plans,
    rows_to_choose_for,
    with_attributions,
)
from whybox.methods.shap.problem import KernelName, ShapProblem
from whybox.methods.shap.rescaled_values import rescaled_attributions
from whybox.models.additive import Additive
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["FLOAT32_ROUNDING", "CompiledProblem", "KernelRunner"]

TEMPORARY_BYTES: Final = 64 * 2**20  # bytes of results held beside the one being filled
FLOAT32_ROUNDING: Final = 3e-6  # what sums in float32 may lose, relative to the largest there can be
MIN_ROWS_PER_THREAD: Final = 4  # rows too few to be worth a thread
ROWS_WALKING_TOGETHER: Final = 2048  # rows that walk through a tree together against a hundred background rows
PAIRS_AT_ONCE: Final = (
    2**17
)  # pairs of a row and a background row, times trees, of one call of the kernel without tables
MAX_MOMENT_PLAYERS: Final = 48  # players on a path that a table of moments may have room for, though none has so many
MIN_ROWS_COUNTED: Final = 64  # rows that a call costs at least, for the vector kernels


@final
class CompiledProblem:
    """What an explainer keeps between calls about one problem: its base, and for each order the compiled trees and their plan."""

    def __init__(self, problem: ShapProblem) -> None:
        self.problem = problem
        self._choices: dict[tuple[object, ...], tuple[KernelPlan, ...]] = {}
        self._compiled: dict[tuple[object, ...], tuple[KernelPlan, CompiledTrees]] = {}
        self._latest: dict[tuple[object, ...], tuple[KernelPlan | None, CompiledTrees | None, int, int]] = {}
        self._gaussian_slopes: dict[int, Floats] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the problem, the plans, and how many rows have come; trees are compiled where they are needed."""
        latest = {key: (plan, prepared, seen) for key, (plan, _, prepared, seen) in self._latest.items()}
        return {
            "problem": self.problem,
            "plans": {key: plan for key, (plan, _) in self._compiled.items()},
            "latest": latest,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on with the same plans, so that not a bit changes, as far as the processor here has their instructions."""
        self.problem = state["problem"]
        self._choices, self._compiled, self._latest, self._gaussian_slopes = {}, {}, {}, {}
        available = {s.name for s in compiled_trees.instruction_sets()}
        for key, plan in state["plans"].items():
            if plan.instructions in available:
                self._compiled[key] = plan, make_compiled_trees(self.problem, key[0], plan)
        for key, (plan, prepared, seen) in state["latest"].items():
            compiled = (
                self._compiled[key][1] if key in self._compiled and plan is not None and plan.instructions else None
            )
            usable = plan is not None and (plan.instructions is None or compiled is not None)
            self._latest[key] = (plan, compiled, prepared, seen) if usable else (None, None, 0, seen)

    def plan(self, order: int, rows: int) -> KernelPlan:
        """Return how this many rows would be explained, were they to come now."""
        key = (order, compiled_trees.forced_key())
        kept = dict(self._compiled)
        plan, _ = self._choose_plan(key, order, rows + self._latest.get(key, (None, None, 0, 0))[3])
        self._compiled = kept
        plan = replace(plan, rows=rows)
        return with_attributions(plan, self.plan(1, rows)) if order == 2 else plan

    def plan_and_trees(self, order: int, rows: int) -> tuple[KernelPlan, CompiledTrees | None]:
        """Return a plan for this many rows, and compiled trees for it.

        Compiled trees are kept while they are the cheaper choice; an explainer that is called repeatedly prepares for as many rows to come
        as have come already.
        """
        key = (order, compiled_trees.forced_key())
        plan, compiled, prepared, seen = self._latest.get(key, (None, None, 0, 0))
        blocks = -(-rows // MIN_ROWS_COUNTED) * MIN_ROWS_COUNTED
        if plan is None or plan.rows != rows or seen >= prepared:
            plan, compiled = self._choose_plan(key, order, seen + rows)
            plan, prepared = replace(plan, rows=rows), 2 * (seen + blocks)
        self._latest[key] = plan, compiled, prepared, seen + blocks
        return plan, compiled

    def _choose_plan(self, key: tuple[object, ...], order: int, rows: int) -> tuple[KernelPlan, CompiledTrees | None]:
        if key not in self._choices:
            self._choices[key] = possible_plans(self.problem, order)
        best = cheapest_plan(self._choices[key], rows, chosen_for=rows_to_choose_for(self.problem, rows))
        if best.instructions is None:
            return best, None
        existing = self._compiled.get(key)
        if existing is not None:
            old = replace(existing[0], rows=rows)
            same = (old.kernel, old.bits, old.instructions) == (best.kernel, best.bits, best.instructions)
            if same or replace(old, build_seconds=0.0).seconds <= best.seconds:
                return old, existing[1]
        self._compiled[key] = best, make_compiled_trees(self.problem, order, best)
        return self._compiled[key]

    def gaussian_slopes(self, order: int) -> Floats:
        """By how much values rise with each model column, (players[, players], columns, outputs); of linear models with correlated features."""
        if order not in self._gaussian_slopes:
            self._gaussian_slopes[order] = self.problem.gaussian.row_slopes(self.problem.options.game_index, order)
        return self._gaussian_slopes[order]

    @cached_property
    def additive_tables(self) -> AdditiveTables:
        """The values of each term of an additive model."""
        problem = self.problem
        assert isinstance(problem.model, Additive)  # noqa: S101  # the kernel is for these
        assert problem.background is not None  # noqa: S101  # resolved by the problem
        return AdditiveTables(problem.model, problem.background, problem.players, problem.options.game_index)

    @cached_property
    def base(self) -> Floats:
        """Value when every player is absent, (model outputs,)."""
        problem = self.problem
        if problem.background is None:
            return tree_shap.expectation(_require_ensemble(problem))
        outputs = self._background_outputs
        if problem.selection.scale == "response":
            outputs = problem.model.outputs.link(outputs)
        return np.asarray(problem.background.weights @ outputs)

    def bases(self, added: Floats) -> Floats:
        """Value behind the link when every player is absent, of each row with what is added to its raw outputs: (rows, model outputs)."""
        background, link = self.problem.background, self.problem.model.outputs.link
        assert background is not None  # noqa: S101  # a link takes one
        with np.errstate(over="ignore"):
            return np.stack([background.weights @ link(self._background_outputs + of_row) for of_row in added])

    @cached_property
    def _background_outputs(self) -> Floats:
        """Raw outputs of the background rows, (background rows, model outputs)."""
        assert self.problem.background is not None  # noqa: S101  # the caller knows
        return predict.raw_outputs(self.problem.model, self.problem.background.matrix)


@final
class KernelRunner:
    """A resolved problem, ready to be run on blocks of rows.

    ``base`` has one entry for each of the *model's* outputs; the selection picks and signs them.

    Args:
        compiled: the problem, with what earlier calls have compiled for it.
        rows: how many rows will come, which decides how much is worth preparing.
        plans: what to run for each order, where that is decided.
    """

    def __init__(
        self,
        compiled: CompiledProblem,
        rows: int,
        plans: Mapping[int, tuple[KernelPlan, CompiledTrees | None]] | None = None,
    ) -> None:
        self.problem = compiled.problem
        self._compiled_problem = compiled
        orders = range(1, self.problem.options.order + 1)
        self._plans = {order: compiled.plan_and_trees(order, rows) for order in orders} if plans is None else plans
        self._threads = thread_count(self.problem.options.n_jobs)

    def same_kernels(self, problem: ShapProblem) -> KernelRunner:
        """Return what runs the same kernels on another problem, of the same orders."""
        plans = {
            order: (plan, None if plan.instructions is None else make_compiled_trees(problem, order, plan))
            for order, (plan, _) in self._plans.items()
        }
        return KernelRunner(CompiledProblem(problem), 0, plans)

    @property
    def kernel_plan(self) -> KernelPlan:
        """How the problem is computed: for order 2, how its pairs are."""
        return self._plans[self.problem.options.order][0]

    def estimated_nanoseconds(self, rows: int) -> float:
        """About how long this many rows take, on one thread, trees compiled; NaN where no plan says."""
        plans = [plan for plan, _ in self._plans.values()]
        return 1e9 * sum(plan.build_seconds + plan.row_seconds * rows for plan in plans)

    @property
    def nanoseconds_to_build_again(self) -> float:
        """About how long trees take to compile that did not fit into memory, on one thread."""
        plans = [plan for plan, _ in self._plans.values()]
        share = [max(0.0, 1 - compiled_trees.MAX_COMPILED_KEPT / max(plan.table_bytes, 1.0)) for plan in plans]
        return 1e9 * sum(s * plan.build_seconds for s, plan in zip(share, plans, strict=True))

    @property
    def relative_rounding(self) -> float:
        """What our own arithmetic may lose, relative to the largest sum there can be."""
        return FLOAT32_ROUNDING if any(plan.arithmetic == "float32" for plan, _ in self._plans.values()) else 1e-10

    @property
    def base(self) -> Floats:
        """Value when every player is absent, (model outputs,), of rows to whose raw outputs nothing is added."""
        return self._compiled_problem.base

    def bases(self, X: Floats) -> Floats:
        """Value when every player is absent, (model outputs,), or (rows, model outputs) of rows behind whose columns is what is added to raw outputs."""
        added = split_added(X, self.problem.model.inputs.width)[1]
        return self.base if added is None else self._compiled_problem.bases(added)

    def raw_outputs(self, X: Floats) -> Floats:
        """Raw outputs of encoded rows, (rows, model outputs), with what is added to them."""
        rows, added = split_added(X, self.problem.model.inputs.width)
        raw = predict.raw_outputs(self.problem.model, rows)
        return raw if added is None else raw + added

    def rounding_scale(self, X: Floats) -> Floats:
        """How large the summands can be: the yardstick for rounding."""
        rows, added = split_added(X, self.problem.model.inputs.width)
        scale = predict.rounding_scale(self.problem.model, rows)
        return scale if added is None else scale + np.abs(added)

    def write_values(self, X: Floats, out: npt.NDArray[Any], *, what: str) -> None:
        """Write (rows, players[, players], outputs explained) of encoded rows into `out`, which holds zeros."""
        problem = self.problem
        every = (
            problem.selection.is_every_output
            and len(problem.selection.output_positions) == len(problem.model.outputs.names)
            and out.flags.c_contiguous
        )
        order = problem.options.order
        compiled = self._plans[order][1]
        if compiled is not None and order == 1 and every:
            return compiled.add_values(X, out, threads=self._threads, description=what)
        cells = int(np.prod(self._values_shape(order)))
        if (
            compiled is not None and every
        ):  # added to `out` itself: beside it, there are the main effects and their sums
            cells = 2 * int(np.prod(self._values_shape(1)))
        most = max(1, int(TEMPORARY_BYTES / (8 * cells)))
        if compiled is not None:  # trees that are not kept are compiled again for each slice
            steps = _row_slices(len(X), most)
        elif problem.kernel == "interventional":
            # without tables, pairs come back between trees, and rows are the cheaper the more walk together
            steps = _row_slices(len(X), min(most, self._rows_at_once))
        else:
            steps = timed_batches(len(X), description=what, max_size=most)
        for rows in steps:
            if order == 2 and every:
                self._fill_pairs(X[rows], out[rows], what)
            else:
                out[rows] = problem.selection.select_values(self.compute_values(X[rows], what))
        return None

    def _fill_pairs(self, X: Floats, out: npt.NDArray[Any], what: str) -> None:
        """Half of each interaction in either triangle, main effects on the diagonal: rows add up to the attributions."""
        compiled = self._plans[2][1]
        if compiled is not None:
            compiled.add_values(X, out, threads=self._threads, description=what)
        elif self.problem.options.sparse:
            first, second = self.problem.interacting_pairs.T
            for rows in self._row_blocks(len(X), self.problem.players.count**2):
                out[rows, self.problem.players.count :] += self._values_of_order(X[rows], 2, what)[:, first, second]
        else:
            out += self._values_of_order(X, 2, what)
        if self.problem.options.sparse:
            return self._main_effects(X, out, what)
        out *= 0.5
        players = np.arange(self.problem.players.count)
        out[:, players, players] = self._values_of_order(X, 1, what) - out.sum(axis=2)
        return None

    def _main_effects(self, X: Floats, out: npt.NDArray[Any], what: str) -> None:
        """Each player's attribution less half of its interactions, before the pairs (rows, players + pairs, outputs)."""
        from scipy.sparse import csr_array

        problem = self.problem
        count, ends = problem.players.count, problem.interacting_pairs.ravel()
        halves = csr_array(
            (np.full(len(ends), 0.5), (ends, np.arange(len(ends)) // 2)), shape=(count, len(problem.interacting_pairs))
        )
        for rows in self._row_blocks(len(X), 2 * sum(problem.values_shape(2))):
            out[rows, :count] = self._values_of_order(X[rows], 1, what)
            for k in range(out.shape[-1]):
                out[rows, :count, k] -= (halves @ out[rows, count:, k].T).T

    def _row_blocks(self, rows: int, cells: int) -> Iterator[slice]:
        """Rows at a time, so that this many numbers of each output and row take no more than `TEMPORARY_BYTES`."""
        most = max(1, int(TEMPORARY_BYTES / (8 * cells * len(self.problem.model.outputs.names) + 1)))
        return _row_slices(rows, most)

    def _values_shape(self, order: int) -> tuple[int, ...]:
        return (*self.problem.values_shape(order), len(self.problem.model.outputs.names))

    def compute_values(self, X: Floats, what: str) -> Floats:
        """Return (rows, players, model outputs), or (rows, players, players, model outputs) for order 2."""
        problem = self.problem
        if problem.options.order == 1:
            return self._values_of_order(X, 1, what)
        out = np.zeros((len(X), *self._values_shape(2)))
        self._fill_pairs(X, out, what)
        return out

    def _values_of_order(self, X: Floats, order: int, what: str) -> Floats:
        compiled = self._plans[order][1]
        if compiled is not None:
            out = np.zeros((len(X), *self._values_shape(order)))
            compiled.add_values(X, out, threads=self._threads, description=what)
            return out
        if self.problem.kernel == "interventional":
            return self.interventional_values(X, order, what)
        method = _KERNEL_METHODS[self.problem.kernel]
        share = -(-len(X) // self._threads)
        if self._threads == 1 or share < MIN_ROWS_PER_THREAD or self.problem.kernel in _QUICK_KERNELS:
            return method(self, X, order)
        with ThreadPoolExecutor(self._threads) as pool:  # the native code holds no lock
            parts = [X[i : i + share] for i in range(0, len(X), share)]
            return np.concatenate(list(pool.map(lambda part: method(self, part, order), parts)))

    def _zero_values(self, X: Floats, order: int) -> Floats:
        problem = self.problem
        return np.zeros((len(X), *(problem.players.count,) * order, len(problem.model.outputs.names)))

    def interventional_values(self, X: Floats, order: int, what: str) -> Floats:
        """Interventional: every row against every background row, tree by tree."""
        problem = self.problem
        out = self._zero_values(X, order)
        background = problem.background
        assert background is not None  # noqa: S101  # resolved by the problem
        # here, since other threads do not know a choice that is forced
        instructions = compiled_trees.fastest_instructions()
        share = max(MIN_ROWS_PER_THREAD, -(-len(X) // self._threads))
        parts = [slice(i, i + share) for i in range(0, len(X), share)]
        with ThreadPoolExecutor(len(parts)) as pool:  # the native code holds no lock
            n_trees = _require_ensemble(problem).n_trees
            at_once = max(
                1, PAIRS_AT_ONCE // (len(X) * len(background.matrix))
            )  # counted: timing would change the last bits
            for some in timed_batches(n_trees, description=what, first_size=at_once, unit="trees", fixed_size=True):

                def walk(rows: slice, some: slice = some) -> None:
                    tree_shap.add_interventional(
                        _require_ensemble(problem),
                        problem.players.of_column,
                        problem.players.count,
                        X[rows],
                        background.matrix,
                        background.weights[None],
                        self._index_moments,
                        order,
                        out[rows],
                        some,
                        instructions=instructions,
                    )

                list(pool.map(walk, parts))
        return out

    @property
    def _rows_at_once(self) -> int:
        """Rows that walk through a tree together: so many that one tree of a deep forest takes a fraction of a second."""
        assert self.problem.background is not None  # noqa: S101  # resolved by the problem
        if _require_ensemble(self.problem).has_linear_leaves:
            return MIN_ROWS_COUNTED
        return int(
            np.clip(
                ROWS_WALKING_TOGETHER * 100 // len(self.problem.background.matrix),
                MIN_ROWS_COUNTED,
                ROWS_WALKING_TOGETHER,
            )
        )

    @cached_property
    def _index_moments(self) -> Floats:
        problem, forest = self.problem, _require_ensemble(self.problem)
        most = (
            problem.players.count
            if forest.has_linear_leaves
            else min(problem.players.count, tree_shap.native_ensemble(forest).depth)
        )
        if (
            most > MAX_MOMENT_PLAYERS and not forest.has_linear_leaves
        ):  # counting walks every path, but a table grows with the square
            most = int(problem.players_on_path.max(initial=0))
        return problem.options.game_index.moments(max(most, 1) + 1)

    def rescaled_values(self, X: Floats, order: int) -> Floats:
        """Scale each background row's raw attributions so that they add up on the other side of the link."""
        del order  # 1, resolved by the problem
        problem = self.problem
        assert problem.background is not None  # noqa: S101  # resolved by the problem
        forest = _require_ensemble(problem)
        return rescaled_attributions(forest, problem.players, problem.background, self._index_moments, X)

    def enumerated_values(self, X: Floats, order: int) -> Floats:
        """Every coalition of the players that the model uses; the others get exactly zero. Behind the columns of `X` may be what is added to raw outputs."""
        problem = self.problem
        assert problem.background is not None  # noqa: S101  # resolved by the problem
        out = self._zero_values(X, order)
        count = len(problem.players_read)
        if count == 0:
            return out
        at = np.ix_(*(problem.players_read,) * order)
        rows, added = split_added(X, problem.model.inputs.width)
        for i, x in enumerate(rows):
            worths = interventional_worths(
                self._hybrid_outputs,
                problem.model.base if added is None else problem.model.base + added[i],
                problem.model.outputs.link,
                x,
                problem.background.matrix,
                problem.background.weights,
                count,
            )
            out[i][at] = exact_values(worths, problem.options.game_index, order)
        return out

    @cached_property
    def _hybrid_outputs(self) -> Callable[[Floats, Floats], Floats]:
        problem = self.problem
        place = np.full(problem.players.count, -1, dtype=np.int32)
        place[problem.players_read] = np.arange(len(problem.players_read))
        of_column, count = place[problem.players.of_column], len(problem.players_read)
        if isinstance(problem.model, Linear):
            return linear_hybrids(problem.model, of_column, count)
        if isinstance(problem.model, Additive):
            return additive_hybrids(problem.model, of_column, count)
        forest, of_node = _require_ensemble(problem), np.maximum(of_column, 0)  # no node reads a column of player -1
        return lambda x, B: tree_shap.hybrid_outputs(forest, of_node, count, np.ascontiguousarray(x), B)

    def linear_values(self, X: Floats, order: int) -> Floats:
        """An additive game: every index gives each player its own term, and no interactions."""
        problem = self.problem
        assert isinstance(problem.model, Linear)  # noqa: S101  # resolved by the problem
        assert problem.background is not None  # noqa: S101
        if order == 2:
            return self._zero_values(X, order)
        return linear_attributions(problem.model, problem.background, problem.players, X)

    def correlated_values(self, X: Floats, order: int) -> Floats:
        """A linear model, whose absent features follow from those present as in a Gaussian."""
        return self.problem.gaussian.values(X, self._compiled_problem.gaussian_slopes(order))

    def additive_values(self, X: Floats, order: int) -> Floats:
        """Every term by itself: a game of one player or two, whose values are tables."""
        return self._compiled_problem.additive_tables.values(X, order)


def _row_slices(rows: int, most: int) -> Iterator[slice]:
    return (slice(i, i + most) for i in range(0, rows, most))


def _require_ensemble(problem: ShapProblem) -> TreeEnsemble:
    if not isinstance(problem.model, TreeEnsemble):
        raise UnsupportedModelError(f"{problem.model.kind} is not a tree ensemble.")
    return problem.model


_QUICK_KERNELS: Final = (
    "linear",
    "linear, correlated",
    "additive",
)  # a few passes over the rows, from tables that are made once
_KERNEL_METHODS: Final[dict[KernelName, Callable[[KernelRunner, Floats, int], Floats]]] = {
    "rescaled": KernelRunner.rescaled_values,
    "enumeration": KernelRunner.enumerated_values,
    "linear": KernelRunner.linear_values,
    "linear, correlated": KernelRunner.correlated_values,
    "additive": KernelRunner.additive_values,
}
