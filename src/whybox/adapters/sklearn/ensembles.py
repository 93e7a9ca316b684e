"""Averages of other models: Bagging*, Voting*, MultiOutput*: read member by member, joined into one ensemble of trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.adapters.common import refuse_one_class
from whybox.adapters.sklearn.assemble import ROUNDING, outer
from whybox.adapters.sklearn.trees import probability_outputs
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, Scale, Verdict
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Encoder, Inputs, NumberEncoder
from whybox.models.links import Outputs
from whybox.models.trees import Tree, TreeEnsemble

__all__ = ["bagging", "multi_output", "voting"]

Adapt = Callable[[Any], Model]


def bagging(estimator: Any, adapt: Adapt) -> Model:
    """Read Bagging*: the mean over members, each grown on its own columns."""
    members = estimator.estimators_
    classifier = hasattr(estimator, "classes_")
    width = int(estimator.n_features_in_)
    parts = []
    for member, columns in zip(members, estimator.estimators_features_, strict=True):
        part = _additive(adapt(member), estimator, classifier)
        classes = np.asarray(member.classes_).astype(int) if classifier else None
        parts.append(_Part(part, 1.0 / len(members), tuple(int(c) for c in columns), classes))
    return _join(estimator, parts, width, np.asarray(estimator.classes_) if classifier else None)


def voting(estimator: Any, adapt: Adapt) -> Model:
    """Read VotingRegressor and soft VotingClassifier: the weighted mean over members."""
    classifier = hasattr(estimator, "classes_")
    if classifier and estimator.voting != "soft":
        raise UnsupportedModelError(
            "VotingClassifier(voting='hard') predicts the majority of its members' labels, which is not a sum over trees. Refit with voting='soft'."
        )
    members = estimator.estimators_
    weights = estimator._weights_not_none  # noqa: SLF001
    share = (
        np.full(len(members), 1.0 / len(members))
        if weights is None
        else np.asarray(weights, dtype=np.float64) / np.sum(weights)
    )
    parts = [
        _Part(
            _additive(adapt(m), estimator, classifier),
            float(s),
            None,
            np.asarray(m.classes_).astype(int) if classifier else None,
        )
        for m, s in zip(members, share, strict=True)
    ]
    width = len(parts[0].model.inputs.names)
    return _join(estimator, parts, width, np.asarray(estimator.classes_) if classifier else None)


def multi_output(estimator: Any, adapt: Adapt) -> Model:
    """Read MultiOutputRegressor and MultiOutputClassifier: one model a target, side by side."""
    classifier = hasattr(estimator, "classes_")
    members = [adapt(m) for m in estimator.estimators_]
    if not all(isinstance(m, TreeEnsemble) for m in members):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} holds a model that is not a tree ensemble: {members[0].kind}."
        )
    if any(not m.outputs.link.is_identity for m in members):
        raise UnsupportedModelError(
            f"{type(estimator).__name__} of {members[0].kind}: its members put a link on top of their sums. Explain each of estimator.estimators_ by itself."
        )
    names = [f"y{k}={n}" if classifier else f"y{k}" for k, m in enumerate(members) for n in m.outputs.names]
    # A Pipeline as member has transformers of its own, which may have been fitted on the target: each reads its own columns.
    parts = [_Part(m, 1.0, None, None) for m in members if isinstance(m, TreeEnsemble)]
    inputs, offsets = _inputs(estimator, parts, len(members[0].inputs.names))
    trees, base, at = [], [], 0
    for part, offset in zip(parts, offsets, strict=True):
        m = part.model
        for tree in m.to_trees():
            value = np.zeros((len(tree.left), len(names)))
            value[:, at : at + len(m.outputs.names)] = _wide(tree, len(m.outputs.names))
            trees.append(_moved(_with(tree, value, tree.weight), offset))
        base += list(m.base_values)
        at += len(m.outputs.names)
    outputs = Outputs(
        tuple(names), raw_units=members[0].outputs.raw_units, response_units=members[0].outputs.response_units
    )
    model = TreeEnsemble.from_trees(
        trees, base=base, inputs=inputs, outputs=outputs, kind=members[0].kind, verdict=_verdict(parts)
    )
    predict = estimator.predict_proba if classifier else estimator.predict
    return outer(model, predict, "raw", estimator, _relative(parts))


@final
@dataclass(frozen=True)
class _Part:
    model: TreeEnsemble
    weight: float
    columns: tuple[int, ...] | None  # the member's columns among all; None: all of them
    classes: np.ndarray[Any, np.dtype[np.int64]] | None  # positions of the member's classes among all


def _additive(model: Model, estimator: Any, classifier: bool) -> TreeEnsemble:
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


def _join(estimator: Any, parts: Sequence[_Part], width: int, classes: Any) -> Model:
    """Join weighted parts into one ensemble, with the column of the first class dropped for binary classifiers."""
    if classes is not None:
        refuse_one_class(type(estimator).__name__, classes)
    outputs = (
        Outputs(parts[0].model.outputs.names, raw_units=parts[0].model.outputs.raw_units)
        if classes is None
        else probability_outputs([classes])
    )
    k = len(outputs.names)
    trees: list[Tree] = []
    base = np.zeros(k)
    inputs, offsets = _inputs(estimator, parts, width)
    for part, offset in zip(parts, offsets, strict=True):
        for tree in part.model.to_trees():
            value = _wide(tree, len(part.model.outputs.names))
            trees.append(
                _moved(_with(tree, _spread(value, part, k, constant=False), tree.weight * part.weight), offset)
            )
        base += part.weight * _spread(part.model.base_values[None, :], part, k, constant=True)[0]
    model = TreeEnsemble.from_trees(
        trees,
        base=base,
        inputs=inputs,
        outputs=outputs,
        kind=f"{len(parts)} x {parts[0].model.kind}",
        verdict=_verdict(parts),
    )
    scale: Scale = "raw"
    predict = estimator.predict_proba if classes is not None else estimator.predict
    return outer(model, predict, scale, estimator, _relative(parts))


def _verdict(parts: Sequence[_Part]) -> Verdict:
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


def _relative(parts: Sequence[_Part]) -> float:
    """Rounding of the members' own sums, of which the ensemble's predict is made."""
    return max(
        (p.model.own_predict.relative_rounding for p in parts if p.model.own_predict is not None), default=ROUNDING
    )


def _spread(value: Floats, part: _Part, k: int, *, constant: bool) -> Floats:
    """Turn a member's outputs into all classes. `constant` says that the value is a base, where a binary member's first class has 1 - p."""
    if part.classes is None:
        return value
    full = (
        np.column_stack([(1.0 if constant else 0.0) - value[:, 0], value[:, 0]])
        if len(part.classes) == 2 and value.shape[1] == 1
        else value
    )
    if k == 1:
        wide = np.zeros((len(value), 2))
        wide[:, part.classes] = full
        return wide[:, 1:]
    wide = np.zeros((len(value), k))
    wide[:, part.classes] = full
    return wide


def _inputs(estimator: Any, parts: Sequence[_Part], width: int) -> tuple[Inputs, list[Any]]:
    """One set of inputs for all members; for each member, its columns among the joined model's."""
    first = parts[0].model.inputs
    whole = all(p.columns is None for p in parts)
    named, names = whole and first.named, first.names if whole else tuple(f"x{i}" for i in range(width))
    if hasattr(estimator, "feature_names_in_"):
        named, names = True, tuple(map(str, estimator.feature_names_in_))
    blank = first.blank_replacement if len({p.model.inputs.blank_replacement for p in parts}) == 1 else None
    encoders = [p.model.inputs.encoder for p in parts]
    common = _common(encoders, type(estimator).__name__)
    if common is not None:
        inputs = Inputs(names, named, common, tuple((i,) for i in range(width)), blank)
        return inputs, [np.arange(width) if p.columns is None else np.asarray(p.columns) for p in parts]
    sources: list[tuple[int, ...]] = []
    offsets = []
    for p in parts:
        picked = tuple(range(width)) if p.columns is None else p.columns
        offsets.append(np.arange(p.model.inputs.width) + len(sources))
        sources += [tuple(picked[s] for s in source) for source in p.model.inputs.sources]
    return Inputs(
        names,
        named,
        _SideBySide(tuple((p.columns or tuple(range(width)), e) for p, e in zip(parts, encoders, strict=True))),
        tuple(sources),
        blank,
    ), offsets


def _common(encoders: Sequence[Encoder], library: str) -> NumberEncoder | None:
    """Return the one encoder that reads plain numbers as all these do, or None where they differ in what they read."""
    plain = [e for e in encoders if isinstance(e, NumberEncoder) and not e.categories]
    if len(plain) < len(encoders):
        return None
    single = {e.float32 for e in plain}
    # Trees of libraries that round to float32 say so at their splits; a value that means missing is compared after rounding.
    if len({(repr(e.missing_value), e.float32_kinds, repr(e.absent)) for e in plain}) > 1 or (
        len(single) > 1 and not np.isnan(plain[0].missing_value)
    ):
        return None
    return replace(
        plain[0],
        library=library,
        float32=all(single),
        allow_nan=all(e.allow_nan for e in plain),
        allow_infinite=all(e.allow_infinite for e in plain),
        sparse_nan=all(e.sparse_nan for e in plain),
    )


@final
@dataclass(frozen=True)
class _SideBySide(Encoder):
    """The members' matrices, one after the other."""

    members: tuple[tuple[tuple[int, ...], Encoder], ...]

    @property
    def is_elementwise(self) -> bool:
        """Whether every member reads column by column."""
        return all(e.is_elementwise for _, e in self.members)

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories that every member with that column has learnt."""
        found: dict[int, Vocabulary] = {}
        for columns, encoder in self.members:
            for i, new in encoder.learned_categories(None if table is None else table.select(columns)).items():
                old = found.get(columns[i])
                both = new if old is None or old.categories is None or new.categories is None else old.intersection(new)
                found[columns[i]] = both
        return found

    def __call__(self, table: Table) -> Floats:
        return np.column_stack([encoder(table.select(columns)) for columns, encoder in self.members])


def _wide(tree: Tree, k: int) -> Floats:
    """A tree's values for all outputs of its model."""
    if tree.output < 0:
        return tree.value
    out = np.zeros((len(tree.left), k))
    out[:, tree.output] = tree.value[:, 0]
    return out


def _with(tree: Tree, value: Floats, weight: float) -> Tree:
    if tree.linear:
        raise UnsupportedModelError(
            "an average over models with linear leaves is not supported; explain each member by itself."
        )
    return replace(tree, value=value, weight=weight, output=0 if value.shape[1] == 1 else -1)


def _moved(tree: Tree, columns: Any) -> Tree:
    return replace(tree, feature=np.where(tree.left < 0, -1, np.asarray(columns)[np.maximum(tree.feature, 0)]))
