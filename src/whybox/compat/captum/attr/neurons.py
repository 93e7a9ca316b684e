"""Methods of captum that explain a neuron: which inputs the score depends on through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch

from whybox.compat.captum.attr.call import Call
from whybox.compat.captum.attr.layers import MultipliedLayerAttribution, check_floats, refuse_grad_kwargs, side_of
from whybox.compat.refused import refuse_given
from whybox.core.progress import no_progress_bars
from whybox.core.validation import check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.saliency import saliency
from whybox.models.differentiable import LayerSide
from whybox.models.registry import as_network

__all__ = ["NeuronConductance"]


@final
class NeuronConductance(MultipliedLayerAttribution):
    """The part of the change of the score that passes from each input through one neuron. See MultipliedLayerAttribution.

    Over all inputs it adds up to the neuron's part of LayerConductance. `explanation` is of the neuron's gradients along the path.
    """

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
        grad_kwargs: Any = None,
    ) -> Any:
        """Return the conductance, in the shape of the inputs: the integral of (score by neuron) x (neuron by input) x the way of the input.

        Source: Dhamdhere, Sundararajan & Yan 2018 (arXiv:1805.12233), definition 1.

        Args:
            neuron_selector: the neuron's number; a tuple with one for each axis of the layer, in which slices are summed; or a function of the layer's output.
            method: Gauss-Legendre points are taken in place of captum's. Others as of captum.

        Raises:
            OptionError: another `method`, `grad_kwargs`, or a neuron that is not there. WhyboxError: as :func:`whybox.saliency`.
        """
        if method != "gausslegendre":
            refuse_given("method", method, "points are those of Gauss-Legendre. Leave it out.", default="riemann_trapezoid")  # fmt: skip
        refuse_grad_kwargs(grad_kwargs)
        call = self._call(inputs, target, additional_forward_args).with_batches(
            "internal_batch_size", internal_batch_size
        )
        check_floats(call)
        steps, side = check_whole_number("n_steps", n_steps), side_of(attribute_to_neuron_input)
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        starts = call.baseline_arrays(baselines)
        along = _along(call, starts, (nodes + 1) / 2)
        arrays = [i.x for i in along.inputs]
        slopes = _score_by_neuron(along, arrays, side, neuron_selector)
        network: Any = call.network  # of torch, whose module it is
        read = as_network(_Neuron(network.module, self.layer, side, neuron_selector))
        neuron = replace(read, max_batch_size=network.max_batch_size)
        with no_progress_bars(hidden=True):
            found: Any = saliency(neuron, along.inputs, None, "gradient", reduce=None)
        self.explanation = found if call.is_tuple else found[0]
        maps = []
        for e, i, start in zip(found, call.inputs, starts, strict=False):
            shape = (call.n_rows, steps, *(1,) * (i.x.ndim - 1))
            each = e.values.reshape(*shape[:2], *i.x.shape[1:]) * slopes.reshape(shape)
            maps.append(np.tensordot(weights / 2, each, axes=(0, 1)) * (i.x.astype(np.float64) - start))
        return call.to_tensors(maps[: len(call.tensors)])


def _along(call: Call, starts: list[Any], fractions: Floats) -> Call:
    """The same question at points of the straight paths, a row's own together; held arguments are the row's."""
    rows = np.repeat(np.arange(call.n_rows), len(fractions))
    points = []
    for i, start in zip(call.inputs[: len(call.tensors)], starts, strict=False):
        t = np.tile(fractions, call.n_rows).reshape(-1, *(1,) * (i.x.ndim - 1))
        begin = np.asarray(start, dtype=np.float64)[rows]
        points.append(torch.as_tensor(begin + t * (i.x[rows] - begin)))
    return call.select(rows).with_tensors(points)


def _score_by_neuron(call: Call, arrays: list[Any], side: LayerSide, selector: Any) -> Floats:
    """The derivative of the score by the neuron, (rows,): of several that are summed, the sum of theirs, as in captum."""
    net = call.network
    with net.session():
        inner, _ = net.split_at_layer(call.layer, tuple(net.array(a[:1]) for a in arrays), side)
    activations = call.layer_output(arrays, side).astype(arrays[0].dtype)
    names = ("row", *(f"axis_{k}" for k in range(1, activations.ndim)))
    at_layer = Input(activations, names, None, None, f"layer {call.layer}")
    held = tuple(replace(i, is_held=True) for i in call.inputs)
    with no_progress_bars(hidden=True):
        found: Any = saliency(inner, (at_layer, *held), call.target, "gradient", reduce=None)
    return np.asarray(select_neuron(torch.as_tensor(np.array(found[0].values)), selector).numpy())


def select_neuron(layer: torch.Tensor, selector: Any) -> torch.Tensor:
    """Return one number a row of what a layer returns, (rows, ...); slices are summed.

    Raises:
        OptionError: there is no such neuron, or more than one number a row.
    """
    if callable(selector):
        chosen = selector(layer)
    else:
        place = selector if isinstance(selector, tuple) else (selector,)
        if len(place) != layer.ndim - 1:
            raise OptionError(
                Argument("neuron_selector", selector), f" must have {layer.ndim - 1} numbers: of each row the layer has the shape {tuple(layer.shape[1:])}."
            )  # fmt: skip
        try:
            chosen = layer[(slice(None), *place)]
        except IndexError:
            raise OptionError(
                Argument("neuron_selector", selector),
                f": of each row the layer has the shape {tuple(layer.shape[1:])}.",
            ) from None
        if any(isinstance(one, slice) for one in place):
            chosen = chosen.reshape(len(chosen), -1).sum(1)
    if not isinstance(chosen, torch.Tensor) or chosen.shape != layer.shape[:1]:
        raise OptionError(Argument("neuron_selector"), " must choose one number of each row.")
    return chosen


@final
class _Neuron(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """The network as far as a neuron: its value is the output."""

    def __init__(self, network: torch.nn.Module, layer: torch.nn.Module, side: LayerSide, selector: Any) -> None:
        super().__init__()
        self.network, self._side, self._selector = network, side, selector
        self._layer: Callable[[], torch.nn.Module] = lambda: layer  # it is a part of the network already
        self.training = False

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        """Run the network, and return the neuron."""
        seen: list[torch.Tensor] = []  # copies: the layer that takes it may work in place
        layer = self._layer()
        if self._side == "output":
            hook = layer.register_forward_hook(lambda module, args, out: seen.append(out.clone()))
        else:
            hook = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
        try:
            self.network(*x)
        finally:
            hook.remove()
        return select_neuron(seen[0], self._selector)
