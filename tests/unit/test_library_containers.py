"""Rows in a DMatrix, a Pool or a Dataset; texts where columns are meant; columns of several levels."""

from __future__ import annotations

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy.sparse import csr_array
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import whybox as wb
from whybox.data.table import as_table
from whybox.errors import ColumnsError, InputError, LimitError, OptionError
from whybox.explainers import ExactShap, TreeShap

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(150, 4)), columns=list("abcd"))
X.iloc[::7, 0] = np.nan
X.iloc[::5, 1] = 0.0
Y = (X["b"] + X["c"] * X["d"] > 0).astype(int).to_numpy()
KIND = np.digitize(X["c"], [-0.5, 0.5])
ONE, THREE = RNG.normal(size=150), RNG.normal(size=(150, 3))
QUIET = {"iterations": 5, "verbose": 0, "allow_writing_files": False, "depth": 3}


def total(e):
    return e.base_values + e.values.sum(axis=1)


# xgboost.DMatrix


@pytest.fixture(scope="module")
def booster():
    objective = {"objective": "binary:logistic", "base_score": 0.3, "max_depth": 3}
    return xgboost.train(objective, xgboost.DMatrix(X, label=Y), 6)


def test_dmatrix(booster):
    data = xgboost.DMatrix(X, label=Y)
    e = wb.explain(booster, data)
    np.testing.assert_allclose(total(e), booster.predict(data, output_margin=True), atol=1e-6)
    np.testing.assert_allclose(e.values, wb.explain(booster, X).values, atol=1e-6)
    assert e.feature_names == tuple("abcd")
    assert e.offset is None
    np.testing.assert_allclose(
        wb.effects(booster, data, ["c"])["c"].values, wb.effects(booster, X, ["c"])["c"].values, atol=1e-6
    )


def test_base_margins_are_offsets(booster):
    data = xgboost.DMatrix(X, base_margin=ONE)
    raw = booster.predict(data, output_margin=True)
    for e in (wb.explain(booster, data), TreeShap(booster)(data), ExactShap(booster, X[:20])(data)):
        np.testing.assert_allclose(total(e), raw, atol=1e-6)
        np.testing.assert_allclose(e.offset, ONE, atol=1e-6)  # kept in float32
    e = wb.explain(booster, data.slice(range(9)), data, scale="probability")  # whose own never enter
    np.testing.assert_allclose(total(e), booster.predict(data)[:9], atol=1e-6)
    np.testing.assert_allclose(
        e.values, wb.explain(booster, X[:9], X, offset=ONE[:9], scale="probability").values, atol=1e-6
    )
    several = xgboost.XGBClassifier(n_estimators=3, max_depth=3).fit(X, KIND)
    e = wb.explain(several.get_booster(), xgboost.DMatrix(X, base_margin=THREE))
    np.testing.assert_allclose(total(e), several.predict(X, base_margin=THREE, output_margin=True), atol=1e-6)


def test_base_margins_are_never_dropped(booster, tmp_path):
    data = xgboost.DMatrix(X, base_margin=ONE)
    with pytest.raises(OptionError, match="the DMatrix has base margins of its own"):
        wb.explain(booster, data, offset=ONE)
    for call in (
        lambda: wb.importance(booster, data, method="impurity", players="auto"),
        lambda: wb.report(booster, data, tmp_path / "report.html"),
        lambda: TreeShap(booster, data),
        lambda: as_table(data),
    ):
        with pytest.raises(InputError, match="is a DMatrix with base margins, which are part of its rows' predictions"):
            call()


def test_empty_cells_of_a_dmatrix_are_missing():
    rows = csr_array(np.where(X > 0, X, 0.0))
    booster = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(rows, label=Y), 4)
    data = xgboost.DMatrix(rows)
    np.testing.assert_allclose(total(wb.explain(booster, data)), booster.predict(data, output_margin=True), atol=1e-6)
    held = as_table(xgboost.DMatrix(X)).to_pandas()
    np.testing.assert_array_equal(held.isna(), X.isna())
    assert (held["b"][::5] == 0).all()


def test_dmatrices_that_are_refused(booster, monkeypatch):
    with pytest.raises(InputError, match="an xgboost QuantileDMatrix, which holds bins"):
        wb.explain(booster, xgboost.QuantileDMatrix(X))
    with pytest.raises(InputError, match="DMatrix with categorical columns"):
        wb.explain(booster, xgboost.DMatrix(X.assign(e=pd.Categorical(Y)), enable_categorical=True))
    monkeypatch.setattr("whybox.data.library_containers.MAX_CELLS", 100)
    with pytest.raises(LimitError, match="150 x 4 cells, too many"):
        wb.explain(booster, xgboost.DMatrix(X))


# catboost.Pool


@pytest.mark.parametrize("rows", [X, X.to_numpy()], ids=["named", "array"])
def test_pool(rows):
    model = catboost.CatBoostClassifier(**QUIET).fit(rows, Y)
    for pool in (catboost.Pool(rows, Y), catboost.Pool(rows, baseline=ONE)):
        raw = model.predict(pool, prediction_type="RawFormulaVal")
        np.testing.assert_allclose(total(wb.explain(model, pool)), raw, atol=1e-6)
    several = catboost.CatBoostClassifier(loss_function="MultiClass", **QUIET).fit(rows, KIND)
    pool = catboost.Pool(rows, baseline=THREE)
    raw = several.predict(pool, prediction_type="RawFormulaVal")
    np.testing.assert_allclose(total(wb.explain(several, pool)), raw, atol=1e-6)


def test_pools_that_are_refused(tmp_path):
    model = catboost.CatBoostClassifier(**QUIET).fit(X, Y)
    with pytest.raises(InputError, match="Pool with columns that are no numbers"):
        wb.explain(model, catboost.Pool(X.assign(e=Y.astype(str)), cat_features=["e"]))
    pool = catboost.Pool(X, Y)
    pool.quantize()
    with pytest.raises(InputError, match="a quantized Pool"):
        wb.explain(model, pool)
    with pytest.raises(InputError, match="is a Pool with baselines"):
        wb.report(model, catboost.Pool(X, baseline=ONE), tmp_path / "report.html")
    pool = wb.importance(model, catboost.Pool(X, baseline=ONE), Y, role="train")
    np.testing.assert_allclose(pool.values, wb.importance(model, X, Y, offset=ONE, role="train").values, atol=1e-6)


# lightgbm.Dataset


def test_dataset():
    kept = lightgbm.Dataset(X, label=Y, init_score=ONE, free_raw_data=False)
    model = lightgbm.train({"objective": "binary", "verbose": -1}, kept, 5)
    np.testing.assert_allclose(total(wb.explain(model, kept)), model.predict(X, raw_score=True) + ONE, atol=1e-9)
    fresh = lightgbm.Dataset(X)
    np.testing.assert_allclose(total(wb.explain(model, fresh)), model.predict(X, raw_score=True), atol=1e-9)
    for scores in (THREE, THREE.ravel(order="F")):
        kept = lightgbm.Dataset(X, label=KIND, init_score=scores, free_raw_data=False)
        several = lightgbm.train({"objective": "multiclass", "num_class": 3, "verbose": -1}, kept, 3)
        expected = several.predict(X, raw_score=True) + THREE
        np.testing.assert_allclose(total(wb.explain(several, kept)), expected, atol=1e-9)


def test_datasets_that_are_refused(tmp_path):
    dropped = lightgbm.Dataset(X, label=Y).construct()
    model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, label=Y), 3)
    with pytest.raises(InputError, match="has dropped its rows"):
        wb.explain(model, dropped)
    whole = lightgbm.Dataset(X, label=Y, init_score=ONE, free_raw_data=False)
    with pytest.raises(InputError, match="is a subset of a Dataset"):
        wb.explain(model, whole.subset(list(range(20))))
    with pytest.raises(InputError, match="is a Dataset of a file"):
        wb.explain(model, lightgbm.Dataset(str(tmp_path / "rows.csv")))


# texts, and columns of several levels

TEXTS = ["good film", "bad film", "good plot", "bad plot awful", "nice good", "awful bad"] * 4
CLASSES = np.array([1, 0, 1, 0, 1, 0] * 4)


@pytest.mark.parametrize("rows", [TEXTS, np.array(TEXTS, dtype=object), pd.Series(TEXTS), pd.DataFrame({"t": TEXTS})])
def test_texts_have_no_columns(rows):
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, CLASSES)
    for verb, more in (
        (wb.effects, ()),
        (wb.importance, (CLASSES,)),
        (wb.interactions, ()),
        (wb.regions, ("t",)),
        (wb.anchors, ()),
    ):
        with pytest.raises(
            InputError, match=rf"wb\.{verb.__name__} is about the columns of a table.*wb\.lime\(model, texts\)"
        ):
            verb(model, rows, *more)


def test_texts_are_explained():
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, CLASSES)
    for rows in (TEXTS, np.array(TEXTS, dtype=object), pd.Series(TEXTS)):
        assert wb.explain(model, rows).dims == ("row", "word")


def test_columns_of_several_levels():
    levels = X.fillna(0.0).set_axis(pd.MultiIndex.from_tuples([("p", 1), ("p", 2), ("q", 1), ("q", 2)]), axis=1)
    for model, names in (
        (RandomForestClassifier(3, random_state=0), [f"any {i}" for i in range(4)]),
        (xgboost.XGBClassifier(n_estimators=3), [" ".join(map(str, c)) for c in levels.columns]),
        (catboost.CatBoostClassifier(**QUIET), [str(c) for c in levels.columns]),
    ):
        model.fit(levels, Y)
        with pytest.raises(ColumnsError, match=r"give each column one name.*' '\.join\(map\(str, c\)\)"):
            wb.explain(model, levels)
        flat = levels.set_axis(names, axis=1)  # as the message says
        assert wb.explain(model, flat).feature_names == tuple(names)
