"""Progress of long work: a bar in a terminal or notebook after two seconds, nothing in logs and pipes."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import Any, Final

__all__ = [
    "expected_batch_sizes",
    "no_progress_bars",
    "progress_counter",
    "progress_of_parts",
    "progress_of_rounds",
    "timed_batches",
]

DELAY: Final = 2  # seconds before a bar is shown
DELAY_OF_PART: Final = 10  # the same, of a bar for one part of work that has a bar as a whole
NEVER: Final = 10**9  # seconds, some thirty years
_delay: ContextVar[int] = ContextVar("delay", default=DELAY)
SECONDS_PER_CALL = 0.2  # one native call: Ctrl-C is answered between calls


@contextmanager
def _progress_bar(total: int, description: str, unit: str, *, quiet: bool = False) -> Iterator[Any]:
    """A bar of tqdm that is gone when the work ends: in a notebook widgets if it has them, else a line that is written again in its place."""
    tqdm = _bars().tqdm
    in_notebook = type(sys.stderr).__module__.startswith("ipykernel")  # which is no terminal, by its isatty
    has_widgets = any(cls.__name__ == "tqdm_notebook" for cls in tqdm.__mro__)
    where = {"file": _LineOfNotebook(), "mininterval": 0.5} if in_notebook and not has_widgets else {}
    with tqdm(
        total=total,
        desc=description,
        unit=f" {unit}",
        delay=_delay.get(),
        disable=True if quiet else False if in_notebook else None,
        leave=False,
        **where,
    ) as progress_bar:
        yield progress_bar
        if has_widgets:
            progress_bar.total = progress_bar.n  # work that ends early is done: its widget would stay, in red


@cache
def _bars() -> Any:
    """Import the bars of tqdm, once: who silences warnings makes Python forget which it has shown."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # there are no widgets
        from tqdm import auto
    return auto


class _LineOfNotebook:
    """Where tqdm writes in a notebook without widgets: its stderr would keep each line, on a red ground."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._shown: Any = None

    def write(self, text: str) -> None:
        """Show a line in place of the one before."""
        line = {"text/plain": text.strip("\r\n ")}
        if self._shown is not None:
            self._shown.update(line, raw=True)
        elif line["text/plain"]:
            self._shown = import_module("IPython.display").display(line, raw=True, display_id=True)

    def flush(self) -> None:
        """Nothing is held back."""


def timed_batches(
    total: int,
    *,
    description: str,
    first_size: int = 32,
    max_size: int = 65536,
    quiet: bool = False,
    unit: str = "rows",
    fixed_size: bool = False,
) -> Iterator[slice]:
    """Yield slices that cover ``range(total)``, sized so that the work on each takes about a fifth of a second.

    Args:
        total: number of rows.
        description: text shown beside the bar.
        first_size: size of the first slice, before any timing.
        max_size: largest slice.
        quiet: show no bar (for inner loops).
        unit: name of what is counted.
        fixed_size: make all slices of `first_size`, for results that depend on the batch size and so must not depend on timing.
    """
    if total <= min(first_size, max_size):
        if total:
            yield slice(0, total)
        return
    size, start = min(first_size, max_size), 0
    with _progress_bar(total, description, unit, quiet=quiet) as progress_bar:
        while start < total:
            stop = min(start + size, total)
            started = time.perf_counter()
            yield slice(start, stop)
            seconds = max(time.perf_counter() - started, 1e-6)
            progress_bar.update(stop - start)
            if not fixed_size:
                size = _next_size(size, seconds, max_size)
            start = stop


@contextmanager
def progress_counter(total: int, *, description: str, unit: str = "rows") -> Iterator[Callable[[int], object]]:
    """Show progress of work with batches of its own; call the yielded function with the number of items just finished."""
    with _progress_bar(total, description, unit) as progress_bar:
        yield progress_bar.update


@contextmanager
def no_progress_bars(*, hidden: bool = True) -> Iterator[None]:
    """Show no bars within the block, where `hidden`."""
    token = _delay.set(NEVER if hidden else _delay.get())
    try:
        yield
    finally:
        _delay.reset(token)


@contextmanager
def progress_of_parts(
    total: int, *, description: str, unit: str = "rows", shown: bool = True
) -> Iterator[Callable[[int], object]]:
    """Show progress of work in parts that may show bars of their own, which wait longer; call the yielded function with the number of items just finished."""
    if not shown or _delay.get() == NEVER:
        yield lambda done: done
        return
    with _progress_bar(total, description, unit) as progress_bar:
        token = _delay.set(DELAY_OF_PART)
        try:
            yield progress_bar.update
        finally:
            _delay.reset(token)


@contextmanager
def progress_of_rounds(total: int, *, description: str, unit: str = "rows") -> Iterator[Callable[[int, str], object]]:
    """Show progress of work in rounds; call the yielded function after each with the number of items done so far, and what is reached in a few words."""
    with _progress_bar(total, description, unit) as progress_bar:

        def after_round(done: int, reached: str) -> None:
            progress_bar.set_postfix_str(reached, refresh=False)
            progress_bar.update(min(done, total) - progress_bar.n)

        yield after_round


def _next_size(size: int, seconds: float, max_size: int) -> int:
    return int(min(max_size, max(1, min(4 * size, size * SECONDS_PER_CALL / seconds))))


def expected_batch_sizes(
    total: int, seconds_per_call: float, seconds_per_row: float, *, first_size: int = 32, max_size: int = 65536
) -> list[int]:
    """Return the sizes of slices that :func:`timed_batches` will make if one takes ``seconds_per_call + seconds_per_row * size`` seconds."""
    sizes: list[int] = []
    size, remaining = min(first_size, max_size), total
    if total <= size:
        return [total] if total else []
    while remaining > 0:
        sizes.append(min(size, remaining))
        remaining -= size
        size = _next_size(size, max(seconds_per_call + seconds_per_row * sizes[-1], 1e-6), max_size)
        if size == sizes[-1] and remaining > size:  # the size has converged
            sizes += [size] * (remaining // size)
            remaining %= size
    return sizes
