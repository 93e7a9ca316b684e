"""The explainer classes: options in ``__init__``, work in ``__call__``, reusable and picklable."""

from whybox.games.indices import Index
from whybox.methods.saliency.explainer import Saliency
from whybox.methods.shap.explainers import LinearShap, TreeShap

__all__ = ["Index", "LinearShap", "Saliency", "TreeShap"]
