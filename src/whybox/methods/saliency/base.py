"""What every method of saliency is: options, checked when made, and a call that turns a question into maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.problem import Indices, Question
from whybox.models.differentiable import Array

__all__ = ["Maps", "Method", "MethodOutput", "SampleSums", "those"]

Maps = list[list[Floats | None]]  # for each target, for each input: (rows, *shape of the input), None for whole numbers


@final
@dataclass(frozen=True)
class MethodOutput:
    """What a method computed.

    Attributes:
        maps: signed, channels and all; of CAM and perturbation methods without the channel axis (`reduced`).
        kernel: how it was computed. estimand: what "absent" means, or what the numbers are.
        variances: of each number where they were sampled (already reduced over channels as `Question.reduce` says), else None.
        base: scores without anything, (rows, targets), where maps add up to score - base; None where they need not.
        exact: whether nothing was drawn and nothing approximated.
        tolerance: of the completeness error, relative to |score - base|; rows beyond are marked. 0: what float32 rounding explains.
        allowed: the completeness error that is allowed instead, (rows, targets); None: by `tolerance`. settled: (rows, targets), whether what was refined
            step by step came to rest; None: nothing was. Rows where it did not are marked.
        reduced: whether the channel axis is gone already. kept: whether it stays whatever was asked, since channels are the parts.
        units: of the maps; None: the score's where they add up, else score per unit of input.
        operators: operators without a rule that were met.
        resolved: what the method settled by asking the network, as plain data that ``Method.resolved`` takes; {} where it settled nothing.
    """

    maps: Maps
    kernel: str
    estimand: str
    variances: Maps | None = None
    base: Floats | None = None
    exact: bool = False
    tolerance: float = 0.0
    allowed: Floats | None = None
    settled: npt.NDArray[np.bool_] | None = None
    reduced: bool = False
    kept: bool = False
    index: str = "none"
    units: str | None = None
    operators: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)
    resolved: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC):
    """Options of a method; unknown ones cannot be given, wrong ones are refused when made.

    Class attributes: ``name`` as the user types it; ``title`` in words; ``reduces`` how channels become one number by default (``"max"``: largest
    absolute value, ``"sum"``); ``derivatives``: whether it takes any; ``background``: whether it takes background rows; ``channels``: whether it needs an axis of channels.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reduces: ClassVar[str] = "sum"
    derivatives: ClassVar[bool] = True
    background: ClassVar[bool] = False
    channels: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""

    def resolved(self, found: Mapping[str, Any]) -> Method:
        """The method with what it found about the network before (``Found.resolved``), which it need not find out again."""
        return self

    def reference(self, q: Question) -> Sequence[npt.NDArray[Any] | None] | None:
        """For maps that are something times (input - reference): the reference of each input, to be broadcast to its rows. None: they are no such product."""
        return None


@final
class SampleSums:
    """Sums over samples, for each target and input, kept where the network computes."""

    def __init__(self, q: Question) -> None:
        self._q = q
        self._sums: list[list[Array | None]] = [[None] * len(q.inputs) for _ in range(q.target.count)]

    def add(self, target: int, which: int, rows: Indices, values: Array) -> None:
        """Add the values of samples, (m, ...), to those of their rows."""
        q, total = self._q, self._sums[target][which]
        if total is None:
            total = q.net.array(np.zeros((q.rows, *map(int, values.shape[1:])), dtype=np.float32))
        self._sums[target][which] = q.net.add_at(total, rows, values)

    def maps(self, scale: float = 1.0) -> Maps:
        """Return the sums, scaled, as numpy."""
        return [[None if a is None else self._q.net.numpy(a) * scale for a in of] for of in self._sums]


def those(which: npt.NDArray[np.bool_]) -> str:
    """Which rows, in words: ``"2 of 10 rows (3, 7)"``; the first five by number."""
    at = np.flatnonzero(which)
    return f"{len(at):,} of {len(which):,} rows ({', '.join(map(str, at[:5]))}{', ...' if len(at) > 5 else ''})"
