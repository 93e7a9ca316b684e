"""Permutation importance of tree ensembles, exactly: every row with every other row's value, no shuffle and no seed.

With D_ij the loss of row i with the player's values of row j, less its loss with its own, the importance is the mean of D over all pairs of two different rows.
The trees treat all values of an interval between thresholds alike, so a row's losses with all others are those at a few points, each weighted by the rows there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.core.workers import thread_count
from whybox.data.table import Floats
from whybox.kernels import effects
from whybox.kernels.tree_shap import predict
from whybox.kernels.value_intervals import interval_index
from whybox.methods.common.columns import Ints
from whybox.methods.importance.loss_problem import LossProblem
from whybox.models.trees import TreeEnsemble

__all__ = ["PairDifferences", "PlayerCurve", "TreePairs", "pair_differences", "tree_pairs"]

Observer = Callable[
    [int, Ints, Ints, Floats], None
]  # player, rows of a block, the point of every row, predictions (block, points, outputs)
MAX_NUMBERS: Final = 2 * 10**9  # losses that are computed at most; more take predictions
NUMBERS_HELD: Final = 2**19  # of curves at a time


@final
@dataclass(frozen=True, eq=False)
class PairDifferences:
    """Sums over pairs of rows, of D_ij weighted by w_i w_j.

    Attributes:
        of_row: (rows, players), the sum over donors j of w_j D_ij. of_donor: (rows, players), the sum over rows i of w_i D_ij.
        baseline: (rows,), the loss of each row as it is.
    """

    of_row: Floats
    of_donor: Floats
    baseline: Floats


@final
@dataclass(frozen=True, eq=False)
class PlayerCurve:
    """A player's points: ``at`` (rows,) says at which each row is, ``weight`` (points,) how much weight of the rows is there."""

    player: int
    levels: effects.PlayerPoints
    at: Ints
    weight: Floats


@final
@dataclass(frozen=True, eq=False)
class TreePairs:
    """A tree ensemble, its rows as it reads them, (rows, model columns), and the points of the players that it reads."""

    model: TreeEnsemble
    X: Floats
    curves: tuple[PlayerCurve, ...]


def tree_pairs(problem: LossProblem) -> TreePairs | str:
    """Return what the leaves of trees need to give all pairs of rows, or why permutation importance takes predictions."""
    model = problem.model
    if not isinstance(model, TreeEnsemble):
        return "the model is no tree ensemble that is read"
    if model.has_linear_leaves:
        return "the leaves of this model are linear functions"
    X = model.inputs.matrix_in_blocks(problem.table)
    curves = _player_curves(problem, model, X)
    numbers = len(problem) * sum(len(c.weight) for c in curves) * len(model.base_values)
    if numbers > MAX_NUMBERS:
        return f"these trees split so often that all pairs of rows take {numbers:.1e} losses"
    return TreePairs(model, X, curves)


def pair_differences(problem: LossProblem, trees: TreePairs, observe: Observer) -> PairDifferences:
    """Return the sums over all pairs of rows.

    Args:
        problem: with the losses. trees: of it. observe: is shown the predictions that losses are computed from.
    """
    model, X, curves = trees.model, trees.X, trees.curves
    selection, link = problem.selection, model.outputs.link
    own = selection.from_raw(predict(model, X), link)
    of_row, of_donor = np.zeros((2, len(X), problem.players.count))
    at_points = [np.zeros(len(c.weight)) for c in curves]
    threads = thread_count(problem.options.n_jobs)
    for part, blocks in effects.individual_curve_blocks(
        model, [c.levels for c in curves], X, numbers=NUMBERS_HELD, threads=threads
    ):
        rows = np.arange(part.start, part.stop)
        for k, (curve, raw) in enumerate(zip(curves, blocks, strict=True)):
            predictions = selection.from_raw(raw, link)
            observe(curve.player, rows, curve.at, predictions)
            flat = predictions.reshape(-1, predictions.shape[-1])
            losses = problem.losses(flat, np.repeat(rows, len(curve.weight))).reshape(len(rows), -1)
            losses -= losses[np.arange(len(rows)), curve.at[rows]][:, None]  # exactly 0 at the row's own point
            of_row[rows, curve.player] = losses @ curve.weight
            at_points[k] += problem.weights[rows] @ losses
    for curve, sums in zip(curves, at_points, strict=True):
        of_donor[:, curve.player] = sums[curve.at]
    every, at_one = np.arange(len(X)), np.zeros(len(X), dtype=np.int64)
    for player in set(range(problem.players.count)) - {c.player for c in curves}:  # not read: every row stays as it is
        observe(player, every, at_one, own[:, None])
    return PairDifferences(of_row, of_donor, problem.losses(own))


def _player_curves(problem: LossProblem, model: TreeEnsemble, X: Floats) -> tuple[PlayerCurve, ...]:
    """The points of each player that the trees read: the different intervals that rows of some weight lie in."""
    split = np.zeros(model.inputs.width, dtype=bool)
    split[model.feature[model.left >= 0]] = True
    curves = []
    for player in range(problem.players.count):
        columns = tuple(np.flatnonzero(split & (problem.players.of_column == player)).tolist())
        if not columns:
            continue
        intervals = np.column_stack([interval_index(model, c, X[:, c]) for c in columns])
        _, first, at = np.unique(intervals, axis=0, return_index=True, return_inverse=True)
        at = at.reshape(-1).astype(np.int64)
        values = np.ascontiguousarray(X[first][:, list(columns)])
        weight = np.bincount(at, problem.weights, minlength=len(first)).astype(np.float64)
        curves.append(PlayerCurve(player, effects.PlayerPoints(columns, values), at, weight))
    return tuple(curves)
