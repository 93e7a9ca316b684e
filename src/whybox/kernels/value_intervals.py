"""Where a tree ensemble's output changes: thresholds of a column, and a representative of each interval between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.kernels.tree_shap import native
from whybox.models.trees import CATEGORICAL, FLOAT32_SPLIT, TreeEnsemble

__all__ = ["bin_of", "breakpoints", "classes_of", "edges_of", "representatives"]

Ints = npt.NDArray[np.int64]
_CLASSES: Final[WeakKeyDictionary[TreeEnsemble, _native.Classes]] = WeakKeyDictionary()


def breakpoints(e: TreeEnsemble, column: int) -> Floats:
    """Return the different thresholds that the model compares a numeric column with, sorted.

    Where the library rounds values to float32, the largest float32 that is not above the threshold, which splits values alike.
    """
    here = (e.left >= 0) & (e.feature == column) & (e.flags & CATEGORICAL == 0)
    t = e.threshold[here]
    with np.errstate(over="ignore", under="ignore"):
        near = t.astype(np.float32)
        near = np.where(near > t, np.nextafter(near, np.float32(-np.inf)), near)
    return np.unique(np.where(e.flags[here] & FLOAT32_SPLIT > 0, near.astype(np.float64), t))


def representatives(e: TreeEnsemble, column: int, seen: Floats) -> Floats:
    """Return values of a column such that the model cannot tell any value apart from exactly one of them.

    One for each interval between the values at which some split changes (thresholds, borders of the categories in sets, of what
    counts as zero), in increasing order, then NaN. Values of `seen` are preferred, else the middle of the interval (of category codes the first).

    Args:
        seen: (any number,) values, may hold NaN.
    """
    edges = edges_of(e, column)
    found = np.sort(np.asarray(seen, dtype=np.float64).ravel())
    found = found[~np.isnan(found)]
    which = np.searchsorted(edges, found, side="left")
    first, last = (np.searchsorted(which, np.arange(len(edges) + 1), side=s) for s in ("left", "right"))
    codes = bool(((e.left >= 0) & (e.feature == column) & (e.flags & CATEGORICAL > 0)).any())
    out = _made_up(edges, codes=codes)
    known = first < last
    out[known] = found[(first[known] + last[known] - 1) // 2]
    return np.append(out, np.nan)


def _made_up(edges: Floats, *, codes: bool) -> Floats:
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


def bin_of(e: TreeEnsemble, columns: Sequence[int], points: Floats, X: Floats) -> Ints:
    """Return, for each row, the first of the points that the model cannot tell apart from it.

    Args:
        points: (points, len(columns)). X: (rows, len(columns)), the values of these columns.

    Returns:
        (rows,) indices into `points`.

    Raises:
        OptionError: a row is at none of the points.
    """
    of_points, of_rows = (
        np.column_stack([class_of(e, c, a[:, k]) for k, c in enumerate(columns)]) for a in (points, X)
    )
    different, first = np.unique(of_points, axis=0, return_index=True)
    both, inverse = np.unique(np.concatenate([different, of_rows]), axis=0, return_inverse=True)
    position = np.full(len(both), -1)
    position[inverse.ravel()[: len(different)]] = first
    out = position[inverse.ravel()[len(different) :]]
    if (out < 0).any():
        raise OptionError(
            f"row {int(np.argmax(out < 0))} is at none of the points; use representatives of each column."
        )
    return np.asarray(out, dtype=np.int64)


def class_of(e: TreeEnsemble, column: int, x: Floats) -> Ints:
    edges = edges_of(e, column)
    return np.asarray(np.where(np.isnan(x), len(edges) + 1, np.searchsorted(edges, x, side="left")), dtype=np.int64)


def classes_of(e: TreeEnsemble) -> _native.Classes:
    """Return the native classes of values that no split tells apart, made once and kept while the ensemble lives."""
    found = _CLASSES.get(e)
    if found is None:
        found = _CLASSES[e] = _native.Classes(native(e))
    return found


def edges_of(e: TreeEnsemble, column: int) -> Floats:
    """Return, in increasing order, the largest value of each class of a column but the last: (classes - 1,)."""
    classes = classes_of(e)
    out = np.empty(classes.count(column))
    classes.edges(column, out)
    return out
