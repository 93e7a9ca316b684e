"""Impurity importance of out-of-bag rows against a loop over nodes and rows, on a table where impurity importance is biased, and against the spread over tables."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from whybox.errors import InputError, OptionError, UnsupportedModelError


def table(seed, n=150):
    """A truth that depends on a column of two values and on a number; columns of noise with few and with many values."""
    draw = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "two": draw.integers(0, 2, n).astype(float),
            "number": draw.normal(size=n),
            "few": draw.integers(0, 3, n).astype(float),
            "many": draw.normal(size=n),
        }
    )
    return X, (1.5 * X.two + 0.5 * X.number + draw.normal(size=n) + 7).to_numpy()


def by_loops(forest, X, truths):
    """The definition, one node and one row at a time: bootstrap samples from the documented seed of each tree."""
    n = len(X)
    trees = []
    for member in forest.estimators_:
        drawn = np.random.RandomState(member.random_state).randint(0, n, forest._n_samples_bootstrap)
        out = [i for i in range(n) if i not in set(drawn.tolist())]
        reached = member.decision_path(np.asarray(X, dtype=np.float32)).toarray().astype(bool)
        gains = np.zeros(X.shape[1])
        tree = member.tree_
        for t in range(tree.node_count):
            if tree.children_left[t] < 0:
                continue
            inside = np.mean([truths[i] for i in drawn if reached[i, t]], axis=0)
            there = [i for i in out if reached[i, t]]
            for child in (tree.children_left[t], tree.children_right[t]):
                step = np.mean([truths[i] for i in drawn if reached[i, child]], axis=0) - inside
                for i in there:
                    if reached[i, child] and len(there) > 1:
                        others = np.mean([truths[j] for j in there if j != i], axis=0)
                        gains[tree.feature[t]] += step @ (truths[i] - others) / len(out)
        trees.append(gains)
    return np.array(trees)


@pytest.mark.parametrize("kind", ["regression", "classes", "extra trees of half"])
def test_it_is_the_mean_gain_of_splits_on_rows_left_out(kind):
    X, y = table(0, 60)
    if kind == "classes":
        truth = np.where(y > 8.5, "z", np.where(y > 7.5, "b", "m"))
        forest = RandomForestClassifier(4, criterion="entropy", random_state=1).fit(X, truth)
        truths = (truth[:, None] == forest.classes_[None, :]).astype(float)
    else:
        more = {"bootstrap": True, "max_samples": 0.5} if kind != "regression" else {}
        make = ExtraTreesRegressor if more else RandomForestRegressor
        truth, truths = y, y[:, None]
        forest = make(4, random_state=2, **more).fit(X, y)
    want = by_loops(forest, X.to_numpy(), truths)
    e = wb.importance(forest, train=(X, truth), method="unbiased_impurity")
    np.testing.assert_allclose(e.values, want.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(e.extras["monte_carlo_error"][1], want.std(axis=0, ddof=1) / 2, rtol=1e-9)
    assert e.units == ("Gini impurity" if kind == "classes" else "squared units of the truth")
    assert e.evidence.settings["role"] == "train"
    assert e.evidence.spot_checks.numbers > 4 * 20


def test_a_column_of_noise_with_many_values_is_important_by_impurity_and_not_by_rows_left_out():
    X, y = table(1, 300)
    forest = RandomForestRegressor(25, random_state=0).fit(X, y)
    biased = wb.importance(forest, method="impurity")
    assert float(biased["many"]) > 2 * float(biased["few"]) > 0.1  # none of them has any influence
    e = wb.importance(forest, train=(X, y), method="unbiased_impurity")
    for noise in ("few", "many"):
        assert abs(float(e[noise])) < 2 * float(e[noise].std_error)
    assert e.extras["rank"][1][:2].tolist() == [1, 2]
    assert (e.values[:2] > 2 * e.std_error[:2]).all()
    assert e.values.sum() == pytest.approx(1.5**2 / 4 + 0.25, rel=0.25)  # the variance that the truth has from them


@pytest.mark.parametrize("tables", [10, pytest.param(80, marks=pytest.mark.soak)])
def test_errors_are_the_spread_over_tables_and_large_for_noise(tables):
    values, errors = [], []
    for seed in range(tables):
        X, y = table(seed, 100)
        forest = RandomForestRegressor(8, max_depth=3, random_state=seed).fit(X, y)
        e = wb.importance(forest, train=(X, y), method="unbiased_impurity")
        values.append(e.values)
        errors.append(e.std_error)
    spread = np.std(values, axis=0, ddof=1)
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / spread
    wide = 1 + 2.5 / np.sqrt(2 * tables)  # the spread is itself estimated
    assert ((ratio[:2] > 0.9 / wide) & (ratio[:2] < 1.3 * wide)).all(), ratio
    assert ((ratio[2:] > 1 / wide) & (ratio[2:] < 2.5 * wide)).all(), ratio
    assert (np.abs(np.mean(values, axis=0)[2:]) < 3 * spread[2:] / np.sqrt(tables)).all()


def test_columns_that_are_encoded_are_the_users_own_and_groups_add_up():
    X, y = table(2)
    X = X.assign(few=np.array(["x", "y", "z"])[X.few.astype(int)])
    encoded = make_column_transformer((OneHotEncoder(), ["few"]), remainder="passthrough")
    forest = RandomForestRegressor(3, max_depth=4, random_state=0)
    model = GridSearchCV(make_pipeline(encoded, forest), {"randomforestregressor__max_features": [0.5]}, cv=2).fit(X, y)
    e = wb.importance(model, train=(X.assign(target=y), "target"), method="unbiased_impurity")
    assert e.feature_names == ("two", "number", "few", "many")
    inner = model.best_estimator_
    want = by_loops(inner[-1], np.asarray(inner[0].transform(X)), y[:, None]).mean(axis=0)
    np.testing.assert_allclose(e.values, [want[3], want[4], want[:3].sum(), want[5]], atol=1e-9)
    grouped = wb.importance(model, train=(X, y), method="unbiased_impurity", players={"noise": ["few", "many"]})
    assert float(grouped["noise"]) == pytest.approx(e.values[2] + e.values[3])


def test_dependent_columns_are_found_among_the_training_rows():
    X, y = table(0)
    X["copy"] = X.number**3
    forest = RandomForestRegressor(5, random_state=0).fit(X, y)
    e = wb.importance(forest, method="unbiased_impurity", train=(X, y), players="auto")
    asked = {"number + copy": ["number", "copy"]}
    assert e.feature_names == ("two", "number + copy", "few", "many")
    assert (
        e.values.tobytes()
        == wb.importance(forest, method="unbiased_impurity", train=(X, y), players=asked).values.tobytes()
    )
    assert e.extras["linkage"][1].shape == (4, 4)


def test_samples_that_cannot_be_drawn_again_are_refused():
    X, y = table(3, 60)
    forest = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, y)
    unbiased = {"method": "unbiased_impurity"}
    for train, words in (
        ((X[::-1], y[::-1]), "reach its nodes as often"),
        ((X, y[::-1]), "means of the truth"),
        ((X[:50], y[:50]), "trained on 60"),
        ((X, y[:50]), "another number of truths"),
    ):
        with pytest.raises(InputError, match=words):
            wb.importance(forest, train=train, **unbiased)
    weighted = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, y, sample_weight=np.arange(60) + 1.0)
    with pytest.raises(InputError, match="sample_weight"):
        wb.importance(weighted, train=(X, y), **unbiased)
    classes = RandomForestClassifier(3, class_weight="balanced", random_state=0).fit(X, y > 7)
    other = RandomForestRegressor
    for model, words in (
        (other(3, bootstrap=False).fit(X, y), "bootstrap=False"),
        (other(3, criterion="absolute_error").fit(X, y), "medians"),
        (other(1).fit(X, y), "has one"),
        (other(3).fit(X, np.column_stack([y, y])), "one truth"),
        (classes, "class_weight"),
        (HistGradientBoostingRegressor(max_iter=2).fit(X, y), "HistGradientBoostingRegressor"),
    ):
        with pytest.raises(UnsupportedModelError, match=words):
            wb.importance(model, train=(X, y), **unbiased)
    with pytest.raises(OptionError, match="pass the rows and the truth of training"):
        wb.importance(forest, **unbiased)
    with pytest.raises(OptionError, match="does not take 'sample_weight'"):
        wb.importance(forest, train=(X, y), sample_weight=np.ones(60), **unbiased)


def test_the_plan_says_what_is_compared():
    X, y = table(4, 60)
    forest = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, y)
    plan = wb.plan(wb.importance, forest, train=(X, y), method="unbiased_impurity")
    e = wb.importance(forest, train=(X, y), method="unbiased_impurity")
    assert (plan.rows, plan.model_calls) == (60, e.evidence.model_calls or 60)
