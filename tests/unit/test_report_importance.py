"""The section of the report on what matters: what features are worth to the predictions where the truth is known."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from report_pages import read_page

import whybox as wb
import zoo
from whybox.cli.main import main
from whybox.errors import OptionError
from whybox.explanation.html import number_text
from whybox.methods.common.resolved_model import ResolvedModel
from whybox.reporting.contents import SECTIONS

MATTERS = [s for s in SECTIONS if s.anchor == "importance"]


def page(folder, *arguments, sections=MATTERS, **options):
    wb.report(*arguments, folder / "r.html", sections=sections, **options)
    return read_page(folder / "r.html")


def test_with_a_truth_it_shows_the_question_the_rows_the_error_and_the_numbers(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    rows, y = rows[:80], zoo.y()[:80]
    groups = {"body": ["bmi", "bp"]}
    text = page(tmp_path, model, rows, y=y, role="held-out", players=groups)
    e = wb.importance(model, rows, y, role="held-out", players=groups)
    assert "<h2>Which features matter</h2>" in text
    assert "How much worse are this model's predictions without knowing the feature" in text
    assert "increase of the mean squared loss over 80 rows when the feature" in text
    assert "These rows were held out from training. Without any change" in text
    assert f"Without any change the loss is {number_text(float(e.extras['baseline_loss'][1]))}." in text
    assert "The error is that of the rows as a sample" in text
    assert 'aria-label="Permutation importance. Each feature, with the 95 % interval."' in text
    assert "held-out rows, with the 95 % interval" in text  # in the picture
    for j, name in enumerate(e.feature_names):
        cells = f"{name}</td><td>{number_text(float(e.values[j]))} ± {number_text(float(e.std_error[j]), 2)}</td>"
        assert cells in text
    assert "bmi, bp</td>" in text
    assert "<h3>How far each feature moves predictions</h3>" in text


@pytest.mark.usefixtures("unwritten_pictures")
def test_the_role_of_the_rows_is_said_or_asked_for(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    rows, y = rows[:30], zoo.y()[:30]
    by_name = {s.anchor: s for s in SECTIONS}
    both = [by_name["performance"], by_name["importance"]]
    text = page(tmp_path, model, rows, y=y, sections=both)
    assert "Nobody has said whether the model was trained on these rows." in text
    assert "If the model was trained on these rows, the scores flatter it." in text
    text = page(tmp_path, model, rows, y=y, role="train", sections=both)
    assert "the values say what it learned from them, not what a feature is worth for new rows" in text
    assert "The model was trained on these rows, so the scores flatter it." in text
    text = page(tmp_path, model, rows, y=y, role="held-out", sections=both)
    assert "These rows were held out from training." in text
    assert "was not said" not in text
    with pytest.raises(OptionError, match="role='test' is not known. Known: 'held-out', 'train'"):
        page(tmp_path, model, rows, y=y, role="test")
    with pytest.raises(OptionError, match="role='train' says which rows .* that takes the truth, y="):
        page(tmp_path, model, rows, role="train")


@pytest.mark.parametrize(
    ("name", "text"), [("target", "write y="), ("rol", "Did you mean 'role'"), ("zzz", "Known: 'y'")]
)
def test_an_unknown_option_is_refused_as_everywhere(tmp_path, name, text):
    with pytest.raises(OptionError, match=f"{name}= is no option here.*{text}"):
        wb.report(None, None, tmp_path / "r.html", **{name: 1})


def test_rows_that_were_explained_are_not_compared_again(tmp_path, monkeypatch):
    model, rows = zoo.built("RandomForestRegressor")
    compared = []
    monkeypatch.setattr(ResolvedModel, "own_predictions", lambda self: compared.append(len(self.rows)))
    text = page(tmp_path, model, rows[:80], y=zoo.y()[:80], role="held-out")
    assert compared == []
    monkeypatch.undo()
    e = wb.importance(model, rows[:80], zoo.y()[:80], role="held-out")
    assert f"± {number_text(float(e.std_error[0]), 2)}</td>" in text


def test_without_a_truth_it_is_the_mean_size_of_attributions(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    text = page(tmp_path, model, rows[:30])
    assert "Mean absolute attribution over all rows" in text
    assert "How much worse" not in text
    assert text.count("<svg") == 1


@pytest.mark.usefixtures("unwritten_pictures")
def test_of_many_rows_some_are_taken_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr("whybox.reporting.sections.importance.MAX_ROWS", 40)
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    text = page(tmp_path, model, rows[:120], y=zoo.binary()[:120])
    at = np.unique(np.linspace(0, 119, 40).astype(int))
    e = wb.importance(model, rows.iloc[at], zoo.binary()[at])
    assert "log loss over 40 rows of 120, taken evenly, when" in text
    largest = int(e.values.argmax())
    assert f"{e.feature_names[largest]}</td><td>{number_text(float(e.values[largest]))} ±" in text


@pytest.mark.parametrize(
    ("name", "truth", "count", "reason"),
    [
        ("DecisionTreeRegressor, several outputs", zoo.y, 30, "this model has 2 outputs and y is the truth of one"),
        ("RandomForestRegressor", zoo.y, 1, "there is 1 of positive weight"),
    ],
)
def test_where_the_loss_is_not_defined_the_page_says_why(tmp_path, name, truth, count, reason):
    model, rows = zoo.built(name)
    text = page(tmp_path, model, rows[:count], y=truth()[:count])
    assert re.search(rf"Permutation importance, which measures against the truth, is not shown: [^<]*{reason}", text)
    assert "Mean absolute attribution over all rows" in text


@pytest.mark.usefixtures("unwritten_pictures")
def test_one_of_several_outputs_has_its_truth(tmp_path):
    model, rows = zoo.built("DecisionTreeRegressor, several outputs")
    output = wb.explain(model, rows[:2]).output_names[1]
    text = page(tmp_path, model, rows[:40], y=zoo.two()[:40, 1], output=output)
    e = wb.importance(model, rows[:40], zoo.two()[:40, 1], output=output)
    assert f"{e.feature_names[int(e.values.argmax())]}</td><td>{number_text(float(e.values.max()))} ±" in text


def test_permutation_that_is_named_is_shown_once(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    text = page(tmp_path, model, rows[:30], y=zoo.y()[:30], methods=["permutation", "impurity"])
    assert text.count("<svg") == 3
    assert text.count(">Permutation importance, squared loss<") == 1
    assert "<h3>Impurity decrease in training</h3>" in text


def test_a_test_that_is_named_shows_its_p_values(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    rows, y = rows[:40], zoo.y()[:40]
    text = page(tmp_path, model, rows, y=y, role="held-out", methods=["conditional"])
    e = wb.importance(model, rows, y, method="conditional", role="held-out")
    j = int(e.values.argmax())
    assert "<th>Rank</th><th>p</th><th>q</th>" in text
    assert f"{number_text(float(e.values[j]))} ± {number_text(float(e.std_error[j]), 2)}</td>" in text
    assert f"<td>{number_text(float(e.extras['p_value'][1][j]), 2)}</td>" in text


@pytest.mark.usefixtures("unwritten_pictures")
def test_the_command_line_names_truth_and_role(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("whybox.reporting.report.report", partial(wb.report, sections=MATTERS))
    model, rows = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(tmp_path / "model.txt")
    rows[:30].assign(progression=zoo.y()[:30]).to_csv(tmp_path / "rows.csv", index=False)
    command = ["report", f"{tmp_path}/model.txt", f"{tmp_path}/rows.csv", "-o", f"{tmp_path}/r.html", "--no-verify"]
    assert main([*command, "--role", "train"]) == 2
    assert (
        "--role train says which rows scores and importance are measured on; that takes the truth, --"
        in capsys.readouterr().err
    )
    assert main([*command, "--role", "tran", "--y", "progression"]) == 2
    assert main([*command, "--target", "progresion"]) == 2
    assert "--target progresion is not a column of the rows. Did you mean 'progression'?" in capsys.readouterr().err
    assert main([*command, "--target", "progression", "--role", "train"]) == 0
    assert "The model was trained on these rows: the values" in (tmp_path / "r.html").read_text(encoding="utf-8")
