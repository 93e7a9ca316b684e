"""Permutation importance by a score of all rows together: against 2,000 shuffles, against the loss, and against the spread over samples."""

import functools

import lightgbm
import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer, make_scorer, mean_absolute_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

import whybox as wb
from whybox.data.table import Table
from whybox.errors import InputError, LimitError, OptionError, SpotCheckError


@pytest.fixture(scope="module")
def numbers():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(160, 3))
    y = X[:, 0] + 0.5 * X[:, 1] + draw.normal(size=160)
    return LinearRegression().fit(X, y), X, y


@pytest.fixture(scope="module")
def classes(numbers):
    _, X, y = numbers
    X, labels = pd.DataFrame(X, columns=["a", "b", "c"]), np.where(y > 0.3, "sick", "healthy")
    return LogisticRegression().fit(X, labels), X, labels


def shuffled(score, predict_linear, coefficients, X, repeats, seed=0):
    """The mean drop of a score, (features,), over shuffles of a linear predictor, and the standard error of that."""
    draw, own = np.random.default_rng(seed), predict_linear
    drops = []
    for j, coefficient in enumerate(coefficients):
        column = X[:, j]
        others = own - coefficient * column
        mixed = others + coefficient * draw.permuted(np.tile(column, (repeats, 1)), axis=1)
        drops.append(score(own[None])[0] - score(mixed))
    return np.mean(drops, axis=1), np.std(drops, axis=1, ddof=1) / np.sqrt(repeats)


def areas(positive):
    def score(predictions):
        ranks = rankdata(predictions, axis=1)
        n = positive.sum()
        return (ranks[:, positive].sum(axis=1) - n * (n + 1) / 2) / (n * (~positive).sum())

    return score


@pytest.mark.parametrize("scoring", ["r2", "roc_auc"])
def test_it_is_the_mean_over_shuffles_without_own_values(numbers, classes, scoring):
    """A shuffle leaves a row its own value once in n times; n / (n - 1) times the mean of 2,000 shuffles is the value, within the noise of both."""
    model, X, y = numbers if scoring == "r2" else classes
    if scoring == "r2":
        truth = y
        score = lambda p: 1 - ((p - truth) ** 2).sum(axis=1) / ((truth - truth.mean()) ** 2).sum()
        own, coefficients = model.predict(X), model.coef_
    else:
        score = areas(y == "sick")
        own, coefficients = model.decision_function(X), model.coef_[0]
    want, noise = shuffled(score, own, coefficients, np.asarray(X), 2000)
    e = wb.importance(model, X, y, scoring=scoring, role="held-out", max_evals=8000)
    n = len(X)
    own_noise = e.extras["monte_carlo_error"][1]
    assert (np.abs(e.values - want * n / (n - 1)) < 4 * np.hypot(noise, own_noise) + 1e-4).all()
    assert float(e.extras["baseline_score"][1]) == pytest.approx(get_scorer(scoring)(model, X, y))
    assert "baseline_loss" not in e.extras
    assert e.units == e.evidence.quantity == f"drop of {scoring}"
    assert any(f"jackknife over 20 groups of rows, because {scoring}" in note for note in e.evidence.notes)


@pytest.mark.soak
@pytest.mark.parametrize("scoring", ["r2", "roc_auc", "accuracy", "neg_log_loss", "f1_macro"])
def test_scikit_learn_agrees(numbers, classes, scoring):
    model, X, y = numbers if scoring == "r2" else classes
    theirs = permutation_importance(model, X, y, scoring=scoring, n_repeats=2000, random_state=0)
    e = wb.importance(model, X, y, scoring=scoring, max_evals=200_000, tol=0.003)
    noise = np.hypot(theirs.importances_std / np.sqrt(2000), e.extras["monte_carlo_error"][1])
    n = len(X)
    assert (np.abs(e.values - theirs.importances_mean * n / (n - 1)) < 4 * noise + 2e-4).all()


def test_of_a_mean_over_rows_it_is_the_permutation_importance(numbers):
    """Values, and errors by the jackknife instead of Hajek's projection."""
    model, X, y = numbers
    predict = functools.partial(type(model).predict, model)
    e = wb.importance(predict, X, y, scoring="neg_mean_squared_error", max_evals=10_000)
    loss = wb.importance(predict, X, y, max_evals=10**6, spot_checks=0)
    assert loss.evidence.exact
    assert (np.abs(e.values - loss.values) < 4 * e.extras["monte_carlo_error"][1] + 1e-12).all()
    ratio = e.std_error / loss.std_error
    assert ((ratio > 0.6) & (ratio < 1.6)).all()
    assert e.extras["off_data"][1].tolist() == loss.extras["off_data"][1].tolist()


@pytest.mark.parametrize("samples", [25, pytest.param(300, marks=pytest.mark.soak)])
def test_standard_errors_are_the_spread_over_samples(numbers, samples):
    model, *_ = numbers
    predict = functools.partial(type(model).predict, model)
    scorer = make_scorer(lambda truth, p: 1 - ((truth - p) ** 2).mean() / truth.var())  # without scikit-learn's checks
    draw = np.random.default_rng(1)
    values, errors = [], []
    for _ in range(samples):
        X = draw.normal(size=(120, 3))
        y = X[:, 0] + 0.5 * X[:, 1] + draw.normal(size=120)
        e = wb.importance(predict, X, y, scoring=scorer, max_evals=120 * 16, spot_checks=0)
        values.append(e.values)
        errors.append(e.std_error)
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(values, axis=0, ddof=1)
    slack = 1.6 if samples < 100 else 1.25
    assert ((ratio > 1 / slack) & (ratio < slack))[:2].all(), ratio


def test_weights(classes):
    """0: as if the row were not there. Scaled: no change. They are the scorer's own."""
    model, X, labels = classes
    draw = np.random.default_rng(0)
    w = draw.random(len(X))
    w[:40] = 0
    e = wb.importance(model, X, labels, scoring="roc_auc", sample_weight=w, spot_checks=0, max_evals=1000)
    without = wb.importance(
        model, X[40:], labels[40:], scoring="roc_auc", sample_weight=3 * w[40:], spot_checks=0, max_evals=1000
    )
    assert float(e.extras["baseline_score"][1]) == pytest.approx(
        roc_auc_score(labels == "sick", model.decision_function(X), sample_weight=w)
    )
    np.testing.assert_allclose(without.values, e.values, atol=1e-12)
    np.testing.assert_allclose(without.std_error, e.std_error, atol=1e-12)
    with pytest.raises(OptionError, match="takes no weights"):
        wb.importance(LinearRegression().fit(X, w), X, w, scoring="neg_max_error", sample_weight=w)
    with pytest.raises(OptionError, match="takes no weights"):
        wb.importance(model, X, labels, scoring=lambda estimator, X, y: 0.0, sample_weight=w)


def test_a_function_gets_the_estimator_and_rows_as_they_came():
    """pandas stays pandas, with its dtypes; values are those of the score by name."""
    draw = np.random.default_rng(0)
    X = pd.DataFrame({"age": draw.integers(20, 80, 150), "town": pd.Categorical(draw.choice(["a", "b", "c"], 150))})
    X.index = np.arange(1000, 1150)
    y = pd.Series((X.age / 20 + (X.town == "a") * 2 + draw.normal(size=150)).to_numpy(), index=X.index)
    mixed = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    model = make_pipeline(mixed, LinearRegression()).fit(X, y)
    seen = []

    def scorer(estimator, rows, truth):
        assert estimator is model
        assert rows.dtypes.equals(X.dtypes)
        assert rows.index.equals(truth.index)
        seen.append(len(rows))
        return estimator.score(rows, truth)

    e = wb.importance(model, X, y, scoring=scorer, spot_checks=0)
    named = wb.importance(model, X, y, scoring="r2", max_evals=10_000)
    noise = np.hypot(e.extras["monte_carlo_error"][1], named.extras["monte_carlo_error"][1])
    assert (np.abs(e.values - named.values) < 4 * noise).all()
    ratio = e.std_error / named.std_error
    assert ((ratio > 0.5) & (ratio < 2)).all()
    made = wb.importance(model, X, y, scoring=make_scorer(mean_absolute_error, greater_is_better=False), max_evals=1000)
    assert made.units == "drop of mean_absolute_error"
    assert (made.values > 0).all()


def test_models_without_an_estimator_are_scored_by_their_predictions(numbers, classes, tmp_path):
    """A file, a function, a method: the same as by the estimator."""
    _, X, labels = classes
    trees = lightgbm.LGBMClassifier(n_estimators=8, num_leaves=5, verbose=-1).fit(X, (labels == "sick").astype(int))
    trees.booster_.save_model(tmp_path / "model.txt")
    truth = (labels == "sick").astype(int)
    options = {"spot_checks": 0, "max_evals": 1000}
    for scoring in ("roc_auc", "f1"):
        live = wb.importance(trees, X, truth, scoring=scoring, **options)
        of_file = wb.importance(tmp_path / "model.txt", X, truth, scoring=scoring, **options)
        np.testing.assert_allclose(of_file.values, live.values, atol=1e-9)
        np.testing.assert_allclose(of_file.std_error, live.std_error, atol=1e-9)
    forest = RandomForestClassifier(4, max_depth=3, random_state=0).fit(X, np.digitize(X.a, [-0.5, 0.5]) + 5)
    three = np.digitize(X.a + 0.3 * X.b, [-0.5, 0.5]) + 5
    live = wb.importance(forest, X, three, scoring="roc_auc_ovr", **options)
    method = wb.importance(forest.predict_proba, X, three, scoring="roc_auc_ovr", **options)
    np.testing.assert_allclose(method.values, live.values, atol=1e-9)
    model, X, y = numbers
    live = wb.importance(model, X, y, scoring="r2", spot_checks=0, max_evals=1000)
    function = wb.importance(
        functools.partial(type(model).predict, model), X, y, scoring="r2", spot_checks=0, max_evals=1000
    )
    np.testing.assert_allclose(function.values, live.values, atol=1e-12)
    ranked = wb.importance(model.predict, X, labels, scoring="roc_auc", spot_checks=0, max_evals=1000)
    assert float(ranked.extras["baseline_score"][1]) == pytest.approx(roc_auc_score(labels == "sick", model.predict(X)))


def test_estimators_without_probabilities(classes):
    _, X, labels = classes
    svm = LinearSVC().fit(X, labels)
    for scoring in ("roc_auc", "accuracy"):
        e = wb.importance(svm, X, labels, scoring=scoring, max_evals=1000)
        assert float(e.extras["baseline_score"][1]) == pytest.approx(get_scorer(scoring)(svm, X, labels))
        assert e.evidence.spot_checks.numbers == 200


def test_what_changes_nothing_is_exactly_zero(classes):
    _, X, labels = classes
    more = X.assign(constant=1.0)
    same = LogisticRegression().fit(more, labels)
    e = wb.importance(same, more, labels, scoring="roc_auc", train=(more[:80], labels[:80]), max_evals=2500)
    assert float(e["constant"]) == float(e["constant"].std_error) == 0.0
    assert e.extras["train"][1][-1] == 0.0


@pytest.mark.parametrize("scoring", ["roc_auc", "function"])
def test_predictions_stay_within_what_is_allowed_and_planned(classes, scoring):
    _, X, labels = classes
    limit = 14_000

    class Counted(LogisticRegression):
        asked = 0

        def decision_function(self, rows):
            Counted.asked += len(rows)
            return super().decision_function(rows)

    counted = Counted().fit(X, labels)
    function = lambda estimator, rows, truth: float((estimator.decision_function(rows) > 0).mean())
    options = {"scoring": function if scoring == "function" else scoring, "max_evals": limit}
    e = wb.importance(counted, X, labels, **options)
    asked = Counted.asked
    plan = wb.plan(wb.importance, counted, X, labels, **options)
    assert e.evidence.model_calls <= plan.model_calls <= limit
    assert abs(asked - e.evidence.model_calls) <= 2  # predict is asked about two rows to see what it returns


def test_a_score_that_is_not_defined_without_a_group_has_no_error(classes):
    """One row alone is of its class: without it there is no area under the curve."""
    model, X, _ = classes
    rare = np.array(["sick", *["healthy"] * 39])
    e = wb.importance(model, X[:40], rare, scoring="roc_auc", max_evals=2000)
    assert np.isfinite(e.values).all()
    assert np.isnan(e.std_error).all()
    assert any("there is no standard error" in note for note in e.evidence.notes)


def test_faults_in_permuted_rows_are_found(classes, monkeypatch):
    model, X, labels = classes
    kept = Table.with_columns_from
    monkeypatch.setattr(
        Table,
        "with_columns_from",
        lambda self, other, positions: kept(self, other.rows(np.roll(np.arange(len(other)), 1)), positions),
    )
    with pytest.raises(SpotCheckError):
        wb.importance(model, X, labels, scoring="roc_auc", tol=0.9)


def test_bad_input_is_refused_before_any_work(classes, numbers):
    model, X, labels = classes
    with pytest.raises(OptionError, match="do not go together"):
        wb.importance(model, X, labels, scoring="roc_auc", loss="log")
    with pytest.raises(OptionError, match="Did you mean 'roc_auc'"):
        wb.importance(model, X, labels, scoring="roc_auk")
    with pytest.raises(OptionError, match="name, or a function"):
        wb.importance(model, X, labels, scoring=7)
    for method in ("conditional", "drop_column", "sage"):
        with pytest.raises(OptionError, match="does not take 'scoring'"):
            wb.importance(model, X, labels, scoring="roc_auc", method=method)
    with pytest.raises(OptionError, match="calls an estimator"):
        wb.importance(model.predict_proba, X, labels, scoring=lambda estimator, X, y: 0.0)
    with pytest.raises(OptionError, match="leave response_method out"):
        wb.importance(model, X, labels, scoring="roc_auc", response_method="predict_proba")
    with pytest.raises(OptionError, match="fails on this model"):
        wb.importance(numbers[0], X, labels, scoring="accuracy")
    with pytest.raises(OptionError, match="a score is one number"):
        wb.importance(model, X, labels, scoring=lambda estimator, X, y: np.zeros(3))
    with pytest.raises(OptionError, match="not a number"):
        wb.importance(model, X, ["sick"] * len(X), scoring="roc_auc")
    with pytest.raises(InputError, match="missing"):
        wb.importance(model, X, [None, *labels[1:]], scoring="roc_auc")
    with pytest.raises(InputError, match="159 values for 160 rows"):
        wb.importance(model, X, labels[1:], scoring="roc_auc")
    with pytest.raises(InputError, match="give 4 or more"):
        wb.importance(model, X[:3], labels[:3], scoring="accuracy")
    with pytest.raises(LimitError, match="one round"):
        wb.importance(model, X, labels, scoring="roc_auc", max_evals=500)
