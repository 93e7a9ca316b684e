"""Models of Keras 3 on any backend: their layers, their inputs, their structure as text."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from whybox.adapters.network_outputs import parameter_names

__all__ = [
    "any_size",
    "call_model",
    "is_functional",
    "leaf_layers",
    "model_inputs",
    "model_structure",
    "replaced_call",
    "sequence_axes",
    "sequence_layer_inputs",
]


def leaf_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """(name, layer) of the layers that hold no other layer; ``outer/inner`` in a model inside a model, ``name:2`` for the second layer of a name."""
    seen: Counter[str] = Counter()
    for name, layer in _leaf_layers(model, ""):
        seen[name] += 1
        yield (name if seen[name] == 1 else f"{name}:{seen[name]}"), layer


def _leaf_layers(model: Any, before: str) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        name = f"{before}{layer.name}".replace(".", "_")
        if getattr(layer, "layers", None):
            yield from _leaf_layers(layer, f"{name}/")
        else:
            yield name, layer


def model_inputs(model: Any, *, required: bool = False) -> tuple[str, ...]:
    """Names of the inputs of a functional model; of another model the parameters of its `call` except ``training``."""
    if is_functional(model):
        given = model.inputs if isinstance(model, keras.Sequential) else model.input
        return tuple(given) if isinstance(given, dict) else tuple(i.name for i in keras.tree.flatten(given))
    return tuple(n for n in parameter_names(model.call, required=required) if n != "training")


def is_functional(model: Any) -> bool:
    """Whether the model lists its inputs itself, so that the parameters of `call` say nothing."""
    return isinstance(model, (keras.Sequential, keras.src.models.Functional))


def call_model(model: Any, x: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call a model in inference mode; functional models take several inputs as a list or a dict, others as their `call` is written."""
    with _unfiltered_errors():
        if is_functional(model):
            return model(named or (x[0] if len(x) == 1 else list(x)), training=False)
        takes = set(parameter_names(model.call))
        if (
            len([n for n in model_inputs(model) if n not in ("mask", "**")]) == 1
        ):  # Keras's convention: all inputs in one parameter
            if len(x) > 1:
                x = (list(x),)
            elif named and not takes & {*named, "**"}:
                x, named = (named,), {}
        return model(*x, **named, **({"training": False} if takes & {"training", "**"} else {}))


@contextmanager
def _unfiltered_errors() -> Iterator[None]:
    """Within it Keras raises errors with their full traceback."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


@contextmanager
def replaced_call(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Within it a layer computes `call`."""
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        layer.__dict__.pop("call", None)


@contextmanager
def any_size(model: Any) -> Iterator[None]:
    """Within it the model, and models in it, run on inputs of other sizes, as far as their layers allow."""
    with ExitStack() as stack:
        for part in (layer for layer in model.layers if getattr(layer, "layers", None)):
            stack.enter_context(any_size(part))
        object.__setattr__(model, "_assert_input_compatibility", lambda *_: None)
        try:
            yield
        finally:
            model.__dict__.pop("_assert_input_compatibility", None)


def sequence_axes(layer: Any) -> tuple[str, ...] | None:
    """Names of the axes of a layer's input, if the layer distinguishes time from features; else None."""
    kinds = keras.layers
    if isinstance(layer, (kinds.RNN, kinds.Bidirectional)):
        return "row", "time", "feature"
    if isinstance(
        layer, (kinds.Conv1D, kinds.Conv1DTranspose, kinds.MaxPooling1D, kinds.AveragePooling1D, kinds.SeparableConv1D)
    ):
        return ("row", "time", "feature") if layer.data_format == "channels_last" else ("row", "feature", "time")
    return None


def sequence_layer_inputs(layers: Mapping[str, Any], run: Callable[[], Any]) -> list[tuple[str, tuple[str, ...], Any]]:
    """(name, axes, input) of the layers that distinguish time from features, in the order in which `run` calls them."""
    recorded: list[tuple[str, tuple[str, ...], Any]] = []

    def recording(name: str, axes: tuple[str, ...], call: Callable[..., Any]) -> Callable[..., Any]:
        def recording_call(given: Any, *more: Any, **named: Any) -> Any:
            recorded.append((name, axes, given))
            return call(given, *more, **named)

        return recording_call

    with ExitStack() as stack:
        for name, layer in layers.items():
            if (axes := sequence_axes(layer)) is not None:
                stack.enter_context(replaced_call(layer, recording(name, axes, layer.call)))
        run()
    return recorded


def model_structure(model: Any) -> str:
    """The model without its weights, as text that is the same in another process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about functions in the model, which are only read here
            return str(model.to_json())
    except (NotImplementedError, TypeError, ValueError):
        return f"{type(model).__qualname__} {[(name, type(layer).__qualname__) for name, layer in leaf_layers(model)]}"
