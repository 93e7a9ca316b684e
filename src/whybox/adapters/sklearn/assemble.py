"""What every scikit-learn reader returns, and how a reading becomes a verified model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.adapters.common import as_columns, import_path, quietly
from whybox.adapters.verification.verify import Domain, Rounds, verified
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OwnPredict, Scale
from whybox.models.inputs import Inputs, NumberEncoder
from whybox.models.trees import TreeEnsemble

__all__ = ["ROUNDING", "Reading", "allows_nan", "finish", "fitted", "number_inputs", "outer"]

ROUNDING = 1e-12  # scikit-learn sums in float64


@final
@dataclass(frozen=True)
class Reading:
    """A model as read, with the estimator's own predict on the model's matrix, to verify it by.

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


def finish(reading: Reading, estimator: Any) -> Model:
    """Verify a reading on made rows and attach the user's own predict."""
    outputs, some = len(reading.model.outputs.names), reading.rounds
    call = _Predict(reading.predict, outputs)

    def of_rounds(rows: Floats, first: int, last: int) -> Floats:
        assert some is not None  # noqa: S101  # not called without
        return _Predict(some(first, last), outputs).rows(rows)

    model = verified(
        reading.model,
        call.rows,
        scale=reading.scale,
        relative=ROUNDING,
        domain=reading.domain,
        decode=reading.decode,
        against=f"{import_path(estimator)}.{_name(reading.predict)}",
        rounds=None if some is None else Rounds(of_rounds, reading.per_round),
    )
    return replace(
        model,
        own_predict=OwnPredict(
            call, reading.scale, ROUNDING, f"{type(estimator).__name__}.{_name(reading.predict)}", "scikit-learn"
        ),
    )


def outer(
    model: Model, predict: Callable[[Any], Any], scale: Scale, estimator: Any, relative: float = ROUNDING
) -> Model:
    """Return a verified inner model under the predict of what wraps it (Pipeline, search, ensemble)."""
    call = _Predict(predict, len(model.outputs.names))
    own = OwnPredict(
        call,
        scale,
        max(relative, model.own_predict.relative_rounding if model.own_predict else 0.0),
        f"{type(estimator).__name__}.{_name(predict)}",
        "scikit-learn",
    )
    return replace(model, own_predict=own, kind=f"{import_path(estimator)} of {model.kind}")


@final
@dataclass(frozen=True)
class _Predict:
    """The estimator's predict as (rows, outputs); a binary classifier's column for its first class is dropped."""

    method: Callable[[Any], Any]
    outputs: int

    def __call__(self, table: Table) -> Floats:
        return self.rows(table.for_transformers())

    def rows(self, rows: Any) -> Floats:
        with quietly():
            out = self.method(rows)
        if isinstance(out, list):  # multi-output classifiers
            out = np.column_stack([p[:, 1:] if p.shape[1] == 2 else p for p in out])
        out = as_columns(out)
        return out[:, 1:] if out.shape[1] == 2 and self.outputs == 1 else out


def _name(method: Any) -> str:
    return str(getattr(method, "__name__", type(method).__name__))


def allows_nan(estimator: Any) -> bool:
    """Whether scikit-learn's own tags say that the estimator takes missing values."""
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).input_tags.allow_nan)


def number_inputs(estimator: Any, *, single: bool, nan: bool, infinite: bool) -> Inputs:
    """Return the inputs of an estimator that reads a plain matrix of numbers."""
    named = hasattr(estimator, "feature_names_in_")
    width = int(estimator.n_features_in_)
    names = tuple(map(str, estimator.feature_names_in_)) if named else tuple(f"x{i}" for i in range(width))
    encoder = NumberEncoder(
        type(estimator).__name__, float32=single, allow_nan=nan, allow_infinite=infinite, sparse_nan=False
    )
    return Inputs(names, named, encoder, tuple((i,) for i in range(width)))


def fitted(estimator: Any, attribute: str) -> Any:
    """Return a fitted attribute, or say that the estimator is not fitted."""
    try:
        return getattr(estimator, attribute)
    except AttributeError:
        raise UnsupportedModelError(
            f"this {type(estimator).__name__} is not fitted (it has no {attribute}); call fit first."
        ) from None
