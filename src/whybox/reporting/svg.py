"""Figures as SVG that follows the page: ink and grid take the page's colours, so one drawing serves light, dark and print."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["folded_table", "html_figure", "html_panels"]

# Colours that stand for the page's own; chosen so that no plot uses them for anything else.
_INK_COLOR: Final = "#010203"
_PAPER_COLOR: Final = "#fdfcfb"
_FONT: Final = "'DejaVu Sans', Verdana, 'Segoe UI', Arial, sans-serif"


@contextmanager
def _page_style() -> Iterator[None]:
    import matplotlib as mpl

    settings: Any = {
        "text.color": _INK_COLOR,
        "axes.labelcolor": _INK_COLOR,
        "axes.edgecolor": _INK_COLOR,
        "axes.titlecolor": _INK_COLOR,
        "xtick.color": _INK_COLOR,
        "ytick.color": _INK_COLOR,
        "legend.labelcolor": _INK_COLOR,
        "figure.facecolor": _PAPER_COLOR,  # seen only behind labels; the figure itself is drawn transparent
        "axes.facecolor": "none",
        "svg.fonttype": "none",
        "svg.hashsalt": "whybox",
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "axes.titlesize": 10.0,
        "figure.dpi": 100,
    }
    with mpl.rc_context(settings):
        yield


def html_figure(draw: Callable[[], Axes], *, title: str, description: str, table: str, dpi: int = 130) -> str:
    """Draw a figure and return it as HTML: the picture, and behind a fold the numbers it shows.

    Args:
        draw: returns the axes drawn on. title, description: for people who do not see the picture. table: HTML of the numbers.
        dpi: of the parts that are drawn as points (clouds).
    """
    return folded_table(
        f"<div class=picture>{_drawn_svg(draw, f'{title}. {description}', dpi)}</div>", description, table
    )


def html_panels(
    draws: Sequence[Callable[[], Axes]], *, title: str, description: str, table: str, dpi: int = 130
) -> str:
    """Draw small figures that stand beside each other as far as the page is wide, and below each other where it is narrow.

    Args:
        draws: each returns the axes of a figure of its own. Others as :func:`html_figure`.
    """
    drawn = "".join(_drawn_svg(draw, f"{title}. {description}", dpi) for draw in draws)
    return folded_table(f"<div class=panels>{drawn}</div>", description, table)


def folded_table(drawn: str, description: str, table: str) -> str:
    """A drawing in HTML, what it shows, and behind a fold the numbers."""
    return (
        f"<figure>{drawn}<figcaption>{escape(description)}</figcaption>"
        f"<details><summary>The numbers in this picture</summary>{table}</details></figure>"
    )


def _drawn_svg(draw: Callable[[], Axes], description: str, dpi: int) -> str:
    import matplotlib as mpl

    mpl.use("agg", force=False)
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with _page_style():
        drawing: Any = draw().figure
        layout = drawing.get_layout_engine()
        if layout is not None and any(ax.get_aspect() != "auto" for ax in drawing.axes):
            layout.execute(drawing)  # one pass, as in writing, leaves labels of colour bars beside pictures outside
        drawing.patch.set_facecolor("none")
        drawing.set_dpi(dpi)
        buffer = io.StringIO()
        # savefig would lay out and draw everything once more, into nothing
        canvas: Any = FigureCanvasSVG(drawing)  # has no types
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
        plt.close(drawing)
    svg = _follow_page(buffer.getvalue())
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(description, quote=True)}" ', 1)


def _follow_page(svg: str) -> str:
    """Replace ink by the page's colour, fix the size to the page's width, and drop what a page does not need."""
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg [^>]*?) width="([\d.]+)pt" height="[\d.]+pt"', r'\1 width="\2pt"', svg, count=1)
    svg = (
        svg.replace(_INK_COLOR, "currentColor")
        .replace(_PAPER_COLOR, "var(--paper)")
        .replace("DejaVu Sans", _FONT.replace("'", "&apos;"))
    )
    svg = re.sub(
        r"font: ([\d.]+)px &apos;.*?sans-serif(&apos;)?", rf"font: \1px {_FONT.replace(chr(39), '&apos;')}", svg
    )
    return re.sub(r"\n\s*", "\n", svg)
