"""What captum calls a forward function, as a torch module: functions and methods, arguments beside the inputs, an output for each row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from whybox.errors import Argument, InputError, OptionError

__all__ = ["ForwardArguments", "as_module", "forward_arguments", "name_of_layer", "only_output", "row_places"]


@final
@dataclass(frozen=True)
class ForwardArguments:
    """What is passed beside the inputs.

    Attributes:
        in_order: each argument: None for a tensor of one entry a row, else (the constant,). of_rows: these tensors.
    """

    in_order: tuple[tuple[Any] | None, ...]
    of_rows: tuple[torch.Tensor, ...]

    @property
    def has_constants(self) -> bool:
        """Whether one of them is the same for all rows."""
        return any(one is not None for one in self.in_order)


def forward_arguments(given: Any, rows: int) -> ForwardArguments:
    """Read ``additional_forward_args``: tensors whose first axis is the rows go with their row, all else is a constant."""
    every = () if given is None else given if isinstance(given, tuple) else (given,)
    goes_with_rows = [isinstance(a, torch.Tensor) and a.ndim > 0 and len(a) == rows for a in every]
    return ForwardArguments(
        tuple(None if with_row else (a,) for a, with_row in zip(every, goes_with_rows, strict=True)),
        tuple(a for a, with_row in zip(every, goes_with_rows, strict=True) if with_row),
    )


@final
class _Forward(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """A forward function with constants among its arguments; the last input may say which output of a row is meant."""

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: ForwardArguments,
        like: torch.Tensor,
        *,
        layer: torch.nn.Module | None,
        selects: bool,
    ) -> None:
        super().__init__()
        self.function = function
        for k, module in enumerate(_modules_of(function)):
            self.add_module(f"used_{k}", module)
        self.layer = None if layer is None or any(m is layer for m in self.modules()) else layer
        floats = like if like.is_floating_point() else torch.zeros((), device=like.device)
        self.register_buffer("like", floats.new_zeros(()), persistent=False)  # says which device and type inputs have
        self._arguments, self._selects = arguments, selects
        self.training = False  # its own flag: those of the user's modules stay

    def forward(self, *x: torch.Tensor) -> Any:
        """Call the function."""
        taken = len(x) - len(self._arguments.of_rows) - self._selects
        of_rows = iter(x[taken:])
        args = [next(of_rows) if one is None else one[0] for one in self._arguments.in_order]
        out = self.function(*x[:taken], *args)
        if not self._selects:
            return out
        places = x[-1]
        if places.shape[1] != out.ndim - 1:
            raise OptionError(
                Argument("target"),
                f" names {places.shape[1]} numbers a row; outputs have the shape {tuple(out.shape)}.",
            )
        try:
            return out[(torch.arange(len(out), device=out.device), *places.unbind(1))]
        except IndexError:
            raise OptionError(
                Argument("target"), f" names a number that is not there; outputs have the shape {tuple(out.shape)}."
            ) from None


def _modules_of(function: Callable[..., Any]) -> list[torch.nn.Module]:
    """The modules that a function calls, as far as its code names them: their mode and weights are then those of the network."""
    if isinstance(function, torch.nn.Module):
        return []  # it is a part itself
    owner = getattr(function, "__self__", None)
    if isinstance(owner, torch.nn.Module):
        return [owner]
    if not inspect.isfunction(function):
        return []
    named = inspect.getclosurevars(function)
    found = (*named.nonlocals.values(), *named.globals.values())
    return [value for value in found if isinstance(value, torch.nn.Module)]


def as_module(
    function: Any,
    arguments: ForwardArguments,
    like: torch.Tensor,
    *,
    layer: torch.nn.Module | None = None,
    selects: bool = False,
) -> torch.nn.Module:
    """Return a module of the inputs and the arguments of rows.

    Args:
        function: a module, which is returned as it is if nothing is to be added; a method of one; any other function of tensors.
        arguments: beside the inputs. like: an input. layer: to be found in the module. selects: the last input is the place of each row's output, (rows, axes).

    Raises:
        InputError: it cannot be called, or has no such layer.
    """
    if not callable(function):
        raise InputError(f"{type(function).__name__} is not a module or a function of tensors.")
    if layer is not None and not isinstance(layer, torch.nn.Module):
        raise InputError(
            Argument("layer"), f" must be one module of the model, and is a {type(layer).__name__}; explain several one by one."
        )  # fmt: skip
    if isinstance(function, torch.nn.Module):
        if layer is not None and not any(m is layer for m in function.modules()):
            raise InputError(f"the layer {type(layer).__name__} is no part of the model: pass one of model.modules().")
        has_floats = any(p.is_floating_point() for p in (*function.parameters(), *function.buffers()))
        if has_floats and not arguments.has_constants and not selects:
            return function
    return _Forward(function, arguments, like, layer=layer, selects=selects)


def name_of_layer(module: torch.nn.Module, layer: torch.nn.Module) -> str:
    """Return the name of a layer in a module that has it."""
    return next(str(name) for name, each in module.named_modules() if each is layer)


def only_output(outputs: Any) -> torch.Tensor:
    """Return the only output of each row, as captum takes it where there is no target.

    Raises:
        InputError: the function does not return one tensor. OptionError: there are several outputs a row.
    """
    if not isinstance(outputs, torch.Tensor):
        raise InputError(
            f"the forward function returned {type(outputs).__name__}; it must return one tensor: wrap it, lambda x: model(x).logits."
        )
    if outputs.ndim == 0:
        raise InputError("the forward function returned one number; it must return one for each row.")
    if outputs.numel() != len(outputs):
        raise OptionError(
            f"outputs have the shape {tuple(outputs.shape)}; say which one of a row is explained: ",
            Argument("target", 0),
            ".",
        )
    return outputs.reshape(-1)


def row_places(target: Sequence[tuple[Any, ...]]) -> torch.Tensor:
    """Places of outputs, one tuple a row, as a tensor (rows, axes).

    Raises:
        OptionError: tuples of different lengths.
    """
    if len({len(place) for place in target}) > 1:
        raise OptionError(Argument("target"), " holds tuples of different lengths.")
    return torch.tensor([[int(i) for i in place] for place in target])
