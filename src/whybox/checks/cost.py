"""What each group of checks costs: maps of a row made again, and rows of its deletion curves."""

from __future__ import annotations

from typing import Any, Final

from whybox.checks.audit import EXPENSIVE_PASSES
from whybox.checks.check import GROUPS, requested_groups
from whybox.explanation.explanation import Explanation
from whybox.methods.common.plan import MethodPlan

__all__ = ["passes_of_groups", "plan_check"]

MAX_MAPS_PER_ROW: Final = {"numerical": 1, "stability": 8, "model dependence": 18, "faithfulness": 0}  # at most
EXPENSIVE_MAPS_PER_ROW: Final = {
    "numerical": 1,
    "stability": 5,
    "model dependence": 8,
    "faithfulness": 0,
}  # where one takes many passes
FORWARDS_FOR_CURVES: Final = 700  # of each row, for deletion and insertion


def passes_of_groups(e: Explanation) -> dict[str, float]:
    """Return how many passes of a row each group of checks takes, at most, judging by what its map took."""
    spent = e.evidence.passes
    one = (spent["forward"] + spent["backward"]) / len(e)
    maps = EXPENSIVE_MAPS_PER_ROW if one > EXPENSIVE_PASSES else MAX_MAPS_PER_ROW
    return {g: n * one + (FORWARDS_FOR_CURVES if g == "faithfulness" else 0) for g, n in maps.items()}


def plan_check(
    explanation: Any, net: Any, inputs: Any, *, checks: Any = "all", max_rows: int = 16, **options: Any
) -> MethodPlan:
    """Plan ``whybox.check``: counted by the passes that the maps took; nothing is run.

    Raises:
        OptionError: unknown checks.
    """
    e = explanation[0] if isinstance(explanation, tuple) else explanation
    wanted = requested_groups(checks)
    rows = min(max_rows, len(e))
    passes = passes_of_groups(e)
    count = rows * sum(passes[group] for group in wanted)
    spent = e.evidence.passes["forward"] + e.evidence.passes["backward"]
    return MethodPlan(
        method="Checks of a saliency map",
        method_id=e.method_id,
        kernel=", ".join(group for group in GROUPS if group in wanted),
        exact=False,
        rows=rows,
        model_calls=count,
        seconds=e.evidence.seconds * count / max(spent, 1),
        notes=("At most; at the speed at which the maps were made. Model calls are rows forward and backward.",),
    )
