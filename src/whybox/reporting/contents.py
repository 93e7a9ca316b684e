"""The sections of a report, in their order: a short list that later work adds to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from whybox.reporting.facts import ReportData
from whybox.reporting.sections.attributions import swarm_section
from whybox.reporting.sections.decisions import decisions_section
from whybox.reporting.sections.dependence import dependence_section
from whybox.reporting.sections.effects import effects_section
from whybox.reporting.sections.evidence import evidence_section
from whybox.reporting.sections.importance import importance_section
from whybox.reporting.sections.model import model_section
from whybox.reporting.sections.performance import performance_section

__all__ = ["Section"]


@final
@dataclass(frozen=True)
class Section:
    """One part of the report."""

    anchor: str
    heading: str
    build: Callable[[ReportData], str | None]

    def __repr__(self) -> str:
        return f"Section({self.anchor!r})"


SECTIONS: Final = (
    Section("model", "The model", model_section),
    Section("performance", "How well it does", performance_section),
    Section("importance", "What it relies on", importance_section),
    Section("attributions", "What each row owes to each feature", swarm_section),
    Section("effects", "How each feature acts", effects_section),
    Section("dependence", "What each value contributed", dependence_section),
    Section("decisions", "Single decisions", decisions_section),
    Section("evidence", "Evidence", evidence_section),
)
