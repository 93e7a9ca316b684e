"""Options of a report about a model of tables: what the page says of itself, which rows it shows, and by what it splits them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np

from whybox.errors import Argument, OptionError, Part
from whybox.methods.common.options import NO_OFFSETS, option
from whybox.methods.importance.options import ROLES

__all__ = ["MAX_ROWS_CHOSEN", "ReportOptions"]

MAX_ROWS_CHOSEN: Final = 20  # each has several pictures


@final
@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a report about a model of tables takes, beside the model, its rows and how they are explained.

    Raises:
        OptionError: a value that is not known or out of range.
    """

    INSTEAD: ClassVar[Mapping[str, tuple[Part, ...]]] = NO_OFFSETS

    title: str | None = option(None, "title of the page")
    source: str | None = option(None, "where the rows come from, in words")
    model_name: str | None = option(None, "what the model is called: a file or a version")
    role: str | None = option(None, "what the rows are: held out from training, or trained on", choices=(None, *ROLES))
    rows: Any = option(None, "rows whose decisions are shown: positions counted from 0, or ids where there are ids")
    ids: Any = option(None, "column that names the rows in errors, report and results")
    by: Any = option(None, "column whose groups are compared: scores, error rates, predictions, attributions")
    threshold: float | None = option(None, "probability from which on a row counts as positive, between 0 and 1")
    positive: Any = option(None, "class that the threshold is about; of two classes the second")

    def __post_init__(self) -> None:
        if self.role not in (None, *ROLES):
            raise OptionError(Argument("role", self.role), " is not known.", known=ROLES)
        if self.threshold is not None:
            object.__setattr__(self, "threshold", _checked_threshold(self.threshold))
        if self.rows is not None:
            object.__setattr__(self, "rows", _checked_rows(self.rows))

    def of_tables(self) -> dict[str, Any]:
        """Return the options that are about rows of a table, by name."""
        return {
            name: getattr(self, name) for name in ("model_name", "role", "rows", "ids", "by", "threshold", "positive")
        }

    def check_truth(self, y: Any) -> None:
        """Refuse options that compare predictions with the truth, where there is none.

        Raises:
            OptionError: there is such an option.
        """
        if y is not None:
            return
        for name, what in (
            ("role", "says which rows scores and importance are measured on"),
            ("threshold", "is compared with what is true"),
            ("positive", "is the class that a threshold is about, which is compared with what is true"),
        ):
            if (value := getattr(self, name)) is not None:
                raise OptionError(Argument(name, value), f" {what}; that takes the truth, ", Argument("y", example=""), ".")  # fmt: skip


def _checked_threshold(threshold: Any) -> float:
    number = isinstance(threshold, (int, float, np.number)) and not isinstance(threshold, bool)
    if not number or not 0 < threshold < 1:
        raise OptionError(
            Argument("threshold", threshold), " must be a probability between 0 and 1, neither of them, like 0.3."
        )
    return float(threshold)


def _checked_rows(rows: Any) -> tuple[Any, ...]:
    """The rows that are named, each once."""
    if isinstance(rows, (str, int, np.integer)):
        rows = (rows,)
    if isinstance(rows, np.ndarray):
        rows = rows.tolist()
    if not isinstance(rows, Sequence) or any(isinstance(row, (bool, np.bool_)) or not isinstance(row, Hashable) for row in rows):  # fmt: skip
        raise OptionError(Argument("rows"), " is a list of rows, like [7, 12]; of a mask take its positions.")
    chosen = tuple(dict.fromkeys(rows))
    if not chosen:
        raise OptionError(Argument("rows"), " names no row; leave it out for typical and extreme ones.")
    if len(chosen) > MAX_ROWS_CHOSEN:
        raise OptionError(
            Argument("rows"), f" names {len(chosen):,} rows, and a report shows at most {MAX_ROWS_CHOSEN}; wb.explain takes any number."
        )  # fmt: skip
    return chosen
