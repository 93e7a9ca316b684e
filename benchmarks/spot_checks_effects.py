"""What the spot checks of effects cost: processor time of the same call without them and with them, as a table.

python benchmarks/spot_checks_effects.py            # 1,000 and 20,000 rows, about a minute
python benchmarks/spot_checks_effects.py --rows 1000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xgboost as xgb

import whybox as wb

FEATURES = 20


def processor_seconds(call: Callable[[], Any], repeats: int) -> float:
    """The least processor time of several calls."""
    best = np.inf
    for _ in range(repeats):
        began = time.process_time()
        call()
        best = min(best, time.process_time() - began)
    return best


def booster(rng: np.random.Generator) -> xgb.XGBRegressor:
    """A hundred trees of depth 6."""
    X = rng.normal(size=(5000, FEATURES))
    y = X[:, 0] * X[:, 1] + X[:, 2] ** 2 + rng.normal(size=len(X))
    return xgb.XGBRegressor(n_estimators=100, max_depth=6, n_jobs=1).fit(X, y)


def black_box(rows: np.ndarray) -> np.ndarray:
    """A cheap function of rows."""
    return rows[:, 0] * rows[:, 1] + np.sin(rows[:, 2])


def calls(model: Any, X: np.ndarray) -> dict[str, Callable[..., Any]]:
    """What is measured, each taking `spot_checks`."""
    n = len(X)
    out: dict[str, Callable[..., Any]] = {
        f"effects, pdp, trees, n = {n:,}": partial(wb.effects, model, X, n_jobs=1),
        f"effects, ale, trees, n = {n:,}": partial(wb.effects, model, X, kind="ale", n_jobs=1),
        f"effects, anova, trees, n = {n:,}": partial(wb.effects, model, X, kind="anova", n_jobs=1),
        f"interactions, trees, n = {n:,}": partial(wb.interactions, model, X, n_jobs=1),
        f"regions, trees, n = {n:,}": partial(wb.regions, model, X, 0, n_jobs=1),
    }
    if n <= 1000:
        out |= {
            f"effects, ice, trees, n = {n:,}": partial(wb.effects, model, X, kind="ice", n_jobs=1),
            f"effects, pdp, black box, n = {n:,}": partial(wb.effects, black_box, X, [0, 1, 2]),
            "interactions, black box, n = 100": partial(wb.interactions, black_box, X[:100], [0, 1, 2]),
        }
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 20_000])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    model = booster(rng)
    print("| call | CPU s without | CPU s with | more | numbers recomputed | predictions |")
    print("|---|---|---|---|---|---|")
    for n in options.rows:
        for name, call in calls(model, rng.normal(size=(n, FEATURES))).items():
            answer = call()
            e = answer if hasattr(answer, "evidence") else answer[0]
            checks = e.evidence.spot_checks
            without = processor_seconds(partial(call, spot_checks=0), options.repeats)
            with_checks = processor_seconds(call, options.repeats)
            print(
                f"| {name} | {without:.3f} | {with_checks:.3f} | {100 * (with_checks / without - 1):+.0f} % | {checks.numbers:,} | {checks.predictions:,} |"
            )


if __name__ == "__main__":
    main()
