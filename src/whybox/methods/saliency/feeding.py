"""What a network is fed: arrays by place or by name, texts, and the embedding of tokens in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.inputs import Input, settle_inputs
from whybox.methods.saliency.method import Method
from whybox.methods.saliency.text import Texts, absent_token, fed, is_text, labelled, read, replaced
from whybox.models.differentiable import Differentiable

__all__ = ["Feed", "feed", "through"]


@final
@dataclass(frozen=True)
class Feed:
    """What is asked about: the network (from its embedding on, if one was named), its inputs, the texts behind them.

    Attributes:
        several: whether the answer is a tuple, one explanation an input.
        method: with what stands for absent tokens, if that was settled here. notes: what the reader should know.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    method: Method
    several: bool
    texts: Texts | None = None
    words: bool = False
    notes: tuple[str, ...] = ()

    def labelled(self, found: tuple[Explanation, ...]) -> Explanation | tuple[Explanation, ...]:
        """Put tokens or words on what was found."""
        if self.texts is not None:
            return labelled(found[0], self.texts, words=self.words)
        return found if self.several else found[0]


def feed(  # everything that decides what goes in
    net: Differentiable,
    inputs: Any,
    method: Method,
    *,
    channel_axis: Any = "auto",
    embedding: str | None = None,
    tokenizer: Any = None,
    words: bool = False,
    baseline_token: Any = None,
) -> Feed:
    """Settle inputs; see :func:`whybox.saliency` for the arguments.

    Raises:
        OptionError: options of texts without texts. InputError: texts without a tokenizer; UnsupportedModelError: an embedding that is none.
    """
    texts = None
    if is_text(inputs):
        if tokenizer is None:
            raise InputError("these are texts: say how they are read with tokenizer=..., or pass numbers of tokens.")
        texts = read(tokenizer, inputs)
        net, arrays = fed(net, texts)
        inputs = arrays
    elif tokenizer is not None:
        raise OptionError("tokenizer= goes with texts: pass a text or a list of texts.")
    if words and texts is None:
        raise OptionError("words=True goes with texts and a tokenizer.")
    several = isinstance(inputs, tuple) or (isinstance(inputs, Mapping) and len(inputs) > 1)
    names = tuple(map(str, inputs)) if isinstance(inputs, Mapping) else ()
    if names:
        net, inputs = net.named(names), tuple(inputs.values())
    settled = settle_inputs(net, inputs, channel_axis)
    if names:
        settled = tuple(replace(i, name=n) for i, n in zip(settled, names, strict=True))
    if texts is not None or embedding is not None:
        settled = (replace(settled[0], dims=("row", "token")), *(replace(i, held=True) for i in settled[1:]))
    elif baseline_token is not None:
        raise OptionError("baseline_token= goes with texts, or with embedding='...'.")
    return through(Feed(net, settled, method, several, texts, words), embedding, baseline_token)


def through(made: Feed, embedding: str | None, baseline_token: Any) -> Feed:
    """Tell the method what stands for absent tokens, and go in behind the embedding, if one is named.

    Raises:
        OptionError, InputError, UnsupportedModelError: as feed.
    """
    token = absent_token(baseline_token, made.texts) if made.texts is not None or embedding is not None else None
    if embedding is None:
        return made if token is None else _without_derivatives(made, token)
    return _embedded(made, embedding, token)


def _without_derivatives(made: Feed, token: tuple[int, str]) -> Feed:
    """Tokens are replaced as they are."""
    ids = made.inputs[0].x
    return _with_baseline(made, replaced(ids.astype(np.int64), token[0], made.texts), token[1])


def _embedded(made: Feed, layer: str, token: tuple[int, str] | None) -> Feed:
    """The network from the embedding on: what the embedding puts out comes first, and all that goes into the whole is held."""
    ids = made.inputs[0]
    if not ids.whole:
        raise InputError(
            f"embedding={layer!r} goes with numbers of tokens (whole numbers), and {ids.name} holds {ids.x.dtype}."
        )
    held = tuple(replace(i, held=True) for i in made.inputs)
    inner, out = _said(made.net, layer, [i.x for i in held])
    first = Input(out, ("row", "token", "channel"), 2, None, "embedding")
    whole = replace(made, net=inner, inputs=(first, *held), several=False)
    if token is None or not _has_baseline(made.method):
        return whole
    changed = replaced(ids.x.astype(np.int64), token[0], made.texts)
    return _with_baseline(whole, _said(made.net, layer, [changed, *(i.x for i in held[1:])])[1], token[1])


def _said(net: Differentiable, layer: str, arrays: list[npt.NDArray[Any]]) -> tuple[Differentiable, npt.NDArray[Any]]:
    """The network from a layer on, and what the layer puts out for all rows."""
    parts: list[npt.NDArray[Any]] = []
    inner = net
    for start in range(0, len(arrays[0]), net.rows_at_once):
        inner, out = net.inside(layer, tuple(net.array(a[start : start + net.rows_at_once]) for a in arrays))
        parts.append(net.numpy(out))
    found = np.concatenate(parts)
    if found.ndim != 3 or len(found) != len(arrays[0]):
        raise UnsupportedModelError(
            f"layer {layer!r} answers with the shape {found.shape}; an embedding answers (rows, tokens, numbers)."
        )
    return inner, found if "64" in net.arithmetic else found.astype(np.float32)


def _has_baseline(method: Method) -> bool:
    return any(f.name == "baseline" for f in fields(method))


def _with_baseline(made: Feed, absent: npt.NDArray[Any], said: str) -> Feed:
    """Tell the method what stands for absent tokens, unless the user has told it already."""
    if not _has_baseline(made.method):
        return made
    known = next(f for f in fields(made.method) if f.name == "baseline")
    if getattr(made.method, known.name) is not known.default:
        raise OptionError(
            "baseline= is for numbers; of tokens say which one stands for absent ones: baseline_token='[MASK]'."
        )
    baseline = absent if len(made.inputs) == 1 else (absent, *(None for _ in made.inputs[1:]))
    note = f"absent tokens: {said} in the place of every token" + (
        " but special ones" if made.texts is not None else ""
    )
    return replace(made, method=replace(made.method, baseline=baseline), notes=(*made.notes, note))  # type: ignore[call-arg]
