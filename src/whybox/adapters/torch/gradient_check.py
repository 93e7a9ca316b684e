"""Gradients of a module's inputs, and where derivatives do not follow its outputs: cuts, rounding, operators without a derivative."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any, Final, final

import torch
from torch.overrides import TorchFunctionMode

from whybox.core.library_calls import first_line
from whybox.errors import UnsupportedModelError

__all__ = ["NO_KERNEL", "DetachDetector", "input_gradients", "reached_leaves", "refuse_without_kernel"]

NO_KERNEL: Final = "WarnNotImplemented"  # torch's node of an operator without a derivative
_CUTTING_FUNCTIONS: Final = {
    name: name
    for name in ("detach", "data", "round", "floor", "ceil", "trunc", "fix", "int", "long", "short", "byte", "char")
} | {name + "_": name for name in ("detach", "round", "floor", "ceil", "trunc", "fix")}


def input_gradients(
    outputs: torch.Tensor, leaves: Sequence[torch.Tensor], cotangent: torch.Tensor, *, last: bool
) -> tuple[torch.Tensor | None, ...]:
    """Gradients of the leaves: None for whole numbers, zero if the outputs do not depend on them.

    Raises:
        UnsupportedModelError: torch cannot compute them.
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
                f"torch cannot take derivatives of this network ({type(error).__name__}: {first_line(error)}). Change that in forward (most common: operators in place, "
                "checkpoint(use_reentrant=True), operators without a derivative), or use a method without derivatives: "
                "'occlusion', 'shapley'."
            ) from error
    each = iter(torch.zeros_like(a) if g is None else g for g, a in zip(found, wanted, strict=True))
    return tuple(next(each) if a.is_floating_point() else None for a in leaves)


@final
class DetachDetector(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
    """`names`: calls that derivatives do not follow; often for a good reason (a maximum subtracted before a softmax)."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the call and run it."""
        output = func(*args, **(kwargs or {}))
        if any(isinstance(a, torch.Tensor) and a.requires_grad for a in args):
            name = getattr(func, "__name__", "")
            name = getattr(getattr(func, "__self__", None), "__name__", name) if name == "__get__" else name
            if name in _CUTTING_FUNCTIONS:
                self.names[_CUTTING_FUNCTIONS[name]] = None
            elif not torch.is_grad_enabled() and name not in ("__get__", "size", "dim"):
                self.names["torch.no_grad"] = None
            elif name in ("to", "type") and isinstance(output, torch.Tensor) and not output.requires_grad:
                self.names["a cast to whole numbers"] = None
        return output


def reached_leaves(outputs: torch.Tensor) -> tuple[set[int], tuple[str, ...]]:
    """Ids of the leaves that derivatives of the outputs reach, and names of nodes on the way that are the user's autograd.Function or have no derivative."""
    todo = [outputs.grad_fn] if outputs.grad_fn is not None else []
    visited: set[Any] = set(todo)
    leaves: set[int] = {id(outputs)} if outputs.requires_grad else set()
    user_nodes: dict[str, None] = {}
    while todo:
        node = todo.pop()
        if isinstance(node, torch.autograd.function.BackwardCFunction) or node.name().endswith(NO_KERNEL):
            user_nodes[node.name()] = None
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        more = [n for n, _ in node.next_functions if n is not None and n not in visited]
        visited.update(more)
        todo += more
    return leaves, tuple(user_nodes)


def refuse_without_kernel(outputs: torch.Tensor, leaves: Sequence[torch.Tensor]) -> None:
    """Refuse operators without a derivative, which torch treats as constants with no more than a warning.

    Raises:
        UnsupportedModelError: always; it names them.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        input_gradients(outputs, leaves, torch.ones_like(outputs), last=False)
    found = (re.match(r"(\S+): an autograd kernel was not registered", str(w.message)) for w in caught)
    names = ", ".join(sorted({m[1] for m in found if m})) or "unnamed"
    raise UnsupportedModelError(
        f"the network runs operators without a derivative, which torch would treat as constants: {names}. Explain the network before it was quantised or "
        "compiled, give the operator a derivative (torch.library.register_autograd), or use a method without derivatives: 'occlusion', 'shapley'."
    )
