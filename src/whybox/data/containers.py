"""Rows in other containers than arrays and frames: dicts, lists of dicts, record batches and their readers, DuckDB relations. The way into data/table.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from whybox.errors import Argument, ColumnsError, EmptyDataError, InputError, did_you_mean, shown

__all__ = ["as_frame"]

FRAMES: Final = ("pandas", "polars", "pyarrow")  # the first one installed holds what comes without a library


def as_frame(data: Any, what: str) -> Any:
    """Return rows in another container as a data frame; arrays, frames and everything else as they are.

    Args:
        data: a dict of columns (or of one row's values), a list of dicts, a pyarrow RecordBatch or RecordBatchReader (which is read to its end), or a
            DuckDB relation (which is run).
        what: what to call it in messages.

    Raises:
        InputError: columns of different lengths, rows with different keys, a reader or query that fails. EmptyDataError: nothing in it.
    """
    if isinstance(data, Mapping):
        return _of_columns(data, what)
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Mapping) for row in data):
        return _of_rows(data, what)
    library, kind = type(data).__module__.partition(".")[0].lstrip("_"), type(data).__name__
    if library == "pyarrow" and kind == "RecordBatch":
        return import_module("pyarrow").Table.from_batches([data])
    if library == "pyarrow" and kind.endswith("RecordBatchReader"):
        return _read(data, what)
    if library == "duckdb" and kind == "DuckDBPyRelation":
        try:
            return data.to_arrow_table()
        except Exception as error:  # whatever the query meets
            raise InputError(
                Argument(what), f" is a DuckDB relation that cannot be run: {_first_line(error)}"
            ) from error
    return data


def _read(reader: Any, what: str) -> Any:
    try:
        table = reader.read_all()
    except Exception as error:  # whatever its source meets
        raise InputError(
            Argument(what), f" is a RecordBatchReader that cannot be read: {_first_line(error)}"
        ) from error
    if not table.num_rows:
        raise EmptyDataError(
            Argument(what),
            " has no rows: a RecordBatchReader gives its rows once, and this one is empty or was read before. Keep them with "
            "reader.read_all().",
        )
    return table


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _of_columns(data: Mapping[Any, Any], what: str) -> Any:
    """A dict from names to columns, or to the values of one row."""
    if not data:
        raise EmptyDataError(Argument(what), " has no columns.")
    single = [name for name, values in data.items() if _is_one_value(values)]
    if len(single) == len(data):
        return _frame({name: [value] for name, value in data.items()}, what)
    if single:
        raise InputError(
            Argument(what),
            f": {single[0]!r} holds one value, other columns hold several; give each column as many values as there are rows.",
        )
    for name, values in data.items():
        if isinstance(values, (Mapping, set, frozenset)) or len(getattr(values, "shape", (len(values),))) != 1:
            raise InputError(
                Argument(what),
                f": column {name!r} is a {type(values).__name__} that is no list of values; give a list, an array of one dimension or a "
                "series.",
            )
    lengths = {name: len(values) for name, values in data.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {n:,}" for name, n in list(lengths.items())[:6])
        raise InputError(Argument(what), f" has columns of different lengths: {told}.")
    return _frame(data, what)


def _is_one_value(values: Any) -> bool:
    return isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or getattr(values, "shape", None) == ()


def _of_rows(data: Sequence[Mapping[Any, Any]], what: str) -> Any:
    """A list of dicts, one a row, all with the same keys."""
    names = list(data[0])
    for i, row in enumerate(data):
        missing, more = [n for n in names if n not in row], [n for n in row if n not in data[0]]
        if missing:
            raise ColumnsError(
                Argument(what),
                f": row {i:,} lacks {shown(missing)}, which row 0 has.{did_you_mean(missing[0], more)} Write None where a value is missing.",
            )
        if more:
            raise ColumnsError(
                Argument(what),
                f": row {i:,} has {shown(more)}, which row 0 lacks. Write None where a value is missing.",
            )
    if not names:
        raise EmptyDataError(Argument(what), " has no columns.")
    return _frame({name: [row[name] for row in data] for name in names}, what)


def _frame(columns: Mapping[Any, Any], what: str) -> Any:
    """A frame of the library that the columns are of; of plain lists and arrays, of the first one installed."""
    own = [root for v in columns.values() if (root := type(v).__module__.partition(".")[0]) in FRAMES]
    library = own[0] if own else next(name for name in FRAMES if find_spec(name) is not None)
    if library == "pandas":
        _refuse_other_indexes(columns, what)
    module = import_module(library)
    try:
        return module.table(dict(columns)) if library == "pyarrow" else module.DataFrame(dict(columns))
    except Exception as error:  # each library has errors of its own for values that are no column
        raise InputError(Argument(what), f" cannot be made a table: {_first_line(error)}") from error


def _refuse_other_indexes(columns: Mapping[Any, Any], what: str) -> None:
    """Columns with indexes of their own would be matched by them, and rows fall apart.

    Raises:
        InputError: two columns have different indexes.
    """
    indexed = {name: v.index for name, v in columns.items() if hasattr(getattr(v, "index", None), "equals")}
    first = next(iter(indexed.items()), None)
    for name, index in indexed.items():
        if first is not None and not index.equals(first[1]):
            raise InputError(
                Argument(what), f": the columns {first[0]!r} and {name!r} have different indexes; pass a data frame."
            )
