"""Rows with the same players that differ: they share a design, and with it the work of solving their games."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.donor_blocks import BlockDesign, GrowingBlocks
from whybox.games.solve import GameValues, ObservedPairs, solve_games
from whybox.methods.common.columns import Ints
from whybox.methods.shap.fitted_control import FittedControl, HybridNumbers
from whybox.methods.shap.game_problem import GameProblem, SampledRow

__all__ = ["RowGroup"]

MAX_HYBRIDS: Final = 2**19  # evaluated together


@final
class RowGroup:
    """Rows whose games have the same players, and what was observed of them so far.

    Args:
        problem: with the rows. rows: positions. limit: predictions of a row at most, which say how its design begins. draw: random numbers.

    Attributes:
        rows: those that are not settled. own: (players,), positions of the players that differ. design: so far.
    """

    def __init__(self, problem: GameProblem, rows: Ints, limit: int, draw: np.random.Generator) -> None:
        self._problem, self.rows = problem, rows
        self.own = np.flatnonzero(problem.differs[rows[0]])
        self._blocks = GrowingBlocks(len(self.own), problem.background.weights, limit, draw)
        outputs = problem.row_outputs.shape[1]
        self._keys = np.zeros(0, dtype=np.int64)
        self._present = np.empty((len(rows), 0, outputs))
        self._absent = np.empty((len(rows), 0, outputs))
        self.design: BlockDesign = self._blocks.design

    @property
    def evaluations(self) -> int:
        """Hybrids of a row so far."""
        return 2 * len(self._keys)

    def grow(self, limit: int) -> bool:
        """Enlarge the design to no more than `limit` hybrids a row; say whether there is anything to evaluate."""
        if self.evaluations:
            if not self._blocks.grow(limit):
                return False
            self.design = self._blocks.design
        return self.design.evaluations > self.evaluations

    def evaluate(self, numbers: HybridNumbers | None) -> None:
        """Evaluate what the design has beyond what is known.

        Args:
            numbers: is given the hybrids, for surrogates.

        Raises:
            LimitError: more predictions than allowed. NonFiniteError: an output is NaN or infinite.
        """
        design = self.design
        keys = design.pair * design.n_donors + design.donor
        order = np.argsort(self._keys, kind="stable")
        at = np.minimum(np.searchsorted(self._keys, keys, sorter=order), max(len(order) - 1, 0))
        known = self._keys[order[at]] == keys if len(order) else np.zeros(len(keys), dtype=bool)
        shape = (len(self.rows), len(keys), self._present.shape[2])
        present, absent = np.empty(shape), np.empty(shape)
        if known.any():
            present[:, known], absent[:, known] = self._present[:, order[at[known]]], self._absent[:, order[at[known]]]
        new = np.flatnonzero(~known)
        step = max(1, MAX_HYBRIDS // max(2 * len(new), 1))
        for start in range(0, len(self.rows), step):
            some = slice(start, start + step)
            found = self._outputs(self.rows[some], new, numbers)
            present[some, new], absent[some, new] = found[:, 0], found[:, 1]
        self._keys, self._present, self._absent = keys, present, absent

    def _outputs(self, rows: Ints, entries: Ints, numbers: HybridNumbers | None) -> Floats:
        """Outputs of some entries of some rows, (rows, 2, entries, outputs): of the coalitions and of their complements."""
        problem, design = self._problem, self.design
        pairs, which = np.unique(design.pair[entries], return_inverse=True)
        chosen = design.coalitions[pairs]
        patterns = [self._absent_columns(c) for c in np.concatenate([chosen, ~chosen])]
        shape = (len(rows), 2, len(entries))
        pattern = np.stack([which.reshape(-1), which.reshape(-1) + len(pairs)])
        row, of_pattern, donor = (
            np.broadcast_to(a, shape).reshape(-1) for a in (rows[:, None, None], pattern, design.donor[entries])
        )
        of_hybrid, outputs = problem.evaluator.evaluate_hybrids(
            problem.rows,
            problem.background.table,
            row,
            donor,
            of_pattern,
            patterns,
            row_outputs=problem.row_outputs,
            donor_outputs=problem.background_outputs,
            what="coalitions",
        )
        every = outputs[of_hybrid]
        if numbers is not None:
            numbers.add(row, donor, of_pattern, patterns, every)
        return every.reshape(*shape, -1)

    def _absent_columns(self, coalition: npt.NDArray[np.bool_]) -> tuple[int, ...]:
        members = self._problem.players.members
        return tuple(sorted(column for player in self.own[~coalition] for column in members[player]))

    @property
    def observed(self) -> ObservedPairs:
        """What was observed."""
        problem = self._problem
        of_donors = np.broadcast_to(problem.background_outputs, (len(self.rows), *problem.background_outputs.shape))
        return ObservedPairs(
            self._present,
            self._absent,
            problem.row_outputs[self.rows],
            of_donors,
            problem.background.weights,
            problem.noise_variance,
        )

    def solve(self, control: FittedControl | None) -> GameValues:
        """Return values and variances of the rows, with the help of a surrogate where it makes the variances smaller; the spread is NaN there."""
        observed, index = self.observed, self._problem.options.game_index
        plain = solve_games(self.design, observed, index)
        if control is None:
            return plain
        fitted = control.observed(self.rows, self.own, self.design)
        rest = solve_games(self.design, observed.less(fitted), index)
        known = control.values(self.rows)[:, self.own]
        better = (rest.variances.sum(axis=1) < plain.variances.sum(axis=1))[:, None]
        return GameValues(
            np.where(better, rest.values + known, plain.values),
            np.where(better, rest.variances, plain.variances),
            np.where(better, np.nan, plain.spread),
        )

    def keep(self, unsettled: npt.NDArray[np.bool_]) -> None:
        """Keep the rows that are not settled."""
        self.rows = self.rows[unsettled]
        self._present, self._absent = self._present[unsettled], self._absent[unsettled]

    def sampled_row(self, row: int) -> SampledRow:
        """Return what a row's values are estimated from, for spot checks.

        Args:
            row: position among the rows of the group.
        """
        d = self.design
        return SampledRow(
            int(self.rows[row]),
            self.own,
            d.coalitions,
            d.pair,
            d.donor,
            self._present[row].copy(),
            self._absent[row].copy(),
            d.with_replacement,
        )

    def example(self, row: int, entry: int) -> tuple[npt.NDArray[np.bool_], int, Floats]:
        """Return a coalition of all players, its donor and the outputs of the hybrid, (outputs,), for spot checks.

        Args:
            row: position among the rows of the group. entry: of twice as many as the design has, complements last.
        """
        n = len(self._keys)
        at, complement = entry % n, entry >= n
        chosen = self.design.coalitions[self.design.pair[at]]
        coalition = ~self._problem.differs[self.rows[row]]  # players that do not differ are the same either way
        coalition[self.own] = ~chosen if complement else chosen
        outputs = (self._absent if complement else self._present)[row, at]
        return coalition, int(self.design.donor[at]), outputs
