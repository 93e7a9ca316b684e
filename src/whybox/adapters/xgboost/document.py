"""XGBoost's model document (JSON or UBJSON): the one parser behind live boosters and files.

Every field is known or refused. What they mean is fixed by XGBoost's doc/model.schema and verified against its predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, final

import numpy as np

from whybox.adapters.files.strict_document import CheckedNode
from whybox.adapters.xgboost.category_names import Garbled
from whybox.adapters.xgboost.trees import read_trees
from whybox.data.table import Floats
from whybox.errors import ModelFileError, UnknownFieldError, UnsupportedModelError
from whybox.models.base import Model
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.linear import Linear
from whybox.models.links import Link, Outputs
from whybox.models.trees import CATEGORICAL, StackedTrees, TreeEnsemble

__all__ = ["ROUNDING", "Document", "read"]

_Said = tuple[tuple[int, int] | None, tuple[str, ...]]  # rounds that count and rounds there are; notes
ROUNDING: Final = 2e-6  # XGBoost sums leaves in float32
MAJOR_VERSIONS: Final = (1, 2, 3)


def _logit(p: Floats) -> Floats:
    if not ((p > 0) & (p < 1)).all():
        raise ModelFileError(f"the model's base_score {p} is not a probability, though its objective is logistic.")
    return np.asarray(np.log(p) - np.log1p(-p))


def _log(x: Floats) -> Floats:
    if not (x > 0).all():
        raise ModelFileError(f"the model's base_score {x} is not positive, though its objective has a log link.")
    return np.asarray(np.log(x))


def _same(x: Floats) -> Floats:
    return x


def _steps(x: Floats) -> Floats:
    """Inverse of the cumulative softplus."""
    if not (np.diff(x) > 0).all():
        raise ModelFileError(f"the model's base_score {x} does not rise, though its levels never cross.")
    return np.concatenate([x[:1], np.log(np.expm1(np.diff(x)))])


@final
@dataclass(frozen=True)
class _Objective:
    link: Link
    margin_of: Callable[[Floats], Floats]  # base_score is kept on the scale of predictions
    raw: str
    response: str = "prediction"
    params: tuple[str, ...] = ("reg_loss_param",)


_PLAIN, _LOGIT, _EXP = Link(), Link("sigmoid"), Link("exp")
_LOG_UNITS: Final = "log of the prediction"
_OBJECTIVES: Final[dict[str, _Objective]] = {
    "reg:squarederror": _Objective(_PLAIN, _same, "prediction"),
    "reg:linear": _Objective(_PLAIN, _same, "prediction"),
    "reg:squaredlogerror": _Objective(_PLAIN, _same, "prediction"),
    "reg:pseudohubererror": _Objective(_PLAIN, _same, "prediction", params=("reg_loss_param", "pseudo_huber_param")),
    "reg:absoluteerror": _Objective(_PLAIN, _same, "prediction"),
    "reg:quantileerror": _Objective(_PLAIN, _same, "prediction", params=("quantile_loss_param",)),
    "reg:expectileerror": _Objective(
        Link("cumulative softplus"), _steps, "rise over the level below (softplus)", params=("expectile_loss_param",)
    ),
    "reg:logistic": _Objective(_LOGIT, _logit, "log-odds", "probability"),
    "binary:logistic": _Objective(_LOGIT, _logit, "log-odds", "probability"),
    "binary:logitraw": _Objective(_PLAIN, _same, "log-odds", "log-odds"),
    "binary:hinge": _Objective(Link("step"), _same, "margin", "class"),
    "multi:softprob": _Objective(
        Link("softmax"), _same, "log-odds (softmax)", "probability", ("softmax_multiclass_param",)
    ),
    "multi:softmax": _Objective(
        Link("softmax"), _same, "log-odds (softmax)", "probability", ("softmax_multiclass_param",)
    ),
    "count:poisson": _Objective(_EXP, _log, _LOG_UNITS, params=("poisson_regression_param",)),
    "reg:gamma": _Objective(_EXP, _log, _LOG_UNITS, params=("reg_loss_param", "gamma_regression_param")),
    "reg:tweedie": _Objective(_EXP, _log, _LOG_UNITS, params=("tweedie_regression_param",)),
    "survival:cox": _Objective(_EXP, _log, "log hazard ratio", "hazard ratio"),
    "survival:aft": _Objective(_EXP, _log, "log of survival time", "survival time", ("aft_loss_param",)),
    "rank:pairwise": _Objective(_PLAIN, _same, "score", "score", ("lambdarank_param", "lambda_rank_param")),
    "rank:ndcg": _Objective(_PLAIN, _same, "score", "score", ("lambdarank_param", "lambda_rank_param")),
    "rank:map": _Objective(_PLAIN, _same, "score", "score", ("lambdarank_param", "lambda_rank_param")),
}
_STATE: Final = ("num_pairs", "ti+", "tj-", "ti_plus", "tj_minus")  # ranking objectives keep position-bias state


@final
@dataclass(frozen=True)
class Document:
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


def read(doc: CheckedNode, about: Document) -> Model:
    """Read a document into a model (not yet verified).

    Raises:
        ModelFileError: something is missing, out of range or inconsistent.
        UnknownFieldError: a field, booster or objective that this version does not know.
    """
    top = doc.fields(["learner", "version"])
    version = (
        [v.integer() for v in top["version"].items()]
        if isinstance(top["version"].value, list)
        else top["version"].integers().tolist()
    )
    if not version or version[0] not in MAJOR_VERSIONS:
        raise ModelFileError(
            f"the model was saved by XGBoost {'.'.join(map(str, version))}; this version of whybox reads {MAJOR_VERSIONS[0]}.x to {MAJOR_VERSIONS[-1]}.x."
        )
    about = replace(about, saved_by=tuple(version))
    learner = top["learner"].fields(
        ["gradient_booster", "learner_model_param", "objective"],
        ["attributes", "feature_names", "feature_types", "metrics", "learner_train_param"],
    )
    objective = _objective(learner["objective"])
    param = learner["learner_model_param"].fields(
        ["base_score", "num_class", "num_feature"], ["num_target", "boost_from_average"]
    )
    width = param["num_feature"].integer(1)
    groups = max(param["num_class"].integer(), param["num_target"].integer() if "num_target" in param else 1, 1)
    base = _base_score(param["base_score"], objective, groups)
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
    outputs = _outputs(learner["objective"], objective, groups, about)
    attributes = learner["attributes"].value if "attributes" in learner else {}
    if name == "gblinear":
        return _linear(booster, base, groups, outputs, _inputs(names, width, {}, about), about)
    trees, cats, (rounds, notes) = _booster(
        booster, name, width, groups, types, about, attributes if isinstance(attributes, dict) else {}
    )
    return TreeEnsemble.from_trees(
        trees,
        base=base,
        inputs=_inputs(names, width, cats, about),
        outputs=outputs,
        kind=about.kind,
        rounds_used=rounds,
        notes=notes,
        float32_sums=True,
    )


def _objective(doc: CheckedNode) -> _Objective:
    name = (
        CheckedNode(doc.value.get("name"), f"{doc.path}.name").text()
        if isinstance(doc.value, dict)
        else doc.fail("an object was expected")
    )
    if name not in _OBJECTIVES:
        raise UnknownFieldError(
            f"the objective {name!r} is not known to this version of whybox, so its link from margin to prediction is not either."
        )
    doc.fields(["name"], [*_OBJECTIVES[name].params, *_STATE])
    return _OBJECTIVES[name]


def _base_score(doc: CheckedNode, objective: _Objective, groups: int) -> Floats:
    text = doc.text() if isinstance(doc.value, str) else str(doc.value)
    parts = text.strip().removeprefix("[").removesuffix("]").split(",")
    values = [CheckedNode(p.strip(), doc.path).single() for p in parts]
    if len(values) not in (1, groups):
        doc.fail(f"{len(values)} base scores for {groups} outputs")
    return objective.margin_of(np.array(values * groups if len(values) == 1 else values))


def _outputs(doc: CheckedNode, objective: _Objective, groups: int, about: Document) -> Outputs:
    negative = None
    if objective.link.name == "softmax":
        names = about.classes or tuple(str(k) for k in range(groups))
    elif groups > 1:
        names = _level_names(doc, groups)
    elif objective.response == "probability" or objective.raw in ("log-odds", "margin"):
        both = about.classes or ("0", "1")
        names, negative = (both[-1],), both[0]
    else:
        names = ("prediction",)
    if objective.link.name == "cumulative softplus" and groups == 1:  # one level has none below it
        return Outputs(names)
    if len(names) != groups:
        raise ModelFileError(f"the model has {groups} outputs but {len(names)} classes.")
    return Outputs(names, objective.link, objective.raw, objective.response, negative)


def _level_names(doc: CheckedNode, groups: int) -> tuple[str, ...]:
    for param, key, word in (
        ("quantile_loss_param", "quantile_alpha", "quantile"),
        ("expectile_loss_param", "expectile_alpha", "expectile"),
    ):
        if param in doc.value:
            levels = str(doc.value[param].get(key, "")).strip("[]() ").split(",")
            if len(levels) == groups:
                return tuple(f"{word} {float(v):g}" for v in levels)
    return tuple(f"y{k}" for k in range(groups))


def _inputs(names: list[str], width: int, cats: dict[int, tuple[Any, ...] | None], about: Document) -> Inputs:
    numbers = NumberEncoder(
        "XGBoost",
        float32=True,
        missing_value=about.missing,
        allow_infinite=False,
        categories=cats,
        unseen_code=None,
        array_codes=True,
        absent=float("nan"),
    )
    garbled = any(not str(name).isascii() for known in cats.values() for name in known or ())
    encoder = Garbled(numbers, about.saved_by >= (3, 4)) if garbled else numbers
    return Inputs(
        tuple(names) if names else tuple(f"x{i}" for i in range(width)),
        bool(names),
        encoder,
        tuple((i,) for i in range(width)),
    )


def _linear(
    booster: CheckedNode, base: Floats, groups: int, outputs: Outputs, inputs: Inputs, about: Document
) -> Linear:
    model = booster.fields(["model", "name"])["model"].fields(["weights"], ["boosted_rounds"])
    if isinstance(model["weights"].value, (list, np.ndarray)) and not len(model["weights"].value):
        raise UnsupportedModelError("the model has no boosting rounds, so there is nothing to explain; train it first.")
    weights = model["weights"].singles((inputs.width + 1) * groups).reshape(-1, groups)
    if not about.live and len(np.unique(base)) > 1:
        raise UnsupportedModelError(
            "versions of XGBoost disagree about which of several base scores counts for gblinear, so the file alone does not say what it predicts. "
            "Load it with the version that trained it and pass the live model."
        )
    return Linear(
        weights=weights[:-1].copy(), base_values=base + weights[-1], inputs=inputs, outputs=outputs, kind=about.kind
    )


def _booster(
    booster: CheckedNode,
    name: str,
    width: int,
    groups: int,
    types: list[str],
    about: Document,
    attributes: dict[str, Any],
) -> tuple[StackedTrees, dict[int, tuple[Any, ...] | None], _Said]:
    drop = None
    if name == "dart":
        outer = booster.fields(["gbtree", "name", "weight_drop"])
        drop, booster = outer["weight_drop"].singles(), outer["gbtree"]
    elif name != "gbtree":
        raise UnknownFieldError(f"the booster {name!r} is not known to this version of whybox.")
    model = booster.fields(["model", "name"])["model"].fields(
        ["gbtree_model_param", "tree_info", "trees"], ["iteration_indptr", "cats", "weight_drop"]
    )
    if "weight_drop" in model:
        drop = model["weight_drop"].singles()
    param = model["gbtree_model_param"].fields(["num_trees"], ["num_parallel_tree", "size_leaf_vector"])
    count, parallel = (
        param["num_trees"].integer(),
        param["num_parallel_tree"].integer() if "num_parallel_tree" in param else 1,
    )
    if count == 0:  # versions of XGBoost disagree about which constant it predicts
        raise UnsupportedModelError("the model has no trees, so there is nothing to explain; train it first.")
    info = model["tree_info"].integers(count, 0, groups - 1)
    documents = list(model["trees"].items())
    if len(documents) != count or (drop is not None and len(drop) not in (0, count)):
        model["trees"].fail(f"{len(documents)} trees where {count} are announced")
    use, said = _counting(model, count, max(parallel, 1) * groups, about, attributes)
    categorical: set[int] = {i for i, t in enumerate(types) if t == "c"}
    weight = np.ones(use) if drop is None or not len(drop) else drop[:use].copy()
    trees = read_trees(documents[:use], width, groups, info[:use], weight)
    categorical.update(np.unique(trees.nodes.feature[trees.nodes.flags & CATEGORICAL > 0]).tolist())
    return trees, _categories(model.get("cats"), categorical), said


def _counting(
    model: dict[str, CheckedNode], count: int, per_round: int, about: Document, attributes: dict[str, Any]
) -> tuple[int, _Said]:
    """How many trees count, and what to say about it."""
    bounds = (
        model["iteration_indptr"].integers(low=0, high=count).tolist()
        if "iteration_indptr" in model
        else list(range(0, count + 1, per_round))
    )
    if not bounds or bounds[0] != 0 or bounds[-1] != count or sorted(set(bounds)) != bounds:
        model["trees"].fail("boosting rounds that do not cover the trees")
    rounds = about.iterations
    best = attributes.get("best_iteration")
    if rounds is None and best is not None and "scikit_learn" in attributes:
        rounds = (
            CheckedNode(best, "$.learner.attributes.best_iteration").integer() + 1
        )  # as the estimator that saved it predicts
    if rounds is None or rounds >= len(bounds) - 1:
        note = (
            (f"The file records best_iteration={best}, but all {len(bounds) - 1} rounds count, as in Booster.predict.",)
            if best is not None and rounds is None
            else ()
        )
        return count, (None, note)
    return int(bounds[rounds]), (
        (rounds, len(bounds) - 1),
        (f"Early stopping: {rounds} of {len(bounds) - 1} rounds count.",),
    )


def _categories(cats: CheckedNode | None, categorical: set[int]) -> dict[int, tuple[Any, ...] | None]:
    """Training categories of each categorical column, where the model keeps them (XGBoost 3.1 and newer)."""
    known: dict[int, tuple[Any, ...] | None] = dict.fromkeys(sorted(categorical))
    if cats is None:
        return known
    for i, enc in enumerate(cats.fields(["enc", "feature_segments", "sorted_idx"])["enc"].items()):
        f = enc.fields([], ["offsets", "values", "type"])
        if "values" not in f or not len(f["values"].value):
            continue
        if "offsets" in f:
            text, offsets = (
                bytes(f["values"].integers(low=-128, high=255).astype(np.uint8)),
                f["offsets"].integers(low=0).tolist(),
            )
            if offsets != sorted(offsets) or (offsets and offsets[-1] != len(text)):
                f["offsets"].fail("text offsets out of order")
            known[i] = tuple(text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(offsets))
        else:
            known[i] = tuple(f["values"].floats().tolist())
    return known
