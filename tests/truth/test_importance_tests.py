"""Conditional importance and importance by dropping columns: what depends on the others is worth nothing, tests hold their level, and errors are those of rows."""

from dataclasses import replace

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from whybox.data.table import as_table
from whybox.errors import InputError, LimitError, ModelMismatchError, OptionError
from whybox.methods.common.columns import feature_of
from whybox.methods.common.rows import weighted_rows
from whybox.methods.importance.conditional_values import ConditionalValues


def pairs(draw, n):
    """Eight columns in pairs of correlation 0.8; the first of two pairs have coefficients 1 and 0.8."""
    first = draw.normal(size=(n, 4))
    X = np.empty((n, 8))
    X[:, 0::2], X[:, 1::2] = first, 0.8 * first + 0.6 * draw.normal(size=(n, 4))
    return X, X[:, 0] + 0.8 * X[:, 2] + draw.normal(size=n)


def rejected(method, tables, *, forest=False):
    signals, nulls = [], []
    for seed in range(tables):
        draw = np.random.default_rng(seed)
        (X, y), (Z, t) = pairs(draw, 500), pairs(draw, 500)
        model = RandomForestRegressor(40, min_samples_leaf=3, random_state=seed) if forest else LinearRegression()
        more = {"train": (X, y)} if method == "drop_column" else {}
        e = wb.importance(model.fit(X, y), Z, t, method=method, spot_checks=0, **more)
        p = e.extras["p_value"][1]
        signals += [p[0], p[2]]
        nulls += [p[i] for i in (1, 3, 4, 5, 6, 7)]
    return np.mean(np.array(signals) < 0.05), np.mean(np.array(nulls) < 0.05)


@pytest.mark.parametrize("method", ["conditional", "drop_column"])
def test_signals_are_found_and_features_that_follow_them_are_not(method):
    signals, nulls = rejected(method, 1)
    assert signals == 1.0
    assert nulls <= 1 / 6


@pytest.mark.soak
@pytest.mark.parametrize("method", ["conditional", "drop_column"])
@pytest.mark.parametrize("forest", [False, True])
def test_the_level_holds_over_many_tables(method, forest):
    signals, nulls = rejected(method, 25, forest=forest)
    assert signals >= 0.95
    assert nulls <= 0.06 + 2 * np.sqrt(0.05 * 0.95 / 150)


@pytest.fixture(scope="module")
def mixed():
    draw = np.random.default_rng(5)
    n = 180
    a = draw.normal(size=n)
    X = pd.DataFrame(
        {
            "a": a,
            "copy": a,
            "b": np.where(draw.random(n) < 0.1, np.nan, draw.normal(size=n)),
            "c": draw.choice(list("xyz"), n),
        }
    )
    y = a + np.nan_to_num(X.b) + (X.c == "x") * 2 + draw.normal(size=n)
    encoded = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    model = make_pipeline(encoded, RandomForestRegressor(20, max_depth=6, random_state=0)).fit(X, y)
    return model, X, y.to_numpy()


def test_a_copy_is_worth_nothing_beyond_the_other(mixed):
    model, X, y = mixed
    e = wb.importance(model, X, y, method="conditional")
    assert np.abs(e.values[:2]).max() < 0.02 * e.values[2:].min()
    assert e.extras["explained_by_others"][1][0] > 0.99
    assert (e.extras["explained_by_others"][1][2:] < 0.1).all()
    assert (e.extras["p_value"][1][2:] < 1e-3).all()
    assert e.evidence.spot_checks.numbers > 100
    together = wb.importance(model, X, y, method="conditional", players={"a twice": ["a", "copy"]})
    assert float(together["a twice"]) > 10 * max(abs(e.values[:2]))


def test_others_explain_no_share_of_a_constant():
    """Also of one whose mean is not exactly its value."""
    X = np.column_stack([np.random.default_rng(0).normal(size=30), np.full(30, 0.1), np.full(30, np.nan)])
    model = RandomForestRegressor(2, random_state=0).fit(X, X[:, 0])
    e = wb.importance(model, X, X[:, 0], method="conditional")
    assert np.isnan(e.extras["explained_by_others"][1]).tolist() == [False, True, True]


def test_new_values_are_as_the_own_ones_given_the_others(mixed):
    """A number, its missing values and a category keep their share; a number keeps its relation to the others."""
    draw = np.random.default_rng(0)
    n = 600
    a = draw.normal(size=n)
    b = np.where(draw.random(n) < 1 / (1 + np.exp(-2 * a)), np.nan, a + draw.normal(size=n) / 2)
    c = np.where(draw.random(n) < 1 / (1 + np.exp(-3 * a)), "p", "q")
    rows = weighted_rows(as_table(pd.DataFrame({"a": a, "b": b, "c": c})), None)
    rng = np.random.default_rng(1)
    new_b = np.concatenate([b[ConditionalValues(rows, 1, (0,), 0).draw(rng)] for _ in range(5)])
    new_c = np.concatenate([c[ConditionalValues(rows, 2, (0,), 0).draw(rng)] for _ in range(5)])
    a5 = np.tile(a, 5)
    assert abs(np.isnan(new_b).mean() - np.isnan(b).mean()) < 0.04
    assert abs(np.isnan(new_b[a5 > 1]).mean() - np.isnan(b[a > 1]).mean()) < 0.08
    has = ~np.isnan(new_b)
    assert abs(np.corrcoef(a5[has], new_b[has])[0, 1] - np.corrcoef(a[~np.isnan(b)], b[~np.isnan(b)])[0, 1]) < 0.04
    assert abs((new_c[a5 > 1] == "p").mean() - (c[a > 1] == "p").mean()) < 0.08
    kept = ConditionalValues(rows, 2, (0,), 0).draw(np.random.default_rng(3))
    assert abs((c[kept] == c).mean() - 1.0) > 0.05  # it is no copy
    assert feature_of(rows.table, 0).kind == "number"


def test_weights_are_shares(mixed):
    model, X, y = mixed
    w = np.r_[np.zeros(100), np.arange(1.0, 81.0)]
    e = wb.importance(model, X, y, method="conditional", sample_weight=w, seed=1)
    doubled = wb.importance(model, X, y, method="conditional", sample_weight=2 * w, seed=1)
    np.testing.assert_allclose(doubled.values, e.values, rtol=1e-9, atol=1e-12)


def test_dropping_is_training_without(mixed):
    _, X, y = mixed
    numbers = X[["a", "copy"]].assign(z=np.arange(len(X)) % 7)
    model = LinearRegression().fit(numbers[:90], y[:90])
    e = wb.importance(model, numbers[90:], y[90:], method="drop_column", train=(numbers[:90], y[:90]))
    without = LinearRegression().fit(numbers[["a", "copy"]][:90], y[:90]).predict(numbers[["a", "copy"]][90:])
    difference = (y[90:] - without) ** 2 - (y[90:] - model.predict(numbers[90:])) ** 2
    assert float(e["z"]) == pytest.approx(difference.mean())
    assert float(e["z"].std_error) == pytest.approx(difference.std(ddof=1) / np.sqrt(90))
    assert abs(float(e["a"])) < 1e-9
    arrays = wb.importance(
        model, numbers[90:].to_numpy(), y[90:], method="drop_column", train=(numbers[:90].to_numpy(), y[:90])
    )
    np.testing.assert_allclose(arrays.values, e.values, atol=1e-12)
    fitted = []

    def fit(rows, truth):
        fitted.append(list(rows.columns))
        return LinearRegression().fit(rows, truth)

    again = wb.importance(
        model.predict, numbers[90:], y[90:], method="drop_column", train=(numbers[:90], y[:90]), fit=fit
    )
    np.testing.assert_allclose(again.values, e.values, atol=1e-12)
    assert fitted == [["copy", "z"], ["a", "z"], ["a", "copy"]]


def test_classes_are_dropped_too():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(400, 3)), columns=list("abc"))
    y = np.where(X.a + draw.normal(size=400) / 2 > 0, "yes", "no")
    model = RandomForestClassifier(20, min_samples_leaf=10, random_state=0).fit(X[:200], y[:200])
    e = wb.importance(model, X[200:], y[200:], method="drop_column", train=(X[:200], y[:200]))
    assert e.units == "log loss, nats"
    assert e.extras["p_value"][1][0] < 1e-6
    assert e.extras["p_value"][1][1:].min() > 0.001


def test_a_model_that_reads_drawn_rows_otherwise_is_refused(mixed):
    """Its own predict agrees with our reading on the rows as they are, and not on others."""
    model, X, y = mixed
    reader = wb.explainers.TreeShap(model, X[:5]).model
    own, known = reader.own_predict, set(zip(X.a, X.b.fillna(0), X.c, strict=True))

    def predict(table):
        frame = table.native
        others = [row not in known for row in zip(frame.a, frame.b.fillna(0), frame.c, strict=True)]
        return own.predict(table) + np.array(others)[:, None]

    wrong = replace(reader, own_predict=replace(own, predict=predict))
    with pytest.raises(ModelMismatchError, match="rows with values that were drawn|row"):
        wb.importance(wrong, X, y, method="conditional")
    assert wb.importance(wrong, X, y, method="conditional", spot_checks=0).values.shape == (4,)


def test_bad_input_is_refused(mixed):
    model, X, y = mixed
    with pytest.raises(InputError, match="needs 20 rows"):
        wb.importance(model, X[:10], y[:10], method="conditional")
    with pytest.raises(LimitError, match="one draw"):
        wb.importance(model, X, y, method="conditional", max_evals=100)
    with pytest.raises(OptionError, match="measures against the truth"):
        wb.importance(model, X, method="conditional")
    with pytest.raises(OptionError, match="pass the rows and the truth of training"):
        wb.importance(model, X, y, method="drop_column")
    with pytest.raises(OptionError, match="fit="):
        wb.importance(model.predict, X, y, method="drop_column", train=(X, y))
    with pytest.raises(OptionError, match="training without 'a' fails"):
        wb.importance(
            make_pipeline(make_column_transformer(("passthrough", ["a", "b"])), RandomForestRegressor(2)).fit(X, y),
            X, y, method="drop_column", train=(X, y),
        )  # fmt: skip
    with pytest.raises(OptionError, match="does not take 'tol'"):
        wb.importance(model, X, y, method="conditional", tol=0.1)


def test_a_refit_is_compared_on_the_scale_of_its_own_predictions():
    """A function of rows has no link, and the model trained without a column may have one."""
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(120, 2)), columns=list("ab"))
    y = draw.poisson(np.exp(X.a)).astype(float)
    options = {"objective": "poisson", "n_estimators": 10, "min_child_samples": 5, "verbose": -1}
    fit = lambda rows, truth: lightgbm.LGBMRegressor(**options).fit(rows, truth)
    model = fit(X[:60], y[:60])

    def predict(rows):
        return model.predict(rows)

    e = wb.importance(predict, X[60:], y[60:], method="drop_column", train=(X[:60], y[:60]), fit=fit)
    without = fit(X[["b"]][:60], y[:60]).predict(X[["b"]][60:])
    assert float(e["a"]) == pytest.approx(((y[60:] - without) ** 2 - (y[60:] - model.predict(X[60:])) ** 2).mean())


def test_a_column_without_values_is_worth_nothing(mixed):
    _, X, y = mixed
    rows = pd.DataFrame({"a": X.a, "empty": np.nan, "one": 1.0})
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(rows, y)
    for method in ("permutation", "conditional"):
        e = wb.importance(model, rows, y, method=method)
        assert e.values[1:].tolist() == [0.0, 0.0]
        assert e.std_error[1:].tolist() == [0.0, 0.0]
        assert np.isnan(e.extras["p_value"][1][1:]).all()
        assert float(e["a"]) > 0.1


def test_checks_are_shared_by_more_players_than_there_are_checks(mixed):
    _, X, y = mixed
    rows = X[["a"]].assign(b=1.0, c=2.0)
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(rows, y)
    e = wb.importance(model, rows, y, method="conditional", spot_checks=2)
    assert e.evidence.spot_checks.predictions == 2
