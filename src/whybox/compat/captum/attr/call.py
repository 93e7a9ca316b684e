"""One call of a layer: tensors, target and arguments of captum, as :func:`whybox.saliency` takes them; and its answer as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.compat.captum.attr.forward import as_module, forward_arguments, name_of_layer, only_output, row_places
from whybox.core.progress import no_progress_bars
from whybox.core.validation import check_whole_number
from whybox.errors import Argument, InputError, OptionError
from whybox.explanation.explanation import Explanation
from whybox.methods.saliency.baselines import whole_number_baseline
from whybox.methods.saliency.inputs import Input, pass_one_numbers, resolve_inputs
from whybox.methods.saliency.saliency import saliency
from whybox.models.differentiable import Differentiable, LayerSide
from whybox.models.registry import as_network

__all__ = ["Call", "as_tensor", "draws_by", "make_call"]

Array = npt.NDArray[Any]
_SEED: Final[ContextVar[int]] = ContextVar("seed of what methods draw", default=0)


@contextmanager
def draws_by(seed: int) -> Iterator[None]:
    """Inside, methods draw by this seed: by the same one, calls about parts of the same rows would repeat each other's numbers."""
    token = _SEED.set(seed)
    try:
        yield
    finally:
        _SEED.reset(token)


@final
@dataclass(frozen=True)
class Call:
    """A question, ready for :func:`whybox.saliency`.

    Attributes:
        network: with arguments that are constants inside. tensors: the inputs as they were given. is_tuple: whether they were a tuple.
        inputs: the same, and after them the arguments of rows, which are held. target: of the rows. layer: its name in the network, "" for none.
    """

    network: Differentiable
    tensors: tuple[torch.Tensor, ...]
    is_tuple: bool
    inputs: tuple[Input, ...]
    target: Any
    layer: str = ""

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.inputs[0].x)

    @property
    def n_held(self) -> int:
        """Number of arguments that are held."""
        return len(self.inputs) - len(self.tensors)

    def with_batches(self, argument: str, most: Any) -> Call:
        """Return the same question with at most so many rows in a forward; None: as many as whybox takes.

        Raises:
            OptionError: no whole number; `argument` is its name in the call.
        """
        if most is None:
            return self
        return replace(self, network=replace(self.network, max_batch_size=check_whole_number(argument, most)))

    def select(self, rows: npt.NDArray[np.intp]) -> Call:
        """Return the same question of some rows."""
        target = self.target[rows] if isinstance(self.target, np.ndarray) else self.target
        at = torch.as_tensor(rows)
        return replace(
            self,
            tensors=tuple(t[at.to(t.device)] for t in self.tensors),
            inputs=tuple(replace(i, x=i.x[rows]) for i in self.inputs),
            target=target,
        )

    def per_input(self, name: str, given: Any) -> tuple[Any, ...]:
        """Return what was given for each input: one value for a tensor, or a tuple.

        Raises:
            OptionError: a tuple of another length.
        """
        if not self.is_tuple:
            one = given[0] if isinstance(given, tuple) and len(given) == 1 else given
            return (one,)
        each = given if isinstance(given, tuple) else (given,) * len(self.tensors)
        if len(each) != len(self.tensors) or (not isinstance(given, tuple) and given is not None and len(each) > 1):
            raise OptionError(Argument(name), f" must be a tuple with one for each of the {len(self.tensors)} inputs.")
        return each

    def baseline(self, given: Any) -> Any:
        """Return ``baselines`` as whybox takes them: None is 0."""
        return self.with_held(tuple(map(self._one_baseline, self.inputs, self.per_input("baselines", given))))

    def _one_baseline(self, input_: Input, given: Any) -> Any:
        if given is None:
            return 0
        if not isinstance(given, torch.Tensor):
            return given
        a = self.network.numpy(given)
        return a[0] if a.ndim == input_.x.ndim and len(a) == 1 < self.n_rows else a

    def baseline_arrays(self, given: Any) -> list[Array]:
        """Return baselines as arrays of the rows, (rows, ...); arguments that are held are the row's own.

        Raises:
            InputError: the baseline of whole numbers is not one, or has another shape. OptionError: their type does not hold it.
        """
        arrays = []
        for i, one in zip(self.inputs, self.per_input("baselines", given), strict=False):
            b = self._one_baseline(i, one)
            if i.x.dtype.kind in "iub":
                arrays.append(whole_number_baseline(i, b).for_rows(np.arange(self.n_rows)))
            else:
                arrays.append(np.broadcast_to(b, i.x.shape).astype(i.x.dtype))
        return [*arrays, *(i.x for i in self.inputs[len(arrays) :])]

    def layer_output(self, arrays: Sequence[Array], side: LayerSide) -> Array:
        """Return what the layer returns (is given) for these inputs, (rows, ...).

        Raises:
            UnsupportedModelError: it does not run once with one tensor of floats.
        """
        net = pass_one_numbers(self.network, self.inputs)
        parts, size = [], net.max_batch_size
        with net.session():
            for start in range(0, len(arrays[0]), size):
                some = tuple(net.array(a[start : start + size]) for a in arrays)
                parts.append(net.numpy(net.split_at_layer(self.layer, some, side)[1]))
        return np.concatenate(parts)

    def with_held(self, each: tuple[Any, ...]) -> Any:
        """Return one for each input, None for those that are held; the one itself if there is one input."""
        return (*each, *(None,) * self.n_held) if len(self.inputs) > 1 else each[0]

    def ask(self, method: Any, *, show_progress: bool = False, **options: Any) -> Any:
        """Call :func:`whybox.saliency`: a tuple of explanations, one an input; or a dict of them, if several methods are named.

        Channels are kept; ``reduce="auto"`` is for methods whose maps have none.
        """
        with no_progress_bars(hidden=not show_progress):
            answer: Any = saliency(
                self.network, self.inputs, self.target, method, **{"reduce": None, "seed": _SEED.get(), **options}
            )
        return answer

    def with_tensors(self, tensors: Sequence[torch.Tensor]) -> Call:
        """Return the same question with other numbers in the inputs, of the same shapes."""
        of = tuple(t.to(like) for t, like in zip(tensors, self.tensors, strict=True))
        read = [replace(i, x=self.network.numpy(t)) for i, t in zip(self.inputs, of, strict=False)]
        return replace(self, tensors=of, inputs=(*read, *self.inputs[len(of) :]))

    def to_tensors(self, arrays: Sequence[Array]) -> Any:
        """Return one array an input as tensors of its shape, type and device; a tuple if the inputs were one."""
        found = tuple(as_tensor(a, t).reshape(t.shape) for a, t in zip(arrays, self.tensors, strict=True))
        return found if self.is_tuple else found[0]

    def delta(self, found: Sequence[Explanation]) -> torch.Tensor:
        """Return the convergence delta, (rows,): the sum of a row's map less the change of the score.

        Raises:
            OptionError: maps of this call need not add up.
        """
        if "completeness_error" not in found[0].extras:
            raise OptionError(
                Argument("return_convergence_delta", True),
                ": part of the change of the score does not pass through this layer, so its map need not add up to it.",
            )
        return as_tensor(found[0].extras["completeness_error"][1], self.tensors[0])


def as_tensor(a: Array, like: torch.Tensor) -> torch.Tensor:
    """Return numbers as a tensor of the device and type of another; of whole numbers, in torch's default type."""
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return torch.as_tensor(np.array(a), device=like.device).to(dtype)


def make_call(
    function: Any,
    inputs: Any,
    target: Any,
    additional_forward_args: Any,
    *,
    layer: Any = None,
    channel_axis: Any = "auto",
    derivatives: bool = True,
) -> Call:
    """Read a call of captum.

    Args:
        function: module or function. inputs: a tensor or a tuple of tensors, rows first. target: every form that captum takes.
        additional_forward_args: see forward_arguments. layer: a module of the model, or None. channel_axis: of the inputs; "auto": of pictures and volumes; None: none.
        derivatives: False: inputs may hold whole numbers.

    Raises:
        InputError: inputs that are no tensors, have different numbers of rows, or hold whole numbers. OptionError: a target of another form.
    """
    is_tuple = isinstance(inputs, tuple)
    tensors = inputs if is_tuple else (inputs,)
    if not tensors or not all(isinstance(t, torch.Tensor) for t in tensors):
        raise InputError(Argument("inputs"), " must be a tensor, or a tuple of tensors, whose first axis is the rows.")
    if any(t.ndim == 0 for t in tensors) or len({len(t) for t in tensors}) > 1:
        raise InputError(Argument("inputs"), f": shapes are {[tuple(t.shape) for t in tensors]}; the first axis is the rows.")  # fmt: skip
    if derivatives and not all(t.is_floating_point() for t in tensors):
        raise InputError(
            Argument("inputs"), " hold whole numbers, which have no derivatives: pass them in ", Argument("additional_forward_args", example="..."),
            ", or explain the layer that embeds them: LayerIntegratedGradients(model, model.embedding).",
        )  # fmt: skip
    arguments = forward_arguments(additional_forward_args, len(tensors[0]))
    read, places = _read_target(target, len(tensors[0]))
    module = as_module(function, arguments, tensors[0], layer=layer, selects=places is not None)
    network = as_network(module)
    held = (*arguments.of_rows, *(() if places is None else (places,)))
    every: Any = (*tensors, *held)
    resolved = _resolve(network, every, channel_axis)
    resolved = tuple(replace(i, is_held=True) if k >= len(tensors) else i for k, i in enumerate(resolved))
    name = "" if layer is None else name_of_layer(module, layer)
    return Call(network, tuple(tensors), is_tuple, resolved, read, name)


def _resolve(network: Differentiable, every: tuple[torch.Tensor, ...], channel_axis: Any) -> tuple[Input, ...]:
    """Inputs; those with axes of positions beside a given channel axis have channels there, others none."""
    given: Any = every if len(every) > 1 else every[0]
    with_channels = resolve_inputs(network, given, channel_axis)
    if not isinstance(channel_axis, int):
        return with_channels
    plain = resolve_inputs(network, given, None)
    return tuple(c if c.x.ndim > channel_axis + 1 else p for c, p in zip(with_channels, plain, strict=True))


def _read_target(target: Any, rows: int) -> tuple[Any, torch.Tensor | None]:
    """The target as whybox takes it; and, for one tuple a row, the places of outputs in place of it."""
    if target is None:
        return only_output, None
    if isinstance(target, torch.Tensor):
        if not _holds_whole_numbers(target) or (target.numel() != 1 and tuple(target.shape) != (rows,)):
            raise OptionError(
                Argument("target"), f" is {target.dtype} of shape {tuple(target.shape)}; it must be one whole number, or one for each of the {rows} rows."
            )  # fmt: skip
        return (int(target.item()) if target.numel() == 1 else target.detach().cpu().numpy().astype(np.intp)), None
    if isinstance(target, list):
        if len(target) != rows:
            raise OptionError(Argument("target"), f" has {len(target)} entries, and there are {rows} rows.")
        if all(isinstance(one, tuple) and all(map(_is_whole, one)) for one in target):
            return only_output, row_places(target)
        if all(_is_whole(one) for one in target):
            return np.array([int(one) for one in target], dtype=np.intp), None
    elif _is_whole(target) or isinstance(target, tuple):
        return target, None
    raise OptionError(
        Argument("target", target), " must be a whole number, a tuple of them, a tensor or a list of one for each row, or None."
    )  # fmt: skip


def _is_whole(one: Any) -> bool:
    """True for a whole number, or a tensor of one."""
    if isinstance(one, torch.Tensor):
        return one.numel() == 1 and _holds_whole_numbers(one)
    return isinstance(one, (int, np.integer)) and not isinstance(one, bool)


def _holds_whole_numbers(t: torch.Tensor) -> bool:
    return not (t.is_floating_point() or t.is_complex() or t.dtype == torch.bool)
