"""A model that is fitted again on other data, in place: what was made before refuses to answer for it."""

from __future__ import annotations

import copy
import pickle
import warnings

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import whybox as wb
import zoo
from whybox.errors import ModelMismatchError
from whybox.explainers import AdditiveShap, LinearShap, TreeShap
from whybox.models.additive import Additive
from whybox.models.linear import Linear
from whybox.models.registry import as_model

EXACT = [
    c for c in zoo.CASES if c.verdict == "exact" and c.library != "statsmodels"
]  # whose results are not fitted again
KINDS = {case.name.split(",")[0]: case.name for case in reversed(EXACT)}  # the first case of each class of models


def targets(model, rows):
    """Targets of the same kind in another order, so that another model is fitted."""
    mixed = np.random.default_rng(5).permutation(len(rows))
    name, objective = type(model).__name__, str(getattr(model, "objective", ""))
    if name in ("LGBMRanker", "XGBRanker", "CatBoostRanker"):
        return zoo.three()[mixed]
    if "logi" in objective or "cross_entropy" in objective:
        return zoo.binary()[mixed]
    if name == "XGBClassifier":  # wants codes of classes, all of them
        return (zoo.three() if model.n_classes_ > 2 else zoo.binary())[mixed]
    loss = str(model.get_params().get("loss_function"))
    if "quantile" in objective or "Quantile" in loss or "Uncertainty" in loss:
        return zoo.y()[mixed]
    return np.asarray(model.predict(rows))[mixed]


def fit_again(model, rows):
    """Fit the object again on other data, or train it further where it cannot be."""
    while type(model).__name__ == "FrozenEstimator":  # whose fit does nothing
        model = model.estimator
    name = type(model).__name__
    if name == "Booster":
        grow(model, rows)
        return
    if name == "IsolationForest":
        model.fit(rows * 3 + 1)
        return
    more = {"LGBMRanker": {"group": [221, 221]}, "XGBRanker": {"group": [221, 221]}}.get(name, {})
    if name == "CatBoostRanker":
        more = {"group_id": np.repeat([0, 1], 221)}
    stops_early = (
        getattr(model, "early_stopping_rounds", None) or "early_stopping_round" in getattr(model, "get_params", dict)()
    )
    if stops_early and not name.startswith("ExplainableBoosting"):  # which takes a part of its own rows
        more = {"eval_set": [(rows, targets(model, rows))]}
    model.fit(rows, targets(model, rows), **more)


def grow(booster, rows):
    if type(booster).__module__.startswith("lightgbm"):
        booster.shuffle_models(0, 3)
        booster.set_leaf_output(0, 0, 1e3)
        return
    data = xgboost.DMatrix(rows, label=zoo.y()[::-1].copy())
    for bound in ("label_lower_bound", "label_upper_bound"):
        data.set_float_info(bound, zoo.y()[::-1].copy())
    booster.update(data, booster.num_boosted_rounds())


def refused_after_a_fit(case):
    model, rows = copy.deepcopy(zoo.built(case.name))
    kind = {Linear: LinearShap, Additive: AdditiveShap}.get(type(as_model(model)), TreeShap)
    explainer = kind(model, rows[:30] if case.no_path or kind is LinearShap else None)
    curve = next(iter(wb.effects(model, rows[:50], [0], grid=4).values()))
    points = list(np.asarray(curve.grid)[:1])
    assert len(explainer(rows[:20])) == 20
    assert np.isfinite(curve.at(points)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_again(model, rows)
    with pytest.raises(ModelMismatchError):
        explainer(rows[:20])
    with pytest.raises(ModelMismatchError):
        curve.at(points)


@pytest.mark.parametrize("case", [c for c in EXACT if c.name in KINDS.values()], ids=lambda c: c.name)
def test_kept_explainers_and_curves_refuse_a_model_that_was_fitted_again(case):
    refused_after_a_fit(case)


@pytest.mark.soak
@pytest.mark.parametrize("case", [c for c in EXACT if c.name not in KINDS.values()], ids=lambda c: c.name)
def test_every_other_kind_of_model_that_was_fitted_again_is_refused(case):
    refused_after_a_fit(case)


@pytest.mark.parametrize(
    "name", ["BalancedRandomForestClassifier", "BalancedBaggingClassifier", "RUSBoostClassifier", "pipeline"]
)
def test_models_of_imbalanced_learn_are_read_and_refused_after_another_fit(name):
    """A sampler in a pipeline changes only the rows of training."""
    pytest.importorskip("imblearn")
    from imblearn import ensemble, over_sampling, pipeline

    model = (
        pipeline.make_pipeline(over_sampling.RandomOverSampler(random_state=0), RandomForestClassifier(5))
        if name == "pipeline"
        else getattr(ensemble, name)(3, random_state=0)
        if name == "BalancedRandomForestClassifier"
        else getattr(ensemble, name)(n_estimators=3, random_state=0)
    )
    X, y = zoo.X(), zoo.binary()
    explainer = TreeShap(model.fit(X, y))
    curve = wb.effects(model, X[:50], ["bmi"], grid=3)["bmi"]
    assert np.isfinite(explainer(X[:9]).values).all()
    model.fit(X, y[::-1])
    with pytest.raises(ModelMismatchError):
        explainer(X[:9])
    with pytest.raises(ModelMismatchError):
        curve.at([25.0])


def test_a_search_over_models_that_are_not_read_is_refused_after_another_fit():
    X = zoo.X()
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2).fit(X / X.std(), zoo.binary())
    curve = wb.effects(search, X / X.std(), ["bmi"], grid=4)["bmi"]
    search.fit(X / X.std(), zoo.binary()[::-1])
    with pytest.raises(ModelMismatchError, match="fitted again"):
        curve.at([0.0])


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_kept_explainer_is_pickled_without_the_estimator(library):
    """A copy holds the booster that was read: an objective that is a local function does not matter, nor does a later fit of the original."""

    def squared(truth, predictions):
        return predictions - truth, np.ones_like(truth)

    X, y = zoo.X(), zoo.y()
    estimator = {"xgboost": xgboost.XGBRegressor, "lightgbm": lightgbm.LGBMRegressor}[library]
    model = estimator(n_estimators=4, n_jobs=1, objective=squared).fit(X, y)
    explainer = TreeShap(model)
    before = explainer(X[:5])
    copied = pickle.loads(pickle.dumps(explainer))
    model.fit(X, -y)
    assert np.array_equal(copied(X[:5]).values, before.values)
    with pytest.raises(ModelMismatchError, match="fitted again since it was read"):
        explainer(X[:5])


def test_a_fit_on_other_columns_is_named_as_what_it_is():
    X, y = zoo.X(), zoo.y()
    for model in (xgboost.XGBRegressor(n_estimators=3), lightgbm.LGBMRegressor(n_estimators=3, verbose=-1)):
        explainer = TreeShap(model.fit(X, y))
        model.fit(X[["age", "bmi"]], y)
        with pytest.raises(ModelMismatchError, match="fitted again"):
            explainer(X[:5])
