"""Mistakes that no row shows as it is, only one that mixes two rows: the model's own predict is asked about such rows, so they are found."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import whybox as wb
from whybox.background.marginal import make_background
from whybox.data.table import as_table
from whybox.errors import ModelMismatchError, UnsupportedModelError
from whybox.kernels import tree_shap
from whybox.kernels.predict import compare_with_own_predict, raw_outputs, sample_encoded_rows
from whybox.models.inputs import Inputs
from whybox.models.mixed_rows import mix_cells, mix_rows, random_masks
from whybox.models.registry import as_model

TEN = range(10)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
Y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3] * (X[:, 4] > 0)
MIXED = "with .* of the background's row"


def seen(model, rows):
    """Whether a mistaken reading shows on rows as they are."""
    table = model.inputs.align_table(as_table(rows))[0]
    try:
        compare_with_own_predict(model, table, model.inputs.matrix(table), rows="rows", row="row")
    except ModelMismatchError:
        return True
    return False


def unseen(model, rows):
    """Positions of rows on which the mistake does not show."""
    table = model.inputs.align_table(as_table(rows))[0]
    read = model.outputs.link(raw_outputs(model, model.inputs.matrix(table)))
    return np.flatnonzero(np.abs(read - model.own_predict.predict(table)).max(axis=1) < 1e-6 * np.abs(read).max())


def share(model, rows, background):
    """On how many of many mixed rows the mistake shows: one that shows on fewer than a tenth is no test of 48."""
    here, there = (sample_encoded_rows(model, model.inputs.align_table(as_table(r))[0]) for r in (rows, background))
    players = model.inputs.group_columns()
    of_column = np.array([players.index(s) for s in model.inputs.source_columns])
    off = [
        np.abs(model.outputs.link(raw_outputs(model, some.matrix)) - model.own_predict.predict(some.table)).max(axis=1)
        > 1e-4
        for some in mix_rows(here, there, players, of_column, 400, np.random.default_rng(0))
    ]
    return np.concatenate(off).mean()


def pair(model, rows):
    """Two rows on which the mistake does not show, and on many mixtures of which it does; None where there are none."""
    rng = np.random.default_rng(0)
    table = model.inputs.align_table(as_table(rows))[0]
    shown = unseen(model, rows)
    if len(shown) < 2:
        return None
    i, j = (np.repeat(rng.choice(shown, 200), 8) for _ in range(2))
    taken = rng.random((1600, table.width)) < 0.5
    mixed = mix_cells(table.rows(i), table.rows(j), taken)
    off = np.ones(1600, dtype=bool)
    off[unseen(model, mixed.native)] = False
    best = off.reshape(200, 8).mean(axis=1).argmax()
    return table.rows(i[8 * best : 8 * best + 1]).native, table.rows(j[8 * best : 8 * best + 1]).native


def ten(plants):
    """Check the first ten of these (model, rows, background, words) that show on mixed rows alone."""
    planted = 0
    for model, rows, background, *words in plants:
        if not seen(model, rows) and not seen(model, background) and share(model, rows, background) > 0.1:
            check(model, rows, background, *words)
            planted += 1
        if planted == 10:
            return
    raise AssertionError(f"only {planted} could be planted")


def check(model, rows, background, message=MIXED):
    """A reading whose mistake shows on neither rows nor background is refused, with both numbers and the row."""
    assert not seen(model, rows)
    assert not seen(model, background)
    make_background(model, background)
    with pytest.raises(ModelMismatchError, match=message) as error:
        wb.explain(model, rows, background)
    assert "our reading of the model gives" in str(error.value)
    assert "where its own predict gives" in str(error.value)


# One leaf with a wrong value, which mixed rows alone reach: every library of trees.


def xgboost():
    return pytest.importorskip("xgboost").XGBRegressor(n_estimators=10, max_depth=4)


def lightgbm():
    return pytest.importorskip("lightgbm").LGBMRegressor(n_estimators=10, num_leaves=15, verbose=-1)


def catboost():
    library = pytest.importorskip("catboost")
    return library.CatBoostRegressor(iterations=10, depth=4, verbose=0, allow_writing_files=False)


def forest():
    return RandomForestRegressor(10, max_depth=5, random_state=0)


def boosting():
    return GradientBoostingRegressor(n_estimators=10, max_depth=4, random_state=0)


def hist():
    return HistGradientBoostingRegressor(max_iter=10, max_leaf_nodes=15)


@pytest.mark.parametrize("make", [xgboost, lightgbm, catboost, forest, boosting, hist])
@pytest.mark.parametrize("kind", ["array", "frame"])
def test_a_wrong_leaf_that_no_row_reaches(make, kind):
    model = make().fit(X, Y)
    e = as_model(model)
    assert e.verdict.mixed == 64
    table = (lambda a: pd.DataFrame(a, columns=list(e.inputs.names))) if kind == "frame" else np.asarray
    planted = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        rows, background = X[rng.integers(0, 600, 2)], X[rng.integers(0, 600, 3)]
        i, j = rng.integers(0, 2, 500), rng.integers(0, 3, 500)
        mixed = np.where(random_masks(500, 5, rng), background[j], rows[i])
        encoded = e.inputs.matrix(as_table(mixed))
        reached = tree_shap.leaf_indices(e, e.inputs.matrix(as_table(np.concatenate([rows, background]))))
        ends = tree_shap.leaf_indices(e, encoded)
        shares = [
            (np.mean(ends[:, t] == leaf), t, leaf)
            for t in range(e.n_trees)
            for leaf in np.setdiff1d(ends[:, t], reached[:, t])
        ]
        share, t, leaf = max(shares)
        if share < 0.12:
            continue
        wrong = e.leaf_values.copy()
        wrong[e.leaf[e.tree_offsets[t] + leaf]] += 1.0
        mistaken = replace(e, leaf_values=wrong)
        check(mistaken, table(rows), table(background))
        planted += 1
        if planted == len(TEN):
            break
    assert planted == len(TEN)


def test_a_wrong_weight_that_shows_on_no_row():
    library = pytest.importorskip("xgboost")
    wide = RNG.normal(size=(300, 12)).astype(np.float32).astype(float)
    e = as_model(library.XGBRegressor(booster="gblinear", n_estimators=5).fit(wide, wide @ np.arange(12)))
    assert e.verdict.mixed == 64
    for seed in TEN:
        rng = np.random.default_rng(seed)
        rows, background = wide[rng.integers(0, 300, 3)], wide[rng.integers(0, 300, 5)]
        _, _, across = np.linalg.svd(np.concatenate([rows, background]))
        check(replace(e, weights=e.weights + 5 * across[-1][:, None]), rows, background)


# Empty cells of sparse rows, read as something else.


def sparse_cells(rng, rows):
    dense = rng.choice([0.0, 1.0, 2.0], (rows, 4))
    stored = rng.random((rows, 4)) < 0.5
    i, j = np.nonzero(stored)
    return sparse.csr_matrix((dense[stored], (i, j)), shape=(rows, 4))


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_empty_cells_read_as_zero_or_as_missing(library):
    def plants():
        for seed in range(60):
            rng = np.random.default_rng(seed)
            rows = sparse_cells(rng, 400)
            full = np.where(
                sparse.csr_matrix((np.ones(rows.nnz), rows.indices, rows.indptr), rows.shape).toarray(),
                rows.toarray(),
                7.0,
            )
            if library == "xgboost":
                y = 10 * (full[:, 0] == 7) * (full[:, 1] != 1) + 4 * (full[:, 2] == 0) * (full[:, 3] == 2)
                make, wrong = pytest.importorskip("xgboost").XGBRegressor, 0.0
                model = make(n_estimators=1, max_depth=4, learning_rate=1.0, base_score=0.0)
            else:  # missing values have a meaning of their own only where training had some
                rows.data[rng.random(rows.nnz) < 0.3] = np.nan
                dense = rows.toarray()
                y = 10 * np.isnan(dense[:, 0]) * (dense[:, 1] != 1) + 4 * (dense[:, 2] == 0) * (dense[:, 3] == 2)
                make, wrong = pytest.importorskip("lightgbm").LGBMRegressor, np.nan
                model = make(n_estimators=1, num_leaves=6, learning_rate=1.0, min_child_samples=9, verbose=-1)
            e = as_model(model.fit(rows, y))
            mistaken = replace(e, inputs=replace(e.inputs, encoder=replace(e.inputs.encoder, absent=wrong)))
            two = pair(mistaken, rows)
            if two is not None:
                yield mistaken, *two, MIXED + ".*rows are sparse"

    ten(plants())


# Transformers whose columns are not made of what they are said to be made of.


class Known(BaseEstimator, TransformerMixin):
    """Passes for a scaler of scikit-learn's own, which turns column i into column i."""

    def __init__(self, function=None):
        self.function = function

    def fit(self, X, y=None):
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def transform(self, X):
        return self.function(np.asarray(X, dtype=float))

    def get_feature_names_out(self, names=None):
        return np.array([f"x{i}" for i in range(self.n_features_in_)])


Known = type("StandardScaler", (Known,), {"__module__": "sklearn.fake"})


def ratio(i, j):
    def made(v):
        out = v.copy()
        out[:, i] = v[:, i] / (1.0 + np.abs(v[:, j]))
        return out

    return made


def gate(i, j):
    def made(v):
        out = v.copy()
        out[:, i] = np.where(v[:, j] > 0, v[:, i], -v[:, i])
        return out

    return made


def norm(power, i):
    def made(v):
        out = v.copy()
        out[:, i] = v[:, i] / (1e-9 + (np.abs(v) ** power).sum(axis=1) ** (1 / power))
        return out

    return made


def sort(i, j):
    def made(v):
        out = v.copy()
        out[:, [i, j]] = np.sort(v[:, [i, j]], axis=1)
        return out

    return made


PAIRS = [(i, j) for i in range(5) for j in range(5) if i != j][::2]
TRANSFORMERS = {
    "a ratio credited to its numerator": [ratio(*p) for p in PAIRS],
    "a sign that another column decides": [gate(*p) for p in PAIRS],
    "a row's norm": [norm(p, i) for p in (1, 2) for i in range(5)],
    "two columns in order": [sort(*p) for p in PAIRS],
}


@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_transformer_that_mixes_columns(kind, confirmed, monkeypatch):
    """Found by comparing what the steps make of mixed rows, and without that by asking the model about them."""
    assert len(TRANSFORMERS[kind]) == 10
    if not confirmed:
        monkeypatch.setattr(Inputs, "confirm_structure", lambda *_: None)

    def models():
        for seed, function in enumerate(TRANSFORMERS[kind] * (1 if confirmed else 2)):
            made = function(X)
            model = make_pipeline(Known(function), RandomForestRegressor(6, random_state=seed))
            yield as_model(model.fit(X, made.sum(axis=1) + made[:, 0] * made[:, 1]))

    if not confirmed:
        return ten((e, X[:30], X[100:130], MIXED + ".*wrap that step") for e in models())
    for e in models():
        with pytest.raises(UnsupportedModelError, match="should come from no others"):
            wb.explain(e, X[:4], X[100:110])
    return None


@pytest.mark.parametrize("seed", TEN)
def test_one_hot_columns_under_the_wrong_names(seed):
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({c: rng.choice(list("xyz"), 400) for c in "abcd"})
    step = ColumnTransformer([("one hot", OneHotEncoder(sparse_output=bool(seed % 2)), list("abcd"))])
    y = 5.0 * (rows.a == "x") * (rows.b == "y") + 3.0 * (rows.c == "z") + (rows.d == "x")
    e = as_model(make_pipeline(step, RandomForestRegressor(8, random_state=seed)).fit(rows, y))
    i, j = rng.choice(4, 2, replace=False)
    turned = {(i,): (int(j),), (j,): (int(i),)}
    sources = tuple(turned.get(s, s) for s in e.inputs.source_columns)
    assert sources != e.inputs.source_columns
    mistaken = replace(e, inputs=replace(e.inputs, source_columns=sources))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inputs, "confirm_structure", lambda *_: None)
        check(mistaken, rows[:5], rows[100:130])


def test_an_empty_cell_behind_an_encoder():
    """The first finding of this kind: a pipeline's sparse matrix read as dense, with rows and background on which that does not show."""
    library = pytest.importorskip("xgboost")
    rows = pd.DataFrame(np.array(list(product(range(3), range(4), range(3))) * 8), columns=["c", "a", "b"])
    step = ColumnTransformer([("c", OneHotEncoder(), ["c"])], remainder="passthrough", sparse_threshold=1.0)

    def plants():
        for size, low, middle, more in product((10.0, 12.0, 15.0), range(2), range(3), (1.0, 0.5)):
            y = size * ((rows.a == low) & (rows.b != middle)) + more * rows.c
            booster = library.XGBRegressor(n_estimators=3, max_depth=4, learning_rate=1.0, base_score=0.0)
            e = as_model(make_pipeline(step, booster).fit(rows, y))
            steps = e.inputs.encoder
            dense = replace(steps.inner, encoder=replace(steps.inner.encoder, absent=0.0))
            mistaken = replace(e, inputs=replace(e.inputs, encoder=replace(steps, inner=dense)))
            two = pair(mistaken, rows)
            if two is not None:
                yield mistaken, *two, MIXED + ".*wrap that step"

    ten(plants())


# How the rows are mixed.


def test_each_column_comes_from_either_row_and_some_rows_take_one_alone():
    taken = random_masks(48, 6, np.random.default_rng(0))
    assert taken.any(axis=0).all()
    assert not taken.all(axis=0).any()
    assert (taken.sum(axis=1) == 1).any()
    assert (taken.sum(axis=1) == 5).any()
    apart = [(taken[:, i] != taken[:, j]).sum() for i in range(6) for j in range(i)]
    assert min(apart) > 8


@pytest.mark.parametrize("kinds", [("array", "frame"), ("frame", "array"), ("pandas", "polars"), ("polars", "pyarrow")])
def test_rows_and_background_of_different_kinds(kinds):
    import polars as pl
    import pyarrow as pa

    names = [f"x{i}" for i in range(5)]
    make = {
        "array": lambda a: a,
        "frame": lambda a: pd.DataFrame(a, columns=names),
        "pandas": lambda a: pd.DataFrame(a, columns=names),
        "polars": lambda a: pl.DataFrame(a, schema=names),
        "pyarrow": lambda a: pa.table(dict(zip(names, a.T, strict=True))),
    }
    model = forest().fit(X, Y)
    want = wb.explain(model, X[:5], X[100:110])
    got = wb.explain(model, make[kinds[0]](X[:5]), make[kinds[1]](X[100:110]))
    np.testing.assert_array_equal(got.values, want.values)
    assert got.evidence.verdict["mixed_rows"] == 195


def test_without_a_background_rows_are_mixed_with_each_other():
    model = forest().fit(X, Y)
    assert wb.explain(model, X[:5]).evidence.verdict["mixed_rows"] == 195
    assert wb.explain(model, X[:1]).evidence.verdict["mixed_rows"] == 0
    got = wb.explain(model, X[:5]).evidence
    assert got.model_calls == 205
    assert "195 of them mixed of two rows" in str(got)
    assert "(64 mixed of two others)" in str(got)


def test_a_kept_explainer_asks_about_mixed_rows_of_each_new_kind_and_then_at_times():
    from itertools import count

    import polars as pl

    from whybox.explainers import TreeShap
    from whybox.methods.common.spot_checks import TimeShare

    def mixed(explainer, rows):
        return explainer(rows).evidence.verdict["mixed_rows"]

    explainer = TreeShap(forest().fit(X, Y), X[100:110])
    explainer._time_share = TimeShare(count().__next__)  # a clock that goes on by one whenever it is read
    asked = [mixed(explainer, X[i : i + 1]) for i in range(400)]
    assert asked[0] == 199
    assert sum(n > 0 for n in asked) == 2
    assert 250 < np.flatnonzero(asked)[1] < 350  # checks took 3 of every 303
    assert mixed(explainer, pl.DataFrame(X[:1])) == 199  # another kind of table
    assert mixed(explainer, pl.DataFrame(X[:1])) == 0

    alone = TreeShap(forest().fit(X, Y))
    assert [mixed(alone, X[i : i + 1]) for i in range(5)] == [0] * 5
    assert mixed(alone, X[:2]) == 198  # the first rows of which two can be mixed


def test_none_in_a_column_of_objects_stays_none_in_mixed_rows():
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(3)
    words = pd.Series(np.array(["a", None, "b"] * 30, dtype=object), dtype=object)
    rows = pd.DataFrame({"c": words, "x": rng.normal(size=90)})
    filled = make_pipeline(SimpleImputer(missing_values=None, strategy="most_frequent"), OneHotEncoder())
    model = make_pipeline(make_column_transformer((filled, ["c"]), remainder="passthrough"), forest())
    model.fit(rows, rows["x"] * (rows["c"] == "b"))
    got = wb.explain(model, rows, rows[:5])  # its imputer refuses NaN
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, model.predict(rows), atol=1e-12)
    assert got.evidence.verdict["mixed_rows"] == 160


def test_mixed_rows_hold_the_very_cells():
    from whybox.data.series import interleave_cells

    rng = np.random.default_rng(4)
    cells = np.empty(6, dtype=object)
    cells[:] = [1, "x", None, float("nan"), True, 2**53 + 1]
    rows = pd.DataFrame(
        {
            "objects": pd.Series(cells, dtype=object),
            "text": pd.Series(["a", None, "b", "c", "d", "e"], dtype=object),
            "ids": pd.array([1, None, 2**53 + 1, 4, 5, 6], dtype="Int64"),
            "truth": pd.array([True, None] * 3, dtype="boolean"),
            "dates": pd.date_range("2020", periods=6, tz="Asia/Tokyo"),
            "kinds": pd.Categorical([*list("abcab"), None], categories=list("cba")),
            "single": np.arange(6, dtype=np.float32),
        }
    )
    there = rows.iloc[::-1].set_index("ids", drop=False)
    taken = rng.random(rows.shape) < 0.5
    out = interleave_cells(rows, there, taken, "pandas")
    assert list(out.dtypes) == list(rows.dtypes)
    for (i, j), other in np.ndenumerate(taken):
        assert repr(out.iloc[i, j]) == repr((there if other else rows).iloc[i, j])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_mixed_rows_of_one_dtype_hold_the_very_cells(dtype):
    from whybox.data.series import interleave_cells

    rng = np.random.default_rng(5)
    rows, there = (pd.DataFrame(rng.integers(0, 2, (6, 3)).astype(dtype), columns=["a", "a", "b"]) for _ in range(2))
    if rows.to_numpy().dtype.kind == "f":
        there.iloc[0], there.iloc[1] = -0.0, np.nan
    rows.index = list("uvwxyz")
    taken, before = rng.random(rows.shape) < 0.5, (rows.copy(), there.copy())
    taken[:2] = [[True, False, True], [True, True, False]]
    out = interleave_cells(rows, there, taken, "pandas")
    assert list(out.dtypes) == list(rows.dtypes)
    assert list(out.index) == list("uvwxyz")
    assert list(out.columns) == ["a", "a", "b"]
    for (i, j), other in np.ndenumerate(taken):
        assert out.iloc[i, j].tobytes() == (there if other else rows).iloc[i, j].tobytes()
    pd.testing.assert_frame_equal(rows, before[0])
    pd.testing.assert_frame_equal(there, before[1])
