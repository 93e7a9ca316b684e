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

from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.kernels.off_data import off_data_shares
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
        which, windows = self._neighbour_windows(feature, points, at)
        shares, errors = self._shares_of_windows(partners, windows, errors_wanted)
        shares, errors = shares[which], errors[which]
        return np.maximum(shares, outside), np.where(outside > shares, 0.0, errors)

    def _shares_of_windows(self, partners: Floats, windows: list[Ints], errors_wanted: bool) -> tuple[Floats, Floats]:
        """Return the share of changed rows that are off the data by each set of neighbours, and its standard error, (windows,) each."""
        sizes = np.array([len(w) for w in windows])
        shares, errors = (np.where(sizes == 0, v, np.nan) for v in (1.0, 0.0))  # of one neighbour nothing can be told
        weights = self.rows.weights[self._sample]
        weights = weights / weights.sum()
        for size in np.unique(sizes[sizes > 1]).tolist():
            same = np.flatnonzero(sizes == size)
            neighbours = np.stack([windows[w] for w in same])
            halves = errors_wanted and size >= MIN_HALVED
            found, squares = off_data_shares(partners, self._sample, weights, neighbours, USUAL_SHARE, halves=halves)
            shares[same] = found[:, 0]
            if halves:
                errors[same] = _standard_errors(found, squares, weights)
        return shares, errors

    def _partner_coordinates(self, feature: Feature) -> Floats | None:
        """Coordinates of the features that depend most on this one, (rows, dimensions)."""
        others = [i for i, p in enumerate(self._candidates) if p != feature.position]
        scores = self._ratios(row_ranges(feature))
        best = max((scores[i] for i in others), default=0.0)
        top = sorted((i for i in others if scores[i] > best / 2), key=lambda i: -scores[i])[:MAX_PARTNERS]
        return np.column_stack([self._ratios.coordinates(i) for i in top]) if top else None

    def _neighbour_windows(self, feature: Feature, points: npt.NDArray[Any], at: Ints) -> tuple[Ints, list[Ints]]:
        """Return sets of neighbours, and which of them belongs to each point: the rows of its category, or a window of ranks around a number."""
        missing = np.flatnonzero(feature.codes < 0)[:MAX_NEIGHBOURS]
        if feature.kind == "category":
            sets = [missing if v is None else _thin_evenly(np.flatnonzero(at == g)) for g, v in enumerate(points)]
            return np.arange(len(points)), sets
        x = feature.numbers
        assert x is not None  # noqa: S101  # only categories have none
        order, ordered = _in_order(feature, x)
        size = min(len(order), max(MIN_NEIGHBOURS, min(MAX_NEIGHBOURS, len(order) // 20)))
        places = feature.place(points)
        lows, highs = (np.searchsorted(ordered, places, side) for side in ("left", "right"))
        many = highs - lows >= size  # so many rows have this very value
        first = np.where(many, lows, np.clip((lows + highs) // 2 - size // 2, 0, len(order) - size))
        last = np.where(many, highs, first + size)
        base = len(order) + 1
        spans, which = np.unique(np.where(np.isnan(places), -1, first * base + last), return_inverse=True)
        return which, [missing if s < 0 else _thin_evenly(order[s // base : s % base]) for s in spans.tolist()]


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


def _standard_errors(shares: Floats, squares: Floats, weights: Floats) -> Floats:
    """Return the standard errors of shares, (sets,), from :func:`off_data_shares`: a binomial one, as the rows are a sample, and that of the neighbours."""
    share = shares[:, 0]
    of_rows = squares * (1.0 - share) ** 2 + ((weights**2).sum() - squares) * share**2
    of_neighbours = (((shares[:, 1::2] - shares[:, 2::2]) / 2.0) ** 2).mean(axis=1)
    return np.asarray(np.sqrt(np.maximum(of_rows, 0.0) + of_neighbours))


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
