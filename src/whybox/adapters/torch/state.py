"""The state of a module before it runs, and restoring it: flags of parameters, buffers and attributes that it writes in eval mode, torch's random numbers."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from operator import is_
from typing import Any, Final, final

import torch

from whybox.adapters.torch.memory import storage_pointers
from whybox.errors import UnsupportedModelError

__all__ = ["State", "as_uncompiled", "rng_state", "without_compilation"]

MAX_CONTAINER_SIZE: Final = 10_000  # larger containers are data, not state
MODULE_ATTRIBUTES: Final = (frozenset(torch.nn.Module().__dict__) | {"_compiled_call_impl"}) - {
    "training",
    "_buffers",
    "_non_persistent_buffers_set",
}  # torch's own, hooks among them, and what `uncompiled` switches off


@final
@dataclass
class State:
    """The state of one module during a session; sessions may be nested.

    Attributes:
        traced: the graph that was traced last in this session, and what for; see whybox.adapters.torch.capture_on_device.
    """

    module: torch.nn.Module
    traced: tuple[Any, Any] | None = None
    _tensors: list[tuple[torch.Tensor, int, torch.Tensor]] = field(default_factory=list)
    _attributes: list[tuple[dict[str, Any], dict[str, Any], int]] = field(default_factory=list)
    _containers: list[tuple[Any, Any]] = field(default_factory=list)
    _rng_state: tuple[torch.Tensor, list[torch.Tensor]] | None = None
    _open: bool = False

    @property
    def is_open(self) -> bool:
        """True during a session."""
        return self._open

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Within it parameters are not differentiated; afterwards flags, buffers, attributes and torch's random numbers are as before.

        Raises:
            UnsupportedModelError: parameters or buffers were made in inference mode, which allows no derivatives.
        """
        module = self.module
        if any(t.is_inference() for t in (*module.parameters(), *module.buffers())):
            raise UnsupportedModelError(
                "parameters of the network were made under torch.inference_mode(), which allows no derivatives; build or load the network outside of it, or clone them."
            )
        flags = [(p, p.requires_grad) for p in module.parameters()]
        outermost = not self._open
        if outermost:
            self._open = True
            self._record()
        try:
            with torch.inference_mode(mode=False):
                for p, _ in flags:
                    p.requires_grad_(False)
                yield
        finally:
            for p, flag in flags:
                p.requires_grad_(flag)
            if outermost:
                self.restore()
                if self._rng_state is not None:
                    torch.set_rng_state(self._rng_state[0])
                    if self._rng_state[1]:
                        torch.cuda.set_rng_state_all(self._rng_state[1])
                self._tensors, self._attributes, self._containers = [], [], []
                self.traced = None
                self._rng_state, self._open = None, False

    def _record(self) -> None:
        """Record the state. Tensors among the attributes are treated as buffers, which are in an attribute themselves."""
        seen: set[int] = {id(p) for p in self.module.parameters()}
        self._rng_state = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        for m in self.module.modules():
            if isinstance(m, torch.jit.ScriptModule):  # its attributes are not Python's
                for b in m.buffers(recurse=False):
                    self._keep_copy(b, seen)
                continue
            own = {k: v for k, v in m.__dict__.items() if k not in MODULE_ATTRIBUTES}
            self._attributes.append((m.__dict__, own, len(m.__dict__)))
            for value in own.values():
                self._keep_copy(value, seen)

    def _keep_copy(self, value: Any, seen: set[int]) -> None:
        """Keep copies of tensors and of the contents of containers, at any depth."""
        if id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, torch.Tensor):
            if not isinstance(value, torch.nn.Parameter) and value.device.type != "meta":
                self._tensors.append((value, value._version, value.detach().clone()))  # noqa: SLF001  # torch has no public word for it
        elif isinstance(value, (dict, list, set)) and len(value) <= MAX_CONTAINER_SIZE:
            self._containers.append((value, value.copy()))
            for inner in list(value.values() if isinstance(value, dict) else value):
                self._keep_copy(inner, seen)
        elif isinstance(value, tuple) and len(value) <= MAX_CONTAINER_SIZE:
            for inner in value:
                self._keep_copy(inner, seen)

    def unshared(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        """The values, with copies of those tensors that change when the module is restored."""
        own = storage_pointers(t for t, _, _ in self._tensors)
        return {
            k: v.clone() if isinstance(v, torch.Tensor) and storage_pointers([v]) <= own else v
            for k, v in values.items()
        }

    def restore(self) -> None:
        """Undo what the last forward wrote, so that every evaluation meets the same network.

        State that is kept elsewhere (in objects of other classes, in globals) is not seen.
        """
        for k, (t, version, kept) in enumerate(self._tensors):
            if t._version != version:  # noqa: SLF001
                with torch.no_grad():
                    t.set_(kept.clone()) if t.shape != kept.shape else t.copy_(kept)
                self._tensors[k] = (t, t._version, kept)  # noqa: SLF001
        for current, original, count in self._attributes:  # runs before every forward: no Python loop over attributes
            if len(current) != count or not all(
                map(is_, map(current.get, original, repeat(current)), original.values())
            ):
                for name in [name for name in current if name not in original and name not in MODULE_ATTRIBUTES]:
                    del current[name]
                current.update(original)
        for container, original in self._containers:
            if (container or original) and _has_changed(container, original):  # most are empty
                container.clear()
                container.extend(original) if isinstance(container, list) else container.update(original)


def _has_changed(current: Any, original: Any) -> bool:
    """True if a container holds other things than its copy, or in another order."""
    if isinstance(current, set):
        return bool(current != original)
    return not (
        _same_objects(current, original)
        and (not isinstance(current, dict) or _same_objects(current.values(), original.values()))
    )


def _same_objects(current: Collection[Any], original: Collection[Any]) -> bool:
    return len(current) == len(original) and all(map(is_, current, original))


def rng_state(device: torch.device) -> torch.Tensor:
    """The state of a device's random number generator."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


@contextmanager
def without_compilation() -> Iterator[None]:
    """Within it compiled code runs as it was written, so that hooks of layers are called.

    Whoever compiles loads ``torch._dynamo``, and loading it takes over a second: where it is not loaded, nothing is compiled.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def as_uncompiled(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Within it: the module with all its parts as they were before torch.compile."""
    swapped: list[tuple[dict[str, Any], str, Any]] = []

    def swap(container: dict[str, Any], name: str, to: Any) -> None:
        swapped.append((container, name, container[name]))
        container[name] = to

    for m in list(module.modules()):
        for name, part in list(m._modules.items()):  # noqa: SLF001
            if hasattr(part, "_orig_mod") and m is not part and name != "_orig_mod":
                swap(m._modules, name, part._orig_mod)  # noqa: SLF001
        if vars(m).get("_compiled_call_impl") is not None:
            swap(vars(m), "_compiled_call_impl", None)
    try:
        yield getattr(module, "_orig_mod", module)
    finally:
        for container, name, original in reversed(swapped):
            container[name] = original
