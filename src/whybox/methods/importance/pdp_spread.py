"""Importance by partial dependence: how far the mean prediction spreads over a feature's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from whybox.data.table import Floats, as_table
from whybox.errors import Argument, LimitError
from whybox.explanation.explanation import Explanation, as_labels
from whybox.methods.common.columns import feature_of
from whybox.methods.common.plan import Plan
from whybox.methods.common.rows import rows_of_positive_weight
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.row_errors import errors_over_rows

__all__ = ["pdp_spread", "plan_pdp_spread"]

OPTIONS: Final = ("output", "scale", "response_method", "max_evals", "n_jobs", "spot_checks")
MAX_CURVE_BYTES: Final = 2**31  # of the individual curves of all features
MAX_POINTS: Final = 100  # of a feature, as of effects
NOTE: Final = (
    "The standard deviation of each partial dependence over its points, weighted by the rows that are nearest to each. It cannot be below zero: where the partial "
    "dependence is flat, it is about as large as its error."
)


def pdp_spread(problem: ImportanceProblem) -> Explanation:
    """Return the standard deviation of each feature's partial dependence over the feature's distribution.

    With f_ig the prediction of row i with the feature at point g, w_i the weight of a row and s_g that of the rows whose values are nearest to the point:
    ``PD_g = sum_i w_i f_ig``, ``m = sum_g s_g PD_g``, and the value is the root of ``V = sum_g s_g (PD_g - m)^2``. Numbers and categories are treated alike, unlike
    in the paper, which takes a quarter of the range for categories: of these the weights are known. Points are all values up to 100, else quantiles.

    The standard error takes the rows as a sample, in both places where they count. A row moves V by
    ``2 sum_g s_g (PD_g - m) (f_ig - PD_g) + (PD_g(i) - m)^2 - V`` (its influence function), and the root by that over ``2 sqrt(V)``.

    Args:
        problem: any model, and rows.

    Returns:
        Explanation of kind ``"importance"``, (features,) [, outputs], in the units of the prediction.

    Raises:
        OptionError: there are no rows. LimitError: too many for individual curves. Others as for ``whybox.effects``.

    References:
        Greenwell, Boehmke & McCarthy, A simple and effective model-based variable importance measure, arXiv:1805.04755 (2018); Hampel, The influence curve and its
        role in robust estimation, Journal of the American Statistical Association 69 (1974).
    """
    table, weights, kept = rows_of_positive_weight(_rows(problem), problem.options.sample_weight)
    options = problem.given_options(*OPTIONS) | problem.offset_option(kept)
    curves = problem.effects(problem.model, table, None, "ice", sample_weight=weights, **options)
    each = list(curves.values())
    found = [_spread(curve) for curve in each]
    values, influence = np.stack([v for v, _ in found]), np.stack([i for _, i in found], axis=1)
    one, level = each[0], problem.options.level
    errors = errors_over_rows(values, influence, one.extras["weight"][1], level)
    thinned = [next(iter(c.players)) for c in each if not _has_all_values(c)]
    return Explanation(
        kind="importance",
        library=one.library,
        values=values,
        dims=("feature", *one.dims[2:]),
        coords={"feature": as_labels([next(iter(c.players)) for c in each]), **_output_labels(one)},
        base=np.zeros(values.shape[1:]),
        units=one.units,
        std_error=errors.std_error,
        evidence=replace(
            one.evidence,
            **problem.spec.evidence_fields(),
            estimand=problem.spec.estimand,
            exact=not thinned,
            notes=(*_notes(each), NOTE, *_grid_note(thinned), *errors.notes),
            settings={"level": level},
        ),
        players={name: members for c in each for name, members in c.players.items()},
        extras=errors.extras,
    )


def plan_pdp_spread(problem: ImportanceProblem) -> Plan:
    """Plan :func:`pdp_spread`: the plan of the individual curves.

    Raises:
        WhyboxError: as :func:`pdp_spread`.
    """
    table, weights, kept = rows_of_positive_weight(_rows(problem), problem.options.sample_weight)
    options = problem.given_options(*OPTIONS) | problem.offset_option(kept)
    plan = problem.plan_effects(problem.model, table, None, "ice", sample_weight=weights, **options)
    planned: Plan = replace(plan, method=problem.spec.title, method_id=problem.spec.method_id)
    return planned


def _rows(problem: ImportanceProblem) -> Any:
    """The rows as a table.

    Raises:
        OptionError: there are none. LimitError: their curves do not fit.
    """
    problem.check_rows_given()
    table = as_table(problem.X)
    points = min(MAX_POINTS, len(table))
    most = MAX_CURVE_BYTES // (8 * points * table.width)
    if len(table) > most:
        raise LimitError(
            f"the individual curves of {table.width:,} features over {len(table):,} rows do not fit; pass {most:,} rows or fewer, drawn at random, or ",
            Argument("method", "shap"),
            ".",
        )
    return table


def _spread(curve: Explanation) -> tuple[Floats, Floats]:
    """The standard deviation of a partial dependence, () or (outputs,), and what each row contributes to it, (rows,) or (rows, outputs)."""
    weights, share = curve.extras["weight"][1], curve.extras["share"][1]
    nearest = curve.extras["nearest_point"][1].astype(np.int64)
    means = np.einsum("r,rp...->p...", weights, curve.values)
    shares = share / share.sum()
    off = means - np.einsum("p,p...->...", shares, means)
    variance = np.einsum("p,p...->...", shares, off**2)
    as_rows = np.einsum("p,p...,rp...->r...", shares, off, curve.values - means)
    as_points = np.where((nearest >= 0)[(slice(None), *[None] * (off.ndim - 1))], off[nearest] ** 2 - variance, 0.0)
    size = np.sqrt(variance)
    spread_out = size > 1e-12 * np.abs(means).max(axis=0)  # a feature that is not read leaves rounding behind
    influence = np.where(spread_out, (2.0 * as_rows + as_points) / (2.0 * np.where(spread_out, size, 1.0)), 0.0)
    return np.where(spread_out, size, 0.0), influence


def _has_all_values(curve: Explanation) -> bool:
    """Whether every row's own value is a point of the curve."""
    assert curve.data is not None  # noqa: S101  # individual curves keep their rows
    name = next(iter(curve.players))
    numbers = feature_of(curve.data, curve.data.names.index(name)).numbers
    return numbers is None or len(np.unique(numbers[~np.isnan(numbers)])) <= len(curve.grid)


def _grid_note(thinned: Sequence[str]) -> tuple[str, ...]:
    """A note about the features that are evaluated at some of their values, if there are any."""
    named = ", ".join(thinned[:3]) + (" ..." if len(thinned) > 3 else "")
    return (f"Features with many values ({named}) are evaluated at {MAX_POINTS} quantiles of them.",) if thinned else ()


def _notes(curves: Sequence[Explanation]) -> tuple[str, ...]:
    """The notes of all curves, each once."""
    return tuple(dict.fromkeys(note for c in curves for note in c.evidence.notes))


def _output_labels(curve: Explanation) -> dict[str, Any]:
    return {"output": curve.coords["output"]} if "output" in curve.dims else {}
