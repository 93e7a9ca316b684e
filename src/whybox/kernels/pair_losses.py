"""Losses of rows of tree ensembles with a player set to each of its points, added up natively over all pairs of rows and points."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.kernels.compiled_trees import fastest_instructions
from whybox.kernels.effects import LINK_NAMES, LinkName, NativeGrid, checked_rows
from whybox.models.trees import TreeEnsemble

__all__ = ["LOSS_KINDS", "PairLosses", "PairRows", "RowLoss", "pair_losses"]

Ints = npt.NDArray[np.int64]
LossKind = Literal["squared", "absolute", "pinball", "log", "brier", "zero_one", "poisson"]
LOSS_KINDS: Final[tuple[LossKind, ...]] = ("squared", "absolute", "pinball", "log", "brier", "zero_one", "poisson")
CHUNK_ROWS: Final = 512  # rows whose losses are added up together: sums are the same for any number of threads


@final
@dataclass(frozen=True)
class RowLoss:
    """A loss of each row that native code takes.

    Attributes:
        kind: ``"log"``, ``"brier"`` and ``"zero_one"`` of classes: of all outputs, or of one that is about the second of two. ``"poisson"`` (of the
            exponential link alone) less what does not depend on the prediction.
        link: from the raw output to the prediction. scale: raw outputs are multiplied by it before. level: of ``"pinball"``.
        first_output, outputs: the outputs of the model that it reads.
    """

    kind: LossKind
    link: LinkName = "identity"
    scale: float = 1.0
    level: float = 0.5
    first_output: int = 0
    outputs: int = 1


@final
@dataclass(frozen=True, eq=False)
class PairRows:
    """What belongs to the rows and points of :func:`pair_losses`.

    Attributes:
        truth: (rows,) numbers, or positions of the true classes. weights: (rows,).
        own_points: (rows, players), the point of each player at which each row stands.
        point_weights: for each player (points,).
        watched: (any number, 3) row, player, point: whose numbers are returned too.
    """

    truth: Floats | Ints
    weights: Floats
    own_points: npt.NDArray[np.int32]
    point_weights: Sequence[Floats]
    watched: Ints


@final
@dataclass(frozen=True, eq=False)
class PairLosses:
    """Sums of D, the loss of a row with a player at a point less that at the row's own point, where it is exactly 0.

    Attributes:
        own_outputs: (rows, outputs of the loss), raw outputs of the rows as they are.
        of_row: (rows, players), over points, by their weights.
        at_points: for each player (points,), over rows, by their weights; equal at points that the model treats alike.
        watched_outputs: (watched, outputs of the loss), raw outputs. watched_differences: (watched,), D.
    """

    own_outputs: Floats
    of_row: Floats
    at_points: list[Floats]
    watched_outputs: Floats
    watched_differences: Floats


def pair_losses(
    e: TreeEnsemble,
    grid: NativeGrid,
    X: Floats,
    loss: RowLoss,
    rows: PairRows,
    *,
    at_changes: bool = False,
    threads: int = 1,
) -> PairLosses:
    """Add up the losses of all pairs of rows and points of each player; no curve is kept.

    Args:
        grid: the players' points. X: (rows, model columns). loss, rows: see there.
        at_changes: take losses only where a row's curve changes, which is less work where points are many more than that. Needs ``has_path_lists`` of
            the native grid.

    Raises:
        OptionError, InputError: rows or loss cannot be used.
    """
    X = checked_rows(e, X)
    if loss.kind not in LOSS_KINDS or loss.link not in LINK_NAMES or (loss.kind == "poisson") > (loss.link == "exp"):
        raise OptionError("no such loss, or poisson without the exponential link.")
    if threads < 1:
        raise OptionError("threads must be at least 1.")
    own = np.column_stack([index[rows.own_points[:, j]] for j, index in enumerate(grid.index)]).astype(np.int32)
    point_weights = np.concatenate(
        [np.bincount(i, w, minlength=n) for i, w, n in zip(grid.index, rows.point_weights, grid.points, strict=True)]
    )
    order = np.argsort(rows.watched[:, 0], kind="stable")
    watched = rows.watched[order]
    watched[:, 2] = [grid.index[j][k] for _, j, k in watched.tolist()]
    truth = np.ascontiguousarray(rows.truth, dtype=np.float64)
    of_row, at_points = np.empty((len(X), len(grid.points))), np.zeros(sum(grid.points))
    own_outputs = np.empty((len(X), loss.outputs))
    outputs, differences = np.empty((len(watched), loss.outputs)), np.empty(len(watched))
    numbers = LOSS_KINDS.index(loss.kind), LINK_NAMES.index(loss.link), loss.scale, loss.level
    settings = (fastest_instructions(), at_changes, *numbers, loss.first_output, loss.outputs)

    def add_up(chunk: int) -> Floats:
        some = slice(chunk * CHUNK_ROWS, (chunk + 1) * CHUNK_ROWS)
        seen = slice(*np.searchsorted(watched[:, 0], (some.start, some.stop)).tolist())
        at, sums = watched[seen] - np.array([some.start, 0, 0]), np.zeros_like(at_points)
        grid.native.pair_losses(
            X[some],
            *settings,
            truth[some],
            rows.weights[some],
            own[some].ravel(),
            point_weights,
            at.ravel(),
            own_outputs[some].reshape(-1),
            of_row[some].reshape(-1),
            sums,
            outputs[seen].reshape(-1),
            differences[seen],
        )
        return sums

    with ThreadPoolExecutor(threads) as pool:
        for some in timed_batches(
            -(-len(X) // CHUNK_ROWS),
            description="losses of pairs of rows",
            first_size=threads,
            max_size=threads,
            unit=f"x {CHUNK_ROWS} rows",
        ):
            for sums in (pool.map if threads > 1 else map)(add_up, range(some.start, some.stop)):
                at_points += sums
    back = np.argsort(order)
    return PairLosses(
        own_outputs,
        of_row,
        [sums[:, 0] for sums in grid.split_by_player(at_points[:, None])],
        outputs[back],
        differences[back],
    )
