"""Make one saved file of every kind, and write down what is in it.

The files of format 1 beside this script were made once and stay as they are: every later version must read them. A later format gets files of its own,
under other names: ``python tests/saved/make.py FOLDER`` writes there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor

import whybox as wb
from whybox.explanation.effects import Effects

WORDS = "good words and bad words, so many of them that they are drawn and not enumerated"


def regression():
    """A small forest, and its rows with names and labels."""
    X, y = make_regression(60, 3, noise=1.0, random_state=0)
    rows = pd.DataFrame(X, columns=["age", "bmi", "bp"], index=[f"patient {i}" for i in range(len(X))])
    return RandomForestRegressor(2, max_depth=2, random_state=0).fit(rows, y), rows


def classes():
    """A small forest of three classes; its rows are an array."""
    X, y = make_classification(
        60, 4, n_informative=3, n_redundant=0, n_classes=3, n_clusters_per_class=1, random_state=0
    )
    return RandomForestClassifier(2, max_depth=2, random_state=0).fit(X, y), X


def mixed():
    """Numbers and categories, with a gap."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {"size": rng.normal(size=60), "colour": pd.Categorical(rng.choice(["red", "green", "blue"], 60))}
    )
    y = rows["size"] + (rows["colour"] == "red")
    rows.loc[3, "size"] = np.nan
    model = HistGradientBoostingRegressor(max_iter=2, max_leaf_nodes=4, categorical_features="from_dtype").fit(rows, y)
    return model, rows


def network():
    """A small convolutional network."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 2)
    ).eval()


def layers():
    """A small network of rows of features."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).eval()


class Tokens(torch.nn.Module):
    """Adds up what each token says."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = torch.nn.Embedding(8, 4), torch.nn.Linear(4, 2)

    def forward(self, ids):
        return self.head(self.embed(ids).tanh()).sum(1)


def everything():
    """Yield (name of the file, what is saved)."""
    model, rows = regression()
    several, X = classes()
    gaps, kinds = mixed()
    asked = lambda table: np.asarray(table, dtype=float)[:, 0] ** 2  # a function of rows, which no file keeps
    yield "attribution", wb.explain(model, rows[:3])
    yield "attribution_background", wb.explain(model, rows[:3], rows[:10], players={"body": ["bmi", "bp"]})
    yield "attribution_outputs", wb.explain(several, X[:3])
    yield "attribution_categories", wb.explain(gaps, kinds[2:5])
    yield "attribution_sparse", wb.explain(model, rows[:3], order=2, sparse=True)
    yield "interaction", wb.explain(model, rows[:2], order=2)
    yield "importance", wb.importance(model, rows[:20])
    yield "importance_impurity", wb.importance(several, method="impurity")
    truth, methods = 30 * rows["age"] + rows["bp"], ["permutation", "conditional", "impurity"]
    copied = rows.assign(bmi=rows["age"] + 0.01 * rows["bmi"])
    yield "agreement", wb.importance(model, copied, truth, method=methods, train=(rows, truth), role="train")
    yield "interaction_size", wb.interactions(model, rows[:20])
    yield "interaction_size_sampled", wb.interactions(lambda t: t["age"] * t["bmi"], rows, sample=20)
    yield "local", wb.lime(several, X[:3], X)
    yield (
        "local_widths",
        wb.lime(lambda t: t["age"] * t["bmi"], rows[:2], rows, kernel_width=[1, 2], max_evals=4_000, spot_checks=0),
    )
    yield (
        "local_texts",
        wb.lime(
            lambda texts: [t.count("good") - 0.5 * t.count("bad") for t in texts],
            ["A good, bad one; good", "bad", WORDS],
            max_evals=80,
        ),
    )
    yield "rule", wb.anchors(several, X[:3], X, spot_checks=0)
    yield "effect", wb.effects(model, rows[:20], ["age"], grid=4)["age"]
    yield "effect_outputs", wb.effects(several, X[:20], [0], grid=3)[0]
    yield "effects_ice", wb.effects(model, rows[:4], ["age", "bmi"], "ice", grid=3)
    yield "effects_ale", wb.effects(gaps, kinds, kind="ale", grid=3)
    yield "effects_surface", wb.effects(model, rows[:20], [("age", "bmi")], grid=2)
    yield "effects_function", wb.effects(asked, rows[:20], ["age"], grid=3)
    yield "effects_refits", wb.effects(model, rows[:20], ["age"], grid=3, refits=[model, model, model])
    yield "effects_regions", wb.regions(lambda t: t["age"] * np.sign(t["bmi"]), rows, "age", depth=1, grid=3)
    dated = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=20), "size": np.arange(20.0)})
    yield "effects_dates", wb.effects(lambda t: t["size"] + (t["day"] > "2024-01-10"), dated, ["day"], grid=3)
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(2, 1, 4, 4)).astype(np.float32)
    features = rng.normal(size=(3, 3)).astype(np.float32)
    yield "saliency", wb.saliency(network(), pictures, method="smoothgrad", samples=4)
    yield "saliency_paths", wb.saliency(network(), pictures, 1, method="integrated_gradients", steps=4)
    yield (
        "saliency_outputs",
        wb.saliency(layers(), pd.DataFrame(features, columns=["a", "b", "c"]), "all", method="gradient"),
    )
    wide = np.column_stack([X, X[::-1], X[:, ::-1] ** 2])
    product = lambda table: np.prod(1.0 + 0.2 * np.asarray(table, dtype=float), axis=1)
    yield "attribution_sampled", wb.explain(product, wide[:3], wide[:20], max_evals=1500)
    yield "saliency_table", wb.saliency(layers(), features, 0, method="shapley", samples=16)
    yield "saliency_tokens", wb.saliency(Tokens().eval(), np.array([[1, 2, 3], [4, 5, 6]]), 0, embedding="embed")


def written(e):
    """What is in an explanation, as plain data; floats in full."""
    return {
        "kind": e.kind,
        "dims": list(e.dims),
        "units": e.units,
        "players": {name: list(columns) for name, columns in e.players.items()},
        "coords": {dim: [str(v) for v in e.coords[dim].tolist()] for dim in e.dims},
        **{
            name: None if of is None else [float(v).hex() for v in np.ravel(of)]
            for name, of in (
                ("values", e.values),
                ("base", e.base),
                ("prediction", e.prediction),
                ("std_error", e.std_error),
            )
        },
        "extras": {name: [list(dims), [str(v) for v in np.ravel(of)]] for name, (dims, of) in e.extras.items()},
        "data": None if e.data is None else [[str(v) for v in e.data.column(i).objects()] for i in range(e.data.width)],
        "evidence": json.loads(json.dumps(e.evidence.to_dict())),
    }


def contents(found):
    """What a file holds: a list of explanations with their names, one of no name where it is an explanation itself."""
    pairs = list(found.items()) if isinstance(found, Effects) else [("", found)]
    return [[list(name) if isinstance(name, tuple) else name, written(e)] for name, e in pairs]


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    known = {}
    for name, found in everything():
        found.save(folder / f"{name}.whybox")
        known[name] = contents(found)
    (folder / "contents.json").write_text(json.dumps(known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
