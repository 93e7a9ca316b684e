"""Methods of captum that take derivatives by the inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, final

import numpy as np
import torch

from whybox.compat.captum.attr.attribution import Attribution, check_multiplied, check_path
from whybox.compat.captum.attr.call import Call, make_call
from whybox.compat.refused import refuse, refuse_given
from whybox.core.validation import check_positive, check_whole_number
from whybox.errors import Argument, InputError, OptionError

__all__ = [
    "DeepLift",
    "DeepLiftShap",
    "GradientShap",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "NoiseTunnel",
    "Saliency",
]

NOISE_KINDS: Final = ("smoothgrad", "smoothgrad_sq", "vargrad")
MIN_NOISY: Final = 4  # of SmoothGrad: two pairs, for a standard error
SAMPLE_GROUPS: Final = 32  # of expected gradients


@final
class Saliency(Attribution):
    """The gradient. See Attribution."""

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        abs: bool = True,  # noqa: A002  # captum's name
        additional_forward_args: Any = None,
    ) -> Any:
        """Return the gradient, or its absolute value, in the shape of the inputs.

        Raises:
            WhyboxError: as :func:`whybox.saliency`.
        """
        call = make_call(self.forward_func, inputs, target, additional_forward_args)
        found = call.ask("gradient")
        self._keep(call, found)
        return call.to_tensors([np.abs(e.values) if abs else e.values for e in found])


@final
class InputXGradient(Attribution):
    """The gradient times the input. See Attribution."""

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        """Return the gradient times the input, in the shape of the inputs.

        Raises:
            WhyboxError: as :func:`whybox.saliency`.
        """
        return self._answer(make_call(self.forward_func, inputs, target, additional_forward_args), "gradient_x_input")


@final
class GuidedBackprop(Attribution):
    """Guided backpropagation. See Attribution."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        """Return the guided gradient, in the shape of the inputs.

        Raises:
            WhyboxError: as :func:`whybox.saliency`; a network without a ReLU is refused.
        """
        return self._answer(make_call(self.model, inputs, target, additional_forward_args), "guided_backprop")


class _FromBaselines(Attribution):
    """A method whose maps are multiplied by the difference from baselines.

    Raises:
        OptionError: ``multiply_by_inputs=False``.
    """

    _has_delta = True
    multiplies_by_inputs = True

    def __init__(self, forward_func: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        check_multiplied(multiply_by_inputs)


@final
class IntegratedGradients(_FromBaselines):
    """Integrated gradients. See Attribution; ``multiply_by_inputs=False`` is refused."""

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
    ) -> Any:
        """Return the integral, in the shape of the inputs; with ``return_convergence_delta`` also the delta, (rows,).

        Args:
            internal_batch_size: most rows of one forward. Others as of captum.

        Raises:
            OptionError: another `method`. WhyboxError: as :func:`whybox.saliency`.
        """
        check_path(method)
        call = make_call(self.forward_func, inputs, target, additional_forward_args)
        return self._answer(
            call.with_batches("internal_batch_size", internal_batch_size),
            "integrated_gradients",
            with_delta=return_convergence_delta,
            baseline=call.baseline(baselines),
            steps=check_whole_number("n_steps", n_steps),
        )


@final
class DeepLift(_FromBaselines):
    """DeepLIFT. See Attribution; `eps` is refused."""

    def __init__(self, model: Any, multiply_by_inputs: bool = True, eps: float = 1e-10) -> None:
        super().__init__(model, multiply_by_inputs)
        refuse_given(
            "eps", eps, "rules need no threshold below which differences count as 0. Leave it out.", default=1e-10
        )
        self.model = model

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        """Return contributions to the difference from the baselines, in the shape of the inputs; and the delta, (rows,).

        Raises:
            OptionError: `custom_attribution_func`. WhyboxError: as :func:`whybox.saliency`; an operator without a rule is refused by name.
        """
        _refuse_custom(custom_attribution_func)
        call = make_call(self.model, inputs, target, additional_forward_args)
        return self._answer(call, "deeplift", with_delta=return_convergence_delta, baseline=call.baseline(baselines))


@final
class DeepLiftShap(_FromBaselines):
    """DeepLIFT in the mean over baselines. See Attribution."""

    def __init__(self, model: Any, multiply_by_inputs: bool = True) -> None:
        super().__init__(model, multiply_by_inputs)
        self.model = model

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        """Return the mean contributions, in the shape of the inputs.

        Args:
            baselines: rows to be averaged over, or a function of the inputs that returns them. Others as of DeepLift.

        Raises:
            OptionError: `custom_attribution_func`, or the delta. WhyboxError: as :func:`whybox.saliency`.
        """
        _refuse_custom(custom_attribution_func)
        _refuse_delta(return_convergence_delta)
        call = make_call(self.model, inputs, target, additional_forward_args)
        return self._answer(call, "deeplift", background=_background(call, baselines, inputs))


@final
class GradientShap(_FromBaselines):
    """Expected gradients. See Attribution."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int = 5,
        stdevs: Any = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Return gradients integrated from the baselines, in the shape of the inputs.

        Args:
            baselines: rows to be averaged over, or a function of the inputs that returns them. n_samples: gradients a row, the next multiple of 32 is taken. Others
                as of captum.

        Raises:
            OptionError: noise, or the delta. WhyboxError: as :func:`whybox.saliency`.
        """
        if any(stdevs) if isinstance(stdevs, tuple) else stdevs:
            refuse("stdevs", "rows are explained without noise; leave it out.")
        _refuse_delta(return_convergence_delta)
        samples = -(-check_whole_number("n_samples", n_samples) // SAMPLE_GROUPS) * SAMPLE_GROUPS
        call = make_call(self.forward_func, inputs, target, additional_forward_args)
        return self._answer(
            call, "expected_gradients", background=_background(call, baselines, inputs), samples=samples
        )


@final
class NoiseTunnel(Attribution):
    """The gradient under noise.

    Args:
        attribution_method: a Saliency.

    Attributes: see Attribution; a tuple of explanations, one for each set of rows of one range.

    Raises:
        OptionError: another method than Saliency.
    """

    def __init__(self, attribution_method: Any) -> None:
        if not isinstance(attribution_method, Saliency):
            refuse(
                f"NoiseTunnel({type(attribution_method).__name__}(...))",
                "noise is averaged over for gradients: NoiseTunnel(Saliency(model)). For paths from many points, GradientShap.",
            )
        super().__init__(attribution_method.forward_func)
        self.attribution_method = attribution_method

    def attribute(
        self,
        inputs: Any,
        nt_type: str = "smoothgrad",
        nt_samples: int = 5,
        nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0,
        draw_baseline_from_distrib: bool = False,
        *,
        target: Any = None,
        abs: bool = True,  # noqa: A002  # captum's name
        additional_forward_args: Any = None,
    ) -> Any:
        """Return the mean, the mean square or the variance of the gradient under noise, in the shape of the inputs.

        Args:
            nt_samples: of each row; the next even number is taken, at least 4. nt_samples_batch_size: most rows of one forward. stdevs: of the noise. Others as of
                captum.

        Raises:
            OptionError: the mean or variance of absolute values, or several inputs. InputError: a row without a range. WhyboxError: as :func:`whybox.saliency`.
        """
        if nt_type not in NOISE_KINDS:
            raise OptionError(Argument("nt_type", nt_type), " is not known.", known=NOISE_KINDS)
        refuse_given("draw_baseline_from_distrib", draw_baseline_from_distrib, "gradients have no baseline. Leave it out.", default=False)  # fmt: skip
        if abs and nt_type != "smoothgrad_sq":
            refuse(
                f"nt_type={nt_type!r} of absolute gradients (abs=True is the default)",
                "gradients are averaged with their signs. Add abs=False, and take .abs() of the mean where it is drawn; or nt_type='smoothgrad_sq', the mean square.",
            )
        call = make_call(self.forward_func, inputs, target, additional_forward_args)
        if len(call.tensors) > 1:
            refuse(
                "NoiseTunnel of several inputs",
                "noise is relative to each input's range there: wb.saliency(model, inputs, target, 'smoothgrad', noise=0.15).",
            )
        samples = max(MIN_NOISY, 2 * -(-check_whole_number("nt_samples", nt_samples) // 2))
        (width,) = call.per_input("stdevs", stdevs)
        call = call.with_batches("nt_samples_batch_size", nt_samples_batch_size)
        return self._under_noise(call, nt_type, samples, check_positive("stdevs", width))

    def _under_noise(self, call: Call, nt_type: str, samples: int, width: float) -> Any:
        """Rows of one range together, because whybox takes the noise relative to it."""
        rows = call.inputs[0].x.reshape(call.n_rows, -1)
        ranges = np.ptp(rows, axis=1)
        if not ranges.all():
            raise InputError(
                f"all numbers of row {int(np.argmin(ranges != 0))} are the same, and noise is relative to a row's range; leave the row out."
            )
        values = np.empty(call.inputs[0].x.shape)
        answers = []
        kinds = ["smoothgrad", "vargrad"] if nt_type == "smoothgrad_sq" else [nt_type]
        for one in np.unique(ranges):
            at = np.flatnonzero(ranges == one)
            found = call.select(at).ask(kinds, samples=samples, noise=width / float(one), seed=int(at[0]))
            maps = [found[kind][0].values for kind in kinds]
            values[at] = maps[0] ** 2 + maps[1] if nt_type == "smoothgrad_sq" else maps[0]
            answers += [found[kind][0] for kind in kinds]
        self._keep(replace(call, is_tuple=len(answers) > 1), tuple(answers))
        return call.to_tensors([values])


def _refuse_custom(given: Any) -> None:
    refuse_given("custom_attribution_func", given, "contributions are multipliers times differences. Leave it out.")


def _refuse_delta(wanted: Any) -> None:
    if wanted:
        refuse(
            "return_convergence_delta=True",
            "captum has one for each baseline or sample; read .explanation.extras['completeness_error'], one a row.",
        )


def _background(call: Call, baselines: Any, inputs: Any) -> Any:
    """Rows of the baselines, for each input; held arguments are the first row's there, and are not used."""
    if callable(baselines) and not isinstance(baselines, torch.Tensor):
        baselines = baselines(*_arguments_of(baselines, inputs))
    each = call.per_input("baselines", baselines)
    if not all(isinstance(b, torch.Tensor) and b.ndim == t.ndim for b, t in zip(each, call.tensors, strict=True)):
        raise InputError(Argument("baselines"), " must be rows like the inputs: a tensor, or a tuple of them.")
    arrays = [call.network.numpy(b) for b in each]
    held = [np.repeat(i.x[:1], len(arrays[0]), axis=0) for i in call.inputs[len(arrays) :]]
    typed = [a.astype(i.x.dtype) for a, i in zip(arrays, call.inputs, strict=False)]
    return (*typed, *held) if len(call.inputs) > 1 else typed[0]


def _arguments_of(function: Any, inputs: Any) -> tuple[Any, ...]:
    """The inputs, for a function of one argument; nothing for one of none."""
    import inspect

    return (inputs,) if inspect.signature(function).parameters else ()
