"""A tree ensemble as frozen parallel arrays: the common representation of all tree libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import ModelFileError
from whybox.models.base import Model, digest

__all__ = [
    "CATEGORICAL_SPLIT",
    "FLOAT32_SPLIT",
    "KEEP_ALL_OUTPUTS",
    "LESS_EQUAL",
    "MISSING_LEFT",
    "NAN_AS_ZERO",
    "SET_RIGHT",
    "TINY_AS_ZERO",
    "ZERO_MISSING",
    "StackedTrees",
    "Tree",
    "TreeEnsemble",
]

LESS_EQUAL: Final = 1  # x <= threshold goes left (else x < threshold)
FLOAT32_SPLIT: Final = 2  # the library rounds x to float32 first
MISSING_LEFT: Final = 4  # a missing value goes left
ZERO_MISSING: Final = 8  # zero counts as missing
NAN_AS_ZERO: Final = 16  # NaN is read as zero
CATEGORICAL_SPLIT: Final = 32  # membership of a set instead of a comparison
SET_RIGHT: Final = 64  # members of the set go right (else left)
TINY_AS_ZERO: Final = 128  # a value within 1e-35 of zero is read as zero; of a category, the fraction is cut off
_MAX_BIT_WORDS: Final = 64  # sets of up to so many words are always stored as bits
KEEP_ALL_OUTPUTS: Final = -1  # tree_output of a tree whose leaves hold every output

_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]


@final
@dataclass
class Tree:
    """One tree as an adapter reads it, before stacking; nodes in any order with the root first.

    ``left`` is negative at leaves. ``value`` is (nodes,) or (nodes, outputs), read at leaves only. ``sets`` maps a categorical node
    to its member categories. ``linear`` maps a leaf to (constant, columns, coefficients).
    """

    left: npt.NDArray[np.integer[Any]]
    right: npt.NDArray[np.integer[Any]]
    feature: npt.NDArray[np.integer[Any]]
    threshold: Floats
    flags: npt.NDArray[np.uint8]
    cover: Floats
    value: Floats
    gain: Floats | None = None
    sets: Mapping[int, npt.NDArray[Any]] = field(default_factory=dict)
    linear: Mapping[int, tuple[float, npt.NDArray[Any], Floats]] = field(default_factory=dict)
    output: int = KEEP_ALL_OUTPUTS
    weight: float = 1.0


@final
@dataclass
class StackedTrees:
    """Several concatenated trees, for adapters that read all trees at once.

    Attributes:
        nodes: the fields of `Tree` for all of them; children count from their tree's first node, ``sets`` and ``linear`` from the first of all.
        sizes: (trees,) nodes of each tree. output, weight: (trees,) in place of those of `nodes`.
    """

    nodes: Tree
    sizes: _I64
    output: npt.NDArray[np.integer[Any]]
    weight: Floats

    @classmethod
    def from_trees(cls, trees: Sequence[Tree]) -> StackedTrees:
        """Concatenate trees.

        Raises:
            ModelFileError: lengths differ.
        """
        if any(_has_unequal_lengths(t, len(t.left)) for t in trees):
            raise ModelFileError(_UNEQUAL_LENGTHS)
        sizes = np.array([len(t.left) for t in trees], dtype=np.int64)
        values = [t.value if t.value.ndim == 2 else t.value[:, None] for t in trees]
        if len({v.shape[1] for v in values}) > 1:
            raise ModelFileError("some leaves of the model hold one value and others several.")
        first_nodes = _offsets_of(sizes).tolist()
        gains = [t.gain for t in trees if t.gain is not None]
        nodes = Tree(
            left=_concatenate_as([t.left for t in trees], np.int64),
            right=_concatenate_as([t.right for t in trees], np.int64),
            feature=_concatenate_as([t.feature for t in trees], np.int32),
            threshold=_concatenate_as([t.threshold for t in trees], np.float64),
            flags=_concatenate_as([t.flags for t in trees], np.uint8),
            cover=_concatenate_as([t.cover for t in trees], np.float64),
            value=np.concatenate(values) if values else np.empty((0, 1)),
            gain=_concatenate_as(gains, np.float64) if len(gains) == len(trees) else None,
            sets={o + node: v for o, t in zip(first_nodes, trees, strict=False) for node, v in t.sets.items()},
            linear={o + node: v for o, t in zip(first_nodes, trees, strict=False) for node, v in t.linear.items()},
        )
        return cls(nodes, sizes, np.array([t.output for t in trees], np.int32), np.array([t.weight for t in trees]))


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class TreeEnsemble(Model):
    """``prediction = link(base + sum over trees of weight * leaf)``; every array is read-only and checked when made.

    The nodes of all trees are concatenated; ``left``/``right`` count from the tree's first node, children after their parent, -1 at leaves.

    Attributes:
        tree_offsets: (trees + 1,) first node of each tree.
        left, right, feature, leaf: (nodes,) int32; ``feature`` is a model column, ``leaf`` a row of ``leaf_values`` (-1 inside).
        threshold: (nodes,) float64; ``flags`` (nodes,) uint8 says how it is compared (the constants of this module).
        cover: (nodes,) training weight that reached the node. gain: (nodes,) impurity decrease, or None when the library keeps none.
        set_begin, set_words, sets: category sets: 32 categories a word, or, where ``set_words`` is negative, that many categories in
            increasing order.
        leaf_values: (leaves, 1) or (leaves, outputs) when ``tree_output`` is -1.
        tree_output: (trees,) the output a tree adds to. tree_weight: (trees,) folded scale: averaging, DART, learning rates.
        base_values: (outputs,).
        linear_offset, linear_feature, linear_coef, linear_const: leaves that are linear functions (LightGBM), else empty.
    """

    tree_offsets: _I64
    left: _I32
    right: _I32
    feature: _I32
    leaf: _I32
    threshold: Floats
    cover: Floats
    flags: npt.NDArray[np.uint8]
    set_begin: _I64
    set_words: _I32
    sets: npt.NDArray[np.uint32]
    leaf_values: Floats
    tree_output: _I32
    tree_weight: Floats
    base_values: Floats
    gain: Floats | None = None
    linear_offset: _I64 = field(default_factory=lambda: np.empty(0, np.int64))
    linear_feature: _I32 = field(default_factory=lambda: np.empty(0, np.int32))
    linear_coef: Floats = field(default_factory=lambda: np.empty(0))
    linear_const: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        for name in ARRAY_FIELDS:
            array = getattr(self, name)
            if array is not None:
                array.flags.writeable = False
        if len(self.base_values) != len(self.outputs.names):
            raise ModelFileError(
                f"the model has {len(self.base_values)} base values for {len(self.outputs.names)} outputs."
            )
        inner = self.left >= 0
        if not np.isfinite(self.leaf_values).all() or not np.isfinite(self.base_values).all():
            raise ModelFileError("a leaf or base value of the model is not finite.")
        if np.isnan(self.threshold[inner & (self.flags & CATEGORICAL_SPLIT == 0)]).any():
            raise ModelFileError("a split threshold of the model is NaN.")
        if not (np.isfinite(self.cover).all() and (self.cover >= 0).all()):
            raise ModelFileError("a node's training weight is negative or not finite.")

    @property
    def n_trees(self) -> int:
        """Number of trees that count."""
        return len(self.tree_output)

    @property
    def base(self) -> Floats:
        """Constant added to each output, (outputs,)."""
        return self.base_values

    @property
    def has_linear_leaves(self) -> bool:
        """Whether any leaf is a linear function instead of a constant."""
        return len(self.linear_offset) > 0

    @property
    def has_covers(self) -> bool:
        """Whether the model stores its training weights, which path-dependent values need."""
        roots = self.cover[self.tree_offsets[:-1]]
        return bool((roots > 0).all())

    @cached_property
    def columns_read(self) -> npt.NDArray[np.int64]:
        """The columns that a split or linear leaf reads, in order; all others have no effect."""
        return np.unique(np.concatenate([self.feature[self.left >= 0], self.linear_feature])).astype(np.int64)

    @cached_property
    def category_columns(self) -> npt.NDArray[np.int64]:
        """The columns that some split reads as categories, in order."""
        return np.unique(self.feature[(self.left >= 0) & (self.flags & CATEGORICAL_SPLIT > 0)]).astype(np.int64)

    @cached_property
    def rounding_scale(self) -> Floats:
        """A bound on the absolute raw output, to which rounding is relative; (outputs,)."""
        return self.rounding_scale_of(slice(None))

    def rounding_scale_of(self, trees: slice) -> Floats:
        """The same bound for the base values and some of the trees."""
        scale = np.abs(self.base_values).astype(np.float64)
        largest = self._largest_leaf_values[trees]
        if self.leaf_values.shape[1] > 1 or (self.tree_output < 0).all():
            return np.asarray(scale + largest.sum(axis=0))
        np.add.at(scale, np.maximum(self.tree_output[trees], 0), largest[:, 0])
        return scale

    @cached_property
    def _largest_leaf_values(self) -> Floats:
        """The largest leaf value by absolute value, with its weight; (trees, outputs of a leaf)."""
        is_leaf = self.leaf >= 0
        trees = np.repeat(np.arange(self.n_trees), np.diff(self.tree_offsets))[is_leaf]
        largest = np.zeros((self.n_trees, self.leaf_values.shape[1]))
        starts = np.flatnonzero(np.diff(trees, prepend=-1))  # every tree has a leaf
        if len(starts):
            largest[:] = np.maximum.reduceat(np.abs(self.leaf_values[self.leaf[is_leaf]]), starts)
        return np.asarray(largest * np.abs(self.tree_weight)[:, None])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every array, the link and the class names."""
        return digest(
            *(a for a in (getattr(self, name) for name in ARRAY_FIELDS) if a is not None),
            self.outputs.names,
            self.outputs.link.name,
            self.outputs.link.scale,
        )

    @classmethod
    def from_trees(
        cls, trees: Sequence[Tree] | StackedTrees, *, base: Floats | Sequence[float], **model: Any
    ) -> TreeEnsemble:
        """Build an ensemble from trees as adapters read them; `model` holds the fields of :class:`Model`. Arrays may be shared.

        Raises:
            ModelFileError: a child points outside its tree or back up, or lengths differ.
        """
        stacked = _parents_first(trees if isinstance(trees, StackedTrees) else StackedTrees.from_trees(trees))
        nodes = stacked.nodes
        offsets = _offsets_of(stacked.sizes)
        left = _contiguous_as(nodes.left, np.int32)
        is_leaf = left < 0
        leaf = np.where(is_leaf, np.cumsum(is_leaf) - 1, -1).astype(np.int32)
        value = nodes.value if nodes.value.ndim == 2 else nodes.value[:, None]
        set_begin, set_words, sets = _pack_sets(nodes)
        return cls(
            tree_offsets=offsets,
            left=left,
            right=_contiguous_as(nodes.right, np.int32),
            feature=_contiguous_as(nodes.feature, np.int32),
            leaf=leaf,
            threshold=_contiguous_as(nodes.threshold, np.float64),
            cover=_contiguous_as(nodes.cover, np.float64),
            flags=_contiguous_as(nodes.flags, np.uint8),
            set_begin=set_begin,
            set_words=set_words,
            sets=sets,
            leaf_values=_contiguous_as(value[is_leaf], np.float64),
            tree_output=_contiguous_as(stacked.output, np.int32),
            tree_weight=_contiguous_as(stacked.weight, np.float64),
            base_values=np.asarray(base, dtype=np.float64).copy(),
            gain=None if nodes.gain is None else _contiguous_as(nodes.gain, np.float64),
            **_pack_linear(nodes, leaf),
            **model,
        )

    def to_trees(self) -> list[Tree]:
        """Return the trees one by one, as `from_trees` takes them."""
        trees = []
        for t, (start, end) in enumerate(zip(self.tree_offsets[:-1], self.tree_offsets[1:], strict=True)):
            nodes = slice(int(start), int(end))
            leaf = self.leaf[nodes]
            value = np.where((leaf >= 0)[:, None], self.leaf_values[leaf], 0.0)
            trees.append(
                Tree(
                    left=self.left[nodes],
                    right=self.right[nodes],
                    feature=self.feature[nodes],
                    threshold=self.threshold[nodes],
                    flags=self.flags[nodes],
                    cover=self.cover[nodes],
                    value=value,
                    gain=None if self.gain is None else self.gain[nodes],
                    sets=self._sets_by_node(nodes),
                    linear=self._linear_by_node(leaf),
                    output=int(self.tree_output[t]),
                    weight=float(self.tree_weight[t]),
                )
            )
        return trees

    def _sets_by_node(self, nodes: slice) -> dict[int, npt.NDArray[np.integer[Any]]]:
        sets: dict[int, npt.NDArray[np.integer[Any]]] = {}
        for node in np.flatnonzero((self.flags[nodes] & CATEGORICAL_SPLIT > 0) & (self.left[nodes] >= 0)):
            sets[int(node)] = self.set_members(nodes.start + int(node))
        return sets

    def set_members(self, node: int) -> _I64:
        """Return the categories in a node's set, in increasing order."""
        first_word, n_words = int(self.set_begin[node]), int(self.set_words[node])
        stored_words = self.sets[first_word : first_word + abs(n_words)]
        if n_words < 0:
            return stored_words.astype(np.int64)
        return np.flatnonzero((stored_words[:, None] >> np.arange(32, dtype=np.uint32)) & 1)

    def _linear_by_node(self, leaf: _I32) -> dict[int, tuple[float, npt.NDArray[np.integer[Any]], Floats]]:
        if not self.has_linear_leaves:
            return {}
        linear: dict[int, tuple[float, npt.NDArray[np.integer[Any]], Floats]] = {}
        for node in np.flatnonzero(leaf >= 0):
            leaf_row = int(leaf[node])
            terms = slice(int(self.linear_offset[leaf_row]), int(self.linear_offset[leaf_row + 1]))
            linear[int(node)] = (
                float(self.linear_const[leaf_row]),
                self.linear_feature[terms],
                self.linear_coef[terms],
            )
        return linear

    def select_output(self, output: int) -> TreeEnsemble:
        """Return the sub-model of one output."""
        outputs = replace(self.outputs, names=(self.outputs.names[output],))
        if (self.tree_output < 0).any():
            return replace(
                self,
                leaf_values=self.leaf_values[:, [output]].copy() if self.leaf_values.shape[1] > 1 else self.leaf_values,
                tree_output=np.zeros_like(self.tree_output),
                base_values=self.base_values[[output]],
                outputs=outputs,
            )
        return replace(
            self,
            tree_weight=np.where(self.tree_output == output, self.tree_weight, 0.0),
            tree_output=np.zeros_like(self.tree_output),
            base_values=self.base_values[[output]],
            outputs=outputs,
        )


ARRAY_FIELDS: Final = tuple(f.name for f in fields(TreeEnsemble) if f.name not in {g.name for g in fields(Model)})


def _concatenate_as(parts: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return _contiguous_as(np.concatenate(parts) if parts else np.empty(0), dtype)


def _contiguous_as(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.ascontiguousarray(array, dtype=dtype)


def _offsets_of(sizes: _I64) -> _I64:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


_UNEQUAL_LENGTHS: Final = "a tree's arrays are empty or differ in length."


def _has_unequal_lengths(nodes: Tree, n_nodes: int) -> bool:
    arrays = (nodes.left, nodes.right, nodes.feature, nodes.threshold, nodes.flags, nodes.cover, nodes.value)
    return n_nodes == 0 or any(len(a) != n_nodes for a in arrays)


def _parents_first(stacked: StackedTrees) -> StackedTrees:
    """Renumber nodes so that children follow their parents; drop nodes that no root reaches. Ordered trees stay unchanged."""
    if not len(stacked.sizes):
        return stacked
    nodes, sizes = stacked.nodes, stacked.sizes
    if (sizes <= 0).any() or _has_unequal_lengths(nodes, int(sizes.sum())):
        raise ModelFileError(_UNEQUAL_LENGTHS)
    roots = _offsets_of(sizes)[:-1]
    first_node = np.repeat(roots, sizes)  # of each node's tree
    inner = np.flatnonzero(nodes.left >= 0)
    base = first_node[inner]
    left, right = base + nodes.left[inner], base + nodes.right[inner]
    if (np.minimum(left, right) < base).any() or (
        np.maximum(left, right) >= base + np.repeat(sizes, sizes)[inner]
    ).any():
        raise ModelFileError("a tree's child points outside the tree.")
    parents = np.bincount(left, minlength=len(first_node)) + np.bincount(right, minlength=len(first_node))
    if parents.max() > 1 or parents[roots].any():
        raise ModelFileError("a tree's node has two parents, or the root has one.")
    misplaced = parents == 0
    misplaced[roots] = False
    misplaced[inner] |= (left <= inner) | (right <= inner)
    if not misplaced.any():
        return stacked
    tree_of_node = np.repeat(np.arange(len(sizes)), sizes)
    unordered = np.isin(np.arange(len(sizes)), tree_of_node[misplaced])
    order = np.concatenate(
        [np.flatnonzero(~unordered[tree_of_node]), _reachable_nodes(nodes, first_node, roots[unordered])]
    )
    order = order[np.argsort(tree_of_node[order], kind="stable")]
    return _keep_nodes(stacked, order, first_node, np.bincount(tree_of_node[order], minlength=len(sizes)))


def _keep_nodes(stacked: StackedTrees, order: _I64, first_node: _I64, sizes: _I64) -> StackedTrees:
    """Keep the nodes in `order`, in that order; `sizes` nodes a tree."""
    nodes = stacked.nodes
    new_in_tree = np.full(len(first_node), -1)
    new_in_tree[order] = np.arange(len(order)) - np.repeat(_offsets_of(sizes)[:-1], sizes)
    new_position = np.full(len(first_node), -1)
    new_position[order] = np.arange(len(order))
    is_inner, tree_start = nodes.left[order] >= 0, first_node[order]
    renumbered = replace(
        nodes,
        left=np.where(is_inner, new_in_tree[np.where(is_inner, tree_start + nodes.left[order], 0)], -1),
        right=np.where(is_inner, new_in_tree[np.where(is_inner, tree_start + nodes.right[order], 0)], -1),
        feature=nodes.feature[order],
        threshold=nodes.threshold[order],
        flags=nodes.flags[order],
        cover=nodes.cover[order],
        value=nodes.value[order],
        gain=None if nodes.gain is None else nodes.gain[order],
        sets={int(new_position[k]): v for k, v in nodes.sets.items() if new_position[k] >= 0},
        linear={int(new_position[k]): v for k, v in nodes.linear.items() if new_position[k] >= 0},
    )
    return replace(stacked, nodes=renumbered, sizes=sizes)


def _reachable_nodes(nodes: Tree, first_node: _I64, roots: _I64) -> _I64:
    """Return the nodes that the roots reach, level by level; no node has two parents and no root has one, so there is no cycle."""
    level = roots
    order = [level]
    while level.size:
        inner = level[nodes.left[level] >= 0]
        level = (
            (first_node[inner][:, None] + np.column_stack([nodes.left[inner], nodes.right[inner]]))
            .reshape(-1)
            .astype(np.int64)
        )
        order.append(level)
    return np.concatenate(order)


def _pack_sets(nodes: Tree) -> tuple[_I64, _I32, npt.NDArray[np.uint32]]:
    """Category sets as bits, or as lists if they have few large categories."""
    set_begin, set_words = np.zeros(len(nodes.left), np.int64), np.zeros(len(nodes.left), np.int32)
    packed: list[npt.NDArray[np.uint32]] = []
    n_words = 0
    for node, categories in nodes.sets.items():
        members = np.asarray(categories, dtype=np.int64)
        n_bit_words = int(members.max()) // 32 + 1 if len(members) else 0
        if n_bit_words > _MAX_BIT_WORDS and n_bit_words > 2 * len(members):
            stored_words = np.unique(members).astype(np.uint32)
            set_words[node] = -len(stored_words)
        else:
            stored_words = np.zeros(n_bit_words, np.uint32)
            np.bitwise_or.at(stored_words, members // 32, np.uint32(1) << (members % 32).astype(np.uint32))
            set_words[node] = n_bit_words
        set_begin[node] = n_words
        packed.append(stored_words)
        n_words += len(stored_words)
    return set_begin, set_words, np.concatenate(packed) if packed else np.empty(0, np.uint32)


def _pack_linear(nodes: Tree, leaf: _I32) -> dict[str, Any]:
    if not nodes.linear:
        return {}
    leaves = int(leaf.max()) + 1
    terms: list[tuple[float, npt.NDArray[np.integer[Any]], Floats] | None] = [None] * leaves
    for node, term in nodes.linear.items():
        terms[leaf[node]] = term
    const = np.array([0.0 if t is None else t[0] for t in terms])
    constant_values = nodes.value.reshape(len(leaf), -1)[leaf >= 0, 0]
    const = np.where([t is None for t in terms], constant_values, const)
    sizes = [0 if t is None else len(t[1]) for t in terms]
    return {
        "linear_offset": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "linear_feature": _concatenate_as([t[1] for t in terms if t is not None], np.int32),
        "linear_coef": _concatenate_as([t[2] for t in terms if t is not None], np.float64),
        "linear_const": const.astype(np.float64),
    }
