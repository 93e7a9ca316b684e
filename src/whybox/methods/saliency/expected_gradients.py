"""Expected gradients: integrated gradients averaged over baselines drawn from a background, one gradient a draw.

Source: Erion, Janizek, Sturmfels, Lundberg & Lee 2021 (arXiv:1906.10670), equation 2. Samples come in independent groups, from which the standard error is
estimated. Within a group fractions of the path are stratified and background rows are used as evenly as their number allows, in a random pairing (a Latin
hypercube: McKay, Beckman & Conover 1979, Technometrics 21, 239-245). The difference of a group's background rows from the mean of all is corrected with the
mean gradient of the other groups, which is independent of it, so that there is no bias (a control variate whose coefficient is estimated elsewhere:
Owen, Monte Carlo theory, section 8.9); for a linear network there is no sampling error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, LimitError, OptionError
from whybox.methods.saliency.base import Method, MethodOutput, TargetMaps
from whybox.methods.saliency.baselines import mean_baseline, resolve_baselines
from whybox.methods.saliency.integrated_gradients import baseline_scores, path_gradients
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import Array

__all__ = ["SAMPLE_GROUPS", "ExpectedGradients", "whole_groups"]

SAMPLE_GROUPS: Final = 32
_GroupArrays = list[list[npt.NDArray[np.float64] | None]]  # for each target and input: (groups, *shape)
_RowMeans = Iterator[tuple[int, _GroupArrays, _GroupArrays, list[npt.NDArray[np.float64] | None]]]


def whole_groups(samples: int) -> int:
    """Return so many samples, or the next more that are equal groups."""
    return -(-samples // SAMPLE_GROUPS) * SAMPLE_GROUPS


@final
@dataclass(frozen=True)
class ExpectedGradients(Method):
    """Integrated gradients in the mean over background rows, sampled; each number has a standard error.

    Attributes:
        samples: gradients a row, a multiple of 32. tol: completeness error, relative to ``|score - mean score of the background|``, beyond which rows are marked.
    """

    samples: int = 256
    tol: float = 0.05

    name: ClassVar[str] = "expected_gradients"
    title: ClassVar[str] = "Expected gradients"
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_whole_number("samples", self.samples, SAMPLE_GROUPS)
        check_positive("tol", self.tol, 1.0)
        if self.samples % SAMPLE_GROUPS:
            raise OptionError(
                Argument("samples", self.samples),
                f" must be a multiple of {SAMPLE_GROUPS} (say {whole_groups(self.samples)}): the standard error comes from {SAMPLE_GROUPS} "
                "equal groups.",
            )

    def reference_inputs(self, problem: SaliencyProblem) -> Sequence[npt.NDArray[Any] | None] | None:
        """The mean of the background."""
        return mean_baseline(problem, "background")

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps.

        Raises:
            OptionError: there is no background. LimitError: the groups of one row do not fit into the budget.
        """
        problem.require_derivatives(self.name)
        if problem.background is None:
            raise OptionError(
                Argument("method", "expected_gradients"),
                " averages over background rows; give ",
                Argument("background", example="..."),
                ".",
            )
        numbers = problem.target.n_targets * sum(
            int(np.prod(i.x.shape[1:])) for i in problem.inputs if not i.without_gradient
        )
        if (held := 2 * SAMPLE_GROUPS * 8 * numbers) > problem.budget:
            raise LimitError(
                f"the groups of one row take {held / 1e6:,.0f} MB, more than the budget of {problem.budget / 1e6:,.0f} MB; raise it, or explain fewer targets at a time."
            )
        base = baseline_scores(problem, resolve_baselines(problem, "background")).mean(axis=0)
        maps, variances = problem.zero_maps(), self._variance_zeros(problem)
        for row, a, g, centre_error in self._group_means(problem):
            for t in range(problem.target.n_targets):
                for i, to in enumerate(maps[t]):
                    spread = variances[t][i]
                    if to is None or spread is None:
                        continue
                    per_group = _with_control_variate(a[t][i], g[t][i], centre_error[i])
                    to[row] = per_group.mean(axis=0)
                    axis = problem.summed_channel(i)
                    influence = per_group + _influence_of_others(g[t][i], centre_error[i])
                    reduced = influence if axis is None else influence.sum(axis)
                    spread[row] = reduced.var(axis=0, ddof=1) / SAMPLE_GROUPS
        count = len(problem.background[0].x)
        return MethodOutput(
            maps,
            f"{self.samples} samples a row in {SAMPLE_GROUPS} independent Latin hypercubes, control variate of the background's mean",
            f"gradient integrated on straight paths from {count:,} background rows"
            + (", whole numbers held" if any(i.without_gradient for i in problem.inputs) else ""),
            variances,
            degrees_of_freedom=SAMPLE_GROUPS - 1,
            base_scores=base,
            relative_tolerance=self.tol,
        )

    def _variance_zeros(self, problem: SaliencyProblem) -> TargetMaps:
        """Zeros for variances, without channels if these are summed."""
        return [
            [
                None
                if i.without_gradient
                else np.zeros(tuple(n for k, n in enumerate(i.x.shape) if k != problem.summed_channel(which)))
                for which, i in enumerate(problem.inputs)
            ]
            for _ in range(problem.target.n_targets)
        ]

    def draw_samples(self, problem: SaliencyProblem, row: int, count: int) -> tuple[Floats, Indices]:
        """Return fractions of the path and background rows of one row's samples, group after group."""
        rng, per_group = problem.rng_for(row), self.samples // SAMPLE_GROUPS
        fractions = np.empty((SAMPLE_GROUPS, per_group))
        background_rows = np.empty((SAMPLE_GROUPS, per_group), dtype=np.intp)
        for group in range(SAMPLE_GROUPS):
            fractions[group] = (np.arange(per_group) + rng.random(per_group)) / per_group
            rounds = [rng.permutation(count) for _ in range(-(-per_group // count))]
            background_rows[group] = rng.permutation(np.concatenate(rounds)[:per_group])
        return fractions.reshape(-1), background_rows.reshape(-1)

    def _group_means(self, problem: SaliencyProblem) -> _RowMeans:
        """For each row: its number; for targets and inputs, means over each group of gradient times displacement, and of the gradient.

        And for inputs, the difference of the group's background rows from the mean of all, (groups, ...).
        """
        assert problem.background is not None  # noqa: S101  # asked by the caller
        background = [b.x.astype(np.float64) for b in problem.background]
        centres = [b.mean(axis=0) for b in background]
        per_group = self.samples // SAMPLE_GROUPS
        drawn: dict[int, tuple[Floats, Indices]] = {}
        sums: dict[int, tuple[_GroupArrays, _GroupArrays]] = {}
        for rows, sample in problem.sample_batches(self.samples, self.name):
            for row in np.unique(rows):
                if int(row) not in drawn:
                    drawn[int(row)] = self.draw_samples(problem, int(row), len(background[0]))
                    sums[int(row)] = (_group_zeros(problem), _group_zeros(problem))
            fractions = np.array([drawn[int(r)][0][s] for r, s in zip(rows, sample, strict=True)])
            background_rows = np.array([drawn[int(r)][1][s] for r, s in zip(rows, sample, strict=True)])
            self._add_gradients(problem, rows, sample // per_group, fractions, background_rows, sums)
            done = [int(r) for r in np.unique(rows) if r != rows[-1] or sample[-1] == self.samples - 1]
            for row in done:
                picked = drawn.pop(row)[1].reshape(SAMPLE_GROUPS, per_group)
                a, g = sums.pop(row)
                centre_error = [
                    None if i.without_gradient else b[picked].mean(axis=1) - c
                    for i, b, c in zip(problem.inputs, background, centres, strict=True)
                ]
                yield row, _divide_sums(a, per_group), _divide_sums(g, per_group), centre_error

    def _add_gradients(
        self,
        problem: SaliencyProblem,
        rows: Indices,
        group: Indices,
        fractions: Floats,
        background_rows: Indices,
        sums: dict[int, tuple[_GroupArrays, _GroupArrays]],
    ) -> None:
        """Evaluate these gradients, and add them to the sums of their groups."""
        assert problem.background is not None  # noqa: S101  # asked by the caller
        starts = [
            i.x[rows] if i.without_gradient else b.x[background_rows].astype(i.x.dtype)
            for i, b in zip(problem.inputs, problem.background, strict=True)
        ]
        displacements, _, grads = path_gradients(problem, rows, starts, np.arange(len(rows)), fractions)
        keys, to = np.unique(rows * SAMPLE_GROUPS + group, return_inverse=True)

        def sum_by_group(values: Array) -> Floats:
            total = problem.net.array(np.zeros((len(keys), *map(int, values.shape[1:])), dtype=np.float32))
            return problem.net.numpy(problem.net.add_at(total, to, values))

        for t, of in enumerate(grads):
            for i, g in enumerate(of):
                if g is None:
                    continue
                both = sum_by_group(displacements[i] * g), sum_by_group(g)
                for n, key in enumerate(keys):
                    row, which = divmod(int(key), SAMPLE_GROUPS)
                    for held, values in zip(sums[row], both, strict=True):
                        a = held[t][i]
                        if a is not None:
                            a[which] += values[n]


def _group_zeros(problem: SaliencyProblem) -> _GroupArrays:
    return [
        [None if i.without_gradient else np.zeros((SAMPLE_GROUPS, *i.x.shape[1:])) for i in problem.inputs]
        for _ in range(problem.target.n_targets)
    ]


def _divide_sums(held: _GroupArrays, count: int) -> _GroupArrays:
    return [[None if a is None else a / count for a in of] for of in held]


def _with_control_variate(a: Floats | None, g: Floats | None, centre_error: Floats | None) -> Floats:
    """Each group's estimate, corrected for the difference of its background rows from the mean of all: (groups, ...)."""
    assert a is not None  # noqa: S101  # asked by the caller
    assert g is not None  # noqa: S101
    assert centre_error is not None  # noqa: S101
    others = (g.sum(axis=0) - g) / (SAMPLE_GROUPS - 1)
    return np.asarray(a + others * centre_error)


def _influence_of_others(g: Floats | None, centre_error: Floats | None) -> Floats:
    """What the gradient of each group adds to the estimates of all others: (groups, ...); nothing if all gradients are the same.

    The corrected mean is a U-statistic of two groups, and its variance has a part of either (Hoeffding, Annals of Mathematical Statistics 19, 1948). Without
    this one, standard errors of few samples are too small.
    """
    assert g is not None  # noqa: S101  # asked by the caller
    assert centre_error is not None  # noqa: S101
    return np.asarray((g - g.mean(axis=0)) * ((centre_error.sum(axis=0) - centre_error) / (SAMPLE_GROUPS - 1)))
