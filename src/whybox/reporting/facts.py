"""What the sections of a report draw on, computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.label_choice import output_words
from whybox.data.table import Floats, Table
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import capitalized
from whybox.methods.common.output import resolve_output
from whybox.models.base import Model
from whybox.models.links import ELEMENTWISE_LINKS
from whybox.models.losses import MAX_EXCESS, are_of_one_target, class_labels, class_probabilities
from whybox.reporting.asked_rows import AskedRows
from whybox.reporting.explained_rows import ExplainedRows
from whybox.reporting.options import ReportOptions
from whybox.reporting.performance import Performance

__all__ = ["MAX_CLASS_COLUMNS", "MAX_EVALS", "MAX_FEATURES_DRAWN", "MAX_OUTPUTS_DRAWN", "MAX_TABLE_LINES", "ReportData"]

MAX_FEATURES_DRAWN: Final = 12


MAX_OUTPUTS_DRAWN: Final = 4  # outputs that get pictures of their own


MAX_OUTPUTS_NAMED: Final = 6  # in a sentence


MAX_TABLE_LINES: Final = 40


MAX_CLASS_COLUMNS: Final = 20  # classes that get a column


MAX_EVALS: Final = 100_000  # predictions that a section takes of a model that is evaluated


@final
@dataclass(frozen=True)
class ReportData:
    """Everything the sections draw on, computed once.

    Attributes:
        asked: the model, its rows, their truth, ids and groups. options: of the report.
        explained: which rows are explained, and how well the model does on all.
        output, scale, players, background: of the explanation, as asked.
        technical: lines about how numbers were found and checked: (of what, label, text). Sections add to them, and the section on evidence shows them.
    """

    asked: AskedRows
    options: ReportOptions
    explained: ExplainedRows
    output: Any = None
    scale: str | None = None
    players: Any = None
    background: Table | None = None
    technical: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """As read, or a black box."""
        return self.asked.model

    @property
    def truth(self) -> npt.NDArray[Any] | None:
        """One value a row, or None."""
        return self.asked.truth

    @property
    def role(self) -> str | None:
        """What the rows are, ``"held-out"`` or ``"train"``; None: that was not said."""
        return self.options.role

    def add_technical(self, what: str, e: Explanation, *keys: str) -> None:
        """Keep lines of the evidence of some numbers for the section on evidence.

        Args:
            what: the numbers are about. e: the numbers. keys: as for ``Evidence.lines``.
        """
        self.technical.extend((what, label, text) for label, text in e.evidence.lines(*keys))

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

    def heading(self, e: Explanation) -> str:
        """Return the heading above what is about one output: the name of a class as it is written, or ``Class 1``; empty where there is one output."""
        name = self.name(e)
        return name if name in ("", str(e.output_name)) else capitalized(name)

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
        return "" if "output" not in self.explanation.dims else self.output_words(e)

    def output_words(self, e: Explanation) -> str:
        """Return what the one output of an explanation is called: ``malignant``, ``class 1``; empty where it has no name."""
        name = e.output_name
        return "" if name is None else output_words(name, of_class=self.predicts_probability)

    @property
    def kind_of_outputs(self) -> str:
        """What one of several outputs is: ``class`` or ``output``."""
        return "class" if self.predicts_probability else "output"

    @property
    def kinds_of_outputs(self) -> str:
        """What several outputs are."""
        return "classes" if self.predicts_probability else "outputs"

    def names_beyond(self, count: int) -> str:
        """Return which outputs are beyond the first so many that get pictures, in words; empty where there are none."""
        names = self.explanation.output_names
        drawn = {e.output_name for e in self.views[:count]}
        left = [output_words(name, of_class=self.predicts_probability) for name in names if name not in drawn]
        more = len(left) - MAX_OUTPUTS_NAMED
        return ", ".join(left[:MAX_OUTPUTS_NAMED]) + (f" and {more:,} more" if more > 0 else "")

    @cached_property
    def _response(self) -> tuple[Floats, str]:
        """Predictions of all rows (rows, outputs explained), on the scale of the model's own predictions, and their units."""
        outputs = self.model.outputs
        selection = resolve_output(outputs, self.output, outputs.scale or "response")
        values = selection.from_raw(self.explained.raw, outputs.link)
        return _without_excess(values) if selection.units == "probability" else values, selection.units

    @property
    def predicts_probability(self) -> bool:
        """Whether predictions are probabilities."""
        return self._response[1] == "probability"

    def predicted(self, e: Explanation) -> Floats:
        """Return the predictions of all rows, (rows,), for the one output of an explanation: probabilities where the model has them."""
        names = self.explanation.output_names
        return self._response[0][:, names.index(str(e.coords["output"][0])) if names else 0]

    def probability_link(self, e: Explanation) -> Callable[[Floats], Floats] | None:
        """Return the increasing function from the explained scale of one output to its probability; None where that depends on other outputs, or is the scale."""
        outputs = self.model.outputs
        selection = resolve_output(outputs, self.output, self.scale)
        link = outputs.link
        if (
            selection.scale != "raw"
            or link.is_identity
            or link.name not in ELEMENTWISE_LINKS
            or not self.predicts_probability
        ):
            return None
        names = self.explanation.output_names
        sign = selection.signs[names.index(str(e.coords["output"][0])) if names else 0]

        def probability(values: Floats) -> Floats:
            found = link(sign * np.asarray(values)[..., None])[..., 0]
            return found if sign > 0 else 1.0 - found

        return probability

    @cached_property
    def class_probabilities(self) -> Floats | None:
        """Probabilities of all rows, (rows, classes), in the order of ``classes``; None where the model has none."""
        outputs = self.model.outputs
        if self.classes is None:
            return None
        return _without_excess(class_probabilities(outputs, outputs.link(self.explained.raw)))

    @cached_property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the model's classes, as its outputs have them; None where it does not predict probabilities of classes, of which one is true."""
        outputs = self.model.outputs
        names = class_labels(outputs)
        if names is None:
            return None
        return names if are_of_one_target(class_probabilities(outputs, outputs.link(self.explained.raw))) else None

    def class_words(self, position: int) -> str:
        """Return what a class is called in a sentence: its name, or ``class 1``."""
        assert self.classes is not None  # noqa: S101  # the caller asks of a classifier
        return output_words(self.classes[position], of_class=True)


def _without_excess(probabilities: Floats) -> Floats:
    """Probabilities that a sum over trees has rounded beyond 0 or 1, at that end."""
    cut = np.clip(probabilities, 0.0, 1.0)
    return np.where(np.abs(probabilities - cut) <= MAX_EXCESS, cut, probabilities)
