"""The page of a report for a reader who knows no statistics: headings, guides, cover, answers, evidence in one place, narrow screens and paper."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest
from report_pages import cells, page, parts

import whybox as wb
import zoo
from whybox.errors import OptionError
from whybox.reporting.contents import SECTIONS
from whybox.reporting.cover import date_text
from whybox.reporting.decision_words import percent_text
from whybox.reporting.page import html_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A report with every section about a classifier."""
    folder = tmp_path_factory.mktemp("whole")
    model, X = zoo.built("GradientBoostingClassifier")
    y = np.array([str(c) for c in model.classes_])[zoo.binary()]
    y = model.classes_[zoo.binary()] if not np.isin(y, model.classes_).all() else y
    asked = {
        "y": y,
        "by": "sex",
        "threshold": 0.4,
        "role": "held-out",
        "source": "the clinic",
        "model_name": "diabetes-7.json",
    }
    e, text = page(folder, model, X[:150], **asked | {"y": y[:150]})
    return model, X[:150], y[:150], e, text, folder / "r.html"


def test_each_section_says_what_to_look_for_and_what_not_to_conclude(whole):
    text = whole[4]
    for section in SECTIONS:
        assert f"<h2>{section.heading}</h2><p class=guide><strong>Look for:</strong> {section.look_for}</p>" in text
        assert f"<strong>Do not conclude:</strong> {section.not_conclude}</p>" in text
        assert section.look_for.endswith(".")
        assert section.not_conclude.endswith(".")


def test_the_five_questions_are_answered_first(whole):
    model, X, y, e, text, _ = whole
    short = text.split("<h2>In short</h2>")[1].split("</section>")[0]
    for question in (
        "What does it predict?",
        "How sure is it?",
        "What matters?",
        "Why this decision?",
        "What is this not good for?",
    ):
        assert f"<dt>{question}</dt>" in short
    p = model.predict_proba(X)[:, 1]
    right = int((model.predict(X) == y).sum())
    assert (
        f"it runs from {percent_text(p.min())} to {percent_text(p.max())}; the average is {percent_text(p.mean())}."
        in short
    )
    assert f"the true one in {right} of 150 rows" in short
    size = np.abs(e.values).mean(axis=0)
    first = int(size.argmax())
    assert f"Most of all {e.feature_names[first]} ({100 * size[first] / size.sum():.0f} %)" in short
    top = int(np.argsort(e.prediction, kind="stable")[-1])
    assert f"For example row {top} (highest prediction): predicted {percent_text(p[top])}" in short
    assert "not what would happen if somebody changed the feature in the world" in short
    assert "more often for some groups" not in short


def test_what_is_not_known_is_said(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    _, text = page(tmp_path, model, X[:40], sections=parts("summary"))
    assert "This page cannot say: no truth" in text
    assert "more often for some groups" in text
    y = zoo.y()[:40]
    _, text = page(tmp_path, model, X[:40], y=y, role="train", sections=parts("summary"))
    half, most = np.quantile(np.abs(model.predict(X[:40]) - y), [0.5, 0.9])
    assert f"Half of its predictions are off by at most {half:.3g}, nine of ten by at most {most:.3g}." in text
    assert "The model was trained on these rows, so it does worse on new ones" in text
    _, text = page(tmp_path, model, X[:40], y=y, sections=parts("summary"))
    assert "Nobody has said whether the model was trained on these rows" in text


def test_the_cover_names_model_rows_date_and_fingerprints(whole, monkeypatch, tmp_path):
    _, _, _, e, text, _ = whole
    cover = text.split("<dl class=cover>")[1].split("</dl>")[0]
    assert "<dt>Model</dt><dd>diabetes-7.json, GradientBoostingClassifier" in cover
    assert "<dt>Rows</dt><dd>150 from the clinic, held out from training; with the truth</dd>" in cover
    assert f"<dt>Date</dt><dd>{date_text()}</dd>" in cover
    for digest in e.evidence.fingerprints.values():
        assert digest[:16] in cover
        assert digest in text.split("<h2>Evidence</h2>")[1]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert date_text() == "2 January 1970"
    model, X = zoo.built("LGBMRegressor, regression")
    model.booster_.save_model(tmp_path / "model.txt")
    _, text = page(tmp_path, tmp_path / "model.txt", X[:20], sections=parts("model"))
    assert "<dd>model.txt, " in text
    assert "<dd>2 January 1970</dd>" in text


def test_technical_lines_stand_under_evidence_alone(whole):
    text = whole[4]
    before, evidence = text.split("<h2>Evidence</h2>")
    for words in ("split points", "Spot checks", "recomputed", "Kernel", "Found by", "all pairs of two different rows"):
        assert words not in before
    for words in ("split points", "Spot checks", "Kernel"):
        assert words in evidence
    assert evidence.count("<h3>") >= 3  # permutation importance, partial dependence, LIME
    assert ["Kernel", "the trees' own leaves"] in cells(evidence)


def test_evidence_is_complete_in_any_order_of_sections(tmp_path):
    model, X = zoo.built("RandomForestRegressor")
    backwards = parts("effects", "evidence")[::-1]
    assert backwards[0].anchor == "evidence"
    _, text = page(tmp_path, model, X[:40], sections=backwards)
    assert "<h3>Partial dependence</h3>" in text.split("<h2>How each feature acts</h2>")[0]


def test_options_about_rows_are_not_for_networks(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 1).eval()
    rows = np.ones((2, 3), dtype=np.float32)
    for option in (
        {"by": "a"},
        {"rows": [0]},
        {"ids": ["a", "b"]},
        {"threshold": 0.3},
        {"positive": 1},
        {"model_name": "m"},
    ):
        with pytest.raises(OptionError, match="are for models of tables; leave them out for a network"):
            wb.report(net, rows, tmp_path / "r.html", **option)


def chromium(tmp_path, *arguments):
    common = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    return subprocess.run([*common, *arguments], check=True, capture_output=True, timeout=120, text=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_on_a_phone_the_page_does_not_scroll_sideways(whole, tmp_path):
    """Tables and pictures that are wider scroll by themselves, and a shadow shows it."""
    script = "<script>document.title='width '+document.documentElement.scrollWidth+' '+document.documentElement.clientWidth</script>"
    text = whole[5].read_text("utf-8")
    policy = text[text.index('<meta http-equiv="Content-Security-Policy"') :].split(">")[0] + ">"
    (tmp_path / "inner.html").write_text(text.replace(policy, "").replace("</body>", f"{script}</body>"), "utf-8")
    (tmp_path / "outer.html").write_text(
        "<body style='margin:0'><iframe id=f src=inner.html style='width:390px;height:900px;border:0'></iframe>"
        "<script>f.onload=()=>{document.body.dataset.found=f.contentDocument.title}</script>",
        "utf-8",
    )
    dom = chromium(
        tmp_path,
        "--allow-file-access-from-files",
        "--virtual-time-budget=5000",
        "--dump-dom",
        (tmp_path / "outer.html").as_uri(),
    )
    found = dom.split('data-found="width ')[1].split('"')[0].split()
    assert found[0] == found[1]
    assert "linear-gradient(to left, var(--shade)" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_printed_it_has_a_cover_and_begins_pages_with_sections(whole, tmp_path):
    pypdf = pytest.importorskip("pypdf")
    out = tmp_path / "r.pdf"
    chromium(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={out}", whole[5].as_uri())
    pages = [sheet.extract_text() for sheet in pypdf.PdfReader(out).pages]
    assert len(pages) <= 18
    assert "diabetes-7.json" in pages[0]
    assert "Look for:" not in pages[0]
    for section in (s for s in SECTIONS if s.begins_page):
        assert any(sheet.replace("ﬁ", "fi").replace("ﬀ", "ff").startswith(section.heading) for sheet in pages), section


def test_the_same_call_writes_the_same_page_of_a_day(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "SOURCE_DATE_EPOCH", "0")
    model, X = zoo.built("RandomForestRegressor")
    sections = parts("summary", "model", "decisions")
    first = page(tmp_path, model, X[:20], sections=sections)[1]
    assert first == page(tmp_path, model, X[:20], sections=sections)[1]


def test_outputs_of_several_targets_are_no_classes_of_one(tmp_path):
    model, X = zoo.built("DecisionTreeClassifier, several outputs")
    _, text = page(tmp_path, model, X[:40], sections=parts("summary", "decisions"))
    assert "classes" not in text.split("<dl class=answers>")[1].split("</dl>")[0]
    assert ", one of " in text
    assert "the most probable class" not in text


def test_one_row_and_scores_are_said_as_they_are(tmp_path):
    from sklearn.svm import SVC

    X, y = zoo.X()[:40], np.array(["no", "yes"])[zoo.binary()[:40]]
    _, text = page(tmp_path, SVC().fit(X, y), X, background=X[:10], sections=parts("summary"))
    assert "For each row a number for yes." in text
    model, X = zoo.built("RandomForestRegressor")
    _, text = page(tmp_path, model, X[:1], sections=parts("summary"))
    assert "Over this row it runs from" in text
    assert "There is 1 row; with others" in text


def test_numbers_are_set_as_in_pictures_and_other_texts_as_they_came():
    body = (
        "<p>from -0.5 to 1e-05 in 30 % of 2024-01-05, x-1</p><svg><text>-1 %</text></svg><code>seed=-1 %</code> at -2 %"
        "<div class=words><span>-1 %</span></div><td>-3</td>"
    )
    html = html_page("T-1", [("a", "A", body)])
    assert "<p>from \N{MINUS SIGN}0.5 to 1e\N{MINUS SIGN}05 in 30\N{NO-BREAK SPACE}% of 2024-01-05, x-1</p>" in html
    assert (
        "<svg><text>-1 %</text></svg><code>seed=-1 %</code> at \N{MINUS SIGN}2\N{NO-BREAK SPACE}%<div class=words><span>-1 %</span></div>"
        in html
    )
    assert "<td>\N{MINUS SIGN}3</td>" in html
    assert "<title>T-1</title>" in html
