"""Quick starts of shap, lime and captum (tests/quick_starts.py) with the import changed: numbers beside those that the originals gave, or beside the truth.

What an original computes is met to rounding; what it draws, within its own noise. Where its rule of integration is rough, the exact number is asked for.
"""

import importlib
import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

import quick_starts

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
    for part in ("lime_tabular", "lime_text", "lime_image") if module == "lime" else ():
        importlib.import_module(f"whybox.compat.lime.{part}")
    return program(importlib.import_module(f"whybox.compat.{module}"))


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
    """All 16 coalitions by hand: the link of the mean prediction."""
    from itertools import combinations
    from math import comb

    model, X = quick_starts.iris_probabilities()
    background, rows = X.iloc[::5].to_numpy(), X.iloc[[10, 60, 110]].to_numpy()

    def worth(row, some):
        hybrids = background.copy()
        hybrids[:, list(some)] = row[list(some)]
        p = (0.98 * model.predict_proba(hybrids) + 0.01 * 2 / 3).mean(axis=0)
        return np.log(p / (1 - p))

    values = np.array(
        [
            [
                sum(
                    (worth(row, (*some, i)) - worth(row, some)) / (4 * comb(3, size))
                    for size in range(4)
                    for some in combinations([j for j in range(4) if j != i], size)
                )
                for i in range(4)
            ]
            for row in rows
        ]
    )
    assert np.abs(answers("shap_kernel")["values"] - values).max() < 1e-9
