"""The words of local values and attributions of texts: one text picked out of several, its pieces with their values, and texts of different lengths on one axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.explanation.labelled import Labelled

__all__ = [
    "OCCURRENCES",
    "distinct_words",
    "has_words",
    "keep_own_words",
    "number_repeated",
    "pad_words",
    "text_pieces",
    "word_labels",
    "words_as_features",
]

OCCURRENCES: Final = (
    "occurrences"  # of words in a text: where the word's first one starts, then start and end of this one
)


def has_words(e: Labelled) -> bool:
    """Return whether these are local values or attributions of the words of texts."""
    return e.kind in ("local", "attribution") and "word" in e.dims


def word_labels(e: Labelled) -> list[str]:
    """Return the words of one text, in reading order.

    Args:
        e: local values of one text.
    """
    return [str(word) for word in e.extras["word"][1]]


def distinct_words(e: Labelled) -> list[str]:
    """Return the words of one text, those that stand several times numbered: ``the (2)``.

    Args:
        e: local values of one text.
    """
    return number_repeated(word_labels(e))


def number_repeated(words: Sequence[str]) -> list[str]:
    """Return words, those that stand several times numbered: ``the (2)``."""
    seen = Counter[str]()
    several = Counter(words)
    out = []
    for word in words:
        seen[word] += 1
        out.append(f"{word} ({seen[word]})" if several[word] > 1 else word)
    return out


def keep_own_words(e: Any) -> Any:
    """Return the values of one text that was picked out of several, with its own words alone, which become labels."""
    words = e.extras["word"][1]
    kept = np.flatnonzero([word != "" for word in words.tolist()])
    own = e if len(kept) == len(words) else e[kept]
    return replace(own, coords={**own.coords, "word": own.extras["word"][1]})


def words_as_features(e: Any) -> Any:
    """Return attributions of the words of texts as attributions of features, the different words: 0 where a text has not the word.

    Occurrences of a word that are players by themselves are summed; the standard error of the sum is at most the sum of theirs.

    Args:
        e: attributions of one text or of several.
    """
    words = [[str(word) for word in row] for row in np.atleast_2d(e.extras["word"][1])]
    position = {word: k for k, word in enumerate(dict.fromkeys(word for row in words for word in row if word))}
    several = "row" in e.dims

    def summed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        each = array if several else array[None]
        out = np.zeros((len(each), len(position), *each.shape[2:]))
        for row, (own, values) in enumerate(zip(words, each, strict=True)):
            there = [k for k, word in enumerate(own) if word]
            np.add.at(out[row], [position[own[k]] for k in there], values[there])
        return out if several else out[0]

    labels = np.array(list(position), dtype=object)
    return replace(
        e,
        values=summed(e.values),
        std_error=None if e.std_error is None else summed(e.std_error),
        dims=tuple("feature" if dim == "word" else dim for dim in e.dims),
        coords={**{dim: e.coords[dim] for dim in e.coords if dim != "word"}, "feature": labels},
        players={word: (word,) for word in labels},
        extras={name: found for name, found in e.extras.items() if not {"word", "occurrence"} & set(found[0])},
    )


def text_pieces(e: Labelled) -> list[tuple[str, int]]:
    """Return a text in pieces, each with the position of its word on the word axis, -1 where it belongs to none of them.

    Args:
        e: local values of one text.
    """
    text, starts = str(e.extras["text"][1]), e.extras["start"][1].tolist()
    position = {start: k for k, start in enumerate(starts)}
    pieces, at = [], 0
    for first, start, end in e.extras[OCCURRENCES][1].tolist():
        if start < 0:
            break
        pieces += [(text[at:start], -1), (text[start:end], position.get(first, -1))]
        at = end
    return [piece for piece in (*pieces, (text[at:], -1)) if piece[0]]


def pad_words(parts: Sequence[Any]) -> list[Any]:
    """Return local values of texts with axes of words of the same length, so that their rows can be joined: as of one call with all texts.

    Where one part has standard errors, exact ones get errors of zero.

    Args:
        parts: explanations with the axes row and word.
    """
    words = max(part.shape[1] for part in parts)
    occurrences = max(part.extras[OCCURRENCES][1].shape[1] for part in parts)
    sampled = next((part for part in parts if part.std_error is not None), None)
    return [_padded(part if sampled is None else _with_errors(part, sampled), words, occurrences) for part in parts]


def _with_errors(e: Any, sampled: Any) -> Any:
    """Exact values with errors of zero, and their intervals."""
    if e.std_error is not None:
        return e
    interval = sampled.extras["interval"][0], np.stack([e.values, e.values], axis=-1)
    extras = {**e.extras, "interval": interval, "interval_level": sampled.extras["interval_level"]}
    error = np.where(np.isnan(e.values), np.nan, 0.0)
    extras = {name: extras[name] for name in sampled.extras if name in extras}
    return replace(e, std_error=error, extras=extras, evidence=replace(e.evidence, exact=False))


def _padded(e: Any, words: int, occurrences: int) -> Any:
    lengths = {"word": words, "occurrence": occurrences}
    extras = {name: (dims, _filled_up(array, dims, lengths)) for name, (dims, array) in e.extras.items()}
    return replace(
        e,
        values=_filled_up(e.values, e.dims, lengths),
        std_error=None if e.std_error is None else _filled_up(e.std_error, e.dims, lengths),
        coords={**e.coords, "word": np.arange(words).astype(object)},
        extras=extras,
    )


def _filled_up(array: npt.NDArray[Any], dims: Sequence[str], lengths: Mapping[str, int]) -> npt.NDArray[Any]:
    """An array with axes filled up: numbers with NaN, positions with -1, texts with ""."""
    fill: Any = {"f": np.nan, "O": "", "U": ""}.get(array.dtype.kind, -1)
    missing = [(0, lengths[dim] - n if dim in lengths else 0) for dim, n in zip(dims, array.shape, strict=True)]
    return np.pad(array, missing, constant_values=fill) if any(behind for _, behind in missing) else array
