"""Methods of captum that explain a layer, or by a layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np
import torch

from whybox.compat.captum.attr.attribution import Attribution, check_multiplied, check_path
from whybox.compat.captum.attr.call import Call, as_tensor, make_call
from whybox.compat.refused import refuse, refuse_given
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, InputError
from whybox.models.differentiable import LayerSide

__all__ = [
    "GuidedGradCam",
    "LayerActivation",
    "LayerAttribution",
    "LayerConductance",
    "LayerGradCam",
    "LayerIntegratedGradients",
    "MultipliedLayerAttribution",
    "check_floats",
    "refuse_grad_kwargs",
    "side_of",
]


class LayerAttribution(Attribution):
    """A method that explains a layer, or by a layer.

    Args:
        forward_func: module or function. layer: one of its modules. device_ids: refused.

    Attributes:
        layer: the module.

    Raises:
        OptionError: `device_ids` are given.
    """

    def __init__(self, forward_func: Any, layer: Any, device_ids: Any = None) -> None:
        super().__init__(forward_func)
        refuse_given("device_ids", device_ids, "a module runs on the device that its parameters are on.")
        self.layer = layer

    def _call(self, inputs: Any, target: Any, additional_forward_args: Any, channel_axis: Any = "auto") -> Call:
        return make_call(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            layer=self.layer,
            channel_axis=channel_axis,
            derivatives=False,
        )

    def _answer_of_layer(self, call: Call, found: Any, *, with_delta: bool) -> Any:
        """The map of the layer as a tensor; with the delta if that is wanted."""
        self.explanation = found[0]
        answer = as_tensor(found[0].values, call.tensors[0])
        return (answer, call.delta(found)) if with_delta else answer

    @staticmethod
    def interpolate(layer_attribution: Any, interpolate_dims: Any, interpolate_mode: str = "nearest") -> torch.Tensor:
        """Return a map of a layer at more positions, by ``torch.nn.functional.interpolate``: ``(rows, channels, *interpolate_dims)``."""
        return torch.nn.functional.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


class MultipliedLayerAttribution(LayerAttribution):
    """A method that is multiplied by the difference from baselines. See LayerAttribution.

    Raises:
        OptionError: ``multiply_by_inputs=False``, or `device_ids`.
    """

    multiplies_by_inputs = True

    def __init__(self, forward_func: Any, layer: Any, device_ids: Any = None, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func, layer, device_ids)
        check_multiplied(multiply_by_inputs)


@final
class LayerActivation(LayerAttribution):
    """What a layer returns. See LayerAttribution."""

    def attribute(
        self, inputs: Any, additional_forward_args: Any = None, attribute_to_layer_input: bool = False
    ) -> torch.Tensor:
        """Return the output of the layer (its input), rows first.

        Raises:
            WhyboxError: the layer does not run once with one tensor of floats.
        """
        call = self._call(inputs, 0, additional_forward_args)
        return as_tensor(
            call.layer_output([i.x for i in call.inputs], side_of(attribute_to_layer_input)), call.tensors[0]
        )


@final
class LayerIntegratedGradients(MultipliedLayerAttribution):
    """Integrated gradients of a layer. See MultipliedLayerAttribution."""

    _has_delta = True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Any = None,
    ) -> Any:
        """Return the integral between what the layer is at the baselines and at the rows, in the layer's shape; and the delta, (rows,).

        Args:
            inputs: floats; or whole numbers such as token ids, if the layer embeds them. baselines: of the inputs. Others as of captum.

        Raises:
            OptionError: another `method`, or `grad_kwargs`. WhyboxError: as :func:`whybox.saliency`.
        """
        check_path(method)
        refuse_grad_kwargs(grad_kwargs)
        call = self._call(inputs, target, additional_forward_args).with_batches(
            "internal_batch_size", internal_batch_size
        )
        steps, side = check_whole_number("n_steps", n_steps), side_of(attribute_to_layer_input)
        if not call.tensors[0].is_floating_point():
            if attribute_to_layer_input:
                refuse("attribute_to_layer_input=True of token ids", "whole numbers have no derivatives; leave it out.")
            whole = (call.layer_output(call.baseline_arrays(baselines), side), *(None,) * len(call.inputs))
            found = (call.ask("integrated_gradients", embedding=call.layer, baseline=whole, steps=steps),)
        else:
            check_floats(call)
            found = call.ask("layer_integrated_gradients", layer=call.layer, side=side, baseline=call.baseline(baselines), steps=steps)  # fmt: skip
        return self._answer_of_layer(call, found, with_delta=return_convergence_delta)


@final
class LayerConductance(LayerAttribution):
    """Conductance of a layer. See LayerAttribution."""

    _has_delta = True

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        grad_kwargs: Any = None,
    ) -> Any:
        """Return how much of the change of the output passes through each unit, in the layer's shape; and the delta, (rows,).

        Args:
            n_steps: the next even number is taken. Others as of captum.

        Raises:
            OptionError: another `method`, `grad_kwargs`, or the delta where part of the change passes by the layer. WhyboxError: as :func:`whybox.saliency`.
        """
        check_path(method)
        refuse_grad_kwargs(grad_kwargs)
        call = self._call(inputs, target, additional_forward_args).with_batches(
            "internal_batch_size", internal_batch_size
        )
        check_floats(call)
        steps = 2 * -(-check_whole_number("n_steps", n_steps) // 2)
        found = call.ask(
            "conductance", layer=call.layer, side=side_of(attribute_to_layer_input), baseline=call.baseline(baselines), steps=steps
        )  # fmt: skip
        return self._answer_of_layer(call, found, with_delta=return_convergence_delta)


@final
class LayerGradCam(LayerAttribution):
    """Grad-CAM. See LayerAttribution."""

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: Any = None,
    ) -> torch.Tensor:
        """Return the map on the grid of the layer, (rows, 1, y, x).

        Raises:
            OptionError: `attribute_to_layer_input`, ``attr_dim_summation=False`` or `grad_kwargs`. WhyboxError: as :func:`whybox.saliency`.
        """
        refuse_grad_kwargs(grad_kwargs)
        _refuse_layer_input(attribute_to_layer_input)
        if not attr_dim_summation:
            refuse(
                "attr_dim_summation=False",
                "channels are summed; wb.saliency(model, x, method='conductance', layer=...) has a number for each.",
            )
        call = self._call(inputs, target, additional_forward_args, channel_axis=1)
        found = _grad_cam(call, signed=not relu_attributions)
        return self._answer_of_layer(call, found, with_delta=False)[:, None]


@final
class GuidedGradCam(LayerAttribution):
    """Guided backpropagation, times the Grad-CAM map of a layer. See LayerAttribution."""

    def __init__(self, model: Any, layer: Any, device_ids: Any = None) -> None:
        super().__init__(model, layer, device_ids)
        self.model = model

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return the product, in the shape of the inputs.

        Args:
            interpolate_mode: of ``torch.nn.functional.interpolate``. Others as of captum.

        Raises:
            OptionError: `attribute_to_layer_input`, or several inputs. WhyboxError: as :func:`whybox.saliency`.
        """
        _refuse_layer_input(attribute_to_layer_input)
        call = self._call(inputs, target, additional_forward_args, channel_axis=1)
        if len(call.tensors) > 1:
            refuse(
                "GuidedGradCam of several inputs",
                "wb.saliency(model, inputs, target, 'guided_gradcam', layer=..., on_input=0).",
            )
        guided, cam = call.ask("guided_backprop"), _grad_cam(call, signed=False)
        self._keep(replace(call, is_tuple=True), (*guided, *cam))
        at_input = self.interpolate(
            torch.as_tensor(np.array(cam[0].values[:, None])), call.tensors[0].shape[2:], interpolate_mode
        )
        return call.to_tensors([guided[0].values * at_input.numpy()])


def _grad_cam(call: Call, *, signed: bool) -> Any:
    """The map on the layer's grid. As in captum, axes of the layer are those of the input, channels first.

    Raises:
        OptionError: the input has no positions.
    """
    if call.inputs[0].channel_axis is None:
        refuse(
            "Grad-CAM of inputs without positions",
            f"(first) inputs have the shape {tuple(call.tensors[0].shape)}, and need axes for positions after rows and channels; use LayerConductance.",
        )
    return call.ask(
        "gradcam", layer=call.layer, upsample=False, signed=signed, reduce="auto", layer_axes=call.inputs[0].dims[1:]
    )


def check_floats(call: Call) -> None:
    """Check that every input can go to its baseline in a straight line.

    Raises:
        InputError: one holds whole numbers.
    """
    if not all(t.is_floating_point() for t in call.tensors):
        raise InputError(
            Argument("inputs"), " hold whole numbers, which have no path to a baseline: pass them in ", Argument("additional_forward_args", example="..."),
            "; token ids, given first, are explained by LayerIntegratedGradients(model, model.embedding).",
        )  # fmt: skip


def side_of(attribute_to_layer_input: bool) -> LayerSide:
    """Return which side of a layer is meant: its input or its output."""
    return "input" if attribute_to_layer_input else "output"


def refuse_grad_kwargs(given: Any) -> None:
    """Refuse ``grad_kwargs``.

    Raises:
        OptionError: they are given.
    """
    refuse_given("grad_kwargs", given, "it is for torch.autograd.grad. Leave it out.")


def _refuse_layer_input(wanted: bool) -> None:
    if wanted:
        refuse("attribute_to_layer_input=True", "name the layer before it; its output is what this one is given.")
