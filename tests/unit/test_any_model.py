"""`wb.explain` of models that are evaluated: what is refused before any work, which method is chosen, and what is told on the way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Perceptron
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import whybox as wb
from whybox.errors import (
    ColumnsError,
    EmptyDataError,
    InputError,
    LimitError,
    NonFiniteError,
    OptionError,
    UnsupportedModelError,
)
from whybox.explainers import ExactShap, SampledShap
from whybox.methods.shap.game_problem import resolve_games
from whybox.methods.shap.options import ShapOptions
from whybox.models.remote import RemoteModel

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
ROWS, BACKGROUND = X[:3], X[40:50]
KNN = KNeighborsClassifier().fit(X, X[:, 0] > 0)


class Counted:
    """A function that counts the rows it was called on, and fails, or answers otherwise, from some row on."""

    def __init__(self, function, after=None, then=None):
        self.function, self.rows, self.after, self.then = function, 0, after, then

    def __call__(self, rows):
        rows = np.asarray(rows)
        self.rows += len(rows)
        if self.after is not None and self.rows > self.after:
            return self.then(rows)
        return self.function(rows)


def total(rows):
    return np.asarray(rows).sum(axis=1) + np.asarray(rows)[:, 0] * np.asarray(rows)[:, 1]


# what is refused


@pytest.mark.parametrize("model", [KNN, SVC().fit(X, X[:, 0] > 0), total], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("method", ["auto", "exact"])
def test_without_a_background_the_message_says_to_pass_one(model, method):
    with pytest.raises(
        UnsupportedModelError,
        match=r"rows like those of training, whose values absent features take, background=X_train",
    ):
        wb.explain(model, ROWS, method=method)


@pytest.mark.parametrize("method", ["exact_shap", "sampled_shap"])
def test_methods_that_evaluate_say_what_a_background_is(method):
    with pytest.raises(
        OptionError,
        match=r"absent by taking the values of background rows: pass rows like those of training.*background=X_train",
    ):
        wb.explain(RandomForestRegressor(2).fit(X, X[:, 0]), ROWS, method=method)


@pytest.mark.parametrize("rows", [X[:0], pd.DataFrame({"a": []})], ids=["array", "frame"])
def test_no_rows_are_refused_before_the_model_is_called(rows):
    """shap#4475: no rows gave an error from within."""
    function = Counted(total)
    with pytest.raises(EmptyDataError, match="has no rows"):
        wb.explain(function, rows, BACKGROUND)
    with pytest.raises(EmptyDataError, match="background has no rows"):
        wb.explain(function, ROWS, X[:0])
    assert function.rows == 0


def test_a_budget_below_the_fewest_says_what_it_takes():
    function = Counted(total)
    with pytest.raises(LimitError, match=r"predictions are needed for 3 rows, 10 background rows .* max_evals=20"):
        wb.explain(function, ROWS, BACKGROUND, max_evals=20)
    wide = np.random.default_rng(1).normal(size=(30, 12))
    with pytest.raises(
        LimitError, match=r"takes at least 464 predictions here: 288 for 2 rows of up to 12 features .* max_evals=140"
    ):
        wb.explain(function, wide[:2], wide[20:], "sampled_shap", max_evals=140)
    assert function.rows <= 4  # two rows that tell the shape of the outputs, each time
    with pytest.raises(LimitError, match=r"without it, 2,006 are allowed here") as refused:
        wb.explain(function, ROWS[:1], BACKGROUND[:1], max_evals=3)
    assert "1 background row and" in str(refused.value)


@pytest.mark.parametrize(
    ("method", "ours"),
    [("kernel_shap", "sampled_shap"), ("permutation", "sampled_shap"), ("owen", "partition_shap")],
)
def test_methods_of_other_libraries_are_named(method, ours):
    with pytest.raises(OptionError, match=f"method='{method}' is not known here; write method='{ours}'"):
        wb.explain(total, ROWS, BACKGROUND, method)


def test_a_path_as_background_is_refused():
    with pytest.raises(InputError, match=r"not of 0 \(type str\). It is not read as the path of a file: pass the rows"):
        wb.explain(total, ROWS, "train.csv")


def test_outputs_of_another_shape_from_one_batch_to_the_next():
    function = Counted(total, after=200, then=lambda rows: np.column_stack([total(rows), total(rows)]))
    with pytest.raises(InputError, match="returned 2 outputs a row for a batch of .* and 1 before"):
        wb.explain(function, ROWS, BACKGROUND, batch_size=50)


def test_a_function_that_fails_in_the_middle_gives_its_own_message():
    def fail(rows):
        raise ConnectionError("the line is dead")

    with pytest.raises(InputError, match="the line is dead"):
        wb.explain(Counted(total, after=200, then=fail), ROWS, BACKGROUND, batch_size=50)
    flaky = RemoteModel(_Flaky(), batch_size=64, retries=1, wait=0.0)
    np.testing.assert_array_equal(
        wb.explain(flaky, ROWS, BACKGROUND).values, wb.explain(total, ROWS, BACKGROUND).values
    )


class _Flaky:
    """Fails at every other call."""

    def __init__(self):
        self.calls = 0

    def __call__(self, rows):
        assert len(rows) <= 64
        self.calls += 1
        if self.calls % 2:
            raise OSError("busy")
        return total(rows)


def test_infinite_outputs_are_refused_with_the_name_of_the_scale():
    """shap#577: log-odds of probabilities 0 and 1 gave numbers that depend on where they were clipped."""

    def log_odds(rows):
        with np.errstate(divide="ignore"):
            return logit(KNN.predict_proba(rows)[:, 1])

    with pytest.raises(
        NonFiniteError, match=r"on this scale \(prediction\) the model's output is infinite .* scale='probability'"
    ):
        wb.explain(log_odds, ROWS, BACKGROUND)
    assert np.isfinite(wb.explain(KNN, ROWS, BACKGROUND, scale="probability").values).all()
    hidden = lambda rows: np.where(
        np.asarray(rows)[:, 0] == ROWS[0, 0], np.where(np.asarray(rows)[:, 1] == ROWS[0, 1], 1.0, np.inf), 0.0
    )
    with pytest.raises(
        NonFiniteError, match=r"infinite for some of these rows \(row 0, as it is or with other values\)"
    ):
        wb.explain(hidden, ROWS[:1], BACKGROUND)  # no row and no background row is infinite by itself


class Noisy:
    """A model that answers at random, with a standard deviation of a half."""

    def __init__(self):
        self.draw = np.random.default_rng(0)

    def __call__(self, rows):
        return total(rows) + 0.5 * self.draw.normal(size=len(rows))


def test_a_model_that_answers_at_random_is_refused_unless_that_is_allowed():
    with pytest.raises(UnsupportedModelError, match="change when the same rows are evaluated again .*stochastic=True"):
        wb.explain(Noisy(), ROWS, BACKGROUND)
    problem = resolve_games(Noisy(), X[:40], BACKGROUND, ShapOptions(stochastic=True))
    assert problem.noise_variance == pytest.approx([0.25], rel=0.35)
    assert resolve_games(total, ROWS, BACKGROUND, ShapOptions()).noise_variance is None
    with pytest.raises(OptionError, match=r"method='exact_shap' does not take 'stochastic'"):
        wb.explain(Noisy(), ROWS, BACKGROUND, "exact", stochastic=True)


class _Labels:
    classes_ = np.array([0, 1])

    def fit(self, rows, y):
        return self

    def predict(self, rows):
        return (np.asarray(rows)[:, 0] > 0).astype(int)


def test_labels_are_refused():
    with pytest.raises(UnsupportedModelError, match="gives labels of classes, which have no size to explain"):
        wb.explain(_Labels(), ROWS, BACKGROUND)
    linear = Perceptron().fit(X, X[:, 0] > 0)
    assert (
        wb.explain(linear, ROWS, BACKGROUND, "exact_shap", response_method="decision_function").units
        == "decision function"
    )


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("tree_shap", {"tol": 0.1}),
        ("tree_shap", {"batch_size": 10}),
        ("rescaled", {"response_method": "predict"}),
        ("exact_shap", {"tol": 0.1}),
        ("exact_shap", {"sparse": True}),
        ("sampled_shap", {"dtype": "float32"}),
        ("auto", {"sparse": True}),
    ],
)
def test_options_that_a_method_does_not_take_are_refused_by_name(method, option):
    model = total if method == "auto" else RandomForestRegressor(2).fit(X, X[:, 0])
    with pytest.raises(OptionError, match=f"does not take '{next(iter(option))}'; it takes 'output'"):
        wb.explain(model, ROWS, BACKGROUND, method, **option)


def test_what_exact_answers_meet_anyway_may_be_asked_of_any_model():
    forest = RandomForestRegressor(2, random_state=0).fit(X, X[:, 0])
    asked = wb.explain(
        forest, ROWS, BACKGROUND, tol=0.1, top=2, level=0.9, batch_size=10, stochastic=True, surrogate=False
    )
    np.testing.assert_array_equal(asked.values, wb.explain(forest, ROWS, BACKGROUND).values)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("l1_reg", "no feature is left out"),
        ("nsamples", "write max_evals=2000"),
        ("feature_perturbation", "Conditional value functions are not built yet"),
        ("link", "say on which scale to explain"),
        ("causal", "Other value functions are not built yet"),
        ("asymmetric", "Other value functions are not built yet"),
        ("masker", "write background=X_train"),
        ("npermutations", "predictions in total"),
    ],
)
def test_names_of_other_libraries_say_ours(name, says):
    with pytest.raises(OptionError, match=f"{name}= is no option here: .*{says}"):
        wb.explain(total, ROWS, BACKGROUND, **{name: 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"tol": 0.0},
        {"tol": 2.0},
        {"top": 0},
        {"level": 1.0},
        {"batch_size": 0},
        {"stochastic": 1},
        {"surrogate": "no"},
        {"callback": 3},
        {"max_evals": 0},
    ],
)
def test_values_of_options_are_checked(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        wb.explain(total, ROWS, BACKGROUND, **wrong)


def test_rows_and_background_must_be_tables_of_one_kind():
    with pytest.raises(InputError, match="pass both as the same kind of table"):
        wb.explain(total, pd.DataFrame(ROWS), BACKGROUND)
    with pytest.raises(InputError):
        wb.explain(KNN, ROWS[:, :3], BACKGROUND)
    with pytest.raises(OptionError, match="which is not there"):
        wb.explain(total, ROWS, BACKGROUND, players={"a": ["nothing"]})


def test_a_method_of_another_explainer_is_refused():
    with pytest.raises(OptionError, match="is not what ExactShap computes"):
        ExactShap(total, BACKGROUND, method="sampled_shap")
    with pytest.raises(OptionError, match="is not what SampledShap computes"):
        SampledShap(total, BACKGROUND, method="tree_shap")


def test_columns_of_a_function_are_those_of_the_background():
    with pytest.raises(ColumnsError, match=r"X has 3 columns, the background has 4\."):
        wb.explain(total, ROWS[:, :3], BACKGROUND)
    frame = pd.DataFrame(BACKGROUND, columns=list("abcd"))
    with pytest.raises(ColumnsError, match=r"X lacks column 'd' that the background has\."):
        wb.explain(total, frame[["a", "b", "c"]], frame)
    with pytest.raises(ColumnsError, match=r"X has 3 columns, the model was trained on 4\."):
        wb.explain(KNN, ROWS[:, :3], BACKGROUND)


def test_one_background_row_says_that_another_may_change_values():
    for method in ("exact_shap", "sampled_shap", "partition_shap"):
        one = wb.explain(total, ROWS, BACKGROUND[:1], method)
        assert any(note.startswith("One background row: ") for note in one.evidence.notes)
        assert np.isnan(one.extras["background_error"][1]).any()
    assert not any("One background row" in note for note in wb.explain(total, ROWS, BACKGROUND).evidence.notes)


def test_too_many_coalitions_say_what_to_do():
    wide = np.random.default_rng(1).normal(size=(30, 24))
    with pytest.raises(LimitError, match=r"24 features of a row differ .* method='sampled_shap'"):
        wb.explain(total, wide[:2], wide[20:], "exact")
    with pytest.raises(LimitError, match=r"exact values take up to 40,940 predictions .* more than the \d"):
        wb.explain(total, wide[:1, :12], wide[20:, :12], "exact_shap", max_evals=20_000)


# which method is chosen


def test_small_problems_are_exact_and_the_evidence_says_why():
    got = wb.explain(total, ROWS, BACKGROUND)
    assert got.evidence.method_id == "shap.exact_shap"
    assert any(
        note
        == "Exact: all coalitions take at most 420 predictions, within the 6,000 allowed (2,000 a row; those of rows, background and checks come on top)."
        for note in got.evidence.notes
    )


def test_a_model_that_is_not_read_is_named_with_the_reason():
    notes = wb.explain(KNN, ROWS, BACKGROUND).evidence.notes
    assert any("Evaluated through KNeighborsClassifier.predict_proba, because it is not read" in note for note in notes)


def test_columns_that_trees_cannot_tell_apart_are_evaluated_one_by_one():
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(PCA(2), RandomForestRegressor(3, random_state=0)).fit(X, X[:, 0])
    with pytest.raises(UnsupportedModelError, match="mixes all its columns"):
        wb.explain(model, ROWS)
    got = wb.explain(model, ROWS, BACKGROUND)
    assert got.shape == (3, 4)
    assert any(note.startswith("Evaluated, not read: the model mixes all its columns") for note in got.evidence.notes)
    np.testing.assert_allclose(got.base + got.values.sum(axis=1), model.predict(ROWS))
    np.testing.assert_allclose(got.values, wb.explain(model.predict, ROWS, BACKGROUND, "exact_shap").values, atol=1e-12)


def test_the_predictions_allowed_leave_out_what_rows_background_and_checks_take():
    default = resolve_games(total, ROWS, BACKGROUND, ShapOptions())
    assert default.budget == 2_000 * 3
    beside = 2 + default.evaluator.reserved - 2  # probe, checks, rows and background
    asked = resolve_games(total, ROWS, BACKGROUND, ShapOptions(max_evals=1_000))
    assert asked.budget == 1_000 - beside
    function = Counted(total)
    got = wb.explain(function, ROWS, BACKGROUND, max_evals=1_000, spot_checks=0)
    assert function.rows == got.evidence.model_calls <= 1_000


def test_batches_hold_what_was_asked():
    sizes = []

    def listening(rows):
        sizes.append(len(rows))
        return total(rows)

    got = wb.explain(listening, ROWS, BACKGROUND, batch_size=7)
    checked = len(BACKGROUND)  # rows on which the model is evaluated again, together
    assert max(sizes) <= max(7, checked)
    np.testing.assert_array_equal(got.values, wb.explain(total, ROWS, BACKGROUND).values)


def test_a_plan_says_method_and_predictions():
    function = Counted(total)
    plan = wb.plan(wb.explain, function, ROWS, BACKGROUND)
    assert plan.method_id == "shap.exact_shap"
    assert plan.exact
    used = wb.explain(total, ROWS, BACKGROUND).evidence.model_calls
    assert used <= plan.model_calls <= used + 100
    assert 0 < plan.seconds < 60
    assert "all coalitions" in str(plan)
    by_number = wb.plan(wb.explain, total, 3, BACKGROUND)
    assert by_number.model_calls == plan.model_calls
    wide = np.random.default_rng(1).normal(size=(60, 20))
    sampled = wb.plan(wb.explain, total, wide[:5], wide[10:])
    assert sampled.method_id == "shap.sampled_shap"
    assert not sampled.exact
    assert 10_000 <= sampled.model_calls <= 11_000
    with pytest.raises(LimitError, match="24 features"):
        wb.plan(wb.explain, total, np.ones((1, 24)), np.zeros((5, 24)), "exact")


def test_several_methods_in_one_call():
    forest = RandomForestRegressor(3, random_state=0).fit(X, X[:, 0] * X[:, 1])
    both = wb.explain(forest, ROWS, BACKGROUND, ["tree_shap", "exact_shap"])
    np.testing.assert_allclose(both["tree_shap"].values, both["exact_shap"].values, atol=1e-12)
    assert both["exact_shap"].evidence.model.startswith("RandomForestRegressor")  # read, and so evaluated by its trees


def test_importance_and_its_plan_take_any_model():
    got = wb.importance(KNN, X[:12], background=BACKGROUND, method="shap")
    attributions = wb.explain(KNN, X[:12], BACKGROUND)
    np.testing.assert_allclose(got.values, np.abs(attributions.values).mean(axis=0))
    assert got.evidence.method == "Mean |ExactShap| over the rows"
    assert wb.plan(wb.importance, KNN, X[:12], background=BACKGROUND, method="shap").exact
    with pytest.raises(LimitError, match="max_evals=20"):
        wb.importance(KNN, X[:12], background=BACKGROUND, method="shap", max_evals=20)
    grouped = wb.importance(KNN, X[:12], background=BACKGROUND, method="shap", players="auto")
    assert set(grouped.players) >= set(grouped.feature_names)


def test_a_function_that_refuses_is_called_a_function_and_a_regressor_predicts_numbers():
    def score(rows):
        raise KeyError("age")

    X = np.random.default_rng(0).normal(size=(8, 2))
    with pytest.raises(InputError, match=r"the function score refuses .*Pass the rows as it takes them"):
        wb.explain(score, X, background=X)
    model = LinearRegression().fit(X, X[:, 0])
    with pytest.raises(OptionError, match="this model predicts numbers, not probabilities"):
        wb.explain(model, X, background=X, scale="probability")
