"""Texts and pairs of texts: from words to token ids, and from maps of tokens back to words; the token that replaces absent ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation, as_labels
from whybox.methods.common.words.tokenized import (
    ABSENT_TOKENS,
    INPUT_NAMES,
    TokenizedTexts,
    WholeNumbers,
    group_into_words,
    is_text,
    read_texts,
)
from whybox.models.differentiable import Differentiable

__all__ = [
    "label_texts",
    "nan_where_absent",
    "prepare_texts",
    "replace_tokens",
    "resolve_absent_token",
    "sum_over_positions",
]


def prepare_texts(
    net: Differentiable, inputs: Any, tokenizer: Any, background: Any
) -> tuple[Differentiable, TokenizedTexts, tuple[WholeNumbers, ...], Any, tuple[str, ...]]:
    """Return the network, the texts, the network's inputs, the background (in the same form if it is texts), and notes.

    Raises:
        InputError, OptionError: texts without a tokenizer, or the other way round; see :func:`read_texts` and :func:`bind_text_inputs`.
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
            for n in INPUT_NAMES
            if n in takes or ("**" in takes and n != INPUT_NAMES[2]) or (informative and "**" in takes)
        }
    else:
        masks = [t for t in plain[1:] if "mask" in t.lower()]
        segments = [t for t in plain[1:] if "type" in t.lower() or "segment" in t.lower()]
        names = {n: t[0] for n, t in zip(INPUT_NAMES, (plain, masks, segments), strict=True) if t}
    if not informative and names.get(INPUT_NAMES[2]) not in needed:  # GPT-2 would read zeros as words
        names.pop(INPUT_NAMES[2], None)
    if "input_ids" in names.values() or len(names) > 1:
        net = net.with_input_names(tuple(names.values()))
    elif len(needed) > 1:
        names[INPUT_NAMES[1]] = needed[1]
        notes.append(f"the attention mask is passed as the network's second input, {needed[1]!r}")
    if INPUT_NAMES[1] not in names and (texts.attention_mask == 0).any():
        raise InputError(
            "the texts have different lengths and the network takes no attention_mask, so it would read the padding; explain them one at a time."
        )
    if informative and INPUT_NAMES[2] not in names:
        notes.append("the network takes no token_type_ids: only special tokens show it where the second text begins")
    return net, tuple(names) or INPUT_NAMES[:1], tuple(notes)


def network_arrays(texts: TokenizedTexts, names: tuple[str, ...]) -> tuple[WholeNumbers, ...]:
    """A network's inputs under these names, (texts, tokens) each."""
    given = dict(zip(INPUT_NAMES, (texts.token_ids, texts.attention_mask, texts.token_type_ids), strict=True))
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
    known = [n for n in ABSENT_TOKENS if texts is not None and texts.lookup_id(n) is not None]
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
