"""Exact values of LIME computed again: shares by counting rows, masses by even draws that the model encodes, values node by node in NumPy or by weights."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from whybox.data.table import Floats
from whybox.kernels.product_law import PlayerLaw
from whybox.kernels.product_law_numpy import NumpyProductLaw
from whybox.kernels.value_intervals import interval_index
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.common.spot_rows import output_label
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.encoded_numbers import model_columns
from whybox.methods.lime.exact import ExactLaws
from whybox.methods.lime.local_model import LocalModel
from whybox.methods.lime.spot_pieces import PieceCells, RowsInside
from whybox.models.linear import Linear

__all__ = ["ExactChecks"]

ROUNDING: Final = 1e-9
BY_DRAWS: Final = "by even draws of all columns, which the model encodes"
FLOAT32_ROUNDING: Final = 2.0**-22  # of a number that the library rounds
SHIFT_GRID: Final = 2_048  # even draws of a number that is not cut into bins
MAX_SHIFT: Final = 6.0  # standard deviations: beyond, even draws are no second way


@final
class ExactChecks:
    """Checks of the exact values of some rows.

    Args:
        design, model: the problem and its answer. rows: positions, those that are checked. laws: of a tree ensemble; None: the model is linear.
    """

    def __init__(
        self, design: LocalDesign, model: LocalModel, rows: Ints, laws: ExactLaws | None, checker: SpotChecker
    ) -> None:
        self._design, self._problem, self._model = design, design.problem, model
        self._rows, self._laws, self._checker = rows, laws, checker
        count = len(self._problem.distributions)
        read = range(count) if laws is None else laws.players
        self._players = [p for p in read if not design.is_scaled[p]]
        self._cells = PieceCells(self._problem, self._players)
        background = self._problem.neighbourhood.background
        self._inside = RowsInside(self._problem, background.table)
        self._weights = background.weights
        self._shares: dict[tuple[int, int], tuple[float, float]] = {}

    def run(self) -> None:
        """Check all.

        Raises:
            SpotCheckError: a number differs.
        """
        self._check_shares()
        if self._laws is None:
            self._check_linear()
            return
        law, law_of = self._laws.of_rows(self._design)
        for i, player in enumerate(self._laws.players):
            if self._design.is_scaled[player]:
                self._check_shift(law.laws[i], law_of[:, i], player)
            else:
                self._check_masses(law.laws[i], law_of[:, i], player)
        self._check_values(law.laws, law_of)

    def _check_shares(self) -> None:
        """Shares of own regions, by counting rows of the background."""
        problem = self._problem
        pairs = [(r, p) for r in self._rows.tolist() for p in self._players if not problem.is_unseen[r, p]]
        for row, player in pairs:
            by_cells, by_pieces = self._inside.of(row, player), self._inside_by_pieces(row, player)
            self._shares[row, player] = (
                float(self._weights[by_cells & by_pieces].sum()),
                float(self._weights[~by_cells & ~by_pieces].sum()),
            )
        ours = np.array([(problem.share[pair], problem.other_share[pair]) for pair in pairs]).reshape(-1, 2)
        theirs = np.array([self._shares[pair] for pair in pairs]).reshape(-1, 2)
        self._checker.compare(
            ours,
            theirs,
            ROUNDING,
            way="by counting the rows of the background that lie in a row's own region",
            where=lambda at: self._place(*pairs[at[0]]),
        )

    def _inside_by_pieces(self, row: int, player: int) -> npt.NDArray[np.bool_]:
        """Which background rows lie in the pieces of a row's own region."""
        neighbourhood = self._problem.neighbourhood
        columns = neighbourhood.columns[player]
        piece = columns[0].piece_of_row
        if len(columns) > 1:
            position = {tuple(k): i for i, k in enumerate(neighbourhood.kinds[player].tolist())}
            each = np.column_stack([c.piece_of_row for c in columns]).tolist()
            piece = np.array([position[tuple(k)] for k in each], dtype=np.int64)
        return np.asarray((piece >= self._problem.first[row, player]) & (piece < self._problem.last[row, player]))

    def _place(self, row: int, player: int) -> list[tuple[str, object]]:
        return [("row", row), ("feature", self._problem.distributions[player].name)]

    def _side_weights(self, row: int, player: int) -> tuple[Floats, Floats, float]:
        """Weights of the pieces inside and outside a row's own region, (pieces,) each, summing to one or nothing; and the chance of the inside."""
        problem, d = self._problem, self._problem.distributions[player]
        position = np.arange(len(d))
        inside = (position >= problem.first[row, player]) & (position < problem.last[row, player])
        if problem.is_unseen[row, player]:
            return np.zeros(len(d)), d.shares / d.shares.sum(), 0.0
        share, other = self._shares[row, player]
        q = share / (share + other * problem.decay)
        return (
            np.where(inside, d.shares, 0.0) / (share or 1.0),
            np.where(inside, 0.0, d.shares) / (other or 1.0),
            q,
        )

    def _check_masses(self, law: PlayerLaw, law_of: Ints, player: int) -> None:
        """The weighted distribution of a player, and its derivative, cumulated over the classes of values that the trees tell apart."""
        columns = np.array(law.columns, dtype=np.int64)
        cells, piece, share = self._cells.cells_of(player, columns)
        index = self._class_of(law, cells)
        counted = np.zeros((len(self._problem.distributions[player]), law.mass.shape[1] + 1))
        np.add.at(counted, (piece, index), share)
        ours, theirs, allowed = [], [], []
        for row in self._rows.tolist():
            own, other, q = self._side_weights(row, player)
            varies = own.any() and other.any()
            mixed, contrast = q * own + (1.0 - q) * other, (own - other) * varies
            for mine, weights in ((law.mass, mixed), (law.derivative, contrast)):
                ours.append(np.cumsum(np.append(mine[law_of[row]], 0.0)))
                theirs.append(np.cumsum(weights @ counted))
                # an edge lies in one bin, between two of its even draws
                allowed.append(1.5 * np.abs(weights).max() / self._cells.draws_of_piece(player) + ROUNDING)
        self._checker.compare(
            np.array(ours),
            np.array(theirs),
            np.array(allowed)[:, None],
            way=BY_DRAWS,
            accurate=False,
            where=lambda at: self._place(int(self._rows[at[0] // 2]), player),
        )

    def _class_of(self, law: PlayerLaw, cells: Floats) -> Ints:
        """The class or atom of each cell; one more where there is none."""
        if law.edges is not None:
            assert self._laws is not None  # noqa: S101  # of trees
            return interval_index(self._laws.model, law.columns[0], cells[:, 0])
        assert law.atoms is not None  # noqa: S101  # one of the two
        position: dict[bytes, int] = {}
        for i, atom in enumerate(np.nan_to_num(law.atoms, nan=np.pi) + 0.0):
            position.setdefault(atom.tobytes(), i)
        return np.array(
            [position.get(c.tobytes(), len(law.atoms)) for c in np.nan_to_num(cells, nan=np.pi) + 0.0], dtype=np.int64
        )

    def _check_shift(self, law: PlayerLaw, law_of: Ints, player: int) -> None:
        """The distribution of a number that is not cut, drawn towards a row's own value, and its derivative as a mean of scores."""
        row, d = int(self._rows[0]), self._problem.distributions[player]
        mean, spread = self._design.centre[row, player], float(np.sqrt(self._design.variance[row, player]))
        if abs(mean) > MAX_SHIFT:
            return
        score = ndtri((np.arange(SHIFT_GRID) + 0.5) / SHIFT_GRID)
        value = d.mean[0] + d.std[0] * (mean + spread * score)
        index = self._class_of(law, self._encoded(player, value)[:, list(law.columns)])
        size, at = law.mass.shape[1], law_of[row]
        theirs = [np.bincount(index, weight, size) for weight in (np.ones(SHIFT_GRID), score / spread)]
        scale = np.array([1.0, float(np.abs(score).max()) / spread])
        self._checker.compare(
            np.cumsum([law.mass[at], law.derivative[at]], axis=1),
            np.cumsum(np.array(theirs) / SHIFT_GRID, axis=1),
            2.0 * scale[:, None] / SHIFT_GRID,
            way=BY_DRAWS,
            accurate=False,
            where=lambda _: self._place(row, player),
        )

    def _check_values(self, laws: tuple[PlayerLaw, ...], law_of: Ints) -> None:
        """Values and weighted means, by the plain NumPy reading of the trees."""
        assert self._laws is not None  # noqa: S101  # of trees
        e, problem = self._laws.model, self._problem
        by_nodes = NumpyProductLaw(e, laws)
        if not laws or not by_nodes.is_quick:
            return
        players = self._laws.players
        mass, derivative = (
            [getattr(law, of)[law_of[self._rows, i]] for i, law in enumerate(laws)] for of in ("mass", "derivative")
        )
        mean, slopes = by_nodes.expected_outputs(mass, derivative)
        found = np.zeros((len(self._rows), problem.first.shape[1], slopes.shape[2]))
        found[:, players] = slopes
        values = problem.selection.select_values(found)
        for k, row in enumerate(self._rows.tolist()):
            for player in np.flatnonzero(problem.is_unseen[row]).tolist():
                values[k, player] = self._unseen_value(by_nodes, row, player, [m[k : k + 1] for m in mass])
        answer = self._model.found
        self._compare_values(
            np.concatenate([answer.values[self._rows], answer.mean[self._rows, None]], axis=1),
            np.concatenate([values, problem.selection.select_predictions(mean)[:, None]], axis=1),
            e.rounding_scale,
            "by a plain NumPy reading of the trees, node by node",
        )

    def _unseen_value(self, by_nodes: NumpyProductLaw, row: int, player: int, mass: list[Floats]) -> Floats:
        """The value of a cell that the background never has; the answer's own where the trees have no class for it."""
        assert self._laws is not None  # noqa: S101  # of trees
        if player not in self._laws.players:
            return np.zeros(self._model.found.values.shape[2])
        i = self._laws.players.index(player)
        law = by_nodes.laws[i]
        own = self._problem.model.inputs.matrix(self._problem.rows.rows(np.array([row])))[:, list(law.columns)]
        at = int(self._class_of(law, own)[0])
        if at == law.mass.shape[1]:
            return np.asarray(self._model.found.values[row, player])
        own_class = (np.arange(law.mass.shape[1]) == at) * 1.0
        contrast = [np.zeros(m.shape) for m in mass]
        contrast[i] = own_class - mass[i]
        mass = [*mass[:i], 0.5 * (own_class + mass[i]), *mass[i + 1 :]]  # on which the derivative does not depend
        return np.asarray(self._problem.selection.select_values(by_nodes.expected_outputs(mass, contrast)[1][0, i]))

    def _check_linear(self) -> None:
        """Values and weighted means of a linear model: weights times means of what it reads."""
        problem, model = self._problem, self._problem.model
        assert isinstance(model, Linear)  # noqa: S101  # no trees
        n, count, outputs = len(self._rows), len(problem.distributions), len(model.base)
        values, mean, more = (
            np.zeros((n, count, outputs)),
            np.tile(model.base, (n, 1)),
            np.zeros((n, count + 1, outputs)),
        )
        for player in range(count):
            columns = model_columns(problem.neighbourhood, player)
            if self._design.is_scaled[player]:
                one, size = self._read_at(player, columns)
                more[:, player] += size
                more[:, -1] += size
                values[:, player] = one[1] - one[0]
                mean += one[0] + (one[1] - one[0]) * self._design.centre[self._rows, player][:, None]
                continue
            cells, piece, share = self._cells.cells_of(player, columns)
            read = np.nan_to_num(cells) @ model.weights[columns]
            by_piece = np.zeros((len(problem.distributions[player]), outputs))
            np.add.at(by_piece, piece, share[:, None] * read)
            error = np.ptp(read, axis=0) / self._cells.draws_of_piece(player)
            error += FLOAT32_ROUNDING * np.abs(read).max(axis=0, initial=0.0)
            for k, row in enumerate(self._rows.tolist()):
                own, other, q = self._side_weights(row, player)
                mean[k] += (q * own + (1.0 - q) * other) @ by_piece
                if problem.is_unseen[row, player]:
                    mine = model.inputs.matrix(problem.rows.rows(np.array([row])))[0, columns]
                    values[k, player] = np.nan_to_num(mine) @ model.weights[columns] - other @ by_piece
                elif own.any() and other.any():
                    values[k, player] = (own - other) @ by_piece
            more[:, player] += error
            more[:, -1] += error
        picks, selection = list(problem.selection.output_positions), problem.selection
        found = self._model.found
        self._compare_values(
            np.concatenate([found.values[self._rows], found.mean[self._rows, None]], axis=1),
            np.concatenate([selection.select_values(values), selection.select_predictions(mean)[:, None]], axis=1),
            model.rounding_scale(self._cells.matrix).max(axis=0),
            BY_DRAWS,
            more[..., picks],
        )

    def _read_at(self, player: int, columns: Ints) -> tuple[Floats, Floats]:
        """What a linear model makes of a number at its mean, and one standard deviation above, (2, outputs); and what rounding to float32 adds, (outputs,)."""
        problem, d = self._problem, self._problem.distributions[player]
        assert isinstance(problem.model, Linear)  # noqa: S101  # no trees
        cells = self._encoded(player, d.mean[0] + d.std[0] * np.array([0.0, 1.0]))
        read = np.nan_to_num(cells[:, columns]) @ problem.model.weights[columns]
        return np.asarray(read), FLOAT32_ROUNDING * np.abs(read).sum(axis=0)

    def _encoded(self, player: int, value: Floats) -> Floats:
        """Rows of numbers of a player that is not cut, as the model encodes them."""
        return self._problem.neighbourhood.encoded_numbers.encoded({player: value})

    def _compare_values(self, ours: Floats, theirs: Floats, size: Floats, way: str, more: Floats | float = 0.0) -> None:
        names = [*(d.name for d in self._problem.distributions), "weighted mean"]
        scale = max(float(np.abs(theirs).max(initial=0.0)), float(np.abs(size).max(initial=0.0)))
        self._checker.compare(
            ours,
            theirs,
            ROUNDING * scale + 1e-300 + more,
            way=way,
            accurate=way != BY_DRAWS,
            where=lambda at: [
                ("row", int(self._rows[at[0]])),
                ("feature", names[at[1]]),
                *output_label(self._problem.selection, at[2]),
            ],
        )
