"""CPU time beside the model's own: 1,000 rows of a logistic regression of 30 features, asked as a function. A part of shap_any_model.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

import whybox as wb
from shap_any_model_cases import Floats

ROWS, D, BACKGROUND = 1000, 30, 500
EQUAL_BACKGROUND = 22  # with one permutation: about 2,000 model rows a row
DEFAULT_EVALS = 2_000
REPEATS = 3


class Timed:
    """A function that knows how many rows it predicted and how much CPU time that took."""

    def __init__(self, predict: Callable[[Any], Floats]) -> None:
        self.model, self.rows, self.seconds = predict, 0, 0.0

    def __call__(self, X: Any) -> Floats:
        began = time.process_time()
        answer = self.model(X)
        self.seconds += time.process_time() - began
        self.rows += len(X)
        return answer


def shap_package() -> Any:
    """Shap, which looks for a module lime that this folder must not answer."""
    here = Path(__file__).resolve().parent
    kept = list(sys.path)
    sys.path[:] = [p for p in sys.path if Path(p or ".").resolve() != here]
    try:
        import shap
    finally:
        sys.path[:] = kept
    return shap


def overhead(options: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Library, setting, and per row: CPU ms beside the model, CPU ms of the model, and model rows."""
    X, y = make_classification(3000, D, n_informative=12, random_state=0)
    model = LogisticRegression(max_iter=1000).fit(X[:1500], y[:1500])
    background, rows = X[1500 : 1500 + BACKGROUND], X[2000:]
    shap = shap_package()

    def permutation(f: Timed, donors: Floats, evals: Any) -> None:
        masker = shap.maskers.Independent(donors, max_samples=100)
        shap.PermutationExplainer(f, masker, seed=0)(rows, max_evals=evals, silent=True)

    def sampled(f: Timed, donors: Floats, **more: Any) -> None:
        wb.explain(f, rows, donors, method="sampled_shap", seed=0, **more, **options)

    runs: dict[tuple[str, str], Callable[[Timed], None]] = {
        ("whybox", "default"): lambda f: sampled(f, background),
        ("shap.Permutation", "default"): lambda f: permutation(f, background, "auto"),
        ("whybox", "equal"): lambda f: sampled(
            f, background[:EQUAL_BACKGROUND], max_evals=DEFAULT_EVALS * ROWS, tol=1e-9
        ),
        ("shap.Permutation", "equal"): lambda f: permutation(f, background[:EQUAL_BACKGROUND], 2 * D + 1),
    }
    for (library, setting), explain in runs.items():
        beside, inside, predicted = [], [], 0
        for _ in range(REPEATS if setting == "equal" or library == "whybox" else 1):
            f = Timed(lambda table: model.predict_proba(table)[:, 1])
            began = time.process_time()
            explain(f)
            beside.append(1e3 * (time.process_time() - began - f.seconds) / ROWS)
            inside.append(1e3 * f.seconds / ROWS)
            predicted = f.rows // ROWS
        yield (
            library,
            setting,
            {"beside_ms": float(np.median(beside)), "model_ms": float(np.median(inside)), "model_rows": predicted},
        )
