"""How much of a number is rounding: the one floor under every ratio.

A ratio of two numbers that are both nothing but rounding may be anything, often 1. So whatever is divided by a variance, a spread or a size is first held
against what rounding explains beside the predictions that it was computed from.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "FLOAT32_ROUNDING",
    "FLOAT64_ROUNDING",
    "ratio_above_rounding",
    "relative_size",
    "rounding_floor",
    "rows_that_vary",
    "varies",
]

Floats = npt.NDArray[np.float64]

NEGLIGIBLE_SPREAD: Final = 1e-9  # of the predictions' standard deviation: too little to mean anything
FLOAT64_ROUNDING: Final = (
    1e-12  # of their size, where they were computed in float64: rounding, added up over many trees and rows
)
FLOAT32_ROUNDING: Final = 1e-6  # of their size, where they were computed in float32


def rounding_floor(values: npt.ArrayLike, weights: Floats | None = None, *, size: npt.ArrayLike = 0.0) -> Floats:
    """Return the largest standard deviation, over rows, that is not more than rounding beside these predictions.

    Predictions that are float32 numbers, and not whole numbers, are taken to have been computed in float32.

    Args:
        values: (rows,) or (rows, outputs), predictions or other numbers of that kind; those that are not finite do not count.
        weights: (rows,), at least zero. size: the largest number that sums were made of, (outputs,), where that is known.

    Returns:
        () or (outputs,): a difference, an effect or a standard deviation of up to this much is rounding.
    """
    x = np.asarray(values, dtype=np.float64)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    shape = (len(x), *(1,) * (x.ndim - 1))
    mass = np.isfinite(x) * w.reshape(shape)
    total = np.maximum(mass.sum(axis=0), np.finfo(np.float64).tiny)
    x = np.where(mass > 0, x, 0.0)
    largest = np.abs(x).max(axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)  # so that no square overflows or vanishes
    middle = (mass * (x / unit)).sum(axis=0) / total
    spread = np.sqrt((mass * (x / unit - middle) ** 2).sum(axis=0) / total)
    height = np.sqrt((mass * (x / unit) ** 2).sum(axis=0) / total)
    eps = np.where(_is_float32(x), FLOAT32_ROUNDING, FLOAT64_ROUNDING)
    return np.asarray(np.maximum(unit * np.maximum(NEGLIGIBLE_SPREAD * spread, eps * height), eps * np.asarray(size)))


def _is_float32(x: Floats) -> npt.NDArray[np.bool_]:
    """Whether all numbers of an output are float32 numbers, and not whole numbers, which any arithmetic holds exactly."""
    with np.errstate(over="ignore", under="ignore"):
        same = (x.astype(np.float32) == x).all(axis=0)
    return np.asarray(same & ~(x == np.rint(x)).all(axis=0))


def ratio_above_rounding(
    part: npt.ArrayLike, whole: npt.ArrayLike, floor: npt.ArrayLike, otherwise: float = 0.0
) -> Floats:
    """Return ``part / whole``, and `otherwise` where the whole is not above `floor`, what rounding explains of it."""
    a, b, c = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (part, whole, floor)))
    return np.asarray(np.divide(a, b, out=np.full(a.shape, otherwise), where=np.abs(b) > c))


def relative_size(part: npt.ArrayLike, size: npt.ArrayLike, floor: npt.ArrayLike) -> Floats:
    """Return how large a part is beside a size, or beside `floor`, what rounding explains of the size, where that is more; 0 where both are 0."""
    a, b = np.asarray(part, dtype=np.float64), np.maximum(np.abs(size), floor)
    return ratio_above_rounding(a, b, 0.0)


def varies(values: npt.ArrayLike, weights: Floats | None = None) -> bool:
    """Whether numbers, (rows,), differ by more than rounding of themselves explains. Without any, they do not."""
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)] if weights is None else x
    if not len(x):
        return False
    share = np.full(len(x), 1.0 / len(x)) if weights is None else weights / weights.sum()
    unit = float(np.abs(x).max()) or 1.0
    x = x / unit
    return bool(np.sqrt(share @ (x - share @ x) ** 2) > rounding_floor(x, share))


def rows_that_vary(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether the numbers of each row, (rows, numbers), differ by more than rounding explains: :func:`varies` of every row at once. All numbers are finite."""
    x = np.asarray(values, dtype=np.float64)
    if not x.size:
        return np.zeros(len(x), dtype=np.bool_)
    unit = np.abs(x).max(axis=1, keepdims=True)
    x = x / np.where(unit > 0, unit, 1.0)
    spread = np.sqrt(((x - x.mean(axis=1, keepdims=True)) ** 2).mean(axis=1))
    return np.asarray(spread > rounding_floor(x.T))
