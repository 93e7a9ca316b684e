"""Anchors keep their promise on fresh rows: the law drawn by code of this file, from the conditions in words."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

import whybox as wb

pytestmark = pytest.mark.soak
FRESH = 4_000


def census(n=3_000):
    """A table of people with categories, a skewed number with many zeros, and correlated columns; and whether they earn much."""
    rng = np.random.default_rng(0)
    age = rng.integers(17, 90, n)
    school = np.clip(rng.normal(10, 2.5, n).round() + (age > 30), 1, 16)
    job = np.where(
        school > 11, rng.choice(["clerk", "manager", "expert"], n), rng.choice(["clerk", "craft", "farm"], n)
    )
    hours = np.clip(rng.normal(40, 12, n), 1, 99).round()
    gain = np.where(rng.random(n) < 0.9, 0.0, rng.lognormal(8, 1, n)).round()
    married = rng.random(n) < 1 / (1 + np.exp(-(age - 30) / 8))
    X = pd.DataFrame({"age": age, "school": school, "job": job, "hours": hours, "gain": gain, "married": married})
    score = (
        (school - 10) / 2
        + (age - 40) / 25
        + married * 1.5
        + (job == "manager") * 1.5
        + (gain > 4_000) * 3
        + (hours - 40) / 20
    )
    return X, np.where(rng.normal(size=n) * 0.7 + score > 2, "much", "little")


def census_pipeline():
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["job"]), remainder="passthrough")
    return make_pipeline(columns, RandomForestClassifier(50, min_samples_leaf=3, random_state=0))


def cancer():
    return load_breast_cancer(return_X_y=True, as_frame=True)


def wine():
    return load_wine(return_X_y=True, as_frame=True)


def digits():
    return load_digits(return_X_y=True, as_frame=True)


CASES = {
    "census, forest in a pipeline": (census, census_pipeline, 0.75),
    "census, boosted with categories": (
        lambda: (census()[0].astype({"job": "category"}), census()[1]),
        lambda: HistGradientBoostingClassifier(max_iter=40, categorical_features="from_dtype"),
        0.75,
    ),
    "cancer, forest": (cancer, lambda: RandomForestClassifier(100, random_state=0), 0.7),
    "cancer, SVC as a function": (cancer, lambda: make_pipeline(StandardScaler(), SVC()), 0.7),
    "wine, logistic": (wine, lambda: make_pipeline(StandardScaler(), LogisticRegression()), 0.8),
    "digits, forest": (digits, lambda: RandomForestClassifier(50, random_state=0), 0.3),
}


def meets(column, words):
    """Which cells of a column meet a condition, as it is written."""
    if not words:
        return np.ones(len(column), dtype=bool)
    name = re.escape(str(column.name))
    if equal := re.fullmatch(rf"{name} = (.*)", words):
        return column.astype(str).to_numpy() == equal[1]
    ends = re.fullmatch(rf"(?:(\S+) < )?{name}(?: <= (\S+))?(?: > (\S+))?", words)
    assert ends is not None, words
    values = column.to_numpy(dtype=float)
    inside = np.ones(len(values), dtype=bool)
    if low := ends[1] or ends[3]:
        inside &= values > float(low)
    if ends[2]:
        inside &= values <= float(ends[2])
    return inside


def fresh_rows(background, conditions, rng):
    drawn = rng.integers(0, len(background), FRESH)
    out = {}
    for name, words in zip(background.columns, conditions, strict=True):
        inside = meets(background[name], words)
        assert inside.any()
        source = np.where(inside[drawn], drawn, rng.choice(np.flatnonzero(inside), FRESH))
        out[name] = background[name].take(source).reset_index(drop=True)
    return pd.DataFrame(out)


@pytest.mark.parametrize("case", CASES)
def test_the_promise_is_kept_on_fresh_rows(case):
    load, make, least = CASES[case]
    X, y = load()
    X = X.rename(columns=str)
    count = min(60 if "digits" in case else 200, len(X) // 2)
    order = np.random.default_rng(1).permutation(len(X))
    rows, background = X.iloc[order[-count:]], X.iloc[order[:-count]]
    model = make().fit(background, np.asarray(y)[order[:-count]])
    asked = (
        (lambda t: np.asarray(model.predict(t))) if "SVC" in case else model
    )  # not a method of the estimator: a function
    e = wb.anchors(asked, rows, background)
    predicted = np.asarray(model.predict(rows))
    certified = np.flatnonzero(e.extras["certified"][1])
    low, high = e.extras["precision_interval"][1].T
    rng = np.random.default_rng(2)
    kept = np.array(
        [
            (model.predict(fresh_rows(background, e.extras["condition"][1][i], rng)) == predicted[i]).mean()
            for i in certified
        ]
    )
    # a share below the promise, or outside of the bounds, counts only where chance does not explain it
    error = 3.0 * np.sqrt(np.maximum(kept * (1 - kept), 1 / FRESH) / FRESH)
    broken = (kept + error < 0.95).sum()
    outside = ((kept + error < low[certified]) | (kept - error > high[certified])).sum()
    assert len(certified) >= least * len(rows)
    assert (kept >= 0.95).mean() >= 0.95
    assert broken <= binom.ppf(0.99, len(certified), 0.05)
    assert outside <= binom.ppf(0.99, len(certified), 0.05)


def test_bounds_hold_for_a_precision_just_below_the_promise():
    """Every rule has a precision of exactly 0.945, so each one that is certified is wrong; many rules are tried for each row."""
    rng = np.random.default_rng(0)
    background = np.column_stack([np.arange(1000.0), rng.integers(0, 3, (1000, 6))])
    edges = {"x0": [999.0], **{f"x{i}": [0.5, 1.5] for i in range(1, 7)}}
    wrong = outside = total = 0
    for seed in range(4):
        e = wb.anchors(lambda t: (np.asarray(t)[:, 0] >= 55) * 1.0, background[100:140], background, discretizer=edges, seed=seed)  # fmt: skip
        low, high = e.extras["precision_interval"][1].T
        wrong += e.extras["certified"][1].sum()
        outside += ((low > 0.945) | (high < 0.945)).sum()
        total += len(e)
    assert wrong <= binom.ppf(0.99, total, 0.05)
    assert outside <= binom.ppf(0.99, total, 0.05)
