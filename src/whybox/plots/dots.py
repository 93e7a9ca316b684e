"""Dots: what each feature is worth, with its interval, largest on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from whybox.errors import Argument, OptionError
from whybox.explanation.errors_of_values import interval_level
from whybox.numerics.statistics import confidence_interval
from whybox.plots.style import (
    MISSING,
    NEGATIVE,
    POSITIVE,
    add_caution,
    axes_or_new,
    background_color,
    faint_text_color,
    name_of,
    one_output,
    output_suffix,
    shorten_label,
    style_axes,
    value_label,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from whybox.data.table import Floats
    from whybox.explanation.explanation import Explanation

__all__ = ["dots"]

OF_ROWS: Final = {"held-out": "held-out rows", "train": "training rows"}  # role -> what the dots are of
OFF_DATA_BELOW: Final = 0.33  # a line, of 1 a feature: where the bars lie below the dots
OFF_DATA_HEIGHT: Final = 0.07
TRAIN_BELOW: Final = 0.17
MAX_COLUMNS_LENGTH: Final = 44  # characters of the columns under a player's name


def dots(
    e: Explanation, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw an importance as one dot a feature with its interval, largest value on top; a feature without a value stands last.

    The same on training rows is a hollow dot. Bars below the dots say which share of the changed rows lies off the data. The columns of a named player stand
    under its name.

    Args:
        e: an importance. output: which of several outputs. max_display: how many features; how many are not shown is said below.
        ax: where to draw. title: instead of the method and its loss.

    Returns:
        The axes.

    Raises:
        OptionError: no importance, fewer than one feature, or no output named where there are several.
    """
    if e.kind != "importance" or "feature" not in e.dims:
        raise OptionError("dots shows the importance of features, wb.importance(model, X, y).")
    if max_display < 1:
        raise OptionError(Argument("max_display", max_display), " must be at least 1.")
    e = one_output(e, output, "plot of dots")
    order = np.argsort(-e.values, kind="stable")  # NaN goes last
    top = order[:max_display]
    ax = axes_or_new(ax, 7, 1.5 + _line_height(e) * len(top))
    y = np.arange(len(top), dtype=np.float64)[::-1]
    ax.axvline(0, color=faint_text_color(0.6), linewidth=0.8, zorder=1)
    for at in y:
        ax.axhline(at, color=faint_text_color(0.12), linewidth=0.7, zorder=0)
    _draw_off_data(ax, e, top, y)
    ends = [_draw_values(ax, e, top, y), _draw_train(ax, e, top, y - TRAIN_BELOW)]
    _label_features(ax, e, top, y)
    _set_limits(ax, np.concatenate(ends), len(top))
    smaller = len(order) - len(top)
    more = f"\n{smaller:,} smaller feature{'s' * (smaller > 1)} not shown" if smaller else ""
    ax.set_xlabel(value_label(e) + more)
    add_caution(ax, e)
    style_axes(ax)
    _add_legend(ax, title if title is not None else f"{_method_and_loss(e)}{output_suffix(e)}")
    return ax


def _method_and_loss(e: Explanation) -> str:
    settings = e.evidence.settings
    measure = f"{settings['loss']} loss" if "loss" in settings else settings.get("scoring")
    return e.evidence.method if not measure else f"{e.evidence.method}, {measure}"


def _line_height(e: Explanation) -> float:
    """Inches a feature: more where there is more to draw."""
    return (
        0.42 if "train" in e.extras or _off_data(e) is not None or any(map(_columns_under, e.players.items())) else 0.32
    )


def _draw_values(ax: Axes, e: Explanation, features: npt.NDArray[np.intp], y: Floats) -> Floats:
    """Draw the values with their intervals, and return where they end."""
    values = e.values[features]
    low, high, about = _interval(e)
    low, high = (np.where(np.isnan(values), np.nan, end[features]) for end in (low, high))
    if about:
        ax.hlines(y, low, high, color=NEGATIVE, linewidth=1.6, zorder=3)
    role = OF_ROWS.get(e.evidence.settings.get("role", ""), "")
    ax.plot(values, y, "o", color=NEGATIVE, markersize=6, zorder=4, label=_with_interval(role or "importance", about))
    for at in y[np.isnan(values)]:
        ax.annotate("no value", (0, at), xytext=(4, 0), textcoords="offset points", va="center", fontsize="small", color=faint_text_color(0.8))  # fmt: skip
    return np.concatenate([values, low, high])


def _interval(e: Explanation) -> tuple[Floats, Floats, str]:
    """Lower and upper ends, and what they are in words; the values themselves where there is no error."""
    if e.interval is not None:
        return *e.interval, f"{100 * interval_level(e):g} % interval"
    if e.std_error is not None:
        return e.values - e.std_error, e.values + e.std_error, "standard error"
    return e.values, e.values, ""


def _with_interval(rows: str, about: str) -> str:
    return f"{rows}, with the {about}" if about else rows


def _draw_train(ax: Axes, e: Explanation, features: npt.NDArray[np.intp], y: Floats) -> Floats:
    """Draw the same on training rows, a little lower, and return where it ends."""
    if "train" not in e.extras:
        return np.empty(0)
    values, about = e.extras["train"][1][features], ""
    ends = [values]
    if "train_error" in e.extras:
        ends += confidence_interval(values, e.extras["train_error"][1][features], interval_level(e))
        about = f"{100 * interval_level(e):g} % interval"
        ax.hlines(y, ends[1], ends[2], color=MISSING, linewidth=1.0, zorder=2)
    behind = background_color()
    words = _with_interval(OF_ROWS["train"], about)
    ax.plot(values, y, "o", color=MISSING, markerfacecolor=behind, markersize=5, zorder=3, label=words)
    return np.concatenate(ends)


def _off_data(e: Explanation) -> Floats | None:
    """Shares of changed rows that lie off the data; None where there is nothing to draw."""
    share = e.off_data
    return None if share is None or not np.any(np.nan_to_num(share) > 0) else share


def _draw_off_data(ax: Axes, e: Explanation, features: npt.NDArray[np.intp], y: Floats) -> None:
    """Draw shares as bars that start at the left edge; all of the width is the share 1."""
    share = _off_data(e)
    if share is None:
        return
    across, below = ax.get_yaxis_transform(), y - OFF_DATA_BELOW
    known = ~np.isnan(share[features])
    ax.barh(below[known], 1.0, height=OFF_DATA_HEIGHT, color=faint_text_color(0.08), transform=across, zorder=0)
    ax.barh(
        below,
        np.nan_to_num(share[features]),
        height=OFF_DATA_HEIGHT,
        color=POSITIVE,
        alpha=0.35,
        linewidth=0,
        transform=across,
        zorder=1,
        label="share of changed rows off the data (full width: 100 %)",
    )


def _label_features(ax: Axes, e: Explanation, features: npt.NDArray[np.intp], y: Floats) -> None:
    """Name the features; the columns of a player stand small under its name."""
    names = [e.feature_names[j] for j in features]
    columns = [_columns_under((name, e.players.get(name, ()))) for name in names]
    ax.set_yticks(y, [name_of(e, n) + ("\n" if under else "") for n, under in zip(names, columns, strict=True)])
    for at, under in zip(y, columns, strict=True):
        if under:
            ax.annotate(
                under,
                (0, at),
                xycoords=ax.get_yaxis_transform(),
                xytext=(-4, -2),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize="x-small",
                color=faint_text_color(0.8),
            )


def _columns_under(player: tuple[str, tuple[str, ...]]) -> str:
    """The columns of a player of several, in one line; "" where its name says them already."""
    name, columns = player
    whole = " + ".join(columns)
    if len(columns) < 2 or (name == whole and len(name) <= MAX_COLUMNS_LENGTH // 2):
        return ""
    shown = len(columns)
    while shown > 1 and len(", ".join(columns[:shown])) > MAX_COLUMNS_LENGTH:
        shown -= 1
    more = f" and {len(columns) - shown:,} more" if shown < len(columns) else ""
    return shorten_label(", ".join(columns[:shown]), MAX_COLUMNS_LENGTH) + more


def _set_limits(ax: Axes, ends: Floats, count: int) -> None:
    known = ends[np.isfinite(ends)]
    low, high = min(float(known.min(initial=0.0)), 0.0), max(float(known.max(initial=0.0)), 0.0)
    span = high - low if high > low else 1.0
    ax.set_xlim(low - 0.04 * span, high + 0.06 * span)
    ax.set_ylim(-0.6, count - 0.4)


def _add_legend(ax: Axes, title: str) -> None:
    """Say above the axes what dots, lines and bars are, and above that the title."""
    from matplotlib.font_manager import FontProperties

    _, words = ax.get_legend_handles_labels()
    if words == ["importance"]:  # nothing to tell apart
        ax.set_title(title, loc="left")
        return
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        frameon=False,
        fontsize="small",
        borderaxespad=0.0,
        borderpad=0.2,
        labelspacing=0.25,
        handlelength=1.4,
    )
    line = 1.3 * FontProperties(size="small").get_size_in_points()
    ax.set_title(title, loc="left", pad=8 + line * len(words))
