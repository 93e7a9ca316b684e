"""What a network is fed: arrays by place or by name, texts, and the embedding of tokens in their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, OptionError, UnsupportedModelError, WhyboxError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.inputs import Input, resolve_inputs
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.problem import refused
from whybox.methods.saliency.series_axes import named_axes
from whybox.methods.saliency.text import Texts, absent_token, arranged, is_text, labelled, replaced
from whybox.models.differentiable import Differentiable

__all__ = ["PreparedInputs", "by_name", "cut", "feed", "has_baseline", "through"]


@final
@dataclass(frozen=True)
class PreparedInputs:
    """What is asked about: the network (from its embedding on, if one was named), its inputs, the texts behind them.

    Attributes:
        several: whether the answer is a tuple, one explanation an input.
        method: with what stands for absent tokens, if that was settled here.
        background: rows that stand for absent, in the order of the inputs; None: none were given, or the method has them.
        notes: what the reader should know.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    method: Method
    several: bool
    texts: Texts | None = None
    words: bool = False
    notes: tuple[str, ...] = ()
    background: Any = None

    def labelled(self, found: tuple[Explanation, ...]) -> Explanation | tuple[Explanation, ...]:
        """Put tokens or words on what was found."""
        if self.texts is not None:
            return labelled(found[0], self.texts, words=self.words)
        return found if self.several else found[0]


def feed(
    net: Differentiable, inputs: Any, method: Method, reading: ReadingOptions, *, background: Any = None
) -> PreparedInputs:
    """Settle inputs; see :func:`whybox.saliency` for the arguments.

    Raises:
        OptionError: options of texts without texts. InputError: texts without a tokenizer, a background of other names; UnsupportedModelError: an embedding that is none.
    """
    texts: Texts | None = None
    notes: tuple[str, ...] = ()
    if is_text(inputs) or is_text(background) or reading.tokenizer is not None:
        net, texts, inputs, background, notes = arranged(net, inputs, reading.tokenizer, background)
    if reading.words and texts is None:
        raise OptionError(Argument("words", True), " goes with texts and a tokenizer.")
    several = isinstance(inputs, tuple) or (isinstance(inputs, Mapping) and len(inputs) > 1)
    names = tuple(map(str, inputs)) if isinstance(inputs, Mapping) else ()
    if names:
        net, inputs = net.named(names), tuple(inputs.values())
        background = by_name(background, names, unnamed=reading.embedding is not None)
    settled = resolve_inputs(net, inputs, reading.channel_axis)
    if names:
        settled = tuple(replace(i, name=n) for i, n in zip(settled, names, strict=True))
    tokens = texts is not None or reading.embedding is not None
    if not tokens and (reading.channel_axis is None or isinstance(reading.channel_axis, str)):
        settled, notes = named_axes(net, settled, channels=method.channels and reading.channel_axis is not None)
    if tokens:
        settled = (replace(settled[0], dims=("row", "token")), *(replace(i, held=True) for i in settled[1:]))
    elif reading.baseline_token is not None:
        raise OptionError(
            Argument("baseline_token", example=""),
            " goes with texts, or with ",
            Argument("embedding", example="'...'"),
            ".",
        )
    return through(
        PreparedInputs(net, settled, method, several, texts, reading.words, notes, background),
        reading.embedding,
        reading.baseline_token,
    )


def through(made: PreparedInputs, embedding: str | None, baseline_token: Any) -> PreparedInputs:
    """Tell the method what stands for absent tokens, and go in behind the embedding, if one is named; background tokens go the same way.

    Raises:
        OptionError, InputError, UnsupportedModelError: as feed.
    """
    if made.texts is None and embedding is None:
        return made
    net = made.net
    if made.background is not None and baseline_token is not None:
        raise OptionError(
            Argument("baseline_token", example=""),
            " and ",
            Argument("background", example=""),
            " both say what stands for absent; leave one of the two out.",
        )
    token = absent_token(baseline_token, made.texts) if made.background is None else None
    if embedding is not None:
        made = _embedded(made, embedding, token)
    elif token is not None:
        made = _without_derivatives(made, token)
    return made if made.background is None else _behind(net, made, embedding)


def by_name(background: Any, names: tuple[str, ...], *, unnamed: bool) -> Any:
    """The background's arrays in the order of the inputs' names; `unnamed`: it may also come without names (one array, of what the embedding puts out).

    Raises:
        InputError: it has no names, or others.
    """
    if background is None or (unnamed and not isinstance(background, Mapping)):
        return background
    given = {str(k): v for k, v in background.items()} if isinstance(background, Mapping) else None
    if given is None or set(given) != set(names):
        had = f"is a {type(background).__name__}" if given is None else "names " + ", ".join(map(repr, given))
        raise InputError(
            f"the inputs are a dict by name ({', '.join(map(repr, names))}) and the background {had}; give it as a dict of the same names."
        )
    return tuple(given[n] for n in names)


def _without_derivatives(made: PreparedInputs, token: tuple[int, str]) -> PreparedInputs:
    """Tokens are replaced as they are."""
    ids = made.inputs[0].x
    return _with_baseline(made, replaced(ids.astype(np.int64), token[0], made.texts), token[1])


def _embedded(made: PreparedInputs, layer: str, token: tuple[int, str] | None) -> PreparedInputs:
    """The network from the embedding on: what the embedding puts out comes first, and all that goes into the whole is held."""
    ids = made.inputs[0]
    if not ids.whole:
        raise InputError(
            Argument("embedding", layer),
            f" goes with numbers of tokens (whole numbers), and {ids.name} holds {ids.x.dtype}.",
        )
    held = tuple(replace(i, held=True) for i in made.inputs)
    inner, out = _said(made.net, layer, held)
    first = Input(out, ("row", "token", "channel"), 2, None, "embedding")
    whole = replace(made, net=inner, inputs=(first, *held), several=False)
    if token is None or not has_baseline(made.method):
        return whole
    changed = replaced(ids.x.astype(np.int64), token[0], made.texts)
    return _with_baseline(whole, _said(made.net, layer, held, changed)[1], token[1])


def _behind(net: Differentiable, made: PreparedInputs, layer: str | None) -> PreparedInputs:
    """Background rows of tokens, embedded like the rows; methods that cover take each as a baseline."""
    given = resolve_inputs(net, made.background)
    if not given[0].whole:
        return made  # it is embedded already
    rows = made.inputs if layer is None else made.inputs[1:]
    if [g.x.shape[1:] for g in given] != [i.x.shape[1:] for i in rows]:
        shapes = [", ".join(str(i.x.shape[1:]) for i in of) for of in (given, rows)]
        raise InputError(
            f"the background has rows of shape {shapes[0]}, the inputs of {shapes[1]}; give it in the form of the rows (texts behind texts)."
        )
    if layer is not None:
        out = _said(net, layer, given)[1]
        given = (replace(made.inputs[0], x=out), *given)
    if made.method.derivatives or not has_baseline(made.method):
        return replace(made, background=given)
    wish = made.method.baseline  # type: ignore[attr-defined]
    if wish is not None and not (isinstance(wish, str) and wish == "background"):
        raise OptionError(
            "background rows were given and ",
            Argument("baseline", example=""),
            " does not use them; leave one of the two out.",
        )
    others = (None,) * (len(given) - 1)
    each = [(x, *others) if others else x for x in given[0].x]
    return replace(made, method=replace(made.method, baseline=each), background=None)  # type: ignore[call-arg]


def _said(
    net: Differentiable, layer: str, inputs: tuple[Input, ...], first: npt.NDArray[Any] | None = None
) -> tuple[Differentiable, npt.NDArray[Any]]:
    """The network from a layer on, and what the layer puts out for all rows; `first` in the place of the first input.

    Raises:
        InputError: the network cannot compute with these inputs. UnsupportedModelError: the layer is no embedding.
    """
    arrays = [i.x for i in inputs]
    if first is not None:
        arrays[0] = first
    parts: list[npt.NDArray[Any]] = []
    inner = net
    for start in range(0, len(arrays[0]), net.rows_at_once):
        some = [a[start : start + net.rows_at_once] for a in arrays]
        try:
            inner, out = net.split_at_layer(layer, tuple(map(net.array, some)))
        except Exception as error:
            if isinstance(error, (WhyboxError, NotImplementedError)) or "OutOfMemory" in type(error).__name__:
                raise
            raise refused(error, len(some[0]), inputs) from error
        parts.append(net.numpy(out))
    found = np.concatenate(parts)
    if found.ndim != 3 or len(found) != len(arrays[0]):
        raise UnsupportedModelError(
            f"layer {layer!r} answers with the shape {found.shape}; an embedding answers (rows, tokens, numbers)."
        )
    return inner, found if "64" in net.arithmetic else found.astype(np.float32)


def cut(method: Method, rows: npt.NDArray[np.intp], each: Callable[[tuple[int, ...]], bool]) -> Method:
    """The method, with those of its options that hold one array a row cut to these rows; `each` tells them by their shape."""

    def of(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(map(of, value))
        return value[rows] if isinstance(value, np.ndarray) and each(value.shape) else value

    return replace(method, **{f.name: of(getattr(method, f.name)) for f in fields(method)})


def has_baseline(method: Method) -> bool:
    """Whether a method is told what stands for absent."""
    return any(f.name == "baseline" for f in fields(method))


def _with_baseline(made: PreparedInputs, absent: npt.NDArray[Any], said: str) -> PreparedInputs:
    """Tell the method what stands for absent tokens, unless the user has told it already."""
    if not has_baseline(made.method):
        return made
    known = next(f for f in fields(made.method) if f.name == "baseline")
    if getattr(made.method, known.name) is not known.default:
        raise OptionError(
            Argument("baseline", example=""),
            " is for numbers; of tokens say which one stands for absent ones: ",
            Argument("baseline_token", "[MASK]"),
            ".",
        )
    baseline = absent if len(made.inputs) == 1 else (absent, *(None for _ in made.inputs[1:]))
    note = f"absent tokens: {said} in the place of every token" + (
        " but special ones" if made.texts is not None else ""
    )
    return replace(made, method=replace(made.method, baseline=baseline), notes=(*made.notes, note))  # type: ignore[call-arg]
