"""CatBoost: live models, saved as JSON by CatBoost and parsed by document.py, as a file is."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from whybox.adapters.catboost.document import raw_units, read
from whybox.adapters.catboost.encoders import CatBoostEncoder
from whybox.adapters.common import as_columns, class_names, import_path, quietly, refuse_overridden
from whybox.adapters.files.strict_document import parse_json
from whybox.adapters.verification.verify import Domain, verified
from whybox.data.table import Floats, Table, as_table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OwnPredict
from whybox.models.blackbox import RawScores
from whybox.models.trees import TreeEnsemble

__all__ = ["ROUNDING", "adapt", "decoder", "raw_scores"]

ROUNDING: Final = 1e-12  # CatBoost sums leaves in float64


def adapt(obj: Any) -> Model:
    """Read a CatBoost, CatBoostRegressor, CatBoostClassifier or CatBoostRanker."""
    if not hasattr(obj, "is_fitted") or not obj.is_fitted():
        raise UnsupportedModelError(f"this catboost {type(obj).__name__} is not a fitted model; call fit first.")
    refuse_overridden(obj, "catboost")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        try:
            obj.save_model(str(path), format="json")
        except Exception as error:  # CatBoost does not write every model as JSON
            raise UnsupportedModelError(_unwritten(obj, _first_line(error))) from error
        doc = parse_json(path.read_bytes())
    classes = class_names(obj.classes_) if len(obj.classes_) else None
    model = read(doc, import_path(obj), classes)
    predict = _Raw(obj)
    model = verified(
        model,
        predict,
        scale="raw",
        relative=ROUNDING,
        domain=Domain(categories={}),
        decode=decoder(model),
        against=f"{import_path(obj)}, raw values",
    )
    return replace(
        model,
        own_predict=OwnPredict(
            predict.table, "raw", ROUNDING, f"{type(obj).__name__}.predict(prediction_type='RawFormulaVal')", "catboost"
        ),
    )


def raw_scores(obj: Any) -> RawScores | None:
    """Return how a model of CatBoost answers on its additive scale; None for a ranker, which predicts on it."""
    if type(obj).__name__ == "CatBoostRanker" or not obj.is_fitted():
        return None
    loss = str(obj.get_all_params().get("loss_function", "")).partition(":")[0]
    return RawScores(_Raw(obj), raw_units(loss), f"{type(obj).__name__}.predict(prediction_type='RawFormulaVal')")


def _unwritten(obj: Any, said: str) -> str:
    """Why CatBoost does not write a model as JSON, and what to do."""
    start = f"CatBoost cannot write this {type(obj).__name__} as JSON, from which it is read ({said}). "
    if "invalid float value" in said:
        return (
            f"{start}It was trained with infinite values, and splits at them, which JSON has no number for. Train it with finite numbers in their place, "
            "for example numpy.clip(X, -1e30, 1e30)."
        )
    return f"{start}Models with text or embedding features, which CatBoost turns into numbers by other models, cannot be explained exactly."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def decoder(model: TreeEnsemble) -> _Decode | None:
    """Return how to turn a model matrix into rows for CatBoost, where they differ."""
    encoder = model.inputs.encoder
    plain = (
        isinstance(encoder, CatBoostEncoder)
        and not encoder.categorical
        and encoder.floats == tuple(range(len(model.inputs.names)))
    )
    return None if plain or not isinstance(encoder, CatBoostEncoder) else _Decode(encoder, len(model.inputs.names))


@final
@dataclass(frozen=True)
class _Decode:
    """Float columns as made; categories cannot be made from hashes, so these rows hold categories that training did not have.

    Real categories are compared on the user's own rows, whenever something is explained.
    """

    encoder: CatBoostEncoder
    width: int

    def __call__(self, matrix: Floats) -> Any:
        rows = np.empty((len(matrix), self.width), dtype=object)
        for i, position in enumerate(self.encoder.floats):
            rows[:, position] = matrix[:, i]
        for position in self.encoder.categorical:
            rows[:, position] = [f"category {i % 5} that training did not have" for i in range(len(matrix))]
        return rows


@final
@dataclass(frozen=True)
class _Raw:
    model: Any

    def __call__(self, rows: Any) -> Floats:
        ranker = type(self.model).__name__ == "CatBoostRanker"  # whose predict is raw and takes no prediction_type
        with quietly():
            return as_columns(
                self.model.predict(rows) if ranker else self.model.predict(rows, prediction_type="RawFormulaVal")
            )

    def table(self, table: Table) -> Floats:
        """Raw values of the user's rows; frames CatBoost does not read go as pandas."""
        native = table.native
        if table.is_matrix:
            native = _for_catboost(native)
        elif not isinstance(native, np.ndarray) and table.library != "pandas":
            native = as_table(table.to_pandas()).native
        return self(native)


def _for_catboost(rows: Any) -> Any:
    """A sparse matrix as CatBoost takes it: not an array of scipy's newer kind, and with indices of 32 bits."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(rows)
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return rows
