"""Figures of values in arrays: ``summary_plot``, ``dependence_plot``, ``bar_plot``, ``decision_plot``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.looks import LOOKS, honoured_looks, in_current_figure, shown
from whybox.compat.shap.plots import decision, made_explanation, own
from whybox.plots.bar import bar as draw_bar
from whybox.plots.beeswarm import beeswarm as draw_beeswarm
from whybox.plots.heatmap import heatmap as draw_heatmap
from whybox.plots.scatter import scatter as draw_scatter

__all__ = ["bar_plot", "decision_plot", "dependence_plot", "summary_plot"]

SUMMARY_LOOKS: Final[dict[str, Any]] = {
    **LOOKS,
    "class_inds": None,
    "color": None,
    "layered_violin_max_num_bins": 20,
    "rng": None,
    "show_values_in_legend": False,
    "sort": True,
    "use_log_scale": False,
}
DEPENDENCE_LOOKS: Final[dict[str, Any]] = {**LOOKS, "x_jitter": 0, "color": "#1E88E5"}
decision_plot = decision


@in_current_figure
def summary_plot(
    shap_values: Any,
    features: Any = None,
    feature_names: Any = None,
    max_display: int | None = None,
    plot_type: str | None = None,
    title: str | None = None,
    show: bool = True,  # as shap has it
    class_names: Any = None,
    **looks: Any,
) -> Any:
    """Draw one dot a row and feature; of several outputs, or with ``plot_type="bar"``, mean sizes; of interactions a map of pairs.

    Args:
        shap_values: an Explanation, an array or a list with one array for each output. features: the rows, or names. feature_names: labels.
        max_display: how many features, 20 where nobody says. plot_type: ``"dot"`` or ``"bar"``. title: instead of the usual one. show: whether to show the figure.
        class_names: of the outputs. looks: refused, unless they say what shap draws anyway.

    Raises:
        OptionError: another type of figure, or looks that are set. InputError: arrays that do not fit each other.
    """
    set_looks = honoured_looks("summary_plot", looks, defaults=SUMMARY_LOOKS)
    if plot_type not in (None, "dot", "bar"):
        refuse(f"plot_type={plot_type!r} of shap.summary_plot", "'dot' draws one dot a row, 'bar' mean sizes.")
    if isinstance(shap_values, (list, tuple)):
        values = np.stack([np.asarray(v) for v in shap_values], axis=-1)
        shap_values = values[..., 0] if len(shap_values) == 1 else values
    e = _outputs_or_pairs(shap_values, features, feature_names, class_names)
    mine, most = own(e, "summary_plot"), 20 if max_display is None else max_display
    if mine.kind == "interaction":
        return shown(draw_heatmap(mine, max_display=most, title=title), show=show, looks=set_looks)
    if plot_type == "bar" or "output" in mine.dims:
        if plot_type == "dot":
            refuse("plot_type='dot' of several outputs", "pick one: shap.summary_plot(values[..., 1], X).")
        return shown(draw_bar(mine, max_display=most, title=title), show=show, looks=set_looks)
    return shown(draw_beeswarm(mine, max_display=most, title=title), show=show, looks=set_looks)


def _outputs_or_pairs(shap_values: Any, features: Any, feature_names: Any, class_names: Any) -> Any:
    """An Explanation of arrays, whose third axis holds features where the values are those of pairs, else outputs."""
    if not isinstance(shap_values, np.ndarray) or shap_values.ndim != 3:
        return made_explanation(shap_values, features, feature_names)
    rows, width, last = shap_values.shape
    if width == last and np.allclose(shap_values, shap_values.swapaxes(1, 2)):
        return made_explanation(shap_values, features, feature_names)
    names = [f"output {k}" for k in range(last)] if class_names is None else list(class_names)
    given = getattr(features, "columns", None) if feature_names is None else feature_names
    base = np.full((rows, last), np.nan)
    return Explanation(
        shap_values, base, features, feature_names=None if given is None else list(given), output_names=names
    )


@in_current_figure
def dependence_plot(  # as shap has it
    ind: Any,
    shap_values: Any = None,
    features: Any = None,
    feature_names: Any = None,
    display_features: Any = None,
    interaction_index: Any = "auto",
    title: str | None = None,
    ax: Any = None,
    show: bool = True,  # as shap has it
    **looks: Any,
) -> Any:
    """Draw the values of one feature against its cells.

    Args:
        ind: the feature: name, position, or ``"rank(0)"`` for the largest. shap_values: (rows, features), or interactions. features: the rows.
        feature_names: labels. display_features: the rows as they are shown. interaction_index: the feature to colour by, None, or ``"auto"``.
        title: instead of the usual one. ax: where to draw. show: whether to show the figure. looks: refused, unless they say what shap draws anyway.

    Raises:
        OptionError: two features at once, or looks that are set. InputError: arrays that do not fit each other.
    """
    set_looks = honoured_looks("dependence_plot", looks, defaults=DEPENDENCE_LOOKS)
    if isinstance(ind, (tuple, list)):
        refuse("two features in shap.dependence_plot", "shap.summary_plot(interactions, X) maps all pairs.")
    e = made_explanation(shap_values, features if display_features is None else display_features, feature_names)
    mine = own(e, "dependence_plot")
    if isinstance(ind, str) and ind.startswith("rank("):
        ind = int(mine.ordered()[int(ind[5:].rstrip(")"))])
    at = ind if isinstance(ind, str) else int(ind)
    return shown(draw_scatter(mine, at, color=interaction_index, ax=ax, title=title), show=show, looks=set_looks)


@in_current_figure
def bar_plot(
    shap_values: Any,
    features: Any = None,
    feature_names: Any = None,
    max_display: int | None = None,
    show: bool = True,  # as shap has it
) -> Any:
    """Draw the sizes of the values of one row; arguments are those of :func:`summary_plot`.

    Raises:
        OptionError: several rows.
    """
    if np.ndim(shap_values) != 1:
        refuse("shap.bar_plot of several rows", "shap.summary_plot(values, X, plot_type='bar') draws their means.")
    refuse_given(
        "shap.bar_plot: max_display",
        None if max_display is None or max_display > 0 else max_display,
        "pass a positive number.",
    )
    e = made_explanation(shap_values, features, feature_names)
    return shown(draw_bar(own(e, "bar_plot"), max_display=7 if max_display is None else max_display), show=show)
