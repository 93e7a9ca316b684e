"""Rules as sentences, as figures and as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

import drawn
import whybox as wb
from whybox.errors import OptionError
from whybox.explanation.rule_rows import rule_headline, rule_numbers, rule_sentence, rule_warnings, share_text

LONG = "a very long name of a measured quantity of the customer, number {} of $200"


@pytest.fixture(scope="module")
def rules():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(80, 3)), columns=["age", "pay & <b>", "x"])
    y = np.where(X["age"] > 0, "yes", "no")
    return wb.anchors(DecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y), X[:12], X, spot_checks=0)


@pytest.fixture(scope="module")
def long():
    """Rules of 25 conditions with long names."""
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 25)), columns=[LONG.format(i) for i in range(25)])
    e = wb.anchors(lambda t: np.asarray(t)[:, 0] > 0, X[:1], X, spot_checks=0)
    conditions = np.array([[f"0.125 < {name} <= 0.875" for name in X.columns]])
    found = {"condition": (("row", "feature"), conditions), "rule": (("row",), np.array([f"IF {' AND '.join(conditions[0])}"]))}  # fmt: skip
    return replace(e, values=np.ones((1, 25)), extras={**e.extras, **found})


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def changed(e, **extras):
    return replace(e, extras={**e.extras, **{n: (e.extras[n][0], np.asarray(v)) for n, v in extras.items()}})


def texts(ax):
    return [t.get_text() for t in ax.texts]


def test_a_rule_is_said_with_precision_bounds_and_coverage(rules):
    e = changed(rules[0], precision=0.9823, precision_interval=[0.9534, 0.99996], certified=True, coverage=0.0625)
    assert rule_sentence(e) == f"{e.extras['rule'][1]} THEN {e.extras['label'][1]}"
    assert rule_headline(e) == f"row 0: predicted {e.extras['label'][1]}"
    assert rule_numbers(e) == "precision 98.2 % (95.3 % to 99.996 %), coverage 6.2 %"
    assert rule_warnings(e) == ()
    assert rule_sentence(changed(e, rule="always")) == f"always {e.extras['label'][1]}"
    poor = changed(e, precision_interval=[0.4, 0.7], certified=False, coverage=0.0)
    assert rule_warnings(poor) == (
        "not certified: the lower bound 40 % is below the promised 95 %",
        "no background row meets all of its conditions",
    )
    assert rule_numbers(changed(e, precision=np.nan)).startswith("precision not known")
    with pytest.raises(OptionError, match=r"pick one: e\[0\]"):
        rule_sentence(rules)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.5, "50 %"), (0.00012, "0.012 %"), (0.99951, "99.95 %"), (0.9999999, "99.99999 %"), (0.9996, "99.96 %")],
)  # fmt: skip
def test_no_share_is_rounded_to_all_or_nothing(share, text):
    assert share_text(share) == text


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_the_figure_shows_the_sentence_the_precision_and_the_promise(rules, style):
    e = changed(rules[3], precision=0.98, precision_interval=[0.953, 0.994], certified=True, coverage=0.25)
    with plt.style.context(style):
        ax = e.plot.rule()
    drawn.inside(ax.figure)
    widths = {round(p.get_y() + p.get_height() / 2): p.get_width() for p in ax.patches}
    assert widths == {1: 0.98, 0: 0.25}
    interval, ends, promised = (c.get_segments() for c in ax.collections)
    assert interval[0][:, 0].tolist() == [0.953, 0.994]
    assert [s[0, 0] for s in ends] == [0.953, 0.994]
    assert promised[0][0, 0] == 0.95
    assert {rule_sentence(e), "98 %", "25 %"} <= set(texts(ax))
    assert "bounds 95.3 % and 99.4 %" in ax.get_xlabel()
    assert "promised 95 %, at a confidence of 95 %" in ax.get_xlabel()
    assert ax.get_title(loc="left") == f"Row 3: predicted {e.extras['label'][1]}"
    assert {p.get_alpha() for p in ax.patches} == {1.0, 0.6}


def test_a_rule_that_is_not_certified_is_pale_and_says_so(rules):
    e = changed(rules[3], precision=0.6, precision_interval=[0.4, 0.7], certified=False)
    ax = e.plot.rule()
    assert ax.patches[0].get_alpha() == 0.5
    bold = [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"]
    assert bold == ["Not certified: the lower bound 40 % is below the promised 95 %."]


def test_a_long_rule_has_room_and_counts_its_conditions(long):
    ax = long[0].plot.rule()
    drawn.inside(ax.figure)
    assert any("(25 conditions in all) THEN" in text for text in texts(ax))
    assert sum("0.125 <" in text for text in texts(ax)) == 7
    assert "$" not in "".join(texts(ax)).replace(r"\$", "")


def test_what_the_figure_cannot_show_is_said(rules):
    with pytest.raises(OptionError, match=r"one of the 12 rows; .* e\[0\]\.plot\.rule\(\)"):
        rules.plot.rule()
    with pytest.raises(OptionError, match="one row only"):
        rules[0].plot.rule(1)
    with pytest.raises(OptionError, match="one feature was picked"):
        rules[:, 0].plot.rule(0)
    with pytest.raises(OptionError, match=r"wb\.anchors"):
        wb.explain(DecisionTreeClassifier(max_depth=1).fit([[0.0], [1.0]], [0, 1]), [[0.0]]).plot.rule(0)
    for figure in ("beeswarm", "heatmap", "scatter"):
        with pytest.raises(OptionError, match=r"Rules are drawn by plot\.rule"):
            getattr(rules.plot, figure)(*[0] * (figure == "scatter"))
    assert {"rule", "bar"} == set(dir(rules.plot))


def test_bars_are_the_share_of_rows_whose_rule_has_a_feature(rules):
    ax = rules.plot.bar(max_display=2)
    shares = np.sort(rules.values.mean(axis=0))[::-1]
    assert [p.get_width() for p in ax.patches] == shares[:2].tolist()
    assert ax.get_xlabel() == "share of rows whose rule has the feature; 1 smaller not shown"
    assert ax.get_title(loc="left") == "Features in rules"


def test_html_has_sentences_and_bars_in_a_few_kilobytes(rules):
    e = changed(rules, certified=[False, *[True] * 11], precision_interval=[[0.4, 0.7], *[[0.96, 1.0]] * 11])
    html = e._repr_html_()
    assert len(html) < 14_000
    assert "<b>Rule</b>: 12 rows, 3 features." in html
    assert html.count("<tr><td style") >= 8
    assert "and 4 more rows; e[8] is the next" in html
    for i in range(8):
        assert rule_sentence(e[i]) in unescape(html)
    assert "pay & <b>" not in html
    assert html.count("not certified: ") == 1
    assert "at least 40 %" in html
    assert set(re.findall(r"width:1px", html)) == {"width:1px"}
    one = e[0]._repr_html_()
    assert rule_sentence(e[0]) in unescape(one)
    assert "more rows" not in one


def test_rules_of_several_calls_are_joined(rules):
    explainer = wb.explainers.Anchors(lambda t: np.asarray(t)[:, 0] > 0, rules.data, spot_checks=0)
    parts = [explainer(rules.data[:3]), explainer(rules.data[3:5])]
    both = wb.concat(parts)
    assert both.kind == "rule"
    assert list(both.extras["rule"][1]) == [str(r) for part in parts for r in part.extras["rule"][1]]
    assert both.evidence.settings["precision"] == 0.95
    spent = [part.evidence.settings["predictions"] for part in parts]
    assert both.evidence.settings["predictions"] == sum(spent)


def test_a_table_has_one_line_a_rule_or_one_a_feature(rules):
    table = rules.to_frame()
    extras = {name: array for name, (_, array) in rules.extras.items()}
    expected = ["rule", "label", "precision", "precision_interval_low", "precision_interval_high", "coverage"]
    assert [*table.columns] == [*expected, "certified", "draws", "prediction"]
    assert list(table["rule"]) == list(extras["rule"])
    np.testing.assert_array_equal(table["precision_interval_low"], extras["precision_interval"][:, 0])
    assert list(table["certified"]) == list(extras["certified"])
    assert [*rules[2:3].to_frame().index] == [2]
    assert list(rules[2].to_frame()["rule"]) == [extras["rule"][2]]
    long = rules.to_frame(layout="long")
    assert [*long.columns][:3] == ["row", "feature", "in_rule"]
    np.testing.assert_array_equal(long["in_rule"], rules.values.reshape(-1))
    assert list(long["condition"]) == list(extras["condition"].reshape(-1))
    assert list(long["rule"][::3]) == list(extras["rule"])
    assert rules.to_arrow().column_names[-9:] == [*table.columns]
