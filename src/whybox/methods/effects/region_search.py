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
_Sizes = tuple[int, float]  # fewest rows, least weight of a side


@final
@dataclass(frozen=True, eq=False)
class CurveShapes:
    """Centred curves, one line a row, so that squared distances are plain: points and outputs side by side, each times the root of its share.

    Attributes:
        lines: (rows, points x outputs), less the mean curve of all rows. mean: (points x outputs), that curve. weights: (rows,).
    """

    lines: Floats
    mean: Floats
    weights: Floats

    def squares(self, rows: Ints) -> float:
        """Weighted sum of squared distances from the mean curve."""
        w, x = self.weights[rows], self.lines[rows]
        total = w.sum()
        return 0.0 if total == 0 else max(float(w @ (x**2).sum(axis=1) - ((w @ x) ** 2).sum() / total), 0.0)

    def spread(self, rows: Ints) -> float:
        """Weighted sum of the variances of the curves over the points: what the feature does, alike in all rows or not."""
        return float(self.weights[rows] @ ((self.lines[rows] + self.mean) ** 2).sum(axis=1))

    def heterogeneity(self, rows: Ints) -> float:
        """Root mean square distance of the curves from their mean, computed from the differences, so that it is zero where they agree."""
        w, x = self.weights[rows], self.lines[rows]
        if not w.sum() > 0:
            return 0.0
        w = w / w.sum()
        return float(np.sqrt(w @ ((x - w @ x) ** 2).sum(axis=1)))

    def few_directions(self, rows: Ints) -> Floats:
        """All lines, along the directions in which those of these rows differ most, (all rows, directions): enough to find a pair of features by."""
        weighted = self.lines[rows] * np.sqrt(self.weights[rows])[:, None]
        _, directions = np.linalg.eigh(weighted.T @ weighted)
        return np.ascontiguousarray(self.lines @ directions[:, -MAX_PAIR_DIRECTIONS:])


@final
@dataclass(frozen=True, eq=False)
class Condition:
    """A split of all rows: which of them meet the condition, and both sides in words."""

    left: Truths
    yes: str
    no: str

    def parts(self, rows: Ints) -> tuple[Ints, Ints]:
        """Return those of the rows that meet it, and the others."""
        here = self.left[rows]
        return rows[here], rows[~here]


@final
@dataclass(frozen=True, eq=False)
class _Splits:
    """A split, and where two steps were looked ahead the splits of both its parts."""

    first: Condition
    left: Condition | None = None
    right: Condition | None = None

    def leaves(self, rows: Ints) -> list[Ints]:
        pairs = zip((self.left, self.right), self.first.parts(rows), strict=True)
        return [leaf for condition, part in pairs for leaf in (condition.parts(part) if condition else (part,))]


@final
@dataclass(frozen=True, eq=False)
class _Cuts:
    """Conditions on one column: every row is in one bin, and each condition is a set of bins.

    Attributes:
        bins: (all rows,) positions, meaningful for the rows of the region. sets: (conditions, bins), 1 where a bin meets the condition.
        words: both sides of each condition.
    """

    bins: Ints
    sets: Floats
    words: Sequence[tuple[str, str]]

    def condition(self, i: int) -> Condition:
        return Condition(self.sets[i][self.bins] > 0, *self.words[i])


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
        self.least = max(rounding, MIN_GAIN_OF_ALL * shapes.squares(np.arange(len(shapes.weights))))

    def single(self, rows: Ints) -> Condition | None:
        """Return the condition that makes the curves of these rows agree best, if its gain is enough."""
        if self.shapes.squares(rows) <= self.least:
            return None
        cuts = [_cuts(feature, rows) for feature in self.columns]
        return self._confirmed(rows, lambda part, sizes: self._best_single(cuts, part, sizes), MIN_GAIN)

    def first_of_two(self, rows: Ints) -> Condition | None:
        """Return the first of two successive splits whose gain together is enough."""
        if self.shapes.squares(rows) <= self.least:
            return None
        if len(self.columns) > MAX_PAIR_COLUMNS:
            self.notes = (_SOME_PAIRS.format(MAX_PAIR_COLUMNS, len(self.columns)),)
        cuts = [_cuts(feature, rows) for feature in self.columns[:MAX_PAIR_COLUMNS]]
        lines = self.shapes.few_directions(rows)
        return self._confirmed(
            rows, lambda part, sizes: _best_pair(self.shapes, cuts, lines, part, sizes), MIN_GAIN_OF_PAIR
        )

    def is_enough(self, rows: Ints, leaves: Sequence[Ints], share: float = MIN_GAIN) -> bool:
        """Whether the gain of these parts of the rows is enough; `share`: of the squared distances that it must be at least."""
        gain = self.shapes.squares(rows) - sum(map(self.shapes.squares, leaves))
        return self._is_enough(gain, rows, share)

    def _is_enough(self, gain: float, rows: Ints, share: float) -> bool:
        here, spread = self.shapes.squares(rows), self.shapes.spread(rows)
        if not gain > max(self.least, share * here, SMALL_GAIN_OF_SPREAD * spread):
            return False
        return gain >= LARGE_GAIN * here or gain >= MIN_GAIN_OF_SPREAD * spread

    def _confirmed(
        self, rows: Ints, search: Callable[[Ints, _Sizes], _Splits | None], share: float
    ) -> Condition | None:
        """Search all rows; then each half of them, and judge what is found on the other half."""
        found = search(rows, self._sizes(rows, rows))
        if found is None or not self.is_enough(rows, found.leaves(rows), share):
            return None
        mixed = np.random.default_rng(0).permutation(rows)
        halves = np.sort(mixed[: len(rows) // 2]), np.sort(mixed[len(rows) // 2 :])
        gain = 0.0
        for part, held_out in (halves, halves[::-1]):
            other = search(part, self._sizes(rows, part))
            if other is not None:
                gain += self.shapes.squares(held_out) - sum(map(self.shapes.squares, other.leaves(held_out)))
        return found.first if self._is_enough(gain, rows, share) else None

    def _sizes(self, rows: Ints, part: Ints) -> _Sizes:
        """How many rows, and how much weight, a side must have: of all rows, or in proportion of a part of them."""
        w = self.shapes.weights
        share = w[part].sum() / w[rows].sum() if w[rows].sum() > 0 else 1.0
        return MIN_REGION_ROWS * len(part) // len(rows), MIN_REGION_SHARE * float(share)

    def _best_single(self, every: Sequence[_Cuts], rows: Ints, sizes: _Sizes) -> _Splits | None:
        numbers = _weighted(self.shapes.lines[rows], self.shapes.weights[rows])
        best, chosen = 0.0, None
        for cuts in every:
            sums = _sums(cuts.bins[rows], cuts.sets.shape[1], numbers)
            gains = _gains(cuts.sets, sums, sizes)
            if gains.size and gains.max() > best * (1 + 1e-9):
                best, chosen = float(gains.max()), (cuts, int(gains.argmax()))
        return None if chosen is None else _Splits(chosen[0].condition(chosen[1]))


def _best_pair(shapes: CurveShapes, every: Sequence[_Cuts], lines: Floats, rows: Ints, sizes: _Sizes) -> _Splits | None:
    """The split whose two parts can be split best, each by a condition of its own."""
    if len(rows) > MAX_PAIR_ROWS:
        fewer = rows[np.linspace(0, len(rows) - 1, MAX_PAIR_ROWS).astype(np.int64)]
        share = shapes.weights[fewer].sum() / shapes.weights[rows].sum()
        rows, sizes = fewer, (sizes[0] * MAX_PAIR_ROWS // len(rows), sizes[1] * float(share))
    numbers = _weighted(lines[rows], shapes.weights[rows])
    seconds = [_SecondSplits.none(len(cuts.sets)) for cuts in every]
    firsts = []
    for i, a in enumerate(every):
        firsts.append(_gains(a.sets, _sums(a.bins[rows], a.sets.shape[1], numbers), sizes))
        for j in range(i, len(every)):
            b = every[j]
            bins = a.sets.shape[1], b.sets.shape[1]
            table = _sums(a.bins[rows] * bins[1] + b.bins[rows], bins[0] * bins[1], numbers).reshape(*bins, -1)
            seconds[i].try_column(j, a.sets, b.sets, table, sizes)
            if i != j:
                seconds[j].try_column(i, b.sets, a.sets, table.swapaxes(0, 1), sizes)
    together = [first + second.gains.sum(axis=1) for first, second in zip(firsts, seconds, strict=True)]
    best = max((float(t.max(initial=-np.inf)), -i) for i, t in enumerate(together)) if together else (-np.inf, 0)
    if not np.isfinite(best[0]):
        return None
    column = -best[1]
    condition = int(together[column].argmax())
    left, right = (
        None if j < 0 else every[j].condition(int(c))
        for j, c in zip(seconds[column].columns[condition], seconds[column].conditions[condition], strict=True)
    )
    return _Splits(every[column].condition(condition), left, right)


@final
@dataclass(frozen=True, eq=False)
class _SecondSplits:
    """The best second split on either side of each condition of a column: its gain, its column (-1: none) and its condition; each (conditions, 2)."""

    gains: Floats
    columns: Ints
    conditions: Ints

    @classmethod
    def none(cls, count: int) -> _SecondSplits:
        return cls(np.zeros((count, 2)), np.full((count, 2), -1), np.full((count, 2), -1))

    def try_column(self, column: int, first: Floats, second: Floats, table: Floats, sizes: _Sizes) -> None:
        """Try the conditions of a column; `table`: (bins of the first, bins of the second, sums)."""
        if not len(first) or not len(second):
            return
        met = np.tensordot(first, table, 1)
        for side, sums in enumerate((met, table.sum(axis=0) - met)):
            gains = _gains(second, sums, sizes)
            best = gains.max(axis=1)
            better = best > self.gains[:, side] * (1 + 1e-9)
            self.gains[better, side] = best[better]
            self.columns[better, side] = column
            self.conditions[better, side] = gains.argmax(axis=1)[better]


def _weighted(lines: Floats, weights: Floats) -> Floats:
    """Lines times weights, the weights, and a one a row: sums of these tell the squared distances of any set of rows."""
    w = weights[:, None]
    return np.hstack([w * lines, w, np.ones_like(w)])


def _sums(bins: Ints, count: int, numbers: Floats) -> Floats:
    """Sum numbers, one line a row, by bin."""
    out = np.zeros((count, numbers.shape[1]))
    order = np.argsort(bins, kind="stable")
    present, starts = np.unique(bins[order], return_index=True)
    if len(present):
        out[present] = np.add.reduceat(numbers[order], starts, axis=0)
    return out


def _gains(sets: Floats, sums: Floats, sizes: _Sizes) -> Floats:
    """Return the gain of each condition, (..., conditions), from sums by bin, (..., bins, numbers); -inf where a side is too small."""
    met = sets @ sums
    whole = sums.sum(axis=-2, keepdims=True)
    sides = np.stack([met, whole - met, np.broadcast_to(whole, met.shape)])
    mass, rows = sides[..., -2], np.rint(sides[..., -1])
    squares = (sides[..., :-2] ** 2).sum(axis=-1) / np.where(mass > 0, mass, 1.0)
    enough = (rows[:2] >= max(sizes[0], 1)).all(axis=0) & (mass[:2] >= sizes[1]).all(axis=0)
    return np.asarray(np.where(enough, squares[0] + squares[1] - squares[2], -np.inf))


def _cuts(feature: Feature, rows: Ints) -> _Cuts:
    """Return the conditions on a feature that are tried for these rows."""
    codes = feature.codes
    gap = codes[rows] < 0
    known = np.sort(codes[rows][~gap])
    if feature.numbers is None:
        bins, sets, words = _equalities(feature, known)
    else:
        bins, sets, words = _thresholds(feature, known, " or missing" if gap.any() else "")
    missing = sets.shape[1]
    sets = np.hstack([sets, np.zeros((len(sets), 1))])
    if gap.any() and len(known):
        sets = np.vstack([np.eye(1, missing + 1, missing), sets])
        words = [(f"{feature.name} is missing", f"{feature.name} is known"), *words]
    return _Cuts(np.where(codes < 0, missing, bins), sets, words)


def _equalities(feature: Feature, known: Ints) -> tuple[Ints, Floats, list[tuple[str, str]]]:
    """The commonest categories, one by one: the bin of each row, the sets of bins, the words."""
    common, counts = np.unique(known, return_counts=True)
    tried = common[np.argsort(-counts, kind="stable")][:CATEGORIES_TRIED]
    bin_of_code = np.full(len(feature.unique) + 1, len(tried))
    bin_of_code[tried] = np.arange(len(tried))
    texts = [str(v) for v in feature.unique]
    words = [texts[c] if texts.count(texts[c]) == 1 else repr(feature.unique[c]) for c in tried]
    pairs = [(f"{feature.name} = {word}", f"{feature.name} is not {word}") for word in words]
    return bin_of_code[feature.codes], np.eye(len(tried), len(tried) + 1), pairs


def _thresholds(feature: Feature, known: Ints, or_missing: str) -> tuple[Ints, Floats, list[tuple[str, str]]]:
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
