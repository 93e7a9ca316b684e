"""What is recomputed of accumulated local effects: differences of rows between the ends of their own intervals, and the steps of the curve as means of these.

Which interval a row is in is found again from the row's own cell and the edges as the user sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import object_cells
from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.curves import Curve
from whybox.methods.effects.spot_draws import CheckedNumber
from whybox.methods.effects.spot_kinds import CurveChecks, compare_numbers
from whybox.methods.effects.spot_means import mean_rounding
from whybox.methods.effects.spot_rows import FeaturePoints, RowRecomputation, output_label

__all__ = ["LocalEffectChecks"]

MAX_ROWS_KEPT: Final = 4096  # rows of a table of which all cells of a column are taken at once
SECOND_STEP: Final = "by averaging the differences of the rows in each interval once more"
_RowSums = tuple[Ints, Floats]


@final
class LocalEffectChecks(CurveChecks):
    """Of accumulated local effects: differences of single rows, and all steps of the curves."""

    def draw_numbers(self, predictions: int) -> int:
        """Draw how many rows of each curve, in turn: two predictions each, of surfaces four."""
        costs = [4 if len(g.features) == 2 else 2 for g in self.grids]
        self._many = [0] * len(costs)
        self._moved: list[_RowSums] = []
        self._cells: dict[int, npt.NDArray[np.object_]] = {}
        spent, order = 0, self.rng.permutation(len(costs))
        while spent + min(costs) <= predictions:
            for i in order:
                if spent + costs[i] <= predictions:
                    self._many[i] += 1
                    spent += costs[i]
        return spent

    def observe_corner_sums(self, moved: Sequence[_RowSums]) -> None:
        """See `CurveChecks`."""
        self._moved += moved

    def check_curves(self, curves: Sequence[Curve], recompute: RowRecomputation, checker: SpotChecker) -> None:
        """See `CurveChecks`."""
        moved, numbers, answer = iter(self._moved), [], []
        for i, curve in enumerate(curves):
            has_categories = len(curve.grid.features) == 1 and curve.grid.axis_positions is None
            parts = [next(moved) for _ in range(2 if has_categories else 1)]
            steps = (
                _NumberSurface(self, curve)
                if len(curve.grid.features) == 2
                else _CategoryCurve(self, curve)
                if has_categories
                else _NumberCurve(self, curve)
            )
            feature_points = FeaturePoints.of_grid(curve.grid)
            for _ in range(self._many[i]):
                k = (
                    int(self.rng.integers(len(parts)))
                    if all(len(rows) for rows, _ in parts)
                    else int(not len(parts[0][0]))
                )
                row = int(self.rng.choice(parts[k][0]))
                numbers.append(CheckedNumber(row, feature_points, steps.signed_corners(row, k)))
                answer.append(parts[k][1][row])
            self._check_steps(i, curve, steps.steps_of_curve(parts), checker)
        if numbers:
            compare_numbers(numbers, answer, recompute, checker)

    def cell_at(self, position: int, row: int) -> Any:
        """One cell of the rows; of a small table all cells of the column are taken together, once."""
        table = self.evaluator.rows.table
        if len(table) > MAX_ROWS_KEPT:
            return object_cells(table.rows(np.array([row])), position)[0]
        if position not in self._cells:
            self._cells[position] = object_cells(table, position)
        return self._cells[position][row]

    def _check_steps(self, i: int, curve: Curve, steps: _StepsOfCurve, checker: SpotChecker) -> None:
        """Hold the rises of a curve from edge to edge, and its mean over the rows, against the differences of the rows."""
        largest = np.maximum(np.abs(np.nan_to_num(curve.values)).max(axis=0, initial=0.0), steps.largest)
        allowed = 8 * (1 + len(curve.values)) * mean_rounding(self.evaluator, largest)
        names = curve.grid.name

        def label_of(at: tuple[int, ...]) -> list[tuple[str, object]]:
            edge = int(steps.intervals[at[0]])
            return [("feature", names), ("interval", edge), *output_label(self.evaluator.selection, at[1])]

        checker.compare(steps.rises, steps.means, allowed, way=SECOND_STEP, where=label_of)
        centre = [("feature", names), ("mean of the curve over the rows", "zero")]
        checker.compare(
            steps.centre, np.zeros_like(steps.centre), allowed, way=SECOND_STEP,
            where=lambda at: [*centre, *output_label(self.evaluator.selection, at[0])],
        )  # fmt: skip


class _StepsOfCurve:
    """Rises of a curve from edge to edge where rows are, the means of the differences that they should be, and the curve's mean over the rows."""

    def __init__(self, which: Ints, rises: Floats, means: Floats, centre: Floats, largest: Floats) -> None:
        is_finite = np.isfinite(rises).all(axis=1) & np.isfinite(means).all(axis=1)
        self.intervals, self.rises, self.means = which[is_finite], rises[is_finite], means[is_finite]
        self.centre = centre if np.isfinite(centre).all() else np.zeros_like(centre)
        self.largest = largest


class _NumberCurve:
    """A curve of numbers or dates: the interval of a row, open below but for the first, from its own value."""

    def __init__(self, checks: LocalEffectChecks, curve: Curve) -> None:
        self.checks, self.rows, self.curve = checks, checks.evaluator.rows, curve
        self.interval_of_row = _intervals_of_rows(curve, 0)

    def signed_corners(self, row: int, part: int) -> tuple[tuple[float, int], ...]:
        """The upper end less the lower end."""
        del part
        own = _interval_of_cell(self.checks, self.curve, 0, row)
        k = int(self.interval_of_row[row]) if own is None else own
        return (1.0, k + 1), (-1.0, k)

    def steps_of_curve(self, parts: Sequence[_RowSums]) -> _StepsOfCurve:
        """See `_StepsOfCurve`."""
        values, w, at = self.curve.values, self.rows.weights, self.interval_of_row
        which, means = _interval_means([(at[parts[0][0]], w[parts[0][0]], parts[0][1][parts[0][0]])])
        inside = at >= 0
        middle = (values[at[inside]] + values[at[inside] + 1]) / 2
        return _StepsOfCurve(
            which,
            np.diff(values, axis=0)[which],
            means,
            _weighted_mean(middle, w[inside]),
            np.abs(parts[0][1]).max(axis=0),
        )


class _CategoryCurve:
    """A curve of categories: each row moves one level up and one down in the order of the curve."""

    def __init__(self, checks: CurveChecks, curve: Curve) -> None:
        self.rows, self.curve, self.level_of_row = checks.evaluator.rows, curve, curve.grid.point_of_row

    def signed_corners(self, row: int, part: int) -> tuple[tuple[float, int], ...]:
        """One level up (first part) or down, upper less lower."""
        k = int(self.level_of_row[row]) - part
        return (1.0, k + 1), (-1.0, k)

    def steps_of_curve(self, parts: Sequence[_RowSums]) -> _StepsOfCurve:
        """See `_StepsOfCurve`."""
        values, w, own = self.curve.values, self.rows.weights, self.level_of_row
        both = [(own[rows] - k, w[rows], moved[rows]) for k, (rows, moved) in enumerate(parts)]
        which, means = _interval_means(both)
        inside = own >= 0
        largest = np.max([np.abs(moved).max(axis=0) for _, moved in parts], axis=0)
        return _StepsOfCurve(
            which, np.diff(values, axis=0)[which], means, _weighted_mean(values[own[inside]], w[inside]), largest
        )


class _NumberSurface:
    """A surface of two numbers: the four corners of a row's own cell."""

    def __init__(self, checks: LocalEffectChecks, curve: Curve) -> None:
        self.checks, self.rows, self.curve = checks, checks.evaluator.rows, curve
        self.first_interval, self.second_interval = (_intervals_of_rows(curve, side) for side in (0, 1))
        self.points_with_values = [
            np.flatnonzero(np.isfinite(f.place(p))) for f, p in zip(curve.grid.features, curve.grid.points, strict=True)
        ]

    def signed_corners(self, row: int, part: int) -> tuple[tuple[float, int], ...]:
        """Both upper and both lower ends, less the two mixed ones."""
        del part
        own = [_interval_of_cell(self.checks, self.curve, side, row) for side in (0, 1)]
        i, j = (
            int(at[row]) if k is None else k
            for at, k in zip((self.first_interval, self.second_interval), own, strict=True)
        )
        n_second_points = self.curve.grid.shape[1]
        signs = ((1.0, 1, 1), (-1.0, 0, 1), (1.0, 0, 0), (-1.0, 1, 0))
        return tuple(
            (s, int(self.points_with_values[0][i + up]) * n_second_points + int(self.points_with_values[1][j + over]))
            for s, up, over in signs
        )

    def steps_of_curve(self, parts: Sequence[_RowSums]) -> _StepsOfCurve:
        """Rises are second differences, which neither feature's own effect enters."""
        (rows, moved), w = parts[0], self.rows.weights
        surface = self.curve.values.reshape(len(self.points_with_values[0]), len(self.points_with_values[1]), -1)
        second_differences = np.diff(np.diff(surface, axis=0), axis=1)
        across = second_differences.shape[1]
        which, means = _interval_means(
            [(self.first_interval[rows] * across + self.second_interval[rows], w[rows], moved[rows])]
        )
        middle = (surface[1:, 1:] + surface[1:, :-1] + surface[:-1, 1:] + surface[:-1, :-1]) / 4
        middle_of_cell = middle[self.first_interval[rows], self.second_interval[rows]]
        return _StepsOfCurve(
            which,
            second_differences.reshape(-1, surface.shape[2])[which],
            means,
            _weighted_mean(middle_of_cell, w[rows]),
            np.abs(moved).max(axis=0),
        )


def _intervals_of_rows(curve: Curve, side: int) -> Ints:
    """The interval of each row, open below but for the first; -1 outside, and where there is no value."""
    feature = curve.grid.features[side]
    x, edges = feature.numbers, feature.place(curve.points[side])
    assert x is not None  # noqa: S101  # numbers and dates have places
    with np.errstate(invalid="ignore"):
        inside = (x >= edges[0]) & (x <= edges[-1])
    at = np.digitize(x, edges, right=True) - 1
    return np.where(inside, np.clip(at, 0, len(edges) - 2), -1).astype(np.int64)


def _interval_of_cell(checks: LocalEffectChecks, curve: Curve, side: int, row: int) -> int | None:
    """The interval of one row, from its own cell and the edges as the user sees them; None for dates and for numbers beyond the floats' precision."""
    feature, edges = curve.grid.features[side], curve.points[side]
    if feature.kind == "datetime" or feature.number_origin:
        return None
    x = float(checks.cell_at(feature.position, row))
    above = [k for k, edge in enumerate(edges.tolist()) if edge >= x]
    return max(above[0] - 1, 0)


def _interval_means(parts: Sequence[tuple[Ints, Floats, Floats]]) -> tuple[Ints, Floats]:
    """Which intervals have weight, and the weighted mean of the differences in each, from (interval, weight, difference) of rows."""
    at, w, moved = (np.concatenate([p[k] for p in parts]) for k in (0, 1, 2))
    order = np.argsort(at, kind="stable")
    at, w, moved = at[order], w[order], moved[order]
    which, start = np.unique(at, return_index=True)
    mass = np.add.reduceat(w, start) if len(start) else np.empty(0)
    sums = np.add.reduceat(w[:, None] * moved, start, axis=0) if len(start) else np.empty((0, moved.shape[1]))
    has_weight = mass > 0
    return which[has_weight], sums[has_weight] / mass[has_weight, None]


def _weighted_mean(values: Floats, weights: Floats) -> Floats:
    return (
        np.asarray(weights @ values / weights.sum()) if len(values) and weights.sum() > 0 else np.zeros(values.shape[1])
    )
