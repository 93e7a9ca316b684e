"""Numbers of games of any model, computed again by a second way.

The worth of some coalitions is asked of the model once more: in the user's own columns, one absent column after the other set to the cells of every background
row. Where the worths of all coalitions of a row are known, its values follow from them by the formula with factorials or gamma functions, coalition by coalition.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from math import exp, lgamma
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import object_cells
from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.games.indices import Index
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import FeaturePoints, PositionLabel, RowCell, RowRecomputation, output_label
from whybox.methods.shap.game_problem import GameAnswer, GameProblem, SampledWorths

__all__ = ["check_games", "planned_predictions"]

ROUNDING: Final = 1e-9
_STREAM: Final = 0x6A3E


def planned_predictions(problem_background: int, spot_checks: int | None, evals: float) -> int:
    """Return how many predictions the checks take about: worths of whole coalitions, as many as fit what is allowed."""
    allowed = spot_predictions(spot_checks, evals)
    least = problem_background if spot_checks is None else 0
    return max(allowed // problem_background * problem_background, least)


def check_games(problem: GameProblem, answer: GameAnswer, call: int) -> SpotChecks:
    """Check an answer.

    Args:
        call: which call of the explainer this is, for what is drawn.

    Raises:
        SpotCheckError: a number differs.
    """
    checker = SpotChecker()
    if answer.worths is not None and problem.noise_variance is None:
        _ask_again(problem, answer, answer.worths, checker, call)
        if answer.std_error is None:
            _solve_again(problem, answer, answer.worths, checker)
    return checker.result


def _ask_again(problem: GameProblem, answer: GameAnswer, kept: SampledWorths, checker: SpotChecker, call: int) -> None:
    """Ask the model about the hybrids of some coalitions again."""
    background = len(problem.background)
    allowed = planned_predictions(background, problem.options.spot_checks, float(answer.model_evals.sum()))
    of_one = kept.donors is not None
    count = min(len(kept.rows), allowed if of_one else allowed // background)
    draw = spot_rng(problem.options.seed, call, _STREAM)
    ask = RowRecomputation(
        problem.model,
        problem.rows,
        problem.selection,
        checker,
        rows="rows whose absent features take the values of every background row",
    )
    for k in draw.permutation(len(kept.rows))[:count].tolist():
        row, coalition = int(kept.rows[k]), kept.coalitions[k]
        points = _absent_points(problem, coalition)
        donors = range(background) if kept.donors is None else [int(kept.donors[k])]
        weights = problem.background.weights if kept.donors is None else np.ones(1)
        cells = [RowCell(row, points, b) for b in donors]
        outputs, rounding = ask(cells if points is not None else [RowCell(row)] * len(donors))
        worth, size = weights @ outputs, np.abs(outputs).max(axis=0, initial=0.0)
        checker.compare(
            kept.worths[k],
            worth,
            2.0 * (weights @ rounding) + ROUNDING * size + 1e-300,
            way=ask.description,
            where=partial(_label_of_worth, problem, row, coalition),
        )


def _absent_points(problem: GameProblem, coalition: npt.NDArray[np.bool_]) -> FeaturePoints | None:
    """The cells of the background in the columns of absent players; None where nobody is absent."""
    members = problem.players.members
    columns = [column for p in np.flatnonzero(~coalition) for column in members[p]]
    if not columns:
        return None
    table = problem.background.table
    return FeaturePoints(
        tuple(problem.background.feature(column) for column in columns),
        table,
        tuple(object_cells(table, column) for column in columns),
    )


def _label_of_worth(
    problem: GameProblem, row: int, coalition: npt.NDArray[np.bool_], at: tuple[int, ...]
) -> PositionLabel:
    present = ", ".join(problem.players.names[p] for p in np.flatnonzero(coalition & problem.differs[row]))
    return [("row", row), ("features present", present or "none"), *output_label(problem.selection, at[0])]


def _solve_again(problem: GameProblem, answer: GameAnswer, kept: SampledWorths, checker: SpotChecker) -> None:
    """Compute the values of rows of which the worth of every coalition is known, coalition by coalition."""
    index, order = problem.options.game_index, problem.options.order
    for row in np.unique(kept.rows).tolist():
        own = np.flatnonzero(problem.differs[row])
        game = _Game(own, kept.coalitions[kept.rows == row], kept.worths[kept.rows == row])
        if not game.is_complete:
            continue
        again = game.interaction_matrix(index) if order == 2 else game.values(index)
        ours = answer.values[row][np.ix_(own, own)] if order == 2 else answer.values[row, own]
        checker.compare(
            ours,
            again,
            ROUNDING * 2.0 ** (order - 1) * game.size * len(own) + 1e-300,
            way="from the worths of all coalitions of a row, one after the other",
            where=partial(_label_of_value, problem, row, own),
        )


def _label_of_value(problem: GameProblem, row: int, own: Ints, at: tuple[int, ...]) -> PositionLabel:
    features: PositionLabel = [("feature", problem.players.names[own[k]]) for k in at[:-1]]
    return [("row", row), *features, *output_label(problem.selection, at[-1])]


@final
class _Game:
    """The game of one row, as a dictionary from coalitions to worths.

    Args:
        own: players that differ. coalitions: (k, players). worths: (k, outputs).
    """

    def __init__(self, own: Ints, coalitions: npt.NDArray[np.bool_], worths: Floats) -> None:
        self._players = own.tolist()
        self._worth = {
            frozenset(p for p in self._players if coalition[p]): worth
            for coalition, worth in zip(coalitions, worths, strict=True)
        }
        self.size = float(np.abs(worths).max(initial=0.0))

    @property
    def is_complete(self) -> bool:
        """Whether the worth of every coalition is known."""
        return len(self._worth) == 1 << len(self._players)

    def values(self, index: Index) -> Floats:
        """The value of each player, (players, outputs)."""
        return np.array([self._mean_difference((p,), index) for p in self._players])

    def interaction_matrix(self, index: Index) -> Floats:
        """Half of each interaction on either side of the diagonal, and main effects on it, (players, players, outputs)."""
        values = self.values(index)
        n = len(self._players)
        out = np.zeros((n, n, values.shape[1]))
        for i, j in combinations(range(n), 2):
            out[i, j] = out[j, i] = 0.5 * self._mean_difference((self._players[i], self._players[j]), index)
        out[np.arange(n), np.arange(n)] = values - out.sum(axis=1)
        return out

    def _mean_difference(self, members: tuple[int, ...], index: Index) -> Floats:
        """The mean of what the members add together to coalitions of the others, weighted as the index says."""
        others = [p for p in self._players if p not in members]
        total: Floats = np.zeros_like(next(iter(self._worth.values())))
        for size in range(len(others) + 1):
            weight = _weight(index, size, len(others) - size)
            for chosen in combinations(others, size):
                for joined in range(len(members) + 1):
                    sign = (-1.0) ** (len(members) - joined)
                    for some in combinations(members, joined):
                        total = total + weight * sign * self._worth[frozenset((*chosen, *some))]
        return total


def _weight(index: Index, present: int, absent: int) -> float:
    """The probability that exactly these others are present, of which there are so many, E[p^present (1-p)^absent]."""
    if index.point is not None:
        return float(index.point**present * (1.0 - index.point) ** absent)
    a, b = index.beta, index.alpha  # p follows Beta(a, b)
    return exp(lgamma(a + present) + lgamma(b + absent) + lgamma(a + b) - lgamma(a) - lgamma(b) - lgamma(a + b + present + absent))  # fmt: skip
