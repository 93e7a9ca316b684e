"""A second way to compute attributions of linear models, for the checks of an answer: term by term, or coalition by coalition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.exact import all_coalitions
from whybox.kernels.leaf_games import add_cells
from whybox.methods.shap.problem import ShapProblem
from whybox.methods.shap.second_way_rows import SparseValues, picked_outputs, result_rows, row_of_worths
from whybox.models.linear import Linear

__all__ = ["CoalitionsByRegression", "LinearTerms"]

COALITIONS_BY_REGRESSION: Final = 256  # coalitions whose slopes are computed again
ROUNDING_OF_REGRESSION: Final = (
    100.0  # what least squares on rows lose beside the inverse of their correlations, which keeps fewer digits
)

Ints = npt.NDArray[np.int64]


@final
@dataclass(frozen=True, eq=False)
class LinearTerms:
    """Adds up the terms of a linear model, one by one, in exact arithmetic."""

    problem: ShapProblem
    description: str = "by adding up the terms of the linear model"
    max_rows: int = 8

    @property
    def output_positions(self) -> Ints:
        """All outputs."""
        return np.arange(len(self.problem.selection.output_positions))

    def recompute_values(self, X: Floats) -> tuple[Floats, Floats]:
        """Return what encoded rows should have, and the size to which rounding is relative."""
        problem, background = self.problem, self.problem.background
        assert isinstance(problem.model, Linear)  # noqa: S101  # the kernel is for these
        assert background is not None  # noqa: S101  # resolved by the problem
        picks, signs = picked_outputs(problem, self.output_positions)
        columns = problem.model.columns_read
        means = [
            math.fsum(
                w * v for w, v in zip(background.weights, background.matrix[:, j], strict=True) if not math.isnan(v)
            )
            for j in columns
        ]
        values = []
        for x in X:
            terms = np.array(
                [(0.0 if math.isnan(x[j]) else x[j]) - mean for j, mean in zip(columns, means, strict=True)]
            )
            numbers = terms[:, None] * problem.model.weights[columns][:, picks] * signs
            singles = add_cells(problem.players.of_column[columns].astype(np.int64), numbers, problem.players.count)
            none: SparseValues = np.zeros(0, dtype=np.int64), np.zeros((0, len(picks)))
            values.append(result_rows(problem, singles, none if problem.options.order == 2 else None))
        size = problem.model.rounding_scale(X) + problem.model.rounding_scale(background.matrix).max(axis=0)
        return np.stack(values), size[:, picks]

    def kernel_values(self, X: Floats) -> Floats | None:
        """None: the answer itself is meant."""
        del X
        return None


@final
@dataclass(frozen=True, eq=False)
class CoalitionsByRegression:
    """Computes the slopes of some coalitions by least squares on the background's rows, and sums up the game of a row with them; the others are as they were.

    Attributes:
        coalitions: positions of those that were drawn.
    """

    problem: ShapProblem
    coalitions: Ints
    max_rows: int = 4

    @classmethod
    def draw(cls, problem: ShapProblem, rng: np.random.Generator) -> CoalitionsByRegression:
        """Return the check of all coalitions, or of some if they are many."""
        return cls(problem, rng.permutation(2**problem.players.count)[:COALITIONS_BY_REGRESSION])

    @property
    def description(self) -> str:
        """How rows are recomputed."""
        every = len(self.coalitions) == 2**self.problem.players.count
        some = "all" if every else f"{len(self.coalitions):,} of {2**self.problem.players.count:,}"
        return f"coalition by coalition, with least squares on the background for {some} coalitions"

    @property
    def output_positions(self) -> Ints:
        """All outputs."""
        return np.arange(len(self.problem.selection.output_positions))

    def recompute_values(self, X: Floats) -> tuple[Floats, Floats]:
        """Return what encoded rows should have, and the size to which rounding is relative."""
        gaussian, count = self.problem.gaussian, self.problem.players.count
        picks, signs = picked_outputs(self.problem, self.output_positions)
        slopes, every = np.array(gaussian.coalition_slopes), all_coalitions(count)
        for coalition in self.coalitions:
            slopes[coalition] = gaussian.slopes_by_regression(every[coalition])
        values = [
            row_of_worths(
                self.problem, np.tensordot(slopes, x - gaussian.mean, axes=([1], [0]))[:, picks], np.arange(count)
            )
            * signs
            for x in X
        ]
        size = np.abs(slopes).max(axis=0)
        apart = np.abs(X) + np.abs(gaussian.mean)
        return np.stack(values), (ROUNDING_OF_REGRESSION * (apart @ size + np.abs(self.problem.model.base)))[:, picks]

    def kernel_values(self, X: Floats) -> Floats | None:
        """None: the answer itself is meant."""
        del X
        return None
