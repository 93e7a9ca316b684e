"""Figures: one file each, drawn with matplotlib from an Explanation and nothing else. Each takes ``ax=`` and returns it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from whybox.explanation.explanation import Explanation

__all__ = ["Plots"]


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
