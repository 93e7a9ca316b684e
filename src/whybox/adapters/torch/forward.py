"""The forward pass of a torch module: arrays in, outputs out, counted and checked. TorchNetwork adds derivatives and layers to it.

Other files of this adapter (operator rules, tracing, input types) need no more of a network than this, so that they import nothing from `module.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self, final

import numpy as np
import numpy.typing as npt
import torch

from whybox.adapters.torch.state import State, without_compilation
from whybox.core.library_calls import first_line
from whybox.errors import DtypeError, OptionError, UnsupportedModelError, WhyboxError, did_you_mean
from whybox.models.differentiable import Array, Differentiable, Indices, LayerSide, consecutive_slice

__all__ = ["TorchForward"]


@final
@dataclass
class _Observed:
    """What forwards showed about a network.

    Attributes:
        channels_last: True if pictures are passed with channels innermost in memory; on a processor convolutions are then up to twice as fast.
        first_batch: number of rows in the first forward that succeeded, 0 before.
    """

    channels_last: bool = False
    first_batch: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchForward(Differentiable):
    """A torch module that takes rows and gives outputs; see Differentiable for the methods.

    Attributes:
        module: the module. state: what the module is put back to after each forward. device, dtype: of its inputs.
        head: takes the module's result and gives one tensor of outputs. autocast: type of autocast, None for none.
        layer: None, or the layer whose output is the first input (see `split_at_layer`; at several calls the first inputs); layer_side: ``"input"``: what
            it is given is. n_calls: how often it is called.
        observed: what forwards showed about the module. keywords: names that inputs are passed under, () for positions.
        one_numbers: positions of inputs that are (rows, 1) here and (rows,) in the module.
        declared_names: names of the inputs, if forward does not show them. bytes_as_given: True if whole numbers keep their type.
    """

    module: torch.nn.Module
    state: State = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    head: Callable[[Any], torch.Tensor]
    autocast: torch.dtype | None = None
    layer: str | None = None
    layer_side: LayerSide = "output"
    n_calls: int = 1
    observed: _Observed = field(default_factory=_Observed, repr=False)
    keywords: tuple[str, ...] = ()
    one_numbers: tuple[int, ...] = ()
    declared_names: tuple[str, ...] = ()
    bytes_as_given: bool = False

    def fresh_copy(self) -> Self:
        """See Differentiable."""
        return replace(super().fresh_copy(), observed=_Observed())

    @property
    def may_break_device(self) -> bool:
        """See Differentiable."""
        return bool(self.device.type != "cpu")

    def is_own_array(self, x: Any) -> bool:
        """True for a tensor."""
        return isinstance(x, torch.Tensor)

    def array(self, x: npt.NDArray[Any]) -> Array:
        """Bring numbers to the module's device: floats in its own type, whole numbers as int64 (in their own type if `bytes_as_given`)."""
        if x.dtype.kind in "iub":
            as_given = x.dtype == bool or self.bytes_as_given
            return torch.as_tensor(np.array(x) if as_given else x.astype(np.int64), device=self.device)
        if x.dtype.kind != "f":
            raise DtypeError(f"inputs of type {x.dtype} are not numbers.")
        own = (
            x
            if x.flags.writeable and x.flags.c_contiguous and x.dtype.isnative and min(x.strides, default=0) >= 0
            else np.array(x, dtype=x.dtype.newbyteorder("="))
        )
        return torch.as_tensor(own, device=self.device).to(self.dtype)

    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Bring a tensor back."""
        a = a.detach().resolve_conj().resolve_neg()
        return np.asarray((a.to(torch.float64) if a.is_floating_point() else a).cpu().numpy())

    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of a tensor; consecutive rows are not copied."""
        if (consecutive := consecutive_slice(rows)) is not None:
            return a[consecutive]
        return a.index_select(0, torch.as_tensor(rows, device=a.device))

    def choose(self, mask: Array, a: Array, b: Array) -> Array:
        """See Differentiable; three times as fast as products and their sum."""
        return (a * mask).addcmul_(b, 1 - mask)

    def numbers_at(self, a: Array, rows: Indices, numbers: Indices) -> npt.NDArray[Any]:
        """See Differentiable; nothing else is copied."""
        taken = self.take(a, rows)
        return self.numpy(taken.reshape(len(rows), -1).index_select(1, torch.as_tensor(numbers, device=a.device)))

    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """Sum into rows."""
        return total.index_add_(0, torch.as_tensor(rows, device=total.device), more.to(total.dtype))

    def module_outputs(self, *x: torch.Tensor) -> torch.Tensor:
        """Outputs of module and head; no pass is counted and nothing is checked. The module gets copies, for its first layer may work in place."""
        x = tuple(a.clone() for a in x)
        with torch.autocast(self.device.type, dtype=self.autocast or torch.bfloat16, enabled=self.autocast is not None):
            return self.head(self._call(x) if self.layer is None else self._from_layer(x))

    def _run(self, x: tuple[Any, ...]) -> torch.Tensor:
        self.passes.forward += len(x[0])
        self.state.restore()
        try:
            output = self.module_outputs(*x)
        except Exception as error:
            if self.observed.first_batch in (0, len(x[0])) or isinstance(error, (WhyboxError, torch.OutOfMemoryError)):
                raise
            raise UnsupportedModelError(
                f"the network works with {self.observed.first_batch} rows and fails with {len(x[0])} ({type(error).__name__}: {first_line(error)}): it must take any number of "
                "rows. Wrap it in a module that passes it as many rows at a time as it takes."
            ) from error
        self.observed.first_batch = self.observed.first_batch or len(x[0])
        if not len(output.shape) or output.shape[0] != len(x[0]):
            raise UnsupportedModelError(
                f"for {len(x[0])} rows the network outputs a tensor of shape {tuple(output.shape)}; its first axis must be the rows. "
                "If another axis is, wrap the network in a module that moves it to the front."
            )
        return output.float() if self.autocast is not None else output

    def _from_layer(self, x: tuple[Any, ...]) -> Any:
        """Run with the first inputs in place of the layer's outputs at the calls that they replace."""
        count = [0]
        replacements = dict(zip(self.replaced_calls, x, strict=False))

        def replace_output(_module: Any, _given: Any, output: Any) -> Any:
            count[0] += 1
            replacement = replacements.get(count[0] - 1)
            if replacement is None:
                return output
            if not isinstance(output, torch.Tensor) or output.shape != replacement.shape:
                raise UnsupportedModelError(
                    f"the {self.layer_side} of layer {self.layer!r} is not one tensor with a row for each row."
                )
            return replacement

        def replace_input(_module: Any, given: tuple[Any, ...]) -> Any:
            return (replace_output(_module, given, given[0] if given else None), *given[1:])

        at = self._layer(str(self.layer))
        handle = (  # before other hooks of this layer
            at.register_forward_hook(replace_output, prepend=True)
            if self.layer_side == "output"
            else at.register_forward_pre_hook(replace_input, prepend=True)
        )
        try:
            with without_compilation():
                outputs = self._call(x[len(self.replaced_calls) :])
        finally:
            handle.remove()
        self.refuse_other_count(str(self.layer), self.n_calls, count[0])
        return outputs

    def _call(self, x: tuple[Any, ...]) -> Any:
        x = tuple(a[:, 0] if i in self.one_numbers else a for i, a in enumerate(x))
        return self.module(**dict(zip(self.keywords, x, strict=True))) if self.keywords else self.module(*x)

    def forward(self, x: tuple[Array, ...]) -> Array:
        """See Differentiable."""
        with torch.no_grad():
            return self._run(self._laid_out(x))

    def _laid_out(self, x: tuple[Array, ...]) -> tuple[Array, ...]:
        """Inputs with pictures laid out in memory as is fastest here."""
        if not self.observed.channels_last:
            return x
        return tuple(
            a.contiguous(memory_format=torch.channels_last) if a.ndim == 4 and a.is_floating_point() else a for a in x
        )

    def _layer(self, name: str) -> torch.nn.Module:
        found = dict(self.module.named_modules()).get(name)
        if found is None:
            raise OptionError(
                f"there is no layer {name!r}.{did_you_mean(name, [n for n, _ in self.module.named_modules() if n])}"
            )
        if isinstance(found, torch.jit.ScriptModule):
            raise UnsupportedModelError(
                f"layer {name!r} is scripted or traced, and its output cannot be read; explain the module it was made from, or use a method that needs the inputs only."
            )
        return found
