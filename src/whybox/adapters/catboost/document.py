"""CatBoost's JSON model: the one parser behind live models, JSON files and cbm files. Every field is known or refused."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from whybox.adapters.catboost.cityhash import category_hash
from whybox.adapters.catboost.encoders import CatBoostEncoder, Counter, Counts, Element
from whybox.adapters.common import class_names
from whybox.adapters.files.strict_document import CheckedNode
from whybox.data.table import Floats
from whybox.errors import ModelFileError, UnknownFieldError, UnsupportedModelError
from whybox.models.inputs import Inputs
from whybox.models.links import Link, Outputs
from whybox.models.trees import CATEGORICAL, FLOAT32_SPLIT, LESS_EQUAL, MISSING_LEFT, SET_RIGHT, Tree, TreeEnsemble

__all__ = ["raw_units", "read"]

_MEAN: Final = {
    "RMSE",
    "MAE",
    "MAPE",
    "Quantile",
    "LogCosh",
    "Huber",
    "Expectile",
    "Lq",
    "MultiRMSE",
    "MultiRMSEWithMissingValues",
    "MultiQuantile",
    "GroupQuantile",
    "PairLogit",
    "PairLogitPairwise",
    "YetiRank",
    "YetiRankPairwise",
    "QueryRMSE",
    "QuerySoftMax",
    "QueryCrossEntropy",
    "StochasticFilter",
    "StochasticRank",
    "LambdaMart",
    "Cox",
    "SurvivalAft",
    "LogLinQuantile",
}
_PYTHON: Final = {
    "PythonUserDefinedPerObject",
    "PythonUserDefinedMultiTarget",
    "UserPerObjMetric",
    "UserQuerywiseMetric",
}
_SIGMOID: Final = {"Logloss", "CrossEntropy", "Focal", "MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy"}
_HASHES: Final = 10_000  # of a million categories some are enough
_DEEPEST: Final = 16  # symmetric trees


def read(doc: CheckedNode, kind: str, classes: tuple[str, ...] | None = None) -> TreeEnsemble:
    """Read a JSON model (not yet verified).

    Args:
        doc: the whole document.
        kind: how to call the model.
        classes: class names, where an estimator knows them.

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a field, a loss or a split type that this version does not know.
        UnsupportedModelError: text or embedding features, which are functions of other models.
    """
    top = doc.fields(
        ["features_info", "model_info", "scale_and_bias"], ["oblivious_trees", "trees", "ctr_data", "cat_features_hash"]
    )
    columns = _Columns(top)
    parts = list(top["scale_and_bias"].items())
    if len(parts) != 2:
        top["scale_and_bias"].fail("a scale and a bias were expected")
    scale, bias = parts[0].number(), parts[1].floats()
    outputs = _outputs(top["model_info"], len(bias), classes)
    if not any(top[key].value for key in ("oblivious_trees", "trees") if key in top):
        raise UnsupportedModelError("the model has no trees: it predicts a constant, and CatBoost itself refuses to.")
    grown = [_symmetric(t, columns, len(bias)) for t in _trees(top, "oblivious_trees")]
    grown += [_free(t, columns, len(bias)) for t in _trees(top, "trees")]
    for tree in grown:
        tree.weight = scale
    mixed = sorted({c.columns for c in columns.encoder.counters if len(c.columns) > 1})
    notes = (
        "CatBoost combines columns into counters, so these columns are explained as one: "
        + "; ".join(
            " + ".join(columns.names[i] for i in group) for group in columns.inputs().players() if len(group) > 1
        )
        + ". Train with max_ctr_complexity=1 to have them apart."
    )
    return TreeEnsemble.from_trees(
        grown, base=bias, inputs=columns.inputs(), outputs=outputs, kind=kind, notes=(notes,) if mixed else ()
    )


def _trees(top: dict[str, CheckedNode], key: str) -> list[CheckedNode]:
    return list(top[key].items()) if key in top and top[key].value is not None else []


class _Columns:
    """What the document says about features, and the one-bit questions that its trees ask, by number."""

    def __init__(self, top: dict[str, CheckedNode]) -> None:
        info = top["features_info"].fields(
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
        for other in ("text_features", "embedding_features"):
            if other in info and info[other].value:
                raise UnsupportedModelError(
                    f"the model uses CatBoost {other.replace('_', ' ')}, which it turns into numbers by other models; that cannot be explained exactly."
                )
        self.floats = [_FloatFeature(d) for d in info["float_features"].items()] if "float_features" in info else []
        self.cats = (
            [_CatFeature(d) for d in info["categorical_features"].items()] if "categorical_features" in info else []
        )
        flat = sorted([f.flat for f in self.floats] + [c.flat for c in self.cats])
        if (
            flat != list(range(len(flat)))
            or [f.index for f in self.floats] != list(range(len(self.floats)))
            or [c.index for c in self.cats] != list(range(len(self.cats)))
        ):
            top["features_info"].fail("feature numbers that are not 0, 1, 2, ...")
        named = {f.flat: f.name for f in self.floats} | {c.flat: c.name for c in self.cats}
        self.names = tuple(named[i] for i in flat)
        self.named = bool(self.names) and all(
            self.names
        )  # trained on arrays, CatBoost stores empty names; "0", "1", ... are names like others
        if not self.named:
            self.names = tuple(f"x{i}" for i in flat)
        tables = _tables(top["ctr_data"]) if "ctr_data" in top else {}
        counters = [_counter(d, self, tables) for d in info["ctrs"].items()] if "ctrs" in info else []
        one_hot = {c.flat: c.values for c in self.cats if c.values}
        self.encoder = CatBoostEncoder(
            tuple(f.flat for f in self.floats),
            one_hot,
            tuple(c for c, _ in counters),
            frozenset(c.flat for c in self.cats),
        )
        # split_index counts borders of floats, then one-hot values, then borders of counters
        self.questions: list[tuple[int, float, int]] = []  # (model column, border or code, flags)
        for i, f in enumerate(self.floats):
            self.questions += [(i, b, LESS_EQUAL | FLOAT32_SPLIT | f.missing) for b in f.borders]
        for i, values in enumerate(one_hot.values()):
            self.questions += [(len(self.floats) + i, float(k), CATEGORICAL | SET_RIGHT) for k in range(len(values))]
        for i, (_, borders) in enumerate(counters):
            self.questions += [(len(self.floats) + len(one_hot) + i, b, LESS_EQUAL | FLOAT32_SPLIT) for b in borders]

    def inputs(self) -> Inputs:
        return Inputs(self.names, self.named, self.encoder, self.encoder.sources)

    def question(self, split: CheckedNode) -> tuple[int, float, int]:
        """Return a split's (column, border, flags); what the split says of itself must agree with its number."""
        f = split.fields(
            ["split_index", "split_type"],
            ["border", "float_feature_index", "cat_feature_index", "value", "ctr_target_border_idx"],
        )
        number = (
            f["split_index"].integer(0, len(self.questions) - 1)
            if self.questions
            else split.fail("a split in a model without features")
        )
        column, border, flags = self.questions[number]
        kind = f["split_type"].text()
        if kind == "OneHotFeature":
            agrees = (
                flags & CATEGORICAL
                and "value" in f
                and self._hash_of(column, border) == f["value"].integer(-(2**31), 2**32 - 1)
            )
        elif kind in ("FloatFeature", "OnlineCtr"):
            agrees = not flags & CATEGORICAL and "border" in f and f["border"].single() == border
            agrees = agrees and (
                kind != "FloatFeature" or ("float_feature_index" in f and f["float_feature_index"].integer() == column)
            )
        else:
            raise UnknownFieldError(f"the split type {kind!r} at {split.path} is not known to this version of whybox.")
        if not agrees:
            split.fail("a split whose border is not the one its number stands for")
        return column, border, flags

    def _hash_of(self, column: int, code: float) -> int:
        return list(self.encoder.one_hot.values())[column - len(self.floats)][int(code)]


class _FloatFeature:
    def __init__(self, doc: CheckedNode) -> None:
        f = doc.fields(
            ["borders", "feature_index", "flat_feature_index", "has_nans", "nan_value_treatment"],
            ["feature_id", "feature_name"],
        )
        self.index, self.flat = f["feature_index"].integer(), f["flat_feature_index"].integer()
        self.borders = f["borders"].singles().tolist()
        if self.borders != sorted(self.borders):
            f["borders"].fail("borders out of order")
        self.name = _name(f)
        nan = f["nan_value_treatment"].text()
        if nan not in ("AsIs", "AsFalse", "AsTrue"):
            raise UnknownFieldError(f"nan_value_treatment {nan!r} is not known to this version of whybox.")
        if not isinstance(f["has_nans"].value, bool):
            f["has_nans"].fail("true or false was expected")
        # NaN > border is false, unless training had missing values and the model says otherwise
        self.missing = 0 if nan == "AsTrue" and f["has_nans"].value else MISSING_LEFT


class _CatFeature:
    def __init__(self, doc: CheckedNode) -> None:
        f = doc.fields(["feature_index", "flat_feature_index"], ["feature_id", "feature_name", "values"])
        self.index, self.flat = f["feature_index"].integer(), f["flat_feature_index"].integer()
        self.values = tuple(int(v) for v in f["values"].integers(low=-(2**31), high=2**31 - 1)) if "values" in f else ()
        self.name = _name(f)


def _check_hashes(doc: CheckedNode) -> None:
    """Names of the training categories with their hashes, which CatBoost writes with ``save_model(pool=...)``: they must be ours."""
    listed = [] if doc.value is None else list(doc.items())  # null where the pool has no categories
    for d in listed[:: 1 + len(listed) // _HASHES]:
        f = d.fields(["hash", "value"])
        if category_hash(f["value"].text()) & 0xFFFFFFFF != f["hash"].integer(-(2**31), 2**32 - 1) & 0xFFFFFFFF:
            f["hash"].fail("a hash that is not that of its category")


def _name(f: dict[str, CheckedNode]) -> str:
    found = [f[k].text() for k in ("feature_id", "feature_name") if k in f and f[k].value]
    return found[0] if found else ""


def _tables(doc: CheckedNode) -> dict[str, Counts]:
    out = {}
    if not isinstance(doc.value, dict):
        doc.fail("an object was expected")
    for identifier, value in doc.value.items():
        f = CheckedNode(value, f"{doc.path}[{identifier}]").fields(["hash_map", "hash_stride", "counter_denominator"])
        stride, flat = f["hash_stride"].integer(2, 10_000), f["hash_map"].value
        if not isinstance(flat, list) or len(flat) % stride:
            f["hash_map"].fail("a list of whole records was expected")
        values: dict[int, tuple[float, ...]] = {}
        for i in range(0, len(flat), stride):
            key = CheckedNode(flat[i], f["hash_map"].path).integer(0, 2**64 - 1)
            if key != 2**64 - 1:  # an empty slot
                values[key] = tuple(CheckedNode(v, f["hash_map"].path).number() for v in flat[i + 1 : i + stride])
        out[identifier] = Counts(_kind_of(identifier, doc), values, f["counter_denominator"].number())
    return out


_COUNTER_KINDS: Final = (
    "Borders",
    "Buckets",
    "BinarizedTargetMeanValue",
    "FloatTargetMeanValue",
    "Counter",
    "FeatureFreq",
)


def _kind_of(identifier: str, doc: CheckedNode) -> str:
    try:
        kind = json.loads(identifier)["type"]
    except (ValueError, KeyError, TypeError, RecursionError):
        doc.fail("a counter identifier that is not JSON")
    if kind not in _COUNTER_KINDS:
        raise UnknownFieldError(f"the counter type {kind!r} is not known to this version of whybox.")
    return str(kind)


def _counter(doc: CheckedNode, columns: _Columns, tables: dict[str, Counts]) -> tuple[Counter, list[float]]:
    f = doc.fields(
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
    table = tables.get(f["identifier"].text())
    if table is None or table.kind != f["ctr_type"].text():
        f["identifier"].fail("a counter without its table")
    elements = tuple(_element(e, columns) for e in f["elements"].items())
    # categories are hashed before conditions
    ordered = tuple(e for e in elements if e.border is None and e.equals is None) + tuple(
        e for e in elements if e.border is not None or e.equals is not None
    )
    counter = Counter(
        ordered,
        table,
        f["prior_numerator"].number(),
        f["prior_denomerator"].number(),
        f["shift"].number(),
        f["scale"].number(),
        f["target_border_idx"].integer(),
    )
    return counter, f["borders"].singles().tolist()


def _element(doc: CheckedNode, columns: _Columns) -> Element:
    f = doc.fields(["combination_element"], ["cat_feature_index", "float_feature_index", "border", "value"])
    kind = f["combination_element"].text()
    if kind == "cat_feature_value" and "cat_feature_index" in f:
        return Element(columns.cats[f["cat_feature_index"].integer(0, len(columns.cats) - 1)].flat)
    if kind == "float_feature" and "float_feature_index" in f and "border" in f:
        return Element(
            columns.floats[f["float_feature_index"].integer(0, len(columns.floats) - 1)].flat,
            border=f["border"].number(),
        )
    if kind == "cat_feature_exact_value" and "cat_feature_index" in f and "value" in f:
        return Element(
            columns.cats[f["cat_feature_index"].integer(0, len(columns.cats) - 1)].flat,
            equals=f["value"].integer(-(2**31), 2**31 - 1),
        )
    raise UnknownFieldError(f"the counter ingredient {kind!r} at {doc.path} is not known to this version of whybox.")


def _symmetric(doc: CheckedNode, columns: _Columns, k: int) -> Tree:
    """A tree that asks one question a level: written out as an ordinary binary tree. Bit i of a leaf's number is the answer to split i."""
    f = doc.fields(["leaf_values"], ["splits", "leaf_weights"])
    splits = (
        [columns.question(s) for s in f["splits"].items()] if "splits" in f and f["splits"].value is not None else []
    )
    depth = len(splits)
    if depth > _DEEPEST:
        f["splits"].fail(f"{depth} levels, more than CatBoost's {_DEEPEST},")
    leaves = 2**depth
    value = f["leaf_values"].floats(leaves * k).reshape(leaves, k)
    weight = f["leaf_weights"].floats(leaves) if "leaf_weights" in f else np.zeros(leaves)
    # Level d of the binary tree asks split depth-1-d, so that leaves come in the order of their numbers.
    level = np.concatenate([np.full(2**d, d) for d in range(depth + 1)]).astype(np.int64)
    inner = level < depth
    first = 2**level - 1
    place = np.arange(len(level)) - first
    left = np.where(inner, 2 ** (level + 1) - 1 + 2 * place, -1)
    asked = np.where(inner, depth - 1 - level, 0)
    cover = np.concatenate([weight.reshape(2**d, -1).sum(axis=1) for d in range(depth + 1)])
    column, border, flags = (np.array([s[i] for s in splits] or [0]) for i in range(3))
    flag = np.where(inner, flags[asked], 0).astype(np.uint8)
    sets = {int(n): np.array([int(border[asked[n]])]) for n in np.flatnonzero(flag & CATEGORICAL)}
    return Tree(
        left=left,
        right=np.where(inner, left + 1, -1),
        feature=np.where(inner, column[asked], -1),
        threshold=np.where(inner, border[asked], np.nan).astype(np.float64),
        flags=flag,
        cover=cover,
        value=np.concatenate([np.zeros((leaves - 1, k)), value]),
        sets=sets,
        output=0 if k == 1 else -1,
    )


def _free(doc: CheckedNode, columns: _Columns, k: int) -> Tree:
    """A tree of any shape (Depthwise, Lossguide), nested in the document."""
    left: list[int] = []
    right: list[int] = []
    feature, threshold, flags, sets = [], [], [], {}
    value: list[Floats] = []
    cover: list[float] = []
    waiting: list[tuple[CheckedNode, int, bool]] = [(doc, -1, False)]
    while waiting:
        d, parent, is_right = waiting.pop()
        f = d.fields([], ["left", "right", "split", "value", "weight"])
        here = len(left)
        if parent >= 0:
            (right if is_right else left)[parent] = here
        leaf = "value" in f
        if leaf == ("split" in f) or leaf == ("left" in f) or leaf == ("right" in f):
            d.fail("neither a leaf nor a split")
        left.append(-1)
        right.append(-1)
        if leaf:
            value.append(
                f["value"].floats(k)
                if isinstance(f["value"].value, list)
                else CheckedNode([f["value"].value], f["value"].path).floats(k)
            )
            cover.append(f["weight"].number() if "weight" in f else 0.0)
            feature.append(-1)
            threshold.append(np.nan)
            flags.append(0)
            continue
        column, border, flag = columns.question(f["split"])
        value.append(np.zeros(k))
        cover.append(0.0)
        feature.append(column)
        threshold.append(border)
        flags.append(flag)
        if flag & CATEGORICAL:
            sets[here] = np.array([int(border)])
        waiting += [(f["right"], here, True), (f["left"], here, False)]
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
        value=np.array(value).reshape(len(left), k),
        sets=sets,
        output=0 if k == 1 else -1,
    )


def _outputs(info: CheckedNode, k: int, classes: tuple[str, ...] | None) -> Outputs:
    if not isinstance(info.value, dict):
        info.fail("an object was expected")
    loss, params = _loss(info)
    stored = _stored_classes(info.value)
    labels = loss in ("MultiLogloss", "MultiCrossEntropy")  # several yes-or-no targets, not classes
    if stored is not None and not labels and len(stored) != max(k, 2):
        info.fail(f"{len(stored)} class names for {k} outputs")
    names = None if labels else classes or stored
    many = tuple(f"y{i}" for i in range(k))
    if loss in _SIGMOID or loss == "MultiClass":
        if k == 1:
            both = names if names and len(names) == 2 else ("0", "1")
            return Outputs(both[1:], Link("sigmoid"), raw_units("Logloss"), "probability", both[0])
        label = (
            names
            if names and len(names) == k
            else (tuple(map(str, range(k))) if loss.startswith("MultiClass") else many)
        )
        link = Link("softmax") if loss == "MultiClass" else Link("sigmoid")
        return Outputs(label, link, raw_units(loss), "probability")
    if loss in ("Poisson", "Tweedie"):
        return Outputs(many if k > 1 else ("prediction",), Link("exp"), raw_units(loss))
    if loss == "RMSEWithUncertainty":
        return Outputs(("mean", "variance"), Link("mean and variance"), raw_units(loss))
    if loss in _MEAN or loss in _PYTHON:
        levels = params.get("alpha", "").split(",")
        if loss == "MultiQuantile" and len(levels) == k:
            return Outputs(tuple(f"quantile {float(v):g}" for v in levels))
        return Outputs(many if k > 1 else ("prediction",))
    raise UnknownFieldError(
        f"the loss {loss!r} is not known to this version of whybox, so its link from raw value to prediction is not either."
    )


def raw_units(loss: str) -> str:
    """Return what the additive scale of a loss is measured in."""
    if loss in _SIGMOID:
        return "log-odds"
    if loss in ("Poisson", "Tweedie"):
        return "log of the prediction"
    words = {"MultiClass": "log-odds (softmax)", "RMSEWithUncertainty": "mean; log of the standard deviation"}
    return words.get(loss, "prediction")


def _loss(info: CheckedNode) -> tuple[str, dict[str, str]]:
    params: Any = info.value.get("params")
    if isinstance(params, str):
        try:
            params = json.loads(params)
        except (ValueError, RecursionError):
            info.fail("training parameters that are not JSON")
    function = params.get("loss_function") if isinstance(params, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("type"), str):
        raise ModelFileError(
            "the model does not say what loss it was trained with (model_info.params.loss_function), so its link is not known."
        )
    given = function.get("params")
    return function["type"], {str(a): str(b) for a, b in given.items()} if isinstance(given, dict) else {}


def _stored_classes(info: dict[str, Any]) -> tuple[str, ...] | None:
    params = info.get("class_params")
    if isinstance(params, str):
        try:
            params = json.loads(params)
        except (ValueError, RecursionError):
            raise ModelFileError("the model's class names are not JSON; the file was edited.") from None
    if not isinstance(params, dict):
        return None
    names, order = params.get("class_names"), params.get("class_to_label")
    count = len(names) if isinstance(names, list) and names else len(order) if isinstance(order, list) else 0
    if order is not None and order != list(range(count)):
        raise ModelFileError(
            "the model's classes are not in the order of its outputs (class_params.class_to_label); the file was edited."
        )
    return class_names(names) if isinstance(names, list) and names else None
