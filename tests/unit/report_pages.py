"""Reports read back: the text of a page, and the cells of its tables."""

from __future__ import annotations

import re
from html import unescape

import whybox as wb
from whybox.reporting.contents import SECTIONS


def parts(*anchors):
    """Sections by their anchors."""
    return [s for s in SECTIONS if s.anchor in anchors]


def page(folder, *arguments, **options):
    """Write a report, and return the explanation and the text of the page."""
    e = wb.report(*arguments, folder / "r.html", **options)
    return e, read_page(folder / "r.html")


def read_page(path):
    """The text of a page, with the spaces and minus signs of a keyboard."""
    return unescape(of_keyboard(path.read_text(encoding="utf-8")))


def of_keyboard(html):
    """The spaces and minus signs of a text are those of a keyboard, and no name has places to break a line at."""
    return html.replace("<wbr>", "").replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def cells(html):
    """The texts of each line of the tables."""
    return [re.findall(r"<t[dh][^>]*>([^<]*)</t[dh]>", line) for line in re.findall(r"<tr>(.*?)</tr>", html)]
