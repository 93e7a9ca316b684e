"""What every plan says, whatever it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final, runtime_checkable

import numpy as np

__all__ = ["MethodPlan", "Plan", "duration"]


@runtime_checkable
class Plan(Protocol):
    """What a call will do and cost, said before it is made; print it.

    Attributes:
        method: the method in words. method_id: its id in the registry of methods. kernel: the routine that will compute it.
        exact: whether the numbers will be exact for what is asked. rows: how many are explained, or averaged over.
        model_calls: rows that the model's own predict will be called on. memory_bytes: at most, about, beyond the rows given.
        seconds: about, on this machine. Each is NaN where it cannot be told.
    """

    @property
    def method(self) -> str: ...  # noqa: D102  # above, here and below
    @property
    def method_id(self) -> str: ...  # noqa: D102
    @property
    def kernel(self) -> str: ...  # noqa: D102
    @property
    def exact(self) -> bool: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def model_calls(self) -> float: ...  # noqa: D102
    @property
    def memory_bytes(self) -> float: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102


@final
@dataclass(frozen=True, kw_only=True)
class MethodPlan:
    """The plan of a method that has nothing to add to what every plan says; see :class:`Plan`. ``notes``: how the cost was found."""

    method: str
    method_id: str
    kernel: str
    exact: bool
    rows: int
    model_calls: float = float("nan")
    memory_bytes: float = float("nan")
    seconds: float = float("nan")
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        calls = "not predicted" if np.isnan(self.model_calls) else f"about {self.model_calls:,.0f} rows"
        lines = [
            f"{self.method}: {self.rows:,} row{'s' * (self.rows != 1)}; {'exact' if self.exact else 'estimated'}",
            f"kernel    {self.kernel}",
            f"calls     {calls}",
            f"time      {duration(self.seconds)}",
        ]
        if not np.isnan(self.memory_bytes):
            lines.append(f"memory    about {self.memory_bytes / 2**20:,.0f} MiB beyond the rows given")
        return "\n".join([*lines, *(f"note      {note}" for note in self.notes)])


def duration(seconds: float) -> str:
    """Return seconds in words: ``"about 3.2 s"``."""
    if np.isnan(seconds):
        return "not predicted"
    if seconds >= 60:
        return f"about {seconds / 60:,.0f} min" if seconds < 7200 else f"about {seconds / 3600:,.1f} h"
    return f"about {seconds:.2g} s" if seconds >= 0.1 else f"about {max(seconds, 1e-3) * 1e3:.0f} ms"
