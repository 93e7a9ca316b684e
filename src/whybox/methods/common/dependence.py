"""How much features depend on each other: ranks, categories and missing values as coordinates, and correlation ratios between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Feature
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = ["Coordinates", "RowRanges", "coordinates_of", "correlation_ratio", "rank_coordinates", "row_ranges"]

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


@final
@dataclass(frozen=True, eq=False)
class RowRanges:
    """Ten ranges of a feature's ranks, or its categories, and missing values: which of them each row is in (rows,), and how many rows each holds."""

    of_row: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class Coordinates:
    """A feature as coordinates, (rows, dimensions), with their mean, their variance in all, and that of rounding."""

    values: Floats
    mean: Floats
    variance: float
    rounding: float


def row_ranges(feature: Feature) -> RowRanges:
    """Return the ranges of a feature between which :func:`correlation_ratio` compares others."""
    gap = feature.codes < 0
    count = max(len(feature.unique), 1)
    if feature.numbers is None:
        bins = np.where(gap, count, feature.codes)
    else:
        ranks = np.cumsum(np.bincount(feature.codes[~gap], minlength=count))
        place = np.minimum((ranks - 1) * _CORRELATION_BINS // max(int(ranks[-1]), 1), _CORRELATION_BINS - 1)
        bins = np.where(gap, _CORRELATION_BINS, place[feature.codes])
    size = np.bincount(bins)
    number = np.cumsum(size > 0) - 1
    return RowRanges(number[bins], size[size > 0])


def coordinates_of(feature: Feature) -> Coordinates:
    """Return a feature as :func:`rank_coordinates`, with what :func:`correlation_ratio` needs of them."""
    values = rank_coordinates(feature)
    rounding = float((rounding_floor(values) ** 2).sum())
    return Coordinates(values, values.mean(axis=0), float(values.var(axis=0).sum()), rounding)


def correlation_ratio(ranges: RowRanges, other: Coordinates) -> float:
    """Correlation ratio: the share of another feature's variance that lies between the ranges of this one."""
    means = np.column_stack([np.bincount(ranges.of_row, c) / ranges.size for c in other.values.T])
    between = (ranges.size[:, None] * (means - other.mean) ** 2).sum() / len(other.values)
    return float(ratio_above_rounding(between, other.variance, other.rounding))
