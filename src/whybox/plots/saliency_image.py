"""Saliency maps: over the picture they are of, several side by side, or as words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.data.table import Floats
from whybox.errors import Argument, OptionError
from whybox.plots.style import NEGATIVE, POSITIVE, axes, diverging, ink, muted, one_output, short, thousands

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from whybox.explanation.explanation import Explanation

__all__ = [
    "beside",
    "cut_note",
    "legend_of",
    "narrow_title",
    "of_row",
    "overlay",
    "picture_of",
    "scale",
    "title_of",
    "word_colors",
    "words",
]

ALL_VALUES: Final = 100.0  # percentile of |values| at which the colours end: all of them
SPIKE_PERCENTILE: Final = 99.0  # where they end when a few places tower above the others
MAX_WORD_COLOUR: Final = 0.75  # share of colour under the largest word: ink of either page has a contrast of 4.5 on it
CHARACTERS_PER_INCH: Final = 8  # of a title, in an inch
SPIKE_FACTOR: Final = 2.0  # times the value there: with colours up to the largest, nothing else of such a map is seen


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
    """Draw the map of one row over the row itself.

    Signed maps have a scale that is symmetric about zero. Where it ends before the largest value, the picture says how many places lie beyond.

    Args:
        e: a saliency map with places (y, x).
        row: position of the row. output: which of several outputs.
        image: (height, width[, 3 or 4]) to draw under the map, of any size, bytes or 0 to 1; None: the input itself, stretched to its own range.
        percentile: of all absolute values, where the colours end, above 50 and at most 100. None: 100, but 99 where the largest is more than twice what
            stands there, as in maps of single pixels: else nothing is seen of the others.
        blend: colours stronger where the map is; False: the bare map. bar: with a colour bar.
        ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: no map of places, no such row, or an image that is none.
    """
    e = of_row(e, row, output)
    if e.dims != ("y", "x"):
        raise OptionError(
            f"overlay shows maps with the axes y and x; this one has {', '.join(e.dims)}. {_OTHERWISE.get(e.dims, _OTHERWISE[()])}"
        )
    if percentile is not None and not 50 < percentile <= 100:
        raise OptionError(Argument("percentile", percentile), " must be above 50 and at most 100.")
    values = e.values
    signed, most, beyond = scale(values, percentile)
    height, width = values.shape
    ax = axes(ax, 4.6 if bar else 3.8, 3.9)
    under = _picture(e, image)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    if under is not None:
        ax.imshow(under, extent=extent, cmap="gray", vmin=0, vmax=1, interpolation="nearest", rasterized=True)
    colours, low = (_signed(), -most) if signed else (_unsigned(), 0.0)
    strength = np.clip(np.abs(values) / most, 0, 1) ** COLOUR_POWER * 0.9 if blend and under is not None else None
    shown = ax.imshow(
        values,
        extent=extent,
        cmap=colours,
        vmin=low,
        vmax=most,
        alpha=strength,
        interpolation="nearest",
        rasterized=True,
    )
    if bar:
        _bar(ax, shown, e, colours, (low, most), beyond)
    footnote = cut_note(values, beyond)
    ax.set_xlabel(footnote, fontsize="x-small", loc="left")
    ax.set_xticks([])
    ax.set_yticks([])
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_title(title if title is not None else title_of(e), loc="left", fontsize="medium")
    return ax


COLOUR_POWER: Final = 0.7  # power that makes middling values visible over a picture
_OTHERWISE: Final = {
    ("token",): "Use plot.words.",
    ("word",): "Use plot.words.",
    ("time",): "Use plot.track.",
    ("time", "feature"): "Use plot.track; a picture in grey needs an axis of one channel.",
    ("feature", "time"): "Use plot.track.",
    ("feature",): "Take all rows, and plot.bar, beeswarm or heatmap.",
    (): "Leave reduce= out, or take one channel: e[:, 0].",
}


def of_row(e: Explanation, row: int, output: Any) -> Explanation:
    """The map of one row and one output."""
    if e.kind != "saliency":
        raise OptionError(f"this figure shows saliency maps; this is an explanation of kind {e.kind!r}.")
    e = one_output(e, output, "saliency map")
    if "row" not in e.dims:
        return e
    if isinstance(row, bool) or not isinstance(row, (int, np.integer)) or not -len(e) <= row < len(e):
        raise OptionError(Argument("row", row), f": there are {len(e)} rows, 0 to {len(e) - 1}.")
    return e[int(row)]


def scale(values: Floats, percentile: float | None) -> tuple[bool, float, float]:
    """Whether there are signs, where the colours end, and the share of places beyond."""
    size = np.abs(values)
    largest = float(size.max(initial=0.0))
    if largest == 0:
        return False, 1.0, 0.0
    if percentile is None:
        percentile = (
            SPIKE_PERCENTILE if largest > SPIKE_FACTOR * float(np.percentile(size, SPIKE_PERCENTILE)) else ALL_VALUES
        )
    most = float(np.percentile(size, percentile))
    if most <= 1e-12 * largest:
        most = largest
    return bool((values < 0).any()), most, float((size > most * (1 + 1e-9)).mean())


def _unsigned() -> Colormap:
    import matplotlib as mpl

    return mpl.colormaps["inferno"]


def _signed() -> Colormap:
    """Blue for what speaks against, red for what speaks for; readable over a grey picture."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("whybox for and against", [NEGATIVE, "#dfe6ea", POSITIVE])


def _bar(ax: Axes, shown: Any, e: Explanation, colours: Colormap, limits: tuple[float, float], beyond: float) -> None:
    """A colour bar in full colours, though the map itself may be see-through."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    full = ScalarMappable(Normalize(*limits), colours)
    signed = limits[0] < 0
    room = ax.inset_axes((1.03, 0.0, 0.045, 1.0))  # as high as the picture, whatever the layout
    bar = ax.figure.colorbar(
        full, cax=room, format=thousands(), extend=("both" if signed else "max") if beyond else "neither"
    )
    bar.set_label(e.units, color=ink(), fontsize="small")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize="small")


def _picture(e: Explanation, image: Any) -> npt.NDArray[Any] | None:
    """What lies under the map, in grey, from 0 to 1."""
    if image is None:
        held_input = e.extras.get("input")
        if held_input is None or set(held_input[0]) - {"channel"} != {"y", "x"}:
            return None
        dims, array = held_input
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
    """The method, what of the answer it is about, and the answer."""
    name, target, called = e.output_name, e.extras.get("target"), e.extras.get("target_name")
    about = ""
    if name is not None:
        about = f" · {'output ' if name.isdigit() else ''}{short(name, 24)}"
    elif called is not None and np.size(called[1]) == 1:
        about = f" · {short(str(np.ravel(called[1])[0]), 24)}"
    elif target is not None and np.size(target[1]) == 1:
        about = f" · output {int(np.ravel(target[1])[0])}"
    score = (
        "" if e.prediction is None or np.size(e.prediction) != 1 else f" · score {float(np.ravel(e.prediction)[0]):.3g}"
    )
    return f"{e.evidence.method}{about}{score}"


def narrow_title(e: Explanation, width: float) -> str:
    """The usual title in lines that do not reach into the next picture, where one is so many inches wide."""
    title = title_of(e).replace(" · ", "\n", 1)
    return title.replace(" · ", "\n") if len(title.partition("\n")[2]) > CHARACTERS_PER_INCH * width else title


def picture_of(e: Explanation, row: int = 0, *, ax: Axes | None = None) -> Axes | None:
    """Draw the input that a map was made of, in grey; None where the explanation does not hold it as a picture."""
    e = of_row(e, row, None)
    under = _picture(e, None)
    return None if under is None else _show(under, e, axes(ax, 3.8, 3.9))


def _show(under: npt.NDArray[Any], e: Explanation, ax: Axes) -> Axes:
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
    """Draw the picture, then the maps of several methods of the same row, each on its own scale.

    Args:
        e, others: maps of the same rows. row: position. columns: pictures a line. width: of each, in inches. Others as :func:`overlay`.

    Returns:
        The axes, one a map, after that of the picture.

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
            f"beside shows maps with the axes y and x; these have {', '.join(first.dims)}. {_OTHERWISE.get(first.dims, _OTHERWISE[()])}"
        )
    under = _picture(first, image)
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
        _show(under, first, cells[0])
    for cell, single in zip(cells[extra:], singles, strict=False):
        overlay(single, image=image, percentile=percentile, blend=blend, ax=cell, title=narrow_title(single, width))
    del figure
    return np.asarray(cells[:count])


def words(
    e: Explanation, row: int = 0, *, output: Any = None, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Write the tokens or words of one row, each on a ground whose colour is its value.

    Args:
        e: a saliency map over tokens or words. row: position. output: which of several outputs. ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: not a map over tokens or words.
    """
    e = of_row(e, row, output)
    if e.dims not in (("token",), ("word",)):
        raise OptionError(f"words shows maps over tokens or words; this one has the axes {e.dims}.")
    dim = e.dims[0]
    held_texts = e.extras.get(dim)
    texts = [str(t) for t in (held_texts[1] if held_texts is not None else e.coords[dim])]
    has_value = np.isfinite(e.values)
    most = max(float(np.abs(e.values[has_value]).max(initial=0.0)), 1e-300)
    placed, height = _laid_out([short(t, 40) for t in texts], has_value)
    ax = axes(ax, 8, 0.95 + 0.36 * height)
    ax.set_xlim(0, _LINE)
    ax.set_ylim(height, -0.7)
    colours = diverging()
    for k, x, y in placed:
        ground = colours(0.5 + 0.5 * float(e.values[k]) / most)
        over = "white" if sum(ground[:3]) < 1.5 else "black"
        ax.text(
            x, y, short(texts[k], 40), family="monospace", fontsize=10, va="center", ha="left", color=over,
            bbox={"boxstyle": "round,pad=0.22", "facecolor": ground, "edgecolor": "none"},
        )  # fmt: skip
    ax.set_axis_off()
    ax.set_title(title if title is not None else title_of(e), loc="left", fontsize="medium")
    ax.text(
        0,
        height - 0.55,
        legend_of(e),
        fontsize="x-small",
        va="top",
        color=muted(0.8),
    )
    return ax


def word_colors(e: Explanation) -> list[str]:
    """Of each token or word of one row, a colour as pages write it, the clearer the nearer to 0, so that the page's own ink is read on it in light and dark."""
    from matplotlib.colors import to_rgb

    sizes = np.where(np.isfinite(e.values), e.values, 0.0)
    most = max(float(np.abs(sizes).max(initial=0.0)), 1e-300)
    out = []
    for v in sizes:
        r, g, b = (round(255 * c) for c in to_rgb(POSITIVE if v > 0 else NEGATIVE))
        out.append(f"rgba({r}, {g}, {b}, {MAX_WORD_COLOUR * abs(float(v)) / most:.3f})")
    return out


def legend_of(e: Explanation) -> str:
    """What the colours of words mean."""
    finite = e.values[np.isfinite(e.values)]
    if not finite.any():
        return "the map is 0 everywhere"
    meaning = "red speaks for, blue against" if (finite < 0).any() else "the stronger the red, the larger"
    return f"{meaning}; largest {float(np.abs(finite).max()):.2g} ({e.units})"


_LINE: Final = 88.0  # signs a line of the figure


def _laid_out(texts: Sequence[str], has_value: npt.NDArray[np.bool_]) -> tuple[list[tuple[int, float, float]], int]:
    """Break words into lines: (which, column, line) of each, and how many lines."""
    placed: list[tuple[int, float, float]] = []
    x, y = 0.0, 0
    for k, text in enumerate(texts):
        if not has_value[k]:
            continue
        wide = len(text) + 1.6
        if x + wide > _LINE and x > 0:
            x, y = 0.0, y + 1
        placed.append((k, x, float(y)))
        x += wide
    return placed, y + 1


def cut_note(values: Floats, beyond: float) -> str:
    """What is said beneath a map: that there is nothing on it, or how much of it lies beyond the colours."""
    if not values.any():
        return "the map is 0 everywhere"
    return f"{beyond:.2%} of places are beyond the colours" if beyond else ""
