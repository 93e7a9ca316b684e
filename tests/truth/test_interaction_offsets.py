"""Interactions and regions of rows with offsets, against loops that ask the library's own predict with them."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import PoissonRegressor
from sklearn.svm import SVR

import whybox as wb
from whybox.errors import InputError, NonFiniteError, OptionError, UnsupportedModelError

RNG = np.random.default_rng(2)
N = 40
X = pd.DataFrame(RNG.normal(size=(N, 3)).round(1), columns=list("abc"))
OFFSET, WEIGHTS, THREE = RNG.normal(size=N), RNG.integers(1, 4, N).astype(float), RNG.normal(size=(N, 3))
COUNTS = RNG.poisson(np.exp(0.6 * X["a"] * X["b"] + 0.2 * X["c"] + OFFSET))
BOOSTED = xgboost.XGBRegressor(objective="count:poisson", n_estimators=8, max_depth=3).fit(
    X, COUNTS, base_margin=OFFSET
)
LEAVES = lightgbm.LGBMRegressor(objective="poisson", n_estimators=8, min_child_samples=4, verbose=-1).fit(X, COUNTS)
LINEAR = PoissonRegressor().fit(X, COUNTS)
CASES = {
    "xgboost": (BOOSTED, lambda rows, offset: BOOSTED.predict(rows, base_margin=offset)),
    "lightgbm": (LEAVES, lambda rows, offset: np.exp(LEAVES.predict(rows, raw_score=True) + offset)),
    "linear": (LINEAR, lambda rows, offset: LINEAR.predict(rows) * np.exp(offset)),
}


def mean_prediction(predict, members, w):
    """At each row: the mean over rows, which keep their offsets, of the prediction with the members of that row."""
    return np.array([w @ predict(X.assign(**{m: X[m].iloc[i] for m in members}), OFFSET) for i in range(N)])


def without(predict, member, w):
    """At each row, which keeps its offset: the mean over rows of the prediction with the member of those rows."""
    return sum(w[j] * predict(X.assign(**{member: X[member].iloc[j]}), OFFSET) for j in range(N))


def sizes_by_hand(predict, w):
    centred = lambda values: values - w @ values
    own = {m: centred(mean_prediction(predict, [m], w)) for m in "abc"}
    prediction = centred(predict(X, OFFSET))
    sizes, shares = np.zeros((2, 3, 3))
    for i, m in enumerate("abc"):
        rest = prediction - own[m] - centred(without(predict, m, w))
        sizes[i, i], shares[i, i] = np.sqrt(w @ rest**2), w @ rest**2 / (w @ prediction**2)
        for j in range(i):
            both = centred(mean_prediction(predict, ["abc"[j], m], w))
            rest = both - own[m] - own["abc"[j]]
            sizes[i, j] = sizes[j, i] = np.sqrt(w @ rest**2)
            shares[i, j] = shares[j, i] = w @ rest**2 / (w @ both**2)
    return sizes, shares


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_interactions_behind_the_link(case, weighted):
    model, predict = CASES[case]
    w = WEIGHTS / WEIGHTS.sum() if weighted else np.full(N, 1 / N)
    e = wb.interactions(model, X, offset=OFFSET, scale="response", sample_weight=WEIGHTS if weighted else None)
    sizes, shares = sizes_by_hand(predict, w)
    np.testing.assert_allclose(e.values, sizes, atol=1e-5)
    np.testing.assert_allclose(e.extras["h_squared"][1], shares, atol=1e-4)
    assert e.feature_names == tuple("abc")
    assert any("Each row's offset is added" in note for note in e.evidence.notes)


@pytest.mark.parametrize("case", CASES)
def test_interactions_on_the_additive_scale_are_those_without(case):
    model, _ = CASES[case]
    e, plain = wb.interactions(model, X, offset=OFFSET), wb.interactions(model, X)
    np.testing.assert_array_equal(e.values, plain.values)
    np.testing.assert_array_equal(e.extras["h_squared"][1], plain.extras["h_squared"][1])
    assert e.evidence.exact == plain.evidence.exact
    assert any("takes part in no interaction" in note for note in e.evidence.notes)


def test_a_sample_of_rows_keeps_its_offsets():
    many = pd.concat([X] * 5, ignore_index=True)
    offset = np.tile(OFFSET, 5)
    e = wb.interactions(BOOSTED, many, ["a", "b"], offset=offset, scale="response", sample=100, seed=1)
    whole = wb.interactions(BOOSTED, X, ["a", "b"], offset=OFFSET, scale="response")
    off = np.abs(e.values - whole.values) / e.std_error
    assert off.max() < 4
    plan = wb.plan(wb.interactions, BOOSTED, many, ["a", "b"], offset=offset, scale="response", sample=100, seed=1)
    assert e.evidence.model_calls <= plan.model_calls


@pytest.mark.parametrize("scale", [None, "response"])
def test_regions(scale):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(300, 3)).round(1), columns=list("abc"))
    offset = rng.normal(size=300)
    y = rng.poisson(np.exp(np.where(rows["b"] > 0, 1.0, -1.0) * rows["a"] + offset))
    model = xgboost.XGBRegressor(objective="count:poisson", n_estimators=40, max_depth=3).fit(
        rows, y, base_margin=offset
    )
    found = wb.regions(model, rows, "a", offset=offset, scale=scale, depth=1, grid=9)
    predict = lambda t, o: model.predict(t, base_margin=o, output_margin=scale is None)
    assert len(found) == (3 if scale is None else len(found))
    masks = {"all rows": np.ones(300, dtype=bool)}
    for name in list(found)[1:]:
        column, sign, edge = name.split()
        assert column in "abc"
        at = float(edge)
        sides = {"<": rows[column] < at, ">=": rows[column] >= at, "<=": rows[column] <= at, ">": rows[column] > at}
        masks[name] = sides[sign].to_numpy()
    for name, mask in masks.items():
        assert mask.mean() == pytest.approx(float(np.ravel(found[name].extras["region_share"][1])[0]))
        means = [predict(rows[mask].assign(a=at), offset[mask]).mean() for at in found[name].grid]
        np.testing.assert_allclose(found[name].values, means, rtol=1e-5, atol=1e-5)
    by_column = wb.regions(model, rows.assign(o=offset), "a", offset="o", scale=scale, depth=1, grid=9)
    assert list(by_column) == list(found)
    if scale is None:
        plain = wb.regions(model, rows, "a", depth=1, grid=9)
        assert list(plain) == list(found)
    assert wb.plan(wb.regions, model, rows, "a", offset=offset, scale=scale).model_calls > 0


def test_rows_are_not_split_by_their_offsets():
    """Behind the link curves of a feature are steeper the larger the offset is, and nothing else moves them."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.normal(size=300), "b": rng.normal(size=300)})
    model = PoissonRegressor(alpha=0).fit(rows[["a", "b"]], np.exp(rows["a"]))
    found = wb.regions(model, rows, "a", offset=rng.normal(size=300), scale="response")
    assert all("offset" not in name for name in found)


@pytest.mark.parametrize(
    ("model", "offset", "error", "says"),
    [
        (BOOSTED, OFFSET[:3], InputError, r"offset has the shape \(3,\) for 40 rows"),
        (BOOSTED, [np.nan, *OFFSET[1:]], NonFiniteError, "missing or infinite for 1 row"),
        (BOOSTED, "a", OptionError, "offset='a' is a column that the model reads"),
        (BOOSTED, THREE, InputError, "has 3 columns, and the model has 1 raw output"),
        (SVR().fit(X, COUNTS), OFFSET, UnsupportedModelError, "Write the offset into the function"),
    ],
)
@pytest.mark.parametrize("scale", [None, "response"])
def test_refused(model, offset, error, says, scale):
    for call in (
        lambda: wb.interactions(model, X, offset=offset, scale=scale),
        lambda: wb.regions(model, X, "a", offset=offset, scale=scale),
        lambda: wb.plan(wb.interactions, model, X, offset=offset, scale=scale),
    ):
        with pytest.raises(error, match=says):
            call()
