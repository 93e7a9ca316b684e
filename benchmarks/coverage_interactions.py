"""Coverage of interactions over a sample of rows: size and H squared of two features."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

import whybox as wb
from coverage_laws import LAWS, WEIGHTINGS, Law, covered, draw, model, table

SIZES = (30, 100, 300)
TITLES = {"size": "Size of the interaction of x0 and x1", "h squared": "H squared of x0 and x1"}


def cells():
    """Law, weighting and number of rows drawn."""
    return [(law, w, n) for law in LAWS for w in WEIGHTINGS for n in SIZES]


@lru_cache
def truths(name):
    """Size and H squared of a law."""
    return Law.of(name).strength()


def measure(cell, replications):
    """Count what covers."""
    name, weighting, n = cell
    rng = np.random.default_rng(zlib.crc32(repr(cell).encode()))
    size, ratio = truths(name)
    counts = {quantity: np.zeros(3) for quantity in (*TITLES, "noted")}
    for seed in range(replications):
        X, w = draw(name, weighting, 2 * n, rng)
        e = wb.interactions(model, X, [0, 1], sample=n, seed=seed, sample_weight=w)
        low, high = e.interval
        counts["size"] += covered(size, low[0, 1], high[0, 1], e.values[0, 1], e.std_error[0, 1])
        h, error, bounds = (e.extras[f"h_squared{tag}"][1][0, 1] for tag in ("", "_std_error", "_interval"))
        counts["h squared"] += covered(ratio, *bounds, h, error)
        noted = any("A few rows make up" in note for note in e.evidence.notes)
        counts["noted"] += [noted, noted, 1]
    return {quantity: c.tolist() for quantity, c in counts.items()}


def tables(found):
    """All tables as Markdown."""
    titles = {**TITLES, "noted": "How often a note says that a few rows make up the interaction"}
    return "\n".join(
        table(title, {cell: c[quantity] for cell, c in found.items()}, WEIGHTINGS, SIZES)
        for quantity, title in titles.items()
    )
