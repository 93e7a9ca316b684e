"""Which outputs are explained, and on which scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np

from whybox.core.label_choice import output_position
from whybox.data.table import Floats
from whybox.errors import OptionError, did_you_mean
from whybox.models.links import Outputs

__all__ = ["OutputSelection", "resolve_output"]

_SCALES: Final = ("raw", "probability", "response", "all")


@final
@dataclass(frozen=True)
class OutputSelection:
    """Outputs to explain: ``sign * output[pick] + offset`` for each, on one scale.

    Attributes:
        scale: ``"raw"`` (additive) or ``"response"`` (predictions).
        picks: positions of the model's outputs. signs, offsets: for the other class of a binary model, -1 and (for probabilities) 1.
        names: labels of the outputs. axis: whether results keep an output axis. units: of the scale.
    """

    scale: Literal["raw", "response"]
    picks: tuple[int, ...]
    signs: tuple[float, ...]
    offsets: tuple[float, ...]
    names: tuple[str, ...]
    axis: bool
    units: str

    @property
    def plain(self) -> bool:
        """Whether it is simply all the model's outputs, in order."""
        return self.picks == tuple(range(len(self.picks))) and set(self.signs) == {1.0} and set(self.offsets) == {0.0}

    def values(self, a: Floats) -> Floats:
        """Map attributions (..., model outputs) to (..., outputs explained): signs only."""
        return np.asarray(a[..., list(self.picks)] * np.array(self.signs))

    def levels(self, a: Floats) -> Floats:
        """Map predictions or bases (..., model outputs) to (..., outputs explained)."""
        return np.asarray(self.values(a) + np.array(self.offsets))

    def drop(self, a: Floats) -> Floats:
        """Drop the output axis where results have none."""
        return a if self.axis else a[..., 0]


def resolve_output(outputs: Outputs, output: Any) -> OutputSelection:
    """Return what `output` asks for.

    Args:
        outputs: the model's.
        output: None or ``"raw"``: the additive scale, every output. ``"probability"``: the probability scale. ``"response"``: the scale
            of the model's predictions, whatever it is. A label or position of an output or class: that one alone, raw; see
            :func:`whybox.core.label_choice.output_position` for which is meant. ``"all"``: every output and class, raw, with an output axis even for one.

    Raises:
        OptionError: no such output, a number that is the label of one and the position of another, or the model has no probabilities.
    """
    several = isinstance(output, (Sequence, Mapping, Set)) and not isinstance(output, str)
    if several or getattr(output, "shape", None) not in (None, ()):
        raise OptionError(
            f"output takes one name, not a {type(output).__name__}: leave it out for all outputs, and pick some afterwards by e[..., [names]]."
        )
    _check_scale(outputs, output)
    k = len(outputs.names)
    every, plus, zero = tuple(range(k)), (1.0,) * k, (0.0,) * k
    if output is None or output == "raw":
        return OutputSelection("raw", every, plus, zero, outputs.names, k > 1, outputs.raw_units)
    if output == "probability" and not outputs.has_probability:
        raise OptionError(
            f"output='probability': this model predicts {outputs.response_units}, not probabilities. Leave output out, or use output='response' for its predictions."
        )
    if output in ("probability", "response"):
        scale: Literal["raw", "response"] = "raw" if outputs.link.identity else "response"
        return OutputSelection(scale, every, plus, zero, outputs.names, k > 1, outputs.response_units)
    one = 1.0 if outputs.additive_probability else 0.0
    if output == "all":
        if outputs.negative is None:
            return OutputSelection("raw", every, plus, zero, outputs.names, True, outputs.raw_units)
        return OutputSelection(
            "raw", (0, 0), (-1.0, 1.0), (one, 0.0), (outputs.negative, outputs.names[0]), True, outputs.raw_units
        )
    return _single(outputs, output, one)


def _single(outputs: Outputs, output: Any, one: float) -> OutputSelection:
    known = _labels(outputs)
    at = output_position("output", output, known)
    if at is None:
        raise OptionError(
            f"output={output!r} is not an output of this model.{did_you_mean(output, [*known, *_SCALES])}"
        )
    if outputs.negative is not None:
        sign, offset = (1.0, 0.0) if at else (-1.0, one)
        return OutputSelection("raw", (0,), (sign,), (offset,), (known[at],), False, outputs.raw_units)
    return OutputSelection("raw", (at,), (1.0,), (0.0,), (known[at],), False, outputs.raw_units)


def _labels(outputs: Outputs) -> tuple[str, ...]:
    """Names of all outputs or classes, in the order of their positions."""
    return outputs.names if outputs.negative is None else (outputs.negative, *outputs.names)


def _check_scale(outputs: Outputs, output: Any) -> None:
    """Refuse a word that names a scale and a class of this model."""
    known = _labels(outputs)
    if isinstance(output, str) and output in _SCALES and output in known:
        at = known.index(output)
        raise OptionError(
            f"output={output!r} names a class or output of this model, and also what to explain it in. Give the position, output={at}, for the class; "
            + (
                "leave output out for the additive scale."
                if output == "raw"
                else "the other meaning cannot be asked for here."
            )
        )
