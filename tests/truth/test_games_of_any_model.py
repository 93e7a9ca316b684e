"""Exact values of models that are not read, against definitions written out: every coalition and every background row, one by one."""

from __future__ import annotations

import pickle
import warnings
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR

import whybox as wb
from oracles import banzhaf, beta, hybrid_game, semivalue, shapley
from whybox.explainers import ExactShap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2])
CLASS = (Y > 0).astype(int) + (Y > 1)
ROWS, BACKGROUND = X[:3], X[40:49]
WEIGHTS = np.arange(9.0)


def curve(rows):
    """A function with interactions of three columns that pickle finds by its name."""
    return np.asarray(rows)[:, 0] * np.asarray(rows)[:, 1] * np.asarray(rows)[:, 2] + np.exp(np.asarray(rows)[:, 3])


def fitted(model, rows, y):
    """The model after few steps of training, of which scikit-learn warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows, y)


def by_definition(predict, rows, background, groups, weights=None, index=shapley, order=1):
    """Values of each row, (rows, players) or (rows, players, players)."""
    games = [hybrid_game(predict, groups, rows[i], background, weights) for i in range(len(rows))]
    return np.stack([semivalue(game, len(groups), index, order) for game in games])


SINGLE = [(j,) for j in range(4)]
MODELS = {
    "function": (curve, curve),
    "SVR": ((m := SVR().fit(X, Y)), m.predict),
    "KNeighborsRegressor": ((m := KNeighborsRegressor().fit(X, Y)), m.predict),
    "MLPRegressor": (
        (m := fitted(MLPRegressor(hidden_layer_sizes=(8,), max_iter=50, random_state=0), X, Y)),
        m.predict,
    ),
    "SVC": ((m := SVC().fit(X, Y > 0)), m.decision_function),
    "KNeighborsClassifier": ((m := KNeighborsClassifier().fit(X, Y > 0)), lambda r, m=m: m.predict_proba(r)[:, 1]),
    "StackingClassifier": (
        (m := StackingClassifier([("a", KNeighborsClassifier()), ("b", LogisticRegression())], cv=2).fit(X, Y > 0)),
        lambda r, m=m: m.predict_proba(r)[:, 1],
    ),
    "CalibratedClassifierCV": (
        (m := CalibratedClassifierCV(RandomForestClassifier(3, random_state=0), cv=2).fit(X, Y > 0)),
        lambda r, m=m: m.predict_proba(r)[:, 1],
    ),
    "Pipeline": ((m := make_pipeline(StandardScaler(), SVR()).fit(X, Y)), m.predict),
    "bound method": ((m := SVC().fit(X, Y > 0)).decision_function, m.decision_function),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_are_those_of_the_definition(name):
    model, predict = MODELS[name]
    got = wb.explain(model, ROWS, BACKGROUND)
    np.testing.assert_allclose(got.values, by_definition(predict, ROWS, BACKGROUND, SINGLE), atol=1e-12)
    np.testing.assert_allclose(got.base, predict(BACKGROUND).mean(), atol=1e-12)
    np.testing.assert_array_equal(got.prediction, predict(ROWS))
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, got.prediction, atol=1e-14)
    assert got.kind == "attribution"
    assert got.evidence.method_id == "shap.exact_shap"
    assert got.evidence.exact
    assert got.std_error is None
    assert got.extras["converged"][1].all()
    assert got.evidence.spot_checks.numbers > 0


@pytest.mark.parametrize("index", ["banzhaf", "banzhaf(0.3)", "beta(4, 1)"])
def test_other_indices(index):
    weight = {"banzhaf": banzhaf(), "banzhaf(0.3)": banzhaf(0.3), "beta(4, 1)": beta(4, 1)}[index]
    got = wb.explain(curve, ROWS, BACKGROUND, index=index)
    np.testing.assert_allclose(got.values, by_definition(curve, ROWS, BACKGROUND, SINGLE, index=weight), atol=1e-12)
    assert not got.evidence.additive


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
def test_interactions_are_halves_beside_the_diagonal(index):
    weight = {"shapley": shapley, "banzhaf": banzhaf()}[index]
    got = wb.explain(curve, ROWS, BACKGROUND, order=2, index=index)
    assert got.kind == "interaction"
    assert got.dims == ("row", "feature", "feature_2")
    whole = by_definition(curve, ROWS, BACKGROUND, SINGLE, index=weight, order=2)
    single = by_definition(curve, ROWS, BACKGROUND, SINGLE, index=weight)
    for i, j in combinations(range(4), 2):
        np.testing.assert_allclose(got.values[:, i, j], whole[:, i, j] / 2, atol=1e-12)
        np.testing.assert_array_equal(got.values[:, i, j], got.values[:, j, i])
    np.testing.assert_allclose(got.values.sum(axis=2), single, atol=1e-12)


def test_interactions_of_a_tree_ensemble_evaluated_are_those_of_its_trees():
    model = GradientBoostingClassifier(n_estimators=6, max_depth=3, random_state=0).fit(X, Y > 0)
    read = wb.explain(model, ROWS, BACKGROUND, order=2)
    asked = wb.explain(model, ROWS, BACKGROUND, "exact_shap", order=2, response_method="decision_function")
    np.testing.assert_allclose(asked.values, read.values, atol=1e-12)
    np.testing.assert_allclose(asked.base, read.base, atol=1e-12)


def test_groups_of_columns_are_players():
    got = wb.explain(curve, ROWS, BACKGROUND, players={"both": [0, 2]})
    assert got.feature_names == ("both", "x1", "x3")
    groups = [(0, 2), (1,), (3,)]
    np.testing.assert_allclose(got.values, by_definition(curve, ROWS, BACKGROUND, groups), atol=1e-12)


def test_weights_of_background_rows_count_as_repeated_rows():
    got = wb.explain(curve, ROWS, BACKGROUND, background_weight=WEIGHTS)
    expected = by_definition(curve, ROWS, BACKGROUND, SINGLE, WEIGHTS / WEIGHTS.sum())
    np.testing.assert_allclose(got.values, expected, atol=1e-12)
    assert got.evidence.background_rows == 8  # the first weighs nothing
    again = wb.explain(curve, ROWS, np.repeat(BACKGROUND, WEIGHTS.astype(int), axis=0))
    np.testing.assert_allclose(again.values, expected, atol=1e-12)
    assert again.extras["model_evals"][1].sum() <= got.extras["model_evals"][1].sum()  # equal rows are evaluated once


def test_background_error_is_the_spread_of_single_background_rows():
    got = wb.explain(curve, ROWS, BACKGROUND)
    single = np.stack([wb.explain(curve, ROWS, BACKGROUND[[b]]).values for b in range(9)])
    np.testing.assert_allclose(single.mean(axis=0), got.values, atol=1e-12)
    np.testing.assert_allclose(got.extras["background_error"][1], single.std(axis=0, ddof=1) / 3.0, atol=1e-12)
    twice = wb.explain(curve, ROWS, np.concatenate([BACKGROUND, BACKGROUND]))
    spread = np.concatenate([single, single]).std(axis=0, ddof=1) / np.sqrt(18)
    np.testing.assert_allclose(twice.extras["background_error"][1], spread, atol=1e-12)
    assert np.isnan(wb.explain(curve, ROWS, BACKGROUND[:1]).extras["background_error"][1]).all()


def test_several_classes():
    model = fitted(MLPClassifier(hidden_layer_sizes=(8,), max_iter=60, random_state=0), X, CLASS)
    got = wb.explain(model, ROWS, BACKGROUND)
    assert got.dims == ("row", "feature", "output")
    for k in range(3):
        expected = by_definition(lambda r, k=k: model.predict_proba(r)[:, k], ROWS, BACKGROUND, SINGLE)
        np.testing.assert_allclose(got.values[..., k], expected, atol=1e-12)
    one = wb.explain(model, ROWS, BACKGROUND, output="2")
    np.testing.assert_allclose(one.values, got.values[..., 2], atol=1e-15)


def test_the_probability_of_many_features_by_a_plain_count():
    """A tree ensemble of more features than its kernel enumerates, of which each row differs in few."""
    rng = np.random.default_rng(1)
    wide = rng.normal(size=(200, 18))
    model = GradientBoostingClassifier(n_estimators=30, random_state=0).fit(wide, wide.sum(axis=1) > 0)
    background = np.repeat(wide[:1], 5, axis=0)
    background[:, [2, 5, 7]] = wide[1:6][:, [2, 5, 7]]
    rows = background[[0, 1]].copy()
    rows[:, [5, 11]] = wide[10:12][:, [5, 11]]
    got = wb.explain(model, rows, background, scale="probability")
    assert got.evidence.method_id == "shap.exact_shap"
    assert any("up to 15 are enumerated" in note for note in got.evidence.notes)
    predict = lambda r: model.predict_proba(r)[:, 1]
    groups = [(j,) for j in (2, 5, 7, 11)]
    np.testing.assert_allclose(
        got.values[:, [2, 5, 7, 11]], by_definition(predict, rows, background, groups), atol=1e-6
    )
    assert np.count_nonzero(np.delete(got.values, [2, 5, 7, 11], axis=1)) == 0


def _frame(n, rng):
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "city": rng.choice(["A", "B", "C"], n),
            "kind": pd.Categorical(rng.choice(["u", "v"], n), categories=["v", "u", "w"]),
            "income": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "member": rng.random(n) < 0.5,
        }
    )


def _score(rows):
    """Plain Python that needs the dtypes of the frame, and says so."""
    rows = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas()
    assert rows["age"].dtype.kind == "i"
    assert isinstance(rows["kind"].dtype, pd.CategoricalDtype) or rows["kind"].dtype == object
    out = np.where(rows["income"].isna(), -2.0, rows["income"].fillna(0.0)) * (rows["city"] == "A")
    return (out + rows["age"] / 50 * rows["member"] + (rows["kind"].astype(object) == "u")).to_numpy(dtype=float)


def _by_rows(predict, rows, background):
    """Shapley values of rows of a pandas frame, every hybrid made cell by cell."""
    d = rows.shape[1]
    out = np.zeros((len(rows), d))
    for i in range(len(rows)):
        worth = {}
        for size in range(d + 1):
            for present in combinations(range(d), size):
                hybrids = background.copy()
                for column in present:
                    cell = rows.iloc[[i] * len(background), column].set_axis(hybrids.index)
                    hybrids.isetitem(column, cell)
                worth[present] = predict(hybrids).mean()
        for present, value in worth.items():
            for j in range(d):
                if j in present:
                    without = tuple(c for c in present if c != j)
                    out[i, j] += (value - worth[without]) / (d * comb(d - 1, len(without)))
    return out


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_mixed_frames_keep_their_dtypes(library):
    """shap#2530: a function of a frame got an array of objects."""
    rng = np.random.default_rng(2)
    rows, background = _frame(2, rng), _frame(5, rng)
    convert = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}[library]
    got = wb.explain(_score, convert(rows), convert(background))
    np.testing.assert_allclose(got.values, _by_rows(_score, rows, background), atol=1e-12)
    assert got.feature_names == tuple(rows.columns)
    assert got.data["age"].tolist() == rows["age"].tolist()


def test_a_pipeline_takes_the_columns_that_it_was_given():
    rng = np.random.default_rng(3)
    frame = _frame(120, rng).drop(columns="income")
    steps = make_column_transformer((OneHotEncoder(), ["city", "kind"]), remainder="passthrough")
    model = make_pipeline(steps, StandardScaler(), SVR()).fit(
        frame, frame["age"] * frame["member"] + (frame["city"] == "A")
    )
    rows, background = frame[:2], frame[50:54]
    got = wb.explain(model, rows, background)
    assert got.feature_names == ("age", "city", "kind", "member")  # one-hot columns are one player by themselves
    np.testing.assert_allclose(got.values, _by_rows(model.predict, rows, background), atol=1e-10)


def test_sparse_rows():
    dense = np.where(np.random.default_rng(4).random((30, 6)) < 0.5, 0.0, np.random.default_rng(5).normal(size=(30, 6)))
    model = KNeighborsRegressor(3).fit(csr_matrix(dense), dense.sum(axis=1) * dense[:, 0])
    got = wb.explain(model, csr_matrix(dense[:2]), csr_matrix(dense[10:14]))
    expected = by_definition(lambda r: model.predict(csr_matrix(r)), dense[:2], dense[10:14], [(j,) for j in range(6)])
    np.testing.assert_allclose(got.values, expected, atol=1e-12)


def test_features_that_no_background_row_has_otherwise_are_no_players():
    background = BACKGROUND.copy()
    background[:, 1] = ROWS[0, 1]
    got = wb.explain(curve, ROWS, background)
    assert got.values[0, 1] == 0.0
    assert got.extras["model_evals"][1][0] < got.extras["model_evals"][1][1]
    np.testing.assert_allclose(got.values, by_definition(curve, ROWS, background, SINGLE), atol=1e-12)


def test_a_row_that_is_the_background_has_only_zeros():
    got = wb.explain(curve, ROWS[[0]], ROWS[[0, 0]])
    assert not got.values.any()
    assert got.base == got.prediction[0]


def test_disjoint_backgrounds_give_the_mean_of_what_each_gives():
    """As shap#1224 asks: two backgrounds that share no value, and both together."""
    one, other = BACKGROUND[:4], BACKGROUND[4:8] + 10.0
    both = wb.explain(curve, ROWS, np.concatenate([one, other]))
    each = [wb.explain(curve, ROWS, b) for b in (one, other)]
    np.testing.assert_allclose(both.values, (each[0].values + each[1].values) / 2.0, rtol=1e-10)
    assert np.abs(each[0].values - each[1].values).max() > 1.0
    assert each[0].evidence.fingerprints["background"] != each[1].evidence.fingerprints["background"]


def test_values_do_not_change_with_the_order_of_rows_or_what_else_is_explained():
    together = wb.explain(curve, X[:6], BACKGROUND)
    turned = wb.explain(curve, X[:6][::-1].copy(), BACKGROUND)
    np.testing.assert_array_equal(together.values, turned.values[::-1])
    np.testing.assert_array_equal(together[2].values, wb.explain(curve, X[[2]], BACKGROUND).values[0])


def test_large_problems_are_evaluated_in_parts(monkeypatch):
    from whybox.methods.shap import enumerate_games

    whole = wb.explain(curve, X[:5], BACKGROUND, order=2)
    monkeypatch.setattr(enumerate_games, "MAX_HYBRIDS", 40)  # two background rows of one row at a time
    parts = wb.explain(curve, X[:5], BACKGROUND, order=2)
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-14)
    np.testing.assert_allclose(parts.extras["background_error"][1], whole.extras["background_error"][1], atol=1e-14)


def test_a_kept_explainer_comes_back_from_a_pickle_with_the_same_numbers():
    explain = ExactShap(curve, BACKGROUND, index="banzhaf", seed=3)
    before = explain(ROWS)
    again = pickle.loads(pickle.dumps(explain))
    after = again(ROWS)
    np.testing.assert_array_equal(before.values, after.values)
    assert after.evidence.spot_checks.numbers > 0
    assert repr(again) == repr(explain) == "ExactShap(the function curve, 9 background rows)"


@pytest.mark.parametrize("width", [1, 2, 3])
def test_estimates_of_few_players_are_what_they_are_exactly(width):
    """All pairs of coalitions are evaluated over all background rows, so nothing is drawn."""
    rows, background = ROWS.copy(), BACKGROUND.copy()
    rows[:, width:], background[:, width:] = 0.0, 0.0
    got = wb.explain(curve, rows, background, "sampled_shap")
    np.testing.assert_allclose(got.values, by_definition(curve, rows, background, SINGLE), atol=1e-10)
    np.testing.assert_allclose(got.std_error, 0.0, atol=1e-10)
    assert got.extras["converged"][1].all()
