"""Colours and habits that all figures share. Ink follows matplotlib's own settings, so a dark style gives a dark figure."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.core.label_choice import matching_positions, output_position, output_words
from whybox.data.table import Floats
from whybox.errors import Argument, OptionError, did_you_mean
from whybox.explanation.feature_values import cell_text
from whybox.explanation.kinds import PAIR_SEPARATOR
from whybox.explanation.local_words import has_words
from whybox.explanation.number_text import number_text
from whybox.models.links import CLASS_UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    from whybox.explanation.explanation import Explanation

__all__ = [
    "MISSING",
    "NEGATIVE",
    "NEUTRAL",
    "POSITIVE",
    "add_caution",
    "add_note",
    "axes_or_new",
    "background_color",
    "colormap",
    "distinct_labels",
    "drawn_by_default",
    "faint_text_color",
    "kind_of_outputs",
    "minus_signs",
    "name_of",
    "number_in_figure",
    "one_output",
    "other_figure_hint",
    "palette",
    "row_value_label",
    "shorten_label",
    "style_axes",
    "text_color",
    "two_lines",
    "unit_label",
    "unit_words",
    "value_label",
    "wrapped",
    "write_above",
]

POSITIVE: Final = "#d1495b"
NEGATIVE: Final = "#2e86c1"
NEUTRAL: Final = "#6d83a8"  # sizes without a sign
MISSING: Final = "#8c8c8c"
MAX_LABEL_LENGTH: Final = 30
MAX_VALUE_LENGTH: Final = 32  # a date with nanoseconds fits
MAX_LINE_LENGTH: Final = 32  # of a label on one line
_BY_DEFAULT: Final[ContextVar[Axes | Figure | None]] = ContextVar("where figures are drawn", default=None)


@contextmanager
def drawn_by_default(place: Axes | Figure | None) -> Iterator[None]:
    """Let figures of this block, where nobody passes axes, be drawn on these, or into this figure, which has none yet; None: into new ones."""
    token = _BY_DEFAULT.set(place)
    try:
        yield
    finally:
        _BY_DEFAULT.reset(token)


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the caller's axes, or those of :func:`drawn_by_default`, or new ones in a figure of their own, laid out so that labels are not cut off."""
    if ax is not None:
        return ax
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    place = _BY_DEFAULT.get()
    if isinstance(place, Figure):
        if list(place.get_size_inches()) == list(mpl.rcParams["figure.figsize"]):  # nobody asked for a size
            place.set_size_inches(width, height)
        if place.get_layout_engine() is None:
            place.set_layout_engine("constrained")
        return place.add_subplot()
    if place is not None:
        return place
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def text_color() -> str:
    """Return the colour of text."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def faint_text_color(alpha: float = 0.45) -> tuple[float, float, float, float]:
    """Return the colour of text, fainter."""
    from matplotlib.colors import to_rgb

    r, g, b = to_rgb(text_color())
    return (r, g, b, alpha)


def colormap() -> Colormap:
    """Return the colours from low to high values: both ends readable on white and on black."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("whybox", [NEGATIVE, "#9b6fb0", POSITIVE]).with_extremes(bad=MISSING)


def diverging_colormap() -> Colormap:
    """Return the colours for signed numbers: near zero they fade into the background, light or dark."""
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    dark = sum(to_rgb(mpl.rcParams["text.color"])) > 1.5
    middle = ["#1d4a6e", "#222222", "#6e2b36"] if dark else ["#8fbfe0", "#f2f2f2", "#eba4ad"]
    return LinearSegmentedColormap.from_list("whybox signed", [NEGATIVE, *middle, POSITIVE])


def palette(n: int) -> list[str]:
    """Return colours for n outputs, told apart by people who see few colours (after Okabe & Ito)."""
    base = ["#2e86c1", "#d1495b", "#e69f00", "#009e73", "#9b6fb0", "#56b4e9", "#b08968", "#8c8c8c"]
    return [base[i % len(base)] for i in range(n)]


def background_color() -> str:
    """Return the colour behind the drawing, for what must cover a line under it; "none" where there is none."""
    import matplotlib as mpl

    behind = str(mpl.rcParams["axes.facecolor"])
    return behind if behind != "none" else str(mpl.rcParams["figure.facecolor"])


def shorten_label(name: str, longest: int = MAX_LABEL_LENGTH) -> str:
    """Return a name on one line, shortened in the middle, with matplotlib's math signs disarmed."""
    line = " ".join(str(name).split())
    if len(line) > longest:
        line = f"{line[: longest // 2]}…{line[-(longest // 2 - 1) :]}"
    return line.replace("$", r"\$")


def two_lines(label: str, longest: int = MAX_LINE_LENGTH) -> str:
    """Return a label on one line, or on two where it is long, so that it leaves room for the drawing; a second line that is too long is cut in the middle."""
    from textwrap import wrap

    first, *rest = wrap(label, longest, break_long_words=False, break_on_hyphens=False) or [""]
    second = " ".join(rest)
    if len(second) > longest:
        second = f"{second[: longest // 2]}…{second[-(longest // 2 - 1) :]}"
    return f"{first}\n{second}" if second else first


def wrapped(text: str, width: int) -> str:
    """Return text in lines of at most so many characters, none of which ends before a percent sign."""
    from textwrap import fill

    joined = "\N{NO-BREAK SPACE}%"
    return fill(text.replace(" %", joined), width).replace(joined, " %")


@lru_cache(maxsize=64)
def distinct_labels(names: tuple[str, ...], longest: int = MAX_LABEL_LENGTH) -> dict[str, str]:
    """Return a label for each name, shortened only as far as different names keep different labels.

    Names that would look alike show the part in which they differ.
    """
    lines = {name: " ".join(str(name).split()) for name in names}
    out = {name: shorten_label(name, longest) for name in lines}
    names_by_label: dict[str, list[str]] = {}
    for name, label in out.items():
        names_by_label.setdefault(label, []).append(name)
    for group in (g for g in names_by_label.values() if len(g) > 1):
        max_length = max(len(lines[n]) for n in group)
        group_lines = [lines[n] for n in group]
        first_difference = next(
            (i for i, signs in enumerate(zip(*group_lines, strict=False)) if len(set(signs)) > 1),
            min(map(len, group_lines)),
        )
        for width in range(longest, 2 * max_length + longest, 4):
            out.update(
                {n: shorten_label(_text_around(lines[n], first_difference, width), max_length + 2) for n in group}
            )
            if len({out[n] for n in group}) == len(group) or width > 2 * max_length:
                break
    return out


def _text_around(line: str, position: int, width: int) -> str:
    """Return the start of a line and what stands around position `position`, in `width` characters."""
    head = width // 3
    begin = position - width // 6
    if len(line) <= width or begin <= head:
        return line if len(line) <= width else f"{line[: width - 1]}…"
    end = begin + width - head - 2
    return f"{line[:head]}…{line[begin:end]}{'…' if end < len(line) else ''}"


def name_of(e: Explanation, feature: str, longest: int = MAX_LABEL_LENGTH) -> str:
    """Return a feature's label, told apart from those of all other features."""
    players = e.feature_names
    halves = feature.split(PAIR_SEPARATOR)
    if len(halves) == 2 and feature in players and all(h in players for h in halves):
        # a term of two features: each is shortened by itself, or the second would be cut off
        alone = distinct_labels(
            tuple(p for p in players if PAIR_SEPARATOR not in p), (longest - len(PAIR_SEPARATOR)) // 2
        )
        return PAIR_SEPARATOR.join(alone.get(h, shorten_label(h, longest // 2)) for h in halves)
    return distinct_labels(players, longest)[feature]


def add_note(ax: Axes, text: str, *, below: bool = False) -> None:
    """Small words at the right end of the upper edge: above it, or below it inside the axes."""
    ax.annotate(
        text,
        (1, 0.95 if below else 1.01),
        xycoords="axes fraction",
        ha="right",
        va="top" if below else "bottom",
        fontsize="x-small",
        color=faint_text_color(0.8),
    )


def write_above(ax: Axes, plain: Sequence[str], bold: Sequence[str], line_points: float, title: str) -> None:
    """Write a title, and lines between it and the axes; those in bold are lowest. A line is `line_points` high."""
    lines = [(line, "normal") for line in plain] + [(line, "bold") for line in bold]
    for i, (line, weight) in enumerate(reversed(lines)):
        ax.annotate(
            line,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 4 + line_points * i),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize="small",
            fontweight=weight,
            color=text_color(),
        )
    ax.set_title(title, loc="left", pad=7 + line_points * len(lines))


def add_caution(ax: Axes, e: Explanation) -> None:
    """Add to the words below a picture what its reader should know about the rows; nothing where there is nothing."""
    from textwrap import fill

    if e.evidence.caution:
        ax.set_xlabel(f"{ax.get_xlabel()}\n{fill(shorten_label(e.evidence.caution, 160), 70)}".lstrip("\n"))


def style_axes(ax: Axes, *, grid: str | None = "x") -> None:
    """Take away what carries no information."""
    for spine in ("top", "right", "left"):
        ax.spines[spine].set_visible(False)
    ax.spines["bottom"].set_color(faint_text_color())
    ax.tick_params(axis="both", length=0)
    if grid:
        ax.grid(visible=True, axis=grid, color=faint_text_color(0.15), linewidth=0.7)  # type: ignore[arg-type]
        ax.set_axisbelow(True)
    _set_few_ticks(ax)


def _set_few_ticks(ax: Axes) -> None:
    """Few ticks on axes of numbers and dates, large numbers with their thousands set apart, so that labels do not touch."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
    for axis, room in ((ax.xaxis, box.width), (ax.yaxis, 2.0 * box.height)):
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_locator(MaxNLocator(nbins=int(np.clip(1.2 * room, 2, 6)), steps=[1, 2, 2.5, 5, 10]))
            axis.set_major_formatter(thousands_formatter())
        elif (
            type(axis.get_major_formatter()).__name__ == "AutoDateFormatter"
        ):  # matplotlib's module of dates has no types
            _set_few_dates(axis)


def _set_few_dates(axis: Any) -> None:
    from importlib import import_module

    dates = import_module("matplotlib.dates")
    locator = dates.AutoDateLocator(minticks=3, maxticks=8)
    axis.set_major_locator(locator)
    axis.set_major_formatter(dates.ConciseDateFormatter(locator))


def thousands_formatter() -> ScalarFormatter:
    """Return matplotlib's own formatter of numbers, with the thousands set apart where it would write them together."""
    from matplotlib.ticker import ScalarFormatter

    class Thousands(ScalarFormatter):
        _large = False

        def set_locs(self, locs: Any) -> None:
            super().set_locs(locs)
            self._large = np.abs(locs).max(initial=0.0) >= 10_000  # four digits may be years

        def __call__(self, x: float, pos: int | None = None) -> str:
            if not self._large or self.get_offset() or x != round(x):
                return str(super().__call__(x, pos))
            return self.fix_minus(f"{x:,.0f}")

    formatter = Thousands(useOffset=False)
    formatter.set_powerlimits((-5, 9))
    return formatter


def one_output(e: Explanation, output: Any, what: str) -> Explanation:
    """Return the explanation of one output.

    Raises:
        OptionError: there are several and none was named, or the name is not there.
    """
    if "output" not in e.dims:
        if output is not None and not matching_positions(output, list(e.coords.get("output", ()))):
            raise OptionError(Argument("output", output), ": this explanation has one output only; leave it out.")
        return e
    if output is None:
        raise OptionError(
            f"a {what} shows one output; say which, for example ",
            Argument("output", e.output_names[0]),
            f". {did_you_mean('', e.output_names).strip()}",
        )
    at = output_position("output", output, e.output_names, from_end=True)
    if at is None:
        raise OptionError(Argument("output"), f" {output!r} is not there.{did_you_mean(output, e.output_names)}")
    return e[..., at]


def output_suffix(e: Explanation) -> str:
    """Return ' · <name>' when the explanation is about one of several outputs or classes: ' · yes', ' · class 1', ' · output 2'."""
    name = None if "output" in e.dims else e.output_name
    return "" if name is None else f" · {shorten_label(output_words(name, of_class=e.units in CLASS_UNITS))}"


def kind_of_outputs(e: Explanation) -> str:
    """Return what several outputs are: ``class`` or ``output``."""
    return "class" if e.units in CLASS_UNITS else "output"


def unit_label(e: Explanation) -> str:
    """Return what the numbers are measured in, as it stands in brackets beside an axis."""
    return e.units if e.named_units else unit_words(e)


def unit_words(e: Explanation) -> str:
    """Return what the numbers are measured in, as the end of a sentence: ``in log-odds``, ``in units of the prediction``."""
    return f"in {e.units}" if e.named_units else "in units of the prediction"


def value_label(e: Explanation) -> str:
    """Return what a number is and what it is measured in; of attributions their mean size over the rows."""
    if e.kind == "rule":
        return "share of rows whose rule has the feature"
    name = e.evidence.quantity if e.kind == "importance" else f"mean |{e.evidence.quantity}|"
    return name if name == e.units else f"{name} ({unit_label(e)})"


def row_value_label(e: Explanation, *, plural: bool = False) -> str:
    """Return what a number of one row is: an attribution, or a local value."""
    name = "local value" if e.kind == "local" else "attribution"
    return f"{name}s".capitalize() if plural else f"{name} ({unit_label(e)})"


def other_figure_hint(e: Explanation) -> str:
    """Which figure draws local values or a saliency map of this kind, as the end of a message; nothing for other explanations and maps of tables."""
    if "width" in e.dims:
        return " These are local values for several kernel widths; pick one, e[0], or draw a row over the widths: e[:, 0].plot.local()."
    if has_words(e) and e.kind == "attribution":
        return " Words of one text are drawn by plot.words, on coloured grounds, and by plot.waterfall, as steps; those of several by plot.bar."
    if has_words(e):
        return " Words of one text are drawn by plot.words, on coloured grounds, and by plot.local, as bars."
    if e.kind == "local":
        return " Local values of one row are drawn by plot.local."
    if e.kind == "rule":
        return " Rules are drawn by plot.rule."
    if e.kind != "saliency":
        return ""
    dims = set(e.dims) - {"row", "output"}
    if dims == {"feature"}:
        return " Maps of tables are drawn by plot.bar, and of several rows by beeswarm, heatmap and scatter."
    if "time" in dims:
        return " Maps of series are drawn by plot.track."
    return " Maps of pictures are drawn by plot.overlay, words and tokens by plot.words."


def others_label(n: int) -> str:
    """Return the label of the line that sums the features that are not shown."""
    return "1 other" if n == 1 else f"{n} others, summed"


def scale_to_percentiles(values: npt.NDArray[Any] | None) -> Floats | None:
    """Return feature values as colours from 0 to 1 by percentile range; None when there is nothing to order (groups, text)."""
    from whybox.explanation.feature_values import as_numbers

    if values is None or values.dtype == object:
        return None
    x = as_numbers(values)
    known = x[np.isfinite(x)]
    if not len(known):
        return np.full(len(x), np.nan)
    low, high = np.percentile(known, [5, 95])
    if low == high:
        low, high = known.min(), known.max()
    with np.errstate(invalid="ignore"):
        return (
            np.full(len(x), 0.5) * np.where(np.isnan(x), np.nan, 1)
            if low == high
            else np.clip((x - low) / (high - low), 0, 1)
        )


def percentile_labels(values: npt.NDArray[Any]) -> list[str]:
    """Return the ends of a colour bar of `scale_to_percentiles` in words: two numbers, dates or durations."""
    from whybox.explanation.feature_values import as_numbers, number_labels

    x = as_numbers(values)
    known = x[np.isfinite(x)]
    if not len(known):
        return ["", ""]
    labels = number_labels(np.percentile(known, [5, 95]), values.dtype)
    return labels if values.dtype.kind == "M" else [minus_signs(label) for label in labels]


def value_text(value: Any) -> str:
    """Return a feature's value as short text."""
    return shorten_label(cell_text(value), MAX_VALUE_LENGTH)


def number_in_figure(value: float, digits: int = 4, *, sign: bool = False) -> str:
    """Return a number as :func:`number_text` does, with the minus sign of the numbers along matplotlib's axes."""
    return _with_minus(number_text(float(value), digits, sign=sign and value != 0), "-")


def minus_signs(text: str) -> str:
    """Return words with the minus sign of matplotlib's axes before their numbers; hyphens between letters or digits stay."""
    return _with_minus(text, r"(?<![\w)\]-])-(?=\.?\d)|(?<=\de)-(?=\d)")


def _with_minus(text: str, pattern: str) -> str:
    import re

    import matplotlib as mpl

    return re.sub(pattern, "\N{MINUS SIGN}", text) if mpl.rcParams["axes.unicode_minus"] else text
