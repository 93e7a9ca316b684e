"""A tree ensemble as frozen parallel arrays: the one representation behind every tree library."""

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
    "CATEGORICAL",
    "KEEP_ALL_OUTPUTS",
    "LESS_EQUAL",
    "MISSING_LEFT",
    "NAN_AS_ZERO",
    "SET_RIGHT",
    "SINGLE",
    "TINY_AS_ZERO",
    "ZERO_MISSING",
    "Stack",
    "Tree",
    "TreeEnsemble",
]

LESS_EQUAL: Final = 1  # x <= threshold goes left (else x < threshold)
SINGLE: Final = 2  # the library rounds x to float32 first
MISSING_LEFT: Final = 4  # a missing value goes left
ZERO_MISSING: Final = 8  # zero counts as missing
NAN_AS_ZERO: Final = 16  # NaN is read as zero
CATEGORICAL: Final = 32  # membership of a set instead of a comparison
SET_RIGHT: Final = 64  # members of the set go right (else left)
TINY_AS_ZERO: Final = 128  # a value within 1e-35 of zero is read as zero; of a category, the fraction is cut off
_BITS: Final = 64  # words of a category set that are held as bits, however few categories they hold
KEEP_ALL_OUTPUTS: Final = -1  # tree_output of a tree whose leaves hold every output

_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]


@final
@dataclass
class Tree:
    """One tree as an adapter found it, before stacking; nodes in any order with the root first.

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
class Stack:
    """Several trees end to end, for adapters that read them all at once.

    Attributes:
        nodes: the fields of `Tree` for all of them; children count from their tree's first node, ``sets`` and ``linear`` from the first of all.
        sizes: (trees,) nodes of each tree. output, weight: (trees,) in place of those of `nodes`.
    """

    nodes: Tree
    sizes: _I64
    output: npt.NDArray[np.integer[Any]]
    weight: Floats

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> Stack:
        """Put trees end to end.

        Raises:
            ModelFileError: lengths differ.
        """
        if any(_ragged(t, len(t.left)) for t in trees):
            raise ModelFileError(_RAGGED)
        sizes = np.array([len(t.left) for t in trees], dtype=np.int64)
        values = [t.value if t.value.ndim == 2 else t.value[:, None] for t in trees]
        if len({v.shape[1] for v in values}) > 1:
            raise ModelFileError("some leaves of the model hold one value and others several.")
        offsets = _offsets(sizes).tolist()
        gains = [t.gain for t in trees if t.gain is not None]
        nodes = Tree(
            left=_join([t.left for t in trees], np.int64),
            right=_join([t.right for t in trees], np.int64),
            feature=_join([t.feature for t in trees], np.int32),
            threshold=_join([t.threshold for t in trees], np.float64),
            flags=_join([t.flags for t in trees], np.uint8),
            cover=_join([t.cover for t in trees], np.float64),
            value=np.concatenate(values) if values else np.empty((0, 1)),
            gain=_join(gains, np.float64) if len(gains) == len(trees) else None,
            sets={o + node: v for o, t in zip(offsets, trees, strict=False) for node, v in t.sets.items()},
            linear={o + node: v for o, t in zip(offsets, trees, strict=False) for node, v in t.linear.items()},
        )
        return cls(nodes, sizes, np.array([t.output for t in trees], np.int32), np.array([t.weight for t in trees]))


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class TreeEnsemble(Model):
    """``prediction = link(base + sum over trees of weight * leaf)``; every array is read-only and checked when made.

    Nodes of all trees stand end to end; ``left``/``right`` count from the tree's first node, children after their parent, -1 at leaves.

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
        for name in ARRAYS:
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
        if np.isnan(self.threshold[inner & (self.flags & CATEGORICAL == 0)]).any():
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
        """Whether the model kept its training weights, without which nothing path-dependent is defined."""
        roots = self.cover[self.tree_offsets[:-1]]
        return bool((roots > 0).all())

    @cached_property
    def read(self) -> npt.NDArray[np.int64]:
        """The columns that some split or linear leaf reads, in order; all others change nothing."""
        return np.unique(np.concatenate([self.feature[self.left >= 0], self.linear_feature])).astype(np.int64)

    @cached_property
    def size(self) -> Floats:
        """The largest raw output there can be, by absolute value, per output: the yardstick for rounding; (outputs,)."""
        return self.size_of(slice(None))

    def size_of(self, some: slice) -> Floats:
        """As `size`, of the base values and some of the trees."""
        out = np.abs(self.base_values).astype(np.float64)
        largest = self._largest[some]
        if self.leaf_values.shape[1] > 1 or (self.tree_output < 0).all():
            return np.asarray(out + largest.sum(axis=0))
        np.add.at(out, np.maximum(self.tree_output[some], 0), largest[:, 0])
        return out

    @cached_property
    def _largest(self) -> Floats:
        """The largest leaf value by absolute value, with its weight; (trees, outputs of a leaf)."""
        is_leaf = self.leaf >= 0
        trees = np.repeat(np.arange(self.n_trees), np.diff(self.tree_offsets))[is_leaf]
        out = np.zeros((self.n_trees, self.leaf_values.shape[1]))
        starts = np.flatnonzero(np.diff(trees, prepend=-1))  # every tree has a leaf
        if len(starts):
            out[:] = np.maximum.reduceat(np.abs(self.leaf_values[self.leaf[is_leaf]]), starts)
        return np.asarray(out * np.abs(self.tree_weight)[:, None])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every array, the link and the class names."""
        return digest(
            *(a for a in (getattr(self, name) for name in ARRAYS) if a is not None),
            self.outputs.names,
            self.outputs.link.name,
            self.outputs.link.scale,
        )

    @classmethod
    def stack(cls, trees: Sequence[Tree] | Stack, *, base: Floats | Sequence[float], **model: Any) -> TreeEnsemble:
        """Build an ensemble from trees as adapters find them; `model` holds the fields of :class:`Model`. Arrays may be shared.

        Raises:
            ModelFileError: a child points outside its tree or back up, or lengths differ.
        """
        found = _ordered(trees if isinstance(trees, Stack) else Stack.of(trees))
        nodes = found.nodes
        offsets = _offsets(found.sizes)
        left = _as(nodes.left, np.int32)
        is_leaf = left < 0
        leaf = np.where(is_leaf, np.cumsum(is_leaf) - 1, -1).astype(np.int32)
        value = nodes.value if nodes.value.ndim == 2 else nodes.value[:, None]
        begin, words, sets = _pack_sets(nodes)
        return cls(
            tree_offsets=offsets,
            left=left,
            right=_as(nodes.right, np.int32),
            feature=_as(nodes.feature, np.int32),
            leaf=leaf,
            threshold=_as(nodes.threshold, np.float64),
            cover=_as(nodes.cover, np.float64),
            flags=_as(nodes.flags, np.uint8),
            set_begin=begin,
            set_words=words,
            sets=sets,
            leaf_values=_as(value[is_leaf], np.float64),
            tree_output=_as(found.output, np.int32),
            tree_weight=_as(found.weight, np.float64),
            base_values=np.asarray(base, dtype=np.float64).copy(),
            gain=None if nodes.gain is None else _as(nodes.gain, np.float64),
            **_pack_linear(nodes, leaf),
            **model,
        )

    def unstack(self) -> list[Tree]:
        """Return the trees one by one, as `stack` takes them."""
        out = []
        for t, (start, end) in enumerate(zip(self.tree_offsets[:-1], self.tree_offsets[1:], strict=True)):
            at = slice(int(start), int(end))
            leaf = self.leaf[at]
            value = np.where((leaf >= 0)[:, None], self.leaf_values[leaf], 0.0)
            out.append(
                Tree(
                    left=self.left[at],
                    right=self.right[at],
                    feature=self.feature[at],
                    threshold=self.threshold[at],
                    flags=self.flags[at],
                    cover=self.cover[at],
                    value=value,
                    gain=None if self.gain is None else self.gain[at],
                    sets=self._sets(at),
                    linear=self._linear(leaf),
                    output=int(self.tree_output[t]),
                    weight=float(self.tree_weight[t]),
                )
            )
        return out

    def _sets(self, at: slice) -> dict[int, npt.NDArray[np.integer[Any]]]:
        out: dict[int, npt.NDArray[np.integer[Any]]] = {}
        for node in np.flatnonzero((self.flags[at] & CATEGORICAL > 0) & (self.left[at] >= 0)):
            out[int(node)] = self.members(at.start + int(node))
        return out

    def members(self, node: int) -> _I64:
        """Return the categories in a node's set, in increasing order."""
        begin, words = int(self.set_begin[node]), int(self.set_words[node])
        held = self.sets[begin : begin + abs(words)]
        if words < 0:
            return held.astype(np.int64)
        return np.flatnonzero((held[:, None] >> np.arange(32, dtype=np.uint32)) & 1)

    def _linear(self, leaf: _I32) -> dict[int, tuple[float, npt.NDArray[np.integer[Any]], Floats]]:
        if not self.has_linear_leaves:
            return {}
        out: dict[int, tuple[float, npt.NDArray[np.integer[Any]], Floats]] = {}
        for node in np.flatnonzero(leaf >= 0):
            one = int(leaf[node])
            span = slice(int(self.linear_offset[one]), int(self.linear_offset[one + 1]))
            out[int(node)] = (float(self.linear_const[one]), self.linear_feature[span], self.linear_coef[span])
        return out

    def only(self, output: int) -> TreeEnsemble:
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


ARRAYS: Final = tuple(
    f.name
    for f in fields(TreeEnsemble)
    if f.name not in {"inputs", "outputs", "kind", "own", "verdict", "rounds", "notes", "single"}
)


def _join(parts: Sequence[npt.NDArray[Any]], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return _as(np.concatenate(parts) if parts else np.empty(0), dtype)


def _as(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return np.ascontiguousarray(array, dtype=dtype)


def _offsets(sizes: _I64) -> _I64:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


_RAGGED: Final = "a tree's arrays are empty or differ in length."


def _ragged(nodes: Tree, n: int) -> bool:
    arrays = (nodes.left, nodes.right, nodes.feature, nodes.threshold, nodes.flags, nodes.cover, nodes.value)
    return n == 0 or any(len(a) != n for a in arrays)


def _ordered(found: Stack) -> Stack:
    """Renumber nodes so that children come after parents; drop nodes that no root reaches. Trees in order stay as they are."""
    if not len(found.sizes):
        return found
    nodes, sizes = found.nodes, found.sizes
    if (sizes <= 0).any() or _ragged(nodes, int(sizes.sum())):
        raise ModelFileError(_RAGGED)
    roots = _offsets(sizes)[:-1]
    first = np.repeat(roots, sizes)  # of each node's tree
    inner = np.flatnonzero(nodes.left >= 0)
    base = first[inner]
    left, right = base + nodes.left[inner], base + nodes.right[inner]
    if (np.minimum(left, right) < base).any() or (
        np.maximum(left, right) >= base + np.repeat(sizes, sizes)[inner]
    ).any():
        raise ModelFileError("a tree's child points outside the tree.")
    parents = np.bincount(left, minlength=len(first)) + np.bincount(right, minlength=len(first))
    if parents.max() > 1 or parents[roots].any():
        raise ModelFileError("a tree's node has two parents, or the root has one.")
    bad = parents == 0
    bad[roots] = False
    bad[inner] |= (left <= inner) | (right <= inner)
    if not bad.any():
        return found
    which = np.repeat(np.arange(len(sizes)), sizes)
    wrong = np.isin(np.arange(len(sizes)), which[bad])
    order = np.concatenate([np.flatnonzero(~wrong[which]), _reachable(nodes, first, roots[wrong])])
    order = order[np.argsort(which[order], kind="stable")]
    return _renumbered(found, order, first, np.bincount(which[order], minlength=len(sizes)))


def _renumbered(found: Stack, order: _I64, first: _I64, sizes: _I64) -> Stack:
    """Keep the nodes that `order` names, in that order; `sizes` of them a tree."""
    nodes = found.nodes
    new = np.full(len(first), -1)
    new[order] = np.arange(len(order)) - np.repeat(_offsets(sizes)[:-1], sizes)
    at = np.full(len(first), -1)
    at[order] = np.arange(len(order))
    keep, base = nodes.left[order] >= 0, first[order]
    kept = replace(
        nodes,
        left=np.where(keep, new[np.where(keep, base + nodes.left[order], 0)], -1),
        right=np.where(keep, new[np.where(keep, base + nodes.right[order], 0)], -1),
        feature=nodes.feature[order],
        threshold=nodes.threshold[order],
        flags=nodes.flags[order],
        cover=nodes.cover[order],
        value=nodes.value[order],
        gain=None if nodes.gain is None else nodes.gain[order],
        sets={int(at[k]): v for k, v in nodes.sets.items() if at[k] >= 0},
        linear={int(at[k]): v for k, v in nodes.linear.items() if at[k] >= 0},
    )
    return replace(found, nodes=kept, sizes=sizes)


def _reachable(nodes: Tree, first: _I64, roots: _I64) -> _I64:
    """Return the nodes that the roots reach, level by level; no node has two parents and no root has one, so there is no loop."""
    level = roots
    order = [level]
    while level.size:
        at = level[nodes.left[level] >= 0]
        level = (first[at][:, None] + np.column_stack([nodes.left[at], nodes.right[at]])).reshape(-1).astype(np.int64)
        order.append(level)
    return np.concatenate(order)


def _pack_sets(nodes: Tree) -> tuple[_I64, _I32, npt.NDArray[np.uint32]]:
    """Sets as bits; those of few large categories as lists, so that they take memory by how many they are."""
    begin, words = np.zeros(len(nodes.left), np.int64), np.zeros(len(nodes.left), np.int32)
    packed: list[npt.NDArray[np.uint32]] = []
    used = 0
    for node, found in nodes.sets.items():
        members = np.asarray(found, dtype=np.int64)
        size = int(members.max()) // 32 + 1 if len(members) else 0
        if size > _BITS and size > 2 * len(members):
            held = np.unique(members).astype(np.uint32)
            words[node] = -len(held)
        else:
            held = np.zeros(size, np.uint32)
            np.bitwise_or.at(held, members // 32, np.uint32(1) << (members % 32).astype(np.uint32))
            words[node] = size
        begin[node] = used
        packed.append(held)
        used += len(held)
    return begin, words, np.concatenate(packed) if packed else np.empty(0, np.uint32)


def _pack_linear(nodes: Tree, leaf: _I32) -> dict[str, Any]:
    if not nodes.linear:
        return {}
    leaves = int(leaf.max()) + 1
    terms: list[tuple[float, npt.NDArray[np.integer[Any]], Floats] | None] = [None] * leaves
    for node, term in nodes.linear.items():
        terms[leaf[node]] = term
    const = np.array([0.0 if t is None else t[0] for t in terms])
    plain = nodes.value.reshape(len(leaf), -1)[leaf >= 0, 0]
    const = np.where([t is None for t in terms], plain, const)
    sizes = [0 if t is None else len(t[1]) for t in terms]
    return {
        "linear_offset": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "linear_feature": _join([t[1] for t in terms if t is not None], np.int32),
        "linear_coef": _join([t[2] for t in terms if t is not None], np.float64),
        "linear_const": const.astype(np.float64),
    }
