"""Interactions of pairs of players and main effects of many games from the worths of one design, with a standard error each.

Values of players follow from half the differences of pairs of coalitions (solve.py), interactions from their means (pair_process.py). The main effect of a player
is its value less half of all its interactions.

Where a pair's mean is over some of the donors, it has an error. How large, is seen within blocks: interactions are a linear map of the means, so what each donor
of a block adds to an interaction is known, and its spread over the donors of the block is the variance of the block's part (as of a mean in each stratum; Cochran
1977, Sampling Techniques, section 5.3). Few donors show it badly, so it is averaged with what it would be if donors' games were like the process. Donors of
different blocks are different, so where all blocks together are all donors some of the errors cancel: by how much, the process says too.
"""

from __future__ import annotations

from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.games.donor_blocks import BlockDesign
from whybox.games.exact import exact_values
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.indices import SHAPLEY, Index
from whybox.games.pair_process import PairProcess, PairSolution
from whybox.games.solve import (
    MAX_ENTRIES_AT_A_TIME,
    MIN_OWN_SHARE,
    DonorMean,
    GameValues,
    Ints,
    ObservedPairs,
    OneOutput,
    games_learnt_from,
    is_of_all_pairs,
    share_total,
)

__all__ = ["solve_pairs"]

PRIOR_FREEDOM: Final = 4.0  # degrees of freedom that the process has in the variance over donors
MIN_UNCANCELLED: Final = 0.1  # of the errors of blocks, at least, where donors are left


def solve_pairs(design: BlockDesign, observed: ObservedPairs, index: Index = SHAPLEY) -> GameValues:
    """Return each game's interactions, (games, players, players, outputs): half of each on either side of the diagonal, main effects on it.

    Args:
        design: that the games share. observed: their outputs. index: one that is symmetric: Shapley, Banzhaf at 1/2.

    Returns:
        values, and variances of the same shape; rows of values add up to the players' values, whose spread it has, (games, players, outputs).
    """
    games, players, outputs = len(observed.own), design.coalitions.shape[1], observed.own.shape[1]
    of_players = GameValues(*(np.empty((games, players, outputs)) for _ in range(3)))
    pairs, of_pairs = (np.empty((games, players * (players - 1) // 2, outputs)) for _ in range(2))
    main = np.empty((games, players, outputs))  # what variances of main effects have beside those of values
    processes = None
    if not is_of_all_pairs(design):
        processes = CoalitionProcess(design.coalitions, index), PairProcess(design.coalitions, index)
    total = observed.total
    for k in range(outputs):
        one = OneOutput(design, observed, total[:, k], k)
        if processes is None:
            of_players.values[:, :, k], of_players.variances[:, :, k] = one.of_all_pairs(index)
            found = _of_all_pairs(design, one, index)
            of_players.variances[:, :, k] = 0.0  # those of main effects are known as they are
        else:
            of_players.values[:, :, k], of_players.variances[:, :, k] = one.by_process(processes[0])
            found = _ByProcess(design, one, processes[1]).solve(processes[0])
        of_players.spread[:, :, k] = one.spread
        pairs[:, :, k], of_pairs[:, :, k], main[:, :, k] = found
    share_total(of_players, observed, total, efficient=index.efficient)
    return _matrices(of_players, pairs, of_pairs, main)


def _matrices(of_players: GameValues, pairs: Floats, of_pairs: Floats, main: Floats) -> GameValues:
    """Values and variances as matrices, from the interactions of pairs, their variances, and what those of main effects have beside those of values."""
    games, players, outputs = of_players.values.shape
    first, second = np.triu_indices(players, 1)
    values, variances = np.zeros((2, games, players, players, outputs))
    values[:, first, second] = values[:, second, first] = pairs / 2
    variances[:, first, second] = variances[:, second, first] = of_pairs / 4
    own = np.arange(players)
    values[:, own, own] = of_players.values - values.sum(axis=2)
    variances[:, own, own] = of_players.variances + main
    return GameValues(values, variances, of_players.spread)


def _of_all_pairs(design: BlockDesign, one: OneOutput, index: Index) -> tuple[Floats, Floats, Floats]:
    """Interactions and their variances, (games, pairs of players), and variances of main effects, (games, players): every coalition has the same donors.

    Those of each donor's own game follow, so variances are those of a mean over donors.
    """
    players, pairs = design.coalitions.shape[1], len(design.coalitions)
    first, second = np.triu_indices(players, 1)
    power = 1 << np.arange(players)
    at, others, here = design.coalitions @ power, ~design.coalitions @ power, np.arange(pairs)
    means, halves = np.zeros((2, 2**players, pairs))
    means[at, here] = means[others, here] = halves[at, here] = 1.0
    halves[others, here] = -1.0
    of_means = exact_values(means, index, 2)  # (players, players, pairs)
    of_main, of_halves = of_means.sum(axis=1) / 2, exact_values(halves, index)
    of_means = of_means[first, second]
    found, deviations = one.means_of(slice(None))
    values = found @ of_means.T
    # a mean is less that of all players and none, which is one of the outputs that have noise
    known = one.noise / 4 * (1 + float((one.weights**2).sum()))
    share = one.share[: int(design.counts[0])]
    noise = one.noise * (share**2).sum() / 2

    def of_noise(slopes: Floats) -> Floats:
        return np.asarray(noise * (slopes**2).sum(axis=1) + known * slopes.sum(axis=1) ** 2)

    of_pairs, main = of_noise(of_means), of_noise(of_main)
    if design.is_whole:
        return values, np.tile(of_pairs, (len(values), 1)), np.tile(main, (len(values), 1))
    shape = (len(values), pairs, -1)
    deviations = deviations.reshape(shape)
    deviations_of_pairs = np.einsum("ip,gpb->gib", of_means, deviations)
    of_donors = np.concatenate([
        np.einsum("ip,gpb->gib", of_halves, one.halves_of(slice(None))[1].reshape(shape)) - np.einsum("ip,gpb->gib", of_main, deviations),
        deviations_of_pairs,
    ], axis=1)  # fmt: skip
    every = np.concatenate([np.zeros((len(values), players)), values], axis=1)
    mean = DonorMean(share, one.gaps, one.gaps[:, design.donor[: len(share)]], one.weights, one.total)
    moved, variances = mean.estimate(every, of_donors)
    # as if one more donor had an interaction where none of these has: as large as that of others
    variances += ((deviations_of_pairs + values[:, :, None]) ** 2 @ share).max(axis=1)[:, None] / len(share)
    variances *= (1.0 if design.with_replacement else 1 - len(share) / design.n_donors) / len(share)
    return moved[:, players:], variances[:, players:] + of_pairs, variances[:, :players] + main


@final
class _ByProcess:
    """Interactions of one output of all games by a process that some of the games teach.

    Args:
        design: that the games share. one: the output, whose values are known. process: of interactions.
    """

    def __init__(self, design: BlockDesign, one: OneOutput, process: PairProcess) -> None:
        self._design, self._one, self._process = design, one, process
        counts = design.counts.astype(float)
        left = 0.0 if design.with_replacement else counts / design.n_donors
        self._part = np.maximum(1 - left, 0.0) / counts  # of the variance over donors that a mean has
        same = design.block[:, None] == design.block
        self._shared = np.where(same, 1 / counts[:, None], 0.0) - (
            0.0 if design.with_replacement else 1 / design.n_donors
        )
        self._same = np.where(same, self._part[:, None], 0.0)
        self._blocks: list[tuple[Ints, Ints]] = []  # pairs of coalitions, (pairs,), and their entries, (donors, pairs)
        for block in np.unique(design.block).tolist():
            pairs = np.flatnonzero(design.block == block)
            count = int(design.counts[pairs[0]])
            if count > 1:
                self._blocks.append((pairs, design.starts[pairs] + np.arange(count)[:, None]))
        noise = one.noise * np.append(1 / (2 * counts), (1 + float((one.weights**2).sum())) / 4)
        # what is taken from each output for its donor has noise too, which over all donors is that of all players and none
        noise[:-1] += 0.0 if design.is_whole else one.noise / (4 * counts)
        self._noise = noise

    def solve(self, of_players: CoalitionProcess) -> tuple[Floats, Floats, Floats]:
        """Return interactions and variances, (games, pairs of players), and what variances of main effects have beside those of values, (games, players)."""
        design, one = self._design, self._one
        chosen, players = games_learnt_from(len(one.total)), design.coalitions.shape[1]
        means, deviations = one.means_of(chosen)
        within = one.within(deviations**2)
        errors = within.mean(axis=1) * self._part[:, None] + self._noise[:-1, None]
        weights = of_players.interaction_weights(means.T, errors)
        kernel = self._process.kernel_of_donors(weights)
        spread = self._spread(deviations, kernel)
        solution = self._process.learn(_with_known(means), weights, self._errors(spread, kernel))
        games, size = len(one.total), len(solution.slopes)
        values, variances, both = np.empty((games, size)), np.empty((games, size)), np.zeros((games, players))
        largest = max((len(entries) for _, entries in self._blocks), default=1)
        step = max(1, 8 * MAX_ENTRIES_AT_A_TIME // max(len(design.pair), largest * size))
        for start in range(0, games, step):
            some = slice(start, start + step)
            means, deviations = one.means_of(some)
            values[some] = (solution.slopes @ _with_known(means)).T
            variances[some] = solution.variances(_with_known(means)).T + (solution.slopes**2 @ self._noise)
            if not design.is_whole:
                of_donors, both[some] = self._of_donors(some, deviations, kernel, solution)
                variances[some] += of_donors
        n = size - players
        # errors of values and of interactions are of the same donors; where they seem to cancel, that is not counted
        return values[:, :n], variances[:, :n], variances[:, n:] / 4 + np.maximum(-both, 0.0)

    def _spread(self, deviations: Floats, kernel: Floats) -> tuple[Floats, Floats]:
        """How much donors' games are like the process, and the variance of a pair's mean that is its own, (games,) each."""
        products, size = np.zeros(len(deviations)), 0.0
        within = self._one.within(deviations**2)
        for pairs, entries in self._blocks:
            here = deviations[:, entries]
            alike = kernel[np.ix_(pairs, pairs)]
            products += np.einsum("gbp,gbp->g", here @ alike, here) / (len(entries) - 1) - within[:, pairs] @ np.diag(
                alike
            )
            size += float((alike**2).sum() - (np.diag(alike) ** 2).sum())
        common = np.maximum(products, 0.0) / size if size > 0 else np.zeros(len(deviations))
        own = (within - common[:, None] * np.diag(kernel)).mean(axis=1)
        return common, np.maximum(own, MIN_OWN_SHARE * within.mean(axis=1))

    def _errors(self, spread: tuple[Floats, Floats], kernel: Floats) -> Floats:
        """Covariances of errors of the means, (games, pairs + 1, pairs + 1)."""
        n = len(kernel)
        out = np.zeros((len(spread[0]), n + 1, n + 1))
        for g, (common, own) in enumerate(zip(*spread, strict=True)):
            out[g, :n, :n] = common * kernel * self._shared + np.diag(own * self._part)
            out[g] += np.diag(self._noise)
        return out

    def _of_donors(
        self, games: slice, deviations: Floats, kernel: Floats, solution: PairSolution
    ) -> tuple[Floats, Floats]:
        """Variances of values from donors, (games, values), and covariances of players' values with the sums of their interactions, (games, players)."""
        design, one = self._design, self._one
        slopes, players = solution.slopes[:, :-1], design.coalitions.shape[1]
        of_values = one.solution.slopes[:, :-1]
        halves = one.halves_of(games)[1]
        variance, fourth = np.zeros((2, len(deviations), len(slopes)))
        both = np.zeros((len(deviations), players))
        for pairs, entries in self._blocks:
            freedom = len(entries) - 1
            part = float(self._part[pairs[0]]) / freedom
            each = deviations[:, entries] @ slopes[:, pairs].T  # (games, donors, values)
            block = part * (each**2).sum(axis=1)
            variance += block
            fourth += block**2 / freedom
            both += part * (each[:, :, -players:] * (halves[:, entries] @ of_values[:, pairs].T)).sum(axis=1)
        common, own = self._spread(deviations, kernel)

        def of_process(kept: Floats) -> Floats:
            alike = ((slopes @ (kernel * kept)) * slopes).sum(axis=1)
            return np.asarray(np.outer(common, alike) + np.outer(own, slopes**2 @ self._part))

        tiny = np.finfo(float).tiny
        within = np.maximum(of_process(self._same), tiny)
        freedom = variance**2 / np.maximum(fourth, tiny)
        freedom_of_all = freedom + PRIOR_FREEDOM
        pooled = (freedom * variance + PRIOR_FREEDOM * within) / freedom_of_all
        uncancelled = np.clip(of_process(self._shared) / within, MIN_UNCANCELLED, 1.0)
        wider = (1 + 1.2 / freedom_of_all) ** 2  # Student's t over a normal
        return pooled * uncancelled * wider, both


def _with_known(means: Floats) -> Floats:
    """The means with that of all players and none, which is what they are counted from, (pairs + 1, games)."""
    return np.concatenate([means, np.zeros((len(means), 1))], axis=1).T
