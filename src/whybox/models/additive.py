"""An additive model: prediction = link(base + a table for each column + a table for each pair of columns that act together)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import ModelFileError
from whybox.models.base import Model, digest
from whybox.models.inputs import Inputs

__all__ = ["Additive", "AdditiveTerm"]


@final
@dataclass(frozen=True, eq=False)
class AdditiveTerm:
    """What one column, or two together, add to the raw outputs.

    Attributes:
        name: of the term, as the model's library shows it.
        columns: one or two model columns, which hold codes: whole numbers from 0.
        table: (codes of the column, outputs), or (codes of the first, codes of the second, outputs).
    """

    name: str
    columns: tuple[int, ...]
    table: Floats

    def values(self, X: Floats) -> Floats:
        """Return what the term adds to encoded rows, (rows, outputs)."""
        return self.values_of_codes({column: X[:, column].astype(np.int64) for column in self.columns})

    def values_of_codes(self, codes: Mapping[int, npt.NDArray[np.int64]] | npt.NDArray[np.int64]) -> Floats:
        """Return what the term adds to rows of codes, by model column; (rows, outputs)."""
        at = codes[self.columns[0]]
        if len(self.columns) == 2:
            at = at * self.table.shape[1] + codes[self.columns[1]]
        if self.table.shape[-1] == 1:
            return np.asarray(self.table.reshape(-1)[at][:, None])
        return np.asarray(self.table.reshape(-1, self.table.shape[-1])[at])

    @property
    def varies(self) -> tuple[bool, ...]:
        """For each of its columns, whether the table depends on it."""
        return tuple(bool((np.ptp(self.table, axis=axis) > 0).any()) for axis in range(len(self.columns)))

    def without_constant_columns(self) -> AdditiveTerm | None:
        """Return the same term of those of its columns on which the table depends; None where there are none."""
        varies = self.varies
        if not any(varies):
            return None
        table = self.table[tuple(slice(None) if v else 0 for v in varies)]
        return replace(self, columns=tuple(c for c, v in zip(self.columns, varies, strict=True) if v), table=table)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Additive(Model):
    """Terms and base values, checked when made.

    Attributes:
        terms: each of one or two columns.
        base_values: (outputs,).
    """

    terms: tuple[AdditiveTerm, ...]
    base_values: Floats

    def __post_init__(self) -> None:
        outputs = len(self.outputs.names)
        for term in self.terms:
            count = len(term.columns)
            if count not in (1, 2) or term.table.ndim != count + 1 or term.table.shape[-1] != outputs:
                raise ModelFileError(
                    f"the term {term.name!r} of {count} columns has a table of shape {term.table.shape}; terms have one column or two."
                )
            if not np.isfinite(term.table).all():
                raise ModelFileError(f"the table of the term {term.name!r} has a value that is not finite.")
            term.table.flags.writeable = False
        if self.base_values.shape != (outputs,) or not np.isfinite(self.base_values).all():
            raise ModelFileError("the base values of the additive model are not finite, or not one for each output.")
        self.base_values.flags.writeable = False

    @property
    def base(self) -> Floats:
        """Constant added to each output, (outputs,)."""
        return self.base_values

    @cached_property
    def columns_read(self) -> npt.NDArray[np.int64]:
        """The model columns on which some table depends, in order; all others have no effect."""
        read = {c for term in self.terms for c, varies in zip(term.columns, term.varies, strict=True) if varies}
        return np.array(sorted(read), dtype=np.int64)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over tables, base, link and class names."""
        tables = [part for term in self.terms for part in (term.columns, term.table)]
        link = self.outputs.link
        return digest(*tables, self.base_values, self.outputs.names, link.name, link.scale)

    def rounding_scale(self, X: Floats) -> Floats:
        """Size of the summands of each row, to which rounding is relative; (rows, outputs)."""
        size, codes = np.tile(np.abs(self.base_values), (len(X), 1)), np.ascontiguousarray(X.T).astype(np.int64)
        for term in self.terms:
            size += np.abs(term.values_of_codes(codes))
        return size

    def raw_outputs(self, X: Floats) -> Floats:
        """Raw outputs (rows, outputs)."""
        raw, codes = np.tile(self.base_values, (len(X), 1)), np.ascontiguousarray(X.T).astype(np.int64)
        for term in self.terms:
            raw += term.values_of_codes(codes)
        return raw

    def select_columns(self, columns: npt.NDArray[np.int64], inputs: Inputs) -> Additive:
        """Return the same model for rows that have only some of its columns, among them all that it reads.

        Args:
            columns: their positions, in increasing order. inputs: of these columns.
        """
        position = {int(column): i for i, column in enumerate(columns)}
        terms, base = [], np.array(self.base_values)
        for term in self.terms:
            kept = tuple(column for column in term.columns if column in position)
            table = term.table[tuple(slice(None) if column in position else 0 for column in term.columns)]
            if kept:
                terms.append(AdditiveTerm(term.name, tuple(position[c] for c in kept), np.array(table)))
            else:
                base += table
        return replace(self, inputs=inputs, terms=tuple(terms), base_values=base)
