"""Coverage of sampled Shapley values: fresh rows and backgrounds are drawn, and the truth is every coalition over the whole background."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

import whybox as wb
from coverage_laws import covered

FEATURES, ROWS = 9, 12
WEIGHTINGS = ("none", "by rows")
BUDGETS = (1_000, 4_000, 16_000)
SETTINGS = ("12 rows, 25 background rows", "12 rows, 300", "12 rows, 300, weighted", "1 row, 300")
TITLE = "Sampled Shapley values of nine features, by predictions allowed a row"


def pairs(x):
    """Products of two features."""
    return x[:, :FEATURES] @ np.linspace(1, 2, FEATURES) / 3 + x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] - x[:, 4] * x[:, 0]


def saturated(x):
    """A probability that is nearly 0 or 1."""
    return 1 / (1 + np.exp(-3 * (x @ np.linspace(-1, 1.5, FEATURES) + x[:, 0] * x[:, 8])))


def steps(x):
    """Products of thresholds, as of trees."""
    above = x > 0.3
    return (
        above @ np.linspace(0.2, 1, FEATURES)
        + 3.0 * (above[:, 0] & above[:, 1] & above[:, 2])
        - 2.0 * (above[:, 7] & ~above[:, 8])
    )


def rare(x):
    """What only three background rows of a hundred show."""
    return x @ np.linspace(1, 2, FEATURES) / 3 + 8.0 * (x[:, 0] > 1.9) * (1 + x[:, 1]) / 2


def heavy(x):
    """The exponential of a sum."""
    return np.exp(x @ np.linspace(0.2, 0.5, FEATURES))


MODELS = {
    "products of two": pairs,
    "saturated probability": saturated,
    "products of steps": steps,
    "a rare jump": rare,
    "exponential of a sum": heavy,
}


def cells():
    """Model, setting and predictions a row."""
    return [(name, setting, budget) for name in MODELS for setting in SETTINGS for budget in BUDGETS]


@lru_cache
def masks():
    """Every coalition, (512, features), and what a worth counts for each player, (512, features)."""
    every = (np.arange(2**FEATURES)[:, None] >> np.arange(FEATURES)) & 1
    size = every.sum(axis=1)
    factorial = np.cumprod([1, *range(1, FEATURES + 1)]).astype(float)
    of_size = (
        factorial[np.maximum(size - 1, 0)] * factorial[np.minimum(FEATURES - size, FEATURES)] / factorial[FEATURES]
    )
    without = factorial[size] * factorial[np.maximum(FEATURES - size - 1, 0)] / factorial[FEATURES]
    return every.astype(bool), np.where(every, of_size[:, None], -without[:, None])


def truth(model, rows, background, weights):
    """Shapley values over the whole background, (rows, features)."""
    present, counts = masks()
    out = np.empty(rows.shape)
    for i, row in enumerate(rows):
        worths = [weights @ model(np.where(s, row, background)) for s in present]
        out[i] = np.array(worths) @ counts
    return out


def measure(cell, replications):
    """Count what covers."""
    name, setting, budget = cell
    rng, model = np.random.default_rng(zlib.crc32(repr(cell).encode())), MODELS[name]
    counts = np.zeros(3)
    n, size = (1 if setting.startswith("1 row") else ROWS), (25 if "25" in setting else 300)
    for seed in range(replications * ROWS // n):
        rows, background = rng.normal(size=(n, FEATURES)), rng.normal(size=(size, FEATURES))
        weights = rng.exponential(size=size) + 0.2 if "weighted" in setting else None
        # a function of rows of which nothing can be read, and no surrogate of exactly these models but for what it learns
        e = wb.explain(
            lambda table: model(np.asarray(table)),
            rows,
            background,
            method="sampled_shap",
            background_weight=weights,
            max_evals=budget * n,
            tol=1e-9,
            seed=seed,
            spot_checks=0,
        )
        share = np.full(size, 1 / size) if weights is None else weights / weights.sum()
        low, high = e.interval
        counts += covered(truth(model, rows, background, share), low, high, e.values, e.std_error)
    return counts.tolist()


def tables(found):
    """All tables as Markdown."""
    head = [f"{b:,}" for b in BUDGETS]
    lines = [f"**{TITLE}**", "", "| model | rows | " + " | ".join(head) + " |", "|---" * (2 + len(head)) + "|"]
    for name in MODELS:
        for setting in SETTINGS:
            shown = []
            for budget in BUDGETS:
                inside, _, asked = found.get((name, setting, budget), (0, 0, 0))
                shown.append(f"{100 * inside / asked:.1f}" if asked else "-")
            lines.append(f"| {name} | {setting} | " + " | ".join(shown) + " |")
    return "\n".join([*lines, ""])
