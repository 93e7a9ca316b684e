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
from whybox.methods.effects.spot_draws import Number, cycled, drawn_slots, first_slots, recomputed
from whybox.methods.effects.spot_rows import Place, Points, RowRecomputation, output_label

__all__ = ["CentredChecks", "CheckedKind", "CurveChecks", "IndividualChecks", "SlopeChecks", "compare_numbers"]


class CurveChecks(ABC):
    """Checks of the curves that one evaluator computes: `draw` before they are computed, `check` afterwards.

    Args:
        evaluator, grids: as the curves are computed from. rng: draws what is recomputed.
    """

    def __init__(self, evaluator: Evaluator, grids: Sequence[Grid], rng: np.random.Generator) -> None:
        self.evaluator, self.grids, self.rng = evaluator, list(grids), rng
        self.points = [Points.of_grid(g) for g in grids]

    @abstractmethod
    def draw(self, predictions: int) -> int:
        """Draw what is recomputed, by at most so many predictions of single rows; return how many it takes."""

    @abstractmethod
    def check(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """Hold the curves against what was recomputed.

        Raises:
            SpotCheckError: a number differs.
        """

    def observe(self, grid: Grid, rows: Ints, values: Floats) -> None:  # noqa: B027  # not all of them look
        """Take individual values as they are computed, (rows, points, outputs)."""

    def observe_shifted(self, moved: Sequence[tuple[Ints, Floats]]) -> None:  # noqa: B027  # not all of them look
        """Take signed sums of predictions as they are computed: the rows that take part, and (rows, outputs) for all rows."""

    def places(self, curve: int, points: Ints) -> Callable[[tuple[int, ...]], Place]:
        """Return what stands at a position of (points, outputs), numbers of a curve at some points, for messages."""

        def where(at: tuple[int, ...]) -> Place:
            point = self.points[curve].place(int(points[at[0]]))
            return [*point, *output_label(self.evaluator.selection, at[1])]

        return where


def compare_numbers(
    numbers: Sequence[Number], answer: Sequence[Floats], recompute: RowRecomputation, checker: SpotChecker
) -> tuple[Floats, Floats]:
    """Hold numbers about single rows, (outputs,) each, against the model's own predictions; return these and what rounding explains.

    Raises:
        SpotCheckError: one differs.
    """
    values, allowed = recomputed(numbers, recompute)
    ours = np.array(answer).reshape(values.shape)

    def where(at: tuple[int, ...]) -> Place:
        return [*numbers[at[0]].place, *output_label(recompute.selection, at[1])]

    checker.compare(ours, values, allowed, way=recompute.way, where=where)
    return values, allowed


class IndividualChecks(CurveChecks):
    """Of individual curves: a row's number at a point."""

    predictions_per_number = 1

    def draw(self, predictions: int) -> int:
        """Draw (row, point) pairs."""
        numbers = predictions // self.predictions_per_number
        self._points = [self.points_of(i) for i in range(len(self.grids))]
        sizes = [len(s) for s in self._points]
        first = [self._first(i) for i in range(len(self.grids))]
        slots = drawn_slots(sizes, first, numbers, self.rng)
        self._drawn = cycled(slots, np.arange(len(self.evaluator.rows)), numbers, self.rng)
        return len(self._drawn) * self.predictions_per_number

    def _first(self, curve: int) -> tuple[list[int], list[int]]:
        place = {int(point): k for k, point in enumerate(self._points[curve])}
        missing, words = first_slots(self.points[curve], self.rng)
        return [place[p] for p in missing if p in place], [place[p] for p in words if p in place]

    def points_of(self, curve: int) -> Ints:
        """Points that the numbers of a curve are about, in order."""
        return np.arange(len(self.grids[curve]))

    def position(self, number: int, point: int) -> int:
        """Where a number of a curve stands in its values."""
        del number
        return point

    def corners(self, curve: int, point: int) -> tuple[tuple[tuple[float, int], ...], float]:
        """What a number is of a row's predictions: (sign, point) each, and the divisor."""
        del curve
        return ((1.0, point),), 1.0

    def check(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """See `CurveChecks`."""
        numbers, answer = [], []
        for (curve, k), row in self._drawn:
            point = int(self._points[curve][k])
            numbers.append(Number(row, self.points[curve], *self.corners(curve, point)))
            answer.append(curves[curve].values[row, self.position(k, point)])
        if numbers:
            compare_numbers(numbers, answer, recompute, checker)


@final
class CentredChecks(IndividualChecks):
    """Of individual curves less their first point; `first` is the grid of that point, where the curves have others."""

    predictions_per_number = 2

    def points_of(self, curve: int) -> Ints:
        """All points but the first, which is zero."""
        return np.arange(1, len(self.grids[curve]))

    def corners(self, curve: int, point: int) -> tuple[tuple[tuple[float, int], ...], float]:
        """Less the first point."""
        del curve
        return ((1.0, point), (-1.0, 0)), 1.0


@final
class SlopeChecks(IndividualChecks):
    """Of slopes of individual curves between neighbouring points."""

    predictions_per_number = 2

    def points_of(self, curve: int) -> Ints:
        """Points with another one above."""
        return self._known(curve)[:-1]

    def position(self, number: int, point: int) -> int:
        """One slope after the other."""
        del point
        return number

    def _known(self, curve: int) -> Ints:
        place = self.grids[curve].axis_positions
        assert place is not None  # noqa: S101  # slopes of categories are refused
        return np.flatnonzero(~np.isnan(place))

    def corners(self, curve: int, point: int) -> tuple[tuple[tuple[float, int], ...], float]:
        """The difference to the next point, by the distance of their values as the user sees them."""
        known = self._known(curve)
        after = int(known[np.searchsorted(known, point) + 1])
        here, there = (self.points[curve].labels[0][p] for p in (point, after))
        return ((1.0, after), (-1.0, point)), float(there - here)


CheckedKind = type[CurveChecks]
