"""Which categories did a fitted Pipeline learn of the user's own columns? Its encoders list them; steps before must have left the cells as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from whybox.adapters.sklearn.column_lineage import positions, trace
from whybox.data.table import is_missing
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Inputs

__all__ = ["categories_of_estimator", "categories_of_steps"]

Origins = list[int | None]  # for each column here, the user's column whose cells it still holds
_ENCODERS: Final = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")


def categories_of_steps(steps: Sequence[Any], width: int, inner: Inputs | None) -> dict[int, Vocabulary]:
    """Return the categories learnt of each of the user's columns.

    Args:
        steps: fitted transformers, one after the other. width: of the user's columns.
        inner: what the model behind them reads; None: nothing is known of it.
    """
    found: dict[int, Vocabulary] = {}
    origins: Origins = list(range(width))
    for step in steps:
        origins = _walk(step, origins, found)
    for at, vocabulary in (inner.encoder.learned_categories(None) if inner is not None else {}).items():
        if at < len(origins) and vocabulary.is_stored:
            _note(found, origins[at], vocabulary)
    return found


def categories_of_estimator(estimator: Any, width: int) -> dict[int, Vocabulary]:
    """Return the categories that the transformers of a Pipeline learnt, or of the one that a search found best; of other estimators none."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    steps = [step for _, step in getattr(estimator, "steps", ())[:-1]]
    return categories_of_steps(steps, width, None) if steps else {}


def _note(found: dict[int, Vocabulary], origin: int | None, vocabulary: Vocabulary) -> None:
    if origin is not None:
        old = found.get(origin)
        both = old is not None and old.categories is not None and vocabulary.categories is not None
        found[origin] = old.intersection(vocabulary) if both and old is not None else vocabulary


def _walk(step: Any, origins: Origins, found: dict[int, Vocabulary]) -> Origins:
    """Note what a step learnt; return the origins of the columns that it puts out."""
    if step is None or isinstance(step, str):
        return [] if step == "drop" else origins
    name = type(step).__name__
    if type(step).__module__.partition(".")[0] != "sklearn":
        return _lost(step, origins)
    if name in _ENCODERS and hasattr(step, "categories_"):
        for origin, words in zip(origins, map(np.asarray, step.categories_), strict=True):
            if words.dtype.kind not in "mM":
                _note(found, origin, Vocabulary(tuple(w for w in words.tolist() if not is_missing(w))))
        return _lost(step, origins)
    if name == "Pipeline":
        for _, inner in step.steps:
            origins = _walk(inner, origins, found)
        return origins
    if name == "FeatureUnion":
        return [o for _, inner in step.transformer_list for o in _walk(inner, origins, found)]
    if name == "ColumnTransformer":
        return _column_transformer(step, origins, found)
    if name == "FunctionTransformer" and step.func is None:
        return origins
    if name == "SimpleImputer":
        kept = [
            o for o, s in zip(origins, step.statistics_, strict=True) if step.keep_empty_features or not is_missing(s)
        ]
        return kept + [None] * (len(trace(step, [frozenset()] * len(origins))) - len(kept))
    if hasattr(step, "get_support"):
        return [origins[i] for i in np.flatnonzero(step.get_support())]
    return _lost(step, origins)


def _lost(step: Any, origins: Origins) -> Origins:
    """No column that comes out holds the user's own cells."""
    try:
        return [None] * len(trace(step, [frozenset()] * len(origins)))
    except Exception:  # it does not say how many columns it makes: none of them is known then
        return []


def _column_transformer(step: Any, origins: Origins, found: dict[int, Vocabulary]) -> Origins:
    spans = step.output_indices_
    out: Origins = [None] * max((s.stop for s in spans.values()), default=0)
    names = [str(n) for n in getattr(step, "feature_names_in_", [])]
    for name, inner, columns in step.transformers_:
        picked = [origins[i] for i in positions(columns, names, len(origins))]
        after = _walk(inner, picked, found) if picked else []
        span = spans.get(name, slice(0, 0))
        if len(after) == span.stop - span.start:
            out[span] = after
    return out
