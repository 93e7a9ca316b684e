"""Rows in a sparse matrix of scipy: cut, mixed, changed and read without making all of them dense.

A cell is *stored* (a zero and NaN may be stored, too) or *absent*. What an absent cell means is the model's business: scikit-learn, LightGBM
and CatBoost read zero, XGBoost reads a missing value. So absent cells stay absent here, and whoever reads says what they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.errors import DtypeError, InputError

__all__ = [
    "column",
    "dense",
    "from_dense",
    "is_sparse",
    "is_sparse_column",
    "mixed",
    "moved",
    "row_codes",
    "stacked",
    "weighted_rows",
    "with_column",
]

_Bools = npt.NDArray[np.bool_]


def is_sparse(data: Any) -> bool:
    """Whether it is a sparse matrix or array of scipy; scipy is not imported for that."""
    scipy = sys.modules.get("scipy.sparse")
    return scipy is not None and bool(scipy.issparse(data))


def is_sparse_column(series: Any) -> bool:
    """Whether it is a pandas series of a Sparse dtype."""
    return type(getattr(series, "dtype", None)).__name__ == "SparseDtype"


def weighted_rows(data: Any, what: str) -> Any:
    """Return a sparse matrix as CSR with sorted columns, stored zeros kept.

    Raises:
        InputError: not two axes, or a cell is stored twice: libraries disagree on what that means.
        DtypeError: it holds something else than numbers.
    """
    if data.ndim != 2:
        raise InputError(f"{what} is a sparse array of {data.ndim} axis; pass two (rows, features), also for one row.")
    if data.dtype.kind not in "fiub" or data.dtype.itemsize > 8:
        raise DtypeError(f"{what} is a sparse matrix of dtype {data.dtype}; pass numbers of at most 64 bits.")
    rows = data.tocsr()
    if not rows.has_sorted_indices:
        rows = rows.sorted_indices()
    if not rows.has_canonical_format:
        raise InputError(
            f"{what} stores a cell of the sparse matrix more than once, and libraries disagree on what that means. Call its sum_duplicates() first."
        )
    return rows


def dense(rows: Any, absent: float) -> npt.NDArray[Any]:
    """Return the matrix with `absent` in every cell that is not stored."""
    if absent == 0.0:
        return np.asarray(rows.toarray())
    out = np.full(rows.shape, absent, dtype=np.result_type(rows.dtype, np.float32))
    out[_row_of_each(rows), rows.indices] = rows.data
    return out


def column(rows: Any, position: int, absent: float) -> npt.NDArray[Any]:
    """Return one column, dense."""
    return dense(rows[:, [position]], absent)[:, 0]


def from_dense(matrix: npt.NDArray[Any], columns: npt.NDArray[Any] | None = None, width: int = 0) -> Any:
    """Return a CSR matrix in which every cell of a dense one is stored, zeros too.

    Args:
        matrix: (rows, columns).
        columns: where its columns stand among `width`, in rising order; None: they are all there are.
    """
    from scipy.sparse import csr_matrix  # which every library takes, unlike the arrays of scipy

    n, k = matrix.shape
    places = np.arange(k) if columns is None else columns
    shape = (n, k if columns is None else width)
    return csr_matrix((matrix.reshape(-1), np.tile(places, n).astype(np.int32), k * np.arange(n + 1)), shape=shape)


def mixed(here: Any, there: Any, taken: _Bools) -> Any:
    """Return the cells of `there` where `taken`, else those of `here`; absent and stored cells stay what they are.

    Args:
        here, there: CSR, of one shape.
        taken: (columns,), or (rows, columns).
    """
    kept, came = _cells(here, ~taken), _cells(there, taken)
    rows, columns = (np.concatenate([a, b]) for a, b in zip(kept[:2], came[:2], strict=True))
    values = np.concatenate([kept[2].astype(np.result_type(kept[2], came[2])), came[2]])
    return _assembled(here, rows, columns, values)


def with_column(rows: Any, position: int, values: Sequence[Any]) -> Any:
    """Return the rows with one column replaced, every cell of it stored; None is stored as NaN."""
    new = np.array([np.nan if v is None else v for v in values])
    if new.dtype.kind not in "fiub":
        raise DtypeError(f"a sparse matrix cannot hold {values[0]!r}.")
    if new.dtype.kind != "f" and rows.dtype.kind == "f":
        new = new.astype(rows.dtype)
    others = np.ones(rows.shape[1], dtype=bool)
    others[position] = False
    at, columns, kept = _cells(rows, others)
    n = rows.shape[0]
    return _assembled(
        rows,
        np.concatenate([at, np.arange(n)]),
        np.concatenate([columns, np.full(n, position)]),
        np.concatenate([kept.astype(np.result_type(kept, new)), new]),
    )


def row_codes(*matrices: Any) -> npt.NDArray[np.int64]:
    """Return a number for each row of one or more matrices, one after the other: equal for rows with the same stored cells; a stored zero is no empty cell."""
    codes: dict[tuple[bytes, bytes, str], int] = {}
    out = []
    for rows in matrices:
        indices = rows.indices.astype(np.int64)
        for start, stop in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
            key = indices[start:stop].tobytes(), rows.data[start:stop].tobytes(), rows.dtype.str
            out.append(codes.setdefault(key, len(codes)))
    return np.array(out, dtype=np.int64)


def stacked(above: Any, below: Any) -> Any:
    """Return the rows of one matrix and below them those of another."""
    from scipy.sparse import vstack

    return vstack([above, below], format="csr")


def moved(row: Any) -> Any:
    """Return one row and, below it, the same with every stored number moved by one."""
    from scipy.sparse import vstack

    other = row.copy()
    if other.dtype.kind != "b":
        other.data = other.data + other.dtype.type(1)
    return vstack([row, other], format="csr")


def _row_of_each(rows: Any) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def _cells(rows: Any, kept: _Bools) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Row, column and value of each stored cell that `kept`, (columns,) or (rows, columns), names."""
    at = _row_of_each(rows)
    inside = kept[rows.indices] if kept.ndim == 1 else kept[at, rows.indices]
    return at[inside], rows.indices[inside], rows.data[inside]


def _assembled(like: Any, rows: npt.NDArray[Any], columns: npt.NDArray[Any], values: npt.NDArray[Any]) -> Any:
    order = np.lexsort([columns, rows])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=like.shape[0]))])
    index = np.int32 if max(like.shape[1], len(values)) < 2**31 else np.int64
    return type(like)((values[order], columns[order].astype(index), indptr.astype(index)), shape=like.shape)
