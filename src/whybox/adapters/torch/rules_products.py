"""Rules of products, quotients, softmax and norms.

A product of two operands that both change shares its change equally: a b - a_r b_r = (a - a_r)(b + b_r) / 2 + (b - b_r)(a + a_r) / 2, which is exact, and
the Shapley value of two players (Lundberg & Lee 2017, arXiv:1705.07874, section 4.2, for elements of networks). Norms are means, products and a
reciprocal root, and have the rules of these. Softmax is exp(z - log sum exp z): the rescale rule of exp needs the logarithmic means of both ends,
L = (p - p_r) / (log p - log p_r), and as probabilities always add up to one, the change of log sum exp is the mean of those of z with weights L
(exact; the weights of Sato 1976 and Vartia 1976 for index numbers). It does not change when a constant is added to all z.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from whybox.adapters.torch.batching_rules import RowTensor, align_rank, merge_row_axes
from whybox.adapters.torch.rules_elementwise import Call, Rule, by_rows

__all__ = ["BILINEAR", "PRODUCTS"]

aten: Final = torch.ops.aten


# Operators that are linear in each of these operands while the others are constant.
BILINEAR: Final[dict[Any, tuple[int, ...]]] = {
    aten.mul.Tensor: (0, 1),
    aten.mul.Scalar: (0,),
    aten.mm.default: (0, 1),
    aten.bmm.default: (0, 1),
    aten.addmm.default: (1, 2),
    aten.baddbmm.default: (1, 2),
}


def _sum_to_shape(g: Tensor, like: Tensor) -> Tensor:
    """The gradient of an operand that was repeated to the shape of `g`; rows are not summed over."""
    dims = [i for i in range(1, g.dim()) if like.shape[i] == 1 and g.shape[i] != 1]
    return g.sum(dims, keepdim=True) if dims else g


def _multiplication(
    call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor
) -> list[Tensor | None]:
    rank = y.dim() - 1
    a, b, ar, br = (align_rank(t, rank) for t in (*x, *r))
    return [
        _sum_to_shape(g * (b + br), a).mul_(0.5).reshape(x[0].shape),
        _sum_to_shape(g * (a + ar), b).mul_(0.5).reshape(x[1].shape),
    ]


def _division(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    """A / b as a times 1 / b; the quotient of differences of 1 / b is -1 / (b b_r)."""
    rank = y.dim() - 1
    b, br = align_rank(x[-1], rank), align_rank(r[-1], rank)
    if call.places == (1,):  # only the divisor changes
        gradient_in = call.args[0]
        top: Any = align_rank(gradient_in.t, rank) if isinstance(gradient_in, RowTensor) else gradient_in
        return [_sum_to_shape(-g * top / (b * br), b).reshape(x[0].shape)]
    a, ar = align_rank(x[0], rank), align_rank(r[0], rank)
    return [
        _sum_to_shape(g * (1 / b + 1 / br), a).mul_(0.5).reshape(x[0].shape),
        _sum_to_shape(g * (a + ar) / (b * br), b).mul_(-0.5).reshape(x[1].shape),
    ]


def _matrix_product(
    call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor
) -> list[Tensor | None]:
    out: list[Tensor | None] = []
    added = call.op in (aten.addmm.default, aten.baddbmm.default)
    values = dict(zip(call.places, zip(x, r, strict=True), strict=True))
    first, second = (1, 2) if added else (0, 1)
    for place in call.places:
        if place == 0 and added:
            to = align_rank(values[0][0], y.dim() - 1)
            out.append(_sum_to_shape(g * call.kwargs.get("beta", 1), to).reshape(values[0][0].shape))
            continue
        gain = g * call.kwargs.get("alpha", 1)
        if place == first:
            out.append(torch.matmul(gain, _half_way(call, values, second).transpose(-1, -2)))
        else:
            out.append(torch.matmul(_half_way(call, values, first).transpose(-1, -2), gain))
    return out


def _half_way(call: Call, values: dict[int, tuple[Tensor, Tensor]], place: int) -> Tensor:
    """An operand at the midpoint between reference and row."""
    if place in values:
        x, r = values[place]
        return (x + r) * 0.5
    still = call.args[place]
    return still.t if isinstance(still, RowTensor) else still


def _log_mean(p: Tensor, pr: Tensor, log: Tensor, log_r: Tensor) -> Tensor:
    """(p - p_r) / (log p - log p_r), between the two; 0 where both are."""
    d = log - log_r
    share = (p - pr).div_(d)
    far = d.abs_() > (1e-3 if p.dtype == torch.float32 else 1e-5)  # not where both are minus infinity
    return torch.where(far, share, (p * pr).sqrt_())


def _softmax_axis(call: Call, x: Tensor) -> list[int]:
    axes = call.args[1] if isinstance(call.args[1], (list, tuple)) else [call.args[1]]
    rank = x.dim() - 1
    return [a % rank + 1 for a in axes] if rank else [0]


def _product_weights(axes: list[int], p: Tensor, pr: Tensor, log: Tensor, log_r: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithmic means, and their sums."""
    mean = torch.nan_to_num_(_log_mean(p, pr, log, log_r), nan=0.0)  # all masked: nothing passes
    total = mean.sum(axes, keepdim=True)
    return mean, torch.where(total == 0, torch.ones_like(total), total)


def _log_of(z: Tensor, p: Tensor, axes: list[int]) -> Tensor:
    """Logarithms of probabilities, from where the largest of them stands: there both are exact."""
    return z - (z.amax(axes, keepdim=True) - p.amax(axes, keepdim=True).log())


def _softmax(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    axes = _softmax_axis(call, x[0])
    mean, total = _product_weights(axes, y, ry, _log_of(x[0], y, axes), _log_of(r[0], ry, axes))
    return [(g - (g * mean).sum(axes, keepdim=True).div_(total)).mul_(mean)]


def _log_softmax(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    axes = _softmax_axis(call, x[0])
    mean, total = _product_weights(axes, y.exp(), ry.exp(), y, ry)
    return [g - mean * (g.sum(axes, keepdim=True) / total)]


def _logsumexp(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    axes = _softmax_axis(call, x[0])
    if not (len(call.args) > 2 and call.args[2]):  # the axes were reduced
        for axis in sorted(axes):
            g, y, ry = (t.unsqueeze(axis) for t in (g, y, ry))
    log, log_r = x[0] - y, r[0] - ry
    mean, total = _product_weights(axes, log.exp(), log_r.exp(), log, log_r)
    return [mean * (g / total)]


def _safe_softmax_value(call: Call, x: Tensor) -> Tensor:
    """Softmax; 0 if all is masked."""
    axes = _softmax_axis(call, x)
    y = torch.softmax(x, axes[0], dtype=call.kwargs.get("dtype"))
    none = x.amax(axes, keepdim=True) == -torch.inf
    return y.masked_fill_(none, 0.0) if bool(none.any()) else y


# Norms: c = x - mean, s = 1 / sqrt(mean c^2 + eps), c s.


def _norm_gradient(g: Tensor, x: Tensor, r: Tensor, eps: float) -> Tensor:
    """Backward rule of a norm over the last axis. `g`, `x`: (rows, ..., n)."""
    (mean, s), (mean_r, sr) = (torch.native_layer_norm(t, [t.shape[-1]], None, None, eps)[1:] for t in (x, r))
    both, scale = (x - mean).add_(r - mean_r), s * sr
    of_s = (g * both).sum(-1, keepdim=True).mul_(0.5)
    of_variance = of_s * (scale * scale) / -(s + sr)
    gradient = both.mul_(of_variance / x.shape[-1]).addcmul_(g, (s + sr) * 0.5)
    return gradient.sub_(gradient.mean(-1, keepdim=True))


def _layer_norm(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    _, normal, weight, _, eps = call.args[:5]
    g = g if weight is None else g * weight
    lead = x[0].dim() - len(normal)
    gradient_in, at, ref = (t.flatten(lead) for t in (g, x[0], r[0]))
    return [_norm_gradient(gradient_in, at, ref, eps).reshape(x[0].shape)]


def _grouped_convolution(call: Call) -> tuple[int, Any, Any, float]:
    """Groups, weight, bias, eps of a group or instance norm."""
    if call.op is aten.native_group_norm.default:
        return call.args[6], call.args[1], call.args[2], call.args[7]
    if call.op is aten._native_batch_norm_legit.no_stats:
        return call.args[0].t.shape[2], call.args[1], call.args[2], call.args[5]
    return call.args[0].t.shape[2], call.args[1], call.args[2], call.args[7]


def _group_value(call: Call, x: Tensor) -> Tensor:
    groups, weight, bias, eps = _grouped_convolution(call)
    flat, unmerge = merge_row_axes(x, x.dim() - 1)
    return unmerge(torch.nn.functional.group_norm(flat, groups, weight, bias, eps))


def _group_norm(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    groups, weight, _, eps = _grouped_convolution(call)
    if weight is not None:
        g = g * weight.reshape(-1, *(1,) * (g.dim() - 3))
    gradient_in, at, ref = (t.reshape(*t.shape[:2], groups, -1) for t in (g, x[0], r[0]))
    return [_norm_gradient(gradient_in, at, ref, eps).reshape(x[0].shape)]


def _instance_only(args: tuple[Any, ...]) -> str:
    """Batch statistics are those of a single row only if the traced batch is one row."""
    val = args[0].meta["val"]
    return "" if val.shape[0] == 1 else "statistics over a batch"


PRODUCTS: Final[dict[Any, Rule]] = {
    aten.mul.Tensor: Rule(_multiplication, most=2),
    aten.div.Tensor: Rule(_division, most=2),
    **dict.fromkeys((aten.mm.default, aten.bmm.default), Rule(_matrix_product, most=2)),
    **dict.fromkeys((aten.addmm.default, aten.baddbmm.default), Rule(_matrix_product, most=3)),
    aten._softmax.default: Rule(by_rows(_softmax)),
    aten._safe_softmax.default: Rule(by_rows(_softmax), _safe_softmax_value),
    aten._log_softmax.default: Rule(by_rows(_log_softmax)),
    aten.logsumexp.default: Rule(_logsumexp),
    aten.native_layer_norm.default: Rule(by_rows(_layer_norm)),
    aten.native_group_norm.default: Rule(by_rows(_group_norm), _group_value),
    **dict.fromkeys(
        (aten.native_batch_norm.default, aten._native_batch_norm_legit.no_stats, aten._native_batch_norm_legit.default),
        Rule(_group_norm, _group_value, refuse=_instance_only),
    ),
}
