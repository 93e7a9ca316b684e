"""Exact values of a game, from the worths of all its coalitions.

Sources: Shapley, A value for n-person games (1953); Dubey, Neyman & Weber, Value theory without efficiency, Mathematics of Operations Research 6 (1981), for
probabilistic values; Grabisch & Roubens, An axiomatic approach to the concept of interaction among players in cooperative games, International Journal of
Game Theory 28 (1999), for interaction indices.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.indices import SHAPLEY, Index
from whybox.models.links import Link

__all__ = ["all_coalitions", "exact_values", "interaction_matrix", "interventional_worths"]

MAX_NUMBERS_HELD: Final = 2**21  # outputs held at a time while a row's coalitions are evaluated


def all_coalitions(players: int) -> npt.NDArray[np.bool_]:
    """Return all coalitions, (2^players, players): coalition k holds the players whose bits are set in k."""
    return ((np.arange(2**players)[:, None] >> np.arange(players)) & 1).astype(bool)


def exact_values(worths: Floats, index: Index = SHAPLEY, order: int = 1) -> Floats:
    """Return each player's value, or each pair's interaction, in a game whose every coalition was evaluated.

    The value is the sum over coalitions S of the other players of ``E[p^s (1 - p)^t] * delta(S)``, where s others are in S and t are not, and p has the
    distribution of the index. ``delta(S)`` is ``v(S + i) - v(S)`` for a player i, ``v(S + i + j) - v(S + i) - v(S + j) + v(S)`` for a pair: the Shapley
    value and the Shapley interaction index where p is uniform. A player who changes no coalition's worth gets exactly 0.

    Args:
        worths: (2^players, outputs), in the order of :func:`all_coalitions`.
        index: which probabilistic value.
        order: 1 for values of players, 2 for interactions of pairs.

    Returns:
        (players, outputs), or (players, players, outputs): symmetric, zero on the diagonal; each entry is the whole interaction of its pair.
    """
    players, outputs = len(worths).bit_length() - 1, worths.shape[1]
    out = np.zeros((*(players,) * order, outputs))
    others = players - order
    if others < 0:
        return out
    size = all_coalitions(others).sum(axis=1)
    weight = index.moments(players + 1)[size, others - size]
    for members in combinations(range(players), order):
        out[members] = out[members[::-1]] = weight @ _discrete_differences(worths, members)
    return out


def interaction_matrix(values: Floats, pairs: Floats) -> Floats:
    """Return half of each interaction on either side of the diagonal and main effects on it, (players, players, outputs), so that rows add up to values.

    Args:
        values: (players, outputs). pairs: whole interactions, (players, players, outputs), zero on the diagonal.
    """
    out = pairs / 2.0
    np.einsum("iio->io", out)[...] = values - out.sum(axis=1)
    return out


def _discrete_differences(worths: Floats, members: tuple[int, ...]) -> Floats:
    """What one player or two add to each coalition of the others, (2^others, outputs): the discrete derivative of the game."""
    outputs = worths.shape[1]
    if len(members) == 1:
        split = worths.reshape(-1, 2, 2 ** members[0], outputs)
        return np.asarray(split[:, 1] - split[:, 0]).reshape(-1, outputs)
    low, high = members
    split = worths.reshape(-1, 2, 2 ** (high - low - 1), 2, 2**low, outputs)
    both, none = split[:, 1, :, 1], split[:, 0, :, 0]
    return np.asarray(both + none - split[:, 0, :, 1] - split[:, 1, :, 0]).reshape(-1, outputs)


def interventional_worths(
    hybrids: Callable[[Floats, Floats], Floats],
    base: Floats,
    link: Link,
    row: Floats,
    background: Floats,
    weights: Floats,
    players: int,
) -> Floats:
    """Return v(S) for all S: the mean over background rows b of link(raw output of a hybrid, the row inside S and b outside).

    Args:
        hybrids: (row, background rows) -> raw outputs without base, (background rows, 2^players, outputs).
        base: (outputs,). row: (model columns,). background: (background rows, model columns). weights: (background rows,), summing to one.

    Returns:
        (2^players, outputs), in the order of :func:`all_coalitions`.
    """
    outputs = len(base)
    worths = np.zeros((2**players, outputs))
    step = max(1, MAX_NUMBERS_HELD // (2**players * outputs))
    for start in range(0, len(background), step):
        raw = hybrids(row, np.ascontiguousarray(background[start : start + step])) + base
        worths += np.tensordot(weights[start : start + step], link(raw), axes=1)
    return worths
