"""Attributions of losses, against the definition written out: the mean over background rows of the loss of each hybrid's prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVR

import whybox as wb
from oracles import banzhaf, hybrid_game, semivalue, shapley
from whybox.errors import SpotCheckError
from whybox.explainers import ExactShap, SampledShap
from whybox.methods.shap.game_hybrids import GameGrid

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2])
NAMES = np.array(["low", "middle", "high"])[(Y > -0.5).astype(int) + (Y > 0.5)]
ROWS, BACKGROUND, AT = X[:5], X[40:49], slice(0, 5)
WEIGHTS = np.arange(9.0)
SINGLE = [(j,) for j in range(4)]


def log(truth, probabilities, classes):
    return -np.log(np.clip(probabilities[:, list(classes).index(truth)], np.finfo(float).eps, 1))


def by_definition(
    loss, truth, groups=SINGLE, *, rows=ROWS, background=BACKGROUND, weights=None, index=shapley, order=1
):
    """Values of each row, (rows, players) or (rows, players, players), given `loss(truth of the row, hybrids)`."""
    return np.stack(
        [
            semivalue(
                hybrid_game(lambda h, t=t: loss(t, h), groups, row, background, weights), len(groups), index, order
            )
            for row, t in zip(rows, truth, strict=True)
        ]
    )


def squared(model):
    return lambda t, h: (t - model.predict(h)) ** 2


def log_of(model):
    return lambda t, h: log(t, model.predict_proba(h), model.classes_)


@pytest.mark.parametrize(
    "model",
    [SVR(), RandomForestRegressor(5, random_state=0), PoissonRegressor()],
    ids=lambda m: type(m).__name__,
)
def test_squared_error_of_regressors(model):
    model.fit(X, np.abs(Y))
    got = wb.explain(model, ROWS, BACKGROUND, loss="squared", y=np.abs(Y)[AT])
    np.testing.assert_allclose(got.values, by_definition(squared(model), np.abs(Y)[AT]), atol=1e-10)
    np.testing.assert_allclose(got.prediction, (np.abs(Y)[AT] - model.predict(ROWS)) ** 2, atol=1e-12)
    base = [np.mean((t - model.predict(BACKGROUND)) ** 2) for t in np.abs(Y)[AT]]
    np.testing.assert_allclose(got.base_values, base, atol=1e-12)
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base_values, got.prediction, atol=1e-12)
    assert got.evidence.exact
    assert got.evidence.method_id == "shap.exact_shap"
    assert got.evidence.spot_checks.numbers > 0
    assert got.units == "squared loss, squared units of y"


@pytest.mark.parametrize("truth", [NAMES, (NAMES == "low").astype(int)], ids=["three names", "two numbers"])
@pytest.mark.parametrize(
    "model",
    [
        GradientBoostingClassifier(n_estimators=5, random_state=0),
        RandomForestClassifier(5, random_state=0),
        KNeighborsClassifier(),
        LogisticRegression(),
    ],
    ids=lambda m: type(m).__name__,
)
def test_log_loss_of_classifiers(model, truth):
    model.fit(X, truth)
    got = wb.explain(model, ROWS, BACKGROUND, loss="log", y=truth[AT])
    np.testing.assert_allclose(got.values, by_definition(log_of(model), truth[AT]), atol=1e-9)
    probabilities = model.predict_proba(ROWS)
    np.testing.assert_allclose(got.extras["model_prediction"][1], probabilities, atol=1e-12)
    assert got.extras["y"][1].tolist() == list(map(str, truth[AT]))
    assert got.dims == ("row", "feature")
    assert got.units == "log loss, nats"
    read = wb.explain(model.predict_proba, ROWS, BACKGROUND, loss="log_loss", y=truth[AT])
    np.testing.assert_allclose(read.values, got.values, atol=1e-12)


@pytest.mark.parametrize("name", ["brier", "zero_one"])
def test_other_losses_of_classes(name):
    model = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, NAMES)
    classes = model.classes_

    def loss(t, hybrids):
        p = model.predict_proba(hybrids)
        if name == "zero_one":
            return (classes[p.argmax(axis=1)] != t).astype(float)
        return ((p - (classes == t)) ** 2).sum(axis=1)

    got = wb.explain(model, ROWS, BACKGROUND, loss=name, y=NAMES[AT])
    np.testing.assert_allclose(got.values, by_definition(loss, NAMES[AT]), atol=1e-10)


def test_the_loss_is_that_of_each_background_row_and_not_of_the_mean_prediction():
    model = SVR().fit(X, Y)
    got = wb.explain(model, ROWS, BACKGROUND, loss="squared", y=Y[AT])
    of_mean = (Y[AT] - model.predict(BACKGROUND).mean()) ** 2
    assert (got.base_values > of_mean + 1e-3).all()
    np.testing.assert_allclose(got.base_values - of_mean, model.predict(BACKGROUND).var(), atol=1e-12)


def test_the_mean_over_rows_shares_out_the_mean_loss():
    model = SVR().fit(X, Y)
    got = wb.explain(model, X, BACKGROUND, loss="squared", y=Y, max_evals=10**6)
    mean_loss = np.mean((Y - model.predict(X)) ** 2)
    np.testing.assert_allclose(got.values.mean(axis=0).sum() + got.base_values.mean(), mean_loss, atol=1e-12)


def test_groups_weights_an_index_and_interactions():
    model = SVR().fit(X, Y)
    groups = [(0, 2), (1,), (3,)]
    got = wb.explain(
        model, ROWS, BACKGROUND, loss="squared", y=Y[AT], players={"both": [0, 2]}, background_weight=WEIGHTS
    )
    expected = by_definition(squared(model), Y[AT], groups, weights=WEIGHTS / WEIGHTS.sum())
    np.testing.assert_allclose(got.values, expected, atol=1e-10)
    got = wb.explain(model, ROWS, BACKGROUND, loss="squared", y=Y[AT], index="banzhaf")
    np.testing.assert_allclose(got.values, by_definition(squared(model), Y[AT], index=banzhaf()), atol=1e-10)
    pairs = wb.explain(model, ROWS, BACKGROUND, loss="squared", y=Y[AT], order=2)
    whole = by_definition(squared(model), Y[AT], order=2)
    np.testing.assert_allclose(pairs.values[:, 0, 1], whole[:, 0, 1] / 2, atol=1e-10)
    np.testing.assert_allclose(pairs.values.sum(axis=2), by_definition(squared(model), Y[AT]), atol=1e-10)


def test_equal_rows_with_another_truth_have_games_of_their_own():
    model = SVR().fit(X, Y)
    rows, truth = ROWS[[0, 0, 1, 0]], np.array([3.0, -3.0, 3.0, 3.0])
    expected = by_definition(squared(model), truth, rows=rows)
    calls = []

    def counted(cells):
        calls.append(len(cells))
        return model.predict(cells)

    got = wb.explain(counted, rows, BACKGROUND, loss="squared", y=truth, spot_checks=0)
    np.testing.assert_allclose(got.values, expected, atol=1e-10)
    assert not np.allclose(got.values[0], got.values[1])
    once, calls[:] = sum(calls), []
    wb.explain(counted, rows[[0, 2]], BACKGROUND, loss="squared", y=truth[[0, 2]], spot_checks=0)
    assert once <= sum(calls) + 2 + 2 * 24  # hybrids of equal rows are evaluated once
    sampled = SampledShap(model, BACKGROUND, loss="squared", max_evals=20_000)(rows, y=truth)
    np.testing.assert_allclose(sampled.values, expected, atol=1e-8)


def test_rows_with_few_features_that_differ():
    model = SVR().fit(X, Y)
    background = np.repeat(ROWS[:1], 6, axis=0)
    background[:, 1] = X[40:46, 1]
    rows = np.stack([ROWS[0], ROWS[0], ROWS[1]])
    rows[0, 1] = background[0, 1]
    truth = np.array([1.0, -1.0, 0.0])
    expected = by_definition(squared(model), truth, rows=rows, background=background)
    for explainer in (ExactShap, SampledShap):
        got = explainer(model, background, loss="squared")(rows, y=truth)
        np.testing.assert_allclose(got.values, expected, atol=1e-9)
    same = wb.explain(model, ROWS[:2], ROWS[:1], loss="squared", y=[0.0, 1.0])
    assert (same.values[0] == 0).all()
    assert same.prediction[0] == same.base_values[0]


def test_any_kind_of_table():
    columns = list("abcd")
    frame = pd.DataFrame(X, columns=columns)
    model = KNeighborsClassifier().fit(frame, NAMES)
    got = wb.explain(model, frame[:5], frame[40:49], loss="log", y=pd.Series(NAMES[AT], index=list("vwxyz")))
    loss = lambda t, h: log(t, model.predict_proba(pd.DataFrame(h, columns=columns)), model.classes_)
    np.testing.assert_allclose(got.values, by_definition(loss, NAMES[AT]), atol=1e-9)
    table = pl.DataFrame(X, schema=columns).with_columns(pl.Series("kind", NAMES))
    of_polars = wb.explain(model, table[:5], table[40:49], loss="log", y="kind")
    np.testing.assert_allclose(of_polars.values, got.values, atol=1e-9)
    assert list(of_polars.data.names) == columns
    sparse = SVR().fit(csr_matrix(X), Y)
    of_sparse = wb.explain(sparse, csr_matrix(ROWS), csr_matrix(BACKGROUND), loss="squared", y=Y[AT])
    loss = lambda t, h: (t - sparse.predict(csr_matrix(h))) ** 2
    np.testing.assert_allclose(of_sparse.values, by_definition(loss, Y[AT]), atol=1e-10)


# estimated

WIDE = RNG.normal(size=(60, 9))
WIDE_Y = WIDE[:, 0] * WIDE[:, 1] + WIDE[:, 2] - np.abs(WIDE[:, 3])


@pytest.mark.parametrize("loss", ["squared", "log"])
def test_errors_of_estimates_cover_the_exact_values(loss):
    truth = WIDE_Y if loss == "squared" else (WIDE_Y > 0).astype(int)
    model = SVR().fit(WIDE, truth) if loss == "squared" else LogisticRegression().fit(WIDE, truth)
    rows, background = WIDE[:6], WIDE[20:50]
    exact = ExactShap(model, background, loss=loss)(rows, y=truth[:6])
    off = []
    for seed in range(12):
        got = SampledShap(model, background, loss=loss, max_evals=6_000, tol=1e-9, seed=seed)(rows, y=truth[:6])
        off.append((got.values - exact.values) / got.std_error)
        np.testing.assert_allclose(got.values.sum(axis=1) + got.base_values, exact.prediction, atol=1e-9)
    off = np.array(off)
    assert (np.abs(off) < 1.96).mean() > 0.9
    assert 0.6 < off.std() < 1.25
    assert not got.evidence.exact
    assert any("No surrogate was fitted: a loss depends on the truth" in note for note in got.evidence.notes)


def test_pairs_of_losses_are_estimated_too():
    model, background = SVR().fit(WIDE, WIDE_Y), WIDE[20:50]
    options = {"loss": "squared", "order": 2}
    exact = ExactShap(model, background, **options)(WIDE[:3], y=WIDE_Y[:3])
    off = []
    for seed in range(4):
        got = SampledShap(model, background, max_evals=9_000, tol=1e-9, seed=seed, **options)(WIDE[:3], y=WIDE_Y[:3])
        np.testing.assert_allclose(got.values.sum(axis=(1, 2)) + got.base_values, exact.prediction, atol=1e-9)
        off.append((got.values - exact.values) / got.std_error)
    assert (np.abs(off) < 1.96).mean() > 0.85
    assert 0.4 < np.std(off) < 1.5


def test_estimates_do_not_depend_on_the_order_of_rows():
    model = SVR().fit(WIDE, WIDE_Y)
    rows, truth = WIDE[[0, 0, 1, 2, 0]], np.array([0.0, 5.0, 1.0, -1.0, -5.0])
    order = np.array([4, 2, 0, 3, 1])
    explain = SampledShap(model, WIDE[20:50], loss="squared", max_evals=5_000, tol=1e-9)
    one, other = explain(rows, y=truth), explain(rows[order], y=truth[order])
    np.testing.assert_allclose(other.values, one.values[order], rtol=1e-9, atol=1e-12)


# what would be found


@pytest.mark.parametrize("method", ["exact_shap", "sampled_shap"])
def test_the_truth_of_another_row_is_found(monkeypatch, method):
    def mixed_up(self, row, donor, pattern, patterns, *, what=""):
        return self._by_row.of_hybrids(np.roll(row, 1), self._grid.evaluate(row, donor, pattern, patterns, what=what))

    monkeypatch.setattr(GameGrid, "evaluate", mixed_up)
    with pytest.raises(SpotCheckError, match=r"by asking SVR\.predict about rows whose absent features"):
        wb.explain(SVR().fit(X, Y), X[:20], BACKGROUND, method, loss="squared", y=Y[:20])
