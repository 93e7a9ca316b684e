"""A table's cells as numbers, in one coding for the rows and the background."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import NULL_CODE, content_text, joint_cell_codes, object_cells
from whybox.data.table import Floats, Table

__all__ = ["CellNumbers", "cell_numbers"]


@final
@dataclass(frozen=True, eq=False)
class CellNumbers:
    """Cells as numbers; a missing one is NaN.

    Attributes:
        rows: (n, columns). background: (B, columns).
        categorical: (columns,), whether a column's numbers are codes without an order: whole numbers from 0 on.
    """

    rows: Floats
    background: Floats
    categorical: npt.NDArray[np.bool_]

    def hybrids(
        self, row: npt.NDArray[np.int64], donor: npt.NDArray[np.int64], from_donor: npt.NDArray[np.bool_]
    ) -> Floats:
        """Return rows with the cells of donors where `from_donor` (hybrids, columns), (hybrids, columns)."""
        return np.where(from_donor, self.background[donor], self.rows[row])


def cell_numbers(rows: Table, background: Table, categories: Collection[int] = ()) -> CellNumbers:
    """Return the cells of two aligned tables as numbers.

    Numbers stay what they are and dates are counted; of other columns, and of those named, equal codes stand for cells that no model can tell apart.

    Args:
        rows, background: of the same columns.
        categories: positions of columns of numbers that the model reads as categories.
    """
    n = len(rows)
    matrices = [_matrix_of(table) for table in (rows, background)]
    if matrices[0] is not None and matrices[1] is not None:
        both = np.concatenate([matrices[0], matrices[1]])
        categorical = np.isin(np.arange(rows.width), list(categories))
        for column in np.flatnonzero(categorical):
            both[:, column] = _codes(both[:, column], ~np.isnan(both[:, column]))
        return CellNumbers(both[:n], both[n:], categorical)
    out = np.empty((n + len(background), rows.width))
    categorical = np.zeros(rows.width, dtype=bool)
    for p in range(rows.width):
        numbers = None if p in categories else _numbers_of_both(rows, background, p)
        if numbers is None:
            categorical[p] = True
            numbers = _codes_of_cells(rows, background, p)
        out[:, p] = numbers
    return CellNumbers(out[:n], out[n:], categorical)


def _matrix_of(table: Table) -> Floats | None:
    """The cells of a table that is a matrix of numbers, also a sparse one."""
    if table.is_matrix or (isinstance(table.native, np.ndarray) and table.native.dtype.kind in "fiub"):
        return table.matrix().astype(np.float64)
    return None


def _codes(values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> Floats:
    """Whole numbers from 0 on for the different values, NaN where one is missing."""
    out = np.full(len(values), np.nan)
    out[present] = np.unique(values[present], return_inverse=True)[1].reshape(-1)
    return out


def _codes_of_cells(rows: Table, background: Table, position: int) -> Floats:
    """The same of a column of both tables, numbered by what the cells are, so that a fit to them does not depend on the order of the rows.

    Cells that no text tells apart (objects of unknown types) are numbered as they come.
    """
    codes = np.concatenate(joint_cell_codes(rows, background, position))
    present = codes != NULL_CODE
    different, first = np.unique(codes, return_index=True)
    in_rows = first < len(rows)
    cells = np.empty(len(first), dtype=object)
    cells[in_rows] = object_cells(rows.rows(first[in_rows]), position)
    cells[~in_rows] = object_cells(background.rows(first[~in_rows] - len(rows)), position)
    by_content = sorted(range(len(cells)), key=lambda i: content_text(cells[i]))
    return _codes(np.argsort(by_content)[np.searchsorted(different, codes)], present)


def _numbers_of_both(rows: Table, background: Table, position: int) -> Floats | None:
    """The numbers of a column of both tables, or None where one holds something else."""
    parts = []
    for table in (rows, background):
        column = table.column(position)
        values = column.values
        if column.categories is not None or column.originals is not None or values.dtype.kind not in "biufmM":
            return None
        if values.dtype.kind in "mM":
            numbers = values.astype(f"{values.dtype.kind}8[us]").astype(np.int64).astype(np.float64)
            numbers[np.isnat(values)] = np.nan
        else:
            numbers = values.astype(np.float64)
        parts.append(numbers)
    return np.concatenate(parts)
