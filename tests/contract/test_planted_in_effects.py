"""Faults planted in effects and interactions one by one: the spot checks find each of them in at least 99 of 100 runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from planted_effects import (
    OF_BLACK_BOXES,
    OF_TREES,
    RUNS,
    Plant,
    anew,
    asked,
    blocks_wrong,
    booster,
    distinct_rows_wrong,
    found,
    mixed_wrongly,
    pair_size_wrong,
    pair_wrong,
    rows_shifted,
    score,
    table,
    tenth,
    wrong,
)
from whybox.errors import SpotCheckError
from whybox.kernels import effects
from whybox.methods.effects import regions
from whybox.methods.effects.interactions import find_interactions
from whybox.methods.effects.options import EffectsOptions, InteractionsOptions
from whybox.methods.effects.problem import resolve_effects
from whybox.methods.effects.result import compute_effects


def assert_found(model: Any, plant: Plant, questions: Any, *, runs: int, least: int) -> None:
    """A sound run is checked, and of so many with the fault at least so many are errors, for each question."""
    for kind, features in questions:
        problem = asked(model, kind, features)
        assert compute_effects(anew(problem))[0].evidence.spot_checks.numbers > 0
        assert found(problem, plant, runs) >= least, (kind, features)


@pytest.mark.parametrize("fault", OF_TREES)
def test_faults_of_trees_are_found(fault):
    assert_found(booster(), *OF_TREES[fault], runs=RUNS, least=RUNS)


@pytest.mark.soak
@pytest.mark.parametrize("fault", OF_TREES)
def test_faults_of_trees_are_found_in_99_of_100_runs(fault):
    assert_found(booster(), *OF_TREES[fault], runs=100, least=99)


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
            compute_effects(problem)


@pytest.mark.parametrize("fault", OF_BLACK_BOXES)
def test_faults_of_black_boxes_are_found(fault):
    assert_found(score, *OF_BLACK_BOXES[fault], runs=3, least=3)


@pytest.mark.soak
@pytest.mark.parametrize("fault", OF_BLACK_BOXES)
def test_faults_of_black_boxes_are_found_in_99_of_100_runs(fault):
    assert_found(score, *OF_BLACK_BOXES[fault], runs=100, least=99)


@pytest.mark.parametrize("plant", [pair_wrong, pair_size_wrong])
def test_a_wrong_pair_of_interactions_is_found(plant):
    for seed in range(RUNS):
        problem = resolve_effects(booster(), table(), None, InteractionsOptions(seed=seed))
        with pytest.MonkeyPatch.context() as patch:
            plant(patch, np.random.default_rng(seed))
            with pytest.raises(SpotCheckError):
                find_interactions(problem, sample=None, seed=seed)


def test_wrong_interactions_of_a_black_box_are_found():
    problem = resolve_effects(score, table(n=30), ["a", "b", "word"], InteractionsOptions())
    assert find_interactions(problem, sample=None, seed=0).evidence.spot_checks.numbers > 100
    for plant in (mixed_wrongly, distinct_rows_wrong):
        assert found(problem, plant, 3, lambda p: find_interactions(p, sample=None, seed=0)) == 3


def test_wrong_regions_are_found():
    problem = replace(asked(booster(), "pdp", ["a"]))
    for plant in (blocks_wrong, rows_shifted):
        assert found(problem, plant, RUNS, lambda p: regions.find_regions(p, depth=1)) == RUNS
