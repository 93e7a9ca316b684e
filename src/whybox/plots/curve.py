"""Curves: how the prediction moves with a feature, where the data are, and where the curve leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.explanation.axis_points import point_labels, with_common_categories, with_plain_durations
from whybox.explanation.feature_values import as_numbers
from whybox.numerics.statistics import confidence_interval, critical_value
from whybox.plots.style import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    add_caution,
    add_note,
    axes_or_new,
    colormap,
    distinct_labels,
    faint_text_color,
    kind_of_outputs,
    one_output,
    output_suffix,
    palette,
    percentile_labels,
    scale_to_percentiles,
    shorten_label,
    style_axes,
    text_color,
    thousands_formatter,
    unit_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["curve"]

MAX_CURVES: Final = 300  # individual curves drawn
Band = tuple[Floats, Floats]  # lower and upper ends
HISTOGRAM_HEIGHT: Final = 0.16  # of the height of the axes, for the histogram
_MAX_UPRIGHT_LABELS: Final = 4  # categories that stand side by side without turning


def curve(
    e: Explanation,
    *,
    color: Any = None,
    output: Any = None,
    ax: Axes | None = None,
    title: str | None = None,
    legend: bool = True,
) -> Axes:
    """Draw a curve with its band, the data below it, and above it how many rows each point takes off the data.

    Categories are bars from the curve's mean over the rows, of more than 20 the 14 commonest and one bar for the mean of all others; a missing value has a
    place of its own. Individual curves are drawn faint, their mean
    strong. The band is the confidence interval; dashed lines show that of the learner error, where there were refits. An accumulated curve is broken
    where no row tells how it moves, and dotted there. A surface is drawn as a heatmap.

    Args:
        e: an effect of one feature or two. color: a feature to colour individual curves by.
        output: which of several outputs; None draws them all as lines, where there is one feature and no rows. ax: where to draw.
        title: instead of the usual one. legend: whether to say what lines and shades mean.

    Returns:
        The axes.

    Raises:
        OptionError: not an effect, or a choice it does not have.
    """
    _check_drawable(e)
    if output is not None or ("output" in e.dims and ("row" in e.dims or "point_2" in e.dims)):
        e = one_output(e, output, "curve")
    e = with_common_categories(with_plain_durations(e))
    if "point_2" in e.dims:
        from whybox.plots.surface import surface

        drawn = surface(e, ax=ax, title=title)
        if legend:
            add_caution(drawn, e)
        return drawn
    name = next(iter(e.players))
    ax = axes_or_new(ax, 5.6, 3.7)
    positions, ticks = _axis_positions(e.coords["point"])
    if "row" in e.dims:
        _draw_individual_curves(ax, e, positions, color, legend=legend)
    elif ticks is not None:
        _draw_bars(ax, e, positions)
    else:
        _draw_lines(ax, e, positions)
    ax.set_ylabel(_value_label(e))
    ax.set_xlabel(shorten_label(name, 60))
    ax.set_title(title if title is not None else f"{shorten_label(name, 40)}{output_suffix(e)}", loc="left", pad=9)
    style_axes(ax, grid="y" if ticks is not None else "both")
    if ticks is not None:
        _category_axis(ax, positions, ticks)
    else:
        _number_axis(ax, e, positions)
    _draw_histogram(ax, e, positions, bars=ticks is not None)
    _draw_off_data_strip(ax, e, positions, bars=ticks is not None, explain=legend)
    if "output" in e.dims and legend:
        ax.legend(
            frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0), title=kind_of_outputs(e)
        )
    if legend:
        add_caution(ax, e)
    return ax


def _check_drawable(e: Explanation) -> None:
    if e.kind != "effect":
        raise OptionError("curve shows effects: wb.effects(model, X)['feature'].plot.curve().")
    if "point" not in e.dims:
        raise OptionError(
            "curve draws an effect along its points, and one of them was picked here; draw the effect as it came."
        )
    if "point_2" in e.dims and "row" in e.dims:
        raise OptionError("individual surfaces are not drawn; average them or take ", Argument("kind", "pdp"), ".")


def _value_label(e: Explanation) -> str:
    """What the height of the curve is, short enough for an axis."""
    quantity = e.evidence.quantity
    return f"{quantity}\n({unit_label(e)})" if e.named_units else quantity


def _axis_positions(points: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], list[str] | None]:
    """Return where points stand, and for categories their words; numbers and dates keep their values, missing as NaN or NaT."""
    if points.dtype.kind == "O":
        return np.arange(len(points), dtype=np.float64), list(point_labels(points))
    return points if points.dtype.kind in "mM" else points.astype(np.float64), None


def _is_known(positions: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(~np.isnat(positions) if positions.dtype.kind in "mM" else np.isfinite(positions))


def _matplotlib_dates() -> Any:
    """Matplotlib's dates, which carry no types."""
    from importlib import import_module

    return import_module("matplotlib.dates")


def _missing_position(positions: npt.NDArray[Any]) -> Any:
    """Where the missing value is drawn: left of all others."""
    known = positions[_is_known(positions)]
    if not len(known):
        return 0.0
    span = known.max() - known.min()
    return known.min() - (span * 0.12 if positions.dtype.kind not in "mM" else span // 8)


def _output_series(e: Explanation) -> list[tuple[str, str, Floats, Band | None]]:
    """Return (label, colour, values, ends of the intervals) of each output."""
    band = e.interval
    if band is None and e.std_error is not None:  # of a file that was saved without intervals
        band = confidence_interval(e.values, e.std_error)
    if "output" not in e.dims:
        return [("", NEGATIVE, e.values, band)]
    colors, names = palette(e.shape[-1]), distinct_labels(e.output_names)
    return [
        (names[o], colors[k], e.values[..., k], None if band is None else (band[0][..., k], band[1][..., k]))
        for k, o in enumerate(e.output_names)
    ]


def _bar_lengths(values: Floats, band: Band) -> Floats:
    """How far intervals reach below and above their values, as error bars want it; nothing where they have no end."""
    return np.stack([np.where(np.isfinite(end), np.abs(end - values), np.nan) for end in band])


def _learner_interval(e: Explanation) -> Floats | None:
    """Ends of the intervals of the learner error, (points, outputs, 2); None without refits."""
    if "learner_interval" in e.extras:
        return np.asarray(e.extras["learner_interval"][1].reshape(len(e.values), -1, 2))
    if "learner_error" not in e.extras:
        return None
    half_width = critical_value() * e.extras["learner_error"][1]  # of a file that was saved without the interval
    return np.stack([e.values - half_width, e.values + half_width], axis=-1).reshape(len(e.values), -1, 2)


def _draw_lines(ax: Axes, e: Explanation, positions: npt.NDArray[Any]) -> None:
    known = _is_known(positions)
    learner = _learner_interval(e)
    gap = e.extras["gap_before"][1] if "gap_before" in e.extras else np.zeros(len(positions), dtype=bool)
    for k, (label, color, values, band) in enumerate(_output_series(e)):
        if learner is not None:
            for bound in np.moveaxis(learner[:, k], -1, 0):
                ax.plot(positions[known], bound[known], color=color, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2)
        _draw_line(ax, positions[known], values[known], gap[known], color=color, label=label or None)
        if known.sum() == 1:
            ax.plot(positions[known], values[known], "o", color=color, zorder=3)
        if band is not None:
            low, high = (np.where(np.isfinite(end), end, np.nan)[known] for end in band)
            ax.fill_between(positions[known], low, high, color=color, alpha=0.18, linewidth=0, zorder=2)
        if not known.all():
            missing_at = _missing_position(positions)
            bars = None if band is None else _bar_lengths(values, band)[:, ~known]
            ax.errorbar(
                [missing_at],
                values[~known],
                yerr=bars,
                fmt="o",
                color=color,
                markersize=5,
                elinewidth=1.4,
                zorder=3,
            )


def _draw_line(
    ax: Axes, x: npt.NDArray[Any], values: Floats, gap: npt.NDArray[np.bool_], *, color: str, label: str | None
) -> None:
    """Draw a line, broken where the step before a point is not known: there it is dotted and faint."""
    starts = [0, *np.flatnonzero(gap).tolist()]
    for start, stop in zip(starts, [*starts[1:], len(x)], strict=True):
        piece = slice(start, stop)
        ax.plot(x[piece], values[piece], color=color, linewidth=1.8, label=label if not start else None, zorder=3)
        if stop - start == 1 and len(x) > 1:
            ax.plot(x[piece], values[piece], ".", color=color, zorder=3)
        if start:
            ends = slice(start - 1, start + 1)
            ax.plot(x[ends], values[ends], color=color, linewidth=1.2, alpha=0.6, linestyle=(0, (1, 2)), zorder=3)


def _draw_bars(ax: Axes, e: Explanation, positions: npt.NDArray[Any]) -> None:
    series = _output_series(e)
    width = 0.72 / len(series)
    share = e.extras["share"][1] if "share" in e.extras else np.ones(len(positions))
    share = share / max(float(share.sum()), 1e-300)
    for k, (label, color, values, band) in enumerate(series):
        x = positions + (k - (len(series) - 1) / 2) * width
        center = float(np.nansum(share * np.nan_to_num(values)))
        bar_colors: Any = color if len(series) > 1 else np.where(values >= center, POSITIVE, NEGATIVE).tolist()
        ax.bar(x, values - center, bottom=center, width=0.92 * width, color=bar_colors, label=label or None, zorder=2)
        if band is not None:
            ax.errorbar(
                x,
                values,
                yerr=_bar_lengths(values, band),
                fmt="none",
                ecolor=text_color(),
                elinewidth=1.0,
                capsize=2,
                zorder=3,
            )
        ax.axhline(center, color=color if len(series) > 1 else faint_text_color(0.6), linewidth=0.8, zorder=1)
    below, above = (
        [v if band is None else v + sign * np.nan_to_num(_bar_lengths(v, band)[side]) for _, _, v, band in series]
        for side, sign in ((0, -1), (1, 1))
    )
    low, high = float(np.nanmin(below)), float(np.nanmax(above))
    value_range = max(high - low, 1e-12)
    ax.set_ylim(low - 0.08 * value_range, high + 0.08 * value_range)


def _draw_individual_curves(ax: Axes, e: Explanation, positions: npt.NDArray[Any], color: Any, *, legend: bool) -> None:
    from matplotlib.collections import LineCollection

    known = _is_known(positions)
    x_positions = (
        _matplotlib_dates().date2num(positions[known])
        if positions.dtype.kind == "M"
        else positions[known].astype(np.float64)
    )
    n = len(e.values)
    rows = np.sort(np.random.default_rng(0).choice(n, MAX_CURVES, replace=False)) if n > MAX_CURVES else np.arange(n)
    colors, legend_of_colors = _line_colors(e, color, rows)
    segments = [np.column_stack([x_positions, line]) for line in e.values[rows][:, known]]
    opacity = 0.55 if legend_of_colors is not None else max(0.12, min(0.5, 25.0 / len(rows)))
    ax.plot(positions[known], np.full(int(known.sum()), np.nan))  # so that the axis knows numbers from dates
    ax.add_collection(LineCollection(segments, colors=colors, linewidths=0.7, alpha=opacity, rasterized=True, zorder=2))
    weights = e.extras["weight"][1] if "weight" in e.extras else np.full(n, 1.0 / n)
    mean = (weights / weights.sum()) @ e.values
    ax.plot(positions[known], mean[known], color=text_color(), linewidth=2.0, zorder=3, label="mean")
    if not known.all():
        missing_at = _missing_position(positions)
        points = e.values[rows][:, ~known].ravel()
        ax.scatter(
            [missing_at] * len(points), points, s=7, c=colors, alpha=opacity, linewidths=0, rasterized=True, zorder=2
        )
        ax.plot([missing_at], mean[~known], "o", color=text_color(), markersize=5, zorder=3)
    ax.autoscale_view()
    if n > len(rows) and legend:
        add_note(ax, f"{len(rows)} of {n:,} rows drawn", below=True)
    if legend_of_colors is not None and legend:
        _color_bar(ax, *legend_of_colors)


def _line_colors(e: Explanation, color: Any, rows: npt.NDArray[np.int64]) -> tuple[Any, tuple[str, Any] | None]:
    """Return line colours, and for a legend the feature's name with its range of numbers or its categories' colours."""
    if color is None:
        return NEUTRAL, None
    assert e.data is not None  # noqa: S101  # individual curves keep their rows
    names = e.data.names
    index = names.index(color) if isinstance(color, str) and color in names else color
    if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= int(index) < len(names):
        raise OptionError(f"there is no feature {color!r} to colour by.{did_you_mean(color, names)}")
    column = e.data.column(int(index))
    if column.kind in ("number", "datetime"):
        values = column.values[rows]
        numbers = as_numbers(values) if column.kind == "datetime" else values.astype(np.float64)
        return colormap()(np.ma.masked_invalid(np.asarray(scale_to_percentiles(numbers), dtype=np.float64))), (
            names[int(index)],
            percentile_labels(values),
        )
    cells = [str(v) if v is not None else "missing" for v in column.objects()[rows]]
    categories, counts = np.unique(cells, return_counts=True)
    most_common = [str(c) for c in categories[np.argsort(-counts, kind="stable")][:7]]
    colors = dict(zip(most_common, palette(len(most_common)), strict=True))
    return [colors.get(c, "#8c8c8c") for c in cells], (names[int(index)], colors)


def _color_bar(ax: Axes, name: str, legend_values: Any) -> None:
    if isinstance(legend_values, dict):
        from matplotlib.lines import Line2D

        handles = [Line2D([], [], color=c, label=shorten_label(v, 18)) for v, c in legend_values.items()]
        ax.legend(
            handles=handles, title=shorten_label(name, 24), frameon=False, fontsize="small", title_fontsize="small",
            loc="upper left", bbox_to_anchor=(1.0, 1.0),
        )  # fmt: skip
        return
    from matplotlib.cm import ScalarMappable

    bar = ax.figure.colorbar(ScalarMappable(cmap=colormap()), ax=ax, aspect=40, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels(legend_values)
    bar.set_label(shorten_label(name, 30), color=text_color(), fontsize="small")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)


def _category_axis(ax: Axes, positions: npt.NDArray[Any], ticks: list[str]) -> None:
    names = [distinct_labels(tuple(dict.fromkeys(ticks)), 16)[t] for t in ticks]
    is_rotated = len(names) > _MAX_UPRIGHT_LABELS or sum(map(len, names)) > 44
    ax.set_xticks(
        positions, names, rotation=40 if is_rotated else 0, ha="right" if is_rotated else "center",
        rotation_mode="anchor", va="center" if is_rotated else "top",
    )  # fmt: skip
    ax.set_xlim(-0.6, len(names) - 0.4)


def _number_axis(ax: Axes, e: Explanation, positions: npt.NDArray[Any]) -> None:
    """Few ticks; a shaded place for the missing value."""
    known = _is_known(positions)
    if known.all() or not known.any():
        return
    missing_at, low, high = _missing_position(positions), positions[known].min(), positions[known].max()
    half_width = (low - missing_at) * 0.4 if positions.dtype.kind not in "mM" else (low - missing_at) // 3
    ax.axvspan(missing_at - half_width, missing_at + half_width, color=faint_text_color(0.1), linewidth=0, zorder=0)
    if positions.dtype.kind in "mM":
        ax.annotate(
            "missing",
            (missing_at, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize="x-small",
        )
        return
    span = high - low
    ticks = [t for t in ax.get_xticks() if low + 0.06 * span <= t <= high + 0.02 * span]
    formatter = thousands_formatter()
    formatter.set_axis(ax.xaxis)
    ax.set_xticks([missing_at, *ticks], ["missing", *formatter.format_ticks(ticks)])
    ax.set_xlim(missing_at - 1.5 * half_width, high + 0.03 * span)


def _draw_histogram(ax: Axes, e: Explanation, positions: npt.NDArray[Any], *, bars: bool) -> None:
    """A histogram of the feature along the bottom: how many rows stand where."""
    low, high = ax.get_ylim()
    ax.set_ylim(low - HISTOGRAM_HEIGHT * 1.1 * (high - low), high)
    along_bottom = ax.get_xaxis_transform()
    if bars and "share" in e.extras:
        share = e.extras["share"][1]
        ax.bar(
            positions,
            HISTOGRAM_HEIGHT * share / max(float(share.max()), 1e-12),
            width=0.72,
            color=faint_text_color(0.25),
            transform=along_bottom,
            zorder=0,
        )
    elif not bars and "histogram" in e.extras:
        masses, edges = e.extras["histogram"][1], e.extras["histogram_edges"][1]
        x = edges.astype(np.int64).astype("datetime64[us]") if positions.dtype.kind == "M" else edges
        heights = HISTOGRAM_HEIGHT * masses / max(float(masses.max()), 1e-12)
        ax.stairs(heights, x, baseline=0, fill=True, color=faint_text_color(0.25), transform=along_bottom, zorder=0)
        known = _is_known(positions)
        if not known.all() and "share" in e.extras and positions.dtype.kind != "M":
            missing_at, span = (
                _missing_position(positions),
                float(positions[known].max() - positions[known].min()) if known.any() else 1.0,
            )
            share = e.extras["share"][1]
            ax.bar(
                [missing_at],
                [HISTOGRAM_HEIGHT * float(share[~known].sum())],
                width=0.04 * span,
                color=faint_text_color(0.25),
                transform=along_bottom,
                zorder=0,
            )


def _draw_off_data_strip(ax: Axes, e: Explanation, positions: npt.NDArray[Any], *, bars: bool, explain: bool) -> None:
    """A strip along the top: the redder, the more rows are off the data at this point."""
    off_data = e.off_data
    if off_data is None:
        return
    known = _is_known(positions) if not bars else np.ones(len(positions), dtype=bool)
    x = positions[known]
    if not bars and len(x) > 1:
        x_numbers = _matplotlib_dates().date2num(x) if positions.dtype.kind == "M" else x.astype(np.float64)
        left = np.concatenate([x_numbers[:1], (x_numbers[1:] + x_numbers[:-1]) / 2])
        right = np.concatenate([(x_numbers[1:] + x_numbers[:-1]) / 2, x_numbers[-1:]])
    else:
        left, right = x.astype(np.float64) - 0.36, x.astype(np.float64) + 0.36
    shares = np.nan_to_num(off_data[known])
    shown = shares > 0.1
    if shown.any():
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import to_rgba

        left, right, shares = left[shown], right[shown], np.minimum(shares[shown], 1.0)
        corners = [[(a, 0.975), (b, 0.975), (b, 1.0), (a, 1.0)] for a, b in zip(left, right, strict=True)]
        colors = [to_rgba(POSITIVE, float(share)) for share in shares]
        ax.add_collection(
            PolyCollection(corners, facecolors=colors, linewidths=0, transform=ax.get_xaxis_transform(), zorder=4),
            autolim=False,
        )
        ax.update_datalim([(left.min(), 0.0), (right.max(), 0.0)], updatey=False)
        ax.autoscale_view(scaley=False)
    if explain and np.nanmax(off_data, initial=0.0) > 0.1:
        add_note(ax, f"red: off the data, up to {100 * float(np.nanmax(off_data)):.0f} % of rows")
