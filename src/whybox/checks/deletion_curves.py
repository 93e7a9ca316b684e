"""The score as parts of the input are removed one after another: deletion and insertion.

Removing parts and putting them back are one thing: insertion in an order passes through the same inputs as deletion in the reversed order. So one kind of
curve is enough: its area, as parts are removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, SaliencyProblem

__all__ = ["RemovalGame", "rank_segments", "segment_ids"]

MAX_SEGMENTS: Final = 64
MIN_SEGMENTS: Final = 3  # two parts have one order and its reverse only, which are one curve and its mirror image
CURVE_POINTS: Final = 12  # points of a curve
FEW_SEGMENTS: Final = 12  # with so few parts the same coalitions come again, and are evaluated once
RESCORE_ROUNDS: Final = 2  # how often the greedy order evaluates each part again, given those before it
BoolArray = npt.NDArray[np.bool_]


def segment_ids(input_: Input) -> Indices:
    """The part of each position, (*positions): positions themselves up to 64, else a grid of about as many blocks of neighbours."""
    shape = input_.position_shape
    if int(np.prod(shape)) <= MAX_SEGMENTS:
        return np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    side = int(MAX_SEGMENTS ** (1 / len(shape)) + 1e-9)
    out = np.zeros(shape, dtype=np.intp)
    for axis, n in enumerate(shape):
        blocks = min(n, side)
        at = (np.arange(n) * blocks // n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        out = out * blocks + at
    return out


def rank_segments(values: Floats, seed: int) -> Indices:
    """Parts of each row, largest first. Ties are broken at random: by position they would get an order that is not the map's, and a good one on centred pictures."""
    ties = np.random.default_rng([seed, 84]).random(values.shape)
    return np.asarray(np.lexsort((ties, -values), axis=1), dtype=np.intp)


@final
@dataclass(frozen=True)
class RemovalGame:
    """Rows, what replaces removed parts, and the score of any subset of the parts.

    Attributes:
        problem: the rows. input_segments: for each input with parts, its index and the part of each position: (*positions), or (rows, *positions) if each row
            has its own; -1 where a position stays. n_segments: number of parts, of the row that has most.
        replaced_inputs: for each input, rows that replace removed parts, in its shape.
        has_segment: (rows, parts), which parts a row has; None: all. Orders put those it does not have at the end. segment_counts: parts of each row.
        by_distance: True: a subset counts by minus the distance of its score from that of the whole row, whichever way the score moves.
    """

    problem: SaliencyProblem
    input_segments: tuple[tuple[int, Indices], ...]
    n_segments: int
    replaced_inputs: tuple[npt.NDArray[Any], ...]
    has_segment: BoolArray | None = None
    by_distance: bool = False
    segment_counts: Indices = field(init=False)

    def __post_init__(self) -> None:
        segment_counts = (
            np.full(self.problem.n_rows, self.n_segments) if self.has_segment is None else self.has_segment.sum(axis=1)
        )
        object.__setattr__(self, "segment_counts", segment_counts.astype(np.intp))

    def subset_scores(self, rows: Indices, kept: BoolArray) -> Floats:
        """Scores (m,) of rows with the parts `kept` (m, parts) as they are and the others replaced."""
        if self.n_segments <= FEW_SEGMENTS and len(rows) > 1:
            codes = rows.astype(np.int64) << FEW_SEGMENTS | (kept @ (1 << np.arange(self.n_segments)))
            _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
            return np.asarray(self._evaluate_subsets(rows[first], kept[first])[inverse.reshape(-1)])
        return self._evaluate_subsets(rows, kept)

    def _evaluate_subsets(self, rows: Indices, kept: BoolArray) -> Floats:
        out = np.empty(len(rows))
        for some in self.problem.index_batches(len(rows), "deletion and insertion"):
            selected = rows[some]
            xs = [i.x[selected] for i in self.problem.inputs]
            for number, ids in self.input_segments:
                input_ = self.problem.inputs[number]
                mask = (
                    kept[some][:, ids]
                    if ids.ndim == len(input_.position_axes)
                    else (
                        np.take_along_axis(
                            kept[some], np.maximum(flat_ids := ids[selected].reshape(len(selected), -1), 0), 1
                        )
                        | (flat_ids < 0)
                    ).reshape(len(selected), *ids.shape[1:])
                )
                mask = mask if input_.channel_axis is None else np.expand_dims(mask, input_.channel_axis)
                xs[number] = np.where(mask, xs[number], self.replaced_inputs[number][selected])
            lifted = tuple(self.problem.net.array(np.ascontiguousarray(x)) for x in xs)
            out[some] = self.problem.scores_at_points(lifted, selected)[:, 0]
        return -np.abs(out - self.problem.scores[rows, 0]) if self.by_distance else out

    def removal_counts(self) -> Indices:
        """Number of removed parts of each row at each point of a curve, (rows, points)."""
        steps = min(CURVE_POINTS, self.n_segments)
        return np.asarray(self.segment_counts[:, None] * np.arange(steps + 1) // steps, dtype=np.intp)

    def random_orders(self, rng: np.random.Generator) -> Indices:
        """A random order, (rows, parts)."""
        at = rng.random((self.problem.n_rows, self.n_segments))
        return np.argsort(at if self.has_segment is None else at + ~self.has_segment, axis=1)

    def reversed_orders(self, order: Indices) -> Indices:
        """The reversed order."""
        j, segment_counts = np.arange(self.n_segments), self.segment_counts[:, None]
        return np.asarray(np.take_along_axis(order, np.where(j < segment_counts, segment_counts - 1 - j, j), axis=1))

    def curve_areas(self, orders: Sequence[Indices]) -> Floats:
        """Mean score along each order, (orders, rows); an order is (rows, parts), the first part is removed first."""
        n, removal_counts = self.problem.n_rows, self.removal_counts()
        inner = removal_counts[:, 1:-1]
        points = inner.shape[1]
        ends = self.subset_scores(
            np.tile(np.arange(n), 2),
            np.repeat([[True], [False]], n, axis=0) & np.ones((1, self.n_segments), dtype=bool),
        )
        rows = np.tile(np.repeat(np.arange(n), points), len(orders))
        kept = np.empty((len(rows), self.n_segments), dtype=bool)
        for k, order in enumerate(orders):
            place = np.argsort(order, axis=1)  # when each part is removed
            at = slice(k * n * points, (k + 1) * n * points)
            kept[at] = (place[:, None, :] >= inner[:, :, None]).reshape(-1, self.n_segments)
        middle = self.subset_scores(rows, kept).reshape(len(orders), n, points)
        curves = np.concatenate(
            [
                np.broadcast_to(ends[:n, None], (len(orders), n, 1)),
                middle,
                np.broadcast_to(ends[n:, None], (len(orders), n, 1)),
            ],
            axis=2,
        )
        width = np.diff(removal_counts, axis=1) / np.maximum(self.segment_counts, 1)[:, None]
        return np.asarray(((curves[..., 1:] + curves[..., :-1]) / 2 * width).sum(axis=2))

    def greedy_order(self, *, removing: bool) -> tuple[Indices, Floats]:
        """A greedy order: parts are removed by the loss of score (`removing`), or put back by its gain; and the effect of each part alone, (rows, parts).

        Effects are evaluated again half-way. It need not be the best order that there is.
        """
        n, P = self.problem.n_rows, self.n_segments
        left = np.ones((n, P), dtype=bool) if self.has_segment is None else self.has_segment.copy()
        order = np.argsort(~left, axis=1, kind="stable")  # parts that a row does not have come last
        first = np.zeros((n, P))
        done = np.zeros(n, dtype=np.intp)
        for k in range(RESCORE_ROUNDS):
            until = self.segment_counts * (k + 1) // RESCORE_ROUNDS
            rows, part = np.nonzero(left)
            kept = (left if removing else ~left)[rows]
            kept[np.arange(len(rows)), part] = not removing
            effect = np.full((n, P), np.inf)
            effect[rows, part] = self.subset_scores(rows, kept) * (1.0 if removing else -1.0)
            if not k:
                first = effect
            best = np.argsort(effect, axis=1, kind="stable")
            for row in range(n):
                take = best[row, : until[row] - done[row]]
                order[row, done[row] : until[row]] = take
                left[row, take] = False
            done = until
        return order, first
