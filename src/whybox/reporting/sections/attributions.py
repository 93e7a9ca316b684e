"""Where each row's attributions lie."""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt  # as elsewhere

from whybox.explanation.errors_of_values import includes_zero
from whybox.explanation.explanation import Explanation
from whybox.explanation.feature_values import as_numbers, feature_values
from whybox.explanation.html import number_text
from whybox.explanation.negligible import negligible_size, without_rounding
from whybox.numerics.statistics import spearman
from whybox.plots.beeswarm import beeswarm
from whybox.plots.style import unit_words
from whybox.reporting.estimates import paragraph_on_background, paragraph_on_errors
from whybox.reporting.facts import MAX_FEATURES_DRAWN, MAX_OUTPUTS_DRAWN, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["swarm_section"]

MAX_NEAR_ZERO: Final = (
    0.5  # of the rows, whose attributions are not distinguishable from 0: with more the direction is not clear
)


def swarm_section(f: ReportData) -> str:
    """Where each row's attributions lie."""
    caption = "<p>Each dot is one row. To the right of zero the feature raised this row's prediction, to the left it lowered it.</p>"
    errors = paragraph_on_errors(
        f.explanation,
        "The table counts the rows in which a feature is distinguishable from 0: its interval does not include 0.",
    )
    return (
        caption
        + errors
        + paragraph_on_background(f.explanation)
        + "".join(_swarm_figure(e, f.name(e), f.heading(e)) for e in f.views)
        + left_out(f)
    )


SECTION: Final = Section(
    "attributions",
    "What each feature did in each row",
    40,
    "features whose red and blue dots lie on different sides: there, high and low values push the prediction in different ways.",
    "that a feature is without use because its mean is near zero; it may raise some rows and lower others.",
    swarm_section,
)


def _swarm_figure(e: Explanation, name: str, heading: str) -> str:
    near_zero = None if e.std_error is None else includes_zero(e)
    shown = without_rounding(e)
    lines = [
        (
            e.feature_names[j],
            *(number_text(float(q)) for q in np.quantile(shown.values[:, j], [0, 0.25, 0.5, 0.75, 1])),
            _direction_of_values(e, int(j)),
            *(() if near_zero is None else (_rows_beyond_zero(near_zero[:, j]),)),
        )
        for j in e.ordered(MAX_FEATURES_DRAWN)
    ]
    head: tuple[str, ...] = ("Feature", "Lowest", "25 %", "Median", "75 %", "Highest", "High values")
    head = head if near_zero is None else (*head, "Distinguishable from 0")
    drawn = html_figure(
        lambda: beeswarm(e, max_display=MAX_FEATURES_DRAWN),
        title=f"Attributions {name}".strip(),
        description="Colour is the feature's own value: blue low, red high, grey where there is no order.",
        table=html_table(head, lines, caption=f"Attributions {unit_words(e)}", text=(6,)),
    )
    return (f"<h3>{escape(heading)}</h3>" if heading else "") + drawn


def _direction_of_values(e: Explanation, j: int) -> str:
    """Say in a word whether high values raise or lower the prediction (rank correlation)."""
    values = feature_values(e, e.feature_names[j])
    if values is None or values.dtype == object:
        return "no order"
    x, y = as_numbers(values), e.values[:, j]
    finite = np.isfinite(x)
    if finite.sum() < 3 or np.ptp(x[finite]) == 0 or np.ptp(y[finite]) <= negligible_size(e):
        return "no difference"
    if includes_zero(e)[:, j].mean() > MAX_NEAR_ZERO:
        return "not clear"
    r = spearman(x[finite], y[finite])
    return "raise it" if r > 0.3 else "lower it" if r < -0.3 else "mixed"


def _rows_beyond_zero(near_zero: npt.NDArray[np.bool_]) -> str:
    return f"{int((~near_zero).sum()):,} of {len(near_zero):,} rows"


def left_out(f: ReportData) -> str:
    left = len(f.explanation.output_names) - MAX_OUTPUTS_DRAWN
    if left <= 0:
        return ""
    return f"<p class=faint>{left} more {f.kinds_of_outputs if left > 1 else f.kind_of_outputs} {'are' if left > 1 else 'is'} in the numbers but not drawn.</p>"
