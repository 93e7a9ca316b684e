"""Inputs of a network: arrays of any library, tables, lists of pictures; and names of their axes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import as_table
from whybox.errors import Argument, DtypeError, EmptyDataError, InputError, NonFiniteError, OptionError
from whybox.models.differentiable import Differentiable

__all__ = ["Input", "pass_one_numbers", "resolve_inputs"]

MAX_COLOUR_CHANNELS: Final = 4  # of pictures: grey, red, green and blue, transparency
_POSITION_NAMES: Final = {2: ("y", "x"), 3: ("z", "y", "x")}


@final
@dataclass(frozen=True)
class Input:
    """One input of a network.

    Attributes:
        x: (rows, ...), numpy, floats in 32 or 64 bits or whole numbers.
        dims: names of its axes. channel_axis: the channel axis, None for none.
        feature_names: labels of the last axis, if that holds features.
        name: of the input, if there are several.
        is_held: True if it is never changed and gets no map (the attention mask).
        given_dtype: type of its floats as the user gave them, ``"float32"``, ``"bfloat16"``; numpy's default float64 counts as float32. "" if unknown.
        is_one_number: True if the network takes it as (rows,), one number a row (a length, an id); `x` is (rows, 1) then.
    """

    x: npt.NDArray[Any]
    dims: tuple[str, ...]
    channel_axis: int | None
    feature_names: tuple[str, ...] | None
    name: str
    is_held: bool = False
    given_dtype: str = ""
    is_one_number: bool = False

    @property
    def without_gradient(self) -> bool:
        """True if it has no derivative: it holds whole numbers (token ids, categories), or is held."""
        return self.is_held or self.x.dtype.kind in "iub"

    @property
    def position_axes(self) -> tuple[int, ...]:
        """Axes of positions: neither rows nor channels."""
        return tuple(i for i in range(1, self.x.ndim) if i != self.channel_axis)

    @property
    def position_shape(self) -> tuple[int, ...]:
        """Lengths of the position axes."""
        return tuple(self.x.shape[i] for i in self.position_axes)

    def with_name(self, name: str) -> Input:
        """The same input under another name, which is that of its feature too if it holds one number a row."""
        return replace(self, name=name, feature_names=(name,) if self.is_one_number else self.feature_names)

    def as_column(self, a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What a user gives for this input, (rows,) if it holds one number a row, in the shape of `x`."""
        return a[:, None] if self.is_one_number and a.shape == self.x.shape[:1] else a

    def with_channel(self, a: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(m, *position_shape) -> the same with a channel axis of length 1 if the input has channels."""
        return a if self.channel_axis is None else np.expand_dims(a, self.channel_axis)


def resolve_inputs(net: Differentiable, inputs: Any, channel_axis: Any = "auto") -> tuple[Input, ...]:
    """Read the inputs.

    Args:
        net: its library decides where channels are.
        inputs: an array, tensor, frame or list of equal arrays; a tuple of these for a network of several inputs. Of several inputs some, or all, may
            have the shape (rows,); each becomes a table of one feature, see :func:`pass_one_numbers`.
        channel_axis: ``"auto"``: inputs with four axes are pictures and with five volumes, channels as in the library (of functions of arrays: the axis 1 or -1
            that has at most four); others have no channels.
            None: no channels. A number: that axis, rows being axis 0.

    Raises:
        InputError: see whybox.errors; the message says what to do.
    """
    several = isinstance(inputs, tuple)
    if several and inputs and all(isinstance(i, Input) for i in inputs):
        return tuple(inputs)
    given = inputs if several else (inputs,)
    if not given:
        raise EmptyDataError("there are no inputs.")
    resolved = tuple(
        _read_input(net, a, channel_axis, f"input {i}" if several else "input", one_number=_is_one_number(a, given))
        for i, a in enumerate(given)
    )
    lengths = {len(s.x) for s in resolved}
    if len(lengths) > 1:
        raise InputError(f"the inputs have different numbers of rows: {', '.join(str(len(s.x)) for s in resolved)}.")
    return resolved


def _is_one_number(one: Any, given: tuple[Any, ...]) -> bool:
    """True if one of several inputs has the shape (rows,): no other axis, and as many numbers as an input of more axes has rows; or as all the others, if none has more."""
    shapes = [tuple(getattr(a, "shape", ())) for a in given]
    shape = tuple(getattr(one, "shape", ()))
    alike = len(given) > 1 and all(s == shape for s in shapes)
    return len(shape) == 1 and (alike or any(len(s) > 1 and s[0] == shape[0] for s in shapes))


def pass_one_numbers(net: Differentiable, inputs: tuple[Input, ...]) -> Differentiable:
    """Return the network that takes inputs of one number a row as (rows, 1), as `inputs` hold them, and is given them as (rows,)."""
    positions = tuple(i for i, input_ in enumerate(inputs) if input_.is_one_number)
    return net.with_one_numbers(positions) if positions else net


def _read_input(net: Differentiable, given: Any, channel_axis: Any, name: str, *, one_number: bool) -> Input:
    names: tuple[str, ...] | None = None
    typed = str(getattr(given, "dtype", "float32")).removeprefix("torch.")
    if net.is_own_array(given):
        _refuse_complex(name, typed)
        x = net.numpy(given)
        x = x.astype(np.float32) if x.dtype == np.float64 and "64" not in str(getattr(given, "dtype", "")) else x
    elif any(
        hasattr(given, name) for name in ("columns", "column_names", "read_next_batch")
    ):  # data frames, and readers of them
        table = as_table(given)
        x, names = np.asarray(table.matrix(), dtype=np.float64), tuple(table.names)
    else:
        x = _as_array(given, name)
    if not net.is_own_array(given) and typed not in ("float32", "float16"):
        typed = "float32"
    if one_number:
        x, names, channel_axis = x[:, None], (name,), None
    if x.ndim < 2:
        raise InputError(
            f"{name} has the shape {x.shape}; the first axis must be the rows: pass x[None] for a single one."
        )
    if not x.size:
        raise EmptyDataError(f"{name} has the shape {x.shape}: there is nothing to explain.")
    if x.dtype.kind == "f":
        bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
        if bad.any():
            raise NonFiniteError(
                f"{name}: {{row}} contains NaN or infinity.",
                row=int(np.argmax(bad)),
            )
    channel = _resolve_channel_axis(net, x, channel_axis)
    typed = typed if x.dtype.kind == "f" else ""
    return Input(x, _dim_names(x.ndim, channel), channel, names, name, given_dtype=typed, is_one_number=one_number)


def _refuse_complex(name: str, dtype: str) -> None:
    if "complex" in dtype:
        raise DtypeError(
            f"{name} holds complex numbers ({dtype}), which have no maps; pass the real and the imaginary parts as two channels, and combine them in forward."
        )


def _as_array(given: Any, name: str) -> npt.NDArray[Any]:
    try:
        x = np.asarray(given if not isinstance(given, list) else np.stack([np.asarray(a) for a in given]))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{name}: the rows do not form one array ({error}); they must have one shape: resize pictures, pad sequences. "
            "A list is rows; several inputs of one network are a tuple."
        ) from None
    _refuse_complex(name, str(x.dtype))
    if x.dtype.kind not in "fiub":
        raise DtypeError(f"{name} holds {x.dtype}, not numbers.")
    if x.dtype.kind == "f" and x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float32)
    return x


def _resolve_channel_axis(net: Differentiable, x: npt.NDArray[Any], axis: Any) -> int | None:
    if axis == "auto":
        if x.ndim not in (4, 5):
            return None
        return _channels_by_size(x) if net.channels == "by size" else 1 if net.channels == "first" else x.ndim - 1
    if axis is None:
        return None
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)) or not -x.ndim < axis < x.ndim or axis == 0:
        raise OptionError(
            Argument("channel_axis", axis), f": the input has {x.ndim} axes, and the first holds the rows."
        )
    return int(axis) % x.ndim


def _channels_by_size(x: npt.NDArray[Any]) -> int:
    """The axis of the channels of pictures or volumes: axis 1 or the last one, whichever has at most four.

    Raises:
        OptionError: both have, or neither.
    """
    found = [axis for axis in (1, x.ndim - 1) if x.shape[axis] <= MAX_COLOUR_CHANNELS]
    if len(found) != 1:
        raise OptionError(
            f"the input has the shape {x.shape}, and a function does not say which axis holds the channels: give ",
            Argument("channel_axis", 1),
            ", ",
            Argument("channel_axis", -1),
            ", or ",
            Argument("channel_axis", None),
            " for none.",
        )
    return found[0]


def _dim_names(ndim: int, channel: int | None) -> tuple[str, ...]:
    rest = [i for i in range(1, ndim) if i != channel]
    if len(rest) in _POSITION_NAMES and channel is not None:
        words: tuple[str, ...] = _POSITION_NAMES[len(rest)]
    elif len(rest) == 1:
        words = ("feature",) if channel is None else ("time",)
    elif len(rest) == 2:
        words = ("time", "feature")
    else:
        words = tuple(f"axis_{i}" for i in rest)
    named = dict(zip(rest, words, strict=True))
    return ("row", *("channel" if i == channel else named[i] for i in range(1, ndim)))
