"""Is the answer about a row always the same? Some rows are asked about among others, alone, again at the end, and again before a curve is asked for more.

An effect is a mean of answers about single rows. It is defined only where the answer about a row depends on nothing else: not on the rows beside it, not on
chance, not on the calls before. And a curve that is asked at more points later must meet the model that it was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import numpy as np

from whybox.data.cells import Ints, representative_rows
from whybox.data.table import Floats, Table
from whybox.errors import InputError, ModelMismatchError, UnsupportedModelError, WhyboxError

__all__ = ["Repeats"]

SAMPLE: Final = 24  # rows asked about several times
AMONG: Final = 64  # rows that they are asked about among
ALONE: Final = 4  # of them that are asked about alone
ROUNDING: Final = 1e-5  # of the largest answer: what single precision loses when other rows stand in a batch


@final
class Repeats:
    """Rows that a model is asked about several times.

    Args:
        call: aligned table -> answers. table: the rows of the question.
        asked: whether the model is only asked, so that nothing else is known of how it comes to its answers; else only a later change is looked for.
    """

    def __init__(self, call: Callable[[Table], Floats], table: Table, *, asked: bool) -> None:
        self._call, self._asked, self.table = call, asked, table
        self._rows = representative_rows(table, SAMPLE)
        self._answers: Floats | None = None

    @property
    def count(self) -> int:
        """How many predictions of single rows the checks take, before and after the work."""
        if not self._asked:
            return 0
        n = len(self._rows)
        return len(self._company()) + (n > 1) * n + min(n, ALONE) + n

    @property
    def said(self) -> str:
        """What was found, in words."""
        return f"{len(self._rows)} rows asked among others, in halves, alone and again at the end gave the same answers"

    def _company(self) -> Ints:
        """The rows, and others that stand beside them."""
        others = np.setdiff1d(np.linspace(0, len(self.table) - 1, AMONG).astype(np.int64), self._rows)
        return np.concatenate([self._rows, others])

    def begin(self) -> None:
        """Ask about the rows among others, in two halves, and some of them alone; nothing, where that was done.

        Raises:
            UnsupportedModelError: the answers differ.
        """
        if self._answers is not None:
            return
        if not self._asked:
            self._answers = self._call(self.table.rows(self._rows))
            return
        n, company = len(self._rows), self._company()
        said = self._call(self.table.rows(company))
        self._answers = said[:n]
        mixed = np.random.default_rng(0).permutation(n)
        for part in (mixed[: n // 2], mixed[n // 2 :]) if n > 1 else ():
            self._hold(part, self._call(self.table.rows(self._rows[part])), company, f"among {len(part)}")
        for i in range(n - 1, n - 1 - min(n, ALONE), -1):  # from the end on, where rows with missing values are
            self._hold(np.array([i]), self._alone(i), company, "alone")

    def _alone(self, i: int) -> Floats:
        try:
            return self._call(self.table.rows(self._rows[[i]]))
        except WhyboxError as error:
            raise InputError(
                f"the model answers about row {self._rows[i]:,} among others but not about it alone, so its answer depends on the rows beside it: {error}"
            ) from error

    def _hold(self, which: Ints, said: Floats, company: Ints, how: str) -> None:
        """Compare answers about some of the rows with those among others."""
        assert self._answers is not None  # noqa: S101  # begin() sets them first
        off = _differ(self._answers[which], said, self._answers)
        if off is None:
            return
        again = self._call(self.table.rows(company))[: len(self._rows)]
        if _differ(self._answers, again, self._answers) is not None:
            self._refuse_chance(again)
        before, after = self._answers[which[off]], said[off]
        raise UnsupportedModelError(
            f"the model's answer about a row depends on the rows beside it (row {self._rows[which[off]]:,}: {_number(before, after)} among {len(company):,} rows, "
            f"{_number(after, before)} {how}), so the effect of a row's own values is not defined. A step that looks at the whole batch (fills with its median, ranks, scales) "
            "must learn that in fit."
        )

    def _refuse_chance(self, again: Floats) -> None:
        assert self._answers is not None  # noqa: S101
        at = _differ(self._answers, again, self._answers)
        at = 0 if at is None else at
        one, two = self._answers[at], again[at]
        raise UnsupportedModelError(
            f"the model answers the same rows differently when it is asked again (row {self._rows[at]:,}: {_number(one, two)}, then {_number(two, one)}), "
            "so its effects are not defined. It draws at random or keeps something between calls: fix the seed inside predict, or switch that off."
        )

    def compare(self, table: Table, answers: Floats) -> None:
        """Compare with answers about all rows, asked about together.

        Raises:
            UnsupportedModelError: they differ.
        """
        if table is self.table and self._answers is not None and self._asked:
            self._hold(np.arange(len(self._rows)), answers[self._rows], self._company(), f"among {len(answers):,}")

    def end(self) -> None:
        """Ask about the rows again, after the work.

        Raises:
            UnsupportedModelError: the answers differ from the first ones.
        """
        if self._answers is None:
            self.begin()
        elif self._asked:
            again = self._call(self.table.rows(self._rows))
            if _differ(self._answers, again, self._answers) is not None:
                self._refuse_chance(again)

    def later(self) -> None:
        """Ask about the rows again, before a curve is computed at more points.

        Raises:
            ModelMismatchError: the model is not the one that the curve was made of.
        """
        if self._answers is None:
            return
        try:
            again = self._call(self.table.rows(self._rows))
        except Exception as error:
            raise ModelMismatchError(f"{_CHANGED} It now refuses the rows ({error}).") from error
        off = _differ(self._answers, again, self._answers)
        if off is not None:
            one, two = self._answers[off], again[off]
            raise ModelMismatchError(
                f"{_CHANGED} Row {self._rows[off]:,}: {_number(one, two)} then, {_number(two, one)} now."
            )


_CHANGED: Final = (
    "the model answers otherwise than when this curve was computed: it was fitted again, or a name that the function reads stands for something else. "
    "Compute the effects anew."
)


def _differ(before: Floats, after: Floats, every: Floats) -> int | None:
    """Position of the first row whose answers differ by more than rounding; None where none does."""
    if before.shape != after.shape:
        return 0
    size = np.abs(np.where(np.isfinite(every), every, 0.0)).max(axis=0, initial=0.0)
    with np.errstate(invalid="ignore"):
        close = np.abs(before - after) <= ROUNDING * size
    same = close | (before == after) | (np.isnan(before) & np.isnan(after))
    wrong = np.flatnonzero(~same.all(axis=1))
    return int(wrong[0]) if len(wrong) else None


def _number(one: Floats, two: Floats) -> str:
    """The first answer of a row that differs, in words."""
    if one.shape != two.shape:
        return f"{len(one)} outputs"
    return f"{one[int(np.argmax(one != two))]:.6g}"
