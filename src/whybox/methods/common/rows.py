"""The rows that a quantity is averaged over: a table with a weight a row, its columns coded, and which rows are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, final

import numpy as np

from whybox.background.marginal import normalized_weights
from whybox.data.sparse_rows import row_codes
from whybox.data.table import Floats, Table
from whybox.errors import Argument, InputError
from whybox.methods.common.columns import Feature, Ints, feature_of
from whybox.models.base import digest

__all__ = ["WeightedRows", "rows_of_positive_weight", "weighted_rows"]

MAX_NUMBERS_CACHED: Final = 2**23  # of `Rows.distinct_rows`


@final
@dataclass(frozen=True, eq=False)
class WeightedRows:
    """The rows that a quantity is averaged over: an aligned table, and weights that sum to one.

    ``count`` is the effective number of rows, (sum w)^2 / sum w^2.
    """

    table: Table
    weights: Floats
    _features: dict[int, Feature] = field(default_factory=dict, repr=False)
    _distinct_rows: dict[tuple[int, ...], tuple[Ints, Ints]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    @property
    def effective_count(self) -> float:
        """Effective number of rows."""
        return float(1.0 / (self.weights**2).sum())

    def feature(self, position: int) -> Feature:
        """Return a column, coded once."""
        if position not in self._features:
            self._features[position] = feature_of(self.table, position)
        return self._features[position]

    @cached_property
    def codes(self) -> Ints:
        """All columns coded, (rows, columns): equal codes stand for cells that no model can tell apart."""
        return np.column_stack([self.feature(p).cells for p in range(self.table.width)])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the rows, column by column, and their weights."""
        parts: list[object] = [self.weights]
        if self.table.is_matrix:
            rows = self.table.native
            return digest(self.weights, rows.shape, rows.indptr, rows.indices, rows.data)
        for p in range(self.table.width):
            f = self.feature(p)
            parts += [
                f.name,
                f.codes,
                f.cells,
                list(map(_full_text, f.unique)) if f.unique.dtype.kind in "OmM" else f.unique,
            ]
        return digest(*parts)

    def distinct_rows(self, without: Sequence[int]) -> tuple[Ints, Ints]:
        """Return a row for each different one without some columns, and which of these each row is."""
        key = tuple(without)
        if key not in self._distinct_rows:
            if len(self) * len(self._distinct_rows) > MAX_NUMBERS_CACHED:
                self._distinct_rows.clear()
            self._distinct_rows[key] = self._find_distinct_rows(key)
        return self._distinct_rows[key]

    def _find_distinct_rows(self, without: Sequence[int]) -> tuple[Ints, Ints]:
        others = [p for p in range(self.table.width) if p not in without]
        if not others:
            return np.zeros(1, dtype=np.int64), np.zeros(len(self), dtype=np.int64)
        if self.table.is_matrix:
            codes = row_codes(self.table.select(others).native)
            _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
        else:
            _, first, inverse = np.unique(self.codes[:, others], axis=0, return_index=True, return_inverse=True)
        return first.astype(np.int64), inverse.reshape(-1).astype(np.int64)


def _full_text(value: object) -> str:
    """A value as text that leaves no number out."""
    return repr(value.tolist()) if isinstance(value, np.ndarray) else str(value)


def weighted_rows(table: Table, sample_weight: Any, argument: str = "sample_weight") -> WeightedRows:
    """Return the rows with their weights, as shares of one.

    Args:
        table: the rows. sample_weight: (rows,), or None. argument: the name of the weights in messages.

    Raises:
        InputError: weights that are negative, not finite, all zero, or not one a row.
    """
    if isinstance(sample_weight, str):
        raise InputError(Argument(argument), " must be numbers, one a row; pass the column itself, not its name.")
    return WeightedRows(table, normalized_weights(sample_weight, len(table), argument, "row"))


def rows_of_positive_weight(
    table: Table, sample_weight: Any, argument: str = "sample_weight"
) -> tuple[Table, Any, Ints]:
    """Return the rows that count, their weights, and their positions; as given where all do. Arguments are those of :func:`weighted_rows`.

    Raises:
        InputError: as :func:`weighted_rows`.
    """
    every = np.arange(len(table))
    if sample_weight is None:
        return table, None, every
    weights = weighted_rows(table, sample_weight, argument).weights
    kept = np.flatnonzero(weights)
    return (table, sample_weight, every) if len(kept) == len(table) else (table.rows(kept), weights[kept], kept)
