"""The standard deviation of partial dependence against a loop over rows and values, and its error against the jackknife and the spread over samples."""

import numpy as np
import pandas as pd
import polars
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from whybox.errors import LimitError, OptionError


def table(n, seed=0):
    draw = np.random.default_rng(seed)
    X = pd.DataFrame({"a": draw.normal(size=n).round(1), "b": draw.normal(size=n), "c": draw.choice(list("xyz"), n)})
    X.loc[draw.random(n) < 0.15, "b"] = np.nan
    return X.assign(k=1.0), (X.a * 2 + X.a * X.b.fillna(0) + (X.c == "x") * 3).to_numpy()


def model_of(X, y, forest):
    encoded = make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough")
    return make_pipeline(encoded, forest).fit(X, y)


def curve_matrix(predict, X, name):
    """Predictions of every row with the value of every row, (rows, donors, ...)."""
    n = len(X)
    changed = X.iloc[np.repeat(np.arange(n), n)].reset_index(drop=True)
    changed[name] = X[name].iloc[np.tile(np.arange(n), n)].to_numpy()
    predictions = predict(changed)
    return predictions.reshape(n, n, *predictions.shape[1:])


def spread(curves, w):
    """The definition: of rows i and values j, both with weights w."""
    w = w / w.sum()
    means = np.einsum("r,rp...->p...", w, curves)
    return np.sqrt(np.einsum("p,p...->...", w, (means - np.einsum("p,p...->...", w, means)) ** 2))


def jackknife(curves):
    n = len(curves)
    kept = [np.delete(np.arange(n), i) for i in range(n)]
    without = np.array([spread(curves[np.ix_(k, k)], np.ones(n - 1)) for k in kept])
    return np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))


def test_it_is_the_standard_deviation_over_the_rows_own_values():
    X, y = table(28)
    model = model_of(X, y, RandomForestRegressor(5, max_depth=5, random_state=0))
    w = np.random.default_rng(1).random(28)
    w[:5] = 0.0
    e, plain = (wb.importance(model, X, method="pdp", sample_weight=weight) for weight in (w, None))
    for name in X.columns:
        curves = curve_matrix(model.predict, X, name)
        assert float(e[name]) == pytest.approx(spread(curves, w), abs=1e-12)
        assert float(plain[name]) == pytest.approx(spread(curves, np.ones(28)), abs=1e-12)
        if name != "k":
            assert float(plain[name].std_error) == pytest.approx(jackknife(curves), rel=0.15)
    assert e.evidence.exact
    assert e.evidence.spot_checks.numbers >= 200
    assert (float(e["k"]), float(e["k"].std_error)) == (0.0, 0.0)
    kept = wb.importance(model, X[5:], method="pdp", sample_weight=3 * w[5:])
    np.testing.assert_allclose(kept.values, e.values, atol=1e-12)
    np.testing.assert_allclose(kept.std_error, e.std_error, atol=1e-12)


def test_frames_of_polars_and_functions_of_rows():
    X, _ = table(30)
    of = lambda rows: 2 * rows["a"].to_numpy() + (rows["c"].to_numpy() == "x") * rows["a"].to_numpy()
    e, frame = (wb.importance(of, rows, method="pdp") for rows in (X, polars.from_pandas(X)))
    assert frame.values.tolist() == e.values.tolist()
    assert frame.std_error.tolist() == e.std_error.tolist()
    assert float(e["c"]) == pytest.approx(spread(curve_matrix(of, X, "c"), np.ones(30)))
    assert e.values[[1, 3]].tolist() == [0.0, 0.0]


def test_what_acts_only_together_is_flat():
    X = np.array([[-1.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 2.0], [1.0, 1.0, 3.0]] * 5)
    e = wb.importance(lambda rows: 5 * rows[:, 0] * rows[:, 1] + rows[:, 2], X, method="pdp")
    assert e.values[:2].tolist() == [0.0, 0.0]
    assert e.values[2] == pytest.approx(np.std(X[:, 2]))


def test_curves_of_weighted_rows_are_ordered_by_it():
    X = np.array([[0.0, 0.0], [0.0, 3.0], [1.0, 0.0], [1.0, 3.0]] * 3)
    predict = lambda rows: rows[:, 0] * rows[:, 1] + 1.2 * rows[:, 1]
    for w, first in ((np.ones(12), 1), (np.tile([1.0, 30.0, 1.0, 30.0], 3), 0)):
        e = wb.importance(predict, X, method="pdp", sample_weight=w)
        curves = wb.effects(predict, X, kind="ice", sample_weight=w)
        assert int(e.values.argmax()) == first
        assert curves.ordered()[0] == list(curves)[first]


def test_several_outputs_have_values_errors_and_ranks_of_their_own():
    X, y = table(20)
    classes = np.array(["low", "middle", "high"])[np.digitize(y, [0, 2])]
    model = model_of(X, classes, RandomForestClassifier(4, max_depth=4, random_state=0))
    e = wb.importance(model, X, method="pdp")
    assert e.dims == ("feature", "output")
    assert e.output_names == tuple(model.classes_)
    curves = curve_matrix(model.predict_proba, X, "a")
    np.testing.assert_allclose(e.values[0], spread(curves, np.ones(20)), atol=1e-12)
    np.testing.assert_allclose(e.std_error[0], jackknife(curves), rtol=0.2)
    assert (e.extras["rank"][1].argmin(axis=0) == e.values.argmax(axis=0)).all()
    one = wb.importance(model, X, method="pdp", output="middle")
    np.testing.assert_allclose(one.values, e.values[:, list(model.classes_).index("middle")], atol=1e-12)


def test_many_values_are_taken_at_quantiles_and_the_evidence_says_so():
    X = np.random.default_rng(2).normal(size=(400, 2))
    model = LinearRegression().fit(X, X @ [3.0, 1.0])
    e = wb.importance(model, X, method="pdp", scale="response")
    assert not e.evidence.exact
    assert any("100 quantiles" in note for note in e.evidence.notes)
    np.testing.assert_allclose(e.values, np.array([3.0, 1.0]) * X.std(axis=0), rtol=0.01)
    of_a_deviation = e.values / np.sqrt(2 * 400)  # of normal values
    np.testing.assert_allclose(e.std_error, of_a_deviation, rtol=0.15)


def test_what_it_does_not_take_is_refused_before_any_work():
    X = np.zeros((10, 2))

    def evaluated(rows):
        raise AssertionError

    with pytest.raises(OptionError, match="does not take 'players'"):
        wb.importance(evaluated, X, method="pdp", players={"both": [0, 1]})
    with pytest.raises(OptionError, match="does not use y"):
        wb.importance(evaluated, X, np.zeros(10), method="pdp")
    with pytest.raises(OptionError, match="pass X"):
        wb.importance(evaluated, method="pdp")
    with pytest.raises(LimitError, match="rows or fewer"):
        wb.importance(evaluated, np.zeros((60_000, 60)), method="pdp")


def test_the_plan_is_what_is_spent():
    X = np.random.default_rng(4).normal(size=(50, 2)).round(1)
    predict = lambda rows: rows[:, 0] ** 2
    plan = wb.plan(wb.importance, predict, X, method="pdp")
    e = wb.importance(predict, X, method="pdp", spot_checks=0)
    assert plan.method_id == e.method_id == "importance.pdp"
    assert e.evidence.model_calls <= plan.model_calls + plan.model_calls // 50 + 200
