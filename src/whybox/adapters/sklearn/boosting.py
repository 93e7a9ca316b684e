"""scikit-learn's boosted trees: GradientBoosting*, HistGradientBoosting*, AdaBoostClassifier."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.adapters.common import as_columns, class_names, import_path, quietly, refuse_one_class
from whybox.adapters.sklearn.assemble import Reading, fitted, number_inputs
from whybox.adapters.sklearn.trees import class_shares, read_tree
from whybox.adapters.verification.verify import Domain
from whybox.data.table import Floats, is_missing
from whybox.errors import UnknownFieldError, UnsupportedModelError
from whybox.kernels import tree_shap as kernels
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.links import Link, Outputs
from whybox.models.trees import CATEGORICAL, LESS_EQUAL, MISSING_LEFT, StackedTrees, Tree, TreeEnsemble

__all__ = ["adaboost_classifier", "adaboost_regressor", "gradient_boosting", "hist_gradient_boosting"]

_CONSTANT_INITS: Final = {"DummyRegressor", "DummyClassifier"}
_RANDOM_DUMMIES: Final = {"stratified", "uniform"}


def margin_outputs(classes: Any, *, scale: float = 1.0) -> Outputs:
    """Outputs of a boosted classifier: log-odds for two classes, softmax scores for more."""
    names = class_names(classes)
    if len(names) <= 2:
        return Outputs(
            names[-1:],
            Link("sigmoid", scale),
            raw_units="log-odds" if scale == 1.0 else "margin",
            response_units="probability",
            negative_class=names[0],
        )
    return Outputs(
        names,
        Link("softmax", scale),
        raw_units="log-odds (softmax)" if scale == 1.0 else "margin",
        response_units="probability",
    )


def gradient_boosting(estimator: Any) -> Reading:
    """Read GradientBoosting*: init, plus learning_rate times every stage's trees."""
    stages = fitted(estimator, "estimators_")
    classifier = hasattr(estimator, "classes_")
    _check_init(estimator)
    trees = [
        read_tree(
            stage[k].tree_,
            np.asarray(stage[k].tree_.value, dtype=np.float64)[:, 0, 0],
            output=k,
            weight=float(estimator.learning_rate),
            share=None,
        )
        for stage in stages
        for k in range(len(stage))
    ]
    if classifier:
        outputs = margin_outputs(estimator.classes_, scale=2.0 if estimator.loss == "exponential" else 1.0)
    else:
        outputs = Outputs(("prediction",))
    inputs = number_inputs(estimator, single=True, nan=False, infinite=False)
    read: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "kind": import_path(estimator)}
    own = estimator.decision_function if classifier else estimator.predict
    # The initial prediction is a constant; learn it through the public predict: what the trees do not explain at one row.
    bare = TreeEnsemble.from_trees(trees, base=np.zeros(len(outputs.names)), **read)
    row = np.zeros((1, inputs.width))
    with quietly():
        base = as_columns(own(row))[0] - kernels.predict(bare, row)[0]
    return Reading(TreeEnsemble.from_trees(trees, base=base, **read), own, "raw", Domain(nan=False, infinite=False))


def _check_init(estimator: Any) -> None:
    init = fitted(estimator, "init_")
    if isinstance(init, str) and init == "zero":
        return
    name = type(init).__name__
    if name not in _CONSTANT_INITS or getattr(init, "strategy", "") in _RANDOM_DUMMIES:
        raise UnsupportedModelError(
            f"this {type(estimator).__name__} starts from init={name}, which is a model of the features itself, so the sum is not a tree ensemble. "
            "Refit with init=None, init='zero' or a constant Dummy estimator, or explain the two models separately."
        )


_HIST_LINKS: Final = {
    "HalfSquaredError": Link(),
    "AbsoluteError": Link(),
    "PinballLoss": Link(),
    "HalfPoissonLoss": Link("exp"),
    "HalfGammaLoss": Link("exp"),
}


def hist_gradient_boosting(estimator: Any) -> Reading:
    """Read HistGradientBoosting*: its own encoder moves categorical columns to the front; features are mapped back here."""
    stages = fitted(estimator, "_predictors")
    classifier = hasattr(estimator, "classes_")
    if classifier:
        refuse_one_class("HistGradientBoostingClassifier", estimator.classes_)
        outputs = margin_outputs(estimator.classes_)
    else:
        loss = type(estimator._loss).__name__  # noqa: SLF001  # the fitted loss has no public name
        if loss not in _HIST_LINKS:
            raise UnknownFieldError(
                f"HistGradientBoostingRegressor with loss {loss} is not known to this version of whybox."
            )
        link = _HIST_LINKS[loss]
        outputs = Outputs(
            ("prediction",), link, raw_units="prediction" if link.is_identity else "log of the prediction"
        )
    inputs, order, codes = _hist_inputs(estimator)
    per_round = len(stages[0])
    found = _hist_trees([predictor for stage in stages for predictor in stage], order, per_round)
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001
    model = TreeEnsemble.from_trees(found, base=base, inputs=inputs, outputs=outputs, kind=import_path(estimator))
    domain = Domain(categories={c: len(known) for c, known in codes.items()}, unseen=True)
    method = "decision_function" if classifier else "predict"

    def rounds(first: int, last: int) -> Any:
        some = copy(estimator)
        some._predictors = stages[first:last]  # noqa: SLF001
        return getattr(some, method)

    return Reading(
        model,
        getattr(estimator, method),
        "raw" if classifier else "response",
        domain,
        _Decode(codes, _of_objects(estimator)) if codes else None,
        None if method in vars(estimator) else rounds,  # a method of the object's own would go on with all of them
        per_round,
    )


def _hist_inputs(estimator: Any) -> tuple[Inputs, np.ndarray[Any, np.dtype[np.int64]], dict[int, tuple[Any, ...]]]:
    """Inputs; the user's column behind each internal column; the training categories of categorical columns."""
    inputs = number_inputs(estimator, single=False, nan=True, infinite=True)
    mask = estimator.is_categorical_
    if mask is None or not np.any(mask):
        return inputs, np.arange(inputs.width), {}
    mask = np.asarray(mask, dtype=bool)
    categories = estimator._preprocessor.named_transformers_["encoder"].categories_  # noqa: SLF001
    codes = {
        int(c): tuple(v for v in known if not is_missing(v))
        for c, known in zip(np.flatnonzero(mask), categories, strict=True)
    }
    encoder = NumberEncoder(type(estimator).__name__, categories=codes, unseen_code=float("nan"))
    return (
        Inputs(inputs.names, inputs.named, encoder, inputs.sources),
        np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)]),
        codes,
    )


def _of_objects(estimator: Any) -> bool:
    """Whether training had categories in columns of objects, also where they are numbers: predict then takes objects only."""
    categories = estimator._preprocessor.named_transformers_["encoder"].categories_  # noqa: SLF001
    return any(np.asarray(known).dtype == object for known in categories)


def _hist_trees(predictors: list[Any], order: Any, per_round: int) -> StackedTrees:
    """All trees at once."""
    sizes = np.array([len(p.nodes) for p in predictors], dtype=np.int64)
    nodes = np.concatenate([p.nodes for p in predictors])
    leaf = nodes["is_leaf"].astype(bool)
    categorical = nodes["is_categorical"].astype(bool) & ~leaf
    flags = np.full(len(nodes), LESS_EQUAL, dtype=np.uint8)
    flags |= np.where(nodes["missing_go_to_left"] > 0, MISSING_LEFT, 0).astype(np.uint8)
    flags |= np.where(categorical, CATEGORICAL, 0).astype(np.uint8)
    sets, which = {}, np.repeat(np.arange(len(sizes)), sizes)
    for node in np.flatnonzero(categorical):
        bitsets = predictors[which[node]].raw_left_cat_bitsets
        words = np.asarray(bitsets[nodes["bitset_idx"][node]], dtype=np.uint32)
        sets[int(node)] = np.flatnonzero((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1)
    found = Tree(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(leaf, -1, order[np.where(leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(leaf | categorical, np.nan, nodes["num_threshold"]),
        flags=flags,
        cover=nodes["count"].astype(np.float64),
        value=np.where(leaf, nodes["value"], 0.0),
        gain=np.where(leaf, 0.0, nodes["gain"]),
        sets=sets,
    )
    return StackedTrees(found, sizes, np.arange(len(sizes)) % per_round, np.ones(len(sizes)))


@final
@dataclass(frozen=True)
class _Decode:
    """Codes back to categories, so that the estimator's public predict can be asked about made rows."""

    categories: dict[int, tuple[Any, ...]]
    objects: bool

    def __call__(self, matrix: Floats) -> Any:
        numeric = all(isinstance(v, (int, float, np.number)) for known in self.categories.values() for v in known)
        rows: Any = matrix.astype(object) if self.objects or not numeric else matrix.copy()
        for column, known in self.categories.items():
            unseen: Any = max(known, default=0) + 1 if numeric else "a category that training did not have"
            lookup = np.array([*known, unseen], dtype=object)
            code, missing = matrix[:, column], np.isnan(matrix[:, column])
            decoded = lookup[np.where(missing | (code < 0), len(known), np.minimum(code, len(known))).astype(np.int64)]
            decoded[missing] = np.nan
            rows[:, column] = decoded
        return rows


def adaboost_classifier(estimator: Any) -> Reading:
    """Read AdaBoostClassifier of trees: each tree votes for one class, so a leaf holds its vote; the margin is additive."""
    members, weights = fitted(estimator, "estimators_"), np.asarray(estimator.estimator_weights_, dtype=np.float64)
    classes = np.asarray(estimator.classes_)
    refuse_one_class("AdaBoostClassifier", classes.tolist())
    trees = []
    for member, weight in zip(members, weights, strict=False):
        if not hasattr(member, "tree_") or not hasattr(member, "classes_"):
            raise UnsupportedModelError(
                f"this AdaBoostClassifier boosts {type(member).__name__}; only votes of decision trees can be explained exactly."
            )
        shares, (own_classes,) = class_shares(member)
        winner = np.searchsorted(classes, own_classes[shares[0].argmax(axis=1)])
        votes = np.where(winner[:, None] == np.arange(len(classes)), 1.0, -1.0 / (len(classes) - 1))
        value = (votes[:, 1] - votes[:, 0])[:, None] if len(classes) == 2 else votes
        trees.append(
            read_tree(
                member.tree_,
                value,
                output=0 if len(classes) == 2 else -1,
                weight=weight / weights.sum(),
                share=weight / weights.sum(),
            )
        )
    outputs = margin_outputs(classes, scale=1.0 if len(classes) == 2 else 1.0 / (len(classes) - 1))
    outputs = Outputs(outputs.names, outputs.link, "vote margin", "probability", outputs.negative_class)
    # predict hands the rows to its trees unchecked, so missing values and infinities meet each tree's own rules: refuse them here.
    model = TreeEnsemble.from_trees(
        trees,
        base=np.zeros(len(outputs.names)),
        inputs=number_inputs(estimator, single=True, nan=False, infinite=False),
        outputs=outputs,
        kind=import_path(estimator),
    )
    return Reading(model, estimator.decision_function, "raw", Domain(nan=False, infinite=False))


def adaboost_regressor(estimator: Any) -> Reading:
    """Refuse AdaBoostRegressor."""
    raise UnsupportedModelError(
        "AdaBoostRegressor predicts the weighted median of its trees, which is not a sum over trees, so no exact tree attribution exists. "
        "GradientBoostingRegressor or HistGradientBoostingRegressor on the same data can be explained exactly."
    )
