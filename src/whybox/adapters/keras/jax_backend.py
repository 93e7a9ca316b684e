"""A model of Keras on the jax backend as a function of its variables."""

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
    """See Body; layers are reached by what they compute being another for the time of a call."""

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
        """Its configuration."""
        return model_structure(self.model)

    def layer_at(self, module: Any, layer: str) -> Any:
        """What a layer computes.

        Raises:
            OptionError: there is no such layer.
        """
        known = dict(leaf_layers(self.model))
        if layer not in known:
            raise OptionError(f"there is no layer {layer!r}.{did_you_mean(layer, known)}")
        return known[layer].call

    def replace_layer(self, module: Any, layer: str, replacement: Any) -> Any:
        """The model with one layer computing something else."""

        def call(*x: Any, **named: Any) -> Any:
            with replaced_call(dict(leaf_layers(self.model))[layer], replacement):
                return module(*x, **named)

        return call

    def any_size(self) -> AbstractContextManager[None]:
        """See Body."""
        return any_size(self.model)

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """See Body."""
        return sequence_axes(dict(leaf_layers(self.model))[layer])

    def layers(self, module: Any) -> list[str]:
        """Layers without layers of their own."""
        return [name for name, _ in leaf_layers(self.model)]
