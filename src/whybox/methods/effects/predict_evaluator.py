"""Predictions of rows with a feature set to other values, of which every effect is made: the protocol of an evaluator, and one for any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.rows import WeightedRows
from whybox.methods.effects.grid import Grid
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.numerics.statistics import RunningMoments

__all__ = [
    "CURVE_NUMBERS_HELD",
    "CornerRequest",
    "Evaluator",
    "PointMoments",
    "PredictEvaluator",
    "SignedCorners",
    "moments_of_blocks",
]

# a signed sum of predictions: (sign, point of each row), -1 for rows that are left out; a request is of the points of a grid
SignedCorners = Sequence[tuple[int, Ints]]
CornerRequest = tuple[Grid, SignedCorners]
BlockObserver = Callable[
    [Grid, Ints, Floats], None
]  # grid, positions of rows, their individual curves (rows, points, outputs)
CURVE_NUMBERS_HELD: Final = 2**22  # numbers of individual curves held at a time


@final
@dataclass(frozen=True, eq=False)
class PointMoments:
    """Of the individual values at each point, over rows: the weighted mean, its standard error and its skewness, (points, outputs).

    ``notes`` say where the error is of fewer rows than the mean.
    """

    mean: Floats
    std_error: Floats
    skewness: Floats
    notes: tuple[str, ...] = ()


class Evaluator(Protocol):
    """Predictions of rows with features set to points, on the scale asked for; (…, outputs) everywhere."""

    rows: WeightedRows
    selection: OutputSelection

    @property
    def n_predictions_made(self) -> int:
        """Predictions of single rows made so far."""

    @property
    def kernel(self) -> str:
        """How predictions are computed, in words."""

    def reserve_predictions(
        self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = (), *, predictions: bool = False
    ) -> list[int]:
        """Return the rounds of predictions of single rows that all of this takes, refusing too many before any is made; see `PredictEvaluator`."""

    def predictions(self) -> Floats:
        """Return the prediction of each row, (rows, outputs)."""

    def curve_blocks(self, grids: Sequence[Grid], rows: Ints | None = None) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield (which grid, positions of rows, their curves (rows, points, outputs)) in blocks; every row, or each of `rows`, comes once for each grid."""

    def point_means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the mean over rows at each point, (points, outputs) for each grid."""

    def point_moments(self, grids: Sequence[Grid]) -> list[PointMoments]:
        """Return the mean over rows at each point, with its error, for each grid."""

    def corner_sums(self, requests: Sequence[CornerRequest]) -> list[Floats]:
        """Return for each request and row the signed sum of its predictions at the corners, (rows, outputs); rows left out get zeros."""


def moments_of_blocks(evaluator: Evaluator, grid: Grid, blocks: Iterable[tuple[Ints, Floats]]) -> PointMoments:
    """Return means and their errors from blocks of individual curves (rows, curves)."""
    w = evaluator.rows.weights
    running = RunningMoments((len(grid), len(evaluator.selection.names)))
    for rows, values in blocks:
        running.add_rows(values, w[rows])
    return PointMoments(running.mean, running.std_error, running.skewness)


@final
@dataclass(frozen=True, eq=False)
class _DistinctCells:
    """Cells of a grid to predict, each different one once: a cell is a row without the feature, and a point.

    ``cell_numbers`` are row * points + point, sorted; ``own_rows`` is for each a row that is at the point itself,
    so that its prediction is that of the cell, or -1.
    """

    grid: Grid
    cell_numbers: Ints
    own_rows: Ints


@final
class PredictEvaluator:
    """Any model, through predictions of rows with the feature's column replaced.

    Rows that are equal but for the feature are evaluated once. A row set to its own value is that row as it is: wherever that saves predictions, the rows as
    they are are evaluated once and serve all features.

    Args:
        repeat_check: the check that the model's outputs repeat. max_evals: most predictions in total. reserved_predictions: predictions made beside these.

    Attributes:
        predictions_beside: how many predictions are made beside so many, to check them; they count against `max_evals`.
    """

    def __init__(
        self,
        model: Model,
        rows: WeightedRows,
        selection: OutputSelection,
        *,
        repeat_check: RepeatCheck | None = None,
        max_evals: int | None = None,
        reserved_predictions: int = 0,
    ) -> None:
        self.model, self.rows, self.selection, self.repeat_check = model, rows, selection, repeat_check
        self.hybrids = HybridEvaluator(model, selection, max_evals, reserved=reserved_predictions)
        self.predictions_beside: Callable[[int], int] = lambda _: 0
        self._predictions: Floats | None = None
        self._total = ""

    @property
    def n_predictions_made(self) -> int:
        """Predictions of single rows made so far."""
        return self.hybrids.spent

    @property
    def kernel(self) -> str:
        """How predictions are computed, in words."""
        return (
            f"predictions: {self.model.own_predict.call_name}"
            if isinstance(self.model, BlackBox) and self.model.own_predict
            else "predictions: our verified reading of the model"
        )

    def reserve_predictions(
        self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = (), *, predictions: bool = False
    ) -> list[int]:
        """Return how many predictions of single rows the curves of grids, the sums of requests and the rows' own predictions take: the size of each round.

        Raises:
            LimitError: more than are allowed.
        """
        return self._count_rounds(grids, requests, predictions=predictions)[0]

    def _count_rounds(
        self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = (), *, predictions: bool = False
    ) -> tuple[list[int], bool]:
        """The rounds, and whether predicting the rows as they are costs no more than it saves."""
        sizes = [self._size_of_curves(g) for g in grids]
        for grid, corners in _by_grid(requests):
            cells = self._distinct_cells(grid, corners)
            sizes.append((len(cells.cell_numbers), int((cells.own_rows >= 0).sum()), 1))
        distinct_rows = 0 if self._predictions is not None else len(self.rows.distinct_rows(())[0])
        share = predictions or sum(own for _, own, _ in sizes) >= distinct_rows
        rounds = [distinct_rows] if share else []
        for size, own, blocks in sizes:
            left = size - own if share else size
            rounds += [left // blocks + (i < left % blocks) for i in range(blocks)]
        self.hybrids.check_limit(sum(rounds) + self.predictions_beside(sum(rounds)))
        self._total = f", {sum(rounds):,} predictions in all"
        return [r for r in rounds if r], share

    def _size_of_curves(self, grid: Grid) -> tuple[int, int, int]:
        """How many different cells a grid has, how many of them are rows as they are, and in how many blocks they come."""
        n_other_rows = len(self.rows.distinct_rows(grid.column_positions)[0])
        block = max(1, CURVE_NUMBERS_HELD // (len(grid) * len(self.selection.names)))
        return n_other_rows * len(grid), len(self._own_cells(grid)[0]), -(-n_other_rows // block)

    def predict_sample(self, grid: Grid | None, size: int) -> None:
        """Predict some cells of a grid, or rows as they are, for timing; the predictions are neither kept nor counted."""
        rows = np.arange(size) % len(self.rows)
        block = self.rows.table.rows(rows)
        if grid is not None:
            block = block.with_columns_from(grid.table.rows(np.arange(size) % len(grid)), grid.column_positions)
        self.hybrids.predict(block)

    def _begin_rounds(self, grids: Sequence[Grid] = (), requests: Sequence[CornerRequest] = ()) -> None:
        if self._count_rounds(grids, requests)[1]:
            self.predictions()

    def predictions(self) -> Floats:
        """Return the prediction of each row; equal rows are evaluated once."""
        if self._predictions is None:
            first, inverse = self.rows.distinct_rows(())
            self._predictions = self._evaluate_rows(first, None, None, "predictions")[inverse]
            if self.repeat_check is not None:
                self.repeat_check.check_all(self.rows.table, self._predictions)
        return self._predictions

    def curve_blocks(self, grids: Sequence[Grid], rows: Ints | None = None) -> Iterator[tuple[int, Ints, Floats]]:
        """Yield individual curves, grid after grid, in blocks of rows that are equal but for the feature; predictions are made for all rows in any case."""
        self._begin_rounds(grids)
        for i, grid in enumerate(grids):
            for members, values in self._curve_blocks_of(grid):
                kept = slice(None) if rows is None else np.isin(members, rows)
                yield i, members[kept], values[kept]

    def point_means(self, grids: Sequence[Grid]) -> list[Floats]:
        """Return the means alone; the errors would cost no further predictions."""
        return [m.mean for m in self.point_moments(grids)]

    def _curve_blocks_of(self, grid: Grid) -> Iterator[tuple[Ints, Floats]]:
        first, inverse = self.rows.distinct_rows(grid.column_positions)
        order = np.argsort(inverse, kind="stable")
        begins = np.searchsorted(inverse[order], np.arange(len(first) + 1))
        n_points, n_outputs = len(grid), len(self.selection.names)
        known = None if self._predictions is None else self._own_cells(grid)
        size = max(1, CURVE_NUMBERS_HELD // (n_points * n_outputs))
        for start in range(0, len(first), size):
            stop = min(start + size, len(first))
            values = np.empty((stop - start, n_points, n_outputs))
            missing = np.ones((stop - start, n_points), dtype=bool)
            if known is not None and self._predictions is not None:
                cells, row = known
                known_cells = slice(*np.searchsorted(cells, [start * n_points, stop * n_points]))
                values.reshape(-1, n_outputs)[cells[known_cells] - start * n_points] = self._predictions[
                    row[known_cells]
                ]
                missing.reshape(-1)[cells[known_cells] - start * n_points] = False
            block_row, point = np.nonzero(missing)
            values[block_row, point] = self._evaluate_rows(
                first[start + block_row], grid, point, f"effect of {grid.name}"
            )
            members = order[begins[start] : begins[stop]]
            yield members, values[inverse[members] - start]

    def point_moments(self, grids: Sequence[Grid], observe: BlockObserver | None = None) -> list[PointMoments]:
        """Return the mean over rows at each point, with its error, for each grid; `observe` sees the individual curves that they are of."""
        self._begin_rounds(grids)
        return [
            moments_of_blocks(
                self,
                g,
                self._curve_blocks_of(g) if observe is None else _observed_blocks(g, self._curve_blocks_of(g), observe),
            )
            for g in grids
        ]

    def corner_sums(self, requests: Sequence[CornerRequest]) -> list[Floats]:
        """Return signed sums of predictions at corners; each different cell is evaluated once."""
        self._begin_rounds(requests=requests)
        out = [np.zeros((len(self.rows), len(self.selection.names))) for _ in requests]
        for grid, corners_of_grid in _by_grid(requests):
            cells = self._distinct_cells(grid, corners_of_grid)
            predictions = self._predict_cells(cells)
            inverse = self.rows.distinct_rows(grid.column_positions)[1]
            for i, (other, corners) in enumerate(requests):
                if other is not grid:
                    continue
                used = _rows_used(corners)
                for sign, at in corners:
                    where = np.searchsorted(cells.cell_numbers, inverse[used] * len(grid) + at[used])
                    out[i][used] += sign * predictions[where]
        return out

    def _distinct_cells(self, grid: Grid, corner_lists: Sequence[SignedCorners]) -> _DistinctCells:
        inverse = self.rows.distinct_rows(grid.column_positions)[1]
        pairs = [
            inverse[_rows_used(corners)] * len(grid) + at[_rows_used(corners)]
            for corners in corner_lists
            for _, at in corners
        ]
        cell_numbers = np.unique(np.concatenate(pairs))
        own_cells, row = self._own_cells(grid)
        own = np.full(len(cell_numbers), -1, dtype=np.int64)
        if len(own_cells):
            where = np.minimum(np.searchsorted(own_cells, cell_numbers), len(own_cells) - 1)
            own = np.where(own_cells[where] == cell_numbers, row[where], -1)
        return _DistinctCells(grid, cell_numbers, own)

    def _predict_cells(self, cells: _DistinctCells) -> Floats:
        """Predictions of cells, (cells, outputs)."""
        grid, first = cells.grid, self.rows.distinct_rows(cells.grid.column_positions)[0]
        missing = np.ones(len(cells.own_rows), dtype=bool) if self._predictions is None else cells.own_rows < 0
        rest, point = np.divmod(cells.cell_numbers[missing], len(grid))
        out = np.empty((len(cells.own_rows), len(self.selection.names)))
        out[missing] = self._evaluate_rows(first[rest], grid, point, f"effect of {grid.name}")
        if self._predictions is not None:
            out[~missing] = self._predictions[cells.own_rows[~missing]]
        return out

    def _own_cells(self, grid: Grid) -> tuple[Ints, Ints]:
        """Cells of a grid that are rows as they are, sorted by number, and a row for each."""
        rows_at_points = np.flatnonzero(grid.is_at_point & (grid.point_of_row >= 0))
        cells, first = np.unique(
            self.rows.distinct_rows(grid.column_positions)[1][rows_at_points] * len(grid)
            + grid.point_of_row[rows_at_points],
            return_index=True,
        )
        return cells, rows_at_points[first]

    def _evaluate_rows(self, rows: Ints, grid: Grid | None, points: Ints | None, what: str) -> Floats:
        """Predictions of rows with the grid's features set to points, or of rows as they are."""
        self.hybrids.check_limit(len(rows))  # before the first prediction, those of the checks too
        if self.repeat_check is not None:
            self.repeat_check.check_before()
        what += self._total
        if grid is None or points is None:
            return self.hybrids.evaluate_rows(self.rows.table, rows, what=what)
        only = np.zeros(len(rows), dtype=np.int64)
        return self.hybrids.evaluate_each(
            self.rows.table, grid.table, rows, points, only, (grid.column_positions,), what=what
        )


def _observed_blocks(
    grid: Grid, blocks: Iterable[tuple[Ints, Floats]], observe: BlockObserver
) -> Iterator[tuple[Ints, Floats]]:
    for rows, values in blocks:
        observe(grid, rows, values)
        yield rows, values


def _by_grid(requests: Sequence[CornerRequest]) -> list[tuple[Grid, list[SignedCorners]]]:
    """Requests about the same grid together."""
    groups: dict[int, tuple[Grid, list[SignedCorners]]] = {}
    for grid, corners in requests:
        groups.setdefault(id(grid), (grid, []))[1].append(corners)
    return list(groups.values())


def _rows_used(corners: SignedCorners) -> Ints:
    """Rows that no corner leaves out."""
    return np.flatnonzero(np.min([at for _, at in corners], axis=0) >= 0)
