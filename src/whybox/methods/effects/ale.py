"""Accumulated local effects: how the prediction moves when a feature moves a little, added up along its axis.

Numbers and dates, with edges z_0 < ... < z_K: a row of interval k = (z_(k-1), z_k] (the first one with its lower end) is evaluated at both ends of its own
interval. With m_k the weighted mean of these differences, the curve at edge k is ``m_1 + ... + m_k - c``, and c centres it over the rows: the
mean of the curve's middle in each row's interval. Categories have an order; for neighbours in it the rows of both are moved from the one to the
other, and the curve is centred over the levels' shares.

The standard error follows each row's influence. With a_kb how much m_b counts in the curve at k (1 if b <= k, less its part in c), W_b the weight in b,
and h the curve at the row's own place,

    psi_i(k) = sum over b of row i:  a_kb w_i / W_b (d_ib - m_b) sqrt(n_b / (n_b - 1))   -   w_i (h_i - mean h) sqrt(n / (n - 1))
    std_error(k)^2 = sum over rows of psi_i(k)^2

so both the spread inside the intervals and the chance of the centre count; the edges are taken as given. Where they are ours, an interval of fewer than five
rows is joined with its neighbour. Where they are the caller's, an interval of a single row borrows the pooled spread of all, and one without rows makes the
error infinite where it counts; so does that of a single row if no interval holds more.

References:
    Apley and Zhu, Visualizing the effects of predictor variables in black box supervised learning models, Journal of the Royal Statistical
    Society B 82 (2020); the order of categories by likeness and the fill of empty cells are those of their package ALEPlot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.explanation.axis_points import point_labels
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects.ale_errors import RowDifferences, accumulate_differences
from whybox.methods.effects.curves import Curve, too_close
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import CornerRequest, Evaluator

__all__ = ["accumulated_local_effects", "edges_of", "requests_of"]

_LEFT_OUT: Final = -1
MIN_ROWS: Final = 5  # in an interval, where the edges are ours
MAX_GAPS_NAMED: Final = 3


def accumulated_local_effects(evaluator: Evaluator, grids: Sequence[Grid]) -> list[Curve]:
    """Return the accumulated local effects of one feature or two each, in the units of the prediction, centred at zero.

    Raises:
        OptionError: fewer than two points, no row among them, or a category in a surface.
    """
    plans = _curve_plans(evaluator.rows, grids)
    moved = iter(evaluator.corner_sums([r for p in plans for r in p.corner_requests]))
    return [p.finish_curve([next(moved) for _ in p.corner_requests]) for p in plans]


def requests_of(rows: WeightedRows, grids: Sequence[Grid]) -> list[CornerRequest]:
    """Return the requests that :func:`accumulated_local_effects` makes of an evaluator.

    Raises:
        OptionError: as :func:`accumulated_local_effects`.
    """
    return [r for p in _curve_plans(rows, grids) for r in p.corner_requests]


@final
@dataclass(frozen=True, eq=False)
class _CurvePlan:
    """The requests for a curve, and how it is computed from the sums: so that all features are evaluated together."""

    corner_requests: list[CornerRequest]
    finish_curve: Callable[[list[Floats]], Curve]


def _curve_plans(rows: WeightedRows, grids: Sequence[Grid]) -> list[_CurvePlan]:
    return [_curve_plan(rows, g) for g in grids]


def _curve_plan(rows: WeightedRows, grid: Grid) -> _CurvePlan:
    """The plan of a curve, made once: it is asked for before the work, and for it."""
    key = "ale", rows
    if key not in grid.kept:
        grid.kept[key] = (_plan_surface if len(grid.features) == 2 else _plan_line)(rows, grid)
    plan: _CurvePlan = grid.kept[key]
    return plan


def _plan_line(rows: WeightedRows, grid: Grid) -> _CurvePlan:
    edges, order = edges_of(rows, grid)
    curve_grid = grid.select_points(order)
    notes_of_joined = _about_joined(grid, len(order))
    corner_requests, differences_from_sums = (
        _level_requests(curve_grid) if grid.axis_positions is None else _interval_requests(rows, curve_grid, edges)
    )
    _check_rows_inside(
        grid,
        np.min([at for _, at in corner_requests[0][1]], axis=0) >= 0
        if grid.axis_positions is not None
        else curve_grid.point_of_row >= 0,
        rows,
    )

    def finish_curve(corner_sums: list[Floats]) -> Curve:
        differences = differences_from_sums(corner_sums)
        estimate = accumulate_differences(rows, differences)
        weight_left_out = float(rows.weights[differences.place_of_row < 0].sum())
        notes = [*notes_of_joined]
        if weight_left_out > 0:
            notes.append(
                f"{100 * weight_left_out:.3g} % of the rows (by weight) have no value on this axis and are left out."
            )
        count = differences.n_intervals
        gaps = np.flatnonzero(
            np.bincount(differences.interval_of_step, rows.weights[differences.row_of_step], count) == 0
        )
        extras: dict[str, Any] = {}
        if len(gaps):
            notes.append(_about_gaps(curve_grid, gaps))
            extras["gap_before"] = (("point",), np.isin(np.arange(count + 1), gaps + 1))
        return Curve(
            curve_grid,
            estimate.values,
            estimate.std_error,
            estimate.skewness,
            estimate.freedom,
            points=curve_grid.points,
            notes=tuple(notes),
            extras=extras,
        )

    return _CurvePlan(corner_requests, finish_curve)


def _about_joined(grid: Grid, kept: int) -> tuple[str, ...]:
    """What to say of intervals that were joined because few rows are in them."""
    axis_positions = grid.axis_positions
    count = 0 if axis_positions is None else int(np.isfinite(axis_positions).sum())
    if kept >= count:
        return ()
    return (f"{count - 1} intervals were joined to {kept - 1}, so that each holds at least {MIN_ROWS} rows.",)


def _about_gaps(grid: Grid, gaps: Ints) -> str:
    """What to say of intervals without rows."""
    words = point_labels(grid.points[0])
    named = ", ".join(f"from {words[g]} to {words[g + 1]}" for g in gaps[:MAX_GAPS_NAMED])
    more = f" and {len(gaps) - MAX_GAPS_NAMED} more" if len(gaps) > MAX_GAPS_NAMED else ""
    return (
        f"No row is in {len(gaps)} of the {len(grid) - 1} intervals ({named}{more}): how the prediction moves there is not known. The curve is flat "
        "there, drawn dashed, and its error is infinite where that counts. Give a grid whose intervals hold rows."
    )


def _check_rows_inside(grid: Grid, inside: npt.NDArray[np.bool_], rows: WeightedRows) -> None:
    """Refuse points among which no row is."""
    if not (rows.weights[inside] > 0).any():
        raise OptionError(
            Argument("kind", "ale"),
            f" moves rows that stand among the points, and no row that counts has a value of {grid.name} there; give a grid that spans "
            "the data.",
        )


def edges_of(rows: WeightedRows, grid: Grid) -> tuple[Floats, Ints]:
    """Return the places of a feature's edges, in order, and which points of the grid these are.

    A missing number is on no axis; a missing category is a level as any other.

    Raises:
        OptionError: fewer than two are left.
    """
    feature = grid.features[0]
    axis_positions = grid.axis_positions
    if axis_positions is None:
        has_rows = np.isin(np.arange(len(grid)), grid.point_of_row[rows.weights > 0])
        order = np.flatnonzero(has_rows) if not grid.is_custom else np.arange(len(grid))
        if not grid.is_custom and not feature.ordered:
            order = _by_similarity(rows, grid, order)
        edge_positions = np.arange(len(order), dtype=np.float64)
    else:
        order = np.flatnonzero(np.isfinite(axis_positions))
        order = order[np.argsort(axis_positions[order], kind="stable")]
        edge_positions = axis_positions[order]
        if (np.diff(edge_positions) <= 0).any():
            raise too_close("ale", feature.name)
        if not grid.is_custom and len(order) > 2:
            kept = _with_enough_rows(feature, edge_positions, rows.weights)
            order, edge_positions = order[kept], edge_positions[kept]
    if len(order) < 2:
        raise OptionError(
            f"{feature.name!r} has fewer than two values, so there is nothing to move between; leave it out of ",
            Argument("features"),
            ".",
        )
    return edge_positions, order.astype(np.int64)


def _with_enough_rows(feature: Feature, edges: Floats, weights: Floats) -> Ints:
    """Which edges to keep so that each interval holds enough rows: an interval of few is joined with the next one, the last with that before it."""
    x = feature.numbers
    assert x is not None  # noqa: S101  # numbers and dates have places
    interval_of_row = interval_of_numbers(x, edges)
    counts = np.bincount(interval_of_row[(interval_of_row >= 0) & (weights > 0)], minlength=len(edges) - 1)
    kept, inside = [0], 0
    for k, count in enumerate(counts, start=1):
        inside += int(count)
        if inside >= MIN_ROWS:
            kept.append(k)
            inside = 0
    if kept[-1] != len(counts):
        kept = [*(kept[:-1] if len(kept) > 1 else kept), len(counts)]
    return np.array(kept, dtype=np.int64)


_DifferencesFromSums = Callable[[list[Floats]], RowDifferences]


def _interval_requests(
    rows: WeightedRows, grid: Grid, edges: Floats
) -> tuple[list[CornerRequest], _DifferencesFromSums]:
    x = rows.feature(grid.column_positions[0]).numbers
    assert x is not None  # noqa: S101  # numbers and dates have places
    interval_of_row = interval_of_numbers(x, edges)
    rows_inside = np.flatnonzero(interval_of_row >= 0)
    request = (grid, [(1, np.where(interval_of_row < 0, _LEFT_OUT, interval_of_row + 1)), (-1, interval_of_row)])
    return [request], lambda moved: RowDifferences(
        rows_inside,
        interval_of_row[rows_inside],
        moved[0][rows_inside],
        interval_of_row,
        len(edges) - 1,
        in_intervals=True,
    )


def interval_of_numbers(x: Floats, edges: Floats) -> Ints:
    """Return the interval of each number, open below and closed above but for the first; -1 outside."""
    with np.errstate(invalid="ignore"):
        inside = (x >= edges[0]) & (x <= edges[-1])
    at = np.clip(np.searchsorted(edges, x, side="left") - 1, 0, len(edges) - 2)
    return np.where(inside, at, _LEFT_OUT).astype(np.int64)


def _level_requests(grid: Grid) -> tuple[list[CornerRequest], _DifferencesFromSums]:
    """Move each row one level up and one down; at the ends of the order in one direction only."""
    level, last = grid.point_of_row, len(grid) - 1
    up = np.where((level < 0) | (level == last), _LEFT_OUT, level + 1)
    down = np.where(level <= 0, _LEFT_OUT, level - 1)
    upward = (grid, [(1, up), (-1, np.where(up < 0, _LEFT_OUT, level))])
    downward = (grid, [(1, np.where(down < 0, _LEFT_OUT, level)), (-1, down)])
    rows_up, rows_down = np.flatnonzero(up >= 0), np.flatnonzero(down >= 0)
    rows, places = np.concatenate([rows_up, rows_down]), np.concatenate([level[rows_up], down[rows_down]])
    return [upward, downward], lambda moved: RowDifferences(
        rows, places, np.concatenate([moved[0][rows_up], moved[1][rows_down]]), level, last, in_intervals=False
    )


def _by_similarity(rows: WeightedRows, grid: Grid, order: Ints) -> Ints:
    """Levels in an order in which similar ones are neighbours: one-dimensional scaling of how different the distributions of other features are in them.

    For each other feature the distance of two levels is that of their distributions: the largest difference of distribution functions for numbers, half the
    summed difference of shares for categories.
    """
    if len(order) < 3:
        return order
    rows_of_level = [np.flatnonzero((grid.point_of_row == g) & (rows.weights > 0)) for g in order]
    distances = np.zeros((len(order), len(order)))
    for p in range(rows.table.width):
        if p == grid.column_positions[0]:
            continue
        other = rows.feature(p)
        table = np.array([_value_shares(other, rows.weights, at) for at in rows_of_level])
        for i in range(len(order)):
            gaps = np.abs(table - table[i])
            distances[i] += gaps.sum(axis=1) / 2 if other.numbers is None else gaps.max(axis=1)
    centred = -0.5 * distances**2
    centred = centred - centred.mean(axis=0) - centred.mean(axis=1)[:, None] + centred.mean()
    coordinates = np.linalg.eigh((centred + centred.T) / 2)[1][:, -1]
    coordinates = coordinates if coordinates[0] <= coordinates[-1] else -coordinates
    return order[np.argsort(np.round(coordinates, 12), kind="stable")]


def _value_shares(other: Feature, weights: Floats, at: Ints) -> Floats:
    """Shares of a feature's values in some rows, added up for numbers; a missing value comes last."""
    count = len(other.unique)
    codes = np.where(other.codes[at] < 0, count, other.codes[at])
    out = np.bincount(codes, weights[at], minlength=count + 1)
    out = out / out.sum()
    return np.asarray(out if other.numbers is None else np.cumsum(out))


def _plan_surface(rows: WeightedRows, grid: Grid) -> _CurvePlan:
    """The second-order effect of two numeric features: what is left of their joint local effects when both own effects are taken off."""
    axes = []
    for feature, points in zip(grid.features, grid.points, strict=True):
        if feature.kind == "category":
            raise OptionError(
                f"{feature.name!r} has categories; a surface of kind 'ale' needs two numbers. Use ",
                Argument("kind", "pdp"),
                ".",
            )
        place = feature.place(points)
        order = np.flatnonzero(np.isfinite(place))
        if len(order) < 2:
            raise OptionError(f"{feature.name!r} has fewer than two values, so there is nothing to move between.")
        if (np.diff(place[order]) <= 0).any():
            raise too_close("ale", feature.name)
        axes.append((order, place[order], feature.numbers))
    (first_points, first_edges, x), (second_points, second_edges, z) = axes
    i, j = interval_of_numbers(np.asarray(x), first_edges), interval_of_numbers(np.asarray(z), second_edges)
    is_inside = (i >= 0) & (j >= 0)
    _check_rows_inside(grid, is_inside, rows)
    n_second_points = grid.shape[1]

    def corner_points(up: int, over: int) -> Ints:
        return np.where(
            is_inside,
            first_points[np.minimum(i + up, len(first_edges) - 1)] * n_second_points
            + second_points[np.minimum(j + over, len(second_edges) - 1)],
            _LEFT_OUT,
        )

    corners = [(1, corner_points(1, 1)), (-1, corner_points(0, 1)), (1, corner_points(0, 0)), (-1, corner_points(1, 0))]
    cells = _SurfaceCells(rows.weights[is_inside], i[is_inside], j[is_inside], first_edges, second_edges)
    edges = (grid.points[0][first_points], grid.points[1][second_points])

    def finish_curve(corner_sums: list[Floats]) -> Curve:
        values, note = cells.add_up(corner_sums[0][is_inside])
        notes = ("No standard error is computed for surfaces of kind 'ale'.", *note)
        return Curve(grid, values.reshape(-1, values.shape[-1]), points=edges, notes=notes)

    return _CurvePlan([(grid, corners)], finish_curve)


@final
@dataclass(frozen=True, eq=False)
class _SurfaceCells:
    """Rows that take part in a surface: their weights, their intervals of both features, and all edges."""

    weights: Floats
    first_interval: Ints
    second_interval: Ints
    first_edges: Floats
    second_edges: Floats

    def add_up(self, moved: Floats) -> tuple[Floats, tuple[str, ...]]:
        """Return the surface of second differences, (points, points_2, outputs), and a note where cells hold no rows."""
        shape = (len(self.first_edges) - 1, len(self.second_edges) - 1)
        cell, w = self.first_interval * shape[1] + self.second_interval, self.weights
        mass = np.asarray(np.bincount(cell, w, minlength=shape[0] * shape[1]), dtype=np.float64)
        total = np.column_stack([np.bincount(cell, w * d, minlength=len(mass)) for d in moved.T])
        mean = np.divide(total, mass[:, None], out=np.zeros_like(total), where=mass[:, None] > 0).reshape(*shape, -1)
        empty = mass.reshape(shape) == 0
        if not empty.any():
            return _second_order(mean, mass.reshape(shape)), ()
        mean = _fill_empty_cells(mean, empty, self.first_edges, self.second_edges)
        note = f"{100 * empty.mean():.0f} % of the cells hold no row and take the nearest cell's value."
        return _second_order(mean, mass.reshape(shape)), (note,)


def _fill_empty_cells(mean: Floats, empty: npt.NDArray[np.bool_], a: Floats, b: Floats) -> Floats:
    """Empty cells take the value of the nearest cell that holds rows, each axis measured by its own range."""
    from scipy.spatial import cKDTree

    middle = np.stack(np.meshgrid(_scaled_middles(a), _scaled_middles(b), indexing="ij"), axis=-1)
    _, at = cKDTree(middle[~empty]).query(middle[empty])
    out = mean.copy()
    out[empty] = mean[~empty][at]
    return out


def _scaled_middles(edges: Floats) -> Floats:
    """Middles of intervals, measured by the range of all."""
    x = edges / np.abs(edges).max()
    return np.asarray((x[1:] + x[:-1]) / 2 / np.ptp(x))


def _second_order(mean: Floats, mass: Floats) -> Floats:
    """Add up cell means over both axes, take off both features' own effects, and centre; (points, points_2, outputs)."""
    both = np.zeros((mean.shape[0] + 1, mean.shape[1] + 1, mean.shape[2]))
    both[1:, 1:] = mean.cumsum(axis=0).cumsum(axis=1)
    rise = np.diff(both, axis=0)
    across = mass[..., None] * (rise[:, 1:] + rise[:, :-1]) / 2
    first = across.sum(axis=1) / np.maximum(mass.sum(axis=1), 1e-300)[:, None]
    rise = np.diff(both, axis=1)
    along = mass[..., None] * (rise[1:] + rise[:-1]) / 2
    second = along.sum(axis=0) / np.maximum(mass.sum(axis=0), 1e-300)[:, None]
    both[1:] -= first.cumsum(axis=0)[:, None]
    both[:, 1:] -= second.cumsum(axis=0)[None]
    cells = (both[1:, 1:] + both[1:, :-1] + both[:-1, 1:] + both[:-1, :-1]) / 4
    return np.asarray(both - (mass[..., None] * cells).sum(axis=(0, 1)) / mass.sum())
