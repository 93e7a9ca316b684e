"""What a module is before it is asked, and putting it back: flags of parameters, buffers and attributes that it writes in eval mode, torch's random numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from operator import is_
from typing import Any, Final, final

import torch

from whybox.adapters.torch.memory import storages
from whybox.errors import UnsupportedModelError

__all__ = ["State", "chance", "eagerly", "uncompiled"]

MAX_CONTAINER_SIZE: Final = 10_000  # containers of more are data, not memory
MODULE_ATTRIBUTES: Final = (frozenset(torch.nn.Module().__dict__) | {"_compiled_call_impl"}) - {
    "training",
    "_buffers",
    "_non_persistent_buffers_set",
}  # torch's own, hooks among them, and what `uncompiled` switches off meanwhile


@final
@dataclass
class State:
    """The state of one module while it is asked; sessions may lie within each other."""

    module: torch.nn.Module
    _tensors: list[tuple[torch.Tensor, int, torch.Tensor]] = field(default_factory=list)
    _attributes: list[tuple[dict[str, Any], dict[str, Any], int]] = field(default_factory=list)
    _containers: list[tuple[Any, Any]] = field(default_factory=list)
    _chance: tuple[torch.Tensor, list[torch.Tensor]] | None = None
    _open: bool = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Parameters take no part in derivatives; flags, buffers, attributes and torch's random numbers are as before afterwards.

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
            self._note()
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
                if self._chance is not None:
                    torch.set_rng_state(self._chance[0])
                    if self._chance[1]:
                        torch.cuda.set_rng_state_all(self._chance[1])
                self._tensors, self._attributes, self._containers = [], [], []
                self._chance, self._open = None, False

    def _note(self) -> None:
        """Take down how everything is. Tensors among the attributes count as buffers do, which are in an attribute themselves."""
        seen: set[int] = {id(p) for p in self.module.parameters()}
        self._chance = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        for m in self.module.modules():
            if isinstance(m, torch.jit.ScriptModule):  # its attributes are not Python's
                for b in m.buffers(recurse=False):
                    self._see(b, seen)
                continue
            own = {k: v for k, v in m.__dict__.items() if k not in MODULE_ATTRIBUTES}
            self._attributes.append((m.__dict__, own, len(m.__dict__)))
            for value in own.values():
                self._see(value, seen)

    def _see(self, value: Any, seen: set[int]) -> None:
        """Keep copies of tensors and of what containers hold, however deep."""
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if not isinstance(value, torch.nn.Parameter) and value.device.type != "meta":
                self._tensors.append((value, value._version, value.detach().clone()))  # noqa: SLF001  # torch has no public word for it
        elif isinstance(value, (dict, list, set)) and len(value) <= MAX_CONTAINER_SIZE:
            self._containers.append((value, value.copy()))
            for inner in list(value.values() if isinstance(value, dict) else value):
                self._see(inner, seen)
        elif isinstance(value, tuple) and len(value) <= MAX_CONTAINER_SIZE:
            for inner in value:
                self._see(inner, seen)

    def apart(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """Copies of what would change when the module is put back; all else as it is."""
        own = storages(t for t, _, _ in self._tensors)
        return {k: v.clone() if isinstance(v, torch.Tensor) and storages([v]) <= own else v for k, v in values.items()}

    def back(self) -> None:
        """Undo what the last forward wrote, so that every question meets the same network.

        What is kept elsewhere (in objects of other classes, in globals) is not seen.
        """
        for k, (t, version, kept) in enumerate(self._tensors):
            if t._version != version:  # noqa: SLF001
                with torch.no_grad():
                    t.set_(kept.clone()) if t.shape != kept.shape else t.copy_(kept)
                self._tensors[k] = (t, t._version, kept)  # noqa: SLF001
        for now, was, count in self._attributes:  # before every forward: no Python runs for each attribute
            if len(now) != count or not all(map(is_, map(now.get, was, repeat(now)), was.values())):
                for name in [name for name in now if name not in was and name not in MODULE_ATTRIBUTES]:
                    del now[name]
                now.update(was)
        for container, was in self._containers:
            if (container or was) and _changed(container, was):  # most are empty
                container.clear()
                container.extend(was) if isinstance(container, list) else container.update(was)


def _changed(now: Any, was: Any) -> bool:
    """Whether a container holds other things than its copy, or in another order."""
    if isinstance(now, set):
        return bool(now != was)
    return not (_same(now, was) and (not isinstance(now, dict) or _same(now.values(), was.values())))


def _same(now: Collection[Any], was: Collection[Any]) -> bool:
    return len(now) == len(was) and all(map(is_, now, was))


def chance(device: torch.device) -> torch.Tensor:
    """The state of the random numbers of a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def eagerly() -> Iterator[None]:
    """Compiled code runs as it was written: who listens to layers would hear nothing else."""
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def uncompiled(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The module with all its parts as they were before torch.compile."""
    swapped: list[tuple[dict[str, Any], str, Any]] = []

    def swap(of: dict[str, Any], name: str, to: Any) -> None:
        swapped.append((of, name, of[name]))
        of[name] = to

    for m in list(module.modules()):
        for name, part in list(m._modules.items()):  # noqa: SLF001
            if hasattr(part, "_orig_mod") and m is not part and name != "_orig_mod":
                swap(m._modules, name, part._orig_mod)  # noqa: SLF001
        if vars(m).get("_compiled_call_impl") is not None:
            swap(vars(m), "_compiled_call_impl", None)
    try:
        yield getattr(module, "_orig_mod", module)
    finally:
        for of, name, was in reversed(swapped):
            of[name] = was
