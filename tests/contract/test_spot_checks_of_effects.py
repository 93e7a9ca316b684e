"""Spot checks of effects: what they cost is what the plan says, what they say is true, and right answers are never refused."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

import whybox as wb
from planted_effects import (
    ROWS,
    anew,
    asked,
    blocks_wrong,
    booster,
    category_shifted,
    found,
    means_wrong,
    moments_wrong,
    score,
    table,
)
from sound_answers import sound_answer
from whybox.errors import OptionError, SpotCheckError
from whybox.methods.common.spot_checks import TimeShare
from whybox.methods.common.spot_rows import RowRecomputation
from whybox.methods.effects.result import compute_effects
from whybox.methods.effects.spot_checks import CheckedCurves
from whybox.methods.effects.spot_draws import MIN_POINTS, drawn_slots
from whybox.methods.effects.spot_means import MeanChecks
from whybox.methods.effects.tree_evaluator import TreeEvaluator


def test_the_error_names_feature_point_row_and_both_numbers():
    problem = asked(booster(), "ice", ["word"])
    with pytest.MonkeyPatch.context() as patch:
        category_shifted(patch, np.random.default_rng(0))
        with pytest.raises(SpotCheckError) as caught:
            compute_effects(problem)
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


def test_files_are_checked_by_their_library_and_then_by_a_plain_reading(tmp_path):
    booster().save_model(tmp_path / "model.json")
    problem = asked(tmp_path / "model.json", "ice", ["a", "word"])
    first, later = (compute_effects(anew(problem))[0].evidence for _ in range(2))
    assert "by asking xgboost" in str(first.spot_checks)
    assert "NumPy" in str(later.spot_checks)
    assert first.spot_checks.numbers == later.spot_checks.numbers
    assert first.spot_checks.predictions == first.model_calls == 0
    assert found(problem, category_shifted, 5) == 5


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_curves_at_other_points_are_checked_first_and_then_a_share_of_the_time(monkeypatch):
    clock, seen = Clock(), []

    def taking(seconds, right):
        """The same method, which takes so many seconds on the clock."""

        def slow(self, *given):
            clock.now += seconds
            if seconds == 1.0:
                seen.append(len(given[0]))
            return right(self, *given)

        return slow

    monkeypatch.setattr(CheckedCurves, "compute_unchecked", taking(10.0, CheckedCurves.compute_unchecked))
    monkeypatch.setattr(RowRecomputation, "__call__", taking(1.0, RowRecomputation.__call__))
    for kind in ("pdp", "c-ice"):
        curve = wb.effects(booster(), table(n=20), ["a"], kind)[0]
        object.__setattr__(curve.again, "time_share", TimeShare(clock))
        seen.clear()
        for _ in range(9):
            curve.at([0.3])
        assert len(seen) == 1
        for _ in range(9):
            curve.at([0.3])
        assert len(seen) == 3  # two checks in 180 of their own time, beside the first


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


@pytest.mark.parametrize("part", range(3))
def test_right_answers_are_never_refused(part):
    """A hundred and twenty answers, the first of ten thousand below, over models, tables, kinds, scales, outputs of any size."""
    answers = [sound_answer(seed, every=4) for seed in range(40 * part, 40 * (part + 1))]
    refused = sum(a.startswith("refused") for a in answers)
    assert refused < len(answers) / 2
    assert sum("recomputed" in a for a in answers) == len(answers) - refused


@pytest.mark.soak
@pytest.mark.parametrize("part", range(20))
def test_ten_thousand_right_answers_are_never_refused(part):
    for seed in range(500 * part, 500 * (part + 1)):
        sound_answer(seed)


@pytest.mark.parametrize("most", [6, 12, 48])
def test_every_curve_has_a_point_and_missing_values_and_categories_come_first(most):
    sizes = [5, 100, 3, 40]
    first = [([4], []), ([], []), ([2], [0, 1, 2]), ([], [7, 9])]
    for seed in range(50):
        slots = drawn_slots(sizes, first, most, np.random.default_rng(seed))
        assert len(slots) == len(set(slots)) == most
        assert slots[:2] == [(0, 4), (2, 2)]
        assert {curve for curve, _ in slots[:6]} == {0, 1, 2, 3}
        assert all(0 <= k < sizes[curve] for curve, k in slots)
        if most > 6:
            assert {(2, 0), (2, 1), (3, 7), (3, 9)} <= set(slots)


def test_of_many_curves_some_means_are_summed_again_and_all_have_numbers_recomputed(monkeypatch):
    from xgboost import XGBRegressor

    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12))
    model = XGBRegressor(n_estimators=5, max_depth=3, n_jobs=1).fit(X, X[:, 0] * X[:, 1] + X[:, 2:].sum(axis=1))
    pairs = list(combinations(range(12), 2))
    drawn, blocks = [], []
    draw, look = MeanChecks.draw_numbers, TreeEvaluator.curve_blocks

    def kept(self, predictions):
        drawn.append(self)
        return draw(self, predictions)

    def counted(self, grids, rows=None):
        blocks.append((len(grids), None if rows is None else len(rows)))
        return look(self, grids, rows)

    monkeypatch.setattr(MeanChecks, "draw_numbers", kept)
    monkeypatch.setattr(TreeEvaluator, "curve_blocks", counted)
    wb.effects(model, X, pairs, grid=4)
    checks = drawn[-1]
    assert {c for c, _ in checks.slots} == set(range(len(pairs)))
    assert len(checks.summed) == MIN_POINTS < len(checks.slots)
    assert {c for (c, _), _ in checks.pairs} == set(range(len(pairs)))
    assert all(np.isfinite(checks._value_of_answer(c, k, row)).all() for (c, k), row in checks.pairs)
    assert any(rows is not None and 0 < rows < 300 for _, rows in blocks)  # few rows of the others
    assert sum(n for n, rows in blocks if rows is None) <= MIN_POINTS
