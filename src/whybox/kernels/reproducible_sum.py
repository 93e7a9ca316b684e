"""Sums over trees and rows by threads, the same to the bit for any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import numpy as np

from whybox import _native
from whybox.core.progress import timed_batches
from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.kernels.compiled_trees import fastest_instructions
from whybox.kernels.value_intervals import Ints
from whybox.models.trees import TreeEnsemble

__all__ = ["count_parts", "for_each_thread", "sum_effects"]

MAX_BLOCK_ROWS: Final = 32768  # rows a native block holds at most
# Sums are made in parts that depend on the question alone and are added in order.
MAX_PARTS: Final = 16  # of trees, at most
PART_SECONDS: Final = 0.05  # of work that make a part worth its own sums


def _seconds_of_work(e: TreeEnsemble, rows: int, *, pairs: bool) -> float:
    """Return about how many seconds it takes to add up all trees over rows, by the words of bits that are touched."""
    return len(e.left) * rows / 64 * 4e-9 * (1 + 4 * pairs)


def count_parts(e: TreeEnsemble, rows: int, *, pairs: bool, max_parts: float = np.inf) -> int:
    """Return how many parts the trees are added up in, one at least."""
    worth = min(_seconds_of_work(e, rows, pairs=pairs) / PART_SECONDS, max_parts, MAX_PARTS, e.n_trees)
    return max(1, int(worth))


def sum_effects(
    e: TreeEnsemble, grid: _native.EffectGrid, pairs: Ints, X: Floats, w: Floats, *, threads: int, n_parts: int
) -> tuple[_native.EffectSums, float]:
    """Add up all trees, in `n_parts` parts, over all rows; returns the sums and the rows' weight in them."""
    if threads < 1:
        raise OptionError("threads must be at least 1.")
    equal = bool((w == w[0]).all())
    instructions = fastest_instructions()
    first, second = (np.ascontiguousarray(pairs[:, k], dtype=np.int32) for k in (0, 1))
    bounds = np.linspace(0, e.n_trees, n_parts + 1).astype(int)
    parts = [grid.effect_sums(first, second, instructions) for _ in range(n_parts)]
    steps = int(np.diff(bounds).max())
    blocks = [slice(s, min(s + MAX_BLOCK_ROWS, len(X))) for s in range(0, len(X), MAX_BLOCK_ROWS)]

    def work(part: int, block: slice, some: range) -> None:
        if some.start == 0:
            parts[part].load_rows(X[block], np.empty(0) if equal else w[block])
        low, high = int(bounds[part]), int(bounds[part + 1])
        parts[part].add_trees(min(low + some.start, high), min(low + some.stop, high))

    # about a tenth of a second at first: most calls need one step
    seconds = (
        _seconds_of_work(e, min(len(X), MAX_BLOCK_ROWS), pairs=bool(len(pairs))) / max(steps, 1) / min(threads, n_parts)
    )
    with ThreadPoolExecutor(min(threads, n_parts)) as pool:
        for some in timed_batches(
            steps * len(blocks), description="effects", first_size=max(1, int(0.1 / max(seconds, 1e-9))), unit="trees"
        ):
            for block, trees in _in_blocks(some, steps, blocks):
                if min(threads, n_parts) == 1:
                    for part in range(n_parts):
                        work(part, block, trees)
                else:
                    list(pool.map(work, range(n_parts), [block] * n_parts, [trees] * n_parts))
    for other in parts[1:]:
        parts[0].merge(other)
    return parts[0], float(len(X)) if equal else float(w.sum())


def for_each_thread(threads: int, rows: slice, work: Callable[[slice], None]) -> None:
    """Work on rows, an even part a thread: for results of each row by itself."""
    if threads < 1:
        raise OptionError("threads must be at least 1.")
    cuts = np.linspace(rows.start, rows.stop, min(threads, max((rows.stop - rows.start) // 16, 1)) + 1).astype(int)
    parts = [slice(int(a), int(b)) for a, b in pairwise(cuts)]
    if len(parts) == 1:
        work(rows)
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(work, parts))


def _in_blocks(some: slice, steps: int, blocks: Sequence[slice]) -> Iterator[tuple[slice, range]]:
    start = some.start
    while start < some.stop:
        block = start // steps
        stop = min(some.stop, (block + 1) * steps)
        yield blocks[block], range(start - block * steps, stop - block * steps)
        start = stop
