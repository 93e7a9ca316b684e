"""The five questions of a reader, answered first: what is predicted, how sure it is, what matters, why this decision, and what the page is not good for."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from whybox.explanation.errors_of_values import unconverged_rows
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import capitalized, number_text
from whybox.explanation.negligible import negligible_size
from whybox.numerics.rounding import ratio_above_rounding
from whybox.numerics.statistics import wilson_interval
from whybox.reporting.decision_words import main_reasons, percent_text, prediction_words, row_name
from whybox.reporting.facts import ReportData
from whybox.reporting.performance import above_rounding
from whybox.reporting.section import Section
from whybox.reporting.sections.decisions import chosen_rows
from whybox.reporting.sections.threshold import rate_text

__all__ = ["summary_section"]

FEATURES_NAMED: Final = 3
CLASSES_NAMED: Final = 6
FEW_ROWS: Final = 200


def summary_section(f: ReportData) -> str:
    """The answers, each in a sentence or two."""
    answers = [
        ("What does it predict?", _what(f)),
        ("How sure is it?", _how_sure(f)),
        ("What matters?", _what_matters(f)),
        ("Why this decision?", _why(f)),
    ]
    listed = "".join(f"<dt>{escape(q)}</dt><dd>{escape(a)}</dd>" for q, a in answers)
    limits = "".join(f"<li>{escape(line)}</li>" for line in _limits(f))
    return f"<dl class=answers>{listed}<dt>What is this not good for?</dt><dd><ul>{limits}</ul></dd></dl>"


SECTION: Final = Section(
    "summary",
    "In short",
    5,
    "the answers to five questions; each section below has the numbers behind one of them.",
    "more than the intervals allow: a difference within them may be chance.",
    summary_section,
)


def _what(f: ReportData) -> str:
    e = f.views[0]
    values = f.predicted(e)
    number = percent_text if f.predicts_probability else number_text
    low, high, average = (number(float(v)) for v in (values.min(), values.max(), values.mean()))
    rows = "this row" if len(values) == 1 else f"these {len(values):,} rows"
    spread = f"Over {rows} it runs from {low} to {high}; the average is {average}."
    if f.classes is not None and len(f.classes) > 2:
        names = ", ".join(f.class_words(k) for k in range(min(len(f.classes), CLASSES_NAMED)))
        more = ", ..." if len(f.classes) > CLASSES_NAMED else ""
        of = f" of {f.asked.truth_name}" if f.asked.truth_name else ""
        return f"For each row the probability of each of {len(f.classes)} classes{of}: {names}{more}. That of {f.output_words(e)}: {_lower_first(spread)}"
    if f.classes is not None:
        other = next(f.class_words(k) for k in range(2) if f.classes[k] != e.output_name)
        return f"For each row the probability {_of_class(f, e)}; the other class is {other}. {spread}"
    name, count = f.output_words(e), len(f.explanation.output_names)
    several = f", one of {count} outputs" if count > 1 else ""
    target = f"a value of {f.asked.truth_name}" if f.asked.truth_name else "a number"
    what = f"{'the probability of' if f.predicts_probability else 'a number for'} {name}{several}" if name else target
    return f"For each row {what}. {spread}"


def _of_class(f: ReportData, e: Explanation) -> str:
    """Of which class: ``of malignant``, or, where the truth is a column, ``that diagnosis is malignant``."""
    name = f.output_words(e)
    if f.asked.truth_name is None:
        return f"of {name}"
    return f"that {f.asked.truth_name} is {e.output_name}{'' if name == e.output_name else f' ({name})'}"


def _lower_first(text: str) -> str:
    return text[0].lower() + text[1:]


def _how_sure(f: ReportData) -> str:
    p = f.performance
    if p is None:
        return "This page cannot say: no truth to compare predictions with was given, or none is defined for them."
    if p.task == "regression":
        off = np.abs(p.predicted - p.truth)
        half, most = (
            number_text(above_rounding(float(q), p.predicted, p.truth), 3) for q in np.quantile(off, [0.5, 0.9])
        )
        always = number_text(float(np.median(np.abs(p.truth - np.median(p.truth)))), 3)
        return (
            f"Half of its predictions are off by at most {half}, nine of ten by at most {most}. "
            f"Always predicting the median would be off by {always} for half of the rows."
        )
    right = int((p.predicted == p.truth).sum())
    counts = np.bincount(p.truth.astype(np.int64), minlength=len(p.classes))
    common = int(counts.argmax())
    return (
        f"Its most probable class is the true one in {right:,} of {len(p.truth):,} rows: {rate_text(right, len(p.truth))}, the 95 % interval in brackets. "
        f"Always guessing {f.class_words(common)} would be right in {percent_text(counts[common] / len(p.truth))}."
    )


def _what_matters(f: ReportData) -> str:
    e = f.explanation
    size = np.abs(e.values).mean(axis=0)
    flat = size if size.ndim == 1 else size.sum(axis=1)
    shares = ratio_above_rounding(flat, flat.sum(), negligible_size(e).sum())
    order = np.argsort(-flat, kind="stable")[:FEATURES_NAMED]
    if not shares[order].any():
        return "No feature moves the predictions of these rows."
    named = ", ".join(f"{e.feature_names[j]} ({100 * shares[j]:.0f} %)" for j in order if shares[j] > 0)
    estimated = "; these shares are estimated" if e.std_error is not None else ""
    return f"Most of all {named}: the share of all movements of predictions that each feature accounts for, over {f.which_rows}{estimated}."


def _why(f: ReportData) -> str:
    e = f.views[0]
    position, why = chosen_rows(f, e)[0]
    name = row_name(f, e.coords["row"][position])
    shown = "" if why == "chosen" else f" ({why})"
    return f"For example {_lower_first(name)}{shown}: {prediction_words(f, e, position)}. {capitalized(main_reasons(e[position]))}. More under Why this decision."


def _limits(f: ReportData) -> list[str]:
    """What the page does not show, of this model and these rows."""
    out = ["It says what the model does with a feature, not what would happen if somebody changed the feature in the world."]  # fmt: skip
    p = f.performance
    if p is None:
        out.append("It does not say how often the model is right.")
    elif f.role == "train":
        out.append("The model was trained on these rows, so it does worse on new ones than the scores here say.")
    elif f.role is None:
        out.append("Nobody has said whether the model was trained on these rows; if it was, it does worse on new ones.")
    if p is not None:
        out.append("How often it is right holds for rows like these; those of another place or time may differ.")
    if len(f.rows) < FEW_ROWS:
        count = "is 1 row" if len(f.rows) == 1 else f"are {len(f.rows):,} rows"
        out.append(f"There {count}; with others of the same kind the numbers would move, as far as the intervals say.")
    if p is not None and p.task == "classification":
        counts = np.bincount(p.truth.astype(np.int64), minlength=len(p.classes))
        common = counts.max() / len(p.truth)
        low, _ = wilson_interval(int((p.predicted == p.truth).sum()), len(p.truth))
        if low <= common:
            out.append("Its share of right classes is not distinguishable from that of always guessing the commonest class.")  # fmt: skip
    if unsure := unconverged_rows(f.explanation):
        out.append(
            f"The reasons of {unsure:,} of {len(f.explanation):,} rows are estimated less precisely than was asked."
        )
    if not f.asked.groupings:
        out.append("Whether it errs more often for some groups of rows was not looked at.")
    return out
