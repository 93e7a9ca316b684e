"""Ratios of rounding: nothing divided by nothing is nothing, and what is small but there stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
from whybox.explanation.feature_values import strongest_partner
from whybox.kernels import interaction_strength
from whybox.models.registry import as_model
from whybox.numerics.rounding import ratio_above_rounding, relative_size, rounding_floor, varies
from whybox.numerics.statistics import kendall, spearman
from whybox.reporting.performance import measure_performance
from whybox.reporting.sections.saliency_maps import share_lines


def h_squared(found):
    return found.extras["h_squared"][1]


def test_the_floor_is_relative_to_spread_and_size():
    x = np.array([-1.0, 1.0, -1.0, 1.0]) + 1 / 3
    assert rounding_floor(x) == pytest.approx(1e-9)
    assert rounding_floor(1e6 + x) == pytest.approx(1e-6)  # rounding of numbers of this size, added up
    assert rounding_floor(1e200 * x) == pytest.approx(1e191)
    assert rounding_floor(1e-200 * x) == pytest.approx(1e-209)
    assert rounding_floor(x, np.array([0.0, 1.0, 0.0, 2.0])) == pytest.approx(4 / 3 * 1e-12)
    assert rounding_floor(x.astype(np.float32)) == pytest.approx(1e-6 * np.sqrt(10 / 9))
    assert rounding_floor(np.array([1.0, 2.0, 3e6])) < 1e-2  # whole numbers are exact in any arithmetic
    assert rounding_floor(np.column_stack([x, 1e6 + x])) == pytest.approx([1e-9, 1e-6])
    assert rounding_floor(x, size=1e5) == pytest.approx(1e-7)
    assert rounding_floor([np.nan, np.inf]) == 0
    assert rounding_floor(np.empty((0, 2))).tolist() == [0, 0]


def test_ratios():
    assert ratio_above_rounding([1.0, 1e-32, 0.0], [2.0, 1e-32, 0.0], 1e-18).tolist() == [0.5, 0.0, 0.0]
    assert np.isnan(ratio_above_rounding(1.0, 0.0, 0.0, np.nan))
    assert relative_size([0.5, 1e-7, 0.0], [1.0, 0.0, 0.0], [1e-6, 1e-6, 0.0]).tolist() == pytest.approx(
        [0.5, 0.1, 0.0]
    )
    assert varies([1.0, 1.0 + 1e-9])
    assert not varies([0.1, 0.1 + 1e-16, 0.1])
    assert not varies(np.array([0.3, 0.3, 0.3 + 1e-8], np.float32))
    assert not varies([])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("make", [GradientBoostingRegressor, RandomForestRegressor], ids=lambda m: m.__name__)
def test_features_that_are_never_read_do_not_interact(make, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(80, 5))
    model = make(n_estimators=3, max_depth=2, random_state=seed).fit(X, X[:, 0] * X[:, 1])
    adapted = as_model(model)
    silent = np.setdiff1d(np.arange(5), adapted.columns_read)
    asked = []  # for each table of sizes, the columns of the pairs whose surfaces are computed
    surfaces = interaction_strength.compute_surfaces
    monkeypatch.setattr(
        interaction_strength,
        "compute_surfaces",
        lambda e, levels, pairs, *a: (
            asked.append([levels[p].columns + levels[q].columns for p, q in pairs]) or surfaces(e, levels, pairs, *a)
        ),
    )
    found = wb.interactions(model, X)
    for table in (found.values, h_squared(found)):
        assert not table[silent].any()
        assert not table[:, silent].any()
    assert asked
    for pairs in asked:  # of the rows, and of the pairs of rows that are recomputed
        assert len(pairs) <= len(adapted.columns_read) * (len(adapted.columns_read) - 1) / 2
        assert not np.isin(pairs, silent).any()
    # the same asked row by row
    box = wb.interactions(model.predict, X)
    assert np.allclose(box.values, found.values, atol=1e-12)
    assert np.allclose(h_squared(box), h_squared(found), atol=1e-9)


@pytest.mark.parametrize("constant", [[], [0], [0, 1]], ids=["two read", "one read", "none read"])
@pytest.mark.parametrize("scale", [None, "probability"])
@pytest.mark.parametrize("sample", [None, 20])
def test_a_model_that_reads_few_features_or_none(constant, scale, sample):
    """What is not read does not interact, also where every pair of rows would be asked about, and where the rows are a sample."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 4))
    read = X[:, :2].copy()
    read[:, constant] = 0.0  # what does not vary is never split at
    rows = np.column_stack([read, np.zeros((30, 2))])
    model = GradientBoostingClassifier(n_estimators=5, max_depth=2, random_state=0).fit(rows, X[:, 0] * X[:, 1] > 0)
    silent = np.setdiff1d(np.arange(4), as_model(model).columns_read)
    assert len(silent) == 2 + len(constant)
    found = wb.interactions(model, X, scale=scale, sample=sample)
    assert found.values.shape == (4, 4)
    for table in (found.values, h_squared(found)):
        assert not table[silent].any()
        assert not table[:, silent].any()
        assert (table.max() > 1e-3) == (not constant)
    if constant:  # a feature that has no other to interact with, but for rounding
        assert found.values.max() < 1e-12
        assert h_squared(found).max() < 1e-24


def test_features_on_no_path_together_do_not_interact():
    """A model of two parts that do not meet: exactly zero, and right where they do."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4))
    trees = [
        DecisionTreeRegressor(max_depth=4).fit(X * np.isin(np.arange(4), c), X[:, c].prod(axis=1))
        for c in ([0, 1], [2, 3])
    ]
    parts = [as_model(t) for t in trees]
    model = replace(parts[0], own_predict=None).from_trees(
        [t for p in parts for t in p.to_trees()],
        base=[0.0],
        inputs=parts[0].inputs,
        outputs=parts[0].outputs,
        kind="sum",
    )
    found = wb.interactions(model, X)
    assert not found.values[:2, 2:].any()
    assert not h_squared(found)[:2, 2:].any()
    assert found.values[0, 1] > 0.1
    brute = wb.interactions(
        lambda rows: trees[0].predict(rows * [1, 1, 0, 0]) + trees[1].predict(rows * [0, 0, 1, 1]), X
    )
    assert np.allclose(brute.values, found.values, atol=1e-12)
    assert np.allclose(h_squared(brute), h_squared(found), atol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1e6, -1e9])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_small_interactions_stay_and_rounding_goes(offset, size):
    """Of the predictions' spread a ten-thousandth is an effect; features that the function does not read have none, whatever their size and offset."""
    X = np.random.default_rng(0).choice([-1.0, 1.0], size=(64, 5))
    X = np.concatenate(
        [X * s for s in np.array(np.meshgrid(*[[-1.0, 1.0]] * 5)).reshape(5, -1).T]
    )  # independent, balanced

    def function(rows):
        return offset + size * (rows[:, 0] + 1e-4 * rows[:, 1] * rows[:, 2]) / 3

    found = h_squared(wb.interactions(function, X))
    if size / max(abs(offset), 1e-300) > 1e-9:
        assert found[1, 2] == pytest.approx(1.0, abs=1e-3 if abs(offset) / size < 1e6 else 0.1)
    assert found[3, 4] == 0
    assert found[0, 3] < 1e-9


def test_a_float32_model_whose_answers_hang_on_the_batch():
    """Noise of float32 in all that a model answers is no interaction of features it does not read."""
    X = np.random.default_rng(0).normal(size=(40, 4))

    def function(rows):
        noise = np.random.default_rng(len(rows)).uniform(-6e-8, 6e-8, len(rows))
        return ((rows[:, 0] * rows[:, 1] + 3) * (1 + noise)).astype(np.float32)

    found = h_squared(wb.interactions(function, X))
    assert found[2, 3] == 0
    assert found[0, 1] > 0.5


def test_probabilities_of_a_classifier():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 4))
    model = GradientBoostingClassifier(n_estimators=3, max_depth=2).fit(X, X[:, 0] * X[:, 1] > 0)
    found = wb.interactions(model, X, scale="probability")
    silent = np.setdiff1d(np.arange(4), as_model(model).columns_read)
    assert len(silent)
    assert not h_squared(found)[silent].any()


def test_regions_of_a_function_with_a_large_offset():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.uniform(-1, 1, size=(200, 3)), columns=["x", "z", "u"])
    for offset, times in ((0.0, 1.0), (1e9, 1.0), (0.0, 1e-12), (1e6, 1e12)):
        found = wb.regions(lambda f, o=offset, t=times: o + t * f["x"] * np.sign(f["z"]), X, "x", depth=1)
        assert len(found) == 3
        assert any("z" in name for name in found)
        assert list(wb.regions(lambda f, o=offset, t=times: o + t * (f["x"] / 3 + f["z"]), X, "x")) == ["all rows"]


def test_a_bias_of_rounding_is_none():
    X = np.random.default_rng(0).normal(size=(30, 2))
    model = DecisionTreeRegressor(max_depth=2).fit(X, X[:, 0])
    raw = model.predict(X)[:, None]
    bias = {
        shift: dict(s[:2] for s in measure_performance(as_model(model), raw, raw[:, 0] + shift).scores)["Bias"]
        for shift in (0.0, 1e-16, -1e-6)
    }
    assert bias[0.0] == bias[1e-16] == 0.0
    assert np.isclose(bias[-1e-6], 1e-6)


def test_a_constant_target_has_no_share_explained():
    X = np.random.default_rng(0).normal(size=(30, 2))
    model = DecisionTreeRegressor(max_depth=2).fit(X, X[:, 0])
    raw = model.predict(X)[:, None]
    names = [name for name, *_ in measure_performance(as_model(model), raw, np.full(30, 0.1)).scores]
    assert "R²" not in names
    names = [name for name, *_ in measure_performance(as_model(model), raw, 0.1 + 1e-6 * X[:, 0]).scores]
    assert "R²" in names


def test_rounding_has_no_rank_and_no_partner():
    rng = np.random.default_rng(0)
    noise, other = 0.1 + 1e-17 * rng.normal(size=50), rng.normal(size=50)
    assert spearman(0.1 * (1 + 1e-16 * rng.integers(-2, 3, 50)), other) == 0
    assert spearman(noise, noise) == 0
    assert spearman(other, other) == pytest.approx(1)
    assert np.isnan(kendall([0.1, 0.1 + 1e-17, 0.3 - 0.2], [1.0, 2.0, 3.0]))
    assert kendall([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]) == 1
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc"))
    model = DecisionTreeRegressor(max_depth=3).fit(X, X["a"])
    e = wb.explain(model, X, X[:50])
    shaken = replace(e, values=e.values + 1e-16 * rng.normal(size=e.values.shape))
    assert strongest_partner(shaken, "b") is None


def test_shares_of_rounding_are_not_told():
    found = np.array([[1e-17, -2e-17]])
    assert [s for *_, s in share_lines(found, ("a", "b"), 1e-12)] == ["", "", ""]
    assert [s for *_, s in share_lines(found, ("a", "b"), 0.0)] == ["33.3%", "66.7%", "100%"]


@pytest.mark.parametrize("apart", [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
def test_rescaled_attributions_of_rows_that_predict_nearly_the_same(apart):
    """Two features that cancel but for a trifle: each has the slope of the link there, times what it adds."""
    X = np.array([[0.0, 0.0], [1.0, 1.0]])
    tables = [np.array([0.3, 2.3]), np.array([0.2, -1.8 + apart])]  # what each feature adds where it is 0, and 1
    made = [as_model(DecisionTreeRegressor().fit(X, [0.0, 1.0])) for _ in range(1)]
    trees = []
    for column, values in enumerate(tables):
        (tree,) = made[0].to_trees()
        feature = np.where(tree.left >= 0, column, -1)
        value = np.zeros((3, 1))
        value[tree.left[0]], value[tree.right[0]] = values
        trees.append(replace(tree, feature=feature, value=value))
    from whybox.models.links import Link, Outputs

    model = made[0].from_trees(
        trees,
        base=[0.0],
        inputs=made[0].inputs,
        outputs=Outputs(("up",), link=Link("sigmoid"), response_units="probability", negative_class="down"),
        kind="two",
    )
    found = wb.explain(model, X[1:], X[:1], scale="probability", method="rescaled").values[0]
    low, high = 0.5, 0.5 + apart
    slope = expit(0.5) * (1 - expit(0.5)) if apart < 1e-4 else (expit(high) - expit(low)) / (high - low)
    assert np.allclose(
        found, slope * np.array([2.0, -2.0 + apart]), rtol=2e-10 if apart < 1e-7 or apart > 1e-4 else 1e-6
    )
