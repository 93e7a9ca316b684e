from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import whybox as wb
from whybox.data.cells import object_cells
from whybox.data.table import as_table
from whybox.errors import ColumnsError, DtypeError, NonFiniteError, UnsupportedModelError
from whybox.models.inputs import Inputs, NumberEncoder

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(80, 3)), columns=["a", "b", "c"])
MODEL = RandomForestRegressor(5, random_state=0).fit(X, X.a + X.b * X.c)


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (X.drop(columns="b"), ColumnsError, "lacks column 'b'"),
        (X[["a"]], ColumnsError, "lacks 2 columns 'b', 'c'"),
        (X.to_numpy()[:, :2], ColumnsError, "has 2 columns, the model was trained on 3"),
        (X.assign(b="word"), DtypeError, "column 'b' holds text"),
        (X.assign(b=np.inf), NonFiniteError, "column 'b' holds an infinite value"),
        (X.assign(b=1e300), NonFiniteError, "too large for float32"),
        (X[:0], wb.errors.EmptyDataError, "no rows"),
        (X.iloc[0], wb.errors.InputError, r"X\[\[0\]\]"),
        (X.assign(b=pd.Timestamp("2026-01-01")), DtypeError, "dates"),
    ],
    ids=lambda v: "",
)
def test_bad_rows_are_refused_before_any_work(rows, error, words):
    with pytest.raises(error, match=words):
        wb.explain(MODEL, rows)
    with pytest.raises(error, match=words.replace("X", ".*")):
        wb.explain(MODEL, X, rows)


def test_missing_values_where_the_library_refuses_them():
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(n_estimators=3).fit(X, X.a)
    with pytest.raises(NonFiniteError, match=r"column 'c' has a missing value \(row 4\)"):
        wb.explain(model, X.assign(c=X.c.where(X.index != 4)))


def test_names_with_html_commas_and_newlines():
    odd = X.rename(columns={"a": "<script>alert(1)</script>", "b": "x, y", "c": "two\nlines"})
    model = RandomForestRegressor(3, random_state=0).fit(odd, X.a)
    got = wb.explain(model, odd[:4])
    assert got.feature_names == tuple(odd.columns)
    html = got._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert got.to_frame().shape == (4, 5)


class Mixer(BaseEstimator, TransformerMixin):
    """A transformer of the user's own, unknown to whybox: what it makes its columns of is found by trial."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        X = np.asarray(X)
        return np.column_stack([X[:, 0] + X[:, 1], X[:, 2]])

    def get_feature_names_out(self, names=None):
        return np.array(["m", "n"])


class Centred(Mixer):
    """Depends on the other rows it is given."""

    def transform(self, X):
        return np.asarray(X) - np.asarray(X).mean(axis=0)

    def get_feature_names_out(self, names=None):
        return np.array(["a", "b", "c"])


def test_unknown_transformers_make_one_player_of_what_they_mix():
    from sklearn.compose import ColumnTransformer

    rows = X.assign(d=RNG.normal(size=80))
    step = ColumnTransformer([("m", Mixer(), ["a", "b", "c"])], remainder="passthrough")
    model = make_pipeline(step, RandomForestRegressor(5, random_state=0)).fit(rows, rows.a * rows.b + rows.d)
    got = wb.explain(model, rows[:10], rows[20:40])
    assert got.feature_names == ("a + b", "c", "d")
    assert got.players["a + b"] == ("a", "b")
    few = wb.explain(model, rows[:1], rows[20:22])
    assert few.feature_names == got.feature_names
    assert got.evidence.residual < 1e-12


def known(name, transform):
    """A transformer that passes for one of scikit-learn's own."""
    return type(name, (Mixer,), {"__module__": "sklearn.fake", "transform": lambda _, v: transform(np.asarray(v))})()


@pytest.mark.parametrize("rare", [False, True])
def test_a_transformer_that_lies_is_found_out(rare):
    def swap(v):
        return np.where(v[:, [0]] > np.sort(X.a)[-20], v[:, ::-1], v) if rare else v[:, ::-1]

    step = known("StandardScaler", swap)
    rows = X.sort_values("a")
    model = make_pipeline(step, RandomForestRegressor(5, random_state=0)).fit(rows, rows.a)
    with pytest.raises(UnsupportedModelError, match="should come from no others"):
        wb.explain(model, rows)
    with pytest.raises(UnsupportedModelError, match="should come from no others"):
        wb.explain(model, rows[:1], rows)


def test_a_function_whose_names_stay_may_still_mix_columns():
    from sklearn.compose import ColumnTransformer

    step = ColumnTransformer(
        [
            ("mix", FunctionTransformer(lambda v: v - v.mean(axis=1, keepdims=True), feature_names_out="one-to-one"), [0, 1]),
            ("abs", FunctionTransformer(np.abs, feature_names_out="one-to-one"), [2, 3]),
        ]
    )  # fmt: skip
    rows = RNG.normal(size=(80, 4))
    model = make_pipeline(step, RandomForestRegressor(5, random_state=0)).fit(rows, rows[:, 0] + rows[:, 3])
    assert wb.explain(model, rows[:9], rows[20:40]).feature_names == ("x0 + x1", "x2", "x3")


def test_confirming_many_columns_costs_few_transforms():
    calls = []

    def count(v):
        calls.append(len(v))
        return v

    wide = RNG.normal(size=(60, 200))
    step = known("StandardScaler", count)
    model = make_pipeline(step, RandomForestRegressor(2, random_state=0)).fit(wide, wide[:, 0])
    wb.explain(model, wide)
    assert len(calls) < 40  # not one a column


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_single_row_is_confirmed_beside_a_moved_copy(as_frame):
    rows = X if as_frame else X.to_numpy()
    model = make_pipeline(known("StandardScaler", lambda v: v - v.mean(axis=0)), RandomForestRegressor(2)).fit(
        rows, X.a
    )
    with pytest.raises(UnsupportedModelError, match="other rows"):
        wb.explain(model, rows[:1])


def test_a_single_row_that_cannot_be_moved_is_explained():
    from sklearn.preprocessing import OneHotEncoder

    words = pd.DataFrame({"a": list("xyz") * 20, "b": list("xxyy") * 15, "n": [1, 2, 3, 4] * 15})
    model = make_pipeline(OneHotEncoder(), RandomForestRegressor(2, random_state=0)).fit(words, words.n)
    assert wb.explain(model, words[:1]).feature_names == ("a", "b", "n")


@pytest.mark.filterwarnings("ignore:Skipping features")
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("strategy", ["constant", "mean"])
def test_imputers_that_drop_empty_columns(strategy, keep):
    from sklearn.impute import SimpleImputer

    rows = X.assign(b=np.nan)
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=keep)
    model = make_pipeline(imputer, RandomForestRegressor(5, random_state=0)).fit(rows, X.a + X.c)
    got = wb.explain(model, rows[:9], rows[20:40])
    assert not got.values[:, 1].any()
    assert np.abs(got.values[:, 2]).max() > 0


def test_weights_whose_sum_overflows():
    got = wb.explain(MODEL, X[:3], X[:50], background_weight=np.full(50, 1e307))
    assert np.allclose(got.values, wb.explain(MODEL, X[:3], X[:50]).values)


def test_a_number_too_large_for_a_float():
    rows = X[:3].astype(object)
    rows.iloc[1, 1] = 10**400
    with pytest.raises(DtypeError, match="'b' holds a whole number that is too large"):
        wb.explain(MODEL, rows)


def test_a_transformer_that_looks_at_other_rows_is_refused():
    from sklearn.compose import ColumnTransformer

    step = ColumnTransformer([("z", Centred(), ["a", "b"])], remainder="passthrough")
    step_names = lambda self, names=None: np.array(["a", "b"])
    Centred.get_feature_names_out = step_names
    model = make_pipeline(step, RandomForestRegressor(5, random_state=0)).fit(X, X.a)
    with pytest.raises(UnsupportedModelError, match="other rows"):
        wb.explain(model, X)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_frame_libraries_give_the_same_numbers(library):
    import polars as pl
    import pyarrow as pa

    import zoo

    for name in (
        "LGBMRegressor, categories",
        "RandomForestRegressor",
        "CatBoostRegressor, categories, one-hot",
        "Pipeline, one-hot and ordinal",
        "XGBRegressor, missing values",
    ):
        model, rows = zoo.built(name)
        other = (
            pl.from_pandas(rows[:20]) if library == "polars" else pa.Table.from_pandas(rows[:20], preserve_index=False)
        )
        if "Pipeline" in name and library == "pyarrow":
            continue  # scikit-learn's ColumnTransformer itself does not read pyarrow tables
        got = wb.explain(model, other)
        assert np.array_equal(got.values, wb.explain(model, rows[:20]).values)
        assert type(got.to_frame()).__module__.startswith(library)


def test_category_names_that_xgboost_damaged_are_named_as_the_cause():
    from whybox.adapters.xgboost.category_names import DamagedNamesEncoder

    names = ("Bern", "Köln", "Paris")
    stored = ("Bern", "Köl", "nPari")  # what XGBoost before 3.4 keeps of them
    encoder = NumberEncoder("XGBoost", categories={0: stored}, unseen_code=None)
    train = pd.DataFrame({"city": pd.Categorical(["Paris", "Köln", None], categories=names)})
    assert np.array_equal(DamagedNamesEncoder(encoder)(as_table(train))[:, 0], [2, 1, np.nan], equal_nan=True)
    assert DamagedNamesEncoder(encoder)(as_table(pd.DataFrame({"city": ["Bern", None]})))[0, 0] == 0
    for other in (["Paris"], pd.Categorical(["Köln"]), ["nPari"]):
        with pytest.raises(
            DtypeError, match=r"XGBoost before 3\.4 damages .*Pass a frame .*3\.4 or newer, or with ASCII"
        ):
            DamagedNamesEncoder(encoder)(as_table(pd.DataFrame({"city": other})))
    whole = DamagedNamesEncoder(
        NumberEncoder("XGBoost", categories={0: names}, unseen_code=None), names_are_cut_right=True
    )
    assert whole(as_table(pd.DataFrame({"city": ["Paris", "Köln"]})))[:, 0].tolist() == [2, 1]


def test_a_bad_background_row_is_said_to_be_one():
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(n_estimators=3).fit(X, X.a)
    holed = X.assign(c=X.c.where(np.arange(80) != 70))
    with pytest.raises(NonFiniteError, match=r"the background: column 'c' has a missing value \(row 70\)"):
        wb.explain(model, X, background=holed)


@pytest.mark.parametrize(
    "names",
    [
        list("ÄÅÖ"),
        list("ßéЖ"),
        ["ÄÄ", "ÅÅ", "ÖÖ", "ÜÜ"],
        ["a", "ÄÅ", "ÖÜ", "é", "è", "ê"],
        list("日本語文字"),
        ["a", "Ä", "b"],
    ],
    ids="".join,
)
def test_names_that_leave_the_same_pieces_are_refused_by_that_reason(names, tmp_path):
    """XGBoost before 3.4 predicts one category for another then; where it cuts right, nothing is refused."""
    import xgboost as xgb

    from whybox.models.registry import as_model

    rng = np.random.default_rng(0)
    at = rng.integers(0, len(names), 300)
    rows = pd.DataFrame({"c": pd.Categorical.from_codes(at, categories=names), "x": rng.normal(size=300)})
    model = xgb.XGBRegressor(n_estimators=9, enable_categorical=True, max_depth=4, learning_rate=0.7, n_jobs=1)
    model.fit(rows, 10.0 * at + rows.x)
    model.save_model(tmp_path / "m.json")
    each = pd.DataFrame({"c": pd.Categorical.from_codes(range(len(names)), categories=names), "x": 0.0})
    codes = xgb.DMatrix(
        np.column_stack([np.arange(len(names)), np.zeros(len(names))]),
        feature_types=["c", "q"],
        feature_names=["c", "x"],
        enable_categorical=True,
    )
    learnt, own = model.get_booster().predict(codes), model.predict(each)
    readings = [as_model(model), as_model(tmp_path / "m.json")]
    for i in range(len(names)):
        for given in readings:
            if learnt[i] == own[i]:
                assert wb.explain(given, each[i : i + 1]).prediction[0] == pytest.approx(learnt[i], abs=1e-4)
            else:
                with pytest.raises(DtypeError, match=r"XGBoost before 3\.4 damages .*takes one category for another"):
                    wb.explain(given, each[i : i + 1])
    if (learnt != own).any():
        with pytest.raises(DtypeError, match=r"XGBoost before 3\.4 damages"):
            wb.effects(model, rows[:50], "c")


def tables_to_mix():
    n = 7
    frame = pd.DataFrame(
        {
            "whole": np.arange(n),
            "real": [0.0, -0.0, np.nan, 1.5, 2.5, 3.5, 4.5],
            "text": ["a", None, "b", "c", "d", "e", "f"],
            "kind": pd.Categorical(list("xyzxyzx"), categories=list("zyxw")),
            "day": pd.date_range("2024-03-01", periods=n, freq="37h", tz="Europe/Berlin"),
        },
        index=list("ABCDEFG"),
    )
    numbers = np.arange(n * 5.0).reshape(n, 5)
    return {
        "pandas": frame,
        "numbers in pandas": pd.DataFrame(numbers),
        "polars": pl.from_pandas(frame.drop(columns="kind").assign(more=1)),
        "polars with categories": pl.from_pandas(frame),  # is mixed a round at a time
        "pyarrow": pa.Table.from_pandas(frame.drop(columns="kind").assign(more=1), preserve_index=False),
        "array": numbers,
        "objects": frame.to_numpy(),
        "sparse": csr_matrix(numbers * (numbers % 3 > 0)),
    }


@pytest.mark.parametrize("kind", tables_to_mix())
def test_rounds_mixed_in_one_table_are_those_mixed_one_by_one(kind, monkeypatch):
    rows, players = as_table(tables_to_mix()[kind]), ((0,), (1, 3), (2,), (4,))
    found = []
    for _ in range(2):
        mixtures = list(Inputs._mixtures(rows, players))
        cells = [
            np.concatenate([object_cells(table, p) for table, _, _ in mixtures]).tolist() for p in range(rows.width)
        ]
        found.append((cells, *(np.concatenate([m[i] for m in mixtures]) for i in (1, 2))))
        assert len(mixtures) == (1 if kind != "polars with categories" and len(found) == 1 else 10)
        monkeypatch.setattr("whybox.models.inputs.mix_cells", lambda *_: None)
    together, alone = found
    assert repr(together[0]) == repr(alone[0])  # NaN and None too
    np.testing.assert_array_equal(together[1], alone[1])
    np.testing.assert_array_equal(together[2], alone[2])
    assert 0 < together[2].mean() < 1
