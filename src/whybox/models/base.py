"""The base class of models: inputs, outputs, and the library's own predict to compare with."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np

from whybox.data.table import Floats, Table
from whybox.models.inputs import Inputs
from whybox.models.links import Outputs

__all__ = ["FileLibrary", "Model", "OffsetRule", "OwnPredict", "Verdict"]

Scale = Literal["raw", "response"]


@final
@dataclass(frozen=True)
class Verdict:
    """How our reading of a model was compared with its own predict before anything was explained.

    Attributes:
        rows: number of probe rows that both predicted.
        thresholds: number of split points tested by rows exactly on them and just beside.
        thresholds_total: number of split points in the model.
        difference: largest absolute difference found, on the compared scale.
        tolerance: the largest difference that rounding explains.
        against: description of what the model was compared with.
        mixed: number of rows that mix two others.
    """

    rows: int = 0
    thresholds: int = 0
    thresholds_total: int = 0
    difference: float = float("nan")
    tolerance: float = float("nan")
    against: str = "nothing: the file was read without its library"
    mixed: int = 0


@final
@dataclass(frozen=True)
class OwnPredict:
    """The predict function of the user's own model.

    Attributes:
        predict: aligned table -> (rows, outputs).
        scale: the scale of its predictions, raw or response.
        relative: rounding of its predictions, relative to the size of its sums (float32 libraries: about 1e-6).
        what: the call as text, for messages.
        library: name of the installed package that it belongs to. is_function: whether it is a function that the user wrote, of no model that is known.
    """

    predict: Callable[[Table], Floats]
    scale: Scale
    relative_rounding: float
    call_name: str
    library: str
    is_function: bool = False

    @property
    def subject(self) -> str:
        """What answers or refuses, as the subject of a sentence."""
        return f"the function {self.call_name}" if self.is_function else "the model's own predict"


@final
@dataclass(eq=False)
class FileLibrary:
    """The library that can load the file of a model; copies of the model share it.

    Attributes:
        library: its name. own_predict: its predict of the file in a process of its own, for tables aligned with the whole model, or why it is not asked.
        was_asked: whether it was asked about rows of an answer.
    """

    library: str
    own_predict: OwnPredict | str
    was_asked: bool = False


@final
@dataclass(frozen=True, eq=False)
class OffsetRule:
    """How a library adds offsets to raw outputs: a part of each row's prediction that is known without the model.

    Attributes:
        name: the library's word for it: ``"base_margin"``.
        replaced: (outputs,), what of the base an offset takes the place of: XGBoost's base score. None: nothing.
        predict: aligned table, offsets (rows, outputs) -> raw outputs with them, (rows, outputs); None: no predict of the library takes offsets.
        call_name: the call as text, for messages. relative_rounding: as of :class:`OwnPredict`.
    """

    name: str
    replaced: Floats | None = None
    predict: Callable[[Table, Floats], Floats] | None = None
    call_name: str = ""
    relative_rounding: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(ABC):
    """Anything that can be explained. Concrete models are frozen, final, and checked once when made.

    Attributes:
        inputs, outputs: its input columns and its outputs.
        kind: description of the model.
        own_predict: the library's own predict; None for files.
        file_library: of files, the library that can load them, see whybox.models.file_library; None for live models.
        verdict: how our reading was checked.
        rounds_used: boosting rounds used and rounds stored, if fewer are used (early stopping).
        notes: remarks for the user.
        offset_rule: how the library adds offsets of rows; None: it knows none.
        float32_sums: whether the library itself sums in float32, so that float32 sums are as exact as its own.
    """

    inputs: Inputs
    outputs: Outputs
    kind: str
    own_predict: OwnPredict | None = field(default=None, repr=False)
    verdict: Verdict = Verdict()
    rounds_used: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    float32_sums: bool = False
    file_library: FileLibrary | None = field(default=None, repr=False)
    offset_rule: OffsetRule | None = field(default=None, repr=False)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything that determines the model's predictions."""

    @property
    @abstractmethod
    def base(self) -> Floats:
        """Constant added to each output, (outputs,)."""


def digest(*parts: object) -> str:
    """Return the SHA-256 of arrays and printable things, in order."""
    sha256 = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha256.update(f"{part.dtype.str}{part.shape}".encode())
            sha256.update(np.ascontiguousarray(part).data)
        else:
            sha256.update(repr(part).encode())
        sha256.update(b"\0")
    return sha256.hexdigest()
