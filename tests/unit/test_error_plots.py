"""Figures of estimated attributions: lines for their intervals, paler what is not told apart from zero, the median error in words."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor

import drawn
import whybox as wb
import zoo
from estimated import estimated
from whybox.explanation.errors_of_values import includes_zero
from whybox.plots.intervals import UNSURE_ALPHA
from whybox.plots.local import MARKS_BELOW


@pytest.fixture(scope="module")
def exact():
    model, rows = zoo.built("LGBMRegressor, categories")
    return wb.explain(model, rows[:40])


@pytest.fixture(scope="module")
def one(exact):
    return estimated(exact)


@pytest.fixture(scope="module")
def several():
    model, rows = zoo.built("RandomForestClassifier, 3 classes, sample weights")
    return estimated(wb.explain(model, rows[:30]))


@pytest.fixture(scope="module")
def two_hundred():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(300, 200)), columns=[f"feature {i}" for i in range(200)])
    model = HistGradientBoostingRegressor(max_iter=20).fit(X, X.iloc[:, 0] + X.iloc[:, 5] * X.iloc[:, 6])
    return estimated(wb.explain(model, X[:30]))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def lines(ax):
    """Ends of the horizontal lines that stand for intervals, by their height."""
    segments = [s for c in ax.collections for s in getattr(c, "get_segments", list)()]
    return {round(float(s[0][1])): (float(s[0][0]), float(s[1][0])) for s in segments if len(s) and s[0][1] == s[1][1]}


def test_bars_of_rows_have_the_mean_of_the_rows_intervals(one):
    ax = one.plot.bar()
    size, half = np.abs(one.values).mean(axis=0), norm.ppf(0.975) * one.std_error.mean(axis=0)
    for k, j in enumerate(np.argsort(-size, kind="stable")):
        low, high = lines(ax)[len(size) - 1 - k]
        assert ax.patches[k].get_width() == size[j]
        assert low == pytest.approx(max(size[j] - half[j], 0.0))
        assert high == pytest.approx(size[j] + half[j])
    assert "lines: 95 % intervals for these rows" in ax.get_xlabel()


def test_bars_of_one_row_have_the_absolute_values_of_its_interval(one):
    ax = one[4].plot.bar()
    order = np.argsort(-np.abs(one.values[4]), kind="stable")
    low, high = one[4].interval
    for k, j in enumerate(order):
        shown = lines(ax)[len(order) - 1 - k]
        crosses = low[j] <= 0 <= high[j]
        assert shown[0] == pytest.approx(0.0 if crosses else min(abs(low[j]), abs(high[j])))
        assert shown[1] == pytest.approx(max(abs(low[j]), abs(high[j])))
    assert ax.get_xlabel().endswith("lines: 95 % intervals")


def test_stacked_bars_have_one_line_for_their_sum(several):
    ax = several.plot.bar()
    size, half = (
        np.abs(several.values).mean(axis=0).sum(axis=1),
        norm.ppf(0.975) * several.std_error.mean(axis=0).sum(axis=1),
    )
    top = int(np.argmax(size))
    assert lines(ax)[len(size) - 1][1] == pytest.approx(size[top] + half[top])
    assert len(lines(ax)) == len(size)


def test_a_sum_of_features_has_no_line_and_that_is_said(two_hundred):
    for ax in (two_hundred.plot.bar(max_display=5), two_hundred[0].plot.bar(max_display=5)):
        assert sorted(lines(ax)) == [1, 2, 3, 4, 5]
        assert "(that of the sum is not known)" in ax.get_xlabel().replace("\n", " ")
    ax = two_hundred[0].plot.waterfall(max_display=5)
    low, high = lines(ax)[0]
    assert low == high
    assert "(that of the sum is not known)" in ax.get_xlabel().replace("\n", " ")
    assert "not known" not in two_hundred[0].plot.waterfall(max_display=200).get_xlabel()


def test_importance_without_a_sign_has_its_intervals(exact, monkeypatch):
    monkeypatch.setattr("whybox.api.importance.explain", lambda *a, **k: exact)
    model, rows = zoo.built("LGBMRegressor, categories")
    ranking = wb.importance(model, rows[:40], method="shap")
    ax, order = ranking.plot.bar(max_display=3), np.argsort(-ranking.values)
    assert lines(ax)[3] == pytest.approx((ranking.interval[0][order[0]], ranking.interval[1][order[0]]))
    assert sorted(lines(ax)) == [1, 2, 3]


@pytest.mark.parametrize("level", [None, 0.8])
def test_each_step_has_its_own_interval_about_its_end(exact, level):
    row = estimated(exact, level=level)[4]
    ax = row.plot.waterfall()
    order = np.argsort(-np.abs(row.values), kind="stable")[::-1]  # upwards
    ends = float(row.base) + np.cumsum(row.values[order])
    half = norm.ppf((1 + (level or 0.95)) / 2) * row.std_error[order]
    for y, (end, reach) in enumerate(zip(ends, half, strict=True)):
        assert lines(ax)[y] == pytest.approx((end - reach, end + reach))
    assert f"lines: {80 if level else 95} % intervals of each step alone" in ax.get_xlabel()
    numbers = {round(t.xy[1]): t.xy[0] for t in ax.texts}
    assert all(numbers[y] >= ends[y] + half[y] - 1e-9 for y in range(len(ends)))  # beyond the line


def test_steps_not_distinguishable_from_zero_are_paler(exact):
    row = estimated(exact, 0.2)[4]
    unsure = includes_zero(row)
    assert unsure.any()
    assert not unsure.all()
    ax = row.plot.waterfall()
    order = np.argsort(-np.abs(row.values), kind="stable")[::-1]
    assert [b.get_alpha() == UNSURE_ALPHA for b in ax.patches] == unsure[order].tolist()
    assert "paler: not distinguishable from 0" in ax.get_xlabel()
    used = [j for j in range(exact.shape[1]) if exact.values[4, j] != 0]
    assert "paler" not in estimated(exact[:, used], 1e-9)[4].plot.waterfall().get_xlabel()


def test_figures_of_many_numbers_say_their_median_error(one):
    name = one.feature_names[0]
    for ax, e in (
        (one.plot.beeswarm(), one),
        (one.plot.heatmap(), one),
        (one.plot.scatter(name), one[:, [name]]),
    ):
        median = np.median(e.std_error[e.std_error > 0])
        assert f"median standard error of an attribution: {median:.2g}" in ax.get_xlabel()
        assert "in 14 of 40 rows errors are larger than asked" in ax.get_xlabel()
    assert "larger" not in one[[1, 2]].plot.beeswarm().get_xlabel()
    assert "the errors are larger than asked" in one[3].plot.waterfall().get_xlabel()
    assert "larger" not in one[4].plot.waterfall().get_xlabel()


def test_exact_attributions_have_neither_lines_nor_words_about_errors(exact):
    for ax in (
        exact.plot.bar(),
        exact[0].plot.waterfall(),
        exact.plot.beeswarm(),
        exact.plot.heatmap(),
        exact.plot.scatter(0),
    ):
        assert not lines(ax) or ax.get_title().startswith("Attributions")
        assert "error" not in ax.get_xlabel()
        assert "interval" not in ax.get_xlabel()
        assert all(b.get_alpha() in (None, 1.0) for b in ax.patches)


def test_diamonds_beside_local_values_have_their_intervals_below(exact):
    model, rows = zoo.built("LGBMRegressor, categories")
    local = wb.lime(model, rows[:1], rows[:60])[0]
    row = estimated(exact[:1], 2.0)[0]
    ax = local.plot.local(beside=row)
    segments = [s for c in ax.collections for s in getattr(c, "get_segments", list)() if len(s)]
    order = local.ordered()
    for k, j in enumerate(order):
        at = row.feature_names.index(local.feature_names[j])
        wanted = [(end[at], len(order) - 1 - k - MARKS_BELOW) for end in row.interval]
        assert any(np.allclose(s, wanted) for s in segments)
    left, right = ax.get_xlim()
    assert left < row.interval[0].min()
    assert right > row.interval[1].max()
    assert "diamonds: Shapley values of the same row, 95 % intervals below them" in ax.get_xlabel().replace("\n", " ")
    assert "below them" not in local.plot.local(beside=exact[0]).get_xlabel()


def test_local_values_and_interactions_say_theirs():
    model, rows = zoo.built("RandomForestRegressor")
    local = wb.lime(model, rows[:6], rows[:60], scale="response", method="sampled", max_evals=3000)
    assert "lines: 95 % intervals for these rows" in local.plot.bar().get_xlabel()
    assert "median standard error of a local value: " in local.plot.beeswarm().get_xlabel()
    pairs = wb.explain(model, rows[:10], order=2)
    assert not pairs.plot.heatmap().get_xlabel()
    ax = estimated(pairs).plot.heatmap()
    error = estimated(pairs).std_error
    assert f"median standard error of an interaction: {2 * np.median(error[error > 0]):.2g}" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("style", "share", "count"),
    [("default", 1e-9, 5), ("dark_background", 20.0, 5), ("default", 20.0, 200), ("dark_background", 0.05, 200)],
)
def test_tiny_and_huge_errors_stay_inside(style, share, count, exact, two_hundred):
    with plt.style.context(style):
        e = estimated(exact if count == 5 else two_hundred, share)
        for ax in (e.plot.bar(), e[0].plot.bar(), e.plot.waterfall(3)):
            drawn.inside(ax.figure, by=0.02)
            left, right = ax.get_xlim()
            for low, high in lines(ax).values():
                assert not low < left
                assert not high > right
