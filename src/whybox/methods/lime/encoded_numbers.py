"""How numbers that are drawn inside bins arrive at a model behind steps that scale or transform each column: where thresholds of trees lie in the column's own numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.cut_background import CutBackground
from whybox.methods.common.piecewise import Draw
from whybox.methods.lime.sample import sample_cells, sample_of
from whybox.models.linear import Linear

__all__ = ["EncodedNumbers", "model_columns"]

DRAWS_COMPARED: Final = 512
ON_LINE: Final = 1e-6  # of the largest number that arrives
EXACT: Final = 1e-13  # of the range of a column: how closely a threshold is found
MAX_STEPS: Final = 64
MAX_DEVIATIONS: Final = 12.0  # of a number that is not cut into bins: beyond there is no mass


def model_columns(neighbourhood: CutBackground, player: int) -> Ints:
    """Return the model columns of a player."""
    players, model = neighbourhood.players, neighbourhood.model
    made = np.array([len(s) > 0 for s in model.inputs.source_columns], dtype=bool)
    return np.flatnonzero((players.of_column == player) & made)


@final
class EncodedNumbers:
    """What the steps before a model do with the numbers of each player, seen on rows that were drawn.

    Args:
        neighbourhood: with the model and the distributions.

    Attributes:
        problem: why exact values are not possible, in words; None where they are.
    """

    def __init__(self, neighbourhood: CutBackground) -> None:
        self._neighbourhood = neighbourhood
        self._columns: dict[int, int] = {}  # of players whose numbers do not arrive as they are
        self._lines: dict[int, tuple[float, float]] = {}
        drawn = [p for p, d in enumerate(neighbourhood.distributions) if d.is_continuous.any()]
        self.problem = self._look(drawn) if drawn else None

    def _look(self, drawn: list[int]) -> str | None:
        neighbourhood = self._neighbourhood
        model = neighbourhood.model
        u = np.random.default_rng(0).random((DRAWS_COMPARED, neighbourhood.players.count))
        sample = sample_of(neighbourhood.background.table, neighbourhood.distributions, u)
        matrix = model.inputs.matrix(sample.table)
        for p in drawn:
            columns, d = model_columns(neighbourhood, p), neighbourhood.distributions[p]
            if len(columns) == 0:
                continue
            if len(columns) > 1:
                return f"several columns of the model are made of {d.name!r}, whose values are drawn inside bins"
            value = sample.values[:, p]
            known = ~np.isnan(value)
            ours, theirs = value[known], matrix[known, columns[0]]
            if any(np.array_equal(theirs, same) for same in (ours, ours.astype(np.float32))):
                continue
            if isinstance(model, Linear):
                slope, origin = np.polyfit(ours - ours.mean(), theirs, 1)
                self._lines[p] = float(slope), float(origin - slope * ours.mean())
                size = ON_LINE * max(float(np.abs(theirs).max()), 1e-300)
                if not np.allclose(self.on_line(p, ours), theirs, rtol=0.0, atol=size):
                    return f"a step of the model changes the numbers of {d.name!r}, and not along a line"
                continue
            order = np.argsort(ours)
            if not (np.diff(theirs[order]) >= 0).all():  # NaN too
                return f"a step of the model changes the order of the numbers of {d.name!r}"
            self._columns[p] = int(columns[0])
        return None

    def on_line(self, player: int, number: Floats) -> Floats:
        """Return what a linear model reads for numbers of a player."""
        slope, origin = self._lines.get(player, (1.0, 0.0))
        return slope * number + origin

    def slope(self, player: int) -> float:
        """Return by how much what a linear model reads changes with the number."""
        return self._lines.get(player, (1.0, 0.0))[0]

    def thresholds(self, edges: Mapping[int, Floats]) -> dict[int, Floats]:
        """Return edges of the model's columns in the own numbers of players: the largest number that does not arrive above an edge.

        Args:
            edges: by player, ascending.
        """
        found = {p: e for p, e in edges.items() if p not in self._columns or not len(e)}
        search = {p: e for p, e in edges.items() if p not in found}
        return found | (self._search(search) if search else {})

    def _search(self, edges: dict[int, Floats]) -> dict[int, Floats]:
        """Close in on all edges of all players together: where a line between the ends meets the edge, and by halves."""
        low = {p: np.full(len(e), self._ends(p)[0]) for p, e in edges.items()}
        high = {p: np.full(len(e), self._ends(p)[1]) for p, e in edges.items()}
        at_low, at_high = self._arrive(low), self._arrive(high)
        beyond = {p: np.where(at_high[p] <= e, np.inf, np.where(at_low[p] > e, -np.inf, 0.0)) for p, e in edges.items()}
        close = {p: EXACT * (high[p] - low[p]) for p in edges}
        for step in range(MAX_STEPS):
            if all((high[p] - low[p] <= 4.0 * close[p])[beyond[p] == 0].all() for p in edges):
                break
            middle = {p: 0.5 * (low[p] + high[p]) for p in edges}
            tried = [middle]
            if step % 2 == 0:
                share = {p: _share(e, at_low[p], at_high[p]) for p, e in edges.items()}
                meet = {p: low[p] + share[p] * (high[p] - low[p]) for p in edges}
                tried = [{p: meet[p] - close[p] for p in edges}, {p: meet[p] + close[p] for p in edges}]
            for points in tried:
                here = {p: np.clip(points[p], low[p], high[p]) for p in edges}
                arrived = self._arrive(here)
                for p, e in edges.items():
                    above = arrived[p] > e
                    low[p], at_low[p] = np.where(above, low[p], here[p]), np.where(above, at_low[p], arrived[p])
                    high[p], at_high[p] = np.where(above, here[p], high[p]), np.where(above, arrived[p], at_high[p])
        # in flat parts two edges may be found in the other order, by as little as they are known
        return {p: np.maximum.accumulate(np.where(beyond[p] == 0, low[p], beyond[p])) for p in edges}

    def _ends(self, player: int) -> tuple[float, float]:
        """Between which numbers of a player there is mass."""
        d = self._neighbourhood.distributions[player]
        if d.is_unbounded:
            reach = MAX_DEVIATIONS * float(d.std[0])
            return float(d.mean[0]) - reach, float(d.mean[0]) + reach
        return float(np.nanmin(d.low)), float(np.nanmax(d.high))

    def _arrive(self, numbers: dict[int, Floats]) -> dict[int, Floats]:
        """What the model reads for some numbers of each player; other columns stay as they are in a row of the background."""
        matrix = self.encoded(numbers)
        return {p: matrix[: len(n), self._columns[p]] for p, n in numbers.items()}

    def encoded(self, numbers: Mapping[int, Floats]) -> Floats:
        """Return rows with some numbers of players as the model encodes them; shorter columns end in a number that repeats.

        Args:
            numbers: by player, whose numbers are drawn.
        """
        neighbourhood, count = self._neighbourhood, max(map(len, numbers.values()))
        nothing, draws = np.zeros(count, dtype=np.int64), []
        for p, d in enumerate(neighbourhood.distributions):
            if p in numbers:
                value = np.resize(numbers[p], count)
                draws.append(Draw(nothing, nothing - 1, value, value))
            else:
                draws.append(d.draw(np.full(count, 0.5)))
        table = sample_cells(neighbourhood.background.table, neighbourhood.distributions, draws)
        return neighbourhood.model.inputs.matrix(table)


def _share(edge: Floats, low: Floats, high: Floats) -> Floats:
    """Where an edge lies between two numbers, as a share; in the middle where they are equal or not finite."""
    with np.errstate(all="ignore"):
        share = (edge - low) / (high - low)
    return np.where(np.isfinite(share), np.clip(share, 0.0, 1.0), 0.5)
