"""Local values of one row: a bar for each feature, named by the row's own region of it, or for each word; of several kernel widths lines over the widths."""

from __future__ import annotations

from textwrap import fill, wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.errors import Argument, OptionError
from whybox.explanation.html import number_text
from whybox.explanation.local_rows import certified_text, local_numbers, local_warnings, one_row, row_name
from whybox.explanation.local_words import distinct_words, has_words
from whybox.plots.intervals import UNSURE_ALPHA, draw_intervals, interval_words
from whybox.plots.style import (
    NEGATIVE,
    POSITIVE,
    add_caution,
    axes_or_new,
    background_color,
    distinct_labels,
    faint_text_color,
    minus_signs,
    number_in_figure,
    one_output,
    palette,
    shorten_label,
    style_axes,
    text_color,
    two_lines,
    unit_label,
    wrapped,
    write_above,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from whybox.data.table import Floats
    from whybox.explanation.explanation import Explanation

__all__ = ["condition_labels", "local", "write_head"]

MAX_LINES_DRAWN: Final = 6  # features of a sweep
MAX_NAME_LENGTH: Final = 30  # of a feature inside its condition
MAX_SIDE_LENGTH: Final = 26  # of what stands before and behind the name
MAX_TITLE_LENGTH: Final = 40
MARKS_BELOW: Final = 0.22  # a bar, of 1 a feature: where the intervals of diamonds lie
TEXT_WIDTH: Final = 56  # characters of a line above the axes
TITLE_WIDTH: Final = 50
SHARE_A_CHARACTER: Final = 0.0225  # of the width of the axes, which a character of a number beside a bar takes
MAX_SHARE: Final = 0.35  # that all characters on one side take
MAX_TICKS: Final = 12  # that each width has a tick of its own
LONG_AXIS: Final = 10.0  # ratio of widths from which on their axis is logarithmic


def local(
    e: Explanation,
    row: Any = None,
    *,
    output: Any = None,
    max_display: int = 10,
    beside: Explanation | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw one row's local values as bars, largest on top, with their intervals; features (or words) whose order is not settled are paler.

    Several kernel widths are drawn as lines over the widths, one for each of the largest features. What says that a linear model describes little stands
    above the axes.

    Args:
        e: local values, of tables or of texts. row: position of the row, where there are several. output: which of several outputs.
        max_display: how many features; how many are left out is said below. Of lines at most 6.
        beside: attributions of the same row and output, drawn as diamonds. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: not local values of one row, no output named where there are several, or attributions with other features beside them.
    """
    e = _one_row(one_output(e, output, "plot of local values"), row)
    if max_display < 1:
        raise OptionError(Argument("max_display", max_display), " must be at least 1.")
    if "width" in e.dims:
        if beside is not None:
            raise OptionError("a sweep of kernel widths has no place for ", Argument("beside"), "; pick one width.")
        return _draw_widths(e, min(max_display, MAX_LINES_DRAWN), ax, title)
    if has_words(e) and beside is not None:
        raise OptionError("words of a text have no place for ", Argument("beside"), "; leave it out.")
    marks = None if beside is None else _marks_of(e, beside)
    top = e.ordered(max_display)
    ax = axes_or_new(ax, 6.6, 2.1 + 0.34 * len(top))
    y = np.arange(len(top))[::-1]
    settled = _settled(e, top)
    values = e.values[top]
    colors = [POSITIVE if v >= 0 else NEGATIVE for v in values]
    for at, value, color, sure in zip(y, values, colors, settled, strict=True):
        ax.barh(at, value, height=0.62, color=color, alpha=1.0 if sure else UNSURE_ALPHA)
    low, high = _draw_interval(ax, e, top, y)
    if marks is not None:
        ax.plot(marks[top], y, "D", markersize=5.5, markerfacecolor=background_color(), color=text_color(), zorder=4)
        low, high = np.minimum(low, marks[top]), np.maximum(high, marks[top])
        low, high = _draw_marks_interval(ax, e, beside, top, y, low, high)
    _write_values(ax, values, low, high, y, apart=5 if marks is None else 8)
    ax.axvline(0, color=faint_text_color(0.6), linewidth=0.8, zorder=1)
    labels = (
        [shorten_label(w) for w in distinct_words(e)] if has_words(e) else [minus_signs(w) for w in condition_labels(e)]
    )
    ax.set_yticks(y, [two_lines(labels[j]) for j in top])
    ax.set_ylim(-0.6, len(top) - 0.4)
    _set_limits(ax, values, low, high)
    ax.set_xlabel(_axis_words(e, len(top), beside))
    _write_head(ax, e, top, settled, title)
    add_caution(ax, e)
    style_axes(ax)
    return ax


def _one_row(e: Explanation, row: Any) -> Explanation:
    if e.kind != "local":
        raise OptionError("local shows local values, wb.lime(model, X, background), or wb.lime(model, texts).")
    if "feature" not in e.dims and not has_words(e):
        raise OptionError(
            "local shows all features of a row, and one was picked here; draw the local values as they came."
        )
    if "row" not in e.dims:
        if row is not None:
            raise OptionError("these local values are of one row only; leave ", Argument("row"), " out.")
        return e
    if row is None:
        first = "e[0]" if e.dims[0] == "row" else "e[:, 0]"
        raise OptionError(
            f"local shows one of the {len(e.coords['row'])} rows; say which: local(",
            Argument("row", 0),
            f"), or slice first: {first}.plot.local(). Over all rows there are plot.bar and plot.heatmap.",
        )
    picked: Explanation = one_row(e, int(row))
    return picked


def _marks_of(e: Explanation, beside: Explanation) -> Floats:
    """Attributions in the order of the local values' features."""
    if beside.dims != ("feature",) or set(beside.feature_names) != set(e.feature_names):
        raise OptionError(Argument("beside"), " must be attributions of one row and output, with the same features.")
    position = {name: j for j, name in enumerate(beside.feature_names)}
    return beside.values[[position[name] for name in e.feature_names]]


def _draw_marks_interval(
    ax: Axes,
    e: Explanation,
    beside: Explanation | None,
    top: npt.NDArray[np.intp],
    y: npt.NDArray[np.intp],
    low: Floats,
    high: Floats,
) -> tuple[Floats, Floats]:
    """Draw the intervals of estimated attributions a little below their diamonds; return the ends of what is drawn, widened by them."""
    if beside is None or beside.interval is None:
        return low, high
    position = {name: j for j, name in enumerate(beside.feature_names)}
    features = [position[e.feature_names[j]] for j in top]
    left, right = (end[features] for end in beside.interval)
    ax.hlines(y - MARKS_BELOW, left, right, color=faint_text_color(0.7), linewidth=1.0, zorder=3)
    return np.minimum(low, left), np.maximum(high, right)


def condition_labels(e: Explanation) -> list[str]:
    """Return the condition of each feature of one row, shortened so that its numbers stay and features are told apart."""
    names = distinct_labels(e.feature_names, MAX_NAME_LENGTH)
    labels = []
    for name, words in zip(e.feature_names, map(str, e.extras["condition"][1]), strict=True):
        columns = e.players.get(name, ())
        before, found, behind = words.partition(name)
        if found and len(columns) < 2:
            labels.append(f"{_short_side(before)}{names[name]}{_short_side(behind)}")
        else:
            labels.append(_short_conjunction(words, len(columns)))
    return labels


def _short_conjunction(words: str, columns: int) -> str:
    """The conditions of a player's columns, as many as have room; the others are counted."""
    parts = words.split(" and ")
    shown = len(parts)
    while shown > 1 and len(" and ".join(parts[:shown])) > 2 * MAX_SIDE_LENGTH:
        shown -= 1
    more = f" and {columns - shown:,} more" if shown < min(len(parts), columns) else ""
    return shorten_label(" and ".join(parts[:shown]), 2 * MAX_SIDE_LENGTH) + more


def _short_side(text: str) -> str:
    """What stands on one side of the name, its blanks kept."""
    short = shorten_label(text, MAX_SIDE_LENGTH)
    return f"{' ' * text.startswith(' ')}{short}{' ' * (text.endswith(' ') and bool(short))}"


def _settled(e: Explanation, top: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Which of the features drawn are among those whose order is settled; all where values are exact."""
    if e.std_error is None:
        return np.ones(len(top), dtype=bool)
    return np.arange(len(top)) < int(e.extras["certified"][1])


def _draw_interval(
    ax: Axes, e: Explanation, top: npt.NDArray[np.intp], y: npt.NDArray[np.intp]
) -> tuple[Floats, Floats]:
    """Draw the intervals, and return the lower and upper ends of what is drawn, zero among them."""
    values = e.values[top]
    ends = e.interval
    low, high = (values, values) if ends is None else (end[top] for end in ends)
    if ends is not None:
        draw_intervals(ax, y, low, high)
    return np.minimum(np.minimum(low, values), 0.0), np.maximum(np.maximum(high, values), 0.0)


def _write_values(ax: Axes, values: Floats, low: Floats, high: Floats, y: npt.NDArray[np.intp], *, apart: int) -> None:
    """Write each value beside its bar, on the side it points to."""
    for at, value, left, right in zip(y, values, low, high, strict=True):
        ax.annotate(
            _value_text(value),
            (right if value >= 0 else left, at),
            xytext=(apart if value >= 0 else -apart, 0),
            textcoords="offset points",
            ha="left" if value >= 0 else "right",
            va="center",
            fontsize="small",
            color=text_color(),
        )


def _value_text(value: float) -> str:
    return number_in_figure(value, 3, sign=True)


def _set_limits(ax: Axes, values: Floats, low: Floats, high: Floats) -> None:
    """Leave room for the numbers beside the bars."""
    lowest, highest = float(low.min()), float(high.max())
    span = highest - lowest if highest > lowest else 1.0
    shares = [
        min(0.02 + SHARE_A_CHARACTER * max((len(_value_text(v)) for v in values[side]), default=0), MAX_SHARE)
        for side in (values < 0, values >= 0)
    ]
    left, right = (
        max(0.16, share / (1.0 - sum(shares))) if end else 0.03
        for share, end in zip(shares, (lowest < 0, highest > 0), strict=True)
    )
    ax.set_xlim(lowest - left * span, highest + right * span)


def _axis_words(e: Explanation, shown: int, beside: Explanation | None) -> str:
    lines = [e.evidence.quantity, f"({unit_label(e)})"]
    if beside is not None:
        marks_words = "" if beside.interval is None else f", {interval_words(beside)} below them"
        lines.append(f"diamonds: Shapley values of the same row{marks_words}")
    if e.interval is not None:
        lines.append(f"lines: {interval_words(e)}")
    left = e.values.size - shown
    if left:
        what = "word" if has_words(e) else "feature"
        lines.append(f"{left:,} smaller {what}{'s are' if left > 1 else ' is'} left out")
    return "\n".join(wrapped(line, TEXT_WIDTH) for line in lines)


def _write_head(
    ax: Axes, e: Explanation, top: npt.NDArray[np.intp], settled: npt.NDArray[np.bool_], title: str | None
) -> None:
    """Write the title, and between it and the axes what speaks against the picture."""
    marks = [*local_warnings(e)]
    if not settled.all() and len(top) > 1:
        marks.append(f"{certified_text(e)} (paler: not settled)")
    write_head(ax, e, marks, title)


def write_head(ax: Axes, e: Explanation, marks: Sequence[str], title: str | None) -> None:
    """Write the title, the predictions of one row, and below them marks in bold, above the axes."""
    bold = [line for mark in marks for line in wrap(minus_signs(mark), TEXT_WIDTH)]
    words = wrapped(title if title is not None else _usual_title(e), TITLE_WIDTH)
    write_above(ax, wrap(minus_signs(local_numbers(e)), TEXT_WIDTH), bold, 1.25 * _small_points(), words)


def _usual_title(e: Explanation) -> str:
    return f"Row {shorten_label(row_name(e), MAX_TITLE_LENGTH)}"


def _small_points() -> float:
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size="small").get_size_in_points())


def _draw_widths(e: Explanation, most: int, ax: Axes | None, title: str | None) -> Axes:
    """One line a feature over the widths of the kernel; hollow where a linear model describes little."""
    widths = np.asarray(e.coords["width"], dtype=np.float64)
    order = np.argsort(widths, kind="stable")
    top = e.ordered(most)
    poor = np.array([bool(local_warnings(e[int(k)])) for k in order])
    new = ax is None
    ax = axes_or_new(ax, 8.6, 4.2)
    labels, behind = [minus_signs(w) for w in condition_labels(e)], background_color()
    ax.axhline(0, color=faint_text_color(0.6), linewidth=0.8, zorder=1)
    for color, j in zip(palette(len(top)), top, strict=True):
        values = e.values[order, j]
        if e.interval is not None:
            ax.fill_between(widths[order], *(end[order, j] for end in e.interval), color=color, alpha=0.2, linewidth=0)
        ax.plot(widths[order], values, "-", color=color, linewidth=1.6, label=labels[j])
        ax.plot(widths[order][~poor], values[~poor], "o", color=color, markersize=5)
        ax.plot(widths[order][poor], values[poor], "o", color=color, markersize=5, markerfacecolor=behind)
    if widths.min() * LONG_AXIS < widths.max():
        ax.set_xscale("log")
        ax.minorticks_off()
    if len(widths) <= MAX_TICKS:
        ax.set_xticks(widths[order], [number_text(float(width), 3) for width in widths[order]])
    marked = "\nhollow: a linear model describes little there" if poor.any() else ""
    left = len(e.feature_names) - len(top)
    smaller = f"\n{left:,} smaller feature{'s are' if left > 1 else ' is'} left out" if left else ""
    ax.set_xlabel(f"kernel width{marked}{smaller}")
    ax.set_ylabel(fill(f"{e.evidence.quantity} ({unit_label(e)})", 34))
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0) if new else None)
    ax.set_title(title if title is not None else f"{_usual_title(e)} over kernel widths", loc="left")
    add_caution(ax, e)
    style_axes(ax, grid="y")
    return ax
