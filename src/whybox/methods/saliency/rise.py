"""Random masks.

Source: Petsiuk, Das & Saenko 2018 (RISE, arXiv:1806.07421), equations 6 and 7, and section 3.2 for the masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.masking import resolve_replacement
from whybox.methods.saliency.occlusion import covered, empty
from whybox.methods.saliency.problem import Indices, Question
from whybox.numerics.interpolation import apply_along_axes, interpolation_weights

__all__ = ["Rise"]

MASKS_PER_BLOCK = 256  # masks made at a time where they are summed over


@final
@dataclass(frozen=True)
class Rise(Method):
    """How the score hangs on whether a place is seen, from random masks that all rows share.

    Petsiuk's map is E[f(x m) m] / p, which the paper reads as the mean score when the place is seen; what it mostly shows is the mean score of all masks times
    the accidents of their mean. Here stands, by default, how much more that is than the mean over all masks, E[f (m - p)] / p, estimated as
    sum (f - mean f) (m - p) / (p (samples - 1)): unbiased, since the mean of m is p at every place. Its standard error comes from the masks.

    Attributes:
        samples: masks, and forwards a row.
        keep: probability p that a cell of the grid stays.
        cells: along each axis of places; the grid is drawn a cell larger, interpolated linearly and moved at random. Inputs of whole numbers, inputs of one axis
            without channels, and axes of no more places than cells have each place drawn for itself.
        centred: False for the paper's own estimate, sum f m / (p samples).
        baseline: what shows where the mask is 0; see whybox.methods.saliency.masking.
    """

    samples: int = 2000
    keep: float = 0.5
    cells: int = 7
    centred: bool = True
    baseline: Any = None

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    derivatives: ClassVar[bool] = False
    background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole_number("samples", self.samples, 8)
        check_whole_number("cells", self.cells, 2)
        if check_positive("keep", self.keep, 1) == 1:
            raise OptionError(Argument("keep", 1), " covers nothing; it must be below 1.")
        if not isinstance(self.centred, bool):
            raise OptionError(Argument("centred", self.centred), " must be True or False.")

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        absent = resolve_replacement(q, self.baseline)
        drawn = [
            self._kept(q, given, self._drawn(given, q.draws(which))) if may else None
            for which, (given, may) in enumerate(zip(q.inputs, absent.covered, strict=True))
        ]

        def masks(_rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            return [None if d is None else i.with_channel(d(ks)) for d, i in zip(drawn, q.inputs, strict=True)]

        q.know(np.arange(q.rows))
        out, spread = empty(q, absent), empty(q, absent)
        counts = np.full(q.rows, self.samples, dtype=np.intp)
        for row, scores in covered(q, absent, counts, masks, self.name):
            for which, d in enumerate(drawn):
                if d is None:
                    continue
                means, variances = self._estimate(scores, d)
                for t in range(q.target.count):
                    to, error = out[t][which], spread[t][which]
                    if to is not None and error is not None:
                        to[row], error[row] = means[t], variances[t]
        seen = (
            "the score when a place is seen"
            if not self.centred
            else "how much more the score is when a place is seen than over all masks"
        )
        return MethodOutput(
            out,
            f"{self.samples:,} masks",
            f"{seen}; covered places hold {absent.said}",
            spread,
            reduced=True,
            units="score",
            notes=(f"each cell stays with probability {self.keep:g}; masks are the same for all rows",),
        )

    def _estimate(self, scores: Floats, drawn: Callable[[Indices], npt.NDArray[Any]]) -> tuple[Floats, Floats]:
        """The map of one row and its variance, (targets, *places), from scores (samples, targets)."""
        n, p = self.samples, self.keep
        f = (scores - scores.mean(axis=0) if self.centred else scores).T
        first: Any = 0.0
        second: Any = 0.0
        shape: tuple[int, ...] = ()
        for start in range(0, n, MASKS_PER_BLOCK):
            ks = np.arange(start, min(start + MASKS_PER_BLOCK, n))
            m = drawn(ks)
            shape = m.shape[1:]
            m = m.reshape(len(ks), -1).astype(np.float64) - (p if self.centred else 0)
            first = first + f[:, ks] @ m
            second = second + (f[:, ks] ** 2) @ (m * m)
        mean = first / (p * (n - 1 if self.centred else n))
        variance = np.maximum(second / p**2 / n - (first / (p * n)) ** 2, 0.0) / (n - 1)
        return mean.reshape(-1, *shape), variance.reshape(-1, *shape)

    def _kept(
        self, q: Question, given: Input, drawn: Callable[[Indices], npt.NDArray[Any]]
    ) -> Callable[[Indices], npt.NDArray[Any]]:
        """All masks made once, where they are a small part of the budget; they are asked for twice a row."""
        places = int(np.prod(given.sizes))
        if self.samples * places * 4 * len(q.inputs) * 4 > q.budget:
            return drawn
        every = np.concatenate(
            [
                drawn(np.arange(k, min(k + MASKS_PER_BLOCK, self.samples)))
                for k in range(0, self.samples, MASKS_PER_BLOCK)
            ]
        )
        return lambda ks: every[ks]

    def _drawn(self, given: Input, draw: np.random.Generator) -> Callable[[Indices], npt.NDArray[Any]]:
        """Masks by number, (m, *places); what was drawn is small and kept, what is made of it is not."""
        sizes = given.sizes
        alone = given.whole or (len(sizes) == 1 and given.channel is None)
        if alone or all(n <= self.cells for n in sizes):
            bits = draw.random((self.samples, *sizes)) < self.keep
            return lambda ks: bits[ks].astype(np.float32)
        cells = [n if n <= self.cells else self.cells + 1 for n in sizes]
        grid = (draw.random((self.samples, *cells)) < self.keep).astype(np.float32)
        steps = [1 if n <= self.cells else -(-n // self.cells) for n in sizes]
        shifts = [draw.integers(0, s, size=self.samples) for s in steps]
        weights = [
            np.eye(n, dtype=np.float32) if s == 1 else interpolation_weights(c, c * s).astype(np.float32)
            for n, c, s in zip(sizes, cells, steps, strict=True)
        ]
        windows = [np.stack([w[k : k + n] for k in range(s)]) for w, n, s in zip(weights, sizes, steps, strict=True)]
        return lambda ks: apply_along_axes(grid[ks], [w[at[ks]] for w, at in zip(windows, shifts, strict=True)])
