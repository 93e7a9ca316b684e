"""Lists of categories that change within a run: read by name, by one list for the whole run, or refused by name."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from sklearn.ensemble import HistGradientBoostingRegressor

import whybox as wb
from categories import LIBRARIES, RNG, N, explain_file, pipeline, rows, trained
from whybox.cli.main import main
from whybox.errors import DtypeError, InputError, WhyboxError
from whybox.models.registry import as_model


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


@pytest.mark.parametrize("verb", ["explain", "effects", "report"])
def test_row_groups_with_different_dictionaries_are_refused_by_name(coded, verb, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("whybox.data.table_files.ROWS_PER_BATCH", 600)
    column = pl.Series(["a", "b", "c"] * 200 + ["c", "b", "a"] * 200, dtype=pl.Categorical)
    pl.DataFrame({"c": column, "x": np.zeros(1200)}).write_parquet(tmp_path / "d.parquet", row_group_size=600)
    out = tmp_path / ("o.html" if verb == "report" else "o.parquet")
    assert main([verb, str(coded), str(tmp_path / "d.parquet"), "-o", str(out), "--no-verify"]) == 3
    assert "column 'c' of" in capsys.readouterr().err
    assert not out.exists()


def test_one_list_for_all_row_groups_is_read_right(coded, tmp_path, monkeypatch):
    monkeypatch.setattr("whybox.data.table_files.ROWS_PER_BATCH", 700)
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
    assert np.allclose(
        wb.explain(as_model(coded, verify=False), pa.concat_tables(tables)).prediction, [-5, 0, -5, 0], atol=1e-4
    )


def test_the_same_rows_of_chunks_are_the_same_or_refused(coded, monkeypatch):
    monkeypatch.setattr("whybox.methods.shap.result.ROWS_PER_BLOCK", 4)
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
    for asked in (as_model(coded, verify=False), as_model(by_code())):
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
    read = as_model(coded, verify=False)

    def frame(order):
        return pd.DataFrame({"c": pd.Categorical(list("abc"), categories=list(order)), "x": 0.0})

    with pytest.raises(DtypeError, match=r"'c', 'b', 'a' in the background and 'a', 'b', 'c' in the rows"):
        wb.explain(read, frame("abc"), frame("cba"))
    fewer = pd.DataFrame({"c": pd.Categorical(["b"], categories=["a", "b"]), "x": 0.0})
    assert wb.explain(read, frame("abc"), fewer).values[:, 0].tolist() == pytest.approx([-5, 0, 10], abs=1e-4)


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


@pytest.mark.parametrize("library", ["lightgbm", "xgboost", "catboost", "hist gradient boosting", "one-hot"])
def test_live_models_called_batch_by_batch(library, tmp_path, monkeypatch):
    monkeypatch.setattr("whybox.data.table_files.ROWS_PER_BATCH", 50)
    frame, y = rows(["a", "b", "c"])
    live = library in ("lightgbm", "xgboost", "catboost")
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
    assert np.allclose(found.prediction, predict(frame), rtol=1e-4)
    frame.to_csv(tmp_path / "d.csv", index=False)
    found = explain_file(tmp_path / "m.joblib", tmp_path / "d.csv", tmp_path, "--trust-pickle")
    assert np.allclose(found.prediction, predict(frame), rtol=1e-4)


def test_a_kept_explainer_refuses_another_list_than_that_of_earlier_rows():
    from whybox.explainers import TreeShap

    rng = np.random.default_rng(5)
    codes = rng.integers(0, 3, 200)
    X = np.column_stack([codes, rng.normal(size=200)])
    model = xgb.XGBRegressor(n_estimators=4, feature_types=["c", "q"], enable_categorical=True)
    model.fit(X, np.array([0.0, 10.0, -5.0])[codes] + X[:, 1])
    words = pd.Categorical.from_codes(codes, ["a", "b", "z"])
    rows = pd.DataFrame({"c": words, "x": X[:, 1]})
    explainer = TreeShap(model)
    first = explainer(rows[:4])
    np.testing.assert_allclose(explainer(rows[:4]).values, first.values, rtol=1e-5)  # its kernel may be another
    other = rows.assign(c=words.reorder_categories(["z", "b", "a"]))
    with pytest.raises(DtypeError, match="'a', 'b', 'z' in earlier rows and 'z', 'b', 'a' in the rows"):
        explainer(other[:4])
    np.testing.assert_allclose(explainer(rows[:4]).values, first.values, rtol=1e-5)  # its kernel may be another


def test_rows_that_were_refused_bind_no_later_ones():
    from whybox.explainers import TreeShap

    rng = np.random.default_rng(5)
    codes = rng.integers(0, 3, 200)
    X = np.column_stack([codes, rng.normal(size=200)])
    model = xgb.XGBRegressor(n_estimators=4, feature_types=["c", "q"], enable_categorical=True)
    model.fit(X, np.array([0.0, 10.0, -5.0])[codes] + X[:, 1])
    words = pd.Categorical.from_codes(codes, ["a", "b", "z"])
    rows = pd.DataFrame({"c": words, "x": X[:, 1]})
    other = rows.assign(c=words.reorder_categories(["z", "b", "a"]))
    explainer = TreeShap(model)
    with pytest.raises(InputError, match="infinit"):
        explainer(other.assign(x=np.inf)[:4])
    with pytest.raises(WhyboxError):
        explainer(other[:4], out=np.zeros((3, 2)))
    np.testing.assert_allclose(explainer(rows[:4]).prediction, model.predict(rows)[:4], rtol=1e-5)
    with pytest.raises(DtypeError, match="in earlier rows"):
        explainer(other[:4])
