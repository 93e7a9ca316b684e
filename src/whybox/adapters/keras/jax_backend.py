"""A model of Keras on the jax backend as a function of its variables."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import keras

from whybox.adapters.jax.modules import Body
from whybox.adapters.keras.layers import any_size, call_model, instead, leaves, sequence_axes, structure_of
from whybox.errors import OptionError, did_you_mean

__all__ = ["Stateless", "keys_of"]


def keys_of(model: Any) -> list[str]:
    """A name for each of the model's variables, which begins with its layer's."""
    names = {id(v): f"{name}.{v.name}" for name, layer in leaves(model) for v in layer.variables}
    return [f"{names.get(id(v), 'model.' + v.name)}_{i}" for i, v in enumerate(model.variables)]


@final
@dataclass(frozen=True)
class Stateless(Body):
    """See Body; layers are reached by what they compute being another for the time of a call."""

    model: Any

    def module(self, params: Any) -> Any:
        """The model with these variables."""

        def call(*x: Any, **named: Any) -> Any:
            variables = [(v, params[k]) for v, k in zip(self.model.variables, keys_of(self.model), strict=True)]
            with keras.StatelessScope(state_mapping=variables):
                return call_model(self.model, x, named)

        return call

    @property
    def structure(self) -> str:
        """Its configuration."""
        return structure_of(self.model)

    def at(self, module: Any, layer: str) -> Any:
        """What a layer computes.

        Raises:
            OptionError: there is no such layer.
        """
        known = dict(leaves(self.model))
        if layer not in known:
            raise OptionError(f"there is no layer {layer!r}.{did_you_mean(layer, known)}")
        return known[layer].call

    def put(self, module: Any, layer: str, by: Any) -> Any:
        """The model with one layer computing something else."""

        def call(*x: Any, **named: Any) -> Any:
            with instead(dict(leaves(self.model))[layer], by):
                return module(*x, **named)

        return call

    def any_size(self) -> AbstractContextManager[None]:
        """See Body."""
        return any_size(self.model)

    def sequence_axes(self, module: Any, layer: str) -> tuple[str, ...] | None:
        """See Body."""
        return sequence_axes(dict(leaves(self.model))[layer])

    def layers(self, module: Any) -> list[str]:
        """Layers without layers of their own."""
        return [name for name, _ in leaves(self.model)]
