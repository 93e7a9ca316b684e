"""The problem of importance by a loss: a model, rows with their truth and weights, players, and the loss of each row; all checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, InputError, OptionError, UnsupportedModelError, did_you_mean
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import EVERY_OUTPUT, OutputSelection, resolve_output
from whybox.methods.common.resolved_model import ResolvedModel, resolve_model
from whybox.methods.common.rows import rows_of_positive_weight
from whybox.methods.importance.options import AUTO, ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem
from whybox.methods.importance.rows_problem import RowsProblem, check_several_rows, compared_rows
from whybox.models.links import PREDICTION_UNITS, Outputs
from whybox.models.losses import (
    CLASS_LOSSES,
    Loss,
    as_loss,
    class_labels,
    class_probabilities,
    one_value_a_row,
    true_classes,
    true_numbers,
)
from whybox.models.trees import TreeEnsemble

__all__ = [
    "LossProblem",
    "drop_weightless",
    "read_train",
    "resolve_for_loss",
    "resolve_loss_problem",
    "separate_truth",
    "training_rows",
]

ROUNDING: Final = (
    1e-12  # probabilities that are means of leaves are 0 but for rounding below that, here and in native code
)


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class LossProblem(RowsProblem):
    """Rows, their truth, and what a model loses on them.

    Attributes:
        truth: (rows,) numbers, or positions of the true classes. loss: of each row.
        labels: of the classes, in the order of probabilities; None: the model predicts numbers.
    """

    truth: Floats | Ints
    loss: Loss
    labels: tuple[str, ...] | None

    @property
    def units(self) -> str:
        """Units of an increase of the loss, in words: which loss, and what it is measured in."""
        return f"{self.loss.name} loss, {self.loss.units}"

    @property
    def measure(self) -> dict[str, str]:
        """What is compared, for the settings of the evidence."""
        return {"loss": self.loss.name}

    def losses(self, predictions: Floats, rows: Ints | slice = slice(None)) -> Floats:
        """Return the loss of each of some rows, (rows,).

        Args:
            predictions: (rows, outputs) of the selection. rows: which rows they are of.

        Raises:
            InputError, OptionError: the loss is not defined for the truth or the predictions, or gives no finite number of a row.
        """
        truth, outputs = self.truth[rows], self.model.outputs
        compared = predictions[:, 0] if self.labels is None else class_probabilities(outputs, predictions)
        if self.labels is not None and outputs.additive_probability and isinstance(self.model, TreeEnsemble):
            compared = np.where(np.abs(compared) < ROUNDING, 0.0, compared)
        losses = np.asarray(self.loss(truth, compared))
        if losses.shape != truth.shape:
            raise OptionError(
                Argument("loss", self.loss.name),
                f" gives an array of the shape {losses.shape} for {len(truth):,} rows; it must give one number a row.",
            )
        if (bad := ~np.isfinite(losses)).any():
            raise OptionError(
                Argument("loss", self.loss.name),
                f" is NaN or infinite for {int(bad.sum()):,} of {bad.size:,} predictions, the first being {predictions[bad][0].tolist()}.",
            )
        return losses


def separate_truth(X: Any, y: Any) -> tuple[Table, Any]:
    """Return the rows, and the truth: where `y` names a column of them, that column, which is then no column of the rows.

    Raises:
        OptionError: there are no rows, or no such column.
    """
    if X is None:
        raise OptionError("this importance is measured on rows: pass ", Argument("X"), ".")
    table = as_table(X)
    if not isinstance(y, str):
        return table, y
    if y not in table.names:
        raise OptionError(
            Argument("y", y), f" is no column of the rows.{did_you_mean(y, table.names)} Give a column or the values."
        )
    position = table.names.index(y)
    return table.select([i for i in range(table.width) if i != position]), table[y]


def drop_weightless(rows: Table, y: Any, options: ImportanceOptions) -> tuple[Table, Any, ImportanceOptions]:
    """Return the rows of some weight, their truth, and the options with their weights.

    Raises:
        InputError: weights that are none, or a truth of another length.
    """
    count = len(rows)
    rows, weights, kept = rows_of_positive_weight(rows, options.sample_weight)
    if len(kept) == count:
        return rows, y, options
    values = one_value_a_row(y, count)
    return rows, y.iloc[kept] if hasattr(y, "iloc") else values[kept], replace(options, sample_weight=weights)


def read_train(problem: ImportanceProblem) -> ImportanceProblem:
    """Return the problem with the rows of ``train`` as a table: this refuses before any work what cannot be, and a reader gives its rows once.

    Raises:
        OptionError: there are none and the method needs them, or no pair. InputError: rows that are no table, or a truth of another length.
    """
    if problem.options.train is None:
        if "train" in problem.spec.needs:
            raise _no_training_rows(problem.options.method)
        return problem
    X, y = problem.train_rows
    rows = as_table(X, what="the rows of train")
    if not isinstance(y, str) and hasattr(y, "__len__") and len(y) != len(rows):
        raise InputError(Argument("train"), f" has {len(rows):,} rows and another number of truths, {len(y):,}.")
    return replace(problem, options=replace(problem.options, train=(rows, y)))


def _no_training_rows(method: str) -> OptionError:
    return OptionError(
        Argument("method", method), " needs the rows of training: pass the rows and the truth of training, ", Argument("train", example="(X, y)"), "."
    )  # fmt: skip


def training_rows(problem: ImportanceProblem) -> tuple[Table, npt.NDArray[Any]]:
    """Return the rows of ``train``, and their truth as an array.

    Raises:
        OptionError: there are none, or not two things. InputError: a truth of another length.
    """
    if problem.options.train is None:
        raise _no_training_rows(problem.options.method)
    rows, truth = separate_truth(*problem.train_rows)
    values = np.asarray(truth)
    if values.ndim == 0 or len(values) != len(rows):
        raise InputError(Argument("train"), f" has {len(rows):,} rows and another number of truths.")
    return rows, values


def resolve_loss_problem(problem: ImportanceProblem, *, check: bool = True) -> LossProblem:
    """Read the model, align the rows, match the truth with the model's outputs, and choose the loss.

    Args:
        problem: as the caller gave it. check: False where the model's own predict is not compared yet: there is only a plan to make, or it comes later.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    options = problem.options
    rows, y = separate_truth(problem.X, problem.y)
    if options.scale not in (None, "response", "probability"):
        raise OptionError(
            Argument("scale", options.scale),
            ": a loss compares predictions with the truth; leave ",
            Argument("scale"),
            " out.",
        )
    rows, y, options = drop_weightless(rows, y, options)
    resolved, labels = resolve_for_loss(problem.model, rows, options)
    table = resolved.rows.table
    check_several_rows(resolved)
    truth: Floats | Ints = true_numbers(y, len(table)) if labels is None else true_classes(y, labels, len(table))
    loss = choose_loss(options.loss, resolved.model.outputs, labels)
    loss.check_truth(truth)
    compared = compared_rows(resolved, options.players, check=check, known=problem.agreement)
    return LossProblem(**compared, options=options, spec=problem.spec, truth=truth, loss=loss, labels=labels)


def resolve_for_loss(model: Any, rows: Any, options: ImportanceOptions) -> tuple[ResolvedModel, tuple[str, ...] | None]:
    """Read a model on the scale of its predictions, and say which classes they are probabilities of; None: it predicts numbers.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    output = None if options.output == EVERY_OUTPUT else options.output
    resolved = resolve_model(model, rows, replace(options, output=None, scale=options.scale or "response"))
    outputs = resolved.model.outputs
    labels = class_labels(outputs)
    if labels is None:
        return replace(resolved, selection=_one_number(outputs, output)), None
    if output is not None:
        raise OptionError(
            Argument("output", output), ": a loss of classes is about all of them; leave ", Argument("output"), " out."
        )
    return resolved, labels


def _one_number(outputs: Outputs, output: Any) -> OutputSelection:
    """The one output that is compared with a truth of numbers.

    Raises:
        OptionError: the model has several, and none is named. UnsupportedModelError: its predictions are no numbers to compare.
    """
    if outputs.negative_class is not None or "decision function" in (outputs.raw_units, outputs.response_units):
        raise UnsupportedModelError(
            "this classifier gives no probabilities, so there is no loss of a row to compare with the true class. Pass one that does (scikit-learn's "
            "CalibratedClassifierCV makes one of it), or take a score of predictions: ",
            Argument("method", "permutation"),
            " with ",
            Argument("scoring", "roc_auc"),
            ".",
        )
    selection = resolve_output(outputs, output, "response")
    if len(selection.names) > 1:
        raise OptionError(
            f"this model has {len(selection.names)} outputs and y is the truth of one: name it, ",
            Argument("output", selection.names[0]),
            ".",
        )
    return selection


def choose_loss(loss: Any, outputs: Outputs, labels: Sequence[str] | None) -> Loss:
    """Return the loss; ``"auto"``: ``log`` where the model gives probabilities of classes, else ``squared``.

    Raises:
        OptionError: unknown, or of classes where the model predicts numbers, or of numbers where it predicts classes.
    """
    if isinstance(loss, str) and loss == AUTO:
        loss = "squared" if labels is None else "log"
    chosen = as_loss(loss)
    of_classes = chosen.name in CLASS_LOSSES
    if of_classes and labels is None:
        what = "numbers" if outputs.response_units == PREDICTION_UNITS else outputs.response_units
        raise OptionError(
            Argument("loss", chosen.name), f" needs probabilities of classes; this model predicts {what}. Take ",
            Argument("loss", "squared"), ".",
        )  # fmt: skip
    if not of_classes and labels is not None:
        raise OptionError(
            Argument("loss", chosen.name),
            " is of numbers; this model predicts probabilities of classes.",
            known=CLASS_LOSSES,
        )
    return chosen
