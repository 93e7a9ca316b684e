"""Labels of an axis: finding one among them, and writing them to a file so that they come back as they were."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from whybox.core.label_choice import matching_positions
from whybox.data.table import is_missing
from whybox.errors import ExplanationFileError, OptionError, did_you_mean

__all__ = ["as_index", "one_position", "positions_of_label", "read_label", "write_label"]


def one_position(dim: str, key: Any, array: npt.NDArray[Any]) -> int:
    """Return the position of a label.

    Raises:
        OptionError: no label is called so, or several are.
    """
    positions = positions_of_label(array, key)
    if not len(positions) and dim != "row":
        positions = np.array(matching_positions(key, array.tolist()), dtype=np.intp)
    key = key.item() if isinstance(key, (np.bool_, np.number)) else key
    if not len(positions):
        raise OptionError(f"{dim} {key!r} is not there.{did_you_mean(key, array.tolist())}")
    if len(positions) > 1:
        raise OptionError(
            f"{len(positions)} entries of the axis {dim} are called {key!r}; take them by position, for example e[{int(positions[0])}]."
        )
    return int(positions[0])


def positions_of_label(array: npt.NDArray[Any], key: Any) -> npt.NDArray[np.intp]:
    """Return the positions of the labels equal to `key`; text is read as a date where labels are dates."""
    if not isinstance(key, tuple) and is_missing(key):
        return np.flatnonzero([not isinstance(v, tuple) and is_missing(v) for v in array])
    if array.dtype.kind in "Mm":
        wanted = _as_date(key, array.dtype.kind)
        return np.empty(0, np.intp) if wanted is None else np.flatnonzero(array == wanted)
    labels = array.tolist()
    if isinstance(key, str):
        return np.array([i for i, v in enumerate(labels) if isinstance(v, str) and v == key], dtype=np.intp)
    return np.array([i for i, v in enumerate(labels) if _labels_equal(v, key)], dtype=np.intp)


def _as_date(key: Any, kind: str) -> Any:
    """A date (kind M) or a span of time (m) as numpy has it; None for anything else, and for dates of a time zone."""
    number = isinstance(key, (int, float)) or (isinstance(key, np.generic) and key.dtype.kind in "iuf")
    if number or getattr(key, "tzinfo", None) is not None:
        return None
    try:
        converted = (
            key.to_numpy() if hasattr(key, "to_numpy") else (np.datetime64 if kind == "M" else np.timedelta64)(key)
        )
    except (TypeError, ValueError):
        return None
    return converted if getattr(converted, "dtype", np.dtype(object)).kind == kind else None


def _labels_equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_labels_equal, a, b))
    if isinstance(a, tuple) or isinstance(b, tuple):
        return False
    if is_missing(a) or is_missing(b):
        return is_missing(a) and is_missing(b)
    return bool(isinstance(a, (bool, np.bool_)) == isinstance(b, (bool, np.bool_)) and a == b)


# Kinds of labels that JSON has no words for: how each is written, and read back.
_LABEL_KINDS: Final[dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "datetime": (dt.datetime, lambda v: v.isoformat(), dt.datetime.fromisoformat),
    "date": (dt.date, lambda v: v.isoformat(), dt.date.fromisoformat),
    "time": (dt.time, lambda v: v.isoformat(), dt.time.fromisoformat),
    "days": (
        dt.timedelta,
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda v: dt.timedelta(*v),
    ),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
}


def write_label(value: Any) -> Any:
    """Return a label as JSON has it: text, numbers, truth values and None as they are, other kinds with their name, and the rest as text."""
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
        value = value.item()
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, tuple):
        return {"tuple": [write_label(v) for v in value]}
    if is_missing(value):  # NaT, pandas.NA
        return None
    if isinstance(value, (np.datetime64, np.timedelta64)):
        unit, count = np.datetime_data(value.dtype)
        return {value.dtype.kind: [int(value.astype(np.int64)), f"{count}{unit}"]}
    for name, (kind, write, _) in _LABEL_KINDS.items():
        if isinstance(value, kind):
            return {name: write(value)}
    return str(value)


def read_label(value: Any) -> Any:
    """Return the label that :func:`write_label` wrote.

    Raises:
        ExplanationFileError: it wrote no such thing.
    """
    if not isinstance(value, dict):
        return value
    ((name, inner),) = value.items()
    if name == "tuple":
        return tuple(read_label(v) for v in inner)
    if name == "M":
        return np.datetime64(*inner)
    if name == "m":
        return np.timedelta64(*inner)
    if name not in _LABEL_KINDS:
        raise ExplanationFileError(f"a label of the kind {name!r} is not known to this version of whybox.")
    return _LABEL_KINDS[name][2](inner)


def as_index(arrow: Any) -> Any:
    """Return the pandas Index whose levels are the columns of an Arrow table, as save.py writes it."""
    import pandas as pd

    about = json.loads(arrow.schema.metadata[b"whybox"])
    names = [read_label(n) for n in about["names"]]
    levels = [pd.Index(column) for _, column in arrow.to_pandas().items()]
    if len(levels) != len(names) or (len(levels) != 1 and not about["several"]):
        raise ExplanationFileError("the row labels have other levels than names; the file is damaged.")
    return pd.MultiIndex.from_arrays(levels, names=names) if about["several"] else levels[0].rename(names[0])
