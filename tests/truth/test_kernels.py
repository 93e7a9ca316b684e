"""The native kernels against their numpy specification, and both against brute force over all coalitions."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb
from ensembles import ensemble, random_ensemble, random_rows
from oracles import banzhaf, beta, hybrid_game, path_game, semivalue, shapley
from whybox.games.indices import as_index
from whybox.kernels import compiled_trees, reference, tree_shap

CASES = [
    dict(),
    dict(depth=6, trees=2),
    dict(outputs=3),
    dict(outputs=3, vector=True),
    dict(depth=0),
    dict(chain=True, depth=9, columns=3),
    dict(columns=1),
]
# no library has vector leaves that are linear
LINEAR_TOO = [(i, linear) for i, c in enumerate(CASES) for linear in (False, True) if not (linear and c.get("vector"))]
INDICES = {
    "shapley": shapley,
    "banzhaf": banzhaf(),
    "banzhaf(0.3)": banzhaf(0.3),
    "beta(4, 1)": beta(4, 1),
    "beta(0.5, 2.5)": beta(0.5, 2.5),
}


def singles(columns):
    return np.arange(columns, dtype=np.int32), [[c] for c in range(columns)]


def run_path(e, player_of, count, X, index, order):
    most = tree_shap.players_on_path(e, player_of, count)
    degrees = np.unique(np.maximum(most - order, 0))
    rules = [as_index(index).rule(int(d)) for d in degrees]
    of_tree = np.searchsorted(degrees, np.maximum(most - order, 0))
    out = np.zeros((len(X), *(count,) * order, len(e.base_values)))
    every = tree_shap.QuadratureRules.from_rules(rules, of_tree)
    how = {
        "kernel": "lane walk",
        "instructions": compiled_trees.fastest_instructions(),
        "arithmetic": "float64",
        "bits": 4,
    }
    compiled_trees.CompiledTrees(e, player_of, count, every, order=order, **how).add_values(
        X, out, threads=1, description="", quiet=True
    )
    return out


def run_pairs(e, player_of, count, X, B, w, index, order):
    out = np.zeros((len(X), *(count,) * order, len(e.base_values)))
    tree_shap.add_interventional(e, player_of, count, X, B, w[None], as_index(index).moments(count + 1), order, out)
    return out


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("seed", range(6))
def test_native_predict_equals_the_specification_bit_for_bit(case, seed):
    e = random_ensemble(seed, **CASES[case])
    X = random_rows(seed, 300, e.inputs.width)
    assert np.array_equal(tree_shap.leaf_indices(e, X), reference.leaf_indices(e, X))
    assert np.array_equal(tree_shap.predict(e, X), reference.predict(e, X))
    assert np.allclose(tree_shap.expectation(e), reference.expectation(e), atol=1e-13)


@pytest.mark.parametrize("seed", range(6))
def test_linear_leaves_predict(seed):
    e = random_ensemble(seed, linear=True)
    X = random_rows(seed, 300, 4)
    with np.errstate(all="ignore"):
        assert np.array_equal(tree_shap.predict(e, X), reference.predict(e, X), equal_nan=True)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("seed", range(3))
def test_path_dependent(case, seed, order):
    e = random_ensemble(seed, **CASES[case])
    d = e.inputs.width
    X = random_rows(seed + 1, 21, d)
    player_of, groups = singles(d)
    index = list(INDICES)[(seed + case) % len(INDICES)]
    got = run_path(e, player_of, d, X, index, order)
    spec = reference.path_dependent(e, player_of, d, X, as_index(index).rule(d), order)
    assert np.abs(got - spec).max() < 1e-12
    if order <= d:
        for i in range(3):
            want = semivalue(path_game(e, reference.goes_left, groups, X[i]), d, INDICES[index], order)
            assert np.abs(got[i] - want).max() < 1e-12


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("case", "linear"), LINEAR_TOO)
@pytest.mark.parametrize("seed", range(3))
def test_interventional(case, seed, order, linear):
    e = random_ensemble(seed, linear=linear, **CASES[case])
    d = e.inputs.width
    X, B = random_rows(seed + 1, 5, d), random_rows(seed + 2, 9, d)
    if linear:
        X, B = (np.clip(a, -50, 50) for a in (X, B))
    w = np.random.default_rng(seed).dirichlet(np.ones(9))
    w[0] = 0
    w /= w.sum()
    player_of, groups = singles(d)
    index = list(INDICES)[(seed + case) % len(INDICES)]
    got = run_pairs(e, player_of, d, X, B, w, index, order)
    if not linear:
        spec = reference.interventional(e, player_of, d, X, B, w, as_index(index).moments(d + 1), order)
        assert np.abs(got - spec).max() < 1e-12
    if order <= d:
        for i in range(3):
            want = semivalue(
                hybrid_game(lambda H: reference.predict(e, H), groups, X[i], B, w), d, INDICES[index], order
            )
            assert np.abs(got[i] - want).max() < 1e-11


@pytest.mark.parametrize("seed", range(4))
def test_players_of_several_columns(seed):
    e = random_ensemble(seed, columns=6, depth=5)
    X, B = random_rows(seed + 1, 4, 6), random_rows(seed + 2, 7, 6)
    groups = [[0, 3], [1], [2, 4, 5]]
    player_of = np.array([0, 1, 2, 0, 2, 2], dtype=np.int32)
    w = np.full(7, 1 / 7)
    for order in (1, 2):
        path, pairs = (
            run_path(e, player_of, 3, X, "shapley", order),
            run_pairs(e, player_of, 3, X, B, w, "shapley", order),
        )
        for i in range(4):
            assert (
                np.abs(path[i] - semivalue(path_game(e, reference.goes_left, groups, X[i]), 3, shapley, order)).max()
                < 1e-12
            )
            assert (
                np.abs(
                    pairs[i]
                    - semivalue(hybrid_game(lambda H: reference.predict(e, H), groups, X[i], B), 3, shapley, order)
                ).max()
                < 1e-12
            )


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_hybrids_are_the_predictions_of_every_coalition(seed, linear):
    e = random_ensemble(seed, columns=5, depth=5, outputs=2, linear=linear)
    x, B = np.clip(random_rows(seed + 1, 1, 5)[0], -50, 50), np.clip(random_rows(seed + 2, 6, 5), -50, 50)
    got = tree_shap.hybrid_outputs(e, np.arange(5, dtype=np.int32), 5, x, B) + e.base_values
    for S in range(32):
        H = B.copy()
        for j in range(5):
            if S >> j & 1:
                H[:, j] = x[j]
        assert np.abs(got[:, S] - reference.predict(e, H)).max() < 1e-11


def test_depth_sixty_four_and_beyond_stays_at_rounding():
    """A chain with 150 different players on one path: attributions add up and match the closed form of a product game."""
    d = 150
    from ensembles import ensemble
    from whybox.models.trees import LESS_EQUAL, Tree

    n = 2 * d + 1
    left, right, feature, cover, value = np.full(n, -1), np.full(n, -1), np.full(n, -1), np.zeros(n), np.zeros((n, 1))
    share = np.linspace(0.3, 0.99, d)
    cover[0] = 1.0
    for i in range(d):
        left[2 * i], right[2 * i], feature[2 * i] = 2 * i + 2, 2 * i + 1, i
        cover[2 * i + 2], cover[2 * i + 1] = cover[2 * i] * share[i], cover[2 * i] * (1 - share[i])
    value[-1] = 1.0
    e = ensemble(
        [
            Tree(
                left=left,
                right=right,
                feature=feature,
                threshold=np.zeros(n),
                flags=np.full(n, LESS_EQUAL, np.uint8),
                cover=cover,
                value=value,
            )
        ],
        d,
        1,
        [0.0],
    )
    X = np.full((2, d), -1.0)
    X[1, :75] = 1.0
    player_of = np.arange(d, dtype=np.int32)
    got = run_path(e, player_of, d, X, "shapley", 1)[..., 0]
    f, base = tree_shap.predict(e, X)[:, 0], tree_shap.expectation(e)[0]
    assert np.abs(got.sum(axis=1) + base - f).max() < 1e-13  # 150 factors of 1e-16 each
    from numpy.polynomial.legendre import leggauss

    x, w = leggauss(100)
    p, w = (x + 1) / 2, w / 2
    a = (X[0] <= 0).astype(float)
    want = [
        np.sum(w * (a[j] - share[j]) * np.prod([p * a[k] + (1 - p) * share[k] for k in range(d) if k != j], axis=0))
        for j in range(0, d, 10)
    ]
    assert np.abs(got[0, ::10] - want).max() < 1e-13


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("background", [None, np.ones((2, 3))])
def test_a_forest_without_trees(order, background):
    e = ensemble([], 3, 2)
    got = wb.explain(e, np.zeros((5, 3)), background, order=order)
    assert got.values.shape == (5, *(3,) * order, 2)
    assert not got.values.any()
    np.testing.assert_array_equal(np.broadcast_to(got.base, (5, 2)), np.broadcast_to(e.base_values, (5, 2)))
