"""Spot checks of anchors: some of the rows that confirmed a rule are put together again cell by cell, and the model itself is asked about them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import object_cells
from whybox.data.series import is_missing
from whybox.data.table import Floats
from whybox.explanation.spot_checks import SpotChecks
from whybox.methods.anchors.predicates import Condition
from whybox.methods.anchors.problem import AnchorsProblem
from whybox.methods.anchors.search import FoundRule
from whybox.methods.common.columns import Ints
from whybox.methods.common.piecewise import BinnedColumn
from whybox.methods.common.spot_checks import NOT_CHECKED, SpotChecker, spot_predictions, spot_rng
from whybox.methods.common.spot_rows import PositionLabel, RowCell, RowRecomputation, rows_alone

__all__ = ["check_rules"]

WAY: Final = "by reading the cells of the rows that were drawn"


def check_rules(
    problem: AnchorsProblem, found: list[FoundRule], which: Ints, answers: Floats, spent: int
) -> SpotChecks:
    """Check some of the rows that confirmed the rules.

    Args:
        problem: with its rows. found: the rules. which: (rows,), the rule of each row. answers: (rows,), what the model predicts for the rows. spent: predictions of the answer.

    Raises:
        SpotCheckError: a drawn row breaks a condition of its rule, or the model itself predicts another output or class for it.
    """
    options = problem.options
    alone = rows_alone(problem.model)
    asked = spot_predictions(options.spot_checks, spent)
    rows = np.repeat(np.arange(len(which)), [len(found[k].draws.sources) for k in which])
    draw = np.concatenate([np.arange(len(found[k].draws.sources)) for k in which]) if len(which) else rows
    if asked <= 0 or not len(rows):
        return NOT_CHECKED
    count = min(len(rows), max(asked - alone, 1))
    chosen = np.sort(spot_rng(options.seed, 23).choice(len(rows), count, replace=False))
    rows, draw = rows[chosen], draw[chosen]
    rules = [found[which[i]] for i in rows]
    sources = np.stack([r.draws.sources[d] for r, d in zip(rules, draw, strict=True)])
    outputs = np.stack([r.draws.outputs[d] for r, d in zip(rules, draw, strict=True)])
    agrees = np.array([r.draws.agrees[d] for r, d in zip(rules, draw, strict=True)])
    checker = SpotChecker()
    cells = _cells_of(problem, sources)
    _check_conditions(problem, rows, rules, cells, checker)
    _check_outputs(problem, rows, cells, outputs, agrees, checker, alone if asked > alone else 0, answers)
    return checker.result


def _cells_of(problem: AnchorsProblem, sources: Ints) -> dict[int, npt.NDArray[Any]]:
    """The cells of draws, column by column, as Python objects."""
    drawn, at = np.unique(sources, return_inverse=True)
    table, at = problem.setting.background.table.rows(drawn), at.reshape(sources.shape)
    return {
        column: object_cells(table, column)[at[:, p]]
        for p, members in enumerate(problem.setting.players.members)
        for column in members
    }


def _check_conditions(
    problem: AnchorsProblem,
    rows: Ints,
    rules: list[FoundRule],
    cells: dict[int, npt.NDArray[Any]],
    checker: SpotChecker,
) -> None:
    """Hold every cell of a rule against the row's own cell: on the same side of the edges, or the same category."""
    for p, columns in enumerate(problem.setting.columns):
        asked = [next((c for c in rule.conditions if c.player == p), None) for rule in rules]
        here = [(i, c) for i, c in enumerate(asked) if c is not None]
        if not here:
            continue
        bins = problem.setting.ordered_pieces[p]
        for column in columns:
            own = object_cells(problem.rows, column.feature.position)
            at = column.feature.position
            meets = [
                _meets(
                    column,
                    cells[at][i],
                    own[rows[i]],
                    above=not bins or c.last < bins,
                    below=not bins or 0 < c.first < bins,
                )
                for i, c in here
            ]

            def where(
                k: tuple[int, ...],
                here: list[tuple[int, Condition]] = here,
                name: str = column.feature.name,
            ) -> PositionLabel:
                return [("row", int(rows[here[k[0]][0]])), ("condition on", name)]

            checker.compare(np.ones(len(here)), np.array(meets, dtype=np.float64), 0.0, way=WAY, where=where)


def _meets(column: BinnedColumn, cell: Any, own: Any, *, above: bool, below: bool) -> bool:
    """Whether a cell meets the condition on a row's own cell; a number may not lie above the own bin, nor below it, as it says."""
    if is_missing(cell) or is_missing(own):
        return is_missing(cell) and is_missing(own)
    if not column.is_number:
        return bool(cell == own)
    if column.feature.kind == "datetime":
        return True  # dates of several libraries are compared where they are read
    origin = column.feature.number_origin
    its_bin, own_bin = ((column.edges < value - origin).sum() for value in (cell, own))
    return bool((its_bin <= own_bin or not above) and (its_bin >= own_bin or not below))


def _check_outputs(  # what is compared has this many parts
    problem: AnchorsProblem,
    rows: Ints,
    cells: dict[int, npt.NDArray[Any]],
    outputs: Floats,
    agrees: npt.NDArray[np.bool_],
    checker: SpotChecker,
    alone: int,
    answers: Floats,
) -> None:
    """Ask the model itself about the drawn rows, and count again how many keep the class."""
    table = problem.setting.background.table.rows(np.zeros(len(rows), dtype=np.int64))
    table = table.with_columns_of_values({column: list(values) for column, values in cells.items()})
    ask = RowRecomputation(
        problem.model, table, problem.selection, checker, alone=alone, rows="rows drawn under a rule"
    )
    values, allowed = ask([RowCell(i) for i in range(len(rows))])
    reader = problem.setting.reader
    checker.compare(
        outputs,
        values,
        allowed,
        way=ask.description,
        where=lambda k: [("row", int(rows[k[0]])), ("output", problem.selection.names[k[1]])],
    )
    clear = reader.margins(values) > 2.0 * allowed.max(axis=1)
    own = np.array(answers)[rows]
    checker.compare(
        agrees[clear].astype(np.float64),
        (reader.answers(values) == own)[clear].astype(np.float64),
        0.0,
        way=ask.description,
        where=lambda k: [("row", int(rows[clear][k[0]])), ("keeps the class", "yes or no")],
    )
