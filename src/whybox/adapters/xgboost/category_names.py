"""XGBoost's category names beyond ASCII, which releases before 3.4 store damaged, cut at wrong places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Column, Floats, Table, is_missing
from whybox.errors import DtypeError, quoted_list
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder, NumberEncoder

__all__ = ["DamagedNamesEncoder"]


@final
@dataclass(frozen=True)
class DamagedNamesEncoder(Encoder):
    """Encodes columns with category names beyond ASCII, which XGBoost before 3.4 cuts by characters instead of bytes.

    If a column's own list of categories is cut to the same pieces, it is the training column, and its codes are the model's.
    """

    numbers: NumberEncoder
    names_are_cut_right: bool = (
        False  # written by a version that cuts right; the names may still be older than the file
    )

    @property
    def is_elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training where their names are whole; damaged names are refused when codes are looked up."""
        undamaged = (
            column
            for column, categories in self.numbers.categories.items()
            if categories is None or not self._is_damaged(categories)
        )
        vocabularies = self.numbers.learned_categories(table)
        return {column: vocabularies[column] for column in undamaged}

    @property
    def absent(self) -> float:
        """The value that XGBoost reads where a sparse matrix stores nothing."""
        return self.numbers.absent

    def __call__(self, table: Table) -> Floats:
        """Return the matrix, with the frame's own codes where names are damaged."""
        categories = dict(self.numbers.categories)
        for i, names in categories.items():
            if names is not None and self._is_damaged(names):
                categories[i] = self._names_with_certain_codes(table.column(i), names)
        return replace(self.numbers, categories=categories)(table)

    def _is_damaged(self, known: tuple[Any, ...]) -> bool:
        names = [str(n) for n in known]
        return not all(n.isascii() for n in names) and not (
            self.names_are_cut_right and all(map(_is_valid_text, names))
        )

    @staticmethod
    def _names_with_certain_codes(column: Column, stored: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the names with certain codes: the column's own list if it fits, else the names before the first damaged one."""
        if column.categories is not None and _cut_like_xgboost(column.categories) == stored:
            _refuse_ambiguous_names(column, stored)
            return column.categories
        certain = stored[: next(i for i, n in enumerate(stored) if not str(n).isascii())]
        given = column.categories if column.categories is not None else tuple(column.objects())
        uncertain = sorted({str(v) for v in given if not is_missing(v) and v not in certain})
        if uncertain:
            raise DtypeError(
                f"column {column.name!r} holds {quoted_list(uncertain, most=4)}, which cannot be matched with the model's categories: {_damage_message(stored)} "
                "Pass a frame whose column has the very categories of the "
                f"training column in their order (its pandas Categorical dtype), or {_REMEDY_HINT}."
            )
        return certain


_REMEDY_HINT: Final = "train again with XGBoost 3.4 or newer, or with ASCII names"


def _damage_message(stored: tuple[Any, ...]) -> str:
    pieces = [str(n).encode("utf-8", "surrogateescape").decode("utf-8", "replace") for n in stored]
    return f"XGBoost before 3.4 damages category names beyond ASCII when it stores them (here: {quoted_list(pieces, most=4)})."


def _refuse_ambiguous_names(column: Column, stored: tuple[Any, ...]) -> None:
    """Refuse rows with a category cut to the same piece as an earlier one, which XGBoost itself confuses with it."""
    assert column.categories is not None  # noqa: S101  # asked by the caller
    first_code = {piece: code for code, piece in reversed(tuple(enumerate(stored)))}
    taken_for = {code: first_code[piece] for code, piece in enumerate(stored) if first_code[piece] != code}
    ambiguous = [code for code in np.unique(column.values).tolist() if code in taken_for]
    if ambiguous:
        names = [(column.categories[code], column.categories[taken_for[code]]) for code in ambiguous]
        raise DtypeError(
            f"column {column.name!r} holds {', '.join(f'{a!r} (taken for {b!r})' for a, b in names[:4])}{' and more' if len(names) > 4 else ''}: {_damage_message(stored)} "
            f"Here different names leave the same pieces, so XGBoost's own predict takes one category for another. To explain what the trees learned, {_REMEDY_HINT}."
        )


def _is_valid_text(name: str) -> bool:
    """Whether a name is valid text, not a piece of a character."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no text were read as surrogates
        return False
    return True


def _cut_like_xgboost(categories: tuple[Any, ...]) -> tuple[str, ...]:
    names = [str(c) for c in categories]
    text = "".join(names).encode()
    boundaries = np.cumsum([0, *(len(n) for n in names)]).tolist()
    return tuple(text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(boundaries))
