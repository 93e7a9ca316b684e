"""Waterfall: how one prediction is built up from the base, feature by feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from whybox.errors import Argument, OptionError
from whybox.explanation.errors_of_values import includes_zero, unconverged_rows
from whybox.explanation.feature_values import value_of_row
from whybox.explanation.kinds import OFFSET_INSIDE_SETTING, OFFSET_SETTING
from whybox.explanation.local_words import distinct_words, has_words
from whybox.explanation.negligible import without_rounding
from whybox.plots.intervals import UNSURE_ALPHA, draw_intervals, interval_words
from whybox.plots.style import (
    MAX_VALUE_LENGTH,
    NEGATIVE,
    POSITIVE,
    add_caution,
    axes_or_new,
    background_color,
    faint_text_color,
    minus_signs,
    name_of,
    number_in_figure,
    one_output,
    other_figure_hint,
    others_label,
    output_suffix,
    shorten_label,
    style_axes,
    text_color,
    two_lines,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from whybox.data.table import Floats
    from whybox.explanation.explanation import Explanation

__all__ = ["waterfall"]

_ROUND_PROBABILITIES: Final = (
    0.5,
    0.1,
    0.9,
    0.01,
    0.99,
    0.3,
    0.7,
    0.2,
    0.8,
    0.4,
    0.6,
    0.05,
    0.95,
    0.001,
    0.999,
    1e-4,
    0.9999,
    0.35,
    0.45,
    0.55,
    0.65,
)
LINE_LENGTH: Final = 50  # characters above and below the axes, whose width they have beside long labels
MIN_DISTANCE: Final = 0.09  # of two labels, as a share of the width


def waterfall(
    e: Explanation,
    row: Any = None,
    *,
    output: Any = None,
    max_display: int = 10,
    ax: Axes | None = None,
    title: str | None = None,
    to_probability: Callable[[Floats], Floats] | None = None,
) -> Axes:
    """Draw one row's attributions as steps from the base (bottom) to the prediction (top), largest on top.

    Estimated attributions have their intervals as lines about the end of their step: each is that of the step alone, as if the steps below it were exact. Steps
    that are not distinguishable from zero are paler. The sum of several features has no line: their errors depend on each other.

    An offset of the row, which is no feature's, is the first step, in grey; inside a link it is part of the base.

    Args:
        e: attributions. row: position of the row, where there are several. output: which of several outputs.
        max_display: how many features; the others are summed in the first step. ax: where to draw. title: instead of the usual one.
        to_probability: increasing function from the scale of the explanation, such as log-odds, to probabilities, which then stand on a second axis above.

    Returns:
        The axes.

    Raises:
        OptionError: not attributions of one row, or no output named where there are several.
    """
    e = _one_row(e, row, output)
    steps = _steps_upwards(e, max_display)
    values = np.array([step.value for step in steps])
    base = float(e.base) - (steps[0].value if steps[0].is_offset else 0.0)
    ends = base + np.cumsum(values)
    starts = np.r_[base, ends[:-1]]
    half = np.array([step.half_width for step in steps])
    ax = axes_or_new(ax, 6.2, 1.9 + 0.36 * len(steps))
    for y, (step, start, end) in enumerate(zip(steps, starts, ends, strict=True)):
        color = faint_text_color(0.45) if step.is_offset else POSITIVE if step.value >= 0 else NEGATIVE
        alpha = None if step.is_offset else UNSURE_ALPHA if step.includes_zero else 1.0
        ax.barh(y, step.value, left=start, height=0.62, color=color, alpha=alpha)
        top_of_line = y + 1.31 if y + 1 < len(steps) else y + 0.31
        ax.plot([end] * 2, [y - 0.31, top_of_line], color=faint_text_color(0.5), linewidth=0.8)
        _write_value(ax, step.value, max(start, end + step.half_width), y)
    if half.any():
        draw_intervals(ax, np.arange(len(steps)), ends - half, ends + half)
    ax.set_yticks(range(len(steps)), [two_lines(step.label) for step in steps])
    ax.set_ylim(-0.6, len(steps) - 0.4)
    _leave_room(ax, np.r_[starts, ends - half, ends + half], base)
    edges = np.arange(-0.5, len(steps))  # between the steps, where no number is
    ax.vlines([base] * len(edges), edges - 0.22, edges + 0.22, color=faint_text_color(0.6), linewidth=0.8, zorder=0)
    final = float(e.prediction) if e.prediction is not None else float(ends[-1])
    lines = [e.units, *_way_in_words(e, base, final, to_probability)]
    if half.any():
        summed = " (that of the sum is not known)" * (len(e.values) > max_display)
        lines.append(f"lines: {interval_words(e)} of each step alone{summed}")
        if any(step.includes_zero for step in steps):
            lines.append("paler: not distinguishable from 0")
        if unconverged_rows(e):
            lines.append("the errors are larger than asked")
    ax.set_xlabel("\n".join(wrapped(line, LINE_LENGTH) for line in lines))
    usual_title = (
        f"Row {shorten_label(str(e.coords['row'][0]))}: {e.explained} {number_in_figure(final)}{output_suffix(e)}"
    )
    ax.set_title(wrapped(title if title is not None else usual_title, LINE_LENGTH), loc="left")
    add_caution(ax, e)
    style_axes(ax)
    if to_probability is not None:
        _add_probability_axis(ax, to_probability)
    return ax


def _one_row(e: Explanation, row: Any, output: Any) -> Explanation:
    """Attributions of one row and one output; arguments are those of :func:`waterfall`.

    Raises:
        OptionError: they are not, and none is named.
    """
    e = without_rounding(one_output(e, output, "waterfall"))
    if e.kind == "interaction":
        raise OptionError("a waterfall shows attributions of one row; for interactions use heatmap.")
    if e.kind != "attribution":
        raise OptionError(f"a waterfall shows attributions of one row.{other_figure_hint(e)}")
    if not e.evidence.additive:
        raise OptionError(
            f"a waterfall leads from the base to the prediction by values that add up to it, and those of {e.evidence.index} do not; draw .plot.bar()."
        )
    if "feature" not in e.dims and not has_words(e):
        raise OptionError("a waterfall shows all features of a row, and one was picked here; draw the row as it came.")
    if "row" in e.dims:
        if row is None:
            raise OptionError(
                f"a waterfall shows one of the {len(e)} {'texts' if has_words(e) else 'rows'}; say which: waterfall(",
                Argument("row", 0),
                "), or slice first: e[0].plot.waterfall().",
            )
        e = e[int(row)]
    elif row is not None:
        raise OptionError("this explanation has one row only; leave ", Argument("row"), " out.")
    return e


def _leave_room(ax: Axes, reached: Floats, base: float) -> None:
    """Set the ends of the axis: a little to the left, and to the right what numbers take."""
    low, high = float(reached.min()), float(reached.max())
    span = high - low or 0.1 * abs(base) or 1.0
    ax.set_xlim(low - 0.04 * span, high + 0.17 * span)


def _way_in_words(
    e: Explanation, base: float, final: float, to_probability: Callable[[Floats], Floats] | None
) -> list[str]:
    """How the picture is read, from the base to the prediction, each with its probability, on one line or two."""
    start, end = (
        ("", "")
        if to_probability is None
        else (f", {_percent(to_probability, base)}", f" ({_percent(to_probability, final)})")
    )
    origin = "base" if e.explained == "prediction" else f"mean {e.explained}"
    if OFFSET_INSIDE_SETTING in e.evidence.settings:
        origin += " with the offset"
    parts = [
        f"read upwards: from {origin} {number_in_figure(base)} (dashed{start})",
        f"to {e.explained} {number_in_figure(final)}{end}",
    ]
    whole = " ".join(parts)
    return [whole] if len(whole) <= LINE_LENGTH else parts


def _percent(to_probability: Callable[[Floats], Floats], value: float) -> str:
    return f"{number_in_figure(100 * float(to_probability(np.array([value]))[0]), 3)} %"


def _add_probability_axis(ax: Axes, to_probability: Callable[[Floats], Floats]) -> None:
    """Write round probabilities above the axes, as many as stand apart from each other; the roundest first."""
    low, high = ax.get_xlim()
    points = np.linspace(low, high, 2001)
    reached = np.asarray(to_probability(points))
    places: dict[float, float] = {}
    for p in _ROUND_PROBABILITIES:
        if not reached[0] < p < reached[-1]:
            continue
        x = float(np.interp(p, reached, points))
        if all(abs(x - other) > MIN_DISTANCE * (high - low) for other in places.values()):
            places[p] = x
    above = ax.secondary_xaxis("top")
    above.set_xticks(list(places.values()), [f"{100 * p:g} %" for p in places], fontsize="small")
    above.set_xlabel("probability", fontsize="small")
    above.spines["top"].set_visible(False)


@final
@dataclass(frozen=True)
class _Step:
    """One bar: its label and value, half of the width of its interval (0 where there is none), whether that includes zero; whether it is the row's offset."""

    label: str
    value: float
    half_width: float = 0.0
    includes_zero: bool = False
    is_offset: bool = False


def _steps_upwards(e: Explanation, most: int) -> list[_Step]:
    """Return the steps of one row from the bottom up: its offset, the sum of the features that are not shown, then the others, largest last."""
    order = np.argsort(-np.abs(e.values), kind="stable")
    top, rest = order[:most], order[most:]
    interval, unsure = e.interval, includes_zero(e)
    half = np.zeros(len(e.values)) if interval is None else (interval[1] - interval[0]) / 2.0
    steps = [_Step(_feature_label(e, j), float(e.values[j]), float(half[j]), bool(unsure[j])) for j in top[::-1]]
    if len(rest):
        steps = [_Step(others_label(len(rest)), float(e.values[rest].sum())), *steps]
    if e.offset is None:
        return steps
    return [_Step(_offset_label(e), float(e.offset), is_offset=True), *steps]


def _offset_label(e: Explanation) -> str:
    name = e.evidence.settings[OFFSET_SETTING]
    return "offset of the row" if name == "offset" else f"offset of the row ({name})"


def _write_value(ax: Axes, value: float, x: float, y: int) -> None:
    ax.annotate(
        number_in_figure(value, 3, sign=True),
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize="small",
        color=text_color(),
        annotation_clip=False,
        bbox={"facecolor": background_color(), "edgecolor": "none", "pad": 0.6},
    )


def _feature_label(e: Explanation, j: int) -> str:
    """Return 'name = value', or the name alone for a group of columns or a word."""
    if has_words(e):
        return shorten_label(distinct_words(e)[j])
    name = e.feature_names[j]
    value = value_of_row(e, name)
    return (
        name_of(e, name)
        if value is None
        else f"{name_of(e, name, 26)} = {minus_signs(shorten_label(value, MAX_VALUE_LENGTH))}"
    )
