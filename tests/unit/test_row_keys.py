"""Numbers of rows that depend on their cells alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix, random_array

import whybox as wb
from whybox.data.table import as_table
from whybox.methods.common.row_keys import row_keys
from whybox.methods.common.surrogates.store import content_keys
from whybox.methods.shap import sampled

FRAME = pd.DataFrame(
    {
        "size": [1.5, 2.0, np.nan, 1.5, -0.0, 0.0],
        "colour": ["red", "blue", "red", "red", "green", "green"],
        "day": pd.to_datetime(["2020-01-01", None, "2020-01-01", "2020-01-01", "2021-05-05", "2021-05-05"]),
    }
)


def test_keys_of_numbers_are_those_of_their_cells():
    cells = np.random.default_rng(0).normal(size=(20, 4))
    keys = row_keys(as_table(cells), range(4))
    np.testing.assert_array_equal(keys, content_keys(cells))
    np.testing.assert_array_equal(keys, row_keys(as_table(pd.DataFrame(cells)), range(4)))


def test_equal_rows_have_equal_keys_whatever_the_order():
    keys = row_keys(as_table(FRAME), range(3))
    assert len(np.unique(keys)) == 4
    assert keys[0] == keys[3]
    assert keys[4] == keys[5]
    order = [5, 2, 0, 1, 4, 3]
    np.testing.assert_array_equal(row_keys(as_table(FRAME.iloc[order]), range(3)), keys[order])


def test_columns_that_do_not_count_change_nothing():
    keys = row_keys(as_table(FRAME), {1})
    assert len(np.unique(keys)) == 3


def test_sparse_rows_are_told_apart_without_a_dense_matrix():
    wide = csr_matrix(random_array((50, 2_000_000), density=1e-5, rng=np.random.default_rng(0)))
    both = csr_matrix(wide[np.r_[:50, :50]])
    keys = row_keys(as_table(both), range(2_000_000))
    np.testing.assert_array_equal(keys[:50], keys[50:])
    assert len(np.unique(keys)) == 50


@pytest.mark.parametrize("columns", [40, 600])
def test_wide_sparse_tables_get_no_surrogate_unasked(columns, monkeypatch):
    made = []
    numbers = sampled.HybridNumbers
    monkeypatch.setattr(sampled, "HybridNumbers", lambda problem: made.append(1) or numbers(problem))
    wide = csr_matrix(random_array((30, columns), density=8 / columns, rng=np.random.default_rng(1)))

    def total(rows):
        return np.tanh(np.asarray(rows.sum(axis=1)).ravel()) + np.asarray((rows > 0.5).sum(axis=1)).ravel()

    players = {f"p{k}": list(range(k, columns, 10)) for k in range(10)}
    options = {"max_evals": 3_000, "tol": 1e-9, "players": players}
    got = wb.explain(total, wide[:9], wide[9:30], "sampled_shap", **options)
    wide_note = any("sparse columns are more than 512" in note for note in got.evidence.notes)
    assert (len(made) == 0) == wide_note == (columns == 600)
    made.clear()
    wb.explain(total, wide[:9], wide[9:30], "sampled_shap", surrogate=False, **options)
    assert not made
