"""Intervals of estimated values in figures: the lines, and what stands below the axis about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from whybox.explanation.errors_of_values import interval_level, median_error, unconverged_rows
from whybox.explanation.html import number_text
from whybox.plots.style import text_color

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.data.table import Floats
    from whybox.explanation.explanation import Explanation

__all__ = ["UNSURE_ALPHA", "draw_intervals", "interval_words", "median_error_line"]

UNSURE_ALPHA: Final = 0.5  # of the colour of bars that their errors leave open


def draw_intervals(ax: Axes, y: Any, low: Floats, high: Floats) -> None:
    """Draw lines from the lower to the upper ends of intervals."""
    ax.hlines(y, low, high, color=text_color(), linewidth=1.2, zorder=3)


def interval_words(e: Explanation) -> str:
    """Return what the lines of :func:`draw_intervals` are."""
    return f"{100 * interval_level(e):g} % intervals"


def median_error_line(e: Explanation, times: float = 1.0) -> str:
    """Return a further line for the label of an axis: the median standard error of a single value; nothing of exact values.

    Args:
        e: what is drawn. times: factor between its values and what is drawn.
    """
    error = median_error(e)
    what = {"local": "a local value", "interaction": "an interaction", "interaction_size": "a size"}.get(
        e.kind, "an attribution"
    )
    if error is None:
        return ""
    count, of = unconverged_rows(e), len(e.coords["row"]) if "row" in e.coords else 0
    larger = f"\nin {count:,} of {of:,} rows errors are larger than asked" if count else ""
    return f"\nmedian standard error of {what}: {number_text(times * error, 2)}{larger}"
