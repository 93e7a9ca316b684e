"""Rules of functions of one number: the rescale rule of DeepLIFT.

Source: Shrikumar, Greenside & Kundaje 2017 (arXiv:1704.02685), section 3.5.1: the change of a unit's output from the reference over the change
of its input: (f(x) - f(r)) / (x - r). If that is 0 / 0, or only rounding, it is the derivative at the midpoint, to which it tends. Functions whose quotient has
a closed form without cancellation (square root, reciprocal) use that.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch import Tensor

from whybox.adapters.torch.batching_rules import RowTensor, evaluate

__all__ = ["ELEMENTWISE", "Call", "Rule", "by_rows"]

aten: Final = torch.ops.aten
MAX_PIECE_SIZE: Final = 2**18  # numbers that are computed at a time


@final
@dataclass(frozen=True)
class Call:
    """One operator with its arguments: `args` as traced, with RowTensor at the `places` that change with the input.

    Attributes:
        shape: of its (first) output for one row. n: rows.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    places: tuple[int, ...]
    shape: tuple[int, ...]
    n: int

    def __call__(self, *moving: Tensor) -> Any:
        """Run it with these values at its places."""
        args = list(self.args)
        for place, t in zip(self.places, moving, strict=True):
            args[place] = RowTensor(t)
        found = evaluate(self.op, tuple(args), self.kwargs, self.shape, self.n)
        return found[0] if isinstance(found, (tuple, list)) else found


# (call, gradient, operands at the rows, output there, operands at the reference, output there) -> gradients of the operands
Backward = Callable[[Call, Tensor, list[Tensor], Tensor, list[Tensor], Tensor], list[Tensor | None]]


@dataclass(frozen=True)
class Rule:
    """The backward rule of one operator.

    Attributes:
        backward: see Backward. The first axis of each tensor holds rows; at a reference that all rows share it has length 1.
        value: computes the output; None: the operator itself.
        most: number of operands that may change with the input. refuse: the reason why it cannot be used, from its arguments; "" if it can.
    """

    backward: Backward
    value: Callable[..., Tensor] | None = None
    most: int = 1
    refuse: Callable[[tuple[Any, ...]], str] | None = None


def by_rows(backward: Backward, *, times: bool = False) -> Backward:
    """The same for a few rows at a time on a processor, so that intermediate results stay in its cache. For operators with one changing operand.

    `times`: the result of `backward` is to be multiplied by the gradient.
    """

    def pieces(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
        (t,), n = x, len(x[0])
        step = max(1, MAX_PIECE_SIZE * n // max(t.numel(), 1))
        others = any(isinstance(a, RowTensor) for i, a in enumerate(call.args) if i not in call.places)
        if step >= n or others or t.device.type != "cpu":
            found = backward(call, g, x, y, r, ry)
            return [None if f is None else f.mul_(g) for f in found] if times else found
        out = torch.empty_like(t, dtype=g.dtype)
        shared = not r or len(r[0]) == 1
        for start in range(0, n, step):
            rows = slice(start, start + step)
            reference = (r, ry) if shared else ([r[0][rows]], ry[rows])
            (piece,) = backward(call, g[rows], [t[rows]], y[rows], *reference)
            if times:
                torch.mul(piece, g[rows], out=out[rows])
            else:
                out[rows] = piece
        return [out]

    return pieces


def _rescale_rule(slope: Callable[[Call, Tensor, Tensor, Tensor, Tensor], Tensor]) -> Rule:
    def backward(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
        return [slope(call, x[0], y, r[0], ry)]

    return Rule(by_rows(backward, times=True))


def _derivative_rule(call: Call, at: Tensor) -> Tensor:
    """Derivative of an elementwise operator, by torch."""
    with torch.enable_grad():
        at = at.detach().requires_grad_()
        args = list(call.args)
        args[call.places[0]] = at
        output = call.op(*args, **call.kwargs)
        output = output[0] if isinstance(output, (tuple, list)) else output
        return torch.autograd.grad(output.sum(), at)[0]


def _kinked_derivative(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    """Piecewise linear: differences are exact, and only equal values need a derivative."""
    d = x - r
    m = (y - ry).div_(d)
    same = d == 0
    if bool(same.any()):
        m[same] = _derivative_rule(call, x[same])
    return m


def _relu(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    d = x - r
    return torch.where(d == 0, x > 0, (y - ry).div_(d))


def _smooth(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    """Curved on the scale of 1."""
    d = x - r
    m = (y - ry).div_(d)
    return _replace_near(call, x, r, m, d.abs_() < _near_zero(x))


def _smooth_by_size(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    """Curved on the scale of the number itself, singular at zero."""
    d = x - r
    m = (y - ry).div_(d)
    return _replace_near(call, x, r, m, d.abs_() <= _near_zero(x) * torch.minimum(x.abs(), r.abs()))


def _near_zero(x: Tensor) -> float:
    """Below this the derivative at the midpoint is more accurate than the rounded quotient: the cube root of rounding, or less."""
    return 1e-3 if x.dtype == torch.float32 else 1e-5


def _replace_near(call: Call, x: Tensor, r: Tensor, m: Tensor, near: Tensor) -> Tensor:
    """Derivatives at the midpoint for the numbers that are `near`, which are few."""
    at = near.reshape(-1).nonzero()[:, 0]
    if len(at):
        flat = r.reshape(-1)  # of one row, if all rows share it
        half = (x.reshape(-1)[at] + flat[at if len(flat) == x.numel() else at % len(flat)]) * 0.5
        m = m.contiguous()
        m.view(-1)[at] = _derivative_rule(call, half)
    return m


def _sqrt(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    both = y + ry
    return torch.where(both == 0, both, both.reciprocal())  # no derivative at zero, and no change either


def _rsqrt(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    both = y * ry
    return (both * both).div_(y + ry).neg_()


def _reciprocal(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    return (y * ry).neg_()


def _power(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    exponent = call.args[1]
    if exponent == 1:
        return torch.ones_like(x)
    if exponent == 2:
        return x + r
    if exponent == 3:
        return x * x + x * r + r * r
    if exponent == 0.5:
        return _sqrt(call, x, y, r, ry)
    if exponent == -0.5:
        return _rsqrt(call, x, y, r, ry)
    if exponent == -1:
        return _reciprocal(call, x, y, r, ry)
    return _smooth_by_size(call, x, y, r, ry)


def _expm1(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    """(exp x - exp r) / (x - r) without cancellation: from the lower end, which cannot overflow where the values do not."""
    low, d = torch.minimum(x, r), (x - r).abs()
    rate = torch.log(torch.tensor(2.0, dtype=x.dtype)).item() if call.op is aten.exp2.default else 1.0
    m = torch.expm1(d * rate).div_(d)
    m = torch.where(d == 0, torch.full_like(m, rate), m) * torch.exp(low * rate)
    return torch.where(torch.isfinite(m), m, (y - ry) / (x - r))


def _log(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    low, d = torch.minimum(x, r), (x - r).abs()
    base = {aten.log2.default: 2.0, aten.log10.default: 10.0}.get(call.op)
    rate = 1.0 if base is None else 1.0 / float(torch.log(torch.tensor(base, dtype=torch.float64)))
    m = torch.log1p(d / low).div_(d)
    return torch.where(d == 0, low.reciprocal(), m) * rate


def _leaky(call: Call, x: Tensor, y: Tensor, r: Tensor, ry: Tensor) -> Tensor:
    """PReLU: its slope below zero is a tensor."""
    d = x - r
    below = call.args[1]
    same = torch.where(x > 0, torch.ones_like(x), below.expand_as(x[:1]) if below.dim() else below)
    return torch.where(d == 0, same, (y - ry) / d)


ELEMENTWISE: Final[dict[Any, Rule]] = {
    aten.relu.default: _rescale_rule(_relu),
    aten._prelu_kernel.default: _rescale_rule(_leaky),
    aten.sqrt.default: _rescale_rule(_sqrt),
    aten.rsqrt.default: _rescale_rule(_rsqrt),
    aten.reciprocal.default: _rescale_rule(_reciprocal),
    aten.pow.Tensor_Scalar: _rescale_rule(_power),
    **dict.fromkeys((aten.exp.default, aten.exp2.default, aten.expm1.default), _rescale_rule(_expm1)),
    **dict.fromkeys((aten.log.default, aten.log2.default, aten.log10.default), _rescale_rule(_log)),
    **dict.fromkeys(
        (
            aten.abs.default,
            aten.clamp.default,
            aten.clamp_min.default,
            aten.clamp_max.default,
            aten.hardtanh.default,
            aten.hardsigmoid.default,
            aten.leaky_relu.default,
            aten.threshold.default,
            aten.softshrink.default,
            aten.hardshrink.default,
            aten.elu.default,
            aten.celu.default,
        ),
        _rescale_rule(_kinked_derivative),
    ),
    **dict.fromkeys(
        (
            aten.gelu.default,
            aten.silu.default,
            aten.sigmoid.default,
            aten.tanh.default,
            aten.hardswish.default,
            aten.softplus.default,
            aten.log_sigmoid_forward.default,
            aten.mish.default,
            aten.sin.default,
            aten.cos.default,
            aten.tan.default,
            aten.atan.default,
            aten.sinh.default,
            aten.cosh.default,
            aten.asinh.default,
            aten.erf.default,
            aten.erfc.default,
            aten.log1p.default,
            aten.pow.Scalar,
        ),
        _rescale_rule(_smooth),
    ),
}
