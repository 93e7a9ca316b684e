"""Tables as aligned lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["aligned_lines", "short_name"]

MAX_NAME_LENGTH: Final = 40


def short_name(name: str, longest: int = MAX_NAME_LENGTH) -> str:
    """Return a name on one line, shortened in the middle."""
    line = " ".join(name.split())
    return line if len(line) <= longest else f"{line[: longest // 2]}...{line[3 - longest // 2 :]}"


def aligned_lines(columns: Mapping[str, list[str]]) -> list[str]:
    """Return the lines of a table, headings first: the first column set left, the others right."""
    widths = [max(map(len, [heading, *cells])) for heading, cells in columns.items()]
    lines = []
    for cells in zip(*([heading, *cells] for heading, cells in columns.items()), strict=True):
        first, *others = zip(cells, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]).rstrip())
    return lines
