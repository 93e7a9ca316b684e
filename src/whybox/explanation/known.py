"""Curves that are known at every point without their model: step functions, tables of levels, lines between edges. They can be saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError
from whybox.frames import Floats, is_missing

__all__ = ["TOO_MANY", "Axis", "Known", "Line", "Refusal", "Steps", "as_place", "listed"]

TOO_MANY: Final = (
    "the steps of this curve were not pickled with it, because they are many more numbers than the curve has. "
    "Keep them in a file, with save() and wb.load(), or pass the points you need in grid= before."
)


def listed(points: Any) -> list[Any]:
    """Return points as a list: a single one, dates as they are written, numbers as Python's own."""
    if isinstance(points, (str, bytes)) or not hasattr(points, "__iter__"):
        return [points]
    array = np.asarray(points) if not isinstance(points, (list, tuple)) else None
    if array is not None and array.dtype.kind == "M":
        return list(array.astype("datetime64[us]").tolist())
    return list(points) if array is None else list(array.tolist())


def as_place(values: npt.NDArray[Any]) -> Floats:
    """Return numbers or dates as floats; a missing date is NaN."""
    if values.dtype.kind not in "mM":
        return values.astype(np.float64)
    out = values.astype(f"{values.dtype.kind}8[us]").astype(np.int64).astype(np.float64)
    out[np.isnat(values)] = np.nan
    return np.asarray(out)


@final
@dataclass(frozen=True, eq=False)
class Axis:
    """What is known along one feature.

    Attributes:
        edges: of a number: the i-th value holds above ``edges[i - 1]`` and up to ``edges[i]``.
        levels: of a feature without an axis: the levels there are. One of the two is None.
        missing: whether the last value is that of a missing one.
    """

    name: str
    edges: Floats | None
    levels: tuple[Any, ...] | None
    missing: bool

    def find(self, values: Sequence[Any]) -> npt.NDArray[np.int64]:
        """Return where values stand.

        Raises:
            OptionError: not known here.
        """
        asked = [None if is_missing(v) else v for v in values]
        last = len(self.edges) + 1 if self.edges is not None else len(self.levels or ())
        if None in asked and not self.missing:
            raise OptionError(f"grid of {self.name!r}: what a missing value does is not known here.")
        known = [v for v in asked if v is not None]
        if self.levels is not None:
            where = {v: i for i, v in enumerate(self.levels)}
            strange = [v for v in known if v not in where]
            if strange:
                raise OptionError(
                    f"{strange[0]!r} is not one of the categories of {self.name!r} that were saved with this curve."
                )
            return np.array([last if v is None else where[v] for v in asked], dtype=np.int64)
        if any(isinstance(v, (str, bytes, bool)) or not np.isfinite(float(v)) for v in known):
            raise OptionError(f"grid of {self.name!r}: give finite numbers, not {values!r}.")
        assert self.edges is not None  # noqa: S101  # one of the two
        at = np.searchsorted(self.edges, [0.0 if v is None else float(v) for v in asked], side="left")
        return np.where([v is None for v in asked], last, at).astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """A step function of one feature or two: ``values`` ([rows,] values of each axis ... [, outputs])."""

    axes: tuple[Axis, ...]
    values: Floats
    rows: bool = False

    def __call__(self, points: Any) -> Floats:
        """Return the values at points, (points,) [, outputs], rows first where there are rows."""
        asked = listed(points)
        if len(self.axes) == 1:
            where: tuple[Any, ...] = (self.axes[0].find(asked),)
        else:
            pairs = [listed(p) for p in asked]
            if any(len(p) != 2 for p in pairs):
                raise OptionError("a surface is asked at pairs of values: [(a, b), ...].")
            where = tuple(axis.find([p[i] for p in pairs]) for i, axis in enumerate(self.axes))
        return np.ascontiguousarray(self.values[((slice(None),) if self.rows else ()) + where])

    def keep(self, most: int | None = None) -> Known:
        """Return what can be saved: itself, if it is no more numbers than `most`."""
        return Refusal(TOO_MANY) if most is not None and self.values.size > most else self


@final
@dataclass(frozen=True, eq=False)
class Line:
    """An accumulated curve: straight between its edges, known at its levels; ``values`` (points,) [, outputs]. A surface has two axes."""

    axes: tuple[npt.NDArray[Any], ...]
    values: Floats

    def __call__(self, points: Any) -> Floats:
        """Return the values at points, (points,) [, outputs].

        Raises:
            OptionError: beyond the edges, missing, a level that is not there, or a surface.
        """
        if len(self.axes) != 1:
            raise OptionError("a surface of kind 'ale' is known at its grid only.")
        axis, asked = self.axes[0], listed(points)
        if axis.dtype.kind not in "fiumM":
            where = {v: i for i, v in enumerate(axis.tolist())}
            asked = [None if is_missing(v) else v for v in asked]
            strange = [v for v in asked if v not in where]
            if strange:
                raise OptionError(f"{strange[0]!r} is not a level of this curve.")
            return np.asarray(self.values[[where[v] for v in asked]])
        place = as_place(axis)
        dates = axis.dtype.kind in "mM"
        x = as_place(np.array(asked, dtype="datetime64[us]")) if dates else np.array(asked, dtype=np.float64)
        if not ((x >= place[0]) & (x <= place[-1])).all():
            raise OptionError(
                f"an accumulated effect is known from {axis[0]} to {axis[-1]}, where the data are; ask inside."
            )
        flat = self.values.reshape(len(axis), -1)
        found = np.column_stack([np.interp(x, place, v) for v in flat.T])
        return found.reshape(len(x), *self.values.shape[1:])

    def keep(self, most: int | None = None) -> Known:
        """Return what can be saved: itself, for it is no more than the curve."""
        del most
        return self


@final
@dataclass(frozen=True)
class Refusal:
    """A curve that is known at its grid only, and why."""

    why: str

    def __call__(self, points: Any) -> Floats:
        """Refuse."""
        del points
        raise OptionError(self.why)

    def keep(self, most: int | None = None) -> Known:
        """Return what can be saved: itself, for it is no more than the curve."""
        del most
        return self


Known = Steps | Line | Refusal
