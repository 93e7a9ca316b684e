"""Games whose worth is a mean over background rows of a product with one factor a player, natively. The specification is in reference.py."""

from __future__ import annotations

from typing import Final, final

import numpy as np

from whybox import _native
from whybox.data.table import Floats
from whybox.kernels.compiled_trees import fastest_instructions

__all__ = ["DonorFactors", "product_games"]

CACHE_LINE: Final = 64  # bytes


@final
class DonorFactors:
    """Factors of background rows as the native kernel takes them, for several calls.

    Args:
        factors: (B, products, players). weights: (B,).
    """

    def __init__(self, factors: Floats, weights: Floats) -> None:
        self.shape = factors.shape
        self.packed = _on_cache_line(_packed(factors)).reshape(-1)
        self.weights = np.ascontiguousarray(weights, dtype=np.float64)


def product_games(
    rows: Floats, donors: DonorFactors, nodes: Floats, node_weights: Floats, out: Floats, *, threads: int = 1
) -> None:
    """Add each player's value in each product's game to `out`, (n, products, players).

    The worth of a coalition is the weighted sum over donors of the product of the row's factors inside it and the donor's outside. The quadrature gives a player's
    value: exact where it is so for polynomials in p of a degree one less than there are players.

    Args:
        rows: factors, (n, products, players). donors: of the same products and players.
        nodes, node_weights: of the quadrature (:meth:`whybox.games.indices.Index.rule`).
        threads: the work is shared between them; no number depends on it, nor on which rows are computed together. Ctrl-C waits for the call to end.
    """
    n, products, players = rows.shape
    assert donors.shape[1:] == (products, players)  # noqa: S101  # the native code cannot know
    groups = -(-products // _native.products_at_once)
    if not n or not products or not players:
        return
    odd = len(nodes) % 2
    of_rows = _on_cache_line(_packed(rows).transpose(1, 0, 2, 3))  # (n, groups, players, products of a group)
    values = _on_cache_line(np.zeros(of_rows.shape))
    _native.product_games(
        of_rows.reshape(-1),
        donors.packed,
        n,
        groups,
        players,
        donors.weights,
        np.append(nodes, [0.5] * odd),
        np.append(node_weights, [0.0] * odd),
        fastest_instructions(),
        threads,
        values.reshape(-1),
    )
    out += values.transpose(0, 1, 3, 2).reshape(n, -1, players)[:, :products]


def _packed(factors: Floats) -> Floats:
    """(n, products, players) -> (groups, n, players, products of a group), the last group filled up with zeros."""
    n, products, players = factors.shape
    lanes = _native.products_at_once
    groups = -(-products // lanes)
    if products % lanes:
        factors = np.concatenate([factors, np.zeros((n, groups * lanes - products, players))], axis=1)
    return factors.reshape(n, groups, lanes, players).transpose(1, 0, 3, 2)


def _on_cache_line(array: Floats) -> Floats:
    """Return a contiguous copy that starts on a cache line."""
    memory = np.empty(array.size + CACHE_LINE // 8)
    start = -memory.ctypes.data % CACHE_LINE // 8
    out = memory[start : start + array.size].reshape(array.shape)
    out[...] = array
    return out
