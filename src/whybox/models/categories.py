"""What a model learnt of a column of categories: which it knows, and what to make of a cell that came as another type than in training.

A file without types (CSV), or a frame built from one, may hold the number 1234 where training had the text "01234". Text is put back where only one known
category can have been read as that cell and is spelled as the cell is normally written; otherwise the column is refused, never taken for an unseen category.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from typing import Any, Final, final

import numpy as np

__all__ = ["UNCERTAIN", "Unseen", "Vocabulary", "category_key", "merged_unseen"]

UNCERTAIN: Final = object()  # stands for "the text cannot be known"
KEPT: Final = 50  # unseen categories of a column that the evidence names
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TIME: Final = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?")
_WIDEST: Final = 20  # characters of a number filled up with zeros


def category_key(value: Any) -> Any:
    """Let 3, 3.0 and numpy's 3 be the same category, but not '3'."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, float, np.number)):
        return float(value)
    return value


@final
@dataclass(frozen=True)
class Vocabulary:
    """The categories that a model learnt of one of its columns.

    Attributes:
        words: in the order of their codes; None: the model does not list them.
        knows_text: for models that keep hashes alone: whether a text is one of its categories.
        complete: whether every category of training is known here; else only those that some split asks for.
        codes: whether cells are codes into `words` themselves (plain arrays).
    """

    words: tuple[Any, ...] | None = None
    knows_text: Callable[[str], bool] | None = None
    complete: bool = True
    codes: bool = False

    @property
    def stored(self) -> bool:
        """Whether the model keeps its categories in any form; if not, it reads the codes of the data's own dtype."""
        return self.words is not None or self.knows_text is not None

    @property
    def text(self) -> bool:
        """Whether its categories are text, so that the cells of a file are to be read as they are spelled."""
        if self.words is None:
            return self.knows_text is not None
        return any(isinstance(w, str) for w in self.words)

    def shared(self, other: Vocabulary) -> Vocabulary:
        """Return the categories that both list."""
        return Vocabulary(tuple(w for w in self.words or () if other.knows(w)), codes=self.codes)

    @cached_property
    def _keys(self) -> frozenset[Any]:
        return frozenset(category_key(w) for w in self.words or ())

    def knows(self, value: Any) -> bool:
        """Whether a cell, as it is, is one of the categories."""
        if self.codes:
            return float(value).is_integer() and value < len(self.words or ())  # negative codes are missing values
        if self.words is not None:
            return category_key(value) in self._keys
        return self._has(_own_text(value))

    @cached_property
    def _by_reading(self) -> Mapping[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        for word in self.words or ():
            found.setdefault(_reading(word), []).append(word)
        return found

    def meant(self, values: Sequence[Any]) -> list[Any]:
        """Return the categories that the different cells of a column stand for, where they are of another type than in training.

        That is the cell itself where it is known, or is no category in any spelling; `UNCERTAIN` where several categories, or one that is not spelled as
        the cell is normally written, can have been read as this cell.
        """
        if self.codes or not self.stored:
            return list(values)
        if self.words is not None:
            return [v if self.knows(v) else self._of_words(v) for v in values]
        spelled = [_spellings(v) for v in values]
        styles = {at for forms in spelled for at, form in enumerate(forms) if form is not None and self._has(form)}
        return [
            v if self.knows(v) else self._of_hashes(v, forms, styles) for v, forms in zip(values, spelled, strict=True)
        ]

    def _of_words(self, value: Any) -> Any:
        found = [w for w in self._by_reading.get(_reading(value), ()) if isinstance(w, str) != isinstance(value, str)]
        if not found:
            return value
        return found[0] if len(found) == 1 and _lossless(value, found[0]) else UNCERTAIN

    def _of_hashes(self, value: Any, forms: Sequence[str | None], styles: set[int]) -> Any:
        """A cell in the one way of writing of which the column has known categories: one that is not known must be written as they are."""
        written = {forms[at] for at in styles if at < len(forms)} - {None}
        if not written:
            return UNCERTAIN if isinstance(value, (datetime, time)) else value
        return written.pop() if len(written) == 1 and _lossless(value, next(iter(written))) else UNCERTAIN

    def _has(self, text: str) -> bool:
        return self.knows_text is not None and self.knows_text(text)

    def unseen(self, counts: Mapping[Any, int]) -> dict[str, int]:
        """Return the categories among these cells (and the number of rows of each) that the model does not know."""
        if not self.stored:
            return {}
        return {str(v): n for v, n in counts.items() if not self.knows(v)}


def _own_text(value: Any) -> str:
    """The text that a library of hashes makes of a cell (CatBoost: 1 for true)."""
    return str(int(value)) if isinstance(value, (bool, np.bool_)) else str(value)


def _reading(value: Any) -> Any:
    """What a reader that guesses types makes of a cell: equal for texts and values that it cannot tell apart."""
    if isinstance(value, str):
        return _read_text(value)
    if isinstance(value, (bool, np.bool_)):
        return ("boolean", bool(value))
    if isinstance(value, (int, float, np.number)):
        return ("number", float(value))
    if isinstance(value, datetime):
        return ("date", value.replace(tzinfo=None))
    if isinstance(value, date):
        return ("date", datetime.combine(value, time()))
    return ("time", value) if isinstance(value, time) else ("other", value)


def _read_text(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return ("boolean", text.lower() == "true")
    if _NUMBER.fullmatch(text):
        return ("number", float(text))
    try:
        if _TIME.fullmatch(text):
            return ("time", time.fromisoformat(text))
        return ("date", datetime.fromisoformat(text).replace(tzinfo=None))
    except ValueError:
        return ("text", text)


def _lossless(value: Any, word: Any) -> bool:
    """Whether a cell can only have been this word: numbers lose leading zeros and exponents, dates and booleans have one spelling in a column."""
    if isinstance(value, (str, bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return True
    return word in (repr(float(value)), *((str(int(value)),) if float(value).is_integer() else ()))


def _spellings(value: Any) -> list[str | None]:
    """Texts that a reader of files turns into this cell: one for each way of writing, None where this cell is not written so."""
    if isinstance(value, (bool, np.bool_)):
        return [str(bool(value)), str(bool(value)).lower(), str(bool(value)).upper()]
    if isinstance(value, (int, np.integer)):
        return [s if s != str(value) else None for s in (str(value).zfill(w) for w in range(2, _WIDEST))]
    if isinstance(value, datetime):
        t = value.replace(tzinfo=None)
        day = t.date().isoformat() if t.time() == time() else None
        return [t.isoformat(), t.isoformat(" "), t.isoformat("T", "minutes"), t.isoformat(" ", "minutes"), day]
    if isinstance(value, time):
        return [value.isoformat(), value.isoformat("minutes")]
    return [value.isoformat()] if isinstance(value, date) else []


@final
@dataclass(frozen=True)
class Unseen:
    """Categories of one column that training did not have: how many rows, how many different ones, and the most frequent by name."""

    rows: int
    different: int
    categories: Mapping[str, int]
    complete: bool = True

    @classmethod
    def of(cls, counts: Mapping[str, int], *, complete: bool) -> Unseen:
        """Count them; names are kept of the most frequent only."""
        top = sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:KEPT]
        return cls(sum(counts.values()), len(counts), dict(top), complete)

    def note(self, column: str, *, where: str = "") -> str:
        """Say it in one sentence."""
        named = ", ".join(f"{c!r} ({n:,})" for c, n in list(self.categories.items())[:8])
        more = f" and {self.different - 8:,} more" if self.different > 8 else ""
        lack = (
            "that training did not have"
            if self.complete
            else "that no split of the model asks for (it does not store whether training had them)"
        )
        rows, kinds = (
            f"{self.rows:,} row{'s' * (self.rows != 1)}{where}",
            "a category" if self.different == 1 else f"{self.different:,} categories",
        )
        return f"{rows} hold{'s' * (self.rows == 1)} {kinds} of {column!r} {lack}: {named}{more}."


def merged_unseen(parts: Iterable[Unseen]) -> Unseen:
    """Return what is unseen in several batches together; the number of different ones is at least so many where there are more than are kept."""
    several = list(parts)
    counts: dict[str, int] = {}
    for part in several:
        for name, n in part.categories.items():
            counts[name] = counts.get(name, 0) + n
    found = Unseen.of(counts, complete=all(p.complete for p in several))
    different = max(found.different, *(p.different for p in several))
    return Unseen(sum(p.rows for p in several), different, found.categories, found.complete)
