"""interpret's explainable boosting machines, read as additive models: a table for each feature, and for each pair that they chose.

Features are cut into bins by the library's own code, as its predict does it, so missing values and unseen categories go where the library puts them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final, final

import numpy as np
import numpy.typing as npt

from whybox.adapters.common import as_columns, class_names, import_path, refuse_one_class, refuse_overridden
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table, as_table
from whybox.errors import UnsupportedModelError
from whybox.models.additive import Additive, AdditiveTerm
from whybox.models.agreement import compare_predictions
from whybox.models.base import Model, OffsetRule, OwnPredict, Scale, Verdict
from whybox.models.blackbox import RawScores
from whybox.models.categories import Vocabulary
from whybox.models.inputs import Inputs
from whybox.models.links import Link, Outputs

__all__ = ["adapt", "raw_scores"]

RELATIVE_ROUNDING: Final = 1e-12  # sums of a table for each term, in float64
MIN_PROBE_ROWS, MAX_PROBE_ROWS = 2000, 20_000  # rows that reach bins and lie on their edges
MAX_PAIR_ROWS: Final = 50_000  # rows in two bins of a pair, for all pairs together
_LINKS: Final = {"identity": "identity", "log": "exp", "logit": "sigmoid", "mlogit": "softmax"}
_MADE_NAME: Final = re.compile(r"feature_\d{4,}")  # of a feature that has no name
_NUMBER_LIKE: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|True|False|nan|[-+]?inf", re.ASCII)

Ints = npt.NDArray[np.int64]
BinKey = tuple[int, int]  # a feature, and which of its binnings: from 0


def adapt(obj: Any) -> Model:
    """Read a fitted ExplainableBoostingClassifier or ExplainableBoostingRegressor, also the differentially private ones.

    Raises:
        UnsupportedModelError: another model of interpret, or terms of three features or more.
        ModelMismatchError: our reading disagrees with the model's own predict.
    """
    if not hasattr(obj, "term_scores_"):
        kind = type(obj).__name__
        if "ExplainableBoosting" in kind:
            raise UnsupportedModelError(f"this {kind} is not fitted; call fit first.")
        raise UnsupportedModelError(
            f"{kind} is not a model of interpret that this version reads: explainable boosting machines are."
        )
    refuse_overridden(obj, "interpret")
    largest = max((len(features) for features in obj.term_features_), default=0)
    if largest > 2:
        raise UnsupportedModelError(
            f"this {type(obj).__name__} has a term of {largest} features together; terms of one or two are read."
        )
    outputs = _outputs(obj)
    keys = _bin_keys(obj)
    position = {key: i for i, key in enumerate(keys)}
    shape = len(outputs.names)
    terms = tuple(
        AdditiveTerm(
            str(name),
            tuple(position[_bin_key(obj, feature, len(features))] for feature in features),
            np.array(scores, dtype=np.float64).reshape(*np.shape(scores)[: len(features)], shape),
        )
        for name, features, scores in zip(obj.term_names_, obj.term_features_, obj.term_scores_, strict=True)
    )
    model = Additive(
        terms=terms,
        base_values=np.array(np.ravel(obj.intercept_), dtype=np.float64),
        inputs=_inputs(obj, keys, terms),
        outputs=outputs,
        kind=import_path(obj),
    )
    return _verified(model, obj)


def raw_scores(obj: Any) -> RawScores | None:
    """Return the decision function of a classifier that is not read."""
    if not hasattr(obj, "term_scores_") or not hasattr(obj, "decision_function"):
        return None
    units = "log-odds" + (" (softmax)" if len(obj.classes_) > 2 else "")
    return RawScores(obj.decision_function, units, f"{type(obj).__name__}.decision_function")


def _outputs(obj: Any) -> Outputs:
    name = _LINKS.get(obj.link_)
    if name is None:
        raise UnsupportedModelError(f"{type(obj).__name__} with the link {obj.link_!r} is not read by this version.")
    if not hasattr(obj, "classes_"):
        units = "prediction" if name == "identity" else "log of the prediction"
        return Outputs(("prediction",), Link(name), raw_units=units)
    refuse_one_class(type(obj).__name__, obj.classes_)
    names = class_names(obj.classes_)
    if name == "sigmoid" and len(names) == 2:
        return Outputs(names[1:], Link("sigmoid"), "log-odds", "probability", negative_class=names[0])
    if name == "softmax":
        return Outputs(names, Link("softmax"), "log-odds (softmax)", "probability")
    raise UnsupportedModelError(
        f"{type(obj).__name__} of {len(names)} classes with the link {obj.link_!r} is not read."
    )


def _bin_key(obj: Any, feature: int, together: int) -> BinKey:
    """Which binning of a feature a term of so many features uses: later ones are coarser."""
    return feature, min(len(obj.bins_[feature]), together) - 1


def _bin_keys(obj: Any) -> list[BinKey]:
    return sorted({_bin_key(obj, f, len(features)) for features in obj.term_features_ for f in features})


def _inputs(obj: Any, keys: list[BinKey], terms: tuple[AdditiveTerm, ...]) -> Inputs:
    names = tuple(map(str, obj.feature_names_in_))
    made = all(_MADE_NAME.fullmatch(name) for name in names)
    sizes = np.zeros(len(keys), dtype=np.int64)
    for term in terms:
        sizes[list(term.columns)] = term.table.shape[:-1]
    encoder = _BinEncoder(
        tuple(obj.feature_names_in_),
        tuple(obj.feature_types_in_),
        tuple(tuple(levels) for levels in obj.bins_),
        tuple(tuple(map(int, features)) for features in obj.term_features_),
        tuple(term.columns for term in terms),
        tuple(int(size) for size in sizes),
    )
    sources = tuple((feature,) for feature, _ in keys)
    return Inputs(names, not made, encoder, sources, own_names=names if made else ())


@final
@dataclass(frozen=True, eq=False)
class _BinEncoder:
    """Cuts the user's columns into bins by the library's own code: code 0 is missing, the last one unseen.

    Attributes:
        names, types, bins, term_features: as the library keeps them. columns: model columns of each term. sizes: codes of each model column.
    """

    names: tuple[Any, ...]
    types: tuple[Any, ...]
    bins: tuple[tuple[Any, ...], ...]
    term_features: tuple[tuple[int, ...], ...]
    columns: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @property
    def is_elementwise(self) -> bool:
        """False: what the library does with columns of mixed types is confirmed on real rows."""
        return False

    def learned_categories(self, table: Table | None) -> Mapping[int, Vocabulary]:
        """Return the categories of columns of texts; a library that writes numbers as texts leaves open what cells held."""
        del table
        return {
            j: Vocabulary(tuple(levels[0]))
            for j, (kind, levels) in enumerate(zip(self.types, self.bins, strict=True))
            if kind != "continuous" and levels and not any(_NUMBER_LIKE.fullmatch(str(name)) for name in levels[0])
        }

    def __call__(self, table: Table) -> Floats:
        preclean, eval_terms = _library_functions()
        with suppress_warnings():
            rows, n = preclean(table.for_transformers(), list(self.names), list(self.types))
            out, known = np.zeros((len(self.sizes), n)), set()
            if not n:
                return out.T
            codes = eval_terms(
                rows, n, list(self.names), list(self.types), list(map(list, self.bins)), self.term_features
            )
            for columns, found in zip(self.columns, codes, strict=True):
                for column, code in zip(columns, found, strict=True):
                    if column not in known:
                        out[column] = np.where(code < 0, self.sizes[column] - 1, code)
                        known.add(column)
        return out.T


def _library_functions() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The functions by which the library reads rows and finds their bins."""
    try:
        from interpret.glassbox._ebm._bin import eval_terms
        from interpret.utils._clean_x import preclean_X
    except ImportError as error:
        raise UnsupportedModelError(
            f"this version of interpret keeps its bins elsewhere ({error}); 0.7 is read. Pass model.predict_proba or model.predict instead, which are evaluated."
        ) from None
    return preclean_X, eval_terms


@final
@dataclass(frozen=True)
class _PredictTable:
    """The model's own predict as (rows, outputs)."""

    predict: Callable[..., Any]

    def __call__(self, table: Table) -> Floats:
        with suppress_warnings():
            return as_columns(self.predict(table.for_transformers()))

    def with_offsets(self, table: Table, offsets: Floats) -> Floats:
        """Predictions with initial scores, (rows, outputs)."""
        scores = offsets if offsets.shape[1] > 1 else offsets[:, 0]
        with suppress_warnings():
            return as_columns(self.predict(table.for_transformers(), init_score=scores))


def _verified(model: Additive, obj: Any) -> Model:
    """Compare on rows in every bin, on its edges, with missing values and unseen categories; attach the model's own predict."""
    scale: Scale = "raw"
    if hasattr(obj, "decision_function"):
        predict = obj.decision_function
    else:
        predict = obj.predict
        scale = "raw" if model.outputs.link.is_identity else "response"
    of_table, called = _PredictTable(predict), f"{type(obj).__name__}.{predict.__name__}"
    own = OwnPredict(of_table, scale, RELATIVE_ROUNDING, called, "interpret-core")
    rule = OffsetRule("init_score")
    if scale == "raw":
        rule = replace(
            rule,
            predict=of_table.with_offsets,
            call_name=f"{called}(init_score=...)",
            relative_rounding=RELATIVE_ROUNDING,
        )
    edges = 0
    if model.terms:
        rows, edges = _probe_rows(obj)
        table = model.inputs.align_table(as_table(rows))[0]
        X = model.inputs.matrix(table)
        difference, tolerance = compare_predictions(
            model,
            model.raw_outputs(X),
            own.predict(table),
            scale=scale,
            relative=RELATIVE_ROUNDING,
            rounding_scale=model.rounding_scale(X),
            what="made row",
        )
        against = f"{import_path(obj)}.{predict.__name__}"
        model = replace(model, verdict=Verdict(len(X), edges, edges, difference, tolerance, against))
    return replace(model, own_predict=own, offset_rule=rule)


def _probe_rows(obj: Any) -> tuple[Any, int]:
    """Rows whose cells lie on the edges of bins, just below and between them, are missing or unseen categories; then rows in every two bins of each pair.

    Returns:
        a data frame; and how many edges there are.
    """
    import pandas as pd

    rng, values_of, edges = np.random.default_rng(0), [], 0
    for kind, levels in zip(obj.feature_types_in_, obj.bins_, strict=True):
        cells = [_cell_of_each_bin(kind, level) for level in levels] or [np.array([0.0, np.nan])]
        if kind == "continuous" and levels:
            cuts = np.unique(np.concatenate(levels))
            edges += len(cuts)
            cells += [np.nextafter(cuts, -np.inf), cuts + 0.5, np.array([1e300, -1e300])]
        values_of.append(np.concatenate(cells))
    rows = int(np.clip(max(map(len, values_of)), MIN_PROBE_ROWS, MAX_PROBE_ROWS))
    columns = [[_each_value(values, rows, rng)] for values in values_of]
    pairs = [features for features in obj.term_features_ if len(features) == 2]
    for features in pairs:
        first, second = (
            _cell_of_each_bin(obj.feature_types_in_[f], obj.bins_[f][_bin_key(obj, f, 2)[1]]) for f in features
        )
        both = np.indices((len(first), len(second))).reshape(2, -1)
        both = both[:, rng.permutation(both.shape[1])[: MAX_PAIR_ROWS // len(pairs)]]
        for j, column in enumerate(columns):
            if j in features:
                column.append((first, second)[features.index(j)][both[features.index(j)]])
            else:
                column.append(rng.choice(column[0], both.shape[1]))
    names = map(str, obj.feature_names_in_)
    return pd.DataFrame({name: np.concatenate(column) for name, column in zip(names, columns, strict=True)}), edges


def _each_value(values: Any, rows: int, rng: np.random.Generator) -> Any:
    """So many of the values, each at least once where there are no more, in any order."""
    at = np.concatenate([rng.permutation(len(values)), rng.integers(0, len(values), max(0, rows - len(values)))])[:rows]
    return values[rng.permutation(at)]


def _cell_of_each_bin(kind: str, level: Any) -> Any:
    """A cell in every bin of a feature: missing, below the first cut and on each cut, or missing, a category unseen and each that is known."""
    if kind == "continuous":
        cuts = np.asarray(level, dtype=np.float64)
        return np.concatenate([[np.nan], np.nextafter(cuts[:1], -np.inf) if len(cuts) else [0.0], cuts])
    unseen = next(text for text in (f"unseen {i}" for i in count()) if text not in level)
    return np.array([None, unseen, *level], dtype=object)
