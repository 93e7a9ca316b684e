"""Permutation importance of linear models in closed form against a loop over all pairs of rows that asks the model's own predict."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures
from test_permutation import all_pairs

import whybox as wb
from whybox.errors import SpotCheckError, UnsupportedModelError
from whybox.methods.importance.permutation_of_linear import LinearPairs

N = 20


def rows():
    rng = np.random.default_rng(3)
    X = pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", "unused"])
    X["kind"] = rng.choice(["u", "v", "w"], N)
    return X, (2 * X.a - X.b + 3 * (X.kind == "u") + rng.normal(size=N)).to_numpy()


def fitted(X, y):
    step = make_column_transformer((OneHotEncoder(), ["kind"]), ("passthrough", ["a", "b"]))
    return make_pipeline(step, Ridge()).fit(X, y)


def unread(model):
    """A function of the model that is not recognised as its own."""

    def predict(table):
        return model.predict(table)

    return predict


@pytest.mark.parametrize("players", [None, {"both": ["a", "kind"], "b": ["b"], "unused": ["unused"]}])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_mean_over_all_pairs(players, weighted):
    X, y = rows()
    model = fitted(X, y)
    options = {"players": players, "sample_weight": np.linspace(0.2, 2.0, N) if weighted else None}
    e = wb.importance(model, X, y, method="permutation", **options)
    assert e.evidence.exact
    assert "closed form" in e.evidence.kernel
    for player, value in zip(e.coords["feature"], e.values, strict=True):
        assert value == pytest.approx(all_pairs(model, X, y, player, **options), rel=1e-10, abs=1e-12)
    assert e.values[list(e.coords["feature"]).index("unused")] == 0.0
    assert e.evidence.spot_checks.predictions > 0


def test_its_errors_are_those_of_all_pairs_by_predictions():
    """A function of the same predictions takes all pairs of few rows one by one."""
    X, y = rows()
    model = LinearRegression().fit(X[["a", "b"]], y)
    read = wb.importance(model, X[["a", "b"]], y, method="permutation")
    asked = wb.importance(unread(model), X[["a", "b"]], y, method="permutation", max_evals=10**6)
    assert asked.evidence.exact
    for name in ("values", "std_error"):
        assert np.allclose(getattr(read, name), getattr(asked, name), rtol=1e-9)
    assert np.allclose(read.extras["baseline_loss"][1], asked.extras["baseline_loss"][1])


def test_of_other_losses_and_links_it_is_sampled():
    X, y = rows()
    X = X[["a", "b"]]
    for model, truth, options in (
        (LinearRegression().fit(X, y), y, {"loss": "absolute"}),
        (PoissonRegressor().fit(X, np.exp(y / 4)), np.exp(y / 4), {"loss": "squared"}),
        (LogisticRegression().fit(X, y > 0), y > 0, {}),
    ):
        e = wb.importance(model, X, truth, method="permutation", **options)
        assert "closed form" not in e.evidence.kernel
        assert e.values[0] == pytest.approx(
            all_pairs(model, X, truth, "a", **options), rel=1e-9
        )  # all pairs of few rows


def test_columns_that_a_step_mixes_are_refused():
    X, y = rows()
    model = make_pipeline(PolynomialFeatures(), LinearRegression()).fit(X[["a", "b"]], y)
    with pytest.raises(UnsupportedModelError, match="mixes all its columns"):
        wb.importance(model, X[["a", "b"]], y, method="permutation")


@pytest.mark.parametrize("name", ["_added", "_evaluated"])
def test_a_fault_in_the_closed_form_is_found(name, monkeypatch):
    X, y = rows()
    model = fitted(X, y)
    right = getattr(LinearPairs, name)
    monkeypatch.setattr(LinearPairs, name, lambda self, *args: right(self, *args) * 1.001)
    with pytest.raises(SpotCheckError):
        wb.importance(model, X, y, method="permutation")


def test_values_far_from_zero_lose_no_more_than_rounding():
    X, y = rows()
    X = X[["a", "b"]] + 1e7
    model = LinearRegression().fit(X, y)
    e = wb.importance(model, X, y, method="permutation")
    assert e.values[0] == pytest.approx(all_pairs(model, X, y, "a"), rel=1e-6)
