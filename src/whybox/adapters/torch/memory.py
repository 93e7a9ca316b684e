"""How many bytes of tensors live at a time while a module answers, seen operator by operator; and how many are kept for derivatives."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final, final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_FUSED: Final = ("_transformer_encoder_layer_fwd", "_native_multi_head_attention")  # whole layers in one operator

__all__ = ["Alive", "saved", "storages"]


def storages(tensors: Iterable[torch.Tensor]) -> set[int]:
    """Which storages hold these tensors. By torch's own number of a storage: an address is not had of every kind of tensor."""
    return {t.untyped_storage()._cdata for t in tensors}  # noqa: SLF001  # torch has no public word for it


@contextmanager
def saved(own: Iterable[torch.Tensor]) -> Iterator[dict[int, int]]:
    """Bytes of each storage that is kept for derivatives meanwhile, those of `own` (parameters) left out."""
    known, sizes = storages(own), dict[int, int]()

    def pack(t: torch.Tensor) -> torch.Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in known:  # noqa: SLF001
            sizes[storage._cdata] = storage.nbytes()  # noqa: SLF001
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        yield sizes


@final
class Alive(TorchDispatchMode):  # type: ignore[misc]  # torch has no types here
    """Counts storages from the operator that makes them until their last tensor goes.

    What a kernel takes for itself is not seen; `blind` says that there was an operator that takes much.
    """

    def __init__(self, own: set[int]) -> None:
        """`own`: storages that are not counted, of parameters."""
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
        which, size = storage._cdata, storage.nbytes()  # noqa: SLF001
        if which in self._own or not size:
            return
        if not self._tensors.get(which):
            self._now += size
            self.most = max(self.most, self._now)
        self._tensors[which] = self._tensors.get(which, 0) + 1
        weakref.finalize(t, self._gone, which, size)

    def _gone(self, which: int, size: int) -> None:
        self._tensors[which] -= 1
        if not self._tensors[which]:
            self._now -= size
