"""The result of importance by a loss: values with errors, intervals and ranks, and their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.evidence import Evidence, library_versions
from whybox.explanation.explanation import Explanation, as_labels, interval_extras
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.spot_checks import NOT_CHECKED
from whybox.methods.importance.loss_problem import LossProblem
from whybox.models.blackbox import BlackBox
from whybox.numerics.statistics import (
    RunningMoments,
    adjust_p_values,
    confidence_interval,
    mean_p_value,
    rank_intervals,
    skewed_interval,
    std_error_of_mean,
)

__all__ = ["ROLE_NOTE", "PlayerValues", "importance_result", "paired_p_values", "rank_extras"]

ROLE_NOTE: Final = (
    "Whether these rows were held out from training or trained on was not said: give role='held-out' or role='train'."
)


@final
@dataclass(frozen=True, eq=False)
class PlayerValues:
    """What a method found for each player.

    Attributes:
        values: (players,). influence: (rows, players), what each row contributes: values are weighted means of it but for a constant, and their errors follow from
            its spread over rows; None: there is only `std_error`.
        std_error: (players,); None: from `influence`. freedom: degrees of freedom of the error; None: the rows' own.
        p_value: (players,), NaN where there is no test. test: which test that is, in words; empty: none.
        baseline_loss: mean loss of the rows as they are, None where there is no loss. units: of the values.
        kernel: what computed it. exact: whether the values have no error of their own for these rows. predictions: of single rows, for this.
        notes: for the reader. extras: further numbers, name -> (dims, array). spot_checks: what was recomputed.
    """

    values: Floats
    influence: Floats | None
    units: str
    kernel: str
    exact: bool
    predictions: int
    std_error: Floats | None = None
    freedom: float | None = None
    p_value: Floats | None = None
    test: str = ""
    baseline_loss: float | None = None
    notes: tuple[str, ...] = ()
    extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)
    spot_checks: SpotChecks = NOT_CHECKED


def importance_result(problem: LossProblem, found: PlayerValues, *, seconds: float) -> Explanation:
    """Return the explanation of kind ``"importance"``: values, errors, intervals, tests and ranks of players, with the evidence."""
    level = problem.options.level
    error, low, high, difference_error = _errors(problem, found)
    p_value = np.full(len(found.values), np.nan) if found.p_value is None else found.p_value
    extras: dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = {
        **interval_extras(np.stack([low, high], axis=-1), ("feature",), level),
        "p_value": (("feature",), p_value),
        "q_value": (("feature",), adjust_p_values(p_value, "benjamini-yekutieli")),
        **rank_extras(found.values, difference_error, level),
        **found.extras,
    }
    if found.baseline_loss is not None:
        extras["baseline_loss"] = ((), np.array(found.baseline_loss))
    if problem.linkage is not None:
        extras["linkage"] = (("join", "column"), problem.linkage)
    players, names = problem.players, problem.table.names
    return Explanation(
        kind="importance",
        values=found.values,
        dims=("feature",),
        coords={"feature": as_labels(players.names)},
        base=np.zeros(()),
        units=found.units,
        std_error=error,
        evidence=_evidence(problem, found, seconds),
        players={
            name: tuple(names[i] for i in members) for name, members in zip(players.names, players.members, strict=True)
        },
        extras=extras,
    )


def paired_p_values(differences: Floats, weights: Floats) -> Floats:
    """Return one-sided p-values of Student's t for means of paired differences, (rows, players) -> (players,): is the mean above zero? NaN where all are 0."""
    moments = RunningMoments((differences.shape[1],))
    moments.add_rows(differences, weights)
    some = np.any(differences[weights > 0] != 0.0, axis=0)
    tests = zip(moments.mean, moments.std_error, some, strict=True)
    return np.array(
        [mean_p_value(float(m), float(e), moments.effective_count - 1.0) if s else np.nan for m, e, s in tests]
    )


def rank_extras(
    values: Floats, difference_error: Floats, level: float, freedom: float | None = None
) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
    """Return ``rank`` (feature,) and ``rank_interval`` (feature, bound)."""
    rank, low, high = rank_intervals(values, difference_error, level, freedom)
    return {
        "rank": (("feature",), rank.astype(np.float64)),
        "rank_interval": (("feature", "bound"), np.column_stack([low, high])),
    }


def _errors(problem: LossProblem, found: PlayerValues) -> tuple[Floats, Floats, Floats, Floats]:
    """Standard errors, lower and upper ends of intervals, and standard errors of the differences of any two values."""
    level, weights = problem.options.level, problem.weights
    if found.influence is None:
        error = np.zeros_like(found.values) if found.std_error is None else found.std_error
        low, high = confidence_interval(found.values, error, level, found.freedom)
        return error, low, high, np.sqrt(error[:, None] ** 2 + error[None, :] ** 2)
    moments = RunningMoments((len(found.values),))
    moments.add_rows(found.influence, weights)
    error = moments.std_error
    low, high = skewed_interval(found.values, error, moments.skewness, level, max(moments.effective_count - 1.0, 1.0))
    centred = weights[:, None] * (found.influence - moments.mean)
    products = centred.T @ centred
    squares = np.diag(products)
    both = np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)
    if found.std_error is not None:  # larger than rows alone explain: what was drawn adds to it
        stretch = np.divide(found.std_error, error, out=np.ones_like(error), where=error > 0)
        middle = found.values
        low, high = middle - (middle - low) * stretch, middle + (high - middle) * stretch
        both = both + (found.std_error**2 - error**2)[:, None] + (found.std_error**2 - error**2)[None, :]
        error = found.std_error
    return error, low, high, std_error_of_mean(both, moments.effective_count)


def _evidence(problem: LossProblem, found: PlayerValues, seconds: float) -> Evidence:
    model, options, resolved = problem.model, problem.options, problem.resolved
    black_box = isinstance(model, BlackBox)
    test = () if not found.test else (f"p-values: {found.test}; q-values: Benjamini and Yekutieli.",)
    role = () if options.role else (ROLE_NOTE,)
    settings = {"loss": problem.loss.name, "role": options.role or "not said", "level": options.level}
    return Evidence(
        **problem.spec.evidence_fields(),
        kernel=found.kernel,
        exact=found.exact,
        estimand=problem.spec.estimand,
        index="none",
        additive=False,
        residual=0.0,
        residual_units=found.units,
        residual_against="nothing",
        agreement=problem.agreement,
        tolerance=0.0,
        model=model.kind,
        verdict={"against": f"nothing: it is a black box; {resolved.repeat_check.summary}"}
        if black_box
        else asdict(model.verdict),
        model_calls=problem.checked + found.spot_checks.predictions + (found.predictions if black_box else 0),
        seed=options.seed,
        rows=len(problem),
        fingerprints={"model": model.fingerprint, "rows": resolved.rows.fingerprint},
        versions=library_versions(model.own_predict.library if model.own_predict else None),
        seconds=seconds,
        notes=(*model.notes, *resolved.prepared_rows.remarks(), *role, *test, *found.notes),
        settings=settings,
        by_position=resolved.prepared_rows.by_position,
        unseen=resolved.prepared_rows.unseen_as_data(),
        spot_checks=found.spot_checks,
    )
