"""Colours and habits that all figures share. Ink follows matplotlib's own settings, so a dark style gives a dark figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from whybox.errors import OptionError, did_you_mean
from whybox.frames import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from whybox.explanation.explanation import Explanation

__all__ = [
    "MISSING",
    "NEGATIVE",
    "NEUTRAL",
    "POSITIVE",
    "axes",
    "colormap",
    "ink",
    "muted",
    "one_output",
    "palette",
    "short",
    "tidy",
]

POSITIVE: Final = "#d1495b"
NEGATIVE: Final = "#2e86c1"
NEUTRAL: Final = "#6d83a8"  # sizes without a sign
MISSING: Final = "#8c8c8c"
LONGEST: Final = 30


def axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the caller's axes, or new ones in a figure of their own, laid out so that labels are not cut off."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def ink() -> str:
    """Return the colour of text."""
    import matplotlib as mpl

    return str(mpl.rcParams["text.color"])


def muted(alpha: float = 0.45) -> tuple[float, float, float, float]:
    """Return the colour of text, fainter."""
    from matplotlib.colors import to_rgb

    r, g, b = to_rgb(ink())
    return (r, g, b, alpha)


def colormap() -> Colormap:
    """Return the colours from low to high values: both ends readable on white and on black."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("whybox", [NEGATIVE, "#9b6fb0", POSITIVE]).with_extremes(bad=MISSING)


def diverging() -> Colormap:
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


def short(name: str, longest: int = LONGEST) -> str:
    """Return a name on one line, shortened in the middle, with matplotlib's math signs disarmed."""
    line = " ".join(str(name).split())
    if len(line) > longest:
        line = f"{line[: longest // 2]}…{line[-(longest // 2 - 1) :]}"
    return line.replace("$", r"\$")


def tidy(ax: Axes, *, grid: str | None = "x") -> None:
    """Take away what carries no information."""
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.spines["bottom"].set_color(muted())
    ax.tick_params(axis="both", length=0)
    if grid:
        ax.grid(visible=True, axis=grid, color=muted(0.15), linewidth=0.7)  # type: ignore[arg-type]
        ax.set_axisbelow(True)


def one_output(e: Explanation, output: Any, what: str) -> Explanation:
    """Return the explanation of one output.

    Raises:
        OptionError: there are several and none was named, or the name is not there.
    """
    if "output" not in e.dims:
        if output is not None and str(output) not in [str(o) for o in e.coords.get("output", ())]:
            raise OptionError(f"output={output!r}: this explanation has one output only; leave it out.")
        return e
    if output is None:
        raise OptionError(
            f"a {what} shows one output; say which: output=... {did_you_mean('', e.output_names).strip()}"
        )
    return e[..., output if isinstance(output, str) else int(output)]


def about(e: Explanation) -> str:
    """Return ' · output <name>' when the explanation is about one of several outputs or classes."""
    names = [str(n) for n in e.coords.get("output", ())]
    return (
        f" · output {short(names[0])}"
        if len(names) == 1 and names[0] != "prediction" and "output" not in e.dims
        else ""
    )


def unit(e: Explanation) -> str:
    """Return what the numbers are measured in, as it stands in brackets beside an axis."""
    return "in units of the prediction" if e.units == "prediction" else e.units


def others(n: int) -> str:
    """Return the label of the line that sums the features that are not shown."""
    return "1 other" if n == 1 else f"{n} others, summed"


def scaled(values: npt.NDArray[Any] | None) -> Floats | None:
    """Return feature values as colours from 0 to 1 by percentile range; None when there is nothing to order (groups, text)."""
    from whybox.explanation.partners import as_numbers

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


def value_text(value: Any) -> str:
    """Return a feature's value as short text."""
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return "missing"
    if isinstance(value, (float, np.floating, int, np.integer)) and not isinstance(value, bool):
        return f"{float(value):.4g}" if abs(float(value)) < 1e15 else f"{float(value):.3e}"
    return short(str(value), 18)
