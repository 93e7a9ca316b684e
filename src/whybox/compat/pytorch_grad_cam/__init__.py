"""The names of pytorch_grad_cam, answered by :func:`whybox.saliency`; docs/from_pytorch_grad_cam.md says what is honoured, what is refused and what differs on purpose."""

from __future__ import annotations

from typing import Final

from whybox.compat.pytorch_grad_cam.cam import (
    BaseCAM,
    GradCAM,
    GradCAMPlusPlus,
    GuidedBackpropReLUModel,
    LayerCAM,
    ScoreCAM,
)
from whybox.compat.refused import refused_names

__all__ = ["BaseCAM", "GradCAM", "GradCAMPlusPlus", "GuidedBackpropReLUModel", "LayerCAM", "ScoreCAM"]

_COMPONENTS: Final = "a principal component has no sign of its own, so its map may show the opposite; GradCAM weighs channels by the score."
_POSITIONS: Final = "LayerCAM weighs each position by the positive part of its own derivative."

REFUSED: Final = {
    "AblationCAM": "ScoreCAM weighs channels by scores too; wb.saliency(model, x, method='occlusion') leaves parts of the input out.",
    "DeepFeatureFactorization": "it factorizes activations and explains no score; GradCAM.",
    "EigenCAM": _COMPONENTS,
    "EigenGradCAM": _COMPONENTS,
    "FEM": "it looks at activations alone and explains no score; GradCAM.",
    "FinerCAM": "GradCAM of a target that is a difference of outputs: targets=[lambda output: output[3] - output[5]].",
    "FullGrad": "it adds gradients of biases without a rule for each operator; wb.saliency(model, x, method='integrated_gradients') adds up.",
    "GradCAMElementWise": _POSITIONS,
    "HiResCAM": _POSITIONS,
    "KPCA_CAM": _COMPONENTS,
    "RandomCAM": "wb.check(e, model, x) compares a map with random ones.",
    "SegEigenCAM": _COMPONENTS,
    "ShapleyCAM": "wb.saliency(model, x, method='shapley') has Shapley values of parts of the picture.",
    "XGradCAM": "GradCAM; after a ReLU, channels are weighted by derivatives in both.",
}

__getattr__ = refused_names(__name__, REFUSED)
