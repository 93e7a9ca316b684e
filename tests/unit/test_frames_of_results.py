"""Results go back into the library of frames that the rows came in; rows of any kind of table give the same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.ensemble import GradientBoostingRegressor

import whybox as wb
from whybox.errors import InputError


@pytest.fixture(scope="module")
def fitted():
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    X = X[["age", "bmi", "bp", "s5"]].assign(whole=X["bmi"].round().astype(int))
    return GradientBoostingRegressor(n_estimators=10, random_state=0).fit(X, y), X, y


TABLES = {
    "pandas": lambda X: X,
    "pandas, pyarrow dtypes": lambda X: X.convert_dtypes(dtype_backend="pyarrow"),
    "pandas, nullable dtypes": lambda X: X.convert_dtypes(),
    "pandas, index of two levels": lambda X: X.set_index(pd.MultiIndex.from_arrays([np.arange(len(X)) // 10, range(len(X))])),
    "pandas, equal labels": lambda X: X.set_index(np.zeros(len(X), dtype=int)),
    "pandas, dates": lambda X: X.set_index(pd.date_range("2026-01-01", periods=len(X))),
    "polars": pl.from_pandas,
    "pyarrow": lambda X: pa.Table.from_pandas(X, preserve_index=False),
    "dicts": lambda X: X.to_dict("records"),
}  # fmt: skip
LIBRARY = {"polars": pl.DataFrame, "pyarrow": pa.Table}


@pytest.mark.parametrize("kind", TABLES)
def test_numbers_are_equal_and_frames_of_the_library_of_the_rows(fitted, kind, tmp_path):
    model, X, y = fitted
    rows, few, library = TABLES[kind](X[:60]), TABLES[kind](X[:8]), LIBRARY.get(kind, pd.DataFrame)
    e, plain = wb.explain(model, few, rows), wb.explain(model, X[:8], X[:60])
    np.testing.assert_array_equal(e.values, plain.values)
    effects, curve = wb.effects(model, rows, ["bmi"]), wb.effects(model, X[:60], ["bmi"])["bmi"]
    np.testing.assert_array_equal(effects["bmi"].values, curve.values)
    importance = wb.importance(model, rows, y[:60])
    np.testing.assert_array_equal(importance.values, wb.importance(model, X[:60], y[:60]).values)
    importance.save(tmp_path / "importance.whybox")
    for result in (e, effects, effects["bmi"], importance, importance[:2], wb.load(tmp_path / "importance.whybox")):
        assert isinstance(result.to_frame(), library)


def test_other_results_without_rows_keep_the_library(fitted):
    model, X, y = fitted
    rows = pl.from_pandas(X[:60])
    assert isinstance(wb.interactions(model, rows, ["bmi", "s5"]).to_frame(), pl.DataFrame)
    for method in ("shap", "pdp", ("permutation", "shap")):
        truth = y[:60] if "permutation" in method else None
        assert isinstance(wb.importance(model, rows, truth, method=method).to_frame(), pl.DataFrame)
    without = replace(wb.explain(model, rows[:8], rows), data=None)
    assert isinstance(without.to_frame(), pl.DataFrame)
    assert isinstance(without.top(), pl.DataFrame)


def test_lazy_frames_and_columns_of_several_levels_are_refused(fitted):
    model, X, _ = fitted
    with pytest.raises(InputError, match="collect"):
        wb.explain(model, pl.from_pandas(X[:8]).lazy(), X[:60])
    several = X.set_axis(pd.MultiIndex.from_product([["a"], X.columns]), axis=1)
    with pytest.raises(InputError, match="several levels"):
        wb.explain(model, several[:8], several[:60])
