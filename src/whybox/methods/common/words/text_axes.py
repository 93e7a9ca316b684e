"""What every explanation of words holds: texts of different lengths on one axis, the words and where they stand, and what the evidence says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar, final

import numpy as np
import numpy.typing as npt

from whybox.explanation.evidence import library_versions
from whybox.explanation.explanation import as_labels
from whybox.explanation.local_words import OCCURRENCES
from whybox.methods.common.output import notes_on_scale
from whybox.methods.common.words.explained import ExplainedText, ExplainedTexts
from whybox.methods.common.words.split import NON_WORDS
from whybox.models.base import digest
from whybox.models.links import PREDICTION_UNITS

__all__ = ["Extras", "TextAxes", "pad_to", "stack_words"]

RowT = TypeVar("RowT", bound=ExplainedText)
Extras = dict[str, tuple[tuple[str, ...], npt.NDArray[Any]]]


def pad_to(array: npt.NDArray[Any], length: int, fill: Any) -> npt.NDArray[Any]:
    """Return an array whose first axis is filled up to a length."""
    out = np.full((length, *array.shape[1:]), fill, dtype=array.dtype)
    out[: len(array)] = array
    return out


def stack_words(arrays: Sequence[npt.NDArray[Any]], fill: Any) -> npt.NDArray[Any]:
    """Return arrays of the words of each text as one, (texts, most words, ...)."""
    most = max(map(len, arrays))
    return np.stack([pad_to(np.asarray(array), most, fill) for array in arrays])


@final
class TextAxes(Generic[RowT]):
    """The axes that the values of several texts have, and what every explanation of them holds.

    Args:
        found: texts that were explained.

    Attributes:
        dims, row_dims: of what each word has, ("row", "word"), and of what each text has, ("row",); with "output" behind them where there are several.
    """

    def __init__(self, found: ExplainedTexts[RowT, Any]) -> None:
        self._found = found
        axis = ("output",) if found.output.has_output_axis and not found.is_predicted else ()
        self.dims: tuple[str, ...] = ("row", "word", *axis)
        self.row_dims: tuple[str, ...] = ("row", *axis)

    def per_row(self, values: Callable[[RowT], Any]) -> npt.NDArray[Any]:
        """Return numbers of each text, (texts,) or (texts, outputs), from those of one, (outputs,)."""
        each = np.array([values(row) for row in self._found.rows])
        return each if "output" in self.dims else each[:, 0]

    def per_word(self, values: Callable[[RowT], npt.NDArray[Any]], fill: Any = np.nan) -> npt.NDArray[Any]:
        """Return numbers of the words of each text, (texts, most words) or (texts, most words, outputs), from those of one, (words, outputs)."""
        each = stack_words([values(row) for row in self._found.rows], fill)
        return each if "output" in self.dims else each[..., 0]

    @property
    def extras(self) -> Extras:
        """The texts, their words and where these stand, and which output is explained."""
        rows, words = self._found.rows, [row.words for row in self._found.rows]
        several = "output" in self.dims
        return {
            "text": (("row",), as_labels(self._found.texts)),
            "word": (("row", "word"), stack_words([as_labels(w.words) for w in words], "")),
            "start": (("row", "word"), stack_words([w.spans[:, 0] for w in words], -1)),
            "end": (("row", "word"), stack_words([w.spans[:, 1] for w in words], -1)),
            OCCURRENCES: (
                ("row", "occurrence", "span"),
                stack_words([w.occurrences.astype(np.int32) for w in words], -1),
            ),
            "label": (("row",), as_labels(["each output" if several else row.label[0] for row in rows])),
        }

    @property
    def coords(self) -> dict[str, npt.NDArray[Any]]:
        """Labels of the axes: of one text its words, of several positions."""
        names = [row.words.words for row in self._found.rows]
        outputs = [PREDICTION_UNITS] if self._found.is_predicted else list(self._found.output.names)
        return {
            "row": as_labels(list(range(len(names)))),
            "word": as_labels(list(names[0]) if len(names) == 1 else list(range(max(map(len, names))))),
            "output": as_labels(outputs),
        }

    def evidence_fields(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the evidence that do not depend on the method.

        Args:
            settings: of the method, in front of those that all have.
        """
        found, rows = self._found, self._found.rows
        options, model = found.options, found.model
        return {
            "residual_units": found.output.units,
            "agreement": max(row.difference for row in rows),
            "model": model.kind,
            "verdict": {"against": _comparison_text(model.kind, sum(row.compared for row in rows))},
            "model_calls": sum(row.spent for row in rows),
            "seed": options.seed,
            "rows": len(rows),
            "fingerprints": {"rows": digest(*found.texts)},
            "versions": library_versions(None if model.library == "numpy" else model.library),
            "settings": {
                **settings,
                "by_position": options.by_position,
                "mask_string": options.mask_string,
                "words": _words_setting(options.tokenizer),
                "max_evals": options.budget,
            },
        }

    @property
    def notes(self) -> list[str]:
        """What the reader should know of the model, of the scale, and of how texts were read."""
        found = self._found
        return [
            *found.model.notes,
            *notes_on_scale(found.output, found.options.scale),
            *_reading_notes([row.reading for row in found.rows]),
        ]


def _words_setting(tokenizer: Any) -> str:
    """Return what words are, as the evidence keeps it."""
    if tokenizer is None:
        return NON_WORDS
    if isinstance(tokenizer, re.Pattern):
        return str(tokenizer.pattern)
    return tokenizer if isinstance(tokenizer, str) else getattr(tokenizer, "__name__", type(tokenizer).__name__)


def _comparison_text(kind: str, compared: int) -> str:
    """Return what predictions from counted words were compared with, in words.

    Args:
        kind: the model in words. compared: texts on which they were.
    """
    if not compared:
        return "nothing: the model itself was evaluated"
    return f"{kind} on {compared:,} texts with some words left out"


def _reading_notes(readings: Sequence[str]) -> list[str]:
    """Return how each text was given to the model, as notes; those of several texts together."""
    count = len(readings)
    return [
        f"The model was given {reading}{'' if n == count else f' ({n:,} of {count:,} texts)'}."
        for reading, n in Counter(readings).items()
    ]
