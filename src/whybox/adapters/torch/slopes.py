"""Going back through a module; and are its derivatives those of its answers? Not where it cuts some off (detach, no_grad), or has operators with a backward of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

import torch
from torch.overrides import TorchFunctionMode

from whybox.adapters.parts import first_line
from whybox.errors import UnsupportedModelError

if TYPE_CHECKING:
    from whybox.adapters.torch.module import TorchNetwork

__all__ = ["Listening", "back", "reached", "remark"]

_CUTS: Final = ("detach", "detach_", "data")
_DIRECTIONS: Final = 3
_STEP: Final = 1e-2  # of the size of an input, and a quarter of that
_APART: Final = 0.02  # of the two together
_ALIKE: Final = 0.1


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
class Listening(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
    """`heard` says that something was cut off that derivatives would have gone through; often for a good reason (a maximum taken off before a softmax)."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Listen and run."""
        if not self.heard and any(isinstance(a, torch.Tensor) and a.requires_grad for a in args):
            name = getattr(func, "__name__", "")
            name = getattr(getattr(func, "__self__", None), "__name__", name) if name == "__get__" else name
            self.heard = name in _CUTS or (not torch.is_grad_enabled() and name not in ("__get__", "size", "dim"))
        return func(*args, **(kwargs or {}))


def reached(outputs: torch.Tensor) -> tuple[set[int], bool]:
    """Identities of the leaves that derivatives of the outputs reach, and whether they go through an autograd.Function of the user's."""
    todo = [outputs.grad_fn] if outputs.grad_fn is not None else []
    met: set[Any] = set(todo)
    leaves: set[int] = {id(outputs)} if outputs.requires_grad else set()
    own = False
    while todo:
        node = todo.pop()
        own |= isinstance(node, torch.autograd.function.BackwardCFunction)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        more = [n for n, _ in node.next_functions if n is not None and n not in met]
        met.update(more)
        todo += more
    return leaves, own


def remark(net: TorchNetwork, x: tuple[torch.Tensor, ...]) -> tuple[str, ...]:
    """Hold derivatives at some rows against differences of answers, and say in words when they are not the same; nothing when they are, or nothing can be told.

    Differences are taken to both sides in drawn directions, at two distances. Where those two differ between themselves (a kink is near), nothing is told.
    """
    dice = torch.Generator().manual_seed(0)

    def drawn(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=dice, dtype=torch.float64).to(like.device, like.dtype)

    outputs, pull = net(x)
    cotangent = drawn(outputs)
    grads = pull(cotangent, last=True)

    def score(steps: list[torch.Tensor | None], share: float) -> float:
        at = tuple(a if s is None else a + share * s for a, s in zip(x, steps, strict=True))
        return float((net.ask(at).double() * cotangent.double()).sum())

    floor = 64 * torch.finfo(outputs.dtype).eps * float((outputs.double() * cotangent.double()).abs().sum())
    worst = 0.0
    for _ in range(_DIRECTIONS):
        steps = [
            drawn(a) * _STEP * (float(a.double().square().mean().sqrt()) or 1.0) if a.is_floating_point() else None
            for a in x
        ]
        said = float(
            sum(
                (g.double() * s.double()).sum()
                for g, s in zip(grads, steps, strict=True)
                if g is not None and s is not None
            )
        )
        wide = (score(steps, 1.0) - score(steps, -1.0)) / 2
        near = (score(steps, 0.25) - score(steps, -0.25)) * 2
        off = abs(near - said)
        if abs(wide - near) <= _ALIKE * off and off > _APART * (abs(near) + abs(said)) + floor:
            worst = max(worst, off / max(abs(near), abs(said)))
    if not worst:
        return ()
    told = (
        f"CUT: derivatives are not those of the answer (off by {worst:.0%} in a direction drawn at random): the network cuts some off (detach, torch.no_grad, .data) or has "
        "an operator with a backward of its own; maps are what its derivatives say. 'deeplift', 'occlusion' and 'shapley' do not hang on them"
    )
    return (told,)
