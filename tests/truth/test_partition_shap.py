"""PartitionShap of tables: exact against all orders that the hierarchy allows, errors that hold the exact values, and which hierarchy it takes."""

from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy.cluster.hierarchy import linkage

import whybox as wb
from whybox.errors import LimitError, OptionError
from whybox.explainers import PartitionShap

MIX = np.random.default_rng(7).normal(size=(6, 5))
NESTED = [["a", ["b", "c"]], ["d", "e", "f"]]
EXACT = 10**7  # predictions that are never needed


def smooth(rows):
    """A function of six numbers, with interactions of every order."""
    return np.tanh(np.asarray(rows, dtype=float) @ MIX).sum(axis=1)


def table(rows, seed=0, columns="abcdef"):
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, 6)), columns=list(columns))


def compatible_orders(nested):
    if not isinstance(nested, list):
        return [(nested,)]
    parts = [compatible_orders(part) for part in nested]
    return [
        tuple(player for which in order for player in chosen[which])
        for chosen in product(*parts)
        for order in permutations(range(len(parts)))
    ]


def by_definition(f, row, background, weights, nested, columns_of=None):
    """Means over compatible orders of what a player adds, each absent column taking the cells of every background row."""
    orders = compatible_orders(nested)
    out = dict.fromkeys(orders[0], 0.0)
    known = {}

    def worth(present):
        if present not in known:
            hybrids = background.copy()
            for player in present:
                for column in columns_of[player] if columns_of else [player]:
                    hybrids[column] = np.repeat(row[[column]].to_numpy()[0], len(background))
            known[present] = np.average(f(hybrids), axis=0, weights=weights)
        return known[present]

    for order in orders:
        for k, player in enumerate(order):
            out[player] = out[player] + (worth(frozenset(order[: k + 1])) - worth(frozenset(order[:k]))) / len(orders)
    return out


def test_exact_values_are_means_over_compatible_orders():
    X, background = table(3, 1), table(9, 2)
    weights = np.arange(1.0, 10.0)
    e = wb.explain(
        smooth, X, background, method="partition_shap", hierarchy=NESTED, background_weight=weights, max_evals=EXACT
    )
    assert e.evidence.exact
    assert e.std_error is None
    assert e.evidence.index == "owen"
    assert e.evidence.method_id == "shap.partition_shap"
    assert e.evidence.settings["hierarchy"] == NESTED
    for row in range(3):
        want = by_definition(smooth, X.iloc[[row]], background, weights, NESTED)
        np.testing.assert_allclose(e.values[row], [want[name] for name in e.feature_names], atol=1e-12)
    np.testing.assert_allclose(e.values.sum(axis=1) + e.base, smooth(X), atol=1e-12)
    assert e.evidence.spot_checks.numbers == 3


def test_mixed_columns_groups_and_several_outputs():
    """Text columns, players of two columns, three outputs, and a row that is partly equal to all of the background."""
    X = table(4, 1).assign(a=["x", "y", "x", "z"], f=1.0)
    background = table(7, 2).assign(a=list("xxyyzzx"), f=1.0)

    def f(rows):
        z = rows.drop(columns="a").to_numpy(dtype=float)
        is_x = (rows["a"] == "x").to_numpy()
        return np.column_stack([z.sum(axis=1), np.tanh(z).prod(axis=1), is_x * z[:, 0] * z[:, 2]])

    players = {"pair": ["b", "d"]}
    nested = [["a", "pair"], ["c", "e"], "f"]
    e = wb.explain(f, X, background, method="partition_shap", players=players, hierarchy=nested, max_evals=EXACT)
    assert e.dims == ("row", "feature", "output")
    columns_of = {name: [name] for name in "acef"} | {"pair": ["b", "d"]}
    for row in range(4):
        want = by_definition(f, X.iloc[[row]], background, None, nested, columns_of)
        np.testing.assert_allclose(e.values[row], np.stack([want[name] for name in e.feature_names]), atol=1e-12)
    assert (e[:, "f"].values == 0).all()


@pytest.mark.parametrize(
    ("background_rows", "max_evals", "weighted"),
    [(40, 6 * 800, False), (150, 6 * 800, False), (30, 6 * 380, False), (60, 6 * 600, True)],
)
def test_errors_hold_the_exact_values(background_rows, max_evals, weighted):
    inside = []
    for seed in range(8):
        X, background = table(6, [seed, 1]), table(background_rows, [seed, 2])
        weights = np.linspace(1, 5, background_rows) if weighted else None
        options = {"method": "partition_shap", "hierarchy": NESTED, "tol": 1e-9, "background_weight": weights}
        exact = wb.explain(smooth, X, background, max_evals=EXACT, **options)
        e = wb.explain(smooth, X, background, max_evals=max_evals, seed=seed, **options)
        assert not e.evidence.exact
        assert e.evidence.model_calls <= max_evals + e.evidence.spot_checks.predictions
        np.testing.assert_allclose(e.values.sum(axis=1) + e.base, smooth(X), atol=1e-12)
        inside.append(np.abs(e.values - exact.values) <= 1.96 * e.std_error)
    assert 0.9 <= np.mean(inside) <= 0.99


def test_the_error_of_another_background_is_that_of_values_against_single_rows():
    X, background = table(2, 1), table(24, 2)
    options = {"method": "partition_shap", "hierarchy": NESTED}
    exact = wb.explain(smooth, X, background, max_evals=EXACT, **options)
    single = [wb.explain(smooth, X, background[k : k + 1], **options, max_evals=EXACT).values for k in range(24)]
    want = np.std(single, axis=0, ddof=1) / np.sqrt(24)
    np.testing.assert_allclose(exact.extras["background_error"][1], want, rtol=1e-9)
    drawn = wb.explain(smooth, X, background, max_evals=1_300, tol=1e-9, **options)
    assert not drawn.evidence.exact
    np.testing.assert_allclose(drawn.extras["background_error"][1], want, rtol=0.3, atol=0.15 * want.max())


def test_a_row_has_the_same_draws_wherever_it_stands_and_seeds_differ():
    X, background = table(4, 1), table(80, 2)
    options = {"method": "partition_shap", "hierarchy": NESTED, "max_evals": 4_000}
    e = wb.explain(smooth, X, background, **options)
    again, turned = wb.explain(smooth, X, background, **options), wb.explain(smooth, X[::-1], background, **options)
    assert e.values.tobytes() == again.values.tobytes()
    np.testing.assert_array_equal(e.values, turned.values[::-1])
    other = wb.explain(smooth, X, background, seed=1, **options)
    assert (np.abs(other.values - e.values) <= 4 * np.hypot(e.std_error, other.std_error)).all()
    assert (other.values != e.values).all()


def test_draws_end_where_errors_are_small_enough():
    X, background = table(3, 1), table(200, 2)
    options = {"method": "partition_shap", "hierarchy": NESTED, "max_evals": 9_000}
    loose, tight = (wb.explain(smooth, X, background, tol=tol, **options) for tol in (0.5, 1e-9))
    assert loose.extras["converged"][1].all()
    assert not tight.extras["converged"][1].any()
    assert loose.extras["model_evals"][1].sum() < tight.extras["model_evals"][1].sum() / 2
    assert any(note.startswith("NOT CONVERGED") for note in tight.evidence.notes)


def test_a_block_has_no_credit_from_rows_in_which_its_columns_contradict_each_other():
    """Two columns always agree in the background. The function is as it pleases where they do not; that is in the Shapley values, but not in a block's total."""
    draw = np.random.default_rng(0)
    size = draw.normal(size=60)
    background = pd.DataFrame({"metres": size, "feet": size / 0.3048, "rooms": draw.normal(size=60)})
    X = pd.DataFrame({"metres": [1.0], "feet": [1.0 / 0.3048], "rooms": [2.0]})

    def honest(rows):
        return rows["metres"] * (1 + rows["rooms"])

    def other_where_impossible(rows):
        return honest(rows) + 10 * rows["rooms"] * (np.abs(rows["metres"] - 0.3048 * rows["feet"]) > 1e-9)

    def block(f, **options):
        e = wb.explain(f, X, background, max_evals=EXACT, **options)
        return float(e[0, "metres"]) + float(e[0, "feet"])

    for f in (honest, other_where_impossible):
        together = wb.explain(
            f, X, background, players={"size": ["metres", "feet"]}, method="exact_shap", max_evals=EXACT
        )
        assert block(f, method="partition_shap") == pytest.approx(float(together[0, "size"]), abs=1e-9)
    assert abs(block(other_where_impossible, method="exact_shap") - block(honest, method="exact_shap")) > 1.0
    assert PartitionShap(honest, background).hierarchy == [["metres", "feet"], "rooms"]


def test_columns_that_depend_on_each_other_are_blocks_and_others_stand_side_by_side():
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 400))
    background = pd.DataFrame(
        {
            "a": a,
            "noise": draw.normal(size=400),
            "b": b,
            "near a": a + 0.1 * draw.normal(size=400),
            "kind of b": np.where(b > 0, "high", "low"),
            "a, far": a + 1.0 * draw.normal(size=400),
        }
    )
    model = lambda rows: rows["a"] + rows["b"]
    nested = PartitionShap(model, background).hierarchy
    assert nested == [[["a", "near a"], "a, far"], "noise", ["b", "kind of b"]]
    independent = PartitionShap(smooth, table(500)).hierarchy
    assert independent == list("abcdef")  # as for Shapley values
    e, shapley = (
        wb.explain(smooth, table(2, 1), table(8, 2), method=m, max_evals=EXACT)
        for m in ("partition_shap", "exact_shap")
    )
    np.testing.assert_allclose(e.values, shapley.values, atol=1e-12)


def test_a_hierarchy_is_named_by_lists_positions_dicts_or_a_linkage():
    X, background = table(2, 1), table(5, 2)

    def values(hierarchy):
        return wb.explain(smooth, X, background, method="partition_shap", hierarchy=hierarchy, max_evals=EXACT).values

    want = values([["a", ["b", "c"]], ["d", "e", "f"]])
    np.testing.assert_array_equal(values([[0, [1, 2]], [3, 4, 5]]), want)
    np.testing.assert_array_equal(values({"left": ["a", ("b", "c")], "right": ["d", "e", "f"]}), want)
    np.testing.assert_array_equal(values([["b", "c"]]), values([["b", "c"], "a", "d", "e", "f"]))
    points = np.array([[0.0], [0.1], [1.0], [1.3], [5.0], [5.6]])
    tree = linkage(points, "average")
    assert PartitionShap(smooth, background, hierarchy=tree).hierarchy == [[["a", "b"], ["c", "d"]], ["e", "f"]]
    even = linkage(np.arange(4.0)[:, None], "single")  # all merges at the same distance: one block
    four = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 4)), columns=list("abcd"))
    assert PartitionShap(lambda rows: rows.sum(axis=1), four, hierarchy=even).hierarchy == list("abcd")


@pytest.mark.parametrize(
    ("hierarchy", "words"),
    [
        (["a", ["b", "z"]], "'z', which is not there"),
        (["a", ["b", "a"]], "names 'a' twice"),
        ([0, [1, 9]], "position 9"),
        ("a", "must be nested lists"),
        ([1.5, "a"], "holds 1.5"),
        ([], "names no feature"),
        (np.zeros((3, 4)), "has 5 rows and 4 columns"),
        (np.zeros((5, 4)), "no linkage matrix"),
    ],
)
def test_what_is_no_hierarchy_is_refused(hierarchy, words):
    with pytest.raises(OptionError, match=words):
        wb.explain(smooth, table(2, 1), table(5, 2), method="partition_shap", hierarchy=hierarchy)


def test_other_options_and_small_budgets_are_refused():
    X, background = table(2, 1), table(50, 2)
    for options in ({"order": 2}, {"index": "banzhaf"}, {"stochastic": True}, {"top": 2}):
        with pytest.raises(OptionError, match="does not take"):
            wb.explain(smooth, X, background, method="partition_shap", **options)
    with pytest.raises(OptionError, match="does not take 'hierarchy'"):
        wb.explain(smooth, X, background, method="sampled_shap", hierarchy=NESTED)
    asked = []

    def counting(rows):
        asked.append(len(rows))
        return smooth(rows)

    explainer = PartitionShap(counting, background, hierarchy=NESTED, max_evals=200)
    before = sum(asked)
    with pytest.raises(LimitError, match="at least 80 predictions for 2 rows of up to 6 features"):
        explainer(X)
    assert sum(asked) == before


def test_a_row_that_is_done_early_leaves_its_predictions_to_the_others():
    """Where it stands changes nothing."""
    X, background = table(2, 1), table(80, 2)
    X.iloc[0] = background.iloc[0] * 0 + 8.0  # saturated: nearly the same for every background row

    def f(rows):
        z = np.asarray(rows, dtype=float)
        return np.where(z[:, 0] > 7, 5.0 + z[:, 1:].sum(axis=1), smooth(rows))

    options = {"method": "partition_shap", "hierarchy": NESTED, "max_evals": 3_000, "tol": 0.01}
    e, turned = wb.explain(f, X, background, **options), wb.explain(f, X[::-1], background, **options)
    evals = e.extras["model_evals"][1]
    assert evals[0] < 700
    assert evals[1] > 1_500
    np.testing.assert_array_equal(e.values, turned.values[::-1])
    np.testing.assert_array_equal(e.std_error, turned.std_error[::-1])
    exact = wb.explain(f, X, background, method="partition_shap", hierarchy=NESTED, max_evals=EXACT)
    assert (np.abs(e.values - exact.values) <= 4 * e.std_error + 1e-9).all()


def test_predictions_of_equal_rows_are_spent_on_more_draws():
    """Cells of three values: most hybrids are equal to others."""
    draw = np.random.default_rng(0)
    background = pd.DataFrame(draw.integers(0, 3, size=(200, 6)) * 0.7, columns=list("abcdef"))
    e = wb.explain(
        smooth, background[:2], background, method="partition_shap", hierarchy=NESTED, max_evals=1_300, tol=1e-9
    )
    assert e.evidence.model_calls - e.evidence.spot_checks.predictions <= 1_300
    assert e.extras["model_evals"][1].sum() > 700  # of at most 3^6 a row, and some 230 for rows, background and checks
    exact = wb.explain(smooth, background[:2], background, method="partition_shap", hierarchy=NESTED, max_evals=EXACT)
    inside = np.abs(e.values - exact.values) <= 1.96 * e.std_error + 1e-12
    assert inside.mean() >= 0.75


def test_plans_say_what_is_exact_and_what_it_takes():
    X, background = table(3, 1), table(20, 2)
    for options in ({"max_evals": 3_000}, {"max_evals": 1_000}):
        plan = wb.plan(wb.explain, smooth, X, background, method="partition_shap", hierarchy=NESTED, **options)
        e = wb.explain(smooth, X, background, method="partition_shap", hierarchy=NESTED, tol=1e-9, **options)
        assert plan.method_id == "shap.partition_shap"
        assert plan.exact == e.evidence.exact == (options["max_evals"] == 3_000)
        assert e.evidence.model_calls <= plan.model_calls
        assert not plan.exact or 3 * 26 * 20 < plan.model_calls < 3 * 26 * 20 + 400


def test_rounds_are_shown_and_rows_that_need_no_draws_are_exact():
    """One row differs in two columns only."""
    background = table(50, 2).assign(c=0.0, d=0.0, e=0.0, f=0.0)
    X = table(3, 1)
    X.loc[2, list("cdef")] = 0.0
    e = wb.explain(smooth, X, background, method="partition_shap", hierarchy=[*"abcdef"], max_evals=3_600, tol=1e-9)
    assert (e.std_error[2] == 0).all()
    assert (e.std_error[:2] > 0).all()
    shapley = wb.explain(smooth, X[2:], background, method="exact_shap", max_evals=EXACT)
    np.testing.assert_allclose(e.values[2], shapley.values[0], atol=1e-12)
    assert "every block" in e.evidence.kernel
    assert "orders" in e.evidence.kernel


def test_the_callback_is_given_each_round():
    seen = []
    e = wb.explain(
        smooth, table(2, 1), table(90, 2), method="partition_shap", hierarchy=NESTED, max_evals=3_000, tol=1e-9,
        callback=seen.append,
    )  # fmt: skip
    assert len(seen) >= 3
    assert seen[0].std_error.mean() > e.std_error.mean()
    assert (seen[-1].values == e.values).all()
    for part in seen:
        np.testing.assert_allclose(part.values.sum(axis=1) + part.base, part.prediction, atol=1e-12)
