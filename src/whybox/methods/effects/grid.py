"""The points of a feature that its effect is computed at, and where each row stands among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError, did_you_mean, shown
from whybox.explanation.known import as_place
from whybox.frames import Column, Floats, Table, is_missing

__all__ = ["Feature", "Grid", "feature_of", "make_grid", "own_grid", "product"]

Ints = npt.NDArray[np.int64]
CATEGORIES: Final = ("category", "string", "boolean", "object")


@final
@dataclass(frozen=True, eq=False)
class Feature:
    """One of the user's columns, coded: ``codes`` (rows,) count into ``unique``, in order; a missing value is -1.

    Attributes:
        kind: ``"number"``, ``"integer"``, ``"datetime"``, or ``"category"`` (text, booleans and other objects too).
        unique: its different values; ``numbers`` (rows,) floats with missing as NaN, None for categories.
        declared: categories that the dtype names, in its order; () elsewhere. ordered: whether `unique` is in an order of its own (false, true).
    """

    name: str
    position: int
    kind: str
    codes: Ints
    unique: npt.NDArray[Any]
    numbers: Floats | None
    declared: tuple[Any, ...] = ()
    ordered: bool = False

    @property
    def first(self) -> Ints:
        """A row for each of `unique`; then, where there are missing values, a row with one."""
        order = np.argsort(self.codes, kind="stable")
        found, at = np.unique(self.codes[order], return_index=True)
        rows = order[at]
        return np.concatenate([rows[found >= 0], rows[found < 0]])

    @property
    def missing(self) -> bool:
        """Whether some row has no value."""
        return bool((self.codes < 0).any())


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """Points of one feature, or of two together.

    Attributes:
        features: one or two. points: for each its values, (points,): numbers (missing NaN), datetime64 (NaT), or objects (None).
        table: a row a point: a row of the data with the features set to the point, in the user's own kind of table and dtypes.
        at: (rows,) the point equal to the row's own value; -1 where there is none.
        shape: points of each feature; ``table`` has their product, the last fastest.
        given: whether the caller chose the points.
    """

    features: tuple[Feature, ...]
    points: tuple[npt.NDArray[Any], ...]
    table: Table
    at: Ints
    given: bool = False

    @property
    def name(self) -> str:
        """What to call it."""
        return " x ".join(f.name for f in self.features)

    @property
    def members(self) -> tuple[int, ...]:
        """Positions of the user's columns."""
        return tuple(f.position for f in self.features)

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of each feature."""
        return tuple(len(p) for p in self.points)

    def __len__(self) -> int:
        """Return the number of points, of two features of their product."""
        return len(self.table)

    @cached_property
    def place(self) -> Floats | None:
        """Where the points of a single feature stand on an axis: floats with missing as NaN; None for categories."""
        return None if self.features[0].kind == "category" else as_place(self.points[0])

    def pick(self, positions: Ints) -> Grid:
        """Return some of the points of a single feature."""
        back = np.full(len(self) + 1, -1)
        back[positions] = np.arange(len(positions))
        return replace(self, points=(self.points[0][positions],), table=self.table.rows(positions), at=back[self.at])


def feature_of(table: Table, position: int) -> Feature:
    """Code one column of a table."""
    column = table.column(position)
    name = column.name
    if column.kind in ("number", "datetime"):
        values = column.values if column.kind == "number" else _dates(column)
        gap = np.isnat(values) if values.dtype.kind in "mM" else np.isnan(values.astype(np.float64))
        unique, codes = np.unique(values[~gap], return_inverse=True)
        whole = values.dtype.kind in "iu"
        kind = "datetime" if values.dtype.kind in "mM" else "integer" if whole else "number"
        return Feature(name, position, kind, _spread(codes, gap), unique, as_place(values))
    if column.categories is not None:
        words, known = list(column.categories), column.values
        present = np.unique(known[known >= 0])
        back = np.full(len(words) + 1, -1)
        back[present] = np.arange(len(present))
        unique = _objects([words[i] for i in present])
        return Feature(name, position, "category", back[known], unique, None, tuple(words))
    cells = column.objects()
    gap = np.array([v is None for v in cells], dtype=bool)
    different: dict[Any, None] = dict.fromkeys(cells[~gap].tolist())
    try:
        order = sorted(different)
    except TypeError:
        order = sorted(different, key=str)
    code = {v: i for i, v in enumerate(order)}
    codes = np.array([code[v] for v in cells[~gap].tolist()], dtype=np.int64)
    ordered = column.kind == "boolean"
    return Feature(name, position, "category", _spread(codes, gap), _objects(order), None, ordered=ordered)


def _spread(codes: npt.NDArray[Any], gap: npt.NDArray[np.bool_]) -> Ints:
    out = np.full(len(gap), -1, dtype=np.int64)
    out[~gap] = codes
    return out


def _objects(values: Sequence[Any]) -> npt.NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    out[:] = list(values)
    return out


def _dates(column: Column) -> npt.NDArray[Any]:
    """Dates as datetime64; those with a time zone in UTC."""
    values = column.values
    if values.dtype.kind in "mM":
        return values
    from datetime import UTC

    plain = [None if is_missing(v) else v.astimezone(UTC).replace(tzinfo=None) for v in values]
    return np.array(plain, dtype="datetime64[us]")


def make_grid(table: Table, feature: Feature, wanted: Any, weights: Floats, *, most: int) -> Grid:
    """Return the default points of a feature, or the number of them, or the values asked for.

    Numbers and dates: the different values the data have if there are at most `most`, else that many weighted quantiles, each a value of the
    data. Categories: those of the data and those its dtype declares. A missing value is a point of its own where the data have one.

    Args:
        wanted: None, a whole number of points, or the values. most: how many points by default.

    Raises:
        OptionError: points that cannot be.
    """
    if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
        if wanted < 2:
            raise OptionError(f"grid={wanted!r}: a curve needs at least 2 points.")
        most, wanted = int(wanted), None
    if wanted is not None:
        return own_grid(table, feature, wanted)
    first = feature.first
    count = len(feature.unique)
    keep = np.arange(count)
    if feature.kind != "category":
        finite = np.isfinite(as_place(feature.unique))
        keep = keep[finite]
        if not len(keep) and not feature.missing:
            raise OptionError(
                f"{feature.name!r} has no finite value, so there is no point to set it to; leave it out of features, or give its points in grid=."
            )
        if len(keep) > most:
            keep = _quantiles(feature.codes, weights, finite, most)
    elif set(feature.declared) - set(feature.unique.tolist()):
        return own_grid(table, feature, [*feature.declared, *([None] if feature.missing else [])], given=False)
    rows = np.concatenate([first[:count][keep], first[count:]])
    back = np.full(count + 1, -1)
    back[keep] = np.arange(len(keep))
    back[-1] = len(keep) if feature.missing else -1
    return Grid((feature,), (_with_gap(feature.unique[keep], feature.missing),), table.rows(rows), back[feature.codes])


def _quantiles(codes: Ints, weights: Floats, finite: npt.NDArray[np.bool_], most: int) -> Ints:
    """Positions among the different values of evenly spaced weighted quantiles, each one a value of the data, both ends included."""
    mass = np.bincount(codes[codes >= 0], weights[codes >= 0], minlength=len(finite))
    mass[~finite] = 0.0
    share = np.cumsum(mass) / mass.sum()
    place = np.searchsorted(share, np.linspace(0.0, 1.0, most) - 1e-12, side="left")
    seen = np.flatnonzero(mass > 0)
    return np.unique(np.clip(place, seen[0], seen[-1]))


def _with_gap(values: npt.NDArray[Any], missing: bool) -> npt.NDArray[Any]:
    if not missing:
        return values
    if values.dtype.kind in "mM":
        return np.concatenate([values, np.array(["NaT"], dtype=values.dtype)])
    if values.dtype == object:
        return _objects([*values, None])
    return np.concatenate([values.astype(np.float64), [np.nan]])


def own_grid(table: Table, feature: Feature, wanted: Any, *, given: bool = True) -> Grid:
    """Return the points that the caller gave: sorted where there is an order, without repeats, missing last.

    Raises:
        OptionError: no list of values, a category the column's dtype does not have, or something that is no number where numbers are.
    """
    try:
        asked = [None if is_missing(v) else v for v in _items(wanted)]
    except TypeError:
        raise OptionError(f"grid of {feature.name!r}: give a list of values, not {wanted!r}.") from None
    values = list(dict.fromkeys(v for v in asked if v is not None))
    gap = len(asked) > len([v for v in asked if v is not None])
    if not values and not gap:
        raise OptionError(f"grid of {feature.name!r} is empty.")
    strange = [v for v in values if feature.declared and v not in feature.declared]
    if strange:
        raise OptionError(
            f"grid of {feature.name!r}: {strange[0]!r} is not one of its categories.{did_you_mean(strange[0], feature.declared)}"
        )
    if feature.kind in ("number", "integer"):
        if any(isinstance(v, (str, bool)) or not np.isfinite(float(v)) for v in values):
            raise OptionError(f"grid of {feature.name!r}: give finite numbers, not {shown(values)}.")
        whole = all(isinstance(v, (int, np.integer)) for v in values)
        values = sorted(values if whole else map(float, values))  # of one type, as some frames want it
    elif feature.kind == "datetime":
        values = sorted(np.asarray(values, dtype="datetime64[us]").tolist())
    filled = table.rows(np.zeros(len(values) + gap, dtype=np.int64)).with_values(
        feature.position, [*values, *([None] if gap else [])]
    )
    made = feature_of(filled, feature.position)
    if feature.kind == "category":
        points = _with_gap(_objects(values), gap)
        where = {v: i for i, v in enumerate(values)}
        to = np.array([where.get(v, -1) for v in feature.unique.tolist()] + [len(values) if gap else -1])
    else:
        points = _with_gap(made.unique[made.codes[: len(values)]], gap)
        there = np.searchsorted(made.unique, feature.unique.astype(made.unique.dtype))
        there = np.minimum(there, max(len(made.unique) - 1, 0))
        same = made.unique[there] == feature.unique if len(made.unique) else np.zeros(len(feature.unique), dtype=bool)
        to = np.concatenate([np.where(same, there, -1), [len(values) if gap else -1]]).astype(np.int64)
    return Grid((feature,), (points,), filled, to[feature.codes], given=given)


def _items(wanted: Any) -> list[Any]:
    if isinstance(wanted, (str, Mapping)):
        raise TypeError
    array = np.asarray(wanted) if not isinstance(wanted, (list, tuple)) else None
    return (
        list(wanted)
        if array is None
        else array.reshape(-1).astype("datetime64[us]").tolist()
        if array.dtype.kind == "M"
        else array.reshape(-1).tolist()
    )


def product(table: Table, a: Grid, b: Grid) -> Grid:
    """Return every point of one feature with every point of another."""
    left = np.repeat(np.arange(len(a)), len(b))
    right = np.tile(np.arange(len(b)), len(a))
    both = a.table.rows(left).mixed(b.table.rows(right), b.members)
    at = np.where((a.at >= 0) & (b.at >= 0), a.at * len(b) + b.at, -1)
    return Grid((*a.features, *b.features), (*a.points, *b.points), both, at, given=a.given or b.given)


def find(grid: Grid, values: list[Any]) -> npt.NDArray[np.int64]:
    """Positions of values among the points of a grid that was made of them."""
    points = grid.points[0]
    if grid.features[0].kind == "category":
        where = {v: i for i, v in enumerate(points.tolist())}
        return np.array([where[None if is_missing(v) else v] for v in values], dtype=np.int64)
    axis = as_place(points)
    numbers = points.dtype.kind not in "mM"
    plain = [None if is_missing(v) else v for v in values]
    asked = (
        np.array([np.nan if v is None else float(v) for v in plain])
        if numbers
        else as_place(np.array(plain, dtype="datetime64[us]"))
    )
    known = np.flatnonzero(~np.isnan(axis))
    with np.errstate(over="ignore", invalid="ignore"):  # those beside a missing one do not count
        near = np.abs(axis[known][None, :] - asked[:, None]).argmin(axis=1) if len(known) else np.zeros(len(asked), int)
    return np.where(np.isnan(asked), len(axis) - 1, known[near] if len(known) else 0).astype(np.int64)
