"""Rows from whose curves the error of a mean over all rows is estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints

__all__ = ["ErrorSample"]


@final
@dataclass(frozen=True, eq=False)
class ErrorSample:
    """Some rows, and how much each counts in sums over all rows.

    Attributes:
        rows: positions; may repeat. mean_weights: (rows,) how much each counts in the mean.
        square_weights, cube_weights: (rows,) how much the second and third power of its distance from the mean count in the sums of
            ``(weight * distance)^2`` and ``(weight * distance)^3`` over all rows, weights summing to one.
        notes: what the reader should know.
    """

    rows: Ints
    mean_weights: Floats
    square_weights: Floats
    cube_weights: Floats
    notes: tuple[str, ...] = ()

    @classmethod
    def all_rows(cls, rows: Ints, weights: Floats) -> ErrorSample:
        """Return all rows that have weight."""
        return cls(rows, weights, weights**2, weights**3)

    @classmethod
    def draw_rows(cls, weights: Floats, size: int) -> ErrorSample:
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
        return bool(self.square_weights.min() == self.square_weights.max())

    def random_subset(self, max_rows: int) -> ErrorSample:
        """Return at most so many of the rows, drawn at random, to stand for all of them."""
        count = len(self.rows)
        if count <= max_rows:
            return self
        chosen = np.sort(np.random.default_rng(0).choice(count, max_rows, replace=False))
        times = count / max_rows
        return replace(
            self,
            rows=self.rows[chosen],
            mean_weights=self.mean_weights[chosen],
            square_weights=times * self.square_weights[chosen],
            cube_weights=times * self.cube_weights[chosen],
        )
