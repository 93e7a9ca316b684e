"""`Lime` as an object that is kept, and what its options do to an answer."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import whybox as wb
from whybox.errors import OptionError
from whybox.explainers import Lime
from whybox.methods.lime.options import LimeOptions

X, Y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
X = X[["age", "bmi", "bp", "s5"]]
FOREST = RandomForestRegressor(10, max_depth=4, random_state=0).fit(X, Y)


def product(table):
    """A function that pickle finds by its name."""
    return table["bmi"] * table["s5"] + table["age"]


SETTINGS = [
    (FOREST, {}),
    (FOREST, {"neighbourhood": "row"}),
    (FOREST, {"discretizer": None, "scale": "response"}),
    (product, {"max_evals": 2_000}),
    (product, {"kernel_width": [0.4, 2.0], "max_evals": 4_000}),
]


@pytest.mark.parametrize(("model", "options"), SETTINGS, ids=lambda s: s if isinstance(s, dict) else "")
def test_an_explainer_comes_back_from_a_pickle_with_the_same_numbers(model, options):
    explain = Lime(model, X, **options)
    before = explain(X[:3])
    again = pickle.loads(pickle.dumps(explain))
    assert again.options == explain.options
    after = again(X[:3])
    np.testing.assert_array_equal(after.values, before.values)
    np.testing.assert_array_equal(after.std_error, before.std_error)
    assert after.evidence.settings == before.evidence.settings


def test_an_explainer_says_what_it_is():
    assert repr(Lime(FOREST, X)) == f"Lime({Lime(FOREST, X).neighbourhood.model.kind}, 442 background rows, exact)"
    assert "sampled" in repr(Lime(product, X))


def test_options_are_taken_as_an_object_or_by_name():
    options = LimeOptions(kernel_width=0.8, neighbourhood="row")
    by_object, by_name = Lime(FOREST, X, options), Lime(FOREST, X, kernel_width=0.8, neighbourhood="row")
    np.testing.assert_array_equal(by_object(X[:2]).values, by_name(X[:2]).values)
    np.testing.assert_array_equal(wb.lime(FOREST, X[:2], X, options).values, by_name(X[:2]).values)
    with pytest.raises(OptionError, match="options go into the object itself"):
        Lime(FOREST, X, options, seed=1)


def test_both_methods_in_one_call():
    both = wb.lime(FOREST, X[:3], X, ["exact", "sampled"], max_evals=20_000)
    assert list(both) == ["exact", "sampled"]
    apart = np.abs(both["exact"].values - both["sampled"].values) / np.maximum(both["sampled"].std_error, 1e-12)
    assert apart.max() < 6
    assert both["exact"].std_error is None


def test_rows_of_one_box_differ_by_their_own_neighbourhood_alone():
    """Quartiles of bmi: two rows between the same edges, one near each edge."""
    low, high = np.quantile(X["bmi"], [0.5, 0.75])
    rows = X[:2].copy()
    rows.loc[rows.index[0]] = rows.iloc[1]
    rows["bmi"] = [low + 0.2, high - 0.1]
    lime = wb.lime(FOREST, rows, X)
    assert lime.extras["condition"][1][0].tolist() == lime.extras["condition"][1][1].tolist()
    np.testing.assert_array_equal(lime.values[0], lime.values[1])
    own = wb.lime(FOREST, rows, X, neighbourhood="row")
    assert abs(own[0, "bmi"].values - own[1, "bmi"].values) > 5
    np.testing.assert_array_less(0.2, own.extras["share"][1][:, 1:])
    for row, words in zip(rows["bmi"], own.extras["condition"][1][:, 1], strict=True):
        least, most = (float(part) for part in words.split(" <= bmi <= "))
        assert least <= row <= most


def test_several_widths_have_an_axis_and_are_those_of_single_calls():
    widths = [0.4, 0.8, 1.6]
    e = wb.lime(FOREST, X[:3], X, kernel_width=widths)
    assert e.dims == ("width", "row", "feature")
    assert e.coords["width"].tolist() == widths
    assert e.evidence.settings["kernel_width"] == widths
    for width in widths:
        one = wb.lime(FOREST, X[:3], X, kernel_width=width)
        np.testing.assert_array_equal(e.sel(width=width).values, one.values)
        for name in ("gap", "intercept", "effective_size", "rank"):
            np.testing.assert_array_equal(e.sel(width=width).extras[name][1], one.extras[name][1])
    assert (np.diff(e.extras["effective_size"][1], axis=0) > 0).all()
    tuples = wb.lime(FOREST, X[:1], X, kernel_width=np.array(widths))
    np.testing.assert_array_equal(tuples.values[:, 0], e.values[:, 0])


def test_a_penalty_shrinks_as_the_ridge_of_the_lime_package_does():
    """Coefficient of 5,000 draws with a penalty: V W / (V W + alpha) of it, V the variance of the design and W the sum of weights."""
    e, penalized = (wb.lime(FOREST, X[:4], X, kernel_width=0.5, alpha=a) for a in (None, 1.0))
    decay = np.exp(-0.5 / 0.5**2)
    share = e.extras["share"][1]
    q = share / (share + (1 - share) * decay)
    weights = 5_000 * np.prod(share + (1 - share) * decay, axis=1)[:, None]
    shrink = q * (1 - q) * weights / (q * (1 - q) * weights + 1)
    np.testing.assert_allclose(penalized.values, e.values * shrink, rtol=1e-12)
    assert penalized.evidence.settings["alpha"] == 1.0
    np.testing.assert_array_equal(wb.lime(FOREST, X[:4], X, kernel_width=0.5, alpha=0).values, e.values)


def test_a_penalty_is_in_all_numbers_of_the_local_model():
    """The model of a rare column: with a penalty its value falls behind another, and as much is missing in the prediction."""
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=(400, 2)), rng.random(400) < 0.02])
    chosen = np.array([[2.0, 0.0, 1.0]])
    e = wb.lime(lambda A: A[:, 0] + 2 * A[:, 2], chosen, rows, kernel_width=0.5, alpha=30.0, max_evals=20_000)
    assert list(np.argsort(-np.abs(e.values[0]))) == [0, 2, 1]
    assert list(e.extras["rank"][1][0]) == [1, 3, 2]
    np.testing.assert_allclose(e.extras["local_prediction"][1], e.extras["intercept"][1] + e.values.sum(axis=1))
    free = wb.lime(lambda A: A[:, 0] + 2 * A[:, 2], chosen, rows, kernel_width=0.5, max_evals=20_000)
    assert (e.extras["r_squared"][1] < free.extras["r_squared"][1] - 0.01).all()


def test_a_penalty_leaves_cells_that_the_background_never_has():
    rows = np.random.default_rng(0).normal(size=(100, 2))
    e = wb.lime(lambda A: A[:, 0] + A[:, 1], [[9.0, 0.0]], rows, alpha=1.0)
    assert e.values[0, 0] == pytest.approx(9.0, abs=0.3)


EDGES = {"age": [40, 60], "bmi": [25, 30], "bp": [95], "s5": [4.5]}


@pytest.mark.parametrize("model", [FOREST, product], ids=["exact", "sampled"])
def test_weights_of_background_rows_are_repeated_rows(model):
    weights = np.random.default_rng(0).integers(0, 4, len(X))
    repeated = X.loc[X.index.repeat(weights)]
    weighted = wb.lime(model, X[:3], X, background_weight=weights, discretizer=EDGES, max_evals=3_000)
    copies = wb.lime(model, X[:3], repeated, discretizer=EDGES, max_evals=3_000)
    np.testing.assert_allclose(weighted.values, copies.values, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(weighted.extras["share"][1], copies.extras["share"][1], atol=1e-12)


def test_a_player_of_two_columns_has_one_value_and_one_condition():
    e = wb.lime(FOREST, X[:3], X, players={"body": ["bmi", "bp"]})
    assert e.feature_names == ("age", "body", "s5")
    assert e.players["body"] == ("bmi", "bp")
    apart = wb.lime(FOREST, X[:3], X).extras["condition"][1][0]
    assert str(e[0, "body"].extras["condition"][1]) == f"{apart[1]} and {apart[2]}"


def test_entropy_cuts_where_classes_change():
    old = np.where(X["age"] > 48, "old", "young")
    e = wb.lime(product, X[:20], X, discretizer="entropy", y=old, max_evals=4_000)
    assert set(e.extras["condition"][1][:, 0]) == {"age <= 48.5", "age > 48.5"}


def test_the_predicted_class_of_each_row():
    classes = np.array(["low", "middle", "high"])[np.digitize(Y, [100, 200])]
    model = RandomForestClassifier(10, max_depth=4, random_state=0).fit(X, classes)
    e = wb.lime(model, X[:8], X, output="predicted")
    assert e.dims == ("row", "feature")
    assert e.extras["label"][1].tolist() == model.predict(X[:8]).tolist()
    np.testing.assert_allclose(e.prediction, model.predict_proba(X[:8]).max(axis=1), atol=1e-12)


def test_an_answer_travels_as_a_file_json_and_a_page_of_few_kilobytes(tmp_path):
    e = wb.lime(FOREST, X[:200], X)
    e.save(tmp_path / "local.whybox")
    again = wb.load(tmp_path / "local.whybox")
    assert again.kind == "local"
    assert again.extras["condition"][1].tolist() == e.extras["condition"][1].tolist()
    assert again.extras["label"][1].tolist() == e.extras["label"][1].tolist()
    assert isinstance(again.extras["condition"][1][0, 0], str)
    frame = json.loads(json.dumps(e.to_frame().to_dict("records")))
    assert frame[0]["condition"] == e.extras["condition"][1][0, 0]
    assert len(e._repr_html_()) < 20_000
    assert len(e[0]._repr_html_()) < 20_000


def test_rows_are_picked_that_show_the_most():
    e = wb.lime(FOREST, X[:40], X)
    picked = wb.submodular_pick(e, count=4)
    assert picked.shape == (4, 4)
    assert set(picked.coords["row"]) <= set(e.coords["row"])
    _, shown = picked.extras["pick_coverage"]
    assert (np.diff(shown) >= 0).all()
    assert shown[-1] <= 1


def test_a_selection_keeps_conditions_beside_their_values():
    e = wb.lime(FOREST, X[:6], X)
    assert float(e[2, "bmi"]) == e.values[2, 1]
    assert str(e[2, "bmi"].extras["condition"][1]) == e.extras["condition"][1][2, 1]
    column = e[:, "bmi"]
    assert column.extras["condition"][1].tolist() == e.extras["condition"][1][:, 1].tolist()
    heavy = e[X[:6]["bmi"].to_numpy() > 25]
    assert heavy.coords["row"].tolist() == X.index[:6][X[:6]["bmi"] > 25].tolist()


def test_numbers_of_a_frame_go_to_the_model_as_they_are():
    """Whole numbers stay whole, single precision stays single, and names are kept."""
    met = []

    def function(table):
        met.append(table)
        return table["a"] * 1.0 + table["b"]

    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.integers(0, 3, 50), "b": rng.normal(size=50).astype(np.float32)})
    wb.lime(function, table[:2], table, max_evals=2_000, neighbourhood="row")
    assert {str(t.dtypes["a"]) for t in met} == {"int64"}
    assert {str(t.dtypes["b"]) for t in met} == {"float32"}
    assert {tuple(t.columns) for t in met} == {("a", "b")}


def test_a_constant_beside_the_output_does_not_enlarge_errors():
    """Too few draws for an additive fit of so many columns: then the mean output at least is taken off."""
    rows = np.random.default_rng(0).normal(size=(100, 60))
    plain, shifted = (
        wb.lime(lambda A, shift=shift: shift + 2 * A[:, 0] + A[:, 1] * A[:, 2], rows[:2], rows, max_evals=1_300)
        for shift in (0.0, 1e6)
    )
    np.testing.assert_allclose(shifted.values, plain.values, atol=1e-6)
    np.testing.assert_allclose(shifted.std_error, plain.std_error, atol=1e-6)
    np.testing.assert_allclose(shifted.extras["gap"][1], plain.extras["gap"][1], atol=1e-6)
