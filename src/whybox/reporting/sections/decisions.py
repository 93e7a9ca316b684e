"""Single decisions: typical and extreme ones, and the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt  # as elsewhere

from whybox.explanation.errors_of_values import error_of_sum, includes_zero, unconverged_rows
from whybox.explanation.explanation import Explanation
from whybox.explanation.feature_values import shown_values
from whybox.explanation.html import capitalized, error_text, number_text
from whybox.explanation.negligible import without_rounding
from whybox.explanation.top import shares_of_row, top_positions
from whybox.plots.style import shorten_label, unit_label, value_text
from whybox.plots.waterfall import waterfall
from whybox.reporting.comparable_rows import Neighbours, comparable_html, nearest_rows
from whybox.reporting.decision_words import (
    NUMBER_OF_REASONS,
    main_reasons,
    percent_text,
    prediction_words,
    row_name,
    truth_text,
)
from whybox.reporting.estimates import NEAR_ZERO, paragraph_on_errors
from whybox.reporting.facts import MAX_TABLE_LINES, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.performance import largest_mistakes
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["MAX_OUTPUTS", "chosen_rows", "decisions_section"]

MAX_OUTPUTS: Final = 2  # whose decisions are drawn
_ERRORS_OF_STEPS: Final = (
    f"The standard error stands beside each number; a line is the interval of its step alone. Where it includes 0, the step is paler and marked as {NEAR_ZERO}: "
    "nothing shows that the feature raised or lowered this prediction."
)


def decisions_section(f: ReportData) -> str:
    """Single decisions: those that are named, or typical and extreme ones, and the worst mistakes where the truth is known."""
    caption = (
        "A picture leads from the base (the value when nothing is known of the row) to the row's own prediction, one feature at a time. "
        "Read it from bottom to top: red steps raise the prediction, blue ones lower it."
    )
    out = [f"<p>{caption}</p>", paragraph_on_errors(f.explanation, _ERRORS_OF_STEPS)]
    if len(f.explanation) < len(f.rows):
        out.append(f"<p>The rows are among the {f.which_rows} that are explained.</p>")
    for e in f.views[:MAX_OUTPUTS]:
        if f.name(e):
            out.append(f"<h3>{escape(f.heading(e))}</h3>")
        chosen = chosen_rows(f, e)
        near = nearest_rows(f, e, [position for position, _ in chosen])
        out.append(_overview(f, e, chosen))
        out += [
            _decision(f, e, position, why, None if near is None else near[i])
            for i, (position, why) in enumerate(chosen)
        ]
    if left := f.names_beyond(MAX_OUTPUTS):
        own = f"A report about one {f.kind_of_outputs} has its own: output=, on the command line --output."
        out.append(f"<p class=faint>Decisions are not drawn for {escape(left)}. {own}</p>")
    return "".join(out)


SECTION: Final = Section(
    "decisions",
    "Why this decision",
    70,
    "the longest steps: these features moved this prediction most, from the average to its own value.",
    "that the row would be decided otherwise if one feature were changed: others may stand in for it, and the true outcome has its own causes.",
    decisions_section,
)


def _overview(f: ReportData, e: Explanation, chosen: Sequence[tuple[int, str]]) -> str:
    """The decisions shown, one line each: the prediction beside the average, and the truth."""
    predicted = f.predicted(e)
    number = percent_text if f.predicts_probability else number_text
    first = "Row" if f.asked.ids_name is None else f.asked.ids_name
    head = [first, "Shown as", "Probability" if f.predicts_probability else "Predicted", "Average"]
    lines = []
    for position, why in chosen:
        at = int(f.explained.which[position])
        line = [str(e.coords["row"][position]), why, number(float(predicted[at])), number(float(predicted.mean()))]
        lines.append([*line, *([] if f.truth is None else [truth_text(f, at)])])
    return html_table([*head, *([] if f.truth is None else ["True"])], lines, text=(1,))


def chosen_rows(f: ReportData, e: Explanation) -> list[tuple[int, str]]:
    """Return the positions of the rows that are shown, each with the reason in words."""
    assert e.prediction is not None  # noqa: S101  # explanations of rows have predictions
    if f.asked.chosen is not None:
        return [(int(np.searchsorted(f.explained.which, at)), "chosen") for at in f.asked.chosen]
    order = np.argsort(f.predicted(e)[f.explained.which], kind="stable")  # what the page calls the prediction
    picks = [
        (int(order[-1]), "highest prediction"),
        (int(order[len(order) // 2]), "median prediction"),
        (int(order[0]), "lowest prediction"),
    ]
    performance = f.explained.performance_of_explained
    if performance is not None:
        picks += largest_mistakes(performance, np.asarray(e.prediction))
    seen: set[int] = set()
    return [(i, why) for i, why in picks if not (i in seen or seen.add(i))]  # type: ignore[func-returns-value]


def _decision(f: ReportData, e: Explanation, position: int, why: str, near: Neighbours | None) -> str:
    """One decision: in words, as a picture, its main reasons as a table, and comparable rows."""
    one = without_rounding(e[position])
    words = prediction_words(f, e, position)
    name = row_name(f, e.coords["row"][position])
    truth = "" if f.truth is None else f" True: {truth_text(f, int(f.explained.which[position]))}."
    text = f"{capitalized(words)}.{_at_threshold(f, position)}{truth} {capitalized(main_reasons(one))}."
    beside = _reasons_table(one) + ("" if near is None else comparable_html(f, e, near))
    return (
        f"<div class=decision><div><h4>{escape(name)}</h4><p>{escape(text)}</p></div>"
        f"{_decision_figure(f, e, position, name, why, words)}<div>{beside}</div></div>"
    )


def _at_threshold(f: ReportData, position: int) -> str:
    """Whether the row counts as positive at the threshold that was asked for, in a sentence; nothing where none was."""
    threshold, positive = f.options.threshold, f.asked.positive
    if threshold is None or positive is None or f.class_probabilities is None:
        return ""
    counts = f.class_probabilities[f.explained.which[position], positive] >= threshold
    return f" It {'counts' if counts else 'does not count'} as {f.class_words(positive)}, which begins at {100 * threshold:g} %."


def _reasons_table(one: Explanation) -> str:
    top, shares = top_positions(one, NUMBER_OF_REASONS), shares_of_row(one)
    values = [shown_values(one, one.feature_names[j]) for j in top]
    lines = [
        (
            one.feature_names[j],
            "" if own is None else value_text(own[0]),
            number_text(float(one.values[j]), 3, sign=True),
            percent_text(float(shares[j])),
        )
        for j, own in zip(top, values, strict=True)
    ]
    return f"<h4>Main reasons</h4>{html_table(('Feature', 'Value', 'Contribution', 'Share'), lines, text=(1,))}"


def _decision_figure(f: ReportData, e: Explanation, position: int, name: str, why: str, words: str) -> str:
    one = without_rounding(e[position])
    order = np.argsort(-np.abs(one.values), kind="stable")
    near_zero = includes_zero(one)
    lines: list[tuple[str, ...]] = []
    for j in order[:MAX_TABLE_LINES]:
        values = shown_values(one, one.feature_names[j])
        lines.append(
            (
                one.feature_names[j],
                "" if values is None else value_text(values[0]),
                number_text(float(one.values[j]), sign=True) + error_text(one, j),
                *([NEAR_ZERO if near_zero[j] else ""] if one.std_error is not None else []),
            )
        )
    lines += [
        (*cells, *([""] if one.std_error is not None else [])) for cells in _last_lines(one, order[MAX_TABLE_LINES:])
    ]
    head = ("Feature", "Value", f"Attribution ({unit_label(one)})", *(["Remark"] if one.std_error is not None else []))
    short = prediction_words(f, e, position, likeliest=False)
    return html_figure(
        lambda: waterfall(one, to_probability=f.probability_link(e), title=f"{shorten_label(name, 24)}: {shorten_label(short, 60)}"),
        title=name,
        description=f"{name}: {why}. {capitalized(words)}.{' The errors are larger than asked.' if unconverged_rows(one) else ''}",
        table=html_table(head, lines, text=(1, 3)),
    )  # fmt: skip


def _last_lines(one: Explanation, others: npt.NDArray[np.intp]) -> list[tuple[str, str, str]]:
    """The sum of the features that have no line, with the largest error that it may have; base and prediction."""
    lines = []
    if len(others):
        error = error_of_sum(one, others)
        about = "" if error is None else f" ± at most {number_text(error, 2)}"
        lines.append(
            (f"{len(others)} others, summed", "", number_text(float(one.values[others].sum()), sign=True) + about)
        )
    return [
        *lines,
        ("base", "", number_text(float(one.base))),
        ("prediction", "", number_text(float(one.prediction))),  # type: ignore[arg-type]
    ]
