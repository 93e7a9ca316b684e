"""Models of Keras 3 as networks: on torch or jax, by the adapter of that library, always with ``training=False``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from inspect import Parameter, Signature
from typing import Any

import keras

from whybox.adapters.keras.layers import (
    any_size,
    call_model,
    leaf_layers,
    model_inputs,
    model_structure,
    replaced_call,
    sequence_layer_inputs,
)
from whybox.errors import UnsupportedModelError
from whybox.models.differentiable import Differentiable

__all__ = ["network"]


def network(obj: Any, output: Any = None) -> Differentiable:
    """Wrap a model of Keras; ``keras.config.image_data_format()`` says where pictures have their channels.

    Raises:
        UnsupportedModelError: a layer that is not a model, a model that was not built, or a backend other than torch and jax.
    """
    if not isinstance(obj, keras.Model):
        raise UnsupportedModelError(f"{type(obj).__name__} is not a keras.Model; put it into one.")
    if not obj.built:
        raise UnsupportedModelError("the model was not built yet; call it once on data.")
    backend = keras.backend.backend()
    if backend == "torch":
        net: Differentiable = _torch_network(obj, output)
    elif backend == "jax":
        net = _jax_network(obj, output)
    else:
        raise UnsupportedModelError(
            f"Keras runs on {backend} here; saliency maps need its torch or jax backend: set KERAS_BACKEND=torch before keras is imported."
        )
    return replace(
        net,
        kind=f"{type(obj).__name__} (keras model on {backend}, {obj.count_params():,} parameters)",
        library="keras",
        arithmetic=_arithmetic_of(obj, net.arithmetic),
        channels="last" if keras.config.image_data_format() == "channels_last" else "first",
    )


def _arithmetic_of(model: Any, weights: str) -> str:
    """The type that layers compute in, if it is shorter than that of their weights; else that of the weights."""
    shorter = {d for _, layer in leaf_layers(model) if "16" in (d := str(getattr(layer, "compute_dtype", "")))}
    if "mixed" in weights:
        return weights
    return weights if not shorter - {weights} else f"{min(shorter)} mixed with {weights}"


def _torch_network(model: Any, output: Any) -> Differentiable:
    import torch

    from whybox.adapters.torch.module import wrap

    class LayerWeights(torch.nn.Module):  # type: ignore[misc]
        """The parameters of one layer; hooks on this module are called with the layer's output."""

        def forward(self, output: Any) -> Any:
            return output

    class Evaluated(torch.nn.Module):  # type: ignore[misc]
        """The model with ``training=False``, and its layers' weights by name. A copy has its own weights and shares the model."""

        def __init__(self, weights: Callable[[Any], Any] | None = None) -> None:
            super().__init__()
            layers = dict(leaf_layers(model))
            self.__dict__.update(layers_of=layers, values=[], copied=weights is not None)
            self.__dict__.update(any_size=partial(any_size, model))
            self.__dict__.update(sequence_layers=partial(sequence_layer_inputs, layers))
            seen: set[int] = set()
            for name, layer in self.layers_of.items():
                own = LayerWeights()
                self._keep(own, layer.variables, seen, weights)
                self.add_module(name, own)
            self._keep(self, model.variables, seen, weights)
            self.eval()

        def _keep(self, own: torch.nn.Module, variables: Any, seen: set[int], weights: Any) -> None:
            for v in variables:
                if id(v) in seen or not v.value.is_floating_point():
                    continue
                seen.add(id(v))
                name = f"{v.name}_{len(seen)}".replace(".", "_")
                value = v.value if weights is None else weights(v)
                if v.trainable:
                    own.register_parameter(name, value)
                else:
                    own.register_buffer(name, value.detach())
                self.values.append((v, value))

        def __deepcopy__(self, memo: Any) -> Evaluated:
            value_of = {id(v): value for v, value in self.values}
            return Evaluated(lambda v: torch.nn.Parameter(value_of[id(v)].detach().clone(), requires_grad=False))

        def extra_repr(self) -> str:
            return model_structure(model)

        def forward(self, *x: Any, **named: Any) -> Any:
            with ExitStack() as stack:
                if self.copied:
                    stack.enter_context(keras.StatelessScope(state_mapping=self.values))
                for name, own in self.named_children():
                    if own._forward_hooks:  # noqa: SLF001  # torch has no public name for it
                        layer = self.layers_of[name]
                        stack.enter_context(replaced_call(layer, _followed_by_hooks(own, layer.call)))
                return call_model(model, x, named)

        forward.__signature__ = _input_signature(model)  # type: ignore[attr-defined]  # read by parameter_names

    return wrap(Evaluated(), output)


def _input_signature(model: Any) -> Signature:
    """Signature of a model's `call`, with self."""
    needed = model_inputs(model, required=True)
    kind = Parameter.POSITIONAL_OR_KEYWORD
    own = [
        Parameter(n, kind, default=Parameter.empty if n in needed else None) for n in model_inputs(model) if n != "**"
    ]
    variadic = [Parameter("named", Parameter.VAR_KEYWORD)] if "**" in model_inputs(model) else []
    return Signature([Parameter("self", kind), *sorted(own, key=lambda p: p.default is None), *variadic])


def _followed_by_hooks(own: Any, call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **named: own(call(*given, **named))


def _jax_network(model: Any, output: Any) -> Differentiable:
    from whybox.adapters.jax.network import wrap_body
    from whybox.adapters.keras.jax_backend import Stateless, variable_names

    params = {k: v.value for k, v in zip(variable_names(model), model.variables, strict=True)}
    signature = model_inputs(model), model_inputs(model, required=True)
    return wrap_body(Stateless(True, model), params, "keras model", output=output, signature=signature)
