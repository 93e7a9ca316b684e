"""The methods by name, and their options."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from whybox.errors import Argument, OptionError, did_you_mean
from whybox.methods.saliency.backprop_rules import DeepLift, GuidedBackprop
from whybox.methods.saliency.base import Method
from whybox.methods.saliency.cam import GradCam, GradCamPlusPlus, LayerCam, ScoreCam
from whybox.methods.saliency.expected_gradients import ExpectedGradients
from whybox.methods.saliency.gradients import Gradient, GradientInput, SmoothGrad, VarGrad
from whybox.methods.saliency.integrated_gradients import IntegratedGradients
from whybox.methods.saliency.occlusion import Occlusion
from whybox.methods.saliency.rise import Rise
from whybox.methods.saliency.segment_shapley import ShapleyParts
from whybox.methods.saliency.segments import Ablation

__all__ = ["METHODS", "make"]

METHODS: Final[dict[str, type[Method]]] = {
    m.name: m
    for m in (
        Gradient,
        GradientInput,
        SmoothGrad,
        VarGrad,
        IntegratedGradients,
        GradCam,
        GradCamPlusPlus,
        LayerCam,
        ScoreCam,
        Occlusion,
        Rise,
        Ablation,
        ShapleyParts,
        DeepLift,
        GuidedBackprop,
        ExpectedGradients,
    )
}


def make(method: Any, options: dict[str, Any]) -> Method:
    """Return a method by its name and options, or as it is given.

    Raises:
        OptionError: no such method, or an option it does not have.
    """
    if isinstance(method, Method):
        if options:
            raise OptionError(
                f"{', '.join(options)}: options go into the method itself: ",
                Argument("method", example=f"{type(method).__name__}(...)"),
                ".",
            )
        return method
    cls = METHODS.get(method) if isinstance(method, str) else None
    if cls is None:
        raise OptionError(Argument("method", method), " is not known.", known=METHODS)
    known = [f.name for f in fields(cls)]
    for name in options:
        if name not in known:
            raise OptionError(
                Argument(name, example=""),
                " is no option of ",
                Argument("method", method),
                f".{did_you_mean(name, known) if known else ' It has none.'}",
            )
    return cls(**options)
