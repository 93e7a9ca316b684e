"""LightGBM: live boosters and scikit-learn estimators, whose text model is parsed by text_format.py, like a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

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
from whybox.adapters.lightgbm.encoders import encoder_of_estimator
from whybox.adapters.lightgbm.text_format import read_text_model
from whybox.adapters.verification.verify import Domain, PredictOfRounds, verify_trees
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OwnPredict, Scale
from whybox.models.blackbox import RawScores
from whybox.models.inputs import Inputs, NumberEncoder

__all__ = ["RELATIVE_ROUNDING", "adapt", "predict_domain", "raw_scores"]

RELATIVE_ROUNDING: Final = 1e-12  # LightGBM sums leaves in float64 and writes them with 17 digits


def adapt(obj: Any) -> Model:
    """Read a Booster or an LGBM* estimator; after early stopping, the rounds up to the best one are used, as in its own predict."""
    refuse_overridden(obj, "lightgbm")
    booster, classes = obj, None
    class_names_of_bases = {c.__name__ for c in type(obj).__mro__}
    if "CVBooster" in class_names_of_bases:
        raise UnsupportedModelError(
            f"this CVBooster holds the {len(obj.boosters)} boosters of lightgbm.cv, one a fold, and its predict gives the predictions of each. "
            "Explain one of them, cvbooster.boosters[0], or a function of rows that returns the mean of their predictions."
        )
    if "Booster" not in class_names_of_bases:
        if "LGBMModel" not in class_names_of_bases or not hasattr(obj, "booster_"):
            raise UnsupportedModelError(
                f"this lightgbm {type(obj).__name__} is not a fitted model; call fit first, or pass the Booster inside."
            )
        _refuse_early_stop(obj)
        booster = obj.booster_
        classes = class_names(obj.classes_) if hasattr(obj, "_n_classes") and hasattr(obj, "classes_") else None
    if classes is not None:
        refuse_one_class(type(obj).__name__, classes)
    model = read_text_model(booster.model_to_string(), import_path(obj), classes)
    if booster is not obj:
        model = replace(model, inputs=replace(model.inputs, encoder=encoder_of_estimator(model.inputs.encoder)))
    n_outputs = len(model.outputs.names)
    # Random-forest mode averages its trees for predictions but not for raw scores, so there predictions are what we hold ourselves against.
    is_raw = bool((model.tree_weight == 1.0).all())
    predict = _PredictMatrix(FittedPart(booster, obj, _booster_of), is_raw)
    scale: Scale = "raw" if is_raw else "response"
    model = verify_trees(
        model,
        predict,
        scale=scale,
        relative=RELATIVE_ROUNDING,
        domain=predict_domain(model.inputs),
        against=f"{import_path(obj)}, {'raw scores' if is_raw else 'predictions'}",
        rounds=PredictOfRounds(predict.predict_rounds, n_outputs) if is_raw else None,
    )
    all_rounds, used_rounds = booster.current_iteration(), model.n_trees // n_outputs
    notes = (f"Early stopping: {used_rounds} of {all_rounds} rounds count.",) if used_rounds < all_rounds else ()
    own_predict = OwnPredict(
        _PredictTable(predict, model.inputs),
        scale,
        RELATIVE_ROUNDING,
        f"{type(obj).__name__}.predict({'raw_score=True' if is_raw else ''})",
        "lightgbm",
    )
    return replace(
        model,
        own_predict=own_predict,
        rounds_used=(used_rounds, all_rounds) if used_rounds < all_rounds else None,
        notes=notes,
    )


def raw_scores(obj: Any) -> RawScores | None:
    """Return the raw scores of a Booster or a fitted LGBM* estimator."""
    booster = getattr(obj, "booster_", None) if hasattr(obj, "get_params") else obj
    if booster is None:
        return None
    objective = str(booster.params.get("objective", getattr(obj, "objective_", "")))
    is_multiclass = objective in ("multiclass", "softmax")
    units = (
        "log-odds (softmax)"
        if is_multiclass
        else "log-odds"
        if objective.startswith(("binary", "multi"))
        else "raw score"
    )
    return RawScores(PredictWith(obj, "raw_score"), units, f"{type(obj).__name__}.predict(raw_score=True)")


def _booster_of(estimator: Any) -> Any:
    return estimator.booster_


def _refuse_early_stop(estimator: Any) -> None:
    """Refuse pred_early_stop, with which predict skips trees row by row; a Booster does not keep this parameter from training."""
    if str(estimator.get_params().get("pred_early_stop", False)).lower() not in ("false", "none", "0", "-"):
        raise UnsupportedModelError(
            f"this {type(estimator).__name__} has pred_early_stop=True, so its predict leaves out trees row by row and is not a sum over all of them. "
            "Set it to False with set_params(pred_early_stop=False), or explain booster_, which uses every tree."
        )


def predict_domain(inputs: Inputs) -> Domain:
    """The inputs that LightGBM's predict accepts."""
    encoder = inputs.encoder
    n_categories = (
        {c: len(categories or ()) for c, categories in encoder.categories.items()}
        if isinstance(encoder, NumberEncoder)
        else {}
    )
    return Domain(nan=True, infinite=True, categories=n_categories, unseen=True, sparse=True)


@final
@dataclass(frozen=True)
class _PredictMatrix:
    fitted: FittedPart
    is_raw: bool

    def __call__(self, rows: Any) -> Floats:
        with suppress_warnings():
            return as_columns(self.fitted().predict(rows, raw_score=self.is_raw, validate_features=False))

    def predict_rounds(self, rows: Floats, first: int, last: int) -> Floats:
        """Predict with some rounds."""
        with suppress_warnings():
            return as_columns(
                self.fitted().predict(
                    rows,
                    raw_score=self.is_raw,
                    start_iteration=first,
                    num_iteration=last - first,
                    validate_features=False,
                )
            )


@final
@dataclass(frozen=True)
class _PredictTable:
    """The booster's predict on pandas frames as they are (with categories), and on other rows through our encoding."""

    predict: _PredictMatrix
    inputs: Inputs

    def __call__(self, table: Table) -> Floats:
        if table.library == "pandas" and all(
            table.column(i).kind in ("number", "boolean", "category") for i in range(table.width)
        ):
            return self.predict(table.native)
        if table.is_matrix:  # of which LightGBM takes floats only
            floats = table.native.dtype in (np.float32, np.float64)
            return self.predict(table.native if floats else table.native.astype(np.float64))
        rows = (
            table.native
            if isinstance(table.native, np.ndarray) and table.native.dtype.kind in "fiub"
            else self.inputs.matrix(table)
        )
        return self.predict(rows)
