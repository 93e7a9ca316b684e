"""What a notebook shows of rules: each of the first rows as a sentence, with a bar of its precision and its coverage."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from whybox.explanation.html import NAME_STYLE, framed_table
from whybox.explanation.labelled import Labelled
from whybox.explanation.rule_rows import (
    promised_precision,
    rule_bounds,
    rule_number,
    rule_sentence,
    rule_warnings,
    share_text,
)

__all__ = ["rule_html"]

MAX_ROWS_SHOWN: Final = 8
_BAR, _UNCERTAIN = "#6d83a8", "#8c8c8c"  # as plots draw a size, and what is not certain


def rule_html(e: Labelled) -> str:
    """Return the rules of the first rows as HTML."""
    count = len(e.coords["row"])
    shown = [e[i] for i in range(min(MAX_ROWS_SHOWN, count))] if "row" in e.dims else [e]
    head = "".join(f'<th style="text-align:left;padding:1px 10px 1px 0">{name}</th>' for name in ("row", "rule", "precision", "coverage"))  # fmt: skip
    more = f"<div>and {count - len(shown):,} more rows; e[{len(shown)}] is the next</div>" if count > len(shown) and "row" in e.dims else ""  # fmt: skip
    promise = f"<div>The upright line is the promised precision, {share_text(promised_precision(e))}; the thin line goes from one bound to the other.</div>"
    return framed_table(e, f"<table><tr>{head}</tr>{''.join(map(_line, shown))}</table>{more}{promise}")


def _line(e: Labelled) -> str:
    warnings = "".join(f"<br><b>{escape(text)}</b>" for text in rule_warnings(e))
    precision = rule_number(e, "precision")
    text = "not known" if np.isnan(precision) else f"{share_text(precision)}, at least {share_text(rule_bounds(e)[0])}"
    top = "vertical-align:top;padding:1px 10px 1px 0"
    return (
        f'<tr><td style="text-align:left;{top}">{escape(str(e.coords["row"][0]))}</td>'
        f'<td style="{NAME_STYLE};{top};max-width:34em">{escape(rule_sentence(e))}{warnings}</td>'
        f'<td style="text-align:left;{top};white-space:nowrap">{_precision_bar(e)}<br>{text}</td>'
        f'<td style="text-align:right;{top}">{share_text(rule_number(e, "coverage"))}</td></tr>'
    )


def _precision_bar(e: Labelled) -> str:
    """A bar from 0 to 1 with both bounds as a line through it, and the promised precision as an upright line."""
    low, high = rule_bounds(e)
    precision = np.nan_to_num(rule_number(e, "precision"))
    color = _BAR if bool(e.extras["certified"][1]) else _UNCERTAIN
    parts = (
        f"left:0;width:{100 * precision:.1f}%;height:100%;background:{color}",
        f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%;top:4px;height:2px;background:currentColor",
        f"left:{100 * promised_precision(e):.1f}%;width:1px;top:-2px;height:14px;background:currentColor",
    )
    spans = "".join(f'<span style="position:absolute;{part}"></span>' for part in parts)
    return (
        '<span style="display:inline-block;position:relative;width:160px;height:10px;border-bottom:1px solid #8888">'
        f"{spans}</span>"
    )
