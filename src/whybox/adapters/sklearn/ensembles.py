"""Averages of other models (Bagging*, Voting*, MultiOutput*), read member by member and joined into one tree ensemble, or one linear model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whybox.adapters.common import class_names, refuse_one_class
from whybox.adapters.sklearn.assemble import wrap_model
from whybox.adapters.sklearn.linear_ensembles import are_linear_sums, join_linear, read_linear_one_vs_rest
from whybox.adapters.sklearn.members import EnsembleMember, joined_inputs, joined_verdict, members_rounding
from whybox.adapters.sklearn.trees import probability_outputs
from whybox.data.table import Floats
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, Scale
from whybox.models.linear import Linear
from whybox.models.links import ELEMENTWISE_LINKS, Outputs
from whybox.models.trees import Tree, TreeEnsemble

__all__ = ["read_bagging", "read_multi_output", "read_one_vs_rest", "read_voting"]

Adapt = Callable[[Any], Model]


def read_bagging(estimator: Any, adapt: Adapt) -> Model:
    """Read Bagging*: the mean over members, each grown on its own columns."""
    members = estimator.estimators_
    classifier = hasattr(estimator, "classes_")
    width = int(estimator.n_features_in_)
    read = [adapt(member) for member in members]
    every_columns = [tuple(int(c) for c in columns) for columns in estimator.estimators_features_]
    if not classifier and are_linear_sums(read):
        return join_linear(estimator, read, np.full(len(read), 1.0 / len(read)), every_columns, width)
    parts = []
    for member, member_model, columns in zip(members, read, every_columns, strict=True):
        trees = _check_additive(member_model, estimator, classifier)
        classes = np.asarray(member.classes_).astype(int) if classifier else None
        parts.append(EnsembleMember(trees, 1.0 / len(members), columns, classes))
    return _join_members(estimator, parts, width, np.asarray(estimator.classes_) if classifier else None)


def read_voting(estimator: Any, adapt: Adapt) -> Model:
    """Read VotingRegressor and soft VotingClassifier: the weighted mean over members."""
    classifier = hasattr(estimator, "classes_")
    if classifier and estimator.voting != "soft":
        raise UnsupportedModelError(
            "VotingClassifier(voting='hard') predicts the majority of its members' labels, which is not a sum over trees. Refit with voting='soft'."
        )
    members = estimator.estimators_
    weights = estimator._weights_not_none  # noqa: SLF001
    member_weights = (
        np.full(len(members), 1.0 / len(members))
        if weights is None
        else np.asarray(weights, dtype=np.float64) / np.sum(weights)
    )
    read = [adapt(member) for member in members]
    if not classifier and are_linear_sums(read):
        return join_linear(estimator, read, member_weights, None, len(read[0].inputs.names))
    parts = [
        EnsembleMember(
            _check_additive(member_model, estimator, classifier),
            float(member_weight),
            None,
            np.asarray(member.classes_).astype(int) if classifier else None,
        )
        for member, member_model, member_weight in zip(members, read, member_weights, strict=True)
    ]
    width = len(parts[0].model.inputs.names)
    return _join_members(estimator, parts, width, np.asarray(estimator.classes_) if classifier else None)


def read_multi_output(estimator: Any, adapt: Adapt) -> Model:
    """Read MultiOutputRegressor and MultiOutputClassifier: one model a target, side by side."""
    classifier = hasattr(estimator, "classes_")
    members = [adapt(member_model) for member_model in estimator.estimators_]
    if not classifier and are_linear_sums(members):
        return join_linear(estimator, members, None, None, len(members[0].inputs.names))
    names = [
        f"y{k}={n}" if classifier else f"y{k}"
        for k, member_model in enumerate(members)
        for n in member_model.outputs.names
    ]
    return _join_outputs(estimator, members, names)


def read_one_vs_rest(estimator: Any, adapt: Adapt) -> Model:
    """Read OneVsRestClassifier: of several labels a model for each, side by side; of classes, linear models."""
    if not estimator.multilabel_:
        return read_linear_one_vs_rest(estimator, adapt)
    members = [adapt(member) for member in estimator.estimators_]
    if all(isinstance(member, Linear) for member in members):
        return read_linear_one_vs_rest(estimator, adapt, members)
    return _join_outputs(estimator, members, class_names(estimator.classes_))


def _join_outputs(estimator: Any, members: Sequence[Model], names: Sequence[str]) -> Model:
    """Join tree ensembles with outputs of their own into one with the outputs of all, one member after the other."""
    # A Pipeline as member has transformers of its own, which may have been fitted on the target: each reads its own columns.
    parts = [EnsembleMember(member, 1.0, None, None) for member in members if isinstance(member, TreeEnsemble)]
    if len(parts) < len(members):
        kind = next(member.kind for member in members if not isinstance(member, TreeEnsemble))
        raise UnsupportedModelError(f"{type(estimator).__name__} holds a model that is not a tree ensemble: {kind}.")
    links = {member.outputs.link for member in members}
    link = next(iter(links))
    if len(links) > 1 or link.function is not None or link.name not in ELEMENTWISE_LINKS:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} of {members[0].kind}: its members put links on top of their sums that are not one for all outputs. "
            "Explain each of estimator.estimators_ by itself."
        )
    inputs, column_maps = joined_inputs(estimator, parts, len(members[0].inputs.names))
    trees, base, first_output = [], [], 0
    for part, column_map in zip(parts, column_maps, strict=True):
        member_model = part.model
        count = len(member_model.outputs.names)
        for tree in member_model.to_trees():
            value = np.zeros((len(tree.left), len(names)))
            value[:, first_output : first_output + count] = _values_of_all_outputs(tree, count)
            trees.append(_with_columns(_with_values(tree, value, tree.weight), column_map))
        base += list(member_model.base_values)
        first_output += count
    units = members[0].outputs.raw_units, members[0].outputs.response_units
    model = TreeEnsemble.from_trees(
        trees,
        base=base,
        inputs=inputs,
        outputs=Outputs(tuple(names), link, *units),
        kind=members[0].kind,
        verdict=joined_verdict(parts),
    )
    predict = estimator.predict_proba if hasattr(estimator, "classes_") else estimator.predict
    return wrap_model(model, predict, "response", estimator, members_rounding(parts))


def _check_additive(model: Model, estimator: Any, classifier: bool) -> TreeEnsemble:
    if not isinstance(model, TreeEnsemble):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} holds a model that is not a tree ensemble: {model.kind}."
        )
    if classifier and not model.outputs.additive_probability:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} averages the probabilities of {model.kind}, and those come out of a link on top of a sum, so the average is not a sum "
            "over trees. Averages of forests can be explained exactly; or explain each member by itself."
        )
    if not classifier and not model.outputs.link.is_identity:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} averages predictions of {model.kind} after their link, which is not a sum over trees."
        )
    return model


def _join_members(estimator: Any, parts: Sequence[EnsembleMember[TreeEnsemble]], width: int, classes: Any) -> Model:
    """Join weighted parts into one ensemble, with the column of the first class dropped for binary classifiers."""
    if classes is not None:
        refuse_one_class(type(estimator).__name__, classes)
    outputs = (
        Outputs(parts[0].model.outputs.names, raw_units=parts[0].model.outputs.raw_units)
        if classes is None
        else probability_outputs([classes])
    )
    n_outputs = len(outputs.names)
    trees: list[Tree] = []
    base = np.zeros(n_outputs)
    inputs, column_maps = joined_inputs(estimator, parts, width)
    for part, column_map in zip(parts, column_maps, strict=True):
        for tree in part.model.to_trees():
            value = _values_of_all_outputs(tree, len(part.model.outputs.names))
            trees.append(
                _with_columns(
                    _with_values(
                        tree, _expand_to_classes(value, part, n_outputs, constant=False), tree.weight * part.weight
                    ),
                    column_map,
                )
            )
        base += part.weight * _expand_to_classes(part.model.base_values[None, :], part, n_outputs, constant=True)[0]
    model = TreeEnsemble.from_trees(
        trees,
        base=base,
        inputs=inputs,
        outputs=outputs,
        kind=f"{len(parts)} x {parts[0].model.kind}",
        verdict=joined_verdict(parts),
    )
    scale: Scale = "raw"
    predict = estimator.predict_proba if classes is not None else estimator.predict
    return wrap_model(model, predict, scale, estimator, members_rounding(parts))


def _expand_to_classes(value: Floats, part: EnsembleMember[TreeEnsemble], n_classes: int, *, constant: bool) -> Floats:
    """Turn a member's outputs into all classes. `constant` says that the value is a base, where a binary member's first class has 1 - p."""
    if part.classes is None:
        return value
    both_classes = (
        np.column_stack([(1.0 if constant else 0.0) - value[:, 0], value[:, 0]])
        if len(part.classes) == 2 and value.shape[1] == 1
        else value
    )
    if n_classes == 1:
        all_classes = np.zeros((len(value), 2))
        all_classes[:, part.classes] = both_classes
        return all_classes[:, 1:]
    all_classes = np.zeros((len(value), n_classes))
    all_classes[:, part.classes] = both_classes
    return all_classes


def _values_of_all_outputs(tree: Tree, n_outputs: int) -> Floats:
    """A tree's values for all outputs of its model."""
    if tree.output < 0:
        return tree.value
    values = np.zeros((len(tree.left), n_outputs))
    values[:, tree.output] = tree.value[:, 0]
    return values


def _with_values(tree: Tree, value: Floats, weight: float) -> Tree:
    if tree.linear:
        raise UnsupportedModelError(
            "an average over models with linear leaves is not supported; explain each member by itself."
        )
    return replace(tree, value=value, weight=weight, output=0 if value.shape[1] == 1 else -1)


def _with_columns(tree: Tree, columns: Any) -> Tree:
    return replace(tree, feature=np.where(tree.left < 0, -1, np.asarray(columns)[np.maximum(tree.feature, 0)]))
