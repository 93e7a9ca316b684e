"""The names of shap that are refused, with what to call instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from whybox.compat.refused import refused_class

__all__ = ["REFUSED", "REFUSED_PLOTS", "refused"]

REFUSED_PLOTS: Final[Mapping[str, str]] = {
    "benchmark": "wb.check measures how faithful maps are; benchmarks of methods stand in benchmarks/.",
    "colors": "figures have colours of their own; those of matplotlib are plt.get_cmap('coolwarm').",
    "embedding": "project e.values with sklearn.decomposition.PCA and draw it by matplotlib.",
    "group_difference": "compare the means of e.values over the rows of each group.",
    "image_to_text": "wb.saliency explains one output of a network at a time; its .plot.overlay() draws it.",
    "monitoring": "draw e[:, 'feature'].values against time by matplotlib.",
    "partial_dependence": "wb.effects(model, X, 'pdp', features=['age']).plot() draws it, 'ice' and 'ale' as well.",
    "violin": "shap.plots.beeswarm(e) draws one dot a row.",
}
REFUSED: Final[Mapping[str, str]] = {
    "ActionOptimizer": "there is no search for changes of a row; wb.anchors(model, X, background) returns what holds a prediction.",
    "CoalitionExplainer": "wb.explain(model, X, background, method='partition_shap', hierarchy=[['a', 'b'], 'c']) takes nested lists of features.",
    "GPUTreeExplainer": "shap.TreeExplainer computes the same values on the processor.",
    "approximate_interactions": "shap.TreeExplainer(model).shap_interaction_values(X) are exact; scatter colours by the strongest partner by itself.",
    "getjs": "figures are drawn by matplotlib and need no script.",
    "multioutput_decision_plot": "shap.plots.waterfall(e[0, :, k]) draws a row for each output k.",
    "other": "wb.lime replaces LimeTabular, and wb.importance TreeGain.",
    "save_html": "figures are matplotlib axes: ax.figure.savefig('figure.svg'); wb.report writes a page of HTML.",
    "embedding_plot": REFUSED_PLOTS["embedding"],
    "group_difference_plot": REFUSED_PLOTS["group_difference"],
    "monitoring_plot": REFUSED_PLOTS["monitoring"],
    "partial_dependence_plot": REFUSED_PLOTS["partial_dependence"],
    "violin_plot": REFUSED_PLOTS["violin"],
}


def refused(name: str, room: str = "shap", instead: str | None = None) -> Any:
    """Return what raises as soon as it is called, or asked for anything.

    Args:
        name: in shap. room: the module it is in. instead: what to call; None: as the list says.
    """
    return refused_class(f"{room}.{name}", REFUSED[name] if instead is None else instead)
