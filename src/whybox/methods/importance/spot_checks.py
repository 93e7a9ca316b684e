"""Spot checks of permutation importance: predictions of permuted rows asked of the model itself, and sums over pairs added up by donors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.data.cells import object_cells
from whybox.data.table import Floats, Table
from whybox.explanation.spot_checks import SpotChecks
from whybox.kernels.predict import compare_with_own_predict
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import NOT_CHECKED, SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import (
    FeaturePoints,
    PositionLabel,
    RowCell,
    RowRecomputation,
    output_label,
    rows_alone,
)
from whybox.methods.importance.loss_problem import LossProblem
from whybox.models.blackbox import BlackBox

__all__ = ["PermutationChecks", "check_rows"]

SUM_ROUNDING: Final = 1e-9  # relative: of sums of many losses in two orders


@final
@dataclass(frozen=True, eq=False)
class _PermutedCell:
    """A row with a player's values of another row, and what the answer took its predictions to be, (outputs,)."""

    player: int
    row: int
    donor: int
    predictions: Floats


@final
class PermutationChecks:
    """Collects predictions of permuted rows while importance is computed, and then asks the model itself.

    Args:
        problem: with its rows. work: predictions of single rows that the answer takes, about.
    """

    def __init__(self, problem: LossProblem, work: float = 0.0) -> None:
        self._problem, self._cells = problem, list[_PermutedCell]()
        alone = rows_alone(problem.model)
        asked = spot_predictions(problem.options.spot_checks, work)
        self._alone = alone if asked > alone else 0
        count, rng = max(asked - self._alone, 0), spot_rng(problem.options.seed, 15)
        kept = np.flatnonzero(problem.weights > 0)
        self._player = rng.integers(0, problem.players.count, count)
        self._row, self._donor = rng.choice(kept, count), rng.choice(kept, count)

    def observe_donors(self, player: int, donors: Ints, predictions: Floats) -> None:
        """Note some of the predictions of rows with their donors' values: (rows,) and (rows, outputs). The draw of donors is the answer's own."""
        for k in np.flatnonzero(self._player == player):
            row = int(self._row[k])
            self._cells.append(_PermutedCell(player, row, int(donors[row]), predictions[row].copy()))
        self._player = np.where(self._player == player, -1, self._player)

    def observe_points(self, player: int, rows: Ints, points: Ints, predictions: Floats) -> None:
        """Note some of the predictions of a block of rows at every point of a player.

        Args:
            rows: (block,), consecutive. points: (rows,), the point of every row. predictions: (block, points, outputs).
        """
        first, last = int(rows[0]), int(rows[-1])
        for k in np.flatnonzero((self._player == player) & (self._row >= first) & (self._row <= last)):
            row, donor = int(self._row[k]), int(self._donor[k])
            self._cells.append(_PermutedCell(player, row, donor, predictions[row - first, points[donor]].copy()))

    def check(self, of_row: Floats, of_donor: Floats) -> SpotChecks:
        """Ask the model about what was noted, and add sums over pairs up by donors.

        Args:
            of_row, of_donor: (rows, players), see `PairDifferences`; their weighted sums are equal where they are exact.

        Raises:
            SpotCheckError: a number differs by more than rounding explains.
        """
        problem, checker = self._problem, SpotChecker()
        if not self._cells:
            return NOT_CHECKED
        points = [self._points(player) for player in range(problem.players.count)]
        recompute = RowRecomputation(problem.model, problem.table, problem.selection, checker, alone=self._alone)
        cells = [RowCell(c.row, points[c.player], c.donor) for c in self._cells]
        recomputed, allowed = recompute(cells)

        def label_of(at: tuple[int, ...]) -> PositionLabel:
            return [*cells[at[0]].position_label, *output_label(problem.selection, at[1])]

        checker.compare(
            np.stack([c.predictions for c in self._cells]),
            recomputed,
            allowed,
            way=recompute.description,
            where=label_of,
        )
        weights = problem.weights
        size = SUM_ROUNDING * (weights @ np.abs(of_row)) + 1e-300
        checker.compare(
            weights @ of_row, weights @ of_donor, size, way="by adding the pairs of rows up by donors",
            where=lambda at: [("feature", problem.players.names[at[0]])],
        )  # fmt: skip
        return checker.result

    def _points(self, player: int) -> FeaturePoints:
        """The values of all rows of a player, a point each."""
        rows, members = self._problem.resolved.rows, self._problem.players.members[player]
        labels = tuple(object_cells(rows.table, p) for p in members)
        return FeaturePoints(tuple(rows.feature(p) for p in members), rows.table, labels)


def check_rows(problem: LossProblem, checker: SpotChecker, rows: Table, n_rows: int, *, what: str) -> None:
    """Ask a model that is read for its own predictions of some rows that were made, and compare our reading of them; a black box is asked about all of them in any case.

    Args:
        checker: counts what was compared. rows: that were made. n_rows: how many of them at most. what: what they are, in words.

    Raises:
        ModelMismatchError: a prediction differs by more than rounding explains.
    """
    model = problem.model
    if isinstance(model, BlackBox) or model.own_predict is None or n_rows < 1:
        return
    some = rows.rows(np.unique(np.linspace(0, len(rows) - 1, n_rows).astype(np.int64)))
    difference = compare_with_own_predict(model, some, model.inputs.matrix(some), rows=what, row="row")
    numbers = len(some) * len(problem.selection.names)
    checker.note_agreement(numbers, len(some), difference, way=f"by asking {model.own_predict.call_name} about {what}")
