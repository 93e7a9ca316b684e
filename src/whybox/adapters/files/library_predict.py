"""What a model file's own library predicts for rows in the user's columns, asked in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from whybox.adapters.catboost.encoders import CatBoostEncoder
from whybox.adapters.files import subprocess_predict
from whybox.data.sparse_rows import from_dense
from whybox.data.table import Floats, Table
from whybox.errors import ModelFileError
from whybox.explanation.evidence import library_versions
from whybox.models.base import FileLibrary, Model, OwnPredict, Scale
from whybox.models.columns_read import columns_read
from whybox.models.inputs import Inputs
from whybox.models.trees import TreeEnsemble

__all__ = ["lightgbm_scale", "with_file_library"]

MAX_SECONDS: Final = 60  # that an answer waits for the library
MAX_DENSE_COLUMNS: Final = 2048  # rows of wider models have the columns that are read alone


def with_file_library(
    path: Path, model: Model, library: str, *arguments: str, scale: Scale = "raw", relative: float
) -> Model:
    """Return a model that knows the library of its file.

    Args:
        path: the file. library: its name. arguments: what the library's program takes, see subprocess_predict.
        scale: of what it predicts. relative: rounding of its sums.
    """
    if not subprocess_predict.is_installed(library):
        return replace(model, file_library=FileLibrary(library, f"{library} is not installed"))
    columns = None
    if model.inputs.width > MAX_DENSE_COLUMNS and library != "catboost":
        columns = columns_read(model)
    predict = _PredictOfFile(library, path.resolve(), _library_signature(path), model.inputs, columns, arguments)
    way = f"by asking {library} {library_versions(library).get(library, '')} in a process of its own"
    return replace(model, file_library=FileLibrary(library, OwnPredict(predict, scale, relative, way, library)))


def lightgbm_scale(model: Model) -> Scale:
    """The scale on which LightGBM predicts: a forest's averages are no raw scores."""
    return "raw" if not isinstance(model, TreeEnsemble) or bool((model.tree_weight == 1.0).all()) else "response"


@final
@dataclass(frozen=True)
class _PredictOfFile:
    """Predictions of the library for tables aligned with the model.

    Attributes:
        signature: size and time of the file when it was read. inputs: of the whole model. columns: the model columns that are read; None: all are passed.
    """

    library: str
    path: Path
    signature: tuple[int, int]
    inputs: Inputs
    columns: Any
    arguments: tuple[str, ...]

    def __call__(self, table: Table) -> Floats:
        if _library_signature(self.path) != self.signature:
            raise ModelFileError(f"{self.path.name} has changed since it was read.")
        rows: Any
        texts = None
        encoder = self.inputs.encoder
        if isinstance(encoder, CatBoostEncoder) and len(self.arguments) > 1:
            rows = encoder.float_columns(table)
            texts = {i: encoder.category_texts(table.column(i)) for i in sorted(encoder.categorical_positions)}
        elif self.columns is None:
            rows = self.inputs.matrix(table)
        else:
            narrow = self.inputs.select_columns(self.columns).matrix(table)
            rows = from_dense(narrow, columns=self.columns, width=self.inputs.width)
        predictions = subprocess_predict.predict_in_subprocess(
            self.library, self.path, rows, *self.arguments, categories=texts, seconds=MAX_SECONDS
        )
        return np.asarray(predictions, dtype=np.float64).reshape(len(table), -1)


def _library_signature(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
