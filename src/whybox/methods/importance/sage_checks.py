"""Spot checks of SAGE: predictions of rows with absent players asked of the model itself, and the sum of the values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import object_cells
from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import NOT_CHECKED, SpotChecker, spot_rng
from whybox.methods.common.spot_rows import (
    FeaturePoints,
    rows_alone,
)
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.sage_game import GameSize, LossGame
from whybox.methods.importance.spot_checks import compare_noted, planned_checks
from whybox.models.blackbox import BlackBox

__all__ = ["SageChecks", "planned_sage_checks"]

SUM_ROUNDING: Final = 1e-9  # relative: of sums of losses in two orders


def planned_sage_checks(problem: LossProblem, size: GameSize) -> int:
    """Return how many predictions of single rows the checks make of the model's own predict: of a black box a share of the work, of a model that is read a few."""
    work = size.first_coalitions * size.n_rows * len(size.background) if isinstance(problem.model, BlackBox) else 0
    return planned_checks(problem, float(work))


@final
class SageChecks:
    """Collects predictions while coalitions are evaluated, and then asks the model itself.

    Args:
        problem: with its rows. size: of the game.
    """

    def __init__(self, problem: LossProblem, size: GameSize) -> None:
        self._problem, self._background, self._checker = problem, size.background, SpotChecker()
        alone = rows_alone(problem.model)
        asked = planned_sage_checks(problem, size)
        self._alone = alone if asked > alone else 0
        count, rng = max(asked - self._alone, 0), spot_rng(problem.options.seed, 16)
        self._coalition = rng.integers(0, size.first_coalitions, count)
        self._row = rng.choice(size.row_order[: size.n_rows], count)
        self._donor = rng.integers(0, len(size.background), count)
        self._predictions: dict[
            int, Floats
        ] = {}  # of those that were noted, what the answer took them to be, (outputs,)

    @property
    def result(self) -> SpotChecks:
        """What was recomputed; nothing where no checks are wanted."""
        return self._checker.result if self._predictions else NOT_CHECKED

    def observe(self, coalitions: Ints, rows: Ints, predictions: Floats) -> None:
        """Note some of the predictions of a block, (coalitions, rows, background rows, outputs)."""
        for k in np.flatnonzero(np.isin(self._coalition, coalitions) & np.isin(self._row, rows)).tolist():
            at = int(np.flatnonzero(coalitions == self._coalition[k])[0]), int(np.flatnonzero(rows == self._row[k])[0])
            self._predictions.setdefault(k, predictions[(*at, self._donor[k])].copy())

    def check_predictions(self, game: LossGame, coalitions: npt.NDArray[np.bool_]) -> None:
        """Ask the model about the rows that were noted.

        Args:
            game: that was evaluated. coalitions: (coalitions, players), those that were evaluated first.

        Raises:
            SpotCheckError: a prediction differs by more than rounding explains.
        """
        if not self._predictions:
            return

        def points_of(coalition: int, which: Ints) -> FeaturePoints | None:
            columns = game.absent_columns(coalitions[coalition])
            return self._points(columns, self._donor[which]) if columns else None

        compare_noted(
            self._problem, self._checker, self._predictions, self._coalition, self._row, points_of, alone=self._alone
        )

    def check_sum(self, values: Floats, baseline: Floats, game: LossGame, rows: Ints) -> None:
        """Hold the sum of the values against the loss of the mean prediction of the background, less the loss of the rows' own predictions.

        Args:
            values: (players,). baseline: (rows,), the loss of each row with all players, over the background. game: that was evaluated. rows: positions of the rows.

        Raises:
            SpotCheckError: they differ by more than rounding explains.
        """
        if not self._predictions:
            return
        problem = self._problem
        weights = problem.weights[rows] / problem.weights[rows].sum()
        empty = weights @ game.losses_without_players(rows)
        full = weights @ problem.losses(game.own[rows], rows)
        self._checker.compare(
            np.array([values.sum(), weights @ baseline]),
            np.array([empty - full, full]),
            SUM_ROUNDING * (abs(empty) + abs(full) + np.abs(values).sum()) + 1e-300,
            way="by the losses of the rows' own predictions and of the mean prediction of the background",
            where=lambda at: [("sum", ("of all features", "of the losses")[at[0]])],
        )

    def _points(self, columns: Sequence[int], donors: Ints) -> FeaturePoints:
        """The values of absent columns in these background rows, a point each."""
        features = tuple(self._problem.rows.feature(p) for p in columns)
        table = self._background.table.rows(donors)
        return FeaturePoints(features, table, tuple(object_cells(table, p) for p in columns))
