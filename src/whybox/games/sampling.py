"""Shapley values of one game from a budget of calls: which coalitions to ask about, and the values from their worths.

Every coalition is paired with its complement (Covert & Lee 2021, arXiv:2012.01536, section 4.2): half the difference of the two worths is all that
Shapley values hang on. Small sizes are asked in full from both ends while that takes no more than half of what is left, single players always; the
other pairs are drawn without replacement, all alike. Values and errors come from a Gaussian process over coalitions (gaussian_process.py).

Its work grows with the cube of the pairs. Where they are more than SMOOTHING_PAIRS, it sees a part of them, and values come for each target from it or, where its
errors are smaller, from the regression on all of them of Lundberg & Lee 2017 (arXiv:1705.07874),
theorem 2, with the sum held exactly (Covert & Lee, section 3.2), a pair being one observation of a regression without intercept. Sizes are then asked in full
while the regression's kernel would draw as many, the remaining ones are strata, and errors are the regression's sandwich over the drawn strata with the
correction for finite populations; what is asked in full has no sampling error.
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
from whybox.games.gaussian_process import Kriging

__all__ = ["Design", "design", "least", "solve"]

Bits = npt.NDArray[np.bool_]
MIN_PAIRS_DRAWN: Final = 8  # pairs in a stratum: its variance has to be estimated
SMOOTHING_PAIRS: Final = 1000  # pairs
LISTED_SHARE: Final = (
    20_000  # a stratum as large as that is listed; of a larger one coalitions are drawn until they differ
)


@final
@dataclass(frozen=True)
class Stratum:
    """Pairs of the same size, or of neighbouring sizes.

    Attributes:
        share: of the kernel's weight. at: where they stand in the design.
        left: share of the pairs there are that was not drawn, the largest one of several sizes; 0 where all are there.
    """

    share: float
    at: slice
    left: float


@final
@dataclass(frozen=True)
class Design:
    """Coalitions (pairs, players), one of each pair; and the strata they are from, where they are many enough for a regression."""

    coalitions: Bits
    strata: tuple[Stratum, ...]

    @property
    def weights(self) -> Floats:
        """Of each pair in the regression."""
        out = np.zeros(len(self.coalitions))
        for s in self.strata:
            out[s.at] = s.share / (s.at.stop - s.at.start)
        return out

    @cached_property
    def seen(self) -> npt.NDArray[np.intp]:
        """Pairs that the process over coalitions sees: all, or single players and an even share of the others; none where single players are too many."""
        sizes = self.coalitions.sum(axis=1)
        single = np.flatnonzero((sizes == 1) | (sizes == self.coalitions.shape[1] - 1))
        if not self.strata:
            return np.arange(len(sizes))
        if len(single) > SMOOTHING_PAIRS // 2:
            return single[:0]
        others = np.setdiff1d(np.arange(len(sizes)), single)
        share = np.linspace(0, len(others) - 1, min(SMOOTHING_PAIRS - len(single), len(others))).astype(np.intp)
        return np.concatenate([single, others[share]])

    @cached_property
    def kriging(self) -> Kriging:
        """The process."""
        return Kriging(self.coalitions[self.seen])


def least(players: int) -> int:
    """Calls below which values cannot be estimated with an error: every single player in and out, and as many again that are drawn."""
    calls = 2 + 2 * players + 2 * max(players, 12)
    return min(2**players, calls) if players < 30 else calls


def design(players: int, calls: int, draw: np.random.Generator) -> Design:
    """Choose ``calls // 2 - 1`` pairs; the empty and the full coalition are the other two calls.

    Args:
        players: 2 or more. calls: at least ``least(players)``, fewer than 2^players. draw: random numbers.
    """
    left = calls // 2 - 1
    if left <= SMOOTHING_PAIRS:
        return Design(_spread(players, left, draw), ())
    sizes = list(range(1, players // 2 + 1))
    twin = {s: 2 if 2 * s != players else 1 for s in sizes}
    share = {s: twin[s] / (s * (players - s)) for s in sizes}
    count = {s: comb(players, s) * twin[s] // 2 for s in sizes}
    parts: list[Bits] = []
    strata: list[Stratum] = []

    def add(found: Bits, weight: float, left_out: float) -> None:
        start = sum(map(len, parts))
        parts.append(found)
        strata.append(Stratum(weight, slice(start, start + len(found)), left_out))

    while sizes:
        s = sizes[0]
        if s > 1 and count[s] > left * share[s] / sum(share[r] for r in sizes) * (1 + 1e-9):
            break
        add(_listed(players, s), share[s], 0.0)
        left -= count[s]
        sizes = sizes[1:]
    for group, n in _groups(sizes, share, left):
        p = np.cumsum([share[s] for s in group])
        which = np.searchsorted(p / p[-1], (np.arange(n) + draw.random()) / n)
        times = np.bincount(np.minimum(which, len(group) - 1), minlength=len(group))
        found = [_drawn(players, s, int(k), count[s], draw) for s, k in zip(group, times, strict=True) if k]
        left_out = max(1 - min(int(k), count[s]) / count[s] for s, k in zip(group, times, strict=True))
        add(np.concatenate(found), float(p[-1]), left_out)
    return Design(np.concatenate(parts), tuple(strata))


def _spread(players: int, left: int, draw: np.random.Generator) -> Bits:
    """`left` pairs: sizes in full from both ends while they take at most half, then any of the others."""
    count = {s: comb(players, s) // (2 if 2 * s == players else 1) for s in range(1, players // 2 + 1)}
    parts: list[Bits] = []
    while 1 in count or count[min(count)] <= left / 2:
        s = min(count)
        parts.append(_listed(players, s))
        left -= count.pop(s)
    want = {s: left * n / sum(count.values()) for s, n in count.items()}
    times = {s: int(n) for s, n in want.items()}
    for s in sorted(want, key=lambda s: times[s] - want[s])[: left - sum(times.values())]:
        times[s] += 1
    parts += [_drawn(players, s, n, count[s], draw) for s, n in times.items() if n]
    return np.concatenate(parts)


def _groups(sizes: list[int], share: dict[int, float], left: int) -> list[tuple[list[int], int]]:
    """Sizes with how many pairs are drawn of them, by the kernel's weights; neighbours share a stratum where one size would get too few."""
    if not sizes or left <= 0:
        return []
    total = sum(share[s] for s in sizes)
    groups: list[list[int]] = [[]]
    for s in sizes:
        if sum(share[r] for r in groups[-1]) / total * left >= MIN_PAIRS_DRAWN:
            groups.append([])
        groups[-1].append(s)
    if len(groups) > 1 and sum(share[r] for r in groups[-1]) / total * left < MIN_PAIRS_DRAWN:
        groups[-2:] = [groups[-2] + groups[-1]]
    want = np.array([sum(share[s] for s in g) for g in groups]) / total * left
    n = np.floor(want).astype(int)
    for k in np.argsort(n - want, kind="stable")[: left - n.sum()]:
        n[k] += 1
    return list(zip(groups, map(int, n), strict=True))


def _listed(players: int, size: int) -> Bits:
    """All coalitions of a size; of half the players only those with the first one, the others being their complements."""
    half = 2 * size == players
    rest = range(1, players) if half else range(players)
    members = [((0, *c) if half else c) for c in combinations(rest, size - half)]
    out = np.zeros((len(members), players), dtype=bool)
    np.put_along_axis(out, np.array(members, dtype=np.intp), values=True, axis=1)
    return out


def _drawn(players: int, size: int, n: int, population: int, draw: np.random.Generator) -> Bits:
    """`n` different coalitions of a size."""
    if population <= LISTED_SHARE:
        every = _listed(players, size)
        return every[np.sort(draw.choice(len(every), size=min(n, len(every)), replace=False))]
    met: dict[bytes, Bits] = {}
    while len(met) < n:
        z = _one(players, size, draw)
        met[z.tobytes()] = z
    return np.array(list(met.values()))


def _one(players: int, size: int, draw: np.random.Generator) -> Bits:
    z = np.zeros(players, dtype=bool)
    z[draw.permutation(players)[:size]] = True
    return z if 2 * size != players or z[0] else ~z


def solve(d: Design, halves: Floats, means: Floats, total: Floats) -> tuple[Floats, Floats]:
    """Shapley values and their variances, (players, targets) each.

    Args:
        d: the coalitions. halves: (worth of the coalition - worth of its complement) / 2, (pairs, targets). means: the same with +.
        total: worth of all players less that of none, (targets,); the values add up to it exactly.
    """
    found = _regression(d, halves, total) if d.strata else None
    if found is not None and not len(d.seen):
        return found
    values, variances = d.kriging(np.concatenate([halves[d.seen], total[None] / 2]), means[d.seen])
    values += (total - values.sum(axis=0)) / len(values)  # rounding
    if found is not None:
        better = found[1].sum(axis=0) < variances.sum(axis=0)
        values, variances = (np.where(better, a, b) for a, b in zip(found, (values, variances), strict=True))
    return values, variances


def _regression(d: Design, halves: Floats, total: Floats) -> tuple[Floats, Floats]:
    players = d.coalitions.shape[1]
    weights = d.weights
    centred = d.coalitions - 0.5
    # an orthonormal basis of what adds up to zero: with it the constraint is gone from the regression
    basis = np.linalg.qr(np.column_stack([np.ones(players), np.eye(players)[:, 1:]]))[0][:, 1:]
    x = centred @ basis
    y = halves - centred.sum(axis=1)[:, None] * (total / players)
    inverse = np.linalg.inv((x * weights[:, None]).T @ x)
    slopes = inverse @ ((x * weights[:, None]).T @ y)
    values = total / players + basis @ slopes
    reach = x @ inverse
    residual = y - x @ slopes
    leverage = np.einsum("ij,ij->i", reach, x) * weights
    residual = residual / np.maximum(1 - leverage, 0.05)[:, None]  # does not know its own pair
    values += (total - values.sum(axis=0)) / players  # rounding
    pull = reach @ basis.T
    # 1.96 errors are to hold 95 %: Student's t of few drawn pairs is wider than a normal, by about this much
    drawn = sum(s.at.stop - s.at.start - 1 for s in d.strata if s.left)
    wider = (1 + 1.2 / max(drawn, 1)) ** 2
    variances = np.zeros_like(values)
    for s in d.strata:
        n = s.at.stop - s.at.start
        if not s.left or n < 2:
            continue
        p, e = pull[s.at], residual[s.at]
        spread = (p * p).T @ (e * e) - (p.T @ e) ** 2 / n
        variances += wider * s.share**2 * s.left * np.maximum(spread, 0.0) / (n * (n - 1))
    return values, variances
