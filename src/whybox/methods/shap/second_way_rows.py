"""What every second way to compute attributions shares: its protocol, and rows of a result from the numbers of players and pairs."""

from __future__ import annotations

from itertools import combinations
from typing import Protocol

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.shap.problem import ShapProblem

__all__ = ["SecondWay", "SparseValues", "picked_outputs", "result_rows", "row_of_worths"]

Ints = npt.NDArray[np.int64]
SparseValues = tuple[Ints, Floats]  # which players or pairs, (n,), and their numbers, (n, outputs)


class SecondWay(Protocol):
    """What recomputes rows.

    Attributes:
        description: how, in words that follow "were recomputed". output_positions: positions among the outputs explained. max_rows: how many it can recompute.
    """

    @property
    def description(self) -> str: ...  # noqa: D102  # above, here and below
    @property
    def output_positions(self) -> Ints: ...  # noqa: D102
    @property
    def max_rows(self) -> int: ...  # noqa: D102

    def recompute_values(self, X: Floats) -> tuple[Floats, Floats]:
        """Return what encoded rows should have, (rows, *computed shape, outputs), and the size to which rounding is relative, (rows, outputs)."""

    def kernel_values(self, X: Floats) -> Floats | None:
        """Return what the kernel says where the problem is a part of the whole, of the same shape; None: the answer itself is meant."""


def result_rows(problem: ShapProblem, singles: SparseValues, pairs: SparseValues | None) -> Floats:
    """Return a row of the result, (*computed shape, outputs), of players' values and of the whole interactions of pairs."""
    count, outputs = problem.players.count, singles[1].shape[1]
    main = np.zeros((count, outputs))
    np.add.at(main, singles[0], singles[1])
    if pairs is None:
        return main
    first, second = pairs[0] // count, pairs[0] % count
    np.subtract.at(main, first, pairs[1] / 2)
    np.subtract.at(main, second, pairs[1] / 2)
    if problem.options.sparse:
        known = problem.interacting_pairs.astype(np.int64) @ np.array([count, 1])
        whole = np.zeros((len(known), outputs))
        if len(known):
            at = np.minimum(np.searchsorted(known, pairs[0]), len(known) - 1)
            there = known[at] == pairs[0]
            whole[at[there]] = pairs[1][there]
        return np.concatenate([main, whole])
    out = np.zeros((count, count, outputs))
    out[first, second] = out[second, first] = pairs[1] / 2
    out[np.arange(count), np.arange(count)] = main
    return out


def picked_outputs(problem: ShapProblem, outputs: Ints) -> tuple[Ints, Floats]:
    """The model's outputs behind some of those explained, and their signs."""
    return np.array(problem.selection.output_positions)[outputs], np.array(problem.selection.signs)[outputs]


def row_of_worths(problem: ShapProblem, worths: Floats, players: Ints) -> Floats:
    """Return a row of the result, (*computed shape, outputs), of a game of some players: others have no value.

    Args:
        worths: (2^players, outputs), coalition k of the players whose bits are set in k. players: their positions.
    """
    count, many = problem.players.count, len(players)
    p, weights = problem.options.game_index.rule(many + 1)
    numbers = np.arange(2**many)
    inside = (numbers[:, None] >> np.arange(many)) & 1
    powers = np.arange(many + 1)[:, None]
    chance = (p**powers * weights) @ ((1 - p) ** powers).T
    singles = np.zeros((many, worths.shape[1]))
    for j in range(many):
        without = numbers[inside[:, j] == 0]
        s = inside[without].sum(axis=1)
        singles[j] = chance[s, many - 1 - s] @ (worths[without | 1 << j] - worths[without])
    if problem.options.order == 1:
        return result_rows(problem, (players, singles), None)
    cells, whole = [], []
    for j, k in combinations(range(many), 2):
        without = numbers[(inside[:, j] == 0) & (inside[:, k] == 0)]
        s = inside[without].sum(axis=1)
        joint = (
            worths[without | 1 << j | 1 << k] + worths[without] - worths[without | 1 << j] - worths[without | 1 << k]
        )
        first, second = sorted((int(players[j]), int(players[k])))
        cells.append(first * count + second)
        whole.append(chance[s, many - 2 - s] @ joint)
    order = np.argsort(np.array(cells, dtype=np.int64))
    pairs = np.array(cells, dtype=np.int64)[order], np.reshape(whole, (len(cells), worths.shape[1]))[order]
    return result_rows(problem, (players, singles), pairs)
