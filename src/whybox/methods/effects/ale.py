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
from whybox.methods.effects.ale_errors import Steps, accumulate
from whybox.methods.effects.curves import Curve, too_close
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import CornerRequest, Evaluator

__all__ = ["ale", "edges_of", "requests"]

_NONE: Final = -1
MIN_ROWS: Final = 5  # in an interval, where the edges are ours
MAX_GAPS_NAMED: Final = 3


def ale(evaluator: Evaluator, grids: Sequence[Grid]) -> list[Curve]:
    """Return the accumulated local effects of one feature or two each, in the units of the prediction, centred at zero.

    Raises:
        OptionError: fewer than two points, no row among them, or a category in a surface.
    """
    plans = _plans(evaluator.rows, grids)
    moved = iter(evaluator.corner_sums([r for p in plans for r in p.requests]))
    return [p.finish([next(moved) for _ in p.requests]) for p in plans]


def requests(rows: WeightedRows, grids: Sequence[Grid]) -> list[CornerRequest]:
    """Return the requests that :func:`ale` makes of an evaluator.

    Raises:
        OptionError: as :func:`ale`.
    """
    return [r for p in _plans(rows, grids) for r in p.requests]


@final
@dataclass(frozen=True, eq=False)
class _Plan:
    """The requests for a curve, and how it is computed from the sums: so that all features are evaluated together."""

    requests: list[CornerRequest]
    finish: Callable[[list[Floats]], Curve]


def _plans(rows: WeightedRows, grids: Sequence[Grid]) -> list[_Plan]:
    return [_surface(rows, g) if len(g.features) == 2 else _line(rows, g) for g in grids]


def _line(rows: WeightedRows, grid: Grid) -> _Plan:
    edges, order = edges_of(rows, grid)
    made = grid.select_points(order)
    joined = _about_joined(grid, len(order))
    wanted, steps = _levels(made) if grid.axis_positions is None else _intervals(rows, made, edges)
    _some_rows(
        grid,
        np.min([at for _, at in wanted[0][1]], axis=0) >= 0
        if grid.axis_positions is not None
        else made.point_of_row >= 0,
        rows,
    )

    def finish(moved: list[Floats]) -> Curve:
        differences = steps(moved)
        found = accumulate(rows, differences)
        left = float(rows.weights[differences.place < 0].sum())
        notes = [*joined]
        if left > 0:
            notes.append(f"{100 * left:.3g} % of the rows (by weight) have no value on this axis and are left out.")
        count = differences.count
        gaps = np.flatnonzero(np.bincount(differences.interval, rows.weights[differences.row], count) == 0)
        extras: dict[str, Any] = {}
        if len(gaps):
            notes.append(_about_gaps(made, gaps))
            extras["gap_before"] = (("point",), np.isin(np.arange(count + 1), gaps + 1))
        return Curve(
            made,
            found.values,
            found.std_error,
            found.skewness,
            found.freedom,
            points=made.points,
            notes=tuple(notes),
            extras=extras,
        )

    return _Plan(wanted, finish)


def _about_joined(grid: Grid, kept: int) -> tuple[str, ...]:
    """What to say of intervals that were joined because few rows are in them."""
    place = grid.axis_positions
    count = 0 if place is None else int(np.isfinite(place).sum())
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


def _some_rows(grid: Grid, inside: npt.NDArray[np.bool_], rows: WeightedRows) -> None:
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
    place = grid.axis_positions
    if place is None:
        seen = np.isin(np.arange(len(grid)), grid.point_of_row[rows.weights > 0])
        order = np.flatnonzero(seen) if not grid.is_custom else np.arange(len(grid))
        if not grid.is_custom and not feature.ordered:
            order = _by_similarity(rows, grid, order)
        places = np.arange(len(order), dtype=np.float64)
    else:
        order = np.flatnonzero(np.isfinite(place))
        order = order[np.argsort(place[order], kind="stable")]
        places = place[order]
        if (np.diff(places) <= 0).any():
            raise too_close("ale", feature.name)
        if not grid.is_custom and len(order) > 2:
            kept = _with_enough_rows(feature, places, rows.weights)
            order, places = order[kept], places[kept]
    if len(order) < 2:
        raise OptionError(
            f"{feature.name!r} has fewer than two values, so there is nothing to move between; leave it out of ",
            Argument("features"),
            ".",
        )
    return places, order.astype(np.int64)


def _with_enough_rows(feature: Feature, edges: Floats, weights: Floats) -> Ints:
    """Which edges to keep so that each interval holds enough rows: an interval of few is joined with the next one, the last with that before it."""
    x = feature.numbers
    assert x is not None  # noqa: S101  # numbers and dates have places
    place = interval(x, edges)
    counts = np.bincount(place[(place >= 0) & (weights > 0)], minlength=len(edges) - 1)
    kept, inside = [0], 0
    for k, count in enumerate(counts, start=1):
        inside += int(count)
        if inside >= MIN_ROWS:
            kept.append(k)
            inside = 0
    if kept[-1] != len(counts):
        kept = [*(kept[:-1] if len(kept) > 1 else kept), len(counts)]
    return np.array(kept, dtype=np.int64)


_Finish = Callable[[list[Floats]], Steps]


def _intervals(rows: WeightedRows, grid: Grid, edges: Floats) -> tuple[list[CornerRequest], _Finish]:
    x = rows.feature(grid.column_positions[0]).numbers
    assert x is not None  # noqa: S101  # numbers and dates have places
    place = interval(x, edges)
    row = np.flatnonzero(place >= 0)
    request = (grid, [(1, np.where(place < 0, _NONE, place + 1)), (-1, place)])
    return [request], lambda moved: Steps(row, place[row], moved[0][row], place, len(edges) - 1, middle=True)


def interval(x: Floats, edges: Floats) -> Ints:
    """Return the interval of each number, open below and closed above but for the first; -1 outside."""
    with np.errstate(invalid="ignore"):
        inside = (x >= edges[0]) & (x <= edges[-1])
    at = np.clip(np.searchsorted(edges, x, side="left") - 1, 0, len(edges) - 2)
    return np.where(inside, at, _NONE).astype(np.int64)


def _levels(grid: Grid) -> tuple[list[CornerRequest], _Finish]:
    """Move each row one level up and one down; at the ends of the order in one direction only."""
    own, last = grid.point_of_row, len(grid) - 1
    up = np.where((own < 0) | (own == last), _NONE, own + 1)
    down = np.where(own <= 0, _NONE, own - 1)
    rose = (grid, [(1, up), (-1, np.where(up < 0, _NONE, own))])
    came = (grid, [(1, np.where(down < 0, _NONE, own)), (-1, down)])
    a, b = np.flatnonzero(up >= 0), np.flatnonzero(down >= 0)
    rows, places = np.concatenate([a, b]), np.concatenate([own[a], down[b]])
    return [rose, came], lambda moved: Steps(
        rows, places, np.concatenate([moved[0][a], moved[1][b]]), own, last, middle=False
    )


def _by_similarity(rows: WeightedRows, grid: Grid, order: Ints) -> Ints:
    """Levels in an order in which similar ones are neighbours: one-dimensional scaling of how different the distributions of other features are in them.

    For each other feature the distance of two levels is that of their distributions: the largest difference of distribution functions for numbers, half the
    summed difference of shares for categories.
    """
    if len(order) < 3:
        return order
    inside = [np.flatnonzero((grid.point_of_row == g) & (rows.weights > 0)) for g in order]
    apart = np.zeros((len(order), len(order)))
    for p in range(rows.table.width):
        if p == grid.column_positions[0]:
            continue
        other = rows.feature(p)
        table = np.array([_shares(other, rows.weights, at) for at in inside])
        for i in range(len(order)):
            gaps = np.abs(table - table[i])
            apart[i] += gaps.sum(axis=1) / 2 if other.numbers is None else gaps.max(axis=1)
    centred = -0.5 * apart**2
    centred = centred - centred.mean(axis=0) - centred.mean(axis=1)[:, None] + centred.mean()
    line = np.linalg.eigh((centred + centred.T) / 2)[1][:, -1]
    line = line if line[0] <= line[-1] else -line
    return order[np.argsort(np.round(line, 12), kind="stable")]


def _shares(other: Feature, weights: Floats, at: Ints) -> Floats:
    """Shares of a feature's values in some rows, added up for numbers; a missing value comes last."""
    count = len(other.unique)
    codes = np.where(other.codes[at] < 0, count, other.codes[at])
    out = np.bincount(codes, weights[at], minlength=count + 1)
    out = out / out.sum()
    return np.asarray(out if other.numbers is None else np.cumsum(out))


def _surface(rows: WeightedRows, grid: Grid) -> _Plan:
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
    (left, a, x), (right, b, z) = axes
    i, j = interval(np.asarray(x), a), interval(np.asarray(z), b)
    used = (i >= 0) & (j >= 0)
    _some_rows(grid, used, rows)
    wide = grid.shape[1]

    def corner(up: int, over: int) -> Ints:
        return np.where(
            used, left[np.minimum(i + up, len(a) - 1)] * wide + right[np.minimum(j + over, len(b) - 1)], _NONE
        )

    corners = [(1, corner(1, 1)), (-1, corner(0, 1)), (1, corner(0, 0)), (-1, corner(1, 0))]
    cells = _Cells(rows.weights[used], i[used], j[used], a, b)
    edges = (grid.points[0][left], grid.points[1][right])

    def finish(moved: list[Floats]) -> Curve:
        values, note = cells.add_up(moved[0][used])
        notes = ("No standard error is computed for surfaces of kind 'ale'.", *note)
        return Curve(grid, values.reshape(-1, values.shape[-1]), points=edges, notes=notes)

    return _Plan([(grid, corners)], finish)


@final
@dataclass(frozen=True, eq=False)
class _Cells:
    """Rows that take part in a surface: their weights, their intervals of both features, and all edges."""

    weights: Floats
    first: Ints
    second: Ints
    a: Floats
    b: Floats

    def add_up(self, moved: Floats) -> tuple[Floats, tuple[str, ...]]:
        """Return the surface of second differences, (points, points_2, outputs), and a note where cells hold no rows."""
        shape = (len(self.a) - 1, len(self.b) - 1)
        cell, w = self.first * shape[1] + self.second, self.weights
        mass = np.asarray(np.bincount(cell, w, minlength=shape[0] * shape[1]), dtype=np.float64)
        total = np.column_stack([np.bincount(cell, w * d, minlength=len(mass)) for d in moved.T])
        mean = np.divide(total, mass[:, None], out=np.zeros_like(total), where=mass[:, None] > 0).reshape(*shape, -1)
        empty = mass.reshape(shape) == 0
        if not empty.any():
            return _second_order(mean, mass.reshape(shape)), ()
        mean = _filled(mean, empty, self.a, self.b)
        note = f"{100 * empty.mean():.0f} % of the cells hold no row and take the nearest cell's value."
        return _second_order(mean, mass.reshape(shape)), (note,)


def _filled(mean: Floats, empty: npt.NDArray[np.bool_], a: Floats, b: Floats) -> Floats:
    """Empty cells take the value of the nearest cell that holds rows, each axis measured by its own range."""
    from scipy.spatial import cKDTree

    middle = np.stack(np.meshgrid(_middles(a), _middles(b), indexing="ij"), axis=-1)
    _, at = cKDTree(middle[~empty]).query(middle[empty])
    out = mean.copy()
    out[empty] = mean[~empty][at]
    return out


def _middles(edges: Floats) -> Floats:
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
