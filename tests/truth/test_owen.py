"""Owen values of several levels against their definition: means over all orders in which every block comes together."""

from itertools import permutations, product

import numpy as np
import pytest

from whybox.games.exact import all_coalitions, exact_values
from whybox.games.owen import Hierarchy, count_coalitions, nested_hierarchy, owen_game

FLAT = [0, 1, 2, 3]
TWO_LEVELS = [[0, 3], [1, 2, 4], 5]
UNEVEN = [[[4, 0], 2], [1, [[5, 3], 6]]]
CHAIN = [0, [1, [2, [3, [4, 5]]]]]
BALANCED = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def players_of(nested):
    return [p for part in nested for p in players_of(part)] if isinstance(nested, list) else [nested]


def compatible_orders(nested):
    """All orders in which every block comes together."""
    if not isinstance(nested, list):
        return [(nested,)]
    parts = [compatible_orders(part) for part in nested]
    return [
        tuple(p for i in order for p in chosen[i])
        for chosen in product(*parts)
        for order in permutations(range(len(parts)))
    ]


def random_worths(players, outputs=2):
    return np.random.default_rng(players).normal(size=(2**players, outputs))


def by_definition(nested, worths):
    """Winter's own definition."""
    orders = compatible_orders(nested)
    out = np.zeros((len(players_of(nested)), worths.shape[1]))
    for order in orders:
        coalition = 0
        for player in order:
            out[player] += worths[coalition | 1 << player] - worths[coalition]
            coalition |= 1 << player
    return out / len(orders)


def computed(hierarchy, worths):
    game = owen_game(hierarchy)
    return game.values(worths[game.coalitions @ (1 << np.arange(hierarchy.players))])


@pytest.mark.parametrize("nested", [FLAT, TWO_LEVELS, UNEVEN, CHAIN, BALANCED, [[0], [[1]]], [0]])
def test_values_are_means_over_compatible_orders(nested):
    players = len(players_of(nested))
    worths = random_worths(players)
    hierarchy = nested_hierarchy(nested, players)
    found = computed(hierarchy, worths)
    np.testing.assert_allclose(found, by_definition(nested, worths), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), worths[-1] - worths[0], atol=1e-12)


@pytest.mark.parametrize("nested", [FLAT, TWO_LEVELS, UNEVEN, CHAIN, BALANCED, [0]])
def test_no_coalition_is_asked_twice_and_their_number_is_known(nested):
    hierarchy = nested_hierarchy(nested, len(players_of(nested)))
    coalitions = owen_game(hierarchy).coalitions
    assert len(np.unique(coalitions, axis=0)) == len(coalitions) == count_coalitions(hierarchy)
    assert not coalitions[0].any()
    assert coalitions[1].all()


def test_one_level_is_the_shapley_value():
    worths = random_worths(5)
    np.testing.assert_allclose(computed(nested_hierarchy(list(range(5)), 5), worths), exact_values(worths), atol=1e-12)


def test_two_levels_are_the_owen_value():
    """Owen 1977: sums over coalitions of other blocks, and of others in the player's own block."""
    worths = random_worths(6)
    groups = [[0, 3], [1, 2, 4], [5]]

    def weight(size, of):
        from math import factorial

        return factorial(size) * factorial(of - size - 1) / factorial(of)

    want = np.zeros((6, 2))
    for own, group in enumerate(groups):
        others = [sum(1 << p for p in g) for k, g in enumerate(groups) if k != own]
        for player in group:
            mates = [1 << p for p in group if p != player]
            for outer in all_coalitions(len(others)):
                for inner in all_coalitions(len(mates)):
                    coalition = int(np.array(others) @ outer) + int(np.array(mates, dtype=int) @ inner)
                    w = weight(outer.sum(), len(groups)) * weight(inner.sum(), len(group))
                    want[player] += w * (worths[coalition | 1 << player] - worths[coalition])
    np.testing.assert_allclose(computed(nested_hierarchy(groups, 6), worths), want, atol=1e-12)


def test_a_block_has_the_value_that_it_has_as_one_player():
    worths = random_worths(6)
    whole = computed(nested_hierarchy([[0, 1, 2], [3, [4, 5]]], 6), worths)
    pair = worths[[0, 0b000111, 0b111000, 0b111111]]
    np.testing.assert_allclose(whole[:3].sum(axis=0), exact_values(pair)[0], atol=1e-12)


def test_a_balanced_tree_takes_about_the_square_of_its_players():
    nested = list(range(64))
    while len(nested) > 1:
        nested = [list(pair) for pair in zip(nested[::2], nested[1::2], strict=True)]
    assert count_coalitions(nested_hierarchy(nested, 64)) == 2 * (4**6 - 1) // 3 + 2
    assert count_coalitions(nested_hierarchy(list(range(300)), 300)) == 2**300


@pytest.mark.parametrize("nested", [TWO_LEVELS, UNEVEN, CHAIN])
def test_players_who_change_nothing_may_be_left_out(nested):
    players = len(players_of(nested))
    worths = random_worths(players)
    for null in range(players):
        index = np.arange(2**players) & ~(1 << null)
        hierarchy, kept = nested_hierarchy(nested, players), np.arange(players) != null
        fewer = worths[[k for k in range(2**players) if not k >> null & 1]]
        np.testing.assert_allclose(
            computed(hierarchy, worths[index])[kept], computed(hierarchy.restricted(kept), fewer), atol=1e-12
        )
    assert nested_hierarchy(nested, players).restricted(np.zeros(players, dtype=bool)) == Hierarchy(0, ())


def test_lists_that_do_not_hold_each_player_once_are_refused():
    for nested in ([0, 1], [0, 1, 1, 2], [0, 1, 3]):
        with pytest.raises(ValueError, match="once"):
            nested_hierarchy(nested, 3)
    hierarchy = nested_hierarchy(UNEVEN, 7)
    assert hierarchy.nested(range(7)) == UNEVEN
