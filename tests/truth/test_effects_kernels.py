"""Exact feature effects of trees against replacing columns and predicting."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ensembles import ensemble, random_ensemble, random_rows, random_tree
from whybox.errors import EmptyDataError, InputError, OptionError, UnsupportedModelError
from whybox.kernels import compiled_trees, effects, interaction_strength, reproducible_sum, tree_shap, value_intervals
from whybox.kernels import reference_effects as reference
from whybox.models.trees import (
    CATEGORICAL_SPLIT,
    FLOAT32_SPLIT,
    LESS_EQUAL,
    MISSING_LEFT,
    TINY_AS_ZERO,
    ZERO_MISSING,
    Tree,
)

CASES = [
    dict(),
    dict(depth=6, trees=2, columns=5),
    dict(outputs=3),
    dict(outputs=3, vector=True, columns=5),
    dict(depth=0),
    dict(chain=True, depth=9, columns=3),
    dict(columns=1),
    dict(depth=9, trees=2, columns=6),
]
each_case = pytest.mark.parametrize("case", range(len(CASES)))
each_set = pytest.mark.parametrize("name", [s.name for s in compiled_trees.instruction_sets()])


def some_weights(seed, n):
    rng = np.random.default_rng(seed)
    return rng.random(n) * (rng.random(n) < 0.8)


def some_levels(seed, columns, points=9):
    """One player a column, and one of two columns where there are enough; values in any order, twice, NaN among them."""
    groups = [(c,) for c in range(columns)] if columns < 4 else [(2, 0), *((c,) for c in range(3, columns))]
    return [effects.PlayerPoints(g, random_rows(seed + 50 + i, points, len(g))) for i, g in enumerate(groups)]


def near(got, want, scale=1e-12):
    assert got.shape == want.shape
    assert np.abs(got - want).max() < scale


@each_set
@each_case
@pytest.mark.parametrize("seed", range(2))
def test_partial_dependence(case, seed, name):
    e = random_ensemble(seed, **CASES[case])
    X = random_rows(seed + 1, 70, e.inputs.width)
    levels = some_levels(seed, e.inputs.width)
    for w in (None, np.full(70, 3.0), some_weights(seed, 70)):
        with compiled_trees.forced_kernel(instructions=name):
            got = effects.partial_dependence(e, levels, X, w)
        for one, curve in zip(levels, got, strict=True):
            near(curve, reference.partial_dependence(e, one.columns, one.values, X, np.ones(70) if w is None else w))


@each_case
def test_joint(case):
    e = random_ensemble(case, **CASES[case])
    X = random_rows(case + 1, 40, e.inputs.width)
    levels = some_levels(case, e.inputs.width, points=6)
    pairs = list(permutations(range(len(levels)), 2))
    for w in (None, some_weights(case, 40)):
        got = effects.joint_partial_dependence(e, levels, pairs, X, w)
        for (a, b), surface in zip(pairs, got, strict=True):
            two = [(levels[j].columns, levels[j].values) for j in (a, b)]
            near(surface, reference.joint_partial_dependence(e, *two, X, np.ones(40) if w is None else w))


@pytest.mark.parametrize("w", [None, 2])
def test_few_rows_in_deep_trees_and_many_rows(w):
    """Rows as a list, rows as bits, and one after the other in the same tree; more rows than one block holds."""
    rng = np.random.default_rng(0)
    e = ensemble([random_tree(rng, 5, 12, 1, output=0) for _ in range(2)], 5, 1)
    levels = [effects.PlayerPoints((c,), random_rows(c, 7, 1)) for c in range(5)]
    for n in (3, 150, 33_000):
        X = random_rows(n, min(n, 150), 5)[np.arange(n) % 150]
        weights = None if w is None else some_weights(w, n)
        folded = np.bincount(np.arange(n) % 150, np.ones(n) if w is None else weights, minlength=min(n, 150))
        for one, curve in zip(levels, effects.partial_dependence(e, levels, X, weights), strict=True):
            near(curve, reference.partial_dependence(e, one.columns, one.values, X[:150], folded))
        if n != 150:
            continue
        pairs = [(0, 1), (3, 1), (2, 4)]
        for (a, b), surface in zip(pairs, effects.joint_partial_dependence(e, levels, pairs, X, weights), strict=True):
            near(
                surface,
                reference.joint_partial_dependence(e, ((a,), levels[a].values), ((b,), levels[b].values), X, folded),
            )


@pytest.mark.parametrize("part_seconds", [1e-9, reproducible_sum.PART_SECONDS])  # in seven parts, in one
def test_threads_change_no_bit(monkeypatch, part_seconds):
    e = random_ensemble(0, trees=7, depth=6)
    X, w = random_rows(1, 700, 4), np.random.default_rng(0).uniform(0.1, 2.0, 700)
    levels = some_levels(0, 4)
    whole = effects.joint_partial_dependence(e, levels, [(0, 1)], X, w)[0]
    monkeypatch.setattr(reproducible_sum, "PART_SECONDS", part_seconds)
    low, high = (np.random.default_rng(s).integers(0, 3, (700, len(levels))).astype(np.int32) for s in (1, 2))

    def everything(threads):
        strengths = [interaction_strength.overall_interactions(e, levels_at(X), X, w, threads=threads)]
        strengths += [interaction_strength.pair_interactions(e, levels_at(X), [(0, 1), (2, 3)], X, w, threads=threads)]
        spread = effects.individual_curve_moments(e, levels, X, w, threads=threads)
        return [
            *effects.joint_partial_dependence(e, levels, [(0, 1)], X, w, threads=threads),
            *effects.partial_dependence(e, levels, X, w, threads=threads),
            effects.individual_curves(e, levels[0], X, threads=threads),
            *[b for _, blocks in effects.individual_curve_blocks(e, levels, X, threads=threads) for b in blocks],
            effects.point_differences(e, levels, X, low, high, threads=threads),
            *[a for s in strengths for a in (s.interaction_sums, s.total_sums)],
            *[a for m in spread for a in (m.mean, m.variance)],
        ]

    one = everything(1)
    near(one[0], whole)
    for threads in (2, 3, 20):
        for a, b in zip(everything(threads), one, strict=True):
            assert np.array_equal(a, b)


def levels_at(X):
    return [effects.PlayerPoints((c,), np.unique(X[:, [c]], axis=0)) for c in range(X.shape[1])]


def test_many_surfaces_are_added_up_in_turns(monkeypatch):
    e = random_ensemble(3, depth=5)
    X, levels = random_rows(1, 30, 4), [effects.PlayerPoints((c,), random_rows(c, 6, 1)) for c in range(4)]
    pairs = [(0, 1), (2, 1), (3, 0), (0, 1)]
    at_once = effects.joint_partial_dependence(e, levels, pairs, X)
    monkeypatch.setattr(effects, "SURFACE_BYTES", 1)
    for a, b in zip(at_once, effects.joint_partial_dependence(e, levels, pairs, X), strict=True):
        near(a, b, 1e-13)


@each_case
def test_individual_curves(case):
    e = random_ensemble(case, **CASES[case])
    X = random_rows(case + 1, 30, e.inputs.width)
    for one in some_levels(case, e.inputs.width):
        near(effects.individual_curves(e, one, X), reference.individual_curves(e, one.columns, one.values, X))


@each_case
def test_individual_curves_of_all_players_at_once(case):
    e = random_ensemble(case, **CASES[case])
    X = random_rows(case + 1, 70, e.inputs.width)
    levels = some_levels(case, e.inputs.width)
    seen = 0
    for rows, blocks in effects.individual_curve_blocks(e, levels, X, numbers=500):
        assert rows.start == seen
        seen = rows.stop
        for one, block in zip(levels, blocks, strict=True):
            np.testing.assert_array_equal(block, effects.individual_curves(e, one, X[rows]))
    assert seen == len(X)


@each_case
def test_shifted(case):
    e = random_ensemble(case, **CASES[case])
    X = random_rows(case + 1, 60, e.inputs.width)
    levels = some_levels(case, e.inputs.width)
    rng = np.random.default_rng(case)
    low, high = (rng.integers(9, size=(60, len(levels))) for _ in range(2))
    got = effects.point_differences(e, levels, X, low, high)
    for j, one in enumerate(levels):
        near(got[:, j], reference.point_differences(e, one.columns, one.values[low[:, j]], one.values[high[:, j]], X))


LINKS = {
    "identity": lambda f: f,
    "logistic": lambda f: 1 / (1 + np.exp(-f)),
    "exp": np.exp,
    "softmax": lambda f: np.exp(f) / np.exp(f).sum(axis=-1, keepdims=True),
}


@pytest.mark.parametrize("center", ["mean", "row"])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("case", [1, 2, 3])
def test_moments(case, link, center):
    e = random_ensemble(case, **CASES[case])
    X, w = random_rows(case + 1, 50, e.inputs.width), some_weights(case, 50)
    levels = some_levels(case, e.inputs.width)
    own = LINKS[link](tree_shap.predict(e, X))[:, None] if center == "row" else 0.0
    for one, got in zip(
        levels, effects.individual_curve_moments(e, levels, X, w, center=center, link=link), strict=True
    ):
        curves = LINKS[link](reference.individual_curves(e, one.columns, one.values, X)) - own
        mean = np.einsum("i,ipc->pc", w, curves) / w.sum()
        near(got.mean, mean)
        near(got.variance, np.einsum("i,ipc->pc", w, (curves - mean) ** 2) / w.sum())


def test_moments_do_not_cancel():
    """A large base leaves the spread of the curves as it is."""
    e = ensemble([random_tree(np.random.default_rng(0), 3, 4, 1, output=0)], 3, 1, [0.0])
    far = ensemble(e.to_trees(), 3, 1, [1e7])
    X, levels = random_rows(1, 50, 3), [effects.PlayerPoints((0,), random_rows(2, 5, 1))]
    for center in ("mean", "row"):
        a, b = (effects.individual_curve_moments(m, levels, X, center=center)[0].variance for m in (e, far))
        assert a.max() > 1e-3
        assert np.abs(a - b).max() < 1e-7


FLAGS = [
    None,
    0,
    LESS_EQUAL,
    FLOAT32_SPLIT,
    FLOAT32_SPLIT | LESS_EQUAL,
    ZERO_MISSING | FLOAT32_SPLIT,
    TINY_AS_ZERO,
    ZERO_MISSING | LESS_EQUAL,
]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("categorical", [False, True])
def test_representatives_stand_for_every_value(flags, categorical):
    rng = np.random.default_rng(5)
    grid = np.concatenate(
        [rng.normal(size=6), [0.0, 0.1, 1e-35, 1e300, -np.inf, np.inf, 5e-324, float(np.float32(0.1))]]
    )
    options = dict(categorical=categorical, grid=grid, flags=flags)
    e = ensemble([random_tree(rng, 2, 5, 1, output=0, **options) for _ in range(4)], 2, 1)
    seen = np.concatenate([rng.normal(size=4), [np.nan, 3.0, 69.0]])
    singles = np.clip(grid, -1e30, 1e30).astype(np.float32)
    with np.errstate(all="ignore"):
        near_thresholds = [np.nextafter(a, a.dtype.type(s)) for a in (grid, singles) for s in (-np.inf, np.inf)]
        near_thresholds += [a + (b - a) / 2 for a, b in ((singles.astype(float), t) for t in near_thresholds[2:])]
    odd = [0.0, -0.0, 1e-36, -1e-36, 1e-35, -1e-35, 5e-324, -5e-324, np.inf, -np.inf, np.nan, 1e308]
    codes = np.arange(-2, 99)
    tiny = 1e-35 * (1 + 1e-8 * rng.normal(size=30))
    probes = np.concatenate([grid, *near_thresholds, odd, rng.normal(size=60), codes, codes + 0.7, tiny, -tiny, seen])
    X = random_rows(1, 25, 2)
    for column in (0, 1):
        points = value_intervals.interval_representatives(e, column, seen)
        assert np.isnan(points[-1])
        assert (np.diff(points[:-1]) > 0).all()
        assert np.array_equal(
            value_intervals.point_index_of_rows(e, [column], points[:, None], points[:, None]), np.arange(len(points))
        )
        at = value_intervals.point_index_of_rows(e, [column], points[:, None], probes[:, None])
        rows = np.repeat(X, len(probes), axis=0)
        of_probes, of_points = (np.tile(v, len(X))[:, None] for v in (probes, points[at]))
        got, want = (
            tree_shap.predict(e, reference.with_replaced_columns(rows, [column], v)) for v in (of_probes, of_points)
        )
        assert np.array_equal(got, want)
        hit = np.unique(value_intervals.point_index_of_rows(e, [column], points[:, None], seen[:, None]))
        assert np.isin(points[hit][:-1], seen).all(), "a value that was seen stands for its class"


def test_there_is_no_representative_too_many_and_breakpoints_are_the_thresholds():
    grid = np.array([-1.0, 0.1, 2.0])
    rng = np.random.default_rng(0)
    for flags, want in (
        (LESS_EQUAL, grid),
        (FLOAT32_SPLIT | LESS_EQUAL, [-1.0, np.nextafter(np.float32(0.1), np.float32(0)), 2.0]),
    ):
        e = ensemble(
            [random_tree(rng, 1, 6, 1, output=0, categorical=False, grid=grid, flags=flags) for _ in range(5)], 1, 1
        )
        assert np.array_equal(value_intervals.distinct_thresholds(e, 0), want)
        points = value_intervals.interval_representatives(e, 0, grid)[:, None]
        assert value_intervals.point_index_of_rows(
            e, [0], points, value_intervals.distinct_thresholds(e, 0)[:, None]
        ).tolist() == [
            0,
            1,
            2,
        ]
        assert len(value_intervals.interval_representatives(e, 0, np.empty(0))) == 5  # four intervals and NaN
        assert not (e.flags & CATEGORICAL_SPLIT).any()


def test_rows_between_the_points_are_refused():
    e = random_ensemble(1, depth=5)
    points = value_intervals.interval_representatives(e, 0, np.empty(0))[:, None]
    assert np.array_equal(
        value_intervals.point_index_of_rows(e, [0], np.concatenate([points, points]), points), np.arange(len(points))
    )
    with pytest.raises(OptionError, match="row 0 is at none"):
        value_intervals.point_index_of_rows(e, [0], points[:1], points[-1:])


def row_levels(e, X, groups):
    """Points such that every row lies at one."""
    return [
        effects.PlayerPoints(
            g, value_intervals.interval_representatives(e, g[0], X[:, g[0]])[:, None] if len(g) == 1 else X[:, list(g)]
        )
        for g in groups
    ]


@pytest.mark.parametrize("case", [0, 1, 2, 3, 7])
def test_interactions(case):
    e = random_ensemble(case, **CASES[case])
    n = 30
    X, w = random_rows(case + 1, n, e.inputs.width), some_weights(case, n)
    groups = [(0,), (1,), (2, 3)]
    levels = row_levels(e, X, groups)
    pairs = [(0, 1), (2, 0)]
    for weights in (None, w):
        each = np.ones(n) if weights is None else weights
        got = interaction_strength.pair_interactions(e, levels, pairs, X, weights)
        for k, (a, b) in enumerate(pairs):
            want = reference.pair_interaction(e, groups[a], groups[b], X, each)
            near(np.stack([got.interaction_sums[k], got.total_sums[k]]), np.stack(want), 1e-10)
        got = interaction_strength.overall_interactions(e, levels, X, weights)
        for j, g in enumerate(groups):
            near(
                np.stack([got.interaction_sums[j], got.total_sums[j]]),
                np.stack(reference.overall_interaction(e, g, X, each)),
                1e-10,
            )


def test_a_product_interacts_wholly_and_a_sum_not_at_all():
    """x0 x1 on {-1, 1}^2, balanced: H squared is one; x0 + x1: zero."""

    def tree(values):
        return Tree(
            left=np.array([1, 3, 5, -1, -1, -1, -1]),
            right=np.array([2, 4, 6, -1, -1, -1, -1]),
            feature=np.array([0, 1, 1, -1, -1, -1, -1]),
            threshold=np.zeros(7),
            flags=np.zeros(7, np.uint8),
            cover=np.ones(7),
            value=np.array([[0.0]] * 3 + [[v] for v in values]),
        )

    X = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    for values, want in (([1.0, -1.0, -1.0, 1.0], 1.0), ([-2.0, 0.0, 0.0, 2.0], 0.0)):
        e = ensemble([tree(values)], 2, 1, [5.0])
        levels = row_levels(e, X, [(0,), (1,)])
        for s in (
            interaction_strength.pair_interactions(e, levels, [(0, 1)], X),
            interaction_strength.overall_interactions(e, levels, X),
        ):
            assert np.allclose(s.interaction_sums / s.total_sums, want, atol=1e-14)


def test_what_cannot_be_answered_is_refused():
    e, X = random_ensemble(0), random_rows(0, 5, 4)
    one = effects.PlayerPoints((0,), np.zeros((2, 1)))
    linear = random_ensemble(0, linear=True)
    for ask in (
        lambda e: effects.partial_dependence(e, [one], X),
        lambda e: effects.joint_partial_dependence(e, [one, effects.PlayerPoints((1,), np.ones((2, 1)))], [(0, 1)], X),
        lambda e: effects.individual_curves(e, one, X),
        lambda e: effects.individual_curve_moments(e, [one], X),
        lambda e: effects.point_differences(e, [one], X, np.zeros((5, 1)), np.ones((5, 1))),
    ):
        ask(e)
        with pytest.raises(UnsupportedModelError, match="linear"):
            ask(linear)
    with pytest.raises(OptionError, match="two players"):
        effects.partial_dependence(e, [one, effects.PlayerPoints((1, 0), np.zeros((2, 2)))], X)
    with pytest.raises(OptionError, match="points, columns"):
        effects.partial_dependence(e, [effects.PlayerPoints((0,), np.zeros((0, 1)))], X)
    with pytest.raises(OptionError, match="threads"):
        effects.partial_dependence(e, [one], X, threads=0)
    with pytest.raises(OptionError, match="two different"):
        effects.joint_partial_dependence(e, [one], [(0, 0)], X)
    with pytest.raises(OptionError, match="positions"):
        effects.point_differences(e, [one], X, np.zeros((5, 1)), np.full((5, 1), 2))
    with pytest.raises(OptionError, match="center"):
        effects.individual_curve_moments(e, [one], X, link="probit")
    with pytest.raises(EmptyDataError):
        effects.partial_dependence(e, [one], X[:0])
    with pytest.raises(InputError, match="model's columns"):
        effects.individual_curves(e, one, X[:, :2])
    for bad in (np.zeros(5), np.ones(4), np.array([1, 1, 1, 1, np.nan]), np.array([1, 1, 1, 1, -1.0])):
        with pytest.raises(InputError, match="weights"):
            effects.partial_dependence(e, [one], X, bad)
    assert effects.partial_dependence(e, [], X) == []


def test_a_column_with_more_thresholds_than_sixteen_bits_can_number():
    levels, rng = 16, np.random.default_rng(0)
    inner, n = 2**levels - 1, 2 ** (levels + 1) - 1
    node = np.arange(n)
    left = np.where(node < inner, 2 * node + 1, -1)
    depth = np.floor(np.log2(node + 1)).astype(int)
    threshold = (node + 1 - 2.0**depth + 0.5) / 2.0**depth  # a search tree over (0, 1)
    feature = np.where(node < inner, 0, -1)
    deep = Tree(
        left=left,
        right=np.where(left > 0, left + 1, -1),
        feature=feature,
        threshold=threshold,
        flags=(rng.integers(2, size=n) * MISSING_LEFT).astype(np.uint8),
        cover=np.ones(n),
        value=rng.normal(size=(n, 1)),
    )
    e = ensemble([deep, random_tree(rng, 2, 4, 1, categorical=False, grid=rng.random(4))], 2, 1)
    assert len(value_intervals.interval_representatives(e, 0, np.empty(0))) > 2**16
    X = rng.random((300, 2))
    X[::7, 0] = np.nan
    players = [effects.PlayerPoints((c,), np.append(rng.random(6), np.nan)[:, None]) for c in range(2)]
    want = [
        [tree_shap.predict(e, reference.with_replaced_columns(X, [c], v)).mean(axis=0) for v in players[c].values]
        for c in range(2)
    ]
    for got, curve in zip(effects.partial_dependence(e, players, X), want, strict=True):
        near(got, np.array(curve))
