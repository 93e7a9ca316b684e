"""LIME behind a link of rows with offsets: near each row the output is link(raw output + the row's own offset), also that of every row that is drawn.

Rows draw the same rows, whose raw outputs are evaluated once; rows of equal offsets share all else too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import Argument, NonFiniteError
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import check_some_groups, spot_rng
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.local_model import LocalModel, SampleBudget, narrow_note, sampled_model
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.shared_sample import DrawnRows, LocalValues, RawDraws
from whybox.methods.lime.spot_checks import check_sampled, rows_of_own_draws

__all__ = ["OffsetGroup", "check_groups", "model_of_groups", "with_offsets_added"]


@final
@dataclass(frozen=True, eq=False)
class OffsetGroup:
    """Rows of equal offsets: their positions, and design and answer of these rows alone."""

    rows: Ints
    design: LocalDesign
    model: LocalModel


def model_of_groups(
    design: LocalDesign, budget: SampleBudget, drawn: DrawnRows, call: int
) -> tuple[LocalModel, tuple[OffsetGroup, ...]]:
    """Return coefficients from a sample, and what they are made of.

    Args:
        design: of all rows. budget: as :func:`sample_budget` returns it. drawn: the rows to evaluate. call: as of :func:`rows_of_own_draws`.

    Raises:
        NonFiniteError: as :func:`sampled_model`; it names the offset.
    """
    problem, raw = design.problem, RawDraws(design.problem.model)
    assert problem.shifted is not None  # noqa: S101  # of rows with offsets
    groups = []
    for rows in problem.shifted.offsets.groups:
        part, near = LocalDesign(_of_one_offset(problem, rows)), budget.near[rows]
        own = replace(budget, near=near, narrow=np.flatnonzero(~near).astype(np.int64))
        try:
            found = sampled_model(part, own, drawn, 0, rows_of_own_draws(part, own.narrow, call), raw)
        except NonFiniteError as error:
            raise _with_offset_named(error, problem.shifted.offsets.positions_of(rows)) from error
        groups.append(OffsetGroup(rows, part, found))
    return _joined(design, budget, groups, raw), tuple(groups)


def check_groups(groups: tuple[OffsetGroup, ...], seed: int, call: int) -> SpotChecks:
    """Check the answers of some groups, drawn anew at each call; arguments are those of :func:`check_sampled`, and the seed of the options.

    Raises:
        SpotCheckError: a number differs.
    """
    return check_some_groups(
        groups,
        spot_rng(seed, call, 2),
        lambda group: check_sampled(group.design, group.model, group.model.sample, call),
    )


def with_offsets_added(model: LocalModel, problem: LimeProblem) -> LocalModel:
    """Return the answer on the additive scale of rows with offsets: these move the mean near each row, and nothing else."""
    assert problem.shifted is not None  # noqa: S101  # of rows with offsets
    added = problem.selection.select_values(problem.shifted.offsets.added)
    return replace(model, found=replace(model.found, mean=model.found.mean + added))


def _of_one_offset(problem: LimeProblem, rows: Ints) -> LimeProblem:
    """The problem of some rows of equal offsets, which are added before the link."""
    assert problem.shifted is not None  # noqa: S101  # of rows with offsets
    part = problem.rows_at(rows)
    selection = problem.shifted.selection_of(int(rows[0]))
    neighbourhood = problem.neighbourhood
    resolved = replace(neighbourhood.resolved, selection=selection)
    return replace(part, neighbourhood=replace(neighbourhood, resolved=resolved))


def _with_offset_named(error: NonFiniteError, rows: Ints) -> NonFiniteError:
    """The error of outputs that are too large, where rows (k,) have an offset that all drawn rows near them have too."""
    offset = (
        Argument("offset"),
        " of {row} is added before the link, to every row drawn near it as well (of an exposure it is the log): ",
    )
    return NonFiniteError(*offset, *error.message, row=int(rows[0]))


def _joined(design: LocalDesign, budget: SampleBudget, groups: list[OffsetGroup], raw: RawDraws) -> LocalModel:
    n, count = design.problem.first.shape
    outputs = len(design.problem.selection.names)
    values, errors = np.zeros((2, n, count, outputs))
    mean, variance = np.zeros((2, n, outputs))
    converged = np.zeros(n, dtype=bool)
    for group in groups:
        found, rows = group.model.found, group.rows
        arrays: tuple[tuple[Floats, Floats | None], ...] = (
            (values, found.values),
            (errors, found.std_error),
            (mean, found.mean),
            (variance, found.variance),
        )
        for whole, part in arrays:
            whole[rows] = part
        converged[rows] = group.model.converged
    of_their_own = sum(group.model.found.predictions - group.model.draws for group in groups)
    notes = narrow_note(len(budget.narrow), n, budget.narrow_draws)
    found = LocalValues(values, errors, mean, variance, raw.spent + of_their_own, notes)
    largest = max(groups, key=lambda group: group.model.draws).model
    return replace(largest, found=found, converged=converged, near=budget.near, sample=None, notes=notes, narrow=())
