"""The base class of saliency methods: a frozen dataclass of options, called with a problem to compute maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import Array

__all__ = ["Method", "MethodOutput", "SampleSums", "TargetMaps", "list_rows"]

TargetMaps = list[
    list[Floats | None]
]  # for each target, for each input: (rows, *shape of the input), None for whole numbers


@final
@dataclass(frozen=True)
class MethodOutput:
    """Maps as a method computed them, and how.

    Attributes:
        maps: signed, channels included; CAM and perturbation methods leave the channel axis out (`channels_reduced`).
        kernel: how the maps were computed. estimand: what the numbers are, and what "absent" means.
        variances: of each number if the maps were sampled (already reduced over channels as `SaliencyProblem.reduce` says), else None.
        degrees_of_freedom: of these variances (groups of samples less one); None: so many that the normal distribution will do.
        base_scores: of the baseline, (rows, targets), if maps add up to score - base; else None.
        exact: True if nothing was sampled or approximated.
        relative_tolerance: of the completeness error, relative to ``|score - base|``; rows outside it are marked. 0: what float32 rounding explains.
        allowed_error: completeness error allowed instead, (rows, targets); None: by `relative_tolerance`.
        converged: (rows, targets), whether a refined computation came to rest; None: nothing was refined. Rows that did not are marked.
        channels_reduced: True if the channel axis is gone already. keep_channels: True if it stays whatever `reduce` says, since channels are the parts.
        layer_channels: True if the channels that are kept are those of a layer, where the input has its own.
        units: of the maps; None: of the score if they add up, else score per unit of input.
        operators_without_rule: their names, which the network runs.
        explained: the problem that maps belong to if that is another than the one that was given (a layer's output in place of the inputs), and the method that made
            them there; None: the one that was given.
        signed: whether numbers have a sign about zero; None: as the registry says of the method.
        resolved_options: what the method found out about the network, as plain data that ``Method.with_resolved`` takes; {}: nothing.
    """

    maps: TargetMaps
    kernel: str
    estimand: str
    variances: TargetMaps | None = None
    degrees_of_freedom: int | None = None
    base_scores: Floats | None = None
    exact: bool = False
    relative_tolerance: float = 0.0
    allowed_error: Floats | None = None
    converged: npt.NDArray[np.bool_] | None = None
    channels_reduced: bool = False
    keep_channels: bool = False
    layer_channels: bool = False
    index: str = "none"
    units: str | None = None
    operators_without_rule: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extras: Mapping[str, tuple[tuple[str, ...], npt.NDArray[Any]]] = field(default_factory=dict)
    resolved_options: Mapping[str, Any] = field(default_factory=dict)
    signed: bool | None = None
    explained: tuple[SaliencyProblem, Method] | None = None


@dataclass(frozen=True)
class Method(ABC):
    """Options of a method. Wrong options are refused when the method is made.

    Class attributes: ``name``: the id that the user types. ``title``: in words. ``default_reduce``: how channels become one number by default, ``"max"`` (largest
    absolute value), ``"sum"`` or None (kept). ``needs_gradients``: True if it needs gradients. ``takes_background``: True if it takes background rows.
    ``needs_channels``: True if it needs a channel axis.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    default_reduce: ClassVar[str | None] = "sum"
    needs_gradients: ClassVar[bool] = True
    takes_background: ClassVar[bool] = False
    needs_channels: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""

    def check_reduce(self, reduce: str | None) -> None:
        """Check that channels can become one number, or be kept, as asked; methods that change parts of inputs leave no choice.

        Raises:
            OptionError: they cannot.
        """
        parts = getattr(self, "parts", None)
        parts_are_channels = isinstance(parts, str) and parts == "channels"
        if self.needs_gradients or reduce == "auto" or reduce == (None if parts_are_channels else "sum"):
            return
        why = (
            "explains channels, which stay"
            if parts_are_channels
            else "changes all channels of a place together, so they have one number"
        )
        raise OptionError(Argument("method", self.name), f" {why}: leave ", Argument("reduce"), " out.")

    def with_resolved(self, settings: Mapping[str, Any]) -> Method:
        """The method with what it found out about the network before (``MethodOutput.resolved_options``), so that it need not again."""
        return self

    def reference_inputs(self, problem: SaliencyProblem) -> Sequence[npt.NDArray[Any] | None] | None:
        """If maps are a product with (input - reference): the reference of each input, to be broadcast to its rows. None: they are not."""
        return None


@final
class SampleSums:
    """Sums over samples for each target and input, kept on the network's device."""

    def __init__(self, problem: SaliencyProblem) -> None:
        self._problem = problem
        self._sums: list[list[Array | None]] = [[None] * len(problem.inputs) for _ in range(problem.target.n_targets)]

    def add_samples(self, target: int, input_index: int, rows: Indices, values: Array) -> None:
        """Add values of samples, (m, ...), to the sums of their rows."""
        problem, total = self._problem, self._sums[target][input_index]
        if total is None:
            total = problem.net.array(np.zeros((problem.n_rows, *map(int, values.shape[1:])), dtype=np.float32))
        self._sums[target][input_index] = problem.net.add_at(total, rows, values)

    def to_maps(self, scale: float = 1.0) -> TargetMaps:
        """Return the sums, scaled, as numpy arrays."""
        return [[None if a is None else self._problem.net.numpy(a) * scale for a in maps] for maps in self._sums]


def list_rows(selected: npt.NDArray[np.bool_]) -> str:
    """Which rows, in words: ``"2 of 10 rows (3, 7)"``; the first five are listed."""
    positions = np.flatnonzero(selected)
    return f"{len(positions):,} of {len(selected):,} rows ({', '.join(map(str, positions[:5]))}{', ...' if len(positions) > 5 else ''})"
