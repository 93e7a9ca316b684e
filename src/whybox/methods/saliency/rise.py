"""Random masks.

Source: Petsiuk, Das & Saenko 2018 (RISE, arXiv:1806.07421), equations 6 and 7, and section 3.2 for the masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_positive, check_true_or_false, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.base import Method, MethodOutput
from whybox.methods.saliency.inputs import Input
from whybox.methods.saliency.masking import resolve_replacement
from whybox.methods.saliency.occlusion import empty_maps, evaluate_masked
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.numerics.interpolation import apply_along_axes, interpolation_weights

__all__ = ["Rise"]

MASKS_PER_BLOCK = 256  # masks made at a time where they are summed over


@final
@dataclass(frozen=True)
class Rise(Method):
    """How the score depends on whether a position is visible, from random masks that all rows share.

    Petsiuk's map is E[f(x m) m] / p, which the paper reads as the mean score when the position is visible; it mostly shows the mean score of all masks times
    the random deviation of their mean. The default here is the difference from the mean over all masks, E[f (m - p)] / p, estimated as
    sum (f - mean f) (m - p) / (p (samples - 1)): unbiased, since the mean of m is p at every position. Its standard error comes from the masks.

    Attributes:
        samples: masks, and forwards a row.
        keep: probability p that a cell of the grid stays visible.
        cells: along each position axis; the grid is drawn one cell larger, interpolated linearly and shifted at random. In inputs of whole numbers, inputs of one
            axis without channels, and axes of no more positions than cells, each position is drawn by itself.
        centred: False for the paper's own estimate, sum f m / (p samples).
        baseline: what masked positions hold; see whybox.methods.saliency.masking.
    """

    samples: int = 2000
    keep: float = 0.5
    cells: int = 7
    centred: bool = True
    baseline: Any = None

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    needs_gradients: ClassVar[bool] = False
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole_number("samples", self.samples, 8)
        check_whole_number("cells", self.cells, 2)
        if check_positive("keep", self.keep, 1) == 1:
            raise OptionError(Argument("keep", 1), " masks nothing; it must be below 1.")
        check_true_or_false("centred", self.centred)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        replacement = resolve_replacement(problem, self.baseline)
        samplers = [
            self._cached_masks(problem, input_, self._mask_sampler(input_, problem.rng_for(input_index)))
            if may
            else None
            for input_index, (input_, may) in enumerate(zip(problem.inputs, replacement.maskable_inputs, strict=True))
        ]

        def make_masks(_rows: Indices, ks: Indices) -> list[npt.NDArray[Any] | None]:
            return [None if d is None else i.with_channel(d(ks)) for d, i in zip(samplers, problem.inputs, strict=True)]

        problem.evaluate_rows(np.arange(problem.n_rows))
        out, variances = empty_maps(problem, replacement), empty_maps(problem, replacement)
        counts = np.full(problem.n_rows, self.samples, dtype=np.intp)
        for row, scores in evaluate_masked(problem, replacement, counts, make_masks, self.name):
            for input_index, d in enumerate(samplers):
                if d is None:
                    continue
                means, squared_errors = self._estimate_map(scores, d)
                for t in range(problem.target.n_targets):
                    total, error = out[t][input_index], variances[t][input_index]
                    if total is not None and error is not None:
                        total[row], error[row] = means[t], squared_errors[t]
        seen = (
            "the score when a position is visible"
            if not self.centred
            else "the score when a position is visible, less the mean over all masks"
        )
        return MethodOutput(
            out,
            f"{self.samples:,} masks",
            f"{seen}; masked positions hold {replacement.description}",
            variances,
            channels_reduced=True,
            units="score",
            notes=(f"each cell stays visible with probability {self.keep:g}; masks are the same for all rows",),
        )

    def _estimate_map(self, scores: Floats, sampler: Callable[[Indices], npt.NDArray[Any]]) -> tuple[Floats, Floats]:
        """The map of one row and its variance, (targets, *positions), from scores (samples, targets)."""
        n, p = self.samples, self.keep
        f = (scores - scores.mean(axis=0) if self.centred else scores).T
        first: Any = 0.0
        second: Any = 0.0
        shape: tuple[int, ...] = ()
        for start in range(0, n, MASKS_PER_BLOCK):
            ks = np.arange(start, min(start + MASKS_PER_BLOCK, n))
            m = sampler(ks)
            shape = m.shape[1:]
            m = m.reshape(len(ks), -1).astype(np.float64) - (p if self.centred else 0)
            first = first + f[:, ks] @ m
            second = second + (f[:, ks] ** 2) @ (m * m)
        mean = first / (p * (n - 1 if self.centred else n))
        variance = np.maximum(second / p**2 / n - (first / (p * n)) ** 2, 0.0) / (n - 1)
        return mean.reshape(-1, *shape), variance.reshape(-1, *shape)

    def _cached_masks(
        self, problem: SaliencyProblem, input_: Input, sampler: Callable[[Indices], npt.NDArray[Any]]
    ) -> Callable[[Indices], npt.NDArray[Any]]:
        """All masks, made once if they are a small part of the budget: each row needs them twice."""
        places = int(np.prod(input_.position_shape))
        if self.samples * places * 4 * len(problem.inputs) * 4 > problem.budget:
            return sampler
        every = np.concatenate(
            [
                sampler(np.arange(k, min(k + MASKS_PER_BLOCK, self.samples)))
                for k in range(0, self.samples, MASKS_PER_BLOCK)
            ]
        )
        return lambda ks: every[ks]

    def _mask_sampler(self, input_: Input, draw: np.random.Generator) -> Callable[[Indices], npt.NDArray[Any]]:
        """A function from mask numbers to masks, (m, *positions). Only the random numbers are kept, which are few."""
        sizes = input_.position_shape
        independent = input_.without_gradient or (len(sizes) == 1 and input_.channel_axis is None)
        if independent or all(n <= self.cells for n in sizes):
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
