"""Standard errors of attributions go wherever the values go: parts, joined rows, tables, files, notebooks, and one-line texts."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import whybox as wb
import zoo
from estimated import estimated
from whybox.errors import OptionError
from whybox.explanation.errors_of_values import (
    error_of_sum,
    includes_zero,
    interval_level,
    mean_size_error,
    median_error,
)
from whybox.explanation.html import number_text

EXTRAS = ("background_error", "model_evals", "converged")


@pytest.fixture(scope="module")
def exact():
    model, rows = zoo.built("LGBMRegressor, categories")
    return wb.explain(model, rows[:40])


@pytest.fixture(scope="module")
def one(exact):
    return estimated(exact)


@pytest.fixture(scope="module")
def several():
    model, rows = zoo.built("RandomForestClassifier, 3 classes, sample weights")
    return estimated(wb.explain(model, rows[:30]))


def same(e, std_error, rows, values=slice(None)):
    """Whether the error and the extras are those of these rows; `values` is the key of the other axes."""
    key = (rows, *(values if isinstance(values, tuple) else (values,)))
    assert np.array_equal(e.std_error, std_error[key])
    assert np.array_equal(e.extras["background_error"][1], 2.0 * std_error[key])
    assert np.array_equal(e.extras["model_evals"][1], (np.arange(len(std_error)) + 2000)[rows])
    assert np.array_equal(e.extras["converged"][1], (np.arange(len(std_error)) % 3 > 0)[rows])


def test_parts_keep_their_own_errors(one, several):
    same(one[3], one.std_error, 3)
    same(one[4:9], one.std_error, slice(4, 9))
    same(one[[7, 2]], one.std_error, [7, 2])
    same(one[np.arange(40) > 30], one.std_error, np.arange(40) > 30)
    name = one.feature_names[1]
    same(one[5, name], one.std_error, 5, 1)
    same(one.sel(row=one.coords["row"][6]), one.std_error, 6)
    same(several[2:8, :, 1], several.std_error, slice(2, 8), (slice(None), 1))
    same(several[..., several.output_names[2]], several.std_error, slice(None), (slice(None), 2))
    assert one[5, name].extras["background_error"][0] == ()
    assert several[4].extras["background_error"][0] == ("feature", "output")
    low, high = one[2:5].interval
    assert np.array_equal(low, one.interval[0][2:5])
    assert np.array_equal(high, one.interval[1][2:5])


def test_joined_rows_keep_their_own_errors(one, several):
    for e in (one, several):
        joined = wb.concat([e[20:], e[:20]])
        same(joined, e.std_error, np.r_[20 : len(e), 0:20])
        assert joined.extras["background_error"][0] == e.dims


def test_exact_and_estimated_rows_are_not_joined(one, exact):
    with pytest.raises(OptionError, match="cannot be joined"):
        wb.concat([one[:5], exact[5:]])


@pytest.mark.parametrize("keep", ["file", "pickle", "deepcopy"])
def test_kept_explanations_keep_errors(several, keep, tmp_path):
    if keep == "file":
        several.save(tmp_path / "e.whybox")
        again = wb.load(tmp_path / "e.whybox")
    else:
        again = pickle.loads(pickle.dumps(several)) if keep == "pickle" else copy.deepcopy(several)
    same(again, several.std_error, slice(None), (slice(None), slice(None)))
    assert [again.extras[name][0] for name in EXTRAS] == [("row", "feature", "output"), ("row",), ("row",)]
    assert not again.evidence.exact
    assert np.array_equal(again.interval[1], several.interval[1])


@pytest.mark.parametrize("level", [None, 0.5])
def test_intervals_have_the_level_that_was_asked_for(exact, level):
    e = estimated(exact, level=level)
    half = norm.ppf((1 + (level or 0.95)) / 2) * e.std_error
    assert interval_level(e) == (level or 0.95)
    assert np.allclose(e.interval[0], e.values - half)
    assert np.allclose(e.interval[1], e.values + half)
    assert exact.interval is None


def test_what_includes_zero_is_estimated_and_near_zero(one, exact):
    low, high = one.interval
    assert np.array_equal(includes_zero(one), (low <= 0) & (high >= 0) & (one.std_error > 0))
    assert includes_zero(one).any()
    assert not includes_zero(one)[:, -1].any()  # known exactly, also where it is zero
    assert not includes_zero(exact).any()


def test_the_median_is_that_of_what_was_estimated(one, exact):
    assert median_error(one) == np.median(one.std_error[:, :-1])
    assert median_error(one[:, [one.feature_names[-1]]]) is None
    assert median_error(exact) is None


def test_the_error_of_a_mean_size_covers_whatever_the_dependence_between_rows():
    """Rows share all of their error, none, or half of it with the other sign; true values are zero, small and large: at 95 % no more than 5 % are missed."""
    rng = np.random.default_rng(0)
    rows, draws, s = 12, 4000, 0.3
    true = np.stack([np.zeros(rows), np.linspace(-0.3, 0.3, rows), np.linspace(1, 3, rows)], axis=1)
    shared, own = rng.normal(size=(draws, 1, 1)), rng.normal(size=(draws, rows, 1))
    sides = np.where(np.arange(rows) % 2, 1.0, -1.0)[:, None]
    for noise in (shared * np.ones((1, rows, 1)), own, shared * sides):
        found = np.abs(true + s * noise).mean(axis=1)
        missed = np.abs(found - np.abs(true).mean(axis=0)) > norm.ppf(0.975) * s
        assert missed.mean(axis=0).max() < 0.057


def test_the_error_of_a_mean_size_is_the_mean_error(several, exact):
    assert np.allclose(mean_size_error(several), several.std_error.mean(axis=0))
    assert np.allclose(mean_size_error(several[3]), several.std_error[3])
    assert mean_size_error(exact) is None


def test_the_error_of_a_sum_is_at_most_that_of_the_other_values(one, exact):
    row = one[0]
    some, others = np.array([0, 1, 2]), np.arange(3, len(row.values))
    own, rest = row.std_error[some].sum(), row.std_error[others].sum()
    assert error_of_sum(row, some) == pytest.approx(min(own, rest))
    assert error_of_sum(row, others) == pytest.approx(min(own, rest))
    assert error_of_sum(exact[0], some) is None


def test_wide_tables_have_errors_where_they_are_asked_for(one, several, exact):
    table = one.to_frame(library="pandas", errors=True)
    names = list(one.feature_names)
    assert list(table) == [*names, "base_value", "prediction", *(f"{n}_std_error" for n in names), "converged", "model_evals"]  # fmt: skip
    assert np.array_equal(table[[f"{n}_std_error" for n in names]], one.std_error)
    assert np.array_equal(table["converged"], one.extras["converged"][1])
    assert list(one.to_frame(library="pandas")) == [*names, "base_value", "prediction"]
    wide = several.to_frame(library="pandas", errors=True)
    assert np.array_equal(
        wide[f"{several.feature_names[1]}_std_error|{several.output_names[2]}"], several.std_error[:, 1, 2]
    )
    known = exact.to_frame(library="pandas", errors=True)
    assert not known[[f"{n}_std_error" for n in names]].to_numpy().any()
    assert "converged" not in known
    row = one[3].to_frame(library="pandas", errors=True)
    assert row[f"{names[0]}_std_error"].tolist() == [one.std_error[3, 0]]
    assert row["model_evals"].tolist() == [2003]
    assert one.to_arrow(errors=True).column_names[-1] == "model_evals"


def test_a_column_called_as_an_error_keeps_its_place(exact):
    name = exact.feature_names[0]
    renamed = estimated(exact)
    names = [name, f"{name}_std_error", *exact.feature_names[2:]]
    labels = np.array(names, dtype=object)
    table = replace(renamed, coords={**renamed.coords, "feature": labels}, players={n: (n,) for n in names}).to_frame(
        library="pandas", errors=True
    )
    assert np.array_equal(table[f"{name}_std_error"], renamed.values[:, 1])
    assert np.array_equal(table[f"{name}_std_error_"], renamed.std_error[:, 0])


def test_long_tables_have_errors_and_what_goes_with_them(one, exact):
    table = one.to_frame(library="pandas", layout="long")
    assert np.array_equal(table["std_error"], one.std_error.reshape(-1))
    assert np.array_equal(table["background_error"], 2.0 * one.std_error.reshape(-1))
    assert table["model_evals"].tolist() == np.repeat(np.arange(40) + 2000, one.shape[1]).tolist()
    assert "std_error" not in exact.to_frame(library="pandas", layout="long")
    assert not exact.to_frame(library="pandas", layout="long", errors=True)["std_error"].any()


def test_datasets_have_errors_and_what_goes_with_them(several):
    pytest.importorskip("xarray")
    data = several.to_xarray()
    assert np.array_equal(data["std_error"], several.std_error)
    assert data["background_error"].dims == ("row", "feature", "output")
    assert data["converged"].dims == data["model_evals"].dims == ("row",)


def test_errors_are_of_attributions_and_local_values(one):
    model, rows = zoo.built("RandomForestRegressor")
    with pytest.raises(OptionError, match="errors=True is for attributions and local values"):
        wb.importance(model, method="impurity").to_frame(errors=True)
    with pytest.raises(OptionError, match="errors=1 must be True or False"):
        one.to_frame(errors=1)
    local = wb.lime(model, rows[:2], rows[:50], scale="response").to_frame(library="pandas", layout="wide", errors=True)
    assert f"{zoo.COLUMNS[0]}_std_error" in local


def test_one_line_says_the_median_error(one, exact):
    assert f"Sampled Shapley values, not exact, median error {median_error(one):.2g}" in repr(one)
    assert "median error" not in repr(exact)
    number = one[3, 0]
    assert f", error {float(number.std_error):.2g}" in repr(number)


def test_notebooks_show_each_error_beside_its_number(one, several, exact):
    def cells(html):
        return re.findall(r"[^<>]* ± [^<>]*", html.partition("<details>")[0])

    assert "not exact; ± standard error." in one._repr_html_()
    assert len(cells(one._repr_html_())) == 1 + 8 * (one.shape[1] - 1)  # one is exact
    largest = one.ordered()[1]
    pair = f"{number_text(one.values[0, largest])} ± {number_text(one.std_error[0, largest], 2)}"
    assert pair in one._repr_html_()
    assert len(cells(one[0]._repr_html_())) == one.shape[1]
    assert len(cells(several._repr_html_())) == 1 + 8 * (several.shape[1] - 1)
    assert len(cells(one[0, 0]._repr_html_())) == 1
    assert "±" not in exact._repr_html_()


def test_importance_takes_what_the_errors_add_off(one, monkeypatch):
    """Mean absolute attributions are corrected and their intervals drawn: the errors of the attributions reach them."""
    monkeypatch.setattr("whybox.api.importance.explain", lambda *a, **k: one)
    model, rows = zoo.built("LGBMRegressor, categories")
    ranking = wb.importance(model, rows[:40], method="shap")
    assert (ranking.values[:-1] < np.abs(one.values).mean(axis=0)[:-1]).all()
    assert isinstance(ranking.to_frame(library="pandas"), pd.DataFrame)
