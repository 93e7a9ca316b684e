"""What the score does as parts of the input are taken away one after another: the engine of deletion and insertion.

Taking parts away in an order, and putting them back in that order, is one thing: putting back in order o passes through the same inputs as taking away in o
reversed. So one kind of curve is enough: its area, as parts go away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.problem import Indices, Question

__all__ = ["Game", "ordered", "parts_of"]

MAX_SEGMENTS: Final = 64
MIN_SEGMENTS: Final = 3  # parts of a row that have orders to speak of: two have an order and its reverse, which are one curve and its mirror
CURVE_POINTS: Final = 12  # points of a curve
FEW_SEGMENTS: Final = 12  # so few are met in the same company again and again, and asked about once
RESCORE_ROUNDS: Final = 2  # how often the oracle looks again at what each part does, given what went before
Bools = npt.NDArray[np.bool_]


def parts_of(given: Input) -> Indices:
    """A number for each place, (*places): the places themselves up to 64, else a grid of about as many blocks of neighbours."""
    shape = given.sizes
    if int(np.prod(shape)) <= MAX_SEGMENTS:
        return np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    side = int(MAX_SEGMENTS ** (1 / len(shape)) + 1e-9)
    out = np.zeros(shape, dtype=np.intp)
    for axis, n in enumerate(shape):
        blocks = min(n, side)
        at = (np.arange(n) * blocks // n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        out = out * blocks + at
    return out


def ordered(values: Floats, seed: int) -> Indices:
    """Parts of each row, largest first. Equal ones come by chance: by their place they would have an order the map never gave them, and a good one on centred pictures."""
    ties = np.random.default_rng([seed, 84]).random(values.shape)
    return np.asarray(np.lexsort((ties, -values), axis=1), dtype=np.intp)


@final
@dataclass(frozen=True)
class Game:
    """Rows, what stands for an absent part, and the score of any part of the parts.

    Attributes:
        q: the question. ids: for each input that takes part, its number and the parts of its places: (*places), or (rows, *places) where each row has its own;
            -1 where a place stays. parts: how many in all, of the row that has most.
        absent: for each input, rows that stand in, in its shape.
        live: (rows, parts), which parts a row has; None: all of them. Orders put those it does not have at the end.
    """

    q: Question
    ids: tuple[tuple[int, Indices], ...]
    parts: int
    absent: tuple[npt.NDArray[Any], ...]
    live: Bools | None = None
    own: Indices = field(init=False)

    def __post_init__(self) -> None:
        own = np.full(self.q.rows, self.parts) if self.live is None else self.live.sum(axis=1)
        object.__setattr__(self, "own", own.astype(np.intp))

    def scores(self, rows: Indices, kept: Bools) -> Floats:
        """Scores (m,) of rows with the parts `kept` (m, parts) as they are and the others absent."""
        if self.parts <= FEW_SEGMENTS and len(rows) > 1:
            told = rows.astype(np.int64) << FEW_SEGMENTS | (kept @ (1 << np.arange(self.parts)))
            _, first, back = np.unique(told, return_index=True, return_inverse=True)
            return np.asarray(self._scores(rows[first], kept[first])[back.reshape(-1)])
        return self._scores(rows, kept)

    def _scores(self, rows: Indices, kept: Bools) -> Floats:
        out = np.empty(len(rows))
        for some in self.q.passes(len(rows), "deletion and insertion"):
            which = rows[some]
            xs = [i.x[which] for i in self.q.inputs]
            for number, ids in self.ids:
                given = self.q.inputs[number]
                mask = (
                    kept[some][:, ids]
                    if ids.ndim == len(given.places)
                    else (
                        np.take_along_axis(kept[some], np.maximum(flat := ids[which].reshape(len(which), -1), 0), 1)
                        | (flat < 0)
                    ).reshape(len(which), *ids.shape[1:])
                )
                mask = mask if given.channel is None else np.expand_dims(mask, given.channel)
                xs[number] = np.where(mask, xs[number], self.absent[number][which])
            lifted = tuple(self.q.net.array(np.ascontiguousarray(x)) for x in xs)
            out[some] = self.q.asked(lifted, which)[:, 0]
        return out

    def counts(self) -> Indices:
        """How many parts of each row are gone at each point of a curve, (rows, points)."""
        steps = min(CURVE_POINTS, self.parts)
        return np.asarray(self.own[:, None] * np.arange(steps + 1) // steps, dtype=np.intp)

    def drawn(self, rng: np.random.Generator) -> Indices:
        """A random order, (rows, parts)."""
        at = rng.random((self.q.rows, self.parts))
        return np.argsort(at if self.live is None else at + ~self.live, axis=1)

    def turned(self, order: Indices) -> Indices:
        """An order from its end."""
        j, own = np.arange(self.parts), self.own[:, None]
        return np.asarray(np.take_along_axis(order, np.where(j < own, own - 1 - j, j), axis=1))

    def areas(self, orders: Sequence[Indices]) -> Floats:
        """Mean score along each order, (orders, rows); an order is (rows, parts), first to go first."""
        n, counts = self.q.rows, self.counts()
        inner = counts[:, 1:-1]
        points = inner.shape[1]
        ends = self.scores(
            np.tile(np.arange(n), 2), np.repeat([[True], [False]], n, axis=0) & np.ones((1, self.parts), dtype=bool)
        )
        rows = np.tile(np.repeat(np.arange(n), points), len(orders))
        kept = np.empty((len(rows), self.parts), dtype=bool)
        for k, order in enumerate(orders):
            place = np.argsort(order, axis=1)  # when each part goes
            at = slice(k * n * points, (k + 1) * n * points)
            kept[at] = (place[:, None, :] >= inner[:, :, None]).reshape(-1, self.parts)
        middle = self.scores(rows, kept).reshape(len(orders), n, points)
        curves = np.concatenate(
            [
                np.broadcast_to(ends[:n, None], (len(orders), n, 1)),
                middle,
                np.broadcast_to(ends[n:, None], (len(orders), n, 1)),
            ],
            axis=2,
        )
        width = np.diff(counts, axis=1) / np.maximum(self.own, 1)[:, None]
        return np.asarray(((curves[..., 1:] + curves[..., :-1]) / 2 * width).sum(axis=2))

    def greedy(self, *, away: bool) -> tuple[Indices, Floats]:
        """An order found by looking: parts go away by what the score loses (`away`), or come by what it gains; and what each part did alone, (rows, parts).

        Looked at again at the half. It may be beaten: it is the best order known, not the best there is.
        """
        n, P = self.q.rows, self.parts
        left = np.ones((n, P), dtype=bool) if self.live is None else self.live.copy()
        order = np.argsort(~left, axis=1, kind="stable")  # parts that a row does not have stand at the end
        first = np.zeros((n, P))
        done = np.zeros(n, dtype=np.intp)
        for k in range(RESCORE_ROUNDS):
            until = self.own * (k + 1) // RESCORE_ROUNDS
            rows, part = np.nonzero(left)
            kept = (left if away else ~left)[rows]
            kept[np.arange(len(rows)), part] = not away
            effect = np.full((n, P), np.inf)
            effect[rows, part] = self.scores(rows, kept) * (1.0 if away else -1.0)
            if not k:
                first = effect
            best = np.argsort(effect, axis=1, kind="stable")
            for row in range(n):
                take = best[row, : until[row] - done[row]]
                order[row, done[row] : until[row]] = take
                left[row, take] = False
            done = until
        return order, first
