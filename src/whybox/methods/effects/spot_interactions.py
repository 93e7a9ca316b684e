"""Spot checks of interactions: predictions at pairs of rows, and the sizes made of them once more.

From the leaves of trees: the whole table is computed again of two rows alone, by the same kernels, and held against the four predictions that each pair of
features takes then; and means that the sizes are made of, at a few rows, are added up from the individual values of all rows. From predictions: some of them
are asked about once more, and all sizes are computed anew from plain sums of what was predicted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Final, final

import numpy as np

from whybox.data.cells import object_cells
from whybox.data.table import Floats, Table
from whybox.kernels import effects
from whybox.methods.common.columns import Ints
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import SpotChecker, spot_rng
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.spot_checks import predictions_of_checks
from whybox.methods.effects.spot_draws import CheckedNumber
from whybox.methods.effects.spot_kinds import compare_numbers
from whybox.methods.effects.spot_means import SECOND_SUM, mean_rounding
from whybox.methods.effects.spot_rows import (
    FeaturePoints,
    PositionLabel,
    RowCell,
    RowRecomputation,
    output_label,
    rows_alone,
)
from whybox.methods.effects.tree_evaluator import TreeEvaluator

__all__ = ["InteractionChecks", "LeafChecks", "PredictionChecks"]

SECOND_TABLE: Final = "by putting them together once more from means at all rows"
PAIRS_OF_ROWS: Final = 4  # that the table is computed of again, at most
ROWS_OF_SECOND_MEANS: Final = 4  # rows at whose values means are added up again
MAX_FEATURES_OF_SECOND_MEANS: Final = 24  # features whose means are
MAX_DONORS: Final = 16  # rows whose values other rows are set to

SizesOf = Callable[[TreeEvaluator, Sequence[int]], Floats]


class InteractionChecks(ABC):
    """Sees what interactions are made of, and holds some of it against the model.

    Args:
        problem: what is computed. evaluator: over the rows used. members_read: columns that are paired up. work: predictions of single rows that this takes, or would
            take where leaves of trees suffice.

    Attributes:
        predictions: how many predictions of single rows the checks take.
    """

    def __init__(self, problem: EffectsProblem, evaluator: Evaluator, members_read: Sequence[int], work: int) -> None:
        self.problem, self.evaluator, self.members_read = problem, evaluator, list(members_read)
        self.rows = evaluator.rows
        seed = int(getattr(problem.options, "seed", 0))
        self.rng = spot_rng(seed, len(self.rows), len(self.members_read))
        self.max_predictions = predictions_of_checks(problem, evaluator, work)
        self._alone = min(rows_alone(problem.model), max(self.max_predictions - 1, 0))
        drawn = (
            self.draw_numbers(self.max_predictions - self._alone)
            if len(self.members_read) > 1 and self.max_predictions
            else 0
        )
        self._alone = min(self._alone, drawn)
        self.predictions = 0 if problem.model.own_predict is None else drawn + self._alone

    @abstractmethod
    def draw_numbers(self, predictions: int) -> int:
        """Draw what is recomputed by at most so many predictions; return how many it takes."""

    @abstractmethod
    def check_sizes(self, sizes: Floats, checker: SpotChecker) -> None:
        """Hold sizes, (features, features, outputs), and what they are made of against what was recomputed.

        Raises:
            SpotCheckError: a number differs.
        """

    def observe_pair(self, members: tuple[int, int], both: Floats, first: Floats, second: Floats) -> None:  # noqa: B027  # not all of them look
        """See the mean output with both columns, with the first and with the second set to each row's values, (rows, outputs of the model) each."""

    def observe_single(self, member: int, at_rows: Floats, without: Floats) -> None:  # noqa: B027  # not all of them look
        """See the mean output with the column set to each row's values, and each row's mean over the values of all rows, (rows, outputs of the model)."""

    def observe_curves(self, grid: Grid, rows: Ints, values: Floats) -> None:  # noqa: B027  # not all of them look
        """See predictions of some rows with the features of a grid set to each of its points, (rows, points, outputs)."""

    def row_recomputation(self, checker: SpotChecker) -> RowRecomputation:
        """Return what asks the model."""
        problem = self.problem
        alone, self._alone = self._alone, 0
        return RowRecomputation(problem.model, self.rows.table, problem.selection, checker, alone=alone)

    def feature_labels(self, members: Sequence[int]) -> PositionLabel:
        """Features, for messages."""
        return [("feature", self.rows.table.names[p]) for p in members]

    def output_labels(self, at: int) -> PositionLabel:
        """An output, for messages."""
        return output_label(self.problem.selection, at)

    def pair_place(self, pairs: Sequence[Sequence[int]], at: tuple[int, ...]) -> PositionLabel:
        """Features and an output at a position of (pairs, outputs), for messages."""
        return [*self.feature_labels(pairs[at[0]]), *self.output_labels(at[1])]


@final
class LeafChecks(InteractionChecks):
    """Of interactions from the leaves of trees; `sizes_of` computes the table of other rows."""

    def __init__(
        self, problem: EffectsProblem, trees: TreeEvaluator, members_read: Sequence[int], work: int, sizes_of: SizesOf
    ) -> None:
        self._trees, self._sizes_of = trees, sizes_of
        self._pairs: list[tuple[list[int], Ints]] = []
        self._means_at_rows: dict[tuple[int, ...], Floats] = {}
        self._means_without: dict[int, Floats] = {}
        self._second_sizes: dict[tuple[int, int], Floats] = {}
        self._members_of_means: list[tuple[int, ...]] = []
        self._rows_of_means: Ints = np.empty(0, dtype=np.int64)
        super().__init__(problem, trees, members_read, work)

    def draw_numbers(self, predictions: int) -> int:
        """Draw pairs of rows, and as many features as their predictions allow: two for each feature, two for each pair of them, and the rows as they are."""
        counted = np.flatnonzero(self.rows.weights > 0)
        if len(counted) < 2:
            return 0
        self._draw_means(counted)
        n_features = min(len(self.members_read), int((np.sqrt(4 * max(predictions - 2, 0) + 1) - 1) / 2))
        if n_features < 2:
            return 0
        cost = n_features * n_features + n_features + 2
        for _ in range(min(PAIRS_OF_ROWS, predictions // cost)):
            members = sorted(self.rng.choice(self.members_read, n_features, replace=False).tolist())
            self._pairs.append((members, self.rng.choice(counted, 2, replace=False)))
        return cost * len(self._pairs)

    def _draw_means(self, counted: Ints) -> None:
        """Draw rows, and features alone and two by two, each once, whose means are added up again."""
        some = self.rng.permutation(self.members_read)[:MAX_FEATURES_OF_SECOND_MEANS].tolist()
        self._rows_of_means = self.rng.choice(counted, min(ROWS_OF_SECOND_MEANS, len(counted)), replace=False)
        self._members_of_means = [(p,) for p in some]
        self._members_of_means += [(min(some[k : k + 2]), max(some[k : k + 2])) for k in range(0, len(some) - 1, 2)]

    def observe_pair(self, members: tuple[int, int], both: Floats, first: Floats, second: Floats) -> None:
        """See `InteractionChecks`."""
        pair = (min(members), max(members))
        self._second_sizes[pair] = self._size_of(both, first, second)
        if pair in self._members_of_means:
            self._means_at_rows[pair] = both[self._rows_of_means]

    def observe_single(self, member: int, at_rows: Floats, without: Floats) -> None:
        """See `InteractionChecks`."""
        self._second_sizes[member, member] = self._size_of(None, at_rows, without)
        if (member,) in self._members_of_means:
            self._means_at_rows[member,] = at_rows[self._rows_of_means]
            self._means_without[member] = without[self._rows_of_means]

    def _size_of(self, whole: Floats | None, *parts: Floats) -> Floats:
        """Root of the weighted mean square of what is left of a mean output (None: of the rows' own outputs) without its parts, all centred."""
        w, selection = self.rows.weights, self.problem.selection
        left = np.array(self._trees.predictions() if whole is None else selection.select_predictions(whole))
        for part in parts:
            left -= selection.select_predictions(part)
        left -= left[0]
        return np.asarray(np.sqrt(w @ (left - w @ left) ** 2))

    def check_sizes(self, sizes: Floats, checker: SpotChecker) -> None:
        """See `InteractionChecks`."""
        recompute = self.row_recomputation(checker)
        for members, rows in self._pairs:
            self._check_two_rows(members, rows, recompute, checker)
        self._check_means(checker)
        largest = np.abs(self._trees.predictions()).max(axis=0)
        allowed = 16 * mean_rounding(self._trees, largest)
        at = {p: i for i, p in enumerate(self.members_read)}
        # of a feature that no path tests with another it is zero, whatever rounding says
        pairs = [(p, q) for p, q in self._second_sizes if p != q or sizes[at[p], at[p]].any()]
        if pairs:
            sizes_of_answer = np.array([sizes[at[p], at[q]] for p, q in pairs])
            second_sizes = np.array([self._second_sizes[pair] for pair in pairs])
            checker.compare(
                sizes_of_answer, second_sizes, allowed, way=SECOND_TABLE, where=partial(self.pair_place, pairs)
            )

    def _check_two_rows(
        self, members: list[int], rows: Ints, recompute: RowRecomputation, checker: SpotChecker
    ) -> None:
        weights = self.rows.weights[rows] / self.rows.weights[rows].sum()
        trees = self._trees
        trees_of_two_rows = TreeEvaluator(
            trees.model, WeightedRows(self.rows.table.rows(rows), weights), trees.selection, threads=trees.threads
        )
        size = self._sizes_of(trees_of_two_rows, members)
        sets = [*((p,) for p in members), *combinations(members, 2)]
        points = _points_of_rows(self.rows, members, rows)
        cells = [RowCell(int(r)) for r in rows]
        cells += [RowCell(int(rows[i]), points(s), 1 - i) for s in sets for i in (0, 1)]
        values, allowed = recompute(cells)
        f, mixed = values[:2], {s: values[2 + 2 * k : 4 + 2 * k] for k, s in enumerate(sets)}
        limit = 8 * allowed.max(axis=0)

        def less_mean(v: Floats) -> Floats:
            return np.asarray(v - weights @ v)

        alone = {s: less_mean(_means_of_two(f, mixed[s], weights)) for s in sets}
        pairs, sizes_of_answer, parts = [], [], []
        for i, p in enumerate(members):
            without = less_mean(weights[:, None] * f + weights[::-1, None] * mixed[p,])
            pairs.append((p, p))
            sizes_of_answer.append(size[i, i])
            parts.append(less_mean(f) - alone[p,] - without)
            for j in range(i):
                q = members[j]
                pairs.append((q, p))
                sizes_of_answer.append(size[i, j])
                parts.append(alone[q, p] - alone[q,] - alone[p,])
        second_sizes = np.sqrt(np.einsum("r,prk->pk", weights, np.array(parts) ** 2))
        way = recompute.description.replace(
            "rows with the feature set to a point", "pairs of rows that exchange features"
        )
        checker.compare(np.array(sizes_of_answer), second_sizes, limit, way=way, where=partial(self.pair_place, pairs))

    def _check_means(self, checker: SpotChecker) -> None:
        """Add up means at the values of a few rows from the individual values of all rows, and means of a few rows over the values of all."""
        trees, selection, at = self._trees, self.problem.selection, self._rows_of_means
        table = self.rows.table.rows(at)
        for several in (1, 2):
            sets = [s for s in self._members_of_means if len(s) == several and s in self._means_at_rows]
            grids = [_grid_of_rows(self.rows, s, table) for s in sets]
            sums = [np.zeros((len(at), len(selection.names))) for _ in sets]
            largest = np.zeros(len(selection.names))
            for i, rows, values in trees.curve_blocks(grids):
                sums[i] += np.einsum("r,rpk->pk", self.rows.weights[rows], values)
                largest = np.maximum(largest, np.abs(values).max(axis=(0, 1)))
            for s, second_means in zip(sets, sums, strict=True):
                self._compare_means(
                    selection.select_predictions(self._means_at_rows[s]), second_means, largest, s, checker
                )
        matrix = np.ascontiguousarray(trees.matrix[at])
        for p in list(self._means_without)[:ROWS_OF_SECOND_MEANS]:
            columns = trees.model_columns((p,))
            levels = effects.PlayerPoints(columns, np.ascontiguousarray(trees.matrix[:, list(columns)]))
            values = selection.select_predictions(
                effects.individual_curves(trees.model, levels, matrix, threads=trees.threads)
            )
            second_means = np.einsum("p,rpk->rk", self.rows.weights, values)
            largest = np.abs(values).max(axis=(0, 1))
            self._compare_means(
                selection.select_predictions(self._means_without[p]), second_means, largest, (p,), checker
            )

    def _compare_means(
        self,
        means_of_answer: Floats,
        second_means: Floats,
        largest: Floats,
        members: tuple[int, ...],
        checker: SpotChecker,
    ) -> None:
        allowed = np.tile(2 * mean_rounding(self._trees, largest), (len(means_of_answer), 1))
        checker.compare(
            means_of_answer, second_means, allowed, way=SECOND_SUM,
            where=lambda k: [("row", int(self._rows_of_means[k[0]])), *self.feature_labels(members), *self.output_labels(k[1])],
        )  # fmt: skip


@final
class PredictionChecks(InteractionChecks):
    """Of interactions from predictions at every pair of rows; `all_rows`: whether sizes are those of the rows used, and no estimates for more rows."""

    def __init__(
        self, problem: EffectsProblem, evaluator: Evaluator, members_read: Sequence[int], work: int, *, all_rows: bool
    ) -> None:
        self._all_rows = all_rows
        self._donors: Ints = np.empty(0, dtype=np.int64)
        self._numbers: list[tuple[tuple[int, ...], int, int]] = []
        self._observed_values: dict[tuple[tuple[int, ...], int, int], Floats] = {}
        self._means: dict[tuple[int, ...], tuple[Floats, Floats]] = {}
        self._pairs_to_observe: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        super().__init__(problem, evaluator, members_read, work)

    def draw_numbers(self, predictions: int) -> int:
        """Draw (row, features, row whose values they are set to)."""
        sets = [*((p,) for p in self.members_read), *combinations(self.members_read, 2)]
        n = len(self.rows)
        self._donors = self.rng.choice(n, min(n, MAX_DONORS), replace=False)
        order = [sets[k] for k in self.rng.permutation(len(sets))]
        self._numbers = [
            (
                _sorted_members(order[k % len(order)]),
                int(self.rng.integers(n)),
                int(self.rng.integers(len(self._donors))),
            )
            for k in range(predictions)
        ]
        for s, row, donor in self._numbers:
            self._pairs_to_observe.setdefault(s, []).append((row, donor))
        return len(self._numbers)

    def observe_curves(self, grid: Grid, rows: Ints, values: Floats) -> None:
        """See `InteractionChecks`."""
        members, n = _sorted_members(grid.column_positions), len(self.rows)
        point_of_row = grid.point_of_row
        if members not in self._means:
            self._means[members] = np.zeros((n, values.shape[2])), np.zeros((n, values.shape[2]))
        by_value, by_row = self._means[members]
        with np.errstate(over="ignore", invalid="ignore"):
            by_value += np.einsum("r,rpk->pk", self.rows.weights[rows], values)[point_of_row]
            if len(members) == 1:
                by_row[rows] = np.einsum(
                    "p,rpk->rk", np.bincount(point_of_row, self.rows.weights, values.shape[1]), values
                )
        block_row = {int(r): i for i, r in enumerate(rows)}
        for row, donor in self._pairs_to_observe.get(members, ()):
            if row in block_row:
                self._observed_values[members, row, donor] = values[block_row[row], point_of_row[self._donors[donor]]]

    def check_sizes(self, sizes: Floats, checker: SpotChecker) -> None:
        """See `InteractionChecks`."""
        if self._numbers:
            points = _points_of_rows(self.rows, self.members_read, self._donors)
            numbers = [CheckedNumber(row, points(s), ((1.0, donor),)) for s, row, donor in self._numbers]
            compare_numbers(
                numbers, [self._observed_values[key] for key in self._numbers], self.row_recomputation(checker), checker
            )
        predictions, w = self.evaluator.predictions(), self.rows.weights
        if not self._all_rows or not self._means or not np.isfinite(predictions).all():
            return
        means = {s: [v - w @ v for v in both] for s, both in self._means.items()}
        allowed = 16 * mean_rounding(self.evaluator, np.abs(predictions).max(axis=0))
        allowed = np.maximum(
            allowed,
            16
            * np.max([mean_rounding(self.evaluator, np.abs(m[0]).max(axis=0)) for m in self._means.values()], axis=0),
        )
        pairs, sizes_of_answer, second_sizes = [], [], []
        for i, p in enumerate(self.members_read):
            for j, q in enumerate(self.members_read[: i + 1]):
                whole = predictions - w @ predictions if i == j else means[_sorted_members((q, p))][0]
                part = whole - means[p,][0] - (means[p,][1] if i == j else means[q,][0])
                pairs.append((q, p))
                sizes_of_answer.append(sizes[i, j])
                second_sizes.append(np.sqrt(w @ part**2))
        where = partial(self.pair_place, pairs)
        checker.compare(np.array(sizes_of_answer), np.array(second_sizes), allowed, way=SECOND_TABLE, where=where)


def _sorted_members(members: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(members))


def _means_of_two(f: Floats, mixed: Floats, weights: Floats) -> Floats:
    """Mean over two rows with features set to each row's values, given both rows' outputs and those with the other's values."""
    return np.asarray(weights[:, None] * f + weights[::-1, None] * mixed[::-1])


def _points_of_rows(
    rows: WeightedRows, members: Sequence[int], picked: Ints
) -> Callable[[tuple[int, ...]], FeaturePoints]:
    """Return what makes, of some of the columns, the values that rows have."""
    table = rows.table.rows(picked)
    labels = {p: object_cells(table, p) for p in members}
    cache: dict[tuple[int, ...], FeaturePoints] = {}

    def points_of(some: tuple[int, ...]) -> FeaturePoints:
        if some not in cache:
            cache[some] = FeaturePoints(tuple(rows.feature(p) for p in some), table, tuple(labels[p] for p in some))
        return cache[some]

    return points_of


def _grid_of_rows(rows: WeightedRows, members: Sequence[int], table: Table) -> Grid:
    """Points that are the values of some rows, as an evaluator takes them."""
    none = np.full(len(rows), -1, dtype=np.int64)
    features = tuple(rows.feature(p) for p in members)
    return Grid(features, (np.arange(len(table)),), table, none, np.zeros(len(none), dtype=bool))
