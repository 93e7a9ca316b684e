"""The answer about a row depends on that row alone, today as when a curve was made; and what an explanation holds does not change with the user's table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVR

import whybox as wb
from whybox.errors import DtypeError, InputError, ModelMismatchError, OptionError, UnsupportedModelError

N = 400


def numbers(gaps=0.02, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 3))
    y = 3 * X[:, 0] + X[:, 1] - X[:, 2]
    X[rng.random(N) < gaps, 1] = np.nan
    return X, y


class OfTheBatch(TransformerMixin, BaseEstimator):
    """Fills, or scales, by what it sees in the batch."""

    def __init__(self, how="median"):
        self.how = how

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        X = np.array(X, dtype=float)
        if self.how == "median":
            return np.where(np.isnan(X), np.nanmedian(X, axis=0) if not np.isnan(X).all() else 0.0, X)
        if self.how == "mode":
            values, counts = np.unique(np.round(X[~np.isnan(X)]), return_counts=True)
            return np.where(np.isnan(X), values[counts.argmax()] if len(values) else -9.0, X)
        if self.how == "noise":
            return np.where(np.isnan(X), np.random.default_rng().normal(size=X.shape), X)
        return np.nan_to_num(X) - np.nanmean(X)

    def get_feature_names_out(self, names=None):
        return np.asarray(names, dtype=object)


@pytest.mark.parametrize("how", ["median", "mode", "noise", "mean"])
def test_a_step_that_looks_at_the_batch_is_found_though_two_rows_in_a_hundred_need_it(how):
    X, y = numbers()
    model = make_pipeline(
        make_column_transformer((OfTheBatch(how), [1]), remainder="passthrough"),
        RandomForestRegressor(5, random_state=0),
    ).fit(X, y)
    with pytest.raises(UnsupportedModelError, match="differently when other rows"):
        wb.explain(model, X)
    with pytest.raises(UnsupportedModelError, match="differently when other rows"):
        wb.explain(model, np.nan_to_num(X), X)  # the background
    with pytest.raises(UnsupportedModelError, match="differently when other rows"):
        wb.effects(model, X)
    asked = make_pipeline(make_column_transformer((OfTheBatch(how), [1]), remainder="passthrough"), SVR(C=100.0)).fit(
        X, y
    )
    with pytest.raises(UnsupportedModelError, match="depends on the rows beside it|evaluated again"):
        wb.effects(asked, X)


def test_steps_that_learn_in_fit_are_taken_with_gaps():
    from sklearn.impute import SimpleImputer

    X, y = numbers(0.1)
    for last in (RandomForestRegressor(5, random_state=0), LinearRegression()):
        model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), last).fit(X, y)
        curve = wb.effects(model, X, [1])[0]
        for g, v in enumerate(curve.grid[:3]):
            changed = X.copy()
            changed[:, 1] = v
            assert curve.values[g] == pytest.approx(model.predict(changed).mean())


def drifting():
    calls = []

    def model(rows):
        calls.append(1)
        return rows[:, 0] + (len(calls) > 8)

    return model


def of_chance():
    rng = np.random.default_rng()
    return lambda rows: rows[:, 0] + rng.normal(size=len(rows))


BAD = {
    "mean of the batch": (lambda: lambda rows: rows[:, 0] - rows[:, 0].mean(), "depends on the rows beside it"),
    "rank in the batch": (lambda: lambda rows: rows[:, 0].argsort().argsort() + 0.0, "depends on the rows beside it"),
    "the row before": (lambda: lambda rows: np.diff(rows[:, 0], prepend=0.0), "depends on the rows beside it"),
    "chance": (of_chance, "evaluated again"),
    "calls before": (drifting, "evaluated again"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_depends_on_more_than_the_row_is_refused(name):
    made, message = BAD[name]
    X = numbers(0.0)[0]
    for ask in (
        lambda f: wb.effects(f, X, [0]),
        lambda f: wb.effects(f, X, [0], "ale"),
        lambda f: wb.effects(f, X[:30], [0, 1], "ice"),
        lambda f: wb.regions(f, X, 0),
        lambda f: wb.interactions(f, X[:40]),
    ):
        with pytest.raises(UnsupportedModelError, match=message):
            ask(made())


def test_a_model_that_takes_no_row_alone_is_refused():
    def model(rows):
        if len(rows) == 1:
            raise ValueError("two rows at least")
        return rows[:, 0]

    with pytest.raises(InputError, match="but not alone"):
        wb.effects(model, numbers(0.0)[0], [0])


def test_rounding_of_single_precision_is_no_dependence():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 256)).astype(np.float32), rng.normal(size=(256, 1)).astype(np.float32)

    def model(rows):
        return (np.tanh(rows.astype(np.float32) @ weights[0]) @ weights[1])[:, 0]

    curve = wb.effects(model, numbers(0.0)[0], [0])[0]
    assert curve.evidence.exact
    assert "24 rows evaluated among others, in halves, alone and again" in curve.evidence.verdict["against"]


@pytest.mark.parametrize("kind", ["pdp", "ice", "c-ice", "anova", "marginal"])
def test_at_of_a_loop_over_folds_refuses_the_other_model(kind):
    X, y = numbers(0.0)
    curves = []
    for fold in range(3):
        model = LinearRegression().fit(X[fold::3], y[fold::3] * (fold + 1))
        curves.append(wb.effects(lambda rows: model.predict(rows), X, [0], kind)[0])  # noqa: B023, PLW0108  # a name that is looked up when it is called
    for curve in curves[:2]:
        with pytest.raises(ModelMismatchError, match="outputs have changed since this curve was computed"):
            curve.at([1.0])
    assert curves[2].at([1.0]).shape[-1] == 1


def test_at_of_a_model_that_was_fitted_again_is_refused(tmp_path):
    X, y = numbers(0.0)
    for last in (LinearRegression(), RandomForestRegressor(5, random_state=0)):
        model = make_pipeline(StandardScaler(), last).fit(X, y)
        curve = wb.effects(model, X, [0])[0]
        before = curve.at([1.0])
        assert curve.at([1.0]) == before
        model.fit(3 * X + 1, -y)
        with pytest.raises(ModelMismatchError, match="fitted again"):
            curve.at([1.0])
        curve.save(
            tmp_path / "curve.whybox"
        )  # what is known stays known, and its steps are not those of the other model
        loaded = wb.load(tmp_path / "curve.whybox")
        assert np.array_equal(loaded.values, curve.values)
        with pytest.raises(OptionError, match="saved"):
            loaded.at([1.0])


def change(X):
    """What a user may do to a table afterwards."""
    if isinstance(X, np.ndarray):
        X[:] = 77.0
    elif isinstance(X, pl.DataFrame):
        X[0, "b"] = 77.0
        X.replace_column(2, pl.Series("c", np.full(N, 77.0)))
        X.insert_column(0, pl.Series("new", np.zeros(N)))
    else:
        X.iloc[:, 1] = 77.0
        X.loc[:, "c"] = 77.0
        X["a"] *= 77.0
        X.insert(0, "new", 0.0)
        del X["b"]


def test_sparse_rows_are_cells_too():
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(0)
    dense = rng.integers(0, 4, (N, 4)) * (rng.random((N, 4)) < 0.5) * 1.0
    y = dense @ np.arange(1.0, 5.0)
    sparse = csr_matrix(dense)
    forest = RandomForestRegressor(5, random_state=0).fit(dense, y)
    linear = LinearRegression().fit(dense, y)
    explained = wb.explain(forest, sparse)
    curves = [wb.effects(model, sparse, [0], kind)[0] for model in (forest, linear) for kind in ("pdp", "ale", "ice")]
    sparse.data[:] = 77.0  # what happens to the user's matrix later does not matter
    assert np.array_equal(explained.data.native.toarray(), dense)
    right = [wb.effects(model, dense, [0], kind)[0] for model in (forest, linear) for kind in ("pdp", "ale", "ice")]
    for ours, theirs in zip(curves, right, strict=True):
        assert ours.values == pytest.approx(theirs.values)
        assert ours.at([1.0, 2.5]) == pytest.approx(theirs.at([1.0, 2.5]))


TABLES = {
    "numpy": lambda X: X.copy(),
    "numpy, column-major": np.asfortranarray,
    "numpy objects": lambda X: X.astype(object),
    "pandas": lambda X: pd.DataFrame(X.copy(), columns=list("abc")),
    "pandas, a column each": lambda X: pd.DataFrame({n: X[:, i].copy() for i, n in enumerate("abc")}),
    "polars": lambda X: pl.DataFrame(X, schema=list("abc")),
}


@pytest.mark.parametrize("table", TABLES)
def test_nothing_changes_with_the_table_that_was_given(table):
    values, y = numbers(0.0)
    X = TABLES[table](values.copy())
    forest = RandomForestRegressor(5, random_state=0).fit(
        values if table.startswith("numpy") else pd.DataFrame(values, columns=list("abc")), y
    )
    explained = wb.explain(forest, X, X[:50])
    explainer = wb.explainers.TreeShap(forest, X)
    first = explainer(X[:5]).values
    asked = (lambda rows: (rows[:, 0] * rows[:, 1]).astype(float)) if table.startswith("numpy") else (lambda rows: np.asarray(rows["a"] * rows["b"]))  # fmt: skip
    curves = [wb.effects(asked, X, [0], kind)[0] for kind in ("pdp", "ice")]
    rows = X[:5].copy() if isinstance(X, (np.ndarray, pd.DataFrame)) else X[:5].clone()
    change(X)
    data = explained.data.native
    assert np.array_equal(np.asarray(data if isinstance(data, np.ndarray) else data.to_numpy(), dtype=float), values)
    assert np.array_equal(explainer(rows).values, first)
    assert curves[0].at([2.0]) == pytest.approx(2.0 * values[:, 1].mean())
    assert curves[1].at([2.0])[:, 0] == pytest.approx(2.0 * values[:, 1])
    kept = curves[1].data.native
    assert np.array_equal(np.asarray(kept if isinstance(kept, np.ndarray) else kept.to_numpy(), dtype=float), values)


def test_a_model_that_writes_to_what_it_is_given_leaves_the_users_table_alone():
    values, y = numbers(0.0)
    X = values.copy()
    model = make_pipeline(StandardScaler(copy=False), RandomForestRegressor(5, random_state=0)).fit(values.copy(), y)
    explained = wb.explain(model, X)
    assert np.array_equal(X, values)
    assert np.array_equal(explained.data.native, values)

    def doubling(rows):
        rows[:, 0] *= 2
        return rows[:, 0].copy()

    assert wb.effects(doubling, X, [0])[0].at([3.0]) == pytest.approx([6.0])
    assert np.array_equal(X, values)
    frame = pd.DataFrame(values, columns=list("abc"))

    def filling(rows):
        rows["a"] = rows["a"] * 2
        return rows["a"].to_numpy()

    assert wb.effects(filling, frame, ["a"])["a"].at([3.0]) == pytest.approx([6.0])
    assert np.array_equal(frame.to_numpy(), values)


def test_data_of_a_network_are_a_snapshot():
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 1).eval()
    x = numbers(0.0)[0][:4].astype(np.float32)
    for given in (x.copy(), torch.tensor(x)):
        e = wb.saliency(net, given, target=0)
        given[:] = 0
        assert np.array_equal(np.asarray(e.data.native, dtype=np.float32), x)


def test_none_can_be_the_most_frequent_value_that_an_imputer_fills_with():
    from sklearn.impute import SimpleImputer

    rng = np.random.default_rng(0)
    word, x = rng.choice(np.array(["a", None, None], dtype=object), N), rng.normal(size=N)
    for X, column in (
        (pd.DataFrame({"c": pd.Series(word, dtype=object), "x": x}), "c"),
        (np.column_stack([word, x]), 0),
    ):
        steps = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
        columns = make_column_transformer((steps, [column]), remainder="passthrough")
        model = make_pipeline(columns, RandomForestRegressor(5, random_state=0)).fit(X, x + (word == "a"))
        e = wb.explain(model, X)
        assert e.values.sum(axis=1) + e.base == pytest.approx(model.predict(X))


def test_what_holds_no_numbers_says_so_in_one_sentence():
    X, y = numbers(0.0)
    model = RandomForestRegressor(5, random_state=0).fit(X, y)
    lists = pa.table({"a": [[1.0, 2.0]] * 3, "b": [1.0, 2.0, 3.0], "c": [1.0, 2.0, 3.0]})
    for rows in (lists, lists.to_pandas(), pl.from_arrow(lists)):
        with pytest.raises(DtypeError, match="'a' holds lists or arrays"):
            wb.explain(model, rows)
    with pytest.raises(DtypeError, match="complex128"):
        wb.explain(model, X * 1j)
    with pytest.raises(DtypeError, match="complex numbers"):
        wb.effects(lambda rows: rows[:, 0] * 1j, X)
    assert wb.effects(lambda rows: np.array([float(type(v) is int) for v in rows[:, 0]]), [[1, "a"], [2, "b"]])[
        0
    ].values.tolist() == [1.0, 1.0]


def test_columns_and_chunks_without_a_value():
    X, y = numbers(0.0)
    model = RandomForestRegressor(5, random_state=0).fit(X, y)
    for rows in (
        pd.DataFrame({"a": X[:, 0], "b": [None] * N}),
        pl.DataFrame({"a": X[:, 0], "b": [None] * N}),
        pa.table({"a": X[:, 0], "b": pa.nulls(N)}),
    ):
        curves = wb.effects(lambda t: np.asarray(t["a"], dtype=float) + len(t["b"]) * 0, rows)
        assert curves["b"].values == pytest.approx([X[:, 0].mean()])
    empty = pa.table(
        {
            n: pa.chunked_array([pa.array([], pa.float64()), pa.array(X[:, i]), pa.array([], pa.float64())])
            for i, n in enumerate("abc")
        }
    )
    assert np.array_equal(wb.explain(model, empty).values, wb.explain(model, X).values)
    words = pa.array(["b", "a"] * (N // 2)).dictionary_encode()
    chunks = pa.chunked_array([words[:0], words, words[:0]])
    told = lambda t: np.array([float(v == "a") for v in t["w"].to_pylist()])
    curve = wb.effects(told, pa.table({"w": chunks, "x": X[:, 0]}), ["w"])["w"]
    assert curve.at(["a", "b"]) == pytest.approx([1.0, 0.0])


def test_the_clock_changes_no_bit(monkeypatch):
    """How long work takes decides how much is done at a time, and that must not decide in which order numbers are added."""
    values, y = numbers(0.0)
    forest = RandomForestRegressor(12, random_state=0).fit(values, y)
    answers = []
    for seconds in (1e-9, 10.0):
        monkeypatch.setattr("whybox.core.progress.SECONDS_PER_CALL", seconds)
        e = wb.explainers.TreeShap(forest, values, spot_checks=0)(values[:5])
        assert e.evidence.kernel == "pair walk"
        answers.append(e.values.tobytes())
    assert answers[0] == answers[1]
