"""Rank correlations, confidence intervals, running moments, the jackknife and p-values of several tests: what several rooms compute from samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Final, Literal, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.numerics.rounding import rounding_floor, rows_that_vary, varies

__all__ = [
    "RunningMoments",
    "abs_rank_correlations",
    "adjust_p_values",
    "binomial_bounds",
    "confidence_interval",
    "critical_value",
    "critical_values",
    "folded_normal_mean",
    "format_mean",
    "jackknife_std_error",
    "kendall",
    "kendall_of_pairs",
    "leave_group_out",
    "mean_interval",
    "mean_p_value",
    "rank_intervals",
    "rows_needed",
    "skewed_interval",
    "skewness_of_mean",
    "spearman",
    "spearman_of_rows",
    "std_error_of_mean",
    "wilson_interval",
]

Adjustment = Literal["holm", "benjamini-hochberg", "benjamini-yekutieli"]
ADJUSTMENTS: Final = ("holm", "benjamini-hochberg", "benjamini-yekutieli")


def spearman(a: Floats, b: Floats) -> float:
    """Return the rank correlation of two flat arrays; 0 where one of them is constant but for rounding."""
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]) if varies(a) and varies(b) else 0.0


def spearman_of_rows(a: Floats, b: Floats) -> Floats:
    """Return :func:`spearman` of each row of two tables of finite numbers, (rows,)."""
    from scipy.stats import rankdata

    out = np.zeros(len(a))
    used = rows_that_vary(a) & rows_that_vary(b)
    if used.any():
        x, y = (r - r.mean(axis=1, keepdims=True) for r in (rankdata(t[used], axis=1) for t in (a, b)))
        out[used] = np.clip((x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1)), -1.0, 1.0)
    return out


def abs_rank_correlations(a: Floats, b: Floats) -> Floats:
    """Return the rank correlation of absolute values for each row of two tables, (rows,), over the cells where both are finite."""
    both = np.isfinite(a) & np.isfinite(b)
    return np.array([spearman(np.abs(x[u]), np.abs(y[u])) for x, y, u in zip(a, b, both, strict=True)])


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """Return Kendall's tau-b; NaN where one side is constant or holds NaN. Values that only rounding tells apart are ties."""
    from scipy.stats import kendalltau

    if np.isnan([*a, *b]).any():
        return float("nan")
    x, y = _without_rounding(a), _without_rounding(b)
    return float(kendalltau(x, y).statistic) if x.any() and y.any() else float("nan")


def _without_rounding(values: Sequence[float]) -> npt.NDArray[np.int64]:
    """Return the place of each number among those that differ by more than rounding from the next smaller one."""
    x = np.asarray(values, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    places = np.zeros(len(x), dtype=np.int64)
    places[order[1:]] = np.cumsum(np.diff(x[order]) > rounding_floor(x))
    return places


def kendall_of_pairs(columns: Sequence[Sequence[float]]) -> list[float]:
    """Return Kendall's tau of every pair of columns."""
    return [kendall(a, b) for a, b in itertools.combinations(columns, 2)]


def critical_value(level: float = 0.95, freedom: float | None = None) -> float:
    """Return how many standard errors a two-sided interval of this level reaches to either side.

    Args:
        level: of confidence, between 0 and 1. freedom: degrees of freedom of Student's t; None: the normal distribution.

    Raises:
        OptionError: the level is not between 0 and 1.
    """
    from scipy.special import ndtri, stdtrit

    if isinstance(level, bool) or not isinstance(level, (int, float, np.floating)) or not 0 < level < 1:
        raise OptionError(Argument("level", level), " must lie between 0 and 1, as 0.95 does.")
    upper = (1 + float(level)) / 2
    return float(ndtri(upper) if freedom is None else stdtrit(freedom, upper))


def critical_values(level: float = 0.95, freedom: npt.ArrayLike | None = None) -> Floats:
    """Return :func:`critical_value` for each number of degrees of freedom, shaped as they are.

    Raises:
        OptionError: the level is not between 0 and 1.
    """
    from scipy.special import stdtrit

    normal = critical_value(level)
    if freedom is None:
        return np.asarray(normal)
    degrees = np.asarray(freedom, dtype=np.float64)
    return np.asarray(np.where(degrees > 0.0, stdtrit(np.maximum(degrees, 1e-3), (1 + level) / 2), np.nan))


def confidence_interval(
    estimate: npt.ArrayLike, std_error: npt.ArrayLike, level: float = 0.95, freedom: float | None = None
) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of intervals around estimates, shaped as they are; see :func:`critical_value`.

    Raises:
        OptionError: the level is not between 0 and 1.
    """
    middle, half = np.asarray(estimate, dtype=np.float64), critical_value(level, freedom) * np.asarray(std_error)
    return np.asarray(middle - half), np.asarray(middle + half)


def binomial_bounds(successes: npt.ArrayLike, trials: npt.ArrayLike, error: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the exact lower and upper bound of a probability, each wrong with a chance of at most `error`; shaped as the arguments broadcast.

    Args:
        successes, trials: counts; of no trials the bounds are 0 and 1. error: of each bound, between 0 and 1.

    Source: Clopper and Pearson, Biometrika 26 (1934), doi:10.1093/biomet/26.4.404.
    """
    from scipy.special import betaincinv

    k, n, a = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64), np.asarray(error)
    )
    low = np.where(k > 0, betaincinv(np.maximum(k, 1.0), n - k + 1.0, a), 0.0)
    high = np.where(k < n, betaincinv(k + 1.0, np.maximum(n - k, 1.0), 1.0 - a), 1.0)
    return np.asarray(low), np.asarray(high)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the ends of Wilson's interval for the chance of a success; NaN without trials.

    Raises:
        OptionError: the level is not between 0 and 1.

    Source: Wilson, Journal of the American Statistical Association 22 (1927), doi:10.1080/01621459.1927.10502953.
    """
    from scipy.stats import binomtest

    critical_value(level)  # a level that is none is refused
    if trials == 0:
        return float("nan"), float("nan")
    found = binomtest(int(successes), int(trials)).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def skewed_interval(
    estimate: npt.ArrayLike,
    std_error: npt.ArrayLike,
    skewness: npt.ArrayLike = 0.0,
    level: float = 0.95,
    freedom: npt.ArrayLike | None = None,
) -> tuple[Floats, Floats]:
    """Return the lower and upper ends of intervals around estimates whose error may be skewed, shaped as the estimates are.

    Student's t interval, with the end towards the long tail moved out as far as Hall's transformation says. The other end, which the transformation
    would move in, stays: the skewness is itself estimated, and from few rows too small.

    Args:
        estimate, std_error: as given. skewness: of the estimate, not of a row. level: of confidence. freedom: degrees of freedom, one number or one
            for each estimate; None: many.

    Raises:
        OptionError: the level is not between 0 and 1.

    References:
        Hall, On the removal of skewness by transformation, Journal of the Royal Statistical Society B 54 (1992).
    """
    middle, error = np.asarray(estimate, dtype=np.float64), np.asarray(std_error, dtype=np.float64)
    reach = critical_values(level, freedom)
    skew = np.nan_to_num(np.asarray(skewness, dtype=np.float64))
    # an error below the estimate by t standard errors: the estimate is the true value and -t of them
    low = np.maximum(_hall_quantile(reach, skew), reach)
    high = np.minimum(_hall_quantile(-reach, skew), -reach)
    return np.asarray(middle - low * error), np.asarray(middle - high * error)


def _hall_quantile(quantile: Floats, skewness: Floats) -> Floats:
    """The quantile of a Studentized mean, given that of a symmetric one: the inverse of Hall's cubic transformation."""
    some = np.abs(skewness) > 1e-6
    g = np.where(some, skewness, 1.0)
    return np.where(some, 3.0 / g * (np.cbrt(1.0 + g * (quantile - g / 6.0)) - 1.0), quantile)


def mean_interval(values: npt.NDArray[Any], level: float = 0.95) -> tuple[float, float]:
    """Return the mean, and half the width of its interval, of rows (n,) or of repetitions of rows (repetitions, n).

    Rows and repetitions are both samples: the two variances of the mean are added, so that few repetitions are not taken for many. Of a single
    number the half width is infinite.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    mean = float(table.mean()) if table.size else float("nan")
    squared = 0.0
    for axis in (0, 1):
        means = table.mean(axis=axis)  # of each row over repetitions, of each repetition over rows
        if len(means) > 1:
            squared += (critical_value(level, len(means) - 1) * float(means.std(ddof=1))) ** 2 / len(means)
    several = any(n > 1 for n in table.shape)
    return mean, float(np.sqrt(squared)) if several else float("inf")


def mean_p_value(mean: float, std_error: float, freedom: float, *, limit: float = 0.0) -> float:
    """Return the one-sided p-value of Student's t: the chance of a mean as large as this one, or larger, if the true mean is `limit`.

    Args:
        mean, std_error: of rows. freedom: degrees of freedom. limit: the mean to test against; swap the signs of both to test from above.
    """
    from scipy.special import stdtr

    if std_error <= 0.0:
        return 0.0 if mean > limit else 1.0
    return float(stdtr(freedom, (limit - mean) / std_error))


def folded_normal_mean(mean: npt.ArrayLike, deviation: npt.ArrayLike) -> Floats:
    """Return the mean of the absolute value of a normal variable, shaped as the arguments are.

    ``deviation sqrt(2 / pi) exp(-z^2 / 2) + mean (1 - 2 Phi(-z))`` with ``z = mean / deviation``; of no deviation the absolute mean itself.

    References:
        Leone, Nelson & Nottingham, The folded normal distribution, Technometrics 3 (1961).
    """
    from scipy.special import ndtr

    centre, spread = np.broadcast_arrays(np.abs(mean).astype(np.float64), np.asarray(deviation, dtype=np.float64))
    some = spread > 0.0
    z = np.divide(centre, spread, out=np.full(centre.shape, np.inf), where=some)
    near = np.where(some, spread, 0.0) * np.sqrt(2.0 / np.pi) * np.exp(-0.5 * z**2)
    return np.asarray(near + centre * (1.0 - 2.0 * ndtr(-z)))


def rows_needed(distance: float, deviation: float, level: float = 0.95, max_rows: int = 100_000) -> int | None:
    """Return how many rows give an interval of the mean narrower than `distance` to either side; None: more than `max_rows`.

    Args:
        distance: between the mean and what it shall be told from. deviation: standard deviation of one row. level: of the two-sided interval.
    """
    n = 2
    while n <= max_rows:
        if critical_value(level, n - 1) * deviation / np.sqrt(n) < distance:
            return n
        n += 1 if n < 64 else max(n // 20, 1)
    return None


def format_mean(mean: float, half_width: float) -> str:
    """Return a mean and its interval as text; a single row has no interval."""
    return f"{mean:.2f} +- {half_width:.2f}" if np.isfinite(half_width) else f"{mean:.2f} (one row)"


@final
class RunningMoments:
    """Weighted means of rows that come in blocks, with the errors of the means, in any number of accumulators that are merged.

    Means are updated by differences, so that no digits are lost where the mean is large beside the spread (Chan, Golub & LeVeque, Algorithms for
    computing the sample variance, The American Statistician 37, 1983); sums of powers are kept about the mean of the rows so far.

    Attributes:
        mean: of one row's values, in their shape. sum_of_squares: weighted, of distances from the mean. weight: of all rows.
    """

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.mean: Floats = np.zeros(shape)
        self.sum_of_squares: Floats = np.zeros(shape)
        self.weight = 0.0
        # sums of weight^p distance^k for k = 0 ... p, of p = 2 and 3
        self._powers: dict[int, list[Any]] = {p: [0.0, *(np.zeros(shape) for _ in range(p))] for p in (2, 3)}

    def add_rows(self, values: Floats, weights: Floats | None = None) -> None:
        """Add rows, (rows, *shape), with their weights, (rows,); without weights each counts 1."""
        w = np.ones(len(values)) if weights is None else weights
        total = float(w.sum())
        if total == 0.0:
            return
        share = w / total
        mean = np.einsum("r,r...->...", share, values)
        off = values - mean
        power, powers = np.ones_like(off), {p: [float((w**p).sum())] for p in (2, 3)}
        squares = np.zeros_like(mean)
        for k in (1, 2, 3):
            power = power * off
            for p in (2, 3):
                if k <= p:
                    powers[p].append(np.einsum("r,r...->...", w**p, power))
            if k == 2:
                squares = total * np.einsum("r,r...->...", share, power)
        self._merge_sums(total, mean, squares, powers)

    def merge(self, other: RunningMoments) -> None:
        """Add the rows that another accumulator has seen."""
        if other.weight > 0.0:
            self._merge_sums(other.weight, other.mean, other.sum_of_squares, other._powers)

    def _merge_sums(self, weight: float, mean: Floats, sum_of_squares: Floats, powers: dict[int, list[Any]]) -> None:
        shift = mean - self.mean
        self.sum_of_squares = self.sum_of_squares + (
            sum_of_squares + shift**2 * self.weight * weight / (self.weight + weight)
        )
        self.weight += weight
        step = shift * (weight / self.weight)
        self.mean = self.mean + step
        for p, sums in self._powers.items():
            moved = zip(_shifted_sums(sums, step), _shifted_sums(powers[p], step - shift), strict=True)
            self._powers[p] = [mine + theirs for mine, theirs in moved]

    @property
    def effective_count(self) -> float:
        """The effective number of rows, (sum of weights)^2 / sum of squared weights."""
        return self.weight**2 / self._powers[2][0] if self.weight > 0.0 else 0.0

    @property
    def variance(self) -> Floats:
        """The unbiased variance of a row, in the shape of its values; NaN for a single row."""
        rows = self.effective_count
        if not rows > 1.0:
            return np.full(np.shape(self.mean), np.nan)
        return np.asarray(self.sum_of_squares / self.weight * (rows / (rows - 1.0)))

    @property
    def std_error(self) -> Floats:
        """The standard error of the mean, see :func:`std_error_of_mean`; NaN for a single row."""
        return std_error_of_mean(self._powers[2][2] / max(self.weight, 1e-300) ** 2, self.effective_count)

    @property
    def skewness(self) -> Floats:
        """The skewness of the mean, see :func:`skewness_of_mean`."""
        return skewness_of_mean(self._powers[2][2], self._powers[3][3], self.effective_count)


def _shifted_sums(sums: list[Any], shift: Any) -> list[Any]:
    """Sums of powers 0, 1, ... of distances from a point, as of the distances from another one that is so far above it."""
    return [sum(math.comb(k, j) * (-shift) ** (k - j) * sums[j] for j in range(k)) + sums[k] for k in range(len(sums))]


def std_error_of_mean(squares: npt.ArrayLike, rows: float) -> Floats:
    """Return the standard error of a weighted mean, ``sqrt(squares * rows / (rows - 1))``; NaN for a single row.

    Each row keeps its own weight, so that weights may depend on the values (as inverse probabilities do). With equal weights this is the
    familiar ``sd / sqrt(rows)``.

    Args:
        squares: the sum of ``(weight * distance from the mean)^2``, of weights that sum to one. rows: how many, effectively.
    """
    found = np.asarray(squares, dtype=np.float64)
    if not rows > 1.0 + 1e-9:
        return np.full(found.shape, np.nan)
    return np.asarray(np.sqrt(np.maximum(found, 0.0) * (rows / (rows - 1.0))))


def skewness_of_mean(squares: npt.ArrayLike, cubes: npt.ArrayLike, rows: float) -> Floats:
    """Return the skewness of a mean (that of a row, over ``sqrt(rows)``), without the bias of few rows; 0 below three rows.

    Args:
        squares, cubes: sums of the second and third power of ``weight * distance from the mean``. rows: how many, effectively.
    """
    square_sums, cube_sums = np.asarray(squares, dtype=np.float64), np.asarray(cubes, dtype=np.float64)
    if not rows > 2.0 + 1e-9:
        return np.zeros(square_sums.shape)
    stretch = float(np.sqrt(rows * (rows - 1.0)) / (rows - 2.0))
    spread = np.maximum(square_sums, 0.0) ** 1.5
    return np.asarray(stretch * np.divide(cube_sums, spread, out=np.zeros_like(spread), where=spread > 0.0))


def rank_intervals(
    values: Floats, std_error_of_difference: Floats, level: float = 0.95, freedom: float | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return the rank of each estimate, 1 for the largest, and the lower and upper end of the interval of its rank, (estimates,) each.

    A rank's lower end counts the estimates that are significantly larger, its upper end those that are not significantly smaller. Each is compared with all
    others at once (Bonferroni), so that with probability `level` or more the interval of one estimate holds its true rank.

    Args:
        values: (estimates,). std_error_of_difference: (estimates, estimates), of values[i] - values[k]. level: of confidence. freedom: degrees of freedom.

    Raises:
        OptionError: the level is not between 0 and 1.

    References:
        Klein, Wright & Wieczorek, A joint confidence region for an overall ranking of populations, JRSS C 69 (2020); Mohamad, Goeman & van Zwet,
        Simultaneous confidence intervals for ranks with application to ranking institutions, Biometrics 78 (2022).
    """
    from scipy.stats import rankdata

    count = len(values)
    if count == 0:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    critical_value(level)  # a level that is none is refused
    reach = critical_value(1 - (1 - level) / max(count - 1, 1), freedom)
    above = values[None, :] - values[:, None]  # by how much estimate k is above estimate i
    surely = above > reach * np.nan_to_num(std_error_of_difference, nan=np.inf)
    np.fill_diagonal(surely, False)
    low, high = 1 + surely.sum(axis=1), count - surely.sum(axis=0)
    return rankdata(-values, method="min"), low.astype(np.float64), high.astype(np.float64)


def leave_group_out(weights: Floats, groups: int, seed: int = 0) -> Floats:
    """Return shares of rows for a jackknife over groups: of all rows first, then without each group, (groups + 1, rows).

    Args:
        weights: (rows,). groups: how many, drawn at random and as equal in size as can be; 0 for all rows alone. seed: of the draw.
    """
    group = np.random.default_rng(seed).permutation(len(weights)) % max(groups, 1)
    kept = [weights, *(np.where(group == g, 0.0, weights) for g in range(groups))]
    return np.stack([w / w.sum() for w in kept])


def jackknife_std_error(without: Floats) -> Floats:
    """Return the standard error of an estimate from what it is without each group of rows, (groups, ...) -> (...).

    The delete-a-group jackknife: ``(G - 1) / G`` times the summed squared distance from their mean (Efron & Tibshirani, An introduction to the
    bootstrap, 1993, section 11.5). An interval takes Student's t of ``G - 1`` degrees of freedom.
    """
    groups = len(without)
    return np.asarray(np.sqrt((groups - 1) / groups * ((without - without.mean(axis=0)) ** 2).sum(axis=0)))


def adjust_p_values(p_values: npt.ArrayLike, method: Adjustment = "holm") -> Floats:
    """Return p-values of several tests, adjusted for their number.

    Rejecting what is at most 0.05 keeps the chance of any false rejection below 5 % (``"holm"``, whatever the dependence), or the expected share of false
    ones among the rejected (``"benjamini-hochberg"`` for independent or positively dependent tests, ``"benjamini-yekutieli"`` whatever the dependence).

    Args:
        p_values: of any shape, one family of tests; NaN, a test that could not be made, stays NaN and does not count.
        method: one of the three.

    Returns:
        Adjusted p-values, in the same shape.

    Raises:
        OptionError: unknown method, or p-values that are not between 0 and 1.

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979); Benjamini & Hochberg, Controlling the
        false discovery rate, JRSS B 57 (1995); Benjamini & Yekutieli, The control of the false discovery rate in multiple testing under dependency,
        Annals of Statistics 29 (2001).
    """
    if method not in ADJUSTMENTS:
        raise OptionError(Argument("method", method), " is not known.", known=ADJUSTMENTS)
    p = np.asarray(p_values, dtype=np.float64)
    known = ~np.isnan(p)
    if (p[known] < 0).any() or (p[known] > 1).any():
        raise OptionError("p-values lie between 0 and 1.")
    out = np.full(p.shape, np.nan)
    if not known.any():
        return out
    if method == "holm":
        out[known] = _holm_adjusted(p[known])
    else:
        from scipy.stats import false_discovery_control

        out[known] = false_discovery_control(p[known], method="bh" if method == "benjamini-hochberg" else "by")
    return out


def _holm_adjusted(p: Floats) -> Floats:
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return out
