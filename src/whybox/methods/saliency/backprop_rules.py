"""Maps by rules of operators: DeepLIFT with rules for every operator of the graph, and guided backpropagation.

Sources: Shrikumar, Greenside & Kundaje 2017 (DeepLIFT, arXiv:1704.02685), equations 1 to 3 and section 3.5.1; Lundberg & Lee 2017 (arXiv:1705.07874),
section 4.2, and Chen, Lundberg & Lee 2022 (doi:10.1038/s41467-022-31384-3), for the mean over references; Springenberg et al. 2015 (guided
backpropagation, arXiv:1412.6806); Sixt, Granz & Landgraf 2020 (arXiv:1912.09818), on what guided backpropagation ignores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.methods.saliency.base import Method, MethodOutput, TargetMaps
from whybox.methods.saliency.baselines import Baseline, describe_baselines, mean_baseline, resolve_baselines
from whybox.methods.saliency.problem import Indices, SaliencyProblem
from whybox.models.differentiable import Array, Pullback, RuleBackward

__all__ = ["DeepLift", "GuidedBackprop"]


@final
@dataclass(frozen=True)
class DeepLift(Method):
    """How much each number of the input contributes to score - base, by multipliers between a baseline and the row.

    Maps add up to score - base for every operator that has a rule; others are refused by name. One forward and one backward a row, and one
    forward for each baseline that all rows share; with several baselines the mean over them, with one backward for each.

    Attributes:
        baseline: what "absent" means; see whybox.methods.saliency.baselines.resolve_baselines. None: 0, or the background rows.
    """

    baseline: Any = None

    name: ClassVar[str] = "deeplift"
    title: ClassVar[str] = "DeepLIFT"
    takes_background: ClassVar[bool] = True

    def reference_inputs(self, problem: SaliencyProblem) -> Sequence[npt.NDArray[Any] | None]:
        """The mean of the baselines."""
        return mean_baseline(problem, self.baseline)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        problem.require_derivatives(self.name)
        baselines = resolve_baselines(problem, self.baseline)
        net, some = problem.net, _comparison_rows(problem)
        rule_backward = net.with_rules(
            "deeplift",
            problem.to_device(some),
            _baseline_rows(problem, baselines[0], some[:1])
            if baselines[0].is_shared
            else _baseline_rows(problem, baselines[0], some),
        )
        max_rows_in_budget = max(2, problem.budget // max(rule_backward.row_bytes, problem.row_bytes))
        out, base = problem.zero_maps(), np.zeros((problem.n_rows, problem.target.n_targets))
        shared, own = [b for b in baselines if b.is_shared], [b for b in baselines if not b.is_shared]
        together = int(max(1, min(net.max_batch_size, max_rows_in_budget // 4)))
        for start in range(0, len(shared), together):
            some_shared = shared[start : start + together]
            batched = replace(
                problem, batch_size=int(max(1, min(net.max_batch_size, max_rows_in_budget - len(some_shared))))
            )
            references = _stack_shared(problem, some_shared)
            for rows in batched.row_batches(self.name, passes=1 + len(some_shared)):
                xs = problem.to_device(rows)
                outputs, reference_outputs, pull = rule_backward.run(xs, references)
                problem.record_outputs(rows, net.numpy(outputs))
                values = net.numpy(reference_outputs)
                for k in range(len(some_shared)):
                    base[rows] += problem.target.select_scores(
                        np.broadcast_to(values[k], (len(rows), *values.shape[1:])), rows
                    )
                single_references = [tuple(r[k : k + 1] for r in references) for k in range(len(some_shared))]
                _add_to_rows(problem, out, rows, _target_attributions(problem, rows, xs, single_references, pull))
        paired = replace(problem, batch_size=int(max(1, min(net.max_batch_size, max_rows_in_budget // 2))))
        for b in own:
            for rows in paired.row_batches(self.name, passes=3):
                xs, references = problem.to_device(rows), _baseline_rows(problem, b, rows)
                outputs, reference_outputs, pull = rule_backward.run(xs, references, paired=True)
                problem.record_outputs(rows, net.numpy(outputs))
                base[rows] += problem.target.select_scores(net.numpy(reference_outputs), rows)
                _add_to_rows(problem, out, rows, _target_attributions(problem, rows, xs, [references], pull))
        for line in out:
            for a in line:
                if a is not None:
                    np.divide(a, len(baselines), out=a)
        return MethodOutput(
            out,
            "rules of operators",
            f"difference from {describe_baselines(baselines)}",
            base_scores=base / len(baselines),
            exact=True,
            notes=(_operator_note(rule_backward),),
        )


@final
@dataclass(frozen=True)
class GuidedBackprop(Method):
    """The gradient, where every ReLU passes only positive values, at its input and in the gradient."""

    name: ClassVar[str] = "guided_backprop"
    title: ClassVar[str] = "Guided backpropagation"
    default_reduce: ClassVar[str] = "max"

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps."""
        problem.require_derivatives(self.name)
        rule_backward = problem.net.with_rules("guided", problem.to_device(_comparison_rows(problem)), None)
        out = problem.zero_maps()
        max_rows_in_budget = max(1, problem.budget // max(rule_backward.row_bytes, problem.row_bytes))
        for rows in replace(problem, batch_size=int(min(problem.net.max_batch_size, max_rows_in_budget))).row_batches(
            self.name
        ):
            xs = problem.to_device(rows)
            outputs, _, pull = rule_backward.run(xs, None)
            problem.record_outputs(rows, problem.net.numpy(outputs))
            for t in range(problem.target.n_targets):
                cotangent = problem.net.array(problem.target.cotangent(t, rows))
                grads = pull(cotangent, last=t == problem.target.n_targets - 1)
                _add_to_rows(problem, out, rows, [(t, grads)])
        return MethodOutput(
            out,
            "rules of operators",
            "derivative of the score at the row, where ReLUs pass positive parts only",
            exact=True,
            notes=(
                _operator_note(rule_backward),
                (
                    "guided backpropagation is known to ignore much of what later layers do: its maps change little when their parameters are randomised "
                    "(Sixt, Granz & Landgraf 2020); it is no evidence of why this output was chosen"
                ),
            ),
        )


def _operator_note(rule_backward: RuleBackward) -> str:
    return "operators with a rule: " + (
        ", ".join(f"{k} x {n}" for k, n in sorted(rule_backward.operators.items())) or "none"
    )


def _comparison_rows(problem: SaliencyProblem) -> Indices:
    """Rows at which the traced graph is compared with the network."""
    return np.unique(np.array([0, problem.n_rows - 1], dtype=np.intp))


def _baseline_rows(problem: SaliencyProblem, baseline: Baseline, rows: Indices) -> tuple[Array, ...]:
    return tuple(problem.net.array(a) for a in baseline.for_rows(rows))


def _stack_shared(problem: SaliencyProblem, baselines: Sequence[Baseline]) -> tuple[Array, ...]:
    """Baselines that all rows share, stacked."""
    each = [b.for_rows(np.zeros(1, dtype=np.intp)) for b in baselines]
    return tuple(problem.net.array(np.concatenate(parts)) for parts in zip(*each, strict=True))


def _target_attributions(
    problem: SaliencyProblem,
    rows: Indices,
    xs: tuple[Array, ...],
    references: Sequence[tuple[Array, ...]],
    pull: Pullback,
) -> Iterator[tuple[int, list[Array | None]]]:
    """For each target: multipliers times differences, summed over references."""
    count = problem.target.n_targets
    for t in range(count):
        cotangent = problem.net.array(problem.target.cotangent(t, rows))
        total: list[Array | None] = [None] * len(xs)
        for k, reference in enumerate(references):
            grads = pull(cotangent, last=t == count - 1 and k == len(references) - 1, reference=k)
            for i, g in enumerate(grads):
                if g is not None:
                    change = xs[i] * g - reference[i] * g  # in the type of g, where inputs have 16 bits
                    total[i] = change if total[i] is None else total[i] + change
        yield t, total


def _add_to_rows(problem: SaliencyProblem, out: TargetMaps, rows: Indices, grads: Any) -> None:
    for t, target_grads in grads:
        for i, a in enumerate(target_grads):
            total = out[t][i]
            if total is not None and a is not None:
                total[rows[0] : rows[-1] + 1] += problem.net.numpy(a)
