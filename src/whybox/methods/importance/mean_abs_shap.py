"""Global importance: mean absolute attribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import Plan
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.registry import find

__all__ = ["mean_abs_shap", "plan_mean_abs_shap"]


def mean_abs_shap(problem: ImportanceProblem) -> Explanation:
    """Return the mean absolute attribution of each feature over the rows.

    Args:
        problem: a model and the rows to explain.

    Returns:
        Explanation of kind ``"importance"``, (features,) [, outputs], in the units of the attributions.

    Raises:
        OptionError: there are no rows. Others as for ``whybox.explain``.
    """
    explanation = problem.explain_rows("shap")
    own = find("importance", "shap").evidence_fields()
    title = f"Mean |{explanation.evidence.method}| over the rows"
    return replace(
        explanation,
        kind="importance",
        values=np.abs(explanation.values).mean(axis=0),
        dims=explanation.dims[1:],
        coords={d: v for d, v in explanation.coords.items() if d != "row"},
        prediction=None,
        data=None,
        evidence=replace(explanation.evidence, **(own | {"method": title})),
    )


def plan_mean_abs_shap(problem: ImportanceProblem) -> Plan:
    """Plan :func:`mean_abs_shap`: the plan of the attributions.

    Raises:
        OptionError: there are no rows.
    """
    plan = problem.plan_rows("shap")
    method_id = find("importance", "shap").method_id
    averaged: Plan = replace(plan, method=f"Mean |{plan.method}| over the rows", method_id=method_id)
    return averaged
