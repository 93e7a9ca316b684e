"""Games that are products of one factor a player: the native kernel and its specification, against all coalitions."""

import numpy as np
import pytest

from whybox.games.exact import all_coalitions, exact_values
from whybox.games.indices import as_index
from whybox.kernels import reference
from whybox.kernels.compiled_trees import forced_kernel, instruction_sets
from whybox.kernels.product_games import DonorFactors, product_games


def _factors(n, donors, products, players, seed=0):
    rng = np.random.default_rng(seed)
    rows, background = rng.random((n, products, players)), rng.random((donors, products, players))
    rows[rng.random(rows.shape) < 0.1] = 0.0  # a Gaussian far away
    background[rng.random(background.shape) < 0.1] = 1.0
    weights = rng.random(donors)
    return rows, background, weights / weights.sum()


def _native(rows, donors, weights, index, threads=1):
    out = np.zeros(rows.shape)
    product_games(rows, DonorFactors(donors, weights), *index.rule(rows.shape[2] - 1), out, threads=threads)
    return out


@pytest.mark.parametrize("index", ["shapley", "banzhaf", "banzhaf(0.2)", "beta(4, 1)"])
@pytest.mark.parametrize("players", [1, 2, 5, 6])
def test_values_are_those_of_all_coalitions(players, index):
    rows, donors, weights = _factors(3, 4, 5, players)
    chosen = as_index(index)
    inside = all_coalitions(players)
    truth = np.empty(rows.shape)
    for i, row in enumerate(rows):
        worths = np.where(inside[:, None, None, :], row, donors).prod(axis=3)  # (coalitions, donors, products)
        truth[i] = exact_values(np.einsum("b,cbm->cm", weights, worths), chosen).T
    np.testing.assert_allclose(
        reference.product_games(rows, donors, weights, *chosen.rule(players - 1)), truth, atol=1e-14
    )
    np.testing.assert_allclose(_native(rows, donors, weights, chosen), truth, atol=1e-14)


@pytest.mark.parametrize("name", [s.name for s in instruction_sets()])
@pytest.mark.parametrize(
    ("n", "donors", "products", "players"), [(1, 1, 1, 1), (17, 61, 13, 7), (33, 5, 16, 12), (2, 9, 3, 40)]
)
def test_every_instruction_set_follows_the_specification(name, n, donors, products, players):
    rows, background, weights = _factors(n, donors, products, players, seed=players)
    index = as_index("shapley")
    with forced_kernel(instructions=name):
        values = _native(rows, background, weights, index)
        assert np.array_equal(values, _native(rows, background, weights, index, threads=3))
        assert np.array_equal(values[:1], _native(rows[:1], background, weights, index))
    expected = reference.product_games(rows, background, weights, *index.rule(players - 1))
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-15)


def test_values_are_added_to_what_is_there():
    rows, donors, weights = _factors(2, 3, 4, 3)
    index = as_index("shapley")
    out = np.ones(rows.shape)
    product_games(rows, DonorFactors(donors, weights), *index.rule(2), out)
    np.testing.assert_allclose(out, 1 + _native(rows, donors, weights, index), rtol=1e-15)
    product_games(rows[:0], DonorFactors(donors, weights), *index.rule(2), out[:0])
