"""Rows that are drawn from the background, each player by itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table
from whybox.methods.common.columns import Ints
from whybox.methods.common.piecewise import Draw, PlayerDistribution

__all__ = ["Sample", "places_of", "sample_cells", "sample_of"]

MAX_PIECES: Final = 2**12  # of all players together, of which a matrix (pieces, draws) is made


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """Rows that were drawn from the background's distribution of each player.

    Attributes:
        pieces: (draws, players), the piece of each. values: (draws, players), numbers that were drawn, NaN elsewhere. table: the rows.
    """

    pieces: Ints
    values: Floats
    table: Table

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.pieces)

    @cached_property
    def is_piece(self) -> tuple[Ints, Ints, npt.NDArray[np.float32]] | None:
        """Every piece of every player up to the last one that was drawn: (pieces,) its player, (pieces,) its number, and (pieces, draws) 1 where it was drawn.

        None where pieces are many.
        """
        counts = self.pieces.max(axis=0, initial=0) + 1
        if counts.sum() > MAX_PIECES:
            return None
        player = np.repeat(np.arange(len(counts)), counts)
        number = np.concatenate([np.arange(n) for n in counts])
        return player, number, (self.pieces.T[player] == number[:, None]).astype(np.float32)


def sample_of(background: Table, distributions: tuple[PlayerDistribution, ...], u: Floats) -> Sample:
    """Return the rows at uniform numbers, (draws, players)."""
    draws = [d.draw(u[:, p]) for p, d in enumerate(distributions)]
    pieces = np.column_stack([d.piece for d in draws])
    return Sample(pieces, np.column_stack([d.value for d in draws]), sample_cells(background, distributions, draws))


def sample_cells(background: Table, distributions: tuple[PlayerDistribution, ...], draws: list[Draw]) -> Table:
    """Return rows with the cells that were drawn for each player."""
    count = len(draws[0].piece)
    rows = np.zeros((count, background.width), dtype=np.int64)
    numbers: dict[int, Any] = {}
    for d, draw in zip(distributions, draws, strict=True):
        rows[:, list(d.columns)] = np.maximum(draw.row, 0)[:, None]
        if d.is_continuous.any():
            numbers[d.columns[0]] = d.numbers(draw.number)
    return (
        background.columns_at_rows(rows).with_columns_of_values(numbers)
        if numbers
        else background.columns_at_rows(rows)
    )


def places_of(distributions: tuple[PlayerDistribution, ...], sample: Sample) -> Floats:
    """Return the numbers of a sample in standard deviations, (draws, players); 0 for players that are cut into pieces."""
    out = np.zeros(sample.pieces.shape)
    for p, d in enumerate(distributions):
        if d.is_unbounded:
            out[:, p] = (sample.values[:, p] - d.mean[0]) / d.std[0]
    return out
