"""What "absent" means: rows to draw absent features from, with weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import InputError, NonFiniteError
from whybox.kernels.predict import agreement, sampled
from whybox.models.base import Model, digest
from whybox.models.mixed_rows import Sample
from whybox.models.receive import Received, receive

__all__ = ["Background", "make_background", "shares"]


@final
@dataclass(frozen=True, eq=False)
class Background:
    """Background rows in the model's matrix, never cut down.

    Attributes:
        matrix: (rows, model columns); rows of weight zero are left out.
        weights: (rows,), positive, summing to one.
        given: how many rows the caller gave.
        fingerprint: SHA-256 of matrix and weights.
        received: what was found out when the rows came in, for comparison with the rows that are explained.
        some: rows of it in the user's own columns, to be mixed with those explained.
    """

    matrix: Floats
    weights: Floats
    given: int
    fingerprint: str
    received: Received
    some: Sample

    def only(self, columns: npt.NDArray[np.int64]) -> Background:
        """Return the same rows with some of the model columns."""
        some = replace(self.some, matrix=np.ascontiguousarray(self.some.matrix[:, columns]))
        return replace(self, matrix=np.ascontiguousarray(self.matrix[:, columns]), some=some)


def make_background(model: Model, rows: Any, weights: Any = None) -> Background:
    """Check and encode background rows.

    Args:
        model: whose inputs they are.
        rows: a table with the model's columns.
        weights: one non-negative number a row; None: all equal.

    Raises:
        InputError: the weights are negative, not finite, all zero, or not one a row.
        ColumnsError, DtypeError, NonFiniteError, EmptyDataError: as for the rows to explain.
        ModelMismatchError: our reading of a background row differs from the model's own predict.
    """
    received = receive(model, rows, what="the background")
    table = received.table
    try:
        model.inputs.confirm(table)
        matrix = model.inputs.matrix(table)
    except NonFiniteError as error:
        raise NonFiniteError(f"the background: {error}") from None
    w = shares(weights, len(matrix), "background_weight", "background row")
    # it decides the numbers as much as the rows explained do
    agreement(model, table, matrix, rows="the background's rows", row="the background's row")
    keep = w > 0
    kept, share = np.ascontiguousarray(matrix[keep]), np.ascontiguousarray(w[keep])
    said = replace(received, table=table.rows(slice(0, 1)))  # what is to be said of the rows is kept, not the rows
    return Background(kept, share, len(matrix), digest(kept, share), said, sampled(model, table, w))


def shares(weights: Any, rows: int, option: str, what: str) -> Floats:
    """Return weights as shares that sum to one; None: all equal.

    Args:
        weights: one non-negative number for each of `rows` rows.
        option: what the caller names the argument, for the message. what: what it names a row.

    Raises:
        InputError: they are negative, not finite, all zero, not numbers, or not one a row.
    """
    if weights is None:
        return np.full(rows, 1.0 / rows)
    try:
        w = np.asarray(weights, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{option} must be numbers, one a {what}.") from None
    if len(w) != rows:
        raise InputError(f"{option} has {len(w)} values for {rows} {what}s.")
    if not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise InputError(f"{option} must be finite, not negative, and not all zero.")
    w = w / w.max()  # so that their sum cannot overflow
    return np.asarray(w / w.sum())
