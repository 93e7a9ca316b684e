"""The base class of saliency methods: a frozen dataclass of options, called with a problem to compute maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import Array

__all__ = ["Maps", "Method", "MethodOutput", "SampleSums", "list_rows"]

Maps = list[list[Floats | None]]  # for each target, for each input: (rows, *shape of the input), None for whole numbers


@final
@dataclass(frozen=True)
class MethodOutput:
    """Maps as a method computed them, and how.

    Attributes:
        maps: signed, channels included; CAM and perturbation methods leave the channel axis out (`reduced`).
        kernel: how the maps were computed. estimand: what the numbers are, and what "absent" means.
        variances: of each number if the maps were sampled (already reduced over channels as `SaliencyProblem.reduce` says), else None.
        freedom: degrees of freedom of these variances (groups of samples less one); None: so many that the normal distribution will do.
        base: baseline scores, (rows, targets), if maps add up to score - base; else None.
        exact: True if nothing was sampled or approximated.
        tolerance: of the completeness error, relative to |score - base|; rows outside it are marked. 0: what float32 rounding explains.
        allowed: completeness error allowed instead, (rows, targets); None: by `tolerance`.
        converged: (rows, targets), whether a refined computation came to rest; None: nothing was refined. Rows that did not are marked.
        reduced: True if the channel axis is gone already. keep_channels: True if it stays whatever `reduce` says, since channels are the parts.
        units: of the maps; None: of the score if they add up, else score per unit of input.
        operators: operators without a rule.
        resolved: what the method found out about the network, as plain data that ``Method.resolved`` takes; {}: nothing.
    """

    maps: Maps
    kernel: str
    estimand: str
    variances: Maps | None = None
    freedom: int | None = None
    base: Floats | None = None
    exact: bool = False
    tolerance: float = 0.0
    allowed: Floats | None = None
    converged: npt.NDArray[np.bool_] | None = None
    reduced: bool = False
    keep_channels: bool = False
    index: str = "none"
    units: str | None = None
    operators: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)
    resolved: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC):
    """Options of a method. Wrong options are refused when the method is made.

    Class attributes: ``name``: the id that the user types. ``title``: in words. ``reduces``: how channels become one number by default, ``"max"`` (largest
    absolute value) or ``"sum"``. ``derivatives``: True if it needs gradients. ``background``: True if it takes background rows. ``channels``: True if it
    needs a channel axis.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    reduces: ClassVar[str] = "sum"
    derivatives: ClassVar[bool] = True
    background: ClassVar[bool] = False
    channels: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""

    def resolved(self, settings: Mapping[str, Any]) -> Method:
        """The method with what it found out about the network before (``MethodOutput.resolved``), so that it need not again."""
        return self

    def reference(self, problem: SaliencyProblem) -> Sequence[npt.NDArray[Any] | None] | None:
        """If maps are a product with (input - reference): the reference of each input, to be broadcast to its rows. None: they are not."""
        return None


@final
class SampleSums:
    """Sums over samples for each target and input, kept on the network's device."""

    def __init__(self, problem: SaliencyProblem) -> None:
        self._problem = problem
        self._sums: list[list[Array | None]] = [[None] * len(problem.inputs) for _ in range(problem.target.count)]

    def add(self, target: int, input_index: int, rows: Indices, values: Array) -> None:
        """Add values of samples, (m, ...), to the sums of their rows."""
        problem, total = self._problem, self._sums[target][input_index]
        if total is None:
            total = problem.net.array(np.zeros((problem.rows, *map(int, values.shape[1:])), dtype=np.float32))
        self._sums[target][input_index] = problem.net.add_at(total, rows, values)

    def maps(self, scale: float = 1.0) -> Maps:
        """Return the sums, scaled, as numpy arrays."""
        return [[None if a is None else self._problem.net.numpy(a) * scale for a in maps] for maps in self._sums]


def list_rows(selected: npt.NDArray[np.bool_]) -> str:
    """Which rows, in words: ``"2 of 10 rows (3, 7)"``; the first five are listed."""
    positions = np.flatnonzero(selected)
    return f"{len(positions):,} of {len(selected):,} rows ({', '.join(map(str, positions[:5]))}{', ...' if len(positions) > 5 else ''})"
