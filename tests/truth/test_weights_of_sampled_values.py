"""Sampled Shapley values and interactions where background rows weigh differently: donors are drawn again and again, and errors hold."""

from __future__ import annotations

import numpy as np
import pytest

import whybox as wb


def case(seed, players, rows, outputs=1, background=100):
    """A function with interactions of all pairs of columns, rows, background rows and weights of which few are large."""
    rng = np.random.default_rng([seed, players])
    alone, pairs = rng.normal(size=(players, outputs)), 0.3 * rng.normal(size=(players, players, outputs))

    def predict(table):
        table = np.asarray(table, dtype=float)
        out = table @ alone + np.einsum("ni,nj,ijo->no", table, table, pairs)
        return out if outputs > 1 else out[:, 0]

    table = rng.normal(size=(rows + background, players))
    return predict, table[:rows], table[rows:], rng.exponential(size=background) ** 2


def both(seed, players, rows, evals, outputs=1, **options):
    """Errors of sampled values in units of their standard errors, and the explanation."""
    predict, X, background, weights = case(seed, players, rows, outputs)
    options |= {"background_weight": weights, "seed": seed, "spot_checks": 0}
    found = wb.explain(predict, X, background, "sampled_shap", max_evals=evals, tol=1e-9, **options)
    exact = wb.explain(predict, X, background, "exact_shap", **options)
    least = 1e-7 * np.abs(exact.values).max()
    return (found.values - exact.values) / np.maximum(found.std_error, least), found


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"index": "banzhaf(0.3)"}])
@pytest.mark.parametrize("players", [2, 3, 4, 5, 6])
def test_designs_that_draw_no_new_donor_are_answered(players, options):
    for seed in range(2):
        off, _ = both(seed, players, 3, 600 * players, **options)
        assert (np.abs(off) < 1.96).mean() > 0.8
        assert np.abs(off).max() < 7


def test_errors_are_not_less_than_what_donors_make_them():
    off = []
    for seed in range(20):
        each, found = both(seed, 6, 1, 3_000)
        off.append(each)
    assert "31 pairs of coalitions, each over 6" in found.evidence.kernel
    assert (np.abs(off) < 1.96).mean() > 0.9  # 0.74 where the process alone says what errors are
    assert 0.5 < np.std(off) < 1.15  # 1.6


@pytest.mark.parametrize("options", [{}, {"index": "banzhaf"}])
def test_one_background_row_of_nearly_all_the_weight(options):
    """It may be the only one that is drawn; how far the others are from it is known for what all players add."""
    off, rng = [], np.random.default_rng(0)
    slopes, table = np.arange(1.0, 11.0), rng.normal(size=(63, 10))
    X, background, weights = table[:3], table[3:], np.append(np.ones(59), 59 * 99.0)
    exact = slopes * (X - weights @ background / weights.sum())
    for seed in range(8):
        options |= {"background_weight": weights, "seed": seed, "spot_checks": 0}
        e = wb.explain(
            lambda rows: np.asarray(rows) @ slopes, X, background, "sampled_shap", max_evals=2_000, **options
        )
        assert not e.evidence.exact
        off.append((e.values - exact) / e.std_error)
    assert (np.abs(off) < 1.96).mean() > 0.9  # 0.5 where errors are those of the rows that are drawn
    assert np.abs(off).max() < 6  # 1e11


def test_interactions_of_few_donors_are_not_taken_for_errors():
    off = [both(seed, 6, 3, 4_600, outputs=3, order=2)[0] for seed in range(3)]
    assert (np.abs(off) < 1.96).mean() > 0.9
    assert np.abs(off).max() < 7


def test_interactions_are_not_ruled_out_by_few_noisy_pairs():
    off = [both(seed, 6, 1, 450, order=2)[0] for seed in range(10)]
    assert np.abs(off).max() < 6  # up to 20 where nearly all of the variance was given to donors
    assert (np.abs(off) < 1.96).mean() > 0.92  # 0.84
