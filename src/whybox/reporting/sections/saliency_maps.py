"""The section with saliency maps: a figure for each input of each row shown, and the share of each input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number_text
from whybox.explanation.negligible import negligible_size
from whybox.methods.registry import MethodSpec, of_id
from whybox.methods.saliency.recipe import read_recipe
from whybox.plots.bar import bar
from whybox.plots.saliency_image import legend_of, overlay, picture_of, title_of, word_colors
from whybox.plots.saliency_series import SERIES_DIMS, TEXT_DIMS, tracks
from whybox.plots.style import axes_or_new
from whybox.reporting.page import html_table
from whybox.reporting.svg import folded_table, html_figure, html_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROWWISE", "MethodMaps", "saliency_maps_section", "share_lines", "sums_by_input"]

PANEL_INCHES: Final = (2.35, 2.15)  # four fit side by side on a wide page
MAX_TABLE_POSITIONS: Final = 5  # in the table behind a picture
ROWWISE: Final = (("y", "x"), *SERIES_DIMS, *TEXT_DIMS)  # maps with a figure for each row


@final
@dataclass(frozen=True)
class MethodMaps:
    """The maps of one method, and the inputs that they explain. The first method explains all rows; others only rows that are shown, if each row has a figure.

    Attributes:
        parts: one explanation for each input that has a map. several: whether there are several inputs. names: of all inputs.
        inputs: of the rows explained. background: rows that the method averages over; None: none.
    """

    parts: tuple[Explanation, ...]
    several: bool
    names: tuple[str, ...]
    inputs: Any
    background: Any

    @property
    def e(self) -> Explanation:
        """The first explanation: method, rows and outputs are the same in all."""
        return self.parts[0]

    @property
    def answer(self) -> Explanation | tuple[Explanation, ...]:
        """What ``whybox.saliency`` returned."""
        return self.parts if self.several else self.parts[0]

    @property
    def by_input(self) -> dict[str, Explanation]:
        """The explanations by the names of their inputs."""
        indices = read_recipe(self.e).inputs if self.several else (0,)
        return {self.names[k]: e for k, e in zip(indices, self.parts, strict=True)}


def sums_by_input(parts: Sequence[Explanation]) -> Floats | None:
    """Sum of each input's attributions, (rows, inputs[, outputs]); together they equal score - base. None if maps need not add up."""
    if not parts[0].evidence.additive:
        return None
    input_sums = []
    for e in parts:
        last = e.values.ndim - ("output" in e.dims)
        input_sums.append(np.nansum(e.values, axis=tuple(range(1, last))))
    return np.stack(input_sums, axis=1)


def share_lines(input_sums: Floats, names: Sequence[str], negligible_sum: float) -> list[tuple[str, str, str]]:
    """Lines (input, sum, share) of each input and of all together: mean sum over the rows, and share of the mean absolute sums.

    Args:
        input_sums: (rows, inputs), of :func:`sums_by_input`. names: of the inputs. negligible_sum: total size that rounding explains, below which there are no shares.
    """
    sizes = np.abs(input_sums).mean(axis=0)
    total = float(sizes.sum())
    shares = [f"{s / total:.1%}" if total > negligible_sum else "" for s in sizes]
    means = input_sums.mean(axis=0)
    lines = [(n, number_text(float(m), 3), s) for n, m, s in zip(names, means, shares, strict=True)]
    return [*lines, ("together", number_text(float(means.sum()), 3), "100%" if total > negligible_sum else "")]


def saliency_maps_section(method_maps: Sequence[MethodMaps], rows: int) -> str:
    """Write the section: a figure for each of the first `rows` rows; for maps of tables one for each method."""
    first = method_maps[0].e
    drawn = range(min(rows, len(first)))
    fewer = (
        "; all methods but the first explain these rows only" if any(len(s.e) < len(first) for s in method_maps) else ""
    )
    rowwise = any(e.dims[1:] in ROWWISE for s in method_maps for e in s.parts)
    remark = (
        f"<p class=faint>The first {len(drawn)} of {len(first):,} rows{fewer}.</p>"
        if rowwise and len(drawn) < len(first)
        else ""
    )
    if not method_maps[0].several:
        return remark + "".join(_one_input_maps([s.e for s in method_maps], drawn))
    return (
        remark
        + _share_tables(method_maps)
        + "".join(_several_input_maps(method_maps, drawn))
        + _inputs_without_map(method_maps)
    )


def _one_input_maps(explanations: Sequence[Explanation], rows: range) -> Iterator[str]:
    """Figures of the only input."""
    dims = explanations[0].dims[1:]
    if dims in ROWWISE:
        for row in rows:
            yield from _row_figures(explanations, row, _row_label(explanations[0], row))
    elif dims == ("feature",):
        for e in explanations:
            yield _feature_bars(e)
    else:
        yield f"<p>{_NO_PICTURE}</p>"


_NO_PICTURE: Final = "There is no figure for maps of this shape; the explanation holds the numbers."


def _several_input_maps(method_maps: Sequence[MethodMaps], rows: range) -> Iterator[str]:
    """Figures of several inputs: row by row of those that have a figure for each row, then of the others."""
    inputs: Mapping[str, list[Explanation]] = {
        n: [s.by_input[n] for s in method_maps if n in s.by_input] for n in method_maps[0].names
    }
    rowwise = {n: maps for n, maps in inputs.items() if maps and maps[0].dims[1:] in ROWWISE}
    for row in rows if rowwise else ():
        yield f"<h3>{escape(_row_label(method_maps[0].e, row))}</h3>"
        for name, maps in rowwise.items():
            yield from _row_figures(maps, row, f"{name}, row {row}")
        yield "".join(_share_of_row(s, row) for s in method_maps)
    for name, maps in inputs.items():
        if not maps or name in rowwise:
            continue
        yield f"<h3>{escape(name)}</h3>"
        if maps[0].dims[1:] == ("feature",):
            yield "".join(_feature_bars(e) for e in maps)
        else:
            yield f"<p>{_NO_PICTURE}</p>"


def _inputs_without_map(method_maps: Sequence[MethodMaps]) -> str:
    """Say which inputs have no map, and why."""
    lines = []
    for s in method_maps:
        missing = [n for n in s.names if n not in s.by_input]
        if missing:
            reason = _no_map_reason(of_id(s.e.method_id))
            lines.append(f"{s.e.evidence.method} has no map of {', '.join(missing)}{reason}.")
    return "".join(f"<p class=faint>{escape(line)}</p>" for line in lines)


def _no_map_reason(spec: MethodSpec | None) -> str:
    """Why a method leaves inputs without a map, after a colon; "" for a method that this version does not know."""
    if spec is None:
        return ""
    if "layer" in spec.needs:
        return ": class activation maps are of one input"
    if "gradients" in spec.needs:
        return ": whole numbers and masks have no derivative"
    return ": the method never changes these inputs"


def _share_tables(method_maps: Sequence[MethodMaps]) -> str:
    tables = [_share_table(s) for s in method_maps]
    if not any(tables):
        return "<p class=faint>The maps of these methods need not add up, so inputs have no shares of the output.</p>"
    return "<h3>How much comes from each input</h3>" + "".join(tables)


def _share_table(s: MethodMaps) -> str:
    """The shares of the inputs, over all rows."""
    input_sums = sums_by_input(s.parts)
    if input_sums is None:
        return ""
    over = f"{len(input_sums):,} rows" if len(input_sums) != 1 else "one row"
    caption = (
        f"{s.e.evidence.method}, mean of {over}. The sums of a row add up to its score minus its baseline score; shares are of the mean absolute "
        "sums."
    )
    return f"<p class=faint>{escape(caption)}</p>" + html_table(
        ("Input", "Sum", "Share"), share_lines(input_sums, tuple(s.by_input), float(negligible_size(s.e).max()))
    )


def _share_of_row(s: MethodMaps, row: int) -> str:
    """The shares of the inputs in one row, as a sentence."""
    input_sums = sums_by_input(s.parts)
    if input_sums is None or row >= len(input_sums):
        return ""
    *each, total = share_lines(input_sums[[row]], tuple(s.by_input), float(negligible_size(s.e).max()))
    listed = ", ".join(f"{name} {sum_}{f' ({share})' if share else ''}" for name, sum_, share in each)
    return f"<p>{escape(f'{s.e.evidence.method} of this row: {listed}; together {total[1]}.')}</p>"


def _row_label(e: Explanation, row: int) -> str:
    target, target_name = e.extras.get("target"), e.extras.get("target_name")
    about = ""
    if target_name is not None:
        about = f"{target_name[1][row]}, "
    elif target is not None:
        about = f"output {int(target[1][row])}, "
    score = "" if e.prediction is None else f"score {number_text(float(np.asarray(e.prediction)[row]))}"
    return f"Row {e.coords['row'][row]}: {about}{score}"


def _row_figures(explanations: Sequence[Explanation], row: int, label: str) -> Iterator[str]:
    """Figures of one row: pictures of one shape together."""
    first = explanations[0]
    dims = first.dims[1:]
    if dims == ("y", "x"):
        yield _picture_figure([e for e in explanations if e.shape[1:] == first.shape[1:]], row, label)
        yield from (_picture_figure([e], row, label) for e in explanations if e.shape[1:] != first.shape[1:])
    elif dims in TEXT_DIMS:
        yield from (_text_figure(e, row, label) for e in explanations)
    else:
        yield _series_figure(explanations, row, label)


def _largest_values(e: Explanation, row: int, count: int) -> Iterator[tuple[str, str, str]]:
    """(method, position, value) of the largest absolute values."""
    values = e.values[row]
    for at in np.argsort(-np.abs(values), axis=None, kind="stable")[:count]:
        index = np.unravel_index(at, values.shape)
        error = "" if e.std_error is None else f" ± {number_text(float(e.std_error[(row, *index)]), 2)}"
        position = ", ".join(f"{d} {e.coords[d][k]}" for d, k in zip(e.dims[1:], index, strict=True))
        yield e.evidence.method, position, f"{number_text(float(values[index]))}{error}"


def _largest_values_table(explanations: Sequence[Explanation], row: int) -> str:
    lines = [line for e in explanations for line in _largest_values(e, row, MAX_TABLE_POSITIONS)]
    return html_table(
        ("Method", "Position", "Value"),
        lines,
        caption=f"The {MAX_TABLE_POSITIONS} largest absolute values",
        text=(1,),
    )


def _picture_figure(explanations: Sequence[Explanation], row: int, label: str) -> str:
    return html_panels(
        _picture_panels(explanations, row),
        title=label,
        description=f"{label}. The input, then one map a method, each on its own scale; if a map has signs, red is positive and blue negative.",
        table=_largest_values_table(explanations, row),
    )


def _picture_panels(explanations: Sequence[Explanation], row: int) -> list[Callable[[], Axes]]:
    """Functions that draw the input, and the map of each method."""

    def draw_input() -> Axes:
        panel = picture_of(explanations[0], row, ax=axes_or_new(None, *PANEL_INCHES))
        assert panel is not None  # noqa: S101  # drawn only if there is an input
        panel.set_anchor("NW")  # all at one height
        return panel

    def draw_map(e: Explanation) -> Axes:
        panel = overlay(e, row, ax=axes_or_new(None, *PANEL_INCHES), title=e.evidence.method)
        panel.set_anchor("NW")
        return panel

    first = [draw_input] if "input" in explanations[0].extras else []
    return [*first, *(partial(draw_map, e) for e in explanations)]


def _series_figure(explanations: Sequence[Explanation], row: int, label: str) -> str:
    content = "The series in black over its own map" if explanations[0].values.ndim == 2 else "One line a feature"
    return html_panels(
        [lambda: tracks(explanations, row)],
        title=label,
        description=f"{label}. {content}, one figure a method, each on its own scale; if a map has signs, red is positive and blue negative.",
        table=_largest_values_table(explanations, row),
    )


def _text_figure(e: Explanation, row: int, label: str) -> str:
    dim = e.dims[1]
    stored = e.extras.get(dim)
    texts = [str(t) for t in (stored[1][row] if stored is not None else e.coords[dim])]
    lines = [(t, number_text(float(v))) for t, v in zip(texts, e.values[row], strict=True) if np.isfinite(v)]
    single = e[row]
    spans = " ".join(
        f'<span style="background:{tint}">{escape(t)}</span>'
        for t, v, tint in zip(texts, single.values, word_colors(single), strict=True)
        if np.isfinite(v)
    )
    words = f"<div class=words>{spans}</div>"
    return folded_table(
        words, f"{label}, {e.evidence.method}: {legend_of(single)}.", html_table((dim.capitalize(), "Value"), lines)
    )


def _feature_bars(e: Explanation) -> str:
    order = e.ordered(12)
    lines = [(e.feature_names[j], number_text(float(np.abs(e.values[:, j]).mean()))) for j in order]
    return html_figure(
        lambda: bar(e, title=title_of(e)),
        title=e.evidence.method,
        description=f"{e.evidence.method}: mean absolute value over {len(e):,} row{'s' if len(e) != 1 else ''}, {e.units}.",
        table=html_table(("Feature", "Mean absolute value"), lines),
    )
