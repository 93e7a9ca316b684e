"""Conductance of a layer: how much of the change of the score, from a baseline to the row, passes through each of its units.

Source: Dhamdhere, Sundararajan & Yan 2018 (arXiv:1805.12233), definition 2: the integral, along the straight path of the inputs, of the derivative of the score
by the unit times the unit's own change. It is computed from that form, the sum of (mean of two neighbouring gradients) x (difference of the unit), a trapezoidal
rule, at twice as many points until it is at rest, and extrapolated from the last two (Richardson).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt

from whybox.core.validation import check_positive, check_whole_number
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.baselines import Baseline, describe_baselines, resolve_baselines
from whybox.methods.saliency.integrated_gradients import baseline_scores
from whybox.methods.saliency.layer_problem import LayerMethod, layer_problem
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import LayerTap

__all__ = ["FIRST_STEPS", "Conductance"]

FIRST_STEPS: Final = 16
AT_START: Final = 1e-6  # fraction of the path at which its first gradient is taken: a baseline of zeros is often on a kink, where the derivative is of neither side
MAX_BYPASS: Final = 1e-3  # of the score's change: what more of it comes from past the layer is noted


@final
@dataclass(frozen=True)
class Conductance(LayerMethod):
    """The part of score - base that passes through each unit of a layer. If all of it passes through the layer, it adds up to score - base.

    Attributes:
        baseline: of the inputs; see whybox.methods.saliency.baselines; several are averaged.
        tol: completeness error wanted, relative to ``|score - base|``; the map must not differ by more than three times this (relative, Euclidean) from that of
            half as many steps. Rows that miss either are marked.
        steps: a fixed number of steps instead, even; None: as many as `tol` needs: 16, 32, 64, ...
        max_steps: most steps for a row and baseline.
    """

    baseline: Any = None
    tol: float = 0.01
    steps: int | None = None
    max_steps: int = 512

    name: ClassVar[str] = "conductance"
    title: ClassVar[str] = "Conductance of a layer"
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("tol", self.tol, 1.0)
        check_whole_number("max_steps", self.max_steps, FIRST_STEPS)
        if self.steps is not None and check_whole_number("steps", self.steps, 2) % 2:
            raise OptionError(
                Argument("steps", self.steps), " must be even: the map is compared with that of half as many."
            )

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps.

        Raises:
            OptionError, UnsupportedModelError: see layer_problem.
        """
        problem.require_derivatives(self.name)
        problem = self.at_call(problem)
        at_layer = layer_problem(problem, self)
        baselines = resolve_baselines(problem, self.baseline)
        bases = baseline_scores(problem, baselines)
        paths = [_LayerPaths(problem, at_layer, self, b, base) for b, base in zip(baselines, bases, strict=True)]
        for path in paths:
            path.run()
        maps = np.mean([path.maps for path in paths], axis=0)
        change = np.max([path.map_change for path in paths], axis=0)
        passes = max(_bypass(problem, at_layer, b, base) for b, base in zip(baselines, bases, strict=True))
        whole = passes <= MAX_BYPASS
        held = [None] * len(problem.whole_inputs)
        tail = ("row", "output") if problem.target.has_output_axis else ("row",)
        return MethodOutput(
            [[of, *held] for of in maps],
            "trapezoidal rule along the path, with as many steps as a row needs, extrapolated"
            if self.steps is None
            else f"{self.steps} steps, extrapolated",
            f"part of score - base that passes through the {self.place(problem)}, along the straight path of the inputs from the baseline ({describe_baselines(baselines)})",
            base_scores=bases.mean(axis=0) if whole else None,
            relative_tolerance=self.tol,
            converged=change <= 3 * self.tol,
            units="score",
            notes=() if whole else (_bypass_note(self.place(problem), passes),),
            extras={
                "steps": (("row",), np.sum([path.steps for path in paths], axis=0)),
                "map_change": (tail, change if problem.target.has_output_axis else change[:, 0]),
            },
            explained=(at_layer, self),
        )


def _bypass_note(place: str, passes: float) -> str:
    return (
        f"PARTIAL: the score depends on the inputs past the {place} too (by up to {passes:.2g} of score - base, if these alone are at the baseline), so the map "
        "adds up to the part of score - base that passes through the layer"
    )


def _bypass(problem: SaliencyProblem, at_layer: SaliencyProblem, baseline: Baseline, base: Floats) -> float:
    """How far scores move, at most, if the network's inputs go to the baseline and the layer stays, relative to score - base; beyond rounding."""
    count = len(problem.whole_inputs)
    scores, moved = problem.scores, np.empty_like(base)
    for rows in at_layer.row_batches(Conductance.name):
        layer, absent = at_layer.inputs[0].x[rows], baseline.for_rows(rows)[-count:]
        moved[rows] = at_layer.scores_at_points(tuple(map(at_layer.net.array, (layer, *absent))), rows)
    largest = np.abs(problem.outputs).reshape(problem.n_rows, -1).max(axis=1, keepdims=True)
    rounding = (2e-2 if "16" in problem.net.arithmetic else 1e-5) * largest
    return float((np.maximum(np.abs(moved - scores) - rounding, 0) / (np.abs(scores - base) + rounding + 1e-300)).max())


class _LayerPaths:
    """The paths of all rows from one baseline, at more and more points."""

    def __init__(
        self, problem: SaliencyProblem, at_layer: SaliencyProblem, method: Conductance, baseline: Baseline, base: Floats
    ) -> None:
        self.problem, self.at_layer, self.method, self.baseline, self.base = problem, at_layer, method, baseline, base
        count, targets = problem.n_rows, problem.target.n_targets
        self.maps = np.zeros((targets, *at_layer.inputs[0].x.shape))
        self.map_change = np.zeros((count, targets))
        self.steps = np.zeros(count, dtype=np.int64)

    def run(self) -> None:
        """Double the number of steps until every row is at rest."""
        rows = np.arange(self.problem.n_rows)
        steps = self.method.steps or FIRST_STEPS
        while len(rows):
            self._evaluate(rows, steps)
            at_rest = (self.map_change[rows] <= 3 * self.method.tol).all(axis=1) & self._adds_up(rows)
            rows = rows[~at_rest]
            steps *= 2
            if self.method.steps is not None or steps > self.method.max_steps:
                return

    def _adds_up(self, rows: Indices) -> npt.NDArray[np.bool_]:
        """Whether maps add up within the tolerance; where some of the change passes the layer by, they never will, and these rows take all steps only if they moved."""
        change = self.problem.scores[rows] - self.base[rows]
        sums = self.maps[:, rows].reshape(len(self.maps), len(rows), -1).sum(axis=2).T
        rounding = 1e-5 * (np.abs(self.problem.scores[rows]) + np.abs(self.base[rows])) + 1e-12
        adds_up = np.abs(sums - change) <= np.maximum(self.method.tol * np.abs(change), rounding)
        still = self.map_change[rows] <= 0.1 * self.method.tol
        return np.asarray((adds_up | still).all(axis=1))

    def _evaluate(self, rows: Indices, steps: int) -> None:
        """The maps of these rows from so many steps and from half as many."""
        problem, targets = self.problem, self.problem.target.n_targets
        fine = np.zeros((targets, len(rows), *self.maps.shape[2:]))
        coarse = np.zeros_like(fine)
        last: dict[int, tuple[Floats, list[Floats]]] = {}  # the row's last node, by the distance to the next: 1 or 2
        for index in problem.index_batches(len(rows) * (steps + 1), self.method.name):
            which, node = index // (steps + 1), index % (steps + 1)
            values, gradients = self._nodes(rows[which], np.maximum(node / steps, AT_START))
            for k, (row, at) in enumerate(zip(which, node, strict=True)):
                here = values[k], [g[k] for g in gradients]
                for stride, total in ((1, fine), (2, coarse)):
                    if at % stride:
                        continue
                    if at:
                        before, slopes = last[stride]
                        for t in range(targets):
                            total[t, row] += (slopes[t] + here[1][t]) / 2 * (here[0] - before)
                    last[stride] = here
        best = fine + (fine - coarse) / 3
        self.maps[:, rows] = best
        self.steps[rows] = steps
        apart, size = (np.sqrt(np.square(a.reshape(*a.shape[:2], -1)).sum(axis=2)) for a in (fine - coarse, best))
        self.map_change[rows] = (apart / np.maximum(size, 1e-300)).T * (apart > 1e-12).T

    def _nodes(self, rows: Indices, t: Floats) -> tuple[Floats, list[Floats]]:
        """The layer, and the gradients of each target by it, at fractions of the paths of these rows."""
        problem, net = self.problem, self.problem.net
        points = []
        for input_, start in zip(problem.inputs, self.baseline.for_rows(rows), strict=True):
            end = input_.x[rows]
            if not input_.without_gradient:
                along = t.reshape(-1, *(1,) * (end.ndim - 1))
                end = (start + along * (end.astype(np.float64) - start)).astype(input_.x.dtype)
            points.append(net.array(end))
        tap = net.tap_layer(tuple(points), self.method.named_layer(problem), self.method.side)
        count = problem.target.n_targets
        gradients = [
            tap.pullback(net.array(problem.target.cotangent(k, rows)), last=k == count - 1) for k in range(count)
        ]
        self._check(rows, points, tap, gradients)
        return net.numpy(tap.activation), [net.numpy(g) for g in gradients]

    def _check(self, rows: Indices, points: Sequence[Any], tap: LayerTap, gradients: Sequence[Any]) -> None:
        """Note the nodes for spot checks, and compare the first derivatives with differences of outputs."""
        whole = points[len(self.problem.net.replaced_calls) :]
        xs, none = (tap.activation, *whole), (None,) * len(whole)
        grads = [(g, *none) for g in gradients]
        if self.at_layer.spot_record is not None:
            self.at_layer.spot_record.add_points(self.at_layer.net, rows, xs, grads)
        if not self.problem.row_outputs.derivatives_checked:
            self.problem.check_derivatives(self.at_layer.net, xs, rows, grads, tap.outputs, {0: None})
