"""The trees' own answers about changed rows against the library's own predict of those rows, for every kind of model there is."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

import whybox as wb
import zoo
from whybox.data.table import as_table
from whybox.errors import OptionError
from whybox.methods.common.output import resolve_output
from whybox.methods.common.rows import weighted_rows
from whybox.methods.effects.ale import accumulated_local_effects
from whybox.methods.effects.curves import individual_curves, partial_dependence
from whybox.methods.effects.linear_evaluator import LinearEvaluator
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.predict_evaluator import PredictEvaluator, moments_of_blocks
from whybox.methods.effects.problem import resolve_effects
from whybox.methods.effects.tree_evaluator import TreeEvaluator
from whybox.models.blackbox import BlackBox
from whybox.models.linear import Linear
from whybox.models.links import Outputs
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

EXACT = [c for c in zoo.CASES if c.verdict == "exact"]
ROWS = 32


def ids(case):
    return f"{case.library}: {case.name}"


def first(rows):
    return rows.iloc[:ROWS] if isinstance(rows, pd.DataFrame) else rows[:ROWS]


def asked_own(asked):
    """The same question put to the library's own predict alone."""
    model = asked.model
    units = "prediction"
    box = BlackBox(
        inputs=model.inputs,
        outputs=Outputs(model.outputs.names, raw_units=units, response_units=units),
        kind="own",
        own_predict=model.own_predict,
    )
    return PredictEvaluator(box, asked.rows, resolve_output(box.outputs, None))


@pytest.mark.parametrize("case", EXACT, ids=ids)
def test_leaves_and_weights_against_the_librarys_own_predict(case):
    _, rows = zoo.built(case.name)
    model = zoo.adapted(case.name)
    if not isinstance(model, TreeEnsemble | Linear):
        pytest.skip("no trees and no weights")
    own_is_raw = model.own_predict.scale == "raw" or model.outputs.link.is_identity
    weights = np.linspace(0.5, 2.0, ROWS)
    asked = resolve_effects(
        model,
        first(rows),
        None,
        EffectsOptions(scale=None if own_is_raw else "response", sample_weight=weights),
        grid=5,
    )
    oracle = asked_own(asked)
    close = {"rtol": 2e-5, "atol": 2e-5} if case.single else {"rtol": 1e-9, "atol": 1e-9}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for members in asked.requested_features:
            trees, grid = asked.evaluator_of(members), asked.make_grid(members)
            curves = individual_curves(oracle, [grid])[0].values
            theirs = moments_of_blocks(oracle, grid, [(np.arange(ROWS), curves)])
            for ours in partial_dependence(trees, [grid]):
                assert np.allclose(ours.values, theirs.mean, **close), members
                assert np.allclose(ours.std_error, theirs.std_error, **close), members
                if len(members) == 1:  # of surfaces the skewness is estimated from fewer rows
                    sides = (np.asarray(one.skewness) * one.std_error for one in (ours, theirs))
                    assert np.allclose(*sides, **close), members
            assert np.allclose(individual_curves(trees, [grid])[0].values, curves, **close)
            if len(grid) > 1 and sum(1 for v in grid.points[0].tolist() if v == v and v is not None) > 1:
                ours, theirs = accumulated_local_effects(trees, [grid])[0], accumulated_local_effects(oracle, [grid])[0]
                assert np.allclose(ours.values, theirs.values, **close)
                assert np.allclose(ours.std_error, theirs.std_error, **close)
    assert isinstance(
        asked.evaluator_of(asked.requested_features[0]), (TreeEvaluator, LinearEvaluator, PredictEvaluator)
    )


def test_most_kinds_are_answered_by_their_trees():
    by_trees = 0
    for case in EXACT[:: max(1, len(EXACT) // 12)]:
        live, rows = zoo.built(case.name)
        asked = resolve_effects(
            live,
            first(rows),
            None,
            EffectsOptions(),
        )
        by_trees += isinstance(asked.evaluator_of(asked.requested_features[-1]), TreeEvaluator)
    assert by_trees >= 6


@pytest.mark.parametrize("kind", ["pdp", "ale", "ice"])
def test_surfaces_of_trees_against_predictions(kind):
    from sklearn.ensemble import HistGradientBoostingClassifier

    X = zoo.holes()
    model = as_model(HistGradientBoostingClassifier(max_iter=15).fit(X, zoo.binary()))
    for scale in (None, "probability"):
        asked = resolve_effects(
            model, X.iloc[:60], [("bmi", "age"), ("s5", "bp")], EffectsOptions(scale=scale), kind=kind, grid=6
        )
        ask = PredictEvaluator(model, asked.rows, asked.selection)
        for members in asked.requested_features:
            trees, grid = asked.evaluator_of(members), asked.make_grid(members)
            assert isinstance(trees, TreeEvaluator)
            make = {
                "pdp": lambda e, g: partial_dependence(e, [g])[0].values,
                "ale": lambda e, g: accumulated_local_effects(e, [g])[0].values,
                "ice": lambda e, g: individual_curves(e, [g])[0].values,
            }[kind]
            assert np.allclose(make(trees, grid), make(ask, grid), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("one_hot_max_size", [2, 20])  # as counters, as sets
def test_a_grid_of_thresholds_of_numbers_that_are_categories_has_each_of_them(one_hot_max_size):
    from catboost import CatBoostRegressor

    rng = np.random.default_rng(0)
    X = pd.DataFrame({"k": rng.integers(0, 6, 200), "x": rng.normal(size=200)})
    y = X.k % 3 + X.x
    model = CatBoostRegressor(
        10, depth=3, cat_features=["k"], one_hot_max_size=one_hot_max_size, verbose=0, allow_writing_files=False
    ).fit(X, y)
    effect = wb.effects(model, X[:50], "k", grid="thresholds")["k"]
    assert effect.coords["point"].tolist() == [0, 1, 2, 3, 4, 5]
    brute = [model.predict(X[:50].assign(k=k)).mean() for k in range(6)]
    assert np.allclose(effect.values[:, 0] if effect.values.ndim == 2 else effect.values, brute, atol=1e-9)


def test_a_grid_of_thresholds_shows_every_step_and_at_is_the_step_function():
    from sklearn.ensemble import HistGradientBoostingRegressor

    X = zoo.holes()
    model = HistGradientBoostingRegressor(max_iter=20).fit(X, zoo.y())
    steps = wb.effects(model, X, "bmi", grid="thresholds")["bmi"]
    curve = wb.effects(model, X, "bmi")["bmi"]
    assert np.isnan(steps.grid[-1])
    where = np.random.default_rng(0).uniform(15, 45, 400)
    exact = curve.at(where)
    assert set(np.round(exact, 9)) <= set(np.round(steps.values, 9))
    for v, got in zip(where[:10], exact[:10], strict=True):
        assert np.isclose(got, model.predict(X.assign(bmi=v)).mean(), rtol=1e-12)
    with pytest.raises(OptionError, match="thresholds"):
        wb.effects(lambda rows: rows["bmi"], X, "bmi", grid="thresholds")


def test_what_trees_cannot_answer_is_asked_and_says_why():
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    X = zoo.X()
    model = make_pipeline(PCA(3), RandomForestRegressor(5, random_state=0)).fit(X, zoo.y())
    e = wb.effects(model, X, "bmi", grid=5)["bmi"]
    assert any("mixes this column" in note for note in e.evidence.notes)
    assert np.allclose(e.values, [model.predict(X.assign(bmi=v)).mean() for v in e.grid], rtol=1e-9)


def test_a_feature_that_no_tree_reads_is_flat():
    from sklearn.tree import DecisionTreeRegressor

    X = np.random.default_rng(0).normal(size=(100, 3))
    model = DecisionTreeRegressor(max_depth=2).fit(X, X[:, 0] > 0)
    for kind in ("pdp", "ale"):
        assert np.ptp(wb.effects(model, X, 2, kind)[0].values) < 1e-12


def test_an_adapted_model_can_be_asked_without_its_library():
    model, rows = zoo.built("LGBMRegressor, categories")
    adapted = replace(as_model(model), own_predict=None)
    a, b = (wb.effects(m, rows, "age")["age"] for m in (adapted, model))
    assert np.array_equal(a.values, b.values)
    assert a.evidence.model_calls == 0
    assert b.evidence.model_calls == len(rows) + b.evidence.spot_checks.predictions
    assert weighted_rows(as_table(rows), None).effective_count == pytest.approx(len(rows))


def boosted(n=900):
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 4)).round(2), columns=list("abcd"))
    X["c"] = X["c"].where(rng.random(n) > 0.1)
    X["e"] = pd.Categorical(rng.choice(["u", "v", "w"], n), categories=["u", "v", "w"])
    y = (X["a"] * X["b"] + X["d"] + (X["e"] == "v") > 0.3).astype(int)
    return HistGradientBoostingClassifier(max_iter=15, categorical_features="from_dtype").fit(X, y), X


SAME = {
    "pdp": lambda m, X, **k: wb.effects(m, X, [*X, ("a", "b"), ("b", "e")], **k),
    "pdp, probability": lambda m, X, **k: wb.effects(m, X, [*X, ("a", "c")], scale="probability", grid=7, **k),
    "ice": lambda m, X, **k: wb.effects(m, X, None, "ice", grid=9, **k),
    "ale": lambda m, X, **k: wb.effects(m, X, None, "ale", **k),
    "ale, probability": lambda m, X, **k: wb.effects(m, X, "a", "ale", scale="probability", **k),
    "anova": lambda m, X, **k: wb.effects(m, X, ["a", ("a", "b")], "anova", **k),
    "regions": lambda m, X, **k: wb.regions(m, X, "a", **k),
    "interactions": lambda m, X, **k: {"": wb.interactions(m, X, **k)},
}


@pytest.mark.parametrize("what", SAME)
def test_the_number_of_threads_changes_no_bit(what, monkeypatch):
    from whybox.kernels import reproducible_sum

    monkeypatch.setattr(reproducible_sum, "PART_SECONDS", 1e-6)  # so that a small model has parts too
    model, X = boosted()
    adapted = as_model(model)
    one = SAME[what](adapted, X, n_jobs=1)
    for jobs in (2, 5, None):
        other = SAME[what](adapted, X, n_jobs=jobs)
        for key, e in one.items():
            assert np.array_equal(other[key].values, e.values, equal_nan=True)
            assert e.std_error is None or np.array_equal(other[key].std_error, e.std_error, equal_nan=True)
    with pytest.raises(OptionError, match="n_jobs"):
        SAME[what](adapted, X, n_jobs=0)


@pytest.mark.parametrize("n", [300, 900])  # standard errors of all rows, and of some
def test_all_surfaces_come_out_of_one_walk_and_are_those_of_each_alone(n, monkeypatch):
    from itertools import combinations

    from whybox.kernels import effects

    model, X = boosted(n)
    walks = []
    joint = effects.joint_partial_dependence
    monkeypatch.setattr(effects, "joint_partial_dependence", lambda *a, **k: walks.append(a) or joint(*a, **k))
    pairs = [*combinations(X, 2), ("b", "a")]
    weights = np.linspace(0.5, 2.0, n)
    found = wb.effects(model, X, pairs, grid=6, sample_weight=weights)
    assert len(walks) == (n > 800)
    means = wb.effects(model, X, pairs, "anova", grid=6, sample_weight=weights)
    assert len(walks) == 1 + (n > 800)
    assert len(walks[-1][2]) == len(pairs)
    asked = resolve_effects(model, X, pairs, EffectsOptions(sample_weight=weights), grid=6)
    ask = PredictEvaluator(asked.model, asked.rows, asked.selection)
    for members in asked.requested_features[::3]:
        key = asked.feature_key(members)
        brute = partial_dependence(ask, [asked.make_grid(members)])[0]
        assert np.abs(found[key].values.ravel() - brute.values.ravel()).max() < 1e-12
        ratio = found[key].std_error.ravel() / brute.std_error.ravel()
        assert np.abs(ratio - 1).max() < (1e-9 if n == 300 else 0.25)
        assert any("400 of the 900 rows" in note for note in found[key].evidence.notes) == (n == 900)
    a, b = (means[k].values for k in (("a", "b"), ("b", "a")))
    assert np.abs(a - b.T).max() < 1e-12


def test_surfaces_of_features_that_no_tree_reads_or_that_share_points_by_dict():
    from sklearn.tree import DecisionTreeRegressor

    X = np.random.default_rng(0).normal(size=(1000, 4))
    model = DecisionTreeRegressor(max_depth=5).fit(X * [1, 1, 0, 0], X[:, 0] * X[:, 1])
    found = wb.effects(model, X, [(0, 1), (0, 3), (2, 3), 0], grid={0: [0.5, -1.0], 1: 4, 3: 3})
    assert found[0].shape == (2, 4)
    assert np.abs(found[1].values - found[3].values[:, None]).max() < 1e-12
    assert np.abs(found[2].values - model.predict(X).mean()).max() < 1e-12


def _forest(X, y):
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(10, random_state=0).fit(X, y)


def _forest_of_classes(X, y):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(10, random_state=0).fit(X, np.digitize(y, [-0.5, 0.5]))


def _lightgbm(X, y):
    import lightgbm

    return lightgbm.LGBMClassifier(n_estimators=8, num_leaves=127, min_child_samples=2, verbose=-1).fit(X, y > 0)


def _xgboost(X, y):
    import xgboost

    return xgboost.XGBRegressor(n_estimators=8, max_depth=9, min_child_weight=0).fit(X, y)


LARGE = {f.__name__.strip("_"): f for f in (_forest, _forest_of_classes, _lightgbm, _xgboost)}


def predicted(model, frame, output):
    """The library's own predictions of the class asked for, (rows,)."""
    if not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(frame), float)
    if output is None and type(model).__name__ == "LGBMClassifier":
        return model.predict(frame, raw_score=True)
    return model.predict_proba(frame)[:, 1]


@pytest.mark.parametrize("name", LARGE)
def test_columns_with_missing_values_in_trees_of_more_than_64_leaves(name, tmp_path):
    """Individual curves and all that is made of them: a missing value may be the last point left where a column is asked again."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    y = X["a"] * X["b"] + np.sin(3 * X["c"]) + 0.1 * rng.normal(size=300)
    X = X.where(rng.random(X.shape) > 0.15)
    X["d"] = X["d"].round(1)
    live = LARGE[name](X, y.to_numpy())
    model = as_model(live)
    assert isinstance(model, TreeEnsemble)
    assert np.diff(model.tree_offsets).max() > 127
    rows, close = X[:80], {"rtol": 1e-4, "atol": 2e-5} if name == "xgboost" else {"rtol": 1e-9, "atol": 1e-9}
    weights = rng.random(80)
    share = weights / weights.sum()
    n = 1 / (share**2).sum()
    asked = [0.1, None, -0.7, 2.5]
    for scale in (None, "probability") if name == "lightgbm" else (None,):
        output = 1 if name == "forest_of_classes" else None
        ask = dict(output=output, scale=scale, sample_weight=weights)
        for feature in "ad":

            def ice(points, feature=feature, output=scale or output):
                changed = (rows.assign(**{feature: np.nan if v is None else v}) for v in points)
                return np.column_stack([predicted(live, c, output) for c in changed])

            found = {k: wb.effects(live, rows, feature, k, grid=12, **ask)[feature] for k in ("pdp", "ice", "c-ice")}
            assert np.isnan(found["pdp"].grid[-1])
            curves = ice(found["pdp"].grid)
            mean = share @ curves
            assert np.allclose(found["ice"].values, curves, **close)
            assert np.allclose(found["c-ice"].values, curves - curves[:, :1], **close)
            assert np.allclose(found["pdp"].values, mean, **close)
            assert np.allclose(found["pdp"].std_error, np.sqrt(share**2 @ (curves - mean) ** 2 * n / (n - 1)), **close)
            other, first = ice(asked), curves[:, :1]
            for kind, want in (("pdp", share @ other), ("ice", other), ("c-ice", other - first)):
                found[kind].save(tmp_path / "curve.whybox")
                for e in (found[kind], wb.load(tmp_path / "curve.whybox")):
                    assert np.allclose(e.at(asked), want, **close), kind
        parts = wb.regions(live, rows, "a", grid=8, depth=1, **ask)
        curves = ice(parts[0].grid, "a", scale or output)
        assert np.allclose(parts[0].values, share @ curves, **close)
        stand = parts[0].extras["share"][1]
        shape = curves - (curves @ stand)[:, None]
        spread = np.sqrt(share @ (shape - share @ shape) ** 2 @ stand)
        assert np.isclose(float(parts[0].extras["heterogeneity"][1]), spread, **close)


@pytest.mark.parametrize("count", [6, 40, 1500])
@pytest.mark.parametrize("rest", [0.0, 1e-9])
def test_rows_of_no_weight_do_not_enter_standard_errors(count, rest):
    """Of many rows with weights, errors are those of the rows that weigh: exactly while they are few, else estimated from some of them."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(20000, 3))
    X[:, 2] = rng.integers(0, 3, len(X))
    model = RandomForestRegressor(5, max_depth=5, random_state=0).fit(X[:2000], X[:2000, 0] * (X[:2000, 1] > 0))
    weights = np.full(len(X), rest)
    chosen = np.sort(rng.choice(len(X), count, replace=False))
    weights[chosen] = 1.0
    grid = {"x0": np.linspace(-1, 1, 5), "x2": np.array([0.0, 1.0, 2.0, 7.0])}
    given = wb.effects(model, X, ["x0", "x2"], grid=grid, sample_weight=weights)
    wanted = wb.effects(model, X[chosen], ["x0", "x2"], grid=grid)
    for name in grid:
        a, b = given[name], wanted[name]
        assert np.abs(a.values - b.values).max() < 1e-6
        exactly = rest == 0.0 and count <= 800
        assert np.abs(a.std_error - b.std_error).max() <= (1e-9 if exactly else 0.15) * b.std_error.max()
        if rest == 0.0:
            assert np.allclose(a.off_data, b.off_data, atol=1e-12, equal_nan=True)
    assert given["x2"].off_data[-1] == 1.0


def test_a_sample_of_interactions_is_drawn_from_rows_that_weigh():
    X = np.random.default_rng(0).normal(size=(200, 3))
    weights = np.r_[np.ones(15), np.zeros(185)]
    function = lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 2]
    sampled = wb.interactions(function, X, sample=30, sample_weight=weights)
    whole = wb.interactions(function, X[:15])
    assert np.allclose(sampled.values, whole.values, atol=1e-12)
    assert sampled.std_error is None
    assert not any("drawn" in note for note in sampled.evidence.notes)
