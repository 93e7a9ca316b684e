"""The evidence that the explanation carries."""

from __future__ import annotations

from typing import Final

from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section

__all__ = ["evidence_section"]


def evidence_section(f: ReportData) -> str:
    """The evidence that the explanation carries."""
    return (
        "<p>What these numbers rest on. The same model, rows and background give the same numbers again.</p>"
        + html_table(("", ""), f.explanation.evidence.lines(), text=(1,))
    )


SECTION: Final = Section("evidence", "Evidence", 80, evidence_section)
