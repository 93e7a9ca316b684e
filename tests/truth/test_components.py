"""Components of the functional ANOVA: what features add alone, and what pairs add to that."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor

import whybox as wb


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(150, 3))


def product_and_line(R):
    return R[:, 0] * R[:, 1] + 2 * R[:, 2]


def test_a_known_function(rows):
    found = wb.effects(product_and_line, rows, [0, (0, 1), (0, 2)], kind="anova")
    m0, m1, m2 = rows.mean(axis=0)
    whole = product_and_line(rows).mean()
    alone = found["x0"]
    np.testing.assert_allclose(alone.values, alone.grid * m1 + 2 * m2 - whole, rtol=0, atol=1e-12)
    pair = found["x0", "x1"]
    a, b = pair.coords["point"][:, None], pair.coords["point_2"][None]
    np.testing.assert_allclose(
        pair.values, a * b - a * m1 - b * m0 + (rows[:, 0] * rows[:, 1]).mean(), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(found["x0", "x2"].values, 0, atol=1e-12)
    assert pair.std_error is None
    assert "Functional ANOVA" in pair.evidence.method
    assert "interventional" in pair.evidence.estimand


def test_trees_give_what_their_predictions_give(rows):
    model = GradientBoostingRegressor(n_estimators=30, random_state=0).fit(rows, product_and_line(rows))
    for feature in ("x1", ("x0", "x1")):
        asked = [tuple(int(n[1]) for n in feature) if isinstance(feature, tuple) else 1]
        from_leaves, asked_for = (wb.effects(m, rows, asked, kind="anova")[feature] for m in (model, model.predict))
        np.testing.assert_allclose(from_leaves.values, asked_for.values, rtol=0, atol=1e-10)
        assert "leaves" in from_leaves.evidence.kernel


def test_stumps_have_no_pairs(rows):
    model = GradientBoostingRegressor(n_estimators=30, max_depth=1, random_state=0).fit(rows, rows @ [1, 2, 3])
    np.testing.assert_allclose(wb.effects(model, rows, [(0, 1)], kind="anova")["x0", "x1"].values, 0, atol=1e-10)


def test_categories_and_missing_values(rows):
    frame = pd.DataFrame({"a": rows[:, 0], "c": pd.Categorical(np.where(rows[:, 1] > 0, "u", "d"))})
    frame.loc[::5, "a"] = np.nan
    target = np.where(frame.c == "u", frame.a.fillna(3), 0)
    model = HistGradientBoostingRegressor(max_iter=20, categorical_features="from_dtype").fit(frame, target)
    found = wb.effects(model, frame, [("a", "c"), "a", "c"], kind="anova")
    pd_ = wb.effects(model, frame, ["a", "c"])
    pair = found["a", "c"]
    assert pair.values.shape[1] == 2
    assert pd.isna(pair.coords["point"]).sum() == 1
    mean = model.predict(frame).mean()
    for name in ("a", "c"):
        np.testing.assert_allclose(found[name].values, pd_[name].values - mean, rtol=0, atol=1e-9)
    both = wb.effects(model, frame, [("a", "c")])["a", "c"]
    alone = [pd_[n].at(list(both.coords[d])) for n, d in (("a", "point"), ("c", "point_2"))]
    np.testing.assert_allclose(pair.values, both.values - alone[0][:, None] - alone[1][None] + mean, rtol=0, atol=1e-9)
    assert np.abs(pair.values).max() > 0.1


def test_elsewhere(rows):
    pair = wb.effects(product_and_line, rows, [(0, 1)], kind="anova")["x0", "x1"]
    m0, m1, _ = rows.mean(axis=0)
    expected = 0.5 * 0.25 - 0.5 * m1 - 0.25 * m0 + (rows[:, 0] * rows[:, 1]).mean()
    np.testing.assert_allclose(pair.at([(0.5, 0.25)]), expected, rtol=0, atol=1e-12)
