"""Shapley values of linear models: a weight times the distance from the background mean."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from whybox.background.marginal import Background
from whybox.data.table import Floats
from whybox.games.players import Players
from whybox.models.linear import Linear

__all__ = ["linear_attributions", "linear_hybrids"]


def linear_attributions(model: Linear, background: Background, players: Players, X: Floats) -> Floats:
    """Return the term of each player, (rows, players, outputs), which every index gives: the game is additive, and has no interactions."""
    rows = X if np.isfinite(X).all() else np.nan_to_num(X)
    absent = np.nan_to_num(background.matrix)
    means = np.where(
        (absent == absent[0]).all(axis=0), absent[0], background.weights @ absent
    )  # a constant is its mean
    terms = (rows - means)[:, :, None] * model.weights
    if np.array_equal(players.of_column, np.arange(players.count)):
        terms += 0.0  # no negative zeros, as sums have none
        return terms
    out = np.zeros((len(X), players.count, len(model.base)))
    for column, player in enumerate(players.of_column):
        out[:, player] += terms[:, column]
    return out


def linear_hybrids(model: Linear, of_column: npt.NDArray[np.integer], count: int) -> Callable[[Floats, Floats], Floats]:
    """Return what computes the raw outputs, without base, of a row mixed with background rows: (row, background rows) -> (background rows, 2^count, outputs).

    Args:
        of_column: (model columns,) the player of each; -1: it is always that of the background row. count: of players.
    """
    weights = model.weights

    def hybrids(x: Floats, B: Floats) -> Floats:
        game = np.zeros((len(B), 1, weights.shape[1]))
        for j in range(count):  # coalitions without player j, then those with it
            columns = of_column == j
            absent = (np.nan_to_num(B[:, columns]) @ weights[columns])[:, None]
            present = np.nan_to_num(x[columns]) @ weights[columns]
            game = np.concatenate([game + absent, game + present], axis=1)
        others = of_column < 0
        if weights[others].any():
            game += (np.nan_to_num(B[:, others]) @ weights[others])[:, None]
        return game

    return hybrids
