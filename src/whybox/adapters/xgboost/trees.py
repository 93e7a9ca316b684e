"""Read the trees of XGBoost's model document; their arrays are read and checked together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.adapters.files.strict_document import CheckedNode, read_concatenated
from whybox.data.table import Floats
from whybox.errors import ModelFileError
from whybox.models.trees import CATEGORICAL_SPLIT, FLOAT32_SPLIT, MISSING_LEFT, SET_RIGHT, StackedTrees, Tree

__all__ = ["read_trees"]

_REQUIRED_FIELDS: Final = (
    "base_weights",
    "default_left",
    "id",
    "left_children",
    "loss_changes",
    "parents",
    "right_children",
    "split_conditions",
    "split_indices",
    "sum_hessian",
    "tree_param",
)
_CATEGORY_FIELDS: Final = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_OPTIONAL_FIELDS: Final = (*_CATEGORY_FIELDS, "split_type", "leaf_weights")


def read_trees(
    documents: list[CheckedNode],
    width: int,
    n_outputs: int,
    tree_outputs: npt.NDArray[np.int64],
    weight: npt.NDArray[np.float64],
) -> StackedTrees:
    """Read trees (not yet put in order), all at once.

    Args:
        documents: the trees.
        width: columns of the model.
        n_outputs: its outputs.
        tree_outputs: (trees,) the output each tree adds to; trees whose leaves hold all outputs add to all.
        weight: (trees,) what each tree is multiplied by.

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a field that this version does not know.
    """
    trees = [node.fields(_REQUIRED_FIELDS, _OPTIONAL_FIELDS) for node in documents]
    tree_shapes = [_tree_shape(fields, t, width) for t, fields in enumerate(trees)]
    sizes, leaf_widths = (
        np.array([length for length, _ in tree_shapes], dtype=np.int64),
        [n_values for _, n_values in tree_shapes],
    )
    max_nodes = int(sizes.max())

    def read(key: str, convert: Callable[[CheckedNode, int | None], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return read_concatenated([fields[key] for fields in trees], sizes.tolist(), convert)

    left, right = (
        read(key, lambda node, length: node.integer_array(length, -1, max_nodes - 1))
        for key in ("left_children", "right_children")
    )
    for key, child in (("left_children", left), ("right_children", right)):
        if (child >= np.repeat(sizes, sizes)).any():
            for fields, length in zip(trees, sizes.tolist(), strict=True):
                fields[key].integer_array(length, -1, length - 1)  # says where
    inner = left >= 0
    feature = read("split_indices", lambda node, length: node.integer_array(length, 0, 2**31 - 1))
    tree_of_node = np.repeat(np.arange(len(sizes)), sizes)
    if feature[inner].max(initial=0) >= width:
        trees[tree_of_node[inner & (feature >= width)][0]]["split_indices"].fail(
            f"a feature beyond the model's {width}"
        )
    _check_parents(trees, read("parents", lambda node, length: node.integer_array(length)), left, right, sizes)
    threshold = read("split_conditions", lambda node, length: node.float32_array(length, finite=False))
    categorical = (_split_types(trees, sizes) == 1) & inner
    flags = np.full(len(left), FLOAT32_SPLIT, dtype=np.uint8)
    flags |= np.where(
        read("default_left", lambda node, length: node.integer_array(length, 0, 1)) > 0, MISSING_LEFT, 0
    ).astype(np.uint8)
    flags |= np.where(categorical, CATEGORICAL_SPLIT | SET_RIGHT, 0).astype(np.uint8)
    has_vector_leaves = max(leaf_widths) > 1
    nodes = Tree(
        left=np.where(inner, left, -1),
        right=np.where(inner, right, -1),
        feature=np.where(inner, feature, -1),
        threshold=np.where(inner, threshold, np.nan),
        flags=flags,
        cover=read("sum_hessian", lambda node, length: node.float32_array(length)),
        value=_all_vector_leaves(trees, sizes, leaf_widths, n_outputs, inner, right)
        if has_vector_leaves
        else np.where(inner, 0.0, threshold),
        gain=np.where(inner, read("loss_changes", lambda node, length: node.float32_array(length)), 0.0),
        sets=_all_category_sets(trees, sizes, categorical),
    )
    if not has_vector_leaves:
        for fields in trees:
            if "leaf_weights" in fields and len(fields["leaf_weights"].value):
                fields["leaf_weights"].fail("several values a leaf in a tree of single ones")
    return StackedTrees(nodes, sizes, np.full(len(sizes), -1) if has_vector_leaves else tree_outputs, weight)


def _tree_shape(fields: dict[str, CheckedNode], position: int, width: int) -> tuple[int, int]:
    """The number of nodes of a tree and of values of a leaf."""
    parameters = fields["tree_param"].fields(["num_nodes", "size_leaf_vector"], ["num_deleted", "num_feature"])
    if fields["id"].integer() != position:
        fields["id"].fail(f"tree {position} was expected")
    if "num_feature" in parameters and parameters["num_feature"].integer() not in (0, width):
        parameters["num_feature"].fail(f"{width} features were expected")
    return parameters["num_nodes"].integer(1), parameters["size_leaf_vector"].integer()


def _split_types(trees: list[dict[str, CheckedNode]], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 where a node tests categories; old trees have no such field and no such nodes."""
    has_split_type = np.array(["split_type" in fields for fields in trees])
    split_types = np.zeros(sizes.sum(), dtype=np.int64)
    if has_split_type.any():
        nodes = [fields["split_type"] for fields in trees if "split_type" in fields]
        split_types[np.repeat(has_split_type, sizes)] = read_concatenated(
            nodes, sizes[has_split_type].tolist(), lambda d, n: d.integer_array(n, 0, 1)
        )
    return split_types


def _check_parents(
    trees: list[dict[str, CheckedNode]],
    parents: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Check parents, which the file stores twice; both copies must agree."""
    first_node = np.repeat(np.cumsum(sizes) - sizes, sizes)
    inner = np.flatnonzero(left >= 0)
    disagrees = (parents[first_node[inner] + left[inner]] != inner - first_node[inner]) | (
        parents[first_node[inner] + right[inner]] != inner - first_node[inner]
    )
    if disagrees.any():
        tree = np.repeat(np.arange(len(sizes)), sizes)[inner[disagrees][0]]
        trees[tree]["parents"].fail("parents that are not the parents of their children")


def _all_vector_leaves(
    trees: list[dict[str, CheckedNode]],
    sizes: npt.NDArray[np.int64],
    leaf_widths: list[int],
    n_outputs: int,
    inner: npt.NDArray[np.bool_],
    right: npt.NDArray[np.int64],
) -> Floats:
    """Leaf values of trees with one value an output, (nodes, outputs)."""
    if min(leaf_widths) <= 1:
        raise ModelFileError("some leaves of the model hold one value and others several.")
    nodes_of_tree = np.split(np.arange(len(inner)), np.cumsum(sizes)[:-1])
    return np.concatenate(
        [
            _vector_leaves(f, len(i), k, n_outputs, inner[i], right[i])
            for f, k, i in zip(trees, leaf_widths, nodes_of_tree, strict=True)
        ]
    )


def _vector_leaves(
    fields: dict[str, CheckedNode],
    n_nodes: int,
    n_values: int,
    n_outputs: int,
    inner: npt.NDArray[np.bool_],
    right: npt.NDArray[np.int64],
) -> Floats:
    """Leaf values of one tree with one value an output: its own array, indexed by right_children, or in older files base_weights."""
    if n_values != n_outputs:
        fields["tree_param"].fail(f"leaves of {n_values} values in a model of {n_outputs} outputs")
    if "leaf_weights" not in fields or not len(fields["leaf_weights"].value):
        return fields["base_weights"].float32_array(n_nodes * n_values).reshape(n_nodes, n_values)
    leaves = fields["leaf_weights"].float32_array(int((~inner).sum()) * n_values).reshape(-1, n_values)
    leaf_number = np.where(inner, 0, right)
    if sorted(leaf_number[~inner].tolist()) != list(range(len(leaves))):
        fields["right_children"].fail("leaf numbers that do not cover the leaf values")
    return np.where(inner[:, None], 0.0, leaves[leaf_number])


def _all_category_sets(
    trees: list[dict[str, CheckedNode]], sizes: npt.NDArray[np.int64], categorical: npt.NDArray[np.bool_]
) -> dict[int, npt.NDArray[Any]]:
    sets = {}
    for fields, first_node, n_nodes in zip(trees, (np.cumsum(sizes) - sizes).tolist(), sizes.tolist(), strict=True):
        nodes = np.flatnonzero(categorical[first_node : first_node + n_nodes])
        if len(nodes) or not all(_is_empty(fields[key]) for key in _CATEGORY_FIELDS if key in fields):
            sets.update({first_node + node: v for node, v in _category_sets(fields, n_nodes, nodes).items()})
    return sets


def _is_empty(node: CheckedNode) -> bool:
    return isinstance(node.value, (list, np.ndarray)) and len(node.value) == 0


def _category_sets(
    fields: dict[str, CheckedNode], n_nodes: int, nodes: npt.NDArray[np.int64]
) -> dict[int, npt.NDArray[Any]]:
    if not set(_CATEGORY_FIELDS) <= set(fields):
        if len(nodes):
            fields["split_type"].fail("categorical splits without categories")
        return {}
    set_nodes = fields["categories_nodes"].integer_array(low=0, high=n_nodes - 1)
    members = fields["categories"].integer_array(low=0, high=2**24)
    begin, size = (
        fields["categories_segments"].integer_array(len(set_nodes), 0, len(members)),
        fields["categories_sizes"].integer_array(len(set_nodes), 0, len(members)),
    )
    if sorted(set_nodes.tolist()) != sorted(nodes.tolist()) or (begin + size > len(members)).any():
        fields["categories_nodes"].fail("categories that do not match the categorical splits")
    return {int(node): members[b : b + s] for node, b, s in zip(set_nodes, begin, size, strict=True)}
