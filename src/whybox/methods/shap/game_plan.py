"""What attributions of a model that is evaluated will cost: how many predictions, and about how long."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from whybox.methods.common.plan import MethodPlan, Stopwatch, bytes_given, seconds_of_each
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.enumerate_games import MAX_HYBRIDS, check_size, enumerate_games, needed_predictions
from whybox.methods.shap.game_budget import allowance_text
from whybox.methods.shap.game_problem import GameRows, GameSetting, evaluate_rows
from whybox.methods.shap.sampled import sample_games
from whybox.methods.shap.spot_games import planned_predictions

__all__ = ["plan_games"]

_TIMED_METHODS: Final = ("exact_shap", "sampled_shap")
TIMED_PREDICTIONS: Final = (32, 2_048)
QUICK_SECONDS: Final = 0.02
MAX_TIMED_EVALS: Final = 20_000  # of one row whose coalitions are evaluated for the timing
MAX_TIMED_SECONDS: Final = 0.5
KERNELS: Final = ("all coalitions over all background rows", "coalitions and background rows, drawn")
NUMBERS_OF_A_VALUE: Final = 6  # arrays of float64 in the shape of the values that are held at a time
NUMBERS_OF_A_HYBRID: Final = 12  # the same, of hybrids that are evaluated together


def plan_games(
    given: GameRows,
    spec: MethodSpec,
    notes: tuple[str, ...],
    *,
    needed: float | None = None,
    kernels: tuple[str, str] = KERNELS,
) -> MethodPlan:
    """Return what an answer costs at most.

    Args:
        given: rows to explain. spec: the method that was chosen for them. notes: why.
        needed: predictions of exact values, of a method that is exact where they fit; None: of all coalitions. kernels: the routine of such values, and of others.

    Raises:
        LimitError: more coalitions or predictions than allowed. Others as the call, of the background.
    """
    setting, n = given.setting, len(given.differs)
    counts, background = given.players_that_differ, len(setting.background)
    exact = spec.exact or (needed is not None and needed <= given.budget)
    of_worths = exact or needed is not None
    needed = needed_predictions(counts, background) if needed is None else needed
    if spec.exact:
        check_size(setting, counts, given.budget)
    evals = needed if exact else min(needed, float(given.budget))
    beside = setting.predictions_beside(n)
    checks = 0
    if setting.options.spot_checks != 0 and not setting.options.stochastic:
        checks = planned_predictions(background, setting.options.spot_checks, evals, of_worths=of_worths)
    if setting.options.max_evals is not None and setting.is_black_box:
        checks = min(checks, given.reserved_for_checks + max(given.budget - int(evals), 0))
    each = _seconds_of_a_prediction(setting)
    seconds = each * (beside + evals + checks)
    timed = _seconds_of_one_row(given, spec, each) if spec.id in _TIMED_METHODS else None
    if timed is None:
        notes = (*notes, "time: that of the predictions alone")
    elif spec.exact:
        seconds = each * (beside + checks) + timed * evals
    else:
        seconds = each * (beside + checks + evals) + timed * n
        if setting.options.order == 1:
            notes = (
                *notes,
                "a surrogate of the model, where it is fitted, takes some seconds more, and saves predictions",
            )
    if not exact:
        allowed = allowance_text(setting.options.max_evals, given.budget, setting.evals_per_row)
        notes = (
            *notes,
            f"at most {allowed}: sampling stops when errors are as small as asked; lower max_evals to bound it",
        )
    outputs = len(setting.selection.names)
    values = n * setting.players.count**setting.options.order * outputs
    hybrids = min(evals, float(MAX_HYBRIDS))
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel=kernels[0] if exact else kernels[1],
        exact=exact,
        rows=n,
        model_calls=float(beside + evals + checks)
        if setting.is_black_box
        else float(setting.comparison[1] + n + checks),
        memory_bytes=8.0
        * (values * NUMBERS_OF_A_VALUE + hybrids * (NUMBERS_OF_A_HYBRID + setting.background.table.width)),
        given_bytes=bytes_given(given.rows),
        seconds=seconds,
        notes=notes,
    )


def _seconds_of_a_prediction(setting: GameSetting) -> float:
    """Time predictions of background rows: more only where they take next to no time."""
    table, evaluator = setting.background.table, setting.evaluator()

    def work(count: int) -> None:
        evaluator.predict(table.rows(np.resize(np.arange(len(table)), count)))

    return seconds_of_each(work, TIMED_PREDICTIONS, quick=QUICK_SECONDS, may_wait=setting.is_black_box)


def _seconds_of_one_row(given: GameRows, spec: MethodSpec, a_prediction: float) -> float | None:
    """Explain the row with most players that differ, if that is quick; None if it is not.

    Returns:
        Where exact, the seconds of each prediction, with all that belongs to it; else the seconds of a row beside its predictions.
    """
    counts = given.players_that_differ
    row = int(np.argmax(counts))
    needed = needed_predictions(counts[[row]], len(given.setting.background))
    evals = needed if spec.exact else min(needed, float(given.setting.evals_per_row))
    if not 0 < evals <= MAX_TIMED_EVALS or evals * a_prediction > MAX_TIMED_SECONDS or not given.is_whole:
        return None
    problem = evaluate_rows(given.rows_at(np.array([row]))).problem
    watch = Stopwatch(may_wait=given.setting.is_black_box)
    if spec.exact:
        enumerate_games(problem)
        return watch.elapsed_seconds() / evals
    sample_games(replace(problem, budget=min(problem.budget, given.setting.evals_per_row)))
    return max(watch.elapsed_seconds() - a_prediction * problem.evaluator.spent, 0.0)
