"""Rows with the same players that differ: they share designs, and with them the work of solving their games."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.chains import FIRST_CHAINS, GrowingChains, fits_chains
from whybox.games.donor_blocks import GrowingBlocks, is_whole
from whybox.games.solve import GameValues
from whybox.methods.common.columns import Ints
from whybox.methods.shap.fitted_control import FittedControl, HybridNumbers
from whybox.methods.shap.game_answer import SampledRow
from whybox.methods.shap.game_hybrids import GameGrid
from whybox.methods.shap.game_problem import GameProblem
from whybox.methods.shap.observed_design import ObservedDesign

__all__ = ["RowGroup"]

PILOT_SHARE: Final = 4  # of a row's predictions one in so many, at most, shows how small the errors of chains are
EVALUATIONS_BEFORE_PILOT: Final = 2_048  # of a row, by the process over coalitions
MIN_LIMIT_OF_PILOT: Final = 2 * EVALUATIONS_BEFORE_PILOT
SWITCH_FOR: Final = 0.25  # of the precision so far: what the other design must promise beyond that of the last


@final
class RowGroup:
    """Rows whose games have the same players, and what was observed of them so far.

    A process over coalitions is first. Where predictions suffice for a trial of chains, these are tried too, and what promises the smaller error at the end
    goes on; both are joined by their variances.

    Args:
        problem: with the rows. grid: evaluates its hybrids. rows: positions. limit: predictions of a row at most, which say how its designs begin.
        draw: random numbers.

    Attributes:
        rows: those that are not settled. own: (players,), positions of the players that differ. may_grow: whether more predictions were of use when last asked.
    """

    def __init__(self, problem: GameProblem, grid: GameGrid, rows: Ints, limit: int, draw: np.random.Generator) -> None:
        self._problem, self._grid = problem, grid
        self.own = np.flatnonzero(problem.differs[rows[0]])
        players, weights = len(self.own), problem.background.weights
        for_process, self._draw = draw.spawn(2)
        blocks = GrowingBlocks(players, weights, limit, for_process)
        self._designs = [ObservedDesign(problem, grid, rows, self.own, blocks)]
        self._may_try_chains = (
            problem.options.game_index.efficient
            and problem.options.order == 1  # chains show no interactions
            and limit >= max(MIN_LIMIT_OF_PILOT, PILOT_SHARE * 2 * (players - 1) * FIRST_CHAINS)
            and fits_chains(players, limit)
            and not is_whole(players, weights, limit)
        )
        self._chosen = self._designs[0]
        self._is_decided = False
        self.may_grow = True

    @property
    def rows(self) -> Ints:
        """Positions of the rows that are not settled."""
        return self._designs[0].rows

    @property
    def evaluations(self) -> int:
        """Hybrids of a row so far."""
        return sum(design.evaluations for design in self._designs)

    @property
    def has_constant_sum(self) -> bool:
        """Whether outputs of all that was evaluated add up to the same number."""
        return all(design.constant_sum is not None for design in self._designs)

    @property
    def kernel(self) -> str:
        """How values are computed, in words."""
        return "; ".join(design.design.kernel for design in self._designs)

    def grow(self, limit: int) -> bool:
        """Enlarge a design so that there are no more than `limit` hybrids a row; say whether there is anything to evaluate."""
        self.may_grow = self._grow(limit)
        return self.may_grow

    def _grow(self, limit: int) -> bool:
        if self._may_try_chains:
            if self._chosen.grow(min(limit, EVALUATIONS_BEFORE_PILOT)):
                return True
            self._may_try_chains = False
            players, weights = len(self.own), self._problem.background.weights
            chains = GrowingChains(players, weights, self._draw)
            if self.evaluations + chains.design.evaluations <= limit:
                self._chosen = ObservedDesign(self._problem, self._grid, self.rows, self.own, chains)
                self._designs.append(self._chosen)
                return self._chosen.grow(limit)
        for design in self._by_promise(limit):
            self._chosen = design
            if design.grow(limit - (self.evaluations - design.evaluations)):
                return True
        return False

    def _by_promise(self, limit: int) -> list[ObservedDesign]:
        """The designs, first the one that promises the smaller error if it alone goes on until `limit`; the one that went on last stays unless it is clearly worse."""
        if len(self._designs) == 1:
            return self._designs
        now = [design.precision_at(design.evaluations) for design in self._designs]
        gains = [
            (design.precision_at(limit - (self.evaluations - design.evaluations)) - before)
            for design, before in zip(self._designs, now, strict=True)
        ]
        last = self._designs.index(self._chosen)
        if self._is_decided:
            gains[last] += SWITCH_FOR * sum(now)
        self._is_decided = True
        best = int(np.argmax(gains))
        return [self._designs[best], self._designs[1 - best]]

    def evaluate(self, numbers: HybridNumbers | None) -> None:
        """Evaluate what the designs have beyond what is known.

        Args:
            numbers: is given the hybrids, for surrogates.

        Raises:
            LimitError: more predictions than allowed. NonFiniteError: an output is NaN or infinite.
        """
        self._chosen.evaluate(numbers)

    def solve(self, control: FittedControl | None) -> GameValues:
        """Return values and variances of the rows, with the help of a surrogate where it makes the variances smaller; the spread is NaN there."""
        found = [design.solve(control) for design in self._designs]
        if len(found) == 1:
            return found[0]
        one, other = found
        v, w = one.variances.sum(axis=1)[:, None], other.variances.sum(axis=1)[:, None]
        known = v + w > 0
        share = np.where(known, w / np.where(known, v + w, 1.0), 0.5)  # of the first
        return GameValues(
            share * one.values + (1 - share) * other.values,
            share**2 * one.variances + (1 - share) ** 2 * other.variances,
            np.where(share >= 0.5, one.spread, other.spread),
        )

    def keep(self, unsettled: npt.NDArray[np.bool_]) -> None:
        """Keep the rows that are not settled."""
        for design in self._designs:
            design.keep(unsettled)

    def sampled_row(self, row: int) -> SampledRow:
        """Return what a row's values are estimated from, for spot checks.

        Args:
            row: position among the rows of the group.
        """
        return max(self._designs, key=lambda design: design.evaluations).sampled_row(row)

    def example(self, row: int, entry: int) -> tuple[npt.NDArray[np.bool_], int, Floats]:
        """Return a coalition of all players, its donor and the outputs of the hybrid, (outputs,), for spot checks.

        Args:
            row: position among the rows of the group. entry: of as many as there are evaluations.
        """
        for design in self._designs:
            if entry < design.evaluations:
                return design.example(row, entry)
            entry -= design.evaluations
        raise IndexError(entry)
