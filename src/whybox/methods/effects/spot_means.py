"""What is recomputed of means over rows: of partial dependence, of components, and of means by value.

They are held against the model in two steps. Individual values of a few rows, as the evaluator has them, are recomputed by the model's own predict. And the
means at the same points (where curves are many, at some of them) are computed again as plain sums of the individual values of all rows. The first step finds a
wrong reading of a point, a row or a column; the second finds weights, rows or points that were lost between the individual values and the answer. Of few rows
the means themselves are recomputed by predictions of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.common.spot_rows import RowRecomputation
from whybox.methods.effects.curves import Curve, with_side_grids
from whybox.methods.effects.grid import Grid, feature_points
from whybox.methods.effects.predict_evaluator import Evaluator, PredictEvaluator
from whybox.methods.effects.spot_draws import (
    MIN_POINTS,
    CheckedNumber,
    NumberSlot,
    cycle_rows,
    drawn_slots,
    first_slots,
)
from whybox.methods.effects.spot_kinds import CurveChecks, compare_numbers
from whybox.models.trees import TreeEnsemble

__all__ = ["SECOND_SUM", "AnovaChecks", "MeanByValueChecks", "MeanChecks", "mean_rounding"]

SECOND_SUM: Final = "by adding up the individual values of all rows once more"
SECOND_MEAN: Final = "by adding up the predictions of the rows near each point once more"
_SUM_ROUNDING: Final = 1e-12  # of a sum over trees, relative to their size
_ROUNDING_OF_ROW: Final = 4e-16  # what each row may add to it
_DISTANCES_HELD: Final = 2**20  # distances held at a time


def mean_rounding(evaluator: Evaluator, largest: Floats) -> Floats:
    """Return how far rounding may move a mean over the rows, (outputs,), given the largest of the values that it is of."""
    selection, model = evaluator.selection, getattr(evaluator, "model", None)
    size = np.where(np.isfinite(largest), largest, 0.0)
    if isinstance(model, TreeEnsemble):
        summands = model.rounding_scale
        if selection.scale == "raw":
            size = np.maximum(size, summands[list(selection.output_positions)])
        else:  # rounding of the raw sum moves a prediction by no more than its slope, which is not above the prediction itself
            size = size * np.maximum(1.0, summands.max(initial=0.0))
    return np.asarray((_SUM_ROUNDING + _ROUNDING_OF_ROW * len(evaluator.rows)) * size + 1e-300)


def _some_points(grid: Grid, points: Ints) -> Grid:
    """Return some points of a grid, as an evaluator takes them, for rows that are at none of them."""
    none = np.full(len(grid.point_of_row), -1, dtype=np.int64)
    return Grid(
        grid.features, (np.arange(len(points)),), grid.table.rows(points), none, np.zeros(len(none), dtype=bool)
    )


@final
class _WatchedPoints:
    """Individual values at some points of a grid as they are computed: their weighted sums over rows, and those of some rows.

    Args:
        points: which, in order. pairs: (point, row) whose own values are kept.

    Attributes:
        rows: of the pairs.
    """

    def __init__(self, evaluator: Evaluator, points: Sequence[int], pairs: Sequence[NumberSlot]) -> None:
        self.points = np.array(points, dtype=np.int64)
        self._weights, outputs = evaluator.rows.weights, len(evaluator.selection.names)
        self._at = {point: i for i, point in enumerate(points)}
        self._pair = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
        self._columns = np.array([self._at[point] for point, _ in self._pair], dtype=np.int64)
        self.rows = np.array([row for _, row in self._pair], dtype=np.int64)
        self._values = np.full((len(self._pair), outputs), np.nan)
        self._sums, self.largest = np.zeros((len(points), outputs)), np.zeros(outputs)

    def add_block(self, rows: Ints, values: Floats) -> None:
        """Take the values of some rows, (rows, points, outputs); every row comes once."""
        if not len(self.points) or not len(rows):
            return
        with np.errstate(over="ignore", invalid="ignore"):
            self._sums += np.einsum("r,rpk->pk", self._weights[rows], values)
        self.largest = np.maximum(self.largest, np.abs(values).max(axis=(0, 1)))
        position = np.full(len(self._weights), -1, dtype=np.int64)
        position[rows] = np.arange(len(rows))
        row_in_block = position[self.rows]
        pairs_in_block = np.flatnonzero(row_in_block >= 0)
        self._values[pairs_in_block] = values[row_in_block[pairs_in_block], self._columns[pairs_in_block]]

    def __contains__(self, point: int) -> bool:
        return point in self._at

    def value_of(self, point: int, row: int) -> Floats:
        """The value of a row at a point, (outputs,)."""
        return np.asarray(self._values[self._pair[point, row]])

    def means_at(self, points: Ints) -> Floats:
        """The weighted means over all rows at some points, (points, outputs)."""
        return self._sums[[self._at[int(k)] for k in points]]


class MeanChecks(CurveChecks):
    """Of partial dependence: individual values at some points, and the means of all rows there."""

    def watched_grids(self) -> list[Grid]:
        """Grids whose individual values are looked at; those of the curves first."""
        return self.grids

    def more_slots(self) -> list[NumberSlot]:
        """Points of other grids than those of the curves whose means the answer takes at the points drawn."""
        return []

    def draw_numbers(self, predictions: int) -> int:
        """Draw points; of some of them all rows, of the others a few."""
        counted = np.flatnonzero(self.evaluator.rows.weights > 0)
        first = [first_slots(p, self.rng) for p in self.points]
        max_slots = max(MIN_POINTS, len(self.grids) + sum(len(missing) for missing, _ in first))
        self.slots = drawn_slots([len(g) for g in self.grids], first, max_slots, self.rng)
        self.whole = self.slots[: predictions // 2 // len(counted)]
        pairs = [(slot, int(row)) for slot in self.whole for row in counted]
        few = [*self.slots[len(self.whole) :], *self.more_slots()]
        self.pairs = [*pairs, *cycle_rows(few, counted, predictions - len(pairs), self.rng)]
        self.summed, rest = self._summed_slots()
        self.watches, self.few_watches = self._watches_of(self.summed), self._watches_of(rest)
        return len(self.pairs)

    def _summed_slots(self) -> tuple[list[NumberSlot], list[NumberSlot]]:
        """Slots whose means are summed again, and the others: individual values of all rows cost nothing where the answer is made of them, else they are made for this."""
        if isinstance(self.evaluator, PredictEvaluator) or len(self.slots) <= MIN_POINTS or self.more_slots():
            return [*self.slots, *self.more_slots()], []
        chosen = set(self.rng.choice(len(self.slots), MIN_POINTS, replace=False).tolist()) | set(range(len(self.whole)))
        return [s for i, s in enumerate(self.slots) if i in chosen], [
            s for i, s in enumerate(self.slots) if i not in chosen
        ]

    def _watches_of(self, slots: Sequence[NumberSlot]) -> list[_WatchedPoints]:
        """What looks at the individual values at these points, for each grid."""
        points: list[set[int]] = [set() for _ in self.watched_grids()]
        pairs: list[list[NumberSlot]] = [[] for _ in points]
        for c, k in slots:
            points[c].add(k)
        for (c, k), row in self.pairs:
            if k in points[c]:
                pairs[c].append((k, row))
        return [_WatchedPoints(self.evaluator, sorted(own), of) for own, of in zip(points, pairs, strict=True)]

    def observe_block(self, grid: Grid, rows: Ints, values: Floats) -> None:
        """See `CurveChecks`."""
        for other, watch in zip(self.watched_grids(), self.watches, strict=True):
            if other is grid:
                watch.add_block(rows, values[:, watch.points])

    def check_curves(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """See `CurveChecks`."""
        self._compute_individual()
        of_all = [feature_points(g) for g in self.watched_grids()]
        numbers = [CheckedNumber(row, of_all[c], ((1.0, k),)) for (c, k), row in self.pairs]
        if numbers:
            values_of_answer = [self._value_of_answer(c, k, row) for (c, k), row in self.pairs]
            values, allowed = compare_numbers(numbers, values_of_answer, recompute, checker)
            self._check_whole(curves, values, allowed, recompute.description, checker)
        for i, curve in enumerate(curves):
            points = np.array(self._points_summed(i), dtype=np.int64)
            second_sums, allowed = self.second_sums(i, points)
            known = np.isfinite(second_sums).all(axis=1)
            points, second_sums, allowed = points[known], second_sums[known], allowed[known]
            checker.compare(
                curve.values[points], second_sums, allowed, way=SECOND_SUM, where=self.position_labels(i, points)
            )

    def _compute_individual(self) -> None:
        """Where the evaluator makes means without individual values, compute these at the points that are looked at."""
        if isinstance(self.evaluator, PredictEvaluator):
            return
        few_rows = np.unique(np.concatenate([w.rows for w in self.few_watches]))
        for watches, some in ((self.watches, None), (self.few_watches, few_rows)):
            used = [(g, w) for g, w in zip(self.watched_grids(), watches, strict=True) if len(w.points)]
            for i, rows, values in self.evaluator.curve_blocks([_some_points(g, w.points) for g, w in used], some):
                used[i][1].add_block(rows, values)

    def _points_summed(self, curve: int) -> list[int]:
        """Points of a curve whose means are summed again, in the order they were drawn in."""
        return [k for c, k in self.slots if c == curve and k in self.watches[c]]

    def _value_of_answer(self, curve: int, point: int, row: int) -> Floats:
        """The value of a row at a point, as the evaluator has it, (outputs,)."""
        watches = self.watches if point in self.watches[curve] else self.few_watches
        return watches[curve].value_of(point, row)

    def second_sums(self, i: int, points: Ints) -> tuple[Floats, Floats]:
        """The numbers of a curve at some points from sums of individual values, and how far rounding may move them, (points, outputs)."""
        watch = self.watches[i]
        return watch.means_at(points), np.tile(2 * mean_rounding(self.evaluator, watch.largest), (len(points), 1))

    def _check_whole(
        self, curves: Sequence[Curve], values: Floats, allowed: Floats, way: str, checker: SpotChecker
    ) -> None:
        """Hold means against those of the predictions of all rows, where these were made."""
        weights = self.evaluator.rows.weights
        counted = weights[weights > 0]
        for start, (i, k) in enumerate(self.whole):
            block = slice(start * len(counted), (start + 1) * len(counted))
            with np.errstate(invalid="ignore"):
                mean, limit = counted @ values[block], counted @ allowed[block]
            if np.isfinite(mean).all():
                limit = limit + mean_rounding(self.evaluator, np.abs(values[block]).max(axis=0))
                answer = curves[i].values[[k]]
                checker.compare(answer, mean[None], limit[None], way=way, where=self.position_labels(i, np.array([k])))


@final
class AnovaChecks(MeanChecks):
    """Of components: the means of the feature or the two, of each alone, and of the rows as they are."""

    def watched_grids(self) -> list[Grid]:
        """The grids, and both sides of each surface."""
        return with_side_grids(self.grids)[0]

    def more_slots(self) -> list[NumberSlot]:
        """Both sides of the points of surfaces."""
        return list(dict.fromkeys(slot for i, k in self.slots for slot in self._side_slots(i, k)))

    def _side_slots(self, i: int, k: int) -> list[NumberSlot]:
        both = with_side_grids(self.grids)[1][i]
        if not both:
            return []
        return [(side, int(at)) for side, at in zip(both, np.unravel_index(k, self.grids[i].shape), strict=True)]

    def draw_numbers(self, predictions: int) -> int:
        """Some rows as they are, too; no means of all rows, which components are differences of."""
        rows = np.flatnonzero(self.evaluator.rows.weights > 0)
        self._rows = self.rng.choice(rows, min(len(rows), -(-predictions // 10)), replace=False)
        return super().draw_numbers(predictions - len(self._rows)) + len(self._rows)

    def check_curves(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """See `CurveChecks`."""
        predictions = self.evaluator.predictions()
        self._mean = self.evaluator.rows.weights @ predictions
        self._largest = np.abs(predictions).max(axis=0)
        if len(self._rows):
            compare_numbers(
                [CheckedNumber(int(r), None) for r in self._rows], predictions[self._rows], recompute, checker
            )
        super().check_curves(curves, recompute, checker)

    def second_sums(self, i: int, points: Ints) -> tuple[Floats, Floats]:
        """Less the sides and the mean of the rows as they are."""
        values, allowed = super().second_sums(i, points)
        values, allowed = values - self._mean, allowed + 2 * mean_rounding(self.evaluator, self._largest)
        for k, point in enumerate(points):
            for side, p in self._side_slots(i, int(point)):
                alone, more = super().second_sums(side, np.array([p]))
                values[k] -= alone[0] - self._mean
                allowed[k] += more[0] + 2 * mean_rounding(self.evaluator, self._largest)
        return values, allowed

    def _check_whole(self, *_: Any) -> None:
        """A component is no mean of predictions."""


@final
class MeanByValueChecks(CurveChecks):
    """Of means by value: predictions of rows as they are, and all means, each row at the nearest point."""

    def draw_numbers(self, predictions: int) -> int:
        """Draw rows."""
        rows = np.flatnonzero(self.evaluator.rows.weights > 0)
        self._rows = self.rng.choice(rows, min(predictions, len(rows)), replace=False)
        return len(self._rows)

    def check_curves(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """See `CurveChecks`."""
        predictions, weights = self.evaluator.predictions(), self.evaluator.rows.weights
        if len(self._rows):
            compare_numbers(
                [CheckedNumber(int(r), None) for r in self._rows], list(predictions[self._rows]), recompute, checker
            )
        allowed = 2 * mean_rounding(self.evaluator, np.abs(predictions).max(axis=0))
        for i, (grid, curve) in enumerate(zip(self.grids, curves, strict=True)):
            at = self._nearest_points(grid)
            mass = np.bincount(at[at >= 0], weights[at >= 0], minlength=len(grid))
            some = np.flatnonzero(mass > 0)
            means = np.array([np.average(predictions[at == g], axis=0, weights=weights[at == g]) for g in some])
            if len(some) and np.isfinite(means).all():
                checker.compare(
                    curve.values[some], means, allowed, way=SECOND_MEAN, where=self.position_labels(i, some)
                )

    def _nearest_points(self, grid: Grid) -> Ints:
        """The point nearest to each row by plain distances, the lower one of two; rows at a category, or without a value, are at their own."""
        out = np.zeros(len(self.evaluator.rows), dtype=np.int64)
        for side in grid.side_grids or (grid,):
            x, axis_positions, point_of_row = side.features[0].numbers, side.axis_positions, side.point_of_row.copy()
            if x is not None and axis_positions is not None:
                known = np.flatnonzero(np.isfinite(axis_positions))
                rows = np.flatnonzero((point_of_row < 0) & ~np.isnan(x))
                step = max(1, _DISTANCES_HELD // max(len(known), 1))
                for start in range(0, len(rows), step) if len(known) else ():
                    block = rows[start : start + step]
                    with np.errstate(over="ignore", invalid="ignore"):
                        distance = np.abs(
                            np.clip(x[block], axis_positions[known[0]], axis_positions[known[-1]])[:, None]
                            - axis_positions[known]
                        )
                    point_of_row[block] = known[np.argmin(distance, axis=1)]
            out = np.where((out < 0) | (point_of_row < 0), -1, out * len(side) + point_of_row)
        return out
