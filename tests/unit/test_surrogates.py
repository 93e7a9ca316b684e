"""Surrogates: exact values against all coalitions, determinism, folds that never see their rows."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from whybox.data.table import as_table
from whybox.errors import InputError
from whybox.games.exact import all_coalitions, exact_values
from whybox.games.indices import as_index
from whybox.methods.common.surrogates import gaussians, learnt, trees
from whybox.methods.common.surrogates.additive import fit_additive
from whybox.methods.common.surrogates.cells import cell_numbers
from whybox.methods.common.surrogates.folds import FAMILIES, default_family, fit_folds, fit_surrogate, folds_of_rows
from whybox.methods.common.surrogates.gaussians import fit_gaussians
from whybox.methods.common.surrogates.learnt import learn_gaussians
from whybox.methods.common.surrogates.store import HybridStore, content_keys
from whybox.methods.common.surrogates.trees import TreeSurrogate


def _model(cells):
    """Two outputs of numbers, a category and missing values."""
    number = np.nan_to_num(cells[:, 0], nan=-1.5)
    category = np.nan_to_num(cells[:, 3], nan=5.0)
    first = number * cells[:, 1] + np.sin(3 * cells[:, 2]) * (category == 1) + category**2 / 9
    return np.column_stack([first, np.maximum(number, cells[:, 4]) - (category == 2) * cells[:, 1]])


def _cells(n, seed):
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(n, 5))
    cells[:, 3] = rng.integers(0, 4, n)
    cells[rng.random(n) < 0.15, 0] = np.nan
    cells[rng.random(n) < 0.1, 3] = np.nan
    return cells


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    monkeypatch.setattr(trees, "ITERATIONS", 20)
    monkeypatch.setattr(trees, "MAX_TREES", 128)
    monkeypatch.setattr(trees, "MIN_ITERATIONS", 8)


CATEGORICAL = np.array([False, False, False, True, False])


def _hybrids(n, n_rows, seed=0):
    rng = np.random.default_rng(seed)
    rows, background = _cells(n_rows, seed + 1), _cells(40, seed + 2)
    row = np.arange(n) % n_rows
    from_donor = rng.random((n, 5)) < rng.random((n, 1))
    return np.where(from_donor, background[rng.integers(0, 40, n)], rows[row]), row, rows, background


def _brute_force(surrogate, rows, background, weights, of_column, players, index):
    coalitions = all_coalitions(players)
    out = []
    for x in rows:
        worths = []
        for coalition in coalitions:
            hybrid = np.where(coalition[of_column], x, background)
            worths.append(weights @ surrogate.predict(hybrid))
        out.append(exact_values(np.array(worths), as_index(index)))
    return np.array(out)


@cache
def _fitted(family):
    cells, _, _, background = _hybrids(500, 30)
    return fit_surrogate(family, cells, _model(cells), CATEGORICAL), background


GROUPINGS = [
    ([0, 1, 2, 3, 4], "shapley"),
    ([0, 1, 0, 2, 1], "shapley"),
    ([0, 1, 2, 3, 4], "banzhaf"),
    ([0, 1, 2, 0, 3], "beta(4, 1)"),
]


@pytest.mark.parametrize(("of_column", "index"), GROUPINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_values_are_those_of_all_coalitions(family, of_column, index):
    surrogate, background = _fitted(family)
    rows = _cells(4, 9)
    rows[0, 3], rows[1, 0], rows[2, 3] = np.nan, np.nan, 7.0  # missing, missing, a category that it never saw
    weights = np.random.default_rng(3).random(len(background))
    weights /= weights.sum()
    players = np.array(of_column, dtype=np.int32)
    count = int(players.max()) + 1
    found = surrogate.shapley_values(rows, background, weights, players, count, as_index(index))
    truth = _brute_force(surrogate, rows, background, weights, players, count, index)
    np.testing.assert_allclose(found, truth, atol=1e-9)
    assert np.abs(truth).max() > 0.1
    if index == "shapley":
        rise = surrogate.predict(rows) - weights @ surrogate.predict(background)
        np.testing.assert_allclose(found.sum(axis=1), rise, atol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_threads_and_rows_beside_change_no_bit(family):
    surrogate, background = _fitted(family)
    rows, weights, players = _cells(7, 9), np.full(40, 1 / 40), np.arange(5, dtype=np.int32)
    one, three = (surrogate.shapley_values(rows, background, weights, players, 5, threads=t) for t in (1, 3))
    alone = np.concatenate([surrogate.shapley_values(rows[[i]], background, weights, players, 5) for i in range(7)])
    assert np.array_equal(one, three)
    assert np.array_equal(one, alone)
    predictions = np.concatenate([surrogate.predict(rows[[i]]) for i in range(7)])
    np.testing.assert_allclose(surrogate.predict(rows), predictions, rtol=1e-12, atol=1e-12)


def test_values_do_not_depend_on_blocks(monkeypatch):
    surrogate, background = _fitted("kernels")
    rows, weights, players = _cells(7, 9), np.full(40, 1 / 40), np.arange(5, dtype=np.int32)
    whole = surrogate.shapley_values(rows, background, weights, players, 5)
    monkeypatch.setattr(gaussians, "WORK_AT_ONCE", 1)
    assert np.array_equal(whole, surrogate.shapley_values(rows, background, weights, players, 5))
    monkeypatch.setattr(gaussians, "TABLE_NUMBERS", 2000)
    np.testing.assert_allclose(surrogate.shapley_values(rows, background, weights, players, 5), whole, atol=1e-12)


def test_the_additive_part_is_exact_for_an_additive_model():
    cells, _, _, background = _hybrids(2000, 30)
    outputs = np.column_stack(
        [2 * np.nan_to_num(cells[:, 0], nan=4.0) - cells[:, 1] + np.nan_to_num(cells[:, 3], nan=-2.0) ** 2]
    )
    fit = fit_additive(cells, outputs, CATEGORICAL)
    assert np.abs(fit.predict(cells) - outputs).max() < 0.02
    rows, weights = background[:5], np.full(40, 1 / 40)
    values = fit.shapley_values(rows, background, weights, np.arange(5, dtype=np.int32), 5)
    assert np.abs(values[:, 1, 0] + rows[:, 1] - background[:, 1].mean()).max() < 0.01
    beyond = np.array([[1e9, np.inf, -np.inf, 99.0, 0.0]])
    assert np.isfinite(fit.predict(beyond)).all()


def _filled_store(n=900, n_rows=30, seed=0, order=None):
    cells, row, rows, background = _hybrids(n, n_rows, seed)
    order = np.arange(n) if order is None else order
    store = HybridStore(5, 2)
    for part in np.array_split(order, 5):
        store.append(cells[part], _model(cells[part]), row[part])
    return store, rows, background


def test_folds_never_see_their_rows():
    store, rows, _ = _filled_store()
    folds = fit_folds(store, rows, CATEGORICAL, folds=3)
    cells, outputs, row, keys = store.hybrids()
    changed = HybridStore(5, 2)
    fold = 1
    inside = folds.fold_of_row[row] == fold
    assert 0 < inside.sum() < len(row)
    changed.append(cells, np.where(inside[:, None], 1e3 * keys[:, None].astype(float), outputs), row)
    again = fit_folds(changed, rows, CATEGORICAL, folds=3)
    first = int(np.flatnonzero(folds.fold_of_row == fold)[0])
    other = int(np.flatnonzero(folds.fold_of_row != fold)[0])
    assert np.array_equal(folds.surrogate(first).predict(cells), again.surrogate(first).predict(cells))
    assert not np.array_equal(folds.surrogate(other).predict(cells), again.surrogate(other).predict(cells))


def test_equal_rows_share_a_fold_and_order_does_not_matter():
    rows = _cells(12, 1)
    rows[5] = rows[2]
    folds = folds_of_rows(rows, 4, seed=3)
    assert folds[5] == folds[2]
    assert sorted(np.bincount(folds[np.arange(12) != 5]).tolist()) == [2, 3, 3, 3]
    order = np.random.default_rng(0).permutation(12)
    assert np.array_equal(folds_of_rows(rows[order], 4, seed=3), folds[order])
    assert not np.array_equal(folds_of_rows(rows, 4, seed=4), folds)


def test_same_bits_for_any_threads_and_order():
    store, rows, background = _filled_store()
    one = fit_folds(store, rows, CATEGORICAL, folds=2, seed=5)
    shuffled, _, _ = _filled_store(order=np.random.default_rng(1).permutation(900))
    two = fit_folds(shuffled, rows, CATEGORICAL, folds=2, seed=5, threads=2)
    assert np.array_equal(one.fold_of_row, two.fold_of_row)
    assert np.array_equal(one.left_share, two.left_share)
    weights, players = np.full(40, 1 / 40), np.arange(5, dtype=np.int32)
    values = [f.shapley_values(rows, background, weights, players, 5) for f in (one, two)]
    assert np.array_equal(*values)
    i = 3
    alone = one.surrogate(i).shapley_values(rows[[i]], background, weights, players, 5)
    assert np.array_equal(values[0][[i]], alone)
    row = np.arange(30)
    np.testing.assert_array_equal(one.predict(row, rows)[[i]], one.surrogate(i).predict(rows[[i]]))


def test_kernels_find_a_smooth_product_and_widths_of_what_it_reads():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(900, 5))
    outputs = (np.sin(cells[:, 0]) * np.exp(-0.3 * cells[:, 1] ** 2))[:, None]
    fit = fit_gaussians(cells[:400], outputs[:400], np.zeros(5, dtype=bool))
    assert 2 * fit.inverse_widths[:, 2:].max() < fit.inverse_widths[:, :2].min()
    assert ((fit.predict(cells[400:]) - outputs[400:]) ** 2).mean() < 2e-3 * outputs.var()


def _saturated(n):
    """Hybrids of a model that is a steep function of several directions, a category and missing values."""
    cells, _, _, background = _hybrids(n, 30)
    number = np.nan_to_num(cells[:, 0], nan=1.0)
    steep = number + cells[:, 1] - cells[:, 2], cells[:, 4] - number + (cells[:, 3] == 1), cells[:, 1] + cells[:, 2]
    return cells, np.column_stack([np.tanh(4 * steep[0] * steep[1]), np.tanh(5 * steep[2] * steep[0])]), background


def test_values_of_learnt_gaussians_are_those_of_all_coalitions(monkeypatch):
    monkeypatch.setattr(gaussians, "HYBRIDS_TO_LEARN", 2000)
    monkeypatch.setattr(learnt, "STEPS", 400)
    monkeypatch.setattr(learnt, "GAUSSIANS", 60)
    cells, outputs, background = _saturated(2000)
    fit = fit_gaussians(cells, outputs, CATEGORICAL)
    assert fit.inverse_widths.std(axis=0).min() > 0  # learnt, each of its own
    again = fit_gaussians(cells, outputs, CATEGORICAL)
    assert fit.predict(cells).tobytes() == again.predict(cells).tobytes()
    rows, weights = _cells(4, 9), np.full(40, 1 / 40)
    rows[0, 3], rows[1, 0], rows[2, 3] = np.nan, np.nan, 7.0
    for of_column, index in GROUPINGS:
        players = np.array(of_column, dtype=np.int32)
        count = int(players.max()) + 1
        found = fit.shapley_values(rows, background, weights, players, count, as_index(index))
        truth = _brute_force(fit, rows, background, weights, players, count, index)
        np.testing.assert_allclose(found, truth, atol=1e-9)


def test_learnt_gaussians_leave_less_of_a_steep_model_and_are_not_taken_where_they_leave_more(monkeypatch):
    cells, outputs, _ = _saturated(4000)
    fitted = fit_gaussians(cells[:3000], outputs[:3000], CATEGORICAL)
    monkeypatch.setattr(gaussians, "HYBRIDS_TO_LEARN", 3000)
    monkeypatch.setattr(learnt, "STEPS", 600)
    better = fit_gaussians(cells[:3000], outputs[:3000], CATEGORICAL)
    left = [((f.predict(cells[3000:]) - outputs[3000:]) ** 2).mean() for f in (fitted, better)]
    assert left[1] < 0.8 * left[0]

    def useless(table, *_):
        return np.full((20, table.shape[1]), 50.0), np.ones((20, table.shape[1]))

    monkeypatch.setattr(gaussians, "learn_gaussians", useless)
    kept = fit_gaussians(cells[:3000], outputs[:3000], CATEGORICAL)
    assert np.array_equal(kept.inverse_widths, fitted.inverse_widths)
    np.testing.assert_allclose(kept.coefficients, fitted.coefficients, rtol=1e-3, atol=1e-6)


def test_learning_takes_fewer_steps_for_more_features(monkeypatch):
    steps = []
    monkeypatch.setattr(learnt, "_adam", lambda *given: steps.append(given[4]))
    monkeypatch.setattr(learnt, "STEPS", 200)
    monkeypatch.setattr(learnt, "MAX_NUMBERS", 4000)
    rng = np.random.default_rng(0)
    for size in (20, 40):
        centers, inverse_widths = learn_gaussians(
            rng.normal(size=(300, size)), rng.normal(size=(300, 1)), np.ones(size)
        )
        assert centers.shape == inverse_widths.shape == (256, size)
    assert steps == [*range(1, 201), *range(1, 101)]


def test_many_columns_and_outputs_bound_the_work():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(300, 66))
    outputs = np.tanh(cells[:, :8] * cells[:, 1:9]) + cells[:, 50:58]
    none = np.zeros(66, dtype=bool)
    store = HybridStore(66, 8)
    store.append(cells, outputs, np.arange(300) % 4)
    assert default_family(64, 5) == "kernels"
    assert default_family(64, 4) == "kernels and trees"
    folds = fit_folds(store, cells[:4], none, folds=2)
    assert folds.family == FAMILIES["trees"]
    surrogate = folds.surrogate(0)
    assert isinstance(surrogate, TreeSurrogate)
    assert [e.n_trees for e in surrogate.ensembles] == [16] * 8
    assert 0 < np.count_nonzero(fit_gaussians(cells, outputs[:, :1], none).inverse_widths.any(axis=0)) <= 40


def test_left_share_is_what_a_row_left_out_has_left():
    store, rows, _ = _filled_store(1500)
    folds = fit_folds(store, rows, CATEGORICAL, folds=3)
    cells, outputs, row, _ = store.hybrids()
    left = outputs - folds.predict(row, cells)
    within = [np.concatenate([v[row == i] - v[row == i].mean(axis=0) for i in range(30)]) for v in (left, outputs)]
    np.testing.assert_allclose(folds.left_share, (within[0] ** 2).sum(axis=0) / (within[1] ** 2).sum(axis=0))
    assert (folds.left_share < 0.25).all()


def test_a_constant_model_leaves_everything():
    store = HybridStore(5, 1)
    cells, row, rows, _ = _hybrids(200, 10)
    store.append(cells, np.ones((200, 1)), row)
    folds = fit_folds(store, rows, CATEGORICAL, folds=2)
    assert folds.left_share.tolist() == [1.0]
    np.testing.assert_allclose(folds.predict(row, cells), 1.0)


def test_a_store_holds_its_bytes_and_keeps_the_same_hybrids_in_any_order():
    cells, row, _, _ = _hybrids(5000, 30)
    kept = []
    for order in (np.arange(5000), np.random.default_rng(0).permutation(5000)):
        store = HybridStore(5, 2, max_bytes=100_000)
        for part in np.array_split(order, 7):
            store.append(cells[part], _model(cells[part]), row[part])
        arrays = store.hybrids()
        assert sum(a.nbytes for a in arrays) <= 100_000
        assert store.seen == 5000
        assert 300 < len(store) == len(arrays[0]) < 5000
        kept.append(arrays)
    for one, two in zip(*kept, strict=True):
        assert np.array_equal(one, two, equal_nan=True)
    cells, outputs, _, _ = kept[0]
    assert np.array_equal(_model(cells), outputs)
    with pytest.raises(InputError):
        store.append(cells, outputs[:, :1], np.zeros(len(cells), dtype=np.int64))


def test_content_keys_do_not_tell_zeros_or_missing_values_apart():
    keys = content_keys(np.array([[0.0, np.nan], [-0.0, -np.nan], [1.0, np.nan]]))
    assert keys[0] == keys[1] != keys[2]
    share = (content_keys(np.arange(4000.0)[:, None]) < np.uint64(2**62)).mean()
    assert 0.2 < share < 0.3


def test_cells_as_numbers_share_a_coding():
    pd = pytest.importorskip("pandas")
    rows = as_table(
        pd.DataFrame({"n": [1.5, None], "t": ["a", "z"], "d": pd.to_datetime(["2020-01-01", None]), "b": [True, False]})
    )
    background = as_table(
        pd.DataFrame(
            {
                "n": [2.0, 3.0, 4.0],
                "t": ["z", None, "q"],
                "d": pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-03"]),
                "b": [True, True, False],
            }
        )
    )
    numbers = cell_numbers(rows, background)
    assert numbers.categorical.tolist() == [False, True, False, False]
    assert numbers.rows[:, 0].tolist()[0] == 1.5
    assert np.isnan(numbers.rows[1, 0])
    assert numbers.rows[1, 1] == numbers.background[0, 1]
    assert len({numbers.rows[0, 1], numbers.rows[1, 1], numbers.background[2, 1]}) == 3
    assert numbers.rows[0, 2] == numbers.background[1, 2] < numbers.background[0, 2]
    assert np.isnan(numbers.rows[1, 2])
    coded = cell_numbers(rows, background, categories=[0])
    assert coded.categorical[0]
    hybrid = numbers.hybrids(np.array([0]), np.array([2]), np.array([[True, False, True, False]]))
    np.testing.assert_array_equal(hybrid[0], [4.0, numbers.rows[0, 1], numbers.background[2, 2], numbers.rows[0, 3]])


def test_cells_of_matrices_are_numbers():
    dense = np.array([[0.0, 2.0, np.nan], [4.0, 0.0, 2.0]])
    numbers = cell_numbers(as_table(dense), as_table(dense[:1]), categories=[2])
    assert numbers.categorical.tolist() == [False, False, True]
    np.testing.assert_array_equal(numbers.rows, [[0.0, 2.0, np.nan], [4.0, 0.0, 0.0]])
    sparse = as_table(sp.csr_array(np.nan_to_num(dense)))
    mixed = cell_numbers(sparse, as_table(np.ones((1, 3), dtype=np.int8)))
    np.testing.assert_array_equal(mixed.rows, np.nan_to_num(dense))
    np.testing.assert_array_equal(mixed.background, [[1.0, 1.0, 1.0]])


def test_folds_need_rows():
    with pytest.raises(InputError, match="folds"):
        folds_of_rows(np.zeros((5, 2)), 2)
    rows, empty = _cells(30, 1), HybridStore(5, 2)
    with pytest.raises(InputError, match="hybrids"):
        fit_folds(empty, rows, CATEGORICAL, folds=2)


@pytest.mark.parametrize(
    "column", ["constant", "missing", "infinite", "huge", "tiny", "far from zero", "missing category"]
)
@pytest.mark.filterwarnings("error")
def test_odd_columns_leave_finite_exact_values(column):
    cells = np.random.default_rng(0).normal(size=(240, 3))
    odd = {
        "constant": 5.0,
        "missing": np.nan,
        "missing category": np.nan,
        "infinite": np.where(np.arange(240) % 3, np.inf, -np.inf),
        "huge": 1e200 * cells[:, 1],
        "tiny": 1e-300 * cells[:, 1],
        "far from zero": 1e9 + 1e-3 * cells[:, 1],
    }
    outputs = cells[:, :1] ** 2 + np.sign(cells[:, 1:2])
    cells[:, 1] = odd[column]
    store = HybridStore(3, 1)
    store.append(cells, outputs, np.arange(240) % 4)
    folds = fit_folds(store, cells[:4], np.array([False, "category" in column, False]), folds=2)
    values = folds.shapley_values(cells[:4], cells[:9], np.full(9, 1 / 9), np.arange(3, dtype=np.int32), 3)
    rise = [
        folds.surrogate(i).predict(cells[[i]])[0] - folds.surrogate(i).predict(cells[:9]).mean(axis=0) for i in range(4)
    ]
    np.testing.assert_allclose(values.sum(axis=1), rise, atol=1e-12)
    assert (folds.left_share < 1).all()


def test_outputs_too_large_for_squares_are_refused():
    store, rows, _ = _filled_store(60)
    cells, outputs, row, _ = store.hybrids()
    store.append(cells, 1e150 * outputs, row)
    with pytest.raises(InputError, match="1e"):
        fit_folds(store, rows, CATEGORICAL, folds=2)


class Thing:
    """A cell of a type that says nothing of its value; at an address that differs from run to run."""


def test_cells_are_numbered_by_what_they_are_and_things_as_they_come():
    background = pd.DataFrame({"word": ["b"], "thing": [Thing()]}, dtype=object)
    kinds = ["c", "a", 2.5, 10, 9, None, (1, 2), "a"]
    forward, backward = (
        cell_numbers(as_table(pd.DataFrame({"word": words, "thing": things}, dtype=object)), as_table(background))
        for words, things in ((kinds, [Thing() for _ in kinds]), (kinds[::-1], [Thing() for _ in kinds]))
    )
    np.testing.assert_array_equal(forward.rows[:, 0], backward.rows[::-1, 0])
    np.testing.assert_array_equal(forward.background[:, 0], backward.background[:, 0])
    np.testing.assert_array_equal(forward.rows[:, 1], np.arange(len(kinds)))
