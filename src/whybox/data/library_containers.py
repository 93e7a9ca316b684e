"""Rows in the containers of tree libraries: xgboost's DMatrix, CatBoost's Pool, LightGBM's Dataset; taken where they give back the numbers they hold.

What else they hold is never dropped in silence: offsets of rows are part of predictions, and codes of categories mean nothing without their categories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, LimitError, Part

__all__ = ["ContainerRows", "rows_of_container", "without_container"]

MAX_CELLS: Final = 2**28  # of a DMatrix, which are held dense in float32


@final
@dataclass(frozen=True, eq=False)
class ContainerRows:
    """The rows of a container.

    Attributes:
        rows: an array or what else the container was made of, or a dict of columns. kind: the container's name.
        offset: of the rows, (n,) or (n, outputs), which they were given as base margin, baseline or initial score; None: they have none.
        offset_name: the library's word for it. offset_code: how a person gets it.
    """

    rows: Any
    kind: str
    offset: npt.NDArray[Any] | None
    offset_name: str
    offset_code: str


def rows_of_container(data: Any, what: str) -> ContainerRows | None:
    """Return the rows that a container of a tree library holds; None: it is something else.

    Args:
        what: what to call it in messages.

    Raises:
        InputError: it does not give back what it was made of; the message says what to pass. LimitError: its rows are too many to be dense.
    """
    for kind in type(data).__mro__:
        reader = _READERS.get((kind.__module__.partition(".")[0], kind.__name__))
        if reader is not None:
            return reader(data, what)
    return None


def without_container(data: Any, what: str) -> Any:
    """Return the rows that a container of a tree library holds, without offsets; anything else unchanged.

    Raises:
        InputError: it has offsets, which would be left out; others as :func:`rows_of_container`.
    """
    held = rows_of_container(data, what)
    if held is None:
        return data
    if held.offset is not None:
        raise InputError(
            Argument(what),
            f" is a {held.kind} with {held.offset_name}, which are part of its rows' predictions and would be left out here. wb.explain, wb.effects "
            f"and others take them as offsets of X; here pass the table that it was made of ({held.offset_code} gives the offsets).",
        )
    return held.rows


def _of_dmatrix(data: Any, what: str) -> ContainerRows:
    """Rows of an xgboost.DMatrix, dense: an empty cell is missing, a stored zero is zero."""
    name = type(data).__name__
    if name != "DMatrix":
        raise InputError(Argument(what), f" is an xgboost {name}, which holds bins and not the numbers", _INSTEAD)
    types = data.feature_types or ()
    if any(t in ("c", "categorical") for t in types):
        raise InputError(
            Argument(what),
            " is a DMatrix with categorical columns, which gives back their codes, and those mean nothing without the list of categories",
            _INSTEAD,
        )
    n, width = data.num_row(), data.num_col()
    if n * width > MAX_CELLS:
        raise LimitError(
            Argument(what),
            f" is a DMatrix of {n:,} x {width:,} cells, too many to be read back; pass the table or sparse matrix that it was made of.",
        )
    stored = data.get_data().tocsr()
    dense = np.full((n, width), np.nan, dtype=np.float32)
    dense[np.repeat(np.arange(n), np.diff(stored.indptr)), stored.indices] = stored.data
    margin = np.asarray(data.get_base_margin())
    offset = margin if margin.size else None
    return ContainerRows(_named(dense, data.feature_names), name, offset, "base margins", "get_base_margin()")


def _of_pool(data: Any, what: str) -> ContainerRows:
    """Rows of a catboost.Pool of numbers."""
    if data.is_quantized():
        raise InputError(Argument(what), " is a quantized Pool, which holds bins and not the numbers", _INSTEAD)
    try:
        dense = np.asarray(data.get_features())
    except Exception:  # CatBoost's own error: some column holds categories, text or embeddings
        raise InputError(
            Argument(what),
            " is a Pool with columns that are no numbers (categories, text or embeddings), which CatBoost does not give back",
            _INSTEAD,
        ) from None
    baseline = np.asarray(data.get_baseline(), dtype=np.float64)
    offset = baseline if baseline.size else None
    names = list(data.get_feature_names() or ())
    own = all(names) and names != [str(i) for i in range(dense.shape[1])]  # of an array they are empty
    return ContainerRows(_named(dense, names if own else None), "Pool", offset, "baselines", "get_baseline()")


def _of_dataset(data: Any, what: str) -> ContainerRows:
    """Rows of a lightgbm.Dataset: the very table that it was made of, where it is kept."""
    if getattr(data, "used_indices", None) is not None:
        raise InputError(
            Argument(what),
            " is a subset of a Dataset, which does not say what its rows' initial scores are",
            _INSTEAD,
        )
    rows = data.data
    if rows is None:
        raise InputError(
            Argument(what),
            " is a Dataset that has dropped its rows, as it does once it is used in training, but with free_raw_data=False",
            _INSTEAD,
        )
    if isinstance(rows, (str, bytes)) or hasattr(rows, "__fspath__"):
        raise InputError(Argument(what), " is a Dataset of a file", _INSTEAD)
    score = getattr(data, "init_score", None)
    offset = None if score is None else np.asarray(score, dtype=np.float64)
    n = len(rows) if not hasattr(rows, "shape") else rows.shape[0]
    if offset is not None and offset.ndim == 1 and offset.size > n and offset.size % n == 0:
        offset = offset.reshape(n, -1, order="F")  # class after class
    return ContainerRows(rows, "Dataset", offset, "initial scores", "get_init_score()")


def _named(dense: npt.NDArray[Any], names: Sequence[str] | None) -> Any:
    """An array, or a dict of columns where these have names, which are unique."""
    return dense if not names else {str(name): dense[:, i] for i, name in enumerate(names)}


_INSTEAD: Final[Part] = ". Pass the table that it was made of."
_READERS: Final[dict[tuple[str, str], Callable[[Any, str], ContainerRows]]] = {
    ("xgboost", "DMatrix"): _of_dmatrix,
    ("catboost", "Pool"): _of_pool,
    ("lightgbm", "Dataset"): _of_dataset,
}
