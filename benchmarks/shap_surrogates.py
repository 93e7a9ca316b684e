"""What surrogates of a model leave of its variance, and what they cost: the numbers in shap_surrogates.md.

    python benchmarks/shap_surrogates.py [--hybrids 2000 24000] [--rows 60]

Rows of a hybrid and its background rows come from the data; a coalition's size is as likely as any other. `left` is the share of the variance among a row's hybrids
that is left by a surrogate fitted to the hybrids of other rows (three folds). Times are CPU seconds on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from whybox.games.indices import SHAPLEY
from whybox.methods.common.surrogates.folds import FAMILIES, fit_folds
from whybox.methods.common.surrogates.store import HybridStore

BACKGROUND = 100
TIMED_BACKGROUND = 500

Predict = Callable[[Any], Any]


def models() -> Iterator[tuple[str, Predict, Any]]:
    """Name, function of rows, and data of each model."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 12))
    y = (
        np.tanh(3 * X[:, 0] * X[:, 1] + 2 * X[:, 2])
        + np.sin(2 * X[:, 3]) * X[:, 4]
        + X[:, 5] / 2
        + (X[:, 6] > 0) * X[:, 7]
    )
    mlp = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=300, random_state=0)
    yield "mlp 12", mlp.fit(X, y).predict, X
    X, y = load_wine(return_X_y=True)
    yield "svr 13 (wine)", make_pipeline(StandardScaler(), SVR(C=10)).fit(X, y).predict, X
    X = rng.normal(size=(2000, 20))
    y = X[:, 0] * X[:, 1] + np.sin(3 * X[:, 2]) + X[:, 3] ** 2 + X[:, 4] * X[:, 5] * X[:, 6] + X[:, 7:12].sum(axis=1)
    yield (
        "boosted trees 20",
        GradientBoostingRegressor(n_estimators=200, max_depth=4, random_state=0).fit(X, y).predict,
        X,
    )
    X, y = load_breast_cancer(return_X_y=True)
    forest = RandomForestClassifier(100, random_state=0).fit(X, y)
    yield "forest 30 (breast cancer)", lambda rows: forest.predict_proba(rows)[:, 1], X
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    yield "logistic 30 (breast cancer)", lambda rows: logistic.predict_proba(rows)[:, 1], X
    X, y = load_diabetes(return_X_y=True)
    yield "neighbours 10 (diabetes)", make_pipeline(StandardScaler(), KNeighborsRegressor(10)).fit(X, y).predict, X


def hybrids(X: Any, n_rows: int, n_hybrids: int) -> tuple[Any, Any, Any, Any]:
    """Hybrids, the row of each, the rows, and the background."""
    rng = np.random.default_rng(1)
    order = rng.permutation(len(X))
    rows, background = X[order[:n_rows]], X[order[-BACKGROUND:]]
    row, donor = np.arange(n_hybrids) % n_rows, rng.integers(0, BACKGROUND, n_hybrids)
    inside = rng.random((n_hybrids, X.shape[1])) < rng.random((n_hybrids, 1))
    return np.where(inside, rows[row], background[donor]), row, rows, background


def cpu(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and its CPU seconds."""
    start = time.process_time()
    return call(), time.process_time() - start


def main() -> None:
    """Print a table for each number of hybrids."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hybrids", type=int, nargs="+", default=[3000, 36000])
    parser.add_argument("--rows", type=int, default=60)
    args = parser.parse_args()
    for n in args.hybrids:
        print(
            f"\n{n:,} hybrids of {args.rows} rows, three folds; exact values against {TIMED_BACKGROUND} background rows\n"
        )
        print("| model |", " | ".join(f"{family}: left | fit | value" for family in FAMILIES), "|")
        print("|---|" + "---|" * 3 * len(FAMILIES))
        for name, predict, X in models():
            cells, row, rows, background = hybrids(X, args.rows, n)
            d = X.shape[1]
            store = HybridStore(d, 1)
            store.append(cells, np.asarray(predict(cells)).reshape(-1, 1), row)
            many = np.tile(background, (TIMED_BACKGROUND // BACKGROUND, 1))
            weights, players = np.full(len(many), 1 / len(many)), np.arange(d, dtype=np.int32)
            line = [name]
            for family in FAMILIES:
                folds, fit = cpu(lambda: fit_folds(store, rows, np.zeros(d, dtype=bool), family=family))  # noqa: B023
                _, values = cpu(lambda: folds.shapley_values(rows, many, weights, players, d, SHAPLEY))  # noqa: B023
                line += [f"{folds.left_share[0]:.2%}", f"{fit:.1f}", f"{1000 * values / len(rows):.1f}"]
            print("|", " | ".join(line), "|", flush=True)


if __name__ == "__main__":
    main()
