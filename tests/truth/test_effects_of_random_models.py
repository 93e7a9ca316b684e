"""Effects and interactions of random tree ensembles, as they are asked for, against predictions of changed rows.

Rows of every odd kind: one alone, the same twice, constant columns, missing ones, denormal numbers, weights of zero and of all sizes; own grids of one point;
behind a link and not; every instruction set. A few in every run, three thousand with ``-m soak``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import pytest

import whybox as wb
from ensembles import large_situation, random_ensemble, rows_of
from oracles import individual_curves
from whybox.errors import OptionError
from whybox.kernels import compiled_trees, tree_shap
from whybox.models.links import Link, Outputs
from whybox.models.trees import TreeEnsemble

SETS = [s.name for s in compiled_trees.instruction_sets()]
WEIGHTS = [
    lambda rng, n: None,
    lambda rng, n: rng.random(n),
    lambda rng, n: rng.integers(0, 3, n).astype(float),
    lambda rng, n: np.where(rng.random(n) < 0.5, 0.0, rng.random(n) * 10.0 ** rng.integers(-12, 12, n)),
]
REFUSED = "fewer than two values|no row that counts|no finite value"  # what may have no curve


@dataclass(frozen=True)
class Drawn:
    """A model, rows and their shares; ``predict`` gives (rows, outputs) of the outputs that ``output`` names, on ``scale``."""

    rng: np.random.Generator
    e: TreeEnsemble
    X: np.ndarray
    weights: np.ndarray | None
    output: int | None
    scale: str | None
    seed: int

    @property
    def share(self):
        w = np.ones(len(self.X)) if self.weights is None else self.weights / self.weights.max()
        return w / w.sum()

    def predict(self, rows):
        raw = tree_shap.predict(self.e, np.ascontiguousarray(rows))
        found = raw if self.scale is None else self.e.outputs.link(raw)
        return found if self.output is None else found[:, [self.output]]

    def mean(self, values):
        return np.einsum("r,r...->...", self.share, values)

    def curves(self, columns, points):
        """(rows, points, outputs)"""
        return individual_curves(self.predict, self.X, columns, np.asarray(points, float).reshape(len(points), -1))

    def points(self, column):
        """Points of one's own, missing ones as None."""
        pool = rows_of(self.rng, self.e, 6)[: self.rng.choice([1, 2, 6]), column]
        return [None if np.isnan(v) else v for v in np.where(np.isinf(pool), 0.5, pool).tolist()]

    def near(self, got, want, what, scale=1e-10):
        want = want[..., 0] if want.shape[-1] == 1 else want
        assert got.shape == want.shape, (what, self.seed)
        with np.errstate(invalid="ignore"):
            off = np.where((got == want) | (np.isnan(got) & np.isnan(want)), 0.0, np.abs(got - want))
        size = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0.0)))
        assert off.max(initial=0.0) <= scale * size, f"{what}: {off.max()} (seed {self.seed})"


def drawn(seed):
    rng = np.random.default_rng([seed, 99])
    if rng.random() < 0.6:
        e = large_situation(seed + 5000, most_leaves=int(rng.choice([3, 30, 200, 1500]))).e
    else:
        shape = {"columns": rng.integers(1, 5), "trees": rng.integers(1, 4), "depth": rng.integers(0, 8)}
        e = random_ensemble(seed, outputs=int(rng.choice([1, 1, 3])), **{k: int(v) for k, v in shape.items()})
    n, d, k = int(rng.choice([1, 2, 3, 12, 40])), e.inputs.width, len(e.base_values)
    X = rows_of(rng, e, n)
    X[np.isinf(X)] = 0.25 if rng.random() < 0.7 else np.inf
    if rng.random() < 0.3:
        X = X[rng.integers(n, size=n)]
    if rng.random() < 0.3:
        X[:, rng.integers(d)] = X[0, rng.integers(d)]
    if rng.random() < 0.2:
        X[:, rng.integers(d)] = rng.choice([0.0, -0.0, 5e-324, 1e-310], size=n)
    if rng.random() < 0.1:
        X[:, rng.integers(d)] = np.nan
    w = WEIGHTS[rng.integers(len(WEIGHTS))](rng, n)
    w = None if w is None or not w.sum() > 0 else w
    scale = None
    if rng.random() < 0.3:
        link = Link("softmax" if k > 1 else str(rng.choice(["sigmoid", "exp"])))
        e = replace(e, outputs=Outputs(e.outputs.names, link=link, raw_units="raw", response_units="response"))
        scale = "response"
    output = int(np.random.default_rng([seed, 7]).integers(k)) if k > 1 and seed % 2 else None
    return Drawn(rng, e, X, w, output, scale, seed)


def asked(d, features, kind, grid):
    """The effect; None where there is none, which may be refused."""
    with compiled_trees.forced_kernel(instructions=SETS[d.seed % len(SETS)]):
        try:
            return wb.effects(
                d.e, d.X, features, kind, grid=grid, output=d.output, scale=d.scale, sample_weight=d.weights
            )[0]
        except OptionError as error:
            if not re.search(REFUSED, str(error)):
                raise
            return None


def single(d, kind, tmp_path):
    """One feature, on a grid; at other points, and there again once saved."""
    column = int(d.rng.integers(d.e.inputs.width))
    grid = [None, {column: d.points(column)}, int(d.rng.choice([2, 3, 9])), "thresholds"][d.rng.integers(4)]
    e = asked(d, [column], kind, grid)
    if e is None:
        return

    def values(points):
        curves = d.curves([column], points)
        if kind == "ice":
            return curves
        if kind == "c-ice":
            return curves - d.curves([column], e.grid[:1])
        return d.mean(curves) - (d.mean(d.predict(d.X)) if kind == "anova" else 0.0)

    d.near(e.values, values(e.grid), kind)
    n = 1 / (d.share**2).sum()
    if kind == "pdp" and n > 1 + 1e-6:
        off = d.curves([column], e.grid) - d.mean(d.curves([column], e.grid))
        d.near(e.std_error, np.sqrt(np.tensordot(d.share**2, off**2, 1) * n / (n - 1)), "standard error", 1e-7)
    others = d.points(column)
    want = values([np.nan if v is None else v for v in others])
    d.near(e.at(others), want, f"{kind}, other points")
    e.save(tmp_path / "curve.whybox")
    try:
        d.near(wb.load(tmp_path / "curve.whybox").at(others), want, f"{kind}, saved")
    except OptionError as refused:
        if "steps of this curve were not saved" not in str(refused):
            raise


def pair(d, kind):
    """A surface."""
    if d.e.inputs.width < 2:
        return
    first, second = map(int, d.rng.choice(d.e.inputs.width, 2, replace=False))
    grid = {first: d.points(first), second: d.points(second)} if d.rng.random() < 0.5 else 3
    e = asked(d, [(first, second)], kind, grid)
    if e is None:
        return
    one, two = (np.asarray(e.coords[axis], float) for axis in ("point", "point_2"))

    def values(points):
        points = np.asarray(points, float)
        both = d.curves([first, second], points)
        if kind == "ice":
            return both
        alone = (d.mean(d.curves([c], points[:, [i]])) for i, c in enumerate((first, second)))
        return d.mean(both) - (sum(alone) - d.mean(d.predict(d.X)) if kind == "anova" else 0.0)

    want = values(list(product(one, two)))
    d.near(e.values, want.reshape(*want.shape[:-2], len(one), len(two), want.shape[-1]), f"surface, {kind}")
    others = list(zip(d.points(first), d.points(second), strict=False))
    d.near(e.at(others), values([[np.nan if v is None else v for v in p] for p in others]), f"surface, {kind}, at")


def accumulated(d):
    """Interval by interval, in a plain loop over the rows."""
    column = int(d.rng.integers(d.e.inputs.width))
    e = asked(d, [column], "ale", [None, {column: d.points(column)}, 5][d.rng.integers(3)])
    if e is None:
        return
    x, edges = d.X[:, column], np.asarray(e.grid, float)
    inside = (x >= edges[0]) & (x <= edges[-1]) & (d.share > 0)
    place = np.array([np.argmax(v <= edges[1:]) for v in x[inside]])
    low, high = d.X[inside].copy(), d.X[inside].copy()
    low[:, column], high[:, column] = edges[place], edges[place + 1]
    moved, w = d.predict(high) - d.predict(low), d.share[inside]
    mass = np.array([w[place == k].sum() for k in range(len(edges) - 1)])
    steps = [w[place == k] @ moved[place == k] / m if m > 0 else np.zeros(moved.shape[1]) for k, m in enumerate(mass)]
    curve = np.concatenate([np.zeros((1, moved.shape[1])), np.cumsum(steps, axis=0)])
    d.near(e.values, curve - mass @ ((curve[1:] + curve[:-1]) / 2) / mass.sum(), "accumulated")
    at = e.std_error.reshape(len(edges), -1)
    known = errors_known(mass, np.array([(w[place == k] ** 2).sum() for k in range(len(mass))]))
    assert np.array_equal(np.isfinite(at), np.repeat(known[:, None], at.shape[1], axis=1)), d.seed
    assert np.array_equal(np.isinf(at), ~np.isfinite(at)), d.seed
    assert not np.isnan(e.interval).any(), d.seed
    gaps = e.extras["gap_before"][1] if "gap_before" in e.extras else np.zeros(len(edges), dtype=bool)
    assert np.array_equal(gaps, [False, *(mass == 0)]), d.seed


def errors_known(mass, squares):
    """At which edges no interval of unknown spread counts: none without rows, nor of a single one where none holds more.

    An interval counts in full beyond it, less what of it the middle of the curve holds at the rows.
    """
    several = np.array([m > 0 and m**2 / s > 1 + 1e-9 for m, s in zip(mass, squares, strict=True)])
    unknown = np.flatnonzero(mass == 0) if several.any() else range(len(mass))
    share = mass / mass.sum()
    part = {b: share[b] / 2 + share[b + 1 :].sum() for b in unknown}
    return np.array([all(abs((b < k) - part[b]) < 1e-12 for b in unknown) for k in range(len(mass) + 1)])


def together(d):
    """Sizes of interactions and H squared, which is zero where both effects are rounding."""
    width, share = d.e.inputs.width, d.share
    if width < 2:
        return
    with compiled_trees.forced_kernel(instructions=SETS[d.seed % len(SETS)]):
        found = wb.interactions(d.e, d.X, output=d.output, scale=d.scale, sample_weight=d.weights)

    def at_rows(columns):
        values = d.mean(d.curves(columns, d.X[:, columns]))
        return values - share @ values

    f = d.predict(d.X)
    f = f - share @ f
    alone = [at_rows([c]) for c in range(width)]
    for a, b in combinations(range(width), 2):
        both = at_rows([a, b])
        part, whole = d.mean((both - alone[a] - alone[b]) ** 2), d.mean(both**2)
        d.near(found.values[a, b], np.sqrt(part), "size", 1e-7)
        spread = np.sqrt(d.mean(f**2))
        ratio = np.reshape(found.extras["h_squared"][1][a, b], -1)
        sure = np.sqrt(whole) > 1e-6 * np.maximum(spread, 1e-6)
        assert np.allclose(ratio[sure], part[sure] / whole[sure], rtol=1e-6, atol=1e-6), d.seed
        assert not ratio[whole < 1e-26].any(), d.seed
    for a in range(width):
        rest = np.einsum("p,ipc->ic", share, d.curves([a], d.X[:, [a]]))
        d.near(found.values[a, a], np.sqrt(d.mean((f - alone[a] - rest + share @ rest) ** 2)), "overall", 1e-7)


def check(seed, tmp_path):
    d = drawn(seed)
    single(d, str(d.rng.choice(["pdp", "ice", "c-ice", "anova"])), tmp_path)
    pair(d, str(d.rng.choice(["pdp", "ice", "anova"])))
    accumulated(d)
    together(d)


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_random_models(start, tmp_path):
    for seed in range(start, start + 20):
        check(seed, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("start", range(1000, 4000, 100))
def test_three_thousand_random_models(start, tmp_path):
    for seed in range(start, start + 100):
        check(seed, tmp_path)
