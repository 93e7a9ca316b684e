"""Permutation importance of any model, by predictions: every row gets the values of other rows, spread evenly over the player's own order.

A round gives every row a donor, and every row serves once as a donor (in proportion to its weight). Rows stand on a circle in the order of the player's values;
in round t of K row i gets the value at place u_i + t/K, u a random permutation of the places. So after K rounds a row has seen K equally spaced quantiles of
the player. The mean over them has two to six times less variance than that of as many shuffles (benchmarks/importance.md). K rounds with one u are a block;
blocks are independent, and the spread of their means tells the Monte-Carlo error.

Of few rows, where as many predictions as there are pairs are allowed, all pairs are taken, and the result is exact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.importance.donor_rounds import DonorRounds, donors_in_order, run_rounds
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.prediction_budget import allowed_rounds
from whybox.methods.importance.result import PlayerValues, exact_pair_values, pair_values
from whybox.methods.importance.spot_checks import PermutationChecks

__all__ = ["planned_rounds", "sampled_pairs"]

KERNEL_ALL: Final = "every row with a player's values from every other row"
KERNEL: Final = "rows with a player's values from other rows, spread evenly over them"


@final
class _PlayerSums:
    """What the rounds of one player found, row by row."""

    def __init__(self, rows: int) -> None:
        self._differences: list[Floats] = []
        self._donors: list[Ints] = []
        self._rows = rows

    def add(self, differences: Floats, donors: Ints) -> None:
        """Add a round: the loss of each row with its donor's values less its loss as it is, and its donor, (rows,) each."""
        self._differences.append(differences)
        self._donors.append(donors)

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


def sampled_pairs(problem: LossProblem, reason: str) -> PlayerValues:
    """Return estimates over pairs of rows, from blocks of rounds until the Monte-Carlo error is small, or as many as are allowed.

    Args:
        problem: of any model. reason: why the values are not exact, for the notes.

    Raises:
        LimitError: `max_evals` does not allow one round. Others as for `HybridEvaluator`.
    """
    weights, options = problem.weights, problem.options
    rounds = planned_rounds(problem)
    evaluator = HybridEvaluator(problem.model, problem.evaluated)
    problem.repeat_check.check_before()
    own = evaluator.evaluate_rows(problem.table, np.arange(len(problem)), what="predictions of the rows")
    baseline = problem.losses(own)
    checks = PermutationChecks(problem, float(len(problem) * problem.players.count * rounds))
    if rounds >= len(problem) - 1:
        return _all_pairs(problem, evaluator, own, baseline, checks)
    rng = np.random.default_rng([options.seed % 2**63, _STREAM])
    kept = np.flatnonzero(weights > 0)
    donors = [donors_in_order(problem, kept, members, weights, rng) for members in problem.players.members]
    sums = [_PlayerSums(len(problem)) for _ in donors]

    def evaluate(player: int, chosen: Ints) -> float:
        outputs = _evaluate(problem, evaluator, player, chosen, own)
        checks.observe_donors(player, chosen, outputs)
        differences = problem.losses(outputs) - baseline
        sums[player].add(differences, chosen)
        return float(weights @ differences)

    found = run_rounds(problem, donors, rounds, evaluate, float(weights @ baseline))
    problem.repeat_check.check_after()
    checks.check_predictions()
    return _as_values(
        problem, sums, found, reason, baseline=baseline, predictions=evaluator.spent, spot_checks=checks.result
    )


def planned_rounds(problem: LossProblem) -> int:
    """Return how many rounds are made at most; as many as there are other rows: all pairs are taken.

    Raises:
        LimitError: `max_evals` does not allow one.
    """
    return min(allowed_rounds(problem, "round"), len(problem) - 1)


_STREAM: Final = 0x1E47


def _all_pairs(
    problem: LossProblem, evaluator: HybridEvaluator, own: Floats, baseline: Floats, checks: PermutationChecks
) -> PlayerValues:
    """Return the values over all pairs of two different rows: row i with the values of row i + k, for every k."""
    count, weights, rows = len(problem), problem.weights, np.arange(len(problem))
    of_row, of_donor = np.zeros((2, count, problem.players.count))
    for player in range(problem.players.count):
        for k in range(1, count):
            donors = (rows + k) % count
            outputs = _evaluate(problem, evaluator, player, donors, own)
            if k == 1 + player % (count - 1):
                checks.observe_donors(player, donors, outputs)
            differences = problem.losses(outputs) - baseline
            of_row[:, player] += weights[donors] * differences
            of_donor[donors, player] += weights * differences
    problem.repeat_check.check_after()
    checks.check_predictions()
    checks.check_sums(of_row, of_donor)
    return exact_pair_values(
        problem,
        of_row,
        of_donor,
        baseline=baseline,
        kernel=KERNEL_ALL,
        predictions=evaluator.spent,
        spot_checks=checks.result,
    )


def _evaluate(problem: LossProblem, evaluator: HybridEvaluator, player: int, donors: Ints, own: Floats) -> Floats:
    rows, pattern = np.arange(len(problem)), np.zeros(len(problem), dtype=np.int64)
    members = (tuple(problem.players.members[player]),)
    name = problem.players.names[player]
    which, outputs = evaluator.evaluate_hybrids(
        problem.table, problem.table, rows, donors, pattern, members, row_outputs=own, donor_outputs=own, what=f"{name} permuted"
    )  # fmt: skip
    return np.asarray(outputs[which])


def _as_values(
    problem: LossProblem, sums: list[_PlayerSums], rounds: DonorRounds, reason: str, **found: Any
) -> PlayerValues:
    """The estimates of the rounds, with their Monte-Carlo error; `found` are the other fields."""
    pairs = [s.pair_sums(problem.weights) for s in sums]
    of_row, of_donor = (np.column_stack([p[k] for p in pairs]) for k in (0, 1))
    estimated = f"Estimated from {rounds.means.shape[1]} rounds of donors, because {reason}; brought to pairs of two different rows (the U-statistic)."
    values = pair_values(
        problem,
        of_row,
        of_donor,
        kernel=KERNEL,
        exact=False,
        notes=(estimated,),
        extras={
            "converged": ((), np.array(rounds.converged)),
            "monte_carlo_error": (("feature",), rounds.errors),
        },
        **found,
    )
    return replace(values, notes=(*values.notes, *rounds.warning(values.values)))
