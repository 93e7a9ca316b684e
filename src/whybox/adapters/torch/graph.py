"""The operators that a torch module runs for one row, in order: the graph that operator rules use.

The module is run once on a tensor that records its operators and hides its numbers; if that fails, torch traces it on tensors without numbers, which takes
ten times as long. So no part of it can depend on the numbers of the row unnoticed. Composites (attention, encoder layers, recurrent layers, all kinds of
norms) are decomposed into operators of ATen; each of these is linear, or has a rule, or is refused.
"""

# ruff: noqa: SLF001  # ATen has operators whose names begin with an underscore

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, final

import torch
from torch._decomp import get_decompositions
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.node import map_arg

from whybox.adapters.torch.dispatch_tracer import NumpyGuard, RecordedGraph, record_operators
from whybox.core.library_calls import first_line
from whybox.errors import Argument, OptionError, UnsupportedModelError

__all__ = ["INSTEAD_HINT", "Graph", "capture", "operator_name"]

aten: Final = torch.ops.aten
INSTEAD_HINT: Final = "use ", Argument("method", "integrated_gradients"), ", which needs derivatives only."

# Operators that use the shape of their tensor only.
_SHAPE_ONLY: Final = frozenset(
    {
        "new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "empty_like", "new_empty_strided",
        "empty_strided", "fill", "zero",
    }
)  # fmt: skip


def _variance_by_primitives(x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    """Variance by means and products, which have rules."""
    dims = list(range(x.dim())) if dim is None or dim == [] else [d % x.dim() for d in dim]
    count = 1
    for d in dims:
        count *= x.shape[d]
    centred = x - x.mean(dims, keepdim=True)
    return (centred * centred).sum(dims, keepdim=keepdim) / (count - (1 if correction is None else correction))


def _standard_deviation(x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    return _variance_by_primitives(x, dim, correction=correction, keepdim=keepdim).sqrt()


def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:  # noqa: A002  # as torch calls them
    """Euclidean lengths by a product and a root; sums of absolute values."""
    if dtype is not None or ord not in (1, 2):
        return NotImplemented
    dims = list(range(x.dim())) if dim is None else dim
    return x.abs().sum(dims, keepdim=keepdim) if ord == 1 else (x * x).sum(dims, keepdim=keepdim).sqrt()


def _as_strided_view(x: Any, size: Any, stride: Any, storage_offset: Any = None) -> Any:
    """The same numbers in the same order, given by strides (pooling of networks with channels innermost)."""
    same = list(size) == list(x.shape) and not storage_offset
    if not same or any(n > 1 and s != t for n, s, t in zip(size, stride, x.stride(), strict=True)):
        return NotImplemented
    return aten.alias.default(x)


def _fill(x: Any, value: Any) -> Any:
    """Numbers of another tensor in the shape of `x`."""
    return aten.expand.default(value.to(x.dtype), list(x.shape))


def _clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    """Clamping between tensors, as the largest and smallest of two."""
    x = x if low is None else torch.maximum(x, low)
    return x if high is None else torch.minimum(x, high)


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Composites that are decomposed, beside those that torch decomposes by itself."""
    own = get_decompositions(
        [
            aten._scaled_dot_product_flash_attention_for_cpu,
            aten._scaled_dot_product_attention_math,
            aten.addcmul,
            aten.addcdiv,
            aten.lerp,
            aten.glu,
            aten.mv,
            aten.dot,
            aten.addmv,
            aten.addr,
            aten._fused_rms_norm,
            aten.mse_loss,
            aten.huber_loss,
        ]
    )
    return {
        **own,
        aten.var.correction: _variance_by_primitives,
        aten.std.correction: _standard_deviation,
        aten.linalg_vector_norm.default: _vector_norm,
        aten.as_strided.default: _as_strided_view,
        aten.fill.Tensor: _fill,
        aten.copy.default: lambda x, source, non_blocking=False: _fill(x, source),
        aten.clamp.Tensor: _clamp,
        aten.var_mean.correction: lambda x, dim=None, *, correction=None, keepdim=False: (
            _variance_by_primitives(x, dim, correction=correction, keepdim=keepdim),
            x.mean(list(range(x.dim())) if dim is None else dim, keepdim=keepdim),
        ),
    }


@final
@dataclass(frozen=True)
class Graph:
    """The operators that run for one row.

    Attributes:
        inputs: nodes of the inputs. steps: nodes that the output depends on and that depend on an input, in order.
        output: its node. constants: values of nodes that depend on no input.
        per_row: nodes that differ from row to row. moving: those of them that depend on inputs of floats, which explanations change.
        last_used: nodes that are needed for the last time at a step.
    """

    inputs: tuple[Node, ...]
    steps: tuple[Node, ...]
    output: Node
    constants: dict[Node, Any]
    per_row: frozenset[Node]
    moving: frozenset[Node]
    last_used: dict[Node, tuple[Node, ...]]


_TRACING_FAILURES: Final = {  # part of torch's message, and the cause
    "ata-dependent": "a branch, a loop or a length in it depends on the numbers of a row, or they leave torch (numpy)",
    "autograd.Function": "it has an operator of its own (autograd.Function), which cannot be traced",
    "requires_grad_()": "it takes derivatives itself, in forward",
    "dynamo-optimized": "a function in it was compiled (torch.compile); explain the network before compilation",
}


@contextmanager
def _without_fused_kernels() -> Iterator[None]:
    """Within it there are no fused kernels, whose operators could not be seen. Switches are restored afterwards."""
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(
            torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled()
        )  # torch.backends.mkldnn.flags warns
        torch._C._set_mkldnn_enabled(False)
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        stack.enter_context(torch.no_grad())
        stack.enter_context(NumpyGuard())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def capture(function: Callable[..., torch.Tensor], x: tuple[torch.Tensor, ...], restore: Callable[[], None]) -> Graph:
    """Trace a function of one row.

    Args:
        function: takes tensors of rows, its parameters fixed. x: inputs; the first row is traced by its shape only. restore: restores the state of the
            module, and is called before each attempt.

    Raises:
        UnsupportedModelError: the function depends on numbers of the row (branches, lengths), or on chance, or it cannot be traced.
    """
    row = tuple(a[:1].detach().clone() for a in x)
    restore()
    try:
        with _without_fused_kernels():
            return _graph_of_module(record_operators(function, row, _decompositions(), _shape_only), row)
    except Exception:  # tracing by torch may still work, or gives the reason
        restore()
    try:
        with _without_fused_kernels():
            module = _trace_function(function, row)
            if any(_in_place(n) for n in module.graph.nodes):
                module = _trace_function(module, row)
    except (UnsupportedModelError, OptionError):
        raise
    except Exception as error:
        message = first_line(error)
        reason = next((function for sign, function in _TRACING_FAILURES.items() if sign in str(error)), None)
        raise UnsupportedModelError(
            "operators of the network cannot be traced without its numbers"
            f"{f': {reason}' if reason else f' ({type(error).__name__}: {message}); most often a branch or a loop in it depends on the numbers of a row'}; ",
            INSTEAD_HINT,
        ) from error
    return _graph_of_module(module, row)


def _trace_function(function: Callable[..., Any], row: tuple[torch.Tensor, ...]) -> GraphModule:
    def spread(*xs: torch.Tensor) -> Any:  # make_fx counts the arguments of its function
        return function(*xs)

    traced = make_fx(
        torch.func.functionalize(spread),
        decomposition_table=_decompositions(),
        tracing_mode="fake",
        _allow_non_fake_inputs=True,
    )(*row)
    assert isinstance(traced, GraphModule)  # noqa: S101  # what make_fx makes
    return traced


def _in_place(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def operator_name(op: Any) -> str:
    """The operator's name: ``gelu``, ``max_pool2d_with_indices``."""
    return (
        op._schema.name.split("::")[-1] if isinstance(op, torch._ops.OpOverload) else getattr(op, "__name__", str(op))
    )


def _graph_of_module(module: GraphModule | RecordedGraph, row: tuple[torch.Tensor, ...]) -> Graph:
    nodes = list(module.graph.nodes)
    inputs = tuple(n for n in nodes if n.op == "placeholder")
    output = next(n for n in nodes if n.op == "output").args[0]
    live: set[Node] = set()
    todo = [output]
    while todo:
        node = todo.pop()
        if node not in live:
            live.add(node)
            todo += [] if _of_shape(node) else node.all_input_nodes
    per_row, moving = set(inputs), {n for n, a in zip(inputs, row, strict=True) if a.is_floating_point()}
    constants: dict[Node, Any] = {}
    steps: list[Node] = []
    for node in nodes:
        if node not in live or node.op in ("placeholder", "output"):
            continue
        feeds = [] if _of_shape(node) else node.all_input_nodes
        if any(n in per_row for n in feeds):
            steps.append(node)
            per_row.add(node)
            if any(n in moving for n in feeds):
                moving.add(node)
        else:
            constants[node] = _constant_value(module, node, constants)
    return Graph(
        inputs,
        tuple(steps),
        output,
        constants,
        frozenset(per_row),
        frozenset(moving),
        _last_uses(steps, inputs, output),
    )


def _last_uses(steps: list[Node], inputs: tuple[Node, ...], output: Node) -> dict[Node, tuple[Node, ...]]:
    """The step at which each value is needed for the last time."""
    mine = {*steps, *inputs} - {output}
    last: dict[Node, Node] = {}
    for step in steps:
        last.update((n, step) for n in step.all_input_nodes if n in mine)
    out: dict[Node, tuple[Node, ...]] = {}
    for n, step in last.items():
        out[step] = (*out.get(step, ()), n)
    return out


def _of_shape(node: Node) -> bool:
    return node.op == "call_function" and _shape_only(node.target)


def _shape_only(op: Any) -> bool:
    return operator_name(op) in _SHAPE_ONLY and op is not aten.fill.Tensor


def _constant_value(module: GraphModule | RecordedGraph, node: Node, known: dict[Node, Any]) -> Any:
    """Value of a node that depends on no input, computed once.

    Raises:
        UnsupportedModelError: it is random.
    """
    if node.op == "get_attr":
        value: Any = module
        for part in str(node.target).split("."):
            value = getattr(value, part)
        return value.detach() if isinstance(value, torch.Tensor) else value
    op: Any = node.target
    if op is operator.getitem:
        return known[node.args[0]][node.args[1]]
    if torch.Tag.nondeterministic_seeded in getattr(op, "tags", ()):
        raise UnsupportedModelError(
            f"operator {operator_name(op)!r} draws random numbers: there is no single output to explain."
        )

    def real(n: Node) -> Any:
        if n in known:
            return known[n]
        like = n.meta["val"]
        return torch.empty(like.shape, dtype=like.dtype, device=like.device)

    with torch.no_grad():
        return op(*map_arg(node.args, real), **map_arg(node.kwargs, real))
