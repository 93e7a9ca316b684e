"""One class or output on a scale is what all of them on that scale say of it: for every verb, and against brute force."""

from itertools import combinations
from math import factorial

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from lightgbm import LGBMClassifier
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier

import whybox as wb
from whybox.models.registry import as_model
from whybox.reporting.contents import SECTIONS

NAMES = ("setosa", "versicolor", "virginica")
X = pd.DataFrame(load_iris().data, columns=list("abcd"))
THREE = np.array(NAMES)[load_iris().target]
TWO = np.where(load_iris().target == 1, "yes", "no")
BACK = X[::13]
ROWS = X[3::30]


def _booster(**options):
    return xgb.XGBClassifier(n_estimators=5, n_jobs=1, **options).fit(X, load_iris().target)


MODELS = {
    "softmax of trees": lambda: HistGradientBoostingClassifier(max_iter=6).fit(X, THREE),
    "softmax of trees, lightgbm": lambda: LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1).fit(X, THREE),
    "softmax of trees, xgboost": lambda: _booster(max_depth=2),
    "softmax of linear functions": lambda: _booster(booster="gblinear"),
    "forest": lambda: RandomForestClassifier(8, random_state=0).fit(X, THREE),
    "two classes": lambda: GradientBoostingClassifier(n_estimators=8, max_depth=2, random_state=0).fit(X, TWO),
    "two classes, linear": lambda: xgb.XGBClassifier(n_estimators=5, booster="gblinear", n_jobs=1).fit(X, TWO == "yes"),
    "two classes, forest": lambda: RandomForestClassifier(8, random_state=0).fit(X, TWO),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return MODELS[request.param]()


@pytest.fixture(scope="module")
def read(model):
    """The model as it is read and verified, once for all questions."""
    return as_model(model)


def labels(model):
    return [str(c) for c in model.classes_] if model.classes_.dtype != bool else ["0", "1"]


def one_and_all(model, verb, **options):
    """Pairs of (answer about one class, the same class of the answer about all), on the scale of probabilities.

    Numbers are computed again of the answer about all and of the first class.
    """
    every = verb(output="all", scale="probability", **options)
    for at, label in enumerate(labels(model)):
        spot = {"spot_checks": 0} if at else {}
        yield verb(output=label, scale="probability", **options, **spot), every, at, label


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"index": "banzhaf"}, {"players": {"ab": ["a", "b"]}}], ids=str)
def test_attributions(model, read, options):
    own = model.predict_proba(ROWS)
    ask = lambda **o: wb.explain(read, ROWS, BACK, **o)
    for one, every, at, label in one_and_all(model, ask, **options):
        assert every.dims[-1] == "output"
        assert "output" not in one.dims
        assert one.units == every.units == "probability"
        assert one.coords["output"].tolist() == [label]
        assert every.output_names[at] == label
        assert np.array_equal(one.values, every.values[..., at])
        assert one.base == every.base[at]
        assert np.array_equal(one.prediction, every.prediction[:, at])
        assert np.allclose(one.prediction, own[:, at], atol=1e-6)
        raw = wb.explain(read, ROWS[:1], BACK, output=label, spot_checks=0)
        assert raw.units != "probability" or "Forest" in type(model).__name__


def test_attributions_against_all_coalitions(model):
    x, names = ROWS[:1], list(X)
    label, at = labels(model)[0], 0

    def mean(inside):
        mixed = BACK.copy()
        for name in inside:
            mixed[name] = x[name].iloc[0]
        return model.predict_proba(mixed)[:, at].mean()

    got = wb.explain(model, x, BACK, output=label, scale="probability")
    assert got.base == pytest.approx(mean(()), abs=1e-6)
    for i, name in enumerate(names):
        others = [n for n in names if n != name]
        want = sum(
            factorial(len(S)) * factorial(3 - len(S)) / factorial(4) * (mean((*S, name)) - mean(S))
            for size in range(4)
            for S in combinations(others, size)
        )
        assert got.values[0, i] == pytest.approx(want, abs=2e-6)


def test_the_classes_of_a_probability_add_up_to_one(model):
    every = wb.explain(model, ROWS, BACK, output="all", scale="probability")
    assert np.allclose(every.prediction.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(every.base.sum(), 1, atol=1e-6)
    assert np.allclose(every.values.sum(axis=-1), 0, atol=1e-6)


def test_importance(model, read):
    ask = lambda **o: wb.importance(read, ROWS, background=BACK, **o)
    for one, every, at, _ in one_and_all(model, ask):
        assert np.array_equal(one.values, every.values[:, at])


@pytest.mark.parametrize("kind", ["pdp", "ice", "c-ice", "ale", "anova", "marginal"])
def test_effects(model, read, kind):
    features = ["a"] if kind == "c-ice" else ["a", ("a", "c")]
    ask = lambda **o: wb.effects(read, X[::6], features, kind, grid=4, **o)
    for curves, all_curves, at, _ in one_and_all(model, ask):
        for one, every in zip(curves.values(), all_curves.values(), strict=True):
            assert one.units == "probability"
            assert np.allclose(one.values, every.values[..., at], rtol=0, atol=1e-12, equal_nan=True)
            if one.std_error is not None:
                assert np.allclose(one.std_error, every.std_error[..., at], rtol=0, atol=1e-12, equal_nan=True)


def test_partial_dependence_is_the_mean_probability(model):
    rows, label = X[::3], labels(model)[0]
    found = wb.effects(model, rows, "c", grid={"c": [1.5, 4.5]}, output=label, scale="probability")["c"]
    for value, got in zip((1.5, 4.5), found.values, strict=True):
        assert got == pytest.approx(model.predict_proba(rows.assign(c=value))[:, 0].mean(), abs=1e-6)


def test_interactions(model, read):
    ask = lambda **o: wb.interactions(read, X[::10], ["a", "c", "d"], **o)
    for one, every, at, _ in one_and_all(model, ask):
        assert np.allclose(one.values, every.values[..., at], rtol=0, atol=1e-12)
        assert np.allclose(one.extras["h_squared"][1], every.extras["h_squared"][1][..., at], rtol=0, atol=1e-9)


def test_regions_are_those_of_the_class(model):
    label = labels(model)[0]
    found = wb.regions(model, X, "c", grid=8, depth=1, output=label, scale="probability")
    curve = wb.effects(model, X, "c", grid=8, output=label, scale="probability")["c"]
    assert found[0].units == "probability"
    assert np.allclose(found[0].values, curve.values, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("unwritten_pictures")
def test_a_report_and_a_plan_take_the_scale(tmp_path):
    model = MODELS["softmax of trees"]()
    asked = {"background": BACK, "output": "setosa", "scale": "probability"}
    e = wb.report(model, X[:30], tmp_path / "r.html", sections=SECTIONS[:4], **asked)
    assert np.allclose(e.prediction, model.predict_proba(X[:30])[:, 0])
    assert wb.plan(wb.explain, model, X[:30], BACK, output="setosa", scale="probability").kernel == "enumeration"
    assert wb.plan(wb.effects, model, X[:30], "a", output="setosa", scale="probability").predictions == 0
    explainer = wb.explainers.TreeShap(model, BACK, output="setosa", scale="probability")
    assert np.array_equal(explainer(X[:30]).values, e.values)


def test_the_command_line_takes_the_scale(tmp_path):
    from whybox.cli.main import main

    model = xgb.XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(X, load_iris().target)
    model.save_model(tmp_path / "model.json")
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    BACK.to_csv(tmp_path / "back.csv", index=False)
    at = {name: str(tmp_path / name) for name in ("model.json", "rows.csv", "back.csv", "out.csv", "curves.csv")}
    which = ["--output", "2", "--scale", "probability"]
    assert (
        main(["explain", at["model.json"], at["rows.csv"], "--background", at["back.csv"], "-o", at["out.csv"], *which])
        == 0
    )
    assert np.allclose(pd.read_csv(at["out.csv"])["prediction"], model.predict_proba(ROWS)[:, 2], atol=1e-6)
    assert main(["effects", at["model.json"], at["rows.csv"], "-o", at["curves.csv"], "--feature", "a", *which]) == 0
    assert pd.read_csv(at["curves.csv"])["effect"].between(0, 1).all()


def test_a_rescaled_approximation_of_one_class():
    model = MODELS["two classes"]()
    no, yes = (wb.explain(model, ROWS, BACK, output=o, scale="probability", method="rescaled") for o in ("no", "yes"))
    assert np.array_equal(no.values, -yes.values)
    assert np.allclose(no.base + no.values.sum(axis=1), model.predict_proba(ROWS)[:, 0])


def test_raw_of_a_function_is_what_it_returns():
    two = lambda rows: np.column_stack([rows[:, 0], 5 * rows[:, 1]])
    rows = X.to_numpy()[:40]
    for scale in (None, "raw", "response"):
        curve = wb.effects(two, rows, 1, grid={1: [2.0]}, output=1, scale=scale)[0]
        assert curve.values == pytest.approx(10.0)
    with pytest.raises(wb.errors.OptionError, match="not probabilities"):
        wb.effects(two, rows, 1, output=1, scale="probability")
