"""Numbers of games of any model, computed again by a second way.

The model is asked about some hybrids once more, and about the worth of some coalitions: in the user's own columns, one absent column after the other set to the
cells of background rows. Where the worths of all coalitions of a row are known, its values follow from them by a formula with gamma functions, coalition by
coalition.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import object_cells
from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.games.indices import Index
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import (
    FeaturePoints,
    PositionLabel,
    RowCell,
    RowRecomputation,
    output_label,
    rows_alone,
)
from whybox.methods.shap.game_answer import GameAnswer, SampledHybrids, SampledWorths
from whybox.methods.shap.game_budget import checks_reserved
from whybox.methods.shap.game_problem import GameProblem
from whybox.methods.shap.spot_pairs import check_interactions
from whybox.methods.shap.spot_sampled import check_values, weight_of_others

__all__ = ["check_games", "planned_predictions"]

ROUNDING: Final = 1e-9
_STREAM: Final = 0x6A3E


def planned_predictions(background_rows: int, spot_checks: int | None, evals: float, *, of_worths: bool) -> int:
    """Return how many predictions the checks take at most, where ``max_evals`` does not bound them."""
    allowed = spot_predictions(spot_checks, evals)
    if not of_worths:
        return checks_reserved(spot_checks)
    return allowed if spot_checks is not None else max(allowed, allowed // 2 + background_rows)


def check_games(problem: GameProblem, answer: GameAnswer, call: int) -> SpotChecks:
    """Check an answer.

    Args:
        call: which call of the explainer this is, for what is drawn.

    Raises:
        SpotCheckError: a number differs.
    """
    checker = SpotChecker()
    if problem.noise_variance is not None:
        return checker.result
    background, spot_checks = len(problem.background), problem.options.spot_checks
    left = problem.left_for_checks
    allowed = spot_predictions(spot_checks, float(answer.model_evals.sum()))
    allowed = allowed if left is None else min(allowed, left)
    draw = spot_rng(problem.options.seed, call, _STREAM)
    if answer.hybrids is not None:
        kept, most = len(answer.hybrids.rows), allowed if answer.worths is None else allowed - allowed // 2
        if left is not None and answer.worths is not None and spot_checks is None:
            most = max(min(most, left - background), 0)  # a worth comes after
        _ask_hybrids(problem, answer.hybrids, draw.permutation(kept)[:most], checker)
    check_values(problem, answer, checker)
    if problem.options.order == 2:
        check_interactions(problem, answer, checker)
    if answer.worths is not None:
        count = (allowed - checker.predictions) // background
        if spot_checks is None:
            count = max(count, 1)  # of one coalition in any case, if the caller sets no limit
        if left is not None:
            count = min(count, (left - checker.predictions) // background)
        _ask_worths(problem, answer.worths, draw.permutation(len(answer.worths.rows))[:count], checker)
        if answer.std_error is None and not answer.index:  # values of another kind have checks of their own
            _solve_again(problem, answer, answer.worths, checker)
    return checker.result


def _ask_hybrids(problem: GameProblem, kept: SampledHybrids, chosen: Ints, checker: SpotChecker) -> None:
    """Ask the model about single hybrids again."""
    ask = RowRecomputation(
        problem.model,
        problem.rows,
        problem.evaluator.output,
        checker,
        alone=rows_alone(problem.model),
        rows="rows whose absent features take the values of a background row",
        batch_size=problem.options.batch_size,
    )
    points: dict[bytes, FeaturePoints | None] = {}
    cells = []
    for k in chosen.tolist():
        coalition = kept.coalitions[k]
        key = coalition.tobytes()
        if key not in points:
            points[key] = _absent_points(problem, coalition)
        cells.append(RowCell(int(kept.rows[k]), points[key], int(kept.donors[k])))
    if not cells:
        return
    outputs, rounding = _as_games_take_them(problem, kept.rows[chosen], *ask(cells))

    def label_of(at: tuple[int, ...]) -> PositionLabel:
        k = int(chosen[at[0]])
        place = _label_of_worth(problem, int(kept.rows[k]), kept.coalitions[k], at[1:])
        return [place[0], ("background row", int(kept.donors[k])), *place[1:]]

    ours = kept.outputs[chosen]
    checker.compare(
        ours, outputs, 2.0 * rounding + ROUNDING * np.abs(ours) + 1e-300, way=ask.description, where=label_of
    )


def _ask_worths(problem: GameProblem, kept: SampledWorths, chosen: Ints, checker: SpotChecker) -> None:
    """Ask the model about the hybrids of some coalitions with every background row again."""
    ask = RowRecomputation(
        problem.model,
        problem.rows,
        problem.evaluator.output,
        checker,
        rows="rows whose absent features take the values of every background row",
        batch_size=problem.options.batch_size,
    )
    background = range(len(problem.background))
    for k in chosen.tolist():
        row, coalition = int(kept.rows[k]), kept.coalitions[k]
        points = _absent_points(problem, coalition)
        cells = [RowCell(row, points, b if points is not None else 0) for b in background]
        outputs, rounding = _as_games_take_them(problem, np.full(len(cells), row), *ask(cells))
        worth, size = problem.background.weights @ outputs, np.abs(outputs).max(axis=0, initial=0.0)
        checker.compare(
            kept.worths[k],
            worth,
            2.0 * (problem.background.weights @ rounding) + ROUNDING * size + 1e-300,
            way=ask.description,
            where=partial(_label_of_worth, problem, row, coalition),
        )


def _as_games_take_them(problem: GameProblem, rows: Ints, outputs: Floats, rounding: Floats) -> tuple[Floats, Floats]:
    """Outputs of hybrids of some rows and what rounding explains, (hybrids, outputs) each: where games differ by row, what follows from them."""
    if problem.by_row is None:
        return outputs, rounding
    return problem.by_row.of_hybrids(rows, outputs), problem.by_row.moved(rows, outputs, rounding)


def _absent_points(problem: GameProblem, coalition: npt.NDArray[np.bool_]) -> FeaturePoints | None:
    """The cells of the background in the columns of absent players; None where nobody is absent."""
    columns = problem.players.columns_at(np.flatnonzero(~coalition))
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
        own, here = np.flatnonzero(problem.differs[row]), kept.rows == row
        coalitions, worths = kept.coalitions[here][:, own], kept.worths[here]
        if len(np.unique(coalitions, axis=0)) != len(coalitions) or len(coalitions) != 1 << len(own):
            continue
        again = _interactions(coalitions, worths, index) if order == 2 else _values(coalitions, worths, index)
        ours = answer.values[row][np.ix_(own, own)] if order == 2 else answer.values[row, own]
        checker.compare(
            ours,
            again,
            ROUNDING * 2.0 ** (order - 1) * float(np.abs(worths).max()) * len(own) + 1e-300,
            way="from the worths of all coalitions of a row, one after the other",
            where=partial(_label_of_value, problem, row, own),
        )


def _label_of_value(problem: GameProblem, row: int, own: Ints, at: tuple[int, ...]) -> PositionLabel:
    features: PositionLabel = [("feature", problem.players.names[own[k]]) for k in at[:-1]]
    return [("row", row), *features, *output_label(problem.selection, at[-1])]


def _values(coalitions: npt.NDArray[np.bool_], worths: Floats, index: Index) -> Floats:
    """The value of each player, (players, outputs): every coalition counts for its members with one weight and against the others with another."""
    players, size = coalitions.shape[1], coalitions.sum(axis=1)
    weight = np.array([weight_of_others(index, s, players - 1 - s) for s in range(players)])
    joined, left = weight[np.maximum(size - 1, 0)], weight[np.minimum(size, players - 1)]
    return np.asarray(np.where(coalitions.T, joined, -left) @ worths)


def _interactions(coalitions: npt.NDArray[np.bool_], worths: Floats, index: Index) -> Floats:
    """Half of each interaction on either side of the diagonal, and main effects on it, (players, players, outputs)."""
    players, size = coalitions.shape[1], coalitions.sum(axis=1)
    values = _values(coalitions, worths, index)
    out = np.zeros((players, *values.shape))
    weight = np.array([weight_of_others(index, s, players - 2 - s) for s in range(players - 1)] or [0.0])
    for i, j in combinations(range(players), 2):
        both = coalitions[:, i].astype(int) + coalitions[:, j]
        sign = np.where(both == 1, -1.0, 1.0)
        out[i, j] = out[j, i] = 0.5 * ((sign * weight[size - both]) @ worths)
    out[np.arange(players), np.arange(players)] = values - out.sum(axis=1)
    return out
