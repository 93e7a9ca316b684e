"""How many bytes of tensors live at a time while a module answers, seen operator by operator."""

from __future__ import annotations

import weakref
from typing import Any, Final, final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FUSED: Final = ("_transformer_encoder_layer_fwd", "_native_multi_head_attention")  # whole layers in one operator

__all__ = ["Alive"]


@final
class Alive(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """Counts storages from the operator that makes them until their last tensor goes.

    What a kernel takes for itself is not seen; `blind` says that there was an operator that takes much.
    """

    def __init__(self, own: set[int]) -> None:
        """`own`: addresses that are not counted, of parameters."""
        super().__init__()
        self.most = 0
        self.blind = False
        self._own = own
        self._now = 0
        self._tensors: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count what it puts out."""
        said = func(*args, **(kwargs or {}))
        self.blind |= any(name in str(func) for name in _FUSED)
        for t in said if isinstance(said, (tuple, list)) else (said,):
            if isinstance(t, torch.Tensor):
                self._born(t)
        return said

    def _born(self, t: torch.Tensor) -> None:
        storage = t.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address in self._own or not address:
            return
        if not self._tensors.get(address):
            self._now += size
            self.most = max(self.most, self._now)
        self._tensors[address] = self._tensors.get(address, 0) + 1
        weakref.finalize(t, self._gone, address, size)

    def _gone(self, address: int, size: int) -> None:
        self._tensors[address] -= 1
        if not self._tensors[address]:
            self._now -= size
