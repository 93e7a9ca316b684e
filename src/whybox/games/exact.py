"""Exact values of a game whose every coalition was evaluated: for probabilities behind a link, where no product form exists."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from whybox.data.table import Floats
from whybox.games.indices import Index
from whybox.models.links import Link

__all__ = ["game_of_row", "values_of_game"]

MAX_CELLS = 2**21  # numbers held at a time while a row's coalitions are evaluated


def game_of_row(
    hybrids: Callable[[Floats, Floats], Floats],
    base: Floats,
    link: Link,
    x: Floats,
    B: Floats,
    weights: Floats,
    count: int,
) -> Floats:
    """Return v(S) = mean over background rows b of link(raw output of the hybrid of x inside S and b outside), for all S.

    Args:
        hybrids: (row, background rows) -> raw outputs without base, (background rows, 2^count, outputs).
        base: (outputs,). x: (model columns,). B: (background rows, model columns). weights: (background rows,).
        count: players.

    Returns:
        (2^count, outputs); bit j of the coalition's number says that player j comes from x.
    """
    k = len(base)
    game = np.zeros((2**count, k))
    step = max(1, MAX_CELLS // (2**count * k))
    for at in range(0, len(B), step):
        raw = hybrids(x, np.ascontiguousarray(B[at : at + step])) + base
        game += np.tensordot(weights[at : at + step], link(raw), axes=1)
    return game


def values_of_game(game: Floats, count: int, index: Index, order: int) -> Floats:
    """Return attributions (players, outputs) or pairwise interactions (players, players, outputs; zero diagonal) of a whole game.

    Weights are E[p^s (1-p)^t] over coalitions of the other players: the definition of a probabilistic value.
    """
    k = game.shape[1]
    moments = index.moments(count + 1)
    numbers = np.arange(2**count)
    size = np.array([int(n).bit_count() for n in numbers])
    out = np.zeros((*(count,) * order, k))
    for target in combinations(range(count), order):
        bits = sum(1 << j for j in target)
        outside = numbers[numbers & bits == 0]
        weight = moments[size[outside], count - order - size[outside]]
        delta = game[outside | bits] + (-1) ** order * game[outside]
        if order == 2:
            delta = delta - game[outside | 1 << target[0]] - game[outside | 1 << target[1]]
        value = weight @ delta
        out[target] = value
        if order == 2:
            out[target[::-1]] = value
    return out
