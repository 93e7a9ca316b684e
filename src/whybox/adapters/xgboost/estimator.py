"""XGBoost: live boosters and scikit-learn estimators. The model document is parsed by document.py, as a file's is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.adapters.common import (
    PredictWith,
    as_columns,
    class_names,
    import_path,
    quietly,
    refuse_one_class,
    refuse_overridden,
)
from whybox.adapters.files.strict_document import CheckedNode
from whybox.adapters.files.ubjson import parse_ubjson
from whybox.adapters.verification.verify import Domain, Rounds, verified, verified_linear
from whybox.adapters.xgboost.category_names import Garbled
from whybox.adapters.xgboost.document import ROUNDING, Document, read
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OwnPredict
from whybox.models.blackbox import RawScores
from whybox.models.inputs import NumberEncoder
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["adapt", "raw_scores"]


def adapt(obj: Any) -> Model:
    """Read a Booster or an XGB* estimator; trees after the best iteration count as in the object's own predict."""
    refuse_overridden(obj, "xgboost")
    name = type(obj).__name__
    if name == "Booster":
        return _finish(obj, None, obj)
    if not hasattr(obj, "get_booster"):
        raise UnsupportedModelError(f"xgboost's {name} is not a model; pass a Booster or a fitted XGB* estimator.")
    from sklearn.exceptions import NotFittedError

    try:
        booster = obj.get_booster()
    except NotFittedError:
        raise UnsupportedModelError(f"this {name} is not fitted; call fit first.") from None
    return _finish(booster, obj, obj)


def raw_scores(obj: Any) -> RawScores | None:
    """Return how a fitted XGB* estimator answers on its additive scale; None for a Booster, which takes no plain rows."""
    if not hasattr(obj, "get_booster"):
        return None
    objective = str(getattr(obj, "objective", ""))
    several = objective.startswith("multi:")
    units = (
        "log-odds (softmax)"
        if several
        else "log-odds"
        if objective in ("binary:logistic", "reg:logistic")
        else "margin"
    )
    return RawScores(PredictWith(obj, "output_margin"), units, f"{type(obj).__name__}.predict(output_margin=True)")


def _finish(booster: Any, estimator: Any, obj: Any) -> Model:
    iterations = None
    if booster.num_boosted_rounds() == 0 and estimator is None:
        raise UnsupportedModelError("this Booster has no trees; train it first.")
    if estimator is not None:
        iterations = _rounds(estimator)
    missing = float("nan") if estimator is None or estimator.missing is None else float(estimator.missing)
    classes = class_names(estimator.classes_) if hasattr(estimator, "n_classes_") else None
    if classes is not None:
        refuse_one_class(type(obj).__name__, classes)
    doc = parse_ubjson(bytes(booster.save_raw("ubj")))
    # The estimator says which rounds count; a bare Booster counts them all.
    attributes = doc.value["learner"].pop("attributes", None)
    best = (attributes or {}).get("best_iteration")
    model = read(doc, Document(import_path(obj), iterations, missing, classes, live=True))
    if estimator is None and best is not None:
        model = replace(
            model, notes=(f"The booster records best_iteration={best}; all rounds count, as in Booster.predict.",)
        )
    kept = None if iterations is None else (0, iterations)
    if isinstance(model, TreeEnsemble):
        predict = _OnMatrix(booster, kept, len(model.outputs.names))
        per_round = _trees_a_round(doc, model, iterations or booster.num_boosted_rounds())
        model = verified(
            model,
            predict,
            scale="raw",
            relative=ROUNDING,
            domain=domain(model),
            against=f"{import_path(obj)}, margins",
            rounds=None if per_round is None else Rounds(predict.some, per_round),
        )
    elif isinstance(model, Linear):
        predict = _OnMatrix(booster, kept, len(model.outputs.names))
        # Which base score counts for several outputs differs between versions: hold on to what this one predicts for a row of zeros.
        base = predict(np.zeros((1, model.inputs.width)))[0]
        if np.abs(base - model.base_values).max() > ROUNDING * np.abs(base).max():
            model = replace(model, base_values=base)
        model = verified_linear(model, predict, relative=ROUNDING, against=f"{import_path(obj)}, margins")
    what = f"{type(obj).__name__}.predict(output_margin=True)"
    return replace(
        model,
        own_predict=OwnPredict(
            _OnTable(booster, kept, missing, len(model.outputs.names), isinstance(model, TreeEnsemble)),
            "raw",
            ROUNDING,
            what,
            "xgboost",
        ),
    )


def _trees_a_round(doc: CheckedNode, model: TreeEnsemble, rounds: int) -> int | None:
    """How many trees a round has, None where rounds differ: training may go on with another num_parallel_tree."""
    booster = doc.value["learner"]["gradient_booster"]
    starts = booster.get("gbtree", booster)["model"].get("iteration_indptr")
    even = starts is None or len(np.unique(np.diff(starts))) < 2
    return model.n_trees // rounds if rounds and even and model.n_trees % rounds == 0 else None


def _rounds(estimator: Any) -> int | None:
    try:
        best = estimator.best_iteration
    except AttributeError:
        return None
    return int(best) + 1


def domain(model: TreeEnsemble) -> Domain:
    """What rows XGBoost's predict takes."""
    encoder = model.inputs.encoder
    encoder = encoder.base if isinstance(encoder, Garbled) else encoder
    cats = (
        {c: len(known) for c, known in encoder.categories.items() if known is not None}
        if isinstance(encoder, NumberEncoder)
        else {}
    )
    return Domain(nan=True, infinite=False, categories=cats, unseen=False, sparse=True)


@final
@dataclass(frozen=True)
class _OnMatrix:
    """Margins of the booster on the model's own matrix."""

    booster: Any
    rounds: tuple[int, int] | None
    outputs: int

    def __call__(self, matrix: Floats) -> Floats:
        import xgboost

        data = xgboost.DMatrix(
            matrix.astype(np.float32),  # as an array, or as a sparse matrix
            feature_names=self.booster.feature_names,
            feature_types=self.booster.feature_types,
            enable_categorical=True,
        )
        margins = self.booster.predict(
            data, output_margin=True, iteration_range=self.rounds or (0, 0), strict_shape=True
        )
        return as_columns(margins)

    def some(self, matrix: Floats, first: int, last: int) -> Floats:
        """Margins of some rounds, for columns of numbers."""
        with quietly():
            margins = self.booster.inplace_predict(
                matrix.astype(np.float32), iteration_range=(first, last), predict_type="margin", strict_shape=True
            )
        return as_columns(margins)


@final
@dataclass(frozen=True)
class _OnTable:
    """Margins of the booster on the user's rows, through the library's own reading of the frame."""

    booster: Any
    rounds: tuple[int, int] | None
    missing: float
    outputs: int
    trees: bool

    def __call__(self, table: Table) -> Floats:
        import xgboost

        if self._plain(table.native):  # the booster reads such an array as it is, and twice as fast
            with quietly():
                margins = self.booster.inplace_predict(
                    table.native,
                    iteration_range=self.rounds or (0, 0),
                    predict_type="margin",
                    missing=self.missing,
                    strict_shape=True,
                )
            return as_columns(margins)
        with quietly():
            names = self.booster.feature_names
            rows = (
                table.native
                if table.is_matrix or (isinstance(table.native, np.ndarray) and table.native.dtype != object)
                else self._frame(table, names)
            )
            data = xgboost.DMatrix(
                rows,
                missing=self.missing,
                feature_names=names,
                feature_types=self.booster.feature_types,
                enable_categorical=True,
            )
            return as_columns(
                self.booster.predict(data, output_margin=True, iteration_range=self.rounds or (0, 0), strict_shape=True)
            )

    def _plain(self, rows: Any) -> bool:
        numbers = isinstance(rows, np.ndarray) and rows.dtype in (np.float32, np.float64)
        return numbers and self.trees and "c" not in (self.booster.feature_types or [])

    def _frame(self, table: Table, names: list[str] | None) -> Any:
        if table.library in ("pandas", "polars"):
            return (
                table.native if names is None or list(table.names) == list(names) else table.renamed(names).to_pandas()
            )
        frame = table.to_pandas()
        for i, kind in enumerate(self.booster.feature_types or []):
            if (
                kind == "c" and table.column(i).kind == "string"
            ):  # Arrow tables come from files, which write categories as text
                frame[frame.columns[i]] = frame.iloc[:, i].astype("category")
        return frame
