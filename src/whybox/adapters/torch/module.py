"""A torch module as a network: forward, vector-Jacobian product, taps at layers. It is left as it was found."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.adapters.network_outputs import Part, first_line, parameters_of
from whybox.adapters.torch.dtypes import arithmetic, called_types, quantised_by_range
from whybox.adapters.torch.gradient_check import NO_KERNEL, DetachDetector, back, reached, refuse_without_kernel
from whybox.adapters.torch.memory import Alive, saved, storages
from whybox.adapters.torch.sequences import given_to
from whybox.adapters.torch.state import State, chance, eagerly
from whybox.adapters.torch.training_mode import exported_in_eval
from whybox.errors import Argument, DtypeError, OptionError, UnsupportedModelError, WhyboxError, did_you_mean
from whybox.models.differentiable import Array, Differentiable, Indices, LayerTap, Pull, RuleBackward, consecutive_slice

__all__ = ["TorchNetwork", "wrap"]

DEVICE_ROWS: Final = 256  # rows that keep an accelerator busy
CPU_ROWS: Final = 32  # more do not get faster, only larger
PARAMETRIZED_SUFFIXES: Final = "parametrizations"  # where torch keeps what weights are made from


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
    if any(torch.nn.parameter.is_lazy(p) for p in (*obj.parameters(), *obj.buffers())):
        raise UnsupportedModelError("the network has lazy layers that have not seen any rows; call it once on some.")
    first = next((p for p in (*obj.parameters(), *obj.buffers()) if p.is_floating_point()), None)
    device = torch.device("cpu") if first is None else first.device
    dtype = torch.float32 if first is None else first.dtype
    return TorchNetwork(
        kind=f"{type(obj).__name__} (torch module, {sum(p.numel() for p in obj.parameters()):,} parameters)",
        library="torch",
        module=obj,
        state=State(obj),
        device=device,
        dtype=dtype,
        head=Part(output, torch.Tensor),
        rows_at_once=1 if quantised_by_range(obj) else CPU_ROWS if device.type == "cpu" else DEVICE_ROWS,
        arithmetic=arithmetic(obj, dtype),
    )


@final
@dataclass
class _Pace:
    """What one question learns about the network: whether pictures go in with their channels innermost in memory (on a processor convolutions are then up to twice as fast)."""

    inner: bool = False
    answered: int = 0  # how many rows it answered first


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class TorchNetwork(Differentiable):
    """See Differentiable. ``inner``: (layer, place) of a tensor that stands in for what the layer puts out."""

    module: torch.nn.Module
    state: State = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    head: Callable[[Any], torch.Tensor]
    autocast: torch.dtype | None = None
    layer: str | None = None  # of `inside`: what this layer puts out is the first input
    pace: _Pace = field(default_factory=_Pace, repr=False)
    keywords: tuple[str, ...] = ()  # names that the inputs go in under
    called: tuple[str, ...] = ()  # names of the inputs, where forward does not say them
    bytes_as_given: bool = False  # whether whole numbers keep their type

    def fresh_copy(self) -> TorchNetwork:
        """See Differentiable."""
        return replace(super().fresh_copy(), pace=_Pace())

    @property
    def may_break_device(self) -> bool:
        """See Differentiable."""
        return bool(self.device.type != "cpu")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the class and of all parameters and buffers."""
        self.state.back()
        h = hashlib.sha256(repr(self.module).encode())
        for name, tensor in (*self.module.named_parameters(), *self.module.named_buffers()):
            h.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            h.update(tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy().data)
        return h.hexdigest()

    # numbers there and back

    def is_own_array(self, x: Any) -> bool:
        """Whether this is a tensor."""
        return isinstance(x, torch.Tensor)

    def array(self, x: npt.NDArray[Any]) -> Array:
        """Bring numbers to the module's device; floats in its own type, whole numbers as int64 (as they are where it takes no others)."""
        if x.dtype.kind in "iub":
            as_given = x.dtype == bool or self.bytes_as_given
            return torch.as_tensor(np.array(x) if as_given else x.astype(np.int64), device=self.device)
        if x.dtype.kind != "f":
            raise DtypeError(f"inputs of type {x.dtype} are no numbers.")
        kept = (
            x
            if x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative and min(x.strides, default=0) >= 0
            else np.array(x, dtype=x.dtype.newbyteorder("="))
        )
        return torch.as_tensor(kept, device=self.device).to(self.dtype)

    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Bring a tensor back."""
        a = a.detach().resolve_conj().resolve_neg()
        return np.asarray((a.to(torch.float64) if a.is_floating_point() else a).cpu().numpy())

    def with_input_dtypes(self, given: Sequence[str], few: tuple[npt.NDArray[Any], ...]) -> Iterator[TorchNetwork]:
        """See Differentiable: then the type of the first layer that is called, and single precision; last whole numbers in the type they came in."""
        longer = [
            d for d in (getattr(torch, name) for name in given) if torch.finfo(d).eps < torch.finfo(self.dtype).eps
        ]
        order = [*sorted(longer, key=lambda d: float(torch.finfo(d).eps))[:1], self.dtype]
        for dtype in order:
            yield replace(self, dtype=dtype)
        for dtype in dict.fromkeys((*called_types(self, few), torch.float32)):
            if dtype not in order:
                yield replace(self, dtype=dtype)
        if any(x.dtype.kind in "iu" and x.dtype != np.int64 for x in few):
            yield replace(self, bytes_as_given=True)

    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of a tensor; neighbours are not copied."""
        if (beside := consecutive_slice(rows)) is not None:
            return a[beside]
        return a.index_select(0, torch.as_tensor(rows, device=a.device))

    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """Sum into rows."""
        return total.index_add_(0, torch.as_tensor(rows, device=total.device), more.to(total.dtype))

    # running

    @contextmanager
    def session(self) -> Iterator[None]:
        """See Differentiable, and whybox.adapters.torch.state for what is put back afterwards."""
        training = [
            name or type(self.module).__name__
            for name, m in self.module.named_modules()
            if getattr(m, "training", False)
        ]
        if training and not exported_in_eval(self.module):
            raise UnsupportedModelError(
                f"the network is in train mode ({training[0]!r}{f' and {len(training) - 1} more' if len(training) > 1 else ''}), where dropout and batch statistics "
                "change its answers; call net.eval() first."
            )
        with self.state.held():
            yield

    def said(self, *x: torch.Tensor) -> torch.Tensor:
        """What the module answers, head and all; no pass is counted and nothing is checked. It gets copies, as its first layer may work in place."""
        x = tuple(a.clone() for a in x)
        with torch.autocast(self.device.type, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return self.head(self._call(x) if self.layer is None else self._from_layer(x))

    def _run(self, x: tuple[Any, ...]) -> torch.Tensor:
        self.passes.forward += len(x[0])
        self.state.back()
        try:
            said = self.said(*x)
        except Exception as error:
            if self.pace.answered in (0, len(x[0])) or isinstance(error, (WhyboxError, torch.OutOfMemoryError)):
                raise
            raise UnsupportedModelError(
                f"the network answered {self.pace.answered} rows, and fails with {len(x[0])} ({type(error).__name__}: {first_line(error)}): it must take any number of rows. "
                "Wrap it in a module that asks it as many at a time as it takes."
            ) from error
        self.pace.answered = self.pace.answered or len(x[0])
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

        handle = self._layer(str(self.layer)).register_forward_hook(
            instead, prepend=True
        )  # before whoever listens there
        try:
            with eagerly():
                return self._call(x[1:])
        finally:
            handle.remove()

    def _call(self, x: tuple[Any, ...]) -> Any:
        return self.module(**dict(zip(self.keywords, x, strict=True))) if self.keywords else self.module(*x)

    def forward(self, x: tuple[Array, ...]) -> Array:
        """Outputs alone."""
        with torch.no_grad():
            return self._run(self._placed(x))

    def _placed(self, x: tuple[Array, ...]) -> tuple[Array, ...]:
        """Lay pictures out in memory as is fastest here."""
        if not self.pace.inner:
            return x
        return tuple(
            a.contiguous(memory_format=torch.channels_last) if a.ndim == 4 and a.is_floating_point() else a for a in x
        )

    def _try_inner(self, x: tuple[Array, ...], plain: torch.Tensor) -> None:
        """Take channels innermost if the network has convolutions, runs with that, and answers the same."""
        if (
            self.device.type != "cpu"
            or self.layer is not None
            or not any(isinstance(m, torch.nn.Conv2d) for m in self.module.modules())
        ):
            return
        self.pace.inner = True
        try:
            said = self.forward(x)
            same = bool(torch.allclose(said, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max())))
        except (RuntimeError, UnsupportedModelError):  # a view that asks for rows in one piece
            same = False
        self.pace.inner = same

    def _taped(self, x: tuple[Array, ...]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Inputs as leaves of a graph, and the outputs at its end."""
        with torch.enable_grad():
            leaves = tuple(a.detach().requires_grad_(a.is_floating_point()) for a in self._placed(x))
            return leaves, self._run(leaves)

    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pull]:
        """Outputs and pull."""
        leaves, outputs = self._taped(x)

        def pull(cotangent: Array, *, last: bool = False) -> tuple[Array | None, ...]:
            self.passes.backward += len(x[0])
            return back(outputs, leaves, cotangent, last=last)

        return outputs.detach(), pull

    def forward_and_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes of different tensors that autograd keeps, parameters left out."""
        dice = chance(self.device)
        with saved((*self.module.parameters(), *self.module.buffers())) as sizes:
            leaves, taped = self._taped(x)
        outputs = taped.detach()
        self._refuse_chance(x, outputs, dice)
        met, own = reached(taped)
        if taped.is_floating_point():  # whole numbers are refused by whoever asked
            cut = [i for i, a in enumerate(leaves) if a.is_floating_point() and id(a) not in met]
            self.refuse_cut(x, cut, "torch.no_grad, detach, .data")
            if any(name.endswith(NO_KERNEL) for name in own):
                refuse_without_kernel(taped, leaves)
        self._try_inner(x, outputs)
        return outputs, sum(sizes.values())

    def gradient_breaks(self, x: tuple[Array, ...]) -> tuple[str, ...]:
        """See Differentiable; compiled code is not listened to."""
        listening = DetachDetector()
        with nullcontext() if self._compiled() else listening:
            _, taped = self._taped(x)
        return (*listening.heard, *(name.removesuffix("Backward") for name in reached(taped)[1]))

    def _refuse_chance(self, x: tuple[Array, ...], outputs: torch.Tensor, dice: torch.Tensor) -> None:
        """Where random numbers were drawn, the same rows are asked about again.

        Raises:
            UnsupportedModelError: they are answered otherwise.
        """
        if torch.equal(dice, chance(self.device)):
            return
        near = 1e-5 * float(outputs.abs().max()) if outputs.numel() else 0.0
        if not all(torch.allclose(self.forward(x), outputs, rtol=1e-5, atol=near) for _ in range(3)):
            raise UnsupportedModelError(
                "the network draws at random and answers the same rows otherwise each time (dropout with training=True, noise): it has no one answer to explain. "
                "Switch that off in forward, or fix what is drawn (a torch.Generator seeded there)."
            )

    def _compiled(self) -> bool:
        return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) for m in self.module.modules())

    def forward_and_live_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the most bytes of tensors that lived at a time, parameters left out; see whybox.adapters.torch.memory."""
        if self._compiled():
            return self.forward_and_memory(x)  # what compiled code allocates is not seen
        dice = chance(self.device)
        with Alive(storages((*self.module.parameters(), *self.module.buffers()))) as met:
            outputs = self.forward(x)
        self._refuse_chance(x, outputs, dice)
        return self.forward_and_memory(x) if met.blind else (outputs, met.most)

    def select_output(self, output: Any) -> TorchNetwork:
        """Another of its outputs."""
        return replace(self, head=Part(output, torch.Tensor))

    def named(self, names: tuple[str, ...]) -> TorchNetwork:
        """Inputs go in under names."""
        return replace(self, keywords=names)

    def accepted_inputs(self, *, required: bool = False) -> tuple[str, ...]:
        """Names of what forward takes."""
        return self.called or parameters_of(self.module.forward, required=required)

    def with_head(self, head: Callable[[Any], Array]) -> TorchNetwork:
        """Followed by a function of its outputs, differentiated with it."""
        before = self.head
        return replace(self, head=lambda said: head(before(said)))

    def with_dtype(self, dtype: str) -> TorchNetwork:
        """Under autocast in bfloat16."""
        if dtype not in ("bfloat16", "float32"):
            raise OptionError(
                Argument("dtype", dtype), " is not known: float32, or bfloat16 (compared with float32 on a few rows)."
            )
        return replace(
            self,
            autocast=torch.bfloat16 if dtype == "bfloat16" else None,
            arithmetic="bfloat16 (autocast)" if dtype == "bfloat16" else str(self.dtype).removeprefix("torch."),
        )

    # layers

    def _layer(self, name: str) -> torch.nn.Module:
        found = dict(self.module.named_modules()).get(name)
        if found is None:
            raise OptionError(
                f"there is no layer {name!r}.{did_you_mean(name, [n for n, _ in self.module.named_modules() if n])}"
            )
        if isinstance(found, torch.jit.ScriptModule):
            raise UnsupportedModelError(
                f"layer {name!r} is scripted or traced, and cannot be listened to; explain the module it was made from, or use a method that needs the inputs only."
            )
        return found

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Layers without parts of their own, in the order they answer."""
        leaves = [
            name for name, m in self._named() if not [c for c, _ in m.named_children() if c != PARAMETRIZED_SUFFIXES]
        ]
        return self._met(lambda: self.forward(x), leaves)

    def blocks(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """All named parts of the module that answer with one tensor, in the order they answer."""
        return self._met(lambda: self.forward(x), [name for name, _ in self._named()])

    def _named(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Named parts that rows go through; what makes weights (weight_norm and the like) answers with weights."""
        return ((n, m) for n, m in self.module.named_modules() if n and PARAMETRIZED_SUFFIXES not in n.split("."))

    def reachable_shapes(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """See Differentiable. A network that checks the size of its inputs first is asked without that check."""

        def run() -> None:
            self.passes.forward += len(x[0])
            self.state.back()
            any_size = getattr(self.module, "any_size", nullcontext)
            with torch.no_grad(), any_size(), suppress(Exception):  # whatever a network says to rows of another size
                self.said(*x)

        return self._met(run, [name for name, _ in self._named()])

    def _met(self, run: Callable[[], Any], names: list[str]) -> list[tuple[str, tuple[int, ...]]]:
        """What these layers answer while the network is run."""
        met: list[tuple[str, tuple[int, ...]]] = []

        def note(name: str) -> Callable[..., None]:
            return lambda _module, _given, said: (
                met.append((name, tuple(said.shape))) if isinstance(said, torch.Tensor) else None
            )

        handles = [self._layer(name).register_forward_hook(note(name)) for name in names]
        try:
            with eagerly():
                run()
        finally:
            for handle in handles:
                handle.remove()
        return met

    def sequence_layers(self, x: tuple[Array, ...]) -> Iterator[tuple[str, tuple[str, ...], Array]]:
        """See Differentiable."""
        own = getattr(self.module, "sequences", None)  # of a model of Keras
        yield from own(lambda: self.forward(x)) if own else given_to(self.module, len(x[0]), lambda: self.forward(x))

    def tap_layer(self, x: tuple[Array, ...], layer: str) -> LayerTap:
        """Nothing before the layer is kept for derivatives: they begin at what it puts out."""
        kept: list[torch.Tensor] = []

        def keep(_module: Any, _given: Any, said: Any) -> Any:
            if not isinstance(said, torch.Tensor) or kept or said.shape[:1] != x[0].shape[:1]:
                raise UnsupportedModelError(
                    f"layer {layer!r} answers more than once, or not with one tensor whose first axis is the rows; name another."
                )
            kept.append(said.detach().clone().requires_grad_())
            return kept[0].clone()  # what comes next may work in place

        handle = self._layer(layer).register_forward_hook(keep)
        try:
            with torch.enable_grad(), eagerly():
                outputs = self._run(tuple(a.detach() for a in self._placed(x)))
        finally:
            handle.remove()
        if not kept:
            raise UnsupportedModelError(f"layer {layer!r} takes no part in the answer; name another.")

        def pull(cotangent: Array, *, last: bool = False) -> Array:
            self.passes.backward += len(x[0])
            return back(outputs, kept, cotangent, last=last)[0]

        return LayerTap(outputs.detach(), kept[0].detach(), pull)

    def split_at_layer(self, layer: str, x: tuple[Array, ...]) -> tuple[TorchNetwork, Array]:
        """From a layer on."""
        kept: list[Any] = []
        handle = self._layer(layer).register_forward_hook(lambda _m, _g, said: kept.append(_copied(said)))
        try:
            with eagerly():
                self.forward(x)
        finally:
            handle.remove()
        if len(kept) != 1 or not isinstance(kept[0], torch.Tensor) or not kept[0].is_floating_point():
            raise UnsupportedModelError(
                f"layer {layer!r} does not answer once with one tensor of numbers; name another."
            )
        return replace(self, layer=layer, dtype=kept[0].dtype), kept[0].detach()

    def with_rules(self, rules: str, x: tuple[Array, ...], reference: tuple[Array, ...] | None) -> RuleBackward:
        """Operator rules; see whybox.adapters.torch.rules."""
        from whybox.adapters.torch.rules import ruled

        return ruled(self, rules, x, reference)

    def with_random_parameters(self, seed: int, layer: str | None = None) -> TorchNetwork:
        """A copy with parameters drawn anew by each layer's own initialisation, else as normal numbers of the same spread (those with one axis are shuffled)."""
        module = _copy(self.module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, part in module.named_modules():
                own = list(part.parameters(recurse=False))
                if not own or (layer is not None and name != layer and not name.startswith(f"{layer}.")):
                    continue
                before = [p.detach().clone() for p in own]
                if callable(getattr(part, "reset_parameters", None)):
                    part.reset_parameters()
                    # weights under a norm (weight_norm, spectral_norm) have other names, which the layer's own initialisation does not know
                    own = [p for p, was in zip(own, before, strict=True) if p.ndim > 1 and torch.equal(p, was)]
                for p in own:
                    _draw(p)
        return replace(self, module=module, state=State(module), passes=type(self.passes)())


def _copy(module: torch.nn.Module) -> torch.nn.Module:
    """A deep copy; weights that were computed (weight_norm of old) are copied as they are, which torch refuses."""
    computed = [v for m in module.modules() for v in vars(m).values() if isinstance(v, torch.Tensor) and not v.is_leaf]
    memo: dict[int, Any] = {id(v): v.detach().clone() for v in computed}
    copied = copy.deepcopy(module, memo)
    assert isinstance(copied, torch.nn.Module)  # noqa: S101  # for the types
    return copied


def _draw(p: torch.Tensor) -> None:
    """Normal numbers of the same spread; of scales and biases only the order is drawn: a scale of zero would switch the layer off."""
    if p.ndim < 2:
        p.data.copy_(p.data[torch.randperm(len(p.data))] if p.ndim else p.data)
    else:
        p.data.normal_(0.0, float(p.data.std()) if p.numel() > 1 else 1.0)


def _copied(said: Any) -> Any:
    """What comes next may work in place on what a layer puts out."""
    return said.detach().clone() if isinstance(said, torch.Tensor) else said
