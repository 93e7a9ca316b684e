"""Trees in XGBoost's model document: the arrays of all of them are read, and checked, end to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.adapters.files.strict_document import CheckedNode, together
from whybox.data.table import Floats
from whybox.errors import ModelFileError
from whybox.models.trees import CATEGORICAL, FLOAT32_SPLIT, MISSING_LEFT, SET_RIGHT, StackedTrees, Tree

__all__ = ["read_trees"]

_TREE: Final = (
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
_SETS: Final = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_TREE_MORE: Final = (*_SETS, "split_type", "leaf_weights")


def read_trees(
    documents: list[CheckedNode], width: int, groups: int, info: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]
) -> StackedTrees:
    """Read trees (not yet put in order), all at once.

    Args:
        documents: the trees.
        width: columns of the model.
        groups: its outputs.
        info: (trees,) the output each tree adds to; trees whose leaves hold all outputs add to all.
        weight: (trees,) what each tree is multiplied by.

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a field that this version does not know.
    """
    trees = [d.fields(_TREE, _TREE_MORE) for d in documents]
    shapes = [_shape(f, t, width) for t, f in enumerate(trees)]
    sizes, vectors = np.array([n for n, _ in shapes], dtype=np.int64), [k for _, k in shapes]
    most = int(sizes.max())

    def read(key: str, how: Callable[[CheckedNode, int | None], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return together([f[key] for f in trees], sizes.tolist(), how)

    left, right = (read(key, lambda d, n: d.integers(n, -1, most - 1)) for key in ("left_children", "right_children"))
    for key, child in (("left_children", left), ("right_children", right)):
        if (child >= np.repeat(sizes, sizes)).any():
            for f, n in zip(trees, sizes.tolist(), strict=True):
                f[key].integers(n, -1, n - 1)  # says where
    inner = left >= 0
    feature = read("split_indices", lambda d, n: d.integers(n, 0, 2**31 - 1))
    which = np.repeat(np.arange(len(sizes)), sizes)
    if feature[inner].max(initial=0) >= width:
        trees[which[inner & (feature >= width)][0]]["split_indices"].fail(f"a feature beyond the model's {width}")
    _check_parents(trees, read("parents", lambda d, n: d.integers(n)), left, right, sizes)
    threshold = read("split_conditions", lambda d, n: d.singles(n, finite=False))
    categorical = (_kinds(trees, sizes) == 1) & inner
    flags = np.full(len(left), FLOAT32_SPLIT, dtype=np.uint8)
    flags |= np.where(read("default_left", lambda d, n: d.integers(n, 0, 1)) > 0, MISSING_LEFT, 0).astype(np.uint8)
    flags |= np.where(categorical, CATEGORICAL | SET_RIGHT, 0).astype(np.uint8)
    vector = max(vectors) > 1
    nodes = Tree(
        left=np.where(inner, left, -1),
        right=np.where(inner, right, -1),
        feature=np.where(inner, feature, -1),
        threshold=np.where(inner, threshold, np.nan),
        flags=flags,
        cover=read("sum_hessian", lambda d, n: d.singles(n)),
        value=_leaves(trees, sizes, vectors, groups, inner, right) if vector else np.where(inner, 0.0, threshold),
        gain=np.where(inner, read("loss_changes", lambda d, n: d.singles(n)), 0.0),
        sets=_all_sets(trees, sizes, categorical),
    )
    if not vector:
        for f in trees:
            if "leaf_weights" in f and len(f["leaf_weights"].value):
                f["leaf_weights"].fail("several values a leaf in a tree of single ones")
    return StackedTrees(nodes, sizes, np.full(len(sizes), -1) if vector else info, weight)


def _shape(f: dict[str, CheckedNode], position: int, width: int) -> tuple[int, int]:
    """How many nodes a tree has, and how many values a leaf."""
    param = f["tree_param"].fields(["num_nodes", "size_leaf_vector"], ["num_deleted", "num_feature"])
    if f["id"].integer() != position:
        f["id"].fail(f"tree {position} was expected")
    if "num_feature" in param and param["num_feature"].integer() not in (0, width):
        param["num_feature"].fail(f"{width} features were expected")
    return param["num_nodes"].integer(1), param["size_leaf_vector"].integer()


def _kinds(trees: list[dict[str, CheckedNode]], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """1 where a node asks for categories; old trees do not say, and have none."""
    has = np.array(["split_type" in f for f in trees])
    out = np.zeros(sizes.sum(), dtype=np.int64)
    if has.any():
        told = [f["split_type"] for f in trees if "split_type" in f]
        out[np.repeat(has, sizes)] = together(told, sizes[has].tolist(), lambda d, n: d.integers(n, 0, 1))
    return out


def _check_parents(
    trees: list[dict[str, CheckedNode]],
    parents: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Parents are kept twice in the file; both copies must agree."""
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    at = np.flatnonzero(left >= 0)
    wrong = (parents[first[at] + left[at]] != at - first[at]) | (parents[first[at] + right[at]] != at - first[at])
    if wrong.any():
        which = np.repeat(np.arange(len(sizes)), sizes)[at[wrong][0]]
        trees[which]["parents"].fail("parents that are not the parents of their children")


def _leaves(
    trees: list[dict[str, CheckedNode]],
    sizes: npt.NDArray[np.int64],
    vectors: list[int],
    groups: int,
    inner: npt.NDArray[np.bool_],
    right: npt.NDArray[np.int64],
) -> Floats:
    """Leaves of all trees that hold one value an output, (nodes, outputs)."""
    if min(vectors) <= 1:
        raise ModelFileError("some leaves of the model hold one value and others several.")
    at = np.split(np.arange(len(inner)), np.cumsum(sizes)[:-1])
    return np.concatenate(
        [_vector_leaves(f, len(i), k, groups, inner[i], right[i]) for f, k, i in zip(trees, vectors, at, strict=True)]
    )


def _vector_leaves(
    f: dict[str, CheckedNode], n: int, k: int, groups: int, inner: npt.NDArray[np.bool_], right: npt.NDArray[np.int64]
) -> Floats:
    """Leaves that hold one value an output: an array of their own, numbered through right_children; before that, base_weights."""
    if k != groups:
        f["tree_param"].fail(f"leaves of {k} values in a model of {groups} outputs")
    if "leaf_weights" not in f or not len(f["leaf_weights"].value):
        return f["base_weights"].singles(n * k).reshape(n, k)
    leaves = f["leaf_weights"].singles(int((~inner).sum()) * k).reshape(-1, k)
    index = np.where(inner, 0, right)
    if sorted(index[~inner].tolist()) != list(range(len(leaves))):
        f["right_children"].fail("leaf numbers that do not cover the leaf values")
    return np.where(inner[:, None], 0.0, leaves[index])


def _all_sets(
    trees: list[dict[str, CheckedNode]], sizes: npt.NDArray[np.int64], categorical: npt.NDArray[np.bool_]
) -> dict[int, npt.NDArray[Any]]:
    out = {}
    for f, first, n in zip(trees, (np.cumsum(sizes) - sizes).tolist(), sizes.tolist(), strict=True):
        nodes = np.flatnonzero(categorical[first : first + n])
        if len(nodes) or not all(_nothing(f[key]) for key in _SETS if key in f):
            out.update({first + node: v for node, v in _sets(f, n, nodes).items()})
    return out


def _nothing(doc: CheckedNode) -> bool:
    return isinstance(doc.value, (list, np.ndarray)) and len(doc.value) == 0


def _sets(f: dict[str, CheckedNode], n: int, nodes: npt.NDArray[np.int64]) -> dict[int, npt.NDArray[Any]]:
    if not set(_SETS) <= set(f):
        if len(nodes):
            f["split_type"].fail("categorical splits without categories")
        return {}
    at = f["categories_nodes"].integers(low=0, high=n - 1)
    members = f["categories"].integers(low=0, high=2**24)
    begin, size = (
        f["categories_segments"].integers(len(at), 0, len(members)),
        f["categories_sizes"].integers(len(at), 0, len(members)),
    )
    if sorted(at.tolist()) != sorted(nodes.tolist()) or (begin + size > len(members)).any():
        f["categories_nodes"].fail("categories that do not match the categorical splits")
    return {int(node): members[b : b + s] for node, b, s in zip(at, begin, size, strict=True)}
