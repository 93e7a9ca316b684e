"""Rules of the largest and smallest of several numbers.

Between reference and row every operand moves along a straight line, and their maximum is, at each point of the path, one of them. An operand's multiplier
is the fraction of the path on which it is the largest; these fractions times the changes of the operands add up to the change of the maximum. For two
operands that is the rescale rule of max(a, b) = b + relu(a - b) (Shrikumar et al. 2017); for more it does not depend on their order, as pairs of pairs would.
If two are equal on the whole path, the first has the fraction, as in torch.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import torch
from torch import Tensor

from whybox.adapters.torch.batching_rules import RowTensor, align_rank, merge_row_axes
from whybox.adapters.torch.rules_elementwise import Call, Rule, by_rows

__all__ = ["POOLING"]

aten: Final = torch.ops.aten


def _pooling_shares(x: Sequence[Tensor], r: Sequence[Tensor]) -> list[Tensor]:
    """The fraction of the path from `r` to `x` on which each is the largest; they add up to 1."""
    begins = [torch.zeros_like(a) for a in x]
    ends = [torch.ones_like(a) for a in x]
    one, zero = (
        torch.ones((), dtype=x[0].dtype, device=x[0].device),
        torch.zeros((), dtype=x[0].dtype, device=x[0].device),
    )
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            before, after = r[i] - r[j], x[i] - x[j]
            leads = (before > 0) | ((before == 0) & (after >= 0))
            stays = torch.where(leads, after >= 0, after <= 0)
            at = torch.where(stays, one, before / (before - after))  # where the two cross
            last, first = torch.where(leads, at, one), torch.where(leads, zero, at)
            torch.minimum(ends[i], last, out=ends[i])
            torch.maximum(begins[j], torch.where(leads, at, zero), out=begins[j])
            torch.maximum(begins[i], first, out=begins[i])
            torch.minimum(ends[j], torch.where(leads, one, at), out=ends[j])
    shares = [(e - b).clamp_(min=0) for b, e in zip(begins, ends, strict=True)]
    total = torch.stack(shares).sum(0) if len(shares) > 8 else sum(shares[1:], shares[0])
    return [s / total for s in shares]


def _shares_along_axis(x: Tensor, r: Tensor) -> Tensor:
    """Fractions along the first axis, (k, ...), of many operands: one sweep for each."""
    begin, end = torch.zeros_like(x), torch.ones_like(x)
    order = torch.arange(len(x), device=x.device).reshape(-1, *(1,) * (x.dim() - 1))
    for j in range(len(x)):
        before, after = r - r[j], x - x[j]
        leads = (before > 0) | ((before == 0) & ((after > 0) | ((after == 0) & (order <= j))))
        stays = torch.where(leads, after >= 0, after <= 0)
        at = torch.where(stays, torch.ones_like(after), before / (before - after))
        end = torch.where(leads, torch.minimum(end, at), end)
        begin = torch.where(leads, begin, torch.maximum(begin, at))
    shares = (end - begin).clamp_(min=0)
    return shares / shares.sum(0, keepdim=True)


def _reduction_sign(call: Call) -> int:
    return -1 if call.op._schema.name.split("::")[-1] in ("amin", "min", "minimum", "clamp_max") else 1


def _over_axes(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    """amax, amin, max and min over axes."""
    t, ref, sign = x[0], r[0], _reduction_sign(call)
    rank = t.dim() - 1
    wanted = call.args[1] if len(call.args) > 1 else []
    wanted = [wanted] if isinstance(wanted, int) else wanted
    dims = sorted(d % rank + 1 for d in wanted) or list(range(1, rank + 1))
    rest = [d for d in range(t.dim()) if d not in dims]
    permutation = [*dims, *rest]
    moved = [a.permute(permutation).reshape(-1, *(a.shape[d] for d in rest)) for a in (t, ref)]
    shares = _shares_along_axis(moved[0] * sign, moved[1] * sign)
    gradient = shares * g.reshape([t.shape[d] for d in rest])
    inverse = [permutation.index(d) for d in range(t.dim())]
    return [gradient.reshape([t.shape[d] for d in permutation]).permute(inverse)]


def _of_two(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    """Maximum and minimum of two, of which one may be constant."""
    sign, rank = _reduction_sign(call), y.dim() - 1
    at: list[tuple[Tensor, Tensor]] = []
    moving = dict(zip(call.places, zip(x, r, strict=True), strict=True))
    for place in (0, 1):
        still = call.args[place].t if isinstance(call.args[place], RowTensor) else call.args[place]
        a, b = moving.get(place, (still, still))
        at.append(
            tuple(
                align_rank(t, rank) if place in moving or isinstance(call.args[place], RowTensor) else t for t in (a, b)
            )
        )
    whole = (
        [a.to(y.dtype).expand(y.shape) * sign for a, _ in at],
        [b.to(y.dtype).expand(ry.shape) * sign for _, b in at],
    )
    shares = _pooling_shares(*whole)
    out: list[Tensor | None] = []
    for place in call.places:
        like = at[place][0]
        gradient = g * shares[place]
        dims = [i for i in range(1, gradient.dim()) if like.shape[i] == 1 and gradient.shape[i] != 1]
        out.append((gradient.sum(dims, keepdim=True) if dims else gradient).reshape(moving[place][0].shape))
    return out


def _pool_windows(call: Call, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor, list[tuple[slice, ...]], list[int]]:
    """Padded values at row and reference, the slices of each operand of every window, and the leading padding of each axis."""
    spatial = 3 if "3d" in call.op._schema.name else 2
    given = [*call.args[1:6], None, None, None, None, None][:5]
    kernel, stride, padding, dilation = (
        _for_each_window(a, spatial, d) for a, d in zip(given[:4], (1, given[0], 0, 1), strict=True)
    )
    out = call.shape[-spatial:]
    low = float(torch.minimum(x.amin(), r.amin())) - 1.0  # never the largest, and finite
    need = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(out, stride, kernel, dilation, strict=True)]
    pads: list[int] = []
    for i in reversed(range(spatial)):
        size = x.shape[i - spatial]
        pads += [padding[i], max(0, need[i] - size - padding[i])]
    window_slices = [
        tuple(
            slice(o * d, o * d + (n - 1) * s + 1, s) for o, d, n, s in zip(offset, dilation, out, stride, strict=True)
        )
        for offset in product(*(range(k) for k in kernel))
    ]
    pad = torch.nn.functional.pad
    return pad(x, pads, value=low), pad(r, pads, value=low), window_slices, padding


def _for_each_window(given: Any, count: int, otherwise: Any) -> list[int]:
    given = otherwise if given is None or given == [] else given
    return [given] * count if isinstance(given, int) else list(given) * (count if len(given) == 1 else 1)


def _max_pool(call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor) -> list[Tensor | None]:
    t, ref, window_slices, padding = _pool_windows(call, x[0], r[0])
    shares = _pooling_shares([t[..., *at] for at in window_slices], [ref[..., *at] for at in window_slices])
    gradient = torch.zeros_like(t)
    for at, share in zip(window_slices, shares, strict=True):
        gradient[..., *at] += share * g
    inner = [slice(p, p + n) for p, n in zip(padding, x[0].shape[-len(padding) :], strict=True)]
    return [gradient[..., *inner]]


def _adaptive_pool(
    call: Call, g: Tensor, x: list[Tensor], y: Tensor, r: list[Tensor], ry: Tensor
) -> list[Tensor | None]:
    """Windows of one size: the largest over axes of their own."""
    spatial = len(call.args[1])
    lead, out = x[0].dim() - spatial, call.shape[-spatial:]

    def to_windows(t: Tensor) -> Tensor:
        sizes = [n for o, s in zip(out, t.shape[-spatial:], strict=True) for n in (o, s // o)]
        split = t.reshape(*t.shape[:lead], *sizes)
        inside = [lead + 2 * i + 1 for i in range(spatial)]
        return split.permute(*inside, *(d for d in range(split.dim()) if d not in inside)).flatten(0, spatial - 1)

    shares = _shares_along_axis(to_windows(x[0]), to_windows(r[0])) * g
    windows = [s // o for o, s in zip(out, x[0].shape[-spatial:], strict=True)]
    gradient = shares.unflatten(0, windows)
    order = [*range(spatial, spatial + lead)]
    for i in range(spatial):
        order += [spatial + lead + i, i]
    return [gradient.permute(order).reshape(x[0].shape)]


def _adaptive_value(call: Call, x: Tensor) -> Tensor:
    flat, unmerge = merge_row_axes(x, len(call.shape))
    return unmerge(call.op(flat, *call.args[1:])[0])


def _uneven_windows(args: tuple[Any, ...]) -> str:
    val, out = args[0].meta["val"], args[1]
    sizes = val.shape[-len(out) :]
    return "" if all(s % o == 0 for s, o in zip(sizes, out, strict=True)) else "windows of different sizes"


POOLING: Final[dict[Any, Rule]] = {
    **dict.fromkeys(
        (aten.amax.default, aten.amin.default, aten.max.dim, aten.min.dim, aten.max.default, aten.min.default),
        Rule(_over_axes),
    ),
    **dict.fromkeys(
        (aten.maximum.default, aten.minimum.default, aten.clamp_min.Tensor, aten.clamp_max.Tensor),
        Rule(_of_two, most=2),
    ),
    **dict.fromkeys(
        (aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default), Rule(by_rows(_max_pool))
    ),
    **dict.fromkeys(
        (aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default),
        Rule(_adaptive_pool, _adaptive_value, refuse=_uneven_windows),
    ),
}
