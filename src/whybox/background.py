"""What "absent" means: rows to draw absent features from, with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from whybox.errors import InputError, NonFiniteError
from whybox.frames import Floats, Table, as_table
from whybox.models.base import Model, digest

__all__ = ["Background", "make_background"]


@final
@dataclass(frozen=True, eq=False)
class Background:
    """Background rows in the model's matrix, never cut down.

    Attributes:
        matrix: (rows, model columns); rows of weight zero are left out.
        weights: (rows,), positive, summing to one.
        given: how many rows the caller gave.
        fingerprint: SHA-256 of matrix and weights.
    """

    matrix: Floats
    weights: Floats
    given: int
    fingerprint: str


def make_background(model: Model, rows: Any, weights: Any = None) -> Background:
    """Check and encode background rows.

    Args:
        model: whose inputs they are.
        rows: a table with the model's columns.
        weights: one non-negative number a row; None: all equal.

    Raises:
        InputError: the weights are negative, not finite, all zero, or not one a row.
        ColumnsError, DtypeError, NonFiniteError, EmptyDataError: as for the rows to explain.
    """
    table: Table = model.inputs.align(as_table(rows, what="the background"), what="the background")[0]
    try:
        model.inputs.confirm(table)
        matrix = model.inputs.matrix(table)
    except NonFiniteError as error:
        raise NonFiniteError(f"the background: {error}") from None
    if weights is None:
        w = np.full(len(matrix), 1.0 / len(matrix))
    else:
        try:
            w = np.asarray(weights, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            raise InputError("weights must be numbers, one a background row.") from None
        if len(w) != len(matrix):
            raise InputError(f"there are {len(w)} weights for {len(matrix)} background rows.")
        if not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
            raise InputError("weights must be finite, not negative, and not all zero.")
        w = w / w.sum()
    keep = w > 0
    kept, share = np.ascontiguousarray(matrix[keep]), np.ascontiguousarray(w[keep])
    return Background(kept, share, len(matrix), digest(kept, share))
