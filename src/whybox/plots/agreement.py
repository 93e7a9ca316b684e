"""Several methods of importance side by side: one line a feature, on it a mark for each method, and below what they disagree about."""

from __future__ import annotations

from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING, Final

import numpy as np

from whybox.errors import Argument, OptionError
from whybox.plots.style import (
    add_caution,
    axes_or_new,
    faint_text_color,
    name_of,
    palette,
    style_axes,
    text_color,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from whybox.data.table import Floats
    from whybox.explanation.explanation import Explanation

__all__ = ["agreement"]

MARKS: Final = ("o", "s", "D", "^", "v", "P", "X", "*")
WIDTH: Final = 8.0  # inches
LETTERS: Final = 12.5  # of findings, to an inch of the figure's width: labels and the legend take a third of it
LINE_HEIGHT: Final = 0.7  # of the small words, in lines of the label
MAX_FINDINGS: Final = 6  # shown below
FURTHEST: Final = (-1.0, 2.0)  # shares; an interval that goes further ends with an arrow


def agreement(
    e: Explanation, *, max_display: int = 12, findings: bool = True, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw what several methods say about each feature: a mark for each, its share of the method's largest value, with its interval.

    Features that the methods judge differently by more than their errors are bold; the sentences about them stand below.

    Args:
        e: importance by a list of methods. max_display: how many features: those with findings first, then the largest by the mean share.
        findings: whether to write them below. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: not an agreement, or one of which a feature or a method was picked; fewer than one feature.
    """
    if e.kind != "agreement" or e.dims != ("feature", "method"):
        raise OptionError(
            "agreement shows the features and methods of importance by a list of methods; where one was picked, keep its axis with a list: e[:, ['shap']]."
        )
    if max_display < 1:
        raise OptionError(Argument("max_display", max_display), " must be at least 1.")
    shown = _features_shown(e, max_display)
    methods = [str(name) for name in e.coords["method"]]
    width = WIDTH if ax is None else _inches(ax)
    text = _findings_text(e.findings, int(LETTERS * width)) if findings else ""
    height = 1.4 + len(shown) * (0.18 + 0.09 * len(methods)) + 0.135 * (text.count("\n") + 1 if text else 0)
    ax = axes_or_new(ax, WIDTH, height)
    rows = np.arange(len(shown))[::-1]
    ax.hlines(rows - 0.5, 0, 1, transform=ax.get_yaxis_transform(), color=faint_text_color(0.12), linewidth=0.7)
    ax.axvline(0.0, color=faint_text_color(0.5), linewidth=0.8)
    _set_limits(ax, e, shown)
    for k, color in enumerate(palette(len(methods))):
        at = np.asarray(rows + 0.32 - 0.64 * (k + 0.5) / len(methods), dtype=np.float64)
        values = e.values[shown, k]
        _draw_intervals(ax, e, shown, k, at, color)
        ax.plot(values, at, linestyle="", marker=MARKS[k % len(MARKS)], markersize=5, color=color, label=methods[k])
    ax.set_yticks(rows, [name_of(e, e.feature_names[j]) for j in shown])
    said = e.extras["finding"][1]
    for label, j in zip(ax.get_yticklabels(), shown, strict=True):
        label.set_fontweight("bold" if said[j] else "normal")
    ax.set_ylim(-0.6, len(shown) - 0.4)
    more = len(e.feature_names) - len(shown)
    ax.set_xlabel(e.units + (f"; {more:,} features not shown" if more else ""))
    ax.legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set_title(title if title is not None else "Do the methods agree?", loc="left")
    add_caution(ax, e)
    style_axes(ax)
    if text:
        _write_below(ax, text)
    return ax


def _features_shown(e: Explanation, most: int) -> npt.NDArray[np.intp]:
    """Positions of the features that are drawn, largest mean share first."""
    order = e.ordered()
    judged_differently = e.extras["finding"][1][order] != ""
    chosen = np.argsort(~judged_differently, kind="stable")[:most]
    return order[np.sort(chosen)]


def _draw_intervals(
    ax: Axes, e: Explanation, features: npt.NDArray[np.intp], method: int, at: Floats, color: str
) -> None:
    """Draw the interval of each feature by one method; one that leaves the axes ends with an arrow."""
    if e.interval is None:
        return
    low, high = (end[features, method] for end in e.interval)
    left, right = ax.get_xlim()
    known = ~np.isnan(low) & (high >= left) & (low <= right)
    ax.hlines(
        at[known], np.maximum(low, left)[known], np.minimum(high, right)[known], color=color, linewidth=1.1, alpha=0.8
    )
    inside = 0.012 * (right - left)
    for end, beyond, marker in ((left + inside, low < left, "<"), (right - inside, high > right, ">")):
        if (known & beyond).any():  # an empty line would still take room in the layout
            away = at[known & beyond]
            ax.plot(np.full(len(away), end), away, linestyle="", marker=marker, markersize=5, color=color)


def _set_limits(ax: Axes, e: Explanation, features: npt.NDArray[np.intp]) -> None:
    """Room for all values, and for intervals as far as they leave the values readable."""
    ends = [e.values[features], *([] if e.interval is None else [end[features] for end in e.interval])]
    least, most = (float(pick([pick(x, initial=0.0) for x in map(np.nan_to_num, ends)])) for pick in (np.min, np.max))
    values = np.nan_to_num(e.values[features])
    left = min(max(least, FURTHEST[0]), float(values.min(initial=0.0)))
    right = max(min(most, FURTHEST[1]), float(values.max(initial=0.0)), 0.1)
    ax.set_xlim(left - 0.03 * (right - left), right + 0.03 * (right - left))


def _inches(ax: Axes) -> float:
    return float(ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted()).width)


def _findings_text(findings: tuple[str, ...], width: int) -> str:
    """The first sentences, in lines of so many letters at most."""
    lines = [
        fill(" ".join(sentence.split()), max(width, 20), subsequent_indent="    ")
        for sentence in findings[:MAX_FINDINGS]
    ]
    more = len(findings) - len(lines)
    return "\n".join([*lines, *([f"and {more:,} more in .findings"] if more > 0 else [])]).replace("$", r"\$")


def _write_below(ax: Axes, text: str) -> None:
    """Small words under the axis and its label; empty lines of the label keep the place for them, so that their width does not count for the layout."""
    label = ax.get_xlabel()
    ax.set_xlabel(label + "\n" * (2 + ceil(LINE_HEIGHT * (text.count("\n") + 1))))
    ax.annotate(
        text,
        (0, 0),
        xycoords="axes fraction",
        xytext=(0, -26 - 13 * (label.count("\n") + 1)),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize="x-small",
        color=text_color(),
        annotation_clip=False,
    ).set_in_layout(False)
