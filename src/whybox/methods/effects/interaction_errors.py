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

__all__ = ["PairMeans", "SizeEstimate", "overall_estimates", "pair_estimates", "rows_left_out"]

MAX_NUMBERS_HELD: Final = 2**26  # predictions that are kept until all pairs are done
NUMBERS_AT_A_TIME: Final = 2**20
SMALLEST_RATIO: Final = 1e-12  # of a size without a row to that with it


@final
@dataclass(frozen=True, eq=False)
class SizeEstimate:
    """A size or ratio, (outputs,), and of a sample its standard error, its interval and the skewness of its logarithm."""

    value: Floats
    std_error: Floats | None = None
    interval_low: Floats | None = None
    interval_high: Floats | None = None
    skewness: Floats | None = None


class CurveObserver(Protocol):
    """What sees the predictions that sizes are made of."""

    def observe_curves(self, grid: Grid, rows: Ints, values: Floats) -> None:
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
        at_own_values: (1, rows, outputs) with the row's own values of the features, over all rows.
        over_all_values: the same of the row as it is, over all values.
        value_of_row: (rows,) which of the different values each row has.
        left_out_curves: (rows left out, values, outputs) what is averaged in `at_own_values`.
        left_out_columns: (rows, rows left out, outputs) what is averaged in `over_all_values`.
    """

    at_own_values: Floats
    over_all_values: Floats
    value_of_row: Ints
    left_out: Ints
    left_out_curves: Floats
    left_out_columns: Floats

    @classmethod
    def from_evaluator(
        cls,
        evaluator: Evaluator,
        members: tuple[int, ...],
        left_out: Ints | None,
        observer: CurveObserver | None = None,
        *,
        keep_columns: bool = False,
    ) -> PairMeans:
        """Evaluate the hybrids of some features; keep those of the rows that will be left out, if any; `observer` sees all."""
        rows, outputs = evaluator.rows, len(evaluator.selection.names)
        _, first, inverse = np.unique(rows.codes[:, list(members)], axis=0, return_index=True, return_inverse=True)
        value_of_row = inverse.reshape(-1)
        features = tuple(rows.feature(p) for p in members)
        grid = Grid(
            features,
            (np.arange(len(first)),),
            rows.table.rows(first),
            value_of_row,
            np.ones(len(value_of_row), dtype=bool),
        )
        rows_kept_apart = np.empty(0, dtype=np.int64) if left_out is None else left_out
        position = np.full(len(rows), -1)
        position[rows_kept_apart] = np.arange(len(rows_kept_apart))
        w = rows.weights[None]
        value_weights = np.stack([np.bincount(value_of_row, w[0], minlength=len(first))])
        at_own_values, over_all_values = np.zeros((1, len(first), outputs)), np.zeros((1, len(rows), outputs))
        left_out_curves = np.empty((len(rows_kept_apart), len(first), outputs))
        left_out_columns = np.empty((len(rows) if keep_columns else 0, len(rows_kept_apart), outputs))
        for _, block, values in evaluator.curve_blocks([grid]):
            if observer is not None:
                observer.observe_curves(grid, block, values)
            at_own_values += np.einsum("sr,rpk->spk", w[:, block], values)
            over_all_values[:, block] = np.einsum("sp,rpk->srk", value_weights, values)
            is_left_out = position[block] >= 0
            left_out_curves[position[block][is_left_out]] = values[is_left_out]
            if keep_columns and len(rows_kept_apart):
                left_out_columns[block] = values[:, value_of_row[rows_kept_apart]]
        return cls(
            at_own_values[:, value_of_row],
            over_all_values,
            value_of_row,
            rows_kept_apart,
            left_out_curves,
            left_out_columns,
        )

    def at_own_values_without(self, w: Floats, block: slice) -> Floats:
        """Return `at_own_values` without each of some rows, (some, rows, outputs)."""
        left_out_weights = w[self.left_out[block], None, None]
        return np.asarray(
            (self.at_own_values - left_out_weights * self.left_out_curves[block][:, self.value_of_row])
            / (1.0 - left_out_weights)
        )

    def over_all_values_without(self, w: Floats, block: slice) -> Floats:
        """Return `over_all_values` without each of some rows, (some, rows, outputs)."""
        left_out_weights = w[self.left_out[block], None, None]
        return np.asarray(
            (self.over_all_values - left_out_weights * self.left_out_columns[:, block].swapaxes(0, 1))
            / (1.0 - left_out_weights)
        )


def pair_estimates(
    w: Floats, both: PairMeans, first: PairMeans, second: PairMeans, floor: Floats, level: float | None
) -> tuple[SizeEstimate, SizeEstimate]:
    """Return size and H squared of two features: ``PD_jk - PD_j - PD_k`` against ``PD_jk``."""

    def means(block: slice) -> tuple[Floats, Floats, Floats]:
        return (
            both.at_own_values_without(w, block),
            first.at_own_values_without(w, block),
            second.at_own_values_without(w, block),
        )

    return _size_and_ratio(
        w, (both.at_own_values, first.at_own_values, second.at_own_values), both.left_out, means, floor, level
    )


def overall_estimates(
    w: Floats, predictions: Floats, own: PairMeans, floor: Floats, level: float | None
) -> tuple[SizeEstimate, SizeEstimate]:
    """Return size and H squared of a feature with all others: ``f - PD_j - PD_without_j`` against f."""

    def means(block: slice) -> tuple[Floats, Floats, Floats]:
        return predictions[None], own.at_own_values_without(w, block), own.over_all_values_without(w, block)

    return _size_and_ratio(
        w, (predictions[None], own.at_own_values, own.over_all_values), own.left_out, means, floor, level
    )


def _size_and_ratio(  # the parts of one formula
    w: Floats,
    whole: tuple[Floats, Floats, Floats],
    left_out: Ints,
    means_without: Callable[[slice], tuple[Floats, Floats, Floats]],
    floor: Floats,
    level: float | None,
) -> tuple[SizeEstimate, SizeEstimate]:
    squares, whole_squares = _interaction_and_whole(w[None], *whole)
    size, ratio = np.sqrt(squares[0]), ratio_above_rounding(squares, whole_squares, floor)[0]
    if level is None:
        return SizeEstimate(size), SizeEstimate(ratio)
    sizes, ratios = np.empty((2, len(left_out), len(size)))
    for block in _block_slices(len(left_out), whole[0].size):
        shares = np.tile(w, (block.stop - block.start, 1))
        shares[np.arange(len(shares)), left_out[block]] = 0.0
        squares, whole_squares = _interaction_and_whole(
            shares / shares.sum(axis=1, keepdims=True), *means_without(block)
        )
        sizes[block], ratios[block] = np.sqrt(squares), ratio_above_rounding(squares, whole_squares, floor)
    jackknife = _Jackknife(w, left_out, level, np.asarray(size**2 <= floor))
    found = jackknife.estimate_error(size, sizes, corrected=True)
    return found, jackknife.estimate_error(ratio, ratios, tail=found.skewness)


def _block_slices(count: int, numbers: int) -> Iterator[slice]:
    size = max(1, NUMBERS_AT_A_TIME // max(numbers, 1))
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def _interaction_and_whole(shares: Floats, both: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Weighted means, over rows, of squares of what both do beyond each, and of what both do, (sets, outputs); sets of shares (sets, rows)."""
    whole = _centred_over_rows(both, shares)
    rest = whole - _centred_over_rows(first, shares) - _centred_over_rows(second, shares)
    return np.einsum("sr,srk->sk", shares, rest**2), np.einsum("sr,srk->sk", shares, whole**2)


def _centred_over_rows(values: Floats, shares: Floats) -> Floats:
    near = values - values[:, :1]  # what is the same in all rows leaves no rounding behind
    near = np.broadcast_to(near, (len(shares), *near.shape[1:]))
    return np.asarray(near - np.einsum("sr,srk->sk", shares, near)[:, None])


@final
@dataclass(frozen=True, eq=False)
class _Jackknife:
    """The rows that are left out, and what errors take of them.

    Attributes:
        weights: (rows,) of all rows. left_out: which are left out. level: of intervals.
        is_rounding: (outputs,) where the size is rounding, so that there is no error to find.
    """

    weights: Floats
    left_out: Ints
    level: float
    is_rounding: npt.NDArray[np.bool_]

    def estimate_error(
        self, value: Floats, without: Floats, *, corrected: bool = False, tail: Floats | None = None
    ) -> SizeEstimate:
        """Return an estimate with its error, from what it is without each of some rows, (rows left out, outputs).

        Args:
            corrected: whether the bias of few rows is taken off. tail: skewness of the size, where `value` is the ratio. Both its parts have that tail, and
                what the sample lacks may move it to either side; so the larger skewness counts on both.
        """
        shift, error, _ = self._bias_and_error(value, without)
        best = np.where(value + shift > 0.0, value + shift, value) if corrected else value
        has_error = (value > 0.0) & ~self.is_rounding
        safe = np.where(has_error, value, 1.0)
        logs = np.log(np.where(has_error, np.maximum(without, SMALLEST_RATIO * safe), 1.0))
        _, log_error, skewness = self._bias_and_error(np.log(safe), logs)
        down, up = skewness, skewness
        if tail is not None:
            up = np.maximum(np.abs(skewness), np.abs(tail))
            down = -up
        freedom, middle = self._effective_count - 1.0, np.log(np.where(has_error, best, 1.0))
        with np.errstate(over="ignore"):
            low = np.exp(skewed_interval(middle, log_error, down, self.level, freedom)[0])
            high = np.exp(skewed_interval(middle, log_error, up, self.level, freedom)[1])
        return SizeEstimate(
            np.where(has_error, best, value),
            np.where(has_error, error, 0.0),
            np.where(has_error, low, value),
            np.where(has_error, high, value),
            np.where(has_error, skewness, 0.0),
        )

    @property
    def _effective_count(self) -> float:
        """The effective number of rows."""
        return float(1.0 / (self.weights**2).sum())

    def _bias_and_error(self, whole: Floats, parts: Floats) -> tuple[Floats, Floats, Floats]:
        """Return what to add against the bias, the standard error and the skewness."""
        left_out_weights, times = self.weights[self.left_out], len(self.weights) / len(self.left_out)
        moved = (1.0 - left_out_weights)[:, None] * (whole - parts)
        bias = moved.sum(axis=0)
        off = moved - (left_out_weights / left_out_weights.sum())[:, None] * bias
        squares, cubes = times * (off**2).sum(axis=0), times * (off**3).sum(axis=0)
        error = std_error_of_mean(squares, self._effective_count)
        return times * bias, error, skewness_of_mean(squares, cubes, self._effective_count)
