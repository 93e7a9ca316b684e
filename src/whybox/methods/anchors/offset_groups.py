"""Rows whose rules are searched by one function of rows: all of them, or those of equal offsets, each of which is a model of its own.

The offset of a row is added to the raw outputs of every row that is drawn under its rule. Which rows are drawn does not depend on it, so the raw outputs of the
sample that all rows share are evaluated once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.anchors.problem import AnchorsProblem
from whybox.methods.anchors.search import FoundRule
from whybox.methods.anchors.spot_checks import check_rules
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import check_some_groups, spot_rng

__all__ = ["RowGroup", "check_groups", "row_groups"]


@final
@dataclass(frozen=True, eq=False)
class RowGroup:
    """Rows of equal offsets.

    Attributes:
        rows: their positions. problem: of them alone, whose setting has their offset. answers: (rows,), what the model predicts for them.
        kinds: their different own pieces and answers, (kinds, players + 1). which: (rows,), which of these each row has.
    """

    rows: Ints
    problem: AnchorsProblem
    answers: Floats
    kinds: Floats
    which: Ints


def row_groups(problem: AnchorsProblem, answers: Floats) -> list[RowGroup]:
    """Return the rows by their offsets; all in one group where they have none.

    Args:
        problem: of all rows. answers: (rows,), what the model predicts for them.
    """
    shifted = problem.shifted
    parts = [np.arange(len(answers))] if shifted is None else shifted.offsets.groups
    groups = []
    for rows in parts:
        part = problem if shifted is None else _of_one_offset(problem, rows)
        kinds, which = np.unique(np.column_stack([part.own, answers[rows]]), axis=0, return_inverse=True)
        groups.append(RowGroup(rows, part, answers[rows], kinds, which.reshape(-1).astype(np.int64)))
    return groups


def check_groups(groups: list[RowGroup], found: list[list[FoundRule]], spent: int) -> SpotChecks:
    """Check some of the rows that confirmed the rules of some groups.

    Args:
        found: for each group the rules of its kinds. spent: predictions of the answer.

    Raises:
        SpotCheckError: as :func:`check_rules`.
    """
    return check_some_groups(
        list(zip(groups, found, strict=True)),
        spot_rng(groups[0].problem.options.seed, 24),
        lambda pair: check_rules(pair[0].problem, pair[1], pair[0].which, pair[0].answers, spent),
    )


def _of_one_offset(problem: AnchorsProblem, rows: Ints) -> AnchorsProblem:
    """The problem of some rows of equal offsets, which are added to the raw outputs of whatever is evaluated."""
    assert problem.shifted is not None  # noqa: S101  # of rows with offsets
    part, setting = problem.rows_at(rows), problem.setting
    reader = replace(setting.reader, selection=problem.shifted.selection_of(int(rows[0])))
    return replace(part, setting=replace(setting, reader=reader))
