"""Columns of a table whose numbers are codes of categories, as lime takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from whybox.compat.refused import refuse
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError, OptionError
from whybox.methods.common.bins import EACH_VALUE

__all__ = ["CodedColumns"]


@final
class CodedColumns:
    """Columns of codes: each code is a bin of its own.

    Args:
        table: the training data. positions: of the columns of categories. names: position -> names of the codes 0, 1, 2, ...

    Attributes:
        columns: position -> the codes that the training data have, increasing. Columns of texts and of categories are bins by themselves, and not among them.

    Raises:
        OptionError: there is no such column. InputError: codes are missing.
    """

    def __init__(self, table: Table, positions: Sequence[int], names: Mapping[int, Sequence[Any]]) -> None:
        self.columns: dict[int, Floats] = {}
        self._names, self._table = names, table
        for j in positions:
            if not 0 <= j < table.width:
                raise OptionError(
                    Argument("categorical_features"), f": there is no column {j}; the last is {table.width - 1}."
                )
            codes = _codes(table, j)
            if codes is None:
                continue
            if np.isnan(codes).any():
                raise InputError(f"column {j} of the training data has missing codes; give them a code of their own.")
            self.columns[j] = np.unique(codes)

    def check(self, discretizer: str | None) -> None:
        """Refuse codes beside numbers that are cut otherwise than into quartiles.

        Raises:
            OptionError: there are both.
        """
        others = self._table.width - len(self.columns)
        if self.columns and others and discretizer != "quartile":
            refuse(
                "categorical_features beside numbers that are not cut into quartiles",
                "pass a frame in which categories are texts or of the type of categories.",
            )

    @property
    def edges(self) -> dict[Any, str]:
        """What :func:`whybox.lime` takes for a bin of each code: by name, as the model may have its columns in another order; by position where they have none."""
        names = self._table.names
        return {names[j] if self._table.named else j: EACH_VALUE for j in self.columns}

    def check_row(self, rows: Table) -> None:
        """Check that codes of rows occur in the training data.

        Raises:
            InputError: one does not.
        """
        for j, codes in self.columns.items():
            found = _codes(rows, j)
            unknown = [] if found is None else found[~np.isin(found, codes)].tolist()
            if unknown:
                raise InputError(
                    f"the training data have no code {unknown[0]:g} in column {j}; pass training data that have it."
                )

    def category(self, rows: Table, row: int, position: int) -> str:
        """Return the name of the category of a row."""
        found = _codes(rows, position)
        code = float("nan") if found is None else float(found[row])
        names = self._names.get(position)
        if names is not None and code.is_integer() and 0 <= code < len(names):
            return str(names[int(code)])
        return f"{code:g}"


def _codes(table: Table, position: int) -> Floats | None:
    """The numbers of a column; None of a column of texts or categories."""
    values = table[table.names[position]]
    if values.dtype == object:
        try:
            values = np.array([float(v) for v in values])
        except (TypeError, ValueError):
            return None
    return None if values.dtype.kind not in "fiub" else np.asarray(values, dtype=np.float64)
