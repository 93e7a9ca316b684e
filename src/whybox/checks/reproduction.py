"""Is the map computed correctly? Reproduced, converged, with little noise, in a type that is precise enough."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.checks.audit import CheckSubject, Maps, flatten_maps
from whybox.checks.cost import CheckCost
from whybox.checks.group import CheckGroup
from whybox.checks.result import Check
from whybox.data.table import Floats
from whybox.numerics.rounding import FLOAT32_ROUNDING, relative_size
from whybox.numerics.statistics import abs_rank_correlations

__all__ = ["GROUP", "numerical_checks", "relative_distance"]

NUMERICAL: Final = "numerical"
SAME: Final = 1e-2  # relative distance of maps that differ by float32 rounding only: other micro-batches, other kernels
MAX_RELATIVE_NOISE: Final = 0.2  # of the map's size; with a fifth, 96 % of its energy is signal
SHORTER: Final = (
    0.05  # relative distance that bfloat16 may cause; IG on smooth networks has 0.008, on ReLU with max-pooling 0.17
)
FEW_ROWS: Final = 4


def numerical_checks(subject: CheckSubject) -> list[Check]:
    """Run the numerical checks."""
    return [
        _reproduced(subject),
        _completeness(subject),
        _noise(subject),
        _operators(subject),
        _mode(subject),
        _dtype(subject),
    ]


def relative_distance(a: Maps, b: Maps) -> Floats:
    """Relative distance of maps, row by row; positions that a row does not have (NaN in both) do not count."""
    x, y = flatten_maps(a), flatten_maps(b)
    gone = np.isnan(x) & np.isnan(y)
    x, y = np.where(gone, 0.0, x), np.where(gone, 0.0, y)
    size = np.sqrt((y * y).sum(axis=1))
    return np.asarray(np.sqrt(((x - y) ** 2).sum(axis=1)) / np.where(size > 0, size, 1.0))


def _reproduced(subject: CheckSubject) -> Check:
    """Compute maps again: of all rows that are checked, or of the first rows if random numbers depend on a row's position."""
    name = "reproduced"
    at, rows = subject.explained_rows, subject.rows
    belongs = "network and inputs have the explanation's own SHA-256"
    shared = _shared(subject)
    found = relative_distance(subject.rerun(), subject.maps()) - shared[at]
    if float(found.max()) > SAME and not np.array_equal(rows, np.arange(len(rows))):
        at = np.arange(min(FEW_ROWS, len(subject.explanations[0])), dtype=np.intp)
        rows = subject.input_rows(at)
        if not np.array_equal(rows, np.arange(len(rows))):
            return Check(
                NUMERICAL,
                name,
                "not applicable",
                None,
                f"{belongs}; random numbers of these rows cannot be repeated, since the first rows are missing.",
            )
        found = relative_distance(subject.recompute(explained_rows=at), subject.maps(at)) - shared[at]
    worst = float(np.maximum(found, 0.0).max())
    said = f"{belongs}; computed again, {len(rows)} rows differ by at most {worst:.2g} of the map's size (rounding explains {SAME:g})"
    if shared.any():
        said += (
            f", beside the {float(shared.max()):.2g} by which one step more may change them: outputs share their steps"
        )
    if worst <= SAME:
        return Check(NUMERICAL, name, "pass", worst, said + ".")
    return Check(
        NUMERICAL,
        name,
        "fail",
        worst,
        said + ": this method gives other values here, or a row's map depends on the other rows in its batch.",
    )


def _shared(subject: CheckSubject) -> Floats:
    """How much each explained row's map may change because several outputs shared its steps, (rows explained,)."""
    change = subject.explanations[0].extras.get("map_change")
    if change is None or "output" not in subject.explanations[0].dims:
        return np.zeros(len(subject.explanations[0]))
    return np.asarray(change[1][np.arange(len(change[1])), subject.output_of], dtype=np.float64)


def _completeness(subject: CheckSubject) -> Check:
    name = "completeness"
    found = subject.explanations[0].extras.get("converged")
    if not subject.explanations[0].evidence.additive or found is None:
        return Check(NUMERICAL, name, "not applicable", None, "this method's maps need not add up to anything.")
    gap = np.abs(subject.explanations[0].extras["completeness_error"][1])
    base = subject.explanations[0].extras["base"][1]
    score = 0.0 if subject.explanations[0].prediction is None else subject.explanations[0].prediction
    share = relative_size(gap, score - base, FLOAT32_ROUNDING * np.maximum(np.abs(score), np.abs(base)))
    worst, bad = float(share.max()), int((~found[1]).sum())
    said = f"the maps add up to score - base within {worst:.2g} of it at worst, {float(np.median(share)):.2g} in the median, over all {len(gap)} rows explained"
    if bad:
        return Check(
            NUMERICAL, name, "fail", worst, f"{said}; {bad} miss the tolerance: take more steps, or another baseline."
        )
    return Check(
        NUMERICAL, name, "pass", worst, f"{said}; all within the tolerance. Adding up is no proof that a map is right."
    )


def _noise(subject: CheckSubject) -> Check:
    name = "noise"
    errors = subject.std_errors()
    if errors is None:
        why = "nothing is sampled" if subject.explanations[0].evidence.exact else "this method gives no standard error"
        return Check(NUMERICAL, name, "not applicable", None, why + ".")
    size = np.sqrt(np.nanmean(flatten_maps(subject.maps()) ** 2, axis=1))
    share = np.nanmedian(flatten_maps(errors), axis=1) / np.where(size > 0, size, 1.0)
    middle = float(np.median(share))
    said = f"the median standard error is {middle:.2g} of the map's size (root mean square); up to {MAX_RELATIVE_NOISE:g} passes, for then noise has less than 5 % of its energy"
    verdict = "pass" if middle <= MAX_RELATIVE_NOISE else "fail"
    return Check(
        NUMERICAL, name, verdict, middle, said + ("." if verdict == "pass" else ": take more samples."), {"rows": share}
    )


def _operators(subject: CheckSubject) -> Check:
    met = subject.explanations[0].evidence.operators
    if met:
        return Check(NUMERICAL, "operators", "fail", float(len(met)), f"operators without a rule: {', '.join(met)}.")
    return Check(NUMERICAL, "operators", "pass", 0.0, "this method has a rule for every operator of the network.")


def _mode(subject: CheckSubject) -> Check:
    with subject.net.session():  # refuses a network in train mode
        pass
    beside = subject.explanations[0].evidence.agreement
    said = "the network is in eval mode, and a row's output does not change with the other rows in its batch (largest difference"
    return Check(NUMERICAL, "eval mode", "pass", beside, f"{said} {beside:.2g}).")


def _dtype(subject: CheckSubject) -> Check:
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
            f"the network itself computes in {subject.net.arithmetic}; there is no longer type to compare with.",
        )
    at = np.arange(min(FEW_ROWS, subject.count))
    short, full = subject.rerun(), subject.recompute(dtype=None, explained_rows=subject.explained_rows[at])
    few = tuple(m[at] for m in short)
    distance = float(np.median(relative_distance(few, full)))
    order = float(abs_rank_correlations(flatten_maps(few), flatten_maps(full)).mean())
    said = f"bfloat16 is {distance:.2g} of the map's size away from float32 (median of {len(at)} rows), rank correlation {order:.3f}; up to {SHORTER:g} passes"
    return Check(
        NUMERICAL,
        name,
        "pass" if distance <= SHORTER else "fail",
        distance,
        said + ("." if distance <= SHORTER else ": leave dtype out."),
    )


GROUP: Final = CheckGroup(NUMERICAL, numerical_checks, CheckCost(maps=1, maps_if_expensive=1))
