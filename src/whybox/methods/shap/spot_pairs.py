"""Estimated interactions of pairs, computed again from the same outputs by ways that need no process.

Where every coalition was evaluated over the same donors, they follow from a sum over all of them. Else, of the Shapley interaction index, they are the least squares
of the means of pairs of coalitions on which two players are on the same side. Coalitions of a single player are held exactly, other sizes s have the weight
1 / C(players - 4, s - 2), which over all coalitions gives the index exactly (Fumagalli et al. 2024, KernelSHAP-IQ, arXiv:2405.10852). Standard errors are those
of residuals, as of values (spot_sampled.py), and of donors within blocks. Where coalitions are too few for that, only what all interactions of a player add up to
is known: twice the mean of all players and none, less twice that of the player alone and all others.
"""

from __future__ import annotations

from functools import partial
from math import comb
from typing import Final, NamedTuple

import numpy as np

from whybox.data.table import Floats
from whybox.games.indices import Index
from whybox.methods.common.columns import Ints
from whybox.methods.common.spot_checks import SpotChecker
from whybox.methods.common.spot_rows import PositionLabel, output_label
from whybox.methods.shap.game_answer import GameAnswer, SampledRow
from whybox.methods.shap.game_hybrids import donor_outputs
from whybox.methods.shap.game_problem import GameProblem
from whybox.methods.shap.spot_sampled import (
    ERRORS,
    MAX_LEVERAGE,
    ROUNDING,
    entry_shares,
    gaps_of_donors,
    has_all_coalitions,
    regressed_mean,
    weight_of_others,
)

__all__ = ["check_interactions"]

HELD: Final = 1e6  # weight of coalitions of a single player, over the largest other
MIN_SPARE: Final = 4  # coalitions more than unknowns


class _Means(NamedTuple):
    """Means of pairs of coalitions less that of all players and none, (pairs,), and how each entry deviates from it, (entries,)."""

    means: Floats
    deviations: Floats


def check_interactions(problem: GameProblem, answer: GameAnswer, checker: SpotChecker) -> None:
    """Compute the interactions of some rows of an estimate again, from the outputs that they were estimated from.

    Raises:
        SpotCheckError: an interaction differs, or a sum of them.
    """
    index = problem.options.game_index
    if answer.std_error is None:
        return
    for row in answer.sampled_rows:
        first, second = np.triu_indices(len(row.own), 1)
        every = has_all_coalitions(row)
        if not every and not index.efficient:
            continue
        for k in range(row.present.shape[1]):
            seen = _means(problem, row, k)
            ours, of_answer = (
                2.0 * a[row.row][np.ix_(row.own, row.own)][first, second, k] for a in (answer.values, answer.std_error)
            )
            way = "by a sum over all coalitions" if every else "by a regression on who is on the same side"
            found = (
                _from_all_coalitions(problem, row, k, index, seen) if every else _by_least_squares(problem, row, seen)
            )
            size = max(np.abs(row.present[:, k]).max(), np.abs(row.absent[:, k]).max())
            rounding = ROUNDING * 2.0 * len(row.own) * size + 1e-300
            label = partial(_label, problem, row, k)
            if found is None:
                way, found = "from coalitions of single features", _sums(problem, row, seen)
                member = (first == np.arange(len(row.own))[:, None]) | (second == np.arange(len(row.own))[:, None])
                ours, of_answer = member @ ours, np.sqrt(member @ of_answer**2)
            else:
                label = partial(_label_of_pair, label, first, second)
            checker.compare(
                ours,
                found[0],
                ERRORS * np.hypot(found[1], of_answer) + rounding,
                way=f"from the same outputs, {way}",
                where=label,
                accurate=False,
            )


def _label(problem: GameProblem, row: SampledRow, k: int, at: tuple[int, ...]) -> PositionLabel:
    features: PositionLabel = [("feature", problem.players.names[row.own[j]]) for j in at]
    return [("row", row.row), *features, *output_label(problem.selection, k)]


def _label_of_pair(label: partial[PositionLabel], first: Ints, second: Ints, at: tuple[int, ...]) -> PositionLabel:
    return label((int(first[at[0]]), int(second[at[0]])))


def _means(problem: GameProblem, row: SampledRow, k: int) -> _Means:
    none = donor_outputs(problem, np.array([row.row]), row.donor)[0, :, k] + problem.row_outputs[row.row, k]
    entries = (row.present[:, k] + row.absent[:, k] - none) / 2.0
    means = np.asarray(np.bincount(row.pair, entry_shares(problem, row) * entries), dtype=np.float64)
    return _Means(means, entries - means[row.pair])


def _from_all_coalitions(
    problem: GameProblem, row: SampledRow, k: int, index: Index, seen: _Means
) -> tuple[Floats, Floats]:
    """Interactions and standard errors, (pairs of players,) each, from every coalition over the same donors."""
    pairs, players = row.coalitions.shape
    first, second = np.triu_indices(players, 1)
    together = row.coalitions[:, first] == row.coalitions[:, second]
    others = row.coalitions.sum(axis=1)[:, None] - row.coalitions[:, first] - row.coalitions[:, second]
    weight = np.array(
        [weight_of_others(index, s, players - 2 - s) for s in range(players - 1)]
    )  # of others who are present
    slopes = 2.0 * np.where(together, 1.0, -1.0) * weight[others]
    donors = len(row.donor) // pairs
    _, gaps = gaps_of_donors(problem, row, k)
    if not row.with_replacement and donors == len(gaps):
        return seen.means @ slopes, np.zeros(len(first))
    of_donors = slopes.T @ (seen.deviations.reshape(pairs, donors) + seen.means[:, None])
    return regressed_mean(of_donors, gaps[row.donor[:donors]], float(np.abs(row.present[:, k]).max()), 0.0)


def _by_least_squares(problem: GameProblem, row: SampledRow, seen: _Means) -> tuple[Floats, Floats] | None:
    """Interactions and standard errors, (pairs of players,) each; None where coalitions are too few."""
    pairs, players = row.coalitions.shape
    first, second = np.triu_indices(players, 1)
    size = np.minimum(row.coalitions.sum(axis=1), (~row.coalitions).sum(axis=1))
    single = size == 1
    unknowns = len(first) - int(single.sum())
    if pairs - int(single.sum()) < unknowns + MIN_SPARE:
        return None
    # of two players on different sides an interaction takes half of itself from the mean
    design = np.where(row.coalitions[:, first] != row.coalitions[:, second], -0.5, 0.0)
    # a pair that was drawn stands for all of its size; where both sides have as many players, for half of them
    of_size = [
        comb(players, s) / comb(max(players - 4, 0), max(s - 2, 0)) / (2 - (2 * s < players)) for s in size.tolist()
    ]
    weight = np.array(of_size) / np.bincount(size)[size]
    weight[single] = HELD * weight.max()
    root = np.sqrt(weight)[:, None]
    if np.linalg.matrix_rank(design) < len(first):
        return None
    slopes = np.linalg.pinv(design * root) * root.T  # (pairs of players, pairs)
    found = slopes @ seen.means
    residual = np.where(single, 0.0, seen.means - design @ found)
    leverage = np.minimum((design * slopes.T).sum(axis=1), MAX_LEVERAGE)
    freedom = max(pairs - len(first), 1)
    error = np.maximum(np.abs(residual) / (1.0 - leverage), np.sqrt((residual**2).sum() / freedom))
    error[single] = 0.0
    return found, np.sqrt(slopes**2 @ error**2 + _of_donors(problem, row, seen, slopes))


def _sums(problem: GameProblem, row: SampledRow, seen: _Means) -> tuple[Floats, Floats]:
    """What all interactions of each player add up to, and its standard errors, (players,) each; infinite where it is not known."""
    players = row.coalitions.shape[1]
    alone = np.eye(players, dtype=bool)
    slopes = np.zeros((players, len(row.coalitions)))
    for player in range(players):
        here = (row.coalitions == alone[player]).all(axis=1) | (row.coalitions != alone[player]).all(axis=1)
        slopes[player, np.flatnonzero(here)] = -2.0
    error = np.sqrt(_of_donors(problem, row, seen, slopes))
    return slopes @ seen.means, np.where(slopes.any(axis=1), error, np.inf)


def _of_donors(problem: GameProblem, row: SampledRow, seen: _Means, slopes: Floats) -> Floats:
    """Variances over donors of a linear map of the means, from blocks of pairs with the same donors; zero of all donors."""
    out = np.zeros(len(slopes))
    if not row.with_replacement and bool((np.bincount(row.pair) == len(problem.background)).all()):
        return out
    blocks: dict[bytes, list[int]] = {}
    for pair, donors in enumerate(row.donors_of_pairs):
        blocks.setdefault(donors, []).append(pair)
    for pairs in blocks.values():
        here = np.array([seen.deviations[row.pair == pair] for pair in pairs])  # (pairs, donors)
        count = here.shape[1]
        out += ((slopes[:, pairs] @ here) ** 2).sum(axis=1) / (count * max(count - 1, 1))
    return out
