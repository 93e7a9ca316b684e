"""One design of coalitions over background rows, and what the model's outputs for it are, of rows that share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.chains import ChainDesign, GrowingChains, solve_chains
from whybox.games.donor_blocks import BlockDesign, GrowingBlocks
from whybox.games.solve import GameValues, ObservedPairs, solve_games
from whybox.games.solve_asymmetric import solve_asymmetric
from whybox.games.solve_pairs import solve_pairs
from whybox.games.surrogate_share import solve_with_surrogate
from whybox.methods.common.columns import Ints
from whybox.methods.shap.constant_sums import constant_sum, keeps_sum
from whybox.methods.shap.fitted_control import FittedControl, HybridNumbers
from whybox.methods.shap.game_answer import SampledRow
from whybox.methods.shap.game_hybrids import GameGrid, donor_outputs, known_outputs
from whybox.methods.shap.game_problem import GameProblem

__all__ = ["ObservedDesign"]

MAX_HYBRIDS: Final = 2**19  # evaluated together


@final
class ObservedDesign:
    """A design that grows, and outputs of the hybrids of rows that share it.

    Args:
        problem: with the rows. grid: evaluates its hybrids. rows: positions. own: positions of the players that differ. growing: makes the design.

    Attributes:
        rows: those that are not settled. design: so far. constant_sum: of outputs, where all that was evaluated has it.
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
        self._fitted: _FittedOutputs | None = None
        self._solved: tuple[FittedControl | None, int, GameValues] | None = None  # of what is known so far
        self.design: BlockDesign | ChainDesign = self._growing.design
        self.constant_sum = constant_sum(known_outputs(problem))  # of the outputs of every row; None: there is none

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
        return self.design.evaluations > 0

    def evaluate(self, numbers: HybridNumbers | None) -> None:
        """Evaluate what the design has beyond what is known.

        Args:
            numbers: is given the hybrids, for surrogates.

        Raises:
            LimitError: more predictions than allowed. NonFiniteError: an output is NaN or infinite.
        """
        self._solved, design = None, self.design
        keys = design.pair * design.n_donors + design.donor
        place, new = _places(self._keys, keys)
        found = np.empty((len(self.rows), 2, len(new), self._present.shape[2]))
        step = max(1, MAX_HYBRIDS // max(2 * len(new), 1))
        for start in range(0, len(self.rows), step):
            some = slice(start, start + step)
            found[some] = self._outputs(self.rows[some], new, numbers)
        if self.constant_sum is not None and not keeps_sum(found, self.constant_sum):
            self.constant_sum = None
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
        return outputs.reshape(len(rows), 2, len(entries), self._present.shape[2])

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
        """Return values and variances of the rows, less as much of a surrogate as makes the variances smallest; the spread is NaN where that is most of it."""
        if self._solved is None or self._solved[0] is not control or self._solved[1] != self.evaluations:
            observed = self.observed
            found = self._solve(observed)
            if control is not None:
                fitted, known = self._fitted_outputs(control), control.values(self.rows)[:, self.own]
                found = solve_with_surrogate(self._solve, observed, fitted, known, found)
            self._solved = (control, self.evaluations, found)
        return self._solved[2]

    def precision_at(self, evaluations: int) -> float:
        """Return one over the variance, added up over players and outputs, that can be expected of so many hybrids a row.

        It falls as one over their number; that of chains faster, as more donors are used.
        """
        if self._solved is None:
            return 0.0
        found = self._solved[2]
        variance = float(found.variances.sum(axis=(1, 2)).mean())
        if isinstance(self.design, ChainDesign) and found.with_all_donors is not None:
            now = self.design.share_of_donors
            then = min(1.0, now * evaluations / self.evaluations)
            with_all = float(found.with_all_donors.sum(axis=(1, 2)).mean())
            variance += (with_all - variance) * (then - now) / max(1.0 - now, np.finfo(float).eps)
        return evaluations / self.evaluations / max(variance, np.finfo(float).tiny)

    def _fitted_outputs(self, control: FittedControl) -> ObservedPairs:
        """What the surrogates say of everything that was observed; what they said before is kept."""
        before = self._fitted
        if before is None or before.control is not control:
            before = _FittedOutputs(control, self._keys[:0], self._present[:, :0], self._absent[:, :0])
        place, new = _places(before.keys, self._keys)
        found = control.outputs(self.rows, self.own, self.design, new)
        present, absent = (
            _with_entries(known, more, place)
            for known, more in ((before.present, found[:, 0]), (before.absent, found[:, 1]))
        )
        self._fitted = _FittedOutputs(control, self._keys, present, absent)
        return ObservedPairs(present, absent, *control.ends(self.rows), self._problem.background.weights)

    def _solve(self, observed: ObservedPairs) -> GameValues:
        if isinstance(self.design, ChainDesign):
            return solve_chains(self.design, observed)
        options = self._problem.options
        solve = solve_pairs if options.order == 2 else solve_games if options.game_index.symmetric else solve_asymmetric
        return solve(self.design, observed, options.game_index)

    def keep(self, unsettled: npt.NDArray[np.bool_]) -> None:
        """Keep the rows that are not settled."""
        self.rows = self.rows[unsettled]
        self._present, self._absent = self._present[unsettled], self._absent[unsettled]
        if self._fitted is not None:
            f = self._fitted
            self._fitted = _FittedOutputs(f.control, f.keys, f.present[unsettled], f.absent[unsettled])
        if self._solved is not None:
            control, evaluations, found = self._solved
            self._solved = (control, evaluations, found.of_games(unsettled))

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


@final
@dataclass(frozen=True, eq=False)
class _FittedOutputs:
    """What surrogates say of entries: their keys, and outputs (rows, entries, outputs) of coalitions and of complements."""

    control: FittedControl
    keys: Ints
    present: Floats
    absent: Floats


def _places(known: Ints, keys: Ints) -> tuple[Ints, Ints]:
    """Where each key is among those known, then those that are not, (keys,); and the positions of these."""
    if not len(known):
        return np.arange(len(keys)), np.arange(len(keys))
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known, keys, sorter=order), len(order) - 1)
    place = order[at]
    new = np.flatnonzero(known[place] != keys)
    place[new] = len(known) + np.arange(len(new))
    return place, new


def _with_entries(known: Floats, new: Floats, place: Ints) -> Floats:
    """Outputs of known and new entries, (rows, entries, outputs), in the order of their places."""
    every = np.concatenate([known, new], axis=1)
    return every if bool((place == np.arange(len(place))).all()) else np.take(every, place, axis=1)
