"""Reports of models that are evaluated, and what reports say of estimated attributions."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pytest
from report_pages import read_page
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC

import whybox as wb
import zoo
from estimated import estimated
from whybox.cli.main import main
from whybox.explanation.errors_of_values import error_of_sum, includes_zero, mean_size_error, median_error, rank_ends
from whybox.explanation.html import number_text
from whybox.reporting import explained_rows
from whybox.reporting.contents import SECTIONS
from whybox.reporting.explained_rows import MAX_ROWS_EXPLAINED
from whybox.reporting.sections.local import disagreements

COLUMNS = ["bmi", "bp", "s5"]


@pytest.fixture(autouse=True)
def _labels_anywhere(monkeypatch):
    """Where labels stand is half of the time of a figure, and the same for every model."""
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)


@pytest.fixture(scope="module")
def rows():
    return zoo.X()[COLUMNS]


class Counted:
    """A function that counts the rows it is asked about."""

    def __init__(self):
        self.count = 0

    def __call__(self, rows):
        self.count += len(rows)
        return np.asarray(rows["bmi"] * rows["bp"] * 1e4 + rows["s5"] * 100)


def parts(*anchors):
    return [s for s in SECTIONS if s.anchor in anchors]


def page(folder, *arguments, **options):
    e = wb.report(*arguments, folder / "r.html", **options)
    return e, read_page(folder / "r.html")


def cells(html):
    """The texts of each line of the tables."""
    return [re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", line) for line in re.findall(r"<tr>(.*?)</tr>", html)]


@pytest.fixture
def _with_errors(monkeypatch):
    """Attributions of the report come with errors."""
    make = explained_rows.explainer_of

    class Sampled:
        def __init__(self, *asked):
            self._exact = make(*asked)

        def __call__(self, rows):
            return estimated(self._exact(rows), 0.08)

    monkeypatch.setattr(explained_rows, "explainer_of", Sampled)
    monkeypatch.setattr(explained_rows, "GameExplainer", Sampled)


def test_a_function_has_every_section_from_a_bounded_number_of_predictions(rows, tmp_path):
    f = Counted()
    e, text = page(tmp_path, f, rows, y=f(rows) + 1.0, background=rows[:60], role="held-out")
    assert f.count < 250_000
    for section in (s for s in SECTIONS if s.anchor not in ("threshold", "groups")):
        assert f"<h2>{section.heading}</h2>" in text
    assert not re.findall(r"[Nn]ot shown: (?!of this model it would take too many predictions)[^<]*", text)
    assert "because it is not read" not in text.split("<h2>Evidence</h2>")[0]
    assert MAX_ROWS_EXPLAINED <= len(e) <= MAX_ROWS_EXPLAINED + 2
    assert f"Mean absolute attribution over {len(e)} of 442 rows" in text
    assert (
        f"<td class=text>{len(e)}, spread evenly over the predictions, and those with the largest mistakes</td>" in text
    )
    assert "<b>-1</b><span>Bias" in text  # over all rows
    assert "Measured on the 442 rows of this report" in text


def test_the_rows_explained_are_spread_over_the_predictions_with_the_largest_mistakes(rows, tmp_path):
    f = Counted()
    predictions = f(rows)
    truth = predictions.copy()
    order = np.argsort(predictions, kind="stable")
    over, under = order[100], order[300]  # next to no row that is picked anyway
    truth[over] -= 500.0
    truth[under] += 500.0
    named = rows.set_axis([f"p{i}" for i in range(len(rows))], axis=0)
    e, text = page(tmp_path, f, named, y=truth, background=rows[:20], sections=parts("performance", "decisions"))
    picked = [int(str(label)[1:]) for label in e.coords["row"]]
    assert picked == sorted(picked)
    ranks = np.argsort(order)[picked]
    assert {0, len(rows) - 1, 100, 300} <= set(ranks.tolist())
    assert np.diff(np.sort(ranks)).max() <= np.ceil(len(rows) / (MAX_ROWS_EXPLAINED - 1))
    assert f"Row p{over}: most overestimated." in text
    assert f"Row p{under}: most underestimated." in text
    assert f"Row p{order[-1]}: highest prediction." in text
    assert np.array_equal(e.prediction, predictions[picked])


def test_ctrl_c_ends_the_report_and_not_only_its_attributions(rows, tmp_path, monkeypatch):
    make = explained_rows.GameExplainer.__call__

    def interrupted(self, X):
        e = make(self, X)
        return replace(e, evidence=replace(e.evidence, notes=("UNFINISHED: interrupted.",)))

    monkeypatch.setattr(explained_rows.GameExplainer, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        page(tmp_path, Counted(), rows[:12], background=rows[:20])
    assert not list(tmp_path.iterdir())


def test_few_rows_are_all_explained(rows, tmp_path):
    e, text = page(tmp_path, Counted(), rows[:12], background=rows[:20], sections=parts("model", "importance"))
    assert len(e) == 12
    assert "Mean absolute attribution over all rows" in text
    assert "Rows explained" not in text.split("</table>")[0]


def test_a_column_of_the_truth_is_no_column_of_the_model(rows, tmp_path):
    f = Counted()
    named = rows.assign(truth=f(rows))
    e, _ = page(tmp_path, f, named, y="truth", background=rows[:20], sections=parts("performance"))
    assert e.feature_names == tuple(COLUMNS)


def test_a_classifier_that_is_not_read_has_its_scores_and_mistakes(rows, tmp_path):
    y = np.array(["low", "high"])[zoo.binary()]
    model = KNeighborsClassifier(5).fit(rows, y)
    e, text = page(
        tmp_path, model, rows, y=y, background=rows[:20], sections=parts("model", "performance", "decisions")
    )
    assert f"<b>{number_text(float(np.mean(model.predict(rows) == y)))}</b><span>Accuracy" in text
    assert "mistaken: true class" in text
    assert "because it is not read" not in text  # but under "Evidence"
    assert "TreeShap" not in text
    assert e.evidence.exact


def test_scores_of_classes_are_no_regression_and_what_cannot_be_made_is_said_once(rows, tmp_path):
    y = np.array(["low", "high"])[zoo.binary()]
    model = SVC().fit(rows, y)  # decision_function, no probabilities
    _, text = page(tmp_path, model, rows, y=y, background=rows[:20], sections=parts("performance", "importance"))
    assert "RMSE" not in text
    assert len(re.findall("is not shown", text)) == 1
    assert "Permutation importance, which measures against the truth, is not shown:" in text
    assert "Mean absolute attribution over" in text


def test_a_section_that_is_refused_is_said_and_the_others_stand(rows, tmp_path, monkeypatch):
    def refuse(problem):
        raise wb.errors.LimitError("too many predictions.")

    monkeypatch.setattr("whybox.reporting.sections.effects.compute_effects", refuse)
    _, text = page(tmp_path, Counted(), rows, background=rows[:20], sections=parts("effects", "decisions"))
    assert text.count("Not shown: too many predictions.") == 1
    assert "highest prediction" in text
    with pytest.raises(wb.errors.LimitError):  # a model that is read has them all
        page(tmp_path, RandomForestRegressor(3).fit(rows, zoo.y()), rows, sections=parts("effects"))


@pytest.mark.usefixtures("_with_errors")
def test_each_number_of_a_decision_has_its_error_and_what_is_near_zero_is_marked(rows, tmp_path):
    e, text = page(tmp_path, Counted(), rows, background=rows[:20], sections=parts("decisions"))
    lines = cells(text)
    assert ["Feature", "Value", "Attribution (in units of the prediction)", "Remark"] in lines
    drawn = re.findall(r"<figcaption>Row (\S+): ([^<]*)</figcaption>", text)
    labels, marked = [str(label) for label in e.coords["row"]], 0
    for row, why in drawn:
        one = e[labels.index(row)]
        assert ("The errors are larger than asked." in why) == (not one.extras["converged"][1])
        for j, name in enumerate(e.feature_names):
            error = f" ± {number_text(float(one.std_error[j]), 2)}" if one.std_error[j] else ""
            number = number_text(float(one.values[j]), sign=True) + error
            remark = "not distinguishable from 0" if includes_zero(one)[j] else ""
            marked += bool(remark)
            assert [name, number, remark] in [[*line[:1], *line[2:]] for line in lines]
    assert marked
    assert f"Their median standard error is {number_text(median_error(e), 2)}; intervals are of 95 %." in text


@pytest.mark.usefixtures("_with_errors")
def test_the_sum_of_small_features_has_the_largest_error_it_may_have(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("whybox.reporting.sections.decisions.MAX_TABLE_LINES", 1)
    e, text = page(tmp_path, Counted(), rows, background=rows[:20], sections=parts("decisions"))
    one = e[int(np.argmax(e.prediction))]
    rest = np.argsort(-np.abs(one.values), kind="stable")[1:]
    number = (
        f"{number_text(float(one.values[rest].sum()), sign=True)} ± at most {number_text(error_of_sum(one, rest), 2)}"
    )
    assert ["2 others, summed", "", number, ""] in cells(text)


@pytest.mark.usefixtures("_with_errors")
def test_sentences_about_many_rows_stay_within_the_errors(rows, tmp_path):
    anchors = ("importance", "attributions", "dependence")
    e, text = page(tmp_path, Counted(), rows, background=rows[:20], sections=parts(*anchors))
    size, error = np.abs(e.values).mean(axis=0), mean_size_error(e)
    j = int(np.argmax(np.where(error > 0, size, 0)))
    assert f"<td>{number_text(size[j])} ± {number_text(error[j], 2)}</td>" in text
    assert "features with the largest estimates." in text
    assert "that move predictions most" not in text
    assert "where two intervals overlap, nothing shows which of the two features matters more" in text
    near = includes_zero(e)
    for j, name in enumerate(e.feature_names):
        line = next(line for line in cells(text) if line[:1] == [name] and len(line) == 8)
        assert line[-1] == f"{int((~near[:, j]).sum())} of {len(e)} rows"
        assert (line[-2] == "not clear") == (near[:, j].mean() > 0.5)
    assert "Vertical spread at one value, where it is larger than the errors, means" in text
    median = np.median(e.extras["background_error"][1][e.extras["background_error"][1] > 0])
    assert f"with a median standard error of {number_text(float(median), 2)}." in text


def test_exact_attributions_are_not_called_estimated(rows, tmp_path):
    model = RandomForestRegressor(3, max_depth=3, random_state=0).fit(rows, zoo.y())
    anchors = ("importance", "attributions", "dependence", "decisions")
    _, text = page(tmp_path, model, rows, sections=parts(*anchors))
    for words in ("estimated", "Remark", "Distinguishable", "±", "larger than the errors", "not clear"):
        assert words not in text.split("<main>")[1]


def test_the_local_section_compares_with_errors_on_both_sides(rows, tmp_path, monkeypatch, request):
    request.getfixturevalue("_with_errors")
    e, text = page(tmp_path, Counted(), rows, background=rows[:40], sections=parts("local"))
    one = e[int(np.argmax(e.prediction))]
    pairs = {line[-1] for line in cells(text) if len(line) == 5}
    for j in range(2):
        assert f"{number_text(float(one.values[j]), sign=True)} ± {number_text(float(one.std_error[j]), 2)}" in pairs
    assert "Where the two disagree beyond their errors," in text
    assert "95 % intervals" in text
    assert "below them" in text


@pytest.mark.parametrize(("error", "expected"), [(0.0, "5"), (0.3, "4 to 5"), (1.5, None)])
def test_ranks_that_errors_leave_open_are_no_disagreement(error, expected):
    """First by the local values, last by the Shapley values: with errors of 0.3 it may be the last but one, with 1.5 any."""
    model, X = zoo.built("RandomForestRegressor")
    local = wb.lime(model, X[:1], X[:60], spot_checks=0)[0]
    shap = wb.explain(model, X[:1], X[:60], spot_checks=0)[0]
    ours = replace(local, values=np.array([50.0, 4, 3, 2, 1]))
    theirs = replace(shap, values=np.array([1.0, 9, 8, 7, 2]), std_error=np.full(5, error) if error else None)
    found = [s for s in disagreements(ours, theirs) if "by the local values" in s and "first by the local" in s]
    name = local.feature_names[0]
    wanted = (
        []
        if expected is None
        else [f"{name} is first by the local values and number {expected} by the Shapley values."]
    )
    assert found == wanted


def test_ends_of_ranks_are_the_ranks_of_exact_values_and_hold_the_true_ones(rows):
    model = RandomForestRegressor(3, max_depth=3, random_state=0).fit(rows, zoo.y())
    exact = wb.explain(model, rows[:1])[0]
    ranks = np.argsort(np.argsort(-np.abs(exact.values))) + 1
    assert np.array_equal(rank_ends(exact), [ranks, ranks])
    low, high = rank_ends(replace(exact, std_error=np.full(3, 0.5 * np.abs(exact.values).max())))
    assert (low <= ranks).all()
    assert (ranks <= high).all()
    assert (high > low).any()


def test_the_command_line_reports_on_a_trusted_estimator_that_is_not_read(rows, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "whybox.reporting.report.report", partial(wb.report, sections=parts("performance", "decisions"))
    )
    joblib.dump(KNeighborsRegressor(5).fit(rows, zoo.y()), tmp_path / "knn.joblib")
    rows[:50].assign(progression=zoo.y()[:50]).to_csv(tmp_path / "rows.csv", index=False)
    rows[:30].to_csv(tmp_path / "train.csv", index=False)
    command = ["report", f"{tmp_path}/knn.joblib", f"{tmp_path}/rows.csv", "-o", f"{tmp_path}/r.html", "--trust-pickle"]
    assert main([*command, "--target", "progression"]) == 2
    assert "Pass them: --background" in capsys.readouterr().err
    assert main([*command, "--target", "progression", "--background", f"{tmp_path}/train.csv"]) == 0
    assert "highest prediction" in (tmp_path / "r.html").read_text(encoding="utf-8")
