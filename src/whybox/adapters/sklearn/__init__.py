"""scikit-learn: trees, forests, boosting, linear models, averages of models, and the wrappers around any supported model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from whybox.adapters.common import ANY_MODEL_HINT
from whybox.adapters.sklearn import boosting, ensembles, linear, linear_ensembles, pipeline, trees, wrappers
from whybox.adapters.sklearn.assemble import UnverifiedModel, verify_and_attach
from whybox.adapters.sklearn.column_lineage import steps_of_predict
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model
from whybox.models.blackbox import RawScores
from whybox.models.registry import as_model
from whybox.models.registry import raw_scores as raw_scores_of

__all__ = ["adapt", "raw_scores"]

_ESTIMATOR_READERS: Final[dict[str, Callable[[Any], UnverifiedModel]]] = {
    "DecisionTreeRegressor": trees.read_single_tree,
    "DecisionTreeClassifier": trees.read_single_tree,
    "ExtraTreeRegressor": trees.read_single_tree,
    "ExtraTreeClassifier": trees.read_single_tree,
    "RandomForestRegressor": trees.read_forest,
    "RandomForestClassifier": trees.read_forest,
    "ExtraTreesRegressor": trees.read_forest,
    "ExtraTreesClassifier": trees.read_forest,
    "IsolationForest": trees.read_isolation_forest,
    "GradientBoostingRegressor": boosting.read_gradient_boosting,
    "GradientBoostingClassifier": boosting.read_gradient_boosting,
    "HistGradientBoostingRegressor": boosting.read_hist_gradient_boosting,
    "HistGradientBoostingClassifier": boosting.read_hist_gradient_boosting,
    "AdaBoostClassifier": boosting.read_adaboost_classifier,
    "AdaBoostRegressor": boosting.refuse_adaboost_regressor,
}
_WRAPPER_READERS: Final[dict[str, Callable[[Any, Callable[[Any], Model]], Model]]] = {
    "BaggingRegressor": ensembles.read_bagging,
    "BaggingClassifier": ensembles.read_bagging,
    "VotingRegressor": ensembles.read_voting,
    "VotingClassifier": ensembles.read_voting,
    "MultiOutputRegressor": ensembles.read_multi_output,
    "MultiOutputClassifier": ensembles.read_multi_output,
    "OneVsRestClassifier": ensembles.read_one_vs_rest,
    "RANSACRegressor": linear_ensembles.read_ransac,
    "Pipeline": pipeline.read_pipeline,
    "GridSearchCV": pipeline.read_search,
    "RandomizedSearchCV": pipeline.read_search,
    "HalvingGridSearchCV": pipeline.read_search,
    "HalvingRandomSearchCV": pipeline.read_search,
    "TransformedTargetRegressor": pipeline.read_transformed_target,
    "FrozenEstimator": wrappers.read_wrapper,
    "SelfTrainingClassifier": wrappers.read_wrapper,
    "TunedThresholdClassifierCV": wrappers.read_threshold,
    "FixedThresholdClassifier": wrappers.read_threshold,
    "RFE": wrappers.read_selection,
    "RFECV": wrappers.read_selection,
}
_REASONS_AGAINST: Final = {
    "StackingRegressor": "its final estimator is a function of other models' predictions, so there is no sum over trees of your columns",
    "StackingClassifier": "its final estimator is a function of other models' predictions, so there is no sum over trees of your columns",
    "CalibratedClassifierCV": "calibration puts a curve on top of the sum; explain estimator.calibrated_classifiers_[i].estimator, the models inside",
    "RandomTreesEmbedding": "it is a transformer, not a model",
    "ClassifierChain": "each member reads the predictions of the one before, so there is no sum over trees of your columns",
    "RegressorChain": "each member reads the predictions of the one before, so there is no sum over trees of your columns",
}


def adapt(estimator: Any) -> Model:
    """Read a fitted scikit-learn estimator; see docs/models.md for every kind and its verdict."""
    for cls in type(estimator).__mro__:
        if cls.__module__.partition(".")[0] != "sklearn":
            continue
        if cls.__name__ in _ESTIMATOR_READERS:
            _refuse_unfitted(estimator)
            return verify_and_attach(_ESTIMATOR_READERS[cls.__name__](estimator), estimator)
        if cls.__name__ in linear.LINEAR_READERS:
            _refuse_unfitted(estimator)
            return linear.LINEAR_READERS[cls.__name__](estimator)
        if cls.__name__ in _WRAPPER_READERS:
            _refuse_unfitted(estimator)
            return _WRAPPER_READERS[cls.__name__](estimator, as_model)
        if cls.__name__ in _REASONS_AGAINST:
            raise UnsupportedModelError(
                f"{cls.__name__} cannot be explained exactly: {_REASONS_AGAINST[cls.__name__]}.", hint=ANY_MODEL_HINT
            )
    raise UnsupportedModelError(
        f"{type(estimator).__name__} is not a model this version reads.",
        hint=f"It reads trees, forests, boosting, linear models, ensembles of these, Pipelines and searches; docs/models.md lists every kind. {ANY_MODEL_HINT}",
    )


_DECISION_UNITS: Final = {
    "GradientBoostingClassifier": "log-odds",
    "HistGradientBoostingClassifier": "log-odds",
    "AdaBoostClassifier": "vote margin",
}


def raw_scores(estimator: Any) -> RawScores | None:
    """Return the raw scores of an estimator whose raw scale is not the scale of its predictions; else None."""
    for cls in type(estimator).__mro__:
        name = cls.__name__ if cls.__module__.partition(".")[0] == "sklearn" else ""
        if name in _DECISION_UNITS:
            units = "margin" if getattr(estimator, "loss", "") == "exponential" else _DECISION_UNITS[name]
            units += " (softmax)" if units == "log-odds" and len(estimator.classes_) > 2 else ""
            return RawScores(estimator.decision_function, units, f"{type(estimator).__name__}.decision_function")
        if name == "Pipeline":
            inner = raw_scores_of(estimator.steps[-1][1])
            steps = tuple(step for _, step in steps_of_predict(estimator))
            return inner and replace(inner, predict_function=pipeline.TransformThenCall(steps, inner.predict_function))
        if name in wrappers.WRAPPERS:
            inner = raw_scores_of(wrappers.inner_estimator(estimator))
            if inner is None:
                return None
            predict = pipeline.predict_of_part(estimator, wrappers.inner_estimator, inner.predict_function)
            selects = (estimator,) if name in ("RFE", "RFECV") else ()
            return replace(inner, predict_function=pipeline.TransformThenCall(selects, predict))
        if name.endswith("SearchCV"):
            inner = raw_scores_of(getattr(estimator, "best_estimator_", None))
            return inner and replace(
                inner, predict_function=pipeline.predict_of_best(estimator, inner.predict_function)
            )
    return None


def _refuse_unfitted(estimator: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise UnsupportedModelError(
            f"this {type(estimator).__name__} is not fitted; call fit first ({error})."
        ) from None
