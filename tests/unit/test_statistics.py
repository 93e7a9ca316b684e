"""Statistics against SciPy, closed forms and, where they are error bars, simulation."""

import itertools

import numpy as np
import pytest
import scipy.stats

from whybox.errors import OptionError
from whybox.numerics.statistics import (
    RunningMoments,
    abs_rank_correlations,
    adjust_p_values,
    confidence_interval,
    critical_value,
    format_mean,
    jackknife_std_error,
    kendall,
    kendall_of_pairs,
    leave_group_out,
    mean_interval,
    mean_p_value,
    rank_intervals,
    rows_needed,
    skewed_interval,
    skewness_of_mean,
    spearman,
    spearman_of_rows,
    std_error_of_mean,
)


def test_rank_correlations_are_those_of_scipy():
    draw = np.random.default_rng(0)
    for _ in range(20):
        a, b = draw.integers(0, 6, 15).astype(float), draw.integers(0, 6, 15).astype(float)
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)
        assert kendall(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic, abs=1e-12)
    assert spearman(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1, abs=1e-15)
    assert spearman(np.array([1.0, 2.0]), np.array([5.0, 1.0])) == pytest.approx(-1, abs=1e-15)


def test_a_constant_has_no_rank_correlation():
    assert spearman(np.ones(4), np.arange(4.0)) == 0.0
    assert spearman(np.zeros(0), np.zeros(0)) == 0.0
    assert np.isnan(kendall([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]))
    assert np.isnan(kendall([1.0, np.nan, 2.0], [1.0, 2.0, 3.0]))


def test_rows_are_ranked_together_as_one_by_one():
    """With ties, constant rows, rows constant but for rounding, and rows of float32 numbers."""
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 40, 9)).round(1)
    a[:3], b[5] = [[0.0], [0.1], [1e9]], -2.0
    a[7] = 0.1 + 1e-17 * np.arange(9)
    a[8] = 1 + 1e-15 * np.arange(9)
    b[10:20] = b[10:20].astype(np.float32)
    a[12] = 1.0 + 1e-7 * np.arange(9, dtype=np.float32)
    together = spearman_of_rows(a, b)
    assert together == pytest.approx([spearman(x, y) for x, y in zip(a, b, strict=True)], abs=1e-12)
    assert not together[[0, 1, 2, 5, 7, 8]].any()
    assert (np.abs(together) > 0).sum() > 30
    assert spearman_of_rows(a, a)[20] == pytest.approx(1, abs=1e-12)
    assert spearman_of_rows(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_what_only_rounding_tells_apart_is_tied():
    noisy = [0.1, 0.1 + 1e-16, 0.3, 0.3 - 1e-16, 0.7]
    for other in ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]):
        assert kendall(noisy, other) == kendall([1, 1, 2, 2, 3], other)
    assert kendall_of_pairs([noisy, noisy, [5, 4, 3, 2, 1]]) == [
        pytest.approx(t) for t in (1, kendall(noisy, [5, 4, 3, 2, 1]), kendall(noisy, [5, 4, 3, 2, 1]))
    ]


def test_rows_are_compared_where_both_are_finite():
    a = np.array([[1.0, -2.0, 3.0, np.nan], [1.0, 2.0, 3.0, 4.0]])
    b = np.array([[1.0, 2.0, -9.0, 1.0], [np.inf, 3.0, 2.0, 1.0]])
    assert abs_rank_correlations(a, b) == pytest.approx([1.0, -1.0])


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_critical_values_are_those_of_scipy(level):
    assert critical_value(level) == pytest.approx(scipy.stats.norm.ppf((1 + level) / 2), rel=1e-12)
    for freedom in (1, 2, 7, 30, 31, 400, 2.5):
        want = scipy.stats.t.ppf((1 + level) / 2, freedom)
        assert critical_value(level, freedom) == pytest.approx(want, rel=1e-9)
    low, high = confidence_interval([1.0, 2.0], [0.5, 0.1], level, 9)
    want = scipy.stats.t.interval(level, 9, [1.0, 2.0], [0.5, 0.1])
    np.testing.assert_allclose([low, high], want, rtol=1e-9)


@pytest.mark.parametrize("level", [0, 1, 95, -0.1, np.nan, "0.95", None, True])
def test_levels_lie_between_0_and_1(level):
    with pytest.raises(OptionError, match="level="):
        critical_value(level)


def test_a_level_may_be_a_number_of_numpy():
    assert critical_value(np.float32(0.5)) == critical_value(0.5)


def test_intervals_of_means_are_those_of_scipy():
    draw = np.random.default_rng(0)
    for n in (2, 5, 20, 60):
        values = draw.normal(size=n)
        mean, half = mean_interval(values)
        low, high = scipy.stats.t.interval(0.95, n - 1, values.mean(), scipy.stats.sem(values))
        assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-9)
    assert mean_interval(np.array([1.0])) == (1.0, np.inf)
    assert format_mean(*mean_interval(np.array([1.0]))) == "1.00 (one row)"
    assert format_mean(1.0, 0.25) == "1.00 +- 0.25"


def test_few_repetitions_widen_an_interval():
    same = np.tile(np.random.default_rng(0).normal(size=50), (3, 1))
    apart = same + np.array([[-1.0], [0.0], [1.0]])
    assert mean_interval(apart)[1] > mean_interval(same)[1] + 1.0


def test_intervals_cover_means_of_rows_and_repetitions():
    draw = np.random.default_rng(1)
    inside = []
    for _ in range(1500):
        rows, repetitions = draw.normal(size=12), draw.normal(size=(5, 1))
        mean, half = mean_interval(rows + repetitions + 0.3 * draw.normal(size=(5, 12)))
        inside.append(abs(mean) <= half)
    assert 0.94 <= np.mean(inside) <= 0.995


# running moments


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("blocks", [[40], [1, 1, 38], [7, 13, 0, 20]])
def test_running_moments_are_those_of_all_rows(offset, blocks):
    draw = np.random.default_rng(0)
    values, weights = draw.normal(size=(40, 3, 2)), draw.integers(0, 4, 40).astype(float)
    seen, plain = RunningMoments((3, 2)), RunningMoments((3, 2))
    for part in np.split(np.arange(40), np.cumsum(blocks)[:-1]):
        seen.add_rows(values[part] + offset, weights[part])
        plain.add_rows(values[part] + offset)
    shares = weights / weights.sum()
    mean = np.einsum("r,rij->ij", shares, values)
    n = 1 / (shares**2).sum()
    variance = np.einsum("r,rij->ij", shares, (values - mean) ** 2) * n / (n - 1)
    np.testing.assert_allclose(seen.mean - offset, mean, atol=1e-15 + 1e-15 * offset)
    np.testing.assert_allclose(seen.variance, variance, rtol=1e-12 if offset == 0 else 1e-6)
    np.testing.assert_allclose(plain.variance, values.var(axis=0, ddof=1), rtol=1e-12 if offset == 0 else 1e-6)
    assert seen.effective_count == pytest.approx(n)
    assert seen.weight == weights.sum()


def test_moments_merge_in_any_order():
    draw = np.random.default_rng(0)
    values, weights = draw.normal(5, 1, (60, 2)), draw.random(60)
    whole = RunningMoments((2,))
    whole.add_rows(values, weights)
    parts = [RunningMoments((2,)) for _ in range(4)]
    for part, which in zip(parts, np.split(np.arange(60), [10, 10, 45]), strict=True):
        part.add_rows(values[which], weights[which])
    for order in itertools.permutations(range(4)):
        merged = RunningMoments((2,))
        for k in order:
            merged.merge(parts[k])
        np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-14)
        np.testing.assert_allclose(merged.variance, whole.variance, rtol=1e-12)
        assert merged.effective_count == pytest.approx(whole.effective_count)


def test_nothing_seen_has_no_variance():
    moments = RunningMoments((2,))
    assert np.isnan(moments.variance).all()
    moments.add_rows(np.ones((3, 2)), np.array([0.0, 2.0, 0.0]))
    assert np.isnan(moments.variance).all()
    assert (moments.mean == 1).all()


# intervals of means

LAWS = {
    "normal": (lambda draw, size: draw.normal(size=size), 0.0),
    "lognormal": (lambda draw, size: draw.lognormal(size=size), np.exp(0.5)),
    "exponential": (lambda draw, size: draw.exponential(size=size), 1.0),
    "t of 3": (lambda draw, size: draw.standard_t(3, size=size), 0.0),
}


def intervals(values, weights):
    """Intervals of weighted means of samples, (samples, rows) each."""
    w = weights / weights.sum(axis=1, keepdims=True)
    mean = (w * values).sum(axis=1)
    off = w * (values - mean[:, None])
    n = 1 / (w**2).sum(axis=1)
    squares, cubes = (off**2).sum(axis=1), (off**3).sum(axis=1)
    error = np.array([std_error_of_mean(s, k) for s, k in zip(squares, n, strict=True)])
    skewness = np.array([skewness_of_mean(s, c, k) for s, c, k in zip(squares, cubes, n, strict=True)])
    return skewed_interval(mean, error, skewness, freedom=n - 1), (mean, error)


@pytest.mark.parametrize("rows", [30, 100])
@pytest.mark.parametrize("law", LAWS)
def test_intervals_of_means_of_skewed_samples_cover(law, rows):
    """Of 3,000 samples; 1.96 standard errors cover 0.87 of the lognormal means of 30 rows."""
    law, mean = LAWS[law]
    values = law(np.random.default_rng(1), (3000, rows))
    (low, high), (middle, error) = intervals(values, np.ones(values.shape))
    assert 0.925 <= ((low <= mean) & (mean <= high)).mean() <= 0.975
    assert (low <= middle - 1.96 * error).all()
    assert (high >= middle + 1.96 * error).all()


@pytest.mark.parametrize("rows", [30, 100, 1000])
def test_intervals_cover_where_weights_depend_on_the_values(rows):
    """Drawn too often where large, and weighted back: the mean is 0. Variances of shares alone, `sum w (v - m)^2 / n`, cover 0.8."""
    draw = np.random.default_rng(2)
    values = draw.normal(0.7, 1.0, (2000 if rows < 1000 else 500, rows))
    (low, high), (mean, error) = intervals(values, np.exp(-0.7 * values))
    assert 0.92 <= ((low <= 0) & (high >= 0)).mean() <= 0.98
    assert 0.85 <= error.mean() / mean.std() <= 1.1


def test_errors_of_running_means_are_those_of_all_rows_at_once():
    draw = np.random.default_rng(3)
    values, w = 1e6 + draw.lognormal(size=(90, 2)), draw.uniform(0.1, 2.0, 90)
    parts = [RunningMoments((2,)) for _ in range(3)]
    for i, part in enumerate(parts):
        for start in range(30 * i, 30 * i + 30, 7):
            some = slice(start, min(start + 7, 30 * i + 30))
            part.add_rows(values[some], w[some])
    whole = RunningMoments((2,))
    for part in parts:
        whole.merge(part)
    share = w / w.sum()
    n = 1 / (share**2).sum()
    off = share[:, None] * (values - share @ values)
    squares, cubes = (off**2).sum(axis=0), (off**3).sum(axis=0)
    np.testing.assert_allclose(whole.std_error, np.sqrt(squares * n / (n - 1)), rtol=1e-7)
    np.testing.assert_allclose(whole.skewness, cubes / squares**1.5 * np.sqrt(n * (n - 1)) / (n - 2), rtol=1e-6)


def test_intervals_of_what_is_certain_and_of_what_is_not_known():
    low, high = skewed_interval([1.0, 1.0, 1.0], [0.0, np.nan, np.inf], 3.0, freedom=[5.0, 5.0, 5.0])
    assert (low[0], high[0]) == (1.0, 1.0)
    assert np.isnan([low[1], high[1]]).all()
    assert (low[2], high[2]) == (-np.inf, np.inf)
    assert np.isnan(std_error_of_mean(1.0, 1.0))
    assert skewness_of_mean(1.0, 1.0, 2.0) == 0.0
    plain = skewed_interval(2.0, 0.5, freedom=7)
    np.testing.assert_allclose(plain, scipy.stats.t.interval(0.95, 7, 2.0, 0.5))


# the jackknife


def test_jackknife_of_a_mean_without_single_rows_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=30)
    shares = leave_group_out(np.ones(30), 30)
    assert shares.shape == (31, 30)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert shares[0] @ values == pytest.approx(values.mean())
    assert jackknife_std_error(shares[1:] @ values) == pytest.approx(scipy.stats.sem(values))


def test_every_row_is_left_out_once_and_groups_are_alike_in_size():
    shares = leave_group_out(np.arange(1.0, 26.0), 10)
    left_out = shares[1:] == 0
    assert (left_out.sum(axis=0) == 1).all()
    assert set(left_out.sum(axis=1)) == {2, 3}
    assert (shares == leave_group_out(np.arange(1.0, 26.0), 10)).all()
    assert (shares != leave_group_out(np.arange(1.0, 26.0), 10, seed=1)).any()
    assert (leave_group_out(np.ones(4), 0) == 0.25).all()


def test_jackknife_intervals_cover():
    """A ratio of means and a standard deviation: smooth, and no closed error."""
    draw = np.random.default_rng(0)
    inside = []
    for seed in range(400):
        x = draw.exponential(size=(200, 2))
        shares = leave_group_out(np.ones(200), 10, seed)
        mean = shares @ x
        found = np.column_stack([mean[:, 0] / mean[:, 1], np.sqrt(shares @ x[:, 0] ** 2 - mean[:, 0] ** 2)])
        low, high = confidence_interval(found[0], jackknife_std_error(found[1:]), freedom=9)
        inside.append((low <= 1) & (high >= 1))
    covered = np.mean(inside, axis=0)
    assert (covered > 0.9).all()
    assert (covered < 0.98).all()


# p-values of several tests


@pytest.mark.parametrize("seed", range(5))
def test_false_discovery_rates_are_those_of_scipy(seed):
    p = np.random.default_rng(seed).random((4, 3)) ** 3
    for method, short in (("benjamini-hochberg", "bh"), ("benjamini-yekutieli", "by")):
        want = scipy.stats.false_discovery_control(p.ravel(), method=short).reshape(p.shape)
        np.testing.assert_array_equal(adjust_p_values(p, method), want)


def test_adjusted_p_values_of_a_table_by_hand():
    p = [0.01, 0.04, 0.03, 0.005]
    assert adjust_p_values(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_p_values(p, "benjamini-hochberg") == pytest.approx([0.02, 0.04, 0.04, 0.02])
    factor = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert adjust_p_values(p, "benjamini-yekutieli") == pytest.approx(np.array([0.02, 0.04, 0.04, 0.02]) * factor)
    assert adjust_p_values([0.6, 0.7]) == pytest.approx([1, 1])


def test_holm_rejects_what_its_steps_reject():
    """Its own wording: from the smallest on, compare with level / (tests left), stop at the first that is larger."""
    draw = np.random.default_rng(0)
    for _ in range(50):
        p = draw.random(6) ** 4
        rejected = np.zeros(6, dtype=bool)
        for left, k in zip(range(6, 0, -1), np.argsort(p), strict=True):
            if p[k] > 0.05 / left:
                break
            rejected[k] = True
        assert ((adjust_p_values(p) <= 0.05) == rejected).all()


@pytest.mark.parametrize("method", ["holm", "benjamini-hochberg", "benjamini-yekutieli"])
def test_tests_that_could_not_be_made_do_not_count(method):
    p = np.array([0.01, np.nan, 0.04, np.nan, 0.5])
    found = adjust_p_values(p, method)
    assert np.isnan(found[[1, 3]]).all()
    np.testing.assert_array_equal(found[[0, 2, 4]], adjust_p_values(p[[0, 2, 4]], method))
    assert np.isnan(adjust_p_values([np.nan], method)).all()
    assert adjust_p_values([], method).shape == (0,)


def test_few_false_rejections_and_few_false_discoveries():
    """Under the null Holm rejects anything at all in 5 % of families; with effects present the false share of Benjamini-Hochberg is below 5 %."""
    draw = np.random.default_rng(0)
    any_false, false_share = [], []
    for _ in range(2000):
        z = draw.normal(size=20)
        any_false.append((adjust_p_values(2 * scipy.stats.norm.sf(np.abs(z))) <= 0.05).any())
        z[:8] += 3.5
        rejected = adjust_p_values(2 * scipy.stats.norm.sf(np.abs(z)), "benjamini-hochberg") <= 0.05
        false_share.append(rejected[8:].sum() / max(rejected.sum(), 1))
    assert 0.03 < np.mean(any_false) < 0.065
    assert 0.02 < np.mean(false_share) < 0.05


@pytest.mark.parametrize(
    ("p", "method", "words"),
    [([0.5], "bonferoni", "method="), ([1.5], "holm", "between 0 and 1"), ([-0.1], "holm", "between 0 and 1")],
)
def test_bad_p_values_are_refused(p, method, words):
    with pytest.raises(OptionError, match=words):
        adjust_p_values(p, method)


def test_p_values_of_means_and_the_rows_that_an_interval_needs():
    x = np.random.default_rng(0).normal(0.3, 1.0, size=12)
    error = x.std(ddof=1) / np.sqrt(12)
    for limit in (0.0, 0.5):
        expected = scipy.stats.ttest_1samp(x, limit, alternative="greater").pvalue
        assert mean_p_value(float(x.mean()), error, 11, limit=limit) == pytest.approx(expected, rel=1e-9)
    assert mean_p_value(1.0, 0.0, 3) == 0.0
    assert mean_p_value(0.0, 0.0, 3) == 1.0
    n = rows_needed(0.5, 1.0)
    assert n is not None
    assert critical_value(0.95, n - 1) / np.sqrt(n) < 0.5 <= critical_value(0.95, n - 2) / np.sqrt(n - 1)
    assert rows_needed(1e-9, 1.0) is None


def test_intervals_of_ranks_hold_with_few_rows():
    """Twelve rows, five equal means: every rank is a true one. Normal quantiles would miss one in ten times, Student's t keeps the level."""
    draw = np.random.default_rng(0)
    missed, tables, rows = {None: 0.0, 11: 0.0}, 800, 12
    for _ in range(tables):
        x = draw.normal(size=(rows, 5))
        spread = np.cov(x.T)
        apart = np.sqrt((np.diag(spread)[:, None] + np.diag(spread) - 2 * spread).clip(0) / rows)
        for freedom in missed:
            _, low, high = rank_intervals(x.mean(axis=0), apart, 0.95, freedom)
            missed[freedom] += float(((low > 1) | (high < 5)).mean()) / tables
    assert missed[11] < 0.06
    assert missed[None] > 0.08
