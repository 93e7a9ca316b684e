"""Rows as dicts, lists of dicts, record batches, readers and DuckDB relations; masks that are series."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import whybox as wb
import zoo
from whybox.data.table import as_table
from whybox.errors import ColumnsError, EmptyDataError, InputError, OptionError


@pytest.fixture(scope="module")
def forest():
    model, rows = zoo.built("RandomForestRegressor")
    return model, rows[:20]


def in_arrow(rows):
    return pa.Table.from_pandas(rows, preserve_index=False)


CONTAINERS = {
    "dict of lists": lambda rows: rows.to_dict("list"),
    "dict of arrays": lambda rows: {name: rows[name].to_numpy() for name in rows},
    "dict of series": lambda rows: {name: rows[name] for name in rows},
    "dict of polars series": lambda rows: {name: pl.Series(rows[name]) for name in rows},
    "dict of arrow arrays": lambda rows: {name: pa.array(rows[name]) for name in rows},
    "list of dicts": lambda rows: rows.to_dict("records"),
    "tuple of dicts": lambda rows: tuple(rows.to_dict("records")),
    "record batch": lambda rows: in_arrow(rows).to_batches()[0],
    "reader": lambda rows: in_arrow(rows).to_reader(max_chunksize=7),
    "relation": lambda rows: pytest.importorskip("duckdb").connect().from_arrow(in_arrow(rows)),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_rows_in_containers_are_explained_as_the_frame_is(forest, name):
    model, rows = forest
    want = wb.explain(model, rows)
    e = wb.explain(model, CONTAINERS[name](rows))
    assert e.values.tobytes() == want.values.tobytes()
    assert np.allclose(e.prediction, model.predict(rows), rtol=1e-9)
    assert e.feature_names == tuple(rows.columns)
    assert len(e.to_frame()) == len(rows)
    assert len(wb.explain(model, rows, CONTAINERS[name](rows))) == len(rows)  # as a background


@pytest.fixture(scope="module")
def frame_answers(forest):
    """An effect and an importance of the rows as a frame."""
    model, rows = forest
    effect = wb.effects(model, rows, ["bmi"], grid=3)["bmi"]
    return effect, wb.importance(model, rows).values.tobytes()


# one of each kind: all become tables in one place, which the test above holds for every container
@pytest.mark.parametrize("name", ["dict of lists", "list of dicts", "reader", "relation"])
def test_everything_that_takes_rows_takes_containers(forest, frame_answers, name, tmp_path):
    model, rows = forest
    want, importance = frame_answers
    curves = wb.effects(model, CONTAINERS[name](rows), ["bmi"], grid=3, refits=[model] * 3)
    assert curves["bmi"].values.tobytes() == want.values.tobytes()
    assert wb.importance(model, CONTAINERS[name](rows)).values.tobytes() == importance
    assert wb.interactions(model, CONTAINERS[name](rows)).shape == (5, 5)
    assert len(wb.regions(model, CONTAINERS[name](rows), "bmi", depth=1)) >= 1
    assert wb.plan(wb.explain, model, CONTAINERS[name](rows)).rows == 20
    assert wb.plan(wb.effects, model, CONTAINERS[name](rows), ["bmi"], spot_checks=0).checks == 20
    assert len(wb.report(model, CONTAINERS[name](rows), tmp_path / "r.html", sections=())) == 20


def test_columns_are_matched_by_name_whatever_their_order(forest):
    model, rows = forest
    mixed = [dict(reversed(list(row.items()))) for row in rows.to_dict("records")]
    assert np.array_equal(wb.explain(model, mixed).values, wb.explain(model, rows).values)


def test_one_row_as_a_dict(forest):
    model, rows = forest
    e = wb.explain(model, rows.iloc[3].to_dict())
    assert e.shape == (1, 5)
    assert e.prediction[0] == pytest.approx(model.predict(rows[3:4])[0], rel=1e-9)


def test_missing_values_and_words_in_dicts():
    table = as_table([{"n": 1, "w": "a", "b": True}, {"n": None, "w": None, "b": False}])
    assert np.isnan(table.column(0).values).tolist() == [False, True]
    assert table.column(1).objects().tolist() == ["a", None]
    assert table.column(2).kind == "boolean"
    assert len(as_table({"w": "a word", "n": 3})) == 1
    kept = as_table({"w": pd.Categorical(["x", "y"], categories=["y", "x"]), "n": [1, 2]})
    assert kept.column(0).categories == ("y", "x")
    labelled = as_table({"a": pd.Series([1.0, 2.0], index=["r", "s"]), "b": pd.Series([3.0, 4.0], index=["r", "s"])})
    assert labelled.row_labels.tolist() == ["r", "s"]


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ({}, EmptyDataError, "no columns"),
        ([{}], EmptyDataError, "no columns"),
        ({"a": []}, EmptyDataError, "no rows"),
        ({"a": [1, 2], "b": [1]}, InputError, r"different lengths: 'a' has 2, 'b' has 1"),
        ({"a": [1, 2], "b": 1}, InputError, "'b' holds one value"),
        ({"a": np.zeros((2, 2)), "b": [1, 2]}, InputError, "'a' is a ndarray that is no list"),
        ({"a": {1, 2}}, InputError, "'a' is a set that is no list"),
        ({"a": {"b": 1}}, InputError, "'a' is a dict that is no list"),
        ([{"age": 1, "bmi": 2}, {"age": 1, "bm": 2}], ColumnsError, r"row 1 lacks 'bmi'.*Did you mean 'bm'\?"),
        ([{"age": 1}, {"age": 1, "bmi": 2}], ColumnsError, "row 1 has 'bmi', which row 0 lacks"),
        ({"a": pd.Series([1, 2]), "b": pd.Series([1, 2], index=[1, 0])}, InputError, "'a' and 'b' have different indexes"),
    ],
    ids=str,
)  # fmt: skip
def test_containers_that_are_no_table_are_refused(rows, error, said):
    with pytest.raises(error, match=said):
        as_table(rows)


def test_readers_and_relations_that_fail(forest):
    model, rows = forest
    duckdb = pytest.importorskip("duckdb")
    reader = pa.Table.from_pandas(rows, preserve_index=False).to_reader()
    wb.explain(model, reader)
    with pytest.raises(EmptyDataError, match=r"gives its rows once.*read_all"):
        wb.explain(model, reader)
    connection = duckdb.connect()
    connection.execute("create table t as select 1 as a")
    relation = connection.sql("select a from t")
    assert as_table(relation).names == ("a",)
    assert len(as_table(relation)) == 1  # as often as one likes
    connection.execute("drop table t")
    with pytest.raises(InputError, match="cannot be run"):
        as_table(relation)
    with pytest.raises(InputError, match=r"lazy frame; call \.collect"):
        as_table(pl.DataFrame({"a": [1]}).lazy())


def test_types_of_a_query_are_read():
    duckdb = pytest.importorskip("duckdb")
    table = as_table(duckdb.sql("select 1.5 as a, 2::hugeint as b, true as c, 'w' as d, null::double as e"))
    assert [float(table.column(i).values[0]) for i in (0, 1, 2)] == [1.5, 2.0, 1.0]
    assert table.column(3).values.tolist() == ["w"]
    assert np.isnan(table.column(4).values).all()


def test_a_network_reads_a_batch():
    import torch

    net = torch.nn.Linear(2, 1).eval()
    arrow = pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    want = wb.saliency(net, arrow.to_pandas(), method="gradient_x_input")
    for rows in (arrow.to_batches()[0], arrow.to_reader()):
        found = wb.saliency(net, rows, method="gradient_x_input")
        assert found.values.tobytes() == want.values.tobytes()
        assert found.feature_names == ("a", "b")


def masks(keep):
    return {
        "pandas": pd.Series(keep),
        "pandas, nullable": pd.Series(keep, dtype="boolean"),
        "pandas, arrow": pd.Series(keep, dtype="bool[pyarrow]"),
        "pandas array": pd.array(keep, dtype="boolean"),
        "polars": pl.Series(keep),
        "pyarrow": pa.array(keep),
        "pyarrow, chunks": pa.chunked_array([keep[:3], keep[3:]]),
        "numpy": np.array(keep),
        "list": keep,
    }


@pytest.mark.parametrize("name", masks([True]))
def test_masks_of_every_library(forest, name):
    e = wb.explain(*forest)
    keep = [i % 3 == 0 for i in range(20)]
    for cut in (e[masks(keep)[name]], e.sel(row=masks(keep)[name])):
        assert cut.values.tobytes() == e.values[::3].tobytes()
        assert cut.coords["row"].tolist() == list(range(0, 20, 3))
        assert len(cut.data) == 7


def test_masks_are_matched_by_their_index(forest):
    model, rows = forest
    mixed = rows.sample(frac=1.0, random_state=1)
    e = wb.explain(model, mixed)
    old = mixed["age"] > 50
    want = mixed.index[old].tolist()
    assert e[old].coords["row"].tolist() == want
    assert e[old.sort_index()].coords["row"].tolist() == want  # the same mask in another order
    assert e[old.to_numpy()].coords["row"].tolist() == want
    named = wb.explain(model, rows.set_axis([f"p{i}" for i in range(20)]))
    with pytest.raises(OptionError, match=r"row: the index of the mask is not that of the axis.*to_numpy"):
        named[rows["age"] > 50]
    importance = wb.importance(model, rows)
    size = importance.to_frame().set_index("feature")["importance"]
    assert set(importance[size > size.median()].feature_names) == set(size.nlargest(2).index)
    assert (
        importance[(size > size.median()).sort_index()].feature_names == importance[size > size.median()].feature_names
    )


def test_other_keys_of_other_libraries(forest):
    model, rows = forest
    e = wb.explain(model, rows)
    assert e[range(3)].values.tobytes() == e.values[:3].tobytes()
    assert e[pd.Series([4, 2])].values.tobytes() == e.values[[4, 2]].tobytes()
    assert e[:, rows.columns[1:3]].feature_names == tuple(rows.columns[1:3])
    assert e[:, pl.Series(["bmi", "age"])].feature_names == ("bmi", "age")
    assert e[..., pd.Index(["bmi"])].values.tobytes() == e.values[:, [2]].tobytes()
    assert e.sel(row=rows.index[3:5]).values.tobytes() == e.values[3:5].tobytes()
    for mask in (
        pd.array([True, None] * 10, dtype="boolean"),
        pl.Series([True, None] * 10),
        pa.array([True, None] * 10),
    ):
        with pytest.raises(OptionError, match="missing values"):
            e[mask]
    with pytest.raises(IndexError):
        e[pl.Series([True] * 3)]


def test_labels_that_are_true_and_false_are_labels():
    rows = pd.DataFrame({"flag": [True, False, True], "n": [1.0, 2.0, 3.0]})
    e = wb.effects(lambda t: t["flag"] * t["n"], rows, ["flag"])["flag"]
    assert [bool(v) for v in e.grid] == [False, True]
    assert float(e.sel(point=True)) == float(e.values[1])
    assert e.sel(point=[True]).values.tolist() == [e.values[1]]
