"""The categories that a fitted Pipeline learned for the user's own columns: its encoders list them, if earlier steps leave cells unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from whybox.adapters.sklearn.column_lineage import selected_positions, steps_of_predict, trace_columns
from whybox.data.table import is_missing
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Inputs

__all__ = ["categories_of_estimator", "categories_of_steps"]

ColumnOrigins = list[int | None]  # for each column here, the user's column whose cells it still holds
_CATEGORY_ENCODERS: Final = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")


def categories_of_steps(steps: Sequence[Any], width: int, inner: Inputs | None) -> dict[int, Vocabulary]:
    """Return the categories learnt of each of the user's columns.

    Args:
        steps: fitted transformers, one after the other. width: of the user's columns.
        inner: what the model behind them reads; None: nothing is known of it.
    """
    by_column: dict[int, Vocabulary] = {}
    origins: ColumnOrigins = list(range(width))
    for step in steps:
        origins = _follow_step(step, origins, by_column)
    for position, vocabulary in (inner.encoder.learned_categories(None) if inner is not None else {}).items():
        if position < len(origins) and vocabulary.is_stored:
            _add_vocabulary(by_column, origins[position], vocabulary)
    return by_column


def categories_of_estimator(estimator: Any, width: int) -> dict[int, Vocabulary]:
    """Return the categories that the transformers of a Pipeline, or of the best estimator of a search, learned; {} for other estimators."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in steps_of_predict(estimator)] if hasattr(estimator, "steps") else []
    return categories_of_steps(steps, width, None) if steps else {}


def _add_vocabulary(by_column: dict[int, Vocabulary], origin: int | None, vocabulary: Vocabulary) -> None:
    if origin is not None:
        known = by_column.get(origin)
        are_listed = known is not None and known.categories is not None and vocabulary.categories is not None
        by_column[origin] = known.intersection(vocabulary) if are_listed and known is not None else vocabulary


def _follow_step(step: Any, origins: ColumnOrigins, by_column: dict[int, Vocabulary]) -> ColumnOrigins:
    """Add the categories that a step learned; return the origins of its output columns."""
    if step is None or isinstance(step, str):
        return [] if step == "drop" else origins
    name = type(step).__name__
    if type(step).__module__.partition(".")[0] != "sklearn":
        return _untraceable_step(step, origins)
    if name in _CATEGORY_ENCODERS and hasattr(step, "categories_"):
        for origin, categories in zip(origins, map(np.asarray, step.categories_), strict=True):
            if categories.dtype.kind not in "mM":
                _add_vocabulary(
                    by_column, origin, Vocabulary(tuple(w for w in categories.tolist() if not is_missing(w)))
                )
        return _untraceable_step(step, origins)
    if name in ("Pipeline", "FrozenEstimator"):
        for inner in [step.estimator] if name == "FrozenEstimator" else [inner for _, inner in step.steps]:
            origins = _follow_step(inner, origins, by_column)
        return origins
    if name == "FeatureUnion":
        return [o for _, inner in step.transformer_list for o in _follow_step(inner, origins, by_column)]
    if name == "ColumnTransformer":
        return _column_transformer(step, origins, by_column)
    if name == "FunctionTransformer" and step.func is None:
        return origins
    if name == "SimpleImputer":
        kept_origins = [
            o
            for o, statistic in zip(origins, step.statistics_, strict=True)
            if step.keep_empty_features or not is_missing(statistic)
        ]
        return kept_origins + [None] * (len(trace_columns(step, [frozenset()] * len(origins))) - len(kept_origins))
    if hasattr(step, "get_support"):
        return [origins[i] for i in np.flatnonzero(step.get_support())]
    return _untraceable_step(step, origins)


def _untraceable_step(step: Any, origins: ColumnOrigins) -> ColumnOrigins:
    """No output column holds the user's own cells."""
    try:
        return [None] * len(trace_columns(step, [frozenset()] * len(origins)))
    except Exception:  # it does not say how many columns it makes: none of them is known then
        return []


def _column_transformer(step: Any, origins: ColumnOrigins, by_column: dict[int, Vocabulary]) -> ColumnOrigins:
    spans = step.output_indices_
    origins_out: ColumnOrigins = [None] * max((s.stop for s in spans.values()), default=0)
    names = [str(n) for n in getattr(step, "feature_names_in_", [])]
    for name, inner, columns in step.transformers_:
        selected = [origins[i] for i in selected_positions(columns, names, len(origins))]
        origins_after = _follow_step(inner, selected, by_column) if selected else []
        span = spans.get(name, slice(0, 0))
        if len(origins_after) == span.stop - span.start:
            origins_out[span] = origins_after
    return origins_out
