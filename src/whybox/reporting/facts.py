"""What the sections of a report draw on, computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Table
from whybox.explanation.explanation import Explanation
from whybox.models.base import Model
from whybox.models.links import CLASS_LINKS
from whybox.reporting.explained_rows import ExplainedRows
from whybox.reporting.performance import Performance

__all__ = ["MAX_CLASS_COLUMNS", "MAX_EVALS", "MAX_FEATURES_DRAWN", "MAX_OUTPUTS_DRAWN", "MAX_TABLE_LINES", "ReportData"]

MAX_FEATURES_DRAWN: Final = 12


MAX_OUTPUTS_DRAWN: Final = 4  # outputs that get pictures of their own


MAX_TABLE_LINES: Final = 40


MAX_CLASS_COLUMNS: Final = 20  # classes that get a column


MAX_EVALS: Final = 100_000  # predictions that a section takes of a model that is evaluated


@final
@dataclass(frozen=True)
class ReportData:
    """Everything the sections draw on, computed once.

    Attributes:
        model: as read, or a black box. explained: all rows of the report, which of them are explained, and how well the model does on all.
        y_name: of the truth. source: of the rows, in words. output, scale, players, background: as asked.
        truth: one value a row, or None. role: what the rows are, ``"held-out"`` or ``"train"``; None: that was not said.
    """

    model: Model
    explained: ExplainedRows
    y_name: str | None
    source: str
    output: Any = None  # as asked, like the scale
    scale: str | None = None
    players: Any = None
    background: Table | None = None
    truth: npt.NDArray[Any] | None = None
    role: str | None = None

    @property
    def rows(self) -> Table:
        """All rows of the report, aligned with the model."""
        return self.explained.rows

    @property
    def explanation(self) -> Explanation:
        """The explanation of the rows that are explained."""
        return self.explained.explanation

    @property
    def performance(self) -> Performance | None:
        """How well the model does on all rows; None where no truth is known, or where it is not defined."""
        return self.explained.performance

    @property
    def is_evaluated(self) -> bool:
        """Whether the model is evaluated for each row that is explained, so that not all are."""
        return self.explained.positions is not None

    @property
    def agreement(self) -> float | None:
        """How far predictions of the rows are from the model's own, where explaining has compared each of them; None where it has not."""
        return None if self.is_evaluated else self.explanation.evidence.agreement

    @property
    def which_rows(self) -> str:
        """The rows that are explained, as the end of a sentence: ``all rows``, or how many of how many."""
        count, of = len(self.explanation), len(self.rows)
        return "all rows" if count == of else f"{count:,} of {of:,} rows"

    @property
    def views(self) -> list[Explanation]:
        """The explanation of each output that gets pictures, largest attributions first."""
        e = self.explanation
        if "output" not in e.dims:
            return [e]
        size = np.abs(e.values).mean(axis=(0, 1))
        keep = sorted(np.argsort(-size, kind="stable")[:MAX_OUTPUTS_DRAWN])
        return [e[..., int(k)] for k in keep]

    def name(self, e: Explanation) -> str:
        """Return the output an explanation is about, for headings; empty where there is only one."""
        if "output" not in self.explanation.dims:
            return ""
        outputs = self.model.outputs
        one_of_several = outputs.has_probability and (outputs.link.name in CLASS_LINKS or outputs.additive_probability)
        return f"{'class' if one_of_several else 'output'} {e.coords['output'][0]}"
