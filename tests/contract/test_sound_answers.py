"""No false alarm: checks pass on every sound answer, of every kind of model, on every scale, with every index, however large or small its numbers are."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import whybox as wb
import zoo
from sound_answers import black_box
from whybox.data.table import as_table
from whybox.errors import OptionError, UnsupportedModelError
from whybox.explainers import AdditiveShap, LinearShap, TreeShap
from whybox.methods.common.spot_checks import TimeShare
from whybox.models.additive import Additive
from whybox.models.linear import Linear
from whybox.models.registry import as_model
from whybox.models.trees import TreeEnsemble

EXACT = [case.name for case in zoo.CASES if case.verdict == "exact"]
OPTIONS = [
    {**dict(a), **dict(b), **dict(c)}
    for a, b, c in product(
        [{}, {"scale": "probability"}, {"scale": "response"}, {"dtype": "float32"}],
        [{}, {"index": "banzhaf"}, {"index": "beta(16, 1)"}],
        [{}, {"order": 2}, {"sparse": True}, {"order": 2, "sparse": True}, {"method": "rescaled"}],
    )
]
RNG = np.random.default_rng(0)


def explainer_of(model, background, options):
    """The explainer, or None where these options do not go together with the model."""
    try:
        kind = {Linear: LinearShap, Additive: AdditiveShap}.get(type(model), TreeShap)
        return kind(model, background, **options)
    except (OptionError, UnsupportedModelError):
        return None


def run_again(explainer, rows, seed):
    """What a new explainer's first call does, with another seed; compiled trees are kept."""
    for compiled in explainer._compiled_problems.values():
        compiled.problem = replace(compiled.problem, options=replace(compiled.problem.options, seed=seed))
    explainer._checked_tables.clear()
    explainer._time_share = TimeShare()
    explanation = explainer(rows)
    assert explanation.evidence.spot_checks.numbers > 0
    return explanation


def sound_runs(model, rows, background, options, runs, rng):
    """Run an explainer on random rows that often; return how many ran."""
    explainer = explainer_of(model, background, options)
    if explainer is None:
        return 0
    pick = (lambda at: rows.iloc[at]) if isinstance(rows, pd.DataFrame) else (lambda at: rows[at])
    for seed in range(runs):
        at = rng.integers(0, rows.shape[0], int(rng.choice([1, 2, 7, 40])))
        run_again(explainer, pick(at), seed)
    return runs


@cache
def adapted(name):
    live, rows = zoo.built(name)
    return as_model(live), rows


def zoo_runs(name, options, runs, rng, sizes=(0, 1, 12, 60)):
    """Run a model of the zoo against a background of one of these sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, rows = adapted(name)
        if not isinstance(model, TreeEnsemble | Linear):
            return 0
        head = (lambda m: rows.iloc[:m]) if isinstance(rows, pd.DataFrame) else (lambda m: rows[:m])
        size = int(rng.choice(sizes if options.get("scale") is None else sizes[:3]))
        background = head(size) if size else None
        return sound_runs(model, rows, background, options, runs, rng)


@pytest.mark.parametrize("name", EXACT[::13])
def test_sound_answers_of_the_zoo(name):
    rng = np.random.default_rng(EXACT.index(name))
    assert zoo_runs(name, {}, 4, rng, sizes=[12]) == 4
    for k in rng.permutation(len(OPTIONS))[:3]:
        zoo_runs(name, OPTIONS[k], 4, rng)


@pytest.mark.soak
@pytest.mark.parametrize("name", EXACT)
def test_ten_thousand_sound_answers_of_the_zoo(name):
    """160 kinds of models, 60 sets of options each, of which about 20 go with a model."""
    rng = np.random.default_rng(EXACT.index(name))
    assert sum(zoo_runs(name, options, 4, rng) for options in OPTIONS) >= 12


def test_a_target_that_was_transformed_is_turned_back_where_no_row_differs():
    link = adapted("TransformedTargetRegressor")[0].outputs.link
    assert link(np.zeros((0, 1))).shape == (0, 1)
    assert np.isfinite(link(np.zeros((2, 1)))).all()


# Numbers of every size, and answers without any.


def cells(kind):
    rows = RNG.normal(size=(300, 5))
    if kind == "missing":
        rows[RNG.random(rows.shape) < 0.3] = np.nan
    if kind == "sparse":
        rows[RNG.random(rows.shape) < 0.7] = 0.0
    return rows


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost", "forest"])
@pytest.mark.parametrize("kind", ["missing", "sparse", "huge", "tiny", "constant"])
def test_sound_answers_of_every_size(library, kind):
    rows = cells(kind)
    filled = np.nan_to_num(rows)
    y = filled[:, 0] * filled[:, 1] + np.abs(filled[:, 2])
    y = {"huge": y * 1e30, "tiny": y * 1e-30, "constant": np.full(len(y), 3.0)}.get(kind, y)
    if library == "xgboost":
        model = pytest.importorskip("xgboost").XGBRegressor(n_estimators=15, max_depth=4)
        y = np.clip(y, -1e20, 1e20) if kind == "huge" else y
    elif library == "lightgbm":
        model = pytest.importorskip("lightgbm").LGBMRegressor(n_estimators=15, verbose=-1, n_jobs=1)
    elif library == "catboost":
        if kind == "constant":
            return  # refuses such targets
        model = pytest.importorskip("catboost").CatBoostRegressor(
            iterations=15, depth=4, verbose=0, allow_writing_files=False
        )
    else:
        from sklearn.ensemble import RandomForestRegressor

        model = RandomForestRegressor(10, random_state=0)
    adapted = as_model(model.fit(rows, y))
    some = sparse.csr_matrix(rows) if kind == "sparse" else rows
    for options in ({}, {"order": 2}, {"index": "banzhaf", "sparse": True}):
        for background in (None, some[:20]):
            assert sound_runs(adapted, some, background, options, 2, np.random.default_rng(0)) == 2


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_sound_answers_close_to_nought_and_one(library):
    rows = cells("")
    y = rows[:, 0] > 0
    if library == "xgboost":
        model = pytest.importorskip("xgboost").XGBClassifier(n_estimators=40, max_depth=3, learning_rate=1.0, n_jobs=1)
    else:
        model = pytest.importorskip("lightgbm").LGBMClassifier(
            n_estimators=80, learning_rate=1.0, min_child_samples=1, verbose=-1, n_jobs=1
        )
    adapted = as_model(model.fit(rows, y))
    for options in (
        {"scale": "probability"},
        {"scale": "probability", "method": "rescaled"},
        {"scale": "probability", "order": 2},
    ):
        assert sound_runs(adapted, rows, rows[:20], options, 5, np.random.default_rng(0)) == 5


def _answer_about_any_model(seed, method):
    """Values of a function of every kind of table, with numbers of any size, of which some are computed again."""
    rng = np.random.default_rng(seed)
    model, table, _ = black_box(rng)
    rows, n = as_table(table), as_table(table).native.shape[0]
    background = rows.rows(np.arange(n)[max(n - 4, 1) :])
    options = {"order": int(rng.integers(1, 3)), "index": ["shapley", "banzhaf(0.3)"][int(rng.integers(2))]}
    if method == "sampled_shap":
        options = {"max_evals": 3_000}
    if rng.random() < 0.5:
        options["background_weight"] = rng.random(len(background))
    got = wb.explain(model, rows.rows(np.arange(1)), background, method, seed=seed, **options)
    assert got.evidence.spot_checks.numbers > 0


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
@pytest.mark.parametrize("method", ["exact", "sampled_shap"])
def test_answers_about_any_model_pass_their_checks(seed, method):
    _answer_about_any_model(seed, method)


@pytest.mark.soak
def test_many_answers_about_any_model_pass_their_checks():
    for seed in range(10, 400):
        _answer_about_any_model(seed, ["exact", "sampled_shap"][seed % 2])
