"""scikit-learn's linear models: a weight for each column, and a link where they predict probabilities or means of counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np

from whybox.adapters.common import ANY_MODEL_HINT, class_names, import_path, refuse_one_class, refuse_overridden
from whybox.adapters.sklearn.assemble import RELATIVE_ROUNDING, PredictAsColumns, number_inputs
from whybox.adapters.sklearn.trees import value_outputs
from whybox.adapters.verification.verify import verify_linear
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OwnPredict, Scale
from whybox.models.linear import Linear
from whybox.models.links import Link, Outputs

__all__ = ["DECISION_UNITS", "LINEAR_READERS", "classifier_outputs"]

FLOAT32_RELATIVE_ROUNDING: Final = (
    1e-6  # of weights that were fitted to float32 rows: rows of float32 are then summed in float32
)
DECISION_UNITS: Final = "decision function"


@final
@dataclass(frozen=True)
class _LinearParts:
    """What a reader finds in an estimator.

    Attributes:
        weights: (columns, outputs). base: (outputs,). outputs: their names, link and units.
        predict: the estimator's method to compare with. scale: of its predictions.
        also: a method that gives predictions behind the link, where `predict` gives raw outputs.
        relative: rounding of the estimator's own sums.
    """

    weights: Floats
    base: Floats
    outputs: Outputs
    predict: Callable[[Any], Any]
    scale: Scale = "raw"
    also: Callable[[Any], Any] | None = None
    relative: float = RELATIVE_ROUNDING


def _verified(parts: _LinearParts, estimator: Any) -> Model:
    refuse_overridden(estimator, "sklearn")
    model = Linear(
        weights=np.ascontiguousarray(parts.weights, dtype=np.float64),
        base_values=np.array(parts.base, dtype=np.float64),
        inputs=number_inputs(estimator, float32=False, nan=False, infinite=False),
        outputs=parts.outputs,
        kind=import_path(estimator),
    )
    count, name = len(parts.outputs.names), parts.predict.__name__
    single = np.asarray(parts.weights).dtype == np.float32
    relative = max(parts.relative, FLOAT32_RELATIVE_ROUNDING if single else 0.0)
    predict = PredictAsColumns(parts.predict, count)
    against = f"{import_path(estimator)}.{name}"
    model = verify_linear(model, predict.rows, relative=relative, against=against, scale=parts.scale, nan=False)
    if parts.also is not None:
        probabilities = PredictAsColumns(parts.also, count).rows
        against += f" and {parts.also.__name__}"
        verify_linear(model, probabilities, relative=relative, against=against, scale="response", nan=False)
        model = replace(model, verdict=replace(model.verdict, against=against))
    own = OwnPredict(predict, parts.scale, relative, f"{type(estimator).__name__}.{name}", "scikit-learn")
    return replace(model, own_predict=own)


def _weights_and_base(coef: Any, intercept: Any) -> tuple[Floats, Floats]:
    """Weights (columns, outputs) and base (outputs,) from coefficients of shape (columns,) or (outputs, columns)."""
    dense = coef.toarray() if hasattr(coef, "toarray") else coef  # of a model that was made sparse
    weights = np.atleast_2d(np.asarray(dense)).T
    return weights, np.array(np.broadcast_to(np.ravel(intercept), weights.shape[1:]), dtype=np.float64)


def read_regressor(estimator: Any) -> Model:
    """Read a regressor that predicts the sum itself, of one target or of several."""
    weights, base = _weights_and_base(estimator.coef_, estimator.intercept_)
    return _verified(_LinearParts(weights, base, value_outputs(len(base)), estimator.predict), estimator)


def read_generalized(estimator: Any) -> Model:
    """Read PoissonRegressor, GammaRegressor and TweedieRegressor: the sum, or the exponential of it."""
    link = getattr(estimator, "link", "log")
    if link == "auto":
        link = "identity" if estimator.power <= 0 else "log"
    if link == "identity":
        return read_regressor(estimator)
    if link != "log":
        raise UnsupportedModelError(f"{type(estimator).__name__} with link={link!r} is not read by this version.")
    weights, base = _weights_and_base(estimator.coef_, estimator.intercept_)
    outputs = Outputs(("prediction",), Link("exp"), raw_units="log of the prediction")
    return _verified(_LinearParts(weights, base, outputs, estimator.predict, "response"), estimator)


def read_pls(estimator: Any) -> Model:
    """Read PLSRegression: a linear function of the columns less their means."""
    weights, base = _weights_and_base(estimator.coef_, estimator.intercept_)
    base = base - np.asarray(vars(estimator)["_x_mean"]) @ weights
    parts = _LinearParts(weights, base, value_outputs(len(base)), estimator.predict, relative=FLOAT32_RELATIVE_ROUNDING)
    return _verified(parts, estimator)


def read_probability_classifier(estimator: Any) -> Model:
    """Read a classifier whose probabilities are a sigmoid or softmax of its decision function."""
    weights, base = _weights_and_base(estimator.coef_, estimator.intercept_)
    outputs = classifier_outputs(estimator, len(base), one_vs_rest=_is_one_vs_rest(estimator))
    if len(base) == 1 and getattr(estimator, "multi_class", None) == "multinomial":
        # before scikit-learn 1.8: softmax of -d and d
        outputs = replace(outputs, link=Link("sigmoid", 2.0), raw_units="half log-odds")
    parts = _LinearParts(weights, base, outputs, estimator.decision_function, also=estimator.predict_proba)
    return _verified(parts, estimator)


def _is_one_vs_rest(estimator: Any) -> bool:
    """Whether the probabilities of several classes are sigmoids that are divided by their sum."""
    if type(estimator).__name__ == "LinearDiscriminantAnalysis":
        return False
    scheme = getattr(estimator, "multi_class", "auto")  # gone from scikit-learn 1.8 on
    liblinear = getattr(estimator, "solver", None) == "liblinear"
    return hasattr(estimator, "loss") or scheme == "ovr" or (scheme != "multinomial" and liblinear)


def read_margin_classifier(estimator: Any) -> Model:
    """Read a classifier that has a decision function and no probabilities."""
    classes = getattr(estimator, "classes_", None)
    weights, base = _weights_and_base(estimator.coef_, -estimator.offset_ if classes is None else estimator.intercept_)
    if classes is None:  # of outliers
        outputs = Outputs((DECISION_UNITS,), raw_units=DECISION_UNITS, response_units=DECISION_UNITS)
    else:
        refuse_one_class(type(estimator).__name__, classes)
        names = class_names(classes)
        two = len(base) == 1 and len(names) == 2
        if not two and len(names) != len(base):
            raise UnsupportedModelError(
                f"{type(estimator).__name__} has {len(base)} decision functions for {len(names)} classes."
            )
        outputs = Outputs(
            names[1:] if two else names,
            raw_units=DECISION_UNITS,
            response_units=DECISION_UNITS,
            negative_class=names[0] if two else None,
        )
    return _verified(_LinearParts(weights, base, outputs, estimator.decision_function), estimator)


def read_stochastic(estimator: Any) -> Model:
    """Read SGDClassifier, whose loss decides whether it has probabilities."""
    if estimator.loss == "log_loss":
        return read_probability_classifier(estimator)
    if estimator.loss == "modified_huber":
        raise UnsupportedModelError(
            "the probabilities of SGDClassifier(loss='modified_huber') are clipped sums.",
            hint=ANY_MODEL_HINT,
        )
    return read_margin_classifier(estimator)


def read_support_vectors(estimator: Any) -> Model:
    """Read SVR, SVC and their kin with a linear kernel; of SVC two classes."""
    name = type(estimator).__name__
    if estimator.kernel != "linear":
        raise UnsupportedModelError(
            f"{name} with kernel={estimator.kernel!r} is not a linear function of the columns.",
            hint=ANY_MODEL_HINT,
        )
    if not hasattr(estimator, "decision_function"):
        weights, base = _weights_and_base(estimator.coef_, estimator.intercept_)
        relative = _rounding_of_support_vectors(estimator)
        return _verified(_LinearParts(weights, base, value_outputs(1), estimator.predict, relative=relative), estimator)
    if getattr(estimator, "probability", False) is True:
        raise UnsupportedModelError(
            f"the probabilities of {name}(probability=True) are a curve fitted on top of its decision function.",
            hint=ANY_MODEL_HINT,
        )
    weights, base = _weights_and_base(estimator.coef_, estimator.intercept_)
    if len(base) > 1:
        raise UnsupportedModelError(
            f"{name} with several classes lets pairs of classes vote, which is no linear function of the columns; LinearSVC has one for each class.",
            hint=ANY_MODEL_HINT,
        )
    relative = _rounding_of_support_vectors(estimator)
    negative, positive = class_names(estimator.classes_)
    outputs = Outputs((positive,), raw_units=DECISION_UNITS, response_units=DECISION_UNITS, negative_class=negative)
    return _verified(_LinearParts(weights, base, outputs, estimator.decision_function, relative=relative), estimator)


def _rounding_of_support_vectors(estimator: Any) -> float:
    """Rounding of the sum over support vectors that libsvm makes, relative to the sum over columns, which is smaller where vectors cancel.

    Raises:
        UnsupportedModelError: they cancel so far that predictions have few digits.
    """
    sums, coef = abs(estimator.dual_coef_) @ abs(estimator.support_vectors_), abs(estimator.coef_)
    sums, coef = (np.ravel(a.toarray() if hasattr(a, "toarray") else a) for a in (sums, coef))
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = RELATIVE_ROUNDING * float(np.where(sums > 0, sums / coef, 1.0).max())
    if not lost <= FLOAT32_RELATIVE_ROUNDING:
        raise UnsupportedModelError(
            f"the support vectors of this {type(estimator).__name__} cancel in a column, so its own predictions keep few digits to compare with.",
            hint=ANY_MODEL_HINT,
        )
    return max(lost, RELATIVE_ROUNDING)


def classifier_outputs(estimator: Any, count: int, *, one_vs_rest: bool) -> Outputs:
    """Return the outputs of a classifier with probabilities.

    Args:
        count: of its decision functions. one_vs_rest: whether probabilities of several classes are sigmoids divided by their sum; else a softmax.

    Raises:
        UnsupportedModelError: it saw one class only.
    """
    refuse_one_class(type(estimator).__name__, estimator.classes_)
    names = class_names(estimator.classes_)
    if count == 1:
        return Outputs(names[1:], Link("sigmoid"), "log-odds", "probability", negative_class=names[0])
    if one_vs_rest:
        return Outputs(names, Link("normalized sigmoid"), "log-odds (one class against the rest)", "probability")
    return Outputs(names, Link("softmax"), "log-odds (softmax)", "probability")


LINEAR_READERS: Final[dict[str, Callable[[Any], Model]]] = {
    **dict.fromkeys(
        (
            "LinearRegression",
            "Ridge",
            "RidgeCV",
            "Lasso",
            "LassoCV",
            "ElasticNet",
            "ElasticNetCV",
            "MultiTaskElasticNet",
            "MultiTaskElasticNetCV",
            "MultiTaskLasso",
            "MultiTaskLassoCV",
            "Lars",
            "LarsCV",
            "LassoLars",
            "LassoLarsCV",
            "LassoLarsIC",
            "OrthogonalMatchingPursuit",
            "OrthogonalMatchingPursuitCV",
            "BayesianRidge",
            "ARDRegression",
            "HuberRegressor",
            "TheilSenRegressor",
            "QuantileRegressor",
            "SGDRegressor",
            "PassiveAggressiveRegressor",
            "LinearSVR",
        ),
        read_regressor,
    ),
    **dict.fromkeys(("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), read_generalized),
    "PLSRegression": read_pls,
    **dict.fromkeys(
        ("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"), read_probability_classifier
    ),
    **dict.fromkeys(
        (
            "RidgeClassifier",
            "RidgeClassifierCV",
            "LinearSVC",
            "Perceptron",
            "PassiveAggressiveClassifier",
            "SGDOneClassSVM",
        ),
        read_margin_classifier,
    ),
    "SGDClassifier": read_stochastic,
    **dict.fromkeys(("SVR", "NuSVR", "SVC", "NuSVC"), read_support_vectors),
}
