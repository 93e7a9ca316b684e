"""A model that is read, with the offsets of its rows as columns beside its own: for what is averaged over rows, each of which keeps its offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from whybox.data.join_tables import with_new_columns
from whybox.data.table import Floats, Table
from whybox.errors import Argument, OptionError, UnknownFieldError, UnsupportedModelError
from whybox.kernels.predict import compare_with_own_predict, raw_outputs
from whybox.methods.common.options import PredictionOptions
from whybox.methods.common.output import resolve_output
from whybox.methods.common.row_offsets import RowOffsets, check_finite, refuse_offset, resolve_offsets, separate_offset
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox, box_of_call
from whybox.models.links import Outputs
from whybox.models.prepare_rows import prepare_rows
from whybox.models.registry import as_model

__all__ = ["read_for_offsets", "with_offset_columns"]


def with_offset_columns(
    model: Any, rows: Table, offset: Any, options: PredictionOptions
) -> tuple[BlackBox, Table, list[str]]:
    """Return a model of rows whose last columns are their offsets, such rows, and the names of the other columns.

    The model is read; its predictions with offsets are on the scale that the options name, and are compared with its own predict on all rows.

    Args:
        model: as it was given. rows: as a table. offset: of each row, (n,) or (n, outputs), or the column of the rows that holds it.
        options: `output`, `scale` and `response_method` are read.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    read = read_for_offsets(model, options.response_method)
    table, values = separate_offset(rows, offset, read)
    if table.is_sparse:
        raise OptionError(Argument("offset"), " is a column beside others here: pass dense rows (X.toarray()).")
    offsets = resolve_offsets(read, values, len(table))
    prepared = prepare_rows(read, table)
    table = prepared.table
    read.inputs.confirm_structure(table)
    X = read.inputs.matrix(table)
    compare_with_own_predict(read, table, X, rows="these rows", row="row")
    raw = raw_outputs(read, X)
    offsets.compare(table, X, raw)
    is_raw = resolve_output(read.outputs, options.output, options.scale).scale == "raw"
    predict = _PredictWithOffsets(read, offsets.replaced, is_raw)
    check_finite(predict.on_scale(raw + offsets.added), np.arange(len(table)))
    outputs = read.outputs
    units = outputs.raw_units if is_raw else outputs.response_units
    names = _fresh_names(table, offset, offsets.given.shape[1])
    box = box_of_call(
        predict,
        (*table.names, *names),
        Outputs(outputs.names, raw_units=units, response_units=units, negative_class=outputs.negative_class),
        kind=f"{read.kind} with the offset of each row",
        call_name="our reading with the offset of each row",
        categories=read.inputs.encoder.learned_categories(table),
        notes=(*read.notes, *prepared.remarks(), _note(offsets)),
    )
    return box, with_new_columns(table, dict(zip(names, offsets.given.T, strict=True))), list(table.names)


def read_for_offsets(model: Any, response_method: str | None) -> Model:
    """Return the model as it is read.

    Args:
        model: as it was given. response_method: a method of it that is evaluated instead; or None.

    Raises:
        UnsupportedModelError: it is not read, or takes no offsets.
    """
    if response_method is not None:
        refuse_offset(None)
    try:
        read = as_model(model)
    except (UnsupportedModelError, UnknownFieldError):
        refuse_offset(None)
        raise
    refuse_offset(read)
    return read


def _note(offsets: RowOffsets) -> str:
    return f"{offsets.note} Rows keep their offsets while features change, so the model is evaluated."


def _fresh_names(table: Table, offset: Any, count: int) -> list[str]:
    """Names of the columns that hold offsets, which no other column has."""
    stem = offset if isinstance(offset, str) else "offset"
    while any(name.startswith(stem) for name in table.names):
        stem += "_"
    return [stem] if count == 1 else [f"{stem} {k}" for k in range(count)]


@final
@dataclass(frozen=True, eq=False)
class _PredictWithOffsets:
    """Predictions of rows whose last columns are their offsets, (rows, outputs)."""

    model: Model
    replaced: Floats
    is_raw: bool

    def __call__(self, table: Table) -> Floats:
        width = table.width - len(self.replaced)
        given = [np.asarray(table.column(k).values, dtype=np.float64) for k in range(width, table.width)]
        raw = raw_outputs(self.model, self.model.inputs.matrix(table.select(range(width))))
        predictions = self.on_scale(raw + np.column_stack(given) - self.replaced)
        check_finite(predictions)
        return predictions

    def on_scale(self, raw: Floats) -> Floats:
        """Raw outputs, (rows, outputs), on the scale that is explained."""
        with np.errstate(over="ignore"):
            return raw if self.is_raw else self.model.outputs.link(raw)
