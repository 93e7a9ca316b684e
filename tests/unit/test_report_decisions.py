"""Single decisions in a report: as probabilities beside the average, with reasons and comparable rows; and which rows are shown, under which names."""

from __future__ import annotations

import numpy as np
import pytest
from report_pages import cells, page, parts, read_page
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression

import whybox as wb
import zoo
from whybox.cli.main import main
from whybox.errors import InputError, NonFiniteError, OptionError
from whybox.explanation.html import number_text
from whybox.reporting.comparable_rows import NEIGHBOURS
from whybox.reporting.decision_words import percent_text

DECISIONS = parts("decisions")


@pytest.fixture(autouse=True)
def _labels_anywhere(monkeypatch):
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)


@pytest.fixture(scope="module")
def named():
    """A classifier of named classes, rows with ids, and the truth."""
    X, y = zoo.X()[:120], np.array(["paid", "default"])[zoo.binary()[:120]]
    model = GradientBoostingClassifier(n_estimators=15, max_depth=3, random_state=0).fit(X, y)
    return model, X.assign(customer=[f"C{i}" for i in range(120)]), y


@pytest.mark.parametrize("scale", [None, "probability"])
def test_a_decision_is_a_probability_beside_the_average_everywhere(named, tmp_path, scale):
    model, rows, y = named
    background = None if scale is None else rows[zoo.COLUMNS][:30]
    asked = {
        "rows": [5, 9],
        "y": y,
        "scale": scale,
        "background": background,
        "sections": parts("summary", "decisions", "local"),
    }
    _, text = page(tmp_path, model, rows[zoo.COLUMNS], **asked)
    p = model.predict_proba(rows[zoo.COLUMNS])[:, 1]  # of paid: classes are in the order of the alphabet
    assert ["Row", "Shown as", "Probability", "Average", "True"] in cells(text)
    for row in (5, 9):
        words = f"redicted {percent_text(p[row])} paid; average {percent_text(p.mean())}"
        assert [str(row), "chosen", percent_text(p[row]), percent_text(p.mean()), y[row]] in cells(text)
        assert f"<p>P{words}. True: {y[row]}." in text
        assert text.count(words) >= 4 + (
            row == 5
        )  # in words, in the picture, below it, and seen another way; and in short
    assert (" (dashed, " in text) == (scale is None)  # a second axis, where the first one is of log-odds


def test_the_probability_axis_stands_at_the_probabilities(named):
    from scipy.special import expit, logit

    model, rows, _ = named
    e = wb.explain(model, rows[zoo.COLUMNS][:3], spot_checks=0)
    ax = e[0].plot.waterfall(to_probability=expit)
    above = ax.child_axes[0]
    places = {label.get_text(): float(x) for label, x in zip(above.get_xticklabels(), above.get_xticks(), strict=True)}
    assert len(places) >= 2
    for label, x in places.items():
        assert x == pytest.approx(logit(float(label.removesuffix(" %")) / 100), abs=2e-3)
    assert f"({number_text(100 * expit(float(e[0].prediction)), 3)} %)" in ax.get_xlabel()
    assert not e[0].plot.waterfall().child_axes


def test_of_several_classes_the_most_probable_one_is_named(tmp_path):
    X, y = zoo.X()[:90], np.array(["a", "b", "c"])[zoo.three()[:90]]
    model = RandomForestClassifier(8, max_depth=3, random_state=0).fit(X, y)
    e, text = page(tmp_path, model, X, rows=[3], sections=DECISIONS)
    p = model.predict_proba(X)
    likeliest = "abc"[int(p[3].argmax())]
    shown = [name for name in "abc" if f"<h3>{name}</h3>" in text]  # as it is written
    assert len(shown) == 2
    for name in shown:
        k = "abc".index(name)
        words = f"Predicted {percent_text(p[3, k])} {name}; average {percent_text(p[:, k].mean())}"
        assert f"{words}; the most probable class is {likeliest} ({percent_text(p[3].max())})." in text
    assert e.shape == (90, 5, 3)


@pytest.mark.parametrize(
    ("labels", "words"), [((0, 1), "class 1"), ((False, True), "class True"), (("no", "yes"), "yes")]
)
def test_a_class_is_called_by_its_name(tmp_path, labels, words):
    X = zoo.X()[:80]
    model = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, np.array(labels)[zoo.binary()[:80]])
    _, text = page(tmp_path, model, X, rows=[0], sections=parts("summary", "model", "importance", "decisions"))
    assert f" % {words}; average" in text
    assert f"Importance · {words}<" in text
    assert f"For each row the probability of {words}" in text
    assert "output 1" not in text
    assert "output True" not in text


def test_of_numbers_the_prediction_stands_beside_the_average(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    _, text = page(tmp_path, model, X[:60], rows=7, sections=DECISIONS)
    p = model.predict(X[:60])
    assert f"Predicted {number_text(p[7])}; average {number_text(p.mean())}." in text
    assert ["Row", "Shown as", "Predicted", "Average"] in cells(text)
    assert text.count("<svg") == 1


def test_rows_are_chosen_by_their_ids_and_go_by_them_everywhere(named, tmp_path):
    model, rows, y = named
    e, text = page(
        tmp_path,
        model,
        rows.assign(y=y),
        y="y",
        ids="customer",
        rows=["C7", "C90"],
        sections=parts("decisions", "local"),
    )
    assert e.feature_names == tuple(zoo.COLUMNS)
    assert list(e.coords["row"]) == list(rows["customer"])
    assert np.array_equal(e.sel(row="C90").values, e[90].values)
    assert list(e.to_frame().index) == list(rows["customer"])
    for name in ("C7", "C90"):
        assert f"customer {name}: chosen." in text
    assert "Row " not in text.split("<main>")[1].replace("<th>Row", "")
    assert "customer C0:" not in text
    _, again = page(tmp_path, model, rows[zoo.COLUMNS], ids=rows["customer"], rows=["C7"], sections=DECISIONS)
    assert "customer C7: chosen." in again


def test_ids_name_the_row_of_an_error(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    bad = X[:20].copy()
    bad.iloc[13, 1] = np.inf
    with pytest.raises(NonFiniteError, match=r"row 13 \(customer C13\)"):
        wb.report(model, bad.assign(customer=[f"C{i}" for i in range(20)]), tmp_path / "r.html", ids="customer")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": [120]}, r"rows=120: there is no such row; they are counted from 0 to 119"),
        ({"rows": [-1]}, "there is no such row"),
        ({"rows": ["C7"]}, "rows='C7' is no position counted from 0; ids= names a column"),
        ({"rows": []}, "names no row"),
        ({"rows": list(range(21))}, "names 21 rows, and a report shows at most 20"),
        ({"rows": [True, False]}, "of a mask take its positions"),
        ({"rows": ["C999"], "ids": "customer"}, "rows='C999' is no id in the column 'customer'; the first ids are 'C0', 'C1', 'C2'"),
        ({"rows": ["same"], "ids": ["same"] * 120}, "rows='same' is the id of 120 rows"),
        ({"ids": "custmer"}, "ids='custmer' is not a column of the rows.*Did you mean 'customer'"),
    ],
)  # fmt: skip
def test_rows_that_are_not_there_are_refused_before_work(named, tmp_path, options, words, monkeypatch):
    model, rows, _ = named
    monkeypatch.setattr("whybox.reporting.table_report.explain_report_rows", None)
    with pytest.raises(OptionError, match=words):
        wb.report(model, rows, tmp_path / "r.html", **options)
    with pytest.raises(InputError, match="ids must be a column of the rows, or one value for each of the 120 rows"):
        wb.report(model, rows, tmp_path / "r.html", ids=["a", "b"])
    assert not list(tmp_path.iterdir())


def test_chosen_rows_of_a_model_that_is_evaluated_are_explained(tmp_path):
    X = zoo.X()[["bmi", "bp", "s5"]]
    e, text = page(
        tmp_path, lambda r: np.asarray(r["bmi"] + r["bp"]), X, background=X[:20], rows=[200, 17], sections=DECISIONS
    )
    assert {17, 200} <= set(e.coords["row"].tolist())
    assert text.index("Row 200: chosen.") < text.index("Row 17: chosen.")
    assert "Comparable rows" not in text  # nothing is known of its inside


def test_comparable_rows_share_leaves(named, tmp_path):
    model, rows, y = named
    X = rows[zoo.COLUMNS]
    _, text = page(tmp_path, model, X, rows=[4], y=y, sections=DECISIONS)
    leaves = model.apply(X.to_numpy())[:, :, 0]
    shared = (leaves == leaves[4]).mean(axis=1)
    order = [int(i) for i in np.argsort(-shared, kind="stable") if i != 4][:NEIGHBOURS]
    p = model.predict_proba(X)[:, 1]
    for i in order[:5]:
        assert [str(i), f"{100 * shared[i]:.0f} %", percent_text(p[i]), y[i]] in cells(text)
    hits = int((y[order] == "paid").sum())
    assert f"Of the nearest {NEIGHBOURS}, {hits} are truly paid (95 % interval" in text


def test_comparable_rows_of_sums_have_the_same_contributions(tmp_path):
    X, y = zoo.X()[:60], zoo.y()[:60]
    model = LinearRegression().fit(X, y)
    e, text = page(tmp_path, model, X, rows=[4], y=y, sections=DECISIONS, background=X)
    distance = np.abs(e.values - e.values[4]).sum(axis=1)
    order = [int(i) for i in np.argsort(distance, kind="stable") if i != 4]
    nearest = order[0]
    assert [
        str(nearest),
        number_text(float(distance[nearest]), 3),
        number_text(float(model.predict(X)[nearest])),
        number_text(y[nearest]),
    ] in cells(text)
    truth = y[order[:NEIGHBOURS]]
    assert f"the truth has the mean {number_text(truth.mean(), 3)} and runs from {number_text(truth.min(), 3)}" in text


def test_reasons_stand_beside_the_picture(named, tmp_path):
    model, rows, _ = named
    e, text = page(tmp_path, model, rows[zoo.COLUMNS], rows=[8], sections=DECISIONS)
    for line in e[8].top(4).itertuples():
        number = number_text(line.contribution, 3, sign=True)
        assert [line.feature, number_text(line.value), number, f"{100 * line.share:.0f} %"] in cells(text)
    first = e[8].top(1).iloc[0]
    way = "Raised by" if first.contribution > 0 else "lowered by"
    assert f"{first.feature} = {number_text(first.value)}" in text.split(way)[1][:60] or way.lower() in text.lower()


def test_the_command_line_chooses_rows_and_ids(named, tmp_path, capsys):
    import joblib

    model, rows, y = named
    joblib.dump(model, tmp_path / "model.joblib")
    rows.assign(truth=y).to_csv(tmp_path / "rows.csv", index=False)
    command = [
        "report",
        f"{tmp_path}/model.joblib",
        f"{tmp_path}/rows.csv",
        "-o",
        f"{tmp_path}/r.html",
        "--trust-pickle",
        "--y",
        "truth",
    ]
    assert main([*command, "--id", "customer", "--rows", "C900"]) == 2
    assert "--rows C900 is no id in the column 'customer'" in capsys.readouterr().err
    assert main([*command, "--rows", "x"]) == 2
    assert main([*command, "--rows", "0-3,500"]) == 3
    assert (
        main(
            [
                *command,
                "--id",
                "customer",
                "--rows",
                "C7,C9",
                "--by",
                "sex",
                "--threshold",
                "0.4",
                "--positive",
                "default",
            ]
        )
        == 0
    )
    text = read_page(tmp_path / "r.html")
    assert "customer C7: chosen." in text
    assert "<dd>model.joblib, GradientBoostingClassifier" in text
    assert "120 from rows.csv" in text
    assert "By sex" in text
    assert "A row counts as default from a probability of 40 % on." in text
    assert main([*command, "--model-name", "credit <3>", "--source", "the bank's own"]) == 0
    text = (tmp_path / "r.html").read_text("utf-8").replace("<wbr>", "")
    assert "<dd>credit &lt;3&gt;, GradientBoostingClassifier" in text
    assert "120 from the bank&#x27;s own" in text
    assert "<h1>Explanation of credit &lt;3&gt;</h1>" in text


def test_percent_is_never_rounded_to_certainty():
    shown = [percent_text(p) for p in (0.0, 0.0004, 0.004, 0.3, 0.989, 0.9996, 1.0)]
    assert shown == ["0 %", "below 0.1 %", "0.4 %", "30 %", "98.9 %", "above 99.9 %", "100 %"]


def test_at_a_threshold_a_decision_says_what_the_row_counts_as(named, tmp_path):
    model, rows, y = named
    p = model.predict_proba(rows[zoo.COLUMNS])[:, 0]  # of default
    low, high = int(np.argmin(p)), int(np.argmax(p))
    threshold = float(np.median(p))
    asked = {"y": y, "rows": [low, high], "threshold": threshold, "positive": "default", "sections": DECISIONS}
    _, text = page(tmp_path, model, rows[zoo.COLUMNS], **asked)
    for row, words in ((low, "It does not count"), (high, "It counts")):
        one = text.split(f"<h4>Row {row}</h4>")[1][:400]
        assert f" {words} as default, which begins at {100 * threshold:g} %. True: {y[row]}." in one
