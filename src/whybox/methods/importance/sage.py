"""SAGE: how much each player takes off the loss, as Shapley values of the game on the mean loss."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.sampling import draw_design
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.background_rows import given_background
from whybox.methods.importance.loss_problem import LossProblem, resolve_loss_problem
from whybox.methods.importance.prediction_budget import DEFAULT_TOL, not_converged_note
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import PlayerValues, importance_result
from whybox.methods.importance.sage_checks import SageChecks, planned_sage_checks
from whybox.methods.importance.sage_game import GameSize, LossGame, active_players, game_size, rows_of
from whybox.models.blackbox import BlackBox

__all__ = ["plan_sage", "sage"]

Coalitions = npt.NDArray[np.bool_]
ROUNDING: Final = 1e-9  # of the mean loss; a Monte-Carlo error below that is none
BACKGROUND_NOTE: Final = "Another background would move the values; that is not in the error."
_STREAM: Final = 0x5A6E0


def sage(problem: ImportanceProblem) -> Explanation:
    """Return how much each player takes off the mean loss, shared out by Shapley values.

    The game is on the mean loss: v(S) is the mean over rows of the loss of the row's prediction when the players outside S take the values of background rows,
    the prediction averaged over these. Values add up to v(nobody) - v(everybody). Every coalition is evaluated over the same rows and background rows. Where
    the predictions allowed suffice, all coalitions are, and the values are exact for these rows and this background. Else a process over coalitions
    (`games.gaussian_process`) gives values and their error from some of them. It learns its weights once, on the mean over rows, and is then a linear map that
    is applied to each row's own game: so the spread of the rows' values gives the error over rows.

    Args:
        problem: a model, rows and their truth; `background`, the rows for absent players, or None: some of the rows themselves.

    Returns:
        Explanation of kind ``"importance"``, (features,), in the units of the loss. ``std_error`` is that over rows and that of coalitions together;
        ``extras["monte_carlo_error"]`` is the latter. ``extras["loss_without_features"]`` is v(nobody), ``extras["additivity_gap"]`` how far the sum of the values is
        from v(nobody) - v(everybody).

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    References:
        Covert, Lundberg & Lee, Understanding global feature contributions with additive importance measures, NeurIPS 33 (2020).
    """
    began = time.perf_counter()
    resolved = resolve_loss_problem(problem)
    given = given_background(resolved)
    players = active_players(resolved, given)
    size = game_size(resolved, len(players), given)
    resolved = replace(resolved, n_rows_checked=resolved.n_rows_checked + size.background.n_compared)
    evaluator = HybridEvaluator(resolved.model, resolved.evaluated)
    checks = SageChecks(resolved, size)
    resolved.repeat_check.check_before()
    game = LossGame(resolved, size.background, players, evaluator, checks.observe)
    solved = (_all_coalitions if size.exact else _some_coalitions)(resolved, game, size, len(players))
    resolved.repeat_check.check_after()
    checks.check_predictions(game, solved.coalitions)
    found = _as_values(resolved, size, players, solved, evaluator.spent)
    checks.check_sum(found.values, solved.full, game, solved.rows)
    result = importance_result(
        rows_of(resolved, solved.rows), replace(found, spot_checks=checks.result), seconds=time.perf_counter() - began
    )
    return replace(result, evidence=replace(result.evidence, background_rows=len(size.background)))


@final
@dataclass(frozen=True, eq=False)
class _SolvedGame:
    """The Shapley values of each row's game.

    Attributes:
        rows: positions of the rows, in increasing order. coalitions: (coalitions, players), those evaluated first. count: how many were evaluated.
        row_values: (rows, players). empty, full: (rows,), losses with nobody and with everybody. error: (players,), of the mean, from coalitions that were not evaluated.
        converged: whether that is as small as asked.
    """

    rows: Ints
    coalitions: Coalitions
    count: int
    row_values: Floats
    empty: Floats
    full: Floats
    error: Floats
    converged: bool = True


def _all_coalitions(problem: LossProblem, game: LossGame, size: GameSize, players: int) -> _SolvedGame:
    """Evaluate all coalitions."""
    del problem
    rows = np.sort(size.row_order[: size.n_rows])
    coalitions = all_coalitions(players)
    losses = game.losses(coalitions, rows)
    values = -exact_values(losses).T
    return _SolvedGame(rows, coalitions, len(losses), values, losses[0], losses[-1], np.zeros(players))


def _some_coalitions(problem: LossProblem, game: LossGame, size: GameSize, players: int) -> _SolvedGame:
    """Evaluate pairs of coalitions, twice as many each time, until the error is small or as many as are allowed; then more rows, where predictions are left."""
    rng = np.random.default_rng([problem.options.seed % 2**63, _STREAM])
    design = draw_design(players, size.n_coalitions, rng).coalitions
    sizes = design.sum(axis=1)
    single = (sizes == 1) | (sizes == players - 1)
    design = np.concatenate([design[single], rng.permutation(design[~single])])  # its first pairs are a design too
    first = count = size.first_coalitions // 2 - 1
    pairs = _PairedGame(problem, game, size.row_order[: size.n_rows])
    pairs.add_pairs(design[:first])
    while not pairs.solve() and count < len(design):
        pairs.add_pairs(design[count : 2 * count])
        count = min(2 * count, len(design))
    n_rows = size.affordable_rows(2 + 2 * count)
    if n_rows > size.n_rows:
        pairs.add_rows(size.row_order[size.n_rows : n_rows])
    converged = pairs.solve()
    order = np.argsort(pairs.rows)
    empty, full = pairs.losses[:2, order]
    evaluated = np.concatenate(pairs.blocks)
    return _SolvedGame(
        pairs.rows[order], evaluated[: 2 + 2 * first], len(evaluated), pairs.row_values[order], empty, full, pairs.error, converged
    )  # fmt: skip


@final
class _PairedGame:
    """Pairs of coalitions, each evaluated over the same rows, and the values that the process takes from them.

    Args:
        problem: with the losses. game: over all players that can change a prediction. rows: positions of the first rows.

    Attributes:
        rows: positions of the rows so far. blocks: the coalitions so far: nobody and everybody, then pairs and their complements, block by block.
        losses: (coalitions, rows). row_values: (rows, players); error: (players,), of their mean. Both are of the last :meth:`solve`.
    """

    def __init__(self, problem: LossProblem, game: LossGame, rows: Ints) -> None:
        self._problem, self._game = problem, game
        tol = problem.options.tol
        self._tol = DEFAULT_TOL if tol is None else tol
        self.rows, self.losses = rows, np.zeros((0, len(rows)))
        self.blocks: list[Coalitions] = []
        self.row_values, self.error = np.zeros((0, 0)), np.zeros(0)

    def add_pairs(self, coalitions: Coalitions) -> None:
        """Evaluate coalitions, (pairs, players), and their complements over the rows; with the first ones, nobody and everybody."""
        if not self.blocks:
            players = coalitions.shape[1]
            self._add_block(np.stack([np.zeros(players, dtype=bool), np.ones(players, dtype=bool)]))
        self._add_block(np.concatenate([coalitions, ~coalitions]))

    def _add_block(self, coalitions: Coalitions) -> None:
        losses = self._game.losses(coalitions, self.rows, first=len(self.losses))
        self.blocks.append(coalitions)
        self.losses = np.concatenate([self.losses, losses])

    def add_rows(self, rows: Ints) -> None:
        """Evaluate all coalitions so far over more rows."""
        self.losses = np.concatenate([self.losses, self._game.losses(np.concatenate(self.blocks), rows)], axis=1)
        self.rows = np.concatenate([self.rows, rows])

    def solve(self) -> bool:
        """Learn the process on the mean over rows and apply it to each row; say whether the error is as small as asked."""
        weights = self._problem.weights[self.rows]
        weights = weights / weights.sum()
        players = self.blocks[0].shape[1]
        parts = [self.losses[start : start + len(b)] for start, b in zip(self._starts, self.blocks, strict=True)][1:]
        present = np.concatenate([p[: len(p) // 2] for p in parts])
        absent = np.concatenate([p[len(p) // 2 :] for p in parts])
        empty, full = self.losses[:2]
        # the worth of a coalition is minus its loss
        halves, means = np.concatenate([absent - present, (empty - full)[None]]) / 2.0, -(present + absent) / 2.0
        pairs = np.concatenate([b[: len(b) // 2] for b in self.blocks[1:]])
        solution = CoalitionProcess(pairs).learn(halves @ weights, means @ weights)
        values = solution.values(halves)
        values += (empty - full - values.sum(axis=0)) / players  # rounding
        self.row_values, self.error = values.T, np.sqrt(solution.variances(halves @ weights))
        limit = max(self._tol * float(np.abs(values @ weights).max()), ROUNDING * abs(float(full @ weights)))
        return bool(self.error.max() <= limit)

    @property
    def _starts(self) -> list[int]:
        """Number of the first coalition of each block."""
        return [0, *np.cumsum([len(b) for b in self.blocks])[:-1].tolist()]


def _as_values(
    problem: LossProblem, size: GameSize, players: Ints, solved: _SolvedGame, predictions: int
) -> PlayerValues:
    """The values of all players, with their errors and what the reader should know."""
    weights = problem.weights[solved.rows]
    weights = weights / weights.sum()
    influence, error = np.zeros((len(solved.rows), problem.players.count)), np.zeros(problem.players.count)
    influence[:, players], error[players] = solved.row_values, solved.error
    values = weights @ influence
    empty, full = float(weights @ solved.empty), float(weights @ solved.full)
    return PlayerValues(
        values=values,
        influence=influence,
        baseline=solved.full,
        kernel=f"{solved.count:,} coalitions of {len(players):,} players over {len(solved.rows):,} rows and {len(size.background):,} background rows",
        exact=size.exact,
        predictions=predictions,
        monte_carlo_error=error,
        notes=_notes(problem, size, players, solved, error, values),
        extras={
            "converged": ((), np.array(solved.converged)),
            "monte_carlo_error": (("feature",), error),
            "loss_without_features": ((), np.array(empty)),
            "additivity_gap": ((), np.array(float(values.sum()) - (empty - full))),
        },
    )


def _notes(
    problem: LossProblem, size: GameSize, players: Ints, solved: _SolvedGame, error: Floats, values: Floats
) -> tuple[str, ...]:
    """What the reader should know."""
    notes = [f"{size.background.note} {BACKGROUND_NOTE}"]
    kept = len(size.row_order)
    if len(solved.rows) < kept:
        notes.append(f"Over {len(solved.rows):,} of {kept:,} rows, drawn by the seed: as many as max_evals allows.")
    left_out = problem.players.count - len(players)
    if left_out == 1:
        notes.append("1 player changes no prediction of these rows: its value is exactly 0.")
    elif left_out:
        notes.append(f"{left_out:,} players change no prediction of these rows: their values are exactly 0.")
    if size.exact:
        notes.append("Exact for these rows and this background: all coalitions were evaluated.")
        return tuple(notes)
    notes.append(
        f"Estimated from {solved.count:,} of {2.0 ** len(players):.3g} coalitions; the error of that is in monte_carlo_error, and is added to that over rows."
    )
    if not solved.converged:
        notes.append(not_converged_note(error, values))
    return tuple(notes)


def plan_sage(problem: ImportanceProblem) -> Plan:
    """Plan :func:`sage`: predictions beforehand, at most.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    resolved = resolve_loss_problem(problem, check=False)
    given = given_background(resolved, check=False)
    players = len(active_players(resolved, given))
    size = game_size(resolved, players, given)
    predictions = size.predictions + len(resolved) + len(size.background) if isinstance(resolved.model, BlackBox) else 0
    checks = planned_sage_checks(resolved, size)
    coalitions = f"{size.n_coalitions:,} coalitions{'' if size.exact else ' at most'}"
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel=f"{coalitions} of {players:,} players over {size.n_rows:,} rows or more and {len(size.background):,} background rows",
        exact=size.exact,
        rows=size.n_rows,
        model_calls=resolved.n_rows_checked + size.background.n_compared + predictions + checks,
    )
