"""Compute effects, with their axes named and their evidence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.curve_functions import CurveFunction
from whybox.explanation.effects import Effects
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.evidence import make_evidence
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.effects.curve_at import CurveAt
from whybox.methods.effects.curves import Curve, grid_share, nearest_points, with_off_data
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.methods.effects.problem import EffectsProblem
from whybox.methods.effects.spot_checks import CheckedCurves
from whybox.methods.method_spec import MethodSpec
from whybox.numerics.statistics import skewed_interval

__all__ = ["compute_effects", "features_by_evaluator", "labelled_curve", "with_spot_checks"]

LARGEST_FLOAT: Final = float(np.finfo(np.float64).max)
HISTOGRAM_BINS: Final = 30  # of the histogram below a curve


def compute_effects(problem: EffectsProblem) -> Effects:
    """Return the effects asked for.

    Raises:
        LimitError: more predictions or memory than allowed. Others as whybox.effects.
    """
    began = time.perf_counter()
    effects: dict[tuple[int, ...], Explanation] = {}
    checker = SpotChecker()
    for evaluator, wanted in features_by_evaluator(problem):
        before = evaluator.n_predictions_made
        grids = [problem.make_grid(m) for m in wanted]
        share = len(wanted) / len(problem.requested_features)
        curves = CheckedCurves(problem, evaluator, grids, checker, share=share).compute_and_check(
            problem.effect_kind.compute_curves
        )
        problem.repeat_check.check_after()
        if problem.effect_kind.off_data:
            curves = with_off_data(problem.rows, curves)
        cost = _cost_note(
            problem, evaluator.n_predictions_made - before, sum(len(g) for g in grids) * len(problem.rows)
        )
        calls = evaluator.n_predictions_made - before
        for members, curve in zip(wanted, curves, strict=True):
            notes = (*problem.notes, *problem.prediction_notes(members), *curve.notes, *cost)
            effects[members] = labelled_curve(problem, evaluator, curve, notes, calls, time.perf_counter() - began)
    checked = {members: with_spot_checks(e, checker.result) for members, e in effects.items()}
    return Effects({problem.feature_key(m): checked[m] for m in problem.requested_features}, problem.rows.table.library)


def with_spot_checks(e: Explanation, checks: SpotChecks) -> Explanation:
    """Return an explanation whose evidence says what of the whole answer was recomputed."""
    evidence = replace(e.evidence, spot_checks=checks, model_calls=e.evidence.model_calls + checks.predictions)
    return replace(e, evidence=evidence)


def features_by_evaluator(problem: EffectsProblem) -> list[tuple[Evaluator, list[tuple[int, ...]]]]:
    """Return each evaluator with the features that it computes."""
    groups: dict[str, tuple[Evaluator, list[tuple[int, ...]]]] = {}
    for members in problem.requested_features:
        evaluator = problem.evaluator_of(members)
        groups.setdefault(evaluator.kernel, (evaluator, []))[1].append(members)
    return list(groups.values())


def _cost_note(problem: EffectsProblem, spent: int, without_sharing: int) -> tuple[str, ...]:
    """What the curves of one call cost, in words."""
    if not spent:
        return ()
    less = (
        f" instead of {without_sharing:,}, because equal rows are evaluated once"
        if problem.effect_kind.plain_mean and spent < without_sharing
        else ""
    )
    return (f"{spent:,} predictions of single rows for the curves of this call{less}.",)


def labelled_curve(
    problem: EffectsProblem,
    evaluator: Evaluator,
    curve: Curve,
    notes: tuple[str, ...],
    calls: int,
    seconds: float,
    spec: MethodSpec | None = None,
) -> Explanation:
    """Return a curve with its axes named, and its evidence; `spec` is of the method, where it is not the problem's own."""
    grid, selection = curve.grid, problem.selection
    points = curve.points or grid.points
    rows = curve.values.ndim == 3
    lead = (len(problem.rows),) if rows else ()
    shape = (*lead, *(len(p) for p in points))
    dims = (*(("row",) if rows else ()), "point", "point_2")[: len(shape)]
    values = selection.drop_output_axis(curve.values.reshape(*shape, -1))
    error = None if curve.std_error is None else selection.drop_output_axis(curve.std_error.reshape(*shape, -1))
    coords: dict[str, Any] = dict(zip(("point", "point_2"), points, strict=False))
    coords["row"], coords["output"] = problem.rows.table.row_labels, as_labels(selection.names)
    names = [f.name for f in grid.features]
    off = {} if curve.off_data is None else {"off_data": (("point",), curve.off_data)}
    dims = (*dims, "output") if selection.has_output_axis else dims
    return Explanation(
        kind="effect",
        values=np.ascontiguousarray(values),
        dims=dims,
        coords={d: np.array(v) for d, v in coords.items() if d in (*dims, "output")},
        base=np.asarray(selection.drop_output_axis(np.full(len(selection.names), np.nan))),
        units=problem.effect_kind.units(selection.units, names[0]),
        evidence=make_evidence(
            problem,
            problem.rows,
            spec=_method_spec(problem, len(points)) if spec is None else spec,
            kernel=evaluator.kernel,
            calls=calls,
            notes=(*notes, *(note for f in grid.features for note in f.notes)),
            seconds=seconds,
        ),
        std_error=None if error is None else np.ascontiguousarray(error),
        data=problem.rows.table if rows else None,
        library=problem.rows.table.library,
        players={name: (name,) for name in names},
        extras={
            **_data_near_points(problem, grid, points),
            **curve.extras,
            **off,
            **(_interval_extras(problem, curve, shape, dims) if curve.std_error is not None else {}),
            **(_rows_of_curves(problem, grid, points) if rows else {}),
        },
        again=_curve_function(problem, curve, np.ascontiguousarray(values)),
    )


def _interval_extras(
    problem: EffectsProblem, curve: Curve, shape: tuple[int, ...], dims: tuple[str, ...]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """The interval of each value, and its level."""
    assert curve.std_error is not None  # noqa: S101  # asked for only where there is one
    level = problem.options.level
    ends = skewed_interval(curve.values, curve.std_error, curve.skewness, level, curve.freedom)
    bounds = [problem.selection.drop_output_axis(end.reshape(*shape, -1)) for end in ends]
    return interval_extras(np.stack(bounds, axis=-1), dims, level)


def _method_spec(problem: EffectsProblem, features: int) -> MethodSpec:
    """What the registry says of this kind of effect, with the words for a surface where there are two features."""
    of_two = problem.effect_kind.surface_quantity
    return replace(problem.spec, quantity=of_two) if features == 2 and of_two else problem.spec


def _data_near_points(
    problem: EffectsProblem, grid: Grid, points: Sequence[npt.NDArray[Any]]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """The data near the points: shares of rows, and a histogram of numbers."""
    axes = ("point", "point_2")[: len(points)]
    out: dict[str, tuple[tuple[str, ...], Any]] = {}
    if grid.shape == tuple(len(p) for p in points):
        out["share"] = (axes, grid_share(problem.rows, grid))
    for feature, tag in zip(grid.features, ("", "_2"), strict=False):
        x = feature.numbers
        if x is not None and np.isfinite(x).any():
            if feature.number_origin:
                continue  # numbers beyond 2**53 are kept as distances, which no edge of a bin can name
            if feature.position not in problem.histograms:
                problem.histograms[feature.position] = _histogram(x, problem.rows.weights)
            mass, edges = problem.histograms[feature.position]
            out[f"histogram{tag}"], out[f"histogram_edges{tag}"] = (("bin",), mass), (("edge",), edges)
    return out


def _rows_of_curves(
    problem: EffectsProblem, grid: Grid, points: Sequence[npt.NDArray[Any]]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """The weight of each row, and the point of its own curve that is nearest to its value, -1 where none is."""
    out: dict[str, tuple[tuple[str, ...], Any]] = {"weight": (("row",), problem.rows.weights)}
    if grid.shape == tuple(len(p) for p in points):
        out["nearest_point"] = (("row",), nearest_points(problem.rows, grid).astype(np.float64))
    return out


def _histogram(x: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The weight of the rows in each bin, and the bins' edges."""
    known = np.isfinite(x)
    mass, edges = np.histogram(x[known], bins=_bin_edges(x[known]), weights=weights[known])
    return np.asarray(mass, dtype=np.float64), np.asarray(edges, dtype=np.float64)


def _bin_edges(x: Floats) -> Floats:
    """Edges of bins of equal width over the numbers; of fewer bins where there are not so many numbers between the ends."""
    low, high = float(x.min()), float(x.max())
    if low == high:
        reach = max(0.5, 1e-9 * abs(low))
        low, high = (float(v) for v in np.clip([low - reach, high + reach], *(-LARGEST_FLOAT, LARGEST_FLOAT)))
    if high - low > LARGEST_FLOAT:
        t = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
        return low * (1 - t) + high * t
    with np.errstate(over="ignore"):
        edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
    return np.unique(np.clip(edges, low, high))


def _curve_function(problem: EffectsProblem, curve: Curve, values: Floats) -> CurveFunction | None:
    """The function behind at(points): the accumulated curve itself, or the evaluator of the others; None where there is none."""
    own = problem.effect_kind.curve_function(curve, values)
    if own is not None:
        return own
    return None if curve.points else CurveAt(problem, curve.grid)
