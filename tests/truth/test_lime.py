"""LIME against its definition: a weighted regression over every combination of values, and simulations of lime's own sampling."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import truncnorm
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression

import whybox as wb

RNG = np.random.default_rng(0)
N = 400


def discrete_table(seed=0, rows=N):
    """Columns of few values, so that every bin holds one value and nothing is drawn inside bins."""
    rng = np.random.default_rng(seed)
    return np.column_stack(
        [
            rng.integers(0, 2, rows),
            rng.integers(0, 3, rows),
            rng.choice([0, 5], rows, p=[0.9, 0.1]),
            rng.integers(0, 2, rows),
        ]
    ).astype(float)


def plain(model):
    """The model's predict as a function that nothing can be read from."""

    def predict(A):
        return model.predict(A)

    return predict


def by_definition(predict, background, row, width, weights=None):
    """Coefficients of the weighted regression over every combination of the background's values, each with its probability."""
    weights = np.full(len(background), 1 / len(background)) if weights is None else weights / weights.sum()
    values = [np.unique(c) for c in background.T]
    shares = [np.array([weights[background[:, j] == v].sum() for v in vs]) for j, vs in enumerate(values)]
    points = np.array(list(product(*values)))
    chance = np.array([np.prod(s) for s in product(*shares)])
    design = (points == row).astype(float)
    outside = (1 - design).sum(axis=1)
    weight = chance * np.exp(-outside / (2 * width**2))
    full = np.column_stack([np.ones(len(points)), design])
    root = np.sqrt(weight)[:, None]
    out = predict(points)
    solved = np.linalg.lstsq(full * root, (out * root[:, 0] if out.ndim == 1 else out * root), rcond=None)[0]
    mean = weight @ out / weight.sum()
    spread = weight @ (out - mean) ** 2 / weight.sum()
    fitted = full @ solved
    return solved, 1 - (weight @ (out - fitted) ** 2 / weight.sum()) / spread


MODELS = [
    RandomForestRegressor(10, random_state=0),
    GradientBoostingRegressor(n_estimators=10, random_state=0),
    RandomForestClassifier(10, random_state=0),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("width", [None, 0.5, 0.2])
def test_exact_values_are_those_of_the_weighted_regression(model, width):
    X = discrete_table()
    y = X[:, 0] * X[:, 1] + (X[:, 2] > 0) * 2 + RNG.normal(size=N) * 0.1
    classes = isinstance(model, RandomForestClassifier)
    model.fit(X, (y > y.mean()).astype(int) if classes else y)
    predict = (lambda A: model.predict_proba(A)[:, 1]) if classes else model.predict
    rows = X[[0, 7, 11]]
    e = wb.lime(model, rows, X, discretizer="decile", kernel_width=width)
    assert e.evidence.exact
    assert e.std_error is None
    for i, row in enumerate(rows):
        solved, r_squared = by_definition(predict, X, row, width or 0.75 * 2)
        np.testing.assert_allclose(e.values[i], solved[1:], atol=1e-10)
        assert e.extras["intercept"][1][i] == pytest.approx(solved[0], abs=1e-10)
        assert e.extras["local_prediction"][1][i] == pytest.approx(solved.sum(), abs=1e-10)
        assert e.extras["gap"][1][i] == pytest.approx(solved.sum() - predict(row[None])[0], abs=1e-10)
        if width is None:  # estimated from a sample
            assert e.extras["r_squared"][1][i] == pytest.approx(r_squared, abs=0.05)


def test_background_weights_count_as_copies_of_rows():
    X = discrete_table()
    y = X @ [1.0, 2.0, -1.0, 0.5] + X[:, 0] * X[:, 3]
    model = RandomForestRegressor(10, random_state=0).fit(X, y)
    weights = np.random.default_rng(1).integers(0, 3, N)
    weighted = wb.lime(
        model, X[:4], X, background_weight=weights, discretizer={f"x{j}": np.unique(X[:, j])[:-1] for j in range(4)}
    )
    copies = wb.lime(
        model, X[:4], np.repeat(X, weights, axis=0), discretizer={f"x{j}": np.unique(X[:, j])[:-1] for j in range(4)}
    )
    np.testing.assert_allclose(weighted.values, copies.values, atol=1e-12)
    solved, _ = by_definition(model.predict, X, X[0], 1.5, weights.astype(float))
    np.testing.assert_allclose(weighted.values[0], solved[1:], atol=1e-10)


def lime_sample(X, categories, rng, draws, percents=(25, 50, 75)):
    """What the lime package draws, written from its definition: bins by share, normal numbers cut off at the bin's ends."""
    out = np.empty((draws, X.shape[1]))
    for j, column in enumerate(X.T):
        if j in categories:
            values, counts = np.unique(column, return_counts=True)
            out[:, j] = rng.choice(values, draws, p=counts / len(column))
            continue
        edges = np.unique(np.percentile(column, percents))
        own = np.searchsorted(edges, column)
        low, high = np.append(column.min(), edges), np.append(edges, column.max())
        drawn = rng.choice(own, draws)
        for b in np.unique(own):
            inside = column[own == b]
            m, s = inside.mean(), inside.std()
            where = drawn == b
            out[where, j] = truncnorm.rvs(
                (low[b] - m) / s, (high[b] - m) / s, loc=m, scale=s, size=where.sum(), random_state=rng
            )
    return out


def own_region(X, row, categories, percents=(25, 50, 75)):
    def inside(A):
        z = np.empty(A.shape)
        for j in range(X.shape[1]):
            if j in categories:
                z[:, j] = A[:, j] == row[j]
            else:
                edges = np.unique(np.percentile(X[:, j], percents))
                z[:, j] = np.searchsorted(edges, A[:, j]) == np.searchsorted(edges, row[j])
        return z

    return inside


def test_exact_values_are_the_limit_of_lime():
    """Within the noise of 200,000 draws of lime's own distribution, kernel and regression."""
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.normal(size=N), rng.exponential(size=N), rng.integers(0, 3, N), rng.uniform(-1, 1, N)])
    y = X[:, 0] * (X[:, 2] == 1) + np.log1p(X[:, 1]) - X[:, 3] ** 2
    frame = pd.DataFrame(X, columns=list("abcd")).assign(c=pd.Categorical(X[:, 2].astype(int).astype(str)))
    model = RandomForestRegressor(20, random_state=0, min_samples_leaf=3).fit(X, y)

    def predict(A):
        return model.predict(np.column_stack([A[c].astype(float) for c in A]) if isinstance(A, pd.DataFrame) else A)

    e = wb.lime(predict, frame[:2], frame, max_evals=60_000, tol=1e-6)
    half = 0.5 / (0.75 * 2) ** 2
    sample = lime_sample(X, {2}, rng, 200_000)
    out = model.predict(sample)
    for i in range(2):
        z = own_region(X, X[i], {2})(sample)
        w = np.exp(-half * (1 - z).sum(axis=1))
        full = np.column_stack([np.ones(len(z)), z])
        gram = np.linalg.inv(full.T @ (full * w[:, None]))
        coefficient = gram @ (full.T @ (w * out))
        score = full * (w * (out - full @ coefficient))[:, None]
        error = np.sqrt(np.diag(gram @ (score.T @ score) @ gram))
        apart = (e.values[i] - coefficient[1:]) / np.hypot(error[1:], e.std_error[i])
        assert np.abs(apart).max() < 4
        assert e.extras["intercept"][1][i] == pytest.approx(coefficient[0], abs=0.02)


def small_problem(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(600, 6))
    X[:, 3] = X[:, 3] > 0.3
    X[:, 4] = np.round(X[:, 4])
    y = X[:, 0] * X[:, 1] + X[:, 2] + 2 * X[:, 3] + np.sin(3 * X[:, 4])
    return X, GradientBoostingRegressor(n_estimators=30, random_state=0).fit(X, y)


OPTIONS = [
    {},
    {"discretizer": "decile"},
    {"neighbourhood": "row"},
    {"discretizer": None},
    {"kernel_width": 0.7},
    {"kernel_width": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_intervals_of_sampled_values_hold_the_exact_ones(options):
    X, model = small_problem()
    rows = X[:12]
    exact = wb.lime(model, rows, X, **options).values
    inside, near, count = 0, 0.0, 0
    for seed in range(6):
        e = wb.lime(
            plain(model),
            rows,
            X,
            seed=seed,
            tol=1e-9,
            max_evals=2_500 if "kernel_width" not in options else 20_000,
            spot_checks=0,
            **options,
        )
        low, high = e.interval
        inside += ((low - 1e-12 <= exact) & (exact <= high + 1e-12)).sum()
        near += (np.abs(e.values - exact) / np.maximum(e.std_error, 1e-12)).clip(0, 10).sum()
        count += exact.size
    assert 0.90 <= inside / count <= 0.995
    assert 0.5 < near / count < 1.1  # 0.8 of a standard error, if errors are what they say


def test_more_draws_bring_smaller_errors():
    X, model = small_problem()
    few, many = (wb.lime(plain(model), X[:5], X, tol=1e-9, max_evals=n).std_error.mean() for n in (1_500, 20_000))
    assert many < 0.45 * few


def test_an_additive_function_is_explained_without_error():
    X, _ = small_problem()
    X = X[:, 3:5]

    def additive(A):
        return 2 * A[:, 0] + (A[:, 1] > 0) * 1.5

    e = wb.lime(additive, X[:5], X, discretizer="decile", max_evals=2_000)
    assert e.std_error.max() < 1e-9
    own = e.extras["share"][1]
    assert np.abs(e.values[:, 0]).max() == pytest.approx(2.0, abs=1e-6)
    assert ((own > 0) & (own < 1)).all()


def test_continuous_values_are_slopes_in_standard_deviations():
    X, _ = small_problem()
    slopes = np.array([1.0, -2.0, 0.0, 3.0, 0.5, 0.0])
    e = wb.lime(lambda A: A @ slopes, X[:5], X, discretizer=None, max_evals=2_000)
    np.testing.assert_allclose(e.values, np.broadcast_to(slopes * X.std(axis=0), e.shape), atol=1e-8)
    assert "per standard deviation" in e.units


def test_continuous_exact_values_are_weighted_slopes():
    """By integration over a fine grid of two normal columns."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(500, 2)) * [1.0, 3.0] + [0.0, 5.0]
    model = RandomForestRegressor(10, max_depth=4, random_state=0).fit(X, X[:, 0] * X[:, 1])
    row, width = X[4], 1.1
    e = wb.lime(model, row[None], X, discretizer=None, kernel_width=width)
    z = np.linspace(-7, 7, 1401)
    place = (row - X.mean(axis=0)) / X.std(axis=0)
    law = [np.exp(-(z**2) / 2 - (z - p) ** 2 / (2 * width**2)) for p in place]
    law = [w / w.sum() for w in law]
    grid = np.stack(
        np.meshgrid(*(z * s + m for s, m in zip(X.std(axis=0), X.mean(axis=0), strict=True)), indexing="ij"), axis=-1
    )
    out = model.predict(grid.reshape(-1, 2)).reshape(len(z), len(z))
    weight = np.outer(*law)
    for j in range(2):
        axis = z[:, None] if j == 0 else z[None]
        mean = (weight * axis).sum()
        slope = (weight * (axis - mean) * out).sum() / (weight * (axis - mean) ** 2).sum()
        assert e.values[0, j] == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_cells_that_the_background_never_has_are_compared_as_they_are():
    X = discrete_table()
    y = X[:, 0] * X[:, 1] + (X[:, 2] > 0)
    model = RandomForestRegressor(10, random_state=0).fit(X, y)
    rows = X[:3].copy()
    rows[0, 1], rows[1, 2] = 9.0, -3.0
    edges = {f"x{j}": np.unique(X[:, j])[:-1] for j in range(4)}
    e = wb.lime(model, rows, X, discretizer=edges)
    s = wb.lime(plain(model), rows, X, discretizer=edges, max_evals=40_000, tol=1e-9)
    assert np.abs(e.values - s.values).max() < 5 * max(s.std_error.max(), 1e-9)
    half = 0.5 / 1.5**2
    values = [np.unique(c) for c in X.T]
    points = np.array(list(product(*values)))
    chance = np.prod([[(X[:, j] == p[j]).mean() for j in range(4)] for p in points], axis=1)
    others = [0, 2, 3]
    weight = chance * np.exp(-half * (points[:, others] != rows[0, others]).sum(axis=1))
    changed = points.copy()
    changed[:, 1] = 9.0
    contrast = weight @ (model.predict(changed) - model.predict(points)) / weight.sum()
    assert e.values[0, 1] == pytest.approx(contrast, abs=1e-10)
    assert "nothing like it" in e.extras["condition"][1][0, 1]
    assert any("like none of the background" in n for n in e.evidence.notes)


def test_players_of_several_columns_are_drawn_together():
    """Two columns that are always equal: drawn apart they would meet values that no row has."""
    rng = np.random.default_rng(4)
    a = rng.integers(0, 3, 300).astype(float)
    X = np.column_stack([a, a, rng.integers(0, 2, 300)])
    met = []

    def function(A):
        met.append(np.asarray(A))
        return A[:, 0] * A[:, 1] + A[:, 2]

    e = wb.lime(function, X[:4], X, players={"pair": ["x0", "x1"]}, discretizer="decile", max_evals=3_000)
    seen = np.concatenate(met)
    assert (seen[:, 0] == seen[:, 1]).all()
    assert e.feature_names == ("pair", "x2")
    shares = np.array([(a == v).mean() for v in range(3)])
    for i in range(4):
        v = int(a[i])
        other = sum(shares[u] * u * u for u in range(3) if u != v) / (1 - shares[v])
        assert e.values[i, 0] == pytest.approx(v * v - other, abs=1e-6)


def test_logistic_regression_by_simulation():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(500, 3))
    model = LogisticRegression().fit(X, rng.random(500) < 1 / (1 + np.exp(-X @ [2.0, -1.0, 0.3])))
    e = wb.lime(model, X[:2], X, scale="probability", max_evals=40_000, tol=1e-6)
    sample = lime_sample(X, set(), rng, 100_000)
    out = model.predict_proba(sample)[:, 1]
    for i in range(2):
        z = own_region(X, X[i], set())(sample)
        w = np.exp(-(1 - z).sum(axis=1) * 0.5 / (0.75**2 * 3))
        full = np.column_stack([np.ones(len(z)), z])
        coefficient = np.linalg.solve(full.T @ (full * w[:, None]), full.T @ (w * out))
        np.testing.assert_allclose(e.values[i], coefficient[1:], atol=0.006)
