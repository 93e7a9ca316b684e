"""Averages of other models (Bagging*, Voting*, MultiOutput*), read member by member and joined into one tree ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.adapters.common import refuse_one_class
from whybox.adapters.sklearn.assemble import RELATIVE_ROUNDING, wrap_model
from whybox.adapters.sklearn.trees import probability_outputs
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, Scale, Verdict
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder, Inputs, NumberEncoder
from whybox.models.links import Outputs
from whybox.models.trees import Tree, TreeEnsemble

__all__ = ["read_bagging", "read_multi_output", "read_voting"]

Adapt = Callable[[Any], Model]


def read_bagging(estimator: Any, adapt: Adapt) -> Model:
    """Read Bagging*: the mean over members, each grown on its own columns."""
    members = estimator.estimators_
    classifier = hasattr(estimator, "classes_")
    width = int(estimator.n_features_in_)
    parts = []
    for member, columns in zip(members, estimator.estimators_features_, strict=True):
        trees = _check_additive(adapt(member), estimator, classifier)
        classes = np.asarray(member.classes_).astype(int) if classifier else None
        parts.append(_EnsembleMember(trees, 1.0 / len(members), tuple(int(c) for c in columns), classes))
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
    parts = [
        _EnsembleMember(
            _check_additive(adapt(member), estimator, classifier),
            float(member_weight),
            None,
            np.asarray(member.classes_).astype(int) if classifier else None,
        )
        for member, member_weight in zip(members, member_weights, strict=True)
    ]
    width = len(parts[0].model.inputs.names)
    return _join_members(estimator, parts, width, np.asarray(estimator.classes_) if classifier else None)


def read_multi_output(estimator: Any, adapt: Adapt) -> Model:
    """Read MultiOutputRegressor and MultiOutputClassifier: one model a target, side by side."""
    classifier = hasattr(estimator, "classes_")
    members = [adapt(member_model) for member_model in estimator.estimators_]
    if not all(isinstance(member_model, TreeEnsemble) for member_model in members):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} holds a model that is not a tree ensemble: {members[0].kind}."
        )
    if any(not member_model.outputs.link.is_identity for member_model in members):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} of {members[0].kind}: its members put a link on top of their sums. Explain each of estimator.estimators_ by itself."
        )
    names = [
        f"y{k}={n}" if classifier else f"y{k}"
        for k, member_model in enumerate(members)
        for n in member_model.outputs.names
    ]
    # A Pipeline as member has transformers of its own, which may have been fitted on the target: each reads its own columns.
    parts = [
        _EnsembleMember(member_model, 1.0, None, None)
        for member_model in members
        if isinstance(member_model, TreeEnsemble)
    ]
    inputs, column_maps = _joined_inputs(estimator, parts, len(members[0].inputs.names))
    trees, base, first_output = [], [], 0
    for part, column_map in zip(parts, column_maps, strict=True):
        member_model = part.model
        for tree in member_model.to_trees():
            value = np.zeros((len(tree.left), len(names)))
            value[:, first_output : first_output + len(member_model.outputs.names)] = _values_of_all_outputs(
                tree, len(member_model.outputs.names)
            )
            trees.append(_with_columns(_with_values(tree, value, tree.weight), column_map))
        base += list(member_model.base_values)
        first_output += len(member_model.outputs.names)
    outputs = Outputs(
        tuple(names), raw_units=members[0].outputs.raw_units, response_units=members[0].outputs.response_units
    )
    model = TreeEnsemble.from_trees(
        trees, base=base, inputs=inputs, outputs=outputs, kind=members[0].kind, verdict=_joined_verdict(parts)
    )
    predict = estimator.predict_proba if classifier else estimator.predict
    return wrap_model(model, predict, "raw", estimator, _members_rounding(parts))


@final
@dataclass(frozen=True)
class _EnsembleMember:
    model: TreeEnsemble
    weight: float
    columns: tuple[int, ...] | None  # the member's columns among all; None: all of them
    classes: np.ndarray[Any, np.dtype[np.int64]] | None  # positions of the member's classes among all


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


def _join_members(estimator: Any, parts: Sequence[_EnsembleMember], width: int, classes: Any) -> Model:
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
    inputs, column_maps = _joined_inputs(estimator, parts, width)
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
        verdict=_joined_verdict(parts),
    )
    scale: Scale = "raw"
    predict = estimator.predict_proba if classes is not None else estimator.predict
    return wrap_model(model, predict, scale, estimator, _members_rounding(parts))


def _joined_verdict(parts: Sequence[_EnsembleMember]) -> Verdict:
    verdicts = [p.model.verdict for p in parts]
    return Verdict(
        sum(v.rows for v in verdicts),
        sum(v.thresholds for v in verdicts),
        sum(v.thresholds_total for v in verdicts),
        max(v.difference for v in verdicts),
        max(v.tolerance for v in verdicts),
        f"each member: {verdicts[0].against}",
        sum(v.mixed for v in verdicts),
    )


def _members_rounding(parts: Sequence[_EnsembleMember]) -> float:
    """Relative rounding of the members' own sums."""
    return max(
        (p.model.own_predict.relative_rounding for p in parts if p.model.own_predict is not None),
        default=RELATIVE_ROUNDING,
    )


def _expand_to_classes(value: Floats, part: _EnsembleMember, n_classes: int, *, constant: bool) -> Floats:
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


def _joined_inputs(estimator: Any, parts: Sequence[_EnsembleMember], width: int) -> tuple[Inputs, list[Any]]:
    """One set of inputs for all members; for each member, its columns among the joined model's."""
    first = parts[0].model.inputs
    all_columns = all(part.columns is None for part in parts)
    named, names = all_columns and first.has_names, first.names if all_columns else tuple(f"x{i}" for i in range(width))
    if hasattr(estimator, "feature_names_in_"):
        named, names = True, tuple(map(str, estimator.feature_names_in_))
    blank_replacement = (
        first.blank_replacement if len({part.model.inputs.blank_replacement for part in parts}) == 1 else None
    )
    encoders = [part.model.inputs.encoder for part in parts]
    common_encoder = _common_encoder(encoders, type(estimator).__name__)
    if common_encoder is not None:
        inputs = Inputs(names, named, common_encoder, tuple((i,) for i in range(width)), blank_replacement)
        return inputs, [np.arange(width) if part.columns is None else np.asarray(part.columns) for part in parts]
    sources: list[tuple[int, ...]] = []
    column_maps = []
    for part in parts:
        member_columns = tuple(range(width)) if part.columns is None else part.columns
        column_maps.append(np.arange(part.model.inputs.width) + len(sources))
        sources += [tuple(member_columns[s] for s in source) for source in part.model.inputs.source_columns]
    return Inputs(
        names,
        named,
        _ConcatenatedEncoder(
            tuple((part.columns or tuple(range(width)), e) for part, e in zip(parts, encoders, strict=True))
        ),
        tuple(sources),
        blank_replacement,
    ), column_maps


def _common_encoder(encoders: Sequence[Encoder], library: str) -> NumberEncoder | None:
    """Return one encoder of plain numbers that replaces all these, or None if they read differently."""
    number_encoders = [encoder for encoder in encoders if isinstance(encoder, NumberEncoder) and not encoder.categories]
    if len(number_encoders) < len(encoders):
        return None
    rounds_to_float32 = {encoder.float32 for encoder in number_encoders}
    # Trees of libraries that round to float32 say so at their splits; a value that means missing is compared after rounding.
    if len(
        {(repr(encoder.missing_value), encoder.float32_kinds, repr(encoder.absent)) for encoder in number_encoders}
    ) > 1 or (len(rounds_to_float32) > 1 and not np.isnan(number_encoders[0].missing_value)):
        return None
    return replace(
        number_encoders[0],
        library=library,
        float32=all(rounds_to_float32),
        allow_nan=all(encoder.allow_nan for encoder in number_encoders),
        allow_infinite=all(encoder.allow_infinite for encoder in number_encoders),
        sparse_nan=all(encoder.sparse_nan for encoder in number_encoders),
    )


@final
@dataclass(frozen=True)
class _ConcatenatedEncoder(Encoder):
    """Concatenates the members' matrices."""

    members: tuple[tuple[tuple[int, ...], Encoder], ...]

    @property
    def is_elementwise(self) -> bool:
        """Whether every member reads column by column."""
        return all(e.is_elementwise for _, e in self.members)

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories that every member with that column has learned."""
        by_column: dict[int, Vocabulary] = {}
        for columns, encoder in self.members:
            for position, vocabulary in encoder.learned_categories(
                None if table is None else table.select(columns)
            ).items():
                known = by_column.get(columns[position])
                merged = (
                    vocabulary
                    if known is None or known.categories is None or vocabulary.categories is None
                    else known.intersection(vocabulary)
                )
                by_column[columns[position]] = merged
        return by_column

    def __call__(self, table: Table) -> Floats:
        return np.column_stack([encoder(table.select(columns)) for columns, encoder in self.members])


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
