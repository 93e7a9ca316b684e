"""Background rows as a table: for models that have no matrix, in the user's own columns, untouched by what happens to them later."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.ensemble import RandomForestRegressor

from whybox.background.marginal import make_background, make_background_table
from whybox.data.table import as_table
from whybox.errors import ColumnsError, InputError
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.output import resolve_output
from whybox.models.blackbox import as_black_box
from whybox.models.readable import read_or_black_box


def frame(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.choice(["x", "y", None], n), "c": rng.integers(0, 3, n)})


def predict(rows):
    return rows["a"] * (rows["b"] == "x") + rows["c"]


def test_a_black_box_takes_absent_columns_from_its_background():
    X, Z = frame(), frame(8, seed=1)
    model = as_black_box(predict, as_table(X))
    background = make_background_table(model, Z)
    rows = as_table(X)
    evaluator = HybridEvaluator(model, resolve_output(model.outputs, None))
    row, donor = (g.ravel() for g in np.meshgrid(np.arange(len(X)), np.arange(len(Z)), indexing="ij"))
    hybrids, outputs = evaluator.evaluate_hybrids(
        rows, background.table, row, donor, np.zeros(len(row), dtype=int), [(1, 2)]
    )
    values = (outputs[hybrids, 0].reshape(len(X), len(Z)) * background.weights).sum(axis=1)
    for i in range(len(X)):
        changed = Z.assign(a=X["a"].iloc[i])
        assert values[i] == pytest.approx(predict(changed).mean(), abs=1e-12)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_it_is_a_snapshot_without_rows_of_weight_zero(library):
    Z = frame(6)
    given = Z if library == "pandas" else pl.from_pandas(Z)
    model = as_black_box(lambda rows: np.zeros(len(rows)), as_table(given))
    background = make_background_table(model, given, [1.0, 0.0, 1.0, 2.0, 0.0, 0.0])
    assert background.weights.tolist() == [0.25, 0.25, 0.5]
    assert background.rows_given == 6
    if library == "pandas":
        Z.loc[:, "a"] = 0.0
    column = background.table.native["a"]
    assert np.asarray(column).tolist() == frame(6)["a"].iloc[[0, 2, 3]].tolist()
    assert len(background.prepared_rows.table) == 1


def test_the_fingerprint_is_of_the_cells_and_weights():
    model = as_black_box(lambda rows: np.zeros(len(rows)), as_table(frame()))

    def fingerprint(rows, weights=None):
        return make_background_table(model, rows, weights).fingerprint

    same = fingerprint(frame())
    assert fingerprint(frame().set_axis(range(100, 130))) == same
    changed = frame()
    changed.loc[3, "a"] = np.nextafter(changed.loc[3, "a"], 1.0)
    text = frame()
    text.loc[4, "b"] = "z"
    others = [fingerprint(f) for f in (changed, text, frame()[::-1], frame().astype({"c": float}))]
    assert len({same, *others, fingerprint(frame(), np.arange(1, 31))}) == 6


def test_a_model_that_is_read_takes_one_too_and_bad_ones_are_refused():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    forest = RandomForestRegressor(5, random_state=0).fit(X, X[:, 0])
    model = read_or_black_box(forest, as_table(X))
    table, encoded = make_background_table(model, X), make_background(model, X)
    assert np.array_equal(table.table.native, X)
    assert np.array_equal(table.weights, encoded.weights)
    with pytest.raises(ColumnsError):
        make_background_table(model, X[:, :2])
    with pytest.raises(InputError, match="background_weight has 3 values for 50 background rows"):
        make_background_table(model, X, [1, 2, 3])
