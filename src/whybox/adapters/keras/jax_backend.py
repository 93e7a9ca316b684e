"""Models of Keras on the jax backend as functions of their variables."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import keras

from whybox.adapters.jax.modules import NetworkBody
from whybox.adapters.keras.layers import (
    any_size,
    call_model,
    leaf_layers,
    model_structure,
    replaced_call,
    sequence_axes,
)
from whybox.errors import OptionError, did_you_mean

__all__ = ["Stateless", "variable_names"]


def variable_names(model: Any) -> list[str]:
    """A name for each of the model's variables, which begins with its layer's."""
    names = {id(v): f"{name}.{v.name}" for name, layer in leaf_layers(model) for v in layer.variables}
    return [f"{names.get(id(v), 'model.' + v.name)}_{i}" for i, v in enumerate(model.variables)]


@final
@dataclass(frozen=True)
class Stateless(NetworkBody):
    """See NetworkBody. A layer is replaced by replacing its ``call`` while the model runs."""

    model: Any

    def module(self, params: Any) -> Any:
        """The model with these variables."""

        def call(*x: Any, **named: Any) -> Any:
            variables = [(v, params[k]) for v, k in zip(self.model.variables, variable_names(self.model), strict=True)]
            with keras.StatelessScope(state_mapping=variables):
                return call_model(self.model, x, named)

        return call

    @property
    def structure(self) -> str:
        """The model's configuration as text."""
        return model_structure(self.model)

    def layer_at(self, module: Any, layer: str) -> Any:
        """The ``call`` of a layer.

        Raises:
            OptionError: there is no such layer.
        """
        layers = dict(leaf_layers(self.model))
        if layer not in layers:
            raise OptionError(f"there is no layer {layer!r}.{did_you_mean(layer, layers)}")
        return layers[layer].call

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """The model with one layer replaced."""

        def call(*x: Any, **named: Any) -> Any:
            with replaced_call(dict(leaf_layers(self.model))[layer], replacement):
                return module(*x, **named)

        return call

    def any_size(self) -> AbstractContextManager[None]:
        """See NetworkBody."""
        return any_size(self.model)

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """See NetworkBody."""
        return sequence_axes(dict(leaf_layers(self.model))[layer])

    def layers(self, module: Any) -> list[str]:
        """Names of the layers that hold no other layer."""
        return [name for name, _ in leaf_layers(self.model)]
