"""How well the model does on the rows of the report."""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy as np

from whybox.explanation.html import number_text
from whybox.reporting.facts import MAX_CLASS_COLUMNS, ReportData
from whybox.reporting.page import html_table
from whybox.reporting.performance import Performance
from whybox.reporting.section import Section
from whybox.reporting.svg import html_figure

__all__ = ["performance_section"]

_TRAINED_ON: Final = {
    None: "If the model was trained on these rows, the scores flatter it.",
    "train": "The model was trained on these rows, so the scores flatter it.",
    "held-out": "These rows were held out from training.",
}


def performance_section(f: ReportData) -> str | None:
    """How well the model does on these rows."""
    p = f.performance
    if p is None:
        return None
    cards = "".join(
        f"<div class=card><b>{number_text(v)}</b><span>{escape(name)}</span></div>" for name, v, _ in p.scores
    )
    meaning = html_table(
        ("Score", "Value", "Meaning"), [(name, number_text(v), what) for name, v, what in p.scores], text=(2,)
    )
    name = f.asked.truth_name
    against = "the target given" if name is None else f"the column <code>{escape(name)}</code>"
    note = f"<p class=faint>Measured on the {len(p.truth):,} rows of this report against {against}. {_TRAINED_ON[f.role]}</p>"
    picture = _fit_figure(p) if p.task == "regression" else _confusion_figure(f, p)
    return f"<div class=cards>{cards}</div>{note}{picture}<details><summary>What the scores mean</summary>{meaning}</details>"


SECTION: Final = Section(
    "performance",
    "How well it predicts",
    20,
    "how far the scores are above those of a guess, and which mistakes are common.",
    "that it does as well on rows of another place or time; the scores hold for rows like these.",
    performance_section,
    begins_page=False,
)


def _fit_figure(p: Performance) -> str:
    rows = (
        np.random.default_rng(0).choice(len(p.truth), 2500, replace=False)
        if len(p.truth) > 2500
        else np.arange(len(p.truth))
    )

    def draw() -> Any:
        from whybox.plots.style import NEGATIVE, axes_or_new, faint_text_color, style_axes

        ax = axes_or_new(None, 4.6, 4.2)
        ax.scatter(p.predicted[rows], p.truth[rows], s=11, color=NEGATIVE, linewidths=0, alpha=0.9, rasterized=True)
        low, high = float(min(p.truth.min(), p.predicted.min())), float(max(p.truth.max(), p.predicted.max()))
        ax.plot([low, high], [low, high], color=faint_text_color(0.6), linewidth=0.9, linestyle=(0, (4, 3)))
        ax.set_xlabel("predicted")
        ax.set_ylabel("true")
        ax.set_title("Prediction and truth", loc="left")
        style_axes(ax, grid="both")
        return ax

    cuts = np.quantile(p.predicted, np.linspace(0, 1, 11))
    place = np.clip(np.searchsorted(cuts, p.predicted, side="right") - 1, 0, 9)
    lines = [
        (
            f"{number_text(cuts[i])} to {number_text(cuts[i + 1])}",
            f"{int((place == i).sum()):,}",
            number_text(float(p.predicted[place == i].mean())),
            number_text(float(p.truth[place == i].mean())),
        )
        for i in range(10)
        if (place == i).any()
    ]
    numbers = html_table(("Predicted", "Rows", "Mean predicted", "Mean true"), lines)
    return html_figure(
        draw,
        title="Prediction and truth",
        description="One dot a row; on the dashed line the prediction is right.",
        table=numbers,
    )


def _confusion_figure(f: ReportData, p: Performance) -> str:
    k = len(p.classes)
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (p.truth.astype(int), p.predicted.astype(int)), 1)
    shown = min(k, MAX_CLASS_COLUMNS)
    head = ("True class", *(f"predicted {f.class_words(j)}" for j in range(shown)), "rows")
    lines = [
        (f.class_words(i), *(f"{counts[i, j]:,}" for j in range(shown)), f"{counts[i].sum():,}") for i in range(shown)
    ]
    return html_table(
        head, lines, caption="Confusion matrix" + (f" (first {shown} of {k} classes)" if k > shown else "")
    )
