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
from whybox.games.gaussian_process import CoalitionProcess, LinearSolution, PairErrors
from whybox.games.indices import SHAPLEY, Index
from whybox.games.sampling import CoalitionDesign

__all__ = [
    "MAX_ENTRIES_AT_A_TIME",
    "MIN_OWN_SHARE",
    "DonorMean",
    "GameValues",
    "Ints",
    "ObservedPairs",
    "OneOutput",
    "estimate_values",
    "games_learnt_from",
    "is_of_all_pairs",
    "share_total",
    "solve_games",
]

Ints = npt.NDArray[np.int64]
GAMES_LEARNT_FROM: Final = 16  # that the process is learnt from, evenly among all
MIN_OWN_SHARE: Final = 0.05  # of the spread of a pair over donors that is its own, at least
MAX_ENTRIES_AT_A_TIME: Final = 2**17  # of all games, that fit in a cache
ROUNDING: Final = 1e-12  # of the largest output
MIN_REGRESSED: Final = 8  # donors whose values are regressed on what is known of all donors
SWEEPS: Final = 30  # of the least squares that find spreads
LITTLE_SEEN: Final = 0.1  # of the variance of what all players add: so much is taken for seen, whatever was drawn


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

    @property
    def total(self) -> Floats:
        """What all players add, (games, outputs)."""
        return np.asarray(self.own - np.einsum("b,gbo->go", self.weights, self.of_donors))

    def less(self, other: ObservedPairs, share: Floats | None = None) -> ObservedPairs:
        """Return what a surrogate leaves, or what a share of it leaves, (games, outputs)."""
        each = np.ones((1, 1)) if share is None else share
        return ObservedPairs(
            self.present - each[:, None] * other.present,
            self.absent - each[:, None] * other.absent,
            self.own - each * other.own,
            self.of_donors - each[:, None] * other.of_donors,
            self.weights,
            self.noise,
        )


@final
@dataclass(frozen=True, eq=False)
class GameValues:
    """Values and variances, (games, players, outputs), and the variance of a value over donors, of the same shape.

    Attributes:
        with_all_donors: variances of as many chains, had they used all donors alike; None: of no chains.
    """

    values: Floats
    variances: Floats
    spread: Floats
    with_all_donors: Floats | None = None

    def of_games(self, some: npt.NDArray[np.bool_]) -> GameValues:
        """Return those of some games, (games,)."""
        with_all = None if self.with_all_donors is None else self.with_all_donors[some]
        return GameValues(self.values[some], self.variances[some], self.spread[some], with_all)


def solve_games(design: BlockDesign, observed: ObservedPairs, index: Index = SHAPLEY) -> GameValues:
    """Return each game's values.

    Args:
        design: that the games share. observed: their outputs. index: one that is symmetric: Shapley, Banzhaf at 1/2.
    """
    shape = (len(observed.own), design.coalitions.shape[1], observed.own.shape[1])
    out = GameValues(np.empty(shape), np.empty(shape), np.empty(shape))
    process = None if is_of_all_pairs(design) else CoalitionProcess(design.coalitions, index)
    total = observed.total
    for k in range(shape[2]):
        one = OneOutput(design, observed, total[:, k], k)
        if process is None:
            out.values[:, :, k], out.variances[:, :, k] = one.of_all_pairs(index)
        else:
            out.values[:, :, k], out.variances[:, :, k] = one.by_process(process)
        out.spread[:, :, k] = one.spread
    share_total(out, observed, total, efficient=index.efficient)
    return out


def share_total(out: GameValues, observed: ObservedPairs, total: Floats, *, efficient: bool = True) -> None:
    """Share what belongs to the total among players: the noise of a model that answers at random and, of an efficient index, rounding."""
    players = out.values.shape[1]
    if observed.noise is not None:
        out.variances[...] += observed.noise * (1.0 + float((observed.weights**2).sum())) / players**2
    if efficient:
        out.values[...] += (total - out.values.sum(axis=1))[:, None] / players


def games_learnt_from(games: int) -> Ints:
    """Return the games that a process is learnt from."""
    return np.unique(np.linspace(0, games - 1, GAMES_LEARNT_FROM).astype(np.int64))


def is_of_all_pairs(design: BlockDesign) -> bool:
    """Whether values follow from every coalition over the same donors."""
    return design.is_every_pair and design.is_one_block


@final
class OneOutput:
    """One output of all games.

    Args:
        total: (games,), what all players add. k: which output.

    Attributes:
        total, weights: of the games, and of the donors. share: (entries,), of each in the mean of its pair. noise: variance of an output.
        halves: (games, pairs), half the difference of each pair. spread: (games, players), of values over donors.
        solution: of the process that gave the values, once it did.
    """

    solution: LinearSolution

    def __init__(self, design: BlockDesign, observed: ObservedPairs, total: Floats, k: int) -> None:
        self._design, self.total, self.weights = design, total, observed.weights
        self._present, self._absent = observed.present[:, :, k], observed.absent[:, :, k]
        self._own, self._of_donors = observed.own[:, k], observed.of_donors[:, :, k]
        self._same_donors = observed.of_donors.strides[0] == 0  # of all games
        self._mean_sign = design.signs.mean(axis=1) if len(design.signs) else np.zeros(0)
        self._slopes = (design.signs - self._mean_sign[:, None]) / 2
        w = observed.weights[design.donor]
        share = np.full(len(w), 1.0) if design.with_replacement else w
        self.share = share / np.add.reduceat(share, design.starts)[design.pair]
        self.noise = 0.0 if observed.noise is None else float(observed.noise[k])
        games, pairs = len(total), len(design.coalitions)
        self.halves, self.spread = np.empty((games, pairs)), np.empty((games, design.coalitions.shape[1]))
        products, step = _DonorProducts(design, self._slopes), max(1, MAX_ENTRIES_AT_A_TIME // max(len(w), 1))
        for start in range(0, games, step):
            some = slice(start, start + step)
            self.halves[some], deviations = self.halves_of(some)
            self.spread[some] = products(deviations)
        # not known where no pairs share donors
        self.spread = (
            _non_negative(products.gram, self.spread) if products.gram.any() else np.full_like(self.spread, np.nan)
        )
        self._unseen = self._unseen_spread() if design.with_replacement and pairs else np.zeros_like(self.spread)
        self._common = np.nan_to_num(self.spread) + self._unseen
        self.spread += self._unseen

    def halves_of(self, games: slice | Ints) -> tuple[Floats, Floats]:
        """Half the difference of each pair, (games, pairs), and how entries deviate from it, (games, entries)."""
        design = self._design
        halves = self._present[games] - self._absent[games]
        halves /= 2
        correction = self._mean_sign[design.pair] / 2
        halves += correction * self._donors_of(games)
        means = np.add.reduceat(halves * self.share, design.starts, axis=1)
        halves -= means[:, design.pair]
        return means - self._mean_sign / 2 * (self._own - self.total)[games, None], halves

    def means_of(self, games: slice | Ints) -> tuple[Floats, Floats]:
        """The mean of each pair less that of all players and none, (games, pairs), and how entries deviate from it, (games, entries)."""
        design = self._design
        means = self._present[games] + self._absent[games]
        means -= self._own[games, None]
        means -= self._donors_of(games)
        means /= 2
        of_pairs = np.add.reduceat(means * self.share, design.starts, axis=1)
        means -= of_pairs[:, design.pair]
        return of_pairs, means

    def _donors_of(self, games: slice | Ints) -> Floats:
        """Outputs of the donor of each entry, (games, entries), or (1, entries) where all games have the same."""
        chosen = self._of_donors[:1] if self._same_donors else self._of_donors[games]
        return np.asarray(chosen[:, self._design.donor])

    def within(self, squares: Floats) -> Floats:
        """Variance over donors of each pair from squared deviations (games, entries), (games, pairs)."""
        counts = self._design.counts
        return np.asarray(
            np.add.reduceat(squares, self._design.starts, axis=1) / np.maximum(counts - 1, 1) * (counts > 1)
        )

    def errors(self, games: Ints, mean_spread: Floats) -> PairErrors | None:
        """Variances of what is observed, of some games, given the variance of their means over donors, (games,)."""
        design = self._design
        if design.is_whole and not self.noise:
            return None
        counts, left, n = design.counts, design.unseen, len(design.counts)
        # what is seen over donors has the noise too, but for the share that is taken from it as donors are used up
        noise = self.noise / 2 * (1 - left) / counts
        halves, means = np.zeros((len(games), n + 1, n + 1)), np.zeros((n, len(games)))
        every = self.within(self.halves_of(games)[1] ** 2) + self._unseen[games] @ self._slopes.T**2
        for g, within in enumerate(every):
            common = (self._slopes * self._common[games[g]]) @ self._slopes.T
            own = max(float((within - np.diag(common)).mean()), MIN_OWN_SHARE * float(within.mean()), self.noise / 2)
            halves[g, :n, :n] = common * design.shared + np.diag(own * left / counts + noise)
            means[:, g] = max(float(mean_spread[g]), self.noise / 2) * left / counts + noise
        return PairErrors(halves, means)

    def _shared_variances(self, slopes: Floats) -> Floats:
        """Variances that what donors share gives to linear maps of pairs, (players, pairs): to values, (games, players)."""
        design, order = self._design, np.argsort(self._design.block, kind="stable")
        starts = np.flatnonzero(np.diff(design.block[order], prepend=-1))
        each = 1 / design.counts[order][starts][:, None]
        of_all = 0.0 if design.with_replacement else 1 / design.n_donors
        out = np.empty((len(self._common), len(slopes)))
        for player, slope in enumerate(slopes):
            moved = slope[order, None] * self._slopes[order]
            of_players = (each * np.add.reduceat(moved, starts) ** 2).sum(axis=0) - of_all * moved.sum(axis=0) ** 2
            out[:, player] = self._common @ np.maximum(of_players, 0.0)
        return out

    def _unseen_spread(self) -> Floats:
        """What the donors that were drawn do not show of the variances of values, (games, players): what all players add is known for every donor, drawn or not.

        Where one donor has nearly all the weight, it may be the only one that is drawn, and then nothing of the others is seen.
        """
        design, squares = self._design, self.gaps**2
        _, first = np.unique(design.block[design.pair], return_index=True)
        blocks = np.isin(design.pair, design.pair[first])  # the entries of one pair of each block
        known, drawn = squares @ self.weights, squares[:, design.donor[blocks]].mean(axis=1)
        seen, players = np.nan_to_num(self.spread), self.spread.shape[1]
        total, few = seen.sum(axis=1), LITTLE_SEEN * known
        tiny = np.finfo(float).tiny
        unseen = np.maximum(known - drawn, 0.0) * (total + few) / np.maximum(drawn + few, tiny)
        shares = (seen + known[:, None] / players) / np.maximum(total + known, tiny)[:, None]
        return np.asarray(unseen[:, None] * shares)

    def by_process(self, process: CoalitionProcess) -> tuple[Floats, Floats]:
        """Values and variances, (games, players) each, by a process that some of the games teach.

        The process scales its variances to what it sees of a game. What pairs share as they have the same donors is known, and no variance is less than that.
        """
        halves = np.concatenate([self.halves, self.total[:, None] / 2], axis=1).T
        games = games_learnt_from(len(self.total))
        means, deviations = self.means_of(games)
        errors = self.errors(games, self.within(deviations**2).mean(axis=1))
        self.solution = process.learn(halves[:, games], means.T, errors)
        values, variances = self.solution.values(halves).T, self.solution.variances(halves).T
        if errors is not None:
            variances = np.maximum(variances, self._shared_variances(self.solution.slopes[:, :-1]))
        return values, variances

    def of_all_pairs(self, index: Index) -> tuple[Floats, Floats]:
        """Values and variances, (games, players) each, where every coalition was evaluated over the same donors: all of them or some.

        The values of each donor's own game follow, so variances are those of a mean over donors.
        """
        design, games = self._design, len(self.total)
        players, pairs = design.coalitions.shape[1], len(design.coalitions)
        power = 1 << np.arange(players)
        at, others = design.coalitions @ power, ~design.coalitions @ power
        worths, of_pairs = np.zeros((2**players, games)), np.zeros((2**players, pairs))
        means, _ = self.means_of(slice(None))
        worths[at], worths[others] = (means + self.halves).T, (means - self.halves).T
        worths[0], worths[-1] = -self.total / 2, self.total / 2
        of_pairs[at, np.arange(pairs)], of_pairs[others, np.arange(pairs)] = 1.0, -1.0
        values, slopes = exact_values(worths, index).T, exact_values(of_pairs, index)  # (players, pairs)
        count = int(design.counts[0])
        share = self.share[:count]
        of_donors = np.einsum("ip,gpb->gib", slopes, self.halves_of(slice(None))[1].reshape(games, pairs, count))
        mean = DonorMean(share, self.gaps, self.gaps[:, design.donor[:count]], self.weights, self.total)
        self.spread = mean.spread(of_donors)
        noise = self.noise * (slopes**2).sum(axis=1) * (share**2).sum() / 2
        if design.is_whole:
            return values, np.tile(noise, (games, 1))
        moved, variances = mean.estimate(values, of_donors)
        return moved, variances * design.unseen[0] / count + noise

    @property
    def gaps(self) -> Floats:
        """How far what all players add to each donor's game is from its mean, (games, donors)."""
        return np.asarray(self._own[:, None] - self._of_donors - self.total[:, None])


@final
@dataclass(frozen=True, eq=False)
class DonorMean:
    """Values as means over some donors; what all players add is known for every donor.

    Attributes:
        share: (donors drawn,). every: (games, donors), gaps of all donors. drawn: (games, donors drawn), of those drawn. weights: (donors,).
        total: (games,).
    """

    share: Floats
    every: Floats
    drawn: Floats
    weights: Floats
    total: Floats

    @property
    def _here(self) -> Floats:
        """Gaps of the donors drawn, from their own mean."""
        return np.asarray(self.drawn - (self.drawn @ self.share)[:, None])

    @property
    def _degrees(self) -> float:
        return max(1 - float((self.share**2).sum()), np.finfo(float).tiny)

    def spread(self, of_donors: Floats, of_gap: Floats | None = None) -> Floats:
        """The variance of values over donors, (games, values), from those of each donor, (games, values, donors drawn), which lack a share of its gap.

        Args:
            of_gap: (values, 1), that share; None: an equal one for each. The variance of one donor is NaN.
        """
        if len(self.share) < 2:
            return np.full(of_donors.shape[:2], np.nan)
        lacking = 1 / of_donors.shape[1] if of_gap is None else of_gap
        return np.asarray((of_donors + self._here[:, None] * lacking) ** 2 @ self.share / self._degrees)

    def estimate(self, values: Floats, of_donors: Floats) -> tuple[Floats, Floats]:
        """Return values regressed on the gaps, and the variance of one donor's around them, (games, players) each.

        Args:
            values: (games, players). of_donors: (games, players, donors drawn), from their means.
        """
        count, here, players = len(self.share), self._here, values.shape[1]
        freedom = max(count - 1, 1)
        if count >= MIN_REGRESSED:
            size = (here**2 @ self.share)[:, None]
            slope = np.einsum("gib,gb,b->gi", of_donors, here, self.share)
            enough = size > (ROUNDING * (np.abs(self.every).max() + np.abs(self.total).max())) ** 2
            slope = np.divide(slope, size, out=np.zeros_like(slope), where=enough)
            values = values - slope * (self.drawn @ self.share)[:, None]
            of_donors = of_donors - slope[:, :, None] * here[:, None]
            freedom -= 1
        variance = of_donors**2 @ self.share / self._degrees * (count - 1) / freedom
        # what the donors that were drawn do not show of the variance over all of them, which is known
        known = self.every**2 @ self.weights
        unseen = np.maximum(known - here**2 @ self.share / self._degrees, 0.0)[:, None]
        whole = np.maximum(variance.sum(axis=1) + known, np.finfo(float).tiny)[:, None]
        variance += unseen * (variance + known[:, None] / players) / whole
        variance += (known + self.total**2)[:, None] / (players * count)  # as if one more donor lay far off
        wider = (1 + 1.2 / freedom + 2.2 / freedom**2) ** 2  # about Student's t over a normal, at 95 %
        return values, np.asarray(variance * wider)


@final
class _DonorProducts:
    """Products of two pairs with the same donors, less what each has alone: they add up to ``gram`` times the variances of values over donors.

    Args:
        design: of the games. slopes: (pairs, players), the share of a player's value in half the difference of a pair.

    Attributes:
        gram: (players, players).
    """

    def __init__(self, design: BlockDesign, slopes: Floats) -> None:
        players = slopes.shape[1]
        self.gram = np.zeros((players, players))
        self._alone = np.zeros((len(slopes), players))  # (pairs, players), of the squared deviations of a pair
        self._starts = design.starts
        self._blocks: list[tuple[Ints, Floats, int]] = []
        for block in np.unique(design.block).tolist():
            pairs = np.flatnonzero(design.block == block)
            count = int(design.counts[pairs[0]])
            if len(pairs) < 2 or count < 2:
                continue
            a = slopes[pairs]
            self.gram += ((a.T @ a) ** 2 - (a**2).T @ (a**2)) / 2
            self._alone[pairs] = a**2 / (2 * (count - 1))
            entries = design.starts[pairs] + np.arange(count)[:, None]  # (donors, pairs)
            self._blocks.append((entries.reshape(-1), a / np.sqrt(2 * (count - 1)), count))

    def __call__(self, deviations: Floats) -> Floats:
        """Return the sums of products for each player, (games, players), of deviations (games, entries)."""
        games = len(deviations)
        out = -np.add.reduceat(deviations**2, self._starts, axis=1) @ self._alone
        for entries, slopes, count in self._blocks:
            sums = np.take(deviations, entries, axis=1).reshape(games * count, -1) @ slopes
            sums *= sums
            out += sums.reshape(games, count, -1).sum(axis=1)
        return np.asarray(out)


def _non_negative(gram: Floats, right: Floats) -> Floats:
    """The non-negative least squares of several right-hand sides, (games, players), by coordinate descent."""
    players = len(gram)
    gram = gram + 1e-9 * max(float(np.trace(gram)), np.finfo(float).tiny) * np.eye(players)
    right = np.ascontiguousarray(right.T)
    out = np.zeros_like(right)
    for _ in range(SWEEPS):
        for j in range(players):
            rest = right[j] - gram[j] @ out
            out[j] = np.maximum(rest / gram[j, j] + out[j], 0.0)
    return out.T


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
