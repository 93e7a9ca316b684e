"""Methods of captum that take derivatives by the inputs."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch

from whybox.compat.captum.attr.attribution import Attribution, check_multiplied, check_path
from whybox.compat.captum.attr.call import Call, as_tensor, make_call
from whybox.compat.captum.attr.noisy_rows import NoisyRows
from whybox.compat.refused import refuse_given
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, InputError
from whybox.methods.saliency.expected_gradients import whole_groups

__all__ = [
    "DeepLift",
    "DeepLiftShap",
    "GradientShap",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "Saliency",
]


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
        """Return the mean contributions, in the shape of the inputs; and the delta, (rows,), which is captum's in the mean over baselines.

        Args:
            baselines: rows to be averaged over, or a function of the inputs that returns them. Others as of DeepLift.

        Raises:
            OptionError: `custom_attribution_func`. WhyboxError: as :func:`whybox.saliency`.
        """
        _refuse_custom(custom_attribution_func)
        call = make_call(self.model, inputs, target, additional_forward_args)
        return self._answer(
            call, "deeplift", with_delta=return_convergence_delta, background=_background(call, baselines, inputs)
        )


@final
class GradientShap(_FromBaselines):
    """Expected gradients. See Attribution; with noise, `explanation` is of the gradients at the drawn points, row by row.

    Attributes:
        std_errors: of the last answer, in its shape.
    """

    std_errors: Any = None

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
        """Return gradients integrated from the baselines, in the shape of the inputs; and the delta, (rows,), which is captum's in the mean over samples.

        Args:
            baselines: rows to be averaged over, or a function of the inputs that returns them. n_samples: gradients a row; the next multiple of 32 is taken, under
            noise the next even number from 4 on. stdevs: of the noise on the inputs, one for each input. Others as of captum.

        Raises:
            OptionError: `stdevs` of another form. WhyboxError: as :func:`whybox.saliency`.
        """
        wanted = check_whole_number("n_samples", n_samples)
        call = make_call(self.forward_func, inputs, target, additional_forward_args)
        rows = _background(call, baselines, inputs)
        if any(stdevs) if isinstance(stdevs, tuple) else stdevs:
            return self._under_noise(call, rows, NoisyRows.draw(inputs, stdevs, wanted), return_convergence_delta)
        answer = self._answer(
            call,
            "expected_gradients",
            with_delta=return_convergence_delta,
            background=rows,
            samples=whole_groups(wanted),
        )
        found = self.explanation if isinstance(self.explanation, tuple) else (self.explanation,)
        self.std_errors = call.to_tensors([e.std_error for e in found])
        return answer

    def _under_noise(self, call: Call, background: Any, noisy: NoisyRows, with_delta: bool) -> Any:
        """One gradient for each copy, on the way to it from one of the baselines; both of a pair share the baseline, at t and 1 - t of their ways."""
        given = background if isinstance(background, tuple) else (background,)
        pairs, copies, count = noisy.copies // 2, noisy.copies, len(given[0])
        t, drawn = np.empty((2, noisy.rows, pairs, 2))
        for row in range(noisy.rows):
            rng = np.random.default_rng((row, len(call.tensors)))
            t[row] = (rng.permutation(pairs) + rng.random(pairs))[:, None] / pairs
            drawn[row] = np.concatenate([rng.permutation(count) for _ in range(-(-pairs // count))])[:pairs, None]
        t[..., 1] = 1 - t[..., 0]
        rows, of = np.repeat(np.arange(noisy.rows), copies), drawn.reshape(-1).astype(np.intp)
        made = noisy.inputs(slice(None))
        at = call.select(rows).with_tensors(made if noisy.is_tuple else (made,))
        starts = call.select(rows).with_tensors([torch.as_tensor(b[of]) for b in given[: len(call.tensors)]])
        ways = [x.x.astype(np.float64) - b.x for x, b in zip(at.inputs, starts.inputs, strict=True)]
        points = [
            torch.as_tensor(b.x + t.reshape(-1, *(1,) * (way.ndim - 1)) * way)
            for b, way in zip(starts.inputs[: len(call.tensors)], ways, strict=False)
        ]
        found = at.with_tensors(points).ask("gradient")
        self._keep(call, found)
        values, errors = [], []
        for e, way in zip(found, ways, strict=False):
            each = (e.values * way).reshape(noisy.rows, pairs, 2, *way.shape[1:]).mean(axis=2)
            values.append(each.mean(axis=1))
            errors.append(each.std(axis=1, ddof=1) / np.sqrt(pairs))
        self.std_errors = call.to_tensors(errors)
        answer = call.to_tensors(values)
        if not with_delta:
            return answer
        change = at.ask("gradient")[0].prediction - starts.ask("gradient")[0].prediction
        sums = sum(v.reshape(noisy.rows, -1).sum(axis=1) for v in values)
        return answer, as_tensor(sums - change.reshape(noisy.rows, -1).mean(axis=1), call.tensors[0])


def _refuse_custom(given: Any) -> None:
    refuse_given("custom_attribution_func", given, "contributions are multipliers times differences. Leave it out.")


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
