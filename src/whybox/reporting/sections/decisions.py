"""Single decisions: typical and extreme ones, and the worst mistakes."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from whybox.explanation.explanation import Explanation
from whybox.explanation.feature_values import shown_values
from whybox.explanation.html import number_text
from whybox.plots.style import value_text
from whybox.plots.waterfall import waterfall
from whybox.reporting.facts import MAX_TABLE_LINES, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["chosen_rows", "decisions_section"]


def decisions_section(f: ReportData) -> str:
    """Single decisions: typical and extreme ones, and the worst mistakes where the truth is known."""
    caption = (
        "From the base (the value when nothing is known of the row) to the row's own prediction, one feature at a time."
    )
    out = [f"<p>{caption} Read each picture from bottom to top.</p>"]
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
    if f.performance is not None and f.performance.task == "regression":
        off = f.performance.predicted - f.performance.truth
        picks += [(int(off.argmax()), "most overestimated"), (int(off.argmin()), "most underestimated")]
    elif f.performance is not None:
        wrong = np.flatnonzero(f.performance.predicted != f.performance.truth)
        if len(wrong):
            sure = wrong[np.argsort(-np.abs(p[wrong] - np.median(p)), kind="stable")[:2]]
            picks += [
                (
                    int(i),
                    f"mistaken: true class {f.performance.classes[int(f.performance.truth[i])]}, predicted {f.performance.classes[int(f.performance.predicted[i])]}",
                )
                for i in sure
            ]
    seen: set[int] = set()
    return [(i, why) for i, why in picks if not (i in seen or seen.add(i))]  # type: ignore[func-returns-value]


def _decision_figure(e: Explanation, position: int, why: str) -> str:
    one = e[position]
    order = np.argsort(-np.abs(one.values), kind="stable")
    lines = []
    for j in order[:MAX_TABLE_LINES]:
        values = shown_values(one, one.feature_names[j])
        lines.append(
            (
                one.feature_names[j],
                "" if values is None else value_text(values[0]),
                number_text(float(one.values[j]), sign=True),
            )
        )
    more = one.values[order[MAX_TABLE_LINES:]]
    if len(more):
        lines.append((f"{len(more)} others, summed", "", number_text(float(more.sum()), sign=True)))
    lines += [("base", "", number_text(float(one.base))), ("prediction", "", number_text(float(one.prediction)))]  # type: ignore[arg-type]
    row = str(one.coords["row"][0])
    drawn = html_figure(
        lambda: waterfall(one),
        title=f"Row {row}",
        description=f"Row {row}: {why}.",
        table=html_table(("Feature", "Value", f"Attribution ({one.units})"), lines, text=(1,)),
    )
    return f"<div class=decision>{drawn}</div>"
