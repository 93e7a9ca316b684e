"""Linear models of linear models: averages and several targets of regressors, one class against the rest, and the model that RANSAC keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from whybox.adapters.sklearn.assemble import RELATIVE_ROUNDING, PredictAsColumns, wrap_model
from whybox.adapters.sklearn.linear import DECISION_UNITS, classifier_outputs
from whybox.adapters.sklearn.members import EnsembleMember, joined_inputs, joined_verdict, members_rounding
from whybox.adapters.sklearn.trees import value_outputs
from whybox.adapters.verification.verify import verify_linear
from whybox.core.label_choice import class_names
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model
from whybox.models.linear import Linear
from whybox.models.links import Link, Outputs

__all__ = ["are_linear_sums", "join_linear", "read_linear_one_vs_rest", "read_ransac"]

Adapt = Callable[[Any], Model]


def are_linear_sums(members: Sequence[Model]) -> bool:
    """Whether all members are linear models that predict their sums themselves."""
    return all(isinstance(member, Linear) and member.outputs.link.is_identity for member in members)


def join_linear(
    estimator: Any,
    members: Sequence[Model],
    shares: Floats | None,
    columns: Sequence[tuple[int, ...]] | None,
    width: int,
) -> Model:
    """Join linear regressors into one linear model: their weighted sum, or one target after the other.

    Args:
        members: linear. shares: of each member in the sum; None: each predicts targets of its own.
        columns: the columns that each member reads, of `width`; None: all.
    """
    parts = _parts(members, columns)
    if shares is None:
        outputs = value_outputs(sum(len(member.outputs.names) for member in members))
        model = _side_by_side(estimator, parts, width, outputs)
    else:
        inputs, column_maps = joined_inputs(estimator, parts, width)
        weights = np.zeros((inputs.width, len(members[0].outputs.names)))
        base = np.zeros(weights.shape[1])
        for part, column_map, share in zip(parts, column_maps, shares, strict=True):
            np.add.at(weights, column_map, share * part.model.weights)
            base += share * part.model.base_values
        model = Linear(
            weights=weights,
            base_values=base,
            inputs=inputs,
            outputs=members[0].outputs,
            kind=f"{len(parts)} x {members[0].kind}",
            verdict=joined_verdict(parts),
        )
    return wrap_model(model, estimator.predict, "raw", estimator, members_rounding(parts))


def read_linear_one_vs_rest(estimator: Any, adapt: Adapt, members: Sequence[Model] | None = None) -> Model:
    """Read OneVsRestClassifier of linear classifiers: a decision function for each class, or for each of several labels.

    Args:
        members: its models, where they are read already.
    """
    members = [adapt(member) for member in estimator.estimators_] if members is None else members
    links = {member.outputs.link for member in members}
    if (
        not all(isinstance(member, Linear) for member in members)
        or len(links) > 1
        or not hasattr(estimator, "decision_function")
    ):
        raise UnsupportedModelError(
            f"OneVsRestClassifier of {members[0].kind} is not read: its members are not all linear models of one kind. "
            "Explain each of estimator.estimators_ by itself."
        )
    count = len(members)
    if estimator.multilabel_ and (links in ({Link("sigmoid")}, {Link()})):
        first = members[0].outputs
        outputs = Outputs(class_names(estimator.classes_), first.link, first.raw_units, first.response_units)
    elif links == {Link("sigmoid")}:
        outputs = classifier_outputs(estimator, count, one_vs_rest=True)
    elif links == {Link()}:
        names = class_names(estimator.classes_)
        two = count == 1
        negative = names[0] if two else None
        outputs = Outputs(names[1:] if two else names, Link(), DECISION_UNITS, DECISION_UNITS, negative)
    else:
        raise UnsupportedModelError(f"OneVsRestClassifier of {members[0].kind} is not read by this version.")
    model = _side_by_side(estimator, _parts(members, None), len(members[0].inputs.names), outputs)
    if outputs.has_probability and model.inputs.encoder.is_elementwise:  # else at the rows that are explained
        probabilities = PredictAsColumns(estimator.predict_proba, len(outputs.names)).rows
        verify_linear(model, probabilities, relative=RELATIVE_ROUNDING, against="", scale="response", nan=False)
    return wrap_model(model, estimator.decision_function, "raw", estimator)


def read_ransac(estimator: Any, adapt: Adapt) -> Model:
    """Read RANSACRegressor: the model that was fitted to the inliers."""
    inner = adapt(estimator.estimator_)
    return wrap_model(inner, estimator.predict, "response", estimator)


def _parts(members: Sequence[Model], columns: Sequence[tuple[int, ...]] | None) -> list[EnsembleMember[Linear]]:
    parts = []
    for k, member in enumerate(members):
        assert isinstance(member, Linear)  # noqa: S101  # the callers know
        parts.append(EnsembleMember(member, 1.0, None if columns is None else columns[k], None))
    return parts


def _side_by_side(estimator: Any, parts: Sequence[EnsembleMember[Linear]], width: int, outputs: Outputs) -> Linear:
    """One linear model with the outputs of all members, one member after the other."""
    inputs, column_maps = joined_inputs(estimator, parts, width)
    weights = np.zeros((inputs.width, len(outputs.names)))
    first = 0
    for part, column_map in zip(parts, column_maps, strict=True):
        last = first + part.model.weights.shape[1]
        weights[column_map, first:last] = part.model.weights
        first = last
    return Linear(
        weights=weights,
        base_values=np.concatenate([part.model.base_values for part in parts]),
        inputs=inputs,
        outputs=outputs,
        kind=parts[0].model.kind,
        verdict=joined_verdict(parts),
    )
