"""One function a kernel: a block of encoded rows in, values of the model's outputs out, on the target's scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.games.exact import exact_values, interventional_worths
from whybox.kernels import compiled_trees, predict, tree_shap
from whybox.kernels.compiled_trees import Attribution
from whybox.methods.shap.plan import Plan, attribution, cheapest, choices, rules, with_attributions
from whybox.methods.shap.problem import Kernel, Question
from whybox.models.linear import Linear
from whybox.models.links import Link
from whybox.models.trees import TreeEnsemble
from whybox.numerics.rounding import floor

__all__ = ["FLOAT32_ROUNDING", "CompiledProblem", "KernelRunner"]

TEMPORARY_BYTES: Final = 64 * 2**20  # bytes of results held beside the one being filled
FLOAT32_ROUNDING: Final = 3e-6  # what sums in float32 may lose, relative to the largest there can be
NEAR: Final = 1e-5  # raw outputs less far apart have the slope of the link over this much on either side, for their own would be rounding
MANY: Final = 1000  # rows that take much longer than asking about mixed ones
MIN_ROWS_PER_THREAD: Final = 4  # rows too few to be worth a thread
ROWS_WALKING_TOGETHER: Final = 2048  # rows that walk through a tree together against a hundred background rows
MAX_MOMENT_PLAYERS: Final = 48  # players on a path that a table of moments may have room for, though none has so many
MIN_ROWS_COUNTED: Final = 64  # rows that a call costs at least, for the vector kernels


@final
class CompiledProblem:
    """What an explainer keeps between calls about one question: its base, and for each order the compiled trees and their plan."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._choices: dict[tuple[object, ...], tuple[Plan, ...]] = {}
        self._made: dict[tuple[object, ...], tuple[Plan, Attribution]] = {}
        self._latest: dict[tuple[object, ...], tuple[Plan | None, Attribution | None, int, int]] = {}
        self._mixed: dict[tuple[str, bool], tuple[int, int]] = {}

    def mixed_due(self, table: Table) -> bool:
        """Whether to ask about mixed rows again: of a new kind of table, of many rows, or once rows have doubled since, for to ask takes longer than one row."""
        kind = table.library, table.is_matrix
        seen, asked = self._mixed.get(kind, (0, 0))
        self._mixed[kind] = seen + len(table), asked
        return len(table) >= MANY or seen + len(table) >= 2 * asked

    def mixed_asked(self, table: Table) -> None:
        """Remember that mixed rows were asked about now."""
        kind = table.library, table.is_matrix
        seen, _ = self._mixed[kind]
        self._mixed[kind] = seen, seen

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the question, the plans, and how many rows have come; trees are compiled where they are needed."""
        latest = {key: (plan, settled, seen) for key, (plan, _, settled, seen) in self._latest.items()}
        return {
            "question": self.question,
            "plans": {key: plan for key, (plan, _) in self._made.items()},
            "latest": latest,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on with the same plans, so that not a bit changes, as far as the processor here has their instructions."""
        self.question = state["question"]
        self._choices, self._made, self._latest, self._mixed = {}, {}, {}, {}
        here = {s.name for s in compiled_trees.instruction_sets()}
        for key, plan in state["plans"].items():
            if plan.instructions in here:
                self._made[key] = plan, attribution(self.question, key[0], plan)
        for key, (plan, settled, seen) in state["latest"].items():
            compiled = self._made[key][1] if key in self._made and plan is not None and plan.instructions else None
            usable = plan is not None and (plan.instructions is None or compiled is not None)
            self._latest[key] = (plan, compiled, settled, seen) if usable else (None, None, 0, seen)

    def plan(self, order: int, rows: int) -> Plan:
        """Return how this many rows would be explained, were they to come now."""
        key = (order, compiled_trees.forced_now())
        kept = dict(self._made)
        plan, _ = self._get(key, order, rows + self._latest.get(key, (None, None, 0, 0))[3])
        self._made = kept
        plan = replace(plan, rows=rows)
        return with_attributions(plan, self.plan(1, rows)) if order == 2 else plan

    def get(self, order: int, rows: int) -> tuple[Plan, Attribution | None]:
        """Return a plan for this many rows, and compiled trees for it.

        What is there already is kept while it is the cheaper way; an explainer that is asked again and again prepares for as many rows to come
        as have come already.
        """
        key = (order, compiled_trees.forced_now())
        plan, compiled, settled, seen = self._latest.get(key, (None, None, 0, 0))
        blocks = -(-rows // MIN_ROWS_COUNTED) * MIN_ROWS_COUNTED
        if plan is None or plan.rows != rows or seen >= settled:
            plan, compiled = self._get(key, order, seen + rows)
            plan, settled = replace(plan, rows=rows), 2 * (seen + blocks)
        self._latest[key] = plan, compiled, settled, seen + blocks
        return plan, compiled

    def _get(self, key: tuple[object, ...], order: int, rows: int) -> tuple[Plan, Attribution | None]:
        if key not in self._choices:
            self._choices[key] = choices(self.question, order)
        best = cheapest(self._choices[key], rows)
        if best.instructions is None:
            return best, None
        made = self._made.get(key)
        if made is not None:
            old = replace(made[0], rows=rows)
            same = (old.kernel, old.bits, old.instructions) == (best.kernel, best.bits, best.instructions)
            if same or replace(old, build_seconds=0.0).seconds <= best.seconds:
                return old, made[1]
        self._made[key] = best, attribution(self.question, order, best)
        return self._made[key]

    @cached_property
    def base(self) -> Floats:
        """Value when every player is absent, (model outputs,)."""
        q = self.question
        if q.background is None:
            return tree_shap.expectation(_forest(q))
        there = predict.raw(q.model, q.background.matrix)
        if q.target.scale == "response":
            there = q.model.outputs.link(there)
        return np.asarray(q.background.weights @ there)


@final
class KernelRunner:
    """A settled question, ready to be run on blocks of rows.

    ``base`` has one entry for each of the *model's* outputs; the target picks and signs them.

    Args:
        compiled: the question, with what earlier calls have compiled for it.
        rows: how many rows will come, which decides how much is worth preparing.
    """

    def __init__(self, compiled: CompiledProblem, rows: int) -> None:
        self.question = compiled.question
        self._kept = compiled
        self._lanes = {order: compiled.get(order, rows) for order in range(1, self.question.options.order + 1)}
        self._threads = self.question.options.n_jobs or compiled_trees.threads_available()

    @property
    def plan(self) -> Plan:
        """How the question is computed: for order 2, how its pairs are."""
        return self._lanes[self.question.options.order][0]

    @property
    def rounding(self) -> float:
        """What our own arithmetic may lose, relative to the largest sum there can be."""
        return FLOAT32_ROUNDING if any(plan.arithmetic == "float32" for plan, _ in self._lanes.values()) else 1e-10

    @property
    def base(self) -> Floats:
        """Value when every player is absent, (model outputs,)."""
        return self._kept.base

    def raw(self, X: Floats) -> Floats:
        """Raw outputs of encoded rows, (rows, model outputs)."""
        return predict.raw(self.question.model, X)

    def size(self, X: Floats) -> Floats:
        """How large the summands can be: the yardstick for rounding."""
        return predict.size(self.question.model, X)

    def fill(self, X: Floats, out: npt.NDArray[Any], *, what: str) -> None:
        """Write (rows, players[, players], outputs explained) of encoded rows into `out`, which holds zeros."""
        q = self.question
        every = q.target.plain and len(q.target.picks) == len(q.model.outputs.names) and out.flags.c_contiguous
        compiled = self._lanes[1][1]
        if compiled is not None and q.options.order == 1 and every:
            return compiled.add(X, out, threads=self._threads, what=what)
        cells = int(np.prod(self._shape(q.options.order)))
        most = max(1, int(TEMPORARY_BYTES / (8 * cells)))
        # without tables, pairs come back between trees, and rows are the cheaper the more walk together
        walk = q.kernel == "interventional" and self._lanes[q.options.order][1] is None
        steps = (
            _slices(len(X), min(most, self._together))
            if walk
            else timed_batches(len(X), description=what, max_size=most)
        )
        for rows in steps:
            if q.options.order == 2 and every:
                self._pairs_into(X[rows], out[rows], what)
            else:
                out[rows] = q.target.values(self.run(X[rows], what))
        return None

    def _pairs_into(self, X: Floats, out: npt.NDArray[Any], what: str) -> None:
        """Half of each interaction in either triangle, main effects on the diagonal: rows add up to the attributions."""
        compiled = self._lanes[2][1]
        if compiled is not None:
            compiled.add(X, out, threads=self._threads, what="", quiet=True)
        elif self.question.options.sparse:
            first, second = self.question.pairs.T
            for rows in self._blocks(len(X), self.question.players.count**2):
                out[rows, self.question.players.count :] += self._values(X[rows], 2, what)[:, first, second]
        else:
            out += self._values(X, 2, what)
        if self.question.options.sparse:
            return self._main_effects(X, out, what)
        out *= 0.5
        players = np.arange(self.question.players.count)
        out[:, players, players] = self._values(X, 1, what) - out.sum(axis=2)
        return None

    def _main_effects(self, X: Floats, out: npt.NDArray[Any], what: str) -> None:
        """Each player's attribution less half of its interactions, before the pairs (rows, players + pairs, outputs)."""
        from scipy.sparse import csr_array

        q = self.question
        count, ends = q.players.count, q.pairs.ravel()
        halves = csr_array((np.full(len(ends), 0.5), (ends, np.arange(len(ends)) // 2)), shape=(count, len(q.pairs)))
        for rows in self._blocks(len(X), 2 * sum(q.shape(2))):
            out[rows, :count] = self._values(X[rows], 1, what)
            for k in range(out.shape[-1]):
                out[rows, :count, k] -= (halves @ out[rows, count:, k].T).T

    def _blocks(self, rows: int, cells: int) -> Iterator[slice]:
        """Rows at a time, so that this many numbers of each output and row take no more than `TEMPORARY_BYTES`."""
        most = max(1, int(TEMPORARY_BYTES / (8 * cells * len(self.question.model.outputs.names) + 1)))
        return _slices(rows, most)

    def _shape(self, order: int) -> tuple[int, ...]:
        return (*self.question.shape(order), len(self.question.model.outputs.names))

    def run(self, X: Floats, what: str) -> Floats:
        """Return (rows, players, model outputs), or (rows, players, players, model outputs) for order 2."""
        q = self.question
        if q.options.order == 1:
            return self._values(X, 1, what)
        out = np.zeros((len(X), *self._shape(2)))
        self._pairs_into(X, out, what)
        return out

    def _values(self, X: Floats, order: int, what: str) -> Floats:
        compiled = self._lanes[order][1]
        if compiled is not None:
            out = np.zeros((len(X), *self._shape(order)))
            compiled.add(X, out, threads=self._threads, what="", quiet=True)
            return out
        if self.question.kernel == "interventional":
            return self.pairs(X, order, what)
        method = _RUN[self.question.kernel]
        share = -(-len(X) // self._threads)
        if self._threads == 1 or share < MIN_ROWS_PER_THREAD:
            return method(self, X, order)
        with ThreadPoolExecutor(self._threads) as pool:  # the native code holds no lock
            parts = [X[i : i + share] for i in range(0, len(X), share)]
            return np.concatenate(list(pool.map(lambda part: method(self, part, order), parts)))

    def _zeros(self, X: Floats, order: int) -> Floats:
        q = self.question
        return np.zeros((len(X), *(q.players.count,) * order, len(q.model.outputs.names)))

    def path(self, X: Floats, order: int) -> Floats:
        """Path-dependent interactions, row by row: quadrature along every path. Attributions are zero: only a forest without trees comes here for them."""
        q = self.question
        out = self._zeros(X, order)
        assert order == 2 or not _forest(q).n_trees  # noqa: S101  # else `choices` has a lane walk
        if order == 2:
            tree_shap.path_pairs(_forest(q), q.players.of_column, q.players.count, X, rules(q, 2, "float64"), out)
        return out

    def pairs(self, X: Floats, order: int, what: str) -> Floats:
        """Interventional: every row against every background row, tree by tree."""
        q = self.question
        out = self._zeros(X, order)
        background = q.background
        assert background is not None  # noqa: S101  # settled by the question
        instructions = compiled_trees.fastest()  # asked here: a choice that is forced is not known in other threads
        share = max(MIN_ROWS_PER_THREAD, -(-len(X) // self._threads))
        parts = [slice(i, i + share) for i in range(0, len(X), share)]
        with ThreadPoolExecutor(len(parts)) as pool:  # the native code holds no lock
            for some in timed_batches(_forest(q).n_trees, description=what, first_size=1, unit="trees"):

                def walk(rows: slice, some: slice = some) -> None:
                    tree_shap.interventional(
                        _forest(q),
                        q.players.of_column,
                        q.players.count,
                        X[rows],
                        background.matrix,
                        background.weights[None],
                        self._moments,
                        order,
                        out[rows],
                        some,
                        instructions=instructions,
                    )

                list(pool.map(walk, parts))
        return out

    @property
    def _together(self) -> int:
        """Rows that walk through a tree together: so many that one tree of a deep forest takes a fraction of a second."""
        assert self.question.background is not None  # noqa: S101  # settled by the question
        if _forest(self.question).has_linear_leaves:
            return MIN_ROWS_COUNTED
        return int(
            np.clip(
                ROWS_WALKING_TOGETHER * 100 // len(self.question.background.matrix),
                MIN_ROWS_COUNTED,
                ROWS_WALKING_TOGETHER,
            )
        )

    @cached_property
    def _moments(self) -> Floats:
        q, forest = self.question, _forest(self.question)
        most = q.players.count if forest.has_linear_leaves else min(q.players.count, tree_shap.native(forest).depth)
        if (
            most > MAX_MOMENT_PLAYERS and not forest.has_linear_leaves
        ):  # counting walks every path, but a table grows with the square
            most = int(tree_shap.players_on_path(forest, q.players.of_column, q.players.count).max(initial=0))
        return q.options.index.moments(max(most, 1) + 1)

    def rescaled(self, X: Floats, order: int) -> Floats:
        """Scale each background row's raw attributions so that they add up on the other side of the link."""
        del order  # 1, settled by the question
        q = self.question
        assert q.background is not None  # noqa: S101  # settled by the question
        out = self._zeros(X, 1)
        fx, fb = self.raw(X), self.raw(q.background.matrix)
        for k in range(len(q.model.outputs.names)):
            slope = _slopes(q.model.outputs.link, fx, fb, k)
            one = np.zeros((len(X), q.players.count, 1))
            weights = np.ascontiguousarray(slope * q.background.weights)
            # one row at a time where a single row could be taken for weights common to all
            for i in range(len(X)):
                tree_shap.interventional(
                    self._alone[k],
                    q.players.of_column,
                    q.players.count,
                    np.ascontiguousarray(X[i : i + 1]),
                    q.background.matrix,
                    weights[i : i + 1],
                    self._moments,
                    1,
                    one[i : i + 1],
                )
            out[..., k] = one[..., 0]
        return out

    @cached_property
    def _alone(self) -> list[TreeEnsemble]:
        """The model of each output by itself."""
        forest = _forest(self.question)
        return [forest.only(k) for k in range(len(forest.outputs.names))]

    def enumerate(self, X: Floats, order: int) -> Floats:
        """Every coalition of the players that the model uses; the others get exactly zero."""
        q = self.question
        assert q.background is not None  # noqa: S101  # settled by the question
        out = self._zeros(X, order)
        count = len(q.used)
        if count == 0:
            return out
        at = np.ix_(*(q.used,) * order)
        for i, x in enumerate(X):
            worths = interventional_worths(
                self._hybrids, q.model.base, q.model.outputs.link, x, q.background.matrix, q.background.weights, count
            )
            out[i][at] = exact_values(worths, q.options.index, order)
        return out

    @cached_property
    def _hybrids(self) -> Callable[[Floats, Floats], Floats]:
        q = self.question
        place = np.zeros(q.players.count, dtype=np.int32)
        place[q.used] = np.arange(len(q.used))
        of_column, count = place[q.players.of_column], len(q.used)
        if isinstance(q.model, Linear):
            weights = q.model.weights

            def linear(x: Floats, B: Floats) -> Floats:
                game = np.zeros((len(B), 2**count, weights.shape[1]))
                for j in range(count):
                    columns = np.isin(q.players.of_column, q.used[j])
                    inside = (np.arange(2**count) >> j & 1).astype(bool)
                    game[:, inside] += np.nan_to_num(x[columns]) @ weights[columns]
                    game[:, ~inside] += (np.nan_to_num(B[:, columns]) @ weights[columns])[:, None]
                return game

            return linear
        forest = _forest(q)
        return lambda x, B: tree_shap.hybrids(forest, of_column, count, np.ascontiguousarray(x), B)

    def linear(self, X: Floats, order: int) -> Floats:
        """An additive game: every index gives each player its own term, and no interactions."""
        q = self.question
        out = self._zeros(X, order)
        assert isinstance(q.model, Linear)  # noqa: S101  # settled by the question
        assert q.background is not None  # noqa: S101
        if order == 2:
            return out
        terms = (np.nan_to_num(X) - q.background.weights @ np.nan_to_num(q.background.matrix))[
            :, :, None
        ] * q.model.weights
        for column, player in enumerate(q.players.of_column):
            out[:, player] += terms[:, column]
        return out


def _slopes(link: Link, fx: Floats, fb: Floats, k: int) -> Floats:
    """How much the prediction rises for what raw output k rises from a background row to a row, (rows, background rows)."""
    one, other = link(fx)[:, None, k], link(fb)[None, :, k]
    rise, apart = one - other, fx[:, None, k] - fb[None, :, k]
    out = np.divide(rise, apart, out=np.zeros(rise.shape), where=apart != 0)
    i, j = np.nonzero(np.abs(apart) < NEAR)
    middle = (fx[i] + fb[j]) / 2
    wide = ((link(middle + NEAR) - link(middle - NEAR)) / (2 * NEAR))[:, k]
    least = np.maximum(floor(link(fx))[k], floor(link(fb))[k])
    smooth = (apart[i, j] == 0) | (
        np.abs(wide * apart[i, j] - rise[i, j]) <= least
    )  # no jump of the link lies between them
    out[i[smooth], j[smooth]] = wide[smooth]
    return np.asarray(out)


def _slices(rows: int, most: int) -> Iterator[slice]:
    return (slice(i, i + most) for i in range(0, rows, most))


def _forest(question: Question) -> TreeEnsemble:
    if not isinstance(question.model, TreeEnsemble):
        raise UnsupportedModelError(f"{question.model.kind} is not a tree ensemble.")
    return question.model


_RUN: Final[dict[Kernel, Callable[[KernelRunner, Floats, int], Floats]]] = {
    "path-dependent": KernelRunner.path,
    "rescaled": KernelRunner.rescaled,
    "enumeration": KernelRunner.enumerate,
    "linear": KernelRunner.linear,
}
