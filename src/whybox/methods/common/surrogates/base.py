"""What a surrogate can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.indices import SHAPLEY, Index

__all__ = ["PlayerOf", "Surrogate"]

PlayerOf = npt.NDArray[np.int32]


class Surrogate(Protocol):
    """A model of cells as numbers whose interventional Shapley values are exact."""

    def predict(self, cells: Floats) -> Floats:
        """Return the outputs, (n, outputs), of rows (n, columns)."""

    def shapley_values(
        self,
        rows: Floats,
        background: Floats,
        weights: Floats,
        of_column: PlayerOf,
        players: int,
        index: Index = SHAPLEY,
        *,
        threads: int = 1,
    ) -> Floats:
        """Return exact values over the whole background, (n, players, outputs).

        Args:
            rows, background: cells as numbers, (n, columns) and (B, columns).
            weights: (B,), of the background rows, adding up to one.
            of_column: (columns,), the player of each column.
            players: how many there are. index: which value of the game.
            threads: rows are shared between them; the numbers do not depend on it.
        """
