"""Encoded rows with what is added to the raw outputs of each, in columns behind the model's own: so it goes wherever the row goes."""

from __future__ import annotations

import numpy as np

from whybox.data.table import Floats

__all__ = ["split_added", "with_added"]


def with_added(X: Floats, added: Floats | None) -> Floats:
    """Return encoded rows (rows, model columns) with what is added to each raw output, (rows, outputs), behind; the rows alone where that is None."""
    return X if added is None else np.column_stack([X, added])


def split_added(X: Floats, width: int) -> tuple[Floats, Floats | None]:
    """Return the rows, (..., width), and what is added to their raw outputs, (..., outputs); None: nothing.

    Args:
        X: rows as :func:`with_added` returns them, (..., columns). width: number of model columns.
    """
    if X.shape[-1] == width:
        return X, None
    return np.ascontiguousarray(X[..., :width]), X[..., width:]
