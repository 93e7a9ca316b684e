"""Methods of captum that mask: features, windows, Shapley values and LIME."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, NoReturn, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.compat.captum.attr.attribution import Attribution
from whybox.compat.captum.attr.call import Call, as_tensor, make_call
from whybox.compat.refused import refuse_given
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, InputError, LimitError, OptionError
from whybox.games.local_linear import min_local_evaluations
from whybox.games.sampling import min_evaluations

__all__ = ["FeatureAblation", "KernelShap", "Lime", "Occlusion", "ShapleyValueSampling", "ShapleyValues"]

DEFAULT_SAMPLES: Final = 25  # of captum
MAX_EXACT: Final = 20  # features of which all coalitions are evaluated


class _OfParts(Attribution):
    """A method that masks groups of features."""

    def _of_parts(
        self,
        call: Call,
        method: str,
        baselines: Any,
        masks: list[npt.NDArray[np.int64]],
        *,
        in_shape: bool = True,
        **options: Any,
    ) -> Any:
        """Each feature has the value of its group; or, if `in_shape` is False, the values of groups, (rows, groups), from the smallest number to the largest."""
        parts = call.with_held(tuple(m[0] if len(m) == 1 < call.n_rows else m for m in masks))
        found = call.ask(
            method,
            baseline=call.baseline(baselines),
            parts=parts,
            reduce="auto",
            joined=len(call.inputs) > 1,
            **options,
        )
        self._keep(call, found)
        of_groups = found[0].extras["part"][1]
        if not in_shape:
            return as_tensor(_by_number(of_groups, masks), call.tensors[0])
        answer = [np.empty(i.x.shape) for i in call.inputs[: len(masks)]]
        for row in range(call.n_rows):
            groups = _groups_of(masks, row)
            for to, mask in zip(answer, masks, strict=True):
                to[row] = of_groups[row][np.searchsorted(groups, mask[min(row, len(mask) - 1)])]
        return call.to_tensors(answer)

    def _call(self, inputs: Any, target: Any, additional_forward_args: Any, perturbations_per_eval: int) -> Call:
        """Most rows of a forward are those of captum, if `perturbations_per_eval` is given."""
        name = "perturbations_per_eval"
        many = check_whole_number(name, perturbations_per_eval)
        call = make_call(
            self.forward_func, inputs, target, additional_forward_args, channel_axis=None, derivatives=False
        )
        return call.with_batches(name, many * call.n_rows if many > 1 else None)


@final
class FeatureAblation(_OfParts):
    """How much the output drops when a group of features is replaced. See Attribution."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """Return the drop of its group at each feature, in the shape of the inputs.

        Raises:
            WhyboxError: as :func:`whybox.saliency`.
        """
        call = self._call(inputs, target, additional_forward_args, perturbations_per_eval)
        return self._of_parts(call, "ablation", baselines, _groups(call, feature_mask), show_progress=show_progress)


@final
class ShapleyValueSampling(_OfParts):
    """Shapley values of groups. See Attribution."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """Return the Shapley value of its group at each feature, in the shape of the inputs.

        Args:
            n_samples: as many evaluations are made as captum makes in so many orders; values are exact where this is all coalitions. Others as of captum.

        Raises:
            LimitError: `n_samples` are too few for so many groups. WhyboxError: as :func:`whybox.saliency`.
        """
        call = self._call(inputs, target, additional_forward_args, perturbations_per_eval)
        masks = _groups(call, feature_mask)
        orders, count = check_whole_number("n_samples", n_samples), _count(masks)
        samples = orders * count + 1
        if samples < (least := min_evaluations(count)):
            _refuse_few(orders, -(-(least - 1) // count), count)
        return self._of_parts(call, "shapley", baselines, masks, samples=samples, show_progress=show_progress)


@final
class ShapleyValues(_OfParts):
    """Shapley values of groups, from all coalitions. See Attribution."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """Return the Shapley value of its group at each feature, in the shape of the inputs.

        Raises:
            LimitError: more than 20 groups. WhyboxError: as :func:`whybox.saliency`.
        """
        call = self._call(inputs, target, additional_forward_args, perturbations_per_eval)
        masks = _groups(call, feature_mask)
        if (count := _count(masks)) > MAX_EXACT:
            raise LimitError(f"{count} features have {2.0**count:.2g} coalitions; group them by feature_mask, or use ShapleyValueSampling.")  # fmt: skip
        return self._of_parts(call, "shapley", baselines, masks, samples=2**count, show_progress=show_progress)


class _OfFewSamples(_OfParts):
    """A method that evaluates at most `n_samples` masks of a row."""

    _method: ClassVar[str]
    _least: Callable[[int], int]

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int = 25,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Any:
        """Return the Shapley value (KernelShap) or coefficient (Lime) of its group at each feature, in the shape of the inputs.

        Args:
            n_samples: most evaluations of a row; 25, the default, or as many as standard errors need.
            return_input_shape: False: numbers of groups, (rows, groups), 0 for one that a row lacks. Others as of captum.

        Raises:
            LimitError: `n_samples` are too few for so many groups. WhyboxError: as :func:`whybox.saliency`.
        """
        call = self._call(inputs, target, additional_forward_args, perturbations_per_eval)
        masks = _groups(call, feature_mask)
        samples, count = check_whole_number("n_samples", n_samples), _count(masks)
        if samples < (least := self._least(count)):
            if samples != DEFAULT_SAMPLES:
                _refuse_few(samples, least, count)
            samples = least
        return self._of_parts(
            call, self._method, baselines, masks, in_shape=return_input_shape, samples=samples, show_progress=show_progress,
        )  # fmt: skip


@final
class KernelShap(_OfFewSamples):
    """Shapley values of groups. See Attribution."""

    _method = "shapley"
    _least = staticmethod(min_evaluations)


@final
class Lime(_OfFewSamples):
    """A linear model of the output, of which groups are visible. See Attribution.

    Raises:
        OptionError: `interpretable_model`, `similarity_func` or `perturb_func`.
    """

    _method = "lime"
    _least = staticmethod(min_local_evaluations)

    def __init__(
        self, forward_func: Any, interpretable_model: Any = None, similarity_func: Any = None, perturb_func: Any = None
    ) -> None:
        super().__init__(forward_func)
        refuse_given("interpretable_model", interpretable_model, "the linear model has no penalty; wb.saliency(model, x, method='lime', alpha=1) has lime's ridge.")  # fmt: skip
        refuse_given("similarity_func", similarity_func, "weights are those of lime's own kernel; wb.saliency(..., method='lime', kernel_width=0.25) sets the width.")  # fmt: skip
        refuse_given("perturb_func", perturb_func, "masks are drawn by their weights. Leave it out.")


@final
class Occlusion(_OfParts):
    """How much the output drops when a window is replaced. See Attribution."""

    def attribute(
        self,
        inputs: Any,
        sliding_window_shapes: Any,
        strides: Any = None,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """Return the mean drop over the windows that hold a feature, in the shape of the inputs.

        Args:
            sliding_window_shapes: as of captum, channels included. strides: None: 1. Others as of captum.

        Raises:
            OptionError: windows that do not suit the inputs. WhyboxError: as :func:`whybox.saliency`.
        """
        call = self._call(inputs, target, additional_forward_args, perturbations_per_eval)
        windows = call.per_input("sliding_window_shapes", _one_each(sliding_window_shapes))
        if not all(isinstance(w, tuple) and len(w) == t.ndim - 1 for w, t in zip(windows, call.tensors, strict=True)):
            raise OptionError(
                Argument("sliding_window_shapes", sliding_window_shapes), " must have one number for each axis of the inputs after the rows, channels included."
            )  # fmt: skip
        if len(windows) == 1:
            given = _one_each(strides)
        else:
            given = strides if isinstance(strides, tuple) else (strides,) * len(windows)
        steps = tuple(1 if s is None else s for s in call.per_input("strides", given))
        by_number = len(call.inputs) > 1
        return self._answer(
            call,
            "occlusion",
            reduce="auto",
            baseline=call.baseline(baselines),
            window=dict(enumerate(windows)) if by_number else windows[0],
            stride=dict(enumerate(steps)) if by_number else steps[0],
            show_progress=show_progress,
        )


def _one_each(given: Any) -> Any:
    """A tuple with one shape for each input: a shape alone is that of the only one."""
    return given if isinstance(given, tuple) and given and isinstance(given[0], tuple) else (given,)


def _groups(call: Call, feature_mask: Any) -> list[npt.NDArray[np.int64]]:
    """The number of each feature's group, for each input (1 or rows, *shape of the input); every feature is its own without a mask.

    Raises:
        InputError: a mask of another type or shape.
    """
    shapes = [i.x.shape[1:] for i in call.inputs[: len(call.tensors)]]
    if feature_mask is None:
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        return [
            np.arange(end - int(np.prod(shape)), end).reshape(1, *shape)
            for shape, end in zip(shapes, ends.tolist(), strict=True)
        ]
    out = []
    for mask, shape in zip(call.per_input("feature_mask", feature_mask), shapes, strict=True):
        a = mask.detach().cpu().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
        if a.dtype.kind not in "iu" or (a.size and a.min() < 0):
            raise InputError(Argument("feature_mask"), " must hold whole numbers from 0 on: the group of each feature.")
        rows = len(a) if a.ndim > len(shape) else 1
        if rows not in (1, call.n_rows) or a.ndim > len(shape) + 1:
            raise InputError(
                Argument("feature_mask"), f" has the shape {a.shape}, and the input has {(call.n_rows, *shape)}."
            )
        try:
            out.append(np.broadcast_to(a, (rows, *shape)).astype(np.int64))
        except ValueError:
            raise InputError(
                Argument("feature_mask"), f" has the shape {a.shape}, which does not go with that of the input, {(call.n_rows, *shape)}."
            ) from None  # fmt: skip
    return out


def _refuse_few(given: int, least: int, groups: int) -> NoReturn:
    raise LimitError(
        Argument("n_samples", given), f" are too few for {groups} groups: standard errors need {least} or more. Raise them, or group features by ",
        Argument("feature_mask", example="..."), ".",
    )  # fmt: skip


def _groups_of(masks: list[npt.NDArray[np.int64]], row: int) -> npt.NDArray[np.int64]:
    """The numbers of a row's groups, in order; a mask of one row is that of all."""
    return np.unique(np.concatenate([m[min(row, len(m) - 1)].reshape(-1) for m in masks]))


def _count(masks: list[npt.NDArray[np.int64]]) -> int:
    """Number of groups of a row, at most."""
    return max(len(_groups_of(masks, row)) for row in range(max(map(len, masks))))


def _by_number(of_groups: npt.NDArray[Any], masks: list[npt.NDArray[np.int64]]) -> npt.NDArray[Any]:
    """Values (rows, groups of the row) with one column for each number from the smallest to the largest, as in captum: 0 for a group that a row lacks."""
    least = min(int(m.min()) for m in masks)
    out = np.zeros((len(of_groups), max(int(m.max()) for m in masks) - least + 1))
    for row, values in enumerate(of_groups):
        groups = _groups_of(masks, row)
        out[row, groups - least] = values[: len(groups)]
    return out
