"""Edges of the bins of a number, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, InputError, OptionError, did_you_mean
from whybox.games.players import column_position
from whybox.methods.common.columns import Feature

__all__ = [
    "EACH_VALUE",
    "bin_edges",
    "check_named_edges",
    "edge_texts",
    "exact_texts",
    "is_each_value",
    "named_edges",
    "number_texts",
    "short_edges",
    "time_kind",
]

EACH_VALUE: Final = "categories"  # in place of edges
_SHARES: Final = {"quartile": (25, 50, 75), "decile": (10, 20, 30, 40, 50, 60, 70, 80, 90)}
_MAX_ENTROPY_DEPTH: Final = 3  # as in lime
_MIN_DIGITS, _MAX_DIGITS = 3, 17
_MAX_SHARE_MOVED: Final = 0.01  # of the rows, to the other side of an edge that is rounded
_UNITS: Final = (("days", 86_400e6), ("hours", 3_600e6), ("minutes", 60e6), ("seconds", 1e6))  # in microseconds


def check_named_edges(discretizer: Any, names: tuple[str, ...]) -> None:
    """Refuse edges of columns that are not there or are named twice, and what is no edges.

    Raises:
        OptionError: there is one.
    """
    if not isinstance(discretizer, Mapping):
        return
    position_of, seen = {name: i for i, name in enumerate(names)}, dict[int, Any]()
    for key, edges in discretizer.items():
        position = column_position(position_of, key)
        if position is None:
            raise OptionError(Argument("discretizer"), f": there is no column {key!r}.{did_you_mean(str(key), names)}")
        if position in seen:
            raise OptionError(
                Argument("discretizer"), f": {seen[position]!r} and {key!r} are the same column; give its edges once."
            )
        if edges is None:
            raise _no_edges(names[position], "numbers")
        seen[position] = key


def named_edges(discretizer: Any, name: str, position: int) -> Any:
    """Return the edges that a user gives for a column, by its name or its position; None where there are none."""
    if not isinstance(discretizer, Mapping):
        return None
    for key, edges in discretizer.items():
        if key in (name, position):
            return edges
    return None


def is_each_value(edges: Any) -> bool:
    """Whether what a user gives for a column stands for a bin of each of its values."""
    return isinstance(edges, str) and edges == EACH_VALUE


def time_kind(feature: Feature) -> str:
    """Return ``"M"`` or ``"m"``, as of NumPy, for a column of dates or durations; "" for others."""
    return feature.unique.dtype.kind if feature.kind == "datetime" else ""


def bin_edges(feature: Feature, values: Floats, weights: Floats, discretizer: Any, y: Any, seed: int) -> Floats:
    """Return the inner edges of the bins of one number, increasing; a bin holds what is above one edge and at most the next.

    Args:
        feature: the column. values: (rows,) of its numbers, none missing. weights: (rows,), positive.
        discretizer: as of the options; a mapping gives edges by name or position, and other columns have quartiles; None: no edge. y: (rows,), for "entropy". seed: for "entropy".

    Raises:
        OptionError: edges that are not increasing numbers. InputError: infinite values, for "entropy".
    """
    if isinstance(discretizer, Mapping):
        edges = named_edges(discretizer, feature.name, feature.position)
        if edges is not None:
            return _given_edges(feature, edges)
        discretizer = "quartile"
    if discretizer is None:
        return np.empty(0)
    if discretizer == "entropy":
        if not (np.abs(values) <= np.finfo(np.float32).max).all():
            raise InputError(
                f"column {feature.name!r} of the background has infinite values, or some beyond single precision, between which ",
                Argument("discretizer", "entropy"),
                " finds no edges; leave these rows out, or make the values missing.",
            )
        found = _entropy_edges(values, weights, y, seed)
        return found if len(found) else np.unique(_weighted_percentiles(values, weights, (50,)))
    return np.unique(_weighted_percentiles(values, weights, _SHARES[discretizer]))


def _given_edges(feature: Feature, given: Any) -> Floats:
    """The edges that a user gives, as numbers on the axis of the column."""
    kind, origin = time_kind(feature), feature.number_origin
    try:
        if origin:
            given = [
                float(edge - origin) for edge in np.asarray(given, dtype=object).reshape(-1)
            ]  # before a float rounds
        edges = np.asarray(given, dtype=f"{kind}8[us]" if kind else np.float64).reshape(-1)
        edges = np.where(np.isnat(edges), np.nan, edges.astype(np.float64)) if kind else edges
    except (TypeError, ValueError):
        edges = np.array([np.nan])
    if not len(edges) or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        what = {"M": "dates", "m": "durations"}.get(kind, "numbers")
        raise _no_edges(feature.name, what)
    return np.asarray(edges)


def _no_edges(name: str, what: str) -> OptionError:
    return OptionError(
        Argument("discretizer"),
        f": the edges of {name!r} must be increasing {what}, at least one; or 'categories', a bin for each value.",
    )


def _weighted_percentiles(values: Floats, weights: Floats, percent: tuple[int, ...]) -> Floats:
    if np.ptp(weights) <= 1e-12 * weights.max():
        return np.asarray(np.percentile(values, percent))
    # as np.percentile by the method "inverted_cdf", which has weights since NumPy 2
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order])
    return values[order[np.searchsorted(shares / shares[-1], np.asarray(percent) / 100)]]


def _entropy_edges(values: Floats, weights: Floats, y: Any, seed: int) -> Floats:
    """Thresholds of a small classification tree on this number alone, as lime's entropy discretizer."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(criterion="entropy", max_depth=_MAX_ENTROPY_DEPTH, random_state=seed % 2**32)
    tree.fit(values[:, None], y, sample_weight=weights)
    nodes = tree.tree_
    return np.unique(nodes.threshold[nodes.children_left >= 0])


def edge_texts(edges: Floats, *, kind: str = "number", origin: int = 0) -> list[str]:
    """Return edges as text, short, but with so many digits that different edges are written differently.

    Args:
        edges: numbers. kind: ``"date"`` or ``"duration"``, where they are microseconds. origin: of whole numbers that are too large for floats; edges are
            numbers from there on.
    """
    if origin:
        return [str(origin + int(np.floor(e))) for e in edges]
    if kind == "duration":
        largest = float(np.abs(edges).max(initial=0.0))
        name, length = next((each for each in _UNITS if largest >= 2 * each[1]), _UNITS[-1])
        return [f"{text} {name}" for text in edge_texts(edges / length)]
    if kind == "date":
        moments = [np.datetime64(round(e), "us") for e in edges]
        for unit in ("D", "m", "s", "us"):
            texts = [str(m.astype(f"M8[{unit}]")).replace("T", " ") for m in moments]
            if len(set(texts)) == len(set(moments)):
                return texts
        return texts
    distinct = len(np.unique(edges))
    for digits in range(_MIN_DIGITS, _MAX_DIGITS + 1):
        texts = [_short(float(e), digits) for e in edges]
        if len(set(texts)) == distinct:
            return texts
    return [repr(float(e)) for e in edges]


def number_texts(feature: Feature, values: Floats) -> list[str]:
    """Return numbers of a column as text: dates and durations where it holds these, and whole numbers from their origin on."""
    kind = {"M": "date", "m": "duration"}.get(time_kind(feature), "number")
    return edge_texts(values, kind=kind, origin=feature.number_origin)


def _short(value: float, digits: int) -> str:
    if value == 0 or 1e-4 <= abs(value) < 1e8:
        if float(value).is_integer():
            return f"{value:.0f}"
        text = f"{value:.{digits}g}"
        if "e" in text:
            text = f"{value:.0f}"
        return text
    return f"{value:.{digits}g}"


def short_edges(values: Floats, weights: Floats, edges: Floats, few: int) -> Floats:
    """Return edges that are short when written in full: those given, rounded as long as hardly a row changes sides.

    A number that has few different values is cut between all of them.

    Args:
        values: (rows,), none missing. weights: (rows,), positive, which sum to one. edges: increasing. few: how many different values are few.
    """
    different = np.unique(values)
    if 1 < len(different) <= few:
        edges = different[:-1]
    return np.unique([_short_edge(values, weights, float(edge)) for edge in edges])


def _short_edge(values: Floats, weights: Floats, edge: float) -> float:
    for digits in range(_MIN_DIGITS, _MAX_DIGITS):
        rounded = float(f"{edge:.{digits}g}")
        if float(weights[(values <= edge) != (values <= rounded)].sum()) <= _MAX_SHARE_MOVED:
            return rounded
    return edge


def exact_texts(edges: Floats) -> tuple[str, ...]:
    """Return edges as text from which they can be read again without loss."""
    return tuple(repr(float(edge)).removesuffix(".0") for edge in edges)
