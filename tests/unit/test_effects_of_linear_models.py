"""Effects of linear models from their weights: no predictions, and the numbers that predictions give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

import whybox as wb
from whybox.data.table import as_table
from whybox.errors import OptionError
from whybox.methods.common.output import raw_selection
from whybox.methods.common.rows import weighted_rows
from whybox.methods.effects import linear_evaluator
from whybox.methods.effects.linear_evaluator import LinearEvaluator
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.plan import plan_effects
from whybox.methods.effects.predict_evaluator import PredictEvaluator
from whybox.methods.effects.problem import resolve_effects
from whybox.models.registry import as_model

N = 60


def rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", "c"])
    X["kind"] = rng.choice(["red", "green", "blue"], N)
    return X


def classes(X):
    """Three classes, with codes made of one column side by side with numbers."""
    step = make_column_transformer((OneHotEncoder(), ["kind"]), (StandardScaler(), ["a", "b"]), ("passthrough", ["c"]))
    y = np.digitize(X.a - X.c + (X.kind == "red"), [-0.7, 0.7])
    return make_pipeline(step, LogisticRegression()).fit(X, y)


@pytest.mark.parametrize("scale", ["raw", "probability"])
@pytest.mark.parametrize("kind", ["pdp", "ice", "ale", "anova"])
@pytest.mark.parametrize("features", [["a", "kind"], [("a", "b")]])
def test_weights_give_what_predictions_give(scale, kind, features):
    X = rows()
    model = as_model(classes(X))
    options = EffectsOptions(scale=scale, sample_weight=np.linspace(0.5, 2.0, N))
    problem = resolve_effects(model, X, features, options, kind=kind, grid=5)
    oracle = PredictEvaluator(model, problem.rows, problem.selection)
    for members in problem.requested_features:
        evaluator, grids = problem.evaluator_of(members), [problem.make_grid(members)]
        assert isinstance(evaluator, LinearEvaluator)
        ours, theirs = (problem.effect_kind.compute_curves(e, grids)[0] for e in (evaluator, oracle))
        for name in ("values", "std_error", "skewness"):
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert (mine is None) == (other is None)
            if mine is not None:  # of parallel curves the skewness of a difference of zeros is rounding
                assert np.allclose(mine, other, rtol=1e-9, atol=1e-9, equal_nan=True), name
    assert oracle.n_predictions_made > 0


def test_no_prediction_is_made_for_the_curves():
    X = rows()[["a", "b", "c"]]
    model = PoissonRegressor().fit(X, np.exp(X.a / 2))
    curves = wb.effects(model, X, scale="response")
    for e in curves.values():
        assert e.evidence.kernel == "the model's weights"
        assert not any("predictions" in note for note in e.evidence.notes)
    by_hand = [model.predict(X.assign(a=v)).mean() for v in curves["a"].coords["point"]]
    assert np.allclose(curves["a"].values, by_hand, rtol=1e-12)
    plan = plan_effects(resolve_effects(model, X, None, EffectsOptions()))
    assert plan.predictions == 0
    assert plan.kernel == "the model's weights"
    assert plan.seconds < 60


def test_columns_that_are_mixed_take_predictions():
    X = rows()[["a", "b"]]
    model = make_pipeline(PolynomialFeatures(2), LinearRegression()).fit(X, X.a * X.b)
    e = wb.effects(model, X, "a")["a"]
    assert e.evidence.kernel.startswith("predictions")
    assert any("mixes this column with b before its weights read it" in note for note in e.evidence.notes)
    by_hand = [model.predict(X.assign(a=v)).mean() for v in e.coords["point"]]
    assert np.allclose(e.values, by_hand, rtol=1e-9, atol=1e-12)


def test_thresholds_are_of_trees():
    X = rows()[["a", "b"]]
    with pytest.raises(OptionError, match="a linear model has no thresholds"):
        wb.effects(LinearRegression().fit(X, X.a), X, grid="thresholds")


def test_interactions_of_a_sum_are_zero():
    X = rows()[["a", "b", "c"]].iloc[:25]
    found = wb.interactions(LinearRegression().fit(X, X.a - X.b), X)
    assert found.evidence.kernel == "the model's weights"
    assert np.abs(np.nan_to_num(found.values)).max() < 1e-12


def test_large_and_missing_values_of_the_feature_leave_no_trace_at_its_points():
    """The rest of a row is summed anew: taken from the whole sum it would have lost all digits."""
    X = np.array([[1e18, 1.0, 2.0], [-3e17, 0.25, np.nan], [np.nan, 3.0, 4.0]])
    model = as_model(LinearRegression().fit(np.eye(3), np.arange(3.0)))
    model = replace(model, weights=np.array([[1.0], [0.5], [0.25]]), base_values=np.array([0.125]))
    for infinite in (False, True):
        X[0, 0] = np.inf if infinite else 1e18
        evaluator = LinearEvaluator(model, weighted_rows(as_table(X), None), raw_selection(model.outputs))
        evaluator.model = replace(model, inputs=replace(model.inputs, encoder=lambda table: table.matrix()))
        assert np.array_equal(evaluator._sums_without([(0,)])[0][:, 0], [1.125, 0.25, 2.625])


def test_small_blocks_give_the_same(monkeypatch):
    X = rows()
    model = classes(X)
    before = wb.effects(model, X, scale="probability")
    monkeypatch.setattr(linear_evaluator, "_NUMBERS_HELD", 64)
    after = wb.effects(model, X, scale="probability")
    for name in before:
        assert np.allclose(before[name].values, after[name].values, rtol=1e-13)
