"""CatBoost's losses: the outputs, units and links of a model, from the loss that it was trained with."""

from __future__ import annotations

import json
from typing import Any, Final

from whybox.adapters.common import class_names
from whybox.adapters.files.strict_document import CheckedNode
from whybox.errors import ModelFileError, UnknownFieldError, UnsupportedModelError
from whybox.models.links import Link, Outputs

__all__ = ["outputs_of_loss", "raw_units"]

_IDENTITY_LOSSES: Final = {
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
_PYTHON_LOSSES: Final = {
    "PythonUserDefinedPerObject",
    "PythonUserDefinedMultiTarget",
    "UserPerObjMetric",
    "UserQuerywiseMetric",
}
_SIGMOID_LOSSES: Final = {"Logloss", "CrossEntropy", "Focal", "MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy"}


def outputs_of_loss(info: CheckedNode, n_outputs: int, classes: tuple[str, ...] | None) -> Outputs:
    """Return the outputs of a model.

    Args:
        info: the document's model_info.
        n_outputs: number of raw outputs.
        classes: class names, if an estimator knows them.

    Raises:
        UnknownFieldError: a loss that this version does not know. UnsupportedModelError: none is stored. ModelFileError: inconsistent class names.
    """
    if not isinstance(info.value, dict):
        info.fail("an object was expected")
    loss, parameters = _read_loss(info)
    is_sum = "params" not in info.value
    stored = _stored_classes(info.value)
    is_multilabel = loss in ("MultiLogloss", "MultiCrossEntropy")  # several yes-or-no targets, not classes
    if stored is not None and not is_multilabel and len(stored) != max(n_outputs, 2):
        info.fail(f"{len(stored)} class names for {n_outputs} outputs")
    names = None if is_multilabel else classes or stored
    numbered_names = tuple(f"y{i}" for i in range(n_outputs))
    if loss in _SIGMOID_LOSSES or loss == "MultiClass":
        if n_outputs == 1:
            classes_of_two = names if names and len(names) == 2 else ("0", "1")
            return Outputs(classes_of_two[1:], Link("sigmoid"), raw_units("Logloss"), "probability", classes_of_two[0])
        output_names = (
            names
            if names and len(names) == n_outputs
            else (tuple(map(str, range(n_outputs))) if loss.startswith("MultiClass") else numbered_names)
        )
        link = Link("softmax") if loss == "MultiClass" else Link("sigmoid")
        return Outputs(output_names, link, raw_units(loss), "probability")
    if is_sum and loss in ("Poisson", "Tweedie", "RMSEWithUncertainty"):  # of such sums CatBoost predicts raw values
        return Outputs(
            numbered_names if n_outputs > 1 else ("prediction",),
            raw_units=raw_units(loss),
            response_units=raw_units(loss),
        )
    if loss in ("Poisson", "Tweedie"):
        return Outputs(numbered_names if n_outputs > 1 else ("prediction",), Link("exp"), raw_units(loss))
    if loss == "RMSEWithUncertainty":
        return Outputs(("mean", "variance"), Link("mean and variance"), raw_units(loss))
    if loss in _IDENTITY_LOSSES or loss in _PYTHON_LOSSES:
        levels = parameters.get("alpha", "").split(",")
        if loss == "MultiQuantile" and len(levels) == n_outputs:
            return Outputs(tuple(f"quantile {float(v):g}" for v in levels))
        return Outputs(numbered_names if n_outputs > 1 else ("prediction",))
    raise UnknownFieldError(
        f"the loss {loss!r} is not known to this version of whybox, so its link from raw value to prediction is not either."
    )


def raw_units(loss: str) -> str:
    """Return the units of the raw scale of a loss."""
    if loss in _SIGMOID_LOSSES:
        return "log-odds"
    if loss in ("Poisson", "Tweedie"):
        return "log of the prediction"
    words = {"MultiClass": "log-odds (softmax)", "RMSEWithUncertainty": "mean; log of the standard deviation"}
    return words.get(loss, "prediction")


def _read_loss(info: CheckedNode) -> tuple[str, dict[str, str]]:
    """The loss and its parameters; of a sum of models (catboost.sum_models) the loss that all of them share, which has a field of its own."""
    if "params" in info.value:
        parameters = _parsed(info, info.value["params"], "training parameters")
        function = parameters.get("loss_function") if isinstance(parameters, dict) else None
    else:
        function = _parsed(info, info.value.get("loss_function"), "a loss")
    if not isinstance(function, dict) or not isinstance(function.get("type"), str):
        raise UnsupportedModelError(
            "the model does not say what loss it was trained with (model_info.params.loss_function), so its link is not known. "
            "Of a sum of models (catboost.sum_models), all must have the same loss."
        )
    given = function.get("params")
    return function["type"], {str(a): str(b) for a, b in given.items()} if isinstance(given, dict) else {}


def _parsed(info: CheckedNode, value: Any, what: str) -> Any:
    """A value of the document that may be JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        info.fail(f"{what} that are not JSON" if what.endswith("s") else f"{what} that is not JSON")


def _stored_classes(info: dict[str, Any]) -> tuple[str, ...] | None:
    parameters = info.get("class_params")
    if isinstance(parameters, str):
        try:
            parameters = json.loads(parameters)
        except (ValueError, RecursionError):
            raise ModelFileError("the model's class names are not JSON; the file was edited.") from None
    if not isinstance(parameters, dict):
        return None
    names, order = parameters.get("class_names"), parameters.get("class_to_label")
    count = len(names) if isinstance(names, list) and names else len(order) if isinstance(order, list) else 0
    if order is not None and order != list(range(count)):
        raise ModelFileError(
            "the model's classes are not in the order of its outputs (class_params.class_to_label); the file was edited."
        )
    return class_names(names) if isinstance(names, list) and names else None
