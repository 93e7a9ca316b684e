from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from whybox.data.cells import column_dtype, object_cells
from whybox.data.column import frame_column
from whybox.data.series import is_missing
from whybox.data.table import align_columns, as_table, build_frame
from whybox.errors import ColumnsError, DtypeError, EmptyDataError, InputError

COLUMNS = {
    "n": [1.5, None, 3.0],
    "i": [1, 2, 3],
    "b": [True, False, True],
    "c": ["x", "y", None],
    "s": ["p", None, "q"],
    "t": [datetime.datetime(2026, 1, d) for d in (1, 2, 3)],
}


def frames():
    pandas = pd.DataFrame(COLUMNS)
    pandas["c"] = pd.Categorical(pandas["c"], categories=["y", "x"])
    polars = pl.DataFrame(COLUMNS).with_columns(pl.col("c").cast(pl.Enum(["y", "x"])))
    arrow = pa.table(
        {
            **{k: v for k, v in COLUMNS.items() if k != "c"},
            "c": pa.DictionaryArray.from_arrays(pa.array([1, 0, None]), ["y", "x"]),
        }
    )
    return {"pandas": pandas, "polars": polars, "pyarrow": arrow.select(list(COLUMNS))}


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_are_typed_alike_in_every_library(library):
    table = as_table(frames()[library])
    assert table.library == library
    by_name = {name: table.column(i) for i, name in enumerate(table.names)}
    assert {n: c.kind for n, c in by_name.items()} == {
        "n": "number",
        "i": "number",
        "b": "boolean",
        "c": "category",
        "s": "string",
        "t": "datetime",
    }
    assert np.array_equal(by_name["n"].values, [1.5, np.nan, 3.0], equal_nan=True)
    assert by_name["c"].objects().tolist() == ["x", "y", None]
    assert by_name["c"].categories == ("y", "x")
    assert by_name["s"].values.tolist() == ["p", None, "q"]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "numpy"])
def test_rows_blocks_select_and_mix(library):
    native = frames()[library] if library != "numpy" else np.arange(9.0).reshape(3, 3)
    table = as_table(native)
    assert len(table.rows(slice(1, 3))) == 2
    assert table.rows(np.array([2, 0])).row_labels.tolist() == [2, 0]
    assert [len(b) for _, b in table.blocks(2)] == [2, 1]
    assert table.select([1, 0]).names == table.names[1::-1]
    other = table.rows(np.array([2, 1, 0]))
    mixed = table.with_columns_from(other, [0])
    assert [str(v) for v in mixed.column(0).objects()] == [str(v) for v in other.column(0).objects()]
    assert [str(v) for v in mixed.column(1).objects()] == [str(v) for v in table.column(1).objects()]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "numpy", "scipy"])
def test_values_of_several_columns_are_those_of_one_after_the_other(library):
    of_numbers = np.array([[1, 0, 3], [0, 5, 6], [7, 8, 0]])
    arrays = {"numpy": of_numbers, "scipy": sparse.csr_matrix(of_numbers)}
    table = as_table(arrays[library] if library in arrays else frames()[library])
    columns = {2: [True, False, True], 0: [2.5, None, 4.0], 1: [7, 8, 9]}
    together, one_by_one = table.with_columns_of_values(columns), table
    for position, values in columns.items():
        one_by_one = one_by_one.with_values(position, values)
    assert str(together.native) == str(one_by_one.native)
    for position, values in columns.items():
        assert column_dtype(together, position) == column_dtype(one_by_one, position)
        shown = object_cells(together, position)
        assert [None if is_missing(v) else v for v in shown] == values
    assert str(table.with_columns_of_values({}).native) == str(table.native)


def test_pandas_index_is_kept_as_row_labels():
    table = as_table(pd.DataFrame({"a": [1, 2, 3]}, index=["u", "v", "w"]))
    assert table.row_labels.tolist() == ["u", "v", "w"]
    assert table.rows(slice(1, 3)).row_labels.tolist() == ["v", "w"]


def test_nullable_and_object_columns():
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "o": [1, 2.5, None],
            "m": [1, "x", None],
        }
    ).astype({"o": object})
    table = as_table(frame)
    assert np.array_equal(table.column(0).values, [1, np.nan, 3], equal_nan=True)
    assert np.array_equal(table.column(1).values, [1, np.nan, 0], equal_nan=True)
    assert table.column(2).kind == "number"
    assert table.column(3).kind == "object"


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.arange(3), InputError, "two, also for one row"),
        ([[1, 2], [3]], InputError, "different lengths"),
        (np.zeros((2, 2, 2)), InputError, "two dimensions"),
        (np.zeros((0, 2)), EmptyDataError, "no rows"),
        (pd.DataFrame(), EmptyDataError, "no columns"),
        (np.zeros((2, 2), dtype=complex), DtypeError, "complex"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ColumnsError, "more than one column"),
        (
            pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])),
            ColumnsError,
            "several levels",
        ),
        (pl.LazyFrame({"a": [1]}), InputError, "collect"),
        (sparse.csr_matrix(np.eye(3, dtype=complex)), DtypeError, "complex"),
        (sparse.coo_array(np.arange(3)), InputError, "pass two"),
        (sparse.csr_array(([1.0, 2.0], [0, 0], [0, 2]), shape=(1, 3)), InputError, "more than once"),
        (sparse.csr_matrix((0, 3)), EmptyDataError, "no rows"),
    ],
    ids=lambda v: str(v)[:20].replace("\n", " "),
)
def test_what_is_not_a_table_is_refused_with_advice(data, error, words):
    with pytest.raises(error, match=words):
        as_table(data)


def test_matrix_names_the_column_it_cannot_read():
    with pytest.raises(DtypeError, match="column 's' holds text"):
        as_table(frames()["polars"]).select([0, 1, 4]).matrix()
    assert as_table(frames()["polars"]).select([0, 1, 2]).matrix().tolist()[0] == [1.5, 1, 1]


def test_align_mends_order_and_names_what_is_missing():
    table = as_table(pd.DataFrame({"b": [1], "a": [2], "extra": [3]}))
    found, unused = align_columns(table, ["a", "b"])
    assert found.names == ("a", "b")
    assert found.matrix().tolist() == [[2, 1]]
    assert unused == ("extra",)
    with pytest.raises(ColumnsError, match="lacks column 'bmi'.*Did you mean 'bmi_'"):
        align_columns(as_table(pd.DataFrame({"bmi_": [1]})), ["bmi"])


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "numpy"])
def test_build_frame(library):
    built = build_frame({"a": np.array([1.0, 2.0]), "s": np.array(["x", None], dtype=object)}, library=library)
    assert as_table(built).names == ("a", "s")
    assert type(built).__module__.startswith("pandas" if library == "numpy" else library)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_row_beside_its_moved_copy(library):
    frame = pd.DataFrame(
        {
            "i": np.array([255], dtype=np.uint8),
            "f": [np.nan],
            "g": [1.5],
            "c": pd.Categorical(["u"], categories=["v", "u"]),
            "b": [True],
            "t": ["word"],
            "d": pd.to_datetime(["2026-01-01"]),
        },
        index=[7] if library == "pandas" else None,
    )
    native = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}[library](frame)
    two = as_table(native).with_shifted_copy()
    assert len(two) == 2
    assert two.column(0).values.tolist() == [255, 254]
    assert np.isnan(two.column(1).values).all()
    assert two.column(2).values.tolist() == [1.5, 2.5]
    assert [two.column(3).categories[k] for k in two.column(3).values] == ["u", "u"]
    assert two.column(5).values.tolist() == ["word", "word"]
    assert as_table(np.array([[1.5, 2.0]])).with_shifted_copy().native.tolist() == [[1.5, 2.0], [2.5, 3.0]]


def test_an_arrow_table_reaches_scikit_learn_without_any_frame_library(monkeypatch):
    """As on a fresh machine, where nothing but whybox's own dependencies is installed."""
    import pyarrow as pa
    from sklearn.ensemble import HistGradientBoostingRegressor

    import whybox as wb
    from whybox.errors import MissingDependencyError

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    model = HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5).fit(X, X[:, 0] + X[:, 1])
    table = pa.table({f"x{i}": X[:, i] for i in range(3)})
    monkeypatch.setattr("whybox.data.table._installed", lambda name: False)
    assert np.array_equal(wb.explain(model, table).values, wb.explain(model, X).values)
    with pytest.raises(MissingDependencyError):
        as_table(pa.table({"city": ["Rome", "Bern"]})).for_transformers()


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "i8", "u2", "u8", "f2", "f4", "f8", "g", ">f8", ">i4", "c16", "M8[ns]", "O"]
)
def test_plain_columns_of_pandas_are_typed_as_those_of_any_frame(dtype):
    """NumPy's own dtypes take a shorter way; the same bits come of it, and no copy where there was none."""
    cells = np.array([0, 1, 1]).astype(dtype)
    table = as_table(pd.DataFrame({"a": cells, "b": cells}))
    got, want = table.column(1), frame_column("b", table.series(1))
    assert (got.kind, got.values.dtype, got.categories) == (want.kind, want.values.dtype, want.categories)
    assert repr(got.values.tolist()) == repr(want.values.tolist())
    assert got.values.flags.writeable == want.values.flags.writeable
    if got.kind == "number":
        matrix = table.matrix()
        assert matrix.dtype == np.column_stack([got.values] * 2).dtype
        assert matrix.tolist() == [[0, 0], [1, 1], [1, 1]]


def test_new_values_in_a_column_leave_the_users_frame_as_it_was():
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [0.5, 1.5]}, index=[7, 7])
    table = as_table(frame)
    changed = table.with_columns_of_values({0: [5, 6], 2: [None, 2.5]}).native
    pd.testing.assert_frame_equal(frame, pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [0.5, 1.5]}, index=[7, 7]))
    pd.testing.assert_frame_equal(changed, pd.DataFrame({"a": [5, 6], "b": [3, 4], "c": [np.nan, 2.5]}, index=[7, 7]))
    assert table.with_values(1, [0.5, 1.0]).native["b"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "int8", "bool", "object", "Int64", "category"])
@pytest.mark.parametrize(
    "values", [[1, 2, 3], [1.5, 2, 3], [1, np.nan, 2], [1e300, 1, 2], [-0.0, 1, 300], [np.inf, 1, 2]], ids=str
)
def test_an_array_of_numbers_makes_the_same_column_as_its_numbers_one_by_one(dtype, values):
    table = as_table(pd.DataFrame({"a": pd.Series([1, 0, 1]).astype(dtype)}))

    def column(of):
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                series = table.with_values(0, of).native["a"]
        except DtypeError as error:
            return str(error)
        return str(series.dtype), [repr(v) for v in series.astype(object)]

    array = np.array(values, dtype=np.float64)
    assert column(array) == column(list(array))


@pytest.mark.parametrize(
    "kinds", [("float64",) * 3, ("float32",) * 3, ("int64",) * 3, ("int64", "float64", "str"), ("bool",) * 3]
)
def test_cells_of_pandas_from_rows_of_their_own_are_those_cells(kinds):
    """Columns of one dtype of numbers are taken as one array; others one by one: both give the cells bit for bit, in their dtypes."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: (10 * rng.normal(size=9)).round(1) for name in "abc"}).astype(
        dict(zip("abc", kinds, strict=True))
    )
    if kinds[0].startswith("float"):
        frame.iloc[0], frame.iloc[1] = -0.0, np.nan
    rows = rng.integers(0, 9, (20, 3))
    found = as_table(frame.set_axis(range(50, 59))).columns_at_rows(rows).native
    assert list(found.index) == list(range(20))
    assert list(found.dtypes) == list(frame.dtypes)
    for j, name in enumerate("abc"):
        expected = frame[name].to_numpy()[rows[:, j]]
        assert (
            found[name].to_numpy().tolist() == expected.tolist()
            or found[name].to_numpy().tobytes() == expected.tobytes()
        )
