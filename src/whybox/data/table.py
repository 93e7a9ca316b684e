"""Wrap any data frame or array as a table of named columns, and convert back.

This folder alone uses frame libraries. Everything above it sees a :class:`Table`: named columns, row labels, cheap row
slices, and typed access to one column at a time. The user's own object is kept, so that it can be handed to the user's own
transformers and returned as the same kind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Number
from typing import Any, final

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.data import sparse_rows
from whybox.data.column import Column, array_column, describe_content, frame_column, is_plain_dtype, plain_pandas_column
from whybox.data.containers import as_frame, refuse_levels
from whybox.data.library_containers import without_container
from whybox.data.series import (
    build_frame,
    cells_at_rows,
    from_pickle_state,
    interleave_cells,
    is_missing,
    like_series,
    series_of_cells,
    set_array_column,
    shifted_by_one,
    to_pickle_state,
    unify_dictionaries,
    widen_array,
)
from whybox.data.series import import_library as _import
from whybox.data.series import is_installed as _installed
from whybox.data.table_view import table_array, table_html, table_item, table_text
from whybox.errors import (
    Argument,
    ColumnsError,
    DtypeError,
    EmptyDataError,
    InputError,
    MissingDependencyError,
    did_you_mean,
    quoted_list,
)

__all__ = ["Column", "Floats", "Table", "as_table", "build_frame", "is_missing"]

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Rows and named columns, backed by the user's own array or frame (never copied until a block of rows is read).

    ``index`` is the pandas Index that ``labels`` were taken from, with its names and dtypes; frames of results get it.
    ``absent`` is the value of a cell that a sparse matrix does not store; the model sets it when it aligns the table.
    """

    native: Any
    names: tuple[str, ...]
    library: str
    named: bool
    labels: npt.NDArray[Any] | None = None
    index: Any = None
    arbitrary_codes: frozenset[str] = (
        frozenset()
    )  # categorical columns whose codes do not follow one chosen list of categories
    absent: float = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: these rows, without the buffers of a table that they are a slice of."""
        return to_pickle_state({name: value for name, value in self.__dict__.items() if name != "_frame"})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(from_pickle_state(state))

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.native.shape[0])

    def __getitem__(self, key: Any) -> Any:
        """Take out a column by name, or rows by position: ``data["bmi"]``, ``data[3]``, ``data[:5]``, ``data[3, "bmi"]``.

        Returns:
            for a name the values of the column, (rows,), read-only: numbers (missing as NaN), dates, booleans, or objects (missing as None).
            For a position a dict of the row's cells. For a slice, a mask, a list of positions or of names a smaller table.
            For ``data[rows, columns]`` a cell, the values of a column, a dict or a table.

        Raises:
            OptionError: no such column, or a key that is none of these. IndexError: a row beyond the last.
        """
        return table_item(self, key)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over rows, each a dict of its cells."""
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return all cells, (rows, columns), for ``np.asarray(data)``: numbers where every column is numeric, else objects."""
        return np.array(table_array(self), dtype=dtype, copy=True if copy is None else copy)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and columns."""
        return len(self), self.width

    def __repr__(self) -> str:
        return table_text(self)

    def _repr_html_(self) -> str:
        return table_html(self)

    @property
    def width(self) -> int:
        """Return the number of columns."""
        return len(self.names)

    @property
    def is_matrix(self) -> bool:
        """Whether it is a sparse matrix."""
        return sparse_rows.is_sparse(self.native)

    @property
    def is_sparse(self) -> bool:
        """Whether it is a sparse matrix, or a pandas frame with Sparse dtypes only, which libraries read as a sparse matrix."""
        if not self.is_pandas:
            return self.is_matrix
        return all(type(t).__name__ == "SparseDtype" for t in self.native.dtypes)

    @property
    def is_pandas(self) -> bool:
        """Whether it is a pandas frame; of a saved table that was read, `library` may be another one."""
        return self.library == "pandas" and hasattr(self.native, "iloc")

    @cached_property
    def _frame(self) -> nw.DataFrame[Any]:
        """The user's frame under one interface; wrapping it takes longer than many a use of it."""
        return nw.from_native(self.native, eager_only=True)

    @cached_property
    def row_labels(self) -> npt.NDArray[Any]:
        """Row labels: the frame's index unless it is 0, 1, 2, ...; else positions."""
        return np.arange(len(self)) if self.labels is None else self.labels

    def rows(self, rows: slice | npt.NDArray[Any]) -> Table:
        """Return some rows as a table of the same kind; `rows` is a slice, positions, or a mask."""
        chosen = np.arange(len(self))[rows] if not isinstance(rows, slice) else rows
        labels = self.row_labels[rows] if self.labels is not None or not _starts_at_first_row(rows) else None
        if isinstance(self.native, np.ndarray) or self.is_matrix:
            return replace(self, native=self.native[chosen], labels=labels)
        index = None if self.index is None or self.labels is None else self.index[chosen]  # kept with the labels
        if self.is_pandas:
            native = self.native.iloc[chosen]
        else:
            native = self._frame[chosen if isinstance(chosen, slice) else chosen.tolist(), :].to_native()
        return replace(self, native=native, labels=labels, index=index)

    def blocks(self, size: int) -> Iterator[tuple[int, Table]]:
        """Yield (first row, block) over consecutive blocks of at most `size` rows."""
        if len(self) <= size:
            yield 0, self
            return
        for start in range(0, len(self), size):
            yield start, self.rows(slice(start, min(start + size, len(self))))

    def select(self, positions: Sequence[int]) -> Table:
        """Return the columns at `positions`, in that order."""
        if list(positions) == list(range(self.width)):
            return self
        names = tuple(self.names[p] for p in positions)
        if isinstance(self.native, np.ndarray) or self.is_matrix:
            return replace(self, native=self.native[:, list(positions)], names=names)
        frame = self._frame
        return replace(self, native=frame[:, list(positions)].to_native(), names=names)

    def with_columns_from(self, other: Table, positions: Sequence[int]) -> Table:
        """Return these rows with the columns at `positions` taken from another table of the same shape and kind."""
        if self.is_matrix:
            taken = np.zeros(self.width, dtype=bool)
            taken[list(positions)] = True
            return replace(self, native=sparse_rows.mix_cells(self.native, other.native, taken))
        if isinstance(self.native, np.ndarray):
            out = widen_array(self.native, np.result_type(self.native, other.native))
            out[:, list(positions)] = other.native[:, list(positions)]
            return replace(self, native=out)
        taken_columns = set(positions)
        if self.is_pandas:
            native = self.native.copy()
            for p in taken_columns:  # a series with the same index keeps its dtype; for an array pandas would infer one
                native.isetitem(p, other.native_column(p).set_axis(native.index))
            return replace(self, native=native)
        columns = [(other if p in taken_columns else self).series(p) for p in range(self.width)]
        return replace(self, native=self._frame.select(*columns).to_native())

    def with_cells_from(self, other: Table, taken: npt.NDArray[np.bool_]) -> Table | None:
        """Return these rows with the cells of another frame where `taken`; None if they differ in library, width or a column's dtype."""
        if self.library != other.library or self.width != other.width:
            return None
        native = interleave_cells(self.native, other.native, taken, self.library)
        return None if native is None else replace(self, native=native)

    def columns_at_rows(self, rows: npt.NDArray[np.int64]) -> Table:
        """Return rows of which each cell comes from a row of its own: cell (i, j) is that of row ``rows[i, j]``; `rows` is (any number, columns)."""
        if isinstance(self.native, np.ndarray):
            return replace(self, native=np.take_along_axis(self.native, rows, axis=0), labels=None, index=None)
        if self.is_matrix:
            raise InputError("cells of a sparse matrix cannot be taken from a row each; pass dense rows.")
        return replace(self, native=cells_at_rows(self.native, rows, self.library), labels=None, index=None)

    def with_values(self, position: int, values: Sequence[Any]) -> Table:
        """Return these rows with new values in one column, in its dtype or, if that cannot hold them, in their own; see data/series.py."""
        return self.with_columns_of_values({position: values})

    def with_columns_of_values(self, columns: Mapping[int, Sequence[Any]]) -> Table:
        """Return these rows with new values in some columns, by position, each as `with_values` takes them."""
        if self.is_matrix:
            native = self.native
            for position, values in columns.items():
                cells = [v if isinstance(v, sparse_rows.AbsentCell) or not is_missing(v) else None for v in values]
                native = sparse_rows.replace_column(native, position, cells)
            return replace(self, native=native)
        if isinstance(self.native, np.ndarray):
            array = self.native.copy()
            for position, values in columns.items():
                array = set_array_column(array, position, values)
            return replace(self, native=array)
        if self.is_pandas:
            native = self.native.copy(deep=False)  # `isetitem` replaces a column of the copy alone
            for position, values in columns.items():
                new_series = like_series(self.native_column(position), values, self.library, self.names[position])
                native.isetitem(position, new_series.set_axis(native.index))
            return replace(self, native=native)
        frame, new_columns = self._frame, []
        for position, values in columns.items():
            old = frame[:, position]
            new_series = like_series(old.to_native(), values, self.library, old.name)
            new_columns.append(nw.from_native(new_series, series_only=True).alias(old.name))
        return replace(self, native=frame.with_columns(*new_columns).to_native())

    def with_shifted_copy(self) -> Table:
        """Return this one row and, below it, a copy with every number increased by one."""
        if self.is_matrix:
            return replace(self, native=sparse_rows.with_shifted_copy(self.native), labels=None)
        if isinstance(self.native, np.ndarray):
            numeric = self.native.dtype.kind in "fiu"
            moved = (self.native + 1).astype(self.native.dtype) if numeric else self.native
            return replace(self, native=np.concatenate([self.native, moved]), labels=None)
        frame = self._frame
        columns = [frame[:, p] for p in range(self.width)]
        moves = [shifted_by_one(c) if c.dtype.is_numeric() and c.dtype != nw.Decimal else c for c in columns]
        return replace(self, native=nw.concat([frame, frame.select(*moves)]).to_native(), labels=None)

    def with_names(self, names: Sequence[str]) -> Table:
        """Return the same columns under other names (the native frame keeps its names)."""
        return replace(self, names=tuple(names), named=True)

    def with_column(self, position: int, cells: Sequence[Any]) -> Table:
        """Return these rows with new cells (None: missing) in one column, in the dtype that the library infers."""
        if isinstance(self.native, np.ndarray):
            array = self.native.astype(object)
            array[:, position] = np.fromiter(cells, dtype=object, count=len(self))
            return replace(self, native=array)
        frame = self._frame
        old_column = frame[:, position]
        new_series = series_of_cells(cells, self.library, old_column.name)
        if self.library == "pandas":
            new_series.index = self.native.index
        return replace(
            self,
            native=frame.with_columns(nw.from_native(new_series, series_only=True).alias(old_column.name)).to_native(),
        )

    def series(self, position: int) -> nw.Series[Any]:
        """Return one column of a frame, under one interface for all libraries."""
        return self._frame[:, position]

    def native_column(self, position: int) -> Any:
        """Return one column of a frame as its own library holds it."""
        return self.native.iloc[:, position] if self.is_pandas else self.series(position).to_native()

    def column(self, position: int) -> Column:
        """Return one column, typed; see :class:`Column`."""
        name = self.names[position]
        if self.is_matrix:
            return array_column(name, sparse_rows.dense_column(self.native, position, self.absent))
        if isinstance(self.native, np.ndarray):
            return array_column(name, self.native[:, position])
        plain = plain_pandas_column(name, self.native_column(position)) if self.is_pandas else None
        return frame_column(name, self.series(position)) if plain is None else plain

    def matrix(self) -> npt.NDArray[Any]:
        """Return all columns as one numeric matrix (missing as NaN), in the widest dtype the columns need.

        Raises:
            DtypeError: a column holds text, categories, dates or other objects; the message names it.
        """
        if self.is_matrix:
            return sparse_rows.to_dense(self.native, self.absent)
        if isinstance(self.native, np.ndarray) and self.native.dtype.kind in "fiub":
            return self.native
        numeric_matrix = self._numeric_frame_matrix()
        if numeric_matrix is not None:
            return numeric_matrix
        columns = [self.column(i) for i in range(self.width)]
        for column in columns:
            if column.kind not in ("number", "boolean"):
                raise DtypeError(
                    f"column {column.name!r} holds {describe_content(column)}, but this model reads numbers only. Encode it the way the training data was encoded, "
                    "or pass the whole Pipeline that does so instead of its last step."
                )
        return np.column_stack([column.values for column in columns]) if columns else np.empty((len(self), 0))

    def _numeric_frame_matrix(self) -> npt.NDArray[Any] | None:
        """Return the frame as one matrix in a single call when every column is a plain number."""
        if isinstance(self.native, np.ndarray):
            return None
        plain = self.is_pandas and all(map(is_plain_dtype, self.native.dtypes))
        if not plain and not all(t.is_numeric() and t != nw.Decimal for t in self._frame.schema.values()):
            return None
        out = self.native.to_numpy() if plain else self._frame.to_numpy()
        return out if out.dtype.kind in "fiu" else None

    def for_transformers(self) -> Any:
        """Return the rows as scikit-learn reads them: as given, but an Arrow table as pandas (else polars), with its dtypes.

        Missing text is NaN there, as in frames that pandas reads from a file. If neither is installed, a table of numbers becomes an array.

        Raises:
            MissingDependencyError: neither pandas nor polars is installed, and not all columns are numbers.
        """
        if self.library in ("numpy", "pandas"):
            return self.native.copy()  # some transformers modify their input
        if self.library != "pyarrow":
            return self.native
        if not _installed("pandas") and _installed("polars"):
            return _import("polars").from_arrow(self.native)
        if not _installed("pandas"):
            if all(self.column(i).kind in ("number", "boolean") for i in range(self.width)):
                return self.matrix().astype(np.float64)
            raise MissingDependencyError("pandas", "handing the columns of an Arrow table to scikit-learn")
        frame = self.native.to_pandas()
        for name in [n for n, t in frame.dtypes.items() if str(t) == "object"]:
            frame[name] = frame[name].where(frame[name].notna(), np.nan)
        return frame

    def to_pandas(self) -> Any:
        """Return the rows as a pandas frame under this table's names (for libraries that read only pandas)."""
        if "pandas" not in sys.modules:
            try:
                import pandas  # noqa: F401, ICN001
            except ImportError:
                raise MissingDependencyError("pandas", "calling this model's own predict on these rows") from None
        import pandas as pd

        if isinstance(self.native, np.ndarray) or self.is_matrix:
            return pd.DataFrame(self.matrix() if self.is_matrix else self.native, columns=list(self.names))
        frame = self._frame.to_pandas()
        frame.columns = list(self.names)
        return frame


def as_table(data: Any, *, what: str = "X") -> Table:
    """Wrap the user's rows.

    Args:
        data: a 2-D array (n, d), a data frame (pandas, polars, pyarrow, or any other eager frame narwhals reads), a sparse matrix or array
            of scipy, nested lists, or any container of data/containers.py or data/library_containers.py.
        what: name of the data in messages.

    Raises:
        InputError: not two-dimensional, lazy, or not a table.
        ColumnsError: two columns share a name.
        EmptyDataError: no rows or no columns.
    """
    if isinstance(data, Table):
        return data
    data = as_frame(without_container(data, what), what)
    table = _from_frame(data, what) if _is_frame(data) else _from_array(data, what)
    if table.width == 0:
        raise EmptyDataError(Argument(what), " has no columns.")
    if len(table) == 0:
        raise EmptyDataError(Argument(what), " has no rows.")
    if len(set(table.names)) != table.width:
        seen: set[str] = set()
        repeated = [n for n in table.names if n in seen or seen.add(n)]  # type: ignore[func-returns-value]
        raise ColumnsError(
            Argument(what),
            f" has more than one column named {quoted_list(repeated)}; rename them so that each name is unique.",
        )
    return table


def align_columns(
    table: Table, expected: Sequence[str], *, what: str = "X", whose: str = "the model was trained on"
) -> tuple[Table, tuple[str, ...]]:
    """Bring a named table's columns into the model's order; messages say which argument it is, and `whose` columns are expected.

    Returns:
        the table with exactly the `expected` columns, and the names of the columns that the model does not use.

    Raises:
        ColumnsError: an expected column is missing; the message names it and the nearest name there is.
    """
    position_of = {name: i for i, name in enumerate(table.names)}
    missing = [name for name in expected if name not in position_of]
    if missing:
        there = f" Columns there: {quoted_list(table.names)}."
        hint = did_you_mean(missing[0], table.names) if len(missing) == 1 else there
        raise ColumnsError(
            Argument(what),
            f" lacks {'column' if len(missing) == 1 else f'{len(missing)} columns'} {quoted_list(missing)} that {whose}.{hint}",
        )
    used = set(expected)
    return table.select([position_of[name] for name in expected]), tuple(n for n in table.names if n not in used)


def _starts_at_first_row(rows: Any) -> bool:
    return isinstance(rows, slice) and rows.start in (None, 0) and rows.step in (None, 1)


def _is_frame(data: Any) -> bool:
    if isinstance(data, (np.ndarray, list, tuple)) or sparse_rows.is_sparse(data):
        return False
    try:
        wrapped = nw.from_native(data, pass_through=True)
    except nw.exceptions.DuplicateError as error:
        repeated = ", ".join(line.lstrip("- ") for line in str(error).splitlines()[1:])
        raise ColumnsError(
            f"the data has more than one column of the same name ({repeated}); make each name unique."
        ) from None
    if isinstance(wrapped, nw.LazyFrame):
        raise InputError("the data is a lazy frame; call .collect() (or .compute()) first and pass the result.")
    return isinstance(wrapped, nw.DataFrame)


def _from_frame(data: Any, what: str) -> Table:
    frame = nw.from_native(data, eager_only=True)
    library = str(frame.implementation).rsplit(".", maxsplit=1)[-1].lower()
    labels = None
    data, arbitrary_codes = unify_dictionaries(data, library)
    if library == "pandas":
        refuse_levels(data.columns, what)
        index = data.index
        if not (type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1):
            labels = index.to_numpy()
    own = None if labels is None else data.index
    return Table(
        data,
        tuple(str(c) for c in frame.columns),
        library,
        named=True,
        labels=labels,
        index=own,
        arbitrary_codes=arbitrary_codes,
    )


def _from_array(data: Any, what: str) -> Table:
    if sparse_rows.is_sparse(data):
        rows = sparse_rows.as_csr(data, what)
        return Table(rows, tuple(f"x{i}" for i in range(rows.shape[1])), "scipy", named=False)
    if hasattr(data, "nnz"):
        raise InputError(
            Argument(what),
            f" is a sparse array of {type(data).__module__}; pass one of scipy, for example scipy.sparse.csr_array.",
        )
    try:
        array = np.asarray(data)
    except ValueError:
        raise InputError(Argument(what), " has rows of different lengths; pass a rectangular table.") from None
    if array.ndim == 1 and array.dtype.names is None and array.size and array.dtype.kind in "fiubOUS":
        raise InputError(
            Argument(what), " has one dimension; pass two, also for one row: X[[0]] or X.iloc[[0]], not X[0]."
        )
    if array.ndim != 2:
        hint = " Give the rows themselves; a number of rows is not enough here." if isinstance(data, Number) else ""
        hint = " It is not read as the path of a file: pass the rows themselves." if isinstance(data, str) else hint
        raise InputError(
            Argument(what),
            f" must be a data frame or an array of two dimensions (rows, features), not of {array.ndim} (type {type(data).__name__}).{hint}",
        )
    if array.dtype.kind in "US":  # numpy makes every cell of a list text if one is; keep each cell as given
        array = array.astype(object) if isinstance(data, np.ndarray) else np.array(data, dtype=object)
    if array.dtype.kind not in "fiubO":
        raise DtypeError(
            Argument(what),
            f" is an array of dtype {array.dtype}; pass numbers, or a data frame with one dtype per column.",
        )
    return Table(array, tuple(f"x{i}" for i in range(array.shape[1])), "numpy", named=False)
