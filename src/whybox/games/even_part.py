"""What the means of pairs of coalitions say of many games, from one design: interactions, and the part of values that sets of an even number of players have.

Where a pair's mean is over some of the donors, it has an error. How large, is seen within blocks: values are a linear map of the means, so what each donor of a
block adds to a value is known, and its spread over the donors of the block is the variance of the block's part (as of a mean in each stratum; Cochran 1977, Sampling
Techniques, section 5.3). Few donors show it badly, so it is averaged with what it would be if donors' games were like the process. Donors of different blocks are
different, so where all blocks together are all donors some of the errors cancel: by how much, the process says too.
"""

from __future__ import annotations

from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.games.donor_blocks import BlockDesign
from whybox.games.even_process import EvenProcess, EvenSolution
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.solve import (
    MAX_ENTRIES_AT_A_TIME,
    MIN_OWN_SHARE,
    DonorMean,
    Ints,
    OneOutput,
    games_learnt_from,
)

__all__ = ["EvenPart", "over_donors", "slopes_of_all"]

PRIOR_FREEDOM: Final = 4.0  # degrees of freedom that the process has in the variance over donors
MIN_UNCANCELLED: Final = 0.1  # of the errors of blocks, at least, where donors are left


def slopes_of_all(design: BlockDesign) -> tuple[Floats, Floats, Floats]:
    """Return the worths of all coalitions as linear maps.

    Returns:
        (2^players, pairs) of half the differences of pairs, (2^players, pairs) of their means, (2^players, 1) of what all players add.
    """
    power, here = 1 << np.arange(design.coalitions.shape[1]), np.arange(len(design.coalitions))
    halves, means = np.zeros((2, 2 ** len(power), len(here)))
    at, others = design.coalitions @ power, ~design.coalitions @ power
    halves[at, here] = means[at, here] = means[others, here] = 1.0
    halves[others, here] = -1.0
    total = np.zeros((len(halves), 1))
    total[0], total[-1] = -0.5, 0.5
    return halves, means, total


def over_donors(
    design: BlockDesign, one: OneOutput, of_halves: Floats, of_means: Floats, of_total: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return values, variances and the spread of values over donors, (games, values) each, where every coalition was evaluated over the same donors: all of them or some.

    The values of each donor's own game follow, so variances are those of a mean over donors.

    Args:
        of_halves, of_means, of_total: values as linear maps of half the differences of pairs, of their means, (values, pairs) each, and of what all players add,
            (values, 1).
    """
    means, deviations = one.means_of(slice(None))
    # a mean is less that of all players and none, which is one of the outputs that have noise
    known = one.noise / 4 * (1 + float((one.weights**2).sum()))
    share = one.share[: int(design.counts[0])]
    noise = one.noise * (share**2).sum() / 2 * (of_halves**2 + of_means**2).sum(axis=1)
    noise += known * of_means.sum(axis=1) ** 2
    even = means @ of_means.T
    values = even + one.halves @ of_halves.T + one.total[:, None] * of_total.T
    shape = (len(even), len(design.coalitions), -1)
    of_donors = even_of_donors = np.einsum("ip,gpb->gib", of_means, deviations.reshape(shape))
    of_donors = of_donors + np.einsum("ip,gpb->gib", of_halves, one.halves_of(slice(None))[1].reshape(shape))
    mean = DonorMean(share, one.gaps, one.gaps[:, design.donor[: len(share)]], one.weights, one.total)
    of_gap = of_halves @ design.signs.mean(axis=1)[:, None] / 2 + of_total  # halves have their share of it taken out
    spread = mean.spread(of_donors, of_gap)
    if design.is_whole:
        return values, np.tile(noise, (len(even), 1)), spread
    moved, variances = mean.estimate(values, of_donors)
    # as if one more donor had an interaction where none of these has: as large as that of others
    largest = ((even_of_donors + even[:, :, None]) ** 2 @ share).max(axis=1)[:, None]
    variances = (variances + largest / len(share)) / len(share)
    variances *= design.unseen[0]
    return moved, variances + noise, spread


@final
class EvenPart:
    """Interactions, or the even part of values, of one output of all games by a process that some of the games teach.

    Args:
        design: that the games share. one: the output; its odd part was found by a process. process: of the even part.
    """

    def __init__(self, design: BlockDesign, one: OneOutput, process: EvenProcess) -> None:
        self._design, self._one, self._process = design, one, process
        counts = design.counts.astype(float)
        self._part = design.unseen / counts  # of the variance over donors that a mean has
        self._same = np.where(design.block[:, None] == design.block, self._part[:, None], 0.0)
        self._blocks: list[tuple[Ints, Ints]] = []  # pairs of coalitions, (pairs,), and their entries, (donors, pairs)
        for block in np.unique(design.block).tolist():
            pairs = np.flatnonzero(design.block == block)
            count = int(design.counts[pairs[0]])
            if count > 1:
                self._blocks.append((pairs, design.starts[pairs] + np.arange(count)[:, None]))
        # noise is seen within blocks, but for what the share of donors that are drawn takes from it; that of all players and none is known to all pairs alike
        of_pairs = 1 / (2 * counts) if design.is_whole else 3 / 4 * (1 / counts - self._part)
        noise = one.noise * np.append(of_pairs, (1 + float((one.weights**2).sum())) / 4)
        self._noise = noise

    def solve(self, of_players: CoalitionProcess) -> tuple[Floats, Floats, Floats]:
        """Return values and variances, (games, values), as the process has them, and covariances of errors with the odd part, (games, players).

        Args:
            of_players: the process of the odd part.
        """
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
        return values, variances, both

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
        # few pairs with the same donors tell little of what they share, but never is it more than all that donors make
        alone = max(float(np.diag(kernel).mean()), np.finfo(float).tiny)
        common = np.minimum(common, (1 - MIN_OWN_SHARE) * within.mean(axis=1) / alone)
        own = (within - common[:, None] * np.diag(kernel)).mean(axis=1)
        return common, np.maximum(own, MIN_OWN_SHARE * within.mean(axis=1))

    def _errors(self, spread: tuple[Floats, Floats], kernel: Floats) -> Floats:
        """Covariances of errors of the means, (games, pairs + 1, pairs + 1)."""
        n = len(kernel)
        out = np.zeros((len(spread[0]), n + 1, n + 1))
        for g, (common, own) in enumerate(zip(*spread, strict=True)):
            out[g, :n, :n] = common * kernel * self._design.shared + np.diag(own * self._part)
            out[g] += np.diag(self._noise)
        return out

    def _of_donors(
        self, games: slice, deviations: Floats, kernel: Floats, solution: EvenSolution
    ) -> tuple[Floats, Floats]:
        """Variances of values from donors, (games, values), and covariances of the last ones with the odd part, (games, players)."""
        design, one = self._design, self._one
        slopes, players = solution.slopes[:, :-1], design.coalitions.shape[1]
        of_values = one.solution.slopes[:, :-1]
        halves = one.halves_of(games)[1]
        variance, of_variance = np.zeros((2, len(deviations), len(slopes)))
        both = np.zeros((len(deviations), players))
        for pairs, entries in self._blocks:
            degrees = len(entries) - 1
            part = float(self._part[pairs[0]]) / degrees
            each = deviations[:, entries] @ slopes[:, pairs].T  # (games, donors, values)
            block = part * (each**2).sum(axis=1)
            variance += block
            of_variance = np.hypot(of_variance, block / np.sqrt(degrees))
            both += part * (each[:, :, -players:] * (halves[:, entries] @ of_values[:, pairs].T)).sum(axis=1)
        common, own = self._spread(deviations, kernel)

        def of_process(kept: Floats) -> Floats:
            alike = ((slopes @ (kernel * kept)) * slopes).sum(axis=1)
            return np.asarray(np.outer(common, alike) + np.outer(own, slopes**2 @ self._part))

        tiny = np.finfo(float).tiny
        within = np.maximum(of_process(self._same), tiny)
        freedom = (variance / np.maximum(of_variance, tiny)) ** 2  # Satterthwaite 1946
        freedom_of_all = freedom + PRIOR_FREEDOM
        pooled = (freedom * variance + PRIOR_FREEDOM * within) / freedom_of_all
        uncancelled = np.clip(of_process(design.shared) / within, MIN_UNCANCELLED, 1.0)
        wider = (1 + 1.2 / freedom_of_all) ** 2  # Student's t over a normal
        return pooled * uncancelled * wider, both


def _with_known(means: Floats) -> Floats:
    """The means with that of all players and none, which is what they are counted from, (pairs + 1, games)."""
    return np.concatenate([means, np.zeros((len(means), 1))], axis=1).T
