"""Sizes of interactions and Friedman's H against closed forms and plain Python."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import whybox as wb
import zoo
from whybox.errors import LimitError, OptionError
from whybox.methods.effects.interactions import _sizes_from_curves, sizes_from_leaves
from whybox.methods.effects.options import EffectsOptions
from whybox.methods.effects.predict_evaluator import PredictEvaluator
from whybox.methods.effects.problem import resolve_effects


def design():
    """Every combination of three features that are -1 or 1 and one that is 0 to 2: independent, exactly."""
    return np.array(list(product([-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0], [0.0, 1.0, 2.0])))


def plain(function, X, w, j, k):
    """As Friedman and Popescu write it, a loop over rows; k may be several columns."""
    j, k = [j], list(np.atleast_1d(k))

    def dependence(columns):
        out = []
        for row in X:
            changed = X.copy()
            changed[:, columns] = row[columns]
            out.append(w @ function(changed))
        out = np.array(out)
        return out - w @ out

    both, first, second = dependence(j + k), dependence(j), dependence(k)
    part = w @ (both - first - second) ** 2
    return np.sqrt(part), part / (w @ both**2)


def test_a_product_is_all_interaction_and_a_sum_has_none():
    X = design()
    found = wb.interactions(lambda rows: 3.0 * rows[:, 0] * rows[:, 1] + rows[:, 2], X)
    h = found.extras["h_squared"][1]
    assert np.isclose(found.values[0, 1], 3.0)
    assert np.isclose(h[0, 1], 1.0)
    assert np.abs(np.delete(found.values[2], [])).max() < 1e-12
    assert np.isclose(h[0, 0], 9.0 / 10.0)  # f has variance 9 + 1
    half = wb.interactions(lambda rows: rows[:, 0] + rows[:, 1] + rows[:, 0] * rows[:, 1], X, [0, 1])
    assert np.isclose(half.extras["h_squared"][1][0, 1], 1.0 / 3.0)
    frame = found.to_frame(library="pandas")
    assert tuple(frame.iloc[0][["feature", "feature_2"]]) == ("x0", "x1")
    assert len(frame) == 6 + 4


def test_against_plain_python_with_weights():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    X[:, 3] = rng.integers(0, 3, 40)
    w = rng.uniform(0.2, 2.0, 40)

    def function(rows):
        return np.sin(rows[:, 0] * rows[:, 1]) + rows[:, 2] * rows[:, 3] + rows[:, 0]

    found = wb.interactions(function, X, sample_weight=w)
    for j in range(4):
        for k in range(j):
            size, ratio = plain(function, X, w / w.sum(), j, k)
            assert np.isclose(found.values[j, k], size)
            assert np.isclose(found.extras["h_squared"][1][k, j], ratio)


@pytest.mark.parametrize("name", ["LGBMRegressor, categories", "RandomForestClassifier, 3 classes, sample weights"])
def test_trees_say_the_same_as_predictions(name):
    model, rows = zoo.built(name)
    asked = resolve_effects(
        model,
        rows.iloc[:40],
        None,
        EffectsOptions(sample_weight=np.linspace(1, 2, 40)),
    )
    members = [0, 2, 3]
    ask = PredictEvaluator(asked.model, asked.rows, asked.selection)
    a, b = sizes_from_leaves(asked.evaluator_of((0,)), members), _sizes_from_curves(ask, members, level=None)
    assert np.allclose(a.sizes, b.sizes, rtol=1e-9, atol=1e-9)
    assert np.allclose(a.h_squared, b.h_squared, rtol=1e-7, atol=1e-9)
    whole = wb.interactions(model, rows.iloc[:40], sample_weight=np.linspace(1, 2, 40))
    assert np.allclose(whole.values[0, 2], a.sizes[0, 1])
    assert whole.std_error is None


def test_probabilities_of_a_boosted_classifier_are_asked_of_the_trees_row_by_row():
    from sklearn.ensemble import HistGradientBoostingClassifier

    X = zoo.X().astype(float)
    model = HistGradientBoostingClassifier(max_iter=10).fit(X, zoo.binary())
    few = X.iloc[:40]
    found = wb.interactions(model, few, ["bmi", "s5"], scale="probability")

    def function(rows):
        return model.predict_proba(rows)[:, 1]

    size, _ = plain(
        lambda a: function(few.__class__(a, columns=few.columns)), few.to_numpy(), np.full(40, 1 / 40), 2, 4
    )
    assert np.isclose(found.values[0, 1], size)


@pytest.mark.parametrize("weighted", [False, True])
def test_errors_of_a_sample_are_those_of_leaving_out_each_row(weighted):
    rng = np.random.default_rng(3)
    n = 24
    X = rng.normal(size=(n, 3))
    X[:, 0] = np.round(X[:, 0])
    w = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    w = w / w.sum()

    def function(rows):
        return rows[:, 0] * rows[:, 1] + np.abs(rows[:, 1] * rows[:, 2]) + rows[:, 2]

    asked = resolve_effects(function, X, None, EffectsOptions(sample_weight=w))
    found = _sizes_from_curves(PredictEvaluator(asked.model, asked.rows, asked.selection), [0, 1, 2], level=0.95)
    for j, k in ((0, 1), (1, 2), (0, 0), (2, 2)):
        other = k if k != j else [c for c in range(3) if c != j]
        whole = plain(function, X, w, j, other)
        parts = [plain(function, np.delete(X, r, axis=0), np.delete(w, r) / (1 - w[r]), j, other) for r in range(n)]
        count = 1 / (w**2).sum()
        for which, (value, error) in enumerate(
            (
                (found.sizes, found.error_tables["std_error"]),
                (found.h_squared, found.error_tables["h_squared_std_error"]),
            )
        ):
            moved = (1 - w) * (whole[which] - np.array([p[which] for p in parts]))
            off = moved - w * moved.sum()
            assert np.isclose(error[j, k, 0], np.sqrt((off**2).sum() * count / (count - 1)))
            assert np.isclose(value[j, k, 0], whole[which] + (moved.sum() if which == 0 else 0.0))


LAWS = {"normal": (lambda rng, n: rng.normal(size=n), 1.0), "lognormal": (lambda rng, n: rng.lognormal(size=n), 2.1612)}


@pytest.mark.parametrize("law", LAWS)
def test_intervals_of_a_sample_cover(law):
    """Of 95 % intervals, at least 88 % of 120 samples cover the size (nominal less three standard deviations); see docs/coverage.md for more laws."""
    rng = np.random.default_rng(0)
    draw, size = LAWS[law]
    X = np.column_stack([draw(rng, 20_000), rng.normal(size=20_000)])
    ratio = size**2 / (2 * size**2 + np.mean(X[:, 0]) ** 2)
    inside, product = [], lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 0]
    for seed in range(120):
        found = wb.interactions(product, X, sample=60, seed=seed, spot_checks=0)
        assert not found.evidence.exact
        (low, high), squared = found.interval, found.extras["h_squared_interval"][1]
        inside.append((low[0, 1] <= size <= high[0, 1], squared[0, 1, 0] <= ratio <= squared[0, 1, 1]))
    cover = np.mean(inside, axis=0)
    assert (cover >= 0.88).all(), cover


def test_a_sample_says_what_it_does_not_know():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.lognormal(sigma=2.0, size=5000), rng.normal(size=5000), np.zeros(5000)])
    X[0, 2] = 1.0

    def function(rows):
        return rows[:, 0] * rows[:, 1] + rows[:, 2] * rows[:, 1]

    found = wb.interactions(function, X, sample=50)
    assert any("A few rows make up most of x1 x x0" in note for note in found.evidence.notes)
    assert any("In the sample x2 has one value only" in note for note in found.evidence.notes)
    assert np.isnan(found.std_error[2]).all()
    assert np.isnan(found.interval[0][:, 2]).all()
    assert np.isfinite(found.std_error[:2, :2]).all()
    additive = wb.interactions(lambda rows: rows[:, 0] + rows[:, 1], X, [0, 1], sample=50)
    assert additive.std_error.max() < 1e-9
    assert np.array_equal(additive.interval[0], additive.values)
    frame = found.to_frame(library="pandas")
    assert {"interval_low", "interval_high", "h_squared_interval_low"} <= set(frame)
    assert (frame["interval_low"].dropna() <= frame["size"][frame["interval_low"].notna()]).all()


def test_few_rows_are_left_out_where_all_would_take_too_much_memory(monkeypatch):
    from whybox.methods.effects import interaction_errors

    X = np.random.default_rng(0).normal(size=(3000, 2))

    def asked():
        return wb.interactions(lambda rows: rows[:, 0] * rows[:, 1] + rows[:, 0], X, sample=200)

    every = asked()
    monkeypatch.setattr(interaction_errors, "MAX_NUMBERS_HELD", 200 * 100 * 5)
    some = asked()
    assert np.allclose(some.std_error, every.std_error, rtol=0.5)
    assert not np.array_equal(some.std_error, every.std_error)


def test_too_much_is_refused_before_any_work():
    calls = []

    def function(rows):
        calls.append(len(rows))
        return rows.sum(axis=1)

    X = np.random.default_rng(0).normal(size=(3000, 6))
    with pytest.raises(LimitError, match="sample=300"):
        wb.interactions(function, X)
    assert sum(calls) <= 2
    for bad in (3, True, "many"):
        with pytest.raises(OptionError, match="sample"):
            wb.interactions(function, X, sample=bad)
    with pytest.raises(OptionError, match="two at least"):
        wb.interactions(function, X, [0])


def test_saved_and_drawn(tmp_path):
    found = wb.interactions(lambda rows: np.column_stack([rows[:, 0] * rows[:, 1], rows[:, 2]]), design(), sample=20)
    found.save(tmp_path / "i.whybox")
    back = wb.load(tmp_path / "i.whybox")
    assert np.array_equal(back.values, found.values)
    assert np.array_equal(back.extras["h_squared"][1], found.extras["h_squared"][1])
    ax = found[..., 0].plot.heatmap()
    assert "size of the interaction" in ax.figure.axes[-1].get_ylabel()
    assert np.isclose(np.nanmax(np.ma.filled(ax.images[0].get_array(), 0.0)), np.triu(found[..., 0].values, 1).max())
    assert found._repr_html_()
