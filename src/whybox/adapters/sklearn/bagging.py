"""The bootstrap samples that scikit-learn's forests were trained on, drawn again, and what each tree recorded in training."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.sklearn.column_lineage import samplers_of
from whybox.data.table import Floats
from whybox.errors import Argument, InputError, UnsupportedModelError
from whybox.models.bound_method import bound_method, last_estimator

__all__ = ["BaggedTree", "bagged_forest", "bagged_trees"]

Ints = npt.NDArray[np.integer]


@final
@dataclass(frozen=True, eq=False)
class BaggedTree:
    """One tree of a forest, and its bootstrap sample.

    Attributes:
        parent: (nodes,) the node above each; -1 of the root. feature: (nodes,) the model column that a node splits on.
        leaf: (rows,) the leaf of each row of training. counts: (rows,) how often each was drawn.
        n_rows, weight: (nodes,) how many different rows, and how many with those drawn twice, the tree recorded at each node in training.
        value: (nodes, outputs) the mean of the truth that it recorded; None: it was kept within bounds.
    """

    parent: Ints
    feature: Ints
    leaf: Ints
    counts: Floats
    n_rows: Ints
    weight: Floats
    value: Floats | None


def bagged_forest(model: Any) -> Any:
    """Return the forest behind a model, a Pipeline or a search.

    Raises:
        UnsupportedModelError: it is no forest of scikit-learn, or none whose bootstrap samples can be drawn again.
    """
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        ExtraTreesRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )

    method = bound_method(model)
    estimator = model if method is None else method.estimator
    forest = last_estimator(estimator)
    kinds = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
    if not isinstance(forest, kinds):
        raise _refusal(
            f"takes a random forest or extra trees of scikit-learn, whose bootstrap samples can be drawn again; this is a {type(forest).__name__}"
        )
    if type(forest).__module__.partition(".")[0] == "imblearn" or _has_sampler(estimator):
        raise _refusal("cannot draw the samples of a forest again whose rows of training were resampled")
    if not forest.bootstrap:
        raise _refusal("measures on out-of-bag rows; this forest was trained on all rows (bootstrap=False)")
    if forest.n_outputs_ != 1:
        raise _refusal(f"is about one truth; this forest has {forest.n_outputs_}")
    if forest.criterion == "absolute_error":
        raise _refusal("is about means; the nodes of this forest hold medians (criterion='absolute_error')")
    if getattr(forest, "class_weight", None) is not None:
        raise _refusal("cannot draw the samples of a forest again that was trained with class_weight")
    if len(forest.estimators_) < 2:
        raise _refusal("compares trees; this forest has one")
    return forest


def _has_sampler(estimator: Any) -> bool:
    """Whether rows were resampled before they came to the estimator at the end of a Pipeline or search."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return hasattr(estimator, "steps") and bool(samplers_of(estimator))


def _refusal(why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        "unbiased impurity importance ", why, ". Use ", Argument("method", "permutation"), " with held-out rows."
    )


def bagged_trees(forest: Any, X: Floats) -> Iterator[BaggedTree]:
    """Draw the bootstrap samples of a forest again, tree by tree.

    Args:
        forest: of :func:`bagged_forest`. X: the rows of training as its trees read them, (rows, columns).

    Raises:
        InputError: another number of rows than in training.
    """
    from sklearn.ensemble._forest import _generate_sample_indices

    count = getattr(forest, "_n_samples", len(X))
    if count != len(X):
        raise InputError(
            Argument("train"),
            f" has {len(X):,} rows, and the forest was trained on {count:,}; pass those, in their order.",
        )
    size = vars(forest)["_n_samples_bootstrap"]
    unweighted = (None,) if len(inspect.signature(_generate_sample_indices).parameters) > 3 else ()
    rows = np.asarray(X, dtype=np.float32)
    for member in forest.estimators_:
        tree = member.tree_
        drawn = _generate_sample_indices(member.random_state, len(X), size, *unweighted)
        parent = np.full(tree.node_count, -1)
        for children in (tree.children_left, tree.children_right):
            parent[children[children >= 0]] = np.flatnonzero(children >= 0)
        bounded = getattr(forest, "monotonic_cst", None) is not None
        yield BaggedTree(
            parent=parent,
            feature=tree.feature,
            leaf=tree.apply(rows),
            counts=np.bincount(drawn, minlength=len(X)).astype(np.float64),
            n_rows=tree.n_node_samples,
            weight=tree.weighted_n_node_samples,
            value=None if bounded else tree.value[:, 0, :],
        )
