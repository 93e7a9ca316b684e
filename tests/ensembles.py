"""Random tree ensembles that no library would grow: every flag, repeated features, single leaves, zero covers, category sets."""

from __future__ import annotations

import numpy as np

from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.links import Outputs
from whybox.models.trees import (
    CATEGORICAL,
    KEEP_ALL_OUTPUTS,
    LESS_EQUAL,
    MISSING_LEFT,
    NAN_AS_ZERO,
    SET_RIGHT,
    SINGLE,
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
        for bit in (LESS_EQUAL, SINGLE, MISSING_LEFT, ZERO_MISSING, NAN_AS_ZERO, TINY_AS_ZERO):
            f |= bit * bool(rng.random() < 0.5)
        if flags is not None:
            f = flags
        if categorical and rng.random() < 0.3:
            f |= CATEGORICAL | (SET_RIGHT * bool(rng.random() < 0.5))
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
    return TreeEnsemble.stack(
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
