"""Guided Grad-CAM: guided backpropagation, times the Grad-CAM map of a layer at each position.

Source: Selvaraju et al. 2017 (arXiv:1610.02391), section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from whybox.methods.saliency.backprop_rules import GuidedBackprop
from whybox.methods.saliency.base import Method, MethodOutput, TargetMaps
from whybox.methods.saliency.cam import GradCam
from whybox.methods.saliency.problem import SaliencyProblem

__all__ = ["GuidedGradCam"]


@final
@dataclass(frozen=True)
class GuidedGradCam(Method):
    """Guided backpropagation, position by position times the Grad-CAM map of a layer, which is interpolated to the input.

    Attributes:
        layer, layer_axes, grid, reshape, on_input, call: of Grad-CAM.
    """

    layer: str | None = None
    layer_axes: Any = None
    grid: Any = None
    reshape: Any = None
    on_input: Any = None
    call: int | str | None = None

    name: ClassVar[str] = "guided_gradcam"
    title: ClassVar[str] = "Guided Grad-CAM"
    default_reduce: ClassVar[str | None] = "max"
    needs_channels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        cam = self._grad_cam()  # which checks the options
        object.__setattr__(self, "layer_axes", cam.layer_axes)
        object.__setattr__(self, "grid", cam.grid)

    def _grad_cam(self) -> GradCam:
        return GradCam(
            layer=self.layer,
            layer_axes=self.layer_axes,
            grid=self.grid,
            reshape=self.reshape,
            on_input=self.on_input,
            call=self.call,
        )

    def with_resolved(self, settings: Mapping[str, Any]) -> Method:
        """See Method: the axes are those that were found before."""
        cam = self._grad_cam().with_resolved(settings)
        assert isinstance(cam, GradCam)  # noqa: S101  # for the types
        return replace(
            self, layer=cam.layer, layer_axes=cam.layer_axes, grid=cam.grid, on_input=cam.on_input, call=cam.call
        )

    def __call__(self, problem: SaliencyProblem) -> MethodOutput:
        """Compute the maps.

        Raises:
            UnsupportedModelError: see GuidedBackprop and GradCam.
        """
        guided, cam = GuidedBackprop()(problem), self._grad_cam()(replace(problem, reduce="sum"))
        maps: TargetMaps = [
            [
                None if g is None or c is None else g * input_.with_channel(c)
                for g, c, input_ in zip(of_guided, of_cam, problem.inputs, strict=True)
            ]
            for of_guided, of_cam in zip(guided.maps, cam.maps, strict=True)
        ]
        return MethodOutput(
            maps,
            f"{guided.kernel}; {cam.kernel}",
            f"{guided.estimand}, times the Grad-CAM map: {cam.estimand}",
            exact=True,
            units="weighted activation x derivative",
            notes=(*guided.notes, *cam.notes),
            resolved_options=cam.resolved_options,
        )
