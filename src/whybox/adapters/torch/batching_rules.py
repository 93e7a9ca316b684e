"""Operators traced for one row, run for many: every value that differs from row to row has the rows as its first axis, whatever the operator does to the others.

Common operators have a rule each, so that they cost as much as in the network itself; all others run under torch.vmap.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

__all__ = ["RowTensor", "align_rank", "evaluate", "merge_row_axes"]

aten: Final = torch.ops.aten


class RowTensor(NamedTuple):
    """A tensor with rows as its first axis, before those of the traced shape."""

    t: Tensor


def evaluate(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...] | None, n: int) -> Any:
    """Run an operator for `n` rows.

    Args:
        op: of ATen. args, kwargs: as traced, with RowTensor where values differ from row to row.
        shape: of its output for one row, None if that is more than one tensor.
        n: number of rows.

    Returns:
        A tensor with the rows as its first axis, or a tuple of such.
    """
    if "memory_format" in kwargs:  # of the traced shape, which has one axis less; it does not change numbers
        kwargs = {k: v for k, v in kwargs.items() if k != "memory_format"}
    rule = _BATCHING_RULES.get(op)
    if rule is not None:
        result = rule(op, args, kwargs, shape, n)
        if result is not None:
            return result
    if torch.Tag.pointwise in op.tags and not any(isinstance(a, list) for a in args):
        return op(*_pointwise(args), **kwargs)
    return _with_vmap(op, args, kwargs)


def align_rank(t: Tensor, rank: int) -> Tensor:
    """A value with rows, given axes of length 1 behind them until one row of it has `rank` axes."""
    return t if t.dim() > rank else t.reshape(t.shape[0], *(1,) * (rank + 1 - t.dim()), *t.shape[1:])


def _pointwise(args: tuple[Any, ...]) -> list[Any]:
    rank = max(
        [a.t.dim() - 1 for a in args if isinstance(a, RowTensor)] + [a.dim() for a in args if isinstance(a, Tensor)]
    )
    return [align_rank(a.t, rank) if isinstance(a, RowTensor) else a for a in args]


def _with_vmap(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensors: list[Tensor] = []

    def take_tensors(a: Any) -> Any:
        if isinstance(a, RowTensor):
            tensors.append(a.t)
            return _BatchedArgument(len(tensors) - 1)
        return [take_tensors(b) for b in a] if isinstance(a, (list, tuple)) else a

    places, named = [take_tensors(a) for a in args], {k: take_tensors(a) for k, a in kwargs.items()}

    def put_tensors(a: Any, given: tuple[Tensor, ...]) -> Any:
        if isinstance(a, _BatchedArgument):
            return given[a.at]
        return [put_tensors(b, given) for b in a] if isinstance(a, list) else a

    def call(*given: Tensor) -> Any:
        output = op(*(put_tensors(a, given) for a in places), **{k: put_tensors(a, given) for k, a in named.items()})
        return tuple(output) if isinstance(output, (list, tuple)) else output

    return torch.vmap(call, in_dims=0, out_dims=0)(*tensors)


class _BatchedArgument(NamedTuple):
    """The place of the row tensor with index `at`."""

    at: int


def merge_row_axes(x: Tensor, rank: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Rows and a batch axis of the traced shape as one axis, where one row has `rank` axes, and the function that splits it again."""
    if x.dim() == rank:  # the traced shape had no batch axis: rows are it
        return x, lambda y: y
    return x.flatten(0, 1), lambda y: y.unflatten(0, x.shape[:2])


# Rules for one row's axes. Each takes (op, args, kwargs, shape, n), and returns None for cases that it does not know.


def _reshaped(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    return args[0].t.reshape(n, *shape)


def _expanded(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    return align_rank(args[0].t, len(shape)).expand(n, *shape)


def _permuted(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    rank = args[0].t.dim() - 1
    return args[0].t.permute(0, *(d % rank + 1 for d in args[1]))


def _transposed(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    t = args[0].t
    rank = t.dim() - 1
    if rank == 0 or (op is aten.t.default and rank < 2):
        return t
    a, b = (0, 1) if op is aten.t.default else args[1:]
    return t.transpose(a % rank + 1, b % rank + 1)


def _identity(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    return args[0].t


def _along_axis(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    """Operators whose second argument is an axis."""
    if kwargs or not isinstance(args[0], RowTensor) or len(args) < 2:
        return None
    t, axis = args[0].t, args[1]
    return op(t, axis % (t.dim() - 1) + 1, *args[2:])


def _over_axes(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    """Sums and means over axes."""
    t = args[0].t
    rank = t.dim() - 1
    dims = args[1] if len(args) > 1 and args[1] else list(range(rank))
    if not dims or rank == 0:
        return None
    return op(t, [d % rank + 1 for d in dims], *args[2:], **kwargs)


def _concatenated(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    axis = args[1] if len(args) > 1 else 0
    parts = [a.t if isinstance(a, RowTensor) else a.expand(n, *a.shape) for a in args[0]]
    if any(p.dim() != parts[0].dim() for p in parts):
        return None
    return op(parts, axis % len(shape) + 1)


def _scattered(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    """Slices and positions that are overwritten by others."""
    names = ("dim", "start", "end", "step") if op is aten.slice_scatter.default else ("dim", "index")
    given = dict(zip(names, args[2:], strict=False)) | kwargs
    axis = given.pop("dim", 0) % len(shape)
    into, part = (a.t if isinstance(a, RowTensor) else a.expand(n, *a.shape) for a in args[:2])
    return op(into, part, axis + 1, *(given.get(k, d) for k, d in zip(names[1:], (None, None, 1), strict=False)))


def _convolved(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    if not isinstance(args[0], RowTensor) or any(isinstance(a, RowTensor) for a in args[1:]):
        return None
    x, unmerge = merge_row_axes(args[0].t, args[1].dim())
    return unmerge(op(x, *args[1:], **kwargs))


def _image_operator(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    """Operators on pictures and volumes: everything but the last axes is a batch."""
    rank = 5 if "3d" in op._schema.name else 4
    if args[0].t.dim() < rank:
        return None
    x, unmerge = merge_row_axes(args[0].t, rank)
    output = op(x, *args[1:], **kwargs)
    return tuple(map(unmerge, output)) if isinstance(output, tuple) else unmerge(output)


def _product(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    a, b = (m.t if isinstance(m, RowTensor) else m for m in args)
    return torch.matmul(a, b)


def _plus_product(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    bias, a, b = args
    if (
        op is aten.addmm.default
        and isinstance(a, RowTensor)
        and isinstance(bias, Tensor)
        and isinstance(b, Tensor)
        and bias.dim() == 1
    ):
        return torch.addmm(bias, a.t.flatten(0, 1), b, **kwargs).unflatten(0, a.t.shape[:2])
    output = _product(op, (a, b), {}, shape, n) * kwargs.get("alpha", 1)
    first = align_rank(bias.t, len(shape)) if isinstance(bias, RowTensor) else bias
    return output + first * kwargs.get("beta", 1)


def _batch_normed(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    """In eval mode: a scale and a shift for each channel."""
    x, weight, bias, mean, var, training, _, eps = args[:8]
    if training or any(isinstance(a, RowTensor) for a in args[1:5]) or mean is None:
        return None
    scale = torch.rsqrt(var + eps)
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape_of_channels = (-1, *(1,) * (x.t.dim() - 3))
    return torch.addcmul(shift.reshape(shape_of_channels), x.t, scale.reshape(shape_of_channels)), None, None


def _layer_normed(op: Any, args: Any, kwargs: Any, shape: Any, n: int) -> Any:
    if any(isinstance(a, RowTensor) for a in args[1:]):
        return None
    return torch.nn.functional.layer_norm(args[0].t, args[1], *args[2:5]), None, None


_BATCHING_RULES: Final[dict[Any, Callable[..., Any]]] = {
    **dict.fromkeys(
        (aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.squeeze.default), _reshaped
    ),
    **dict.fromkeys(
        (aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten._reshape_alias.default), _reshaped
    ),
    aten.expand.default: _expanded,
    aten.permute.default: _permuted,
    **dict.fromkeys((aten.transpose.int, aten.t.default), _transposed),
    **dict.fromkeys((aten.detach.default, aten.alias.default, aten.lift_fresh_copy.default), _identity),
    **dict.fromkeys(
        (aten.select.int, aten.slice.Tensor, aten._softmax.default, aten._log_softmax.default), _along_axis
    ),
    **dict.fromkeys((aten.sum.dim_IntList, aten.mean.dim, aten.amax.default, aten.amin.default), _over_axes),
    aten.cat.default: _concatenated,
    **dict.fromkeys((aten.slice_scatter.default, aten.select_scatter.default), _scattered),
    **dict.fromkeys((aten.convolution.default, aten._convolution.default), _convolved),
    **dict.fromkeys(
        (
            aten.avg_pool2d.default,
            aten.avg_pool3d.default,
            aten._adaptive_avg_pool2d.default,
            aten._adaptive_avg_pool3d.default,
            aten.max_pool2d_with_indices.default,
            aten.max_pool3d_with_indices.default,
            aten.upsample_nearest2d.default,
            aten.upsample_bilinear2d.default,
            aten.upsample_bicubic2d.default,
        ),
        _image_operator,
    ),
    **dict.fromkeys((aten.mm.default, aten.bmm.default), _product),
    **dict.fromkeys((aten.addmm.default, aten.baddbmm.default), _plus_product),
    **dict.fromkeys((aten.native_batch_norm.default, aten.cudnn_batch_norm.default), _batch_normed),
    **dict.fromkeys((aten._native_batch_norm_legit.default,), _batch_normed),
    aten.native_layer_norm.default: _layer_normed,
}
