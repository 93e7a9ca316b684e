"""A row has the same bits in a call of any size: alone, among a hundred, among thousands, in any order, with any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from lightgbm import LGBMRegressor
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestRegressor
from xgboost import XGBClassifier, XGBRegressor

import whybox as wb
from whybox.methods.shap.plan import ROWS_PER_BLOCK

N, D = 20_000, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32).astype(np.float64)
X[RNG.random(X.shape) < 0.02] = np.nan
Y = np.nan_to_num(X[:, 0] * X[:, 1] + np.sin(X[:, 2]) + X[:, 3:].sum(axis=1))
FILLED = np.nan_to_num(X)

MODELS = {
    "XGBoost, shallow": lambda: XGBRegressor(n_estimators=30, max_depth=4, n_jobs=1).fit(X[:2000], Y[:2000]),
    "XGBoost, deep": lambda: XGBRegressor(n_estimators=20, max_depth=9, n_jobs=1).fit(X[:4000], Y[:4000]),
    "XGBoost, three classes": lambda: XGBClassifier(n_estimators=8, max_depth=5, n_jobs=1).fit(
        X[:2000], np.digitize(Y[:2000], [-1.0, 1.0])
    ),
    "LightGBM": lambda: LGBMRegressor(n_estimators=30, verbose=-1, n_jobs=1).fit(X[:3000], Y[:3000]),
    "histogram trees": lambda: HistGradientBoostingClassifier(max_iter=20, early_stopping=False).fit(
        X[:2000], Y[:2000] > 0
    ),
    "forest grown to purity": lambda: RandomForestRegressor(4, random_state=0).fit(FILLED[:2000], Y[:2000]),
    "gradient boosting": lambda: GradientBoostingRegressor(n_estimators=15, random_state=0).fit(
        FILLED[:1000], Y[:1000]
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_attributions_do_not_depend_on_the_rows_beside_a_row(name):
    model = MODELS[name]()
    rows = FILLED if name in ("forest grown to purity", "gradient boosting") else X
    whole = wb.explain(model, rows, spot_checks=0)
    assert len(rows) > ROWS_PER_BLOCK  # more than one block
    for some in (slice(17, 18), slice(0, 100), slice(300, 4396), np.r_[19_999, 5, 16_384, 16_383]):
        part = wb.explain(model, rows[some], spot_checks=0)
        assert part.evidence.kernel == whole.evidence.kernel
        np.testing.assert_array_equal(part.values, whole.values[some])
        np.testing.assert_array_equal(part.base, whole.base)
    kept = wb.explainers.TreeShap(model)
    for start in range(0, 90, 30):  # an explainer that is called again and again
        np.testing.assert_array_equal(kept(rows[start : start + 30]).values, whole.values[start : start + 30])


@pytest.mark.parametrize("name", ["XGBoost, shallow", "XGBoost, deep", "LightGBM", "forest grown to purity"])
def test_interactions_do_not_depend_on_the_rows_beside_a_row(name):
    model = MODELS[name]()
    rows = FILLED[:3000] if name == "forest grown to purity" else X[:3000]
    whole = wb.explain(model, rows, order=2, spot_checks=0)
    for some in (slice(17, 18), slice(0, 100), slice(300, 1301)):
        part = wb.explain(model, rows[some], order=2, spot_checks=0)
        np.testing.assert_array_equal(part.values, whole.values[some])
