"""whybox.compat.shap against the package shap, where that is installed: values, bases, shapes, slices."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from compat_models import (
    BOOSTED,
    FLOWERS,
    KIND,
    LOGISTIC,
    MODELS,
    OF_THREE,
    ROWS,
    SMALL,
    TRAIN,
    X,
    Y,
    near,
    rising,
    waves,
)
from whybox.compat import shap


@pytest.fixture(scope="module")
def theirs():
    return pytest.importorskip("shap")


@pytest.fixture(scope="module")
def explained():
    return shap.TreeExplainer(BOOSTED)(X.iloc[:40])


@pytest.fixture(scope="module")
def of_three():
    return shap.TreeExplainer(OF_THREE["forest"].fit(FLOWERS, KIND))(FLOWERS.iloc[::5])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_trees_have_the_values_bases_and_shapes_of_shap(theirs, name):
    model = MODELS[name]
    mine, other = shap.TreeExplainer(model), theirs.TreeExplainer(model)
    near(mine.shap_values(ROWS), other.shap_values(ROWS))
    near(mine.expected_value, other.expected_value)
    near(mine(ROWS).base_values, other(ROWS).base_values)
    near(mine.shap_interaction_values(ROWS), other.shap_interaction_values(ROWS))
    behind, others_behind = shap.TreeExplainer(model, TRAIN), theirs.TreeExplainer(model, TRAIN)
    near(behind.shap_values(ROWS), others_behind.shap_values(ROWS, check_additivity=False), 0.01)  # float32 there
    near(behind.expected_value, others_behind.expected_value)


@pytest.mark.parametrize("name", OF_THREE)
def test_outputs_are_the_last_axis(theirs, name):
    model = OF_THREE[name].fit(FLOWERS, KIND)
    mine, other = shap.TreeExplainer(model), theirs.TreeExplainer(model)
    near(mine.shap_values(FLOWERS.iloc[::40]), other.shap_values(FLOWERS.iloc[::40]))
    near(mine.expected_value, other.expected_value)
    assert mine(FLOWERS.iloc[::40]).base_values.shape == (4, 3)


def test_linear_models(theirs):
    for model, train, rows in (
        (LOGISTIC, TRAIN, ROWS),
        (LinearRegression().fit(X, Y), TRAIN, ROWS),
        (LogisticRegression(max_iter=1000).fit(FLOWERS, KIND), FLOWERS.iloc[::2], FLOWERS.iloc[::40]),
    ):
        mine, other = shap.LinearExplainer(model, train), theirs.LinearExplainer(model, train)
        near(mine.shap_values(rows), other.shap_values(rows))
        near(mine.expected_value, other.expected_value)
        near(mine(rows).base_values, other(rows).base_values)


def test_kernel_explainer_where_all_coalitions_are_enumerated(theirs):
    quiet = {"silent": True, "l1_reg": False}
    one_column = lambda rows: waves(rows)[:, None]
    for model, train, rows, link in (
        (waves, SMALL[:12], SMALL[20:22], "identity"),
        (one_column, SMALL[:5], SMALL[20:22], "identity"),
        (rising, SMALL[:12], SMALL[20:22], "logit"),
        (LOGISTIC.predict_proba, TRAIN.iloc[:10], ROWS.iloc[:2], "identity"),
        (LOGISTIC.predict_proba, TRAIN.iloc[:10], ROWS.iloc[:2], "logit"),
    ):
        mine, other = shap.KernelExplainer(model, train, link=link), theirs.KernelExplainer(model, train, link=link)
        near(mine.shap_values(rows, **quiet), other.shap_values(rows, **quiet))
        near(mine.expected_value, other.expected_value)
        near(mine(rows, **quiet).base_values, other(rows, **quiet).base_values)
    mine = shap.KernelExplainer(LOGISTIC.predict_proba, shap.kmeans(X, 4))
    other = theirs.KernelExplainer(LOGISTIC.predict_proba, theirs.kmeans(X, 4))
    near(mine.shap_values(ROWS.iloc[0], **quiet), other.shap_values(ROWS.iloc[0], **quiet))


def test_samples_means_and_hierarchies(theirs):
    assert shap.sample(X, 20).equals(theirs.sample(X, 20))
    assert np.array_equal(shap.utils.sample(SMALL, 7, random_state=3), theirs.utils.sample(SMALL, 7, random_state=3))
    near(shap.kmeans(X, 3).data, theirs.kmeans(X, 3).data, 1e-12)
    near(shap.kmeans(X, 3).weights, theirs.kmeans(X, 3).weights, 1e-12)
    near(shap.utils.hclust(SMALL, metric="correlation"), theirs.utils.hclust(SMALL, metric="correlation"), 1e-5)


SLICES = {
    "row": lambda e: e[3],
    "rows": lambda e: e[2:9],
    "mask": lambda e: e[e.data[:, 0] > 6],
    "list": lambda e: e[[1, 3, 5]],
    "feature": lambda e: e[:, 2],
    "name": lambda e: e[:, e.feature_names[1]],
    "features": lambda e: e[:, [0, 2]],
    "one": lambda e: e[3, 2],
    "last": lambda e: e[..., 1],
    "all three": lambda e: e[1, :, 0] if len(e.shape) == 3 else e[1, :],
    "mean": lambda e: e.mean(0),
    "largest": lambda e: e.max(0),
    "sample": lambda e: e.sample(5),
}


@pytest.mark.parametrize("name", SLICES)
def test_slices_are_those_of_shap(theirs, explained, of_three, name):
    for e in (explained, of_three):
        mine, other = SLICES[name](e), SLICES[name](e.to_shap())
        near(mine.values, other.values)
        near(mine.base_values, other.base_values)
        near(mine.data, other.data)
        assert np.array_equal(mine.feature_names, other.feature_names)
    assert np.array_equal(explained.hclust(), explained.to_shap().hclust())
    near((2 * explained - 1).values, (2 * explained.to_shap() - 1).values)


def test_values_stand_in_the_order_of_the_columns_given():
    model = GradientBoostingRegressor(n_estimators=5, max_depth=3, random_state=0).fit(X, Y)
    turned = X[X.columns[::-1]]
    for explainer in (shap.TreeExplainer(model), shap.TreeExplainer(model, X), shap.KernelExplainer(model.predict, X)):
        np.testing.assert_allclose(explainer.shap_values(turned[:3])[:, ::-1], explainer.shap_values(X[:3]))
    e = shap.TreeExplainer(model)(turned[:3])
    assert list(e.feature_names) == list(turned.columns)
    np.testing.assert_array_equal(e.data, turned[:3])
    tree = shap.TreeExplainer(model)
    pairs = tree.shap_interaction_values(turned[:3])
    np.testing.assert_allclose(pairs[:, ::-1, ::-1], tree.shap_interaction_values(X[:3]), atol=1e-12)


def test_a_call_with_one_row_explains_one_row():
    model = GradientBoostingRegressor(n_estimators=5, random_state=0).fit(X, Y)
    for explainer in (shap.TreeExplainer(model), shap.KernelExplainer(model.predict, X[:20])):
        for row in (X.iloc[1], X.to_numpy()[1]):
            e = explainer(row)
            assert e.shape == (X.shape[1],)
            np.testing.assert_allclose(e.values, explainer(X[:2]).values[1])
            assert np.ndim(e.base_values) == 0


def test_a_function_that_writes_into_its_rows_leaves_the_background_alone():
    rows = X.to_numpy(dtype=np.float64)[:6]
    before = rows.copy()

    def doubled(array):
        array[:, 0] *= 2
        return array.sum(axis=1)

    shap.KernelExplainer(doubled, rows[:4]).shap_values(rows[4:], silent=True)
    np.testing.assert_array_equal(rows, before)
