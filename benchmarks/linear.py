"""CPU time of attributions of linear and additive models, beside shap and beside the model's own predict. Prints a Markdown table.

Usage: python benchmarks/linear.py [--repeats 3]    # a minute; needs shap and interpret-core

Every model is fitted on 5,000 rows; the background has 500. The smallest of the repeats counts. "The call" is all that a user calls: reading the model, encoding,
attributions, the model's own predict for every row, and the checks. "Attributions alone" leaves out predict and checks, which no other library makes.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import whybox as wb
from whybox.data.table import as_table
from whybox.explainers import AdditiveShap, LinearShap
from whybox.methods.shap.compute import KernelRunner


def data(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated normal columns, and a target with a product in it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    return X, X[:, :5].sum(axis=1) + X[:, 0] * X[:, 1] + rng.normal(size=n)


def cpu(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The smallest CPU seconds of a call, and its result."""
    taken, out = [], None
    for _ in range(repeats):
        began = time.process_time()
        out = call()
        taken.append(time.process_time() - began)
    return min(taken), out


def alone(explainer: Any, X: np.ndarray) -> Callable[[], np.ndarray]:
    """Encoding and attributions of an explainer, without predict and checks."""
    compiled = explainer._compiled_problem(explainer.model.inputs.names)  # noqa: SLF001  # what its calls keep
    compiled.problem.model.inputs.matrix(explainer.model.inputs.align_table(as_table(X[:1]))[0])

    def run() -> np.ndarray:
        encoded = explainer.model.inputs.matrix(explainer.model.inputs.align_table(as_table(X))[0])
        out = np.zeros((len(X), X.shape[1], len(compiled.problem.selection.names)))
        KernelRunner(compiled, len(X)).write_values(encoded, out, what="")
        return out

    return run


def show(workload: str, lines: dict[str, tuple[float, Any]], rows: int) -> None:
    """Print the lines of a workload: microseconds a row, and the difference to the first."""
    ours, first = next(iter(lines.values()))
    for who, (seconds, values) in lines.items():
        differs = ""
        if values is not None and values is not first:
            apart = np.asarray(values).reshape(rows, -1) - np.asarray(first).reshape(rows, -1)
            differs = f"{np.abs(apart).max() / np.abs(first).max():.0e}"
        print(
            f"| {workload} | {who} | {rows:,} | {seconds / rows * 1e6:.2f} us | {seconds / ours:.2g} | {differs} |",
            flush=True,
        )
        workload = ""


def linear(columns: int, method: str, repeats: int) -> None:
    """Logistic regression by one of the two methods."""
    import shap
    from sklearn.linear_model import LogisticRegression

    X, y = data(100_000, columns)
    model = LogisticRegression(max_iter=1000).fit(X[:5000], y[:5000] > 0)
    B = X[:500]
    masker = shap.maskers.Independent(B, max_samples=len(B))
    lines = {
        "**whybox**, the call": cpu(lambda: wb.explain(model, X, B, method).values, repeats),
        "whybox, attributions alone": cpu(alone(LinearShap(model, B, method=method), X), repeats),
        "the model's own predict_proba": (cpu(lambda: model.predict_proba(X), repeats)[0], None),
    }
    peers: dict[str, Callable[[], Any]] = {
        "shap.LinearExplainer.shap_values": lambda: shap.LinearExplainer(model, masker).shap_values(X),
        "shap.LinearExplainer, called": lambda: shap.LinearExplainer(model, masker)(X).values,
    }
    if method == "linear_shap_correlated":
        options = {"feature_perturbation": "correlation_dependent"}
        peers = {
            "shap.LinearExplainer, correlation_dependent, 1,000 orders": lambda: shap.LinearExplainer(
                model, B, **options
            ).shap_values(X)
        }
    lines |= {who: cpu(call, repeats) for who, call in peers.items()}
    show(f"LogisticRegression, {columns} columns, {method}", lines, len(X))


def additive(repeats: int) -> None:
    """An explainable boosting machine with pairs."""
    from interpret.glassbox import ExplainableBoostingClassifier

    X, y = data(100_000, 20)
    model = ExplainableBoostingClassifier(interactions=10, outer_bags=2, max_rounds=300, n_jobs=1).fit(
        X[:5000], y[:5000] > 0
    )
    B = X[:500]
    lines = {
        "**whybox**, the call": cpu(lambda: wb.explain(model, X, B).values, repeats),
        "whybox, attributions alone": cpu(alone(AdditiveShap(model, B), X), repeats),
        "the model's own predict_proba": (cpu(lambda: model.predict_proba(X), repeats)[0], None),
        "interpret, eval_terms": (cpu(lambda: model.eval_terms(X), repeats)[0], None),
    }
    show("ExplainableBoostingClassifier, 20 columns, 10 pairs", lines, len(X))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    names = ("whybox", "scikit-learn", "shap", "interpret-core", "numpy")
    print(", ".join(f"{name} {version(name)}" for name in names), end="\n\n")
    print(
        "| workload | who | rows | a row, CPU | of whybox's call | differs by |\n| --- | --- | --- | --- | --- | --- |"
    )
    linear(30, "linear_shap", repeats)
    linear(12, "linear_shap_correlated", repeats)
    additive(repeats)


if __name__ == "__main__":
    main()
