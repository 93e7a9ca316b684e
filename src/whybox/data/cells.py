"""Identity of cells, tables with chosen cells in one column, and snapshots of tables.

Two cells are the same only if no model can tell them apart: same Python type, same bits. None and NaN, 1 and True, 0.0 and -0.0, and integers that one float
represents, are different cells, although they may be equal as numbers or both mean "missing".
"""

from __future__ import annotations

import hashlib
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
from whybox.data.column import is_plain_dtype
from whybox.data.series import dtype_of, widen_array
from whybox.data.table import Table, is_missing
from whybox.errors import DtypeError, quoted_list

__all__ = [
    "Ints",
    "cell_codes",
    "cell_key",
    "cell_positions",
    "column_dtype",
    "content_text",
    "has_plain_storage",
    "joint_cell_codes",
    "object_cells",
    "representative_rows",
    "rows_with_cells",
    "snapshot_table",
    "table_fingerprint",
]

Ints = npt.NDArray[np.int64]
NULL_CODE: Final = -1
_WORD_BYTES: Final = (1, 2, 4, 8)  # sizes of values whose bits are compared
_TYPES_WITH_FULL_REPR: Final = (date, time, timedelta, Decimal, Fraction, UUID, complex)  # repr identifies their values


def cell_key(value: Any) -> Hashable:
    """Return a key that two cells share only if no model can tell them apart; an object of an unknown type equals itself only."""
    cell_type = type(value)
    if cell_type is str:
        return str(value)
    if cell_type in (bool, int, bytes):
        return cell_type, value
    if cell_type is float:
        return cell_type, value.hex()
    if isinstance(value, np.ndarray):
        cells = tuple(map(cell_key, value.ravel())) if value.dtype == object else value.tobytes()
        return cell_type, value.dtype.str, value.shape, cells
    if isinstance(value, np.generic):
        return cell_type, value.dtype.str, value.tobytes()
    if cell_type in (list, tuple):
        return cell_type, tuple(map(cell_key, value))
    if cell_type is dict:
        return cell_type, tuple((cell_key(k), cell_key(v)) for k, v in value.items())
    if cell_type in (set, frozenset):
        return cell_type, frozenset(map(cell_key, value))
    if isinstance(value, _TYPES_WITH_FULL_REPR) or cell_type.__module__.partition(".")[0] == "pandas":
        return cell_type, repr(value)
    return cell_type, id(value)


def content_text(value: Any) -> str:
    """Return a text that tells cells apart and is the same in every process; "" for sets, dicts, and objects of unknown types, which have none."""
    if value is None:
        return "None"
    if isinstance(value, (list, tuple)):
        texts = [content_text(v) for v in value]
        return repr((type(value), texts)) if all(texts) else ""
    key = cell_key(value)
    if isinstance(value, (dict, set, frozenset)) or (isinstance(value, np.ndarray) and value.dtype == object):
        return ""
    return "" if key == (type(value), id(value)) else repr(key)


def cell_positions(candidates: Sequence[Any], wanted: Sequence[Any]) -> list[int]:
    """Return the position of each wanted value among `candidates`: of the same cell, else of an equal one, else -1."""
    by_identity = {cell_key(v): i for i, v in reversed(list(enumerate(candidates)))}
    by_equality: dict[Any, int] = {}
    for i, v in enumerate(candidates):
        if _is_hashable(v):
            by_equality.setdefault(v, i)
    return [by_identity.get(cell_key(v), by_equality.get(v, -1) if _is_hashable(v) else -1) for v in wanted]


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _matrix_column(table: Table, position: int) -> npt.NDArray[Any] | None:
    """A column of an array, or of a sparse matrix with absent cells filled in; None for frames."""
    if isinstance(table.native, np.ndarray):
        return np.asarray(table.native[:, position])
    return sparse_rows.dense_column(table.native, position, table.absent) if table.is_matrix else None


def object_cells(table: Table, position: int) -> npt.NDArray[np.object_]:
    """Return the cells of a column as Python objects, as a model would read them from the user's own table."""
    if table.is_matrix:
        return sparse_rows.object_column(table.native, position, table.absent)
    values = _matrix_column(table, position)
    if values is not None:
        return values.astype(object)
    native = table.native_column(position)
    if table.library == "pandas" and native.dtype == object:
        return np.asarray(native.to_numpy(), dtype=object)
    plain = table.is_pandas and is_plain_dtype(native.dtype, "biuf")
    cells = native.to_list() if plain else table.series(position).to_list()
    objects = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        objects[i] = cell
    return objects


def column_dtype(table: Table, position: int) -> Any:
    """Return the dtype of a column in its own library."""
    if isinstance(table.native, np.ndarray) or table.is_matrix:
        return table.native.dtype
    return dtype_of(table.native_column(position))


def cell_codes(table: Table, position: int) -> Ints:
    """Return an integer code for each cell of a column, (rows,): equal for identical cells, -1 for a null of the column's dtype."""
    column = _matrix_column(table, position)
    if column is not None:
        codes = _codes_of_objects(column) if column.dtype == object else _codes_of_bits(column)
        return _apart_from_absent(codes, [table], position) if table.is_matrix else codes
    series = table.series(position)
    if series.dtype in (nw.Categorical, nw.Enum):
        return np.asarray(table.column(position).values, dtype=np.int64)
    if series.dtype in (nw.Datetime, nw.Date, nw.Duration) or getattr(dtype_of(series.to_native()), "kind", "") in (
        "m",
        "M",
    ):
        dates = table.column(position).values
        return _codes_of_bits(dates) if dates.dtype.kind in "mM" else _codes_of_objects(dates)
    stored = _stored_values(series, table.library)
    if stored is None:
        return _codes_of_objects(object_cells(table, position))
    values, is_null = stored
    codes = _codes_of_bits(values)
    return codes if is_null is None else np.where(is_null, NULL_CODE, codes)


def joint_cell_codes(one: Table, other: Table, position: int) -> tuple[Ints, Ints]:
    """Return :func:`cell_codes` of a column of two tables, made over both together: equal codes stand for the same cell in either table.

    Where the two columns differ in dtype, or in their list of categories, no cell of one is the same as a cell of the other.
    """
    lists = [_categories_of(table, position) for table in (one, other)]
    same_dtype = bool(column_dtype(one, position) == column_dtype(other, position))
    if lists[0] is None and lists[1] is None and same_dtype:
        stored = [v for v in (_values_and_nulls(table, position) for table in (one, other)) if v is not None]
        if len(stored) == 2:
            codes = _codes_of_bits(np.concatenate([values for values, _ in stored]))
            nulls = [np.zeros(len(values), dtype=bool) if is_null is None else is_null for values, is_null in stored]
            codes = np.where(np.concatenate(nulls), NULL_CODE, codes)
            if one.is_matrix and other.is_matrix:
                codes = _apart_from_absent(codes, [one, other], position)
        else:
            codes = _codes_of_objects(np.concatenate([object_cells(table, position) for table in (one, other)]))
        return codes[: len(one)], codes[len(one) :]
    first, second = cell_codes(one, position), cell_codes(other, position)
    if lists[0] is not None and lists[0] == lists[1] and same_dtype:
        return first, second
    return first, second - second.min(initial=0) + first.max(initial=0) + 1


def _apart_from_absent(codes: Ints, tables: Sequence[Table], position: int) -> Ints:
    """Codes that tell an absent cell from a stored one of the same value: to XGBoost a stored zero is no absent cell."""
    absent = np.concatenate([sparse_rows.absent_cells(table.native, position) for table in tables])
    return np.unique(2 * codes + absent, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _categories_of(table: Table, position: int) -> tuple[Any, ...] | None:
    """The list of categories of a frame's column; None for all other columns."""
    return None if isinstance(table.native, np.ndarray) or table.is_matrix else table.column(position).categories


def _values_and_nulls(table: Table, position: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None] | None:
    """Stored values and null mask of a column; None for objects, and for values of no plain dtype."""
    values = _matrix_column(table, position)
    if values is not None:
        return None if values.dtype == object or values.dtype.itemsize not in _WORD_BYTES else (values, None)
    return _stored_values(table.series(position), table.library)


def has_plain_storage(table: Table, position: int) -> bool:
    """Whether a column stores plain numbers or dates, so that equal values are identical cells but for the sign of zero."""
    if table.is_matrix:  # whose absent cells are others than the stored ones of their value
        return False
    if isinstance(table.native, np.ndarray):
        return bool(table.native.dtype.kind in "iufmM")
    dtype = column_dtype(table, position)
    if isinstance(dtype, np.dtype):
        return bool(dtype.kind in "iufmM")
    series = table.series(position)
    return series.dtype in (nw.Datetime, nw.Date, nw.Duration) or (
        (series.dtype.is_integer() or series.dtype.is_float()) and series.null_count() == 0
    )


def _stored_values(
    series: nw.Series[Any], library: str
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None] | None:
    """Stored values and null mask of a column of numbers, booleans or dates; None for all other columns."""
    native = series.to_native()
    if library == "pandas" and isinstance(native.dtype, np.dtype):
        return None if native.dtype.kind not in "biufmM" else (native.to_numpy(), None)
    if series.dtype == nw.Boolean:
        series = series.cast(nw.Int8)
    elif not (series.dtype.is_numeric() and series.dtype != nw.Decimal):
        return None
    is_null = np.asarray(series.is_null().to_numpy(), dtype=bool)
    if not is_null.any():
        values = np.asarray(series.to_numpy())
    elif library == "pandas":
        values = np.asarray(native.to_numpy(dtype=_numpy_dtype(native.dtype), na_value=0))
    else:
        values = np.asarray(series.fill_null(0).to_numpy())
    return (values, is_null) if values.dtype.kind in "biuf" else None


def _numpy_dtype(dtype: Any) -> Any:
    """The numpy dtype of a pandas extension dtype for numbers with nulls."""
    return getattr(dtype, "numpy_dtype", None) or dtype


def _codes_of_bits(values: npt.NDArray[Any]) -> Ints:
    if values.dtype.itemsize not in _WORD_BYTES:
        return _codes_of_objects(values)
    bits = np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")
    return np.unique(bits, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _codes_of_objects(values: npt.NDArray[Any]) -> Ints:
    code_of: dict[Hashable, int] = {}
    return np.array([code_of.setdefault(cell_key(v), len(code_of)) for v in values], dtype=np.int64)


def rows_with_cells(table: Table, position: int, rows: Ints, values: Sequence[Any]) -> Table:
    """Return the table rows at `rows`; where `rows` is -1, a row whose cell in one column is the next of `values` (None: null).

    Cells of the table keep their values and dtype; new values are stored in that dtype, or if it cannot hold them, the whole column in one that holds
    them all. Other columns of the rows with new values are arbitrary.

    Raises:
        DtypeError: no dtype holds all of them unchanged.
    """
    if not len(values):
        return table.rows(rows)
    new_rows = table.rows(np.zeros(len(values), dtype=np.int64)).with_values(position, values)
    from_table = np.flatnonzero(rows >= 0)
    if not len(from_table):
        return new_rows
    old_rows = table.rows(rows[from_table])
    order = np.empty(len(rows), dtype=np.int64)
    order[from_table] = np.arange(len(from_table))
    order[rows < 0] = len(from_table) + np.arange(len(values))
    if isinstance(old_rows.native, np.ndarray):
        dtype = np.result_type(old_rows.native, new_rows.native)
        stacked = np.concatenate([widen_array(old_rows.native, dtype), widen_array(new_rows.native, dtype)])
        return replace(old_rows, native=stacked[order], labels=None)
    if old_rows.is_matrix:
        return replace(old_rows, native=sparse_rows.stack_rows(old_rows.native, new_rows.native)[order], labels=None)
    old_frame, new_frame = (nw.from_native(t.native, eager_only=True) for t in (old_rows, new_rows))
    old_column, new_column = old_frame[:, position], new_frame[:, position]
    if dtype_of(old_column.to_native()) != dtype_of(new_column.to_native()):
        old_frame = old_frame.with_columns(_cast_column(old_column, new_column))
    native = nw.concat([old_frame, new_frame]).to_native()
    return replace(old_rows, native=native, labels=None).rows(order)


def _cast_column(source: nw.Series[Any], target: nw.Series[Any]) -> nw.Series[Any]:
    """A column cast to the dtype of another one; refused if that changes a cell."""
    native, dtype = source.to_native(), dtype_of(target.to_native())
    cast_method = "astype" if hasattr(native, "astype") else "cast"
    try:
        cast: nw.Series[Any] = nw.from_native(getattr(native, cast_method)(dtype), series_only=True).alias(source.name)
        round_trip = nw.from_native(getattr(cast.to_native(), cast_method)(dtype_of(native)), series_only=True)
    except Exception as error:  # each library has errors of its own
        raise DtypeError(
            f"column {source.name!r} cannot hold {quoted_list(target.to_list())} beside its own values."
        ) from error
    if list(map(cell_key, round_trip.to_list())) != list(map(cell_key, source.to_list())):
        raise DtypeError(
            f"column {source.name!r} holds values that are rounded where {quoted_list(target.to_list())} stand beside them; ask for values of its own dtype."
        )
    return cast


def table_fingerprint(table: Table) -> str:
    """Return the SHA-256 of a table's column names and cells, whatever its row labels are."""
    sha = hashlib.sha256()
    if table.is_matrix:
        for part in (table.native.indptr.astype(np.int64), table.native.indices.astype(np.int64), table.native.data):
            sha.update(np.ascontiguousarray(part).tobytes())
        return sha.hexdigest()
    for position, name in enumerate(table.names):
        codes = cell_codes(table, position)
        _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))  # codes in the order in which cells first appear
        cells = object_cells(table.rows(np.sort(first)), position)
        sha.update(repr((name, str(column_dtype(table, position)), list(map(_full_text, cells)))).encode())
        sha.update(order[inverse.reshape(-1)].astype(np.int64).tobytes())
    return sha.hexdigest()


def _full_text(value: Any) -> str:
    """A cell as text that leaves no digit out."""
    return repr(value.tolist()) if isinstance(value, np.ndarray) else repr(value)


def snapshot_table(table: Table) -> Table:
    """Return a table that later changes of the user's array or frame do not affect.

    An array is copied, unless it and all its bases are read-only. Frames share their columns until one is written to (pandas before 3: copied).
    """
    native = table.native
    if table.is_matrix:
        return replace(table, native=native.copy())
    if isinstance(native, np.ndarray):
        return table if _is_read_only(native) else replace(table, native=native.copy())
    if table.library == "pandas":
        return replace(table, native=native.copy(deep=int(sys.modules["pandas"].__version__.split(".")[0]) < 3))
    return replace(table, native=native.clone()) if table.library == "polars" else table


def _is_read_only(array: npt.NDArray[Any]) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return base is None or isinstance(base, bytes)


def representative_rows(table: Table, most: int) -> Ints:
    """Return at most `most` row positions: evenly spaced rows, and one with a missing value for each column that has any."""
    n_rows = len(table)
    half_spread, full_spread = (
        np.unique(np.linspace(0, n_rows - 1, min(n_rows, count)).astype(np.int64)) for count in (-(-most // 2), most)
    )
    with_missing: list[int] = (
        _rows_with_stored_nan(table.native, half_spread)[: max(0, min(n_rows, most) - len(half_spread))]
        if table.is_matrix
        else []
    )
    for position in range(table.width) if not table.is_matrix else ():
        if len(half_spread) + len(with_missing) >= min(n_rows, most):
            break
        mask = _missing_mask(table, position)
        if mask is not None and mask.any() and not mask[[*half_spread, *with_missing]].any():
            with_missing.append(int(mask.argmax()))
    fill_up = full_spread[~np.isin(full_spread, [*half_spread, *with_missing])][
        : most - len(half_spread) - len(with_missing)
    ]
    return np.concatenate([half_spread, fill_up, np.array(with_missing, dtype=np.int64)])


def _rows_with_stored_nan(csr: Any, chosen_rows: Ints) -> list[int]:
    """A row of a sparse matrix for each column that stores NaN, except columns where one of the chosen rows has it."""
    if csr.dtype.kind != "f":
        return []
    stored_nan = np.flatnonzero(np.isnan(csr.data))
    row_indices = np.searchsorted(csr.indptr, stored_nan, side="right") - 1
    columns, first_index = np.unique(csr.indices[stored_nan], return_index=True)
    covered = np.isin(columns, csr.indices[stored_nan][np.isin(row_indices, chosen_rows)])
    return list(dict.fromkeys(row_indices[first_index[~covered]].tolist()))


def _missing_mask(table: Table, position: int) -> npt.NDArray[np.bool_] | None:
    """Where a column has missing values; None where its dtype has none."""
    values = _matrix_column(table, position)
    if values is not None:
        if values.dtype == object:
            return np.fromiter(map(is_missing, values), dtype=bool, count=len(values))
        return np.isnan(values) if values.dtype.kind == "f" else None
    series = table.series(position)
    mask = np.asarray(series.is_null().to_numpy(), dtype=bool)
    if series.dtype.is_float() and table.library != "pandas":
        mask |= np.isnan(np.asarray(series.to_numpy(), dtype=np.float64))
    return mask
