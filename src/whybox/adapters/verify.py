"""Is our reading of a model right? Compare it with the model's own predict on rows made to find out.

Rows are built backwards from the nodes: for a node, a row that reaches it (its features set to values that its path allows, as often
as possible exactly on a boundary), with the node's own feature set exactly to the threshold, just below it, just above it, or to
something nasty (NaN, infinities, -0.0, denormals, unseen categories). So splits are tested where they are, not where data happens to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.frames import Floats, as_table
from whybox.kernels import trees
from whybox.models.base import Scale, Verdict
from whybox.models.compare import compare
from whybox.models.linear import Linear
from whybox.models.trees import CATEGORICAL, LESS_EQUAL, SINGLE, TreeEnsemble

__all__ = ["Domain", "made_rows", "verified", "verified_linear"]

VISITS: Final = 30_000_000  # node visits of the library's predict that a verification may cost
MOST: Final = 30_000  # rows
LEAST: Final = 900


@final
@dataclass(frozen=True)
class Domain:
    """What a library's predict takes: whether NaN and infinities are allowed, and how many codes a categorical column has."""

    nan: bool = True
    infinite: bool = True
    categories: Mapping[int, int] | None = None
    unseen: bool = True


def verified(
    model: TreeEnsemble,
    predict: Callable[[Any], Floats],
    *,
    scale: Scale,
    relative: float,
    domain: Domain,
    against: str,
    decode: Callable[[Floats], Any] | None = None,
    seed: int = 0,
) -> TreeEnsemble:
    """Return the model with the verdict of its comparison with the library's own predict.

    Args:
        predict: rows as the library takes them -> (rows, outputs).
        decode: model matrix -> such rows, where they differ (categories); the encoder is then tested along with the trees.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    rows, tested, total = made_rows(model, domain, seed)
    theirs = rows if decode is None else decode(rows)
    ours = rows if decode is None else model.inputs.matrix(model.inputs.align(as_table(theirs))[0])
    own = predict(theirs).reshape(len(rows), -1)
    difference, tolerance = compare(
        model, trees.predict(model, ours), own, scale=scale, relative=relative, size=model.size
    )
    return replace(model, verdict=Verdict(len(rows), tested, total, difference, tolerance, against))


def verified_linear(
    model: Linear, predict: Callable[[Any], Floats], *, relative: float, against: str, seed: int = 0
) -> Linear:
    """As `verified`, for a linear model's margins: zeros, made rows, missing values.

    Raises:
        ModelMismatchError: they differ by more than rounding.
    """
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(200, model.inputs.width)) * rng.choice([0.0, 1e-3, 1.0, 1e3], size=(200, 1))
    rows[rng.random(rows.shape) < 0.05] = np.nan
    rows = rows.astype(np.float32).astype(np.float64)
    difference, tolerance = compare(
        model, model.raw(rows), predict(rows), scale="raw", relative=relative, size=model.size(rows)
    )
    return replace(model, verdict=Verdict(len(rows), 0, 0, difference, tolerance, against))


def made_rows(e: TreeEnsemble, domain: Domain, seed: int = 0) -> tuple[Floats, int, int]:
    """Make rows that reach nodes and stand on their thresholds.

    Returns:
        rows (n, model columns); how many different split points they stand on; how many the model has.
    """
    rng = np.random.default_rng(seed)
    width = e.inputs.width
    inner = np.flatnonzero(e.left >= 0)
    depth = max(1.0, trees.native(e).depth)
    rows = int(np.clip(VISITS / max(1.0, e.n_trees * depth), LEAST, MOST))
    rows = int(min(rows, max(60, 4e7 / max(1, width))))
    if not len(inner):
        return _background(e, domain, rng, min(rows, 50)), 0, 0
    points = _different(e.feature[inner], e.threshold[inner], e.set_begin[inner])
    chosen = inner[rng.permutation(points)][: rows // 4]
    if len(chosen) < rows // 4:
        rest = np.setdiff1d(inner, chosen)
        chosen = np.concatenate([chosen, rng.permutation(rest)[: rows // 4 - len(chosen)]])
    built = np.concatenate([_around(e, chosen, how, domain, rng) for how in ("on", "below", "above", "odd")])
    plain = _background(e, domain, rng, min(200, rows // 4))
    made = np.ascontiguousarray(np.concatenate([built, plain]))
    if not domain.infinite:
        np.clip(made, -3e38, 3e38, out=made)  # inside float32: libraries that refuse infinities refuse what becomes one
    return made, min(len(points), len(chosen)), len(points)


def _different(*keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Where each different combination of keys stands first, in their order; np.unique(axis=0) takes ten times as long for a million of them."""
    order = np.lexsort(keys[::-1])
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.any([k[order[1:]] != k[order[:-1]] for k in keys], axis=0)
    return order[new]


def _background(e: TreeEnsemble, domain: Domain, rng: np.random.Generator, n: int) -> Floats:
    """Return rows of split points, points between them, and missing values, column by column."""
    width = e.inputs.width
    out = rng.normal(size=(n, width)).round(1)
    at = np.flatnonzero((e.left >= 0) & (e.flags & CATEGORICAL == 0) & np.isfinite(e.threshold))
    order = at[np.argsort(e.feature[at], kind="stable")]
    columns, starts = np.unique(e.feature[order], return_index=True)
    for column, group in zip(
        columns, np.split(e.threshold[order], starts[1:]), strict=False
    ):  # no columns: one empty group
        out[:, column] = rng.choice(group, n) + rng.choice([0.0, 1.0, -1.0], n) * rng.choice([0.0, 1e-3, 1.0], n) * (
            np.ptp(group) + 1
        )
    for column in np.unique(e.feature[(e.flags & CATEGORICAL > 0) & (e.left >= 0)]):
        out[:, column] = _category(e, int(column), domain, rng, n)
    for column, count in (domain.categories or {}).items():
        out[:, column] = rng.integers(0, max(count, 1), n)
    if domain.nan:
        out[rng.random(out.shape) < 0.05] = np.nan
    return out


def _category(e: TreeEnsemble, column: int, domain: Domain, rng: np.random.Generator, n: int) -> Floats:
    count = (domain.categories or {}).get(column)
    if count is None:
        count = int(32 * e.set_words[(e.feature == column) & (e.flags & CATEGORICAL > 0)].max(initial=1))
    return rng.integers(0, max(count, 1), n).astype(np.float64)


def _around(
    e: TreeEnsemble, nodes: npt.NDArray[np.int64], how: str, domain: Domain, rng: np.random.Generator
) -> Floats:
    """Return one row a node that reaches it, with the node's own feature put `how` relative to its threshold."""
    out = _background(e, domain, rng, len(nodes))
    _obey_paths(e, nodes, out, rng)
    at, t = e.feature[nodes], e.threshold[nodes]
    rows = np.arange(len(nodes))
    single = e.flags[nodes] & SINGLE > 0
    if how == "on":
        value = t
    elif how == "odd":
        odd = [0.0, -0.0, 5e-324, -1e-45, 1e-36, 1e-30, 1e30]
        odd += [np.nan] * 3 * domain.nan + [np.inf, -np.inf] * domain.infinite
        value = rng.choice(np.array(odd), len(nodes))
    else:
        value = _beside(t, single, up=how == "above")
    categorical = e.flags[nodes] & CATEGORICAL > 0
    if categorical.any():
        picked = np.array(
            [_category(e, int(c), domain, rng, 1)[0] if k else 0.0 for c, k in zip(at, categorical, strict=True)]
        )
        if how == "odd":
            strange = ([np.nan] if domain.nan else []) + ([-1.0, 1e6, 1e12] if domain.unseen else [])
            if strange:
                picked = np.where(categorical, rng.choice(np.array(strange), len(nodes)), picked)
        value = np.where(categorical, picked, value)
    elif domain.categories:
        value = np.where(np.isin(at, list(domain.categories)), out[rows, at], value)
    out[rows, at] = np.where(
        np.isfinite(value) | (np.isnan(value) & domain.nan) | domain.infinite, value, out[rows, at]
    )
    return out


def _beside(t: Floats, single: npt.NDArray[np.bool_], *, up: bool) -> Floats:
    to = np.inf if up else -np.inf
    with np.errstate(over="ignore"):
        near = np.nextafter(t.astype(np.float32), np.float32(to)).astype(np.float64)
    return np.where(single, near, np.nextafter(t, to))


def _obey_paths(e: TreeEnsemble, nodes: npt.NDArray[np.int64], out: Floats, rng: np.random.Generator) -> None:
    """Set in `out`, row by row, values that lead from the root to the node."""
    parent, left_child = _parents(e)
    rows = np.arange(len(nodes))
    low, high = np.full_like(out, -np.inf), np.full_like(out, np.inf)
    child = nodes.copy()
    while True:
        up = parent[child]
        go = up >= 0
        if not go.any():
            break
        r, p, left = rows[go], up[go], left_child[child[go]]
        _obey_sets(e, r, p, left, out)
        numeric = e.flags[p] & CATEGORICAL == 0
        r, p, left = r[numeric], p[numeric], left[numeric]
        column, t = e.feature[p], e.threshold[p]
        # inclusive bounds: the largest value that goes left, the smallest that goes right
        equal, single = e.flags[p] & LESS_EQUAL > 0, e.flags[p] & SINGLE > 0
        top = np.where(equal, t, _beside(t, single, up=False))
        bottom = np.where(equal, _beside(t, single, up=True), t)
        high[r[left], column[left]] = np.minimum(high[r[left], column[left]], top[left])
        low[r[~left], column[~left]] = np.maximum(low[r[~left], column[~left]], bottom[~left])
        child = np.where(go, up, child)
    inside = (np.isfinite(low) | np.isfinite(high)) & (low <= high)
    pick_low = np.isfinite(low) & (~np.isfinite(high) | (rng.random(out.shape) < 0.5))
    np.copyto(out, np.where(pick_low, low, high), where=inside)


def _obey_sets(
    e: TreeEnsemble, rows: npt.NDArray[np.int64], at: npt.NDArray[np.int64], left: npt.NDArray[np.bool_], out: Floats
) -> None:
    from whybox.kernels.reference import goes_left

    for i in np.flatnonzero(e.flags[at] & CATEGORICAL > 0):
        node, row = int(at[i]), int(rows[i])
        codes = np.arange(32.0 * e.set_words[node] + 1)
        fits = codes[goes_left(e, node, codes) == left[i]]
        if len(fits):
            out[row, e.feature[node]] = fits[(row * 7919) % len(fits)]


def _parents(e: TreeEnsemble) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """For every node: its parent among all nodes (-1 at roots), and whether it is a left child."""
    offset = np.repeat(e.tree_offsets[:-1], np.diff(e.tree_offsets))
    parent, left_child = np.full(len(e.left), -1, dtype=np.int64), np.zeros(len(e.left), dtype=bool)
    inner = np.flatnonzero(e.left >= 0)
    parent[offset[inner] + e.left[inner]] = inner
    parent[offset[inner] + e.right[inner]] = inner
    left_child[offset[inner] + e.left[inner]] = True
    return parent, left_child
