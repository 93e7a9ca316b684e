"""A single decision in words: what is predicted, what is usual, and the reasons that weigh most."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.explanation.top import reasons_in_words, shares_of_row, top_positions
from whybox.models.losses import likeliest_classes
from whybox.reporting.facts import ReportData

__all__ = ["NUMBER_OF_REASONS", "main_reasons", "percent_text", "prediction_words", "row_name", "truth_text"]

NUMBER_OF_REASONS: Final = 4
LEAST_SHARE: Final = 0.01  # of the contributions of a row, that a reason beside the first has


def percent_text(share: float) -> str:
    """Return a probability in whole percent; near 0 and 1 with one decimal, and never rounded to either."""
    percent = 100.0 * float(share)
    if percent in (0.0, 100.0):
        return f"{percent:.0f} %"
    if not 0.1 <= percent <= 99.9:
        return "below 0.1 %" if percent < 50 else "above 99.9 %"
    return f"{percent:.0f} %" if 1.5 <= percent <= 98.5 else f"{percent:.1f} %"


def truth_text(f: ReportData, at: int) -> str:
    """Return what is true of a row, at a position among all rows: the name of its class, or its number."""
    p = f.performance
    assert f.truth is not None  # noqa: S101  # the caller has looked
    if p is None:
        return str(f.truth[at])
    return number_text(float(p.truth[at])) if p.task == "regression" else f.class_words(int(p.truth[at]))


def row_name(f: ReportData, label: object) -> str:
    """Return how a row is called everywhere: ``Row 7``, or ``customer_id C17``."""
    return f"{'Row' if f.asked.ids_name is None else f.asked.ids_name} {label}"


def prediction_words(f: ReportData, e: Explanation, position: int, *, likeliest: bool = True) -> str:
    """Return what is predicted of an explained row beside the average over the rows: ``predicted 83 % default; average 30 %``.

    Args:
        e: of one output. position: of the row among those that are explained. likeliest: whether the most probable of several classes is named, too.
    """
    everywhere = f.predicted(e)
    own, average = everywhere[f.explained.which[position]], float(everywhere.mean())
    if not f.predicts_probability:
        name = f.name(e)
        return f"predicted {number_text(float(own))}{f' ({name})' if name else ''}; average {number_text(average)}"
    name = f.output_words(e)
    words = f"predicted {percent_text(own)}{f' {name}' if name else ''}; average {percent_text(average)}"
    if not likeliest or f.class_probabilities is None or f.class_probabilities.shape[1] == 2:
        return words
    shares = f.class_probabilities[f.explained.which[position]]
    first = int(likeliest_classes(shares[None])[0])
    return f"{words}; the most probable class is {f.class_words(first)} ({percent_text(shares[first])})"


def main_reasons(one: Explanation) -> str:
    """Return the reasons of one decision as the end of a sentence: what raised the prediction and what lowered it."""
    top = top_positions(one, NUMBER_OF_REASONS)
    top = top[np.r_[True, shares_of_row(one)[top[1:]] >= LEAST_SHARE]]
    texts = reasons_in_words(one, top, "{feature} = {value}", "{feature}")
    signs = one.values[top]
    raised = [text for text, value in zip(texts, signs, strict=True) if value > 0]
    lowered = [text for text, value in zip(texts, signs, strict=True) if value < 0]
    parts = [f"raised by {', '.join(raised)}"] if raised else []
    parts += [f"lowered by {', '.join(lowered)}"] if lowered else []
    return "; ".join(parts) or "no feature moves it"
