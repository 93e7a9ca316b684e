"""What checks will cost: counted by the passes that the maps took; nothing is run."""

from __future__ import annotations

from typing import Any

from whybox.checks.check import requested_groups
from whybox.methods.common.plan import MethodPlan

__all__ = ["plan_check"]


def plan_check(
    explanation: Any, net: Any, inputs: Any, *, checks: Any = "all", max_rows: int = 16, **options: Any
) -> MethodPlan:
    """Plan ``whybox.check``: counted by the passes that the maps took; nothing is run.

    Raises:
        OptionError: unknown checks.
    """
    e = explanation[0] if isinstance(explanation, tuple) else explanation
    groups = requested_groups(checks)
    rows = min(max_rows, len(e))
    counted = e.evidence.passes["forward"] + e.evidence.passes["backward"]
    count = rows * sum(group.cost.passes(counted / len(e)) for group in groups)
    return MethodPlan(
        method="Checks of a saliency map",
        method_id=e.method_id,
        kernel=", ".join(group.name for group in groups),
        exact=False,
        rows=rows,
        model_calls=count,
        seconds=e.evidence.seconds * count / max(counted, 1),
        notes=("At most; at the speed at which the maps were made. Model calls are rows forward and backward.",),
    )
