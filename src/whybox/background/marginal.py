"""The marginal background: rows with weights, from which absent features take their values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import snapshot_table, table_fingerprint
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError, NonFiniteError
from whybox.kernels.predict import compare_with_own_predict, sample_encoded_rows
from whybox.models.base import Model, digest
from whybox.models.blackbox import BlackBox
from whybox.models.mixed_rows import RowSample
from whybox.models.prepare_rows import PreparedRows, prepare_rows

__all__ = ["Background", "BackgroundTable", "make_background", "make_background_table", "normalized_weights"]

ROWS_VERIFIED: Final = 65536  # rows compared at a time


@final
@dataclass(frozen=True, eq=False)
class Background:
    """Background rows in the model's matrix, never cut down.

    Attributes:
        matrix: (rows, model columns); rows of weight zero are left out.
        weights: (rows,), positive, summing to one.
        fingerprint: SHA-256 of matrix and weights.
        prepared_rows: what is known of the rows as they were received, for comparison with the rows that are explained; without the rows themselves.
        row_sample: rows of it in the user's own columns, to be mixed with those explained.
    """

    matrix: Floats
    weights: Floats
    fingerprint: str
    prepared_rows: PreparedRows
    row_sample: RowSample

    def select_columns(self, columns: npt.NDArray[np.int64]) -> Background:
        """Return the same rows with some of the model columns."""
        row_sample = replace(self.row_sample, matrix=np.ascontiguousarray(self.row_sample.matrix[:, columns]))
        return replace(self, matrix=np.ascontiguousarray(self.matrix[:, columns]), row_sample=row_sample)


@final
@dataclass(frozen=True, eq=False)
class BackgroundTable:
    """Background rows in the user's own columns, for methods that evaluate any model: a black box has no matrix.

    Attributes:
        table: aligned rows, a snapshot; rows of weight zero are left out.
        weights: (rows,), positive, summing to one.
        rows_given: how many rows the caller gave.
        fingerprint: SHA-256 of the cells and weights.
        prepared_rows: what is known of the rows as they were received; without the rows themselves.
    """

    table: Table
    weights: Floats
    rows_given: int
    fingerprint: str
    prepared_rows: PreparedRows


def make_background(model: Model, rows: Any, weights: Any = None) -> Background:
    """Check and encode background rows.

    Args:
        model: whose inputs they are.
        rows: a table with the model's columns.
        weights: one non-negative number a row, the caller's background_weight; None: all equal.

    Raises:
        InputError: the weights are negative, not finite, all zero, or not one a row.
        ColumnsError, DtypeError, NonFiniteError, EmptyDataError: as for the rows to explain.
        ModelMismatchError: our reading of a background row differs from the model's own predict.
    """
    prepared = prepare_rows(model, rows, what="the background")
    table = prepared.table
    try:
        model.inputs.confirm_structure(table)
        matrix = model.inputs.matrix(table)
    except NonFiniteError as error:
        raise NonFiniteError(f"the background: {error}") from None
    w = normalized_weights(weights, len(matrix), "background_weight", "background row")
    # it decides the numbers as much as the rows explained do
    compare_with_own_predict(model, table, matrix, rows="the background's rows", row="the background's row")
    keep = w > 0
    kept, share = np.ascontiguousarray(matrix[keep]), np.ascontiguousarray(w[keep])
    return Background(kept, share, digest(kept, share), _without_rows(prepared), sample_encoded_rows(model, table, w))


def make_background_table(model: Model, rows: Any, weights: Any = None) -> BackgroundTable:
    """Check background rows and keep them as they are, for any model.

    Args:
        model: read or black box, whose inputs they are.
        rows: a table with the model's columns.
        weights: one non-negative number a row, the caller's background_weight; None: all equal.

    Raises:
        InputError: the weights are negative, not finite, all zero, or not one a row.
        ColumnsError, DtypeError, NonFiniteError, EmptyDataError: as for the rows to explain.
        ModelMismatchError: our reading of a background row differs from the model's own predict.
    """
    prepared = prepare_rows(model, rows, what="the background")
    table = snapshot_table(prepared.table)
    w = normalized_weights(weights, len(table), "background_weight", "background row")
    if not isinstance(model, BlackBox):
        try:
            model.inputs.confirm_structure(table)
            for start, block in table.blocks(ROWS_VERIFIED):
                matrix = model.inputs.matrix_of_block(block, start)
                compare_with_own_predict(model, block, matrix, rows="the background's rows", row="the background's row")
        except NonFiniteError as error:
            raise NonFiniteError(f"the background: {error}") from None
    kept, share = table.rows(w > 0), np.ascontiguousarray(w[w > 0])
    return BackgroundTable(kept, share, len(table), digest(table_fingerprint(kept), share), _without_rows(prepared))


def _without_rows(received: PreparedRows) -> PreparedRows:
    """What is known of rows, with the first of them alone."""
    return replace(received, table=received.table.rows(slice(0, 1)))


def normalized_weights(weights: Any, rows: int, argument: str, what: str) -> Floats:
    """Return weights as shares that sum to one; None: all equal.

    Args:
        weights: one non-negative number for each of `rows` rows.
        argument: what the caller names the argument, for the message. what: what it names a row.

    Raises:
        InputError: they are negative, not finite, all zero, not numbers, or not one a row.
    """
    if weights is None:
        return np.full(rows, 1.0 / rows)
    try:
        w = np.asarray(weights, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise InputError(Argument(argument), f" must be numbers, one a {what}.") from None
    if len(w) != rows:
        raise InputError(Argument(argument), f" has {len(w)} values for {rows} {what}s.")
    if not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise InputError(Argument(argument), " must be finite, not negative, and not all zero.")
    w = w / w.max()  # so that their sum cannot overflow
    return np.asarray(w / w.sum())
