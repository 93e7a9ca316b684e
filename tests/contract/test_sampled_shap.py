"""What a sampled answer keeps, through the public calls: sums, seeds, order of rows, limits, kinds of tables."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_matrix
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.neighbors import KNeighborsRegressor

import whybox as wb
from games_with_donors import FAMILIES
from oracles import hybrid_game, semivalue, shapley
from whybox.errors import InputError, LimitError
from whybox.explainers import SampledShap

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 8))
ROWS, BACKGROUND = X[:4], X[100:140]
SINGLE = [(j,) for j in range(8)]


def mixed(rows):
    """Interactions of two and three columns, and steps; each row by itself, bit for bit."""
    z = np.asarray(rows, dtype=float)
    return z[:, 0] * z[:, 1] + np.sin(2 * z[:, 2]) + (z[:, 3] > 0.5) * z[:, 4] * z[:, 5] + 0.3 * z[:, 6]


class Counted:
    """A function that counts the rows it was asked about, and may end a call."""

    def __init__(self, function=mixed, stop_after=None, error=None):
        self.function, self.stop_after, self.error, self.rows = function, stop_after, error, 0

    def __call__(self, rows):
        self.rows += len(rows)
        if self.stop_after is not None and self.rows > self.stop_after:
            raise self.error
        return self.function(rows)


def explain(model=mixed, rows=ROWS, background=BACKGROUND, **more):
    more = {"max_evals": 4_000, "surrogate": False} | more
    return wb.explain(model, rows, background, "sampled_shap", **more)


def true_values(rows, background, weights=None, groups=SINGLE, function=mixed):
    games = [hybrid_game(function, groups, rows[i], background, weights) for i in range(len(rows))]
    return np.stack([semivalue(game, len(groups), shapley) for game in games])


def assert_within(got, expected, errors=5.0):
    """Values are within so many standard errors of what is expected, up to rounding."""
    size = np.abs(expected).max()
    assert (np.abs(got.values - expected) <= errors * got.std_error + 1e-9 * size).all()


@pytest.fixture(scope="module")
def plain():
    return explain()


def test_values_are_those_of_the_definition_within_their_errors(plain):
    expected = true_values(ROWS, BACKGROUND)
    assert_within(plain, expected)
    assert plain.std_error.max() < 0.5 * np.abs(expected).max()


def test_values_add_up_exactly(plain):
    np.testing.assert_allclose(plain.values.sum(axis=1) + plain.base, plain.prediction, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(plain.prediction, mixed(ROWS))
    assert not plain.evidence.exact


def test_the_same_seed_gives_the_same_bytes_and_another_one_values_within_the_errors(plain):
    again, other = explain(), explain(seed=1)
    assert again.values.tobytes() == plain.values.tobytes()
    assert again.std_error.tobytes() == plain.std_error.tobytes()
    assert (other.values != plain.values).any()
    both = np.hypot(plain.std_error, other.std_error)
    assert (np.abs(other.values - plain.values) <= 5 * both).all()


@pytest.mark.parametrize("more", [{}, {"surrogate": True, "max_evals": 12_000}])
def test_the_order_of_rows_changes_no_bit(more):
    rows = X[:9]
    order = np.random.default_rng(1).permutation(9)
    one, other = explain(rows=rows, **more), explain(rows=rows[order], **more)
    np.testing.assert_array_equal(one.values[order], other.values)
    np.testing.assert_array_equal(one.std_error[order], other.std_error)


def test_the_order_of_rows_of_a_frame_changes_no_bit():
    rows, background = frame(7, 0), frame(12, 1)
    order = np.random.default_rng(1).permutation(7)
    one = explain(score, rows, background)
    other = explain(score, rows.iloc[order], background)
    np.testing.assert_array_equal(one.values[order], other.values)


def test_the_order_of_rows_of_words_changes_no_bit_behind_a_surrogate():
    """Words are numbered for the surrogate, and its folds of rows depend on these numbers."""
    rng = np.random.default_rng(0)

    def words(n):
        drawn = {name: rng.choice(list("abcdefg"), n).astype(object) for name in ("c", "d")}
        mixed_kinds = np.array([1, "a", 2.5, True, None], dtype=object)[rng.integers(0, 5, n)]
        return pd.DataFrame({**drawn, "kind": mixed_kinds, **{f"x{j}": rng.normal(size=n) for j in range(6)}})

    def model(rows):
        c, d = (np.array([ord(w) - 100.0 for w in rows[name]]) for name in ("c", "d"))
        kind = np.array([len(str(k)) / 2.0 for k in rows["kind"]])
        return np.tanh(c * rows["x0"] + kind * rows["x1"] * rows["x2"]) + np.sin(d * rows["x3"]) * rows["x4"]

    rows, background = words(12), words(13)
    order = rng.permutation(12)
    more = {"surrogate": True, "max_evals": 12 * 1_125, "tol": 1e-9}
    one, other = explain(model, rows, background, **more), explain(model, rows.iloc[order], background, **more)
    np.testing.assert_array_equal(one.values[order], other.values)
    np.testing.assert_array_equal(one.std_error[order], other.std_error)


def test_other_rows_in_the_call_change_values_within_the_errors_only(plain):
    alone = explain(rows=ROWS[:1])
    both = np.hypot(plain.std_error[0], alone.std_error[0])
    assert (np.abs(alone.values[0] - plain.values[0]) <= 5 * both).all()


def test_repeated_rows_get_the_same_values_and_cost_nothing():
    once, twice = Counted(), Counted()
    explain(once, ROWS[:2], spot_checks=0, max_evals=3_000)
    got = explain(twice, ROWS[[0, 1, 0, 0]], spot_checks=0, max_evals=3_000)
    np.testing.assert_allclose(got.values[[2, 3]], got.values[[0, 0]], rtol=1e-12, atol=1e-14)
    assert twice.rows <= 3_000


def test_a_row_that_is_every_background_row_has_zeros_and_costs_nothing():
    background = np.repeat(ROWS[:1], 9, axis=0)
    got = explain(rows=ROWS[[0, 1]], background=background)
    assert not got.values[0].any()
    assert not got.std_error[0].any()
    assert got.extras["model_evals"][1][0] == 0
    assert got.extras["converged"][1][0]
    assert got.values[1].any()


def test_rows_whose_features_differ_in_different_sets():
    background = np.repeat(BACKGROUND[:1], 30, axis=0)
    background[:, :2] = BACKGROUND[:30, :2]
    rows = np.repeat(BACKGROUND[:1], 5, axis=0)
    rows[0, 4] = 3.0  # three players
    rows[1, :] = X[5]  # eight
    rows[2, 2:4] = 3.0  # four
    rows[4, 5:] = 1.0  # five
    got = explain(rows=rows, background=background, max_evals=6_000)
    expected = true_values(rows, background)
    assert_within(got, expected)
    np.testing.assert_array_equal(got.values[:, 7][[0, 2, 3]], 0.0)
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, got.prediction, atol=1e-13)


def test_a_tight_budget_is_shared_by_rows_that_differ_in_few_and_in_many_features():
    background = np.repeat(BACKGROUND[:1], 40, axis=0)
    background[:, 0] = BACKGROUND[:, 0]
    rows = np.repeat(BACKGROUND[:1], 6, axis=0)
    rows[:, 1] = 2.0
    rows[5] = X[5]
    with pytest.raises(LimitError, match="at least [0-9,]+ predictions") as refused:
        explain(rows=rows, background=background, max_evals=140)
    least = int(re.search("at least ([0-9,]+) predictions", str(refused.value))[1].replace(",", ""))
    counted = Counted()
    got = explain(counted, rows, background, max_evals=least, spot_checks=0)
    assert counted.rows <= least
    assert (got.std_error[5] > 0).any()
    assert_within(got, true_values(rows, background), 8.0)


@pytest.mark.parametrize("donors", [1, 2, 3, 5, 7, 9, 11, 25, 200])
@pytest.mark.parametrize("columns", [2, 3, 5, 8])
def test_predictions_are_never_more_than_allowed(donors, columns):
    function = FAMILIES["pairs"](columns, np.random.default_rng(0))
    rows, background = X[:2, :columns], X[100 : 100 + donors, :columns]
    beside = SampledShap(function, background).setting.predictions_beside(2)
    with pytest.raises(LimitError, match="at least [0-9,]+ predictions") as refused:
        explain(function, rows, background, max_evals=beside)
    least = int(re.search("at least ([0-9,]+) predictions", str(refused.value))[1].replace(",", ""))
    for allowed in (least, least + 1, least + 61, least + 500):
        counted = Counted(function)
        got = explain(counted, rows, background, max_evals=allowed, spot_checks=0)
        assert counted.rows <= allowed
        assert counted.rows == got.evidence.model_calls


def test_calls_of_spot_checks_are_counted():
    counted = Counted()
    got = explain(counted)
    assert got.evidence.spot_checks.predictions > 0
    assert counted.rows == got.evidence.model_calls


def test_a_tolerance_that_is_reached_is_kept():
    many = X[100:]  # all coalitions over all of them are beyond the budget
    got = explain(background=many, tol=0.1, max_evals=30_000)
    assert got.extras["converged"][1].all()
    assert (got.std_error.max(axis=1) <= 0.1 * np.abs(got.values).max(axis=1)).all()
    assert_within(got, true_values(ROWS, many))
    loose = explain(background=many, tol=0.5, max_evals=30_000)
    assert loose.extras["model_evals"][1].sum() < got.extras["model_evals"][1].sum()


def test_a_tolerance_that_is_not_reached_is_said():
    got = explain(tol=1e-6, max_evals=1_000)
    assert not got.extras["converged"][1].any()
    assert any("NOT CONVERGED" in note for note in got.evidence.notes)


def test_the_largest_values_are_told_from_the_others():
    got = explain(top=1, tol=1e-9, max_evals=100_000)
    settled = got.extras["converged"][1]
    assert settled.any()
    assert got.extras["model_evals"][1].sum() < 100_000
    expected = np.abs(true_values(ROWS, BACKGROUND))
    assert (expected.argmax(axis=1) == np.abs(got.values).argmax(axis=1))[settled].all()


def test_predictions_that_settled_rows_leave_go_to_the_others():
    rows = np.concatenate([np.repeat(BACKGROUND[:1], 9, axis=0), X[:1]])
    background = np.repeat(BACKGROUND[:1], 40, axis=0)
    background[:, :2] = BACKGROUND[:, :2]
    rows[:9, 0] = np.arange(9) + 5.0  # almost additive there
    got = explain(rows=rows, background=background, tol=0.02, max_evals=9_000)
    assert got.extras["converged"][1][9] or got.extras["model_evals"][1][9] > 2_000


def test_intervals_have_their_level():
    narrow, wide = explain(level=0.5, tol=1e-9), explain(level=0.99, tol=1e-9)
    np.testing.assert_array_equal(narrow.values, wide.values)
    for got, normal in ((narrow, 0.67448975), (wide, 2.57582930)):
        low = got.extras["ci_low"][1] if "ci_low" in got.extras else np.asarray(got.interval[0])
        np.testing.assert_allclose(got.values - low, normal * got.std_error, rtol=1e-6, atol=1e-12)


def test_several_outputs_of_very_different_size():
    def three(rows):
        z = np.asarray(rows)
        return np.column_stack([mixed(z), 1e6 * np.tanh(z.sum(axis=1)), 1e-6 * z[:, 0] * z[:, 1]])

    got = explain(three, output="all", tol=1e-9)
    assert got.dims == ("row", "feature", "output")
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, got.prediction, rtol=1e-12)
    for k in range(3):
        expected = true_values(ROWS, BACKGROUND, function=lambda r, k=k: three(r)[:, k])
        assert (
            np.abs(got.values[..., k] - expected) <= 5 * got.std_error[..., k] + 1e-9 * np.abs(expected).max()
        ).all()


@pytest.mark.parametrize("surrogate", [True, None])
def test_a_surrogate_keeps_the_errors_honest(surrogate):
    """Rows of other folds have other donors: a surrogate leaves less of hybrids whose donors it knows, in whatever rows."""
    rows, background = X[:9, :5], X[100:125, :5]

    def rare(z):
        z = np.asarray(z)
        return z[:, 0] * z[:, 1] + 3.0 * (z[:, 2] > 1.2)

    got = explain(rare, rows, background, surrogate=surrogate, max_evals=2_600, tol=1e-4)
    expected = true_values(rows, background, groups=SINGLE[:5], function=rare)
    miss = np.abs(got.values - expected) > 1.96 * got.std_error + 1e-9
    assert miss.mean() < 0.15
    assert any("surrogate" in note for note in got.evidence.notes)
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, got.prediction, atol=1e-12)


def test_a_surrogate_beside_columns_that_the_model_does_not_read():
    """They differ between rows and background and are no players; values add up all the same."""
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(300, 22))
    wide[:, 20:] = np.round(wide[:, 20:])
    target = (wide[:, :16].sum(axis=1) + wide[:, 0] * wide[:, 1] > 0).astype(int)
    read = wide.copy()
    read[:, 20:] = 0.0  # constant in training: no tree reads them
    model = GradientBoostingClassifier(n_estimators=60, random_state=0).fit(read, target)
    got = wb.explain(model, wide[:9], wide[100:130], scale="probability", surrogate=True, max_evals=6_000)
    assert got.evidence.method_id == "shap.sampled_shap"
    assert not got.values[:, 20:].any()
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, got.prediction, atol=1e-12)


def test_a_model_that_answers_at_random():
    draw = np.random.default_rng(0)

    def noisy(rows):
        return mixed(rows) + 0.2 * draw.normal(size=len(rows))

    got = explain(noisy, stochastic=True, max_evals=6_000)
    assert_within(got, true_values(ROWS, BACKGROUND))
    assert (got.std_error > 0.2 / 8 * 0.5).all()  # what all players add is of one answer


def test_banzhaf_values():
    got = explain(index="banzhaf")
    games = [hybrid_game(mixed, SINGLE, row, BACKGROUND) for row in ROWS]
    assert_within(got, np.stack([semivalue(game, 8, lambda s, t: 0.5 ** (s + t)) for game in games]))


def test_too_many_features_say_to_group_them():
    wide = np.random.default_rng(0).normal(size=(6, 1_000))
    with pytest.raises(LimitError, match="1,000 features .* players="):
        explain(lambda r: np.asarray(r).sum(axis=1), wide[:1], wide[1:], max_evals=1_000_000)
    groups = {f"g{k}": list(range(100 * k, 100 * k + 100)) for k in range(10)}
    got = explain(lambda r: np.asarray(r).sum(axis=1), wide[:1], wide[1:], players=groups, tol=1e-12)
    np.testing.assert_allclose(
        got.values[0], [(wide[0] - wide[1:].mean(axis=0))[100 * k : 100 * k + 100].sum() for k in range(10)], atol=1e-9
    )


def test_groups_of_columns_are_players():
    got = explain(players={"both": [0, 2], "last": [6, 7]})
    assert got.feature_names == ("both", "x1", "x3", "x4", "x5", "last")
    assert_within(got, true_values(ROWS, BACKGROUND, groups=[(0, 2), (1,), (3,), (4,), (5,), (6, 7)]))


@pytest.mark.parametrize("budget", [2_500, 60_000])
def test_weights_of_background_rows(budget):
    weights = np.random.default_rng(4).exponential(size=40)
    weights[:3] = 0.0, 1e-13, 30.0
    got = explain(background_weight=weights, max_evals=budget)
    assert_within(got, true_values(ROWS, BACKGROUND, weights / weights.sum()))
    one = explain(background_weight=np.array([1e12, *np.ones(39)]), max_evals=budget)
    assert_within(one, true_values(ROWS, BACKGROUND[:1]), 8.0)


def test_ctrl_c_in_the_model_returns_what_is_known():
    counted = Counted(stop_after=8_000, error=KeyboardInterrupt)
    got = explain(counted, tol=1e-9, max_evals=20_000)
    assert any("UNFINISHED" in note for note in got.evidence.notes)
    assert not got.extras["converged"][1].any()
    assert_within(got, true_values(ROWS, BACKGROUND))
    np.testing.assert_allclose(got.values.sum(axis=1) + got.base, got.prediction, atol=1e-13)


def test_ctrl_c_before_anything_is_known_ends_the_call():
    with pytest.raises(KeyboardInterrupt):
        explain(Counted(stop_after=120, error=KeyboardInterrupt))


def test_a_function_that_fails_in_the_middle_says_so():
    with pytest.raises(wb.errors.WhyboxError, match="broken pipe") as failed:
        explain(Counted(stop_after=8_000, error=OSError("broken pipe")), tol=1e-9, max_evals=20_000)
    assert isinstance(failed.value.__cause__, OSError)


def test_the_callback_gets_answers_that_get_better():
    seen = []
    got = explain(callback=seen.append, tol=1e-9, max_evals=8_000)
    assert len(seen) >= 2
    for some in seen:
        np.testing.assert_allclose(some.values.sum(axis=1) + some.base, some.prediction, atol=1e-12)
    assert seen[0].std_error.mean() > got.std_error.mean()


def test_a_pickled_explainer_gives_the_same_bytes(plain):
    one = SampledShap(mixed, BACKGROUND, max_evals=4_000, surrogate=False)
    again = pickle.loads(pickle.dumps(one))
    assert again(ROWS).values.tobytes() == one(ROWS).values.tobytes() == plain.values.tobytes()


def test_float32_rows_beside_a_float64_background():
    got = explain(rows=ROWS.astype(np.float32))
    assert_within(got, true_values(ROWS.astype(np.float32).astype(float), BACKGROUND), 5.0)


def test_columns_of_whole_numbers():
    numbers = np.random.default_rng(5).integers(-3, 4, (60, 8))
    got = explain(rows=numbers[:3], background=numbers[20:])
    assert_within(got, true_values(numbers[:3].astype(float), numbers[20:].astype(float)))


def frame(n, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "city": rng.choice(["A", "B", "C"], n),
            "kind": pd.Categorical(rng.choice(["u", "v"], n), categories=["v", "u", "w"]),
            "income": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "member": rng.random(n) < 0.5,
            "size": rng.normal(size=n),
            "since": pd.to_datetime("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )


def score(rows):
    """Plain Python that needs the dtypes of the frame."""
    rows = rows if isinstance(rows, pd.DataFrame) else rows.to_pandas()
    assert rows["age"].dtype.kind == "i"
    income = np.where(rows["income"].isna(), -2.0, rows["income"].fillna(0.0))
    late = (pd.to_datetime(rows["since"]) > pd.Timestamp("2021-06-01")).to_numpy(dtype=float)
    out = income * (rows["city"] == "A") + rows["age"] / 50 * rows["member"] + late * rows["size"]
    return (out + (rows["kind"].astype(object) == "u")).to_numpy(dtype=float)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_mixed_frames(library):
    convert = {"pandas": lambda f: f, "polars": pl.from_pandas}[library]
    rows, background = convert(frame(3, 0)), convert(frame(20, 1))
    exact = wb.explain(score, rows, background, "exact_shap")
    got = explain(score, rows, background, max_evals=2_500)
    assert_within(got, exact.values)
    assert got.extras["model_evals"][1].sum() < exact.extras["model_evals"][1].sum()


def test_a_surrogate_of_a_mixed_frame():
    rows, background = frame(10, 0), frame(20, 1)
    exact = wb.explain(score, rows, background, "exact_shap")
    got = explain(score, rows, background, surrogate=True, max_evals=8_000, tol=1e-6)
    assert any("surrogate" in note for note in got.evidence.notes)
    assert_within(got, exact.values, 6.0)


def test_sparse_rows():
    dense = np.where(np.random.default_rng(4).random((40, 9)) < 0.5, 0.0, np.random.default_rng(5).normal(size=(40, 9)))
    model = KNeighborsRegressor(3).fit(csr_matrix(dense), dense.sum(axis=1) * dense[:, 0])
    got = explain(model, csr_matrix(dense[:2]), csr_matrix(dense[10:24]), max_evals=2_000)
    expected = true_values(
        dense[:2], dense[10:24], groups=[(j,) for j in range(9)], function=lambda r: model.predict(csr_matrix(r))
    )
    assert_within(got, expected)


def test_outputs_without_any_variance():
    got = explain(lambda r: np.full(len(r), 2.5))
    assert not got.values.any()
    assert not got.std_error.any()
    assert got.extras["converged"][1].all()


@pytest.mark.parametrize("scale", [1e-100, 1e-12, 1e12, 1e150])
def test_outputs_of_any_size(scale, plain):
    got = explain(lambda r: scale * mixed(r))
    np.testing.assert_allclose(got.values / scale, plain.values, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1e155])
def test_outputs_whose_squares_are_no_numbers_are_refused(scale):
    with pytest.raises(InputError, match="on another scale"):
        explain(lambda r: scale * mixed(r))


def test_the_noise_of_a_random_model_is_in_the_error_of_a_single_feature_that_differs():
    draw = np.random.default_rng(0)
    same = np.tile(BACKGROUND[:1], (40, 1))
    row = same[:1].copy()
    row[0, 0] += 1.0
    got = wb.explain(lambda r: r[:, 0] + draw.normal(size=len(r)), row, same, "sampled_shap", stochastic=True)
    assert 0.5 < got.std_error[0, 0] < 2.0
    assert not got.std_error[0, 1:].any()


@pytest.mark.parametrize("value", [0.1, 1.0, 1e6])
def test_a_constant_model_is_settled_at_once(value):
    got = explain(lambda r: np.full(len(r), value), max_evals=20_000)
    assert got.extras["converged"][1].all()
    assert got.evidence.model_calls < 7_000


def test_a_surrogate_that_was_asked_for_and_not_fitted_is_said():
    got = wb.explain(mixed, ROWS[:3], BACKGROUND, "sampled_shap", surrogate=True, max_evals=3_000)
    assert any("No surrogate was fitted" in note for note in got.evidence.notes)


def test_an_offset_changes_nothing(plain):
    got = explain(lambda r: 1e6 + mixed(r))
    np.testing.assert_allclose(got.values, plain.values, atol=1e-6)
