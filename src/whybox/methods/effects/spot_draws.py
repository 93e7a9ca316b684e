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
from whybox.methods.common.spot_rows import FeaturePoints, PositionLabel, RowCell, RowRecomputation

__all__ = ["MIN_POINTS", "CheckedNumber", "NumberSlot", "cycle_rows", "drawn_slots", "first_slots", "recompute_numbers"]

MIN_POINTS: Final = 48  # 0.9 ** 48 < 0.01: where a tenth of the points are wrong, these miss all of them in less than one run of a hundred
MAX_CATEGORY_POINTS: Final = 8  # of a feature, that come before points drawn at random

NumberSlot = tuple[int, int]  # position of a curve, and of a number of it


@final
@dataclass(frozen=True, eq=False)
class CheckedNumber:
    """A number about one row: a signed sum of its predictions with features set to points, over a divisor.

    ``corners`` are (sign, point); of a row as it is, ``points`` is None.
    """

    row: int
    points: FeaturePoints | None
    corners: tuple[tuple[float, int], ...] = ((1.0, 0),)
    divisor: float = 1.0

    @property
    def position_label(self) -> PositionLabel:
        """What it is, for messages."""
        return self.row_cells[0].position_label

    @property
    def row_cells(self) -> list[RowCell]:
        """Its predictions."""
        return [RowCell(self.row, self.points, point) for _, point in self.corners]


@final
@dataclass(eq=False)
class _SlotOrder:
    """Slots in the order in which they are recomputed, each once."""

    slots: dict[NumberSlot, None] = field(default_factory=dict)

    def add_numbers(self, curve: int, numbers: npt.ArrayLike) -> None:
        """Add slots of a curve."""
        self.slots.update(((curve, int(k)), None) for k in np.atleast_1d(numbers))


def first_slots(points: FeaturePoints, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Return points that are always recomputed: of missing values, and of categories."""
    missing: list[int] = []
    categories: list[int] = []
    for feature, labels in zip(points.features, points.labels, strict=True):
        gaps = np.flatnonzero(np.isnan(labels) if labels.dtype.kind == "f" else [is_missing(v) for v in labels])
        if len(gaps):
            missing.append(int(rng.choice(gaps)))
        if feature.kind == "category":
            chosen = rng.permutation(len(labels))[:MAX_CATEGORY_POINTS]
            categories += chosen.tolist()
    return missing, categories


def drawn_slots(
    sizes: Sequence[int], first: Sequence[tuple[Sequence[int], Sequence[int]]], max_slots: int, rng: np.random.Generator
) -> list[NumberSlot]:
    """Return which numbers of each curve are recomputed, at most `max_slots` of all curves, the most important ones first.

    Args:
        sizes: how many numbers each curve has. first: for each, numbers of missing values, and of categories.
    """
    order = _SlotOrder()
    for k in (0, 1):
        for curve in range(len(sizes)):
            if k == 0 and first[curve][0]:
                order.add_numbers(curve, first[curve][0])
            elif k == 1 and sizes[curve]:
                order.add_numbers(curve, rng.integers(sizes[curve]))
    for curve in range(len(sizes)):
        order.add_numbers(curve, np.array(first[curve][1], dtype=np.int64))
    ends = np.cumsum(sizes)
    every = rng.permutation(int(ends[-1])) if ends[-1] <= 2**20 else rng.integers(ends[-1], size=2 * max_slots)
    for number in every.tolist():
        if len(order.slots) >= max_slots:
            break
        curve = int(np.searchsorted(ends, number, side="right"))
        order.add_numbers(curve, number - (ends[curve] - sizes[curve]))
    return list(order.slots)[:max_slots]


def cycle_rows(
    slots: Sequence[NumberSlot], rows: Ints, n_pairs: int, rng: np.random.Generator
) -> list[tuple[NumberSlot, int]]:
    """Return (slot, row) so many times, or as often as there are: the slots one after the other, each time with another row."""
    times = min(-(-n_pairs // max(len(slots), 1)), len(rows))
    picked = [rng.choice(rows, times, replace=False) for _ in slots]
    return [(slot, int(picked[i][t])) for t in range(times) for i, slot in enumerate(slots)][:n_pairs]


def recompute_numbers(numbers: Sequence[CheckedNumber], recompute: RowRecomputation) -> tuple[Floats, Floats]:
    """Return the numbers, recomputed, and how far rounding may move each, (numbers, outputs) both."""
    values, allowed = recompute([cell for n in numbers for cell in n.row_cells])
    out, limits = np.zeros((2, len(numbers), values.shape[1]))
    for i, (number, part) in enumerate(zip(numbers, _corner_slices(numbers), strict=True)):
        signs = np.array([sign for sign, _ in number.corners])
        with np.errstate(over="ignore", invalid="ignore"):
            out[i] = signs @ values[part] / number.divisor
            limits[i] = np.abs(signs) @ allowed[part] / abs(number.divisor)
    return out, limits


def _corner_slices(numbers: Sequence[CheckedNumber]) -> Iterator[slice]:
    start = 0
    for number in numbers:
        yield slice(start, start + len(number.corners))
        start += len(number.corners)
