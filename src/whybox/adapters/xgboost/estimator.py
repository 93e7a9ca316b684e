"""XGBoost: live boosters and scikit-learn estimators, whose model document is parsed by document.py, like a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from whybox.adapters.common import (
    FittedPart,
    PredictWith,
    as_columns,
    class_names,
    import_path,
    refuse_one_class,
    refuse_overridden,
)
from whybox.adapters.files.strict_document import CheckedNode
from whybox.adapters.files.ubjson import parse_ubjson
from whybox.adapters.verification.verify import Domain, PredictOfRounds, verify_linear, verify_trees
from whybox.adapters.xgboost.category_names import DamagedNamesEncoder
from whybox.adapters.xgboost.document import RELATIVE_ROUNDING, ReadContext, read_document
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OffsetRule, OwnPredict
from whybox.models.blackbox import RawScores
from whybox.models.inputs import NumberEncoder
from whybox.models.linear import Linear
from whybox.models.trees import TreeEnsemble

__all__ = ["adapt", "raw_scores"]


def adapt(obj: Any) -> Model:
    """Read a Booster or an XGB* estimator; trees after the best iteration are used as in the object's own predict."""
    refuse_overridden(obj, "xgboost")
    name = type(obj).__name__
    if name == "Booster":
        return _read_and_verify(obj, None, obj)
    if not hasattr(obj, "get_booster"):
        raise UnsupportedModelError(f"xgboost's {name} is not a model; pass a Booster or a fitted XGB* estimator.")
    from sklearn.exceptions import NotFittedError

    try:
        booster = obj.get_booster()
    except NotFittedError:
        raise UnsupportedModelError(f"this {name} is not fitted; call fit first.") from None
    return _read_and_verify(booster, obj, obj)


def raw_scores(obj: Any) -> RawScores | None:
    """Return the raw scores of a fitted XGB* estimator; None for a Booster, which accepts no plain rows."""
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


def _read_and_verify(booster: Any, estimator: Any, obj: Any) -> Model:
    iterations = None
    if booster.num_boosted_rounds() == 0 and estimator is None:
        raise UnsupportedModelError("this Booster has no trees; train it first.")
    if estimator is not None:
        iterations = _best_rounds(estimator)
    missing = float("nan") if estimator is None or estimator.missing is None else float(estimator.missing)
    classes = class_names(estimator.classes_) if hasattr(estimator, "n_classes_") else None
    if classes is not None:
        refuse_one_class(type(obj).__name__, classes)
    doc = parse_ubjson(bytes(booster.save_raw("ubj")))
    # The estimator says which rounds count; a bare Booster counts them all.
    attributes = doc.value["learner"].pop("attributes", None)
    best_iteration = (attributes or {}).get("best_iteration")
    model = read_document(doc, ReadContext(import_path(obj), iterations, missing, classes, live=True))
    if estimator is None and best_iteration is not None:
        model = replace(
            model,
            notes=(f"The booster records best_iteration={best_iteration}; all rounds count, as in Booster.predict.",),
        )
    used_rounds = None if iterations is None else (0, iterations)
    fitted = FittedPart(booster, obj, _booster_of)
    if isinstance(model, TreeEnsemble):
        predict = _PredictMatrix(fitted, used_rounds, len(model.outputs.names))
        per_round = _trees_per_round(doc, model, iterations or booster.num_boosted_rounds())
        model = verify_trees(
            model,
            predict,
            scale="raw",
            relative=RELATIVE_ROUNDING,
            domain=predict_domain(model),
            against=f"{import_path(obj)}, margins",
            rounds=None if per_round is None else PredictOfRounds(predict.predict_rounds, per_round),
        )
    elif isinstance(model, Linear):
        predict = _PredictMatrix(fitted, used_rounds, len(model.outputs.names))
        # Which base score counts for several outputs differs between versions: hold on to what this one predicts for a row of zeros.
        base = predict(np.zeros((1, model.inputs.width)))[0]
        if np.abs(base - model.base_values).max() > RELATIVE_ROUNDING * np.abs(base).max():
            without = predict.of_zeros_without_base_score(model.inputs.width)
            model = replace(model, base_values=base, offset_rule=OffsetRule("base_margin", base - without))
        model = verify_linear(model, predict, relative=RELATIVE_ROUNDING, against=f"{import_path(obj)}, margins")
    name = type(obj).__name__
    of_table = _PredictTable(fitted, used_rounds, missing, len(model.outputs.names), isinstance(model, TreeEnsemble))
    what, rule = f"{name}.predict(output_margin=True)", model.offset_rule
    assert rule is not None  # noqa: S101  # every document has a base score
    return replace(
        model,
        own_predict=OwnPredict(of_table, "raw", RELATIVE_ROUNDING, what, "xgboost"),
        offset_rule=replace(
            rule,
            predict=of_table.with_offsets,
            call_name=f"{name}.predict(base_margin=..., output_margin=True)",
            relative_rounding=RELATIVE_ROUNDING,
        ),
    )


def _trees_per_round(doc: CheckedNode, model: TreeEnsemble, rounds: int) -> int | None:
    """The number of trees a round; None if rounds differ, because training was continued with another num_parallel_tree."""
    booster = doc.value["learner"]["gradient_booster"]
    starts = booster.get("gbtree", booster)["model"].get("iteration_indptr")
    all_rounds_alike = starts is None or len(np.unique(np.diff(starts))) < 2
    return model.n_trees // rounds if rounds and all_rounds_alike and model.n_trees % rounds == 0 else None


def _booster_of(estimator: Any) -> Any:
    return estimator.get_booster()


def _best_rounds(estimator: Any) -> int | None:
    try:
        best_iteration = estimator.best_iteration
    except AttributeError:
        return None
    return int(best_iteration) + 1


def predict_domain(model: TreeEnsemble) -> Domain:
    """The inputs that XGBoost's predict accepts."""
    encoder = model.inputs.encoder
    encoder = encoder.numbers if isinstance(encoder, DamagedNamesEncoder) else encoder
    n_categories = (
        {c: len(categories) for c, categories in encoder.categories.items() if categories is not None}
        if isinstance(encoder, NumberEncoder)
        else {}
    )
    return Domain(nan=True, infinite=False, categories=n_categories, unseen=False, sparse=True)


@final
@dataclass(frozen=True)
class _PredictMatrix:
    """Margins of the booster on the model's own matrix."""

    fitted: FittedPart
    used_rounds: tuple[int, int] | None
    n_outputs: int

    def __call__(self, matrix: Floats) -> Floats:
        import xgboost

        booster = self.fitted()
        data = xgboost.DMatrix(
            matrix.astype(np.float32),  # as an array, or as a sparse matrix
            feature_names=booster.feature_names,
            feature_types=booster.feature_types,
            enable_categorical=True,
        )
        margins = booster.predict(
            data, output_margin=True, iteration_range=self.used_rounds or (0, 0), strict_shape=True
        )
        return as_columns(margins)

    def of_zeros_without_base_score(self, width: int) -> Floats:
        """Margins of a row of zeros, (outputs,), whose base score is replaced by a base margin of zero."""
        import xgboost

        booster, margin = self.fitted(), np.zeros((1, self.n_outputs), np.float32)
        data = xgboost.DMatrix(
            np.zeros((1, width), np.float32), feature_names=booster.feature_names, base_margin=margin
        )
        margins: Floats = as_columns(booster.predict(data, output_margin=True, strict_shape=True))[0]
        return margins

    def predict_rounds(self, matrix: Floats, first: int, last: int) -> Floats:
        """Margins with some rounds, for columns of numbers."""
        with suppress_warnings():
            margins = self.fitted().inplace_predict(
                matrix.astype(np.float32), iteration_range=(first, last), predict_type="margin", strict_shape=True
            )
        return as_columns(margins)


@final
@dataclass(frozen=True)
class _PredictTable:
    """Margins of the booster on the user's rows, through the library's own reading of the frame."""

    fitted: FittedPart
    used_rounds: tuple[int, int] | None
    missing: float
    n_outputs: int
    is_tree_model: bool

    def __call__(self, table: Table) -> Floats:
        booster = self.fitted()
        if self._reads_array_directly(table.native):  # the booster reads such an array as it is, and twice as fast
            with suppress_warnings():
                margins = booster.inplace_predict(
                    table.native,
                    iteration_range=self.used_rounds or (0, 0),
                    predict_type="margin",
                    missing=self.missing,
                    strict_shape=True,
                )
            return as_columns(margins)
        return self._of_matrix(table, None)

    def with_offsets(self, table: Table, offsets: Floats) -> Floats:
        """Margins of rows whose base margins, (rows, outputs), take the place of the base score."""
        return self._of_matrix(table, offsets)

    def _of_matrix(self, table: Table, offsets: Floats | None) -> Floats:
        import xgboost

        booster = self.fitted()
        with suppress_warnings():
            names = booster.feature_names
            rows = (
                table.native
                if table.is_matrix or (isinstance(table.native, np.ndarray) and table.native.dtype != object)
                else self._as_frame(table, names)
            )
            data = xgboost.DMatrix(
                rows,
                missing=self.missing,
                feature_names=names,
                feature_types=booster.feature_types,
                base_margin=offsets if self.n_outputs > 1 or offsets is None else offsets[:, 0],
                enable_categorical=True,
            )
            return as_columns(
                booster.predict(data, output_margin=True, iteration_range=self.used_rounds or (0, 0), strict_shape=True)
            )

    def _reads_array_directly(self, rows: Any) -> bool:
        is_float_array = isinstance(rows, np.ndarray) and rows.dtype in (np.float32, np.float64)
        return is_float_array and self.is_tree_model and "c" not in (self.fitted.part.feature_types or [])

    def _as_frame(self, table: Table, names: list[str] | None) -> Any:
        if table.library in ("pandas", "polars"):
            return (
                table.native
                if names is None or list(table.names) == list(names)
                else table.with_names(names).to_pandas()
            )
        frame = table.to_pandas()
        for i, feature_type in enumerate(self.fitted.part.feature_types or []):
            if (
                feature_type == "c" and table.column(i).kind == "string"
            ):  # Arrow tables come from files, which write categories as text
                frame[frame.columns[i]] = frame.iloc[:, i].astype("category")
        return frame
