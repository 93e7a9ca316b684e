"""The looks of figures: sizes, limits and labels are set on the axes; other looks are refused unless they say what shap draws anyway."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from whybox.compat.refused import refuse
from whybox.plots.style import drawn_by_default

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DECISION_LOOKS", "LOOKS", "TEXT_LOOKS", "honoured_looks", "in_current_figure", "shown"]

P = ParamSpec("P")
R = TypeVar("R")

LOOKS: Final[dict[str, Any]] = {
    "alpha": 1,
    "axis_color": "#333333",
    "cluster_threshold": 0.5,
    "clustering": None,
    "clustering_cutoff": 0.5,
    "cmap": None,
    "color_bar": True,
    "color_bar_label": "Feature value",
    "contribution_threshold": 0.05,
    "dot_size": 16,
    "figsize": (20, 3),
    "group_remaining_features": True,
    "hist": True,
    "log_scale": False,
    "ordering_keys": None,
    "ordering_keys_time_format": None,
    "out_names": None,
    "overlay": None,
    "plot_cmap": "RdBu",
    "plot_size": "auto",
    "plot_width": 8,
    "s": 16,
    "show_data": "auto",
    "text_rotation": 0,
    "x_jitter": "auto",
    "xmax": None,
    "xmin": None,
    "ylabel": "SHAP value",
    "ymax": None,
    "ymin": None,
}
DECISION_LOOKS: Final[dict[str, Any]] = {
    "alpha": None,
    "auto_size_plot": True,
    "axis_color": "#333333",
    "color_bar": True,
    "feature_display_range": None,
    "feature_order": "importance",
    "highlight": None,
    "ignore_warnings": False,
    "legend_labels": None,
    "legend_location": "best",
    "new_base_value": None,
    "plot_color": None,
    "return_objects": False,
    "xlim": None,
    "y_demarc_color": "#333333",
}
TEXT_LOOKS: Final[dict[str, Any]] = {
    "cmax": None,
    "display": True,
    "grouping_threshold": 0.01,
    "num_starting_labels": 0,
    "separator": "",
    "xmax": None,
    "xmin": None,
}
ON_THE_AXES: Final = "figures have their own look; with show=False the axes are returned, and ax.set_xlim(...) or ax.set_ylabel(...) change them."


LIMITS: Final = ("xmin", "xmax", "ymin", "ymax")
SIZES: Final = ("plot_size", "figsize")


def honoured_looks(figure: str, given: dict[str, Any], *, defaults: dict[str, Any] = LOOKS) -> dict[str, Any]:
    """Return the looks that are set and that :func:`shown` can set.

    Raises:
        OptionError: one is set that it cannot. TypeError: shap has no such argument.
    """
    honoured = {}
    for name, value in given.items():
        if name not in defaults:
            raise TypeError(f"shap.plots.{figure} takes no argument {name!r}.")
        if _is_said_anyway(name, value, defaults[name]):
            continue
        is_size = name in SIZES and isinstance(value, (tuple, list)) and len(value) == 2
        is_limit = name in LIMITS and isinstance(value, Real)
        if not (is_size or is_limit or (name == "ylabel" and isinstance(value, str))):
            words = f"={value!r}" if isinstance(value, (str, int, float)) else ""
            refuse(f"shap.plots.{figure}: {name}{words}", ON_THE_AXES)
        honoured[name] = value
    return honoured


def _is_said_anyway(name: str, value: Any, default: Any) -> bool:
    if value is default or value is None or (name == "clustering" and value is False):
        return True
    plain = (str, bool, int, float, tuple)
    is_same = isinstance(value, plain) and isinstance(default, plain) and value == default
    return is_same or (name == "ignore_warnings" and value is True)  # there are none to ignore


def in_current_figure(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a figure be drawn where shap draws: on the axes that the program made last, ``plt.subplot(1, 2, 1)``, or in its ``plt.figure(...)``.

    Only while these are empty: shap draws over what is there, and here a new figure is made.
    """

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> R:
        with drawn_by_default(_empty_place()):
            return draw(*args, **kwargs)

    return drawn


def _empty_place() -> Axes | Figure | None:
    """The current figure if it is empty, else its current axes if these are, else None."""
    import matplotlib.pyplot as plt

    if not plt.get_fignums():
        return None
    figure = plt.gcf()
    if not figure.axes:
        return None if figure.subfigs or figure.texts else figure
    ax = figure.gca()
    is_empty = not (ax.has_data() or ax.texts or ax.images or ax.tables) and ax.name == "rectilinear"
    return ax if is_empty else None


def _as_shap_leaves_it(ax: Axes) -> None:
    """Let ``plt.title(...)`` replace the title, and ``plt.tight_layout()`` pass, as programs call them on shap's figures.

    Only in figures of our own: constrained layout keeps their labels on the page, and tight layout cannot take over its colour bar.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.text import Text

    figure = ax.get_figure()
    if not isinstance(figure, Figure) or not isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        return
    title = ax.get_title(loc="left")
    for text in ax.get_children() if title and not ax.get_title() else ():
        if isinstance(text, Text) and text.get_text() == title:  # set_title would move it down onto notes below it
            text.set_text("")
            ax.title.set(text=title, fontsize=text.get_fontsize())
    figure.tight_layout = _laid_out_already  # type: ignore[method-assign]


def _laid_out_already(**_: Any) -> None:
    """Do nothing, in place of a layout that would cut labels."""


def shown(ax: Axes, *, show: bool, looks: dict[str, Any] | None = None) -> Axes | None:
    """Set looks, then show the figure and return nothing, or return its axes, as shap does."""
    for name, value in (looks or {}).items():
        if name in SIZES:
            ax.get_figure().set_size_inches(*value)  # type: ignore[union-attr]  # axes that were drawn have a figure
        elif name in LIMITS:
            (ax.set_xlim if name[0] == "x" else ax.set_ylim)(**{name: value})
        else:
            ax.set_ylabel(value)
    import matplotlib.pyplot as plt

    _as_shap_leaves_it(ax)
    if not show:
        return ax
    plt.show()
    return None
