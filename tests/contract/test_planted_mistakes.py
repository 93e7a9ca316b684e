"""A reading with one mistake in one node is refused, whichever node it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from whybox.adapters.lightgbm import estimator as from_lightgbm
from whybox.adapters.sklearn import assemble as from_sklearn
from whybox.adapters.xgboost import estimator as from_xgboost
from whybox.errors import ModelMismatchError
from whybox.models.registry import as_model
from whybox.models.trees import FLOAT32_SPLIT, LESS_EQUAL, MISSING_LEFT, NAN_AS_ZERO

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3000, 6))
Y = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3:].sum(axis=1) + 0.1 * RNG.normal(size=3000)
X[RNG.random(X.shape) < 0.1] = np.nan


def lightgbm():
    library = pytest.importorskip("lightgbm")
    return from_lightgbm, library.LGBMRegressor(n_estimators=25, num_leaves=15, n_jobs=1, verbose=-1)


def xgboost():
    library = pytest.importorskip("xgboost")
    return from_xgboost, library.XGBRegressor(n_estimators=25, max_depth=5, n_jobs=1)


def hist():
    from sklearn.ensemble import HistGradientBoostingRegressor

    return from_sklearn, HistGradientBoostingRegressor(max_iter=25, max_leaf_nodes=15)


@pytest.fixture(scope="module", params=[lightgbm, xgboost, hist])
def read(request):
    """The reading, and its check."""
    module, model = request.param()
    model.fit(X, Y)
    caught = []
    real = module.verify_trees
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "verify_trees", lambda e, *a, **k: caught.append((e, a, k)) or real(e, *a, **k))
        verdict = as_model(model).verdict
    ((e, a, k),) = caught
    assert k["rounds"] is not None
    assert verdict.thresholds > 0.95 * verdict.thresholds_total
    return e, lambda mistaken: real(mistaken, *a, **k)


def nodes(e):
    """Nodes from the fourth level down, and the columns that are asked for above each node."""
    first = np.repeat(e.tree_offsets[:-1], np.diff(e.tree_offsets))
    above = {}
    for i in np.flatnonzero(e.left >= 0):
        for child in (first[i] + e.left[i], first[i] + e.right[i]):
            above[int(child)] = [*above.get(int(i), []), int(e.feature[i])]
    return [int(i) for i in np.flatnonzero(e.left >= 0) if len(above.get(int(i), [])) >= 3], above


def mistaken(e, kind, i):
    if kind == "children swapped":
        left, right = e.left.copy(), e.right.copy()
        left[i], right[i] = right[i], left[i]
        return replace(e, left=left, right=right)
    if kind in ("a bit more", "a bit less"):
        to, t = (np.inf if kind == "a bit more" else -np.inf), e.threshold.copy()
        t[i] = np.nextafter(np.float32(t[i]), np.float32(to)) if e.flags[i] & FLOAT32_SPLIT else np.nextafter(t[i], to)
        return replace(e, threshold=t)
    flags = e.flags.copy()
    flags[i] ^= LESS_EQUAL if kind == "< for <=" else MISSING_LEFT
    return replace(e, flags=flags)


@pytest.mark.parametrize("kind", ["children swapped", "a bit more", "a bit less", "< for <=", "missing values turned"])
def test_one_mistake_in_one_deep_node_is_found(read, kind):
    e, check = read
    deep, above = nodes(e)
    if kind == "missing values turned":  # one that a node above has turned away does not come here
        deep = [i for i in deep if e.feature[i] not in above[i] and not e.flags[i] & NAN_AS_ZERO]
    check(e)
    for i in np.random.default_rng(1).choice(deep, 15, replace=False):
        with pytest.raises(ModelMismatchError):
            check(mistaken(e, kind, int(i)))


def test_rounds_of_different_numbers_of_trees_are_read():
    library = pytest.importorskip("xgboost")
    data = library.DMatrix(X, Y)
    params = {"max_depth": 3, "nthread": 1, "subsample": 0.5}
    one = library.train(params, data, 4)
    more = library.train({**params, "num_parallel_tree": 3}, data, 4, xgb_model=one)
    e = as_model(more)
    assert e.n_trees in (8, 16)
    assert e.verdict.rows > 0


@pytest.mark.parametrize("best", [True, False])
def test_several_classes_and_early_stopping_are_asked_by_rounds(best):
    library = pytest.importorskip("lightgbm")
    labels = np.digitize(Y, [-1.0, 1.0])
    stop = None if not best else [library.early_stopping(1, verbose=False)]
    params = {"objective": "multiclass", "num_class": 3, "num_leaves": 7, "num_threads": 1, "verbose": -1}
    data = library.Dataset(X, labels)
    held = [library.Dataset(X[:50], RNG.permutation(labels[:50]), reference=data)] if best else None
    model = library.train({**params, "learning_rate": 1.0 if best else 0.1}, data, 12, valid_sets=held, callbacks=stop)
    e = as_model(model)
    assert e.n_trees % 3 == 0
    assert (e.n_trees < 36) == best
    assert e.verdict.rows > 2 * len(e.left)
