"""Partial dependence, individual curves, means by value and ANOVA components of one feature or two, from the predictions of an evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, OptionError
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.extrapolation import OffDataShare
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.numerics.statistics import skewness_of_mean, std_error_of_mean

__all__ = [
    "Curve",
    "anova_components",
    "centred_curve",
    "check_individual",
    "check_slopes",
    "curve_slopes",
    "grid_share",
    "individual_curves",
    "mean_by_value",
    "partial_dependence",
    "too_close",
    "with_off_data",
    "with_side_grids",
]

MAX_RESULT_BYTES: Final = 2**33  # bytes of one result


def too_close(kind: str, name: str) -> OptionError:
    """Return the refusal of a feature whose values no float tells apart."""
    return OptionError(
        Argument("kind", kind),
        f": some values of {name!r} are too close together for a float to tell apart; are they ids? Leave it out of ",
        Argument("features"),
        ", or use ",
        Argument("kind", "pdp"),
        ".",
    )


@final
@dataclass(frozen=True, eq=False)
class Curve:
    """What was computed at the points of a grid: ``values`` and ``std_error`` (points, outputs), or (rows, points, outputs).

    ``skewness`` (of the estimate) and ``freedom`` (degrees of freedom of the error) shape the interval; both broadcast to the values.
    ``points`` are those of the grid unless the method has its own. ``notes`` say what the reader should know.
    """

    grid: Grid
    values: Floats
    std_error: Floats | None = None
    skewness: Floats | float = 0.0
    freedom: Floats | float | None = None
    points: tuple[npt.NDArray[Any], ...] = ()
    notes: tuple[str, ...] = ()
    off_data: Floats | None = None
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)


def partial_dependence(evaluator: Evaluator, grids: list[Grid]) -> list[Curve]:
    """Return partial dependence: at each point the weighted mean, over the rows, of the model with the feature set to it.

    The standard error takes the rows as a sample: ``sqrt(sum (w (v - mean))^2 n / (n - 1))`` over the individual values v, with shares w and the
    effective number of rows n. It says how far the mean would move with other rows of the same kind, for this model; it says nothing of how far
    training moves the model. Where the mean costs less than the individual values (tree ensembles, many rows), the error is estimated from a
    sample of the rows, and a note says so.

    References:
        Friedman, Greedy function approximation, Annals of Statistics 29 (2001).
    """
    freedom = evaluator.rows.effective_count - 1.0
    return [
        Curve(g, m.mean, m.std_error, m.skewness, freedom, notes=m.notes)
        for g, m in zip(grids, evaluator.point_moments(grids), strict=True)
    ]


def individual_curves(evaluator: Evaluator, grids: Sequence[Grid]) -> list[Curve]:
    """Return one curve a row, (rows, points, outputs).

    Raises:
        LimitError: as :func:`check_individual`.

    References:
        Goldstein et al., Peeking inside the black box, Journal of Computational and Graphical Statistics 24 (2015).
    """
    values_of_grid = [np.empty(check_individual(evaluator, grid)) for grid in grids]
    for i, rows, block in evaluator.curve_blocks(grids):
        values_of_grid[i][rows] = block
    return [Curve(grid, values) for grid, values in zip(grids, values_of_grid, strict=True)]


def check_individual(evaluator: Evaluator, grid: Grid) -> tuple[int, int, int]:
    """Return the shape of individual curves, (rows, points, outputs).

    Raises:
        LimitError: it does not fit.
    """
    shape = (len(evaluator.rows), len(grid), len(evaluator.selection.names))
    if 8 * np.prod(shape, dtype=np.float64) > MAX_RESULT_BYTES:
        raise LimitError(
            f"{shape[0]:,} rows x {shape[1]:,} points x {shape[2]} outputs do not fit; pass fewer rows or points, or ",
            Argument("kind", "pdp"),
            ".",
        )
    return shape


def centred_curve(curve: Curve) -> Curve:
    """Return individual curves less their own value at the first point; the values are changed in place."""
    values = curve.values
    values -= values[:, :1].copy()
    return curve


def curve_slopes(curve: Curve) -> Curve:
    """Return the slopes of individual curves between neighbouring points, at their middles.

    Raises:
        OptionError: some values are too close together for a float to tell apart.
    """
    grid = curve.grid
    x = grid.features[0].place(grid.points[0])
    known = np.flatnonzero(~np.isnan(x))
    x = x[known]
    if (np.diff(x) <= 0).any():
        raise too_close("d-ice", grid.name)
    with np.errstate(over="ignore"):  # a step between numbers next to each other may be steeper than any number
        values = np.diff(curve.values[:, known], axis=1) / np.diff(x)[None, :, None]
    notes = ("A missing value has no slope; its point is left out.",) if len(known) < len(grid) else ()
    return Curve(grid, values, points=(x[1:] / 2 + x[:-1] / 2 + grid.features[0].number_origin,), notes=notes)


def check_slopes(grid: Grid) -> None:
    """Refuse a grid that has no slopes.

    Raises:
        OptionError: its feature has no numbers, or fewer than two, or there are two features.
    """
    if len(grid.features) != 1 or grid.features[0].kind not in ("number", "integer"):
        raise OptionError(
            Argument("kind", "d-ice"),
            f" is about slopes, and {grid.name!r} has no numbers along an axis; use 'ice' or 'c-ice'.",
        )
    if np.isfinite(grid.points[0].astype(np.float64)).sum() < 2:
        raise OptionError(
            Argument("kind", "d-ice"), f": {grid.name!r} has fewer than two values, so there is no slope."
        )


def mean_by_value(evaluator: Evaluator, grid: Grid) -> Curve:
    """Return the mean prediction of the rows at each point as they are, correlated features included.

    Each row counts at the point nearest to its own value (for categories and missing values, at its own). The standard error is that of a
    mean of those rows. A point that no row is nearest to has NaN.
    """
    nearest_point = nearest_points(evaluator.rows, grid)
    w, predictions = evaluator.rows.weights, evaluator.predictions()
    values = np.full((len(grid), predictions.shape[1]), np.nan)
    error, skewness, freedom = (np.full(values.shape, np.nan) for _ in range(3))
    for g in range(len(grid)):
        is_nearest = nearest_point == g
        weight = w[is_nearest].sum()
        if weight > 0:
            share = w[is_nearest] / weight
            n = float(1.0 / (share**2).sum())
            values[g] = share @ predictions[is_nearest]
            deviations = share[:, None] * (predictions[is_nearest] - values[g])
            squares = (deviations**2).sum(axis=0)
            error[g] = std_error_of_mean(squares, n)
            skewness[g], freedom[g] = skewness_of_mean(squares, (deviations**3).sum(axis=0), n), n - 1.0
    return Curve(grid, values, error, skewness, freedom)


def anova_components(evaluator: Evaluator, grids: Sequence[Grid]) -> list[Curve]:
    """Return components of the functional ANOVA: what a feature adds to the mean, or two features to what each adds alone.

    With PD the mean over the rows with features set to values, and f0 the mean prediction: ``PD_j - f0`` for one feature,
    ``PD_jk - PD_j - PD_k + f0`` for two. The latter is zero everywhere where the two do not act together.

    References:
        Friedman and Popescu, Predictive learning via rule ensembles, Annals of Applied Statistics 2 (2008); Hiabu, Meyer and Wright, Unifying
        local and global model explanations by functional decomposition of low dimensional structures, AISTATS 2023.
    """
    rows = evaluator.rows
    all_grids, sides_of_grid = with_side_grids(grids)
    evaluator.reserve_predictions(all_grids, predictions=True)
    overall_mean = rows.weights @ evaluator.predictions()
    means = evaluator.point_means(all_grids)
    notes = ("No standard error is computed for components; partial dependence has one.",)
    out = []
    for i, (grid, sides) in enumerate(zip(grids, sides_of_grid, strict=True)):
        values = means[i] - overall_mean
        alone = [means[at] - overall_mean for at in sides]
        sums = (alone[0][:, None] + alone[1][None]).reshape(values.shape) if alone else 0.0
        out.append(Curve(grid, values - sums, notes=notes))
    return out


def with_side_grids(grids: Sequence[Grid]) -> tuple[list[Grid], list[tuple[int, ...]]]:
    """Return the grids and then both features of each surface by themselves, each different one once; and for each grid where its sides are."""
    all_grids, sides = list(grids), []
    position_of_grid: dict[Any, int] = {}
    for grid in grids:
        positions = []
        for side in grid.side_grids:
            if side.point_keys not in position_of_grid:
                position_of_grid[side.point_keys] = len(all_grids)
                all_grids.append(side)
            positions.append(position_of_grid[side.point_keys])
        sides.append(tuple(positions))
    return all_grids, sides


def nearest_points(rows: WeightedRows, grid: Grid) -> Ints:
    """Return the point nearest to each row, (rows,); -1 where none is (a category that is not on the grid)."""
    out = np.zeros(len(rows), dtype=np.int64)
    for side in grid.side_grids or (grid,):
        feature = rows.feature(side.features[0].position)
        key = "nearest points", feature
        if key not in side.kept:
            side.kept[key] = _nearest_points(feature, side)
        points, point_of_row = side.points[0], side.kept[key]
        out = np.where((out < 0) | (point_of_row < 0), -1, out * len(points) + point_of_row)
    return out


def _nearest_points(feature: Feature, side: Grid) -> Ints:
    if side.features[0].kind == "category":
        return side.point_of_row
    return np.where(side.point_of_row < 0, _nearest_number(feature, side.points[0]), side.point_of_row)


def _nearest_number(feature: Feature, points: npt.NDArray[Any]) -> Ints:
    x = feature.numbers
    assert x is not None  # noqa: S101  # only categories have none
    axis = feature.place(points)
    known = np.flatnonzero(~np.isnan(axis))
    missing_points = np.flatnonzero(np.isnan(axis))
    if not len(known):
        return np.where(np.isnan(x), missing_points[0], -1).astype(np.int64)
    points = axis[known]
    above = np.clip(np.searchsorted(points, x), 1 if len(points) > 1 else 0, len(points) - 1)
    below = np.maximum(above - 1, 0)
    with np.errstate(over="ignore", invalid="ignore"):  # one of two distances may run over
        at = known[np.where(x - points[below] <= points[above] - x, below, above)]
    return np.where(np.isnan(x), missing_points[0] if len(missing_points) else -1, at).astype(np.int64)


def grid_share(rows: WeightedRows, grid: Grid) -> Floats:
    """Return the weighted share of rows that each point is the nearest of, in the shape of the grid."""
    nearest_point = nearest_points(rows, grid)
    has_point = nearest_point >= 0
    return np.asarray(
        np.bincount(nearest_point[has_point], rows.weights[has_point], minlength=len(grid)).reshape(grid.shape),
        dtype=np.float64,
    )


def with_off_data(rows: WeightedRows, curves: list[Curve]) -> list[Curve]:
    """Return the curves, those of a single feature with the off-data share at each point."""
    share = OffDataShare(rows)

    def with_share(c: Curve) -> Curve:
        if len(c.grid.features) != 1:
            return c
        found, error = share(c.grid.features[0], c.grid.points[0], c.grid.point_of_row)
        return replace(c, off_data=found, extras={**c.extras, "off_data_std_error": (("point",), error)})

    return [with_share(c) for c in curves]
