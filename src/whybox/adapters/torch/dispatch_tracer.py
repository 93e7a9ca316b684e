"""Recording the operators of one row while it runs, by a tensor that records its operators and hides its numbers.

Much faster than tracing by torch, but less general: what it does not know is left to torch (`CannotRecord`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, final

import torch
from torch.fx import Graph, Node
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

__all__ = ["CannotRecord", "NumpyGuard", "RecordedGraph", "record_operators"]

aten: Final = torch.ops.aten
_BY_NUMBERS: Final = (
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,
)
_LEAVES_TORCH: Final = ("numpy", "__array__", "__dlpack__", "data_ptr")
_IS_COMPOSITE: dict[Any, bool] = {}


@final
class NumpyGuard(TorchFunctionMode):  # type: ignore[misc]  # torch has no types here
    """Traced tensors must not go to numpy, where nothing is recorded."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse numpy, run everything else."""
        if getattr(func, "__name__", "") in _LEAVES_TORCH and torch._is_functional_tensor(args[0]):  # noqa: SLF001
            raise CannotRecord("data-dependent: it goes through numpy")
        return func(*args, **(kwargs or {}))


class CannotRecord(Exception):  # noqa: N818  # not an error: torch traces instead
    """Something that cannot be recorded in this way."""


@final
class RecordedGraph:
    """Nodes in order (``graph``), and tensors from outside, one attribute for each of its ``get_attr`` nodes."""

    def __init__(self, table: dict[Any, Callable[..., Any]], shape_only: Callable[[Any], bool]) -> None:
        self.graph = Graph()
        self.table = table
        self.shape_only = shape_only
        self._known: dict[int, Node] = {}

    def constant(self, t: torch.Tensor) -> Node:
        """The node of a tensor from outside."""
        if id(t) not in self._known:
            name = f"constant_{len(self._known)}"
            setattr(self, name, t)  # which also keeps it alive, so that its id stays valid
            self._known[id(t)] = node = self.graph.create_node("get_attr", name)
            node.meta["val"] = _shape_and_type(t)
        return self._known[id(t)]


def _shape_and_type(t: Any) -> Any:
    """Shape and type only."""
    if isinstance(t, (tuple, list)):
        return type(t)(map(_shape_and_type, t))
    return torch.empty(t.shape, dtype=t.dtype, device="meta") if isinstance(t, torch.Tensor) else t


class _TracedTensor(torch.Tensor):  # type: ignore[misc]  # torch has no types here
    """A tensor of the traced row, or computed from it."""

    recording: RecordedGraph
    inner: torch.Tensor
    node: Node

    @staticmethod
    def __new__(cls, inner: torch.Tensor, node: Node, recording: RecordedGraph) -> Any:
        output = torch.Tensor._make_wrapper_subclass(  # noqa: SLF001  # torch has no public word for it
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=inner.device
        )
        output.inner, output.node, output.recording = inner, node, recording
        return output

    __torch_function__ = torch._C._disabled_torch_function_impl  # noqa: SLF001

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Record the operator and run it."""
        kwargs = kwargs or {}
        recording = _first_traced((*args, *kwargs.values())).recording
        if func in recording.table:
            result = recording.table[func](*args, **kwargs)
            if result is not NotImplemented:
                return result
        if _is_composite(func):
            return func.decompose(*args, **kwargs)
        if func._schema.is_mutable or any(tag in func.tags for tag in _BY_NUMBERS):  # noqa: SLF001
            raise CannotRecord(str(func))
        plain = func(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
        if recording.shape_only(func):
            return plain

        def as_node(a: Any) -> Any:
            if isinstance(a, _TracedTensor):
                return a.node
            return recording.constant(a) if isinstance(a, torch.Tensor) else a

        node = recording.graph.call_function(func, tree_map(as_node, tuple(args)), tree_map(as_node, dict(kwargs)))
        node.meta["val"] = _shape_and_type(plain)
        if isinstance(plain, torch.Tensor):
            return cls(plain, node, recording)
        if not isinstance(plain, (tuple, list)):
            raise CannotRecord(str(func))
        return type(plain)(_output_item(t, node, k, recording) for k, t in enumerate(plain))


def _output_item(t: Any, node: Node, k: int, recording: RecordedGraph) -> Any:
    if not isinstance(t, torch.Tensor):
        if t is None:
            return None
        raise CannotRecord("a number among tensors")
    item = recording.graph.call_function(operator.getitem, (node, k))
    item.meta["val"] = _shape_and_type(t)
    return _TracedTensor(t, item, recording)


def _unwrap(a: Any) -> Any:
    return a.inner if isinstance(a, _TracedTensor) else a


def _first_traced(args: Any) -> _TracedTensor:
    for a in args:
        if isinstance(a, _TracedTensor):
            return a
        if isinstance(a, (list, tuple)):
            for b in a:
                if isinstance(b, _TracedTensor):
                    return b
    raise CannotRecord("nothing of the row")


def _is_composite(func: Any) -> bool:
    if func not in _IS_COMPOSITE:
        has = torch._C._dispatch_has_kernel_for_dispatch_key  # noqa: SLF001
        _IS_COMPOSITE[func] = bool(has(func.name(), "CompositeImplicitAutograd"))
    return _IS_COMPOSITE[func]


def record_operators(
    function: Callable[..., Any],
    row: tuple[torch.Tensor, ...],
    table: dict[Any, Callable[..., Any]],
    shape_only: Callable[[Any], bool],
) -> RecordedGraph:
    """Run a function of one row and record its operators.

    Raises:
        CannotRecord: it reads numbers, or uses something that is not known here.
    """
    recording = RecordedGraph(table, shape_only)
    given = []
    for i, t in enumerate(row):
        node = recording.graph.placeholder(f"input_{i}")
        node.meta["val"] = _shape_and_type(t)
        given.append(_TracedTensor(t, node, recording))

    output = torch.func.functionalize(function)(*given)
    if not isinstance(output, torch.Tensor):
        raise CannotRecord("no tensor")
    recording.graph.output(output.node if isinstance(output, _TracedTensor) else recording.constant(output))
    return recording
