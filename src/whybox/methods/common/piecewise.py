"""What a feature's values are drawn from: pieces of the background in order, each with its share.

The values of a number lie in bins; in each they follow a normal distribution with the bin's mean and standard deviation, cut off at its ends, as in the lime
package. A category, a missing value and a bin with one value are pieces of their own. Every piece is an interval of [0, 1), so one uniform number draws
a value, and a row's own region is a range of pieces.

Source: lime_tabular of Ribeiro et al. (2016), doi:10.1145/2939672.2939778; Garreau and von Luxburg (2020), arXiv:2008.11092.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.cells import cell_positions
from whybox.data.table import Floats
from whybox.errors import Argument, DtypeError, InputError, OptionError
from whybox.methods.common.bins import bin_edges, edge_texts, is_each_value, named_edges, number_texts, time_kind
from whybox.methods.common.columns import Feature, Ints
from whybox.methods.common.rows import WeightedRows
from whybox.numerics.truncated_normal import truncated_mean, truncated_quantile

__all__ = ["BinnedColumn", "Draw", "PlayerDistribution", "RowRegions", "bin_column", "join_columns", "player_regions"]

WINDOW_SHARE: Final = 0.25  # of the background, around a row's own value
_UNSEEN: Final = -1


@final
@dataclass(frozen=True)
class Draw:
    """Values that were drawn for one player.

    Attributes:
        piece: (draws,) of each. row: (draws,) the background row whose cells it has, -1 for a number that was drawn inside a bin. value: (draws,) that number.
        number: (draws,), the number of either; NaN where it is missing, or no number.
    """

    piece: Ints
    row: Ints
    value: Floats
    number: Floats


@final
@dataclass(frozen=True)
class RowRegions:
    """The own region of each row: pieces ``first`` to ``last`` (excluded), (rows,) each; empty where the background has nothing like the row's cell.

    ``conditions`` (rows,) says it in words. ``numbers`` (rows,) are the row's own, NaN for other cells.
    """

    first: Ints
    last: Ints
    conditions: tuple[str, ...]
    numbers: Floats

    @property
    def is_unseen(self) -> npt.NDArray[np.bool_]:
        """Which rows have a cell that the background never has."""
        return np.asarray(self.first == self.last)


@final
@dataclass(frozen=True, eq=False)
class PlayerDistribution:
    """The distribution of the cells of one player.

    Attributes:
        name: of the player. columns: positions of the user's columns.
        shares: (pieces,) of the background, which sum to one.
        mean, std, low, high: (pieces,) of the normal distribution of a bin; NaN where the piece consists of background rows.
        atom_rows, atom_piece, atom_share: (atoms,) background rows of the other pieces, ordered by piece, and the share that each has of its piece.
        atom_numbers: (atoms,) of a column of numbers, NaN elsewhere.
        time_kind: ``"M"`` or ``"m"`` (of NumPy) where numbers are the microseconds of dates or durations. number_origin: what is added to a number that is drawn.
    """

    name: str
    columns: tuple[int, ...]
    shares: Floats
    mean: Floats
    std: Floats
    low: Floats
    high: Floats
    atom_rows: Ints
    atom_piece: Ints
    atom_share: Floats
    atom_numbers: Floats
    time_kind: str = ""
    number_origin: int = 0

    def __len__(self) -> int:
        """Return the number of pieces."""
        return len(self.shares)

    @cached_property
    def ends(self) -> Floats:
        """Cumulated shares, (pieces + 1,), from 0 to 1."""
        ends = np.concatenate([[0.0], np.cumsum(self.shares)])
        ends[-1] = 1.0
        return ends

    @property
    def is_unbounded(self) -> bool:
        """Whether it is a number that is not cut into bins."""
        return len(self) == 1 and bool(np.isinf(self.low[0]))

    @property
    def is_continuous(self) -> npt.NDArray[np.bool_]:
        """Which pieces are bins in which numbers are drawn."""
        return np.asarray(~np.isnan(self.std))

    def draw(self, u: Floats) -> Draw:
        """Return the values at `u`, (draws,), numbers of [0, 1)."""
        ends = self.ends
        piece = np.clip(np.searchsorted(ends, u, side="right") - 1, 0, len(self) - 1)
        continuous = self.is_continuous[piece]
        row = np.full(len(u), _UNSEEN, dtype=np.int64)
        value = np.full(len(u), np.nan)
        if continuous.any():
            p = piece[continuous]
            inside = np.clip((u[continuous] - ends[p]) / self.shares[p], 0.0, 1.0)
            drawn = truncated_quantile(inside, self.mean[p], self.std[p], self.low[p], self.high[p])
            value[continuous] = self._whole_numbers(drawn, p) if self.number_origin else drawn
        number = value.copy()
        if not continuous.all():
            atoms = self._atom_index(u[~continuous], piece[~continuous])
            row[~continuous], number[~continuous] = self.atom_rows[atoms], self.atom_numbers[atoms]
        return Draw(piece.astype(np.int64), row, value, number)

    def _whole_numbers(self, value: Floats, piece: Ints) -> Floats:
        """Numbers of a column whose whole numbers are too large for floats, rounded without leaving their bins."""
        low, high = self.low[piece], self.high[piece]
        above = np.where(low == np.nanmin(self.low), low, np.floor(low) + 1.0)
        return np.clip(np.rint(value), above, np.floor(high))

    def _atom_index(self, u: Floats, piece: Ints) -> Ints:
        """Which atom lies at `u`, inside its piece."""
        ends = self.ends[self.atom_piece] + self.shares[self.atom_piece] * self._share_up_to
        first, last = (np.searchsorted(self.atom_piece, piece, side=side) for side in ("left", "right"))
        return np.asarray(np.clip(np.searchsorted(ends, u, side="right"), first, last - 1), dtype=np.int64)

    @cached_property
    def _share_up_to(self) -> Floats:
        """Share of its piece up to and with each atom."""
        total = np.cumsum(self.atom_share)
        first = np.searchsorted(self.atom_piece, self.atom_piece, side="left")
        return np.asarray(total - np.concatenate([[0.0], total])[first])

    def numbers(self, value: Floats) -> npt.NDArray[Any]:
        """Return numbers that were drawn as cells of the column: dates or durations where it holds these."""
        if self.time_kind:
            cells = np.full(len(value), "NaT", dtype=f"{self.time_kind}8[us]")
            known = ~np.isnan(value)
            cells[known] = np.rint(value[known]).astype(np.int64).astype(cells.dtype)
            return cells
        if not self.number_origin:
            return value
        missing = np.isnan(value)
        whole = np.where(missing, 0.0, value).astype(np.int64) + self.number_origin
        if not missing.any():
            return whole
        cells = whole.astype(object)
        cells[missing] = None
        return cells

    def piece_means(self) -> Floats:
        """Return the mean number of each piece, (pieces,); NaN of a piece that consists of background rows."""
        means = np.full(len(self), np.nan)
        c = self.is_continuous
        means[c] = truncated_mean(self.mean[c], self.std[c], self.low[c], self.high[c])
        return means


@final
@dataclass(frozen=True, eq=False)
class BinnedColumn:
    """One column of the background in pieces.

    Attributes:
        feature: the column, coded. edges: of a number, inner edges; () else. limits: of a number, smallest and largest value.
        piece_of_bin: which piece each bin is, -1 for an empty one; of a category, each value. missing_piece: that of missing values, or -1.
        piece_of_row: (background rows,). window: whether a row's own region is a window around its value. edge_words: inner edges as text. scaled: whether
            a number is not cut into bins.
    """

    feature: Feature
    edges: Floats
    limits: tuple[float, float]
    piece_of_bin: Ints
    missing_piece: int
    piece_of_row: Ints
    window: bool
    edge_words: tuple[str, ...]
    scaled: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers or dates."""
        return self.feature.kind != "category"

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return int(self.piece_of_row.max(initial=-1)) + 1

    def regions(self, rows: WeightedRows, weights: Floats) -> RowRegions:
        """Return the own regions of rows whose columns are those of the background.

        Raises:
            DtypeError: the column holds numbers here and something else there.
        """
        own = rows.feature(self.feature.position)
        holds_numbers = self.feature.numbers is not None  # which the model may read as categories
        if len(own.unique) and len(self.feature.unique) and (own.numbers is not None) != holds_numbers:
            raise DtypeError(
                f"column {own.name!r} holds {'numbers' if own.numbers is not None else 'categories'} in the rows and "
                f"{'numbers' if holds_numbers else 'categories'} in the background; give both the same type."
            )
        if not self.is_number:
            return self._category_regions(own)
        numbers = np.full(len(own.codes), np.nan)
        known = own.codes >= 0
        numbers[known] = self.feature.place(own.unique)[own.codes[known]]
        return self._windows(numbers, weights) if self.window else self._bin_regions(numbers)

    def _category_regions(self, own: Feature) -> RowRegions:
        at = np.array([*cell_positions(list(self.feature.unique), list(own.unique)), _UNSEEN], dtype=np.int64)
        code = at[own.codes]  # a missing value reads the last entry
        piece = np.where(code >= 0, self.piece_of_bin[code], _UNSEEN) if len(self.piece_of_bin) else code
        piece = np.where(own.codes < 0, self.missing_piece, piece)
        words = [f"{self.feature.name} = {v}" for v in _words_of_values(own)]
        conditions = [words[c] if c >= 0 else f"{self.feature.name} missing" for c in own.codes]
        return _single_pieces(piece, conditions, np.full(len(piece), np.nan))

    def _bin_regions(self, numbers: Floats) -> RowRegions:
        missing = np.isnan(numbers)
        if self.scaled:
            return self._whole_line(numbers)
        bins = np.searchsorted(self.edges, np.where(missing, 0.0, numbers), side="left")
        piece = self.piece_of_bin[bins]
        outside = (numbers < self.limits[0]) | (numbers > self.limits[1])
        piece = np.where(missing, self.missing_piece, np.where(outside, _UNSEEN, piece))
        conditions = self._words_of_bins[bins]
        is_only = numbers == self._only_values[bins]
        conditions[is_only] = self._words_of_only_values[bins[is_only]]
        conditions[missing] = f"{self.feature.name} missing"
        for i in np.flatnonzero(~missing & (piece < 0)):
            conditions[i] = self._own_value_words(float(numbers[i]))
        return _single_pieces(piece, conditions, numbers)

    def _whole_line(self, numbers: Floats) -> RowRegions:
        """Regions of numbers that are not cut: all of the line."""
        if np.isnan(numbers).any():
            raise InputError(
                f"column {self.feature.name!r} is missing in some rows; ",
                Argument("discretizer", None),
                " gives a value for each standard deviation, where missing values have no place. Use 'quartile'.",
            )
        deviation = float(np.nanstd(self.feature.numbers)) if self.feature.numbers is not None else 0.0
        kind = "duration" if time_kind(self.feature) else "number"
        words = f"{self.feature.name}, each {edge_texts(np.array([deviation]), kind=kind)[0]}"
        return _single_pieces(np.zeros(len(numbers), dtype=np.int64), [words] * len(numbers), numbers)

    @cached_property
    def _words_of_bins(self) -> npt.NDArray[np.object_]:
        ends = zip(["", *self.edge_words], [*self.edge_words, ""], strict=True)
        return np.array([self._between(above, upto) for above, upto in ends], dtype=object)

    def _between(self, above: str, upto: str) -> str:
        """The condition that a number lies above one edge and at most at another; "" where there is none."""
        name = self.feature.name
        if above and upto:
            return f"{above} < {name} <= {upto}"
        return f"{name} <= {upto}" if upto else f"{name} > {above}" if above else name

    def range_words(self, first: int, last: int) -> str:
        """Return the condition that a number lies in the pieces from `first` to `last` (excluded), which are bins."""
        low, high = np.flatnonzero(self.piece_of_bin == first)[0], np.flatnonzero(self.piece_of_bin == last - 1)[0]
        upto = self.edge_words[high] if high < len(self.edges) else ""
        return self._between(self.edge_words[low - 1] if first else "", upto)

    @cached_property
    def _only_values(self) -> Floats:
        """The value of each bin in which the background has one value alone, (bins,); NaN of others."""
        values = self.feature.place(self.feature.unique)
        bins = np.searchsorted(self.edges, values, side="left")
        only = np.full(len(self.edges) + 1, np.nan)
        only[bins] = values
        only[np.bincount(bins, minlength=len(only)) != 1] = np.nan
        return only

    @cached_property
    def _words_of_only_values(self) -> npt.NDArray[np.object_]:
        words = []
        for b, value in enumerate(self._only_values):
            if b < len(self.edges) and value == self.edges[b]:
                words.append(self.edge_words[b])
            else:
                words.append("" if np.isnan(value) else number_texts(self.feature, np.array([value]))[0])
        return np.array([f"{self.feature.name} = {w}" for w in words], dtype=object)

    def _own_value_words(self, value: float) -> str:
        low, high = number_texts(self.feature, np.array(self.limits))
        own = number_texts(self.feature, np.array([value]))[0]
        return f"{self.feature.name} = {own} (the background has {low} to {high}, and nothing like it)"

    def _windows(self, numbers: Floats, weights: Floats) -> RowRegions:
        """Whole values within an eighth of the background on either side of a row's own."""
        values = self.feature.place(self.feature.unique)
        share = np.bincount(self.feature.codes[self.feature.codes >= 0], weights[self.feature.codes >= 0], len(values))
        ends = np.cumsum(share)
        middle, total = ends - share / 2.0, float(ends[-1])
        missing = np.isnan(numbers)
        x = np.where(missing, values[0], numbers)
        at = np.clip(np.searchsorted(values, x, side="left"), 0, len(values) - 1)
        rank = np.where(values[at] == x, middle[at], ends[at] - share[at])
        half = WINDOW_SHARE * total / 2.0
        centre = np.clip(rank, half, total - half)
        first = np.searchsorted(middle, centre - half, side="left")
        last = np.searchsorted(middle, centre + half, side="right")
        inside = values[at] == x
        first = np.where(inside, np.minimum(first, at), first)
        last = np.where(inside, np.maximum(last, at + 1), last)
        outside = (x < self.limits[0]) | (x > self.limits[1]) | (first >= last)
        first, last = np.where(outside, 0, first), np.where(outside, 0, last)
        gone = 0 if self.missing_piece < 0 else self.missing_piece
        first = np.where(missing, gone, first)
        last = np.where(missing, gone + (self.missing_piece >= 0), last)
        return RowRegions(
            first.astype(np.int64), last.astype(np.int64), self._window_words(numbers, first, last, values), numbers
        )

    def _window_words(self, numbers: Floats, first: Ints, last: Ints, values: Floats) -> tuple[str, ...]:
        name, words = self.feature.name, []
        for x, a, b in zip(numbers, first, last, strict=True):
            if np.isnan(x):
                words.append(f"{name} missing")
            elif a == b:
                words.append(self._own_value_words(float(x)))
            elif b - a == 1:
                words.append(f"{name} = {number_texts(self.feature, values[[a]])[0]}")
            else:
                low, high = number_texts(self.feature, values[[a, b - 1]])
                words.append(f"{low} <= {name} <= {high}")
        return tuple(words)


def _single_pieces(piece: Ints, conditions: Iterable[str], numbers: Floats) -> RowRegions:
    first = np.maximum(piece, 0).astype(np.int64)
    return RowRegions(first, np.where(piece < 0, first, first + 1), tuple(conditions), numbers)


def _words_of_values(feature: Feature) -> Sequence[Any]:
    if feature.unique.dtype.kind != "f" or not len(feature.unique):
        return list(feature.unique)
    return edge_texts(feature.unique)


def bin_column(  # a column has this many choices
    background: WeightedRows,
    position: int,
    *,
    discretizer: Any,
    y: Any,
    seed: int,
    as_category: bool,
    window: bool,
) -> BinnedColumn:
    """Cut a column of the background into pieces.

    Args:
        background: aligned rows. position: of the column.
        discretizer, y, seed: as of the options. as_category: whether its numbers are categories to the model. window: whether each value is a piece.

    Raises:
        OptionError: as :func:`bin_edges`, or edges of categories.
    """
    feature = background.feature(position)
    numbers, given = feature.numbers, named_edges(discretizer, feature.name, position)
    as_category = as_category or is_each_value(given) or feature.kind == "category"
    if as_category or numbers is None or not len(feature.unique):
        if given is not None and not is_each_value(given):
            raise OptionError(
                Argument("discretizer"),
                f": column {feature.name!r} holds {'categories' if len(feature.unique) else 'missing values alone'}, which have no edges; leave it out.",
            )
        if feature.kind != "category":
            feature = replace(feature, kind="category")
        kinds = len(feature.unique)
        piece = np.where(feature.codes < 0, kinds, feature.codes)
        missing = kinds if (feature.codes < 0).any() else _UNSEEN
        return BinnedColumn(feature, np.empty(0), (np.nan, np.nan), np.arange(kinds), missing, piece, False, ())
    known = ~np.isnan(numbers)
    values = numbers[known]
    limits = float(values.min()), float(values.max())
    if window:
        kinds = len(feature.unique)
        piece = np.where(known, feature.codes, kinds)
        missing = kinds if not known.all() else _UNSEEN
        return BinnedColumn(feature, np.empty(0), limits, np.arange(kinds), missing, piece, True, ())
    if discretizer is None and limits[0] < limits[1]:
        if not known.all():
            raise OptionError(
                Argument("discretizer", None),
                f" gives a value for each standard deviation, and column {feature.name!r} has missing values, which have no place on that scale. "
                "Use 'quartile', which makes them a bin of their own.",
            )
        one = np.zeros(len(numbers), dtype=np.int64)
        return BinnedColumn(
            feature, np.empty(0), limits, np.zeros(1, dtype=np.int64), _UNSEEN, one, False, (), scaled=True
        )
    truth = None if y is None else np.asarray(y)[known]
    edges = bin_edges(feature, values, background.weights[known], discretizer, truth, seed)
    bins = np.searchsorted(edges, values, side="left")
    present = np.unique(bins)
    piece_of_bin = np.full(len(edges) + 1, _UNSEEN, dtype=np.int64)
    piece_of_bin[present] = np.arange(len(present))
    piece = np.full(len(numbers), len(present), dtype=np.int64)
    piece[known] = piece_of_bin[bins]
    missing = len(present) if not known.all() else _UNSEEN
    words = tuple(number_texts(feature, edges))
    return BinnedColumn(feature, edges, limits, piece_of_bin, missing, piece, False, words)


def join_columns(
    name: str, columns: Sequence[BinnedColumn], weights: Floats, *, drawn_inside: bool
) -> tuple[PlayerDistribution, Ints]:
    """Return the distribution of a player of one column or several, and of each of its pieces those of the columns, (pieces, columns).

    The columns of one player are drawn together, from one background row.

    Args:
        name: of the player. columns: its columns. weights: of the background rows. drawn_inside: whether numbers are drawn inside bins.

    Raises:
        InputError: numbers would be drawn inside bins of infinite values.
    """
    pieces = np.column_stack([c.piece_of_row for c in columns])
    kinds, piece = np.unique(pieces if len(columns) > 1 else pieces[:, 0], axis=0, return_inverse=True)
    piece = piece.reshape(-1).astype(np.int64)
    shares: Floats = np.asarray(np.bincount(piece, weights, len(kinds)), dtype=np.float64)
    mean, std, low, high = (np.full(len(kinds), np.nan) for _ in range(4))
    only = columns[0]
    if len(columns) == 1 and only.is_number and drawn_inside and not only.window:
        numbers = only.feature.numbers
        assert numbers is not None  # noqa: S101  # of numbers and dates
        if not np.isfinite(only.limits).all():
            raise InputError(
                f"column {name!r} of the background has infinite values, and no number can be drawn near them; leave these rows out, "
                "or make the values missing."
            )
        limits = (-np.inf, np.inf) if only.scaled else only.limits
        bounds = np.concatenate([[limits[0]], only.edges, [limits[1]]])
        for b, k in enumerate(only.piece_of_bin):
            if k < 0:
                continue
            inside = piece == k
            w, v = weights[inside] / shares[k], numbers[inside]
            centre = float(w @ v)
            deviation = float(np.sqrt(w @ (v - centre) ** 2))
            if np.ptp(v) > 0 and deviation > 0 and bounds[b + 1] > bounds[b]:
                mean[k], std[k], low[k], high[k] = centre, deviation, bounds[b], bounds[b + 1]
    order = np.argsort(piece, kind="stable")
    atom_rows = order[np.isnan(std)[piece[order]]].astype(np.int64)
    atom_piece = piece[atom_rows]
    columns_at = tuple(c.feature.position for c in columns)
    kind = time_kind(only.feature) if len(columns) == 1 else ""
    origin = only.feature.number_origin if len(columns) == 1 else 0
    share = weights[atom_rows] / shares[atom_piece]
    numbers = only.feature.numbers if len(columns) == 1 else None
    atom_numbers = np.full(len(atom_rows), np.nan) if numbers is None else numbers[atom_rows]
    return PlayerDistribution(
        name, columns_at, shares, mean, std, low, high, atom_rows, atom_piece, share, atom_numbers, kind, origin
    ), kinds.reshape(-1, len(columns))


def player_regions(columns: Sequence[BinnedColumn], kinds: Ints, rows: WeightedRows, weights: Floats) -> RowRegions:
    """Return the own regions of rows for a player of these columns.

    Args:
        columns, kinds: as :func:`join_columns` takes and returns them. rows: aligned. weights: of the background rows.

    Raises:
        DtypeError: as :meth:`BinnedColumn.regions`.
    """
    each = [c.regions(rows, weights) for c in columns]
    if len(each) == 1:
        return each[0]
    conditions = [" and ".join(words) for words in zip(*(r.conditions for r in each), strict=True)]
    piece_of = {tuple(k): i for i, k in enumerate(kinds.tolist())}
    own = np.column_stack([np.where(r.is_unseen, _UNSEEN, r.first) for r in each])
    piece = np.array([piece_of.get(tuple(k), _UNSEEN) for k in own.tolist()], dtype=np.int64)
    return _single_pieces(piece, conditions, np.full(len(piece), np.nan))
