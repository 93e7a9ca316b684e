"""Numbers that a model reads as categories: a piece each value, whatever holds the table."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
from whybox.data.table import as_table
from whybox.errors import DtypeError
from whybox.methods.common.columns import category_positions
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.integers(0, 5, 300), RNG.normal(size=300)]).astype(float)
Y = np.array([0.0, 3.0, -1.0, 2.0, 5.0])[X[:, 0].astype(int)] + X[:, 1]


def mean_difference(predict, code):
    """Of an additive model: the mean output at the row's own category less that at all others."""
    each = np.array([predict(np.column_stack([np.full(300, float(c)), X[:, 1]])).mean() for c in range(5)])
    share = np.bincount(X[:, 0].astype(int)) / 300
    other = np.arange(5) != code
    return each[code] - share[other] @ each[other] / share[other].sum()


MODELS = {
    "LightGBM": lambda: lgb.LGBMRegressor(n_estimators=10, verbose=-1, num_leaves=4).fit(X, Y, categorical_feature=[0]),
    "HistGradientBoosting": lambda: HistGradientBoostingRegressor(max_iter=10, categorical_features=[0]).fit(X, Y),
}


@pytest.mark.parametrize("name", MODELS)
def test_codes_in_an_array_are_categories(name):
    model = MODELS[name]()
    rows = X[[0, 1]].copy()
    rows[1, 0] = 9.0
    e = wb.lime(model, rows, X)
    assert e.evidence.exact
    own = int(X[0, 0])
    assert e.extras["share"][1][0, 0] == pytest.approx((X[:, 0] == own).mean())
    assert e.extras["condition"][1][:, 0].tolist() == [f"x0 = {own}", "x0 = 9"]
    assert e.extras["share"][1][1, 0] == 0.0
    assert any("like none of the background" in n for n in e.evidence.notes)
    sampled = wb.lime(model, rows, X, method="sampled", max_evals=20_000, tol=1e-9)
    assert (np.abs(e.values - sampled.values) < 5 * sampled.std_error + 1e-9).all()


def test_one_hot_of_whole_numbers_is_a_piece_each_value():
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), [0]), remainder="passthrough"),
        DecisionTreeRegressor(max_leaf_nodes=5, random_state=0),
    ).fit(X, np.where(X[:, 0] == 1, 4.0, X[:, 0]))
    e = wb.lime(model, X[:4], X)
    for i in range(4):
        assert e.values[i, 0] == pytest.approx(mean_difference(model.predict, int(X[i, 0])), abs=1e-9)


def test_numbers_that_a_step_makes_categories_of_are_cut_into_bins():
    model = make_pipeline(
        KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
        HistGradientBoostingRegressor(max_iter=5, categorical_features=[0, 1]),
    ).fit(X, Y)
    assert category_positions(as_model(model), as_table(X)) == frozenset()
    assert "<" in wb.lime(model, X[:1], X).extras["condition"][1][0, 1]


def test_a_column_that_the_background_never_has_is_unseen():
    model = HistGradientBoostingRegressor(max_iter=5).fit(X, Y)
    background = X.copy()
    background[:, 1] = np.nan
    e = wb.lime(model, X[:1], background)
    assert e.extras["share"][1][0, 1] == 0.0


def test_words_beside_numbers_are_refused():
    frame = pd.DataFrame({"a": X[:, 1], "b": X[:, 0]})
    words = pd.DataFrame({"a": ["u"], "b": [1.0]})
    with pytest.raises(DtypeError, match="numbers in the background"):
        wb.lime(lambda t: t["b"].to_numpy(), words, frame)
