"""What checks will cost: counted by the passes that the maps took; nothing is run."""

from __future__ import annotations

from typing import Any

from whybox.checks import reproduction
from whybox.checks.check import requested_groups
from whybox.checks.check_subject import check_explanations
from whybox.checks.cost import map_passes
from whybox.core.validation import check_whole_number
from whybox.methods.common.plan import MethodPlan

__all__ = ["plan_check"]


def plan_check(
    explanation: Any, net: Any, inputs: Any, *, checks: Any = "all", max_rows: int = 16, **options: Any
) -> MethodPlan:
    """Plan ``whybox.check``: counted by the passes that the maps took; nothing is run.

    Raises:
        OptionError: unknown checks, or `max_rows` is no positive whole number. InputError: these are not maps of wb.saliency.
    """
    max_rows = check_whole_number("max_rows", max_rows)
    e = check_explanations(explanation)[0][0]
    groups = requested_groups(checks)
    rows = min(max_rows, len(e))
    each = map_passes(e)
    first = 0.0 if reproduction.CHECK_GROUP in groups else each  # "reproduced" always runs
    count = rows * (first + sum(group.cost.passes_per_row(each) for group in groups))
    return MethodPlan(
        method="Checks of a saliency map",
        method_id=e.method_id,
        kernel=", ".join(group.name for group in groups),
        exact=False,
        rows=rows,
        model_calls=count,
        seconds=e.evidence.seconds * count / max(each * e.evidence.rows, 1),
        notes=("At most; at the speed at which the maps were made. Model calls are rows forward and backward.",),
    )
