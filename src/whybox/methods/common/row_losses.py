"""Losses of the predictions of rows: which loss, on which scale, of which output, and the truth of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.data.table import Floats, Table, as_table
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.common.columns import Ints
from whybox.methods.common.columns_beside import refuse_column_of_estimator, separate_column
from whybox.methods.common.options import PredictionOptions
from whybox.methods.common.output import EVERY_OUTPUT, OutputSelection, resolve_output
from whybox.methods.common.resolved_model import ResolvedModel, resolve_model
from whybox.models.base import Model
from whybox.models.links import Outputs
from whybox.models.losses import (
    CLASS_LOSSES,
    Loss,
    are_of_one_target,
    as_loss,
    class_labels,
    class_probabilities,
    true_classes,
    true_numbers,
)
from whybox.models.trees import TreeEnsemble

__all__ = [
    "AUTO_LOSS",
    "TRUTH",
    "RowLosses",
    "check_loss_scale",
    "choose_loss",
    "refuse_read_truth",
    "resolve_for_loss",
    "resolve_losses",
    "separate_truth",
]

AUTO_LOSS: Final = "auto"
TRUTH: Final = "the truth"
ROUNDING: Final = (
    1e-12  # probabilities that are means of leaves are 0 but for rounding below that, here and in native code
)


@final
@dataclass(frozen=True, eq=False)
class RowLosses:
    """What a model loses on rows whose truth is known.

    Attributes:
        model: on the scale of its predictions. loss: of each row.
        labels: of the classes, in the order of probabilities; None: the model predicts numbers.
    """

    model: Model
    loss: Loss
    labels: tuple[str, ...] | None

    @property
    def units(self) -> str:
        """Units of the loss, in words: which loss, and what it is measured in."""
        return f"{self.loss.name} loss, {self.loss.units}"

    def truth_of(self, y: Any, rows: int) -> Floats | Ints:
        """Return the truth of each row as the loss takes it, (rows,): numbers, or positions of the true classes.

        Args:
            y: one value a row, in any container. rows: how many there must be.

        Raises:
            InputError: a truth that does not fit the rows, the model or the loss.
        """
        truth: Floats | Ints = true_numbers(y, rows) if self.labels is None else true_classes(y, self.labels, rows)
        self.loss.check_truth(truth)
        return truth

    def compared(self, predictions: Floats) -> Floats:
        """Return what the loss compares with the truth, (rows,) numbers or (rows, classes) probabilities, from predictions (rows, outputs).

        Raises:
            UnsupportedModelError: probabilities of several targets.
        """
        if self.labels is None:
            return predictions[:, 0]
        outputs = self.model.outputs
        probabilities = class_probabilities(outputs, predictions)
        if not are_of_one_target(probabilities):
            raise UnsupportedModelError(
                f"a loss of classes compares the probabilities of the classes of one target with the true class, and the {len(self.labels)} outputs of "
                "this model do not add up to one: they are of several targets. Pass a function that gives the probabilities of one target."
            )
        if outputs.additive_probability and isinstance(self.model, TreeEnsemble):
            return np.where(np.abs(probabilities) < ROUNDING, 0.0, probabilities)
        return probabilities

    def __call__(self, truth: Floats | Ints, predictions: Floats) -> Floats:
        """Return the loss of each row, (rows,).

        Args:
            truth: (rows,), as :meth:`truth_of` returns it. predictions: (rows, outputs) of the selection that the model was resolved with.

        Raises:
            InputError, OptionError: the loss is not defined for the truth or the predictions, or gives no finite number of a row.
        """
        losses = np.asarray(self.loss(truth, self.compared(predictions)))
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


def separate_truth(X: Any, y: Any, model: Model | None = None) -> tuple[Table, Any]:
    """Return the rows, and the truth: where `y` names a column of them, that column, which is then no column of the rows.

    Args:
        X, y: as they were given. model: where it is read already; it must not read that column.

    Raises:
        OptionError: there are no rows, or no such column, or the model reads it. InputError: a pandas series of the rows' labels in another order.
    """
    if X is None:
        raise OptionError("this importance is measured on rows: pass ", Argument("X"), ".")
    return separate_column(as_table(X), y, "y", TRUTH, model)


def refuse_read_truth(model: Any, y: Any) -> None:
    """Refuse a column that an estimator was trained on as the truth.

    Raises:
        OptionError: `y` names one.
    """
    refuse_column_of_estimator(model, y, "y", TRUTH)


def check_loss_scale(scale: str | None) -> None:
    """Refuse a scale that is not that of predictions.

    Raises:
        OptionError: it is.
    """
    if scale not in (None, "response", "probability"):
        raise OptionError(
            Argument("scale", scale),
            ": a loss compares predictions with the truth; leave ",
            Argument("scale"),
            " out.",
        )


def resolve_for_loss(model: Any, rows: Any, options: PredictionOptions) -> tuple[ResolvedModel, tuple[str, ...] | None]:
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


def resolve_losses(model: Any, rows: Any, options: PredictionOptions, loss: Any) -> tuple[ResolvedModel, RowLosses]:
    """Read a model on the scale of its predictions, and choose the loss of these.

    Args:
        model, rows, options: as :func:`resolve_model` takes them. loss: as :func:`choose_loss` takes it.

    Raises:
        WhyboxError: see whybox.errors; each message says what to do.
    """
    check_loss_scale(options.scale)
    resolved, labels = resolve_for_loss(model, rows, options)
    return resolved, RowLosses(resolved.model, choose_loss(loss, resolved.model.outputs, labels), labels)


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
    if isinstance(loss, str) and loss == AUTO_LOSS:
        loss = "squared" if labels is None else "log"
    chosen = as_loss(loss)
    of_classes = chosen.name in CLASS_LOSSES
    if of_classes and labels is None:
        raise OptionError(
            Argument("loss", chosen.name), f" needs probabilities of classes; this model predicts {outputs.response_words}. Take ",
            Argument("loss", "squared"), ".",
        )  # fmt: skip
    if not of_classes and labels is not None:
        raise OptionError(
            Argument("loss", chosen.name),
            " is of numbers; this model predicts probabilities of classes.",
            known=CLASS_LOSSES,
        )
    return chosen
