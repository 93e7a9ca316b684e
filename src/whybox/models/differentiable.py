"""Networks, which are explained by derivatives: a small interface, and what some libraries can do beyond it.

A network is called as ``outputs, pull = net(x)``, where ``pull(cotangent)`` is the vector-Jacobian product. Arrays stay in the network's own library, on
its device; methods use only ``+ - *``, broadcasting, ``reshape`` and the functions below, so they are the same for every library.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, final

import numpy as np
import numpy.typing as npt

from whybox.errors import UnsupportedModelError

__all__ = ["Array", "Differentiable", "LayerTap", "PassCounter", "Pull", "RuleBackward", "neighbours"]

Array = Any  # an array of the network's own library, on its own device
Pull = Callable[..., tuple[Array | None, ...]]
Indices = npt.NDArray[np.intp]


@final
@dataclass
class PassCounter:
    """Rows that passed through the network: forward, and backward (to the input, or to a layer)."""

    forward: int = 0
    backward: int = 0


@final
@dataclass(frozen=True)
class LayerTap:
    """Outputs, a layer's output, and ``pull(cotangent, last=)``, the vector-Jacobian product that ends at that layer."""

    outputs: Array
    activation: Array
    pull: Callable[..., Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class Differentiable(ABC):
    """A network as its library runs it. Concrete ones are frozen and final.

    Attributes:
        kind: the network in words. library: its library.
        output_names: labels of its outputs, () if unknown.
        channels: the channel axis of pictures, ``"first"`` or ``"last"``.
        max_batch_size: number of rows in a batch beyond which larger batches are not faster.
        arithmetic: the type it computes in, in words.
        passes: counts rows, see PassCounter; shared by networks that are made of this one.
        remarks: notes for the evidence; shared in the same way.
    """

    kind: str
    library: str
    output_names: tuple[str, ...] = ()
    channels: Literal["first", "last"] = "first"
    max_batch_size: int = 32
    arithmetic: str = "float32"
    passes: PassCounter = field(default_factory=PassCounter, repr=False)
    remarks: list[str] = field(default_factory=list, repr=False)

    def fresh(self) -> Self:
        """The same network with no passes counted and no remarks."""
        return replace(self, passes=PassCounter(), remarks=[])

    @property
    def bad_index_is_fatal(self) -> bool:
        """True if an index outside of a table (of embeddings) ends all work on the device, as on accelerators."""
        return False

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the network's numbers, as far as it can be read."""

    @abstractmethod
    def array(self, x: npt.NDArray[Any]) -> Array:
        """Bring numbers to the network's device, in the type that it computes in; whole numbers stay whole."""

    @abstractmethod
    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Bring an array back as numpy float64 (whole numbers stay whole)."""

    @abstractmethod
    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of an array; rows may repeat."""

    @abstractmethod
    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """``total[rows[i]] += more[i]`` for each i; rows may repeat. May change `total`; use what is returned."""

    @abstractmethod
    def evaluate(self, x: tuple[Array, ...]) -> Array:
        """Outputs, (rows, ...); nothing is kept for derivatives."""

    @abstractmethod
    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pull]:
        """Outputs, and ``pull(cotangent, last=False)`` -> one gradient an input (None for whole numbers).

        ``last=True`` says that no more pulls follow, so that memory can be freed.
        """

    @abstractmethod
    def measure_backward(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes that derivatives at these rows keep, measured by one forward."""

    def with_input_types(self, given: Sequence[str], sample: tuple[npt.NDArray[Any], ...]) -> Iterator[Differentiable]:
        """The same network with one type of input floats after the other, the likeliest first; the caller stops at one that works.

        Args:
            given: types in which the user gave the inputs, ``"float32"``, ``"bfloat16"``: these come first if the network's own type is shorter.
            sample: some rows of all inputs.
        """
        yield self

    def check_unreached(self, x: tuple[Array, ...], cut: Sequence[int], ways: str) -> None:
        """Check that outputs do not depend on inputs that no derivative reaches (`cut`, by position). `ways`: how this library cuts derivatives off.

        Raises:
            UnsupportedModelError: they do: derivatives would all be 0.
        """
        if not cut:
            return
        plain = self.numpy(self.evaluate(x))
        for scale, shift in ((0, 0), (2, 1)):
            changed = self.evaluate(tuple(scale * a + shift if i in cut else a for i, a in enumerate(x)))
            if not np.array_equal(self.numpy(changed), plain, equal_nan=True):
                which = "the input" if len(x) == 1 else f"input {cut[0]}"
                raise UnsupportedModelError(
                    f"no derivative reaches {which}, yet the output depends on it: the network cuts derivatives off ({ways}, whole numbers in between), and all of them would "
                    "be 0. Take that out of the network, or use a method without derivatives: 'occlusion', 'shapley'."
                )

    def gradient_breaks(self, x: tuple[Array, ...]) -> tuple[str, ...]:
        """Operations that derivatives do not follow, by name: cuts, rounding, a backward of the user's own; as far as the library shows them."""
        return ()

    def measure_forward(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the most bytes in use while these rows are evaluated without derivatives; by default those that derivatives keep."""
        return self.measure_backward(x)

    @abstractmethod
    def with_head(self, head: Callable[[Any], Array]) -> Differentiable:
        """The same network followed by a function of its outputs, which is differentiated with it."""

    def with_output(self, output: Any) -> Differentiable:
        """The same network with one of its several outputs: a key, a position, the name of an attribute."""
        raise UnsupportedModelError(f"{self.kind} has a single output; leave output out.")

    def session(self) -> AbstractContextManager[None]:
        """Within it the network may be evaluated; modes and states are restored afterwards, also after an exception.

        Raises:
            UnsupportedModelError: the network is in train mode.
        """
        return nullcontext()

    def is_array(self, x: Any) -> bool:
        """True for an array of the network's library."""
        return False

    # What some libraries can do beyond this.

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Names of layers in the order they run, with the shapes of their outputs for these rows."""
        raise UnsupportedModelError(
            f"layers cannot be reached in {self.kind}; use a method that needs the inputs only."
        )

    def blocks(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """As layers, with blocks of several layers, if the library has such."""
        return self.layers(x)

    def layer_shapes(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """As blocks, as far as the network runs: rows of another size than it was made for may cause an error after some layer. Never raises."""
        try:
            return self.blocks(x)
        except Exception:  # a network may fail in any way on rows of another size
            return []

    def sequence_inputs(self, x: tuple[Array, ...]) -> Iterator[tuple[str, tuple[str, ...], Array]]:
        """Layers that tell time from features: name, axes of the input ("row", "time", "feature" in some order), and that input."""
        return iter(())

    def tap(self, x: tuple[Array, ...], layer: str) -> LayerTap:
        """Evaluate, and keep the output of one layer.

        Raises:
            UnsupportedModelError: layers cannot be reached in this kind of network, or this one runs more than once, or its output is not one array.
            OptionError: there is no such layer.
        """
        raise UnsupportedModelError(
            f"layers cannot be reached in {self.kind}; use a method that needs the inputs only."
        )

    def from_layer(self, layer: str, x: tuple[Array, ...]) -> tuple[Differentiable, Array]:
        """The network from a layer on (such as the embedding of tokens), and the layer's output for these rows.

        The inner network takes the layer's output first, then all inputs of the whole network (for what does not pass through the layer).
        """
        raise UnsupportedModelError(f"layers cannot be reached in {self.kind}; explain its inputs.")

    def with_input_names(self, names: tuple[str, ...]) -> Differentiable:
        """The same network with inputs passed by name, ``net(name=array, ...)``, in this order."""
        raise UnsupportedModelError(f"{self.kind} takes its inputs by position: pass a tuple, not a dict.")

    def input_names(self, *, required: bool = False) -> tuple[str, ...]:
        """Names of the inputs, as far as they can be read; ``"**"`` if any name is taken. `required`: those that must be given."""
        return ()

    def with_dtype(self, dtype: str) -> Differentiable:
        """The same network computing in a shorter type, if its library can."""
        raise UnsupportedModelError(f"{self.kind} computes in {self.arithmetic} only; leave dtype out.")

    def rule_backward(self, rules: str, x: tuple[Array, ...], reference: tuple[Array, ...] | None) -> RuleBackward:
        """The network as a graph of operators, each with its own backward rule (``"deeplift"``, ``"guided"``).

        Raises:
            UnsupportedModelError: an operator has no rule, by name; or the library has no operator rules.
        """
        raise UnsupportedModelError(
            f"operator rules exist for torch modules only; this is {self.kind}. Use method='integrated_gradients', which needs derivatives only."
        )

    def randomised(self, seed: int, layer: str | None = None) -> Differentiable:
        """A copy with randomised parameters (all, or those of one layer), for sanity checks."""
        raise UnsupportedModelError(f"the parameters of {self.kind} cannot be randomised here.")


@final
@dataclass(frozen=True)
class RuleBackward:
    """A network whose operators have backward rules.

    Attributes:
        run: ``run(rows, references, paired=False)`` -> outputs, outputs of the references, pull as of Differentiable. References are any number of rows that
            all rows are compared with, and ``pull(..., reference=k)`` says which; or one for each row (`paired`). None for rules that need none.
            The same tuple of references is run once.
        operators: names of the operators that have a rule of their own, with their counts.
        row_bytes: bytes that one row keeps until its pull.
    """

    run: Callable[..., tuple[Array, Array | None, Pull]]
    operators: dict[str, int]
    row_bytes: int


def neighbours(rows: Indices) -> slice | None:
    """Consecutive rows as a slice, which copies nothing; None if they are not consecutive, or there are none."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return None
