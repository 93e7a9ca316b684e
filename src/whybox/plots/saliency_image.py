"""Saliency maps: over their picture, several side by side, or as coloured words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.explanation.local_words import has_words
from whybox.plots.local_words import local_words
from whybox.plots.style import (
    NEGATIVE,
    POSITIVE,
    axes_or_new,
    diverging_colormap,
    faint_text_color,
    number_in_figure,
    one_output,
    shorten_label,
    text_color,
    thousands_formatter,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from whybox.explanation.explanation import Explanation

__all__ = [
    "beside",
    "color_scale",
    "cut_note",
    "legend_of",
    "narrow_title",
    "of_row",
    "overlay",
    "picture_of",
    "target_of",
    "title_of",
    "word_colors",
    "words",
]

ALL_VALUES: Final = 100.0  # percentile of |values| at which the colours end: none lies beyond
SPIKE_PERCENTILE: Final = 99.0  # where they end if a few positions have much larger values than the others
MAX_WORD_COLOUR: Final = (
    0.75  # opacity of the colour of the largest word: text on light and on dark pages has a contrast of 4.5 on it
)
CHARACTERS_PER_INCH: Final = 8  # of a title
SPIKE_FACTOR: Final = (
    2.0  # times the value at SPIKE_PERCENTILE: colours up to a larger maximum would hide the rest of the map
)


def overlay(  # noqa: PLR0913  # what people change about a picture
    e: Explanation,
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
    """Draw the map of one row over its own picture.

    Signed maps have a scale that is symmetric about zero. If it ends before the largest value, the figure says how many positions lie beyond.

    Args:
        e: a saliency map with the axes (y, x).
        row: position of the row. output: which of several outputs.
        image: (height, width[, 3 or 4]) to draw under the map, of any size and in its own proportions, bytes or 0 to 1; None: the input itself, scaled to
            its own range.
        percentile: of all absolute values, where the colours end, above 50 and at most 100. None: 100, but 99 if the largest is more than twice the value
            there, as in maps of single pixels, whose other values would be invisible.
        blend: larger values are more opaque; False: the map alone. bar: with a colour bar.
        ax: where to draw. title: in place of the default.

    Returns:
        The axes.

    Raises:
        OptionError: a map with other axes, no such row, or `image` is not an image.
    """
    e = of_row(e, row, output)
    if e.dims != ("y", "x"):
        raise OptionError(
            f"overlay shows maps with the axes y and x; this one has {', '.join(e.dims)}. {_OTHER_FIGURES.get(e.dims, _OTHER_FIGURES[()])}"
        )
    if percentile is not None and not 50 < percentile <= 100:
        raise OptionError(Argument("percentile", percentile), " must be above 50 and at most 100.")
    values = e.values
    signed, limit, beyond = color_scale(values, percentile)
    height, width = values.shape
    alone = ax is None
    ax = axes_or_new(ax, 4.6 if bar else 3.8, 3.9)
    under = _as_picture(e, image)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    if under is not None:
        ax.imshow(under, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest", rasterized=True)
    colours, low = (_signed_colormap(), -limit) if signed else (_unsigned_colormap(), 0.0)
    opacity = np.clip(np.abs(values) / limit, 0, 1) ** COLOUR_POWER * 0.9 if blend and under is not None else None
    shown = ax.imshow(
        values,
        extent=extent,
        cmap=_colours_of_signs() if signed and opacity is not None else colours,
        vmin=low,
        vmax=limit,
        alpha=opacity,
        interpolation="nearest",
        rasterized=True,
    )
    if image is not None and under is not None:
        ax.set_aspect(under.shape[0] / under.shape[1] * width / height)
    if bar:
        _add_color_bar(ax, shown, e, colours, (low, limit), beyond)
    ax.set_xlabel(cut_note(values, beyond), fontsize="x-small", loc="left")
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_title(title if title is not None else title_of(e), loc="left", fontsize="medium")
    if alone and bar:
        figure: Any = ax.figure
        figure.draw_without_rendering()  # the layout then knows how wide the ticks of the colour bar are
    return ax


COLOUR_POWER: Final = 0.7  # power that makes values of middle size visible over a picture
_OTHER_FIGURES: Final = {
    ("token",): "Use plot.words.",
    ("word",): "Use plot.words.",
    ("time",): "Use plot.track.",
    ("time", "feature"): "Use plot.track; a picture in grey needs an axis of one channel.",
    ("feature", "time"): "Use plot.track.",
    ("feature",): "Take all rows, and plot.bar, beeswarm or heatmap.",
    (): "Leave reduce= out, or take one channel: e[:, 0].",
}


def of_row(e: Explanation, row: int, output: Any) -> Explanation:
    """Select the map of one row and one output.

    Raises:
        OptionError: no saliency map, no such row, or no such output.
    """
    if not hasattr(e, "kind"):
        raise OptionError(
            f"this figure takes saliency maps; it got {e!r}. A row is named: ", Argument("row", example="0"), "."
        )
    if e.kind != "saliency":
        raise OptionError(f"this figure shows saliency maps; this is an explanation of kind {e.kind!r}.")
    e = one_output(e, output, "saliency map")
    if "row" not in e.dims:
        return e
    if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not -len(e) <= row < len(e):
        raise OptionError(Argument("row", row), f": there are {len(e)} rows, 0 to {len(e) - 1}.")
    return e[int(row)]


def color_scale(values: Floats, percentile: float | None) -> tuple[bool, float, float]:
    """Return (whether there are negative values, the absolute value at which the colours end, the share of positions beyond)."""
    magnitudes = np.abs(values)
    largest = float(magnitudes.max(initial=0.0))
    if largest == 0:
        return False, 1.0, 0.0
    if percentile is None:
        percentile = (
            SPIKE_PERCENTILE
            if largest > SPIKE_FACTOR * float(np.percentile(magnitudes, SPIKE_PERCENTILE))
            else ALL_VALUES
        )
    limit = float(np.percentile(magnitudes, percentile))
    if limit <= 1e-12 * largest:
        limit = largest
    return bool((values < 0).any()), limit, float((magnitudes > limit * (1 + 1e-9)).mean())


def _unsigned_colormap() -> Colormap:
    import matplotlib as mpl

    return mpl.colormaps["inferno"]


def _signed_colormap() -> Colormap:
    """Blue for negative values, red for positive ones; readable over a grey picture."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("whybox for and against", [NEGATIVE, "#dfe6ea", POSITIVE])


def _colours_of_signs() -> Colormap:
    """Blue below zero, red above, each of one strength: over a picture the opacity says how large, and pale colours of small values would be taken for the picture."""
    from matplotlib.colors import ListedColormap

    return ListedColormap([NEGATIVE, POSITIVE], "whybox signs")


def _add_color_bar(
    ax: Axes, shown: Any, e: Explanation, colours: Colormap, limits: tuple[float, float], beyond: float
) -> None:
    """Draw a colour bar in opaque colours, though the map itself may be translucent."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    full = ScalarMappable(Normalize(*limits), colours)
    signed = limits[0] < 0
    # as high as the picture, whatever the layout; inches from its right edge, since the layout leaves room before the picture has its last size
    of_picture: Any = ax.transAxes
    inches = ax.figure.dpi_scale_trans + ScaledTranslation(1, 0, of_picture)
    room = ax.inset_axes((0.1, 0.0, 0.15, 1.0), transform=blended_transform_factory(inches, of_picture))
    bar = ax.figure.colorbar(
        full, cax=room, format=thousands_formatter(), extend=("both" if signed else "max") if beyond else "neither"
    )
    bar.set_label(e.units, color=text_color(), fontsize="small")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize="small")


def _as_picture(e: Explanation, image: Any) -> npt.NDArray[Any] | None:
    """The picture under the map, in grey, from 0 to 1; None if the explanation holds none."""
    if image is None:
        stored = e.extras.get("input")
        if stored is None or set(stored[0]) - {"channel", "input_channel"} != {"y", "x"}:
            return None
        dims, array = ["channel" if d == "input_channel" else d for d in stored[0]], stored[1]
        x = np.asarray(array, dtype=np.float64)
        if "channel" in dims:
            x = np.moveaxis(x, dims.index("channel"), -1)
            low, high = x.min(axis=(0, 1)), x.max(axis=(0, 1))
            x = ((x - low) / np.maximum(high - low, 1e-12)).mean(axis=-1)
        low, high = float(x.min()), float(x.max())
        return np.asarray((x - low) / max(high - low, 1e-12))
    x = np.asarray(image)
    if x.ndim not in (2, 3) or (x.ndim == 3 and x.shape[2] not in (1, 3, 4)) or x.dtype.kind not in "uif":
        raise OptionError(
            f"image must be (height, width) or (height, width, 3); it has the shape {x.shape} and holds {x.dtype}."
        )
    x = x / 255 if x.dtype.kind in "ui" else x.astype(np.float64)
    if x.min() < 0 or x.max() > 1 + 1e-9:
        raise OptionError("image must hold bytes, or numbers from 0 to 1.")
    return np.asarray(
        x if x.ndim == 2 else x[..., :3] @ np.array([0.299, 0.587, 0.114]) if x.shape[2] >= 3 else x[..., 0]
    )


def title_of(e: Explanation) -> str:
    """Title of a figure: the method, the channel that was picked, the output that is explained, and its score."""
    name = target_of(e)
    picked = "channel" in e.coords and "channel" not in e.dims
    about = f" · channel {shorten_label(str(e.coords['channel'][0]), 24)}" if picked else ""
    about += "" if name is None else f" · {shorten_label(name, 24)}"
    score = (
        ""
        if e.prediction is None or np.size(e.prediction) != 1
        else f" · score {number_in_figure(np.ravel(e.prediction)[0], 3)}"
    )
    return f"{e.evidence.method}{about}{score}"


def target_of(e: Explanation) -> str | None:
    """Return the output that the map of one row explains, by its name or as ``output 281``; None if the network has one only."""
    name, target, target_name = e.output_name, e.extras.get("target"), e.extras.get("target_name")
    if name is not None:
        return f"{'output ' if name.isdigit() else ''}{name}"
    if target_name is not None and np.size(target_name[1]) == 1:
        return str(np.ravel(target_name[1])[0])
    if target is not None and np.size(target[1]) == 1:
        return f"output {int(np.ravel(target[1])[0])}"
    return None


def narrow_title(e: Explanation, width: float) -> str:
    """The title in lines that fit a figure of this width in inches, so that it does not reach into the next one."""
    title = title_of(e).replace(" · ", "\n", 1)
    return title.replace(" · ", "\n") if len(title.partition("\n")[2]) > CHARACTERS_PER_INCH * width else title


def picture_of(e: Explanation, row: int = 0, *, ax: Axes | None = None) -> Axes | None:
    """Draw the input of a map in grey; None if the explanation does not hold it as a picture."""
    e = of_row(e, row, None)
    under = _as_picture(e, None)
    return None if under is None else _show_picture(under, e, axes_or_new(ax, 3.8, 3.9))


def _show_picture(under: npt.NDArray[Any], e: Explanation, ax: Axes) -> Axes:
    height, width = e.values.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(under, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="nearest", rasterized=True)
    ax.set_title("input", loc="left", fontsize="medium")
    ax.set_axis_off()
    return ax


def beside(
    e: Explanation,
    *others: Explanation,
    row: int = 0,
    output: Any = None,
    image: Any = None,
    percentile: float | None = None,
    columns: int = 4,
    blend: bool = True,
    width: float = 3.5,
) -> npt.NDArray[Any]:
    """Draw the picture of a row, then its maps by several methods, each on its own scale.

    Args:
        e, others: maps of the same rows. row: position. columns: figures in a line. width: of each, in inches. Others as :func:`overlay`.

    Returns:
        The axes: of the picture if there is one, then one for each map.

    Raises:
        OptionError: maps of different shapes.
    """
    import matplotlib.pyplot as plt

    singles = [of_row(each, row, output) for each in (e, *others)]
    first = singles[0]
    shapes = list(dict.fromkeys(single.values.shape for single in singles))
    if len(shapes) > 1:
        raise OptionError(f"maps side by side must have one shape; these have {' and '.join(map(str, shapes))}.")
    if first.dims != ("y", "x"):
        raise OptionError(
            f"beside shows maps with the axes y and x; these have {', '.join(first.dims)}. {_OTHER_FIGURES.get(first.dims, _OTHER_FIGURES[()])}"
        )
    under = _as_picture(first, image)
    extra = int(under is not None)
    count = len(singles) + extra
    columns = min(columns, count)
    lines = -(-count // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(width * columns, (0.8 * width + 0.35) * lines), layout="constrained", squeeze=False
    )
    cells = grid.ravel()
    for cell in cells[count:]:
        cell.set_axis_off()
    if under is not None:
        _show_picture(under, first, cells[0])
    for cell, single in zip(cells[extra:], singles, strict=False):
        overlay(single, image=image, percentile=percentile, blend=blend, ax=cell, title=narrow_title(single, width))
    del figure
    return np.asarray(cells[:count])


def words(
    e: Explanation, row: int = 0, *, output: Any = None, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Write the tokens or words of one row, each on a background coloured by its value.

    Args:
        e: a saliency map over tokens or words, or local values or attributions of texts (whybox.plots.local_words). row: position. output: which of several outputs.
        ax: where to draw. title: in place of the default.

    Returns:
        The axes.

    Raises:
        OptionError: not a map over tokens or words.
    """
    if has_words(e):
        return local_words(e, row, output=output, ax=ax, title=title)
    e = of_row(e, row, output)
    if e.dims not in (("token",), ("word",)):
        raise OptionError(f"words shows maps over tokens or words; this one has the axes {e.dims}.")
    dim = e.dims[0]
    stored = e.extras.get(dim)
    texts = [str(t) for t in (stored[1] if stored is not None else e.coords[dim])]
    present = np.isfinite(e.values)
    largest = max(float(np.abs(e.values[present]).max(initial=0.0)), 1e-300)
    positions, height = _lay_out([shorten_label(t, 40) for t in texts], present)
    ax = axes_or_new(ax, 8, 0.95 + 0.36 * height)
    ax.set_xlim(0, _LINE_CHARACTERS)
    ax.set_ylim(height, -0.7)
    colours = diverging_colormap()
    for k, x, y in positions:
        background = colours(0.5 + 0.5 * float(e.values[k]) / largest)
        ink_colour = "white" if sum(background[:3]) < 1.5 else "black"
        ax.text(
            x, y, shorten_label(texts[k], 40), family="monospace", fontsize=10, va="center", ha="left", color=ink_colour,
            bbox={"boxstyle": "round,pad=0.22", "facecolor": background, "edgecolor": "none"},
        )  # fmt: skip
    ax.set_axis_off()
    ax.set_title(title if title is not None else title_of(e), loc="left", fontsize="medium")
    ax.text(
        0,
        height - 0.55,
        legend_of(e),
        fontsize="x-small",
        va="top",
        color=faint_text_color(0.8),
    )
    return ax


def word_colors(e: Explanation) -> list[str]:
    """Return the CSS colour of each token or word of one row, transparent at 0, so that text is readable on it on light and dark pages."""
    from matplotlib.colors import to_rgb

    values = np.where(np.isfinite(e.values), e.values, 0.0)
    largest = max(float(np.abs(values).max(initial=0.0)), 1e-300)
    colours = []
    for v in values:
        r, g, b = (round(255 * c) for c in to_rgb(POSITIVE if v > 0 else NEGATIVE))
        colours.append(f"rgba({r}, {g}, {b}, {MAX_WORD_COLOUR * abs(float(v)) / largest:.3f})")
    return colours


def legend_of(e: Explanation) -> str:
    """Say what the colours of words mean."""
    values = e.values[np.isfinite(e.values)]
    if not values.any():
        return "the map is 0 everywhere"
    meaning = "red is positive, blue negative" if (values < 0).any() else "the stronger the red, the larger"
    return f"{meaning}; largest {float(np.abs(values).max()):.2g} ({e.units})"


_LINE_CHARACTERS: Final = 88.0  # in a line of the figure


def _lay_out(texts: Sequence[str], present: npt.NDArray[np.bool_]) -> tuple[list[tuple[int, float, float]], int]:
    """Break words into lines; return (index, column, line) of each word, and the number of lines."""
    positions: list[tuple[int, float, float]] = []
    x, y = 0.0, 0
    for k, text in enumerate(texts):
        if not present[k]:
            continue
        wide = len(text) + 1.6
        if x + wide > _LINE_CHARACTERS and x > 0:
            x, y = 0.0, y + 1
        positions.append((k, x, float(y)))
        x += wide
    return positions, y + 1


def cut_note(values: Floats, beyond: float) -> str:
    """Text below a map: that it is 0 everywhere, or how much of it lies beyond the colours; else empty."""
    if not values.any():
        return "the map is 0 everywhere"
    return f"{beyond:.2%} of positions are beyond the colours" if beyond else ""
