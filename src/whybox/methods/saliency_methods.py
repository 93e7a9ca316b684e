"""The methods of saliency, for neural networks, as data."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from whybox.methods.method_spec import MethodSpec

__all__ = ["SALIENCY_METHODS"]

_MAP_FIGURES: Final = ("overlay", "beside", "track", "words", "bar", "beeswarm", "heatmap", "scatter")


def _map(id: str, where: str, title: str, summary: str, reference: str, **more: Any) -> MethodSpec:  # noqa: A002  # the name of the field
    """A method of saliency; `where` is ``"file:Class"`` in methods/saliency."""
    shared = {
        "needs": ("gradients",),
        "figures": _MAP_FIGURES,
        "section": "maps",
        "command": "saliency",
    }
    place = f"whybox.methods.saliency.{where}"
    return MethodSpec(
        id=id, family="saliency", title=title, summary=summary, reference=reference, run=place, options=place, **(shared | more)
    )  # fmt: skip


# methods whose maps are of a layer that the user names
_layer_map = partial(
    _map,
    needs=("gradients", "named layer"),
    section=None,
    takes=("background",),
    figures=("overlay", "beside", "bar", "beeswarm", "heatmap", "scatter"),
    additive=True,
    exact=False,
)


SALIENCY_METHODS: Final = (
    _map(
        "gradient",
        "gradients:Gradient",
        "Gradient",
        "derivative of the score by each number",
        "Simonyan, Vedaldi and Zisserman 2014, arXiv:1312.6034",
        cost="1 forward, 1 backward",
    ),
    _map(
        "gradient_x_input",
        "gradients:GradientInput",
        "Gradient x input",
        "the gradient, times the input",
        "Shrikumar et al. 2016, arXiv:1605.01713",
        cost="1 forward, 1 backward",
    ),
    _map(
        "smoothgrad",
        "gradients:SmoothGrad",
        "SmoothGrad",
        "mean of the gradient under noise, relative to the row's own range, in antithetic pairs, with a standard error",
        "Smilkov et al. 2017, arXiv:1706.03825",
        exact=False,
        cost="`samples` forwards and backwards",
    ),
    _map(
        "vargrad",
        "gradients:VarGrad",
        "VarGrad",
        "variance of the gradient under noise, relative to the row's own range, in antithetic pairs",
        "Adebayo et al. 2018, arXiv:1810.03292",
        signed=False,
        exact=False,
        cost="`samples` forwards and backwards",
    ),
    _map(
        "integrated_gradients",
        "integrated_gradients:IntegratedGradients",
        "Integrated gradients",
        "the gradient integrated from a baseline; adds up to score less baseline score within `tol` with as many steps as a row needs (or `steps`), or the row is marked",
        "Sundararajan, Taly and Yan 2017, arXiv:1703.01365",
        takes=("background",),
        additive=True,
        exact=False,
        cost="as many steps as the row needs",
    ),
    _map(
        "expected_gradients",
        "expected_gradients:ExpectedGradients",
        "Expected gradients",
        "integrated gradients from rows of the background, stratified, with a standard error",
        "Erion et al. 2021, arXiv:1906.10670",
        needs=("gradients", "background"),
        additive=True,
        exact=False,
        cost="`samples` forwards and backwards",
    ),
    _map(
        "deeplift",
        "backprop_rules:DeepLift",
        "DeepLIFT",
        "differences from a baseline, propagated back by a rule for each operator; adds up exactly; an operator without a rule is refused by name",
        "Shrikumar, Greenside and Kundaje 2017, arXiv:1704.02685",
        takes=("background",),
        additive=True,
        cost="1 forward, 1 backward, 1 forward of the baseline",
    ),
    _map(
        "guided_backprop",
        "backprop_rules:GuidedBackprop",
        "Guided backpropagation",
        "gradients through ReLUs where input and gradient are both positive; refused where that is the plain gradient",
        "Springenberg et al. 2015, arXiv:1412.6806",
        cost="1 forward, 1 backward",
    ),
    _map(
        "gradcam",
        "cam:GradCam",
        "Grad-CAM",
        "a layer's activations weighted by their mean gradients; negative sums are 0",
        "Selvaraju et al. 2017, arXiv:1610.02391",
        needs=("gradients", "layer"),
        signed=False,
        cost="1 forward, 1 backward to the layer",
    ),
    _map(
        "gradcam++",
        "cam:GradCamPlusPlus",
        "Grad-CAM++",
        "Grad-CAM with a weight for each position",
        "Chattopadhyay et al. 2018, arXiv:1710.11063",
        needs=("gradients", "layer"),
        signed=False,
        cost="1 forward, 1 backward to the layer",
    ),
    _map(
        "layercam",
        "cam:LayerCam",
        "LayerCAM",
        "a layer's activations weighted by the positive part of their own gradients",
        "Jiang et al. 2021, doi:10.1109/TIP.2021.3089943",
        needs=("gradients", "layer"),
        signed=False,
        cost="1 forward, 1 backward to the layer",
    ),
    _map(
        "scorecam",
        "cam:ScoreCam",
        "Score-CAM",
        "a layer's activations weighted by the score of the input seen through them",
        "Wang et al. 2020, arXiv:1910.01279",
        needs=("gradients", "layer"),
        takes=("background",),
        signed=False,
        cost="channels + 1 forwards",
    ),
    _map(
        "guided_gradcam",
        "guided_gradcam:GuidedGradCam",
        "Guided Grad-CAM",
        "guided backpropagation, times the Grad-CAM map of a layer at each position",
        "Selvaraju et al. 2017, arXiv:1610.02391",
        needs=("gradients", "layer"),
        cost="2 forwards, 2 backwards, one of them to the layer",
    ),
    _layer_map(
        "layer_integrated_gradients",
        "layer_integrated_gradients:LayerIntegratedGradients",
        "Integrated gradients of a layer",
        'integrated gradients by the output (`side="input"`: the input) of a layer, from what it is at the baseline; adds up within `tol`',
        "Sundararajan, Taly and Yan 2017, arXiv:1703.01365",
        cost="as many steps as the row needs",
    ),
    _layer_map(
        "conductance",
        "conductance:Conductance",
        "Conductance of a layer",
        "how much of the change of the score from the baseline passes through each unit of a layer; adds up within `tol` if all of it passes there",
        "Dhamdhere, Sundararajan and Yan 2018, arXiv:1805.12233",
        cost="17 forwards and backwards from the layer, or as many as the row needs",
    ),
    _map(
        "occlusion",
        "occlusion:Occlusion",
        "Occlusion",
        "drop of the score when a window is replaced by the baseline",
        "Zeiler and Fergus 2014, arXiv:1311.2901",
        needs=("predict",),
        takes=("background",),
        cost="windows + 1 forwards",
    ),
    _map(
        "rise",
        "rise:Rise",
        "RISE",
        "how much larger the score is under random masks that show a position, with a standard error",
        "Petsiuk, Das and Saenko 2018, arXiv:1806.07421",
        needs=("predict",),
        takes=("background",),
        exact=False,
        cost="`samples` forwards",
    ),
    _map(
        "ablation",
        "segments:Ablation",
        "Leaving one part out",
        "drop of the score when one part (patch, superpixel, feature, token) is taken out",
        "Zeiler and Fergus 2014, arXiv:1311.2901; Li, Monroe and Jurafsky 2016, arXiv:1612.08220",
        needs=("predict",),
        takes=("background",),
        cost="parts + 1 forwards",
    ),
    _map(
        "shapley",
        "segment_shapley:ShapleyParts",
        "Shapley values of parts",
        "Shapley values of parts: all coalitions where `samples` (512) suffices, else paired coalitions under a Gaussian process, with standard errors; the sum is exact",
        "Lundberg and Lee 2017, arXiv:1705.07874; Covert and Lee 2021, arXiv:2012.01536",
        needs=("predict",),
        takes=("background",),
        additive=True,
        exact=False,
        cost="`samples` forwards; for each row and output also 6 ms of arithmetic at 200 samples, 50 at 512, half a second from 2,000",
    ),
    _map(
        "lime",
        "lime:LimeParts",
        "LIME",
        "coefficients of parts in a linear model of the score, fitted to masked rows: exact where `samples` suffices for all masks, else stratified, with standard errors",
        "Ribeiro, Singh and Guestrin 2016, arXiv:1602.04938",
        needs=("predict",),
        takes=("background",),
        exact=False,
        cost="`samples` forwards",
    ),
)  # fmt: skip
