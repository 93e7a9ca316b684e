"""Permutation importance of any model, by predictions: every row gets the values of other rows, spread evenly over the player's own order.

A round gives every row a donor, and every row serves once as a donor (in proportion to its weight). Rows stand on a circle in the order of the player's values;
in round t of K row i gets the value at place u_i + t/K, u a random permutation of the places. So after K rounds a row has seen K equally spaced quantiles of
the player. The mean over them has 2.6 to 6.4 times less variance than that of as many shuffles. K rounds with one u are a block; blocks are independent, and
the spread of their means tells the Monte-Carlo error.

Of few rows, where as many predictions as there are pairs are allowed, all pairs are taken, and the result is exact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, LimitError
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.pairs_of_rows import EXACT_NOTE, increase_units, u_statistic
from whybox.methods.importance.result import PlayerValues
from whybox.methods.importance.spot_checks import PermutationChecks

__all__ = ["DEFAULT_PREDICTIONS_A_ROW", "sampled_pairs"]

Ints = npt.NDArray[np.int64]
DEFAULT_PREDICTIONS_A_ROW: Final = 200  # of all players together
DEFAULT_TOL: Final = 0.02  # Monte-Carlo error, as a share of the largest value
MAX_BLOCK: Final = 8  # rounds of a block
BLOCKS: Final = 4  # from whose spread the Monte-Carlo error is taken; that of fewer tells little
ROUNDING: Final = 1e-9  # of the mean loss; a Monte-Carlo error below that is none
KERNEL_ALL: Final = "every row with a player's values from every other row"
KERNEL: Final = "rows with a player's values from other rows, spread evenly over them"


@final
class _PlayerSums:
    """What the rounds of one player found.

    Attributes:
        round_means: the mean difference of each round.
    """

    def __init__(self, rows: int) -> None:
        self._differences: list[Floats] = []
        self._donors: list[Ints] = []
        self.round_means: list[float] = []
        self._rows = rows

    def add(self, differences: Floats, donors: Ints, weights: Floats) -> None:
        """Add a round: the loss of each row with its donor's values less its loss as it is, and its donor, (rows,) each."""
        self._differences.append(differences)
        self._donors.append(donors)
        self.round_means.append(float(weights @ differences))

    @property
    def mean(self) -> float:
        """The mean difference of all rounds."""
        return float(np.mean(self.round_means))

    def monte_carlo_error(self, block: int) -> float:
        """Standard error of :attr:`mean` for these rows, from the spread of blocks; of few blocks from that of rounds, which is too large rather than too small."""
        means = np.array(self.round_means)
        if len(means) >= BLOCKS * block:
            means = means.reshape(-1, block).mean(axis=1)
        return float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else float("nan")

    def pair_sums(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return estimates of the sums over pairs, of rows and of donors, (rows,) each; see `PairDifferences`.

        A donor's part is the mean of what its values did to the rows it served, each less what its donors do to that row on the average: which rows it happened to serve
        would else count as its own doing.
        """
        of_row = np.mean(self._differences, axis=0)
        served, total = np.zeros((2, self._rows))
        for differences, donors in zip(self._differences, self._donors, strict=True):
            served += np.bincount(donors, weights, minlength=self._rows)
            total += np.bincount(donors, weights * (differences - of_row), minlength=self._rows)
        of_donor = float(weights @ of_row) + np.divide(total, served, out=np.zeros(self._rows), where=served > 0)
        return of_row, of_donor


@final
class _Donors:
    """Donors of one player, round by round.

    Args:
        problem: with its rows. player: which one. rng: draws the places of the rows.
    """

    def __init__(self, problem: LossProblem, player: int, rng: np.random.Generator) -> None:
        rows, weights = problem.resolved.rows, problem.weights
        kept = np.flatnonzero(weights > 0)
        codes = [rows.feature(p).codes[kept] for p in problem.players.members[player]]
        self._order = kept[np.lexsort((rng.random(len(kept)), *codes[::-1]))]
        self._upper = np.cumsum(weights[self._order])
        self._weights, self._kept, self._rng = weights, kept, rng
        self.new_block()

    def new_block(self) -> None:
        """Draw the places of the rows anew."""
        order = self._rng.permutation(self._kept)
        upper = np.cumsum(self._weights[order])
        self._place = np.zeros(len(self._weights))
        self._place[order] = upper - self._weights[order] * self._rng.random()

    def of_round(self, share: float) -> Ints:
        """Return the donor of each row, (rows,), for a shift by a share of the circle."""
        place = (self._place + share) % 1.0
        at = np.searchsorted(self._upper, place, side="right").clip(0, len(self._order) - 1)
        return np.asarray(self._order[at], dtype=np.int64)


def sampled_pairs(problem: LossProblem, reason: str) -> PlayerValues:
    """Return estimates over pairs of rows, from blocks of rounds until the Monte-Carlo error is small, or as many as are allowed.

    Args:
        problem: of any model. reason: why the values are not exact, for the notes.

    Raises:
        LimitError: `max_evals` does not allow one round. Others as for `HybridEvaluator`.
    """
    weights, options = problem.weights, problem.options
    most = _allowed_rounds(problem)
    block = most // -(-most // MAX_BLOCK)
    evaluator = HybridEvaluator(problem.model, problem.selection, reserved=problem.checked)
    problem.resolved.repeat_check.check_before()
    own = evaluator.evaluate_rows(problem.table, np.arange(len(problem)), what="predictions of the rows")
    baseline = problem.losses(own)
    if most >= len(problem) - 1:
        return _all_pairs(problem, evaluator, own, baseline)
    checks = PermutationChecks(problem, float(len(problem) * problem.players.count * most))
    rng = np.random.default_rng([options.seed % 2**63, _STREAM])
    donors = [_Donors(problem, player, rng) for player in range(problem.players.count)]
    sums = [_PlayerSums(len(problem)) for _ in donors]
    tol, converged = DEFAULT_TOL if options.tol is None else options.tol, False
    for turn in range(most // block):
        for player, circle in enumerate(donors):
            if turn:
                circle.new_block()
            for k in range(block):
                chosen = circle.of_round(k / block)
                outputs = _evaluate(problem, evaluator, player, chosen, own)
                checks.observe_donors(player, chosen, outputs)
                sums[player].add(problem.losses(outputs) - baseline, chosen, weights)
        if max(s.monte_carlo_error(block) for s in sums) <= max(
            tol * max(abs(s.mean) for s in sums), ROUNDING * abs(float(weights @ baseline))
        ):
            converged = True
            break
    problem.resolved.repeat_check.check_after()
    found = _as_values(problem, sums, block, converged, evaluator.spent, float(weights @ baseline), reason)
    nothing = np.zeros((len(problem), problem.players.count))
    return replace(found, spot_checks=checks.check(nothing, nothing))


_STREAM: Final = 0x1E47


def _all_pairs(problem: LossProblem, evaluator: HybridEvaluator, own: Floats, baseline: Floats) -> PlayerValues:
    """Return the values over all pairs of two different rows: row i with the values of row i + k, for every k."""
    count, weights, rows = len(problem), problem.weights, np.arange(len(problem))
    of_row, of_donor = np.zeros((2, count, problem.players.count))
    checks = PermutationChecks(problem, float(count * count * problem.players.count))
    for player in range(problem.players.count):
        for k in range(1, count):
            donors = (rows + k) % count
            outputs = _evaluate(problem, evaluator, player, donors, own)
            if k == 1 + player % (count - 1):
                checks.observe_donors(player, donors, outputs)
            differences = problem.losses(outputs) - baseline
            of_row[:, player] += weights[donors] * differences
            of_donor[donors, player] += weights * differences
    problem.resolved.repeat_check.check_after()
    values, influence = u_statistic(weights, of_row, of_donor)
    return PlayerValues(
        values=values,
        influence=influence,
        units=increase_units(problem),
        kernel=KERNEL_ALL,
        exact=True,
        predictions=evaluator.spent,
        baseline_loss=float(weights @ baseline),
        notes=(EXACT_NOTE,),
        spot_checks=checks.check(of_row, of_donor),
    )


def _allowed_rounds(problem: LossProblem) -> int:
    """How many rounds of all players are allowed, one at least.

    Raises:
        LimitError: `max_evals` does not allow one.
    """
    count, limit = len(problem), problem.options.max_evals
    a_round = count * problem.players.count
    if limit is None:
        return max(1, DEFAULT_PREDICTIONS_A_ROW // problem.players.count)
    if limit < problem.checked + count + a_round:
        raise LimitError(
            f"one round of all players takes {problem.checked + count + a_round:,} predictions of single rows. Pass fewer rows, join players, or raise ",
            Argument("max_evals", limit), ".",
        )  # fmt: skip
    return (limit - problem.checked - count) // a_round


def _evaluate(problem: LossProblem, evaluator: HybridEvaluator, player: int, donors: Ints, own: Floats) -> Floats:
    rows, pattern = np.arange(len(problem)), np.zeros(len(problem), dtype=np.int64)
    members = (tuple(problem.players.members[player]),)
    name = problem.players.names[player]
    which, outputs = evaluator.evaluate_hybrids(
        problem.table, problem.table, rows, donors, pattern, members, row_outputs=own, donor_outputs=own, what=f"{name} permuted"
    )  # fmt: skip
    return np.asarray(outputs[which])


def _as_values(  # what the rounds found
    problem: LossProblem,
    sums: list[_PlayerSums],
    block: int,
    converged: bool,
    predictions: int,
    baseline: float,
    reason: str,
) -> PlayerValues:
    pairs = [s.pair_sums(problem.weights) for s in sums]
    values, influence = u_statistic(problem.weights, *(np.column_stack([p[k] for p in pairs]) for k in (0, 1)))
    errors = np.array([s.monte_carlo_error(block) for s in sums])
    rounds = len(sums[0].round_means)
    notes = [
        f"Estimated from {rounds} rounds of donors, because {reason}; brought to pairs of two different rows (the U-statistic)."
    ]
    if not converged:
        notes.append(
            f"NOT CONVERGED: the largest Monte-Carlo error is {errors.max():.2g}, and the largest value {np.abs(values).max():.2g}; raise max_evals."
        )
    return PlayerValues(
        values=values,
        influence=influence,
        units=increase_units(problem),
        kernel=KERNEL,
        exact=False,
        predictions=predictions,
        baseline_loss=baseline,
        notes=tuple(notes),
        extras={"converged": ((), np.array(converged)), "monte_carlo_error": (("feature",), errors)},
    )
