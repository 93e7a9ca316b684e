"""The law under which precision is promised: background rows in which the cells that break a condition are replaced.

A row of the background is drawn by its weight. For each condition of a rule that it breaks, its cells of that feature are replaced by those of another
background row, drawn by weight among the rows that meet this condition; each condition by itself. All other cells stay as they are, together.

Source: Ribeiro, Singh and Guestrin, Anchors (2018), AAAI 32, doi:10.1609/aaai.v32i1.11491: its perturbation of tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.anchors.predicates import Condition
from whybox.methods.anchors.problem import AnchorsSetting
from whybox.methods.common.columns import Ints

__all__ = ["RuleLaw"]


@final
@dataclass(frozen=True, eq=False)
class RuleLaw:
    """Draws rows under the conditions of a rule.

    A draw is an array (players,) of background rows: which one the cells of each player come from.
    """

    setting: AnchorsSetting

    @cached_property
    def _row_ends(self) -> Floats:
        return _ends(self.setting.background.weights)

    @cached_property
    def _pieces(self) -> tuple[tuple[Ints, Floats, Ints], ...]:
        """Of each player its background rows by piece, their cumulated weights, and where each piece starts."""
        weights, out = self.setting.background.weights, []
        for d in self.setting.distributions:
            starts = np.searchsorted(d.atom_piece, np.arange(len(d) + 1))
            out.append((d.atom_rows, _ends(weights[d.atom_rows]), starts))
        return tuple(out)

    def background_rows(self, u: Floats) -> Ints:
        """Return background rows by weight at uniform numbers, (draws,)."""
        return np.asarray(np.minimum(np.searchsorted(self._row_ends, u, side="right"), len(self._row_ends) - 1))

    def rows_that_meet(self, condition: Condition, u: Floats) -> Ints:
        """Return background rows that meet a condition, by weight, at uniform numbers, (draws,)."""
        rows, ends, starts = self._pieces[condition.player]
        first, last = int(starts[condition.first]), int(starts[condition.last])
        low = ends[first - 1] if first else 0.0
        at = np.searchsorted(ends, low + u * (ends[last - 1] - low), side="right")
        return np.asarray(rows[np.clip(at, first, last - 1)], dtype=np.int64)

    def draw(self, rng: np.random.Generator, rule: Sequence[Condition], count: int) -> Ints:
        """Return draws under the conditions of a rule, (count, players)."""
        base = self.background_rows(rng.random(count))
        sources = np.repeat(base[:, None], self.setting.players.count, axis=1)
        for condition in sorted(rule, key=lambda each: each.player):
            p = condition.player
            piece = self.setting.pieces[base, p]
            breaks = (piece < condition.first) | (piece >= condition.last)
            sources[breaks, p] = self.rows_that_meet(condition, rng.random(int(breaks.sum())))
        return sources


def _ends(weights: Floats) -> Floats:
    ends: Floats = np.cumsum(weights)
    return np.asarray(ends / ends[-1])
