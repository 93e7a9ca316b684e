"""How a layer's output is read: names of its axes, tokens laid out on a grid, the user's own arrangement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, OptionError
from whybox.methods.saliency.problem import SaliencyProblem
from whybox.models.differentiable import Array

__all__ = [
    "CHANNEL_AXIS",
    "TOKEN_AXIS",
    "KnownAxes",
    "LayerAxes",
    "arranged_axis_names",
    "check_layer",
    "check_reshape",
    "checked_axes",
    "checked_grid",
]

CHANNEL_AXIS: Final = "channel"
TOKEN_AXIS: Final = "token"  # noqa: S105  # an axis


@final
@dataclass(frozen=True)
class KnownAxes:
    """Names of axes, and the number of tokens at the end without a position, as they were found before."""

    axis_names: tuple[str, ...]
    spare_tokens: int


@final
@dataclass(frozen=True)
class LayerAxes:
    """How a layer's output is read.

    Attributes:
        layer_name: its name. axis_names: of its axes after the rows, once arranged: ``"channel"`` and those of the input's positions.
        how_known: how they are known, in words. position_order: of the position axes, as the input has them.
        token_grid: on which tokens are laid out; None: the layer has no token axis. skipped_tokens, spare_tokens: number of tokens without a position at the beginning and the end.
        reshape: the user's own arrangement, which is applied first. notes: for the evidence.
    """

    layer_name: str
    axis_names: tuple[str, ...]
    how_known: str
    position_order: tuple[int, ...]
    token_grid: tuple[int, ...] | None = None
    skipped_tokens: int = 0
    spare_tokens: int = 0
    reshape: Callable[[Array], Array] | None = None
    notes: tuple[str, ...] = ()

    @property
    def channel_axis(self) -> int:
        """The channel axis, once arranged."""
        return arranged_axis_names(self.axis_names, self.token_grid).index(CHANNEL_AXIS) + 1

    @property
    def resolved_options(self) -> dict[str, Any]:
        """Options that name all of this, for another run."""
        grid = None if self.token_grid is None else list(self.token_grid)
        return {"layer": self.layer_name, "layer_axes": list(self.axis_names), "grid": grid, "spare": self.spare_tokens}

    def arrange_output(self, a: Array) -> Array:
        """(m, ...) as the layer outputs it -> channels and positions as axes of their own, without tokens that have no position."""
        if self.reshape is not None:
            a = self.reshape(a)
        if self.token_grid is None:
            return a
        at = self.axis_names.index(TOKEN_AXIS) + 1
        shape = tuple(map(int, a.shape))
        selected = a[
            (slice(None),) * at + (slice(self.skipped_tokens, self.skipped_tokens + int(np.prod(self.token_grid))),)
        ]
        return selected.reshape((*shape[:at], *self.token_grid, *shape[at + 1 :]))

    def to_input_order(self, maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Maps (m, *positions in the layer's order) -> (m, *positions in the input's order)."""
        return np.transpose(maps, (0, *(1 + k for k in self.position_order)))

    def channels_to_input_order(self, maps: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The same of maps that keep channels, (m, channels, *positions in the layer's order)."""
        return np.transpose(maps, (0, 1, *(2 + k for k in self.position_order)))

    def __str__(self) -> str:
        left = "".join(
            f", the {end} {n} left out" for end, n in (("first", self.skipped_tokens), ("last", self.spare_tokens)) if n
        )
        own = " after reshape" if self.reshape is not None else ""
        return f"{self.layer_name!r} (row, {', '.join(self.axis_names)}{own}: {self.how_known}{left})"


def arranged_axis_names(names: Sequence[str], grid: Sequence[int] | None) -> list[str]:
    """Names of axes, with the axes of the grid in place of the token axis."""
    return [
        n
        for name in names
        for n in ([name] if grid is None or name != TOKEN_AXIS else [f"place {k}" for k in range(len(grid))])
    ]


def checked_axes(given: Any) -> tuple[str, ...] | KnownAxes | None:
    """Names of axes as an option: a sequence of them, or one text with commas.

    Raises:
        OptionError: something else.
    """
    if given is None or isinstance(given, KnownAxes):
        return given
    names = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(n, str) and n for n in names):
        raise OptionError(
            Argument("layer_axes", given),
            ": name the axes of the layer after the rows, in its own order, such as ('y', 'x', 'channel') or ('token', 'channel').",
        )
    names = tuple("channel" if n == "channels" else "token" if n == "tokens" else n for n in names)
    if len(set(names)) < len(names) or CHANNEL_AXIS not in names:
        raise OptionError(
            Argument("layer_axes", given), ": each axis has a name of its own, and one of them is 'channel'."
        )
    return names


def check_layer(given: Any) -> None:
    """Check a layer as an option: its name, or None.

    Raises:
        OptionError: something else.
    """
    if given is not None and not isinstance(given, str):
        raise OptionError(Argument("layer", given), " must be the name of a layer.")


def checked_grid(given: Any) -> tuple[int, ...] | None:
    """The grid of tokens as an option.

    Raises:
        OptionError: these are not positive whole numbers.
    """
    if given is None:
        return None
    sizes = (given,) if isinstance(given, (int, np.integer)) else given
    if (
        not isinstance(sizes, (list, tuple))
        or not sizes
        or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1 for n in sizes)
    ):
        raise OptionError(
            Argument("grid", given), ": give the number of tokens along each axis of the input, such as (14, 14)."
        )
    return tuple(map(int, sizes))


def check_reshape(problem: SaliencyProblem, reshape: Any, layer: str, shape: tuple[int, ...]) -> None:
    """Check that a user's arrangement only selects and moves numbers: it is given the index of each position, in digits that every type holds.

    Raises:
        OptionError: it does something else.
    """
    if not callable(reshape):
        raise OptionError(Argument("reshape", reshape), " must be a function of what the layer outputs.")
    rows = 2
    count = rows * int(np.prod(shape[1:]))
    index = np.arange(count).reshape(rows, *shape[1:])
    positions, base = None, 1
    while base < count or positions is None:
        digits = reshape(problem.net.array((index // base % 128).astype(np.float32)))
        out = problem.net.numpy(digits) if hasattr(digits, "shape") and problem.net.is_own_array(digits) else None
        if out is None or out.ndim < 2 or len(out) != rows:
            kind = type(digits).__name__ + ("" if out is None else f" of shape {out.shape}")
            raise OptionError(
                Argument("reshape", example=""),
                " must return an array of the network's library whose first axis is the rows; for "
                f"layer {layer!r}, {shape[1:]} for a row, it returned {kind}.",
            )
        positions, base = (0 if positions is None else positions) + out * base, base * 128
    flat = np.asarray(positions).reshape(rows, -1)
    each = [np.unique(row) for row in flat]
    own = all(
        len(u) == flat.shape[1] and (u // (count // rows) == r).all() and (u == np.rint(u)).all()
        for r, u in enumerate(each)
    )
    if not own:
        raise OptionError(
            Argument("reshape", example=""),
            " may select, move and reshape the layer's output, within each row and each number once; it must not compute with it, since "
            "derivatives pass through it too.",
        )
