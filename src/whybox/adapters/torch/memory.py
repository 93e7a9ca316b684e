"""Bytes of tensors in use while a module runs, counted operator by operator; and bytes that are kept for derivatives."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FUSED_OPERATORS: Final = (
    "_transformer_encoder_layer_fwd",
    "_native_multi_head_attention",
)  # whole layers in one operator

__all__ = ["LiveBytes", "saved_bytes", "storage_pointers"]


def storage_pointers(tensors: Iterable[torch.Tensor]) -> set[int]:
    """Storages of these tensors, by torch's own number of a storage: not every kind of tensor has an address."""
    return {t.untyped_storage()._cdata for t in tensors}  # noqa: SLF001  # torch has no public word for it


@contextmanager
def saved_bytes(own: Iterable[torch.Tensor]) -> Iterator[dict[int, int]]:
    """Within it: bytes of each storage that is kept for derivatives, those of `own` (parameters) left out."""
    known, sizes = storage_pointers(own), dict[int, int]()

    def pack(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in known:  # noqa: SLF001
            sizes[storage._cdata] = storage.nbytes()  # noqa: SLF001
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield sizes


@final
class LiveBytes(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """Counts storages from the operator that makes them until their last tensor is freed.

    Memory inside kernels is not seen; `incomplete` is True if there was an operator that uses much of it. `peak`: most bytes in use at a time.
    """

    def __init__(self, own: set[int]) -> None:
        """`own`: storages that are not counted, of parameters."""
        super().__init__()
        self.peak = 0
        self.incomplete = False
        self._own = own
        self._now = 0
        self._tensors: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count its outputs."""
        output = func(*args, **(kwargs or {}))
        self.incomplete |= any(name in str(func) for name in _FUSED_OPERATORS)
        for t in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(t, torch.Tensor):
                self._born(t)
        return output

    def _born(self, t: torch.Tensor) -> None:
        storage = t.untyped_storage()
        which, size = storage._cdata, storage.nbytes()  # noqa: SLF001
        if which in self._own or not size:
            return
        if not self._tensors.get(which):
            self._now += size
            self.peak = max(self.peak, self._now)
        self._tensors[which] = self._tensors.get(which, 0) + 1
        weakref.finalize(t, self._gone, which, size)

    def _gone(self, which: int, size: int) -> None:
        self._tensors[which] -= 1
        if not self._tensors[which]:
            self._now -= size
