"""Values and variances of many games from the worths of one design, with a process over coalitions that the games share.

What a design observes of a pair of coalitions is the mean over its donors. Where these are not all donors, the mean has an error, whose variance is estimated
from the spread of donors within blocks: half the difference of a pair against one donor is about the sum over players of z_j phi_j / 2, with that donor's own
values phi_j, and something of its own. Products of two pairs with the same donors, less what each has alone, give the spread of each player's values over donors
(moments; negative ones are set to zero). Pairs that share donors share that error, and it vanishes where all donors are used. The rest is independent.

The sum of a donor's own values is known: the output of the row less that of the donor. What is observed is corrected by it, as far as players share it alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.donor_blocks import BlockDesign
from whybox.games.exact import exact_values
from whybox.games.gaussian_process import CoalitionProcess, PairErrors
from whybox.games.indices import SHAPLEY, Index
from whybox.games.sampling import CoalitionDesign

__all__ = ["GameValues", "ObservedPairs", "estimate_values", "solve_games"]

GAMES_LEARNT_FROM: Final = 16  # that the process is learnt from, evenly among all
MIN_OWN_SHARE: Final = 0.05  # of the spread of a pair over donors that is its own, at least
ROUNDING: Final = 1e-12  # of the largest output
MIN_REGRESSED: Final = 8  # donors whose values are regressed on what is known of all donors
SWEEPS: Final = 30  # of the least squares that find spreads


@final
@dataclass(frozen=True, eq=False)
class ObservedPairs:
    """What was observed of some games.

    Attributes:
        present, absent: (games, entries, outputs), outputs for the coalition of each entry, and for its complement.
        own: (games, outputs), outputs where all players are present. of_donors: (games, donors, outputs), where none is.
        weights: (donors,). noise: (outputs,), variance of an output of a model that answers at random.
    """

    present: Floats
    absent: Floats
    own: Floats
    of_donors: Floats
    weights: Floats
    noise: Floats | None = None

    def less(self, other: ObservedPairs) -> ObservedPairs:
        """Return what a surrogate leaves."""
        return ObservedPairs(
            self.present - other.present,
            self.absent - other.absent,
            self.own - other.own,
            self.of_donors - other.of_donors,
            self.weights,
            self.noise,
        )


@final
@dataclass(frozen=True, eq=False)
class GameValues:
    """Values and variances, (games, players, outputs), and the variance of a value over donors, of the same shape."""

    values: Floats
    variances: Floats
    spread: Floats


def solve_games(design: BlockDesign, observed: ObservedPairs, index: Index = SHAPLEY) -> GameValues:
    """Return each game's values.

    Args:
        design: that the games share. observed: their outputs. index: one that is symmetric: Shapley, Banzhaf at 1/2.
    """
    shape = (len(observed.own), design.coalitions.shape[1], observed.own.shape[1])
    out = GameValues(np.empty(shape), np.empty(shape), np.empty(shape))
    process = None if _is_of_all_pairs(design) else CoalitionProcess(design.coalitions, index)
    total = observed.own - np.einsum("b,gbo->go", observed.weights, observed.of_donors)
    for k in range(shape[2]):
        one = _OneOutput(design, observed, total[:, k], k)
        if process is None:
            out.values[:, :, k], out.variances[:, :, k] = one.of_all_pairs(index)
        else:
            out.values[:, :, k], out.variances[:, :, k] = one.by_process(process)
        out.spread[:, :, k] = one.spread
    if index.efficient:
        gap = (total - out.values.sum(axis=1))[:, None] / shape[1]
        out.values[...] += gap  # rounding
    return out


def _is_of_all_pairs(design: BlockDesign) -> bool:
    """Whether values follow from every coalition over the same donors."""
    return design.is_every_pair and design.is_one_block


@final
class _OneOutput:
    """One output of all games.

    Args:
        total: (games,), what all players add. k: which output.
    """

    def __init__(self, design: BlockDesign, observed: ObservedPairs, total: Floats, k: int) -> None:
        self._design, self._total = design, total
        present, absent = observed.present[:, :, k], observed.absent[:, :, k]
        own, donors = observed.own[:, k, None], observed.of_donors[:, design.donor, k]
        signs = design.signs
        self._mean_sign = signs.mean(axis=1) if len(signs) else np.zeros(0)
        self._size = max(float(np.abs(own).max(initial=0.0)), float(np.abs(donors).max(initial=0.0)))
        self._gaps = own - donors - total[:, None]
        every = observed.own[:, k, None] - observed.of_donors[:, :, k] - total[:, None]
        self._gap_variance = every**2 @ observed.weights
        halves = (present - absent) / 2
        halves -= self._mean_sign[design.pair] / 2 * self._gaps
        means = (present + absent - own - donors) / 2
        w = observed.weights[design.donor]
        share = np.full(len(w), 1.0) if design.with_replacement else w
        share = share / np.add.reduceat(share, design.starts)[design.pair]
        self._share = share
        self._halves = np.add.reduceat(halves * share, design.starts, axis=1)  # (games, pairs)
        self._means = np.add.reduceat(means * share, design.starts, axis=1)
        noise = 0.0 if observed.noise is None else float(observed.noise[k])
        self._noise_of_total = noise * (1 + float((observed.weights**2).sum()))
        self._noise = noise * (1 + self._mean_sign**2 / 2)  # (pairs,), of single outputs; the correction has noise too
        self._deviations = halves - self._halves[:, design.pair]
        spread = means - self._means[:, design.pair]
        self._mean_spread = self._within(spread**2)
        self.spread = self._spread_of_values()

    def _within(self, squares: Floats) -> Floats:
        """Variance over donors of each pair from squared deviations (games, entries), (games, pairs)."""
        starts = self._design.starts
        left = 1 - np.add.reduceat(self._share**2, starts)
        sums = np.add.reduceat(squares * self._share, starts, axis=1)
        return np.asarray(np.divide(sums, left, out=np.zeros_like(sums), where=self._design.counts > 1))

    def _spread_of_values(self) -> Floats:
        """The variance over donors of each player's values, (games, players), from pairs that share donors; NaN where none do."""
        design = self._design
        slopes = (design.signs - self._mean_sign[:, None]) / 2
        games, players = len(self._total), slopes.shape[1]
        gram, right = np.zeros((players, players)), np.zeros((games, players))
        for block in np.unique(design.block).tolist():
            pairs = np.flatnonzero(design.block == block)
            count = int(design.counts[pairs[0]])
            if len(pairs) < 2 or count < 2:
                continue
            a = slopes[pairs]
            gram += ((a.T @ a) ** 2 - (a**2).T @ (a**2)) / 2
            entries = design.starts[pairs][:, None] + np.arange(count)
            share = self._share[entries[0]]
            y = self._deviations[:, entries] * np.sqrt(share / (1 - (share**2).sum()))  # (games, pairs, donors)
            sums = np.einsum("ij,gib->gjb", a, y)
            each = np.einsum("ij,gib->gj", a**2, y**2)
            right += ((sums**2).sum(axis=2) - each) / 2
        return _non_negative(gram, right) if gram.any() else np.full((games, players), np.nan)

    def _errors(self, games: npt.NDArray[np.int64]) -> PairErrors | None:
        """Variances of what is observed, of some games."""
        design = self._design
        if design.is_whole and not self._noise_of_total:
            return None
        counts = design.counts.astype(float)
        slopes = (design.signs - self._mean_sign[:, None]) / 2
        same = design.block[:, None] == design.block
        shared = np.where(same, 1 / counts[:, None], 0.0) - (0.0 if design.with_replacement else 1 / design.n_donors)
        left = np.maximum(1 - (0.0 if design.with_replacement else 1.0) * counts / design.n_donors, 0.0)
        within = self._within(self._deviations[games] ** 2)
        n = len(counts)
        halves, means = np.zeros((len(games), n + 1, n + 1)), np.zeros((n, len(games)))
        for g in range(len(games)):
            common = (slopes * np.nan_to_num(self.spread[games[g]])) @ slopes.T
            own = max(float((within[g] - np.diag(common)).mean()), MIN_OWN_SHARE * float(within[g].mean()))
            halves[g, :n, :n] = common * shared + np.diag(own * left / counts + self._noise / (2 * counts))
            means[:, g] = self._mean_spread[games[g]].mean() * left / counts + self._noise / (2 * counts)
        return PairErrors(halves, means)

    def by_process(self, process: CoalitionProcess) -> tuple[Floats, Floats]:
        """Values and variances, (games, players) each, by a process that some of the games teach."""
        halves = np.concatenate([self._halves, self._total[:, None] / 2], axis=1).T
        games = np.unique(np.linspace(0, len(self._total) - 1, GAMES_LEARNT_FROM).astype(np.int64))
        solution = process.learn(halves[:, games], self._means.T[:, games], self._errors(games))
        variances = solution.variances(halves).T
        if self._noise_of_total:
            slope = solution.values(np.append(np.zeros(len(halves) - 1), 0.5))
            variances += self._noise_of_total * (slope + (1 - slope.sum()) / len(slope)) ** 2
        return solution.values(halves).T, variances

    def of_all_pairs(self, index: Index) -> tuple[Floats, Floats]:
        """Values and variances, (games, players) each, where every coalition was evaluated over the same donors: all of them or some.

        The values of each donor's own game follow, so variances are those of a mean over donors.
        """
        design, games = self._design, len(self._total)
        players, pairs = design.coalitions.shape[1], len(design.coalitions)
        power = 1 << np.arange(players)
        at, others = design.coalitions @ power, ~design.coalitions @ power
        worths, of_pairs = np.zeros((2**players, games)), np.zeros((2**players, pairs))
        worths[at], worths[others] = (self._means + self._halves).T, (self._means - self._halves).T
        worths[0], worths[-1] = -self._total / 2, self._total / 2
        of_pairs[at, np.arange(pairs)], of_pairs[others, np.arange(pairs)] = 1.0, -1.0
        values, slopes = exact_values(worths, index).T, exact_values(of_pairs, index)  # (players, pairs)
        count = int(design.counts[0])
        share = self._share[:count]
        of_donors = np.einsum("ip,gpb->gib", slopes, self._deviations.reshape(games, pairs, count))
        noise = (slopes**2 @ self._noise) * (share**2).sum() / 2
        noise += self._noise_of_total / players**2  # of Shapley values; other indices have less of it
        known = self._gaps[:, :count]  # of donors, less their mean over all: what players of a donor's game add
        here = known - (known @ share)[:, None]
        degrees = 1 - (share**2).sum()
        if count > 1:
            self.spread = (of_donors + here[:, None] / players) ** 2 @ share / degrees
        if design.is_whole:
            return values, np.tile(noise, (games, 1))
        freedom = max(count - 1, 1)
        if count >= MIN_REGRESSED:
            size = (here**2 @ share)[:, None]
            slope = np.einsum("gib,gb,b->gi", of_donors, here, share)
            slope = np.divide(slope, size, out=np.zeros_like(slope), where=size > (ROUNDING * self._size) ** 2)
            values -= slope * (known @ share)[:, None]
            of_donors -= slope[:, :, None] * here[:, None]
            freedom -= 1
        variance = of_donors**2 @ share / degrees * (count - 1) / freedom if count > 1 else np.zeros_like(values)
        # what the donors that were drawn do not show of the variance over all of them, which is known
        unseen = np.maximum(self._gap_variance - (here**2 @ share / degrees if count > 1 else 0.0), 0.0)[:, None]
        equal = self._gap_variance[:, None] / players
        whole = np.maximum(variance.sum(axis=1) + self._gap_variance, np.finfo(float).tiny)[:, None]
        variance += unseen * (variance + equal) / whole
        variance += (self._gap_variance + self._total**2)[:, None] / (
            players * count
        )  # as if one more donor lay far off
        left = 1.0 if design.with_replacement else 1 - count / design.n_donors
        wider = (1 + 1.2 / freedom + 2.2 / freedom**2) ** 2  # about Student's t over a normal, at 95 %
        return values, variance * left / count * wider + noise


def _non_negative(gram: Floats, right: Floats) -> Floats:
    """The non-negative least squares of several right-hand sides, (games, players), by coordinate descent."""
    players = len(gram)
    gram = gram + 1e-9 * max(float(np.trace(gram)), np.finfo(float).tiny) * np.eye(players)
    out = np.zeros_like(right)
    for _ in range(SWEEPS):
        for j in range(players):
            rest = right[:, j] - out @ gram[:, j] + out[:, j] * gram[j, j]
            out[:, j] = np.maximum(rest / gram[j, j], 0.0)
    return out


def estimate_values(design: CoalitionDesign, halves: Floats, means: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Return Shapley values and their variances, (players, outputs) each.

    Args:
        design: the coalitions that were evaluated.
        halves: (worth of the coalition - worth of its complement) / 2, (pairs, outputs). means: (sum of the two) / 2.
        total: worth of all players less that of none, (outputs,); the values add up to it exactly.
    """
    regression = _weighted_regression(design, halves, total) if design.strata else None
    pairs = design.process_pairs
    if regression is not None and not len(pairs):
        return regression
    values, variances = design.pair_process(np.concatenate([halves[pairs], total[None] / 2]), means[pairs])
    values += (total - values.sum(axis=0)) / len(values)  # rounding
    if regression is not None:
        better = regression[1].sum(axis=0) < variances.sum(axis=0)
        values, variances = (np.where(better, a, b) for a, b in zip(regression, (values, variances), strict=True))
    return values, variances


def _weighted_regression(design: CoalitionDesign, halves: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Values and variances by the regression on all pairs, (players, outputs) each."""
    players = design.coalitions.shape[1]
    weights = design.weights
    centred = design.coalitions - 0.5
    # an orthonormal basis of what adds up to zero: with it the constraint is gone from the regression
    basis = np.linalg.qr(np.column_stack([np.ones(players), np.eye(players)[:, 1:]]))[0][:, 1:]
    x = centred @ basis
    y = halves - centred.sum(axis=1)[:, None] * (total / players)
    inverse = np.linalg.inv((x * weights[:, None]).T @ x)
    slopes = inverse @ ((x * weights[:, None]).T @ y)
    values = total / players + basis @ slopes
    scaled = x @ inverse
    residual = y - x @ slopes
    leverage = np.einsum("ij,ij->i", scaled, x) * weights
    residual = residual / np.maximum(1 - leverage, 0.05)[:, None]  # as if the pair itself had been left out
    values += (total - values.sum(axis=0)) / players  # rounding
    influence = scaled @ basis.T
    # 1.96 errors are to hold 95 %: Student's t of few drawn pairs is wider than a normal, by about this much
    drawn = sum(stratum.n_pairs - 1 for stratum in design.strata if stratum.undrawn_share)
    wider = (1 + 1.2 / max(drawn, 1)) ** 2
    variances = np.zeros_like(values)
    for stratum in design.strata:
        n = stratum.n_pairs
        if not stratum.undrawn_share or n < 2:
            continue
        p, e = influence[stratum.pair_slice], residual[stratum.pair_slice]
        spread = (p * p).T @ (e * e) - (p.T @ e) ** 2 / n
        variances += wider * stratum.kernel_share**2 * stratum.undrawn_share * np.maximum(spread, 0.0) / (n * (n - 1))
    return values, variances
