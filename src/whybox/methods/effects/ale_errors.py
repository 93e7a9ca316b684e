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

__all__ = ["Estimate", "Steps", "accumulate"]

NO_FREEDOM: Final = 1e-9  # in place of zero degrees of freedom
NO_PART: Final = 1e-12  # of an interval in a point, but for rounding


@final
@dataclass(frozen=True, eq=False)
class Steps:
    """Differences of rows: row, interval, difference (m, outputs); ``place`` (rows,) is the interval or level of each row, -1 if left out."""

    row: Ints
    interval: Ints
    difference: Floats
    place: Ints
    count: int
    middle: bool  # rows are in intervals (numbers), else at levels (categories)


@final
@dataclass(frozen=True, eq=False)
class Estimate:
    """A curve at its points with its error, (points, outputs) each."""

    values: Floats
    std_error: Floats
    skewness: Floats
    freedom: Floats


@final
@dataclass(frozen=True, eq=False)
class _Means:
    """The mean difference of each interval, (intervals, outputs), with what its error needs.

    ``mass`` and ``rows`` (intervals,) are the weight and the effective number of rows; ``shares`` and ``off`` are of each step: its share of the
    weight of its interval, and its distance from the mean, (steps, outputs).
    """

    mean: Floats
    mass: Floats
    rows: Floats
    shares: Floats
    off: Floats


def _means(s: Steps, w: Floats) -> _Means:
    step_weight = w[s.row]
    mass = np.asarray(np.bincount(s.interval, step_weight, minlength=s.count), dtype=np.float64)
    squares = np.asarray(np.bincount(s.interval, step_weight**2, minlength=s.count), dtype=np.float64)
    rows = np.divide(mass**2, squares, out=np.zeros(s.count), where=squares > 0)
    shares = np.divide(step_weight, mass[s.interval], out=np.zeros_like(step_weight), where=mass[s.interval] > 0)
    sums = [np.bincount(s.interval, shares * d, minlength=s.count) for d in s.difference.T]
    mean = np.asarray(np.column_stack(sums), dtype=np.float64)
    return _Means(mean, mass, rows, shares, s.difference - mean[s.interval])


def accumulate(rows: WeightedRows, s: Steps) -> Estimate:
    """Return the centred curve at each edge or level with its error, (points, outputs)."""
    inside = s.place >= 0
    w = np.where(inside, rows.weights, 0.0)
    w = w / w.sum() if w.sum() > 0 else w
    m = _means(s, w)
    curve = np.concatenate([np.zeros((1, m.mean.shape[1])), np.cumsum(m.mean, axis=0)])
    here = (curve[1:] + curve[:-1]) / 2 if s.middle else curve
    share = np.asarray(np.bincount(s.place[inside], w[inside], minlength=len(here)), dtype=np.float64)
    middle = share @ here
    centre = np.where(inside[:, None], here[np.maximum(s.place, 0)] - middle, 0.0)
    total = float(1.0 / (w**2).sum())
    centre = w[:, None] * centre * np.sqrt(total / max(total - 1.0, 1e-9))
    error = [_error(_counts(share, s), s, m, j, centre[:, j], total) for j in range(curve.shape[1])]
    return Estimate(curve - middle, *(np.column_stack(parts) for parts in zip(*error, strict=True)))


def _error(
    counts: Floats, s: Steps, m: _Means, output: int, centre: Floats, total: float
) -> tuple[Floats, Floats, Floats]:
    """Return the standard error at each point, its skewness and its degrees of freedom, (points,) each."""
    several = m.rows > 1.0 + 1e-9
    stretch = np.sqrt(np.divide(m.rows, m.rows - 1.0, out=np.ones_like(m.rows), where=several))
    moved = m.shares * stretch[s.interval] * m.off[:, output]
    variance, cubes = _over_rows(counts, s, moved, centre)
    # of each interval, of those of one row together, and of the centre: variance and degrees of freedom
    each = [
        *(counts**2 * np.bincount(s.interval, moved**2, minlength=s.count)).T,
        np.full(len(counts), centre @ centre),
    ]
    freedom = [*(m.rows - 1.0), total - 1.0]
    unknown = m.mass == 0 if several.any() else np.ones_like(several)
    alone = (counts**2)[:, ~several & ~unknown].sum(axis=1)
    if alone.any():
        spread = m.mass[s.interval] @ (m.shares * (stretch[s.interval] * m.off[:, output]) ** 2)
        pooled = alone * (spread / m.mass[several].sum())
        variance = variance + pooled
        each, freedom = [*each, pooled], [*freedom, (m.rows[several] - 1.0).sum()]
    below = sum(v**2 / max(f, NO_FREEDOM) for v, f in zip(each, freedom, strict=True))
    every = np.sum(each, axis=0)
    degrees = np.divide(every**2, below, out=np.full(len(counts), total - 1.0), where=below > 0.0)
    endless = (np.abs(counts[:, unknown]) > NO_PART).any(axis=1)
    skewness = skewness_of_mean(variance, cubes, total)
    return np.where(endless, np.inf, np.sqrt(variance)), np.where(endless, 0.0, skewness), np.maximum(degrees, 1.0)


def _over_rows(counts: Floats, s: Steps, moved: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Return the second and third power, summed over rows, of what each row moves the points by, (points,) each.

    A row has up to three parts: its step in the interval at its place, that in the one below (from a level down), and the centre.
    """
    parts = np.zeros((len(centre), 3))
    at_place = s.interval == s.place[s.row]
    parts[s.row[at_place], 0], parts[s.row[~at_place], 1] = moved[at_place], moved[~at_place]
    parts[:, 2] = -centre
    two, three = _powers(parts, s.place, s.count if s.middle else s.count + 1)
    none = np.zeros((len(counts), 1))
    above, below = (
        (counts, np.zeros_like(counts)) if s.middle else (np.hstack([counts, none]), np.hstack([none, counts]))
    )
    times = np.stack([above, below, np.ones_like(above)], axis=-1)
    squares = np.einsum("kga,kgb,gab->k", times, times, two, optimize=True)
    cubes = np.einsum("kga,kgb,kgc,gabc->k", times, times, times, three, optimize=True)
    return np.maximum(squares, 0.0), np.asarray(cubes)


def _powers(parts: Floats, place: Ints, places: int) -> tuple[Floats, Floats]:
    """Sums over the rows of each place of products of two of their parts, and of three."""
    inside = place >= 0
    at, parts = place[inside], parts[inside]
    two, three = np.zeros((places, 3, 3)), np.zeros((places, 3, 3, 3))
    for i in range(3):
        for j in range(i + 1):
            both = parts[:, i] * parts[:, j]
            two[:, i, j] = two[:, j, i] = np.bincount(at, both, minlength=places)
            for k in range(j + 1):
                found = np.bincount(at, both * parts[:, k], minlength=places)
                for a, b, c in permutations((i, j, k)):
                    three[:, a, b, c] = found
    return two, three


def _counts(share: Floats, s: Steps) -> Floats:
    """How much the mean of each interval counts in the curve at each point, (points, intervals)."""
    below = np.tril(np.ones((s.count + 1, s.count)), -1)
    part = (below[1:] + below[:-1]) / 2 if s.middle else below
    return np.asarray(below - share @ part)
