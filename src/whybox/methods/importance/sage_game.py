"""The game of SAGE: what each row loses when some players keep their values and all others take those of background rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import joint_cell_codes
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.games.sampling import MAX_PROCESS_PAIRS, min_evaluations
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import spot_predictions
from whybox.methods.importance.background_rows import BackgroundRows, sampled_background
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.prediction_budget import DEFAULT_PREDICTIONS_A_ROW
from whybox.models.columns_read import columns_read

__all__ = ["GameSize", "LossGame", "active_players", "game_size", "rows_of"]

Coalitions = npt.NDArray[np.bool_]
Observer = Callable[
    [Ints, Ints, Floats], None
]  # coalitions, rows, outputs as evaluated (coalitions, rows, background rows, outputs)
MIN_BACKGROUND: Final = 16  # rows that are drawn for the background
MAX_BACKGROUND: Final = 64
MIN_ROWS: Final = 20  # rows that the game is over at least, or all
MIN_ROWS_BY_DEFAULT: Final = 64  # rows for which predictions suffice where the caller names no limit
MAX_EXACT_PLAYERS: Final = 20
HYBRIDS_HELD: Final = 2**18  # whose predictions are held at a time


@final
@dataclass(frozen=True, eq=False)
class GameSize:
    """How much of the game is evaluated, within the predictions allowed.

    Attributes:
        background: rows for absent features. row_order: (rows of positive weight,), their positions, in the order in which they are taken.
        n_rows: over how many of them coalitions are evaluated. n_coalitions: how many at most, the empty and the full one included; fewest: at least.
        exact: whether all coalitions are evaluated. predictions: of single rows, that are allowed.
    """

    background: BackgroundRows
    row_order: Ints
    n_rows: int
    n_coalitions: int
    fewest: int
    exact: bool
    predictions: int

    @property
    def first_coalitions(self) -> int:
        """How many coalitions are evaluated first: all of them, or the fewest that give an estimate."""
        return self.n_coalitions if self.exact else self.fewest

    def affordable_rows(self, coalitions: int) -> int:
        """Return over how many rows so many coalitions can be evaluated."""
        return min(len(self.row_order), self.predictions // (coalitions * len(self.background)))


def active_players(problem: LossProblem, background: BackgroundRows | None) -> Ints:
    """Return the players that can change a prediction: the model may read one of their columns, and not all rows have the same cell there."""
    read = set(problem.players.of_column[columns_read(problem.model)].tolist())
    kept = problem.table.rows(np.flatnonzero(problem.weights > 0))
    other = kept.rows(slice(0, 1)) if background is None else background.table

    def varies(column: int) -> bool:
        codes = np.concatenate(joint_cell_codes(kept, other, column))
        return bool((codes != codes[0]).any())

    return np.array(
        [p for p, members in enumerate(problem.players.members) if p in read and any(map(varies, members))],
        dtype=np.int64,
    )


def game_size(problem: LossProblem, players: int, background: BackgroundRows | None) -> GameSize:
    """Return how many rows, background rows and coalitions are taken.

    All rows, and all coalitions, where the predictions allowed suffice. Else some of the rows, drawn by the seed, so that about twice the coalitions can be evaluated
    that an estimate needs. The size of a background that is drawn balances the error of few rows, which falls with their root, with the bias of few background
    rows, which falls with their number.

    Args:
        problem: with the rows. players: how many can change a prediction. background: the caller's; None: one is drawn.

    Raises:
        LimitError: too many players, or `max_evals` does not suffice for the fewest coalitions over the fewest rows.
    """
    fewest, kept = min_evaluations(players), np.flatnonzero(problem.weights > 0)
    if fewest > 2 + 2 * MAX_PROCESS_PAIRS:
        raise LimitError(
            f"{players:,} players are too many for Shapley values of the loss. Join them: ",
            Argument("players", example="'auto'"),
            ", or named groups of columns.",
        )
    wanted = min(2**players, 2 * fewest)
    options, limit = problem.options, problem.options.max_evals
    if limit is None:
        behind = MIN_BACKGROUND if background is None else len(background)
        enough = wanted * min(len(kept), MIN_ROWS_BY_DEFAULT) * behind
        allowed = max(DEFAULT_PREDICTIONS_A_ROW * len(problem), enough)
    else:  # the rows and the background as they are, and what is checked
        compared = 0 if background is None else background.n_compared
        behind = MAX_BACKGROUND if background is None else len(background)
        checked = problem.n_rows_checked + compared + spot_predictions(options.spot_checks, limit)
        allowed = limit - checked - len(problem) - behind
    if background is None:
        balanced = round(max(allowed / wanted / 2.0, 0.0) ** (1 / 3))
        background = sampled_background(problem, min(max(balanced, MIN_BACKGROUND), MAX_BACKGROUND))
    each = len(background)
    enough_rows = min(len(kept), MIN_ROWS)
    n_rows = min(len(kept), allowed // (wanted * each))
    if n_rows < enough_rows:
        n_rows = enough_rows
        if allowed < fewest * each * n_rows:
            raise _too_few(problem, fewest, n_rows, each, allowed)
    most = allowed // (n_rows * each)
    exact = players <= MAX_EXACT_PLAYERS and 2**players <= most
    coalitions = 2**players if exact else min(most, 2 + 2 * MAX_PROCESS_PAIRS)
    order = np.random.default_rng([problem.options.seed % 2**63, _STREAM]).permutation(kept)
    return GameSize(background, order, n_rows, coalitions, fewest, exact, allowed)


_STREAM: Final = 0x5A6F


def _too_few(problem: LossProblem, coalitions: int, rows: int, background: int, allowed: int) -> LimitError:
    more = coalitions * rows * background - allowed
    return LimitError(
        f"{coalitions:,} coalitions of features over {rows:,} rows and {background:,} background rows take {more:,} more predictions than ",
        Argument("max_evals", problem.options.max_evals),
        " allows. Raise it, join players, or pass fewer background rows.",
    )


def rows_of(problem: LossProblem, rows: Ints) -> LossProblem:
    """Return the problem over some of its rows."""
    if len(rows) == len(problem):
        return problem
    weights = problem.weights[rows]
    some = WeightedRows(problem.table.rows(rows), weights / weights.sum())
    shifted = None if problem.shifted is None else problem.shifted.rows_at(rows)
    resolved = replace(problem.resolved, rows=some)
    return replace(problem, resolved=resolved, truth=problem.truth[rows], shifted=shifted)


@final
class LossGame:
    """Evaluates coalitions over rows and background rows.

    Args:
        problem: with the losses. background: rows for absent players. players: (players,), those that the game is about; all others keep their values.
        evaluator: of the model. observe: is shown the predictions that losses are computed from.

    Attributes:
        own, of_background: the model's outputs of the rows and of the background rows as they are.
    """

    def __init__(
        self,
        problem: LossProblem,
        background: BackgroundRows,
        players: Ints,
        evaluator: HybridEvaluator,
        observe: Observer,
    ) -> None:
        self._problem, self._background, self._players = problem, background, players
        self._evaluator, self._observe = evaluator, observe
        self.own = evaluator.evaluate_rows(problem.table, np.arange(len(problem)), what="predictions of the rows")
        at = background.positions
        self.of_background = (
            evaluator.evaluate_rows(background.table, np.arange(len(background)), what="predictions of the background")
            if at is None
            else self.own[at]
        )

    def absent_columns(self, coalition: npt.NDArray[np.bool_]) -> Sequence[int]:
        """Return the positions of the columns that background rows give where a coalition, (players,), is present."""
        return self._problem.players.columns_at(self._players[~coalition])

    def losses(self, coalitions: Coalitions, rows: Ints, first: int = 0) -> Floats:
        """Return the loss of each row for each coalition, (coalitions, rows): of its prediction averaged over the background.

        Args:
            coalitions: (coalitions, players), who is present. rows: positions. first: number of the first coalition, for the observer.
        """
        out = np.empty((len(coalitions), len(rows)))
        patterns = [self.absent_columns(c) for c in coalitions]
        each = len(self._background)
        row_step = max(1, min(len(rows), HYBRIDS_HELD // each))
        step = max(1, HYBRIDS_HELD // (row_step * each))
        for start in range(0, len(rows), row_step):
            some = rows[start : start + row_step]
            for k in range(0, len(coalitions), step):
                out[k : k + step, start : start + row_step] = self._losses_of_block(
                    np.arange(k, min(k + step, len(coalitions))), patterns, some, first
                )
        return out

    def _losses_of_block(self, which: Ints, patterns: Sequence[Sequence[int]], rows: Ints, first: int) -> Floats:
        """The losses of some coalitions and rows, whose predictions are held together."""
        shape = (len(which), len(rows), len(self._background))
        coalition, row, donor = (a.reshape(-1) for a in np.indices(shape))
        index, outputs = self._evaluator.evaluate_hybrids(
            self._problem.table, self._background.table, rows[row], donor, which[coalition], patterns,
            row_outputs=self.own, donor_outputs=self.of_background, what="coalitions of features",
        )  # fmt: skip
        self._observe(first + which, rows, outputs[index].reshape(*shape, -1))
        predictions = self._problem.predictions(outputs[index], rows[row]).reshape(*shape, -1)
        means = np.einsum("crbo,b->cro", predictions, self._background.weights)
        flat = means.reshape(len(which) * len(rows), -1)
        return self._problem.losses_of_predictions(flat, np.tile(rows, len(which))).reshape(len(which), len(rows))

    def losses_without_players(self, rows: Ints) -> Floats:
        """Return the loss of each of some rows, (rows,), of the mean over the background rows as they are, each with the row's own offset."""
        problem, weights = self._problem, self._background.weights
        out, step = np.empty(len(rows)), max(1, HYBRIDS_HELD // len(weights))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            behind = np.tile(self.of_background, (len(some), 1))
            predictions = problem.predictions(behind, np.repeat(some, len(weights))).reshape(
                len(some), len(weights), -1
            )
            out[start : start + step] = problem.losses_of_predictions(
                np.einsum("rbo,b->ro", predictions, weights), some
            )
        return out
