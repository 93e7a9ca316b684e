"""An explainer of LIME that is kept: what it keeps from call to call, and what it computes for many rows at a time, changes no number."""

import gc
import pickle
import weakref

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from whybox.explainers import Lime
from whybox.kernels import reference
from whybox.kernels.product_law_numpy import NumpyProductLaw
from whybox.methods.lime import certify, sample, sampled, shared_sample
from whybox.methods.lime.design import LocalDesign
from whybox.methods.lime.options import LimeOptions
from whybox.methods.lime.problem import resolve_neighbourhood, resolve_rows
from whybox.methods.lime.shared_sample import DrawnRows
from whybox.numerics.statistics import critical_value


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"age": rng.normal(40, 10, 200).round(), "city": rng.choice(["Rome", "Oslo", "Bonn"], 200), "x": rng.random(200)}
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(table):
    y = table["age"] * (table["city"] == "Rome") + 5 * table["x"] * (table["age"] > 45)
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city"]), remainder="passthrough"
    )
    return make_pipeline(encoder, GradientBoostingRegressor(n_estimators=8, random_state=0)).fit(table, y)


def with_odd_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of which some have cells that the background never has: below and above its numbers, and other categories."""
    odd = table[:12].copy()
    odd.loc[[1, 4], "age"] = [-200.0, 300.0]
    odd.loc[[4, 7], "city"] = ["Paris", "Nice"]
    odd.loc[[9, 10], "x"] = [9.0, 7.0]
    return odd


@pytest.mark.parametrize("neighbourhood", ["lime", "row"])
def test_cells_that_the_background_never_has_are_as_in_a_fresh_explainer(table, model, neighbourhood):
    odd = with_odd_cells(table)
    fresh = Lime(model, table, neighbourhood=neighbourhood, spot_checks=0)(odd).values
    kept = Lime(model, table, neighbourhood=neighbourhood, spot_checks=0)
    for rows in (slice(3), slice(3, 8), slice(8, None), slice(None), slice(None, None, -1), slice(4, 5)):
        np.testing.assert_allclose(kept(odd[rows]).values, fresh[rows], rtol=1e-12)
    assert np.abs(fresh[[4, 9], [0, 2]]).min() > 0.01  # and they are no zeros


def test_more_kinds_of_odd_cells_than_are_kept(table):
    numbers = table[["age", "x"]]
    coded = pd.concat([numbers, pd.get_dummies(table["city"]).astype(float)], axis=1)
    model = GradientBoostingRegressor(n_estimators=8, random_state=0).fit(coded, coded["Rome"] * coded["age"])
    players = {"city": ["Bonn", "Oslo", "Rome"]}  # atoms: each other triple of numbers is a kind of its own
    many = coded[:40].copy()
    many["Bonn"], many["Rome"] = np.linspace(0, 1, 40), np.linspace(1, 0, 40) ** 2
    fresh = Lime(model, coded, players=players, spot_checks=0)(many).values
    kept = Lime(model, coded, players=players, spot_checks=0)
    for rows in (slice(3), slice(None), slice(20, 24), slice(3)):
        np.testing.assert_array_equal(kept(many[rows]).values, fresh[rows])


@pytest.mark.parametrize("discretizer", ["quartile", None])
@pytest.mark.parametrize(("weights_at_once", "max_pieces"), [(2**18, 4096), (5_000, 4096), (7_000, 3)])
def test_the_spread_of_many_rows_is_that_of_each(table, monkeypatch, discretizer, weights_at_once, max_pieces):
    monkeypatch.setattr(sampled, "WEIGHTS_AT_ONCE", weights_at_once)
    monkeypatch.setattr(sample, "MAX_PIECES", max_pieces)
    numbers = table[["age", "x"]].to_numpy()
    model = GradientBoostingRegressor(n_estimators=8, random_state=0).fit(numbers, numbers.prod(axis=1))
    explainer = Lime(model, numbers, discretizer=discretizer)
    found = explainer(numbers[:20])
    near = LocalDesign(resolve_rows(explainer.neighbourhood, numbers[:20]))
    (one,), (outputs,) = explainer._spread.samples, explainer._spread.outputs
    places = None if discretizer else near.places(one)
    for row in range(20):
        weight = near.of_row(row, one, places)[1]
        expected = np.cov(outputs[:, 0], aweights=weight, ddof=0)
        assert found.extras["spread"][1][row] ** 2 == pytest.approx(float(expected), rel=1e-10)


def two_outputs(rows):
    return np.column_stack([rows[:, 0] * rows[:, 1], np.exp(rows[:, 1])])


def test_the_reading_node_by_node_agrees_with_the_specification(table):
    numbers = np.where(np.random.default_rng(1).random((200, 2)) < 0.1, 0.0, table[["age", "x"]])
    model = GradientBoostingRegressor(n_estimators=8, random_state=0).fit(numbers, numbers.prod(axis=1))
    explainer = Lime(model, numbers)
    near = LocalDesign(resolve_rows(explainer.neighbourhood, numbers[:5]))
    law, law_of = explainer._laws.of_rows(near)
    by_hand = reference.product_law(
        law.ensemble, [one.columns for one in law.laws], [one.points() for one in law.laws], [one.mass for one in law.laws],
        [one.derivative for one in law.laws], law_of,
    )[1]  # fmt: skip
    mass, derivative = (
        [getattr(one, of)[law_of[:, i]] for i, one in enumerate(law.laws)] for of in ("mass", "derivative")
    )
    found = NumpyProductLaw(law.ensemble, law.laws).expected_outputs(mass, derivative)[1]
    np.testing.assert_allclose(found, by_hand, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"discretizer": None}, {"neighbourhood": "row"}], ids=str)
def test_sampled_values_do_not_depend_on_how_many_rows_and_pieces_are_held(table, monkeypatch, options):
    numbers = table[["age", "x"]].to_numpy()
    explainer = Lime(two_outputs, numbers, method="sampled", max_evals=2_100, tol=1e-9, **options)
    found = explainer(numbers[:30])
    again = explainer(numbers[:30])  # from the rows that were kept
    np.testing.assert_array_equal(again.values, found.values)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(explainer))(numbers[:30]).values, found.values)
    monkeypatch.setattr(sampled, "WEIGHTS_AT_ONCE", 5_000)
    monkeypatch.setattr(sample, "MAX_PIECES", 3)
    other = Lime(two_outputs, numbers, method="sampled", max_evals=2_100, tol=1e-9, **options)(numbers[:30])
    for name in ("values", "std_error"):
        np.testing.assert_allclose(getattr(other, name), getattr(found, name), rtol=1e-9, atol=1e-11)


def test_rows_are_drawn_from_where_they_begin(table, monkeypatch):
    near = resolve_neighbourhood(lambda rows: rows[:, 0], table[["age", "x"]].to_numpy(), LimeOptions())
    whole = DrawnRows(near)
    parts = [whole.sample(0, 8), whole.sample(8, 8), whole.sample(16, 16)]
    monkeypatch.setattr(shared_sample, "MAX_KEPT", 0)
    fresh = DrawnRows(near)
    for first, draws, part in ((16, 16, parts[2]), (0, 8, parts[0]), (8, 8, parts[1]), (8, 8, parts[1])):
        np.testing.assert_array_equal(fresh.sample(first, draws).values, part.values)
    assert whole.sample(8, 8) is parts[1]


def test_certificates_of_rows_are_those_of_each(monkeypatch):
    monkeypatch.setattr(certify, "MAX_CELLS", 100)
    monkeypatch.setattr(certify, "BLOCK", 4)
    rng = np.random.default_rng(0)
    values, errors = rng.normal(size=(9, 7)), rng.random((9, 7)) * np.array([0.0, 0.01, 0.3] * 3)[:, None]
    values[:, 1], errors[4, 2] = values[:, 0], np.nan
    found = certify.certify_rows(values, errors, freedom=15)
    ahead = np.abs(values)[:, :, None] - np.abs(values)[:, None]
    error = np.hypot(np.nan_to_num(errors, nan=np.inf)[:, :, None], np.nan_to_num(errors, nan=np.inf)[:, None])
    larger = ahead > np.maximum(critical_value(0.95, 15) * error, 1e-9)
    np.testing.assert_array_equal(found.rank, 1 + larger.sum(axis=1))
    for row in range(9):
        one = certify.certify(values[row], errors[row], freedom=15)
        assert (one.certified, one.order.tolist()) == (found.certified[row], found.order[row].tolist())
    for top in (1, 3, 7):
        several = certify.are_certified(values, errors, top, level=0.95, freedom=15, looks=1)
        np.testing.assert_array_equal(several, found.certified >= top)


def test_nothing_of_an_explainer_is_kept_when_it_is_gone(table):
    numbers = table[["age", "x"]].to_numpy()
    explainer = Lime(RandomForestRegressor(3, random_state=0).fit(numbers, numbers[:, 0]), numbers)
    explainer(numbers[:3])
    kept = [weakref.ref(explainer.neighbourhood), weakref.ref(explainer.neighbourhood.model)]
    del explainer
    gc.collect()
    assert [ref() for ref in kept] == [None, None]
