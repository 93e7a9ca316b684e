"""A number for each row of a table that depends on its cells alone: by which rows are sorted, so that nothing depends on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from whybox.data.cells import object_cells
from whybox.data.table import Floats, Table
from whybox.methods.common.surrogates.store import Keys, mixed, number_words

__all__ = ["row_keys"]


def row_keys(table: Table, columns: Collection[int]) -> Keys:
    """Return a number for each row, (n,), that looks random; a sparse matrix is not made dense.

    Args:
        columns: positions of those that count.
    """
    if table.is_matrix:
        return _sparse_keys(table, columns)
    keys = np.zeros(len(table), dtype=np.uint64)
    nothing = number_words(np.zeros(len(table)))
    for position in range(table.width):
        words = _words_of(table, position) if position in columns else nothing
        keys = mixed(keys ^ mixed(words))
    return keys


def _sparse_keys(table: Table, columns: Collection[int]) -> Keys:
    """Sums over the stored cells of each row."""
    csr = table.native
    row = np.repeat(np.arange(len(table)), np.diff(csr.indptr))
    counts = np.isin(csr.indices, np.fromiter(columns, dtype=np.int64))
    words = mixed(number_words(csr.data.astype(np.float64)) ^ mixed(csr.indices.astype(np.uint64)))
    keys = np.zeros(len(table), dtype=np.uint64)
    np.add.at(keys, row[counts], words[counts])
    return keys


def _words_of(table: Table, position: int) -> Keys:
    """A word for each cell of a column: of numbers and dates the bits, else of the cell's text."""
    numbers = _numbers_of(table, position)
    if numbers is not None:
        return number_words(numbers)
    known: dict[str, int] = {}
    texts = [repr(cell) for cell in object_cells(table, position)]
    for text in texts:
        if text not in known:
            known[text] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    return np.array([known[text] for text in texts], dtype=np.uint64)


def _numbers_of(table: Table, position: int) -> Floats | None:
    """A column as numbers, or None where it holds something else."""
    if isinstance(table.native, np.ndarray) and table.native.dtype.kind in "fiub":
        return np.asarray(table.native[:, position], dtype=np.float64)
    column = table.column(position)
    values: npt.NDArray[np.generic] = column.values
    if column.categories is not None or column.originals is not None or values.dtype.kind not in "biufmM":
        return None
    if values.dtype.kind not in "mM":
        return np.asarray(values, dtype=np.float64)
    numbers = values.astype(f"{values.dtype.kind}8[us]").astype(np.int64).astype(np.float64)
    numbers[np.isnat(values)] = np.nan
    return np.asarray(numbers)
