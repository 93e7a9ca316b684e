"""What a module is before it is asked, and putting it back: flags of its parameters, and buffers that it writes in eval mode (counters, caches)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import final

import torch

from whybox.errors import UnsupportedModelError

__all__ = ["State"]


@final
@dataclass
class State:
    """The state of one module while it is asked; sessions may lie within each other."""

    module: torch.nn.Module
    _buffers: list[tuple[torch.nn.Module, str, torch.Tensor, int, torch.Tensor]] = field(default_factory=list)
    _open: bool = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Parameters take no part in derivatives; flags and buffers are as before afterwards.

        Raises:
            UnsupportedModelError: parameters or buffers were made in inference mode, which no derivative may touch.
        """
        module = self.module
        if any(t.is_inference() for t in (*module.parameters(), *module.buffers())):
            raise UnsupportedModelError(
                "parameters of the network were made under torch.inference_mode(), and no derivative may pass them; build or load it outside, or clone them."
            )
        flags = [(p, p.requires_grad) for p in module.parameters()]
        outermost = not self._open
        if outermost:
            self._open = True
            self._buffers = [
                (m, name, b, b._version, b.detach().clone())  # noqa: SLF001  # torch has no public word for it
                for m in module.modules()
                for name, b in m.named_buffers(recurse=False)
            ]
        try:
            with torch.inference_mode(mode=False):
                for p, _ in flags:
                    p.requires_grad_(False)
                yield
        finally:
            for p, flag in flags:
                p.requires_grad_(flag)
            if outermost:
                self.back()
                self._buffers, self._open = [], False

    def back(self) -> None:
        """Undo what the last forward wrote into buffers, so that every question meets the same network.

        A buffer that got another shape is a cache that grew; it stays, since the module remembers elsewhere how long it is.
        """
        for k, (owner, name, was, version, kept) in enumerate(self._buffers):
            now = getattr(owner, name, None)
            if now is not was and isinstance(now, torch.Tensor) and (now.shape, now.dtype) == (kept.shape, kept.dtype):
                setattr(owner, name, was)
            if was._version != version:  # noqa: SLF001
                with torch.no_grad():
                    was.copy_(kept)
                self._buffers[k] = (owner, name, was, was._version, kept)  # noqa: SLF001
