"""The evidence that the explanation carries, and the technical lines of all sections."""

from __future__ import annotations

from html import escape
from typing import Final

from whybox.explanation.evidence import EVIDENCE_LINES
from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section

__all__ = ["LINES_SHOWN", "evidence_section"]

LINES_SHOWN: Final = tuple(
    key for key in EVIDENCE_LINES if key != "seconds"
)  # of this run only; the page depends on the numbers alone


def evidence_section(f: ReportData) -> str:
    """The evidence that the explanation carries, then how the numbers of each section were found and checked."""
    own = f.explanation.evidence.lines(*LINES_SHOWN)
    parts = [
        "<p>What these numbers rest on. The same model, rows and background give the same numbers again.</p>",
        html_table(("", ""), own, text=(1,)),
    ]
    for what in dict.fromkeys(line[0] for line in f.technical):
        lines = [line[1:] for line in f.technical if line[0] == what and line[1:] not in own]
        if lines:
            parts += [f"<h3>{escape(what)}</h3>", html_table(("", ""), list(dict.fromkeys(lines)), text=(1,))]
    return "".join(parts)


SECTION: Final = Section(
    "evidence",
    "Evidence",
    90,
    "a number that was recomputed and differs: there is none, or this page would not have been written.",
    "that checked numbers make a good model: the checks say that the page describes this model correctly, not that the model is right.",
    evidence_section,
)
