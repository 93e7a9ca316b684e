"""What every model is here: inputs, outputs, and the user's own predict to be held against."""

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

__all__ = ["Model", "OwnPredict", "Verdict"]

Scale = Literal["raw", "response"]


@final
@dataclass(frozen=True)
class Verdict:
    """How far our reading of a model was compared with its own predict before anything was explained.

    Attributes:
        rows: made rows that both predicted.
        thresholds: different split points that a row was put exactly on and just beside.
        thresholds_total: different split points in the model.
        difference: largest absolute difference seen, on the scale compared.
        tolerance: the largest difference that rounding explains.
        against: what was compared with, in words.
        mixed: how many of the rows are mixed of two others.
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
    """The user's own predict.

    Attributes:
        predict: aligned table -> (rows, outputs).
        scale: whether that is the raw or the response scale.
        relative: rounding of that predict, relative to the size of the sums it makes (float32 libraries: about 1e-6).
        what: what is called, in words.
        library: the package whose predict it is, as installed.
    """

    predict: Callable[[Table], Floats]
    scale: Scale
    relative: float
    what: str
    library: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(ABC):
    """Anything that can be explained. Concrete models are frozen, final, and checked once when made.

    Attributes:
        inputs, outputs: what goes in and what comes out.
        kind: the model in words.
        own: the user's own predict, None for files.
        verdict: how the reading was checked.
        rounds: boosting rounds that count and rounds there are, where fewer count (early stopping).
        notes: what the user should know about the reading.
        single: whether the library itself computes in float32, so that float32 sums are as good as its own.
    """

    inputs: Inputs
    outputs: Outputs
    kind: str
    own: OwnPredict | None = field(default=None, repr=False)
    verdict: Verdict = Verdict()
    rounds: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    single: bool = False

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the model's numbers."""

    @property
    @abstractmethod
    def base(self) -> Floats:
        """Constant added to each output, (outputs,)."""


def digest(*parts: object) -> str:
    """Return the SHA-256 of arrays and printable things, in order."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            h.update(f"{part.dtype.str}{part.shape}".encode())
            h.update(np.ascontiguousarray(part).data)
        else:
            h.update(repr(part).encode())
        h.update(b"\0")
    return h.hexdigest()
