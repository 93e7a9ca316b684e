"""Exact values of games against their definitions: means over all orders, sums over all coalitions, and what the tree kernels compute."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from oracles import banzhaf, beta, semivalue, shapley
from whybox.explainers import TreeShap
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.indices import as_index

WEIGHTS = {"shapley": shapley, "banzhaf": banzhaf(), "banzhaf(0.3)": banzhaf(0.3), "beta(4, 1)": beta(4, 1)}


def random_worths(players, outputs=2, seed=0):
    return np.random.default_rng([players, seed]).normal(size=(2**players, outputs))


def by_sets(worths):
    """The game as a function of sets of players."""
    return lambda coalition: worths[sum(1 << j for j in coalition)]


def test_coalitions_are_in_the_order_of_their_bits():
    assert all_coalitions(3).astype(int).tolist()[:5] == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert all_coalitions(0).shape == (1, 0)


def test_values_are_means_over_all_orders():
    """Shapley's own definition."""
    worths, v = random_worths(5), by_sets(random_worths(5))
    want = np.zeros((5, 2))
    for order in permutations(range(5)):
        for at, player in enumerate(order):
            want[player] += v(order[: at + 1]) - v(order[:at])
    np.testing.assert_allclose(exact_values(worths), want / 120, atol=1e-12)


def test_interactions_are_means_over_orders_in_which_a_pair_comes_together():
    """Grabisch and Roubens: of what two add to those before them, how much is due to both."""
    worths, v = random_worths(5), by_sets(random_worths(5))
    want = np.zeros((5, 5, 2))
    for i in range(5):
        for j in range(5):
            others = [k for k in range(5) if k not in (i, j)]
            if i == j:
                continue
            orders = list(permutations([*others, "pair"]))
            for order in orders:
                before = order[: order.index("pair")]
                want[i, j] += (v((*before, i, j)) - v((*before, i)) - v((*before, j)) + v(before)) / len(orders)
    np.testing.assert_allclose(exact_values(worths, order=2), want, atol=1e-12)


@pytest.mark.parametrize("players", [0, 1, 2, 3, 6])
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("index", list(WEIGHTS))
def test_every_index_is_its_sum_over_coalitions(players, order, index):
    worths = random_worths(players)
    want = semivalue(by_sets(worths), players, WEIGHTS[index], order)
    found = exact_values(worths, as_index(index), order)
    assert found.shape == (*(players,) * order, 2)
    np.testing.assert_allclose(found, want, atol=1e-12)


def test_shapley_values_add_up_and_who_changes_nothing_gets_exactly_nothing():
    worths = random_worths(9)
    worths = worths[np.arange(2**9) & ~(1 << 4)]  # the same with player 4 as without
    values, pairs = exact_values(worths), exact_values(worths, order=2)
    np.testing.assert_allclose(values.sum(axis=0), worths[-1] - worths[0], atol=1e-12)
    assert (values[4] == 0).all()
    assert np.abs(pairs[4]).max() < 1e-15
    assert (pairs == pairs.transpose(1, 0, 2)).all()
    assert (np.diagonal(pairs) == 0).all()


@pytest.mark.parametrize("index", list(WEIGHTS))
def test_tree_kernels_and_whole_games_agree(index):
    """The kernels keep half of each interaction on either side of the diagonal, and on it what is left of a player's value."""
    draw = np.random.default_rng(1)
    X = draw.normal(size=(80, 4)).astype(np.float32).astype(float)
    forest = RandomForestRegressor(6, max_depth=4, random_state=0).fit(X, X[:, 0] * X[:, 1] + X[:, 2])
    background, rows = X[:9], X[70:74]
    values = TreeShap(forest, background, index=index)(rows).values
    pairs = TreeShap(forest, background, index=index, order=2)(rows).values
    inside = all_coalitions(4)
    for row, own, table in zip(rows, values, pairs, strict=True):
        hybrids = np.where(inside[:, None], row, background)
        worths = forest.predict(hybrids.reshape(-1, 4)).reshape(16, 9).mean(axis=1)[:, None]
        np.testing.assert_allclose(exact_values(worths, as_index(index))[:, 0], own, atol=1e-12)
        off = ~np.eye(4, dtype=bool)
        np.testing.assert_allclose(exact_values(worths, as_index(index), 2)[..., 0][off] / 2, table[off], atol=1e-12)
        np.testing.assert_allclose(table.sum(axis=1), own, atol=1e-12)
