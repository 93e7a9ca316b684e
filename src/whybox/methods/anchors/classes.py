"""The class that a model predicts for a row, from its outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.core.label_choice import class_names, output_position
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.methods.common.columns import Ints
from whybox.methods.common.output import EVERY_OUTPUT, OutputSelection, resolve_output
from whybox.models.base import Model
from whybox.models.blackbox import BlackBox
from whybox.models.losses import MAX_EXCESS, are_of_one_target, class_labels

__all__ = ["ClassReader", "resolve_classes"]

MAX_LABELS: Final = 100  # different whole numbers that still count as labels of classes
SCORE_UNITS: Final = frozenset({"decision function", "margin", "log-odds (softmax)"})


@final
@dataclass(frozen=True, eq=False)
class ClassReader:
    """Turns outputs into answers: numbers that are equal where the model predicts the same.

    Attributes:
        selection: the outputs that are evaluated. names: of the classes; () where outputs are labels themselves.
        chosen: position of the class that was asked for; None: the predicted class.
        of_one: whether the only output is the probability of the second class.
    """

    selection: OutputSelection
    names: tuple[str, ...]
    chosen: int | None = None
    of_one: bool = False

    def scores(self, outputs: Floats) -> Floats:
        """Return a score for each class, (rows, classes), of outputs (rows, outputs)."""
        return np.column_stack([1.0 - outputs[:, 0], outputs[:, 0]]) if self.of_one else outputs

    def answers(self, outputs: Floats) -> Floats:
        """Return what the model predicts, (rows,): the class with the largest output, or whether it is the class that was asked for."""
        if not self.names:
            return outputs[:, 0]
        predicted = self.scores(outputs).argmax(axis=1)
        return np.asarray(predicted if self.chosen is None else predicted == self.chosen, dtype=np.float64)

    def labels(self, answers: Floats) -> list[str]:
        """Return answers in words."""
        if not self.names:
            return list(class_names(answers))
        if self.chosen is None:
            return [self.names[int(a)] for a in answers]
        name = self.names[self.chosen]
        return [name if a else f"not {name}" for a in answers]

    def predictions(self, outputs: Floats) -> Floats:
        """Return the output of the class that each row is explained for, (rows,)."""
        if not self.names:
            return outputs[:, 0]
        scores = self.scores(outputs)
        at: Ints = scores.argmax(axis=1) if self.chosen is None else np.full(len(scores), self.chosen)
        return np.asarray(np.take_along_axis(scores, at[:, None], axis=1)[:, 0])

    def margins(self, outputs: Floats) -> Floats:
        """Return how far the largest output lies above the next, (rows,): what rounding may not exceed; infinite for labels."""
        if not self.names:
            return np.full(len(outputs), np.inf)
        largest = np.sort(self.scores(outputs), axis=1)[:, -2:]
        return np.asarray(largest[:, 1] - largest[:, 0])

    @property
    def units(self) -> str:
        """Units of predictions."""
        return self.selection.units if self.names else "label"


def resolve_classes(model: Model, outputs: Floats | None, output: Any) -> ClassReader:
    """Return how the class is read; without outputs, as far as it is known: its selection is then what has to be evaluated.

    Args:
        model: read or black box. outputs: of the background, of this selection. output: the class that was asked for; None: the predicted one.

    Raises:
        UnsupportedModelError: the model predicts no classes. OptionError: no such class.
    """
    known = model.outputs
    scale = "probability" if known.has_probability and known.scale != "raw" else None
    selection = resolve_output(known, EVERY_OUTPUT, scale)
    reader = ClassReader(selection, selection.names)
    if known.negative_class is None:
        if len(selection.names) == 1:
            if known.has_probability:
                reader = replace(reader, names=(f"not {selection.names[0]}", selection.names[0]), of_one=True)
            else:
                reader = ClassReader(selection, ())
                if outputs is not None:
                    _refuse_numbers(model, outputs)
        elif outputs is not None:
            _refuse_several_targets(model, outputs)
    return reader if output is None else replace(reader, chosen=_position(output, reader.names))


def _position(output: Any, names: tuple[str, ...]) -> int:
    if not names:
        raise OptionError(
            Argument("output"), " names a class, and this model gives labels: leave it out for the predicted label."
        )
    at = output_position("output", output, names)
    if at is None:
        raise OptionError(Argument("output", output), " is not a class of this model.", known=list(names))
    return at


def _refuse_numbers(model: Model, outputs: Floats) -> None:
    """Refuse a model of one number that is no label."""
    labels = isinstance(model, BlackBox) and (
        model.gives_labels
        or (np.array_equal(outputs, np.rint(outputs)) and len(np.unique(outputs[:, 0])) <= MAX_LABELS)
    )
    if not labels:
        raise UnsupportedModelError(
            "anchors are rules under which a classifier keeps its class, and this model gives one number a row. Pass a classifier, or a function that gives a "
            "label or the probabilities of all classes: lambda X: model.predict(X) > limit turns a regression into two classes."
        )


def _refuse_several_targets(model: Model, outputs: Floats) -> None:
    """Refuse several outputs that are not the classes of one target."""
    known = model.outputs
    if isinstance(model, BlackBox) or known.additive_probability:
        shares = bool((outputs >= -MAX_EXCESS).all()) and are_of_one_target(outputs)
        pairs = all(" over " in name for name in known.names)
        if shares or (known.raw_units in SCORE_UNITS and not pairs):
            return
    elif class_labels(known) is not None or known.raw_units in SCORE_UNITS:
        return
    raise UnsupportedModelError(
        f"anchors are rules under which a classifier keeps its class, and the {outputs.shape[1]} outputs of this model are not the probabilities of the classes of one "
        "target: they do not add up to one. Pass a function that gives the probabilities of one target, or its label."
    )
