"""Estimated interactions, and indices that are not symmetric, through the public calls: sums, seeds, order of rows, what is written and drawn, limits."""

from __future__ import annotations

import pickle

import matplotlib as mpl
import numpy as np
import pytest

import whybox as wb
from whybox.errors import LimitError, OptionError
from whybox.explainers import SampledShap

mpl.use("Agg")
X = np.random.default_rng(0).normal(size=(300, 8))
ROWS, BACKGROUND = X[:4], X[100:140]
WHOLE, BLOCKS = 16_000, 3_000  # predictions: some coalitions over all background rows, and over blocks of them


def mixed(rows):
    """Interactions of two and three columns, and steps; each row by itself, bit for bit."""
    z = np.asarray(rows, dtype=float)
    return 2 * z[:, 0] * z[:, 1] + np.sin(2 * z[:, 2]) + (z[:, 3] > 0.5) * z[:, 4] * z[:, 5] + 0.3 * z[:, 6]


def explain(model=mixed, rows=ROWS, background=BACKGROUND, **more):
    return wb.explain(model, rows, background, "sampled_shap", **({"max_evals": BLOCKS, "order": 2} | more))


@pytest.fixture(scope="module")
def exact():
    return wb.explain(mixed, ROWS, BACKGROUND, "exact", order=2)


@pytest.fixture(scope="module")
def blocks():
    return explain()


def assert_within(got, expected, errors=5.0):
    assert (np.abs(got.values - expected) <= errors * got.std_error + 1e-9 * np.abs(expected).max()).all()


@pytest.mark.parametrize("budget", [BLOCKS, WHOLE])
def test_interactions_are_those_of_all_coalitions_within_their_errors(exact, budget):
    got = explain(max_evals=budget)
    assert_within(got, exact.values)
    inside = np.abs(got.values - exact.values) <= 1.96 * got.std_error + 1e-9
    assert inside.mean() >= 0.9
    assert 0 < np.sqrt((got.std_error**2).mean()) < 0.3 * np.abs(exact.values).max()
    np.testing.assert_array_equal(got.values, got.values.swapaxes(1, 2))
    np.testing.assert_allclose(got.values.sum(axis=(1, 2)) + got.base, got.prediction, rtol=0, atol=1e-13)


def test_rows_of_the_matrix_are_estimates_of_attributions(exact, blocks):
    values = wb.explain(mixed, ROWS, BACKGROUND, "exact").values
    np.testing.assert_allclose(exact.values.sum(axis=2), values, atol=1e-12)
    error = blocks.std_error[:, np.arange(8), np.arange(8)]  # of main effects, which is larger
    assert (np.abs(blocks.values.sum(axis=2) - values) <= 5 * error + 1e-9).all()


def test_few_features_over_some_background_rows():
    got = explain(
        rows=ROWS[:, :4],
        background=BACKGROUND[:, :4],
        model=lambda r: r[:, 0] * r[:, 1] + r[:, 2] * r[:, 3] ** 2,
        max_evals=1_500,
    )
    exact = wb.explain(
        lambda r: r[:, 0] * r[:, 1] + r[:, 2] * r[:, 3] ** 2, ROWS[:, :4], BACKGROUND[:, :4], "exact", order=2
    )
    assert_within(got, exact.values)
    assert not got.evidence.exact


def test_enough_predictions_leave_no_error():
    rows, background = ROWS[:, :4], BACKGROUND[:10, :4]
    got = explain(lambda r: r[:, 0] * r[:, 1] * r[:, 2] + r[:, 3], rows, background, max_evals=10_000, tol=1e-9)
    assert got.std_error.max() < 1e-9
    exact = wb.explain(lambda r: r[:, 0] * r[:, 1] * r[:, 2] + r[:, 3], rows, background, "exact", order=2)
    np.testing.assert_allclose(got.values, exact.values, atol=1e-12)


def test_the_same_seed_gives_the_same_bytes_and_the_order_of_rows_changes_no_bit(blocks):
    again, order = explain(), np.array([2, 0, 3, 1])
    assert again.values.tobytes() == blocks.values.tobytes()
    assert again.std_error.tobytes() == blocks.std_error.tobytes()
    other = explain(rows=ROWS[order])
    np.testing.assert_array_equal(blocks.values[order], other.values)
    np.testing.assert_array_equal(blocks.std_error[order], other.std_error)
    assert (explain(seed=1).values != blocks.values).any()


@pytest.mark.parametrize("tol", [0.5, 0.05])
def test_every_entry_is_as_certain_as_asked(tol):
    got = explain(max_evals=60_000, tol=tol)
    assert got.extras["converged"][1].all()
    assert (got.std_error.max(axis=(1, 2)) <= tol * np.abs(got.values).max(axis=(1, 2))).all()
    assert got.evidence.model_calls < 60_000


def test_the_largest_effects_are_settled_first():
    got = explain(max_evals=40_000, tol=1e-9, top=1)
    assert got.extras["converged"][1].any()
    assert got.evidence.settings["top"] == 1


def test_automatic_choice_estimates_what_does_not_fit():
    got = wb.explain(mixed, ROWS[:2], BACKGROUND, order=2)
    assert got.evidence.method_id == "shap.sampled_shap"
    assert not got.evidence.exact
    assert any("interactions are estimated from the predictions alone" in note for note in got.evidence.notes)
    assert wb.plan(wb.explain, mixed, ROWS[:2], BACKGROUND, order=2).method_id == "shap.sampled_shap"


def test_columns_that_do_not_differ_have_no_interaction():
    rows, background = ROWS.copy(), BACKGROUND.copy()
    rows[:2, 3] = background[:, 3] = 0.25
    rows[3], background[:, 1:] = background[0], background[0, 1:]
    rows[3, 0] = 5.0  # a single column differs
    got = explain(rows=rows, background=background)
    np.testing.assert_array_equal(got.values[:2, 3], 0.0)
    np.testing.assert_array_equal(got.std_error[:2, 3], 0.0)
    alone = np.zeros((8, 8))
    alone[0, 0] = got.prediction[3] - got.base
    np.testing.assert_allclose(got.values[3], alone, atol=1e-12)


def test_several_outputs_groups_and_weights():
    weights = np.random.default_rng(4).exponential(size=40)

    def two(rows):
        return np.column_stack([mixed(rows), 1e6 * rows[:, 0] * rows[:, 7]])

    more = {"players": {"both": [0, 2]}, "background_weight": weights, "output": "all", "order": 2}
    got = explain(two, max_evals=6_000, **more)
    assert got.shape == (4, 7, 7, 2)
    expected = wb.explain(two, ROWS, BACKGROUND, "exact", **more).values
    for k in range(2):
        near = 5 * got.std_error[..., k] + 1e-9 * np.abs(expected[..., k]).max()
        assert (np.abs(got.values - expected)[..., k] <= near).all()


def test_a_model_that_answers_at_random(exact):
    draw = np.random.default_rng(8)
    got = explain(lambda rows: mixed(rows) + 0.2 * draw.normal(size=len(rows)), stochastic=True, max_evals=8_000)
    assert_within(got, exact.values)
    assert (got.std_error[:, *np.triu_indices(8, 1)] > 0).all()


def test_tables_files_and_figures(blocks, tmp_path):
    low, high = blocks.interval
    np.testing.assert_allclose(high - low, 2 * 1.959964 * blocks.std_error, rtol=1e-5)
    table = blocks.to_frame(errors=True)
    assert len(table) == 4 * 64
    np.testing.assert_array_equal(np.asarray(table["std_error"]), blocks.std_error.reshape(-1))
    blocks.save(tmp_path / "pairs.whybox")
    kept = wb.load(tmp_path / "pairs.whybox")
    np.testing.assert_array_equal(kept.std_error, blocks.std_error)
    np.testing.assert_array_equal(kept.interval[0], low)
    assert "median standard error of an interaction" in kept.plot.heatmap().get_xlabel()
    assert "median error" in repr(blocks)
    one = kept[0]._repr_html_()
    assert "median error" in one
    assert "± standard error" not in one  # none stands beside the numbers, which are means over pairs
    assert wb.concat([blocks, explain(rows=X[10:12])]).std_error.shape == (6, 8, 8)


def test_explainers_are_kept_and_pickled(blocks):
    explainer = SampledShap(mixed, BACKGROUND, order=2, max_evals=BLOCKS)
    np.testing.assert_array_equal(explainer(ROWS).values, blocks.values)
    again = pickle.loads(pickle.dumps(explainer))
    np.testing.assert_array_equal(again(ROWS).std_error, blocks.std_error)


def test_the_callback_sees_matrices():
    shapes = []
    explain(max_evals=6_000, tol=1e-9, callback=lambda e: shapes.append(e.std_error.shape))
    assert set(shapes) == {(4, 8, 8)}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"surrogate": True}, "surrogate"),
        ({"index": "banzhaf(0.3)"}, "max_evals"),
        ({"index": "beta(4, 1)"}, "max_evals"),
    ],
)
def test_what_has_no_estimate_is_refused_before_any_work(more, says):
    calls = []

    def counted(rows):
        calls.append(len(rows))
        return mixed(rows)

    with pytest.raises(OptionError, match=says):
        explain(counted, **more)
    assert sum(calls) < 60


@pytest.mark.parametrize("more", [{"order": 2}, {"order": 1, "index": "banzhaf(0.3)"}])
def test_too_many_features_say_to_group_them(more):
    wide = np.random.default_rng(0).normal(size=(8, 101))
    with pytest.raises(LimitError, match="101 features .* players="):
        explain(lambda r: np.asarray(r).sum(axis=1), wide[:1], wide[1:], max_evals=100_000, **more)


@pytest.mark.parametrize("index", ["banzhaf", "beta(3, 3)"])
def test_interactions_of_other_symmetric_indices(index):
    expected = wb.explain(mixed, ROWS, BACKGROUND, "exact", order=2, index=index).values
    assert_within(explain(index=index, max_evals=12_000), expected)


@pytest.mark.parametrize("index", ["banzhaf(0.3)", "beta(16, 1)", "beta(1, 4)"])
@pytest.mark.parametrize("budget", [BLOCKS, WHOLE])
def test_values_of_asymmetric_indices(index, budget):
    got = explain(index=index, order=1, max_evals=budget, surrogate=False)
    expected = wb.explain(mixed, ROWS, BACKGROUND, "exact", index=index).values
    assert_within(got, expected)
    assert not got.evidence.exact
    assert got.evidence.index == index
    assert np.sqrt((got.std_error**2).mean()) < 0.3 * np.abs(expected).max()


def test_a_surrogate_helps_with_asymmetric_indices():
    rows = X[:8]
    got = explain(rows=rows, index="banzhaf(0.3)", order=1, max_evals=8_000, surrogate=True)
    assert any("surrogate" in note for note in got.evidence.notes)
    assert_within(got, wb.explain(mixed, rows, BACKGROUND, "exact", index="banzhaf(0.3)").values)


@pytest.mark.parametrize("columns", [3, 4])
def test_few_features_of_asymmetric_indices(columns):
    def f(rows):
        return rows[:, 0] * rows[:, 1] + np.abs(rows[:, 2])

    rows, background = ROWS[:, :columns], BACKGROUND[:, :columns]
    got = explain(f, rows, background, index="beta(4, 1)", order=1, max_evals=700)
    assert_within(got, wb.explain(f, rows, background, "exact", index="beta(4, 1)").values)
    assert any("sum over all coalitions" in way for way in got.evidence.spot_checks.ways)
