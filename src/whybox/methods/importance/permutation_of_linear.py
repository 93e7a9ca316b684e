"""Permutation importance of linear models by the squared loss, exactly: a sum over all pairs of rows in closed form, no shuffle and no seed.

With e_i what a row's prediction misses and g_i what the player adds to it, row i with the player's values of row j loses ``(e_i + g_i - g_j)^2``: more than as it
is by ``D_ij = (g_i - g_j)^2 + 2 e_i (g_i - g_j)``. With m and v the weighted mean and variance of g,

    sum_j w_j D_ij = v + (g_i - m)^2 + 2 e_i (g_i - m)
    sum_i w_i D_ij = v + (g_j - m)^2 + 2 (sum_i w_i e_i (g_i - m) - (g_j - m) sum_i w_i e_i)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.pair_differences import PairDifferences
from whybox.methods.importance.spot_checks import PermutationChecks
from whybox.models.linear import Linear

__all__ = ["LinearPairs", "linear_pairs"]

_ROUNDING: Final = 1e-14  # of a sum over columns, relative to its summands


@final
@dataclass(frozen=True, eq=False)
class LinearPairs:
    """A linear model whose squared loss is summed over all pairs of rows.

    Attributes:
        X: its rows as it reads them, missing values as 0, (rows, model columns).
    """

    model: Linear
    X: Floats

    @property
    def kernel(self) -> str:
        """What computes the sums over pairs, in words."""
        return "the model's weights: the squared loss of every row with every other row's values, in closed form"

    def pair_differences(self, problem: LossProblem, checks: PermutationChecks) -> PairDifferences:
        """Return the sums over all pairs of rows; `checks` are shown predictions and differences of losses."""
        raw = self.model.raw_outputs(self.X)
        own = problem.evaluated.from_raw(raw, self.model.outputs.link)
        missed = problem.truth - problem.predictions(own)[:, 0]
        added = np.column_stack([self._added(problem, k) for k in range(problem.players.count)])
        w = problem.weights
        centred = added - w @ added
        spread = w @ centred**2
        own_part = spread + centred**2
        of_row = own_part + 2.0 * missed[:, None] * centred
        of_donor = own_part + 2.0 * ((w * missed) @ centred - centred * (w @ missed))
        self._check_some(problem, checks, added, missed)
        return PairDifferences(of_row, of_donor, problem.losses(own), raw)

    def _added(self, problem: LossProblem, player: int) -> Floats:
        """What a player adds to the output that is explained, (rows,)."""
        columns = np.flatnonzero(problem.players.of_column == player)
        return problem.evaluated.select_values(self.X[:, columns] @ self.model.weights[columns])[:, 0]

    def _check_some(self, problem: LossProblem, checks: PermutationChecks, added: Floats, missed: Floats) -> None:
        """Show predictions of rows with a player's values of others, from their own sums, and what the closed form takes their losses to be."""
        rows, donors, players = checks.rows, checks.donors, checks.players
        if not len(rows):
            return
        changed_X, unchanged_X = (self._with_values_of(problem, rows, d, players) for d in (donors, rows))
        changed, unchanged = (self._evaluated(problem, X) for X in (changed_X, unchanged_X))
        checks.note(np.arange(len(rows)), changed)
        step = added[rows, players] - added[donors, players]
        size = self.model.rounding_scale(changed_X).max(axis=1) + self.model.rounding_scale(unchanged_X).max(axis=1)
        rounding = _ROUNDING * size * (np.abs(step) + np.abs(missed[rows]) + _ROUNDING * size)
        checks.check_differences(problem, rows, changed, unchanged, step * (step + 2.0 * missed[rows]), rounding)

    def _with_values_of(self, problem: LossProblem, rows: Ints, donors: Ints, players: Ints) -> Floats:
        return np.where(problem.players.of_column[None] == players[:, None], self.X[donors], self.X[rows])

    def _evaluated(self, problem: LossProblem, X: Floats) -> Floats:
        return problem.evaluated.from_raw(self.model.raw_outputs(X), self.model.outputs.link)


def linear_pairs(problem: LossProblem) -> LinearPairs | str:
    """Return what the weights of a linear model need to give all pairs of rows, or why permutation importance takes predictions."""
    model = problem.model
    if not isinstance(model, Linear):
        return "the model is neither a tree ensemble nor a linear model that is read"
    is_sum = model.outputs.link.is_identity or problem.selection.scale == "raw"
    if problem.loss.kernel[0] != "squared" or not is_sum or problem.labels is not None:
        return "of linear models only the squared loss of a sum has a closed form over all pairs of rows"
    if len(problem.evaluated.names) != 1:
        return "the linear model has several outputs"
    X = model.inputs.matrix_in_blocks(problem.table)
    if np.isinf(X).any():
        return "some values are infinite"
    return LinearPairs(model, np.where(np.isnan(X), 0.0, X))
