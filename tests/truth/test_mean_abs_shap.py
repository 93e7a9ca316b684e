"""Mean absolute attribution against a loop over rows, its error against the spread over samples, and what errors of attributions add to it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

import whybox as wb
from whybox.errors import InputError, OptionError
from whybox.methods.importance.mean_abs_shap import mean_abs_shap
from whybox.methods.importance.options import ImportanceOptions
from whybox.methods.importance.problem import ImportanceProblem
from whybox.numerics.statistics import critical_value, folded_normal_mean


def importance_of(attributions, **options):
    """Importance of attributions that were made elsewhere."""
    options = ImportanceOptions(method="shap", **options)
    rows = np.zeros((len(attributions), 1))
    return mean_abs_shap(ImportanceProblem(None, rows, None, options, lambda *_, **__: attributions, *[None] * 3))


@pytest.fixture(scope="module")
def classes():
    draw = np.random.default_rng(0)
    X = pd.DataFrame(draw.normal(size=(120, 3)), columns=list("abc"))
    y = np.where(X.a > 0.5, "z", np.where(X.b > 0, "m", "a"))
    return RandomForestClassifier(8, max_depth=4, random_state=0).fit(X, y), X


def test_it_is_the_weighted_mean_over_rows_with_the_error_of_that(classes):
    model, X = classes
    w = np.random.default_rng(1).random(120)
    w[:7] = 0.0
    found = wb.importance(model, X, sample_weight=w)
    attributions = wb.explain(model, X)
    assert found.dims == ("feature", "output")
    assert found.output_names == attributions.output_names
    shares = w / w.sum()
    n = 1 / (shares**2).sum()
    for j in range(3):
        for k in range(3):
            sizes = [abs(float(v)) for v in attributions.values[:, j, k]]
            mean = sum(s * v for s, v in zip(shares, sizes, strict=True))
            error = (sum((s * (v - mean)) ** 2 for s, v in zip(shares, sizes, strict=True)) * n / (n - 1)) ** 0.5
            assert found.values[j, k] == pytest.approx(mean, rel=1e-12)
            assert found.std_error[j, k] == pytest.approx(error, rel=1e-12)
    assert (found.extras["rank"][1].argmin(axis=0) == found.values.argmax(axis=0)).all()
    assert found.extras["rank_interval"][1].shape == (3, 3, 2)
    one = wb.importance(model, X, sample_weight=w, output="m")
    np.testing.assert_array_equal(one.extras["rank"][1], found.extras["rank"][1][:, 1])


def test_rows_without_weight_are_not_explained(classes):
    model, X = classes
    w = np.r_[np.zeros(20), np.ones(100)]
    spoilt = X.copy()
    spoilt.iloc[:20] = np.inf  # which the model refuses
    e, kept = wb.importance(model, spoilt, sample_weight=w), wb.importance(model, X[20:])
    np.testing.assert_allclose(e.values, kept.values, rtol=1e-13)
    np.testing.assert_allclose(e.std_error, kept.std_error, rtol=1e-12)
    scaled = wb.importance(model, X[20:], sample_weight=np.full(100, 3.0))
    np.testing.assert_allclose(scaled.values, kept.values, rtol=1e-13)
    for wrong in (-w, 0 * w, w[1:], "a"):
        with pytest.raises(InputError, match="sample_weight"):
            wb.importance(model, X, sample_weight=wrong)
    with pytest.raises(InputError, match="no rows"):
        wb.importance(model, X[:0])
    with pytest.raises(OptionError, match="pass X"):
        wb.importance(model)


def test_the_error_is_the_spread_over_disjoint_samples_and_the_interval_is_students():
    draw = np.random.default_rng(2)
    X = draw.normal(size=(4000, 3))
    model = RandomForestRegressor(5, max_depth=4, random_state=0).fit(X[:500], X[:500, 0] + X[:500, 1] ** 2)
    attributions = wb.explain(model, X, spot_checks=0)
    found = [importance_of(attributions[i : i + 50]) for i in range(0, 4000, 50)]
    ratio = np.sqrt(np.mean([e.std_error**2 for e in found], axis=0)) / np.std([e.values for e in found], 0, ddof=1)
    assert ((ratio[:2] > 0.85) & (ratio[:2] < 1.15)).all()
    low, high = found[0].interval
    assert (high - found[0].values >= critical_value(0.95, 49) * found[0].std_error * (1 - 1e-12)).all()
    assert (low < found[0].values).all()


def test_what_errors_of_attributions_add_is_subtracted():
    """Of attributions that spread as far as twice their error nine tenths of it, of those that are zero four tenths, of large ones nothing is there."""
    draw = np.random.default_rng(3)
    n, error = 40_000, 0.5
    true = np.column_stack([draw.normal(size=n), np.zeros(n), np.full(n, 3.0)])
    attributions = wb.explain(RandomForestRegressor(1, max_depth=2).fit(true[:50], true[:50, 0]), true[:2], true[:2])
    attributions = replace(
        attributions[[0] * n], values=true + error * draw.normal(size=true.shape), std_error=np.full(true.shape, error)
    )
    found = importance_of(attributions)
    plain = importance_of(replace(attributions, std_error=None))
    bias, before = (e.values - np.abs(true).mean(axis=0) for e in (found, plain))
    np.testing.assert_allclose(before, [0.094, 0.399, 0.0], atol=0.012)
    np.testing.assert_allclose(bias, [0.009, 0.234, 0.0], atol=0.012)
    assert any("absolute values too large" in note for note in found.evidence.notes)
    assert not any("too large" in note for note in plain.evidence.notes)
    np.testing.assert_allclose(found.std_error[2], error / np.sqrt(n), rtol=0.02)


def test_the_mean_of_a_folded_normal():
    drawn = np.abs(0.7 + 1.3 * np.random.default_rng(4).normal(size=10**5))
    assert folded_normal_mean(-0.7, 1.3) == pytest.approx(drawn.mean(), abs=0.01)
    assert folded_normal_mean(2.0, 0.0) == 2.0
    assert folded_normal_mean([0.0, 0.0], [0.0, 1.0]).tolist() == [0.0, pytest.approx(np.sqrt(2 / np.pi))]
