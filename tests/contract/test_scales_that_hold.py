"""The scale of effects is that of the kind of model, also where one model of the kind cannot be read; and CatBoost files with their pool."""

import json

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from catboost import CatBoostClassifier, CatBoostRegressor, Pool
from sklearn.ensemble import AdaBoostClassifier, GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import whybox as wb
from whybox.errors import ModelFileError, OptionError, UnsupportedModelError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 2))
Y = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])
INFINITE = np.where((RNG.random(200) < 0.5)[:, None] & [True, False], -np.inf, X)


def catboost(y, **options):
    return CatBoostClassifier(iterations=8, verbose=0, allow_writing_files=False, **options).fit(INFINITE, y)


def margins(model, rows):
    return model.decision_function(rows)


UNREAD = {
    "CatBoost trained with -inf": lambda: (catboost(Y > 0), INFINITE, lambda m, r: m.predict(r, prediction_type="RawFormulaVal"), "log-odds"),
    "CatBoost trained with -inf, three classes": lambda: (
        catboost(Y), INFINITE, lambda m, r: m.predict(r, prediction_type="RawFormulaVal"), "log-odds (softmax)",
    ),
    "LightGBM that stops early": lambda: (
        lgb.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, pred_early_stop=True).fit(X, Y), X, lambda m, r: m.predict(r, raw_score=True), "log-odds (softmax)",
    ),
    "boosting on top of another model": lambda: (
        GradientBoostingClassifier(n_estimators=4, init=LogisticRegression()).fit(X, Y > 0), X, margins, "log-odds",
    ),
    "the same in a pipeline": lambda: (
        make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=4, init=LogisticRegression())).fit(X, Y), X, margins, "log-odds (softmax)",
    ),
    "the same in a search": lambda: (
        GridSearchCV(GradientBoostingClassifier(init=LogisticRegression()), {"n_estimators": [3]}, cv=2).fit(X, Y > 0), X, margins, "log-odds",
    ),
    "AdaBoost of something else": lambda: (AdaBoostClassifier(LogisticRegression(), n_estimators=4).fit(X, Y > 0), X, margins, "vote margin"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREAD)
def test_a_model_that_cannot_be_read_stays_on_the_scale_of_its_kind(name):
    model, rows, scores, units = UNREAD[name]()
    with pytest.raises(UnsupportedModelError):
        wb.explain(model, rows[:3])
    some, moved = rows[:30], rows[:30].copy()
    moved[:, 1] = 0.25
    raw, shares = np.asarray(scores(model, moved)), model.predict_proba(moved)
    raw = raw.reshape(30, -1).mean(axis=0)
    for scale in (None, "raw"):
        curve = wb.effects(model, some, 1, grid={1: [0.25]}, scale=scale)[0]
        assert curve.units == units
        assert np.allclose(curve.values.ravel(), raw)
        assert any("not read" in note for note in curve.evidence.notes)
    first = wb.effects(model, some, 1, grid={1: [0.25]}, output=str(model.classes_[0]))[0]
    assert first.values == pytest.approx(-raw[0] if len(raw) == 1 else raw[0])
    for scale in ("probability", "response"):
        curve = wb.effects(model, some, 1, grid={1: [0.25]}, scale=scale)[0]
        assert curve.units == "probability"
        assert np.allclose(curve.values.ravel(), shares.mean(axis=0)[1 if len(raw) == 1 else 0 :])


def test_a_poisson_model_stays_on_its_log():
    model = CatBoostRegressor(iterations=8, verbose=0, loss_function="Poisson", allow_writing_files=False).fit(
        INFINITE, Y
    )
    moved = INFINITE[:30].copy()
    moved[:, 1] = 0.25
    for scale, units, kind in (
        (None, "log of the prediction", "RawFormulaVal"),
        ("response", "prediction", "Exponent"),
    ):
        curve = wb.effects(model, INFINITE[:30], 1, grid={1: [0.25]}, scale=scale)[0]
        assert curve.units == units
        assert curve.values == pytest.approx(model.predict(moved, prediction_type=kind).mean())
    with pytest.raises(OptionError, match="not probabilities"):
        wb.effects(model, INFINITE[:30], 1, scale="probability")


def test_a_predict_of_the_users_own_is_asked_as_it_is():
    class Mine(xgb.XGBClassifier):
        def predict_proba(self, X, *args, **options):
            return np.full((len(X), 2), [0.9, 0.1])

    curve = wb.effects(Mine(n_estimators=2, n_jobs=1).fit(X, Y > 0), X[:20], 1)[0]
    assert curve.units == "probability"
    assert np.allclose(curve.values, 0.1)


def test_infinities_are_named_as_the_reason():
    with pytest.raises(UnsupportedModelError, match="trained with infinite values.*finite numbers in their place"):
        wb.explain(catboost(Y > 0), INFINITE[:3])


@pytest.mark.parametrize("one_hot", [2, 255])
def test_catboost_files_saved_with_their_pool(one_hot, tmp_path):
    rows = pd.DataFrame({
        "c": RNG.choice([*"abcdefgh", "ä ö", "日本", "", "a" * 100], 300), "k": RNG.choice([3, 17, -5, 2**40], 300), "x": RNG.normal(size=300)
    })  # fmt: skip
    pool = Pool(rows, rows.c.map(len) % 3 + rows.x + (rows.k == 17), cat_features=["c", "k"])
    model = CatBoostRegressor(
        iterations=20, verbose=0, one_hot_max_size=one_hot, max_ctr_complexity=1, allow_writing_files=False
    ).fit(pool)
    model.save_model(str(tmp_path / "m.json"), format="json", pool=pool)
    assert "cat_features_hash" in (tmp_path / "m.json").read_text()
    e = wb.explain(tmp_path / "m.json", rows[:40])
    assert np.allclose(e.prediction, model.predict(rows[:40]), atol=1e-12)
    assert np.array_equal(e.values, wb.explain(model, rows[:40]).values)
    page = json.loads((tmp_path / "m.json").read_text())
    page["features_info"]["cat_features_hash"][1]["hash"] ^= 1
    (tmp_path / "edited.json").write_text(json.dumps(page))
    with pytest.raises(ModelFileError, match="not that of its category"):
        wb.explain(tmp_path / "edited.json", rows[:4])


def test_catboosts_json_of_a_pool_without_categories_is_read(tmp_path):
    X = np.random.default_rng(0).normal(size=(80, 3))
    y = X[:, 0] * X[:, 1]
    model = CatBoostRegressor(iterations=3, depth=3, verbose=0, allow_writing_files=False).fit(X, y)
    path = str(tmp_path / "m.json")
    model.save_model(path, format="json", pool=Pool(X, y))  # which writes the hashes as null
    got = wb.explain(path, X[:5])
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, model.predict(X[:5]), atol=1e-12)
