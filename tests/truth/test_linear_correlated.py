"""LinearShap with correlated features against its definition: all coalitions, each worth what least squares on the background predict of the model's sum."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from oracles import banzhaf, semivalue, shapley
from whybox.errors import InputError, LimitError, OptionError, SpotCheckError, UnsupportedModelError
from whybox.explainers import LinearShap
from whybox.methods.shap.gaussian_values import ConditionalGaussian

METHOD = "linear_shap_correlated"
WEIGHTS = {"shapley": shapley, "banzhaf": banzhaf()}


def mixed_normals(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns)) + rng.normal(size=columns)


def fitted(X, outputs=1, seed=1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(60, X.shape[1]))
    return LinearRegression().fit(rows, rows @ rng.normal(size=(X.shape[1], outputs)) + 3.0)


def conditional_game(model, x, B, shares, groups):
    """The weighted mean of predictions given the values of a coalition: what a regression on its standardized columns predicts of the absent columns' sum."""
    mean = shares @ B
    spread = np.sqrt(shares @ (B - mean) ** 2)
    constant = spread < 1e-12
    B, spread = np.where(constant, mean, B), np.where(constant, 1.0, spread)
    root = np.sqrt(shares)[:, None]
    coef = np.atleast_2d(model.coef_)

    def game(coalition):
        inside = np.zeros(B.shape[1], dtype=bool)
        inside[[c for player in coalition for c in groups[player]]] = True
        absent = (B[:, ~inside] - mean[~inside]) @ coef[:, ~inside].T
        slope = np.linalg.lstsq(root * (B - mean)[:, inside] / spread[inside], root * absent, rcond=3e-5)[0]
        predicted = ((x - mean) / spread)[inside] @ slope
        known = np.where(inside, x, mean)
        return np.ravel(model.predict(known[None])) + predicted

    return game


def background_of(kind):
    if kind == "full rank":
        return mixed_normals(40, 4)
    if kind == "copies":
        B = mixed_normals(30, 3)
        return np.column_stack([B, B[:, 0], np.full(30, 2.0)])
    if kind == "fewer rows than columns":
        return mixed_normals(3, 5)
    return mixed_normals(1, 4)  # one row


@pytest.mark.parametrize("index", WEIGHTS)
@pytest.mark.parametrize("kind", ["full rank", "copies", "fewer rows than columns", "one row"])
def test_all_coalitions_by_regression(kind, index):
    B = background_of(kind)
    rows = B[:1] + np.random.default_rng(3).normal(size=(2, B.shape[1]))
    weights = np.random.default_rng(4).integers(1, 4, len(B)).astype(float)
    model = fitted(B, outputs=2)
    e = wb.explain(model, rows, B, METHOD, index=index, background_weight=weights)
    pairs = wb.explain(model, rows[:1], B, METHOD, index=index, background_weight=weights, order=2)
    players = [[j] for j in range(B.shape[1])]
    for i, x in enumerate(rows):
        game = conditional_game(model, x, B, weights / weights.sum(), players)
        want = semivalue(game, len(players), WEIGHTS[index])
        np.testing.assert_allclose(e.values[i], want, atol=1e-9 * np.abs(want).max())
        np.testing.assert_allclose(e.base, game(frozenset()), atol=1e-12)
        if i == 0:
            whole = semivalue(game, len(players), WEIGHTS[index], 2)
            off = ~np.eye(len(players), dtype=bool)
            np.testing.assert_allclose(2 * pairs.values[0][off], whole[off], atol=1e-8 * np.abs(want).max())
            np.testing.assert_allclose(pairs.values[0].sum(axis=1), want, atol=1e-9 * np.abs(want).max())
    if index == "shapley":
        np.testing.assert_allclose(e.base + e.values.sum(axis=1), model.predict(rows), atol=1e-10)


def test_groups_and_one_hot_columns_are_players():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"town": rng.choice(list("abc"), 60), "x": rng.normal(size=60)})
    frame["y"] = frame["x"] + (frame["town"] == "a") + 0.3 * rng.normal(size=60)
    from sklearn.compose import make_column_transformer

    steps = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    model = make_pipeline(steps, Ridge()).fit(frame, frame["y"] + frame["x"])
    inner, B, X = model[-1], model[0].transform(frame), model[0].transform(frame[:4])
    e = wb.explain(model, frame[:4], frame, METHOD)
    joined = wb.explain(model, frame[:4], frame, METHOD, players={"numbers": ["x", "y"]})
    for i in range(4):
        for got, groups in ((e, [[0, 1, 2], [3], [4]]), (joined, [[0, 1, 2], [3, 4]])):
            game = conditional_game(inner, X[i], B, np.full(60, 1 / 60), groups)
            np.testing.assert_allclose(got.values[i], semivalue(game, len(groups), shapley)[:, 0], atol=1e-10)
    assert any("varies in 4 directions only, with 5 columns" in note for note in e.evidence.notes)


def test_two_features_share_what_they_have_in_common():
    rng = np.random.default_rng(0)
    common = rng.normal(size=5000)
    B = np.column_stack([common, 0.8 * common + 0.6 * rng.normal(size=5000)])
    B = (B - B.mean(axis=0)) / B.std(axis=0)
    r = float(np.mean(B[:, 0] * B[:, 1]))
    model = fitted(B)
    model.coef_ = np.array([[1.0, 0.0]])
    x = np.array([[2.0, -1.0]])
    e = wb.explain(model, x, B, METHOD)
    # v(1) = x1, v(2) = r x2, v(1, 2) = x1
    np.testing.assert_allclose(e.values[0], [2.0 - r * -1.0 / 2, r * -1.0 / 2], atol=1e-12)
    assert wb.explain(model, x, B).values[0, 1] == 0.0  # without a weight, and not correlated, it has none


def test_uncorrelated_columns_have_the_values_of_linear_shap():
    B = np.array([[a, b, c] for a in (-1.0, 1.0) for b in (-2.0, 2.0) for c in (0.0, 3.0)])
    model = fitted(B)
    rows = np.random.default_rng(0).normal(size=(5, 3))
    e = wb.explain(model, rows, B, METHOD)
    np.testing.assert_allclose(e.values, wb.explain(model, rows, B).values, atol=1e-12)
    assert e.evidence.method_id == "shap.linear_shap_correlated"
    assert e.evidence.estimand.startswith("conditional")
    assert e.evidence.kernel == "linear, correlated"


def test_copies_share_the_credit_equally():
    B = mixed_normals(50, 2)
    B = np.column_stack([B, B[:, 0]])
    model = fitted(B)
    e = wb.explain(model, B[:5], B, METHOD)
    np.testing.assert_allclose(e.values[:, 0], e.values[:, 2], atol=1e-10)


def test_an_explainer_is_pickled_and_rows_come_one_by_one():
    B = mixed_normals(50, 6)
    explainer = LinearShap(fitted(B), B, method=METHOD)
    together = explainer(B[:5])
    again = pickle.loads(pickle.dumps(explainer))
    assert np.array_equal(again(B[:5]).values, together.values)
    np.testing.assert_allclose(explainer(B[2:3]).values[0], together.values[2], atol=1e-12)


def test_a_wrong_slope_is_found_by_the_second_way(monkeypatch):
    B = mixed_normals(50, 4)
    model = fitted(B)
    right = ConditionalGaussian.row_slopes
    shift = np.array([1.0, -1.0, 0.0, 0.0])[:, None, None]  # the sum stays what it was

    def wrong(self, index, order):
        slopes = right(self, index, order)
        return slopes + 1e-6 * shift if order == 1 else slopes

    monkeypatch.setattr(ConditionalGaussian, "row_slopes", wrong)
    with pytest.raises(SpotCheckError, match="least squares on the background"):
        wb.explain(model, B[:5] + 1.0, B, METHOD)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"background": None}, OptionError, "learns from the background"),
        ({"model": "logistic", "scale": "probability"}, OptionError, "whose conditional mean is not linear"),
        ({"model": "forest"}, UnsupportedModelError, "LinearShap explains Linear models"),
        ({"sparse": True}, OptionError, "needs every column"),
        ({"columns": 16}, UnsupportedModelError, "2\\^16 coalitions .* up to 15"),
        ({"hole": "row"}, InputError, "refuses those|has no place in a Gaussian"),
    ],
)
def test_what_is_refused(change, error, text):
    B = mixed_normals(40, change.get("columns", 4))
    model = {
        "logistic": lambda: LogisticRegression().fit(B, B[:, 0] > B[:, 0].mean()),
        "forest": lambda: RandomForestRegressor(2).fit(B, B[:, 0]),
    }.get(change.get("model"), lambda: fitted(B))()
    rows = np.where(np.eye(4, dtype=bool)[:3], np.nan, B[:3]) if "hole" in change else B[:3]
    options = {name: value for name, value in change.items() if name in ("scale", "sparse")}
    with pytest.raises(error, match=text):
        wb.explain(model, rows, change.get("background", B), METHOD, **options)


def test_missing_values_and_too_many_slopes_are_refused():
    xgboost = pytest.importorskip("xgboost")
    B = mixed_normals(40, 4)
    model = xgboost.XGBRegressor(booster="gblinear", n_estimators=3).fit(B, B[:, 0])  # which takes missing values
    holes = np.where(np.eye(40, 4, dtype=bool), np.nan, B)
    with pytest.raises(InputError, match="the background has a missing value, which has no place in a Gaussian"):
        wb.explain(model, B[:3], holes, METHOD)
    with pytest.raises(InputError, match="a row has a missing value"):
        wb.explain(model, holes[:3], B, METHOD)
    wide = np.random.default_rng(0).normal(size=(80, 300))
    many = {f"g{k}": list(range(20 * k, 20 * k + 20)) for k in range(15)}
    with pytest.raises(LimitError, match="slopes for all coalitions"):
        wb.explain(fitted(wide, outputs=5), wide[:2], wide, METHOD, players=many)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_values_are_those_of_the_shap_package():
    shap = pytest.importorskip("shap")
    B = mixed_normals(2000, 5)
    model = fitted(B)
    model.coef_, model.intercept_ = model.coef_[0], model.intercept_[0]
    ours = wb.explain(model, B[:5], B, METHOD).values
    theirs = shap.LinearExplainer(model, B, feature_perturbation="correlation_dependent", nsamples=8000)
    np.testing.assert_allclose(theirs.shap_values(B[:5]), ours, atol=0.03 * np.abs(ours).max())  # which samples orders
    plain = shap.LinearExplainer(model, shap.maskers.Independent(B, max_samples=len(B)))
    np.testing.assert_allclose(plain.shap_values(B[:5]), wb.explain(model, B[:5], B).values, atol=1e-9)
