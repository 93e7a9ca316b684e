"""Edges of the bins of a number, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, did_you_mean

__all__ = ["bin_edges", "check_named_edges", "edge_texts", "exact_texts", "short_edges"]

_SHARES: Final = {"quartile": (25, 50, 75), "decile": (10, 20, 30, 40, 50, 60, 70, 80, 90)}
_MAX_ENTROPY_DEPTH: Final = 3  # as in lime
_MIN_DIGITS, _MAX_DIGITS = 3, 17
_MAX_SHARE_MOVED: Final = 0.01  # of the rows, to the other side of an edge that is rounded


def check_named_edges(discretizer: Any, names: tuple[str, ...]) -> None:
    """Refuse edges of columns that are not there.

    Raises:
        OptionError: there is no such column.
    """
    if isinstance(discretizer, Mapping):
        for name in discretizer:
            if str(name) not in names:
                raise OptionError(
                    Argument("discretizer"), f": there is no column {name!r}.{did_you_mean(str(name), names)}"
                )


def bin_edges(name: str, values: Floats, weights: Floats, discretizer: Any, y: Any, seed: int) -> Floats:
    """Return the inner edges of the bins of one number, increasing; a bin holds what is above one edge and at most the next.

    Args:
        name: of the column. values: (rows,), none missing. weights: (rows,), positive.
        discretizer: as of the options; a mapping gives edges by name, and other columns have quartiles. y: (rows,), for "entropy". seed: for "entropy".

    Raises:
        OptionError: edges that are not increasing numbers.
    """
    if isinstance(discretizer, Mapping):
        if name in discretizer:
            return _given_edges(name, discretizer[name])
        discretizer = "quartile"
    if discretizer == "entropy":
        found = _entropy_edges(values, weights, y, seed)
        return found if len(found) else np.unique(_weighted_percentiles(values, weights, (50,)))
    return np.unique(_weighted_percentiles(values, weights, _SHARES[discretizer]))


def _given_edges(name: str, given: Any) -> Floats:
    try:
        edges = np.asarray(given, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        edges = np.array([np.nan])
    if not len(edges) or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
        raise OptionError(Argument("discretizer"), f": the edges of {name!r} must be increasing numbers, at least one.")
    return edges


def _weighted_percentiles(values: Floats, weights: Floats, percent: tuple[int, ...]) -> Floats:
    if np.ptp(weights) <= 1e-12 * weights.max():
        return np.asarray(np.percentile(values, percent))
    return np.asarray(np.percentile(values, percent, weights=weights, method="inverted_cdf"))


def _entropy_edges(values: Floats, weights: Floats, y: Any, seed: int) -> Floats:
    """Thresholds of a small classification tree on this number alone, as lime's entropy discretizer."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(criterion="entropy", max_depth=_MAX_ENTROPY_DEPTH, random_state=seed % 2**32)
    tree.fit(values[:, None], y, sample_weight=weights)
    nodes = tree.tree_
    return np.unique(nodes.threshold[nodes.children_left >= 0])


def edge_texts(edges: Floats, *, dates: bool = False) -> list[str]:
    """Return edges as text, short, but with so many digits that different edges are written differently."""
    if dates:
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
