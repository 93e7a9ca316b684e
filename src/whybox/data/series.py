"""Single columns of each frame library (a new one like an old one, one dictionary for all chunks), new frames, pickles of tables: the lower half of data/table.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.errors import DtypeError, MissingDependencyError, shown

__all__ = [
    "as_zoned",
    "build_frame",
    "category_codes",
    "dtype_of",
    "import_library",
    "installed",
    "interleaved",
    "is_missing",
    "like_array",
    "like_series",
    "one_dictionary",
    "packed",
    "same_codes",
    "series_of_cells",
    "unpacked",
    "widened",
    "zone_of",
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


def like_array(dtype: np.dtype[Any], values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return values in `dtype` (objects as they are), or in a wider one where it cannot hold them exactly; floats are rounded to its width."""
    if dtype.kind == "O":
        out = np.empty(len(values), dtype=object)
        for i, value in enumerate(values):
            out[i] = value
        return out
    new = np.array([np.nan if is_missing(v) else v for v in values])
    if new.dtype.kind not in "fiub":
        raise DtypeError(f"an array of {dtype} cannot hold these values: {shown(values)}.")
    with np.errstate(invalid="ignore"):
        kept = new.astype(dtype)
    return kept if dtype.kind == "f" or np.array_equal(kept, new) else new


def widened(array: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
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


def dtype_of(native: Any) -> Any:
    """Return the dtype of a pandas or polars series, or of a pyarrow array."""
    return native.type if hasattr(native, "type") else native.dtype


def zone_of(dtype: Any) -> Any:
    """Return the time zone of a column's dtype, None where it has none."""
    arrow = getattr(dtype, "pyarrow_dtype", dtype)
    return getattr(arrow, "tz", getattr(arrow, "time_zone", None))


def as_zoned(old: Any, values: npt.NDArray[Any], library: str) -> Any:
    """Return datetime64 (of a column with a time zone: in UTC) or timedelta64 as a series or array like the old one, in its zone and in their own unit."""
    module, zone = import_module(library), zone_of(dtype_of(old))
    if library == "pandas":
        made = module.Series(values, index=old.index[: len(values)])
        made = made if zone is None else made.dt.tz_localize("UTC").dt.tz_convert(zone)
        return made.astype(old.dtype) if hasattr(old.dtype, "pyarrow_dtype") else made
    if library == "polars":
        made = module.Series(
            values.astype(f"{values.dtype.kind}8[ms]") if values.dtype.name.endswith("[s]") else values
        )
        return made if zone is None else made.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    made = module.array(values)
    return module.chunked_array([made if zone is None else made.cast(module.timestamp(made.type.unit, zone))])


def like_series(old: Any, values: list[Any], library: str, name: str) -> Any:
    """Return a pandas or polars series, or a pyarrow array, of the old one's dtype; of the values' own dtype where that cannot hold them.

    Raises:
        DtypeError: values that do not go into one column together.
    """
    module = import_module(library)
    error: Exception | None = None
    values = [v if _as_given(old, v, library) else None for v in values]
    if any(isinstance(v, (np.datetime64, np.timedelta64)) for v in values):
        dates = np.array([np.datetime64("NaT") if v is None else v for v in values])
        try:
            return as_zoned(old, dates, library)
        except Exception as said:  # as below
            raise DtypeError(f"column {name!r} cannot hold these values: {shown(values)} ({said}).") from said
    for dtype in (old.type if library == "pyarrow" else old.dtype, None):
        try:
            if library == "pandas":
                return module.Series(values, dtype=dtype, index=old.index[: len(values)])
            if library == "polars":
                return module.Series(values, dtype=dtype, strict=True)
            return module.chunked_array([_arrow(module, old, values, dtype)])
        except Exception as said:  # each library has errors of its own for what a dtype cannot hold
            error = said
    raise DtypeError(f"column {name!r} cannot hold these values: {shown(values)} ({error}).") from error


def _as_given(old: Any, value: Any, library: str) -> bool:
    """Whether a value goes into the column as it is: all do that are there, into objects all, and NaN into floats that know null beside it."""
    if not is_missing(value):
        return True
    if library == "pandas":
        return bool(old.dtype == object)
    return isinstance(value, float) and str(dtype_of(old)).lower() in (
        "float",
        "double",
        "halffloat",
        "float32",
        "float64",
    )


def _arrow(pa: Any, old: Any, values: list[Any], dtype: Any) -> Any:
    if dtype is None:
        return pa.array(values)
    if not pa.types.is_dictionary(dtype):
        return pa.array(values, type=dtype) if not pa.types.is_integer(dtype) else pa.array(values).cast(dtype)
    words = old.unify_dictionaries().chunk(0).dictionary  # the codes are some models' input: they stay what they were
    place = {v: i for i, v in enumerate(words.to_pylist())}
    codes = pa.array([None if v is None else place[v] for v in values], type=dtype.index_type)
    return pa.DictionaryArray.from_arrays(codes, words)


def series_of_cells(cells: Sequence[Any], library: str, name: str) -> Any:
    """Return a pandas or polars series, or a pyarrow array, of these cells (None: missing), in the dtype that the library finds for them.

    Raises:
        DtypeError: cells that do not go into one column together.
    """
    module = import_module(library)
    try:
        return module.chunked_array([module.array(cells)]) if library == "pyarrow" else module.Series(cells)
    except Exception as error:  # each library has errors of its own
        raise DtypeError(f"column {name!r} cannot hold these values together: {shown(cells)} ({error}).") from error


def same_codes(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two lists of categories give every category that both have the same code, the shorter one going on as the longer one does."""
    return all(x == y for x, y in zip(a, b, strict=False))


def one_dictionary(frame: Any, library: str) -> tuple[Any, frozenset[str]]:
    """Give each dictionary column of an Arrow table one dictionary for all its chunks; also name the columns whose codes nobody chose.

    Those are columns of which chunks give a category different codes, and the Categorical of polars, whose codes count categories as they were met.
    """
    module = import_module(library) if library in ("pyarrow", "polars") else None
    if library == "polars" and module is not None:
        return frame, frozenset(n for n, t in frame.schema.items() if t == module.Categorical)
    if module is None:
        return frame, frozenset()
    changed = set()
    for at, field in enumerate(frame.schema):
        column = frame.column(at)
        if any(
            key.startswith(b"_PL_CATEGORICAL") for key in field.metadata or ()
        ):  # a Categorical of polars, come by way of Arrow
            changed.add(field.name)
        if not module.types.is_dictionary(field.type) or column.num_chunks < 2:
            continue
        lists = [chunk.dictionary.to_pylist() for chunk in column.chunks if len(chunk)]
        if all(words == lists[0] for words in lists):
            continue
        if not all(same_codes(a, b) for a in lists for b in lists):
            changed.add(field.name)
        frame = frame.set_column(at, field, column.unify_dictionaries())
    return frame, frozenset(changed)


def category_codes(native: Any, to_arrow: Callable[[], Any]) -> tuple[npt.NDArray[np.int64], tuple[Any, ...]]:
    """Return the codes (missing: -1) and the categories of a categorical series."""
    if hasattr(native, "cat") and hasattr(native.cat, "codes"):
        return native.cat.codes.to_numpy().astype(np.int64), tuple(native.cat.categories.tolist())
    import pyarrow as pa

    arrow = to_arrow()
    if isinstance(arrow, pa.ChunkedArray):
        arrow = arrow.unify_dictionaries().combine_chunks()
    if isinstance(arrow, pa.ChunkedArray):
        arrow = arrow.chunk(0) if arrow.num_chunks else pa.array([], type=arrow.type)
    if not isinstance(arrow, pa.DictionaryArray):
        arrow = arrow.dictionary_encode()
    codes = arrow.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, tuple(arrow.dictionary.to_pylist())


def build_frame(columns: Mapping[str, npt.NDArray[Any]], *, library: str, labels: Any = None) -> Any:
    """Build a frame of the named library from columns; for ``"numpy"`` and ``"scipy"`` the first installed of pandas, polars, pyarrow.

    `labels`, an array or a pandas Index, label the rows where the library has row labels.

    Raises:
        MissingDependencyError: the library is not installed.
    """
    if library in ("numpy", "scipy"):
        library = next((name for name in ("pandas", "polars") if installed(name)), "pyarrow")
    if library == "pandas":
        pd = import_library("pandas")
        return pd.DataFrame(dict(columns), index=labels)
    if library == "polars":
        return import_library("polars").DataFrame({k: _plain(v) for k, v in columns.items()})
    if library == "pyarrow":
        return import_library("pyarrow").table({k: _plain(v) for k, v in columns.items()})
    backend = import_library(library)
    return nw.from_dict({k: _plain(v) for k, v in columns.items()}, backend=backend).to_native()


def _plain(values: npt.NDArray[Any]) -> Any:
    return values.tolist() if values.dtype == object else values


def installed(name: str) -> bool:
    """Whether a package is there, without importing it."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def import_library(name: str) -> Any:
    """Import a frame library.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise MissingDependencyError(name, f"returning a {name} frame") from None


def interleaved(here: Any, there: Any, taken: npt.NDArray[np.bool_], library: str) -> Any:
    """Return a frame with the cells of `there` where `taken`, (rows, columns), else those of `here`; None where their columns differ in dtype."""
    n = len(taken)
    picks = np.where(taken, n, 0) + np.arange(n)[:, None]
    if library == "pandas":
        if list(here.dtypes) != list(there.dtypes):
            return None
        out, series = (
            here.copy(),
            import_library("pandas").Series,
        )  # which leaves a None in a column of objects as it is
        for p in range(taken.shape[1]):
            both = [frame.iloc[:, p].array for frame in (here, there)]
            cells = type(both[0])._concat_same_type(both).take(picks[:, p])  # noqa: SLF001  # keeps every dtype, unlike concat
            out.isetitem(p, series(cells, index=out.index, dtype=here.dtypes.iloc[p]))
        return out
    frames = [nw.from_native(frame, eager_only=True) for frame in (here, there)]
    schema = frames[0].schema
    if schema != frames[1].schema or any(t in (nw.Categorical, nw.Enum, nw.Unknown) for t in schema.values()):
        return None
    stack = nw.concat(frames)
    return frames[0].with_columns(*(stack[:, p][picks[:, p].tolist()] for p in range(taken.shape[1]))).to_native()


def packed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's fields as they are pickled.

    A pyarrow table that was cut from another goes as the bytes of its own rows: pickled itself, it would take all buffers of the other along. (Arrays,
    pandas and polars take their own rows alone.) Row labels that are the frame's own index are left to the frame.
    """
    out = {name: value for name, value in fields.items() if name != "row_labels"}  # which is only kept
    native, labels = out["native"], out["labels"]
    if out["library"] == "pyarrow":
        pa = import_module("pyarrow")
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, native.schema) as writer:
            writer.write_table(native)
        out["native"] = sink.getvalue().to_pybytes()
    if out["library"] == "pandas" and labels is not None:
        own = native.index.to_numpy()
        if own.dtype == labels.dtype and own.shape == labels.shape and bool(np.all(own == labels)):
            out |= {"labels": None, "labelled by index": True}
    return out


def unpacked(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that :func:`packed` was given."""
    out = dict(state)
    if out["library"] == "pyarrow":
        out["native"] = import_module("pyarrow").ipc.open_stream(out["native"]).read_all()
    if out.pop("labelled by index", False):
        out["labels"] = out["native"].index.to_numpy()
    return out
