"""Rules under which a classifier keeps the class of single rows (anchors), for the section on decisions seen locally."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from whybox.core.label_choice import output_words
from whybox.data.table import Table
from whybox.errors import InputError, LimitError, OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import capitalized
from whybox.explanation.rule_rows import (
    has_conditions,
    promised_precision,
    rule_bounds,
    rule_number,
    rule_sentence,
    rule_warnings,
    share_text,
)
from whybox.methods.anchors.explainer import Anchors
from whybox.methods.anchors.plan import seconds_of_a_prediction
from whybox.methods.common.plan import duration_text
from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table

__all__ = ["rules_html"]

MAX_EVALS: Final = 40_000  # predictions of rows drawn under rules
MAX_SECONDS: Final = 20.0  # that they may take


def rules_html(f: ReportData, rows: Table, background: Table) -> str:
    """Return the rules of rows of a classifier as HTML; nothing for other models, and a sentence where they would take long or cannot be had."""
    try:
        explainer = Anchors(f.model, background, players=f.players, max_evals=MAX_EVALS)
    except UnsupportedModelError:
        return ""
    except (OptionError, InputError) as reason:
        return _not_shown(str(reason))
    seconds = MAX_EVALS * seconds_of_a_prediction(explainer)
    if seconds > MAX_SECONDS:
        return _not_shown(f"{MAX_EVALS:,} predictions would take {duration_text(seconds)}; see wb.anchors.")
    try:
        return _rules(f, explainer(rows))
    except (OptionError, InputError, UnsupportedModelError, LimitError) as reason:
        return _not_shown(str(reason))


def _not_shown(reason: str) -> str:
    return f"<p class=faint>Rules are not shown: {escape(reason)}</p>"


def _rules(f: ReportData, e: Explanation) -> str:
    lines = [_line(e[i]) for i in range(len(e))]
    head = ("Row" if f.asked.ids_name is None else f.asked.ids_name, "Rule", "Precision", "Coverage")
    table = html_table(head, lines, text=(1,))
    level = share_text(float(e.evidence.settings["level"]))
    return (
        "<div class=seen><h3>Rules that keep the class</h3>"
        "<p>Where the conditions of a rule hold, the model nearly always predicts the class of the row (anchors). Precision is the share of background rows "
        "that keep the class when every cell that breaks a condition is replaced by one of a background row that meets it. "
        f"A rule is certified where this is at least {share_text(promised_precision(e))}, at a confidence of {level} for each row. "
        "Coverage is the share of background rows that meet the rule.</p>"
        f"{table}<p class=faint>{e.evidence.settings['predictions']:,} predictions of rows drawn for these rules.</p></div>"
    )


def _line(one: Explanation) -> tuple[str, str, str, str]:
    """One row of the table: its name, the rule in words, its precision and coverage."""
    row, label = str(one.coords["row"][0]), output_words(str(one.extras["label"][1]), of_class=True)
    warnings = rule_warnings(one)
    if warnings and not has_conditions(one):
        return row, f"No rule was found that keeps {label} often enough.", "", ""
    sentence = ". ".join([rule_sentence(one, label), *(capitalized(text) for text in warnings)])
    return row, sentence, _precision_text(one), share_text(rule_number(one, "coverage"))


def _precision_text(e: Explanation) -> str:
    precision = rule_number(e, "precision")
    if np.isnan(precision):
        return "not known"
    return f"{share_text(precision)} (at least {share_text(rule_bounds(e)[0])})"
