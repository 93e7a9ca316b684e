"""Which points an effect is computed at: the data's own, or the caller's.

A point that the data have is a cell of theirs and goes back to the model exactly as it came; only a value that no row has is made anew, in the column's
dtype where that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_key, cell_positions, column_dtype, object_cells, rows_with_cells
from whybox.data.series import time_zone_of
from whybox.data.table import Floats, Table, is_missing
from whybox.errors import Argument, OptionError, did_you_mean, quoted_list
from whybox.explanation.curve_functions import as_dates, as_place
from whybox.methods.common.columns import Feature, Ints, numbers_of, with_gap
from whybox.methods.effects.grid import Grid

__all__ = ["grid_of_values", "grid_with_positions", "make_grid"]

_NEW_CELL: Final = -1


def make_grid(table: Table, feature: Feature, wanted: Any, weights: Floats, *, max_points: int) -> Grid:
    """Return the default points of a feature, or as many as wanted, or the values wanted.

    Numbers and dates: the different values the data have if there are at most `max_points`, else that many weighted quantiles, each a value of the
    data. Categories: those of the data and those its dtype declares. A missing value is a point of its own where the data have one.

    Args:
        wanted: None, a whole number of points, or the values. max_points: how many points by default.

    Raises:
        OptionError: points that cannot be.
    """
    if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
        if wanted < 2:
            raise OptionError(Argument("grid", wanted), ": a curve needs at least 2 points.")
        max_points, wanted = int(wanted), None
    if wanted is not None:
        return _at_different_positions(grid_of_values(table, feature, wanted))
    row_of_value = feature.row_of_value
    count = len(feature.unique)
    kept_values = np.arange(count)
    if feature.kind != "category":
        finite = np.isfinite(as_place(feature.unique))
        kept_values = kept_values[finite]
        if not len(kept_values) and not feature.missing:
            raise OptionError(
                f"{feature.name!r} has no finite value, so there is no point to set it to; leave it out of ",
                Argument("features"),
                ", or give its points in ",
                Argument("grid", example=""),
                ".",
            )
        if len(kept_values) > max_points:
            kept_values = _weighted_quantiles(feature.codes, weights, finite, max_points)
    elif feature.declared and set(feature.declared) - set(feature.unique.tolist()):
        return grid_of_values(
            table, feature, [*feature.declared, *([None] if feature.missing else [])], is_custom=False
        )
    rows = np.concatenate([row_of_value[:count][kept_values], row_of_value[count:]])
    point_of_code = np.full(count + 1, -1)
    point_of_code[kept_values] = np.arange(len(kept_values))
    point_of_code[-1] = len(kept_values) if feature.missing else -1
    point_of_row = point_of_code[feature.codes]
    is_at_point = (
        (point_of_row >= 0) & (feature.cells == feature.cells[rows][point_of_row])
        if len(rows)
        else np.zeros(len(point_of_row), dtype=bool)
    )
    return Grid(
        (feature,),
        (with_gap(feature.unique[kept_values], feature.missing),),
        table.rows(rows),
        point_of_row,
        is_at_point,
    )


def _weighted_quantiles(codes: Ints, weights: Floats, finite: npt.NDArray[np.bool_], n_quantiles: int) -> Ints:
    """Positions among the different values of evenly spaced weighted quantiles, each one a value of the data, both ends included."""
    mass = np.bincount(codes[codes >= 0], weights[codes >= 0], minlength=len(finite))
    mass[~finite] = 0.0
    cumulative_share = np.cumsum(mass) / mass.sum()
    quantile_codes = np.searchsorted(cumulative_share, np.linspace(0.0, 1.0, n_quantiles) - 1e-12, side="left")
    codes_with_weight = np.flatnonzero(mass > 0)
    return np.unique(np.clip(quantile_codes, codes_with_weight[0], codes_with_weight[-1]))


def _at_different_positions(grid: Grid) -> Grid:
    """The first of points at the same position, such as 0.0 and -0.0."""
    if grid.axis_positions is None or grid.points[0].dtype.kind != "f":
        return grid
    _, first = np.unique(grid.axis_positions, return_index=True)
    return grid if len(first) == len(grid) else grid.select_points(np.sort(first))


def grid_of_values(table: Table, feature: Feature, wanted: Any, *, is_custom: bool = True) -> Grid:
    """Return the points that the caller gave: sorted where there is an order, without repeats, missing last.

    Raises:
        OptionError: no list of values, a category the column's dtype does not have, or something that is no number or date where such are.
    """
    return grid_with_positions(table, feature, wanted, is_custom=is_custom)[0]


@final
@dataclass(frozen=True)
class _WantedPoint:
    """A value wanted: the row whose cell it is, or -1 and a new cell; its code among the values of the data, -1 for a missing one."""

    row: int
    value: Any = None
    code: int = -2
    missing: bool = False


def grid_with_positions(table: Table, feature: Feature, wanted: Any, *, is_custom: bool = True) -> tuple[Grid, Ints]:
    """Return the grid of :func:`grid_of_values`, and for each value wanted its position on it.

    Raises:
        OptionError: as :func:`grid_of_values`.
    """
    try:
        values = _list_of_values(wanted)
    except TypeError:
        raise OptionError(Argument("grid"), f" of {feature.name!r}: give a list of values, not {wanted!r}.") from None
    if not values:
        raise OptionError(Argument("grid"), f" of {feature.name!r} is empty.")
    find_points = {"category": _category_points, "datetime": _date_points}.get(feature.kind, _number_points)
    points = find_points(table, feature, values)
    keys = [(p.row, None if p.row >= 0 else cell_key(p.value)) for p in points]
    different = dict(reversed(list(zip(keys, points, strict=True))))
    order = _point_order(feature, different, list(dict.fromkeys(keys)))
    chosen = [different[key] for key in order]
    rows = np.array([p.row for p in chosen], dtype=np.int64)
    point_table = rows_with_cells(table, feature.position, rows, [p.value for p in chosen if p.row < 0])
    point_of_code = np.full(len(feature.unique) + 1, -1, dtype=np.int64)
    for i, p in reversed(list(enumerate(chosen))):
        if p.row >= 0:
            point_of_code[p.code] = i
    point_of_row = point_of_code[feature.codes]
    is_at_point = (point_of_row >= 0) & (feature.cells == feature.cells[rows][point_of_row])
    if column_dtype(point_table, feature.position) != column_dtype(table, feature.position):
        is_at_point = np.zeros(len(point_of_row), dtype=bool)
    position_of_key = {key: i for i, key in enumerate(order)}
    labels = _points_as_shown(feature, point_table, chosen)
    return Grid((feature,), (labels,), point_table, point_of_row, is_at_point, is_custom=is_custom), np.array(
        [position_of_key[k] for k in keys], dtype=np.int64
    )


def _point_order(feature: Feature, points: Mapping[Any, _WantedPoint], keys: list[Any]) -> list[Any]:
    """Keys in the order of the points: by value where there is an order, else as given; missing ones last."""
    if feature.kind != "category":
        known = [k for k in keys if not points[k].missing]
        known.sort(key=lambda k: feature.unique[points[k].code] if points[k].row >= 0 else points[k].value)
    else:
        known = [k for k in keys if not points[k].missing]
    return [*known, *(k for k in keys if points[k].missing)]


def _points_as_shown(feature: Feature, point_table: Table, chosen: Sequence[_WantedPoint]) -> npt.NDArray[Any]:
    """The points as they are shown: categories with missing as None, numbers and dates as the column holds them."""
    if feature.kind == "category":
        out = np.empty(len(chosen), dtype=object)
        for i, p in enumerate(chosen):
            out[i] = p.value if p.row < 0 else None if p.code < 0 else feature.unique[p.code]
        return out
    values, gap = numbers_of(point_table, feature.position, point_table.column(feature.position))
    some = int(gap.sum())
    out = values[: len(values) - some]
    for _ in range(some):
        out = with_gap(out, missing=True)
    return out


def _known_gap(feature: Feature, value: Any) -> _WantedPoint:
    """The missing value that the data have, else the one given."""
    if feature.missing:
        return _WantedPoint(int(feature.row_of_value[-1]), code=-1, missing=True)
    return _WantedPoint(_NEW_CELL, value, missing=True)


def _category_points(table: Table, feature: Feature, values: Sequence[Any]) -> list[_WantedPoint]:
    del table
    known = list(feature.unique)
    if feature.declared:
        there = cell_positions(list(feature.declared), values)
        unknown = [v for v, i in zip(values, there, strict=True) if i < 0 and not is_missing(v)]
        if unknown:
            raise OptionError(
                Argument("grid"),
                f" of {feature.name!r}: {unknown[0]!r} is not one of its categories.{did_you_mean(unknown[0], feature.declared)}",
            )
    out = []
    for value, i in zip(values, cell_positions(known, values), strict=True):
        if i >= 0:
            out.append(_WantedPoint(int(feature.row_of_value[i]), code=i, missing=is_missing(value)))
        else:
            out.append(_known_gap(feature, value) if is_missing(value) else _WantedPoint(_NEW_CELL, value))
    return out


def _number_points(table: Table, feature: Feature, values: Sequence[Any]) -> list[_WantedPoint]:
    numbers = [v for v in values if not is_missing(v)]
    if not all(_is_number(v) for v in numbers):
        raise OptionError(Argument("grid"), f" of {feature.name!r}: give finite numbers, not {quoted_list(numbers)}.")
    raw = _ObjectNumbers(table, feature) if column_dtype(table, feature.position) == np.dtype(object) else None
    whole = all(float(v).is_integer() for v in numbers) and _has_integer_dtype(table, feature.position)
    out = []
    for value in values:
        same = None if raw is None else raw.row_of_cell.get(cell_key(value))
        if same is not None:
            out.append(_WantedPoint(same, code=int(feature.codes[same]), missing=is_missing(value)))
        elif is_missing(value):
            out.append(_known_gap(feature, value))
        else:
            code = _code_of_number(feature.unique, value)
            new = raw.cast_number(value) if raw is not None else int(value) if whole else float(value)
            out.append(
                _WantedPoint(_NEW_CELL, new) if code < 0 else _WantedPoint(int(feature.row_of_value[code]), code=code)
            )
    return out


def _is_number(value: Any) -> bool:
    if isinstance(value, (str, bytes, bool, np.bool_)):
        return False
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError, OverflowError):
        return False


def _code_of_number(unique: npt.NDArray[Any], value: Any) -> int:
    """Position of a number among sorted ones, rounded to their precision; -1 if it is not there, or is a zero of the other sign."""
    if unique.dtype.kind == "f":
        near = unique.dtype.type(value)
        i = int(np.searchsorted(unique, near))
        there = i < len(unique) and unique[i] == near and np.signbit(unique[i]) == np.signbit(near)
    else:
        limits = np.iinfo(unique.dtype)
        if not float(value).is_integer() or not limits.min <= int(value) <= limits.max:
            return -1
        i = int(np.searchsorted(unique, unique.dtype.type(int(value))))
        there = i < len(unique) and int(unique[i]) == int(value)
    return i if there else -1


@final
class _ObjectNumbers:
    """The different cells of a column of objects that hold numbers: a row of each, and of what type new ones are."""

    def __init__(self, table: Table, feature: Feature) -> None:
        rows = np.unique(feature.cells, return_index=True)[1]
        cells = object_cells(table.rows(rows), feature.position)
        self.row_of_cell = {cell_key(v): int(r) for v, r in zip(cells, rows, strict=True)}
        kinds = {type(v) for v in cells if not is_missing(v)}
        self._common_type = kinds.pop() if len(kinds) == 1 else None

    def cast_number(self, value: Any) -> Any:
        """A number of the type that all cells have, where that holds it."""
        cast = value if self._common_type is None else self._common_type(value)
        return cast if cast == value else value


def _has_integer_dtype(table: Table, position: int) -> bool:
    """Whether the column's dtype is one of whole numbers, with nulls or without."""
    return "int" in str(column_dtype(table, position)).lower()


def _date_points(table: Table, feature: Feature, values: Sequence[Any]) -> list[_WantedPoint]:
    unique = feature.unique
    known = [v for v in values if not is_missing(v)]
    zoned = time_zone_of(column_dtype(table, feature.position)) is not None
    try:
        dates = iter(as_dates(known, unique.dtype, zoned=zoned))
    except (ValueError, TypeError, OverflowError) as error:
        what = "dates" if unique.dtype.kind == "M" else "durations"
        raise OptionError(
            Argument("grid"), f" of {feature.name!r}: give {what}, not {quoted_list(known)} ({error})."
        ) from None
    out = []
    for value in values:
        if is_missing(value):
            out.append(_known_gap(feature, None))
            continue
        date = next(dates)
        i = int(np.searchsorted(unique, date))
        known_date = i < len(unique) and unique[i] == date
        out.append(_WantedPoint(int(feature.row_of_value[i]), code=i) if known_date else _WantedPoint(_NEW_CELL, date))
    return out


def _list_of_values(wanted: Any) -> list[Any]:
    if isinstance(wanted, (str, bytes, Mapping)):
        raise TypeError
    if isinstance(wanted, np.ndarray):
        flat = wanted.reshape(-1)
        return list(flat) if flat.dtype.kind in "mM" else list(flat.tolist())
    return list(wanted)
