"""What a function or an estimator returned for some rows, as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from whybox.data.table import Floats, as_table
from whybox.errors import DtypeError, InputError, WhyboxError

__all__ = ["as_outputs"]


def as_outputs(returned: Any, rows: int) -> Floats:
    """Return outputs as (rows, outputs) float64, from an array, a list or a data frame.

    Raises:
        DtypeError: they are not real numbers. InputError: not one or several for each row.
    """
    if np.iscomplexobj(returned):
        raise DtypeError(
            "the model's outputs are complex numbers; return .real or abs() of them in a function of rows."
        )
    try:
        out = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError):
        if not hasattr(returned, "columns") and not hasattr(returned, "to_numpy"):
            raise DtypeError(
                "the model's outputs are not numbers, and only numbers can be explained. "
                "For classes, pass a model that has predict_proba, or a function that returns numbers."
            ) from None
        try:
            out = np.asarray(as_table(returned).matrix(), dtype=np.float64)
        except WhyboxError:
            raise DtypeError("the model returned a table with columns that are not numbers.") from None
    if out.ndim not in (1, 2) or len(out) != rows:
        raise InputError(
            f"the model returned an array of shape {out.shape} for {rows} rows; it must return one number a row, (rows,), or (rows, outputs)."
        )
    return out.reshape(rows, -1)
