"""Which numbers of an answer about effects are recomputed: drawn at random, spread over the curves, points of missing values and categories first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.series import is_missing
from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.effects.spot_rows import Cell, Place, Points, RowRecomputation

__all__ = ["MIN_POINTS", "Number", "Slot", "cycled", "drawn_slots", "first_slots", "recomputed"]

MIN_POINTS: Final = 48  # 0.9 ** 48 < 0.01: where a tenth of the points are wrong, these miss all of them in less than one run of a hundred
MAX_CATEGORY_POINTS: Final = 8  # of a feature, that come before points drawn at random

Slot = tuple[int, int]  # position of a curve, and of a number of it


@final
@dataclass(frozen=True, eq=False)
class Number:
    """A number about one row: a signed sum of its predictions with features set to points, over a divisor.

    ``corners`` are (sign, point); of a row as it is, ``points`` is None.
    """

    row: int
    points: Points | None
    corners: tuple[tuple[float, int], ...] = ((1.0, 0),)
    divisor: float = 1.0

    @property
    def place(self) -> Place:
        """What it is, for messages."""
        return self.cells[0].place

    @property
    def cells(self) -> list[Cell]:
        """Its predictions."""
        return [Cell(self.row, self.points, point) for _, point in self.corners]


@final
@dataclass(eq=False)
class _Order:
    """Slots in the order in which they are recomputed, each once."""

    slots: dict[Slot, None] = field(default_factory=dict)

    def add(self, curve: int, numbers: npt.ArrayLike) -> None:
        """Add slots of a curve."""
        self.slots.update(((curve, int(k)), None) for k in np.atleast_1d(numbers))


def first_slots(points: Points, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return points that are always recomputed: of missing values, and of categories."""
    missing: list[int] = []
    words: list[int] = []
    for feature, labels in zip(points.features, points.labels, strict=True):
        gaps = np.flatnonzero([is_missing(v) for v in labels])
        if len(gaps):
            missing.append(int(rng.choice(gaps)))
        if feature.kind == "category":
            some = rng.permutation(len(labels))[:MAX_CATEGORY_POINTS]
            words += some.tolist()
    return missing, words


def drawn_slots(
    sizes: Sequence[int], first: Sequence[tuple[Sequence[int], Sequence[int]]], most: int, rng: np.random.Generator
) -> list[Slot]:
    """Return which numbers of each curve are recomputed, at most `most` of all curves, the most important ones first.

    Args:
        sizes: how many numbers each curve has. first: for each, numbers of missing values, and of categories.
    """
    order = _Order()
    for k in (0, 1):
        for curve in range(len(sizes)):
            if k == 0 and first[curve][0]:
                order.add(curve, first[curve][0])
            elif k == 1 and sizes[curve]:
                order.add(curve, rng.integers(sizes[curve]))
    for curve in range(len(sizes)):
        order.add(curve, np.array(first[curve][1], dtype=np.int64))
    ends = np.cumsum(sizes)
    every = rng.permutation(int(ends[-1])) if ends[-1] <= 2**20 else rng.integers(ends[-1], size=2 * most)
    for number in every.tolist():
        if len(order.slots) >= most:
            break
        curve = int(np.searchsorted(ends, number, side="right"))
        order.add(curve, number - (ends[curve] - sizes[curve]))
    return list(order.slots)[:most]


def cycled(slots: Sequence[Slot], rows: Ints, many: int, rng: np.random.Generator) -> list[tuple[Slot, int]]:
    """Return (slot, row) so many times, or as often as there are: the slots one after the other, each time with another row."""
    times = min(-(-many // max(len(slots), 1)), len(rows))
    picked = [rng.choice(rows, times, replace=False) for _ in slots]
    return [(slot, int(picked[i][t])) for t in range(times) for i, slot in enumerate(slots)][:many]


def recomputed(numbers: Sequence[Number], recompute: RowRecomputation) -> tuple[Floats, Floats]:
    """Return the numbers, recomputed, and how far rounding may move each, (numbers, outputs) both."""
    values, allowed = recompute([cell for n in numbers for cell in n.cells])
    out, limits = np.zeros((2, len(numbers), values.shape[1]))
    for i, (number, part) in enumerate(zip(numbers, _parts(numbers), strict=True)):
        signs = np.array([sign for sign, _ in number.corners])
        with np.errstate(over="ignore", invalid="ignore"):
            out[i] = signs @ values[part] / number.divisor
            limits[i] = np.abs(signs) @ allowed[part] / abs(number.divisor)
    return out, limits


def _parts(numbers: Sequence[Number]) -> Iterator[slice]:
    start = 0
    for number in numbers:
        yield slice(start, start + len(number.corners))
        start += len(number.corners)
