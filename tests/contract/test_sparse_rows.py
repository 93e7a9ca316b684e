"""What each library reads in an absent, a stored zero and a missing cell of sparse rows; values against brute force through its own predict."""

from __future__ import annotations

from itertools import product

import catboost as cb
import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from scipy import sparse
from sklearn import ensemble as en
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor, ExtraTreeClassifier

import whybox as wb
from oracles import brute_frame, of_all_coalitions
from whybox.data.table import as_table
from whybox.errors import InputError, LimitError, NonFiniteError, OptionError
from whybox.models.registry import as_model

RNG = np.random.default_rng(0)
WIDTH = 5
CONTAINERS = [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_matrix, sparse.csr_array, sparse.csc_array, sparse.lil_array]  # fmt: skip


def cells(rows, *, missing):
    """Rows as dicts from column to stored value: a third absent, the others zeros, numbers and, if asked, NaN."""
    values = [0.0, 1.0, 2.0, 0.5] + [np.nan] * missing
    return [{j: RNG.choice(values) for j in range(WIDTH) if RNG.random() < 0.66} for _ in range(rows)]


def matrix(rows, make=sparse.csr_matrix):
    stored = [(i, j, v) for i, row in enumerate(rows) for j, v in row.items()]
    i, j, v = (np.array(part) for part in zip(*stored, strict=True))
    return make(sparse.coo_matrix((v.astype(float), (i.astype(int), j.astype(int))), shape=(len(rows), WIDTH)))


def answer(model, rows):
    """The model's own numbers, on the scale that is explained."""
    if isinstance(model, (xgb.XGBRegressor, xgb.XGBClassifier)):
        return model.predict(rows, output_margin=True)
    if isinstance(model, lgb.LGBMClassifier):
        return model.predict(rows, raw_score=True)
    return model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.predict(rows)


def brute(predict, row, background, make, groups=None):
    """Shapley values over all coalitions: mixed rows are made cell by cell, absent cells staying absent, and the model is asked."""
    groups = groups or [{j} for j in range(WIDTH)]

    def rows(S):
        taken = {j for s in S for j in groups[s]}
        return [
            {j: v for j, v in row.items() if j in taken} | {j: v for j, v in other.items() if j not in taken}
            for other in background
        ]

    return of_all_coalitions(lambda mixed: predict(make([r for part in mixed for r in part])), rows, len(groups))


TRAIN = cells(500, missing=False)
HOLES = cells(500, missing=True)


def target(rows):
    """Absent, zero and missing each with a meaning of their own, and interactions between columns."""

    def of(row, j):
        return 7.0 if j not in row else 3.0 if np.isnan(row[j]) else row[j]

    return np.array([of(r, 0) * of(r, 1) + (of(r, 2) == 0.0) * 4 + of(r, 3) for r in rows])


MODELS = {
    "XGBoost": lambda: xgb.XGBRegressor(n_jobs=1, n_estimators=8, max_depth=4, learning_rate=0.7),
    "XGBoost, missing=0": lambda: xgb.XGBRegressor(n_jobs=1, n_estimators=8, max_depth=4, learning_rate=0.7, missing=0.0),
    "XGBoost, linear": lambda: xgb.XGBRegressor(n_jobs=1, booster="gblinear", n_estimators=8),
    "XGBoost, classes": lambda: xgb.XGBClassifier(n_jobs=1, n_estimators=5, max_depth=3),
    "LightGBM": lambda: lgb.LGBMRegressor(n_estimators=12, min_child_samples=3, verbose=-1, n_jobs=1),
    "LightGBM, zero_as_missing": lambda: lgb.LGBMRegressor(n_estimators=12, min_child_samples=3, zero_as_missing=True, verbose=-1, n_jobs=1),
    "LightGBM, linear leaves": lambda: lgb.LGBMRegressor(n_estimators=6, min_child_samples=9, linear_tree=True, verbose=-1, n_jobs=1),
    "LightGBM, classes": lambda: lgb.LGBMClassifier(n_estimators=6, min_child_samples=3, verbose=-1, n_jobs=1),
    "CatBoost": lambda: cb.CatBoostRegressor(iterations=12, depth=3, verbose=0, allow_writing_files=False, thread_count=1),
    "DecisionTreeRegressor": lambda: DecisionTreeRegressor(max_depth=6, random_state=0),
    "ExtraTreeClassifier": lambda: ExtraTreeClassifier(max_depth=6, random_state=0),
    "RandomForestRegressor": lambda: en.RandomForestRegressor(6, max_depth=5, random_state=0),
    "ExtraTreesClassifier": lambda: en.ExtraTreesClassifier(6, max_depth=5, random_state=0),
    "GradientBoostingRegressor": lambda: en.GradientBoostingRegressor(n_estimators=8, random_state=0),
    "BaggingRegressor": lambda: en.BaggingRegressor(DecisionTreeRegressor(max_depth=4), 4, random_state=0),
    "VotingRegressor": lambda: en.VotingRegressor([("a", DecisionTreeRegressor(max_depth=4)), ("b", en.RandomForestRegressor(3, max_depth=4))]),
}  # fmt: skip
TAKES_NAN = [name for name in MODELS if name.startswith(("XGBoost", "LightGBM", "CatBoost")) and "leaves" not in name]


def fitted(name, rows):
    model = MODELS[name]()
    y = target(rows)
    return model.fit(matrix(rows), (y > np.median(y)).astype(int) if hasattr(model, "predict_proba") else y)


@pytest.mark.parametrize(("name", "missing"), [*product(MODELS, [False]), *product(TAKES_NAN, [True])])
def test_values_are_those_of_the_models_own_predict(name, missing):
    train = HOLES if missing else TRAIN
    model = fitted(name, train)
    rows, background = train[:4], train[40:52]
    want = np.array([brute(lambda m: answer(model, m), row, background, matrix) for row in rows])
    size = np.abs(want).max()
    assert size > 0.05
    found = as_model(model)
    for make in CONTAINERS:
        got = wb.explain(found, matrix(rows, make), matrix(background, make))
        np.testing.assert_allclose(got.values, want, rtol=0, atol=3e-6 * size)
        assert got.evidence.verdict["mixed_rows"] == 196
    alone = wb.explain(found, matrix(rows), matrix(background), sparse=True)
    np.testing.assert_allclose(
        alone.values, want[:, [got.feature_names.index(n) for n in alone.feature_names]], rtol=0, atol=3e-6 * size
    )


@pytest.mark.parametrize("name", TAKES_NAN)
def test_absent_zero_and_missing_are_three_cells(name):
    model = fitted(name, HOLES)
    found = as_model(model)
    for column, rest in product(range(WIDTH), range(3)):
        three = [dict(HOLES[rest]) for _ in range(3)]
        three[0].pop(column, None)
        three[1][column], three[2][column] = 0.0, np.nan
        own = found.own_predict.predict(found.inputs.align_table(as_table(matrix(three)))[0])
        read = found.inputs.matrix(found.inputs.align_table(as_table(matrix(three)))[0])
        absent = np.nan if name.startswith("XGBoost") else 0.0
        if name != "XGBoost, missing=0":
            assert np.array_equal(read[:, column], [absent, 0.0, np.nan], equal_nan=True)
        assert np.allclose(own.ravel(), answer(model, matrix(three)).ravel(), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, bool, np.float32])
@pytest.mark.parametrize("name", ["XGBoost", "LightGBM", "CatBoost", "RandomForestRegressor"])
def test_matrices_of_other_numbers(name, dtype):
    model = fitted(name, TRAIN)
    whole = [{j: float(v > 0) for j, v in row.items()} for row in TRAIN[:30]]
    rows = matrix(whole).astype(dtype)
    got = wb.explain(model, rows[:5], rows[10:])
    same = wb.explain(model, matrix(whole)[:5], matrix(whole)[10:])
    np.testing.assert_array_equal(got.values, same.values)


@pytest.mark.parametrize("name", [n for n in MODELS if n not in TAKES_NAN and "LightGBM" not in n])
def test_missing_values_that_scikit_learn_routes_otherwise_in_sparse_rows_are_refused(name):
    model = fitted(name, TRAIN)
    with pytest.raises(NonFiniteError, match=r"sparse rows \(row 2\).*toarray"):
        wb.explain(model, matrix([{0: 1.0}, {1: 2.0}, {3: np.nan}]))


def frame(rows, fill):
    """A pandas frame of Sparse columns: here an absent cell is one that holds the fill value."""
    full = np.array([[row.get(j, fill) for j in range(WIDTH)] for row in rows])
    columns = {f"c{j}": pd.arrays.SparseArray(full[:, j], fill_value=fill) for j in range(WIDTH)}
    return pd.DataFrame(columns)


@pytest.mark.filterwarnings("ignore:Sparse arrays from pandas")
@pytest.mark.parametrize("fill", [0.0, np.nan])
@pytest.mark.parametrize(
    "name", ["XGBoost", "LightGBM", "CatBoost", "RandomForestRegressor", "GradientBoostingRegressor"]
)
def test_frames_of_sparse_columns(name, fill):
    if np.isnan(fill) and "Regressor" in name:
        model = fitted(name, TRAIN)
        with pytest.raises((InputError, NonFiniteError)):
            wb.explain(model, frame(TRAIN[:5], fill), frame(TRAIN[40:50], fill))
        return
    y = target(TRAIN)
    model = MODELS[name]().fit(frame(TRAIN, fill), y)
    rows, background = TRAIN[:3], TRAIN[40:52]
    want = np.array([brute(model.predict, row, background, lambda r: frame(r, fill)) for row in rows])
    got = wb.explain(model, frame(rows, fill), frame(background, fill))
    assert got.feature_names == ("c0", "c1", "c2", "c3", "c4")
    np.testing.assert_allclose(got.values, want, rtol=0, atol=3e-6 * np.abs(want).max())


def test_extra_trees_whose_frame_is_read_as_a_matrix_without_missing_values():
    """scikit-learn takes NaN in such a frame and routes it otherwise than in a dense one."""
    full = np.array([[row.get(j, np.nan) for j in range(WIDTH)] for row in TRAIN])
    model = en.ExtraTreesRegressor(5, random_state=0).fit(
        pd.DataFrame(full, columns=[f"c{j}" for j in range(WIDTH)]), target(TRAIN)
    )
    rows = frame([{0: np.nan, 1: 1.0}], 0.0)
    with pytest.raises(NonFiniteError, match="sparse rows"):
        wb.explain(model, rows)


# Behind a transformer that makes a sparse matrix.

GRID = pd.DataFrame(np.array(list(product(range(3), range(4), range(3))) * 8), columns=["c", "a", "b"])
Y = 10.0 * ((GRID.a == 0) & (GRID.b != 1)) + GRID.c


def behind(model, threshold=1.0):
    step = make_column_transformer((OneHotEncoder(), ["c"]), ("passthrough", ["a", "b"]), sparse_threshold=threshold)
    return make_pipeline(step, model)


def test_an_empty_cell_behind_a_one_hot_encoder_is_missing_to_xgboost():
    model = behind(xgb.XGBRegressor(n_jobs=1, n_estimators=3, max_depth=4, learning_rate=1.0, base_score=0.0)).fit(
        GRID, Y
    )
    row, other = (pd.DataFrame([cell], columns=["c", "a", "b"]) for cell in ([0, 0, 1], [0, 1, 0]))
    got = wb.explain(model, row, other)
    np.testing.assert_allclose(got.values[0], [0, 5.001, -5.001], atol=1e-3)
    np.testing.assert_allclose(got.values[0], brute_frame(model.predict, row, other), atol=1e-5)


@pytest.mark.parametrize("threshold", [1.0, 0.3])
@pytest.mark.parametrize(
    "name",
    [
        n
        for n in MODELS
        if n not in ("XGBoost, classes", "LightGBM, classes", "ExtraTreeClassifier", "ExtraTreesClassifier")
    ],
)
def test_every_library_behind_a_sparse_transformer(name, threshold):
    many = GRID.assign(c=np.arange(len(GRID)) % 40)
    model = behind(MODELS[name](), threshold).fit(many, Y + many.c % 5)
    assert sparse.issparse(model[0].transform(many))
    found = as_model(model)
    got = wb.explain(found, many[:4], many[100:130])
    want = [brute_frame(model.predict, many[i : i + 1], many[100:130]) for i in range(4)]
    np.testing.assert_allclose(got.values, want, rtol=0, atol=3e-6 * np.abs(want).max())
    assert np.abs(wb.explain(found, many[:4], scale="raw").values).max() > 0 if "linear" not in name else True


@pytest.mark.parametrize("name", ["XGBoost", "LightGBM", "RandomForestRegressor"])
def test_sparse_rows_through_a_pipeline(name):
    model = make_pipeline(MaxAbsScaler(), MODELS[name]()).fit(matrix(TRAIN), target(TRAIN))
    rows, background = TRAIN[:3], TRAIN[40:50]
    want = [brute(model.predict, row, background, matrix) for row in rows]
    got = wb.explain(model, matrix(rows), matrix(background))
    np.testing.assert_allclose(got.values, want, rtol=0, atol=3e-6 * np.abs(want).max())
    with pytest.raises(InputError, match="one is a sparse matrix"):
        wb.explain(model, matrix(rows).toarray(), matrix(background))
    if name == "XGBoost":
        with pytest.raises(InputError, match="one is a sparse matrix"):
            wb.explain(model[1], matrix(rows), matrix(background).toarray())
    else:
        mixed = wb.explain(model[1], matrix(rows), matrix(background).toarray())
        np.testing.assert_allclose(
            mixed.values, wb.explain(model[1], matrix(rows), matrix(background)).values, atol=1e-12
        )


# What comes of them.


def test_absent_cells_stay_absent_where_spot_checks_set_cells():
    """Evaluated through its own predict, XGBoost reads a stored zero where it would read an absent cell as missing."""
    rows = matrix(HOLES[:60])
    model = make_pipeline(MaxAbsScaler(), xgb.XGBRegressor(n_estimators=4, max_depth=3)).fit(
        matrix(HOLES), target(HOLES)
    )
    curve = wb.effects(model, rows, ["x0"])["x0"]
    at = list(curve.grid).index(0.0)
    changed = [{j: v for j, v in row.items() if j != 0} for row in HOLES[:60]]
    assert curve.values[at] == pytest.approx(model.predict(matrix(changed)).mean(), abs=1e-5)
    asked = wb.effects(model, rows, ["x0"], response_method="predict")["x0"]
    np.testing.assert_allclose(asked.values, curve.values, rtol=0, atol=1e-5)
    found = wb.explain(model, rows[:2], rows[20:40], response_method="predict")
    want = [brute(model.predict, row, HOLES[20:40], matrix) for row in HOLES[:2]]
    np.testing.assert_allclose(found.values, want, rtol=0, atol=3e-6 * np.abs(want).max())


def test_lime_of_columns_that_a_sparse_transformer_leaves_absent():
    many = GRID.assign(c=np.arange(len(GRID)) % 40)
    model = behind(xgb.XGBRegressor(n_estimators=8, max_depth=5)).fit(many, Y + many.c % 5)
    assert sparse.issparse(model[0].transform(many))
    found = wb.lime(model, many[:3], many[:80])
    assert found.evidence.spot_checks.numbers > 0
    assert np.abs(found.values[:, 0]).max() > 0


def test_effects_of_sparse_rows():
    rows = matrix(HOLES[:60])
    for name in ("XGBoost", "LightGBM"):
        model = fitted(name, HOLES)
        curve = wb.effects(model, rows, ["x0"], grid={"x0": [0.0, 1.0, None]})["x0"]
        for point, value in zip([0.0, 1.0, np.nan], curve.values, strict=True):
            changed = [row | {0: point} for row in HOLES[:60]]
            assert value == pytest.approx(model.predict(matrix(changed)).mean(), abs=1e-5)
    asked = wb.effects(lambda m: np.asarray(m.sum(axis=1)).ravel(), matrix(TRAIN[:20]), ["x1"], grid={"x1": [5.0]})[
        "x1"
    ]
    assert asked.values[0] == pytest.approx(np.mean([sum(r.values()) - r.get(1, 0) + 5 for r in TRAIN[:20]]))


def test_an_explanation_of_sparse_rows_is_saved_shown_and_drawn(tmp_path):
    import matplotlib.pyplot as plt

    model = fitted("XGBoost", HOLES)
    got = wb.explain(model, matrix(HOLES[:9]), matrix(HOLES[40:50]))
    got.save(tmp_path / "e.whybox")
    back = wb.load(tmp_path / "e.whybox")
    assert np.array_equal(back.values, got.values)
    for j in range(WIDTH):
        np.testing.assert_array_equal(back.data.column(j).values, got.data.column(j).values)
    assert sparse.issparse(back.data.native)
    assert got.to_frame().shape == (9, WIDTH + 2)
    assert "x0" in got._repr_html_()
    got.plot.beeswarm()
    got[0].plot.waterfall()
    got.plot.scatter("x0")
    plt.close("all")


def test_a_result_that_memory_would_not_hold_is_refused_with_what_to_do():
    wide = sparse.csr_matrix(([1.0, 2.0], ([0, 1], [3, 7])), shape=(60, 40_000))
    model = lgb.LGBMRegressor(n_estimators=2, min_child_samples=1, verbose=-1, n_jobs=1).fit(wide, np.arange(60.0) < 2)
    tall = sparse.vstack([wide] * 60, format="csr")
    with pytest.raises(LimitError, match=r"1\.1 GiB.*1 GiB allowed.*sparse=True"):
        wb.explain(model, tall)
    got = wb.explain(model, tall, sparse=True)
    assert got.shape == (3600, len(got.feature_names))
    assert set(got.feature_names) <= {"x3", "x7"}
    assert "left out" in got.evidence.notes[-1]
    assert wb.explain(model, tall[:9]).shape == (9, 40_000)
    with pytest.raises(OptionError, match="40,000 columns"):
        wb.effects(model, tall)


def test_wide_models_are_verified_as_narrow_ones():
    rows = sparse.random(400, 5000, density=0.01, random_state=0, format="csr")
    lead = sparse.csr_matrix(RNG.random((400, 30)) * (RNG.random((400, 30)) < 0.4))
    rows = sparse.hstack([rows[:, :2500], lead, rows[:, 2530:]], format="csr")
    y = lead.sum(axis=1).A1 + (lead[:, 0].toarray().ravel() > 0.3)
    for model in (
        xgb.XGBRegressor(n_jobs=1, n_estimators=5, max_depth=4),
        lgb.LGBMRegressor(n_estimators=5, min_child_samples=3, verbose=-1, n_jobs=1),
        en.RandomForestRegressor(4, max_depth=5, random_state=0),
        en.GradientBoostingRegressor(n_estimators=4, random_state=0),
    ):
        found = as_model(model.fit(rows, y))
        assert found.verdict.thresholds == found.verdict.thresholds_total > 5
        assert found.verdict.mixed == 64
        got = wb.explain(found, rows[:6], rows[20:40])
        dense = wb.explain(found, rows[:6], rows[20:40], sparse=True)
        kept = [got.feature_names.index(n) for n in dense.feature_names]
        assert not np.delete(got.values, kept, axis=1).any()
        np.testing.assert_array_equal(got.values[:, kept], dense.values)


def test_a_file_reads_empty_cells_as_the_live_model_does(tmp_path):
    model = fitted("XGBoost", HOLES)
    model.save_model(tmp_path / "model.ubj")
    rows, background = matrix(HOLES[:4]), matrix(HOLES[40:52])
    got = wb.explain(tmp_path / "model.ubj", rows, background)
    np.testing.assert_array_equal(got.values, wb.explain(model, rows, background).values)
    with pytest.raises(InputError, match="one is a sparse matrix"):
        wb.explain(tmp_path / "model.ubj", rows, background.toarray())


def test_a_library_that_takes_no_sparse_rows_says_so():
    dense = matrix(TRAIN).toarray()
    model = en.HistGradientBoostingRegressor(max_iter=4).fit(dense, target(TRAIN))
    with pytest.raises(InputError, match="refuses these rows.*dense data is required"):
        wb.explain(model, matrix(TRAIN[:3]))
