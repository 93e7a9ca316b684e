"""Which of its input columns does each output column of a fitted transformer depend on?

Known transformers are traced exactly. Anything else counts as mixing all its inputs: then those columns are one player, and the
explanation of that player is still exact. What is declared here is confirmed on real rows (Inputs.confirm_structure).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from whybox.errors import UnsupportedModelError

__all__ = ["Sources", "positions", "trace"]

Sources = list[frozenset[int]]

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


def trace(transformer: Any, inputs: Sources, width_out: int | None = None) -> Sources:
    """Return the sources of each output column, given those of the input columns.

    Args:
        transformer: fitted, or "passthrough".
        inputs: for each input column, the user's columns it depends on.
        width_out: how many columns come out, where that is known; needed for transformers that are not.
    """
    if transformer is None or transformer == "passthrough":
        return list(inputs)
    name = type(transformer).__name__
    known = type(transformer).__module__.partition(".")[0] == "sklearn"
    if known and name in ONE_TO_ONE:
        return list(inputs)
    if known and name in _TRACERS:
        return _TRACERS[name](transformer, inputs)
    if known and hasattr(transformer, "get_support"):  # every feature selector
        return [inputs[i] for i in np.flatnonzero(transformer.get_support())]
    mixed = frozenset().union(*inputs)
    if known and name == "FunctionTransformer":
        if _columnwise(transformer):
            return list(inputs)
        if width_out is None and transformer.feature_names_out is None:
            return [mixed] * len(inputs)
    count = width_out if width_out is not None else _width(transformer)
    return [mixed] * count


def _width(transformer: Any) -> int:
    try:
        return len(transformer.get_feature_names_out())
    except Exception as error:
        raise UnsupportedModelError(
            f"the transformer {type(transformer).__name__} does not say how many columns it makes (get_feature_names_out fails: {error}), "
            "so the columns of the model cannot be traced back. Give it a get_feature_names_out method."
        ) from None


def _repeated(inputs: Sources, counts: Sequence[int]) -> Sources:
    return [source for source, n in zip(inputs, counts, strict=True) for _ in range(n)]


def _one_hot(t: Any, inputs: Sources) -> Sources:
    drop = [None] * len(inputs) if t.drop_idx_ is None else list(t.drop_idx_)
    rare = getattr(t, "infrequent_categories_", None) or [None] * len(inputs)
    counts = []
    for categories, dropped, few in zip(t.categories_, drop, rare, strict=True):
        n = len(categories) - (len(few) - 1 if few is not None and len(few) else 0)
        counts.append(n - (dropped is not None))
    return _repeated(inputs, counts)


def _imputer(t: Any, inputs: Sources) -> Sources:
    """Impute column by column; columns without any training value are dropped; missingness indicators come last."""
    # With strategy="constant" newer versions drop such columns too, and older ones keep them: the statistics tell.
    # NaN stands for "no value"; None can be the most frequent value of a column of objects.
    empty = [isinstance(v, (float, np.floating)) and bool(np.isnan(v)) for v in t.statistics_]
    keep = list(inputs) if t.keep_empty_features else [s for s, e in zip(inputs, empty, strict=True) if not e]
    return keep + (_indicator(t.indicator_, inputs) if t.add_indicator else [])


def _indicator(t: Any, inputs: Sources) -> Sources:
    return [inputs[i] for i in t.features_]


def _bins(t: Any, inputs: Sources) -> Sources:
    return list(inputs) if t.encode == "ordinal" else _repeated(inputs, [int(n) for n in t.n_bins_])


def _target(t: Any, inputs: Sources) -> Sources:
    return _repeated(inputs, [len(t.encodings_) // len(inputs)] * len(inputs))


def _splines(t: Any, inputs: Sources) -> Sources:
    return _repeated(inputs, [t.n_features_out_ // len(inputs)] * len(inputs))


def _polynomial(t: Any, inputs: Sources) -> Sources:
    return [frozenset().union(*(inputs[i] for i in np.flatnonzero(powers))) for powers in t.powers_]


def _columnwise(t: Any) -> bool:
    """Whether a FunctionTransformer surely works column by column: its feature_names_out says what columns are called, not how they are made."""
    return t.func is None or (isinstance(t.func, np.ufunc) and (t.func.nin, t.func.nout) == (1, 1) and not t.kw_args)


def _pipeline(t: Any, inputs: Sources) -> Sources:
    for _, step in t.steps:
        inputs = trace(step, inputs)
    return inputs


def _union(t: Any, inputs: Sources) -> Sources:
    out: Sources = []
    for _, step in t.transformer_list:
        if step != "drop":
            out += trace(step, inputs)
    return out


def _column_transformer(t: Any, inputs: Sources) -> Sources:
    spans = t.output_indices_
    total = max((s.stop for s in spans.values()), default=0)
    out: Sources = [frozenset()] * total
    names = [str(n) for n in getattr(t, "feature_names_in_", [])]
    for name, step, columns in t.transformers_:
        span = spans.get(name, slice(0, 0))
        if isinstance(step, str) and step == "drop":
            continue
        picked = [inputs[i] for i in positions(columns, names, len(inputs))]
        width = span.stop - span.start
        if picked and width:
            traced = trace(step, picked, width)
            if len(traced) != width:  # traced wrongly: fall back to the safe reading, one player of all its columns
                traced = [frozenset().union(*picked)] * width
            out[span] = traced
    return out


def positions(columns: Any, names: Sequence[str], width: int) -> list[int]:
    """Return which columns a ColumnTransformer's selection means."""
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = names.index(columns.start) if columns.start is not None else 0
            return list(range(start, names.index(columns.stop) + 1 if columns.stop is not None else width))
        return list(range(width))[columns]
    values = [columns] if isinstance(columns, (str, int, np.integer)) else list(columns)
    if values and all(isinstance(v, (bool, np.bool_)) for v in values):
        return [int(i) for i in np.flatnonzero(np.array(values, dtype=bool))]
    return [names.index(v) if isinstance(v, str) else int(v) % width for v in values]


_TRACERS: Final[dict[str, Callable[[Any, Sources], Sources]]] = {
    "OneHotEncoder": _one_hot,
    "SimpleImputer": _imputer,
    "MissingIndicator": _indicator,
    "KBinsDiscretizer": _bins,
    "TargetEncoder": _target,
    "SplineTransformer": _splines,
    "PolynomialFeatures": _polynomial,
    "Pipeline": _pipeline,
    "FeatureUnion": _union,
    "ColumnTransformer": _column_transformer,
}
