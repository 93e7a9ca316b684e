"""scikit-learn's own trees and the averages of them: single trees, forests, isolation forests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from whybox.adapters.common import class_names, import_path
from whybox.adapters.sklearn.assemble import UnverifiedModel, allows_nan, fitted_attribute, number_inputs
from whybox.adapters.verification.verify import Domain
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.models.links import Link, Outputs
from whybox.models.trees import FLOAT32_SPLIT, LESS_EQUAL, MISSING_LEFT, Tree, TreeEnsemble

__all__ = ["read_forest", "read_isolation_forest", "read_single_tree", "read_tree"]


def read_tree(
    tree: Any,
    value: Floats,
    *,
    columns: npt.NDArray[np.integer] | None = None,
    output: int = -1,
    weight: float = 1.0,
    gain_total: float | None = 1.0,
) -> Tree:
    """Return one fitted ``sklearn.tree._tree.Tree`` with the given leaf values (nodes,) or (nodes, outputs).

    Args:
        columns: for a tree grown on some columns only, their positions among all.
        gain_total: what the tree's impurity decreases add up to in ``feature_importances_`` of the ensemble; None: they stay as they are.
    """
    feature = np.where(tree.children_left < 0, -1, tree.feature)
    if columns is not None:
        feature = np.where(feature < 0, -1, np.asarray(columns)[np.maximum(feature, 0)])
    cover = np.asarray(tree.weighted_n_node_samples, dtype=np.float64)
    decrease = cover * tree.impurity
    inner = tree.children_left >= 0
    gain = np.where(inner, decrease - decrease[tree.children_left] - decrease[tree.children_right], 0.0) / cover[0]
    if gain_total is not None and gain.sum() > 0:
        gain *= gain_total / gain.sum()
    flags = np.full(len(feature), LESS_EQUAL | FLOAT32_SPLIT, dtype=np.uint8)
    flags |= np.where(np.asarray(tree.missing_go_to_left, dtype=bool), MISSING_LEFT, 0).astype(np.uint8)
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=feature,
        threshold=np.asarray(tree.threshold),
        flags=flags,
        cover=cover,
        value=value,
        gain=gain,
        output=output,
        weight=weight,
    )


def class_shares(estimator: Any) -> tuple[list[Floats], list[npt.NDArray[Any]]]:
    """Return, for each target of a tree classifier, the class probabilities at every node, and the classes."""
    shares = np.asarray(estimator.tree_.value, dtype=np.float64)
    is_multi_output = estimator.n_outputs_ > 1
    classes = estimator.classes_ if is_multi_output else [estimator.classes_]
    return [shares[:, target, : len(classes_of_target)] for target, classes_of_target in enumerate(classes)], list(
        classes
    )


def node_probabilities(estimator: Any) -> Floats:
    """Node values (nodes, outputs) of a tree classifier: one column for a binary target, one a class otherwise."""
    return np.column_stack([shares[:, 1:] if shares.shape[1] == 2 else shares for shares in class_shares(estimator)[0]])


def probability_outputs(classes: list[npt.NDArray[Any]]) -> Outputs:
    """Outputs of a classifier that averages probabilities, for one or several targets."""
    if len(classes) == 1:
        names = class_names(classes[0])
        if len(names) == 2:
            return Outputs(names[1:], raw_units="probability", response_units="probability", negative_class=names[0])
        return Outputs(names, raw_units="probability", response_units="probability")
    names = tuple(
        f"y{k}={name}"
        for k, c in enumerate(classes)
        for name in (class_names(c)[1:] if len(c) == 2 else class_names(c))
    )
    return Outputs(names, raw_units="probability", response_units="probability")


def value_outputs(count: int) -> Outputs:
    """Outputs of a regressor."""
    return Outputs(("prediction",) if count == 1 else tuple(f"y{k}" for k in range(count)))


def read_single_tree(estimator: Any) -> UnverifiedModel:
    """Read DecisionTree* and ExtraTree*."""
    fitted_attribute(estimator, "tree_")
    return _mean_of_trees(estimator, [estimator])


def read_forest(estimator: Any) -> UnverifiedModel:
    """Read RandomForest* and ExtraTrees*: the mean over trees."""
    return _mean_of_trees(estimator, fitted_attribute(estimator, "estimators_"))


def _mean_of_trees(estimator: Any, members: list[Any]) -> UnverifiedModel:
    classifier = hasattr(estimator, "classes_")
    weight = 1.0 / len(members)
    trees = []
    for member in members:
        value = node_probabilities(member) if classifier else np.asarray(member.tree_.value, dtype=np.float64)[:, :, 0]
        trees.append(read_tree(member.tree_, value, weight=weight, output=0 if value.shape[1] == 1 else -1))
    if classifier:
        outputs = probability_outputs(
            class_shares(members[0])[1] if estimator.n_outputs_ == 1 else list(estimator.classes_)
        )
        if estimator.n_outputs_ == 1:
            outputs = probability_outputs([np.asarray(estimator.classes_)])
    else:
        outputs = value_outputs(int(estimator.n_outputs_))
    takes_nan = allows_nan(estimator)
    model = TreeEnsemble.from_trees(
        trees,
        base=np.zeros(len(outputs.names)),
        inputs=number_inputs(estimator, float32=True, nan=takes_nan, infinite=False),
        outputs=outputs,
        kind=import_path(estimator),
    )
    return UnverifiedModel(
        model,
        estimator.predict_proba if classifier else estimator.predict,
        "raw",
        Domain(nan=takes_nan, infinite=False),
    )


def read_isolation_forest(estimator: Any) -> UnverifiedModel:
    """Read IsolationForest. The raw output is the mean path length (units: splits); the link gives ``score_samples``."""
    members = fitted_attribute(estimator, "estimators_")
    trees = []
    for member, columns in zip(members, estimator.estimators_features_, strict=True):
        tree = member.tree_
        length = _node_depths(tree) + _average_path_length(np.asarray(tree.n_node_samples))
        trees.append(read_tree(tree, length, columns=columns, output=0, weight=1.0 / len(members)))
    scale = float(_average_path_length(np.array([estimator.max_samples_]))[0])
    if scale == 0:
        raise UnsupportedModelError(
            "this IsolationForest was fitted with max_samples=1, so every path has length zero and there is nothing to explain."
        )
    takes_nan = allows_nan(estimator)
    model = TreeEnsemble.from_trees(
        trees,
        base=[0.0],
        inputs=number_inputs(estimator, float32=True, nan=takes_nan, infinite=False),
        kind=import_path(estimator),
        outputs=Outputs(
            ("path length",),
            Link("anomaly score", scale),
            raw_units="mean path length (splits)",
            response_units="score_samples",
        ),
    )
    return UnverifiedModel(model, estimator.score_samples, "response", Domain(nan=takes_nan, infinite=False))


def _node_depths(tree: Any) -> Floats:
    """Edges from the root to each node."""
    depth = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # parents come first
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return depth


def _average_path_length(n_points: npt.NDArray[np.integer]) -> Floats:
    """Mean path length of an unsuccessful search in a binary tree of n points (Liu, Ting & Zhou, Isolation Forest, ICDM 2008, eq. 1)."""
    n_points = n_points.astype(np.float64)
    length = np.zeros(len(n_points))
    length[n_points == 2] = 1.0
    more_than_two = n_points > 2
    length[more_than_two] = (
        2.0 * (np.log(n_points[more_than_two] - 1.0) + np.euler_gamma)
        - 2.0 * (n_points[more_than_two] - 1.0) / n_points[more_than_two]
    )
    return length
