"""XGBoost's category names beyond ASCII, which its releases before 3.4 store cut into wrong pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Column, Floats, Table, is_missing
from whybox.errors import DtypeError, shown
from whybox.models.categories import Vocabulary
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
    def is_elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training where their names are whole; damaged names are refused when codes are looked up."""
        whole = (c for c, known in self.base.categories.items() if known is None or not self._damaged(known))
        every = self.base.learned_categories(table)
        return {c: every[c] for c in whole}

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
        return not all(n.isascii() for n in names) and not (self.fixed and all(map(_whole, names)))

    @staticmethod
    def _codes(column: Column, known: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the names whose codes are certain: the column's own list where it fits, else those before the first damaged one."""
        if column.categories is not None and _cut(column.categories) == known:
            _refuse_twins(column, known)
            return column.categories
        whole = known[: next(i for i, n in enumerate(known) if not str(n).isascii())]
        asked = column.categories if column.categories is not None else tuple(column.objects())
        unknown = sorted({str(v) for v in asked if not is_missing(v) and v not in whole})
        if unknown:
            raise DtypeError(
                f"column {column.name!r} holds {shown(unknown, most=4)}, which cannot be matched with the model's categories: {_reason(known)} "
                "Pass a frame whose column has the very categories of the "
                f"training column in their order (its pandas Categorical dtype), or {_REMEDY}."
            )
        return whole


_REMEDY: Final = "train again with XGBoost 3.4 or newer, or with ASCII names"


def _reason(known: tuple[Any, ...]) -> str:
    pieces = [str(n).encode("utf-8", "surrogateescape").decode("utf-8", "replace") for n in known]
    return (
        f"XGBoost before 3.4 damages category names beyond ASCII when it stores them (here: {shown(pieces, most=4)})."
    )


def _refuse_twins(column: Column, known: tuple[Any, ...]) -> None:
    """Refuse rows with a category whose piece is that of an earlier one: XGBoost itself takes it for that one."""
    assert column.categories is not None  # noqa: S101  # asked by the caller
    first = {piece: code for code, piece in reversed(tuple(enumerate(known)))}
    taken_for = {code: first[piece] for code, piece in enumerate(known) if first[piece] != code}
    held = [code for code in np.unique(column.values).tolist() if code in taken_for]
    if held:
        names = [(column.categories[code], column.categories[taken_for[code]]) for code in held]
        raise DtypeError(
            f"column {column.name!r} holds {', '.join(f'{a!r} (taken for {b!r})' for a, b in names[:4])}{' and more' if len(names) > 4 else ''}: {_reason(known)} "
            f"Here different names leave the same pieces, so XGBoost's own predict takes one category for another. To explain what the trees learned, {_REMEDY}."
        )


def _whole(name: str) -> bool:
    """Whether these are characters, not pieces of some."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no text were read as surrogates
        return False
    return True


def _cut(categories: tuple[Any, ...]) -> tuple[str, ...]:
    names = [str(c) for c in categories]
    text = "".join(names).encode()
    ends = np.cumsum([0, *(len(n) for n in names)]).tolist()
    return tuple(text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(ends))
