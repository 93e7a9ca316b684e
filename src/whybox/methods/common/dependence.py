"""How much features depend on each other: ranks, categories and missing values as coordinates, and correlation ratios between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Feature, Ints
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = ["correlation_ratio", "dependence", "rank_coordinates"]

_CORRELATION_BINS: Final = 10
SIGNIFICANCE: Final = 0.05  # of dependence, over all pairs together


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
    total = other.var(axis=0).sum()
    _, cell = np.unique(_ranges(feature, _CORRELATION_BINS), return_inverse=True)
    size = np.bincount(cell)
    means = np.column_stack([np.bincount(cell, c) / size for c in other.T])
    between = (size[:, None] * (means - other.mean(axis=0)) ** 2).sum() / len(other)
    return float(ratio_above_rounding(between, total, (rounding_floor(other) ** 2).sum()))


def dependence(features: Sequence[Feature]) -> Floats:
    """Return how much each feature depends on each other one, (features, features): 0 for none, up to 1.

    The larger of the two correlation ratios of a pair, without the share that chance alone would give (epsilon squared), and 0 where an F-test does not find it at
    5 % over all pairs. Few rows are cut into fewer than ten ranges, so that each holds about ten.

    References:
        Kelley, An unbiased correlation ratio measure, Proceedings of the National Academy of Sciences 21 (1935).
    """
    from scipy.sparse import csr_matrix

    rows, count = len(features[0].codes), len(features)
    coordinates = [rank_coordinates(f) for f in features]
    first = np.cumsum([0, *(c.shape[1] for c in coordinates[:-1])])
    table = np.column_stack(coordinates)
    centred = table - table.mean(axis=0)
    total = np.add.reduceat((centred**2).sum(axis=0), first)
    floor = np.array([(rounding_floor(c) ** 2).sum() for c in coordinates]) * rows
    explained = np.zeros((count, count))
    for i, feature in enumerate(features):
        _, cell = np.unique(_ranges(feature, int(np.clip(rows // 10, 2, _CORRELATION_BINS))), return_inverse=True)
        size = np.bincount(cell)
        if 1 < len(size) < rows:
            sums = csr_matrix((np.ones(rows), (cell, np.arange(rows)))) @ centred
            between = np.add.reduceat((sums**2 / size[:, None]).sum(axis=0), first)
            ratios = ratio_above_rounding(between, total, floor)
            explained[i] = _beyond_chance(ratios, rows, len(size), count * (count - 1))
    return np.maximum(explained, explained.T)


def _beyond_chance(ratios: Floats, rows: int, ranges: int, tests: int) -> Floats:
    """Correlation ratios less what chance gives, and 0 where they may be chance altogether."""
    from scipy.special import fdtrc

    within = np.maximum(1.0 - ratios, 1e-12) / (rows - ranges)
    chance = fdtrc(ranges - 1, rows - ranges, ratios / (ranges - 1) / within)
    adjusted = 1.0 - within * (rows - 1)
    return np.where(chance * tests < SIGNIFICANCE, np.clip(adjusted, 0.0, 1.0), 0.0)


def _ranges(feature: Feature, bins: int) -> Ints:
    """In which of so many ranges of equal share each row is; of classes, in which class. Missing values are one of their own."""
    gap = feature.codes < 0
    count = max(len(feature.unique), 1)
    if feature.numbers is None:
        return np.where(gap, count, feature.codes)
    ranks = np.cumsum(np.bincount(feature.codes[~gap], minlength=count))
    place = np.minimum((ranks - 1) * bins // max(int(ranks[-1]), 1), bins - 1)
    return np.where(gap, bins, place[feature.codes])
