"""Estimated values of games, computed again from the same outputs by ways that need no process and no surrogate.

Where every coalition was evaluated over the same donors, values follow from a sum over all of them, exactly for all donors, else with the standard error of a
mean over donors. Of chains they are the mean of what a player adds where it joins. Else they are the least squares of half the differences of pairs on who is
present, each size with its share of Shapley's kernel, with what all players add held exactly (Lundberg & Lee 2017, arXiv:1705.07874; Covert & Lee 2021,
arXiv:2012.01536, section 4.2), with the standard errors of residuals, each over one less its leverage (MacKinnon & White 1985,
doi:10.1016/0304-4076(85)90158-7). Of order 2 these are the values that interactions and main effects add up to; interactions have ways of their own
(spot_pairs.py). These errors are larger than those of the answer: what is found are values that are wrong altogether, not in their last digits.
"""

from __future__ import annotations

from functools import partial
from math import exp, lgamma
from typing import Final

import numpy as np

from whybox.data.table import Floats
from whybox.games.indices import Index
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.common.spot_rows import PositionLabel, output_label
from whybox.methods.shap.game_answer import GameAnswer, SampledRow
from whybox.methods.shap.game_hybrids import donor_outputs
from whybox.methods.shap.game_problem import GameProblem

__all__ = [
    "ERRORS",
    "MAX_LEVERAGE",
    "ROUNDING",
    "check_values",
    "entry_shares",
    "gaps_of_donors",
    "has_all_coalitions",
    "regressed_mean",
    "weight_of_others",
]

ERRORS: Final = 6.0  # standard errors that a value may be off
ROUNDING: Final = 1e-9
MAX_LEVERAGE: Final = 0.95
MIN_REGRESSED: Final = 8  # donors
REPEATED: Final = 1.2  # times a standard error of chains: some donors have two


def check_values(problem: GameProblem, answer: GameAnswer, checker: SpotChecker) -> None:
    """Compute the values of some rows of an estimate again, from the outputs that they were estimated from.

    Raises:
        SpotCheckError: a value differs.
    """
    index = problem.options.game_index
    if answer.std_error is None:
        return
    for row in answer.sampled_rows:
        of_all = has_all_coalitions(row)
        if not of_all and not index.efficient:
            continue
        for k in range(row.present.shape[1]):
            if row.is_of_chains:
                way = "by what features add where they join"
                found, error = _from_chains(problem, row, k)
            elif of_all:
                way = "by a sum over all coalitions"
                found, error = _from_all_pairs(problem, row, k, index)
            else:
                way = "by a regression on who is present"
                found, error = _by_least_squares(problem, row, k)
            size = max(np.abs(row.present[:, k]).max(), np.abs(row.absent[:, k]).max(), np.abs(found).max())
            values, of_answer = (array[row.row][row.own, ..., k] for array in (answer.values, answer.std_error))
            if problem.options.order == 2:  # a main effect has the error of its value, and more
                values, of_answer = values.sum(axis=1), of_answer[np.arange(len(row.own)), row.own]
            allowed = ERRORS * np.hypot(error, of_answer)
            checker.compare(
                values,
                found,
                allowed + ROUNDING * len(row.own) * size + 1e-300,
                way=f"from the same outputs, {way}",
                where=partial(_label_of_value, problem, row, k),
                accurate=False,
            )


def has_all_coalitions(row: SampledRow) -> bool:
    """Whether every coalition of a row was evaluated over the same donors."""
    every = len(row.coalitions) == 2 ** (len(row.own) - 1) - 1
    return not row.is_of_chains and every and len(set(row.donors_of_pairs)) == 1


def _label_of_value(problem: GameProblem, row: SampledRow, k: int, at: tuple[int, ...]) -> PositionLabel:
    feature = problem.players.names[row.own[at[0]]]
    return [("row", row.row), ("feature", feature), *output_label(problem.selection, k)]


def gaps_of_donors(problem: GameProblem, row: SampledRow, k: int) -> tuple[float, Floats]:
    """What all players add, and for each donor how far what they add to its game is from that, (donors,)."""
    adds = problem.row_outputs[row.row, k] - donor_outputs(problem, np.array([row.row]))[0, :, k]
    total = float(problem.background.weights @ adds)
    return total, np.asarray(adds - total)


def entry_shares(problem: GameProblem, row: SampledRow) -> Floats:
    """How much each entry counts in the mean of its pair, (entries,)."""
    share = np.ones(len(row.donor)) if row.with_replacement else problem.background.weights[row.donor]
    return np.asarray(share / np.bincount(row.pair, share)[row.pair])


def _from_all_pairs(problem: GameProblem, row: SampledRow, k: int, index: Index) -> tuple[Floats, Floats]:
    """Values and standard errors, (players,) each, from every coalition over the same donors."""
    players, pairs = row.coalitions.shape[1], len(row.coalitions)
    _, gaps = gaps_of_donors(problem, row, k)
    donors = len(row.donor) // pairs
    of_donors = np.zeros((players, donors))
    for coalitions, outputs in ((row.coalitions, row.present), (~row.coalitions, row.absent)):
        slopes = np.empty(coalitions.shape)
        for at, coalition in enumerate(coalitions):
            others = int(coalition.sum()) - coalition  # of each player
            weight = np.array([weight_of_others(index, s, players - 1 - s) for s in others.tolist()])
            slopes[at] = np.where(coalition, weight, -weight)
        of_donors += slopes.T @ outputs[:, k].reshape(pairs, donors)
    known = problem.row_outputs[row.row, k] * weight_of_others(index, players - 1, 0)
    known -= float(problem.base[row.row, k]) * weight_of_others(index, 0, players - 1)
    if not row.with_replacement and donors == len(gaps):
        return of_donors @ entry_shares(problem, row)[:donors] + known, np.zeros(players)
    values, error = regressed_mean(of_donors, gaps[row.donor[:donors]], float(np.abs(row.present[:, k]).max()), 0.0)
    return values + known, error


def regressed_mean(of_draws: Floats, gap: Floats, size: float, slope_of_few: float) -> tuple[Floats, Floats]:
    """The mean over draws of donors of values (players, draws), regressed on their gaps, of which the mean over all donors is 0; and its standard errors."""
    players, draws = of_draws.shape
    slope = np.full(players, slope_of_few)
    if draws >= MIN_REGRESSED and np.ptp(gap) > ROUNDING * size:
        slope = of_draws @ (gap - gap.mean()) / ((gap - gap.mean()) ** 2).sum()
    rest = of_draws - slope[:, None] * gap
    return rest.mean(axis=1), rest.std(axis=1) / np.sqrt(max(draws - 2, 1))


def _from_chains(problem: GameProblem, row: SampledRow, k: int) -> tuple[Floats, Floats]:
    """Values and standard errors, (players,) each, from what each player adds in each chain."""
    players = row.coalitions.shape[1]
    steps = players - 1
    total, gaps = gaps_of_donors(problem, row, k)
    of_chain = gaps[row.donor[::steps]]
    added = np.empty((players, len(of_chain)))
    for chain, gap in enumerate(of_chain):
        here = slice(chain * steps, (chain + 1) * steps)
        ends = (total + gap) / 2.0
        path = [-ends, *((row.present[here, k] - row.absent[here, k]) / 2.0), ends]
        joins = steps - row.coalitions[here].sum(axis=0)  # who is in all of them joins first
        for player in range(players):
            added[player, chain] = path[joins[player] + 1] - path[joins[player]]
    values, error = regressed_mean(added, of_chain, float(np.abs(row.present[:, k]).max()), 1.0 / players)
    return values, error * REPEATED  # some donors have two chains


def weight_of_others(index: Index, present: int, absent: int) -> float:
    """The probability that exactly these others are present, of which there are so many, E[p^present (1 - p)^absent]."""
    if index.point is not None:
        return float(index.point**present * (1.0 - index.point) ** absent)
    a, b = index.beta, index.alpha  # p follows Beta(a, b)
    return exp(lgamma(a + present) + lgamma(b + absent) + lgamma(a + b) - lgamma(a) - lgamma(b) - lgamma(a + b + present + absent))  # fmt: skip


def _by_least_squares(problem: GameProblem, row: SampledRow, k: int) -> tuple[Floats, Floats]:
    """Values and standard errors, (players,) each, by a regression on who is present."""
    total, _ = gaps_of_donors(problem, row, k)
    signs = np.where(row.coalitions, 1.0, -1.0)
    players = signs.shape[1]
    halves = np.bincount(row.pair, entry_shares(problem, row) * (row.present[:, k] - row.absent[:, k]) / 2.0)
    # values are total / players + contrasts @ u: the columns of contrasts add up to nothing
    contrasts = np.linalg.svd(np.ones((1, players)))[2][1:].T
    design = signs @ contrasts / 2.0
    target = halves - signs.sum(axis=1) * total / players / 2.0
    size = np.minimum(row.coalitions.sum(axis=1), (~row.coalitions).sum(axis=1))
    weight = 1.0 / (size * (players - size) * np.bincount(size)[size])
    weight *= np.where(2 * size == players, 1.0, 2.0)  # sizes and those of their complements
    inverse = np.linalg.pinv(design * np.sqrt(weight)[:, None]) * np.sqrt(weight)
    u = inverse @ target
    residual = target - design @ u
    leverage = np.minimum((design * inverse.T).sum(axis=1), MAX_LEVERAGE)
    freedom = max(len(target) - players + 1, 1)
    error = np.maximum(np.abs(residual) / (1.0 - leverage), np.sqrt((residual**2).sum() / freedom))
    slopes = contrasts @ inverse
    return total / players + contrasts @ u, np.sqrt(slopes**2 @ error**2)
