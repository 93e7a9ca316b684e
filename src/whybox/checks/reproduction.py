"""Is the map computed correctly? It is reproduced, adds up, has little noise, and its type is precise enough."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.checks.check_subject import CheckSubject, InputMaps, flatten_maps
from whybox.checks.cost import CheckCost
from whybox.checks.group import CheckGroup
from whybox.checks.result import Check
from whybox.data.table import Floats
from whybox.numerics.rounding import FLOAT32_ROUNDING, relative_size
from whybox.numerics.statistics import abs_rank_correlations

__all__ = ["CHECK_GROUP", "check_reproduced", "numerical_checks", "relative_distance"]

NUMERICAL: Final = "numerical"
MAX_ROUNDING_DISTANCE: Final = (
    1e-2  # relative distance of maps that differ by float32 rounding only, as with other micro-batches or kernels
)
MAX_RELATIVE_NOISE: Final = 0.2  # of the map's size; with a fifth, 96 % of its energy is signal
MAX_BFLOAT16_DISTANCE: Final = (
    0.05  # relative distance that bfloat16 may cause; IG on smooth networks has 0.008, on ReLU with max-pooling 0.17
)
ROWS_COMPARED: Final = 4  # if only some rows are computed again


def numerical_checks(subject: CheckSubject) -> list[Check]:
    """Run the numerical checks."""
    return [
        check_reproduced(subject),
        _check_completeness(subject),
        _check_noise(subject),
        _check_operators(subject),
        _check_mode(subject),
        _check_dtype(subject),
    ]


def relative_distance(a: InputMaps, b: InputMaps) -> Floats:
    """Relative distance of maps, row by row; positions that a row does not have (NaN in both) do not count."""
    x, y = flatten_maps(a), flatten_maps(b)
    absent = np.isnan(x) & np.isnan(y)
    x, y = np.where(absent, 0.0, x), np.where(absent, 0.0, y)
    size = np.sqrt((y * y).sum(axis=1))
    return np.asarray(np.sqrt(((x - y) ** 2).sum(axis=1)) / np.where(size > 0, size, 1.0))


def check_reproduced(subject: CheckSubject) -> Check:
    """Compute maps again: of all rows that are checked, or of the first rows if random numbers depend on a row's position.

    The only line that compares all values with the method's own, so it runs first whichever checks are asked for.
    """
    name = "reproduced"
    at, rows = subject.explained_rows, subject.rows
    identity = "network and inputs have the explanation's own SHA-256"
    allowed = _shared_steps_change(subject)
    distances = relative_distance(subject.rerun_maps(), subject.explained_maps()) - allowed[at]
    if float(distances.max()) > MAX_ROUNDING_DISTANCE and not np.array_equal(rows, np.arange(len(rows))):
        at = np.arange(min(ROWS_COMPARED, len(subject.explanations[0])), dtype=np.intp)
        rows = subject.input_rows(at)
        if not np.array_equal(rows, np.arange(len(rows))):
            return Check(
                NUMERICAL,
                name,
                "cannot tell",
                None,
                f"{identity}; random numbers of these rows cannot be repeated, since the first rows are missing: pass the explanation with its first rows.",
            )
        distances = (
            relative_distance(subject.recompute_maps(explained_rows=at), subject.explained_maps(at)) - allowed[at]
        )
    largest = float(np.maximum(distances, 0.0).max())
    reason = f"{identity}; computed again, {len(rows)} rows differ by at most {largest:.2g} of the map's size (rounding explains {MAX_ROUNDING_DISTANCE:g})"
    if allowed.any():
        reason += f", beside the {float(allowed.max()):.2g} by which one more step may change them, since outputs share their steps"
    if largest <= MAX_ROUNDING_DISTANCE:
        return Check(NUMERICAL, name, "pass", largest, reason + ".")
    return Check(
        NUMERICAL,
        name,
        "fail",
        largest,
        reason + ": this method gives other values here, or a row's map depends on the other rows in its batch.",
    )


def _shared_steps_change(subject: CheckSubject) -> Floats:
    """How much each explained row's map may change because several outputs shared its steps, (rows explained,)."""
    change = subject.explanations[0].extras.get("map_change")
    if change is None or "output" not in subject.explanations[0].dims:
        return np.zeros(len(subject.explanations[0]))
    return np.asarray(change[1][np.arange(len(change[1])), subject.output_of], dtype=np.float64)


def _check_completeness(subject: CheckSubject) -> Check:
    name = "completeness"
    first = subject.explanations[0]
    converged = first.extras.get("converged")
    if not first.evidence.additive or converged is None:
        return Check(NUMERICAL, name, "not applicable", None, "this method's maps need not add up to anything.")
    gap = np.abs(first.extras["completeness_error"][1])
    base = first.extras["base"][1]
    score = 0.0 if first.prediction is None else first.prediction
    relative_gap = relative_size(gap, score - base, FLOAT32_ROUNDING * np.maximum(np.abs(score), np.abs(base)))
    largest, failed = float(relative_gap.max()), int((~converged[1]).sum())
    reason = f"the maps add up to score - base within {largest:.2g} of it at worst, {float(np.median(relative_gap)):.2g} in the median, over all {len(gap)} rows explained"
    if failed:
        return Check(
            NUMERICAL,
            name,
            "fail",
            largest,
            f"{reason}; {failed} exceed the tolerance: take more steps, or another baseline.",
        )
    return Check(
        NUMERICAL, name, "pass", largest, f"{reason}; all within the tolerance. A map that adds up can still be wrong."
    )


def _check_noise(subject: CheckSubject) -> Check:
    name = "noise"
    errors = subject.std_errors()
    if errors is None:
        reason = (
            "nothing is sampled" if subject.explanations[0].evidence.exact else "this method gives no standard error"
        )
        return Check(NUMERICAL, name, "not applicable", None, reason + ".")
    size = np.sqrt(np.nanmean(flatten_maps(subject.explained_maps()) ** 2, axis=1))
    relative_errors = _median_bias(subject) * np.nanmedian(flatten_maps(errors), axis=1) / np.where(size > 0, size, 1.0)
    median = float(np.median(relative_errors))
    reason = f"the median standard error is {median:.2g} of the map's size (root mean square); up to {MAX_RELATIVE_NOISE:g} passes: noise then has less than 5 % of its energy"
    verdict = "pass" if median <= MAX_RELATIVE_NOISE else "fail"
    return Check(
        NUMERICAL,
        name,
        verdict,
        median,
        reason + ("." if verdict == "pass" else ": take more samples."),
        {"rows": relative_errors},
    )


def _median_bias(subject: CheckSubject) -> float:
    """How far the median of standard errors from few groups of samples lies below the true one, as a factor."""
    from scipy.special import chdtri

    freedom = subject.explanations[0].extras.get("freedom")
    return 1.0 if freedom is None else float(np.sqrt(freedom[1] / chdtri(freedom[1], 0.5)))


def _check_operators(subject: CheckSubject) -> Check:
    without_rule = subject.explanations[0].evidence.operators
    if without_rule:
        reason = f"operators without a rule: {', '.join(without_rule)}."
        return Check(NUMERICAL, "operators", "fail", float(len(without_rule)), reason)
    return Check(NUMERICAL, "operators", "pass", 0.0, "this method has a rule for every operator of the network.")


def _check_mode(subject: CheckSubject) -> Check:
    with subject.net.session():  # refuses a network in train mode
        pass
    difference = subject.explanations[0].evidence.agreement
    mode = "the network is in eval mode, and " if subject.net.has_derivatives else ""
    reason = f"{mode}a row's output does not change with the other rows in its batch (largest difference"
    return Check(NUMERICAL, "eval mode", "pass", difference, f"{reason} {difference:.2g}).")


def _check_dtype(subject: CheckSubject) -> Check:
    name = "dtype"
    if subject.recipe.dtype != "bfloat16" and "16" not in subject.net.arithmetic:
        return Check(
            NUMERICAL, name, "not applicable", None, f"computed in {subject.net.arithmetic}, not in a shorter type."
        )
    if "16" in subject.net.arithmetic:
        return Check(
            NUMERICAL,
            name,
            "not applicable",
            None,
            f"the network itself computes in {subject.net.arithmetic}; there is no more precise type to compare with.",
        )
    at = np.arange(min(ROWS_COMPARED, subject.n_rows))
    full = subject.recompute_maps(dtype=None, explained_rows=subject.explained_rows[at])
    short = tuple(m[at] for m in subject.rerun_maps())
    distance = float(np.median(relative_distance(short, full)))
    correlation = float(abs_rank_correlations(flatten_maps(short), flatten_maps(full)).mean())
    reason = (
        f"bfloat16 is {distance:.2g} of the map's size away from float32 (median of {len(at)} rows), rank correlation {correlation:.3f}; "
        f"up to {MAX_BFLOAT16_DISTANCE:g} passes"
    )
    return Check(
        NUMERICAL,
        name,
        "pass" if distance <= MAX_BFLOAT16_DISTANCE else "fail",
        distance,
        reason + ("." if distance <= MAX_BFLOAT16_DISTANCE else ": leave dtype out."),
    )


CHECK_GROUP: Final = CheckGroup(NUMERICAL, numerical_checks, CheckCost(n_maps=1, n_maps_if_expensive=1))
