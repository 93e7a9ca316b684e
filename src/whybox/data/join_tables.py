"""Tables of the same columns, one below the other; and a table with columns of numbers beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.data.series import import_library, series_of_cells
from whybox.data.table import Table
from whybox.errors import OptionError

__all__ = ["join_tables", "with_new_columns"]


def with_new_columns(table: Table, columns: Mapping[str, npt.NDArray[Any]]) -> Table:
    """Return a table, no sparse one, with further columns of numbers behind its own, (rows,) by name."""
    names = (*table.names, *columns)
    if isinstance(table.native, np.ndarray):
        return replace(table, native=np.column_stack([table.native, *columns.values()]), names=names)
    frame = nw.from_native(table.native, eager_only=True)
    added = []
    for name, numbers in columns.items():
        series = series_of_cells(numbers.tolist(), table.library, name)
        if table.library == "pandas":
            series.index = table.native.index
        added.append(nw.from_native(series, series_only=True).alias(name))
    return replace(table, native=frame.with_columns(*added).to_native(), names=names)


def join_tables(tables: Sequence[Table]) -> Table | None:
    """Return the rows of all tables in one, with their labels; None for no tables.

    Rows without labels are counted through. A column takes a dtype that holds the values of all tables.

    Raises:
        OptionError: the tables are of different libraries or columns.
    """
    if not tables:
        return None
    tables = [_of_its_library(table) for table in tables]
    first = tables[0]
    for table in tables[1:]:
        if table.library != first.library and table.names == first.names:
            raise OptionError(
                f"rows of {first.library} and of {table.library} cannot be joined; use one kind of table."
            )
        if (table.library, table.names, table.absent) != (first.library, first.names, first.absent):
            raise OptionError(
                f"rows of {first.library} with the columns {first.names} and of {table.library} with the columns {table.names} cannot be joined; use one kind of table."
            )
    if len(tables) == 1:
        return first
    labelled = any(table.labels is not None for table in tables)
    index = _joined_index(tables) if labelled else None
    labels = np.concatenate([table.row_labels for table in tables]) if labelled else None
    return replace(
        first,
        native=_joined_native(tables, labelled=labelled),
        labels=labels,
        index=index,
        arbitrary_codes=frozenset().union(*(table.arbitrary_codes for table in tables)),
    )


def _of_its_library(table: Table) -> Table:
    """Return the table with rows of the library that it names: those out of a saved explanation are of pyarrow."""
    rows = table.native
    if table.library not in {"pandas", "polars"} or type(rows).__module__.partition(".")[0] != "pyarrow":
        return table
    if table.library == "polars":
        return replace(table, native=import_library("polars").from_arrow(rows))
    frame = rows.to_pandas()
    return replace(table, native=frame if table.index is None else frame.set_axis(table.index, axis=0))


def _joined_native(tables: Sequence[Table], *, labelled: bool) -> Any:
    library = tables[0].library
    natives = [_with_names(table, tables[0]) for table in tables]
    if tables[0].is_matrix:
        from scipy import sparse

        return sparse.vstack(natives, format="csr")
    if library == "numpy":
        return np.concatenate(natives)
    if library == "pandas":
        return import_library("pandas").concat(natives, ignore_index=not labelled)
    if library == "pyarrow":
        return import_library("pyarrow").concat_tables(natives, promote_options="permissive")
    if library == "polars":
        return import_library("polars").concat(natives, how="vertical_relaxed")
    return nw.to_native(nw.concat([nw.from_native(native, eager_only=True) for native in natives]))


def _with_names(table: Table, first: Table) -> Any:
    """Return the native rows under the native names of the first table: columns belong together by their position here."""
    native, names = table.native, getattr(first.native, "columns", ())
    if table.library == "pandas":
        return native.set_axis(names, axis=1)
    if table.library == "polars":
        return native.rename(dict(zip(native.columns, names, strict=True)))
    return native.rename_columns(first.native.column_names) if table.library == "pyarrow" else native


def _joined_index(tables: Sequence[Table]) -> Any:
    """Return the pandas index of all rows, None where a table has none of its own."""
    if tables[0].library != "pandas":
        return None
    first, *others = (table.native.index if table.index is None else table.index for table in tables)
    return first.append(others)
