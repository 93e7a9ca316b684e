"""LightGBM: live boosters and scikit-learn estimators, dumped as text and parsed by text_format.py, as a file is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

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
from whybox.adapters.lightgbm.text_format import of_estimator, read
from whybox.adapters.verification.verify import Domain, Rounds, verified
from whybox.data.table import Floats, Table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OwnPredict, Scale
from whybox.models.blackbox import RawScores
from whybox.models.inputs import Inputs, NumberEncoder

__all__ = ["ROUNDING", "adapt", "domain", "raw_scores"]

ROUNDING: Final = 1e-12  # LightGBM sums leaves in float64 and writes them with 17 digits


def adapt(obj: Any) -> Model:
    """Read a Booster or an LGBM* estimator; after early stopping, the rounds up to the best one count, as in its own predict."""
    refuse_overridden(obj, "lightgbm")
    booster, classes = obj, None
    kinds = {c.__name__ for c in type(obj).__mro__}
    if "Booster" not in kinds:
        if "LGBMModel" not in kinds or not hasattr(obj, "booster_"):
            raise UnsupportedModelError(
                f"this lightgbm {type(obj).__name__} is not a fitted model; call fit first, or pass the Booster inside."
            )
        _refuse_early_stop(obj)
        booster = obj.booster_
        classes = class_names(obj.classes_) if hasattr(obj, "_n_classes") and hasattr(obj, "classes_") else None
    if classes is not None:
        refuse_one_class(type(obj).__name__, classes)
    model = read(booster.model_to_string(), import_path(obj), classes)
    if booster is not obj:
        model = replace(model, inputs=replace(model.inputs, encoder=of_estimator(model.inputs.encoder)))
    k = len(model.outputs.names)
    # Random-forest mode averages its trees for predictions but not for raw scores, so there predictions are what we hold ourselves against.
    raw = bool((model.tree_weight == 1.0).all())
    predict = _OnMatrix(booster, raw)
    scale: Scale = "raw" if raw else "response"
    model = verified(
        model,
        predict,
        scale=scale,
        relative=ROUNDING,
        domain=domain(model.inputs),
        against=f"{import_path(obj)}, {'raw scores' if raw else 'predictions'}",
        rounds=Rounds(predict.rounds, k) if raw else None,
    )
    total, kept = booster.current_iteration(), model.n_trees // k
    notes = (f"Early stopping: {kept} of {total} rounds count.",) if kept < total else ()
    own = OwnPredict(
        _OnTable(predict, model.inputs),
        scale,
        ROUNDING,
        f"{type(obj).__name__}.predict({'raw_score=True' if raw else ''})",
        "lightgbm",
    )
    return replace(model, own_predict=own, rounds_used=(kept, total) if kept < total else None, notes=notes)


def raw_scores(obj: Any) -> RawScores | None:
    """Return how a Booster or a fitted LGBM* estimator answers on its additive scale."""
    booster = getattr(obj, "booster_", None) if hasattr(obj, "get_params") else obj
    if booster is None:
        return None
    objective = str(booster.params.get("objective", getattr(obj, "objective_", "")))
    several = objective in ("multiclass", "softmax")
    units = (
        "log-odds (softmax)" if several else "log-odds" if objective.startswith(("binary", "multi")) else "raw score"
    )
    return RawScores(PredictWith(obj, "raw_score"), units, f"{type(obj).__name__}.predict(raw_score=True)")


def _refuse_early_stop(estimator: Any) -> None:
    """Refuse pred_early_stop: predict then skips trees, by the row; a Booster takes no such parameter from its training."""
    if str(estimator.get_params().get("pred_early_stop", False)).lower() not in ("false", "none", "0", "-"):
        raise UnsupportedModelError(
            f"this {type(estimator).__name__} has pred_early_stop=True, so its predict leaves out trees row by row and is not a sum over all of them. "
            "Set it to False with set_params(pred_early_stop=False), or explain booster_, which uses every tree."
        )


def domain(inputs: Inputs) -> Domain:
    """What rows LightGBM's predict takes."""
    encoder = inputs.encoder
    cats = (
        {c: len(known or ()) for c, known in encoder.categories.items()} if isinstance(encoder, NumberEncoder) else {}
    )
    return Domain(nan=True, infinite=True, categories=cats, unseen=True, sparse=True)


@final
@dataclass(frozen=True)
class _OnMatrix:
    booster: Any
    raw: bool

    def __call__(self, rows: Any) -> Floats:
        with quietly():
            return as_columns(self.booster.predict(rows, raw_score=self.raw, validate_features=False))

    def rounds(self, rows: Floats, first: int, last: int) -> Floats:
        """Predict from some rounds only."""
        with quietly():
            return as_columns(
                self.booster.predict(
                    rows,
                    raw_score=self.raw,
                    start_iteration=first,
                    num_iteration=last - first,
                    validate_features=False,
                )
            )


@final
@dataclass(frozen=True)
class _OnTable:
    """The booster's own reading of pandas frames (its categories too); other rows through our encoding."""

    predict: _OnMatrix
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
