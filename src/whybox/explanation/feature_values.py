"""Which other feature does a feature's attribution depend on most?"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.series import dtype_of, time_zone_of
from whybox.data.table import Floats, is_missing
from whybox.explanation.labelled import Labelled
from whybox.explanation.negligible import negligible_size
from whybox.explanation.number_text import number_text

__all__ = [
    "as_numbers",
    "cell_text",
    "feature_values",
    "number_labels",
    "shown_values",
    "strongest_partner",
    "value_of_row",
]

_UNIT_SECONDS: Final = {
    "W": 7 * 86400.0, "D": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0,
    "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15, "as": 1e-18,
}  # fmt: skip
_DURATION_NAMES: Final = {"D": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_MAX_BINS = 12
_MAX_ROWS = 20_000
_MIN_SIZE_IN_ERRORS: Final = 1.5  # of a feature's attributions, root mean squares both; pure error has 1


def feature_values(e: Labelled, feature: str) -> npt.NDArray[Any] | None:
    """Return the user's values of a feature in the rows explained: numbers (missing as NaN) or objects; None for groups of columns."""
    columns = e.players.get(feature, ())
    if e.data is None or len(columns) != 1 or columns[0] not in e.data.names:
        return None
    column = e.data.column(e.data.names.index(columns[0]))
    if column.kind in ("number", "boolean"):
        return column.values.astype(np.float64)
    if column.kind == "datetime":
        return column.values
    return column.objects()


def shown_values(e: Labelled, feature: str) -> npt.NDArray[Any] | None:
    """Return the same as :func:`feature_values`, with booleans as the words true and false."""
    values = feature_values(e, feature)
    if values is None or e.data is None:
        return values
    if e.data.column(e.data.names.index(e.players[feature][0])).kind != "boolean":
        return values
    return np.array([None if np.isnan(v) else "true" if v else "false" for v in values], dtype=object)


def value_of_row(e: Labelled, feature: str) -> str | None:
    """Return the value of a feature in the one row explained, in words; None of a group of columns, or where there are several rows.

    A date of a column with a time zone is in UTC, and says so.
    """
    values = shown_values(e, feature)
    if values is None or e.data is None or len(values) != 1:
        return None
    text = cell_text(values[0])
    if values.dtype.kind != "M" or np.isnat(values[0]) or e.data.library == "numpy":
        return text
    column = e.data.native_column(e.data.names.index(e.players[feature][0]))
    return text if time_zone_of(dtype_of(column)) is None else f"{text} UTC"


def cell_text(value: Any) -> str:
    """Return a cell in words: numbers short, dates and durations as exact as they are."""
    if is_missing(value):
        return "missing"
    if isinstance(value, (bool, np.bool_)):
        return str(value).lower()
    if isinstance(value, np.timedelta64):  # before numbers, which NumPy takes it for
        return _duration_text(value)
    if isinstance(value, (float, np.floating, int, np.integer)):
        return number_text(float(value))
    if isinstance(value, np.datetime64):
        day, _, time = str(value).partition("T")
        time = time.rstrip("0").rstrip(".") if "." in time else time
        time = time.removesuffix(":00") if time.count(":") == 2 else time
        return day if time in ("", "00", "00:00") else f"{day} {time}"
    return str(value)


def _duration_text(value: np.timedelta64) -> str:
    """``2 days 03:15``, ``-1.5 seconds``; no finer than it is."""
    if np.datetime_data(value)[0] in ("Y", "M", "generic"):
        return str(value)
    seconds = float(as_numbers(np.array([value]))[0])
    sign, size = "-" if seconds < 0 else "", abs(seconds)
    if size < 60:
        return f"{sign}{number_text(size)} second{'' if size == 1 else 's'}"
    days, rest = divmod(round(size, 6), 86400)
    hours, minutes = int(rest // 3600), int(rest % 3600 // 60)
    left = round(rest % 60, 6)
    time = f"{hours:02d}:{minutes:02d}" + (
        f":{left:09.6f}".rstrip("0").rstrip(".") if left % 1 else f":{left:02.0f}" if left else ""
    )
    day = f"{days:.0f} day{'' if days == 1 else 's'}" if days else ""
    return f"{sign}{' '.join(part for part in (day, time if rest else '') if part)}"


def as_numbers(values: npt.NDArray[Any]) -> Floats:
    """Return values as floats: categories as the rank of their text, dates and durations in seconds, missing as NaN."""
    if values.dtype.kind == "f":
        return values
    if values.dtype.kind in "mM":
        unit = "s" if np.datetime_data(values.dtype)[0] in ("Y", "M") else np.datetime_data(values.dtype)[0]
        ticks = values.astype(f"{values.dtype.kind}8[{unit}]").astype(np.int64)
        per_second = max(
            1, round(1 / _UNIT_SECONDS[unit])
        )  # whole seconds apart from their parts, so that neither is rounded
        seconds = (ticks // per_second + ticks % per_second / per_second) * max(1.0, _UNIT_SECONDS[unit])
        return np.where(np.isnat(values), np.nan, seconds)
    order = {v: float(i) for i, v in enumerate(sorted({str(v) for v in values if v is not None}))}
    return np.array([np.nan if v is None else order[str(v)] for v in values])


def number_labels(numbers: Floats, dtype: np.dtype[Any]) -> list[str]:
    """Return texts for numbers that :func:`as_numbers` made of values of this type: dates as dates, no finer than they differ.

    Args:
        numbers: in increasing order, finite.
    """
    if dtype.kind not in "mM":
        return [number_text(float(v), 3) for v in numbers]
    steps = np.diff(numbers)
    finest = float(steps[steps > 0].min(initial=np.inf))
    if dtype.kind == "m":
        unit = next((u for u in ("D", "h", "m") if finest >= _UNIT_SECONDS[u]), "s")
        return [f"{number_text(float(v) / _UNIT_SECONDS[unit], 3)} {_DURATION_NAMES[unit]}" for v in numbers]
    resolution: Any = next((u for u in ("D", "m", "s", "ms") if finest >= _UNIT_SECONDS[u]), "us")
    dates = np.round(numbers * 1e6).astype(np.int64).astype("datetime64[us]")
    return [str(v).replace("T", " ") for v in np.datetime_as_string(dates, unit=resolution)]


def strongest_partner(e: Labelled, feature: str) -> str | None:
    """Return the feature that interacts most with `feature`, judging by the explanation alone.

    For interactions this is the largest mean |interaction|. For attributions: rows are cut into bins of equal size by the feature's own
    value; inside each bin the attribution would be constant without interactions, so the partner is the feature whose bins explain most of
    the variance that is left. A guide for colouring, not a measurement. A feature whose own attributions are no more than rounding, or than their errors,
    takes no part, whatever its values are: where rows are few, they explain some of the variance by chance.
    """
    names = e.feature_names
    j = names.index(feature)
    if e.kind == "interaction":
        strength = np.abs(e.values[:, j]).mean(axis=0).reshape(len(names), -1).sum(axis=1)
        strength[j] = 0
        return names[int(np.argmax(strength))] if strength.max() > negligible_size(e).sum() else None
    feature_cells = feature_values(e, feature)
    if feature_cells is None or e.dims != ("row", "feature"):
        return None
    take = (
        np.random.default_rng(0).choice(len(feature_cells), _MAX_ROWS, replace=False)
        if len(feature_cells) > _MAX_ROWS
        else np.arange(len(feature_cells))
    )
    remaining = _within_bin_means(e.values[take, j], _quantile_bins(as_numbers(feature_cells)[take]))
    scores = {}
    for other in _features_that_take_part(e):
        values = None if other == feature else feature_values(e, other)
        if values is not None:
            scores[other] = float(
                remaining.var()
                - _within_bin_means(
                    remaining, _quantile_bins(as_numbers(values)[take]), _quantile_bins(as_numbers(feature_cells)[take])
                ).var()
            )
    best = max(scores, key=lambda name: scores[name], default=None)
    least = max(1e-12 * float(remaining.var()), float(negligible_size(e)) ** 2)
    return best if best is not None and scores[best] > least else None


def _features_that_take_part(e: Labelled) -> list[str]:
    """Features whose attributions (rows, features) are more than rounding, and where they are estimated more than their errors."""
    takes_part = np.abs(e.values).max(axis=0, initial=0.0) > negligible_size(e)
    if e.std_error is not None:
        size, error = (np.sqrt(np.mean(np.square(a), axis=0)) for a in (e.values, e.std_error))
        takes_part &= size > _MIN_SIZE_IN_ERRORS * error
    return [e.feature_names[k] for k in np.flatnonzero(takes_part)]


def _quantile_bins(x: Floats) -> npt.NDArray[np.int64]:
    """Bins of about equal size; missing values have their own."""
    finite = x[~np.isnan(x)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, _MAX_BINS + 1)[1:-1])) if len(finite) else np.empty(0)
    return np.where(np.isnan(x), _MAX_BINS + 1, np.searchsorted(edges, x, side="right")).astype(np.int64)


def _within_bin_means(y: Floats, *bins: npt.NDArray[np.int64]) -> Floats:
    """Return what is left of y after the mean of each cell of bins is taken off."""
    cell = np.zeros(len(y), dtype=np.int64)
    for b in bins:
        cell = cell * (_MAX_BINS + 2) + b
    _, cell = np.unique(cell, return_inverse=True)
    mean = np.bincount(cell, y) / np.bincount(cell)
    return np.asarray(y - mean[cell])
