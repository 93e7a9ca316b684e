"""Laws of rows for the measurement of coverage, with integrals over them.

Three features are made of three normal numbers z0, z1, z2, of which z0 and z1 have correlation 0.5. The model is ``g(x0) (1 + x1) + x1 x2 / 2``; missing values
count as -1 in g and as 0 elsewhere. With weights that depend on the rows, those with a large z1 are drawn too often, and the weights undo that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

RHO, TILT = 0.5, 0.7
LEVELS = {"a": -1.0, "b": 0.0, "c": 1.0, "d": 2.0, "e": 4.0}
CUTS = norm.ppf(np.cumsum([0.40, 0.30, 0.15, 0.10]))
LAWS = ("normal", "lognormal", "ties", "categories", "missing values")
WEIGHTINGS = ("none", "independent", "by rows")
X0_MISSING, X1_MISSING = 0.15, 0.10


def first(law, z):
    """x0 as a number: of a category, what the model makes of it."""
    if law == "lognormal":
        return np.exp(z)
    if law == "ties":
        return np.round(1.2 * z)
    if law == "categories":
        return np.array(list(LEVELS.values()))[np.searchsorted(CUTS, z)]
    return z


def others(law, z):
    """x1 or x2."""
    return np.exp(z) if law == "lognormal" else np.round(z) if law == "ties" else z


def draw(law, weighting, n, rng):
    """Return rows and their weights (None: equal)."""
    z = rng.normal(size=(n, 3))
    z[:, 1] = RHO * z[:, 0] + np.sqrt(1 - RHO**2) * z[:, 1]
    weights = rng.exponential(size=n) + 0.2 if weighting == "independent" else None
    if weighting == "by rows":
        z += TILT * np.array([RHO, 1.0, 0.0])
        weights = np.exp(-TILT * z[:, 1])
    X = np.column_stack([first(law, z[:, 0]), others(law, z[:, 1]), others(law, z[:, 2])])
    if law == "missing values":
        X[rng.random(n) < X0_MISSING, 0] = np.nan
        X[rng.random(n) < X1_MISSING, 1] = np.nan
    if law == "categories":
        words = np.array(list(LEVELS), dtype=object)[np.searchsorted(CUTS, z[:, 0])]
        return pd.DataFrame({"x0": words, "x1": X[:, 1], "x2": X[:, 2]}), weights
    return X, weights


def effect_of_first(x0):
    """g of numbers, or of categories."""
    return np.where(np.isnan(x0), -1.0, x0)


def model(rows):
    """The model that is explained."""
    if isinstance(rows, pd.DataFrame):
        return (
            rows["x0"].map(LEVELS).to_numpy() * (1 + rows["x1"].to_numpy()) + (rows["x1"] * rows["x2"]).to_numpy() / 2
        )
    x1 = np.nan_to_num(rows[:, 1])
    return effect_of_first(rows[:, 0]) * (1 + x1) + x1 * rows[:, 2] / 2


@dataclass(frozen=True)
class Law:
    """Integrals over a law, on a fine grid of z0 and z1.

    ``x0`` (nodes,) increases; ``p`` is its mass, ``x1`` the mean of x1 given z0. ``mean_1``, ``mean_2``: of x1 and x2.
    """

    name: str
    x0: np.ndarray
    p: np.ndarray
    x1: np.ndarray
    mean_1: float
    mean_2: float

    @classmethod
    def of(cls, name):
        """Integrate."""
        z = np.linspace(-9.0, 9.0, 36_001)
        p = norm.pdf(z)
        p = p / p.sum()
        rest = np.linspace(-9.0, 9.0, 2_001)
        q = norm.pdf(rest)
        q = q / q.sum()
        coarse = z[::40]
        given = np.array([q @ others(name, RHO * a + np.sqrt(1 - RHO**2) * rest) for a in coarse])
        x1 = np.interp(z, coarse, given)
        mean = float(p @ others(name, z))
        share = 1 - X1_MISSING if name == "missing values" else 1.0
        return cls(name, first(name, z), p, share * x1, share * mean, mean)

    def strength(self):
        """Size and H squared of x0 and x1: of ``(g - E g)(x1 - E x1)`` against ``g (1 + x1) + x1 E x2 / 2``."""
        z = np.linspace(-8.0, 10.0, 3_001)
        a, b = np.meshgrid(z, z, indexing="ij")
        p = np.exp(-(a**2 - 2 * RHO * a * b + b**2) / (2 * (1 - RHO**2)))
        p = p / p.sum()
        g, x1 = first(self.name, a), others(self.name, b)
        states = [(1.0, g, x1)]
        if self.name == "missing values":
            states = [
                (s * t, u, v)
                for s, u in ((1 - X0_MISSING, g), (X0_MISSING, np.full_like(g, -1.0)))
                for t, v in ((1 - X1_MISSING, x1), (X1_MISSING, np.zeros_like(x1)))
            ]

        def mean(function):
            return sum(s * float((p * function(u, v)).sum()) for s, u, v in states)

        mean_g, mean_x = mean(lambda u, v: u), mean(lambda u, v: v)
        parts = (
            lambda u, v: (u - mean_g) * (v - mean_x),
            lambda u, v: u * (1 + v) + v * self.mean_2 / 2,
        )
        both, whole = (mean(lambda u, v, f=f: f(u, v) ** 2) - mean(f) ** 2 for f in parts)
        return float(np.sqrt(both)), float(both / whole)


def covered(truth, low, high, value, error):
    """Count intervals that hold the truth, those of 1.96 standard errors, and all that there are."""
    truth, low, high, value, error = (
        np.atleast_1d(np.asarray(a, dtype=float)) for a in (truth, low, high, value, error)
    )
    known = np.isfinite(error) & np.isfinite(truth)
    slack = 1e-9 * (1 + np.abs(truth))
    inside = (low - slack <= truth) & (truth <= high + slack)
    plain = np.abs(value - truth) <= 1.96 * error + slack
    return np.array([inside[known].sum(), plain[known].sum(), known.sum()])


def table(title, counts, rows, sizes):
    """A Markdown table of one quantity: a line a law and weighting, a column a number of rows."""
    head = ["law", "weights", *(f"{n:,} rows" for n in sizes)]
    lines = [f"**{title}**", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for law in LAWS:
        for w in rows:
            cells = []
            for n in sizes:
                inside, plain, asked = counts.get((law, w, n), (0, 0, 0))
                cells.append(f"{100 * inside / asked:.1f} ({100 * plain / asked:.0f})" if asked else "-")
            lines.append(f"| {law if w == rows[0] else ''} | {w} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])
