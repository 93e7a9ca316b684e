"""Categories whose cells come as another type than in training, or in lists that change: read right, or refused; held against the library's own predict."""

from __future__ import annotations

import datetime
import re
from collections import Counter

import catboost as cb
import joblib
import lightgbm as lgb
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

import whybox as wb
from whybox.cli import main
from whybox.errors import DtypeError
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
N = 240
WORDS = {
    "leading zeros": ["01234", "00777", "99999"],
    "booleans": ["True", "False"],
    "dates": ["2020-01-01", "2021-05-05", "2022-01-01"],
    "times": ["10:00", "11:30"],
    "exponents": ["1e3", "2e3"],
    "whole numbers": ["1", "2", "10"],
    "blanks": ["red", "NA", "None"],
}
LIBRARIES = ["lightgbm", "xgboost", "catboost", "catboost counters"]


@pytest.fixture(autouse=True)
def _no_figures_left():
    yield
    plt.close("all")


def rows(words):
    which, x = RNG.integers(0, len(words), N), RNG.normal(size=N)
    cells = np.array(words, dtype=object)[which]
    return pd.DataFrame({"c": cells, "x": x}), which * 5.0 + x


def catboost(**more):
    return cb.CatBoostRegressor(iterations=4, depth=3, verbose=0, allow_writing_files=False, **more)


def trained(library, frame, y):
    """A fitted model and its own predict of a frame of text."""
    if library.startswith("catboost"):
        options = (
            {"one_hot_max_size": 1, "max_ctr_complexity": 1} if "counters" in library else {"one_hot_max_size": 10}
        )
        model = catboost(**options).fit(frame, y, cat_features=["c"])
        return model, model.predict
    dtype = pd.CategoricalDtype(sorted(frame.c.unique()))
    model = (
        lgb.LGBMRegressor(n_estimators=5, min_child_samples=5, verbose=-1)
        if library == "lightgbm"
        else xgb.XGBRegressor(n_estimators=5, max_depth=3, enable_categorical=True)
    )
    model.fit(frame.astype({"c": dtype}), y)
    return model, lambda f: model.predict(f.astype({"c": dtype}))


def saved(library, model, folder):
    path = folder / {"lightgbm": "m.txt", "xgboost": "m.json"}.get(library, "m.cbm")
    (model.booster_ if library == "lightgbm" else model).save_model(str(path))
    return path


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


def test_the_report_reads_categories_so_too(tmp_path):
    frame, y = rows(WORDS["leading zeros"])
    model, predict = trained("lightgbm", frame, y)
    path = saved("lightgbm", model, tmp_path)
    frame.assign(truth=y).to_csv(tmp_path / "d.csv", index=False)
    options = ["--no-verify", "--target", "truth", "--background", str(tmp_path / "d.csv")]
    assert main(["report", str(path), str(tmp_path / "d.csv"), "-o", str(tmp_path / "r.html"), *options]) == 0
    page = (tmp_path / "r.html").read_text()
    assert "01234" in page
    error = np.sqrt(((predict(frame) - y) ** 2).mean())
    assert f"{error:.3g}"[:4] in page


PIPELINES = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": TargetEncoder(),
    "imputed": make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
}


def pipeline(name, frame, y):
    if name == "hist gradient boosting":
        return HistGradientBoostingRegressor(max_iter=3, categorical_features=["c"]).fit(frame, y)
    step = make_column_transformer((PIPELINES[name], ["c"]), remainder="passthrough")
    return make_pipeline(step, RandomForestRegressor(3, random_state=0)).fit(frame, y)


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
    from whybox.tables import read_table

    text = "a,b,n\nNA,NA,1\n,None,NA\nx,y,2\n"
    (tmp_path / "t.csv").write_text(text)
    assert read_table(tmp_path / "t.csv", {"a": lambda v: v == "NA"}).to_pydict() == {
        "a": ["NA", None, "x"],
        "b": [None, None, "y"],
        "n": [1, None, 2],
    }
    assert read_table(tmp_path / "t.csv").column("a").to_pylist() == [None, None, "x"]


def as_library(frame, library):
    if library == "pyarrow":
        return pa.Table.from_pandas(frame, preserve_index=False)
    return pl.from_pandas(frame) if library == "polars" else frame


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


# Lists of categories that change


def by_code():
    """A model of XGBoost that stores no category names: a is 0, b is 1, c is 2; it predicts -5, 0, 10."""
    cells = RNG.choice(list("abc"), 300)
    codes = pd.Categorical(cells).codes
    target = np.select([cells == "a", cells == "b"], [-5.0, 0.0], 10.0)
    data = xgb.DMatrix(
        np.column_stack([codes, RNG.normal(size=300)]),
        label=target,
        feature_names=["c", "x"],
        feature_types=["c", "float"],
        enable_categorical=True,
    )
    params = {"max_depth": 2, "eta": 1.0, "base_score": 0.0, "min_child_weight": 0, "lambda": 0}
    return xgb.train(params, data, 3)


RIGHT = {"a": -5.0, "b": 0.0, "c": 10.0}


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    path = tmp_path_factory.mktemp("codes") / "codes.json"
    by_code().save_model(path)
    return path


def cells(*parts):
    return np.array([c for part in parts for c in part])


def explain_file(model, data, folder, *more):
    code = main(["explain", str(model), str(data), "-o", str(folder / "o.parquet"), "--no-verify", *more])
    return pd.read_parquet(folder / "o.parquet") if code == 0 else code


@pytest.mark.parametrize("verb", ["explain", "effects", "report"])
def test_row_groups_with_different_dictionaries_are_refused_by_name(coded, verb, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("whybox.tables.BATCH", 600)
    column = pl.Series(["a", "b", "c"] * 200 + ["c", "b", "a"] * 200, dtype=pl.Categorical)
    pl.DataFrame({"c": column, "x": np.zeros(1200)}).write_parquet(tmp_path / "d.parquet", row_group_size=600)
    out = tmp_path / ("o.html" if verb == "report" else "o.parquet")
    assert main([verb, str(coded), str(tmp_path / "d.parquet"), "-o", str(out), "--no-verify"]) == 3
    assert "column 'c' of" in capsys.readouterr().err
    assert not out.exists()


def test_one_list_for_all_row_groups_is_read_right(coded, tmp_path, monkeypatch):
    monkeypatch.setattr("whybox.tables.BATCH", 700)
    letters = cells("cba" * 500, "abc" * 500)
    enum = pl.Series(letters, dtype=pl.Enum(["a", "b", "c"]))
    pl.DataFrame({"c": enum, "x": np.zeros(3000)}).write_parquet(tmp_path / "enum.parquet", row_group_size=450)
    pandas = pd.DataFrame({"c": pd.Categorical(letters, categories=list("abc")), "x": 0.0})
    pandas.to_parquet(tmp_path / "pandas.parquet", row_group_size=450)
    for name in ("enum", "pandas"):
        found = explain_file(coded, tmp_path / f"{name}.parquet", tmp_path)
        assert np.allclose(found.prediction, [RIGHT[c] for c in letters])


def test_a_dictionary_that_grows_keeps_its_codes(coded, tmp_path):
    tables = [
        pa.table({"c": pa.DictionaryArray.from_arrays(pa.array([0, 1]), words), "x": [0.0, 0.0]})
        for words in (["a", "b"], ["a", "b", "c"])
    ]
    with pq.ParquetWriter(tmp_path / "d.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    assert explain_file(coded, tmp_path / "d.parquet", tmp_path).prediction.tolist() == pytest.approx(
        [-5, 0] * 2, abs=1e-4
    )
    assert np.allclose(wb.explain(coded, pa.concat_tables(tables)).prediction, [-5, 0, -5, 0], atol=1e-4)


def test_the_same_rows_of_chunks_are_the_same_or_refused(coded, monkeypatch):
    monkeypatch.setattr("whybox.methods.shap.run.BLOCK", 4)
    chunks = [
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), words) for words in (["a", "b", "c"], ["c", "b", "a"])
    ]
    table = pa.table({"c": pa.chunked_array(chunks), "x": np.zeros(6)})
    by_name = pd.DataFrame({"c": cells("abc" * 40), "x": np.zeros(120)})
    stored, predict = trained("xgboost", by_name, by_name.c.map(RIGHT))
    expected = predict(pd.DataFrame({"c": cells("abc", "cba"), "x": 0.0}))
    assert np.allclose(wb.explain(stored, table).prediction, expected)
    categorical = pl.DataFrame({"c": pl.Series(list("abccba"), dtype=pl.Categorical), "x": np.zeros(6)})
    assert np.allclose(wb.explain(stored, categorical).prediction, expected)
    for asked in (coded, by_code()):
        for rows_ in (table, categorical):
            with pytest.raises(DtypeError, match=r"column 'c' of X: the model stores no category names .*polars\.Enum"):
                wb.explain(asked, rows_)
            with pytest.raises(DtypeError, match="column 'c' of the background"):
                wb.explain(asked, pd.DataFrame({"c": [0.0], "x": [0.0]}), rows_)
            with pytest.raises(DtypeError, match="column 'c' of X"):
                wb.effects(asked, rows_)
        enum = categorical.cast({"c": pl.Enum(["a", "b", "c"])})
        got = wb.explain(asked, enum, enum)
        assert np.allclose(got.prediction, [RIGHT[c] for c in "abccba"], atol=1e-4)
        assert any("own list: 'a', 'b', 'c'" in note for note in got.evidence.notes)


def test_codes_of_a_background_mean_the_same_as_those_of_the_rows(coded):
    def frame(order):
        return pd.DataFrame({"c": pd.Categorical(list("abc"), categories=list(order)), "x": 0.0})

    with pytest.raises(DtypeError, match=r"'c', 'b', 'a' in the background and 'a', 'b', 'c' in the rows"):
        wb.explain(coded, frame("abc"), frame("cba"))
    fewer = pd.DataFrame({"c": pd.Categorical(["b"], categories=["a", "b"]), "x": 0.0})
    assert wb.explain(coded, frame("abc"), fewer).values[:, 0].tolist() == pytest.approx([-5, 0, 10], abs=1e-4)


@pytest.mark.parametrize("library", [*LIBRARIES, "hist gradient boosting"])
def test_categories_in_another_order_than_in_training(library):
    frame, y = rows(["a", "b", "c"])
    if library == "hist gradient boosting":
        model = HistGradientBoostingRegressor(max_iter=3).fit(frame.astype({"c": "category"}), y)
        expected = model.predict(frame.astype({"c": "category"}))
    else:
        model, predict = trained(library, frame, y)
        expected = predict(frame)
    more = [] if library == "xgboost" else ["q"]  # XGBoost itself refuses it, also where no row has it
    turned = frame.astype({"c": pd.CategoricalDtype(["c", *more, "a", "b"])})
    assert np.allclose(wb.explain(model, turned, turned[:9]).prediction, expected, rtol=1e-4)
    for other in (pl.from_pandas(turned), pa.Table.from_pandas(turned, preserve_index=False)):
        assert np.allclose(wb.explain(model, other).prediction, expected, rtol=1e-4)


@pytest.mark.parametrize("library", ["lightgbm", "catboost", "hist gradient boosting", "one-hot"])
def test_live_models_called_batch_by_batch(library, tmp_path, monkeypatch):
    monkeypatch.setattr("whybox.tables.BATCH", 50)
    frame, y = rows(["a", "b", "c"])
    live = library in ("lightgbm", "catboost")
    model, predict = trained(library, frame, y) if live else (m := pipeline(library, frame, y), m.predict)
    joblib.dump(model, tmp_path / "m.joblib")
    batches = [frame[i : i + 40] for i in range(0, N, 40)]
    tables = []
    for i, batch in enumerate(batches):
        words = np.roll(["a", "b", "c"], i).tolist()
        coded_ = pa.DictionaryArray.from_arrays(pa.array([words.index(v) for v in batch.c]), words)
        tables.append(pa.table({"c": coded_, "x": batch.x.to_numpy()}))
    with pq.ParquetWriter(tmp_path / "d.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    found = explain_file(tmp_path / "m.joblib", tmp_path / "d.parquet", tmp_path, "--trust-pickle")
    assert np.allclose(found.prediction, predict(frame))


# Categories that training did not have

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
    monkeypatch.setattr("whybox.tables.BATCH", 5)
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
    from whybox.models.categories import Unseen, merged_unseen

    parts = [Counter({f"k{i}": i + 1 for i in range(60)}), Counter({"k59": 5, "z": 1})]
    both = merged_unseen(Unseen.of(p, complete=True) for p in parts)
    assert both.rows == sum(p.total() for p in parts)
    assert both.different >= 60
    assert both.categories["k59"] == 65
