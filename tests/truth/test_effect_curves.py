"""Individual curves of trees of every size, on every instruction set, against replacing columns and predicting; means of deep trees too."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from ensembles import ensemble, random_rows, random_tree
from whybox.kernels import compiled_trees, effects
from whybox.kernels import reference_effects as reference
from whybox.models.trees import FLOAT32_SPLIT, KEEP_ALL_OUTPUTS, LESS_EQUAL, MISSING_LEFT, NAN_AS_ZERO, Tree

each_set = pytest.mark.parametrize("name", [s.name for s in compiled_trees.instruction_sets()])
PLAIN = dict(categorical=False)


def leaves(tree):
    return int((tree.left < 0).sum())


def grown(rng, columns, low, high, outputs=1, **options):
    """A random tree of so many leaves."""
    while True:
        for depth in range((low - 1).bit_length(), 12):
            options.setdefault("output", 0)
            tree = random_tree(rng, columns, depth, outputs, **options)
            if low <= leaves(tree) <= high:
                return tree
            if leaves(tree) > high:
                break


@cache
def cases():
    """Columns, outputs, trees: of few leaves around the widths of tables; large with one comparison a node; large with others; all together."""
    rng = np.random.default_rng(0)
    fine = dict(PLAIN, grid=rng.normal(size=60))
    few = [grown(rng, 5, n, n) for n in (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64)]
    large = [
        grown(rng, 5, 65, 900, flags=f, **fine)
        for f in (NAN_AS_ZERO, MISSING_LEFT, LESS_EQUAL, FLOAT32_SPLIT | NAN_AS_ZERO)
    ]
    other = [grown(rng, 5, 65, 300) for _ in range(2)]
    every = dict(outputs=3, output=KEEP_ALL_OUTPUTS)
    wide = [
        grown(rng, 5, 2, 64, flags=NAN_AS_ZERO, **every, **fine),
        grown(rng, 5, 8, 64, **every),
        grown(rng, 5, 65, 300, **every),
    ]
    each = [
        grown(rng, 5, low, high, output=k % 3, flags=NAN_AS_ZERO, **fine)
        for k, (low, high) in enumerate([(20, 40), (65, 300)] * 3)
    ]
    return {
        "few": (1, few),
        "large": (1, large),
        "other": (1, other),
        "together": (1, [*large, *few, *other]),
        "wide": (3, wide),
        "each": (3, each),
    }


CASES = ("few", "large", "other", "together", "wide", "each")


def levels_of(groups, points=20):
    """Values of every kind, and ordinary ones."""
    made = [(random_rows(9 + g[0], points, len(g)), np.random.default_rng(g[0])) for g in groups]
    return [
        effects.PlayerPoints(g, np.concatenate([odd, rng.normal(size=odd.shape)]))
        for g, (odd, rng) in zip(groups, made, strict=True)
    ]


GROUPS = {"columns": [(0,), (1,), (2,), (4,)], "group": [(3, 0), (2,)]}


@cache
def asked(case, groups):
    """A model, its rows and levels, and what the specification says."""
    outputs, trees = cases()[case]
    e = ensemble(trees, 5, outputs, np.arange(outputs) + 0.5)
    rng = np.random.default_rng(1)
    X = np.where(rng.random((61, 5)) < 0.5, random_rows(2, 61, 5), rng.normal(size=(61, 5)))
    levels = levels_of(GROUPS[groups])
    return e, X, levels, [reference.individual_curves(e, one.columns, one.values, X) for one in levels]


@each_set
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("groups", GROUPS)
def test_curves(case, groups, name):
    e, X, levels, wanted = asked(case, groups)
    with compiled_trees.forced_kernel(instructions=name):
        blocks = [parts for _, parts in effects.individual_curve_blocks(e, levels, X, numbers=3000)]
        one = effects.individual_curves(e, levels[0], X[:1])
    got = [np.concatenate(parts) for parts in zip(*blocks, strict=True)]
    for curves, want in zip(got, wanted, strict=True):
        assert curves.shape == want.shape
        assert np.abs(curves - want).max() < 1e-11
    assert np.array_equal(one, got[0][:1])


def test_a_symmetric_tree_asks_each_question_once():
    """64 leaves of six questions, some to the same player and one with missing values to the left: as CatBoost grows them."""
    rng = np.random.default_rng(0)
    inner, node = 63, np.arange(127)
    level = np.floor(np.log2(node + 1)).astype(int)
    tree = Tree(
        left=np.where(node < inner, 2 * node + 1, -1),
        right=np.where(node < inner, 2 * node + 2, -1),
        feature=np.where(node < inner, np.array([0, 1, 0, 2, 1, 0, -1])[level], -1),
        threshold=np.array([0.0, 0.5, 1.0, -0.5, -1.0, 0.25, np.nan])[level],
        flags=np.array([0, MISSING_LEFT, 0, 0, MISSING_LEFT, MISSING_LEFT, 0], np.uint8)[level],
        cover=np.ones(127),
        value=rng.normal(size=(127, 1)),
    )
    e = ensemble([tree, tree], 3, 1)
    X = random_rows(1, 50, 3)
    for level_of in levels_of([(0,), (1,), (2,)]):
        got = effects.individual_curves(e, level_of, X)
        assert np.abs(got - reference.individual_curves(e, level_of.columns, level_of.values, X)).max() < 1e-12


@pytest.mark.parametrize("flags", [LESS_EQUAL, NAN_AS_ZERO, None], ids=["plain", "missing", "asked"])
def test_means_of_deep_trees(flags):
    """Many rows in deep trees: sets of rows, then lists of them; on every instruction set."""
    rng = np.random.default_rng(4)
    options = dict(flags=flags, **(dict(PLAIN, grid=rng.normal(size=200)) if flags is not None else {}))
    e = ensemble([random_tree(rng, 4, 12, 1, output=0, **options) for _ in range(2)], 4, 1)
    X = np.where(rng.random((700, 4)) < 0.1, random_rows(2, 700, 4), rng.normal(size=(700, 4)))
    levels = levels_of([(0,), (1,), (2,), (3,)], points=2)
    for w in (np.ones(700), rng.random(700) * (rng.random(700) < 0.8)):
        wanted = [reference.partial_dependence(e, one.columns, one.values, X, w) for one in levels]
        for some in compiled_trees.instruction_sets():
            with compiled_trees.forced_kernel(instructions=some.name):
                got = effects.partial_dependence(e, levels, X, w)
            for curve, want in zip(got, wanted, strict=True):
                assert np.abs(curve - want).max() < 1e-12


@pytest.mark.parametrize("deep", [64, 65, 90])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_split_of_missing_from_known_beneath_others_of_its_column(way, deep):
    """A chain x < 0, x < 1, ... or x < 0, x < -1, ... that missing values go to the end of, where they part from the known ones."""
    up = way == "up"
    node = np.arange(2 * deep - 1)
    inner = (node % 2 == 0) & (node < 2 * deep - 2)  # the other child is a leaf
    last, rank = inner & (node == 2 * deep - 4), node // 2
    follow = LESS_EQUAL if up else LESS_EQUAL | MISSING_LEFT  # where the chain goes on
    tree = Tree(
        left=np.where(inner, node + (1 if up else 2), -1),
        right=np.where(inner, node + (2 if up else 1), -1),
        feature=np.where(inner, 0, -1),
        threshold=np.where(last, -np.inf if up else np.inf, rank * (1.0 if up else -1.0)),
        flags=np.where(last, follow ^ MISSING_LEFT, follow).astype(np.uint8),
        cover=np.ones(len(node)),
        value=np.random.default_rng(0).normal(size=(len(node), 1)),
    )
    assert leaves(tree) == deep
    e = ensemble([tree], 2, 1)
    X = np.array([[np.nan, 0.0], [-1.0, 0.0], [-7.5, 0.0], [7.5, 0.0], [1e9, 0.0]])
    points = effects.PlayerPoints((0,), np.array([[-1e6], [-3.5], [-1.0], [2.5], [3.5], [1e6], [np.nan]]))
    want = reference.individual_curves(e, (0,), points.values, X)
    assert np.abs(effects.individual_curves(e, points, X) - want).max() < 1e-12
    (got,) = effects.individual_curve_moments(e, [points], X)
    assert np.abs(got.mean - want.mean(axis=0)).max() < 1e-12
    assert got.variance.max() < 1e-30  # all rows have the same curve
