"""How much of a mean over changed rows lies where there are no data: the share of rows that a point takes off the data.

Partial dependence sets a feature to a value in every row, also in rows whose other values never come with it. Here is how often. For a point g of feature
j, take the rows whose own value is nearest to g (a twentieth of them, 20 to 100: the point's *company*), and from every row the values of the features that
depend most on j: up to three, none less than half as much as the first. A changed row is off the data when its nearest neighbour in the company is farther
than 95 % of the company's own members find theirs (each leaving itself out). So about 5 % are off under independence, and nearly all where another feature
follows j.

Values are ranks between 0 and 1; categories and missing values are 0 or 1 apart. A value beyond those of the data is off for every row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.effects.curves import Curve
from whybox.methods.effects.grid import Feature, Grid
from whybox.methods.effects.predict_evaluator import Rows
from whybox.numerics.rounding import floor, ratio

__all__ = ["OffData", "with_off_data"]

ROWS_CHANGED: Final = 400  # rows that are changed
MIN_NEIGHBOURS: Final = 100  # rows near a point
MIN_ROWS: Final = 20
MAX_PARTNERS: Final = 3
WIDEST: Final = 500  # columns of a sparse matrix among which these are looked for
USUAL_SHARE: Final = 0.95
_BINS: Final = 10


@final
class OffData:
    """What is prepared once for all features of a table: ranks, and a sample of rows."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        count = len(rows)
        rng = np.random.default_rng(0)
        few = rng.choice(count, ROWS_CHANGED, replace=False) if count > ROWS_CHANGED else np.arange(count)
        self.sample = np.sort(few)
        self.ranks = {p: _embed(rows.feature(p)) for p in _candidates(rows)}

    def __call__(self, grid: Grid) -> Floats:
        """Return the share at each point of a single feature, (points,)."""
        feature = grid.features[0]
        space = self._partners(feature)
        out = np.zeros(len(grid))
        if space is None:
            return _outside(feature, grid)
        kept: dict[bytes, float] = {}
        weights = self.rows.weights[self.sample]
        for g, company in enumerate(self._company(feature, grid)):
            if len(company) < 2:
                out[g] = 1.0 if len(company) == 0 else np.nan
                continue
            key = company.tobytes()
            if key not in kept:
                off = _far(space[self.sample], space[company], self.sample, company)
                kept[key] = float((weights * off).sum() / weights.sum()) if weights.sum() > 0 else np.nan
            out[g] = kept[key]
        return np.maximum(out, _outside(feature, grid))

    def _partners(self, feature: Feature) -> Floats | None:
        """The values of the features that depend most on this one, (rows, dimensions)."""
        others = [p for p in self.ranks if p != feature.position]
        scores = {p: _dependence(feature, self.ranks[p]) for p in others}
        best = max(scores.values(), default=0.0)
        top = sorted((p for p in others if scores[p] > best / 2), key=lambda p: -scores[p])[:MAX_PARTNERS]
        return np.column_stack([self.ranks[p] for p in top]) if top else None

    def _company(self, feature: Feature, grid: Grid) -> list[npt.NDArray[np.int64]]:
        """Rows nearest to each point: those of the category, or a window of ranks around a number."""
        seen = self.rows.weights > 0
        gone = np.flatnonzero((feature.codes < 0) & seen)[:MIN_NEIGHBOURS]
        if feature.kind == "category":
            return [
                gone if v is None else _spread_out(np.flatnonzero((grid.at == g) & seen))
                for g, v in enumerate(grid.points[0])
            ]
        x = feature.numbers
        assert x is not None  # noqa: S101  # only categories have none
        known = np.flatnonzero(np.isfinite(x) & seen)
        order = known[np.argsort(x[known], kind="stable")]
        size = min(len(order), max(MIN_ROWS, min(MIN_NEIGHBOURS, len(order) // 20)))
        ordered, place = x[order], feature.place(grid.points[0])
        out = []
        for g in place:
            if np.isnan(g):
                out.append(gone)
                continue
            low, high = np.searchsorted(ordered, g, "left"), np.searchsorted(ordered, g, "right")
            if high - low >= size:  # many rows have this very value
                out.append(_spread_out(order[low:high]))
                continue
            start = int(np.clip((low + high) // 2 - size // 2, 0, len(order) - size))
            out.append(order[start : start + size])
        return out


def with_off_data(rows: Rows, curves: list[Curve]) -> list[Curve]:
    """Return the curves, those of a single feature with the share of rows that each point takes off the data."""
    prepared = OffData(rows)
    return [replace(c, off_data=prepared(c.grid)) if len(c.grid.features) == 1 else c for c in curves]


def _candidates(rows: Rows) -> list[int]:
    """Columns that others may depend on: all, but of a sparse matrix no more than those that most rows have a cell in."""
    table = rows.table
    if not table.is_matrix or table.width <= WIDEST:
        return list(range(table.width))
    cells = np.bincount(table.native.indices, minlength=table.width)
    return [int(c) for c in np.sort(np.argsort(-cells, kind="stable")[:WIDEST])]


def _spread_out(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Not more rows than the company has, taken evenly."""
    return rows if len(rows) <= MIN_NEIGHBOURS else rows[np.linspace(0, len(rows) - 1, MIN_NEIGHBOURS).astype(np.int64)]


def _far(
    changed: Floats, company: Floats, names: npt.NDArray[np.int64], own: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether each changed row is farther from its company than usual there; a row that is in the company leaves itself out."""
    among = _distances(company, company)
    np.fill_diagonal(among, np.inf)
    usual = np.quantile(among.min(axis=1), USUAL_SHARE, method="higher")
    away = _distances(changed, company)
    away[names[:, None] == own[None, :]] = np.inf
    return np.asarray(away.min(axis=1) > usual + 1e-12)


def _distances(a: Floats, b: Floats) -> Floats:
    square = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(square, 0.0)))


def _embed(feature: Feature) -> Floats:
    """A feature as coordinates: the middle rank, or one column a category, so that different ones are 1 apart; (rows, dimensions)."""
    gap = feature.codes < 0
    if feature.numbers is None:
        different = len(feature.unique) + bool(gap.any())
        at = np.where(gap, len(feature.unique), feature.codes)
        common = np.argsort(-np.bincount(at, minlength=different), kind="stable")[: _BINS * 2]
        return np.asarray((at[:, None] == common[None, :]) / np.sqrt(2.0), dtype=np.float64)
    counts = np.bincount(feature.codes[~gap], minlength=len(feature.unique))
    middle = (np.cumsum(counts) - counts / 2.0) / max(counts.sum(), 1)
    rank = np.where(gap, 0.5, middle[feature.codes] if len(middle) else 0.5)
    return np.column_stack([rank, gap]) if gap.any() else rank[:, None]


def _dependence(feature: Feature, other: Floats) -> float:
    """Correlation ratio: the share of another feature's variance that lies between ten ranges of this one."""
    gap = feature.codes < 0
    count = max(len(feature.unique), 1)
    if feature.numbers is None:
        bins = np.where(gap, count, feature.codes)
    else:
        ranks = np.cumsum(np.bincount(feature.codes[~gap], minlength=count))
        place = np.minimum((ranks - 1) * _BINS // max(int(ranks[-1]), 1), _BINS - 1)
        bins = np.where(gap, _BINS, place[feature.codes])
    total = other.var(axis=0).sum()
    _, cell = np.unique(bins, return_inverse=True)
    size = np.bincount(cell)
    means = np.column_stack([np.bincount(cell, c) / size for c in other.T])
    between = (size[:, None] * (means - other.mean(axis=0)) ** 2).sum() / len(other)
    return float(ratio(between, total, (floor(other) ** 2).sum()))


def _outside(feature: Feature, grid: Grid) -> Floats:
    """1 at points beyond the data: numbers past either end, values that no row has."""
    points = grid.points[0]
    if feature.kind == "category":
        return np.asarray(~np.isin(np.arange(len(points)), grid.at), dtype=np.float64)
    x, place = feature.numbers, feature.place(points)
    assert x is not None  # noqa: S101  # only categories have none
    known_x = x[np.isfinite(x)]
    if not len(known_x):
        return np.where(np.isnan(place), 0.0, 1.0)
    with np.errstate(invalid="ignore"):
        out = (place < known_x.min()) | (place > known_x.max()) | (np.isnan(place) & (not feature.missing))
    return np.asarray(out, dtype=np.float64)
