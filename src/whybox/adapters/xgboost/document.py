"""Parser of XGBoost's model document (JSON or UBJSON), for live boosters and files.

Every field is known or refused. What they mean is fixed by XGBoost's doc/model.schema and verified against its predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from whybox.adapters.files.strict_document import CheckedNode
from whybox.adapters.xgboost.category_names import DamagedNamesEncoder
from whybox.adapters.xgboost.trees import read_trees
from whybox.data.table import Floats
from whybox.errors import ModelFileError, UnknownFieldError, UnsupportedModelError
from whybox.models.base import Model, OffsetRule
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.linear import Linear
from whybox.models.links import Link, Outputs
from whybox.models.trees import CATEGORICAL_SPLIT, StackedTrees, TreeEnsemble

__all__ = ["RELATIVE_ROUNDING", "ReadContext", "read_document"]

_RoundsAndNotes = tuple[tuple[int, int] | None, tuple[str, ...]]  # rounds that count and rounds there are; notes
RELATIVE_ROUNDING: Final = 2e-6  # XGBoost sums leaves in float32
MAJOR_VERSIONS: Final = (1, 2, 3)


def _logit_of_score(p: Floats) -> Floats:
    if not ((p > 0) & (p < 1)).all():
        raise ModelFileError(f"the model's base_score {p} is not a probability, though its objective is logistic.")
    return np.asarray(np.log(p) - np.log1p(-p))


def _log_of_score(x: Floats) -> Floats:
    if not (x > 0).all():
        raise ModelFileError(f"the model's base_score {x} is not positive, though its objective has a log link.")
    return np.asarray(np.log(x))


def _unchanged_score(x: Floats) -> Floats:
    return x


def _inverse_cumulative_softplus(x: Floats) -> Floats:
    """Inverse of the cumulative softplus."""
    if not (np.diff(x) > 0).all():
        raise ModelFileError(f"the model's base_score {x} does not rise, though its levels never cross.")
    return np.concatenate([x[:1], np.log(np.expm1(np.diff(x)))])


@final
@dataclass(frozen=True)
class _ObjectiveFacts:
    link: Link
    margin_of: Callable[[Floats], Floats]  # base_score is kept on the scale of predictions
    raw_units: str
    response_units: str = "prediction"
    parameter_blocks: tuple[str, ...] = ("reg_loss_param",)


_IDENTITY_LINK, _SIGMOID_LINK, _EXP_LINK = Link(), Link("sigmoid"), Link("exp")
_LOG_UNITS: Final = "log of the prediction"
_LINK_OF_OBJECTIVE: Final[dict[str, _ObjectiveFacts]] = {
    "reg:squarederror": _ObjectiveFacts(_IDENTITY_LINK, _unchanged_score, "prediction"),
    "reg:linear": _ObjectiveFacts(_IDENTITY_LINK, _unchanged_score, "prediction"),
    "reg:squaredlogerror": _ObjectiveFacts(_IDENTITY_LINK, _unchanged_score, "prediction"),
    "reg:pseudohubererror": _ObjectiveFacts(
        _IDENTITY_LINK, _unchanged_score, "prediction", parameter_blocks=("reg_loss_param", "pseudo_huber_param")
    ),
    "reg:absoluteerror": _ObjectiveFacts(_IDENTITY_LINK, _unchanged_score, "prediction"),
    "reg:quantileerror": _ObjectiveFacts(
        _IDENTITY_LINK, _unchanged_score, "prediction", parameter_blocks=("quantile_loss_param",)
    ),
    "reg:expectileerror": _ObjectiveFacts(
        Link("cumulative softplus"),
        _inverse_cumulative_softplus,
        "rise over the level below (softplus)",
        parameter_blocks=("expectile_loss_param",),
    ),
    "reg:logistic": _ObjectiveFacts(_SIGMOID_LINK, _logit_of_score, "log-odds", "probability"),
    "binary:logistic": _ObjectiveFacts(_SIGMOID_LINK, _logit_of_score, "log-odds", "probability"),
    "binary:logitraw": _ObjectiveFacts(_IDENTITY_LINK, _unchanged_score, "log-odds", "log-odds"),
    "binary:hinge": _ObjectiveFacts(Link("step"), _unchanged_score, "margin", "class"),
    "multi:softprob": _ObjectiveFacts(
        Link("softmax"), _unchanged_score, "log-odds (softmax)", "probability", ("softmax_multiclass_param",)
    ),
    "multi:softmax": _ObjectiveFacts(
        Link("softmax"), _unchanged_score, "log-odds (softmax)", "probability", ("softmax_multiclass_param",)
    ),
    "count:poisson": _ObjectiveFacts(
        _EXP_LINK, _log_of_score, _LOG_UNITS, parameter_blocks=("poisson_regression_param",)
    ),
    "reg:gamma": _ObjectiveFacts(
        _EXP_LINK, _log_of_score, _LOG_UNITS, parameter_blocks=("reg_loss_param", "gamma_regression_param")
    ),
    "reg:tweedie": _ObjectiveFacts(
        _EXP_LINK, _log_of_score, _LOG_UNITS, parameter_blocks=("tweedie_regression_param",)
    ),
    "survival:cox": _ObjectiveFacts(_EXP_LINK, _log_of_score, "log hazard ratio", "hazard ratio"),
    "survival:aft": _ObjectiveFacts(
        _EXP_LINK, _log_of_score, "log of survival time", "survival time", ("aft_loss_param",)
    ),
    "rank:pairwise": _ObjectiveFacts(
        _IDENTITY_LINK, _unchanged_score, "score", "score", ("lambdarank_param", "lambda_rank_param")
    ),
    "rank:ndcg": _ObjectiveFacts(
        _IDENTITY_LINK, _unchanged_score, "score", "score", ("lambdarank_param", "lambda_rank_param")
    ),
    "rank:map": _ObjectiveFacts(
        _IDENTITY_LINK, _unchanged_score, "score", "score", ("lambdarank_param", "lambda_rank_param")
    ),
}
_RANKING_STATE_FIELDS: Final = (
    "num_pairs",
    "ti+",
    "tj-",
    "ti_plus",
    "tj_minus",
)  # ranking objectives keep position-bias state


@final
@dataclass(frozen=True)
class ReadContext:
    """What a reading needs besides the document itself.

    Attributes:
        iterations: count the first so many boosting rounds only (early stopping); None: the document decides.
        missing: the value that means missing, besides NaN.
        kind: how to call the model.
        classes: class names, where the estimator knows better than the document.
        live: the library is at hand to say what the document leaves open.
        saved_by: version of XGBoost that wrote the document; filled in when it is read.
    """

    kind: str
    iterations: int | None = None
    missing: float = float("nan")
    classes: tuple[str, ...] | None = None
    live: bool = False
    saved_by: tuple[int, ...] = ()


def read_document(node: CheckedNode, context: ReadContext) -> Model:
    """Read a document into a model (not yet verified).

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a field, booster or objective that this version does not know.
    """
    root = node.fields(["learner", "version"])
    version = (
        [v.integer() for v in root["version"].items()]
        if isinstance(root["version"].value, list)
        else root["version"].integer_array().tolist()
    )
    if not version or version[0] not in MAJOR_VERSIONS:
        raise ModelFileError(
            f"the model was saved by XGBoost {'.'.join(map(str, version))}; this version of whybox reads {MAJOR_VERSIONS[0]}.x to {MAJOR_VERSIONS[-1]}.x."
        )
    context = replace(context, saved_by=tuple(version))
    learner = root["learner"].fields(
        ["gradient_booster", "learner_model_param", "objective"],
        ["attributes", "feature_names", "feature_types", "metrics", "learner_train_param"],
    )
    objective = _read_objective(learner["objective"])
    parameters = learner["learner_model_param"].fields(
        ["base_score", "num_class", "num_feature"], ["num_target", "boost_from_average"]
    )
    width = parameters["num_feature"].integer(1)
    n_outputs = max(
        parameters["num_class"].integer(), parameters["num_target"].integer() if "num_target" in parameters else 1, 1
    )
    base = _base_score(parameters["base_score"], objective, n_outputs)
    booster = learner["gradient_booster"]
    name = (
        CheckedNode(booster.value.get("name"), f"{booster.path}.name").text()
        if isinstance(booster.value, dict)
        else booster.fail("an object was expected")
    )
    names = [d.text() for d in learner["feature_names"].items()] if "feature_names" in learner else []
    types = [d.text() for d in learner["feature_types"].items()] if "feature_types" in learner else []
    if (names and len(names) != width) or (types and len(types) != width):
        learner["gradient_booster"].fail(f"{len(names)} feature names and {len(types)} types for {width} features")
    outputs = _read_outputs(learner["objective"], objective, n_outputs, context)
    attributes = learner["attributes"].value if "attributes" in learner else {}
    if name == "gblinear":
        return _read_linear(booster, base, n_outputs, outputs, _read_inputs(names, width, {}, context), context)
    trees, categories, (rounds, notes) = _read_booster(
        booster, name, width, n_outputs, types, context, attributes if isinstance(attributes, dict) else {}
    )
    return TreeEnsemble.from_trees(
        trees,
        base=base,
        inputs=_read_inputs(names, width, categories, context),
        outputs=outputs,
        kind=context.kind,
        rounds_used=rounds,
        notes=notes,
        float32_sums=True,
        offset_rule=OffsetRule("base_margin", base),
    )


def _read_objective(node: CheckedNode) -> _ObjectiveFacts:
    name = (
        CheckedNode(node.value.get("name"), f"{node.path}.name").text()
        if isinstance(node.value, dict)
        else node.fail("an object was expected")
    )
    if name not in _LINK_OF_OBJECTIVE:
        raise UnknownFieldError(
            f"the objective {name!r} is not known to this version of whybox, so its link from margin to prediction is not either."
        )
    node.fields(["name"], [*_LINK_OF_OBJECTIVE[name].parameter_blocks, *_RANKING_STATE_FIELDS])
    return _LINK_OF_OBJECTIVE[name]


def _base_score(node: CheckedNode, objective: _ObjectiveFacts, n_outputs: int) -> Floats:
    text = node.text() if isinstance(node.value, str) else str(node.value)
    texts = text.strip().removeprefix("[").removesuffix("]").split(",")
    values = [CheckedNode(p.strip(), node.path).float32() for p in texts]
    if len(values) not in (1, n_outputs):
        node.fail(f"{len(values)} base scores for {n_outputs} outputs")
    return objective.margin_of(np.array(values * n_outputs if len(values) == 1 else values))


def _read_outputs(node: CheckedNode, objective: _ObjectiveFacts, n_outputs: int, context: ReadContext) -> Outputs:
    negative_class = None
    if objective.link.name == "softmax":
        names = context.classes or tuple(str(k) for k in range(n_outputs))
    elif n_outputs > 1:
        names = _level_names(node, n_outputs)
    elif objective.response_units == "probability" or objective.raw_units in ("log-odds", "margin"):
        classes = context.classes or ("0", "1")
        names, negative_class = (classes[-1],), classes[0]
    else:
        names = ("prediction",)
    if objective.link.name == "cumulative softplus" and n_outputs == 1:  # one level has none below it
        return Outputs(names)
    if len(names) != n_outputs:
        raise ModelFileError(f"the model has {n_outputs} outputs but {len(names)} classes.")
    return Outputs(names, objective.link, objective.raw_units, objective.response_units, negative_class)


def _level_names(node: CheckedNode, n_outputs: int) -> tuple[str, ...]:
    for block, key, kind in (
        ("quantile_loss_param", "quantile_alpha", "quantile"),
        ("expectile_loss_param", "expectile_alpha", "expectile"),
    ):
        if block in node.value:
            levels = str(node.value[block].get(key, "")).strip("[]() ").split(",")
            if len(levels) == n_outputs:
                return tuple(f"{kind} {float(v):g}" for v in levels)
    return tuple(f"y{k}" for k in range(n_outputs))


def _read_inputs(
    names: list[str], width: int, categories: dict[int, tuple[Any, ...] | None], context: ReadContext
) -> Inputs:
    numbers = NumberEncoder(
        "XGBoost",
        float32=True,
        missing_value=context.missing,
        allow_infinite=False,
        categories=categories,
        unseen_code=None,
        array_codes=True,
        absent=float("nan"),
    )
    has_damaged_names = any(
        not str(name).isascii() for categories_of_column in categories.values() for name in categories_of_column or ()
    )
    encoder = DamagedNamesEncoder(numbers, context.saved_by >= (3, 4)) if has_damaged_names else numbers
    return Inputs(
        tuple(names) if names else tuple(f"x{i}" for i in range(width)),
        bool(names),
        encoder,
        tuple((i,) for i in range(width)),
    )


def _read_linear(
    booster: CheckedNode, base: Floats, n_outputs: int, outputs: Outputs, inputs: Inputs, context: ReadContext
) -> Linear:
    model = booster.fields(["model", "name"])["model"].fields(["weights"], ["boosted_rounds"])
    if isinstance(model["weights"].value, (list, np.ndarray)) and not len(model["weights"].value):
        raise UnsupportedModelError("the model has no boosting rounds, so there is nothing to explain; train it first.")
    weights = model["weights"].float32_array((inputs.width + 1) * n_outputs).reshape(-1, n_outputs)
    if not context.live and len(np.unique(base)) > 1:
        raise UnsupportedModelError(
            "versions of XGBoost disagree about which of several base scores counts for gblinear, so the file alone does not say what it predicts. "
            "Load it with the version that trained it and pass the live model."
        )
    return Linear(
        weights=weights[:-1].copy(),
        base_values=base + weights[-1],
        inputs=inputs,
        outputs=outputs,
        kind=context.kind,
        offset_rule=OffsetRule("base_margin", base),
    )


def _read_booster(
    booster: CheckedNode,
    name: str,
    width: int,
    n_outputs: int,
    types: list[str],
    context: ReadContext,
    attributes: dict[str, Any],
) -> tuple[StackedTrees, dict[int, tuple[Any, ...] | None], _RoundsAndNotes]:
    dropout_weights = None
    if name == "dart":
        dart = booster.fields(["gbtree", "name", "weight_drop"])
        dropout_weights, booster = dart["weight_drop"].float32_array(), dart["gbtree"]
    elif name != "gbtree":
        raise UnknownFieldError(f"the booster {name!r} is not known to this version of whybox.")
    model = booster.fields(["model", "name"])["model"].fields(
        ["gbtree_model_param", "tree_info", "trees"], ["iteration_indptr", "cats", "weight_drop"]
    )
    if "weight_drop" in model:
        dropout_weights = model["weight_drop"].float32_array()
    parameters = model["gbtree_model_param"].fields(["num_trees"], ["num_parallel_tree", "size_leaf_vector"])
    n_trees, trees_per_output = (
        parameters["num_trees"].integer(),
        parameters["num_parallel_tree"].integer() if "num_parallel_tree" in parameters else 1,
    )
    if n_trees == 0:  # versions of XGBoost disagree about which constant it predicts
        raise UnsupportedModelError("the model has no trees, so there is nothing to explain; train it first.")
    tree_outputs = model["tree_info"].integer_array(n_trees, 0, n_outputs - 1)
    documents = list(model["trees"].items())
    if len(documents) != n_trees or (dropout_weights is not None and len(dropout_weights) not in (0, n_trees)):
        model["trees"].fail(f"{len(documents)} trees where {n_trees} are announced")
    n_used, rounds_and_notes = _count_used_trees(
        model, n_trees, max(trees_per_output, 1) * n_outputs, context, attributes
    )
    categorical: set[int] = {i for i, t in enumerate(types) if t == "c"}
    weight = np.ones(n_used) if dropout_weights is None or not len(dropout_weights) else dropout_weights[:n_used].copy()
    trees = read_trees(documents[:n_used], width, n_outputs, tree_outputs[:n_used], weight)
    categorical.update(np.unique(trees.nodes.feature[trees.nodes.flags & CATEGORICAL_SPLIT > 0]).tolist())
    return trees, _training_categories(model.get("cats"), categorical), rounds_and_notes


def _count_used_trees(
    model: dict[str, CheckedNode], n_trees: int, trees_per_round: int, context: ReadContext, attributes: dict[str, Any]
) -> tuple[int, _RoundsAndNotes]:
    """The number of trees used, and the notes about it."""
    first_trees = (
        model["iteration_indptr"].integer_array(low=0, high=n_trees).tolist()
        if "iteration_indptr" in model
        else list(range(0, n_trees + 1, trees_per_round))
    )
    if not first_trees or first_trees[0] != 0 or first_trees[-1] != n_trees or sorted(set(first_trees)) != first_trees:
        model["trees"].fail("boosting rounds that do not cover the trees")
    rounds = context.iterations
    best_iteration = attributes.get("best_iteration")
    if rounds is None and best_iteration is not None and "scikit_learn" in attributes:
        rounds = (
            CheckedNode(best_iteration, "$.learner.attributes.best_iteration").integer() + 1
        )  # as the estimator that saved it predicts
    if rounds is None or rounds >= len(first_trees) - 1:
        note = (
            (
                f"The file records best_iteration={best_iteration}, but all {len(first_trees) - 1} rounds count, as in Booster.predict.",
            )
            if best_iteration is not None and rounds is None
            else ()
        )
        return n_trees, (None, note)
    return int(first_trees[rounds]), (
        (rounds, len(first_trees) - 1),
        (f"Early stopping: {rounds} of {len(first_trees) - 1} rounds count.",),
    )


def _training_categories(encodings: CheckedNode | None, categorical: set[int]) -> dict[int, tuple[Any, ...] | None]:
    """Training categories of each categorical column, if the model stores them (XGBoost 3.1 and newer)."""
    by_column: dict[int, tuple[Any, ...] | None] = dict.fromkeys(sorted(categorical))
    if encodings is None:
        return by_column
    for i, encoding in enumerate(encodings.fields(["enc", "feature_segments", "sorted_idx"])["enc"].items()):
        fields = encoding.fields([], ["offsets", "values", "type"])
        if "values" not in fields or not len(fields["values"].value):
            continue
        if "offsets" in fields:
            text, offsets = (
                bytes(fields["values"].integer_array(low=-128, high=255).astype(np.uint8)),
                fields["offsets"].integer_array(low=0).tolist(),
            )
            if offsets != sorted(offsets) or (offsets and offsets[-1] != len(text)):
                fields["offsets"].fail("text offsets out of order")
            by_column[i] = tuple(text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(offsets))
        else:
            by_column[i] = tuple(fields["values"].float_array().tolist())
    return by_column
