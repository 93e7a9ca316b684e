"""Rows that walk a tree together against many background rows at once (native/attribution/bit_walk.cpp): the same as one pair at a time."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from whybox.games.indices import SHAPLEY
from whybox.kernels import tree_shap
from whybox.models.registry import as_model

COLUMNS = 60


@pytest.fixture(scope="module")
def forest():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, COLUMNS))
    y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] > 1)
    return as_model(RandomForestClassifier(3, max_features=2, random_state=0).fit(X, y)), X


def interventional(forest, player_of, players, X, B, weights, order, some=slice(None)):
    out = np.zeros((len(X), *(players,) * order, 3))
    table = SHAPLEY.moments(players + 1)
    tree_shap.add_interventional(
        forest,
        player_of,
        players,
        np.ascontiguousarray(X),
        np.ascontiguousarray(B),
        weights[None],
        table,
        order,
        out,
        some,
    )
    return out


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("back", "rows"), [(5, 3), (64, 64), (70, 65), (130, 130), (300, 100)])
def test_blocks_of_any_size_are_sums_of_single_pairs(forest, order, back, rows):
    e, X = forest
    player_of = np.minimum(np.arange(COLUMNS), 39).astype(np.int32)
    rng = np.random.default_rng(back)
    weights = rng.random(back) * (rng.random(back) < 0.9)
    out = interventional(e, player_of, 40, X[:rows], X[-back:], weights, order)
    for i in np.unique(np.linspace(0, rows - 1, 4).astype(int)):
        one = sum(
            interventional(e, player_of, 40, X[i : i + 1], X[len(X) - back + b :][:1], weights[b : b + 1], order)
            for b in range(back)
        )
        np.testing.assert_allclose(out[i], one[0], rtol=0, atol=1e-12)


def test_trees_add_up(forest):
    e, X = forest
    player_of, weights = np.arange(COLUMNS, dtype=np.int32), np.full(20, 0.05)
    whole = interventional(e, player_of, COLUMNS, X[:70], X[-20:], weights, 1)
    parts = [interventional(e, player_of, COLUMNS, X[:70], X[-20:], weights, 1, slice(i, i + 1)) for i in range(3)]
    np.testing.assert_allclose(whole, sum(parts), rtol=0, atol=1e-13)
    predicted = tree_shap.predict(e, X)
    np.testing.assert_allclose(whole.sum(axis=1), predicted[:70] - weights @ predicted[-20:], rtol=0, atol=1e-12)


def test_trees_that_are_not_there(forest):
    e, X = forest
    with pytest.raises(ValueError, match="no such trees"):
        tree_shap.native_ensemble(e).pair_walk(
            x=X[:1], of_column=np.arange(COLUMNS, dtype=np.int32), count=COLUMNS, b=X[:1], weights=np.ones((1, 1)),
            table=SHAPLEY.moments(COLUMNS + 1), order=1, first_tree=2, last_tree=4, instructions="plain", out=np.zeros((1, COLUMNS, 3)),
        )  # fmt: skip
