"""Points of a curve as numbers and as words, and the size of a curve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from whybox.data.table import is_missing
from whybox.explanation.labelled import Labelled

__all__ = ["curve_spread", "numeric_points", "point_labels", "with_plain_durations"]

_Curve = TypeVar("_Curve", bound=Labelled)
_DURATION_UNITS: Final = (
    ("days", 86400e6),
    ("hours", 3600e6),
    ("minutes", 60e6),
    ("seconds", 1e6),
    ("microseconds", 1.0),
)


def curve_spread(e: Labelled) -> float:
    """Return how far a curve moves the prediction: its standard deviation over the rows' values, of several outputs the largest."""
    share = e.extras["share"][1] if "share" in e.extras else None
    values = e.values
    if "row" in e.dims:
        weights = e.extras["weight"][1] if "weight" in e.extras else np.ones(len(values))
        values = np.tensordot(weights / weights.sum(), values, 1)
    flat = values.reshape(-1, values.shape[-1]) if "output" in e.dims else values.reshape(-1, 1)
    w = np.full(len(flat), 1.0 / len(flat)) if share is None or share.sum() == 0 else share.reshape(-1) / share.sum()
    known = np.nan_to_num(flat)
    spread = w @ (known - w @ known) ** 2
    return float(np.sqrt(spread.max(initial=0.0)))


def numeric_points(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return points as floats, NaN where they are no numbers."""
    return values.astype(np.float64) if values.dtype.kind in "fiu" else np.full(len(values), np.nan)


def point_labels(values: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
    """Return points in words."""
    out = np.empty(len(values), dtype=object)
    for i, v in enumerate(values):
        missing = is_missing(v)
        out[i] = "missing" if missing else str(v)
    return out


def with_plain_durations(e: _Curve) -> _Curve:
    """Return a curve whose points are numbers where they were durations, in a unit that stands in the feature's name."""
    coords, extras, names = dict(e.coords), dict(e.extras), list(e.players)
    for i, (dim, tag) in enumerate((("point", ""), ("point_2", "_2"))):
        points = coords.get(dim)
        if dim not in e.dims or points is None or points.dtype.kind != "m":
            continue
        micro = np.where(np.isnat(points), np.nan, points.astype("m8[us]").astype(np.int64).astype(np.float64))
        largest = float(np.nanmax(np.abs(micro), initial=0.0))
        unit, size_of_unit = next((u for u in _DURATION_UNITS if largest >= 2 * u[1]), _DURATION_UNITS[-1])
        coords[dim], names[i] = micro / size_of_unit, f"{names[i]} ({unit})"
        if f"histogram_edges{tag}" in extras:
            axes, edges = extras[f"histogram_edges{tag}"]
            extras[f"histogram_edges{tag}"] = axes, edges / size_of_unit
    if names == list(e.players):
        return e
    curve_in_units: _Curve = replace(
        cast("Any", e), coords=coords, extras=extras, players=dict(zip(names, e.players.values(), strict=True))
    )
    return curve_in_units
