"""Shapley values from chains: orders in which players join, each over one background row, a donor of absent players' values.

Players join in a random order, and in its reverse; the worths of each order's beginnings are those of coalitions and their complements. The mean of what a player
adds in the two orders is one observation of its value against the donor (Castro, Gomez & Tejada 2009, doi:10.1016/j.cor.2008.04.004; antithetic orders: Mitchell et
al. 2022, arXiv:2104.12199). A player who changes little has a small error, whatever the others do.

Observations of one donor add up to the output of the row less that of the donor, which is known of every donor. Values are regressed on it, so that they add up to
the mean over all donors. Some donors have two chains: these say how much of the spread is between donors, and so vanishes once all of them are used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.donor_blocks import equal_weights
from whybox.games.sampling import systematic_draw
from whybox.games.solve import GameValues, ObservedPairs, share_total

__all__ = ["FIRST_CHAINS", "ChainDesign", "GrowingChains", "fits_chains", "solve_chains"]

Coalitions = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
FIRST_CHAINS: Final = 32
CHAINS_A_PLAYER: Final = 2  # fewer of them tell less than a process over coalitions
MIN_PLAYERS: Final = 5
REPEATED: Final = 6  # one donor of so many has a second chain
SHRUNK_BY: Final = 16.0  # degrees of freedom of the share that is drawn towards
UNITS_OF_SHARES: Final = 40.0  # that shares of the spread count as, in slopes
SHARED_SPREAD: Final = 4.0  # units that the mean spread of all players counts as, in that of each
MAX_BETWEEN: Final = 0.95  # of the spread: what donors explain of it at most


@final
@dataclass(frozen=True, eq=False)
class ChainDesign:
    """Chains with their donors; the entries of a chain are its coalitions of 1, 2, ... players, in this order.

    Attributes:
        ranks: (chains, players), when each player joins. donors: (chains,). n_donors: of all. with_replacement: whether donors are drawn by unequal weights.
        units: (chains,), which draw of a donor each chain belongs to.
    """

    ranks: Ints
    donors: Ints
    units: Ints
    n_donors: int
    with_replacement: bool

    @property
    def steps(self) -> int:
        """Entries of a chain."""
        return int(self.ranks.shape[1]) - 1

    @property
    def evaluations(self) -> int:
        """Hybrids of one row."""
        return 2 * len(self.ranks) * int(self.steps)

    @cached_property
    def coalitions(self) -> Coalitions:
        """(entries, players), who has joined; the complement is evaluated too."""
        sizes = np.arange(1, self.steps + 1)
        return np.asarray((self.ranks[:, None, :] < sizes[:, None]).reshape(-1, self.ranks.shape[1]))

    @property
    def pair(self) -> Ints:
        """(entries,), the coalition of each."""
        return np.arange(len(self.donor))

    @cached_property
    def donor(self) -> Ints:
        """(entries,), the donor of each."""
        return np.repeat(self.donors, self.steps)

    @property
    def share_of_donors(self) -> float:
        """How many of all donors are used; 0 where they are drawn with replacement, so that using more of them takes nothing from their spread."""
        return 0.0 if self.with_replacement else len(np.unique(self.units)) / self.n_donors

    @property
    def kernel(self) -> str:
        """How values are computed, in words."""
        return f"{len(self.ranks):,} random orders of features and their reverses, each over one of {len(np.unique(self.donors)):,} of {self.n_donors:,} background rows"


def fits_chains(players: int, limit: int) -> bool:
    """Whether `limit` hybrids of a row are enough for chains to tell more than a process over coalitions."""
    return bool(players >= MIN_PLAYERS and limit >= 2 * (players - 1) * max(CHAINS_A_PLAYER * players, FIRST_CHAINS))


@final
class GrowingChains:
    """Chains that grow in number.

    Args:
        players: so many that :func:`fits_chains`. weights: of the donors, adding up to one. draw: random numbers.
    """

    def __init__(self, players: int, weights: Floats, draw: np.random.Generator) -> None:
        self._players, self._weights, self._draw = players, weights, draw
        self._replace = not equal_weights(weights)
        self._ranks = np.zeros((0, players), dtype=np.int64)
        self._donors, self._units = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        self._queue: list[tuple[int, int]] = []  # donors to come, and the draw that each belongs to
        self._drawn = 0
        self._add(FIRST_CHAINS)

    @property
    def design(self) -> ChainDesign:
        """The design so far."""
        return ChainDesign(self._ranks, self._donors, self._units, len(self._weights), self._replace)

    def grow(self, limit: int) -> bool:
        """Add about as many chains as there are, for no more than `limit` hybrids of one row; say whether any was added."""
        each = 2 * (self._players - 1)
        added = min(len(self._ranks), limit // each - len(self._ranks))
        if added < 1:
            return False
        self._add(added)
        return True

    def _add(self, count: int) -> None:
        while len(self._queue) < count:
            self._queue += self._more_donors()
        some, self._queue = self._queue[:count], self._queue[count:]
        order = np.argsort(self._draw.random((count, self._players)), axis=1)
        self._ranks = np.concatenate([self._ranks, np.argsort(order, axis=1)])
        self._donors = np.concatenate([self._donors, [donor for donor, _ in some]]).astype(np.int64)
        self._units = np.concatenate([self._units, [unit for _, unit in some]]).astype(np.int64)

    def _more_donors(self) -> list[tuple[int, int]]:
        """Every donor once in random order, or as many drawn by their weights; one of some twice."""
        n = len(self._weights)
        if self._replace:
            donors = self._draw.permutation(systematic_draw(np.cumsum(self._weights), n, self._draw))
            units = self._drawn + np.arange(n)
            self._drawn += n
        else:
            donors = units = self._draw.permutation(n)
        out: list[tuple[int, int]] = []
        for k, (donor, unit) in enumerate(zip(donors.tolist(), units.tolist(), strict=True)):
            out += [(donor, unit)] * (2 if k % REPEATED == 0 else 1)
        return out


def solve_chains(design: ChainDesign, observed: ObservedPairs) -> GameValues:
    """Return each game's Shapley values, with the variance of each over donors."""
    shape = (len(observed.own), design.ranks.shape[1], observed.own.shape[1])
    with_all = np.empty(shape)
    out = GameValues(np.empty(shape), np.empty(shape), np.empty(shape), with_all)
    total = observed.total
    units = _Units(design)
    for k in range(shape[2]):
        halves = (observed.present[:, :, k] - observed.absent[:, :, k]) / 2
        sums = observed.own[:, k, None] - observed.of_donors[:, design.donors, k]
        found = units.values(_added(design, halves, sums), sums, total[:, k])
        out.values[:, :, k], out.variances[:, :, k], out.spread[:, :, k], with_all[:, :, k] = found
    share_total(out, observed, total)
    return out


def _added(design: ChainDesign, halves: Floats, sums: Floats) -> Floats:
    """What each player adds in each chain, the mean of the two orders, (games, chains, players)."""
    games, chains = len(halves), len(design.ranks)
    path = np.empty((games, chains, design.steps + 2))
    path[:, :, 0], path[:, :, -1] = -sums / 2, sums / 2
    path[:, :, 1:-1] = halves.reshape(games, chains, design.steps)
    return np.take_along_axis(np.diff(path, axis=2), design.ranks[None], axis=2)


@final
class _Units:
    """Draws of donors: means over the chains of each, and how far chains of one lie apart.

    Args:
        design: the chains.
    """

    def __init__(self, design: ChainDesign) -> None:
        self._of_chain, counts = np.unique(design.units, return_inverse=True, return_counts=True)[1:]
        self._of_chain = self._of_chain.reshape(-1)
        self._count, self._chains = len(counts), counts.astype(float)
        self._replaces = design.with_replacement
        self._share = 0.0 if self._replaces else self._count / design.n_donors
        self._order = np.argsort(self._of_chain, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)

    def values(self, added: Floats, sums: Floats, total: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Values, variances, spread over donors, and variances with all donors, (games, players) each.

        Args:
            added: (games, chains, players). sums: of each chain, (games, chains). total: mean of the sums over all donors, (games,).
        """
        means, of_units = self._means(added), self._means(sums[:, :, None])[:, :, 0]
        centre, mean_sum = means.mean(axis=1), of_units.mean(axis=1)
        apart, sum_apart = means - centre[:, None], of_units - mean_sum[:, None]
        size = (sum_apart**2).sum(axis=1)
        n = self._count
        spread = (apart**2).sum(axis=1) / (n - 1)
        slope = _slopes(np.einsum("gu,gup->gp", sum_apart, apart), size, spread, n)
        values = centre - slope * (mean_sum - total)[:, None]
        left = ((apart - sum_apart[:, :, None] * slope[:, None]) ** 2).sum(axis=1) / max(n - 2, 1)
        # a player whom few donors concern may have shown none of its spread yet
        left = (n * left + SHARED_SPREAD * left.mean(axis=1, keepdims=True)) / (n + SHARED_SPREAD)
        within, freedom = self._within(added, means)
        wider = 1 + 1.2 / max(n - 2, 1)  # Student's t of few donors is wider than a normal
        if self._is_complete:
            variances = within / n * (1 + 1.2 / freedom) ** 2
            return values, variances, np.maximum(spread - within, 0.0), variances
        # donors' own part vanishes as all are used
        between, each = _between(left, within, freedom), left / n * wider**2
        return (
            values,
            each * (1 - between * self._share),
            spread * _between(spread, within, freedom),
            each * (1 if self._replaces else 1 - between),
        )

    def _means(self, values: Floats) -> Floats:
        """Means over the chains of each unit, (games, units, ...), of values (games, chains, ...)."""
        sums = np.add.reduceat(values[:, self._order], self._starts, axis=1)
        return np.asarray(sums / self._chains[:, None])

    @property
    def _is_complete(self) -> bool:
        """Whether every donor has several chains."""
        return self._share == 1.0 and bool((self._chains > 1).all())

    def _within(self, added: Floats, means: Floats) -> tuple[Floats, float]:
        """Variance of a unit's mean over its chains, (games, players), from units of several chains, and its degrees of freedom."""
        freedom = float((self._chains - 1).sum())
        squares = ((added - means[:, self._of_chain]) ** 2).sum(axis=1)
        return squares / freedom * float((1 / self._chains).mean()), freedom


def _slopes(products: Floats, size: Floats, spread: Floats, units: int) -> Floats:
    """How values follow the sums of their donors, (games, players), adding up to one: regressed, and drawn towards shares of the spread where units are few."""
    every = spread.sum(axis=1, keepdims=True)
    shares = np.where(every > 0, spread / np.where(every > 0, every, 1.0), 1.0 / spread.shape[1])
    regressed = np.where(size[:, None] > 0, products / np.where(size > 0, size, 1.0)[:, None], shares)
    weight = units / (units + UNITS_OF_SHARES)
    return np.asarray(weight * regressed + (1 - weight) * shares)


def _between(spread: Floats, within: Floats, freedom: float) -> Floats:
    """The share of a spread, (games, players), that is between donors: of each player over all games, drawn towards that of all players where chains are few."""
    tiny = np.finfo(float).tiny
    sums, inside = spread.sum(axis=0), within.sum(axis=0)
    every = float(inside.sum()) / max(float(sums.sum()), tiny)
    known = freedom * len(spread)
    share = (known * inside / np.maximum(sums, tiny) + SHRUNK_BY * every) / (known + SHRUNK_BY)
    return np.asarray(np.clip(1 - share, 0.0, MAX_BETWEEN))
