"""One typed column from any array or frame library: numbers, booleans, categories, text, dates or other objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

import narwhals.stable.v1 as nw
import numpy as np
import numpy.typing as npt

from whybox.data import sparse_rows
from whybox.data.series import category_codes, is_missing
from whybox.errors import DtypeError, quoted_list

__all__ = ["Column", "array_column", "describe_content", "frame_column", "is_plain_dtype", "plain_pandas_column"]

Kind = Literal["number", "boolean", "category", "string", "datetime", "object"]


@final
@dataclass(frozen=True)
class Column:
    """One column, typed.

    ``values`` holds numbers (missing as NaN), ``datetime64``, or Python objects (missing as None). For ``kind == "category"`` it holds
    integer codes into ``categories`` (missing as -1), in the order of the frame's own dtype. ``originals`` are the Python objects of a
    column of objects that hold numbers, where ``values`` are floats.
    """

    name: str
    kind: Kind
    values: npt.NDArray[Any]
    categories: tuple[Any, ...] | None = None
    originals: npt.NDArray[np.object_] | None = None

    def objects(self) -> npt.NDArray[np.object_]:
        """Return the values as Python objects, missing as None."""
        if self.categories is not None:
            category_of_code = np.array([*self.categories, None], dtype=object)
            return np.asarray(category_of_code[self.values])
        cells = self.values.astype(object)
        if self.kind in ("number", "boolean") and self.values.dtype.kind == "f":
            missing = np.isnan(self.values)
            cells = self.values.astype(bool).astype(object) if self.kind == "boolean" else cells
            cells[missing] = None
        return cells


def array_column(name: str, values: npt.NDArray[Any]) -> Column:
    """Type a column of an array."""
    if values.dtype.kind == "b":
        return Column(name, "boolean", values)
    if values.dtype.kind in "fiu":
        return Column(name, "number", values)
    return _object_column(name, values)


def _object_column(name: str, values: npt.NDArray[Any]) -> Column:
    """Type a column of Python objects by its values."""
    missing = np.array([is_missing(v) for v in values], dtype=bool)
    present = values[~missing]
    if len(present) and all(isinstance(v, (bool, np.bool_)) for v in present):
        kind: Kind = "boolean"
    elif all(isinstance(v, (int, float, np.number, bool, np.bool_)) for v in present):
        kind = "number"
    else:
        cells = values.copy()
        cells[missing] = None
        return Column(name, "string" if all(isinstance(v, str) for v in present) else "object", cells)
    numbers = np.full(len(values), np.nan)
    try:
        numbers[~missing] = present.astype(np.float64)
    except OverflowError:
        raise DtypeError(f"column {name!r} holds a whole number that is too large for a float.") from None
    return Column(name, kind, numbers, originals=values)


def is_plain_dtype(dtype: Any, kinds: str = "iuf") -> bool:
    """Whether a dtype of pandas is one of NumPy's own, of these kinds, that every library reads: no float16, none of another byte order."""
    return (
        isinstance(dtype, np.dtype)
        and dtype.kind in kinds
        and dtype.itemsize <= 8
        and dtype != np.float16
        and dtype.isnative
    )


def plain_pandas_column(name: str, series: Any) -> Column | None:
    """Return a pandas column of numbers or booleans in NumPy's own dtypes, as `frame_column` would; None for another dtype."""
    if not is_plain_dtype(series.dtype, "biuf"):
        return None
    return Column(name, "boolean" if series.dtype.kind == "b" else "number", series.to_numpy())


def frame_column(name: str, series: nw.Series[Any]) -> Column:
    """Type a column of a frame by its dtype, or by its values if the dtype is object."""
    dtype = series.dtype
    if dtype == nw.Unknown and sparse_rows.is_sparse_column(series.to_native()):
        series = nw.from_native(series.to_native().sparse.to_dense(), series_only=True)
        dtype = series.dtype
    if dtype == nw.Boolean:
        return _boolean_column(name, series)
    if dtype.is_numeric():
        return Column(name, "number", _numeric_values(series))
    if dtype in (nw.Categorical, nw.Enum):
        codes, categories = category_codes(series.to_native(), series.to_arrow)
        return Column(name, "category", codes, categories)
    # narwhals does not read every time zone of pandas
    time_zone = getattr(getattr(series.to_native(), "dtype", None), "tz", None)
    if time_zone is not None:
        return Column(name, "datetime", series.to_native().dt.tz_convert("UTC").dt.tz_localize(None).to_numpy())
    if dtype in (nw.Datetime, nw.Date, nw.Duration):
        dates = np.asarray(series.to_numpy())
        plain = dates if dates.dtype.kind in "mM" else np.array([None if is_missing(v) else v for v in dates], "M8[us]")
        return Column(name, "datetime", plain)
    values = np.empty(len(series), dtype=object)
    for i, cell in enumerate(series.to_list()):
        values[i] = cell
    return _object_column(name, values)


def _boolean_column(name: str, series: nw.Series[Any]) -> Column:
    if series.null_count():
        return Column(name, "boolean", _numeric_values(series.cast(nw.Int8)))
    return Column(name, "boolean", np.asarray(series.to_numpy(), dtype=bool))


def _numeric_values(series: nw.Series[Any]) -> npt.NDArray[Any]:
    if series.dtype.is_integer() and series.null_count():  # a cast fails on integers beyond 2^53
        out = np.asarray(series.fill_null(0).to_numpy()).astype(np.float64)
        out[np.asarray(series.is_null().to_numpy(), dtype=bool)] = np.nan
        return out
    if series.dtype == nw.Decimal or (series.null_count() and not series.dtype.is_float()):
        series = series.cast(nw.Float64)
    out = np.asarray(series.to_numpy())
    return out if out.dtype.kind in "fiu" else np.array([np.nan if is_missing(v) else v for v in out], dtype=np.float64)


def describe_content(column: Column) -> str:
    """Describe the content of a column that is not numeric, with examples."""
    examples = quoted_list([v for v in column.objects()[:50] if v is not None], most=2)
    several = column.kind == "object" and any(hasattr(v, "__len__") and not isinstance(v, str) for v in column.values)
    what = {"string": "text", "category": "categories", "datetime": "dates", "object": "mixed objects"}[column.kind]
    return ("lists or arrays, of which each number needs a column of its own" if several else what) + (
        f" ({examples})" if examples else ""
    )
