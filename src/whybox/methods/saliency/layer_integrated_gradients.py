"""Integrated gradients of a layer: on the straight line from its output at the baseline to its output at the row.

Source: Sundararajan, Taly & Yan 2017 (arXiv:1703.01365), equation 1, of the part of the network that begins at the layer (LayerIntegratedGradients of captum).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from whybox.errors import Argument, OptionError
from whybox.methods.saliency.base import MethodOutput
from whybox.methods.saliency.baselines import Baseline, describe_baselines, resolve_baselines
from whybox.methods.saliency.integrated_gradients import IntegratedGradients
from whybox.methods.saliency.layer_problem import LayerMethod, baseline_at_layer, layer_problem
from whybox.methods.saliency.problem import SaliencyProblem

__all__ = ["LayerIntegratedGradients"]


@final
@dataclass(frozen=True)
class LayerIntegratedGradients(LayerMethod):
    """The mean gradient by a layer's output between its output at the baseline and at the row, times the difference; other inputs of later layers stay the row's.

    It adds up to the score, less the score of the row with the layer's output at the baseline in its place.

    Attributes:
        baseline: of the inputs, whole numbers too; see whybox.methods.saliency.baselines. tol, steps, max_steps: as of IntegratedGradients.
    """

    baseline: Any = None
    tol: float = 0.01
    steps: int | None = None
    max_steps: int = 512

    name: ClassVar[str] = "layer_integrated_gradients"
    title: ClassVar[str] = "Integrated gradients of a layer"
    takes_background: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._along(None)

    def _along(self, baseline: Any) -> IntegratedGradients:
        """Integrated gradients from these baselines, with these options."""
        return IntegratedGradients(baseline, self.tol, self.steps, self.max_steps)

    def _baselines(self, problem: SaliencyProblem) -> tuple[Baseline, ...]:
        """Baselines of the inputs; of whole numbers too, since the path is the layer's own.

        Raises:
            OptionError: all inputs are whole numbers, and nothing says what stands for absent.
        """
        if self.baseline is None and problem.background is None and all(i.without_gradient for i in problem.inputs):
            raise OptionError(
                Argument("method", self.name),
                " begins at a baseline of the inputs, and whole numbers (token ids, categories) have none of their own; give the number that stands for absent, ",
                Argument("baseline", 0),
                ", an array of them, or background rows.",
            )
        return resolve_baselines(problem, self.baseline, whole_numbers=True)

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps.

        Raises:
            OptionError, UnsupportedModelError: see layer_problem. LimitError: see IntegratedGradients.
        """
        problem = self.at_call(problem)
        at_layer = layer_problem(problem, self)
        baselines = self._baselines(problem)
        held = (None,) * len(problem.whole_inputs)
        method = self._along([(baseline_at_layer(problem, self, baseline), *held) for baseline in baselines])
        output = method(at_layer)
        estimand = f"gradient by the {self.place(problem)}, integrated on the straight line from what it is at the baseline of the inputs ({describe_baselines(baselines)})"
        return replace(output, estimand=estimand, explained=(at_layer, method))
