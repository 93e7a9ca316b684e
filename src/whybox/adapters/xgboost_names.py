"""XGBoost's category names beyond ASCII, which its releases before 3.4 store cut into wrong pieces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, final

import numpy as np

from whybox.errors import DtypeError, shown
from whybox.frames import Column, Floats, Table, is_missing
from whybox.models.inputs import Encoder, NumberEncoder

__all__ = ["Garbled"]


@final
@dataclass(frozen=True)
class Garbled(Encoder):
    """Category names beyond ASCII, which XGBoost before 3.4 cuts by characters where it should cut by bytes.

    A column whose own list of categories is cut to the very same pieces is the training column, and its codes are the model's.
    """

    base: NumberEncoder
    fixed: bool = False  # written by a version that cuts right; the names may still be older than the file

    @property
    def elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    @property
    def absent(self) -> float:
        """What XGBoost reads where a sparse matrix stores nothing."""
        return self.base.absent

    def __call__(self, table: Table) -> Floats:
        """Return the matrix, codes taken from the frame's own where names are damaged."""
        found = dict(self.base.categories)
        for i, known in found.items():
            if known is not None and self._damaged(known):
                found[i] = self._codes(table.column(i), known)
        return replace(self.base, categories=found)(table)

    def _damaged(self, known: tuple[Any, ...]) -> bool:
        names = [str(n) for n in known]
        return not all(n.isascii() for n in names) and (not self.fixed or any("\ufffd" in n for n in names))

    @staticmethod
    def _codes(column: Column, known: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the names whose codes are certain: the column's own list where it fits, else those before the first damaged one."""
        if column.categories is not None and _cut(column.categories) == known:
            return column.categories
        whole = known[: next(i for i, n in enumerate(known) if not str(n).isascii())]
        asked = column.categories if column.categories is not None else tuple(column.objects())
        unknown = sorted({str(v) for v in asked if not is_missing(v) and v not in whole})
        if unknown:
            raise DtypeError(
                f"column {column.name!r} holds {shown(unknown, most=4)}, which cannot be matched with the model's categories: XGBoost before 3.4 damages "
                f"category names beyond ASCII when it stores them (here: {shown(known, most=4)}). Pass a frame whose column has the very categories of the "
                "training column in their order (its pandas Categorical dtype), or train again with XGBoost 3.4 or newer, or with ASCII names."
            )
        return whole


def _cut(categories: tuple[Any, ...]) -> tuple[str, ...]:
    names = [str(c) for c in categories]
    text = "".join(names).encode()
    ends = np.cumsum([0, *(len(n) for n in names)]).tolist()
    return tuple(text[a:b].decode("utf-8", "replace") for a, b in pairwise(ends))
