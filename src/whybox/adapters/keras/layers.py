"""Models of Keras 3, whatever the backend: their layers, how they are called, what they are in words."""

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
    """(name, layer) of layers without layers of their own; of models inside models ``outer/inner``, the second of a name ``name:2``."""
    met: Counter[str] = Counter()
    for name, layer in _leaves(model, ""):
        met[name] += 1
        yield (name if met[name] == 1 else f"{name}:{met[name]}"), layer


def _leaves(model: Any, before: str) -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        name = f"{before}{layer.name}".replace(".", "_")
        if getattr(layer, "layers", None):
            yield from _leaves(layer, f"{name}/")
        else:
            yield name, layer


def model_inputs(model: Any, *, required: bool = False) -> tuple[str, ...]:
    """Names of what a model takes: of the functional kind those of its inputs, else what `call` takes but for ``training``."""
    if is_functional(model):
        given = model.inputs if isinstance(model, keras.Sequential) else model.input
        return tuple(given) if isinstance(given, dict) else tuple(i.name for i in keras.tree.flatten(given))
    return tuple(n for n in parameter_names(model.call, required=required) if n != "training")


def is_functional(model: Any) -> bool:
    """Whether its inputs are known by themselves and not by what `call` takes."""
    return isinstance(model, (keras.Sequential, keras.src.models.Functional))


def call_model(model: Any, x: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Models of the functional kind take several inputs as a list or a dict, others as they were written."""
    with _unfiltered_errors():
        if is_functional(model):
            return model(named or (x[0] if len(x) == 1 else list(x)), training=False)
        takes = set(parameter_names(model.call))
        if len([n for n in model_inputs(model) if n not in ("mask", "**")]) == 1:  # Keras's habit: all inputs in one
            if len(x) > 1:
                x = (list(x),)
            elif named and not takes & {*named, "**"}:
                x, named = (named,), {}
        return model(*x, **named, **({"training": False} if takes & {"training", "**"} else {}))


@contextmanager
def _unfiltered_errors() -> Iterator[None]:
    """Within it Keras passes errors on as they are."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


@contextmanager
def replaced_call(layer: Any, call: Callable[..., Any]) -> Iterator[None]:
    """Within it a layer computes something else."""
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        layer.__dict__.pop("call", None)


@contextmanager
def any_size(model: Any) -> Iterator[None]:
    """Within it the model, and models inside it, run as far as they can on inputs of another size than they were made for."""
    with ExitStack() as stack:
        for part in (layer for layer in model.layers if getattr(layer, "layers", None)):
            stack.enter_context(any_size(part))
        object.__setattr__(model, "_assert_input_compatibility", lambda *_: None)
        try:
            yield
        finally:
            model.__dict__.pop("_assert_input_compatibility", None)


def sequence_axes(layer: Any) -> tuple[str, ...] | None:
    """Names of the axes that a layer is given, where it knows time from features."""
    kinds = keras.layers
    if isinstance(layer, (kinds.RNN, kinds.Bidirectional)):
        return "row", "time", "feature"
    if isinstance(
        layer, (kinds.Conv1D, kinds.Conv1DTranspose, kinds.MaxPooling1D, kinds.AveragePooling1D, kinds.SeparableConv1D)
    ):
        return ("row", "time", "feature") if layer.data_format == "channels_last" else ("row", "feature", "time")
    return None


def sequence_layer_inputs(layers: Mapping[str, Any], run: Callable[[], Any]) -> list[tuple[str, tuple[str, ...], Any]]:
    """What those of these layers that know time from features are given while the model is run: name, axes, array, in the order they are called."""
    met: list[tuple[str, tuple[str, ...], Any]] = []

    def noting(name: str, axes: tuple[str, ...], call: Callable[..., Any]) -> Callable[..., Any]:
        def hear(given: Any, *more: Any, **named: Any) -> Any:
            met.append((name, axes, given))
            return call(given, *more, **named)

        return hear

    with ExitStack() as stack:
        for name, layer in layers.items():
            if (axes := sequence_axes(layer)) is not None:
                stack.enter_context(replaced_call(layer, noting(name, axes, layer.call)))
        run()
    return met


def model_structure(model: Any) -> str:
    """The model without its weights, in words that are the same in another process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions in it, which are only read here
            return str(model.to_json())
    except (NotImplementedError, TypeError, ValueError):
        return f"{type(model).__qualname__} {[(name, type(layer).__qualname__) for name, layer in leaf_layers(model)]}"
