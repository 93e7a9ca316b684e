"""Exact values of games of any model: every coalition of the players that differ is evaluated over the whole background.

The game of a row is the mean over background rows of the games with one of them, so values are the mean of those games' values, and their spread over
background rows says what another background of this size would change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import progress_counter
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.games.exact import all_coalitions, exact_values, interaction_matrix
from whybox.methods.common.columns import Ints
from whybox.methods.shap.game_answer import GameAnswer
from whybox.methods.shap.game_hybrids import GameGrid, donor_outputs, hybrid_outputs
from whybox.methods.shap.game_problem import GameProblem, GameSetting, even_shares
from whybox.methods.shap.kept_numbers import KeptNumbers

__all__ = ["DEFAULT_EXACT_EVALS", "MAX_HYBRIDS", "MAX_PLAYERS", "check_size", "enumerate_games", "needed_predictions"]

MAX_PLAYERS: Final = 20  # of a row that differ; 2^20 coalitions and their worths are held in memory
DEFAULT_EXACT_EVALS: Final = 10**9  # predictions in total, where max_evals is not given
MAX_HYBRIDS: Final = 2**20  # evaluated together


def needed_predictions(players_that_differ: Ints, background_rows: int) -> float:
    """Return how many predictions all coalitions of all rows take at most.

    Args:
        players_that_differ: (n,), of each row.
    """
    inner = np.maximum(
        2.0 ** players_that_differ.astype(np.float64) - 2.0, 0.0
    )  # of nobody and of everybody they are known
    return float(inner.sum() * background_rows)


def enumerate_games(problem: GameProblem) -> GameAnswer:
    """Return exact values, of any index and order.

    Rows with as many players that differ are evaluated together, each different hybrid of a batch once.

    Raises:
        LimitError: more coalitions or predictions than allowed; nothing is evaluated then. NonFiniteError: an output is NaN or infinite.
    """
    merged = _merged_background(problem)
    counts = problem.differs.sum(axis=1)
    check_size(problem, counts, problem.budget)
    n, players = problem.differs.shape
    outputs, order = problem.row_outputs.shape[1], problem.options.order
    values = np.zeros((n, *(players,) * order, outputs))
    error = np.zeros((n, players, outputs))
    evals = np.zeros(n, dtype=np.int64)
    kept = KeptNumbers(problem)
    grid, width = GameGrid(problem), len(problem.evaluator.output.names)
    with progress_counter(n, description="exact values") as done:
        for count in np.unique(counts).tolist():
            rows = np.flatnonzero(counts == count)
            for batch in _row_batches(rows, count, len(merged.first), width) if count else ():
                before = problem.evaluator.spent
                games = _BatchOfGames(problem, grid, merged, batch, count, kept)
                games.write(values, error)
                evals[batch] = even_shares(problem.evaluator.spent - before, len(batch))
                done(len(batch))
    if len(problem.background) == 1:
        error[:] = np.nan  # one background row says nothing about another
    return GameAnswer(
        values=values,
        std_error=None,
        converged=np.ones(n, dtype=bool),
        model_evals=evals,
        background_error=error,
        kernel=f"all coalitions of the players that differ, up to {int(counts.max(initial=0))}, over {len(problem.background):,} background rows",
        worths=kept.worths,
        hybrids=kept.hybrids,
    )


def check_size(setting: GameSetting | GameProblem, counts: Ints, budget: int) -> None:
    """Refuse more coalitions or predictions than allowed.

    Args:
        counts: players of each row that differ, (n,). budget: predictions left by ``max_evals``, where it is given.

    Raises:
        LimitError: there are more.
    """
    background_rows = len(setting.background.distinct_rows(())[0])
    most = int(counts.max(initial=0))
    instead = (
        "Group columns with ", Argument("players", example="{...}"), ", or estimate the values with their errors, ",
        Argument("method", "sampled_shap"), ".",
    )  # fmt: skip
    if most > MAX_PLAYERS:
        raise LimitError(
            f"{most} features of a row differ from the background, and that is 2^{most} coalitions; up to 2^{MAX_PLAYERS} are enumerated. ",
            instead,
        )
    needed = needed_predictions(counts, background_rows)
    allowed = DEFAULT_EXACT_EVALS if setting.options.max_evals is None else budget
    if needed > allowed:
        raise LimitError(
            f"exact values take up to {needed:,.0f} predictions (2^{most} coalitions of {most} features, {background_rows:,} different background rows, "
            f"{len(counts):,} row{'s' * (len(counts) != 1)}), more than the {allowed:,} that ",
            Argument("max_evals"),
            " leaves. Raise it, pass fewer rows or background rows. ",
            instead,
        )


@final
@dataclass(frozen=True, eq=False)
class _MergedBackground:
    """Different background rows: a position for each, the weight of all that are equal to it, and the sum of their squared weights."""

    first: Ints
    weights: Floats
    squares: Floats


def _merged_background(problem: GameProblem) -> _MergedBackground:
    first, which = problem.background.distinct_rows(())
    weights = problem.background.weights
    sums, squares = (np.asarray(np.bincount(which, w, len(first)), dtype=np.float64) for w in (weights, weights**2))
    return _MergedBackground(first, sums, squares)


def _row_batches(rows: Ints, count: int, background_rows: int, outputs: int) -> Iterator[Ints]:
    """Rows that are evaluated together."""
    size = max(1, MAX_HYBRIDS // (2**count * background_rows * outputs))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


@final
class _BatchOfGames:
    """Rows with as many players that differ, and the values of their games.

    Args:
        grid: evaluates their hybrids. rows: positions of the rows. count: players of each that differ. kept: what spot checks are given.
    """

    def __init__(
        self,
        problem: GameProblem,
        grid: GameGrid,
        merged: _MergedBackground,
        rows: Ints,
        count: int,
        kept: KeptNumbers,
    ) -> None:
        self._problem, self._grid, self._merged = problem, grid, merged
        self._rows, self._count, self._kept = rows, count, kept
        self._coalitions = all_coalitions(count)
        self._own = np.stack([np.flatnonzero(problem.differs[row]) for row in rows])  # (rows, count)

    def write(self, values: Floats, error: Floats) -> None:
        """Write values and background errors of the rows to their places in the arrays of all rows."""
        index, order = self._problem.options.game_index, self._problem.options.order
        outputs, background = self._problem.row_outputs.shape[1], len(self._merged.first)
        width = len(self._problem.evaluator.output.names)
        step = max(1, MAX_HYBRIDS // (2**self._count * width * len(self._rows)))
        sums = np.zeros((len(self._rows), 2**self._count, outputs))
        each = np.empty((len(self._rows), self._count, background, outputs))  # values against one background row
        for start in range(0, background, step):
            some = slice(start, min(start + step, background))
            worths = self._worths(np.arange(background)[some])  # (rows, coalitions, some, outputs)
            share = start / background, some.stop / background
            self._kept.add_hybrids(self._rows, self._own, self._coalitions, self._merged.first[some], worths, share)
            sums += np.einsum("rcbo,b->rco", worths, self._merged.weights[some])
            for r, games in enumerate(worths):
                single = exact_values(games.reshape(2**self._count, -1), index)
                each[r, :, some] = single.reshape(self._count, -1, outputs)
        for r, row in enumerate(self._rows.tolist()):
            own = self._own[r]
            mean = np.einsum("pbo,b->po", each[r], self._merged.weights)
            values_of_row, error[row, own] = mean, self._spread(each[r] - mean[:, None])
            if order == 2:
                values[row][np.ix_(own, own)] = interaction_matrix(values_of_row, exact_values(sums[r], index, 2))
            else:
                values[row, own] = values_of_row
            self._kept.add_worths(row, own, self._coalitions, sums[r])

    def _worths(self, background: Ints) -> Floats:
        """The worth of every coalition of every row against some background rows alone, (rows, coalitions, background rows, outputs)."""
        problem, n_coalitions = self._problem, len(self._coalitions)
        donors = self._merged.first[background]
        out = np.empty((len(self._rows), n_coalitions, len(donors), problem.row_outputs.shape[1]))
        out[:, 0] = donor_outputs(problem, self._rows, donors)
        out[:, -1] = problem.row_outputs[self._rows][:, None]
        inner = self._coalitions[1:-1]
        if not len(inner):
            return out
        patterns, pattern = self._patterns(inner)
        shape = len(self._rows), len(inner), len(donors)
        if (pattern == pattern[0]).all():  # the same players of all rows differ
            each_donor, of_pattern = np.tile(donors, len(inner)), np.repeat(pattern[0], len(donors))
            found = self._grid.evaluate(self._rows, each_donor, of_pattern, patterns, what="coalitions")
            out[:, 1:-1] = found.reshape(*shape, -1)
            return out
        row, which, donor = (
            np.broadcast_to(a, shape).reshape(-1)
            for a in (self._rows[:, None, None], pattern.reshape(len(self._rows), -1, 1), donors[None, None])
        )
        out[:, 1:-1] = hybrid_outputs(problem, row, donor, which, patterns).reshape(*shape, -1)
        return out

    def _patterns(self, coalitions: npt.NDArray[np.bool_]) -> tuple[list[tuple[int, ...]], Ints]:
        """Sets of columns that absent players take from the background, each once, and which each row and coalition has, (rows, coalitions)."""
        number: dict[tuple[int, ...], int] = {}
        out = np.empty((len(self._rows), len(coalitions)), dtype=np.int64)
        kinds, kind = np.unique(self._own, axis=0, return_inverse=True)
        for k, own in enumerate(kinds):
            of_kind = [self._problem.players.columns_at(own[absent]) for absent in ~coalitions]
            out[kind.reshape(-1) == k] = [number.setdefault(columns, len(number)) for columns in of_kind]
        return list(number), out

    def _spread(self, deviations: Floats) -> Floats:
        """Standard error of the mean over background rows, (players, outputs), from deviations (players, background rows, outputs)."""
        squares = self._merged.squares
        left = max(1.0 - float(squares.sum()), 1e-12)
        return np.asarray(np.sqrt(np.einsum("pbo,b->po", deviations**2, squares) / left))
