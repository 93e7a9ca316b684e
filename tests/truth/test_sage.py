"""SAGE against a loop over all coalitions that asks the model's own predict, against closed forms, and against the spread over samples."""

import functools

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor

import whybox as wb
from oracles import semivalue, shapley
from whybox.errors import InputError, LimitError, OptionError, SpotCheckError
from whybox.games.gaussian_process import CoalitionProcess
from whybox.games.sampling import draw_design
from whybox.methods.importance.sage_game import LossGame


def brute_force(predict, loss, X, y, background, groups=None, w=None, wb_=None):
    """Shapley values of v(nobody) - v(S) over all coalitions, row by row through `predict` of frames."""
    n, groups = len(X), [[c] for c in X.columns] if groups is None else groups
    w = np.full(n, 1 / n) if w is None else w / w.sum()
    wb_ = np.full(len(background), 1 / len(background)) if wb_ is None else wb_ / wb_.sum()

    def worth(S):
        absent = [c for k, g in enumerate(groups) if k not in S for c in g]
        mean = 0.0
        for b in range(len(background)):
            mixed = X.copy()
            for c in absent:
                mixed[c] = pd.Series([background[c].iloc[b]] * n, index=X.index, dtype=X[c].dtype)
            mean = mean + wb_[b] * np.asarray(predict(mixed), dtype=float)
        return -(w @ loss(y, mean))

    return semivalue(worth, len(groups), shapley), -worth(set()), -worth(set(range(len(groups))))


def squared(y, p):
    return (y - p) ** 2


@pytest.fixture(scope="module")
def rows():
    draw = np.random.default_rng(3)
    X = pd.DataFrame(draw.normal(size=(150, 4)).round(1), columns=list("abcd"))
    X.loc[::7, "b"] = np.nan
    X["kind"] = pd.Categorical(draw.choice(["red", "green", "blue"], 150))
    y = (X.a + X.b.fillna(0) * X.c + (X.kind == "red") + draw.normal(size=150)).to_numpy()
    return X, y


@pytest.fixture(scope="module")
def booster(rows):
    X, y = rows
    return HistGradientBoostingRegressor(
        max_iter=15, max_leaf_nodes=6, categorical_features="from_dtype", random_state=0
    ).fit(X, y)


def test_it_is_the_shapley_value_of_the_loss(rows, booster):
    """Numbers, missing values and categories, weights of rows and of the background, of trees that are read and of any model."""
    X, y = rows
    X, y, background = X[:20], y[:20], X[100:105]
    draw = np.random.default_rng(0)
    w, weights = draw.random(20), draw.random(5)
    w[:4] = weights[2] = 0
    want, empty, full = brute_force(booster.predict, squared, X, y, background, w=w, wb_=weights)
    for model in (booster, functools.partial(type(booster).predict, booster)):
        e = wb.importance(model, X, y, method="sage", background=background, background_weight=weights, sample_weight=w)
        assert e.evidence.exact
        np.testing.assert_allclose(e.values, want, rtol=0, atol=1e-9)
        assert float(e.extras["loss_without_features"][1]) == pytest.approx(empty)
        assert float(e.extras["baseline_loss"][1]) == pytest.approx(full)
        assert abs(float(e.extras["additivity_gap"][1])) < 1e-12
        assert e.values.sum() == pytest.approx(empty - full)
        assert e.evidence.spot_checks.numbers > 200
    without = wb.importance(
        booster,
        X[4:],
        y[4:],
        method="sage",
        background=background,
        background_weight=3 * weights,
        sample_weight=5 * w[4:],
    )
    np.testing.assert_allclose(without.values, e.values, atol=1e-9)
    np.testing.assert_allclose(without.std_error, e.std_error, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_of_classes_probabilities_are_averaged(rows, classes):
    X, y = rows
    X, names = X[["a", "b", "c"]].fillna(0.0), np.array(["no", "yes", "maybe"])
    labels = names[np.digitize(y, [0.0, 1.0][: classes - 1])]
    model = RandomForestClassifier(5, max_depth=3, random_state=0).fit(X, labels)
    X, labels = X[:16], labels[:16]
    at = np.searchsorted(model.classes_, labels)
    log_loss = lambda t, p: -np.log(np.clip(p[np.arange(len(t)), t], np.finfo(float).eps, 1))
    want, *_ = brute_force(model.predict_proba, log_loss, X, at, X)
    e = wb.importance(model, X, labels, method="sage", max_evals=10**6, background=X)
    np.testing.assert_allclose(e.values, want, atol=1e-9)
    assert e.units == "log loss, nats"


def test_of_a_linear_model_of_independent_columns_it_is_the_variance():
    """The truth is the model: coefficient squared times variance, by hand; over coalitions that are drawn too."""
    draw = np.random.default_rng(0)
    for d, limit in ((5, 10**6), (14, 300_000)):
        Q = np.linalg.qr(np.column_stack([np.ones(40), draw.normal(size=(40, d))]))[0][:, 1:] * np.sqrt(40)
        beta = np.arange(d) / d + 0.1
        e = wb.importance(lambda Z, beta=beta: Z @ beta, Q, Q @ beta, method="sage", background=Q, max_evals=limit)
        assert e.evidence.exact == (d == 5)
        np.testing.assert_allclose(e.values, beta**2, rtol=1e-6)


def test_a_group_is_one_column(rows):
    """A group has the value that a model with the group as one column gives that column."""
    X, y = rows
    X = X[["a", "c", "d"]]
    two = np.column_stack([np.arange(len(X)), X.d])
    at = X[["a", "c"]].to_numpy()

    def apart(Z):
        Z = np.asarray(Z, dtype=float)
        return Z[:, 0] * Z[:, 1] + Z[:, 2]

    def joined(Z):
        return at[Z[:, 0].astype(int), 0] * at[Z[:, 0].astype(int), 1] + Z[:, 1]

    some = slice(0, 40)
    groups = wb.importance(apart, X[some], y[some], method="sage", players={"both": ["a", "c"]}, background=X[60:80])
    one = wb.importance(joined, two[some], y[some], method="sage", background=two[60:80])
    np.testing.assert_allclose(groups.values, one.values, atol=1e-12)
    np.testing.assert_allclose(groups.std_error, one.std_error, atol=1e-12)
    assert groups.feature_names == ("both", "d")


def test_what_changes_nothing_is_exactly_zero(rows):
    """A column that the trees do not read, a constant one, and all of them."""
    X, y = rows
    X = X[["a", "c"]].assign(constant=1.0, noise=np.arange(150) % 5)
    forest = RandomForestRegressor(4, max_depth=3, random_state=0).fit(X[["a", "c", "constant"]].assign(noise=0.0), y)
    e = wb.importance(forest, X, y, method="sage")
    assert e.values[2:].tolist() == e.std_error[2:].tolist() == [0.0, 0.0]
    assert any("2 players change no prediction" in note for note in e.evidence.notes)
    nothing = wb.importance(lambda Z: np.ones(len(Z)), np.ones((30, 2)), np.arange(30.0), method="sage")
    assert nothing.values.tolist() == [0.0, 0.0]


def interactions(Z):
    return Z[:, 0] * Z[:, 1] + np.sin(Z[:, 2] * Z[:, 3]) + Z[:, 4] + np.abs(Z[:, 5] + Z[:, 6] * Z[:, 7])


def test_values_of_drawn_coalitions_are_within_their_error():
    """Of the same rows and background; every row's values add up, and the mean of the rows is the value of the mean."""
    draw = np.random.default_rng(5)
    X, background = draw.normal(size=(40, 9)), draw.normal(size=(8, 9))
    y = interactions(X) + draw.normal(size=40)
    options = {"method": "sage", "background": background, "spot_checks": 0}
    exact = wb.importance(interactions, X, y, max_evals=10**6, **options)
    assert exact.evidence.exact
    assert exact.extras["monte_carlo_error"][1].tolist() == [0.0] * 9
    apart = []
    for seed in range(12):
        e = wb.importance(interactions, X, y, max_evals=89 * 40 * 8, seed=seed, **options)
        assert not e.evidence.exact
        assert abs(float(e.extras["additivity_gap"][1])) < 1e-10
        assert e.values.sum() == pytest.approx(exact.values.sum())
        apart.append((e.values - exact.values) / e.extras["monte_carlo_error"][1])
        assert (e.std_error >= e.extras["monte_carlo_error"][1]).all()
    assert np.mean(np.abs(apart) < 2) > 0.9
    assert np.std(apart) > 0.3  # nor is the error far too large
    ratio = e.std_error / np.hypot(exact.std_error, e.extras["monte_carlo_error"][1])
    assert ((ratio > 0.8) & (ratio < 1.25))[:8].all()


@pytest.mark.parametrize("samples", [25, pytest.param(400, marks=pytest.mark.soak)])
def test_standard_errors_are_the_spread_over_samples(samples):
    draw = np.random.default_rng(2)
    background = draw.normal(size=(8, 9))
    values, errors = [], []
    for _ in range(samples):
        X = draw.normal(size=(60, 9))
        y = interactions(X) + draw.normal(size=60)
        e = wb.importance(
            interactions, X, y, method="sage", background=background, spot_checks=0, max_evals=89 * 60 * 8
        )
        values.append(e.values)
        errors.append(e.std_error)
    ratio = np.sqrt(np.mean(np.square(errors), axis=0)) / np.std(values, axis=0, ddof=1)
    slack = 1.4 if samples < 100 else 1.2
    assert ((ratio > 1 / slack) & (ratio < slack))[:8].all(), ratio


def test_the_process_learns_on_one_game_and_is_applied_to_many():
    """Games of rows have values whose mean is the value of the mean game, and each adds up to its own total."""
    draw = np.random.default_rng(0)
    design = draw_design(9, 90, draw).coalitions
    halves, means = draw.normal(size=(len(design) + 1, 30)), draw.normal(size=(len(design), 30))
    process = CoalitionProcess(design)
    solution = process.learn(halves.mean(axis=1), means.mean(axis=1))
    of_rows = solution.values(halves)
    values, variances = process(halves.mean(axis=1)[:, None], means.mean(axis=1)[:, None])
    np.testing.assert_allclose(of_rows.mean(axis=1), values[:, 0], atol=1e-10)
    np.testing.assert_allclose(of_rows.sum(axis=0), 2 * halves[-1], atol=1e-8)
    assert solution.values(halves.mean(axis=1)).tobytes() == values[:, 0].tobytes()
    assert solution.variances(halves.mean(axis=1)).tobytes() == variances[:, 0].tobytes()


def test_rows_and_background_are_drawn_where_predictions_do_not_suffice(rows):
    X, y = np.random.default_rng(0).normal(size=(150, 5)), rows[1]
    predict = lambda Z: Z[:, 0] * Z[:, 1] + Z[:, 2] * Z[:, 3] - Z[:, 4]
    plain = wb.importance(predict, X, y, method="sage")
    assert plain.evidence.rows < len(X)
    assert any("of 150 rows, drawn by the seed" in note for note in plain.evidence.notes)
    assert any(f"{plain.evidence.background_rows} of the rows, drawn by" in note for note in plain.evidence.notes)
    assert 16 <= plain.evidence.background_rows <= 64
    assert plain.values.tobytes() == wb.importance(predict, X, y, method="sage").values.tobytes()
    assert plain.values.tobytes() != wb.importance(predict, X, y, method="sage", seed=1).values.tobytes()
    all_rows = wb.importance(predict, X, y, method="sage", background=X[:10], max_evals=10**6)
    assert all_rows.evidence.rows == len(X)
    assert not any("drawn" in note for note in all_rows.evidence.notes)
    trained = wb.importance(predict, X[100:], y[100:], method="sage", train=(X[:100], y[:100]), background=X[:10])
    own = wb.importance(predict, X[:100], y[:100], method="sage", background=X[:10])
    assert trained.extras["train"][1].tobytes() == own.values.tobytes()


@pytest.mark.parametrize("limit", [7000, 20_000, 400_000])
def test_predictions_stay_within_what_is_allowed_and_planned(limit):
    draw = np.random.default_rng(0)
    X = draw.normal(size=(50, 9))
    predictions = []

    def counted(rows):
        predictions.append(len(rows))
        return interactions(rows)

    options = {"method": "sage", "max_evals": limit, "background": X[:7]}
    e = wb.importance(counted, X, X[:, 0], **options)
    assert sum(predictions) == e.evidence.model_calls <= limit
    plan = wb.plan(wb.importance, interactions, X, X[:, 0], **options)
    assert e.evidence.model_calls <= plan.model_calls <= limit
    assert plan.exact == e.evidence.exact == (limit == 400_000)


def test_a_plan_of_trees_is_what_the_evidence_says(rows, booster):
    X, y = rows
    for options in ({}, {"background": X[:20]}):
        plan = wb.plan(wb.importance, booster, X, y, method="sage", **options)
        e = wb.importance(booster, X, y, method="sage", **options)
        assert (plan.model_calls, plan.exact) == (e.evidence.model_calls, e.evidence.exact)


def test_too_few_predictions_are_no_convergence():
    draw = np.random.default_rng(0)
    X = draw.normal(size=(30, 9))
    noisy = lambda Z: np.sin(7 * Z[:, 0] * Z[:, 1] * Z[:, 2] * Z[:, 3]) * Z[:, 4:].sum(axis=1)
    options = {"method": "sage", "background": X[:6], "spot_checks": 0, "tol": 0.001}
    few = wb.importance(noisy, X, noisy(X), max_evals=9000, **options)
    assert not few.extras["converged"][1]
    assert any(note.startswith("NOT CONVERGED") for note in few.evidence.notes)
    more = wb.importance(noisy, X, noisy(X), max_evals=50_000, **options)
    assert more.extras["monte_carlo_error"][1].max() < few.extras["monte_carlo_error"][1].max()
    assert "74 coalitions of 9 players over 20 rows" in few.evidence.kernel
    assert "276 coalitions" in more.evidence.kernel


def test_faults_in_coalitions_are_found(rows, booster, monkeypatch):
    """The spot checks ask the model's own predict about rows with absent players."""
    X, y = rows
    asked = LossGame._losses_of_block

    def shifted(self, which, patterns, some, first):
        return asked(self, which, [p[1:] for p in patterns], some, first)

    monkeypatch.setattr(LossGame, "_losses_of_block", shifted)
    with pytest.raises(SpotCheckError):
        wb.importance(booster, X, y, method="sage")
    monkeypatch.setattr(
        LossGame, "_losses_of_block", lambda *arguments: asked(*arguments) * np.linspace(1, 1.1, len(arguments[3]))
    )
    with pytest.raises(SpotCheckError, match="sum"):
        wb.importance(booster, X, y, method="sage")


def test_bad_input_is_refused_before_any_work(rows, booster):
    X, y = rows
    fails = functools.partial(pytest.fail, "evaluated")
    with pytest.raises(OptionError, match="background"):
        wb.importance(booster, X, y, method="sage", background_weight=np.ones(3))
    with pytest.raises(InputError, match="background"):
        wb.importance(booster, X, y, method="sage", background=X[:5], background_weight=np.ones(3))
    with pytest.raises(InputError, match="d"):
        wb.importance(booster, X, y, method="sage", background=X[["a", "b", "c", "kind"]][:5])
    with pytest.raises(LimitError, match="max_evals"):
        wb.importance(booster, X, y, method="sage", max_evals=2000)
    with pytest.raises(OptionError, match="pass y"):
        wb.importance(fails, X, method="sage")
    with pytest.raises(OptionError, match="does not take"):
        wb.importance(fails, X, y, method="sage", fit=print)
    many = np.random.default_rng(0).normal(size=(30, 600))
    with pytest.raises(LimitError, match="players are too many"):
        wb.importance(lambda Z: Z.sum(axis=1), many, many[:, 0], method="sage")
