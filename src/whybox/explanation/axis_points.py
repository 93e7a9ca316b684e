"""Points of a curve as numbers and as words, and the size of a curve."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, TypeVar, cast

import numpy as np
import numpy.typing as npt

from whybox.data.table import is_missing
from whybox.explanation.labelled import Labelled

__all__ = [
    "MAX_CATEGORIES",
    "TOP_CATEGORIES",
    "curve_spread",
    "numeric_points",
    "point_labels",
    "with_common_categories",
    "with_plain_durations",
]

MAX_CATEGORIES: Final = 20  # that a figure gives a place each
TOP_CATEGORIES: Final = 14  # the commonest, which keep a place of their own where there are more

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


def with_common_categories(e: _Curve) -> _Curve:
    """Return a curve or surface whose very many categories are the commonest of them, in their order, and one point for all others.

    The value there is the mean over the rows of these others, and so are the ends of its interval: errors of single points depend on each other, so that of
    their mean is at most as large. A missing value keeps its point.
    """
    for dim in ("point", "point_2"):
        points = e.coords.get(dim)
        if dim not in e.dims or points is None or points.dtype.kind != "O":
            continue
        missing = np.array([is_missing(v) for v in points], dtype=np.bool_)
        if np.count_nonzero(~missing) > MAX_CATEGORIES:
            e = _merge_rare_points(e, dim, missing)
    return e


def _merge_rare_points(e: _Curve, dim: str, missing: npt.NDArray[np.bool_]) -> _Curve:
    """Merge all but the commonest points of one axis into one, which stands last."""
    share = np.ones(len(missing))
    if "share" in e.extras:
        dims, shares = e.extras["share"]
        share = shares.sum(axis=tuple(i for i, d in enumerate(dims) if d != dim))
    commonest = np.argsort(np.where(missing, np.inf, -share), kind="stable")[:TOP_CATEGORIES]
    kept = np.flatnonzero(missing | np.isin(np.arange(len(share)), commonest))
    others = np.setdiff1d(np.arange(len(share)), kept)

    def merged(dims: tuple[str, ...], array: npt.NDArray[Any], *, total: bool = False) -> npt.NDArray[Any]:
        axis = dims.index(dim)
        rest = np.moveaxis(array, axis, -1)[..., others]
        if total:
            one = rest.sum(axis=-1)
        else:
            weight = np.where(np.isnan(rest), 0.0, share[others] if share[others].any() else 1.0)
            with np.errstate(invalid="ignore"):
                one = (np.nan_to_num(rest) * weight).sum(axis=-1) / weight.sum(axis=-1)
        return np.concatenate([np.take(array, kept, axis), np.expand_dims(one, axis)], axis)

    labels = np.empty(len(kept) + 1, dtype=object)
    labels[:] = [*e.coords[dim][kept].tolist(), f"{len(others)} others"]
    extras = {
        name: (dims, merged(dims, array, total=name == "share") if dim in dims else array)
        for name, (dims, array) in e.extras.items()
    }
    return cast(
        "_Curve",
        replace(
            cast("Any", e),
            values=merged(e.dims, e.values),
            std_error=None if e.std_error is None else merged(e.dims, e.std_error),
            coords={**e.coords, dim: labels},
            extras=extras,
            again=None,
        ),
    )


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
