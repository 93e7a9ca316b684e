"""Faults planted in answers themselves, one kind at a time: how often a run with default settings finds each, when a tenth of the numbers or more are wrong.

Sums are kept, or the index has none, so that only numbers recomputed by a second way can find a fault.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

import whybox as wb
from whybox.errors import ModelMismatchError, OptionError, SpotCheckError
from whybox.explainers import LinearShap, TreeShap
from whybox.methods.common.spot_checks import TimeShare
from whybox.methods.shap import spot_checks
from whybox.methods.shap.compute import CompiledProblem, KernelRunner
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
D = 8
X = RNG.normal(size=(700, D))
X[RNG.random(X.shape) < 0.05] = np.nan
FILLED = np.nan_to_num(X)
Y = FILLED[:, 0] * FILLED[:, 1] + np.sin(2 * FILLED[:, 2]) + FILLED[:, 3:].sum(axis=1) * 0.5
ROWS, BACKGROUND = slice(0, 60), slice(300, 330)


def xgboost():
    return pytest.importorskip("xgboost").XGBRegressor(n_estimators=25, max_depth=4).fit(X, Y)


def classifier():
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=8, max_depth=3).fit(X, np.digitize(Y, [-1, 1]))


def binary():
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=8, max_depth=3).fit(X, Y > 0)


def forest():
    return RandomForestRegressor(20, max_depth=7, random_state=0).fit(X, Y)


def small_classifier():
    return pytest.importorskip("xgboost").XGBClassifier(n_estimators=8, max_depth=4).fit(FILLED[:, :6], Y > 0)


def linear():
    return pytest.importorskip("xgboost").XGBRegressor(booster="gblinear", n_estimators=5).fit(FILLED, Y)


# What goes wrong: (out, X, rng, runner) -> None, with out (rows, features[, features], outputs) as the kernel has filled it.


def a_tenth_by_one_per_cent(out, X, rng, runner):
    wrong = rng.random(out.shape) < 0.1
    out[wrong] *= 1.01


def moved_between_features(out, X, rng, runner):
    """A tenth of the numbers, in pairs, so that sums stay."""
    for i in np.flatnonzero(rng.random(len(out)) < 0.1 * out.shape[1] / 2):
        j, k = rng.permutation(out.shape[1])[:2]
        moved = 0.02 * out[i, j]
        out[i, j] -= moved
        out[i, k] += moved


def two_features_swapped(out, X, rng, runner):
    rows = rng.random(len(out)) < 0.5
    out[rows, 0], out[rows, 1] = out[rows, 1].copy(), out[rows, 0].copy()


def rows_shifted(out, X, rng, runner):
    out[:] = np.roll(out, 1, axis=0)


def one_output_on_another_scale(out, X, rng, runner):
    out[..., 1] *= 1.7


def interactions_on_one_side(out, X, rng, runner):
    above = np.triu_indices(out.shape[1], 1)
    out[:, above[1], above[0]] = 0
    out[:, above[0], above[1]] *= 2


def main_effects_beside(out, X, rng, runner):
    """Main effects of the next feature."""
    at = np.arange(out.shape[1])
    out[:, at, at] = out[:, np.roll(at, 1), np.roll(at, 1)]


def with_background(change):
    """The kernel has a background that is not the one given."""

    def corrupt(out, X, rng, runner):
        background = change(runner.problem.background)
        other = KernelRunner(CompiledProblem(replace(runner.problem, background=background)), len(X))
        out[:] = 0
        FILL(other, X, out, what="")

    corrupt.__name__ = change.__name__
    return corrupt


@with_background
def weights_of_the_background_ignored(background):
    return replace(background, weights=np.full(len(background.weights), 1 / len(background.weights)))


@with_background
def one_background_row_left_out(background):
    w = background.weights[1:]
    return replace(background, matrix=background.matrix[1:].copy(), weights=w / w.sum())


@with_background
def missing_values_of_absent_features_the_other_way(background):
    return replace(background, matrix=np.where(np.isnan(background.matrix), 1e30, background.matrix))


FILL = KernelRunner.write_values

FAULTS = [
    (xgboost, a_tenth_by_one_per_cent, {"index": "banzhaf"}),
    (xgboost, a_tenth_by_one_per_cent, {"index": "banzhaf", "background": False}),
    (xgboost, moved_between_features, {}),
    (xgboost, moved_between_features, {"background": False}),
    (forest, moved_between_features, {"dtype": "float32"}),
    (forest, a_tenth_by_one_per_cent, {"index": "beta(4, 1)", "sparse": True}),
    (xgboost, two_features_swapped, {}),
    (forest, two_features_swapped, {"players": {"first": [2, 3]}}),
    (xgboost, rows_shifted, {"index": "banzhaf"}),
    (classifier, one_output_on_another_scale, {"index": "banzhaf"}),
    (classifier, moved_between_features, {"output": 1}),
    (xgboost, interactions_on_one_side, {"order": 2}),
    (xgboost, main_effects_beside, {"order": 2, "background": False}),
    (xgboost, weights_of_the_background_ignored, {"index": "banzhaf", "background_weight": np.arange(1.0, 31.0)}),
    (forest, one_background_row_left_out, {"index": "banzhaf"}),
    (xgboost, missing_values_of_absent_features_the_other_way, {"index": "banzhaf"}),
    (small_classifier, a_tenth_by_one_per_cent, {"index": "banzhaf", "scale": "probability"}),
    (binary, two_features_swapped, {"scale": "probability", "method": "rescaled"}),
    (linear, moved_between_features, {}),
]


def names(fault):
    model, corrupt, options = fault
    return "-".join(
        [model.__name__, corrupt.__name__, *(f"{k}={v}" for k, v in options.items() if k != "background_weight")]
    )


def explainer_and_rows(make, options):
    rows = FILLED[:, :6] if make is small_classifier else FILLED if make is linear else X
    options = dict(options)
    background = rows[BACKGROUND] if options.pop("background", True) else None
    return (LinearShap if make is linear else TreeShap)(make(), background, **options), rows[ROWS]


def run_again(explainer, rows, seed):
    """What a new explainer's first call does, with another seed; compiled trees are kept."""
    compiled = next(iter(explainer._compiled_problems.values()))
    compiled.problem = replace(compiled.problem, options=replace(compiled.problem.options, seed=seed))
    explainer._checked_tables.clear()
    explainer._time_share = TimeShare()
    return explainer(rows)


def count_found(fault, seeds, monkeypatch):
    make, corrupt, options = fault
    explainer, rows = explainer_and_rows(make, options)
    assert explainer(rows).evidence.spot_checks.numbers >= 44
    found, draws = 0, np.random.default_rng(1)

    inside = []

    def fill(self, X, out, *, what):
        inside.append(True)
        FILL(self, X, out, what=what)
        corrupt(out, X, draws, self)
        inside.pop()

    def run(self, X, what):  # of parts of a problem
        out = RUN(self, X, what)
        if not inside:
            corrupt(out, X, draws, self)
        return out

    monkeypatch.setattr(KernelRunner, "write_values", fill)
    monkeypatch.setattr(KernelRunner, "compute_values", run)
    for seed in range(seeds):
        error = error_of(explainer, rows, seed)
        if error is not None:
            found += 1
            assert isinstance(error, SpotCheckError), "this fault shows in sums"
            assert {"row", "feature", "output"} <= {name for name, _ in error.where}
            assert error.answer != error.recomputed
    return found


def error_of(explainer, rows, seed):
    try:
        run_again(explainer, rows, seed)
    except ModelMismatchError as error:
        return error
    return None


RUN = KernelRunner.compute_values


@pytest.mark.parametrize("fault", FAULTS, ids=names)
def test_a_planted_fault_is_found(fault, monkeypatch):
    assert count_found(fault, 10, monkeypatch) == 10


PARTS = [
    (2e5, (xgboost, a_tenth_by_one_per_cent, {"index": "banzhaf"})),
    (1e5, (xgboost, moved_between_features, {"background": False})),
    (4e5, (xgboost, interactions_on_one_side, {"order": 2})),
    (1e5, (classifier, a_tenth_by_one_per_cent, {"index": "banzhaf"})),
]


@pytest.mark.parametrize(("nanoseconds", "fault"), PARTS, ids=lambda p: names(p) if isinstance(p, tuple) else "")
def test_a_fault_of_the_kernel_is_found_on_some_of_the_trees(nanoseconds, fault, monkeypatch):
    """Where all trees are too much work, the kernel is run again on some of them."""
    monkeypatch.setattr(spot_checks, "DEFAULT_NANOSECONDS", nanoseconds)
    explainer, rows = explainer_and_rows(fault[0], fault[2])
    assert "trees, given to the same kernel" in str(explainer(rows).evidence.spot_checks)
    assert count_found(fault, 10, monkeypatch) == 10


@pytest.mark.parametrize(
    "fault",
    [
        (small_classifier, a_tenth_by_one_per_cent, {"index": "banzhaf", "scale": "probability"}),
        (small_classifier, interactions_on_one_side, {"order": 2, "scale": "probability"}),
    ],
    ids=names,
)
def test_a_fault_of_the_kernel_is_found_on_one_background_row(fault, monkeypatch):
    """Where all coalitions are too much work, the kernel is run again for some features against one background row."""
    monkeypatch.setattr(spot_checks, "DEFAULT_NANOSECONDS", 2e5)
    explainer, rows = explainer_and_rows(fault[0], fault[2])
    assert "against one background row" in str(explainer(rows).evidence.spot_checks)
    assert count_found(fault, 10, monkeypatch) >= 8  # one row alone is recomputed


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS, ids=names)
def test_a_planted_fault_is_found_in_99_of_100_runs(fault, monkeypatch):
    assert count_found(fault, 200, monkeypatch) >= 198


def test_a_model_that_predicts_otherwise_later(monkeypatch):
    """At the end, rows are predicted again, one of them alone."""
    made = as_model(xgboost())
    calls = []

    def predict(table):
        calls.append(len(table))
        return made.own_predict.predict(table) + (0.01 if len(calls) == wrong else 0.0)

    wrong = 0
    model = replace(made, own_predict=replace(made.own_predict, predict=predict))
    wb.explain(model, X[ROWS], X[BACKGROUND])
    assert calls == [30, 60, 160, 1, 39]  # background, rows, mixed rows, a row alone, others again
    for wrong in range(1, 6):
        calls.clear()
        with pytest.raises(ModelMismatchError):
            wb.explain(model, X[ROWS], X[BACKGROUND])
        assert len(calls) == wrong


def test_a_batch_changes_no_row():
    """What the model says of a row beside others is not what it says of it alone: numbers are as in the batch, and so is our reading."""
    made = as_model(forest())

    def predict(table):
        return made.own_predict.predict(table) + (0.5 if len(table) == 1 else 0.0)

    model = replace(made, own_predict=replace(made.own_predict, predict=predict))
    with pytest.raises(ModelMismatchError, match="row 0 of 1"):
        wb.explain(model, X[ROWS], X[BACKGROUND])


def test_plans_count_what_checks_take():
    for rows, background, options in [
        (1, True, {}),
        (1, False, {}),
        (60, True, {}),
        (60, True, {"spot_checks": 0}),
        (60, False, {"spot_checks": 31}),
    ]:
        behind = X[BACKGROUND] if background else None
        model = forest()
        plan = wb.plan(wb.explain, model, X[:rows], behind, **options)
        evidence = wb.explain(model, X[:rows], behind, **options).evidence
        assert plan.model_calls == evidence.model_calls == rows + evidence.spot_checks.predictions


def test_the_number_of_predictions_is_given_and_checked():
    model = forest()
    few, many = (wb.explain(model, X[ROWS], X[BACKGROUND], spot_checks=n).evidence.spot_checks for n in (20, 1000))
    assert (few.predictions, many.predictions) == (20, 1000)
    assert wb.importance(model, X[ROWS], spot_checks=20).evidence.spot_checks.predictions == 20
    with pytest.raises(OptionError, match="spot_checks"):
        wb.explain(model, X[ROWS], spot_checks=-1)


def test_the_same_seed_checks_the_same_numbers():
    model = forest()
    a, b, other = (wb.explain(model, X[ROWS], X[BACKGROUND], seed=seed) for seed in (3, 3, 4))
    assert a.evidence.spot_checks.numbers > 500
    assert a.evidence.spot_checks == b.evidence.spot_checks
    np.testing.assert_array_equal(a.values, other.values)


def test_nothing_is_found_where_checks_are_turned_off(monkeypatch):
    explainer, rows = explainer_and_rows(xgboost, {"index": "banzhaf", "spot_checks": 0})
    monkeypatch.setattr(
        KernelRunner, "write_values", lambda self, X, out, *, what: FILL(self, X, out, what=what) or out.__imul__(2)
    )
    evidence = explainer(rows).evidence
    assert str(evidence.spot_checks) == "not checked"
    assert "not checked" in str(evidence)
    assert evidence.model_calls == len(rows)
