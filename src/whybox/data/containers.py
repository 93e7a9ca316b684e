"""Convert other containers to data frames: dicts, lists of dicts, record batches and their readers, DuckDB relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from whybox.errors import Argument, ColumnsError, EmptyDataError, InputError, did_you_mean, quoted_list

__all__ = ["as_frame", "refuse_levels"]

FRAME_LIBRARIES: Final = ("pandas", "polars", "pyarrow")  # columns without a library go into the first one installed


def as_frame(data: Any, what: str) -> Any:
    """Return rows in another container as a data frame; arrays, frames and everything else unchanged.

    Args:
        data: a dict of columns (or of one row's values), a list of dicts, a pyarrow RecordBatch or RecordBatchReader (which is read to its end), or a
            DuckDB relation (which is run).
        what: what to call it in messages.

    Raises:
        InputError: columns of different lengths, rows with different keys, a reader or query that fails. EmptyDataError: nothing in it.
    """
    if isinstance(data, Mapping):
        return _frame_of_columns(data, what)
    if isinstance(data, (list, tuple)) and data and all(isinstance(row, Mapping) for row in data):
        return _frame_of_records(data, what)
    library, kind = type(data).__module__.partition(".")[0].lstrip("_"), type(data).__name__
    if library == "pyarrow" and kind == "RecordBatch":
        return import_module("pyarrow").Table.from_batches([data])
    if library == "pyarrow" and kind.endswith("RecordBatchReader"):
        return _read_record_batches(data, what)
    if library == "duckdb" and kind == "DuckDBPyRelation":
        try:
            return data.to_arrow_table()
        except Exception as error:  # any error of the query
            raise InputError(
                Argument(what), f" is a DuckDB relation that cannot be run: {_first_line(error)}"
            ) from error
    return data


def refuse_levels(columns: Any, what: str) -> None:
    """Refuse a pandas column index of several levels, with what to write for each library's own names of such columns.

    Raises:
        ColumnsError: it has several.
    """
    if columns.nlevels > 1:
        raise ColumnsError(
            Argument(what),
            " has a column index of several levels; give each column one name. scikit-learn keeps no names of such columns and takes them by position: any names "
            "will do. XGBoost joins the levels with blanks: X.columns = [' '.join(map(str, c)) for c in X.columns]. CatBoost writes them out: "
            "X.columns = [str(c) for c in X.columns].",
        )


def _read_record_batches(reader: Any, what: str) -> Any:
    try:
        table = reader.read_all()
    except Exception as error:  # any error of its source
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


def _frame_of_columns(data: Mapping[Any, Any], what: str) -> Any:
    """A dict from names to columns, or to the values of one row."""
    if not data:
        raise EmptyDataError(Argument(what), " has no columns.")
    scalar_columns = [name for name, values in data.items() if _is_scalar(values)]
    if len(scalar_columns) == len(data):
        return _build_frame({name: [value] for name, value in data.items()}, what)
    if scalar_columns:
        raise InputError(
            Argument(what),
            f": {scalar_columns[0]!r} holds one value, other columns hold several; give each column as many values as there are rows.",
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
        lengths_text = ", ".join(f"{name!r} has {n:,}" for name, n in list(lengths.items())[:6])
        raise InputError(Argument(what), f" has columns of different lengths: {lengths_text}.")
    return _build_frame(data, what)


def _is_scalar(values: Any) -> bool:
    return isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or getattr(values, "shape", None) == ()


def _frame_of_records(data: Sequence[Mapping[Any, Any]], what: str) -> Any:
    """A list of dicts, one a row, all with the same keys."""
    names = list(data[0])
    for i, row in enumerate(data):
        missing, extra = [n for n in names if n not in row], [n for n in row if n not in data[0]]
        if missing:
            raise ColumnsError(
                Argument(what),
                f": row {i:,} lacks {quoted_list(missing)}, which row 0 has.{did_you_mean(missing[0], extra)} Write None where a value is "
                "missing.",
            )
        if extra:
            raise ColumnsError(
                Argument(what),
                f": row {i:,} has {quoted_list(extra)}, which row 0 lacks. Write None where a value is missing.",
            )
    if not names:
        raise EmptyDataError(Argument(what), " has no columns.")
    return _build_frame({name: [row[name] for row in data] for name in names}, what)


def _build_frame(columns: Mapping[Any, Any], what: str) -> Any:
    """A frame in the library of the columns; for plain lists and arrays, in the first library installed."""
    frame_libraries = [
        package for v in columns.values() if (package := type(v).__module__.partition(".")[0]) in FRAME_LIBRARIES
    ]
    library = (
        frame_libraries[0] if frame_libraries else next(name for name in FRAME_LIBRARIES if find_spec(name) is not None)
    )
    if library == "pandas":
        _refuse_other_indexes(columns, what)
    module = import_module(library)
    try:
        return module.table(dict(columns)) if library == "pyarrow" else module.DataFrame(dict(columns))
    except Exception as error:  # each library has its own errors for invalid columns
        raise InputError(Argument(what), f" cannot be made a table: {_first_line(error)}") from error


def _refuse_other_indexes(columns: Mapping[Any, Any], what: str) -> None:
    """Refuse pandas columns with different indexes, which pandas would align by index instead of by position.

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
