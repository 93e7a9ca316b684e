"""Which of its input columns does each output column of a fitted transformer depend on?

Known transformers are traced exactly. Anything else counts as mixing all its inputs: then those columns are one player, and the
explanation of that player is still exact. What is declared here is confirmed on real rows (Inputs.confirm_structure).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from whybox.errors import UnsupportedModelError

__all__ = [
    "ColumnSources",
    "samplers_of",
    "selected_positions",
    "steps_of_predict",
    "trace_columns",
    "undeclared_steps",
]

ColumnSources = list[frozenset[int]]

# Transformers that turn column i into column i and look at nothing else.
ONE_TO_ONE: Final = frozenset(
    {
        "StandardScaler",
        "MinMaxScaler",
        "MaxAbsScaler",
        "RobustScaler",
        "PowerTransformer",
        "QuantileTransformer",
        "Binarizer",
        "OrdinalEncoder",
        "LabelBinarizer",
    }
)

_READS_COLUMNS_IN_SOME_ROWS: Final = frozenset({"KNNImputer", "IterativeImputer"})


def trace_columns(transformer: Any, inputs: ColumnSources, width_out: int | None = None) -> ColumnSources:
    """Return the sources of each output column, given those of the input columns.

    Args:
        transformer: fitted, or "passthrough".
        inputs: for each input column, the user's columns it depends on.
        width_out: how many columns come out, where that is known; needed for transformers that are not.
    """
    if transformer is None or transformer == "passthrough":
        return list(inputs)
    name = type(transformer).__name__
    is_sklearn = type(transformer).__module__.partition(".")[0] == "sklearn"
    if is_sklearn and name == "FrozenEstimator":
        return trace_columns(transformer.estimator, inputs, width_out)
    if is_sklearn and name in ONE_TO_ONE:
        return list(inputs)
    if is_sklearn and name in _LINEAGE_TRACERS:
        return _LINEAGE_TRACERS[name](transformer, inputs)
    if is_sklearn and hasattr(transformer, "get_support"):  # every feature selector
        return [inputs[i] for i in np.flatnonzero(transformer.get_support())]
    all_sources = frozenset().union(*inputs)
    if is_sklearn and name == "FunctionTransformer":
        if _is_columnwise(transformer):
            return list(inputs)
        if width_out is None and transformer.feature_names_out is None:
            return [all_sources] * len(inputs)
    count = width_out if width_out is not None else _output_width(transformer)
    return [all_sources] * count


def undeclared_steps(steps: Sequence[Any]) -> tuple[str, ...]:
    """Return the transformers, by class, that do not tell which columns theirs are made of: those of other libraries than scikit-learn, and functions.

    () where another step reads further columns only in some rows, such as an imputer that looks for neighbours: trials may miss what it reads.
    """
    inside = [inner for step in steps for inner in _steps_inside(step)]
    if any(type(step).__name__ in _READS_COLUMNS_IN_SOME_ROWS for step in inside):
        return ()
    return tuple(dict.fromkeys(type(step).__name__ for step in inside if _is_undeclared(step)))


def _is_undeclared(transformer: Any) -> bool:
    if type(transformer).__module__.partition(".")[0] != "sklearn":
        return True
    return type(transformer).__name__ == "FunctionTransformer" and not _is_columnwise(transformer)


def _steps_inside(transformer: Any) -> list[Any]:
    """The transformers that a transformer of scikit-learn is composed of; of others, themselves."""
    name = type(transformer).__name__
    if transformer is None or isinstance(transformer, str):
        return []
    if type(transformer).__module__.partition(".")[0] != "sklearn":
        return [transformer]
    if name == "FrozenEstimator":
        return _steps_inside(transformer.estimator)
    lists = {"Pipeline": "steps", "FeatureUnion": "transformer_list", "ColumnTransformer": "transformers_"}
    if name not in lists:
        return [transformer]
    return [inner for _, step, *_ in getattr(transformer, lists[name]) for inner in _steps_inside(step)]


def samplers_of(pipeline: Any) -> list[Any]:
    """Return the samplers of a Pipeline of imbalanced-learn, which change the rows of training and which its predict passes over."""
    if not any(kind.__module__.partition(".")[0] == "imblearn" for kind in type(pipeline).__mro__):
        return []
    return [step for _, step in pipeline.steps[:-1] if hasattr(step, "fit_resample")]


def steps_of_predict(pipeline: Any) -> list[tuple[str, Any]]:
    """Return the names and transformers that rows pass before the last step of a Pipeline when it predicts."""
    samplers = samplers_of(pipeline)
    return [
        (name, step)
        for name, step in pipeline.steps[:-1]
        if step is not None and not isinstance(step, str) and all(step is not sampler for sampler in samplers)
    ]


def _output_width(transformer: Any) -> int:
    try:
        return len(transformer.get_feature_names_out())
    except Exception as error:
        raise UnsupportedModelError(
            f"the transformer {type(transformer).__name__} does not say how many columns it makes (get_feature_names_out fails: {error}), "
            "so the columns of the model cannot be traced back. Give it a get_feature_names_out method."
        ) from None


def _repeat_sources(inputs: ColumnSources, counts: Sequence[int]) -> ColumnSources:
    return [source for source, n in zip(inputs, counts, strict=True) for _ in range(n)]


def _trace_one_hot(encoder: Any, inputs: ColumnSources) -> ColumnSources:
    drop = [None] * len(inputs) if encoder.drop_idx_ is None else list(encoder.drop_idx_)
    infrequent_indices = getattr(encoder, "infrequent_categories_", None) or [None] * len(inputs)
    counts = []
    for categories, dropped, infrequent in zip(encoder.categories_, drop, infrequent_indices, strict=True):
        count = len(categories) - (len(infrequent) - 1 if infrequent is not None and len(infrequent) else 0)
        counts.append(count - (dropped is not None))
    return _repeat_sources(inputs, counts)


def _trace_imputer(imputer: Any, inputs: ColumnSources) -> ColumnSources:
    """Impute column by column; columns without any training value are dropped; missingness indicators come last."""
    # With strategy="constant" newer versions drop such columns too, and older ones keep them: the statistics tell.
    # NaN stands for "no value"; None can be the most frequent value of a column of objects.
    is_empty = [isinstance(v, (float, np.floating)) and bool(np.isnan(v)) for v in imputer.statistics_]
    kept_sources = (
        list(inputs) if imputer.keep_empty_features else [s for s, e in zip(inputs, is_empty, strict=True) if not e]
    )
    return kept_sources + (_trace_indicator(imputer.indicator_, inputs) if imputer.add_indicator else [])


def _trace_indicator(indicator: Any, inputs: ColumnSources) -> ColumnSources:
    return [inputs[i] for i in indicator.features_]


def _trace_bins(discretizer: Any, inputs: ColumnSources) -> ColumnSources:
    return (
        list(inputs)
        if discretizer.encode == "ordinal"
        else _repeat_sources(inputs, [int(n) for n in discretizer.n_bins_])
    )


def _trace_target_encoder(encoder: Any, inputs: ColumnSources) -> ColumnSources:
    return _repeat_sources(inputs, [len(encoder.encodings_) // len(inputs)] * len(inputs))


def _trace_splines(transformer: Any, inputs: ColumnSources) -> ColumnSources:
    return _repeat_sources(inputs, [transformer.n_features_out_ // len(inputs)] * len(inputs))


def _trace_polynomial(transformer: Any, inputs: ColumnSources) -> ColumnSources:
    return [frozenset().union(*(inputs[i] for i in np.flatnonzero(powers))) for powers in transformer.powers_]


def _is_columnwise(transformer: Any) -> bool:
    """Whether a FunctionTransformer surely works column by column; its feature_names_out does not tell this."""
    return transformer.func is None or (
        isinstance(transformer.func, np.ufunc)
        and (transformer.func.nin, transformer.func.nout) == (1, 1)
        and not transformer.kw_args
    )


def _trace_pipeline(pipeline: Any, inputs: ColumnSources) -> ColumnSources:
    for _, step in pipeline.steps:
        inputs = trace_columns(step, inputs)
    return inputs


def _trace_union(union: Any, inputs: ColumnSources) -> ColumnSources:
    sources: ColumnSources = []
    for _, step in union.transformer_list:
        if step != "drop":
            sources += trace_columns(step, inputs)
    return sources


def _trace_column_transformer(transformer: Any, inputs: ColumnSources) -> ColumnSources:
    spans = transformer.output_indices_
    total = max((s.stop for s in spans.values()), default=0)
    sources: ColumnSources = [frozenset()] * total
    names = [str(n) for n in getattr(transformer, "feature_names_in_", [])]
    for name, step, columns in transformer.transformers_:
        span = spans.get(name, slice(0, 0))
        if isinstance(step, str) and step == "drop":
            continue
        selected = [inputs[i] for i in selected_positions(columns, names, len(inputs))]
        width = span.stop - span.start
        if selected and width:
            traced = trace_columns(step, selected, width)
            if len(traced) != width:  # traced wrongly: fall back to the safe reading, one player of all its columns
                traced = [frozenset().union(*selected)] * width
            sources[span] = traced
    return sources


def selected_positions(columns: Any, names: Sequence[str], width: int) -> list[int]:
    """Return the positions of the columns that a ColumnTransformer selects."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = names.index(columns.start) if columns.start is not None else 0
            return list(range(start, names.index(columns.stop) + 1 if columns.stop is not None else width))
        return list(range(width))[columns]
    values = [columns] if isinstance(columns, (str, int, np.integer)) else list(columns)
    if values and all(isinstance(v, (bool, np.bool_)) for v in values):
        return [int(i) for i in np.flatnonzero(np.array(values, dtype=bool))]
    return [names.index(v) if isinstance(v, str) else int(v) % width for v in values]


_LINEAGE_TRACERS: Final[dict[str, Callable[[Any, ColumnSources], ColumnSources]]] = {
    "OneHotEncoder": _trace_one_hot,
    "SimpleImputer": _trace_imputer,
    "MissingIndicator": _trace_indicator,
    "KBinsDiscretizer": _trace_bins,
    "TargetEncoder": _trace_target_encoder,
    "SplineTransformer": _trace_splines,
    "PolynomialFeatures": _trace_polynomial,
    "Pipeline": _trace_pipeline,
    "FeatureUnion": _trace_union,
    "ColumnTransformer": _trace_column_transformer,
}
