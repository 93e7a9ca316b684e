"""Designs of coalitions and donors: they grow without losing anything, keep limits, and use donors alike."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from games_with_donors import known_games
from whybox.games.donor_blocks import GrowingBlocks, min_block_evaluations
from whybox.games.indices import as_index
from whybox.games.solve import solve_games

PLAYERS = [2, 3, 4, 5, 6, 9]
DONORS = [1, 2, 3, 5, 7, 11, 25]
WEIGHTS = {
    "equal": np.ones,
    "drawn": lambda n: np.random.default_rng(n).exponential(size=n),
    "one has nearly all": lambda n: np.array([1e9, *np.ones(n - 1)]),
    "some near zero": lambda n: np.where(np.arange(n) % 2, 1e-12, 1.0),
}


def growing(players, donors, limit, weights="equal", seed=0):
    w = WEIGHTS[weights](donors)
    return GrowingBlocks(players, w / w.sum(), limit, np.random.default_rng(seed))


def grown(blocks, limit):
    """All designs on the way to a limit."""
    out = [blocks.design]
    while blocks.grow(limit):
        out.append(blocks.design)
    return out


def entries(design):
    """Each entry as coalition and donor, as often as it is there."""
    keys = [(design.coalitions[p].tobytes(), int(d)) for p, d in zip(design.pair, design.donor, strict=True)]
    return {key: keys.count(key) for key in set(keys)}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("players", PLAYERS)
def test_limits_are_kept_exactly_and_nothing_is_lost(players, weights):
    for donors in DONORS:
        least = min_block_evaluations(players, donors)
        for limit in (least, least + 1, 2 * least + 3, 9 * least + 1):
            designs = grown(growing(players, donors, limit, weights), limit)
            for design in designs:
                assert 0 < design.evaluations <= limit
                assert design.evaluations == 2 * len(design.pair)
                assert (np.diff(design.pair) >= 0).all()
                assert (design.counts > 0).all()
            for small, large in pairwise(designs):
                held = entries(large)
                assert all(held[key] >= count for key, count in entries(small).items())
                assert large.evaluations > small.evaluations


@pytest.mark.parametrize("players", PLAYERS)
def test_no_pair_is_there_twice_or_as_its_complement(players):
    design = grown(growing(players, 25, 5_000), 5_000)[-1]
    either = {min(c.tobytes(), (~c).tobytes()) for c in design.coalitions}
    assert len(either) == len(design.coalitions)
    assert design.coalitions.any(axis=1).all()
    assert not design.coalitions.all(axis=1).any()
    assert design.is_every_pair == (len(either) == 2 ** (players - 1) - 1)


@pytest.mark.parametrize("donors", [2, 3, 5, 7, 11, 25, 200])
@pytest.mark.parametrize("players", [3, 9])
def test_each_pair_meets_two_donors_at_least_and_none_twice(players, donors):
    """One donor of a pair would show no spread, and errors would be too small."""
    limit = min_block_evaluations(players, donors)
    for design in grown(growing(players, donors, limit), 20 * limit):
        assert (design.counts >= 2).all()
        assert len(entries(design)) == len(design.pair)


def test_donors_are_used_alike_and_blocks_are_apart():
    for design in grown(growing(9, 100, 20_000), 20_000):
        used = np.bincount(design.donor, minlength=100)
        pairs = len(design.coalitions)
        assert used.max() - used.min() <= max(2, pairs // 2)  # blocks that have just been joined have more pairs
        blocks = []
        for block in np.unique(design.block):
            of_pairs = [frozenset(design.donor[design.pair == p]) for p in np.flatnonzero(design.block == block)]
            assert len(set(of_pairs)) == 1
            blocks.append(of_pairs[0])
        assert sum(map(len, blocks)) == len(frozenset.union(*blocks))
    assert design.is_whole


def test_weighted_donors_are_used_by_their_weights():
    w = np.random.default_rng(0).exponential(size=40)
    used = np.zeros(40)
    for seed in range(60):
        design = GrowingBlocks(9, w / w.sum(), 500, np.random.default_rng(seed)).design
        assert design.with_replacement
        used += np.bincount(design.donor, minlength=40) / len(design.donor)
    np.testing.assert_allclose(used / 60, w / w.sum(), atol=0.012)


@pytest.mark.parametrize("players", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_a_whole_design_has_the_exact_values(players, weights, index):
    rng = np.random.default_rng(players)
    known = known_games(("network", "signs"), players, 7, rng, games=3, weights=WEIGHTS[weights](7))
    limit = 7 * 2**players
    blocks = GrowingBlocks(players, known.weights, limit, rng)
    design = grown(blocks, limit)[-1]
    assert design.is_every_pair
    assert design.is_whole
    found = solve_games(design, known.observed(design), as_index(index))
    np.testing.assert_allclose(found.values, known.truth(as_index(index)), atol=1e-12)
    assert not found.variances.any()
    if weights == "equal" and index == "shapley":
        np.testing.assert_allclose(found.spread, known.spread(), rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_few_players_end_with_all_donors(players):
    """Donors join a block that all pairs share, until it has all of them."""
    limit = 60 * 2 * (2 ** (players - 1) - 1)
    blocks = growing(players, 60, limit - 1)
    designs = grown(blocks, limit)
    assert not designs[0].is_whole
    assert designs[-1].is_whole
    assert all(d.is_every_pair and d.is_one_block for d in designs)
