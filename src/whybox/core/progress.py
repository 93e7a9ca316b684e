"""Progress of long work: a bar in a terminal or notebook after two seconds, silence in logs and pipes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["batches", "counted", "expected"]

SECONDS_PER_CALL = 0.2  # one native call: Ctrl-C is answered between calls


def batches(
    total: int,
    *,
    what: str,
    first: int = 32,
    most: int = 65536,
    quiet: bool = False,
    unit: str = "rows",
    steady: bool = False,
) -> Iterator[slice]:
    """Yield slices that cover ``range(total)``, sized so that the work on each takes about a fifth of a second.

    Args:
        total: how many rows.
        what: what is being done, shown beside the bar.
        first: size of the first slice, before anything was timed.
        most: largest slice.
        quiet: show nothing, for inner loops.
        unit: what is counted.
        steady: slices of `first` whatever the clock says: where numbers depend on what is computed together, they must not depend on the time it took.
    """
    if total <= min(first, most):
        if total:
            yield slice(0, total)
        return
    from tqdm.auto import tqdm

    size, start = min(first, most), 0
    with tqdm(total=total, desc=what, unit=f" {unit}", delay=2, disable=True if quiet else None, leave=False) as bar:
        while start < total:
            stop = min(start + size, total)
            began = time.perf_counter()
            yield slice(start, stop)
            took = max(time.perf_counter() - began, 1e-6)
            bar.update(stop - start)
            if not steady:
                size = _next(size, took, most)
            start = stop


@contextmanager
def counted(total: int, *, what: str, unit: str = "rows") -> Iterator[Callable[[int], object]]:
    """Show progress of work whose batches are chosen elsewhere; call what is yielded with how many more are done."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=what, unit=f" {unit}", delay=2, disable=None, leave=False) as bar:
        yield bar.update


def _next(size: int, took: float, most: int) -> int:
    return int(min(most, max(1, min(4 * size, size * SECONDS_PER_CALL / took))))


def expected(total: int, overhead: float, each: float, *, first: int = 32, most: int = 65536) -> list[int]:
    """Return the sizes of slices that :func:`batches` will make if one takes ``overhead + each * size`` seconds."""
    out: list[int] = []
    size, left = min(first, most), total
    if total <= size:
        return [total] if total else []
    while left > 0:
        out.append(min(size, left))
        left -= size
        size = _next(size, max(overhead + each * out[-1], 1e-6), most)
        if size == out[-1] and left > size:  # it has settled
            out += [size] * (left // size)
            left %= size
    return out
