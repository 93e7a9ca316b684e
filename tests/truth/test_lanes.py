"""The lane kernels, on every instruction set this processor has, in both arithmetics and for every table size, against the numpy specification
(path-dependent) or the row-by-row kernels, which test_kernels.py holds against it and against brute force.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensembles import ensemble, random_ensemble, random_rows, random_tree
from whybox.games.indices import as_index
from whybox.kernels import compiled_trees, reference, tree_shap
from whybox.models.trees import FLOAT32_SPLIT, LESS_EQUAL, MISSING_LEFT

SETS = [s.name for s in compiled_trees.instruction_sets()]
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def rules_for(e, player_of, count, index, order):
    most = tree_shap.players_on_path(e, player_of, count)
    degrees, of_tree = np.unique(np.maximum(most - order, 0), return_inverse=True)
    return tree_shap.QuadratureRules.from_rules(
        [as_index(index).rule(int(d)) for d in degrees] or [as_index(index).rule(0)], of_tree
    )


def want(e, player_of, count, X, index, order, background):
    if background is None:
        return reference.path_dependent(e, player_of, count, X, as_index(index).rule(count), order)
    out = np.zeros((len(X), *(count,) * order, len(e.base_values)))
    B, w = background
    tree_shap.add_interventional(e, player_of, count, X, B, w[None], as_index(index).moments(count + 1), order, out)
    return out


def got(e, player_of, count, X, index, order, background, *, kernel, name, arithmetic, bits, threads=1, out=None):
    moments = as_index(index).moments(count + 1)
    made = compiled_trees.CompiledTrees(
        e,
        player_of,
        count,
        rules_for(e, player_of, count, index, order),
        kernel=kernel,
        order=order,
        background=None if background is None else (*background, moments),
        instructions=name,
        arithmetic=arithmetic,
        bits=bits,
    )
    out = np.zeros((len(X), *(count,) * order, len(e.base_values))) if out is None else out
    made.add_values(X, out, threads=threads, description="", quiet=True)
    return out


def questions(e, rng, d):
    """Single columns, and columns in groups; with and without a background with weights."""
    yield np.arange(d, dtype=np.int32), d
    yield np.minimum(np.arange(d), max(0, d - 2)).astype(np.int32)[rng.permutation(d)], max(1, d - 1)


def check(e, seed, *, rows=70, index="shapley", deep=False):
    rng = np.random.default_rng(seed)
    d = e.inputs.width
    X = random_rows(seed + 1, rows, d)
    B, w = random_rows(seed + 2, 70, d), rng.dirichlet(np.ones(70))
    for player_of, count in questions(e, rng, d):
        for order in (1, 2):
            for background in (None, (B, w)):
                if deep and background is not None:
                    continue
                right = want(e, player_of, count, X, index, order, background)
                size = max(1.0, np.abs(right).max())
                kinds = [("lane walk", b) for b in (0, 3, 5)] if background is None else []
                kinds += [] if deep else [("pattern tables", b) for b in (0, 4, 6, 8)]
                for kernel, bits in kinds:
                    for name in SETS:
                        for arithmetic, tolerance in TOLERANCE.items():
                            mine = got(e, player_of, count, X, index, order, background, kernel=kernel, name=name, arithmetic=arithmetic, bits=bits)  # fmt: skip
                            off = np.abs(mine - right).max() / size
                            assert off < tolerance, (kernel, bits, name, arithmetic, order, background is None, off)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"depth": 6, "trees": 2},
        {"outputs": 3},
        {"outputs": 3, "vector": True},
        {"depth": 0},
        {"chain": True, "depth": 9, "columns": 3},
        {"columns": 1},
    ],
)
def test_every_kernel_and_instruction_set(case, seed):
    check(random_ensemble(seed, **case), seed, index=["shapley", "banzhaf", "banzhaf(0.3)", "beta(4, 1)"][seed])


@pytest.mark.parametrize(
    "flags",
    [
        FLOAT32_SPLIT,
        FLOAT32_SPLIT | MISSING_LEFT,
        FLOAT32_SPLIT | LESS_EQUAL,
        FLOAT32_SPLIT | LESS_EQUAL | MISSING_LEFT,
        0,
        LESS_EQUAL,
    ],
)
def test_thresholds_are_compared_in_their_own_precision(flags):
    """Rows exactly on, just below and just above thresholds that no float32 equals, and infinities."""
    rng = np.random.default_rng(flags)
    grid = np.array([0.1, 1 / 3, -1e-40, 1e300, -0.7, 0.0, 3.4e38])
    e = ensemble([random_tree(rng, 3, 4, 1, categorical=False, grid=grid, flags=flags) for _ in range(4)], 3, 1)
    odd = [np.nan, np.inf, -np.inf, -0.0]
    singles = np.float32(np.clip(grid, -3e38, 3e38)).astype(float)
    near = np.concatenate([grid, np.nextafter(grid, 9e307), np.nextafter(grid, -9e307), singles, odd])
    X = rng.choice(near, size=(200, 3))
    player_of = np.arange(3, dtype=np.int32)
    right = reference.path_dependent(e, player_of, 3, X, as_index("shapley").rule(3), 1)
    for name in SETS:
        for arithmetic, tolerance in TOLERANCE.items():
            for kernel in ("lane walk", "pattern tables"):
                mine = got(
                    e, player_of, 3, X, "shapley", 1, None, kernel=kernel, name=name, arithmetic=arithmetic, bits=4
                )
                assert np.abs(mine - right).max() < tolerance * max(1, np.abs(right).max())


@pytest.mark.parametrize("seed", range(3))
def test_trees_that_ask_the_same_question_in_many_nodes(seed):
    """As CatBoost's do; also again below the answer, where one side can never be reached."""
    rng = np.random.default_rng(seed)
    flags = FLOAT32_SPLIT if seed else LESS_EQUAL
    grown = [random_tree(rng, 3, 5, 1, categorical=False, grid=np.array([0.5]), flags=flags) for _ in range(3)]
    check(ensemble(grown, 3, 1), seed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), depth=st.integers(1, 40), columns=st.integers(1, 7), chain=st.booleans())
def test_random_ensembles(seed, depth, columns, chain):
    """Repeated features on a path, NaN, categories, single leaves, duplicate thresholds, zero covers, up to depth 40."""
    rng = np.random.default_rng(seed)
    depth = depth if chain else min(depth, 6)
    e = ensemble([random_tree(rng, columns, depth, 1, chain=chain) for _ in range(2)], columns, 1)
    check(e, seed % 1000, rows=37, deep=depth > 12)


def test_threads_blocks_and_outputs_of_either_precision_agree():
    e = random_ensemble(3, depth=5, trees=30, columns=6)
    X = random_rows(4, 3000, 6)
    player_of = np.arange(6, dtype=np.int32)
    for kernel in ("lane walk", "pattern tables"):
        shared = dict(kernel=kernel, name=SETS[0], arithmetic="float64", bits=4)
        one = got(e, player_of, 6, X, "shapley", 1, None, **shared)
        assert np.array_equal(one, got(e, player_of, 6, X, "shapley", 1, None, threads=3, **shared))
        assert np.array_equal(one[:1], got(e, player_of, 6, X[:1], "shapley", 1, None, **shared))
        single = got(e, player_of, 6, X, "shapley", 1, None, out=np.zeros(one.shape, np.float32), **shared)
        assert np.abs(single - one).max() < 1e-6 * np.abs(one).max()


def test_trees_that_do_not_fit_are_compiled_in_turns(monkeypatch):
    e = random_ensemble(3, depth=5, trees=30, columns=6)
    X = random_rows(4, 500, 6)
    player_of = np.arange(6, dtype=np.int32)
    right = want(e, player_of, 6, X, "shapley", 1, None)
    monkeypatch.setattr(compiled_trees, "MAX_COMPILED_AT_ONCE", 1)
    rules = rules_for(e, player_of, 6, "shapley", 1)
    shared = dict(instructions=SETS[0], arithmetic="float64", bits=4)
    made = compiled_trees.CompiledTrees(e, player_of, 6, rules, kernel="lane walk", kept=20_000, **shared)
    for _ in range(2):
        out = np.zeros(right.shape)
        made.add_values(X, out, threads=2, description="", quiet=True)
        assert np.abs(out - right).max() < 1e-12 * np.abs(right).max()
    assert 0 < made.kept_bytes <= 20_000


def test_one_explainer_may_be_used_by_several_threads():
    e = random_ensemble(5, depth=5, trees=30, columns=6)
    X = random_rows(4, 400, 6)
    player_of = np.arange(6, dtype=np.int32)
    right = want(e, player_of, 6, X, "shapley", 1, None)
    rules = rules_for(e, player_of, 6, "shapley", 1)
    shared = dict(instructions=SETS[0], arithmetic="float64", bits=6)
    made = compiled_trees.CompiledTrees(e, player_of, 6, rules, kernel="pattern tables", **shared)
    wrong = []

    def use():
        out = np.zeros(right.shape)
        made.add_values(X, out, threads=2, description="", quiet=True)
        wrong.append(np.abs(out - right).max() > 1e-12 * np.abs(right).max())

    users = [threading.Thread(target=use) for _ in range(8)]
    for u in users:
        u.start()
    for u in users:
        u.join()
    assert wrong == [False] * 8
