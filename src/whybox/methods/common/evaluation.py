"""Evaluating a model on hybrid rows: rows that take some of their columns from other rows, the donors.

Effects, permutation importance, LIME and Shapley values of any model are all made of such predictions; what one costs is counted here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.progress import timed_batches
from whybox.core.validation import check_whole_number
from whybox.data.cells import joint_cell_codes
from whybox.data.sparse_rows import row_codes
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError, LimitError, NonFiniteError, Part
from whybox.kernels.predict import raw_outputs
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import OutputSelection
from whybox.models.agreement import call_own_predict
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.mixed_rows import mix_cells

__all__ = ["HybridEvaluator", "check_positions", "prediction_function"]

ColumnPatterns = Sequence[Sequence[int]]
FIRST_BATCH: Final = 4096  # rows of the first batch, before anything is timed
MAX_BATCH: Final = 65536  # rows of a batch
MAX_BATCH_BYTES: Final = 2**29  # of a batch's rows, donors and hybrids
MAX_OUTPUT_BYTES: Final = 2**33  # of all outputs
_HALVED_BATCH: Final = "fewer rows, fewer features, a smaller grid"
_MAX_KEY: Final = 2**62  # keys of hybrids, as numbers


@final
@dataclass(frozen=True, eq=False)
class _DistinctHybrids:
    """Hybrids without repeats.

    ``hybrid_index`` (hybrids,) says which distinct one each is, ``first_hybrid`` (distinct,) a hybrid for each, ``equal_row`` and ``equal_donor`` (distinct,) a row or donor that
    is equal to it as a whole, or -1.
    """

    hybrid_index: Ints
    first_hybrid: Ints
    equal_row: Ints
    equal_donor: Ints

    def needs_evaluation(self, row_outputs: Floats | None, donor_outputs: Floats | None) -> npt.NDArray[np.bool_]:
        """Which distinct hybrids have to be evaluated, given the outputs of rows and donors that are known."""
        unknown = np.ones(len(self.first_hybrid), dtype=bool)
        for outputs, equal in ((row_outputs, self.equal_row), (donor_outputs, self.equal_donor)):
            if outputs is not None:
                unknown &= equal < 0
        return unknown


@final
class HybridEvaluator:
    """Evaluates a model on hybrid rows, each different one once, and counts what that takes.

    Hybrid k is ``rows[row[k]]`` with the columns ``patterns[pattern[k]]`` taken from ``donors[donor[k]]``. Two hybrids are the same if no model can tell
    their cells apart. Work goes in batches that hold a byte budget; Ctrl-C ends it between two of them, or inside the model's own predict.

    Args:
        model: read or black box.
        output: which outputs, on which scale.
        max_evals: most predictions of single rows in total; None: no limit.
        reserved: predictions that the caller makes beside these; they count against `max_evals`.
        batch_size: most rows of one call of the model; None: the model's own, else as many as take about a fifth of a second.
        finite: whether infinite outputs are refused too, where a mean of outputs would be infinite.

    Attributes:
        spent: predictions of single rows made so far.

    Raises:
        OptionError: `max_evals` or `batch_size` is no positive whole number.
    """

    def __init__(
        self,
        model: Model,
        output: OutputSelection,
        max_evals: int | None = None,
        *,
        reserved: int = 0,
        batch_size: int | None = None,
        finite: bool = False,
    ) -> None:
        for name, value in (("max_evals", max_evals), ("batch_size", batch_size)):
            if value is not None:
                check_whole_number(name, value)
        self.model, self.output, self.max_evals, self.reserved = model, output, max_evals, reserved
        own = model.batch_size if isinstance(model, BlackBox) else None
        self.batch_size = own if batch_size is None else batch_size
        self._finite = finite
        self.spent = 0
        self._predict = prediction_function(model, output)
        self._codes: tuple[Table, Table, tuple[tuple[int, ...], ...], tuple[Ints, Ints]] | None = None

    def count_predictions(
        self,
        rows: Table,
        donors: Table,
        row: Ints,
        donor: Ints,
        pattern: Ints,
        patterns: ColumnPatterns,
        *,
        row_outputs: Floats | None = None,
        donor_outputs: Floats | None = None,
    ) -> int:
        """Return how many predictions :meth:`evaluate_hybrids` makes with the same arguments.

        Raises:
            LimitError: more than `max_evals` allows. InputError: as :meth:`evaluate_hybrids`.
        """
        distinct = self._distinct_hybrids(rows, donors, row, donor, pattern, patterns)
        needed = int(distinct.needs_evaluation(row_outputs, donor_outputs).sum())
        self.check_limit(needed)
        return needed

    def evaluate_hybrids(  # noqa: PLR0913  # a hybrid has this many parts
        self,
        rows: Table,
        donors: Table,
        row: Ints,
        donor: Ints,
        pattern: Ints,
        patterns: ColumnPatterns,
        *,
        row_outputs: Floats | None = None,
        donor_outputs: Floats | None = None,
        what: str = "predictions",
    ) -> tuple[Ints, Floats]:
        """Return which distinct hybrid each hybrid is, (hybrids,), and the output of each distinct one, (distinct, outputs).

        ``outputs[hybrids]`` are the outputs of all.

        Args:
            rows, donors: aligned tables of one kind, (n, d) and (m, d).
            row, donor, pattern: (hybrids,), positions in rows, donors and patterns.
            patterns: sets of column positions; the empty one leaves a row as it is.
            row_outputs, donor_outputs: the model's outputs of all rows or donors, where they are known: a hybrid that is one of these as it is costs nothing.
            what: shown beside the progress bar.

        Raises:
            LimitError: more predictions than `max_evals` allows, or outputs that do not fit in memory; nothing is evaluated then.
            NonFiniteError: an output is NaN. InputError: tables of different kinds, positions outside them, or the model refuses the rows.
        """
        distinct = self._distinct_hybrids(rows, donors, row, donor, pattern, patterns)
        unknown = distinct.needs_evaluation(row_outputs, donor_outputs)
        self.check_memory(len(unknown))
        outputs = np.empty((len(unknown), len(self.output.names)))
        for known, equal in ((donor_outputs, distinct.equal_donor), (row_outputs, distinct.equal_row)):
            if known is not None:
                outputs[equal >= 0] = known[equal[equal >= 0]]
        chosen = distinct.first_hybrid[unknown]
        outputs[unknown] = self.evaluate_each(
            rows, donors, row[chosen], donor[chosen], pattern[chosen], patterns, what=what
        )
        return distinct.hybrid_index, outputs

    def evaluate_each(
        self, rows: Table, donors: Table, row: Ints, donor: Ints, pattern: Ints, patterns: ColumnPatterns, *, what: str
    ) -> Floats:
        """Return the output of each hybrid, (hybrids, outputs), without looking for equal ones.

        Raises:
            LimitError, NonFiniteError, InputError: as :meth:`evaluate_hybrids`.
        """
        self.check_limit(len(row))
        self.check_memory(len(row))
        outputs = np.empty((len(row), len(self.output.names)))
        # sorted, so that a batch holds few patterns
        order = None if bool((pattern[1:] >= pattern[:-1]).all()) else np.argsort(pattern, kind="stable")
        first, most = self.batch_sizes(rows)
        for part in timed_batches(len(row), description=what, first_size=first, max_size=most, unit="predictions"):
            chosen = part if order is None else order[part]
            outputs[chosen] = self._evaluate_batch(rows, donors, row[chosen], donor[chosen], pattern[chosen], patterns)
            self.spent += part.stop - part.start
        return outputs

    def evaluate_rows(self, rows: Table, row: Ints, *, what: str = "predictions") -> Floats:
        """Return the output of rows as they are, (len(row), outputs).

        Raises:
            LimitError, NonFiniteError, InputError: as :meth:`evaluate_hybrids`.
        """
        none = np.zeros(len(row), dtype=np.int64)
        return self.evaluate_each(rows, rows, row, none, none, ((),), what=what)

    def evaluate_table(self, table: Table, row: Ints) -> Floats:
        """Return the outputs of one batch of hybrids that are made already, (hybrids, outputs); they are counted.

        Args:
            row: (hybrids,), the row that each was made of, for messages.

        Raises:
            NonFiniteError, InputError: as :meth:`evaluate_hybrids`.
        """
        outputs = self._refuse_nan(self._predict(table), row)
        self.spent += len(table)
        return outputs

    def predict(self, table: Table) -> Floats:
        """Return the outputs of a few rows, (rows, outputs), uncounted: for timing."""
        return self._predict(table)

    def check_limit(self, more: int, *, what: str = "this", smaller: Part = _HALVED_BATCH) -> None:
        """Refuse so many more predictions if they exceed the limit.

        Args:
            more: predictions of single rows.
            what: what takes them, for the message. smaller: what to pass so that it takes fewer, before ", or raise max_evals".

        Raises:
            LimitError: they do.
        """
        total = self.reserved + self.spent + more
        if self.max_evals is not None and total > self.max_evals:
            raise LimitError(
                f"{what} takes {total:,} predictions of single rows, more than ",
                Argument("max_evals", self.max_evals),
                ". Pass ",
                smaller,
                ", or raise ",
                Argument("max_evals"),
                ".",
            )

    def batch_sizes(self, rows: Table) -> tuple[int, int]:
        """Return how many rows the first batch has, and the most that a batch has."""
        width = rows.native.nnz / max(len(rows), 1) + 1 if rows.is_matrix else rows.width
        most = int(min(MAX_BATCH, max(1, MAX_BATCH_BYTES // (24 * max(width, 1)))))
        if self.batch_size is not None:
            return min(self.batch_size, most), min(self.batch_size, most)
        return min(FIRST_BATCH, most), most

    def _evaluate_batch(
        self, rows: Table, donors: Table, row: Ints, donor: Ints, pattern: Ints, patterns: ColumnPatterns
    ) -> Floats:
        """Outputs of one batch, sorted by pattern; mixed pattern by pattern where columns of rows and donors differ in dtype."""
        if pattern[0] == pattern[-1]:
            block = self._mix_block(rows.rows(row), donors, donor, patterns[pattern[0]])
            return self._refuse_nan(self._predict(block), row)
        base = rows.rows(row)
        present = np.unique(pattern)
        taken = np.zeros((len(present), rows.width), dtype=bool)
        for i, p in enumerate(present):
            taken[i, list(patterns[p])] = True
        together = mix_cells(base, donors.rows(donor), taken[np.searchsorted(present, pattern)])
        if together is not None:
            return self._refuse_nan(self._predict(together), row)
        outputs = []
        for p in present:
            here = np.flatnonzero(pattern == p)
            block = self._mix_block(base.rows(here), donors, donor[here], patterns[p])
            outputs.append(self._refuse_nan(self._predict(block), row[here]))
        return np.concatenate(outputs)

    @staticmethod
    def _mix_block(block: Table, donors: Table, donor: Ints, columns: Sequence[int]) -> Table:
        return block.with_columns_from(donors.rows(donor), columns) if columns else block

    def _refuse_nan(self, outputs: Floats, row: Ints) -> Floats:
        nan = np.isnan(outputs).any(axis=1)
        if nan.any():
            raise NonFiniteError(
                "the model's output is NaN for some of these rows ({row}, as it is or with other values), so no mean of outputs is defined.",
                row=int(row[nan.argmax()]),
            )
        infinite = np.isinf(outputs).any(axis=1) if self._finite else nan
        if infinite.any():
            raise NonFiniteError(
                f"on this scale ({self.output.units}) the model's output is infinite for some of these rows ({{row}}, as it is or with other values), so no mean of "
                "outputs is defined. Explain a scale on which outputs are finite: probabilities in place of their log or log-odds, ",
                Argument("scale", "probability"),
                " or a function of rows that returns them.",
                row=int(row[infinite.argmax()]),
            )
        return outputs

    def check_memory(self, distinct: int) -> None:
        """Refuse so many hybrids if their outputs do not fit in memory.

        Raises:
            LimitError: they do not.
        """
        if 8 * distinct * len(self.output.names) > MAX_OUTPUT_BYTES:
            raise LimitError(
                f"the outputs of {distinct:,} different rows do not fit in memory at once; pass fewer rows or features."
            )

    def _distinct_hybrids(
        self, rows: Table, donors: Table, row: Ints, donor: Ints, pattern: Ints, patterns: ColumnPatterns
    ) -> _DistinctHybrids:
        if not len(row) == len(donor) == len(pattern):
            raise InputError("row, donor and pattern must have one number a hybrid.")
        check_positions(rows, donors, row, donor, pattern, patterns)
        taken = np.zeros((len(patterns), rows.width), dtype=bool)
        for i, members in enumerate(patterns):
            taken[i, list(members)] = True
        kinds, block = np.unique(taken, axis=1, return_inverse=True)  # columns that every pattern takes together
        of_rows, of_donors = self._block_codes(rows, donors, block.reshape(-1))
        n, k = len(rows), len(row)
        key = _combined_codes(
            np.concatenate(
                [np.where(kinds[pattern, b], of_donors[donor, b], of_rows[row, b]), of_rows[:, b], of_donors[:, b]]
            )
            for b in range(kinds.shape[1])
        )
        _, first, hybrids = np.unique(key[:k], return_index=True, return_inverse=True)
        values = key[:k][first]
        return _DistinctHybrids(
            hybrids.reshape(-1).astype(np.int64),
            first.astype(np.int64),
            _find_positions(values, key[k : k + n]),
            _find_positions(values, key[k + n :]),
        )

    def _block_codes(self, rows: Table, donors: Table, block: Ints) -> tuple[Ints, Ints]:
        """Codes of the cells of each block of columns, (rows, blocks) and (donors, blocks): equal codes for equal cells of either table."""
        blocks = tuple(tuple(np.flatnonzero(block == b).tolist()) for b in range(int(block.max(initial=-1)) + 1))
        if self._codes is not None:
            known_rows, known_donors, known_blocks, codes = self._codes
            if known_rows is rows and known_donors is donors and known_blocks == blocks:
                return codes
        n = len(rows)
        both = np.column_stack(
            [np.zeros((n + len(donors), 0), dtype=np.int64), *(_codes_of(rows, donors, b) for b in blocks)]
        )
        codes = both[:n], both[n:]
        self._codes = rows, donors, blocks, codes
        return codes


def _codes_of(rows: Table, donors: Table, columns: Sequence[int]) -> Ints:
    """Codes of some columns together, for all rows and then all donors."""
    if rows.is_matrix:
        return row_codes(rows.select(columns).native, donors.select(columns).native)
    # made over both tables together: codes of each table by itself would call different cells equal
    both = (np.concatenate(joint_cell_codes(rows, donors, p)) for p in columns)
    codes = _combined_codes(codes - codes.min(initial=0) for codes in both)
    return np.unique(codes, return_inverse=True)[1].reshape(-1)


def _combined_codes(columns: Iterable[Ints]) -> Ints:
    """One number for each row of several columns of whole numbers from 0 on: equal where all columns are."""
    key, size = np.zeros(1, dtype=np.int64), 1
    for codes in columns:
        width = int(codes.max(initial=0)) + 1
        if size * width >= _MAX_KEY:  # numbered anew, from 0
            key = np.unique(key, return_inverse=True)[1].reshape(-1)
            size = int(key.max(initial=0)) + 1
        key, size = key * width + codes, size * width
    return key


def _find_positions(values: Ints, among: Ints) -> Ints:
    """Position in `among` of each value, -1 where it is not there; values are sorted."""
    found = np.full(len(values), -1, dtype=np.int64)
    if len(values):
        at = np.minimum(np.searchsorted(values, among), len(values) - 1)
        same = np.flatnonzero(values[at] == among)
        found[at[same[::-1]]] = same[::-1]
    return found


def check_positions(
    rows: Table, donors: Table, row: Ints, donor: Ints, pattern: Ints, patterns: ColumnPatterns
) -> None:
    """Refuse tables of different kinds, and positions outside them.

    Raises:
        InputError: there are such.
    """
    if rows.library != donors.library or rows.width != donors.width:
        raise InputError("rows and donors must be tables of the same kind with the same columns.")
    columns = [p for members in patterns for p in members]
    for name, positions, size in (
        ("row", row, len(rows)),
        ("donor", donor, len(donors)),
        ("pattern", pattern, len(patterns)),
        ("patterns", np.array(columns, dtype=np.int64), rows.width),
    ):
        if len(positions) and (positions.min() < 0 or positions.max() >= size):
            raise InputError(f"{name}: positions must be from 0 to {size - 1}.")


def prediction_function(model: Model, output: OutputSelection) -> Callable[[Table], Floats]:
    """Return a function of aligned rows: the outputs chosen, on their scale, (rows, outputs)."""
    return partial(_black_box_outputs if isinstance(model, BlackBox) else _read_outputs, model, output)


def _black_box_outputs(model: Model, output: OutputSelection, table: Table) -> Floats:
    own = model.own_predict
    assert own is not None  # noqa: S101  # a black box is nothing but its own predict
    returned = call_own_predict(own, table, what="rows with some of their values replaced")
    if returned.shape[1] != len(model.outputs.names):
        raise InputError(
            f"{own.call_name} returned {returned.shape[1]} outputs a row for a batch of {len(table):,} rows, and {len(model.outputs.names)} before; it must return "
            "as many for every batch."
        )
    return output.select_predictions(returned)


def _read_outputs(model: Model, output: OutputSelection, table: Table) -> Floats:
    return output.from_raw(raw_outputs(model, model.inputs.matrix(table)), model.outputs.link)
