"""Which rows of a report are explained: all where the model is read; where it is evaluated, as many as a report takes predictions for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.api.explain import explainer_of
from whybox.data.cells import snapshot_table
from whybox.data.table import Floats, Table
from whybox.explanation.explanation import Explanation
from whybox.kernels.predict import raw_outputs
from whybox.methods.common.output import resolve_output
from whybox.methods.shap.game_explainer import GameExplainer
from whybox.methods.shap.options import ShapOptions
from whybox.models.agreement import call_own_predict
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.prepare_rows import prepare_rows
from whybox.reporting.performance import Performance, largest_mistakes, measure_performance

__all__ = ["MAX_ROWS_EXPLAINED", "ExplainedRows", "explain_report_rows"]

MAX_ROWS_EXPLAINED: Final = 32  # rows explained of a model that is evaluated, and those with the largest mistakes
UNFINISHED: Final = "UNFINISHED"  # marks what was known when Ctrl-C came
ROWS_AT_ONCE: Final = 65536


@final
@dataclass(frozen=True)
class ExplainedRows:
    """The rows of a report and those of them that are explained.

    Attributes:
        rows: all, aligned with the model. explanation: of those that are explained. positions: of these among all; None: all are explained.
        performance: over all rows; None where no truth is known, or where it is not defined.
        raw: outputs of all rows on the model's additive scale, (rows, outputs).
    """

    rows: Table
    explanation: Explanation
    positions: npt.NDArray[np.int64] | None
    performance: Performance | None
    raw: Floats

    @property
    def which(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that are explained, among all."""
        return np.arange(len(self.rows)) if self.positions is None else self.positions

    @property
    def performance_of_explained(self) -> Performance | None:
        """Truth and predictions of the rows that are explained, with the scores of all; None where no truth is known, or where it is not defined."""
        if self.performance is None or self.positions is None:
            return self.performance
        truth, predicted = self.performance.truth[self.positions], self.performance.predicted[self.positions]
        return replace(self.performance, truth=truth, predicted=predicted)


def explain_report_rows(
    model: Model,
    table: Table,
    background: Table | None,
    options: ShapOptions,
    truth: npt.NDArray[Any] | None,
    chosen: npt.NDArray[np.int64] | None = None,
) -> ExplainedRows:
    """Explain the rows of a report, and measure how well the model does on all of them.

    Args:
        model: read, or a black box. table: the rows. background: as for ``whybox.explain``. options: of the explanation. truth: one value a row, or None.
        chosen: positions of rows that are explained in any case.

    Raises:
        WhyboxError: as ``whybox.explain``. InputError: a truth that does not fit. KeyboardInterrupt: Ctrl-C.
    """
    explainer = explainer_of(model, background, options)
    if not isinstance(explainer, GameExplainer):
        explanation = explainer(table)
        rows = explanation.data
        raw = _raw_predictions(model, rows)
        performance = None if truth is None else measure_performance(model, raw, truth)
        return ExplainedRows(rows, explanation, None, performance, raw)
    rows = snapshot_table(prepare_rows(model, table).table)
    raw = _raw_predictions(model, rows)
    performance = None if truth is None else measure_performance(model, raw, truth)
    selection = resolve_output(model.outputs, options.output, options.scale)
    positions = _positions_to_explain(selection.from_raw(raw, model.outputs.link)[:, 0], performance)
    positions = positions if chosen is None else np.union1d(positions, chosen)
    explanation = explainer(rows.rows(positions))  # with their labels among all rows
    if UNFINISHED in explanation.evidence.warnings:  # Ctrl-C ends the report, and not only its attributions
        raise KeyboardInterrupt
    return ExplainedRows(rows, explanation, positions, performance, raw)


def _raw_predictions(model: Model, rows: Table) -> Floats:
    """Raw outputs of all rows, (rows, outputs)."""
    if isinstance(model, BlackBox):
        own = model.own_predict
        assert own is not None  # noqa: S101  # a black box is nothing but its own predict
        blocks = [call_own_predict(own, block, what="the rows") for _, block in rows.blocks(ROWS_AT_ONCE)]
    else:
        blocks = [
            raw_outputs(model, model.inputs.matrix_of_block(block, start)) for start, block in rows.blocks(ROWS_AT_ONCE)
        ]
    return np.concatenate(blocks)


def _positions_to_explain(predictions: Floats, performance: Performance | None) -> npt.NDArray[np.int64]:
    """Rows spread evenly over the order of their predictions, the lowest and the highest among them; and those with the largest mistakes. In the order of the rows."""
    order, count = np.argsort(predictions, kind="stable"), len(predictions)
    spread = order[np.unique(np.linspace(0, count - 1, min(count, MAX_ROWS_EXPLAINED)).astype(np.int64))]
    mistakes = [] if performance is None else [at for at, _ in largest_mistakes(performance, predictions)]
    return np.unique(np.r_[spread, np.array(mistakes, dtype=np.int64)])
