"""Networks: what is explained by derivatives. The smallest interface there is, and what more some libraries can do.

A network answers ``outputs, pull = net(x)``, where ``pull(cotangent)`` is the vector-Jacobian product. Arrays stay in the network's own library, on
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

from whybox.errors import UnsupportedModelError

__all__ = ["Array", "Differentiable", "LayerTap", "PassCounter", "Pull", "RuleBackward", "neighbours"]

Array = Any  # an array of the network's own library, on its own device
Pull = Callable[..., tuple[Array | None, ...]]
Indices = npt.NDArray[np.intp]


@final
@dataclass
class PassCounter:
    """Rows that went through the network: forwards and backwards (to the input, or to a layer)."""

    forward: int = 0
    backward: int = 0


@final
@dataclass(frozen=True)
class LayerTap:
    """Outputs, what a layer put out, and ``pull(cotangent, last=)``, which goes back to that layer and no further."""

    outputs: Array
    activation: Array
    pull: Callable[..., Array]


@dataclass(frozen=True, eq=False, kw_only=True)
class Differentiable(ABC):
    """A network as its library runs it. Concrete ones are frozen and final.

    Attributes:
        kind: the network in words. library: whose it is.
        output_names: labels of its outputs, () when unknown.
        channels: where its images have their channels, ``"first"`` or ``"last"``.
        max_batch_size: as many rows as are worth sending together.
        arithmetic: what it computes in, in words.
        passes: counts rows, see PassCounter; shared by what is made of this network.
        remarks: what was noticed while it was asked and belongs into the evidence; shared in the same way.
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
        """The same network before it was asked anything: passes uncounted, nothing noticed."""
        return replace(self, passes=PassCounter(), remarks=[])

    @property
    def bad_index_is_fatal(self) -> bool:
        """Whether rows larger than usual may break the device for good: a position beyond a table (of embeddings) ends all work on an accelerator."""
        return False

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the network's numbers, as far as it can be seen."""

    @abstractmethod
    def array(self, x: npt.NDArray[Any]) -> Array:
        """Bring numbers to the network's device, in the type it computes in; whole numbers stay whole."""

    @abstractmethod
    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Bring an array back, as numpy float64 (whole numbers stay whole)."""

    @abstractmethod
    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of an array, repeated as asked."""

    @abstractmethod
    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """``total[rows[i]] += more[i]`` for each i; rows may repeat. May change `total`; use what is returned."""

    @abstractmethod
    def evaluate(self, x: tuple[Array, ...]) -> Array:
        """Outputs alone, (rows, ...); nothing is kept for derivatives."""

    @abstractmethod
    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pull]:
        """Outputs, and ``pull(cotangent, last=False)`` -> one gradient an input (None for whole numbers).

        ``last=True`` says that no more pulls follow, so that memory can be given back on the way.
        """

    @abstractmethod
    def measure_backward(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes that a derivative at these rows keeps, measured by one forward."""

    def with_input_types(self, given: Sequence[str], few: tuple[npt.NDArray[Any], ...]) -> Iterator[Differentiable]:
        """The same network taking its floats in one type after the other, the likeliest first, until one is taken.

        Args:
            given: the types in which its inputs of floats came, ``"float32"``, ``"bfloat16"``: that comes first where the network's own is shorter.
            few: rows of all its inputs.
        """
        yield self

    def check_unreached(self, x: tuple[Array, ...], cut: Sequence[int], ways: str) -> None:
        """Inputs that no derivative reaches (`cut`, by place) must be such that the outputs do not depend on them. `ways`: how this library cuts derivatives off.

        Raises:
            UnsupportedModelError: they do depend on them: derivatives would all be 0.
        """
        if not cut:
            return
        plain = self.numpy(self.evaluate(x))
        for scale, shift in ((0, 0), (2, 1)):
            said = self.evaluate(tuple(scale * a + shift if i in cut else a for i, a in enumerate(x)))
            if not np.array_equal(self.numpy(said), plain, equal_nan=True):
                which = "the input" if len(x) == 1 else f"input {cut[0]}"
                raise UnsupportedModelError(
                    f"no derivative reaches {which}, yet the answer depends on it: the network cuts derivatives off ({ways}, whole numbers on the way), and every one would "
                    "be 0. Take that out of it, or use a method that asks without derivatives: 'occlusion', 'shapley'."
                )

    def gradient_breaks(self, x: tuple[Array, ...]) -> tuple[str, ...]:
        """What these rows meet on their way that derivatives do not follow, by name: cuts, rounding, a backward of the user's own; as far as the library shows it."""
        return ()

    def measure_forward(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes that live at a time while these rows are answered without derivatives; here what derivatives keep stands for them."""
        return self.measure_backward(x)

    @abstractmethod
    def with_head(self, head: Callable[[Any], Array]) -> Differentiable:
        """The same network followed by a function of its outputs, which is differentiated with it."""

    def with_output(self, output: Any) -> Differentiable:
        """The same network, of whose outputs this one is explained: a key, a position, the name of an attribute."""
        raise UnsupportedModelError(f"{self.kind} answers with one thing; leave output out.")

    def session(self) -> AbstractContextManager[None]:
        """Within it the network may be asked; modes and states are as before afterwards, also after an exception.

        Raises:
            UnsupportedModelError: the network is not in the state to be explained (train mode).
        """
        return nullcontext()

    def is_array(self, x: Any) -> bool:
        """Whether this is an array of the network's library."""
        return False

    # What more a library may be able to do.

    def layers(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """Names of layers in the order they answer, with the shapes of what they put out for these rows."""
        raise UnsupportedModelError(
            f"layers cannot be reached in {self.kind}; use a method that needs the inputs only."
        )

    def blocks(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """As layers, and also what is made of several layers, where the library has such."""
        return self.layers(x)

    def layer_shapes(self, x: tuple[Array, ...]) -> list[tuple[str, tuple[int, ...]]]:
        """As blocks, as far as the network gets: rows of a size that it was not made for may end in an error behind some layer. Never raises."""
        try:
            return self.blocks(x)
        except Exception:  # whatever a network says to rows of another size
            return []

    def sequence_inputs(self, x: tuple[Array, ...]) -> Iterator[tuple[str, tuple[str, ...], Array]]:
        """Layers that know which axis is time and which holds features: name, the axes of what each is given ("row", "time", "feature" in some order), and that."""
        return iter(())

    def tap(self, x: tuple[Array, ...], layer: str) -> LayerTap:
        """Run, and keep what one layer put out.

        Raises:
            UnsupportedModelError: layers cannot be reached in this kind of network, or this one answers more than once or not with an array.
            OptionError: no such layer.
        """
        raise UnsupportedModelError(
            f"layers cannot be reached in {self.kind}; use a method that needs the inputs only."
        )

    def from_layer(self, layer: str, x: tuple[Array, ...]) -> tuple[Differentiable, Array]:
        """The network from a layer on (say the embedding of tokens), and what the layer puts out for these rows.

        The inner network takes the layer's output first, then all inputs of the whole (which still run what does not go through the layer).
        """
        raise UnsupportedModelError(f"layers cannot be reached in {self.kind}; explain its inputs.")

    def with_input_names(self, names: tuple[str, ...]) -> Differentiable:
        """The same network whose inputs go in by name, ``net(name=array, ...)``, in this order."""
        raise UnsupportedModelError(f"{self.kind} takes its inputs by place: pass a tuple, not a dict.")

    def input_names(self, *, required: bool = False) -> tuple[str, ...]:
        """Names of the inputs, as far as they can be read off; ``"**"`` where any name goes. `required`: those that must be given."""
        return ()

    def with_dtype(self, dtype: str) -> Differentiable:
        """The same network computing in a shorter type where its library knows how."""
        raise UnsupportedModelError(f"{self.kind} computes in {self.arithmetic} only; leave dtype out.")

    def rule_backward(self, rules: str, x: tuple[Array, ...], reference: tuple[Array, ...] | None) -> RuleBackward:
        """The network taken apart into operators, each with a rule of its own for going back (``"deeplift"``, ``"guided"``).

        Raises:
            UnsupportedModelError: an operator without a rule, by name; or a library without operator rules.
        """
        raise UnsupportedModelError(
            f"operator rules are there for torch modules; this is {self.kind}. Use method='integrated_gradients', which needs derivatives only."
        )

    def randomised(self, seed: int, layer: str | None = None) -> Differentiable:
        """A copy whose parameters are drawn anew (all, or those of one layer): what sanity checks compare with."""
        raise UnsupportedModelError(f"the parameters of {self.kind} cannot be drawn anew here.")


@final
@dataclass(frozen=True)
class RuleBackward:
    """A network whose operators go back by rules.

    Attributes:
        run: ``run(rows, references, paired=False)`` -> outputs, outputs of the references, pull as of Differentiable. References are any number of rows that
            all rows are compared with, and ``pull(..., of=k)`` says with which; or one for each row (`paired`). None for rules that need none.
            The same tuple of references is run once.
        operators: names of the operators met that have a rule of their own, with how often.
        row_saved: bytes that one row keeps until it was pulled.
    """

    run: Callable[..., tuple[Array, Array | None, Pull]]
    operators: dict[str, int]
    row_bytes: int


def neighbours(rows: Indices) -> slice | None:
    """Rows that follow one another as the slice of them, which copies nothing; None: they do not, or there are none."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return None
