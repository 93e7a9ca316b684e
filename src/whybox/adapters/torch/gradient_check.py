"""Going back through a module, and what in it derivatives do not follow: what it cuts off, rounds, or runs without a derivative."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Final, final

import torch
from torch.overrides import TorchFunctionMode

from whybox.adapters.network_outputs import first_line
from whybox.errors import UnsupportedModelError

__all__ = ["NO_KERNEL", "DetachDetector", "back", "reached", "refuse_without_kernel"]

NO_KERNEL: Final = "WarnNotImplemented"  # torch's node of an operator without a derivative
_CUTS: Final = {
    name: name
    for name in ("detach", "data", "round", "floor", "ceil", "trunc", "fix", "int", "long", "short", "byte", "char")
} | {name + "_": name for name in ("detach", "round", "floor", "ceil", "trunc", "fix")}


def back(
    outputs: torch.Tensor, leaves: Sequence[torch.Tensor], cotangent: torch.Tensor, *, last: bool
) -> tuple[torch.Tensor | None, ...]:
    """Gradients of the leaves: None for whole numbers, zero where the outputs do not depend on them.

    Raises:
        UnsupportedModelError: torch cannot.
    """
    wanted = [a for a in leaves if a.is_floating_point()]
    found: tuple[torch.Tensor | None, ...] = (None,) * len(wanted)
    if outputs.requires_grad:
        try:
            found = torch.autograd.grad(outputs, wanted, cotangent, retain_graph=not last, allow_unused=True)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise UnsupportedModelError(
                f"torch cannot take derivatives of this network ({type(error).__name__}: {first_line(error)}). Change that in forward (operators in place, "
                "checkpoint(use_reentrant=True) and operators without a derivative are what mostly stands behind it), or use a method that asks without derivatives: "
                "'occlusion', 'shapley'."
            ) from error
    each = iter(torch.zeros_like(a) if g is None else g for g, a in zip(found, wanted, strict=True))
    return tuple(next(each) if a.is_floating_point() else None for a in leaves)


@final
class DetachDetector(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
    """`heard` names what was called that derivatives do not follow; often for a good reason (a maximum taken off before a softmax)."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Listen and run."""
        said = func(*args, **(kwargs or {}))
        if any(isinstance(a, torch.Tensor) and a.requires_grad for a in args):
            name = getattr(func, "__name__", "")
            name = getattr(getattr(func, "__self__", None), "__name__", name) if name == "__get__" else name
            if name in _CUTS:
                self.heard[_CUTS[name]] = None
            elif not torch.is_grad_enabled() and name not in ("__get__", "size", "dim"):
                self.heard["torch.no_grad"] = None
            elif name in ("to", "type") and isinstance(said, torch.Tensor) and not said.requires_grad:
                self.heard["a cast to whole numbers"] = None
        return said


def reached(outputs: torch.Tensor) -> tuple[set[int], tuple[str, ...]]:
    """Identities of the leaves that derivatives of the outputs reach, and names of nodes on the way that are an autograd.Function of the user's, or a stand-in for none."""
    todo = [outputs.grad_fn] if outputs.grad_fn is not None else []
    met: set[Any] = set(todo)
    leaves: set[int] = {id(outputs)} if outputs.requires_grad else set()
    own: dict[str, None] = {}
    while todo:
        node = todo.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction) or node.name().endswith(NO_KERNEL):
            own[node.name()] = None
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        more = [n for n, _ in node.next_functions if n is not None and n not in met]
        met.update(more)
        todo += more
    return leaves, tuple(own)


def refuse_without_kernel(outputs: torch.Tensor, leaves: Sequence[torch.Tensor]) -> None:
    """Operators that torch has no derivative of count as constants in it, with no more than a warning.

    Raises:
        UnsupportedModelError: there are some on the way, by name.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        back(outputs, leaves, torch.ones_like(outputs), last=False)
    found = (re.match(r"(\S+): an autograd kernel was not registered", str(w.message)) for w in told)
    names = ", ".join(sorted({m[1] for m in found if m})) or "unnamed"
    raise UnsupportedModelError(
        f"the network runs operators of which torch has no derivative and which it would count as constants: {names}. Explain the network before it was quantised or "
        "compiled, give the operator a derivative (torch.library.register_autograd), or use a method that asks without derivatives: 'occlusion', 'shapley'."
    )
