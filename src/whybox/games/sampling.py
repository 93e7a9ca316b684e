"""Shapley values of one game from a budget of evaluations: which coalitions to evaluate. The values from their worths: solve.py.

Every coalition is paired with its complement (Covert & Lee 2021, arXiv:2012.01536, section 4.2): Shapley values depend on half the difference of the two
worths alone. Sizes are enumerated from both ends while that takes no more than half of the pairs left, single players always; the other pairs are
drawn without replacement, all with the same probability. Values and errors come from a Gaussian process over coalitions (gaussian_process.py).

The work of the process grows with the cube of the pairs. Where there are more than MAX_PROCESS_PAIRS, it gets a part of them, and each output takes its
values from it or, where its errors are smaller, from the regression on all pairs of Lundberg & Lee 2017 (arXiv:1705.07874), theorem 2, with the sum
of the values held exactly (Covert & Lee, section 3.2); a pair is one observation of a regression without intercept. Sizes are then enumerated while the
regression's kernel would draw as many, and the remaining sizes are strata. Errors are the regression's sandwich errors over the drawn strata with the
correction for finite populations; what is enumerated has no sampling error.

A player may be anything that is present or absent as a whole: a column, a group of columns, a segment of a picture, a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.gaussian_process import CoalitionProcess

__all__ = ["CoalitionDesign", "draw_design", "draw_of_size", "min_evaluations", "systematic_counts", "systematic_draw"]

Coalitions = npt.NDArray[np.bool_]
MIN_PAIRS_DRAWN: Final = 8  # pairs in a stratum: its variance has to be estimated
MAX_PROCESS_PAIRS: Final = 1000  # pairs that the process gets
MAX_COALITIONS_LISTED: Final = 20_000  # of one size; where there are more, coalitions are drawn until enough differ


@final
@dataclass(frozen=True)
class Stratum:
    """Pairs of the same size, or of neighbouring sizes.

    Attributes:
        kernel_share: of the kernel's weight. pair_slice: where they are in the design.
        undrawn_share: share of its pairs that was not drawn, the largest one of several sizes; 0 where all were.
    """

    kernel_share: float
    pair_slice: slice
    undrawn_share: float

    @property
    def n_pairs(self) -> int:
        """How many pairs were drawn."""
        return int(self.pair_slice.stop - self.pair_slice.start)


@final
@dataclass(frozen=True)
class CoalitionDesign:
    """Which coalitions are evaluated.

    Attributes:
        coalitions: (pairs, players), one of each pair; its complement is evaluated too.
        strata: what the pairs were drawn from, where they are many enough for a regression; else none.
    """

    coalitions: Coalitions
    strata: tuple[Stratum, ...]

    @property
    def weights(self) -> Floats:
        """Weight of each pair in the regression, (pairs,)."""
        out = np.zeros(len(self.coalitions))
        for stratum in self.strata:
            out[stratum.pair_slice] = stratum.kernel_share / stratum.n_pairs
        return out

    @cached_property
    def process_pairs(self) -> npt.NDArray[np.intp]:
        """Pairs that the process gets: all, or single players and an even share of the others; none where single players are too many."""
        sizes = self.coalitions.sum(axis=1)
        single = np.flatnonzero((sizes == 1) | (sizes == self.coalitions.shape[1] - 1))
        if not self.strata:
            return np.arange(len(sizes))
        if len(single) > MAX_PROCESS_PAIRS // 2:
            return single[:0]
        others = np.setdiff1d(np.arange(len(sizes)), single)
        even = np.linspace(0, len(others) - 1, min(MAX_PROCESS_PAIRS - len(single), len(others))).astype(np.intp)
        return np.concatenate([single, others[even]])

    @cached_property
    def pair_process(self) -> CoalitionProcess:
        """The process on those pairs."""
        return CoalitionProcess(self.coalitions[self.process_pairs])


def min_evaluations(players: int) -> int:
    """Return the fewest evaluations that give values and errors: every single player in and out, and as many again that are drawn."""
    evaluations = 2 + 2 * players + 2 * max(players, 12)
    return min(2**players, evaluations) if players < 30 else evaluations


def draw_design(players: int, evaluations: int, draw: np.random.Generator) -> CoalitionDesign:
    """Choose ``evaluations // 2 - 1`` pairs; the empty and the full coalition are the other two evaluations.

    Args:
        players: 2 or more. evaluations: at least ``min_evaluations(players)``, fewer than 2^players. draw: random numbers.
    """
    left = evaluations // 2 - 1
    if left <= MAX_PROCESS_PAIRS:
        return CoalitionDesign(_pairs_for_process(players, left, draw), ())
    sizes = list(range(1, players // 2 + 1))
    twin = {size: 2 if 2 * size != players else 1 for size in sizes}  # a size and that of its complements
    share = {size: twin[size] / (size * (players - size)) for size in sizes}
    population = {size: comb(players, size) * twin[size] // 2 for size in sizes}
    parts: list[Coalitions] = []
    strata: list[Stratum] = []

    def add(coalitions: Coalitions, kernel_share: float, undrawn: float) -> None:
        start = sum(map(len, parts))
        parts.append(coalitions)
        strata.append(Stratum(kernel_share, slice(start, start + len(coalitions)), undrawn))

    while sizes:
        size = sizes[0]
        if size > 1 and population[size] > left * share[size] / sum(share[s] for s in sizes) * (1 + 1e-9):
            break
        add(_all_of_size(players, size), share[size], 0.0)
        left -= population[size]
        sizes = sizes[1:]
    for group, count in _grouped_sizes(sizes, share, left):
        cumulated = np.cumsum([share[size] for size in group])
        counts = systematic_counts(cumulated, count, draw)
        drawn = [
            draw_of_size(players, size, int(n), population[size], draw)
            for size, n in zip(group, counts, strict=True)
            if n
        ]
        undrawn = max(
            1 - min(int(n), population[size]) / population[size] for size, n in zip(group, counts, strict=True)
        )
        add(np.concatenate(drawn), float(cumulated[-1]), undrawn)
    return CoalitionDesign(np.concatenate(parts), tuple(strata))


def systematic_counts(cumulated: Floats, count: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return how many of `count` draws fall on each size, (sizes,): systematically, each by its share, given the cumulated shares."""
    return np.bincount(systematic_draw(cumulated, count, draw), minlength=len(cumulated))


def systematic_draw(cumulated: Floats, count: int, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw positions in proportion to their shares, systematically and in rising order, (count,), given the cumulated shares."""
    which = np.searchsorted(cumulated / cumulated[-1], (np.arange(count) + draw.random()) / count)
    return np.asarray(np.minimum(which, len(cumulated) - 1), dtype=np.int64)


def _pairs_for_process(players: int, left: int, draw: np.random.Generator) -> Coalitions:
    """`left` pairs: all of the outer sizes while these take at most half of what is left, then any of the others."""
    population = {size: comb(players, size) // (2 if 2 * size == players else 1) for size in range(1, players // 2 + 1)}
    parts: list[Coalitions] = []
    while population and (1 in population or population[min(population)] <= left / 2):
        size = min(population)
        parts.append(_all_of_size(players, size))
        left -= population.pop(size)
    wanted = {size: left * n / sum(population.values()) for size, n in population.items()}
    counts = {size: int(n) for size, n in wanted.items()}
    for size in sorted(wanted, key=lambda s: counts[s] - wanted[s])[: left - sum(counts.values())]:
        counts[size] += 1
    parts += [draw_of_size(players, size, n, population[size], draw) for size, n in counts.items() if n]
    return np.concatenate(parts)


def _grouped_sizes(sizes: list[int], share: dict[int, float], left: int) -> list[tuple[list[int], int]]:
    """Sizes and how many pairs are drawn of them, by the kernel's weights; neighbours share a stratum where one size would get too few."""
    if not sizes or left <= 0:
        return []
    total = sum(share[size] for size in sizes)
    groups: list[list[int]] = [[]]
    for size in sizes:
        if sum(share[s] for s in groups[-1]) / total * left >= MIN_PAIRS_DRAWN:
            groups.append([])
        groups[-1].append(size)
    if len(groups) > 1 and sum(share[s] for s in groups[-1]) / total * left < MIN_PAIRS_DRAWN:
        groups[-2:] = [groups[-2] + groups[-1]]
    wanted = np.array([sum(share[size] for size in group) for group in groups]) / total * left
    counts = np.floor(wanted).astype(int)
    for k in np.argsort(counts - wanted, kind="stable")[: left - counts.sum()]:
        counts[k] += 1
    return list(zip(groups, map(int, counts), strict=True))


def _all_of_size(players: int, size: int, *, paired: bool = True) -> Coalitions:
    """All coalitions of a size; in pairs, of half the players only those with the first one, the others being their complements."""
    half = paired and 2 * size == players
    rest = range(1, players) if half else range(players)
    members = [((0, *c) if half else c) for c in combinations(rest, size - half)]
    out = np.zeros((len(members), players), dtype=bool)
    np.put_along_axis(out, np.array(members, dtype=np.intp), values=True, axis=1)
    return out


def draw_of_size(
    players: int, size: int, count: int, population: int, draw: np.random.Generator, *, paired: bool = True
) -> Coalitions:
    """Draw `count` different coalitions of a size, of which there are `population`; all where they are so few. `paired`: one of each pair only."""
    if population <= MAX_COALITIONS_LISTED:
        every = _all_of_size(players, size, paired=paired)
        return every[np.sort(draw.choice(len(every), size=min(count, len(every)), replace=False))]
    different: dict[bytes, Coalitions] = {}
    while len(different) < count:
        coalition = np.zeros(players, dtype=bool)
        coalition[draw.permutation(players)[:size]] = True
        if paired and 2 * size == players and not coalition[0]:
            coalition = ~coalition
        different[coalition.tobytes()] = coalition
    return np.array(list(different.values()))
