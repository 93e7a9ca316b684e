"""Surfaces: the effect of two features as a heatmap with contours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whybox.explanation.axis_points import point_labels
from whybox.plots.style import (
    axes_or_new,
    distinct_labels,
    diverging_colormap,
    faint_text_color,
    minus_signs,
    number_in_figure,
    output_suffix,
    shorten_label,
    text_color,
    thousands_formatter,
    unit_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["surface"]


def surface(e: Explanation, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the effect of two features: the first across, the second up; contours where both are numbers.

    Args:
        e: an effect with the axes point and point_2. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.
    """
    ax = axes_or_new(ax, 5.6, 4.2)
    names = list(e.players)
    sides = [_axis_positions(e.coords[d]) for d in ("point", "point_2")]
    keep = [k for _, k, _ in sides]
    values = e.values[np.ix_(*keep)].T
    signed = e.evidence.signed
    most = max(float(np.nanmax(np.abs(values), initial=0.0)), 1e-12)
    limits: dict[str, Any] = {"vmin": -most, "vmax": most} if signed else {}
    (x, _, across), (y, _, up) = sides
    image = ax.pcolormesh(
        _cell_borders(x), _cell_borders(y), np.ma.masked_invalid(values), cmap=diverging_colormap() if signed else "viridis",
        rasterized=True, **limits,
    )  # fmt: skip
    if across is None and up is None and min(values.shape) > 2 and np.ptp(values) > 0 and np.isfinite(values).all():
        lines = ax.contour(
            x, y, values, levels=6, colors=[faint_text_color(0.75) if signed else (1, 1, 1, 0.75)], linewidths=0.7
        )
        ax.clabel(lines, fontsize="x-small", fmt=lambda v: number_in_figure(v, 3))
    for labels, set_ticks, places, turn in ((across, ax.set_xticks, x, 40), (up, ax.set_yticks, y, 0)):
        if labels is not None:
            shown = [distinct_labels(tuple(dict.fromkeys(labels)), 16)[w] for w in labels]
            rotated: dict[str, Any] = (
                {"rotation": turn, "ha": "right", "rotation_mode": "anchor"} if turn and len(shown) > 4 else {}
            )
            set_ticks(places, shown, **rotated)
    ax.set_xlabel(shorten_label(names[0], 40))
    ax.set_ylabel(shorten_label(names[1], 40))
    ax.set_title(
        title
        if title is not None
        else f"{shorten_label(names[0], 24)} and {shorten_label(names[1], 24)}{output_suffix(e)}",
        loc="left",
    )
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(image, ax=ax, aspect=30, pad=0.01, format=thousands_formatter())
    bar.set_label(
        e.evidence.quantity + (f" ({unit_label(e)})" if e.named_units else ""),
        color=text_color(),
        fontsize="small",
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return ax


def _axis_positions(points: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64], list[str] | None]:
    """Return places, which points they are, and words for categories; numbers with a missing value among them are set out as words."""
    if points.dtype.kind == "O":
        return np.arange(len(points), dtype=np.float64), np.arange(len(points)), list(point_labels(points))
    if points.dtype.kind in "mM":
        known = np.flatnonzero(~np.isnat(points))
        return points[known], known, None
    x = points.astype(np.float64)
    if np.isnan(x).any():
        from whybox.plots.style import value_text

        step = max(1, len(x) // 8)
        labels = [minus_signs(value_text(v)) if i % step == 0 or np.isnan(v) else "" for i, v in enumerate(x)]
        return np.arange(len(x), dtype=np.float64), np.arange(len(x)), _visible_labels(labels)
    return x, np.arange(len(x)), None


def _visible_labels(labels: list[str]) -> list[str]:
    """Let the label before "missing" go, so that the two do not touch."""
    return ["" if i + 1 < len(labels) and labels[i + 1] == "missing" else w for i, w in enumerate(labels)]


def _cell_borders(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Edges of the cells around places."""
    if len(x) == 1:
        half: Any = np.timedelta64(12, "h") if x.dtype.kind == "M" else 0.5
        return np.array([x[0] - half, x[0] + half])
    gap = np.diff(x)
    half_gap = gap // 2 if x.dtype.kind == "M" else gap / 2
    return np.concatenate([x[:1] - half_gap[:1], x[:-1] + half_gap, x[-1:] + half_gap[-1:]])
