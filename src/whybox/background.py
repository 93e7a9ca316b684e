"""What "absent" means: rows to draw absent features from, with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from whybox.errors import InputError, NonFiniteError
from whybox.frames import Floats, Table, as_table
from whybox.kernels import trees
from whybox.models.base import Model, digest
from whybox.models.compare import ask, compare
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

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
        ModelMismatchError: our reading of a background row differs from the model's own predict.
    """
    table: Table = model.inputs.align(as_table(rows, what="the background"), what="the background")[0]
    try:
        model.inputs.confirm(table)
        matrix = model.inputs.matrix(table)
    except NonFiniteError as error:
        raise NonFiniteError(f"the background: {error}") from None
    w = _shares(weights, len(matrix))
    _agrees(model, table, matrix)
    keep = w > 0
    kept, share = np.ascontiguousarray(matrix[keep]), np.ascontiguousarray(w[keep])
    return Background(kept, share, len(matrix), digest(kept, share))


def _shares(weights: Any, rows: int) -> Floats:
    """Return the weights as shares that sum to one."""
    if weights is None:
        return np.full(rows, 1.0 / rows)
    try:
        w = np.asarray(weights, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        raise InputError("weights must be numbers, one a background row.") from None
    if len(w) != rows:
        raise InputError(f"there are {len(w)} weights for {rows} background rows.")
    if not np.isfinite(w).all() or (w < 0).any() or not w.any():
        raise InputError("weights must be finite, not negative, and not all zero.")
    w = w / w.max()  # so that their sum cannot overflow
    return np.asarray(w / w.sum())


def _agrees(model: Model, table: Table, matrix: Floats) -> None:
    """Hold our reading of the background against the model's own predict: it decides the numbers as much as the rows explained do."""
    if model.own is None:
        return
    if isinstance(model, Linear):
        raw, size = model.raw(matrix), model.size(matrix)
    elif isinstance(model, TreeEnsemble):
        raw, size = trees.predict(model, matrix), model.size
    else:
        return
    theirs = ask(model.own, table, what="the background's rows")
    compare(
        model,
        raw,
        theirs,
        scale=model.own.scale,
        relative=model.own.relative,
        size=size,
        what="the background's row",
    )
