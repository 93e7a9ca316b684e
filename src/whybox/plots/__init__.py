"""Figures: one file each, drawn with matplotlib from an Explanation and nothing else. Each takes ``ax=`` and returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.effects import Effects
    from whybox.explanation.explanation import Explanation

__all__ = ["EffectPlots", "Plots"]


@final
@dataclass(frozen=True)
class Plots:
    """``explanation.plot``."""

    explanation: Explanation

    def bar(
        self, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
    ) -> Axes:
        """Mean absolute attribution of each feature; see whybox.plots.bar."""
        from whybox.plots.bar import bar

        return bar(self.explanation, output=output, max_display=max_display, ax=ax, title=title)

    def beeswarm(
        self, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
    ) -> Axes:
        """One dot a row and feature, coloured by the feature's value; see whybox.plots.beeswarm."""
        from whybox.plots.beeswarm import beeswarm

        return beeswarm(self.explanation, output=output, max_display=max_display, ax=ax, title=title)

    def waterfall(
        self,
        row: Any = None,
        *,
        output: Any = None,
        max_display: int = 10,
        ax: Axes | None = None,
        title: str | None = None,
    ) -> Axes:
        """From base to prediction, for one row; see whybox.plots.waterfall."""
        from whybox.plots.waterfall import waterfall

        return waterfall(self.explanation, row, output=output, max_display=max_display, ax=ax, title=title)

    def scatter(
        self, feature: Any, *, color: Any = "auto", output: Any = None, ax: Axes | None = None, title: str | None = None
    ) -> Axes:
        """A feature's values against its attributions, coloured by its strongest interaction; see whybox.plots.scatter."""
        from whybox.plots.scatter import scatter

        return scatter(self.explanation, feature, color=color, output=output, ax=ax, title=title)

    def heatmap(
        self, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
    ) -> Axes:
        """Rows against features, or for interactions features against features; see whybox.plots.heatmap."""
        from whybox.plots.heatmap import heatmap

        return heatmap(self.explanation, output=output, max_display=max_display, ax=ax, title=title)

    def curve(
        self,
        *,
        color: Any = None,
        output: Any = None,
        ax: Axes | None = None,
        title: str | None = None,
        legend: bool = True,
    ) -> Axes:
        """An effect with its band, the data below it and what is off the data above it; see whybox.plots.curve."""
        from whybox.plots.curve import curve

        return curve(self.explanation, color=color, output=output, ax=ax, title=title, legend=legend)

    def overlay(  # what people change about a picture
        self,
        row: int = 0,
        *,
        output: Any = None,
        image: Any = None,
        percentile: float | None = None,
        blend: bool = True,
        bar: bool = True,
        ax: Axes | None = None,
        title: str | None = None,
    ) -> Axes:
        """A saliency map over its picture; see whybox.plots.saliency_image."""
        from whybox.plots.saliency_image import overlay

        return overlay(
            self.explanation,
            row,
            output=output,
            image=image,
            percentile=percentile,
            blend=blend,
            bar=bar,
            ax=ax,
            title=title,
        )

    def beside(
        self,
        *others: Explanation,
        row: int = 0,
        output: Any = None,
        image: Any = None,
        percentile: float | None = None,
        columns: int = 4,
        blend: bool = True,
        width: float = 3.5,
    ) -> Any:
        """The picture, this map and those of other methods side by side; see whybox.plots.saliency_image.beside."""
        from whybox.plots.saliency_image import beside

        return beside(
            [self.explanation, *others],
            row,
            output=output,
            image=image,
            percentile=percentile,
            columns=columns,
            blend=blend,
            width=width,
        )

    def track(self, row: int = 0, *, output: Any = None, ax: Axes | None = None, title: str | None = None) -> Axes:
        """A saliency map along its series; see whybox.plots.saliency_series."""
        from whybox.plots.saliency_series import track

        return track(self.explanation, row, output=output, ax=ax, title=title)

    def words(self, row: int = 0, *, output: Any = None, ax: Axes | None = None, title: str | None = None) -> Axes:
        """Tokens or words on grounds coloured by their values; see whybox.plots.saliency_image.words."""
        from whybox.plots.saliency_image import words

        return words(self.explanation, row, output=output, ax=ax, title=title)


@final
@dataclass(frozen=True)
class EffectPlots:
    """``effects.plot``."""

    effects: Effects

    def __call__(self, **options: Any) -> Any:
        """Draw the grid; see :meth:`grid`."""
        return self.grid(**options)

    def grid(
        self, *, max_display: int = 9, columns: int = 3, output: Any = None, color: Any = None, share_y: bool = True
    ) -> Any:
        """The features that move the prediction most side by side, on one scale; see whybox.plots.effects_grid."""
        from whybox.plots.effects_grid import panels

        return panels(
            self.effects, max_display=max_display, columns=columns, output=output, color=color, share_y=share_y
        )
