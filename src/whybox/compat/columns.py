"""Columns and rows as callers of other packages have them: features in the order of a frame, rows by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whybox.errors import Argument, OptionError
from whybox.explanation.explanation import Explanation

__all__ = ["features_in_order", "in_columns_of", "names_of_columns", "rows_at"]


def features_in_order(e: Explanation, names: Sequence[Any]) -> Explanation:
    """Return the features in the order of the columns of a frame, whose names callers write beside the values; a model has an order of its own.

    Args:
        e: an explanation of features. names: of the columns; where these are others than the features, the explanation is returned as it is.
    """
    wanted = tuple(map(str, names))
    if wanted == e.feature_names or sorted(wanted) != sorted(e.feature_names):
        return e
    at = np.array([e.feature_names.index(name) for name in wanted])
    for axis, dim in enumerate(e.dims):
        if dim.startswith("feature"):
            e = e[(slice(None),) * axis + (at,)]
    if e.data is None or tuple(map(str, e.data.names)) == wanted:
        return e
    places = {str(name): i for i, name in enumerate(e.data.names)}
    return replace(e, data=e.data.select([places[name] for name in wanted]))


def in_columns_of(X: Any, columns: Any) -> tuple[Any, list[int] | None]:
    """Return rows with their columns in another order, and where each column stood there as the rows had them; None: nothing was moved.

    Args:
        X: a frame, or a series that is one row; anything else has no names and is returned as it is. columns: names, in the order that is wanted; None: any.
    """
    own = getattr(X, "columns", getattr(X, "index", None) if hasattr(X, "to_frame") else None)
    if own is None or columns is None:
        return X, None
    wanted, own = list(columns), list(own)
    if own == wanted or len(own) != len(wanted) or set(own) != set(wanted):
        return X, None
    return X[wanted], [wanted.index(name) for name in own]


def names_of_columns(given: Any, own: Sequence[Any]) -> list[Any]:
    """Return the names that the caller gives columns, ``feature_names``, or else their own.

    Raises:
        OptionError: another number of names than columns, or a name twice.
    """
    names = list(own if given is None else given)
    if len(names) != len(own) or len(set(names)) != len(own):
        raise OptionError(
            Argument("feature_names", example=""), f" must have {len(own):,} different names, one for each column."
        )
    return names


def rows_at(X: Any, rows: Any) -> Any:
    """Return the rows at some positions, of a frame, an array, a sparse matrix or a list."""
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows] if hasattr(X, "shape") else [X[i] for i in rows]
