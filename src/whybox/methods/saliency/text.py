"""Texts and pairs of texts: from words to token ids, and from maps of tokens back to words; the token that replaces absent ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation, as_labels
from whybox.models.differentiable import Differentiable

__all__ = [
    "TextOrPair",
    "TokenizedTexts",
    "group_into_words",
    "is_text",
    "label_texts",
    "nan_where_absent",
    "prepare_texts",
    "read_texts",
    "replace_tokens",
    "resolve_absent_token",
    "strip_word_marks",
    "sum_over_positions",
]

WholeNumbers = npt.NDArray[np.int64]
TextOrPair = str | tuple[str, str]
_INPUT_NAMES: Final = ("input_ids", "attention_mask", "token_type_ids")
_ABSENT_TOKENS: Final = ("[MASK]", "<mask>", "[PAD]", "<pad>", "<|padding|>")
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


def prepare_texts(
    net: Differentiable, inputs: Any, tokenizer: Any, background: Any
) -> tuple[Differentiable, TokenizedTexts, tuple[WholeNumbers, ...], Any, tuple[str, ...]]:
    """Return the network, the texts, the network's inputs, the background (in the same form if it is texts), and notes.

    Raises:
        InputError, OptionError: texts without a tokenizer, or the other way round; see :func:`read` and :func:`bind_text_inputs`.
    """
    if not is_text(inputs):
        if tokenizer is None:
            raise InputError(
                Argument("background", example=""), " holds texts and the rows do not; give both in the same form."
            )
        raise OptionError(
            Argument("tokenizer", example=""),
            " needs texts: pass a text, a list of texts, or a list of pairs: [('question', 'context'), ...].",
        )
    if tokenizer is None:
        raise InputError("these are texts: give ", Argument("tokenizer", example="..."), ", or pass token ids.")
    texts = read_texts(tokenizer, inputs)
    net, names, notes = bind_text_inputs(net, texts)
    if is_text(background):
        absent = read_background(texts, tokenizer, background)
        background, notes = network_arrays(absent, names), (*notes, *absent.notes)
    return net, texts, network_arrays(texts, names), background, notes


def _as_list(inputs: Any) -> Any:
    """A column of a frame, or an array, as a list."""
    kind = getattr(getattr(inputs, "dtype", None), "kind", None)
    return inputs.tolist() if kind in ("O", "U", "T") and getattr(inputs, "ndim", 0) == 1 else inputs


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
        *_ABSENT_TOKENS[:2],
        getattr(tokenizer, "pad_token", None),
        *_ABSENT_TOKENS[2:],
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
        uses_token_types=_INPUT_NAMES[2] in getattr(tokenizer, "model_input_names", _INPUT_NAMES),
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
    return next((p for n in _ABSENT_TOKENS[2:] if (p := lookup(n)) is not None), 0)


def bind_text_inputs(
    net: Differentiable, texts: TokenizedTexts
) -> tuple[Differentiable, tuple[str, ...], tuple[str, ...]]:
    """Return the network, which of input_ids, attention_mask and token_type_ids it is given (see :func:`network_arrays`), and notes.

    They are passed under these names as far as the network takes them. If it has names of its own, token ids are the first input, the mask is the input with
    "mask" in its name, and the segments the one with "type" or "segment" in it; if no name says so, the mask is the second input, if one is required.
    Segments are left out if they carry no information and are not required.

    Raises:
        InputError: texts of different length for a network that takes no mask.
    """
    takes, needed = net.accepted_inputs(), net.accepted_inputs(required=True)
    plain = [t for t in takes if t != "**"]
    informative = texts.are_pairs and texts.uses_token_types and bool(texts.token_type_ids.any())
    notes = []
    if "input_ids" in takes or takes == ("**",):
        names = {
            n: n
            for n in _INPUT_NAMES
            if n in takes or ("**" in takes and n != _INPUT_NAMES[2]) or (informative and "**" in takes)
        }
    else:
        masks = [t for t in plain[1:] if "mask" in t.lower()]
        segments = [t for t in plain[1:] if "type" in t.lower() or "segment" in t.lower()]
        names = {n: t[0] for n, t in zip(_INPUT_NAMES, (plain, masks, segments), strict=True) if t}
    if not informative and names.get(_INPUT_NAMES[2]) not in needed:  # GPT-2 would read zeros as words
        names.pop(_INPUT_NAMES[2], None)
    if "input_ids" in names.values() or len(names) > 1:
        net = net.with_input_names(tuple(names.values()))
    elif len(needed) > 1:
        names[_INPUT_NAMES[1]] = needed[1]
        notes.append(f"the attention mask is passed as the network's second input, {needed[1]!r}")
    if _INPUT_NAMES[1] not in names and (texts.attention_mask == 0).any():
        raise InputError(
            "the texts have different lengths and the network takes no attention_mask, so it would read the padding; explain them one at a time."
        )
    if informative and _INPUT_NAMES[2] not in names:
        notes.append("the network takes no token_type_ids: only special tokens show it where the second text begins")
    return net, tuple(names) or _INPUT_NAMES[:1], tuple(notes)


def network_arrays(texts: TokenizedTexts, names: tuple[str, ...]) -> tuple[WholeNumbers, ...]:
    """A network's inputs under these names, (texts, tokens) each."""
    given = dict(zip(_INPUT_NAMES, (texts.token_ids, texts.attention_mask, texts.token_type_ids), strict=True))
    return tuple(given[n] for n in names)


def read_background(texts: TokenizedTexts, tokenizer: Any, background: Any) -> TokenizedTexts:
    """Background texts, read like the rows and padded or cut to their length; the row's own mask decides what is visible.

    Raises:
        InputError: single texts as background of pairs, or the other way round; see :func:`read_texts`.
    """
    found = read_texts(tokenizer, background)
    if found.are_pairs != texts.are_pairs:
        kinds = ["pairs" if t.are_pairs else "single texts" for t in (found, texts)]
        raise InputError(f"the background holds {kinds[0]} and the rows are {kinds[1]}; give both in the same form.")
    width = texts.token_ids.shape[1]
    long = int(found.attention_mask[:, width:].any(axis=1).sum())

    def fit_width(a: WholeNumbers, fill: int) -> WholeNumbers:
        return np.pad(a[:, :width], ((0, 0), (0, max(0, width - a.shape[1]))), constant_values=fill)

    note = f"baseline: {len(found.texts)} background texts, position by position; the masks are the rows' own"
    if long:
        note += f"; {long} of them are longer than the longest row and were cut"
    ids, types, mask = (
        fit_width(found.token_ids, found.pad_id),
        fit_width(found.token_type_ids, 0),
        fit_width(found.attention_mask, 0),
    )
    return replace(found, token_ids=ids, token_type_ids=types, attention_mask=mask, notes=(*found.notes, note))


def resolve_absent_token(token: Any, texts: TokenizedTexts | None) -> tuple[int, str] | None:
    """Id and name of the token that replaces absent ones.

    Raises:
        OptionError: there is no such token, or it is a name without a tokenizer.
    """
    if token is None:
        return None if texts is None else texts.absent_token
    if isinstance(token, (int, np.integer)) and not isinstance(token, bool) and token >= 0:
        return int(token), f"token {int(token)}"
    if isinstance(token, str) and texts is not None and (found := texts.lookup_id(token)) is not None:
        return found, token
    known = [n for n in _ABSENT_TOKENS if texts is not None and texts.lookup_id(n) is not None]
    raise OptionError(
        Argument("baseline_token", token),
        " is not a token of the tokenizer, and not an id.",
        known=known,
    )


def replace_tokens(ids: WholeNumbers, token: int, texts: TokenizedTexts | None) -> WholeNumbers:
    """Replace every token of the text; special tokens and padding stay."""
    return np.full_like(ids, token) if texts is None else np.where(texts.is_special, ids, token)


def label_texts(e: Explanation, texts: TokenizedTexts, *, words: bool) -> Explanation:
    """Put tokens, or words, on an explanation of (row, token, ...).

    Raises:
        OptionError: words are asked for and the tokenizer does not give them.
    """
    there = texts.attention_mask > 0
    extras = {name: of for name, of in e.extras.items() if not words or "token" not in of[0]}
    if texts.are_pairs:
        extras |= {n: (("row",), np.array([t[k] for t in texts.texts])) for k, n in enumerate(("text", "text_pair"))}
    else:
        extras["text"] = (("row",), np.array(texts.texts))
    evidence = replace(e.evidence, notes=(*e.evidence.notes, *texts.notes))
    if not words:
        coords = dict(e.coords)
        if len(texts.texts) == 1:
            coords["token"] = as_labels(texts.token_names[0].tolist())
        extras["token"] = (("row", "token"), texts.token_names.copy())
        if texts.sequence_of is not None:
            extras["sequence"] = (("row", "token"), texts.sequence_of.copy())
        error = None if e.std_error is None else nan_where_absent(e.std_error, there)
        return replace(
            e,
            values=nan_where_absent(e.values, there),
            std_error=error,
            coords=coords,
            extras=extras,
            evidence=evidence,
        )
    if texts.word_of is None:
        raise OptionError(
            Argument("words", True),
            " needs a tokenizer that says which word a token belongs to (word_ids); leave ",
            Argument("words"),
            " out for a map of tokens.",
        )
    if texts.are_pairs and texts.sequence_of is None:
        raise OptionError(
            Argument("words", True), " for pairs needs a tokenizer that says which text a token is from (sequence_ids)."
        )
    position_of, names = group_into_words(texts)
    count = max(map(len, names))
    full = np.array([[*n, *[""] * (count - len(n))] for n in names])
    error = None if e.std_error is None else sum_over_positions(e.std_error, position_of, count)
    if error is not None:
        note = "the standard error of a word of several tokens is the sum of theirs, an upper bound"
        evidence = replace(evidence, notes=(*evidence.notes, note))
    coords = {("word" if d == "token" else d): of for d, of in e.coords.items()}
    coords["word"] = as_labels(names[0] if len(names) == 1 else list(range(count)))
    extras["word"] = (("row", "word"), full)
    if texts.sequence_of is not None:
        of = np.full(full.shape, -1)
        rows, offsets = np.nonzero(position_of >= 0)
        of[rows, position_of[rows, offsets]] = texts.sequence_of[rows, offsets]
        extras["sequence"] = (("row", "word"), of)
    dims = tuple("word" if d == "token" else d for d in e.dims)
    return replace(
        e,
        values=sum_over_positions(e.values, position_of, count),
        std_error=error,
        dims=dims,
        coords=coords,
        extras=extras,
        evidence=evidence,
    )


def nan_where_absent(a: npt.NDArray[Any], there: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Values (rows, positions, ...), NaN where `there` (rows, positions) is False because a text is shorter."""
    return np.where(there.reshape(*there.shape, *(1,) * (a.ndim - 2)), a, np.nan)


def sum_over_positions(a: npt.NDArray[Any], position_of: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Values of tokens (rows, tokens, ...) summed over `count` positions, NaN where no token is; `position_of`: (rows, tokens), -1 for none."""
    out, there = np.zeros((len(a), count, *a.shape[2:])), np.zeros((len(a), count), dtype=bool)
    rows, tokens = np.nonzero(position_of >= 0)
    at = rows, position_of[rows, tokens]
    np.add.at(out, at, a[rows, tokens])
    there[at] = True
    return nan_where_absent(out, there)


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
