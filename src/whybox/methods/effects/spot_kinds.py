"""What is recomputed of each kind of effect: what all kinds have in common, and the kinds that have a number for each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.curves import Curve
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.methods.effects.spot_draws import CheckedNumber, cycle_rows, drawn_slots, first_slots, recompute_numbers
from whybox.methods.effects.spot_rows import FeaturePoints, PositionLabel, RowRecomputation, output_label

__all__ = ["CentredChecks", "CheckedKind", "CurveChecks", "IndividualChecks", "SlopeChecks", "compare_numbers"]


class CurveChecks(ABC):
    """Checks of the curves that one evaluator computes: `draw_numbers` before they are computed, `check_curves` afterwards.

    Args:
        evaluator, grids: as the curves are computed from. rng: draws what is recomputed.
    """

    def __init__(self, evaluator: Evaluator, grids: Sequence[Grid], rng: np.random.Generator) -> None:
        self.evaluator, self.grids, self.rng = evaluator, list(grids), rng
        self.points = [FeaturePoints.of_grid(g) for g in grids]

    @abstractmethod
    def draw_numbers(self, predictions: int) -> int:
        """Draw what is recomputed, by at most so many predictions of single rows; return how many it takes."""

    @abstractmethod
    def check_curves(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """Hold the curves against what was recomputed.

        Raises:
            SpotCheckError: a number differs.
        """

    def observe_block(self, grid: Grid, rows: Ints, values: Floats) -> None:  # noqa: B027  # not all of them look
        """Take individual values as they are computed, (rows, points, outputs)."""

    def observe_corner_sums(self, moved: Sequence[tuple[Ints, Floats]]) -> None:  # noqa: B027  # not all of them look
        """Take signed sums of predictions as they are computed: the rows that take part, and (rows, outputs) for all rows."""

    def position_labels(self, curve: int, points: Ints) -> Callable[[tuple[int, ...]], PositionLabel]:
        """Return what stands at a position of (points, outputs), numbers of a curve at some points, for messages."""

        def label_of(at: tuple[int, ...]) -> PositionLabel:
            point = self.points[curve].position_label(int(points[at[0]]))
            return [*point, *output_label(self.evaluator.selection, at[1])]

        return label_of


def compare_numbers(
    numbers: Sequence[CheckedNumber], answer: Sequence[Floats], recompute: RowRecomputation, checker: SpotChecker
) -> tuple[Floats, Floats]:
    """Hold numbers about single rows, (outputs,) each, against the model's own predictions; return these and what rounding explains.

    Raises:
        SpotCheckError: one differs.
    """
    values, allowed = recompute_numbers(numbers, recompute)
    values_of_answer = np.array(answer).reshape(values.shape)

    def label_of(at: tuple[int, ...]) -> PositionLabel:
        return [*numbers[at[0]].position_label, *output_label(recompute.selection, at[1])]

    checker.compare(values_of_answer, values, allowed, way=recompute.description, where=label_of)
    return values, allowed


class IndividualChecks(CurveChecks):
    """Of individual curves: a row's number at a point."""

    predictions_per_number = 1

    def draw_numbers(self, predictions: int) -> int:
        """Draw (row, point) pairs."""
        numbers = predictions // self.predictions_per_number
        self._points = [self.points_of(i) for i in range(len(self.grids))]
        sizes = [len(s) for s in self._points]
        first = [self._first_numbers(i) for i in range(len(self.grids))]
        slots = drawn_slots(sizes, first, numbers, self.rng)
        self._drawn = cycle_rows(slots, np.arange(len(self.evaluator.rows)), numbers, self.rng)
        return len(self._drawn) * self.predictions_per_number

    def _first_numbers(self, curve: int) -> tuple[list[int], list[int]]:
        number_of_point = {int(point): k for k, point in enumerate(self._points[curve])}
        missing, categories = first_slots(self.points[curve], self.rng)
        return [number_of_point[p] for p in missing if p in number_of_point], [
            number_of_point[p] for p in categories if p in number_of_point
        ]

    def points_of(self, curve: int) -> Ints:
        """Points that the numbers of a curve are about, in order."""
        return np.arange(len(self.grids[curve]))

    def value_index(self, number: int, point: int) -> int:
        """Where a number of a curve stands in its values."""
        del number
        return point

    def signed_corners(self, curve: int, point: int) -> tuple[tuple[tuple[float, int], ...], float]:
        """What a number is of a row's predictions: (sign, point) each, and the divisor."""
        del curve
        return ((1.0, point),), 1.0

    def check_curves(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """See `CurveChecks`."""
        numbers, answer = [], []
        for (curve, k), row in self._drawn:
            point = int(self._points[curve][k])
            numbers.append(CheckedNumber(row, self.points[curve], *self.signed_corners(curve, point)))
            answer.append(curves[curve].values[row, self.value_index(k, point)])
        if numbers:
            compare_numbers(numbers, answer, recompute, checker)


@final
class CentredChecks(IndividualChecks):
    """Of individual curves less their first point."""

    predictions_per_number = 2

    def points_of(self, curve: int) -> Ints:
        """All points but the first, which is zero."""
        return np.arange(1, len(self.grids[curve]))

    def signed_corners(self, curve: int, point: int) -> tuple[tuple[tuple[float, int], ...], float]:
        """Less the first point."""
        del curve
        return ((1.0, point), (-1.0, 0)), 1.0


@final
class SlopeChecks(IndividualChecks):
    """Of slopes of individual curves between neighbouring points."""

    predictions_per_number = 2

    def points_of(self, curve: int) -> Ints:
        """Points with another one above."""
        return self._points_with_values(curve)[:-1]

    def value_index(self, number: int, point: int) -> int:
        """One slope after the other."""
        del point
        return number

    def _points_with_values(self, curve: int) -> Ints:
        axis_positions = self.grids[curve].axis_positions
        assert axis_positions is not None  # noqa: S101  # slopes of categories are refused
        return np.flatnonzero(~np.isnan(axis_positions))

    def signed_corners(self, curve: int, point: int) -> tuple[tuple[tuple[float, int], ...], float]:
        """The difference to the next point, by the distance of their values as the user sees them."""
        known = self._points_with_values(curve)
        next_point = int(known[np.searchsorted(known, point) + 1])
        value, next_value = (self.points[curve].labels[0][p] for p in (point, next_point))
        return ((1.0, next_point), (-1.0, point)), float(next_value - value)


CheckedKind = type[CurveChecks]
