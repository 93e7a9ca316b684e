"""The categories that a model learned for a column, and how to interpret cells that come as another type than in training.

A file without types (CSV), or a frame built from one, may hold the number 1234 where training had the text "01234". The text is restored if only one known
category can have been read as that cell and has its usual spelling; otherwise the column is refused. It is never treated as an unseen category.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import Any, Final, final

import numpy as np

__all__ = ["AMBIGUOUS_CELL", "UnseenCategories", "Vocabulary", "category_key", "merge_unseen"]

AMBIGUOUS_CELL: Final = object()  # marks a cell whose category cannot be determined
MAX_UNSEEN_NAMED: Final = 50  # unseen categories of a column that the evidence lists by name
_NUMBER_PATTERN: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME_PATTERN: Final = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?")
_MAX_ZERO_PADDED_WIDTH: Final = 20  # characters of a number padded with zeros


def category_key(value: Any) -> Any:
    """Return a key that is equal for 3, 3.0 and numpy's 3, but not for '3'."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, float, np.number)):
        return float(value)
    return value


@final
@dataclass(frozen=True)
class Vocabulary:
    """The categories that a model learned for one column.

    Attributes:
        categories: in the order of their codes; None: the model does not list them.
        contains_text: for models that store only hashes: whether a text is one of the categories.
        is_complete: whether all categories of training are known; else only those that some split tests.
        cells_are_codes: whether cells are codes, positions in `categories` (plain arrays).
    """

    categories: tuple[Any, ...] | None = None
    contains_text: Callable[[str], bool] | None = None
    is_complete: bool = True
    cells_are_codes: bool = False

    @property
    def is_stored(self) -> bool:
        """Whether the model stores its categories in any form; if not, it reads the codes of the data's own dtype."""
        return self.categories is not None or self.contains_text is not None

    @property
    def is_text(self) -> bool:
        """Whether the categories are text, so that cells of a file must be read as text."""
        if self.categories is None:
            return self.contains_text is not None
        return any(isinstance(w, str) for w in self.categories)

    def intersection(self, other: Vocabulary) -> Vocabulary:
        """Return the categories that both contain."""
        return Vocabulary(
            tuple(category for category in self.categories or () if other.contains(category)),
            cells_are_codes=self.cells_are_codes,
        )

    @cached_property
    def _category_keys(self) -> frozenset[Any]:
        return frozenset(category_key(w) for w in self.categories or ())

    def contains(self, value: Any) -> bool:
        """Whether a cell is one of the categories."""
        if self.cells_are_codes:
            return float(value).is_integer() and value < len(self.categories or ())  # negative codes are missing values
        if self.categories is not None:
            return category_key(value) in self._category_keys
        return self._contains_text(_hashed_text(value))

    @cached_property
    def _by_inferred_value(self) -> Mapping[Any, list[Any]]:
        by_value: dict[Any, list[Any]] = {}
        for word in self.categories or ():
            by_value.setdefault(_inferred_value(word), []).append(word)
        return by_value

    def resolve_cells(self, values: Sequence[Any]) -> list[Any]:
        """Return the category of each distinct cell of a column, where cells are of another type than in training.

        That is the cell itself where it is known, or is no category in any spelling; `UNCERTAIN` where several categories, or one that is not spelled as
        can have been read as this cell.
        """
        if self.cells_are_codes or not self.is_stored:
            return list(values)
        if self.categories is not None:
            return [v if self.contains(v) else self._resolve_by_name(v) for v in values]
        spellings = [_possible_spellings(v) for v in values]
        styles = {
            style
            for spellings_of_cell in spellings
            for style, form in enumerate(spellings_of_cell)
            if form is not None and self._contains_text(form)
        }
        return [
            v if self.contains(v) else self._resolve_by_hash(v, spellings_of_cell, styles)
            for v, spellings_of_cell in zip(values, spellings, strict=True)
        ]

    def _resolve_by_name(self, value: Any) -> Any:
        candidates = [
            w
            for w in self._by_inferred_value.get(_inferred_value(value), ())
            if isinstance(w, str) != isinstance(value, str)
        ]
        if not candidates:
            return value
        return candidates[0] if len(candidates) == 1 and _is_reversible(value, candidates[0]) else AMBIGUOUS_CELL

    def _resolve_by_hash(self, value: Any, spellings_of_cell: Sequence[str | None], styles: set[int]) -> Any:
        """Resolve a cell by the one spelling in which the column has known categories."""
        candidates = {spellings_of_cell[style] for style in styles if style < len(spellings_of_cell)} - {None}
        if not candidates:
            return AMBIGUOUS_CELL if isinstance(value, (datetime, time)) else value
        return (
            candidates.pop()
            if len(candidates) == 1 and _is_reversible(value, next(iter(candidates)))
            else AMBIGUOUS_CELL
        )

    def _contains_text(self, text: str) -> bool:
        return self.contains_text is not None and self.contains_text(text)

    def count_unseen(self, counts: Mapping[Any, int]) -> dict[str, int]:
        """Return the categories among these cells that the model does not know, with the number of rows of each."""
        if not self.is_stored:
            return {}
        return {str(v): n for v, n in counts.items() if not self.contains(v)}


def _hashed_text(value: Any) -> str:
    """The text that CatBoost hashes for a cell (1 for true)."""
    return str(int(value)) if isinstance(value, (bool, np.bool_)) else str(value)


def _inferred_value(value: Any) -> Any:
    """The typed value that a type-inferring reader gets from a cell: equal for texts and values that it cannot distinguish."""
    if isinstance(value, str):
        return _inferred_from_text(value)
    if isinstance(value, (bool, np.bool_)):
        return ("boolean", bool(value))
    if isinstance(value, (int, float, np.number)):
        return ("number", float(value))
    if isinstance(value, datetime):
        return ("date", value.replace(tzinfo=None))
    if isinstance(value, date):
        return ("date", datetime.combine(value, time()))
    return ("time", value) if isinstance(value, time) else ("other", value)


def _inferred_from_text(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return ("boolean", text.lower() == "true")
    if _NUMBER_PATTERN.fullmatch(text):
        return ("number", float(text))
    try:
        if _TIME_PATTERN.fullmatch(text):
            return ("time", time.fromisoformat(text))
        return ("date", datetime.fromisoformat(text).replace(tzinfo=None))
    except ValueError:
        return ("text", text)


def _is_reversible(value: Any, word: Any) -> bool:
    """Whether a cell can only have been read from this category: numbers lose leading zeros and exponents, dates and booleans have one spelling a column."""
    if isinstance(value, (str, bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return True
    return word in (repr(float(value)), *((str(int(value)),) if float(value).is_integer() else ()))


def _possible_spellings(value: Any) -> list[str | None]:
    """Texts that a file reader turns into this cell: one for each spelling style, None where the cell has no such spelling."""
    if isinstance(value, (bool, np.bool_)):
        return [str(bool(value)), str(bool(value)).lower(), str(bool(value)).upper()]
    if isinstance(value, (int, np.integer)):
        return [s if s != str(value) else None for s in (str(value).zfill(w) for w in range(2, _MAX_ZERO_PADDED_WIDTH))]
    if isinstance(value, datetime):
        naive = value.replace(tzinfo=None)
        day = naive.date().isoformat() if naive.time() == time() else None
        return [
            naive.isoformat(),
            naive.isoformat(" "),
            naive.isoformat("T", "minutes"),
            naive.isoformat(" ", "minutes"),
            day,
        ]
    if isinstance(value, time):
        return [value.isoformat(), value.isoformat("minutes")]
    return [value.isoformat()] if isinstance(value, date) else []


@final
@dataclass(frozen=True)
class UnseenCategories:
    """Categories of one column that training did not have: number of rows, number of categories, and names of the most frequent."""

    rows: int
    different: int
    categories: Mapping[str, int]
    complete: bool = True

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], *, complete: bool) -> UnseenCategories:
        """Make it from counts; only the most frequent names are kept."""
        most_frequent = sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:MAX_UNSEEN_NAMED]
        return cls(sum(counts.values()), len(counts), dict(most_frequent), complete)

    def describe(self, column: str, *, where: str = "") -> str:
        """Describe them in one sentence."""
        names_text = ", ".join(f"{c!r} ({n:,})" for c, n in list(self.categories.items())[:8])
        more_text = f" and {self.different - 8:,} more" if self.different > 8 else ""
        reason = (
            "that training did not have"
            if self.complete
            else "that no split of the model asks for (it does not store whether training had them)"
        )
        rows, categories_text = (
            f"{self.rows:,} row{'s' * (self.rows != 1)}{where}",
            "a category" if self.different == 1 else f"{self.different:,} categories",
        )
        return f"{rows} hold{'s' * (self.rows == 1)} {categories_text} of {column!r} {reason}: {names_text}{more_text}."


def merge_unseen(parts: Iterable[UnseenCategories]) -> UnseenCategories:
    """Merge the unseen categories of several batches; if there are more than are kept by name, the number of categories is a lower bound."""
    all_parts = list(parts)
    counts: dict[str, int] = {}
    for part in all_parts:
        for name, n in part.categories.items():
            counts[name] = counts.get(name, 0) + n
    merged = UnseenCategories.from_counts(counts, complete=all(p.complete for p in all_parts))
    different = max(merged.different, *(p.different for p in all_parts))
    return UnseenCategories(sum(p.rows for p in all_parts), different, merged.categories, merged.complete)
