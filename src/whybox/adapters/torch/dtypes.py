"""Types: what a module computes in, and what its inputs must be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whybox.adapters.torch.forward import TorchForward
from whybox.adapters.torch.state import without_compilation

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["arithmetic_of", "quantised_by_range", "types_in_call_order"]


def quantised_by_range(module: torch.nn.Module) -> bool:
    """True if layers quantise their inputs by the range of the whole batch: then rows are evaluated one by one."""
    return any(".quantized.dynamic." in f"{type(m).__module__}." for m in module.modules())


def arithmetic_of(module: torch.nn.Module, dtype: torch.dtype) -> str:
    """The type that a module computes in, in words: that of its first parameter, or a mixture if only some have 16 bits."""
    met = {p.dtype for p in (*module.parameters(), *module.buffers()) if p.is_floating_point()}
    shorter = sorted(str(d).removeprefix("torch.") for d in met if d.itemsize == 2)
    wider = sorted(str(d).removeprefix("torch.") for d in met if d.itemsize > 2)
    return f"{shorter[0]} mixed with {wider[0]}" if shorter and wider else str(dtype).removeprefix("torch.")


def types_in_call_order(net: TorchForward, few: tuple[npt.NDArray[Any], ...]) -> list[torch.dtype]:
    """Types of weights in the order in which their layers are called, up to the one that fails; [] if all weights have one type."""
    if len(set(_floats_of(net.module, recurse=True))) < 2:
        return []
    called: list[torch.dtype] = []
    handles = [
        m.register_forward_pre_hook(lambda m, _: called.extend(_floats_of(m)))
        for m in net.module.modules()
        if not isinstance(m, torch.jit.ScriptModule)
    ]
    try:
        with without_compilation():
            net.forward(tuple(net.array(x) for x in few))
    except Exception:  # noqa: S110  # it failed before, and fails again after its first layer
        pass
    finally:
        for handle in handles:
            handle.remove()
    return called


def _floats_of(module: torch.nn.Module, *, recurse: bool = False) -> list[torch.dtype]:
    """Types of a layer's own weights."""
    return [p.dtype for p in module.parameters(recurse=recurse) if p.is_floating_point()]
