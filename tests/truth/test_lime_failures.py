"""What fails in lime 0.2.0.1, or goes wrong in silence: strings, missing values, frames, batches, labels, cells that the background never has, far rows."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

import whybox as wb
from whybox.errors import InputError

RNG = np.random.default_rng(0)
N = 300
PEOPLE = pd.DataFrame(
    {
        "age": RNG.integers(18, 80, N).astype(float),
        "city": RNG.choice(["Rome", "Oslo", "Bern"], N, p=[0.5, 0.3, 0.2]),
        "smoker": RNG.random(N) < 0.3,
        "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.integers(0, 2000, N), "D"),
        "bmi": np.where(RNG.random(N) < 0.2, np.nan, RNG.normal(25, 4, N)),
    },
    index=[f"person {i}" for i in range(N)],
)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def risk(table):
    """A sum of one function of each column: its local values are known."""
    t = table if isinstance(table, pd.DataFrame) else table.to_pandas()
    city, bmi = t["city"].to_numpy(), t["bmi"].to_numpy(dtype=float)
    return 2.0 * (city == "Rome") + 1.5 * t["smoker"].to_numpy(dtype=bool) - 3.0 * np.isnan(bmi)


def share(name, value):
    column = PEOPLE[name]
    return float(column.isna().mean() if value is None else (column == value).mean())


def test_strings_booleans_dates_and_missing_values_are_explained_as_they_are():
    rows = PEOPLE[:6]
    e = wb.lime(risk, rows, PEOPLE, max_evals=3_000)
    assert e.coords["row"].tolist() == list(rows.index)
    for i, row in enumerate(rows.itertuples()):
        conditions = dict(zip(e.feature_names, e.extras["condition"][1][i], strict=True))
        assert conditions["city"] == f"city = {row.city}"
        assert conditions["smoker"] == f"smoker = {row.smoker}"
        rome = 2.0 if row.city == "Rome" else -2.0 * share("city", "Rome") / (1 - share("city", row.city))
        assert e[i, "city"].values == pytest.approx(rome, abs=1e-9)
        assert e[i, "smoker"].values == pytest.approx(1.5 if row.smoker else -1.5, abs=1e-9)
        missing = np.isnan(row.bmi)
        assert (conditions["bmi"] == "bmi missing") == missing
        other = 1 - e[i, "bmi"].extras["share"][1]
        assert e[i, "bmi"].values == pytest.approx(-3.0 if missing else 3.0 * share("bmi", None) / other, abs=1e-9)
        assert e[i, "age"].values == pytest.approx(0, abs=1e-9)
        assert any(sign in conditions["since"] for sign in ("<", ">"))
        assert "202" in conditions["since"]  # written as a date


def test_every_kind_of_table_has_the_same_values():
    rows = PEOPLE.reset_index(drop=True)
    ours = wb.lime(risk, rows[:4], rows, max_evals=3_000)
    for kind in (pl.from_pandas, pa.Table.from_pandas):
        table = kind(rows)
        theirs = wb.lime(risk, table[:4], table, max_evals=3_000)
        np.testing.assert_array_equal(theirs.values, ours.values)
        assert theirs.extras["condition"][1].tolist() == ours.extras["condition"][1].tolist()


def pipeline(**options):
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    return make_pipeline(encoder, RandomForestRegressor(10, max_depth=5, random_state=0, **options))


def test_a_pipeline_is_explained_in_the_columns_of_its_rows_and_exactly():
    table = PEOPLE.drop(columns="since")
    model = pipeline().fit(table, risk(PEOPLE))
    e = wb.lime(model, table[:5], table)
    assert e.evidence.exact
    assert e.feature_names == ("age", "city", "smoker", "bmi")
    sampled = wb.lime(model, table[:5], table, method="sampled", max_evals=20_000, tol=1e-9, seed=1)
    assert np.abs(e.values - sampled.values).max() < 5 * sampled.std_error.max()


def test_many_rows_in_one_call_are_those_of_single_calls():
    X, y = load_wine(return_X_y=True)
    model = RandomForestClassifier(10, random_state=0).fit(X, y)
    explain = wb.explainers.Lime(model, X)
    together = explain(X[:30])
    for i in (0, 7, 29):
        np.testing.assert_allclose(explain(X[[i]]).values[0], together.values[i], rtol=1e-12, atol=1e-15)


def test_a_function_of_one_column_or_one_dimension_is_taken():
    X, y = load_iris(return_X_y=True)
    model = RandomForestRegressor(5, random_state=0).fit(X, y)

    def function(A):
        return model.predict(A)

    flat = wb.lime(function, X[:3], X, max_evals=2_000)
    column = wb.lime(lambda A: function(A)[:, None], X[:3], X, max_evals=2_000)
    np.testing.assert_array_equal(flat.values, column.values)
    assert flat.dims == ("row", "feature")


def test_every_class_has_its_own_numbers_and_its_own_fit():
    """In lime, class 1 is looked up where it was not explained, and score and local prediction are those of the last label."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = load_iris().target_names[y]
    model = RandomForestClassifier(10, random_state=0).fit(X, names)
    rows = X[::30]
    e = wb.lime(model, rows, X)
    assert e.output_names == ("setosa", "versicolor", "virginica")
    np.testing.assert_allclose(e.values.sum(axis=2), 0, atol=1e-12)
    for name in ("r_squared", "local_prediction", "gap", "intercept"):
        dims, array = e.extras[name]
        assert dims == ("row", "output")
        assert len(np.unique(array[0].round(12))) > 1
    np.testing.assert_allclose(e.prediction, model.predict_proba(rows), atol=1e-12)
    one = wb.lime(model, rows, X, output="virginica")
    np.testing.assert_allclose(one.values, e.sel(output="virginica").values, rtol=1e-12, atol=1e-15)
    assert set(one.extras["label"][1]) == {"virginica"}
    top = wb.lime(model, rows, X, output="predicted")
    assert top.extras["label"][1].tolist() == model.predict(rows).tolist()
    for i, label in enumerate(model.predict(rows)):
        np.testing.assert_allclose(top.values[i], e.sel(output=label).values[i], rtol=1e-12, atol=1e-15)


def test_the_two_classes_of_a_binary_model_are_each_others_negative():
    X, y = load_iris(return_X_y=True, as_frame=True)
    labels = np.where(y == 1, "yes", "no")
    model = RandomForestClassifier(10, random_state=0).fit(X, labels)
    both = [wb.lime(model, X[:5], X, output=label) for label in ("no", "yes")]
    np.testing.assert_array_equal(both[0].values, -both[1].values)
    np.testing.assert_allclose(both[0].prediction + both[1].prediction, 1, atol=1e-12)
    boosted = HistGradientBoostingClassifier(max_iter=5).fit(X, labels)
    margins = [wb.lime(boosted, X[:5], X, output=label) for label in ("no", "yes")]
    np.testing.assert_array_equal(margins[0].values, -margins[1].values)


def test_the_seed_alone_decides_and_neither_order_nor_earlier_calls():
    explain = wb.explainers.Lime(risk_with_pairs, PEOPLE, max_evals=3_000)
    first, again = explain(PEOPLE[:3]), explain(PEOPLE[:3])
    np.testing.assert_array_equal(first.values, again.values)
    np.random.default_rng().random()
    np.testing.assert_array_equal(wb.lime(risk_with_pairs, PEOPLE[:3], PEOPLE, max_evals=3_000).values, first.values)
    other = wb.lime(risk_with_pairs, PEOPLE[:3], PEOPLE, max_evals=3_000, seed=1)
    assert 0 < np.abs(other.values - first.values).max() < 6 * first.std_error.max()
    backwards = explain(PEOPLE[2::-1])
    np.testing.assert_allclose(backwards.values[::-1], first.values, rtol=1e-9, atol=1e-12)


def risk_with_pairs(table):
    return risk(table) + table["age"].to_numpy() * (table["city"].to_numpy() == "Oslo") / 40


def test_exact_values_need_no_seed():
    X, y = load_iris(return_X_y=True)
    model = RandomForestRegressor(10, random_state=0).fit(X, y)
    one, other = (wb.lime(model, X[:5], X, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(one.values, other.values)


# cells that the background never has: lime raises a KeyError, or, with codes, gives a number that rests on one sample (lime#635)

CODES = np.column_stack([RNG.choice([0.0, 1.0, 2.0], N), RNG.choice([0.0, 1.0], N, p=[0.7, 0.3])])


def by_the_law(predict, cell):
    """The mean output with the cell less that with cells of the background; the other column is drawn from the background and weighted towards the row."""
    values = [np.unique(column) for column in CODES.T]
    chance = [np.array([(column == v).mean() for v in vs]) for column, vs in zip(CODES.T, values, strict=True)]
    decay = np.exp(-0.5 / (0.75**2 * 2))
    weight = chance[1] * np.where(values[1] == 1.0, 1.0, decay)  # of a row with 1 in the second column
    weight /= weight.sum()
    own = predict(np.array([[cell, v] for v in values[1]])) @ weight
    other = predict(np.array(list(product(*values)))).reshape(3, 2) @ weight
    return own - chance[0] @ other


@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_a_code_that_the_background_never_has(method):
    model = RandomForestRegressor(5, random_state=0).fit(CODES, CODES[:, 0] * (1 + CODES[:, 1]))
    edges = {"x0": [0.5, 1.5], "x1": [0.5]}
    e = wb.lime(model, [[7.0, 1.0]], CODES, discretizer=edges, method=method, max_evals=4_000)
    assert e.values[0, 0] == pytest.approx(by_the_law(model.predict, 7.0), abs=1e-9 if method == "exact" else 0.05)
    assert e.extras["share"][1][0, 0] == 0
    assert e.extras["condition"][1][0, 0] == "x0 = 7 (the background has 0 to 2, and nothing like it)"
    assert any("like none of the background" in note for note in e.evidence.notes)


def test_a_word_that_the_background_never_has():
    words = pd.DataFrame({"city": np.array(["Rome", "Oslo", "Bern"])[CODES[:, 0].astype(int)], "old": CODES[:, 1]})
    encoder = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=7), ["city"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, RandomForestRegressor(5, random_state=0)).fit(words, CODES[:, 0] * (1 + CODES[:, 1]))

    def of_codes(codes):
        names = {0.0: "Rome", 1.0: "Oslo", 2.0: "Bern", 7.0: "Paris"}
        return model.predict(pd.DataFrame({"city": [names[c] for c in codes[:, 0]], "old": codes[:, 1]}))

    row = pd.DataFrame({"city": ["Paris"], "old": [1.0]})
    e = wb.lime(model, row, words, discretizer={"old": [0.5]})
    assert e.evidence.exact
    assert e.values[0, 0] == pytest.approx(by_the_law(of_codes, 7.0), abs=1e-9)
    assert e.extras["condition"][1][0, 0] == "city = Paris"
    assert any("'Paris'" in note for note in e.evidence.notes)


# rows far away: all weights are zero in lime, and so are the values (lime#391)


def test_a_far_row_is_refused_with_its_effective_size():
    X = RNG.normal(size=(N, 5))

    def function(A):
        return A @ [1.0, 2.0, 3.0, 4.0, 5.0]

    with pytest.raises(InputError, match=r"lies so far from the background that [\d,]+ draws count there as .*e-.*kernel_width.*quartile"):  # fmt: skip
        wb.lime(function, np.full((1, 5), 40.0), X, discretizer=None)
    e = wb.lime(function, np.full((1, 5), 40.0), X)  # beyond every bin: each cell is compared as it is
    np.testing.assert_allclose(e.values[0], (40 - X.mean(axis=0)) * [1, 2, 3, 4, 5], rtol=0.05)


def test_a_far_row_of_a_forest_has_its_exact_values():
    X = RNG.normal(size=(N, 3))
    model = RandomForestRegressor(5, random_state=0).fit(X, X[:, 0])
    e = wb.lime(model, np.full((1, 3), 40.0), X, discretizer=None)
    assert e.evidence.exact
    assert np.isfinite(e.values).all()
    assert e.extras["effective_size"][1][0] < 1e-6
    assert any("kernel is narrow" in note for note in e.evidence.notes)


@pytest.mark.parametrize("width", [0.1, 0.05])
def test_values_of_a_narrow_kernel_do_not_vanish(width):
    """In lime a penalty of 1 leaves nothing of them."""
    X = RNG.normal(size=(N, 6))
    e = wb.lime(lambda A: 3 * (A[:, 0] > 0) + A[:, 1], X[:3], X, kernel_width=width, max_evals=30_000)
    assert (np.abs(e.values[:, 0]) > 1.9).all()
    assert (e.std_error[:, 2:] < 0.05).all()
    penalized = wb.lime(lambda A: 3 * (A[:, 0] > 0) + A[:, 1], X[:3], X, kernel_width=width, max_evals=30_000, alpha=1)
    assert np.abs(penalized.values).max() < 1e-6 * np.abs(e.values).max()


def test_bins_of_few_different_values_are_no_error():
    """A column of which more than three quarters are one value has no quartiles of its own."""
    X = np.column_stack([np.where(RNG.random(N) < 0.9, 0.0, 5.0), RNG.normal(size=N), np.full(N, 3.0)])
    e = wb.lime(lambda A: A[:, 0], X[:40], X, max_evals=2_000)
    np.testing.assert_allclose(np.abs(e.values[:, 0]), 5, atol=1e-9)
    np.testing.assert_array_equal(e.values[:, 2], 0)


def test_conditions_of_near_edges_are_told_apart():
    """In lime every condition of a small number reads 0.00 < x <= 0.00 (lime#754)."""
    X = RNG.random((N, 1)) * 1e-5
    e = wb.lime(lambda A: A[:, 0] * 1e5, X, X, max_evals=20_000)
    assert len(set(e.extras["condition"][1][:, 0])) == 4
