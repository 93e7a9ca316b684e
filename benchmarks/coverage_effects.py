"""Coverage of effects: partial dependence of one and two features, means by value, accumulated local effects."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np

import whybox as wb
from coverage_laws import LAWS, LEVELS, WEIGHTINGS, Law, covered, draw, effect_of_first, model, table

SIZES = (30, 100, 1000)
TITLES = {
    "pdp": "Partial dependence, at points of x0",
    "surface": "Partial dependence of two features, at points of x0 and x1",
    "marginal": 'Means by value (`kind="marginal"`, 7 points)',
    "ale ends": "Accumulated local effects, first and last point",
    "ale inner": "Accumulated local effects, points between",
}


def cells():
    """Law, weighting and number of rows."""
    return [(law, w, n) for law in LAWS for w in WEIGHTINGS for n in SIZES]


@lru_cache
def integrated(name):
    """The integrals over a law, with sums from below."""
    law = Law.of(name)
    mass, sums = (np.concatenate([[0.0], np.cumsum(a)]) for a in (law.p, law.p * law.x1))
    return law, mass, sums


def measure(cell, replications):
    """Count what covers."""
    name, weighting, n = cell
    rng = np.random.default_rng(zlib.crc32(repr(cell).encode()))
    counts = {quantity: np.zeros(3) for quantity in TITLES}
    points = list(LEVELS) if name == "categories" else [0.5, 1.0, 3.0] if name == "lognormal" else [-1.0, 0.0, 1.0]
    points = [*points, np.nan] if name == "missing values" else points
    for _ in range(replications):
        X, w = draw(name, weighting, n, rng)
        ask = {"sample_weight": w}
        e = wb.effects(model, X, 0, grid={0: points}, **ask)[0]
        counts["pdp"] += one(e, pdp(name, e.grid))
        e = wb.effects(model, X, [(0, 1)], grid={0: points, 1: [0.5, 2.0]}, **ask)[0]
        counts["surface"] += one(e, surface(name, e.coords["point"], e.coords["point_2"]))
        e = wb.effects(model, X, 0, "marginal", grid=7, **ask)[0]
        counts["marginal"] += one(e, marginal(name, e.grid))
        e = wb.effects(model, X, 0, "ale", **ask)[0]
        truth = ale(name, e.grid)
        for quantity, at in (("ale ends", [0, -1]), ("ale inner", slice(1, -1))):
            low, high = e.interval
            counts[quantity] += covered(truth[at], low[at], high[at], e.values[at], e.std_error[at])
    return {quantity: c.tolist() for quantity, c in counts.items()}


def one(e, truth):
    """Count over all points of a curve."""
    return covered(truth, *e.interval, e.values, e.std_error)


def numbers(name, points):
    """What the model makes of points of x0."""
    return np.array([LEVELS[p] for p in points]) if name == "categories" else effect_of_first(points.astype(float))


def pdp(name, points):
    """E f with x0 set."""
    law = integrated(name)[0]
    return numbers(name, points) * (1 + law.mean_1) + law.mean_1 * law.mean_2 / 2


def surface(name, points, others):
    """E f with x0 and x1 set: only x2 is left."""
    law = integrated(name)[0]
    return numbers(name, points)[:, None] * (1 + others) + others * law.mean_2 / 2


def marginal(name, points):
    """E f of the rows that are nearest to each point; those without a value have a point of their own."""
    law, mass, _ = integrated(name)
    f = law.p * (law.x0 * (1 + law.x1) + law.x1 * law.mean_2 / 2)
    sums = np.concatenate([[0.0], np.cumsum(f)])
    if name == "categories":
        at = [law.x0 == LEVELS[p] for p in points]
        return np.array([f[a].sum() / law.p[a].sum() for a in at])
    x = points[~np.isnan(points)]
    ends = np.searchsorted(law.x0, np.concatenate([[-np.inf], (x[1:] + x[:-1]) / 2, [np.inf]]), side="right")
    out = np.diff(sums[ends]) / np.diff(mass[ends])
    gone = -(1 + law.mean_1) + law.mean_1 * law.mean_2 / 2
    return out if len(x) == len(points) else np.append(out, gone)


def ale(name, points):
    """The accumulated curve at these edges or levels, centred over the law."""
    law, mass, sums = integrated(name)
    g = numbers(name, points)
    if name == "categories":
        at = [law.x0 == v for v in g]
        share = np.array([law.p[a].sum() for a in at])
        total = np.array([(law.p * law.x1)[a].sum() for a in at])
        mean = (total[1:] + total[:-1]) / (share[1:] + share[:-1])
        here = curve = np.concatenate([[0.0], np.cumsum(np.diff(g) * (1 + mean))])
    else:
        ends = np.searchsorted(law.x0, points, side="right")
        ends[0] = np.searchsorted(law.x0, points[0], side="left")
        share = np.diff(mass[ends])
        mean = np.divide(np.diff(sums[ends]), share, out=np.zeros(len(share)), where=share > 0)
        curve = np.concatenate([[0.0], np.cumsum(np.diff(g) * (1 + mean))])
        here = (curve[1:] + curve[:-1]) / 2
    return curve - share @ here / share.sum()


def tables(found):
    """All tables as Markdown."""
    return "\n".join(
        table(title, {cell: c[quantity] for cell, c in found.items()}, WEIGHTINGS, SIZES)
        for quantity, title in TITLES.items()
    )
