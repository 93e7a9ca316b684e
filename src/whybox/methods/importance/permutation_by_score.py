"""Permutation importance by a score of all rows together, such as AUC or R squared: how much it drops when a player's values come from other rows.

Such a score is no mean over rows, so its error is that of a jackknife over groups of rows. Rows are put into groups at random, and in the first block of
rounds each row gets the values of rows of its own group. So a group can be left out together with all it gave and got, and the score of the others is what it
would be without it. In all further rounds donors are any rows. Donors are spread evenly over the player's values, see `permutation_by_predictions`.
scikit-learn's scores are taken for each round, and for the jackknife of the predictions of the first block together, which is the same for means over rows and
R squared, and nearly so for ranks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, final

import numpy as np

from whybox.data.table import Floats, Table
from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.importance.donor_rounds import DonorRounds, donors_in_order, run_rounds
from whybox.methods.importance.even_donors import EvenDonors
from whybox.methods.importance.off_data import mean_off_data
from whybox.methods.importance.prediction_budget import allowed_rounds
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import PlayerValues, importance_result
from whybox.methods.importance.score_problem import ScoreProblem, resolve_score_problem
from whybox.methods.importance.scorers import StandIn
from whybox.methods.importance.spot_checks import PermutationChecks, planned_checks
from whybox.models.blackbox import BlackBox
from whybox.numerics.statistics import leave_group_out

__all__ = ["permutation_by_score", "plan_permutation_by_score"]

MAX_GROUPS: Final = 20
MAX_GROUPS_PREDICTED: Final = 10  # where the score itself asks the model about the rows, anew without each group
MIN_GROUP: Final = (
    8  # rows of a group, where there are several groups; in small ones weights of donors are not those of all rows
)
ROUNDS_PREDICTED: Final = 2  # for the jackknife, where the score itself asks the model
KERNEL: Final = "scores of rows with a player's values from other rows of their group, spread evenly over them"
UNDEFINED_NOTE: Final = (
    "Without one of the groups the score is not a number for these rows, so there is no standard error."
)
_STREAM: Final = 0x5C0E


def permutation_by_score(problem: ImportanceProblem) -> Explanation:
    """Return how much a score of all rows together drops when each player's values come from other rows.

    A value is the score as it is less the mean score over rounds of donors. A round leaves a row its own value now and then, once in as many times as there are
    donors; drops are divided by one less that share, which brings them to pairs of two different rows: exactly for scores that are means over rows or R
    squared, to first order for others. The standard error is that of the delete-a-group jackknife, of the rows as a sample and of donors that were drawn.

    Args:
        problem: a model, rows and their truth, and ``scoring``.

    Returns:
        Explanation of kind ``"importance"``, (features,), in units of the score, with ``extras["baseline_score"]``.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    began = time.perf_counter()
    resolved = resolve_score_problem(problem)
    rounds = _planned_rounds(resolved)
    checks = PermutationChecks(resolved)
    resolved.repeat_check.check_before()
    groups = _RowGroups(resolved)
    game = _ScoredRows(resolved, groups, checks)
    rng = np.random.default_rng([resolved.options.seed % 2**63, _STREAM, 1])
    donors = [_GroupsThenAll(resolved, groups, members, rng) for members in resolved.players.members]

    def drop(player: int, chosen: Ints) -> float:
        return game.drop(player, chosen, in_groups=donors[player].in_groups)

    found = run_rounds(resolved, donors, rounds, drop, game.baseline[0])
    resolved.repeat_check.check_after()
    checks.check_predictions()
    if resolved.estimator is not None:
        resolved = replace(resolved, n_rows_checked=resolved.n_rows_checked + game.estimator_rows)
    values = _as_values(resolved, game, groups, found)
    result = importance_result(
        resolved, replace(values, spot_checks=checks.result), seconds=time.perf_counter() - began
    )
    return replace(result, evidence=replace(result.evidence, quantity=resolved.units))


@final
class _RowGroups:
    """The rows of positive weight, in groups drawn by the seed.

    Attributes:
        members: positions of the rows of each group. row_sets: those of all rows, and then of all but each group.
        own_share: how often a row gets its own values from its group, in the mean; own_share_of_all: from any row.
    """

    def __init__(self, problem: ScoreProblem) -> None:
        kept = np.flatnonzero(problem.weights > 0)
        shares = leave_group_out(np.ones(len(kept)), group_count(problem), seed=problem.options.seed % 2**63)
        self.row_sets = [kept[share > 0] for share in shares]
        self.members = [kept[share == 0] for share in shares[1:]]
        self.weights = np.zeros(len(problem))
        for rows in self.members:  # within each group they sum to one
            self.weights[rows] = problem.weights[rows] / problem.weights[rows].sum()
        self.own_share = float(problem.weights @ self.weights)
        self.own_share_of_all = float(problem.weights @ problem.weights)


def group_count(problem: ScoreProblem) -> int:
    """Return how many groups rows are put into: two at least."""
    kept = int(np.count_nonzero(problem.weights))
    most = MAX_GROUPS_PREDICTED if problem.scorer.reads_rows else MAX_GROUPS
    return max(2, min(most, kept // MIN_GROUP))


@final
class _GroupsThenAll:
    """Donors of each row: rows of its group, until places are drawn again; then any rows."""

    def __init__(
        self, problem: ScoreProblem, groups: _RowGroups, members: Sequence[int], rng: np.random.Generator
    ) -> None:
        self._count = len(problem)
        kept = groups.row_sets[0]
        self._any = kept, donors_in_order(problem, kept, members, problem.weights, rng)
        self._circles: list[tuple[Ints, EvenDonors]] = []
        for rows in groups.members:
            weights = np.zeros(len(problem))
            weights[rows] = groups.weights[rows]
            self._circles.append((rows, donors_in_order(problem, rows, members, weights, rng)))

    @property
    def in_groups(self) -> bool:
        """Whether donors are rows of a row's own group."""
        return self._circles[0] is not self._any

    def draw_places(self) -> None:
        """Draw the places of the rows among all."""
        self._any[1].draw_places()
        self._circles = [self._any]

    def shifted(self, share: float = 0.0) -> Ints:
        """Return the donor of each row, (rows,); a row of weight 0 is its own."""
        donors = np.arange(self._count, dtype=np.int64)
        for rows, circle in self._circles:
            donors[rows] = circle.shifted(share)[rows]
        return donors


@final
class _ScoredRows:
    """Scores rows as they are and with a player changed.

    Attributes:
        baseline: (1 + groups,), the score of the rows as they are: of all, and without each group.
        estimator_rows: how many rows the estimator was asked about.
    """

    def __init__(self, problem: ScoreProblem, groups: _RowGroups, checks: PermutationChecks) -> None:
        self._problem, self._groups, self._checks = problem, groups, checks
        self._evaluator = HybridEvaluator(problem.model, problem.evaluated)
        self.estimator_rows = 0
        self._own: Floats | None = None
        if problem.estimator is None:
            self._own = self._evaluator.evaluate_rows(
                problem.table, np.arange(len(problem)), what="predictions of the rows"
            )
        self._rounds: list[list[StandIn]] = [[] for _ in range(problem.players.count)]
        self._scores: list[list[Floats]] = [[] for _ in range(problem.players.count)]
        if problem.scorer.reads_rows:
            self.baseline = self._scores_of_rows(problem.table)
        else:
            self.baseline = self._scores_of_rounds([self._predictions(problem.table, self._own)])
        if not np.isfinite(self.baseline[0]):
            raise OptionError(
                Argument("scoring", problem.scorer.name), " is not a number for these rows and this truth."
            )

    @property
    def spent(self) -> int:
        """Predictions that whybox made of the model."""
        return self._evaluator.spent

    def drop(self, player: int, donors: Ints, *, in_groups: bool) -> float:
        """Return the score as it is less that of the rows with a player's values from these donors, (rows,), brought to pairs of different rows.

        Args:
            in_groups: whether donors are rows of a row's own group; then the round may serve for the jackknife.
        """
        problem, members = self._problem, self._problem.players.members[player]
        table, outputs = problem.table, None
        if problem.estimator is None:
            outputs = self._hybrid_outputs(player, donors)
            self._checks.observe_donors(player, donors, outputs)
        else:
            table = table.with_columns_from(table.rows(donors), members)
            if not self._rounds[player] and not self._scores[player]:
                self._note_rows(player, table, donors)
        if problem.scorer.reads_rows:
            score = self._score_rows(player, table, in_groups=in_groups)
        else:
            predictions = self._predictions(table, outputs)
            score = problem.score_predictions(predictions, self._groups.row_sets[0])
            if in_groups:
                self._rounds[player].append(predictions)
        own = self._groups.own_share if in_groups else self._groups.own_share_of_all
        return float(self.baseline[0] - score) / (1.0 - own)

    def _score_rows(self, player: int, table: Table, *, in_groups: bool) -> float:
        """The score that a function takes of the rows; of the first rounds also without each group."""
        if in_groups and len(self._scores[player]) < ROUNDS_PREDICTED:
            self._scores[player].append(self._scores_of_rows(table))
            return float(self._scores[player][-1][0])
        return self._problem.score_rows(table, self._groups.row_sets[0], self._count)

    def drops_without_groups(self, player: int) -> Floats:
        """Return the drop by the rounds of the jackknife, of all rows and without each group, (1 + groups,)."""
        if self._problem.scorer.reads_rows:
            scores = np.mean(self._scores[player], axis=0)
        else:
            scores = self._scores_of_rounds(self._rounds[player])
        return np.asarray((self.baseline - scores) / (1.0 - self._groups.own_share))

    def _predictions(self, table: Table, outputs: Floats | None) -> StandIn:
        problem = self._problem

        def predict() -> Floats:
            return np.zeros((0, 0)) if outputs is None else problem.predictions(outputs)

        return problem.stand_in(table, predict, self._count)

    def _scores_of_rows(self, table: Table) -> Floats:
        problem = self._problem
        return np.array([problem.score_rows(table, rows, self._count) for rows in self._groups.row_sets])

    def _scores_of_rounds(self, rounds: Sequence[StandIn]) -> Floats:
        """Scores of rounds together; a single one is as it is."""
        problem, together = self._problem, rounds[0] if len(rounds) == 1 else StandIn.together(rounds)
        starts = np.arange(len(rounds))[:, None] * len(problem)
        sets = ((starts + rows).reshape(-1) for rows in self._groups.row_sets)
        return np.array([problem.score_predictions(together, rows) for rows in sets])

    def _count(self, rows: int) -> None:
        self.estimator_rows += rows

    def _hybrid_outputs(self, player: int, donors: Ints) -> Floats:
        problem, count = self._problem, len(self._problem)
        index, outputs = self._evaluator.evaluate_hybrids(
            problem.table, problem.table, np.arange(count), donors, np.zeros(count, dtype=np.int64), (problem.players.members[player],),
            row_outputs=self._own, donor_outputs=self._own, what=f"{problem.players.names[player]} permuted",
        )  # fmt: skip
        return np.asarray(outputs[index])

    def _note_rows(self, player: int, table: Table, donors: Ints) -> None:
        """Note the model's outputs of a few of the rows that the estimator is given, to be recomputed."""
        rows = self._checks.rows_of(player)
        if len(rows):
            outputs = np.zeros((len(table), len(self._problem.evaluated.names)))
            outputs[rows] = self._evaluator.evaluate_rows(table, rows, what="rows that are checked")
            self._checks.observe_donors(player, donors, outputs)


def _as_values(problem: ScoreProblem, game: _ScoredRows, groups: _RowGroups, rounds: DonorRounds) -> PlayerValues:
    """The drops, with the pseudo-values of the jackknife in place of rows."""
    drops = np.array([game.drops_without_groups(p) for p in range(problem.players.count)])
    count, values = len(groups.members), rounds.means.mean(axis=1)
    notes = (
        f"The standard error is that of a jackknife over {count} groups of rows, because {problem.scorer.name} is a score of all rows together.",
        f"Estimated from {rounds.means.shape[1]} rounds of donors; brought to pairs of two different rows, to first order.",
        *rounds.warning(values),
        *(() if np.isfinite(drops).all() else (UNDEFINED_NOTE,)),
    )
    return PlayerValues(
        values=values,
        influence=count * drops[:, 0] - (count - 1) * drops[:, 1:].T,
        influence_weights=np.full(count, 1.0 / count),
        baseline=None,
        kernel=KERNEL,
        exact=False,
        predictions=game.spent,
        notes=notes,
        extras={
            "converged": ((), np.array(rounds.converged)),
            "monte_carlo_error": (("feature",), rounds.errors),
            "baseline_score": ((), np.array(game.baseline[0])),
            "off_data": (("feature",), mean_off_data(problem)),
            "round_values": (("feature", "round"), rounds.means),
        },
    )


def _planned_rounds(problem: ScoreProblem) -> int:
    """Rounds at most.

    Raises:
        LimitError: `max_evals` does not allow one.
    """
    return allowed_rounds(problem, "round", _noted_rows(problem) + _predictions_without_groups(problem))


def _noted_rows(problem: ScoreProblem) -> int:
    """Predictions made at most of rows that the estimator gets, to be recomputed."""
    asked = problem.estimator is not None and isinstance(problem.model, BlackBox)
    return planned_checks(problem, 0.0) if asked else 0


def _predictions_without_groups(problem: ScoreProblem) -> int:
    """Predictions for the jackknife, where the score itself asks the model: of all rows but each group, as they are and in some rounds."""
    if not problem.scorer.reads_rows:
        return 0
    return len(problem) * (group_count(problem) - 1) * (1 + problem.players.count * ROUNDS_PREDICTED)


def plan_permutation_by_score(problem: ImportanceProblem) -> Plan:
    """Plan :func:`permutation_by_score`: predictions beforehand, at most.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    resolved = resolve_score_problem(problem, check=False)
    rounds, count, players = _planned_rounds(resolved), len(resolved), resolved.players.count
    asked = resolved.estimator is not None or isinstance(resolved.model, BlackBox)
    checks = planned_checks(resolved, 0.0) + _noted_rows(resolved)
    predictions = count * (1 + players * rounds) + _predictions_without_groups(resolved) if asked else 0
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel=KERNEL,
        exact=False,
        rows=count,
        model_calls=resolved.n_rows_checked + predictions + checks,
    )
