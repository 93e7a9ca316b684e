"""What the score does as parts of the input are taken away one after another: the engine of deletion and insertion.

Taking parts away in an order, and putting them back in that order, is one thing: putting back in order o passes through the same inputs as taking away in o
reversed. So one kind of curve is enough: its area, as parts go away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.frames import Floats
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.question import Indices, Question

__all__ = ["Game", "parts_of"]

MOST_PARTS: Final = 64
STEPS: Final = 12  # points of a curve
RESCORED: Final = 2  # how often the oracle looks again at what each part does, given what went before
Bools = npt.NDArray[np.bool_]


def parts_of(given: Input) -> Indices:
    """A number for each place, (*places): the places themselves up to 64, else a grid of about as many blocks of neighbours."""
    shape = given.sizes
    if int(np.prod(shape)) <= MOST_PARTS:
        return np.arange(int(np.prod(shape)), dtype=np.intp).reshape(shape)
    side = int(MOST_PARTS ** (1 / len(shape)) + 1e-9)
    out = np.zeros(shape, dtype=np.intp)
    for axis, n in enumerate(shape):
        blocks = min(n, side)
        at = (np.arange(n) * blocks // n).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        out = out * blocks + at
    return out


@final
@dataclass(frozen=True)
class Game:
    """Rows, what stands for an absent part, and the score of any part of the parts.

    Attributes:
        q: the question. ids: for each input that takes part, its number and the parts of its places. parts: how many in all.
        absent: for each input, rows that stand in, in its shape.
    """

    q: Question
    ids: tuple[tuple[int, Indices], ...]
    parts: int
    absent: tuple[npt.NDArray[Any], ...]

    def scores(self, rows: Indices, kept: Bools) -> Floats:
        """Scores (m,) of rows with the parts `kept` (m, parts) as they are and the others absent."""
        out = np.empty(len(rows))
        for some in self.q.passes(len(rows), "deletion and insertion"):
            which = rows[some]
            xs = [i.x[which] for i in self.q.inputs]
            for number, ids in self.ids:
                mask = kept[some][:, ids]
                channel = self.q.inputs[number].channel
                mask = mask if channel is None else np.expand_dims(mask, channel)
                xs[number] = np.where(mask, xs[number], self.absent[number][which])
            lifted = tuple(self.q.net.array(np.ascontiguousarray(x)) for x in xs)
            out[some] = self.q.asked(lifted, which)[:, 0]
        return out

    def counts(self) -> Indices:
        """How many parts are gone at each point of a curve."""
        steps = min(STEPS, self.parts)
        return np.asarray(np.arange(steps + 1) * self.parts // steps, dtype=np.intp)

    def areas(self, orders: Sequence[Indices]) -> Floats:
        """Mean score along each order, (orders, rows); an order is (rows, parts), first to go first."""
        n, counts = self.q.rows, self.counts()
        inner = counts[1:-1]
        ends = self.scores(
            np.tile(np.arange(n), 2), np.repeat([[True], [False]], n, axis=0) & np.ones((1, self.parts), dtype=bool)
        )
        rows = np.tile(np.repeat(np.arange(n), len(inner)), len(orders))
        kept = np.empty((len(rows), self.parts), dtype=bool)
        for k, order in enumerate(orders):
            place = np.argsort(order, axis=1)  # when each part goes
            at = slice(k * n * len(inner), (k + 1) * n * len(inner))
            kept[at] = (place[:, None, :] >= inner[None, :, None]).reshape(-1, self.parts)
        middle = self.scores(rows, kept).reshape(len(orders), n, len(inner))
        curves = np.concatenate(
            [
                np.broadcast_to(ends[:n, None], (len(orders), n, 1)),
                middle,
                np.broadcast_to(ends[n:, None], (len(orders), n, 1)),
            ],
            axis=2,
        )
        width = np.diff(counts) / self.parts
        return np.asarray(((curves[..., 1:] + curves[..., :-1]) / 2 * width).sum(axis=2))

    def greedy(self, *, away: bool) -> tuple[Indices, Floats]:
        """An order found by looking: parts go away by what the score loses (`away`), or come by what it gains; and what each part did alone, (rows, parts).

        Looked at again at the half. It may be beaten: it is the best order known, not the best there is.
        """
        n, P = self.q.rows, self.parts
        left, order = np.ones((n, P), dtype=bool), np.empty((n, P), dtype=np.intp)
        first = np.zeros((n, P))
        done = 0
        for k in range(RESCORED):
            take = P * (k + 1) // RESCORED - done
            rows, part = np.nonzero(left)
            kept = (left if away else ~left)[rows]
            kept[np.arange(len(rows)), part] = not away
            effect = np.full((n, P), np.inf)
            effect[rows, part] = self.scores(rows, kept) * (1.0 if away else -1.0)
            if not k:
                first = effect
            best = np.argsort(effect, axis=1, kind="stable")[:, :take]
            order[:, done : done + take] = best
            left[np.arange(n)[:, None], best] = False
            done += take
        return order, first
