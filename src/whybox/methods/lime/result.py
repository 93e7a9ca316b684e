"""The answer of LIME as an explanation: coefficients with their conditions, errors and ranks, and what says how far to trust them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.explanation.local_rows import MIN_R_SQUARED, local_doubts
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.columns import Ints
from whybox.methods.common.evidence import make_evidence
from whybox.methods.common.output import OutputSelection
from whybox.methods.common.shifted_outputs import offset_fingerprints, offset_settings
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.local_model import FREEDOM, LocalModel, certificates
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.shared_sample import LocalValues
from whybox.methods.registry import find
from whybox.models.links import PREDICTION_UNITS
from whybox.numerics.rounding import ratio_above_rounding, rounding_floor
from whybox.numerics.statistics import confidence_interval

__all__ = ["local_explanation"]

OFFSET_NOTE: Final = "Every row that is drawn near a row has the offset of that row."
LIME_DRAWS: Final = 5_000  # of the lime package, for its ridge

Extras = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


def local_explanation(
    design: LocalDesign,
    model: LocalModel,
    prediction: Floats,
    *,
    difference: float,
    spot_checks: SpotChecks,
    reason: str | None,
    calls: int,
    seconds: float,
) -> Explanation:
    """Return the explanation.

    Args:
        design, model: the problem and its answer. prediction: (rows, outputs), of the rows. difference: between these and the model's own predict.
        reason: why the answer is not exact, in words.
        calls: predictions of single rows beside those that checked. seconds: wall time.
    """
    problem, options = design.problem, design.problem.options
    spec = find("lime", "exact" if model.exact else "sampled")
    picked = _Picker(problem, prediction)
    dims = ("row", "feature", *picked.axis)
    shrinkage = _shrinkage(design)
    found = _penalized(model.found, shrinkage)
    values, error = found.values, found.std_error
    extras = _extras(design, replace(model, found=found), picked)
    extras |= {
        name: (("row", *picked.axis), picked(each))
        for name, each in _goodness(design, model.found, shrinkage, prediction).items()
    }
    values, prediction = picked(values), picked(prediction)
    if error is not None:
        error = picked(error)
        extras |= interval_extras(
            np.stack(confidence_interval(values, error, options.level, FREEDOM), axis=-1), dims, options.level
        )
    coords: dict[str, Any] = {
        "row": problem.rows.row_labels,
        "feature": as_labels(problem.neighbourhood.players.names),
        "output": as_labels(picked.names),
    }
    evidence = make_evidence(
        problem,
        problem.coded_rows,
        spec=spec,
        kernel=model.kernel,
        exact=model.exact,
        calls=calls,
        notes=_notes(problem, model, extras, reason),
        seed=options.seed,
        seconds=seconds,
        spot_checks=spot_checks,
        settings=_settings(design, model),
        fingerprints=offset_fingerprints(problem.shifted),
    )
    players, background = problem.neighbourhood.players, problem.neighbourhood.background
    evidence = replace(
        evidence,
        agreement=max(problem.agreement, difference),
        background_rows=len(background),
        quantity=spec.quantity if options.discretizer is not None else "coefficient of the local linear model",
        fingerprints={**evidence.fingerprints, "background": background.fingerprint},
    )
    return Explanation(
        kind="local",
        values=np.ascontiguousarray(values),
        dims=dims,
        coords=coords,
        base=np.full(values.shape[2:], np.nan),
        prediction=np.ascontiguousarray(prediction),
        units=_units(problem.selection, design),
        std_error=None if error is None else np.ascontiguousarray(error),
        evidence=evidence,
        data=problem.rows,
        players=players.columns_of(problem.rows.names),
        extras={name: (d, np.asarray(a, order="C")) for name, (d, a) in extras.items()},
    )


def _extras(design: LocalDesign, model: LocalModel, picked: _Picker) -> Extras:
    """What goes with the coefficients, each with a row axis."""
    problem = design.problem
    certified, rank = certificates(model.found, problem.options, model.looks)
    row_dims = ("row", *picked.axis)
    return {
        "condition": (("row", "feature"), _conditions(problem)),
        "share": (("row", "feature"), problem.share),
        "effective_size": (("row",), np.clip(design.effective_size, 0.0, 1.0)),
        "label": (("row",), picked.labels),
        "converged": (("row",), model.converged),
        **({} if problem.shifted is None else problem.shifted.extras),
        "certified": (row_dims, picked(certified)),
        "rank": (("row", "feature", *picked.axis), picked(rank)),
    }


class _Picker:
    """Takes from arrays (rows, ..., outputs) what the result keeps: all outputs, the only one, or of each row its own predicted class."""

    def __init__(self, problem: LimeProblem, prediction: Floats) -> None:
        selection: OutputSelection = problem.selection
        self._predicted: Ints | None = None
        if problem.options.predicted_class:
            self._predicted = prediction.argmax(axis=1)
            self.names: tuple[str, ...] = (PREDICTION_UNITS,)
            self.labels = as_labels([selection.names[k] for k in self._predicted])
            self.axis: tuple[str, ...] = ()
        else:
            self.names = selection.names
            self.axis = ("output",) if selection.has_output_axis else ()
            label = "each output" if self.axis else selection.names[0]
            self.labels = as_labels([label] * len(prediction))

    def __call__(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._predicted is not None:
            return np.asarray(
                np.take_along_axis(array, self._predicted.reshape(-1, *(1,) * (array.ndim - 1)), axis=-1)[..., 0]
            )
        return array if self.axis else array[..., 0]


def _shrinkage(design: LocalDesign) -> Floats:
    """What is left of each coefficient, (rows, players, 1), by the ridge of the lime package with its 5,000 draws, where that was asked for.

    The value of a cell that the background never has is no coefficient of a fit, and stays as it is.
    """
    alpha = design.problem.options.alpha
    if not alpha:
        return np.ones((*design.variance.shape, 1))
    information = design.variance * LIME_DRAWS * np.exp(design.log_mean_weight)[:, None]
    shrinkage = np.where(design.problem.is_unseen, 1.0, information / (information + alpha))
    return np.asarray(shrinkage[:, :, None])


def _penalized(found: LocalValues, shrinkage: Floats) -> LocalValues:
    error = found.std_error
    return replace(found, values=found.values * shrinkage, std_error=None if error is None else error * shrinkage)


def _goodness(design: LocalDesign, found: LocalValues, shrinkage: Floats, prediction: Floats) -> dict[str, Floats]:
    """Intercept, local prediction, gap and R squared, (rows, outputs) each, of a linear model with the coefficients that are left."""
    variance = design.variance[:, :, None]
    square = found.values**2 - (0.0 if found.std_error is None else found.std_error**2)
    square = square * (shrinkage * (2.0 - shrinkage))  # less the square of what was taken off
    values = found.values * shrinkage
    inside = np.where(variance > 0, values, 0.0)
    intercept = found.mean - (inside * design.centre[:, :, None]).sum(axis=1)
    local = intercept + (values * np.where(variance > 0, design.own_value[:, :, None], 1.0)).sum(axis=1)
    explained = np.maximum((np.where(variance > 0, square, 0.0) * variance).sum(axis=1), 0.0)
    floor = rounding_floor(np.concatenate([prediction, found.mean])) ** 2
    r_squared = np.minimum(ratio_above_rounding(explained, found.variance, floor, np.nan), 1.0)
    return {
        "intercept": intercept,
        "local_prediction": local,
        "gap": local - prediction,
        "r_squared": r_squared,
        "spread": np.sqrt(found.variance),
    }


def _conditions(problem: LimeProblem) -> npt.NDArray[Any]:
    out = np.empty(problem.first.shape, dtype=object)
    for p, regions in enumerate(problem.regions):
        out[:, p] = regions.conditions
    return out


def _units(selection: OutputSelection, design: LocalDesign) -> str:
    return (
        f"{selection.units} per standard deviation"
        if design.is_scaled.all() and design.is_scaled.size
        else selection.units
    )


def _settings(design: LocalDesign, model: LocalModel) -> dict[str, Any]:
    problem = design.problem
    options: LimeOptions = problem.options
    discretizer = options.discretizer
    if discretizer is not None and not isinstance(discretizer, str):
        discretizer = {str(name): np.asarray(edges).tolist() for name, edges in discretizer.items()}
    return {
        "method": "lime",
        "neighbourhood": options.neighbourhood,
        "discretizer": "none" if discretizer is None else discretizer,
        "kernel_width": problem.width,
        "alpha": options.alpha or 0.0,
        "draws": model.draws,
        "draws_for": "the spread of outputs alone" if model.exact else "every number",
        **offset_settings(problem.shifted),
    }


def _notes(problem: LimeProblem, model: LocalModel, extras: Extras, reason: str | None) -> tuple[str, ...]:
    notes = [*problem.prepared_rows.remarks(), *problem.model.notes, *model.notes]
    if reason is not None:
        notes.append(f"Sampled, because {reason}.")
    if not model.exact:
        notes.append("Rows share draws, so their errors are not independent of each other.")
    left = int((~model.converged).sum())
    if left:
        notes.append(
            f"For {left:,} of {len(model.converged):,} rows the largest values are not settled within the predictions allowed; see extras['certified']. Raise max_evals."
        )
    if problem.is_unseen.any():
        p = int(np.flatnonzero(problem.is_unseen.any(axis=0))[0])
        row = int(np.flatnonzero(problem.is_unseen[:, p])[0])
        count = int(problem.is_unseen.sum())
        notes.append(
            f"{count:,} {'cells are' if count > 1 else 'cell is'} like none of the background ({problem.regions[p].conditions[row]}): a value there compares "
            "the cell itself with the background."
        )
    notes += _notes_on_constants(problem)
    if problem.shifted is not None:
        notes += [problem.shifted.offsets.note, OFFSET_NOTE]
    return (*dict.fromkeys(notes), *_guards(extras))


def _notes_on_constants(problem: LimeProblem) -> list[str]:
    """Features that have one value in the background; a row with another cell has a value that need not be 0."""
    names, distributions = problem.neighbourhood.players.names, problem.distributions
    constant = np.array([len(d) == 1 and not d.is_unbounded for d in distributions])
    differs = problem.is_unseen.any(axis=0)
    notes = []
    for chosen, more in ((constant & ~differs, ""), (constant & differs, " for rows with the same cell")):
        named = [names[p] for p in np.flatnonzero(chosen)[:8]]
        if named:
            notes.append(f"Constant in the background, so their values are exactly 0{more}: {', '.join(named)}.")
    return notes


def _guards(extras: Extras) -> tuple[str, ...]:
    """What says that a linear model is no good description near some rows."""
    doubts, n = local_doubts(extras), len(extras["effective_size"][1])
    poor, few, far = (
        int(each.reshape(n, -1).any(axis=1).sum())
        for each in (doubts.poor_fit, doubts.narrow_kernel, doubts.missed_prediction)
    )
    notes = []
    if poor:
        notes.append(
            f"R squared is below {MIN_R_SQUARED} for {poor:,} of {n:,} rows: features act together or not in steps there, and the values tell little of the model."
        )
    if few:
        notes.append(
            f"The kernel is narrow for {few:,} of {n:,} rows: under a tenth of draws from the background would count."
        )
    if far:
        notes.append(
            f"For {far:,} of {n:,} rows the local model misses the prediction by more than a quarter of the spread of outputs; see extras['gap']."
        )
    return tuple(notes)
