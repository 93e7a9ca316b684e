"""Select, mix, change and read rows of a scipy sparse matrix without making all of them dense.

A cell is *stored* (a zero and NaN may be stored, too) or *absent*. The meaning of an absent cell depends on the model: scikit-learn, LightGBM
and CatBoost read zero, XGBoost reads a missing value. So absent cells stay absent here, and the caller gives their value when reading.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, DtypeError, InputError

__all__ = [
    "AbsentCell",
    "absent_cells",
    "as_csr",
    "dense_column",
    "from_dense",
    "is_sparse",
    "is_sparse_column",
    "mix_cells",
    "object_column",
    "replace_column",
    "row_codes",
    "stack_rows",
    "to_dense",
    "with_shifted_copy",
]

_BoolArray = npt.NDArray[np.bool_]


class AbsentCell(float):
    """A cell that is not stored, as the number that is read there: where it is written back, nothing is stored."""


def is_sparse(data: Any) -> bool:
    """Whether it is a sparse matrix or array of scipy; scipy is not imported for that."""
    scipy = sys.modules.get("scipy.sparse")
    return scipy is not None and bool(scipy.issparse(data))


def is_sparse_column(series: Any) -> bool:
    """Whether it is a pandas series of a Sparse dtype."""
    return type(getattr(series, "dtype", None)).__name__ == "SparseDtype"


def as_csr(data: Any, what: str) -> Any:
    """Return a sparse matrix as CSR with sorted columns, stored zeros kept.

    Raises:
        InputError: not two axes, or a cell is stored twice: libraries disagree on what that means.
        DtypeError: it holds something else than numbers.
    """
    if data.ndim != 2:
        raise InputError(
            Argument(what), f" is a sparse array of {data.ndim} axis; pass two (rows, features), also for one row."
        )
    if data.dtype.kind not in "fiub" or data.dtype.itemsize > 8:
        raise DtypeError(Argument(what), f" is a sparse matrix of dtype {data.dtype}; pass numbers of at most 64 bits.")
    rows = data.tocsr()
    if not rows.has_sorted_indices:
        rows = rows.sorted_indices()
    if not rows.has_canonical_format:
        raise InputError(
            Argument(what),
            " stores a cell of the sparse matrix more than once, and libraries disagree on what that means. Call its sum_duplicates() "
            "first.",
        )
    return rows


def to_dense(csr: Any, absent: float) -> npt.NDArray[Any]:
    """Return the matrix with `absent` in every cell that is not stored."""
    if absent == 0.0:
        return np.asarray(csr.toarray())
    matrix = np.full(csr.shape, absent, dtype=np.result_type(csr.dtype, np.float32))
    matrix[_row_indices(csr), csr.indices] = csr.data
    return matrix


def dense_column(csr: Any, position: int, absent: float) -> npt.NDArray[Any]:
    """Return one column, dense."""
    return to_dense(csr[:, [position]], absent)[:, 0]


def absent_cells(csr: Any, position: int) -> _BoolArray:
    """Return where one column stores nothing, (rows,)."""
    absent = np.ones(csr.shape[0], dtype=bool)
    absent[_row_indices(csr[:, [position]])] = False
    return absent


def object_column(csr: Any, position: int, absent: float) -> npt.NDArray[np.object_]:
    """Return the cells of one column as Python objects; those that are not stored as :class:`AbsentCell`."""
    column = csr[:, [position]]
    cells = np.empty(csr.shape[0], dtype=object)
    cells[:] = [AbsentCell(absent)] * csr.shape[0]  # of which `np.full` would make plain floats
    cells[_row_indices(column)] = column.data.astype(object)
    return cells


def from_dense(matrix: npt.NDArray[Any], columns: npt.NDArray[Any] | None = None, width: int = 0) -> Any:
    """Return a CSR matrix in which every cell of a dense one is stored, zeros too.

    Args:
        matrix: (rows, columns).
        columns: positions of its columns among `width`, increasing; None: all columns.
    """
    from scipy.sparse import csr_matrix  # which every library takes, unlike the arrays of scipy

    n_rows, n_stored = matrix.shape
    positions = np.arange(n_stored) if columns is None else columns
    shape = (n_rows, n_stored if columns is None else width)
    return csr_matrix(
        (matrix.reshape(-1), np.tile(positions, n_rows).astype(np.int32), n_stored * np.arange(n_rows + 1)), shape=shape
    )


def mix_cells(rows_csr: Any, donor_csr: Any, from_donor: _BoolArray) -> Any:
    """Return the cells of `donor_csr` where `from_donor`, else those of `rows_csr`; absent and stored cells stay so.

    Args:
        rows_csr, donor_csr: CSR matrices of the same shape.
        from_donor: (columns,), or (rows, columns).
    """
    own_cells, donor_cells = _stored_cells(rows_csr, ~from_donor), _stored_cells(donor_csr, from_donor)
    rows, columns = (np.concatenate([own, donor]) for own, donor in zip(own_cells[:2], donor_cells[:2], strict=True))
    values = np.concatenate([own_cells[2].astype(np.result_type(own_cells[2], donor_cells[2])), donor_cells[2]])
    return _build_csr(rows_csr, rows, columns, values)


def replace_column(csr: Any, position: int, values: Sequence[Any]) -> Any:
    """Return the rows with one column replaced, every cell of it stored but for each :class:`AbsentCell`; None is stored as NaN."""
    new_rows = np.array([i for i, v in enumerate(values) if not isinstance(v, AbsentCell)], dtype=np.int64)
    new_values = np.array([np.nan if values[i] is None else values[i] for i in new_rows])
    if not len(new_values):
        new_values = new_values.astype(csr.dtype)
    if new_values.dtype.kind not in "fiub":
        raise DtypeError(f"a sparse matrix cannot hold {values[0]!r}.")
    if new_values.dtype.kind != "f" and csr.dtype.kind == "f":
        new_values = new_values.astype(csr.dtype)
    other_columns = np.ones(csr.shape[1], dtype=bool)
    other_columns[position] = False
    row_indices, column_indices, stored_values = _stored_cells(csr, other_columns)
    return _build_csr(
        csr,
        np.concatenate([row_indices, new_rows]),
        np.concatenate([column_indices, np.full(len(new_rows), position)]),
        np.concatenate([stored_values.astype(np.result_type(stored_values, new_values)), new_values]),
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


def stack_rows(above: Any, below: Any) -> Any:
    """Return the rows of one matrix and below them those of another."""
    from scipy.sparse import vstack

    return vstack([above, below], format="csr")


def with_shifted_copy(row: Any) -> Any:
    """Return one row and, below it, a copy with every stored number increased by one."""
    from scipy.sparse import vstack

    shifted = row.copy()
    if shifted.dtype.kind != "b":
        shifted.data = shifted.data + shifted.dtype.type(1)
    return vstack([row, shifted], format="csr")


def _row_indices(csr: Any) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr))


def _stored_cells(csr: Any, wanted: _BoolArray) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Row, column and value of each stored cell where `wanted`, (columns,) or (rows, columns), is True."""
    row_indices = _row_indices(csr)
    inside = wanted[csr.indices] if wanted.ndim == 1 else wanted[row_indices, csr.indices]
    return row_indices[inside], csr.indices[inside], csr.data[inside]


def _build_csr(
    template: Any, row_indices: npt.NDArray[Any], column_indices: npt.NDArray[Any], values: npt.NDArray[Any]
) -> Any:
    order = np.lexsort([column_indices, row_indices])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(row_indices, minlength=template.shape[0]))])
    index_dtype = np.int32 if max(template.shape[1], len(values)) < 2**31 else np.int64
    return type(template)(
        (values[order], column_indices[order].astype(index_dtype), indptr.astype(index_dtype)), shape=template.shape
    )
