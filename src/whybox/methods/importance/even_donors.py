"""Donors for rows: each row gets the values of another one, and every row serves as often as its weight says."""

from __future__ import annotations

from typing import final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints

__all__ = ["EvenDonors"]


@final
class EvenDonors:
    """Rows on a circle, in an order and as far apart as their weights; a place is drawn for each row, and who stands there is its donor.

    Args:
        order: positions of the donors, (rows of positive weight,). weights: of all rows, which sum to one. rng: draws the places.
    """

    def __init__(self, order: Ints, weights: Floats, rng: np.random.Generator) -> None:
        self._order, self._weights, self._rng = order, weights, rng
        self._kept, self._upper = np.sort(order), np.cumsum(weights[order])
        self.draw_places()

    def draw_places(self) -> None:
        """Draw the places of the rows: a random permutation of them."""
        order = self._rng.permutation(self._kept)
        self._place = np.zeros(len(self._weights))
        self._place[order] = np.cumsum(self._weights[order]) - self._weights[order] * self._rng.random()

    def shifted(self, share: float = 0.0) -> Ints:
        """Return the donor of each row, (rows,), with all places moved on by a share of the circle."""
        place = (self._place + share) % 1.0
        at = np.searchsorted(self._upper, place, side="right").clip(0, len(self._order) - 1)
        return np.asarray(self._order[at], dtype=np.int64)
