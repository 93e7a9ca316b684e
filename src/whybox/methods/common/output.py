"""Which outputs are explained, and on which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np

from whybox.core.label_choice import output_position
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.models.links import Link, Outputs

__all__ = [
    "EVERY_OUTPUT",
    "PREDICTED",
    "SCALES",
    "OutputSelection",
    "notes_on_scale",
    "raw_selection",
    "resolve_output",
]

SCALES: Final = ("raw", "probability", "response")
EVERY_OUTPUT: Final = "all"
PREDICTED: Final = "predicted"  # as an output: of each row the class that is predicted


@final
@dataclass(frozen=True)
class OutputSelection:
    """Outputs to explain: ``sign * output[pick] + offset`` for each, on one scale.

    Attributes:
        scale: ``"raw"`` (additive) or ``"response"`` (predictions).
        output_positions: positions of the model's outputs. signs, offsets: for the other class of a binary model, -1 and (for probabilities) 1.
        names: labels of the outputs. has_output_axis: whether results keep an output axis. units: of the scale.
        added: to each raw output of the model, before the link: the offset that all rows have; empty: nothing.
    """

    scale: Literal["raw", "response"]
    output_positions: tuple[int, ...]
    signs: tuple[float, ...]
    offsets: tuple[float, ...]
    names: tuple[str, ...]
    has_output_axis: bool
    units: str
    added: tuple[float, ...] = ()

    @property
    def is_every_output(self) -> bool:
        """Whether it is simply all the model's outputs, in order."""
        return (
            self.output_positions == tuple(range(len(self.output_positions)))
            and set(self.signs) == {1.0}
            and set(self.offsets) == {0.0}
        )

    def select_values(self, a: Floats) -> Floats:
        """Map attributions (..., model outputs) to (..., outputs explained): signs only."""
        return np.asarray(a[..., list(self.output_positions)] * np.array(self.signs))

    def select_predictions(self, a: Floats) -> Floats:
        """Map predictions or bases (..., model outputs) to (..., outputs explained)."""
        return np.asarray(self.select_values(a) + np.array(self.offsets))

    def from_raw(self, raw: Floats, link: Link) -> Floats:
        """Map raw outputs (..., model outputs) to predictions on the scale explained, (..., outputs explained)."""
        if not self.added:
            return self.select_predictions(raw if self.scale == "raw" else link(raw))
        with np.errstate(over="ignore"):
            shifted = self.with_added(raw)
            return self.select_predictions(shifted if self.scale == "raw" else link(shifted))

    def with_added(self, raw: Floats) -> Floats:
        """Return raw outputs (..., model outputs) with what is added to them."""
        return np.asarray(raw + np.array(self.added)) if self.added else raw

    def drop_output_axis(self, a: Floats) -> Floats:
        """Drop the output axis where results have none."""
        return a if self.has_output_axis else a[..., 0]


def resolve_output(outputs: Outputs, output: Any, scale: Any = None) -> OutputSelection:
    """Return the outputs that `output` names, on the scale that `scale` names.

    Args:
        outputs: the model's.
        output: None: every output of the model. A label or position of an output or class: that one alone; see
            :func:`whybox.core.label_choice.output_position` for which is meant. ``"all"``: every output and class, with an output axis even for one.
        scale: ``"raw"``: the additive scale. ``"probability"``: probabilities. ``"response"``: the scale of the model's predictions, whatever it is.
            None: the scale of the method that was passed as the model (``model.predict_proba``), else the additive scale.

    Raises:
        OptionError: no such output or scale, a number that is the label of one and the position of another, or the model has no probabilities.
    """
    several = isinstance(output, (Sequence, Mapping, Set)) and not isinstance(output, str)
    if several or getattr(output, "shape", None) not in (None, ()):
        raise OptionError(
            Argument("output"),
            f" takes one name, not a {type(output).__name__}: leave it out for all outputs, and pick some afterwards by e[..., [names]].",
        )
    response, units = _resolve_scale(outputs, scale)
    known = _output_labels(outputs)
    if isinstance(output, str) and output == EVERY_OUTPUT and output in known:
        raise OptionError(
            Argument("output", output),
            " names a class or output of this model, and also all of them. Give the position, ",
            Argument("output", known.index(output)),
            ", for the one called so.",
        )
    axis, positions = len(outputs.names) > 1, range(len(known))
    if output is None:
        positions = range(len(known) - len(outputs.names), len(known))
    elif isinstance(output, str) and output == EVERY_OUTPUT:
        axis = True
    else:
        axis, at = False, _position_of(output, known)
        positions = range(at, at + 1)
    # the other class of a binary model is the negative of its one output, and as a probability one less it
    whole = 1.0 if response == "response" or outputs.additive_probability else 0.0
    other = [outputs.negative_class is not None and at == 0 for at in positions]
    return OutputSelection(
        response,
        tuple(0 if outputs.negative_class is not None else at for at in positions),
        tuple(-1.0 if negative else 1.0 for negative in other),
        tuple(whole if negative else 0.0 for negative in other),
        tuple(known[at] for at in positions),
        axis,
        units,
    )


def raw_selection(outputs: Outputs) -> OutputSelection:
    """Return every raw output of a model, as it is."""
    count = len(outputs.names)
    return OutputSelection(
        "raw", tuple(range(count)), (1.0,) * count, (0.0,) * count, outputs.names, count > 1, outputs.raw_units
    )


def notes_on_scale(selection: OutputSelection, scale: Any) -> tuple[str, ...]:
    """Return what the evidence says where `scale` asks for an additive scale, and the model, which is evaluated and not read, gives probabilities."""
    if scale != "raw" or selection.units != "probability":
        return ()
    return ("scale='raw': no additive scale of this model is known, so values are of its probabilities.",)


def _resolve_scale(outputs: Outputs, scale: Any) -> tuple[Literal["raw", "response"], str]:
    """Return whether values are additive (raw) or predictions, and their units."""
    own = None if outputs.link.is_identity else outputs.scale  # without a link both scales are the same
    if scale is None:
        scale = own or "raw"
    elif own is not None and isinstance(scale, str) and scale in SCALES and (scale == "raw") != (own == "raw"):
        raise OptionError(
            Argument("scale", scale),
            f": a method of an estimator was passed, which is on another scale ({own}); pass the estimator itself, or leave ",
            Argument("scale"),
            " out.",
        )
    if isinstance(scale, str) and scale == "raw":
        return "raw", outputs.raw_units
    if not isinstance(scale, str) or scale not in SCALES:
        named = isinstance(scale, str) and scale in (*_output_labels(outputs), EVERY_OUTPUT)
        if named:
            hint = " For the class or output, write ", Argument("output", scale), "."
            raise OptionError(Argument("scale", scale), " is not a scale.", hint)
        raise OptionError(Argument("scale", scale), " is not a scale.", known=SCALES)
    if scale == "probability" and not outputs.has_probability:
        raise OptionError(
            Argument("scale", "probability"),
            f": this model predicts {outputs.response_words}, not probabilities. Leave ",
            Argument("scale"),
            " out, or use ",
            Argument("scale", "response"),
            " for its predictions.",
        )
    return "raw" if outputs.link.is_identity else "response", outputs.response_units


def _position_of(output: Any, known: Sequence[str]) -> int:
    at = output_position("output", output, known)
    if at is not None:
        return at
    if isinstance(output, str) and output in SCALES:
        raise OptionError(
            Argument("output", output),
            " is not an output of this model: ",
            Argument("output"),
            " says which class or output. For the scale, write ",
            Argument("scale", output),
            ".",
        )
    raise OptionError(Argument("output", output), " is not an output of this model.", known=[*known, EVERY_OUTPUT])


def _output_labels(outputs: Outputs) -> tuple[str, ...]:
    """Names of all outputs or classes, in the order of their positions."""
    return outputs.names if outputs.negative_class is None else (outputs.negative_class, *outputs.names)
