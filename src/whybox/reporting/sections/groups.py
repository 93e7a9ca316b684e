"""Groups of rows side by side: predictions, scores, error rates and attributions, each with its interval and count. No verdict on fairness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.numerics.statistics import mean_interval, wilson_interval
from whybox.plots.style import NEGATIVE, axes_or_new, shorten_label, style_axes, unit_words
from whybox.reporting.asked_rows import Grouping
from whybox.reporting.decision_words import percent_text
from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.sections.threshold import USUAL_THRESHOLD, Counts, positive_rows, rate_text, together
from whybox.reporting.svg import html_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["groups_section"]

FEATURES_SHOWN: Final = 6
_Mask = npt.NDArray[np.bool_]
_Column = tuple[str, list[str]]
_Points = list[tuple[float, float, float]]  # middle and ends of a group's interval


def groups_section(f: ReportData) -> str | None:
    """Groups of rows side by side; None where none were asked for."""
    if not f.asked.groupings:
        return None
    return "".join(_of_grouping(f, grouping) for grouping in f.asked.groupings)


SECTION: Final = Section(
    "groups",
    "Groups compared",
    28,
    "groups whose intervals lie apart, above all in the error rates: there the model treats them differently.",
    "that the model is fair or unfair: groups may differ in what is true of them, and which difference is unjust is not a question of numbers alone.",
    groups_section,
)


def _of_grouping(f: ReportData, grouping: Grouping) -> str:
    masks = [grouping.group == i for i in range(len(grouping.labels))]
    columns = [("Rows", [f"{int(m.sum()):,}" for m in masks])]
    figures = []
    for e in f.views:
        column, points = _predictions(f, e, masks)
        columns.append(column)
        figures.append(_dots(grouping, points, column[0]))
    scores, pictures = _scores(f, masks)
    figures += [_dots(grouping, points, name) for name, points in pictures]
    head = (grouping.name, *(name for name, _ in [*columns, *scores]))
    lines = list(zip(grouping.labels, *(cells for _, cells in [*columns, *scores]), strict=True))
    used = "" if positive_rows(f) is None else _at_threshold(f)
    table = html_table(head, lines, caption=f"With 95 % intervals{used}")
    return (
        f"<h3>By {escape(grouping.name)}</h3>{table}<div class=grid>{''.join(figures)}</div>"
        f"{''.join(_attributions(f, e, grouping) for e in f.views)}"
    )


def _at_threshold(f: ReportData) -> str:
    found = positive_rows(f)
    assert found is not None and f.options is not None  # noqa: S101, PT018  # the caller has looked
    threshold = USUAL_THRESHOLD if f.options.threshold is None else f.options.threshold
    return f"; a row counts as {found[2]} from a probability of {100 * threshold:g} % on"


def _predictions(f: ReportData, e: Explanation, masks: Sequence[_Mask]) -> tuple[_Column, _Points]:
    values = f.predicted(e)
    name = f.output_words(e)
    what = f"Mean probability{f' of {name}' if name else ''}" if f.predicts_probability else f"Mean prediction{f' ({name})' if name else ''}"  # fmt: skip
    points = [_mean(values[m]) for m in masks]
    return (what, [_interval_text(p, percent=f.predicts_probability) for p in points]), points


def _scores(f: ReportData, masks: Sequence[_Mask]) -> tuple[list[_Column], list[tuple[str, _Points]]]:
    """Columns of scores of each group, and those that are drawn; none without a truth."""
    p = f.performance
    if p is None:
        return [], []
    if p.task == "regression":
        off = p.predicted - p.truth
        means = {"Mean true": p.truth, "Mean absolute error": np.abs(off), "Bias": off}
        found = {name: [_mean(values[m]) for m in masks] for name, values in means.items()}
        columns = [(name, [_interval_text(point, percent=False) for point in points]) for name, points in found.items()]
        return columns, [(name, found[name]) for name in ("Mean absolute error", "Bias")]
    right = p.predicted == p.truth
    rates: dict[str, list[tuple[int, int]]] = {}
    positive = positive_rows(f)
    if positive is not None:
        is_positive, probability, name = positive
        threshold = USUAL_THRESHOLD if f.options.threshold is None else f.options.threshold
        counts = [Counts.at(threshold, is_positive[m], probability[m]) for m in masks]
        rates[f"Truly {name}"] = [(c.positives, c.rows) for c in counts]
        rates[f"Counts as {name}"] = [(c.flagged, c.rows) for c in counts]
        rates["False-alarm rate"] = [(c.false_positives, c.negatives) for c in counts]
        rates["Miss rate"] = [(c.false_negatives, c.positives) for c in counts]
    rates["Accuracy"] = [(int(right[m].sum()), int(m.sum())) for m in masks]
    columns = [(name, [rate_text(*pair) for pair in pairs]) for name, pairs in rates.items()]
    drawn = [name for name in ("False-alarm rate", "Miss rate", "Accuracy") if name in rates]
    return columns, [(name, [_rate(*pair) for pair in rates[name]]) for name in drawn]


def _mean(values: Floats) -> tuple[float, float, float]:
    if not len(values):
        return (float("nan"),) * 3
    mean, half = mean_interval(values)
    return (mean, mean - half, mean + half) if np.isfinite(half) else (mean, float("nan"), float("nan"))


def _rate(part: int, whole: int) -> tuple[float, float, float]:
    return (part / whole if whole else float("nan"), *wilson_interval(part, whole))


def _interval_text(point: tuple[float, float, float], *, percent: bool, digits: int = 3) -> str:
    """A mean with its interval, which of probabilities is cut at 0 and 1; alone where one row has none."""
    number: Callable[[float], str] = (lambda v: percent_text(min(max(v, 0.0), 1.0))) if percent else (lambda v: number_text(v, digits))  # fmt: skip
    middle, low, high = point
    if np.isnan(middle):
        return "none"
    return number(middle) if np.isnan(low) else f"{number(middle)} {together(f'({number(low)} to {number(high)})')}"


def _dots(grouping: Grouping, points: _Points, what: str) -> str:
    """One dot with an interval for each group."""

    def draw() -> Axes:
        ax = axes_or_new(None, 4.4, 1.2 + 0.34 * len(points))
        at = np.arange(len(points))[::-1]
        middle, low, high = np.array(points).T
        ax.hlines(at, low, high, color=NEGATIVE, linewidth=1.4)
        ax.plot(middle, at, "o", color=NEGATIVE, markersize=5)
        ax.set_yticks(at, [shorten_label(label, 24) for label in grouping.labels])
        ax.set_ylim(-0.6, len(points) - 0.4)
        ax.set_title(shorten_label(what, 44), loc="left")
        style_axes(ax)
        return ax

    numbers = [[number_text(v, 3) if np.isfinite(v) else "" for v in point] for point in points]
    lines = [(label, *cells) for label, cells in zip(grouping.labels, numbers, strict=True)]
    return html_figure(
        draw,
        title=f"{what} by {grouping.name}",
        description=f"{what} by {grouping.name}, with 95 % intervals.",
        table=html_table((grouping.name, what, "From", "To"), lines),
    )


def _attributions(f: ReportData, e: Explanation, grouping: Grouping) -> str:
    """Mean attributions of the features that move predictions most, by group."""
    group = grouping.group[f.explained.which]
    features = e.ordered(FEATURES_SHOWN)
    lines = [
        (label, f"{int((group == i).sum()):,}", *(_interval_text(_mean(e.values[group == i, j]), percent=False, digits=2) for j in features))
        for i, label in enumerate(grouping.labels)
    ]  # fmt: skip
    name = f.name(e)
    head = (grouping.name, "Rows", *(e.feature_names[j] for j in features))
    if len(lines) < len(features):  # the narrower of two tables
        head, *lines = zip(head, *lines, strict=True)
    caption = f"Mean contribution of the {len(features)} features that move predictions most{f', {name}' if name else ''}, {unit_words(e)}, with 95 % intervals"
    table = html_table(head, lines, caption=caption)
    some = "" if len(e) == len(f.rows) else f"<p class=faint>Of the {f.which_rows} that are explained.</p>"
    return f"{table}{some}"
