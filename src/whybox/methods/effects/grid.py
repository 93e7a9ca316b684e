"""The points that an effect is computed at, and which of them each row is at."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_key
from whybox.data.table import Floats, Table
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.spot_rows import FeaturePoints

__all__ = ["Grid", "feature_points", "product_grid"]

Truths = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """Points of one feature, or of two together.

    Attributes:
        features: one or two. points: for each its values, (points,): numbers (missing NaN), datetime64 (NaT), or objects (None).
        table: a row a point: a row of the data with the features set to the point, in the user's own kind of table and dtypes.
        point_of_row: (rows,) the point of each row; -1 for a row at none.
        is_at_point: (rows,) whether the row's own cells are those of its point, so that its prediction is that of the row at the point.
        is_custom: whether the caller chose the points.
        side_grids: of two features, the grid of each.
        kept: what was computed of these points and some rows before, by a key of what and of which rows.
    """

    features: tuple[Feature, ...]
    points: tuple[npt.NDArray[Any], ...]
    table: Table
    point_of_row: Ints
    is_at_point: Truths
    is_custom: bool = False
    side_grids: tuple[Grid, ...] = field(default=(), repr=False)
    kept: dict[tuple[str, object], Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """The feature's name, or both names."""
        return " x ".join(f.name for f in self.features)

    @property
    def column_positions(self) -> tuple[int, ...]:
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
    def axis_positions(self) -> Floats | None:
        """Positions of the points of a single feature on an axis: floats with missing as NaN; None for categories."""
        return None if self.features[0].kind == "category" else self.features[0].place(self.points[0])

    @cached_property
    def point_keys(self) -> tuple[Any, ...]:
        """For each feature a hashable key of its position and points: equal for the same points."""
        return tuple((p, tuple(map(cell_key, v))) for p, v in zip(self.column_positions, self.points, strict=True))

    def select_points(self, chosen: Ints) -> Grid:
        """Return some of the points of a single feature."""
        new_position = np.full(len(self) + 1, -1)
        new_position[chosen] = np.arange(len(chosen))
        point_of_row = new_position[self.point_of_row]
        points, table = (self.points[0][chosen],), self.table.rows(chosen)
        return replace(
            self,
            points=points,
            table=table,
            point_of_row=point_of_row,
            is_at_point=self.is_at_point & (point_of_row >= 0),
        )


def product_grid(a: Grid, b: Grid) -> Grid:
    """Return every point of one feature with every point of another."""
    left = np.repeat(np.arange(len(a)), len(b))
    right = np.tile(np.arange(len(b)), len(a))
    point_table = a.table.rows(left).with_columns_from(b.table.rows(right), b.column_positions)
    point_of_row = np.where((a.point_of_row >= 0) & (b.point_of_row >= 0), a.point_of_row * len(b) + b.point_of_row, -1)
    features, points = (*a.features, *b.features), (*a.points, *b.points)
    return Grid(
        features,
        points,
        point_table,
        point_of_row,
        a.is_at_point & b.is_at_point,
        is_custom=a.is_custom or b.is_custom,
        side_grids=(a, b),
    )


def feature_points(grid: Grid) -> FeaturePoints:
    """Return the points of a grid for spot checks, those of a surface one after the other."""
    at = np.unravel_index(np.arange(len(grid)), grid.shape)
    return FeaturePoints(grid.features, grid.table, tuple(v[i] for v, i in zip(grid.points, at, strict=True)))
