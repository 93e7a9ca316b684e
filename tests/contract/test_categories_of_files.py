"""Categories whose cells come as another type than in training: read right, or refused; held against the library's own predict."""

from __future__ import annotations

import datetime

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

import whybox as wb
from categories import LIBRARIES, PIPELINES, WORDS, N, as_library, explain_file, pipeline, rows, saved, trained
from whybox.cli.main import main
from whybox.errors import DtypeError
from whybox.models.registry import as_model


@pytest.mark.parametrize("kind", WORDS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_csv_is_read_as_the_categories_of_the_model(library, kind, tmp_path):
    frame, y = rows(WORDS[kind])
    model, predict = trained(library, frame, y)
    path = saved(library, model, tmp_path)
    frame.to_csv(tmp_path / "d.csv", index=False)
    frame[:30].to_csv(tmp_path / "b.csv", index=False)
    found = explain_file(path, tmp_path / "d.csv", tmp_path, "--background", str(tmp_path / "b.csv"))
    assert np.allclose(found.prediction, predict(frame), rtol=1e-4, atol=1e-4)
    assert np.allclose(found.base_value, predict(frame[:30]).mean(), rtol=1e-4)
    assert np.ptp(found.c) > 1
    assert main(["effects", str(path), str(tmp_path / "d.csv"), "-o", str(tmp_path / "e.csv"), "--no-verify"]) == 0
    curve = pd.read_csv(tmp_path / "e.csv", dtype=str, keep_default_na=False).query("feature == 'c'").set_index("level")
    word = WORDS[kind][0]
    assert float(curve.effect[word]) == pytest.approx(predict(frame.assign(c=word)).mean(), rel=1e-4)


@pytest.mark.usefixtures("unwritten_pictures")
def test_the_report_reads_categories_so_too(tmp_path):
    frame, y = rows(WORDS["leading zeros"])
    model, predict = trained("lightgbm", frame, y)
    path = saved("lightgbm", model, tmp_path)
    frame.assign(truth=y).to_csv(tmp_path / "d.csv", index=False)
    options = ["--no-verify", "--y", "truth", "--background", str(tmp_path / "d.csv")]
    assert main(["report", str(path), str(tmp_path / "d.csv"), "-o", str(tmp_path / "r.html"), *options]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "01234" in page
    error = np.sqrt(((predict(frame) - y) ** 2).mean())
    assert f"{error:.3g}"[:4] in page


@pytest.mark.parametrize("kind", ["leading zeros", "blanks"])
@pytest.mark.parametrize("name", [*PIPELINES, "hist gradient boosting"])
def test_a_csv_is_read_as_the_categories_of_a_pipeline(name, kind, tmp_path):
    frame, y = rows(WORDS[kind])
    model = pipeline(name, frame, y)
    joblib.dump(model, tmp_path / "m.joblib")
    frame.to_csv(tmp_path / "d.csv", index=False)
    files = [str(tmp_path / "m.joblib"), str(tmp_path / "d.csv"), "-o", str(tmp_path / "o.parquet")]
    assert main(["explain", *files, "--trust-pickle"]) == 0
    assert np.allclose(pd.read_parquet(tmp_path / "o.parquet").prediction, model.predict(frame))


def test_blanks_of_other_columns_stay_missing(tmp_path):
    from whybox.data.table_files import read_table

    text = "a,b,n\nNA,NA,1\n,None,NA\nx,y,2\n"
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv", {"a": lambda v: v == "NA"}).to_pydict() == {
        "a": ["NA", None, "x"],
        "b": [None, None, "y"],
        "n": [1, None, 2],
    }
    assert read_table(tmp_path / "t.csv").column("a").to_pylist() == [None, None, "x"]


MENDED = {
    "whole numbers": (["1", "2", "10"], int),
    "floats": (["0.5", "1.5"], float),
    "booleans": (["True", "False"], lambda w: w == "True"),
    "booleans in lower case": (["true", "false"], lambda w: w == "true"),
    "dates": (["2020-01-01", "2021-05-05"], datetime.date.fromisoformat),
    "moments": (["2020-01-01 10:30:00", "2021-05-05 00:00:00"], datetime.datetime.fromisoformat),
    "days": (["2020-01-01", "2021-05-05"], datetime.datetime.fromisoformat),
    "times": (["10:00", "11:30"], datetime.time.fromisoformat),
    "numbers as text": ([1, 2, 10], str),
}


@pytest.mark.parametrize("kind", MENDED)
def test_a_frame_is_mended_where_the_text_is_certain(kind, tmp_path):
    words, convert = MENDED[kind]
    frame, y = rows(words)
    model, predict = trained("lightgbm", frame, y)
    read = as_model(saved("lightgbm", model, tmp_path), verify=False)
    for container in ("pandas", "polars", "pyarrow"):
        other = as_library(frame.assign(c=pd.Series([convert(w) for w in frame.c])), container)
        got = wb.explain(read, other, other)
        assert np.allclose(got.prediction, predict(frame))
        assert np.ptp(got.values[:, 0]) > 1
        assert any("'c' came as" in note and "was read as the" in note for note in got.evidence.notes)
        curve = wb.effects(read, other, ["c"])["c"]
        assert np.allclose(sorted(curve.values), sorted(predict(frame.assign(c=w)).mean() for w in words))


def test_whole_numbers_with_gaps_are_mended_too(tmp_path):
    frame, y = rows(["1", "2", "10"])
    model, predict = trained("lightgbm", frame, y)
    other = frame.assign(c=frame.c.astype(float).where(frame.index != 3))
    expected = predict(frame.assign(c=frame.c.where(frame.index != 3)))
    assert np.allclose(wb.explain(saved("lightgbm", model, tmp_path), other).prediction, expected)


UNCERTAIN = {
    "leading zeros": (["01234", "00777"], int),
    "exponents": (["1e3", "2e3"], float),
    "two spellings": (["1", "1.0", "2"], float),
    "two spellings of true": (["True", "TRUE", "False"], lambda w: w.lower() == "true"),
}


@pytest.mark.parametrize("kind", UNCERTAIN)
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_a_frame_is_refused_where_the_text_is_not_certain(library, kind, tmp_path):
    words, convert = UNCERTAIN[kind]
    frame, y = rows(words)
    read = as_model(saved(library, trained(library, frame, y)[0], tmp_path), verify=False)
    for container in ("polars", "pyarrow", "pandas"):
        other = as_library(frame.assign(c=[convert(w) for w in frame.c]), container)
        for ask in (wb.explain, wb.effects):
            with pytest.raises(DtypeError, match=r"'c' holds .* categories of training are text .* cannot be told"):
                ask(read, other)
    with pytest.raises(DtypeError, match="cannot be told"):
        wb.explain(read, frame.astype({"c": pd.CategoricalDtype(sorted(words))}), other)


@pytest.mark.parametrize(
    ("words", "convert", "right"),
    [
        (["01234", "00777"], int, None),
        (["1", "2", "10"], int, True),
        (["True", "False"], lambda w: w == "True", True),
        (["2020-01-01", "2021-05-05"], datetime.datetime.fromisoformat, True),
        (["10:00", "11:30"], datetime.time.fromisoformat, True),
    ],
)
@pytest.mark.parametrize("library", ["catboost", "catboost counters"])
def test_hashed_categories_are_mended_or_refused(library, words, convert, right, tmp_path):
    frame, y = rows(words)
    model, predict = trained(library, frame, y)
    path, other = saved(library, model, tmp_path), frame.assign(c=pd.Series([convert(w) for w in frame.c]))
    if right is None:
        for asked in (path, model):
            with pytest.raises(DtypeError, match="cannot be told"):
                wb.explain(asked, other)
        return
    assert np.allclose(wb.explain(path, other).prediction, predict(frame))
    if convert is not int:  # CatBoost itself writes 1 for true, and refuses dates
        with pytest.raises(DtypeError, match="'c' holds"):
            wb.explain(model, other)


@pytest.mark.parametrize("library", LIBRARIES[:2])
def test_a_live_model_that_would_take_cells_for_others_is_refused(library):
    frame, y = rows(["1", "2", "10"])
    model, _ = trained(library, frame, y)
    numbers = frame.assign(c=frame.c.astype(int))
    for other in (numbers, numbers.astype({"c": "category"}), as_library(numbers, "polars")):
        with pytest.raises(DtypeError, match=r"'c' holds .*'1\w*' was probably meant.*astype\(str\)"):
            wb.explain(model, other[:9])


def test_columns_that_are_copied_are_copied_as_they_are_spelled(tmp_path):
    frame, y = rows(["a", "b", "c"])
    path = saved("lightgbm", trained("lightgbm", frame, y)[0], tmp_path)
    ids = pd.DataFrame({"id": [f"{i:03}" for i in range(N)], "n": np.arange(N), "day": ["2020-01-01", ""] * (N // 2)})
    pd.concat([ids, frame], axis=1).to_csv(tmp_path / "d.csv", index=False)
    found = explain_file(path, tmp_path / "d.csv", tmp_path, "--id", "id", "--id", "n", "--id", "day")
    assert found.id.tolist() == ids.id.tolist()
    assert found.n.dtype == np.int64
    assert found.day[0] == "2020-01-01"
    assert found.day.isna().sum() == N // 2


def test_categories_that_are_numbers_in_a_column_of_objects():
    frame, y = rows(["1", "2", "10"])
    objects = frame.assign(c=pd.Series([int(v) for v in frame.c], dtype=object))
    model = HistGradientBoostingRegressor(max_iter=3, categorical_features=["c"]).fit(objects, y)
    assert np.allclose(wb.explain(model, objects).prediction, model.predict(objects))
    with pytest.raises(DtypeError, match="'c' holds"):
        wb.explain(model, frame)


def test_a_word_among_numbers_is_named(tmp_path, capsys):
    frame, y = rows([1, 2, 10])
    path = saved("lightgbm", trained("lightgbm", frame, y)[0], tmp_path)
    frame.assign(c=["n/k", *frame.c[1:]]).to_csv(tmp_path / "d.csv", index=False)
    assert explain_file(path, tmp_path / "d.csv", tmp_path) == 3
    assert "column 'c' holds 'n/k', which is not a number" in capsys.readouterr().err
