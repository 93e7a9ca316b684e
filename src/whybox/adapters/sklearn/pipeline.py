"""Wrappers around a model: Pipeline, searches, TransformedTargetRegressor. The inner model is explained in the user's own columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.common import FittedPart, as_columns
from whybox.adapters.sklearn.assemble import wrap_model
from whybox.adapters.sklearn.categories import categories_of_steps
from whybox.adapters.sklearn.column_lineage import (
    ColumnSources,
    samplers_of,
    steps_of_predict,
    trace_columns,
    undeclared_steps,
)
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table, as_table
from whybox.errors import InputError, UnsupportedModelError, WhyboxError
from whybox.models.base import Model, Scale
from whybox.models.bound_method import PREDICT_METHODS
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Inputs
from whybox.models.links import Link, Outputs

__all__ = [
    "TransformThenCall",
    "own_predict",
    "pipeline_inputs",
    "predict_of_best",
    "predict_of_part",
    "read_pipeline",
    "read_search",
    "read_transformed_target",
    "with_steps",
]

Adapt = Callable[[Any], Model]


def read_pipeline(estimator: Any, adapt: Adapt) -> Model:
    """Read a Pipeline: its transformers become the inputs' encoder, its last step is the model."""
    steps = steps_of_predict(estimator)
    last = estimator.steps[-1][1]
    if last is None or isinstance(last, str) or not hasattr(last, "predict"):
        raise UnsupportedModelError(
            "this Pipeline ends in a transformer, not in a model; pass the Pipeline that ends in a model."
        )
    inner = adapt(last)
    method, scale = own_predict(estimator, inner)
    samplers = samplers_of(estimator)
    if samplers:
        names = ", ".join(type(sampler).__name__ for sampler in samplers)
        note = f"Its sampler ({names}) changed the rows of training: without a background, absent features follow the changed rows."
        inner = replace(inner, notes=(*inner.notes, note))
    if not steps:
        return wrap_model(inner, method, scale, estimator, offset_rule=inner.offset_rule)
    inputs, rule = pipeline_inputs(estimator, steps, inner), inner.offset_rule
    encoder = inputs.encoder
    if rule is not None and rule.predict is not None and isinstance(encoder, _PipelineEncoder):
        rule = replace(rule, predict=_TransformThenOffset(encoder, rule.predict))
    return wrap_model(replace(inner, inputs=inputs), method, scale, estimator, offset_rule=rule)


def own_predict(estimator: Any, inner: Model) -> tuple[Callable[[Any], Any], Scale]:
    """The wrapper's predict to compare with the inner model: probabilities for classifiers, else predictions."""
    if inner.own_predict is None:
        raise UnsupportedModelError(f"{inner.kind} has no predict to be held against.")
    if hasattr(estimator, "predict_proba") and inner.outputs.has_probability:
        return estimator.predict_proba, "response"
    if inner.outputs.response_units == "score_samples":
        return estimator.score_samples, "response"
    if inner.own_predict.call_name.endswith(".decision_function"):
        return estimator.decision_function, "raw"
    return estimator.predict, "response"


def pipeline_inputs(estimator: Any, steps: list[tuple[str, Any]], inner: Model) -> Inputs:
    """Return the inputs of a model behind transformers, by name: the user's columns, and which of them each model column is made of."""
    first_step = steps[0][1]
    named = hasattr(first_step, "feature_names_in_")
    width = int(getattr(first_step, "n_features_in_", 0) or getattr(estimator, "n_features_in_", 0))
    if not width:
        raise UnsupportedModelError(
            f"the first step of the Pipeline, {type(first_step).__name__}, does not say how many columns it was fitted on (n_features_in_)."
        )
    names = tuple(map(str, first_step.feature_names_in_)) if named else tuple(f"x{i}" for i in range(width))
    sources: ColumnSources = [frozenset({i}) for i in range(width)]
    for i, (_, step) in enumerate(steps):
        next_step = steps[i + 1][1] if i + 1 < len(steps) else None
        n_columns = getattr(next_step, "n_features_in_", None) if next_step is not None else len(inner.inputs.names)
        sources = trace_columns(step, sources, None if n_columns is None else int(n_columns))
    if len(sources) != len(inner.inputs.names):
        raise UnsupportedModelError(
            f"the transformers of the Pipeline make {len(sources)} columns by our reading, but its model was fitted on {len(inner.inputs.names)}; report these transformers."
        )
    per_column = tuple(
        tuple(sorted(frozenset().union(*(sources[p] for p in source)))) for source in inner.inputs.source_columns
    )
    learned_categories = categories_of_steps([step for _, step in steps], width, inner.inputs)
    several = any(len(source) > 1 for source in per_column)
    own = undeclared_steps([step for _, step in steps]) if several else ()
    undeclared = tuple(dict.fromkeys([*own, *inner.inputs.undeclared_steps]))
    remembered = () if named else _names_of_later_steps([step for _, step in steps[1:]], inner.inputs)
    return Inputs(
        names,
        named,
        _PipelineEncoder(tuple(steps), inner.inputs, learned_categories),
        per_column,
        pipeline_names=remembered,
        undeclared_steps=undeclared,
    )


def with_steps(inputs: Inputs, steps: Sequence[tuple[str, Any]]) -> Inputs:
    """Return the inputs of :func:`pipeline_inputs` with other transformers, by name, that make the same columns."""
    assert isinstance(inputs.encoder, _PipelineEncoder)  # noqa: S101  # it made them
    return replace(inputs, encoder=replace(inputs.encoder, steps=tuple(steps)))


def _names_of_later_steps(steps: list[Any], inner: Inputs) -> tuple[str, ...]:
    """The column names that a later step was fitted with, if the first step stores none."""
    known = (tuple(map(str, s.feature_names_in_)) for s in steps if hasattr(s, "feature_names_in_"))
    return next(known, inner.names if inner.has_names else ())


@final
@dataclass(frozen=True)
class _PipelineEncoder:
    """Runs the user's own transformers, then the model's own encoder."""

    steps: tuple[tuple[str, Any], ...]
    inner: Inputs
    categories: Mapping[int, Vocabulary]

    @property
    def is_elementwise(self) -> bool:
        """False: the structure of the transformers is confirmed on real rows."""
        return False

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories that the transformers, or the model after them, learned for the user's own columns."""
        del table
        return self.categories

    def select_columns(self, columns: npt.NDArray[np.int64]) -> _PipelineEncoder:
        """Return the encoder of some model columns: all steps run, but their output stays sparse."""
        return replace(self, inner=self.inner.select_columns(columns))

    def __call__(self, table: Table) -> Floats:
        return self.inner.matrix(self.transformed(table))

    def transformed(self, table: Table) -> Table:
        """Return the rows as the model behind the steps gets them, aligned with it."""
        rows = table.for_transformers()
        for name, step in self.steps:
            try:
                with suppress_warnings():
                    rows = step.transform(rows)
            except WhyboxError:
                raise
            except Exception as error:  # libraries raise whatever they like about rows
                raise _unsupported_step(name, step, error) from error
        # a sparse matrix stays one: what its empty cells mean is for the model to say
        return self.inner.align_table(as_table(rows), what=f"the output of step {self.steps[-1][0]!r}")[0]


@final
@dataclass(frozen=True)
class _TransformThenOffset:
    """A model's predict with offsets, (rows, outputs), on the rows behind a Pipeline's steps."""

    encoder: _PipelineEncoder
    predict: Callable[[Table, Floats], Floats]

    def __call__(self, table: Table, offsets: Floats) -> Floats:
        return self.predict(self.encoder.transformed(table), offsets)


def _unsupported_step(name: str, step: Any, error: Exception) -> WhyboxError:
    from sklearn.exceptions import NotFittedError

    if isinstance(error, NotFittedError):
        return UnsupportedModelError(f"the step {name!r} of the Pipeline is not fitted: {error}")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return InputError(
        f"the step {name!r} ({type(step).__name__}) of the Pipeline refuses these rows: {reason}. "
        "Pass rows as they were in training: the same columns and types, and no category that the step has not met and does not ignore."
    )


@final
@dataclass(frozen=True)
class TransformThenCall:
    """A model's own function applied to rows after the preceding steps."""

    steps: tuple[Any, ...]
    call: Callable[[Any], Any]

    def __call__(self, rows: Any) -> Any:
        """Return the answers."""
        for step in self.steps:
            rows = step.transform(rows)
        return self.call(rows)


def read_search(estimator: Any, adapt: Adapt) -> Model:
    """Read GridSearchCV and its kin: the refitted best model."""
    best_estimator = getattr(estimator, "best_estimator_", None)
    if best_estimator is None:
        raise UnsupportedModelError(f"this {type(estimator).__name__} has no best_estimator_: fit it, with refit=True.")
    inner = adapt(best_estimator)
    if _replaces_predict(estimator):  # so that the search has to agree with its best model
        return wrap_model(inner, *own_predict(estimator, inner), estimator, offset_rule=inner.offset_rule)
    own = inner.own_predict
    if own is not None:
        own = replace(own, predict=predict_of_best(estimator, own.predict))
    return replace(inner, kind=f"best model of {type(estimator).__name__}: {inner.kind}", own_predict=own)


def predict_of_best(search: Any, predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a predict of a search's best model that refuses once the search has another one."""
    return predict_of_part(search, _best_of, predict)


def predict_of_part(owner: Any, find: Callable[[Any], Any], predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a predict of the estimator that `find` finds in a wrapper, which refuses once the wrapper has another one."""
    return _PredictOfPart(FittedPart(find(owner), owner, find), predict)


def _best_of(search: Any) -> Any:
    return search.best_estimator_


@final
@dataclass(frozen=True)
class _PredictOfPart:
    fitted: FittedPart
    predict: Callable[[Any], Any]

    def __call__(self, rows: Any) -> Any:
        self.fitted()
        return self.predict(rows)


def _replaces_predict(search: Any) -> bool:
    """Whether the user's own class, or the object itself, has a predict in place of scikit-learn's, which hands rows on to the best model."""
    methods = (getattr(search, name, None) for name in PREDICT_METHODS)
    return any(m is not None and str(getattr(m, "__module__", "")).partition(".")[0] != "sklearn" for m in methods)


def read_transformed_target(estimator: Any, adapt: Adapt) -> Model:
    """Read TransformedTargetRegressor: the raw scale is the inner regressor's, the link is the inverse transform."""
    inner = adapt(estimator.regressor_)
    if not inner.outputs.link.is_identity:
        raise UnsupportedModelError(
            f"TransformedTargetRegressor of {inner.kind}: two links on top of each other; explain estimator.regressor_ by itself."
        )
    link = Link("inverse target transform", function=_InverseTransform(estimator.transformer_))
    outputs = Outputs(inner.outputs.names, link, raw_units="transformed target", response_units="prediction")
    of_regressor = inner.offset_rule
    return wrap_model(
        replace(inner, outputs=outputs), _FlatPredict(estimator), "response", estimator, offset_rule=of_regressor
    )


@final
@dataclass(frozen=True)
class _FlatPredict:
    estimator: Any
    __name__ = "predict"

    def __call__(self, rows: Any) -> Floats:
        return as_columns(self.estimator.predict(rows))


@final
@dataclass(frozen=True)
class _InverseTransform:
    """The fitted transformer's inverse, on arrays of any shape (..., outputs)."""

    transformer: Any

    def __call__(self, raw: Floats) -> Floats:
        if not raw.size:  # transformers refuse no rows
            return raw
        with suppress_warnings():
            flat = self.transformer.inverse_transform(raw.reshape(-1, raw.shape[-1]))
        return np.asarray(flat, dtype=np.float64).reshape(raw.shape)
