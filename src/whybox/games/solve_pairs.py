"""Interactions of pairs of players and main effects of many games from the worths of one design, with a standard error each.

Values of players follow from half the differences of pairs of coalitions (solve.py), interactions from their means (even_part.py). The main effect of a player is
its value less half of all its interactions.
"""

from __future__ import annotations

import numpy as np

from whybox.data.table import Floats
from whybox.games.donor_blocks import BlockDesign
from whybox.games.even_part import EvenPart, over_donors, slopes_of_all
from whybox.games.even_process import EvenProcess
from whybox.games.exact import exact_values
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.indices import SHAPLEY, Index
from whybox.games.solve import GameValues, ObservedPairs, OneOutput, is_of_all_pairs, share_total

__all__ = ["solve_pairs"]


def solve_pairs(design: BlockDesign, observed: ObservedPairs, index: Index = SHAPLEY) -> GameValues:
    """Return each game's interactions, (games, players, players, outputs): half of each on either side of the diagonal, main effects on it.

    Args:
        design: that the games share. observed: their outputs. index: one that is symmetric: Shapley, Banzhaf at 1/2.

    Returns:
        values, and variances of the same shape; rows of values add up to the players' values, whose spread it has, (games, players, outputs).
    """
    games, players, outputs = len(observed.own), design.coalitions.shape[1], observed.own.shape[1]
    of_players = GameValues(*(np.empty((games, players, outputs)) for _ in range(3)))
    pairs, of_pairs = (np.empty((games, players * (players - 1) // 2, outputs)) for _ in range(2))
    main = np.empty((games, players, outputs))  # what variances of main effects have beside those of values
    processes = None
    if not is_of_all_pairs(design):
        processes = CoalitionProcess(design.coalitions, index), EvenProcess(design.coalitions, index)
    total = observed.total
    for k in range(outputs):
        one = OneOutput(design, observed, total[:, k], k)
        if processes is None:
            of_players.values[:, :, k] = one.of_all_pairs(index)[0]
            of_players.variances[:, :, k] = 0.0  # those of main effects are known as they are
            pairs[:, :, k], of_pairs[:, :, k], main[:, :, k] = _of_all_pairs(design, one, index)
        else:
            of_players.values[:, :, k], of_players.variances[:, :, k] = one.by_process(processes[0])
            values, variances, both = EvenPart(design, one, processes[1]).solve(processes[0])
            pairs[:, :, k], of_pairs[:, :, k] = values[:, :-players], variances[:, :-players]
            # errors of values and of interactions are of the same donors; where they seem to cancel, that is not counted
            main[:, :, k] = variances[:, -players:] / 4 + np.maximum(-both, 0.0)
        of_players.spread[:, :, k] = one.spread
    share_total(of_players, observed, total, efficient=index.efficient)
    return _matrices(of_players, pairs, of_pairs, main)


def _matrices(of_players: GameValues, pairs: Floats, of_pairs: Floats, main: Floats) -> GameValues:
    """Values and variances as matrices, from the interactions of pairs, their variances, and what those of main effects have beside those of values."""
    games, players, outputs = of_players.values.shape
    first, second = np.triu_indices(players, 1)
    values, variances = np.zeros((2, games, players, players, outputs))
    values[:, first, second] = values[:, second, first] = pairs / 2
    variances[:, first, second] = variances[:, second, first] = of_pairs / 4
    own = np.arange(players)
    values[:, own, own] = of_players.values - values.sum(axis=2)
    variances[:, own, own] = of_players.variances + main
    return GameValues(values, variances, of_players.spread)


def _of_all_pairs(design: BlockDesign, one: OneOutput, index: Index) -> tuple[Floats, Floats, Floats]:
    """Interactions and their variances, (games, pairs of players), and variances of main effects, (games, players): every coalition has the same donors."""
    players = design.coalitions.shape[1]
    first, second = np.triu_indices(players, 1)
    halves, means, total = slopes_of_all(design)
    of_matrix = exact_values(means, index, 2)  # (players, players, pairs)
    of_pairs = of_matrix[first, second]
    of_means = np.concatenate([of_pairs, -of_matrix.sum(axis=1) / 2])
    of_halves = np.concatenate([np.zeros_like(of_pairs), exact_values(halves, index)])
    of_total = np.concatenate([np.zeros((len(of_pairs), 1)), exact_values(total, index)])
    values, variances, _ = over_donors(design, one, of_halves, of_means, of_total)
    return values[:, :-players], variances[:, :-players], variances[:, -players:]
