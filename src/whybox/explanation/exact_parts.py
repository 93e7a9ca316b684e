"""Exact parts beside estimated ones: their standard errors are zero, and the evidence says which is which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation, interval_extras

__all__ = ["with_errors_of_zero"]


def with_errors_of_zero(parts: Sequence[Explanation]) -> list[Explanation]:
    """Return parts of which all have standard errors, where some are exact and others estimates of the same numbers; else the parts as they are."""
    estimates = [part for part in parts if part.std_error is not None and not part.evidence.exact]
    if not estimates:
        return list(parts)
    return [_with_errors(part, estimates[0]) if _is_exact_beside(part, estimates[0]) else part for part in parts]


def _is_exact_beside(part: Explanation, estimate: Explanation) -> bool:
    """Whether a part has exactly what another one estimates."""
    one, other = part.evidence, estimate.evidence
    families = {evidence.method_id.partition(".")[0] for evidence in (one, other)}
    asked = {
        name: value for name, value in one.settings.items() if name != "method"
    }  # an exact answer meets any tolerance
    same = all(other.settings.get(name) == value for name, value in asked.items())
    return part.std_error is None and one.exact and families == {"shap"} and same and part.dims == estimate.dims


def _with_errors(part: Explanation, estimate: Explanation) -> Explanation:
    """The part with errors of zero, and the evidence of an estimate."""
    missing = np.isnan(part.values)  # words that other texts have
    extras = dict(part.extras)
    if "interval" in estimate.extras:
        level = float(estimate.extras["interval_level"][1])
        extras |= interval_extras(np.stack([part.values, part.values], axis=-1), part.dims, level)
    return replace(
        part,
        std_error=np.where(missing, np.nan, 0.0),
        extras=extras,
        evidence=_as_estimate(part.evidence, estimate.evidence),
    )


def _as_estimate(exact: Evidence, estimate: Evidence) -> Evidence:
    note = f"{exact.rows:,} row{'s are' if exact.rows != 1 else ' is'} exact ({exact.method}): standard errors are 0 there."
    return replace(
        exact,
        method=estimate.method,
        method_id=estimate.method_id,
        exact=False,
        settings=estimate.settings,
        notes=(*exact.notes, note),
    )
