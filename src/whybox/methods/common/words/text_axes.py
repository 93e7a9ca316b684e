"""What every explanation of words holds: texts of different lengths on one axis, the words and where they stand, and what the evidence says of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.explanation.explanation import as_labels
from whybox.explanation.local_words import OCCURRENCES
from whybox.methods.common.words.split import NON_WORDS, TextWords

__all__ = ["comparison_text", "pad_to", "reading_notes", "stack_words", "word_coords", "word_extras", "words_setting"]

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


def word_extras(texts: Sequence[str], words: Sequence[TextWords]) -> Extras:
    """Return the texts, their words, and where these stand."""
    return {
        "text": (("row",), as_labels(texts)),
        "word": (("row", "word"), stack_words([as_labels(w.words) for w in words], "")),
        "start": (("row", "word"), stack_words([w.spans[:, 0] for w in words], -1)),
        "end": (("row", "word"), stack_words([w.spans[:, 1] for w in words], -1)),
        OCCURRENCES: (
            ("row", "occurrence", "span"),
            stack_words([w.occurrences.astype(np.int32) for w in words], -1),
        ),
    }


def word_coords(words: Sequence[TextWords], outputs: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Return labels of the axes: of one text its words, of several positions."""
    names = [w.words for w in words]
    return {
        "row": as_labels(list(range(len(words)))),
        "word": as_labels(list(names[0]) if len(words) == 1 else list(range(max(map(len, names))))),
        "output": as_labels(list(outputs)),
    }


def words_setting(tokenizer: Any) -> str:
    """Return what words are, as the evidence keeps it."""
    if tokenizer is None:
        return NON_WORDS
    if isinstance(tokenizer, re.Pattern):
        return str(tokenizer.pattern)
    return tokenizer if isinstance(tokenizer, str) else getattr(tokenizer, "__name__", type(tokenizer).__name__)


def comparison_text(kind: str, compared: int) -> str:
    """Return what predictions from counted words were compared with, in words.

    Args:
        kind: the model in words. compared: texts on which they were.
    """
    if not compared:
        return "nothing: the model itself was evaluated"
    return f"{kind} on {compared:,} texts with some words left out"


def reading_notes(readings: Sequence[str]) -> list[str]:
    """Return how each text was given to the model, as notes; those of several texts together."""
    count = len(readings)
    return [
        f"The model was given {reading}{'' if n == count else f' ({n:,} of {count:,} texts)'}."
        for reading, n in Counter(readings).items()
    ]
