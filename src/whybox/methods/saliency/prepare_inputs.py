"""Inputs of a network: arrays by position or by name, texts, token ids, and the embedding of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, InputError, OptionError, UnsupportedModelError, WhyboxError
from whybox.explanation.explanation import Explanation
from whybox.methods.common.words.tokenized import TokenizedTexts, is_text
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.first_pass import input_refusal
from whybox.methods.saliency.inputs import Input, pass_one_numbers, resolve_inputs
from whybox.methods.saliency.layer_calls import inputs_of_calls
from whybox.methods.saliency.options import ReadingOptions
from whybox.methods.saliency.series_axes import named_axes
from whybox.methods.saliency.text import label_texts, prepare_texts, replace_tokens, resolve_absent_token
from whybox.models.differentiable import Differentiable

__all__ = [
    "PreparedInputs",
    "apply_embedding",
    "cut_option",
    "cut_to_rows",
    "has_baseline",
    "match_names",
    "one_a_row",
    "prepare_inputs",
]


@final
@dataclass(frozen=True)
class PreparedInputs:
    """A network and its inputs, ready for a problem.

    Attributes:
        net: the network, from its embedding on if one was named. inputs: what it takes. texts: texts that the token ids were read from.
        method: with its baseline, if that is a token. returns_tuple: True if the result is a tuple, one explanation an input.
        background: background rows in the order of the inputs; None: none were given, or the method holds them.
        words: True if tokens are summed to words. notes: for the evidence.
        embedding_of: names of the inputs that each call of the embedding reads, where it is called several times.
    """

    net: Differentiable
    inputs: tuple[Input, ...]
    method: Method
    returns_tuple: bool
    texts: TokenizedTexts | None = None
    words: bool = False
    notes: tuple[str, ...] = ()
    background: Any = None
    embedding_of: tuple[str, ...] = ()

    def label_results(self, explanations: tuple[Explanation, ...]) -> Explanation | tuple[Explanation, ...]:
        """Put tokens or words on the explanations, and on those of several calls of an embedding what each is of."""
        if self.embedding_of:
            explanations = tuple(
                replace(e, extras={**e.extras, "embedding_of": ((), np.array(name))})
                for e, name in zip(explanations, self.embedding_of, strict=True)
            )
        texts = self.texts
        if texts is not None:
            explanations = tuple(label_texts(e, texts, words=self.words) for e in explanations)
        is_tuple = self.returns_tuple if texts is None else len(explanations) > 1
        return explanations if is_tuple else explanations[0]


def prepare_inputs(
    net: Differentiable,
    inputs: Any,
    method: Method,
    reading: ReadingOptions,
    *,
    background: Any = None,
) -> PreparedInputs:
    """Read the inputs; see :func:`whybox.saliency` for the arguments.

    Raises:
        OptionError: options of texts without texts. InputError: texts without a tokenizer, or a background with other names.
        UnsupportedModelError: the layer is not an embedding.
    """
    texts: TokenizedTexts | None = None
    notes: tuple[str, ...] = ()
    if is_text(inputs) or is_text(background) or reading.tokenizer is not None:
        net, texts, inputs, background, notes = prepare_texts(net, inputs, reading.tokenizer, background)
    if reading.words and texts is None:
        raise OptionError(Argument("words", True), " needs texts and a tokenizer.")
    several = isinstance(inputs, tuple) or (isinstance(inputs, Mapping) and len(inputs) > 1)
    names = tuple(map(str, inputs)) if isinstance(inputs, Mapping) else ()
    if names:
        net, inputs = net.with_input_names(names), tuple(inputs.values())
        background = match_names(background, names, unnamed=reading.embedding is not None)
    resolved = resolve_inputs(net, inputs, reading.channel_axis)
    net = pass_one_numbers(net, resolved)
    if names:
        resolved = tuple(i.with_name(n) for i, n in zip(resolved, names, strict=True))
    reads_tokens = texts is not None or reading.embedding is not None
    if not reads_tokens and (reading.channel_axis is None or isinstance(reading.channel_axis, str)):
        resolved, notes = named_axes(net, resolved, channels=method.needs_channels and reading.channel_axis is not None)
    if reads_tokens:
        resolved = (replace(resolved[0], dims=("row", "token")), *(replace(i, is_held=True) for i in resolved[1:]))
    elif reading.baseline_token is not None:
        raise OptionError(
            Argument("baseline_token", example=""), " needs texts, or ", Argument("embedding", example="'...'"), "."
        )
    return apply_embedding(
        PreparedInputs(net, resolved, method, several, texts, reading.words, notes, background), reading
    )


def apply_embedding(prepared: PreparedInputs, reading: ReadingOptions) -> PreparedInputs:
    """Give the method its baseline of tokens, and let the network begin after the embedding, if one is named; the same for background reading.

    Raises:
        OptionError, InputError, UnsupportedModelError: as prepare_inputs.
    """
    embedding, net = reading.embedding, prepared.net
    if prepared.texts is None and embedding is None:
        return prepared
    if prepared.background is not None and reading.baseline_token is not None:
        raise OptionError(
            Argument("baseline_token", example=""),
            " and ",
            Argument("background", example=""),
            " both give the baseline; leave one of the two out.",
        )
    token = resolve_absent_token(reading.baseline_token, prepared.texts) if prepared.background is None else None
    if embedding is not None:
        prepared = _from_embedding(prepared, embedding, token)
    elif token is not None:
        prepared = _with_token_baseline(prepared, token)
    return prepared if prepared.background is None else _embed_background(net, prepared, embedding)


def match_names(background: Any, names: tuple[str, ...], *, unnamed: bool) -> Any:
    """The background's arrays in the order of the inputs' names. `unnamed`: it may also have no names (one array, the embedding's output).

    Raises:
        InputError: it has no names, or other ones.
    """
    if background is None or (unnamed and not isinstance(background, Mapping)):
        return background
    given = {str(k): v for k, v in background.items()} if isinstance(background, Mapping) else None
    if given is None or set(given) != set(names):
        background_is = f"is a {type(background).__name__}" if given is None else "names " + ", ".join(map(repr, given))
        raise InputError(
            f"the inputs are a dict by name ({', '.join(map(repr, names))}) and the background {background_is}; give it as a dict of the same names."
        )
    return tuple(given[n] for n in names)


def _with_token_baseline(prepared: PreparedInputs, token: tuple[int, str]) -> PreparedInputs:
    """Replace token ids as they are, without an embedding."""
    ids = prepared.inputs[0].x
    return _with_baseline(prepared, (replace_tokens(ids.astype(np.int64), token[0], prepared.texts),), token[1])


def _from_embedding(prepared: PreparedInputs, layer: str, token: tuple[int, str] | None) -> PreparedInputs:
    """The network from the embedding on: its first inputs are the embedding's outputs, call by call, and the inputs of the whole network are held."""
    ids = prepared.inputs[0]
    if not ids.without_gradient:
        raise InputError(
            Argument("embedding", layer), f" needs token ids (whole numbers), and {ids.name} holds {ids.x.dtype}."
        )
    held = tuple(replace(i, is_held=True) for i in prepared.inputs)
    inner, outputs = _layer_outputs(prepared.net, layer, held)
    read: list[tuple[int, ...]] = [(0,)]
    if len(outputs) > 1:
        read = inputs_of_calls(prepared.net, layer, held)
        prepared.net.refuse_other_count(layer, len(outputs), len(read))
        order = sorted(range(len(outputs)), key=lambda k: (read[k], k))
        inner, outputs, read = inner.with_call_order(order), [outputs[k] for k in order], [read[k] for k in order]
    names = _call_names(held, read) if len(outputs) > 1 else ()
    first = tuple(
        Input(a, ("row", "token", "channel"), 2, None, name)
        for a, name in zip(outputs, names or ("embedding",), strict=True)
    )
    whole = replace(prepared, net=inner, inputs=(*first, *held), returns_tuple=len(first) > 1, embedding_of=names)
    if token is None or not has_baseline(prepared.method):
        return whole
    changed = {
        i: replace_tokens(held[i].x.astype(np.int64), token[0], prepared.texts if i == 0 else None)
        for i in sorted({i for of in read for i in of})
    }
    baseline = _layer_outputs(prepared.net, layer, held, changed, inner.replaced_calls)[1]
    return _with_baseline(whole, tuple(baseline), token[1])


def _call_names(inputs: tuple[Input, ...], read: list[tuple[int, ...]]) -> tuple[str, ...]:
    """What each call of the embedding is called: by the inputs that it reads, and by its place among those that read the same."""
    names = [" and ".join(inputs[i].name for i in of) or "no input" for of in read]
    return tuple(
        name if names.count(name) == 1 else f"{name}, call {names[:k].count(name)}" for k, name in enumerate(names)
    )


def _embed_background(net: Differentiable, prepared: PreparedInputs, layer: str | None) -> PreparedInputs:
    """Background rows of tokens, embedded like the rows; masking methods take each as a baseline."""
    given = resolve_inputs(net, prepared.background)
    if not given[0].without_gradient:
        return prepared  # embedded already
    calls = prepared.net.replaced_calls
    rows = prepared.inputs[len(calls) :]
    if [g.x.shape[1:] for g in given] != [i.x.shape[1:] for i in rows]:
        shapes = [", ".join(str(i.x.shape[1:]) for i in of) for of in (given, rows)]
        raise InputError(
            f"the background has rows of shape {shapes[0]}, the inputs of {shapes[1]}; give it in the same form as the rows (texts for texts)."
        )
    if layer is not None:
        outputs = _layer_outputs(net, layer, given, calls=calls)[1]
        first = (replace(i, x=a) for i, a in zip(prepared.inputs, outputs, strict=False))
        given = (*first, *given)
    if prepared.method.needs_gradients or not has_baseline(prepared.method):
        return replace(prepared, background=given)
    wish = prepared.method.baseline  # type: ignore[attr-defined]
    if wish is not None and not (isinstance(wish, str) and wish == "background"):
        raise OptionError(
            "background rows were given and ",
            Argument("baseline", example=""),
            " does not use them; leave one of the two out.",
        )
    replaced = max(len(calls), 1)
    others = (None,) * (len(given) - replaced)
    each = [
        (*parts, *others) if replaced > 1 or others else parts[0]
        for parts in zip(*(i.x for i in given[:replaced]), strict=True)
    ]
    return replace(prepared, method=replace(prepared.method, baseline=each), background=None)  # type: ignore[call-arg]


def _layer_outputs(
    net: Differentiable,
    layer: str,
    inputs: tuple[Input, ...],
    changed: Mapping[int, npt.NDArray[Any]] | None = None,
    calls: tuple[int, ...] = (),
) -> tuple[Differentiable, list[npt.NDArray[Any]]]:
    """The network from the calls of a layer on, and the layer's outputs at each for all rows.

    Args:
        changed: replaces inputs, by position. calls: the order of the outputs; (): that of the calls.

    Raises:
        InputError: the network cannot compute with these inputs. UnsupportedModelError: the layer is not an embedding.
    """
    arrays = [(changed or {}).get(k, i.x) for k, i in enumerate(inputs)]
    parts: list[list[npt.NDArray[Any]]] = []
    inner = net
    for start in range(0, len(arrays[0]), net.max_batch_size):
        some = [a[start : start + net.max_batch_size] for a in arrays]
        try:
            inner, found = net.split_at_calls(layer, tuple(map(net.array, some)))
        except Exception as error:
            if isinstance(error, (WhyboxError, NotImplementedError)) or "OutOfMemory" in type(error).__name__:
                raise
            raise input_refusal(net, error, len(some[0]), inputs) from error
        parts.append([net.numpy(a) for a in found])
        net.refuse_other_count(layer, len(parts[0]), len(found))
    outputs = [np.concatenate(of) for of in zip(*parts, strict=True)]
    for embedded in outputs:
        if embedded.ndim != 3 or len(embedded) != len(arrays[0]):
            raise UnsupportedModelError(
                f"layer {layer!r} outputs the shape {embedded.shape}; an embedding outputs (rows, tokens, numbers)."
            )
    if "64" not in net.arithmetic:
        outputs = [a.astype(np.float32) for a in outputs]
    if calls:
        net.refuse_other_count(layer, len(calls), len(outputs))
        outputs = [outputs[k] for k in calls]
    return inner, outputs


def cut_to_rows(method: Method, rows: npt.NDArray[np.intp], each: Callable[[tuple[int, ...]], bool]) -> Method:
    """The method for some of the rows: options that hold one array a row are cut to these rows. `each` recognises them by their shape."""
    return replace(method, **{f.name: cut_option(getattr(method, f.name), rows, each) for f in fields(method)})


def cut_option(value: Any, rows: npt.NDArray[np.intp], each: Callable[[tuple[int, ...]], bool]) -> Any:
    """One option for some of the rows: arrays of numpy or of the network's library, and tuples and lists of them."""
    if isinstance(value, (tuple, list)):
        return type(value)(cut_option(v, rows, each) for v in value)
    shape = getattr(value, "shape", None)
    return value[rows] if shape is not None and len(shape) and each(tuple(map(int, shape))) else value


def one_a_row(*shapes: tuple[int, ...]) -> Callable[[tuple[int, ...]], bool]:
    """Whether an option of some shape holds one array for each row of inputs of these shapes: as an input, or without its channel axis.

    An array in the shape of a single row is shared by all rows.
    """
    each = set(shapes)
    for shape in shapes:
        each |= {(shape[0], *shape[1:axis], *shape[axis + 1 :]) for axis in range(1, len(shape)) if len(shape) > 2}
    return (each - {shape[1:] for shape in shapes}).__contains__


def has_baseline(method: Method) -> bool:
    """True if a method has a baseline."""
    return any(f.name == "baseline" for f in fields(method))


def _with_baseline(prepared: PreparedInputs, first: tuple[npt.NDArray[Any], ...], token_name: str) -> PreparedInputs:
    """Give the method its baseline of tokens: of the first inputs; the others are held.

    Raises:
        OptionError: the user gave one already.
    """
    if not has_baseline(prepared.method):
        return prepared
    known = next(f for f in fields(prepared.method) if f.name == "baseline")
    if getattr(prepared.method, known.name) is not known.default:
        raise OptionError(
            Argument("baseline", example=""),
            " is for numbers; for tokens name the one that replaces absent tokens: ",
            Argument("baseline_token", "[MASK]"),
            ".",
        )
    baseline = first[0] if len(prepared.inputs) == 1 else (*first, *(None for _ in prepared.inputs[len(first) :]))
    note = f"baseline: {token_name} in place of every token" + (
        " but special ones" if prepared.texts is not None else ""
    )
    return replace(prepared, method=replace(prepared.method, baseline=baseline), notes=(*prepared.notes, note))  # type: ignore[call-arg]
