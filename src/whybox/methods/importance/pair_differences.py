"""Sums over all pairs of rows, of which exact permutation importance is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from whybox.data.table import Floats

__all__ = ["PairDifferences"]


@final
@dataclass(frozen=True, eq=False)
class PairDifferences:
    """Sums over pairs of rows, of D_ij weighted by w_i w_j: D_ij is the loss of row i with the player's values of row j, less its loss with its own.

    Attributes:
        of_row: (rows, players), the sum over donors j of w_j D_ij. of_donor: (rows, players), the sum over rows i of w_i D_ij.
        baseline: (rows,), the loss of each row as it is. raw: (rows, outputs), the raw outputs of each row as it is.
    """

    of_row: Floats
    of_donor: Floats
    baseline: Floats
    raw: Floats
