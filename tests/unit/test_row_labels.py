"""Row labels: found by label, and the same again in frames and after a file."""

import datetime as dt
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

import whybox as wb
from whybox.errors import ExplanationFileError, OptionError
from whybox.explanation.axis_labels import read_label, write_label

N = 6
INDEXES = {
    "dates": pd.date_range("2020-01-01", periods=N, name="day"),
    "nanoseconds": pd.DatetimeIndex(np.arange(N) + 10**18),
    "missing date": pd.DatetimeIndex(["2020-01-01", None, *["2021-01-01"] * (N - 2)]),
    "Berlin": pd.date_range("2020-10-24 22:30", periods=N, freq="h", tz="Europe/Berlin"),
    "levels": pd.MultiIndex.from_product([["u", "v"], [1, 2, 3]], names=["group", "id"]),
    "levels of dates, without names": pd.MultiIndex.from_arrays([pd.date_range("2020", periods=N), list("abcdef")]),
    "one level": pd.MultiIndex.from_arrays([list("abcdef")], names=["k"]),
    "levels of categories": pd.MultiIndex.from_arrays(
        [pd.Categorical(list("abcabc")), pd.array([1, None, 3, 4, 5, 6], dtype="Int64")]
    ),
    "months": pd.period_range("2020-01", periods=N, freq="M"),
    "spans": pd.timedelta_range("1h", periods=N),
    "intervals": pd.interval_range(0, N),
    "categories": pd.CategoricalIndex(list("abcdef"), categories=list("fedcba"), ordered=True, name=3),
    "floats": pd.Index([0.5, 1.5, np.nan, np.inf, 3, 4]),
    "large numbers": pd.Index([2**60 + i for i in range(N)]),
    "nullable numbers": pd.Index([1, 2, pd.NA, 4, 5, 6], dtype="Int64"),
    "python dates": pd.Index([dt.date(2020, 1, i + 1) for i in range(N)]),
    "identifiers": pd.Index([uuid.UUID(int=i) for i in range(N)]),
    "mixed": pd.Index([1, "a", None, 2.5, (1, "x"), dt.datetime(2020, 1, 1)], dtype=object),
    "text": pd.Index(list("abcdef"), name="k"),
    "numbers from ten": pd.RangeIndex(10, 16),
}


def same(index, expected):
    pd.testing.assert_index_equal(index, expected, exact="equiv", check_freq=False)


@pytest.fixture(scope="module")
def model():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(30, 2)), columns=["a", "b"])
    return RandomForestRegressor(3, random_state=0).fit(X, X.a), X


@pytest.mark.parametrize("name", INDEXES)
def test_row_labels_come_back_as_they_were(model, name, tmp_path):
    forest, X = model
    index = INDEXES[name]
    e = wb.explain(forest, X[:N].set_axis(index))
    e.save(tmp_path / "e.whybox")
    got = wb.load(tmp_path / "e.whybox")
    assert got.coords["row"].dtype == e.coords["row"].dtype
    assert [type(v) for v in got.coords["row"]] == [type(v) for v in e.coords["row"]]
    for result in (e, got):
        same(result.to_frame().index, index)
        same(result[1:4].to_frame().index, index[1:4])
        for i in (1, 2, 4) if index.is_unique else (0,):
            assert np.array_equal(result.sel(row=index[i]).values, e.values[i])
    got[2:].save(tmp_path / "again.whybox")
    same(wb.load(tmp_path / "again.whybox").to_frame().index, index[2:])


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_libraries_without_an_index_get_row_labels_as_first_columns(model, name, library):
    forest, X = model
    index = INDEXES[name]
    e = wb.explain(forest, X[:N].set_axis(index))
    for result, labels in ((e, index), (e[1:4], index[1:4]), (e[2], index[[2]])):
        frame = result.to_frame(library=library)
        columns = frame.columns if library == "polars" else frame.column_names
        plain = result.to_frame()
        assert list(columns)[index.nlevels :] == list(plain.columns)
        assert len(frame) == len(plain)
        first = frame[columns[0]].to_list() if library == "polars" else frame.column(0).to_pylist()
        want = labels.get_level_values(0)
        if name in ("text", "levels", "one level", "categories", "numbers from ten", "large numbers", "python dates"):
            assert first == want.tolist()
        elif name in ("identifiers", "months", "intervals"):
            assert first == [str(v) for v in want]
        else:
            assert [v is None or v != v for v in first] == want.isna().tolist()


def test_row_labels_of_named_levels_and_of_a_feature_called_row(model):
    forest, X = model
    e = wb.explain(forest, X[:N].set_axis(INDEXES["levels"]))
    assert e.to_frame(library="polars").columns == ["group", "id", "a", "b", "base_value", "prediction"]
    assert e.to_frame(library="polars")["id"].to_list() == [1, 2, 3, 1, 2, 3]
    frame = X.rename(columns={"a": "row"})
    e = wb.explain(RandomForestRegressor(3, random_state=0).fit(frame, X.a), frame[10:14])
    assert e.to_frame(library="polars").columns == ["row_", "row", "b", "base_value", "prediction"]
    assert e.to_frame(library="polars")["row_"].to_list() == [10, 11, 12, 13]
    assert e.to_frame(library="polars", layout="long")["row"].to_list()[:2] == [10, 10]


@pytest.mark.parametrize("name", ["dates", "levels", "identifiers"])
def test_individual_curves_keep_row_labels(model, name, tmp_path):
    forest, X = model
    curves = wb.effects(forest, X[:N].set_axis(INDEXES[name]), ["a"], kind="ice", grid=3)
    curves.save(tmp_path / "c.whybox")
    assert (
        wb.load(tmp_path / "c.whybox")[0].coords["row"].tolist()
        == curves[0].coords["row"].tolist()
        == INDEXES[name].tolist()
    )


def test_labels_without_pandas(model, tmp_path, monkeypatch):
    forest, X = model
    wb.explain(forest, X[:N].set_axis(INDEXES["levels"])).save(tmp_path / "e.whybox")
    wb.explain(forest, X[:N].set_axis(INDEXES["dates"])).save(tmp_path / "d.whybox")
    monkeypatch.setattr("whybox.explanation.load.find_spec", lambda name: None)
    assert wb.load(tmp_path / "e.whybox").coords["row"].tolist() == INDEXES["levels"].tolist()
    assert np.array_equal(wb.load(tmp_path / "d.whybox").coords["row"], INDEXES["dates"].to_numpy())


def test_dates_are_found_by_any_kind_of_date(model):
    forest, X = model
    e = wb.explain(forest, X[:N].set_axis(INDEXES["dates"]))
    for date in ("2020-01-03", pd.Timestamp("2020-01-03"), np.datetime64("2020-01-03"), dt.datetime(2020, 1, 3)):
        assert np.array_equal(e.sel(row=date).values, e.values[2])
    assert np.array_equal(e.sel(row=["2020-01-05", "2020-01-02"]).values, e.values[[4, 1]])
    for wrong in ("2020-02-03", "yesterday", 3.5):
        with pytest.raises(OptionError, match="is not there"):
            e.sel(row=wrong)


def test_a_tuple_is_one_label_or_several(model):
    forest, X = model
    e = wb.explain(forest, X[:N].set_axis(INDEXES["levels"]))
    assert np.array_equal(e.sel(row=("v", 1)).values, e.values[3])
    assert np.array_equal(e.sel(row=[("v", 1), ("u", 2)]).values, e.values[[3, 1]])
    text = wb.explain(forest, X[:N].set_axis(INDEXES["text"]))
    assert np.array_equal(text.sel(row=("b", "e")).values, e.values[[1, 4]])


def test_a_label_of_several_rows_is_refused(model):
    forest, X = model
    e = wb.explain(forest, X[:4].set_axis(["x", "y", "x", "z"]))
    with pytest.raises(
        OptionError, match=r"2 entries of the axis row are called 'x'; take them by position, for example e\[0\]"
    ):
        e.sel(row="x")
    assert np.array_equal(e.sel(row="z").values, e.values[3])


@pytest.mark.parametrize(
    "label",
    [
        *(1, 2.5, "a", True, None, (1, ("x", None)), 2**70, dt.date(2020, 1, 2), dt.time(3, 4), Decimal("1.10")),
        dt.datetime(2020, 1, 2, 3, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        *(
            dt.timedelta(days=-1, seconds=5, microseconds=7),
            uuid.UUID(int=7),
            b"\x00x",
            np.datetime64("2020-01", "M"),
            np.timedelta64(3, "25us"),
        ),
    ],
)
def test_a_label_is_written_and_read(label):
    import json

    got = read_label(json.loads(json.dumps(write_label(label))))
    assert got == label
    assert type(got) is type(label)


def test_unknown_kinds_of_labels_are_refused():
    with pytest.raises(ExplanationFileError, match="'lambda'"):
        read_label({"lambda": "x"})


def test_levels_are_columns_of_an_arrow_table(model):
    forest, X = model
    e = wb.explain(forest, X[:N].set_axis(INDEXES["levels"]))
    table = e.to_arrow()
    assert table.column_names[:2] == ["group", "id"]
    assert table["group"].to_pylist() == INDEXES["levels"].get_level_values(0).tolist()
    assert table["id"].to_pylist() == [1, 2, 3] * 2
    named = wb.explain(forest, X[:N].set_axis(INDEXES["levels of dates, without names"])).to_arrow()
    assert named.column_names[:2] == ["row_0", "row_1"]
    assert str(named["row_0"].type).startswith("timestamp")
    clash = wb.explain(forest, X[:N].set_axis(INDEXES["levels"].set_names(["a", "a"]))).to_arrow()
    assert len(set(clash.column_names)) == len(clash.column_names)


@pytest.mark.parametrize("name", ["dates", "levels", "text"])
def test_effects_of_rows_with_labels(model, name, tmp_path):
    forest, X = model
    rows = X[:N].set_axis(INDEXES[name])
    plain, labelled = (wb.effects(forest, r, kind=kind) for kind in ("pdp",) for r in (X[:N], rows))
    assert np.array_equal(plain[0].values, labelled[0].values)
    asked, plain = (wb.effects(forest.predict, r, ["a"], kind="ale") for r in (rows, X[:N]))
    assert np.array_equal(asked[0].values, plain[0].values)
    asked, plain = (wb.effects(forest.predict, r, ["a"], kind="ice", grid={"a": [0.25, 9.0]}) for r in (rows, X[:N]))
    assert np.array_equal(asked[0].values, plain[0].values)
    assert asked[0].coords["row"].tolist() == rows.index.tolist()
    wb.interactions(forest, rows)
    wb.regions(forest, rows, "a")
