"""What anchors will cost: the rules of a few rows are searched, and scaled to all; of a slow model only the most that is allowed is said."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from whybox.methods.anchors.evaluate import MAX_DRAWS, DrawEvaluator
from whybox.methods.anchors.explainer import Anchors
from whybox.methods.anchors.offset_groups import row_groups
from whybox.methods.anchors.problem import AnchorsProblem, resolve_rows
from whybox.methods.anchors.rounds import problems_together
from whybox.methods.anchors.search import KEPT_DRAWS
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import prediction_function
from whybox.methods.common.output import raw_selection
from whybox.methods.common.plan import MethodPlan, Stopwatch, bytes_given, seconds_of_each
from whybox.methods.common.row_offsets import rows_and_own_offset
from whybox.methods.common.spot_checks import spot_predictions
from whybox.methods.registry import find
from whybox.models.blackbox import BlackBox

__all__ = ["plan_anchors", "seconds_of_a_prediction"]

PLANNED_ROWS: Final = 8  # whose rules are searched
TIMED_DRAWS: Final = (
    64,
    1024,
)  # predictions that say whether that is quick: the second where the first take next to no time
QUICK_CALL_SECONDS: Final = 0.3
QUICK_SECONDS: Final = 2.0  # that the shared sample may take for it


def plan_anchors(explainer: Anchors, X: Any, offset: Any = None) -> MethodPlan:
    """Return the cost of explaining rows; arguments are those of a call of the explainer.

    Raises:
        InputError, LimitError: as the explainer.
    """
    setting = explainer.setting
    problem = resolve_rows(setting, *rows_and_own_offset(setting.model, X, offset))
    rows, is_black_box = len(problem.rows), isinstance(setting.model, BlackBox)
    of_rows = problem.own if problem.shifted is None else np.column_stack([problem.own, problem.shifted.offsets.given])
    kinds, first = np.unique(of_rows, axis=0, return_index=True)
    budget = explainer.budget(rows, len(kinds))
    seconds_each = seconds_of_a_prediction(explainer)
    if seconds_each * explainer.pool_draws <= QUICK_SECONDS:
        each, seconds, note = _of_some_rows(explainer, problem, first, budget)
    else:
        each, seconds, note = float(budget), seconds_each, "at most; the model is slow, so no rule was searched for this plan"  # fmt: skip
        seconds *= explainer.pool_draws + rows + each * len(kinds)
    predictions = explainer.pool_draws + rows + each * len(kinds)
    checked = min(spot_predictions(setting.options.spot_checks, each * len(kinds)), KEPT_DRAWS * rows)
    checks = problem.n_rows_checked + checked
    spec = find("anchors", "anchors")
    return MethodPlan(
        method=spec.title,
        method_id=spec.method_id,
        kernel="rows drawn under each rule",
        exact=False,
        rows=rows,
        model_calls=checks + (predictions if is_black_box else 0),
        memory_bytes=_memory_bytes(explainer, rows),
        given_bytes=bytes_given(problem.rows),
        seconds=seconds,
        notes=(f"{predictions:,.0f} predictions of single rows, {note}.",),
    )


def seconds_of_a_prediction(explainer: Anchors) -> float:
    """Return the seconds of one prediction, from a few background rows as they are."""
    setting = explainer.setting
    evaluator = DrawEvaluator(setting)

    def predict(count: int) -> None:
        sources = np.repeat(np.arange(count)[:, None] % len(setting.background), setting.players.count, axis=1)
        evaluator.outputs(sources, what="anchors, timing")

    may_wait = isinstance(setting.model, BlackBox)
    return seconds_of_each(predict, TIMED_DRAWS, quick=QUICK_CALL_SECONDS, may_wait=may_wait)


def _of_some_rows(explainer: Anchors, problem: AnchorsProblem, first: Ints, budget: int) -> tuple[float, float, str]:
    """Search the rules of a few different rows: predictions of each, seconds of all, and what is said about it."""
    setting = explainer.setting
    may_wait = isinstance(setting.model, BlackBox)
    watch = Stopwatch(may_wait=may_wait)
    pool = explainer.pool if problem.shifted is None else explainer.raw_pool
    seconds = watch.elapsed_seconds()
    some = first[np.unique(np.linspace(0, len(first) - 1, min(PLANNED_ROWS, len(first))).astype(np.int64))]
    part = problem.rows_at(some)
    if part.shifted is None:
        outputs = prediction_function(setting.model, setting.selection)(part.rows)
    else:
        raw = prediction_function(setting.model, raw_selection(setting.model.outputs))(part.rows)
        outputs = part.shifted.predictions(np.arange(len(raw)), raw)
    groups = row_groups(part, setting.reader.answers(outputs))
    watch = Stopwatch(may_wait=may_wait)
    _, spent = explainer.rules_of(groups, budget)
    scale = len(first) / max(len(some), 1)
    seconds += scale * watch.elapsed_seconds()
    each = spent / max(len(some), 1)
    of = f"{len(some):,} row{'s' * (len(some) != 1)}"
    note = f"about: {len(pool):,} that all rows share, and {each:,.0f} for each different row, as the rules of {of} took for this plan"  # fmt: skip
    return each, seconds, note


def _memory_bytes(explainer: Anchors, rows: int) -> float:
    """Of the shared sample, of one round of draws, and of which background rows meet which predicates."""
    setting = explainer.setting
    players, background = setting.players.count, len(setting.background)
    draws = explainer.pool_draws * (2 * 8 * players + 2 * players)
    together = min(problems_together(explainer.law), rows)
    return float(draws + together * 2 * players * background + 3 * 8 * players * min(MAX_DRAWS, 2_000 * together))
