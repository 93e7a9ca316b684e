"""What a notebook shows of local values: of the first rows each feature with its condition, of texts coloured words, and of a sweep one column a width."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy.typing as npt  # noqa: TC002  # as elsewhere

from whybox.explanation.html import (
    NAME_STYLE,
    NEGATIVE,
    POSITIVE,
    bar_cell,
    capitalized,
    error_text,
    framed_table,
    largest_size,
    number_text,
)
from whybox.explanation.labelled import Labelled
from whybox.explanation.local_rows import local_headline, local_remarks, one_row
from whybox.explanation.local_words import has_words, text_pieces, word_labels

__all__ = ["local_html"]

MAX_ROWS_SHOWN: Final = 3
MAX_FEATURES_SHOWN: Final = 6
MAX_FEATURES_OF_ONE: Final = 12
MAX_WIDTHS_SHOWN: Final = 8
MAX_TEXT_SHOWN: Final = 2_000  # characters of a text
MAX_GROUND: Final = 0.6  # opacity of the ground of the word with the largest value
MIN_SHARE_COLORED: Final = 0.01  # of the largest value
POSITIVE_RGB, NEGATIVE_RGB = (tuple(bytes.fromhex(color.removeprefix("#"))) for color in (POSITIVE, NEGATIVE))


def local_html(e: Labelled) -> str:
    """Return the first rows of local values as HTML; of several outputs the first."""
    return framed_table(e, _first_rows(e[..., 0] if "output" in e.dims else e))


def _first_rows(e: Labelled) -> str:
    if "row" not in e.dims:
        return _row_block(e, MAX_FEATURES_OF_ONE)
    count = len(e.coords["row"])
    shown = min(MAX_ROWS_SHOWN, count)
    blocks = "".join(_row_block(one_row(e, i), MAX_FEATURES_SHOWN) for i in range(shown))
    left = count - shown
    return blocks + (f"<div>and {left:,} more row{'s' * (left > 1)}; e[{shown}] is the next</div>" if left else "")


def _row_block(e: Labelled, most: int) -> str:
    order = e.ordered(most)
    of_text = has_words(e)
    left = e.shape[-1] - len(order)
    more = f"<div>and {left:,} more {'word' if of_text else 'feature'}{'s' * (left > 1)}</div>" if left else ""
    if "width" in e.dims:
        return _widths_table(e, order) + more
    remarks = local_remarks(e)
    marked = f"<div><b>{escape(capitalized('; '.join(remarks)))}.</b></div>" if remarks else ""
    names = word_labels(e) if of_text else e.extras["condition"][1]
    largest = largest_size(e, e.values)
    lines = "".join(
        f'<tr><td style="{NAME_STYLE};max-width:26em">{escape(str(names[j]))}</td><td>{bar_cell(float(e.values[j]), largest)}</td>'
        f'<td style="text-align:right;white-space:nowrap">{number_text(float(e.values[j]))}{error_text(e, j)}</td></tr>'
        for j in order
    )
    text = _colored_text(e, largest) if of_text else ""
    return f'<div style="margin-top:6px">{escape(capitalized(local_headline(e)))}.</div>{marked}{text}<table>{lines}</table>{more}'


def _colored_text(e: Labelled, largest: float) -> str:
    """The text, each word on a ground coloured by its value; transparent, so that it is readable on light and dark pages."""
    pieces, length = [], 0
    for piece, word in text_pieces(e):
        if length > MAX_TEXT_SHOWN:
            pieces.append(" …")
            break
        length += len(piece)
        share = 0.0 if word < 0 or largest == 0 else abs(float(e.values[word])) / largest
        if share < MIN_SHARE_COLORED:
            pieces.append(escape(piece))
            continue
        r, g, b = POSITIVE_RGB if e.values[word] > 0 else NEGATIVE_RGB
        pieces.append(f'<span style="background:rgba({r},{g},{b},{MAX_GROUND * share:.2f})">{escape(piece)}</span>')
    return (
        f'<div style="max-width:60em;white-space:pre-wrap;overflow-wrap:anywhere;margin:4px 0">{"".join(pieces)}</div>'
    )


def _widths_table(e: Labelled, order: npt.NDArray[Any]) -> str:
    """One line a feature, one column a width of the kernel."""
    widths = range(min(len(e.coords["width"]), MAX_WIDTHS_SHOWN))
    conditions = e.extras["condition"][1]
    head = "".join(
        f'<th style="text-align:right;padding-left:10px">width {number_text(float(e.coords["width"][k]), 3)}</th>'
        for k in widths
    )
    lines = "".join(
        f'<tr><td style="{NAME_STYLE};max-width:26em">{escape(str(conditions[j]))}</td>'
        + "".join(
            f'<td style="text-align:right">{number_text(float(e.values[k, j]))}{error_text(e, (k, j))}</td>'
            for k in widths
        )
        + "</tr>"
        for j in order
    )
    left = len(e.coords["width"]) - len(widths)
    more = f"<div>and {left:,} more widths</div>" if left else ""
    return f'<div style="margin-top:6px">Row {escape(str(e.coords["row"][0]))}.</div><table><tr><th></th>{head}</tr>{lines}</table>{more}'
