"""Importance by dropping columns: how much more a model loses that was trained without a player."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, Final

import numpy as np

from whybox.core.library_calls import first_line
from whybox.core.progress import progress_counter
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.plan import MethodPlan, Plan
from whybox.methods.common.row_losses import resolve_for_loss
from whybox.methods.common.row_offsets import resolve_offsets
from whybox.methods.common.shifted_outputs import ShiftedOutputs
from whybox.methods.common.spot_checks import SpotChecker, spot_predictions
from whybox.methods.importance.loss_problem import LossProblem, resolve_loss_problem, training_rows
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.result import importance_result, paired_values
from whybox.methods.importance.rows_problem import compare_offsets
from whybox.methods.importance.spot_checks import check_rows
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox

__all__ = ["drop_column", "plan_drop_column"]

KERNEL: Final = "the model trained again without each player"
TEST: Final = "one-sided t-test of the rows' paired losses"


def drop_column(problem: ImportanceProblem) -> Explanation:
    """Return how much the mean loss on the rows grows when the model is trained again without each player's columns.

    It is about the kind of model, not about this one: a feature that others can replace is worth nothing. Rows are compared with themselves, and the t-test says
    whether the increase is above zero; that another training would have come out otherwise is not in its error.

    Args:
        problem: a model, rows that it was not trained on with their truth, and ``train``, the rows and truth of training.

    Returns:
        Explanation of kind ``"importance"``, (features,), in the units of the loss.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.

    References:
        Lei et al., Distribution-free predictive inference for regression, Journal of the American Statistical Association 113 (2018), section 6.
    """
    began = time.perf_counter()
    train, truth = training_rows(problem)
    resolved = resolve_loss_problem(problem)
    fit = _trainer(problem, resolved.model)
    table, count = resolved.table, resolved.players.count
    if count == 1:
        raise OptionError("there is one player alone, and a model without columns cannot be trained.")
    positions = _positions(train, table)
    evaluator, checker = HybridEvaluator(resolved.model, resolved.evaluated), SpotChecker()
    baseline = resolved.losses(evaluator.evaluate_rows(table, np.arange(len(table)), what="predictions of the rows"))
    check_rows(resolved, checker, table, _planned_checks(resolved), what="the rows")
    differences = np.zeros((len(table), count))
    with progress_counter(count, description="training without a player", unit="trainings") as done:
        for player, members in enumerate(resolved.players.members):
            left = [i for i in range(table.width) if i not in members]
            without = train.select([positions[i] for i in left])
            refit = _fit(fit, without.native, truth, resolved.players.names[player])
            differences[:, player] = _losses_of(resolved, refit, table.select(left).native) - baseline
            done(1)
    found = paired_values(
        resolved,
        differences,
        baseline=baseline,
        kernel=KERNEL,
        predictions=evaluator.spent,
        test=TEST,
        notes=(f"{count} models were trained; the error is that of the rows, not of training.",),
        spot_checks=checker.result,
    )
    return importance_result(resolved, found, seconds=time.perf_counter() - began)


def _trainer(problem: ImportanceProblem, read: Model) -> Callable[[Any, Any], Any]:
    """What trains a model on (rows, truth), with the offsets of the training rows where there are some.

    Args:
        problem: as the caller gave it. read: the model as it was read.

    Raises:
        OptionError: the model cannot be trained again by itself.
    """
    model, fit = problem.model, problem.options.fit
    offset = None if problem.train_offset is None else problem.train_offset.given
    if offset is not None and offset.shape[1] == 1:
        offset = offset[:, 0]
    if fit is not None:
        return fit if offset is None else partial(_fit_with_offset, fit, offset)
    if not hasattr(model, "fit") or not hasattr(model, "get_params"):
        raise OptionError(
            Argument("method", "drop_column"), f" trains the model again, and a {type(model).__name__} cannot be trained by itself: pass ",
            Argument("fit", example=f"function of ({'rows, truth' if offset is None else 'rows, truth, offset'})"), ".",
        )  # fmt: skip
    from sklearn.base import clone

    if offset is None:
        return lambda rows, truth: clone(model).fit(rows, truth)
    name = "" if read.offset_rule is None else read.offset_rule.name
    if name not in signature(model.fit).parameters:
        raise OptionError(
            Argument("method", "drop_column"), f" trains the model again, and the fit of a {type(model).__name__} takes no offsets: pass ",
            Argument("fit", example="function of (rows, truth, offset)"), ".",
        )  # fmt: skip
    return lambda rows, truth: clone(model).fit(rows, truth, **{name: offset})


def _fit_with_offset(fit: Callable[..., Any], offset: Floats, rows: Any, truth: Any) -> Any:
    return fit(rows, truth, offset)


def _fit(fit: Callable[[Any, Any], Any], rows: Any, truth: Any, player: str) -> Any:
    try:
        refit = fit(rows, truth)
    except Exception as error:  # any library's
        raise OptionError(
            f"training without {player!r} fails ({type(error).__name__}: {first_line(error)}). A pipeline that names its columns needs ", Argument("fit", example=""),
            ", a function of (rows, truth) that trains one of the columns that are left.",
        ) from error  # fmt: skip
    if refit is None:
        raise OptionError(Argument("fit"), " returned None; it must return the trained model.")
    return refit


def _positions(train: Table, table: Table) -> list[int]:
    """Where the model's columns stand in the training rows.

    Raises:
        InputError: some are not there.
    """
    if train.named and table.named:
        lost = [name for name in table.names if name not in train.names]
        if lost:
            raise InputError(Argument("train"), f" lacks the column {lost[0]!r} of the rows.")
        return [train.names.index(name) for name in table.names]
    if train.width != table.width:
        raise InputError(Argument("train"), f" has {train.width} columns, and the rows have {table.width}.")
    return list(range(table.width))


def _losses_of(problem: LossProblem, refit: Any, rows: Any) -> Floats:
    """The loss of each row by another model.

    Raises:
        InputError: its classes or outputs are others than the model's.
    """
    resolved, labels = resolve_for_loss(refit, rows, replace(problem.options, sample_weight=None))
    resolved.compare()
    shifted = None
    if problem.shifted is not None:
        offsets = resolve_offsets(resolved.model, problem.shifted.offsets.given, len(resolved.rows))
        shifted = ShiftedOutputs(offsets, resolved.selection)
        compare_offsets(resolved, shifted)
    outputs = resolved.model.outputs
    if labels != problem.labels or outputs.names != problem.model.outputs.names:
        raise InputError(
            f"the model that was trained without a player has the outputs {outputs.names}, and the model itself {problem.model.outputs.names}."
        )
    refitted = replace(problem, resolved=resolved, shifted=shifted)
    evaluator = HybridEvaluator(resolved.model, refitted.evaluated)
    every = np.arange(len(resolved.rows))
    return refitted.losses(evaluator.evaluate_rows(resolved.rows.table, every, what="predictions without a player"))


def plan_drop_column(problem: ImportanceProblem) -> Plan:
    """Plan :func:`drop_column`: what training takes is not known.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    training_rows(problem)
    resolved = resolve_loss_problem(problem, check=False)
    _trainer(problem, resolved.model)
    rows = len(resolved)
    predictions = rows if isinstance(resolved.model, BlackBox) else _planned_checks(resolved)
    return MethodPlan(
        method=problem.spec.title,
        method_id=problem.spec.method_id,
        kernel=f"{KERNEL}: {resolved.players.count} trainings",
        exact=False,
        rows=rows,
        model_calls=resolved.n_rows_checked + predictions,
    )


def _planned_checks(problem: LossProblem) -> int:
    """How many rows a model that is read is asked about once more."""
    if isinstance(problem.model, BlackBox) or problem.model.own_predict is None:
        return 0
    return min(spot_predictions(problem.options.spot_checks), len(problem))
