"""Shapley values of any model, or interactions of pairs, with a standard error each: coalitions over background rows, round by round, until errors are as small as asked.

All rows share designs; rows that are settled leave. Where rows are many enough, a surrogate of the model is fitted to the predictions, and takes out of the
estimate what it explains (fitted_control.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.workers import one_blas_thread
from whybox.data.table import Floats
from whybox.errors import Argument, InputError, LimitError, OptionError
from whybox.games.donor_blocks import MAX_PLAYERS, min_block_evaluations
from whybox.games.even_process import MAX_PLAYERS_OF_PAIRS
from whybox.games.solve import GameValues
from whybox.methods.common.columns import Ints
from whybox.methods.common.row_keys import row_keys
from whybox.methods.common.spot_checks import spot_rng
from whybox.methods.common.surrogates.folds import folds_of_rows
from whybox.methods.common.surrogates.store import mixed, number_words
from whybox.methods.shap.constant_sums import values_of_constant_sum
from whybox.methods.shap.differing_players import columns_that_may_be_read
from whybox.methods.shap.fitted_control import FOLDS, MIN_HYBRIDS, MIN_ROWS, FittedControl, HybridNumbers
from whybox.methods.shap.game_answer import GameAnswer, SampledHybrids, SampledRow
from whybox.methods.shap.game_budget import WORTHS_KEPT, is_sum_over_columns
from whybox.methods.shap.game_hybrids import GameGrid, donor_outputs, known_outputs, largest_output
from whybox.methods.shap.game_problem import GameProblem, even_shares
from whybox.methods.shap.options import ShapOptions
from whybox.methods.shap.row_group import RowGroup
from whybox.numerics.rounding import rounding_floor
from whybox.numerics.statistics import critical_value

__all__ = ["DEFAULT_TOL", "check_sampling", "least_evaluations", "sample_games"]

DEFAULT_TOL: Final = 0.02
ROWS_KEPT: Final = 8  # rows with all outputs, for spot checks
REFIT_GROWTH: Final = 4.0  # of the hybrids, for another fit
MAX_FITS: Final = 3
MAX_ROWS_FITTED: Final = (
    256  # for which a surrogate is fitted unasked: its values take some 10 ms a row, whatever the model takes
)
MAX_SPARSE_COLUMNS_FITTED: Final = 512  # the same, of a sparse matrix: hybrids are kept with all their cells
MIN_OUTPUT: Final = 1e-140  # of the largest: squares of a millionth of it are still numbers
MAX_OUTPUT: Final = 1e152
_STREAM: Final = 0x5A3D


def check_sampling(options: ShapOptions) -> None:
    """Refuse what has no estimate.

    Raises:
        OptionError: pairwise interactions of an index that is not symmetric, or with a surrogate.
    """
    if options.order == 2 and options.surrogate:
        raise OptionError(
            Argument("surrogate", True), " helps to estimate values of features, not interactions: leave it out with ", Argument("order", 2), ".",
        )  # fmt: skip
    index = options.game_index
    if options.order == 2 and not index.symmetric:
        raise OptionError(
            Argument("index", index.name), " weighs coalitions and their complements differently, and its interactions have no estimate with errors here; take "
            "'shapley' or 'banzhaf', or raise ", Argument("max_evals"), " so that all coalitions can be evaluated.",
        )  # fmt: skip


def least_evaluations(players_that_differ: Ints, background_rows: int, options: ShapOptions) -> Ints:
    """Return the fewest predictions of each row, (n,).

    Raises:
        LimitError: too many players.
    """
    most = int(players_that_differ.max(initial=0))
    if most > MAX_PLAYERS_OF_PAIRS and (options.order == 2 or not options.game_index.symmetric):
        raise LimitError(
            f"{most:,} features of a row differ from the background; interactions, and values of {options.game_index.name}, of up to {MAX_PLAYERS_OF_PAIRS:,} are "
            "estimated together. Group columns with ", Argument("players", example="{...}"), ".",
        )  # fmt: skip
    if most > MAX_PLAYERS:
        raise LimitError(
            f"{most:,} features of a row differ from the background; Shapley values of up to {MAX_PLAYERS:,} are estimated together. Group columns with ",
            Argument("players", example="{...}"), ".",
        )  # fmt: skip
    each = {m: 0 if m < 2 else min_block_evaluations(m, background_rows) for m in set(players_that_differ.tolist())}
    return np.array([each[m] for m in players_that_differ.tolist()], dtype=np.int64)


def sample_games(problem: GameProblem, *, on_round: Callable[[GameAnswer], None] | None = None) -> GameAnswer:
    """Return estimated values with standard errors.

    Args:
        problem: of any order. on_round: is given the answer so far after each round but the last.

    Raises:
        LimitError: fewer predictions than an estimate takes. NonFiniteError: an output is NaN or infinite.
    """
    run = _Rounds(problem)
    while run.next_round():
        if on_round is not None and run.is_unsettled:
            on_round(run.answer())
    run.find_spread()
    return run.answer()


@final
@dataclass(eq=False)
class _State:
    """What is known so far.

    Attributes:
        values, variances: (n, players, outputs), of order 2 (n, players, players, outputs). spread: (n, players, outputs), of players' values over background rows.
        settled: (n,), whether a row is. evals: (n,), predictions of each row.
    """

    values: Floats
    variances: Floats
    spread: Floats
    settled: npt.NDArray[np.bool_]
    evals: Ints


@final
class _Rounds:
    """The rounds of one call."""

    def __init__(self, problem: GameProblem) -> None:
        self._problem, options = problem, problem.options
        n, players = problem.differs.shape
        outputs = problem.row_outputs.shape[1]
        self._order = options.order
        shape = (n, *(players,) * self._order, outputs)
        self._state = _State(
            np.zeros(shape),
            np.zeros(shape),
            np.zeros((n, players, outputs)),
            np.zeros(n, dtype=bool),
            np.zeros(n, dtype=np.int64),
        )
        self._spent_before = problem.evaluator.spent
        self._tol = DEFAULT_TOL if options.tol is None else options.tol
        self._critical = critical_value(options.level)
        _refuse_sizes(problem)
        self._rounding = rounding_floor(known_outputs(problem))
        self._settle_small_games()
        keys = row_keys(problem.rows, columns_that_may_be_read(problem.model))
        if problem.by_row is not None:  # of equal rows, those with another truth or offset have other games
            for words in number_words(problem.by_row.keys.astype(np.float64)).T:
                keys = mixed(keys ^ mixed(words))
        unsettled = ~self._state.settled
        different = len(np.unique(keys[unsettled]))
        self._is_too_many = different > MAX_ROWS_FITTED
        self._is_too_wide = problem.rows.is_matrix and problem.rows.width > MAX_SPARSE_COLUMNS_FITTED
        too_large = self._is_too_many or self._is_too_wide or is_sum_over_columns(problem.model)
        self._numbers: HybridNumbers | None = None
        folds = np.zeros(n, dtype=np.int64)
        wanted = (
            problem.by_row is None
            and self._order == 1
            and (not too_large if options.surrogate is None else options.surrogate)
        )
        if different >= MIN_ROWS and wanted:
            numbers = HybridNumbers(problem)
            folds = folds_of_rows(numbers.cells.rows, FOLDS, options.seed)
            self._numbers = numbers if len(np.unique(folds[unsettled])) > 1 else None
        self._groups = self._make_groups(keys, folds)
        self._all_groups = list(self._groups)
        self._control: FittedControl | None = None
        self._fits = 0
        some = spot_rng(options.seed, _STREAM).permutation(np.flatnonzero(unsettled))[:ROWS_KEPT]
        self._watched = set() if options.spot_checks == 0 else set(some.tolist())
        self._sampled_rows: dict[int, SampledRow] = {}
        self._kept: list[tuple[int, npt.NDArray[np.bool_], int, Floats]] = []

    @property
    def is_unsettled(self) -> bool:
        """Whether some row is not settled."""
        return bool(self._groups)

    def _settle_small_games(self) -> None:
        """Rows of which no player differs, or one: that one adds all."""
        problem, state = self._problem, self._state
        counts = problem.differs.sum(axis=1)
        weights = problem.background.weights
        left = max(1.0 - float((weights**2).sum()), 1e-12)
        for row in np.flatnonzero(counts == 1).tolist():
            player = int(problem.differs[row].argmax())
            outputs, base = donor_outputs(problem, np.array([row]))[0], problem.base[row]
            own = (row, *(player,) * self._order)
            state.values[own] = problem.row_outputs[row] - base
            state.spread[row, player] = weights @ (outputs - base) ** 2 / left
            if problem.noise_variance is not None:
                state.variances[own] = problem.noise_variance * (2.0 - left)
        state.settled[counts <= 1] = True

    def _make_groups(self, keys: npt.NDArray[np.uint64], folds: Ints) -> list[RowGroup]:
        """Rows with the same players, sorted by their cells: so nothing depends on the order of rows.

        Each fold has designs of its own: a surrogate leaves less of hybrids whose donors and coalitions it was fitted to, in whatever rows, than of others, and
        errors would be too small.
        """
        problem, state = self._problem, self._state
        rows = np.flatnonzero(~state.settled)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        if not len(rows):
            return []
        kinds, kind = np.unique(np.column_stack([folds[rows], problem.differs[rows]]), axis=0, return_inverse=True)
        least = least_evaluations(problem.differs.sum(axis=1), len(problem.background), problem.options)[rows]
        more = (problem.budget - int(least.sum())) // len(rows)
        seed = problem.options.seed % 2**63
        grid = GameGrid(problem)
        return [
            RowGroup(
                problem,
                grid,
                rows[kind.reshape(-1) == k],
                int(least[kind.reshape(-1) == k][0]) + more,
                np.random.default_rng([seed, _STREAM + int(kinds[k, 0]), *np.flatnonzero(kinds[k, 1:]).tolist()]),
            )
            for k in range(len(kinds))
        ]

    def next_round(self) -> bool:
        """Evaluate more of the rows that are not settled, and solve their games; say whether anything was evaluated."""
        problem = self._problem
        left = problem.budget - (problem.evaluator.spent - self._spent_before)
        growing: list[RowGroup] = []
        # those for which more was of no use may have use for all that the others leave
        for groups in ([g for g in self._groups if g.may_grow], self._groups):
            rows = sum(len(g.rows) for g in groups)
            growing = [g for g in groups if g.grow(g.evaluations + left // max(rows, 1))]
            if growing:
                break
        else:
            return False
        for group in growing:
            before = problem.evaluator.spent
            group.evaluate(self._numbers)
            spent = problem.evaluator.spent - before
            self._state.evals[group.rows] += even_shares(spent, len(group.rows))
        self._fit()
        with one_blas_thread():  # matrices are small, and the last bits depend on the number of threads
            for group in self._groups if self._control is not None else growing:
                self._solve(group)
        self._groups = [g for g in self._groups if len(g.rows)]
        return True

    def _fit(self) -> None:
        """Fit surrogates to what was evaluated, where that is enough and not much less than at the last fit."""
        numbers = self._numbers
        if numbers is None or self._fits >= MAX_FITS:
            return
        if len(numbers.store) < MIN_HYBRIDS or (
            self._control is not None and len(numbers.store) < REFIT_GROWTH * self._control.fitted_to
        ):
            return
        self._control = FittedControl(numbers)
        self._fits += 1

    def _solve(self, group: RowGroup) -> None:
        """Take over the values of a group's rows; rows that are settled leave it."""
        state, found = self._state, group.solve(self._control)
        at, of_values = np.ix_(group.rows, group.own), np.ix_(group.rows, *(group.own,) * self._order)
        state.values[of_values], state.variances[of_values] = found.values, found.variances
        state.spread[at] = found.spread
        self._keep_examples(group)
        for position, row in enumerate(group.rows.tolist()):
            if row in self._watched:
                self._sampled_rows[row] = group.sampled_row(position)
        settled = self._is_settled(found)
        state.settled[group.rows] = settled
        group.keep(~settled)

    def _is_settled(self, found: GameValues) -> npt.NDArray[np.bool_]:
        """Whether errors are as small as asked, or the largest values are certain, (rows,)."""
        size, error = np.abs(found.values), np.sqrt(found.variances)
        if self._order == 2:  # each pair once
            once = np.triu_indices(size.shape[1])
            size, error = size[:, *once], error[:, *once]
        largest = size.max(axis=(1, 2))
        allowed = np.maximum(self._tol * largest[:, None], self._rounding)
        settled = (error.max(axis=1) <= allowed).all(axis=1)
        top = self._problem.options.top
        if top is None or top >= size.shape[1]:
            return np.asarray(settled)
        order = np.argsort(-size, axis=1)
        low = np.take_along_axis(size - self._critical * error, order, axis=1)[:, :top].min(axis=1)
        high = np.take_along_axis(size + self._critical * error, order, axis=1)[:, top:].max(axis=1)
        return np.asarray(settled | (low > high).all(axis=1))

    def _keep_examples(self, group: RowGroup) -> None:
        """Keep some hybrids with their outputs, for spot checks."""
        options = self._problem.options
        if options.spot_checks == 0 or len(self._kept) >= WORTHS_KEPT // 2:
            return
        draw = spot_rng(options.seed, _STREAM, len(self._kept))
        for _ in range(min(16, WORTHS_KEPT // 2 - len(self._kept))):
            row, entry = int(draw.integers(len(group.rows))), int(draw.integers(group.evaluations))
            coalition, donor, outputs = group.example(row, entry)
            self._kept.append((int(group.rows[row]), coalition, donor, outputs))

    def find_spread(self) -> None:
        """Find the spread over background rows where a surrogate gave the values: of the surrogate, whose values are known for each background row."""
        spread = self._state.spread
        rows = np.flatnonzero(np.isnan(spread).any(axis=(1, 2)))
        if self._control is not None and len(rows):
            found = np.where(self._problem.differs[rows][:, :, None], self._control.spread(rows), 0.0)
            spread[rows] = np.where(np.isnan(spread[rows]), found, spread[rows])

    def answer(self) -> GameAnswer:
        """Return what is known so far."""
        problem, state = self._problem, self._state
        squares = float((problem.background.weights**2).sum())  # 1 where there is one background row
        error = np.sqrt(state.spread * squares) if squares < 1 else np.full_like(state.spread, np.nan)
        values = state.values.copy()
        if self._all_groups and all(group.has_constant_sum for group in self._all_groups):
            own, shape = problem.differs, (len(values), -1, values.shape[-1])
            if self._order == 2:
                own = (own[:, :, None] & own[:, None, :]).reshape(len(own), -1)
            efficient = problem.options.game_index.efficient
            of_variances = state.variances.reshape(shape)
            values = values_of_constant_sum(values.reshape(shape), of_variances, own, efficient=efficient).reshape(
                values.shape
            )
        return GameAnswer(
            values=values,
            std_error=np.sqrt(state.variances),
            converged=state.settled.copy(),
            model_evals=state.evals.copy(),
            background_error=error,
            kernel=self._kernel(),
            notes=self._notes(),
            hybrids=self._hybrids(),
            sampled_rows=tuple(self._sampled_rows.values()),
        )

    def _kernel(self) -> str:
        if not self._all_groups:
            return "no more than one player differs"
        return max(self._all_groups, key=lambda group: group.evaluations).kernel

    def _notes(self) -> tuple[str, ...]:
        if self._problem.by_row is not None:
            return (self._problem.by_row.no_surrogate,)
        if self._order == 2 and self._all_groups:
            return ("No surrogate was fitted: interactions are estimated from the predictions alone.",)
        unasked = self._problem.options.surrogate is None and not self._state.settled.all()
        if unasked and (self._is_too_many or self._is_too_wide):
            rows = f"rows are more than {MAX_ROWS_FITTED}; it takes some time for each row"
            columns = f"sparse columns are more than {MAX_SPARSE_COLUMNS_FITTED}; it takes memory for all of them"
            return (
                f"No surrogate was fitted, as {rows if self._is_too_many else columns}, and lowers errors: surrogate=True.",
            )
        if self._control is None:
            few = f"No surrogate was fitted: it needs predictions of other rows, {MIN_ROWS} different ones or more that are not settled."
            return (few,) if self._problem.options.surrogate else ()
        left = float(np.max(self._control.left_share))
        note = (
            f"A surrogate ({self._control.family}), fitted to predictions of the other rows, leaves {left:.1%} of their variance; what is estimated is the "
            "model less the share of it that makes the errors smallest. So values change, within their errors, with the rows that share the call."
        )
        return (note,)

    def _hybrids(self) -> SampledHybrids | None:
        if not self._kept:
            return None
        kept, options = list(self._kept), self._problem.options
        for k, row in enumerate(self._sampled_rows.values()):
            wanted = (WORTHS_KEPT - len(kept)) // (len(self._sampled_rows) - k)
            kept += row.examples(~self._problem.differs[row.row], wanted, spot_rng(options.seed, _STREAM, 0, k))
        rows, coalitions, donors, outputs = zip(*kept, strict=True)
        return SampledHybrids(np.array(rows), np.array(donors), np.array(coalitions), np.array(outputs))


def _refuse_sizes(problem: GameProblem) -> None:
    """Refuse outputs whose squares vanish or overflow: their errors could not be told.

    Raises:
        InputError: they do.
    """
    largest = largest_output(problem)
    if largest and not MIN_OUTPUT < largest < MAX_OUTPUT:
        raise InputError(
            f"the model's outputs are as {'small' if largest < 1 else 'large'} as {largest:.2g}, and their squares are no numbers, so an estimate would have no error. "
            "Explain a function that returns them on another scale."
        )
