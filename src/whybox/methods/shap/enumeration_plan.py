"""How long enumerating all coalitions of the players takes, timed on one row."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from whybox.methods.common.plan import smallest_seconds
from whybox.methods.shap.compute import CompiledProblem, KernelRunner
from whybox.methods.shap.plan import KernelPlan

__all__ = ["timed_enumeration"]

MAX_TIMED_PREDICTIONS: Final = 2**16  # of the row that is timed, unless one background row takes more


def timed_enumeration(plan: KernelPlan, compiled: CompiledProblem) -> KernelPlan:
    """Return the plan with the seconds of a row, of problems whose coalitions are enumerated; others as they are.

    A background row is explained against as many others as are quick; each of them takes as long as any other.
    """
    problem = compiled.problem
    if problem.kernel != "enumeration" or problem.background is None:
        return plan
    rows, weights = problem.background.matrix, problem.background.weights
    count = max(1, min(len(rows), MAX_TIMED_PREDICTIONS // 2 ** len(problem.players_read)))
    some = replace(problem.background, matrix=rows[:count], weights=weights[:count] / weights[:count].sum())
    order, row = problem.options.order, rows[-1:].copy()
    runner = KernelRunner(compiled, 1, dict.fromkeys(range(1, order + 1), (plan, None))).same_kernels(
        replace(problem, background=some)
    )
    seconds = sum(
        smallest_seconds(lambda r, k=k: r.enumerated_values(row, k), lambda: runner)  # type: ignore[misc]
        for k in range(1, order + 1)
    )
    return replace(plan, row_seconds=seconds * len(rows) / count)
