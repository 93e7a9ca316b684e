"""Coarse grids upsampled, linearly along each axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["apply_along_axes", "interpolation_weights", "upsample"]


def interpolation_weights(coarse: int, fine: int) -> npt.NDArray[np.float64]:
    """Return weights (fine, coarse) of linear interpolation between centres of cells, flat beyond the outermost (what libraries call half-pixel centres)."""
    positions = np.clip((np.arange(fine) + 0.5) * coarse / fine - 0.5, 0, coarse - 1)
    low = np.minimum(positions.astype(int), max(coarse - 2, 0))
    out = np.zeros((fine, coarse))
    out[np.arange(fine), low] = 1 - (positions - low)
    if coarse > 1:
        out[np.arange(fine), low + 1] += positions - low
    return out


def apply_along_axes(a: npt.NDArray[Any], weights: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Multiply each axis of (m, ...) by weights (fine, coarse), or by weights of its own for each of the m, (m, fine, coarse)."""
    for axis, w in enumerate(weights, start=1):
        moved = np.moveaxis(a, axis, -1)
        lead = moved.shape[1:-1]
        flat = moved.reshape(len(a), -1, moved.shape[-1]) @ np.swapaxes(w, -1, -2)
        a = np.moveaxis(flat.reshape(len(a), *lead, w.shape[-2]), -1, axis)
    return a


def upsample(a: npt.NDArray[Any], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Return maps (m, *grid) as (m, *shape); bilinear for two axes."""
    return apply_along_axes(
        a, [interpolation_weights(n, to).astype(a.dtype) for n, to in zip(a.shape[1:], shape, strict=True)]
    )
