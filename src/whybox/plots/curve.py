"""Curves: how the prediction moves with a feature, where the data are, and where the curve leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.explanation.axis_points import point_labels, with_plain_durations
from whybox.explanation.feature_values import as_numbers
from whybox.explanation.html import number
from whybox.numerics.statistics import critical_value
from whybox.plots.style import (
    NEGATIVE,
    NEUTRAL,
    POSITIVE,
    about,
    axes,
    caution,
    colormap,
    distinct,
    ink,
    muted,
    one_output,
    palette,
    remark,
    scaled,
    short,
    thousands,
    tidy,
    unit,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["curve"]

MAX_CURVES: Final = 300  # individual curves drawn
HISTOGRAM_HEIGHT: Final = 0.16  # of the height of the axes, for the histogram
_WORDS: Final = 4  # categories that stand side by side without turning


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

    Categories are bars from the curve's mean over the rows; a missing value has a place of its own. Individual curves are drawn faint, their mean
    strong. The band is a 95 % confidence interval; dashed lines show that of the learner error, where there were refits. A surface is drawn as a heatmap.

    Args:
        e: an effect of one feature or two. color: a feature to colour individual curves by.
        output: which of several outputs; None draws them all as lines, where there is one feature and no rows. ax: where to draw.
        title: instead of the usual one. legend: whether to say what lines and shades mean.

    Returns:
        The axes.

    Raises:
        OptionError: not an effect, or a choice it does not have.
    """
    _check(e)
    if output is not None or ("output" in e.dims and ("row" in e.dims or "point_2" in e.dims)):
        e = one_output(e, output, "curve")
    e = with_plain_durations(e)
    if "point_2" in e.dims:
        from whybox.plots.surface import surface

        drawn = surface(e, ax=ax, title=title)
        if legend:
            caution(drawn, e)
        return drawn
    name = next(iter(e.players))
    ax = axes(ax, 5.6, 3.7)
    place, ticks = _places(e.coords["point"])
    if "row" in e.dims:
        _individual(ax, e, place, color, legend=legend)
    elif ticks is not None:
        _bars(ax, e, place)
    else:
        _lines(ax, e, place)
    ax.set_ylabel(_what(e))
    ax.set_xlabel(short(name, 60))
    ax.set_title(title if title is not None else f"{short(name, 40)}{about(e)}", loc="left", pad=9)
    tidy(ax, grid="y" if ticks is not None else "both")
    if ticks is not None:
        _words(ax, place, ticks)
    else:
        _number_axis(ax, e, place)
    _data_below(ax, e, place, bars=ticks is not None)
    _off_above(ax, e, place, bars=ticks is not None, say=legend)
    if "output" in e.dims and legend:
        ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0), title="output")
    if legend:
        caution(ax, e)
    return ax


def _check(e: Explanation) -> None:
    if e.kind != "effect":
        raise OptionError("curve shows effects: wb.effects(model, X)['feature'].plot.curve().")
    if "point" not in e.dims:
        raise OptionError(
            "curve draws an effect along its points, and one of them was picked here; draw the effect as it came."
        )
    if "point_2" in e.dims and "row" in e.dims:
        raise OptionError("individual surfaces are not drawn; average them or take ", Argument("kind", "pdp"), ".")


def _what(e: Explanation) -> str:
    """What the height of the curve is, short enough for an axis."""
    quantity = e.evidence.quantity
    return f"{quantity}\n({unit(e)})" if e.named_units else quantity


def _places(points: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], list[str] | None]:
    """Return where points stand, and for categories their words; numbers and dates keep their values, missing as NaN or NaT."""
    if points.dtype.kind == "O":
        return np.arange(len(points), dtype=np.float64), list(point_labels(points))
    return points if points.dtype.kind in "mM" else points.astype(np.float64), None


def _known(place: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(~np.isnat(place) if place.dtype.kind in "mM" else np.isfinite(place))


def _dates() -> Any:
    """Matplotlib's dates, which carry no types."""
    from importlib import import_module

    return import_module("matplotlib.dates")


def _missing_place(place: npt.NDArray[Any]) -> Any:
    """Where the missing value is drawn: left of all others."""
    known = place[_known(place)]
    if not len(known):
        return 0.0
    span = known.max() - known.min()
    return known.min() - (span * 0.12 if place.dtype.kind not in "mM" else span // 8)


def _series(e: Explanation) -> list[tuple[str, str, Floats, Floats | None]]:
    """Return (label, colour, values, standard error) of each output."""
    if "output" not in e.dims:
        return [("", NEGATIVE, e.values, e.std_error)]
    colors, names = palette(e.shape[-1]), distinct(e.output_names)
    return [
        (names[o], colors[k], e.values[..., k], None if e.std_error is None else e.std_error[..., k])
        for k, o in enumerate(e.output_names)
    ]


def _learner_interval(e: Explanation) -> Floats | None:
    """Ends of the intervals of the learner error, (points, outputs, 2); None without refits."""
    if "learner_interval" in e.extras:
        return np.asarray(e.extras["learner_interval"][1].reshape(len(e.values), -1, 2))
    if "learner_error" not in e.extras:
        return None
    wide = critical_value() * e.extras["learner_error"][1]  # of a file that was saved without the interval
    return np.stack([e.values - wide, e.values + wide], axis=-1).reshape(len(e.values), -1, 2)


def _lines(ax: Axes, e: Explanation, place: npt.NDArray[Any]) -> None:
    known = _known(place)
    learner = _learner_interval(e)
    for k, (label, color, values, error) in enumerate(_series(e)):
        if learner is not None:
            for side in np.moveaxis(learner[:, k], -1, 0):
                ax.plot(place[known], side[known], color=color, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2)
        ax.plot(place[known], values[known], color=color, linewidth=1.8, label=label or None, zorder=3)
        if known.sum() == 1:
            ax.plot(place[known], values[known], "o", color=color, zorder=3)
        if error is not None:
            low, high = values - critical_value() * error, values + critical_value() * error
            ax.fill_between(place[known], low[known], high[known], color=color, alpha=0.18, linewidth=0, zorder=2)
        if not known.all():
            at = _missing_place(place)
            bar = None if error is None else critical_value() * error[~known]
            ax.errorbar([at], values[~known], yerr=bar, fmt="o", color=color, markersize=5, elinewidth=1.4, zorder=3)


def _bars(ax: Axes, e: Explanation, place: npt.NDArray[Any]) -> None:
    series = _series(e)
    width = 0.72 / len(series)
    share = e.extras["share"][1] if "share" in e.extras else np.ones(len(place))
    share = share / max(float(share.sum()), 1e-300)
    for k, (label, color, values, error) in enumerate(series):
        x = place + (k - (len(series) - 1) / 2) * width
        middle = float(np.nansum(share * np.nan_to_num(values)))
        shades: Any = color if len(series) > 1 else np.where(values >= middle, POSITIVE, NEGATIVE).tolist()
        ax.bar(x, values - middle, bottom=middle, width=0.92 * width, color=shades, label=label or None, zorder=2)
        if error is not None:
            ax.errorbar(
                x, values, yerr=critical_value() * error, fmt="none", ecolor=ink(), elinewidth=1.0, capsize=2, zorder=3
            )
        ax.axhline(middle, color=color if len(series) > 1 else muted(0.6), linewidth=0.8, zorder=1)
    low = min(float(np.nanmin(v - (0 if s is None else critical_value() * np.nan_to_num(s)))) for _, _, v, s in series)
    high = max(float(np.nanmax(v + (0 if s is None else critical_value() * np.nan_to_num(s)))) for _, _, v, s in series)
    room = max(high - low, 1e-12)
    ax.set_ylim(low - 0.08 * room, high + 0.08 * room)


def _individual(ax: Axes, e: Explanation, place: npt.NDArray[Any], color: Any, *, legend: bool) -> None:
    from matplotlib.collections import LineCollection

    known = _known(place)
    x = _dates().date2num(place[known]) if place.dtype.kind == "M" else place[known].astype(np.float64)
    n = len(e.values)
    rows = np.sort(np.random.default_rng(0).choice(n, MAX_CURVES, replace=False)) if n > MAX_CURVES else np.arange(n)
    shades, bar = _shades(e, color, rows)
    segments = [np.column_stack([x, line]) for line in e.values[rows][:, known]]
    faint = 0.55 if bar is not None else max(0.12, min(0.5, 25.0 / len(rows)))
    ax.plot(place[known], np.full(int(known.sum()), np.nan))  # so that the axis knows numbers from dates
    ax.add_collection(LineCollection(segments, colors=shades, linewidths=0.7, alpha=faint, rasterized=True, zorder=2))
    w = e.extras["weight"][1] if "weight" in e.extras else np.full(n, 1.0 / n)
    mean = (w / w.sum()) @ e.values
    ax.plot(place[known], mean[known], color=ink(), linewidth=2.0, zorder=3, label="mean")
    if not known.all():
        at = _missing_place(place)
        points = e.values[rows][:, ~known].ravel()
        ax.scatter([at] * len(points), points, s=7, c=shades, alpha=faint, linewidths=0, rasterized=True, zorder=2)
        ax.plot([at], mean[~known], "o", color=ink(), markersize=5, zorder=3)
    ax.autoscale_view()
    if n > len(rows) and legend:
        remark(ax, f"{len(rows)} of {n:,} rows drawn", below=True)
    if bar is not None and legend:
        _color_bar(ax, *bar)


def _shades(e: Explanation, color: Any, rows: npt.NDArray[np.int64]) -> tuple[Any, tuple[str, Any] | None]:
    """Return line colours, and for a legend the feature's name with its range of numbers or its categories' colours."""
    if color is None:
        return NEUTRAL, None
    assert e.data is not None  # noqa: S101  # individual curves keep their rows
    names = e.data.names
    at = names.index(color) if isinstance(color, str) and color in names else color
    if isinstance(at, bool) or not isinstance(at, (int, np.integer)) or not 0 <= int(at) < len(names):
        raise OptionError(f"there is no feature {color!r} to colour by.{did_you_mean(color, names)}")
    column = e.data.column(int(at))
    if column.kind in ("number", "datetime"):
        values = column.values[rows]
        x = as_numbers(values) if column.kind == "datetime" else values.astype(np.float64)
        known = x[np.isfinite(x)]
        span = tuple(np.percentile(known, [5, 95])) if len(known) else (0.0, 0.0)
        return colormap()(np.ma.masked_invalid(np.asarray(scaled(x), dtype=np.float64))), (names[int(at)], span)
    cells = [str(v) if v is not None else "missing" for v in column.objects()[rows]]
    common, counts = np.unique(cells, return_counts=True)
    top = [str(c) for c in common[np.argsort(-counts, kind="stable")][:7]]
    colors = dict(zip(top, palette(len(top)), strict=True))
    return [colors.get(c, "#8c8c8c") for c in cells], (names[int(at)], colors)


def _color_bar(ax: Axes, name: str, span: Any) -> None:
    if isinstance(span, dict):
        from matplotlib.lines import Line2D

        marks = [Line2D([], [], color=c, label=short(v, 18)) for v, c in span.items()]
        ax.legend(
            handles=marks, title=short(name, 24), frameon=False, fontsize="small", title_fontsize="small",
            loc="upper left", bbox_to_anchor=(1.0, 1.0),
        )  # fmt: skip
        return
    from matplotlib.cm import ScalarMappable

    bar = ax.figure.colorbar(ScalarMappable(cmap=colormap()), ax=ax, aspect=40, pad=0.01, ticks=[0, 1])
    bar.ax.set_yticklabels([number(float(v), 3) for v in span])
    bar.set_label(short(name, 30), color=ink(), fontsize="small")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)


def _words(ax: Axes, place: npt.NDArray[Any], ticks: list[str]) -> None:
    names = [distinct(tuple(dict.fromkeys(ticks)), 16)[t] for t in ticks]
    turned = len(names) > _WORDS or sum(map(len, names)) > 44
    step = max(1, len(names) // 30)  # of very many categories every so many are named
    ax.set_xticks(
        place[::step], names[::step], rotation=40 if turned else 0, ha="right" if turned else "center",
        rotation_mode="anchor", va="center" if turned else "top",
    )  # fmt: skip
    ax.set_xlim(-0.6, len(names) - 0.4)


def _number_axis(ax: Axes, e: Explanation, place: npt.NDArray[Any]) -> None:
    """Few ticks; a shaded place for the missing value."""
    if place.dtype.kind in "mM":
        locator = _dates().AutoDateLocator(maxticks=6)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(_dates().ConciseDateFormatter(locator))
    known = _known(place)
    if known.all() or not known.any():
        return
    at, low, high = _missing_place(place), place[known].min(), place[known].max()
    half = (low - at) * 0.4 if place.dtype.kind not in "mM" else (low - at) // 3
    ax.axvspan(at - half, at + half, color=muted(0.1), linewidth=0, zorder=0)
    if place.dtype.kind in "mM":
        ax.annotate(
            "missing",
            (at, 0),
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
    formatter = thousands()
    formatter.set_axis(ax.xaxis)
    ax.set_xticks([at, *ticks], ["missing", *formatter.format_ticks(ticks)])
    ax.set_xlim(at - 1.5 * half, high + 0.03 * span)


def _data_below(ax: Axes, e: Explanation, place: npt.NDArray[Any], *, bars: bool) -> None:
    """A histogram of the feature along the bottom: how many rows stand where."""
    low, high = ax.get_ylim()
    ax.set_ylim(low - HISTOGRAM_HEIGHT * 1.1 * (high - low), high)
    below = ax.get_xaxis_transform()
    if bars and "share" in e.extras:
        share = e.extras["share"][1]
        ax.bar(
            place,
            HISTOGRAM_HEIGHT * share / max(float(share.max()), 1e-12),
            width=0.72,
            color=muted(0.25),
            transform=below,
            zorder=0,
        )
    elif not bars and "histogram" in e.extras:
        mass, edges = e.extras["histogram"][1], e.extras["histogram_edges"][1]
        x = edges.astype(np.int64).astype("datetime64[us]") if place.dtype.kind == "M" else edges
        tall = HISTOGRAM_HEIGHT * mass / max(float(mass.max()), 1e-12)
        ax.bar(x[:-1], tall, width=np.diff(x), align="edge", color=muted(0.25), transform=below, zorder=0)
        known = _known(place)
        if not known.all() and "share" in e.extras and place.dtype.kind != "M":
            at, span = _missing_place(place), float(place[known].max() - place[known].min()) if known.any() else 1.0
            share = e.extras["share"][1]
            ax.bar(
                [at],
                [HISTOGRAM_HEIGHT * float(share[~known].sum())],
                width=0.04 * span,
                color=muted(0.25),
                transform=below,
                zorder=0,
            )


def _off_above(ax: Axes, e: Explanation, place: npt.NDArray[Any], *, bars: bool, say: bool) -> None:
    """A strip along the top: the redder, the more rows are off the data at this point."""
    off = e.off_data
    if off is None:
        return
    above = ax.get_xaxis_transform()
    known = _known(place) if not bars else np.ones(len(place), dtype=bool)
    x = place[known]
    if not bars and len(x) > 1:
        at = _dates().date2num(x) if place.dtype.kind == "M" else x.astype(np.float64)
        left = np.concatenate([at[:1], (at[1:] + at[:-1]) / 2])
        right = np.concatenate([(at[1:] + at[:-1]) / 2, at[-1:]])
    else:
        left, right = x.astype(np.float64) - 0.36, x.astype(np.float64) + 0.36
    for a, b, share in zip(left, right, np.nan_to_num(off[known]), strict=True):
        if share > 0.1:
            ax.fill_between(
                [a, b], 0.975, 1.0, color=POSITIVE, alpha=float(min(share, 1.0)), linewidth=0, transform=above, zorder=4
            )
    if say and np.nanmax(off, initial=0.0) > 0.1:
        remark(ax, f"red: off the data, up to {100 * float(np.nanmax(off)):.0f} % of rows")
