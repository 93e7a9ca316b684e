"""Quick starts of shap, lime and captum (tests/quick_starts.py) with the import changed: numbers beside those that the originals gave, or beside the truth.

What an original computes is met to rounding; what it draws, within its own noise. Where its rule of integration is rough, the exact number is asked for.
"""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.special import logit

import quick_starts
from oracles import hybrid_game, semivalue, shapley

STORED = json.loads(quick_starts.STORED.read_text(encoding="utf-8"))
TOLERANCE = {"captum_toy": 1e-6, "shap_deep": 1e-6, "shap_kernel": 1e-5, "shap_linear": 1e-4}
BETTER = {"nc", "lc", "lc delta"}  # of captum_toy: see below


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch):
    monkeypatch.setattr("matplotlib.layout_engine.ConstrainedLayoutEngine.execute", lambda self, figure: None)
    yield
    plt.close("all")


def answers(name):
    """What the layer answers to a program."""
    program, module = quick_starts.PROGRAMS[name]
    if name.split("_")[0] == "captum" or name in ("shap_deep", "shap_gradient"):
        pytest.importorskip("torch")
    return program(quick_starts.package(f"whybox.compat.{module}"))


def without_zeros(name):
    """A condition, whose numbers lime writes with two decimals."""
    return re.sub(r"(\d\.\d*?)0+\b", r"\1", name)


@pytest.mark.parametrize("name", quick_starts.PROGRAMS)
def test_a_quick_start_gives_the_numbers_of_the_original(name):
    found = {without_zeros(key): value for key, value in answers(name).items()}
    stored = {without_zeros(key): value for key, value in STORED[name]["numbers"].items()}
    assert found.keys() == stored.keys()
    for key, numbers in stored.items():
        here, there = np.asarray(found[key], dtype=float), np.asarray(numbers["mean"])
        assert here.shape == there.shape, key
        if "spread" in numbers:
            # one run of the original is within 4 of its spreads of the mean of many; so are we
            assert (np.abs(here - there) <= 4 * np.asarray(numbers["spread"]) + 1e-6).all(), key
        elif key not in BETTER:
            assert np.abs(here - there).max() <= TOLERANCE.get(name, 0), key


def test_conductance_of_captums_network_is_exact():
    """From zeros the network is linear along the path, so that the exact conductance of a unit is what it adds to the output; captum is off by 0.1 % to 3 %."""
    torch = pytest.importorskip("torch")
    model, rows, _ = quick_starts.toy_network()
    units = model.relu(model.lin1(rows))
    found = answers("captum_toy")
    exact = (units * model.lin2.weight[0]).detach().numpy()
    assert np.abs(found["lc"] - exact).max() < 1e-5
    assert np.abs(found["lc delta"]).max() < 1e-5
    through = (model.lin2.weight[0, 1] * (model.lin1(rows)[:, 1] > 0))[:, None] * model.lin1.weight[1] * rows
    assert np.abs(found["nc"] - through.detach().numpy()).max() < 1e-5
    stored = STORED["captum_toy"]["numbers"]
    assert np.abs(np.array(stored["lc"]["mean"]) - exact).max() > 1e-3
    assert np.abs(np.array(stored["nc"]["mean"]) - through.detach().numpy()).max() > 1e-2
    assert torch.equal(rows, quick_starts.toy_network()[1])


def test_trees_of_shaps_readme_have_the_values_of_xgboost_itself():
    xgboost = pytest.importorskip("xgboost")
    from whybox.compat import shap

    X, y = shap.datasets.diabetes()
    model = xgboost.XGBRegressor(n_estimators=60, n_jobs=1).fit(X, y)
    explainer = shap.Explainer(model)
    shap_values = explainer(X)
    rows = xgboost.DMatrix(X)
    truth = model.get_booster().predict(rows, pred_contribs=True)  # float32
    assert np.abs(shap_values.values - truth[:, :-1]).max() < 1e-3
    assert np.abs(shap_values.base_values - truth[:, -1]).max() < 1e-3
    shap.plots.waterfall(shap_values[0])
    shap.plots.beeswarm(shap_values)
    few = X.iloc[:40]
    pairs = shap.TreeExplainer(model).shap_interaction_values(few)
    truth = model.get_booster().predict(xgboost.DMatrix(few), pred_interactions=True)
    assert pairs.shape == (40, 10, 10)
    assert np.abs(pairs - truth[:, :-1, :-1]).max() < 5e-3


def test_the_kernel_explainer_of_shaps_readme_has_the_values_of_the_definition():
    """All 16 coalitions by brute force: the link of the mean prediction."""
    model, X = quick_starts.iris_probabilities()
    background, rows = X.iloc[::5].to_numpy(), X.iloc[[10, 60, 110]].to_numpy()

    def log_odds(row):
        game = hybrid_game(quick_starts.likely(model), [[0], [1], [2], [3]], row, background)
        return lambda coalition: logit(game(coalition))

    values = np.array([semivalue(log_odds(row), 4, shapley) for row in rows])
    assert np.abs(answers("shap_kernel")["values"] - values).max() < 1e-9


def hourly_rentals():
    """A table as in scikit-learn's example of partial dependence: numbers and categories, behind steps."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    rng, n, categories = np.random.default_rng(0), 300, ["season", "weather"]
    X = pd.DataFrame(
        {
            "season": pd.Categorical(rng.choice(["spring", "summer", "fall", "winter"], n)),
            "hour": rng.integers(0, 24, n).astype(float),
            "temp": rng.normal(20, 8, n),
            "humidity": rng.uniform(0.2, 1, n),
            "weather": pd.Categorical(rng.choice(["clear", "misty", "rain"], n)),
        }
    )
    y = X["temp"] * 3 * (X["humidity"] < 0.7) + 10 * np.sin(X["hour"] / 4) + 20 * (X["season"] == "summer")
    steps = ColumnTransformer(
        [("cat", OrdinalEncoder(), categories), ("num", "passthrough", ["hour", "temp", "humidity"])],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    trees = HistGradientBoostingRegressor(categorical_features=categories, random_state=0, max_iter=20)
    return make_pipeline(steps, trees).fit(X, y), X, categories


def examples_of_inspection(inspection):
    """The calls of scikit-learn's examples of partial dependence, in their order."""
    model, X, categories = hourly_rentals()
    common = {"subsample": 50, "n_jobs": 1, "grid_resolution": 20, "random_state": 0}
    made = inspection.PartialDependenceDisplay.from_estimator
    found = []
    _, ax = plt.subplots(ncols=5)
    display = made(model, X, features=[*X.columns], kind="average", categorical_features=categories, ax=ax, **common)
    display.figure_.suptitle("one feature each")
    found += [p.average for p in display.pd_results] + [p["grid_values"][0] for p in display.pd_results]
    _, ax = plt.subplots(ncols=2, sharey=True)
    display = made(model, X, features=["temp", "humidity"], kind="both", centered=True, ax=ax, **common)
    found += [p.individual for p in display.pd_results] + [line.get_ydata() for line in display.lines_.ravel()]
    _, ax = plt.subplots(ncols=3)
    display = made(model, X, features=["temp", "humidity", ("temp", "humidity")], kind="average", ax=ax, **common)
    found += [p.average for p in display.pd_results]
    display = made(model, X, features=["temp", ("season", "weather")], categorical_features=categories, **common)
    found += [p.average for p in display.pd_results]
    display = made(model, X, ["temp"], kind="individual", ice_lines_kw={"alpha": 0.2}, pd_line_kw={"color": "red"})
    display = made(model, X, ["temp", "humidity"])
    display.plot(line_kw={"label": "one", "c": "red"})
    display.plot(ax=display.axes_, line_kw={"label": "another"})
    surface = inspection.partial_dependence(model, X, features=("temp", "humidity"), kind="average", grid_resolution=10)
    x, y = np.meshgrid(surface["grid_values"][0], surface["grid_values"][1])
    return [*found, x, y, surface.average[0].T]


def test_examples_of_scikit_learn_have_its_numbers():
    from sklearn import inspection as theirs

    from whybox.compat.sklearn import inspection as ours

    here, there = examples_of_inspection(ours), examples_of_inspection(theirs)
    assert len(here) == len(there)
    for ours_, theirs_ in zip(here, there, strict=True):
        if theirs_.dtype.kind == "f":
            np.testing.assert_allclose(ours_, theirs_, rtol=0, atol=1e-10)
        else:
            assert list(ours_) == list(theirs_)


def test_permutation_importance_of_scikit_learns_example_is_within_its_noise():
    from sklearn import inspection as theirs
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    from whybox.compat.sklearn import inspection as ours

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    forest = RandomForestClassifier(n_estimators=20, random_state=42).fit(X[:300], y[:300])
    here, there = (
        of.permutation_importance(forest, X[300:], y[300:], n_repeats=10, random_state=42, n_jobs=1)
        for of in (ours, theirs)
    )
    noise = np.hypot(there.importances_std, here.importances_std) / np.sqrt(10)
    assert (np.abs(here.importances_mean - there.importances_mean) <= 4 * noise + 1e-3).all()
    assert here.importances.shape == there.importances.shape
