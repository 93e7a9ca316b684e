from __future__ import annotations

import inspect
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import drawn
import whybox as wb
import zoo
from whybox.errors import OptionError
from whybox.explanation.feature_values import strongest_partner
from whybox.explanation.figures import ATTRIBUTED_TEXTS, EFFECTS_FIGURES, FIGURE_SPECS, OF_TEXTS
from whybox.explanation.kinds import EXPLANATION_KINDS
from whybox.methods.registry import methods
from whybox.plots.style import distinct_labels


@pytest.fixture(scope="module")
def five():
    model, rows = zoo.built("LGBMRegressor, categories")
    return wb.explain(model, rows)


@pytest.fixture(scope="module")
def two_hundred():
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        rng.normal(size=(3000, 200)),
        columns=[f"a feature with quite a long name, number {i} $x_{i}$" for i in range(200)],
    )
    model = HistGradientBoostingRegressor(max_iter=20).fit(X, X.iloc[:, 0] + X.iloc[:, 5] * X.iloc[:, 6])
    return wb.explain(model, X)


@pytest.fixture(scope="module")
def classes():
    model, rows = zoo.built("RandomForestClassifier, 3 classes, sample weights")
    return wb.explain(model, rows)


def inside(ax):
    drawn.inside(ax.figure, by=0.02)


def draw(e, kind, **more):
    return {
        "bar": lambda: e.plot.bar(**more),
        "beeswarm": lambda: e.plot.beeswarm(**more),
        "waterfall": lambda: e.plot.waterfall(3, **more),
        "scatter": lambda: e.plot.scatter(e.feature_names[int(e.ordered(1)[0])], **more),
        "heatmap": lambda: e.plot.heatmap(**more),
    }[kind]()


KINDS = ["bar", "beeswarm", "heatmap", "scatter", "waterfall"]


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("kind", KINDS)
def test_five_and_two_hundred_features(kind, style, five, two_hundred):
    with plt.style.context(style):
        for e in (five, two_hundred):
            ax = draw(e, kind)
            inside(ax)
            assert ax.get_title(loc="left")
            assert ax.get_xlabel()
            assert plt.rcParams["text.color"] == ax.title.get_color() or style == "default"


@pytest.mark.parametrize("kind", KINDS)
def test_several_outputs(kind, classes):
    one = draw(classes, kind, output="2")
    assert "2" in one.get_title(loc="left")
    assert draw(classes, kind, output=2).get_title(loc="left") == one.get_title(loc="left")
    if kind == "bar":
        assert len(draw(classes, kind).get_legend().texts) == 3
    else:
        with pytest.raises(OptionError, match="say which"):
            draw(classes, kind)
    with pytest.raises(OptionError, match="not there"):
        draw(classes, kind, output="9")


@pytest.mark.parametrize("kind", KINDS)
def test_given_axes_are_drawn_on_and_returned(kind, five):
    _, axes = plt.subplots(1, 2, layout="constrained")
    assert draw(five, kind, ax=axes[1], title="mine") is axes[1]
    assert axes[1].get_title(loc="left") == "mine"
    assert not axes[0].get_title(loc="left")


def test_bars_are_the_numbers(five):
    ax = five.plot.bar(max_display=3)
    widths = sorted((p.get_width() for p in ax.patches), reverse=True)
    size = np.sort(np.abs(five.values).mean(axis=0))[::-1]
    assert np.allclose(sorted([*size[:3], size[3:].sum()], reverse=True), widths)
    assert ax.get_yticklabels()[-1].get_text() == "2 others, summed"


def test_waterfall_ends_at_the_prediction(five):
    ax = five[7].plot.waterfall(max_display=2)
    edges = {round(p.get_x() + w, 6) for p in ax.patches for w in (0, p.get_width())}
    assert round(float(five.base), 6) in edges
    assert round(float(five.prediction[7]), 6) in edges


def test_scatter_shows_categories_missing_values_and_partners():
    model, rows = zoo.built("HistGradientBoostingRegressor, missing values")
    e = wb.explain(model, rows)
    ax = e.plot.scatter("bmi")
    ticks = [t.get_text() for t in ax.get_xticklabels()]
    assert ticks[0] == "missing"
    assert len(ticks) > 2
    assert "missing" not in ticks[1:]
    assert strongest_partner(e, "bmi") in zoo.COLUMNS
    assert len(e.plot.scatter("bmi", color=None).figure.axes) == 1
    exact = strongest_partner(wb.explain(model, rows[:50], order=2), "bmi")
    assert exact in zoo.COLUMNS
    with pytest.raises(OptionError, match="no feature 'bim'.*Did you mean 'bmi'"):
        e.plot.scatter("bim")


def test_what_was_saved_is_drawn_as_before(five, tmp_path):
    five[:50].save(tmp_path / "e.whybox")
    again, name = wb.load(tmp_path / "e.whybox"), five.feature_names[0]
    points = [np.asarray(e.plot.scatter(name).collections[0].get_offsets()) for e in (five[:50], again)]
    assert np.array_equal(*points)


def test_partner_finds_the_interaction():
    from sklearn.ensemble import HistGradientBoostingRegressor

    X = np.random.default_rng(0).normal(size=(2000, 6))
    model = HistGradientBoostingRegressor(max_iter=60).fit(X, X[:, 0] + X[:, 1] * X[:, 4] * 3)
    e = wb.explain(model, X)
    assert strongest_partner(e, "x1") == "x4"
    assert strongest_partner(wb.explain(model, X[:200], order=2), "x4") == "x1"


def test_interactions_heatmap_and_refusals(five):
    model, rows = zoo.built("LGBMRegressor, regression")
    pairs = wb.explain(model, rows[:40], order=2)
    ax = pairs.plot.heatmap()
    inside(ax)
    for kind in ("bar", "beeswarm", "waterfall"):
        with pytest.raises(OptionError, match="for interactions use heatmap"):
            draw(pairs, kind)
    with pytest.raises(OptionError, match="one of the 442 rows"):
        five.plot.waterfall()
    with pytest.raises(OptionError, match="several rows"):
        five[0].plot.beeswarm()
    grouped = wb.explain(model, rows[:40], players={"g": ["bmi", "bp"]})
    with pytest.raises(OptionError, match="group of columns"):
        grouped.plot.scatter("g")
    inside(grouped.plot.waterfall(0))


def test_many_rows_are_thinned_and_say_so(two_hundred):
    assert "2,500 of 3,000 rows drawn" in two_hundred.plot.beeswarm().get_xlabel()


def test_names_are_shortened_only_as_far_as_they_stay_apart():
    same = [f"the measured mean of sensor {i} in the northern hall, in kelvin" for i in (1, 2, 12, 120)]
    names = ("age", *same, "an odd one " * 6)
    labels = distinct_labels(names)
    assert labels["age"] == "age"
    assert len(set(labels.values())) == len(names)
    assert max(map(len, labels.values())) <= 32
    assert "12 in" in labels[same[2]]
    far = tuple(f"{a}{'x' * 60}{b}{'y' * 60}" for a in "pq" for b in "rs")
    assert len(set(distinct_labels(far).values())) == 4
    assert len(set(distinct_labels(("a  b", "a\nb")).values())) == 1  # nothing to tell them apart by


def test_long_names_have_labels_of_their_own(two_hundred):
    model_names = [f"the measured mean of sensor number {i} in the northern hall, in kelvin" for i in range(5)]
    model, rows = zoo.built("LGBMRegressor, regression")
    e = wb.explain(model, rows[:40])
    e = replace(
        e,
        coords={**e.coords, "feature": np.array(model_names, dtype=object)},
        players={n: (c,) for n, c in zip(model_names, rows.columns, strict=True)},
    )
    for kind in ("bar", "beeswarm", "waterfall", "heatmap"):
        labels = [t.get_text() for t in draw(e, kind).get_yticklabels()]
        assert len(set(labels)) == len(labels)


def test_many_categories_have_labels_and_booleans_are_words():
    from lightgbm import LGBMRegressor

    rng = np.random.default_rng(0)
    rows = pd.DataFrame({
        "city": pd.Categorical(rng.choice([f"city {i:02d}" for i in range(30)], 300)), "flag": rng.random(300) > 0.5
    })  # fmt: skip
    model = LGBMRegressor(n_estimators=10, verbose=-1, min_child_samples=2).fit(
        rows, rows.city.cat.codes + rows.flag * 9
    )
    e = wb.explain(model, rows)
    ticks = [t.get_text() for t in e.plot.scatter("city").get_xticklabels()]
    assert len(ticks) == 15
    assert ticks[-1] == "16 others"
    assert [t.get_text() for t in e.plot.scatter("flag").get_xticklabels()] == ["false", "true"]
    words = {t.get_text() for t in e[0].plot.waterfall().get_yticklabels()}
    assert f"flag = {str(rows.flag[0]).lower()}" in words


def test_stacked_bars_say_what_they_sum(classes):
    ax = classes.plot.bar()
    assert "summed over 3 classes" in ax.get_xlabel()
    inside(ax)
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_numbers_are_plain():
    from whybox.explanation.html import number_text

    told = {
        177_612.3: "177,612",
        2020.0: "2020",
        0.12344: "0.1234",
        -1e-7: "-1.000e-07",
        0.0: "0",
        1e9: "1.000e+09",
        12.0: "12",
    }
    assert {v: number_text(v) for v in told} == told
    assert number_text(3.14159, 3, sign=True) == "+3.14"


def test_every_name_of_a_figure_finds_its_function():
    """And every kind that it says it draws is a kind of explanation."""
    for name, figure in {**FIGURE_SPECS, **EFFECTS_FIGURES}.items():
        function = figure.load_function()
        assert function.__name__ == name
        assert set(figure.kinds) <= {*EXPLANATION_KINDS, "effects", OF_TEXTS, ATTRIBUTED_TEXTS}
        first = next(iter(inspect.signature(function).parameters))
        assert first in ("e", "effects")
    assert {n for s in methods() for n in s.figures} <= {*FIGURE_SPECS, *EFFECTS_FIGURES}


def test_figures_of_an_explanation_have_the_signature_of_their_function():
    model, X = zoo.built("LGBMClassifier, multiclass")
    e = wb.explain(model, X[:5])
    assert dir(e.plot) == ["bar", "beeswarm", "heatmap", "scatter", "waterfall"]
    assert list(inspect.signature(e.plot.scatter).parameters) == ["feature", "color", "output", "ax", "title"]
    assert "interaction" in inspect.getdoc(e.plot.scatter)
    with pytest.raises(AttributeError, match=r"no figure 'bars'\. Did you mean 'bar'"):
        e.plot.bars  # noqa: B018
    curves = wb.effects(model, X, ["bmi"], grid=3)
    assert dir(curves["bmi"].plot) == ["curve"]
    assert dir(curves.plot) == ["grid"]


def test_a_curve_without_its_legend():
    e = wb.effects(*zoo.built("LGBMClassifier, multiclass"), ["bmi"], grid=5)["bmi"]
    assert e.plot.curve().get_legend() is not None
    assert e.plot.curve(legend=False).get_legend() is None
    plt.close("all")


def test_dates_are_numbers_down_to_their_unit_and_dates_in_words():
    from whybox.explanation.feature_values import as_numbers, number_labels

    dates = np.array(["2020-01-01T00:00:00.250", "2020-01-01T00:00:00.750", "NaT"], dtype="M8[ns]")
    x = as_numbers(dates)
    assert x[1] - x[0] == 0.5
    assert np.isnan(x[2])
    for unit in ("Y", "M", "W", "D", "h", "s", "us"):
        assert as_numbers(dates[:1].astype(f"M8[{unit}]"))[0] == pytest.approx(
            dates[0].astype(f"M8[{unit}]").astype("M8[us]").astype(np.int64) / 1e6
        )
    assert number_labels(x[:2], dates.dtype) == ["2020-01-01 00:00:00.250", "2020-01-01 00:00:00.750"]
    days = np.array(["2020-01-01T10", "2020-03-01T12"], dtype="M8[h]")
    assert number_labels(as_numbers(days), days.dtype) == ["2020-01-01", "2020-03-01"]
    hours = np.array([90, 600], dtype="m8[m]")
    assert number_labels(as_numbers(hours), hours.dtype) == ["1.5 hours", "10 hours"]
    assert number_labels(np.array([0.5, 2.0]), np.dtype(float)) == ["0.5", "2"]


def test_dates_are_dates_in_colour_bars_tables_and_on_axes():
    """Neither seconds since 1970 nor 0 and 1."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from whybox.plots.style import value_text
    from whybox.reporting.sections.dependence import _value_groups

    days = np.datetime64("2021-03-01", "us") + np.arange(60) * np.timedelta64(13 * 86400 + 7, "s")
    X = pd.DataFrame({"day": days, "amount": np.random.default_rng(0).normal(size=60)})
    as_days = FunctionTransformer(lambda f: f.to_numpy().astype("M8[s]").astype(np.float64)[:, :1] / 86400)
    columns = make_column_transformer((as_days, ["day"]), ("passthrough", ["amount"]))
    model = make_pipeline(columns, RandomForestRegressor(5, max_depth=4, random_state=0)).fit(
        X, X["amount"] * (days > days[30])
    )
    e = wb.explain(model, X)
    curve = wb.effects(model, X, ["amount"], "ice")[0]
    for figure in (e.plot.scatter("amount", color="day").figure, curve.plot.curve(color="day").figure):
        labels = [t.get_text() for t in figure.axes[-1].get_yticklabels()]
        assert labels == ["2021-04-08", "2023-02-27"]
        plt.close(figure)
    ax = e.plot.scatter("day", color="amount")
    ax.figure.canvas.draw()
    labels = [t.get_text() for t in ax.get_xticklabels() if t.get_text()]
    assert 3 <= len(labels) <= 8
    assert {"2022", "2023"} <= set(labels)
    plt.close(ax.figure)
    first = _value_groups(e.data.column(0).values, e.values[:, 0])[0][0]
    assert first == "2021-03-01 to 2021-05-16"
    assert value_text(days[1]) == "2021-03-14 00:00:07"
    assert value_text(days[0]) == "2021-03-01"


def test_an_importance_with_a_sign_is_drawn_with_it_and_with_its_interval():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(60, 20)))
    X.columns = [f"x{i}" for i in range(20)]
    y = X.x0 + draw.normal(size=60)
    e = wb.importance(lambda rows: rows.x0 + rows.x1 / 2 - rows.x2 / 2, X, y)
    ax = e.plot.bar(max_display=19)
    names = [t.get_text() for t in ax.get_yticklabels()]
    drawn = dict(zip(names, (p.get_width() for p in ax.patches), strict=True))
    assert len(names) == 19
    assert all(drawn[n] == pytest.approx(float(e[n])) for n in names)
    assert list(drawn.values()) == sorted(drawn.values(), reverse=True)
    assert "; 1 smaller not shown" in ax.get_xlabel()
    (lines,) = ax.collections
    ends = {n: segment[:, 0] for n, segment in zip(names, lines.get_segments(), strict=True)}
    for n in names:
        np.testing.assert_allclose(ends[n], [end[list(e.feature_names).index(n)] for end in e.interval])
    low, high = ax.get_xlim()
    assert low <= min(end[0] for end in ends.values())
    assert high >= max(end[1] for end in ends.values())
