"""Curves that are known at every point without their model: step functions, tables of levels, lines between edges. They can be saved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_positions
from whybox.data.table import Floats, is_missing
from whybox.errors import OptionError, quoted_list

__all__ = [
    "TOO_MANY_STEPS",
    "CurveAxis",
    "CurveFunction",
    "PiecewiseLinearCurve",
    "SavedCurve",
    "StepFunction",
    "UnavailableCurve",
    "as_dates",
    "as_place",
    "as_plain_list",
]

TOO_MANY_STEPS: Final = (
    "the steps of this curve were not pickled with it, because they are many more numbers than the curve has. "
    "Keep them in a file, with save() and wb.load(), or pass the points you need in grid= before."
)
_ZONED_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:.*(Z|[+-]\d\d:?\d\d)$")  # with a time zone


def as_plain_list(points: Any) -> list[Any]:
    """Return points as a list: a single one, the cells of an array or series as they are, numbers as Python's own."""
    if isinstance(points, (str, bytes, Mapping)) or not hasattr(points, "__iter__"):
        return [points]
    if isinstance(points, np.ndarray):
        return list(points) if points.dtype.kind in "mM" else list(points.tolist())
    return list(points)


def as_dates(values: Sequence[Any], dtype: np.dtype[Any], *, zoned: bool = True) -> npt.NDArray[Any]:
    """Return dates as datetime64, or durations as timedelta64, in the unit of `dtype` or in a finer one where that would cut them.

    A date with a time zone becomes one in UTC; without one it is in UTC where the column has a time zone (`zoned`), as its grid is.

    Raises:
        ValueError, TypeError, OverflowError: no such thing, or a time zone that the column does not have.
    """
    if dtype.kind == "m":
        plain: list[Any] = [_as_duration(v) for v in values]
    else:
        plain = [_as_date(v, zoned=zoned) for v in values]
    out = np.array(plain, dtype=None if plain else dtype)
    converted = out.astype(dtype)
    with np.errstate(over="ignore"):
        return converted if np.array_equal(converted.astype(out.dtype), out) else out


def _as_date(value: Any, *, zoned: bool) -> np.datetime64:
    if isinstance(value, str):
        parsed = datetime.fromisoformat(value) if _ZONED_DATE.match(value) else None
        value = np.datetime64(value) if parsed is None or parsed.tzinfo is None else parsed
    if isinstance(value, np.datetime64):
        return value
    if not isinstance(value, date):
        raise TypeError(f"{value!r} is not a date")
    if getattr(value, "tzinfo", None) is not None and not zoned:
        raise ValueError(f"the column has no time zone, but {value} has one")
    if hasattr(value, "to_datetime64"):  # pandas: in UTC, with its nanoseconds
        return np.datetime64(value.to_datetime64())
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value)


def _as_duration(value: Any) -> np.timedelta64:
    if not isinstance(value, (timedelta, np.timedelta64)):
        raise TypeError(f"{value!r} is not a duration")
    return np.timedelta64(value.to_timedelta64() if hasattr(value, "to_timedelta64") else value)


def as_place(values: npt.NDArray[Any]) -> Floats:
    """Return numbers or dates as floats; a missing date is NaN."""
    if values.dtype.kind not in "mM":
        return values.astype(np.float64)
    out = values.astype(f"{values.dtype.kind}8[us]").astype(np.int64).astype(np.float64)
    out[np.isnat(values)] = np.nan
    return np.asarray(out)


@final
@dataclass(frozen=True, eq=False)
class CurveAxis:
    """What is known along one feature.

    Attributes:
        edges: of a number: the i-th value holds above ``edges[i - 1]`` and up to ``edges[i]``.
        levels: of a feature without an axis: the levels there are. One of the two is None.
        has_missing: whether the last value is that of a missing one.
    """

    name: str
    edges: Floats | None
    levels: tuple[Any, ...] | None
    has_missing: bool

    def find_positions(self, values: Sequence[Any]) -> npt.NDArray[np.int64]:
        """Return where values stand.

        Raises:
            OptionError: not known here.
        """
        wanted = [None if is_missing(v) else v for v in values]
        last = len(self.edges) + 1 if self.edges is not None else len(self.levels or ())
        if None in wanted and not self.has_missing:
            raise OptionError(f"grid of {self.name!r}: what a missing value does is not known here.")
        known = [v for v in wanted if v is not None]
        if self.levels is not None:
            positions = cell_positions(self.levels, wanted)
            strange = [v for v, i in zip(wanted, positions, strict=True) if v is not None and i < 0]
            if strange:
                raise OptionError(
                    f"{strange[0]!r} is not one of the categories of {self.name!r} that were saved with this curve."
                )
            return np.array([last if v is None else i for v, i in zip(wanted, positions, strict=True)], dtype=np.int64)
        if any(isinstance(v, (str, bytes, bool)) or not np.isfinite(float(v)) for v in known):
            raise OptionError(f"grid of {self.name!r}: give finite numbers, not {values!r}.")
        assert self.edges is not None  # noqa: S101  # one of the two
        at = np.searchsorted(self.edges, [0.0 if v is None else float(v) for v in wanted], side="left")
        return np.where([v is None for v in wanted], last, at).astype(np.int64)


@final
@dataclass(frozen=True, eq=False)
class StepFunction:
    """A step function of one feature or two: ``values`` ([rows,] values of each axis ... [, outputs])."""

    axes: tuple[CurveAxis, ...]
    values: Floats
    has_rows: bool = False

    def __call__(self, points: Any) -> Floats:
        """Return the values at points, (points,) [, outputs], rows first where there are rows."""
        wanted = as_plain_list(points)
        if len(self.axes) == 1:
            where: tuple[Any, ...] = (self.axes[0].find_positions(wanted),)
        else:
            pairs = [as_plain_list(p) for p in wanted]
            if any(len(p) != 2 for p in pairs):
                raise OptionError("a surface is asked at pairs of values: [(a, b), ...].")
            where = tuple(axis.find_positions([p[i] for p in pairs]) for i, axis in enumerate(self.axes))
        return np.ascontiguousarray(self.values[((slice(None),) if self.has_rows else ()) + where])

    def saved_curve(self, max_numbers: int | None = None) -> SavedCurve:
        """Return what can be saved: itself, if it is no more numbers than `max_numbers`."""
        return UnavailableCurve(TOO_MANY_STEPS) if max_numbers is not None and self.values.size > max_numbers else self


@final
@dataclass(frozen=True, eq=False)
class PiecewiseLinearCurve:
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
        axis, wanted = self.axes[0], as_plain_list(points)
        if axis.dtype.kind not in "fiumM":
            gap = cell_positions(list(axis), [None])[0]
            where = [
                gap if i < 0 and is_missing(v) else i
                for v, i in zip(wanted, cell_positions(list(axis), wanted), strict=True)
            ]
            if -1 in where:
                raise OptionError(f"{wanted[where.index(-1)]!r} is not a level of this curve.")
            return np.asarray(self.values[where])
        place, x = self._axis_positions(list(axis)), self._axis_positions(wanted)
        if not ((x >= place[0]) & (x <= place[-1])).all():
            raise OptionError(
                f"an accumulated effect is known from {axis[0]} to {axis[-1]}, where the data are; ask inside."
            )
        flat = self.values.reshape(len(axis), -1)
        interpolated = np.column_stack([np.interp(x, place, v) for v in flat.T])
        return interpolated.reshape(len(x), *self.values.shape[1:])

    def _axis_positions(self, wanted: Sequence[Any]) -> Floats:
        """Values on the axis of numbers or dates, missing as NaN."""
        axis, out = self.axes[0], np.full(len(wanted), np.nan)
        known = [i for i, v in enumerate(wanted) if not is_missing(v)]
        try:
            given = [wanted[i] for i in known]
            if axis.dtype.kind in "mM":
                out[known] = as_place(as_dates(given, axis.dtype))
            else:  # from the first edge on, as floats cannot tell large ids apart
                zero = int(axis[0]) if axis.dtype.kind in "iu" else 0
                whole = [zero and float(v).is_integer() for v in given]
                out[known] = [float(int(v) - zero) if w else float(v) - zero for v, w in zip(given, whole, strict=True)]
        except (ValueError, TypeError, OverflowError) as error:
            raise OptionError(f"give points like {axis[0]}, not {quoted_list(wanted)} ({error}).") from None
        return out

    def saved_curve(self, max_numbers: int | None = None) -> SavedCurve:
        """Return what can be saved: itself, for it is no more than the curve."""
        del max_numbers
        return self


@final
@dataclass(frozen=True)
class UnavailableCurve:
    """A curve that is known at its grid only, and why."""

    reason: str

    def __call__(self, points: Any) -> Floats:
        """Refuse."""
        del points
        raise OptionError(self.reason)

    def saved_curve(self, max_numbers: int | None = None) -> SavedCurve:
        """Return what can be saved: itself, for it is no more than the curve."""
        del max_numbers
        return self


SavedCurve = StepFunction | PiecewiseLinearCurve | UnavailableCurve


class CurveFunction(Protocol):
    """What ``at()`` of a curve calls: it computes the curve at other points, and says what of it can be saved."""

    def __call__(self, points: Any) -> Floats:
        """Return the values at points."""

    def saved_curve(self, max_numbers: int | None = None) -> SavedCurve:
        """Return what can be saved."""
