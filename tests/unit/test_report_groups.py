"""Groups of rows and thresholds in a report: counts by hand, curves of scikit-learn, intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from report_pages import cells, page, parts
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import confusion_matrix, precision_score, recall_score

import whybox as wb
import zoo
from whybox.errors import InputError, OptionError
from whybox.explanation.html import number_text
from whybox.numerics.statistics import mean_interval, wilson_interval
from whybox.reporting.asked_rows import make_grouping
from whybox.reporting.decision_words import percent_text
from whybox.reporting.performance import calibrate
from whybox.reporting.sections.threshold import Counts, rate_text


@pytest.fixture(autouse=True)
def _labels_anywhere(monkeypatch, unwritten_pictures):
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)


@pytest.fixture(scope="module")
def named():
    X, y = zoo.X()[:200], np.array(["paid", "default"])[zoo.binary()[:200]]
    model = GradientBoostingClassifier(n_estimators=8, max_depth=2, random_state=0).fit(X, y)
    clinic = np.where(np.arange(200) % 3 == 0, "north", "south")
    return model, X, y, clinic


def shown(rate):
    return rate.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("threshold", [None, 0.35])
@pytest.mark.parametrize("positive", [None, "default"])
def test_a_threshold_is_counted_as_scikit_learn_counts(named, tmp_path, threshold, positive):
    model, X, y, _ = named
    _, text = page(tmp_path, model, X, y=y, threshold=threshold, positive=positive, sections=parts("threshold"))
    name = positive or "paid"  # the second class
    p = model.predict_proba(X)[:, list(model.classes_).index(name)]
    truth, guessed = y == name, p >= (threshold or 0.5)
    (tn, fp), (fn, tp) = confusion_matrix(truth, guessed)
    assert (
        f"Of 200 rows, {tp + fp} do: {tp} rightly and {fp} as false alarms. Of the {tp + fn} that are truly {name}, {fn} {'is' if fn == 1 else 'are'} missed."
        in text
    )
    precision, recall = precision_score(truth, guessed), recall_score(truth, guessed)
    line = next(line for line in cells(text) if line[0].startswith(f"{100 * (threshold or 0.5):g} % (this one)"))
    assert line[1:] == [
        str(tp + fp),
        str(fp),
        str(fn),
        percent_text(precision),
        percent_text(recall),
        percent_text((tp + tn) / 200),
    ]
    assert [
        "Recall",
        shown(rate_text(tp, tp + fn)),
        "of the rows that are truly positive, how many are found",
    ] in cells(text)
    for title in ("Errors at each threshold", "ROC", "Precision and recall", "Calibration"):
        assert f'aria-label="{title}.' in text
    assert ("nobody has chosen another threshold" in text) == (threshold is None)


def test_counts_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    truth, p = rng.random(300) < 0.4, rng.integers(0, 10, 300) / 10
    for t in (0.0, 0.3, 0.95, 1.0):
        c = Counts.at(t, truth, p)
        (tn, fp), (fn, tp) = confusion_matrix(truth, p >= t, labels=[False, True])
        assert (c.true_positives, c.false_positives, c.false_negatives, c.true_negatives) == (tp, fp, fn, tn)
        assert (c.flagged, c.positives, c.negatives, c.rows) == (tp + fp, tp + fn, tn + fp, 300)


def test_probabilities_that_a_sum_rounds_beyond_one_are_one(tmp_path):
    """A hundred leaves of 0.01 each add up to 1.0000000000000007."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = np.where(X[:, 0] > 0, "yes", "no")
    model = RandomForestClassifier(100, random_state=0).fit(X, y)
    _, text = page(tmp_path, model, X, y=y, sections=parts("summary", "threshold", "decisions"))
    assert "it runs from 0 % to 100 %" in text
    assert "99.9 %" not in text


@pytest.mark.parametrize("count", [9, 40, 500])
@pytest.mark.parametrize("different", [3, 1000])
def test_bins_of_calibration_hold_their_rows(count, different):
    rng = np.random.default_rng(count)
    p = rng.integers(0, different, count) / different
    truth = rng.random(count) < p
    found = calibrate(truth, p)
    assert found.rows.sum() == count
    assert len(found.rows) == len(found.observed) == len(found.predicted)
    assert (found.observed * found.rows).sum() == pytest.approx(truth.sum())
    assert (found.predicted * found.rows).sum() == pytest.approx(p.sum())


def test_wilson_intervals_hold_the_rate():
    rng = np.random.default_rng(0)
    for n, p in ((12, 0.5), (60, 0.1), (400, 0.97)):
        hits = rng.binomial(n, p, 1500)
        ends = {int(k): wilson_interval(int(k), n) for k in np.unique(hits)}
        held = np.mean([ends[int(k)][0] <= p <= ends[int(k)][1] for k in hits])
        assert held > 0.93
    assert np.isnan(wilson_interval(0, 0)).all()
    assert rate_text(0, 0) == "none"
    with pytest.raises(OptionError):
        wilson_interval(1, 2, 1.5)


@pytest.mark.parametrize("way", ["column", "values", "series"])
def test_groups_have_their_counts_rates_predictions_and_attributions(named, tmp_path, way):
    model, X, y, clinic = named
    rows = X.assign(clinic=clinic) if way == "column" else X
    by = {"column": "clinic", "values": clinic, "series": pd.Series(clinic, name="clinic")}[way]
    e, text = page(
        tmp_path, model, rows, y=y, by=by, threshold=0.4, positive="default", role="train", sections=parts("groups")
    )
    p, truth = model.predict_proba(X)[:, list(model.classes_).index("default")], y == "default"
    paid = model.predict_proba(X)[:, 1]
    right = model.predict(X) == y
    assert e.feature_names == tuple(zoo.COLUMNS)
    found = []
    for label in ("north", "south"):
        m = clinic == label
        c = Counts.at(0.4, truth[m], p[m])
        mean, half = mean_interval(paid[m])
        predicted = f"{percent_text(mean)} ({percent_text(mean - half)} to {percent_text(mean + half)})"
        rates = [
            (c.positives, c.rows),
            (c.flagged, c.rows),
            (c.false_positives, c.negatives),
            (c.false_negatives, c.positives),
            (right[m].sum(), m.sum()),
        ]
        assert [label, str(m.sum()), predicted, *(shown(rate_text(int(a), int(b))) for a, b in rates)] in cells(text)
        features = e.ordered(6)
        means = [mean_interval(e.values[m, j]) for j in features]
        numbers = [f"{number_text(a, 2)} ({number_text(a - h, 2)} to {number_text(a + h, 2)})" for a, h in means]
        found.append([label, str(m.sum()), *numbers])
    below = text.split("Mean contribution of the ")[1]
    table = cells(below)[: len(found[0])]  # a column a group, as there are fewer of them
    assert [list(column) for column in zip(*table, strict=True)][1:] == found
    assert (f"By {'group' if way == 'values' else 'clinic'}") in text
    assert 'aria-label="Miss rate by' in text
    assert "that the model is fair or unfair" in text


def test_groups_of_a_regression_have_errors_in_its_units(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    X, y = X[:90], zoo.y()[:90]
    _, text = page(tmp_path, model, X, y=y, by="sex", sections=parts("groups"))
    off = model.predict(X) - y
    for value in X["sex"].unique():
        m = (X["sex"] == value).to_numpy()
        mean, half = mean_interval(np.abs(off[m]))
        cell = f"{number_text(mean, 3)} ({number_text(mean - half, 3)} to {number_text(mean + half, 3)})"
        line = next(
            line for line in cells(text) if line[:2] == [number_text(value, 6), str(m.sum())] and len(line) == 6
        )
        assert line[4] == cell
    assert "Mean true" in text


def test_groups_without_a_truth_and_of_a_model_that_is_evaluated(tmp_path):
    X = zoo.X()[["bmi", "bp", "s5"]]
    e, text = page(
        tmp_path,
        lambda r: np.asarray(r["bmi"] * r["bp"]),
        X,
        background=X[:20],
        by=["bp", "bmi"],
        sections=parts("groups"),
    )
    assert text.count("<h3>By ") == 2
    assert f"Of the {len(e)} of 442 rows that are explained." in text
    assert "Mean absolute error" not in text


def test_many_values_make_few_groups():
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=101)
    numbers[5] = np.nan
    found = make_grouping("x", numbers.astype(object), numbers=True)
    assert found.labels[-1] == "missing"
    assert np.bincount(found.group).tolist() == [25, 25, 25, 25, 1]
    assert found.labels[0].startswith("up to ")
    words = np.array([f"w{i}" for i in range(40)] + ["common"] * 5 + [None], dtype=object)
    found = make_grouping("word", words, numbers=False)
    assert len(found.labels) == 8
    assert "35 others" in found.labels
    assert found.labels[found.group[42]] == "common"
    assert make_grouping("n", [10, 9, None, 9], numbers=True).labels == ("9", "10", "missing")
    assert make_grouping("b", [True, False], numbers=False).labels == ("false", "true")
    codes = [12345672, 12345671, 20000, None] * 3  # of more digits than are written otherwise, and with commas
    found = make_grouping("code", codes, numbers=True)
    assert found.labels == ("20,000", "12,345,671", "12,345,672", "missing")
    assert [found.labels[i] for i in found.group[:4]] == ["12,345,672", "12,345,671", "20,000", "missing"]
    assert len(make_grouping("code", np.array(codes, dtype=object), numbers=False).labels) == 4
    close = make_grouping("close", [1000.001 + i / 1e4 for i in range(40)], numbers=True)
    assert close.labels == ("up to 1000.002", "1000.002 to 1000.003", "1000.003 to 1000.004", "above 1000.004")
    skewed = make_grouping("zeros", [0.0] * 90 + list(range(1, 30)), numbers=True)
    assert len(skewed.labels) == len(np.unique(skewed.group))


def test_several_columns_may_be_named_and_the_model_reads_them_or_not(named, tmp_path):
    model, X, y, clinic = named
    _, text = page(tmp_path, model, X.assign(clinic=clinic), y=y, by=["clinic", "sex"], sections=parts("groups"))
    assert "<h3>By clinic</h3>" in text
    assert "<h3>By sex</h3>" in text
    bare = GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X.to_numpy(), y)  # knows no names
    e, _ = page(tmp_path, bare, X.assign(clinic=clinic), y=y, by="clinic", sections=parts("groups"))
    assert e.shape == (200, 5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "clnic"}, "by='clnic' is not a column of the rows.*Did you mean 'clinic'"),
        ({"threshold": 0.3, "y": None}, "threshold=0.3 is compared with what is true; that takes the truth, y="),
        ({"positive": "paid", "y": None}, "positive='paid' is the class .* that takes the truth, y="),
        ({"rows": [[7, 12]]}, r"rows is a list of rows, like \[7, 12\]"),
        ({"threshold": 1.0}, "threshold=1.0 must be a probability between 0 and 1"),
        ({"threshold": 30}, "threshold=30 must be a probability between 0 and 1"),
        ({"threshold": "0.3"}, "threshold='0.3' must be a probability"),
        ({"positive": "payd"}, "positive='payd' is none of the model's classes.*Did you mean 'paid'"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_before_work(named, tmp_path, options, words, monkeypatch):
    model, X, y, clinic = named
    monkeypatch.setattr("whybox.reporting.table_report.explain_report_rows", None)
    with pytest.raises(OptionError, match=words):
        wb.report(model, X.assign(clinic=clinic), tmp_path / "r.html", **({"y": y} | options))
    with pytest.raises(InputError, match="by must be a column of the rows, or one value for each of the 200 rows"):
        wb.report(model, X, tmp_path / "r.html", by=np.array(["a", "b"]))
    assert not list(tmp_path.iterdir())


def test_a_threshold_goes_with_the_probability_of_a_class(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    with pytest.raises(OptionError, match="threshold=0.3 is about the probability of a class, and this model predicts"):
        wb.report(model, X[:20], tmp_path / "r.html", y=zoo.y()[:20], threshold=0.3)
    model, X = zoo.built("LGBMClassifier, multiclass")
    with pytest.raises(OptionError, match="threshold=0.3 is about one of the 3 classes; name it: positive='0'"):
        wb.report(model, X[:20], tmp_path / "r.html", y=zoo.three()[:20], threshold=0.3)
    _, text = page(tmp_path, model, X[:60], y=zoo.three()[:60], positive=2, sections=parts("threshold"))
    assert "A row counts as class 2 from a probability of 50 % on" in text


def test_where_all_rows_are_of_one_class_the_page_says_so(named, tmp_path):
    model, X, y, _ = named
    _, text = page(tmp_path, model, X[y == "paid"], y=y[y == "paid"], sections=parts("threshold"))
    assert "All of the rows are truly paid, so nothing can be told apart." in text
