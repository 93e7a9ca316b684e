"""Answers of `wb.explain` about models that are evaluated: numbers that are computed again, and what is told while they are made."""

from __future__ import annotations

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVR

import whybox as wb
from whybox.errors import LimitError, ModelMismatchError, SpotCheckError
from whybox.explainers import ExactShap, SampledShap
from whybox.methods.common.hybrid_grid import HybridGrid
from whybox.methods.shap import game_explainer
from whybox.methods.shap.game_answer import GameAnswer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
ROWS, BACKGROUND = X[:3], X[40:50]


def total(rows):
    return np.asarray(rows).sum(axis=1) + np.asarray(rows)[:, 0] * np.asarray(rows)[:, 1]


class Noisy:
    """A model that answers at random, with a standard deviation of a half."""

    def __init__(self):
        self.draw = np.random.default_rng(0)

    def __call__(self, rows):
        return total(rows) + 0.5 * self.draw.normal(size=len(rows))


def test_answers_are_saved_joined_and_pickled(tmp_path, rounds):
    for model, rows, background in ((total, ROWS, BACKGROUND), (total, WIDE[:3], WIDE[20:])):
        got = wb.explain(model, rows, background)
        got.save(tmp_path / "answer.whybox")
        for again in (wb.load(tmp_path / "answer.whybox"), pickle.loads(pickle.dumps(got))):
            np.testing.assert_array_equal(again.values, got.values)
            assert again.evidence == got.evidence
            assert set(again.extras) == set(got.extras) >= {"model_evals", "converged"}
        explain = (ExactShap if got.evidence.exact else SampledShap)(model, background)
        joined = wb.concat([explain(rows[:2]), explain(rows[2:])])
        np.testing.assert_allclose(joined.values, got.values, atol=1e-14)
        assert joined.extras["converged"][1].shape == (3,)


# numbers that are computed again


def _tenth_off(outputs, draw):
    return outputs + 0.3 * (draw.random(outputs.shape) < 0.1)


def _shifted(outputs, draw):
    return np.roll(outputs, 1, axis=-2)


def _tenth_of_rows_swapped(values, draw):
    """Two features of a tenth of the rows at least have each other's values."""
    wrong = draw.random(len(values)) < 0.1
    wrong[draw.integers(len(values))] = True
    values[wrong] = values[wrong][:, ::-1]
    return values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fault", [_tenth_off, _shifted])
@pytest.mark.parametrize("method", ["exact_shap", "sampled_shap"])
def test_a_fault_in_hybrids_is_found(monkeypatch, fault, seed, method):
    draw, of_grid = np.random.default_rng(seed), HybridGrid.evaluate
    monkeypatch.setattr(HybridGrid, "evaluate", lambda *a, **k: fault(of_grid(*a, **k), draw))
    with pytest.raises(SpotCheckError, match="by asking total about rows whose absent features take the values of"):
        wb.explain(
            total, X[:30], BACKGROUND, method, seed=seed, **({"surrogate": False} if method == "sampled_shap" else {})
        )


@pytest.mark.parametrize("seed", range(6))
def test_a_fault_in_a_tenth_of_all_rows_is_found(monkeypatch, seed):
    real, draw = game_explainer.enumerate_games, np.random.default_rng(seed)

    def faulty(problem):
        answer = real(problem)
        return replace(answer, values=_tenth_of_rows_swapped(answer.values.copy(), draw))

    monkeypatch.setattr(game_explainer, "enumerate_games", faulty)
    rows = X[:12]  # of four features: all their values are computed again
    with pytest.raises(SpotCheckError, match="from the worths of all coalitions of a row"):
        wb.explain(total, rows, BACKGROUND, seed=seed)


def test_weights_of_the_background_are_checked(monkeypatch):
    from whybox.methods.shap import enumerate_games

    real = enumerate_games._merged_background

    def even(problem):
        merged = real(problem)
        return replace(merged, weights=np.full(len(merged.weights), 1.0 / len(merged.weights)))

    monkeypatch.setattr(enumerate_games, "_merged_background", even)
    with pytest.raises(ModelMismatchError):
        wb.explain(total, X[:5], BACKGROUND, background_weight=np.arange(1.0, 11.0))


def test_a_fault_in_values_is_found(monkeypatch):
    from whybox.methods.shap import enumerate_games

    real = enumerate_games.exact_values
    monkeypatch.setattr(enumerate_games, "exact_values", lambda *a: np.roll(real(*a), 1, axis=0))
    with pytest.raises(SpotCheckError, match="from the worths of all coalitions of a row"):
        wb.explain(total, ROWS, BACKGROUND)
    monkeypatch.setattr(enumerate_games, "exact_values", lambda *a: 1.001 * real(*a))
    with pytest.raises(ModelMismatchError, match=r"base \+ attributions is"):
        wb.explain(total, ROWS, BACKGROUND, spot_checks=0)


def test_nothing_is_computed_again_where_that_is_asked():
    assert wb.explain(total, ROWS, BACKGROUND, spot_checks=0).evidence.spot_checks.numbers == 0


# on the way


@pytest.fixture
def rounds(monkeypatch):
    """An engine of three rounds that is exact from the first, and may be interrupted after one."""
    state = SimpleNamespace(interrupt_at=None)

    def engine(problem, *, on_round=None):
        n, _ = problem.row_outputs.shape
        gap = problem.row_outputs - problem.base
        values = np.repeat(gap[:, None] / problem.players.count, problem.players.count, axis=1)
        for k in range(1, 4):
            if state.interrupt_at == k:
                raise KeyboardInterrupt
            error = np.full(values.shape, 0.1 / k)
            answer = GameAnswer(values, error, np.full(n, k == 3), np.full(n, 10 * k), None, f"{k} rounds")
            if on_round is not None:
                on_round(answer)
        return answer

    monkeypatch.setattr(game_explainer, "sample_games", engine)
    return state


WIDE = np.random.default_rng(2).normal(size=(40, 9))


def test_large_problems_are_sampled_and_the_evidence_says_why(rounds):
    got = wb.explain(total, WIDE[:3], WIDE[20:])
    assert got.evidence.method_id == "shap.sampled_shap"
    assert not got.evidence.exact
    assert any(note.startswith("Sampled: all coalitions would take up to") for note in got.evidence.notes)
    assert got.std_error.shape == got.values.shape
    low, high = got.interval
    np.testing.assert_allclose(high - low, 2 * 1.959964 * got.std_error, rtol=1e-6)
    assert got.evidence.settings == {"tol": 0.02, "top": None, "level": 0.95, "stochastic": False}
    exact = wb.explain(total, WIDE[:3], WIDE[20:], max_evals=10**5)
    assert exact.evidence.method_id == "shap.exact_shap"


def test_the_callback_gets_the_explanation_so_far(rounds):
    seen = []
    got = wb.explain(total, WIDE[:3], WIDE[20:], callback=seen.append)
    assert [e.evidence.kernel for e in seen] == ["1 rounds", "2 rounds", "3 rounds"]
    assert all(e.evidence.warnings[-1:] == ["UNFINISHED"] for e in seen)
    assert got.evidence.warnings == []


def test_control_c_returns_what_is_known(rounds):
    rounds.interrupt_at = 3
    got = wb.explain(total, WIDE[:3], WIDE[20:])
    assert got.evidence.kernel == "2 rounds"
    assert got.evidence.warnings == ["NOT CONVERGED", "UNFINISHED"]
    assert not got.extras["converged"][1].any()
    rounds.interrupt_at = 1
    with pytest.raises(KeyboardInterrupt):
        wb.explain(total, WIDE[:3], WIDE[20:])


def test_a_model_that_answers_at_random_is_sampled(rounds):
    got = wb.explain(Noisy(), ROWS, BACKGROUND, stochastic=True)
    assert got.evidence.method_id == "shap.sampled_shap"
    assert any(
        "answers at random: single outputs have a standard deviation of 0." in note for note in got.evidence.notes
    )


def test_a_probability_that_takes_too_many_coalitions_of_trees_is_estimated(rounds):
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(WIDE, WIDE.sum(axis=1) > 0)
    options = {"scale": "probability", "max_evals": 20_000}
    got = wb.explain(model, WIDE[:2], WIDE[20:], **options)  # 2 x 2^9 x 20 coalitions are more
    assert got.evidence.method_id == "shap.sampled_shap"
    assert any(
        note.startswith("Evaluated, not read: scale='probability' needs 20,480 predictions")
        for note in got.evidence.notes
    )
    assert wb.plan(wb.explain, model, WIDE[:2], WIDE[20:], **options).method_id == "shap.sampled_shap"
    assert wb.explain(model, WIDE[:1], WIDE[20:], **options).evidence.method_id == "shap.tree_shap"
    with pytest.raises(LimitError, match="more than the 20,000 allowed"):
        wb.explain(model, WIDE[:2], WIDE[20:], "exact", **options)


def test_a_probability_is_refused_neither_by_trees_nor_by_others(rounds):
    from sklearn.ensemble import GradientBoostingClassifier

    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(
        np.tile(WIDE, 2)[:, :18], expit(WIDE.sum(axis=1)) > 0.5
    )
    got = wb.explain(model, np.tile(WIDE, 2)[:2, :18], np.tile(WIDE, 2)[20:, :18], scale="probability")
    assert got.evidence.method_id in ("shap.sampled_shap", "shap.tree_shap")
    logistic = LogisticRegression().fit(WIDE, WIDE.sum(axis=1) > 0)
    assert wb.explain(logistic, WIDE[:2], WIDE[20:], scale="probability").units == "probability"
    assert wb.explain(SVR().fit(WIDE, WIDE[:, 0]), WIDE[:2], WIDE[20:]).units == "prediction"


@pytest.mark.parametrize("surrogate", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_background_error_of_an_estimate_is_that_of_exact_values(surrogate):
    """Also where a surrogate gives the values, and where one player differs."""
    rows, background = WIDE[:8, :7].copy(), np.random.default_rng(3).normal(size=(48, 7))
    exact = wb.explain(total, rows, background, "exact").extras["background_error"][1]
    got = wb.explain(total, rows, background, "sampled_shap", surrogate=surrogate, max_evals=12_000, tol=0.005)
    error = got.extras["background_error"][1]
    large = exact > 0.05
    assert np.median(error[large] / exact[large]) == pytest.approx(1.0, abs=0.3)
    one = np.repeat(rows[:1], 48, axis=0)
    one[:, 2] = background[:, 2]
    alone = [wb.explain(total, rows[:1], one, each).extras["background_error"][1] for each in ("exact", "sampled_shap")]
    np.testing.assert_allclose(alone[0], alone[1], atol=1e-12)


def test_control_c_inside_the_model_returns_the_rounds_before():
    seen = []

    def interrupted(rows):
        seen.append(len(rows))
        if sum(seen) > 4_000:
            raise KeyboardInterrupt
        return total(rows) * np.exp(np.asarray(rows)[:, 3])

    got = wb.explain(interrupted, WIDE[:3], WIDE[20:], "sampled_shap", tol=1e-4)
    assert "UNFINISHED" in got.evidence.warnings
    assert not got.extras["converged"][1].all()
    np.testing.assert_allclose(got.base + got.values.sum(axis=1), got.prediction)
    assert sum(seen[:-1]) <= 4_000  # nothing was evaluated after it
