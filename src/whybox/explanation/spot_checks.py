"""What was recomputed of an answer by a second, independent way: how many numbers, and how far they differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

__all__ = ["SpotChecks", "merge_spot_checks"]


@final
@dataclass(frozen=True)
class SpotChecks:
    """Numbers of an answer that were recomputed by a way that shares no code with what computed them, and held against it.

    Attributes:
        numbers: how many were recomputed; 0: the answer was not checked.
        predictions: what that took, in predictions of single rows by the model itself (of networks: rows that went through it).
        difference: the largest difference between the answer and what was recomputed, in the units of the answer; each is less than rounding explains.
        ways: how they were recomputed, in words: ``"by asking RandomForestRegressor.predict about mixed rows"``.
    """

    numbers: int = 0
    predictions: int = 0
    difference: float = 0.0
    ways: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.numbers:
            return "not checked"
        ways = "; ".join(self.ways)
        return (
            f"{self.numbers:,} number{'s' * (self.numbers != 1)} of this answer {'were' if self.numbers != 1 else 'was'} recomputed {ways}; "
            f"largest difference {self.difference:.2g}"
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SpotChecks:
        """Rebuild from plain data; what is missing gets its default, what is not known is left out."""
        known = {name: data[name] for name in ("numbers", "predictions", "difference") if name in data}
        return cls(**known, ways=tuple(data.get("ways", ())))


def merge_spot_checks(parts: Iterable[SpotChecks | None]) -> SpotChecks | None:
    """Return the checks of an answer made in several parts: numbers and predictions add up, the largest difference stays; None if no part says anything."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return SpotChecks(
        sum(part.numbers for part in known),
        sum(part.predictions for part in known),
        max(part.difference for part in known),
        tuple(dict.fromkeys(way for part in known for way in part.ways)),
    )
