"""Spot checks of permutation importance: predictions of permuted rows asked of the model itself, and sums over pairs added up by donors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
from whybox.methods.importance.rows_problem import RowsProblem
from whybox.models.blackbox import BlackBox

__all__ = ["PermutationChecks", "check_rows", "compare_noted", "planned_checks"]

SUM_ROUNDING: Final = 1e-9  # relative: of sums of many losses in two orders
NUMBER_ROUNDING: Final = 1e-12  # of a loss, relative to the numbers that it compares


def planned_checks(problem: RowsProblem, work: float) -> int:
    """Return how many predictions of single rows the checks make of the model's own predict, for an answer that takes `work` of them."""
    return 0 if problem.model.own_predict is None else spot_predictions(problem.options.spot_checks, work)


@final
class PermutationChecks:
    """Collects predictions of permuted rows while importance is computed, and then asks the model itself.

    Args:
        problem: with its rows. work: predictions of single rows that the answer takes, about.

    Attributes:
        players, rows, donors: what is checked, one each: the prediction of a row with a player's values of another.
    """

    def __init__(self, problem: RowsProblem, work: float = 0.0) -> None:
        self._problem, self._checker = problem, SpotChecker()
        alone = rows_alone(problem.model)
        asked = spot_predictions(problem.options.spot_checks, work)
        self._alone = alone if asked > alone else 0
        count, rng = max(asked - self._alone, 0), spot_rng(problem.options.seed, 15)
        kept = np.flatnonzero(problem.weights > 0)
        self.players = rng.integers(0, problem.players.count, count)
        self.rows, self.donors = rng.choice(kept, count), rng.choice(kept, count)
        self._predictions: dict[
            int, Floats
        ] = {}  # of those that were noted, what the answer took them to be, (outputs,)

    @property
    def result(self) -> SpotChecks:
        """What was recomputed; nothing where no checks are wanted."""
        return self._checker.result if self._predictions else NOT_CHECKED

    def rows_of(self, player: int) -> Ints:
        """Return the rows of which a prediction with this player changed is asked for."""
        return np.unique(self.rows[self.players == player])

    def observe_donors(self, player: int, donors: Ints, predictions: Floats) -> None:
        """Note some of the predictions of rows with the values of the answer's own donors, (rows,) and (rows, outputs): in the first round of a player."""
        for k in np.flatnonzero(self.players == player).tolist():
            if k not in self._predictions:
                self.donors[k] = donors[self.rows[k]]
                self._predictions[k] = predictions[self.rows[k]].copy()

    def observe_points(self, player: int, rows: Ints, points: Ints, predictions: Floats) -> None:
        """Note some of the predictions of a block of rows at every point of a player.

        Args:
            rows: (block,), consecutive. points: (rows,), the point of every row. predictions: (block, points, outputs).
        """
        wanted = (self.players == player) & (self.rows >= rows[0]) & (self.rows <= rows[-1])
        for k in np.flatnonzero(wanted).tolist():
            self._predictions[k] = predictions[self.rows[k] - rows[0], points[self.donors[k]]].copy()

    def note(self, which: Ints, predictions: Floats) -> None:
        """Note predictions of some of what is checked: positions, and (positions, outputs)."""
        for k, prediction in zip(which.tolist(), predictions, strict=True):
            self._predictions[k] = prediction.copy()

    def check_differences(
        self,
        problem: LossProblem,
        rows: Ints,
        changed: Floats,
        unchanged: Floats,
        differences: Floats,
        rounding: Floats | float = 0.0,
    ) -> None:
        """Take losses that native code or a formula took a second time, by NumPy.

        Args:
            problem: with the losses. rows: of which the predictions are. changed, unchanged: (rows, outputs), with and without the other row's values.
            differences: (rows,), of their losses. rounding: (rows,), what the rounding of these predictions may add.

        Raises:
            SpotCheckError: one differs by more than rounding explains.
        """
        if not len(rows):
            return
        after, before = problem.losses(changed, rows), problem.losses(unchanged, rows)
        size = np.abs(changed).max(axis=1) + np.abs(unchanged).max(axis=1) + np.abs(problem.truth[rows])
        allowed = SUM_ROUNDING * (after + before) + NUMBER_ROUNDING * size + rounding
        if problem.loss.kernel[0] == "log":  # one less a probability near 1 is not known better than to rounding
            allowed += np.finfo(np.float64).eps * (np.exp(after) + np.exp(before))
        self._checker.compare(
            differences,
            after - before,
            allowed,
            way="by taking the losses of these predictions by NumPy",
            where=lambda at: [("row", int(rows[at[0]]))],
        )

    def check_predictions(self) -> None:
        """Ask the model about the rows that were noted.

        Raises:
            SpotCheckError: a prediction differs by more than rounding explains.
        """
        if not self._predictions:
            return
        compare_noted(
            self._problem,
            self._checker,
            self._predictions,
            self.players,
            self.rows,
            lambda player, which: self._points_of_donors(player, self.donors[which]),
            alone=self._alone,
        )

    def check_sums(self, of_row: Floats, of_donor: Floats) -> None:
        """Add sums over all pairs up by donors.

        Args:
            of_row, of_donor: (rows, players), see `PairDifferences`; their weighted sums are equal.

        Raises:
            SpotCheckError: a sum differs by more than rounding explains.
        """
        if not self._predictions:
            return
        weights, names = self._problem.weights, self._problem.players.names
        self._checker.compare(
            weights @ of_row,
            weights @ of_donor,
            SUM_ROUNDING * (weights @ np.abs(of_row)) + 1e-300,
            way="by adding the pairs of rows up by donors",
            where=lambda at: [("feature", names[at[0]])],
        )

    def _points_of_donors(self, player: int, donors: Ints) -> FeaturePoints:
        """The values of a player in these rows, a point each."""
        rows, members = self._problem.rows, self._problem.players.members[player]
        table = rows.table.rows(donors)
        labels = tuple(object_cells(table, p) for p in members)
        return FeaturePoints(tuple(rows.feature(p) for p in members), table, labels)


def compare_noted(
    problem: RowsProblem,
    checker: SpotChecker,
    noted: Mapping[int, Floats],
    groups: Ints,
    rows: Ints,
    points_of: Callable[[int, Ints], FeaturePoints | None],
    *,
    alone: int,
) -> None:
    """Compare predictions of rows with some cells of other rows with the model's own.

    Args:
        checker: counts them. noted: position in `groups` and `rows` -> what the answer took the prediction to be, (outputs,).
        groups, rows: which cells are changed, a player or a coalition, and in which row. points_of: (group, positions) -> the cells that it takes there; None: its own.
        alone: how many rows are also asked for one by one.

    Raises:
        SpotCheckError: one differs by more than rounding explains.
    """
    positions = np.array(list(noted))
    cells: list[RowCell] = []
    order: list[int] = []
    for group in np.unique(groups[positions]).tolist():
        those = positions[groups[positions] == group]
        points = points_of(group, those)
        cells += [RowCell(int(rows[k]), points, 0 if points is None else i) for i, k in enumerate(those)]
        order += those.tolist()
    recompute = RowRecomputation(problem.model, problem.table, problem.evaluated, checker, alone=alone)
    recomputed, allowed = recompute(cells)

    def label_of(at: tuple[int, ...]) -> PositionLabel:
        return [*cells[at[0]].position_label, *output_label(problem.evaluated, at[1])]

    answer = np.stack([noted[k] for k in order])
    checker.compare(answer, recomputed, allowed, way=recompute.description, where=label_of)


def check_rows(problem: RowsProblem, checker: SpotChecker, rows: Table, n_rows: int, *, what: str) -> None:
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
    numbers = len(some) * len(problem.evaluated.names)
    checker.note_agreement(numbers, len(some), difference, way=f"by asking {model.own_predict.call_name} about {what}")
