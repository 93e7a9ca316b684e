"""Sets of few large categories: every kernel against its specification, LightGBM against its own predict, and what they cost."""

from __future__ import annotations

import tracemalloc

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

import whybox as wb
from ensembles import ensemble, random_ensemble, random_rows
from whybox.adapters.lightgbm.text_format import read_text_model
from whybox.kernels import compiled_trees, effects, reference, reference_effects, tree_shap, value_intervals
from whybox.models.registry import as_model
from whybox.models.trees import CATEGORICAL_SPLIT, FLOAT32_SPLIT, MISSING_LEFT, SET_RIGHT, TINY_AS_ZERO, Tree

SPREAD = 4099
CASES = [
    dict(),
    dict(depth=6, trees=2),
    dict(outputs=3),
    dict(outputs=3, vector=True),
    dict(chain=True, depth=9, columns=3),
]
each_case = pytest.mark.parametrize("case", range(len(CASES)))


def made(seed, case):
    """An ensemble whose categories are multiples of SPREAD, and rows of which half are such categories or lie beside one."""
    e = random_ensemble(seed, spread=SPREAD, **CASES[case])
    rng = np.random.default_rng(seed)

    def rows(n, more=0):
        X = random_rows(seed + more, n, e.inputs.width)
        codes = SPREAD * rng.integers(0, 70, X.shape) + rng.choice([0, 0, 0, 0.5, 1, -0.5, -1], X.shape)
        return np.ascontiguousarray(np.where(rng.random(X.shape) < 0.6, codes, X))

    return e, rows


@pytest.mark.parametrize(
    "flags", [0, SET_RIGHT, TINY_AS_ZERO, FLOAT32_SPLIT | MISSING_LEFT, FLOAT32_SPLIT | TINY_AS_ZERO | SET_RIGHT]
)
@pytest.mark.parametrize(
    "members", [[], [0], [3, 5], [0, 2**31 - 1], [5000], [2080, 2081], [7, 40_000, 1_000_000], list(range(0, 9000, 2))]
)
def test_membership_is_that_of_a_set(members, flags):
    node = Tree(
        left=np.array([1, -1, -1]), right=np.array([2, -1, -1]), feature=np.array([0, -1, -1]), threshold=np.full(3, np.nan),
        flags=np.array([CATEGORICAL_SPLIT | flags, 0, 0], np.uint8), cover=np.ones(3), value=np.array([0.0, 1.0, 2.0]),
        sets={0: np.array(members[::-1], dtype=np.int64)}, output=0,
    )  # fmt: skip
    e = ensemble([node], 1, 1, [0.0])
    assert e.to_trees()[0].sets[0].tolist() == sorted(members)
    near = {float(m) + d for m in members for d in (-1, -0.5, 0, 0.25, 0.999, 1)}
    x = np.array(
        [
            *near,
            -1,
            -0.999,
            -0.5,
            -0.0,
            1e-40,
            -1e-40,
            2.0**31,
            2.0**32,
            2.0**32 + 5,
            1e300,
            -1e300,
            np.inf,
            -np.inf,
            np.nan,
        ]
    )
    with np.errstate(over="ignore"):
        read_as = x.astype(np.float32).astype(float) if flags & FLOAT32_SPLIT else x
    want = []
    for v in read_as:
        whole = np.trunc(v) if flags & TINY_AS_ZERO else np.floor(v)
        inside = bool(np.isfinite(v)) and int(whole) in members and whole >= 0
        want.append(bool(flags & MISSING_LEFT) if np.isnan(v) else inside != bool(flags & SET_RIGHT))
    want = np.where(want, 1.0, 2.0)
    with np.errstate(over="ignore"):
        assert np.array_equal(reference.predict(e, x[:, None])[:, 0], want)
    assert np.array_equal(tree_shap.predict(e, np.ascontiguousarray(x[:, None]))[:, 0], want)


@each_case
@pytest.mark.parametrize("seed", range(6))
def test_predict_equals_the_specification_bit_for_bit(seed, case):
    e, rows = made(seed, case)
    assert (e.set_words < 0).any() or not len(e.sets)
    X = rows(300)
    assert np.array_equal(tree_shap.predict(e, X), reference.predict(e, X))


@each_case
@pytest.mark.parametrize("seed", range(2))
def test_attributions(seed, case):
    from test_kernels import INDICES, as_index, run_pairs, run_path, singles

    e, rows = made(seed, case)
    d = e.inputs.width
    X, B = rows(11), rows(9, 1)
    player_of, _ = singles(d)
    w = np.full(9, 1 / 9)
    for order in (1, 2):
        name = list(INDICES)[(seed + case + order) % len(INDICES)]
        got = run_path(e, player_of, d, X, name, order)
        assert np.abs(got - reference.path_dependent(e, player_of, d, X, as_index(name).rule(d), order)).max() < 1e-12
        got = run_pairs(e, player_of, d, X, B, w, name, order)
        spec = reference.interventional(e, player_of, d, X, B, w, as_index(name).moments(d + 1), order)
        assert np.abs(got - spec).max() < 1e-12


@each_case
@pytest.mark.parametrize("name", [s.name for s in compiled_trees.instruction_sets()])
def test_effects(case, name):
    e, rows = made(case, case)
    X = rows(70)
    levels = [effects.PlayerPoints((c,), np.ascontiguousarray(rows(9, c)[:, [c]])) for c in range(e.inputs.width)]
    ones = np.ones(len(X))
    with compiled_trees.forced_kernel(instructions=name):
        means = effects.partial_dependence(e, levels, X, None)
        curves = [f for _, f in effects.individual_curve_blocks(e, levels, X, numbers=10**7, threads=1)]
    for i, (one, mean) in enumerate(zip(levels, means, strict=True)):
        assert np.abs(mean - reference_effects.partial_dependence(e, one.columns, one.values, X, ones)).max() < 1e-12
        got = np.concatenate([block[i] for block in curves])
        assert np.abs(got - reference_effects.individual_curves(e, one.columns, one.values, X)).max() < 1e-12


@each_case
@pytest.mark.parametrize("seed", range(3))
def test_classes_of_values_are_those_that_no_node_tells_apart(seed, case):
    e, rows = made(seed, case)
    for column in range(e.inputs.width):
        x = np.unique(rows(200)[:, column])
        nodes = np.flatnonzero((e.left >= 0) & (e.feature == column))
        answers = np.array([reference.goes_left(e, n, x) for n in nodes]).reshape(len(nodes), len(x)).T
        _, same = np.unique(answers, axis=0, return_inverse=True)
        stand = value_intervals.interval_representatives(e, column, x)
        found = value_intervals.point_index_of_rows(e, [column], stand[:, None], x[:, None])
        for k in np.unique(found):
            assert len(np.unique(same.ravel()[found == k])) == 1, "one class holds values that some node tells apart"


def grown(top, *, categories=40, trees=20, rows=1500, seed=0):
    """A LightGBM booster on codes up to `top`."""
    rng = np.random.default_rng(seed)
    ids = np.unique(np.concatenate([rng.integers(0, top, categories - 1), [top - 1]]))
    at = rng.integers(0, len(ids), rows)
    X = np.column_stack([ids[at], rng.normal(size=rows)]).astype(float)
    data = lgb.Dataset(X, rng.normal(size=len(ids))[at] + X[:, 1], categorical_feature=[0], params={"verbose": -1})
    options = {
        "verbose": -1,
        "num_threads": 1,
        "objective": "regression",
        "num_leaves": 15,
        "min_data_per_group": 1,
        "cat_smooth": 1,
        "max_cat_to_onehot": 4,
    }
    return lgb.train(options, data, trees), X, ids


@pytest.mark.parametrize("top", [60, 2100, 40_000, 400_000])
def test_lightgbm_reads_as_itself(top, tmp_path):
    booster, X, ids = grown(top)
    model = as_model(booster)
    odd = [
        -0.5,
        -0.999,
        -1,
        -7,
        -0.0,
        0.5,
        *(ids[:5] + 0.7),
        *(ids[:5] + 1),
        *(ids[:5] - 1),
        1e6,
        2.0**31,
        2.0**32 + ids[3],
        1e300,
        np.inf,
        np.nan,
    ]
    rows = np.column_stack([odd, np.full(len(odd), 0.1)])
    both = np.concatenate([rows, X[:50]])
    own = booster.predict(both)
    assert np.array_equal(tree_shap.predict(model, both)[:, 0], own)
    finite = both[np.isfinite(both).all(axis=1)]
    e = wb.explain(model, finite)
    assert np.allclose(e.base + e.values.sum(axis=1), booster.predict(finite))
    curve = wb.effects(model, X[:60], 0, grid={0: [-0.5, *ids[:4].tolist(), float(ids[2]) + 1]})[0]
    for point, value in zip(curve.grid, curve.values, strict=True):
        assert value == pytest.approx(
            booster.predict(np.column_stack([np.full(60, point), X[:60, 1]])).mean(), abs=1e-12
        )
    booster.save_model(tmp_path / "m.txt")
    assert np.array_equal(tree_shap.predict(as_model(tmp_path / "m.txt"), both)[:, 0], own)


def test_saved_curves_of_large_categories(tmp_path):
    booster, X, ids = grown(40_000)
    wb.effects(booster, X[:60], 0).save(tmp_path / "c.whybox")
    points = [-3.0, -0.5, float(ids[0]), float(ids[5]), float(ids[5]) + 1]
    want = [booster.predict(np.column_stack([np.full(60, p), X[:60, 1]])).mean() for p in points]
    assert np.allclose(wb.load(tmp_path / "c.whybox")[0].at(points), want, atol=1e-12)


def test_memory_goes_by_the_number_of_categories():
    booster, _, _ = grown(400_000)
    text = booster.model_to_string()
    small = read_text_model(grown(2000)[0].model_to_string(), "LightGBM")
    tracemalloc.start()
    model = read_text_model(text, "LightGBM")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.sets.nbytes < 2 * small.sets.nbytes
    assert peak < 6 * len(text)  # a few copies of the text, not tens of bytes for each of its words


def test_codes_of_many_pandas_categories():
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(20_000)]
    at = rng.choice(20_000, 60, replace=False)[rng.integers(0, 60, 1500)]
    X = pd.DataFrame({"c": pd.Categorical.from_codes(at, categories=names), "x": rng.normal(size=1500)})
    model = lgb.LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1, min_data_per_group=1, cat_smooth=1).fit(
        X, np.sin(at) + X.x
    )
    e = wb.explain(model, X[:50])
    assert np.allclose(e.prediction, model.predict(X[:50]))
    assert (as_model(model).set_words < 0).any()
