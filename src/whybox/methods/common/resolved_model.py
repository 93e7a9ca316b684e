"""A model and the rows that a quantity is averaged over, read, aligned, weighed, and compared with the model's own predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, final

import numpy as np

from whybox.data.cells import snapshot_table
from whybox.data.table import Floats, Table, as_table
from whybox.errors import UnsupportedModelError
from whybox.kernels.predict import compare_outputs, compare_with_own_predict, raw_outputs
from whybox.methods.common.evaluation import prediction_function
from whybox.methods.common.options import PredictionOptions
from whybox.methods.common.output import OutputSelection, notes_on_scale, resolve_output
from whybox.methods.common.repeatability import RepeatCheck
from whybox.methods.common.rows import WeightedRows, weighted_rows
from whybox.models.agreement import call_own_predict
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.columns_read import narrow_to_columns_read
from whybox.models.prepare_rows import PreparedRows, prepare_rows
from whybox.models.readable import read_or_black_box

__all__ = ["ResolvedModel", "compared_predictions", "refuse_labels", "resolve_model"]

ROWS_COMPARED: Final = 65536  # at a time


@final
@dataclass(frozen=True, eq=False)
class ResolvedModel:
    """A model that is read, or a black box, and the rows to average over.

    Attributes:
        model: of sparse rows, narrowed to the columns that it reads. rows: aligned with it, with weights that sum to one.
        prepared_rows: the rows as they were given, with remarks. selection: which outputs, on which scale.
        repeat_check: rows on which the model is evaluated several times.
        n_rows_probed: rows of a black box that were evaluated to see the shape of its outputs.
    """

    model: Model
    rows: WeightedRows
    prepared_rows: PreparedRows
    selection: OutputSelection
    repeat_check: RepeatCheck
    n_rows_probed: int

    def compare(self, *, check: bool = True, known: float | None = None) -> tuple[float, int]:
        """Compare our reading of the rows with the model's own predict.

        Args:
            check: False where there is only a plan to make, and nothing is compared yet. known: the result, where these rows were compared before.

        Returns:
            The largest difference, NaN where nothing is compared yet; and how many rows the model's own predict is evaluated on beside the work.

        Raises:
            ModelMismatchError: a difference that rounding does not explain.
        """
        model, table = self.model, self.rows.table
        if isinstance(model, BlackBox):
            return 0.0, self.n_rows_probed + self.repeat_check.prediction_count
        if model.own_predict is None:
            return 0.0, 0
        if not check or known is not None:
            return float("nan") if known is None else known, len(table)
        worst = 0.0
        for start, block in table.blocks(ROWS_COMPARED):
            X = model.inputs.matrix_of_block(block, start)
            worst = max(worst, compare_with_own_predict(model, block, X, rows="these rows", row="row"))
        return worst, len(table)

    def own_predictions(self) -> Floats | None:
        """Return the predictions of the rows by the model's own predict, (rows, outputs); None of a black box, or where there is no own predict.

        Raises:
            InputError: the library refuses the rows.
        """
        own = self.model.own_predict
        if own is None or isinstance(self.model, BlackBox):
            return None
        blocks = self.rows.table.blocks(ROWS_COMPARED)
        return np.concatenate([call_own_predict(own, block, what="these rows") for _, block in blocks])

    def compare_known(self, X: Floats, raw: Floats, theirs: Floats) -> float:
        """Compare as :meth:`compare`, where the outputs are known; return the largest difference.

        Args:
            X: the rows, encoded. raw: our raw outputs of them, (rows, outputs). theirs: those of :meth:`own_predictions`.

        Raises:
            ModelMismatchError: a difference that rounding does not explain.
        """
        return compare_outputs(self.model, self.rows.table, X, raw, theirs, row="row")


def compared_predictions(
    model: Model, selection: OutputSelection, rows: Table, encode: Callable[[], Floats]
) -> tuple[Floats, float]:
    """Return predictions on the scale explained, (rows, outputs), and how far our reading is from the model's own predict at most; 0 where nothing is compared.

    Args:
        model: read or a black box. selection: of its outputs. rows: aligned. encode: returns them as a model that is read takes them, (rows, model columns).

    Raises:
        ModelMismatchError: a difference that rounding does not explain. InputError: the library refuses the rows.
    """
    if isinstance(model, BlackBox):
        return prediction_function(model, selection)(rows), 0.0
    model.inputs.confirm_structure(rows)
    X = encode()
    raw, difference = raw_outputs(model, X), 0.0
    if model.own_predict is not None:
        theirs = call_own_predict(model.own_predict, rows)
        difference = compare_outputs(model, rows, X, raw, theirs, row="row")
    return selection.from_raw(raw, model.outputs.link), difference


def refuse_labels(model: Model) -> None:
    """Refuse a black box whose outputs are labels, or more than there are classes.

    Raises:
        UnsupportedModelError: they are.
    """
    if not isinstance(model, BlackBox):
        return
    called = "it" if model.own_predict is None else model.own_predict.call_name
    if model.gives_labels:
        raise UnsupportedModelError(
            f"{called} gives labels of classes, which have no size to explain; pass the method that gives probabilities or scores."
        )
    if model.classes_exceeded:
        raise UnsupportedModelError(
            f"{called} gives {len(model.outputs.names)} probabilities a row, and the model has {model.classes_exceeded} classes (classes_), so it is not known "
            "which class each belongs to. Pass a function of rows that gives the columns to explain."
        )


def resolve_model(model: Any, X: Any, options: PredictionOptions) -> ResolvedModel:
    """Read a model, or take it as a black box, and prepare rows for it.

    Args:
        model: any model. X: rows of the kind that it takes. options: `output`, `scale`, `sample_weight` and `response_method` are read.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    given = as_table(X)
    adapted = read_or_black_box(model, given, options.response_method, options.scale)
    prepared_rows = prepare_rows(adapted, given)
    table = snapshot_table(prepared_rows.table)
    if table.is_sparse:
        adapted = narrow_to_columns_read(adapted)
    black_box = isinstance(adapted, BlackBox)
    if not black_box:
        adapted.inputs.confirm_structure(table)
    rows = weighted_rows(table, options.sample_weight)
    selection = resolve_output(adapted.outputs, options.output, options.scale)
    repeat_check = RepeatCheck(
        prediction_function(adapted, selection),
        table,
        black_box=black_box,
        compare=None if black_box else partial(_compare_again, adapted),
    )
    n_rows_probed = adapted.probe_rows if isinstance(adapted, BlackBox) and adapted is not model else 0
    if black_box:
        notes = (*adapted.notes, *notes_on_scale(selection, options.scale))
        adapted = replace(adapted, notes=tuple(dict.fromkeys(notes)))
    return ResolvedModel(adapted, rows, prepared_rows, selection, repeat_check, n_rows_probed)


def _compare_again(model: Model, rows: Table) -> None:
    """Compare our reading of rows with the model's own predict, as it is now."""
    compare_with_own_predict(model, rows, model.inputs.matrix(rows), rows="the rows of the curve", row="row")
