"""The answer of games as an explanation: values that add up, their errors, and the evidence."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import table_fingerprint
from whybox.data.table import Floats
from whybox.errors import ModelMismatchError
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.method_spec import MethodSpec
from whybox.methods.shap.game_answer import GameAnswer
from whybox.methods.shap.game_hybrids import largest_absent
from whybox.methods.shap.game_problem import GameProblem, PreparedGames
from whybox.methods.shap.loss_games import LOSS_ESTIMAND, QUANTITY, LossGames
from whybox.methods.shap.offset_games import with_offsets
from whybox.methods.shap.row_games import shared_base
from whybox.models.blackbox import BlackBox
from whybox.numerics.statistics import confidence_interval

__all__ = ["ESTIMAND", "game_explanation", "reached_error"]

ESTIMAND: Final = "interventional: values of background rows"
ROUNDING: Final = 1e-9  # of sums, relative to the largest output
DEFAULT_TOL: Final = 0.02


def game_explanation(
    prepared: PreparedGames,
    answer: GameAnswer,
    spec: MethodSpec,
    *,
    seconds: float,
    spot_checks: SpotChecks,
    notes: tuple[str, ...] = (),
) -> Explanation:
    """Return the explanation.

    Args:
        prepared, answer: the problem and its answer. spec: the method. seconds: wall time. notes: what the reader should know beside what the answer says.

    Raises:
        ModelMismatchError: the values do not add up to the prediction less the base.
    """
    problem = prepared.problem
    selection, matrices = problem.selection, problem.options.order == 2
    dims: tuple[str, ...] = ("row", "feature", "feature_2") if matrices else ("row", "feature")
    names = as_labels(problem.players.names)
    coords: dict[str, Any] = dict.fromkeys(dims[1:], names)
    coords |= {"row": problem.rows.row_labels, "output": as_labels(selection.names)}
    axis = ("output",) if selection.has_output_axis else ()
    dims = (*dims, *axis)
    values, residual, tolerance = _adding_up(problem, answer)
    values = np.ascontiguousarray(selection.drop_output_axis(values))
    error = None if answer.std_error is None else selection.drop_output_axis(answer.std_error)
    explanation = Explanation(
        kind="interaction" if matrices else "attribution",
        values=values,
        dims=dims,
        coords=coords,
        base=_base(prepared),
        prediction=np.array(selection.drop_output_axis(problem.row_outputs)),
        units=selection.units,
        std_error=None if error is None else np.ascontiguousarray(error),
        evidence=_evidence(
            prepared,
            answer,
            spec,
            residual=residual,
            tolerance=tolerance,
            seconds=seconds,
            spot_checks=spot_checks,
            notes=notes,
        ),
        data=problem.rows,
        players=problem.players.columns_of(problem.rows.names),
        extras=_extras(problem, answer, values, error, dims),
    )
    if problem.offsets is None or problem.by_row is not None:
        return explanation
    return with_offsets(explanation, problem.offsets, selection)


def _base(prepared: PreparedGames) -> Floats:
    """The base that all rows share, () or (outputs,); NaN where games differ by row and so do their bases, which extras hold."""
    problem = prepared.problem
    if problem.by_row is None:
        return np.array(problem.selection.drop_output_axis(prepared.setting.base))
    return np.array(problem.selection.drop_output_axis(shared_base(problem.base)))


def _extras(
    problem: GameProblem, answer: GameAnswer, values: Floats, error: Floats | None, dims: tuple[str, ...]
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """What goes with the values, each with a row axis."""
    axis = dims[-1:] if dims[-1] == "output" else ()
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
        "model_evals": (("row",), np.array(answer.model_evals)),
        "converged": (("row",), np.array(answer.converged)),
    }
    if problem.by_row is not None:
        base = np.array(problem.selection.drop_output_axis(problem.base))
        extras |= {"base": (("row", *axis), base), **problem.by_row.extras}
    if answer.background_error is not None:
        found = problem.selection.drop_output_axis(answer.background_error)
        extras["background_error"] = (("row", "feature", *axis), np.ascontiguousarray(found))
    if error is not None:
        bounds = np.stack(confidence_interval(values, error, problem.options.level), axis=-1)
        extras |= interval_extras(bounds, dims, problem.options.level)
    return extras


def _adding_up(problem: GameProblem, answer: GameAnswer) -> tuple[Floats, float, float]:
    """Values over which the rounding of their sum is spread, so that they add up; the largest residual before, and the largest that rounding explains.

    Raises:
        ModelMismatchError: more than rounding explains, or than ``additivity_tol`` accepts.
    """
    values = answer.values
    if not problem.options.game_index.efficient:
        return values, 0.0, 0.0
    axes = tuple(range(1, values.ndim - 1))
    missing = problem.row_outputs - problem.base - values.sum(axis=axes)  # (n, outputs)
    size = np.abs(problem.row_outputs) + largest_absent(problem)
    size = size + np.abs(values).sum(axis=axes)
    tol = problem.options.additivity_tol
    allowed = ROUNDING * size if tol is None else np.full(size.shape, tol)
    if problem.by_row is not None and tol is None and (np.abs(missing) > allowed).any():
        allowed = allowed + problem.by_row.rounding  # where probabilities are tiny, log loss moves more than they do
    wrong = ~(np.abs(missing) <= allowed)
    if wrong.any():
        i, k = np.argwhere(wrong)[0]
        what = "the model itself predicts" if problem.by_row is None else problem.by_row.what
        raise ModelMismatchError(
            f"base + attributions is {float(problem.row_outputs[i, k] - missing[i, k])!r} where {what} {float(problem.row_outputs[i, k])!r} "
            f"(row {i:,}, output {problem.selection.names[k]!r}; {'rounding' if tol is None else 'additivity_tol'} allows {allowed[i, k]:.3g}); nothing is returned."
        )
    sizes = np.abs(values if values.ndim == 3 else values.sum(axis=2))  # what is worth nothing stays so
    total = sizes.sum(axis=1, keepdims=True)
    spread = np.divide(sizes, total, out=np.zeros_like(sizes), where=total > 0) * missing[:, None]
    if values.ndim == 3:
        values = values + spread
    else:
        values = values.copy()
        np.einsum("niio->nio", values)[...] += spread
    return values, float(np.abs(missing).max(initial=0.0)), float(allowed.max(initial=0.0))


def _evidence(
    prepared: PreparedGames,
    answer: GameAnswer,
    spec: MethodSpec,
    *,
    residual: float,
    tolerance: float,
    seconds: float,
    spot_checks: SpotChecks,
    notes: tuple[str, ...],
) -> Evidence:
    problem, model = prepared.problem, prepared.problem.model
    black_box, own = isinstance(model, BlackBox), model.own_predict
    spent = problem.evaluator.spent if black_box else 0
    check = prepared.setting.resolved.repeat_check
    against = (
        f"nothing: it is a black box; {'it may answer at random' if problem.options.stochastic else check.summary}"
    )
    compared = "our reading of the model file" if own is None else own.call_name
    if own is not None and not black_box:
        compared = f"our reading, itself held against {own.call_name}"
    fields, estimand = spec.evidence_fields(), ESTIMAND
    if isinstance(problem.by_row, LossGames):
        fields["quantity"], estimand = QUANTITY, LOSS_ESTIMAND
        compared = f"the loss of {compared}"
    return Evidence(
        **fields,
        kernel=answer.kernel,
        exact=answer.std_error is None,
        estimand=estimand,
        index=answer.index or problem.options.game_index.name,
        additive=problem.options.game_index.efficient,
        residual=residual,
        residual_units=problem.selection.units,
        residual_against=compared,
        agreement=prepared.agreement,
        tolerance=tolerance,
        model=model.kind,
        verdict={"against": against} if black_box else asdict(model.verdict),
        model_calls=prepared.n_rows_checked + prepared.n_rows_evaluated + spent + spot_checks.predictions,
        seed=problem.options.seed,
        rows=len(problem.rows),
        background_rows=len(problem.background),
        fingerprints={
            "model": model.fingerprint,
            "rows": table_fingerprint(problem.rows),
            "background": problem.background.fingerprint,
            **({} if problem.by_row is None else problem.by_row.fingerprints),
        },
        versions=library_versions(own.library if own is not None else None),
        seconds=seconds,
        notes=_notes(prepared, answer, notes),
        by_position=prepared.prepared_rows.by_position,
        unseen=prepared.prepared_rows.unseen_as_data(),
        settings={**_settings(problem, answer), **answer.settings},
        spot_checks=spot_checks,
    )


def _settings(problem: GameProblem, answer: GameAnswer) -> dict[str, Any]:
    """What was asked, and what was found enough."""
    by_row = {} if problem.by_row is None else problem.by_row.settings
    if answer.std_error is None:
        return by_row
    options = problem.options
    return {
        **by_row,
        "tol": DEFAULT_TOL if options.tol is None else options.tol,
        "top": options.top,
        "level": options.level,
        "stochastic": options.stochastic,
    }


def _notes(prepared: PreparedGames, answer: GameAnswer, more: tuple[str, ...]) -> tuple[str, ...]:
    problem = prepared.problem
    notes = [*prepared.prepared_rows.remarks(), *problem.model.notes, *more, *answer.notes]
    notes += () if problem.by_row is None else problem.by_row.notes
    of_background = prepared.setting.resolved.prepared_rows.remarks(" of the background")
    notes += [note for note in of_background if note not in notes]
    if len(problem.background) == 1 and answer.background_error is not None:
        notes.append("One background row: it says nothing about another one, so background_error is NaN.")
    if answer.std_error is not None:
        notes.append(f"Largest standard error reached: {reached_error(answer):.2g} of the row's largest value.")
        if len(problem.rows) > 1:
            notes.append(
                "Rows share draws, so their errors are not independent, and which rows are explained together moves the values within their errors."
            )
        left = int((~answer.converged).sum())
        if left:
            notes.append(
                f"NOT CONVERGED: for {left:,} of {len(answer.converged):,} rows errors are not as small as asked within the predictions allowed; see std_error and "
                "extras['converged']. Raise max_evals, or tol."
            )
    if problem.noise_variance is not None:
        noise = ", ".join(f"{value:.3g}" for value in np.sqrt(problem.noise_variance))
        notes.append(
            f"The model answers at random: single outputs have a standard deviation of {noise}. Predictions and base are of one answer each; standard errors of "
            "values count the noise."
        )
    return tuple(dict.fromkeys(notes))


def reached_error(answer: GameAnswer) -> float:
    """Return the largest standard error of all rows and outputs, each as a share of its row's largest value."""
    if answer.std_error is None:
        return 0.0
    axes = tuple(range(1, answer.values.ndim - 1))
    largest = np.abs(answer.values).max(axis=axes, initial=0.0)
    error = answer.std_error.max(axis=axes, initial=0.0)
    share = np.divide(error, largest, out=np.zeros_like(error), where=largest > 0)
    return float(share.max(initial=0.0))
