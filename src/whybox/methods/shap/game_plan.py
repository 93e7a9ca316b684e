"""What attributions of a model that is evaluated will cost: how many predictions, and about how long."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.methods.common.plan import MethodPlan, Stopwatch, seconds_of_each
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.enumerate_games import MAX_HYBRIDS, check_size, enumerate_games, needed_predictions
from whybox.methods.shap.game_problem import GameRows, GameSetting, evaluate_rows
from whybox.methods.shap.spot_games import planned_predictions

__all__ = ["plan_games"]

TIMED_PREDICTIONS: Final = (32, 2_048)
QUICK_SECONDS: Final = 0.02
MAX_TIMED_EVALS: Final = 20_000  # of one row whose coalitions are evaluated for the timing
MAX_TIMED_SECONDS: Final = 0.5
NUMBERS_OF_A_VALUE: Final = 6  # arrays of float64 in the shape of the values that are held at a time
NUMBERS_OF_A_HYBRID: Final = 12  # the same, of hybrids that are evaluated together


def plan_games(given: GameRows, spec: MethodSpec, notes: tuple[str, ...]) -> MethodPlan:
    """Return what an answer costs at most.

    Args:
        given: rows to explain. spec: the method that was chosen for them. notes: why.

    Raises:
        LimitError: more coalitions or predictions than allowed. Others as the call, of the background.
    """
    setting, n = given.setting, len(given.differs)
    counts, background = given.players_that_differ, len(setting.background)
    needed = needed_predictions(counts, background)
    if spec.exact:
        check_size(setting, counts, given.budget)
    evals = needed if spec.exact else min(needed, float(given.budget))
    beside = setting.predictions_beside(n)
    checks = (
        0 if setting.options.spot_checks == 0 else planned_predictions(background, setting.options.spot_checks, evals)
    )
    each = _seconds_of_a_prediction(setting)
    seconds = each * (beside + evals + checks)
    timed = _seconds_of_one_row(given, each) if spec.exact else None
    if timed is None:
        notes = (*notes, "time: that of the predictions alone")
    else:
        seconds = each * (beside + checks) + timed * evals
    if not spec.exact:
        notes = (*notes, "at most: sampling stops when errors are as small as asked; lower max_evals to bound it")
    outputs = len(setting.selection.names)
    values = n * setting.players.count**setting.options.order * outputs
    hybrids = min(evals, float(MAX_HYBRIDS))
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel="all coalitions over all background rows" if spec.exact else "coalitions and background rows, drawn",
        exact=spec.exact,
        rows=n,
        model_calls=float(beside + evals + checks)
        if setting.is_black_box
        else float(setting.comparison[1] + n + checks),
        memory_bytes=8.0
        * (values * NUMBERS_OF_A_VALUE + hybrids * (NUMBERS_OF_A_HYBRID + setting.background.table.width)),
        seconds=seconds,
        notes=notes,
    )


def _seconds_of_a_prediction(setting: GameSetting) -> float:
    """Time predictions of background rows: more only where they take next to no time."""
    table, evaluator = setting.background.table, setting.evaluator()

    def work(count: int) -> None:
        evaluator.predict(table.rows(np.resize(np.arange(len(table)), count)))

    return seconds_of_each(work, TIMED_PREDICTIONS, quick=QUICK_SECONDS, may_wait=setting.is_black_box)


def _seconds_of_one_row(given: GameRows, a_prediction: float) -> float | None:
    """Evaluate all coalitions of one row, if that is quick, and return the seconds of each of its predictions; None if it is not."""
    counts = given.players_that_differ
    row = int(np.argmax(counts))
    needed = needed_predictions(counts[[row]], len(given.setting.background))
    if not 0 < needed <= MAX_TIMED_EVALS or needed * a_prediction > MAX_TIMED_SECONDS or not given.is_whole:
        return None
    one = given.rows_at(np.array([row]))
    problem = evaluate_rows(one).problem
    watch = Stopwatch(may_wait=given.setting.is_black_box)
    enumerate_games(problem)
    return watch.elapsed_seconds() / needed
