"""Gradients at the rows, and their mean and variance under noise.

Sources: Simonyan, Vedaldi & Zisserman 2014 (arXiv:1312.6034), section 3; Smilkov et al. 2017 (SmoothGrad, arXiv:1706.03825), equation 1; Adebayo et al. 2018
(VarGrad, arXiv:1810.03292). Antithetic noise: each draw is used with both signs, so that what is odd in it cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from whybox.core.validation import check_positive, check_whole_number
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.base import Method, MethodOutput, SampleSums, TargetMaps, list_rows
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import Array

__all__ = ["Gradient", "GradientInput", "SmoothGrad", "VarGrad"]

_PairSquare = Callable[[Array, Array, "int | None"], Array]


@final
@dataclass(frozen=True)
class Gradient(Method):
    """The derivative of the score by each number of the input: exact, one forward and one backward a row."""

    name: ClassVar[str] = "gradient"
    title: ClassVar[str] = "Gradient"
    default_reduce: ClassVar[str] = "max"

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        maps = _at_rows(problem, self.name, times_input=False)
        return MethodOutput(
            maps, "backpropagation", "derivative of the score at the row", exact=True, notes=_zero_notes(problem, maps)
        )


@final
@dataclass(frozen=True)
class GradientInput(Method):
    """Gradient times input: the change that each number would make if the network were linear between zero and the row."""

    name: ClassVar[str] = "gradient_x_input"
    title: ClassVar[str] = "Gradient x input"

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        return MethodOutput(
            _at_rows(problem, self.name, times_input=True),
            "backpropagation",
            "first-order change from zero",
            exact=True,
            units="score",
        )

    def reference_inputs(self, problem: SaliencyProblem) -> list[np.ndarray | None]:
        """Zero."""
        return [None if i.without_gradient else np.zeros(()) for i in problem.inputs]


def _at_rows(problem: SaliencyProblem, name: str, *, times_input: bool) -> TargetMaps:
    problem.require_derivatives(name)
    out = problem.zero_maps()
    for rows in problem.row_batches(name):
        xs, grads = problem.gradients_at_rows(rows)
        for t, of in enumerate(grads):
            for i, g in enumerate(of):
                total = out[t][i]
                if total is not None:
                    total[rows[0] : rows[-1] + 1] = problem.net.numpy(xs[i] * g if times_input else g)
    return out


def _zero_notes(problem: SaliencyProblem, maps: TargetMaps) -> tuple[str, ...]:
    """Notes on rows at which every derivative is 0, for each output."""
    notes = []
    for t, of in enumerate(maps):
        none = np.all([~a.reshape(len(a), -1).any(axis=1) for a in of if a is not None], axis=0)
        if none.any():
            notes.append(
                f"ZERO: every derivative{problem.target.output_phrase(t)} is 0 in {list_rows(none)}: the score is flat there (saturation, a step, inactive "
                "units), or the network cuts derivatives off"
            )
    return tuple(notes)


@dataclass(frozen=True)
class _NoisyGradients(Method):
    """Gradients at rows with noise.

    Attributes:
        samples: number of noisy copies of each row, even.
        noise: standard deviation, as a share of the row's range (largest less smallest value) in each input.
    """

    samples: int = 50
    noise: float = 0.15

    default_reduce: ClassVar[str] = "max"

    def __post_init__(self) -> None:
        check_whole_number("samples", self.samples, 4)
        check_positive("noise", self.noise)
        if self.samples % 2:
            raise OptionError(Argument("samples", self.samples), " must be even: each draw is used with both signs.")

    def _pair_moments(self, problem: SaliencyProblem, square: _PairSquare) -> tuple[TargetMaps, TargetMaps]:
        """Means over antithetic pairs: of the gradient, and of `square` of the pair's two gradients."""
        problem.require_derivatives(self.name)
        problem.evaluate_rows(np.arange(problem.n_rows))
        first, second = SampleSums(problem), SampleSums(problem)
        pairs = self.samples // 2
        for rows, draws in problem.sample_batches(pairs, self.name, passes=2):
            xs, steps = problem.to_device(rows), self._draw_noise(problem, rows, draws)
            pair = []
            for sign in (1.0, -1.0):
                at = tuple(x if s is None else x + sign * s for x, s in zip(xs, steps, strict=True))
                pair.append(problem.gradients_at_points(at, rows)[1])
            for t in range(problem.target.n_targets):
                for i, (up, down) in enumerate(zip(pair[0][t], pair[1][t], strict=True)):
                    if up is not None and down is not None:
                        first.add_samples(t, i, rows, (up + down) * 0.5)
                        second.add_samples(t, i, rows, square(up, down, problem.summed_channel(i)))
        return first.to_maps(1 / pairs), second.to_maps(1 / pairs)

    def _draw_noise(self, problem: SaliencyProblem, rows: Indices, draws: Indices) -> tuple[Array | None, ...]:
        """Noise of these samples: the same for a row whichever rows are in its batch."""
        out: list[Array | None] = []
        for input_index, input_ in enumerate(problem.inputs):
            if input_.without_gradient:
                out.append(None)
                continue
            flat = input_.x.reshape(problem.n_rows, -1)
            steps = np.empty((len(rows), *input_.x.shape[1:]), dtype=np.float32)
            for k, (row, draw) in enumerate(zip(rows, draws, strict=True)):
                problem.rng_for(input_index, int(row), int(draw)).standard_normal(out=steps[k], dtype=np.float32)
            width = (np.ptp(flat, axis=1)[rows] * self.noise).astype(np.float32)
            out.append(problem.net.array(steps * width.reshape(-1, *(1,) * (input_.x.ndim - 1))))
        return tuple(out)

    def _noise_notes(self, problem: SaliencyProblem) -> tuple[str, ...]:
        alone = [i.name for i in problem.inputs if i.x[0].size == 1 and not i.without_gradient]
        note = f"noise of {self.noise:g} times each row's range, {self.samples} samples in antithetic pairs"
        return (note, *(f"no noise in {name}: a row's range of one number is 0" for name in alone))


def _squared_pair_mean(up: Array, down: Array, summed: int | None) -> Array:
    """The square of a pair's mean, for its variance: pairs are independent, the two of a pair are not."""
    mean = (up + down) * 0.5
    if summed is not None:
        mean = mean.sum(summed)
    return mean * mean


def _mean_square(up: Array, down: Array, summed: int | None) -> Array:
    """The mean square of the two; channels stay, for the variances are theirs."""
    return (up * up + down * down) * 0.5


@final
@dataclass(frozen=True)
class SmoothGrad(_NoisyGradients):
    """The mean of gradients at rows with noise; its standard error comes from the pairs."""

    name: ClassVar[str] = "smoothgrad"
    title: ClassVar[str] = "SmoothGrad"

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        means, squares = self._pair_moments(problem, _squared_pair_mean)
        pairs = self.samples // 2
        variances: TargetMaps = []
        for of, sq in zip(means, squares, strict=True):
            line: list[np.ndarray | None] = []
            for i, (mean, square) in enumerate(zip(of, sq, strict=True)):
                if mean is None or square is None:
                    line.append(None)
                    continue
                axis = problem.summed_channel(i)
                centre = mean if axis is None else mean.sum(axis)
                line.append(np.maximum(square - centre * centre, 0.0) / (pairs - 1))
            variances.append(line)
        notes = (*self._noise_notes(problem), *_zero_notes(problem, means))
        return MethodOutput(
            means, "antithetic noise", "mean derivative of the score around the row", variances, pairs - 1, notes=notes
        )


@final
@dataclass(frozen=True)
class VarGrad(_NoisyGradients):
    """The variance of gradients at rows with noise."""

    name: ClassVar[str] = "vargrad"
    title: ClassVar[str] = "VarGrad"

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        means, squares = self._pair_moments(problem, _mean_square)
        found: TargetMaps = [
            [None if m is None or s is None else np.maximum(s - m * m, 0.0) for m, s in zip(of, sq, strict=True)]
            for of, sq in zip(means, squares, strict=True)
        ]
        return MethodOutput(
            found,
            "antithetic noise",
            "variance of the derivative around the row",
            notes=self._noise_notes(problem),
            units="(score per unit of input) squared",
        )
