"""Texts: from words to numbers of tokens, from maps of tokens back to words. What stands for an absent token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import InputError, OptionError, did_you_mean
from whybox.explanation.explanation import Explanation, labels
from whybox.models.differentiable import Differentiable

__all__ = ["Texts", "absent_token", "fed", "grouped", "is_text", "labelled", "read", "replaced"]

Wholes = npt.NDArray[np.int64]
_NAMES: Final = ("input_ids", "attention_mask", "token_type_ids")
_ABSENT: Final = ("[MASK]", "<mask>", "[PAD]", "<pad>", "<|padding|>")
_PIECES: Final = ("##", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}", "\N{LOWER ONE EIGHTH BLOCK}")


@final
@dataclass(frozen=True)
class Texts:
    """Texts as a tokenizer reads them; every array is (texts, tokens), filled up on the right.

    Attributes:
        texts: as given. ids, types: numbers of tokens and of segments. mask: 1 where there is a token.
        tokens: in words, "" where there is none. words: number of the word a token belongs to, -1 for none (special tokens).
        places: (texts, tokens, 2): where a token stands in its text; None where the tokenizer does not say.
        special: whether it is no part of the text ([CLS], <s>).
        absent: the token that stands for an absent one, and its name; None when the tokenizer has none that is known.
        notes: what the reader should know.
    """

    texts: tuple[str, ...]
    ids: Wholes
    types: Wholes
    mask: Wholes
    tokens: npt.NDArray[np.str_]
    words: Wholes | None
    places: Wholes | None
    special: npt.NDArray[np.bool_]
    absent: tuple[int, str] | None
    lookup: Callable[[str], int | None]
    notes: tuple[str, ...] = ()


def is_text(inputs: Any) -> bool:
    """Whether this is a text or a list of texts."""
    return isinstance(inputs, str) or (
        isinstance(inputs, (list, tuple)) and bool(inputs) and all(isinstance(t, str) for t in inputs)
    )


def read(tokenizer: Any, inputs: str | Sequence[str]) -> Texts:
    """Read texts with a ``tokenizers.Tokenizer``, a fast tokenizer of transformers, or a function.

    Args:
        tokenizer: a function takes one text and answers a dict or object with ``ids`` and ``tokens``, and if it can ``word_ids`` (None for special tokens)
            and ``offsets`` (start and end in the text).
        inputs: a text, or several.

    Raises:
        OptionError: a tokenizer that is none of these. InputError: a text without tokens.
    """
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    rows = _encoded(tokenizer, texts)
    kept = [_trimmed(_get(r, "attention_mask", [1] * len(_get(r, "ids"))), t) for r, t in zip(rows, texts, strict=True)]
    width = max(kept)

    def filled(of: Callable[[Any], Any], fill: Any) -> npt.NDArray[Any]:
        return np.array([[*list(of(r))[:n], *[fill] * (width - n)] for r, n in zip(rows, kept, strict=True)])

    ids = filled(lambda r: _get(r, "ids"), 0).astype(np.int64)
    mask = filled(lambda r: _get(r, "attention_mask", [1] * width), 0).astype(np.int64)
    lookup = _lookup(tokenizer)
    pad = next((p for n in _ABSENT[2:] if (p := lookup(n)) is not None), 0)
    have = [_get(r, "word_ids", None) for r in rows]
    where = [_get(r, "offsets", None) for r in rows]
    words = (
        None
        if any(w is None for w in have)
        else filled(lambda r: [-1 if w is None else w for w in _get(r, "word_ids")], -1)
    )
    special = filled(lambda r: _get(r, "special_tokens_mask", [0] * width), 1).astype(bool)
    cut = sum(bool(_get(r, "overflowing", None)) for r in rows)
    found = [(i, n) for n in _ABSENT if (i := lookup(n)) is not None]
    return Texts(
        texts=texts,
        ids=np.where(mask > 0, ids, pad),
        types=filled(lambda r: _get(r, "type_ids", [0] * width), 0).astype(np.int64),
        mask=mask,
        tokens=np.where(mask > 0, filled(lambda r: _get(r, "tokens"), ""), ""),
        words=None if words is None else words.astype(np.int64),
        places=None if any(w is None for w in where) else filled(lambda r: _get(r, "offsets"), (0, 0)).astype(np.int64),
        special=special | (mask == 0),
        absent=found[0] if found else None,
        lookup=lookup,
        notes=(f"{cut} of {len(texts)} texts were cut by the tokenizer's own truncation",) if cut else (),
    )


def _encoded(tokenizer: Any, texts: tuple[str, ...]) -> list[Any]:
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer
        return list(tokenizer.encode_batch(list(texts)))
    if hasattr(tokenizer, "backend_tokenizer"):  # transformers
        return list(tokenizer(list(texts), padding=True).encodings)
    if not callable(tokenizer):
        raise OptionError(
            f"tokenizer={type(tokenizer).__name__} is none: give a tokenizers.Tokenizer, a fast tokenizer of transformers, or a function of one text."
        )
    rows = [tokenizer(t) for t in texts]
    for r in rows:
        if len(_get(r, "ids")) != len(_get(r, "tokens")):
            raise OptionError("the tokenizer answers with different numbers of ids and tokens.")
    return rows


_NONE: Final = object()


def _get(row: Any, name: str, default: Any = _NONE) -> Any:
    found = row.get(name, _NONE) if isinstance(row, Mapping) else getattr(row, name, _NONE)
    if found is _NONE or found is None:
        if default is _NONE:
            raise OptionError(
                f"the tokenizer's answer has no {name!r}; it must be a dict or object with 'ids' and 'tokens', and if it can 'word_ids' and 'offsets'."
            )
        return default
    return found


def _trimmed(mask: Any, text: str) -> int:
    """How long a text is without what fills it up on the right."""
    there = np.flatnonzero(np.asarray(mask))
    if not len(there):
        raise InputError(f"the text {text[:40]!r} has no tokens.")
    return int(there[-1]) + 1


def _lookup(tokenizer: Any) -> Callable[[str], int | None]:
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    ask = getattr(inner, "token_to_id", None)
    return ask if callable(ask) else lambda _token: None


def fed(net: Differentiable, texts: Texts) -> tuple[Differentiable, tuple[Wholes, ...]]:
    """Return the network and what goes in: by the names input_ids, attention_mask and token_type_ids as far as it takes them, else ids, and the mask if it takes two.

    Raises:
        InputError: texts of different length for a network that takes no mask.
    """
    takes = net.takes()
    given = dict(zip(_NAMES, (texts.ids, texts.mask, texts.types), strict=True))
    if "input_ids" in takes or takes == ("**",):
        names = [n for n in _NAMES if n in takes or ("**" in takes and n != "token_type_ids")]
        net, arrays = net.named(tuple(names)), tuple(given[n] for n in names)
        masked = "attention_mask" in names
    else:
        masked = len([t for t in takes if t != "**"]) > 1
        arrays = (texts.ids, texts.mask) if masked else (texts.ids,)
    if not masked and (texts.mask == 0).any():
        raise InputError(
            "the texts have different lengths and the network takes no attention_mask, so what fills them up would be read; explain them one at a time."
        )
    return net, arrays


def absent_token(token: Any, texts: Texts | None) -> tuple[int, str] | None:
    """The number and name of what stands for an absent token.

    Raises:
        OptionError: no such token, or a name without a tokenizer.
    """
    if token is None:
        return None if texts is None else texts.absent
    if isinstance(token, (int, np.integer)) and not isinstance(token, bool) and token >= 0:
        return int(token), f"token {int(token)}"
    if isinstance(token, str) and texts is not None and (found := texts.lookup(token)) is not None:
        return found, token
    known = [n for n in _ABSENT if texts is not None and texts.lookup(n) is not None]
    raise OptionError(
        f"baseline_token={token!r} is no token of the tokenizer, and no number of one.{did_you_mean(token, known)}"
    )


def replaced(ids: Wholes, token: int, texts: Texts | None) -> Wholes:
    """Every token of the text replaced; special ones and what fills texts up stay."""
    return np.full_like(ids, token) if texts is None else np.where(texts.special, ids, token)


def labelled(e: Explanation, texts: Texts, *, words: bool) -> Explanation:
    """Put tokens, or words, on an explanation of (row, token, ...).

    Raises:
        OptionError: words are asked for and the tokenizer does not tell them.
    """
    there = texts.mask > 0
    extras = {name: of for name, of in e.extras.items() if not words or "token" not in of[0]}
    extras["text"] = (("row",), np.array(texts.texts))
    evidence = replace(e.evidence, notes=(*e.evidence.notes, *texts.notes))
    if not words:
        coords = dict(e.coords)
        if len(texts.texts) == 1:
            coords["token"] = labels(texts.tokens[0].tolist())
        extras["token"] = (("row", "token"), texts.tokens.copy())
        error = None if e.std_error is None else _only(e.std_error, there)
        return replace(
            e, values=_only(e.values, there), std_error=error, coords=coords, extras=extras, evidence=evidence
        )
    if texts.words is None:
        raise OptionError("words=True needs a tokenizer that says which word a token belongs to (word_ids).")
    which, names = grouped(texts)
    count = max(map(len, names))
    full = np.array([[*n, *[""] * (count - len(n))] for n in names])
    known = np.array([[i < len(n) for i in range(count)] for n in names])

    def summed(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        out = np.zeros((len(a), count, *a.shape[2:]))
        rows, places = np.nonzero(there)
        np.add.at(out, (rows, which[rows, places]), a[rows, places])
        return _only(out, known)

    error = None if e.std_error is None else summed(e.std_error)
    if error is not None:
        note = "the standard error of a word of several tokens is the sum of theirs, an upper bound"
        evidence = replace(evidence, notes=(*evidence.notes, note))
    coords = {("word" if d == "token" else d): of for d, of in e.coords.items()}
    coords["word"] = labels(names[0] if len(names) == 1 else list(range(count)))
    extras["word"] = (("row", "word"), full)
    dims = tuple("word" if d == "token" else d for d in e.dims)
    return replace(
        e, values=summed(e.values), std_error=error, dims=dims, coords=coords, extras=extras, evidence=evidence
    )


def _only(a: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    return np.where(there.reshape(*there.shape, *(1,) * (a.ndim - 2)), a, np.nan)


def grouped(texts: Texts) -> tuple[Wholes, list[list[str]]]:
    """For each token the number of its word among those of its text, and the words; special tokens are words of their own."""
    assert texts.words is not None  # noqa: S101  # asked by the caller
    which, names = np.zeros_like(texts.ids), []
    for row, text in enumerate(texts.texts):
        groups: list[list[int]] = []
        before = None
        for place in np.flatnonzero(texts.mask[row]).tolist():
            word = int(texts.words[row, place])
            if before is None or word < 0 or word != before:
                groups.append([])
            groups[-1].append(place)
            before = word if word >= 0 else None
            which[row, place] = len(groups) - 1
        names.append([_name(texts, row, text, group) for group in groups])
    return which, names


def _name(texts: Texts, row: int, text: str, group: list[int]) -> str:
    """The piece of text that a group of tokens stands for."""
    if texts.places is not None and not texts.special[row, group].any():
        piece = text[int(texts.places[row, group[0], 0]) : int(texts.places[row, group[-1], 1])].strip()
        if piece:
            return piece
    tokens = [str(t) for t in texts.tokens[row, group]]
    for mark in _PIECES:
        tokens = [t.removeprefix(mark) for t in tokens]
    return "".join(tokens)
