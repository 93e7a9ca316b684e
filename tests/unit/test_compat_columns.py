"""Frames whose columns stand in another order than those of the background."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from whybox.compat import shap


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
