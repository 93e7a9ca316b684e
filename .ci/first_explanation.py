"""The first explanation after an installation: exact values of a small forest, compared with brute force over all coalitions.

Run by ``.ci/wheel`` and for each wheel by cibuildwheel; needs nothing but whybox and what it depends on.
"""

from __future__ import annotations

from importlib.metadata import version
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestRegressor

import whybox as wb


def brute_force(model: RandomForestRegressor, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return the interventional Shapley values of one row, from the definition."""
    d = len(row)

    def worth(present: tuple[int, ...]) -> float:
        rows = background.copy()
        rows[:, present] = row[list(present)]
        return float(model.predict(rows).mean())

    values = np.zeros(d)
    for i in range(d):
        others = [j for j in range(d) if j != i]
        for size in range(d):
            for present in combinations(others, size):
                values[i] += (worth((*present, i)) - worth(present)) / (d * comb(d - 1, size))
    return values


def main() -> None:
    """Explain three rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    model = RandomForestRegressor(10, max_depth=4, random_state=0).fit(X, X[:, 0] * X[:, 1] + X[:, 2])
    explanation = wb.explain(model, X[:3], background=X[50:70])
    for row, values in zip(X[:3], np.asarray(explanation.values), strict=True):
        np.testing.assert_allclose(values, brute_force(model, row, X[50:70]), atol=1e-9)
    assert wb.__version__ == version("whybox")
    print(f"whybox {wb.__version__} of {Path(wb.__file__).parent}: exact")


if __name__ == "__main__":
    main()
