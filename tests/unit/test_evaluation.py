"""Hybrid rows: each different one is evaluated once, exactly as counted, and as a model would be asked about it by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from whybox.data.table import as_table
from whybox.errors import InputError, LimitError, NonFiniteError, OptionError
from whybox.methods.common import evaluation
from whybox.methods.common.evaluation import HybridEvaluator
from whybox.methods.common.output import resolve_output
from whybox.models.blackbox import as_black_box
from whybox.models.remote import RemoteModel


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


def evaluator(function, table, *, max_evals=None, **options):
    counting = Counting(function)
    model = as_black_box(counting, table)
    counting.seen.clear()
    return HybridEvaluator(model, resolve_output(model.outputs, None), max_evals, **options), counting


def arrays(n=40, m=15, width=5, seed=0, values=3):
    rng = np.random.default_rng(seed)
    return rng.integers(0, values, (n, width)).astype(float), rng.integers(0, values, (m, width)).astype(float)


def requests(n, m, patterns, k=500, seed=1):
    rng = np.random.default_rng(seed)
    return rng.integers(0, n, k), rng.integers(0, m, k), rng.integers(0, len(patterns), k)


def by_hand(X, Z, row, donor, pattern, patterns):
    out = X[row].copy()
    for k, p in enumerate(pattern):
        out[k, list(patterns[p])] = Z[donor[k], list(patterns[p])]
    return out


PATTERNS = ((), (0,), (1, 3), (0, 2, 4), (0, 1, 2, 3, 4))


def test_outputs_are_those_of_the_hybrids_made_by_hand_and_each_different_one_is_evaluated_once():
    X, Z = arrays()
    row, donor, pattern = requests(len(X), len(Z), PATTERNS)
    rows, donors = as_table(X), as_table(Z)
    hybrid, function = evaluator(lambda r: r @ 3.0 ** np.arange(5), rows)
    needed = hybrid.count_predictions(rows, donors, row, donor, pattern, PATTERNS)
    assert hybrid.spent == function.rows == 0
    hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, PATTERNS)
    expected = by_hand(X, Z, row, donor, pattern, PATTERNS)
    assert np.array_equal(outputs[hybrids, 0], expected @ 3.0 ** np.arange(5))
    assert needed == hybrid.spent == function.rows == len(np.unique(expected, axis=0)) == len(outputs)


def test_codes_are_made_over_both_tables_together():
    """Codes of each table by itself would call these hybrids equal: both tables code to [[0, 0], [1, 1]]."""
    X, Z = np.array([[1.0, 10.0], [2.0, 20.0]]), np.array([[2.0, 10.0], [3.0, 20.0]])
    rows, donors = as_table(X), as_table(Z)
    hybrid, function = evaluator(lambda r: 100 * r[:, 0] + r[:, 1], rows)
    row, donor, pattern = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.zeros(4, dtype=int)
    hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, [(0,)])
    assert outputs[hybrids, 0].tolist() == [210.0, 310.0, 220.0, 320.0]
    assert function.rows == 4
    hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, [(1,)])
    assert outputs[hybrids, 0].tolist() == [110.0, 120.0, 210.0, 220.0]


def test_a_hybrid_that_is_a_row_as_it_is_costs_nothing_where_rows_are_known():
    X, Z = np.array([[1.0, 10.0], [2.0, 20.0]]), np.array([[2.0, 10.0], [3.0, 20.0]])
    rows, donors = as_table(X), as_table(Z)
    hybrid, function = evaluator(lambda r: 100 * r[:, 0] + r[:, 1], rows)
    of_rows, of_donors = hybrid.evaluate_rows(rows, np.arange(2)), hybrid.evaluate_rows(donors, np.arange(2))
    function.seen.clear()
    # row 1 with a donor's 2 is row 1 itself; row 0 with all of donor 1 is donor 1; row 0 with donor 0's 2 is donor 0
    request = rows, donors, np.array([1, 0, 0, 0]), np.array([0, 1, 0, 1]), np.array([0, 1, 0, 0]), [(0,), (0, 1)]
    assert hybrid.count_predictions(*request) == 4
    assert hybrid.count_predictions(*request, row_outputs=of_rows) == 3
    assert hybrid.count_predictions(*request, row_outputs=of_rows, donor_outputs=of_donors) == 1
    hybrids, outputs = hybrid.evaluate_hybrids(*request, row_outputs=of_rows, donor_outputs=of_donors)
    assert outputs[hybrids, 0].tolist() == [220.0, 320.0, 210.0, 310.0]
    assert np.concatenate(function.seen).tolist() == [[3.0, 10.0]]


def frames(library, dtype_of_donors=None):
    rng = np.random.default_rng(3)

    def one(n):
        columns = {
            "number": rng.integers(0, 3, n).astype(float),
            "whole": rng.integers(0, 3, n),
            "word": rng.choice(["a", "b", "c"], n),
            "gap": [None if g else "x" for g in rng.random(n) < 0.5],
        }
        if library == "pandas":
            frame = pd.DataFrame(columns)
            frame["kind"] = pd.Categorical(rng.choice(["u", "v"], n), categories=["u", "v"])
            return frame
        return pl.DataFrame(columns) if library == "polars" else pa.table(columns)

    X, Z = one(30), one(12)
    if dtype_of_donors is not None:
        Z = Z.astype({"whole": dtype_of_donors}) if library == "pandas" else Z.cast({"whole": dtype_of_donors})
    return X, Z


def cells(frame):
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    return [tuple("gap" if v is None or v != v else v for v in r) for r in frame.astype(object).to_numpy().tolist()]


def as_number(frame):
    return np.array([sum((i + 1) * (ord(str(v)[0])) * 3.7**i for i, v in enumerate(r)) for r in cells(frame)])


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_frames_of_any_library_and_columns_of_any_type(library):
    X, Z = frames(library)
    rows, donors = as_table(X), as_table(Z)
    patterns = [(), (2,), (0, 3), (1, 2), tuple(range(rows.width))]
    row, donor, pattern = requests(len(rows), len(donors), patterns, k=300)
    hybrid, function = evaluator(as_number, rows)
    needed = hybrid.count_predictions(rows, donors, row, donor, pattern, patterns)
    hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, patterns)
    a, b = cells(X), cells(Z)
    expected = [
        tuple(b[d][c] if c in patterns[p] else a[r][c] for c in range(rows.width))
        for r, d, p in zip(row, donor, pattern, strict=True)
    ]
    seen = [c for frame in function.seen for c in cells(frame)]
    assert sorted(map(repr, seen)) == sorted(map(repr, set(expected)))
    assert needed == hybrid.spent == len(seen)
    for k in range(len(expected)):  # each hybrid's output is that of its own cells
        assert outputs[hybrids[k], 0] == as_number(pd.DataFrame([expected[k]]))[0]


def test_a_column_of_another_dtype_is_mixed_pattern_by_pattern_and_keeps_it():
    X, Z = frames("pandas", "float64")
    rows, donors = as_table(X), as_table(Z)
    patterns = [(1,), (2,)]
    row, donor, pattern = requests(len(rows), len(donors), patterns, k=100)
    hybrid, function = evaluator(lambda d: np.arange(len(d), dtype=float), rows)
    hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, patterns)
    assert {str(d["whole"].dtype) for d in function.seen} == {"float64", "int64"}


def test_the_kinds_of_null_and_of_zero_are_different_cells():
    rows, donors = as_table(np.array([[0.0, 1.0]])), as_table(np.array([[-0.0, 1.0], [0.0, 1.0]]))
    hybrid, _ = evaluator(lambda r: r[:, 0], rows)
    row, pattern = np.zeros(2, dtype=int), np.zeros(2, dtype=int)
    assert hybrid.count_predictions(rows, donors, row, np.arange(2), pattern, [(0,)]) == 2
    X = pd.DataFrame({"a": np.array([None, 1], dtype=object)})
    Z = pd.DataFrame({"a": np.array([float("nan"), 1, True, 1.0], dtype=object)})
    rows, donors = as_table(X), as_table(Z)
    hybrid, _ = evaluator(lambda d: np.zeros(len(d)), rows)
    both = np.array([0, 1, 0, 0, 0, 0]), np.array([0, 0, 0, 1, 2, 3]), np.array([0, 0, 1, 1, 1, 1])
    assert (
        hybrid.count_predictions(rows, donors, *both, [(), (0,)]) == 5
    )  # None, 1, NaN, True, 1.0: the donors' 1 is the rows'


@pytest.mark.parametrize("patterns", [[tuple(range(20))], [(0,), tuple(range(20)), tuple(range(10, 40))]])
def test_many_columns_of_many_values(patterns):
    """More combinations than a number of 64 bits counts."""
    X, Z = arrays(300, 200, width=40, values=10**6)
    Z[:50] = X[:50]
    rows, donors = as_table(X), as_table(Z)
    row, donor, pattern = requests(len(X), len(Z), patterns, k=3000)
    hybrid, _ = evaluator(lambda r: r @ np.arange(1.0, 41.0), rows)
    hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, patterns)
    expected = by_hand(X, Z, row, donor, pattern, patterns)
    assert np.array_equal(outputs[hybrids, 0], expected @ np.arange(1.0, 41.0))
    assert hybrid.spent == len(np.unique(expected, axis=0))


def test_sparse_rows_are_mixed_as_they_are_stored():
    rng = np.random.default_rng(0)
    X, Z = (sparse.csr_matrix(rng.integers(0, 2, (n, 30)) * (rng.random((n, 30)) < 0.2)) for n in (25, 10))
    rows, donors = as_table(X), as_table(Z)
    patterns = [(), tuple(range(10)), (3, 20), tuple(range(30))]
    row, donor, pattern = requests(25, 10, patterns, k=300)
    weights = rng.normal(size=30)
    hybrid, function = evaluator(lambda r: r @ weights, rows)
    hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, patterns)
    expected = by_hand(X.toarray(), Z.toarray(), row, donor, pattern, patterns)
    assert np.allclose(outputs[hybrids, 0], expected @ weights, rtol=0, atol=1e-12)
    assert function.rows == hybrid.spent == len(np.unique(expected, axis=0))


def test_too_many_are_refused_before_the_first_and_what_was_spent_counts():
    X, Z = arrays()
    rows, donors = as_table(X), as_table(Z)
    row, donor, pattern = requests(len(X), len(Z), PATTERNS)
    needed = evaluator(lambda r: r[:, 0], rows)[0].count_predictions(rows, donors, row, donor, pattern, PATTERNS)
    hybrid, function = evaluator(lambda r: r[:, 0], rows, max_evals=needed + 9, reserved=10)
    for call in (hybrid.count_predictions, hybrid.evaluate_hybrids):
        with pytest.raises(LimitError, match=f"{needed + 10:,} predictions.*max_evals={needed + 9}\\."):
            call(rows, donors, row, donor, pattern, PATTERNS)
    assert function.rows == 0
    hybrid, function = evaluator(lambda r: r[:, 0], rows, max_evals=needed + 10, reserved=10)
    hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, PATTERNS)
    with pytest.raises(LimitError):
        hybrid.evaluate_rows(rows, np.arange(1))


def test_batches_hold_the_size_and_the_bytes(monkeypatch):
    X, Z = arrays(values=50)
    rows, donors = as_table(X), as_table(Z)
    row, donor, pattern = requests(len(X), len(Z), PATTERNS)
    hybrid, function = evaluator(lambda r: r[:, 0], rows, batch_size=7)
    hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, PATTERNS)
    sizes = [len(r) for r in function.seen]
    assert max(sizes) == 7
    assert sizes[:-1] == [7] * (len(sizes) - 1)  # full, though patterns change inside
    monkeypatch.setattr(evaluation, "MAX_BATCH_BYTES", 24 * 5 * 3)
    hybrid, function = evaluator(lambda r: r[:, 0], rows)
    hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, PATTERNS)
    assert max(len(r) for r in function.seen) == 3
    monkeypatch.setattr(evaluation, "MAX_OUTPUT_BYTES", 8)
    with pytest.raises(LimitError, match="do not fit in memory"):
        hybrid.evaluate_hybrids(rows, donors, row, donor, pattern, PATTERNS)


def test_a_model_that_takes_few_rows_at_a_time_keeps_its_own_batch_size():
    X, Z = arrays()
    rows, donors = as_table(X), as_table(Z)
    counting = Counting(lambda r: r[:, 0])
    model = as_black_box(RemoteModel(counting, batch_size=11), rows)
    hybrid = HybridEvaluator(model, resolve_output(model.outputs, None))
    hybrid.evaluate_hybrids(rows, donors, *requests(len(X), len(Z), PATTERNS), PATTERNS)
    assert max(len(r) for r in counting.seen) == 11


def test_nan_is_refused_and_the_row_named():
    X, Z = arrays()
    X[7] = 2.0
    rows, donors = as_table(X), as_table(Z)
    hybrid, _ = evaluator(lambda r: np.where((r == 2.0).all(axis=1), np.nan, 1.0), rows)
    none = np.zeros(len(X), dtype=int)
    with pytest.raises(NonFiniteError, match="NaN .*row 7"):
        hybrid.evaluate_hybrids(rows, donors, np.arange(len(X)), none, none, [()])


def test_ctrl_c_ends_it_at_once():
    X, Z = arrays(values=50)
    rows, donors = as_table(X), as_table(Z)
    calls = []

    def function(r):
        calls.append(len(r))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return r[:, 0]

    model = as_black_box(RemoteModel(function, batch_size=10, retries=5, wait=0.0), rows)
    hybrid = HybridEvaluator(model, resolve_output(model.outputs, None))
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        hybrid.evaluate_hybrids(rows, donors, *requests(len(X), len(Z), PATTERNS), PATTERNS)
    assert len(calls) == 3
    assert hybrid.spent == 20


def test_what_cannot_be_is_refused():
    X, Z = arrays()
    rows, donors = as_table(X), as_table(Z)
    hybrid, function = evaluator(lambda r: r[:, 0], rows)
    one = np.zeros(1, dtype=int)
    for request, words in (
        ((rows, as_table(pd.DataFrame(Z)), one, one, one, [(0,)]), "same kind"),
        ((rows, as_table(Z[:, :4]), one, one, one, [(0,)]), "same columns"),
        ((rows, donors, one, one, np.zeros(2, dtype=int), [(0,)]), "one number a hybrid"),
        ((rows, donors, one + len(X), one, one, [(0,)]), "row: positions"),
        ((rows, donors, one, one - 1, one, [(0,)]), "donor: positions"),
        ((rows, donors, one, one, one + 1, [(0,)]), "pattern: positions"),
        ((rows, donors, one, one, one, [(5,)]), "patterns: positions"),
    ):
        with pytest.raises(InputError, match=words):
            hybrid.count_predictions(*request)
    assert function.rows == 0
    for options in ({"max_evals": 0}, {"batch_size": 1.5}):
        with pytest.raises(OptionError, match="whole number"):
            evaluator(lambda r: r[:, 0], rows, **options)


def test_no_hybrids_are_no_work():
    X, Z = arrays()
    rows, donors = as_table(X), as_table(Z)
    hybrid, function = evaluator(lambda r: r[:, 0], rows)
    none = np.zeros(0, dtype=int)
    for patterns in ([(0,)], []):
        hybrids, outputs = hybrid.evaluate_hybrids(rows, donors, none, none, none, patterns)
        assert hybrids.shape == (0,)
        assert outputs.shape == (0, 1)
    assert function.rows == 0
