"""What a report says in words: classes by the column they are of, numbers in their units, rows chosen by what the page shows of them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from html import escape

import numpy as np
import pandas as pd
import pytest
from report_pages import cells, page, parts, read_page
from sklearn.datasets import load_wine
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

import whybox as wb
import zoo
from whybox.reporting.page import html_page


@pytest.fixture(autouse=True)
def _labels_anywhere(monkeypatch, unwritten_pictures):
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)


@pytest.fixture(scope="module")
def wine(tmp_path_factory):
    """A model of three classes, its rows with their truth, and the page about them."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.iloc[:, [0, 6, 9, 12]].assign(grape=np.array(["Barbera", "Barolo", "Grignolino"])[y])
    model = GradientBoostingClassifier(n_estimators=12, max_depth=3, subsample=0.5, random_state=0)
    model.fit(X.iloc[::2, :4], X["grape"][::2])
    rows = X.iloc[1::2].reset_index(drop=True)
    folder = tmp_path_factory.mktemp("wine")
    sections = parts("summary", "model", "decisions", "local", "evidence")
    _, text = page(folder, model, rows, y="grape", threshold=0.4, positive="Barbera", sections=sections)
    return model, rows, text


def test_a_class_is_one_of_the_column_that_has_the_truth(wine, tmp_path):
    assert "the probability of each of 3 classes of grape: Barbera, Barolo, Grignolino." in wine[2]
    X = zoo.X()[:120]
    for names, words in (
        (["no", "yes"], "that left is yes; the other"),
        ([0, 1], "that left is 1 (class 1); the other class is class 0"),
    ):
        rows = X.assign(left=np.array(names)[zoo.binary()[:120]])
        model = GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X, rows["left"])
        _, text = page(tmp_path, model, rows, y="left", sections=parts("summary"))
        assert f"For each row the probability {words}" in text
        _, text = page(tmp_path, model, X, y=rows["left"].to_numpy(), sections=parts("summary"))
        assert "the probability of" in text


def test_highest_and_lowest_are_those_of_the_probabilities_that_the_page_shows(wine):
    """Of several classes the scale of the explanation has another order: a class may have a high score beside a higher one."""
    model, rows, text = wine
    p = model.predict_proba(rows[model.feature_names_in_])
    raw = model.decision_function(rows[model.feature_names_in_])
    assert any(
        np.argmin(p[:, k]) != np.argmin(raw[:, k]) or np.argmax(p[:, k]) != np.argmax(raw[:, k]) for k in range(2)
    )
    for k in range(2):
        shown = {
            line[1]: line[0] for line in cells(text.split(f"<h3>{model.classes_[k]}</h3>")[1][:4000]) if len(line) == 5
        }
        assert int(shown["highest prediction"]) == np.argmax(p[:, k])
        assert int(shown["lowest prediction"]) == np.argmin(p[:, k])


def test_of_several_classes_log_odds_are_no_probability_of_their_own(wine, tmp_path):
    assert "0 is a probability of 50 %" not in wine[2]
    assert "by 2.2 above one other class, it is 9 times as probable" in wine[2]
    assert round(float(np.exp(2.2))) == 9
    model, X = zoo.built("GradientBoostingClassifier")
    assert "0 is a probability of 50 %" in page(tmp_path, model, X[:20], sections=parts("model"))[1]


def test_classes_whose_decisions_are_not_drawn_are_named(wine):
    assert "Decisions are not drawn for Grignolino. A report about one class has its own: output=" in wine[2]


def test_a_regression_speaks_of_its_number(tmp_path):
    X = zoo.X()[:150].assign(weight=np.arange(150.0))
    model = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X[zoo.COLUMNS], X["weight"])
    _, text = page(
        tmp_path,
        model,
        X,
        y="weight",
        by="sex",
        sections=parts("model", "groups", "effects", "decisions", "importance"),
    )
    assert ["Predicts", "a number, weight"] in cells(text)
    assert "that move predictions most, in units of the prediction, with 95 % intervals" in text
    assert "partial dependence, in units of the prediction." in text
    assert "<th>Attribution (in units of the prediction)</th>" in text
    assert not re.search(r"in prediction\b|, prediction\.|\(prediction\)", text)


def test_small_reasons_are_no_main_reasons(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["large", "some", "tiny"])
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(X, X @ [10.0, 3.0, 0.01])
    _, text = page(tmp_path, model, X, background=X, rows=[3], sections=parts("decisions"))
    words = text.split("<h4>Row 3</h4>")[1].split("</p>")[0]
    assert "large =" in words
    assert "tiny" not in words
    reasons = {line[0]: line[3] for line in cells(text.split("<h4>Main reasons</h4>")[1][:900]) if len(line) == 4}
    assert reasons["tiny"].endswith("%")
    assert reasons["tiny"] != "0 %"


def test_what_is_rounding_is_zero(tmp_path):
    """A linear model of one of its columns has weights of 1e-16 elsewhere, and predicts the truth but for rounding."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LinearRegression

    X = load_breast_cancer(as_frame=True).data.iloc[:120, :9]
    model = LinearRegression().fit(X, X["mean radius"])
    sections = parts("summary", "performance", "importance", "attributions", "decisions")
    e, text = page(tmp_path, model, X, background=X, y=X["mean radius"].to_numpy(), sections=sections)
    assert 0.0 < np.abs(e.values[:, 1:]).max() < 1e-9
    shown = re.sub(
        r"<h2>Which features matter</h2>.*?<h3>How far", "", text, flags=re.DOTALL
    )  # losses, which are of their own size
    assert not re.search(r"\de-1\d", shown)
    top = e.top(3)
    assert (top["contribution"][top["feature"] != "mean radius"] == 0.0).all()
    assert (top["share"][top["feature"] != "mean radius"] == 0.0).all()


def test_rules_name_classes_and_rows_as_the_page_does(wine, tmp_path):
    rules = wine[2].split("<h3>Rules that keep the class</h3>")[1].split("</table>")[0]
    shown = [
        line[0]
        for line in cells(wine[2].split("<h2>Why this decision</h2>")[1].split("<h2>The same")[0])
        if len(line) == 5 and line[0] != "Row"
    ]
    assert [line[0] for line in cells(rules)[1:]] == list(dict.fromkeys(shown))
    X = zoo.X()[:120].assign(customer=[f"C{i}" for i in range(120)])
    model = GradientBoostingClassifier(n_estimators=4, random_state=0).fit(X[zoo.COLUMNS], zoo.binary()[:120])
    _, text = page(tmp_path, model, X, ids="customer", sections=parts("local"))
    rules = text.split("<h3>Rules that keep the class</h3>")[1]
    assert "<th>customer</th>" in rules
    assert re.search(r"THEN class [01]\b|that keeps class [01] often enough", rules)


def test_the_local_model_has_a_probability_where_its_scale_has_one(wine, tmp_path):
    assert "The linear model says" not in wine[2]  # of several classes it has none of its own
    model, X = zoo.built("GradientBoostingClassifier")
    _, text = page(tmp_path, model, X[:60], rows=[4], sections=parts("local"))
    assert re.search(r"average \d+ %\. The linear model says [\d.]+ %\.", text)


def test_evidence_says_a_thing_once_and_depends_on_the_numbers_alone(wine, tmp_path):
    evidence = wine[2].split("<h2>Evidence</h2>")[1]
    assert "Wall time" not in evidence
    lines = [tuple(line) for line in cells(evidence) if line[0] == "Note"]
    assert len(lines) == len(set(lines))


def test_long_names_break_at_their_underscores_and_nothing_else_does(tmp_path):
    body = (
        "<p>status_of_existing_checking_account = 3 &lt; 4, class 1, 95 %</p><td>0123456789abcdef0123456789abcdef</td>"
        "<svg><text>status_of_existing_checking_account</text></svg><td>a&amp;b&amp;c&amp;d&amp;e&amp;f_g</td>"
    )
    html = html_page("status_of_existing_checking", [("a", "A", body)])
    assert (
        "<p>status_<wbr>of_<wbr>existing_<wbr>checking_<wbr>account\N{NO-BREAK SPACE}= 3 &lt; 4, class\N{NO-BREAK SPACE}1, 95\N{NO-BREAK SPACE}%</p>"
        in html
    )
    assert "<td>0123456789abcdef<wbr>0123456789abcdef</td>" in html
    assert "<text>status_of_existing_checking_account</text>" in html
    assert "<title>status_of_existing_checking</title>" in html
    assert "a&amp;b&amp;c&amp;d&amp;e&amp;f_<wbr>g" in html


def test_a_cell_of_json_is_set_at_once():
    quoted = escape(json.dumps(dict.fromkeys(map(str, range(300)))).replace(" ", ""))  # an entity every few characters
    html = html_page("T", [("a", "A", f"<td>{quoted}</td>")])
    assert html.split("<td>")[1].split("</td>")[0].replace("<wbr>", "") == quoted


def test_progress_counts_the_explanation_and_each_section(tmp_path, monkeypatch):
    counted = []

    @contextmanager
    def counting(total, **words):
        counted.append(total)
        yield lambda n: counted.append(-n)

    monkeypatch.setattr("whybox.reporting.table_report.progress_of_parts", counting)
    model, X = zoo.built("RandomForestRegressor")
    page(tmp_path, model, X[:20], sections=parts("model", "summary"))
    assert counted == [3, -1, -1, -1]


def test_the_title_names_the_model_that_has_a_name(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    wb.report(model, X[:20], tmp_path / "r.html", model_name="prices-7", sections=parts("model"))
    assert "<h1>Explanation of prices-7</h1>" in read_page(tmp_path / "r.html")
    wb.report(model, X[:20], tmp_path / "r.html", sections=parts("model"))
    assert "<h1>Explanation of RandomForestRegressor" in read_page(tmp_path / "r.html")
