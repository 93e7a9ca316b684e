"""Conditional importance: how much more the model loses when the part of a feature that the others do not explain is exchanged between rows."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, InputError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions
from whybox.methods.importance.conditional_values import FOLDS, ConditionalValues
from whybox.methods.importance.loss_problem import LossProblem, resolve_loss_problem
from whybox.methods.importance.prediction_budget import allowed_rounds
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import importance_result, paired_values
from whybox.methods.importance.spot_checks import check_rows
from whybox.models.blackbox import BlackBox

__all__ = ["conditional", "plan_conditional"]

MIN_ROWS: Final = 5 * FOLDS
MAX_ROUNDS: Final = 20  # draws of each row and player
KERNEL: Final = "rows with a player's values drawn given the other columns"
TEST: Final = "one-sided t-test of the rows' paired losses (conditional predictive impact)"


def conditional(problem: ImportanceProblem) -> Explanation:
    """Return how much the mean loss grows when the part of each player that the other columns do not explain comes from another row.

    New values are drawn from a cross-fitted model of the player given the other columns, see `conditional_values`. A feature that the others explain is worth
    nothing here, however much the model uses it. Rows are compared with themselves, so the error is that of a paired mean, and a t-test says whether
    it is above zero: for a feature that adds nothing to the others the increase is zero in the mean, whatever the model does with it.

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
    rounds = _planned_rounds(resolved)
    evaluator, checker = HybridEvaluator(resolved.model, resolved.evaluated), SpotChecker()
    resolved.repeat_check.check_before()
    rows = np.arange(len(resolved))
    baseline = resolved.losses(evaluator.evaluate_rows(resolved.table, rows, what="predictions of the rows"))
    differences, explained = np.zeros((len(resolved), resolved.players.count)), np.full(resolved.players.count, np.nan)
    for player in range(resolved.players.count):
        differences[:, player], explained[player] = _increases(resolved, evaluator, checker, player, rounds, baseline)
    resolved.repeat_check.check_after()
    found = paired_values(
        resolved,
        differences,
        baseline=baseline,
        kernel=KERNEL,
        predictions=evaluator.spent,
        test=TEST,
        notes=(
            f"Each new value is one of {rounds} draws from a model of the feature given the others; where that model is wrong, so is the importance.",
        ),
        extras={"explained_by_others": (("feature",), explained)},
        spot_checks=checker.result,
    )
    return importance_result(resolved, found, seconds=time.perf_counter() - began)


def _increases(
    problem: LossProblem,
    evaluator: HybridEvaluator,
    checker: SpotChecker,
    player: int,
    rounds: int,
    baseline: Floats,
) -> tuple[Floats, float]:
    """What each row loses more, the mean over the draws, and the share of a single column that the others explain."""
    table, seed, members = problem.table, problem.options.seed, problem.players.members[player]
    others = tuple(p for p in range(table.width) if p not in members)
    models = [ConditionalValues(problem.rows, p, (*others, *members[:i]), seed) for i, p in enumerate(members)]
    rng = np.random.default_rng([seed % 2**63, 0xC0FE, player])
    increases = np.zeros(len(problem))
    for k in range(rounds):
        drawn: dict[int, Ints] = {}
        mixed = table
        for position, model in zip(members, models, strict=True):
            drawn[position] = model.draw(rng, drawn)
            mixed = mixed.with_columns_from(table.rows(drawn[position]), [position])
        if k == 0:
            asked, count = spot_predictions(problem.options.spot_checks), problem.players.count
            share = asked * (player + 1) // count - asked * player // count
            check_rows(problem, checker, mixed, min(share, len(problem)), what="rows with values that were drawn")
        outputs = evaluator.evaluate_rows(
            mixed, np.arange(len(problem)), what=f"{problem.players.names[player]} given the others"
        )
        increases += problem.losses(outputs) - baseline  # exactly 0 where nothing changes
    return increases / rounds, models[0].explained if len(members) == 1 else float("nan")


def _check_rows(problem: LossProblem) -> None:
    count = int(np.count_nonzero(problem.weights))
    if count < MIN_ROWS:
        raise InputError(
            Argument("method", "conditional"), f" fits each feature to the others and needs {MIN_ROWS} rows at least; there are {count}."
        )  # fmt: skip


def _planned_rounds(problem: LossProblem) -> int:
    """Draws of each row and player.

    Raises:
        LimitError: `max_evals` does not allow one.
    """
    return min(MAX_ROUNDS, allowed_rounds(problem, "draw"))


def plan_conditional(problem: ImportanceProblem) -> Plan:
    """Plan :func:`conditional`: its predictions, exactly; the models of features are not timed.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    resolved = resolve_loss_problem(problem, check=False)
    _check_rows(resolved)
    count, black_box = len(resolved), isinstance(resolved.model, BlackBox)
    predictions = count * (1 + resolved.players.count * _planned_rounds(resolved)) if black_box else 0
    checks = 0 if black_box or resolved.model.own_predict is None else spot_predictions(resolved.options.spot_checks)
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel=KERNEL,
        exact=False,
        rows=count,
        model_calls=resolved.n_rows_checked + predictions + checks,
    )
