"""Offsets of rows against each library's own predict with them: base margins, initial scores, baselines, the log of an exposure."""

from __future__ import annotations

import catboost
import lightgbm
import numpy as np
import pandas as pd
import polars
import pytest
import xgboost
from interpret.glassbox import ExplainableBoostingClassifier, ExplainableBoostingRegressor
from scipy.sparse import csr_array
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, VotingRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import whybox as wb
from whybox.errors import ModelMismatchError

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(200, 4)), columns=list("abcd"))
COUNTS = RNG.poisson(np.exp(0.5 * X["a"] + 0.3 * X["b"] * X["c"]))
YES = (X["a"] + X["b"] * X["c"] > 0.2).astype(int).to_numpy()
KIND = np.digitize(X["a"], [-0.5, 0.5])
ONE, THREE = RNG.normal(size=200), RNG.normal(size=(200, 3))
CATEGORIES = X.assign(a=np.where(X["a"] > 0, "u", "v"))
ROWS, BACKGROUND = slice(0, 12), slice(50, 70)
QUIET = {"iterations": 6, "verbose": 0, "allow_writing_files": False, "depth": 3}


def total(e):
    return e.base_values + e.values.sum(axis=1)


def check(model, raw, response=None, offset=ONE, rows=X, background=None, atol=1e-6, **options):
    """The sums of explanations on the additive scale, and behind the link, are the library's own predictions of rows with offsets."""
    some, behind = rows[ROWS], rows[BACKGROUND]
    for of_background in (behind,) if background else (None, behind):
        e = wb.explain(model, some, of_background, offset=offset[ROWS], **options)
        np.testing.assert_allclose(total(e), raw, atol=atol)
        np.testing.assert_allclose(e.prediction, raw, atol=atol)
        np.testing.assert_allclose(e.base_values - e.base, e.offset, atol=1e-12)
        plain = wb.explain(model, some, of_background, **options)
        np.testing.assert_allclose(e.values, plain.values, atol=1e-12)
    if response is not None:
        e = wb.explain(model, some, behind, offset=offset[ROWS], scale="response", **options)
        np.testing.assert_allclose(total(e), response, atol=atol)
        np.testing.assert_allclose(e.prediction, response, atol=atol)
        assert e.evidence.exact
    return e


def compared_with(e):
    return next(note for note in e.evidence.notes if "Each row's offset is added" in note)


# XGBoost, whose base margin takes the place of the base score


@pytest.mark.parametrize("objective", ["reg:squarederror", "count:poisson", "reg:gamma", "reg:tweedie", "survival:cox"])
def test_xgboost(objective):
    y = COUNTS + 1.0
    model = xgboost.XGBRegressor(n_estimators=6, max_depth=3, objective=objective).fit(X, y, base_margin=ONE)
    raw = model.predict(X[ROWS], base_margin=ONE[ROWS], output_margin=True)
    e = check(model, raw, model.predict(X[ROWS], base_margin=ONE[ROWS]), atol=1e-5)
    assert "XGBRegressor.predict(base_margin=..., output_margin=True)" in compared_with(e)


def test_xgboost_classes():
    two = xgboost.XGBClassifier(n_estimators=6, max_depth=3, base_score=0.3).fit(X, YES, base_margin=ONE)
    own = {"base_margin": ONE[ROWS]}
    raw, shares = two.predict(X[ROWS], **own, output_margin=True), two.predict_proba(X[ROWS], **own)
    e = check(two, raw, shares[:, 1])
    assert "takes the place of the base score (-0.847298)" in compared_with(e)
    check(two, -raw, shares[:, 0], output="0")
    three = xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(X, KIND, base_margin=THREE)
    own = {"base_margin": THREE[ROWS]}
    raw, shares = three.predict(X[ROWS], **own, output_margin=True), three.predict_proba(X[ROWS], **own)
    check(three, raw, shares, offset=THREE)
    check(three, raw[:, 1], shares[:, 1], offset=THREE, output="1")


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.parametrize("several", [False, True])
def test_boosters_and_their_files(booster, several, tmp_path):
    offset, label = (THREE, KIND) if several else (ONE, COUNTS)
    objective = {"objective": "multi:softprob", "num_class": 3} if several else {"objective": "count:poisson"}
    data = xgboost.DMatrix(X, label=label, base_margin=offset)
    depth = {} if booster == "gblinear" else {"max_depth": 3}
    model = xgboost.train({**objective, "booster": booster, **depth}, data, 5)
    raw = model.predict(xgboost.DMatrix(X[ROWS], base_margin=offset[ROWS]), output_margin=True)
    linear = booster == "gblinear"
    check(model, raw, offset=offset, background=linear)
    if linear and several:
        return  # not read from a file, as versions differ
    for name in ("model.json", "model.ubj"):
        model.save_model(tmp_path / name)
        e = check(str(tmp_path / name), raw, offset=offset, background=linear)
        assert "read from a file" in compared_with(e)


def test_xgboost_after_early_stopping():
    model = xgboost.XGBClassifier(n_estimators=40, early_stopping_rounds=2)
    model.fit(X[:100], YES[:100], eval_set=[(X[100:], YES[100:])], verbose=False)
    assert model.best_iteration < 39
    check(model, model.predict(X[ROWS], base_margin=ONE[ROWS], output_margin=True))


def test_xgboost_of_sparse_rows():
    rows = csr_array(np.where(X > 0, X, 0.0))
    model = xgboost.XGBClassifier(n_estimators=5, base_score=0.4).fit(rows, YES)
    raw = model.predict(rows[:12], base_margin=ONE[:12], output_margin=True)
    for options in ({}, {"sparse": True}, {"sparse": True, "order": 2}, {"order": 2}):
        e = wb.explain(model, rows[:12], offset=ONE[:12], **options)
        np.testing.assert_allclose(e.base_values + e.values.sum(axis=tuple(range(1, e.values.ndim))), raw, atol=1e-6)


def test_a_wrong_base_score_is_found():
    from dataclasses import replace

    from whybox.models.registry import as_model

    model = xgboost.XGBClassifier(n_estimators=3, base_score=0.3).fit(X, YES)
    read = as_model(model)
    wrong = replace(read, offset_rule=replace(read.offset_rule, replaced=np.zeros(1)))  # base score and offset both
    with pytest.raises(ModelMismatchError, match=r"row \d+ with its offset"):
        wb.explain(wrong, X[ROWS], offset=ONE[ROWS])
    with pytest.raises(ModelMismatchError, match=r"row \d+ with its offset"):
        wb.explain(wrong, X[ROWS], X[BACKGROUND], "exact_shap", offset=ONE[ROWS])


# LightGBM, whose predict knows no initial scores; CatBoost; explainable boosting machines


def test_lightgbm(tmp_path):
    model = lightgbm.LGBMRegressor(objective="poisson", n_estimators=6, verbose=-1).fit(X, COUNTS, init_score=ONE)
    raw = model.predict(X[ROWS], raw_score=True) + ONE[ROWS]
    e = check(model, raw, np.exp(raw), atol=1e-9)
    assert "No predict of the library takes offsets" in compared_with(e)
    model.booster_.save_model(tmp_path / "model.txt")
    check(str(tmp_path / "model.txt"), raw, np.exp(raw), atol=1e-9)


@pytest.mark.parametrize("loss", ["RMSE", "Poisson"])
def test_catboost(loss):
    model = catboost.CatBoostRegressor(loss_function=loss, **QUIET).fit(X, COUNTS)
    assert loss == "Poisson" or model.get_scale_and_bias()[1] != 0
    pool = catboost.Pool(X[ROWS], baseline=ONE[ROWS])
    raw = model.predict(pool, prediction_type="RawFormulaVal")
    e = check(model, raw, None if loss == "RMSE" else model.predict(pool, prediction_type="Exponent"))
    assert "CatBoostRegressor.predict(Pool(..., baseline=...)" in compared_with(e)


def test_catboost_classes_and_categories():
    three = catboost.CatBoostClassifier(loss_function="MultiClass", **QUIET).fit(catboost.Pool(X, KIND, baseline=THREE))
    pool = catboost.Pool(X[ROWS], baseline=THREE[ROWS])
    raw, shares = (three.predict(pool, prediction_type=t) for t in ("RawFormulaVal", "Probability"))
    check(three, raw, shares, offset=THREE)
    two = catboost.CatBoostClassifier(cat_features=["a"], **QUIET).fit(CATEGORIES, YES)
    pool = catboost.Pool(CATEGORIES[ROWS], baseline=ONE[ROWS], cat_features=["a"])
    raw = two.predict(pool, prediction_type="RawFormulaVal")
    check(two, raw, rows=CATEGORIES)
    e = wb.explain(two, polars.from_pandas(CATEGORIES[ROWS]), offset=ONE[ROWS])
    np.testing.assert_allclose(total(e), raw, atol=1e-6)


def test_explainable_boosting_machines():
    two = ExplainableBoostingClassifier(outer_bags=1, max_rounds=10).fit(X, YES, init_score=ONE)
    raw = two.decision_function(X[ROWS], init_score=ONE[ROWS])
    check(two, raw, two.predict_proba(X[ROWS], init_score=ONE[ROWS])[:, 1], background=True)
    model = ExplainableBoostingRegressor(objective="poisson_deviance", outer_bags=1, max_rounds=10).fit(X, COUNTS)
    response = model.predict(X[ROWS], init_score=ONE[ROWS])
    check(model, np.log(response), response, background=True)


# scikit-learn, which has none; and what stands around other models


def test_an_exposure():
    model = PoissonRegressor().fit(X, COUNTS)
    raw = np.log(model.predict(X[ROWS])) + ONE[ROWS]
    check(model, raw, np.exp(raw), background=True, atol=1e-9)
    e = wb.explain(model, X[ROWS], X[BACKGROUND], "linear_shap_correlated", offset=ONE[ROWS])
    np.testing.assert_allclose(total(e), raw, atol=1e-9)
    trees = HistGradientBoostingRegressor(loss="poisson", max_iter=5).fit(X, COUNTS)
    raw = np.log(trees.predict(X[ROWS])) + ONE[ROWS]
    check(trees, raw, np.exp(raw), atol=1e-9)


def test_what_stands_around_a_model():
    def boosted():
        return xgboost.XGBClassifier(n_estimators=5, base_score=0.3)

    own = {"base_margin": ONE[ROWS]}
    pipeline = make_pipeline(StandardScaler(), boosted()).fit(X, YES)
    scaled = pipeline[0].transform(X[ROWS])
    raw, shares = (pipeline[1].predict(scaled, **own, output_margin=True), pipeline[1].predict_proba(scaled, **own))
    e = check(pipeline, raw, shares[:, 1])
    assert "Every row was compared with XGBClassifier.predict" in compared_with(e)
    search = GridSearchCV(make_pipeline(StandardScaler(), boosted()), {"xgbclassifier__max_depth": [2]}, cv=2)
    search.fit(X, YES)
    last = search.best_estimator_[1]
    check(search, last.predict(search.best_estimator_[0].transform(X[ROWS]), **own, output_margin=True))
    y = np.exp(X["a"])
    around = TransformedTargetRegressor(xgboost.XGBRegressor(n_estimators=5), func=np.log1p, inverse_func=np.expm1)
    around.fit(X, y)
    check(around, around.regressor_.predict(X[ROWS], **own), around.predict(X[ROWS], **own), atol=1e-5)
    bound = wb.explain(boosted().fit(X, YES).predict_proba, X[ROWS], X[BACKGROUND], offset=ONE[ROWS])
    np.testing.assert_allclose(total(bound), boosted().fit(X, YES).predict_proba(X[ROWS], **own)[:, 1], atol=1e-6)


def test_an_average_has_no_base_margin():
    members = [("one", xgboost.XGBRegressor(n_estimators=5)), ("two", xgboost.XGBRegressor(n_estimators=3))]
    model = VotingRegressor(members).fit(X, COUNTS)
    e = check(model, model.predict(X[ROWS]) + ONE[ROWS])
    assert "No predict of the library takes offsets" in compared_with(e)


def test_a_column_holds_them():
    model = xgboost.XGBClassifier(n_estimators=5).fit(X.to_numpy(), YES)  # which knows no names
    raw = model.predict(X[ROWS], base_margin=ONE[ROWS], output_margin=True)
    frame = X.assign(margin=ONE)[["a", "margin", "b", "c", "d"]]
    for rows in (frame[ROWS], polars.from_pandas(frame[ROWS]), frame[ROWS].to_dict("list")):
        background = frame[BACKGROUND] if isinstance(rows, pd.DataFrame) else None
        e = wb.explain(model, rows, background, offset="margin")
        np.testing.assert_allclose(total(e), raw, atol=1e-6)
        assert e.feature_names == ("a", "b", "c", "d")
