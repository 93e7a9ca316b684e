"""Plain functions of arrays, such as ``classifier_fn(images) -> probabilities``: what networks have, less derivatives and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.common import class_names, import_path
from whybox.adapters.network_outputs import parameter_names
from whybox.core.library_calls import suppress_warnings
from whybox.errors import DtypeError, InputError, UnsupportedModelError
from whybox.models.base import digest
from whybox.models.bound_method import bound_method, gives_labels
from whybox.models.differentiable import Array, Differentiable, Indices, Pullback

__all__ = ["FunctionNetwork", "network"]

CALL_BYTES: Final = 2**24  # of inputs that a function gets in one call: what it keeps for a row cannot be measured
MAX_CALL_ROWS: Final = 1024
BYTES_PER_INPUT_BYTE: Final = (
    4  # in use while a row is masked and evaluated: the row, its mask, what is absent, their sum
)
RELATIVE_ROUNDING: Final = 1e-5  # of the largest output: what single precision loses


def network(obj: Callable[..., Any], output: Any = None) -> FunctionNetwork:
    """Wrap a function of arrays whose first axis is the rows; it is called with NumPy arrays.

    Args:
        obj: a function, a ``functools.partial`` of one, a method of a fitted estimator, a ``whybox.RemoteModel``. output: refused, for a function gives one array.

    Raises:
        UnsupportedModelError: a predict method that gives labels.
    """
    method = bound_method(obj)
    if method is not None and method.name == "predict" and gives_labels(method.estimator):
        raise UnsupportedModelError(
            f"{method.call_name} gives class labels, which have no sizes; pass its predict_proba."
        )
    labels = None if method is None or method.name == "predict" else getattr(method.estimator, "classes_", None)
    names = () if labels is None or isinstance(labels, list) else class_names(np.asarray(labels))
    found = FunctionNetwork(
        kind=f"{_function_name(obj)} ({'function' if method is None else import_path(method.estimator)})",
        library="numpy" if method is None else type(method.estimator).__module__.partition(".")[0],
        output_names=names,
        channels="by size",
        max_batch_size=MAX_CALL_ROWS,
        arithmetic="the function's own arithmetic",
        function=obj,
        batch_limit=getattr(obj, "batch_size", None),
    )
    if output is not None:
        found.select_output(output)  # refuses it
    return found


def _function_name(obj: Any) -> str:
    """How a person calls it."""
    method = bound_method(obj)
    if method is not None:
        return method.call_name
    while isinstance(obj, partial):
        obj = obj.func
    return str(getattr(obj, "__name__", type(obj).__name__))


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionNetwork(Differentiable):
    """A function as a network without derivatives and layers.

    Attributes:
        function: it. batch_limit: most rows that it takes in one call, None: any number; see whybox.RemoteModel.
        head: a function of its outputs, None: none. input_names: of its inputs if they are passed by name.
        one_numbers: positions of inputs that are (rows, 1) here and (rows,) for the function.
        row_shapes: the shape of one row's outputs, once it is known.
    """

    function: Callable[..., Any]
    batch_limit: int | None = None
    head: Callable[[Any], Any] | None = None
    input_names: tuple[str, ...] = ()
    one_numbers: tuple[int, ...] = ()
    row_shapes: list[tuple[int, ...]] = field(default_factory=list, repr=False)

    @property
    def noun(self) -> str:
        """See Differentiable."""
        return "function"

    @property
    def input_advice(self) -> str:
        """See Differentiable."""
        return "A function is called with NumPy arrays, rows first, and must take any number of rows; convert them inside it if it needs another kind."

    @property
    def has_derivatives(self) -> bool:
        """See Differentiable."""
        return False

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the function's name: what it computes with is out of reach."""
        return digest(self.kind)

    def array(self, x: npt.NDArray[Any]) -> Array:
        """The numbers as they are."""
        return x

    def numpy(self, a: Array) -> npt.NDArray[Any]:
        """Floats as float64."""
        numbers: npt.NDArray[Any] = np.asarray(a)
        return numbers.astype(np.float64) if numbers.dtype.kind == "f" else numbers

    def take(self, a: Array, rows: Indices) -> Array:
        """Rows of an array."""
        return a[rows]

    def choose(self, mask: Array, a: Array, b: Array) -> Array:
        """See Differentiable; bits are chosen as whole numbers, which is seven times as fast as products and their sum."""
        whole: Any = {4: np.int32, 8: np.int64}.get(a.dtype.itemsize)
        if whole is None or a.dtype != b.dtype:
            return super().choose(mask, a, b)
        bits = (mask != 0).astype(whole)
        if mask.shape[-1] == 1 < a.shape[-1]:  # one loop over all axes in place of many short ones
            bits = np.repeat(bits, a.shape[-1], axis=-1)
        np.negative(bits, out=bits)
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        differs = a.view(whole) ^ b.view(whole)
        room = bits if bits.shape[1:] == a.shape[1:] else None  # a new array costs as much as the operation
        chosen = np.bitwise_and(bits, differs, out=room)
        chosen ^= b.view(whole)
        return chosen.view(a.dtype)

    def numbers_at(self, a: Array, rows: Indices, numbers: Indices) -> npt.NDArray[Any]:
        """See Differentiable; nothing else is copied."""
        return self.numpy(a.reshape(len(a), -1)[rows[:, None], numbers])

    def add_at(self, total: Array, rows: Indices, more: Array) -> Array:
        """Sum into rows."""
        np.add.at(total, rows, more)
        return total

    def with_input_dtypes(self, given: Sequence[str], few: tuple[npt.NDArray[Any], ...]) -> Iterator[FunctionNetwork]:
        """Floats stay as they are given; how many rows go into one call follows from their size."""
        size = sum(x[:1].nbytes for x in few)
        rows = min(max(1, CALL_BYTES // max(size, 1)), MAX_CALL_ROWS, self.batch_limit or MAX_CALL_ROWS)
        yield replace(self, max_batch_size=int(rows))

    def forward(self, x: tuple[Array, ...]) -> Array:
        """Outputs, (rows,) or (rows, outputs).

        Raises:
            InputError: they have another shape, or another one than before. DtypeError: they are no numbers.
        """
        rows = len(x[0])
        self.passes.forward += rows
        given = [a[:, 0] if i in self.one_numbers else a for i, a in enumerate(x)]
        arrays = [np.array(a, order="C") for a in given]  # a copy, so that the function may write into it
        with suppress_warnings():
            returned = (
                self.function(**dict(zip(self.input_names, arrays, strict=True)))
                if self.input_names
                else self.function(*arrays)
            )
        outputs = _as_array(returned, rows)
        if not self.row_shapes:
            self.row_shapes.append(outputs.shape[1:])
        if outputs.shape[1:] != self.row_shapes[0]:
            raise InputError(
                f"the function returned outputs of shape {outputs.shape} for {rows} rows, and of shape (rows, {', '.join(map(str, self.row_shapes[0]))}) before; "
                "it must return as many numbers for each row, whichever rows it is called with."
            )
        return outputs if self.head is None else self.head(outputs)

    def __call__(self, x: tuple[Array, ...]) -> tuple[Array, Pullback]:
        """Refused."""
        raise self._no_derivatives()

    def forward_and_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Refused."""
        raise self._no_derivatives()

    def _no_derivatives(self) -> UnsupportedModelError:
        return UnsupportedModelError(f"{self.kind} has no derivatives; use a method that needs outputs only.")

    def forward_and_live_memory(self, x: tuple[Array, ...]) -> tuple[Array, int]:
        """Outputs, and the bytes of masked rows: what the function itself takes cannot be measured.

        Raises:
            UnsupportedModelError: the same rows have other outputs when they are evaluated again.
        """
        outputs, again = self.forward(x), self.forward(x)
        one, two = np.asarray(outputs), np.asarray(again)
        size = float(np.abs(np.where(np.isfinite(one), one, 0)).max(initial=0.0))
        with np.errstate(invalid="ignore"):
            same = (np.abs(one - two) <= RELATIVE_ROUNDING * size) | (one == two) | (np.isnan(one) & np.isnan(two))
        if not same.all():
            at = np.unravel_index(int(np.argmin(same)), same.shape)
            raise UnsupportedModelError(
                f"the function's outputs change when the same rows are evaluated again ({one[at]:.6g}, then {two[at]:.6g}), so there is no map of a row. It draws at "
                "random or keeps something between calls: fix the seed inside the function, or switch that off."
            )
        return outputs, BYTES_PER_INPUT_BYTE * sum(a.nbytes for a in x)

    def with_head(self, head: Callable[[Any], Array]) -> FunctionNetwork:
        """The function followed by a function of its outputs."""
        before = self.head
        return replace(self, head=head if before is None else lambda outputs: head(before(outputs)))

    def with_input_names(self, names: tuple[str, ...]) -> FunctionNetwork:
        """The function with inputs passed by name."""
        return replace(self, input_names=names)

    def with_one_numbers(self, positions: tuple[int, ...]) -> FunctionNetwork:
        """See Differentiable."""
        return replace(self, one_numbers=positions)

    def with_random_parameters(self, seed: int, layer: str | None = None) -> FunctionNetwork:
        """Refused."""
        raise UnsupportedModelError(
            f"{self.kind} has no parameters in reach, so whether the map depends on them cannot be tested; the network itself can."
        )

    def accepted_inputs(self, *, required: bool = False) -> tuple[str, ...]:
        """Names of its parameters."""
        return parameter_names(self.function, required=required)


def _as_array(returned: Any, rows: int) -> npt.NDArray[Any]:
    """What the function returned, as numbers.

    Raises:
        DtypeError: these are none. InputError: not one or several for each row.
    """
    try:
        out = np.asarray(returned)
    except (TypeError, ValueError, RuntimeError) as error:  # lists of unequal rows; tensors that need derivatives
        raise DtypeError(
            f"the function returned a {type(returned).__name__} that is no array of numbers ({error}); return a NumPy array."
        ) from None
    if out.dtype.kind not in "fiubc":
        raise DtypeError(
            f"the function returned {type(returned).__name__} of {out.dtype}, not numbers; return one number a row, or one for each class (predict_proba)."
        )
    if out.ndim not in (1, 2) or len(out) != rows:
        raise InputError(
            f"the function returned an array of shape {out.shape} for {rows} row{'s' * (rows != 1)}; it must return one number a row, (rows,), or (rows, outputs), "
            "also for a single row."
        )
    return out if out.dtype.kind in "fc" else out.astype(np.float64)
