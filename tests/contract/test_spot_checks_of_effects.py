"""Spot checks of effects: faults planted one by one are found, right answers are never refused, and what the checks cost is what the plan says.

Each fault is a switch that makes numbers wrong as an old or a thinkable fault would: in the kernels, in the reading, in the mixing, in the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

import whybox as wb
from sound_answers import sound_answer
from whybox.errors import OptionError, SpotCheckError
from whybox.kernels import effects, interaction_strength
from whybox.methods.common import evaluation
from whybox.methods.common.rows import WeightedRows
from whybox.methods.common.spot_checks import TimeShare
from whybox.methods.effects import curves, predict_evaluator, regions, tree_evaluator
from whybox.methods.effects.interactions import interactions
from whybox.methods.effects.options import EffectsOptions, InteractionsOptions
from whybox.methods.effects.problem import EffectsProblem, resolve_effects
from whybox.methods.effects.result import run
from whybox.methods.effects.spot_rows import RowRecomputation

RUNS = 5  # of each fault, in every run of the tests; a hundred under -m soak
ROWS = 90


def table(seed: int = 0, n: int = ROWS) -> pd.DataFrame:
    """Numbers with missing values, few numbers, categories; all matter, two by two."""
    rng = np.random.default_rng(seed)
    gaps = rng.random((n, 2)) < 0.15
    return pd.DataFrame(
        {
            "a": np.where(gaps[:, 0], np.nan, rng.normal(size=n)),
            "b": np.where(gaps[:, 1], np.nan, rng.normal(size=n)),
            "few": rng.integers(0, 4, n),
            "word": pd.Categorical(rng.choice(["u", "v", "w", "x", "y"], n)),
        }
    )


def score(rows: pd.DataFrame) -> np.ndarray:
    a, b = rows["a"].fillna(1.7).to_numpy(), rows["b"].fillna(-0.6).to_numpy()
    word = (
        rows["word"].astype(object).map({"u": 0.3, "v": 1.0, "w": -1.2, "x": 2.4, "y": -0.7}).to_numpy().astype(float)
    )
    return 3.0 + a * b + 0.5 * rows["few"].to_numpy() * a + word * b + word


@cache
def booster() -> xgb.XGBRegressor:
    rows = table(1, 800)
    return xgb.XGBRegressor(n_estimators=12, max_depth=4, learning_rate=0.4, enable_categorical=True, n_jobs=1).fit(
        rows, score(rows)
    )


def asked(model: Any, kind: str, features: Any = None, **options: Any) -> EffectsProblem:
    """A question whose rows are compared once, before anything is planted."""
    weights = np.linspace(0.2, 3.0, ROWS)
    return resolve_effects(
        model, table(), features, EffectsOptions(kind=kind, sample_weight=weights, **options), kind=kind, grid=11
    )


def anew(problem: EffectsProblem) -> EffectsProblem:
    """The same question with nothing computed yet."""
    rows = WeightedRows(problem.rows.table, problem.rows.weights)
    return replace(problem, rows=rows, _evaluators={})


def tenth(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(count, max(1, round(count / 10)), replace=False)


def wrong(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Numbers of which some are wrong by one in a hundred."""
    out = np.moveaxis(np.array(values), axis, 0)
    out[at] *= 1.01
    return np.moveaxis(out, 0, axis)


Plant = Callable[[pytest.MonkeyPatch, np.random.Generator], None]


def moments_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The mean curves of the kernel alone."""
    right = effects.individual_curve_moments

    def faulty(*args: Any, **more: Any) -> Any:
        return [replace(m, mean=wrong(m.mean, tenth(rng, len(m.mean)), 0)) for m in right(*args, **more)]

    patch.setattr(effects, "individual_curve_moments", faulty)


def means_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Means without individual curves, of curves and of surfaces."""
    right, joint = effects.partial_dependence, effects.joint_partial_dependence

    def faulty(*args: Any, **more: Any) -> Any:
        return [wrong(m, tenth(rng, len(m)), 0) for m in right(*args, **more)]

    def faulty_joint(*args: Any, **more: Any) -> Any:
        return [
            wrong(m.reshape(-1, m.shape[2]), tenth(rng, m.shape[0] * m.shape[1]), 0).reshape(m.shape)
            for m in joint(*args, **more)
        ]

    patch.setattr(effects, "partial_dependence", faulty)
    patch.setattr(effects, "joint_partial_dependence", faulty_joint)


def blocks_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the points of individual curves, the same ones for all rows."""
    right = effects.individual_curve_blocks

    def faulty(*args: Any, **more: Any) -> Any:
        at: dict[int, np.ndarray] = {}
        for rows, parts in right(*args, **more):
            for i, part in enumerate(parts):
                at.setdefault(i, tenth(rng, part.shape[1]))
            yield rows, [wrong(part, at[i], 1) for i, part in enumerate(parts)]

    patch.setattr(effects, "individual_curve_blocks", faulty)


def one_reading_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """All that the kernels say of a tenth of the points: what they are set to is read wrongly."""
    right = tree_evaluator.TreeEvaluator.levels
    drawn: dict[Any, set[Any]] = {}

    def faulty(self: Any, grid: Any) -> Any:
        points = right(self, grid)
        values = points.values.copy()
        for k in range(values.shape[1]):
            key = grid.column_positions[min(k, len(grid.column_positions) - 1)]
            column = values[:, k]
            different = np.unique(column)
            bad = drawn.setdefault(key, set(different[tenth(rng, len(different))].tolist()))
            hit = np.array([v in bad or (v != v and any(b != b for b in bad)) for v in column])
            values[hit, k] = np.where(column[hit] > np.nanmedian(different), np.nanmin(different), np.nanmax(different))
        return replace(points, values=values)

    patch.setattr(tree_evaluator.TreeEvaluator, "levels", faulty)


def missing_point_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The point of a missing value alone, which is read as another number."""
    del rng
    right = tree_evaluator.TreeEvaluator.levels

    def faulty(self: Any, grid: Any) -> Any:
        points = right(self, grid)
        return replace(points, values=np.where(np.isnan(points.values), 0.0, points.values))

    patch.setattr(tree_evaluator.TreeEvaluator, "levels", faulty)


def category_shifted(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Points of categories are read as the next category."""
    del rng
    right = tree_evaluator.TreeEvaluator.levels

    def faulty(self: Any, grid: Any) -> Any:
        points = right(self, grid)
        if grid.features[0].kind == "category":
            points = replace(points, values=np.where(points.values < 4, points.values + 1, 0.0))
        return points

    patch.setattr(tree_evaluator.TreeEvaluator, "levels", faulty)


def inverted_range(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Where a grid has a missing point, points between two others are wrong too: an item that lives for its NaN alone spoils the range above it."""
    right = effects.individual_curve_moments, effects.individual_curve_blocks

    def spoiled(values: np.ndarray, points: Any, axis: int) -> np.ndarray:
        if not np.isnan(points.values).any():
            return values
        start = int(rng.integers(len(points.values) - 2))
        return wrong(values, np.arange(start, start + 2), axis)

    def moments(e: Any, levels: Any, *args: Any, **more: Any) -> Any:
        found = right[0](e, levels, *args, **more)
        return [replace(m, mean=spoiled(m.mean, p, 0)) for m, p in zip(found, levels, strict=True)]

    def blocks(e: Any, levels: Any, *args: Any, **more: Any) -> Any:
        for rows, parts in right[1](e, levels, *args, **more):
            yield rows, [spoiled(part, p, 1) for part, p in zip(parts, levels, strict=True)]

    patch.setattr(effects, "individual_curve_moments", moments)
    patch.setattr(effects, "individual_curve_blocks", blocks)


def weights_ignored(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The kernels' means take every row alike."""
    del rng
    for name in ("individual_curve_moments", "partial_dependence"):
        right = getattr(effects, name)
        patch.setattr(
            effects,
            name,
            lambda e, p, X, w=None, right=right, **more: right(e, p, X, np.full(len(X), 1 / len(X)), **more),
        )
    joint = effects.joint_partial_dependence
    patch.setattr(
        effects,
        "joint_partial_dependence",
        lambda e, p, pairs, X, w=None, **more: joint(e, p, pairs, X, np.full(len(X), 1 / len(X)), **more),
    )


def rows_shifted(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Individual curves belong to the row before."""
    del rng
    right = effects.individual_curve_blocks
    patch.setattr(
        effects,
        "individual_curve_blocks",
        lambda *args, **more: ((rows, [np.roll(p, 1, axis=0) for p in parts]) for rows, parts in right(*args, **more)),
    )


def wrong_column(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The column beside the feature's is set."""
    del rng
    right = tree_evaluator.TreeEvaluator.columns
    patch.setattr(
        tree_evaluator.TreeEvaluator, "columns", lambda self, members: tuple((c + 1) % 4 for c in right(self, members))
    )


def ends_swapped(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Differences of ALE are lower end less upper end, in a tenth of the rows."""
    right = effects.point_differences

    def faulty(*args: Any, **more: Any) -> Any:
        out = right(*args, **more)
        out[tenth(rng, len(out))] *= -1
        return out

    patch.setattr(effects, "point_differences", faulty)


def steps_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The weights of rows are lost where differences of ALE are averaged."""
    del rng
    from whybox.methods.effects import ale

    for name in ("_accumulate",):
        right = getattr(ale, name)
        patch.setattr(
            ale,
            name,
            lambda rows, *more, right=right: right(WeightedRows(rows.table, np.full(len(rows), 1 / len(rows))), *more),
        )


def surfaces_transposed(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Points of surfaces in the other order."""
    del rng
    right = tree_evaluator.TreeEvaluator.levels

    def faulty(self: Any, grid: Any) -> Any:
        points = right(self, grid)
        if len(grid.features) == 2 and len(grid.shape) == 2:
            order = np.arange(len(grid)).reshape(grid.shape).T.ravel()
            points = replace(points, values=np.ascontiguousarray(points.values[order]))
        return points

    patch.setattr(tree_evaluator.TreeEvaluator, "levels", faulty)


OF_TREES: dict[str, tuple[Plant, list[tuple[str, Any]]]] = {
    "a tenth of the means": (moments_wrong, [("pdp", None), ("pdp", [("a", "b")])]),
    "a tenth of the means without curves": (means_wrong, [("anova", None), ("anova", [("a", "b")])]),
    "a tenth of the individual values": (blocks_wrong, [("ice", None), ("c-ice", None), ("d-ice", ["a", "b"])]),
    "a tenth of the points, everywhere": (one_reading_wrong, [("pdp", None), ("ice", None), ("anova", ["a", "b"])]),
    "the missing point": (missing_point_wrong, [("pdp", None), ("ice", None), ("c-ice", ["a", "b"]), ("anova", None)]),
    "categories shifted": (category_shifted, [("pdp", None), ("ice", None), ("ale", ["word", "a"]), ("anova", None)]),
    "an inverted range": (inverted_range, [("pdp", ["a", "b"]), ("ice", ["a", "b"])]),
    "weights ignored": (weights_ignored, [("pdp", None), ("anova", None), ("anova", [("a", "b")])]),
    "rows shifted": (rows_shifted, [("ice", None), ("c-ice", None), ("d-ice", ["a", "b"])]),
    "the wrong column": (wrong_column, [("pdp", None), ("ice", None), ("ale", ["a", "b"]), ("anova", None)]),
    "ends swapped": (ends_swapped, [("ale", None), ("ale", [("a", "b")])]),
    "weights of steps": (steps_wrong, [("ale", None)]),
    "surfaces transposed": (surfaces_transposed, [("pdp", [("a", "b")]), ("ice", [("a", "b")]), ("pdp", [("few", "word")])]),
}  # fmt: skip


def found(problem: EffectsProblem, plant: Plant, runs: int, answer: Callable[[EffectsProblem], Any] = run) -> int:
    """In how many runs the fault is found."""
    count = 0
    for seed in range(runs):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(seed))
            try:
                answer(anew(problem))
            except SpotCheckError:
                count += 1
    return count


@pytest.mark.parametrize("fault", OF_TREES)
def test_faults_of_trees_are_found(fault):
    plant, questions = OF_TREES[fault]
    for kind, features in questions:
        problem = asked(booster(), kind, features)
        assert run(anew(problem))[0].evidence.spot_checks.numbers > 0
        missed = RUNS - found(problem, plant, RUNS)
        assert missed == 0, (fault, kind, features, missed)


@pytest.mark.soak
@pytest.mark.parametrize("fault", OF_TREES)
def test_faults_of_trees_are_found_in_99_of_100_runs(fault):
    plant, questions = OF_TREES[fault]
    for kind, features in questions:
        assert found(asked(booster(), kind, features), plant, 100) >= 99, (fault, kind, features)


def test_a_tenth_of_the_points_of_twenty_curves_is_found_in_99_of_100_runs():
    """48 means of the answer are computed again: all of them are right in 0.9 ** 48 = 0.6 % of such answers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    model = xgb.XGBRegressor(n_estimators=8, max_depth=3, n_jobs=1).fit(X, X @ rng.normal(size=20))
    problem = resolve_effects(model, X, None, EffectsOptions(), grid=30)
    right = effects.individual_curve_moments

    def plant(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
        def faulty(*args: Any, **more: Any) -> Any:
            parts = right(*args, **more)
            bad = tenth(rng, sum(len(m.mean) for m in parts))
            ends = np.cumsum([len(m.mean) for m in parts])
            of = [
                bad[(bad >= end - len(m.mean)) & (bad < end)] - (end - len(m.mean))
                for m, end in zip(parts, ends, strict=True)
            ]
            return [replace(m, mean=wrong(m.mean, at, 0)) for m, at in zip(parts, of, strict=True)]

        patch.setattr(effects, "individual_curve_moments", faulty)

    assert found(problem, plant, 100) >= 99


def test_a_model_that_reads_two_columns_together_is_found():
    """Its predictions of the rows are those of the reading; only rows that mix two show the difference."""
    rows = table()
    known = set(zip(rows["a"].fillna(99.0), rows["b"].fillna(99.0), strict=True))
    for kind in ("pdp", "ice", "ale", "anova"):
        problem = asked(booster(), kind, ["a", "b"])
        own = problem.model.own_predict

        def together(table: Any, own: Any = own) -> np.ndarray:
            frame = table.native
            new = [(a, b) not in known for a, b in zip(frame["a"].fillna(99.0), frame["b"].fillna(99.0), strict=True)]
            return own.predict(table) + np.array(new, dtype=float)[:, None]

        problem = replace(problem, model=replace(problem.model, own_predict=replace(own, predict=together)))
        with pytest.raises(SpotCheckError):
            run(problem)


def distinct_rows_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the rows are taken for equal to another one."""
    right = WeightedRows._find_distinct_rows

    def faulty(self: Any, key: Any) -> Any:
        first, inverse = right(self, key)
        if not key:
            return first, inverse
        some = tenth(rng, len(inverse))
        inverse = inverse.copy()
        inverse[some] = (inverse[some] + 1) % len(first)
        return first, inverse

    patch.setattr(WeightedRows, "_find_distinct_rows", faulty)


def mixed_wrongly(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Hybrids take the donor's points of another place in a tenth of the cases."""
    right = evaluation.HybridEvaluator.evaluate_each

    def faulty(self: Any, rows: Any, donors: Any, row: Any, donor: Any, *more: Any, **named: Any) -> Any:
        if len(donor) > 1:
            some = tenth(rng, len(donor))
            donor = donor.copy()
            donor[some] = (donor[some] + 1) % len(donors)
        return right(self, rows, donors, row, donor, *more, **named)

    patch.setattr(evaluation.HybridEvaluator, "evaluate_each", faulty)


def own_cells_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A row set to its own value is taken for another row as it is."""
    del rng
    right = predict_evaluator.PredictEvaluator._own_cells

    def faulty(self: Any, grid: Any) -> Any:
        cells, rows = right(self, grid)
        return cells, (rows + 1) % len(self.rows)

    patch.setattr(predict_evaluator.PredictEvaluator, "_own_cells", faulty)


def sums_without_weights(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Running sums take every row alike."""
    del rng
    right = predict_evaluator.RunningMoments.add
    patch.setattr(
        predict_evaluator.RunningMoments, "add", lambda self, values, w: right(self, values, np.full(len(w), w.mean()))
    )


def nearest_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """A tenth of the rows count at another point."""
    right = curves.nearest

    def faulty(rows: Any, grid: Any) -> Any:
        out = right(rows, grid).copy()
        some = tenth(rng, len(out))
        out[some] = (out[some] + 1) % len(grid)
        return out

    patch.setattr(curves, "nearest", faulty)


OF_BLACK_BOXES: dict[str, tuple[Plant, list[tuple[str, Any]]]] = {
    "rows taken for equal": (distinct_rows_wrong, [("pdp", ["a", "word"]), ("ice", ["a", "word"]), ("ale", ["a", "few"])]),
    "points mixed up": (mixed_wrongly, [("pdp", ["a", "word"]), ("ice", ["a", "word"]), ("anova", ["a", "b"])]),
    "own cells": (own_cells_wrong, [("pdp", ["few", "word"]), ("ice", ["few", "word"])]),
    "weights ignored": (sums_without_weights, [("pdp", ["a", "word"]), ("anova", ["a", "word"])]),
    "nearest points": (nearest_wrong, [("marginal", ["a", "few"])]),
}  # fmt: skip


@pytest.mark.parametrize("fault", OF_BLACK_BOXES)
def test_faults_of_black_boxes_are_found(fault):
    plant, questions = OF_BLACK_BOXES[fault]
    for kind, features in questions:
        problem = asked(score, kind, features)
        assert run(anew(problem))[0].evidence.spot_checks.numbers > 0
        missed = 3 - found(problem, plant, 3)
        assert missed == 0, (fault, kind, features, missed)


@pytest.mark.soak
@pytest.mark.parametrize("fault", OF_BLACK_BOXES)
def test_faults_of_black_boxes_are_found_in_99_of_100_runs(fault):
    plant, questions = OF_BLACK_BOXES[fault]
    for kind, features in questions:
        assert found(asked(score, kind, features), plant, 100) >= 99, (fault, kind, features)


def pair_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """The surface of one pair of features is wrong at all its points."""
    right, which = interaction_strength.compute_surfaces, int(rng.integers(1000))

    def faulty(e: Any, levels: Any, pairs: Any, *more: Any) -> Any:
        for k, surface in right(e, levels, pairs, *more):
            yield k, surface * (1.0 + 0.3 * np.arange(len(surface))[:, None, None] if k == which % len(pairs) else 1.0)

    patch.setattr(interaction_strength, "compute_surfaces", faulty)


def pair_size_wrong(patch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """One pair of features is said to interact by one in a hundred more."""
    right, which = interaction_strength.pair_interactions, int(rng.integers(1000))

    def faulty(e: Any, levels: Any, pairs: Any, *more: Any, **named: Any) -> Any:
        out = right(e, levels, pairs, *more, **named)
        out.interaction[which % len(pairs)] *= 1.01**2
        return out

    patch.setattr(interaction_strength, "pair_interactions", faulty)


@pytest.mark.parametrize("plant", [pair_wrong, pair_size_wrong])
def test_a_wrong_pair_of_interactions_is_found(plant):
    for seed in range(RUNS):
        problem = resolve_effects(booster(), table(), None, InteractionsOptions(seed=seed))
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(seed))
            with pytest.raises(SpotCheckError):
                interactions(problem, sample=None, seed=seed)


def test_wrong_interactions_of_a_black_box_are_found():
    problem = resolve_effects(score, table(n=30), ["a", "b", "word"], InteractionsOptions())
    assert interactions(problem, sample=None, seed=0).evidence.spot_checks.numbers > 100
    for plant in (mixed_wrongly, distinct_rows_wrong):
        assert found(problem, plant, 3, lambda p: interactions(p, sample=None, seed=0)) == 3


def test_wrong_regions_are_found():
    problem = replace(asked(booster(), "pdp", ["a"]))
    for plant in (blocks_wrong, rows_shifted):
        assert found(problem, plant, RUNS, lambda p: regions.regions(p, depth=1)) == RUNS


def test_the_error_names_feature_point_row_and_both_numbers():
    problem = asked(booster(), "ice", ["word"])
    with pytest.MonkeyPatch.context() as patch:
        category_shifted(patch, np.random.default_rng(0))
        with pytest.raises(SpotCheckError) as caught:
            run(problem)
    where = dict(caught.value.where)
    assert where["feature"] == "word"
    assert where["point"] in "uvwxy"
    assert 0 <= where["row"] < ROWS
    changed = table().iloc[[where["row"]]].assign(word=pd.Categorical([where["point"]], categories=list("uvwxy")))
    assert np.isclose(booster().predict(changed)[0], caught.value.recomputed, rtol=1e-5)
    assert repr(caught.value.answer) in str(caught.value)
    assert repr(caught.value.recomputed) in str(caught.value)


def test_what_was_not_checked_says_so():
    for model in (booster(), score):
        assert str(wb.effects(model, table(), "a", spot_checks=0)[0].evidence.spot_checks) == "not checked"
        assert str(wb.interactions(model, table(n=20), ["a", "b"], spot_checks=0).evidence.spot_checks) == "not checked"
        assert str(wb.regions(model, table(), "a", spot_checks=0)[0].evidence.spot_checks) == "not checked"
    with pytest.raises(OptionError, match="spot_checks"):
        wb.effects(score, table(), "a", spot_checks=-1)


@pytest.mark.parametrize("kind", ["pdp", "ice", "c-ice", "d-ice", "ale", "anova", "marginal"])
def test_checks_take_what_was_planned_and_never_more_than_the_answer(kind):
    seen = []

    def counted(rows: pd.DataFrame) -> np.ndarray:
        seen.append(len(rows))
        return score(rows)

    for n, grid in ((6, 3), (40, 9)):
        rows = table(n=n)
        rows["few"] = np.arange(n)  # no two rows alike
        for spot_checks in (None, 0, 5, 60):
            named: dict[str, Any] = {"grid": grid, "spot_checks": spot_checks}
            plan = wb.plan(wb.effects, counted, rows, ["a", "b"], kind, **named)
            seen.clear()
            checks = wb.effects(counted, rows, ["a", "b"], kind, **named)[0].evidence.spot_checks
            assert sum(seen) == plan.model_calls
            assert checks.predictions <= min(plan.predictions, 200 if spot_checks is None else spot_checks)
            assert (checks.predictions > 0) == (spot_checks != 0)


def test_checks_of_trees_take_two_hundred_predictions_however_many_rows_there_are():
    for n in (200, 3000):
        evidence = wb.effects(booster(), table(n=n))[0].evidence
        assert 150 <= evidence.spot_checks.predictions <= 200
        assert evidence.model_calls == n + evidence.spot_checks.predictions
        assert "XGBRegressor.predict" in str(evidence.spot_checks)


def test_of_few_rows_the_means_themselves_are_recomputed():
    calls = wb.effects(score, table(n=5), "word", grid=None)[0].evidence.spot_checks
    assert calls.numbers >= 2 * 5  # five means by sums, and some by predictions of all five rows


def test_files_are_checked_by_a_plain_reading(tmp_path):
    booster().save_model(tmp_path / "model.json")
    evidence = wb.effects(tmp_path / "model.json", table(), ["a", "word"], "ice")[0].evidence
    assert "NumPy" in str(evidence.spot_checks)
    assert evidence.spot_checks.predictions == evidence.model_calls == 0
    problem = asked(tmp_path / "model.json", "ice", ["a", "word"])
    assert found(problem, category_shifted, 5) == 5


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_curves_at_other_points_are_checked_first_and_then_a_share_of_the_time(monkeypatch):
    seen = []
    right = RowRecomputation.__call__
    monkeypatch.setattr(RowRecomputation, "__call__", lambda self, cells: seen.append(len(cells)) or right(self, cells))
    for kind in ("pdp", "c-ice"):
        curve = wb.effects(booster(), table(n=20), ["a"], kind)[0]
        object.__setattr__(curve.again, "share", TimeShare(Clock()))
        seen.clear()
        for _ in range(90):
            curve.at([0.3])
        assert len(seen) == 1
        for _ in range(90):
            curve.at([0.3])
        assert len(seen) == 3  # two in a hundred calls


def test_points_asked_later_are_held_against_the_model():
    for kind, plant in (("pdp", moments_wrong), ("ice", blocks_wrong), ("c-ice", blocks_wrong), ("anova", means_wrong)):
        curve = wb.effects(booster(), table(), ["b"], kind)[0]
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(0))
            with pytest.raises(SpotCheckError):
                curve.at([0.1, 0.2, None])


def test_refits_are_checked_too():
    rows = table()
    refits = [booster()] * 3
    alone, together = (wb.effects(booster(), rows, "a", refits=r)[0].evidence.spot_checks for r in (None, refits))
    assert together.numbers == 4 * alone.numbers
    assert together.predictions == 4 * alone.predictions


def seeds(start: int, stop: int) -> Iterator[int]:
    return iter(range(start, stop))


@pytest.mark.parametrize("part", range(8))
def test_right_answers_are_never_refused(part):
    """A few hundred answers over models, tables, kinds, scales, outputs of any size."""
    answers = [sound_answer(seed) for seed in seeds(40 * part, 40 * (part + 1))]
    refused = sum(a.startswith("refused") for a in answers)
    assert refused < len(answers) / 2
    assert sum("recomputed" in a for a in answers) == len(answers) - refused


@pytest.mark.soak
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_right_answers_are_never_refused(part):
    for seed in seeds(500 * part, 500 * (part + 1)):
        sound_answer(seed)
