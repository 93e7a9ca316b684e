"""Maps of tokens and words: reading texts again, the map position of each token, masks that hide tokens from the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.checks.supplied import SuppliedParts
from whybox.data.table import Floats
from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.words.tokenized import TokenizedTexts, group_into_words, is_text, strip_word_marks
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.gradients import Gradient
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.prepare_inputs import PreparedInputs, apply_embedding, prepare_inputs
from whybox.methods.saliency.problem import Indices
from whybox.methods.saliency.recipe import (
    Recipe,
    check_same_network,
    input_digest,
    only_digest,
    plain_options,
    rebuild_method,
)
from whybox.methods.saliency.text import resolve_absent_token, sum_over_positions
from whybox.models.differentiable import Differentiable

__all__ = ["TokenInputs", "is_token_map", "resolve_tokens"]

BoolArray = npt.NDArray[np.bool_]
NO_CHANGE_TOLERANCE: Final = 1e-4  # of the outputs' size: a hidden token changes the last digits only


@final
@dataclass(frozen=True)
class TokenInputs:
    """Texts or token ids that a map was made from.

    Attributes:
        net: the whole network. inputs: all its inputs, token ids first. reading_options: embedding, words and baseline token of the map.
        texts: as they were read; None if token ids were given. absent_token: id and name of the baseline token; None if none is known.
        position_of: (rows, tokens), the map position of each token, -1 for padding. n_positions: number of map positions.
        mask_input: index of the input that hides tokens from the network, None for none.
        background: background rows before the embedding, None for none.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    reading_options: ReadingOptions
    texts: TokenizedTexts | None
    absent_token: tuple[int, str] | None
    position_of: Indices
    n_positions: int
    mask_input: int | None = None
    background: Any = None

    @property
    def token_ids(self) -> npt.NDArray[Any]:
        """Token ids, (rows, tokens)."""
        return self.inputs[0].x

    @property
    def embedding(self) -> str | None:
        """Path of the layer that derivatives begin at, None for none."""
        return self.reading_options.embedding

    @property
    def words(self) -> bool:
        """True if tokens are summed to words."""
        return self.reading_options.words

    @property
    def is_removable(self) -> BoolArray:
        """Tokens that may be removed, (rows, tokens): neither special ones nor padding."""
        there = self.position_of >= 0
        return there if self.texts is None else there & ~self.texts.is_special

    def positions_with(self, tokens: BoolArray, rows: Indices) -> BoolArray:
        """Map positions that hold one of these tokens, (rows, positions)."""
        out = np.zeros((len(rows), self.n_positions), dtype=bool)
        row, at = np.nonzero(tokens[rows] & (self.position_of[rows] >= 0))
        out[row, self.position_of[rows][row, at]] = True
        return out

    def sum_over_positions(self, values: npt.NDArray[Any], rows: Indices) -> Floats:
        """Values of tokens (rows, tokens, ...) summed over map positions, NaN where a text is shorter."""
        return sum_over_positions(values, self.position_of[rows], self.n_positions)

    def prepare_for(
        self, method: Method, net: Differentiable | None = None, rows: Indices | None = None
    ) -> PreparedInputs:
        """The inputs as wb.saliency prepares them, for these rows, perhaps for another network."""
        at = np.arange(len(self.token_ids)) if rows is None else rows
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
            self.reading_options,
        )

    def letter_counts(self, rows: Indices) -> Floats | None:
        """Number of letters at each map position, (rows, positions); None if the tokens' names are not known."""
        if self.texts is None:
            return None
        letters = np.array(
            [[len(strip_word_marks(str(t))) for t in row] for row in self.texts.token_names[rows]], dtype=float
        )
        return self.sum_over_positions(letters, rows)

    def nearness_to_start(self, rows: Indices) -> Floats:
        """How near the beginning of the text each map position is, (rows, positions)."""
        return np.broadcast_to(-np.arange(self.n_positions, dtype=float), (len(rows), self.n_positions))

    def embedding_norms(self, rows: Indices) -> Floats | None:
        """Length of the embedding's vectors, (rows, positions); None without an embedding."""
        if self.embedding is None:
            return None
        out = self.prepare_for(Gradient(), rows=rows).inputs[0].x.astype(np.float64)
        return self.sum_over_positions(np.sqrt((out * out).sum(axis=-1)), rows)

    def trivial_maps(self, rows: Indices) -> dict[str, Floats]:
        """Maps that know nothing of the network but perhaps its embedding, (rows, positions) each."""
        found = {
            "the position in the text": self.nearness_to_start(rows),
            "the length in letters": self.letter_counts(rows),
            "the size of the embedding's vector": self.embedding_norms(rows),
        }
        return {name: a for name, a in found.items() if a is not None}


def is_token_map(e: Explanation) -> bool:
    """True for a map of tokens or words."""
    return bool({"token", "word"} & set(e.dims))


def resolve_tokens(
    e: Explanation, recipe: Recipe, net: Differentiable, inputs: Any, supplied: SuppliedParts, rows: Indices
) -> tuple[TokenInputs, Method]:
    """Read texts or token ids again, and compare them and the method with the explanation.

    Raises:
        OptionError: something the explanation does not keep was not given. InputError: it was made from something else.
    """
    given, background = supplied.reading_options, supplied.background
    _check_given_again(e, recipe, inputs, given)
    words = "word" in e.dims
    baseline_token = recipe.baseline_token if given.baseline_token is None else given.baseline_token
    plain = prepare_inputs(
        net,
        inputs,
        Gradient(),
        ReadingOptions(channel_axis=None, tokenizer=given.tokenizer, words=words),
        background=background,
    )
    ids = replace(plain.inputs[0], dims=("row", "token"))
    if not ids.without_gradient:
        raise InputError(f"the explanation is of tokens: pass texts or token ids, not {ids.x.dtype}.")
    whole_inputs = (ids, *(replace(i, is_held=True) for i in plain.inputs[1:]))
    absent_token = resolve_absent_token(baseline_token, plain.texts)
    tokens = TokenInputs(
        plain.net,
        whole_inputs,
        ReadingOptions(embedding=recipe.embedding, words=words, baseline_token=baseline_token),
        plain.texts,
        absent_token,
        np.zeros(0, dtype=np.intp),
        e.shape[1],
        background=plain.background,
    )
    reusable = recipe if absent_token is None and background is None else _without_baseline(recipe)
    method = rebuild_method(reusable, supplied.method, supplied.options)
    prepared = tokens.prepare_for(method, plain.net if recipe.dtype is None else plain.net.with_dtype(recipe.dtype))
    _check_fingerprints(e, prepared, from_texts=given.tokenizer is not None)
    _check_baseline(recipe, prepared)
    fingerprints = (
        None if prepared.background is None else input_digest(resolve_inputs(prepared.net, prepared.background, None))
    )
    if fingerprints != recipe.background:
        raise (InputError if background is not None else OptionError)(
            "the explanation was made with another background, or with none (its SHA-256 differs), and does not keep it; pass background= as it was."
        )
    mask = _find_mask(tokens, rows)
    tokens = replace(tokens, position_of=_position_of(tokens, mask), mask_input=mask)
    if int(tokens.position_of.max(initial=-1)) >= e.shape[1]:
        raise InputError("the explanation has fewer positions than the texts have tokens or words; pass it whole.")
    return tokens, method


def _check_given_again(e: Explanation, recipe: Recipe, inputs: Any, given: ReadingOptions) -> None:
    """Compare what is passed again with what the explanation keeps.

    Raises:
        InputError: these differ. OptionError: there is no tokenizer for texts.
    """
    if given.embedding is not None and given.embedding != recipe.embedding:
        raise InputError(
            Argument("embedding", given.embedding),
            f" is not the one that the explanation was made with: {recipe.embedding!r}.",
        )
    if "text" not in e.extras:
        return
    if given.tokenizer is None:
        raise OptionError(
            "the explanation is of texts and does not keep the tokenizer; pass the same one: ",
            Argument("tokenizer", example=""),
            ".",
        )
    if not is_text(inputs):
        raise InputError("the explanation is of texts; pass all of them as they were, not token ids.")
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    stored: list[Any] = list(map(str, e.extras["text"][1]))
    if "text_pair" in e.extras:
        stored = list(zip(stored, map(str, e.extras["text_pair"][1]), strict=True))
    if len(texts) == len(stored) and texts != stored:
        other = next(k for k, (a, b) in enumerate(zip(texts, stored, strict=True)) if a != b)
        raise InputError(
            f"text {other} is {str(texts[other])[:60]!r}, and the explanation was made from {str(stored[other])[:60]!r}."
        )


def _check_fingerprints(e: Explanation, prepared: PreparedInputs, *, from_texts: bool) -> None:
    fingerprints = e.evidence.fingerprints
    check_same_network(fingerprints, prepared.net)
    if fingerprints.get("rows") != input_digest(prepared.inputs):
        what = "texts, or with another tokenizer" if from_texts else "token ids (or inputs beside them)"
        raise InputError(
            f"the explanation was made from other {what}: their SHA-256 differs. Pass all that was explained, as it was, in the same type."
        )


def _without_baseline(recipe: Recipe) -> Recipe:
    """The recipe without a baseline array of token ids, which is made again."""
    if not only_digest(recipe.options.get("baseline")):
        return recipe
    return replace(recipe, options={**recipe.options, "baseline": None})


def _check_baseline(recipe: Recipe, prepared: PreparedInputs) -> None:
    stored = recipe.options.get("baseline")
    if not only_digest(stored):
        return
    if plain_options(prepared.method)["baseline"] != stored:
        raise InputError(
            "the baseline of tokens is not the one that the explanation was made with (its SHA-256 differs); pass ",
            Argument("baseline_token", example=""),
            ", or ",
            Argument("background", example=""),
            ", as it was.",
        )


def _cut_texts(texts: TokenizedTexts, rows: Indices) -> TokenizedTexts:
    """Some of the texts, padded as all of them."""
    arrays: dict[str, Any] = {
        f.name: a[rows] for f in fields(texts) if isinstance(a := getattr(texts, f.name), np.ndarray)
    }
    return replace(texts, texts=tuple(texts.texts[r] for r in rows), **arrays)


def _position_of(tokens: TokenInputs, mask: int | None) -> Indices:
    """The map position of each token, -1 for padding."""
    if tokens.texts is None:
        there = np.ones(tokens.token_ids.shape, dtype=bool) if mask is None else tokens.inputs[mask].x != 0
    else:
        there = tokens.texts.attention_mask > 0
    place = (
        group_into_words(tokens.texts)[0]
        if tokens.words and tokens.texts is not None
        else np.broadcast_to(np.arange(tokens.token_ids.shape[1]), tokens.token_ids.shape)
    )
    return np.where(there, place, -1).astype(np.intp)


def _find_mask(tokens: TokenInputs, rows: Indices) -> int | None:
    """Index of the input that hides tokens. It is found by evaluation, not by name: another token at a hidden position must change nothing."""
    ids = tokens.token_ids[rows]
    token_ids = np.unique(ids)
    if len(token_ids) < 2:
        return None
    other = token_ids[(np.searchsorted(token_ids, ids) + 1) % len(token_ids)].astype(ids.dtype)
    draws = np.random.default_rng(0).random(ids.shape)
    for input_index, whole_inputs in enumerate(tokens.inputs[1:], start=1):
        m = whole_inputs.x[rows]
        if m.shape != ids.shape or not np.isin(m, (0, 1)).all() or not (m == 1).any(axis=1).all():
            continue
        visible = m == 1
        kept_token = np.where(visible, draws, 2.0).argmin(axis=1)  # one stays in every row
        reduced_mask = np.where(draws < 0.5, 0, m).astype(m.dtype)
        reduced_mask[np.arange(len(m)), kept_token] = 1
        if ((reduced_mask == 0) & visible).sum() == 0:
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
    tokens: TokenInputs, rows: Indices, input_index: int, ids: npt.NDArray[Any], mask: npt.NDArray[Any]
) -> Floats:
    net, parts = tokens.net, []
    for start in range(0, len(rows), net.max_batch_size):
        some = slice(start, start + net.max_batch_size)
        xs: Sequence[npt.NDArray[Any]] = [i.x[rows[some]] for i in tokens.inputs]
        xs = [ids[some], *(mask[some] if k == input_index else x for k, x in enumerate(xs) if k)]
        parts.append(net.numpy(net.forward(tuple(net.array(np.ascontiguousarray(x)) for x in xs))))
    return np.asarray(np.concatenate(parts), dtype=np.float64)
