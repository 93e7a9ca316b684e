"""LightGBM's text model: the one parser behind live boosters and files. Every key is known or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.files.strict_document import CheckedNode, plain_number, plain_numbers
from whybox.data.table import Floats, Table
from whybox.errors import DtypeError, ModelFileError, UnknownFieldError, shown
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder, Inputs, NumberEncoder
from whybox.models.links import Link, Outputs
from whybox.models.trees import (
    CATEGORICAL,
    LESS_EQUAL,
    MISSING_LEFT,
    NAN_AS_ZERO,
    TINY_AS_ZERO,
    ZERO_MISSING,
    StackedTrees,
    Tree,
    TreeEnsemble,
)

__all__ = ["of_estimator", "read"]

TEXT_VERSIONS: Final = ("v2", "v3", "v4")
_HEADER: Final = {
    "version",
    "num_class",
    "num_tree_per_iteration",
    "label_index",
    "max_feature_idx",
    "objective",
    "average_output",
    "feature_names",
    "monotone_constraints",
    "feature_infos",
    "tree_sizes",
}
_TREE: Final = {
    "num_leaves",
    "num_cat",
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
    "leaf_weight",
    "leaf_count",
    "internal_value",
    "internal_weight",
    "internal_count",
    "cat_boundaries",
    "cat_threshold",
    "is_linear",
    "leaf_const",
    "num_features",
    "leaf_features",
    "leaf_coeff",
    "shrinkage",
}
_DIGITS: Final = 15  # more of them are no word of 32 categories
_INFINITE: Final = ("split_gain", "threshold")
_LOG: Final = "log of the prediction"
_IDENTITY: Final = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
_EXP: Final = {"poisson", "gamma", "tweedie"}
_RANK: Final = {"lambdarank", "rank_xendcg"}


def read(text: str, kind: str, classes: tuple[str, ...] | None = None) -> TreeEnsemble:
    """Read a text model (not yet verified).

    Args:
        text: the whole file.
        kind: how to call the model.
        classes: class names, where an estimator knows them.

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a key or an objective that this version does not know.
    """
    head, blocks, tail = _split(text)
    width = _one(head, "max_feature_idx").integer(0) + 1
    per_round, classes_count = _one(head, "num_tree_per_iteration").integer(1), _one(head, "num_class").integer(1)
    if per_round != classes_count and classes_count != 1:
        raise ModelFileError(f"the model has {classes_count} classes but grows {per_round} trees a round.")
    if len(blocks) % per_round:
        raise ModelFileError(f"the model has {len(blocks)} trees, not a whole number of rounds of {per_round}.")
    names = head.get("feature_names", "").split(" ") if head.get("feature_names") else []
    if len(names) != width or len(set(names)) != width:
        raise ModelFileError(f"the model names {len(set(names))} different features, but has {width}.")
    weight = 1.0 / (len(blocks) // per_round) if "average_output" in head and blocks else 1.0
    trees = _trees(blocks, width, per_round, weight)
    outputs = _outputs(head.get("objective"), per_round, classes)
    own_names = tuple(f"Column_{i}" for i in range(width))  # what LightGBM writes where it was given no names
    named = tuple(names) != own_names
    encoder = _encoder(tail)
    return TreeEnsemble.from_trees(
        trees,
        base=np.zeros(per_round),
        outputs=outputs,
        kind=kind,
        inputs=Inputs(
            tuple(names) if named else tuple(f"x{i}" for i in range(width)),
            named,
            encoder,
            tuple((i,) for i in range(width)),
            blank_replacement="_",
            own_names=() if named else own_names,
        ),
    )


def _split(text: str) -> tuple[dict[str, str], list[dict[str, str]], str]:
    """Return header fields, one dict of fields a tree, and what follows the trees. Announced tree sizes must be true."""
    if not text.startswith("tree\n"):
        raise ModelFileError("this is not a LightGBM text model: it does not begin with the line 'tree'.")
    end = text.find("\nend of trees\n")
    if end < 0:
        raise ModelFileError("the LightGBM model has no line 'end of trees'; it is truncated.")
    body, tail = text[: end + 1], text[end + 1 :]
    start = body.find("\nTree=0\n")
    head_text, trees_text = (body, "") if start < 0 else (body[: start + 1], body[start + 1 :])
    head = _fields(head_text.split("\n")[1:], _HEADER, "the header")
    if head.get("version") not in TEXT_VERSIONS:
        raise ModelFileError(
            f"the model's format is {head.get('version', 'not given')!r}; this version of whybox reads {shown(TEXT_VERSIONS)}."
        )
    sizes = (
        CheckedNode(
            [int(s) if s.isascii() and s.isdigit() else s for s in _words(head.get("tree_sizes", ""))], "tree_sizes"
        )
        .integers(low=1)
        .tolist()
    )
    data = trees_text.encode()
    if sum(sizes) > len(data) or data[sum(sizes) :].strip():
        raise ModelFileError(
            "the sizes of the trees that the LightGBM model announces are not their sizes; the file was truncated or edited."
        )
    blocks, at = [], 0
    for i, size in enumerate(sizes):
        lines = data[at : at + size].decode("utf-8", "replace").split("\n")
        if lines[0] != f"Tree={i}":
            raise ModelFileError(
                f"tree {i} of the LightGBM model does not stand where its announced sizes say; the file was edited."
            )
        blocks.append(_fields(lines[1:], _TREE, f"tree {i}"))
        at += size
    return head, blocks, tail


def _fields(lines: list[str], known: set[str], where: str) -> dict[str, str]:
    out: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        key, _, value = line.partition("=")
        if key not in known:
            raise UnknownFieldError(
                f"the model carries {key[:60]!r} in {where}, which this version of whybox does not know, so it could mean other predictions."
            )
        if key in out:
            raise ModelFileError(f"the model gives {key!r} twice in {where}.")
        out[key] = value
    return out


def _one(fields: dict[str, str], key: str) -> CheckedNode:
    if key not in fields:
        raise ModelFileError(f"the model lacks {key!r}; it is truncated or edited.")
    return CheckedNode(fields[key], key)


def _numbers(fields: dict[str, str], key: str, where: str, length: int) -> Floats:
    values = [plain_number(t) for t in _words(_one(fields, key).text())]
    if None in values:
        raise ModelFileError(f"{key!r} of {where} holds something that is not a number.")
    return CheckedNode(values, f"{where}.{key}").floats(length, finite=key not in _INFINITE)


def _words(text: str) -> list[str]:
    """Split at blanks, as LightGBM does; at nothing else."""
    return [w for w in text.split(" ") if w]


def _integers(fields: dict[str, str], key: str, where: str, length: int, low: int, high: int) -> npt.NDArray[np.int64]:
    return CheckedNode(_numbers(fields, key, where, length).tolist(), f"{where}.{key}").integers(length, low, high)


@final
@dataclass(frozen=True)
class _Blocks:
    """Fields of several trees, read end to end."""

    fields: list[dict[str, str]]
    position: list[int]

    def only(self, these: npt.NDArray[np.bool_]) -> _Blocks:
        """Return some of the trees."""
        at = np.flatnonzero(these).tolist()
        return _Blocks([self.fields[i] for i in at], [self.position[i] for i in at])

    def numbers(self, key: str, lengths: npt.NDArray[np.int64]) -> Floats:
        """Return numbers of all trees; where something is wrong, tree by tree, which says what and where."""
        found = plain_numbers([_one(f, key).text() for f in self.fields])
        if found is not None and found[1] == lengths.tolist() and (key in _INFINITE or np.isfinite(found[0]).all()):
            return found[0]
        parts = [_numbers(f, key, f"tree {i}", int(n)) for f, i, n in zip(*self, lengths, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0)

    def integers(
        self, key: str, lengths: npt.NDArray[np.int64], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return whole numbers of all trees, within each tree's bounds."""
        out = self.numbers(key, lengths)
        if ((out == np.floor(out)) & (out >= np.repeat(low, lengths)) & (out <= np.repeat(high, lengths))).all():
            return out.astype(np.int64)
        bounds = zip(*self, lengths, low, high, strict=True)
        return np.concatenate([_integers(f, key, f"tree {i}", int(n), int(a), int(b)) for f, i, n, a, b in bounds])

    def __iter__(self) -> Iterator[Any]:
        """Yield fields and positions."""
        return iter((self.fields, self.position))


def _trees(fields: list[dict[str, str]], width: int, per_round: int, weight: float) -> StackedTrees:
    """All trees at once. LightGBM numbers inner nodes 0 .. n-2 and leaves apart, as the complement of their number."""
    blocks = _Blocks(fields, list(range(len(fields))))
    leaves = np.array([_one(f, "num_leaves").integer(1) for f in fields], dtype=np.int64)
    splits = leaves - 1
    sizes = splits + leaves
    first = np.cumsum(sizes) - sizes
    inner = np.arange(splits.sum()) + np.repeat(first - (np.cumsum(splits) - splits), splits)
    leaf = np.arange(leaves.sum()) + np.repeat(first + splits - (np.cumsum(leaves) - leaves), leaves)
    nodes = _bare(int(sizes.sum()))
    nodes.value[leaf] = blocks.numbers("leaf_value", leaves)
    nodes.linear = _linear_leaves(fields, leaves, first + splits, width)
    grown = splits > 0  # a tree of one leaf has no more to say
    some, splits, leaves = blocks.only(grown), splits[grown], leaves[grown]
    zero = np.zeros_like(splits)
    for kids, key in ((nodes.left, "left_child"), (nodes.right, "right_child")):
        child = some.integers(key, splits, -leaves, splits - 1)
        kids[inner] = np.where(child < 0, np.repeat(splits, splits) + ~child, child)
    decision = some.integers("decision_type", splits, zero, zero + 15)
    missing, categorical = decision >> 2, decision & 1 > 0
    if (missing > 2).any():
        where = some.position[int(np.repeat(np.arange(len(splits)), splits)[np.argmax(missing > 2)])]
        raise UnknownFieldError(f"tree {where} has a missing type that this version of whybox does not know.")
    nodes.flags[inner] = TINY_AS_ZERO | np.where(
        categorical,
        CATEGORICAL,
        LESS_EQUAL
        | np.where(decision & 2 > 0, MISSING_LEFT, 0)
        | np.where(missing < 2, NAN_AS_ZERO, 0)
        | np.where(missing == 1, ZERO_MISSING, 0),
    )
    threshold = some.numbers("threshold", splits)
    nodes.threshold[inner] = np.where(categorical, np.nan, threshold)
    nodes.cover[inner] = some.integers("internal_count", splits, zero, zero + 2**62)
    nodes.cover[leaf[np.repeat(grown, sizes - sizes // 2)]] = some.integers("leaf_count", leaves, zero, zero + 2**62)
    nodes.feature[inner] = some.integers("split_feature", splits, zero, zero + width - 1)
    if nodes.gain is not None:
        nodes.gain[inner] = np.maximum(some.numbers("split_gain", splits), 0)
    at = np.cumsum(splits) - splits
    sets: dict[int, npt.NDArray[Any]] = {}
    for f, i, a, n, node in zip(*some, at, splits, first[grown], strict=True):
        mine = slice(int(a), int(a + n))
        if f.get("num_cat") != "0" or categorical[mine].any():
            found = _sets(f, f"tree {i}", threshold[mine], np.flatnonzero(categorical[mine]))
            sets.update({int(node) + k: v for k, v in found.items()})
    nodes.sets = sets
    return StackedTrees(nodes, sizes, np.arange(len(sizes)) % per_round, np.full(len(sizes), weight))


def _bare(n: int) -> Tree:
    """Return leaves without a value, to be filled."""
    none = np.full(n, -1, dtype=np.int64)
    return Tree(
        left=none,
        right=none.copy(),
        feature=none.copy(),
        threshold=np.full(n, np.nan),
        flags=np.zeros(n, np.uint8),
        cover=np.ones(n),
        value=np.zeros(n),
        gain=np.zeros(n),
    )


def _linear_leaves(
    fields: list[dict[str, str]], leaves: npt.NDArray[np.int64], first: npt.NDArray[np.int64], width: int
) -> dict[int, tuple[float, npt.NDArray[Any], Floats]]:
    """Linear functions of all trees, by node."""
    out = {}
    for i, (f, n, node) in enumerate(zip(fields, leaves.tolist(), first.tolist(), strict=True)):
        if f.get("is_linear", "0") not in ("0", "1"):
            raise ModelFileError(f"is_linear of tree {i} is neither 0 nor 1.")
        if f.get("is_linear") == "1":
            out.update({node + k: v for k, v in _linear(f, f"tree {i}", n, width).items()})
    return out


def _sets(
    f: dict[str, str], where: str, threshold: Floats, nodes: npt.NDArray[np.int64]
) -> dict[int, npt.NDArray[Any]]:
    count = _one(f, "num_cat").integer(0)
    if count == 0:
        if len(nodes):
            raise ModelFileError(f"{where} splits on categories but has none.")
        return {}
    words_total, place, held = _held_words(f, where)
    bounds = _integers(f, "cat_boundaries", where, count + 1, 0, words_total)
    which = CheckedNode(threshold[nodes].tolist(), f"{where}.threshold").integers(len(nodes), 0, count - 1)
    if (np.diff(bounds) < 0).any() or bounds[-1] != words_total:
        raise ModelFileError(f"cat_boundaries of {where} are out of order.")
    first, last = (np.searchsorted(place, b) for b in (bounds[:-1], bounds[1:]))
    out = {}
    for node, k in zip(nodes, which, strict=True):
        words = held[first[k] : last[k], None]
        row, bit = np.nonzero((words >> np.arange(32, dtype=np.uint32)) & 1)
        out[int(node)] = 32 * (place[first[k] + row] - bounds[k]) + bit
    return out


def _held_words(f: dict[str, str], where: str) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Return how many words of 32 categories a tree's sets have, and the places and values of those that are not zero.

    Where categories are large numbers nearly all words are zero: those are counted, not read one by one.
    """
    text = _one(f, "cat_threshold").text()
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    blank = data == ord(" ")
    if not (blank | ((data >= ord("0")) & (data <= ord("9")))).all():  # spelled otherwise, or not numbers at all
        words = _integers(f, "cat_threshold", where, len(_words(text)), 0, 2**32 - 1).astype(np.uint32)
        place = np.flatnonzero(words)
        return len(words), place, words[place]
    starts = np.flatnonzero(~blank & np.concatenate([[True], blank])[:-1])
    place = np.unique(np.searchsorted(starts, np.flatnonzero(~blank & (data != ord("0"))), side="right") - 1)
    ends = np.append(starts[1:], len(text))
    spelled = [text[starts[k] : ends[k]].strip(" ") for k in place]
    values = CheckedNode([int(t) if len(t) <= _DIGITS else t for t in spelled], f"{where}.cat_threshold").integers(
        None, 0, 2**32 - 1
    )
    return len(starts), place, values.astype(np.uint32)


def _linear(
    f: dict[str, str], where: str, leaves: int, width: int
) -> dict[int, tuple[float, npt.NDArray[Any], Floats]]:
    sizes = _integers(f, "num_features", where, leaves, 0, width)
    total = int(sizes.sum())
    const, columns, coef = (
        _numbers(f, "leaf_const", where, leaves),
        _integers(f, "leaf_features", where, total, 0, width - 1),
        _numbers(f, "leaf_coeff", where, total),
    )
    ends = np.cumsum(sizes)
    return {
        k: (float(const[k]), columns[e - n : e], coef[e - n : e])
        for k, (e, n) in enumerate(zip(ends, sizes, strict=True))
    }


def _outputs(objective: str | None, outputs: int, classes: tuple[str, ...] | None) -> Outputs:
    words = _words(objective or "custom")
    if not words:
        raise UnknownFieldError("the model's objective is empty, so its link is not known.")
    name, params = words[0], dict(w.split(":", 1) for w in words[1:] if ":" in w)
    plain = tuple(f"y{k}" for k in range(outputs)) if outputs > 1 else ("prediction",)
    if name in _IDENTITY:
        return (
            Outputs(plain, Link("signed square"), "signed square root of the prediction")
            if "sqrt" in words
            else Outputs(plain)
        )
    if name in _EXP:
        return Outputs(plain, Link("exp"), _LOG)
    if name in _RANK or name == "custom":
        return Outputs(plain, raw_units="score", response_units="score")
    scale = CheckedNode(params.get("sigmoid", "1"), "objective.sigmoid").number()
    if name in ("binary", "cross_entropy", "xentropy"):
        both = classes or ("0", "1")
        return Outputs(both[-1:], Link("sigmoid", scale), "log-odds" if scale == 1 else "score", "probability", both[0])
    if name in ("cross_entropy_lambda", "xentlambda"):
        return Outputs(plain, Link("log1p exp"), "score", "intensity")
    if name in ("multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr"):
        names = classes or tuple(str(k) for k in range(outputs))
        if len(names) != outputs:
            raise ModelFileError(f"the model has {outputs} outputs but {len(names)} classes.")
        if name in ("multiclass", "softmax"):
            return Outputs(names, Link("softmax"), "log-odds (softmax)", "probability")
        return Outputs(names, Link("sigmoid", scale), "log-odds", "probability")
    raise UnknownFieldError(
        f"the objective {name!r} is not known to this version of whybox, so its link from score to prediction is not either."
    )


def _encoder(tail: str) -> Encoder:
    """Which columns are categorical, and the training categories, from the parameters and the last line."""
    match = re.search(r"^pandas_categorical:(.*)$", tail, flags=re.MULTILINE)
    lists: list[Any] = []
    if match and match.group(1).strip() not in ("null", ""):
        try:
            lists = json.loads(match.group(1))
        except (ValueError, RecursionError):
            raise ModelFileError(
                "the model's last line (pandas_categorical) is not valid JSON; it is truncated or edited."
            ) from None
    if not isinstance(lists, list) or not all(
        isinstance(v, list) and all(isinstance(c, (str, int, float, bool)) for c in v) for v in lists
    ):
        raise ModelFileError("the model's last line (pandas_categorical) is not a list of categories a column.")
    base = NumberEncoder("LightGBM", unseen_code=float("nan"), array_codes=True, float32_kinds="fiubO")
    if not lists:
        return base
    listed = re.search(r"^\[categorical_feature: ([\d,]*)\]$", tail, flags=re.MULTILINE)
    columns = sorted(int(c) for c in listed.group(1).split(",") if c) if listed else []
    if len(columns) == len(lists):
        return replace(base, categories={c: tuple(v) for c, v in zip(columns, lists, strict=True)})
    return ByKind(base, tuple(tuple(v) for v in lists))


@final
@dataclass(frozen=True)
class ByKind(Encoder):
    """Categories of the table's columns that are not numbers, first to last: how LightGBM itself matches pandas columns."""

    base: NumberEncoder
    lists: tuple[tuple[Any, ...], ...]

    @property
    def is_elementwise(self) -> bool:
        """True: columns are read one to one."""
        return True

    def __call__(self, table: Table) -> Floats:
        if isinstance(table.native, np.ndarray) or table.is_matrix:
            return self.base(table)
        at = self._at(table)
        if len(at) != len(self.lists):
            raise DtypeError(
                f"the model was trained with {len(self.lists)} columns of categorical dtype, these rows have {len(at)} ({shown([table.names[i] for i in at])}). "
                "Give the columns the dtypes they had in training."
            )
        return replace(self.base, categories=dict(zip(at, self.lists, strict=True)))(table)

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of training, once the rows show which columns they belong to."""
        if table is None or isinstance(table.native, np.ndarray):
            return {}
        at = self._at(table)
        return {i: Vocabulary(v) for i, v in zip(at, self.lists, strict=True)} if len(at) == len(self.lists) else {}

    @staticmethod
    def _at(table: Table) -> list[int]:
        return [i for i in range(table.width) if table.column(i).kind not in ("number", "boolean")]


def of_estimator(encoder: Encoder) -> Encoder:
    """Return the encoder for the scikit-learn interface, which makes float64 of arrays of objects before LightGBM sees them."""
    if isinstance(encoder, ByKind):
        return replace(encoder, base=replace(encoder.base, float32_kinds="fiub"))
    return replace(encoder, float32_kinds="fiub") if isinstance(encoder, NumberEncoder) else encoder
