"""Maps by rules of operators: DeepLIFT with rules for every operator of the graph, and guided backpropagation.

Sources: Shrikumar, Greenside & Kundaje 2017 (DeepLIFT, arXiv:1704.02685), equations 1 to 3 and section 3.5.1; Lundberg & Lee 2017 (arXiv:1705.07874),
section 4.2, and Chen, Lundberg & Lee 2022 (doi:10.1038/s41467-022-31384-3), for the mean over references; Springenberg et al. 2015 (guided
backpropagation, arXiv:1412.6806); Sixt, Granz & Landgraf 2020 (arXiv:1912.09818), on what the latter ignores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from whybox.methods.saliency.base import Maps, Method, MethodOutput
from whybox.methods.saliency.baselines import Baseline, in_words, middle, resolve_baselines
from whybox.methods.saliency.problem import Indices, Question
from whybox.models.differentiable import Array, Pull, RuleBackward

__all__ = ["DeepLift", "GuidedBackprop"]


@final
@dataclass(frozen=True)
class DeepLift(Method):
    """How much of score - base each number of the input brings, by multipliers that hold between a reference and the row.

    Maps add up to score - base for every operator that has a rule; others are refused by name. One forward and one backward a row, and one
    forward for each reference that all rows share; with several references the mean over them, with one backward for each.

    Attributes:
        baseline: what stands for "absent"; see whybox.methods.saliency.baselines.resolve_baselines. None: 0, or the background rows.
    """

    baseline: Any = None

    name: ClassVar[str] = "deeplift"
    title: ClassVar[str] = "DeepLIFT"
    background: ClassVar[bool] = True

    def reference(self, q: Question) -> Sequence[npt.NDArray[Any] | None]:
        """The mean of the baselines."""
        return middle(q, self.baseline)

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        q.needs_derivatives(self.name)
        baselines = resolve_baselines(q, self.baseline)
        net, some = q.net, _few(q)
        ruled = net.with_rules(
            "deeplift",
            q.lift(some),
            _lifted(q, baselines[0], some[:1]) if baselines[0].same else _lifted(q, baselines[0], some),
        )
        room = max(2, q.budget // max(ruled.row_saved, q.row_saved))
        out, base = q.zeros(), np.zeros((q.rows, q.target.count))
        shared, own = [b for b in baselines if b.same], [b for b in baselines if not b.same]
        together = int(max(1, min(net.rows_at_once, room // 4)))
        for start in range(0, len(shared), together):
            part = shared[start : start + together]
            held = replace(q, at_once=int(max(1, min(net.rows_at_once, room - len(part)))))
            references = _stacked(q, part)
            for rows in held.blocks(self.name, each=1 + len(part)):
                xs = q.lift(rows)
                outputs, of, pull = ruled.run(xs, references)
                q.learn(rows, net.numpy(outputs))
                values = net.numpy(of)
                for k in range(len(part)):
                    base[rows] += q.target.scores(np.broadcast_to(values[k], (len(rows), *values.shape[1:])), rows)
                one = [tuple(r[k : k + 1] for r in references) for k in range(len(part))]
                _add(q, out, rows, _pulled(q, rows, xs, one, pull))
        paired = replace(q, at_once=int(max(1, min(net.rows_at_once, room // 2))))
        for b in own:
            for rows in paired.blocks(self.name, each=3):
                xs, references = q.lift(rows), _lifted(q, b, rows)
                outputs, of, pull = ruled.run(xs, references, paired=True)
                q.learn(rows, net.numpy(outputs))
                base[rows] += q.target.scores(net.numpy(of), rows)
                _add(q, out, rows, _pulled(q, rows, xs, [references], pull))
        for line in out:
            for a in line:
                if a is not None:
                    np.divide(a, len(baselines), out=a)
        return MethodOutput(
            out,
            "rules of operators",
            f"difference from {in_words(baselines)}",
            base=base / len(baselines),
            exact=True,
            notes=(_met(ruled),),
        )


@final
@dataclass(frozen=True)
class GuidedBackprop(Method):
    """The gradient, of which every ReLU lets through only what is positive, at its input and in the gradient."""

    name: ClassVar[str] = "guided_backprop"
    title: ClassVar[str] = "Guided backpropagation"
    reduces: ClassVar[str] = "max"

    def __call__(self, q: Question) -> MethodOutput:
        """Compute the maps."""
        q.needs_derivatives(self.name)
        ruled = q.net.with_rules("guided", q.lift(_few(q)), None)
        out = q.zeros()
        room = max(1, q.budget // max(ruled.row_saved, q.row_saved))
        for rows in replace(q, at_once=int(min(q.net.rows_at_once, room))).blocks(self.name):
            xs = q.lift(rows)
            outputs, _, pull = ruled.run(xs, None)
            q.learn(rows, q.net.numpy(outputs))
            for t in range(q.target.count):
                cotangent = q.net.array(q.target.cotangent(t, rows))
                found = pull(cotangent, last=t == q.target.count - 1)
                _add(q, out, rows, [(t, found)])
        return MethodOutput(
            out,
            "rules of operators",
            "derivative of the score at the row, of which ReLUs let positive parts through",
            exact=True,
            notes=(
                _met(ruled),
                (
                    "guided backpropagation is known to ignore much of what later layers do: its maps change little when these are drawn anew "
                    "(Sixt, Granz & Landgraf 2020); do not take it for evidence of why this output was chosen"
                ),
            ),
        )


def _met(ruled: RuleBackward) -> str:
    return "operators with a rule: " + (", ".join(f"{k} x {n}" for k, n in sorted(ruled.operators.items())) or "none")


def _few(q: Question) -> Indices:
    """Rows at which what was taken down of the network is compared with it."""
    return np.unique(np.array([0, q.rows - 1], dtype=np.intp))


def _lifted(q: Question, baseline: Baseline, rows: Indices) -> tuple[Array, ...]:
    return tuple(q.net.array(a) for a in baseline.rows(rows))


def _stacked(q: Question, baselines: Sequence[Baseline]) -> tuple[Array, ...]:
    """References that all rows share, one after the other."""
    each = [b.rows(np.zeros(1, dtype=np.intp)) for b in baselines]
    return tuple(q.net.array(np.concatenate(parts)) for parts in zip(*each, strict=True))


def _pulled(
    q: Question, rows: Indices, xs: tuple[Array, ...], references: Sequence[tuple[Array, ...]], pull: Pull
) -> Iterator[tuple[int, list[Array | None]]]:
    """For each target: multipliers times differences, summed over references."""
    count = q.target.count
    for t in range(count):
        cotangent = q.net.array(q.target.cotangent(t, rows))
        total: list[Array | None] = [None] * len(xs)
        for k, reference in enumerate(references):
            grads = pull(cotangent, last=t == count - 1 and k == len(references) - 1, of=k)
            for i, g in enumerate(grads):
                if g is not None:
                    change = xs[i] * g - reference[i] * g  # in the type of g, where inputs have 16 bits
                    total[i] = change if total[i] is None else total[i] + change
        yield t, total


def _add(q: Question, out: Maps, rows: Indices, found: Any) -> None:
    for t, of in found:
        for i, a in enumerate(of):
            to = out[t][i]
            if to is not None and a is not None:
                to[rows[0] : rows[-1] + 1] += q.net.numpy(a)
