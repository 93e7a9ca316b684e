"""A surrogate as a control variate: its values are exact over the whole background, and the estimate is of what it leaves.

The surrogate of a row is fitted to hybrids of other rows, so that, given the surrogate, what it leaves of the row is a game like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.chains import ChainDesign
from whybox.games.donor_blocks import BlockDesign
from whybox.methods.common.columns import Ints, category_positions
from whybox.methods.common.surrogates.cells import cell_numbers
from whybox.methods.common.surrogates.folds import SurrogateFolds, fit_folds
from whybox.methods.common.surrogates.store import HybridStore
from whybox.methods.shap.differing_players import columns_that_may_be_read
from whybox.methods.shap.game_problem import GameProblem

__all__ = ["FOLDS", "MIN_HYBRIDS", "MIN_ROWS", "FittedControl", "HybridNumbers"]

MIN_ROWS: Final = 8  # different ones
MIN_HYBRIDS: Final = 2_000
FOLDS: Final = 3
MAX_HYBRIDS_AT_A_TIME: Final = 2**17
MAX_BLOCKS: Final = 32  # of background rows, whose means show the spread over these
_STREAM: Final = 0xB10C


@final
class HybridNumbers:
    """Collects the hybrids that were evaluated, as numbers.

    Args:
        problem: with rows and background.
    """

    def __init__(self, problem: GameProblem) -> None:
        self.problem = problem
        categories = category_positions(problem.model, problem.background.table)
        self.cells = cell_numbers(problem.rows, problem.background.table, categories)
        # hybrids keep what the model does not read, so a surrogate must not read it either
        unread = sorted(set(range(problem.rows.width)) - columns_that_may_be_read(problem.model))
        self.cells.rows[:, unread] = self.cells.background[:, unread] = 0.0
        self.store = HybridStore(problem.rows.width, problem.row_outputs.shape[1])

    def add(self, row: Ints, donor: Ints, pattern: Ints, patterns: Sequence[Sequence[int]], outputs: Floats) -> None:
        """Add hybrids: `row` with the columns of its pattern taken from `donor`, and their outputs (hybrids, outputs)."""
        taken = self.taken(patterns)
        for start in range(0, len(row), MAX_HYBRIDS_AT_A_TIME):
            some = slice(start, start + MAX_HYBRIDS_AT_A_TIME)
            cells = self.cells.hybrids(row[some], donor[some], taken[pattern[some]])
            self.store.append(cells, outputs[some], row[some])

    def taken(self, patterns: Sequence[Sequence[int]]) -> npt.NDArray[np.bool_]:
        """Return which columns each pattern takes from the donor, (patterns, columns)."""
        out = np.zeros((len(patterns), self.problem.rows.width), dtype=bool)
        for k, columns in enumerate(patterns):
            out[k, list(columns)] = True
        return out


@final
class FittedControl:
    """Surrogates of the folds of rows, and their exact values.

    Args:
        numbers: hybrids so far.

    Attributes:
        left_share: (outputs,), the share of the variance that they leave of rows that they were not fitted to.
    """

    def __init__(self, numbers: HybridNumbers) -> None:
        self._numbers, problem = numbers, numbers.problem
        self._problem = problem
        self.fitted_to = len(numbers.store)
        self._folds: SurrogateFolds = fit_folds(
            numbers.store, numbers.cells.rows, numbers.cells.categorical, folds=FOLDS, seed=problem.options.seed
        )
        self._values: dict[int, Floats] = {}
        columns = np.zeros(problem.rows.width, dtype=np.int32)
        for player, members in enumerate(problem.players.members):
            columns[list(members)] = player
        self._of_column = columns

    @property
    def left_share(self) -> Floats:
        """The share of the variance that surrogates leave of rows that they were not fitted to, (outputs,)."""
        return self._folds.left_share

    @property
    def family(self) -> str:
        """Which kind of surrogate, in words."""
        return self._folds.family

    def values(self, rows: Ints) -> Floats:
        """Return the exact values of the surrogates, (rows, players, outputs)."""
        missing = np.array([r for r in rows.tolist() if r not in self._values], dtype=np.int64)
        if len(missing):
            found = self._values_over(missing, np.arange(len(self._problem.background)))
            self._values.update(zip(missing.tolist(), found, strict=True))
        return np.array([self._values[r] for r in rows.tolist()])

    def spread(self, rows: Ints) -> Floats:
        """Return the variance over background rows of the surrogates' values, (rows, players, outputs), from the means of some blocks of these."""
        weights = self._problem.background.weights
        order = np.random.default_rng([self._problem.options.seed % 2**63, _STREAM]).permutation(len(weights))
        blocks = np.array_split(order, min(MAX_BLOCKS, len(weights)))
        if len(blocks) < 2:
            return np.full((len(rows), self._problem.players.count, self._problem.row_outputs.shape[1]), np.nan)
        means = np.array([self._values_over(rows, block) for block in blocks])
        sizes = np.array([weights[block].sum() ** 2 / (weights[block] ** 2).sum() for block in blocks])  # effective
        deviations = means - np.average(means, axis=0, weights=sizes)
        return np.asarray(np.tensordot(sizes, deviations**2, axes=1) / (len(blocks) - 1))

    def _values_over(self, rows: Ints, background: Ints) -> Floats:
        """Exact values of rows over some background rows alone."""
        problem, cells = self._problem, self._numbers.cells
        weights = problem.background.weights[background]
        return self._folds_of(rows).shapley_values(
            cells.rows[rows],
            cells.background[background],
            weights / weights.sum(),
            self._of_column,
            problem.players.count,
            problem.options.game_index,
        )

    def _folds_of(self, rows: Ints) -> SurrogateFolds:
        f = self._folds
        return SurrogateFolds(
            f.fold_of_row[rows], f.surrogates, f.left_share, f.left_share_of_folds, f.family, f.fitted
        )

    def outputs(self, rows: Ints, own: Ints, design: BlockDesign | ChainDesign, entries: Ints) -> Floats:
        """Return what the surrogates say of some entries of a design, (rows, 2, entries, outputs): of the coalitions and of their complements.

        Args:
            own: players of the design, positions among all. entries: positions.
        """
        problem, cells = self._problem, self._numbers.cells
        outputs = problem.row_outputs.shape[1]
        chosen = design.coalitions
        taken = np.zeros((2, len(chosen), problem.rows.width), dtype=bool)
        for position, player in enumerate(own.tolist()):
            for column in problem.players.members[player]:
                taken[0, :, column], taken[1, :, column] = ~chosen[:, position], chosen[:, position]
        donor, pair = design.donor[entries], design.pair[entries]
        both = np.empty((len(rows), 2, len(entries), outputs))
        for r, row in enumerate(rows.tolist()):
            surrogate = self._folds.surrogate(row)
            which = np.full(len(entries), row)
            for k in range(2):
                both[r, k] = surrogate.predict(cells.hybrids(which, donor, taken[k, pair]))
        return both

    def ends(self, rows: Ints) -> tuple[Floats, Floats]:
        """Return what the surrogates say of rows, (rows, outputs), and of background rows, (rows, donors, outputs)."""
        cells = self._numbers.cells
        of_fold = [s.predict(cells.background) for s in self._folds.surrogates]
        of_donors = np.array([of_fold[f] for f in self._folds.fold_of_row[rows]])
        return self._folds.predict(rows, cells.rows[rows]), of_donors
