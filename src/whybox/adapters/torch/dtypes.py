"""What a module computes in, and in which type its inputs go in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from whybox.adapters.torch.state import eagerly

if TYPE_CHECKING:
    import numpy.typing as npt

    from whybox.adapters.torch.module import TorchNetwork

__all__ = ["arithmetic", "called_types", "quantised_by_range"]


def quantised_by_range(module: torch.nn.Module) -> bool:
    """Whether layers quantise what comes in by the range of the whole batch: then a row's answer is what it is alone."""
    return any(".quantized.dynamic." in f"{type(m).__module__}." for m in module.modules())


def arithmetic(module: torch.nn.Module, dtype: torch.dtype) -> str:
    """What it computes in: of its first parameter, and where only some are of 16 bits, that."""
    met = {p.dtype for p in (*module.parameters(), *module.buffers()) if p.is_floating_point()}
    shorter = sorted(str(d).removeprefix("torch.") for d in met if d.itemsize == 2)
    wider = sorted(str(d).removeprefix("torch.") for d in met if d.itemsize > 2)
    return f"{shorter[0]} mixed with {wider[0]}" if shorter and wider else str(dtype).removeprefix("torch.")


def called_types(net: TorchNetwork, few: tuple[npt.NDArray[Any], ...]) -> list[torch.dtype]:
    """Types of weights in the order in which their layers are called, as far as one fails; [] where all weights are of one type."""
    if len(set(_floats_of(net.module, recurse=True))) < 2:
        return []
    called: list[torch.dtype] = []
    handles = [
        m.register_forward_pre_hook(lambda m, _: called.extend(_floats_of(m)))
        for m in net.module.modules()
        if not isinstance(m, torch.jit.ScriptModule)
    ]
    try:
        with eagerly():
            net.forward(tuple(net.array(x) for x in few))
    except Exception:  # noqa: S110  # it failed before, and fails behind its first layer
        pass
    finally:
        for handle in handles:
            handle.remove()
    return called


def _floats_of(module: torch.nn.Module, *, recurse: bool = False) -> list[torch.dtype]:
    """Types of a layer's own weights."""
    return [p.dtype for p in module.parameters(recurse=recurse) if p.is_floating_point()]
