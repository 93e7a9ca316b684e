"""Figures of local values: bars of one row, lines over kernel widths, and the figures of several rows."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import drawn
import whybox as wb
from whybox.errors import OptionError
from whybox.explanation.explanation import interval_extras
from whybox.explanation.html import number_text
from whybox.explanation.local_rows import local_numbers
from whybox.plots.local import condition_labels
from whybox.plots.style import NEGATIVE, POSITIVE, minus_signs

LONG = "a very long name of a measured quantity of the customer, number {} of $200"


def forest():
    return RandomForestRegressor(3, max_depth=6, random_state=0)


def of_features(count):
    """Exact local values of a forest, of rows whose columns have long names."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, count)), columns=[LONG.format(i) for i in range(count)])
    model = forest().fit(X, X @ np.linspace(3, -2, count))
    return wb.lime(model, X[:4], X)


@pytest.fixture(scope="module")
def five():
    return of_features(5)


@pytest.fixture(scope="module")
def two_hundred():
    return of_features(200)


@pytest.fixture(scope="module")
def sampled():
    X = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 6)), columns=list("abcdef"))
    return wb.lime(lambda t: t["a"] * t["b"] + t["c"] + t["d"] / 50, X[:3], X, max_evals=3_000, spot_checks=0)


@pytest.fixture(scope="module")
def classes():
    X, y = load_iris(return_X_y=True, as_frame=True)
    return wb.lime(RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, y), X[::40], X)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def texts(ax):
    return [t.get_text() for t in ax.texts]


def labels(ax):
    return [t.get_text().replace("\n", " ") for t in ax.get_yticklabels()]


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_five_and_two_hundred_features_with_long_names(style, five, two_hundred):
    with plt.style.context(style):
        for e in (five, two_hundred):
            ax = e[0].plot.local()
            drawn.inside(ax.figure)
            assert len(ax.patches) == min(5 if e is five else 200, 10)
            assert len(set(labels(ax))) == len(ax.patches)
            assert ax.title.get_color() == plt.rcParams["text.color"] or style == "default"
    assert "190 smaller features are left out" in ax.get_xlabel()


def test_long_numbers_keep_clear_of_the_names_of_features(five):
    e = replace(five[1], values=np.array([-3_458_099.0, 5_577_689.0, 1.0, -2.0, 3.0])[: five.shape[1]])
    ax = e.plot.local()
    ax.figure.draw_without_rendering()
    for text in ax.texts:
        if text.get_text().startswith(("+", "\N{MINUS SIGN}")):
            box = text.get_window_extent()
            assert box.x0 >= ax.bbox.x0
            assert box.x1 <= ax.bbox.x1


def test_bars_are_the_values_from_the_largest_on_in_the_colours_of_their_signs(five):
    e = five[1]
    ax = e.plot.local(max_display=4)
    order = e.ordered(4)
    bars = sorted(ax.patches, key=lambda p: -p.get_y())
    assert [p.get_width() for p in bars] == [float(v) for v in e.values[order]]
    colours = [POSITIVE if v >= 0 else NEGATIVE for v in e.values[order]]
    assert [plt.matplotlib.colors.to_hex(p.get_facecolor()) for p in bars] == colours
    assert labels(ax) == [minus_signs(condition_labels(e)[j]) for j in order]
    for v in e.values[order]:
        assert number_text(float(v), 3, sign=True).replace("-", "\N{MINUS SIGN}") in texts(ax)
    assert "1 smaller feature is left out" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "Row 1"
    assert local_numbers(e) in texts(ax)


def test_conditions_keep_their_numbers_and_the_part_that_tells_names_apart(five, classes):
    e = five[0]
    for j, (short, whole) in enumerate(zip(condition_labels(e), e.extras["condition"][1], strict=True)):
        name = LONG.format(j)
        before, after = whole.split(name)
        assert short.startswith(before)
        assert short.endswith(after)
        assert str(j) in short
        assert len(short) < len(whole)
        assert "$" not in short.replace(r"\$", "")
    assert condition_labels(classes[0, :, 0]) == classes.extras["condition"][1][0].tolist()


def test_conditions_of_players_are_counted_where_they_are_long():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 7)), columns=[f"column {i}" for i in range(7)])
    model = forest().fit(X, X.sum(axis=1))
    e = wb.lime(model, X[:1], X, players={"many": [*X.columns[:5]], "few": ["column 5", "column 6"]})[0]
    conditions = dict(zip(e.feature_names, e.extras["condition"][1], strict=True))
    short = dict(zip(e.feature_names, condition_labels(e), strict=True))
    shown = short["many"].count("column")
    assert short["many"].endswith(f"and {5 - shown} more")
    assert conditions["many"].startswith(short["many"].removesuffix(f" and {5 - shown} more"))


def test_intervals_warnings_and_what_is_not_settled_are_on_the_picture(sampled):
    e = sampled[0]
    e = replace(e, extras={**e.extras, "certified": ((), np.array(2)), "r_squared": ((), np.array(0.23))})
    ax = e.plot.local()
    order = e.ordered(10)
    ends = [s[:, 0].tolist() for s in ax.collections[0].get_segments()]
    assert ends == [[float(e.interval[0][j]), float(e.interval[1][j])] for j in order]
    assert "lines: 95 % intervals" in ax.get_xlabel()
    assert "R squared 0.23: a linear model describes little here" in texts(ax)
    assert "order settled for the first 2 (paler: not settled)" in texts(ax)
    bars = sorted(ax.patches, key=lambda p: -p.get_y())
    assert [p.get_alpha() for p in bars] == [1.0, 1.0, *[0.5] * 4]
    drawn.inside(ax.figure)
    sound = {"r_squared": 0.9, "effective_size": 1.0, "gap": 0.0, "certified": 6}
    e = replace(e, extras={**e.extras, **{name: ((), np.array(v)) for name, v in sound.items()}})
    ax = e.plot.local()
    assert [t for t in ax.texts if t.get_fontweight() == "bold"] == []
    assert {p.get_alpha() for p in ax.patches} == {1.0}


def test_attributions_of_the_same_row_stand_beside_as_diamonds(classes):
    X, y = load_iris(return_X_y=True, as_frame=True)
    other = wb.explain(RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, y), X[::40])[1, ::-1, 2]
    e = classes[1, :, 2]
    ax = e.plot.local(beside=other)
    line = next(line for line in ax.lines if line.get_marker() == "D")
    np.testing.assert_array_equal(line.get_xdata(), other.values[::-1][e.ordered()])
    assert "diamonds: Shapley values" in ax.get_xlabel()
    with pytest.raises(OptionError, match="beside must be attributions of one row"):
        e.plot.local(beside=other[:2])


def test_a_sweep_is_lines_over_the_widths_hollow_where_a_linear_model_describes_little(sampled):
    X = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 8)), columns=list("abcdefgh"))
    model = forest().fit(X, X @ np.arange(8.0))
    e = wb.lime(model, X[:2], X, kernel_width=[4, 0.3, 1])[:, 1]
    e = replace(e, extras={**e.extras, "r_squared": (("width",), np.array([0.9, 0.1, 0.9]))})
    e = replace(e, extras={**e.extras, "effective_size": (("width",), np.ones(3)), "gap": (("width",), np.zeros(3))})
    ax = e.plot.local()
    lines = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert len(lines) == 6
    top = int(e.ordered(1)[0])
    line = lines[minus_signs(condition_labels(e)[top])]
    assert line.get_xdata().tolist() == [0.3, 1, 4]
    assert line.get_ydata().tolist() == e.values[[1, 2, 0], top].tolist()
    hollow = [x for x in ax.lines if x.get_marker() == "o" and x.get_markerfacecolor() == "white"]
    assert all(x.get_xdata().tolist() == [0.3] for x in hollow)
    assert len(hollow) == 6
    assert "2 smaller features are left out" in ax.get_xlabel()
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0.3", "1", "4"]
    drawn.inside(ax.figure)
    with pytest.raises(OptionError, match="pick one width"):
        e.plot.local(beside=sampled[0])


def test_several_rows_outputs_and_widths_say_what_to_pick(five, classes):
    with pytest.raises(OptionError, match=r"one of the 4 rows; .* slice first: e\[0\]\.plot\.local\(\)"):
        five.plot.local()
    assert five.plot.local(2).get_title(loc="left") == five[2].plot.local().get_title(loc="left")
    with pytest.raises(OptionError, match="one row only"):
        five[0].plot.local(1)
    with pytest.raises(OptionError, match="say which"):
        classes[0].plot.local()
    assert classes.plot.local(0, output="1").get_title(loc="left") == "Row 0, output 1"
    with pytest.raises(OptionError, match=r"wb\.lime"):
        wb.explain(forest().fit([[0.0], [1.0]], [0, 1]), [[0.0]]).plot.local(0)
    X = pd.DataFrame(np.random.default_rng(1).normal(size=(80, 2)), columns=list("ab"))
    sweep = wb.lime(forest().fit(X, X["a"]), X[:3], X, kernel_width=[1, 2])
    with pytest.raises(OptionError, match=r"e\[:, 0\]\.plot\.local\(\)"):
        sweep.plot.local()
    for figure in ("bar", "heatmap", "beeswarm"):
        with pytest.raises(OptionError, match=r"pick one, e\[0\]"):
            getattr(sweep.plot, figure)()
        getattr(sweep[1].plot, figure)()
    with pytest.raises(OptionError, match=r"Local values of one row are drawn by plot\.local"):
        five.plot.waterfall(0)


def test_figures_of_several_rows_say_that_these_are_local_values(five, classes):
    ax = five.plot.bar()
    size = np.sort(np.abs(five.values).mean(axis=0))
    assert np.allclose(sorted(p.get_width() for p in ax.patches), size)
    assert "own region" in ax.get_xlabel()
    assert five.plot.heatmap().get_title(loc="left") == "Local values"
    assert "local value (" in five.plot.beeswarm().get_xlabel()
    assert "local value (" in five.plot.scatter(0).get_ylabel()
    assert len(classes.plot.bar().get_legend().texts) == 3
    assert "local" in dir(five.plot)
    assert "waterfall" not in dir(five.plot)


def test_intervals_are_named_by_their_level(sampled):
    e = sampled[0]
    bounds = interval_extras(np.stack(e.interval, axis=-1), ("feature",), 0.9)
    assert "lines: 90 % intervals" in replace(e, extras={**e.extras, **bounds}).plot.local().get_xlabel()
