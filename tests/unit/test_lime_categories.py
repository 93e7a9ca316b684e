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
from whybox.errors import DtypeError, OptionError
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


@pytest.mark.parametrize("key", ["x0", 0])
def test_numbers_can_be_declared_as_categories_by_name_or_position(key):
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(X, Y)
    e = wb.lime(model, X[:20], X, discretizer={key: "categories"})
    between = wb.lime(model, X[:20], X, discretizer={"x0": [0.5, 1.5, 2.5, 3.5]})
    assert e.evidence.exact
    np.testing.assert_allclose(e.values, between.values, atol=1e-12)
    assert e.extras["condition"][1][0, 0] == f"x0 = {X[0, 0]:.0f}"
    by_model = wb.lime(MODELS["LightGBM"](), X[:5], X, discretizer={key: "categories"})
    np.testing.assert_allclose(by_model.values, wb.lime(MODELS["LightGBM"](), X[:5], X).values)
    with pytest.raises(OptionError, match="'categories'"):
        wb.lime(model, X, X, discretizer={key: "codes"})


def test_edges_can_be_given_by_position():
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(X, Y)
    by_name = wb.lime(model, X[:5], X, discretizer={"x1": [0.0]})
    np.testing.assert_array_equal(wb.lime(model, X[:5], X, discretizer={1: [0.0]}).values, by_name.values)
    rules = [
        wb.anchors(lambda rows: model.predict(rows) > 1, X[:2], X, discretizer=d) for d in ({1: [0.0]}, {"x1": [0.0]})
    ]
    assert rules[0].extras["condition"][1].tolist() == rules[1].extras["condition"][1].tolist()
    with pytest.raises(OptionError, match="no column 2"):
        wb.lime(model, X[:5], X, discretizer={2: [0.0]})
