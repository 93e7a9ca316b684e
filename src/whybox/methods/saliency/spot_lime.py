"""LIME's coefficients, recomputed by hand: from recorded masks and scores alone, weights from the distances of the masks, with NumPy's own least squares."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.spot_rows import RecomputedNumbers

__all__ = ["lime_numbers"]


def lime_numbers(  # what was recorded
    method: Any,
    shown: npt.NDArray[np.bool_],
    kept: Floats,
    n_hidden: Floats,
    scores: Floats,
    shape: tuple[int, ...],
) -> RecomputedNumbers:
    """Values at recorded places, and their variances where masks were drawn.

    Args:
        method: its options. shown: whether each mask shows each part, (masks, parts). kept: how much of each place each mask keeps, (masks, places).
        n_hidden: positions that each mask hides. scores: of each mask. shape: of the places.
    """
    shown, kept = np.asarray(shown, dtype=np.float64), np.asarray(kept)
    count, players = shown.shape
    weights, undrawn, mean_weight = _weights_of_masks(shown, method.kernel_width)
    root = np.sqrt(weights)[:, None]
    x = np.column_stack([np.ones(count), shown])
    penalty = method.alpha / (method.samples * mean_weight)
    stack = np.concatenate([root * x, np.sqrt(penalty) * np.eye(players + 1)[1:]])
    inverse = np.linalg.pinv(stack)[:, :count] * root.T
    coefficients = np.linalg.lstsq(stack, np.concatenate([root[:, 0] * scores, np.zeros(players)]), rcond=None)[0]
    leverage = np.array([row @ column for row, column in zip(x, inverse.T, strict=True)])
    left_out = (scores - x @ coefficients) / np.maximum(1 - leverage, 0.05)
    squares = inverse**2 @ (undrawn * left_out**2)
    rounding = 1e-9 * np.abs(inverse).sum(axis=1) * (float(np.abs(scores).max()) + 1e-300)
    sizes = np.rint(np.linalg.lstsq(1 - shown, n_hidden, rcond=None)[0])
    value, variance, allowed = np.zeros(kept.shape[1]), np.zeros(kept.shape[1]), np.full(kept.shape[1], 1e-300)
    for k in range(kept.shape[1]):
        mine = np.flatnonzero((shown == kept[:, k : k + 1]).all(axis=0))
        if len(mine):
            j, size = int(mine[0]), float(sizes[mine[0]])
            value[k], allowed[k] = coefficients[j + 1] / size, rounding[j + 1] / size
            variance[k] = squares[j + 1] / size**2
    if not undrawn.any():
        return RecomputedNumbers(value.reshape(shape), allowed.reshape(shape))
    # residuals that are rounding alone, of a score that is linear in its parts, move each standard error as much as its coefficient
    slack = 1e-6 * variance + (2 * np.sqrt(variance) + allowed) * allowed
    return RecomputedNumbers(*(a.reshape(shape) for a in (value, allowed, variance, slack)))


def _weights_of_masks(shown: npt.NDArray[Any], kernel_width: float) -> tuple[Floats, Floats, float]:
    """The weight of each mask, the share of the masks of its size that are not there, and the mean weight under plain draws.

    Sizes of which all masks are there have their share of the weighted law; the masks of the other sizes share the rest equally, since they were drawn by the law.
    """
    players = shown.shape[1]
    law = []
    for m in range(players + 1):
        mask = np.arange(players) < m
        cosine = mask.sum() / np.sqrt(max(mask.sum(), 1) * players)
        kernel = float(np.sqrt(np.exp(-((1 - cosine) ** 2) / kernel_width**2)))
        law.append(comb(players, m) / 2**players * kernel)
    of_size = shown.sum(axis=1).astype(int)
    there = [int((of_size == m).sum()) for m in range(players + 1)]
    whole = [there[m] == comb(players, m) for m in range(players + 1)]
    rest = sum(law[m] for m in range(players + 1) if not whole[m])
    others = sum(there[m] for m in range(players + 1) if not whole[m])
    weights = np.array([law[m] / there[m] if whole[m] else rest / others for m in of_size])
    undrawn = np.array([1 - there[m] / comb(players, m) for m in of_size])
    return weights / weights.sum(), undrawn, float(sum(law))
