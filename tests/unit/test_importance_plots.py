"""Figures of importance: dots with intervals."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import drawn
import whybox as wb
from whybox.errors import OptionError
from whybox.explanation.html import number_text
from whybox.methods.registry import find, methods
from whybox.numerics.statistics import confidence_interval


def weighted_sum(rows):
    return rows.x0 + rows.x1 / 2 - rows.x2 / 2


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(60, 8)), columns=[f"x{i}" for i in range(8)])
    return X, X.x0 + draw.normal(size=60)


@pytest.fixture(scope="module")
def importance(rows):
    return wb.importance(weighted_sum, *rows, role="held-out", train=rows, max_evals=5_000)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def lines_of(ax):
    """What is drawn, by its words in the legend: (features,) places across."""
    return {line.get_label(): line.get_xdata() for line in ax.lines if not line.get_label().startswith("_")}


def features_of(ax):
    return [t.get_text().strip() for t in ax.get_yticklabels()]


def positions(e, names):
    return [e.feature_names.index(n) for n in names]


def test_dots_are_the_values_from_the_largest_on_with_their_intervals(importance):
    e = importance
    ax = e.plot.dots()
    names = features_of(ax)
    at = positions(e, names)
    assert sorted(at) == list(range(8))
    drawn_lines = lines_of(ax)
    values = drawn_lines["held-out rows, with the 95 % interval"]
    np.testing.assert_array_equal(values, e.values[at])
    assert list(values) == sorted(values, reverse=True)
    assert values[-1] < 0
    np.testing.assert_array_equal(drawn_lines["training rows, with the 95 % interval"], e.extras["train"][1][at])
    train, own = (c.get_segments() for c in ax.collections[::-1])
    for j, of_row, of_train in zip(at, own, train, strict=True):
        np.testing.assert_allclose(of_row[:, 0], [end[j] for end in e.interval])
        ends = confidence_interval(e.extras["train"][1][j], e.extras["train_error"][1][j])
        np.testing.assert_allclose(of_train[:, 0], ends)
    low, high = ax.get_xlim()
    ends = np.array([*own, *train])[..., 0]
    assert low < ends.min()
    assert high > ends.max()


def test_title_and_axis_say_method_loss_and_units(rows):
    X, y = rows
    ax = wb.importance(weighted_sum, X, y, loss="absolute", max_evals=5_000).plot.dots()
    assert ax.get_title(loc="left") == "Permutation importance, absolute loss"
    assert ax.get_xlabel() == "increase of the loss (absolute loss, units of y)"
    assert "importance, with the 95 % interval" in lines_of(ax)  # which rows these are was not said
    e = wb.importance(weighted_sum, X, y, max_evals=5_000)
    assert e.plot.dots(title="Mine").get_title(loc="left") == "Mine"
    scored = replace(e, evidence=replace(e.evidence, settings={"scoring": "r2"}))
    assert scored.plot.dots().get_title(loc="left") == "Permutation importance, r2"


def test_the_share_off_the_data_is_a_bar_of_the_width(importance):
    e = importance
    share = np.where(np.arange(8) == 2, np.nan, np.linspace(0.1, 0.8, 8))
    ax = replace(e, extras={**e.extras, "off_data": (("feature",), share)}).plot.dots()
    at = positions(e, features_of(ax))
    bars = next(c for c in ax.containers if c.get_label().startswith("share of changed rows off the data"))
    np.testing.assert_allclose([b.get_width() for b in bars], np.nan_to_num(share[at]))
    assert len(ax.containers[0]) == 7  # the widths that are 100 %; none where there is no share
    across = ax.get_yaxis_transform()
    assert all(b.get_transform().contains_branch(across) for b in bars)
    extras = {k: v for k, v in e.extras.items() if k not in ("off_data", "train", "train_error")}
    ax = replace(e, extras=extras).plot.dots()
    assert not ax.containers
    assert len(ax.get_legend().get_texts()) == 1


def test_a_value_that_is_not_known_stands_last_and_the_others_keep_their_place(importance):
    e = importance
    values = e.values.copy()
    values[e.values.argmax()] = np.nan
    ax = replace(e, values=values).plot.dots()
    names = features_of(ax)
    assert names[-1] == e.feature_names[int(e.values.argmax())]
    assert names[:-1] == [e.feature_names[j] for j in np.argsort(-e.values, kind="stable")][1:]
    assert "no value" in [t.get_text() for t in ax.texts]
    assert all(np.isfinite(ax.get_xlim()))
    assert replace(e, values=np.full(8, np.nan)).plot.dots().get_xlim()[0] < 0


def test_the_largest_are_drawn_and_how_many_are_left_out_is_said(importance):
    ax = importance.plot.dots(max_display=3)
    assert features_of(ax) == [importance.feature_names[j] for j in np.argsort(-importance.values)[:3]]
    assert ax.get_xlabel().endswith("\n5 smaller features not shown")
    assert importance.plot.dots(max_display=7).get_xlabel().endswith("\n1 smaller feature not shown")
    with pytest.raises(OptionError, match="max_display=0 must be at least 1"):
        importance.plot.dots(max_display=0)


def test_columns_of_a_player_stand_under_its_name(rows):
    groups = {"both": ["x0", "x1"], "x2 + x3": ["x2", "x3"], "rest": [f"x{i}" for i in range(4, 8)]}
    e = wb.importance(weighted_sum, *rows, players=groups, max_evals=5_000)
    ax = e.plot.dots()
    assert sorted(features_of(ax)) == sorted(groups)
    assert sorted(t.get_text() for t in ax.texts) == ["x0, x1", "x4, x5, x6, x7"]
    many = replace(e, players={**e.players, "rest": tuple(f"column {i}" for i in range(100))})
    (under,) = (t.get_text() for t in many.plot.dots().texts if "column" in t.get_text())
    assert under == "column 0, column 1, column 2, column 3 and 96 more"


def test_without_an_interval_there_are_dots_alone(rows):
    from sklearn.ensemble import RandomForestRegressor

    X, y = rows
    model = RandomForestRegressor(5, random_state=0).fit(X, y)
    ax = wb.importance(model, method="impurity").plot.dots()
    assert ax.get_title(loc="left") == "Impurity decrease in training"
    assert ax.get_xlabel() == "share of impurity decrease"
    assert not ax.collections
    assert ax.get_legend() is None
    e = wb.importance(model, X, y)
    ax = replace(e, extras={}).plot.dots()
    assert "importance, with the standard error" in lines_of(ax)
    np.testing.assert_allclose(ax.collections[0].get_segments()[0][:, 0].mean(), e.values.max())


def test_dots_are_of_importance_and_of_one_output(rows):
    from sklearn.ensemble import RandomForestClassifier

    X, _ = rows
    model = RandomForestClassifier(5, random_state=0).fit(X, np.arange(60) % 3)
    e = wb.importance(model, X)
    with pytest.raises(OptionError, match="a plot of dots shows one output"):
        e.plot.dots()
    assert e.plot.dots(output="2").get_title(loc="left").endswith(" · class 2")
    with pytest.raises(OptionError, match="dots shows the importance of features"):
        wb.explain(model, X).plot.dots()
    with pytest.raises(OptionError, match="dots shows the importance of features"):
        e["x0"].plot.dots()


def test_a_notebook_shows_values_with_errors_from_the_largest_on(importance):
    e = importance
    shown = re.findall(r">(x\d)</td>.*?text-align:right\">([^<]*)</td>", e._repr_html_())
    assert shown == [
        (
            e.feature_names[j],
            number_text(float(e.values[j]))
            + (f" ± {number_text(float(error), 2)}" if (error := e.std_error[j]) else ""),
        )
        for j in np.argsort(-e.values, kind="stable")
    ]


def test_importance_that_needs_the_truth_is_drawn_as_dots_first():
    for spec in methods("importance"):
        assert set(spec.figures) == {"dots", "bar"}
        assert (spec.figures[0] == "dots") == ("y" in spec.needs)
    assert find("importance", "permutation").figures[0] == "dots"


@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("count", [1, 5, 200])
def test_nothing_is_cut_off(importance, count, style):
    names = np.array([f"a feature with quite a long name, number {i} $x_{i}$" for i in range(count)], dtype=object)
    values, at = np.linspace(3, -1, count), np.zeros(count, dtype=int)
    extras = {n: (d, a[at] if d else a) for n, (d, a) in importance.extras.items() if n != "linkage"}
    e = replace(
        importance,
        values=values,
        std_error=np.full(count, 0.1),
        coords={"feature": names},
        players={n: (f"{n}, one", f"{n}, other") for n in names},
        extras=extras | {"interval": (("feature", "bound"), np.stack([values - 0.2, values + 0.2], axis=-1))},
    )
    with plt.style.context(style):
        ax = e.plot.dots()
        drawn.inside(ax.figure, by=0.02)
        labels = [t.get_window_extent() for t in ax.get_yticklabels()]
        assert all(a.y0 > b.y1 - 1 for a, b in pairwise(labels))  # none touches the next
        texts = [ax.title, ax._left_title, *ax.get_legend().get_texts()]
        boxes = sorted((t.get_window_extent() for t in texts if t.get_text()), key=lambda box: -box.y0)
        assert all(a.y0 > b.y1 - 1 for a, b in pairwise(boxes))
