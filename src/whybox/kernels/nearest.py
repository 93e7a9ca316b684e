"""Squared distances of rows to the nearest of some points, natively. The specification is in reference_effects.py."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whybox import _native
from whybox.data.table import Floats
from whybox.kernels.compiled_trees import fastest_instructions

__all__ = ["nearest_squares"]

Ints = npt.NDArray[np.int64]


def nearest_squares(rows: Floats, points: Floats, itself: Ints, starts: Ints) -> Floats:
    """Return the squared distance of each row to the nearest point of each part, (parts, rows); infinite where a part has no other point.

    Args:
        rows: (rows, dimensions). points: (points, dimensions), part after part.
        itself: (points,) the row that a point is and that is not compared with it; -1: none.
        starts: (parts + 1,) where each part begins, and where the last ends.
    """
    out = np.empty((len(starts) - 1, len(rows)))
    _native.nearest_squares(
        np.ascontiguousarray(rows), np.ascontiguousarray(points), itself, starts, fastest_instructions(), out
    )
    return out
