"""What every plan says, whatever it is about; and how work is timed for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, final, runtime_checkable

import numpy as np

from whybox.data.table import Table
from whybox.explanation.number_text import number_text

__all__ = [
    "MAX_TIMINGS",
    "MethodPlan",
    "Plan",
    "Stopwatch",
    "bytes_given",
    "cost_table",
    "duration_text",
    "seconds_of_each",
    "smallest_seconds",
]

BUSY_SHARE: Final = 0.05  # of the time by the clock: a call that computes for less waits for something
WORK: Final = "work"  # the part of a plan that is none of the others
_TIME_UNITS: Final = (("hours", 3600.0, 7200.0), ("minutes", 60.0, 120.0), ("seconds", 1.0, 0.1), ("ms", 1e-3, 0.0))
_MEMORY_UNITS: Final = (("GiB", 2.0**30, 2.0**31), ("MiB", 2.0**20, 0.0))
MAX_TIMINGS: Final = 3  # of the same work, of which the smallest counts
SECONDS_OF_TIMINGS: Final = 0.5  # after which the same work is not repeated

_T = TypeVar("_T")


def read_clocks() -> tuple[float, float]:
    """Return the time by the clock and the processor time of this process, in seconds."""
    return time.perf_counter(), time.process_time()


@final
class Stopwatch:
    """Measures the time that work takes on a machine that does nothing else.

    Args:
        may_wait: whether the work may wait for another process, a network or an accelerator: if it calls code that is not ours.
    """

    def __init__(self, *, may_wait: bool = False) -> None:
        self._may_wait, self._started = may_wait, read_clocks()

    def elapsed_seconds(self) -> float:
        """Return the seconds since the start: processor time, in which other programs do not enter.

        The time by the clock counts where it is less, because several threads computed; and where work that may wait hardly computed.
        """
        by_clock, processor = (now - then for now, then in zip(read_clocks(), self._started, strict=True))
        waited = self._may_wait and processor < BUSY_SHARE * by_clock
        return by_clock if waited else min(by_clock, processor)


def smallest_seconds(work: Callable[[_T], object], prepare: Callable[[], _T], *, may_wait: bool = False) -> float:
    """Time work several times, unless it takes long, and return the smallest time; `prepare` makes what it works on, each time anew and untimed."""
    watch, smallest = Stopwatch(may_wait=may_wait), float("inf")
    for _ in range(MAX_TIMINGS):
        prepared = prepare()
        each = Stopwatch(may_wait=may_wait)
        work(prepared)
        smallest = min(smallest, each.elapsed_seconds())
        if watch.elapsed_seconds() > SECONDS_OF_TIMINGS:
            break
    return smallest


def seconds_of_each(work: Callable[[int], object], counts: Sequence[int], *, quick: float, may_wait: bool) -> float:
    """Time work on so many things, once each, rising counts until one takes longer than `quick` seconds; return the seconds of each thing, by the last."""
    seconds = 0.0
    for count in counts:
        watch = Stopwatch(may_wait=may_wait)
        work(count)
        taken = watch.elapsed_seconds()
        seconds = taken / count
        if taken > quick:
            break
    return seconds


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
    """The plan of a method that has nothing to add to what every plan says; see :class:`Plan`.

    Attributes:
        given_bytes: of the rows given. notes: how the cost was found.
    """

    method: str
    method_id: str
    kernel: str
    exact: bool
    rows: int
    model_calls: float = float("nan")
    memory_bytes: float = float("nan")
    given_bytes: float = float("nan")
    seconds: float = float("nan")
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        calls = "not predicted" if np.isnan(self.model_calls) else f"about {self.model_calls:,.0f} rows"
        lines = [
            f"{self.method}: {self.rows:,} row{'s' * (self.rows != 1)}; {'exact' if self.exact else 'estimated'}",
            f"kernel    {self.kernel}",
            f"calls     {calls}",
            *cost_table({WORK: self.seconds}, {WORK: self.memory_bytes, "rows given": self.given_bytes}),
        ]
        return "\n".join([*lines, *(f"note      {note}" for note in self.notes)])


def cost_table(seconds: Mapping[str, float], memory_bytes: Mapping[str, float]) -> list[str]:
    """Return the lines of one table: what each part takes, in one unit of time and one of memory, and all of them together.

    Args:
        seconds, memory_bytes: by the part, in the order of the lines; NaN where it cannot be told. Memory is left out where none can.
    """
    memory = {part: size for part, size in memory_bytes.items() if not np.isnan(size)}
    columns = []
    for of, units in ((seconds, _TIME_UNITS), (memory, _MEMORY_UNITS)):
        total = sum(of.values())
        name, size = next(((n, s) for n, s, least in units if total >= least), units[-1][:2])
        cells = {**of, "together": total} if of else {}
        columns.append((name if of else "", {part: _cell(value / size) for part, value in cells.items()}))
    parts = dict.fromkeys((*seconds, *memory))
    shown = [*parts, *(["together"] if len(parts) > 1 else [])]
    lines = [
        ("about", *(name for name, _ in columns)),
        *((part, *(of.get(part, "") for _, of in columns)) for part in shown),
    ]
    first, *others = (max(len(line[k]) for line in lines) for k in range(3))
    return [f"{line[0]:<{max(first, 9)}} {line[1]:>{others[0]}}   {line[2]:>{others[1]}}".rstrip() for line in lines]


def bytes_given(rows: Table) -> float:
    """Return about how much memory rows take, 8 bytes a cell; NaN of sparse ones."""
    return float("nan") if rows.is_sparse else 8.0 * len(rows) * rows.width


def _cell(value: float) -> str:
    return "not predicted" if np.isnan(value) else number_text(max(value, 0.001), 3) if value else "0"


def duration_text(seconds: float) -> str:
    """Return seconds in words: ``"about 3.2 s"``."""
    if np.isnan(seconds):
        return "not predicted"
    if seconds >= 60:
        return f"about {seconds / 60:,.0f} min" if seconds < 7200 else f"about {seconds / 3600:,.1f} h"
    return f"about {seconds:.2g} s" if seconds >= 0.1 else f"about {max(seconds, 1e-3) * 1e3:.0f} ms"
