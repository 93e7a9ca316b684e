"""Rows, members and estimators that are read in ways of their own: ours must be the library's, for background rows too, or be refused."""

from __future__ import annotations

import json
from dataclasses import replace

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.ensemble import BaggingRegressor, VotingRegressor
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
from whybox.errors import DtypeError, InputError, ModelMismatchError, OptionError, UnsupportedModelError
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 2))
Y = X[:, 0] + (X[:, 1] > 0)
SMALL = {"n_estimators": 5, "max_depth": 3}


def lgbm(**more):
    return lgb.LGBMRegressor(n_estimators=5, min_child_samples=5, verbose=-1, **more)


def catboost(model=cb.CatBoostRegressor, **more):
    return model(iterations=4, depth=3, verbose=0, allow_writing_files=False, **more)


def test_background_rows_are_held_against_the_models_own_predict():
    model = as_model(DecisionTreeRegressor(max_depth=3).fit(X, Y))
    odd = X[50:60] + np.array([100, 0])
    other = replace(
        model.own_predict, predict=lambda table: model.own_predict.predict(table) + (table.native[:, :1] > 50)
    )
    with pytest.raises(ModelMismatchError, match="the background's row 0 of 10"):
        wb.explain(replace(model, own_predict=other), X[:3], odd)


def test_each_target_reads_its_own_columns():
    member = make_pipeline(SelectKBest(f_regression, k=1), DecisionTreeRegressor(max_depth=1))
    model = MultiOutputRegressor(member).fit(X, (X > 0).astype(float))
    got = wb.explain(model, X[:5], X[20:40])
    assert np.all(got.values[:, 1, 0] == 0)
    assert np.all(got.values[:, 0, 1] == 0)
    assert np.allclose(got.base, model.predict(X[20:40]).mean(axis=0))
    assert np.abs(wb.explain(model, X[:5]).values[:, 1, 1]).min() > 0.1


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.longdouble, object])
@pytest.mark.parametrize("live", ["estimator", "booster"])
def test_lightgbm_rounds_arrays_that_are_not_floats(dtype, live):
    big = 2**24 + RNG.integers(0, 60, (300, 2))
    model = lgbm().fit(big.astype(float), big[:, 0] % 7)
    rows = big.astype(dtype)
    model = model if live == "estimator" else model.booster_
    got = wb.explain(model, rows[:2], rows[20:40])
    assert got.base == pytest.approx(model.predict(rows[20:40]).mean(), rel=1e-12)
    assert np.allclose(got.prediction, model.predict(rows[:2]), rtol=1e-12)
    frame = pd.DataFrame(big)
    exact = wb.explain(model, frame[:2], frame[20:40])
    assert exact.base == pytest.approx(model.predict(frame[20:40]).mean(), rel=1e-12)


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_arrays_hold_codes_where_training_had_categories(library):
    levels = RNG.choice([2, 1, 0], 300)
    frame = pd.DataFrame({"c": pd.Categorical(levels, categories=[2, 1, 0]), "x": X[:, 0]})
    model = lgbm() if library == "lightgbm" else xgb.XGBRegressor(**SMALL, enable_categorical=True)
    model.fit(frame, levels * 10 + X[:, 0])
    codes = frame.assign(c=frame.c.cat.codes).to_numpy(dtype=float)
    got = wb.explain(model, codes[:9], codes[20:40])
    assert np.allclose(got.prediction, model.predict(frame[:9]), rtol=1e-5)
    assert np.allclose(got.values, wb.explain(model, frame[:9], frame[20:40]).values, rtol=1e-5)


WORDS = RNG.choice([1, 2, 3], 300)
CATEGORIES = {
    "categorical of booleans": pd.Categorical(WORDS > 1),
    "objects, booleans": (WORDS > 1).astype(object),
    "objects, whole numbers": (WORDS + 2**60).astype(object),
    "objects, numbers and text": np.array([1, "b", True], dtype=object)[WORDS - 1],
    "nullable booleans": pd.array(WORDS > 1, dtype="boolean"),
}


@pytest.mark.parametrize("kind", CATEGORIES)
@pytest.mark.parametrize("one_hot", [1, 10])
def test_catboost_categories_are_hashed_as_catboost_does(kind, one_hot):
    rows = pd.DataFrame({"c": pd.Series(CATEGORIES[kind]), "x": X[:, 0]})
    model = catboost(one_hot_max_size=one_hot, max_ctr_complexity=1).fit(rows, WORDS * 5.0, cat_features=["c"])
    got = wb.explain(model, rows[:20], rows[20:40])
    assert np.allclose(got.prediction, model.predict(rows[:20]))
    assert np.abs(got.values[:, 0]).max() > 0.1
    if kind.startswith("objects"):
        assert np.array_equal(wb.explain(model, rows.to_numpy()[:20], rows[20:40]).values, got.values)


@pytest.mark.parametrize("value", [1.0, np.nan, None])
def test_catboost_categories_that_are_floats_or_missing_are_refused(value):
    rows = pd.DataFrame({"c": pd.Series(WORDS).astype(object), "x": X[:, 0]})
    model = catboost(one_hot_max_size=10).fit(rows, WORDS * 5.0, cat_features=["c"])
    odd = rows[:4].copy()
    odd.at[1, "c"] = value
    with pytest.raises(DtypeError, match="'c'"):
        wb.explain(model, odd)


class Doubled(xgb.XGBRegressor):
    def predict(self, *args, **kwargs):
        return 2 * super().predict(*args, **kwargs)


class DoubledL(lgb.LGBMRegressor):
    def predict(self, *args, **kwargs):
        return 2 * super().predict(*args, **kwargs)


class DoubledC(cb.CatBoostRegressor):
    def predict(self, *args, **kwargs):
        return 2 * super().predict(*args, **kwargs)


class Kept(xgb.XGBRegressor):
    pass


@pytest.mark.parametrize(
    "model", [Doubled(**SMALL), DoubledL(n_estimators=3, verbose=-1), catboost(DoubledC)], ids=["xgb", "lgb", "cb"]
)
def test_a_predict_of_ones_own_is_refused(model):
    with pytest.raises(UnsupportedModelError, match="has a predict of its own"):
        wb.explain(model.fit(X, Y), X[:2])


def test_a_subclass_that_keeps_predict_is_explained():
    assert wb.explain(Kept(**SMALL).fit(X, Y), X[:2]).evidence.residual < 1e-5


def test_lightgbm_early_stopping_of_predictions_is_refused():
    model = lgb.LGBMClassifier(n_estimators=5, verbose=-1, pred_early_stop=True).fit(X, Y > 0)
    with pytest.raises(UnsupportedModelError, match="pred_early_stop"):
        wb.explain(model, X[:2])
    assert wb.explain(model.booster_, X[:2]).evidence.exact
    with pytest.raises(UnsupportedModelError, match="CVBooster"):
        wb.explain(lgb.CVBooster(), X[:2])


HOLES = np.where(RNG.random(X.shape) < 0.3, -999.0, X)


@pytest.mark.parametrize("second", [-999.0, np.nan])
def test_ensembles_keep_their_members_missing_value(second):
    members = [("a", xgb.XGBRegressor(**SMALL, missing=-999.0)), ("b", xgb.XGBRegressor(**SMALL, missing=second))]
    model = VotingRegressor(members).fit(HOLES, Y)
    got = wb.explain(model, HOLES[:20], HOLES[20:60])
    assert np.allclose(got.base, model.predict(HOLES[20:60]).mean(), rtol=1e-5)
    assert np.allclose(got.prediction, model.predict(HOLES[:20]))


@pytest.mark.parametrize(
    "model",
    [
        BaggingRegressor(xgb.XGBRegressor(**SMALL, missing=-999.0), 3, max_features=1),
        MultiOutputRegressor(xgb.XGBRegressor(**SMALL)),
        VotingRegressor([("a", xgb.XGBRegressor(**SMALL)), ("b", DecisionTreeRegressor(max_depth=3))]),
        MultiOutputRegressor(lgbm()),
    ],
    ids=["bagging", "multi-output", "voting", "multi-output of lightgbm"],
)
def test_ensembles_of_libraries_that_sum_in_float32(model):
    target = np.column_stack([Y, -Y * 100]) if isinstance(model, MultiOutputRegressor) else Y
    model.fit(HOLES, target)
    got = wb.explain(model, HOLES[:9], HOLES[20:60])
    assert np.allclose(got.base, model.predict(HOLES[20:60]).mean(axis=0), rtol=1e-5)
    assert np.allclose(got.prediction, model.predict(HOLES[:9]))


def test_a_file_of_xgboost_says_what_it_does_not_record(tmp_path):
    model = xgb.XGBRegressor(**SMALL, missing=-999.0).fit(HOLES, Y)
    model.save_model(tmp_path / "model.json")
    assert any("does not record an estimator's missing" in n for n in as_model(tmp_path / "model.json").notes)
    assert not any("does not record" in n for n in as_model(model).notes)


def rolled_back(objective, **more):
    params = {"objective": objective, "verbose": -1, **more}
    booster = lgb.train(params, lgb.Dataset(X, (Y > 0).astype(float)), 1, keep_training_booster=True)
    return booster.rollback_one_iter()


@pytest.mark.parametrize("objective", ["regression", "multiclass"])
@pytest.mark.parametrize("file", [False, True])
def test_lightgbm_without_trees_predicts_its_base(objective, file, tmp_path):
    model = rolled_back(objective, **({"num_class": 3} if objective == "multiclass" else {}))
    if file:
        model.save_model(tmp_path / "model.txt")
        model = tmp_path / "model.txt"
    for background in (None, X[:9]):
        for order in (1, 2):
            got = wb.explain(model, X[:3], background, order=order)
            assert not got.values.any()
            assert not got.base.any()
    assert not wb.importance(model, X[:3]).values.any()
    assert not wb.importance(model, method="impurity").values.any()
    if objective == "multiclass":
        assert np.allclose(wb.explain(model, X[:3], X[:9], scale="probability").base, 1 / 3)


@pytest.mark.parametrize("booster", ["gbtree", "gblinear"])
def test_xgboost_without_trees_is_refused(booster, tmp_path):
    model = xgb.XGBRegressor(n_estimators=0, booster=booster).fit(X, Y)
    model.save_model(tmp_path / "model.json")
    live = model, VotingRegressor([("a", model)]).fit(X, Y)
    for what in (*live, tmp_path / "model.json"):
        with pytest.raises(UnsupportedModelError, match="nothing to explain"):
            wb.explain(what, X[:3])
    with pytest.raises(UnsupportedModelError, match="nothing to explain"):
        wb.explain(tmp_path / "model.json", X[:3], X[:9])
    for what in live:  # evaluated, which takes no tree
        assert not wb.explain(what, X[:3], X[:9]).values.any()


@pytest.mark.parametrize("trees", [[], None])
def test_catboost_without_trees_is_refused(trees, tmp_path):
    path = tmp_path / "model.json"
    catboost().fit(X, Y).save_model(str(path), format="json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"oblivious_trees": trees}))
    with pytest.raises(UnsupportedModelError, match="no trees"):
        wb.explain(path, X[:3], X[:9])


def test_catboost_with_text_features_is_refused():
    rows = pd.DataFrame({"t": [f"word{i % 7} and word{i % 3}" for i in range(300)], "x": X[:, 0]})
    model = catboost(cb.CatBoostClassifier, text_features=["t"]).fit(rows, Y > 0)
    with pytest.raises(UnsupportedModelError, match="text or embedding"):
        wb.explain(model, rows[:3])


def test_what_the_models_own_predict_raises_is_ours():
    rows = pd.DataFrame(X, columns=["a", "b"])
    step = make_pipeline(SelectKBest(f_regression, k=1), DecisionTreeRegressor(max_depth=3))
    model = as_model(step.fit(rows, Y))

    def refuses(table):
        raise KeyError("no such column\nand more")

    model = replace(model, own_predict=replace(model.own_predict, predict=refuses))
    words = r"own predict refuses {} \(KeyError: .*no such column"
    with pytest.raises(InputError, match=words.format("these rows")):
        wb.explain(model, rows[:3])
    with pytest.raises(InputError, match=words.format("the background's rows")):
        wb.explain(model, rows[:3], rows)


def test_a_row_is_not_picked_by_a_name():
    got = wb.explain(DecisionTreeRegressor(max_depth=3).fit(X, Y), X[:5])
    for key in ("x0", ["x0"], 1.5, None, [0.5]):
        with pytest.raises(OptionError, match="row"):
            got[key]
    assert got[:, "x0"].shape == (5,)
    assert got[[True, False, True, False, True]].shape == (3, 2)
