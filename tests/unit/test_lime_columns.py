"""Columns of every type: what is drawn goes to the model in the column's own type, and conditions are written in its own words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestRegressor

import whybox as wb
from whybox.errors import OptionError
from whybox.methods.common.bins import edge_texts

RNG = np.random.default_rng(0)
N = 120
DAYS = RNG.permutation(np.arange(N)) % 99
X = pd.DataFrame({"a": RNG.normal(size=N), "b": RNG.normal(size=N)})
WAITED = X.assign(t=pd.to_timedelta(DAYS, "D"))
DATED = X.assign(t=pd.Timestamp("2020-01-01", tz="Europe/Rome") + pd.to_timedelta(30 * DAYS, "D"))
FAR = 2**60
NUMBERED = X.assign(id=FAR + 3 * np.arange(N))

OPTIONS = [{}, {"neighbourhood": "row"}, {"discretizer": None}]


def days(table):
    return table["t"].dt.total_seconds().to_numpy(float) / 86_400


def years(table):
    return table["t"].dt.tz_convert("UTC").dt.as_unit("s").astype("int64").to_numpy(float) / 86_400


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_durations_are_drawn_as_durations(options):
    e = wb.lime(days, WAITED[:4], WAITED, max_evals=2_000, **options)
    condition = e.extras["condition"][1][0, 2]
    assert "days" in condition
    assert (np.abs(e[:, "a"].values) < 5 * e[:, "a"].std_error + 1e-6).all()
    if "discretizer" in options:
        np.testing.assert_allclose(e[:, "t"].values, DAYS.std(), rtol=1e-6)
        assert condition == "t, each 30 days"


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_dates_are_drawn_as_dates_in_their_time_zone(options):
    e = wb.lime(years, DATED[:4], DATED, max_evals=2_000, **options)
    if "discretizer" in options:
        np.testing.assert_allclose(e[:, "t"].values, 30 * DAYS.std(), rtol=1e-6)
        assert e.extras["condition"][1][0, 2] == "t, each 900 days"
    else:
        assert "202" in e.extras["condition"][1][0, 2]


def test_edges_of_dates_and_durations_are_dates_and_durations():
    e = wb.lime(years, DATED[:4], DATED, discretizer={"t": ["2022-01-01", "2026-01-01"]}, max_evals=2_000)
    assert set(e.extras["condition"][1][:, 2]) <= {
        "t <= 2022-01-01",
        "2022-01-01 < t <= 2026-01-01",
        "t > 2026-01-01",
    }
    e = wb.lime(days, WAITED[:1], WAITED, discretizer={"t": pd.to_timedelta(["50D"])}, max_evals=2_000)
    assert e.extras["condition"][1][0, 2] in ("t <= 50 days", "t > 50 days")
    for table, model, what in ((DATED, years, "dates"), (WAITED, days, "durations")):
        with pytest.raises(OptionError, match=f"the edges of 't' must be increasing {what}, at least one"):
            wb.lime(model, table[:1], table, discretizer={"t": ["soon"]})


@pytest.mark.parametrize("missing", [False, True])
def test_whole_numbers_beyond_floats_keep_every_digit(missing):
    table = NUMBERED.assign(id=NUMBERED["id"].astype("Int64").where(X["a"] > -1)) if missing else NUMBERED
    met = []

    def function(rows):
        met.extend(int(v) for v in rows["id"] if v is not pd.NA)
        return (rows["id"].fillna(FAR) > FAR + 90).to_numpy(float)

    e = wb.lime(function, table[:2], table, discretizer={"id": [FAR + 90]}, max_evals=2_000)
    words = e.extras["condition"][1][:, 2]
    assert set(words) <= {f"id <= {FAR + 90}", f"id > {FAR + 90}", "id missing"}
    assert any(v - FAR not in range(0, 3 * N, 3) for v in met)  # drawn inside bins, not rounded to what floats hold
    if not missing:
        np.testing.assert_allclose(e[:, "id"].values, -1.0, atol=1e-9)


def test_such_numbers_are_read_exactly_by_trees():
    forest = RandomForestRegressor(3, random_state=0).fit(NUMBERED, X["a"])
    exact = wb.lime(forest, NUMBERED[:2], NUMBERED)
    assert exact.evidence.exact
    sampled = wb.lime(forest, NUMBERED[:2], NUMBERED, method="sampled", tol=1e-9, max_evals=20_000)
    assert (np.abs(exact.values - sampled.values) < 5 * sampled.std_error + 1e-9).all()


def test_a_bin_of_one_value_names_it():
    table = X.assign(sex=RNG.integers(1, 3, N), children=RNG.choice([0, 0, 0, 1, 2, 5], N))
    rows = table[:3].assign(sex=[1, 2, 1.5], children=[0, 5, 1])
    words = wb.lime(lambda A: A["a"], rows, table, max_evals=2_000).extras["condition"][1]
    assert words[:, 2].tolist() == ["sex = 1", "sex = 2", "1 < sex <= 2"]
    assert words[:, 3].tolist()[0] == "children = 0"


def test_a_constant_that_is_not_cut_is_named_by_its_value():
    table = X.assign(c=3.0)
    e = wb.lime(lambda A: A["a"] + A["c"], table[:2], table, discretizer=None, max_evals=2_000)
    assert e.extras["condition"][1][0, 2] == "c = 3"
    np.testing.assert_array_equal(e[:, "c"].values, 0)


def test_edges_as_text():
    assert edge_texts(np.array([36e5, 72e5]), kind="duration") == ["3.6 seconds", "7.2 seconds"]
    assert edge_texts(np.array([2 * 86_400e6, 3.5 * 86_400e6]), kind="duration") == ["2 days", "3.5 days"]
    assert edge_texts(np.array([0.0, 1.75]), origin=FAR) == [str(FAR), str(FAR + 1)]


@pytest.mark.parametrize("seed", range(20))
def test_bins_of_weighted_rows_are_those_of_repeated_rows(seed):
    """By the inverted distribution function, in which NumPy 1 knows no weights."""
    from whybox.methods.common.bins import _weighted_percentiles

    rng = np.random.default_rng(seed)
    values, times = rng.integers(0, 12, 25).astype(float), rng.integers(0, 5, 25)
    times[0] = 7  # never all the same
    percent = (10, 25, 50, 75, 90)
    repeated = np.percentile(np.repeat(values, times), percent, method="inverted_cdf")
    np.testing.assert_array_equal(_weighted_percentiles(values, times / 4, percent), repeated)
