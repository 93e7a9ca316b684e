"""How the attributions of the top features depend on their values."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.explanation.feature_values import as_numbers, feature_values, number_labels, shown_values, strongest_partner
from whybox.explanation.html import number_text
from whybox.explanation.negligible import negligible_size
from whybox.plots.scatter import scatter
from whybox.plots.style import value_text
from whybox.reporting.facts import ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.sections.attributions import left_out
from whybox.reporting.svg import html_figure

__all__ = ["dependence_section"]

MAX_SCATTERS: Final = 6


def dependence_section(f: ReportData) -> str:
    """How the attributions of the top features depend on their values."""
    beyond = "" if f.explanation.std_error is None else ", where it is larger than the errors,"
    introduction = (
        f"<p>Each dot is one row, at the feature's value and what that value contributed. Vertical spread at one value{beyond} means "
        "that other features have a say; the colour shows the one that seems to have most.</p>"
    )
    out = [introduction]
    for e in f.views:
        names = [
            e.feature_names[j]
            for j in e.ordered()
            if np.ptp(e.values[:, j]) > negligible_size(e) and feature_values(e, e.feature_names[j]) is not None
        ][:MAX_SCATTERS]
        drawn = "".join(_dependence_figure(e, name) for name in names)
        heading = f"<h3>{escape(f.heading(e))}</h3>" if f.name(e) else ""
        out.append(
            f"{heading}<div class=grid>{drawn}</div>"
            if drawn
            else f"{heading}<p class=faint>No single column has attributions that vary.</p>"
        )
    return "".join(out) + left_out(f)


SECTION: Final = Section(
    "dependence",
    "What each value contributed",
    60,
    "values from which on the contribution changes, and how far dots at one value lie apart.",
    "that the feature in the colour is the cause of the spread; it is the one that goes along with it most.",
    dependence_section,
)


def _dependence_figure(e: Explanation, name: str) -> str:
    values = shown_values(e, name)
    assert values is not None  # noqa: S101  # the caller picked features with values
    y = e.values[:, e.feature_names.index(name)]
    other = strongest_partner(e, name)
    return html_figure(
        lambda: scatter(e, name, color=other),
        title=f"Dependence on {name}",
        description=f"{name}" + (f", coloured by {other}." if other else "."),
        table=html_table(("Value", "Rows", "Mean attribution", "Lowest", "Highest"), _value_groups(values, y)),
    )


def _value_groups(values: npt.NDArray[Any], y: Floats) -> list[tuple[str, ...]]:
    """Summarise attributions over ten ranges of the values, or over the commonest categories."""
    if values.dtype == object:
        words = np.array(["missing" if v is None else str(v) for v in values])
        categories, counts = np.unique(words, return_counts=True)
        masks = [(str(v), words == v) for v in categories[np.argsort(-counts)][:20]]
    else:
        x = as_numbers(values)
        finite = x[np.isfinite(x)]
        cuts = np.unique(np.quantile(finite, np.linspace(0, 1, 11))) if len(finite) else np.empty(0)
        place = np.clip(np.searchsorted(cuts, x, side="right") - 1, 0, max(len(cuts) - 2, 0))
        labels = number_labels(cuts, values.dtype) if values.dtype.kind in "mM" else [value_text(v) for v in cuts]
        masks = [
            (f"{labels[i]} to {labels[min(i + 1, len(cuts) - 1)]}", (place == i) & np.isfinite(x))
            for i in range(max(len(cuts) - 1, 1))
            if len(cuts)
        ]
        if np.isnan(x).any():
            masks.append(("missing", np.isnan(x)))
    return [
        (
            label,
            f"{int(m.sum()):,}",
            number_text(float(y[m].mean())),
            number_text(float(y[m].min())),
            number_text(float(y[m].max())),
        )
        for label, m in masks
        if m.any()
    ]
