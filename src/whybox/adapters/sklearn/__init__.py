"""scikit-learn: trees, forests, boosting, averages of models, and the wrappers around any supported model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from whybox.adapters.sklearn import boosting, ensembles, pipeline, trees
from whybox.adapters.sklearn.assemble import Reading, finish
from whybox.errors import UnsupportedModelError, shown
from whybox.models.base import Model
from whybox.models.blackbox import RawScores
from whybox.models.registry import as_model
from whybox.models.registry import raw_scores as raw_of

__all__ = ["adapt", "raw_scores"]

_READERS: Final[dict[str, Callable[[Any], Reading]]] = {
    "DecisionTreeRegressor": trees.single_tree,
    "DecisionTreeClassifier": trees.single_tree,
    "ExtraTreeRegressor": trees.single_tree,
    "ExtraTreeClassifier": trees.single_tree,
    "RandomForestRegressor": trees.forest,
    "RandomForestClassifier": trees.forest,
    "ExtraTreesRegressor": trees.forest,
    "ExtraTreesClassifier": trees.forest,
    "IsolationForest": trees.isolation_forest,
    "GradientBoostingRegressor": boosting.gradient_boosting,
    "GradientBoostingClassifier": boosting.gradient_boosting,
    "HistGradientBoostingRegressor": boosting.hist_gradient_boosting,
    "HistGradientBoostingClassifier": boosting.hist_gradient_boosting,
    "AdaBoostClassifier": boosting.adaboost_classifier,
    "AdaBoostRegressor": boosting.adaboost_regressor,
}
_WRAPPERS: Final[dict[str, Callable[[Any, Callable[[Any], Model]], Model]]] = {
    "BaggingRegressor": ensembles.bagging,
    "BaggingClassifier": ensembles.bagging,
    "VotingRegressor": ensembles.voting,
    "VotingClassifier": ensembles.voting,
    "MultiOutputRegressor": ensembles.multi_output,
    "MultiOutputClassifier": ensembles.multi_output,
    "Pipeline": pipeline.pipeline,
    "GridSearchCV": pipeline.search,
    "RandomizedSearchCV": pipeline.search,
    "HalvingGridSearchCV": pipeline.search,
    "HalvingRandomSearchCV": pipeline.search,
    "TransformedTargetRegressor": pipeline.transformed_target,
}
_REASONS: Final = {
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
        if cls.__name__ in _READERS:
            _refuse_unfitted(estimator)
            return finish(_READERS[cls.__name__](estimator), estimator)
        if cls.__name__ in _WRAPPERS:
            _refuse_unfitted(estimator)
            return _WRAPPERS[cls.__name__](estimator, as_model)
        if cls.__name__ in _REASONS:
            raise UnsupportedModelError(f"{cls.__name__} cannot be explained exactly: {_REASONS[cls.__name__]}.")
    raise UnsupportedModelError(
        f"{type(estimator).__name__} is not a tree model this version explains. It explains: {shown([*_READERS, *_WRAPPERS], most=40)}."
    )


_DECISIONS: Final = {
    "GradientBoostingClassifier": "log-odds",
    "HistGradientBoostingClassifier": "log-odds",
    "AdaBoostClassifier": "vote margin",
}


def raw_scores(estimator: Any) -> RawScores | None:
    """Return how an estimator answers on its additive scale, where its kind is read on another scale than it predicts; else None."""
    for cls in type(estimator).__mro__:
        name = cls.__name__ if cls.__module__.partition(".")[0] == "sklearn" else ""
        if name in _DECISIONS:
            units = "margin" if getattr(estimator, "loss", "") == "exponential" else _DECISIONS[name]
            units += " (softmax)" if units == "log-odds" and len(estimator.classes_) > 2 else ""
            return RawScores(estimator.decision_function, units, f"{type(estimator).__name__}.decision_function")
        if name == "Pipeline":
            inner = raw_of(estimator.steps[-1][1])
            return inner and replace(inner, call=pipeline.Transformed(estimator[:-1], inner.call))
        if name.endswith("SearchCV"):
            return raw_of(getattr(estimator, "best_estimator_", None))
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
