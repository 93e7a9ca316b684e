"""What one section of a report is: its anchor, its heading, its position on the page, and the function that writes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from whybox.reporting.facts import ReportData

__all__ = ["Section"]


@final
@dataclass(frozen=True)
class Section:
    """One section of the report about a model of tables.

    Attributes:
        anchor: names the section in links, and in the registry of methods as the section that shows a method.
        heading: above the section.
        position: sections stand in increasing order of it.
        look_for, not_conclude: one sentence each that stand under the heading: what to look for, and what the section does not show.
        build: returns the HTML of the section; None where there is nothing to show.
        begins_page: whether, printed, the section begins a page.
    """

    anchor: str
    heading: str
    position: int
    look_for: str
    not_conclude: str
    build: Callable[[ReportData], str | None]
    begins_page: bool = True

    def __repr__(self) -> str:
        return f"Section({self.anchor!r})"
