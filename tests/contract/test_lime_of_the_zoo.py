"""LIME of every kind of model of the zoo: exact answers agree with sampled ones, no row depends on its neighbours, odd cells are explained or refused in words."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from whybox.errors import SpotCheckError, UnsupportedModelError, WhyboxError
from whybox.explainers import Lime
from whybox.methods.common.spot_checks import TimeShare
from zoo import CASES, built

FEW = [  # one of each way of reading cells, in every run
    "HistGradientBoostingRegressor, categories of numbers in the middle",
    "XGBClassifier, gblinear, 3 classes, missing values",
    "Pipeline, one-hot and ordinal",
    "StackingRegressor",
    "XGBRegressor, missing=0",
    "XGBRegressor, categories, partitioned",
    "LGBMRegressor, zero_as_missing",
    "LGBMRegressor, categories of numbers",
    "CatBoostRegressor, categories, one-hot",
    "Pipeline, PCA of all columns",
    "CatBoostRegressor, categories combined with every column",
]
REFUSED = {
    "VotingClassifier, hard": "gives labels of classes",
}
NAMES = [c.name for c in CASES if c.verdict == "exact" and c.name not in REFUSED] + [
    n for n in FEW if n not in [c.name for c in CASES if c.verdict == "exact"]
]
ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def always_checked(monkeypatch):
    """An explainer that is kept checks every answer, and not only the first."""
    monkeypatch.setattr(TimeShare, "is_check_due", lambda _: True)


def explainer(model, background, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = Lime(model, background, tol=1e-9, **options)

    def explain(rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            e = kept(rows)
        assert e.evidence.spot_checks.numbers > 10
        return e

    return explain


def some(table, which):
    return table.iloc[which] if isinstance(table, pd.DataFrame) else table[which]


def odd_tables(rows):
    """Rows with missing cells, numbers far off, and categories that no row has, one kind at a time."""
    if not isinstance(rows, pd.DataFrame):
        return
    numbers = [c for c in rows if rows[c].dtype.kind in "if"]
    words = [c for c in rows if c not in numbers]
    yield rows.assign(**{c: rows[c].astype(float).where([True, False, True]) for c in numbers[:2]})
    yield rows.assign(**{c: rows[c] + [0, 10_000, -10_000] for c in numbers})
    never = {c: pd.Series(["never", *rows[c].astype(object)[1:]], index=rows.index, dtype=object) for c in words}
    yield rows.assign(**{c: v.astype("category") if rows[c].dtype == "category" else v for c, v in never.items()})
    yield rows.assign(**{c: rows[c].where([True, False, True]) for c in words})


def assert_near(exact, sampled):
    """Within six standard errors, and what a sample of this size does not see."""
    size = np.abs(exact.values).max()
    np.testing.assert_array_less(np.abs(exact.values - sampled.values), 6.0 * sampled.std_error + 0.02 * size + 1e-12)


def explained_or_refused(lime, rows):
    """The explanation; None where the model does not take such cells, which the message must say."""
    try:
        return lime(rows)
    except SpotCheckError:
        raise
    except WhyboxError as error:
        message = str(error)
    assert len(message) > 40, message
    return None


def check(name, evals):
    model, table = built(name)
    which = [0, 1, 2]
    rows = some(table, which)
    lime = explainer(model, table, max_evals=evals)
    e = lime(rows)
    assert np.isfinite(e.values).all()
    turned, alone = lime(some(table, which[::-1])), lime(some(table, [1]))
    tiny = ROUNDING * np.abs(e.values).max()
    np.testing.assert_allclose(turned.values[::-1], e.values, rtol=0, atol=tiny)
    np.testing.assert_allclose(alone.values[0], e.values[1], rtol=0, atol=tiny)
    sampled = explainer(model, table, max_evals=evals, method="sampled") if e.evidence.exact else None
    if sampled is None:
        np.testing.assert_allclose(alone.std_error[0], e.std_error[1], rtol=1e-9, atol=tiny)
    else:
        assert_near(e, sampled(rows))
    explained = 0
    for odd in odd_tables(rows):
        found = explained_or_refused(lime, odd)
        if found is None:
            continue
        explained += 1
        assert np.isfinite(found.values).all()
        if sampled is not None:
            assert_near(found, sampled(odd))
    assert explained or not isinstance(table, pd.DataFrame)


@pytest.mark.parametrize("name", FEW)
def test_kinds_of_models(name):
    check(name, 3_000)


WAYS = {
    "deciles": {"discretizer": "decile"},
    "standard deviations": {"discretizer": None},
    "windows": {"neighbourhood": "row"},
    "a narrow kernel": {"kernel_width": 0.2},
}


@pytest.mark.parametrize("way", WAYS)
def test_other_bins_and_kernels_of_a_linear_model_in_single_precision(way):
    model, table = built("XGBRegressor, gblinear")
    assert explainer(model, table, **WAYS[way])(some(table, [0, 1])).evidence.exact


def test_entropy_edges_of_a_model_that_reads_zero_as_missing():
    model, table = built("LGBMRegressor, zero_as_missing")
    y = np.asarray(model.predict(table)) > 150
    assert explainer(model, table, discretizer="entropy", y=y)(some(table, [0, 1])).evidence.exact


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_every_model(name):
    check(name, 10_000)


@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_other_bins_and_kernels_of_every_model(name, way):
    model, table = built(name)

    def lime(rows):
        return explainer(model, table, max_evals=10_000, **WAYS[way])(rows)

    found = explained_or_refused(lime, some(table, [0, 1]))
    assert found is None or np.isfinite(found.values).all()


@pytest.mark.parametrize(("name", "words"), REFUSED.items())
def test_refusals_say_why(name, words):
    model, table = built(name)
    with pytest.raises(UnsupportedModelError, match=words):
        explainer(model, table)(some(table, [0]))
