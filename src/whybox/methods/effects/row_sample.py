"""Rows from whose curves the error of a mean over all rows is estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints

__all__ = ["RowSample"]


@final
@dataclass(frozen=True, eq=False)
class RowSample:
    """Some rows, and how much each counts in sums over all rows.

    Attributes:
        rows: positions; may repeat. shares: (rows,) how much each counts in the mean.
        squares, cubes: (rows,) how much the second and third power of its distance from the mean count in the sums of ``(weight * distance)^2`` and
            ``(weight * distance)^3`` over all rows, weights summing to one.
        notes: what the reader should know.
    """

    rows: Ints
    shares: Floats
    squares: Floats
    cubes: Floats
    notes: tuple[str, ...] = ()

    @classmethod
    def every(cls, rows: Ints, weights: Floats) -> RowSample:
        """Return all rows that have weight."""
        return cls(rows, weights, weights**2, weights**3)

    @classmethod
    def drawn(cls, weights: Floats, size: int) -> RowSample:
        """Return so many rows, drawn at random: of equal weight once each; else in proportion to their squared weights, so that all squares count alike."""
        rng = np.random.default_rng(0)
        total = float((weights**2).sum())
        if weights.min() == weights.max():
            rows = rng.choice(len(weights), size, replace=False)
        else:
            rows = rng.choice(len(weights), size, p=weights**2 / total)
        count = np.full(size, 1.0 / size)
        return cls(rows, count, count * total, count * total * weights[rows])

    @property
    def is_equal(self) -> bool:
        """Whether all squares count alike."""
        return bool(self.squares.min() == self.squares.max())

    def some(self, most: int) -> RowSample:
        """Return at most so many of the rows, drawn at random, to stand for all of them."""
        count = len(self.rows)
        if count <= most:
            return self
        chosen = np.sort(np.random.default_rng(0).choice(count, most, replace=False))
        times = count / most
        return replace(
            self,
            rows=self.rows[chosen],
            shares=self.shares[chosen],
            squares=times * self.squares[chosen],
            cubes=times * self.cubes[chosen],
        )
