"""Means over pairs of two different rows, and what each row contributes to them."""

from __future__ import annotations

from typing import Final

from whybox.data.table import Floats
from whybox.methods.importance.loss_problem import LossProblem

__all__ = ["EXACT_NOTE", "increase_units", "u_statistic"]

EXACT_NOTE: Final = "Exact for these rows: all pairs of two different rows (the U-statistic); the error is that of the rows as a sample of others like them."


def u_statistic(weights: Floats, of_row: Floats, of_donor: Floats) -> tuple[Floats, Floats]:
    """Return the mean over pairs of two different rows, and each row's influence on it.

    Args:
        weights: (rows,), which sum to one. of_row, of_donor: (rows, players), sums over pairs as :class:`PairDifferences` has them.

    Returns:
        (players,), and (rows, players), whose weighted mean is twice the value.
    """
    scale = 1.0 / (1.0 - float((weights**2).sum()))
    return weights @ of_row * scale, (of_row + of_donor) * scale


def increase_units(problem: LossProblem) -> str:
    """Return the units of an increase of the loss, in words: which loss, and what it is measured in."""
    return f"{problem.loss.name} loss, {problem.loss.units}"
