"""Outputs of hybrids as the games of rows take them: the model's own or what follows from them by row: losses, predictions with offsets.

The model is evaluated once for each different hybrid, whatever the truth or the offset of the rows is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.hybrid_grid import HybridGrid
from whybox.methods.shap.game_problem import GameProblem

__all__ = ["GameGrid", "donor_outputs", "hybrid_outputs", "known_outputs", "largest_absent", "largest_output"]


@final
class GameGrid:
    """Evaluates rows, each with all entries of a list of (pattern, donor), as :class:`HybridGrid` does.

    Args:
        problem: with the rows.
    """

    def __init__(self, problem: GameProblem) -> None:
        self._by_row = problem.by_row
        of_rows, of_donors = _known_outputs(problem)
        self._grid = HybridGrid(
            problem.evaluator,
            problem.rows,
            problem.background.table,
            row_outputs=of_rows,
            donor_outputs=of_donors,
        )

    def evaluate(
        self, row: Ints, donor: Ints, pattern: Ints, patterns: Sequence[Sequence[int]], *, what: str = "predictions"
    ) -> Floats:
        """Return the outputs of all entries of some rows, (len(row), entries, outputs); see :meth:`HybridGrid.evaluate`."""
        outputs = self._grid.evaluate(row, donor, pattern, patterns, what=what)
        return outputs if self._by_row is None else self._by_row.of_hybrids(row, outputs)


def hybrid_outputs(
    problem: GameProblem, row: Ints, donor: Ints, pattern: Ints, patterns: Sequence[Sequence[int]]
) -> Floats:
    """Return the outputs of hybrids, (hybrids, outputs); arguments are as :meth:`HybridEvaluator.evaluate_hybrids` takes them.

    Raises:
        LimitError, NonFiniteError, InputError: as there.
    """
    of_rows, of_donors = _known_outputs(problem)
    which, outputs = problem.evaluator.evaluate_hybrids(
        problem.rows,
        problem.background.table,
        row,
        donor,
        pattern,
        patterns,
        row_outputs=of_rows,
        donor_outputs=of_donors,
        what="coalitions",
    )
    return outputs[which] if problem.by_row is None else problem.by_row.of_hybrids(row, outputs[which])


def _known_outputs(problem: GameProblem) -> tuple[Floats, Floats]:
    """The model's outputs of rows and of background rows."""
    of_rows = problem.row_outputs if problem.by_row is None else problem.by_row.row_outputs
    return of_rows, problem.background_outputs


def donor_outputs(problem: GameProblem, rows: Ints, donors: Ints | slice = slice(None)) -> Floats:
    """Return the outputs of background rows in the games of some rows, (rows, donors, outputs): the same for all of them, but for games that differ by row."""
    if problem.by_row is not None:
        return problem.by_row.of_donors(rows, donors)
    outputs = problem.background_outputs[donors]
    return np.broadcast_to(outputs, (len(rows), *outputs.shape))


def known_outputs(problem: GameProblem) -> Floats:
    """Return outputs of rows and of background rows, of each row's game the largest of these where they differ by row, (k, outputs)."""
    of_background = problem.background_outputs if problem.by_row is None else problem.by_row.largest_of_donors
    return np.concatenate([problem.row_outputs, of_background])


def largest_absent(problem: GameProblem) -> Floats:
    """Return the largest size of an output of a background row, (1, outputs), or for each row (n, outputs)."""
    if problem.by_row is not None:
        return problem.by_row.largest_of_donors
    return np.asarray(np.abs(problem.background_outputs).max(axis=0, keepdims=True))


def largest_output(problem: GameProblem) -> float:
    """Return the largest size of an output of a row or of a background row."""
    return max(float(np.abs(problem.row_outputs).max(initial=0.0)), float(largest_absent(problem).max(initial=0.0)))
