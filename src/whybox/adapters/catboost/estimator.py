"""CatBoost: live models, saved as JSON by CatBoost and parsed by document.py, like a file."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from whybox.adapters.catboost.document import read_document
from whybox.adapters.catboost.encoders import CatBoostEncoder
from whybox.adapters.catboost.losses import raw_units
from whybox.adapters.common import as_columns, class_names, import_path, refuse_overridden
from whybox.adapters.files.strict_document import parse_json
from whybox.adapters.verification.verify import Domain, verify_trees
from whybox.core.library_calls import suppress_warnings
from whybox.data.table import Floats, Table, as_table
from whybox.errors import UnsupportedModelError
from whybox.models.base import Model, OffsetRule, OwnPredict
from whybox.models.blackbox import RawScores
from whybox.models.trees import TreeEnsemble

__all__ = ["RELATIVE_ROUNDING", "adapt", "raw_scores", "row_decoder"]

RELATIVE_ROUNDING: Final = 1e-12  # CatBoost sums leaves in float64
OFFSET_ROUNDING: Final = 1e-6  # and keeps baselines in float32


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
            raise UnsupportedModelError(_why_not_json(obj, _first_line(error))) from error
        doc = parse_json(path.read_bytes())
    classes = class_names(obj.classes_) if len(obj.classes_) else None
    model = read_document(doc, import_path(obj), classes)
    predict = _RawPredict(obj)
    model = verify_trees(
        model,
        predict,
        scale="raw",
        relative=RELATIVE_ROUNDING,
        domain=Domain(categories={}),
        decode=row_decoder(model),
        against=f"{import_path(obj)}, raw values",
    )
    return replace(
        model,
        own_predict=OwnPredict(
            predict.of_table,
            "raw",
            RELATIVE_ROUNDING,
            f"{type(obj).__name__}.predict(prediction_type='RawFormulaVal')",
            "catboost",
        ),
        offset_rule=OffsetRule(
            "baseline",
            predict=predict.with_offsets,
            call_name=f"{type(obj).__name__}.predict(Pool(..., baseline=...), prediction_type='RawFormulaVal')",
            relative_rounding=OFFSET_ROUNDING,
        ),
    )


def raw_scores(obj: Any) -> RawScores | None:
    """Return the raw scores of a CatBoost model; None for a ranker, whose predictions are raw scores."""
    if type(obj).__name__ == "CatBoostRanker" or not obj.is_fitted():
        return None
    try:
        units = raw_units(str(obj.get_all_params().get("loss_function", "")).partition(":")[0])
    except Exception:  # of a sum of models with several losses (catboost.sum_models) no parameters are kept
        units = "raw value"
    return RawScores(_RawPredict(obj), units, f"{type(obj).__name__}.predict(prediction_type='RawFormulaVal')")


def _why_not_json(obj: Any, message: str) -> str:
    """Explain why CatBoost does not write a model as JSON, and what to do."""
    start = f"CatBoost cannot write this {type(obj).__name__} as JSON, from which it is read ({message}). "
    if "invalid float value" in message:
        return (
            f"{start}It was trained with infinite values, and splits at them, which JSON has no number for. Train it with finite numbers in their place, "
            "for example numpy.clip(X, -1e30, 1e30)."
        )
    return f"{start}Models with text or embedding features, which CatBoost turns into numbers by other models, cannot be explained exactly."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def row_decoder(model: TreeEnsemble) -> _RowDecoder | None:
    """Return a converter from the model matrix to rows for CatBoost, or None if they are equal."""
    encoder = model.inputs.encoder
    is_plain = (
        isinstance(encoder, CatBoostEncoder)
        and not encoder.categorical_positions
        and encoder.float_positions == tuple(range(len(model.inputs.names)))
    )
    return (
        None if is_plain or not isinstance(encoder, CatBoostEncoder) else _RowDecoder(encoder, len(model.inputs.names))
    )


@final
@dataclass(frozen=True)
class _RowDecoder:
    """Float columns as made; categories cannot be made from hashes, so these rows hold categories that training did not have.

    Real categories are compared on the user's own rows, whenever something is explained.
    """

    encoder: CatBoostEncoder
    width: int

    def __call__(self, matrix: Floats) -> Any:
        rows = np.empty((len(matrix), self.width), dtype=object)
        for i, position in enumerate(self.encoder.float_positions):
            rows[:, position] = matrix[:, i]
        for position in self.encoder.categorical_positions:
            rows[:, position] = [f"category {i % 5} that training did not have" for i in range(len(matrix))]
        return rows


@final
@dataclass(frozen=True)
class _RawPredict:
    model: Any

    def __call__(self, rows: Any) -> Floats:
        ranker = type(self.model).__name__ == "CatBoostRanker"  # whose predict is raw and takes no prediction_type
        with suppress_warnings():
            return as_columns(
                self.model.predict(rows) if ranker else self.model.predict(rows, prediction_type="RawFormulaVal")
            )

    def of_table(self, table: Table) -> Floats:
        """Raw values of the user's rows; frames that CatBoost does not read are converted to pandas."""
        return self(_rows_for_catboost(table))

    def with_offsets(self, table: Table, offsets: Floats) -> Floats:
        """Raw values of the user's rows with baselines, (rows, outputs)."""
        from catboost import Pool

        rows, categorical = _rows_for_catboost(table), list(self.model.get_cat_feature_indices())
        baseline = offsets if offsets.shape[1] > 1 else offsets[:, 0]
        return self(Pool(rows, cat_features=categorical or None, baseline=baseline))


def _rows_for_catboost(table: Table) -> Any:
    """The user's rows in a container that CatBoost reads."""
    native = table.native
    if table.is_matrix:
        return _as_csr_of_32_bits(native)
    if not isinstance(native, np.ndarray) and table.library != "pandas":
        return as_table(table.to_pandas()).native
    return native


def _as_csr_of_32_bits(rows: Any) -> Any:
    """A sparse matrix that CatBoost accepts: csr_matrix, not csr_array, with 32-bit indices."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(rows)
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    return rows
