"""The lower half of frames.py, which alone calls it: a new column like an old one (the same library and dtype, other values), and tables as they are pickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.errors import DtypeError, shown

__all__ = ["like_array", "like_series", "packed", "unpacked"]


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
