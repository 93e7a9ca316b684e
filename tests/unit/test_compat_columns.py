"""Frames whose columns stand in another order than those of the background."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from whybox.compat import shap
from whybox.compat.lime.lime_tabular import LimeTabularExplainer
from whybox.errors import ColumnsError


@pytest.mark.parametrize("link", ["identity", "logit"])
def test_functions_of_arrays_get_the_columns_of_a_frame_in_the_order_of_the_background(link):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 3)) * [1, 5, 20], columns=list("abc"))

    def function(rows):
        return 1 / (1 + np.exp(-np.asarray(rows) @ [1.0, 0.1, -0.05]))

    def of_masker(rows):
        explainer = shap.ExactExplainer(
            function, shap.maskers.Independent(X), link=getattr(shap.links, link), linearize_link=False
        )
        return explainer(rows)

    explainer, moved = shap.KernelExplainer(function, X, link=link), list("cab")
    for call in (explainer, of_masker):
        given, other = call(X[:3]), call(X.loc[:2, moved])
        assert other.feature_names == moved
        assert given.feature_names == list("abc")
        np.testing.assert_allclose(other.values, given.values[:, [2, 0, 1]], atol=1e-12)
        np.testing.assert_array_equal(other.data, X.loc[:2, moved])
    np.testing.assert_allclose(explainer.shap_values(X.loc[0, moved]), explainer.shap_values(X.loc[0])[[2, 0, 1]])


def test_rows_keep_numbers_that_the_types_of_the_background_cannot_hold():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"whole": rng.integers(0, 5, 60), "short": rng.normal(size=60).astype(np.float32)})
    model = DecisionTreeRegressor(random_state=0).fit(X, X["whole"] * 2 + X["short"])
    explainer, cells = shap.TreeExplainer(model, X), [2.7, 0.1]
    for row in (np.array([cells]), pd.Series(cells, index=X.columns), pd.Series(cells[::-1], index=X.columns[::-1])):
        e = explainer(row)
        assert sorted(np.ravel(e.data)) == [0.1, 2.7]
        assert np.ravel(e.values.sum() + e.base_values)[0] == pytest.approx(
            model.predict(pd.DataFrame([cells], columns=X.columns))[0], abs=1e-9
        )
    missing = np.array([[np.nan, 0.1]])
    np.testing.assert_array_equal(explainer(missing).data, missing)
    assert explainer(X.to_numpy()[:1]).to_whybox().data.native.dtypes.to_dict() == X.dtypes.to_dict()


@pytest.fixture(scope="module")
def mixed():
    """A frame with codes and texts, and a model that takes its columns by name."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"a": rng.normal(size=80), "b": rng.normal(size=80) * 5, "code": rng.integers(0, 2, 80)})
    X["text"] = rng.choice(["u", "v"], 80)
    columns = make_column_transformer((StandardScaler(), ["a", "b", "code"]), (OneHotEncoder(), ["text"]))
    y = X["a"] + X["b"] / 5 + X["code"] + (X["text"] == "u") > 1
    return X, make_pipeline(columns, LogisticRegression()).fit(X, y)


MOVED = ["text", "b", "code", "a"]


@pytest.mark.parametrize("training", [["a", "b", "code", "text"], MOVED])
def test_lime_matches_rows_training_data_and_model_by_name(mixed, training):
    X, model = mixed
    explainer = LimeTabularExplainer(
        X[training],
        categorical_features=[training.index("code")],
        categorical_names={training.index("code"): ["no", "yes"]},
    )
    expected = LimeTabularExplainer(X, categorical_features=[2], categorical_names={2: ["no", "yes"]}).explain_instance(
        X.iloc[0], model.predict_proba
    )
    for row in (X.iloc[0], X.iloc[[0]], X[MOVED].iloc[0], X[MOVED].iloc[[0]], X[MOVED].iloc[0].to_frame().T):
        found = explainer.explain_instance(row, model.predict_proba)
        assert [name for name, _ in found.as_list()] == [name for name, _ in expected.as_list()]
        np.testing.assert_allclose([w for _, w in found.as_list()], [w for _, w in expected.as_list()], atol=1e-12)
        for (feature, _), (condition, _) in zip(found.local_exp[1], found.as_list(), strict=True):
            assert training[feature] in condition
        assert found.domain_mapper.feature_values[training.index("text")] == X["text"][0]


def test_lime_names_the_column_that_a_row_lacks(mixed):
    X, model = mixed
    with pytest.raises(ColumnsError, match="lacks column 'b' that the training data have"):
        LimeTabularExplainer(X).explain_instance(X.iloc[[0]].rename(columns={"b": "c"}), model.predict_proba)


def test_lime_says_which_columns_a_model_does_not_use(mixed):
    X, model = mixed
    with pytest.raises(
        ColumnsError, match=r"does not use 'more'; .*LimeTabularExplainer\(X.drop\(columns=\['more'\]\)"
    ):
        LimeTabularExplainer(X.assign(more=1.0)).explain_instance(X.assign(more=1.0).iloc[0], model.predict_proba)
