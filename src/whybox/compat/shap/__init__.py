"""The names, arguments and shapes of the package shap, answered by the methods of whybox: ``from whybox.compat import shap``.

Shapes are those of shap 0.45 and later: the outputs are the last axis. Older code asks for lists with :func:`old_shapes`. What is honoured, refused and
different on purpose stands in docs/from_shap.md. Names are loaded when they are first used, and the package shap itself never is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from whybox.compat.shap.refusals import REFUSED, refused

if TYPE_CHECKING:
    from whybox.compat.shap import datasets as datasets
    from whybox.compat.shap import links as links
    from whybox.compat.shap import maskers as maskers
    from whybox.compat.shap import plots as plots
    from whybox.compat.shap import utils as utils
    from whybox.compat.shap.backgrounds import kmeans as kmeans
    from whybox.compat.shap.backgrounds import sample as sample
    from whybox.compat.shap.cohorts import Cohorts as Cohorts
    from whybox.compat.shap.evaluated import ExactExplainer as ExactExplainer
    from whybox.compat.shap.evaluated import PartitionExplainer as PartitionExplainer
    from whybox.compat.shap.evaluated import PermutationExplainer as PermutationExplainer
    from whybox.compat.shap.explainer import Explainer as Explainer
    from whybox.compat.shap.explanation import Explanation as Explanation
    from whybox.compat.shap.kernel import KernelExplainer as KernelExplainer
    from whybox.compat.shap.kernel import SamplingExplainer as SamplingExplainer
    from whybox.compat.shap.legacy_plots import bar_plot as bar_plot
    from whybox.compat.shap.legacy_plots import decision_plot as decision_plot
    from whybox.compat.shap.legacy_plots import dependence_plot as dependence_plot
    from whybox.compat.shap.legacy_plots import summary_plot as summary_plot
    from whybox.compat.shap.list_form import old_shapes as old_shapes
    from whybox.compat.shap.networks import DeepExplainer as DeepExplainer
    from whybox.compat.shap.networks import GradientExplainer as GradientExplainer
    from whybox.compat.shap.plots import force as force_plot  # noqa: F401
    from whybox.compat.shap.plots import heatmap as heatmap_plot  # noqa: F401
    from whybox.compat.shap.plots import initjs as initjs
    from whybox.compat.shap.plots import text as text_plot  # noqa: F401
    from whybox.compat.shap.plots import waterfall as waterfall_plot  # noqa: F401
    from whybox.compat.shap.read import AdditiveExplainer as AdditiveExplainer
    from whybox.compat.shap.read import LinearExplainer as LinearExplainer
    from whybox.compat.shap.tree import TreeExplainer as TreeExplainer

__version__ = "0.45.0+whybox"  # of shap, whose shapes these are
_HERE: Final = "whybox.compat.shap."
_PLACES: Final = {
    "AdditiveExplainer": "read",
    "Cohorts": "cohorts",
    "DeepExplainer": "networks",
    "ExactExplainer": "evaluated",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "GradientExplainer": "networks",
    "KernelExplainer": "kernel",
    "LinearExplainer": "read",
    "PartitionExplainer": "evaluated",
    "PermutationExplainer": "evaluated",
    "SamplingExplainer": "kernel",
    "TreeExplainer": "tree",
    "bar_plot": "legacy_plots",
    "decision_plot": "legacy_plots",
    "dependence_plot": "legacy_plots",
    "force_plot": "plots:force",
    "heatmap_plot": "plots:heatmap",
    "image_plot": "image:image",
    "initjs": "plots",
    "kmeans": "backgrounds",
    "old_shapes": "list_form",
    "sample": "backgrounds",
    "summary_plot": "legacy_plots",
    "text_plot": "plots:text",
    "waterfall_plot": "plots:waterfall",
}
_MODULES: Final = ("datasets", "explainers", "links", "maskers", "plots", "utils")

__all__ = sorted([*_PLACES, *_MODULES])  # noqa: PLE0605  # from the tables


def __getattr__(name: str) -> Any:
    """Load a name when it is first used; one that is refused raises when it is called.

    Raises:
        AttributeError: shap has no such name.
    """
    if name in _MODULES:
        return import_module(_HERE + name)
    if name in _PLACES:
        place, _, own = _PLACES[name].partition(":")
        return getattr(import_module(_HERE + place), own or name)
    if name in REFUSED:
        return refused(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *REFUSED])
