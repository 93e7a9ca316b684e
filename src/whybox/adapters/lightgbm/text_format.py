"""Parser of LightGBM's text model, for live boosters and files. Unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.files.strict_document import CheckedNode, parse_plain_number, parse_plain_numbers
from whybox.adapters.lightgbm.encoders import encoder_from_text
from whybox.data.table import Floats
from whybox.errors import ModelFileError, UnknownFieldError, quoted_list
from whybox.models.base import OffsetRule
from whybox.models.inputs import Inputs
from whybox.models.links import Link, Outputs
from whybox.models.trees import (
    CATEGORICAL_SPLIT,
    LESS_EQUAL,
    MISSING_LEFT,
    NAN_AS_ZERO,
    TINY_AS_ZERO,
    ZERO_MISSING,
    StackedTrees,
    Tree,
    TreeEnsemble,
)

__all__ = ["read_text_model"]

TEXT_VERSIONS: Final = ("v2", "v3", "v4")
_HEADER_KEYS: Final = {
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
_TREE_KEYS: Final = {
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
_TAIL_SECTIONS: Final = {  # first line -> the pattern of the lines below it
    "end of trees": r"",
    "feature importances:": r".*=\S+|",
    "feature_importances:": r".*=\S+|",
    "parameters:": r"\[[a-z0-9_]+: .*\]|",
    "end of parameters": r"",
}
_MAX_WORD_DIGITS: Final = 15  # more of them are no word of 32 categories
_KEYS_WITH_INFINITY: Final = ("split_gain", "threshold")
_LOG_UNITS: Final = "log of the prediction"
_IDENTITY_OBJECTIVES: Final = {"regression", "regression_l1", "huber", "fair", "quantile", "mape"}
_EXP_OBJECTIVES: Final = {"poisson", "gamma", "tweedie"}
_RANKING_OBJECTIVES: Final = {"lambdarank", "rank_xendcg"}


def read_text_model(text: str, kind: str, classes: tuple[str, ...] | None = None) -> TreeEnsemble:
    """Read a text model (not yet verified).

    Args:
        text: the whole file.
        kind: how to call the model.
        classes: class names, where an estimator knows them.

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a key, an objective or a section that this version does not know.
    """
    header, blocks, tail = _split_sections(text)
    width = _required_field(header, "max_feature_idx").integer(0) + 1
    trees_per_round, n_classes = (
        _required_field(header, "num_tree_per_iteration").integer(1),
        _required_field(header, "num_class").integer(1),
    )
    if trees_per_round != n_classes and n_classes != 1:
        raise ModelFileError(f"the model has {n_classes} classes but grows {trees_per_round} trees a round.")
    if len(blocks) % trees_per_round:
        raise ModelFileError(f"the model has {len(blocks)} trees, not a whole number of rounds of {trees_per_round}.")
    names = header.get("feature_names", "").split(" ") if header.get("feature_names") else []
    if len(names) != width or len(set(names)) != width:
        raise ModelFileError(f"the model names {len(set(names))} different features, but has {width}.")
    weight = 1.0 / (len(blocks) // trees_per_round) if "average_output" in header and blocks else 1.0
    trees = _read_trees(blocks, width, trees_per_round, weight)
    outputs = _read_outputs(header.get("objective"), trees_per_round, classes)
    own_names = tuple(f"Column_{i}" for i in range(width))  # what LightGBM writes where it was given no names
    named = tuple(names) != own_names
    _check_tail(tail)
    encoder = encoder_from_text(tail)
    return TreeEnsemble.from_trees(
        trees,
        base=np.zeros(trees_per_round),
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
        offset_rule=OffsetRule("init_score"),
    )


def _split_sections(text: str) -> tuple[dict[str, str], list[dict[str, str]], str]:
    """Return the header fields, one dict of fields a tree, and the text after the trees. Announced tree sizes must be right."""
    if not text.startswith("tree\n"):
        raise ModelFileError("this is not a LightGBM text model: it does not begin with the line 'tree'.")
    end_of_trees = text.find("\nend of trees\n")
    if end_of_trees < 0:
        raise ModelFileError("the LightGBM model has no line 'end of trees'; it is truncated.")
    body, tail = text[: end_of_trees + 1], text[end_of_trees + 1 :]
    first_tree = body.find("\nTree=0\n")
    header_text, trees_text = (body, "") if first_tree < 0 else (body[: first_tree + 1], body[first_tree + 1 :])
    header = _parse_fields(header_text.split("\n")[1:], _HEADER_KEYS, "the header")
    if header.get("version") not in TEXT_VERSIONS:
        raise ModelFileError(
            f"the model's format is {header.get('version', 'not given')!r}; this version of whybox reads {quoted_list(TEXT_VERSIONS)}."
        )
    sizes = (
        CheckedNode(
            [int(s) if s.isascii() and s.isdigit() else s for s in _split_at_blanks(header.get("tree_sizes", ""))],
            "tree_sizes",
        )
        .integer_array(low=1)
        .tolist()
    )
    data = trees_text.encode()
    if sum(sizes) > len(data) or data[sum(sizes) :].strip():
        raise ModelFileError(
            "the sizes of the trees that the LightGBM model announces are not their sizes; the file was truncated or edited."
        )
    blocks, start = [], 0
    for i, size in enumerate(sizes):
        lines = data[start : start + size].decode("utf-8", "replace").split("\n")
        if lines[0] != f"Tree={i}":
            raise ModelFileError(
                f"tree {i} of the LightGBM model does not stand where its announced sizes say; the file was edited."
            )
        blocks.append(_parse_fields(lines[1:], _TREE_KEYS, f"tree {i}"))
        start += size
    return header, blocks, tail


def _check_tail(tail: str) -> None:
    """Refuse lines after the trees that are not what LightGBM writes there.

    Names of parameters are not looked at: LightGBM keeps them as a record of the training and reads none of them when it predicts, new versions add some, and
    what bears on predictions is in the header and the trees. What is read here are the categories of training.

    Raises:
        UnknownFieldError: a line of another kind. ModelFileError: the categories are given twice.
    """
    expected = ""
    found: set[str] = set()
    for line in tail.split("\n"):
        key = line.partition(":")[0] if line.startswith(("pandas_categorical:", "[categorical_feature:")) else None
        if key is not None and key in found:
            raise ModelFileError(f"the model gives {key.lstrip('[')!r} twice after its trees; it was edited.")
        if key is not None:
            found.add(key)
        if line in _TAIL_SECTIONS:
            expected = _TAIL_SECTIONS[line]
        elif key != "pandas_categorical" and not re.fullmatch(expected, line):
            raise UnknownFieldError(
                f"the model carries {line[:60]!r} after its trees, which this version of whybox does not know, so it could mean other predictions."
            )


def _parse_fields(lines: list[str], known: set[str], where: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line.strip():
            continue
        key, _, value = line.partition("=")
        if key not in known:
            raise UnknownFieldError(
                f"the model carries {key[:60]!r} in {where}, which this version of whybox does not know, so it could mean other predictions."
            )
        if key in fields:
            raise ModelFileError(f"the model gives {key!r} twice in {where}.")
        fields[key] = value
    return fields


def _required_field(fields: dict[str, str], key: str) -> CheckedNode:
    if key not in fields:
        raise ModelFileError(f"the model lacks {key!r}; it is truncated or edited.")
    return CheckedNode(fields[key], key)


def _read_numbers(fields: dict[str, str], key: str, where: str, length: int) -> Floats:
    values = [parse_plain_number(t) for t in _split_at_blanks(_required_field(fields, key).text())]
    if None in values:
        raise ModelFileError(f"{key!r} of {where} holds something that is not a number.")
    return CheckedNode(values, f"{where}.{key}").float_array(length, finite=key not in _KEYS_WITH_INFINITY)


def _split_at_blanks(text: str) -> list[str]:
    """Split at blanks only, as LightGBM does."""
    return [w for w in text.split(" ") if w]


def _read_integers(
    fields: dict[str, str], key: str, where: str, length: int, low: int, high: int
) -> npt.NDArray[np.int64]:
    return CheckedNode(_read_numbers(fields, key, where, length).tolist(), f"{where}.{key}").integer_array(
        length, low, high
    )


@final
@dataclass(frozen=True)
class _TreeBlocks:
    """Fields of several trees, read together."""

    fields: list[dict[str, str]]
    positions: list[int]

    def select_trees(self, chosen: npt.NDArray[np.bool_]) -> _TreeBlocks:
        """Return some of the trees."""
        positions = np.flatnonzero(chosen).tolist()
        return _TreeBlocks([self.fields[i] for i in positions], [self.positions[i] for i in positions])

    def numbers(self, key: str, lengths: npt.NDArray[np.int64]) -> Floats:
        """Return numbers of all trees; after an error read tree by tree, for a message that names the tree."""
        values = parse_plain_numbers([_required_field(f, key).text() for f in self.fields])
        if (
            values is not None
            and values[1] == lengths.tolist()
            and (key in _KEYS_WITH_INFINITY or np.isfinite(values[0]).all())
        ):
            return values[0]
        values_of_trees = [_read_numbers(f, key, f"tree {i}", int(n)) for f, i, n in zip(*self, lengths, strict=True)]
        return np.concatenate(values_of_trees) if values_of_trees else np.empty(0)

    def integers(
        self, key: str, lengths: npt.NDArray[np.int64], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return whole numbers of all trees, within each tree's bounds."""
        values = self.numbers(key, lengths)
        if (
            (values == np.floor(values)) & (values >= np.repeat(low, lengths)) & (values <= np.repeat(high, lengths))
        ).all():
            return values.astype(np.int64)
        bounds = zip(*self, lengths, low, high, strict=True)
        return np.concatenate([_read_integers(f, key, f"tree {i}", int(n), int(a), int(b)) for f, i, n, a, b in bounds])

    def __iter__(self) -> Iterator[Any]:
        """Yield fields and positions."""
        return iter((self.fields, self.positions))


def _read_trees(fields: list[dict[str, str]], width: int, trees_per_round: int, weight: float) -> StackedTrees:
    """Read all trees together. LightGBM numbers inner nodes 0 .. n-2, and leaves separately by the complement of their number."""
    blocks = _TreeBlocks(fields, list(range(len(fields))))
    n_leaves = np.array(
        [_required_field(tree_fields, "num_leaves").integer(1) for tree_fields in fields], dtype=np.int64
    )
    n_splits = n_leaves - 1
    sizes = n_splits + n_leaves
    first_node = np.cumsum(sizes) - sizes
    inner_nodes = np.arange(n_splits.sum()) + np.repeat(first_node - (np.cumsum(n_splits) - n_splits), n_splits)
    leaf_nodes = np.arange(n_leaves.sum()) + np.repeat(
        first_node + n_splits - (np.cumsum(n_leaves) - n_leaves), n_leaves
    )
    nodes = _empty_nodes(int(sizes.sum()))
    nodes.value[leaf_nodes] = blocks.numbers("leaf_value", n_leaves)
    nodes.linear = _linear_leaves(fields, n_leaves, first_node + n_splits, width)
    has_splits = n_splits > 0  # a tree of one leaf has no more to say
    split_blocks, n_splits, n_leaves = blocks.select_trees(has_splits), n_splits[has_splits], n_leaves[has_splits]
    zero = np.zeros_like(n_splits)
    for children, key in ((nodes.left, "left_child"), (nodes.right, "right_child")):
        child = split_blocks.integers(key, n_splits, -n_leaves, n_splits - 1)
        children[inner_nodes] = np.where(child < 0, np.repeat(n_splits, n_splits) + ~child, child)
    decision = split_blocks.integers("decision_type", n_splits, zero, zero + 15)
    missing, categorical = decision >> 2, decision & 1 > 0
    if (missing > 2).any():
        tree = split_blocks.positions[int(np.repeat(np.arange(len(n_splits)), n_splits)[np.argmax(missing > 2)])]
        raise UnknownFieldError(f"tree {tree} has a missing type that this version of whybox does not know.")
    nodes.flags[inner_nodes] = TINY_AS_ZERO | np.where(
        categorical,
        CATEGORICAL_SPLIT,
        LESS_EQUAL
        | np.where(decision & 2 > 0, MISSING_LEFT, 0)
        | np.where(missing < 2, NAN_AS_ZERO, 0)
        | np.where(missing == 1, ZERO_MISSING, 0),
    )
    threshold = split_blocks.numbers("threshold", n_splits)
    nodes.threshold[inner_nodes] = np.where(categorical, np.nan, threshold)
    nodes.cover[inner_nodes] = split_blocks.integers("internal_count", n_splits, zero, zero + 2**62)
    nodes.cover[leaf_nodes[np.repeat(has_splits, sizes - sizes // 2)]] = split_blocks.integers(
        "leaf_count", n_leaves, zero, zero + 2**62
    )
    nodes.feature[inner_nodes] = split_blocks.integers("split_feature", n_splits, zero, zero + width - 1)
    if nodes.gain is not None:
        nodes.gain[inner_nodes] = np.maximum(split_blocks.numbers("split_gain", n_splits), 0)
    first_split = np.cumsum(n_splits) - n_splits
    sets: dict[int, npt.NDArray[Any]] = {}
    for tree_fields, tree_position, start, count, node in zip(
        *split_blocks, first_split, n_splits, first_node[has_splits], strict=True
    ):
        splits_of_tree = slice(int(start), int(start + count))
        if tree_fields.get("num_cat") != "0" or categorical[splits_of_tree].any():
            found = _category_sets(
                tree_fields,
                f"tree {tree_position}",
                threshold[splits_of_tree],
                np.flatnonzero(categorical[splits_of_tree]),
            )
            sets.update({int(node) + k: v for k, v in found.items()})
    nodes.sets = sets
    return StackedTrees(nodes, sizes, np.arange(len(sizes)) % trees_per_round, np.full(len(sizes), weight))


def _empty_nodes(n_nodes: int) -> Tree:
    """Return empty leaves, to be filled."""
    no_children = np.full(n_nodes, -1, dtype=np.int64)
    return Tree(
        left=no_children,
        right=no_children.copy(),
        feature=no_children.copy(),
        threshold=np.full(n_nodes, np.nan),
        flags=np.zeros(n_nodes, np.uint8),
        cover=np.ones(n_nodes),
        value=np.zeros(n_nodes),
        gain=np.zeros(n_nodes),
    )


def _linear_leaves(
    fields: list[dict[str, str]], leaves: npt.NDArray[np.int64], first: npt.NDArray[np.int64], width: int
) -> dict[int, tuple[float, npt.NDArray[Any], Floats]]:
    """Linear functions of all trees, by node."""
    linear = {}
    for tree, (tree_fields, n, node) in enumerate(zip(fields, leaves.tolist(), first.tolist(), strict=True)):
        if tree_fields.get("is_linear", "0") not in ("0", "1"):
            raise ModelFileError(f"is_linear of tree {tree} is neither 0 nor 1.")
        if tree_fields.get("is_linear") == "1":
            linear.update(
                {node + k: v for k, v in _linear_leaves_of_tree(tree_fields, f"tree {tree}", n, width).items()}
            )
    return linear


def _category_sets(
    tree_fields: dict[str, str], where: str, threshold: Floats, nodes: npt.NDArray[np.int64]
) -> dict[int, npt.NDArray[Any]]:
    count = _required_field(tree_fields, "num_cat").integer(0)
    if count == 0:
        if len(nodes):
            raise ModelFileError(f"{where} splits on categories but has none.")
        return {}
    n_words, word_positions, held = _nonzero_words(tree_fields, where)
    set_bounds = _read_integers(tree_fields, "cat_boundaries", where, count + 1, 0, n_words)
    set_of_node = CheckedNode(threshold[nodes].tolist(), f"{where}.threshold").integer_array(len(nodes), 0, count - 1)
    if (np.diff(set_bounds) < 0).any() or set_bounds[-1] != n_words:
        raise ModelFileError(f"cat_boundaries of {where} are out of order.")
    first_word, last_word = (np.searchsorted(word_positions, b) for b in (set_bounds[:-1], set_bounds[1:]))
    sets = {}
    for node, k in zip(nodes, set_of_node, strict=True):
        words = held[first_word[k] : last_word[k], None]
        row, bit = np.nonzero((words >> np.arange(32, dtype=np.uint32)) & 1)
        sets[int(node)] = 32 * (word_positions[first_word[k] + row] - set_bounds[k]) + bit
    return sets


def _nonzero_words(
    tree_fields: dict[str, str], where: str
) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Return how many words of 32 categories a tree's sets have, and the places and values of those that are not zero.

    Where categories are large numbers nearly all words are zero: those are counted, not read one by one.
    """
    text = _required_field(tree_fields, "cat_threshold").text()
    characters = np.frombuffer(text.encode(), dtype=np.uint8)
    is_blank = characters == ord(" ")
    if not (
        is_blank | ((characters >= ord("0")) & (characters <= ord("9")))
    ).all():  # spelled otherwise, or not numbers at all
        words = _read_integers(tree_fields, "cat_threshold", where, len(_split_at_blanks(text)), 0, 2**32 - 1).astype(
            np.uint32
        )
        positions = np.flatnonzero(words)
        return len(words), positions, words[positions]
    starts = np.flatnonzero(~is_blank & np.concatenate([[True], is_blank])[:-1])
    positions = np.unique(
        np.searchsorted(starts, np.flatnonzero(~is_blank & (characters != ord("0"))), side="right") - 1
    )
    ends = np.append(starts[1:], len(text))
    word_texts = [text[starts[k] : ends[k]].strip(" ") for k in positions]
    values = CheckedNode(
        [int(t) if len(t) <= _MAX_WORD_DIGITS else t for t in word_texts], f"{where}.cat_threshold"
    ).integer_array(None, 0, 2**32 - 1)
    return len(starts), positions, values.astype(np.uint32)


def _linear_leaves_of_tree(
    tree_fields: dict[str, str], where: str, leaves: int, width: int
) -> dict[int, tuple[float, npt.NDArray[Any], Floats]]:
    sizes = _read_integers(tree_fields, "num_features", where, leaves, 0, width)
    total = int(sizes.sum())
    constants, columns, coefficients = (
        _read_numbers(tree_fields, "leaf_const", where, leaves),
        _read_integers(tree_fields, "leaf_features", where, total, 0, width - 1),
        _read_numbers(tree_fields, "leaf_coeff", where, total),
    )
    ends = np.cumsum(sizes)
    return {
        k: (float(constants[k]), columns[e - n : e], coefficients[e - n : e])
        for k, (e, n) in enumerate(zip(ends, sizes, strict=True))
    }


def _read_outputs(objective: str | None, outputs: int, classes: tuple[str, ...] | None) -> Outputs:
    parts = _split_at_blanks(objective or "custom")
    if not parts:
        raise UnknownFieldError("the model's objective is empty, so its link is not known.")
    name, params = parts[0], dict(w.split(":", 1) for w in parts[1:] if ":" in w)
    names_without_classes = tuple(f"y{k}" for k in range(outputs)) if outputs > 1 else ("prediction",)
    if name in _IDENTITY_OBJECTIVES:
        return (
            Outputs(names_without_classes, Link("signed square"), "signed square root of the prediction")
            if "sqrt" in parts
            else Outputs(names_without_classes)
        )
    if name in _EXP_OBJECTIVES:
        return Outputs(names_without_classes, Link("exp"), _LOG_UNITS)
    if name in _RANKING_OBJECTIVES or name == "custom":
        return Outputs(names_without_classes, raw_units="score", response_units="score")
    scale = CheckedNode(params.get("sigmoid", "1"), "objective.sigmoid").number()
    if name in ("binary", "cross_entropy", "xentropy"):
        classes_of_two = classes or ("0", "1")
        return Outputs(
            classes_of_two[-1:],
            Link("sigmoid", scale),
            "log-odds" if scale == 1 else "score",
            "probability",
            classes_of_two[0],
        )
    if name in ("cross_entropy_lambda", "xentlambda"):
        return Outputs(names_without_classes, Link("log1p exp"), "score", "intensity")
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
