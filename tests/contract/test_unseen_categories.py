"""Categories that training did not have are explained as the library predicts them, counted and named."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from categories import LIBRARIES, PIPELINES, as_library, explain_file, pipeline, rows, saved, trained
from whybox.cli.main import main
from whybox.errors import DtypeError

NOTE = r"12 rows hold 2 categories of 'c' that training did not have: 'new' \(7\), 'newer' \(5\)\."


def with_unseen(frame):
    out = frame.copy()
    out["c"] = ["new"] * 7 + ["newer"] * 5 + out.c.tolist()[12:]
    return out


@pytest.mark.parametrize("name", ["lightgbm", "catboost counters", "hist gradient boosting", *PIPELINES])
def test_unseen_categories_are_counted_and_named(name):
    frame, y = rows(["a", "b", "c"])
    live = name in LIBRARIES
    model, predict = trained(name, frame, y) if live else (m := pipeline(name, frame, y), m.predict)
    plain = frame.astype({"c": "category"}) if name == "lightgbm" else frame
    rare = with_unseen(frame)
    given = rare.astype({"c": "category"}) if name == "lightgbm" else rare
    expected = model.predict(given) if name == "lightgbm" else predict(rare)
    for container in ("polars", "pyarrow", "pandas"):
        strange = as_library(given, container)
        got = wb.explain(model, strange, plain[:20])
        assert np.allclose(got.prediction, expected)
        assert any(re.fullmatch(NOTE, note) for note in got.evidence.notes)
        assert got.evidence.unseen["c"]["categories"] == {"new": 7, "newer": 5}
    assert not wb.explain(model, plain).evidence.unseen
    behind = wb.explain(model, plain[:5], strange)
    assert any("12 rows of the background hold 2 categories of 'c'" in note for note in behind.evidence.notes)
    effect = wb.effects(model, strange, ["x"])["x"]
    assert effect.evidence.unseen["c"]["rows"] == 12
    assert any("2 categories of 'c' that training did not have" in note for note in effect.evidence.notes)
    assert "unseen categories of 'c' in 12 rows" in effect.plot.curve().get_xlabel()
    assert "unseen categories of 'c' in 12 rows" in got.plot.bar().get_xlabel()


def test_what_catboost_does_not_store_is_not_called_unseen():
    frame, y = rows(["a", "b", "c"])
    model, _ = trained("catboost", frame, y)
    got = wb.explain(model, with_unseen(frame))
    assert any("no split of the model asks for" in note and "'new' (7)" in note for note in got.evidence.notes)
    assert "did not have" not in "".join(got.evidence.notes)


def test_xgboost_refuses_unseen_categories_itself():
    frame, y = rows(["a", "b", "c"])
    with pytest.raises(DtypeError, match="'new', which training did not have"):
        wb.explain(trained("xgboost", frame, y)[0], with_unseen(frame).astype({"c": "category"}))


def test_unseen_codes_of_plain_arrays():
    frame, y = rows(["a", "b", "c"])
    model, _ = trained("lightgbm", frame, y)
    codes = np.column_stack([[0.0, 1, 2, 7, -1, np.nan], np.zeros(6)])
    got = wb.explain(model, codes)
    assert got.evidence.unseen["c"]["categories"] == {"7.0": 1}
    assert np.allclose(got.prediction, model.booster_.predict(codes))


def test_unseen_categories_of_a_model_that_is_only_asked():
    from sklearn.linear_model import Ridge

    frame, y = rows(["a", "b", "c"])
    step = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["c"]), remainder="passthrough")
    effect = wb.effects(make_pipeline(step, Ridge()).fit(frame, y), with_unseen(frame), ["x"])["x"]
    assert effect.evidence.unseen["c"]["categories"] == {"new": 7, "newer": 5}


def test_unseen_categories_on_the_command_line_are_those_of_the_whole_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("whybox.data.table_files.ROWS_PER_BATCH", 5)
    frame, y = rows(["a", "b", "c"])
    path = saved("lightgbm", trained("lightgbm", frame, y)[0], tmp_path)
    with_unseen(frame)[:40].to_csv(tmp_path / "d.csv", index=False)
    explain_file(path, tmp_path / "d.csv", tmp_path)
    said = capsys.readouterr().out
    assert said.count("did not have") == 1
    assert "Note: 12 rows hold 2 categories of 'c' that training did not have: 'new' (7), 'newer' (5)." in said
    for verb, out in (("effects", "e.csv"), ("report", "r.html")):
        assert main([verb, str(path), str(tmp_path / "d.csv"), "-o", str(tmp_path / out), "--no-verify"]) == 0
        assert "12 rows hold 2 categories" in capsys.readouterr().out
    assert "12 rows hold 2 categories" in (tmp_path / "r.html").read_text()
    assert "unseen categories of" in (tmp_path / "r.html").read_text()


def test_merged_counts():
    from whybox.models.categories import UnseenCategories, merge_unseen

    parts = [Counter({f"k{i}": i + 1 for i in range(60)}), Counter({"k59": 5, "z": 1})]
    both = merge_unseen(UnseenCategories.from_counts(p, complete=True) for p in parts)
    assert both.rows == sum(p.total() for p in parts)
    assert both.different >= 60
    assert both.categories["k59"] == 65
