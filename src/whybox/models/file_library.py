"""The library that wrote a model file, asked about rows of an answer in a process of its own.

A model that was read from a file has no predict of its own in this process. Where the file's library is installed, another process loads the file with it, so
that its threads, its memory and its crashes stay there. Starting it takes about as long as importing the library, so a file is asked about with one answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from whybox.data.table import Floats, Table
from whybox.errors import ModelFileError
from whybox.models.base import Model, Scale

__all__ = ["LibraryAnswer", "ask_library"]


@final
@dataclass(frozen=True)
class LibraryAnswer:
    """What the library of a model file predicts.

    Attributes:
        predictions: (rows, outputs) on `scale`; None: it was not asked, or could not answer.
        call_name: how it was asked, in words that follow "were recomputed": ``"by asking xgboost 3.2.0 in a process of its own"``; without predictions, why
            there are none: ``"xgboost is not installed"``.
        scale: of the predictions. relative_rounding: as of ``OwnPredict``.
    """

    predictions: Floats | None
    call_name: str
    scale: Scale = "raw"
    relative_rounding: float = 0.0


def ask_library(model: Model, table: Table) -> LibraryAnswer | None:
    """Ask the library of the file that a model was read from about rows of an answer, in a process of its own.

    The first call asks, and starts a process (0.2 to 2 s, all rows at once: ask everything in one call); later calls do not.

    Args:
        model: the model, or a copy of it with fewer outputs or model columns. table: rows in the user's columns, aligned with the model; mixed rows too.

    Returns:
        Its predictions, for all outputs of the whole model, or why there are none; None: the model was not read from a file of such a library.
    """
    known = model.file_library
    if known is None:
        return None
    if isinstance(known.own_predict, str):
        return LibraryAnswer(None, known.own_predict)
    if known.was_asked:
        return LibraryAnswer(None, f"{known.library} was asked about this file with an earlier answer")
    known.was_asked = True
    try:
        predictions = known.own_predict.predict(table)
    except (ModelFileError, OSError) as error:
        return LibraryAnswer(None, f"{known.library} gave no predictions: {error}")
    return LibraryAnswer(
        predictions, known.own_predict.call_name, known.own_predict.scale, known.own_predict.relative_rounding
    )
