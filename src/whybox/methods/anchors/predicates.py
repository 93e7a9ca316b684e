"""What a rule is made of: a number lies at most at an edge of the row's own bin, or above one; a category, a missing value or a group of columns is the row's own.

A number between two edges can thus have one of two predicates in a rule, or both, which is its bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from whybox.methods.common.columns import Ints

__all__ = ["Condition", "Flags", "Predicates", "own_predicates"]

Flags = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True)
class Condition:
    """What a rule asks of one player: its cells lie in the pieces from ``first`` to ``last`` (excluded)."""

    player: int
    first: int
    last: int


@final
@dataclass(frozen=True, eq=False)
class Predicates:
    """The predicates that may stand in the rule of a row: ``first <= piece of the player < last``; (predicates,) each."""

    player: Ints
    first: Ints
    last: Ints

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.player)

    def met_by(self, pieces: Ints) -> Flags:
        """Return which predicates hold, (rows, predicates), for pieces (rows, players)."""
        own = pieces[:, self.player]
        return np.asarray((own >= self.first) & (own < self.last))

    def conditions(self, rule: Sequence[int]) -> tuple[Condition, ...]:
        """Return the conditions of a rule, one for each of its players, in the order in which they came into it."""
        out: dict[int, Condition] = {}
        for k in rule:
            p, first, last = int(self.player[k]), int(self.first[k]), int(self.last[k])
            before = out.get(p, Condition(p, first, last))
            out[p] = Condition(p, max(before.first, first), min(before.last, last))
        return tuple(out.values())

    def can_follow(self, rule: Sequence[int], max_players: int) -> Flags:
        """Return which predicates may be added to a rule that has conditions on so many players at most, (predicates,)."""
        players = np.unique(self.player[list(rule)])
        allowed = np.full(len(self), len(players) < max_players)
        allowed |= np.isin(self.player, players)
        allowed[list(rule)] = False
        return np.asarray(allowed)


def own_predicates(ordered_pieces: Sequence[int], own: Ints) -> Predicates:
    """Return the predicates that a row meets; none about cells that are like none of the background.

    Args:
        ordered_pieces: for each player how many pieces are bins of a number. own: (players,), the row's own pieces, -1 where there is none.
    """
    found: list[tuple[int, int, int]] = []
    for p, piece in enumerate(own.tolist()):
        bins = ordered_pieces[p]
        if piece < 0:
            continue
        if bins < 2 or piece >= bins:  # nothing to lie between
            found.append((p, piece, piece + 1))
            continue
        if piece < bins - 1:
            found.append((p, 0, piece + 1))
        if piece > 0:
            found.append((p, piece, bins))
    player, first, last = np.array(found, dtype=np.int64).reshape(-1, 3).T
    return Predicates(player, first, last)
