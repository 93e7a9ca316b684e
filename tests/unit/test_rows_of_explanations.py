"""``e.data``: the rows of an explanation taken apart by name and position, printed, and joined."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
from whybox.data.join_tables import join_tables
from whybox.data.table import as_table
from whybox.errors import OptionError

DAYS = [datetime.datetime(2024, 1, d) for d in (1, 2, 3, 4)]
COLUMNS = {
    "size": [1.5, None, -3.0, 4.25],
    "count": [1, 2, 3, 4],
    "kind": ["a", "b", None, "a"],
    "flag": [True, False, True, True],
    "day": DAYS,
}
FRAMES = {
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "pyarrow": lambda: pa.table(COLUMNS),
}


@pytest.fixture(params=FRAMES)
def rows(request):
    return as_table(FRAMES[request.param]())


def test_a_column_by_name_is_its_values(rows):
    assert np.array_equal(rows["size"], [1.5, np.nan, -3.0, 4.25], equal_nan=True)
    assert rows["count"].dtype.kind == "i"
    assert rows["kind"].tolist() == ["a", "b", None, "a"]
    assert rows["flag"].dtype == bool
    assert rows["day"].dtype.kind == "M"
    assert rows["day"][2] == np.datetime64("2024-01-03")
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            rows[name][0] = rows[name][1]


def test_a_row_by_position_is_a_dict_of_its_cells(rows):
    assert rows[0] == {"size": 1.5, "count": 1, "kind": "a", "flag": True, "day": rows[0]["day"]}
    assert list(rows[1]) == list(COLUMNS)
    assert rows[1]["size"] is None
    assert rows[2]["kind"] is None
    assert rows[-1] == rows[3] == rows[np.int64(3)]
    assert [row["count"] for row in rows] == [1, 2, 3, 4]
    for beyond in (4, -5):
        with pytest.raises(IndexError, match="of 4 rows"):
            rows[beyond]


def test_slices_masks_and_lists_are_tables(rows):
    assert rows[1:3]["count"].tolist() == [2, 3]
    assert rows[1:3].row_labels.tolist() == [1, 2]
    assert rows[rows["count"] > 2]["count"].tolist() == [3, 4]
    assert rows[[3, -4]]["count"].tolist() == [4, 1]
    assert rows[[True, False, False, True]]["count"].tolist() == [1, 4]
    assert len(rows[[]]) == 0
    assert rows[["kind", "size"]].names == ("kind", "size")
    assert rows[1, "count"] == rows[1, 1] == 2
    assert rows[:2, "count"].tolist() == [1, 2]
    assert rows[:, -4].tolist() == [1, 2, 3, 4]
    assert rows[1, ["flag", "kind"]] == {"flag": False, "kind": "b"}
    assert rows[2:, 1:3].names == ("count", "kind")
    assert rows[2:, 1:3].shape == (2, 2)
    assert wb.explain(DecisionTreeRegressor().fit([[1], [2]], [1, 2]), rows[["count"]]).shape == (4, 1)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("sise", "no column 'sise'. Did you mean 'size'"),
        ((0, "sise"), "Did you mean 'size'"),
        ((0, 9), "no column 9"),
        (["size", "cnt"], "no column 'cnt'"),
        (True, "names no rows"),
        (None, "names no rows"),
        (1.0, "names no rows"),
        ([[0]], "names no rows"),
        ((0, 1, 2), "two axes"),
        ([True, False], "2 entries for 4 rows"),
        ((True, "size"), "no position"),
    ],
)
def test_what_takes_nothing_is_refused(rows, key, says):
    with pytest.raises(OptionError, match=says):
        rows[key]


def test_positions_beyond_the_last_row_are_refused(rows):
    with pytest.raises(IndexError, match="of 4 rows"):
        rows[[0, 4]]


def test_arrays_and_sparse_matrices():
    x = np.arange(12.0).reshape(4, 3)
    for given in (x, sparse.csr_array(x)):
        rows = as_table(given)
        assert rows[2] == {"x0": 6.0, "x1": 7.0, "x2": 8.0}
        assert rows["x1"].tolist() == rows[:, 1].tolist() == [1.0, 4.0, 7.0, 10.0]
        assert rows[2, "x2"] == 8.0
        assert np.array_equal(np.asarray(rows), x)
        assert np.array_equal(np.asarray(rows[1:3, [0, 2]]), x[1:3][:, [0, 2]])
    wide = as_table(sparse.random_array((3, 100_000), density=1e-4, rng=np.random.default_rng(0)).tocsr())
    assert len(wide[1]) == 100_000
    assert repr(wide).count("\n") == 4


def test_as_an_array(rows):
    cells = np.asarray(rows)
    assert cells.dtype == object
    assert cells.shape == rows.shape == (4, 5)
    numbers = np.asarray(rows[["size", "count"]])
    assert numbers.dtype == np.float64
    assert np.asarray(rows[["count"]], dtype=np.float32).dtype == np.float32


def test_printed_as_a_small_table(rows):
    text = repr(rows)
    assert text.splitlines()[0].split() == list(COLUMNS)
    assert text.splitlines()[2].split()[:3] == ["1", "missing", "2"]
    assert text.splitlines()[-1] == f"4 rows x 5 columns ({rows.library})"
    assert repr(rows[:0]) == f"0 rows x 5 columns ({rows.library})"
    assert "<td>missing</td>" in rows._repr_html_()


def test_many_rows_and_columns_are_cut_in_the_middle_and_text_is_escaped():
    many = as_table(pd.DataFrame({f"<c{i}>": ["<b>" + "x" * 100] * 30 for i in range(30)}, index=range(100, 130)))
    lines = repr(many).splitlines()
    assert len(lines) == 1 + 8 + 1 + 1
    assert lines[1].split()[0] == "100"
    assert lines[-2].split()[0] == "129"
    assert max(map(len, lines)) < 250
    assert lines[0].count("...") == 1
    html = many._repr_html_()
    assert "<b>" not in html
    assert "<c0>" not in html
    assert "&lt;c0&gt;" in html


def test_the_rows_of_an_explanation_cannot_be_changed_through_it():
    X = np.arange(20.0).reshape(10, 2)
    e = wb.explain(DecisionTreeRegressor().fit(X, X[:, 0]), X)
    np.asarray(e.data)[0, 0] = 99
    with pytest.raises(ValueError, match="read-only"):
        e.data["x0"][0] = 99
    assert e.data[0, "x0"] == 0
    assert e[e.data["x0"] > 9].shape == (5, 2)


def test_bases_of_rows_as_shap_has_them():
    X = np.arange(40.0).reshape(20, 2)
    one = wb.explain(DecisionTreeRegressor().fit(X, X[:, 0]), X)
    assert one.base_values.shape == (20,)
    assert set(one.base_values) == {float(one.base)}
    assert one[3].base_values.shape == ()
    two = wb.explain(DecisionTreeRegressor().fit(X, X), X)
    assert two.base_values.shape == (20, 2)
    assert np.allclose(two.base_values + two.values.sum(axis=1), two.prediction)
    assert two[:5, :, 1].base_values.shape == (5,)
    assert wb.importance(DecisionTreeRegressor().fit(X, X), X).base_values.shape == (2,)


# --- joined tables


def test_joined_tables_are_the_table_they_were_cut_from(rows):
    whole = join_tables([rows[:1], rows[1:3], rows[3:]])
    assert whole.library == rows.library
    assert whole.names == rows.names
    assert whole.row_labels.tolist() == [0, 1, 2, 3]
    for name in COLUMNS:
        assert str(whole[name].tolist()) == str(rows[name].tolist())
    assert join_tables([rows]) is rows
    assert join_tables([]) is None


def test_labels_are_kept_and_rows_without_labels_are_counted_through():
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index(["x", "y", "z"], name="id"))
    rows = as_table(frame)
    back = join_tables([rows[2:], rows[:2]])
    assert back.row_labels.tolist() == ["z", "x", "y"]
    assert back.index.name == "id"
    plain = as_table(np.arange(4.0).reshape(2, 2))
    assert join_tables([plain, plain]).labels is None
    assert join_tables([plain, plain]).row_labels.tolist() == [0, 1, 2, 3]
    csr = as_table(sparse.csr_array(np.eye(3)))
    assert np.array_equal(np.asarray(join_tables([csr, csr[1:]])), np.concatenate([np.eye(3), np.eye(3)[1:]]))


def test_dtypes_that_differ_are_widened_and_columns_belong_by_position():
    a, b = as_table(pd.DataFrame({"a": [1, 2]})), as_table(pd.DataFrame({"a": [0.5]}))
    assert join_tables([a, b])["a"].tolist() == [1, 2, 0.5]
    b = as_table(pd.DataFrame({"other": [3]})).with_names(["a"])
    assert join_tables([a, b])["a"].tolist() == [1, 2, 3]
    assert join_tables([as_table(pl.DataFrame({"a": [1]})), as_table(pl.DataFrame({"a": [0.5]}))])["a"].tolist() == [
        1,
        0.5,
    ]
    with pytest.raises(OptionError, match="cannot be joined"):
        join_tables([a, as_table(pl.DataFrame({"a": [1]}))])
    with pytest.raises(OptionError, match="cannot be joined"):
        join_tables([a, as_table(pd.DataFrame({"b": [1]}))])
