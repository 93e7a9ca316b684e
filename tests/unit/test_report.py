"""The report: one file that asks nothing of anybody, in light, dark and print, with few and many features, rows and classes."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from report_pages import of_keyboard
from sklearn.neighbors import KNeighborsRegressor

import whybox as wb
import zoo
from whybox.errors import InputError, OptionError
from whybox.methods.common.spot_checks import spot_predictions
from whybox.methods.effects.result import compute_effects
from whybox.models.registry import as_model
from whybox.reporting.contents import SECTIONS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def of(*anchors):
    return [s for s in SECTIONS if s.anchor in anchors]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.stack, self.figures, self.text = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, k, v or "") for k, v in attrs]
        if tag == "figure":
            self.figures.append(set())
        elif self.figures:
            self.figures[-1].add(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def _labels_anywhere(monkeypatch):
    """Where labels stand is half of the time of a figure, and the same for every model."""
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    out = {}
    for name, truth in (
        ("LGBMRegressor, categories", zoo.y()),
        ("LGBMClassifier, multiclass", zoo.three()),
        ("GradientBoostingClassifier", np.array(["low", "high"])[zoo.binary()]),
    ):
        model, rows = zoo.built(name)
        parts = of("model", "performance", "importance") if name == "GradientBoostingClassifier" else SECTIONS
        wb.report(model, rows, folder / f"{name[:8]}.html", y=truth, sections=parts)
        out[name] = folder / f"{name[:8]}.html"
    return out


def test_nothing_is_asked_of_anybody(reports):
    for path in reports.values():
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        assert not {"script", "iframe", "link", "object", "embed", "form"} & set(page.tags)
        assert not [a for a in page.attributes if a[1].startswith("on")]
        for tag, key, value in page.attributes:
            if key in ("src", "href", "xlink:href", "action", "srcset"):
                assert value.startswith(("#", "data:image/png;base64,")), (tag, key, value[:60])
        assert not re.findall(r"url\((?!#)", text)
        assert {re.match(r"https?://[^/]+", u).group() for u in re.findall(r'https?://[^"<\s]+', text)} <= {
            "http://www.w3.org"
        }
        policy = next(v for t, k, v in page.attributes if k == "content" and "default-src" in v)
        assert "default-src 'none'" in policy
        assert "script" not in policy


def test_every_picture_has_its_numbers_and_a_description(reports):
    for name, path in reports.items():
        page = Page(path.read_text(encoding="utf-8"))
        assert len(page.figures) >= (1 if name == "GradientBoostingClassifier" else 8)
        assert all({"svg", "table", "figcaption"} <= tags for tags in page.figures)
        assert sum(1 for t, k, _ in page.attributes if t == "svg" and k == "aria-label") == len(page.figures)


def test_sections_and_scores(reports):
    text = reports["LGBMRegressor, categories"].read_text(encoding="utf-8")
    for heading in (
        "In short",
        "The model",
        "How well it predicts",
        "Which features matter",
        "How each feature acts",
        "What each value contributed",
        "Why this decision",
        "Evidence",
    ):
        assert f"<h2>{heading}</h2>" in text
    model, rows = zoo.built("LGBMRegressor, categories")
    from sklearn.metrics import r2_score, roc_auc_score

    assert f"<b>{r2_score(zoo.y(), model.predict(rows)):.4g}</b>" in text
    classifier, rows = zoo.built("GradientBoostingClassifier")
    auc = roc_auc_score(zoo.binary() == 0, classifier.predict_proba(rows)[:, 1])
    words = reports["GradientBoostingClassifier"].read_text(encoding="utf-8")
    assert f"<b>{max(auc, 1 - auc):.4g}</b>" in words


def test_what_a_report_says_of_classes_targets_and_scales(reports, tmp_path):
    text = of_keyboard(reports["LGBMClassifier, multiclass"].read_text(encoding="utf-8"))
    from sklearn.ensemble import HistGradientBoostingClassifier

    assert "Each bar is the sum over 3 classes." in text
    assert "<th>Sum over 3 classes</th><th>Share</th><th>class 0</th><th>class 1</th><th>class 2</th>" in text
    assert "<h3>Class 0</h3>" in text
    assert "against the target given" in text
    rows = zoo.X()
    model = HistGradientBoostingClassifier(max_iter=5).fit(rows, zoo.binary())
    named = rows.assign(truth=zoo.binary())
    e = wb.report(
        model,
        named,
        tmp_path / "r.html",
        y="truth",
        scale="probability",
        background=rows[:5],
        sections=of("model", "performance"),
    )
    assert e.evidence.residual_against == "the sigmoid of HistGradientBoostingClassifier.decision_function"
    assert not any("truth" in note for note in e.evidence.notes)


@pytest.mark.usefixtures("_labels_anywhere")
def test_names_are_escaped(tmp_path):
    from sklearn.ensemble import RandomForestRegressor

    rows = zoo.X()[["bmi", "bp"]].rename(columns={"bmi": "<img src=x onerror=alert(1)>", "bp": "a\nb & c $x$"})
    model = RandomForestRegressor(5, random_state=0).fit(rows, zoo.y())
    wb.report(model, rows, tmp_path / "r.html", title="<b>bold</b>")
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "img" not in page.tags
    assert "b" not in page.tags
    assert "<img src=x onerror=alert(1)>" in "".join(page.text)


def test_a_column_of_the_rows_can_be_the_target(tmp_path):
    model, rows = zoo.built("RandomForestRegressor")
    e = wb.report(model, rows.assign(truth=zoo.y()), tmp_path / "r.html", y="truth", sections=of("performance"))
    assert e.feature_names == tuple(zoo.COLUMNS)
    assert "against the column <code>truth</code>" in (tmp_path / "r.html").read_text(encoding="utf-8")
    with pytest.raises(OptionError, match="y='thruth'.*Did you mean 'truth'"):
        wb.report(model, rows.assign(truth=zoo.y()), tmp_path / "s.html", y="thruth")
    with pytest.raises(InputError, match="missing or infinite"):
        wb.report(model, rows, tmp_path / "s.html", y=np.where(np.arange(442) == 3, np.nan, zoo.y()))
    with pytest.raises(InputError, match="y has 3 values for 442 rows"):
        wb.report(model, rows, tmp_path / "s.html", y=[1, 2, 3])
    with pytest.raises(InputError, match=r"one value a row; it has the shape \(221, 2\)"):
        wb.report(model, rows, tmp_path / "s.html", y=zoo.y().reshape(221, 2))
    classifier, rows = zoo.built("GradientBoostingClassifier")
    with pytest.raises(InputError, match="none of the model's classes"):
        wb.report(classifier, rows, tmp_path / "s.html", y=["other"] * 442)
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.parametrize("words", [("paid", "defaulted"), ("no", "yes"), (1, 2)])
def test_classes_are_never_matched_by_their_order(tmp_path, words):
    model, rows = zoo.built("XGBClassifier, binary:logistic")
    with pytest.raises(InputError, match=r"none of the model's classes \(0, 1\).*a column of 0 and 1"):
        wb.report(model, rows, tmp_path / "r.html", y=[words[i] for i in zoo.binary()])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "IsolationForest",
        "DecisionTreeClassifier, several outputs",
        "XGBClassifier, gblinear, 3 classes, missing values",
        "Pipeline, PCA of two columns",
        "CatBoostRegressor, RMSEWithUncertainty",
        "XGBRanker",
    ],
)
@pytest.mark.usefixtures("_labels_anywhere")
def test_reports_on_unusual_models(tmp_path, name):
    model, rows = zoo.built(name)
    rows = rows[:120]
    wb.report(model, rows, tmp_path / "r.html", background=rows[:20] if "gblinear" in name else None)
    assert (tmp_path / "r.html").stat().st_size > 50_000


@pytest.mark.usefixtures("_labels_anywhere")
def test_size_stays_bounded_with_many_rows_and_features(tmp_path):
    import xgboost

    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(10_000, 40)), columns=[f"feature number {i}" for i in range(40)])
    model = xgboost.XGBClassifier(n_estimators=5, max_depth=4).fit(rows[:2000], rng.integers(0, 2, 2000))
    wb.report(model, rows, tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 1_800_000


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser_without_a_network(reports, tmp_path, dark):
    """Rendered by Chromium with every host unreachable: figures are drawn, nothing is requested, and paper follows light or dark."""
    path = reports["LGBMRegressor, categories"]
    common = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
              "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={tmp_path / 'net.json'}"]  # fmt: skip
    if dark:
        common.append("--blink-settings=preferredColorScheme=0")
    shot = tmp_path / "shot.png"
    dom = subprocess.run(
        [*common, "--window-size=1000,6000", f"--screenshot={shot}", "--dump-dom", path.as_uri()],
        check=True, capture_output=True, timeout=120, text=True,
    ).stdout  # fmt: skip
    import matplotlib.image

    pixels = matplotlib.image.imread(shot)[..., :3]
    corner = pixels[5, 5].mean()
    assert corner < 0.3 if dark else corner > 0.9
    colourful = (np.ptp(pixels, axis=2) > 0.25).mean()
    assert colourful > 0.002
    requests = re.findall(
        r'"url":"(https?://[^"]+)"', (tmp_path / "net.json").read_text(encoding="utf-8", errors="replace")
    )
    assert not [u for u in requests if path.name in u]
    assert dom.count("<svg") == path.read_text(encoding="utf-8").count("<svg")


def test_the_truth_in_the_place_of_the_path_is_refused(tmp_path, monkeypatch):
    model, rows = zoo.built("RandomForestRegressor")
    monkeypatch.chdir(tmp_path)
    for truth in (zoo.y(), pd.Series(zoo.y()), zoo.y().tolist(), None):
        with pytest.raises(OptionError, match=r"path= says where to write .*y=\."):
            wb.report(model, rows, truth)
    e = wb.report(model, rows[:20], path="named.html", y=zoo.y()[:20], sections=of("performance"))
    assert len(e) == 20
    assert "Prediction and truth" in (tmp_path / "named.html").read_text("utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["named.html"]


@pytest.mark.usefixtures("_labels_anywhere", "unwritten_pictures")
@pytest.mark.parametrize("name", ["RandomForestRegressor", "LGBMClassifier, multiclass"])
@pytest.mark.parametrize("most", [20_000, 150])  # of more rows, effects are taken over some
def test_a_report_asks_the_model_once_about_each_row(tmp_path, monkeypatch, name, most):
    monkeypatch.setattr("whybox.reporting.sections.effects.MAX_ROWS", most)
    live, rows = zoo.built(name)
    rows, n = rows[:300], 300
    adapted, asked = as_model(live), []

    def counted(table):
        asked.append(len(table))
        return adapted.own_predict.predict(table)

    model = replace(adapted, own_predict=replace(adapted.own_predict, predict=counted))
    e = wb.report(model, rows, tmp_path / "r.html", y=live.predict(rows), sections=of("performance", "effects"))
    explained = n + spot_predictions(None, n)  # and rows that mix two of them, or come again
    assert e.evidence.model_calls == explained
    assert sum(asked) <= explained + 2 * spot_predictions(None)  # and the checks of effects and of interactions
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "Effect of bmi" in text
    assert "Which features act together" in text


@pytest.mark.usefixtures("_labels_anywhere", "unwritten_pictures")
def test_effects_in_a_report_are_those_of_effects(tmp_path, monkeypatch):
    """The rows are not compared once more, and not a bit changes."""
    from whybox.reporting.sections import effects as section

    model, rows = zoo.built("RandomForestRegressor")
    seen = []
    monkeypatch.setattr(section, "compute_effects", lambda asked: seen.append(compute_effects(asked)) or seen[-1])
    shown = wb.report(model, rows, tmp_path / "r.html", sections=[s for s in SECTIONS if s.anchor == "effects"])
    want = wb.effects(model, rows, list(seen[0]))
    for key, e in seen[0].items():
        assert e.values.tobytes() == want[key].values.tobytes()
        assert e.std_error.tobytes() == want[key].std_error.tobytes()
        assert e.evidence.agreement == shown.evidence.agreement


def test_sections_are_objects_and_are_shown_briefly(tmp_path):
    import inspect

    model, rows = zoo.built("RandomForestRegressor")
    with pytest.raises(wb.errors.OptionError, match="sections must be sections of whybox.reporting.contents.SECTIONS"):
        wb.report(model, rows[:5], tmp_path / "r.html", sections=["model"])
    assert "0x" not in str(inspect.signature(wb.report))


def test_every_section_is_declared_in_its_own_file_and_shows_the_methods_of_the_registry():
    from pathlib import Path

    from whybox.methods.registry import methods
    from whybox.reporting import sections

    declared = [
        p for p in Path(sections.__path__[0]).glob("*.py") if "\nSECTION: Final" in p.read_text(encoding="utf-8")
    ]
    assert len(SECTIONS) == len(declared) > 5
    assert len({s.anchor for s in SECTIONS}) == len({s.position for s in SECTIONS}) == len(SECTIONS)
    shown = {m.section for m in methods() if m.family != "saliency" and m.section is not None}
    assert shown <= {s.anchor for s in SECTIONS}


@pytest.mark.usefixtures("_labels_anywhere", "unwritten_pictures")
def test_methods_that_are_named_answer_the_question_of_the_report(tmp_path):
    """The shap block is about the same players, output, scale and background as the report; with the defaults it would be another question."""
    from unittest.mock import patch

    from whybox.reporting.sections import more_methods

    model, X = zoo.built("RandomForestClassifier")
    asked = {"background": X[100:108], "output": "1", "scale": "probability", "players": {"body": ["bmi", "bp"]}}
    rankings = []

    def keep(*arguments, **options):
        rankings.append(wb.importance(*arguments, **options))
        return rankings[-1]

    with patch.object(more_methods, "importance", keep):
        wb.report(model, X[:12], tmp_path / "r.html", methods=["shap", "impurity"], sections=of("importance"), **asked)
    wanted = wb.importance(model, X[:12], method="shap", **asked)
    assert list(rankings[0].feature_names) == list(wanted.feature_names)
    assert np.array_equal(rankings[0].values, wanted.values)
    assert list(rankings[1].feature_names) == list(wanted.feature_names)


def test_a_method_whose_section_is_left_out_is_refused(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    with pytest.raises(
        wb.errors.OptionError, match="methods='ale' is shown in the section 'effects', which is not among"
    ):
        wb.report(model, X[:12], tmp_path / "r.html", methods=["ale"], sections=of("model"))
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_read_takes_a_background(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 2))
    for model in (lambda rows: rows[:, 0], KNeighborsRegressor().fit(X, X[:, 0])):
        with pytest.raises(OptionError, match=r"it is evaluated, which takes .* Pass them: background=X_train"):
            wb.report(model, X, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_folder_is_no_file_to_write(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    with pytest.raises(wb.errors.InputError, match="it is a folder. Name a file"):
        wb.explain(model, X[:2]).save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_report_is_an_html_file(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    with pytest.raises(wb.errors.OptionError, match="a report is an .html file"):
        wb.report(model, X[:5], tmp_path / "r.pdf")
    assert not list(tmp_path.iterdir())
