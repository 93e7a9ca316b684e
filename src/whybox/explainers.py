# ruff: noqa: PLC0414  # imports under the same name are what type checkers take as public
"""The explainer classes: options in ``__init__``, work in ``__call__``, reusable and picklable; and the methods of saliency as objects.

A method of saliency holds its options and goes wherever its name goes: ``wb.saliency(net, x, method=IntegratedGradients(baseline="blur"))``. Each class is
loaded when it is first used; the list of methods (whybox/methods/registry.py) says where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from whybox.core.lazy_names import lazy_names
from whybox.methods.registry import methods

if TYPE_CHECKING:
    from whybox.games.indices import Index as Index
    from whybox.methods.anchors.explainer import Anchors as Anchors
    from whybox.methods.lime.explainer import Lime as Lime
    from whybox.methods.saliency.backprop_rules import DeepLift as DeepLift
    from whybox.methods.saliency.backprop_rules import GuidedBackprop as GuidedBackprop
    from whybox.methods.saliency.cam import GradCam as GradCam
    from whybox.methods.saliency.cam import GradCamPlusPlus as GradCamPlusPlus
    from whybox.methods.saliency.cam import LayerCam as LayerCam
    from whybox.methods.saliency.cam import ScoreCam as ScoreCam
    from whybox.methods.saliency.conductance import Conductance as Conductance
    from whybox.methods.saliency.expected_gradients import ExpectedGradients as ExpectedGradients
    from whybox.methods.saliency.explainer import Saliency as Saliency
    from whybox.methods.saliency.gradients import Gradient as Gradient
    from whybox.methods.saliency.gradients import GradientInput as GradientInput
    from whybox.methods.saliency.gradients import SmoothGrad as SmoothGrad
    from whybox.methods.saliency.gradients import VarGrad as VarGrad
    from whybox.methods.saliency.guided_gradcam import GuidedGradCam as GuidedGradCam
    from whybox.methods.saliency.integrated_gradients import IntegratedGradients as IntegratedGradients
    from whybox.methods.saliency.layer_integrated_gradients import LayerIntegratedGradients as LayerIntegratedGradients
    from whybox.methods.saliency.lime import LimeParts as LimeParts
    from whybox.methods.saliency.occlusion import Occlusion as Occlusion
    from whybox.methods.saliency.rise import Rise as Rise
    from whybox.methods.saliency.segment_shapley import ShapleyParts as ShapleyParts
    from whybox.methods.saliency.segments import Ablation as Ablation
    from whybox.methods.shap.explainers import AdditiveShap as AdditiveShap
    from whybox.methods.shap.explainers import LinearShap as LinearShap
    from whybox.methods.shap.explainers import TreeShap as TreeShap
    from whybox.methods.shap.game_explainer import ExactShap as ExactShap
    from whybox.methods.shap.game_explainer import SampledShap as SampledShap
    from whybox.methods.shap.partition import PartitionShap as PartitionShap

_SALIENCY_NAMES: Final = {name: place for place, _, name in (spec.run.partition(":") for spec in methods("saliency"))}
_MODULE_OF_NAME: Final = {
    "AdditiveShap": "whybox.methods.shap.explainers",
    "Anchors": "whybox.methods.anchors.explainer",
    "ExactShap": "whybox.methods.shap.game_explainer",
    "Index": "whybox.games.indices",
    "Lime": "whybox.methods.lime.explainer",
    "LinearShap": "whybox.methods.shap.explainers",
    "PartitionShap": "whybox.methods.shap.partition",
    "SampledShap": "whybox.methods.shap.game_explainer",
    "Saliency": "whybox.methods.saliency.explainer",
    "TreeShap": "whybox.methods.shap.explainers",
    **_SALIENCY_NAMES,
}

__all__ = sorted(_MODULE_OF_NAME)  # noqa: PLE0605  # from the list of methods

__getattr__ = lazy_names(__name__, _MODULE_OF_NAME)


def __dir__() -> list[str]:
    return sorted(__all__)
