"""Importance of rows with offsets, against loops that ask the library's own predict with them; and its errors against the spread over samples."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy.special import softmax, xlogy
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance, roc_auc_score
from sklearn.tree import DecisionTreeRegressor

import whybox as wb
from oracles import semivalue, shapley
from whybox.data.table import as_table
from whybox.errors import ModelMismatchError
from whybox.methods.common.rows import weighted_rows
from whybox.methods.importance import permutation_of_trees, rows_problem, sage_game
from whybox.methods.importance.conditional_values import ConditionalValues
from whybox.models.registry import as_model

N = 70
RNG = np.random.default_rng(5)
X = pd.DataFrame(RNG.normal(size=(N, 4)).round(1), columns=list("abcd"))
EXPOSURE = RNG.uniform(0.1, 3.0, N)
OFFSET, WEIGHTS = np.log(EXPOSURE), RNG.integers(0, 3, N).astype(float)
COUNTS = RNG.poisson(EXPOSURE * np.exp(0.6 * X["a"] + 0.4 * X["b"] * X["c"]))
YES, KIND = (X["a"] + X["b"] * X["c"] > 0.2).astype(int).to_numpy(), np.digitize(X["a"], [-0.5, 0.5])
THREE = RNG.normal(size=(N, 3))
SMALL = {"n_estimators": 8, "max_depth": 3}


def deviance(y, p):
    return 2.0 * (xlogy(y, y / p) - (y - p))


def squared(y, p):
    return (y - p) ** 2


def log_loss(y, p):
    return -np.log(p[np.arange(len(y)), y])


def boosted():
    return xgboost.XGBRegressor(objective="count:poisson", **SMALL).fit(X, COUNTS, base_margin=OFFSET)


def gradient_boosted():
    return lightgbm.LGBMRegressor(objective="poisson", n_estimators=8, min_child_samples=5, verbose=-1).fit(
        X, COUNTS, init_score=OFFSET
    )


def linear():
    return PoissonRegressor().fit(X, COUNTS / EXPOSURE, sample_weight=EXPOSURE)


def all_pairs(predict, loss, y, members, w=None):
    """The mean over ordered pairs of two different rows of what row i loses more with the members of row j, each pair predicted by itself."""
    w = np.full(N, 1.0 / N) if w is None else w / w.sum()
    before, total, norm = loss(y, predict(X)), 0.0, 0.0
    for j in range(N):
        mixed = X.assign(**{name: X[name].iloc[j] for name in members})
        others = w * (np.arange(N) != j)
        total += w[j] * (others @ (loss(y, predict(mixed)) - before))
        norm += w[j] * others.sum()
    return total / norm


# (model, the library's own predict of rows with their offsets, y, loss, its name, offset)
CASES = {
    "xgboost, counts": (boosted, lambda m, t: m.predict(t, base_margin=OFFSET), COUNTS, deviance, "poisson", OFFSET),
    "xgboost, squares": (boosted, lambda m, t: m.predict(t, base_margin=OFFSET), COUNTS, squared, "squared", OFFSET),
    "lightgbm": (gradient_boosted, lambda m, t: np.exp(m.predict(t, raw_score=True) + OFFSET), COUNTS, deviance, "poisson", OFFSET),
    "linear": (linear, lambda m, t: m.predict(t) * EXPOSURE, COUNTS, deviance, "poisson", OFFSET),
    "two classes": (
        lambda: xgboost.XGBClassifier(base_score=0.3, **SMALL).fit(X, YES, base_margin=OFFSET),
        lambda m, t: m.predict_proba(t, base_margin=OFFSET), YES, log_loss, "log", OFFSET,
    ),
    "three classes": (
        lambda: xgboost.XGBClassifier(**SMALL).fit(X, KIND, base_margin=THREE),
        lambda m, t: m.predict_proba(t, base_margin=THREE), KIND, log_loss, "log", THREE,
    ),
    "lightgbm, three classes": (
        lambda: lightgbm.LGBMClassifier(n_estimators=6, min_child_samples=5, verbose=-1).fit(X, KIND, init_score=THREE),
        lambda m, t: softmax(m.predict(t, raw_score=True) + THREE, axis=1), KIND, log_loss, "log", THREE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_permutation_over_all_pairs(case, weighted, monkeypatch):
    make, own, y, loss, name, offset = CASES[case]
    model, w = make(), WEIGHTS if weighted else None
    monkeypatch.setattr(permutation_of_trees, "NUMBERS_HELD", 500)  # several blocks of rows
    monkeypatch.setattr(rows_problem, "ROWS_COMPARED", 13)
    options = {"loss": name, "sample_weight": w, "players": {"b and c": ["b", "c"]}, "max_evals": 200_000}
    e = wb.importance(model, X, y, offset=offset, role="held-out", **options)
    expected = [all_pairs(lambda t: own(model, t), loss, y, members, w) for members in (["a"], ["d"], ["b", "c"])]
    at = [e.feature_names.index(n) for n in ("a", "d", "b and c")]
    np.testing.assert_allclose(e.values[at], expected, atol=3e-6)
    assert e.evidence.exact
    assert e.evidence.spot_checks.numbers > 0
    shares = np.full(N, 1 / N) if w is None else w / w.sum()
    np.testing.assert_allclose(e.extras["baseline_loss"][1], shares @ loss(y, own(model, X)), rtol=1e-5)
    plain = wb.importance(model, X, y, role="held-out", **options)
    assert np.abs(plain.values - e.values).max() > 1e-3  # offsets do count


def test_losses_of_native_code_and_of_numpy_are_one():
    """An offset of zero, and of a constant that the base score holds, gives what no offset gives."""
    model = boosted()
    base = float(as_model(model).offset_rule.replaced[0])
    plain = wb.importance(model, X, COUNTS, loss="poisson", role="held-out")
    same = wb.importance(model, X, COUNTS, loss="poisson", offset=np.full(N, base), role="held-out")
    assert "native" in plain.evidence.kernel
    assert "NumPy" in same.evidence.kernel
    np.testing.assert_allclose(same.values, plain.values, atol=1e-12)
    np.testing.assert_allclose(same.std_error, plain.std_error, atol=1e-12)


@pytest.mark.parametrize("method", ["permutation", "conditional", "sage", "drop_column"])
def test_of_squares_on_the_additive_scale_the_truth_may_be_moved_instead(method):
    y = X["a"] + OFFSET
    fit = lambda rows, truth, *_: DecisionTreeRegressor(max_depth=4).fit(rows, truth)
    model = fit(X, X["a"])
    more = {"train": (X, y)} if method == "drop_column" else {}
    with_offset = {"train": (X, y, OFFSET)} if method == "drop_column" else {}
    options = {"method": method, "role": "train"} | ({"fit": fit} if method == "drop_column" else {})
    e = wb.importance(model, X, y, offset=OFFSET, **options, **with_offset)
    moved = wb.importance(model, X, y - OFFSET, **options, **more)
    np.testing.assert_allclose(e.values, moved.values, atol=1e-9)
    np.testing.assert_allclose(e.std_error, moved.std_error, atol=1e-9)


def test_rounds_of_donors_agree_with_all_pairs():
    """Of a model that is evaluated in rounds: within the Monte-Carlo error of what all pairs give, and that error is not too small."""
    model = linear()
    exact = wb.importance(model, X, COUNTS, loss="poisson", offset=OFFSET, role="held-out", max_evals=100_000)
    assert exact.evidence.exact
    options = {"loss": "poisson", "offset": OFFSET, "role": "held-out", "max_evals": 24 * 4 * N, "tol": 1e-9}
    off = []
    for seed in range(25):
        e = wb.importance(model, X, COUNTS, seed=seed, spot_checks=0, **options)
        assert not e.evidence.exact
        off.append((e.values - exact.values)[:3] / e.extras["monte_carlo_error"][1][:3])
    assert np.sqrt(np.mean(np.square(off))) < 1.6  # of few blocks, whose errors are t-distributed
    assert np.abs(np.mean(off, axis=0)).max() < 1.0


def test_intervals_cover_the_value_of_all_rows():
    """Of 95 % intervals at least 88 % of 120 samples of 100 rows cover the value over 3,000 rows (nominal less three standard deviations)."""
    rng = np.random.default_rng(1)
    many = pd.DataFrame(rng.normal(size=(3000, 4)), columns=list("abcd"))
    exposure = rng.uniform(0.1, 3.0, 3000)
    y, offset = rng.poisson(exposure * np.exp(0.6 * many["a"] + 0.4 * many["b"] * many["c"])), np.log(exposure)
    model = as_model(boosted())
    options = {"loss": "poisson", "role": "held-out", "spot_checks": 0}
    truth = wb.importance(model, many, y, offset=offset, **options).values
    covered = []
    for _ in range(120):
        some = rng.choice(3000, 100, replace=False)
        e = wb.importance(model, many.iloc[some], y[some], offset=offset[some], **options)
        low, high = e.interval
        covered.append((low <= truth) & (truth <= high))
    assert np.mean(covered, axis=0).min() >= 0.88


# SAGE


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", ["xgboost, counts", "linear", "three classes"])
def test_sage_over_all_coalitions(case, weighted, monkeypatch):
    make, own, y, loss, name, offset = CASES[case]
    model, w = make(), WEIGHTS if weighted else np.ones(N)
    monkeypatch.setattr(sage_game, "HYBRIDS_HELD", 100)
    background, behind = X[:5].assign(a=[3.0, -3.0, 0.0, 1.0, -1.0]), np.arange(1.0, 6.0)

    def worth(present):
        absent = [c for k, c in enumerate("abcd") if k not in present]
        mean = 0.0
        for b in range(5):
            mixed = X.assign(**{c: background[c].iloc[b] for c in absent})
            mean = mean + behind[b] / behind.sum() * own(model, mixed).astype(float)
        return -(w / w.sum() @ loss(y, mean))

    e = wb.importance(
        model, X, y, method="sage", loss=name, offset=offset, background=background, background_weight=behind,
        sample_weight=w if weighted else None, role="held-out", max_evals=10**6,
    )  # fmt: skip
    assert e.evidence.exact
    np.testing.assert_allclose(e.values, semivalue(worth, 4, shapley), atol=3e-6)
    np.testing.assert_allclose(e.extras["loss_without_features"][1], -worth(set()), atol=3e-6)
    assert abs(float(e.extras["additivity_gap"][1])) < 1e-9
    assert e.evidence.spot_checks.numbers > 0


def test_sage_over_some_rows_takes_their_own_offsets():
    """The rows are drawn; a second call of exactly those rows, with their offsets, gives the same."""
    model = boosted()
    rng = np.random.default_rng(0)
    wide = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
    offset, y = rng.normal(size=400), rng.poisson(1.0, 400)
    options = {"method": "sage", "loss": "poisson", "role": "held-out", "background": X[:10]}
    e = wb.importance(model, wide, y, offset=offset, max_evals=16 * 10 * 100, **options)
    assert e.evidence.exact
    assert "of 400 rows, drawn by the seed" in " ".join(e.evidence.notes)
    drawn = np.random.default_rng([0, sage_game._STREAM]).permutation(400)[: e.evidence.rows]
    assert e.evidence.rows < 400
    those = wb.importance(model, wide.iloc[drawn], y[drawn], offset=offset[drawn], max_evals=10**6, **options)
    np.testing.assert_allclose(e.values, those.values, atol=1e-12)
    np.testing.assert_allclose(e.std_error, those.std_error, atol=1e-12)


# other methods


def test_conditional_draws_keep_the_offsets():
    model = boosted()
    e = wb.importance(model, X, COUNTS, method="conditional", loss="poisson", offset=OFFSET, role="held-out", seed=3)
    rows = weighted_rows(as_table(X), None)
    own = deviance(COUNTS, model.predict(X, base_margin=OFFSET))
    for player in range(4):
        draws = ConditionalValues(rows, player, tuple(p for p in range(4) if p != player), 3)
        rng, increase = np.random.default_rng([3, 0xC0FE, player]), np.zeros(N)
        for _ in range(20):
            mixed = X.copy()
            mixed.iloc[:, player] = X.iloc[draws.draw(rng, {}), player].to_numpy()
            increase += deviance(COUNTS, model.predict(mixed, base_margin=OFFSET)) - own
        np.testing.assert_allclose(e.values[player], increase.mean() / 20, atol=3e-6)


def test_scores_are_of_predictions_with_offsets():
    model = boosted()
    e = wb.importance(model, X, COUNTS, scoring="neg_mean_poisson_deviance", offset=OFFSET, role="held-out", tol=1e-9)
    own = -mean_poisson_deviance(COUNTS, model.predict(X, base_margin=OFFSET))
    np.testing.assert_allclose(e.extras["baseline_score"][1], own, rtol=1e-5)
    exact = wb.importance(model, X, COUNTS, loss="poisson", offset=OFFSET, role="held-out")
    error = e.extras["monte_carlo_error"][1]
    assert (np.abs(e.values - exact.values) < 4 * error + 1e-9).all()
    classifier = CASES["two classes"][0]()
    e = wb.importance(classifier, X, YES, scoring="roc_auc", offset=OFFSET, role="held-out")
    own = roc_auc_score(YES, classifier.predict_proba(X, base_margin=OFFSET)[:, 1])
    np.testing.assert_allclose(e.extras["baseline_score"][1], own, rtol=1e-6)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "by hand"])
def test_dropped_columns_are_trained_with_the_offsets_of_training(library):
    other = np.random.default_rng(8)
    held, exposure = pd.DataFrame(other.normal(size=(40, 4)), columns=list("abcd")), other.uniform(0.1, 3.0, 40)
    y = other.poisson(exposure * np.exp(0.6 * held["a"]))
    if library == "xgboost":
        model = boosted()
        train = lambda rows: xgboost.XGBRegressor(objective="count:poisson", **SMALL).fit(
            rows, COUNTS, base_margin=OFFSET
        )
        predict = lambda m, rows: m.predict(rows, base_margin=np.log(exposure))
    elif library == "lightgbm":
        model = gradient_boosted()
        train = lambda rows: lightgbm.LGBMRegressor(**model.get_params()).fit(rows, COUNTS, init_score=OFFSET)
        predict = lambda m, rows: np.exp(m.predict(rows, raw_score=True)) * exposure
    else:
        model = linear()
        train = lambda rows: PoissonRegressor().fit(rows, COUNTS / EXPOSURE, sample_weight=EXPOSURE)
        predict = lambda m, rows: m.predict(rows) * exposure
    fit = lambda rows, truth, offset: PoissonRegressor().fit(rows, truth / np.exp(offset), sample_weight=np.exp(offset))
    e = wb.importance(
        model, held, y, method="drop_column", loss="poisson", offset=np.log(exposure), train=(X, COUNTS, OFFSET),
        role="held-out", **({"fit": fit} if library == "by hand" else {}),
    )  # fmt: skip
    own = deviance(y, predict(model, held))
    for k, name in enumerate("abcd"):
        without = [c for c in "abcd" if c != name]
        increase = deviance(y, predict(train(X[without]), held[without])) - own
        np.testing.assert_allclose(e.values[k], increase.mean(), atol=1e-5)


@pytest.mark.parametrize("scale", [None, "response"])
def test_sizes_of_attributions_and_curves(scale):
    model = boosted()
    options = {"offset": OFFSET, "scale": scale}
    e = wb.importance(model, X, method="shap", background=X[:20], sample_weight=WEIGHTS, **options)
    each = np.abs(wb.explain(model, X, X[:20], **options).values)
    np.testing.assert_allclose(e.values, WEIGHTS / WEIGHTS.sum() @ each, atol=1e-9)
    plain = wb.importance(model, X, method="shap", background=X[:20], sample_weight=WEIGHTS, scale=scale)
    assert np.allclose(plain.values, e.values) == (scale is None)
    assert e.offset is None
    e = wb.importance(model, X, method="pdp", sample_weight=WEIGHTS, **options)
    predict = lambda t: model.predict(t, base_margin=OFFSET, output_margin=scale is None)
    w = WEIGHTS / WEIGHTS.sum()
    for k, name in enumerate("abcd"):
        means = np.array([w @ predict(X.assign(**{name: value})) for value in X[name]])
        np.testing.assert_allclose(e.values[k], np.sqrt(w @ (means - w @ means) ** 2), rtol=1e-4)
    assert e.feature_names == tuple("abcd")


def test_training_rows_have_offsets_of_their_own():
    model, more = boosted(), {"loss": "poisson", "role": "held-out"}
    held, trained = X.assign(y=COUNTS, o=OFFSET)[:30], X.assign(y=COUNTS, o=OFFSET)[30:]
    expected = wb.importance(model, X[30:], COUNTS[30:], loss="poisson", offset=OFFSET[30:], role="train")
    for given in (
        {"X": X[:30], "y": COUNTS[:30], "offset": OFFSET[:30], "train": (X[30:], COUNTS[30:], OFFSET[30:])},
        {"X": held, "y": "y", "offset": "o", "train": (trained, "y")},
        {
            "X": xgboost.DMatrix(X[:30], base_margin=OFFSET[:30]),
            "y": COUNTS[:30],
            "train": (xgboost.DMatrix(X[30:], base_margin=OFFSET[30:]), COUNTS[30:]),
        },
    ):
        e = wb.importance(model, **given, **more)
        np.testing.assert_allclose(e.extras["train"][1], expected.values, atol=1e-6)


def test_a_wrong_base_score_is_found():
    from dataclasses import replace

    for read in (
        as_model(boosted()),
        as_model(xgboost.XGBRegressor(booster="gblinear", base_score=3.0).fit(X, COUNTS)),
    ):
        wrong = replace(read, offset_rule=replace(read.offset_rule, replaced=read.offset_rule.replaced + 1.0))
        for method in ("permutation", "sage"):
            with pytest.raises(ModelMismatchError, match=r"row \d+ with its offset"):
                wb.importance(wrong, X, COUNTS, method=method, offset=OFFSET, role="held-out")
