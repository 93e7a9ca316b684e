"""A grid of hybrids: the outputs and the number of predictions are those of evaluating its hybrids one by one, whatever the tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from whybox.data.table import as_table
from whybox.errors import InputError, LimitError, NonFiniteError
from whybox.methods.common import evaluation, hybrid_grid
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.hybrid_grid import HybridGrid
from whybox.methods.common.output import resolve_output
from whybox.models.blackbox import as_black_box

PATTERNS = ((), (0,), (1, 3), (0, 2, 4), (0, 1, 2, 3, 4))


class Counting:
    """A function of rows that keeps what it was given."""

    def __init__(self, function):
        self.function, self.seen = function, []

    def __call__(self, rows):
        self.seen.append(rows)
        return self.function(rows)

    @property
    def rows(self):
        return sum(r.shape[0] for r in self.seen)


def evaluator(function, table, **options):
    counting = Counting(function)
    model = as_black_box(counting, table)
    counting.seen.clear()
    return HybridEvaluator(model, resolve_output(model.outputs, None), **options), counting


def entries(donors, patterns, k=60, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, donors, k), rng.integers(0, len(patterns), k)


def compared(function, X, Z, patterns=PATTERNS, *, row=None, known=True, k=60):
    """Outputs of a grid, the rows that the function was given, and how many; they are those of evaluating its hybrids one by one."""
    rows, donors = as_table(X), as_table(Z)
    row = np.arange(len(rows)) if row is None else row
    donor, pattern = entries(len(donors), patterns, k)
    one, by_one = evaluator(function, rows)
    other, by_grid = evaluator(function, rows)
    outputs = {}
    if known:
        outputs["row_outputs"] = one.evaluate_rows(rows, np.arange(len(rows)))
        outputs["donor_outputs"] = one.evaluate_rows(donors, np.arange(len(donors)))
        by_one.seen.clear()
    before = one.spent
    shape = len(row), len(donor)
    flat = [np.broadcast_to(a, shape).reshape(-1) for a in (row[:, None], donor, pattern)]
    hybrid, expected = one.evaluate_hybrids(rows, donors, *flat, patterns, **outputs)
    found = HybridGrid(other, rows, donors, **outputs).evaluate(row, donor, pattern, patterns)
    assert found.shape == (*shape, expected.shape[1])
    assert np.allclose(found.reshape(-1, expected.shape[1]), expected[hybrid], rtol=1e-12, atol=0)
    assert one.spent - before == by_one.rows == other.spent == by_grid.rows
    return found, by_grid


def powers(table):
    return np.asarray(table, dtype=float) @ 3.0 ** np.arange(table.shape[1])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("values", [2, 4, 10**6])
def test_arrays(values, known):
    """Of two values nearly all hybrids repeat; of a million none but those without a column of the row, or of the donor."""
    rng = np.random.default_rng(0)
    X, Z = rng.integers(0, values, (40, 5)).astype(float), rng.integers(0, values, (15, 5)).astype(float)
    _, function = compared(powers, X, Z, known=known)
    assert len(np.unique(np.concatenate(function.seen), axis=0)) == function.rows


def test_several_outputs_and_rows_in_any_order_some_of_them_twice():
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(20, 5)), rng.normal(size=(15, 5))
    X[7] = X[3]
    row = np.array([7, 3, 0, 19, 0, 4])
    found, _ = compared(lambda r: np.stack([powers(r), -powers(r), r[:, 0]], axis=1), X, Z, row=row)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[2], found[4])


def test_constant_columns_and_rows_that_are_donors():
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(10, 5)), rng.normal(size=(6, 5))
    X[:, 1] = Z[:, 1] = 3.0
    X[:, 3] = Z[:, 3] = -1.0
    X[2], X[5] = Z[1], Z[4]
    _, function = compared(powers, X, Z, patterns=((1,), (1, 3), (0, 1)))
    assert function.rows < 10 * 6  # all but the last pattern leave the row as it is


@pytest.mark.parametrize("dtype", [np.float32, np.int16, bool, object])
def test_arrays_of_any_dtype_keep_it(dtype):
    rng = np.random.default_rng(0)
    X, Z = (rng.integers(0, 3, (n, 5)).astype(dtype) for n in (12, 7))
    _, function = compared(powers, X, Z)
    assert {r.dtype for r in function.seen} == {np.dtype(dtype)}


def test_rows_and_donors_of_two_dtypes():
    rng = np.random.default_rng(0)
    _, function = compared(powers, rng.integers(0, 3, (12, 5)), rng.normal(size=(7, 5)))
    assert function.rows


def test_cells_that_a_model_can_tell_apart_are_different_cells():
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [np.nan, 1.0]])
    Z = np.array([[-0.0, 1.0], [np.nan, 1.0], [0.0, 1.0]])

    def function(r):
        return np.where(np.isnan(r[:, 0]), 5.0, np.signbit(r[:, 0]) + 1.0)

    rows, donors = as_table(X), as_table(Z)
    one, counting = evaluator(function, rows)
    found = HybridGrid(one, rows, donors).evaluate(np.arange(3), np.arange(3), np.zeros(3, dtype=np.int64), [(0,)])
    assert found[:, :, 0].tolist() == [[2.0, 5.0, 1.0]] * 3
    assert counting.rows == 3


def frames(library):
    rng = np.random.default_rng(3)

    def one(n):
        columns = {
            "number": rng.integers(0, 3, n).astype(float),
            "whole": rng.integers(0, 3, n),
            "word": rng.choice(["a", "b", "c"], n),
            "gap": [None if g else "x" for g in rng.random(n) < 0.5],
        }
        if library == "polars":
            return pl.DataFrame(columns)
        frame = pd.DataFrame(columns)
        frame["kind"] = pd.Categorical(rng.choice(["u", "v"], n), categories=["u", "v", "w"])
        return frame

    return one(20), one(9)


def as_number(frame):
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    cells = frame.astype(object).to_numpy().tolist()
    return np.array(
        [sum((i + 1) * ord(str("~" if v is None or v != v else v)[0]) * 3.7**i for i, v in enumerate(r)) for r in cells]
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_with_columns_of_any_type(library):
    X, Z = frames(library)
    patterns = ((), (0, 2), (1, 3), (3,), tuple(range(X.shape[1])))
    _, function = compared(as_number, X, Z, patterns)
    assert {type(r) for r in function.seen} == {type(X)}
    dtypes = {tuple(map(str, r.dtypes)) for r in function.seen}
    assert dtypes == {tuple(map(str, X.dtypes))}


def test_sparse_rows():
    rng = np.random.default_rng(0)
    X, Z = (sparse.csr_matrix(rng.integers(0, 2, (n, 5)).astype(float)) for n in (12, 7))
    _, function = compared(lambda r: powers(r.toarray()), X, Z)
    assert all(sparse.issparse(r) for r in function.seen)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("size", [1, 7, 64, 10**6])
def test_batches_hold_the_size_and_only_the_last_is_smaller(size, repeated):
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(13, 5)), rng.normal(size=(9, 5))
    if repeated:
        X[4:9] = X[3]  # a whole stretch of the grid that is not evaluated
        Z[5] = Z[2]
    rows, donors = as_table(X), as_table(Z)
    donor, pattern = entries(9, PATTERNS[1:-1], 20)
    one, function = evaluator(powers, rows, batch_size=size)
    found = HybridGrid(one, rows, donors).evaluate(np.arange(13), donor, pattern, PATTERNS[1:-1])
    sizes = [len(r) for r in function.seen]
    assert set(sizes[:-1]) <= {size}
    assert sizes[-1] <= size
    expected = X[:, None].repeat(20, axis=1)
    for e in range(20):
        columns = list(PATTERNS[1:-1][pattern[e]])
        expected[:, e, columns] = Z[donor[e], columns]
    assert np.allclose(found[:, :, 0], expected @ 3.0 ** np.arange(5), rtol=1e-12)
    assert function.rows == len(np.unique(expected.reshape(-1, 5), axis=0))


def test_batches_hold_the_bytes(monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_BATCH_BYTES", 24 * 5 * 50)
    rng = np.random.default_rng(0)
    X, Z = rng.normal(size=(13, 5)), rng.normal(size=(9, 5))
    _, function = compared(powers, X, Z)
    assert max(len(r) for r in function.seen) == 50


def test_numbers_of_cells_are_summed_in_parts(monkeypatch):
    monkeypatch.setattr(hybrid_grid, "_KEY_BYTES", 8 * 5 * 7)
    rng = np.random.default_rng(0)
    compared(powers, rng.integers(0, 3, (13, 5)).astype(float), rng.integers(0, 3, (9, 5)).astype(float))


def test_nothing_to_evaluate():
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    _, function = compared(powers, X, X[:1], patterns=((), (0, 1)))
    assert function.rows == 0
    rows = as_table(X)
    one, function = evaluator(powers, rows)
    none = np.zeros(0, dtype=np.int64)
    assert HybridGrid(one, rows, rows).evaluate(none, np.arange(2), np.zeros(2, dtype=np.int64), [(0,)]).shape == (
        0,
        2,
        1,
    )
    assert HybridGrid(one, rows, rows).evaluate(np.arange(2), none, none, [(0,)]).shape == (2, 0, 1)
    assert function.rows == 0


def test_more_than_allowed_is_refused_before_the_first():
    rng = np.random.default_rng(0)
    rows, donors = as_table(rng.normal(size=(4, 5))), as_table(rng.normal(size=(3, 5)))
    request = np.arange(4), np.array([0, 1, 2, 0]), np.zeros(4, dtype=np.int64), [(1, 3)]
    one, function = evaluator(powers, rows, max_evals=11)
    with pytest.raises(LimitError, match="12 predictions"):
        HybridGrid(one, rows, donors).evaluate(*request)
    assert one.spent == function.rows == 0
    one, function = evaluator(powers, rows, max_evals=12)  # one entry is there twice
    HybridGrid(one, rows, donors).evaluate(*request)
    assert one.spent == function.rows == 12


def test_a_failure_in_the_middle_counts_what_was_spent():
    rng = np.random.default_rng(0)
    rows, donors = as_table(rng.normal(size=(8, 5))), as_table(rng.normal(size=(5, 5)))
    calls = []

    def breaks(r):
        calls.append(len(r))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return powers(r)

    one, _ = evaluator(powers, rows, batch_size=6)
    one._predict = lambda table: breaks(table.native)[:, None]
    with pytest.raises(KeyboardInterrupt):
        HybridGrid(one, rows, donors).evaluate(np.arange(8), np.arange(5), np.zeros(5, dtype=np.int64), [(1, 3)])
    assert one.spent == 18


@pytest.mark.parametrize(("value", "finite", "message"), [(np.nan, False, "NaN"), (np.inf, True, "infinite")])
def test_outputs_without_a_mean_are_refused_and_the_row_named(value, finite, message):
    X = np.arange(12.0).reshape(6, 2)
    rows, donors = as_table(X), as_table(X + 100)
    one, _ = evaluator(lambda r: np.where((r[:, 0] == 8) & (r[:, 1] > 100), value, 1.0), rows, finite=finite)
    with pytest.raises(NonFiniteError, match=message) as refused:
        HybridGrid(one, rows, donors).evaluate(np.array([5, 4, 0]), np.arange(6), np.zeros(6, dtype=np.int64), [(1,)])
    assert refused.value.row == 4


def test_infinite_outputs_are_kept_where_they_are_not_refused():
    X = np.arange(12.0).reshape(6, 2)
    rows, donors = as_table(X), as_table(X + 100)
    one, _ = evaluator(lambda r: np.where((r[:, 0] == 8) & (r[:, 1] > 100), np.inf, 1.0), rows)
    found = HybridGrid(one, rows, donors).evaluate(np.arange(6), np.arange(6), np.zeros(6, dtype=np.int64), [(1,)])
    assert np.isinf(found[4]).all()
    assert (np.delete(found, 4, axis=0) == 1.0).all()


def test_positions_outside_the_tables_are_refused():
    X = np.arange(12.0).reshape(6, 2)
    rows = as_table(X)
    one, function = evaluator(powers, rows)
    zero = np.zeros(1, dtype=np.int64)
    for row, donor, pattern, patterns in ((zero + 6, zero, zero, [(0,)]), (zero, zero - 1, zero, [(0,)]), (zero, zero, zero + 1, [(0,)]), (zero, zero, zero, [(2,)])):  # fmt: skip
        with pytest.raises(InputError, match="positions must be"):
            HybridGrid(one, rows, rows).evaluate(row, donor, pattern, patterns)
    with pytest.raises(InputError, match="same kind"):
        HybridGrid(one, rows, as_table(X[:, :1])).evaluate(zero, zero, zero, [(0,)])
    assert function.rows == 0
