"""Shares of a surrogate taken from games: the best ones, honest errors, and what is expected of more chains."""

from __future__ import annotations

import numpy as np
import pytest

from games_with_donors import FAMILIES, KnownGames, cover_of, known_games
from whybox.games.chains import GrowingChains, solve_chains
from whybox.games.donor_blocks import GrowingBlocks
from whybox.games.solve import GameValues, ObservedPairs, solve_games
from whybox.games.surrogate_share import best_share, solve_with_surrogate

PLAYERS, DONORS = 8, 60


def of_variances(*each):
    return [GameValues(np.zeros((len(v), 1, 1)), np.array(v, dtype=float)[:, None, None], np.zeros((len(v), 1, 1))) for v in each]  # fmt: skip


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_best_share_is_that_of_the_smallest_variance(share):
    """Variances of plain less s times a surrogate are a parabola in s."""
    curve = [7.0 * (0.2 + (s - share) ** 2) for s in (0.0, 0.5, 1.0)]
    plain, half, whole = of_variances(*([c, 2 * c] for c in curve))
    np.testing.assert_allclose(best_share(plain, half, whole), share, atol=1e-9)


def test_shares_stay_between_none_and_all():
    plain, half, whole = of_variances([1.0, 1.0, 0.0], [2.0, 0.1, 0.0], [5.0, 0.0, 0.0])
    share = best_share(plain, half, whole)
    assert ((share >= 0) & (share <= 1)).all()
    worse = best_share(*of_variances([1.0, 1.0], [2.0, 1.5], [5.0, 3.0]))
    np.testing.assert_allclose(worse, 0.0, atol=0.1)


def with_surrogate(family, wrong, limit, seed, *, chains):
    """Games, and values with a surrogate that has `wrong` times another game beside the true one."""
    rng = np.random.default_rng([seed, 17])
    known = known_games((family,), PLAYERS, DONORS, rng)
    other = known_games(("network",), PLAYERS, DONORS, rng)
    scale = wrong * known.worths.std() / other.worths.std()
    surrogate = KnownGames(known.worths + scale * other.worths, known.weights)
    growing = (
        GrowingChains(PLAYERS, known.weights, rng) if chains else GrowingBlocks(PLAYERS, known.weights, limit, rng)
    )
    while growing.grow(limit):
        pass
    design = growing.design

    def solve(observed: ObservedPairs) -> GameValues:
        return solve_chains(design, observed) if chains else solve_games(design, observed)

    observed, fitted = known.observed(design), surrogate.observed(design)
    plain = solve(observed)
    return known, plain, solve(observed.less(fitted)), solve_with_surrogate(solve, observed, fitted, surrogate.truth(), plain)  # fmt: skip


@pytest.mark.parametrize("chains", [True, False])
def test_a_surrogate_never_makes_errors_much_larger_and_half_a_good_one_makes_them_smaller(chains):
    for wrong, at_most in ((0.0, 1e-6), (1.0, 0.8), (5.0, 1.1)):
        known, plain, _, found = with_surrogate("network", wrong, 900, 3, chains=chains)
        assert found.variances.sum() <= at_most * plain.variances.sum()
        np.testing.assert_allclose(found.values.sum(axis=1), known.truth().sum(axis=1), rtol=1e-9, atol=1e-9)


def test_some_of_a_surrogate_is_better_than_all_and_none():
    _, plain, whole, found = with_surrogate("network", 1.0, 900, 3, chains=True)
    assert found.variances.sum() < 0.9 * min(plain.variances.sum(), whole.variances.sum())


@pytest.mark.parametrize("chains", [True, False])
@pytest.mark.parametrize("wrong", [0.3, 1.0])
def test_intervals_cover_with_a_share_of_a_surrogate(chains, wrong):
    cover = []
    for seed in range(4):
        for family in FAMILIES:
            known, _, _, found = with_surrogate(family, wrong, 600, seed, chains=chains)
            cover.append(cover_of(found, known.truth()).mean())
    assert np.mean(cover) >= 0.92


def test_what_chains_would_have_with_all_donors():
    """Where donors make all the difference it vanishes; where orders do, little of it does."""
    found = {}
    for family in ("additive", "signs"):
        rng = np.random.default_rng(5)
        known = known_games((family,), PLAYERS, 100, rng)
        chains = GrowingChains(PLAYERS, known.weights, rng)
        now = solve_chains(chains.design, known.observed(chains.design))
        while chains.design.share_of_donors < 1.0:
            chains.grow(10**6)
        then = solve_chains(chains.design, known.observed(chains.design))
        more = len(chains.design.ranks) / 32
        assert now.with_all_donors is not None
        found[family] = now.with_all_donors.sum() / now.variances.sum()
        assert then.variances.sum() * more <= 3.0 * now.with_all_donors.sum()
        assert then.variances.sum() * more >= now.with_all_donors.sum() / 3.0 or family == "additive"
    assert found["additive"] < 0.2 < found["signs"]
