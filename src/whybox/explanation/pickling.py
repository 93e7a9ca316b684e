"""Explanations as they are pickled for another process: values, own rows and evidence, without the model or the table they were cut from.

For files use save.py: reading a pickle runs whatever is in it.
"""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

import numpy as np

from whybox.data.table import Table

__all__ = ["deep_copy", "rebuild", "state"]

_Any = TypeVar("_Any")
MAPPINGS: Final = ("coords", "players", "extras")
FREE_STEPS: Final = 2**13  # numbers of a curve's step function that always go along: 64 KiB
STEPS_SHARE: Final = 0.125  # more go along only as this share of the values


def state(e: Any) -> dict[str, Any]:
    """Return the fields of an explanation as they are pickled.

    Row labels that the rows have themselves are left out, and a curve that still has its model keeps what it knows without it, as in a file.
    """
    out = {f.name: getattr(e, f.name) for f in fields(e)}
    out |= {name: dict(out[name]) for name in MAPPINGS}
    if e.data is not None and "row" in e.coords and _same(e.coords["row"], e.data):
        out["coords"]["row"] = None
    most = max(FREE_STEPS, int(STEPS_SHARE * e.values.size))
    out["again"] = getattr(e.again, "keep", lambda _: None)(most)
    return out


def rebuild(kind: type[_Any], kept: dict[str, Any]) -> _Any:
    """Return the explanation whose fields :func:`state` returned; `kind` is its class."""
    coords, data = kept["coords"], kept["data"]
    if coords.get("row", ...) is None:
        kept = {**kept, "coords": {**coords, "row": data.row_labels}}
    return kind(**kept)


def deep_copy(e: Any, memo: dict[int, Any]) -> Any:
    """Return an explanation with arrays and rows of its own; a curve keeps its model, which is not copied."""
    own = {f.name: getattr(e, f.name) for f in fields(e) if f.name != "again"}
    own |= {name: dict(own[name]) for name in MAPPINGS}
    made = replace(e, **copy.deepcopy(own, memo))
    memo[id(e)] = made
    return made


def _same(labels: Any, rows: Table) -> bool:
    """Whether the labels are those of the rows, entry by entry and in type."""
    own = rows.row_labels
    return own is labels or (own.dtype == labels.dtype and own.shape == labels.shape and bool(np.all(own == labels)))
