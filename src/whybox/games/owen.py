"""Owen values of several levels: the values of a game whose players stand in a hierarchy of blocks.

A hierarchy is a tree: its leaves are the players, and each inner node is a block of them. An order of the players is compatible with it if the players of
every block come one right after the other. The value of a player is the mean of what the player adds to those before it, over all compatible orders with
equal weights (Winter 1989, doi:10.1007/BF01268148). One block of all players gives the Shapley value, two levels give the Owen value
(Owen 1977, doi:10.1007/978-3-642-45494-3_7). Values add up to the worth of all players less that of none, and those of a block to the value of the
block as one player.

In a binary tree each block is shared between its two halves in two contexts of equal weight: the other half absent, and the other half present, given what
is present outside the block. That is what shap's PartitionExplainer computes where its budget lasts and ``fixed_context`` is None. Where the budget ends,
it shares what is left equally and says nothing; here such games are sampled, with errors (compatible_orders.py).

The coalitions that are needed are a part of the block's children in every context of the block: for a balanced binary tree of n players about
``2 n**2 / 3`` of them, for a chain of nested pairs all ``2**n``. No coalition comes twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.games.exact import all_coalitions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Hierarchy", "OwenGame", "count_coalitions", "nested_hierarchy", "owen_game"]

Coalitions = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True)
class Hierarchy:
    """Players in nested blocks.

    Nodes are numbered: players first, then blocks, each after its children; the last one holds all players.

    Attributes:
        players: how many. blocks: the children of each block, two or more nodes.
    """

    players: int
    blocks: tuple[tuple[int, ...], ...]

    @cached_property
    def members(self) -> Coalitions:
        """Which players each node holds, (nodes, players)."""
        out = np.zeros((self.players + len(self.blocks), self.players), dtype=bool)
        out[: self.players] = np.eye(self.players, dtype=bool)
        for block, children in enumerate(self.blocks, start=self.players):
            out[block] = out[list(children)].any(axis=0)
        return out

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """How many players each node holds, (nodes,)."""
        return np.asarray(self.members.sum(axis=1))

    def restricted(self, kept: Coalitions) -> Hierarchy:
        """Return the hierarchy of some players alone, in their order: blocks of fewer than two of them are dissolved.

        Players who change no coalition's worth may be left out: the values of the others stay the same.

        Args:
            kept: (players,), which of them.
        """
        position = np.cumsum(kept) - 1
        node: list[int | None] = [int(position[i]) if kept[i] else None for i in range(self.players)]
        blocks: list[tuple[int, ...]] = []
        count = int(kept.sum())
        for children in self.blocks:
            left = [n for n in (node[c] for c in children) if n is not None]
            if len(left) > 1:
                blocks.append(tuple(left))
                node.append(count + len(blocks) - 1)
            else:
                node.append(left[0] if left else None)
        return Hierarchy(count, tuple(blocks))

    def nested(self, names: Sequence[Any]) -> Any:
        """Return the hierarchy as nested lists of the players' names."""
        node: list[Any] = list(names)
        for children in self.blocks:
            node.append([node[c] for c in children])
        return node[-1]


def nested_hierarchy(nested: Any, players: int) -> Hierarchy:
    """Return the hierarchy of nested lists or tuples of players' positions, each of which comes once.

    A list of one is that one itself. A single player makes a hierarchy without blocks.

    Raises:
        ValueError: a player is not there, or there twice, or missing.
    """
    blocks: list[tuple[int, ...]] = []
    seen: list[int] = []

    def node_of(part: Any) -> int | None:
        if not isinstance(part, (list, tuple)):
            seen.append(int(part))
            return int(part)
        children = [n for n in map(node_of, part) if n is not None]
        if len(children) < 2:
            return children[0] if children else None
        blocks.append(tuple(children))
        return players + len(blocks) - 1

    node_of(nested)
    if sorted(seen) != list(range(players)):
        raise ValueError(f"nested lists of the players {sorted(seen)} do not hold each of {players} players once")
    return Hierarchy(players, tuple(blocks))


def count_coalitions(hierarchy: Hierarchy) -> int:
    """Return how many different coalitions the exact values take, those of all players and of none included."""
    contexts = [1] * (hierarchy.players + len(hierarchy.blocks))
    total = 2 if hierarchy.players else 1
    for block in range(len(hierarchy.blocks) - 1, -1, -1):
        children = hierarchy.blocks[block]
        here = contexts[hierarchy.players + block]
        total += here * (2 ** len(children) - 2)
        for child in children:
            contexts[child] = here * 2 ** (len(children) - 1)
    return total


@final
@dataclass(frozen=True, eq=False)
class OwenGame:
    """The coalitions that exact values take, and the linear map from their worths to the values.

    Attributes:
        coalitions: (coalitions, players), each once; the first is empty, the second holds all.
        weights: (players, coalitions).
    """

    coalitions: Coalitions
    weights: csr_array

    def values(self, worths: Floats) -> Floats:
        """Return the values, (players, outputs), from the worths of the coalitions, (coalitions, outputs)."""
        return np.asarray(self.weights @ worths, dtype=np.float64)


def owen_game(hierarchy: Hierarchy) -> OwenGame:
    """Return the coalitions of the exact values with their weights; :func:`count_coalitions` says beforehand how many there are."""
    from scipy.sparse import coo_array

    players, members = hierarchy.players, hierarchy.members
    none = np.zeros((1, players), dtype=bool)
    if players < 2:
        coalitions = np.concatenate([none, ~none])[: players + 1]
        weights = coo_array(np.array([[-1.0, 1.0]])[:players]) if players else coo_array((0, 1))
        return OwenGame(coalitions, weights.tocsr())
    parts, count = [none, ~none], 2
    entries: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]] = []
    # of each node not yet reached: contexts (n, players), where the coalitions without and with the node are, and weights
    last = players + len(hierarchy.blocks) - 1
    contexts = {last: (none, np.array([0]), np.array([1]), np.ones(1))}
    for block in range(last, players - 1, -1):
        children = hierarchy.blocks[block - players]
        outside, absent, present, weight = contexts.pop(block)
        subsets = all_coalitions(len(children))
        inside = np.stack([members[list(np.array(children)[s])].any(axis=0) for s in subsets])
        index = np.empty((len(outside), len(subsets)), dtype=np.intp)
        index[:, 0], index[:, -1] = absent, present
        index[:, 1:-1] = count + np.arange(len(outside) * (len(subsets) - 2)).reshape(len(outside), -1)
        count += len(outside) * (len(subsets) - 2)
        parts.append((outside[:, None] | inside[None, 1:-1]).reshape(-1, players))
        for bit, child in enumerate(children):
            without = np.flatnonzero(~subsets[:, bit])
            size = subsets[without].sum(axis=1)
            share = np.array([1.0 / (len(children) * comb(len(children) - 1, int(s))) for s in size])
            low, high = index[:, without].reshape(-1), index[:, without | (1 << bit)].reshape(-1)
            weights_here = (weight[:, None] * share).reshape(-1)
            if child >= players:
                around = (outside[:, None] | inside[None, without]).reshape(-1, players)
                contexts[child] = around, low, high, weights_here
            else:
                entries.append((np.full(len(low), child), low, -weights_here))
                entries.append((np.full(len(high), child), high, weights_here))
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    return OwenGame(np.concatenate(parts), coo_array((value, (row, column)), shape=(players, count)).tocsr())
