"""Scatter: a feature's values against its attributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError, did_you_mean
from whybox.explanation.axis_points import MAX_CATEGORIES, TOP_CATEGORIES
from whybox.explanation.feature_values import shown_values, strongest_partner
from whybox.plots.intervals import median_error_line
from whybox.plots.style import (
    MISSING,
    NEGATIVE,
    add_caution,
    add_note,
    axes_or_new,
    colormap,
    distinct_labels,
    faint_text_color,
    name_of,
    one_output,
    other_figure_hint,
    output_suffix,
    palette,
    percentile_labels,
    row_value_label,
    scale_to_percentiles,
    style_axes,
    text_color,
    thousands_formatter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["scatter"]

MAX_POINTS = 4000
PAD_ABOVE_NOTE = 17.0  # points


def scatter(
    e: Explanation,
    feature: Any,
    *,
    color: Any = "auto",
    output: Any = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw each row at (value of the feature, its attribution). Of estimated attributions their median standard error stands below the axis.

    Args:
        e: attributions of several rows, or interactions (then attributions are their row sums and the partner is exact).
        feature: name or position. color: a feature to colour by, None for one colour, or "auto": the strongest interaction.
        output: which of several outputs. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: no such feature, or a group of columns, which has no value to draw.
    """
    e = one_output(e, output, "scatter")
    if e.dims not in (("row", "feature"), ("row", "feature", "feature_2")) or e.kind == "rule":
        raise OptionError(f"a scatter shows attributions of several rows.{other_figure_hint(e)}")
    name = _feature_name(e, feature)
    values = shown_values(e, name)
    if values is None:
        raise OptionError(f"{name!r} is a group of columns; a scatter needs one column's values.")
    y = e.values[:, e.feature_names.index(name)]
    y = y.sum(axis=1) if e.kind == "interaction" else y
    other = (
        strongest_partner(e, name)
        if isinstance(color, str) and color == "auto"
        else None
        if color is None
        else _feature_name(e, color)
    )
    n = len(y)
    rows = np.sort(np.random.default_rng(0).choice(n, MAX_POINTS, replace=False)) if n > MAX_POINTS else np.arange(n)
    new = ax is None
    ax = axes_or_new(ax, 6.4, 4.0)
    x, missing = _place_values(ax, values)
    shades, legend = _point_colors(e, other, rows)
    ax.scatter(x[rows], y[rows], s=12, c=shades, linewidths=0, alpha=0.8, rasterized=True, zorder=2)
    ax.axhline(0, color=faint_text_color(0.6), linewidth=0.8, zorder=1)
    drawn = f" ({len(rows):,} of {n:,} rows drawn)" if len(rows) < n else ""
    error = (
        median_error_line(e[:, [name]]) if e.kind != "interaction" else ""
    )  # of a sum of interactions it is not known
    ax.set_xlabel(name_of(e, name, 60) + drawn + error)
    ax.set_ylabel(row_value_label(e))
    noted = not new and other is not None and isinstance(legend, list)  # the note on colours stands below the title
    ax.set_title(
        title if title is not None else f"{name_of(e, name, 40)}{output_suffix(e)}",
        loc="left",
        pad=PAD_ABOVE_NOTE if noted else None,
    )
    add_caution(ax, e)
    style_axes(ax, grid="both")
    if missing is not None:
        _missing_strip(ax, missing, None if values.dtype == object else (x, values))
    if other is not None:
        _add_color_legend(ax, name_of(e, other, 24), legend, wide=new)
    return ax


def _feature_name(e: Explanation, feature: Any) -> str:
    if isinstance(feature, (int, np.integer)) and -len(e.feature_names) <= int(feature) < len(e.feature_names):
        return e.feature_names[int(feature)]
    if str(feature) in e.feature_names:
        return str(feature)
    raise OptionError(f"there is no feature {feature!r}.{did_you_mean(feature, e.feature_names)}")


def _place_values(ax: Axes, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float | None]:
    """Return places on the x axis and, where there are missing values, the place they are drawn at."""
    if values.dtype == object:
        return _place_categories(ax, values)
    if values.dtype.kind != "f":
        return values, None
    x = np.where(np.isfinite(values), values, np.nan)
    if not np.isnan(x).any():
        return x, None
    finite = x[~np.isnan(x)]
    if not len(finite):
        return np.zeros(len(x)), 0.0
    missing = float(finite.min() - 0.14 * max(float(np.ptp(finite)), 1e-12))
    return np.where(np.isnan(x), missing, x), missing


def _place_categories(ax: Axes, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float | None]:
    """Give each category a place of its own; of very many the commonest, and one place for all others."""
    words, counts = np.unique([str(v) for v in values if v is not None], return_counts=True)
    names = words.tolist()
    if len(names) > MAX_CATEGORIES:
        names = sorted(words[np.argsort(-counts, kind="stable")][:TOP_CATEGORIES].tolist())
    at = {v: float(i) for i, v in enumerate(names)}
    labels = [distinct_labels(tuple(names), 14)[v] for v in names]
    if len(words) > len(names):
        labels.append(f"{len(words) - len(names)} others")
    gap = any(v is None for v in values)
    many = len(labels) > 4 or sum(map(len, labels)) > 50  # what stands side by side without touching
    ax.set_xticks(
        [*([-1.0] if gap else []), *range(len(labels))],
        [*(["missing"] if gap else []), *labels],
        rotation=40 if many else 0,
        ha="right" if many else "center",
        rotation_mode="anchor",
        va="top" if not many else "center",
    )
    place = np.array([-1.0 if v is None else at.get(str(v), float(len(names))) for v in values])
    return place + np.random.default_rng(0).uniform(-0.25, 0.25, len(values)), -1.0 if gap else None


def _missing_strip(ax: Axes, at: float, numbers: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None) -> None:
    """Set the place of missing values apart from the axis: shaded, with a tick of its own."""
    if numbers is None:
        ax.axvspan(-1.45, -0.55, color=faint_text_color(0.1), linewidth=0, zorder=0)
        return
    x, values = numbers
    known = x[np.isfinite(values)]
    if not len(known):
        ax.set_xticks([at], ["missing"])
        return
    low, high = float(known.min()), float(known.max())
    half = 0.45 * (low - at)
    ax.axvspan(at - half, at + half, color=faint_text_color(0.1), linewidth=0, zorder=0)
    ticks = [t for t in ax.get_xticks() if low <= t <= high + 0.02 * (high - low)]
    formatter = thousands_formatter()
    formatter.set_axis(ax.xaxis)
    ax.set_xticks([at, *ticks], ["missing", *formatter.format_ticks(ticks)])


def _point_colors(
    e: Explanation, other: str | None, rows: npt.NDArray[np.int64]
) -> tuple[Any, dict[str, str] | list[str] | None]:
    """Return point colours and what to put in the legend: category colours, or the lowest and the highest value in words."""
    values = None if other is None else shown_values(e, other)
    if values is None:
        return NEGATIVE, None
    picked = values[rows]
    color = scale_to_percentiles(picked)
    if color is not None:
        return colormap()(np.ma.masked_invalid(color)), percentile_labels(picked)
    common, counts = np.unique([str(v) for v in picked if v is not None], return_counts=True)
    top = [str(c) for c in common[np.argsort(-counts)][:6]]
    colors = dict(zip(top, palette(len(top)), strict=True))
    return [colors.get(str(v), MISSING) if v is not None else MISSING for v in picked], colors


def _add_color_legend(ax: Axes, other: str, legend: dict[str, str] | list[str] | None, *, wide: bool) -> None:
    if isinstance(legend, dict):
        from matplotlib.lines import Line2D

        marks = [
            Line2D([], [], marker="o", linestyle="", markersize=5, color=c, label=distinct_labels(tuple(legend), 16)[v])
            for v, c in legend.items()
        ]
        ax.legend(handles=marks, title=other, frameon=False, fontsize="small", title_fontsize="small")
    elif legend is not None and wide:
        from matplotlib.cm import ScalarMappable

        bar = ax.figure.colorbar(ScalarMappable(cmap=colormap()), ax=ax, aspect=40, pad=0.01, ticks=[0, 1])
        bar.ax.set_yticklabels(legend)
        bar.set_label(other, color=text_color(), fontsize="small")
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
    elif legend is not None:
        add_note(ax, f"colour: {other}, blue low, red high")
