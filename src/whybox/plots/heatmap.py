"""Heatmap: rows against features, or features against features for interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError
from whybox.plots.intervals import median_error_line
from whybox.plots.style import (
    add_caution,
    axes_or_new,
    diverging_colormap,
    name_of,
    one_output,
    other_figure_hint,
    others_label,
    output_suffix,
    row_value_label,
    text_color,
    thousands_formatter,
    unit_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["heatmap"]

MAX_ROWS_CLUSTERED = 1500  # rows that are ordered by likeness; more are ordered by prediction
MAX_ROWS_DRAWN = 1200  # rows drawn


def heatmap(
    e: Explanation, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw attributions as an image: rows (alike rows together) across, features down, the predictions as a line on top.

    Interactions are drawn features against features: mean absolute interaction over the rows.
    Of estimated values the median standard error stands below the axis.

    Args:
        e: attributions of several rows, or interactions. output: which of several outputs. max_display: how many features.
        ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: nothing to draw a heatmap of.
    """
    e = one_output(e, output, "heatmap")
    if e.kind in ("interaction", "interaction_size"):
        if not {"feature", "feature_2"} <= set(e.dims):
            raise OptionError(
                "a heatmap of interactions needs both axes of features, and one was picked here; draw them as they came."
            )
        return _pair_heatmap(e, max_display, ax, title)
    if e.dims != ("row", "feature") or e.kind == "rule":
        raise OptionError(f"a heatmap shows attributions of several rows, or interactions.{other_figure_hint(e)}")
    order = e.ordered(max_display)
    rest = e.ordered()[max_display:]
    table = e.values[:, order]
    names = [name_of(e, e.feature_names[j]) for j in order]
    if len(rest):
        table = np.column_stack([table, e.values[:, rest].sum(axis=1)])
        names.append(others_label(len(rest)))
    rows = _similarity_order(table, e)
    shown = rows if len(rows) <= MAX_ROWS_DRAWN else rows[np.linspace(0, len(rows) - 1, MAX_ROWS_DRAWN).astype(int)]
    ax = axes_or_new(ax, 8, 1.9 + 0.3 * len(names))
    most = max(float(np.percentile(np.abs(table), 99)), 1e-12)
    image = ax.imshow(
        table[shown].T,
        aspect="auto",
        cmap=diverging_colormap(),
        vmin=-most,
        vmax=most,
        interpolation="nearest",
        extent=(0, len(shown), len(names) - 0.5, -0.5),
        rasterized=True,
    )
    if e.prediction is not None:
        _draw_predictions(ax, np.asarray(e.prediction)[shown])
    above = [] if e.prediction is None else [-1.25]
    ax.set_yticks([*above, *range(len(names))], [*([e.explained] if above else []), *names])
    ax.set_ylim(len(names) - 0.5, -1.9 if above else -0.5)
    ax.set_xlabel(
        f"{len(e):,} rows, alike ones together"
        + (f"; {len(shown):,} of them drawn" if len(shown) < len(rows) else "")
        + median_error_line(e)
    )
    add_caution(ax, e)
    _add_color_bar(
        ax,
        image,
        row_value_label(e),
        title if title is not None else f"{row_value_label(e, plural=True)}{output_suffix(e)}",
    )
    return ax


def _similarity_order(table: npt.NDArray[np.float64], e: Explanation) -> npt.NDArray[np.intp]:
    """Order rows so that alike ones stand together; many rows by their prediction."""
    if 2 < len(table) <= MAX_ROWS_CLUSTERED:
        from scipy.cluster.hierarchy import leaves_list, linkage

        return np.asarray(leaves_list(linkage(table, "ward")))
    return np.argsort(table.sum(axis=1) if e.prediction is None else np.asarray(e.prediction), kind="stable")


def _draw_predictions(ax: Axes, prediction: npt.NDArray[np.float64]) -> None:
    span = max(float(np.ptp(prediction)), 1e-12)
    ax.plot(
        np.arange(len(prediction)) + 0.5,
        -0.75 - (prediction - prediction.min()) / span,
        color=text_color(),
        linewidth=0.8,
    )


def _pair_heatmap(e: Explanation, most: int, ax: Axes | None, title: str | None) -> Axes:
    """Draw both halves of each interaction together; main effects, which would outshine them, are left out."""
    is_size = e.kind == "interaction_size"  # not in halves
    size = (1 if is_size else 2) * (np.abs(e.values).mean(axis=0) if "row" in e.dims else np.abs(e.values))
    np.fill_diagonal(size, 0.0)
    order = np.argsort(-size.sum(axis=1), kind="stable")[:most]
    table = np.ma.masked_array(size[np.ix_(order, order)], np.eye(len(order), dtype=bool))
    names = [name_of(e, e.feature_names[j], 22) for j in order]
    ax = axes_or_new(ax, 3.4 + 0.42 * len(names), 2.4 + 0.36 * len(names))
    image = ax.imshow(
        table, cmap="viridis", vmin=0, vmax=max(float(table.max()) if len(order) > 1 else 0.0, 1e-12), rasterized=True
    )
    ax.set_xticks(range(len(names)), names, rotation=55, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(names)), names)
    left = len(size) - len(names)
    ax.set_xlabel(median_error_line(e, 1.0 if is_size else 2.0).lstrip("\n"))
    add_caution(ax, e)
    _add_color_bar(
        ax,
        image,
        f"{'size of the interaction' if is_size else 'mean |interaction|'} ({unit_label(e)})",
        title
        if title is not None
        else f"Interactions{output_suffix(e)}" + (f" (top {len(names)} of {len(size)})" if left else ""),
    )
    return ax


def _add_color_bar(ax: Axes, image: Any, label: str, title: str) -> None:
    bar = ax.figure.colorbar(image, ax=ax, aspect=30, pad=0.01, format=thousands_formatter())
    bar.set_label(label, color=text_color(), fontsize="small")
    bar.outline.set_visible(False)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(title, loc="left")
