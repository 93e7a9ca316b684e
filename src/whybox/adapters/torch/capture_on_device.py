"""Taking a module on an accelerator down as if it lay on the processor: tracing needs shapes alone, and so every device walks along the same operators.

Accelerators fuse what the processor spells out (recurrent cells, norms), and fused operators have no rules.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call
from torch.utils._pytree import tree_map

from whybox.adapters.torch.graph import Graph, capture
from whybox.adapters.torch.memory import storages
from whybox.adapters.torch.state import uncompiled
from whybox.errors import UnsupportedModelError

if TYPE_CHECKING:
    from whybox.adapters.torch.module import TorchNetwork

__all__ = ["captured"]


class _Answering(torch.nn.Module):  # type: ignore[misc]  # torch has no types here
    """A network, head and all, whose parameters may be others for one call."""

    def __init__(self, net: TorchNetwork) -> None:
        super().__init__()
        self.module = net.module
        self._net = [net]  # in a list: not a part of this one

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        """What the network answers."""
        return self._net[0].said(*x)


def captured(net: TorchNetwork, x: tuple[torch.Tensor, ...]) -> Graph:
    """The graph of a network on its own device; see whybox.adapters.torch.graph.capture.

    Raises:
        UnsupportedModelError: it cannot be traced.
    """
    with uncompiled(net.module) as module:
        graph = _traced(replace(net, module=module), x)
    graph.constants.update(net.state.apart(graph.constants))
    net.state.back()
    return graph


def _traced(net: TorchNetwork, x: tuple[torch.Tensor, ...]) -> Graph:
    if net.device.type == "cpu":
        return capture(net.said, x, net.state.back)
    answering = _Answering(net)
    own = {n: t.detach() for n, t in (*answering.named_parameters(), *answering.named_buffers())}
    held = {n: t.cpu() for n, t in own.items()}
    try:
        graph = capture(
            lambda *rows: functional_call(answering, held, rows), tuple(a[:1].cpu() for a in x), net.state.back
        )
    except UnsupportedModelError:  # forward says where, or keeps tensors that are neither parameters nor buffers
        return capture(net.said, x, net.state.back)
    origin = {which: (copy, own[n]) for n, copy in held.items() for which in storages([copy])}

    def there(value: Any) -> Any:
        if isinstance(value, torch.device):
            return net.device
        if not isinstance(value, torch.Tensor):
            return value
        (which,) = storages([value])
        copy, true = origin.get(which, (None, None))
        if copy is None or true is None or (copy.dtype, copy.stride()) != (value.dtype, true.stride()):
            return value.to(net.device)
        # a weight, seen from another side perhaps: it lies there already, and once is enough
        return true.as_strided(value.shape, value.stride(), true.storage_offset() + value.storage_offset())

    for step in graph.steps:
        step.args, step.kwargs = tree_map(there, step.args), tree_map(there, step.kwargs)
    return replace(graph, constants={node: tree_map(there, value) for node, value in graph.constants.items()})
