"""The off-data share: how many of the rows that have a feature set to a value lie where there are no data.

Partial dependence sets a feature to a value in every row, also in rows whose other values never come with that value. The share is computed so. Take a
point g of feature j. Its *neighbours* are the rows whose own value of j is nearest to g: a twentieth of the rows, 20 to 100. The *partners* of j are the
features that depend most on j: up to three, none less than half as much as the first. A changed row is off the data if, in the values of the partners, its
nearest neighbour is farther than 95 % of the neighbours are from their own nearest one (each leaves itself out). So of 1,000 rows or more about 5 % are off
the data if features are independent, and nearly all (0.9) if another feature follows j. Of fewer rows the share is lower: independent 0.015 at 30, 0.035 at 100
and 0.04 at 300 rows; of a feature that is followed 0.25, 0.75 and 0.9.

The standard error of a share has two parts: the rows that are changed are a sample (binomial), and so are the neighbours (the difference of the shares by either half of
them, for three ways to halve them).

Values are ranks between 0 and 1; two categories are 1 apart, and so is a missing value from any other. A value outside the range of the data is off the data
in every row.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels.nearest import nearest_squares
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.dependence import CorrelationRatios, coordinates_of, row_ranges
from whybox.methods.common.rows import WeightedRows

__all__ = ["OffDataShare"]

ROWS_CHANGED: Final = 400  # rows that are changed
MAX_NEIGHBOURS: Final = 100  # rows near a point
MIN_NEIGHBOURS: Final = 20
MIN_HALVED: Final = 8  # neighbours, of whom either half tells how far they usually are
MAX_PARTNERS: Final = 3
MAX_SPARSE_COLUMNS: Final = 500  # of a sparse matrix, columns among which partners are looked for
MAX_SMALL_CODE: Final = 2**16  # codes of so many values are sorted in one pass
USUAL_SHARE: Final = 0.95
HALF_PAIRS: Final = ((0, 1), (2, 3), (0, 2), (1, 3), (0, 3), (1, 2))  # of quarters of the neighbours: three times two


@final
class OffDataShare:
    """The off-data share at points of a feature.

    Ranks of all columns and a sample of rows are computed once and serve all features.

    Args:
        rows: the rows that are changed; weights zero leave rows out.
    """

    def __init__(self, rows: WeightedRows) -> None:
        self._weighted = np.flatnonzero(rows.weights > 0)
        if len(self._weighted) < len(rows):
            rows = WeightedRows(rows.table.rows(self._weighted), rows.weights[self._weighted])
        self.rows = rows
        count = len(rows)
        rng = np.random.default_rng(0)
        chosen = rng.choice(count, ROWS_CHANGED, replace=False) if count > ROWS_CHANGED else np.arange(count)
        self._sample = np.sort(chosen)
        self._candidates = _candidate_columns(rows)
        self._ratios = CorrelationRatios(coordinates_of(rows.feature(p)) for p in self._candidates)

    def __call__(
        self, feature: Feature, points: npt.NDArray[Any], at: Ints, *, errors_wanted: bool = True
    ) -> tuple[Floats, Floats]:
        """Return the share of rows that each point takes off the data, from 0 to 1, and its standard error, (points,) each; NaN where too few rows are near to tell.

        Args:
            feature: a column of the rows. points: its values, as a grid has them. at: (rows,) the point that each row is at, -1 for none.
            errors_wanted: False saves the time that errors take; they are then NaN wherever a share was counted.
        """
        feature, at = self.rows.feature(feature.position), at[self._weighted]
        outside = _outside_data(feature, points, at)
        partners = self._partner_coordinates(feature)
        if partners is None:
            return outside, np.zeros(len(points))
        shares, errors = np.zeros((2, len(points)))
        known: dict[bytes, tuple[float, float]] = {}
        weights, changed = self.rows.weights[self._sample], partners[self._sample]
        weights = weights / weights.sum()
        for g, near in enumerate(self._neighbour_rows(feature, points, at)):
            if len(near) < 2:
                shares[g], errors[g] = (1.0, 0.0) if len(near) == 0 else (np.nan, np.nan)
                continue
            key = near.tobytes()
            if key not in known:
                off = _is_off_data(changed, partners[near], self._sample, near, halves=errors_wanted)
                known[key] = _share_and_error(off, weights, errors_wanted)
            shares[g], errors[g] = known[key]
        return np.maximum(shares, outside), np.where(outside > shares, 0.0, errors)

    def _partner_coordinates(self, feature: Feature) -> Floats | None:
        """Coordinates of the features that depend most on this one, (rows, dimensions)."""
        others = [i for i, p in enumerate(self._candidates) if p != feature.position]
        scores = self._ratios(row_ranges(feature))
        best = max((scores[i] for i in others), default=0.0)
        top = sorted((i for i in others if scores[i] > best / 2), key=lambda i: -scores[i])[:MAX_PARTNERS]
        return np.column_stack([self._ratios.coordinates(i) for i in top]) if top else None

    def _neighbour_rows(self, feature: Feature, points: npt.NDArray[Any], at: Ints) -> list[Ints]:
        """Rows nearest to each point: those of the category, or a window of ranks around a number."""
        missing = np.flatnonzero(feature.codes < 0)[:MAX_NEIGHBOURS]
        if feature.kind == "category":
            return [missing if v is None else _thin_evenly(np.flatnonzero(at == g)) for g, v in enumerate(points)]
        x = feature.numbers
        assert x is not None  # noqa: S101  # only categories have none
        order, ordered = _in_order(feature, x)
        size = min(len(order), max(MIN_NEIGHBOURS, min(MAX_NEIGHBOURS, len(order) // 20)))
        places = feature.place(points)
        lows, highs = (np.searchsorted(ordered, places, side) for side in ("left", "right"))
        out = []
        for place, low, high in zip(places, lows, highs, strict=True):
            if np.isnan(place):
                out.append(missing)
                continue
            if high - low >= size:  # many rows have this very value
                out.append(_thin_evenly(order[low:high]))
                continue
            start = int(np.clip((low + high) // 2 - size // 2, 0, len(order) - size))
            out.append(order[start : start + size])
        return out


def _in_order(feature: Feature, x: Floats) -> tuple[Ints, Floats]:
    """Return the rows with a finite number in its order, ties as they stand, and these numbers."""
    known = np.flatnonzero(np.isfinite(x))
    codes = feature.codes[known]
    plain = (
        feature.kind in {"number", "integer"} and not feature.number_origin
    )  # of others several values may be one float
    if plain and len(known) == len(feature.unique):  # a row for each value: its code is its rank
        order = np.empty_like(known)
        order[codes] = known
    else:
        small = plain and len(feature.unique) <= MAX_SMALL_CODE
        order = known[np.argsort(codes.astype(np.uint16) if small else x[known], kind="stable")]
    return order, x[order]


def _candidate_columns(rows: WeightedRows) -> list[int]:
    """Columns that may be partners: all, but of a wide sparse matrix those with the most stored cells."""
    table = rows.table
    if not table.is_matrix or table.width <= MAX_SPARSE_COLUMNS:
        return list(range(table.width))
    cells = np.bincount(table.native.indices, minlength=table.width)
    return [int(c) for c in np.sort(np.argsort(-cells, kind="stable")[:MAX_SPARSE_COLUMNS])]


def _thin_evenly(rows: Ints) -> Ints:
    """At most as many rows as a point has neighbours, taken evenly."""
    return rows if len(rows) <= MAX_NEIGHBOURS else rows[np.linspace(0, len(rows) - 1, MAX_NEIGHBOURS).astype(np.int64)]


def _is_off_data(
    changed: Floats, neighbours: Floats, changed_rows: Ints, neighbour_rows: Ints, *, halves: bool
) -> npt.NDArray[np.bool_]:
    """Return whether each changed row is farther from its nearest neighbour than neighbours usually are, (1 + halves, changed rows).

    First of all neighbours, then, where `halves` are wanted, of each half of them where they are enough. A row is no neighbour of its own.
    """
    halves = halves and len(neighbours) >= MIN_HALVED
    if halves:
        order, starts = _split_into_quarters(len(neighbours))
        neighbours, neighbour_rows = neighbours[order], neighbour_rows[order]
    else:
        starts = np.array([0, len(neighbours)])
    itself = np.searchsorted(changed_rows, neighbour_rows)  # changed rows are in order
    itself[changed_rows[np.minimum(itself, len(changed_rows) - 1)] != neighbour_rows] = -1
    own = np.sqrt(nearest_squares(neighbours, neighbours, np.arange(len(neighbours)), starts))
    nearest = np.sqrt(nearest_squares(changed, neighbours, itself, starts))
    off = np.asarray(nearest.min(axis=0) > _usual_distance(own.min(axis=0)) + 1e-12)[None]
    if not halves:  # as many lines as with halves: sums over rows are then the same to the bit
        return off if len(neighbours) < MIN_HALVED else np.repeat(off, 1 + len(HALF_PAIRS), axis=0)
    one, two = np.array(HALF_PAIRS).T
    quarter = np.repeat(np.arange(4), np.diff(starts))
    inside = (quarter == one[:, None]) | (quarter == two[:, None])
    usual = _usual_distances(np.where(inside, np.minimum(own[one], own[two]), np.inf), inside.sum(axis=1))
    return np.concatenate([off, np.minimum(nearest[one], nearest[two]) > usual[:, None] + 1e-12])


@lru_cache(maxsize=256)
def _split_into_quarters(count: int) -> tuple[Ints, Ints]:
    """Return an order of neighbours, at random, in which quarters of them stand together, and where each begins, and the last ends."""
    quarter = np.random.default_rng(0).permutation(count) % 4
    return np.argsort(quarter, kind="stable"), np.searchsorted(np.sort(quarter), np.arange(5))


def _usual_distance(distances: Floats) -> float:
    """The distance that 95 % do not exceed: one of them, the next above."""
    return float(_usual_distances(distances[None], np.array([len(distances)]))[0])


def _usual_distances(distances: Floats, counts: Ints) -> Floats:
    """The same of each row, of so many smallest of its distances."""
    at = np.ceil((counts - 1) * USUAL_SHARE).astype(np.int64)
    return np.asarray(np.sort(distances, axis=1)[np.arange(len(at)), at])


def _share_and_error(off: npt.NDArray[np.bool_], weights: Floats, error_wanted: bool) -> tuple[float, float]:
    """Return the share of changed rows that are off the data, and its standard error; NaN where it is not wanted, or too few neighbours could be halved."""
    shares = off @ weights
    if not error_wanted or len(shares) == 1:
        return float(shares[0]), float("nan")
    of_rows = float((weights**2 * (off[0] - shares[0]) ** 2).sum())
    of_neighbours = float((((shares[1::2] - shares[2::2]) / 2.0) ** 2).mean())
    return float(shares[0]), float(np.sqrt(of_rows + of_neighbours))


def _outside_data(feature: Feature, points: npt.NDArray[Any], at: Ints) -> Floats:
    """1 at points outside the data: numbers beyond either end, categories that no row has."""
    if feature.kind == "category":
        return np.asarray(~np.isin(np.arange(len(points)), at), dtype=np.float64)
    x, place = feature.numbers, feature.place(points)
    assert x is not None  # noqa: S101  # only categories have none
    known = x[np.isfinite(x)]
    if not len(known):
        return np.where(np.isnan(place), 0.0, 1.0)
    with np.errstate(invalid="ignore"):
        outside = (place < known.min()) | (place > known.max()) | (np.isnan(place) & (not feature.missing))
    return np.asarray(outside, dtype=np.float64)
