"""Effects of linear models from their weights: exact, and without predicting the changed rows one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects.columns_read import model_columns
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import (
    CURVE_NUMBERS_HELD,
    CornerRequest,
    PointMoments,
    SignedCorners,
    moments_of_blocks,
)
from whybox.models.linear import Linear

__all__ = ["LinearEvaluator"]

_NUMBERS_HELD: Final = 2**22  # numbers of encoded rows, of sums and of weights, held at a time


@final
class LinearEvaluator:
    """Predictions of changed rows from the weights: what the other columns of a row add up to, and what the feature adds at a point."""

    def __init__(self, model: Linear, rows: WeightedRows, selection: OutputSelection) -> None:
        self.model, self.rows, self.selection = model, rows, selection
        self.n_predictions_made = 0
        self._sums: dict[tuple[int, ...], Floats] = {}

    @property
    def kernel(self) -> str:
        """How predictions are computed, in words."""
        return "the model's weights"

    def reserve_predictions(
        self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = (), *, predictions: bool = False
    ) -> list[int]:
        """Return no rounds: weights take no predictions."""
        del grids, requests, predictions
        return []

    def predictions(self) -> Floats:
        """Return the prediction of each row, (rows, outputs)."""
        return self._on_scale(self._sums_without([()])[0])

    def curve_blocks(self, grids: Sequence[Grid], rows: Ints | None = None) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield individual curves, grid after grid, in blocks of rows."""
        positions = np.arange(len(self.rows)) if rows is None else rows
        n_outputs = len(self.model.outputs.names)
        for i, (grid, rest) in enumerate(zip(grids, self._rest_of(grids), strict=True)):
            added = self._added_at(grid)
            size = max(1, CURVE_NUMBERS_HELD // (len(grid) * n_outputs))
            for start in range(0, len(positions), size):
                some = positions[start : start + size]
                yield i, some, self._on_scale(rest[some, None] + added)

    def point_means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the means alone."""
        return [m.mean for m in self.point_moments(grids)]

    def point_moments(self, grids: Sequence[Grid]) -> list[PointMoments]:
        """Return the mean over rows at each point, with its error, for each grid.

        On the scale of the sum a point moves all rows alike, so that the error of each point is that of the rest of the rows.
        """
        if not self._is_identity:
            return [moments_of_blocks(self, g, ((rows, c) for _, rows, c in self.curve_blocks([g]))) for g in grids]
        return [self._shifted(grid, rest) for grid, rest in zip(grids, self._rest_of(grids), strict=True)]

    def corner_sums(self, requests: Sequence[CornerRequest]) -> list[Floats]:
        """Return for each request and row the signed sum of its predictions at the corners, (rows, outputs); rows left out get zeros."""
        rests = self._rest_of([grid for grid, _ in requests])
        return [
            self._sums_at(self._added_at(grid), rest, corners)
            for (grid, corners), rest in zip(requests, rests, strict=True)
        ]

    def _sums_at(self, added: Floats, rest: Floats, corners: SignedCorners) -> Floats:
        out = np.zeros((len(self.rows), len(self.selection.names)))
        used = np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
        for sign, at in corners:
            out[used] += sign * self._on_scale(rest[used] + added[at[used]])
        return out

    def _shifted(self, grid: Grid, rest: Floats) -> PointMoments:
        """Moments of curves that are all parallel: those of one point of it, moved."""
        one_point = grid.select_points(np.zeros(1, dtype=np.int64))
        at_zero = moments_of_blocks(self, one_point, [(np.arange(len(rest)), self._on_scale(rest)[:, None])])
        moved = self.selection.select_values(self._added_at(grid))
        error, skewness = (np.repeat(a, len(grid), axis=0) for a in (at_zero.std_error, at_zero.skewness))
        return PointMoments(at_zero.mean + moved, error, skewness)

    def _rest_of(self, grids: Sequence[Grid]) -> list[Floats]:
        """The raw outputs of the rows without what the feature adds, (rows, raw outputs), for each grid."""
        return self._sums_without([model_columns(self.model, g.column_positions) for g in grids])

    def _sums_without(self, columns_left_out: Sequence[tuple[int, ...]]) -> list[Floats]:
        """The raw outputs of the rows without some model columns, (rows, raw outputs); each block of rows is encoded once.

        They are summed anew rather than taken from the sum of all columns, which a large value would have rounded.
        """
        missing = [c for c in dict.fromkeys(columns_left_out) if c not in self._sums]
        if missing:
            outputs = len(self.model.base_values)
            n_rows = max(1, _NUMBERS_HELD // max(self.model.inputs.width, len(missing) * outputs))
            blocks = [
                self._sums_of_block(_without_missing(self.model.inputs.matrix_of_block(block, start)), missing)
                for start, block in self.rows.table.blocks(n_rows)
            ]
            for i, columns in enumerate(missing):
                self._sums[columns] = np.concatenate([block[i] for block in blocks])
        return [self._sums[c] for c in columns_left_out]

    def _sums_of_block(self, X: Floats, columns_left_out: Sequence[tuple[int, ...]]) -> list[Floats]:
        weights, base = self.model.weights, self.model.base_values
        if not np.isfinite(X).all():  # infinity times a weight of zero is no number
            return [
                base + np.delete(X, columns, axis=1) @ np.delete(weights, columns, axis=0)
                for columns in columns_left_out
            ]
        out: list[Floats] = []
        size = max(1, _NUMBERS_HELD // max(weights.size, 1))
        for start in range(0, len(columns_left_out), size):
            some = columns_left_out[start : start + size]
            masked = np.repeat(weights[:, None], len(some), axis=1)  # (columns, what is left out, outputs)
            for i, columns in enumerate(some):
                masked[list(columns), i] = 0.0
            sums = (X @ masked.reshape(len(weights), -1)).reshape(len(X), len(some), -1)
            out += [base + sums[:, i] for i in range(len(some))]
        return out

    def _added_at(self, grid: Grid) -> Floats:
        """What the feature adds at each point, (points, raw outputs)."""
        columns = list(model_columns(self.model, grid.column_positions))
        X = _without_missing(self.model.inputs.matrix(grid.table)[:, columns])
        return np.asarray(X @ self.model.weights[columns])

    @cached_property
    def _is_identity(self) -> bool:
        return self.selection.scale == "raw" or self.model.outputs.link.is_identity

    def _on_scale(self, raw: Floats) -> Floats:
        return self.selection.from_raw(raw, self.model.outputs.link)


def _without_missing(X: Floats) -> Floats:
    """A copy in which missing values are 0: they add nothing."""
    return np.where(np.isnan(X), 0.0, X)
