"""A curve at points beside its grid: computed again by the same evaluator; and the steps of a curve, which can be saved with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, is_missing
from whybox.errors import ModelMismatchError, OptionError, WhyboxError
from whybox.explanation.curve_functions import (
    TOO_MANY_STEPS,
    CurveAxis,
    SavedCurve,
    StepFunction,
    UnavailableCurve,
    as_plain_list,
)
from whybox.kernels.value_intervals import interval_edges, interval_index
from whybox.methods.common.columns import Feature
from whybox.methods.common.spot_checks import SpotChecker, TimeShare
from whybox.methods.effects.curves import Curve
from whybox.methods.effects.grid import Grid, product_grid
from whybox.methods.effects.grid_points import grid_of_values, grid_with_positions
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.spot_checks import CheckedCurves
from whybox.methods.effects.tree_evaluator import TreeEvaluator
from whybox.models.inputs import Encoder, NumberEncoder

__all__ = ["CurveAt"]

MAX_NUMBERS_SAVED: Final = 2**21  # numbers that are saved with a curve, for all its steps
MAX_SAVED_WORK: Final = 2**27  # rows x steps that are computed for it
_MAX_EXACT_INTEGER: Final = 2**24  # whole numbers up to here are the same in float32
_ADVICE_BEFORE_SAVING: Final = "Pass the points you need in grid= before saving, or keep the model."


@final
@dataclass(frozen=True, eq=False)
class CurveAt:
    """A curve at other points, computed by the evaluator of the curve."""

    problem: EffectsProblem
    grid: Grid
    time_share: TimeShare = field(default_factory=TimeShare, repr=False)

    def __call__(self, points: Any) -> Floats:
        """Return the values at points, in the order given, (points,) [, outputs], rows first where there are rows."""
        grid, positions = self._grid_of_points(points)
        self.problem.repeat_check.check_unchanged()
        values = self._values_at(grid)
        return np.ascontiguousarray(
            self.problem.selection.drop_output_axis(np.take(values, positions, axis=values.ndim - 2))
        )

    def _values_at(self, grid: Grid) -> Floats:
        """Values at the points of a grid, ([rows,] points, outputs)."""
        problem, kind, time_share = self.problem, self.problem.effect_kind, self.time_share
        checks = kind.spot_checks_at or kind.spot_checks if time_share.is_check_due() else None
        evaluator, grids = problem.evaluator_of(self.grid.column_positions), kind.grids_at(grid, self._first_point_grid)
        began = time_share.clock_time()
        curves = CheckedCurves(problem, evaluator, grids, SpotChecker(), kind=checks)
        computed = curves.compute_unchecked(kind.compute_at)
        middle = time_share.clock_time()
        curves.check_curves(computed)
        time_share.add_time(work=middle - began, checks=time_share.clock_time() - middle if checks else 0.0)
        return kind.values_at(computed)

    def _means_at(self, trees: TreeEvaluator, grid: Grid) -> Floats:
        """Means at the points of a grid, without their errors."""
        curves = CheckedCurves(self.problem, trees, [grid], SpotChecker(), kind=self.problem.effect_kind.spot_checks)
        return curves.compute_and_check(lambda evaluator, grids: [Curve(grid, evaluator.point_means(grids)[0])])[
            0
        ].values

    def _first_point_grid(self) -> Grid:
        """The curve's own first point."""
        return _grid_of_sorted_points(self.problem, self.grid.features, [list(p[:1]) for p in self.grid.points])

    def _grid_of_points(self, points: Any) -> tuple[Grid, npt.NDArray[np.int64]]:
        table, features = self.problem.rows.table, self.grid.features
        if len(features) == 1:
            return grid_with_positions(table, features[0], as_plain_list(points))
        pairs = [as_plain_list(p) for p in as_plain_list(points)]
        if any(len(p) != 2 for p in pairs):
            raise OptionError("a surface is evaluated at pairs of values: [(a, b), ...].")
        sides = [[p[i] for p in pairs] for i in (0, 1)]
        (a, i), (b, j) = (grid_with_positions(table, f, s) for f, s in zip(features, sides, strict=True))
        return product_grid(a, b), i * len(b) + j

    def saved_curve(self, max_numbers: int | None = None) -> SavedCurve:
        """Return all steps of the curve, if its trees make not too many (`max_numbers` numbers, where fewer are wanted); else the reason why not."""
        trees, kind = self.problem.evaluator_of(self.grid.column_positions), self.problem.effect_kind
        if not isinstance(trees, TreeEvaluator) or not kind.saves_steps:
            return UnavailableCurve(
                "at() asks the model again, and this curve was saved without it; its grid is all there is."
            )
        try:
            self.problem.repeat_check.check_unchanged()
        except ModelMismatchError as error:
            return UnavailableCurve(f"the steps of this curve were not saved: {error}")
        axes, points = [], []
        for feature in self.grid.features:
            axis = _saved_axis(trees, self.problem, feature)
            if isinstance(axis, str):
                return UnavailableCurve(
                    f"the steps of this curve were not saved, because {axis}. {_ADVICE_BEFORE_SAVING}"
                )
            axes.append(axis[0])
            points.append(axis[1])
        n_steps = int(np.prod([len(p) for p in points]))
        by_row = kind.by_row
        n_rows, outputs = len(self.problem.rows), len(self.problem.selection.names)
        if n_steps * outputs * (n_rows if by_row else 1) > MAX_NUMBERS_SAVED or (
            trees.needs_curves and n_steps * n_rows > MAX_SAVED_WORK
        ):
            return UnavailableCurve(
                f"the steps of this curve were not saved, because they are too many. {_ADVICE_BEFORE_SAVING}"
            )
        if max_numbers is not None and n_steps * outputs * (n_rows if by_row else 1) > max_numbers:
            return UnavailableCurve(TOO_MANY_STEPS)
        grid = _grid_of_sorted_points(self.problem, self.grid.features, points)
        values = self._means_at(trees, grid) if kind.plain_mean else self._values_at(grid)
        shape = (*((n_rows,) if by_row else ()), *(len(p) for p in points), outputs)
        return StepFunction(
            tuple(axes), np.ascontiguousarray(self.problem.selection.drop_output_axis(values.reshape(shape))), by_row
        )


def _grid_of_sorted_points(problem: EffectsProblem, features: Sequence[Feature], points: Sequence[list[Any]]) -> Grid:
    """A grid of these points, which are sorted and different, in their order."""
    table = problem.rows.table
    sides = [grid_of_values(table, f, p) for f, p in zip(features, points, strict=True)]
    return sides[0] if len(sides) == 1 else product_grid(*sides)


def _saved_axis(trees: TreeEvaluator, problem: EffectsProblem, feature: Feature) -> tuple[CurveAxis, list[Any]] | str:
    """An axis that holds every value of a feature, and a point for each step; or the reason why there is none."""
    if feature.kind == "category":
        categories = [
            *feature.declared,
            *(w for w in feature.unique if not feature.declared or w not in feature.declared),
        ]
        if any(map(is_missing, categories)):
            return f"the missing values of {feature.name!r} are of several kinds"
        if not all(isinstance(w, (str, int, float, bool)) for w in categories):
            return f"the values of {feature.name!r} are neither text nor numbers"
        has_missing = feature.missing
        return CurveAxis(feature.name, None, tuple(categories), has_missing), [
            *categories,
            *([None] if has_missing else []),
        ]
    try:
        edges = _class_edges(trees, problem, feature)
    except WhyboxError:  # numbers that are codes of categories
        edges = None
    if edges is None:
        return f"the values of {feature.name!r} are transformed before the trees compare them"
    points: list[Any] = [*edges.tolist(), _number_above(edges)]
    if not _in_different_classes(trees, problem, feature, points):
        return f"the values of {feature.name!r} are rounded before the trees compare them"
    has_missing = _takes_missing(trees, problem, feature)
    return CurveAxis(feature.name, edges, None, has_missing), [*points, *([None] if has_missing else [])]


def _class_edges(trees: TreeEvaluator, problem: EffectsProblem, feature: Feature) -> Floats | None:
    """The largest of the user's values in each class but the last, found by the encoder itself; None where it does more than round."""
    model, columns = trees.model, trees.model_columns((feature.position,))
    encoder = model.inputs.encoder
    if not encoder.is_elementwise or feature.kind == "datetime" or len(columns) > 1 or not _has_plain_missing(encoder):
        return None
    if not columns:
        return np.empty(0)
    edges = interval_edges(model, columns[0])
    edges = edges[np.abs(edges) < np.finfo(np.float64).max]  # no number is beyond
    native = problem.rows.table.native
    rounded = isinstance(native, np.ndarray) and native.dtype.kind != "f"
    if rounded and len(edges) and np.abs(edges).max() >= _MAX_EXACT_INTEGER:
        return None
    with np.errstate(over="ignore", under="ignore"):
        near = edges.astype(np.float32)
        near = np.where(near > edges, np.nextafter(near, np.float32(-np.inf)), near)
        after = np.nextafter(near, np.float32(np.inf)).astype(np.float64)
        after = np.where(np.isfinite(after), after, near.astype(np.float64) + 2.0**104)  # where it runs over
    with np.errstate(invalid="ignore"):  # an edge beyond float32
        middle = near.astype(np.float64) + (after - near) / 2  # where float32 turns
    out = np.full(len(edges), np.nan)
    for candidates in (edges, middle, np.nextafter(middle, -np.inf)):
        class_at, class_after = (
            _classes_of_values(trees, problem, feature, columns[0], v)
            for v in (candidates, np.nextafter(candidates, np.inf))
        )
        right = (class_at == np.arange(len(edges))) & (class_after == class_at + 1)
        out = np.where(np.isnan(out) & right, candidates, out)
    return None if np.isnan(out).any() or (np.diff(out) <= 0).any() else out


def _classes_of_values(
    trees: TreeEvaluator, problem: EffectsProblem, feature: Feature, column: int, values: Floats
) -> npt.NDArray[np.int64]:
    """The class that each value is of, as the trees read it."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    table = problem.rows.table.rows(np.zeros(len(values), dtype=np.int64)).with_values(
        feature.position, values.tolist()
    )
    return interval_index(trees.model, column, trees.model.inputs.matrix(table)[:, column])


def _number_above(edges: Floats) -> float:
    """A number above all edges: a float32 where there is one, so that no column rounds it back."""
    if not len(edges):
        return 0.0
    with np.errstate(over="ignore"):
        near = float(np.nextafter(edges[-1:].astype(np.float32), np.float32(np.inf))[0])
    return near if np.isfinite(near) else float(edges[-1]) * 2.0


def _in_different_classes(trees: TreeEvaluator, problem: EffectsProblem, feature: Feature, points: list[Any]) -> bool:
    """Whether points are one of each class, in order, as a grid of them is read."""
    columns = trees.model_columns((feature.position,))
    if not np.isfinite(points[-1]):
        return False
    if not columns:
        return True
    try:
        grid = grid_of_values(problem.rows.table, feature, points)
        classes = interval_index(trees.model, columns[0], trees.model.inputs.matrix(grid.table)[:, columns[0]])
    except WhyboxError:
        return False
    return np.array_equal(classes, np.arange(len(points)))


def _has_plain_missing(encoder: Encoder) -> bool:
    """Whether no number but NaN means a missing value."""
    inner = [getattr(encoder, "base", None), *(e for _, e in getattr(encoder, "members", ()))]
    own = not isinstance(encoder, NumberEncoder) or bool(np.isnan(encoder.missing_value))
    return own and all(_has_plain_missing(e) for e in inner if e is not None)


def _takes_missing(trees: TreeEvaluator, problem: EffectsProblem, feature: Feature) -> bool:
    try:
        trees.model.inputs.matrix(grid_of_values(problem.rows.table, feature, [None]).table)
    except (WhyboxError, ValueError, TypeError):
        return False
    return True
