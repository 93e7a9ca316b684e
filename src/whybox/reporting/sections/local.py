"""Single decisions by linear models near them (LIME), beside the Shapley values of the same rows."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

from whybox.api.lime import lime
from whybox.data.table import Table
from whybox.errors import InputError, LimitError, OptionError, UnsupportedModelError
from whybox.explanation.errors_of_values import rank_ends
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import capitalized, error_text, number_text
from whybox.explanation.local_rows import local_warnings
from whybox.numerics.statistics import critical_value
from whybox.plots.local import local
from whybox.plots.style import shorten_label, unit_label
from whybox.reporting.decision_words import percent_text, prediction_words, row_name
from whybox.reporting.facts import MAX_TABLE_LINES, ReportData
from whybox.reporting.local_rules import rules_html
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.sections.decisions import MAX_OUTPUTS, chosen_rows
from whybox.reporting.sections.effects import even_positions
from whybox.reporting.svg import html_figure

__all__ = ["disagreements", "local_section"]

Ranks = npt.NDArray[np.intp]  # 0 for the largest
MAX_BACKGROUND: Final = 5_000  # rows that values are drawn from
MAX_EVALS: Final = 20_000  # predictions, where values are sampled
MAX_FEATURES: Final = 8
FIRST_FEATURES: Final = 3  # that a feature which is first by the other method should be among
MIN_SHARE: Final = 0.1  # of the largest value, that a sign counts from


def local_section(f: ReportData) -> str | None:
    """Return the rows of the section on single decisions: their local values beside their Shapley values, and a classifier's rules."""
    views = f.views[:MAX_OUTPUTS]
    chosen = [chosen_rows(f, e) for e in views]
    positions = list(dict.fromkeys(position for shown in chosen for position, _ in shown))
    try:
        rows, background = _rows_and_background(f, positions)
        found = _local_values(f, rows, background)
    except (OptionError, InputError, UnsupportedModelError, LimitError) as reason:
        return f"<p class=faint>Local values are not shown: {escape(str(reason))}</p>"
    out = [_introduction(f, found)]
    for e, shown in zip(views, chosen, strict=True):
        if f.name(e):
            out.append(f"<h3>{escape(f.heading(e))}</h3>")
        of_output = _of_output(found, e)
        for position, why in shown:
            out.append(_local_figure(f, of_output[positions.index(position)], e, position, why))
    f.add_technical(found.evidence.method, found, "kernel", "spot_checks")
    return "".join([*out, rules_html(f, rows, background)])


SECTION: Final = Section(
    "local",
    "The same decisions, seen another way",
    75,
    "whether bars and diamonds agree; then the reasons above do not depend on the method.",
    "that one of two methods is wrong where they differ: they answer different questions.",
    local_section,
)


def _local_values(f: ReportData, rows: Table, background: Table) -> Explanation:
    return lime(
        f.model,
        rows,
        background,
        output=f.output,
        scale=f.scale,
        players=f.players,
        max_evals=MAX_EVALS,
    )


def _rows_and_background(f: ReportData, positions: list[int]) -> tuple[Table, Table]:
    """Some rows of the report, and what their changed cells are drawn from."""
    explained = f.explanation.data
    assert explained is not None  # noqa: S101  # explanations of rows keep them
    background = f.rows if f.background is None else f.background
    return explained.rows(np.asarray(positions)), background.rows(even_positions(len(background), MAX_BACKGROUND))


def _of_output(found: Explanation, e: Explanation) -> Explanation:
    """The local values of the output that an explanation is about."""
    if "output" not in found.dims:
        return found
    return found[..., found.output_names.index(str(e.coords["output"][0]))]


def _introduction(f: ReportData, found: Explanation) -> str:
    count = found.evidence.background_rows
    own = f"No background was given, so values are drawn from these rows themselves ({count:,} of them)."
    beyond = "" if found.std_error is None and f.explanation.std_error is None else " beyond their errors"
    drawn = own if f.background is None else f"Values are drawn from {count:,} background rows."
    return (
        "<p>A linear model near each of these rows (LIME). A bar is what it adds where a feature lies in the row's own region, which is written beside the bar. "
        f"All features are drawn independently; a draw counts more, the more of its features lie in the row's own regions. {drawn} "
        "Diamonds are the Shapley values of the same row, which share out the whole way from the base to the prediction. "
        f"Where the two disagree{beyond}, a feature's effect depends on other features.</p>"
    )


def _local_figure(f: ReportData, e: Explanation, of_rows: Explanation, position: int, why: str) -> str:
    attributions = of_rows[position]
    same = e.units == attributions.units and set(e.feature_names) == set(attributions.feature_names)
    name = row_name(f, e.coords["row"][0])
    sentences = disagreements(e, attributions) if same else ()
    said_html = "".join(f"<p>{escape(text)}</p>" for text in sentences)
    warnings = "".join(f" {capitalized(text)}." for text in local_warnings(e))
    short = prediction_words(f, of_rows, position, likeliest=False)
    drawn = html_figure(
        lambda: local(
            e,
            beside=attributions if same else None,
            max_display=MAX_FEATURES,
            title=f"{shorten_label(name, 24)}: {shorten_label(short, 60)}",
        ),
        title=f"{name}, locally",
        description=f"{name}: {why}. {capitalized(prediction_words(f, of_rows, position))}.{_local_probability(f, of_rows, e)}{warnings}",
        table=_local_table(e, attributions if same else None),
    )
    return f"<div class=seen>{drawn}{said_html}</div>"


def _local_probability(f: ReportData, of_rows: Explanation, e: Explanation) -> str:
    """What the linear model predicts of its row, as a probability, in a sentence; nothing where its scale is one, or has none of its own."""
    probability = f.probability_link(of_rows)
    if probability is None or e.units != of_rows.units:
        return ""
    own = np.asarray(e.extras["local_prediction"][1], dtype=np.float64).reshape(1)
    return f" The linear model says {percent_text(float(probability(own)[0]))}."


def _local_table(e: Explanation, attributions: Explanation | None) -> str:
    order = e.ordered(MAX_TABLE_LINES)
    head = ["Feature", "Own region", f"Local value ({unit_label(e)})", "Share of the background"]
    columns = [
        [e.feature_names[j] for j in order],
        [str(e.extras["condition"][1][j]) for j in order],
        [_value_text(e, int(j)) for j in order],
        [f"{100 * float(e.extras['share'][1][j]):.3g} %" for j in order],
    ]
    if attributions is not None:
        other = _in_order_of(e, attributions)
        head.append("Shapley value")
        columns.append([_value_text(other, int(j)) for j in order])
    left = len(e.feature_names) - len(order)
    caption = f"The largest {len(order)} of {len(order) + left:,}" if left else ""
    return html_table(tuple(head), list(zip(*columns, strict=True)), caption=caption, text=(1,))


def _value_text(e: Explanation, j: int) -> str:
    return number_text(float(e.values[j]), sign=True) + error_text(e, j)


def _in_order_of(e: Explanation, attributions: Explanation) -> Explanation:
    """Attributions with their features in the order of the local values."""
    position = {name: j for j, name in enumerate(attributions.feature_names)}
    return attributions[[position[name] for name in e.feature_names]]


def disagreements(e: Explanation, attributions: Explanation) -> tuple[str, ...]:
    """Return where local values and attributions of the same row disagree beyond their errors, a sentence each: on which feature is first, and on signs.

    Args:
        e: local values of one row and output. attributions: of the same row, output and features, in any order.
    """
    other = _in_order_of(e, attributions)
    of_local, of_shapley = (
        np.argsort(np.argsort(-np.abs(one.values), kind="stable"), kind="stable") for one in (e, other)
    )
    out = [
        *_first_elsewhere(e, other, "the local values", "the Shapley values"),
        *_first_elsewhere(other, e, "the Shapley values", "the local values"),
    ]
    differing = _signs_differ(e, other) & (np.minimum(of_local, of_shapley) < FIRST_FEATURES)
    out += [
        f"{e.feature_names[j]} has opposite signs: {number_text(float(e.values[j]), 3, sign=True)} locally, "
        f"{number_text(float(other.values[j]), 3, sign=True)} as a Shapley value."
        for j in np.flatnonzero(differing)
    ]
    return tuple(out)


def _first_elsewhere(e: Explanation, other: Explanation, words: str, other_words: str) -> list[str]:
    """A sentence, where the feature that is surely first by one is surely not among the first of the other."""
    surely_first = np.flatnonzero(rank_ends(e)[1] == 1.0)
    if not len(surely_first):
        return []
    first = int(surely_first[0])
    low, high = (int(end[first]) for end in rank_ends(other))
    if low <= FIRST_FEATURES:
        return []
    number = f"{low}" if low == high else f"{low} to {high}"
    return [f"{e.feature_names[first]} is first by {words} and number {number} by {other_words}."]


def _signs_differ(e: Explanation, other: Explanation) -> npt.NDArray[np.bool_]:
    """Where both are on other sides of zero, beyond their errors and by a share of the largest."""
    sure = np.ones(len(other.values), dtype=bool)
    for one in (e, other):
        size = np.abs(one.values)
        bound = MIN_SHARE * size.max(initial=0.0)
        sure &= size > (bound if one.std_error is None else np.maximum(bound, critical_value(0.95) * one.std_error))
    return sure & (e.values * other.values < 0)
