"""The rule of one row: the sentence, a bar of its precision with both bounds beside the promised one, and a bar of its coverage."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from whybox.errors import Argument, OptionError
from whybox.explanation.html import capitalized
from whybox.explanation.rule_rows import (
    promised_precision,
    rule_bounds,
    rule_headline,
    rule_number,
    rule_sentence,
    rule_warnings,
    share_text,
)
from whybox.plots.style import NEUTRAL, add_caution, axes_or_new, shorten_label, style_axes, text_color, write_above

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["rule"]

TEXT_WIDTH: Final = 88  # characters of a line above the axes
MAX_LINES: Final = 8  # of the sentence; what is longer ends in dots
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
MAX_TITLE_LENGTH: Final = 60
UNCERTAIN_ALPHA: Final = 0.5
LINE_INCHES: Final = 0.17


def rule(e: Explanation, row: Any = None, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw the rule of one row: the sentence above a bar of its precision, with both bounds and the promised precision, and a bar of its coverage.

    A rule that is not certified is paler, and that is said.

    Args:
        e: rules. row: position of the row, where there are several. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: not rules, or not of one row.
    """
    e = _one_row(e, row)
    sentence = _sentence_lines(e)
    warnings = [line for text in rule_warnings(e) for line in wrap(f"{capitalized(text)}.", TEXT_WIDTH)]
    ax = axes_or_new(ax, 7.6, 1.75 + LINE_INCHES * (len(sentence) + len(warnings)))
    certified = bool(e.extras["certified"][1])
    precision, coverage = float(np.nan_to_num(rule_number(e, "precision"))), rule_number(e, "coverage")
    ax.barh(1, precision, height=0.55, color=NEUTRAL, alpha=1.0 if certified else UNCERTAIN_ALPHA)
    ax.barh(0, coverage, height=0.55, color=NEUTRAL, alpha=0.6)
    low, high = rule_bounds(e)
    ax.hlines(1, low, high, color=text_color(), linewidth=1.6, zorder=3)
    ax.vlines((low, high), 0.87, 1.13, color=text_color(), linewidth=1.6, zorder=3)
    ax.vlines(promised_precision(e), 0.6, 1.4, color=text_color(), linewidth=1.2, linestyle=(0, (3, 2)), zorder=4)
    for at, end, share in ((1, high, rule_number(e, "precision")), (0, coverage, coverage)):
        text = "not known" if np.isnan(share) else share_text(share)
        ax.annotate(text, (end, at), xytext=(6, 0), textcoords="offset points", va="center", fontsize="small", color=text_color())  # fmt: skip
    ax.set_yticks((1, 0), ("precision", "coverage"))
    ax.set_ylim(-0.5, 1.5)
    ax.set_xlim(0.0, 1.13)
    ax.set_xlabel(_axis_words(e, low, high))
    write_above(ax, sentence, warnings, LINE_INCHES * 72, title if title is not None else _usual_title(e))
    add_caution(ax, e)
    style_axes(ax)
    ax.set_xticks((0.0, 0.25, 0.5, 0.75, 1.0), ("0", "25 %", "50 %", "75 %", "100 %"))
    return ax


def _one_row(e: Explanation, row: Any) -> Explanation:
    if e.kind != "rule":
        raise OptionError("rule shows rules, wb.anchors(model, X, background).")
    if "feature" not in e.dims:
        raise OptionError("rule shows a whole rule, and one feature was picked here; draw the rules as they came.")
    if "row" not in e.dims:
        if row is not None:
            raise OptionError("this rule is of one row only; leave ", Argument("row"), " out.")
        return e
    if row is None:
        raise OptionError(
            f"rule shows one of the {len(e.coords['row'])} rows; say which: rule(",
            Argument("row", 0),
            "), or slice first: e[0].plot.rule(). Which features stand in the rules of all rows, plot.bar shows.",
        )
    return e[int(row)]


def _sentence_lines(e: Explanation) -> list[str]:
    """The sentence in lines that end between conditions; conditions that have no room are counted."""
    words = rule_sentence(e)
    for condition in map(str, e.extras["condition"][1]):
        if condition:
            words = words.replace(condition, shorten_label(condition, TEXT_WIDTH - 10).replace(" ", NO_BREAK))
    lines = [line.replace(NO_BREAK, " ") for line in wrap(words, TEXT_WIDTH)]
    if len(lines) <= MAX_LINES:
        return lines
    count = int(e.values.sum())
    ending = f"\N{HORIZONTAL ELLIPSIS} ({count:,} conditions in all) THEN {e.extras['label'][1]}"
    return [*lines[: MAX_LINES - 1], shorten_label(ending, TEXT_WIDTH)]


def _axis_words(e: Explanation, low: float, high: float) -> str:
    level = float(e.evidence.settings["level"])
    return (
        f"precision: share of changed background rows that keep the class; bounds {share_text(low)} and {share_text(high)}\n"
        f"dashed: promised {share_text(promised_precision(e))}, at a confidence of {share_text(level)}\n"
        "coverage: share of the background that meets the rule"
    )


def _usual_title(e: Explanation) -> str:
    return shorten_label(capitalized(rule_headline(e)), MAX_TITLE_LENGTH)
