"""Owen values from a sample of orders: which orders and donors are drawn, and whether errors hold the exact values."""

from collections import Counter
from math import factorial

import numpy as np
import pytest

from whybox.games.compatible_orders import draw_donors, draw_orders, estimate_owen_values
from whybox.games.owen import nested_hierarchy, owen_game

NESTED = [[[0, 1], [2, [3, 4]]], [5, 6, 7]]
PLAYERS = 8


class Game:
    """Rows of eight columns: what a row's columns are worth is the mean output over donors, with the other columns taken from them."""

    def __init__(self, donors, seed, output="tanh"):
        draw = np.random.default_rng([seed, donors])
        self.row, self.donors = draw.normal(size=PLAYERS), draw.normal(size=(donors, PLAYERS))
        mixed = draw.normal(size=(PLAYERS, 6))
        cuts, columns = draw.normal(size=(10, 3)) / 2, draw.integers(0, PLAYERS, size=(10, 3))
        self.output = {
            "tanh": lambda rows: np.tanh(rows @ mixed).sum(axis=-1),
            "additive": lambda rows: (rows**2).sum(axis=-1),
            "boxes": lambda rows: sum(
                (rows[..., j] > cut).all(axis=-1) * (1.0 + k)
                for k, (j, cut) in enumerate(zip(columns, cuts, strict=True))
            ),
        }[output]
        self.of_donors, self.of_row = self.output(self.donors), self.output(self.row)

    def exact(self):
        game = owen_game(nested_hierarchy(NESTED, PLAYERS))
        worths = [self.output(np.where(c, self.row, self.donors)).mean() for c in game.coalitions]
        return game.values(np.array(worths)[:, None])

    def sampled(self, draws, seed):
        draw = np.random.default_rng(seed)
        orders = draw_orders(nested_hierarchy(NESTED, PLAYERS), draws, draw)
        donor = draw_donors(len(self.donors), draws, draw)
        coalitions, from_donor = orders.coalitions(), self.donors[donor][:, None]
        with_row = self.output(np.where(coalitions, self.row, from_donor))
        without = self.output(np.where(coalitions, from_donor, self.row))
        none = self.of_donors[donor][:, None]
        return estimate_owen_values(
            orders.contributions((with_row - without)[..., None] / 2, self.of_row - none),
            donor=donor,
            none=none,
            donors=len(self.donors),
            base=self.of_donors.mean(keepdims=True),
        )


def test_orders_are_compatible_and_all_come_equally_often():
    orders = draw_orders(nested_hierarchy([[0, 1], [2, 3, 4]], 5), 24_000, np.random.default_rng(0)).orders
    counts = Counter(map(tuple, orders.tolist()))
    assert len(counts) == 2 * factorial(2) * factorial(3)
    assert all(abs(list(o).index(0) - list(o).index(1)) == 1 for o in counts)
    assert max(abs(n - 1000) for n in counts.values()) < 5 * np.sqrt(1000)


def test_donors_come_evenly_and_some_twice():
    draw = np.random.default_rng(0)
    for donors, draws in [(500, 40), (30, 20), (30, 33), (30, 70), (1, 6), (40, 160)]:
        drawn = draw_donors(donors, draws, draw)
        counts = np.bincount(drawn, minlength=donors)
        assert len(drawn) == draws
        assert counts.max() <= -(-draws // donors) + 1
        assert (counts.max() > 1) == (draws > donors / 10)
        first = np.bincount(drawn[: donors // 2], minlength=donors)
        assert first.max() <= 2
    assert np.bincount(draw_donors(40, 160, draw), minlength=40).tolist() == [4] * 40
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    weighted = draw_donors(4, 1000, draw, weights)
    for first in (250, 500, 1000):
        np.testing.assert_allclose(np.bincount(weighted[:first], minlength=4), first * weights, atol=1)


def test_a_draw_adds_up_and_pairs_of_players_leave_no_error():
    """Interactions of two players have no variance: every order gives half to each."""
    draw = np.random.default_rng(3)
    worth = draw.normal(size=(PLAYERS, PLAYERS))
    hierarchy = nested_hierarchy(NESTED, PLAYERS)
    orders = draw_orders(hierarchy, 3, draw)

    def of(coalitions):
        return np.einsum("...i,ij,...j->...", coalitions, worth, coalitions)[..., None]

    halves = (of(orders.coalitions()) - of(~orders.coalitions())) / 2
    values = orders.contributions(halves, np.full((3, 1), worth.sum()))
    np.testing.assert_allclose(values[..., 0], np.tile((worth + worth.T).sum(axis=0) / 2, (3, 1)), atol=1e-12)
    game = owen_game(hierarchy)
    np.testing.assert_allclose(game.values(of(game.coalitions)), values[0], atol=1e-12)


@pytest.mark.parametrize(
    ("output", "donors", "draws"),
    [("tanh", 1, 8), ("tanh", 30, 33), ("tanh", 200, 40), ("boxes", 100, 111), ("additive", 100, 60)],
)
def test_errors_hold_the_exact_values(output, donors, draws):
    inside, squared, variances = [], [], []
    for seed in range(6):
        game = Game(donors, seed, output)
        exact = game.exact()
        for repeat in range(20):
            found = game.sampled(draws, [seed, repeat])
            np.testing.assert_allclose(found.values.sum(), game.of_row - game.of_donors.mean(), atol=1e-9)
            error = found.values - exact
            inside.append(np.abs(error) <= 1.96 * np.sqrt(found.variances) + 1e-12)
            squared.append(error**2)
            variances.append(found.variances)
    assert 0.91 <= np.mean(inside) <= 0.985
    assert 0.8 <= np.mean(variances) / np.mean(squared) <= 2.5


def test_all_donors_leave_the_error_of_orders_alone():
    """An additive game has none of that: with every donor equally often the values are the exact ones."""
    game = Game(20, 0, "additive")
    found = game.sampled(40, 1)
    np.testing.assert_allclose(found.values, game.exact(), atol=1e-12)
    partly = game.sampled(10, 1)
    assert np.abs(partly.values - game.exact()).max() > 0.05


def test_the_variance_of_donors_is_that_of_their_own_values():
    game = Game(400, 2)
    exact = owen_game(nested_hierarchy(NESTED, PLAYERS))
    each = np.stack([game.output(np.where(c, game.row, game.donors)) for c in exact.coalitions])
    want = exact.values(each).var(axis=1, ddof=1)
    found = game.sampled(800, 0).donor_variance[:, 0]
    np.testing.assert_allclose(found, want, rtol=0.1, atol=0.02 * want.max())
