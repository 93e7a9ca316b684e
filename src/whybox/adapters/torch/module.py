"""A torch module as a network: forward, vector-Jacobian product, taps at layers. It is left as it was found."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.adapters.parts import Part, parameters_of
from whybox.errors import DtypeError, OptionError, UnsupportedModelError, did_you_mean
from whybox.models.differentiable import Array, Differentiable, Indices, Pull, Ruled, Tapped

__all__ = ["TorchNetwork", "wrap"]

ON_DEVICE: Final = 256  # rows that keep an accelerator busy
ON_CPU: Final = 32  # more do not get faster, only larger


def wrap(obj: Any, output: Any = None) -> TorchNetwork:
    """Wrap a module.

    Args:
        obj: a torch.nn.Module.
        output: which of several outputs: a key, a position, or an attribute of what the module returns.

    Raises:
        UnsupportedModelError: a scripted module in train mode, or something else than a module.
    """
    if not isinstance(obj, torch.nn.Module):
        raise UnsupportedModelError(f"{type(obj).__name__} is no torch.nn.Module.")
    first = next((p for p in (*obj.parameters(), *obj.buffers()) if p.is_floating_point()), None)
    device = torch.device("cpu") if first is None else first.device
    dtype = torch.float32 if first is None else first.dtype
    return TorchNetwork(
        kind=f"{type(obj).__name__} (torch module, {sum(p.numel() for p in obj.parameters()):,} parameters)",
        library="torch",
        module=obj,
        device=device,
        dtype=dtype,
        head=Part(output, torch.Tensor),
        rows_at_once=ON_CPU if device.type == "cpu" else ON_DEVICE,
        arithmetic=str(dtype).removeprefix("torch."),
    )


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class TorchNetwork(Differentiable):
    """See Differentiable. ``inner``: (layer, place) of a tensor that stands in for what the layer puts out."""

    module: torch.nn.Module
    device: torch.device
    dtype: torch.dtype
    head: Callable[[Any], torch.Tensor]
    autocast: torch.dtype | None = None
    layer: str | None = None  # of `inside`: what this layer puts out is the first input
    keywords: tuple[str, ...] = ()  # names that the inputs go in under
    hidden: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the class and of all parameters and buffers."""
        h = hashlib.sha256(repr(self.module).encode())
        for name, tensor in (*self.module.named_parameters(), *self.module.named_buffers()):
            h.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            h.update(tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy().data)
        return h.hexdigest()

    # numbers there and back

    def is_own(self, x: Any) -> bool:
        """Whether this is a tensor."""
        return isinstance(x, torch.Tensor)

    def array(self, x: npt.NDArray[Any]) -> Array:
        """Bring numbers to the module's device; floats in its own type, whole numbers as int64."""
        if x.dtype.kind in "iub":
            return torch.as_tensor(x.astype(np.int64) if x.dtype != bool else x, device=self.device)
        if x.dtype.kind != "f":
            raise DtypeError(f"inputs of type {x.dtype} are no numbers.")
        kept = (
            x
            if x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative
            else np.array(x, dtype=x.dtype.newbyteorder("="))
        )
        return torch.as_tensor(kept, device=self.device).to(self.dtype)

    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Bring a tensor back."""
        a = a.detach()
        return np.asarray((a.to(torch.float64) if a.is_floating_point() else a).cpu().numpy())

    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of a tensor; neighbours are not copied."""
        first = int(rows[0]) if len(rows) else 0
        if (
            len(rows)
            and rows[-1] - first == len(rows) - 1
            and np.array_equal(rows, np.arange(first, first + len(rows)))
        ):
            return a[first : first + len(rows)]
        return a.index_select(0, torch.as_tensor(rows, device=a.device))

    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """Sum into rows."""
        return total.index_add_(0, torch.as_tensor(rows, device=total.device), more.to(total.dtype))

    # running

    @contextmanager
    def session(self) -> Iterator[None]:
        """See Differentiable: parameters take no part in derivatives, and get their flags back afterwards."""
        training = [name or type(self.module).__name__ for name, m in self.module.named_modules() if m.training]
        if training:
            raise UnsupportedModelError(
                f"the network is in train mode ({training[0]!r}{f' and {len(training) - 1} more' if len(training) > 1 else ''}), where dropout and batch statistics "
                "change its answers; call net.eval() first."
            )
        flags = [(p, p.requires_grad) for p in self.module.parameters()]
        try:
            with torch.inference_mode(mode=False):
                for p, _ in flags:
                    p.requires_grad_(False)
                yield
        finally:
            for p, flag in flags:
                p.requires_grad_(flag)

    def said(self, *x: torch.Tensor) -> torch.Tensor:
        """What the module answers, head and all; no pass is counted and nothing is checked. It gets copies, as its first layer may work in place."""
        x = tuple(a.clone() for a in x)
        with torch.autocast(self.device.type, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return self.head(self._call(x) if self.layer is None else self._from_layer(x))

    def _run(self, x: tuple[Any, ...]) -> torch.Tensor:
        self.passes.forward += len(x[0])
        said = self.said(*x)
        if not len(said.shape) or said.shape[0] != len(x[0]):
            raise UnsupportedModelError(
                f"the network answers {len(x[0])} rows with a tensor of shape {tuple(said.shape)}; its first axis must be the rows. "
                "Where it is not, wrap the network in a module that moves it there."
            )
        return said.float() if self.autocast is not None else said

    def _from_layer(self, x: tuple[Any, ...]) -> Any:
        """Run with the first input in the place of what the layer puts out."""
        met: list[int] = []

        def instead(_module: Any, _given: Any, said: Any) -> Any:
            met.append(1)
            if not isinstance(said, torch.Tensor) or said.shape != x[0].shape or len(met) > 1:
                raise UnsupportedModelError(
                    f"layer {self.layer!r} answers more than once, or not with one tensor a row."
                )
            return x[0]

        handle = self._layer(str(self.layer)).register_forward_hook(instead)
        try:
            return self._call(x[1:])
        finally:
            handle.remove()

    def _call(self, x: tuple[Any, ...]) -> Any:
        return self.module(**dict(zip(self.keywords, x, strict=True))) if self.keywords else self.module(*x)

    def ask(self, x: tuple[Array, ...]) -> Array:
        """Outputs alone."""
        with torch.no_grad():
            return self._run(x)

    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pull]:
        """Outputs and pull."""
        with torch.enable_grad():
            leaves = tuple(a.detach().requires_grad_(a.is_floating_point()) for a in x)
            outputs = self._run(leaves)
        wanted = [a for a in leaves if a.is_floating_point()]

        def pull(cotangent: Array, *, last: bool = False) -> tuple[Array | None, ...]:
            self.passes.backward += len(x[0])
            if not outputs.requires_grad:
                return tuple(torch.zeros_like(a) if a.is_floating_point() else None for a in leaves)
            found = iter(torch.autograd.grad(outputs, wanted, cotangent, retain_graph=not last, allow_unused=True))
            return tuple(_or_zero(next(found), a) if a.is_floating_point() else None for a in leaves)

        return outputs.detach(), pull

    def probe(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes of different tensors that autograd keeps, parameters left out."""
        own = {p.untyped_storage().data_ptr() for p in (*self.module.parameters(), *self.module.buffers())}
        sizes: dict[int, int] = {}

        def pack(t: torch.Tensor) -> torch.Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            outputs, _ = self(x)
        return outputs, sum(sizes.values())

    def named(self, names: tuple[str, ...]) -> TorchNetwork:
        """Inputs go in under names."""
        return replace(self, keywords=names)

    def takes(self) -> tuple[str, ...]:
        """Names of what forward takes."""
        return parameters_of(self.module.forward)

    def alive(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the most bytes of tensors that lived at a time, parameters left out; see whybox.adapters.torch.alive."""
        from whybox.adapters.torch.alive import Alive

        own = {p.untyped_storage().data_ptr() for p in (*self.module.parameters(), *self.module.buffers())}
        if any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) for m in self.module.modules()):
            return self.probe(x)  # what compiled code allocates is not seen
        with Alive(own) as met:
            outputs = self.ask(x)
        return self.probe(x) if met.blind else (outputs, met.most)

    def with_head(self, head: Callable[[Any], Array]) -> TorchNetwork:
        """Followed by a function of its outputs, differentiated with it."""
        before = self.head
        return replace(self, head=lambda said: head(before(said)))

    def lowered(self, dtype: str) -> TorchNetwork:
        """Under autocast in bfloat16."""
        if dtype not in ("bfloat16", "float32"):
            raise OptionError(
                f"dtype={dtype!r} is not known: float32, or bfloat16, which is compared with float32 on a few rows."
            )
        return replace(
            self,
            autocast=torch.bfloat16 if dtype == "bfloat16" else None,
            arithmetic="bfloat16 (autocast)" if dtype == "bfloat16" else self.arithmetic,
        )

    # layers

    def _layer(self, name: str) -> torch.nn.Module:
        found = dict(self.module.named_modules()).get(name)
        if found is None:
            raise OptionError(
                f"there is no layer {name!r}.{did_you_mean(name, [n for n, _ in self.module.named_modules() if n])}"
            )
        return found

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Layers without parts of their own, in the order they answer."""
        return self._met(x, [name for name, m in self.module.named_modules() if name and not list(m.children())])

    def blocks(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """All named parts of the module that answer with one tensor, in the order they answer."""
        return self._met(x, [name for name, _ in self.module.named_modules() if name])

    def _met(self, x: tuple[Array, ...], names: list[str]) -> list[tuple[str, tuple[int, ...]]]:
        met: list[tuple[str, tuple[int, ...]]] = []

        def note(name: str) -> Callable[..., None]:
            return lambda _module, _given, said: (
                met.append((name, tuple(said.shape))) if isinstance(said, torch.Tensor) else None
            )

        handles = [self._layer(name).register_forward_hook(note(name)) for name in names]
        try:
            self.ask(x)
        finally:
            for handle in handles:
                handle.remove()
        return met

    def tap(self, x: tuple[Array, ...], layer: str) -> Tapped:
        """Nothing before the layer is kept for derivatives: they begin at what it puts out."""
        kept: list[torch.Tensor] = []

        def keep(_module: Any, _given: Any, said: Any) -> Any:
            if not isinstance(said, torch.Tensor) or kept:
                raise UnsupportedModelError(
                    f"layer {layer!r} answers more than once, or not with one tensor; name another."
                )
            kept.append(said.detach().requires_grad_())
            return kept[0]

        handle = self._layer(layer).register_forward_hook(keep)
        try:
            with torch.enable_grad():
                outputs = self._run(tuple(a.detach() for a in x))
        finally:
            handle.remove()
        if not kept:
            raise UnsupportedModelError(f"layer {layer!r} takes no part in the answer; name another.")

        def pull(cotangent: Array, *, last: bool = False) -> Array:
            self.passes.backward += len(x[0])
            if not outputs.requires_grad:
                return torch.zeros_like(kept[0])
            return _or_zero(
                torch.autograd.grad(outputs, kept, cotangent, retain_graph=not last, allow_unused=True)[0], kept[0]
            )

        return Tapped(outputs.detach(), kept[0].detach(), pull)

    def inside(self, layer: str, x: tuple[Array, ...]) -> tuple[TorchNetwork, Array]:
        """From a layer on."""
        kept: list[Any] = []
        handle = self._layer(layer).register_forward_hook(lambda _m, _g, said: kept.append(said))
        try:
            self.ask(x)
        finally:
            handle.remove()
        if len(kept) != 1 or not isinstance(kept[0], torch.Tensor) or not kept[0].is_floating_point():
            raise UnsupportedModelError(
                f"layer {layer!r} does not answer once with one tensor of numbers; name another."
            )
        return replace(self, layer=layer), kept[0].detach()

    def ruled(self, rules: str, x: tuple[Array, ...], reference: tuple[Array, ...] | None) -> Ruled:
        """Operator rules; see whybox.adapters.torch.rules."""
        from whybox.adapters.torch.rules import ruled

        return ruled(self, rules, x, reference)

    def randomised(self, seed: int, layer: str | None = None) -> TorchNetwork:
        """A copy with parameters drawn anew by each layer's own initialisation, else as normal numbers of the same spread (those with one axis are shuffled)."""
        module = copy.deepcopy(self.module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, part in module.named_modules():
                own = list(part.parameters(recurse=False))
                if not own or (layer is not None and name != layer and not name.startswith(f"{layer}.")):
                    continue
                if callable(getattr(part, "reset_parameters", None)):
                    part.reset_parameters()
                else:
                    for p in own:
                        if (
                            p.ndim < 2
                        ):  # of scales and biases only the order is drawn: a scale of zero would switch the layer off
                            p.data.copy_(p.data[torch.randperm(len(p.data))] if p.ndim else p.data)
                        else:
                            p.data.normal_(0.0, float(p.data.std()) if p.numel() > 1 else 1.0)
        return replace(self, module=module, passes=type(self.passes)())


def _or_zero(found: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """An input that the output does not depend on has no gradient; that is zero."""
    return torch.zeros_like(like) if found is None else found
