"""The pieces of every player once more, by cells: what the model reads in each, and which rows lie in a row's own region.

One table holds numbers of all columns at once: as many even draws of each bin, encoded by the model as it encodes rows. Other pieces are the background's own cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_positions
from whybox.data.table import Floats, Table
from whybox.methods.common.columns import Feature, Ints, feature_of
from whybox.methods.common.piecewise import BinnedColumn
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.sample import sample_of

__all__ = ["OwnCells", "PieceCells", "RowsInside"]

GRID: Final = 4_096  # even draws of a column, shared out among its bins
MAX_CELLS: Final = 2**19  # of the table of even draws
MIN_DRAWS: Final = 16  # of one bin
EDGE_ROUNDING: Final = 1e-6  # relative: closer to an edge, a cell's own type may have rounded it across

Bools = npt.NDArray[np.bool_]


@final
class PieceCells:
    """What the model reads in each piece of its players.

    Args:
        problem: the problem. players: those that are asked for, none of them scaled.

    Attributes:
        matrix: the background as the model reads it.
    """

    def __init__(self, problem: LimeProblem, players: Sequence[int]) -> None:
        self._problem = problem
        background, distributions = problem.neighbourhood.background.table, problem.distributions
        self.matrix = problem.model.inputs.matrix(background)
        self._pieces: dict[int, Ints] = {}
        for p in players:
            drawn = np.flatnonzero(distributions[p].is_continuous)
            if len(drawn):
                self._pieces[p] = drawn
        self._grid = np.empty((0, problem.model.inputs.width))
        if not self._pieces:
            return
        most = max(map(len, self._pieces.values()))
        rows = max(min(GRID, MAX_CELLS // len(distributions)), MIN_DRAWS * most)
        u = np.full((rows, len(distributions)), 0.5)
        for p in self._pieces:
            u[:, p] = self._even_draws(p, rows)
        self._grid = problem.model.inputs.matrix(sample_of(background, distributions, u).table)

    def _even_draws(self, player: int, rows: int) -> Floats:
        """As many of each bin, in the middle of even parts of it; the last ones repeat one."""
        d, pieces = self._problem.distributions[player], self._pieces[player]
        each = rows // len(pieces)
        u = np.full(rows, d.ends[pieces[0]] + 0.5 * d.shares[pieces[0]])
        middle = (np.arange(each) + 0.5) / each
        u[: each * len(pieces)] = (d.ends[pieces][:, None] + d.shares[pieces][:, None] * middle).reshape(-1)
        return u

    def draws_of_piece(self, player: int) -> float:
        """How many even draws each bin of a player has; infinite where all its pieces are the background's own cells."""
        return len(self._grid) // len(self._pieces[player]) if player in self._pieces else np.inf

    def cells_of(self, player: int, columns: Ints) -> tuple[Floats, Ints, Floats]:
        """Return cells of model columns, (cells, columns), the piece of each, and its share of that piece."""
        d = self._problem.distributions[player]
        weights = self._problem.neighbourhood.background.weights[d.atom_rows]
        total = np.bincount(d.atom_piece, weights, len(d))
        cells, piece = self.matrix[d.atom_rows][:, columns], d.atom_piece
        share = weights / total[piece]
        if player in self._pieces:
            pieces = self._pieces[player]
            each = len(self._grid) // len(pieces)
            cells = np.concatenate([cells, self._grid[: each * len(pieces), columns]])
            piece = np.concatenate([piece, np.repeat(pieces, each)])
            share = np.concatenate([share, np.full(each * len(pieces), 1.0 / each)])
        return cells, piece, share


@final
class OwnCells:
    """The cells of the rows explained, each read once from a table of its row alone."""

    def __init__(self, problem: LimeProblem) -> None:
        self._rows = problem.rows
        self._alone: dict[int, Table] = {}
        self._features: dict[tuple[int, int], Feature] = {}

    def of(self, row: int, position: int) -> Feature:
        """Return the cell of a row in one column."""
        if (row, position) not in self._features:
            if row not in self._alone:
                self._alone[row] = self._rows.rows(np.array([row]))
            self._features[row, position] = feature_of(self._alone[row], position)
        return self._features[row, position]


@final
class RowsInside:
    """Whether rows of a table lie in a row's own region, by their cells.

    Args:
        problem: the problem. table: the rows. pieces: of them, (rows, players). own: of this problem; None: new ones.
    """

    def __init__(
        self, problem: LimeProblem, table: Table, pieces: Ints | None = None, own: OwnCells | None = None
    ) -> None:
        self._problem, self._table, self._pieces = problem, table, pieces
        self.own = OwnCells(problem) if own is None else own
        self._features: dict[int, Feature] = {}

    def of(self, row: int, player: int) -> Bools:
        """Return it for one player, (rows of the table,)."""
        inside = np.full(len(self._table), not self._problem.is_unseen[row, player])
        for column in self._problem.neighbourhood.columns[player]:
            inside &= self._of_column(row, player, column)
        return inside

    def _feature(self, position: int) -> Feature:
        if position not in self._features:
            self._features[position] = feature_of(self._table, position)
        return self._features[position]

    def _of_column(self, row: int, player: int, column: BinnedColumn) -> Bools:
        position = column.feature.position
        cells, own = self._feature(position), self.own.of(row, position)
        if own.codes[0] < 0:
            return np.asarray(cells.codes < 0)
        if not column.is_number:
            at = cell_positions(list(cells.unique), list(own.unique[own.codes]))[0]
            return np.asarray(cells.codes == at) if at >= 0 else np.zeros(len(cells.codes), dtype=bool)
        values = np.full(len(cells.codes), np.nan)
        known = cells.codes >= 0
        values[known] = column.feature.place(cells.unique)[cells.codes[known]]
        number = float(column.feature.place(own.unique)[own.codes[0]])
        if column.window:
            places = column.feature.place(column.feature.unique)
            first, last = self._problem.first[row, player], self._problem.last[row, player]
            return np.asarray((values >= places[first]) & (values <= places[last - 1]))
        edges = np.concatenate([[-np.inf], column.edges, [np.inf]])
        b = int(np.searchsorted(column.edges, number, side="left"))
        inside = (values > edges[b]) & (values <= edges[b + 1])
        if self._pieces is not None:
            rounded = np.isclose(values[:, None], edges[b : b + 2], rtol=EDGE_ROUNDING, atol=0.0).any(axis=1)
            piece = self._pieces[:, player]
            by_piece = (piece >= self._problem.first[row, player]) & (piece < self._problem.last[row, player])
            inside = np.where(rounded, by_piece, inside)
        return np.asarray(inside)
