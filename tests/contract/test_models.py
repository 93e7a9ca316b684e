"""Every kind of model in the zoo against oracles that know nothing of whybox.

Interventional: all 2^d coalitions, each value nothing but the library's own predict on rows mixed in the user's own columns.
Path-dependent: a walk down the trees in plain Python; the trees' structure and covers are checked against the library's own
contributions where those are right, and against scikit-learn's own tree arrays.
"""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

import whybox as wb
import zoo
from oracles import path_games, semivalue, shapley
from whybox.kernels import reference
from whybox.models.additive import Additive
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

EXACT = [c for c in zoo.CASES if c.verdict == "exact"]
REFUSED = [c for c in zoo.CASES if c.verdict != "exact"]
ROWS, BACKGROUND = [3, 77], slice(100, 109)


def ids(case):
    return f"{case.library}: {case.name}"


def take(rows, at):
    return rows.iloc[at] if isinstance(rows, pd.DataFrame) else rows[at]


def tolerance(case, values, model):
    size = np.abs(values).max()
    return (1e-5 * size + 3e-6 * model_size(model)) if case.single else 1e-9 * max(size, 1e-3 * model_size(model))


def model_size(model):
    if isinstance(model, Additive):
        return float(np.abs(model.base_values).sum() + sum(np.abs(term.table).max() for term in model.terms))
    return (
        float(np.max(model.rounding_scale))
        if isinstance(model, TreeEnsemble)
        else float(np.abs(model.weights).sum() + 1)
    )


def own(explanation, model, rows):
    """The library's own prediction on the scale explained, (rows, outputs)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from whybox.data.table import as_table

        table = model.inputs.align_table(as_table(rows))[0]
        out = model.own_predict.predict(table)
    if model.own_predict.scale == "response" and not model.outputs.link.is_identity:
        return _unlink(model.outputs.link, out)
    return out


def _unlink(link, out):
    return {
        "exp": np.log,
        "anomaly score": lambda v: -link.scale * np.log2(-v),
        "inverse target transform": np.log1p,
        "sigmoid": lambda p: np.log(p / (1 - p)) / link.scale,
        "probit": ndtri,
        "softmax": lambda p: np.log(p / p[:, :1]),  # of MNLogit, whose first class has the sum 0
    }[link.name](out)


def game_of_rows(predict, x, background, groups, weights=None):
    """The mean prediction of background rows with a coalition's columns from the row x: all coalitions are evaluated in one table of the user's own kind."""
    players = range(len(groups))
    coalitions = [frozenset(S) for k in range(len(groups) + 1) for S in combinations(players, k)]
    rows = np.tile(np.arange(len(background)), len(coalitions))
    out = take(background, rows)
    if isinstance(out, pd.DataFrame):
        out = out.reset_index(drop=True)
    for j in players:
        at = np.where(np.repeat([j in S for S in coalitions], len(background)), len(background), rows)
        for c in groups[j]:
            if isinstance(out, pd.DataFrame):
                out.isetitem(c, pd.concat([background.iloc[:, c], x.iloc[:, c]]).array.take(at))
            else:
                out[:, c] = np.append(background[:, c], x[:, c])[at]
    outputs = predict(out).reshape(len(coalitions), len(background), -1)
    return dict(zip(coalitions, np.average(outputs, axis=1, weights=weights), strict=True)).__getitem__


@pytest.mark.parametrize("case", EXACT, ids=ids)
def test_interventional_against_all_coalitions_of_the_library_predict(case):
    _, rows = zoo.built(case.name)
    adapted = zoo.adapted(case.name)
    background = take(rows, BACKGROUND)
    weights = np.array([1, 2, 3, 0, 1, 1, 2, 1, 1.0])
    got = wb.explain(adapted, take(rows, ROWS), background, background_weight=weights, scale="raw")
    groups = [[list(zoo_names(got)).index(c) for c in got.players[f]] for f in got.feature_names]
    values = got.values if "output" in got.dims else got.values[..., None]
    for i, row in enumerate(ROWS):
        x = take(rows, [row])
        game = game_of_rows(lambda table: own(got, adapted, table), x, background, groups, weights)
        want = semivalue(game, len(groups), shapley)
        assert np.abs(values[i] - want).max() <= tolerance(case, want, adapted)
        base = np.atleast_1d(got.base)
        assert np.abs(base - game(frozenset())).max() <= tolerance(case, want, adapted)
        if i == 0:
            pairs = wb.explain(adapted, x, background, background_weight=weights, order=2, spot_checks=0)
            matrix = (pairs.values if "output" in pairs.dims else pairs.values[..., None])[0]
            want2 = semivalue(game, len(groups), shapley, 2) / 2
            off = ~np.eye(len(groups), dtype=bool)
            assert np.abs((matrix - want2)[off]).max() <= tolerance(case, want, adapted)
            assert np.abs(matrix.sum(axis=1) - want).max() <= 2 * tolerance(case, want, adapted)


def zoo_names(explanation):
    return explanation.data.names


@pytest.mark.parametrize("case", [c for c in EXACT if not c.no_path], ids=ids)
def test_path_dependent_against_a_walk_in_plain_python(case):
    _, rows = zoo.built(case.name)
    adapted = zoo.adapted(case.name)
    got = wb.explain(adapted, take(rows, ROWS))
    columns = [
        [i for i, s in enumerate(adapted.inputs.source_columns) if s and got.data.names[s[0]] in got.players[f]]
        for f in got.feature_names
    ]
    values = got.values if "output" in got.dims else got.values[..., None]
    matrix = adapted.inputs.matrix(got.data)
    games = path_games(adapted, reference.goes_left, columns, matrix)
    for i in range(len(ROWS)):
        game = lambda S, i=i: games(S)[i]
        want = semivalue(game, len(columns), shapley)
        assert np.abs(values[i] - want).max() <= tolerance(case, want, adapted)
        assert np.abs(np.atleast_1d(got.base) - game(frozenset())).max() <= tolerance(case, want, adapted)
    pairs = wb.explain(adapted, take(rows, ROWS[:1]), order=2, spot_checks=0)
    want2 = semivalue(lambda S: games(S)[0], len(columns), shapley, 2) / 2
    found = (pairs.values if "output" in pairs.dims else pairs.values[..., None])[0]
    off = ~np.eye(len(columns), dtype=bool)
    assert np.abs((found - want2)[off]).max(initial=0) <= tolerance(case, values, adapted)


@pytest.mark.parametrize("case", [c for c in EXACT if c.contrib], ids=ids)
def test_path_dependent_against_the_library_contributions(case):
    model, rows = zoo.built(case.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = case.contrib(model, take(rows, slice(0, 60)))
    got = wb.explain(zoo.adapted(case.name), take(rows, slice(0, 60)))
    room = max(
        tolerance(case, got.values, zoo.adapted(case.name)),
        2e-6 * np.abs(got.values).max() if "CatBoost" in case.library else 0,
    )
    assert np.abs(got.values - theirs[:, :-1]).max() <= room
    assert np.abs(np.atleast_1d(got.base) - theirs[:, -1]).max() <= room + 1e-6 * np.abs(got.base).max()


@pytest.mark.parametrize(
    "case",
    [c for c in EXACT if c.library == "scikit-learn" and c.name.startswith(("Decision", "ExtraTree", "RandomForest"))],
    ids=ids,
)
def test_forests_against_their_own_arrays(case):
    """Walk scikit-learn's own tree arrays, not ours: structure, covers, averaging and class probabilities all come from there."""
    model, rows = zoo.built(case.name)
    got = wb.explain(zoo.adapted(case.name), take(rows, ROWS))
    members = getattr(model, "estimators_", [model])
    X = np.asarray(take(rows, ROWS), dtype=np.float32)
    classifier = hasattr(model, "classes_")

    def value(node_value):
        if not classifier:
            return node_value[:, 0]
        counts = np.atleast_1d(model.n_classes_)
        return np.concatenate(
            [v[: counts[k]][1:] if counts[k] == 2 else v[: counts[k]] for k, v in enumerate(node_value)]
        )

    def expect(t, node, x, S):
        if t.children_left[node] < 0:
            return value(t.value[node])
        left, right, f = t.children_left[node], t.children_right[node], t.feature[node]
        if f in S:
            go = bool(t.missing_go_to_left[node]) if np.isnan(x[f]) else x[f] <= t.threshold[node]
            return expect(t, left if go else right, x, S)
        w = t.weighted_n_node_samples
        return (w[left] * expect(t, left, x, S) + w[right] * expect(t, right, x, S)) / w[node]

    values = got.values if "output" in got.dims else got.values[..., None]
    for i in range(len(ROWS)):
        want = semivalue(
            lambda S, i=i: np.mean([expect(m.tree_, 0, X[i], S) for m in members], axis=0), X.shape[1], shapley
        )
        assert np.abs(values[i] - want).max() < 1e-9 * np.abs(want).max()


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in EXACT
        if c.library == "scikit-learn"
        or "logi" in c.name
        or "multi" in c.name
        or "Logloss" in c.name
        or "binary" in c.name
    ],
    ids=ids,
)
def test_probabilities_against_all_coalitions_of_predict_proba(case):
    model, rows = zoo.built(case.name)
    adapted = zoo.adapted(case.name)
    if not adapted.outputs.has_probability:
        with pytest.raises(wb.errors.OptionError, match="not probabilities"):
            wb.explain(adapted, take(rows, ROWS), take(rows, BACKGROUND), scale="probability")
        return
    background = take(rows, BACKGROUND)
    got = wb.explain(adapted, take(rows, ROWS[:2]), background, scale="probability")
    groups = [[got.data.names.index(c) for c in got.players[f]] for f in got.feature_names]

    def proba(table):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = model.predict_proba(table) if hasattr(model, "predict_proba") else model.predict(table)
        out = np.column_stack([p[:, 1:] if p.shape[1] == 2 else p for p in out]) if isinstance(out, list) else out
        out = out.reshape(len(out), -1)
        return out[:, 1:] if out.shape[1] == 2 and "output" not in got.dims else out

    several = "output" in got.dims
    label = got.output_names[0] if several else adapted.outputs.negative_class
    if label is not None:
        one = wb.explain(adapted, take(rows, ROWS[:2]), background, output=label, scale="probability", spot_checks=0)
        assert one.coords["output"].tolist() == [label]
        assert np.array_equal(one.values, got.values[..., 0] if several else -got.values)
        assert np.array_equal(one.prediction, got.prediction[:, 0] if several else 1 - got.prediction)
        assert np.array_equal(one.base, got.base[0] if several else 1 - got.base)
    values = got.values if several else got.values[..., None]
    for i in range(2):
        x = take(rows, [ROWS[i]])
        game = game_of_rows(proba, x, background, groups)
        want = semivalue(game, len(groups), shapley)
        assert np.abs(values[i] - want).max() <= (2e-6 if case.single else 1e-9)


@pytest.mark.parametrize("case", REFUSED, ids=ids)
def test_what_cannot_be_exact_is_refused_with_the_reason(case):
    model, rows = zoo.built(case.name)
    with pytest.raises(wb.errors.UnsupportedModelError) as caught:
        wb.explain(model, take(rows, ROWS))
    assert len(str(caught.value)) > 60


@pytest.mark.parametrize("case", [c for c in REFUSED if "hard" not in c.name], ids=ids)
def test_what_is_refused_is_evaluated_where_there_is_a_background(case):
    model, rows = zoo.built(case.name)
    background, x = take(rows, slice(100, 104)), take(rows, ROWS[:1])
    got = wb.explain(model, x, background, "exact")
    several = "output" in got.dims

    def predict(table):
        call = got.evidence.residual_against.rpartition(".")[2]
        out = getattr(model, call if hasattr(model, call) else "predict")(table)
        out = out.reshape(len(out), -1)
        return out if several or out.shape[1] == 1 else out[:, 1:]

    groups = [(j,) for j in range(x.shape[1])]
    want = semivalue(game_of_rows(predict, x, background, groups), len(groups), shapley)
    assert np.abs((got.values if several else got.values[..., None])[0] - want).max() < 1e-6 * np.abs(want).max()
    assert any("because it is not read" in note or "Evaluated, not read" in note for note in got.evidence.notes)


@pytest.mark.parametrize("case", EXACT, ids=ids)
def test_reading_is_verified_on_thresholds(case):
    adapted = zoo.adapted(case.name)
    verdict = adapted.verdict
    assert verdict.rows >= 50
    assert verdict.difference <= verdict.tolerance or isinstance(adapted, Linear)
    if isinstance(adapted, TreeEnsemble) and "categor" not in case.name:
        assert verdict.thresholds == verdict.thresholds_total
