"""The additive part of a surrogate: a linear term for each column of numbers, an effect of each category, ridge; its Shapley values are differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.surrogates.base import PlayerOf

__all__ = ["AdditiveSurrogate", "fit_additive"]

MAX_EFFECTS: Final = 64  # categories of a column that have effects of their own
RIDGE: Final = 1e-4  # of the number of hybrids, for standardized terms
BLOCK_NUMBERS: Final = 2**22  # terms held at a time

Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class AdditiveSurrogate:
    """``intercept + sum over columns of a term``: linear between the least and the largest number it was fitted to, constant beyond.

    Attributes:
        intercept: (outputs,).
        slopes: (columns, outputs), of numbers. centers, lowest, highest: (columns,).
        missing: (columns, outputs), the term of a missing cell.
        categories: for each column of categories, their codes, sorted, (k,), and effects, (k, outputs); the effect of any other category is 0.
    """

    intercept: Floats
    slopes: Floats
    centers: Floats
    lowest: Floats
    highest: Floats
    missing: Floats
    categories: Mapping[int, tuple[Floats, Floats]]

    def terms(self, cells: Floats) -> Floats:
        """Return each column's term, (n, columns, outputs)."""
        gap = np.isnan(cells)
        numbers = np.clip(cells, self.lowest, self.highest) - self.centers
        out = np.where(gap, 0.0, numbers)[:, :, None] * self.slopes
        for column, (codes, effects) in self.categories.items():
            at = np.minimum(np.searchsorted(codes, cells[:, column]), len(codes) - 1)
            out[:, column] = np.where((codes[at] == cells[:, column])[:, None], effects[at], 0.0)
        return np.where(gap[:, :, None], self.missing, out)

    def predict(self, cells: Floats) -> Floats:
        """Return the outputs, (n, outputs)."""
        out = np.empty((len(cells), len(self.intercept)))
        for rows in self._blocks(len(cells)):
            out[rows] = self.intercept + self.terms(cells[rows]).sum(axis=1)
        return out

    def shapley_values(
        self, rows: Floats, background: Floats, weights: Floats, of_column: PlayerOf, players: int
    ) -> Floats:
        """Return the values, (n, players, outputs), the same ones for every index: each player's terms less their means."""
        means = np.zeros(self.slopes.shape)
        for block in self._blocks(len(background)):
            means += np.einsum("b,bck->ck", weights[block], self.terms(background[block]))
        out = np.zeros((len(rows), players, len(self.intercept)))
        for block in self._blocks(len(rows)):
            terms = self.terms(rows[block]) - means
            for column, player in enumerate(of_column):
                out[block, player] += terms[:, column]
        return out

    def _blocks(self, rows: int) -> list[slice]:
        size = max(1, BLOCK_NUMBERS // max(self.slopes.size, 1))
        return [slice(i, i + size) for i in range(0, rows, size)]


def fit_additive(cells: Floats, outputs: Floats, categorical: Bools) -> AdditiveSurrogate:
    """Fit the additive part.

    Args:
        cells: (hybrids, columns). outputs: (hybrids, outputs). categorical: (columns,).
    """
    n, d = cells.shape
    finite = np.isfinite(cells)
    bounded = np.where(finite, cells, np.nan)
    centers, lowest, highest, scales = np.zeros(d), np.zeros(d), np.zeros(d), np.zeros(d)
    numeric = np.flatnonzero(~categorical & finite.any(axis=0))
    lowest[numeric], highest[numeric] = np.nanmin(bounded[:, numeric], axis=0), np.nanmax(bounded[:, numeric], axis=0)
    gap = np.isnan(cells)
    inside = np.where(gap, np.nan, np.clip(cells, lowest, highest))
    centers[numeric] = np.nanmean(inside[:, numeric], axis=0)
    scales[numeric] = np.nanstd(inside[:, numeric], axis=0)
    varies = np.flatnonzero(scales > 1e-12 * np.maximum(np.abs(centers), 1e-300))
    with_gap = np.flatnonzero(gap.any(axis=0))
    columns = [
        np.where(gap[:, varies], 0.0, (inside[:, varies] - centers[varies]) / scales[varies]),
        gap[:, with_gap].astype(np.float64),
    ]
    codes_of = {}
    for c in np.flatnonzero(categorical).tolist():
        codes = np.unique(cells[~gap[:, c], c])
        if 1 < len(codes) <= MAX_EFFECTS:
            codes_of[c] = codes
            columns.append((cells[:, [c]] == codes).astype(np.float64))
    design = np.concatenate(columns, axis=1)
    means, mean_outputs = design.mean(axis=0), outputs.mean(axis=0)
    design -= means
    gram = design.T @ design
    gram[np.diag_indices_from(gram)] += RIDGE * n
    weights = (
        np.linalg.solve(gram, design.T @ (outputs - mean_outputs))
        if design.shape[1]
        else np.zeros((0, outputs.shape[1]))
    )
    slopes, missing = np.zeros((2, d, outputs.shape[1]))
    slopes[varies] = weights[: len(varies)] / scales[varies][:, None]
    missing[with_gap] = weights[len(varies) : len(varies) + len(with_gap)]
    effects, at = {}, len(varies) + len(with_gap)
    for c, codes in codes_of.items():
        effects[c] = codes, weights[at : at + len(codes)]
        at += len(codes)
    return AdditiveSurrogate(mean_outputs - means @ weights, slopes, centers, lowest, highest, missing, effects)
