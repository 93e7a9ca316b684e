"""Points of a curve as numbers and as words, and the size of a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whybox.frames import is_missing

if TYPE_CHECKING:
    from whybox.explanation.explanation import Explanation

__all__ = ["numbers", "size", "words"]


def size(e: Explanation) -> float:
    """Return how far a curve moves the prediction: its standard deviation over the rows' values, of several outputs the largest."""
    share = e.extras["share"][1] if "share" in e.extras else None
    values = e.values.mean(axis=0) if "row" in e.dims else e.values
    flat = values.reshape(-1, values.shape[-1]) if "output" in e.dims else values.reshape(-1, 1)
    w = np.full(len(flat), 1.0 / len(flat)) if share is None or share.sum() == 0 else share.reshape(-1) / share.sum()
    known = np.nan_to_num(flat)
    spread = w @ (known - w @ known) ** 2
    return float(np.sqrt(spread.max(initial=0.0)))


def numbers(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return points as floats, NaN where they are no numbers."""
    return values.astype(np.float64) if values.dtype.kind in "fiu" else np.full(len(values), np.nan)


def words(values: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
    """Return points in words."""
    out = np.empty(len(values), dtype=object)
    for i, v in enumerate(values):
        missing = is_missing(v)
        out[i] = "missing" if missing else str(v)
    return out
