"""Operations on single columns of each frame library, new frames, and pickling of tables; data/table.py is built on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.errors import DtypeError, MissingDependencyError, quoted_list

__all__ = [
    "build_frame",
    "category_codes",
    "cells_at_rows",
    "dtype_of",
    "from_pickle_state",
    "import_library",
    "interleave_cells",
    "is_installed",
    "is_missing",
    "like_array",
    "like_series",
    "same_codes",
    "series_of_cells",
    "set_array_column",
    "shifted_by_one",
    "temporal_series",
    "time_zone_of",
    "to_pickle_state",
    "unify_dictionaries",
    "widen_array",
]


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for a missing value: None, NaN, NaT or pandas.NA."""
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return value is None or value is _pandas_na() or type(value).__name__ == "NaTType"


def _pandas_na() -> Any:
    pandas = sys.modules.get("pandas")
    return pandas.NA if pandas is not None else None


def like_array(dtype: np.dtype[Any], values: Sequence[Any] | npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values as an array of `dtype`, or of a wider dtype if `dtype` cannot hold them exactly; objects stay as they are, floats are rounded."""
    if dtype.kind == "O":
        objects = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            objects[i] = value
        return objects
    plain = isinstance(values, np.ndarray) and values.dtype.kind in "fiub"
    array = np.asarray(values) if plain else np.array([np.nan if is_missing(v) else v for v in values])
    if array.dtype.kind not in "fiub":
        raise DtypeError(f"an array of {dtype} cannot hold these values: {quoted_list(list(values))}.")
    with np.errstate(invalid="ignore"):
        in_dtype = array.astype(dtype)
    return in_dtype if dtype.kind == "f" or np.array_equal(in_dtype, array) else array


def widen_array(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a copy in a wider dtype.

    Raises:
        DtypeError: whole numbers beyond 2^53 that would be rounded.
    """
    out = array.astype(dtype)
    if array.dtype.kind in "iu" and dtype.kind == "f" and not np.array_equal(out.astype(array.dtype), array):
        raise DtypeError(
            f"an array of {array.dtype} holds whole numbers that {dtype} rounds; pass a data frame, or ask for whole numbers only."
        )
    return out


def set_array_column(
    array: npt.NDArray[Any], position: int, values: Sequence[Any] | npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Write values into a column and return the array; a copy in a wider dtype where its own cannot hold them."""
    column = like_array(array.dtype, values)
    dtype = np.result_type(array, column)
    if dtype != array.dtype:
        array = widen_array(array, dtype)
    array[:, position] = column
    return array


def dtype_of(native: Any) -> Any:
    """Return the dtype of a pandas or polars series, or of a pyarrow array."""
    return native.type if hasattr(native, "type") else native.dtype


def time_zone_of(column_dtype: Any) -> Any:
    """Return the time zone of a column's dtype, None where it has none."""
    arrow_dtype = getattr(column_dtype, "pyarrow_dtype", column_dtype)
    return getattr(arrow_dtype, "tz", getattr(arrow_dtype, "time_zone", None))


def temporal_series(template: Any, values: npt.NDArray[Any], library: str) -> Any:
    """Return datetime64 (UTC if `template` has a time zone) or timedelta64 values as a column in the library and time zone of `template`, in their own unit."""
    module, time_zone = import_module(library), time_zone_of(dtype_of(template))
    if library == "pandas":
        series = module.Series(values, index=template.index[: len(values)])
        series = series if time_zone is None else series.dt.tz_localize("UTC").dt.tz_convert(time_zone)
        return series.astype(template.dtype) if hasattr(template.dtype, "pyarrow_dtype") else series
    if library == "polars":
        series = module.Series(
            values.astype(f"{values.dtype.kind}8[ms]") if values.dtype.name.endswith("[s]") else values
        )
        return series if time_zone is None else series.dt.replace_time_zone("UTC").dt.convert_time_zone(time_zone)
    series = module.array(values)
    return module.chunked_array(
        [series if time_zone is None else series.cast(module.timestamp(series.type.unit, time_zone))]
    )


def like_series(template: Any, values: Sequence[Any] | npt.NDArray[Any], library: str, name: str) -> Any:
    """Return values as a pandas or polars series, or a pyarrow array, of the dtype of `template`, or of their own dtype if that cannot hold them.

    Numbers of an array go into a pandas column of numbers without a look at each one.

    Raises:
        DtypeError: the values do not fit into one column.
    """
    module = import_module(library)
    dtype = getattr(template, "dtype", None)
    floats = isinstance(values, np.ndarray) and values.dtype == np.float64
    if library == "pandas" and floats and isinstance(dtype, np.dtype) and dtype.kind in "fiu":
        return module.Series(like_array(dtype, values), index=template.index[: len(values)])
    last_error: Exception | None = None
    values = [v if _keeps_missing_as_is(template, v, library) else None for v in values]
    if any(isinstance(v, (np.datetime64, np.timedelta64)) for v in values):
        dates = np.array([np.datetime64("NaT") if v is None else v for v in values])
        try:
            return temporal_series(template, dates, library)
        except Exception as error:  # as below
            raise DtypeError(
                f"column {name!r} cannot hold these values: {quoted_list(list(values))} ({error})."
            ) from error
    for dtype in (template.type if library == "pyarrow" else template.dtype, None):
        try:
            if library == "pandas":
                return module.Series(values, dtype=dtype, index=template.index[: len(values)])
            if library == "polars":
                return module.Series(values, dtype=dtype, strict=True)
            return module.chunked_array([_arrow_array(module, template, values, dtype)])
        except Exception as error:  # each library has errors of its own for what a dtype cannot hold
            last_error = error
    raise DtypeError(
        f"column {name!r} cannot hold these values: {quoted_list(list(values))} ({last_error})."
    ) from last_error


def _keeps_missing_as_is(template: Any, value: Any, library: str) -> bool:
    """Whether a value is stored unchanged: any value that is not missing, any value in an object column, and NaN in float columns that also have null."""
    if not is_missing(value):
        return True
    if library == "pandas":
        return bool(template.dtype == object)
    return isinstance(value, float) and str(dtype_of(template)).lower() in (
        "float",
        "double",
        "halffloat",
        "float32",
        "float64",
    )


def _arrow_array(pa: Any, template: Any, values: list[Any], dtype: Any) -> Any:
    if dtype is None:
        return pa.array(values)
    if not pa.types.is_dictionary(dtype):
        return pa.array(values, type=dtype) if not pa.types.is_integer(dtype) else pa.array(values).cast(dtype)
    # some models read the codes, so they must not change
    categories = template.unify_dictionaries().chunk(0).dictionary
    code_of = {v: i for i, v in enumerate(categories.to_pylist())}
    codes = pa.array([None if v is None else code_of[v] for v in values], type=dtype.index_type)
    return pa.DictionaryArray.from_arrays(codes, categories)


def series_of_cells(cells: Sequence[Any], library: str, name: str) -> Any:
    """Return cells (None: missing) as a pandas or polars series, or a pyarrow array, in the dtype that the library infers.

    Raises:
        DtypeError: the cells do not fit into one column.
    """
    module = import_module(library)
    try:
        return module.chunked_array([module.array(cells)]) if library == "pyarrow" else module.Series(cells)
    except Exception as error:  # each library has errors of its own
        raise DtypeError(
            f"column {name!r} cannot hold these values together: {quoted_list(cells)} ({error})."
        ) from error


def same_codes(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether the shorter of two lists of categories is the beginning of the longer one, so that common categories have the same codes."""
    return all(x == y for x, y in zip(a, b, strict=False))


def unify_dictionaries(frame: Any, library: str) -> tuple[Any, frozenset[str]]:
    """Give each dictionary column of an Arrow table one dictionary for all its chunks; also return the columns whose codes are arbitrary.

    Codes are arbitrary if chunks give one category different codes, and in a polars Categorical, which numbers categories in order of appearance.
    """
    module = import_module(library) if library in ("pyarrow", "polars") else None
    if library == "polars" and module is not None:
        return frame, frozenset(n for n, t in frame.schema.items() if t == module.Categorical)
    if module is None:
        return frame, frozenset()
    arbitrary_codes = set()
    for position, field in enumerate(frame.schema):
        column = frame.column(position)
        # a polars Categorical exported to Arrow
        if any(key.startswith(b"_PL_CATEGORICAL") for key in field.metadata or ()):
            arbitrary_codes.add(field.name)
        if not module.types.is_dictionary(field.type) or column.num_chunks < 2:
            continue
        dictionaries = [chunk.dictionary.to_pylist() for chunk in column.chunks if len(chunk)]
        if all(dictionary == dictionaries[0] for dictionary in dictionaries):
            continue
        if not all(same_codes(a, b) for a in dictionaries for b in dictionaries):
            arbitrary_codes.add(field.name)
        frame = frame.set_column(position, field, column.unify_dictionaries())
    return frame, frozenset(arbitrary_codes)


def category_codes(native: Any, to_arrow: Callable[[], Any]) -> tuple[npt.NDArray[np.int64], tuple[Any, ...]]:
    """Return the codes (missing: -1) and the categories of a categorical series."""
    if hasattr(native, "cat") and hasattr(native.cat, "codes"):
        return native.cat.codes.to_numpy().astype(np.int64), tuple(native.cat.categories.tolist())
    import pyarrow as pa

    arrow_array = to_arrow()
    if isinstance(arrow_array, pa.ChunkedArray):
        arrow_array = arrow_array.unify_dictionaries().combine_chunks()
    if isinstance(arrow_array, pa.ChunkedArray):
        arrow_array = arrow_array.chunk(0) if arrow_array.num_chunks else pa.array([], type=arrow_array.type)
    if not isinstance(arrow_array, pa.DictionaryArray):
        arrow_array = arrow_array.dictionary_encode()
    codes = arrow_array.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, tuple(arrow_array.dictionary.to_pylist())


def build_frame(columns: Mapping[str, npt.NDArray[Any]], *, library: str, labels: Any = None) -> Any:
    """Build a frame of the named library from columns; for ``"numpy"`` and ``"scipy"`` the first installed of pandas, polars, pyarrow.

    `labels`, an array or a pandas Index, label the rows where the library has row labels.

    Raises:
        MissingDependencyError: the library is not installed.
    """
    if library in ("numpy", "scipy"):
        library = next((name for name in ("pandas", "polars") if is_installed(name)), "pyarrow")
    if library == "pandas":
        pandas = import_library("pandas")
        return pandas.DataFrame(dict(columns), index=labels)
    if library == "polars":
        return import_library("polars").DataFrame({k: _list_if_objects(v) for k, v in columns.items()})
    if library == "pyarrow":
        return import_library("pyarrow").table({k: _list_if_objects(v) for k, v in columns.items()})
    backend = import_library(library)
    return nw.from_dict({k: _list_if_objects(v) for k, v in columns.items()}, backend=backend).to_native()


def _list_if_objects(values: npt.NDArray[Any]) -> Any:
    return values.tolist() if values.dtype == object else values


def is_installed(name: str) -> bool:
    """Whether a package is installed, without importing it."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def import_library(name: str) -> Any:
    """Import a frame library.

    Raises:
        MissingDependencyError: the library is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise MissingDependencyError(name, f"returning a {name} frame") from None


def interleave_cells(rows: Any, donors: Any, from_donor: npt.NDArray[np.bool_], library: str) -> Any:
    """Return a frame with the cells of `donors` where `from_donor`, (rows, columns), else those of `rows`; None where their columns differ in dtype."""
    n_rows = len(from_donor)
    row_indices = np.where(from_donor, n_rows, 0) + np.arange(n_rows)[:, None]
    if library == "pandas":
        dtypes = list(rows.dtypes)
        if dtypes != list(donors.dtypes):
            return None
        out = rows.copy()
        if len(set(dtypes)) == 1 and isinstance(dtypes[0], np.dtype) and dtypes[0].kind in "fiub":
            # at once: column by column takes 30 times as long
            out.iloc[:, :] = np.where(from_donor, donors.to_numpy(), rows.to_numpy())
            return out
        series = import_library("pandas").Series  # unlike DataFrame, it keeps None in a column of objects
        for position, dtype in enumerate(dtypes):
            arrays = [frame.iloc[:, position].array for frame in (rows, donors)]
            cells = type(arrays[0])._concat_same_type(arrays).take(row_indices[:, position])  # noqa: SLF001  # keeps every dtype, unlike concat
            out.isetitem(position, series(cells, index=out.index, dtype=dtype))
        return out
    frames = [nw.from_native(frame, eager_only=True) for frame in (rows, donors)]
    schema = frames[0].schema
    if schema != frames[1].schema or any(t in (nw.Categorical, nw.Enum, nw.Unknown) for t in schema.values()):
        return None
    stack = nw.concat(frames)
    return (
        frames[0]
        .with_columns(
            *(stack[:, position][row_indices[:, position].tolist()] for position in range(from_donor.shape[1]))
        )
        .to_native()
    )


def shifted_by_one(series: nw.Series[Any]) -> nw.Series[Any]:
    """Return a column of numbers with each changed by one: whole numbers towards zero, because some libraries refuse to overflow."""
    towards_zero = series.dtype.is_integer() and (series.max() or 0) > 0
    return (series - 1 if towards_zero else series + 1).cast(series.dtype)


def cells_at_rows(frame: Any, rows: npt.NDArray[np.int64], library: str) -> Any:
    """Return a frame of which each cell comes from a row of its own: cell (i, j) is that of row ``rows[i, j]``; `rows` is (any number, columns)."""
    if library == "pandas" and _is_one_array_of_numbers(frame):
        return type(frame)(np.take_along_axis(frame.to_numpy(), rows, axis=0), columns=frame.columns)
    if library == "pandas":
        native = frame.iloc[rows[:, 0]].reset_index(drop=True)
        for position in range(1, rows.shape[1]):
            native.isetitem(position, frame.iloc[:, position].iloc[rows[:, position]].set_axis(native.index))
        return native
    cells = nw.from_native(frame, eager_only=True)
    columns = [cells[:, position][rows[:, position].tolist()] for position in range(rows.shape[1])]
    first = cells[[0] * len(rows), :]  # as many rows, with the dtypes of the frame
    return first.select(*columns).to_native()


def _is_one_array_of_numbers(frame: Any) -> bool:
    """Whether all columns of a pandas frame are numbers of one dtype of NumPy, which one array holds as they are."""
    kinds = set(frame.dtypes)
    return len(kinds) == 1 and all(isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in kinds)


def to_pickle_state(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a table for pickling.

    A slice of a pyarrow table is stored as the bytes of its own rows, because its own pickle would contain all buffers of the whole table. (Arrays,
    pandas and polars store their own rows only.) Row labels equal to the frame's own index are stored once, in the frame.
    """
    state = {name: value for name, value in fields.items() if name != "row_labels"}  # a cached value
    native, labels = state["native"], state["labels"]
    if state["library"] == "pyarrow":
        pa = import_module("pyarrow")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, native.schema) as writer:
            writer.write_table(native)
        state["native"] = sink.getvalue().to_pybytes()
    if state["library"] == "pandas" and labels is not None:
        index_labels = native.index.to_numpy()
        if (
            index_labels.dtype == labels.dtype
            and index_labels.shape == labels.shape
            and bool(np.all(index_labels == labels))
        ):
            state |= {"labels": None, "labelled by index": True}
    return state


def from_pickle_state(pickled: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that :func:`to_pickle_state` was given."""
    fields = dict(pickled)
    if fields["library"] == "pyarrow":
        fields["native"] = import_module("pyarrow").ipc.open_stream(fields["native"]).read_all()
    if fields.pop("labelled by index", False):
        fields["labels"] = fields["native"].index.to_numpy()
    return fields
