"""scikit-learn as people set it up: output containers, clones, searches, calibration, thresholds, metadata routing; compared with the plain model's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler

import whybox as wb
from whybox.errors import DtypeError, UnsupportedModelError, WhyboxError

CONTAINERS = ("default", "pandas", "polars")


@pytest.fixture(scope="module")
def numbers():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    return X[["age", "bmi", "bp", "s5"]], y


@pytest.fixture(scope="module")
def classes():
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    names = ["mean radius", "mean texture", "worst area", "worst concavity"]
    return X[names], y.map({0: "malignant", 1: "benign"})


def regressor():
    return HistGradientBoostingRegressor(max_iter=10, random_state=0)


def classifier():
    return HistGradientBoostingClassifier(max_iter=10, random_state=0)


def steps():
    return ColumnTransformer([("scale", StandardScaler(), ["age", "bmi"])], remainder="passthrough")


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("setting", ["set_output", "config_context"])
def test_the_container_of_transformed_rows_changes_no_number(numbers, container, setting):
    X, y = numbers
    plain = make_pipeline(steps(), regressor()).fit(X, y)
    right = wb.explain(plain, X[:6], X[:40])
    if setting == "set_output":
        pipeline = make_pipeline(steps(), regressor()).set_output(transform=container).fit(X, y)
        e = wb.explain(pipeline, X[:6], X[:40])
        assert wb.effects(pipeline, X[:40], ["bmi"])["bmi"].values.shape
    else:
        with config_context(transform_output=container):
            pipeline = make_pipeline(steps(), regressor()).fit(X, y)
            e = wb.explain(pipeline, X[:6], X[:40])
        np.testing.assert_array_equal(wb.explain(pipeline, X[:6], X[:40]).values, right.values)  # and outside
    assert e.evidence.method_id == "shap.tree_shap"
    assert e.feature_names == ("age", "bmi", "bp", "s5")
    np.testing.assert_array_equal(e.values, right.values)


def test_a_clone_is_the_model_that_it_becomes(numbers):
    X, y = numbers
    model = regressor().fit(X, y)
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(wb.explain(again, X[:6], X[:40]).values, wb.explain(model, X[:6], X[:40]).values)
    with pytest.raises(WhyboxError, match="fit"):
        wb.explain(clone(model), X[:6], X[:40])


SEARCHES = {
    "grid": lambda m: GridSearchCV(m, {"max_depth": [2, 3]}, cv=2),
    "random": lambda m: RandomizedSearchCV(m, {"max_depth": [2, 3]}, n_iter=2, cv=2, random_state=0),
    "halving": lambda m: HalvingGridSearchCV(m, {"max_depth": [2, 3]}, cv=2, random_state=0),
    "frozen": FrozenEstimator,
}


@pytest.mark.parametrize("name", SEARCHES)
def test_searches_are_their_best_model(numbers, name):
    X, y = numbers
    found = SEARCHES[name](regressor().fit(X, y)).fit(X, y)
    inside = getattr(found, "best_estimator_", None) or found.estimator
    e = wb.explain(found, X[:6], X[:40])
    np.testing.assert_array_equal(e.values, wb.explain(inside, X[:6], X[:40]).values)
    assert wb.importance(found, X[:80], y[:80]).feature_names == e.feature_names
    assert wb.lime(found, X[:2], X[:40]).evidence.method_id.startswith("lime")


THRESHOLDS = {
    "tuned": lambda m: TunedThresholdClassifierCV(m, cv=2),
    "fixed": lambda m: FixedThresholdClassifier(m, threshold=0.3),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_threshold_changes_labels_and_no_score(classes, name):
    X, y = classes
    model = THRESHOLDS[name](classifier()).fit(X, y)
    e = wb.explain(model, X[:6], X[:40])
    np.testing.assert_array_equal(e.values, wb.explain(model.estimator_, X[:6], X[:40]).values)
    assert any("threshold" in note for note in e.evidence.notes)


PROBABILITIES = {
    "calibrated": lambda m: CalibratedClassifierCV(m, cv=2),
    "calibrated, frozen": lambda m: CalibratedClassifierCV(FrozenEstimator(m)),
    "votes": lambda m: VotingClassifier([("a", m), ("b", scaled_logistic())], voting="soft"),
    "stacked": lambda m: StackingClassifier([("a", m), ("b", scaled_logistic())], cv=2),
}


def scaled_logistic():
    return make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize("name", PROBABILITIES)
def test_curves_on_top_of_models_are_evaluated_on_their_own_probabilities(classes, name, tmp_path):
    X, y = classes
    model = PROBABILITIES[name](classifier().fit(X, y)).fit(X, y)
    e = wb.explain(model, X[:6], X[:40])
    assert e.evidence.exact
    np.testing.assert_allclose(e.prediction, model.predict_proba(X[:6])[:, 1], atol=1e-12)
    base = model.predict_proba(X[:40])[:, 1].mean()
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base, e.prediction, atol=1e-12)
    np.testing.assert_allclose(e.base, base, atol=1e-12)
    curve = wb.effects(model, X[:30], ["worst area"], scale="probability")["worst area"]
    changed = X[:30].assign(**{"worst area": curve.grid[2]})
    np.testing.assert_allclose(curve.values[2], model.predict_proba(changed)[:, 1].mean(), atol=1e-12)


def test_hard_votes_are_refused(classes):
    X, y = classes
    model = VotingClassifier([("a", classifier()), ("b", scaled_logistic())], voting="hard").fit(X, y)
    with pytest.raises(DtypeError, match="predict_proba"):
        wb.explain(model, X[:6], X[:40])


REGRESSORS = {
    "votes": lambda: VotingRegressor([("a", regressor()), ("b", Ridge())]),
    "stacked": lambda: StackingRegressor([("a", regressor()), ("b", Ridge())], cv=2),
    "log target": lambda: TransformedTargetRegressor(regressor(), func=np.log1p, inverse_func=np.expm1),
    "target of quantiles": lambda: TransformedTargetRegressor(
        regressor(), transformer=QuantileTransformer(n_quantiles=20)
    ),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_combined_regressors_answer_as_they_predict(numbers, name):
    X, y = numbers
    model = REGRESSORS[name]().fit(X, y)
    e = wb.explain(model, X[:6], X[:40], scale="response")
    np.testing.assert_allclose(e.prediction, model.predict(X[:6]), rtol=1e-10)
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base, e.prediction, rtol=1e-10)
    np.testing.assert_allclose(e.base, model.predict(X[:40]).mean(), rtol=1e-10)


def test_weights_of_samples_and_metadata_routing(classes):
    X, y = classes
    weights = np.linspace(0.1, 1.0, len(X))
    plain = make_pipeline(StandardScaler(), classifier())
    plain.fit(X, y, histgradientboostingclassifier__sample_weight=weights)
    right = wb.explain(plain, X[:6], X[:40])
    with config_context(enable_metadata_routing=True):
        last = classifier().set_fit_request(sample_weight=True)
        routed = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), last)
        routed.fit(X, y, sample_weight=weights)
        np.testing.assert_array_equal(wb.explain(routed, X[:6], X[:40]).values, right.values)
        scored = wb.importance(routed, X[:100], y[:100])
        search = GridSearchCV(LogisticRegression(max_iter=5000).set_fit_request(sample_weight=True).set_score_request(sample_weight=True), {"C": [0.1, 1.0]}, cv=2)  # fmt: skip
        search.fit(X, y, sample_weight=weights)
        within = wb.explain(search, X[:6], X[:40])
    np.testing.assert_array_equal(wb.explain(routed, X[:6], X[:40]).values, right.values)
    np.testing.assert_array_equal(within.values, wb.explain(search.best_estimator_, X[:6], X[:40]).values)
    np.testing.assert_array_equal(scored.values, wb.importance(routed, X[:100], y[:100]).values)


def test_importance_of_columns_that_a_step_multiplies_with_each_other(numbers):
    X, y = numbers
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge()).fit(X, y)
    assert wb.explain(model, X[:4], X[:40]).feature_names == tuple(X.columns)
    with pytest.raises(UnsupportedModelError, match="response_method='predict'"):
        wb.importance(model, X[:120], y[:120])
    found = wb.importance(model, X[:120], y[:120], response_method="predict")
    assert found.feature_names == tuple(X.columns)
    assert float(found["bmi"]) > float(found["age"])
