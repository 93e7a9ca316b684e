"""The report about a network: one file that asks nothing of anybody, cheap unless more is asked for, and refuses what is not for networks."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
from report_pages import of_keyboard

import whybox as wb
from networks.small import convolutional, digits, seeded
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.methods.saliency.occlusion import Occlusion
from whybox.reporting import check_budget, network_report

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
    return " ".join(of_keyboard(re.sub(r"<[^>]+>", " ", page)).split())


def asks_nobody(page):
    assert "<script" not in page
    assert not re.search(r"\son\w+\s*=", re.sub(r">[^<]*<", "><", page))
    links = set(re.findall(r"https?://[^\"'<> ]*", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not links  # those two name XML, nobody follows them
    assert all(h.startswith(("#", "data:image/png;base64,")) for h in re.findall(r'href="([^"]*)"', page))


def sees_digits():
    """A network of pictures that learned nothing: a report takes it as it is."""
    return convolutional(torch.nn.Tanh, channels=1, outputs=10, places=(8, 8))


@pytest.fixture
def few_drawn(monkeypatch):
    """Figures of two rows, not of six."""
    monkeypatch.setattr(network_report, "ROWS_DRAWN", 2)


def test_pictures_stand_side_by_side_with_checks_and_evidence(tmp_path, monkeypatch):
    monkeypatch.setattr(network_report, "ROWS_DRAWN", 4)  # and all checks take four rows
    path = tmp_path / "digits.html"
    e = wb.report(sees_digits(), digits()[0][:5], path, output_names=NAMES)
    page = path.read_text(encoding="utf-8")
    asks_nobody(page)
    assert e.evidence.method == "Gradient"
    assert len(e) == 5
    text = words(page)
    assert page.count("<figure>") == 4
    assert page.count("<div class=panels>") == 4
    assert page.count("<svg ") == 4 * 4  # each by itself, so that they stand below each other where the page is narrow
    assert "The first 4 of 5 rows; all methods but the first explain these rows only." in text
    for method in ("Gradient", "Integrated gradients", "Grad-CAM"):
        assert re.search(
            rf"{method}: (holds in every check that applies|does not hold in every check|fails no check, but)", text
        )
    assert f"Row 0: digit {e.extras['target'][1][0]}, score" in text
    for line in ("randomised parameters: all layers", "deletion, zero", "completeness", "Rows through the network"):
        assert line in text
    assert "Left out" not in text  # a small network is checked in every way
    assert "Run by default: numerical, stability, model dependence and faithfulness" in text
    assert "Wall time" not in text
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
    assert "Rows 20 from a &amp; b Date" in text
    assert "Fingerprints " in text
    assert "a map has 4 features" in text
    assert "digit" not in text


def test_what_takes_long_is_left_out_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(check_budget, "MAX_WORK_BYTES", 1.0)
    wb.report(tabular(), table(), tmp_path / "short.html", methods=["gradient"])
    text = words((tmp_path / "short.html").read_text(encoding="utf-8"))
    assert "stability, model dependence and faithfulness (more than 0.001 kB)" in text
    assert "1 of 20 rows checked" in text
    assert "reproduced" in text
    assert "deletion" not in text
    wb.report(tabular(), table(), tmp_path / "all.html", methods=["gradient"], checks="all")
    text = words((tmp_path / "all.html").read_text(encoding="utf-8"))
    assert "Left out" not in text
    assert "deletion, mean" in text
    assert "16 of 20 rows checked" in text
    assert "Checks asked for: all." in text


def test_the_checks_made_unasked_hang_on_counts_and_not_on_the_clock(tmp_path, monkeypatch):
    from dataclasses import replace

    e = wb.saliency(tabular(), table())
    slow = replace(e, evidence=replace(e.evidence, seconds=1e9))
    assert check_budget.choose_checks(slow, 1000) == check_budget.choose_checks(e, 1000)
    dear = replace(
        e, evidence=replace(e.evidence, passes={"forward": 4000 * len(e), "backward": 0, "rows together": 32})
    )
    for at, kept, groups, rows in (
        (e, 1000, 4, 16),
        (e, 4_000_000, 4, 16),
        (e, 12_000_000, 4, 8),
        (e, 60_000_000, 3, 4),
        (e, 10**12, 1, 1),
        (dear, 1000, 4, 16),
        (dear, 10**6, 3, 4),
    ):
        plan = check_budget.choose_checks(at, kept)
        assert (len(plan.groups), plan.rows) == (groups, rows), (kept, plan)
        assert plan.complete == (len(plan.groups) == 4)
        for group in check_budget.BY_COST:
            assert group.name in plan.reason  # as made, or as left out
    monkeypatch.setattr("time.perf_counter", iter(np.arange(0.0, 1e9, 1e5)).__next__)
    pages = []
    for name in ("a.html", "b.html"):
        wb.report(tabular(), table(6), tmp_path / name, seed=3, methods=["smoothgrad"])
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    wb.report(tabular(), table(6), tmp_path / "c.html", seed=4, methods=["smoothgrad"], checks="numerical")
    assert (tmp_path / "c.html").read_bytes() != pages[0]
    assert "seed 4" in words((tmp_path / "c.html").read_text())


class Both(torch.nn.Module):
    """A picture and a table."""

    def __init__(self):
        super().__init__()
        self.see, self.read = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(4, 6)
        self.judge = torch.nn.Linear(10, 3)

    def forward(self, image, age):
        seen = torch.relu(self.see(image)).mean((2, 3))
        return self.judge(torch.cat([seen, torch.relu(self.read(age))], dim=1))


@pytest.mark.usefixtures("few_drawn")
def test_a_picture_and_a_table_are_shown_each_in_its_own_way_and_share_the_sum(tmp_path):
    picture = np.random.default_rng(0).normal(size=(3, 3, 12, 10)).astype(np.float32)
    given = {"image": picture, "age": table(3)}
    found = wb.report(seeded(Both), given, tmp_path / "both.html", checks="numerical")
    assert isinstance(found, tuple)
    assert [e.dims[1:] for e in found] == [("y", "x"), ("feature",)]
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    asks_nobody(page)
    text = words(page)
    assert page.count("<figure>") == 2 + 2  # a picture a row, bars a method
    assert "a map of image has 12 x 10 positions (y, x); a map of age has 4 features" in text
    assert "The maps of image and age are checked as one." in text
    assert "Grad-CAM has no map of age: class activation maps are of one input." in text
    ours = wb.saliency(seeded(Both), {k: v[:2] for k, v in given.items()}, None, "integrated_gradients")
    sums = np.stack([e.values.reshape(2, -1).sum(axis=1) for e in ours], axis=1)
    assert np.allclose(sums.sum(axis=1), ours[0].prediction - ours[0].extras["base"][1], atol=1e-2)
    share = np.abs(sums).mean(axis=0)
    share /= share.sum()
    assert re.search(rf"image {sums[:, 0].mean():.3g} {share[0]:.1%} age \S+ {share[1]:.1%} together", text)
    assert "The maps of these methods need not add up" not in text


def test_inputs_without_a_map_are_named_with_the_reason_of_each_method(tmp_path):
    from networks.small import Formula

    net = Formula(lambda picture, kind: picture.sum((1, 2, 3)) * (1 + kind.float().sum(1)))
    picture = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)
    kind = np.arange(6).reshape(3, 2)
    methods = ["gradient", Occlusion(window=4, baseline=(0, None))]
    wb.report(net, (picture, kind), tmp_path / "kinds.html", checks="numerical", methods=methods)
    text = words((tmp_path / "kinds.html").read_text(encoding="utf-8"))
    assert "Gradient has no map of input 1: whole numbers and masks have no derivative." in text
    assert "Occlusion has no map of input 1: the method never changes these inputs." in text


@pytest.mark.usefixtures("few_drawn")
def test_two_pictures_and_a_series_beside_a_table(tmp_path):
    from networks.small import Formula

    both = Formula(lambda a, b: torch.stack([(a * b).sum((1, 2, 3)), a.sum((1, 2, 3))], 1))
    x = np.random.default_rng(0).normal(size=(3, 1, 5, 6)).astype(np.float32)
    found = wb.report(both, (x, x[::-1].copy()), tmp_path / "two.html", checks="numerical", methods=["gradient"])
    page = (tmp_path / "two.html").read_text(encoding="utf-8")
    assert len(found) == 2
    assert page.count("<figure>") == 4
    assert "The maps of these methods need not add up" in words(page)
    series = Formula(lambda rows, series: rows.sum(1) + (series**2).sum((1, 2)))
    wb.report(series, (x[:, 0, 0], x[:, 0]), tmp_path / "series.html", checks="numerical")
    text = words((tmp_path / "series.html").read_text(encoding="utf-8"))
    assert "Row 0: score" in text
    assert "input 1, row 1. One line a feature" in text
    assert re.search(r"Integrated gradients of this row: input 0 \S+ \(\d", text)


def test_one_row_of_a_table_has_a_report(tmp_path):
    for output in (None, [1]):
        wb.report(
            tabular(), table(1), tmp_path / "one.html", output=output, output_names=["no", "yes"], checks="numerical"
        )
        assert re.search(r"Gradient · (no|yes) · score", (tmp_path / "one.html").read_text(encoding="utf-8"))


def test_tokens_beside_their_mask(tmp_path):
    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.out = torch.nn.Embedding(20, 6), torch.nn.Linear(6, 3)

        def forward(self, input_ids, attention_mask):
            mask = attention_mask.to(torch.float32)[..., None]
            return self.out((torch.tanh(self.emb(input_ids)) * mask).sum(1) / mask.sum(1))

    ids = np.random.default_rng(0).integers(0, 20, (8, 5))
    given = {"input_ids": ids, "attention_mask": np.ones((8, 5), dtype=np.int64)}
    e = wb.report(seeded(Reader), given, tmp_path / "read.html", output=1, embedding="emb", checks="numerical")
    assert e.dims == ("row", "token")
    floats = {"input_ids": ids, "attention_mask": np.ones((8, 5), dtype=np.float32)}
    options = {"method": "integrated_gradients", "embedding": "emb"}
    whole, real = (wb.saliency(seeded(Reader), x, 1, **options) for x in (given, floats))
    assert np.array_equal(whole.values, real.values)
    assert (tmp_path / "read.html").read_text(encoding="utf-8").count("<figure>") == 18


def test_series_are_drawn(tmp_path):
    series = seeded(lambda: torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(24, 2)))
    x = np.random.default_rng(0).normal(size=(2, 2, 10)).astype(np.float32)
    e = wb.report(series, x, tmp_path / "series.html", channel_axis=1, checks="numerical")
    assert e.dims == ("row", "time")
    page = (tmp_path / "series.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert "The series in black over its own map" in words(page)


def test_few_rows_are_not_failed_for_being_few(tmp_path):
    wb.report(convolutional(), np.ones((2, 3, 9, 9), dtype=np.float32), tmp_path / "two.html", methods=["gradient"])
    text = words((tmp_path / "two.html").read_text(encoding="utf-8"))
    assert "model dependence and faithfulness (fewer than 4 rows tell nothing)" in text
    assert "too few rows" not in text
    assert "cannot tell it from chance" not in text


def test_a_target_for_each_row_and_a_function_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(network_report, "ROWS_DRAWN", 1)
    X = digits()[0][:3]
    e = wb.report(sees_digits(), X, tmp_path / "each.html", output=[3] * 3, methods=["gradient", "gradient_x_input"])
    assert set(e.extras["target"][1]) == {3}
    wb.report(sees_digits(), X, tmp_path / "own.html", output=lambda o: o[:, 1] - o[:, 2], checks="numerical")


def test_a_function_of_several_outputs_is_taken_and_checked_unasked(tmp_path):
    net = sees_digits()
    both = torch.nn.Module()
    both.net, both.forward = net, lambda x: {"logits": net(x), "size": x.sum((1, 2, 3))}
    wb.report(both.eval(), digits()[0][:2], tmp_path / "r.html", output=lambda out: out["logits"][:, 1])
    assert "2 of 2 rows checked" in words((tmp_path / "r.html").read_text(encoding="utf-8"))


def test_tokens_are_written_out_and_checked(tmp_path):
    reader = seeded(lambda: torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2)))
    tokens = np.random.default_rng(0).integers(0, 9, size=(3, 3))
    wb.report(reader, tokens, tmp_path / "tokens.html", output=1, methods=["gradient"], embedding="0")
    page = (tmp_path / "tokens.html").read_text(encoding="utf-8")
    asks_nobody(page)
    assert page.count("<figure>") == 3
    assert "3 of 3 rows checked" in words(page)
    assert "computed again, 3 rows differ" in words(page)
    assert page.count("<span style=") == 9  # words flow with the page and take its ink, in light and dark
    assert page.count(", 0.750)") == 3  # the largest of each row
    assert "<svg" not in page


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"y": np.zeros(20)}, "models of tables"),
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

    monkeypatch.setattr(network_report, "check", broken)
    with pytest.raises(KeyboardInterrupt):
        wb.report(tabular(), table(), path)
    assert path.read_text() == "the old page"
    assert [p.name for p in tmp_path.iterdir()] == ["old.html"]


def test_a_folder_that_is_not_there_is_found_out_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(network_report, "saliency", lambda *_a, **_o: pytest.fail("worked first"))
    with pytest.raises(InputError, match="does not exist"):
        wb.report(tabular(), table(), tmp_path / "none" / "no.html")
    with pytest.raises(InputError, match="is a folder"):
        wb.report(tabular(), table(), tmp_path)
    monkeypatch.setattr("os.access", lambda *_a: False)
    with pytest.raises(InputError, match="may not write"):
        wb.report(tabular(), table(), tmp_path / "no.html")


def test_models_of_tables_refuse_what_is_for_networks(tmp_path):
    from sklearn.tree import DecisionTreeRegressor

    tree = DecisionTreeRegressor(max_depth=2).fit(table().to_numpy(), np.arange(20.0))
    for options in ({"checks": "all"}, {"methods": ["gradient"]}, {"tokenizer": object()}, {"seed": 0}):
        with pytest.raises(OptionError, match="is for neural networks"):
            wb.report(tree, table().to_numpy(), tmp_path / "no.html", **options)
