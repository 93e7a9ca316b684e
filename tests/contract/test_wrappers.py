"""Estimators around other estimators: what they predict is explained, not what the estimator inside would."""

from __future__ import annotations

import pickle

import catboost
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import RFE
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

import whybox as wb
import zoo
from oracles import brute_frame
from whybox.errors import ModelMismatchError, UnsupportedModelError
from whybox.explainers import TreeShap
from whybox.models.registry import as_model

X, Y = zoo.X(), zoo.binary()
BACKGROUND = X.iloc[200:220]


def brute(predict, row):
    return brute_frame(predict, row, BACKGROUND)


def boosted(**options):
    return HistGradientBoostingClassifier(**{"max_iter": 6, "random_state": 0} | options)


def smoted(*steps):
    pipeline, sampling = (pytest.importorskip(f"imblearn.{name}") for name in ("pipeline", "over_sampling"))
    return pipeline.make_pipeline(*steps[:-1], sampling.SMOTE(random_state=0), steps[-1])


# Links inside: no sum over trees, so the model's own predict is evaluated.

BEHIND_LINKS = {
    "CalibratedClassifierCV, sigmoid": lambda: CalibratedClassifierCV(boosted(), cv=2),
    "CalibratedClassifierCV, isotonic": lambda: CalibratedClassifierCV(boosted(), cv=2, method="isotonic"),
    "CalibratedClassifierCV, frozen": lambda: CalibratedClassifierCV(FrozenEstimator(boosted().fit(X, Y))),
    "VotingClassifier": lambda: VotingClassifier(
        [("a", boosted()), ("b", xgboost.XGBClassifier(n_estimators=4, max_depth=3))], voting="soft"
    ),
    "BaggingClassifier": lambda: BaggingClassifier(boosted(), n_estimators=3, random_state=0),
    "StackingClassifier": lambda: StackingClassifier(
        [("a", boosted()), ("b", LogisticRegression(max_iter=3000))], cv=2
    ),
}


@pytest.mark.parametrize("name", BEHIND_LINKS)
def test_models_with_links_inside_are_exact_with_a_background_and_say_so_without(name):
    model = BEHIND_LINKS[name]().fit(X, Y)
    row = X.iloc[[3]]
    found = wb.explain(model, row, BACKGROUND)
    assert found.std_error is None
    want = brute(lambda rows: model.predict_proba(rows)[:, 1], row)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-9)
    with pytest.raises(UnsupportedModelError, match="background=X_train"):
        wb.explain(model, row)


@pytest.mark.parametrize("name", ["CalibratedClassifierCV, sigmoid", "BaggingClassifier", "StackingClassifier"])
def test_models_with_links_inside_have_effects_importance_and_local_models(name):
    model = BEHIND_LINKS[name]().fit(X, Y)
    curve = wb.effects(model, X[:40], ["bmi"], grid=4)["bmi"]
    changed = [X[:40].assign(bmi=point) for point in curve.grid]
    want = [model.predict_proba(rows)[:, 1].mean() for rows in changed]
    np.testing.assert_allclose(curve.values, want, rtol=0, atol=1e-9)
    assert np.isfinite(wb.importance(model, X[:60], Y[:60]).values).all()
    assert np.isfinite(wb.lime(model, X[:2], X[:60]).values).all()


def test_models_with_links_inside_of_many_columns_are_sampled_with_errors():
    rng = np.random.default_rng(0)
    many = rng.normal(size=(200, 24))
    target = (many[:, :6].sum(axis=1) + rng.normal(size=200) > 0).astype(int)
    model = BaggingClassifier(boosted(), n_estimators=3, random_state=0).fit(many, target)
    found = wb.explain(model, many[:2], many[100:150], seed=1)
    assert found.std_error is not None
    assert (np.isfinite(found.std_error)).all()
    predictions = model.predict_proba(many[:2])[:, 1]
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), predictions, rtol=0, atol=1e-9)


# Thin wrappers.


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_a_threshold_changes_labels_and_no_explanation(threshold):
    model = FixedThresholdClassifier(boosted(), threshold=threshold).fit(X, Y)
    row = X.iloc[[5]]
    found = wb.explain(model, row, BACKGROUND, scale="probability")
    want = brute(lambda rows: model.predict_proba(rows)[:, 1], row)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-9)
    assert any(f"The threshold ({threshold:g}) of FixedThresholdClassifier" in note for note in found.evidence.notes)
    with pytest.raises(UnsupportedModelError, match="gives labels of classes"):
        wb.explain(model.predict, row, BACKGROUND)


def test_a_wrapper_that_was_not_fitted_around_a_fitted_model_is_read_or_refused_as_it_predicts():
    inner = boosted().fit(X, Y)
    assert as_model(FrozenEstimator(inner)).inputs.names == tuple(X.columns)
    with pytest.raises(UnsupportedModelError, match="not fitted"):
        as_model(FixedThresholdClassifier(boosted()))


def test_a_self_trained_model_is_read_by_the_names_of_its_frame():
    partly = Y.copy()
    partly[::3] = -1
    model = SelfTrainingClassifier(lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)).fit(X, partly)
    found = as_model(model)
    assert found.inputs.names == tuple(X.columns)
    mixed = X[list(reversed(X.columns))]
    np.testing.assert_array_equal(
        wb.explain(model, mixed[:3], BACKGROUND).values, wb.explain(model, X[:3], BACKGROUND).values
    )


def test_a_wrapper_of_a_model_that_is_not_read_stays_on_its_additive_scale_and_knows_another_fit():
    inner = make_pipeline(Doubled(), xgboost.XGBClassifier(n_estimators=4, max_depth=3))
    model = FixedThresholdClassifier(inner, threshold=0.3).fit(X, Y)
    curve = wb.effects(model, X[:40], ["bmi"], grid=3)["bmi"]
    changed = [X[:40].assign(bmi=point).to_numpy() * 2 for point in curve.grid]
    want = [model.estimator_[-1].predict(rows, output_margin=True).mean() for rows in changed]
    np.testing.assert_allclose(curve.values, want, rtol=0, atol=1e-5)
    model.fit(X, Y[::-1])
    with pytest.raises(ModelMismatchError, match="fitted again"):
        curve.at([25.0])


def test_a_selection_that_was_fitted_again_is_refused_before_its_columns_are_mixed_up():
    model = RFE(RandomForestClassifier(5, max_depth=3, random_state=0), n_features_to_select=2).fit(X, Y)
    explainer = TreeShap(model)
    assert (explainer(X[:5]).values[:, ~model.support_] == 0).all()
    again = pickle.loads(pickle.dumps(explainer))
    np.testing.assert_array_equal(again(X[:5]).values, explainer(X[:5]).values)
    model.fit(X, zoo.three() == 1)
    with pytest.raises(ModelMismatchError, match="fitted again"):
        explainer(X[:5])


def test_a_frozen_transformer_is_traced_as_the_transformer_inside():
    from sklearn.compose import ColumnTransformer

    rows = zoo.categories(kind="text")
    columns = ColumnTransformer([("c", OneHotEncoder(handle_unknown="ignore"), ["age"])], remainder="passthrough")
    model = make_pipeline(FrozenEstimator(columns.fit(rows)), RandomForestClassifier(5, max_depth=3)).fit(rows, Y)
    found = as_model(model)
    assert found.inputs.group_columns() == tuple((i,) for i in range(5))
    assert "young" in found.inputs.encoder.learned_categories(None)[0].categories


def test_members_of_a_multi_output_model_whose_links_differ_are_evaluated():
    truth = np.column_stack([Y, zoo.three()])
    model = MultiOutputClassifier(boosted()).fit(X, truth)
    with pytest.raises(UnsupportedModelError, match="links"):
        as_model(model)
    found = wb.explain(model, X[:2], BACKGROUND)
    probabilities = np.column_stack([model.predict_proba(X[:2])[0][:, 1:], model.predict_proba(X[:2])[1]])
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), probabilities, rtol=0, atol=1e-9)


# Objects that hold several models.


def test_the_boosters_of_a_cross_validation_are_named():
    data = lightgbm.Dataset(X, label=Y)
    options = {"objective": "binary", "verbose": -1, "num_threads": 1}
    held = lightgbm.cv(options, data, num_boost_round=3, nfold=3, return_cvbooster=True)["cvbooster"]
    for ask in (
        lambda: wb.explain(held, X[:2]),
        lambda: wb.explain(held, X[:2], BACKGROUND),
        lambda: wb.effects(held, X[:20], ["bmi"]),
        lambda: wb.effects(held, X[:20], ["bmi"], response_method="predict"),
        lambda: wb.lime(held, X[:2], X[:40]),
    ):
        with pytest.raises(WRONG, match=r"boosters\[0\]|no such method"):
            ask()
    assert wb.explain(held.boosters[0], X[:2], BACKGROUND).values.shape == (2, 5)


WRONG = (UnsupportedModelError, wb.errors.OptionError)


def cat(kind, target, **options):
    quiet = {"iterations": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
    return kind(**quiet | options).fit(X, target)


def test_a_sum_of_models_of_one_loss_is_read_on_the_scale_that_it_predicts():
    members = [cat(catboost.CatBoostRegressor, zoo.y(), loss_function="Poisson", depth=d) for d in (2, 3)]
    for model in (catboost.sum_models(members), catboost.to_regressor(catboost.sum_models(members))):
        found = wb.explain(model, X[:3], BACKGROUND, scale="response")
        # catboost itself predicts the sum of the logs, not its exponential
        np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.predict(X[:3]), rtol=0, atol=1e-9)
        assert found.evidence.method_id == "shap.tree_shap"
    alone = catboost.to_regressor(members[0])
    found = wb.explain(alone, X[:3], BACKGROUND, scale="response")
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), alone.predict(X[:3]), rtol=1e-9)


def test_a_sum_of_classifiers_keeps_their_classes():
    labels = np.array(["low", "high"])[Y]
    members = [cat(catboost.CatBoostClassifier, labels, depth=d) for d in (2, 3)]
    model = catboost.to_classifier(catboost.sum_models(members, weights=[0.2, 0.8]))
    assert as_model(model).outputs.names == ("low",)
    found = wb.explain(model, X[:3], BACKGROUND, scale="probability")
    np.testing.assert_allclose(
        found.base + found.values.sum(axis=1), model.predict_proba(X[:3])[:, 1], rtol=0, atol=1e-9
    )


def test_a_sum_of_models_of_several_losses_is_evaluated():
    members = [
        cat(catboost.CatBoostRegressor, zoo.y()),
        cat(catboost.CatBoostRegressor, zoo.y(), loss_function="Quantile:alpha=0.3"),
    ]
    model = catboost.sum_models(members)
    with pytest.raises(UnsupportedModelError, match="all must have the same loss"):
        as_model(model)
    found = wb.explain(model, X[:2], BACKGROUND)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.predict(X[:2]), rtol=0, atol=1e-9)


# imbalanced-learn: samplers do nothing when a pipeline predicts.


class Doubled(BaseEstimator, TransformerMixin):
    """A step that does not say how many columns it takes, so that no Pipeline that begins with it is read."""

    def fit(self, X, y=None):
        del X, y
        return self

    def transform(self, X):
        return np.asarray(X, dtype=float) * 2

    def __sklearn_is_fitted__(self):
        return True


def test_a_pipeline_with_a_sampler_that_is_not_read_stays_on_its_additive_scale():
    model = smoted(Doubled(), xgboost.XGBClassifier(n_estimators=4, max_depth=3)).fit(X, Y)
    with pytest.raises(UnsupportedModelError):
        as_model(model)
    curve = wb.effects(model, X[:40], ["bmi"], grid=3)["bmi"]
    changed = [X[:40].assign(bmi=point).to_numpy() * 2 for point in curve.grid]
    want = [model[-1].predict(rows, output_margin=True).mean() for rows in changed]
    np.testing.assert_allclose(curve.values, want, rtol=0, atol=1e-5)


def test_a_method_of_a_pipeline_with_a_sampler_is_that_pipeline():
    model = smoted(StandardScaler(), boosted()).fit(X, Y)
    row = X.iloc[[7]]
    found = wb.explain(model.predict_proba, row, BACKGROUND)
    want = brute(lambda rows: model.predict_proba(rows)[:, 1], row)
    np.testing.assert_allclose(found.values[0], want, rtol=0, atol=1e-9)
    assert found.evidence.method_id == "shap.tree_shap"
    assert any(note.startswith("Its sampler (SMOTE) changed the rows of training") for note in found.evidence.notes)


def test_texts_go_through_a_pipeline_with_a_sampler():
    from sklearn.feature_extraction.text import TfidfVectorizer

    pipeline, sampling = (pytest.importorskip(f"imblearn.{name}") for name in ("pipeline", "over_sampling"))
    texts = ["good film", "bad film", "awful thing", "good story", "nice story", "so awful"] * 3
    labels = [1, 0, 0, 1, 1, 0] * 2 + [1, 0, 0, 1, 1, 1]
    steps = TfidfVectorizer(), sampling.RandomOverSampler(random_state=0), LogisticRegression()
    model = pipeline.make_pipeline(*steps).fit(texts, labels)
    found = wb.explain(model, texts[:2])
    probabilities = model.predict_proba(texts[:2])[:, 1]
    np.testing.assert_allclose(found.base + np.nansum(found.values, axis=1), probabilities, rtol=0, atol=1e-9)


def test_a_step_that_both_samples_and_transforms_counts_in_a_pipeline_of_scikit_learn():
    class Both(Doubled):
        def fit_resample(self, X, y):
            return X, y

        n_features_in_ = 5

    model = make_pipeline(Both(), GradientBoostingClassifier(n_estimators=4)).fit(X, Y)
    found = wb.explain(model, X[:2], BACKGROUND)
    assert np.abs(found.values).max() > 0
    changed = wb.effects(model, X[:30], ["bmi"], grid=3, response_method="predict_proba")["bmi"]
    want = [model.predict_proba(X[:30].assign(bmi=point))[:, 1].mean() for point in changed.grid]
    np.testing.assert_allclose(changed.values, want, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sampler", [True, False])
def test_bootstrap_samples_of_resampled_rows_are_not_drawn_again(sampler):
    ensemble = pytest.importorskip("imblearn.ensemble")
    model = (
        smoted(RandomForestClassifier(4, random_state=0))
        if sampler
        else ensemble.BalancedRandomForestClassifier(4, random_state=0, bootstrap=True, replacement=False)
    ).fit(X, Y)
    with pytest.raises(UnsupportedModelError, match="resampled"):
        wb.importance(model, method="unbiased_impurity", train=(X, Y))


def test_linear_regression_inside_a_frozen_estimator_needs_a_background():
    model = FrozenEstimator(LinearRegression().fit(X, zoo.y()))
    found = wb.explain(model, X[:2], BACKGROUND)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), model.predict(X[:2]), rtol=0, atol=1e-9)
