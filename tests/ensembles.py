"""Random tree ensembles that no library would grow: every flag, repeated features, single leaves, zero covers, category sets."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.links import Outputs
from whybox.models.trees import (
    CATEGORICAL_SPLIT,
    FLOAT32_SPLIT,
    KEEP_ALL_OUTPUTS,
    LESS_EQUAL,
    MISSING_LEFT,
    NAN_AS_ZERO,
    SET_RIGHT,
    TINY_AS_ZERO,
    ZERO_MISSING,
    Tree,
    TreeEnsemble,
)


def random_tree(
    rng,
    columns,
    depth,
    outputs,
    *,
    output=KEEP_ALL_OUTPUTS,
    chain=False,
    linear=False,
    categorical=True,
    grid=None,
    flags=None,
    spread=1,
):
    left, right, feature, threshold, flag, cover, value, gain, sets, lin = [], [], [], [], [], [], [], [], {}, {}
    grid = np.array([-1.5, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0]) if grid is None else grid

    def grow(d, weight):
        i = len(left)
        for a in (left, right, feature, threshold, flag, cover, value, gain):
            a.append(0)
        cover[i] = weight
        value[i] = rng.normal(size=outputs)
        left[i] = right[i] = feature[i] = -1
        threshold[i] = np.nan
        if d == 0 or (not chain and rng.random() < 0.15):
            if linear and rng.random() < 0.7:
                cols = rng.choice(columns, size=rng.integers(1, min(4, columns + 1)), replace=False)
                lin[i] = (float(rng.normal()), cols, rng.normal(size=len(cols)))
            return i
        feature[i] = int(rng.integers(columns))
        f = 0
        for bit in (LESS_EQUAL, FLOAT32_SPLIT, MISSING_LEFT, ZERO_MISSING, NAN_AS_ZERO, TINY_AS_ZERO):
            f |= bit * bool(rng.random() < 0.5)
        if flags is not None:
            f = flags
        if categorical and rng.random() < 0.3:
            f |= CATEGORICAL_SPLIT | (SET_RIGHT * bool(rng.random() < 0.5))
            sets[i] = spread * np.flatnonzero(rng.random(rng.choice([3, 70])) < 0.5)
        else:
            threshold[i] = float(rng.choice(grid))
        flag[i] = f
        share = rng.choice([0.0, 0.2, 0.5, 0.9]) if rng.random() < 0.3 else rng.random()
        a, b = (0, d - 1) if chain else (d - 1, d - 1)
        left[i] = grow(a, weight * share)
        right[i] = grow(b, weight * (1 - share))
        return i

    grow(depth, 100.0)
    return Tree(
        left=np.array(left),
        right=np.array(right),
        feature=np.array(feature),
        threshold=np.array(threshold, float),
        flags=np.array(flag, np.uint8),
        cover=np.array(cover, float),
        value=np.array(value).reshape(len(left), outputs),
        gain=np.array(gain, float),
        sets=sets,
        linear=lin,
        output=output,
        weight=float(rng.uniform(0.3, 1.2)),
    )


def ensemble(trees, columns, outputs, base=None):
    return TreeEnsemble.from_trees(
        trees,
        base=np.linspace(-0.3, 0.4, outputs) if base is None else base,
        inputs=Inputs(
            tuple(f"x{i}" for i in range(columns)), False, NumberEncoder("test"), tuple((i,) for i in range(columns))
        ),
        outputs=Outputs(tuple(f"y{i}" for i in range(outputs))),
        kind="random",
    )


def random_ensemble(seed, *, columns=4, trees=3, depth=3, outputs=1, vector=False, **kw):
    rng = np.random.default_rng(seed)
    if vector:
        grown = [random_tree(rng, columns, depth, outputs, **kw) for _ in range(trees)]
    else:
        grown = [random_tree(rng, columns, depth, 1, output=int(rng.integers(outputs)), **kw) for _ in range(trees)]
    return ensemble(grown, columns, outputs)


def random_rows(seed, n, columns):
    rng = np.random.default_rng(seed)
    X = rng.choice(
        [
            -1.5,
            -0.5,
            0.0,
            -0.0,
            0.25,
            0.5,
            1.0,
            2.0,
            33.0,
            69.0,
            1e300,
            -1e300,
            np.inf,
            -np.inf,
            np.nan,
            1e-36,
            5e-324,
            0.3,
            -7.0,
            3.0,
        ],
        size=(n, columns),
    )
    X[rng.random(X.shape) < 0.4] = rng.normal()
    return np.ascontiguousarray(X)


STYLES = {  # flags that every split of an ensemble has, and those that each split may have
    "float32": (FLOAT32_SPLIT | LESS_EQUAL, (MISSING_LEFT,)),
    "float64": (LESS_EQUAL, (MISSING_LEFT,)),
    "below": (FLOAT32_SPLIT, (MISSING_LEFT,)),
    "zero as missing": (LESS_EQUAL | ZERO_MISSING, (MISSING_LEFT,)),
    "tiny as zero": (LESS_EQUAL | TINY_AS_ZERO, (MISSING_LEFT, NAN_AS_ZERO)),
    "any": (0, (LESS_EQUAL, FLOAT32_SPLIT, MISSING_LEFT, ZERO_MISSING, NAN_AS_ZERO, TINY_AS_ZERO)),
}
ODD_THRESHOLDS = [np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e-35, -1e-35, 1e300, float(np.float32(0.1)), 0.1]
ODD_VALUES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e-36, 1e300, -1e300, 3.0, 33.0, 69.0, 0.7]


def large_tree(rng, columns, leaves, outputs, thresholds, *, style, categorical=(), output=KEEP_ALL_OUTPUTS):
    """A tree of so many leaves, bushy or deep, in which columns come back on a path and some splits only part missing from known.

    Args:
        thresholds: for each column, the values that its splits compare with. categorical: columns whose splits are sets of categories.
    """
    always, sometimes = STYLES[style]
    deep, again = rng.choice([0.0, 0.6]), rng.choice([0.1, 0.5])
    left, right, feature, threshold, flags = [-1], [-1], [-1], [np.nan], [0]
    cover, sets = [100.0], {}
    open_, above = [0], {0: None}  # leaves so far, and the column that the split above each asks
    while len(open_) < leaves:
        i = open_.pop(-1 if rng.random() < deep else int(rng.integers(len(open_))))
        column = above[i] if above[i] is not None and rng.random() < again else int(rng.integers(columns))
        feature[i], flags[i] = column, always | sum(bit * int(rng.random() < 0.5) for bit in sometimes)
        if column in categorical:
            flags[i] |= CATEGORICAL_SPLIT | SET_RIGHT * int(rng.random() < 0.5)
            sets[i] = np.flatnonzero(rng.random(rng.choice([3, 70])) < 0.5)
        else:
            threshold[i] = np.inf if rng.random() < 0.1 else float(rng.choice(thresholds[column]))
        share = rng.choice([0.0, 0.5, 1.0]) if rng.random() < 0.1 else rng.random()
        left[i], right[i] = len(left), len(left) + 1
        for part in (share, 1 - share):
            above[len(left)] = column
            open_.append(len(left))
            for values, value in ((left, -1), (right, -1), (feature, -1), (threshold, np.nan), (flags, 0)):
                values.append(value)
            cover.append(cover[i] * part)
    return Tree(
        left=np.array(left),
        right=np.array(right),
        feature=np.array(feature),
        threshold=np.array(threshold, float),
        flags=np.array(flags, np.uint8),
        cover=np.array(cover, float),
        value=rng.normal(size=(len(left), outputs)),
        sets=sets,
        output=output,
        weight=float(rng.choice([1.0, 0.0, rng.uniform(0.3, 1.2)], p=[0.5, 0.05, 0.45])),
    )


@dataclass(frozen=True)
class Situation:
    """A model, rows that stand on and beside its thresholds, weights, and players of one column or several.

    Attributes:
        X: (rows, columns). weights: (rows,), some of them zero, or None.
    """

    e: TreeEnsemble
    X: np.ndarray
    weights: np.ndarray | None
    players: list[tuple[int, ...]]
    rng: np.random.Generator
    what: str

    @property
    def each(self):
        """One weight a row."""
        return np.ones(len(self.X)) if self.weights is None else self.weights

    @property
    def player_of(self):
        """Player of each column; those of no player are one player more, the last."""
        out = np.full(self.e.inputs.width, len(self.players), dtype=np.int32)
        for j, columns in enumerate(self.players):
            out[list(columns)] = j
        return out

    @property
    def groups(self):
        """Columns of every player, that of the rest included."""
        player_of = self.player_of
        return [np.flatnonzero(player_of == j).tolist() for j in range(player_of.max() + 1)]

    def points(self, most=12):
        """For each player values to be set to, (points, its columns): one or several, repeated ones and missing ones among them."""
        sizes = self.rng.choice([1, 2, most], size=len(self.players))
        pool = rows_of(self.rng, self.e, int(sizes.max()))
        return [pool[: int(n), list(columns)] for n, columns in zip(sizes, self.players, strict=True)]


def rows_of(rng, e, n):
    """Rows whose values are thresholds of the model, the numbers next to them, and values of every odd kind; about a fifth is missing."""
    out = np.empty((n, e.inputs.width))
    for column in range(e.inputs.width):
        at = np.unique(e.threshold[(e.left >= 0) & (e.feature == column) & ((e.flags & CATEGORICAL_SPLIT) == 0)])
        with np.errstate(over="ignore", under="ignore"):
            single = at.astype(np.float32)
            near = [np.nextafter(x, x.dtype.type(s)).astype(float) for x in (at, single) for s in (-np.inf, np.inf)]
        pool = np.concatenate([at, *near, single.astype(float), ODD_VALUES, np.arange(-1, 71), rng.normal(size=9)])
        out[:, column] = rng.choice(pool, size=n)
        plain = rng.random(n) < 0.5
        out[plain, column] = rng.choice(rng.normal(size=5), size=int(plain.sum()))
    out[rng.random(out.shape) < rng.choice([0.0, 0.2])] = np.nan
    return out


def large_situation(seed, *, most_leaves=2000, rows=23):
    """A random model of one to three trees, each of up to `most_leaves` leaves, with what is asked of it."""
    drawn = _drawn_situation(seed, most_leaves, rows)
    return replace(drawn, rng=copy.deepcopy(drawn.rng))


@lru_cache(maxsize=64)
def _drawn_situation(seed, most_leaves, rows):
    rng = np.random.default_rng([seed, 12])
    columns = int(rng.integers(2, 6))
    style = str(rng.choice(list(STYLES)))
    categorical = [c for c in range(columns) if rng.random() < 0.3] if rng.random() < 0.4 else []
    thresholds = [
        np.concatenate([rng.normal(size=int(rng.choice([3, 300]))), rng.choice(ODD_THRESHOLDS, 3)])
        for _ in range(columns)
    ]
    outputs, vector = (int(rng.integers(2, 4)), bool(rng.random() < 0.5)) if rng.random() < 0.25 else (1, False)
    drawn = np.exp(rng.uniform(np.log(2), np.log(most_leaves), size=int(rng.integers(1, 4)))).astype(int)
    drawn[0] = max(65, int(drawn[0]) if rng.random() < 0.5 else rng.integers(most_leaves + 1))
    shape = {"style": style, "categorical": categorical}
    trees = []
    for leaves in drawn:  # the first is too large for its leaves to be bits of a word
        output = KEEP_ALL_OUTPUTS if vector else int(rng.integers(outputs))
        trees.append(large_tree(rng, columns, leaves, outputs if vector else 1, thresholds, output=output, **shape))
    e = ensemble(trees, columns, outputs, np.arange(outputs) + 0.25)
    order = rng.permutation(columns).tolist()
    players = [(c,) for c in order]
    if columns > 2 and rng.random() < 0.3:
        players = [tuple(order[:2]), *((c,) for c in order[2:])]
    if len(players) > 2 and rng.random() < 0.2:
        players = players[:-1]
    n = int(rng.choice([1, 2, rows, 10 * rows], p=[0.1, 0.1, 0.7, 0.1]))
    X = rows_of(rng, e, n)
    weights = [None, np.full(n, 3.0), rng.integers(0, 3, n).astype(float), rng.random(n)][int(rng.integers(4))]
    weights = None if weights is None or not weights.sum() > 0 else weights
    return Situation(e, X, weights, players, rng, f"seed {seed}: {style}, {[len(t.left) for t in trees]} nodes")
