"""Which coalitions are evaluated over which background rows, the donors of absent players' values.

A game is the mean of the games against each donor. Where every coalition can be evaluated over all donors, that is done. Else donors are cut into blocks, and
each coalition is evaluated over one block, with its complement: so all donors are used alike, and what makes donors differ is seen within blocks, where several
coalitions meet the same donors. A design begins with few evaluations, so that easy games end early, and about doubles: by more coalitions first, then by joining
blocks, until there is one block of all donors; then by coalitions again. Where all donors are within reach, there are only as many coalitions before blocks are
joined as can then be evaluated over all of them. Donors of unequal weights are all there from the beginning in this case, as they cannot be drawn by weight and
then joined.
Few players have few coalitions: all of them are evaluated over the same donors, and the design grows by donors. Nothing that was evaluated is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.sampling import MAX_PROCESS_PAIRS, draw_design, systematic_draw

__all__ = ["BlockDesign", "GrowingBlocks", "equal_weights", "is_whole", "min_block_evaluations"]

Coalitions = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
MAX_BLOCK: Final = 4  # donors of a block, at first: their spread is seen within it, so it has two at least
MIN_AFFORDED: Final = 3  # donors of a pair that must be affordable: any number from 4 on is cut into twos and threes
MAX_PAIRS_TOGETHER: Final = 15  # of five players: so few pairs are all evaluated over the same donors
FIRST_DONORS: Final = 32  # of those, at first
MAX_DRAWS: Final = 4  # times the donors: as weights are unequal, few donors may be drawn again and again
PAIRS_BEYOND_PLAYERS: Final = 12  # in the first design
PAIRS_BEFORE_JOINING: Final = 256  # or 4 a player; then blocks are joined
PAIRS_PER_PLAYER_OF_WHOLE: Final = 2.5  # where so many can be evaluated over all donors, there are no blocks
MAX_PLAYERS: Final = MAX_PROCESS_PAIRS - PAIRS_BEYOND_PLAYERS  # that can be estimated together


def equal_weights(weights: Floats) -> bool:
    """Whether donors weigh the same."""
    return bool(np.allclose(weights, weights[0], rtol=1e-9, atol=0.0))


def is_whole(players: int, weights: Floats, limit: int) -> bool:
    """Whether `limit` hybrids of a row suffice to evaluate enough coalitions over all donors."""
    return limit >= 2 * len(weights) * _pairs_of_whole(players, weights)


def _pairs_of_whole(players: int, weights: Floats) -> int:
    """How many pairs are evaluated over all donors, at least."""
    wanted = players + PAIRS_BEYOND_PLAYERS
    if len(weights) >= 2 * MAX_BLOCK or not equal_weights(weights):
        wanted = max(wanted, ceil(PAIRS_PER_PLAYER_OF_WHOLE * players))
    if players < 30:
        wanted = min(wanted, 2 ** (players - 1) - 1)
    return min(wanted, MAX_PROCESS_PAIRS)


@final
@dataclass(frozen=True, eq=False)
class BlockDesign:
    """Coalitions with their donors; all entries of one pair are together, in the order of pairs.

    Attributes:
        coalitions: (pairs, players), one of each pair; its complement is evaluated too.
        pair, donor: (entries,), which pair is evaluated with which donor. block: (pairs,), of its donors.
        n_donors: of all. with_replacement: whether donors of different blocks are drawn independently, as weights are unequal.
        is_every_pair: whether there are no other coalitions.
    """

    coalitions: Coalitions
    pair: Ints
    donor: Ints
    block: Ints
    n_donors: int
    with_replacement: bool
    is_every_pair: bool

    @property
    def evaluations(self) -> int:
        """Hybrids of one row."""
        return 2 * len(self.pair)

    @cached_property
    def counts(self) -> Ints:
        """Donors of each pair, (pairs,)."""
        return np.bincount(self.pair, minlength=len(self.coalitions))

    @cached_property
    def starts(self) -> Ints:
        """The first entry of each pair, (pairs,)."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)

    @property
    def is_whole(self) -> bool:
        """Whether every coalition is evaluated over all donors."""
        return not self.with_replacement and bool((self.counts == self.n_donors).all())

    @property
    def is_one_block(self) -> bool:
        """Whether all pairs have the same donors."""
        return bool((self.block == 0).all())

    @cached_property
    def unseen(self) -> Floats:
        """How much of the variance of a mean over its donors each pair has, as all donors are not used, (pairs,): 1 where they are drawn with replacement, 0 of all."""
        return np.ones(len(self.counts)) if self.with_replacement else 1 - self.counts / self.n_donors

    @cached_property
    def shared(self) -> Floats:
        """Covariances of means over donors of every two pairs, (pairs, pairs), in units of those over single donors; those of all donors together cancel."""
        same = self.block[:, None] == self.block
        of_all = 0.0 if self.with_replacement else 1 / self.n_donors
        return np.where(same, 1 / self.counts[:, None], 0.0) - of_all

    @property
    def kernel(self) -> str:
        """How values are computed, in words."""
        most = int(self.counts.max())
        of = f"{most:,} of {self.n_donors:,}" if most < self.n_donors else f"all {most:,}"
        return f"a process over {len(self.coalitions):,} pairs of coalitions, each over {of} background rows"

    @cached_property
    def signs(self) -> Floats:
        """+1 for players who are present and -1 else, (pairs, players)."""
        return np.where(self.coalitions, 1.0, -1.0)


def min_block_evaluations(players: int, donors: int) -> int:
    """Return the fewest hybrids of one row that give values and errors."""
    pairs = players + PAIRS_BEYOND_PLAYERS
    if players < 30:
        pairs = min(pairs, 2 ** (players - 1) - 1)
    return 2 * pairs * min(MIN_AFFORDED, donors)


@final
class GrowingBlocks:
    """Designs that grow, each with all that is known of the one before.

    Args:
        players: 2 or more. weights: of the donors, adding up to one. limit: hybrids of one row that can be expected, no fewer than :func:`min_block_evaluations`: the first
            design keeps it, and it says whether all donors can be had.
        draw: random numbers.
    """

    def __init__(self, players: int, weights: Floats, limit: int, draw: np.random.Generator) -> None:
        self._n, self._draw, self._weights, self._players = len(weights), draw, weights, players
        every = 2 ** (players - 1) - 1 if players < 30 else np.inf
        most = int(min(every, MAX_PROCESS_PAIRS))
        self._every = most == every
        self._coalitions = _ordered_pairs(players, most, draw)
        equal = equal_weights(weights)
        first = min(most, players + PAIRS_BEYOND_PLAYERS)
        whole = is_whole(players, weights, limit)
        at_once = whole and not equal
        self._replace = not (equal or whole)
        self._together = every <= MAX_PAIRS_TOGETHER and not at_once
        self._joined_at = min(most, max(PAIRS_BEFORE_JOINING, 4 * players))
        if whole:
            self._joined_at = max(first, min(self._joined_at, limit // (2 * self._n)))
        self._order = draw.permutation(self._n)
        affordable = limit // (2 * first)
        if at_once:
            self._blocks = [np.arange(self._n)]
        elif self._together:
            self._blocks = [np.zeros(0, dtype=np.int64)]
            self._add_donors(min(affordable, FIRST_DONORS))
        else:
            self._blocks = self._cut(affordable)
        self._block = np.arange(most) % len(self._blocks)
        self._count, self._evaluations = 0, 0
        self._add_pairs(first)

    def _cut(self, affordable: int) -> list[Ints]:
        """Blocks of donors, in random order, none of them larger than what is affordable, all of two donors at least."""
        size = max(1, min(MAX_BLOCK, affordable, self._n))
        if self._replace:
            return [_weighted_draw(self._weights, size, self._draw) for _ in range(self._joined_at)]
        return [np.sort(block) for block in np.array_split(self._order, ceil(self._n / size))]

    def _add_donors(self, count: int) -> None:
        """Enlarge the block that all pairs share by so many donors, or by those that are left."""
        block = self._blocks[0]
        if self._replace:
            more = _weighted_draw(self._weights, count, self._draw)
        else:
            more = self._order[len(block) : len(block) + count]
        self._blocks[0] = np.concatenate([block, more])

    @property
    def design(self) -> BlockDesign:
        """The design so far."""
        block = self._block[: self._count]
        donors = [self._blocks[b] for b in block]
        return BlockDesign(
            self._coalitions[: self._count],
            np.repeat(np.arange(self._count), [len(d) for d in donors]),
            np.concatenate(donors),
            block.copy(),
            self._n,
            self._replace,
            self._every and self._count == len(self._coalitions),
        )

    def grow(self, limit: int) -> bool:
        """Evaluate about twice as much, but no more than `limit` hybrids of one row; say whether anything was added."""
        target, before = min(2 * self._evaluations, limit), self._evaluations
        if self._take_all_donors(target):
            return True
        while self._evaluations < target:
            if self._together:
                most = (MAX_DRAWS if self._replace else 1) * self._n - len(self._blocks[0])
                room = min((target - self._evaluations) // (2 * self._count), most)
                if room < 1:
                    break
                self._add_donors(room)
                self._evaluations = 2 * self._count * len(self._blocks[0])
            elif self._count < self._joined_at:
                room = (target - self._evaluations) // (2 * max(map(len, self._blocks)))
                if room < 1:
                    break
                self._add_pairs(min(room, self._joined_at - self._count))
            elif len(self._blocks) > 1:
                if not self._join(target) and (self._evaluations > before or not self._join(limit)):
                    break  # the last blocks may be a little more than twice as much
            else:
                room = (target - self._evaluations) // (2 * len(self._blocks[0]))
                added = min(room, len(self._coalitions) - self._count)
                if added < 1:
                    break
                self._add_pairs(added)
        return self._evaluations > before or self._take_all_donors(limit)

    def _take_all_donors(self, limit: int) -> bool:
        """Evaluate all donors, each once, in place of those that were drawn, where the ones that are missing are within the limit; say whether that was done."""
        if not self._replace:
            return False
        count = max(self._count, min(_pairs_of_whole(self._players, self._weights), len(self._coalitions)))
        known = np.array([len(np.unique(block)) for block in self._blocks])
        missing = 2 * (count * self._n - int(known[self._block[: self._count]].sum()))
        if self._evaluations + missing > limit:
            return False
        self._replace = self._together = False
        self._blocks, self._block = [np.arange(self._n)], np.zeros_like(self._block)
        self._count, self._evaluations = count, 2 * count * self._n
        return True

    def _add_pairs(self, count: int) -> None:
        some = self._block[self._count : self._count + count]
        self._count += count
        self._evaluations += 2 * sum(len(self._blocks[b]) for b in some)

    def _join(self, target: int) -> bool:
        """Join the two smallest blocks; say whether that stays within the target."""
        one, other = sorted(sorted(range(len(self._blocks)), key=lambda b: (len(self._blocks[b]), b))[:2])
        pairs = [int((self._block[: self._count] == b).sum()) for b in (one, other)]
        more = 2 * (pairs[0] * len(self._blocks[other]) + pairs[1] * len(self._blocks[one]))
        if self._evaluations + more > target:
            return False
        self._evaluations += more
        self._blocks[one] = np.concatenate([self._blocks[one], self._blocks.pop(other)])
        self._block = np.where(self._block == other, one, self._block - (self._block > other))
        return True


def _ordered_pairs(players: int, count: int, draw: np.random.Generator) -> Coalitions:
    """Pairs of a design, those of a single player first, then the others at random: the first of them are a design too."""
    pairs = draw_design(players, 2 * count + 2, draw).coalitions
    sizes = pairs.sum(axis=1)
    single = (sizes == 1) | (sizes == players - 1)
    return np.concatenate([pairs[single], draw.permutation(pairs[~single])])


def _weighted_draw(weights: Floats, count: int, draw: np.random.Generator) -> Ints:
    """Draw donors in proportion to their weights, systematically from a random order, (count,)."""
    order = draw.permutation(len(weights))
    return np.asarray(order[systematic_draw(np.cumsum(weights[order]), count, draw)], dtype=np.int64)
