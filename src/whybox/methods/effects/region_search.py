"""The search for regions: which condition on another feature makes individual curves agree, and whether it is more than chance.

A condition is judged by its gain: how much less the sum of squared distances from the mean curve is in its two parts. A model that was fitted to noise has
curves that disagree too, a little by every feature. So a split must reduce the distances of its rows by a quarter, and either by three fifths or by a quarter
of the spread of the curves themselves; and it must do so on rows that were held out: the search is repeated on one half of the rows, and the split that it finds there
is judged on the other half, and the other way round.

Two features can decide together what neither decides alone (exclusive or). Where no single split is enough, the search looks two steps ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Feature, Ints

__all__ = ["MAX_PAIR_COLUMNS", "Condition", "CurveShapes", "SplitSearch"]

CUTS_TRIED: Final = 20  # of a number that are tried
CATEGORIES_TRIED: Final = 20  # categories that are tried
MIN_REGION_ROWS: Final = 20
MIN_REGION_SHARE: Final = 0.05
MIN_GAIN: Final = 0.25  # of the squared distances in the region
LARGE_GAIN: Final = 0.6  # of them: enough where the curves move much in all rows alike
MIN_GAIN_OF_PAIR: Final = 0.5  # of them, by two successive splits together
MIN_GAIN_OF_SPREAD: Final = 0.25  # of the curves' own spread: enough beside MIN_GAIN
SMALL_GAIN_OF_SPREAD: Final = 0.01  # of the curves' own spread: too little, however well the curves then agree
MIN_GAIN_OF_ALL: Final = 0.05  # of the squared distances over all rows
MAX_PAIR_COLUMNS: Final = 60  # columns whose pairs are looked at
MAX_PAIR_ROWS: Final = 2000  # rows that pairs are looked at with
MAX_PAIR_DIRECTIONS: Final = 8  # directions of curves that pairs are looked at with

_SOME_PAIRS: Final = (
    "Splits that show only in two steps were looked for among the first {} of {} columns; put those that matter first."
)
Truths = npt.NDArray[np.bool_]
_MinSide = tuple[int, float]  # fewest rows, least weight of a side


@final
@dataclass(frozen=True, eq=False)
class CurveShapes:
    """Centred curves, one line a row, so that squared distances are plain: points and outputs side by side, each times the root of its share.

    Attributes:
        centred_curves: (rows, points x outputs), less the mean curve of all rows. mean_curve: (points x outputs), that curve. weights: (rows,).
    """

    centred_curves: Floats
    mean_curve: Floats
    weights: Floats

    def sum_of_squares(self, rows: Ints) -> float:
        """Weighted sum of squared distances from the mean curve."""
        w, x = self.weights[rows], self.centred_curves[rows]
        total = w.sum()
        return 0.0 if total == 0 else max(float(w @ (x**2).sum(axis=1) - ((w @ x) ** 2).sum() / total), 0.0)

    def variance_over_points(self, rows: Ints) -> float:
        """Weighted sum of the variances of the curves over the points: what the feature does, alike in all rows or not."""
        return float(self.weights[rows] @ ((self.centred_curves[rows] + self.mean_curve) ** 2).sum(axis=1))

    def heterogeneity(self, rows: Ints) -> float:
        """Root mean square distance of the curves from their mean, computed from the differences, so that it is zero where they agree."""
        w, x = self.weights[rows], self.centred_curves[rows]
        if not w.sum() > 0:
            return 0.0
        w = w / w.sum()
        return float(np.sqrt(w @ ((x - w @ x) ** 2).sum(axis=1)))

    def few_directions(self, rows: Ints) -> Floats:
        """All lines, along the directions in which those of these rows differ most, (all rows, directions): enough to find a pair of features by."""
        weighted = self.centred_curves[rows] * np.sqrt(self.weights[rows])[:, None]
        _, directions = np.linalg.eigh(weighted.T @ weighted)
        return np.ascontiguousarray(self.centred_curves @ directions[:, -MAX_PAIR_DIRECTIONS:])


@final
@dataclass(frozen=True, eq=False)
class Condition:
    """A split of all rows: which of them meet the condition, and both sides in words."""

    is_met: Truths
    met_text: str
    unmet_text: str

    def split_rows(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return those of the rows that meet it, and the others."""
        is_met = self.is_met[rows]
        return rows[is_met], rows[~is_met]


@final
@dataclass(frozen=True, eq=False)
class _SplitPair:
    """A split, and where two steps were looked ahead the splits of both its parts."""

    first_split: Condition
    left_split: Condition | None = None
    right_split: Condition | None = None

    def leaf_rows(self, rows: Ints) -> list[Ints]:
        pairs = zip((self.left_split, self.right_split), self.first_split.split_rows(rows), strict=True)
        return [leaf for condition, part in pairs for leaf in (condition.split_rows(part) if condition else (part,))]


@final
@dataclass(frozen=True, eq=False)
class _ColumnConditions:
    """Conditions on one column: every row is in one bin, and each condition is a set of bins.

    Attributes:
        bin_of_row: (all rows,) positions, meaningful for the rows of the region. bin_sets: (conditions, bins), 1 where a bin meets the condition.
        side_texts: both sides of each condition.
    """

    bin_of_row: Ints
    bin_sets: Floats
    side_texts: Sequence[tuple[str, str]]

    def condition_at(self, i: int) -> Condition:
        return Condition(self.bin_sets[i][self.bin_of_row] > 0, *self.side_texts[i])


@final
class SplitSearch:
    """Splits of regions by the columns at hand.

    Args:
        shapes: the curves of all rows. columns: their features, without the one whose curves these are. rounding: squared distances that are rounding.

    Attributes:
        notes: what was left out of the search.
    """

    def __init__(self, shapes: CurveShapes, columns: Sequence[Feature], rounding: float) -> None:
        self.shapes, self.columns = shapes, columns
        self.notes: tuple[str, ...] = ()
        self.min_gain = max(rounding, MIN_GAIN_OF_ALL * shapes.sum_of_squares(np.arange(len(shapes.weights))))

    def single_split(self, rows: Ints) -> Condition | None:
        """Return the condition that makes the curves of these rows agree best, if its gain is enough."""
        if self.shapes.sum_of_squares(rows) <= self.min_gain:
            return None
        cuts = [_column_conditions(feature, rows) for feature in self.columns]
        return self._confirmed_split(rows, lambda part, sizes: self._best_single(cuts, part, sizes), MIN_GAIN)

    def first_of_two(self, rows: Ints) -> Condition | None:
        """Return the first of two successive splits whose gain together is enough."""
        if self.shapes.sum_of_squares(rows) <= self.min_gain:
            return None
        if len(self.columns) > MAX_PAIR_COLUMNS:
            self.notes = (_SOME_PAIRS.format(MAX_PAIR_COLUMNS, len(self.columns)),)
        cuts = [_column_conditions(feature, rows) for feature in self.columns[:MAX_PAIR_COLUMNS]]
        lines = self.shapes.few_directions(rows)
        return self._confirmed_split(
            rows, lambda part, sizes: _best_pair(self.shapes, cuts, lines, part, sizes), MIN_GAIN_OF_PAIR
        )

    def is_enough(self, rows: Ints, leaves: Sequence[Ints], share: float = MIN_GAIN) -> bool:
        """Whether the gain of these parts of the rows is enough; `share`: of the squared distances that it must be at least."""
        gain = self.shapes.sum_of_squares(rows) - sum(map(self.shapes.sum_of_squares, leaves))
        return self._is_enough(gain, rows, share)

    def _is_enough(self, gain: float, rows: Ints, share: float) -> bool:
        squares, spread = self.shapes.sum_of_squares(rows), self.shapes.variance_over_points(rows)
        if not gain > max(self.min_gain, share * squares, SMALL_GAIN_OF_SPREAD * spread):
            return False
        return gain >= LARGE_GAIN * squares or gain >= MIN_GAIN_OF_SPREAD * spread

    def _confirmed_split(
        self, rows: Ints, search: Callable[[Ints, _MinSide], _SplitPair | None], share: float
    ) -> Condition | None:
        """Search all rows; then each half of them, and judge what is found on the other half."""
        found = search(rows, self._min_side(rows, rows))
        if found is None or not self.is_enough(rows, found.leaf_rows(rows), share):
            return None
        shuffled = np.random.default_rng(0).permutation(rows)
        halves = np.sort(shuffled[: len(rows) // 2]), np.sort(shuffled[len(rows) // 2 :])
        gain = 0.0
        for half, held_out in (halves, halves[::-1]):
            half_split = search(half, self._min_side(rows, half))
            if half_split is not None:
                gain += self.shapes.sum_of_squares(held_out) - sum(
                    map(self.shapes.sum_of_squares, half_split.leaf_rows(held_out))
                )
        return found.first_split if self._is_enough(gain, rows, share) else None

    def _min_side(self, rows: Ints, part: Ints) -> _MinSide:
        """How many rows, and how much weight, a side must have: of all rows, or in proportion of a part of them."""
        w = self.shapes.weights
        share = w[part].sum() / w[rows].sum() if w[rows].sum() > 0 else 1.0
        return MIN_REGION_ROWS * len(part) // len(rows), MIN_REGION_SHARE * float(share)

    def _best_single(
        self, column_conditions: Sequence[_ColumnConditions], rows: Ints, sizes: _MinSide
    ) -> _SplitPair | None:
        numbers = _weighted_curves(self.shapes.centred_curves[rows], self.shapes.weights[rows])
        best, chosen = 0.0, None
        for cuts in column_conditions:
            sums = _bin_sums(cuts.bin_of_row[rows], cuts.bin_sets.shape[1], numbers)
            gains = _condition_gains(cuts.bin_sets, sums, sizes)
            if gains.size and gains.max() > best * (1 + 1e-9):
                best, chosen = float(gains.max()), (cuts, int(gains.argmax()))
        return None if chosen is None else _SplitPair(chosen[0].condition_at(chosen[1]))


def _best_pair(
    shapes: CurveShapes, column_conditions: Sequence[_ColumnConditions], lines: Floats, rows: Ints, sizes: _MinSide
) -> _SplitPair | None:
    """The split whose two parts can be split best, each by a condition of its own."""
    if len(rows) > MAX_PAIR_ROWS:
        rows_tried = rows[np.linspace(0, len(rows) - 1, MAX_PAIR_ROWS).astype(np.int64)]
        share = shapes.weights[rows_tried].sum() / shapes.weights[rows].sum()
        rows, sizes = rows_tried, (sizes[0] * MAX_PAIR_ROWS // len(rows), sizes[1] * float(share))
    numbers = _weighted_curves(lines[rows], shapes.weights[rows])
    seconds = [_SecondSplits.no_splits(len(cuts.bin_sets)) for cuts in column_conditions]
    firsts = []
    for i, a in enumerate(column_conditions):
        firsts.append(_condition_gains(a.bin_sets, _bin_sums(a.bin_of_row[rows], a.bin_sets.shape[1], numbers), sizes))
        for j in range(i, len(column_conditions)):
            b = column_conditions[j]
            bins = a.bin_sets.shape[1], b.bin_sets.shape[1]
            table = _bin_sums(a.bin_of_row[rows] * bins[1] + b.bin_of_row[rows], bins[0] * bins[1], numbers).reshape(
                *bins, -1
            )
            seconds[i].try_column(j, a.bin_sets, b.bin_sets, table, sizes)
            if i != j:
                seconds[j].try_column(i, b.bin_sets, a.bin_sets, table.swapaxes(0, 1), sizes)
    pair_gains = [first + second.gains.sum(axis=1) for first, second in zip(firsts, seconds, strict=True)]
    best = max((float(t.max(initial=-np.inf)), -i) for i, t in enumerate(pair_gains)) if pair_gains else (-np.inf, 0)
    if not np.isfinite(best[0]):
        return None
    column = -best[1]
    condition = int(pair_gains[column].argmax())
    left, right = (
        None if j < 0 else column_conditions[j].condition_at(int(c))
        for j, c in zip(seconds[column].columns[condition], seconds[column].conditions[condition], strict=True)
    )
    return _SplitPair(column_conditions[column].condition_at(condition), left, right)


@final
@dataclass(frozen=True, eq=False)
class _SecondSplits:
    """The best second split on either side of each condition of a column: its gain, its column (-1: none) and its condition; each (conditions, 2)."""

    gains: Floats
    columns: Ints
    conditions: Ints

    @classmethod
    def no_splits(cls, count: int) -> _SecondSplits:
        return cls(np.zeros((count, 2)), np.full((count, 2), -1), np.full((count, 2), -1))

    def try_column(self, column: int, first: Floats, second: Floats, table: Floats, sizes: _MinSide) -> None:
        """Try the conditions of a column; `table`: (bins of the first, bins of the second, sums)."""
        if not len(first) or not len(second):
            return
        sums_met = np.tensordot(first, table, 1)
        for side, sums in enumerate((sums_met, table.sum(axis=0) - sums_met)):
            gains = _condition_gains(second, sums, sizes)
            best = gains.max(axis=1)
            better = best > self.gains[:, side] * (1 + 1e-9)
            self.gains[better, side] = best[better]
            self.columns[better, side] = column
            self.conditions[better, side] = gains.argmax(axis=1)[better]


def _weighted_curves(lines: Floats, weights: Floats) -> Floats:
    """Lines times weights, the weights, and a one a row: sums of these tell the squared distances of any set of rows."""
    w = weights[:, None]
    return np.hstack([w * lines, w, np.ones_like(w)])


def _bin_sums(bins: Ints, count: int, numbers: Floats) -> Floats:
    """Sum numbers, one line a row, by bin."""
    out = np.zeros((count, numbers.shape[1]))
    order = np.argsort(bins, kind="stable")
    present, starts = np.unique(bins[order], return_index=True)
    if len(present):
        out[present] = np.add.reduceat(numbers[order], starts, axis=0)
    return out


def _condition_gains(sets: Floats, sums: Floats, sizes: _MinSide) -> Floats:
    """Return the gain of each condition, (..., conditions), from sums by bin, (..., bins, numbers); -inf where a side is too small."""
    sums_met = sets @ sums
    whole = sums.sum(axis=-2, keepdims=True)
    sides = np.stack([sums_met, whole - sums_met, np.broadcast_to(whole, sums_met.shape)])
    mass, rows = sides[..., -2], np.rint(sides[..., -1])
    squares = (sides[..., :-2] ** 2).sum(axis=-1) / np.where(mass > 0, mass, 1.0)
    enough = (rows[:2] >= max(sizes[0], 1)).all(axis=0) & (mass[:2] >= sizes[1]).all(axis=0)
    return np.asarray(np.where(enough, squares[0] + squares[1] - squares[2], -np.inf))


def _column_conditions(feature: Feature, rows: Ints) -> _ColumnConditions:
    """Return the conditions on a feature that are tried for these rows."""
    codes = feature.codes
    is_missing = codes[rows] < 0
    known = np.sort(codes[rows][~is_missing])
    if feature.numbers is None:
        bin_of_row, bin_sets, side_texts = _category_conditions(feature, known)
    else:
        bin_of_row, bin_sets, side_texts = _threshold_conditions(
            feature, known, " or missing" if is_missing.any() else ""
        )
    missing = bin_sets.shape[1]
    bin_sets = np.hstack([bin_sets, np.zeros((len(bin_sets), 1))])
    if is_missing.any() and len(known):
        bin_sets = np.vstack([np.eye(1, missing + 1, missing), bin_sets])
        side_texts = [(f"{feature.name} is missing", f"{feature.name} is known"), *side_texts]
    return _ColumnConditions(np.where(codes < 0, missing, bin_of_row), bin_sets, side_texts)


def _category_conditions(feature: Feature, known: Ints) -> tuple[Ints, Floats, list[tuple[str, str]]]:
    """The commonest categories, one by one: the bin of each row, the sets of bins, the words."""
    common, counts = np.unique(known, return_counts=True)
    tried = common[np.argsort(-counts, kind="stable")][:CATEGORIES_TRIED]
    bin_of_code = np.full(len(feature.unique) + 1, len(tried))
    bin_of_code[tried] = np.arange(len(tried))
    texts = [str(v) for v in feature.unique]
    words = [texts[c] if texts.count(texts[c]) == 1 else repr(feature.unique[c]) for c in tried]
    pairs = [(f"{feature.name} = {word}", f"{feature.name} is not {word}") for word in words]
    return bin_of_code[feature.codes], np.eye(len(tried), len(tried) + 1), pairs


def _threshold_conditions(feature: Feature, known: Ints, or_missing: str) -> tuple[Ints, Floats, list[tuple[str, str]]]:
    """Thresholds at evenly spaced ranks: the bin of each row, the sets of bins, the words."""
    if not len(known):
        return np.zeros(len(feature.codes), dtype=np.int64), np.zeros((0, 1)), []
    cuts = np.unique(known[np.linspace(0, len(known) - 1, CUTS_TRIED + 2).astype(np.int64)[1:-1]])
    pairs = []
    for cut in cuts:
        edge, above = feature.unique[cut], feature.unique[min(int(cut) + 1, len(feature.unique) - 1)]
        exact = feature.kind == "datetime" or float(edge) == float(above)
        word = str(edge) if exact else _short_between(float(edge), float(above))
        pairs.append((f"{feature.name} <= {word}", f"{feature.name} > {word}{or_missing}"))
    return np.searchsorted(cuts, feature.codes), np.tri(len(cuts), len(cuts) + 1), pairs


def _short_between(edge: float, above: float) -> str:
    """The shortest number from `edge` up to, but not including, the next value: it splits the rows exactly so."""
    if edge < above < np.inf:
        for digits in range(2, 17):
            word = f"{(edge + above) / 2:.{digits}g}"
            if edge <= float(word) < above:
                return word
    return repr(edge)
