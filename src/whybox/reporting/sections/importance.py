"""Which features the model relies on, over all rows."""

from __future__ import annotations

from typing import Final

import numpy as np

from whybox.explanation.html import number_text
from whybox.explanation.negligible import negligible_size
from whybox.numerics.rounding import ratio_above_rounding
from whybox.plots.bar import bar
from whybox.reporting.facts import MAX_CLASS_COLUMNS, MAX_FEATURES_DRAWN, MAX_TABLE_LINES, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["importance_section"]


def importance_section(f: ReportData) -> str:
    """Which features the model relies on, over all rows."""
    e = f.explanation
    size = np.abs(e.values).mean(axis=0)
    flat = size if size.ndim == 1 else size.sum(axis=1)
    order = np.argsort(-flat, kind="stable")
    shares = ratio_above_rounding(flat, flat.sum(), negligible_size(e).sum())
    each = e.output_names[:MAX_CLASS_COLUMNS] if size.ndim > 1 else ()
    lines = [
        (
            e.feature_names[j],
            number_text(float(flat[j])),
            f"{100 * shares[j]:.1f} %",
            *(number_text(float(size[j, k])) for k in range(len(each))),
            ", ".join(e.players.get(e.feature_names[j], ())),
        )
        for j in order[:MAX_TABLE_LINES]
    ]
    what = f"Sum over {len(e.output_names)} outputs" if each else "Mean |attribution|"
    more = f" (largest {MAX_TABLE_LINES} of {len(order):,})" if len(order) > MAX_TABLE_LINES else ""
    numbers = html_table(
        ("Feature", what, "Share", *each, "Columns"),
        lines,
        caption=f"Mean |attribution|, in {e.units}{more}",
        text=(3 + len(each),),
    )
    return (
        "<p>Mean absolute attribution over all rows: how far each feature moves a prediction, on average, in either direction.</p>"
        + html_figure(
            lambda: bar(e, max_display=MAX_FEATURES_DRAWN),
            title="Importance",
            description=f"The {min(MAX_FEATURES_DRAWN, len(order))} features that move predictions most."
            + (f" Each bar is the sum over {len(e.output_names)} outputs." if each else ""),
            table=numbers,
        )
    )


SECTION: Final = Section("importance", "What it relies on", 30, importance_section)
