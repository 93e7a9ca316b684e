"""``shap.plots``: drawn by the figures of whybox; looks are set on the axes that are returned with ``show=False``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from whybox.compat.refused import refuse, refuse_given
from whybox.compat.shap.cohorts import Cohorts
from whybox.compat.shap.explanation import Explanation
from whybox.compat.shap.image import image
from whybox.compat.shap.looks import DECISION_LOOKS, TEXT_LOOKS, honoured_looks, in_current_figure, shown
from whybox.compat.shap.op_chain import OpChain
from whybox.compat.shap.refusals import REFUSED_PLOTS, refused
from whybox.compat.shap.text_explanation import TextExplanation
from whybox.errors import OptionError
from whybox.explanation.explanation import Explanation as OwnExplanation
from whybox.plots.bar import bar as draw_bar
from whybox.plots.beeswarm import beeswarm as draw_beeswarm
from whybox.plots.heatmap import heatmap as draw_heatmap
from whybox.plots.saliency_image import words as draw_words
from whybox.plots.scatter import scatter as draw_scatter
from whybox.plots.style import unit_label
from whybox.plots.waterfall import waterfall as draw_waterfall

__all__ = ["bar", "beeswarm", "decision", "force", "heatmap", "image", "initjs", "scatter", "text", "waterfall"]

USUAL_ORDERS: Final = (OpChain().abs, OpChain().abs.mean(0), OpChain().abs.mean(axis=0))


def own(e: Any, figure: str) -> OwnExplanation:
    """Return what a figure of whybox draws.

    Raises:
        OptionError: these are no attributions.
    """
    if isinstance(e, OwnExplanation):
        return e
    if isinstance(e, (Explanation, TextExplanation)):
        return e.to_whybox()
    if all(hasattr(e, name) for name in ("values", "base_values", "data", "feature_names")):  # of shap itself
        return OwnExplanation.from_shap(e)
    raise OptionError(
        f"shap.plots.{figure} draws an Explanation, as explainer(X) returns it; this is a {type(e).__name__}."
    )


def _title(e: Any) -> str | None:
    """What was done to the values before they are drawn; of one row that it is one."""
    if not isinstance(e, Explanation):
        return None
    if e.op_history:
        return f"Values: {', '.join(e.op_history)}"
    return "Sizes of the values of one row" if np.ndim(e.values) == 1 else None


@in_current_figure
def bar(
    shap_values: Any, max_display: int = 10, order: Any = None, ax: Any = None, show: bool = True, **looks: Any
) -> Any:
    """Draw mean sizes over the rows, or the sizes of one row or of a reduction, ``e.abs.max(0)``; several outputs are stacked.

    Raises:
        OptionError: cohorts, an order other than by size, or looks that are set.
    """
    if isinstance(shap_values, (Cohorts, dict)):
        refuse(
            "shap.plots.bar of cohorts",
            "draw one figure each: for name, e in cohorts.cohorts.items(): shap.plots.bar(e).",
        )
    _check_order("bar", order)
    set_looks = honoured_looks("bar", looks)
    e = own(shap_values, "bar")
    axes = draw_bar(e, max_display=max_display, ax=ax, title=_title(shap_values))
    if "row" not in e.dims and "feature" in e.dims:  # the figure takes a mean over rows, and there are none
        axes.set_xlabel(f"size ({unit_label(e)})")
    return shown(axes, show=show, looks=set_looks)


@in_current_figure
def beeswarm(
    shap_values: Any,
    max_display: int = 10,
    order: Any = None,
    color: Any = None,
    ax: Any = None,
    show: bool = True,
    **looks: Any,
) -> Any:
    """Draw one dot a row and feature.

    Raises:
        OptionError: several outputs, an order other than by mean size, or looks that are set.
    """
    _check_order("beeswarm", order)
    set_looks = honoured_looks("beeswarm", looks)
    refuse_given("shap.plots.beeswarm: color", color, "dots have the colours of the feature's values.")
    e = own(shap_values, "beeswarm")
    return shown(
        draw_beeswarm(e, max_display=max_display, ax=ax, title=_title(shap_values)), show=show, looks=set_looks
    )


@in_current_figure
def waterfall(shap_values: Any, max_display: int = 10, show: bool = True) -> Any:
    """Draw one row as steps from the base to the prediction.

    Raises:
        OptionError: several rows or outputs.
    """
    return shown(draw_waterfall(own(shap_values, "waterfall"), max_display=max_display), show=show)


def waterfall_legacy(
    expected_value: Any,
    shap_values: Any = None,
    features: Any = None,
    feature_names: Any = None,
    max_display: int = 10,
    show: bool = True,
) -> Any:
    """Draw one row given as arrays: ``shap.plots._waterfall.waterfall_legacy`` of older programs.

    Raises:
        OptionError: several rows or outputs. InputError: the arrays do not fit each other.
    """
    e = made_explanation(shap_values, features, feature_names, expected_value)
    return waterfall(e, max_display=max_display, show=show)


@in_current_figure
def scatter(
    shap_values: Any, color: Any = "#1E88E5", title: str | None = None, ax: Any = None, show: bool = True, **looks: Any
) -> Any:
    """Draw the values of one feature, ``e[:, "age"]``, against its cells.

    Args:
        shap_values: an Explanation of one feature. color: the Explanation, to colour by the strongest partner, or that of one feature; others draw one colour.
        title: instead of the usual one. ax: where to draw. show: whether to show the figure. looks: refused, unless they say what shap draws anyway.

    Raises:
        OptionError: several features, several outputs, or looks that are set.
    """
    set_looks = honoured_looks("scatter", looks)
    whole = shap_values.held.whole if isinstance(shap_values, Explanation) else None
    if whole is None:
        refuse("shap.plots.scatter of several features", "draw one at a time: shap.plots.scatter(e[:, 'age']).")
    if isinstance(color, Explanation):
        by = color.feature_names if isinstance(color.feature_names, str) else "auto"
    else:
        if not isinstance(color, (str, type(None))):
            refuse("color by numbers", "pass the Explanation, e, or that of one feature, e[:, 'age'].")
        by = None
    name = shap_values.feature_names
    return shown(
        draw_scatter(own(Explanation(whole), "scatter"), name, color=by, ax=ax, title=title), show=show, looks=set_looks
    )


@in_current_figure
def heatmap(
    shap_values: Any,
    instance_order: Any = None,
    feature_values: Any = None,
    feature_order: Any = None,
    max_display: int = 10,
    show: bool = True,
    ax: Any = None,
    **looks: Any,
) -> Any:
    """Draw rows across, alike ones together, and features down.

    Raises:
        OptionError: several outputs, another order, or looks that are set.
    """
    if instance_order is not None and instance_order not in (OpChain().hclust(), OpChain().hclust):
        refuse("instance_order of shap.plots.heatmap", "alike rows stand together.")
    _check_order("heatmap", feature_values)
    refuse_given("shap.plots.heatmap: feature_order", feature_order, "features stand by mean size.")
    set_looks = honoured_looks("heatmap", looks)
    return shown(draw_heatmap(own(shap_values, "heatmap"), max_display=max_display, ax=ax), show=show, looks=set_looks)


@in_current_figure
def force(
    base_value: Any,
    shap_values: Any = None,
    features: Any = None,
    feature_names: Any = None,
    link: Any = "identity",
    matplotlib: bool = False,
    show: bool = True,
    **looks: Any,
) -> Any:
    """Draw the same numbers by figures that are read without a mouse: of one row a waterfall, of several a heatmap.

    Args:
        base_value: an Explanation, or the base of the values. shap_values: of one row or several. features: their cells. feature_names: labels.
        link: ``"logit"`` writes probabilities beside log-odds, on one row. matplotlib: every figure is one of matplotlib. show: whether to show it. looks: refused,
            unless they say what shap draws anyway.

    Raises:
        OptionError: several outputs, or looks that are set.
    """
    del matplotlib
    set_looks = honoured_looks("force", looks)
    if shap_values is not None:
        base_value = made_explanation(shap_values, features, feature_names, base_value)
    e = own(base_value, "force")
    if "row" in e.dims:
        refuse_given("shap.plots.force: link", link, "a heatmap has one scale.", default="identity")
        return shown(draw_heatmap(e), show=show, looks=set_looks)
    return shown(draw_waterfall(e, to_probability=_to_probability(link)), show=show, looks=set_looks)


@in_current_figure
def decision(
    base_value: Any,
    shap_values: Any,
    features: Any = None,
    feature_names: Any = None,
    link: Any = "identity",
    title: str | None = None,
    show: bool = True,
    **looks: Any,
) -> Any:
    """Draw the way of one row from the base to the prediction, as a waterfall.

    Raises:
        OptionError: several rows, or looks that are set.
    """
    set_looks = honoured_looks("decision", looks, defaults=DECISION_LOOKS)
    e = made_explanation(shap_values, features, feature_names, base_value).to_whybox()
    if "row" in e.dims and len(e) > 1:
        refuse(
            "shap.decision_plot of several rows",
            "shap.plots.heatmap(e) draws them, and shap.plots.waterfall(e[0]) one of them.",
        )
    one = e[0] if "row" in e.dims else e
    return shown(draw_waterfall(one, title=title, to_probability=_to_probability(link)), show=show, looks=set_looks)


@in_current_figure
def text(shap_values: Any, show: bool = True, **looks: Any) -> Any:
    """Draw the words of one text on coloured grounds.

    Raises:
        OptionError: several texts or outputs, or looks that are set.
    """
    honoured_looks("text", looks, defaults=TEXT_LOOKS)
    return shown(draw_words(own(shap_values, "text")), show=show)


def initjs() -> None:
    """Do nothing: figures are drawn by matplotlib and need no script."""


def made_explanation(shap_values: Any, features: Any, feature_names: Any, base_value: Any = None) -> Explanation:
    """Return values, cells and names as one Explanation.

    Raises:
        InputError: they do not fit each other.
    """
    if isinstance(shap_values, Explanation):
        return shap_values
    names = (
        feature_names if feature_names is not None else getattr(features, "columns", getattr(features, "index", None))
    )
    cells = features
    if isinstance(features, list) and features and isinstance(features[0], str):  # older code passes names there
        names, cells = features, None
    base = base_value
    if np.size(base) == 1 and base is not None and np.ndim(shap_values) == 2:
        base = np.full(len(shap_values), np.reshape(base, ()))
    elif np.size(base) == 1 and base is not None:
        base = np.reshape(base, ())
    return Explanation(shap_values, base_values=base, data=cells, feature_names=None if names is None else list(names))


def _check_order(figure: str, order: Any) -> None:
    """Refuse an order of features other than by mean size.

    Raises:
        OptionError: it is one.
    """
    if order is not None and not any(order == usual for usual in USUAL_ORDERS if isinstance(order, OpChain)):
        refuse(
            f"order of shap.plots.{figure}",
            "features stand by mean size; of a reduction, shap.plots.bar(e.abs.max(0)), by its size.",
        )


def _to_probability(link: Any) -> Any:
    from scipy.special import expit

    if isinstance(link, str) and link == "logit":
        return expit
    refuse_given("link of a figure", link, "known: 'identity', 'logit'.", default="identity")
    return None


def __getattr__(name: str) -> Any:
    """Return what raises, for the figures that are refused; ``_waterfall`` is the module of shap that older programs take ``waterfall_legacy`` from.

    Raises:
        AttributeError: shap has no such figure.
    """
    if name == "_waterfall":
        return SimpleNamespace(waterfall=waterfall, waterfall_legacy=waterfall_legacy)
    if name in REFUSED_PLOTS:
        return refused(name, "shap.plots", REFUSED_PLOTS[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
