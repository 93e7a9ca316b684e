"""`max_evals` of models that are evaluated bounds every prediction: of rows, background, coalitions and checks."""

from __future__ import annotations

import re
from itertools import pairwise, product

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import whybox as wb
from whybox.errors import LimitError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 9))


class Counted:
    """A function that counts the rows it was called on."""

    def __init__(self):
        self.rows = 0

    def __call__(self, rows):
        self.rows += len(rows)
        z = np.asarray(rows)
        return z.sum(axis=1) + z[:, 0] * z[:, -1] + np.sin(2 * z[:, 0])


@pytest.mark.parametrize("method", ["auto", "exact_shap", "sampled_shap", "partition_shap"])
def test_max_evals_bounds_every_prediction(method):
    answered = 0
    for d, m, n, spots in product((2, 4, 9), (1, 30, 120), (1, 3), (None, 0, 300)):
        for allowed in (250, 900, 2_000)[RNG.integers(2) :: 2]:
            function = Counted()
            try:
                got = wb.explain(function, X[:n, :d], X[n : n + m, :d], method, max_evals=allowed, spot_checks=spots)
            except LimitError:
                continue
            answered += 1
            assert function.rows == got.evidence.model_calls <= allowed
    assert answered > 25


@pytest.mark.parametrize(("method", "kind"), [("exact_shap", 4), ("sampled_shap", 9), ("partition_shap", 4)])
def test_numbers_are_computed_again_within_max_evals(method, kind):
    got = wb.explain(Counted(), X[:1, :kind], X[10:40, :kind], method, max_evals=1_500)
    assert got.evidence.spot_checks.predictions >= 30
    assert got.evidence.model_calls <= 1_500


def test_the_least_predictions_count_the_checks_and_say_how_to_free_them():
    def least(**more):
        with pytest.raises(LimitError, match="takes at least [0-9,]+ predictions here") as refused:
            wb.explain(Counted(), X[:1], X[10:40], "sampled_shap", max_evals=140, **more)
        return int(re.search("at least ([0-9,]+)", str(refused.value))[1].replace(",", "")), str(refused.value)

    with_checks, message = least()
    without, other = least(spot_checks=0)
    assert with_checks == without + 128
    assert "128 to compute numbers again (spot_checks=0 frees them)" in message
    assert "again" not in other
    assert (
        wb.explain(Counted(), X[:1], X[10:40], "sampled_shap", max_evals=with_checks).evidence.spot_checks.numbers > 0
    )
    assert wb.explain(Counted(), X[:1], X[10:40], "sampled_shap", max_evals=without, spot_checks=0).shape == (1, 9)


def test_a_plan_is_within_max_evals_and_says_what_counts():
    for method, d in (("exact_shap", 4), ("sampled_shap", 9), ("partition_shap", 9), ("partition_shap", 3)):
        plan = wb.plan(wb.explain, Counted(), X[:2, :d], X[10:40, :d], method, max_evals=2_000)
        got = wb.explain(Counted(), X[:2, :d], X[10:40, :d], method, max_evals=2_000, **TOL.get(method, {}))
        assert got.evidence.model_calls <= plan.model_calls <= 2_000
    assert "that max_evals leaves beside rows, background and checks" in str(
        wb.plan(wb.explain, Counted(), X[:2], X[10:40], max_evals=2_000)
    )
    default = wb.plan(wb.explain, Counted(), X[:2], X[10:40])
    assert "the 4,000 allowed (2,000 a row; those of rows, background and checks come on top)" in str(default)
    for method in ("auto", "sampled_shap", "partition_shap"):
        notes = wb.explain(Counted(), X[:2], X[10:70], method).evidence.notes
        assert any("the 4,000 allowed (2,000 a row; those of rows, " in note for note in notes)


@pytest.mark.parametrize("method", ["auto", "exact_shap", "sampled_shap", "partition_shap"])
def test_max_evals_of_texts_is_of_each_text(method):
    texts, calls, answered = ["a b c d e f g h i j", "a c", "b b a d e"], [], 0

    def length(batch):
        calls.extend(batch)
        return np.array([len(text) + text.count("a") * text.count("b") for text in batch], dtype=float)

    for allowed, some in product((30, 60, 150, 600, 3_000), (texts[:1], texts[1:], texts)):
        calls.clear()
        try:
            got = wb.explain(length, some, method=method, max_evals=allowed)
        except LimitError:
            continue
        answered += 1
        assert (got.extras["model_evals"][1] <= allowed).all()
        assert len(calls) == got.evidence.model_calls <= allowed * len(some)
    assert answered > 3


TOL = {"sampled_shap": {"tol": 1e-9}, "partition_shap": {"tol": 1e-9}}


@pytest.mark.parametrize("background_rows", [6, 100])
def test_easy_games_end_early_whatever_the_budget(background_rows):
    """Rounds begin small: a loose tolerance takes few predictions, though all background rows are within reach."""

    def spent(tol, allowed=200_000):
        options = {"tol": tol, "surrogate": False, "max_evals": allowed, "spot_checks": 0}
        got = wb.explain(Counted(), X[:3], X[10 : 10 + background_rows], "sampled_shap", **options)
        return int(got.extras["model_evals"][1].sum())

    of_tol = [spent(tol) for tol in (0.3, 0.1, 0.03, 0.005)]
    assert of_tol == sorted(of_tol)
    assert of_tol[0] <= 3 * 600
    assert of_tol[0] < of_tol[-1] <= 2.5 * spent(0.005, 40_000)


def test_a_design_that_begins_small_ends_over_all_background_rows():
    """The last two blocks may take a little more than twice as much: they are joined all the same."""
    for allowed in (15_000, 18_000, 21_000, 30_000):
        got = wb.explain(
            Counted(), X[:3], X[10:70], "sampled_shap", tol=1e-9, surrogate=False, max_evals=allowed, spot_checks=0
        )
        assert "each over all 60 background rows" in got.evidence.kernel
        assert got.extras["model_evals"][1].sum() > 0.85 * (allowed - 200)


def test_a_linear_model_that_is_read_may_take_more_by_default():
    wide = np.random.default_rng(3).normal(size=(140, 30))
    model = LogisticRegression().fit(wide, wide[:, 0] + wide[:, 1:].sum(axis=1) / 3 > 0)
    options = {"scale": "probability"}
    got = wb.explain(model, wide[:8], wide[40:140], **options)
    assert got.extras["model_evals"][1].max() > 2_000
    assert any("the 160,000 allowed (20,000 a row; " in note for note in got.evidence.notes)
    assert not any("surrogate" in note for note in got.evidence.notes)
    assert "the 160,000 allowed (20,000 a row; " in str(wb.plan(wb.explain, model, wide[:8], wide[40:140], **options))
    bounded = wb.explain(model, wide[:8], wide[40:140], max_evals=8_000, **options)
    assert bounded.extras["model_evals"][1].sum() <= 8_000
    assert got.std_error.max() < 0.5 * bounded.std_error.max()


@pytest.mark.parametrize("which", ["sum", "waves"])
def test_more_budget_makes_errors_no_larger(which):
    function = Counted() if which == "sum" else lambda rows: np.prod(np.cos(np.asarray(rows)[:, :5]), axis=1)
    rows, background = X[:4], X[10:50]
    exact = wb.explain(function, rows, background, "exact_shap", max_evals=10**6, spot_checks=0).values
    errors = []
    for allowed in (2_000, 6_000, 20_000):
        off = []
        for seed in range(3):
            options = {"max_evals": allowed, "tol": 1e-9, "surrogate": False, "spot_checks": 0, "seed": seed}
            off.append(wb.explain(function, rows, background, "sampled_shap", **options).values - exact)
        errors.append(float(np.sqrt(np.mean(np.square(off)))))
    assert all(more <= 1.1 * less + 1e-12 for less, more in pairwise(errors))
    assert errors[-1] < 0.3 * errors[0]
