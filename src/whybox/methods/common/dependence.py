"""How much features depend on each other: ranks, categories and missing values as coordinates, and correlation ratios between them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Feature
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor

__all__ = [
    "Coordinates",
    "CorrelationRatios",
    "RowRanges",
    "coordinates_of",
    "dependence",
    "rank_coordinates",
    "row_ranges",
]

_CORRELATION_BINS: Final = 10
_BLOCK_DIMENSIONS: Final = 64  # coordinates that are added up together
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


@final
@dataclass(frozen=True, eq=False)
class RowRanges:
    """Ranges of a feature's ranks, or its categories, and missing values: which of them each row is in (rows,), and how many rows each holds."""

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


def row_ranges(feature: Feature, bins: int = _CORRELATION_BINS) -> RowRanges:
    """Return the ranges of a feature, ten or so many, between which :class:`CorrelationRatios` compares others."""
    gap = feature.codes < 0
    count = max(len(feature.unique), 1)
    if feature.numbers is None:
        place = np.where(gap, count, feature.codes)
    else:
        ranks = np.cumsum(np.bincount(feature.codes[~gap], minlength=count))
        of_value = np.minimum((ranks - 1) * bins // max(int(ranks[-1]), 1), bins - 1)
        place = np.where(gap, bins, of_value[feature.codes])
    size = np.bincount(place)
    number = np.cumsum(size > 0) - 1
    return RowRanges(number[place], size[size > 0])


def coordinates_of(feature: Feature) -> Coordinates:
    """Return a feature as :func:`rank_coordinates`, with what :class:`CorrelationRatios` needs of them."""
    values = rank_coordinates(feature)
    rounding = float((rounding_floor(values) ** 2).sum())
    return Coordinates(values, values.mean(axis=0), float(values.var(axis=0).sum()), rounding)


@final
class CorrelationRatios:
    """Correlation ratios of one feature with many others, whose coordinates are kept side by side, some features at a time.

    Args:
        coordinates: of each of the others; read once.
    """

    def __init__(self, coordinates: Iterable[Coordinates]) -> None:
        # coordinates of some features, and their means; then of each feature its block, where it begins there, and where it ends
        self._blocks: list[tuple[Floats, Floats]] = []
        self._place: list[tuple[int, int, int]] = []
        limits: list[tuple[float, float]] = []
        block: list[Coordinates] = []
        width = 0
        for c in coordinates:
            block.append(c)
            self._place.append((len(self._blocks), width, width + c.values.shape[1]))
            limits.append((c.variance, c.rounding))
            width += c.values.shape[1]
            if width >= _BLOCK_DIMENSIONS:
                self._keep(block)
                block, width = [], 0
        if block:
            self._keep(block)
        self._variance, self._rounding = np.array(limits).reshape(-1, 2).T

    def _keep(self, block: list[Coordinates]) -> None:
        self._blocks.append((np.column_stack([c.values for c in block]), np.concatenate([c.mean for c in block])))

    def __call__(self, ranges: RowRanges) -> Floats:
        """Return the share of each other feature's variance that lies between the ranges of this one, (features,)."""
        from scipy.sparse import csr_matrix

        rows = len(ranges.of_row)
        of_range = csr_matrix((np.ones(rows), ranges.of_row, np.arange(rows + 1)), shape=(rows, len(ranges.size))).T
        size = ranges.size[:, None]
        squares = [size * ((of_range @ values) / size - mean) ** 2 for values, mean in self._blocks]
        between = [np.ascontiguousarray(squares[k][:, a:b]).sum() / rows for k, a, b in self._place]
        return ratio_above_rounding(between, self._variance, self._rounding)

    def coordinates(self, feature: int) -> Floats:
        """Return the coordinates of one of the features, (rows, dimensions)."""
        block, first, end = self._place[feature]
        return self._blocks[block][0][:, first:end]


def dependence(features: Sequence[Feature]) -> Floats:
    """Return how much each feature depends on each other one, (features, features): 0 for none, up to 1.

    The larger of the two correlation ratios of a pair, without the share that chance alone would give (epsilon squared), and 0 where an F-test does not find it at
    5 % over all pairs. Few rows are cut into fewer than ten ranges, so that each holds about ten.

    References:
        Kelley, An unbiased correlation ratio measure, Proceedings of the National Academy of Sciences 21 (1935).
    """
    from scipy.sparse import csr_matrix

    rows, count = len(features[0].codes), len(features)
    coordinates = [coordinates_of(f) for f in features]
    first = np.cumsum([0, *(c.values.shape[1] for c in coordinates[:-1])])
    centred = np.column_stack([c.values - c.mean for c in coordinates])
    total, floor = (np.array(x) * rows for x in ([c.variance for c in coordinates], [c.rounding for c in coordinates]))
    explained = np.zeros((count, count))
    for i, feature in enumerate(features):
        ranges = row_ranges(feature, int(np.clip(rows // 10, 2, _CORRELATION_BINS)))
        if 1 < len(ranges.size) < rows:
            sums = csr_matrix((np.ones(rows), (ranges.of_row, np.arange(rows)))) @ centred
            between = np.add.reduceat((sums**2 / ranges.size[:, None]).sum(axis=0), first)
            ratios = ratio_above_rounding(between, total, floor)
            explained[i] = _beyond_chance(ratios, rows, len(ranges.size), count * (count - 1))
    return np.maximum(explained, explained.T)


def _beyond_chance(ratios: Floats, rows: int, ranges: int, tests: int) -> Floats:
    """Correlation ratios less what chance gives, and 0 where they may be chance altogether."""
    from scipy.special import fdtrc

    within = np.maximum(1.0 - ratios, 1e-12) / (rows - ranges)
    chance = fdtrc(ranges - 1, rows - ranges, ratios / (ranges - 1) / within)
    adjusted = 1.0 - within * (rows - 1)
    return np.where(chance * tests < SIGNIFICANCE, np.clip(adjusted, 0.0, 1.0), 0.0)
