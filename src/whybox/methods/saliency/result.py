"""Run a method on a problem and label its maps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import snapshot_table
from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, NonFiniteError
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels
from whybox.methods.registry import load, of_id
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.methods.saliency.recipe import Recipe, input_digest, make_recipe
from whybox.methods.saliency.spot_checks import check_map, start_record
from whybox.numerics.rounding import FLOAT32_ROUNDING, relative_size
from whybox.numerics.statistics import critical_value

__all__ = ["run_method"]

SCORE_ROUNDING: Final = 1e-3  # of |score - base| and of the scores, for methods that add up exactly but for float32


def run_method(
    problem: SaliencyProblem,
    method: Method,
    notes: Sequence[str] = (),
    recipe: Recipe | None = None,
    spot_checks: int | None = 0,
) -> tuple[Explanation, ...]:
    """Run a method, and return one explanation for each input that has a map. The evidence keeps the recipe (None: that of problem and method).

    Args:
        spot_checks: most passes that checks of the answer may take; None: the default, 0: none.

    Raises:
        SpotCheckError: a number of the map is not what it is when recomputed.
        WhyboxError: see whybox.errors; the message says what to do.
    """
    began = time.perf_counter()
    problem = replace(problem, spot_record=start_record(problem, method, spot_checks))
    output = method(problem)
    _check_finite(output, method)
    additivity = _measure_additivity(problem, output)
    mapped = tuple(input_index for input_index, a in enumerate(output.maps[0]) if a is not None)
    recipe = make_recipe(problem, method) if recipe is None else recipe
    settings = replace(recipe, inputs=mapped, resolved=dict(output.resolved_options)).to_settings()
    evidence = _make_evidence(
        problem,
        method,
        output,
        additivity,
        (*notes, *problem.net.remarks, *output.notes, *_freedom_notes(output)),
        settings,
        began,
    )
    shown, checked_method = output.explained or (problem, method)
    found = tuple(_make_explanation(shown, output, input_index, additivity, evidence) for input_index in mapped)
    checks, more_notes = check_map(shown, checked_method, output, found, spot_checks)
    seconds = time.perf_counter() - began
    evidence = replace(evidence, spot_checks=checks, notes=(*evidence.notes, *more_notes), seconds=seconds)
    return tuple(replace(e, evidence=evidence) for e in found)


def _freedom_notes(output: MethodOutput) -> tuple[str, ...]:
    """A note if standard errors come from so few groups of samples that two of them do not make a 95 % interval."""
    if output.degrees_of_freedom is None or critical_value(freedom=output.degrees_of_freedom) < 1.05 * critical_value():
        return ()
    note = (
        f"standard errors have {output.degrees_of_freedom} degrees of freedom ({output.degrees_of_freedom + 1} groups of samples): a 95 % interval reaches "
        f"{critical_value(freedom=output.degrees_of_freedom):.2f} of them to either side (Student's t)"
    )
    return (note,)


def _freedom_extra(output: MethodOutput) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """Degrees of freedom of standard errors that come from groups of samples."""
    return (
        {}
        if output.variances is None or output.degrees_of_freedom is None
        else {"freedom": ((), np.array(output.degrees_of_freedom))}
    )


def _check_finite(output: MethodOutput, method: Method) -> None:
    """Check that maps are finite.

    Raises:
        NonFiniteError: a row's map has NaN or infinity.
    """
    for a in (a for of in output.maps for a in of if a is not None):
        if (bad := ~np.isfinite(a.reshape(len(a), -1)).all(axis=1)).any():
            raise NonFiniteError(
                "the map of {row} by ",
                Argument("method", method.name),
                " has NaN or infinity: there, or on the path from its baseline, the network has no finite derivative (a root, a logarithm or "
                "a quotient at zero, numbers too large for its type). Leave the row out, or choose another baseline.",
                row=int(np.argmax(bad)),
            )


@final
@dataclass(frozen=True)
class _AdditivityResult:
    """How far maps add up to score - base; all (rows, targets).

    Attributes:
        base_scores: scores without anything. score_change: score - base.
        completeness_error: completeness error, the sum of all maps less the change. allowed_error: how large it may be.
        converged: True where it is not larger, and the method converged.
    """

    base_scores: Floats
    score_change: Floats
    completeness_error: Floats
    allowed_error: Floats
    converged: npt.NDArray[np.bool_]


def _measure_additivity(problem: SaliencyProblem, output: MethodOutput) -> _AdditivityResult | None:
    """Whether maps add up; None if they need not."""
    base = output.base_scores
    if base is None:
        return None
    score = problem.scores
    change = score - base
    total = np.zeros(base.shape)
    for t, of in enumerate(output.maps):
        for a in of:
            if a is not None:
                total[:, t] += a.reshape(problem.n_rows, -1).sum(axis=1)
    gap, allowed = total - change, output.allowed_error
    if allowed is None:
        rounding = SCORE_ROUNDING * (np.abs(change) + 1e-2 * (np.abs(score) + np.abs(base))) + 1e-6
        allowed = np.maximum(output.relative_tolerance * np.abs(change), rounding)
    within = np.abs(gap) <= allowed
    return _AdditivityResult(
        base, change, gap, allowed, within if output.converged is None else within & output.converged
    )


def _make_evidence(
    problem: SaliencyProblem,
    method: Method,
    output: MethodOutput,
    additivity: _AdditivityResult | None,
    notes: tuple[str, ...],
    settings: dict[str, Any],
    began: float,
) -> Evidence:
    """The evidence. A note counts rows outside the tolerance."""
    if additivity is not None and not additivity.converged.all():
        least = FLOAT32_ROUNDING * np.maximum(np.abs(additivity.base_scores), np.abs(problem.scores))
        worst = float(relative_size(np.abs(additivity.completeness_error), additivity.score_change, least).max())
        missed = f"{int((~additivity.converged).any(axis=1).sum()):,} of {problem.n_rows:,} rows miss the tolerance"
        notes = (
            *notes,
            f"NOT CONVERGED: {missed} (completeness errors up to {worst:.2g} of score - base); see extras['converged']",
        )
    net = problem.net
    return Evidence(
        **_of_registry(method, output),
        kernel=f"{output.kernel}, {net.arithmetic}",
        exact=output.exact,
        estimand=output.estimand,
        index=output.index,
        additive=additivity is not None,
        residual=0.0 if additivity is None else float(np.abs(additivity.completeness_error).max()),
        residual_units="score",
        residual_against="the network's own outputs",
        agreement=problem.row_outputs.batch_difference,
        tolerance=0.0 if additivity is None else float(additivity.allowed_error.max()),
        model=net.kind,
        verdict={"against": "nothing: the network itself was run"},
        model_calls=net.passes.forward,
        seed=problem.seed,
        rows=problem.n_rows,
        fingerprints={"model": net.fingerprint, "rows": input_digest(problem.inputs)},
        versions=library_versions(net.library),
        seconds=time.perf_counter() - began,
        notes=notes,
        passes={"forward": net.passes.forward, "backward": net.passes.backward, "rows together": problem.batch_size},
        operators=output.operators_without_rule,
        settings=settings,
    )


def _of_registry(method: Method, output: MethodOutput) -> dict[str, Any]:
    """Fields of the evidence that the registry knows of a method; of a class of the user's own, its title."""
    spec = of_id(f"saliency.{method.name}")
    if spec is not None and isinstance(method, load(spec.run)):
        return spec.evidence_fields() | ({} if output.signed is None else {"signed": output.signed})
    return {"method": method.title}


def _make_explanation(
    problem: SaliencyProblem,
    output: MethodOutput,
    input_index: int,
    additivity: _AdditivityResult | None,
    evidence: Evidence,
) -> Explanation:
    input_, target = problem.inputs[input_index], problem.target
    axis = None if output.channels_reduced or output.keep_channels else input_.channel_axis
    several = target.has_output_axis
    maps, errors = [], []
    for t in range(target.n_targets):
        value = output.maps[t][input_index]
        assert value is not None  # noqa: S101  # asked by the caller
        variance = None if output.variances is None else output.variances[t][input_index]
        if axis is not None:
            value, variance = _reduce_channels(value, variance, axis, problem.reduce)
        maps.append(value)
        errors.append(None if variance is None else np.sqrt(variance))
    values = np.stack(maps, axis=-1) if several else maps[0]
    known = [e for e in errors if e is not None]
    error = None if not known else np.stack(known, axis=-1) if several else known[0]
    reduces = output.channels_reduced or (problem.reduce is not None and not output.keep_channels)
    gone = reduces and input_.channel_axis is not None
    dims = tuple(d for d in input_.dims if not (gone and d == "channel"))
    coords = _axis_coords(input_, dims, values.shape)
    if several:
        dims, coords["output"] = (*dims, "output"), as_labels(target.names)
    elif not target.per_row:
        coords["output"] = as_labels(target.names)
    tail = ("row", "output") if several else ("row",)
    extras = dict(output.extras)

    def per_target(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.array(a if several else a[:, 0])

    base = np.full(target.n_targets if several else (), np.nan)
    if additivity is not None:
        extras["base"] = (tail, per_target(additivity.base_scores))
        extras["completeness_error"] = (tail, per_target(additivity.completeness_error))
        extras["converged"] = (tail, per_target(additivity.converged))
        same = np.ptp(additivity.base_scores, axis=0).max() <= 1e-6 * (1 + np.abs(additivity.base_scores).max())
        base = per_target(additivity.base_scores)[0] if same else base
    if target.per_row:
        extras["target"] = (("row",), target.positions[0].copy())
        if len(problem.net.output_names) > int(target.positions[0].max(initial=0)):
            extras["target_name"] = (("row",), np.array(problem.net.output_names)[target.positions[0]])
    is_table = input_.x.ndim == 2 and not input_.without_gradient and "feature" in coords
    data = _feature_table(input_) if is_table else None
    return Explanation(
        kind="saliency",
        values=np.ascontiguousarray(values, dtype=np.float64),
        dims=dims,
        coords=coords,
        base=np.asarray(base, dtype=np.float64),
        units=output.units or ("score" if additivity is not None else "score per unit of input"),
        evidence=evidence,
        prediction=per_target(problem.scores),
        std_error=error,
        data=data,
        extras=extras | _freedom_extra(output) | _input_extra(input_, coords, output),
        players={} if data is None else {str(n): (str(n),) for n in coords["feature"]},
    )


def _axis_coords(input_: Input, dims: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    """Labels of the axes of a map: numbers from 0 on, and names of features."""
    coords = {d: as_labels(list(range(n))) for d, n in zip(dims, shape, strict=False)}
    if input_.feature_names is not None:
        coords[dims[-1]] = as_labels(input_.feature_names)
    elif dims[-1] == "feature" and input_.x.ndim == 2:
        coords["feature"] = as_labels([f"x{i}" for i in range(shape[1])])
    return coords


def _feature_table(input_: Input) -> Table:
    """Rows of features under their own names."""
    table = snapshot_table(as_table(input_.x))
    return table.with_names(
        input_.feature_names if input_.feature_names is not None else [f"x{i}" for i in range(table.width)]
    )


def _input_extra(
    input_: Input, coords: Mapping[str, Any], output: MethodOutput
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """The input itself, for pictures (of a layer: its activation). An axis whose length differs from the map's, or channels beside a layer's, get another name."""
    if input_.x.ndim <= 2 or "token" in input_.dims:
        return {}
    same = {d: d not in coords or len(coords[d]) == n for d, n in zip(input_.dims, input_.x.shape, strict=True)}
    if output.layer_channels:
        same["channel"] = False
    name = "input" if output.explained is None else "activation"
    return {name: (tuple(d if same[d] else f"input_{d}" for d in input_.dims), input_.x.copy())}


def _reduce_channels(
    value: Floats, variance: Floats | None, axis: int, how: str | None
) -> tuple[Floats, Floats | None]:
    """One number out of the channels, and its variance."""
    if how is None:
        return value, variance
    if how == "sum":
        return value.sum(axis=axis), variance  # reduced by the method
    at = np.abs(value).argmax(axis=axis, keepdims=True)
    largest = np.abs(np.take_along_axis(value, at, axis)).squeeze(axis)
    return largest, None if variance is None else np.take_along_axis(variance, at, axis).squeeze(axis)
