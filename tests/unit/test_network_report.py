"""The report about a network: one file that asks nothing of anybody, cheap unless more is asked for, and refuses what is not for networks."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch

import whybox as wb
from networks.small import convolutional, digits, digits_network, seeded
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.reporting import networks

NAMES = [f"digit {i}" for i in range(10)]


def tabular():
    return seeded(lambda: torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)))


def table(rows=20):
    return pd.DataFrame(
        np.random.default_rng(0).normal(size=(rows, 4)).astype(np.float32), columns=["age", "bmi", "dose", "<b>"]
    )


def words(page):
    """The text of a page, without its pictures."""
    page = re.sub(r"<svg.*?</svg>|<style.*?</style>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def asks_nobody(page):
    assert "<script" not in page
    assert not re.search(r"\son\w+\s*=", re.sub(r">[^<]*<", "><", page))
    links = set(re.findall(r"https?://[^\"'<> ]*", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not links  # those two name XML, nobody follows them
    assert all(h.startswith(("#", "data:image/png;base64,")) for h in re.findall(r'href="([^"]*)"', page))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "digits.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "WAIT", 1e9)  # on a slow machine too
        patch.setattr(networks, "ROWS", 4)
        e = wb.report(digits_network(), digits()[0][:5], path, output_names=NAMES)
    return e, path.read_text(encoding="utf-8")


def test_pictures_stand_side_by_side_with_checks_and_evidence(pictures):
    e, page = pictures
    asks_nobody(page)
    assert e.evidence.method == "Gradient"
    assert len(e) == 5
    text = words(page)
    assert page.count("<figure>") == 4
    assert "The first 4 of 5 rows; methods but the first were asked about these alone." in text
    for method in ("Gradient", "Integrated gradients", "Grad-CAM"):
        assert re.search(rf"{method}: (holds|does not hold) in every check", text)
    assert "Row 0: digit 0, score" in text
    for line in ("parameters drawn anew: all layers", "deletion, zero", "completeness", "Rows through the network"):
        assert line in text
    assert "Left out" not in text  # a small network is checked in every way
    assert text.count("SHA-256 of model") == 3


def test_a_table_is_shown_as_bars_under_its_own_names(tmp_path):
    path = tmp_path / "table.html"
    e = wb.report(tabular(), table(), path, title="My <title>", source="a & b", methods="integrated_gradients")
    page = path.read_text(encoding="utf-8")
    asks_nobody(page)
    text = words(page)
    assert e.evidence.method == "Integrated gradients"
    assert "<b>" not in re.sub(r"<b>[\d.,%]*</b>", "", page)
    assert "&lt;b&gt;" in page
    assert "My &lt;title&gt;" in page
    assert "20 rows from a &amp; b" in text
    assert "a map has 4 features" in text
    assert "digit" not in text


def test_what_takes_long_is_left_out_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "WAIT", 1e-9)
    wb.report(tabular(), table(), tmp_path / "short.html", methods=["gradient"])
    text = words((tmp_path / "short.html").read_text(encoding="utf-8"))
    assert "stability, model dependence, faithfulness (more than 0 seconds)" in text
    assert "1 of 20 rows checked" in text
    assert "reproduced" in text
    assert "deletion" not in text
    wb.report(tabular(), table(), tmp_path / "all.html", methods=["gradient"], checks="all")
    text = words((tmp_path / "all.html").read_text(encoding="utf-8"))
    assert "Left out" not in text
    assert "deletion, mean" in text
    assert "16 of 20 rows checked" in text


def test_few_rows_are_not_failed_for_being_few(tmp_path):
    wb.report(convolutional(), np.ones((2, 3, 9, 9), dtype=np.float32), tmp_path / "two.html", methods=["gradient"])
    text = words((tmp_path / "two.html").read_text(encoding="utf-8"))
    assert "model dependence, faithfulness (fewer than 4 rows tell nothing)" in text
    assert "too few rows" not in text
    assert "not told apart from chance" not in text


def test_a_target_for_each_row_and_a_function_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "ROWS", 1)
    X = digits()[0][:3]
    e = wb.report(digits_network(), X, tmp_path / "each.html", output=[3] * 3, methods=["gradient", "gradient_x_input"])
    assert set(e.extras["target"][1]) == {3}
    wb.report(digits_network(), X, tmp_path / "own.html", output=lambda o: o[:, 1] - o[:, 2], checks="numerical")


def test_tokens_are_written_out_and_checked(tmp_path):
    reader = seeded(lambda: torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2)))
    tokens = np.random.default_rng(0).integers(0, 9, size=(3, 3))
    wb.report(reader, tokens, tmp_path / "tokens.html", output=1, methods=["gradient"], embedding="0")
    page = (tmp_path / "tokens.html").read_text(encoding="utf-8")
    asks_nobody(page)
    assert page.count("<figure>") == 3
    assert "3 of 3 rows checked" in words(page)
    assert "computed again, 3 rows differ" in words(page)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": np.zeros(20)}, "models of tables"),
        ({"players": {"both": ["age", "bmi"]}}, "models of tables"),
        ({"sections": ()}, "models of tables"),
        ({"methods": []}, "name at least one"),
        ({"methods": ["gradent"]}, "Did you mean 'gradient'"),
        ({"output": "all"}, "one output a row"),
        ({"checks": "numeric"}, "Did you mean 'numerical'"),
    ],
)
def test_what_is_not_for_networks_is_refused_and_nothing_written(tmp_path, options, says):
    with pytest.raises(OptionError, match=says):
        wb.report(tabular(), table(), tmp_path / "no.html", **options)
    assert not list(tmp_path.iterdir())


def test_a_method_that_was_asked_for_is_not_left_out(tmp_path):
    with pytest.raises(UnsupportedModelError):
        wb.report(tabular(), table(), tmp_path / "no.html", methods=["gradient", "gradcam"])
    assert not list(tmp_path.iterdir())


def test_the_page_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "old.html"
    path.write_text("the old page")

    def broken(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(networks, "check", broken)
    with pytest.raises(KeyboardInterrupt):
        wb.report(tabular(), table(), path)
    assert path.read_text() == "the old page"
    assert [p.name for p in tmp_path.iterdir()] == ["old.html"]


def test_a_folder_that_is_not_there_is_found_out_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "saliency", lambda *_a, **_o: pytest.fail("worked first"))
    with pytest.raises(InputError, match="does not exist"):
        wb.report(tabular(), table(), tmp_path / "none" / "no.html")


def test_models_of_tables_refuse_what_is_for_networks(tmp_path):
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=2).fit(table().to_numpy(), np.arange(20.0))
    for options in ({"checks": "all"}, {"methods": ["gradient"]}, {"tokenizer": object()}):
        with pytest.raises(OptionError, match="is for neural networks"):
            wb.report(tree, table().to_numpy(), tmp_path / "no.html", **options)
