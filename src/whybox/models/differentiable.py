"""The interface of networks, which are explained by derivatives: a minimal part, and what some libraries add.

A network returns ``outputs, pull = net(x)``, where ``pull(cotangent)`` is the vector-Jacobian product. Arrays stay in the network's own library, on
its device; methods use nothing but ``+ - *``, broadcasting, ``reshape`` and the four functions below, so they are the same for every library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, OptionError, UnsupportedModelError

__all__ = [
    "Array",
    "Differentiable",
    "LayerSide",
    "LayerTap",
    "PassCounter",
    "Pullback",
    "RuleBackward",
    "consecutive_slice",
]

Array = Any  # an array of the network's own library, on its own device
Pullback = Callable[..., tuple[Array | None, ...]]
Indices = npt.NDArray[np.intp]
LayerSide = Literal["output", "input"]


@final
@dataclass
class PassCounter:
    """Rows that went through the network: forwards and backwards (to the input, or to a layer)."""

    forward: int = 0
    backward: int = 0


@final
@dataclass(frozen=True)
class LayerTap:
    """Outputs, the activation of a layer, and ``pullback(cotangent, last=)``, which differentiates back to that layer."""

    outputs: Array
    activation: Array
    pullback: Callable[..., Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class Differentiable(ABC):
    """A network run by its own library. Concrete classes are frozen and final.

    Attributes:
        kind: description of the network. library: its library.
        output_names: labels of its outputs, () when unknown.
        channels: where its images have their channels, ``"first"``, ``"last"``, or ``"by size"``: on that of the two axes that has at most four.
        max_batch_size: number of rows to evaluate together.
        arithmetic: the number type that it computes in, as text.
        passes: counts rows, see PassCounter; shared by copies of this network.
        remarks: remarks for the evidence, collected while it runs; shared in the same way.
        layer_call: which call of a layer is meant where it is tapped or split at, counted from 0; None: it is called once.
        replaced_calls: of a network from a layer on: for each of its first inputs the call of the layer whose output it replaces; () of a whole network.
    """

    kind: str
    library: str
    output_names: tuple[str, ...] = ()
    channels: Literal["first", "last", "by size"] = "first"
    max_batch_size: int = 32
    arithmetic: str = "float32"
    passes: PassCounter = field(default_factory=PassCounter, repr=False)
    remarks: list[str] = field(default_factory=list, repr=False)
    layer_call: int | None = None
    replaced_calls: tuple[int, ...] = ()

    def fresh_copy(self) -> Self:
        """Return the same network with a new pass counter and no remarks."""
        return replace(self, passes=PassCounter(), remarks=[])

    @property
    def noun(self) -> str:
        """What it is, in messages."""
        return "network"

    @property
    def input_advice(self) -> str:
        """What to do if it does not take its inputs."""
        return "Pass the arrays that it is called with, rows first: one array, or a tuple (a dict by name) of several; it must take any number of rows."

    @property
    def has_derivatives(self) -> bool:
        """Whether derivatives and layers can be reached; else it has outputs alone."""
        return True

    @property
    def may_break_device(self) -> bool:
        """Whether larger rows may break the device permanently: an index beyond an embedding table ends all work on an accelerator."""
        return False

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything that determines the network's outputs, as far as it is visible."""

    @abstractmethod
    def array(self, x: npt.NDArray[Any]) -> Array:
        """Move numbers to the network's device, in the type it computes in; integers stay integers."""

    @abstractmethod
    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Return an array as numpy float64 (integers stay integers)."""

    @abstractmethod
    def take(self, a: Array, rows: Indices) -> Array:
        """Return rows of an array; rows may repeat."""

    @abstractmethod
    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """``total[rows[i]] += more[i]`` for each i; rows may repeat. May change `total`; use what is returned."""

    def choose(self, mask: Array, a: Array, b: Array) -> Array:
        """Return ``a`` where the mask is 1 and ``b`` where it is 0: floats (m, ...); `a` and `b` may have one row, and the mask other axes of length 1."""
        return a * mask + b * (1 - mask)

    def numbers_at(self, a: Array, rows: Indices, numbers: Indices) -> npt.NDArray[Any]:
        """Return these numbers of flattened rows of an array, as numpy: (rows, numbers)."""
        taken = self.numpy(self.take(a, rows))
        return np.asarray(taken.reshape(len(rows), -1)[:, numbers])

    @abstractmethod
    def forward(self, x: tuple[Array, ...]) -> Array:
        """Return the outputs, (rows, ...), without keeping anything for derivatives."""

    @abstractmethod
    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pullback]:
        """Return the outputs, and ``pull(cotangent, last=False)`` -> one gradient an input (None for integers).

        ``last=True`` means that no more pulls follow, so that memory can be freed on the way.
        """

    @abstractmethod
    def forward_and_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Return the outputs, and the bytes that a derivative at these rows keeps, measured by one forward pass."""

    def with_input_dtypes(self, given: Sequence[str], few: tuple[npt.NDArray[Any], ...]) -> Iterator[Differentiable]:
        """Yield the network with float inputs in one type after the other, the likeliest first, until one works.

        Args:
            given: the types of the given float inputs, ``"float32"``, ``"bfloat16"``; tried first if the network's own is shorter.
            few: a few rows of all its inputs.
        """
        yield self

    def check_unreached(self, x: tuple[Array, ...], cut: Sequence[int], how_cut: str) -> None:
        """Check that the outputs do not depend on inputs that no derivative reaches (`cut`, by position). `how_cut`: how this library cuts derivatives.

        Raises:
            UnsupportedModelError: they depend on them, so all derivatives would be 0.
        """
        if not cut:
            return
        unchanged = self.numpy(self.forward(x))
        for scale, shift in ((0, 0), (2, 1)):
            changed = self.forward(tuple(scale * a + shift if i in cut else a for i, a in enumerate(x)))
            if not np.array_equal(self.numpy(changed), unchanged, equal_nan=True):
                input_name = "the input" if len(x) == 1 else f"input {cut[0]}"
                raise UnsupportedModelError(
                    f"no derivative reaches {input_name}, yet the output depends on it: the network cuts derivatives off ({how_cut}, whole numbers on the way), so all would "
                    "be 0. Remove that from the network, or use a method without derivatives: 'occlusion', 'shapley'."
                )

    def gradient_breaks(self, x: tuple[Array, ...]) -> tuple[str, ...]:
        """Return the names of operations on these rows that derivatives do not follow (detach, rounding, custom backward), as far as the library shows them."""
        return ()

    def forward_and_live_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Return the outputs, and the peak bytes of a forward pass without derivatives; by default the bytes that derivatives keep."""
        return self.forward_and_memory(x)

    @abstractmethod
    def with_head(self, head: Callable[[Any], Array]) -> Differentiable:
        """Return the network followed by a function of its outputs, which is differentiated with it; of all that it returns if no output was selected."""

    def select_output(self, output: Any) -> Differentiable:
        """Return the network with one of its several outputs: a key, a position, the name of an attribute."""
        raise UnsupportedModelError(f"{self.kind} answers with one thing; leave ", Argument("output"), " out.")

    def session(self) -> AbstractContextManager[None]:
        """Return a context in which the network may run; modes and states are restored afterwards, also after an exception.

        Raises:
            UnsupportedModelError: the network is in train mode.
        """
        return nullcontext()

    def is_own_array(self, x: Any) -> bool:
        """Whether `x` is an array of the network's library."""
        return False

    # Optional: what some libraries add.

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Return the names of layers in the order they run, with their output shapes for these rows."""
        raise UnsupportedModelError(
            f"layers cannot be reached in {self.kind}; use a method that needs the inputs only."
        )

    def blocks(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """As `layers`, and also blocks of several layers, if the library has them."""
        return self.layers(x)

    def parameter_layers(self, x: tuple[Array, ...]) -> list[str]:
        """Return the names of layers whose parameters can be randomised alone, in the order they run."""
        return [name for name, _ in self.layers(x)]

    def reachable_shapes(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """As `blocks`, up to the first error: rows of an unusual size may fail at some layer. Never raises."""
        try:
            return self.blocks(x)
        except Exception:  # any error of a network on rows of another size
            return []

    def named_shapes(self, x: tuple[Array, ...]) -> dict[str, tuple[int, ...]]:
        """Return the output shapes of the layers that are called once, or of their call `layer_call` where one is set, as far as rows reach. Never raises."""
        shapes: dict[str, list[tuple[int, ...]]] = {}
        for name, shape in self.reachable_shapes(x):
            shapes.setdefault(name, []).append(shape)
        call = self.layer_call
        return {n: of[call or 0] for n, of in shapes.items() if (len(of) == 1 if call is None else call < len(of))}

    def sequence_layers(self, x: tuple[Array, ...]) -> Iterator[tuple[str, tuple[str, ...], Array]]:
        """Yield layers with known time and feature axes: name, axes of its input ("row", "time", "feature" in some order), and its input."""
        return iter(())

    def tap_layer(self, x: tuple[Array, ...], layer: str, side: LayerSide = "output") -> LayerTap:
        """Run the network and keep the activation of one layer: its output, or what it is given (its first argument).

        Raises:
            UnsupportedModelError: layers cannot be reached in this kind of network, or this one returns no array.
            OptionError: no such layer, or it is called several times and `layer_call` is not one of these.
        """
        raise UnsupportedModelError(
            f"layers cannot be reached in {self.kind}; use a method that needs the inputs only."
        )

    def split_at_layer(
        self, layer: str, x: tuple[Array, ...], side: LayerSide = "output"
    ) -> tuple[Differentiable, Array]:
        """Return the network after a layer (such as the embedding of tokens), and the layer's output for these rows.

        The inner network takes the layer's output (or input, by `side`) first, then all inputs of the whole network (for the paths that bypass the layer).
        """
        raise UnsupportedModelError(f"layers cannot be reached in {self.kind}; explain its inputs.")

    def split_at_calls(self, layer: str, x: tuple[Array, ...]) -> tuple[Differentiable, tuple[Array, ...]]:
        """Return the network after all calls of a layer, and the layer's output at each for these rows.

        The inner network takes these outputs first, in the order of the calls, then all inputs of the whole network.
        """
        raise UnsupportedModelError(f"layers cannot be reached in {self.kind}; explain its inputs.")

    def with_call_order(self, order: Sequence[int]) -> Self:
        """Return the network of `split_at_calls` with the outputs of the calls as its first inputs in another order."""
        return replace(self, replaced_calls=tuple(self.replaced_calls[k] for k in order))

    def refuse_calls(self, layer: str, count: int) -> None:
        """Check that a layer that was called `count` times was called once, or that one of the calls is meant.

        Raises:
            UnsupportedModelError: it was not called. OptionError: it was called several times and none of the calls is meant, or there is no such call.
        """
        if not count:
            raise UnsupportedModelError(f"layer {layer!r} is never called for these rows; name another.")
        if count > 1 and self.layer_call is None:
            raise OptionError(
                f"layer {layer!r} is called {count} times in one pass; say which call is meant, counted from 0: ",
                Argument("call", 0),
                ".",
            )
        if self.layer_call is not None and self.layer_call >= count:
            raise OptionError(
                Argument("call", self.layer_call),
                f": layer {layer!r} is called {count} time{'s' if count > 1 else ''} in one pass, and calls are counted from 0.",
            )

    def refuse_other_count(self, layer: str, count: int, other: int) -> None:
        """Check that a layer is called equally often for all rows.

        Raises:
            UnsupportedModelError: it is not.
        """
        if count != other:
            raise UnsupportedModelError(
                f"layer {layer!r} is called {count} times for some rows and {other} for others; name another."
            )

    def refuse_layer_input(self, side: LayerSide) -> None:
        """Refuse what a layer is given, where only its output can be reached.

        Raises:
            UnsupportedModelError: `side` is ``"input"``.
        """
        if side == "input":
            raise UnsupportedModelError(
                f"what a layer is given is reached in torch modules alone, and this is {self.kind}; name the layer before it, with ",
                Argument("side", "output"),
                ".",
            )

    def with_input_names(self, names: tuple[str, ...]) -> Differentiable:
        """Return the network with inputs passed by name, ``net(name=array, ...)``, in this order."""
        raise UnsupportedModelError(f"{self.kind} takes its inputs by place: pass a tuple, not a dict.")

    def with_one_numbers(self, positions: tuple[int, ...]) -> Differentiable:
        """Return the network that takes these inputs as (rows, 1), and passes them on as (rows,): one number a row."""
        raise UnsupportedModelError(f"{self.kind} takes no input of one number a row here.")

    def accepted_inputs(self, *, required: bool = False) -> tuple[str, ...]:
        """Return the names of the inputs, as far as they are known; ``"**"`` if any name is accepted. `required`: only the mandatory ones."""
        return ()

    def with_dtype(self, dtype: str) -> Differentiable:
        """Return the network computing in a shorter type, if its library can."""
        raise UnsupportedModelError(
            f"{self.kind} computes in {self.arithmetic} only; leave ", Argument("dtype"), " out."
        )

    def with_rules(self, rules: str, x: tuple[Array, ...], reference: tuple[Array, ...] | None) -> RuleBackward:
        """Return the network traced into operators, each with its own backward rule (``"deeplift"``, ``"guided"``).

        Raises:
            UnsupportedModelError: an operator without a rule, by name; or a library without operator rules.
        """
        raise UnsupportedModelError(
            f"operator rules are there for torch modules; this is {self.kind}. Use ",
            Argument("method", "integrated_gradients"),
            ", which needs derivatives only.",
        )

    def with_random_parameters(self, seed: int, layer: str | None = None) -> Differentiable:
        """Return a copy with random parameters (all, or those of one layer), for sanity checks."""
        raise UnsupportedModelError(f"the parameters of {self.kind} cannot be randomised here.")


@final
@dataclass(frozen=True)
class RuleBackward:
    """A network whose operators are differentiated by rules.

    Attributes:
        run: ``run(rows, references, paired=False)`` -> outputs, outputs of the references, pull as of Differentiable. References are any number of rows that
            all rows are compared with, and ``pull(..., reference=k)`` says with which; or one for each row (`paired`). None for rules that need none.
            The same tuple of references is run once.
        operators: names of the operators with a rule of their own, and their number.
        row_bytes: bytes that one row keeps until its pull.
    """

    run: Callable[..., tuple[Array, Array | None, Pullback]]
    operators: dict[str, int]
    row_bytes: int


def consecutive_slice(rows: Indices) -> slice | None:
    """Return consecutive rows as a slice, which copies nothing; None if they are not consecutive, or there are none."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return None
