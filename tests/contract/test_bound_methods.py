"""A predict method of an estimator that is read is read too, on its own scale; of a black box, the method with the most information is called."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC, OneClassSVM

import whybox as wb
import zoo
from whybox.errors import DtypeError, ModelMismatchError, OptionError, UnsupportedModelError
from whybox.kernels.predict import raw_outputs
from whybox.methods.common.output import resolve_output
from whybox.models.bound_method import PREDICT_METHODS, bound_method, gives_labels
from whybox.models.prepare_rows import prepare_rows
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
TWO = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "yes", "no")
THREE = RNG.integers(0, 3, len(X))
LIVE = [c for c in zoo.CASES if c.verdict == "exact"]
# methods that are on no scale of the model that is read
NOT_READ = {("IsolationForest", "predict"), ("IsolationForest", "decision_function")}


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_columns(outputs, negative):
    if isinstance(outputs, list):
        outputs = np.column_stack([p[:, 1:] if p.shape[1] == 2 else p for p in outputs])
    outputs = np.asarray(outputs, dtype=float)
    outputs = outputs.reshape(len(outputs), -1)
    return outputs[:, 1:] if negative is not None and outputs.shape[1] == 2 else outputs


@pytest.mark.parametrize("case", LIVE, ids=lambda c: c.name)
def test_every_method_of_every_kind_of_model_is_on_the_scale_it_is_read_on(case):
    estimator, rows = zoo.built(case.name)
    if type(estimator).__module__.startswith("xgboost.core"):  # a Booster takes a DMatrix, and may predict labels
        with pytest.raises(UnsupportedModelError, match="pass the model itself"):
            as_model(estimator.predict)
        return
    model = zoo.adapted(case.name)
    table = prepare_rows(model, rows[:120]).table
    for name in PREDICT_METHODS:
        method = bound_method(getattr(estimator, name, None))
        if method is None:
            assert not hasattr(estimator, name)
            continue
        if (type(estimator).__name__, name) in NOT_READ or (name == "predict" and gives_labels(estimator)):
            with pytest.raises(UnsupportedModelError, match=name):
                method.restrict_scale(model)
            continue
        if "hinge" in case.name and name == "predict_proba":  # 0 and 1, which are no probabilities
            continue
        own = method.restrict_scale(model)
        output = resolve_output(own.outputs, None)
        ours = raw_outputs(own, own.inputs.matrix(table))
        ours = output.select_predictions(ours if output.scale == "raw" else own.outputs.link(ours))
        theirs = as_columns(getattr(estimator, name)(table.for_transformers()), own.outputs.negative_class)
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-5, nan_ok=True)
        assert method.call_name in own.notes[-1]


FOREST = RandomForestClassifier(10, random_state=0).fit(X, TWO)
BOOSTED = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(X, TWO)
SEARCH = GridSearchCV(make_pipeline(StandardScaler(), BOOSTED), {}, cv=2).fit(X, TWO)


@pytest.mark.parametrize("estimator", [FOREST, BOOSTED, SEARCH, SEARCH.best_estimator_], ids=lambda m: type(m).__name__)
def test_explanations_of_predict_proba_add_up_to_it(estimator):
    e = wb.explain(estimator.predict_proba, X[:20], X[:50])
    probability = estimator.predict_proba(X[:20])[:, 1]
    assert np.abs(e.base + e.values.sum(axis=1) - probability).max() < 1e-9
    assert e.units == "probability"
    assert f"{type(estimator).__name__}.predict_proba was passed" in " ".join(e.evidence.notes)
    assert np.array_equal(e.values, wb.explain(estimator, X[:20], X[:50], scale="probability").values)
    curve = wb.effects(estimator.predict_proba, X, 0)[0]
    assert curve.evidence.kernel == "the trees' own leaves"
    assert np.array_equal(curve.values, wb.effects(estimator, X, 0, scale="probability")[0].values)


def test_the_scale_of_the_method_is_the_only_one():
    assert wb.explain(BOOSTED.decision_function, X[:5]).units == "log-odds"
    assert wb.explain(BOOSTED.decision_function, X[:5], scale="raw").units == "log-odds"
    assert wb.explain(BOOSTED.predict_proba, X[:5], X[:9], scale="response").units == "probability"
    with pytest.raises(OptionError, match="scale='raw'.*pass the estimator itself"):
        wb.explain(BOOSTED.predict_proba, X[:5], X[:9], scale="raw")
    with pytest.raises(OptionError, match="scale='response' of this model is sigmoid.*background"):
        wb.explain(BOOSTED.predict_proba, X[:5])
    with pytest.raises(OptionError, match="scale='probability'"):
        wb.effects(BOOSTED.decision_function, X, scale="probability")
    assert wb.explain(FOREST.predict_proba, X[:5], scale="raw").units == "probability"  # which is its additive scale
    no = wb.effects(BOOSTED.predict_proba, X, 0, output="no")[0]
    yes = wb.effects(BOOSTED.predict_proba, X, 0)[0]
    assert no.values == pytest.approx(1.0 - yes.values, abs=1e-12)


def test_regressors_and_what_else_takes_a_model():
    forest = RandomForestRegressor(10, random_state=0).fit(X, X[:, 0] * X[:, 1])
    e = wb.explain(forest.predict, X[:20])
    assert np.abs(e.base + e.values.sum(axis=1) - forest.predict(X[:20])).max() < 1e-9
    assert wb.interactions(forest.predict, X).evidence.kernel == "the trees' own leaves"
    assert wb.importance(forest.predict, X).values.shape == (3,)
    assert wb.regions(forest.predict, X, 0)[0].evidence.kernel == "the trees' own leaves"


def test_labels_are_not_read():
    with pytest.raises(
        UnsupportedModelError, match=r"RandomForestClassifier.predict gives class labels.*predict_proba"
    ):
        wb.explain(FOREST.predict, X)
    with pytest.raises(DtypeError, match="predict_proba"):
        wb.effects(FOREST.predict, X)
    numbers = RandomForestClassifier(10, random_state=0).fit(X, TWO == "yes")
    curve = wb.effects(numbers.predict, X, 0)[0]
    assert "RandomForestClassifier.predict" in curve.evidence.kernel
    assert any("gives labels" in note for note in curve.evidence.notes)


def test_a_method_that_a_class_replaces_is_a_function_as_any():
    class Shifted(RandomForestRegressor):
        def predict(self, X):
            return super().predict(X) + 1.0

    shifted = Shifted(10, random_state=0).fit(X, X[:, 0])
    with pytest.raises(UnsupportedModelError, match="a function"):
        wb.explain(shifted.predict, X)
    curve = wb.effects(shifted.predict, X, 0)[0]
    assert curve.evidence.kernel == "predictions: predict"


def test_a_search_whose_class_replaces_a_method_is_held_against_it():
    class Turned(GridSearchCV):
        def predict_proba(self, X):
            return super().predict_proba(X)[:, ::-1]

    search = Turned(FOREST, {}, cv=2).fit(X, TWO)
    for verb in (wb.explain, wb.effects):
        with pytest.raises(ModelMismatchError, match="Turned"):
            verb(search, X)
    assert wb.explain(search.best_estimator_.predict_proba, X[:5]).units == "probability"


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: GridSearchCV(make_pipeline(StandardScaler(), m), {}, cv=2)])
def test_raw_scores_of_averaged_trees_are_not_read(wrap):
    forest = LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, n_estimators=3, verbose=-1)
    model = wrap(forest).fit(X, TWO)  # its predictions come from the mean of its trees, its raw scores are their sum
    with pytest.raises(UnsupportedModelError, match="decision_function is not on a scale"):
        wb.explain(model.decision_function, X)
    curve = wb.effects(model.decision_function, X, 0, grid=5)[0]
    changed = X.copy()
    changed[:, 0] = curve.grid[2]
    assert curve.values[2] == pytest.approx(model.decision_function(changed).mean(), abs=1e-12)


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: make_pipeline(StandardScaler(), m)])
def test_scores_are_not_called_probabilities(wrap):
    def log_loss(truth, score):
        probability = 1.0 / (1.0 + np.exp(-score))
        return probability - truth, probability * (1.0 - probability)

    model = wrap(LGBMClassifier(objective=log_loss, n_estimators=3, verbose=-1)).fit(X, TWO == "yes")
    curve = wb.effects(model.predict_proba, X, 0, grid=5)[0]  # LightGBM knows no link, and gives raw scores
    changed = X.copy()
    changed[:, 0] = curve.grid[2]
    assert curve.values[2] == pytest.approx(model.predict_proba(changed).mean(), abs=1e-12)
    assert curve.units == "prediction"
    with pytest.raises(OptionError, match="not an output"):
        wb.effects(model.predict_proba, X, 0, output="False")


@pytest.mark.parametrize("kind", [SVC, NuSVC, OneClassSVM])
def test_a_black_box_without_probabilities_answers_by_its_decision_function(kind):
    svc = kind().fit(X, TWO) if kind is not OneClassSVM else kind().fit(X)
    curve = wb.effects(svc, X, 0, grid=5)[0]
    changed = X.copy()
    changed[:, 0] = curve.grid[2]
    assert curve.values[2] == pytest.approx(svc.decision_function(changed).mean(), abs=1e-12)
    assert curve.units == "decision function"
    assert f"{kind.__name__}.decision_function" in curve.evidence.kernel
    assert curve.evidence.model.endswith("evaluated through decision_function")
    assert f"Evaluated through {kind.__name__}.decision_function, because it is not read" in curve.evidence.notes[0]


def test_a_black_box_answers_by_the_method_that_is_named():
    svc = SVC().fit(X, THREE)
    assert wb.effects(svc, X, 0, grid=5)[0].output_names == ("0", "1", "2")
    labels = wb.effects(svc, X, 0, grid=5, response_method="predict")[0]
    assert "SVC.predict" in labels.evidence.kernel
    assert any("gives labels" in note for note in labels.evidence.notes)
    for named, bound in (("predict", svc.predict), ("decision_function", svc.decision_function)):
        a, b = (wb.effects(svc, X, 0, grid=5, response_method=named)[0], wb.effects(bound, X, 0, grid=5)[0])
        assert np.array_equal(a.values, b.values)
        assert a.evidence.model == b.evidence.model
        assert a.output_names == b.output_names
    bayes = GaussianNB().fit(X, TWO)
    assert "GaussianNB.predict_proba" in wb.effects(bayes, X, 0)[0].evidence.kernel
    assert "GaussianNB.predict_proba" in wb.effects(bayes.predict_proba, X, 0)[0].evidence.kernel
    linear = LogisticRegression().fit(X, TWO)  # which is read, on the scale of each method
    changed = X.copy()
    for passed, units, method in (
        (linear, "log-odds", linear.decision_function),
        (linear.decision_function, "log-odds", linear.decision_function),
        (linear.predict_proba, "probability", lambda rows: linear.predict_proba(rows)[:, 1]),
    ):
        curve = wb.effects(passed, X, 0, grid=5)[0]
        changed[:, 0] = curve.grid[2]
        assert curve.units == units
        assert curve.values[2] == pytest.approx(method(changed).mean(), abs=1e-12)
    with pytest.raises(OptionError, match="no such method"):
        wb.effects(KNeighborsRegressor().fit(X, X[:, 0]), X, response_method="predict_proba")


@pytest.mark.parametrize("wrapped", [False, True])
def test_outputs_of_pairs_of_classes_are_not_called_classes(wrapped):
    svc = SVC(decision_function_shape="ovo")
    model = (GridSearchCV(make_pipeline(StandardScaler(), svc), {}, cv=2) if wrapped else svc).fit(X, THREE)
    assert wb.effects(model, X, 0, grid=5)[0].output_names == ("0 over 1", "0 over 2", "1 over 2")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", [LogisticRegression, LinearSVC])
def test_two_labels_are_not_two_classes(kind, wrapped):
    labels = np.column_stack([THREE == 0, THREE != 1]).astype(int)  # of several labels, a row may have any
    model = OneVsRestClassifier(kind())
    model = (GridSearchCV(make_pipeline(StandardScaler(), model), {}, cv=2) if wrapped else model).fit(X, labels)
    method = model.predict_proba if hasattr(model, "predict_proba") else model.decision_function
    changed = X.copy()
    for passed, asked in (
        (model, model.decision_function),
        (method, method),
    ):  # a model that is read is on its additive scale
        curve = wb.effects(passed, X, 0, grid=5)[0]
        changed[:, 0] = curve.grid[2]
        assert curve.output_names == ("0", "1")
        assert curve.values[2] == pytest.approx(asked(changed).mean(axis=0), abs=1e-12)
        assert np.array_equal(wb.effects(passed, X, 0, grid=5, output=0)[0].values, curve.values[:, 0])


def test_frames_reach_a_bound_method_by_name():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    forest = RandomForestClassifier(10, random_state=0).fit(frame, TWO)
    e = wb.explain(forest.predict_proba, frame[["c", "a", "b"]])
    assert np.abs(e.base + e.values.sum(axis=1) - forest.predict_proba(frame)[:, 1]).max() < 1e-9
