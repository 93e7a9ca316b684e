"""Explanations as they are pickled for another process: values, own rows and evidence, without the model or the table they were cut from.

For files use save.py: reading a pickle runs whatever is in it.
"""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

import numpy as np

from whybox.data.table import Table

__all__ = ["deep_copy", "from_pickled_state", "pickled_state"]

_Any = TypeVar("_Any")
MAPPING_FIELDS: Final = ("coords", "players", "extras")
FREE_STEPS: Final = 2**13  # numbers of a curve's step function that always go along: 64 KiB
STEPS_SHARE: Final = 0.125  # more go along only as this share of the values


def pickled_state(e: Any) -> dict[str, Any]:
    """Return the fields of an explanation as they are pickled.

    Row labels that the rows have themselves are left out, and a curve that still has its model keeps what it knows without it, as in a file.
    """
    out = {f.name: getattr(e, f.name) for f in fields(e)}
    out |= {name: dict(out[name]) for name in MAPPING_FIELDS}
    if e.data is not None and "row" in e.coords and _same_labels(e.coords["row"], e.data):
        out["coords"]["row"] = None
    most = max(FREE_STEPS, int(STEPS_SHARE * e.values.size))
    out["again"] = None if e.again is None else e.again.saved_curve(most)
    return out


def from_pickled_state(kind: type[_Any], saved_state: dict[str, Any]) -> _Any:
    """Return the explanation whose fields :func:`pickled_state` returned; `kind` is its class."""
    coords, data = saved_state["coords"], saved_state["data"]
    if coords.get("row", ...) is None:
        saved_state = {**saved_state, "coords": {**coords, "row": data.row_labels}}
    return kind(**saved_state)


def deep_copy(e: Any, memo: dict[int, Any]) -> Any:
    """Return an explanation with arrays and rows of its own; a curve keeps its model, which is not copied."""
    fields_to_copy = {f.name: getattr(e, f.name) for f in fields(e) if f.name != "again"}
    fields_to_copy |= {name: dict(fields_to_copy[name]) for name in MAPPING_FIELDS}
    copied = replace(e, **copy.deepcopy(fields_to_copy, memo))
    memo[id(e)] = copied
    return copied


def _same_labels(labels: Any, rows: Table) -> bool:
    """Whether the labels are those of the rows, entry by entry and in type."""
    own_labels = rows.row_labels
    return own_labels is labels or (
        own_labels.dtype == labels.dtype and own_labels.shape == labels.shape and bool(np.all(own_labels == labels))
    )
