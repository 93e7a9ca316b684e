"""A feature's different values, the points that its effect is computed at, and where each row stands among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_codes, cell_key, column_dtype, has_plain_storage, object_cells
from whybox.data.table import Column, Floats, Table, is_missing
from whybox.explanation.curve_functions import as_place

__all__ = ["Feature", "Grid", "feature_of", "numbers_of", "product", "with_gap"]

Ints = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]
ROUNDED: Final = 2.0**53  # whole numbers from here on may be rounded by a float
_TWO_GAPS: Final = "Some missing values of {!r} are nulls and others NaN; its point of a missing value is null."


@final
@dataclass(frozen=True, eq=False)
class Feature:
    """One of the user's columns, coded: ``codes`` (rows,) count into ``unique``, in order; a missing value is -1.

    Attributes:
        kind: ``"number"``, ``"integer"``, ``"datetime"``, or ``"category"`` (text, booleans and other objects too).
        unique: its different values; ``numbers`` (rows,) floats with missing as NaN, None for categories. Of a column of objects that are missing in
            several ways (None, NaN), None is -1 and the others are values.
        cells: (rows,) equal for cells that no model can tell apart; finer than `codes`.
        first: a row for each of `unique`, whose cell stands for the value; then, where there are missing values, a row with one.
        zero: what the numbers are measured from, where ids are so large that floats would round them.
        declared: categories that the dtype names, in its order; () elsewhere. ordered: whether `unique` is in an order of its own (false, true).
        notes: what the user should know.
    """

    name: str
    position: int
    kind: str
    codes: Ints
    unique: npt.NDArray[Any]
    numbers: Floats | None
    cells: Ints
    first: Ints
    declared: tuple[Any, ...] = ()
    ordered: bool = False
    notes: tuple[str, ...] = ()
    zero: int = 0

    def place(self, points: npt.NDArray[Any]) -> Floats:
        """Return where points of this feature stand on the axis of `numbers`; a missing one is NaN."""
        if not self.zero:
            return as_place(points)
        return np.array([np.nan if is_missing(v) else float(v - self.zero) for v in points.tolist()], dtype=np.float64)

    @property
    def missing(self) -> bool:
        """Whether some row has no value."""
        return len(self.first) > len(self.unique)


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """Points of one feature, or of two together.

    Attributes:
        features: one or two. points: for each its values, (points,): numbers (missing NaN), datetime64 (NaT), or objects (None).
        table: a row a point: a row of the data with the features set to the point, in the user's own kind of table and dtypes.
        at: (rows,) the point where the row stands; -1 where it stands at none.
        same: (rows,) whether the row's own cells are those of the point, so that the row as it is answers for the point.
        given: whether the caller chose the points.
        sides: of two features, the grid of each.
    """

    features: tuple[Feature, ...]
    points: tuple[npt.NDArray[Any], ...]
    table: Table
    at: Ints
    same: Truths
    given: bool = False
    sides: tuple[Grid, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """What to call it."""
        return " x ".join(f.name for f in self.features)

    @property
    def members(self) -> tuple[int, ...]:
        """Positions of the user's columns."""
        return tuple(f.position for f in self.features)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of each feature."""
        return tuple(len(p) for p in self.points)

    def __len__(self) -> int:
        """Return the number of points, of two features of their product."""
        return len(self.table)

    @cached_property
    def place(self) -> Floats | None:
        """Where the points of a single feature stand on an axis: floats with missing as NaN; None for categories."""
        return None if self.features[0].kind == "category" else self.features[0].place(self.points[0])

    @cached_property
    def keys(self) -> tuple[Any, ...]:
        """For each feature, its position and its points as something to look up: equal for the same points."""
        return tuple((p, tuple(map(cell_key, v))) for p, v in zip(self.members, self.points, strict=True))

    def pick(self, chosen: Ints) -> Grid:
        """Return some of the points of a single feature."""
        back = np.full(len(self) + 1, -1)
        back[chosen] = np.arange(len(chosen))
        at = back[self.at]
        points, table = (self.points[0][chosen],), self.table.rows(chosen)
        return replace(self, points=points, table=table, at=at, same=self.same & (at >= 0))


def feature_of(table: Table, position: int) -> Feature:
    """Code one column of a table."""
    column = table.column(position)
    numbers = column.originals is None or not any(isinstance(v, (bool, np.bool_)) for v in column.originals)
    if column.kind == "datetime" or (column.kind == "number" and numbers):
        return _along_an_axis(table, position, column)
    if column.categories is not None:
        words, known = list(column.categories), column.values
        present = np.unique(known[known >= 0])
        back = np.full(len(words) + 1, -1)
        back[present] = np.arange(len(present))
        unique, codes = _objects([words[i] for i in present]), back[known]
        first = _first(codes, np.ones(len(codes), dtype=bool))
        return Feature(column.name, position, "category", codes, unique, None, codes, first, tuple(words))
    return _of_objects(table, position, column, cell_codes(table, position))


def _along_an_axis(table: Table, position: int, column: Column) -> Feature:
    """Numbers and dates. Equal ones stand at one place, even where a model can tell their cells apart (0.0 and -0.0, 1 and 1.0)."""
    values, gap = numbers_of(table, position, column)
    unique, found = np.unique(values[~gap], return_inverse=True)
    codes = _spread(found, gap)
    negative = np.signbit(values) & (values == 0.0) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    cells = codes if has_plain_storage(table, position) and not negative.any() else cell_codes(table, position)
    if column.originals is not None:  # a float stands for a number, as it is written; None for a missing one
        plain = np.array([isinstance(v, float) for v in column.originals], dtype=bool)
        plain[gap] = [v is None for v in column.originals[gap]]
    else:
        plain = ~negative
        plain[gap] = cells[gap] < 0
    first = _first(codes, plain)
    if values.dtype.kind == "f" and column.originals is None:
        unique = np.asarray(values[first[: len(unique)]])  # a zero with the sign that its cell has
    kind = "datetime" if values.dtype.kind in "mM" else "integer" if values.dtype.kind in "iu" else "number"
    both = column.originals is None and len(np.unique(cells[gap])) > 1
    notes = (_TWO_GAPS.format(column.name),) if both else ()
    if kind == "integer" and max(map(abs, map(int, unique[[0, -1]] if len(unique) else ())), default=0) >= ROUNDED:
        zero = int(unique[0])
        numbers = np.where(gap, np.nan, np.array([float(int(v) - zero) for v in unique])[codes])
        return Feature(column.name, position, kind, codes, unique, numbers, cells, first, notes=notes, zero=zero)
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


def numbers_of(table: Table, position: int, column: Column) -> tuple[npt.NDArray[Any], Truths]:
    """Return a column's numbers or dates and where they are missing; whole numbers that a float would round stay what they are."""
    values = column.values
    if values.dtype.kind in "mM":
        return values, np.isnat(values)
    gap = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    if values.dtype.kind == "f" and (np.abs(values[~gap]) >= ROUNDED).any() and not _floats(table, position):
        cells = object_cells(table, position)[~gap]
        if all(isinstance(v, (int, np.integer)) for v in cells) and all(-(2**63) <= int(v) < 2**63 for v in cells):
            values = np.zeros(len(gap), dtype=np.int64)
            values[~gap] = cells.astype(np.int64)
    return values, gap


def _floats(table: Table, position: int) -> bool:
    """Whether the column's own dtype is a float."""
    if isinstance(table.native, np.ndarray):
        return bool(table.native.dtype.kind == "f")
    return any(word in str(column_dtype(table, position)).lower() for word in ("float", "double"))


def _of_objects(table: Table, position: int, column: Column, cells: Ints) -> Feature:
    """Text, booleans and other objects: cells that a model can tell apart are different values."""
    raw = object_cells(table, position)
    different, first = np.unique(cells, return_index=True)
    found = raw[first]
    gaps = [i for i, v in enumerate(found) if is_missing(v)]
    known = _in_order([i for i in range(len(found)) if i not in set(gaps)], found)
    gaps.sort(key=lambda i: (different[i] >= 0 and found[i] is not None, first[i]))
    order = [*known, *gaps[1:]]
    code = np.full(len(different), -1, dtype=np.int64)
    code[order] = np.arange(len(order))
    codes = code[np.searchsorted(different, cells)]
    rows = first[[*order, *gaps[:1]]].astype(np.int64)
    ordered = column.kind == "boolean"
    return Feature(
        column.name, position, "category", codes, _objects(list(found[order])), None, cells, rows, ordered=ordered
    )


def _in_order(which: list[int], cells: npt.NDArray[np.object_]) -> list[int]:
    try:
        return sorted(which, key=lambda i: cells[i])
    except (TypeError, ValueError):  # of several types, or arrays, which have no order
        return sorted(which, key=lambda i: str(cells[i]))


def _first(codes: Ints, better: Truths) -> Ints:
    """A row for each code from 0 on, then one for -1 where there is any: the first of those that are better, else the first."""
    order = np.lexsort((~better, codes))
    found, at = np.unique(codes[order], return_index=True)
    rows = order[at]
    return np.concatenate([rows[found >= 0], rows[found < 0]]).astype(np.int64)


def _spread(codes: npt.NDArray[Any], gap: Truths) -> Ints:
    out = np.full(len(gap), -1, dtype=np.int64)
    out[~gap] = codes
    return out


def _objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        out[i] = value
    return out


def with_gap(values: npt.NDArray[Any], missing: bool) -> npt.NDArray[Any]:
    """Return points, and after them where said a missing one."""
    if not missing:
        return values
    if values.dtype.kind in "mM":
        return np.concatenate([values, np.array(["NaT"], dtype=values.dtype)])
    if values.dtype == object or (values.dtype.kind in "iu" and (np.abs(values.astype(np.float64)) >= ROUNDED).any()):
        return _objects([*values.tolist(), None] if values.dtype != object else [*values, None])
    return np.concatenate([values.astype(np.float64), [np.nan]])


def product(a: Grid, b: Grid) -> Grid:
    """Return every point of one feature with every point of another."""
    left = np.repeat(np.arange(len(a)), len(b))
    right = np.tile(np.arange(len(b)), len(a))
    both = a.table.rows(left).mixed(b.table.rows(right), b.members)
    at = np.where((a.at >= 0) & (b.at >= 0), a.at * len(b) + b.at, -1)
    features, points = (*a.features, *b.features), (*a.points, *b.points)
    return Grid(features, points, both, at, a.same & b.same, given=a.given or b.given, sides=(a, b))
