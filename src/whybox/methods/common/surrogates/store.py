"""Hybrids whose outputs are known, kept for fitting surrogates: a bounded number of bytes."""

from __future__ import annotations

from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import InputError

__all__ = ["HybridStore", "Keys", "content_keys", "mixed", "number_words"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def content_keys(cells: Floats, seed: int = 0) -> Keys:
    """Return a number for each row of cells, (n,), that looks random and depends on its cells and the seed alone.

    Zeros of either sign and all NaN count as equal. The mixing is that of splitmix64 (Steele, Lea & Flood 2014).
    """
    keys = np.full(len(cells), np.uint64(seed % 2**64))
    for column in number_words(cells).T:
        keys = mixed(keys ^ mixed(column))
    return keys


def number_words(numbers: Floats) -> Keys:
    """Return the bits of numbers, of one shape with them; zeros of either sign and all NaN have the same."""
    return np.ascontiguousarray(np.where(np.isnan(numbers), np.nan, numbers) + 0.0).view(np.uint64)


def mixed(keys: Keys) -> Keys:
    """Return numbers that look random, one for each (splitmix64)."""
    keys = keys + _GOLDEN
    keys = (keys ^ (keys >> np.uint64(30))) * _MIX[0]
    keys = (keys ^ (keys >> np.uint64(27))) * _MIX[1]
    return keys ^ (keys >> np.uint64(31))


@final
class HybridStore:
    """Hybrids, their outputs, and the row that each was made of.

    When they are too many, each is kept or left out by its content: a share of a half, a quarter and so on, the same ones in whatever order they came.

    Args:
        columns: of a hybrid. outputs: of the model.
        max_bytes: most bytes of all arrays together.

    Attributes:
        seen: how many hybrids were appended.

    Raises:
        OptionError: `max_bytes` is no positive whole number.
    """

    def __init__(self, columns: int, outputs: int, max_bytes: int = 2**27) -> None:
        check_whole_number("max_bytes", max_bytes)
        self.columns, self.outputs = columns, outputs
        self._most = max(64, max_bytes // (8 * (columns + outputs + 2) * 2))  # twice: arrays are copied when they grow
        self._halvings = 0
        self._blocks: list[tuple[Floats, Floats, Ints, Keys]] = []
        self._kept = 0
        self.seen = 0

    def __len__(self) -> int:
        """Return how many hybrids are kept."""
        return self._kept

    def append(self, cells: Floats, outputs: Floats, row: Ints) -> None:
        """Add hybrids.

        Args:
            cells: as numbers, (hybrids, columns). outputs: (hybrids, outputs), finite. row: (hybrids,), the row that each was made of.

        Raises:
            InputError: shapes that do not fit.
        """
        if cells.shape != (len(row), self.columns) or outputs.shape != (len(row), self.outputs):
            raise InputError(
                f"hybrids must be (hybrids, {self.columns}) with outputs (hybrids, {self.outputs}) and a row each."
            )
        self.seen += len(row)
        block = (
            np.array(cells, dtype=np.float64),
            np.array(outputs, dtype=np.float64),
            np.array(row, dtype=np.int64),
            content_keys(cells),
        )
        self._blocks.append(self._thinned(block))
        self._kept += len(self._blocks[-1][3])
        while self._kept > self._most:
            self._halvings += 1
            self._blocks = [self._thinned(b) for b in self._blocks]
            self._kept = sum(len(keys) for _, _, _, keys in self._blocks)

    def hybrids(self) -> tuple[Floats, Floats, Ints, Keys]:
        """Return what is kept: cells, outputs, rows and content keys, in an order that depends on their content alone."""
        if not self._blocks:
            return (
                np.empty((0, self.columns)),
                np.empty((0, self.outputs)),
                np.empty(0, np.int64),
                np.empty(0, np.uint64),
            )
        if len(self._blocks) > 1:
            parts = [np.concatenate(arrays) for arrays in zip(*self._blocks, strict=True)]
            self._blocks = [(parts[0], parts[1], parts[2], parts[3])]
        cells, outputs, row, keys = self._blocks[0]
        if (keys[1:] <= keys[:-1]).any():
            order = np.lexsort((row, keys))  # hybrids of several rows can be equal: donors as they are
            self._blocks = [(cells[order], outputs[order], row[order], keys[order])]
        return self._blocks[0]

    def _thinned(self, block: tuple[Floats, Floats, Ints, Keys]) -> tuple[Floats, Floats, Ints, Keys]:
        keys = block[3]
        kept = keys < np.uint64(2 ** (64 - self._halvings) - 1)
        return block if kept.all() else (block[0][kept], block[1][kept], block[2][kept], keys[kept])
