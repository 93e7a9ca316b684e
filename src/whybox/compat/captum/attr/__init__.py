"""The names of captum.attr, answered by :func:`whybox.saliency`; docs/from_captum.md says what is honoured, what is refused and what differs on purpose."""

from __future__ import annotations

from typing import Final

from whybox.compat.captum.attr.attribution import Attribution
from whybox.compat.captum.attr.gradients import (
    DeepLift,
    DeepLiftShap,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    Saliency,
)
from whybox.compat.captum.attr.layers import (
    GuidedGradCam,
    LayerActivation,
    LayerAttribution,
    LayerConductance,
    LayerGradCam,
    LayerIntegratedGradients,
)
from whybox.compat.captum.attr.neurons import NeuronConductance
from whybox.compat.captum.attr.noise import NoiseTunnel
from whybox.compat.captum.attr.perturbation import (
    FeatureAblation,
    KernelShap,
    Lime,
    Occlusion,
    ShapleyValues,
    ShapleyValueSampling,
)
from whybox.compat.refused import refused_names

__all__ = [
    "Attribution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "LayerActivation",
    "LayerAttribution",
    "LayerConductance",
    "LayerGradCam",
    "LayerIntegratedGradients",
    "Lime",
    "NeuronConductance",
    "NoiseTunnel",
    "Occlusion",
    "Saliency",
    "ShapleyValueSampling",
    "ShapleyValues",
]

_OF_LAYERS: Final = "LayerIntegratedGradients, LayerConductance and LayerGradCam explain a layer."
_OF_NEURONS: Final = (
    "explain a module that returns the neuron as its output: IntegratedGradients(lambda x: layer_of(x)[:, 3])."
)
_OF_TEXTS: Final = "wb.saliency(model, texts, tokenizer=tokenizer, embedding='...') explains texts."
_OF_EMBEDDINGS: Final = (
    "LayerIntegratedGradients(model, model.embedding) takes token ids, and their baselines, as they are."
)
_OF_STATISTICS: Final = (
    "attributions are tensors: attributions.mean(0), .std(0); whole data sets: wb.saliency(...).plot.bar()."
)

REFUSED: Final = {
    "ClassSummarizer": _OF_STATISTICS,
    "CommonStats": _OF_STATISTICS,
    "Count": _OF_STATISTICS,
    "DataLoaderAttribution": "call attribute for each batch; it takes any number of rows.",
    "Deconvolution": "it ignores which units were active; GuidedBackprop is the variant that does not.",
    "FeaturePermutation": "it depends on the other rows of the batch; FeatureAblation with rows as baselines, or wb.importance(model, X, y).",
    "GradientAttribution": "Attribution is the base of every method here.",
    "ImageMaskInput": _OF_TEXTS,
    "InternalInfluence": _OF_LAYERS,
    "InterpretableEmbeddingBase": _OF_EMBEDDINGS,
    "InterpretableInput": _OF_TEXTS,
    "LLMAttribution": _OF_TEXTS,
    "LLMAttributionResult": _OF_TEXTS,
    "LLMGradientAttribution": _OF_TEXTS,
    "LRP": "a patent claims it; DeepLift also has a rule for each operator, and adds up.",
    "LayerDeepLift": _OF_LAYERS,
    "LayerDeepLiftShap": _OF_LAYERS,
    "LayerFeatureAblation": _OF_LAYERS,
    "LayerFeaturePermutation": _OF_LAYERS,
    "LayerGradientShap": _OF_LAYERS,
    "LayerGradientXActivation": _OF_LAYERS,
    "LayerLRP": "a patent claims it. " + _OF_LAYERS,
    "LimeBase": "Lime takes feature_mask and n_samples; its linear model and its weights are fixed.",
    "MSE": _OF_STATISTICS,
    "Max": _OF_STATISTICS,
    "Mean": _OF_STATISTICS,
    "Min": _OF_STATISTICS,
    "NeuronAttribution": "Attribution is the base of every method here.",
    "NeuronDeconvolution": _OF_NEURONS,
    "NeuronDeepLift": _OF_NEURONS,
    "NeuronDeepLiftShap": _OF_NEURONS,
    "NeuronFeatureAblation": _OF_NEURONS,
    "NeuronGradient": _OF_NEURONS,
    "NeuronGradientShap": _OF_NEURONS,
    "NeuronGuidedBackprop": _OF_NEURONS,
    "NeuronIntegratedGradients": _OF_NEURONS,
    "PerturbationAttribution": "Attribution is the base of every method here.",
    "ProductBaselines": "baselines are tensors; GradientShap averages over rows of them.",
    "RemoteLLMAttribution": _OF_TEXTS,
    "RemoteLLMProvider": _OF_TEXTS,
    "StatValue": _OF_STATISTICS,
    "StdDev": _OF_STATISTICS,
    "Sum": _OF_STATISTICS,
    "Summarizer": _OF_STATISTICS,
    "SummarizerSingleTensor": _OF_STATISTICS,
    "TextTemplateInput": _OF_TEXTS,
    "TextTokenInput": _OF_TEXTS,
    "TokenReferenceBase": "a baseline of token ids is a tensor: torch.full_like(ids, pad_id).",
    "VLLMProvider": _OF_TEXTS,
    "Var": _OF_STATISTICS,
    "configure_interpretable_embedding_layer": _OF_EMBEDDINGS,
    "remove_interpretable_embedding_layer": _OF_EMBEDDINGS,
    "visualization": "explanations draw themselves: wb.saliency(model, x, 1).plot.overlay(0); of one channel method.explanation[:, 0].plot.overlay(0).",
}

__getattr__ = refused_names(__name__, REFUSED)
