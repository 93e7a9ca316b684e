"""Labels and texts as a table of HTML: what evidence looks like in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["NAME_STYLE", "lines_table"]

NAME_STYLE = "text-align:left;white-space:normal;overflow-wrap:anywhere"


def lines_table(lines: Iterable[tuple[str, str]]) -> str:
    """Return a table, a line for each label and its text."""
    items = "".join(
        f'<tr><td style="text-align:left;padding:1px 10px 1px 0;white-space:normal;min-width:8em">{escape(label)}</td>'
        f'<td style="{NAME_STYLE}">{escape(text)}</td></tr>'
        for label, text in lines
    )
    return f"<table>{items}</table>"
