"""What a group of checks costs, so that a report can choose checks before it runs any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from whybox.explanation.explanation import Explanation

__all__ = ["CheckCost", "is_expensive", "map_passes"]

EXPENSIVE_PASSES: Final = 300  # passes that a map takes for one row


def is_expensive(map_passes: float) -> bool:
    """Return whether a map takes so many passes a row that checks run fewer repetitions."""
    return map_passes > EXPENSIVE_PASSES


def map_passes(e: Explanation) -> float:
    """Return the passes that a map took for one row, forward and backward; of an explanation that was cut too."""
    return (e.evidence.passes["forward"] + e.evidence.passes["backward"]) / e.evidence.rows


@final
@dataclass(frozen=True)
class CheckCost:
    """The cost of a group of checks, for one row.

    Attributes:
        n_maps: maps that are computed, at most. n_maps_if_expensive: the same for maps that take many passes.
        n_forwards: forward passes beside those of the maps.
        needs_rows: True if verdicts depend on a confidence interval over rows, so that few rows tell nothing.
    """

    n_maps: int = 0
    n_maps_if_expensive: int = 0
    n_forwards: int = 0
    needs_rows: bool = False

    def passes_per_row(self, map_passes: float) -> float:
        """Return the passes of one row, if a map takes `map_passes`."""
        return (self.n_maps_if_expensive if is_expensive(map_passes) else self.n_maps) * map_passes + self.n_forwards
