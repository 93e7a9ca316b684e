"""Importance refuses what cannot be before any long work, boosting of few rows takes one thread, and a printed result shows the largest features."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor
from threadpoolctl import threadpool_info, threadpool_limits

import whybox as wb
from whybox.errors import InputError, OptionError, UnsupportedModelError
from whybox.methods.importance import conditional_values


@pytest.fixture(scope="module")
def fitted():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(60, 3)), columns=list("abc"))
    y = X["a"] + draw.normal(size=60)
    return LinearRegression().fit(X, y), X, y


@pytest.fixture
def no_long_work(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the long work began")

    monkeypatch.setattr(conditional_values.ConditionalValues, "__init__", refuse)


@pytest.mark.parametrize(
    ("methods", "options", "error", "text"),
    [
        (["conditional", "drop_column"], {}, OptionError, "needs the rows of training"),
        (["conditional", "drop_column"], {"train": "X"}, OptionError, r"train must be a pair: train=\(rows, truth\)"),
        (["conditional", "permutation"], {"train": "short"}, InputError, "60 rows and another number of truths, 5"),
        (["conditional", "drop_column"], {"train": "all", "fit": 3}, OptionError, "must be a function of"),
        (["conditional", "impurity"], {}, UnsupportedModelError, "is about splits"),
        (["conditional", "permutation"], {"scoring": "r3"}, OptionError, "no scorer of scikit-learn"),
    ],
)
def test_a_list_is_refused_before_its_long_work(fitted, no_long_work, methods, options, error, text):
    model, X, y = fitted
    trains = {"X": X, "short": (X, y[:5]), "all": (X, y)}
    options = {name: trains[value] if name == "train" else value for name, value in options.items()}
    with pytest.raises(error, match=text):
        wb.importance(model, X, y, method=methods, **options)


def test_methods_stay_in_the_order_of_the_list(fitted):
    model, X, y = fitted
    assert wb.importance(model, X, y, method=["conditional", "permutation"]).coords["method"].tolist() == [
        "conditional",
        "permutation",
    ]


@pytest.mark.parametrize("method", ["permutation", ["permutation", "pdp"]])
def test_the_truth_is_no_column_of_the_model(fitted, method):
    model, X, _ = fitted
    with pytest.raises(OptionError, match="y='b' is a column that the model reads"):
        wb.importance(model, X, "b", method=method)


def test_a_classifier_without_probabilities_is_told_what_to_do(fitted):
    _, X, y = fitted
    classes = (y > 0).to_numpy()
    model = LinearSVC().fit(X, classes)
    with pytest.raises(UnsupportedModelError, match=r"CalibratedClassifierCV .* scoring='roc_auc'"):
        wb.importance(model, X, classes)
    advised = (
        wb.importance(CalibratedClassifierCV(model, cv=3).fit(X, classes), X, classes),
        wb.importance(model, X, classes, method="permutation", scoring="roc_auc"),
    )
    assert [e.values.argmax() for e in advised] == [0, 0]


def test_an_unknown_score_lists_usual_ones_first(fitted):
    model, X, y = fitted
    with pytest.raises(OptionError, match=r"no scorer of scikit-learn. Known: 'accuracy', .*'r2', 'roc_auc' and "):
        wb.importance(model, X, y, scoring="xyzzy")


def test_a_metric_in_place_of_a_scorer(fitted):
    model, X, y = fitted
    with pytest.raises(OptionError, match="make_scorer"):
        wb.importance(model, X, y, scoring=r2_score)


def test_boosting_of_few_rows_takes_one_thread(monkeypatch):
    seen, fit = [], HistGradientBoostingRegressor.fit

    def watched(self, *args, **options):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        return fit(self, *args, **options)

    monkeypatch.setattr(HistGradientBoostingRegressor, "fit", watched)
    draw = np.random.default_rng(1)
    X = draw.normal(size=(conditional_values.MIN_BOOSTED_ROWS, 2))
    with threadpool_limits(2, user_api="openmp"):
        conditional_values._fit_mean(X, X[:, 0] ** 2, np.ones(len(X)), 0, 0)
        after = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}
    assert set(seen) == {1}
    assert after == {2}


def test_a_printed_importance_shows_its_largest_features(fitted):
    model, X, y = fitted
    e = wb.importance(model, X, y)
    assert f"largest: a {e.values[0]:.3g}, " in repr(e)
    assert "largest" not in repr(e["a"])
    several = wb.importance(model, X, y, method=["permutation", "pdp"])
    assert "largest:" not in repr(several)


def test_impurity_says_what_it_measures_and_that_there_are_no_rows(fitted):
    _, X, y = fitted
    e = wb.importance(DecisionTreeRegressor(max_depth=2).fit(X, y), method="impurity")
    assert e.evidence.estimand == "how much did the splits on the feature gain in training?"
    assert "not compared: there are no rows" in str(e.evidence)


@pytest.mark.parametrize(("name", "ours"), [("random_state", "seed"), ("n_repeats", "max_evals")])
@pytest.mark.parametrize("method", ["auto", ["permutation", "pdp"]])
def test_names_of_other_libraries_are_refused_with_ours(fitted, name, ours, method):
    model, X, y = fitted
    with pytest.raises(OptionError, match=f"{name}= is no option here; write {ours}="):
        wb.importance(model, X, y, method=method, **{name: 5})
