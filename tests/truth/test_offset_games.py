"""Offsets behind a link against the definition: the worth of a coalition is the mean over background rows of link(offset + raw output of the hybrid)."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, PoissonRegressor

import whybox as wb
from oracles import banzhaf, hybrid_game, semivalue, shapley
from whybox.errors import ModelMismatchError, SpotCheckError
from whybox.explainers import ExactShap, LinearShap, SampledShap, TreeShap
from whybox.methods.shap import compute
from whybox.methods.shap.compute import KernelRunner
from whybox.methods.shap.game_hybrids import GameGrid
from whybox.methods.shap.spot_checks import AnswerChecks

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 4))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
KIND = np.digitize(X[:, 0] + X[:, 1], [-0.7, 0.7])
COUNTS = RNG.poisson(np.exp(X[:, 0] / 2))
ROWS, BACKGROUND = X[:5], X[40:52]
SINGLE = [(j,) for j in range(4)]
ONE, THREE = 2.0 * RNG.normal(size=5), 2.0 * RNG.normal(size=(5, 3))


def by_definition(predict, offset, groups=SINGLE, index=shapley, order=1):
    """Values of each row, (rows, players[, players], outputs); predict: (hybrids, offsets of them) -> predictions with them, (hybrids, outputs)."""
    games = []
    for row, o in zip(ROWS, offset, strict=True):
        width = predict(ROWS[:1], o[None]).shape[1]
        of_output = [
            semivalue(
                hybrid_game(
                    lambda h, o=o, k=k: predict(h, np.tile(o, (len(h), 1)))[:, k], groups, row, BACKGROUND, None
                ),
                len(groups),
                index,
                order,
            )
            for k in range(width)
        ]
        games.append(np.stack(of_output, axis=-1))
    return np.stack(games)


TWO = xgboost.XGBClassifier(n_estimators=8, max_depth=3, base_score=0.3).fit(X, Y)
SEVERAL = xgboost.XGBClassifier(n_estimators=4, max_depth=3).fit(X, KIND)
TREES = HistGradientBoostingRegressor(loss="poisson", max_iter=8).fit(X, COUNTS)
GLM, LOGISTIC = PoissonRegressor(alpha=0.01).fit(X, COUNTS), LogisticRegression().fit(X, Y)


def of_two(rows, offsets):
    return TWO.predict_proba(rows, base_margin=offsets[:, 0])[:, 1:]


def of_several(rows, offsets):
    return SEVERAL.predict_proba(rows, base_margin=offsets)


def of_counts(model):
    return lambda rows, offsets: (model.predict(rows) * np.exp(offsets[:, 0]))[:, None]


def of_logistic(rows, offsets):
    return 1 / (1 + np.exp(-LOGISTIC.decision_function(rows)[:, None] - offsets))


CASES = {
    "xgboost, two classes": (TWO, of_two, ONE),
    "xgboost, three classes": (SEVERAL, of_several, THREE),
    "trees with a log link": (TREES, of_counts(TREES), ONE),
    "a linear model with a log link": (GLM, of_counts(GLM), ONE),
    "logistic regression": (LOGISTIC, of_logistic, ONE),
}


@pytest.mark.parametrize("method", ["auto", "exact_shap"])
@pytest.mark.parametrize("case", CASES)
def test_values_behind_a_link(case, method):
    model, predict, offset = CASES[case]
    e = wb.explain(model, ROWS, BACKGROUND, method, offset=offset, scale="response")
    columns = offset.reshape(5, -1)
    expected = by_definition(predict, columns)
    if expected.shape[2] == 1:
        expected = expected[:, :, 0]
    np.testing.assert_allclose(e.values, expected, atol=2e-6)
    base = np.array([predict(BACKGROUND, np.tile(o, (len(BACKGROUND), 1))).mean(axis=0) for o in columns])
    np.testing.assert_allclose(e.base_values.reshape(base.shape), base, atol=1e-6)
    np.testing.assert_allclose(e.extras["offset"][1].reshape(columns.shape), columns)
    plain = wb.explain(model, ROWS, BACKGROUND, scale="response").values
    assert np.abs(plain - e.values).max() > 1e-3  # which are other values
    assert e.evidence.exact
    assert e.evidence.spot_checks.numbers > 0


def test_offsets_of_one_number_cancel_in_softmax():
    e = wb.explain(SEVERAL, ROWS, BACKGROUND, offset=np.full((5, 3), 1.5), scale="probability")
    own = SEVERAL.predict(ROWS, base_margin=np.zeros((5, 3)), output_margin=True)
    np.testing.assert_allclose(e.prediction, np.exp(own) / np.exp(own).sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("make", [TreeShap, ExactShap])
def test_pairs_groups_and_other_indices(make):
    def of(groups=SINGLE, **how):
        return by_definition(of_two, ONE[:, None], groups, **how)[..., 0]

    for options, expected in (
        ({"players": {"one": [0, 2]}}, of([(0, 2), (1,), (3,)])),
        ({"index": "banzhaf"}, of(index=banzhaf())),
    ):
        e = make(TWO, BACKGROUND, scale="probability", **options)(ROWS, offset=ONE)
        np.testing.assert_allclose(e.values, expected, atol=2e-6)
    pairs = make(TWO, BACKGROUND, order=2, scale="probability")(ROWS, offset=ONE)
    np.testing.assert_allclose(pairs.values.sum(axis=2), of(), atol=2e-6)
    apart = ~np.eye(4, dtype=bool)  # half of each interaction on either side
    np.testing.assert_allclose(2 * pairs.values[:, apart], of(order=2)[:, apart], atol=2e-6)


def test_weights_of_the_background():
    weights = RNG.uniform(0.5, 2.0, size=12)
    repeated = np.repeat(BACKGROUND, [3, *[1] * 11], axis=0)
    one = wb.explain(TWO, ROWS, repeated, scale="probability", offset=ONE)
    other = wb.explain(TWO, ROWS, BACKGROUND, scale="probability", offset=ONE, background_weight=[3, *[1] * 11])
    np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    kernel, games = (
        make(TWO, BACKGROUND, scale="probability", background_weight=weights)(ROWS, offset=ONE)
        for make in (TreeShap, ExactShap)
    )
    np.testing.assert_allclose(kernel.values, games.values, atol=1e-6)


def test_one_explainer_for_rows_with_offsets_and_without():
    for make in (TreeShap, ExactShap):
        explain = make(TWO, BACKGROUND, scale="probability")
        plain = explain(ROWS)
        np.testing.assert_allclose(
            explain(ROWS, offset=ONE).values, by_definition(of_two, ONE[:, None])[..., 0], atol=1e-6
        )
        np.testing.assert_array_equal(explain(ROWS).values, plain.values)


def test_the_loss_of_rows_with_offsets():
    truth = Y[:5]

    def log_loss(rows, offsets):
        share, label = of_two(rows, offsets[:, :1])[:, 0], offsets[0, 1]
        return -np.log(share if label else 1 - share)[:, None]

    e = wb.explain(TWO, ROWS, BACKGROUND, loss="log", y=truth, offset=ONE)
    expected = by_definition(log_loss, np.column_stack([ONE, truth]))[..., 0]
    np.testing.assert_allclose(e.values, expected, atol=2e-6)
    np.testing.assert_allclose(e.extras["model_prediction"][1][:, 1], of_two(ROWS, ONE[:, None])[:, 0], atol=1e-6)
    np.testing.assert_allclose(e.base_values + e.values.sum(axis=1), e.prediction, atol=1e-9)
    squared = wb.explain(TREES, ROWS, BACKGROUND, loss="squared", y=COUNTS[:5], offset=ONE)
    own = (TREES.predict(ROWS) * np.exp(ONE) - COUNTS[:5]) ** 2
    np.testing.assert_allclose(squared.prediction, own, rtol=1e-9)


def test_owen_values_behind_a_link():
    e = wb.explain(
        TWO, ROWS, BACKGROUND, "partition_shap", hierarchy=[["x0", "x1"], ["x2", "x3"]], scale="probability", offset=ONE
    )
    whole = by_definition(of_two, ONE[:, None], [(0, 1), (2, 3)])[..., 0]
    np.testing.assert_allclose(e.values[:, :2].sum(axis=1), whole[:, 0], atol=2e-6)
    np.testing.assert_allclose(e.values[:, 2:].sum(axis=1), whole[:, 1], atol=2e-6)


WIDE = RNG.normal(size=(80, 9))
WIDE_Y = (WIDE[:, 0] * WIDE[:, 1] + WIDE[:, 2] > 0).astype(int)


def test_errors_of_estimates_cover_the_exact_values():
    model, offset = xgboost.XGBClassifier(n_estimators=10).fit(WIDE, WIDE_Y), RNG.normal(size=6)
    rows, background = WIDE[:6], WIDE[20:50]
    exact = TreeShap(model, background, scale="probability")(rows, offset=offset)
    off = []
    for seed in range(10):
        explain = SampledShap(model, background, scale="probability", max_evals=6_000, tol=1e-9, seed=seed)
        got = explain(rows, offset=offset)
        sure = got.std_error == 0  # of features that no tree reads
        np.testing.assert_allclose(got.values[sure], exact.values[sure], atol=1e-9)
        off.append((got.values - exact.values)[~sure] / got.std_error[~sure])
        np.testing.assert_allclose(got.values.sum(axis=1) + got.base_values, got.prediction, atol=1e-9)
    off = np.concatenate(off)
    assert (np.abs(off) < 1.96).mean() > 0.9
    assert 0.6 < off.std() < 1.25
    assert any("depend on a row's offset" in note for note in got.evidence.notes)


def test_equal_rows_with_other_offsets_are_other_games():
    model = xgboost.XGBClassifier(n_estimators=10).fit(WIDE, WIDE_Y)
    rows, offset = WIDE[[0, 0, 1]], np.array([0.0, 3.0, 1.0])
    exact = TreeShap(model, WIDE[20:50], scale="probability")(rows, offset=offset)
    got = SampledShap(model, WIDE[20:50], scale="probability", max_evals=20_000)(rows, offset=offset)
    np.testing.assert_allclose(got.values, exact.values, atol=6 * got.std_error.max())
    assert np.abs(exact.values[0] - exact.values[1]).max() > 0.01


# what would be found


def test_the_offset_of_another_row_is_found_in_games(monkeypatch):
    def mixed_up(self, row, donor, pattern, patterns, *, what=""):
        return self._by_row.of_hybrids(np.roll(row, 1), self._grid.evaluate(row, donor, pattern, patterns, what=what))

    monkeypatch.setattr(GameGrid, "evaluate", mixed_up)
    with pytest.raises((SpotCheckError, ModelMismatchError)):
        ExactShap(TWO, BACKGROUND, scale="probability")(ROWS, offset=ONE)


def test_the_offset_of_another_row_is_found_in_the_kernel(monkeypatch):
    def mixed_up(self, rows, order):
        moved = rows.copy()
        moved[:, 4:] = np.roll(rows[:, 4:], 1, axis=0)
        return KernelRunner.enumerated_values(self, moved, order)

    monkeypatch.setitem(compute._KERNEL_METHODS, "enumeration", mixed_up)
    for index in ("shapley", "banzhaf"):  # of which the second does not add up
        with pytest.raises((SpotCheckError, ModelMismatchError)):
            TreeShap(TWO, BACKGROUND, scale="probability", index=index)(ROWS, offset=ONE)


def test_a_large_base_of_one_row_hides_no_error_of_another(monkeypatch):
    allowed = {}

    def keep(self, answer, recomputed, tolerance, rows, names, way, **more):
        if "in another order" in way:
            allowed.update(zip(rows.tolist(), np.max(tolerance, axis=1), strict=True))

    monkeypatch.setattr(AnswerChecks, "_compare_numbers", keep)
    e = LinearShap(GLM, BACKGROUND, scale="response")(ROWS, offset=np.r_[25.0, np.zeros(len(ROWS) - 1)])
    assert e.prediction[0] > 1e9 > 1e3 > e.prediction[1:].max()
    assert sorted(allowed) == list(range(len(ROWS)))
    assert max(allowed[i] for i in range(1, len(ROWS))) < 1e-9 < allowed[0]


def test_frames_with_the_offset_in_a_column():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(margin=np.r_[ONE, np.zeros(145)])
    model = xgboost.XGBClassifier(n_estimators=8, max_depth=3, base_score=0.3).fit(frame[list("abcd")], Y)
    e = wb.explain(model, frame[:5], frame[40:52], offset="margin", scale="probability")
    np.testing.assert_allclose(e.values, by_definition(of_two, ONE[:, None])[..., 0], atol=1e-6)
