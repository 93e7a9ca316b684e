"""LIME without a sample of models behind steps that scale or transform each column, against the same model without them and against a sample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    QuantileTransformer,
    StandardScaler,
)

import whybox as wb
from whybox.errors import UnsupportedModelError

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.lognormal(size=300), RNG.normal(size=300), RNG.uniform(-1, 1, 300)])
Y = np.log(X[:, 0]) * X[:, 1] + X[:, 2]
ROWS = np.vstack([X[:6], [[40.0, 0.0, 0.5]]])  # the last beyond the background


def plain(model):
    def predict(rows):
        return model.predict(rows)

    return predict


@pytest.mark.parametrize(
    "options", [{}, {"discretizer": "decile"}, {"discretizer": None}, {"kernel_width": 0.4}], ids=str
)
def test_a_line_before_the_trees_changes_nothing(options):
    behind = make_pipeline(MinMaxScaler((-1, 7)), RandomForestRegressor(8, max_depth=5, random_state=0)).fit(X, Y)
    alone = RandomForestRegressor(8, max_depth=5, random_state=0).fit(X, Y)
    rows = ROWS[:6] if "discretizer" in options and options["discretizer"] is None else ROWS
    one, other = (wb.lime(m, rows, X, **options) for m in (behind, alone))
    assert one.evidence.exact
    # thresholds lie half-way between two values in both, but for their rounding to float32
    np.testing.assert_allclose(one.values, other.values, atol=2e-5)


@pytest.mark.parametrize(
    "step",
    [
        StandardScaler(),
        QuantileTransformer(n_quantiles=20),
        KBinsDiscretizer(4, encode="ordinal", quantile_method="linear"),
    ],
    ids=lambda s: type(s).__name__,
)
@pytest.mark.parametrize("frame", [False, True])
def test_steps_that_keep_the_order_are_read(step, frame):
    table = pd.DataFrame(X, columns=list("abc")) if frame else X
    rows = pd.DataFrame(ROWS, columns=list("abc")) if frame else ROWS
    model = make_pipeline(step, RandomForestRegressor(8, max_depth=5, random_state=0)).fit(table, Y)
    exact = wb.lime(model, rows, table)
    assert exact.evidence.exact
    sampled = wb.lime(plain(model), rows, table, tol=1e-9, max_evals=20_000)
    assert np.abs((exact.values - sampled.values) / np.maximum(sampled.std_error, 1e-9)).max() < 5


def test_a_scaled_linear_booster_is_read_and_other_curves_are_not():
    model = make_pipeline(StandardScaler(), xgb.XGBRegressor(booster="gblinear", n_estimators=20)).fit(X, Y)
    exact = wb.lime(model, ROWS, X)
    assert exact.evidence.exact
    sampled = wb.lime(plain(model), ROWS, X)
    assert (np.abs(exact.values - sampled.values) < 5 * sampled.std_error + 1e-5).all()
    per_deviation = wb.lime(model, X[:2], X, discretizer=None)
    weights = (model.predict(X[:1] + np.eye(3)) - model.predict(X[:1])) * X.std(axis=0)
    np.testing.assert_allclose(per_deviation.values[0], weights, rtol=1e-3)
    bent = make_pipeline(FunctionTransformer(np.cbrt), xgb.XGBRegressor(booster="gblinear", n_estimators=20)).fit(X, Y)
    assert "not along a line" in " ".join(wb.lime(bent, ROWS, X).evidence.notes)


def test_a_step_that_turns_the_order_is_sampled():
    model = make_pipeline(FunctionTransformer(np.negative), RandomForestRegressor(4, random_state=0)).fit(X, Y)
    found = wb.lime(model, ROWS[:2], X)
    assert not found.evidence.exact
    assert "changes the order of the numbers" in " ".join(found.evidence.notes)


def test_columns_that_a_step_mixes_have_values_of_their_own():
    model = make_pipeline(PCA(2), RandomForestRegressor(8, max_depth=4, random_state=0)).fit(X, Y)
    found = wb.lime(model, ROWS, X)
    assert "a step of the model mixes 'x0', 'x1', 'x2'" in " ".join(found.evidence.notes)
    assert found.evidence.spot_checks.numbers > 20
    np.testing.assert_allclose(found.values, wb.lime(plain(model), ROWS, X).values, atol=1e-9)
    with pytest.raises(UnsupportedModelError, match="mixes all its columns"):
        wb.lime(model, ROWS, X, method="exact")
    some = make_pipeline(
        make_column_transformer((PCA(1), [0, 1]), remainder="passthrough"), RandomForestRegressor(8, random_state=0)
    ).fit(X, Y)
    together = wb.lime(some, ROWS, X, players={"two": ["x0", "x1"]})
    assert together.evidence.exact
    assert together.feature_names == wb.lime(some, ROWS, X, method="exact", players={"two": ["x0", "x1"]}).feature_names
    assert wb.lime(some, ROWS, X).feature_names == ("x0", "x1", "x2")
