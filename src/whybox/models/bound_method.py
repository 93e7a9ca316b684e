"""A method taken from an estimator, such as ``forest.predict_proba``: which estimator, and on which scale it answers."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, final

from whybox.errors import UnsupportedModelError
from whybox.models.base import Model
from whybox.models.trees import TreeEnsemble

__all__ = ["PREDICT_METHODS", "BoundMethod", "bound_method", "gives_labels", "has_method", "last_estimator"]

# in the order in which an estimator's methods are preferred: labels carry least
PREDICT_METHODS: Final = ("predict_proba", "decision_function", "predict")
_LIBRARIES: Final = ("sklearn", "imblearn", "xgboost", "lightgbm", "catboost", "interpret", "statsmodels")
# their predict takes a container of its own, or gives another scale than the estimators' one
_NOT_READ: Final = {("xgboost", "Booster"), ("catboost", "CatBoost")}


@final
@dataclass(frozen=True)
class BoundMethod:
    """A predict method of a library's estimator, which the estimator's class has not replaced.

    Attributes:
        estimator: whose method it is. name: one of `PREDICT_METHODS`.
    """

    estimator: Any
    name: str

    @property
    def call_name(self) -> str:
        """How a person writes it."""
        return f"{type(self.estimator).__name__}.{self.name}"

    def restrict_scale(self, model: Model) -> Model:
        """Return the model of the estimator, explained on the scale of this method alone.

        Raises:
            UnsupportedModelError: the method's outputs are not on a scale of the model.
        """
        scale = self._output_scale(model)
        units = model.outputs.raw_units if scale == "raw" else model.outputs.response_units
        note = (
            f"{self.call_name} was passed: its estimator is read, and explained on the scale of that method ({units})."
        )
        return replace(model, outputs=replace(model.outputs, scale=scale), notes=(*model.notes, note))

    def _output_scale(self, model: Model) -> Literal["raw", "response"]:
        outputs = model.outputs
        own = "" if model.own_predict is None else model.own_predict.call_name
        library = type(self.estimator).__module__.partition(".")[0]
        if self.name == "predict" and gives_labels(self.estimator):
            raise UnsupportedModelError(
                f"{self.call_name} gives class labels, which are no sum of contributions. Pass the model itself, or its predict_proba."
            )
        if self.name == "predict_proba" and outputs.has_probability:
            return "response"
        if self.name == "decision_function" and outputs.has_probability and not self._sums_averaged_trees(model):
            return "raw"
        if self.name == "decision_function" and own.endswith(
            ".decision_function"
        ):  # of a classifier without probabilities
            return "raw"
        if self.name == "predict" and ".predict" in own and (library, type(self.estimator).__name__) not in _NOT_READ:
            return "response"
        raise UnsupportedModelError(
            f"{self.call_name} is not on a scale that is read of this model; pass the model itself ({type(self.estimator).__name__})."
        )

    def _sums_averaged_trees(self, model: Model) -> bool:
        """Whether raw scores are sums over trees of which predictions are the mean: LightGBM's, in random-forest mode."""
        library = type(last_estimator(self.estimator)).__module__.partition(".")[0]
        return library == "lightgbm" and isinstance(model, TreeEnsemble) and bool((model.tree_weight != 1.0).any())


def has_method(obj: Any, name: str) -> bool:
    """Whether an object has a method of its own; not one that answers to any name, as lightgbm's CVBooster does for the boosters in it."""
    return hasattr(obj, name) and not hasattr(obj, "a_name_that_nothing_has")


def last_estimator(estimator: Any) -> Any:
    """Return the estimator at the end of a Pipeline, of a search, or of one inside the other."""
    while hasattr(estimator, "steps") or hasattr(estimator, "best_estimator_"):
        estimator = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator.best_estimator_
    return estimator


def bound_method(obj: Any) -> BoundMethod | None:
    """Return what a method is bound to, if it is a library's own predict method of an estimator; else None."""
    if not inspect.ismethod(obj) or inspect.isclass(obj.__self__) or obj.__name__ not in PREDICT_METHODS:
        return None
    if obj.__func__.__module__.partition(".")[0] not in _LIBRARIES:
        return None
    return BoundMethod(obj.__self__, obj.__name__)


def gives_labels(estimator: Any) -> bool:
    """Whether an estimator's predict gives labels of classes or clusters."""
    classes = getattr(estimator, "classes_", None)
    return (classes is not None and len(classes) > 0) or hasattr(estimator, "labels_")
