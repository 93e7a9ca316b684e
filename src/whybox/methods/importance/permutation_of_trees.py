"""Permutation importance of tree ensembles, exactly: every row with every other row's value, no shuffle and no seed.

With D_ij the loss of row i with the player's values of row j, less its loss with its own, the importance is the mean of D over all pairs of two different rows.
The trees treat all values of an interval between thresholds alike, so a row's losses with all others are those at a few points, each weighted by the rows there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from whybox.core.workers import thread_count
from whybox.data.table import Floats
from whybox.kernels import effects
from whybox.kernels.effects import LinkName
from whybox.kernels.pair_losses import LOSS_KINDS, PairRows, RowLoss, pair_losses
from whybox.kernels.tree_shap import predict
from whybox.kernels.value_intervals import interval_index
from whybox.methods.common.columns import Ints
from whybox.methods.importance.loss_problem import LossProblem
from whybox.methods.importance.pair_differences import PairDifferences
from whybox.methods.importance.spot_checks import PermutationChecks
from whybox.models.trees import TreeEnsemble

__all__ = ["PlayerCurve", "TreePairs", "tree_pairs"]

MAX_NUMBERS: Final = 2 * 10**9  # losses that are computed at most; more take predictions
MAX_NUMBERS_IN_FULL: Final = (
    5 * 10**8
)  # from here on losses are taken only where a row's curve changes, if the trees allow that
MAX_TREES_WALKED: Final = 5 * 10**7  # by rows whose losses are taken so; more take predictions
NUMBERS_HELD: Final = 2**19  # of curves at a time


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
    """A tree ensemble, and what its leaves need to give all pairs of rows.

    Attributes:
        X: its rows as it reads them, (rows, model columns). curves: the points of the players that it reads.
        loss, grid: the loss and the points of native code; None: NumPy takes the losses. at_changes: only where a row's curve changes.
    """

    model: TreeEnsemble
    X: Floats
    curves: tuple[PlayerCurve, ...]
    loss: RowLoss | None
    grid: effects.NativeGrid | None
    at_changes: bool

    @property
    def kernel(self) -> str:
        """What computes the sums over pairs, in words."""
        how = "of whole curves, by NumPy" if self.loss is None else "in native code"
        where = " where a row's curve changes" if self.at_changes else ""
        return f"the trees' own leaves, every row with every other row's values; losses {how}{where}"

    def pair_differences(self, problem: LossProblem, checks: PermutationChecks) -> PairDifferences:
        """Return the sums over all pairs of rows.

        Args:
            problem: with the losses. checks: are shown predictions that losses are computed from, and losses of native code.
        """
        return (_of_whole_curves if self.loss is None else _natively)(problem, self, checks)


def tree_pairs(problem: LossProblem) -> TreePairs | str:
    """Return what the leaves of trees need to give all pairs of rows, or why permutation importance takes predictions."""
    model = problem.model
    if not isinstance(model, TreeEnsemble):
        return "the model is no tree ensemble that is read"
    if model.has_linear_leaves:
        return "the leaves of this model are linear functions"
    X = model.inputs.matrix_in_blocks(problem.table)
    curves = _player_curves(problem, model, X)
    loss = _kernel_loss(problem, model) if curves else None
    grid = None if loss is None else effects.NativeGrid(model, [c.levels for c in curves])
    numbers = len(problem) * sum(len(c.weight) for c in curves) * len(model.base_values)
    at_changes = (
        grid is not None
        and numbers > MAX_NUMBERS_IN_FULL
        and len(problem) * model.n_trees <= MAX_TREES_WALKED
        and grid.native.has_path_lists()
    )
    if numbers > MAX_NUMBERS and not at_changes:
        return f"these trees split so often that all pairs of rows take {numbers:.1e} losses"
    return TreePairs(model, X, curves, loss, grid, at_changes)


def _of_whole_curves(problem: LossProblem, trees: TreePairs, checks: PermutationChecks) -> PairDifferences:
    model, X, curves = trees.model, trees.X, trees.curves
    selection, link = problem.evaluated, model.outputs.link
    own_raw = predict(model, X)
    own = selection.from_raw(own_raw, link)
    of_row, of_donor = np.zeros((2, len(X), problem.players.count))
    at_points = [np.zeros(len(c.weight)) for c in curves]
    for part, blocks in effects.individual_curve_blocks(
        model, [c.levels for c in curves], X, numbers=NUMBERS_HELD, threads=thread_count(problem.options.n_jobs)
    ):
        rows = np.arange(part.start, part.stop)
        for k, (curve, raw) in enumerate(zip(curves, blocks, strict=True)):
            predictions = selection.from_raw(raw, link)
            checks.observe_points(curve.player, rows, curve.at, predictions)
            flat = predictions.reshape(-1, predictions.shape[-1])
            losses = problem.losses(flat, np.repeat(rows, len(curve.weight))).reshape(len(rows), -1)
            losses -= losses[np.arange(len(rows)), curve.at[rows]][:, None]  # exactly 0 at the row's own point
            of_row[rows, curve.player] = losses @ curve.weight
            at_points[k] += problem.weights[rows] @ losses
    for curve, sums in zip(curves, at_points, strict=True):
        of_donor[:, curve.player] = sums[curve.at]
    _observe_players_not_read(problem, trees, checks, own)
    return PairDifferences(of_row, of_donor, problem.losses(own), own_raw)


def _natively(problem: LossProblem, trees: TreePairs, checks: PermutationChecks) -> PairDifferences:
    model, curves, loss, grid = trees.model, trees.curves, trees.loss, trees.grid
    assert loss is not None and grid is not None  # noqa: PT018, S101  # else the losses are those of whole curves
    position = np.full(problem.players.count, -1)
    position[[c.player for c in curves]] = np.arange(len(curves))
    which = np.flatnonzero(position[checks.players] >= 0)
    rows, donors, players = checks.rows[which], checks.donors[which], position[checks.players[which]]
    own_points = np.column_stack([c.at for c in curves])
    watched = [np.column_stack([rows, players, own_points[r, players]]) for r in (donors, rows)]
    found = pair_losses(
        model,
        grid,
        trees.X,
        loss,
        PairRows(
            problem.truth,
            problem.weights,
            own_points.astype(np.int32),
            [c.weight for c in curves],
            np.concatenate(watched),
        ),
        at_changes=trees.at_changes,
        threads=thread_count(problem.options.n_jobs),
    )

    def predictions(outputs: Floats) -> Floats:
        raw = np.zeros((len(outputs), len(model.base_values)))
        raw[:, loss.first_output : loss.first_output + loss.outputs] = outputs
        return problem.evaluated.from_raw(raw, model.outputs.link)

    own = predictions(found.own_outputs)
    changed, unchanged = np.split(predictions(found.watched_outputs), 2)
    checks.note(which, changed)
    checks.check_differences(problem, rows, changed, unchanged, found.watched_differences[: len(which)])
    _observe_players_not_read(problem, trees, checks, own)
    of_row, of_donor = np.zeros((2, len(trees.X), problem.players.count))
    for k, (curve, sums) in enumerate(zip(curves, found.at_points, strict=True)):
        of_row[:, curve.player], of_donor[:, curve.player] = found.of_row[:, k], sums[curve.at]
    every_output = loss.outputs == len(model.base_values)
    raw = found.own_outputs if every_output else predict(model, trees.X)
    return PairDifferences(of_row, of_donor, problem.losses(own), raw)


def _observe_players_not_read(problem: LossProblem, trees: TreePairs, checks: PermutationChecks, own: Floats) -> None:
    """Every row stays as it is."""
    every, at_one = np.arange(len(own)), np.zeros(len(own), dtype=np.int64)
    for player in set(range(problem.players.count)) - {c.player for c in trees.curves}:
        checks.observe_points(player, every, at_one, own[:, None])


def _kernel_loss(problem: LossProblem, model: TreeEnsemble) -> RowLoss | None:
    """The loss as native code takes it; None: only NumPy does."""
    selection, link, outputs = problem.selection, model.outputs.link, model.outputs
    known, level = problem.loss.kernel
    kind = next((kind for kind in LOSS_KINDS if kind == known), None)
    name = "identity" if selection.scale == "raw" else "" if link.function is not None else link.name
    links: dict[str, LinkName] = {"identity": "identity", "sigmoid": "logistic", "exp": "exp", "softmax": "softmax"}
    plain = set(selection.signs) == {1.0} and set(selection.offsets) == {0.0}
    if kind is None or name not in links or not plain or problem.shifted is not None:
        return None
    several = problem.labels is not None and outputs.negative_class is None
    positions = selection.output_positions
    together = positions == tuple(range(len(model.base_values)))
    if (several and not (together and name in ("identity", "softmax"))) or (
        not several and (len(positions) > 1 or name == "softmax")
    ):
        return None
    if kind == "poisson" and name != "exp":
        return None
    scale = 1.0 if name == "identity" else link.scale
    return RowLoss(kind, links[name], scale, level, 0 if several else positions[0], len(positions))


def _player_curves(problem: LossProblem, model: TreeEnsemble, X: Floats) -> tuple[PlayerCurve, ...]:
    """The points of each player that the trees read: the different intervals that rows of some weight lie in."""
    split = np.zeros(model.inputs.width, dtype=bool)
    split[model.feature[model.left >= 0]] = True
    curves = []
    for player in range(problem.players.count):
        columns = tuple(np.flatnonzero(split & (problem.players.of_column == player)).tolist())
        if not columns:
            continue
        first, at = _distinct_rows([interval_index(model, c, X[:, c]) for c in columns])
        values = np.ascontiguousarray(X[first][:, list(columns)])
        weight = np.bincount(at, problem.weights, minlength=len(first)).astype(np.float64)
        curves.append(PlayerCurve(player, effects.PlayerPoints(columns, values), at, weight))
    return tuple(curves)


def _distinct_rows(intervals: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Return the first row of each different combination of intervals, in order, and at which of them each row is."""
    if len(intervals) > 1:
        _, first, at = np.unique(np.column_stack(intervals), axis=0, return_index=True, return_inverse=True)
        return first.astype(np.int64), at.reshape(-1).astype(np.int64)
    number = np.cumsum(np.bincount(intervals[0]) > 0) - 1
    at = number[intervals[0]]
    first = np.empty(number[-1] + 1, dtype=np.int64)
    first[at[::-1]] = np.arange(len(at))[::-1]  # the last one that is written is the first row
    return first, at
