"""One design of coalitions over background rows, and what the model's outputs for it are, of rows that share it."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.chains import ChainDesign, GrowingChains, solve_chains
from whybox.games.donor_blocks import BlockDesign, GrowingBlocks
from whybox.games.solve import GameValues, ObservedPairs, solve_games
from whybox.methods.common.columns import Ints
from whybox.methods.shap.fitted_control import FittedControl, HybridNumbers
from whybox.methods.shap.game_answer import SampledRow
from whybox.methods.shap.game_hybrids import GameGrid, donor_outputs
from whybox.methods.shap.game_problem import GameProblem

__all__ = ["ObservedDesign"]

MAX_HYBRIDS: Final = 2**19  # evaluated together
WORTH_IT: Final = 0.7  # of the variances without a surrogate, that those with it have at most: what it leaves is rougher, and its errors known less well


@final
class ObservedDesign:
    """A design that grows, and outputs of the hybrids of rows that share it.

    Args:
        problem: with the rows. grid: evaluates its hybrids. rows: positions. own: positions of the players that differ. growing: makes the design.

    Attributes:
        rows: those that are not settled. design: so far.
    """

    def __init__(
        self, problem: GameProblem, grid: GameGrid, rows: Ints, own: Ints, growing: GrowingBlocks | GrowingChains
    ) -> None:
        self._problem, self._grid, self.rows, self.own = problem, grid, rows, own
        self._growing = growing
        outputs = problem.row_outputs.shape[1]
        self._keys = np.zeros(0, dtype=np.int64)
        self._present = np.empty((len(rows), 0, outputs))
        self._absent = np.empty((len(rows), 0, outputs))
        self.design: BlockDesign | ChainDesign = self._growing.design

    @property
    def evaluations(self) -> int:
        """Hybrids of a row so far."""
        return 2 * len(self._keys)

    def grow(self, limit: int) -> bool:
        """Enlarge the design to no more than `limit` hybrids a row; say whether there is anything to evaluate."""
        if self.evaluations:
            if not self._growing.grow(limit):
                return False
            self.design = self._growing.design
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
        new = np.flatnonzero(~known)
        place = (
            order[at] if len(order) else np.zeros(len(keys), dtype=np.int64)
        )  # among those so far, then the new ones
        place[new] = len(order) + np.arange(len(new))
        found = np.empty((len(self.rows), 2, len(new), self._present.shape[2]))
        step = max(1, MAX_HYBRIDS // max(2 * len(new), 1))
        for start in range(0, len(self.rows), step):
            some = slice(start, start + step)
            found[some] = self._outputs(self.rows[some], new, numbers)
        self._present = _with_entries(self._present, found[:, 0], place)
        self._absent = _with_entries(self._absent, found[:, 1], place)
        self._keys = keys

    def _outputs(self, rows: Ints, entries: Ints, numbers: HybridNumbers | None) -> Floats:
        """Outputs of some entries of some rows, (rows, 2, entries, outputs): of the coalitions and of their complements."""
        design = self.design
        pairs, which = np.unique(design.pair[entries], return_inverse=True)
        chosen = design.coalitions[pairs]
        patterns = [self._absent_columns(c) for c in np.concatenate([chosen, ~chosen])]
        of_pattern = np.concatenate([which.reshape(-1), which.reshape(-1) + len(pairs)])
        donor = np.tile(design.donor[entries], 2)
        outputs = self._grid.evaluate(rows, donor, of_pattern, patterns, what="coalitions")
        if numbers is not None:
            shape = outputs.shape[:2]
            row, each_donor, pattern = (
                np.broadcast_to(a, shape).reshape(-1) for a in (rows[:, None], donor, of_pattern)
            )
            numbers.add(row, each_donor, pattern, patterns, outputs.reshape(-1, outputs.shape[2]))
        return outputs.reshape(len(rows), 2, len(entries), -1)

    def _absent_columns(self, coalition: npt.NDArray[np.bool_]) -> tuple[int, ...]:
        return self._problem.players.columns_at(self.own[~coalition])

    @property
    def observed(self) -> ObservedPairs:
        """What was observed."""
        problem = self._problem
        return ObservedPairs(
            self._present,
            self._absent,
            problem.row_outputs[self.rows],
            donor_outputs(problem, self.rows),
            problem.background.weights,
            problem.noise_variance,
        )

    def solve(self, control: FittedControl | None) -> GameValues:
        """Return values and variances of the rows, with the help of a surrogate where it makes the variances smaller; the spread is NaN there."""
        observed = self.observed
        plain = self._solve(observed)
        if control is None:
            return plain
        fitted = control.observed(self.rows, self.own, self.design)
        rest = self._solve(observed.less(fitted))
        known = control.values(self.rows)[:, self.own]
        better = (rest.variances.sum(axis=1) < WORTH_IT * plain.variances.sum(axis=1))[:, None]
        return GameValues(
            np.where(better, rest.values + known, plain.values),
            np.where(better, rest.variances, plain.variances),
            np.where(better, np.nan, plain.spread),
        )

    def _solve(self, observed: ObservedPairs) -> GameValues:
        if isinstance(self.design, ChainDesign):
            return solve_chains(self.design, observed)
        return solve_games(self.design, observed, self._problem.options.game_index)

    def keep(self, unsettled: npt.NDArray[np.bool_]) -> None:
        """Keep the rows that are not settled."""
        self.rows = self.rows[unsettled]
        self._present, self._absent = self._present[unsettled], self._absent[unsettled]

    def sampled_row(self, row: int) -> SampledRow:
        """Return what a row's values are estimated from, for spot checks.

        Args:
            row: position among the rows.
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
            isinstance(d, ChainDesign),
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


def _with_entries(known: Floats, new: Floats, place: Ints) -> Floats:
    """Outputs of known and new entries, (rows, entries, outputs), in the order of their places."""
    every = np.concatenate([known, new], axis=1)
    return every if bool((place == np.arange(len(place))).all()) else np.take(every, place, axis=1)
