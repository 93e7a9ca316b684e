"""The second way of adding up leaves is the specification: every flag, repeated features, zero covers, category sets, paths of any length."""

from __future__ import annotations

import numpy as np
import pytest

from ensembles import random_ensemble, random_rows
from whybox.games.indices import as_index
from whybox.kernels import leaf_games, reference
from whybox.kernels.leaf_games import add_cells

CASES = [
    {},
    {"columns": 2, "depth": 5},
    {"outputs": 3, "vector": True},
    {"outputs": 3},
    {"columns": 14, "depth": 13, "chain": True, "trees": 1},
    {"depth": 0},
]
INDICES = ("shapley", "banzhaf", "banzhaf(0.2)", "beta(4, 2)")


def dense(parts, count, order, outputs):
    """Cells of several groups of trees, as the specification lays them out."""
    total = np.zeros((count**order, outputs))
    for cells, numbers in parts:
        total[cells] += numbers
    if order == 1:
        return total
    pairs = total.reshape(count, count, outputs)
    assert not np.tril(pairs[..., 0]).any()
    return pairs + pairs.transpose(1, 0, 2)


def recomputed(e, player_of, X, background, index, order, most_nodes=40):
    outputs, count = len(e.base_values), player_of.max() + 1
    games = list(leaf_games.leaf_games(e, player_of, np.arange(e.n_trees), range(outputs), most_nodes))
    rows = []
    for i in range(len(X)):
        parts = []
        for g in games:
            bits = g.slot_bits(X)[:, i]
            if background is None:
                parts.append(g.path_dependent_values(bits, index.rule(max(g.slots - order, 0)), order, count))
            else:
                parts.append(
                    g.interventional_values(bits, g.background_bits(*background), index.rule(g.slots), order, count)
                )
        rows.append(dense(parts, count, order, outputs))
    return np.stack(rows)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_the_specification(seed, case, order, monkeypatch):
    e = random_ensemble(seed, **CASES[case])
    d = e.inputs.width
    X, B = random_rows(seed + 1, 4, d), random_rows(seed + 2, 9, d)
    weights = np.random.default_rng(seed).dirichlet(np.ones(9))
    player_of = np.minimum(np.arange(d), d - 2 if seed == 2 else d).astype(np.int32)  # two columns are one player
    count = player_of.max() + 1
    index = as_index(INDICES[(seed + case) % len(INDICES)])
    got = recomputed(e, player_of, X, None, index, order)
    spec = reference.path_dependent(e, player_of, count, X, index.rule(d), order)
    np.testing.assert_allclose(got, spec, rtol=0, atol=1e-12)
    spec = reference.interventional(e, player_of, count, X, B, weights, index.moments(d + 1), order)
    for most in (10, 0):  # equal bits counted together, and every background row by itself
        monkeypatch.setattr(leaf_games, "MAX_BITS_COUNTED", most)
        got = recomputed(e, player_of, X, (B, weights), index, order)
        np.testing.assert_allclose(got, spec, rtol=0, atol=1e-12)


def test_cells_are_added_up_and_empty_ones_left_out(monkeypatch):
    cells, numbers = np.array([5, 2, 5, 7]), np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -2.0], [0.0, 4.0]])
    for most in (100, 0):
        monkeypatch.setattr(leaf_games, "MAX_CELLS_COUNTED", most)
        found, sums = add_cells(cells, numbers, 9)
        assert found.tolist() == [5, 7]
        assert sums.tolist() == [[4.0, 0.0], [0.0, 4.0]]
