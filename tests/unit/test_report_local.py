"""The section of the report that explains single decisions by local values, beside their Shapley values."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from report_pages import of_keyboard, read_page

import whybox as wb
import zoo
from whybox.explanation.html import number_text
from whybox.explanation.local_rows import local_warnings
from whybox.explanation.rule_rows import rule_bounds, rule_number, rule_sentence, rule_warnings, share_text
from whybox.methods.registry import methods
from whybox.reporting.contents import SECTIONS
from whybox.reporting.local_rules import MAX_EVALS
from whybox.reporting.sections.local import disagreements

LOCAL = [s for s in SECTIONS if s.anchor == "local"]


def page(folder, *arguments, **options):
    wb.report(*arguments, folder / "r.html", sections=LOCAL, **options)
    return read_page(folder / "r.html")


def cells(html):
    """The texts of each line of the tables."""
    return [
        [unescape(c) for c in re.findall(r"<td[^>]*>([^<]*)</td>", line)]
        for line in re.findall(r"<tr>(.*?)</tr>", html)
    ]


def test_the_registry_names_the_section():
    specs = [*methods("lime"), *methods("anchors")]
    assert {spec.section for spec in specs if "background" in spec.needs} == {"local"}
    anchors = [s.anchor for s in SECTIONS]
    assert anchors.index("local") == anchors.index("decisions") + 1


def test_rows_have_their_local_values_beside_their_shapley_values(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    rows, background = rows[:40], rows[100:160]
    text = page(tmp_path, model, rows, background=background)
    assert "<h2>The same decisions, seen another way</h2>" in text
    assert "Values are drawn from 60 background rows." in text
    other = wb.explain(model, rows, background)
    order = np.argsort(other.prediction, kind="stable")
    picked = [int(order[-1]), int(order[20]), int(order[0])]
    e = wb.lime(model, rows.iloc[sorted(picked)], background, spot_checks=0)
    lines = cells(of_keyboard((tmp_path / "r.html").read_text(encoding="utf-8")))
    for row, why in zip(picked, ("highest", "median", "lowest"), strict=True):
        one = e[sorted(picked).index(row)]
        warnings = "".join(f" {w[0].upper()}{w[1:]}." for w in local_warnings(one))
        usual = f"average {number_text(float(model.predict(rows).mean()))}"
        words = f"Predicted {number_text(float(other.prediction[row]))}; {usual}."
        assert f"Row {row}: {why} prediction. {words}{warnings}</figcaption>" in text
        for j, name in enumerate(one.feature_names):
            assert [
                name,
                one.extras["condition"][1][j],
                number_text(float(one.values[j]), sign=True),
                f"{100 * one.extras['share'][1][j]:.3g} %",
                number_text(float(other[row, name].values), sign=True),
            ] in lines
        for sentence in disagreements(one, other[row]):
            assert f"<p>{sentence}</p>" in text
    assert text.count("diamonds: Shapley values of the same row") == 3
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text).lower().split("<main>")[1].replace("nance", "")


def test_without_a_background_the_rows_of_the_report_are_drawn_from_and_that_is_said(tmp_path):
    model, rows = zoo.built("LGBMClassifier, multiclass")
    text = page(tmp_path, model, rows[:50])
    assert "No background was given, so values are drawn from these rows themselves (50 of them)." in text
    assert "<h3>Class 0</h3>" in text
    assert "<h3>Rules that keep the class</h3>" in text
    assert text.count("<h3>") == 3


def test_another_scale_is_sampled_with_errors(tmp_path):
    model, rows = zoo.built("GradientBoostingClassifier")
    text = page(tmp_path, model, rows[:30], background=rows[:60], scale="probability")
    assert "Local value (probability)" in text
    assert " ± " in text
    assert (tmp_path / "r.html").stat().st_size < 300_000


def test_what_cannot_be_done_is_said(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    text = page(tmp_path, model, rows[:1])
    assert "Local values are not shown: " in text


def test_a_classifier_has_the_rules_of_the_same_rows(tmp_path, monkeypatch):
    model, rows = zoo.built("LGBMClassifier, binary, text classes")
    rows, background = rows[:30], rows[100:160]
    text = page(tmp_path, model, rows, background=background)
    assert "<h3>Rules that keep the class</h3>" in text
    shown = sorted({int(row) for row in re.findall(r"Row (\d+): (?:highest|median|lowest)", text)})
    e = wb.anchors(model, rows.iloc[shown], background, max_evals=MAX_EVALS, spot_checks=0)
    lines = cells(of_keyboard((tmp_path / "r.html").read_text(encoding="utf-8")))
    for i, row in enumerate(shown):
        one = e[i]
        warnings = [f"{w[0].upper()}{w[1:]}" for w in rule_warnings(one)]
        assert [
            str(row),
            ". ".join([rule_sentence(one), *warnings]),
            f"{share_text(rule_number(one, 'precision'))} (at least {share_text(rule_bounds(one)[0])})",
            share_text(rule_number(one, "coverage")),
        ] in lines
    assert f"{e.evidence.settings['predictions']:,} predictions of rows drawn for these rules." in text
    monkeypatch.setattr("whybox.reporting.local_rules.MAX_SECONDS", 0.0)
    text = page(tmp_path, model, rows, background=background)
    assert "Rules are not shown: 40,000 predictions would take about" in text
    assert "Rules that keep" not in text


def test_a_regression_has_no_rules(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    text = page(tmp_path, model, rows[:30])
    assert "Rules" not in text.split("<main>")[1]


@pytest.fixture(scope="module")
def pair():
    model, rows = zoo.built("RandomForestRegressor")
    e = wb.lime(model, rows[:1], rows[:60], spot_checks=0)[0]
    return e, wb.explain(model, rows[:1], rows[:60], spot_checks=0)[0]


def with_values(e, values, error=None):
    return replace(e, values=np.array(values, dtype=float), std_error=None if error is None else np.full(5, error))


@pytest.mark.parametrize(
    ("ours", "theirs", "error", "expected"),
    [
        ([5, 4, 3, 2, 1], [5, 4, 3, 2, 1], None, []),
        ([5, 4, 3, 2, 1], [3, 4, 5, 2, 1], None, []),
        ([5, 4, 3, 2, 1], [1, 4, 5, 2, 3], None, ["0 is first by the local values and number 5 by the Shapley values."]),
        ([1, 4, 5, 2, 3], [5, 4, 3, 2, 1], None, ["0 is first by the Shapley values and number 5 by the local values."]),
        ([5, -4, 3, 2, 1], [5, 4, 3, 2, 1], None, ["1 has opposite signs: -4 locally, +4 as a Shapley value."]),
        ([5, -4, 3, 2, 1], [5, 4, 3, 2, 1], 1.9, ["1 has opposite signs: -4 locally, +4 as a Shapley value."]),
        ([5, -4, 3, 2, 1], [5, 4, 3, 2, 1], 2.1, []),  # within its error
        ([5, 4, 3, 2, -1], [5, 4, 3, 2, 1], None, []),  # not among the first three
        ([5, 4, 3, 0, 0], [5, 4, -0.2, 0, 0], None, []),  # a small share of the largest
    ],
)  # fmt: skip
def test_disagreements_are_on_the_first_feature_and_on_signs_beyond_errors(pair, ours, theirs, error, expected):
    e, other = pair
    names = e.feature_names
    backwards = with_values(other, theirs)[::-1]
    found = disagreements(with_values(e, ours, error), backwards)
    assert list(found) == [f"{names[int(words[0])]}{words[1:]}" for words in expected]
