"""Maps of tokens and words: what is read again, where each token stands on the map, what hides a token from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.gradients import Gradient
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.prepare_inputs import PreparedInputs, apply_embedding, prepare_inputs
from whybox.methods.saliency.problem import Indices
from whybox.methods.saliency.recipe import check_same_network, input_digest, only_digest, plain_options, rebuild_method
from whybox.methods.saliency.text import (
    Texts,
    group_into_words,
    is_text,
    resolve_absent_token,
    strip_word_marks,
    sum_over_positions,
)
from whybox.models.differentiable import Differentiable

__all__ = ["Tokens", "is_token_map", "resolve_tokens"]

Bools = npt.NDArray[np.bool_]
NO_CHANGE_TOLERANCE: Final = 1e-4  # of the answers' size: a token that is hidden changes nothing but the last digits


@final
@dataclass(frozen=True)
class Tokens:
    """What maps of tokens are made from.

    Attributes:
        net: the whole network. inputs: all that goes into it, numbers of tokens first. embedding: the layer that derivatives begin at, None for none.
        texts: as they were read, None where numbers of tokens were given. words: whether tokens are summed to words.
        said: baseline_token, as the user says it. absent: number and name of the token that stands for absent ones, None where none is known.
        which: (rows, tokens), the place of the map on which a token stands, -1 for what fills texts up. places: how many the map has.
        mask: which of the inputs hides tokens from the network, None for none.
        background: rows that stand for absent, before the embedding; None: there are none.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    embedding: str | None
    texts: Texts | None
    words: bool
    baseline_token_given: Any
    absent_token: tuple[int, str] | None
    position_of: Indices
    positions: int
    mask: int | None = None
    background: Any = None

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Numbers of tokens, (rows, tokens)."""
        return self.inputs[0].x

    @property
    def removable(self) -> Bools:
        """Tokens that may be taken away, (rows, tokens): neither special ones nor what fills texts up."""
        there = self.position_of >= 0
        return there if self.texts is None else there & ~self.texts.special

    def positions_with(self, tokens: Bools, rows: Indices) -> Bools:
        """Places of the map on which one of these tokens stands, (rows, places)."""
        out = np.zeros((len(rows), self.positions), dtype=bool)
        row, at = np.nonzero(tokens[rows] & (self.position_of[rows] >= 0))
        out[row, self.position_of[rows][row, at]] = True
        return out

    def sum_over_positions(self, values: npt.NDArray[Any], rows: Indices) -> Floats:
        """Numbers of tokens (rows, tokens, ...) added up on the places of the map, NaN where a text is shorter."""
        return sum_over_positions(values, self.position_of[rows], self.positions)

    def prepared(
        self, method: Method, net: Differentiable | None = None, rows: Indices | None = None
    ) -> PreparedInputs:
        """What goes in, as wb.saliency fed it, for these rows, perhaps into another network."""
        at = np.arange(len(self.ids)) if rows is None else rows
        return apply_embedding(
            PreparedInputs(
                self.net if net is None else net,
                tuple(replace(i, x=i.x[at]) for i in self.inputs),
                method,
                False,
                None if self.texts is None else _cut_texts(self.texts, at),
                self.words,
                background=self.background,
            ),
            self.embedding,
            self.baseline_token_given,
        )

    def letter_counts(self, rows: Indices) -> Floats | None:
        """Letters on each place of the map, (rows, places); None where the tokens' names are not known."""
        if self.texts is None:
            return None
        letters = np.array(
            [[len(strip_word_marks(str(t))) for t in row] for row in self.texts.tokens[rows]], dtype=float
        )
        return self.sum_over_positions(letters, rows)

    def nearness_to_start(self, rows: Indices) -> Floats:
        """How near the beginning each place is, (rows, places)."""
        return np.broadcast_to(-np.arange(self.positions, dtype=float), (len(rows), self.positions))

    def embedding_norms(self, rows: Indices) -> Floats | None:
        """Length of the vectors that the embedding gives, (rows, places); None without an embedding."""
        if self.embedding is None:
            return None
        out = self.prepared(Gradient(), rows=rows).inputs[0].x.astype(np.float64)
        return self.sum_over_positions(np.sqrt((out * out).sum(axis=-1)), rows)

    def trivial_maps(self, rows: Indices) -> dict[str, Floats]:
        """Maps that know nothing of the network, or of its embedding alone, (rows, places) each."""
        found = {
            "the place in the text": self.nearness_to_start(rows),
            "the length in letters": self.letter_counts(rows),
            "the size of the embedding's vector": self.embedding_norms(rows),
        }
        return {name: a for name, a in found.items() if a is not None}


def is_token_map(e: Explanation) -> bool:
    """Whether this is a map of tokens or words."""
    return bool({"token", "word"} & set(e.dims))


def resolve_tokens(  # noqa: PLR0913  # what an auditor brings
    e: Explanation,
    net: Differentiable,
    inputs: Any,
    *,
    method: Any,
    options: Mapping[str, Any] | None,
    embedding: str | None,
    tokenizer: Any,
    baseline_token: Any,
    background: Any,
    rows: Indices,
) -> tuple[Tokens, Method]:
    """Read texts, or numbers of tokens, again, and hold them and the method against what the explanation says.

    Raises:
        OptionError: something the explanation does not keep was not given. InputError: it was made from something else.
    """
    settings = e.evidence.settings
    _check_given_again(e, inputs, embedding, tokenizer)
    layer = settings.get("embedding")
    baseline_token_given = settings.get("baseline_token") if baseline_token is None else baseline_token
    plain = prepare_inputs(
        net, inputs, Gradient(), channel_axis=None, tokenizer=tokenizer, words="word" in e.dims, background=background
    )
    ids = replace(plain.inputs[0], dims=("row", "token"))
    if not ids.whole:
        raise InputError(f"the explanation is of tokens: pass texts, or numbers of tokens, not {ids.x.dtype}.")
    whole_inputs = (ids, *(replace(i, held=True) for i in plain.inputs[1:]))
    absent_token = resolve_absent_token(baseline_token_given, plain.texts)
    tokens = Tokens(
        plain.net,
        whole_inputs,
        layer,
        plain.texts,
        plain.words,
        baseline_token_given,
        absent_token,
        np.zeros(0, dtype=np.intp),
        e.shape[1],
        background=plain.background,
    )
    used_settings = settings if absent_token is None and background is None else _without_baseline(settings)
    rebuilt = rebuild_method(used_settings, method, options)
    dtype = settings.get("dtype")
    prepared = tokens.prepared(rebuilt, plain.net if dtype is None else plain.net.with_dtype(dtype))
    _check_fingerprints(e, prepared, tokenizer)
    _check_baseline(settings, prepared)
    fingerprints = (
        None if prepared.background is None else input_digest(resolve_inputs(prepared.net, prepared.background, None))
    )
    if fingerprints != settings["background"]:
        raise (InputError if background is not None else OptionError)(
            "what stands behind the explanation is another background, or none (by its SHA-256), and it does not keep it; pass background= as it was."
        )
    mask = _find_mask(tokens, rows)
    tokens = replace(tokens, position_of=_position_of(tokens, mask), mask=mask)
    if int(tokens.position_of.max(initial=-1)) >= e.shape[1]:
        raise InputError("the explanation has fewer places than the texts have tokens or words; pass it whole.")
    return tokens, rebuilt


def _check_given_again(e: Explanation, inputs: Any, embedding: str | None, tokenizer: Any) -> None:
    """What is passed again suits what the explanation says of itself."""
    kept = e.evidence.settings.get("embedding")
    if embedding is not None and embedding != kept:
        raise InputError(f"embedding={embedding!r} is not what the explanation was made with: {kept!r}.")
    if "text" not in e.extras:
        return
    if tokenizer is None:
        raise OptionError("the explanation is of texts and does not keep how they are read; pass tokenizer=, the same.")
    if not is_text(inputs):
        raise InputError("the explanation is of texts; pass all of them as they were, not numbers of tokens.")
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    stored: list[Any] = list(map(str, e.extras["text"][1]))
    if "text_pair" in e.extras:
        stored = list(zip(stored, map(str, e.extras["text_pair"][1]), strict=True))
    if len(texts) == len(stored) and texts != stored:
        other = next(k for k, (a, b) in enumerate(zip(texts, stored, strict=True)) if a != b)
        raise InputError(
            f"text {other} is {str(texts[other])[:60]!r}, and the explanation was made from {str(stored[other])[:60]!r}."
        )


def _check_fingerprints(e: Explanation, prepared: PreparedInputs, tokenizer: Any) -> None:
    fingerprints = e.evidence.fingerprints
    check_same_network(fingerprints, prepared.net)
    if fingerprints.get("rows") != input_digest(prepared.inputs):
        what = (
            "texts, or by another tokenizer"
            if tokenizer is not None
            else "numbers of tokens (or of what goes with them)"
        )
        raise InputError(
            f"the explanation was made from other {what}: their SHA-256 differs. Pass all that was explained, as it was, in the same type."
        )


def _without_baseline(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings less the array that stood for absent tokens, which is made again."""
    kept = dict(settings["options"])
    if only_digest(kept.get("baseline")):
        kept["baseline"] = None
    return {**settings, "options": kept}


def _check_baseline(settings: Mapping[str, Any], prepared: PreparedInputs) -> None:
    stored = settings["options"].get("baseline")
    if not only_digest(stored):
        return
    if plain_options(prepared.method)["baseline"] != stored:
        raise InputError(
            "what stands for absent tokens is not what the explanation was made with (its SHA-256 differs); pass baseline_token=, or background=, as it was."
        )


def _cut_texts(texts: Texts, rows: Indices) -> Texts:
    """Some of the texts, as wide as all."""
    arrays: dict[str, Any] = {
        f.name: a[rows] for f in fields(texts) if isinstance(a := getattr(texts, f.name), np.ndarray)
    }
    return replace(texts, texts=tuple(texts.texts[r] for r in rows), **arrays)


def _position_of(tokens: Tokens, mask: int | None) -> Indices:
    """The place of the map on which each token stands, -1 for what fills texts up."""
    if tokens.texts is None:
        there = np.ones(tokens.ids.shape, dtype=bool) if mask is None else tokens.inputs[mask].x != 0
    else:
        there = tokens.texts.mask > 0
    place = (
        group_into_words(tokens.texts)[0]
        if tokens.words and tokens.texts is not None
        else np.broadcast_to(np.arange(tokens.ids.shape[1]), tokens.ids.shape)
    )
    return np.where(there, place, -1).astype(np.intp)


def _find_mask(tokens: Tokens, rows: Indices) -> int | None:
    """Which input hides tokens. It is asked for, not guessed by its name: what another token says at a hidden place must change nothing, and elsewhere something."""
    ids = tokens.ids[rows]
    token_ids = np.unique(ids)
    if len(token_ids) < 2:
        return None
    other = token_ids[(np.searchsorted(token_ids, ids) + 1) % len(token_ids)].astype(ids.dtype)
    draws = np.random.default_rng(0).random(ids.shape)
    for input_index, whole_inputs in enumerate(tokens.inputs[1:], start=1):
        m = whole_inputs.x[rows]
        if m.shape != ids.shape or not np.isin(m, (0, 1)).all() or not (m == 1).any(axis=1).all():
            continue
        used_settings = m == 1
        kept_token = np.where(used_settings, draws, 2.0).argmin(axis=1)  # one stays in every row
        reduced_mask = np.where(draws < 0.5, 0, m).astype(m.dtype)
        reduced_mask[np.arange(len(m)), kept_token] = 1
        if ((reduced_mask == 0) & used_settings).sum() == 0:
            reduced_mask = m
        swapped = np.where(reduced_mask == 0, other, ids)
        plain, hidden, swapped_outputs = (
            _masked_outputs(tokens, rows, input_index, a, b)
            for a, b in ((ids, m), (ids, reduced_mask), (swapped, reduced_mask))
        )
        size = float(np.abs(hidden).max(initial=0.0)) + 1e-12
        unchanged = float(np.abs(swapped_outputs - hidden).max(initial=0.0)) <= NO_CHANGE_TOLERANCE * size
        has_effect = (
            bool((reduced_mask == m).all())
            or float(np.abs(hidden - plain).max(initial=0.0)) > NO_CHANGE_TOLERANCE * size
        )
        if np.isfinite(swapped_outputs).all() and unchanged and has_effect and bool((reduced_mask == 0).any()):
            return input_index
    return None


def _masked_outputs(
    tokens: Tokens, rows: Indices, input_index: int, ids: npt.NDArray[Any], mask: npt.NDArray[Any]
) -> Floats:
    net, parts = tokens.net, []
    for start in range(0, len(rows), net.max_batch_size):
        some = slice(start, start + net.max_batch_size)
        xs: Sequence[npt.NDArray[Any]] = [i.x[rows[some]] for i in tokens.inputs]
        xs = [ids[some], *(mask[some] if k == input_index else x for k, x in enumerate(xs) if k)]
        parts.append(net.numpy(net.evaluate(tuple(net.array(np.ascontiguousarray(x)) for x in xs))))
    return np.asarray(np.concatenate(parts), dtype=np.float64)
