"""Permutation importance of columns that depend on each other, permuted together: whether copies share what none of them is worth alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from whybox.data.table import as_table
from whybox.games.players import resolve_players
from whybox.methods.common.plan import MethodPlan
from whybox.methods.common.resolved_model import resolve_model
from whybox.methods.common.row_losses import separate_truth
from whybox.methods.common.rows import weighted_rows
from whybox.methods.importance.dependence_groups import dependence_groups
from whybox.methods.importance.permutation import plan_permutation
from whybox.methods.importance.problem import ImportanceProblem

__all__ = ["MAX_COLUMNS", "grouped_problem", "plan_with_groups"]

MAX_COLUMNS: Final = 500  # whose pairs are looked at


def grouped_problem(
    problem: ImportanceProblem, columns: tuple[tuple[str, ...], ...]
) -> tuple[ImportanceProblem | None, str]:
    """Return the problem with its dependent columns as players, None where there are none; and why they were not looked for, or nothing.

    Args:
        problem: of single columns. columns: of each player; those of several columns stay together.
    """
    if problem.players is not None or len(columns) < 2:
        return None, ""
    table = as_table(problem.X)
    names = [name for members in columns for name in members]
    if len(names) > MAX_COLUMNS:
        return (
            None,
            f"Whether columns are copies of each other was not looked at: there are {len(names):,}, and {MAX_COLUMNS:,} are compared at most.",
        )
    if table.is_sparse:
        return None, "Whether columns are copies of each other was not looked at: the rows are sparse."
    position = {name: i for i, name in enumerate(names)}
    by_name = set(names) <= set(table.names)
    used = table.select([table.names.index(name) for name in names] if by_name else list(range(len(names))))
    tied = [tuple(position[name] for name in members) for members in columns]
    groups, _ = dependence_groups(weighted_rows(used, problem.options.sample_weight), tied)
    name_of = dict(zip(used.names, names, strict=True))  # of columns that were taken by position
    renamed = [[name_of[column] for column in members] for members in groups.values()]
    joined = {" + ".join(members): members for members in renamed if tuple(members) not in columns}
    if not joined:
        return None, ""
    return replace(problem, options=replace(problem.options, players=joined, train=None)), ""


def plan_with_groups(problem: ImportanceProblem, plan: MethodPlan) -> MethodPlan:
    """Return the plan of permutation importance, with the predictions of permuting dependent columns together.

    Raises:
        WhyboxError: as planning does.
    """
    rows, _ = separate_truth(problem.X, problem.y)
    resolved = resolve_model(problem.model, rows, replace(problem.options, output=None, scale=None))
    names = resolved.rows.table.names
    members = resolve_players(resolved.model, names).members
    columns = tuple(tuple(names[i] for i in each) for each in members)
    grouped, _ = grouped_problem(replace(problem, X=resolved.rows.table, y=None), columns)
    if grouped is None:
        return plan
    calls = plan_permutation(replace(grouped, X=problem.X, y=problem.y)).model_calls
    note = f"{calls:,.0f} of the calls are for columns that depend on each other, permuted together."
    return replace(plan, model_calls=plan.model_calls + calls, notes=(*plan.notes, note))
