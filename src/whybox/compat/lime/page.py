"""An explanation as a page of its own: predictions, and a figure with its numbers for each label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final, final

from whybox.explanation.number_text import number_text
from whybox.reporting.page import html_page, html_table
from whybox.reporting.svg import html_figure

__all__ = ["LabelFigure", "explanation_page", "in_notebook"]

HEIGHT_IN_NOTEBOOK: Final = 620  # pixels


@final
@dataclass(frozen=True, eq=False)
class LabelFigure:
    """What a page shows of one label.

    Attributes:
        heading: above the figure. draw: returns the axes that were drawn on. weights: name, weight and standard error of each feature.
        local_prediction, prediction, r_squared: of the linear model, of the model, and how well the two agree.
    """

    heading: str
    draw: Callable[[], Any]
    weights: Sequence[tuple[Any, float, float]]
    local_prediction: float
    prediction: float
    r_squared: float

    def html(self) -> str:
        """Return the figure, with its numbers behind a fold."""
        lines = [(str(name), number_text(w), number_text(e) if e else "exact") for name, w, e in self.weights]
        return html_figure(
            self.draw,
            title="Weights of the linear model",
            description=f"The linear model says {number_text(self.local_prediction)}, the model {number_text(self.prediction)}; "
            f"R squared {number_text(self.r_squared, 2)}.",
            table=html_table(("feature", "weight", "standard error"), lines),
        )


def explanation_page(method: str, predictions: Sequence[tuple[str, float]], figures: Sequence[LabelFigure]) -> str:
    """Return the page.

    Args:
        method: in words. predictions: class and prediction; empty: they are not shown. figures: of the labels.
    """
    sections = [(f"label-{k}", figure.heading, figure.html()) for k, figure in enumerate(figures)]
    if predictions:
        lines = [(name, number_text(value)) for name, value in sorted(predictions, key=lambda each: -each[1])]
        sections.insert(0, ("predictions", "What does the model predict?", html_table(("", "prediction"), lines)))
    return html_page(f"Local explanation · {method}", sections)


def in_notebook(page: str) -> str:
    """Return a page in a frame of its own, so that its styles stay inside."""
    return f'<iframe srcdoc="{escape(page)}" style="width:100%;height:{HEIGHT_IN_NOTEBOOK}px;border:0"></iframe>'
