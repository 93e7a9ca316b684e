"""Local values or attributions of a text: the text itself, each word on a ground coloured by its value."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from whybox.errors import Argument, OptionError
from whybox.explanation.html import number_text
from whybox.explanation.local_rows import local_remarks
from whybox.explanation.local_words import text_pieces
from whybox.plots.local import write_head
from whybox.plots.style import (
    axes_or_new,
    diverging_colormap,
    faint_text_color,
    one_output,
    shorten_label,
    text_color,
    unit_label,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["local_words"]

LINE_CHARACTERS: Final = 92  # of the font's width, in a figure of 8 inches
MIN_SHARE_COLORED: Final = 0.02  # of the largest value
MAX_LINES: Final = 40
MAX_PIECE_LENGTH: Final = 40  # of a word, or of what stands between words

Placed = tuple[str, int, int, int]  # what is written, position of its word or -1, column, line


def local_words(
    e: Explanation, row: Any = 0, *, output: Any = None, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Write one text, each of its words on a ground coloured by its value; what speaks against the picture stands above it in bold.

    Args:
        e: local values or attributions of texts. row: position of the text, where there are several. output: which of several outputs. ax: where to draw.
        title: instead of the usual one.

    Returns:
        The axes. A text of more than 40 lines is cut, and how many words are left out is said below.

    Raises:
        OptionError: no such text, or no output named where there are several.
    """
    from matplotlib.patches import Rectangle

    e = one_output(e, output, "plot of words")
    if "row" in e.dims:
        if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not -len(e) <= row < len(e):
            raise OptionError(Argument("row", row), f": there are {len(e)} texts, 0 to {len(e) - 1}.")
        e = e[int(row)]
    placed, left = _lay_out(text_pieces(e))
    lines = placed[-1][3] + 1 if placed else 1
    ax = axes_or_new(ax, 8, 1.5 + 0.3 * lines)
    ax.set_xlim(0, LINE_CHARACTERS)
    ax.set_ylim(max(lines, 2) - 0.4, -0.6)
    largest = max(float(np.abs(e.values).max(initial=0.0)), 1e-300)
    colours = diverging_colormap()
    for piece, word, x, y in placed:
        color = text_color()
        if word >= 0 and abs(float(e.values[word])) >= MIN_SHARE_COLORED * largest:
            ground = colours(0.5 + 0.5 * float(e.values[word]) / largest)
            color = "white" if sum(ground[:3]) < 1.5 else "black"
            ax.add_patch(Rectangle((x, y - 0.4), _width(piece), 0.8, facecolor=ground, edgecolor="none"))
        ax.text(x, y, piece, family="monospace", fontsize=10, va="center", ha="left", color=color)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_xlabel(_legend(e, left), loc="left", fontsize="small", color=faint_text_color(0.8))
    write_head(ax, e, local_remarks(e), title)
    return ax


def _legend(e: Explanation, left: int) -> str:
    """What the colours mean, and how many words are not drawn."""
    largest = float(np.abs(e.values).max(initial=0.0))
    meaning = "red adds to the output, blue takes away from it" if largest else "no word changes the output"
    lines = [f"{meaning}; the largest: {number_text(largest, 3)} ({unit_label(e)})"]
    if e.std_error is not None:
        lines.append(f"largest standard error: {number_text(float(e.std_error.max()), 2)}")
    if left:
        lines.append(f"{left:,} more word{'s' * (left > 1)} of the text {'are' if left > 1 else 'is'} not drawn")
    return "\n".join(lines)


def _lay_out(pieces: list[tuple[str, int]]) -> tuple[list[Placed], int]:
    """Break a text into lines; return what is written where, and the number of pieces of words that have no room."""
    placed: list[Placed] = []
    x = y = 0
    for at, (piece, word) in enumerate(pieces):
        for part in [piece] if word >= 0 else _parts(piece):
            if part == " ":
                x += x > 0
                continue
            written = shorten_label(part, MAX_PIECE_LENGTH)
            wide = _width(written)
            if x + wide > LINE_CHARACTERS and x > 0:
                x, y = 0, y + 1
            if y == MAX_LINES:
                return placed, sum(other >= 0 for _, other in pieces[at:])
            placed.append((written, word, x, y))
            x += wide
    return placed, 0


def _parts(between: str) -> list[str]:
    """What stands between words, cut at white space, which is one blank."""
    out: list[str] = []
    for character in between:
        if character.isspace():
            if out[-1:] != [" "]:
                out.append(" ")
        elif out and out[-1] != " ":
            out[-1] += character
        else:
            out.append(character)
    return out


def _width(text: str) -> int:
    """Columns of a monospaced font: wide characters take two, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text.replace(r"\$", "$")
    )
