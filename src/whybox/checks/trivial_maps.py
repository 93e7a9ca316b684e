"""Maps that do not depend on the network, for comparison: edges of the input, and the input itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whybox.data.table import Floats
from whybox.methods.saliency.inputs import Input

__all__ = ["edge_map", "input_size", "is_picture"]


def is_picture(given: Input) -> bool:
    """True for pictures, series and volumes, where positions have neighbours and edges."""
    return (
        not given.without_gradient
        and given.x.ndim > 2
        and len(given.position_axes) >= 1
        and "feature" not in given.dims
    )


def input_size(given: Input, x: Floats) -> Floats:
    """The size of the input at each position, (rows, *positions)."""
    size = np.abs(x.astype(np.float64))
    return size if given.channel_axis is None else np.asarray(size.sum(axis=given.channel_axis))


def edge_map(given: Input, x: Floats) -> Floats:
    """Sobel's edge detector, (rows, *positions): slopes along each position axis, smoothed across the others; summed over channels.

    Sobel & Feldman 1968; in three axes its natural extension.
    """
    total = np.zeros(x.shape, dtype=np.float64)
    for along in given.position_axes:
        slope = x.astype(np.float64)
        for axis in given.position_axes:
            slope = _weigh_axis(slope, axis, (-1.0, 0.0, 1.0) if axis == along else (1.0, 2.0, 1.0))
        total += slope * slope
    size = np.sqrt(total)
    return size if given.channel_axis is None else np.asarray(size.sum(axis=given.channel_axis))


def _weigh_axis(x: Floats, axis: int, weights: Sequence[float]) -> Floats:
    """Three weights along an axis; the border is repeated."""
    wide = np.pad(x, [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)], mode="edge")
    n = x.shape[axis]
    out = np.zeros_like(x)
    for shift, w in enumerate(weights):
        if w:
            out += w * np.take(wide, np.arange(shift, shift + n), axis=axis)
    return out
