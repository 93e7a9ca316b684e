"""An explanation as a page of its own: predictions, and a figure with its numbers for each label."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from whybox.explanation.number_text import number_text
from whybox.reporting.page import html_page, html_table
from whybox.reporting.svg import html_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whybox.compat.lime.explanation import Explanation

__all__ = ["explanation_page", "in_notebook"]

HEIGHT_IN_NOTEBOOK: Final = 620  # pixels


def explanation_page(explanation: Explanation, labels: Sequence[int], *, predictions: bool) -> str:
    """Return the page.

    Args:
        labels: which are shown. predictions: whether those of the model are.
    """
    sections = []
    if predictions:
        sections.append(("predictions", "What does the model predict?", _prediction_table(explanation)))
    for label in labels:
        classes = explanation.mode == "classification"
        name = f"Class {explanation.label_name(label)}" if classes else "The prediction"
        sections.append((f"label-{label}", name, _figure(explanation, label)))
    return html_page("Local explanation", str(explanation.explanation.evidence.method), sections)


def _prediction_table(explanation: Explanation) -> str:
    if explanation.mode == "regression":
        return html_table(("", "prediction"), [("this row", number_text(float(explanation.predicted_value or 0.0)))])
    found = np.asarray(explanation.predict_proba)
    rows = [(explanation.label_name(k), number_text(float(found[k]))) for k in np.argsort(-found, kind="stable")]
    return html_table(("class", "prediction"), rows)


def _figure(explanation: Explanation, label: int) -> str:
    errors = explanation.std_errors[label]
    lines = [
        (str(name), number_text(weight), number_text(errors[j]) if errors[j] else "exact")
        for (j, _), (name, weight) in zip(explanation.local_exp[label], explanation.as_list(label), strict=True)
    ]
    fit = (
        f"The linear model says {number_text(explanation.local_preds[label])}, the model {number_text(explanation.own_prediction(label))}; "
        f"R squared {number_text(explanation.scores[label], 2)}."
    )
    return html_figure(
        lambda: explanation.draw(label),
        title="Weights of the linear model",
        description=fit,
        table=html_table(("feature", "weight", "standard error"), lines),
    )


def in_notebook(page: str) -> str:
    """Return a page in a frame of its own, so that its styles stay inside."""
    return f'<iframe srcdoc="{escape(page)}" style="width:100%;height:{HEIGHT_IN_NOTEBOOK}px;border:0"></iframe>'
