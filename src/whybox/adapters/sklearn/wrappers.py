"""Estimators that hand rows on to one fitted estimator: as they are, or some of their columns. What they predict is what that estimator predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, final

from whybox.adapters.common import FittedPart
from whybox.adapters.sklearn.assemble import wrap_model
from whybox.adapters.sklearn.pipeline import own_predict, pipeline_inputs, with_steps
from whybox.models.base import Model

__all__ = ["WRAPPERS", "inner_estimator", "read_selection", "read_threshold", "read_wrapper"]

Adapt = Callable[[Any], Model]

# where the fitted estimator is: of some, fit makes a copy
WRAPPERS: Final = {
    "FrozenEstimator": "estimator",
    "SelfTrainingClassifier": "estimator_",
    "TunedThresholdClassifierCV": "estimator_",
    "FixedThresholdClassifier": "estimator_",
    "RFE": "estimator_",
    "RFECV": "estimator_",
}


def inner_estimator(wrapper: Any) -> Any:
    """Return the fitted estimator inside one of `WRAPPERS`."""
    attribute = next(WRAPPERS[kind.__name__] for kind in type(wrapper).__mro__ if kind.__name__ in WRAPPERS)
    return getattr(wrapper, attribute) if hasattr(wrapper, attribute) else wrapper.estimator


@final
@dataclass(frozen=True)
class _Selection:
    """The columns that an estimator selected when it was read."""

    estimator: Any
    fitted: FittedPart

    def transform(self, rows: Any) -> Any:
        """Return the selected columns.

        Raises:
            ModelMismatchError: it was fitted again, and may select others.
        """
        self.fitted()
        return self.estimator.transform(rows)


def read_wrapper(estimator: Any, adapt: Adapt) -> Model:
    """Read FrozenEstimator and SelfTrainingClassifier: the estimator inside, by the column names of the wrapper."""
    inner = adapt(inner_estimator(estimator))
    if not inner.inputs.has_names and hasattr(estimator, "feature_names_in_"):  # it was given an array
        names = tuple(map(str, estimator.feature_names_in_))
        inner = replace(inner, inputs=replace(inner.inputs, names=names, has_names=True, own_names=()))
    return wrap_model(inner, *own_predict(estimator, inner), estimator)


def read_threshold(estimator: Any, adapt: Adapt) -> Model:
    """Read the classifiers with a threshold of their own: their scores are those of the estimator inside, and only labels depend on the threshold."""
    model = read_wrapper(estimator, adapt)
    threshold = getattr(estimator, "best_threshold_", getattr(estimator, "threshold", None))
    at = f"{threshold:.4g}" if isinstance(threshold, float) else str(threshold)
    note = f"The threshold ({at}) of {type(estimator).__name__} decides on labels only; what is explained is the score that it is applied to."
    return replace(model, notes=(*model.notes, note))


def read_selection(estimator: Any, adapt: Adapt) -> Model:
    """Read RFE and RFECV: the estimator inside, which reads the selected columns."""
    inner = adapt(inner_estimator(estimator))
    inputs = pipeline_inputs(estimator, [("feature selection", estimator)], inner)
    selection = _Selection(estimator, FittedPart(inner_estimator(estimator), estimator, inner_estimator))
    inputs = with_steps(inputs, [("feature selection", selection)])
    return wrap_model(replace(inner, inputs=inputs), *own_predict(estimator, inner), estimator)
