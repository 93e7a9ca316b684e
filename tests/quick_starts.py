"""Programs that make the calls of the quick starts of shap, lime and captum, in their order, on data of scikit-learn or made here.

Each takes the package, the original or the layer of whybox, and returns numbers by name. `python tests/quick_starts.py --write` runs them with the originals, if
these are installed, and stores what they gave, with their versions, in quick_starts.json: of answers that are drawn, the mean and the spread of `REPEATS` runs.
The models are fitted in closed form or have weights that are written down, so that they are the same everywhere.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

STORED = Path(__file__).with_suffix(".json")
REPEATS = 30


# captum


def toy_network():
    import torch
    from torch import nn

    class ToyModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin1, self.relu, self.lin2 = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)
            self.lin1.weight = nn.Parameter(torch.arange(-4.0, 5.0).view(3, 3))
            self.lin1.bias = nn.Parameter(torch.zeros(1, 3))
            self.lin2.weight = nn.Parameter(torch.arange(-3.0, 3.0).view(2, 3))
            self.lin2.bias = nn.Parameter(torch.ones(1, 2))

        def forward(self, x):
            return self.lin2(self.relu(self.lin1(x)))

    model = ToyModel()
    model.eval()
    rows = torch.tensor([[0.3, 0.52, 0.25], [0.05, 0.07, 0.87]])
    baselines = torch.tensor([[np.sin(3 * i + j) / 1000 for j in range(3)] for i in range(10)], dtype=torch.float32)
    return model, rows, baselines


def captum_toy(attr: ModuleType) -> dict[str, Any]:
    """The README of captum: a small network, seven methods."""
    import torch

    model, rows, some = toy_network()
    zeros = torch.zeros(2, 3)
    found: dict[str, Any] = {}
    ig = attr.IntegratedGradients(model)
    found["ig"], found["ig delta"] = ig.attribute(rows, zeros, target=0, return_convergence_delta=True)
    gs = attr.GradientShap(model)
    found["gs ~"], delta = gs.attribute(
        rows, stdevs=0.09, n_samples=4, baselines=some, target=0, return_convergence_delta=True
    )
    found["gs delta ~"] = torch.mean(delta.reshape(rows.shape[0], -1), dim=1)
    dl = attr.DeepLift(model)
    found["dl"], found["dl delta"] = dl.attribute(rows, zeros, target=0, return_convergence_delta=True)
    dls = attr.DeepLiftShap(model)
    found["dls"], delta = dls.attribute(rows, some, target=0, return_convergence_delta=True)
    found["dls delta"] = torch.mean(delta.reshape(rows.shape[0], -1), dim=1)
    nt = attr.NoiseTunnel(attr.IntegratedGradients(model))
    found["nt ~"], delta = nt.attribute(
        rows, nt_type="smoothgrad", stdevs=0.02, nt_samples=4, baselines=zeros, target=0, return_convergence_delta=True
    )
    found["nt delta"] = torch.mean(delta.reshape(rows.shape[0], -1), dim=1)
    nc = attr.NeuronConductance(model, model.lin1)
    found["nc"] = nc.attribute(rows, neuron_selector=1, target=0)
    lc = attr.LayerConductance(model, model.lin1)
    found["lc"], found["lc delta"] = lc.attribute(rows, baselines=zeros, target=0, return_convergence_delta=True)
    return {name: value.detach().numpy() for name, value in found.items()}


# shap


def digits_network():
    import torch
    from sklearn.datasets import load_digits
    from torch import nn

    pictures = torch.tensor(load_digits().images[:40, None] / 16, dtype=torch.float32)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 10)).eval()
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(torch.sin(torch.arange(p.numel()) * 1.7 + k).reshape(p.shape) / 3)
    return model, pictures


def shap_deep(shap: ModuleType) -> dict[str, Any]:
    """The README of shap: DeepExplainer of a network of digits, in the mean over background pictures."""
    model, pictures = digits_network()
    explainer = shap.DeepExplainer(model, pictures[:30])
    shap_values = explainer.shap_values(pictures[36:40])
    # shap 0.51 compares ranked values with outputs in another order, and fails by itself
    largest, indexes = explainer.shap_values(pictures[36:40], ranked_outputs=2, check_additivity=False)
    by_channel = [np.moveaxis(shap_values[..., k], 1, -1) for k in range(10)]
    shap.image_plot(by_channel, -np.moveaxis(pictures[36:40].numpy(), 1, -1), show=False)
    return {
        "values": np.asarray(shap_values),
        "expected": np.asarray(explainer.expected_value),
        "largest": np.asarray(largest),
        "indexes": np.asarray(indexes),
    }


def shap_gradient(shap: ModuleType) -> dict[str, Any]:
    """The README of shap: GradientExplainer of the same network."""
    model, pictures = digits_network()
    return {"values ~": np.asarray(shap.GradientExplainer(model, pictures[:30]).shap_values(pictures[36:38]))}


def iris_probabilities():
    """A model with a closed form."""
    from sklearn.datasets import load_iris
    from sklearn.naive_bayes import GaussianNB

    X, y = load_iris(return_X_y=True, as_frame=True)
    return GaussianNB().fit(X.to_numpy(), y), X


def likely(model: Any) -> Callable[[Any], Any]:
    """The probabilities of a model for three classes, drawn in from 0 and 1, so that all have log-odds."""
    return lambda rows: 0.98 * model.predict_proba(rows) + 0.01 * 2 / 3


def shap_kernel(shap: ModuleType) -> dict[str, Any]:
    """The README of shap: KernelExplainer of probabilities of irises, with the link logit."""
    model, X = iris_probabilities()
    explainer = shap.KernelExplainer(likely(model), X.iloc[::5], link="logit")
    shap_values = explainer.shap_values(X.iloc[[10, 60, 110]], nsamples=100)
    return {"values": np.asarray(shap_values), "expected": np.asarray(explainer.expected_value)}


def shap_linear(shap: ModuleType) -> dict[str, Any]:
    """The introduction of shap's documentation: a linear model, 100 background rows, one row in a waterfall."""
    from sklearn.linear_model import LinearRegression

    X, y = shap.datasets.diabetes()
    X100 = shap.utils.sample(X, 100)
    model = LinearRegression().fit(X, y)
    explainer = shap.Explainer(model.predict, X100)
    shap_values = explainer(X.iloc[:5])
    shap.plots.waterfall(shap_values[2], max_display=14, show=False)
    return {"values": shap_values.values, "base": shap_values.base_values}


# lime


def lime_iris(lime: ModuleType) -> dict[str, Any]:
    """The tutorial of lime that its README begins with: one iris."""
    model, X = iris_probabilities()
    explainer = lime.lime_tabular.LimeTabularExplainer(
        X.to_numpy(), feature_names=list(X.columns), class_names=["setosa", "versicolor", "virginica"], discretize_continuous=True,
    )  # fmt: skip
    exp = explainer.explain_instance(X.to_numpy()[60], model.predict_proba, num_features=4, top_labels=1)
    label = exp.available_labels()[0]
    return {f"{condition} ~": weight for condition, weight in exp.as_list(label)} | {"label": label}


def lime_words(lime: ModuleType) -> dict[str, Any]:
    """The README of lime: a text of two classes."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    texts = ["god and faith in church", "the posting host is a machine", "faith of a church", "a host and a machine"]
    c = make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, [1, 0, 1, 0])
    explainer = lime.lime_text.LimeTextExplainer(class_names=["atheism", "christian"])
    exp = explainer.explain_instance("the host of a church has faith and a machine", c.predict_proba, num_features=6)
    return {f"{word} ~": weight for word, weight in exp.as_list()}


def lime_picture(lime: ModuleType) -> dict[str, Any]:
    """The README of lime: a picture, its segments, the five that speak most for the class."""
    y, x = np.mgrid[:16, :16]
    image = np.stack([np.sin(x / 3), np.cos(y / 4), np.sin((x + y) / 5)], axis=-1) / 2 + 0.5

    def predict(images):
        bright = images.mean(axis=(1, 2, 3)) + 2 * images[:, 2, 3, 0] * images[:, 12, 9, 1]
        return np.stack([1 / (1 + np.exp(-4 * bright + 4)), 1 / (1 + np.exp(4 * bright - 4))], axis=1)

    explainer = lime.lime_image.LimeImageExplainer()
    explanation = explainer.explain_instance(
        image, predict, top_labels=2, hide_color=0, num_samples=1000, segmentation_fn=lambda a: (y // 8) * 4 + x // 4
    )
    top = explanation.top_labels[0]
    temp, mask = explanation.get_image_and_mask(top, positive_only=True, num_features=5, hide_rest=True)
    weights = dict(explanation.local_exp[top])
    return {"weights ~": np.array([weights[k] for k in range(8)]), "shape": np.array([*temp.shape, *mask.shape]), "top": top}  # fmt: skip


PROGRAMS: dict[str, tuple[Any, str]] = {
    "captum_toy": (captum_toy, "captum.attr"),
    "shap_deep": (shap_deep, "shap"),
    "shap_gradient": (shap_gradient, "shap"),
    "shap_kernel": (shap_kernel, "shap"),
    "shap_linear": (shap_linear, "shap"),
    "lime_iris": (lime_iris, "lime"),
    "lime_words": (lime_words, "lime"),
    "lime_picture": (lime_picture, "lime"),
}


def _shorten(a: Any) -> Any:
    """Seven digits of each number, in lists."""
    return [_shorten(one) for one in a] if np.ndim(a) else float(f"{a:.7g}")


def package(module: str) -> ModuleType:
    """The package, original or layer, with those modules that its programs reach through it."""
    for part in ("lime_tabular", "lime_text", "lime_image") if module.endswith("lime") else ():
        import_module(f"{module}.{part}")
    return import_module(module)


def run_original(name: str) -> dict[str, Any]:
    """The mean and the spread of runs with the original package, as lists, and its version."""
    from importlib.metadata import version

    program, module = PROGRAMS[name]
    original = package(module)
    runs = []
    for seed in range(REPEATS):
        np.random.seed(seed)  # noqa: NPY002  # the one that these packages draw from
        if module != "lime":
            import torch

            torch.manual_seed(seed)
        runs.append(program(original))
        if not any(key.endswith("~") for key in runs[0]):
            break
    numbers = {}
    for key in runs[0]:
        each = np.array([np.asarray(one[key], dtype=float) for one in runs if key in one])
        numbers[key] = {"mean": _shorten(each.mean(axis=0))}
        if key.endswith("~"):
            numbers[key]["spread"] = _shorten(each.std(axis=0, ddof=1))
    return {"version": f"{module.split('.')[0]} {version(module.split('.')[0])}", "numbers": numbers}


if __name__ == "__main__" and "--write" in sys.argv:
    warnings.simplefilter("ignore")
    STORED.write_text(json.dumps({name: run_original(name) for name in PROGRAMS}, indent=None) + "\n", encoding="utf-8")
