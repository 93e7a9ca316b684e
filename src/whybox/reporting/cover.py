"""What stands above a report: the model and its file, the rows, the date, and fingerprints of what was read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from html import escape
from typing import Final

from whybox.explanation.evidence import Evidence
from whybox.explanation.explanation import Explanation
from whybox.reporting.facts import ReportData

__all__ = ["ROLE_WORDS", "cover_html", "date_text", "network_cover_html", "report_title"]

DIGITS_OF_FINGERPRINT: Final = 16  # the section on evidence has all
ROLE_WORDS: Final = {None: "", "held-out": ", held out from training", "train": ", which the model was trained on"}


def report_title(f: ReportData, model_name: str | None) -> str:
    """Return the usual title of the page: by the name of the model where it has one, else by its kind."""
    return f"Explanation of {model_name or f.model.kind}"


def date_text() -> str:
    """Return the day in UTC, ``30 November 2026``: of ``SOURCE_DATE_EPOCH`` where a page has to be the same again, else today."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    day = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else datetime.now(UTC)
    return f"{day.day} {day:%B %Y}"


def cover_html(f: ReportData, model_name: str | None) -> str:
    """Return the lines above the sections; printed, they are a page of their own.

    Args:
        model_name: file or version of the model, as it was given.
    """
    known = f"; the truth is the column {f.asked.truth_name}" if f.asked.truth_name else "; with the truth"
    rows = f"{_rows_text(len(f.rows), f.options.source)}{ROLE_WORDS[f.role]}{'' if f.truth is None else known}"
    model = f.model.kind if model_name is None else f"{model_name}, {f.model.kind}"
    behind = [] if f.background is None else [("Background", f"{len(f.background):,} rows")]
    return _lines_html(f.explanation.evidence, [("Model", model), ("Rows", rows), *behind])


def network_cover_html(e: Explanation, source: str) -> str:
    """Return the same lines of a report about a network.

    Args:
        e: the maps of its first method. source: where the rows come from, in words; empty where that is not said.
    """
    return _lines_html(e.evidence, [("Model", e.evidence.model), ("Rows", _rows_text(len(e), source))])


def _rows_text(count: int, source: str | None) -> str:
    return f"{count:,}{f' from {source}' if source else ''}"


def _lines_html(evidence: Evidence, first: list[tuple[str, str]]) -> str:
    prints = ", ".join(f"{name} {digest[:DIGITS_OF_FINGERPRINT]}" for name, digest in evidence.fingerprints.items())
    lines = [
        *first,
        ("Date", date_text()),
        *([("Fingerprints", f"{prints} (SHA-256)")] if prints else []),
        ("Made by", f"whybox {evidence.versions.get('whybox', '')}".strip()),
    ]
    return "<dl class=cover>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in lines) + "</dl>"
