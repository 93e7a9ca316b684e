"""How often `wb.regions` splits a model of noise, and how often it finds a split that was planted. Prints two Markdown tables.

Usage: python benchmarks/regions.py [--seeds 40]    # about ten minutes on one core

Noise: five normal features and a normal target that depends on none of them. Planted: the effect of x0 depends on other features as the formula says; the model
is fitted to the formula with and without normal noise of standard deviation 1 in the target. "Found": the regions are made of exactly the features of the
formula; "other": a region is made of a feature that is not in it.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

import whybox as wb

LEARNERS = {
    "HistGradientBoosting": lambda: HistGradientBoostingRegressor(random_state=0),
    "HistGradientBoosting, depth 3": lambda: HistGradientBoostingRegressor(max_depth=3, random_state=0),
    "RandomForest, 50 trees": lambda: RandomForestRegressor(50, random_state=0),
}
# formula, the features that decide how x0 acts
PLANTED = {
    "3 x0 sign(x1)": (lambda x: 3 * x[:, 0] * np.sign(x[:, 1]), {"x1"}),
    "x0 x1": (lambda x: x[:, 0] * x[:, 1], {"x1"}),
    "3 x0 + 2 x0 [x1 > 0]": (lambda x: 3 * x[:, 0] + 2 * x[:, 0] * (x[:, 1] > 0), {"x1"}),
    "2 x0 + x0 x1 / 2": (lambda x: 2 * x[:, 0] + 0.5 * x[:, 0] * x[:, 1], {"x1"}),
    "x0 [x1 > 0 and x2 > 0]": (lambda x: x[:, 0] * ((x[:, 1] > 0) & (x[:, 2] > 0)), {"x1", "x2"}),
    "x0 sign(x1 x2)": (lambda x: x[:, 0] * np.sign(x[:, 1] * x[:, 2]), {"x1", "x2"}),
    "x0 (x1 + x2)": (lambda x: x[:, 0] * (x[:, 1] + x[:, 2]), {"x1", "x2"}),
    "sin(2 x0) + x1^2 + x2": (lambda x: np.sin(2 * x[:, 0]) + x[:, 1] ** 2 + x[:, 2], set()),
}


def conditions(model, x):
    """The features that the regions of x0 are made of."""
    names = list(wb.regions(model, x, 0))[1:]
    return {rule.split(" ")[0] for name in names for rule in name.split(" and ")}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    seeds = parser.parse_args().seeds
    print(f"| model of noise, {seeds} seeds | 200 rows | 500 rows | 2,000 rows |\n|---|---|---|---|")
    for name, learner in LEARNERS.items():
        cells = []
        for n in (200, 500, 2000):
            split = 0
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                x, y = rng.normal(size=(n, 5)), rng.normal(size=n)
                split += bool(conditions(learner().fit(x, y), x))
            cells.append(f"{split} split")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print(f"\n| planted, 500 rows, {seeds} seeds | decides | without noise: found, other | with noise: found, other |")
    print("|---|---|---|---|")
    for name, (formula, right) in PLANTED.items():
        cells = []
        for noise in (0.0, 1.0):
            found = other = 0
            for seed in range(seeds):
                rng = np.random.default_rng(seed)
                x = rng.normal(size=(500, 5))
                y = formula(x) + noise * rng.normal(size=500)
                named = conditions(HistGradientBoostingRegressor(random_state=0).fit(x, y), x)
                found += named == right
                other += bool(named - right)
            cells.append(f"{found}, {other}")
        print(f"| `{name}` | {', '.join(sorted(right)) or 'nothing'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
