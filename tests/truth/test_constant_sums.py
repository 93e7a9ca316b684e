"""Estimated values of probabilities of all classes add up to nothing over classes, and their errors hold."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import whybox as wb
from whybox.methods.shap.constant_sums import constant_sum, values_of_constant_sum


def classifier(load, columns):
    data = load()
    X = StandardScaler().fit_transform(data.data)[:, :columns]
    model = MLPClassifier((8,), max_iter=2_000, tol=1e-2, random_state=0).fit(X, data.target)
    return X, lambda rows: model.predict_proba(rows)  # noqa: PLW0108  # of the method alone whybox would know the estimator


@pytest.mark.parametrize(("load", "columns", "evals"), [(load_iris, 4, 900), (load_wine, 8, 2_500)])
def test_values_of_classes_add_up_to_nothing_and_errors_hold(load, columns, evals):
    X, model = classifier(load, columns)
    rows, background = X[::40], X[1::5]
    exact = wb.explain(model, rows, background, "exact_shap", max_evals=10**6, spot_checks=0).values
    inside = []
    for seed in range(12):
        got = wb.explain(model, rows, background, "sampled_shap", max_evals=evals, tol=1e-9, surrogate=False, seed=seed)
        assert np.abs(got.values.sum(axis=2)).max() < 1e-12
        np.testing.assert_allclose(got.base + got.values.sum(axis=1), got.prediction, atol=1e-12)
        inside.append(np.abs(got.values - exact) <= 1.96 * got.std_error + 1e-12)
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize(("index", "order"), [("shapley", 2), ("banzhaf", 1), ("banzhaf", 2), ("banzhaf(0.3)", 1)])
def test_so_do_pairs_and_values_of_other_indices(index, order):
    X, model = classifier(load_wine, 8)
    rows, background = X[::60], X[1::5]
    options = {"order": order, "index": index, "spot_checks": 0}
    exact = wb.explain(model, rows, background, "exact_shap", max_evals=10**6, **options).values
    got = wb.explain(model, rows, background, "sampled_shap", max_evals=6_000, tol=1e-9, surrogate=False, **options)
    assert np.abs(got.values.sum(axis=-1)).max() < 1e-12
    if index == "shapley":
        np.testing.assert_allclose(got.base + got.values.sum(axis=(1, 2)), got.prediction, atol=1e-12)
    assert np.mean(np.abs(got.values - exact) <= 1.96 * got.std_error + 1e-12) > 0.85


def test_one_class_and_outputs_of_other_sums_stay_as_they_are():
    assert constant_sum(np.array([[0.2, 0.8], [0.5, 0.5]])) == 1.0
    assert constant_sum(np.array([[0.2, 0.8], [0.5, 0.6]])) is None
    assert constant_sum(np.ones((3, 1))) is None
    X, model = classifier(load_wine, 8)

    def hidden(rows):  # only mixed rows have another sum
        both = np.asarray(rows)
        off = ~(both[:, None] == X).all(axis=2).any(axis=1)
        return model(rows) + off[:, None] * both[:, :1]

    got = wb.explain(hidden, X[::60], X[1::5], "sampled_shap", max_evals=4_000, tol=1e-9, surrogate=False)
    assert np.abs(got.values.sum(axis=2)).max() > 1e-3


def test_what_is_known_well_hardly_moves():
    draw = np.random.default_rng(0)
    values, variances = draw.normal(size=(2, 5, 3)), draw.random((2, 5, 3))
    values -= values.mean(axis=1, keepdims=True)
    differs = np.ones((2, 5), dtype=bool)
    variances[:, :, 0] = 0.0
    moved = values_of_constant_sum(values, variances, differs)
    np.testing.assert_array_equal(moved[:, :, 0], values[:, :, 0])
    np.testing.assert_allclose(moved.sum(axis=2), 0.0, atol=1e-14)
    np.testing.assert_allclose(moved.sum(axis=1), values.sum(axis=1), atol=1e-14)
