"""Evaluating a model on a grid of hybrids: every row with the same list of patterns and donors, as games of rows with a common design are.

Equal hybrids are found without making them. Each different cell of a column gets a random number of 64 bits, and the key of a hybrid is the sum of the
numbers of its cells, modulo 2^64: what the row gives, by row and pattern, plus what the donor gives, by pattern and donor. Two different hybrids have the same
key with probability 2^-64, whatever their cells are. A million hybrids are 2^39 pairs, so one of 30 million such grids has two different hybrids that are taken
for equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.data.cells import joint_cell_codes
from whybox.data.table import Floats, Table
from whybox.methods.common.columns import Ints
from whybox.methods.common.evaluation import HybridEvaluator, check_positions

__all__ = ["HybridGrid"]

Keys = npt.NDArray[np.uint64]
_SEED: Final = 0x4B1D  # of the numbers of cells; they are part of no result
_FILTER_BITS: Final = 16  # of keys, by which most of those that occur once are told apart from the others
_KEY_BYTES: Final = 2**26  # of the numbers that are summed at a time
_MAX_PADDING: Final = 1.25  # hybrids of whole rows for each that is wanted, at most
_MAX_WASTE: Final = 2  # hybrids mixed for each that is evaluated, at most


@final
class HybridGrid:
    """Evaluates rows, each with all entries of a list of (pattern, donor), and each different hybrid once.

    An entry's hybrid is the row with the columns of the pattern taken from the donor.

    Args:
        evaluator: counts and bounds predictions.
        rows, donors: aligned tables of one kind.
        row_outputs, donor_outputs: the model's outputs, where they are known: a hybrid that is a row or a donor as it is costs nothing.
    """

    def __init__(
        self,
        evaluator: HybridEvaluator,
        rows: Table,
        donors: Table,
        *,
        row_outputs: Floats | None = None,
        donor_outputs: Floats | None = None,
    ) -> None:
        self._evaluator, self._rows, self._donors = evaluator, rows, donors
        self._row_outputs, self._donor_outputs = row_outputs, donor_outputs

    def evaluate(
        self, row: Ints, donor: Ints, pattern: Ints, patterns: Sequence[Sequence[int]], *, what: str = "predictions"
    ) -> Floats:
        """Return the outputs of all entries of some rows, (len(row), entries, outputs).

        Args:
            row: positions of rows. donor, pattern: (entries,), positions in donors and patterns.
            patterns: sets of column positions; the empty one leaves a row as it is.
            what: shown beside the progress bar.

        Raises:
            LimitError: more predictions than allowed, or outputs that do not fit in memory; nothing is evaluated then.
            NonFiniteError: an output is NaN, or infinite where that is refused. InputError: tables of different kinds, positions outside them, or the model
                refuses the rows.
        """
        shape = (len(row), len(donor), len(self._evaluator.output.names))
        if self._rows.is_matrix or not (len(row) and len(donor)):
            return self._of_each(row, donor, pattern, patterns, what).reshape(shape)
        check_positions(self._rows, self._donors, row, donor, pattern, patterns)
        self._evaluator.check_memory(shape[0] * shape[1])
        taken = np.zeros((len(patterns), self._rows.width), dtype=bool)
        for k, columns in enumerate(patterns):
            taken[k, list(columns)] = True
        grid = _Grid(self._rows, self._donors, row, donor, pattern, taken)
        repeats = _Repeats(self._keys_of(grid).reshape(-1), *self._known_keys)
        places = repeats.needed  # None: all
        self._evaluator.check_limit(grid.size if places is None else len(places))
        outputs = np.empty((grid.size, shape[2]))
        if grid.is_array:
            self._evaluate_arrays(grid, places, outputs, what)
        else:
            evaluated = np.arange(grid.size) if places is None else places
            of_row, entry = np.divmod(evaluated, len(donor))
            outputs[evaluated] = self._evaluator.evaluate_each(
                self._rows, self._donors, row[of_row], donor[entry], pattern[entry], patterns, what=what
            )
        repeats.fill(outputs)
        return outputs.reshape(shape)

    def _of_each(self, row: Ints, donor: Ints, pattern: Ints, patterns: Sequence[Sequence[int]], what: str) -> Floats:
        """Outputs of all places of the grid, (places, outputs), where cells have no codes of their own."""
        shape = (len(row), len(donor))
        of_row, of_donor, of_pattern = (np.broadcast_to(a, shape).reshape(-1) for a in (row[:, None], donor, pattern))
        hybrid, outputs = self._evaluator.evaluate_hybrids(
            self._rows,
            self._donors,
            of_row,
            of_donor,
            of_pattern,
            patterns,
            row_outputs=self._row_outputs,
            donor_outputs=self._donor_outputs,
            what=what,
        )
        return np.asarray(outputs[hybrid])

    def _evaluate_arrays(self, grid: _Grid, places: Ints | None, outputs: Floats, what: str) -> None:
        """Write the outputs of places of the grid, in batches; None: all."""
        evaluator = self._evaluator
        first, most = evaluator.batch_sizes(self._rows)
        total = grid.size if places is None else len(places)
        for part in timed_batches(total, description=what, first_size=first, max_size=most, unit="predictions"):
            cells, order = grid.cells(np.arange(part.start, part.stop) if places is None else places[part])
            table = replace(self._rows, native=cells, labels=None, index=None)
            outputs[order] = evaluator.evaluate_table(table, grid.row[order // len(grid.donor)])

    @cached_property
    def _numbers(self) -> tuple[Keys, Keys]:
        """The random numbers of the cells of rows and donors, of their shapes."""
        draw = np.random.default_rng(_SEED)
        rows, donors = (np.empty((len(t), t.width), dtype=np.uint64) for t in (self._rows, self._donors))
        for p in range(self._rows.width):
            of_rows, of_donors = joint_cell_codes(self._rows, self._donors, p)
            least = min(of_rows.min(initial=0), of_donors.min(initial=0))
            count = max(of_rows.max(initial=0), of_donors.max(initial=0)) - least + 1
            numbers = draw.integers(0, 2**64, int(count), dtype=np.uint64)
            rows[:, p], donors[:, p] = numbers[of_rows - least], numbers[of_donors - least]
        return rows, donors

    @cached_property
    def _known_keys(self) -> tuple[Keys, Floats | None]:
        """Keys of the rows and donors whose outputs are known, and these outputs."""
        both = zip(self._numbers, (self._row_outputs, self._donor_outputs), strict=True)
        known = [(numbers.sum(axis=1, dtype=np.uint64), outputs) for numbers, outputs in both if outputs is not None]
        if not known:
            return np.zeros(0, dtype=np.uint64), None
        return np.concatenate([keys for keys, _ in known]), np.concatenate([outputs for _, outputs in known])

    def _keys_of(self, grid: _Grid) -> Keys:
        """Keys of all hybrids, (rows, entries)."""
        of_rows, of_donors = self._numbers
        entries = len(grid.donor)
        from_donor = np.empty(entries, dtype=np.uint64)
        step = max(1, _KEY_BYTES // (8 * max(self._rows.width, 1)))
        for start in range(0, entries, step):
            some = slice(start, start + step)
            cells = np.where(grid.taken[grid.pattern[some]], of_donors[grid.donor[some]], np.uint64(0))
            from_donor[some] = cells.sum(axis=1, dtype=np.uint64)
        from_row = of_rows[grid.row] @ (~grid.taken).T.astype(np.uint64)
        keys = np.take(from_row, grid.pattern, axis=1)
        keys += from_donor
        return keys


@final
class _Grid:
    """Rows and entries; a place of the grid is a hybrid, row after row.

    Attributes:
        row, donor, pattern: as :meth:`HybridGrid.evaluate` has them. taken: (patterns, columns), which columns come from the donor. size: hybrids.
        is_array: whether both tables are NumPy arrays of one dtype.
    """

    def __init__(
        self, rows: Table, donors: Table, row: Ints, donor: Ints, pattern: Ints, taken: npt.NDArray[np.bool_]
    ) -> None:
        self._rows, self._donors = rows.native, donors.native
        self.row, self.donor, self.pattern, self.taken = row, donor, pattern, taken
        self.size = len(row) * len(donor)
        arrays = isinstance(rows.native, np.ndarray) and isinstance(donors.native, np.ndarray)
        self.is_array = arrays and rows.native.dtype == donors.native.dtype

    def cells(self, places: Ints) -> tuple[npt.NDArray[np.generic], Ints]:
        """Return the hybrids at some ascending places, (places, columns), and the places in the order in which they are returned."""
        n, start, stop = len(places), int(places[0]), int(places[-1]) + 1
        if stop - start > _MAX_WASTE * n:
            of_row, entry = np.divmod(places, len(self.donor))
            return self._mixed(self._rows[self.row[of_row]], entry), places
        cells = self._cells_between(start, stop)
        if stop - start == n:
            return cells, places
        # the last ones take the places of those that are not wanted, so that few are moved
        wanted = np.zeros(stop - start, dtype=bool)
        wanted[places - start] = True
        free, last = np.flatnonzero(~wanted[:n]), n + np.flatnonzero(wanted[n:])
        order = np.arange(start, start + n)
        cells[free], order[free] = cells[last], start + last
        return cells[:n], order

    def _cells_between(self, start: int, stop: int) -> npt.NDArray[np.generic]:
        """The hybrids of a range of places, (places, columns)."""
        width = len(self.donor)
        # whole rows are one rectangle: nothing has to be joined
        least, most = start // width * width, -(-stop // width) * width
        if most - least > _MAX_PADDING * (stop - start):
            least, most = start, stop
        parts = [
            self._mixed(self._rows[self.row[rows], None], entries).reshape(-1, self.taken.shape[1])
            for rows, entries in _rectangles(least, most, width)
        ]
        cells = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return cells[start - least : stop - least]

    def _mixed(self, rows: npt.NDArray[np.generic], entries: Ints | slice) -> npt.NDArray[np.generic]:
        """Rows with the cells that entries take from their donors."""
        return np.where(self.taken[self.pattern[entries]], self._donors[self.donor[entries]], rows)


def _rectangles(start: int, stop: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Rows and entries of the rectangles that make up a range of places of a grid with so many entries."""
    while start < stop:
        row, entry = divmod(start, width)
        if entry or stop - start < width:
            end = min(width, entry + stop - start)
            yield slice(row, row + 1), slice(entry, end)
            start += end - entry
        else:
            rows = (stop - start) // width
            yield slice(row, row + rows), slice(0, width)
            start += rows * width


@final
class _Repeats:
    """Hybrids that are equal to others, or to a row or donor whose outputs are known.

    Args:
        keys: of the hybrids. known: keys of the rows and donors. outputs: theirs, (known, outputs).

    Attributes:
        needed: ascending positions of the hybrids to evaluate; None: all.
    """

    def __init__(self, keys: Keys, known: Keys, outputs: Floats | None) -> None:
        self._outputs = outputs
        ordered = np.sort(keys)
        at = np.minimum(np.searchsorted(ordered, known), len(ordered) - 1)
        special = np.concatenate([ordered[1:][ordered[1:] == ordered[:-1]], known[ordered[at] == known]])
        self.needed: Ints | None = None
        self._some = np.zeros(0, dtype=np.int64)
        if not len(special):
            return
        may_be_special = np.zeros(2**_FILTER_BITS, dtype=bool)
        shift = np.uint64(64 - _FILTER_BITS)
        may_be_special[special >> shift] = True
        self._some = np.flatnonzero(may_be_special[keys >> shift])
        values, first, self._which = np.unique(keys[self._some], return_index=True, return_inverse=True)
        self._first = self._some[first]
        order = np.argsort(known, kind="stable")
        at = np.searchsorted(known, values, sorter=order)
        self._equal = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(values), dtype=np.int64)
        self._is_known = known[self._equal] == values if len(order) else np.zeros(len(values), dtype=bool)
        is_needed = np.ones(len(keys), dtype=bool)
        is_needed[self._some] = False
        is_needed[self._first[~self._is_known]] = True
        self.needed = np.flatnonzero(is_needed)

    def fill(self, outputs: Floats) -> None:
        """Write the outputs of the hybrids that were not evaluated, given those of the others."""
        if not len(self._some):
            return
        of_values = outputs[self._first]
        if self._outputs is not None:
            of_values[self._is_known] = self._outputs[self._equal[self._is_known]]
        outputs[self._some] = of_values[self._which]
