"""What is observed of pairs over some of the donors: means, deviations and spreads are those of plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whybox.games import solve
from whybox.games.donor_blocks import GrowingBlocks
from whybox.games.solve import ObservedPairs, solve_games

PLAYERS, DONORS, GAMES, OUTPUTS = 9, 22, 7, 2


def problem(weights=None, evaluations=300):
    """A design of several blocks, and the outputs of a function of a row's and a donor's values."""
    rng = np.random.default_rng(0)
    weights = np.full(DONORS, 1 / DONORS) if weights is None else weights / weights.sum()
    blocks = GrowingBlocks(PLAYERS, weights, evaluations, np.random.default_rng(1))
    while blocks.grow(evaluations):
        pass
    design = blocks.design
    X, Z = rng.normal(size=(GAMES, PLAYERS)), rng.normal(size=(DONORS, PLAYERS))

    def outputs(cells):
        first = np.tanh(cells[..., 0] * cells[..., 1]) + cells[..., 2:].sum(axis=-1)
        return np.stack([first, cells[..., 3] * cells[..., 4] + cells[..., 5]], axis=-1)

    chosen = design.coalitions[design.pair]
    present = outputs(np.where(chosen, X[:, None], Z[design.donor]))
    absent = outputs(np.where(chosen, Z[design.donor], X[:, None]))
    of_donors = np.broadcast_to(outputs(Z), (GAMES, DONORS, OUTPUTS))
    return design, ObservedPairs(present, absent, outputs(X), of_donors, weights)


WEIGHTS = np.random.default_rng(2).random(DONORS)


@pytest.mark.parametrize("differ", [False, True])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_means_deviations_and_products_are_those_of_plain_loops(weights, differ):
    """Also of games that do not have the same outputs of donors, as what surrogates leave."""
    design, observed = problem(weights)
    if differ:
        of_donors = observed.of_donors * np.arange(1.0, GAMES + 1)[:, None, None]
        observed = replace(observed, of_donors=of_donors)
    assert len(np.unique(design.block)) > 1
    total = observed.own - np.einsum("b,gbo->go", observed.weights, observed.of_donors)
    one = solve.OneOutput(design, observed, total[:, 1], 1)
    halves, deviations = one.halves_of(slice(None))
    means, _ = one.means_of(slice(None))
    products = solve._DonorProducts(design, one._slopes)
    found = products(deviations)
    for g in range(GAMES):
        per_pair = []
        for i, coalition in enumerate(design.coalitions):
            entries = np.flatnonzero(design.pair == i)
            donors = design.donor[entries]
            present, absent = observed.present[g, entries, 1], observed.absent[g, entries, 1]
            own, of_donors = observed.own[g, 1], observed.of_donors[g, donors, 1]
            sign = np.where(coalition, 1.0, -1.0).mean()
            each = (present - absent) / 2 - sign / 2 * (own - of_donors - total[g, 1])
            w = np.ones(len(donors)) if design.with_replacement else observed.weights[donors]
            w = w / w.sum()
            assert np.isclose(halves[g, i], each @ w)
            assert np.isclose(means[g, i], ((present + absent - own - of_donors) / 2) @ w)
            assert np.allclose(deviations[g, entries], each - each @ w)
            per_pair.append(each - each @ w)
        expected = np.zeros(PLAYERS)
        for i in range(len(per_pair)):
            for j in range(i):
                if design.block[i] == design.block[j] and len(per_pair[i]) > 1:
                    covariance = per_pair[i] @ per_pair[j] / (len(per_pair[i]) - 1)
                    expected += one._slopes[i] * one._slopes[j] * covariance
        assert np.allclose(found[g], expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_games_may_be_taken_in_parts(weights, monkeypatch):
    design, observed = problem(weights)
    whole = solve_games(design, observed)
    copied = solve_games(design, replace(observed, of_donors=observed.of_donors.copy()))
    monkeypatch.setattr(solve, "MAX_ENTRIES_AT_A_TIME", 2 * len(design.pair))
    in_parts = solve_games(design, observed)
    for name in ("values", "variances", "spread"):
        for other in (copied, in_parts):
            found, expected = getattr(other, name), getattr(whole, name)
            assert np.allclose(
                found, expected, rtol=1e-9, atol=1e-12, equal_nan=name == "spread"
            )  # unknown where no two pairs share donors
    assert np.isfinite(whole.spread).all() == (weights is None)


def test_spreads_are_the_non_negative_least_squares():
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    a = rng.random((30, 6)) + np.eye(30, 6) * 2
    right = rng.normal(size=(30, 5))
    found = solve._non_negative(a.T @ a, (a.T @ right).T)
    assert (found == 0).any()
    assert np.allclose(found, [nnls(a, r)[0] for r in right.T], atol=1e-4)
