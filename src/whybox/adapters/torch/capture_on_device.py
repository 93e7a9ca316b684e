"""Tracing a module on an accelerator as if it were on the processor: tracing needs shapes only, so every device gets the same operators.

Accelerators fuse operators (recurrent cells, norms), and fused operators have no rules.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from torch.func import functional_call
from torch.utils._pytree import tree_map

from whybox.adapters.torch.forward import TorchForward
from whybox.adapters.torch.graph import Graph, capture
from whybox.adapters.torch.memory import storage_pointers
from whybox.adapters.torch.state import as_uncompiled
from whybox.errors import UnsupportedModelError

__all__ = ["captured"]


class _WithHead(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """Module and head of a network as one module, whose parameters can be replaced for one call."""

    def __init__(self, net: TorchForward) -> None:
        super().__init__()
        self.module = net.module
        self._net = [net]  # in a list, so that torch does not register it

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        """The network's outputs."""
        return self._net[0].module_outputs(*x)


def captured(net: TorchForward, x: tuple[torch.Tensor, ...]) -> Graph:
    """The graph of a network on its own device; see whybox.adapters.torch.graph.capture.

    It depends on shapes and types of a row only, so the last one is kept for the session, in which parameters stay as they are.

    Raises:
        UnsupportedModelError: it cannot be traced.
    """
    key = net, *((a[:1].shape, a[:1].stride(), a.dtype) for a in x)
    if net.state.traced is not None and net.state.traced[0] == key:
        return cast("Graph", net.state.traced[1])
    with as_uncompiled(net.module) as module:
        graph = _traced(replace(net, module=module), x)
    graph.constants.update(net.state.unshared(graph.constants))
    net.state.restore()
    if net.state.is_open:
        net.state.traced = key, graph
    return graph


def _traced(net: TorchForward, x: tuple[torch.Tensor, ...]) -> Graph:
    if net.device.type == "cpu":
        return capture(net.module_outputs, x, net.state.restore)
    with_head = _WithHead(net)
    own = {n: t.detach() for n, t in (*with_head.named_parameters(), *with_head.named_buffers())}
    held = {n: t.cpu() for n, t in own.items()}
    try:
        graph = capture(
            lambda *rows: functional_call(with_head, held, rows), tuple(a[:1].cpu() for a in x), net.state.restore
        )
    except UnsupportedModelError:  # forward names a device, or holds tensors that are neither parameters nor buffers
        return capture(net.module_outputs, x, net.state.restore)
    origin = {which: (copy, own[n]) for n, copy in held.items() for which in storage_pointers([copy])}

    def there(value: Any) -> Any:
        if isinstance(value, torch.device):
            return net.device
        if not isinstance(value, torch.Tensor):
            return value
        (which,) = storage_pointers([value])
        copy, true = origin.get(which, (None, None))
        if copy is None or true is None or (copy.dtype, copy.stride()) != (value.dtype, true.stride()):
            return value.to(net.device)
        # a weight, or a view of one: it is on the device already
        return true.as_strided(value.shape, value.stride(), true.storage_offset() + value.storage_offset())

    for step in graph.steps:
        step.args, step.kwargs = tree_map(there, step.args), tree_map(there, step.kwargs)
    return replace(graph, constants={node: tree_map(there, value) for node, value in graph.constants.items()})
