"""Bars: how much each feature matters, over all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from whybox.errors import OptionError
from whybox.explanation.local_words import has_words, words_as_features
from whybox.explanation.negligible import without_rounding
from whybox.plots.intervals import draw_intervals, interval_words
from whybox.plots.style import (
    NEUTRAL,
    add_caution,
    axes_or_new,
    distinct_labels,
    kind_of_outputs,
    name_of,
    number_in_figure,
    one_output,
    other_figure_hint,
    others_label,
    output_suffix,
    palette,
    style_axes,
    text_color,
    value_label,
)

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    from whybox.data.table import Floats
    from whybox.explanation.explanation import Explanation

__all__ = ["bar"]


def bar(
    e: Explanation, *, output: Any = None, max_display: int = 12, ax: Axes | None = None, title: str | None = None
) -> Axes:
    """Draw mean absolute attributions or local values (or an importance) as bars, largest on top; several outputs are stacked.

    An importance whose numbers have a sign is drawn with it. Estimated values have their intervals as lines. That of a mean over rows (of a sum over
    outputs) is for these rows: half of it is the mean (the sum) of the halves of the intervals of single values, which is enough whatever the dependence between
    their errors. The sum of several features has none: so wide a line would tell nothing.
    Attributions of texts are drawn by word: means over all texts, with 0 where a text has not the word.
    Of rules it draws the share of rows whose rule has a feature.

    Args:
        e: attributions, local values, an importance or rules. output: one of several outputs; None stacks them all.
        max_display: how many features; the others are summed in a last bar, but for numbers with a sign and those of rules, which do not add up.
        ax: where to draw. title: instead of the usual one.

    Returns:
        The axes.

    Raises:
        OptionError: interactions, or no such output.
    """
    of_texts = e.kind == "attribution" and has_words(e)
    e = words_as_features(e) if of_texts else e
    _refuse_other_kinds(e)
    shown = without_rounding(e if output is None else one_output(e, output, "bar"))
    size = _bar_sizes(shown)
    order = np.argsort(-size.sum(axis=1), kind="stable")
    top, rest = order[:max_display], order[max_display:]
    names = [name_of(shown, shown.feature_names[j]) for j in top]
    lengths = size[top]
    signed = _has_sign(shown)
    adds_up = not signed and shown.kind != "rule"  # a row's rule has several features
    if len(rest) and adds_up:
        names.append(others_label(len(rest)))
        lengths = np.vstack([lengths, size[rest].sum(axis=0)])
    ax = axes_or_new(ax, 7, 1.1 + 0.32 * len(names))
    y = np.arange(len(names))[::-1]
    left = np.zeros(len(names))
    colors = palette(lengths.shape[1]) if lengths.shape[1] > 1 else [NEUTRAL]
    for k in range(lengths.shape[1]):
        ax.barh(
            y,
            lengths[:, k],
            left=left,
            height=0.68,
            color=colors[k],
            label=distinct_labels(shown.output_names)[shown.output_names[k]] if lengths.shape[1] > 1 else None,
        )
        left += lengths[:, k]
    ends = _interval_ends(shown, left, top)
    if ends is not None:
        draw_intervals(ax, y, *ends)
    low, high = (left, left) if ends is None else (np.fmin(ends[0], left), np.fmax(ends[1], left))
    _write_numbers(ax, y, left, np.maximum(high, 0.0))
    ax.set_yticks(y, names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlim(min(float(low.min(initial=0.0)), 0.0), max(float(high.max(initial=0.0)) * 1.12, 1e-12))
    several = (
        f", summed over {lengths.shape[1]} {'classes' if kind_of_outputs(e) == 'class' else 'outputs'}"
        if lengths.shape[1] > 1
        else ""
    )
    smaller = f"; {len(rest):,} smaller not shown" if len(rest) and not adds_up else ""
    lines = "" if ends is None else _words_about_lines(shown, summed=len(names) > len(top))
    texts = (
        f"\nover {len(shown):,} texts, 0 where a text has not the word"
        if of_texts and "row" in shown.dims and len(shown) > 1
        else ""
    )
    ax.set_xlabel(value_label(shown) + several + smaller + texts + lines)
    if lengths.shape[1] > 1:
        ax.legend(
            frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1.0, 1.0), title=kind_of_outputs(e)
        )
    ax.set_title(title if title is not None else _usual_title(shown), loc="left")
    add_caution(ax, shown)
    style_axes(ax)
    return ax


def _write_numbers(ax: Axes, y: npt.NDArray[Any], totals: Floats, ends: Floats) -> None:
    """Write the length of each bar beside its end."""
    for at, total, end in zip(y, totals, ends, strict=True):
        ax.annotate(
            number_in_figure(total, 3),
            (end, at),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=text_color(),
        )


def _words_about_lines(e: Explanation, *, summed: bool) -> str:
    unknown = " (that of the sum is not known)" if summed else ""
    return f"\nlines: {interval_words(e)}{' for these rows' if 'row' in e.dims else ''}{unknown}"


def _usual_title(e: Explanation) -> str:
    return "Features in rules" if e.kind == "rule" else f"Importance{output_suffix(e)}"


def _refuse_other_kinds(e: Explanation) -> None:
    """Refuse what has no bars over features.

    Raises:
        OptionError: it has none; the message names the figure that draws it.
    """
    if e.kind == "interaction":
        raise OptionError("bar shows attributions or importances; for interactions use heatmap.")
    if e.kind == "agreement":
        raise OptionError("bar shows one importance; several methods side by side are drawn by plot.agreement.")
    if e.kind == "saliency" and set(e.dims) - {"row", "output"} != {"feature"}:
        raise OptionError(f"bar shows features of tables.{other_figure_hint(e)}")
    if "width" in e.dims:
        raise OptionError(f"bar shows local values for one kernel width.{other_figure_hint(e)}")
    if has_words(e):
        raise OptionError(f"bar shows features of several rows.{other_figure_hint(e)}")
    if "feature" not in e.dims or e.kind == "interaction_size":
        raise OptionError(
            "bar shows attributions or importances; an effect is drawn by curve, sizes of interactions by heatmap."
        )


def _has_sign(e: Explanation) -> bool:
    """Whether these are the numbers of an importance that may be negative, such as an increase of the loss."""
    return e.kind == "importance" and e.evidence.signed


def _interval_ends(e: Explanation, lengths: Floats, top: npt.NDArray[np.intp]) -> tuple[Floats, Floats] | None:
    """Return the lower and upper ends of the interval of each bar, NaN of a bar that sums features; None where there are none.

    Args:
        e: what is drawn. lengths: (bars,). top: the features of the first bars; one more may sum the others.
    """
    if e.interval is None or e.kind == "rule" or (e.kind == "importance" and e.values.ndim > 1):
        return None
    low, high = e.interval
    if e.kind != "importance":
        half = (high - low) / 2.0
        half = half.mean(axis=0) if "row" in e.dims else half
        half = half.sum(axis=1) if "output" in e.dims else half
        size = _bar_sizes(e).sum(axis=1)
        low, high = np.maximum(size - half, 0.0), size + half
    unknown = np.full(len(lengths) - len(top), np.nan)
    return np.r_[low[top], unknown], np.r_[high[top], unknown]


def _bar_sizes(e: Explanation) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(features, outputs): mean absolute values over rows; of an importance with a sign its values."""
    size = e.values if _has_sign(e) else np.abs(e.values)
    if "row" in e.dims:
        size = size.mean(axis=0)
    return size if "output" in e.dims else size[:, None]
