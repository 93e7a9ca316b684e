"""Cells as a model meets them: which are the same to any model, tables with chosen cells in one column, and rows that stay as they are.

Two cells are the same only where no model can tell them apart: same Python type, same bits. None and NaN, 1 and True, 0.0 and -0.0, ids that one float
stands for are different cells, though they may be equal numbers, or both mean "missing".
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from dataclasses import replace
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.data import sparse_rows
from whybox.data.series import dtype_of, widened
from whybox.data.table import Table, is_missing
from whybox.errors import DtypeError, shown

__all__ = [
    "Ints",
    "cell_codes",
    "column_dtype",
    "identity",
    "joint_codes",
    "object_cells",
    "positions",
    "snapshot",
    "stored_plainly",
    "telling_rows",
    "with_cells",
]

Ints = npt.NDArray[np.int64]
NULL: Final = -1
_WORDS: Final = (1, 2, 4, 8)  # bytes of values whose bits are compared
_SPELLED: Final = (date, time, timedelta, Decimal, Fraction, UUID, complex)  # their repr says all there is


def identity(value: Any) -> Hashable:
    """Return a key that two cells share only if no model can tell them apart; an object of an unknown type is the same as itself alone."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind in (bool, int, bytes):
        return kind, value
    if kind is float:
        return kind, value.hex()
    if isinstance(value, np.ndarray):
        cells = tuple(map(identity, value.ravel())) if value.dtype == object else value.tobytes()
        return kind, value.dtype.str, value.shape, cells
    if isinstance(value, np.generic):
        return kind, value.dtype.str, value.tobytes()
    if kind in (list, tuple):
        return kind, tuple(map(identity, value))
    if kind is dict:
        return kind, tuple((identity(k), identity(v)) for k, v in value.items())
    if kind in (set, frozenset):
        return kind, frozenset(map(identity, value))
    if isinstance(value, _SPELLED) or kind.__module__.partition(".")[0] == "pandas":
        return kind, repr(value)
    return kind, id(value)


def positions(known: Sequence[Any], asked: Sequence[Any]) -> list[int]:
    """Return where each value asked about stands among known ones: the same cell, else an equal one; -1 where there is none."""
    same = {identity(v): i for i, v in reversed(list(enumerate(known)))}
    equal: dict[Any, int] = {}
    for i, v in enumerate(known):
        if _hashable(v):
            equal.setdefault(v, i)
    return [same.get(identity(v), equal.get(v, -1) if _hashable(v) else -1) for v in asked]


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _of_matrix(table: Table, position: int) -> npt.NDArray[Any] | None:
    """A column of an array, or of a sparse matrix with what an absent cell means in its place; None for frames."""
    if isinstance(table.native, np.ndarray):
        return np.asarray(table.native[:, position])
    return sparse_rows.column(table.native, position, table.absent) if table.is_matrix else None


def object_cells(table: Table, position: int) -> npt.NDArray[np.object_]:
    """Return the cells of a column as Python objects, each as a model would find it in the user's own table."""
    values = _of_matrix(table, position)
    if values is not None:
        return values.astype(object)
    series = nw.from_native(table.native, eager_only=True)[:, position]
    native = series.to_native()
    if table.library == "pandas" and native.dtype == object:
        return np.asarray(native.to_numpy(), dtype=object)
    cells = series.to_list()
    out = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        out[i] = cell
    return out


def column_dtype(table: Table, position: int) -> Any:
    """Return the dtype of a column as its own library calls it."""
    if isinstance(table.native, np.ndarray) or table.is_matrix:
        return table.native.dtype
    return dtype_of(nw.from_native(table.native, eager_only=True)[:, position].to_native())


def cell_codes(table: Table, position: int) -> Ints:
    """Return a whole number for each cell of a column, (rows,): equal for cells that are the same, -1 for a null of the column's dtype."""
    column = _of_matrix(table, position)
    if column is not None:
        return _of_objects(column) if column.dtype == object else _of_bits(column)
    series = nw.from_native(table.native, eager_only=True)[:, position]
    if series.dtype in (nw.Categorical, nw.Enum):
        return np.asarray(table.column(position).values, dtype=np.int64)
    if series.dtype in (nw.Datetime, nw.Date, nw.Duration) or getattr(dtype_of(series.to_native()), "kind", "") in (
        "m",
        "M",
    ):
        dates = table.column(position).values
        return _of_bits(dates) if dates.dtype.kind in "mM" else _of_objects(dates)
    plain = _plain(series, table.library)
    if plain is None:
        return _of_objects(object_cells(table, position))
    values, null = plain
    codes = _of_bits(values)
    return codes if null is None else np.where(null, NULL, codes)


def joint_codes(one: Table, other: Table, position: int) -> tuple[Ints, Ints]:
    """Return :func:`cell_codes` of a column of two tables, made over both together: equal codes stand for the same cell in either table.

    Where the two columns differ in dtype, or in their list of categories, no cell of one is the same as a cell of the other.
    """
    lists = [table.column(position).categories if _may_have_categories(table) else None for table in (one, other)]
    if lists[0] is None and lists[1] is None and column_dtype(one, position) == column_dtype(other, position):
        stored = [v for v in (_stored_values(table, position) for table in (one, other)) if v is not None]
        if len(stored) == 2:
            codes = _of_bits(np.concatenate([values for values, _ in stored]))
            nulls = [np.zeros(len(values), dtype=bool) if null is None else null for values, null in stored]
            codes = np.where(np.concatenate(nulls), NULL, codes)
        else:
            codes = _of_objects(np.concatenate([object_cells(table, position) for table in (one, other)]))
        return codes[: len(one)], codes[len(one) :]
    here, there = cell_codes(one, position), cell_codes(other, position)
    if lists[0] is not None and lists[0] == lists[1] and column_dtype(one, position) == column_dtype(other, position):
        return here, there
    return here, there - there.min(initial=0) + here.max(initial=0) + 1


def _may_have_categories(table: Table) -> bool:
    return not (isinstance(table.native, np.ndarray) or table.is_matrix)


def _stored_values(table: Table, position: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None] | None:
    """Values of a column as they are stored, and which are null; None for objects and for values without a plain dtype."""
    values = _of_matrix(table, position)
    if values is not None:
        return None if values.dtype == object or values.dtype.itemsize not in _WORDS else (values, None)
    return _plain(nw.from_native(table.native, eager_only=True)[:, position], table.library)


def stored_plainly(table: Table, position: int) -> bool:
    """Whether a column's cells are its numbers or dates and nothing else: two are the same where these are, but for the sign of a zero."""
    if isinstance(table.native, np.ndarray) or table.is_matrix:
        return bool(table.native.dtype.kind in "iufmM")
    series = nw.from_native(table.native, eager_only=True)[:, position]
    dtype = dtype_of(series.to_native())
    if isinstance(dtype, np.dtype):
        return bool(dtype.kind in "iufmM")
    return series.dtype in (nw.Datetime, nw.Date, nw.Duration) or (
        (series.dtype.is_integer() or series.dtype.is_float()) and series.null_count() == 0
    )


def _plain(series: nw.Series[Any], library: str) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None] | None:
    """Values of a column of numbers, booleans or dates as they are stored, and which are null; None for all other columns."""
    native = series.to_native()
    if library == "pandas" and isinstance(native.dtype, np.dtype):
        return None if native.dtype.kind not in "biufmM" else (native.to_numpy(), None)
    if series.dtype == nw.Boolean:
        series = series.cast(nw.Int8)
    elif not (series.dtype.is_numeric() and series.dtype != nw.Decimal):
        return None
    null = np.asarray(series.is_null().to_numpy(), dtype=bool)
    if not null.any():
        values = np.asarray(series.to_numpy())
    elif library == "pandas":
        values = np.asarray(native.to_numpy(dtype=_stored(native.dtype), na_value=0))
    else:
        values = np.asarray(series.fill_null(0).to_numpy())
    return (values, null) if values.dtype.kind in "biuf" else None


def _stored(dtype: Any) -> Any:
    """The numpy dtype behind one of pandas' own for numbers with nulls."""
    return getattr(dtype, "numpy_dtype", None) or dtype


def _of_bits(values: npt.NDArray[Any]) -> Ints:
    if values.dtype.itemsize not in _WORDS:
        return _of_objects(values)
    bits = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    return np.unique(bits, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _of_objects(values: npt.NDArray[Any]) -> Ints:
    code: dict[Hashable, int] = {}
    return np.array([code.setdefault(identity(v), len(code)) for v in values], dtype=np.int64)


def with_cells(table: Table, position: int, rows: Ints, values: Sequence[Any]) -> Table:
    """Return a row for each of `rows` whose cell in one column is that row's own, or where it is -1 the next of `values` (None: null).

    A cell of the table comes back exactly as it is, in its column's dtype; a new value goes into that dtype, and where it cannot, all go into one that holds
    them. What the other columns hold is of no account.

    Raises:
        DtypeError: no dtype holds all of them as they are.
    """
    if not len(values):
        return table.rows(rows)
    made = table.rows(np.zeros(len(values), dtype=np.int64)).with_values(position, values)
    old = np.flatnonzero(rows >= 0)
    if not len(old):
        return made
    kept = table.rows(rows[old])
    order = np.empty(len(rows), dtype=np.int64)
    order[old] = np.arange(len(old))
    order[rows < 0] = len(old) + np.arange(len(values))
    if isinstance(kept.native, np.ndarray):
        dtype = np.result_type(kept.native, made.native)
        both = np.concatenate([widened(kept.native, dtype), widened(made.native, dtype)])
        return replace(kept, native=both[order], labels=None)
    if kept.is_matrix:
        return replace(kept, native=sparse_rows.stacked(kept.native, made.native)[order], labels=None)
    before, after = (nw.from_native(t.native, eager_only=True) for t in (kept, made))
    one, two = before[:, position], after[:, position]
    if dtype_of(one.to_native()) != dtype_of(two.to_native()):
        before = before.with_columns(_recast(one, two))
    native = nw.concat([before, after]).to_native()
    return replace(kept, native=native, labels=None).rows(order)


def _recast(one: nw.Series[Any], two: nw.Series[Any]) -> nw.Series[Any]:
    """The cells of a column in the dtype of another one; refused where that changes a cell."""
    native, dtype = one.to_native(), dtype_of(two.to_native())
    turn = "astype" if hasattr(native, "astype") else "cast"
    try:
        out: nw.Series[Any] = nw.from_native(getattr(native, turn)(dtype), series_only=True).alias(one.name)
        back = nw.from_native(getattr(out.to_native(), turn)(dtype_of(native)), series_only=True)
    except Exception as error:  # each library has errors of its own
        raise DtypeError(f"column {one.name!r} cannot hold {shown(two.to_list())} beside its own values.") from error
    if list(map(identity, back.to_list())) != list(map(identity, one.to_list())):
        raise DtypeError(
            f"column {one.name!r} holds values that are rounded where {shown(two.to_list())} stand beside them; ask for values of its own dtype."
        )
    return out


def snapshot(table: Table) -> Table:
    """Return a table that what is done to the user's own array or frame later does not change.

    An array is copied, unless it is read-only all the way down. Frames share their columns until one is written to (pandas before 3: copied).
    """
    native = table.native
    if table.is_matrix:
        return replace(table, native=native.copy())
    if isinstance(native, np.ndarray):
        return table if _read_only(native) else replace(table, native=native.copy())
    if table.library == "pandas":
        return replace(table, native=native.copy(deep=int(sys.modules["pandas"].__version__.split(".")[0]) < 3))
    return replace(table, native=native.clone()) if table.library == "polars" else table


def _read_only(array: npt.NDArray[Any]) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return base is None or isinstance(base, bytes)


def telling_rows(table: Table, most: int) -> Ints:
    """Return at most so many rows that show how a model treats rows: from all over the table, then one for each column with a missing value in it."""
    n = len(table)
    wide, dense = (np.unique(np.linspace(0, n - 1, min(n, m)).astype(np.int64)) for m in (-(-most // 2), most))
    found: list[int] = _sparse_gaps(table.native, wide)[: max(0, min(n, most) - len(wide))] if table.is_matrix else []
    for position in range(table.width) if not table.is_matrix else ():
        if len(wide) + len(found) >= min(n, most):
            break
        gap = _gaps(table, position)
        if gap is not None and gap.any() and not gap[[*wide, *found]].any():
            found.append(int(gap.argmax()))
    more = dense[~np.isin(dense, [*wide, *found])][: most - len(wide) - len(found)]
    return np.concatenate([wide, more, np.array(found, dtype=np.int64)])


def _sparse_gaps(rows: Any, chosen: Ints) -> list[int]:
    """Of a sparse matrix, a row for each column that stores a missing value, unless one of the chosen rows has it."""
    if rows.dtype.kind != "f":
        return []
    stored = np.flatnonzero(np.isnan(rows.data))
    at = np.searchsorted(rows.indptr, stored, side="right") - 1
    columns, first = np.unique(rows.indices[stored], return_index=True)
    known = np.isin(columns, rows.indices[stored][np.isin(at, chosen)])
    return list(dict.fromkeys(at[first[~known]].tolist()))


def _gaps(table: Table, position: int) -> npt.NDArray[np.bool_] | None:
    """Where a column has missing values; None where its dtype has none."""
    values = _of_matrix(table, position)
    if values is not None:
        if values.dtype == object:
            return np.fromiter(map(is_missing, values), dtype=bool, count=len(values))
        return np.isnan(values) if values.dtype.kind == "f" else None
    series = nw.from_native(table.native, eager_only=True)[:, position]
    gap = np.asarray(series.is_null().to_numpy(), dtype=bool)
    if series.dtype.is_float() and table.library != "pandas":
        gap |= np.isnan(np.asarray(series.to_numpy(), dtype=np.float64))
    return gap
