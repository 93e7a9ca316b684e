"""The accumulated curve of a feature out of the differences of its rows, with its error.

A row moves the curve at point k by the share of its step in its interval b, ``a_kb w_i / W_b (d_ib - m_b)``, less what its place moves the centre; see ale.py.
The sum of squares over rows is the variance, that of cubes gives the skewness, and degrees of freedom are those of Welch and Satterthwaite: each interval
counts as a sample of its own. The mean of an interval without rows is not known, nor is the spread in one of a single row if no interval has more: where
they count, the error is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.methods.common.columns import Ints
from whybox.methods.common.rows import WeightedRows
from whybox.numerics.statistics import skewness_of_mean

__all__ = ["CurveEstimate", "RowDifferences", "accumulate_differences"]

MIN_FREEDOM: Final = 1e-9  # in place of zero degrees of freedom
NEGLIGIBLE_COEFFICIENT: Final = 1e-12  # of an interval in a point, but for rounding


@final
@dataclass(frozen=True, eq=False)
class RowDifferences:
    """Differences of rows: `row_of_step` and `interval_of_step` (m,), `differences` (m, outputs).

    ``place_of_row`` (rows,) is the interval or level of each row, -1 if left out.
    """

    row_of_step: Ints
    interval_of_step: Ints
    differences: Floats
    place_of_row: Ints
    n_intervals: int
    in_intervals: bool  # rows are in intervals (numbers), else at levels (categories)


@final
@dataclass(frozen=True, eq=False)
class CurveEstimate:
    """A curve at its points with its error, (points, outputs) each."""

    values: Floats
    std_error: Floats
    skewness: Floats
    freedom: Floats


@final
@dataclass(frozen=True, eq=False)
class _IntervalMeans:
    """The mean difference of each interval, (intervals, outputs), with what its error needs.

    ``weight_sums`` and ``effective_counts`` (intervals,) are the weight and the effective number of rows. ``step_shares`` and
    ``deviations`` are of each step: its share of the weight of its interval, and its distance from the mean, (steps, outputs).
    """

    mean: Floats
    weight_sums: Floats
    effective_counts: Floats
    step_shares: Floats
    deviations: Floats


def _interval_means(s: RowDifferences, w: Floats) -> _IntervalMeans:
    step_weight = w[s.row_of_step]
    mass = np.asarray(np.bincount(s.interval_of_step, step_weight, minlength=s.n_intervals), dtype=np.float64)
    squares = np.asarray(np.bincount(s.interval_of_step, step_weight**2, minlength=s.n_intervals), dtype=np.float64)
    rows = np.divide(mass**2, squares, out=np.zeros(s.n_intervals), where=squares > 0)
    shares = np.divide(
        step_weight, mass[s.interval_of_step], out=np.zeros_like(step_weight), where=mass[s.interval_of_step] > 0
    )
    sums = [np.bincount(s.interval_of_step, shares * d, minlength=s.n_intervals) for d in s.differences.T]
    mean = np.asarray(np.column_stack(sums), dtype=np.float64)
    return _IntervalMeans(mean, mass, rows, shares, s.differences - mean[s.interval_of_step])


def accumulate_differences(rows: WeightedRows, s: RowDifferences) -> CurveEstimate:
    """Return the centred curve at each edge or level with its error, (points, outputs)."""
    inside = s.place_of_row >= 0
    w = np.where(inside, rows.weights, 0.0)
    w = w / w.sum() if w.sum() > 0 else w
    m = _interval_means(s, w)
    curve = np.concatenate([np.zeros((1, m.mean.shape[1])), np.cumsum(m.mean, axis=0)])
    curve_at_place = (curve[1:] + curve[:-1]) / 2 if s.in_intervals else curve
    place_shares = np.asarray(
        np.bincount(s.place_of_row[inside], w[inside], minlength=len(curve_at_place)), dtype=np.float64
    )
    curve_mean = place_shares @ curve_at_place
    centre = np.where(inside[:, None], curve_at_place[np.maximum(s.place_of_row, 0)] - curve_mean, 0.0)
    effective_count = float(1.0 / (w**2).sum())
    centre = w[:, None] * centre * np.sqrt(effective_count / max(effective_count - 1.0, 1e-9))
    error = [
        _curve_error(_interval_coefficients(place_shares, s), s, m, j, centre[:, j], effective_count)
        for j in range(curve.shape[1])
    ]
    return CurveEstimate(curve - curve_mean, *(np.column_stack(parts) for parts in zip(*error, strict=True)))


def _curve_error(
    coefficients: Floats, s: RowDifferences, m: _IntervalMeans, output: int, centre: Floats, effective_count: float
) -> tuple[Floats, Floats, Floats]:
    """Return the standard error at each point, its skewness and its degrees of freedom, (points,) each."""
    has_several = m.effective_counts > 1.0 + 1e-9
    stretch = np.sqrt(
        np.divide(m.effective_counts, m.effective_counts - 1.0, out=np.ones_like(m.effective_counts), where=has_several)
    )
    moved = m.step_shares * stretch[s.interval_of_step] * m.deviations[:, output]
    variance, cubes = _over_rows(coefficients, s, moved, centre)
    # of each interval, of those of one row together, and of the centre: variance and degrees of freedom
    variances = [
        *(coefficients**2 * np.bincount(s.interval_of_step, moved**2, minlength=s.n_intervals)).T,
        np.full(len(coefficients), centre @ centre),
    ]
    freedom = [*(m.effective_counts - 1.0), effective_count - 1.0]
    unknown = m.weight_sums == 0 if has_several.any() else np.ones_like(has_several)
    single_variance = (coefficients**2)[:, ~has_several & ~unknown].sum(axis=1)
    if single_variance.any():
        spread = m.weight_sums[s.interval_of_step] @ (
            m.step_shares * (stretch[s.interval_of_step] * m.deviations[:, output]) ** 2
        )
        pooled = single_variance * (spread / m.weight_sums[has_several].sum())
        variance = variance + pooled
        variances, freedom = [*variances, pooled], [*freedom, (m.effective_counts[has_several] - 1.0).sum()]
    below = sum(v**2 / max(f, MIN_FREEDOM) for v, f in zip(variances, freedom, strict=True))
    total_variance = np.sum(variances, axis=0)
    degrees = np.divide(
        total_variance**2, below, out=np.full(len(coefficients), effective_count - 1.0), where=below > 0.0
    )
    is_unbounded = (np.abs(coefficients[:, unknown]) > NEGLIGIBLE_COEFFICIENT).any(axis=1)
    skewness = skewness_of_mean(variance, cubes, effective_count)
    return (
        np.where(is_unbounded, np.inf, np.sqrt(variance)),
        np.where(is_unbounded, 0.0, skewness),
        np.maximum(degrees, 1.0),
    )


def _over_rows(coefficients: Floats, s: RowDifferences, moved: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Return the second and third power, summed over rows, of what each row moves the points by, (points,) each.

    A row has up to three parts: its step in the interval at its place, that in the one below (from a level down), and the centre.
    """
    parts = np.zeros((len(centre), 3))
    at_place = s.interval_of_step == s.place_of_row[s.row_of_step]
    parts[s.row_of_step[at_place], 0], parts[s.row_of_step[~at_place], 1] = moved[at_place], moved[~at_place]
    parts[:, 2] = -centre
    square_sums, cube_sums = _power_sums(parts, s.place_of_row, s.n_intervals if s.in_intervals else s.n_intervals + 1)
    none = np.zeros((len(coefficients), 1))
    above, below = (
        (coefficients, np.zeros_like(coefficients))
        if s.in_intervals
        else (np.hstack([coefficients, none]), np.hstack([none, coefficients]))
    )
    times = np.stack([above, below, np.ones_like(above)], axis=-1)
    squares = np.einsum("kga,kgb,gab->k", times, times, square_sums, optimize=True)
    cubes = np.einsum("kga,kgb,kgc,gabc->k", times, times, times, cube_sums, optimize=True)
    return np.maximum(squares, 0.0), np.asarray(cubes)


def _power_sums(parts: Floats, place: Ints, places: int) -> tuple[Floats, Floats]:
    """Sums over the rows of each place of products of two of their parts, and of three."""
    inside = place >= 0
    at, parts = place[inside], parts[inside]
    square_sums, cube_sums = np.zeros((places, 3, 3)), np.zeros((places, 3, 3, 3))
    for i in range(3):
        for j in range(i + 1):
            both = parts[:, i] * parts[:, j]
            square_sums[:, i, j] = square_sums[:, j, i] = np.bincount(at, both, minlength=places)
            for k in range(j + 1):
                cube_sum = np.bincount(at, both * parts[:, k], minlength=places)
                for a, b, c in permutations((i, j, k)):
                    cube_sums[:, a, b, c] = cube_sum
    return square_sums, cube_sums


def _interval_coefficients(share: Floats, s: RowDifferences) -> Floats:
    """How much the mean of each interval counts in the curve at each point, (points, intervals)."""
    below = np.tril(np.ones((s.n_intervals + 1, s.n_intervals)), -1)
    part = (below[1:] + below[:-1]) / 2 if s.in_intervals else below
    return np.asarray(below - share @ part)
