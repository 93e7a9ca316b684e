"""New columns like old ones, and new frames: the same library and dtype, other values. The lower half of frames.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.errors import DtypeError, MissingDependencyError, shown

__all__ = ["build_frame", "import_library", "installed", "interleaved", "like_array", "like_series"]


def like_array(dtype: np.dtype[Any], values: Sequence[Any]) -> npt.NDArray[Any]:
    """Return values (None: missing) in `dtype`, or in a wider one where it cannot hold them exactly; floats are rounded to its width."""
    if dtype.kind == "O":
        out = np.empty(len(values), dtype=object)
        out[:] = list(values)
        return out
    new = np.array([np.nan if v is None else v for v in values])
    if new.dtype.kind not in "fiub":
        raise DtypeError(f"an array of {dtype} cannot hold these values: {shown(values)}.")
    with np.errstate(invalid="ignore"):
        kept = new.astype(dtype)
    return kept if dtype.kind == "f" or np.array_equal(kept, new) else new


def like_series(old: Any, values: list[Any], library: str, name: str) -> Any:
    """Return a pandas or polars series, or a pyarrow array, of the old one's dtype; of the values' own dtype where that cannot hold them.

    Raises:
        DtypeError: values that do not go into one column together.
    """
    module = import_module(library)
    error: Exception | None = None
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


def _arrow(pa: Any, old: Any, values: list[Any], dtype: Any) -> Any:
    if dtype is None:
        return pa.array(values)
    if not pa.types.is_dictionary(dtype):
        return pa.array(values, type=dtype) if not pa.types.is_integer(dtype) else pa.array(values).cast(dtype)
    words = old.unify_dictionaries().chunk(0).dictionary  # the codes are some models' input: they stay what they were
    place = {v: i for i, v in enumerate(words.to_pylist())}
    codes = pa.array([None if v is None else place[v] for v in values], type=dtype.index_type)
    return pa.DictionaryArray.from_arrays(codes, words)


def build_frame(
    columns: Mapping[str, npt.NDArray[Any]], *, library: str, labels: npt.NDArray[Any] | None = None
) -> Any:
    """Build a frame of the named library from columns; for ``"numpy"`` and ``"scipy"`` the first installed of pandas, polars, pyarrow.

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
        out = here.copy()
        for p in range(taken.shape[1]):
            both = [frame.iloc[:, p].array for frame in (here, there)]
            out.isetitem(p, type(both[0])._concat_same_type(both).take(picks[:, p]))  # noqa: SLF001  # keeps every dtype, unlike concat
        return out
    frames = [nw.from_native(frame, eager_only=True) for frame in (here, there)]
    schema = frames[0].schema
    if schema != frames[1].schema or any(t in (nw.Categorical, nw.Enum, nw.Unknown) for t in schema.values()):
        return None
    stack = nw.concat(frames)
    return frames[0].with_columns(*(stack[:, p][picks[:, p].tolist()] for p in range(taken.shape[1]))).to_native()
