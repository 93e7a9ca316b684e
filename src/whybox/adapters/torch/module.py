"""A torch module as a network: vector-Jacobian product and layers, on top of its forward. It is left as it was found."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.adapters.network_outputs import OutputPart, followed_by, parameter_names
from whybox.adapters.torch.dtypes import arithmetic_of, quantised_by_range, types_in_call_order
from whybox.adapters.torch.forward import TorchForward
from whybox.adapters.torch.gradient_check import (
    NO_KERNEL,
    DetachDetector,
    input_gradients,
    reached_leaves,
    refuse_without_kernel,
)
from whybox.adapters.torch.memory import LiveBytes, saved_bytes, storage_pointers
from whybox.adapters.torch.sequences import inputs_of_sequence_layers
from whybox.adapters.torch.state import State, rng_state, without_compilation
from whybox.adapters.torch.training_mode import exported_in_eval
from whybox.errors import Argument, OptionError, UnsupportedModelError
from whybox.models.differentiable import Array, LayerSide, LayerTap, Pullback, RuleBackward

__all__ = ["TorchNetwork", "wrap"]

DEVICE_ROWS: Final = 256  # rows that keep an accelerator busy
CPU_ROWS: Final = 32  # more rows take more memory and are not faster
PARAMETRIZED_SUFFIXES: Final = "parametrizations"  # where torch keeps the tensors that weights are computed from


def wrap(obj: Any, output: Any = None) -> TorchNetwork:
    """Wrap a module.

    Args:
        obj: a torch.nn.Module.
        output: which of several outputs: a key, a position, or an attribute of what the module returns.

    Raises:
        UnsupportedModelError: a module with lazy layers, or not a module.
    """
    if not isinstance(obj, torch.nn.Module):
        raise UnsupportedModelError(f"{type(obj).__name__} is not a torch.nn.Module.")
    if any(torch.nn.parameter.is_lazy(p) for p in (*obj.parameters(), *obj.buffers())):
        raise UnsupportedModelError("the network has lazy layers without a shape; call it once on some rows.")
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
        head=OutputPart(output, torch.Tensor),
        max_batch_size=1 if quantised_by_range(obj) else CPU_ROWS if device.type == "cpu" else DEVICE_ROWS,
        arithmetic=arithmetic_of(obj, dtype),
    )


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class TorchNetwork(TorchForward):
    """See Differentiable."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the class and of all parameters and buffers."""
        self.state.restore()
        h = hashlib.sha256(repr(self.module).encode())
        for name, tensor in (*self.module.named_parameters(), *self.module.named_buffers()):
            h.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
            h.update(tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy().data)
        return h.hexdigest()

    # numbers there and back

    def with_input_dtypes(self, given: Sequence[str], sample: tuple[npt.NDArray[Any], ...]) -> Iterator[TorchNetwork]:
        """See Differentiable: then the type of the first layer that is called, and single precision; last, whole numbers in the type they came in."""
        longer = [
            d for d in (getattr(torch, name) for name in given) if torch.finfo(d).eps < torch.finfo(self.dtype).eps
        ]
        order = [*sorted(longer, key=lambda d: float(torch.finfo(d).eps))[:1], self.dtype]
        for dtype in order:
            yield replace(self, dtype=dtype)
        for dtype in dict.fromkeys((*types_in_call_order(self, sample), torch.float32)):
            if dtype not in order:
                yield replace(self, dtype=dtype)
        if any(x.dtype.kind in "iu" and x.dtype != np.int64 for x in sample):
            yield replace(self, bytes_as_given=True)

    # running

    @contextmanager
    def session(self) -> Iterator[None]:
        """See Differentiable, and whybox.adapters.torch.state for what is restored afterwards."""
        training = [
            name or type(self.module).__name__
            for name, m in self.module.named_modules()
            if getattr(m, "training", False)
        ]
        if training and not exported_in_eval(self.module):
            raise UnsupportedModelError(
                f"the network is in train mode ({training[0]!r}{f' and {len(training) - 1} more' if len(training) > 1 else ''}), where dropout and batch statistics "
                "change its outputs; call net.eval() first."
            )
        with self.state.preserved():
            yield

    def _try_channels_last(self, x: tuple[Array, ...], plain: torch.Tensor) -> None:
        """Put channels innermost in memory if the network has convolutions, runs with that, and its outputs are the same."""
        if (
            self.device.type != "cpu"
            or self.layer is not None
            or not any(isinstance(m, torch.nn.Conv2d) for m in self.module.modules())
        ):
            return
        self.observed.channels_last = True
        try:
            output = self.forward(x)
            same = bool(torch.allclose(output, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max())))
        except (RuntimeError, UnsupportedModelError):  # a view that needs rows in one piece of memory
            same = False
        self.observed.channels_last = same

    def _forward_with_graph(self, x: tuple[Array, ...]) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
        """Inputs as leaves of an autograd graph, and the outputs at its end."""
        with torch.enable_grad():
            leaves = tuple(a.detach().requires_grad_(a.is_floating_point()) for a in self._laid_out(x))
            return leaves, self._run(leaves)

    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pullback]:
        """See Differentiable."""
        leaves, outputs = self._forward_with_graph(x)

        def pull(cotangent: Array, *, last: bool = False) -> tuple[Array | None, ...]:
            self.passes.backward += len(x[0])
            return input_gradients(outputs, leaves, cotangent, last=last)

        return outputs.detach(), pull

    def forward_and_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes of all tensors that autograd keeps, parameters left out."""
        rng_before = rng_state(self.device)
        with saved_bytes((*self.module.parameters(), *self.module.buffers())) as sizes:
            leaves, taped = self._forward_with_graph(x)
        outputs = taped.detach()
        self._check_deterministic(x, outputs, rng_before)
        met, own = reached_leaves(taped)
        if taped.is_floating_point():  # whole numbers are refused by the caller
            cut = [i for i, a in enumerate(leaves) if a.is_floating_point() and id(a) not in met]
            self.check_unreached(x, cut, "torch.no_grad, detach, .data")
            if any(name.endswith(NO_KERNEL) for name in own):
                refuse_without_kernel(taped, leaves)
        self._try_channels_last(x, outputs)
        return outputs, sum(sizes.values())

    def gradient_breaks(self, x: tuple[Array, ...]) -> tuple[str, ...]:
        """See Differentiable; calls inside compiled code are not seen."""
        detector = DetachDetector()
        with nullcontext() if self._compiled() else detector:
            _, taped = self._forward_with_graph(x)
        return (*detector.names, *(name.removesuffix("Backward") for name in reached_leaves(taped)[1]))

    def _check_deterministic(self, x: tuple[Array, ...], outputs: torch.Tensor, rng_before: torch.Tensor) -> None:
        """If random numbers were drawn, evaluate the same rows again.

        Raises:
            UnsupportedModelError: the outputs differ.
        """
        if torch.equal(rng_before, rng_state(self.device)):
            return
        near = 1e-5 * float(outputs.abs().max()) if outputs.numel() else 0.0
        if not all(torch.allclose(self.forward(x), outputs, rtol=1e-5, atol=near) for _ in range(3)):
            raise UnsupportedModelError(
                "the network draws random numbers, and its outputs for the same rows differ from call to call (dropout with training=True, noise): there is no single output to "
                "explain. Switch that off in forward, or fix the random numbers (a torch.Generator seeded there)."
            )

    def _compiled(self) -> bool:
        return any(hasattr(m, "_orig_mod") or getattr(m, "_compiled_call_impl", None) for m in self.module.modules())

    def forward_and_live_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the most bytes of tensors in use at a time, parameters left out; see whybox.adapters.torch.memory."""
        if self._compiled():
            return self.forward_and_memory(x)  # memory of compiled code is not seen
        rng_before = rng_state(self.device)
        with LiveBytes(storage_pointers((*self.module.parameters(), *self.module.buffers()))) as met:
            outputs = self.forward(x)
        self._check_deterministic(x, outputs, rng_before)
        return self.forward_and_memory(x) if met.incomplete else (outputs, met.peak)

    def select_output(self, output: Any) -> TorchNetwork:
        """See Differentiable."""
        return replace(self, head=OutputPart(output, torch.Tensor))

    def with_input_names(self, names: tuple[str, ...]) -> TorchNetwork:
        """See Differentiable."""
        return replace(self, keywords=names)

    def with_one_numbers(self, positions: tuple[int, ...]) -> TorchNetwork:
        """See Differentiable."""
        return replace(self, one_numbers=positions)

    def accepted_inputs(self, *, required: bool = False) -> tuple[str, ...]:
        """See Differentiable."""
        return self.declared_names or parameter_names(self.module.forward, required=required)

    def with_head(self, head: Callable[[Any], Array]) -> TorchNetwork:
        """See Differentiable."""
        return replace(self, head=followed_by(self.head, head))

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

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """See Differentiable: modules without modules of their own, in the order they run."""
        leaves = [
            name
            for name, m in self._named_layers()
            if not [c for c, _ in m.named_children() if c != PARAMETRIZED_SUFFIXES]
        ]
        return self._record_layers(lambda: self.forward(x), leaves)

    def blocks(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """See Differentiable: all named modules whose output is one tensor, in the order they run."""
        return self._record_layers(lambda: self.forward(x), [name for name, _ in self._named_layers()])

    def parameter_layers(self, x: tuple[Array, ...]) -> list[str]:
        """See Differentiable: modules with parameters of their own. Those whose output is no single tensor (recurrent ones) come before what follows them."""
        order = {name: place for place, (name, _) in enumerate(self.layers(x))}
        names = [
            name for name, m in self._named_layers() if name in order or any(True for _ in m.parameters(recurse=False))
        ]
        place, found = float(len(order)), []
        for name in reversed(
            names
        ):  # those that are not in the order they run take the place before the next one that is
            place = order[name] if name in order else place - 0.5
            found.append((place, name))
        return [name for _, name in sorted(found, key=lambda of: of[0])]

    def _named_layers(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Named modules that rows pass through; those that compute weights (weight_norm and the like) are left out."""
        return ((n, m) for n, m in self.module.named_modules() if n and PARAMETRIZED_SUFFIXES not in n.split("."))

    def reachable_shapes(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """See Differentiable. A check of input sizes before the first layer is switched off."""

        def run() -> None:
            self.passes.forward += len(x[0])
            self.state.restore()
            any_size = getattr(self.module, "any_size", nullcontext)
            with (
                torch.no_grad(),
                any_size(),
                suppress(Exception),
            ):  # a network may fail in any way on rows of another size
                self.module_outputs(*x)

        return self._record_layers(run, [name for name, _ in self._named_layers()])

    def _record_layers(self, run: Callable[[], Any], names: list[str]) -> list[tuple[str, tuple[int, ...]]]:
        """Names and output shapes of these layers while the network runs."""
        met: list[tuple[str, tuple[int, ...]]] = []

        def note(name: str) -> Callable[..., None]:
            return lambda _module, _given, output: (
                met.append((name, tuple(output.shape))) if isinstance(output, torch.Tensor) else None
            )

        handles = [self._layer(name).register_forward_hook(note(name)) for name in names]
        try:
            with without_compilation():
                run()
        finally:
            for handle in handles:
                handle.remove()
        return met

    def sequence_layers(self, x: tuple[Array, ...]) -> Iterator[tuple[str, tuple[str, ...], Array]]:
        """See Differentiable."""
        own = getattr(self.module, "sequence_layers", None)  # a model of Keras
        yield from (
            own(lambda: self._run_module(x))
            if own
            else inputs_of_sequence_layers(self.module, len(x[0]), lambda: self._run_module(x))
        )

    def tap_layer(self, x: tuple[Array, ...], layer: str, side: LayerSide = "output") -> LayerTap:
        """See Differentiable: nothing before the layer is kept for derivatives."""
        tapped: list[torch.Tensor] = []
        count = [0]

        def keep(_module: Any, _given: Any, output: Any) -> Any:
            count[0] += 1
            if count[0] - 1 != (self.layer_call or 0):
                return None
            if not isinstance(output, torch.Tensor) or output.shape[:1] != x[0].shape[:1]:
                raise UnsupportedModelError(
                    f"the {side} of layer {layer!r} is not one tensor whose first axis is the rows; name another."
                )
            tapped.append(output.detach().clone().requires_grad_())
            return tapped[0].clone()  # the next layer may work in place

        handle = self._hook_layer(layer, side, keep)
        try:
            with torch.enable_grad(), without_compilation():
                outputs = self._run(tuple(a.detach() for a in self._laid_out(x)))
        finally:
            handle.remove()
        self.refuse_calls(layer, count[0])

        def pull(cotangent: Array, *, last: bool = False) -> Array:
            self.passes.backward += len(x[0])
            return input_gradients(outputs, tapped, cotangent, last=last)[0]

        return LayerTap(outputs.detach(), tapped[0].detach(), pull)

    def _hook_layer(self, layer: str, side: LayerSide, function: Callable[[Any, Any, Any], Any]) -> Any:
        """Call a function with (module, what it is given, its output); with its first argument in place of the output if that is wanted. It may return another."""
        if side == "output":
            return self._layer(layer).register_forward_hook(function)
        if self.library != "torch":
            self.refuse_layer_input(side)

        def before(module: Any, given: tuple[Any, ...]) -> Any:
            replacement = function(module, given, given[0] if given else None)
            return None if replacement is None else (replacement, *given[1:])

        return self._layer(layer).register_forward_pre_hook(before)

    def split_at_layer(
        self, layer: str, x: tuple[Array, ...], side: LayerSide = "output"
    ) -> tuple[TorchNetwork, Array]:
        """See Differentiable."""
        found = self._layer_outputs(layer, x, side)
        self.refuse_calls(layer, len(found))
        call = self.layer_call or 0
        return self._from(layer, side, found, (call,)), self._floats_of(layer, side, found[call])

    def split_at_calls(self, layer: str, x: tuple[Array, ...]) -> tuple[TorchNetwork, tuple[Array, ...]]:
        """See Differentiable."""
        found = self._layer_outputs(layer, x, "output")
        self.refuse_calls(layer, min(len(found), 1))
        outputs = tuple(self._floats_of(layer, "output", a) for a in found)
        return self._from(layer, "output", found, tuple(range(len(found)))), outputs

    def _layer_outputs(self, layer: str, x: tuple[Array, ...], side: LayerSide) -> list[Any]:
        """What a layer outputs (or is given) at each call for these rows."""
        found: list[Any] = []
        handle = self._hook_layer(layer, side, lambda _m, _g, output: found.append(_detached(output)))
        try:
            with without_compilation():
                self._run_module(x)
        finally:
            handle.remove()
        return found

    def _run_module(self, x: tuple[Array, ...]) -> None:
        """Run for what layers see alone: of several outputs none need be named yet, as a function of the outputs is set later."""
        replace(self, head=lambda _outputs: x[0]).forward(x)

    def _from(self, layer: str, side: LayerSide, found: list[Any], calls: tuple[int, ...]) -> TorchNetwork:
        """The network from these calls of a layer on."""
        dtype = self._floats_of(layer, side, found[calls[0]]).dtype
        return replace(self, layer=layer, layer_side=side, dtype=dtype, replaced_calls=calls, n_calls=len(found))

    def _floats_of(self, layer: str, side: LayerSide, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            raise UnsupportedModelError(f"the {side} of layer {layer!r} is not one tensor of floats; name another.")
        return output.detach()

    def with_rules(self, rules: str, x: tuple[Array, ...], reference: tuple[Array, ...] | None) -> RuleBackward:
        """Operator rules; see whybox.adapters.torch.rules."""
        from whybox.adapters.torch.rules import rule_backward

        return rule_backward(self, rules, x, reference)

    def with_random_parameters(self, seed: int, layer: str | None = None) -> TorchNetwork:
        """A copy with parameters randomised by each layer's own initialisation, else as normal numbers of the same spread (those with one axis are shuffled)."""
        module = _deep_copy(self.module)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, part in module.named_modules():
                own = list(part.parameters(recurse=False))
                if not own or (layer is not None and name != layer and not name.startswith(f"{layer}.")):
                    continue
                before = [p.detach().clone() for p in own]
                if callable(getattr(part, "reset_parameters", None)):
                    part.reset_parameters()
                    # weights under a norm (weight_norm, spectral_norm) have other names, which the layer's own initialisation does not reach
                    own = [p for p, was in zip(own, before, strict=True) if p.ndim > 1 and torch.equal(p, was)]
                for p in own:
                    _redraw(p)
        return replace(self, module=module, state=State(module), passes=type(self.passes)())


def _deep_copy(module: torch.nn.Module) -> torch.nn.Module:
    """A deep copy; computed weights (of the old weight_norm), which torch refuses to copy, are copied as they are."""
    computed = [v for m in module.modules() for v in vars(m).values() if isinstance(v, torch.Tensor) and not v.is_leaf]
    memo: dict[int, Any] = {id(v): v.detach().clone() for v in computed}
    copied = copy.deepcopy(module, memo)
    assert isinstance(copied, torch.nn.Module)  # noqa: S101  # for the types
    return copied


def _redraw(p: torch.Tensor) -> None:
    """Draw normal numbers with the same standard deviation; scales and biases are only shuffled, for a scale of zero would switch the layer off."""
    if p.ndim < 2:
        p.data.copy_(p.data[torch.randperm(len(p.data))] if p.ndim else p.data)
    else:
        p.data.normal_(0.0, float(p.data.std()) if p.numel() > 1 else 1.0)


def _detached(output: Any) -> Any:
    """A copy, for the next layer may work in place."""
    return output.detach().clone() if isinstance(output, torch.Tensor) else output
