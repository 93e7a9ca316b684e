"""Features of single columns: what surrogates that are sums and products of one-column functions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats

__all__ = ["ColumnFeatures", "column_features"]

MAX_CATEGORIES: Final = 64  # of a column that have a feature each; one of more categories has none
MAX_NUMBER: Final = 1e140  # whose square, and the sum of many, is finite
SMALLEST_SPREAD: Final = 1e-12  # of a column or an output, relative to its mean, that is no rounding

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class ColumnFeatures:
    """Numbers as distances from their mean in standard deviations, cut off at the least and largest that were seen; whether a number is missing; categories one-hot.

    Two different categories, and a category and a missing one, are at squared distance 1; a category that was not seen has the feature 0.

    Attributes:
        numeric: columns of numbers that vary. centers, scales, lowest, highest: of them.
        with_gaps: columns of numbers some of which are missing.
        categories: for each column of categories its codes, sorted, NaN the last if some are missing.
        column_of: (features,), the column of each. group_of: (features,), a number for each of the above: those of one column's categories share it.
    """

    numeric: Ints
    centers: Floats
    scales: Floats
    lowest: Floats
    highest: Floats
    with_gaps: Ints
    categories: Mapping[int, Floats]
    column_of: Ints
    group_of: Ints

    def __call__(self, cells: Floats) -> Floats:
        """Return the features of cells (n, columns), (n, features)."""
        numbers = cells[:, self.numeric]
        out = np.empty((len(cells), len(self.column_of)))
        at = len(self.numeric)
        out[:, :at] = np.where(
            np.isnan(numbers), 0.0, (np.clip(numbers, self.lowest, self.highest) - self.centers) / self.scales
        )
        out[:, at : at + len(self.with_gaps)] = np.isnan(cells[:, self.with_gaps])
        at += len(self.with_gaps)
        for column, codes in self.categories.items():
            same = cells[:, [column]] == codes
            if np.isnan(codes[-1]):
                same[:, -1] = np.isnan(cells[:, column])
            out[:, at : at + len(codes)] = same * np.sqrt(0.5)
            at += len(codes)
        return out


def column_features(cells: Floats, categorical: Bools) -> ColumnFeatures:
    """Return the features of hybrids' columns.

    Args:
        cells: as numbers, (hybrids, columns). categorical: (columns,), whose numbers are codes.
    """
    finite = np.isfinite(cells)
    bounded = np.where(finite, np.clip(cells, -MAX_NUMBER, MAX_NUMBER), np.nan)
    candidates = np.flatnonzero(~categorical & finite.any(axis=0))
    lowest, highest = np.nanmin(bounded[:, candidates], axis=0), np.nanmax(bounded[:, candidates], axis=0)
    inside = np.clip(cells[:, candidates], lowest, highest)  # NaN stays
    centers, scales = np.nanmean(inside, axis=0), np.nanstd(inside, axis=0)
    varies = scales > SMALLEST_SPREAD * np.abs(centers)
    with_gaps = np.flatnonzero(~categorical & np.isnan(cells).any(axis=0))
    categories = {}
    for column in np.flatnonzero(categorical).tolist():
        codes = np.unique(cells[:, column])  # sorted; one NaN, the last
        if 1 < len(codes) <= MAX_CATEGORIES:
            categories[column] = codes
    numeric = candidates[varies]
    sizes = [1] * (len(numeric) + len(with_gaps)) + [len(codes) for codes in categories.values()]
    of_group = np.concatenate([numeric, with_gaps, np.array(list(categories), dtype=np.int64)])
    return ColumnFeatures(
        numeric,
        centers[varies],
        scales[varies],
        lowest[varies],
        highest[varies],
        with_gaps,
        categories,
        np.repeat(of_group, sizes),
        np.repeat(np.arange(len(sizes)), sizes),
    )
