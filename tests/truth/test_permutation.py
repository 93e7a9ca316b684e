"""Permutation importance against a loop over all pairs of rows that asks the model's own predict, against shuffles, and against the spread over samples."""

import functools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
import zoo
from whybox.api.importance import _make_problem
from whybox.errors import (
    InputError,
    LimitError,
    OptionError,
    SpotCheckError,
    UnsupportedModelError,
)
from whybox.methods.importance import permutation_of_trees
from whybox.methods.importance.loss_problem import resolve_loss_problem
from whybox.methods.importance.options import ImportanceOptions
from whybox.models.losses import Loss, class_labels
from whybox.models.mixed_rows import mix_cells
from whybox.models.registry import as_model
from whybox.numerics.statistics import rank_intervals


def all_pairs(model, X, y, player, **options):
    """The mean over ordered pairs of different rows of the increase of the loss, row by row through the model's own predict."""
    made = resolve_loss_problem(_make_problem(model, X, y, ImportanceOptions(method="permutation", **options)))
    own, link = made.model.own_predict, made.model.outputs.link
    members = made.players.members[made.players.names.index(player)]

    def losses(table):
        predictions = own.predict(table)
        if own.scale == "raw" and made.selection.scale != "raw":
            predictions = link(predictions)
        return made.losses(made.selection.select_predictions(predictions))

    n, w, table = len(made), made.weights, made.table
    before, total, norm = losses(table), 0.0, 0.0
    for j in range(n):
        taken = np.zeros((n, table.width), dtype=bool)
        taken[:, list(members)] = True
        donors = table.rows(np.full(n, j))
        mixed = mix_cells(table, donors, taken)
        mixed = table.with_columns_from(donors, list(members)) if mixed is None else mixed
        others = w * (np.arange(n) != j)
        total += w[j] * (others @ (losses(mixed) - before))
        norm += w[j] * others.sum()
    return total / norm


def truth_of(model, rows, seed):
    """A truth that has nothing to do with the model: some of its classes, or numbers; None where it has neither."""
    draw = np.random.default_rng(seed)
    outputs = as_model(model).outputs
    labels = class_labels(outputs)
    if labels is not None:
        return draw.choice(labels, len(rows)), ("log", "brier", "zero_one")
    if len(outputs.names) > 1 or outputs.negative_class is not None:
        return None, ()
    return draw.gamma(2.0, size=len(rows)), ("squared", "absolute", "pinball(0.9)")


KINDS = [case.name for case in zoo.CASES if case.verdict == "exact"]
OFTEN = [
    "DecisionTreeRegressor",
    "RandomForestClassifier, 3 classes, sample weights",
    "HistGradientBoostingClassifier, categories",
    "XGBClassifier, multi:softprob",
    "LGBMClassifier, binary, text classes",
    "CatBoostRegressor, categories combined",
]


@pytest.mark.parametrize("name", OFTEN)
def test_of_trees_it_is_the_mean_over_all_pairs(name):
    check_kind(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
def test_of_every_kind_of_tree_model_it_is_the_mean_over_all_pairs(name):
    check_kind(name)


def check_kind(name):
    model, rows = zoo.built(name)
    rows = rows[:14]
    y, losses = truth_of(model, rows, 1)
    if y is None:
        pytest.skip("several outputs, or no probabilities")
    loss = losses[len(name) % 3]
    e = wb.importance(model, rows, y, loss=loss)
    assert e.evidence.exact
    for player in e.feature_names[:: max(1, len(e.feature_names) // 2)]:
        want = all_pairs(model, rows, y, player, loss=loss)
        scale = max(abs(want), float(e.extras["baseline_loss"][1]))
        assert abs(float(e[player]) - want) <= 2e-6 * scale


@pytest.fixture(scope="module")
def forest():
    draw = np.random.default_rng(3)
    X = pd.DataFrame(draw.normal(size=(200, 4)).round(1), columns=list("abcd"))
    X["e"] = 1.0
    y = (X.a + X.b * X.c + draw.normal(size=200)).to_numpy()
    return RandomForestRegressor(10, max_depth=5, random_state=0).fit(X, y), X[:40], y[:40]


@pytest.mark.parametrize("loss", ["squared", "absolute", "pinball(0.2)"])
@pytest.mark.parametrize("black_box", [False, True])
def test_weights_and_groups_are_those_of_pairs(forest, loss, black_box):
    model, X, y = forest[0], forest[1][:24], forest[2][:24]
    source = (functools.partial(type(model).predict, model)) if black_box else model
    w = np.random.default_rng(0).random(len(X))
    w[:5] = 0
    options = {"loss": loss, "sample_weight": w, "players": {"b and c": ["b", "c"]}}
    e = (
        wb.importance(source, X, y, max_evals=100_000, **options)
        if black_box
        else wb.importance(source, X, y, **options)
    )
    assert e.evidence.exact
    for player in ("a", "b and c"):
        assert float(e[player]) == pytest.approx(all_pairs(model, X, y, player, **options), rel=1e-10)
    without = wb.importance(model, X[5:], y[5:], loss=loss, sample_weight=7 * w[5:], players=options["players"])
    np.testing.assert_allclose(without.values, e.values, rtol=1e-9)
    np.testing.assert_allclose(without.std_error, e.std_error, rtol=1e-9)


def test_constant_columns_are_exactly_zero(forest):
    model, X, y = forest
    for source in (model, functools.partial(type(model).predict, model)):
        e = wb.importance(source, X, y)
        assert float(e["e"]) == 0.0
        assert float(e["e"].std_error) == 0.0
        assert np.isnan(e.extras["p_value"][1]).all()


def test_a_shuffle_leaves_a_row_its_own_value_once_in_n_times():
    """(n - 1) / n times the values is what scikit-learn estimates; 800 of its repeats agree within their noise."""
    draw = np.random.default_rng(3)
    X = draw.normal(size=(10, 2))
    y = X[:, 0] + X[:, 1] ** 2 + draw.normal(size=10)
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(X, y)
    e = wb.importance(model, X, y)
    shuffled = permutation_importance(model, X, y, scoring="neg_mean_squared_error", n_repeats=800, random_state=0)
    noise = shuffled.importances_std / np.sqrt(800)
    assert (np.abs(9 / 10 * e.values - shuffled.importances_mean) <= 4 * noise + 1e-12).all()
    assert (np.abs(e.values - shuffled.importances_mean) > 4 * noise).any()  # which values of other rows alone are not


def test_spread_donors_are_nearer_than_shuffles():
    """The same number of predictions: less than half of the variance."""
    draw = np.random.default_rng(1)
    X = draw.normal(size=(300, 3))
    y = X[:, 0] * 2 + X[:, 1] ** 2 + draw.normal(size=300)
    predict = lambda rows: 2 * rows[:, 0] + rows[:, 1] ** 2
    truth = wb.importance(predict, X, y, max_evals=10**6, tol=1e-9).values
    errors = {"spread": [], "shuffled": []}
    for seed in range(20):
        e = wb.importance(predict, X, y, max_evals=300 * (1 + 3 * 8) + 200, seed=seed)
        assert not e.evidence.exact
        errors["spread"].append(e.values - truth)
        rng = np.random.default_rng(seed)
        own = (y - predict(X)) ** 2
        means = []
        for j in range(3):
            each = []
            for _ in range(8):
                mixed = X.copy()
                mixed[:, j] = rng.permutation(mixed[:, j])
                each.append(((y - predict(mixed)) ** 2 - own).mean())
            means.append(np.mean(each) * 300 / 299)
        errors["shuffled"].append(np.array(means) - truth)
    spread, shuffled = (np.mean(np.square(errors[k]), axis=0)[:2] for k in ("spread", "shuffled"))
    assert (spread < shuffled / 2).all()


def test_standard_errors_are_the_spread_over_samples():
    """Of trees and of any other model; features with signal."""
    draw = np.random.default_rng(2)
    X = draw.normal(size=(4000, 2))
    y = X[:, 0] + 0.5 * X[:, 1] ** 2 + draw.normal(size=4000)
    model = HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=8, random_state=0).fit(X, y)
    for source, n in ((as_model(model), 80), (lambda rows: rows[:, 0] + 0.5 * rows[:, 1] ** 2, 40)):
        values, errors = [], []
        for _ in range(60):
            Z = draw.normal(size=(n, 2))
            t = Z[:, 0] + 0.5 * Z[:, 1] ** 2 + draw.normal(size=n)
            e = wb.importance(source, Z, t, spot_checks=0)
            values.append(e.values)
            errors.append(e.std_error)
        ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(values, axis=0, ddof=1)
        assert ((ratio > 0.75) & (ratio < 1.3)).all(), ratio


def test_ranks_and_their_intervals():
    values = np.array([5.0, 1.0, 4.9, 0.0])
    apart = np.full((4, 4), 0.5)
    rank, low, high = rank_intervals(values, apart)
    assert rank.tolist() == [1, 3, 2, 4]
    assert low.tolist() == [1, 3, 1, 3]
    assert high.tolist() == [2, 4, 2, 4]
    with pytest.raises(OptionError, match="level"):
        rank_intervals(values, apart, 1.5)


def test_ranks_of_few_rows_take_student_s_t():
    """Two values differ up to the level at which the t-test of their paired differences, of 11 degrees of freedom, says so."""
    X = np.random.default_rng(4).normal(size=(12, 2)) + np.array([0.0, 1.0])  # what is lost without the other column
    difference = X[:, 1] - X[:, 0]
    certainty = 1 - 2 * scipy.stats.t.sf(difference.mean() / scipy.stats.sem(difference), 11)
    for level, apart in ((certainty - 1e-6, True), (certainty + 1e-6, False)):
        e = wb.importance(
            lambda rows: np.full(len(rows), 3.0),
            X,
            np.zeros(12),
            method="drop_column",
            train=(X, np.zeros(12)),
            fit=lambda rows, truth: lambda left: np.sqrt(9.0 + left[:, 0]),
            level=level,
        )
        assert np.allclose(e.values, X.mean(axis=0)[::-1])
        assert e.extras["rank_interval"][1].tolist() == ([[1, 1], [2, 2]] if apart else [[1, 2], [1, 2]])


def test_training_rows_stand_beside_held_out_ones(forest):
    model, X, y = forest
    e = wb.importance(model, X, y, train=(X[:20], y[:20]), role="held-out")
    own = wb.importance(model, X[:20], y[:20])
    assert e.extras["train"][1].tobytes() == own.values.tobytes()
    assert e.extras["train_error"][1].tobytes() == own.std_error.tobytes()
    assert e.evidence.settings["role"] == "held-out"
    assert not any("held out" in note for note in e.evidence.notes)
    assert any("held out" in note for note in own.evidence.notes)


def test_the_cost_of_training_rows_is_counted(forest):
    model, X, y = forest
    alone = wb.importance(model, X, y, role="held-out").evidence
    both = wb.importance(model, X, y, role="held-out", train=(X, y)).evidence
    assert both.model_calls == 2 * alone.model_calls > 0


def test_the_truth_may_be_a_column(forest):
    model, X, y = forest
    e = wb.importance(model, X.assign(target=y), "target")
    assert e.values.tobytes() == wb.importance(model, X, y).values.tobytes()
    assert not any("left out" in note for note in e.evidence.notes)


def test_dependent_columns_are_one_player(forest):
    model, X, y = forest
    copied = X.assign(b=X.a * 2)
    e = wb.importance(model, copied, y, players="auto")
    assert e.feature_names == ("a + b", "c", "d", "e")
    assert e.extras["linkage"][1].shape == (4, 4)


def test_bad_input_is_refused_before_any_work(forest):
    model, X, y = forest
    with pytest.raises(InputError, match="39 values for 40 rows"):
        wb.importance(model, X, y[:-1])
    with pytest.raises(InputError, match="missing"):
        wb.importance(model, X, np.where(np.arange(40) == 3, np.nan, y))
    with pytest.raises(InputError, match="more"):
        wb.importance(model, X[:1], y[:1])
    with pytest.raises(OptionError, match="needs probabilities"):
        wb.importance(model, X, y, loss="log")
    with pytest.raises(OptionError, match="no column"):
        wb.importance(model, X, "target")
    with pytest.raises(OptionError, match="loss"):
        wb.importance(model, X, loss="squared")
    with pytest.raises(InputError, match="at least 0"):
        wb.plan(wb.importance, model, X, -np.abs(y), loss="poisson")
    with pytest.raises(LimitError, match="one round"):
        wb.importance(functools.partial(type(model).predict, model), X, y, max_evals=50)
    with pytest.raises(UnsupportedModelError, match="no probabilities"):
        wb.importance(LinearSVC().fit(X, y > 0), X, y > 0)


def test_the_scale_and_the_output_are_those_of_the_truth(forest):
    model, X, y = forest
    with pytest.raises(OptionError, match="probabilities"):
        wb.importance(model, X, y, scale="probability")
    with pytest.raises(OptionError, match="leave scale"):
        wb.importance(model, X, y, scale="raw")
    two = RandomForestRegressor(3, max_depth=3, random_state=0).fit(X, np.column_stack([y, -2 * y]))
    with pytest.raises(OptionError, match="has 2 outputs"):
        wb.importance(two, X, y)
    second = wb.importance(two, X, -2 * y, output=1)
    want = wb.importance(lambda rows: two.predict(rows)[:, 1], X, -2 * y)
    np.testing.assert_allclose(second.values, want.values, rtol=1e-9, atol=1e-9)
    labels = np.where(y > 0, "yes", "no")
    classes = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, labels)
    asked = wb.importance(classes, X, labels, response_method="predict_proba", max_evals=10**6)
    np.testing.assert_allclose(asked.values, wb.importance(classes, X, labels).values, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("limit", [3000, 9000, 40_000])
@pytest.mark.parametrize("method", ["permutation", "conditional"])
def test_predictions_stay_within_what_is_allowed_and_planned(forest, method, limit):
    """The checks of the answer count too."""
    model, X, y = forest
    predictions = []

    def counted(rows):
        predictions.append(len(rows))
        return model.predict(rows)

    e = wb.importance(counted, X, y, method=method, max_evals=limit)
    assert sum(predictions) == e.evidence.model_calls <= limit
    plan = wb.plan(wb.importance, functools.partial(type(model).predict, model), X, y, method=method, max_evals=limit)
    assert e.evidence.model_calls <= plan.model_calls <= limit


def test_a_plan_of_trees_is_what_the_evidence_says(forest):
    model, X, y = forest
    for method in ("permutation", "conditional"):
        plan = wb.plan(wb.importance, model, X, y, method=method)
        assert plan.model_calls == wb.importance(model, X, y, method=method).evidence.model_calls


def test_the_evidence_says_what_was_recomputed(forest):
    """Sums over pairs are added up a second time only where there are all pairs."""
    model, X, y = forest
    both = "by adding the pairs of rows up by donors"
    assert both in wb.importance(model, X, y).evidence.spot_checks.ways
    box = functools.partial(type(model).predict, model)
    assert both in wb.importance(box, X, y, max_evals=20_000).evidence.spot_checks.ways
    drawn = wb.importance(box, X, y, max_evals=2000).evidence
    assert not drawn.exact
    assert both not in drawn.spot_checks.ways
    assert drawn.spot_checks.numbers == 200
    assert wb.importance(model, X, y, spot_checks=0).evidence.spot_checks.numbers == 0


def test_train_that_is_not_two_things_is_refused_before_any_work(forest):
    _, X, y = forest
    with pytest.raises(OptionError, match="must be a pair"):
        wb.importance(functools.partial(pytest.fail, "evaluated"), X, y, train=X)


def test_groups_of_dependent_columns_are_those_of_every_method(forest):
    model, X, _ = forest
    copied = X.assign(b=X.a * 2)
    groups = {"a + b": ["a", "b"]}
    for method in ("shap", "impurity"):
        e = wb.importance(model, copied, method=method, players="auto")
        assert e.values.tobytes() == wb.importance(model, copied, method=method, players=groups).values.tobytes()
        assert e.feature_names == ("a + b", "c", "d", "e")
        assert e.extras["linkage"][1].shape == (4, 4)
    assert wb.plan(wb.importance, model, copied, method="shap", players="auto").rows == 40
    with pytest.raises(OptionError, match="pass rows, X"):
        wb.importance(model, method="impurity", players="auto")
    with pytest.raises(OptionError, match="pass rows, X"):
        wb.plan(wb.importance, model, 100, method="shap", players="auto")


NATIVE_LOSSES = [
    ("DecisionTreeRegressor", ("squared", "absolute", "pinball(0.9)")),
    ("HistGradientBoostingRegressor, poisson", ("squared", "pinball(0.2)", "poisson")),
    ("LGBMClassifier, binary, text classes", ("log", "brier", "zero_one")),
    ("RandomForestClassifier, 3 classes, sample weights", ("log", "brier", "zero_one")),
    ("RandomForestClassifier", ("log", "brier", "zero_one")),
    ("XGBClassifier, multi:softprob", ("log", "brier", "zero_one")),
]


def values_and_errors(e):
    extras = ("interval", "rank", "rank_interval", "baseline_loss", "off_data")
    return [e.values, e.std_error, *(e.extras[name][1] for name in extras)]


@pytest.mark.parametrize(("name", "losses"), NATIVE_LOSSES)
def test_losses_in_native_code_are_those_of_whole_curves(name, losses, monkeypatch):
    model, rows = zoo.built(name)
    rows = rows[:40]
    y = truth_of(model, rows, 2)[0]
    weights = np.random.default_rng(0).random(len(rows)) * (np.arange(len(rows)) > 2)
    asked = functools.partial(wb.importance, model, rows, y, sample_weight=weights)
    native = [asked(loss=loss) for loss in losses]
    monkeypatch.setattr(permutation_of_trees, "_kernel_loss", lambda *_: None)
    for e, loss in zip(native, losses, strict=True):
        curves = asked(loss=loss)
        assert e.evidence.kernel.endswith("losses in native code")
        assert curves.evidence.kernel.endswith("losses of whole curves, by NumPy")
        scale = float(np.abs(e.values).max() + e.extras["baseline_loss"][1])
        for ours, theirs in zip(values_and_errors(e), values_and_errors(curves), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10 * scale)


@pytest.mark.parametrize("name", ["RandomForestClassifier, 3 classes, sample weights", "LGBMRegressor, missing values"])
def test_losses_where_a_curve_changes_are_those_at_every_point(name, monkeypatch):
    model, rows = zoo.built(name)
    rows = rows[:90]
    y = truth_of(model, rows, 2)[0]
    everywhere = wb.importance(model, rows, y)
    monkeypatch.setattr(permutation_of_trees, "MAX_NUMBERS_IN_FULL", 0)
    monkeypatch.setattr(permutation_of_trees, "MAX_NUMBERS", 0)
    e = wb.importance(model, rows, y)
    assert e.evidence.kernel.endswith("in native code where a row's curve changes")
    assert e.evidence.exact
    for ours, theirs in zip(values_and_errors(e), values_and_errors(everywhere), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_too_many_losses_take_predictions(forest, monkeypatch):
    model, X, y = forest
    monkeypatch.setattr(permutation_of_trees, "MAX_NUMBERS", 0)
    monkeypatch.setattr(permutation_of_trees, "MAX_NUMBERS_IN_FULL", 0)
    monkeypatch.setattr(permutation_of_trees, "MAX_TREES_WALKED", 0)
    X, y, by_leaves = X[:8], y[:8], "the trees' own leaves"
    assert by_leaves not in wb.importance(model, X, y).evidence.kernel
    monkeypatch.setattr(permutation_of_trees, "MAX_TREES_WALKED", 10**6)
    groups = wb.importance(model, X, y, players={"a and b": ["a", "b"]})  # splits of a group are no cuts of its points
    assert by_leaves not in groups.evidence.kernel


def test_losses_that_native_code_does_not_have_are_of_whole_curves(forest):
    """Of a custom function also under a name that native code has."""
    model, X, y = forest
    own = Loss("squared", "squared units of y", lambda truth, p: np.asarray((truth - p) ** 2))
    e, native = (wb.importance(model, X, y, loss=loss) for loss in (own, "squared"))
    assert e.evidence.kernel.endswith("by NumPy")
    np.testing.assert_allclose(e.values, native.values, rtol=1e-10)
    plan = wb.plan(wb.importance, model, X, y, loss=own)
    assert plan.kernel == e.evidence.kernel
    positive = wb.importance(model, X, np.abs(y) + 1, loss=Loss("odd", "odd units", lambda t, p: np.abs(t - p) ** 3))
    assert positive.evidence.kernel.endswith("by NumPy")


@pytest.mark.parametrize("method", ["permutation", "conditional", "sage"])
@pytest.mark.parametrize(
    ("function", "words"),
    [(lambda t, p: np.where(p > 0, np.nan, p), "is NaN or infinite for"), (lambda t, p: p.mean(), "one number a row")],
)
def test_losses_that_are_no_finite_number_a_row_are_refused(forest, function, words, method):
    """Also where nothing is recomputed; infinite predictions have infinite losses."""
    model, X, y = forest
    with pytest.raises(OptionError, match=words):
        wb.importance(model, X, y, method=method, loss=Loss("own", "own units", function), spot_checks=0)
    with pytest.raises(OptionError, match="is NaN or infinite for"):
        wb.importance(lambda rows: np.where(rows["a"] > 0, np.inf, 1.0), X, y, method=method)


def test_a_fault_in_native_losses_is_found(forest, monkeypatch):
    model, X, y = forest
    right = permutation_of_trees._kernel_loss
    for fault in ({"kind": "absolute"}, {"link": "logistic"}, {"scale": 1.01, "link": "exp"}):
        monkeypatch.setattr(permutation_of_trees, "_kernel_loss", lambda *a, fault=fault: replace(right(*a), **fault))
        with pytest.raises(SpotCheckError, match="by NumPy"):
            wb.importance(model, X, y)
