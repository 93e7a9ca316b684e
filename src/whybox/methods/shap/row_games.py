"""Games that take outputs of hybrids in a way that differs by row: losses by the truth of the row, predictions by its offset.

The model is evaluated once for each different hybrid; what a row's game makes of an output follows from that. So two rows with equal cells can have different games.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints

__all__ = ["RowGames", "shared_base"]

MAX_NUMBERS: Final = 2**22  # computed together
PREDICTION_ROUNDING: Final = 1e-12  # of the largest output: what another batch may change


@dataclass(frozen=True, eq=False)
class RowGames(ABC):
    """What rows' games make of a model's outputs.

    Attributes:
        row_outputs: (n, model outputs). background_outputs: (background rows, model outputs).
    """

    row_outputs: Floats
    background_outputs: Floats

    @abstractmethod
    def of_hybrids(self, rows: Ints, outputs: Floats) -> Floats:
        """Return what is explained of hybrids, (rows, ..., outputs explained).

        Args:
            rows: (k,), the row that hybrids are of. outputs: (k, ..., model outputs).

        Raises:
            OptionError: it is not defined for an output.
        """

    @property
    @abstractmethod
    def keys(self) -> Floats:
        """What tells games of rows with equal cells apart, (n, numbers)."""

    @property
    @abstractmethod
    def fingerprints(self) -> dict[str, str]:
        """SHA-256 of what differs by row, by its name."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What is explained, for the evidence."""

    @property
    @abstractmethod
    def extras(self) -> dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]:
        """What differs by row, and the like."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What the reader should know."""

    @property
    @abstractmethod
    def no_surrogate(self) -> str:
        """Why no surrogate was fitted."""

    @property
    @abstractmethod
    def what(self) -> str:
        """What a row's values add up to, in words that follow "where"."""

    @property
    def of_rows(self) -> Floats:
        """What is explained of the rows as they are, (n, outputs explained)."""
        return self.of_hybrids(np.arange(len(self.row_outputs)), self.row_outputs)

    def of_donors(self, rows: Ints, donors: Ints | slice = slice(None)) -> Floats:
        """Return what is explained of background rows in the games of some rows, (rows, donors, outputs explained)."""
        outputs = self.background_outputs[donors]
        return self.of_hybrids(rows, np.broadcast_to(outputs, (len(rows), *outputs.shape)))

    def base(self, weights: Floats) -> Floats:
        """Return the mean over the background in each row's game, (n, outputs explained); of equal numbers it is exactly their value."""
        means = [p[:, 0] + np.einsum("b,rbo->ro", weights, p - p[:, :1]) for p in self._blocks_of_donors()]
        return np.concatenate(means)

    @cached_property
    def largest_of_donors(self) -> Floats:
        """The largest size of a background row in each row's game, (n, outputs explained)."""
        return np.concatenate([np.abs(part).max(axis=1) for part in self._blocks_of_donors()])

    def _blocks_of_donors(self) -> Iterator[Floats]:
        """Background rows in the games of some rows after the other."""
        step = max(1, MAX_NUMBERS // max(self.background_outputs.size, 1))
        n = len(self.row_outputs)
        for start in range(0, max(n, 1), step):
            yield self.of_donors(np.arange(start, min(start + step, n)))

    def moved(self, rows: Ints, outputs: Floats, by: Floats) -> Floats:
        """Return how far what is explained moves at most, about, where each output moves by so much, (k, outputs explained).

        Args:
            rows: (k,), the row that hybrids are of. outputs, by: (k, model outputs).
        """
        here = self.of_hybrids(rows, outputs)
        total = np.zeros_like(here)
        for k in range(outputs.shape[1]):
            steps = []
            for sign in (-1.0, 1.0):
                other = outputs.copy()
                other[:, k] += 2.0 * sign * by[:, k]
                steps.append(np.abs(self.of_hybrids(rows, self._allowed(other, outputs, k)) - here))
            total += np.maximum(*steps)
        return total

    def _allowed(self, moved: Floats, outputs: Floats, k: int) -> Floats:
        """Return outputs of which the k-th was moved, where what is explained is defined."""
        del outputs, k
        return moved

    @property
    def rounding(self) -> Floats:
        """How far rounding of predictions moves what is explained of the rows, (n, outputs explained)."""
        by = np.full_like(self.row_outputs, PREDICTION_ROUNDING * float(np.abs(self.row_outputs).max(initial=0.0)))
        return self.moved(np.arange(len(self.row_outputs)), self.row_outputs, by)


def shared_base(bases: Floats) -> Floats:
    """Return the base that all rows share, (outputs explained,); NaN where theirs, (n, outputs explained), differ or there are none."""
    is_shared = len(bases) > 0 and (bases == bases[0]).all()
    return bases[0] if is_shared else np.full(bases.shape[1], np.nan)
