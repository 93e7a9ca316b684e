"""Conditional importance: how much more the model loses when the part of a feature that the others do not tell is exchanged between rows."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, InputError, LimitError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions
from whybox.methods.importance.conditional_values import FOLDS, ConditionalValues
from whybox.methods.importance.loss_problem import LossProblem, resolve_loss_problem
from whybox.methods.importance.pairs_of_rows import increase_units
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import PlayerValues, importance_result, paired_p_values
from whybox.methods.importance.spot_checks import check_rows

__all__ = ["conditional", "plan_conditional"]

MIN_ROWS: Final = 5 * FOLDS
MAX_ROUNDS: Final = 20  # draws of each row and player
DEFAULT_PREDICTIONS_A_ROW: Final = 200  # of all players together
KERNEL: Final = "rows with a player's values drawn given the other columns"
TEST: Final = "one-sided t-test of the rows' paired losses (conditional predictive impact)"


def conditional(problem: ImportanceProblem) -> Explanation:
    """Return how much the mean loss grows when the part of each player that the other columns do not tell comes from another row.

    New values are drawn from a cross-fitted model of the player given the other columns, see `conditional_values`. A feature that the others tell is worth
    nothing here, however much the model uses it. Rows are compared with themselves, so the error is that of a paired mean, and a t-test says whether
    it is above zero: for a feature that tells nothing beyond the others the increase is zero in the mean, whatever the model does with it.

    Args:
        problem: a model, rows that it was not trained on, and their truth.

    Returns:
        Explanation of kind ``"importance"``, (features,), in the units of the loss, with ``p_value``, ``q_value``, and ``extras["explained_by_others"]``: the share of the
        feature's variance that the other columns explain.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    References:
        Watson & Wright, Testing conditional independence in supervised learning algorithms, Machine Learning 110 (2021).
    """
    began = time.perf_counter()
    resolved = resolve_loss_problem(problem)
    _check_rows(resolved)
    rounds = _rounds(resolved)
    weights, rows = resolved.weights, np.arange(len(resolved))
    evaluator = HybridEvaluator(resolved.model, resolved.selection, reserved=resolved.checked)
    resolved.resolved.repeat_check.check_before()
    own = evaluator.evaluate_rows(resolved.table, rows, what="predictions of the rows")
    baseline = resolved.losses(own)
    differences = np.zeros((len(resolved), resolved.players.count))
    explained = np.full(resolved.players.count, np.nan)
    checker = SpotChecker()
    for player, members in enumerate(resolved.players.members):
        increases, explained[player] = _of_player(resolved, evaluator, checker, player, members, rounds)
        differences[:, player] = increases - baseline
    resolved.resolved.repeat_check.check_after()
    found = PlayerValues(
        values=weights @ differences,
        influence=differences,
        units=increase_units(resolved),
        kernel=KERNEL,
        exact=False,
        predictions=evaluator.spent,
        p_value=paired_p_values(differences, weights),
        test=TEST,
        baseline_loss=float(weights @ baseline),
        notes=(
            f"Each new value is one of {rounds} draws from a model of the feature given the others; where that model is wrong, so is the importance.",
        ),
        extras={"explained_by_others": (("feature",), explained)},
        spot_checks=checker.result,
    )
    return importance_result(resolved, found, seconds=time.perf_counter() - began)


def _of_player(
    problem: LossProblem,
    evaluator: HybridEvaluator,
    checker: SpotChecker,
    player: int,
    members: tuple[int, ...],
    rounds: int,
) -> tuple[Floats, float]:
    """The mean loss of each row over the draws, and the share of a single column that the others explain."""
    rows, table, seed = problem.resolved.rows, problem.table, problem.options.seed
    others = tuple(p for p in range(table.width) if p not in members)
    models = [ConditionalValues(rows, p, (*others, *members[:i]), seed) for i, p in enumerate(members)]
    rng = np.random.default_rng([seed % 2**63, 0xC0FE, player])
    losses = np.zeros(len(problem))
    for k in range(rounds):
        drawn: dict[int, Ints] = {}
        mixed = table
        for position, model in zip(members, models, strict=True):
            drawn[position] = model.draw(rng, drawn)
            mixed = mixed.with_columns_from(table.rows(drawn[position]), [position])
        if k == 0:
            asked = spot_predictions(problem.options.spot_checks) // problem.players.count
            check_rows(problem, checker, mixed, min(asked, len(problem)), what="rows with values that were drawn")
        outputs = evaluator.evaluate_rows(
            mixed, np.arange(len(problem)), what=f"{problem.players.names[player]} given the others"
        )
        losses += problem.losses(outputs) / rounds
    return losses, models[0].explained if len(members) == 1 else float("nan")


def _check_rows(problem: LossProblem) -> None:
    count = int(np.count_nonzero(problem.weights))
    if count < MIN_ROWS:
        raise InputError(
            Argument("method", "conditional"), f" fits each feature to the others and needs {MIN_ROWS} rows at least; there are {count}."
        )  # fmt: skip


def _rounds(problem: LossProblem) -> int:
    """Draws of each row and player.

    Raises:
        LimitError: `max_evals` does not allow one.
    """
    limit, count = problem.options.max_evals, len(problem)
    if limit is None:
        return max(1, min(MAX_ROUNDS, DEFAULT_PREDICTIONS_A_ROW // problem.players.count))
    needed = problem.checked + count * (1 + problem.players.count)
    if needed > limit:
        raise LimitError(
            f"one draw of all players takes {needed:,} predictions of single rows. Pass fewer rows, join players, or raise ",
            Argument("max_evals", limit),
            ".",
        )
    return min(MAX_ROUNDS, (limit - problem.checked - count) // (count * problem.players.count))


def plan_conditional(problem: ImportanceProblem) -> Plan:
    """Plan :func:`conditional`: its predictions, exactly; the models of features are not timed.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    resolved = resolve_loss_problem(problem, check=False)
    _check_rows(resolved)
    count = len(resolved)
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel=KERNEL,
        exact=False,
        rows=count,
        model_calls=resolved.checked + count * (1 + resolved.players.count * _rounds(resolved)),
    )
