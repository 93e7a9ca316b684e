"""Beeswarm: every row's attribution of the largest features, coloured by the feature's value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.explanation.feature_values import feature_values
from whybox.plots.intervals import median_error_line
from whybox.plots.style import (
    MISSING,
    add_caution,
    axes_or_new,
    colormap,
    faint_text_color,
    name_of,
    one_output,
    other_figure_hint,
    others_label,
    output_suffix,
    row_value_label,
    scale_to_percentiles,
    style_axes,
    text_color,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["beeswarm"]

MAX_POINTS = 2500  # rows drawn; more would only overlap


def beeswarm(
    e: Explanation, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw one dot a row and feature at its attribution; dots of equal attribution are stacked.

    Of estimated attributions the median standard error stands below the axis.

    Args:
        e: attributions of several rows. output: which of several outputs. max_display: how many features; the others are summed in a
            last line. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: not attributions of rows, or no output named where there are several.
    """
    e = one_output(e, output, "beeswarm")
    if e.kind == "interaction":
        raise OptionError("a beeswarm shows attributions; for interactions use heatmap.")
    if e.dims != ("row", "feature") or e.kind == "rule":
        raise OptionError(
            f"a beeswarm shows attributions of several rows{'' if e.kind in ('saliency', 'local', 'rule') else '; for one row use waterfall'}.{other_figure_hint(e)}"
        )
    n = len(e.values)
    rows = np.sort(np.random.default_rng(0).choice(n, MAX_POINTS, replace=False)) if n > MAX_POINTS else np.arange(n)
    order = e.ordered()
    top, rest = order[:max_display], order[max_display:]
    names = [name_of(e, e.feature_names[j]) for j in top] + ([others_label(len(rest))] if len(rest) else [])
    new = ax is None
    ax = axes_or_new(ax, 7.4, max(1.2 + 0.42 * len(names), 2.2))
    cmap = colormap()
    grey = False
    for line in range(len(names)):
        y0 = len(names) - 1 - line
        ax.axhline(y0, color=faint_text_color(0.12), linewidth=0.7, zorder=0)
        x = e.values[rows][:, top[line]] if line < len(top) else e.values[rows][:, rest].sum(axis=1)
        values = feature_values(e, e.feature_names[top[line]]) if line < len(top) else None
        color = scale_to_percentiles(None if values is None else values[rows])
        shade: Any = MISSING if color is None else cmap(np.ma.masked_invalid(color))
        ax.scatter(x, y0 + _jitter(x), s=9, c=shade, linewidths=0, alpha=0.85, rasterized=True, zorder=2)
        grey = grey or color is None or bool(np.isnan(color).any())
    ax.axvline(0, color=faint_text_color(0.6), linewidth=0.8, zorder=1)
    ax.set_yticks(range(len(names) - 1, -1, -1), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    drawn = f"; {len(rows):,} of {n:,} rows drawn" if len(rows) < n else ""
    ax.set_xlabel(
        row_value_label(e) + drawn + median_error_line(e) + ("\ngrey: missing, text or groups" if grey else "")
    )
    ax.set_title(
        title if title is not None else f"{row_value_label(e, plural=True)} of {n:,} rows{output_suffix(e)}", loc="left"
    )
    add_caution(ax, e)
    style_axes(ax)
    if new:
        _add_color_legend(ax)
    return ax


def _jitter(x: Floats, width: float = 0.4) -> Floats:
    """Stack points that share a place on the axis, evenly to both sides."""
    span = np.ptp(x) if len(x) else 0.0
    place = np.zeros(len(x), dtype=np.int64) if span == 0 else np.floor((x - x.min()) / span * 99.999).astype(np.int64)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0])
    rank = np.arange(len(x)) - np.repeat(starts, np.diff(np.r_[starts, len(x)]))
    layer = np.where(rank % 2, (rank + 1) // 2, -(rank // 2)).astype(np.float64)
    most = max(np.abs(layer).max(initial=0.0), 6.0)
    out = np.empty(len(x))
    out[order] = width * layer / most
    return out


def _add_color_legend(ax: Axes) -> None:
    from matplotlib.cm import ScalarMappable

    bar = ax.figure.colorbar(ScalarMappable(cmap=colormap()), ax=ax, aspect=40, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels(["low", "high"])
    bar.set_label("feature value", color=text_color(), fontsize="small")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
