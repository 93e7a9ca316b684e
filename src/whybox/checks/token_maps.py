"""Maps of tokens and words: what is read again, where each token stands on the map, what hides a token from the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.gradients import Gradient
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.prepare_inputs import PreparedInputs, feed, through
from whybox.methods.saliency.problem import Indices
from whybox.methods.saliency.recipe import digest, options_of, rebuilt, same_network, unkept
from whybox.methods.saliency.text import Texts, absent_token, bare, collected, grouped, is_text
from whybox.models.differentiable import Differentiable

__all__ = ["Tokens", "made_tokens", "of_tokens"]

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
    said: Any
    absent: tuple[int, str] | None
    which: Indices
    places: int
    mask: int | None = None
    background: Any = None

    @property
    def ids(self) -> npt.NDArray[Any]:
        """Numbers of tokens, (rows, tokens)."""
        return self.inputs[0].x

    @property
    def free(self) -> Bools:
        """Tokens that may be taken away, (rows, tokens): neither special ones nor what fills texts up."""
        there = self.which >= 0
        return there if self.texts is None else there & ~self.texts.special

    def on_map(self, tokens: Bools, rows: Indices) -> Bools:
        """Places of the map on which one of these tokens stands, (rows, places)."""
        out = np.zeros((len(rows), self.places), dtype=bool)
        row, at = np.nonzero(tokens[rows] & (self.which[rows] >= 0))
        out[row, self.which[rows][row, at]] = True
        return out

    def collected(self, values: npt.NDArray[Any], rows: Indices) -> Floats:
        """Numbers of tokens (rows, tokens, ...) added up on the places of the map, NaN where a text is shorter."""
        return collected(values, self.which[rows], self.places)

    def fed(self, method: Method, net: Differentiable | None = None, rows: Indices | None = None) -> PreparedInputs:
        """What goes in, as wb.saliency fed it, for these rows, perhaps into another network."""
        at = np.arange(len(self.ids)) if rows is None else rows
        return through(
            PreparedInputs(
                self.net if net is None else net,
                tuple(replace(i, x=i.x[at]) for i in self.inputs),
                method,
                False,
                None if self.texts is None else _cut(self.texts, at),
                self.words,
                background=self.background,
            ),
            self.embedding,
            self.said,
        )

    def lengths(self, rows: Indices) -> Floats | None:
        """Letters on each place of the map, (rows, places); None where the tokens' names are not known."""
        if self.texts is None:
            return None
        letters = np.array([[len(bare(str(t))) for t in row] for row in self.texts.tokens[rows]], dtype=float)
        return self.collected(letters, rows)

    def positions(self, rows: Indices) -> Floats:
        """How near the beginning each place is, (rows, places)."""
        return np.broadcast_to(-np.arange(self.places, dtype=float), (len(rows), self.places))

    def sizes(self, rows: Indices) -> Floats | None:
        """Length of the vectors that the embedding gives, (rows, places); None without an embedding."""
        if self.embedding is None:
            return None
        out = self.fed(Gradient(), rows=rows).inputs[0].x.astype(np.float64)
        return self.collected(np.sqrt((out * out).sum(axis=-1)), rows)

    def trivial(self, rows: Indices) -> dict[str, Floats]:
        """Maps that know nothing of the network, or of its embedding alone, (rows, places) each."""
        found = {
            "the place in the text": self.positions(rows),
            "the length in letters": self.lengths(rows),
            "the size of the embedding's vector": self.sizes(rows),
        }
        return {name: a for name, a in found.items() if a is not None}


def of_tokens(e: Explanation) -> bool:
    """Whether this is a map of tokens or words."""
    return bool({"token", "word"} & set(e.dims))


def made_tokens(  # what an auditor brings
    e: Explanation,
    net: Differentiable,
    inputs: Any,
    *,
    method: Any,
    options: Mapping[str, Any] | None,
    reading: ReadingOptions,
    background: Any,
    rows: Indices,
) -> tuple[Tokens, Method]:
    """Read texts, or numbers of tokens, again, and hold them and the method against what the explanation says.

    Raises:
        OptionError: something the explanation does not keep was not given. InputError: it was made from something else.
    """
    settings = e.evidence.settings
    _check_given(e, inputs, reading)
    layer = settings.get("embedding")
    said = settings.get("baseline_token") if reading.baseline_token is None else reading.baseline_token
    read = feed(
        net,
        inputs,
        Gradient(),
        replace(reading, channel_axis=None, embedding=None, baseline_token=None, words="word" in e.dims),
        background=background,
    )
    ids = replace(read.inputs[0], dims=("row", "token"))
    if not ids.whole:
        raise InputError(f"the explanation is of tokens: pass texts, or numbers of tokens, not {ids.x.dtype}.")
    given = (ids, *(replace(i, held=True) for i in read.inputs[1:]))
    absent = absent_token(said, read.texts)
    tokens = Tokens(
        read.net,
        given,
        layer,
        read.texts,
        read.words,
        said,
        absent,
        np.zeros(0, dtype=np.intp),
        e.shape[1],
        background=read.background,
    )
    shown = settings if absent is None and background is None else _without_baseline(settings)
    made = rebuilt(shown, method, options)
    shorter = settings.get("dtype")
    whole = tokens.fed(made, read.net if shorter is None else read.net.with_dtype(shorter))
    _check_prints(e, whole, texts=reading.tokenizer is not None)
    _check_baseline(settings, whole)
    prints = None if whole.background is None else digest(resolve_inputs(whole.net, whole.background, None))
    if prints != settings["background"]:
        raise (InputError if background is not None else OptionError)(
            "what stands behind the explanation is another background, or none (by its SHA-256), and it does not keep it; pass ",
            Argument("background", example=""),
            " as it was.",
        )
    mask = _mask_of(tokens, rows)
    tokens = replace(tokens, which=_which(tokens, mask), mask=mask)
    if int(tokens.which.max(initial=-1)) >= e.shape[1]:
        raise InputError("the explanation has fewer places than the texts have tokens or words; pass it whole.")
    return tokens, made


def _check_given(e: Explanation, inputs: Any, reading: ReadingOptions) -> None:
    """What is passed again suits what the explanation says of itself."""
    kept = e.evidence.settings.get("embedding")
    if reading.embedding is not None and reading.embedding != kept:
        raise InputError(
            Argument("embedding", reading.embedding), f" is not what the explanation was made with: {kept!r}."
        )
    if "text" not in e.extras:
        return
    if reading.tokenizer is None:
        raise OptionError(
            "the explanation is of texts and does not keep how they are read; pass ",
            Argument("tokenizer", example=""),
            ", the same.",
        )
    if not is_text(inputs):
        raise InputError("the explanation is of texts; pass all of them as they were, not numbers of tokens.")
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    own: list[Any] = list(map(str, e.extras["text"][1]))
    if "text_pair" in e.extras:
        own = list(zip(own, map(str, e.extras["text_pair"][1]), strict=True))
    if len(texts) == len(own) and texts != own:
        other = next(k for k, (a, b) in enumerate(zip(texts, own, strict=True)) if a != b)
        raise InputError(
            f"text {other} is {str(texts[other])[:60]!r}, and the explanation was made from {str(own[other])[:60]!r}."
        )


def _check_prints(e: Explanation, whole: PreparedInputs, *, texts: bool) -> None:
    prints = e.evidence.fingerprints
    same_network(prints, whole.net)
    if prints.get("rows") != digest(whole.inputs):
        what = "texts, or by another tokenizer" if texts else "numbers of tokens (or of what goes with them)"
        raise InputError(
            f"the explanation was made from other {what}: their SHA-256 differs. Pass all that was explained, as it was, in the same type."
        )


def _without_baseline(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings less the array that stood for absent tokens, which is made again."""
    kept = dict(settings["options"])
    if unkept(kept.get("baseline")):
        kept["baseline"] = None
    return {**settings, "options": kept}


def _check_baseline(settings: Mapping[str, Any], whole: PreparedInputs) -> None:
    own = settings["options"].get("baseline")
    if not unkept(own):
        return
    if options_of(whole.method)["baseline"] != own:
        raise InputError(
            "what stands for absent tokens is not what the explanation was made with (its SHA-256 differs); pass ",
            Argument("baseline_token", example=""),
            ", or ",
            Argument("background", example=""),
            ", as it was.",
        )


def _cut(texts: Texts, rows: Indices) -> Texts:
    """Some of the texts, as wide as all."""
    arrays: dict[str, Any] = {
        f.name: a[rows] for f in fields(texts) if isinstance(a := getattr(texts, f.name), np.ndarray)
    }
    return replace(texts, texts=tuple(texts.texts[r] for r in rows), **arrays)


def _which(tokens: Tokens, mask: int | None) -> Indices:
    """The place of the map on which each token stands, -1 for what fills texts up."""
    if tokens.texts is None:
        there = np.ones(tokens.ids.shape, dtype=bool) if mask is None else tokens.inputs[mask].x != 0
    else:
        there = tokens.texts.mask > 0
    place = (
        grouped(tokens.texts)[0]
        if tokens.words and tokens.texts is not None
        else np.broadcast_to(np.arange(tokens.ids.shape[1]), tokens.ids.shape)
    )
    return np.where(there, place, -1).astype(np.intp)


def _mask_of(tokens: Tokens, rows: Indices) -> int | None:
    """Which input hides tokens. It is asked for, not guessed by its name: what another token says at a hidden place must change nothing, and elsewhere something."""
    ids = tokens.ids[rows]
    known = np.unique(ids)
    if len(known) < 2:
        return None
    other = known[(np.searchsorted(known, ids) + 1) % len(known)].astype(ids.dtype)
    draws = np.random.default_rng(0).random(ids.shape)
    for number, given in enumerate(tokens.inputs[1:], start=1):
        m = given.x[rows]
        if m.shape != ids.shape or not np.isin(m, (0, 1)).all() or not (m == 1).any(axis=1).all():
            continue
        shown = m == 1
        most = np.where(shown, draws, 2.0).argmin(axis=1)  # one stays in every row
        less = np.where(draws < 0.5, 0, m).astype(m.dtype)
        less[np.arange(len(m)), most] = 1
        if ((less == 0) & shown).sum() == 0:
            less = m
        swapped = np.where(less == 0, other, ids)
        plain_, hidden, behind = (
            _answers(tokens, rows, number, a, b) for a, b in ((ids, m), (ids, less), (swapped, less))
        )
        size = float(np.abs(hidden).max(initial=0.0)) + 1e-12
        quiet = float(np.abs(behind - hidden).max(initial=0.0)) <= NO_CHANGE_TOLERANCE * size
        tells = bool((less == m).all()) or float(np.abs(hidden - plain_).max(initial=0.0)) > NO_CHANGE_TOLERANCE * size
        if np.isfinite(behind).all() and quiet and tells and bool((less == 0).any()):
            return number
    return None


def _answers(tokens: Tokens, rows: Indices, number: int, ids: npt.NDArray[Any], mask: npt.NDArray[Any]) -> Floats:
    net, parts = tokens.net, []
    for start in range(0, len(rows), net.rows_at_once):
        some = slice(start, start + net.rows_at_once)
        xs: Sequence[npt.NDArray[Any]] = [i.x[rows[some]] for i in tokens.inputs]
        xs = [ids[some], *(mask[some] if k == number else x for k, x in enumerate(xs) if k)]
        parts.append(net.numpy(net.forward(tuple(net.array(np.ascontiguousarray(x)) for x in xs))))
    return np.asarray(np.concatenate(parts), dtype=np.float64)
