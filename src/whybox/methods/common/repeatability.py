"""Is a model's output for a row always the same? Some rows are evaluated among others, in halves, alone, and again after the work.

Effects, importance and Shapley values of a model are means of its outputs for single rows. They are defined only if the output for a row depends on that row
alone: not on the other rows of a batch, not on chance, not on earlier calls. And a curve that is evaluated at more points later must meet the same model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

import numpy as np

from whybox.data.cells import Ints, representative_rows
from whybox.data.table import Floats, Table
from whybox.errors import InputError, ModelMismatchError, Part, UnsupportedModelError, WhyboxError

__all__ = ["RepeatCheck"]

ROWS_REPEATED: Final = 24  # rows that are evaluated several times
BATCH_ROWS: Final = 64  # rows of the batch that they are evaluated among
ROWS_ALONE: Final = 4  # of them that are evaluated alone
RELATIVE_ROUNDING: Final = 1e-5  # relative to the largest output: what single precision loses in another batch


@final
class RepeatCheck:
    """Rows on which a model is evaluated several times.

    Args:
        predict: aligned table -> outputs, (rows, outputs).
        table: the rows that are explained.
        black_box: whether the model is a black box, of which nothing else is known; of a model that is read, only a later change is looked for.
        compare: for a model that is read: compares our reading of rows with the model's own predict as it is now, and raises ModelMismatchError.

    Attributes:
        advice: for the message about a model that answers at random, what else the caller may do.
    """

    def __init__(
        self,
        predict: Callable[[Table], Floats],
        table: Table,
        *,
        black_box: bool,
        compare: Callable[[Table], object] | None = None,
    ) -> None:
        self._predict, self._black_box, self.table, self._compare = predict, black_box, table, compare
        self._rows = representative_rows(table, ROWS_REPEATED)
        self.advice: tuple[Part, ...] = ()
        self._outputs: Floats | None = None

    @property
    def prediction_count(self) -> int:
        """How many predictions of single rows the checks take, before and after the work."""
        if not self._black_box:
            return 0
        n = len(self._rows)
        return len(self._batch_rows()) + (n > 1) * n + min(n, ROWS_ALONE) + n

    @property
    def summary(self) -> str:
        """The result of the checks, in words."""
        return f"{len(self._rows)} rows evaluated among others, in halves, alone and again at the end gave the same outputs"

    def _batch_rows(self) -> Ints:
        """The rows, and others of their batch."""
        others = np.setdiff1d(np.linspace(0, len(self.table) - 1, BATCH_ROWS).astype(np.int64), self._rows)
        return np.concatenate([self._rows, others])

    def check_before(self) -> None:
        """Evaluate the rows among others, in two halves, and some of them alone; do nothing if that was done.

        Raises:
            UnsupportedModelError: the outputs differ.
        """
        if self._outputs is not None:
            return
        if not self._black_box:
            self._outputs = self._predict(self.table.rows(self._rows))
            return
        n, batch = len(self._rows), self._batch_rows()
        self._outputs = self._predict(self.table.rows(batch))[:n]
        shuffled = np.random.default_rng(0).permutation(n)
        for half in (shuffled[: n // 2], shuffled[n // 2 :]) if n > 1 else ():
            self._check_same(half, self._predict(self.table.rows(self._rows[half])), f"among {len(half)}")
        for i in range(n - 1, n - 1 - min(n, ROWS_ALONE), -1):  # from the end, where rows with missing values are
            self._check_same(np.array([i]), self._predict_alone(i), "alone")

    def _predict_alone(self, i: int) -> Floats:
        try:
            return self._predict(self.table.rows(self._rows[[i]]))
        except WhyboxError as error:
            raise InputError(
                f"the model evaluates row {self._rows[i]:,} among others but not alone, so its output depends on the other rows: {error}"
            ) from error

    def _check_same(self, which: Ints, outputs: Floats, how: str) -> None:
        """Compare outputs for some of the rows with those for the batch."""
        assert self._outputs is not None  # noqa: S101  # check_before sets them first
        position = _first_difference(self._outputs[which], outputs, self._outputs)
        if position is None:
            return
        batch = self._batch_rows()
        again = self._predict(self.table.rows(batch))[: len(self._rows)]
        if _first_difference(self._outputs, again, self._outputs) is not None:
            self._refuse_random(again)
        before, after = self._outputs[which[position]], outputs[position]
        raise UnsupportedModelError(
            f"the model's output for a row depends on the rows beside it (row {self._rows[which[position]]:,}: {_number_text(before, after)} among {len(batch):,} rows, "
            f"{_number_text(after, before)} {how}), so the effect of a row's own values is not defined. A step that looks at the whole batch "
            "(fills with its median, ranks, scales) must learn that in fit."
        )

    def _refuse_random(self, again: Floats) -> None:
        assert self._outputs is not None  # noqa: S101
        position = _first_difference(self._outputs, again, self._outputs) or 0
        one, two = self._outputs[position], again[position]
        raise UnsupportedModelError(
            f"the model's outputs change when the same rows are evaluated again (row {self._rows[position]:,}: {_number_text(one, two)}, then {_number_text(two, one)}), "
            "so what a row's values do to them is not defined. It draws at random or keeps something between calls: fix the seed inside predict, or switch that off.",
            hint=self.advice,
        )

    def check_all(self, table: Table, outputs: Floats) -> None:
        """Compare with the outputs of all rows, evaluated together.

        Raises:
            UnsupportedModelError: they differ.
        """
        if table is self.table and self._outputs is not None and self._black_box:
            self._check_same(np.arange(len(self._rows)), outputs[self._rows], f"among {len(outputs):,}")

    def check_after(self) -> None:
        """Evaluate the rows again, after the work.

        Raises:
            UnsupportedModelError: the outputs differ from the first ones.
        """
        if self._outputs is None:
            self.check_before()
        elif self._black_box:
            again = self._predict(self.table.rows(self._rows))
            if _first_difference(self._outputs, again, self._outputs) is not None:
                self._refuse_random(again)

    def check_unchanged(self) -> None:
        """Evaluate the rows again, before a curve is computed at more points.

        Raises:
            ModelMismatchError: the model is not the one that the curve was computed from.
        """
        if self._outputs is None:
            return
        rows = self.table.rows(self._rows)
        try:
            again = self._predict(rows)
            if self._compare is not None:
                self._compare(rows)
        except ModelMismatchError as error:
            raise ModelMismatchError(f"{_CHANGED_ANSWER} ({error})") from error
        except Exception as error:
            raise ModelMismatchError(f"{_CHANGED_ANSWER} It now refuses the rows ({error}).") from error
        position = _first_difference(self._outputs, again, self._outputs)
        if position is not None:
            one, two = self._outputs[position], again[position]
            raise ModelMismatchError(
                f"{_CHANGED_ANSWER} Row {self._rows[position]:,}: {_number_text(one, two)} then, {_number_text(two, one)} now."
            )


_CHANGED_ANSWER: Final = (
    "the model's outputs have changed since this curve was computed: it was fitted again, or a name that the function reads refers to something else. "
    "Compute the effects again."
)


def _first_difference(before: Floats, after: Floats, all_outputs: Floats) -> int | None:
    """Position of the first row whose outputs differ by more than rounding; None where none does."""
    if before.shape != after.shape:
        return 0
    size = np.abs(np.where(np.isfinite(all_outputs), all_outputs, 0.0)).max(axis=0, initial=0.0)
    with np.errstate(invalid="ignore"):
        close = np.abs(before - after) <= RELATIVE_ROUNDING * size
    same = close | (before == after) | (np.isnan(before) & np.isnan(after))
    different = np.flatnonzero(~same.all(axis=1))
    return int(different[0]) if len(different) else None


def _number_text(outputs: Floats, others: Floats) -> str:
    """The first output of a row that differs, in words."""
    if outputs.shape != others.shape:
        return f"{len(outputs)} outputs"
    return f"{outputs[int(np.argmax(outputs != others))]:.6g}"
