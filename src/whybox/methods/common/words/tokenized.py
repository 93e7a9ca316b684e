"""Texts and pairs of texts as tokenizers read them: token ids, names, and the words that tokens belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import is_missing
from whybox.errors import Argument, InputError, OptionError

__all__ = [
    "ABSENT_TOKENS",
    "INPUT_NAMES",
    "TextOrPair",
    "TokenizedTexts",
    "WholeNumbers",
    "group_into_words",
    "is_column_of_texts",
    "is_text",
    "read_texts",
    "strip_word_marks",
]

WholeNumbers = npt.NDArray[np.int64]
TextOrPair = str | tuple[str, str]
INPUT_NAMES: Final = ("input_ids", "attention_mask", "token_type_ids")
ABSENT_TOKENS: Final = ("[MASK]", "<mask>", "[PAD]", "<pad>", "<|padding|>")
_NO_VALUE: Final = object()
_WORD_MARKS: Final = ("##", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}", "\N{LOWER ONE EIGHTH BLOCK}")


@final
@dataclass(frozen=True)
class TokenizedTexts:
    """Texts as a tokenizer reads them. Every array is (texts, tokens), padded on the right, or where the tokenizer pads.

    Attributes:
        texts: as given; a pair is a tuple of two. token_ids, token_type_ids: token ids and segment ids. attention_mask: 1 for tokens, 0 for padding.
        token_names: names of the tokens, "" for padding. word_of: index of the word that a token belongs to in its text, -1 for none (special tokens).
        sequence_of: of pairs, the text that a token is from, 0 or 1, -1 for neither; None for single texts, and if the tokenizer does not say.
        offsets: (texts, tokens, 2): start and end of a token in its text; None if the tokenizer does not say.
        is_special: True for tokens that are not part of the text ([CLS], <s>).
        uses_token_types: True if the tokenizer means `token_type_ids` for its network. pad_id: id of the padding token.
        absent_token: id and name of the token that replaces absent ones; None if the tokenizer has none that is known.
        lookup_id: id of a token by its name. notes: for the evidence.
    """

    texts: tuple[TextOrPair, ...]
    token_ids: WholeNumbers
    token_type_ids: WholeNumbers
    attention_mask: WholeNumbers
    token_names: npt.NDArray[np.str_]
    word_of: WholeNumbers | None
    sequence_of: WholeNumbers | None
    offsets: WholeNumbers | None
    is_special: npt.NDArray[np.bool_]
    uses_token_types: bool
    pad_id: int
    absent_token: tuple[int, str] | None
    lookup_id: Callable[[str], int | None]
    notes: tuple[str, ...] = ()

    @property
    def are_pairs(self) -> bool:
        """True if each row is a pair of texts."""
        return isinstance(self.texts[0], tuple)


def is_text(inputs: Any) -> bool:
    """True for a text, and for rows of texts or of pairs of texts."""
    given = _as_list(inputs)
    if not isinstance(given, (list, tuple)):
        return isinstance(given, str)
    return any(
        isinstance(t, str) or (isinstance(t, (list, tuple)) and any(isinstance(s, str) for s in t)) for t in given
    )


def is_column_of_texts(inputs: Any) -> bool:
    """True for a text, and for a list, an array or a column that holds texts and missing ones: not for pairs, a row of a table, or its columns."""
    given = _as_list(inputs)
    if not isinstance(given, (list, tuple)):
        return isinstance(given, str)
    return any(isinstance(t, str) for t in given) and all(isinstance(t, str) or is_missing(t) for t in given)


def _as_list(inputs: Any) -> Any:
    """A column of a frame, or an array, as a list."""
    if any(hasattr(type(inputs), name) or hasattr(inputs, name) for name in ("columns", "column_names")):  # a table
        return inputs
    kind = getattr(getattr(inputs, "dtype", None), "kind", None)
    if kind is not None:
        return inputs.tolist() if kind in ("O", "U", "T") and getattr(inputs, "ndim", 0) == 1 else inputs
    for name in ("to_list", "to_pylist"):  # of polars, of pyarrow
        if hasattr(inputs, name):
            return getattr(inputs, name)()
    return inputs


def _text_rows(inputs: Any) -> tuple[TextOrPair, ...]:
    """Rows, each a text or each a pair.

    Raises:
        InputError: these are not; the message says how rows and pairs are written.
    """
    given = _as_list(inputs)
    if isinstance(given, str):
        return (given,)
    if isinstance(given, tuple):
        raise InputError(
            "a tuple of texts may mean one row or several: [('question', 'context')] is one row with a pair of texts, ['one', 'two'] are two rows of one text each"
            ", and list(zip(questions, contexts)) makes pairs of two lists."
        )
    for row, t in enumerate(given):
        if not isinstance(t, str) and not (isinstance(t, tuple) and len(t) == 2 and all(isinstance(s, str) for s in t)):
            kind = f"{type(t).__name__} of {len(t)}" if isinstance(t, (list, tuple)) else type(t).__name__
            raise InputError(
                f"row {row} is a {kind}; among texts a row is one text, or a tuple of two: [('question', 'context'), ...]."
            )
    if len({isinstance(t, str) for t in given}) > 1:
        raise InputError("some rows are single texts and some are pairs; explain them in two calls.")
    return tuple(given)


def read_texts(tokenizer: Any, inputs: str | Sequence[TextOrPair]) -> TokenizedTexts:
    """Read texts with a ``tokenizers.Tokenizer``, a fast tokenizer of transformers, or a function.

    Args:
        tokenizer: a function takes one text (of pairs: two) and returns a dict or object with ``ids`` and ``tokens``, and if it can ``word_ids`` (None for
            special tokens), ``offsets`` (start and end in the text), ``special_tokens_mask``, and of pairs ``sequence_ids`` (0, 1 or None) and ``type_ids``.
        inputs: a text, a list of texts, or a list of pairs (tuples of two texts).

    Raises:
        OptionError: the tokenizer is none of these. InputError: a text without tokens, or rows that are neither texts nor pairs.
    """
    texts = _text_rows(inputs)
    rows = _encode_texts(tokenizer, texts)
    kept = [
        _text_length(_read_field(r, "attention_mask", [1] * len(_read_field(r, "ids"))), t)
        for r, t in zip(rows, texts, strict=True)
    ]
    width = max(kept)

    def padded_field(name: str, fill: Any, default: Any = _NO_VALUE) -> npt.NDArray[Any]:
        each = [list(_read_field(r, name, default))[:n] for r, n in zip(rows, kept, strict=True)]
        return np.array([[*(fill if v is None else v for v in r), *[fill] * (width - len(r))] for r in each])

    def optional_field(name: str, fill: Any) -> WholeNumbers | None:
        there = all(_read_field(r, name, None) is not None for r in rows)
        return padded_field(name, fill).astype(np.int64) if there else None

    mask = padded_field("attention_mask", 0, [1] * width).astype(np.int64)
    lookup, pad = _id_lookup(tokenizer), _padding_id(tokenizer)
    cut = sum(bool(_read_field(r, "overflowing", None)) for r in rows)
    notes = [f"{cut} of {len(texts)} texts were cut by the tokenizer's own truncation"] if cut else []
    if (mask[:, 0] == 0).any():
        notes.append(
            "the tokenizer pads on the left: the output of some networks for a text changes with longer texts in its batch"
        )
    named = (
        getattr(tokenizer, "mask_token", None),
        *ABSENT_TOKENS[:2],
        getattr(tokenizer, "pad_token", None),
        *ABSENT_TOKENS[2:],
    )
    found = [(i, n) for n in named if isinstance(n, str) and (i := lookup(n)) is not None]
    return TokenizedTexts(
        texts=texts,
        token_ids=np.where(mask > 0, padded_field("ids", 0).astype(np.int64), pad),
        token_type_ids=padded_field("type_ids", 0, [0] * width).astype(np.int64),
        attention_mask=mask,
        token_names=np.where(mask > 0, padded_field("tokens", ""), ""),
        word_of=optional_field("word_ids", -1),
        sequence_of=optional_field("sequence_ids", -1) if isinstance(texts[0], tuple) else None,
        offsets=optional_field("offsets", (0, 0)),
        is_special=padded_field("special_tokens_mask", 1, [0] * width).astype(bool) | (mask == 0),
        uses_token_types=INPUT_NAMES[2] in getattr(tokenizer, "model_input_names", INPUT_NAMES),
        pad_id=pad,
        absent_token=found[0] if found else None,
        lookup_id=lookup,
        notes=tuple(notes),
    )


def _encode_texts(tokenizer: Any, texts: tuple[TextOrPair, ...]) -> list[Any]:
    if hasattr(tokenizer, "encode_batch"):  # tokenizers.Tokenizer
        return list(tokenizer.encode_batch(list(texts)))
    if hasattr(tokenizer, "backend_tokenizer"):  # transformers
        pads = getattr(tokenizer, "pad_token", None) is not None  # without one it refuses to pad
        return list(tokenizer(list(texts), padding=pads).encodings)
    if not callable(tokenizer):
        raise OptionError(
            Argument("tokenizer", example=str(type(tokenizer).__name__)),
            " is not a tokenizer: give a tokenizers.Tokenizer, a fast tokenizer of transformers, or a function of one text.",
        )
    each = [(t,) if isinstance(t, str) else t for t in texts]
    try:
        signature(tokenizer).bind(*each[0])
    except TypeError:
        raise OptionError(
            f"the tokenizer is a function and cannot be called with {len(each[0])} texts: it must take one text, or the two of a pair."
        ) from None
    except ValueError:  # some functions have no signature
        pass
    rows = [tokenizer(*t) for t in each]
    for r in rows:
        if len(_read_field(r, "ids")) != len(_read_field(r, "tokens")):
            raise OptionError("the tokenizer returns different numbers of ids and tokens.")
    return rows


def _read_field(row: Any, name: str, default: Any = _NO_VALUE) -> Any:
    found = row.get(name, _NO_VALUE) if isinstance(row, Mapping) else getattr(row, name, _NO_VALUE)
    if found is _NO_VALUE or found is None:
        if default is _NO_VALUE:
            raise OptionError(
                f"the tokenizer's result has no {name!r}; it must be a dict or object with 'ids' and 'tokens', and if it can 'word_ids' and 'offsets'."
            )
        return default
    return found


def _text_length(mask: Any, text: TextOrPair) -> int:
    """Length of a text without padding on the right."""
    there = np.flatnonzero(np.asarray(mask))
    if not len(there):
        raise InputError(f"the text {text if isinstance(text, tuple) else text[:40]!r} has no tokens; leave it out.")
    return int(there[-1]) + 1


def _id_lookup(tokenizer: Any) -> Callable[[str], int | None]:
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    ask = getattr(inner, "token_to_id", None)
    return ask if callable(ask) else lambda _token: None


def _padding_id(tokenizer: Any) -> int:
    """Id of the tokenizer's own padding token; some networks find the last token by it."""
    own = getattr(tokenizer, "pad_token_id", None)  # transformers
    told = getattr(tokenizer, "padding", None)  # tokenizers
    if own is None and isinstance(told, Mapping):
        own = told.get("pad_id")
    if own is not None:
        return int(own)
    lookup = _id_lookup(tokenizer)
    return next((p for n in ABSENT_TOKENS[2:] if (p := lookup(n)) is not None), 0)


def group_into_words(texts: TokenizedTexts) -> tuple[WholeNumbers, list[list[str]]]:
    """The word index of each token in its row, and the words; special tokens are words of their own, padding is -1."""
    assert texts.word_of is not None  # noqa: S101  # asked by the caller
    position_of, names = np.full_like(texts.token_ids, -1), []
    of = np.zeros_like(texts.token_ids) if texts.sequence_of is None else texts.sequence_of
    for row in range(len(texts.texts)):
        groups: list[list[int]] = []
        before = None
        for place in np.flatnonzero(texts.attention_mask[row]).tolist():
            word = int(of[row, place]), int(texts.word_of[row, place])
            if word[1] < 0 or word != before:
                groups.append([])
            groups[-1].append(place)
            before = word
            position_of[row, place] = len(groups) - 1
        names.append([_word_text(texts, row, int(of[row, group[0]]), group) for group in groups])
    return position_of, names


def _word_text(texts: TokenizedTexts, row: int, of: int, group: list[int]) -> str:
    """The piece of text that a group of tokens covers; `of`: which text of a pair they are from."""
    if texts.offsets is not None and of >= 0 and not texts.is_special[row, group].any():
        held = texts.texts[row]
        text = held if isinstance(held, str) else held[of]
        piece = text[int(texts.offsets[row, group[0], 0]) : int(texts.offsets[row, group[-1], 1])].strip()
        if piece:
            return piece
    return "".join(strip_word_marks(str(t)) for t in texts.token_names[row, group])


def strip_word_marks(token: str) -> str:
    """A token without the marks for the beginning or the continuation of a word."""
    for mark in _WORD_MARKS:
        token = token.removeprefix(mark)
    return token
