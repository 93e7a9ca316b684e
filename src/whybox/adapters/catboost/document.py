"""Parser of CatBoost's JSON model, for live models, JSON files and cbm files. Unknown fields are refused."""

from __future__ import annotations

import json
from typing import Final

import numpy as np

from whybox.adapters.catboost.cityhash import category_hash
from whybox.adapters.catboost.encoders import CatBoostEncoder, CtrElement, CtrFeature, CtrTable
from whybox.adapters.catboost.losses import outputs_of_loss
from whybox.adapters.files.strict_document import CheckedNode
from whybox.data.table import Floats
from whybox.errors import UnknownFieldError, UnsupportedModelError
from whybox.models.base import OffsetRule
from whybox.models.inputs import Inputs
from whybox.models.trees import (
    CATEGORICAL_SPLIT,
    FLOAT32_SPLIT,
    LESS_EQUAL,
    MISSING_LEFT,
    SET_RIGHT,
    Tree,
    TreeEnsemble,
)

__all__ = ["read_document"]

_MAX_HASHES_CHECKED: Final = 10_000  # of a million categories some are enough
_MAX_TREE_DEPTH: Final = 16  # symmetric trees


def read_document(node: CheckedNode, kind: str, classes: tuple[str, ...] | None = None) -> TreeEnsemble:
    """Read a JSON model (not yet verified).

    Args:
        node: the whole document.
        kind: how to call the model.
        classes: class names, where an estimator knows them.

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a field, a loss or a split type that this version does not know.
        UnsupportedModelError: text or embedding features, which are functions of other models.
    """
    root = node.fields(
        ["features_info", "model_info", "scale_and_bias"], ["oblivious_trees", "trees", "ctr_data", "cat_features_hash"]
    )
    columns = _ModelColumns(root)
    parts = list(root["scale_and_bias"].items())
    if len(parts) != 2:
        root["scale_and_bias"].fail("a scale and a bias were expected")
    scale, bias = parts[0].number(), parts[1].float_array()
    outputs = outputs_of_loss(root["model_info"], len(bias), classes)
    if not any(root[key].value for key in ("oblivious_trees", "trees") if key in root):
        raise UnsupportedModelError("the model has no trees: it predicts a constant, and CatBoost itself refuses to.")
    trees = [_read_symmetric_tree(t, columns, len(bias)) for t in _tree_nodes(root, "oblivious_trees")]
    trees += [_read_nested_tree(t, columns, len(bias)) for t in _tree_nodes(root, "trees")]
    for tree in trees:
        tree.weight = scale
    combined = sorted({c.columns for c in columns.encoder.ctr_features if len(c.columns) > 1})
    note = (
        "CatBoost combines columns into counters, so these columns are explained as one: "
        + "; ".join(
            " + ".join(columns.names[i] for i in group) for group in columns.inputs().group_columns() if len(group) > 1
        )
        + ". Train with max_ctr_complexity=1 to have them apart."
    )
    return TreeEnsemble.from_trees(
        trees,
        base=bias,
        inputs=columns.inputs(),
        outputs=outputs,
        kind=kind,
        notes=(note,) if combined else (),
        offset_rule=OffsetRule("baseline"),
    )


def _tree_nodes(root: dict[str, CheckedNode], key: str) -> list[CheckedNode]:
    return list(root[key].items()) if key in root and root[key].value is not None else []


class _ModelColumns:
    """The features of the document, and the splits that its trees use, by index."""

    def __init__(self, root: dict[str, CheckedNode]) -> None:
        info = root["features_info"].fields(
            [],
            [
                "float_features",
                "categorical_features",
                "ctrs",
                "text_features",
                "embedding_features",
                "cat_features_hash",
            ],
        )
        if "cat_features_hash" in info:
            _check_hashes(info["cat_features_hash"])
        for kind in ("text_features", "embedding_features"):
            if kind in info and info[kind].value:
                raise UnsupportedModelError(
                    f"the model uses CatBoost {kind.replace('_', ' ')}, which it turns into numbers by other models; that cannot be explained exactly."
                )
        self.float_features = (
            [_FloatFeature(d) for d in info["float_features"].items()] if "float_features" in info else []
        )
        self.category_features = (
            [_CatFeature(d) for d in info["categorical_features"].items()] if "categorical_features" in info else []
        )
        flat_indices = sorted(
            [f.flat_index for f in self.float_features] + [c.flat_index for c in self.category_features]
        )
        if (
            flat_indices != list(range(len(flat_indices)))
            or [f.index for f in self.float_features] != list(range(len(self.float_features)))
            or [c.index for c in self.category_features] != list(range(len(self.category_features)))
        ):
            root["features_info"].fail("feature numbers that are not 0, 1, 2, ...")
        name_of_column = {f.flat_index: f.name for f in self.float_features} | {
            c.flat_index: c.name for c in self.category_features
        }
        self.names = tuple(name_of_column[i] for i in flat_indices)
        # trained on arrays, CatBoost stores empty names; "0", "1", ... are names like others
        self.named = bool(self.names) and all(self.names)
        if not self.named:
            self.names = tuple(f"x{i}" for i in flat_indices)
        ctr_tables = _read_ctr_tables(root["ctr_data"]) if "ctr_data" in root else {}
        ctr_features = [_read_ctr(d, self, ctr_tables) for d in info["ctrs"].items()] if "ctrs" in info else []
        one_hot = {c.flat_index: c.values for c in self.category_features if c.values}
        self.encoder = CatBoostEncoder(
            tuple(f.flat_index for f in self.float_features),
            one_hot,
            tuple(c for c, _ in ctr_features),
            frozenset(c.flat_index for c in self.category_features),
        )
        self.splits = self._list_splits([borders for _, borders in ctr_features])

    def _list_splits(self, ctr_borders: list[list[float]]) -> list[tuple[int, float, int]]:
        """The (model column, border or code, flags) of each split_index: borders of floats, one-hot values, borders of CTR features."""
        floats, one_hot = self.float_features, self.encoder.one_hot
        splits = [(i, b, LESS_EQUAL | FLOAT32_SPLIT | f.nan_flag) for i, f in enumerate(floats) for b in f.borders]
        for i, values in enumerate(one_hot.values(), len(floats)):
            splits += [(i, float(k), CATEGORICAL_SPLIT | SET_RIGHT) for k in range(len(values))]
        for i, borders in enumerate(ctr_borders, len(floats) + len(one_hot)):
            splits += [(i, b, LESS_EQUAL | FLOAT32_SPLIT) for b in borders]
        return splits

    def inputs(self) -> Inputs:
        return Inputs(self.names, self.named, self.encoder, self.encoder.sources)

    def split_of(self, split: CheckedNode) -> tuple[int, float, int]:
        """Return a split's (column, border, flags); the fields of the split must agree with its index."""
        fields = split.fields(
            ["split_index", "split_type"],
            ["border", "float_feature_index", "cat_feature_index", "value", "ctr_target_border_idx"],
        )
        index = (
            fields["split_index"].integer(0, len(self.splits) - 1)
            if self.splits
            else split.fail("a split in a model without features")
        )
        column, border, flags = self.splits[index]
        kind = fields["split_type"].text()
        if kind == "OneHotFeature":
            is_consistent = (
                flags & CATEGORICAL_SPLIT
                and "value" in fields
                and self._hash_of(column, border) == fields["value"].integer(-(2**31), 2**32 - 1)
            )
        elif kind in ("FloatFeature", "OnlineCtr"):
            is_consistent = (
                not flags & CATEGORICAL_SPLIT and "border" in fields and fields["border"].float32() == border
            )
            is_consistent = is_consistent and (
                kind != "FloatFeature"
                or ("float_feature_index" in fields and fields["float_feature_index"].integer() == column)
            )
        else:
            raise UnknownFieldError(f"the split type {kind!r} at {split.path} is not known to this version of whybox.")
        if not is_consistent:
            split.fail("a split whose border is not the one its number stands for")
        return column, border, flags

    def _hash_of(self, column: int, code: float) -> int:
        return list(self.encoder.one_hot.values())[column - len(self.float_features)][int(code)]


class _FloatFeature:
    def __init__(self, doc: CheckedNode) -> None:
        f = doc.fields(
            ["borders", "feature_index", "flat_feature_index", "has_nans", "nan_value_treatment"],
            ["feature_id", "feature_name"],
        )
        self.index, self.flat_index = f["feature_index"].integer(), f["flat_feature_index"].integer()
        self.borders = f["borders"].float32_array().tolist()
        if self.borders != sorted(self.borders):
            f["borders"].fail("borders out of order")
        self.name = _feature_name(f)
        nan = f["nan_value_treatment"].text()
        if nan not in ("AsIs", "AsFalse", "AsTrue"):
            raise UnknownFieldError(f"nan_value_treatment {nan!r} is not known to this version of whybox.")
        if not isinstance(f["has_nans"].value, bool):
            f["has_nans"].fail("true or false was expected")
        # NaN > border is false, unless training had missing values and the model says otherwise
        self.nan_flag = 0 if nan == "AsTrue" and f["has_nans"].value else MISSING_LEFT


class _CatFeature:
    def __init__(self, doc: CheckedNode) -> None:
        f = doc.fields(["feature_index", "flat_feature_index"], ["feature_id", "feature_name", "values"])
        self.index, self.flat_index = f["feature_index"].integer(), f["flat_feature_index"].integer()
        self.values = (
            tuple(int(v) for v in f["values"].integer_array(low=-(2**31), high=2**31 - 1)) if "values" in f else ()
        )
        self.name = _feature_name(f)


def _check_hashes(node: CheckedNode) -> None:
    """Check that the stored hashes of training categories (written by ``save_model(pool=...)``) equal ours."""
    entries = [] if node.value is None else list(node.items())  # null where the pool has no categories
    for entry in entries[:: 1 + len(entries) // _MAX_HASHES_CHECKED]:
        fields = entry.fields(["hash", "value"])
        if (
            category_hash(fields["value"].text()) & 0xFFFFFFFF
            != fields["hash"].integer(-(2**31), 2**32 - 1) & 0xFFFFFFFF
        ):
            fields["hash"].fail("a hash that is not that of its category")


def _feature_name(fields: dict[str, CheckedNode]) -> str:
    names = [fields[k].text() for k in ("feature_id", "feature_name") if k in fields and fields[k].value]
    return names[0] if names else ""


def _read_ctr_tables(node: CheckedNode) -> dict[str, CtrTable]:
    tables = {}
    if not isinstance(node.value, dict):
        node.fail("an object was expected")
    for identifier, value in node.value.items():
        fields = CheckedNode(value, f"{node.path}[{identifier}]").fields(
            ["hash_map", "hash_stride", "counter_denominator"]
        )
        stride, records = fields["hash_stride"].integer(2, 10_000), fields["hash_map"].value
        if not isinstance(records, list) or len(records) % stride:
            fields["hash_map"].fail("a list of whole records was expected")
        values: dict[int, tuple[float, ...]] = {}
        for i in range(0, len(records), stride):
            key = CheckedNode(records[i], fields["hash_map"].path).integer(0, 2**64 - 1)
            if key != 2**64 - 1:  # an empty slot
                values[key] = tuple(
                    CheckedNode(v, fields["hash_map"].path).number() for v in records[i + 1 : i + stride]
                )
        tables[identifier] = CtrTable(_ctr_type(identifier, node), values, fields["counter_denominator"].number())
    return tables


_CTR_TYPES: Final = (
    "Borders",
    "Buckets",
    "BinarizedTargetMeanValue",
    "FloatTargetMeanValue",
    "Counter",
    "FeatureFreq",
)


def _ctr_type(identifier: str, node: CheckedNode) -> str:
    try:
        kind = json.loads(identifier)["type"]
    except (ValueError, KeyError, TypeError, RecursionError):
        node.fail("a counter identifier that is not JSON")
    if kind not in _CTR_TYPES:
        raise UnknownFieldError(f"the counter type {kind!r} is not known to this version of whybox.")
    return str(kind)


def _read_ctr(node: CheckedNode, columns: _ModelColumns, tables: dict[str, CtrTable]) -> tuple[CtrFeature, list[float]]:
    fields = node.fields(
        [
            "borders",
            "ctr_type",
            "elements",
            "identifier",
            "prior_denomerator",
            "prior_numerator",
            "scale",
            "shift",
            "target_border_idx",
        ]
    )
    table = tables.get(fields["identifier"].text())
    if table is None or table.kind != fields["ctr_type"].text():
        fields["identifier"].fail("a counter without its table")
    elements = tuple(_read_ctr_element(e, columns) for e in fields["elements"].items())
    # categories are hashed before conditions
    ordered = tuple(e for e in elements if e.border is None and e.equals is None) + tuple(
        e for e in elements if e.border is not None or e.equals is not None
    )
    counter = CtrFeature(
        ordered,
        table,
        fields["prior_numerator"].number(),
        fields["prior_denomerator"].number(),
        fields["shift"].number(),
        fields["scale"].number(),
        fields["target_border_idx"].integer(),
    )
    return counter, fields["borders"].float32_array().tolist()


def _read_ctr_element(node: CheckedNode, columns: _ModelColumns) -> CtrElement:
    fields = node.fields(["combination_element"], ["cat_feature_index", "float_feature_index", "border", "value"])
    kind = fields["combination_element"].text()
    if kind == "cat_feature_value" and "cat_feature_index" in fields:
        return CtrElement(
            columns.category_features[
                fields["cat_feature_index"].integer(0, len(columns.category_features) - 1)
            ].flat_index
        )
    if kind == "float_feature" and "float_feature_index" in fields and "border" in fields:
        return CtrElement(
            columns.float_features[
                fields["float_feature_index"].integer(0, len(columns.float_features) - 1)
            ].flat_index,
            border=fields["border"].number(),
        )
    if kind == "cat_feature_exact_value" and "cat_feature_index" in fields and "value" in fields:
        return CtrElement(
            columns.category_features[
                fields["cat_feature_index"].integer(0, len(columns.category_features) - 1)
            ].flat_index,
            equals=fields["value"].integer(-(2**31), 2**31 - 1),
        )
    raise UnknownFieldError(f"the counter ingredient {kind!r} at {node.path} is not known to this version of whybox.")


def _read_symmetric_tree(node: CheckedNode, columns: _ModelColumns, n_outputs: int) -> Tree:
    """A symmetric tree, with one split a level, as an ordinary binary tree. Bit i of a leaf's number is the side of split i."""
    fields = node.fields(["leaf_values"], ["splits", "leaf_weights"])
    splits = (
        [columns.split_of(s) for s in fields["splits"].items()]
        if "splits" in fields and fields["splits"].value is not None
        else []
    )
    depth = len(splits)
    if depth > _MAX_TREE_DEPTH:
        fields["splits"].fail(f"{depth} levels, more than CatBoost's {_MAX_TREE_DEPTH},")
    n_leaves = 2**depth
    value = fields["leaf_values"].float_array(n_leaves * n_outputs).reshape(n_leaves, n_outputs)
    leaf_weights = fields["leaf_weights"].float_array(n_leaves) if "leaf_weights" in fields else np.zeros(n_leaves)
    # Level d of the binary tree asks split depth-1-d, so that leaves come in the order of their numbers.
    level = np.concatenate([np.full(2**d, d) for d in range(depth + 1)]).astype(np.int64)
    inner = level < depth
    first = 2**level - 1
    position_in_level = np.arange(len(level)) - first
    left = np.where(inner, 2 ** (level + 1) - 1 + 2 * position_in_level, -1)
    split_of_node = np.where(inner, depth - 1 - level, 0)
    cover = np.concatenate([leaf_weights.reshape(2**d, -1).sum(axis=1) for d in range(depth + 1)])
    column, border, flags = (np.array([s[i] for s in splits] or [0]) for i in range(3))
    node_flags = np.where(inner, flags[split_of_node], 0).astype(np.uint8)
    sets = {int(n): np.array([int(border[split_of_node[n]])]) for n in np.flatnonzero(node_flags & CATEGORICAL_SPLIT)}
    return Tree(
        left=left,
        right=np.where(inner, left + 1, -1),
        feature=np.where(inner, column[split_of_node], -1),
        threshold=np.where(inner, border[split_of_node], np.nan).astype(np.float64),
        flags=node_flags,
        cover=cover,
        value=np.concatenate([np.zeros((n_leaves - 1, n_outputs)), value]),
        sets=sets,
        output=0 if n_outputs == 1 else -1,
    )


def _read_nested_tree(root_node: CheckedNode, columns: _ModelColumns, n_outputs: int) -> Tree:
    """A tree of any shape (Depthwise, Lossguide), stored as nested objects."""
    left: list[int] = []
    right: list[int] = []
    feature, threshold, flags, sets = [], [], [], {}
    value: list[Floats] = []
    cover: list[float] = []
    pending: list[tuple[CheckedNode, int, bool]] = [(root_node, -1, False)]
    while pending:
        d, parent, is_right = pending.pop()
        fields = d.fields([], ["left", "right", "split", "value", "weight"])
        node_number = len(left)
        if parent >= 0:
            (right if is_right else left)[parent] = node_number
        leaf = "value" in fields
        if leaf == ("split" in fields) or leaf == ("left" in fields) or leaf == ("right" in fields):
            d.fail("neither a leaf nor a split")
        left.append(-1)
        right.append(-1)
        if leaf:
            value.append(
                fields["value"].float_array(n_outputs)
                if isinstance(fields["value"].value, list)
                else CheckedNode([fields["value"].value], fields["value"].path).float_array(n_outputs)
            )
            cover.append(fields["weight"].number() if "weight" in fields else 0.0)
            feature.append(-1)
            threshold.append(np.nan)
            flags.append(0)
            continue
        column, border, split_flags = columns.split_of(fields["split"])
        value.append(np.zeros(n_outputs))
        cover.append(0.0)
        feature.append(column)
        threshold.append(border)
        flags.append(split_flags)
        if split_flags & CATEGORICAL_SPLIT:
            sets[node_number] = np.array([int(border)])
        pending += [(fields["right"], node_number, True), (fields["left"], node_number, False)]
    for node in range(len(left) - 1, -1, -1):  # children stand after their parent
        if left[node] >= 0:
            cover[node] = cover[left[node]] + cover[right[node]]
    return Tree(
        left=np.array(left),
        right=np.array(right),
        feature=np.array(feature),
        threshold=np.array(threshold),
        flags=np.array(flags, dtype=np.uint8),
        cover=np.array(cover),
        value=np.array(value).reshape(len(left), n_outputs),
        sets=sets,
        output=0 if n_outputs == 1 else -1,
    )
