"""Single decisions: typical and extreme ones, and the worst mistakes."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt  # as elsewhere

from whybox.explanation.errors_of_values import error_of_sum, includes_zero, unconverged_rows
from whybox.explanation.explanation import Explanation
from whybox.explanation.feature_values import shown_values
from whybox.explanation.html import error_text, number_text
from whybox.plots.style import value_text
from whybox.plots.waterfall import waterfall
from whybox.reporting.estimates import NEAR_ZERO, paragraph_on_errors
from whybox.reporting.facts import MAX_TABLE_LINES, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.performance import largest_mistakes
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["chosen_rows", "decisions_section"]

_ERRORS_OF_STEPS: Final = (
    f"The standard error stands beside each number; a line is the interval of its step alone. Where it includes 0, the step is paler and marked as {NEAR_ZERO}: "
    "nothing shows that the feature raised or lowered this prediction."
)


def decisions_section(f: ReportData) -> str:
    """Single decisions: typical and extreme ones, and the worst mistakes where the truth is known."""
    caption = (
        "From the base (the value when nothing is known of the row) to the row's own prediction, one feature at a time."
    )
    out = [
        f"<p>{caption} Read each picture from bottom to top.</p>",
        paragraph_on_errors(f.explanation, _ERRORS_OF_STEPS),
    ]
    if len(f.explanation) < len(f.rows):
        out.append(f"<p>The rows are among the {f.which_rows} that are explained.</p>")
    for e in f.views[:2]:
        if f.name(e):
            out.append(f"<h3>{escape(f.name(e))}</h3>")
        out += [_decision_figure(e, position, why) for position, why in chosen_rows(f, e)]
    return "".join(out)


SECTION: Final = Section("decisions", "Single decisions", 70, decisions_section)


def chosen_rows(f: ReportData, e: Explanation) -> list[tuple[int, str]]:
    """Return the positions of the rows that are shown, each with the reason in words."""
    assert e.prediction is not None  # noqa: S101  # explanations of rows have predictions
    p = np.asarray(e.prediction)
    order = np.argsort(p, kind="stable")
    picks = [
        (int(order[-1]), "highest prediction"),
        (int(order[len(order) // 2]), "median prediction"),
        (int(order[0]), "lowest prediction"),
    ]
    performance = f.explained.performance_of_explained
    if performance is not None:
        picks += largest_mistakes(performance, p)
    seen: set[int] = set()
    return [(i, why) for i, why in picks if not (i in seen or seen.add(i))]  # type: ignore[func-returns-value]


def _decision_figure(e: Explanation, position: int, why: str) -> str:
    one = e[position]
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
    row = str(one.coords["row"][0])
    head = ("Feature", "Value", f"Attribution ({one.units})", *(["Remark"] if one.std_error is not None else []))
    drawn = html_figure(
        lambda: waterfall(one),
        title=f"Row {row}",
        description=f"Row {row}: {why}.{' The errors are larger than asked.' if unconverged_rows(one) else ''}",
        table=html_table(head, lines, text=(1, 3)),
    )
    return f"<div class=decision>{drawn}</div>"


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
