"""Permutation importance of tree ensembles, exactly: every row with every other row's value, no shuffle and no seed.

With D_ij the loss of row i with the player's values of row j, less its loss with its own, the importance is the mean of D over all pairs of two different rows.
The trees treat all values of an interval between thresholds alike, so a row's losses with all others are those at a few points, each weighted by the rows there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.workers import thread_count
from whybox.data.table import Floats
from whybox.kernels import effects
from whybox.kernels.tree_shap import predict
from whybox.kernels.value_intervals import interval_index
from whybox.methods.importance.loss_problem import LossProblem
from whybox.models.trees import TreeEnsemble

__all__ = ["PairDifferences", "exact_unavailable", "pair_differences"]

Ints = npt.NDArray[np.int64]
Observer = Callable[
    [int, Ints, Ints, Floats], None
]  # player, rows of a block, the point of every row, predictions (block, points, outputs)
MAX_NUMBERS: Final = 2 * 10**9  # losses that are computed at most; more take predictions
NUMBERS_HELD: Final = 2**19  # of curves at a time
ROWS_ENCODED: Final = 65536


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
class _PlayerCurve:
    """A player's points: ``at`` (rows,) says at which each row is, ``weight`` (points,) how much weight of the rows is there."""

    player: int
    levels: effects.PlayerPoints
    at: Ints
    weight: Floats


def exact_unavailable(problem: LossProblem) -> str | None:
    """Return why permutation importance takes predictions; None where the leaves of trees suffice."""
    model = problem.model
    if not isinstance(model, TreeEnsemble):
        return "the model is no tree ensemble that is read"
    if model.has_linear_leaves:
        return "the leaves of this model are linear functions"
    X = _matrix(problem, model)
    numbers = len(problem) * sum(len(c.weight) for c in _curves(problem, model, X)) * len(model.base_values)
    if numbers > MAX_NUMBERS:
        return f"these trees split so often that all pairs of rows take {numbers:.1e} losses"
    return None


def pair_differences(problem: LossProblem, observe: Observer | None = None) -> PairDifferences:
    """Return the sums over all pairs of rows.

    Args:
        problem: of a tree ensemble, see :func:`exact_unavailable`. observe: is shown the predictions that losses are computed from.
    """
    model = problem.model
    assert isinstance(model, TreeEnsemble)  # noqa: S101  # the caller asks
    X = _matrix(problem, model)
    curves = _curves(problem, model, X)
    link = None if problem.selection.scale == "raw" else model.outputs.link
    baseline = problem.losses(_scaled(problem, predict(model, X), link))
    of_row, of_donor = np.zeros((2, len(X), problem.players.count))
    at_points = [np.zeros(len(c.weight)) for c in curves]
    threads = thread_count(problem.options.n_jobs)
    for part, blocks in effects.individual_curve_blocks(
        model, [c.levels for c in curves], X, numbers=NUMBERS_HELD, threads=threads
    ):
        rows = np.arange(part.start, part.stop)
        for k, (curve, raw) in enumerate(zip(curves, blocks, strict=True)):
            predictions = _scaled(problem, raw, link)
            if observe is not None:
                observe(curve.player, rows, curve.at, predictions)
            flat = predictions.reshape(-1, predictions.shape[-1])
            losses = problem.losses(flat, np.repeat(rows, len(curve.weight))).reshape(len(rows), -1)
            losses -= losses[np.arange(len(rows)), curve.at[rows]][:, None]  # exactly 0 at the row's own point
            of_row[rows, curve.player] = losses @ curve.weight
            at_points[k] += problem.weights[rows] @ losses
    for curve, sums in zip(curves, at_points, strict=True):
        of_donor[:, curve.player] = sums[curve.at]
    return PairDifferences(of_row, of_donor, baseline)


def _scaled(problem: LossProblem, raw: Floats, link: Callable[[Floats], Floats] | None) -> Floats:
    return problem.selection.select_predictions(raw if link is None else link(raw))


def _matrix(problem: LossProblem, model: TreeEnsemble) -> Floats:
    """The rows as the trees read them, (rows, model columns)."""
    blocks = problem.table.blocks(ROWS_ENCODED)
    return np.concatenate([model.inputs.matrix_of_block(block, start) for start, block in blocks])


def _curves(problem: LossProblem, model: TreeEnsemble, X: Floats) -> list[_PlayerCurve]:
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
        curves.append(_PlayerCurve(player, effects.PlayerPoints(columns, values), at, weight))
    return curves
