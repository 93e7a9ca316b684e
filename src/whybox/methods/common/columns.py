"""A column of the user's table, coded: its different values in order, and which of them each row has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_codes, column_dtype, has_plain_storage, object_cells
from whybox.data.table import Column, Floats, Table, is_missing
from whybox.explanation.curve_functions import as_place
from whybox.models.base import Model
from whybox.models.trees import TreeEnsemble

__all__ = ["Feature", "Ints", "category_positions", "feature_of", "numbers_of", "with_gap"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MIN_ROUNDED_INTEGER: Final = 2.0**53  # whole numbers from here on may be rounded by a float
_TWO_GAPS: Final = "Some missing values of {!r} are nulls and others NaN; its point of a missing value is null."


@final
@dataclass(frozen=True, eq=False)
class Feature:
    """One of the user's columns, coded: ``codes`` (rows,) are positions in ``unique``, which is sorted; a missing value is -1.

    Attributes:
        kind: ``"number"``, ``"integer"``, ``"datetime"``, or ``"category"`` (text, booleans and other objects too).
        unique: its different values; ``numbers`` (rows,) floats with missing as NaN, None for categories. Of a column of objects that are missing in
            several ways (None, NaN), None is -1 and the others are values.
        cells: (rows,) equal for cells that no model can tell apart; finer than `codes`.
        row_of_value: a row for each of `unique`, whose cell stands for the value; then, where there are missing values, a row with one.
        number_origin: the origin of `numbers`, where whole numbers are so large that floats would round them.
        declared: the dtype's list of categories, in its order; () elsewhere. ordered: whether categories have an order of their own (false, true).
        notes: what the user should know.
    """

    name: str
    position: int
    kind: str
    codes: Ints
    unique: npt.NDArray[Any]
    numbers: Floats | None
    cells: Ints
    row_of_value: Ints
    declared: tuple[Any, ...] = ()
    ordered: bool = False
    notes: tuple[str, ...] = ()
    number_origin: int = 0

    def place(self, points: npt.NDArray[Any]) -> Floats:
        """Return the position of points on the axis of `numbers`; a missing point is NaN."""
        if not self.number_origin:
            return as_place(points)
        return np.array(
            [np.nan if is_missing(v) else float(v - self.number_origin) for v in points.tolist()], dtype=np.float64
        )

    @property
    def missing(self) -> bool:
        """Whether some row has no value."""
        return len(self.row_of_value) > len(self.unique)


def feature_of(table: Table, position: int) -> Feature:
    """Code one column of a table."""
    column = table.column(position)
    numbers = column.originals is None or not any(isinstance(v, (bool, np.bool_)) for v in column.originals)
    if column.kind == "datetime" or (column.kind == "number" and numbers):
        return _numbers_or_dates(table, position, column)
    if column.categories is not None:
        words, known = list(column.categories), column.values
        present = np.unique(known[known >= 0])
        back = np.full(len(words) + 1, -1)
        back[present] = np.arange(len(present))
        unique, codes = _as_objects([words[i] for i in present]), back[known]
        first = _first_rows(codes, np.ones(len(codes), dtype=bool))
        return Feature(column.name, position, "category", codes, unique, None, codes, first, tuple(words))
    return _of_objects(table, position, column, cell_codes(table, position))


def category_positions(model: Model, table: Table) -> frozenset[int]:
    """Return the positions of the user's columns that the model reads as categories, whatever their cells are.

    Those of which it learned categories, and numbers that its trees compare with sets of categories.
    """
    learned = set(model.inputs.encoder.learned_categories(table))
    if not isinstance(model, TreeEnsemble):
        return frozenset(learned)
    sources = model.inputs.source_columns
    others = [(c, sources[c][0]) for c in model.category_columns.tolist() if len(sources[c]) == 1]
    others = [(c, position) for c, position in others if position not in learned]
    matrix = model.inputs.matrix(table) if others else None
    for c, position in others:
        numbers = feature_of(table, position).numbers
        if matrix is not None and numbers is not None and np.array_equal(matrix[:, c], numbers, equal_nan=True):
            learned.add(position)  # else a step makes the categories, of numbers that are none
    return frozenset(learned)


def _numbers_or_dates(table: Table, position: int, column: Column) -> Feature:
    """Code numbers or dates. Equal ones share a code, even where a model can tell their cells apart (0.0 and -0.0, 1 and 1.0)."""
    values, gap = numbers_of(table, position, column)
    unique, inverse = np.unique(values[~gap], return_inverse=True)
    codes = _scatter_codes(inverse, gap)
    negative = np.signbit(values) & (values == 0.0) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    cells = codes if has_plain_storage(table, position) and not negative.any() else cell_codes(table, position)
    if column.originals is not None:  # a float represents a number, None a missing one
        plain = np.array([isinstance(v, float) for v in column.originals], dtype=bool)
        plain[gap] = [v is None for v in column.originals[gap]]
    else:
        plain = ~negative
        plain[gap] = cells[gap] < 0
    first = _first_rows(codes, plain)
    if values.dtype.kind == "f" and column.originals is None:
        unique = np.asarray(values[first[: len(unique)]])  # a zero with the sign that its cell has
    kind = "datetime" if values.dtype.kind in "mM" else "integer" if values.dtype.kind in "iu" else "number"
    both = column.originals is None and gap.any() and len(np.unique(cells[gap])) > 1
    notes = (_TWO_GAPS.format(column.name),) if both else ()
    if (
        kind == "integer"
        and max(map(abs, map(int, unique[[0, -1]] if len(unique) else ())), default=0) >= MIN_ROUNDED_INTEGER
    ):
        zero = int(unique[0])
        numbers = np.where(gap, np.nan, np.array([float(int(v) - zero) for v in unique])[codes])
        return Feature(
            column.name, position, kind, codes, unique, numbers, cells, first, notes=notes, number_origin=zero
        )
    return Feature(
        column.name,
        position,
        kind,
        codes,
        unique,
        as_place(values if kind != "integer" or not gap.any() else column.values),
        cells,
        first,
        notes=notes,
    )


def numbers_of(table: Table, position: int, column: Column) -> tuple[npt.NDArray[Any], Bools]:
    """Return a column's numbers or dates, and where they are missing; whole numbers that a float would round stay whole numbers."""
    values = column.values
    if values.dtype.kind in "mM":
        return values, np.isnat(values)
    gap = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    if (
        values.dtype.kind == "f"
        and (np.abs(values[~gap]) >= MIN_ROUNDED_INTEGER).any()
        and not _has_float_dtype(table, position)
    ):
        cells = object_cells(table, position)[~gap]
        if all(isinstance(v, (int, np.integer)) for v in cells) and all(-(2**63) <= int(v) < 2**63 for v in cells):
            values = np.zeros(len(gap), dtype=np.int64)
            values[~gap] = cells.astype(np.int64)
    return values, gap


def _has_float_dtype(table: Table, position: int) -> bool:
    """Whether the column's own dtype is a float."""
    if isinstance(table.native, np.ndarray):
        return bool(table.native.dtype.kind == "f")
    return any(word in str(column_dtype(table, position)).lower() for word in ("float", "double"))


def _of_objects(table: Table, position: int, column: Column, cells: Ints) -> Feature:
    """Code text, booleans and other objects: cells that a model can tell apart are different values."""
    different, first = np.unique(cells, return_index=True)
    values = object_cells(table, position)[first]
    gaps = [i for i, v in enumerate(values) if is_missing(v)]
    known = _sorted_codes([i for i in range(len(values)) if i not in set(gaps)], values)
    gaps.sort(key=lambda i: (different[i] >= 0 and values[i] is not None, first[i]))
    order = [*known, *gaps[1:]]
    code = np.full(len(different), -1, dtype=np.int64)
    code[order] = np.arange(len(order))
    codes = code[np.searchsorted(different, cells)]
    rows = first[[*order, *gaps[:1]]].astype(np.int64)
    ordered = column.kind == "boolean"
    return Feature(
        column.name, position, "category", codes, _as_objects(list(values[order])), None, cells, rows, ordered=ordered
    )


def _sorted_codes(which: list[int], cells: npt.NDArray[np.object_]) -> list[int]:
    try:
        return sorted(which, key=lambda i: cells[i])
    except (TypeError, ValueError):  # of several types, or arrays, which have no order
        return sorted(which, key=lambda i: str(cells[i]))


def _first_rows(codes: Ints, better: Bools) -> Ints:
    """A row for each code from 0 on, then one for -1 where there is any: the first of those that are better, else the first."""
    first, first_better = np.full((2, int(codes.max(initial=-1)) + 2), -1, dtype=np.int64)
    backwards = np.arange(len(codes))[::-1]
    first[codes[backwards]] = backwards  # the last one that is written stays; -1 is the last place
    if better.all():
        return np.asarray(first[first >= 0])
    backwards = backwards[better[backwards]]
    first_better[codes[backwards]] = backwards
    rows = np.where(first_better >= 0, first_better, first)
    return rows[rows >= 0]


def _scatter_codes(codes: npt.NDArray[Any], gap: Bools) -> Ints:
    out = np.full(len(gap), -1, dtype=np.int64)
    out[~gap] = codes
    return out


def _as_objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def with_gap(values: npt.NDArray[Any], missing: bool) -> npt.NDArray[Any]:
    """Return points, and after them a missing one if there is one."""
    if not missing:
        return values
    if values.dtype.kind in "mM":
        return np.concatenate([values, np.array(["NaT"], dtype=values.dtype)])
    if values.dtype == object or (
        values.dtype.kind in "iu" and (np.abs(values.astype(np.float64)) >= MIN_ROUNDED_INTEGER).any()
    ):
        return _as_objects([*values.tolist(), None] if values.dtype != object else [*values, None])
    return np.concatenate([values.astype(np.float64), [np.nan]])
