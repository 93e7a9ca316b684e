"""Sizes of interactions from predictions at every pair of rows, with their errors where the rows are a sample.

Leave a row out, of both the rows that are averaged over and those where the interaction is measured, and size and H squared change: by ``u_r`` times one less
the row's weight. The sum of the ``u_r`` corrects the size for the bias of few rows; the sum of their squares is the variance, that of their cubes gives the
skewness (the jackknife over single rows). Sizes and ratios are positive with a long upper tail, so intervals are made of their logarithms. H squared is a ratio of
two numbers with such tails: the skewness of the size counts on both sides of its interval.

References:
    Efron & Stein, The jackknife estimate of variance, Annals of Statistics 9 (1981).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.effects.grid import Grid
from whybox.methods.effects.predict_evaluator import Evaluator
from whybox.numerics.rounding import ratio_above_rounding
from whybox.numerics.statistics import skewed_interval, skewness_of_mean, std_error_of_mean

__all__ = ["Estimate", "PairMeans", "overall", "rows_left_out", "together"]

MAX_NUMBERS_HELD: Final = 2**26  # predictions that are kept until all pairs are done
NUMBERS_AT_A_TIME: Final = 2**20
SMALLEST_RATIO: Final = 1e-12  # of a size without a row to that with it


@final
@dataclass(frozen=True, eq=False)
class Estimate:
    """A size or ratio, (outputs,), and of a sample its standard error, its interval and the skewness of its logarithm."""

    value: Floats
    std_error: Floats | None = None
    low: Floats | None = None
    high: Floats | None = None
    skewness: Floats | None = None


class CurveObserver(Protocol):
    """What sees the predictions that sizes are made of."""

    def see_curves(self, grid: Grid, rows: Ints, values: Floats) -> None:
        """See predictions of some rows with the features of a grid set to each of its points, (rows, points, outputs)."""


def rows_left_out(rows: int, features: int, outputs: int) -> Ints:
    """Return the rows that are left out in turn: all, or so many drawn at random that what must be kept fits."""
    count = int(MAX_NUMBERS_HELD // (rows * outputs * (2 * features + 1)))
    if count >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, max(count, 20), replace=False))


@final
@dataclass(frozen=True, eq=False)
class PairMeans:
    """Means of predictions of hybrids, rows that take some features from others, at each row.

    Attributes:
        here: (1, rows, outputs) with the row's own values of the features, over all rows. without: the same of the row as it is, over all values.
        at: (rows,) which of the different values each row has.
        curves: (rows left out, values, outputs) what is averaged in `here`. columns: (rows, rows left out, outputs) what is averaged in `without`.
    """

    here: Floats
    without: Floats
    at: Ints
    left_out: Ints
    curves: Floats
    columns: Floats

    @classmethod
    def of(
        cls,
        evaluator: Evaluator,
        members: tuple[int, ...],
        left_out: Ints | None,
        observer: CurveObserver | None = None,
        *,
        columns: bool = False,
    ) -> PairMeans:
        """Evaluate the hybrids of some features; keep those of the rows that will be left out, if any; `observer` sees all."""
        rows, outputs = evaluator.rows, len(evaluator.selection.names)
        _, first, inverse = np.unique(rows.codes[:, list(members)], axis=0, return_index=True, return_inverse=True)
        at = inverse.reshape(-1)
        features = tuple(rows.feature(p) for p in members)
        grid = Grid(features, (np.arange(len(first)),), rows.table.rows(first), at, np.ones(len(at), dtype=bool))
        out = np.empty(0, dtype=np.int64) if left_out is None else left_out
        position = np.full(len(rows), -1)
        position[out] = np.arange(len(out))
        w = rows.weights[None]
        mass = np.stack([np.bincount(at, w[0], minlength=len(first))])
        here, without = np.zeros((1, len(first), outputs)), np.zeros((1, len(rows), outputs))
        kept = np.empty((len(out), len(first), outputs))
        across = np.empty((len(rows) if columns else 0, len(out), outputs))
        for _, part, values in evaluator.curve_blocks([grid]):
            if observer is not None:
                observer.see_curves(grid, part, values)
            here += np.einsum("sr,rpk->spk", w[:, part], values)
            without[:, part] = np.einsum("sp,rpk->srk", mass, values)
            mine = position[part] >= 0
            kept[position[part][mine]] = values[mine]
            if columns and len(out):
                across[part] = values[:, at[out]]
        return cls(here[:, at], without, at, out, kept, across)

    def here_without(self, w: Floats, some: slice) -> Floats:
        """Return `here` without each of some rows, (some, rows, outputs)."""
        own = w[self.left_out[some], None, None]
        return np.asarray((self.here - own * self.curves[some][:, self.at]) / (1.0 - own))

    def without_without(self, w: Floats, some: slice) -> Floats:
        """Return `without` without each of some rows, (some, rows, outputs)."""
        own = w[self.left_out[some], None, None]
        return np.asarray((self.without - own * self.columns[:, some].swapaxes(0, 1)) / (1.0 - own))


def together(
    w: Floats, both: PairMeans, first: PairMeans, second: PairMeans, least: Floats, level: float | None
) -> tuple[Estimate, Estimate]:
    """Return size and H squared of two features: ``PD_jk - PD_j - PD_k`` against ``PD_jk``."""

    def means(some: slice) -> tuple[Floats, Floats, Floats]:
        return both.here_without(w, some), first.here_without(w, some), second.here_without(w, some)

    return _estimates(w, (both.here, first.here, second.here), both.left_out, means, least, level)


def overall(
    w: Floats, predictions: Floats, own: PairMeans, least: Floats, level: float | None
) -> tuple[Estimate, Estimate]:
    """Return size and H squared of a feature with all others: ``f - PD_j - PD_without_j`` against f."""

    def means(some: slice) -> tuple[Floats, Floats, Floats]:
        return predictions[None], own.here_without(w, some), own.without_without(w, some)

    return _estimates(w, (predictions[None], own.here, own.without), own.left_out, means, least, level)


def _estimates(  # the parts of one formula
    w: Floats,
    whole: tuple[Floats, Floats, Floats],
    left_out: Ints,
    means_without: Callable[[slice], tuple[Floats, Floats, Floats]],
    least: Floats,
    level: float | None,
) -> tuple[Estimate, Estimate]:
    squares, against = _strength(w[None], *whole)
    size, ratio = np.sqrt(squares[0]), ratio_above_rounding(squares, against, least)[0]
    if level is None:
        return Estimate(size), Estimate(ratio)
    sizes, ratios = np.empty((2, len(left_out), len(size)))
    for some in _blocks(len(left_out), whole[0].size):
        shares = np.tile(w, (some.stop - some.start, 1))
        shares[np.arange(len(shares)), left_out[some]] = 0.0
        squares, against = _strength(shares / shares.sum(axis=1, keepdims=True), *means_without(some))
        sizes[some], ratios[some] = np.sqrt(squares), ratio_above_rounding(squares, against, least)
    left = _LeftOut(w, left_out, level, np.asarray(size**2 <= least))
    found = left.estimate(size, sizes, corrected=True)
    return found, left.estimate(ratio, ratios, tail=found.skewness)


def _blocks(count: int, numbers: int) -> Iterator[slice]:
    size = max(1, NUMBERS_AT_A_TIME // max(numbers, 1))
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def _strength(shares: Floats, both: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Weighted means, over rows, of squares of what both do beyond each, and of what both do, (sets, outputs); sets of shares (sets, rows)."""
    whole = _centred(both, shares)
    rest = whole - _centred(first, shares) - _centred(second, shares)
    return np.einsum("sr,srk->sk", shares, rest**2), np.einsum("sr,srk->sk", shares, whole**2)


def _centred(values: Floats, shares: Floats) -> Floats:
    near = values - values[:, :1]  # what is the same in all rows leaves no rounding behind
    near = np.broadcast_to(near, (len(shares), *near.shape[1:]))
    return np.asarray(near - np.einsum("sr,srk->sk", shares, near)[:, None])


@final
@dataclass(frozen=True, eq=False)
class _LeftOut:
    """The rows that are left out, and what errors take of them.

    Attributes:
        weights: (rows,) of all rows. rows: which are left out. level: of intervals.
        nothing: (outputs,) where the size is rounding, so that there is no error to find.
    """

    weights: Floats
    rows: Ints
    level: float
    nothing: npt.NDArray[np.bool_]

    def estimate(
        self, value: Floats, without: Floats, *, corrected: bool = False, tail: Floats | None = None
    ) -> Estimate:
        """Return an estimate with its error, from what it is without each of some rows, (rows left out, outputs).

        Args:
            corrected: whether the bias of few rows is taken off. tail: skewness of the size, where `value` is the ratio. Both its parts have that tail, and
                what the sample lacks may move it to either side; so the larger skewness counts on both.
        """
        shift, error, _ = self._moments(value, without)
        best = np.where(value + shift > 0.0, value + shift, value) if corrected else value
        some = (value > 0.0) & ~self.nothing
        safe = np.where(some, value, 1.0)
        logs = np.log(np.where(some, np.maximum(without, SMALLEST_RATIO * safe), 1.0))
        _, log_error, skewness = self._moments(np.log(safe), logs)
        down, up = skewness, skewness
        if tail is not None:
            up = np.maximum(np.abs(skewness), np.abs(tail))
            down = -up
        freedom, middle = self._count - 1.0, np.log(np.where(some, best, 1.0))
        with np.errstate(over="ignore"):
            low = np.exp(skewed_interval(middle, log_error, down, self.level, freedom)[0])
            high = np.exp(skewed_interval(middle, log_error, up, self.level, freedom)[1])
        return Estimate(
            np.where(some, best, value),
            np.where(some, error, 0.0),
            np.where(some, low, value),
            np.where(some, high, value),
            np.where(some, skewness, 0.0),
        )

    @property
    def _count(self) -> float:
        """The effective number of rows."""
        return float(1.0 / (self.weights**2).sum())

    def _moments(self, whole: Floats, parts: Floats) -> tuple[Floats, Floats, Floats]:
        """Return what to add against the bias, the standard error and the skewness."""
        own, times = self.weights[self.rows], len(self.weights) / len(self.rows)
        moved = (1.0 - own)[:, None] * (whole - parts)
        bias = moved.sum(axis=0)
        off = moved - (own / own.sum())[:, None] * bias
        squares, cubes = times * (off**2).sum(axis=0), times * (off**3).sum(axis=0)
        error = std_error_of_mean(squares, self._count)
        return times * bias, error, skewness_of_mean(squares, cubes, self._count)
