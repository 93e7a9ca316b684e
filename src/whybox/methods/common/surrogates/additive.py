"""The additive part of a surrogate: a sum of features of single columns, by ridge; its Shapley values are differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.indices import SHAPLEY, Index
from whybox.methods.common.surrogates.base import PlayerOf
from whybox.methods.common.surrogates.features import ColumnFeatures, column_features

__all__ = ["AdditiveSurrogate", "fit_additive", "row_blocks"]

RIDGE: Final = 1e-4  # of the number of hybrids
BLOCK_NUMBERS: Final = 2**22  # features held at a time

Bools = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class AdditiveSurrogate:
    """``intercept + features @ weights``.

    Attributes:
        features: of single columns. intercept: (outputs,). weights: (features, outputs).
    """

    features: ColumnFeatures
    intercept: Floats
    weights: Floats

    def predict(self, cells: Floats) -> Floats:
        """Return the outputs, (n, outputs)."""
        out = np.tile(self.intercept, (len(cells), 1))
        for block in row_blocks(len(cells), len(self.weights), BLOCK_NUMBERS):
            features = self.features(cells[block])
            for feature, weights in zip(
                features.T, self.weights, strict=True
            ):  # no matrix product: its rounding depends on the number of rows
                out[block] += feature[:, None] * weights
        return out

    def shapley_values(
        self,
        rows: Floats,
        background: Floats,
        weights: Floats,
        of_column: PlayerOf,
        players: int,
        index: Index = SHAPLEY,
        *,
        threads: int = 1,
    ) -> Floats:
        """Return the values, (n, players, outputs), the same ones for every index: each player's terms less their means."""
        del index, threads
        means = np.zeros(len(self.weights))
        for block in row_blocks(len(background), len(means), BLOCK_NUMBERS):
            means += weights[block] @ self.features(background[block])
        out = np.zeros((len(rows), players, len(self.intercept)))
        for block in row_blocks(len(rows), self.weights.size, BLOCK_NUMBERS):
            rise = self.features(rows[block]) - means
            for k, column in enumerate(self.features.column_of):
                out[block, of_column[column]] += rise[:, k, None] * self.weights[k]
        return out


def row_blocks(rows: int, numbers: int, most: int) -> list[slice]:
    """Return blocks of rows, each row `numbers` large, of which none is larger than `most`, one row at least."""
    size = max(1, most // max(numbers, 1))
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


def fit_additive(cells: Floats, outputs: Floats, categorical: Bools) -> AdditiveSurrogate:
    """Fit the additive part.

    Args:
        cells: (hybrids, columns). outputs: (hybrids, outputs). categorical: (columns,).
    """
    features = column_features(cells, categorical)
    design, mean_outputs = features(cells), outputs.mean(axis=0)
    means = design.mean(axis=0)
    design -= means
    gram = design.T @ design
    gram[np.diag_indices_from(gram)] += RIDGE * len(cells)
    weights = np.linalg.solve(gram, design.T @ (outputs - mean_outputs))
    return AdditiveSurrogate(features, mean_outputs - means @ weights, weights)
