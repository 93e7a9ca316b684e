"""Where a tree ensemble's output changes: thresholds of a column, and a representative of each interval between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.kernels.tree_shap import native_ensemble
from whybox.models.trees import CATEGORICAL_SPLIT, FLOAT32_SPLIT, TreeEnsemble

__all__ = [
    "distinct_thresholds",
    "interval_edges",
    "interval_index",
    "interval_representatives",
    "native_intervals",
    "point_index_of_rows",
]

Ints = npt.NDArray[np.int64]
_NATIVE_INTERVALS: Final[WeakKeyDictionary[TreeEnsemble, _native.ValueIntervals]] = WeakKeyDictionary()


def distinct_thresholds(e: TreeEnsemble, column: int) -> Floats:
    """Return the different thresholds that the model compares a numeric column with, sorted.

    Where the library rounds values to float32, the largest float32 that is not above the threshold, which splits values alike.
    """
    compares = (e.left >= 0) & (e.feature == column) & (e.flags & CATEGORICAL_SPLIT == 0)
    thresholds = e.threshold[compares]
    with np.errstate(over="ignore", under="ignore"):
        rounded = thresholds.astype(np.float32)
        rounded = np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return np.unique(np.where(e.flags[compares] & FLOAT32_SPLIT > 0, rounded.astype(np.float64), thresholds))


def interval_representatives(e: TreeEnsemble, column: int, seen: Floats) -> Floats:
    """Return values of a column such that the model cannot tell any value apart from exactly one of them.

    One for each interval between the values at which some split changes (thresholds, borders of the categories in sets, of what
    counts as zero), in increasing order, then NaN. Values of `seen` are preferred, else the middle of the interval (of category codes the first).

    Args:
        seen: (any number,) values, may hold NaN.
    """
    edges = interval_edges(e, column)
    known_values = np.sort(np.asarray(seen, dtype=np.float64).ravel())
    known_values = known_values[~np.isnan(known_values)]
    interval = np.searchsorted(edges, known_values, side="left")
    first, last = (np.searchsorted(interval, np.arange(len(edges) + 1), side=s) for s in ("left", "right"))
    codes = bool(((e.left >= 0) & (e.feature == column) & (e.flags & CATEGORICAL_SPLIT > 0)).any())
    values = _unseen_representatives(edges, codes=codes)
    has_value = first < last
    values[has_value] = known_values[(first[has_value] + last[has_value] - 1) // 2]
    return np.append(values, np.nan)


def _unseen_representatives(edges: Floats, *, codes: bool) -> Floats:
    if not len(edges):
        return np.zeros(1)
    with np.errstate(over="ignore", under="ignore"):
        above = np.nextafter(edges, np.inf)
    if codes:
        first = np.ceil(above)
        inner = np.where(first[:-1] <= edges[1:], first[:-1], edges[1:])
        return np.concatenate([edges[:1], inner, first[-1:]])
    with np.errstate(all="ignore"):
        middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    inner = np.where((middle > edges[:-1]) & (middle <= edges[1:]), middle, edges[1:])
    return np.concatenate([edges[:1], inner, above[-1:]])


def point_index_of_rows(e: TreeEnsemble, columns: Sequence[int], points: Floats, X: Floats) -> Ints:
    """Return, for each row, the first of the points that the model cannot tell apart from it.

    Args:
        points: (points, len(columns)). X: (rows, len(columns)), the values of these columns.

    Returns:
        (rows,) indices into `points`.

    Raises:
        OptionError: a row is at none of the points.
    """
    intervals_of_points, intervals_of_rows = (
        np.column_stack([interval_index(e, c, a[:, k]) for k, c in enumerate(columns)]) for a in (points, X)
    )
    if len(columns) == 1:  # a table instead of sorting the rows
        point_of_interval = np.full(native_intervals(e).interval_count(columns[0]) + 2, -1, dtype=np.int64)
        point_of_interval[intervals_of_points[::-1, 0]] = np.arange(len(points))[::-1]  # the last one written stays
        return _refuse_elsewhere(point_of_interval[intervals_of_rows[:, 0]])
    distinct_points, first = np.unique(intervals_of_points, axis=0, return_index=True)
    all_intervals, inverse = np.unique(
        np.concatenate([distinct_points, intervals_of_rows]), axis=0, return_inverse=True
    )
    position = np.full(len(all_intervals), -1)
    position[inverse.ravel()[: len(distinct_points)]] = first
    return _refuse_elsewhere(position[inverse.ravel()[len(distinct_points) :]])


def _refuse_elsewhere(point_of_row: npt.NDArray[Any]) -> Ints:
    if (point_of_row < 0).any():
        raise OptionError(
            f"row {int(np.argmax(point_of_row < 0))} is at none of the points; use representatives of each column."
        )
    return np.asarray(point_of_row, dtype=np.int64)


def interval_index(e: TreeEnsemble, column: int, x: Floats) -> Ints:
    """Return which interval of a column each value lies in, in increasing order; NaN is the last one."""
    out = np.empty(len(x), dtype=np.uint32)
    native_intervals(e).find(column, np.ascontiguousarray(x, dtype=np.float64), out)
    return out.astype(np.int64)


def native_intervals(e: TreeEnsemble) -> _native.ValueIntervals:
    """Return the native classes of values that no split tells apart, made once and kept while the ensemble lives."""
    intervals = _NATIVE_INTERVALS.get(e)
    if intervals is None:
        intervals = _NATIVE_INTERVALS[e] = _native.ValueIntervals(native_ensemble(e))
    return intervals


def interval_edges(e: TreeEnsemble, column: int) -> Floats:
    """Return, in increasing order, the largest value of each class of a column but the last: (classes - 1,)."""
    intervals = native_intervals(e)
    out = np.empty(intervals.interval_count(column))
    intervals.edges(column, out)
    return out
