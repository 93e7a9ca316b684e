"""The result of scikit-learn readers, and its verification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.adapters.common import as_columns, import_path
from whybox.adapters.verification.verify import Domain, PredictOfRounds, verify_trees
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OffsetRule, OwnPredict, Scale
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.trees import TreeEnsemble

__all__ = [
    "RELATIVE_ROUNDING",
    "UnverifiedModel",
    "allows_nan",
    "fitted_attribute",
    "number_inputs",
    "verify_and_attach",
    "wrap_model",
]

RELATIVE_ROUNDING = 1e-12  # scikit-learn sums in float64


@final
@dataclass(frozen=True)
class UnverifiedModel:
    """A model as read, with the estimator's own predict to verify it.

    Attributes:
        model: as read, not yet verified.
        predict: the user's rows, in the kind of container the estimator takes -> predictions.
        scale: the scale of `predict`.
        domain: what rows `predict` takes.
        decode: matrix -> rows for `predict`; None: the matrix itself.
        rounds: first round, round after the last -> the predict of those alone; None where there are none.
        per_round: trees a round.
    """

    model: TreeEnsemble
    predict: Callable[[Any], Any]
    scale: Scale
    domain: Domain
    decode: Callable[[Floats], Any] | None = None
    rounds: Callable[[int, int], Callable[[Any], Any]] | None = None
    per_round: int = 1


def verify_and_attach(reading: UnverifiedModel, estimator: Any) -> Model:
    """Verify a model on probe rows and attach the estimator's own predict."""
    n_outputs, predict_of_rounds = len(reading.model.outputs.names), reading.rounds
    predict = PredictAsColumns(reading.predict, n_outputs)

    def of_rounds(rows: Floats, first: int, last: int) -> Floats:
        assert predict_of_rounds is not None  # noqa: S101  # not called without
        return PredictAsColumns(predict_of_rounds(first, last), n_outputs).rows(rows)

    model = verify_trees(
        reading.model,
        predict.rows,
        scale=reading.scale,
        relative=RELATIVE_ROUNDING,
        domain=reading.domain,
        decode=reading.decode,
        against=f"{import_path(estimator)}.{_method_name(reading.predict)}",
        rounds=None if predict_of_rounds is None else PredictOfRounds(of_rounds, reading.per_round),
    )
    return replace(
        model,
        own_predict=OwnPredict(
            predict,
            reading.scale,
            RELATIVE_ROUNDING,
            f"{type(estimator).__name__}.{_method_name(reading.predict)}",
            "scikit-learn",
        ),
    )


def wrap_model(
    model: Model,
    predict: Callable[[Any], Any],
    scale: Scale,
    estimator: Any,
    relative: float = RELATIVE_ROUNDING,
    offset_rule: OffsetRule | None = None,
) -> Model:
    """Return a verified inner model with the predict of its wrapper (Pipeline, search, ensemble).

    Args:
        offset_rule: of the inner model, where the wrapper hands on offsets; None: it has none.
    """
    own_call = PredictAsColumns(predict, len(model.outputs.names))
    own_predict = OwnPredict(
        own_call,
        scale,
        max(relative, model.own_predict.relative_rounding if model.own_predict else 0.0),
        f"{type(estimator).__name__}.{_method_name(predict)}",
        "scikit-learn",
    )
    kind = f"{import_path(estimator)} of {model.kind}"
    return replace(model, own_predict=own_predict, kind=kind, offset_rule=offset_rule)


@final
@dataclass(frozen=True)
class PredictAsColumns:
    """The estimator's predict as (rows, outputs); a binary classifier's column for its first class is dropped."""

    method: Callable[[Any], Any]
    n_outputs: int

    def __call__(self, table: Table) -> Floats:
        return self.rows(table.for_transformers())

    def rows(self, rows: Any) -> Floats:
        with suppress_warnings():
            predictions = self.method(rows)
        if isinstance(predictions, list):  # multi-output classifiers
            predictions = np.column_stack([p[:, 1:] if p.shape[1] == 2 else p for p in predictions])
        predictions = as_columns(predictions)
        return predictions[:, 1:] if predictions.shape[1] == 2 and self.n_outputs == 1 else predictions


def _method_name(method: Any) -> str:
    return str(getattr(method, "__name__", type(method).__name__))


def allows_nan(estimator: Any) -> bool:
    """Whether the estimator accepts missing values, by scikit-learn's own tags."""
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def number_inputs(estimator: Any, *, float32: bool, nan: bool, infinite: bool) -> Inputs:
    """Return the inputs of an estimator that reads a plain matrix of numbers."""
    named = hasattr(estimator, "feature_names_in_")
    width = int(estimator.n_features_in_)
    names = tuple(map(str, estimator.feature_names_in_)) if named else tuple(f"x{i}" for i in range(width))
    encoder = NumberEncoder(
        type(estimator).__name__, float32=float32, allow_nan=nan, allow_infinite=infinite, sparse_nan=False
    )
    return Inputs(names, named, encoder, tuple((i,) for i in range(width)))


def fitted_attribute(estimator: Any, attribute: str) -> Any:
    """Return a fitted attribute, or raise an error that the estimator is not fitted."""
    try:
        return getattr(estimator, attribute)
    except AttributeError:
        raise UnsupportedModelError(
            f"this {type(estimator).__name__} is not fitted (it has no {attribute}); call fit first."
        ) from None
