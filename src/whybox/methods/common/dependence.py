"""How much features depend on each other: ranks, categories and missing values as coordinates, and correlation ratios between them."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Feature
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = ["correlation_ratio", "rank_coordinates"]

_CORRELATION_BINS: Final = 10


def rank_coordinates(feature: Feature) -> Floats:
    """A feature as coordinates, (rows, dimensions): its rank (the mean rank of ties), or one column a category, so that two are 1 apart."""
    gap = feature.codes < 0
    if feature.numbers is None:
        different = len(feature.unique) + bool(gap.any())
        at = np.where(gap, len(feature.unique), feature.codes)
        common = np.argsort(-np.bincount(at, minlength=different), kind="stable")[: _CORRELATION_BINS * 2]
        return np.asarray((at[:, None] == common[None, :]) / np.sqrt(2.0), dtype=np.float64)
    counts = np.bincount(feature.codes[~gap], minlength=len(feature.unique))
    middle = (np.cumsum(counts) - counts / 2.0) / max(counts.sum(), 1)
    rank = np.where(gap, 0.5, middle[feature.codes] if len(middle) else 0.5)
    return np.column_stack([rank, gap]) if gap.any() else rank[:, None]


def correlation_ratio(feature: Feature, other: Floats) -> float:
    """Correlation ratio: the share of another feature's variance that lies between ten ranges of this one."""
    gap = feature.codes < 0
    count = max(len(feature.unique), 1)
    if feature.numbers is None:
        bins = np.where(gap, count, feature.codes)
    else:
        ranks = np.cumsum(np.bincount(feature.codes[~gap], minlength=count))
        place = np.minimum((ranks - 1) * _CORRELATION_BINS // max(int(ranks[-1]), 1), _CORRELATION_BINS - 1)
        bins = np.where(gap, _CORRELATION_BINS, place[feature.codes])
    total = other.var(axis=0).sum()
    _, cell = np.unique(bins, return_inverse=True)
    size = np.bincount(cell)
    means = np.column_stack([np.bincount(cell, c) / size for c in other.T])
    between = (size[:, None] * (means - other.mean(axis=0)) ** 2).sum() / len(other)
    return float(ratio_above_rounding(between, total, (rounding_floor(other) ** 2).sum()))
