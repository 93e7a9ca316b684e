"""A cell goes back to the model exactly as it came: same type, same bits, same dtype, whatever the table and the column hold.

The model tells apart whatever can be told apart: it answers with a number made of each cell's type, of all its digits, and of the column's dtype. What it
says of a table whose column was replaced by hand is the right answer.
"""

from __future__ import annotations

import datetime as dt
import zlib
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import whybox as wb
from whybox.errors import DtypeError, OptionError

NAN = float("nan")
BIG = 2**53


def spelled(v):
    if isinstance(v, np.ndarray):
        return f"{v.dtype}{v.tolist()}"
    if isinstance(v, (float, np.floating)):
        return float(v).hex()
    return repr(v)


def cells_of(X, column="c"):
    if isinstance(X, np.ndarray):
        return [X[i, 0] for i in range(len(X))], X.dtype
    if isinstance(X, pa.Table):
        return X[column].to_pylist(), X[column].type
    if isinstance(X, pl.DataFrame):
        return X[column].to_list(), X[column].dtype
    return [X[column].iloc[i] for i in range(len(X))], X[column].dtype


def telltale(X):
    """A number for each row, other for other cells."""
    cells, dtype = cells_of(X)
    x = (
        X[:, 1]
        if isinstance(X, np.ndarray)
        else np.asarray(X["x"].to_numpy() if not isinstance(X, pa.Table) else X["x"])
    )
    told = [zlib.crc32(f"{type(v).__name__} {spelled(v)} {dtype}".encode()) % 9973 for v in cells]
    return np.array(told) * (1.0 + x.astype(float))


def replaced(X, row):
    """The table with the cell of one row in all of them."""
    n = len(X)
    if isinstance(X, np.ndarray):
        out = X.copy()
        for i in range(n):
            out[i, 0] = X[row, 0]
        return out
    if isinstance(X, pa.Table):
        return X.set_column(0, "c", X["c"].take(pa.array([row] * n)))
    if isinstance(X, pl.DataFrame):
        return X.with_columns(X["c"].gather([row] * n))
    out = X.copy()
    out["c"] = X["c"].iloc[[row] * n].set_axis(X.index)
    return out


def objects(*cells):
    out = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        out[i] = cell
    return out


def zoned(zone, unit):
    moments = pd.to_datetime(
        [
            "2024-03-31 00:30",
            "2024-03-31 01:30",
            "2024-10-27 00:30",
            "2024-10-27 01:30",
            None,
            "2023-07-01 12:00:00.123",
        ],
        format="ISO8601",
    )
    return pd.Series(moments, dtype="datetime64[ns]").dt.as_unit(unit).dt.tz_localize("UTC").dt.tz_convert(zone)


X6 = np.array([0.5, 1.0, 2.0, 0.25, 3.0, 1.0])
OBJECTS = {
    "text and NaN": objects("a", "b", NAN, "a", NAN, "b"),
    "text and None": objects("a", "b", None, "a", None, "b"),
    "text, None and NaN": objects("a", None, NAN, "a", None, NAN),
    "all None": objects(*[None] * 6),
    "1, True and 1.0": objects(1, True, 1.0, 1, 0, False),
    "texts and numbers": objects("1", 1, "a", 1.0, None, True),
    "numbers with None": objects(1, 2, None, 4, 2, 1),
    "whole and other numbers": objects(1, 2.5, 1.0, NAN, 2, None),
    "zeros": objects(0.0, -0.0, 0, 1.0, -0.0, 0.0),
    "large ids": objects(BIG, BIG + 1, BIG + 2, BIG + 1, BIG, None),
    "larger ids": objects(2**70, 2**70 + 1, 2**70, 5, 5, 2**70 + 1),
    "numpy numbers": objects(np.int64(3), 3, np.float32(3), np.float64(3), np.int64(4), 4.5),
    "booleans and None": objects(True, False, None, True, None, False),
    "decimals": objects(Decimal("1.0"), Decimal("1.00"), Decimal("2.5"), None, Decimal("1.0"), Decimal("2.5")),
    "dates": objects(dt.date(2024, 1, 1), None, dt.date(2023, 1, 1), dt.date(2024, 1, 1), None, dt.date(2020, 2, 2)),
    "moments of several zones": objects(
        *(dt.datetime(2024, 1, 1, h, tzinfo=z) for h, z in ((12, dt.UTC), (13, dt.timezone(dt.timedelta(hours=1))), (12, ZoneInfo("America/New_York")))),
        NAN, None, dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC),
    ),
    "lists": objects([1.0, 2.0], [1.0, 2.0], [1, 2], [], [3.0, 4.0], None),
    "arrays": objects(*(np.array(v) for v in ([1.0, 2.0], [1.0, 2.0], [1, 2], [3.0, 4.0], [0.0, 1.0], [-0.0, 1.0]))),
    "dicts and sets": objects({"a": 1}, {"a": True}, {1, 2}, {"a": 1}, frozenset({1}), {2, 1}),
}  # fmt: skip
PANDAS = {
    "Int64, large": pd.array([BIG, BIG + 1, None, BIG + 2, BIG + 1, 5], dtype="Int64"),
    "Float64": pd.array([0.0, -0.0, None, 2.5, -0.0, 1.0], dtype="Float64"),
    "boolean": pd.array([True, False, None, True, None, False], dtype="boolean"),
    "bool": np.array([True, False, True, True, False, False]),
    "float with zeros": np.array([0.0, -0.0, NAN, 2.5, -0.0, 1.0]),
    "float32": np.array([0.1, -0.0, NAN, 2.5, 0.1, 1.0], dtype=np.float32),
    "int64, large": np.array([BIG, BIG + 1, BIG + 2, BIG + 1, BIG, 7]),
    "uint64": np.array([2**64 - 1, 2**64 - 2, 0, 2**64 - 1, 1, 0], dtype=np.uint64),
    "str": pd.array(["a", None, "b", "a", None, "b"], dtype="str"),
    "string": pd.array(["a", None, "b", "a", None, "b"], dtype="string"),
    "category": pd.Categorical(["b", None, "a", "b", None, "a"], categories=["b", "a"]),
    "category of numbers": pd.Categorical([BIG, None, BIG + 1, BIG, None, BIG + 1]),
    "period": pd.array(["2024-01", "2024-02", None, "2024-01", None, "2024-02"], dtype="period[M]"),
    "duration": pd.to_timedelta([1, 2, None, 1, None, 3], unit="h"),
    "naive, ns": np.array([0, 1, "NaT", 0, "NaT", -5], dtype="M8[ns]"),
    "arrow list": pd.array([[1.0], [2.0], None, [1.0], [], [2.0]], dtype=pd.ArrowDtype(pa.list_(pa.float64()))),
    "arrow decimal": pd.array([Decimal("1.00"), Decimal("2.50"), None] * 2, dtype=pd.ArrowDtype(pa.decimal128(5, 2))),
    "arrow date": pd.array([dt.date(2024, 1, 1), dt.date(2023, 1, 1), None] * 2, dtype=pd.ArrowDtype(pa.date32())),
    "arrow zoned": pd.array(zoned("America/New_York", "us"), dtype=pd.ArrowDtype(pa.timestamp("us", "America/New_York"))),
    **{
        f"{zone}, {unit}": zoned(zone, unit).array  # each zone in two units, each unit in two zones
        for zone, units in {
            "Europe/Berlin": ("ns", "us"),
            "Asia/Kolkata": ("us", "ms"),
            dt.timezone(dt.timedelta(hours=5, minutes=30)): ("ms", "s"),
            "America/New_York": ("s", "ns"),
        }.items()
        for unit in units
    },
}  # fmt: skip
ARROW = {
    "ids": pa.array([BIG, BIG + 1, None, BIG + 2, BIG + 1, 5]),
    "floats": pa.array([0.0, -0.0, None, NAN, NAN, 1.0]),
    "booleans": pa.array([True, False, None, True, None, False]),
    "texts": pa.array(["a", None, "b", "a", None, "b"]),
    "dictionary": pa.array(["b", None, "a", "b", None, "a"]).dictionary_encode(),
    "moments": pa.array(zoned("America/New_York", "ms").array, type=pa.timestamp("ms", "America/New_York"), from_pandas=True),
    "moments, ns": pa.array([1, 2, None, 1, 5, 2], type=pa.timestamp("ns", "Europe/Berlin")),
    "dates": pa.array([dt.date(2024, 1, 1), dt.date(2023, 1, 1), None] * 2),
    "times": pa.array([dt.time(1), dt.time(2), None] * 2),
    "durations": pa.array([dt.timedelta(1), dt.timedelta(2), None] * 2),
    "lists": pa.array([[1.0], [2.0], None, [1.0], [], [2.0]]),
    "structs": pa.array([{"a": 1}, {"a": 2}, None] * 2),
    "nulls": pa.nulls(6),
}  # fmt: skip


def tables():
    for name, cells in OBJECTS.items():
        frame = pd.DataFrame({"c": pd.Series(cells, dtype=object), "x": X6})
        yield f"pandas object, {name}", frame.set_axis([3, 3, 1, 2, 9, 8])
        both = np.empty((6, 2), dtype=object)
        for i in range(6):
            both[i, 0], both[i, 1] = cells[i], X6[i]
        yield f"numpy object, {name}", both
    for name, cells in PANDAS.items():
        yield f"pandas, {name}", pd.DataFrame({"c": cells, "x": X6})
    for name, cells in ARROW.items():
        yield f"pyarrow, {name}", pa.table({"c": cells, "x": X6})
        if name != "moments, ns":
            yield f"polars, {name}", pl.from_arrow(pa.table({"c": cells, "x": X6}))
    yield "numpy, zeros", np.column_stack([[0.0, -0.0, NAN, 2.0, -0.0, NAN], X6])
    yield "numpy, ids", np.column_stack([[BIG, BIG + 1, BIG + 2, BIG, BIG + 1, 3], [0, 1, 2, 3, 4, 5]]).astype(np.int64)
    yield "numpy, float32", np.column_stack([[0.1, -0.0, 0.0, 2.0, 0.1, NAN], X6]).astype(np.float32)


TABLES = dict(tables())
NO_AXIS = (  # nothing to move between, or nothing that a float tells apart
    "pandas object, all None", "numpy object, all None", "pyarrow, nulls", "polars, nulls", "pandas, uint64", "pandas, naive, ns", "pyarrow, moments, ns",
)  # fmt: skip


def mean_with(X, row):
    """Partial dependence where the cell of one row stands in all."""
    return round(float(telltale(replaced(X, row)).mean()), 6)


def rounded(values):
    return [round(float(v), 6) for v in values]


@pytest.mark.parametrize("name", TABLES)
def test_rows_that_differ_to_the_model_are_asked_apart(name):
    X = TABLES[name]
    curves = wb.effects(telltale, X, ["x"] if not isinstance(X, np.ndarray) else [1], "ice")[0].values
    n = len(X)
    for g, v in enumerate(wb.effects(telltale, X, [1], "ice")[0].grid):
        brute = X.copy() if isinstance(X, np.ndarray) else X
        if isinstance(X, np.ndarray):
            brute[:, 1] = v
        elif isinstance(X, pa.Table):
            brute = X.set_column(1, "x", pa.array([float(v)] * n))
        elif isinstance(X, pl.DataFrame):
            brute = X.with_columns(pl.Series("x", [float(v)] * n))
        else:
            brute = X.assign(x=float(v))
        assert np.array_equal(curves[:, g], telltale(brute)), v


@pytest.mark.parametrize("name", TABLES)
def test_a_point_that_the_data_have_is_a_cell_of_theirs(name):
    X = TABLES[name]
    means = {mean_with(X, r) for r in range(len(X))}
    curve = wb.effects(telltale, X, [0])[0]
    assert set(rounded(curve.values)) <= means
    each = wb.effects(telltale, X, [0], "ice")[0].values
    assert np.allclose(each.mean(axis=0), curve.values, rtol=1e-12)
    assert rounded(curve.at(list(curve.grid))) == rounded(curve.values)
    own = wb.effects(
        telltale, X, [0], grid={0: list(curve.grid)} if isinstance(X, np.ndarray) else {"c": list(curve.grid)}
    )[0]
    assert sorted(rounded(own.values)) == sorted(rounded(curve.values))


@pytest.mark.parametrize("name", [n for n in TABLES if "period" not in n])
def test_at_a_cell_of_the_data_is_the_model_with_that_cell(name):
    X = TABLES[name]
    curve = wb.effects(telltale, X, [0])[0]
    two_gaps = name.endswith(", floats")  # null and NaN: one point, which a note says is null
    assert any("null" in note for note in curve.evidence.notes) == two_gaps
    cells = cells_of(X)[0]
    for r, cell in enumerate(cells):
        if not (two_gaps and cell != cell):
            assert rounded(curve.at([cell])) == [mean_with(X, r)], cell


@pytest.mark.parametrize(
    "name", ["pandas object, text, None and NaN", "pandas object, 1, True and 1.0", "numpy object, text, None and NaN"]
)
def test_a_grid_of_cells_is_asked_cell_by_cell(name):
    X = TABLES[name]
    rows = [0, 1, 2]
    cells = [cells_of(X)[0][r] for r in rows]
    own = wb.effects(telltale, X, [0], grid={0: cells} if isinstance(X, np.ndarray) else {"c": cells})[0]
    right = [mean_with(X, r) for r in rows]
    assert set(rounded(own.values)) <= set(right)
    assert [rounded(own.at([c]))[0] for c in cells] == right


@pytest.mark.parametrize("kind", ["Europe/Berlin, us", "America/New_York, ns", "Asia/Kolkata, ms"])
def test_dates_of_a_zone_are_moments(kind):
    X = TABLES[f"pandas, {kind}"]
    zone = X["c"].dt.tz

    def seconds(rows):
        return np.array([v.timestamp() for v in rows["c"]])

    X = X[X["c"].notna()]
    curve = wb.effects(seconds, X, "c")["c"]
    assert curve.grid.dtype.kind == "M"
    noon = dt.datetime(2024, 6, 1, 12, tzinfo=ZoneInfo(str(zone)))
    asked = [
        noon,
        pd.Timestamp(noon),
        noon.astimezone(dt.UTC),
        noon.isoformat(),
        noon.astimezone(dt.UTC).replace(tzinfo=None),
    ]
    assert curve.at(asked).tolist() == [noon.timestamp()] * 5  # without a zone it is UTC, as the grid is
    line = wb.effects(seconds, X, "c", "ale")["c"]
    assert np.ptp(line.at([line.grid[1], pd.Timestamp(line.grid[1], tz="UTC").tz_convert(zone)])) == 0
    own = wb.effects(seconds, X, "c", grid={"c": [noon]})["c"]
    assert own.values.tolist() == [noon.timestamp()]
    with pytest.raises(OptionError, match="give dates"):
        curve.at(["yesterday"])


def test_a_zone_that_the_column_does_not_have_is_refused():
    X = TABLES["pandas, naive, ns"].dropna()
    curve = wb.effects(lambda rows: rows["x"].to_numpy(), X, "c")["c"]
    with pytest.raises(OptionError, match="no time zone"):
        curve.at([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)])


def test_durations_anywhere():
    X = TABLES["pandas, duration"].dropna()
    hours = lambda rows: rows["c"].dt.total_seconds().to_numpy() / 3600
    curve = wb.effects(hours, X, "c")["c"]
    assert curve.at(
        [pd.Timedelta("90min"), dt.timedelta(hours=5), np.timedelta64(30, "m"), curve.grid[1]]
    ).tolist() == [1.5, 5.0, 0.5, 2.0]
    line = wb.effects(hours, X, "c", "ale")["c"]
    assert line.at([dt.timedelta(hours=2)])[0] - line.at([dt.timedelta(hours=1)])[0] == pytest.approx(1.0)
    with pytest.raises(OptionError, match="give durations"):
        curve.at([5])


def test_new_values_take_the_dtype_of_the_column():
    def dtypes(X):
        cells, dtype = cells_of(X)
        return np.array([100.0 * (str(dtype) == wanted) + float(v) for v in cells])

    for X, wanted, value in (
        (pd.DataFrame({"c": pd.array([1, 2, 3], dtype="Int64"), "x": X6[:3]}), "Int64", 9),
        (pd.DataFrame({"c": pd.array([1, 2, None], dtype="Int64"), "x": X6[:3]}).dropna(), "Int64", 9.0),
        (pl.DataFrame({"c": [1, 2, 3], "x": X6[:3]}), "Int64", 9.0),
        (pa.table({"c": pa.array([1, 2, 3], pa.int16()), "x": X6[:3]}), "int16", 9),
        (pd.DataFrame({"c": np.array([1, 2, 3], dtype=np.float32), "x": X6[:3]}), "float32", 9),
    ):
        curve = wb.effects(dtypes, X, ["c"])["c"]
        assert rounded(curve.at([value, 2])) == [109.0, 102.0], wanted

    def kinds(X):
        return np.array([float(type(v) is int) for v in cells_of(X)[0]])

    X = pd.DataFrame({"c": pd.Series([1, 2, 3], dtype=object), "x": X6[:3]})
    assert wb.effects(kinds, X, ["c"])["c"].at([2.0, 7.0, 7.5]).tolist() == [1.0, 1.0, 0.0]


def test_what_cannot_be_asked_without_rounding_other_cells_is_refused():
    ids = np.array([[BIG + 1, 1], [BIG + 3, 2], [5, 3]])
    curve = wb.effects(lambda rows: rows[:, 0] % 7.0, ids, [1])[0]
    with pytest.raises(DtypeError, match="rounds"):
        curve.at([1.5])
    frame = pd.DataFrame(ids, columns=["a", "b"])
    model = lambda rows: (rows["a"] % 7 + rows["b"]).to_numpy(dtype=float)
    assert rounded(wb.effects(model, frame, ["b"])["b"].at([1.5])) == rounded(
        [np.mean([(BIG + 1) % 7, (BIG + 3) % 7, 5]) + 1.5]
    )
    with pytest.raises(DtypeError, match="round"):
        wb.effects(model, frame, ["a"])["a"].at([BIG + 1, 1.5])


def test_every_effect_of_ids_that_floats_cannot_tell_apart():
    ids = np.array([[2**60 + i, i % 3] for i in range(50)])
    model = lambda rows: (rows[:, 0] - 2**60) * 2.0 + rows[:, 1]
    rest = (np.arange(50) % 3).mean()
    right = 2.0 * np.arange(50) + rest
    assert wb.effects(model, ids, [0])[0].values == pytest.approx(right)
    assert wb.effects(model, ids, [0], "marginal", grid=50)[0].values == pytest.approx(
        2.0 * np.arange(50) + np.arange(50) % 3
    )
    line = wb.effects(model, ids, [0], "ale", grid={0: ids[:, 0]})[0]
    assert np.diff(line.values) == pytest.approx(2.0)
    assert line.at([2**60 + 7, 2**60 + 8]).tolist() == line.values[7:9].tolist()
    joined = wb.effects(model, ids, [0], "ale", grid=50)[0]  # of five rows each, the first of six
    assert [int(point) - 2**60 for point in joined.grid] == [0, 4, 9, 14, 19, 24, 29, 34, 39, 44, 49]
    assert joined.values - joined.values[0] == pytest.approx(2.0 * np.array([0, *range(4, 50, 5)]))
    assert np.diff(joined.at([2**60 + 7, 2**60 + 8])) == pytest.approx(2.0)
    assert wb.effects(model, ids, [0], "d-ice", grid=50)[0].values == pytest.approx(2.0)


def test_columns_of_several_values_a_cell_beside_the_one_asked_about():
    for cell in ([1.0, 2.0], np.array([1.0, 2.0]), {"a": [1]}, {1, 2}):
        X = pd.DataFrame({"v": [cell] * 4, "x": [0.0, 1, 2, 3]})
        for kind in ("pdp", "ale", "ice", "marginal", "anova"):
            assert len(wb.effects(lambda rows: 2.0 * rows["x"].to_numpy(), X, ["x"], kind)) == 1
        assert wb.effects(lambda rows: 2.0 * rows["x"].to_numpy(), X)["v"].values.tolist() == [3.0]


def test_regions_name_what_the_column_holds():
    rng = np.random.default_rng(0)
    flag = pd.array(rng.random(200) < 0.5, dtype="boolean")
    flag[3] = pd.NA
    X = pd.DataFrame({"flag": flag, "x": rng.normal(size=200)})
    model = lambda rows: np.where(rows["flag"].fillna(False).to_numpy(dtype=bool), 1, -1) * rows["x"].to_numpy()
    assert list(wb.regions(model, X, "x")) == ["all rows", "flag = True", "flag is not True"]
    mixed = X.copy()
    mixed["flag"] = pd.Series([1 if rng.random() < 0.5 else "1" for _ in range(200)], dtype=object)
    told = lambda rows: np.array([1.0 if isinstance(v, str) else -1.0 for v in rows["flag"]]) * rows["x"].to_numpy()
    assert len(wb.regions(told, mixed, "x")) == 3


@pytest.mark.parametrize("kind", ["pdp", "ice", "ale"])
@pytest.mark.parametrize("name", TABLES)
def test_curves_of_every_cell_are_saved_drawn_and_exported(name, kind, tmp_path):
    import matplotlib.pyplot as plt

    if kind == "ale" and name in NO_AXIS:
        with pytest.raises(OptionError, match="fewer than two values|too close together"):
            wb.effects(telltale, TABLES[name], [0], kind)
        return
    curves = wb.effects(telltale, TABLES[name], [0], kind)
    curves.save(tmp_path / "curves.whybox")
    loaded = wb.load(tmp_path / "curves.whybox")
    assert np.array_equal(loaded[0].values, curves[0].values)
    assert len(loaded[0].grid) == len(curves[0].grid)
    if curves[0].grid.dtype != object:
        assert np.array_equal(loaded[0].grid, curves[0].grid, equal_nan=True)
    assert curves[0].to_arrow().num_rows == curves[0].values.size == len(curves.to_arrow())
    curves[0].plot.curve()
    plt.close("all")
    assert curves[0]._repr_html_()
