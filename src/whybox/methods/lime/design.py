"""What a linear model near a row is fitted on: whether each feature lies in the row's own region, how samples are weighed, and what is known of both.

Columns are independent, also after the weights, so the weighted covariance of the design is diagonal and known: a coefficient is one weighted mean,
not the solution of a regression.

Source: Garreau and von Luxburg, Looking deeper into tabular LIME (2020), arXiv:2008.11092.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.lime.problem import LimeProblem
from whybox.methods.lime.sample import Sample, places_of

__all__ = ["LocalDesign"]


@final
@dataclass(frozen=True, eq=False)
class LocalDesign:
    """The design of every row of a problem.

    A column of it is 1 where a feature lies in the row's own region, else 0; of a number that is not cut into bins, its place in standard deviations.

    Attributes:
        problem: the problem.
    """

    problem: LimeProblem

    @cached_property
    def is_scaled(self) -> npt.NDArray[np.bool_]:
        """Which players are numbers that are not cut into bins, (players,)."""
        return np.array([d.is_unbounded for d in self.problem.distributions])

    @cached_property
    def own_place(self) -> Floats:
        """Place of each row's own number in standard deviations, (rows, players); 0 for other players."""
        out = np.zeros(self.problem.first.shape)
        for p in np.flatnonzero(self.is_scaled):
            d = self.problem.distributions[p]
            out[:, p] = (self.problem.regions[p].numbers - d.mean[0]) / d.std[0]
        return out

    @cached_property
    def centre(self) -> Floats:
        """Weighted mean of the design, (rows, players)."""
        w2 = self.problem.width**2
        return np.asarray(np.where(self.is_scaled, self.own_place / (1.0 + w2), self.problem.own_chance))

    @cached_property
    def variance(self) -> Floats:
        """Weighted variance of the design, (rows, players); 0 where it is constant."""
        w2 = self.problem.width**2
        binned = self.problem.own_chance * self.problem.other_chance
        return np.asarray(np.where(self.is_scaled, w2 / (1.0 + w2), binned))

    @cached_property
    def own_value(self) -> Floats:
        """The design at the row itself, (rows, players)."""
        return np.asarray(np.where(self.is_scaled, self.own_place, 1.0))

    @cached_property
    def log_mean_weight(self) -> Floats:
        """Log of the mean weight of a sample, (rows,)."""
        return np.asarray(self._log_mean_of_powers(1.0).sum(axis=1))

    @cached_property
    def effective_size(self) -> Floats:
        """Effective share of a sample that is not drawn for the row, (rows,): squared mean of the weights over the mean of their squares."""
        return np.asarray(np.exp((2.0 * self._log_mean_of_powers(1.0) - self._log_mean_of_powers(2.0)).sum(axis=1)))

    def _log_mean_of_powers(self, power: float) -> Floats:
        """Log of the mean of each player's weight to a power, (rows, players)."""
        problem, s = self.problem, power / self.problem.width**2
        binned = np.log(problem.share + problem.other_share * np.exp(-0.5 * s))
        scaled = -0.5 * np.log1p(s) - 0.5 * self.own_place**2 * s / (1.0 + s)
        return np.asarray(np.where(self.is_scaled, scaled, binned))

    def places(self, sample: Sample) -> Floats:
        """Return the numbers of a sample in standard deviations, (draws, players); 0 for other players."""
        return places_of(self.problem.distributions, sample)

    def weights(self, rows: Ints, sample: Sample, places: Floats | None) -> Floats:
        """Return the weight of every draw for some rows over its mean, (rows, draws).

        Args:
            places: as :meth:`places` returns them; None where no player is scaled.
        """
        half, log_mean = 0.5 / self.problem.width**2, self.log_mean_weight[rows, None]
        outside = self._count_outside(rows, sample)
        if places is None:
            by_count = np.exp(-half * np.arange(self.is_scaled.size + 1) - log_mean)
            return np.take_along_axis(by_count, outside, axis=1)
        return np.asarray(np.exp(-half * (outside + self._squared_places(rows, places)) - log_mean))

    def relative_weights(self, rows: Ints, sample: Sample, places: Floats | None) -> Floats:
        """Return the weight of every draw for some rows over the largest for that row, (rows, draws). The argument is as of :meth:`weights`."""
        half, outside = 0.5 / self.problem.width**2, self._count_outside(rows, sample)
        if places is None:
            outside -= outside.min(axis=1, keepdims=True)
            return np.asarray(np.exp(-half * np.arange(self.is_scaled.size + 1))[outside])
        distance = outside + self._squared_places(rows, places)
        return np.asarray(np.exp(-half * (distance - distance.min(axis=1, keepdims=True))))

    def _count_outside(self, rows: Ints, sample: Sample) -> Ints:
        """Of how many players every draw lies outside the own region, (rows, draws); those that are scaled are not counted."""
        first, last = self.problem.first[rows], self.problem.last[rows]
        if sample.is_piece is not None:
            player, number, is_piece = sample.is_piece
            outside = (number < first[:, player]) | (number >= last[:, player])
            outside &= ~self.is_scaled[player]
            return np.asarray(outside.astype(np.float32) @ is_piece, dtype=np.int64)
        out = np.zeros((len(first), len(sample)), dtype=np.int64)
        for p in np.flatnonzero(~self.is_scaled):
            piece = sample.pieces[:, p]
            out += (piece < first[:, p, None]) | (piece >= last[:, p, None])
        return out

    def _squared_places(self, rows: Ints, places: Floats) -> Floats:
        """Squared distance of every draw in standard deviations, (rows, draws), of the players that are scaled."""
        out = np.zeros((len(rows), len(places)))
        for p in np.flatnonzero(self.is_scaled):
            out += (places[:, p] - self.own_place[rows, p, None]) ** 2
        return out

    def moments(self, rows: Ints, sample: Sample, places: Floats | None, draws: slice, weighted: Floats) -> Floats:
        """Return sums over some draws of the design times numbers of each row, (rows, players, outputs).

        Args:
            places: as of :meth:`weights`. draws: which. weighted: (outputs, rows, draws), the numbers.
        """
        first, last = self.problem.first[rows], self.problem.last[rows]
        if sample.is_piece is not None:
            player, number, is_piece = sample.is_piece
            inside = (number >= first[:, player]) & (number < last[:, player])
            by_piece = weighted @ is_piece[:, draws].T.astype(np.float64)
            start = np.searchsorted(player, np.arange(first.shape[1]))
            out = np.add.reduceat(np.where(inside, by_piece, 0.0), start, axis=2)
        else:
            out = np.zeros((len(weighted), *first.shape))
            for p in np.flatnonzero(~self.is_scaled):
                piece = sample.pieces[draws, p]
                inside = (piece >= first[:, p, None]) & (piece < last[:, p, None])
                out[:, :, p] = np.where(inside, weighted, 0.0).sum(axis=2)
        if places is not None:
            scaled = np.flatnonzero(self.is_scaled)
            out[:, :, scaled] = weighted @ places[draws][:, scaled]
        return np.asarray(out.transpose(1, 2, 0))

    def of_row(self, row: int, sample: Sample, places: Floats | None) -> tuple[Floats, Floats]:
        """Return the design of one row at every draw, (draws, players), and the weight of every draw over the mean weight, (draws,).

        Args:
            places: as :meth:`places` returns them; None where no player is scaled.
        """
        problem = self.problem
        inside = (sample.pieces >= problem.first[row]) & (sample.pieces < problem.last[row])
        half = 0.5 / problem.width**2
        if places is None:
            outside = inside.shape[1] - np.count_nonzero(inside, axis=1)
            by_count = np.exp(-half * np.arange(inside.shape[1] + 1) - self.log_mean_weight[row])
            return inside.astype(np.float64), by_count[outside]
        outside = np.count_nonzero(~inside & ~self.is_scaled, axis=1)
        distance = ((places - self.own_place[row]) ** 2)[:, self.is_scaled].sum(axis=1)
        design = np.where(self.is_scaled, places, inside)
        return design, np.exp(-half * (outside + distance) - self.log_mean_weight[row])
