"""Guided backpropagation: a ReLU passes values that are positive in the forward and in the backward pass.

Source: Springenberg, Dosovitskiy, Brox & Riedmiller 2015 (arXiv:1412.6806), section 3.4.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from whybox.adapters.torch.rules_elementwise import Call, Rule

if TYPE_CHECKING:
    from torch.fx import Node

__all__ = ["GUIDED", "has_undefined_rule"]

aten: Final = torch.ops.aten


def _passes_gradient(
    call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor
) -> list[Tensor | None]:
    """The gradient where the operator does not clip and the gradient is positive."""
    open_ = (x[0] > 0) & (g > 0)
    if call.op in (aten.hardtanh.default, aten.clamp.default):
        top = call.args[2] if len(call.args) > 2 else call.kwargs.get("max")
        open_ = open_ if top is None else open_ & (x[0] < top)
    return [torch.where(open_, g, torch.zeros((), dtype=g.dtype, device=g.device))]


def _from_zero(args: tuple[Any, ...]) -> str:
    """The reason why it is not a ReLU; empty if it clips at zero from below."""
    if len(args) == 1:
        return ""
    return "" if isinstance(args[1], (int, float)) and args[1] == 0 else "it does not clip at zero"


def _zero_to_zero(args: tuple[Any, ...]) -> str:
    return "" if args[1:3] == (0, 0) else "it does not clip at zero"


GUIDED: Final[dict[Any, Rule]] = {
    **dict.fromkeys(
        (aten.relu.default, aten.clamp_min.default, aten.hardtanh.default, aten.clamp.default),
        Rule(_passes_gradient, refuse=_from_zero),
    ),
    aten.threshold.default: Rule(_passes_gradient, refuse=_zero_to_zero),
}

_OTHER_ACTIVATIONS: Final = frozenset(
    {
        "gelu", "silu", "mish", "elu", "celu", "leaky_relu", "_prelu_kernel", "hardswish", "hardsigmoid", "softplus", "softshrink", "hardshrink", "sigmoid",
        "tanh", "hardtanh", "threshold", "clamp", "clamp_min", "log_sigmoid_forward", "rrelu_with_noise", "erf", "sin", "cos", "exp", "abs", "atan",
    }
)  # fmt: skip
_BY_CHANCE: Final = torch.Tag.nondeterministic_seeded


def has_undefined_rule(node: Node, output: Node) -> str:
    """Why guided backpropagation is not defined for this operator; empty if it is. The last operator, which turns a score into a probability, may be any."""
    op: Any = node.target
    name = op._schema.name.split("::")[-1]
    if _BY_CHANCE in op.tags:
        return "it draws random numbers"
    if name in ("maximum", "minimum"):
        return "write it as a ReLU"
    if op in GUIDED and GUIDED[op].refuse is not None and not GUIDED[op].refuse(node.args):  # type: ignore[misc]
        return ""
    if name in _OTHER_ACTIVATIONS and node is not output:
        return "an activation other than ReLU"
    return ""
