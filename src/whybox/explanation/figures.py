"""Names of the figures, and where each is drawn: a result finds its figures by name and imports none of them.

Every figure is a function of one explanation (or of effects) in a file of plots/. A new one is that file and one line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MethodType
from typing import Any, Final, final

from whybox.errors import did_you_mean
from whybox.explanation.local_words import has_words

__all__ = ["ATTRIBUTED_TEXTS", "EFFECTS_FIGURES", "FIGURE_SPECS", "OF_TEXTS", "EffectsFigures", "FigureSpec", "Figures"]


@final
@dataclass(frozen=True)
class FigureSpec:
    """One figure.

    Attributes:
        drawn_by: ``"module:function"``; its first argument is what is drawn. kinds: of explanations that it can draw, or OF_TEXTS, ATTRIBUTED_TEXTS.
    """

    drawn_by: str
    kinds: tuple[str, ...]

    def load_function(self) -> Callable[..., Any]:
        """Import the function."""
        module, _, name = self.drawn_by.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


OF_TEXTS: Final = "local values of texts"  # of the kind local, with figures of their own
ATTRIBUTED_TEXTS: Final = "attributions of texts"
FIGURE_SPECS: Final[Mapping[str, FigureSpec]] = {
    "bar": FigureSpec(
        "whybox.plots.bar:bar", ("attribution", "importance", "local", "rule", "saliency", ATTRIBUTED_TEXTS)
    ),
    "dots": FigureSpec("whybox.plots.dots:dots", ("importance",)),
    "agreement": FigureSpec("whybox.plots.agreement:agreement", ("agreement",)),
    "local": FigureSpec("whybox.plots.local:local", ("local", OF_TEXTS)),
    "rule": FigureSpec("whybox.plots.rule:rule", ("rule",)),
    "beeswarm": FigureSpec("whybox.plots.beeswarm:beeswarm", ("attribution", "local", "saliency")),
    "waterfall": FigureSpec("whybox.plots.waterfall:waterfall", ("attribution", ATTRIBUTED_TEXTS)),
    "scatter": FigureSpec("whybox.plots.scatter:scatter", ("attribution", "interaction", "local", "saliency")),
    "heatmap": FigureSpec(
        "whybox.plots.heatmap:heatmap", ("attribution", "interaction", "interaction_size", "local", "saliency")
    ),
    "curve": FigureSpec("whybox.plots.curve:curve", ("effect",)),
    "overlay": FigureSpec("whybox.plots.saliency_image:overlay", ("saliency",)),
    "beside": FigureSpec("whybox.plots.saliency_image:beside", ("saliency",)),
    "track": FigureSpec("whybox.plots.saliency_series:track", ("saliency",)),
    "words": FigureSpec("whybox.plots.saliency_image:words", ("saliency", OF_TEXTS, ATTRIBUTED_TEXTS)),
}
EFFECTS_FIGURES: Final[Mapping[str, FigureSpec]] = {"grid": FigureSpec("whybox.plots.effects_grid:grid", ("effects",))}


class _FiguresByName:
    """Figures of one result, by name."""

    def __init__(self, result: Any, kind: str, figures: Mapping[str, FigureSpec]) -> None:
        self._result, self._kind, self._figures = result, kind, figures

    def __getattr__(self, name: str) -> Any:
        """Return the function that draws, with the result in its first place.

        Raises:
            AttributeError: there is no figure of this name.
        """
        if name.startswith("_") or name not in self._figures:
            raise AttributeError(f"there is no figure {name!r}.{did_you_mean(name, self._figures)}")
        return MethodType(self._figures[name].load_function(), self._result)

    def __dir__(self) -> list[str]:
        return [name for name, figure in self._figures.items() if self._kind in figure.kinds]

    def __repr__(self) -> str:
        return f"figures: {', '.join(dir(self))}"


@final
class Figures(_FiguresByName):
    """``explanation.plot``: ``explanation.plot.bar()``."""

    def __init__(self, explanation: Any) -> None:
        of_texts = ATTRIBUTED_TEXTS if explanation.kind == "attribution" else OF_TEXTS
        super().__init__(explanation, of_texts if has_words(explanation) else explanation.kind, FIGURE_SPECS)


@final
class EffectsFigures(_FiguresByName):
    """``effects.plot``: ``effects.plot()`` and ``effects.plot.grid()``."""

    def __init__(self, effects: Any) -> None:
        super().__init__(effects, "effects", EFFECTS_FIGURES)

    def __call__(self, **options: Any) -> Any:
        """Draw the features that move the prediction most side by side; see whybox.plots.effects_grid."""
        return self.grid(**options)
