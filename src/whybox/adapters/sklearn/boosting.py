"""scikit-learn's boosted trees: GradientBoosting*, HistGradientBoosting*, AdaBoostClassifier."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from whybox.adapters.common import as_columns, class_names, import_path, refuse_one_class
from whybox.adapters.sklearn.assemble import UnverifiedModel, fitted_attribute, number_inputs
from whybox.adapters.sklearn.trees import class_shares, read_tree
from whybox.adapters.verification.verify import Domain
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, is_missing
from whybox.errors import UnknownFieldError, UnsupportedModelError
from whybox.kernels import tree_shap as kernels
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.links import Link, Outputs
from whybox.models.trees import CATEGORICAL_SPLIT, LESS_EQUAL, MISSING_LEFT, StackedTrees, Tree, TreeEnsemble

__all__ = [
    "read_adaboost_classifier",
    "read_gradient_boosting",
    "read_hist_gradient_boosting",
    "refuse_adaboost_regressor",
]

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


def read_gradient_boosting(estimator: Any) -> UnverifiedModel:
    """Read GradientBoosting*: init, plus learning_rate times every stage's trees."""
    stages = fitted_attribute(estimator, "estimators_")
    classifier = hasattr(estimator, "classes_")
    _check_init(estimator)
    trees = [
        read_tree(
            stage[k].tree_,
            np.asarray(stage[k].tree_.value, dtype=np.float64)[:, 0, 0],
            output=k,
            weight=float(estimator.learning_rate),
            gain_total=None,
        )
        for stage in stages
        for k in range(len(stage))
    ]
    if classifier:
        outputs = margin_outputs(estimator.classes_, scale=2.0 if estimator.loss == "exponential" else 1.0)
    else:
        outputs = Outputs(("prediction",))
    inputs = number_inputs(estimator, float32=True, nan=False, infinite=False)
    model_fields: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "kind": import_path(estimator)}
    predict = estimator.decision_function if classifier else estimator.predict
    # The initial prediction is a constant; learn it through the public predict: what the trees do not explain at one row.
    without_base = TreeEnsemble.from_trees(trees, base=np.zeros(len(outputs.names)), **model_fields)
    zero_row = np.zeros((1, inputs.width))
    with suppress_warnings():
        base = as_columns(predict(zero_row))[0] - kernels.predict(without_base, zero_row)[0]
    return UnverifiedModel(
        TreeEnsemble.from_trees(trees, base=base, **model_fields), predict, "raw", Domain(nan=False, infinite=False)
    )


def _check_init(estimator: Any) -> None:
    init = fitted_attribute(estimator, "init_")
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


def read_hist_gradient_boosting(estimator: Any) -> UnverifiedModel:
    """Read HistGradientBoosting*: its own encoder moves categorical columns to the front; features are mapped back here."""
    stages = fitted_attribute(estimator, "_predictors")
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
    inputs, order, categories = _hist_inputs(estimator)
    trees_per_round = len(stages[0])
    stacked = _hist_trees([predictor for stage in stages for predictor in stage], order, trees_per_round)
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001
    model = TreeEnsemble.from_trees(stacked, base=base, inputs=inputs, outputs=outputs, kind=import_path(estimator))
    domain = Domain(
        categories={c: len(categories_of_column) for c, categories_of_column in categories.items()}, unseen=True
    )
    method = "decision_function" if classifier else "predict"

    def rounds(first: int, last: int) -> Any:
        of_rounds = copy(estimator)
        of_rounds._predictors = stages[first:last]  # noqa: SLF001
        return getattr(of_rounds, method)

    return UnverifiedModel(
        model,
        getattr(estimator, method),
        "raw" if classifier else "response",
        domain,
        _CodesToCategories(categories, _trained_on_objects(estimator)) if categories else None,
        None if method in vars(estimator) else rounds,  # a method of the object's own would go on with all of them
        trees_per_round,
    )


def _hist_inputs(estimator: Any) -> tuple[Inputs, np.ndarray[Any, np.dtype[np.int64]], dict[int, tuple[Any, ...]]]:
    """Inputs, the user's column of each internal column, and the training categories of categorical columns."""
    inputs = number_inputs(estimator, float32=False, nan=True, infinite=True)
    is_categorical = estimator.is_categorical_
    if is_categorical is None or not np.any(is_categorical):
        return inputs, np.arange(inputs.width), {}
    is_categorical = np.asarray(is_categorical, dtype=bool)
    categories = estimator._preprocessor.named_transformers_["encoder"].categories_  # noqa: SLF001
    categories_by_column = {
        int(c): tuple(v for v in known if not is_missing(v))
        for c, known in zip(np.flatnonzero(is_categorical), categories, strict=True)
    }
    encoder = NumberEncoder(type(estimator).__name__, categories=categories_by_column, unseen_code=float("nan"))
    return (
        Inputs(inputs.names, inputs.has_names, encoder, inputs.source_columns),
        np.concatenate([np.flatnonzero(is_categorical), np.flatnonzero(~is_categorical)]),
        categories_by_column,
    )


def _trained_on_objects(estimator: Any) -> bool:
    """Whether training had categories in columns of objects, also where they are numbers: predict then takes objects only."""
    categories = estimator._preprocessor.named_transformers_["encoder"].categories_  # noqa: SLF001
    return any(np.asarray(known).dtype == object for known in categories)


def _hist_trees(predictors: list[Any], order: Any, per_round: int) -> StackedTrees:
    """All trees at once."""
    sizes = np.array([len(p.nodes) for p in predictors], dtype=np.int64)
    nodes = np.concatenate([p.nodes for p in predictors])
    is_leaf = nodes["is_leaf"].astype(bool)
    is_categorical = nodes["is_categorical"].astype(bool) & ~is_leaf
    flags = np.full(len(nodes), LESS_EQUAL, dtype=np.uint8)
    flags |= np.where(nodes["missing_go_to_left"] > 0, MISSING_LEFT, 0).astype(np.uint8)
    flags |= np.where(is_categorical, CATEGORICAL_SPLIT, 0).astype(np.uint8)
    sets, tree_of_node = {}, np.repeat(np.arange(len(sizes)), sizes)
    for node in np.flatnonzero(is_categorical):
        bitsets = predictors[tree_of_node[node]].raw_left_cat_bitsets
        words = np.asarray(bitsets[nodes["bitset_idx"][node]], dtype=np.uint32)
        sets[int(node)] = np.flatnonzero((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1)
    nodes_of_trees = Tree(
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        feature=np.where(is_leaf, -1, order[np.where(is_leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(is_leaf | is_categorical, np.nan, nodes["num_threshold"]),
        flags=flags,
        cover=nodes["count"].astype(np.float64),
        value=np.where(is_leaf, nodes["value"], 0.0),
        gain=np.where(is_leaf, 0.0, nodes["gain"]),
        sets=sets,
    )
    return StackedTrees(nodes_of_trees, sizes, np.arange(len(sizes)) % per_round, np.ones(len(sizes)))


@final
@dataclass(frozen=True)
class _CodesToCategories:
    """Converts codes back to categories, so that the estimator's public predict can evaluate probe rows."""

    categories: dict[int, tuple[Any, ...]]
    as_objects: bool

    def __call__(self, matrix: Floats) -> Any:
        is_numeric = all(
            isinstance(v, (int, float, np.number)) for categories in self.categories.values() for v in categories
        )
        rows: Any = matrix.astype(object) if self.as_objects or not is_numeric else matrix.copy()
        for column, categories in self.categories.items():
            unseen: Any = max(categories, default=0) + 1 if is_numeric else "a category that training did not have"
            category_of_code = np.array([*categories, unseen], dtype=object)
            code, is_missing_code = matrix[:, column], np.isnan(matrix[:, column])
            decoded = category_of_code[
                np.where(is_missing_code | (code < 0), len(categories), np.minimum(code, len(categories))).astype(
                    np.int64
                )
            ]
            decoded[is_missing_code] = np.nan
            rows[:, column] = decoded
        return rows


def read_adaboost_classifier(estimator: Any) -> UnverifiedModel:
    """Read AdaBoostClassifier of trees: each tree votes for one class, so a leaf holds its vote; the margin is additive."""
    members, weights = (
        fitted_attribute(estimator, "estimators_"),
        np.asarray(estimator.estimator_weights_, dtype=np.float64),
    )
    classes = np.asarray(estimator.classes_)
    refuse_one_class("AdaBoostClassifier", classes.tolist())
    trees = []
    for member, weight in zip(members, weights, strict=False):
        if not hasattr(member, "tree_") or not hasattr(member, "classes_"):
            raise UnsupportedModelError(
                f"this AdaBoostClassifier boosts {type(member).__name__}; only votes of decision trees can be explained exactly."
            )
        shares, (member_classes,) = class_shares(member)
        winner = np.searchsorted(classes, member_classes[shares[0].argmax(axis=1)])
        votes = np.where(winner[:, None] == np.arange(len(classes)), 1.0, -1.0 / (len(classes) - 1))
        value = (votes[:, 1] - votes[:, 0])[:, None] if len(classes) == 2 else votes
        trees.append(
            read_tree(
                member.tree_,
                value,
                output=0 if len(classes) == 2 else -1,
                weight=weight / weights.sum(),
                gain_total=weight / weights.sum(),
            )
        )
    outputs = margin_outputs(classes, scale=1.0 if len(classes) == 2 else 1.0 / (len(classes) - 1))
    outputs = Outputs(outputs.names, outputs.link, "vote margin", "probability", outputs.negative_class)
    # predict hands the rows to its trees unchecked, so missing values and infinities meet each tree's own rules: refuse them here.
    model = TreeEnsemble.from_trees(
        trees,
        base=np.zeros(len(outputs.names)),
        inputs=number_inputs(estimator, float32=True, nan=False, infinite=False),
        outputs=outputs,
        kind=import_path(estimator),
    )
    return UnverifiedModel(model, estimator.decision_function, "raw", Domain(nan=False, infinite=False))


def refuse_adaboost_regressor(estimator: Any) -> UnverifiedModel:
    """Refuse AdaBoostRegressor."""
    raise UnsupportedModelError(
        "AdaBoostRegressor predicts the weighted median of its trees, which is not a sum over trees, so no exact tree attribution exists. "
        "GradientBoostingRegressor or HistGradientBoostingRegressor on the same data can be explained exactly."
    )
