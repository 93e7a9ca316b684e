"""Saliency maps of series and of tables; and the figure of one row of any map, chosen by its axes."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from whybox.data.table import Floats
from whybox.errors import OptionError
from whybox.plots.saliency_image import color_scale, cut_note, of_row, overlay, title_of, words
from whybox.plots.style import (
    NEGATIVE,
    POSITIVE,
    axes_or_new,
    name_of,
    number_in_figure,
    style_axes,
    text_color,
    thousands_formatter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from whybox.explanation.explanation import Explanation

__all__ = ["SERIES_AXES", "SERIES_DIMS", "panel", "row_bars", "track", "tracks"]

SERIES_DIMS: Final = (("time",), ("time", "feature"), ("feature", "time"))
TEXT_DIMS: Final = (("token",), ("word",))
SERIES_AXES: Final = (
    ("y", "x"),
    ("feature",),
    *SERIES_DIMS,
    *TEXT_DIMS,
)  # axes of the map of one row for which there is a figure
LINE_COLOUR: Final = "#1b1f24"  # readable on the map's colours, which are light on every page
MAX_CHANNEL_LINES: Final = 4  # channels that are distinguishable as lines


def panel(e: Explanation, row: int = 0, *, image: Any = None, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the map of one row as its axes decide: over its picture (`image`, else the network's input), along its series, as words, or as bars of features.

    Raises:
        OptionError: there is no figure for maps with these axes.
    """
    e = of_row(e, row, None)
    if e.dims in SERIES_DIMS:
        return track(e, ax=ax, title=title)
    if e.dims == ("feature",):
        return row_bars(e, ax=ax, title=title)
    return words(e, ax=ax, title=title) if e.dims in TEXT_DIMS else overlay(e, image=image, ax=ax, title=title)


def track(
    e: Explanation, row: int = 0, *, output: Any = None, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw the map of one series along its time: as colours behind the series; if each time step has features, as one line of colours a feature.

    Args:
        e: a saliency map with the axes (time), (time, feature) or (feature, time). row: position. output: which of several outputs. ax: where to draw.
        title: in place of the default.

    Returns:
        The axes.

    Raises:
        OptionError: a map with other axes.
    """
    e = of_row(e, row, output)
    if e.dims not in SERIES_DIMS:
        raise OptionError(
            f"track shows maps with the axes (time), (time, feature) or (feature, time); this one has {', '.join(e.dims)}."
        )
    values = e.values[:, None] if e.values.ndim == 1 else e.values if e.dims[0] == "time" else e.values.T
    steps, features = values.shape
    signed, limit, beyond = color_scale(values, None)
    ax = axes_or_new(ax, 6.4, 1.5 if e.values.ndim == 1 else min(1.1 + 0.2 * features, 5))
    colours = _colormap(signed=signed)
    extent = (-0.5, steps - 0.5, features - 0.5, -0.5)
    shown = ax.imshow(values.T, aspect="auto", extent=extent, cmap=colours, vmin=-limit if signed else 0.0, vmax=limit, interpolation="nearest")  # fmt: skip
    shown.set_rasterized(True)
    if e.values.ndim == 1:
        _draw_series(ax, e)
    else:
        names = [str(n) for n in e.coords["feature"]]
        at = np.arange(0, features, -(-features // 16))
        ax.set_yticks(at, [name_of(e, names[k]) if names[k] in e.feature_names else names[k] for k in at])
        ax.set_ylabel("feature")
    extend = ("both" if signed else "max") if beyond else "neither"
    cax = ax.inset_axes((1.01, 0.0, 0.012, 1.0))
    bar = ax.figure.colorbar(shown, cax=cax, format=thousands_formatter(), extend=extend)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize="x-small")
    bar.set_label("\n".join(wrap(e.units, 14)), color=text_color(), fontsize="x-small")
    bar.locator = _few_ticks()
    bar.update_ticks()
    remark = cut_note(values, beyond)
    ax.set_xlabel("time" + (f"; {remark}" if remark else ""), fontsize="small")
    ax.set_title(title if title is not None else title_of(e), loc="left", fontsize="medium")
    style_axes(ax, grid=None)
    if e.values.ndim == 1:
        ax.set_yticks([])
    ax.xaxis.set_major_locator(_few_ticks(8, integer=True))
    return ax


def _few_ticks(count: int = 3, *, integer: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=count, integer=integer)


def _draw_series(ax: Axes, e: Explanation) -> None:
    """Draw the series over its map: each channel scaled to its own range, one above the other."""
    stored = e.extras.get("input")
    if stored is None or "time" not in stored[0]:
        return
    x = np.asarray(stored[1], dtype=np.float64)
    x = x[None] if x.ndim == 1 else np.moveaxis(x, stored[0].index("time"), -1)
    if x.ndim != 2:
        return
    for k, series in enumerate(x[:MAX_CHANNEL_LINES]):
        low, high = float(series.min()), float(series.max())
        height = 1.0 / min(len(x), MAX_CHANNEL_LINES)
        scaled = 0.5 if high <= low else (series - low) / (high - low)
        ax.plot(
            np.arange(len(series)),
            -0.5 + height * (k + 0.9 - 0.8 * scaled) + 0 * series,
            color=LINE_COLOUR,
            linewidth=1.1,
        )


def _colormap(*, signed: bool) -> Colormap:
    """Colours that are light at 0, on light and on dark pages, so that a dark line is visible everywhere."""
    from matplotlib.colors import LinearSegmentedColormap

    ends = [NEGATIVE, "#eef1f4", POSITIVE] if signed else ["#eef1f4", "#eba4ad", POSITIVE]
    return LinearSegmentedColormap.from_list("whybox of series", ends)


def tracks(explanations: Sequence[Explanation], row: int = 0) -> Axes:
    """Draw the maps of several methods of one series, one below the other; return the first axes."""
    import matplotlib.pyplot as plt

    heights = [1.5 if e.values.ndim == 2 else min(1.1 + 0.2 * len(e.coords["feature"]), 4.0) for e in explanations]
    figure, cells = plt.subplots(len(heights), 1, figsize=(5.2, sum(heights)), height_ratios=heights, layout="constrained", squeeze=False)  # fmt: skip
    for e, cell in zip(explanations, cells.ravel(), strict=True):
        track(e, row, ax=cell)
    del figure
    first: Axes = cells.ravel()[0]
    return first


def row_bars(
    e: Explanation,
    row: int = 0,
    *,
    output: Any = None,
    max_display: int = 12,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the map of one row of a table as bars to both sides, largest on top.

    Args:
        e: a saliency map over features. row: position. output: which of several outputs. max_display: how many features; the axis' label says how many others
            there are. ax: where to draw. title: in place of the default.

    Returns:
        The axes.

    Raises:
        OptionError: a map with other axes.
    """
    e = of_row(e, row, output)
    if e.dims != ("feature",):
        raise OptionError(f"row_bars shows maps over features; this one has the axes {', '.join(e.dims)}.")
    order = np.argsort(-np.abs(e.values), kind="stable")[:max_display]
    values: Floats = e.values[order]
    ax = axes_or_new(ax, 6, 0.9 + 0.32 * len(order))
    y = np.arange(len(order))[::-1]
    ax.barh(y, values, height=0.68, color=[POSITIVE if v > 0 else NEGATIVE for v in values])
    for at, value in zip(y, values, strict=True):
        side = 1 if value >= 0 else -1
        ax.annotate(
            number_in_figure(value, 3), (value, at), xytext=(3 * side, 0), textcoords="offset points", va="center", ha="left" if side > 0 else "right",
            fontsize="x-small", color=text_color(),
        )  # fmt: skip
    ax.set_yticks(y, [name_of(e, e.feature_names[j], 22) for j in order], fontsize="small")
    ax.set_ylim(-0.6, len(order) - 0.4)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    room = max(high - low, 1e-12) * 0.22
    ax.set_xlim(low - (room if low < 0 else 0), high + (room if high > 0 or low == 0 else 0))
    more = len(e.values) - len(order)
    ax.set_xlabel(e.units + (f"; {more} smaller ones not shown" if more else ""), fontsize="small", loc="left")
    ax.set_title(title if title is not None else title_of(e), loc="left", fontsize="medium")
    style_axes(ax)
    return ax
