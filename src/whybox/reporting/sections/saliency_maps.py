"""Where a network looks: a figure for every input of every row shown, and how much comes from each input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number
from whybox.explanation.negligible import negligible
from whybox.methods.registry import load, of_id
from whybox.methods.saliency.recipe import read_recipe
from whybox.plots.bar import bar
from whybox.plots.saliency_image import legend_of, overlay, picture_of, title_of, word_colors
from whybox.plots.saliency_series import SERIES_DIMS, TEXT_DIMS, tracks
from whybox.plots.style import axes
from whybox.reporting.page import table
from whybox.reporting.svg import figure, folded, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROWWISE", "MethodMaps", "saliency_maps_section", "share_lines", "sums_by_input"]

PANEL_INCHES: Final = (2.35, 2.15)  # inches; four beside each other on a wide page
MAX_TABLE_POSITIONS: Final = 5  # in the table behind a picture
ROWWISE: Final = (("y", "x"), *SERIES_DIMS, *TEXT_DIMS)  # maps that are drawn one row at a time


@final
@dataclass(frozen=True)
class MethodMaps:
    """The maps of one method, and what they were made from: of pictures and texts, methods but the first are asked about the rows that are shown.

    Attributes:
        parts: one explanation for each input that has a map. several: whether there are several inputs. names: of all inputs.
    """

    parts: tuple[Explanation, ...]
    several: bool
    names: tuple[str, ...]
    inputs: Any
    background: Any

    @property
    def e(self) -> Explanation:
        """The first, which speaks for all about the method, the rows and the answers."""
        return self.parts[0]

    @property
    def answer(self) -> Explanation | tuple[Explanation, ...]:
        """As ``whybox.saliency`` gave them."""
        return self.parts if self.several else self.parts[0]

    @property
    def named(self) -> dict[str, Explanation]:
        """The explanations under the names of their inputs."""
        which = read_recipe(self.e).inputs if self.several else (0,)
        return {self.names[k]: e for k, e in zip(which, self.parts, strict=True)}


def sums_by_input(parts: Sequence[Explanation]) -> Floats | None:
    """Sum of each input's attributions, (rows, inputs) [, outputs], which together make score - base; None where maps need not add up."""
    if not parts[0].evidence.additive:
        return None
    out = []
    for e in parts:
        last = e.values.ndim - ("output" in e.dims)
        out.append(np.nansum(e.values, axis=tuple(range(1, last))))
    return np.stack(out, axis=1)


def share_lines(input_sums: Floats, names: Sequence[str], negligible_sum: float = 0.0) -> list[tuple[str, str, str]]:
    """(input, sum, share) of each input, then of all: the mean sum over the rows, and its share of the sizes of these sums, whatever their signs.

    Args:
        input_sums: (rows, inputs), of :func:`sums_by_input`. names: of the inputs. least: what rounding explains, of which there are no shares.
    """
    sizes = np.abs(input_sums).mean(axis=0)
    total = float(sizes.sum())
    shares = [f"{s / total:.1%}" if total > negligible_sum else "" for s in sizes]
    means = input_sums.mean(axis=0)
    lines = [(n, number(float(m), 3), s) for n, m, s in zip(names, means, shares, strict=True)]
    return [*lines, ("together", number(float(means.sum()), 3), "100%" if total > negligible_sum else "")]


def saliency_maps_section(method_maps: Sequence[MethodMaps], rows: int) -> str:
    """The section, with a figure for each of the first `rows` rows where maps are of single rows, and one for each method where they are of tables."""
    first = method_maps[0].e
    drawn = range(min(rows, len(first)))
    fewer = (
        "; methods but the first were asked about these alone"
        if any(len(s.e) < len(first) for s in method_maps)
        else ""
    )
    rowwise = any(e.dims[1:] in ROWWISE for s in method_maps for e in s.parts)
    caption = (
        f"<p class=faint>The first {len(drawn)} of {len(first):,} rows{fewer}.</p>"
        if rowwise and len(drawn) < len(first)
        else ""
    )
    if not method_maps[0].several:
        return caption + "".join(_one_input_maps([s.e for s in method_maps], drawn))
    return (
        caption
        + _share_tables(method_maps)
        + "".join(_several_input_maps(method_maps, drawn))
        + _inputs_without_map(method_maps)
    )


def _one_input_maps(maps: Sequence[Explanation], rows: range) -> Iterator[str]:
    kind = maps[0].dims[1:]
    if kind in ROWWISE:
        for row in rows:
            yield from _row_figures(maps, row, _row_label(maps[0], row))
    elif kind == ("feature",):
        for e in maps:
            yield _feature_bars(e)
    else:
        yield f"<p>{_NO_PICTURE}</p>"


_NO_PICTURE: Final = "Maps of this shape have no picture; the numbers are in the explanation itself."


def _several_input_maps(shown: Sequence[MethodMaps], rows: range) -> Iterator[str]:
    """Row by row the inputs that are drawn so, then the others."""
    inputs: Mapping[str, list[Explanation]] = {n: [s.named[n] for s in shown if n in s.named] for n in shown[0].names}
    rowwise = {n: maps for n, maps in inputs.items() if maps and maps[0].dims[1:] in ROWWISE}
    for row in rows if rowwise else ():
        yield f"<h3>{escape(_row_label(shown[0].e, row))}</h3>"
        for name, maps in rowwise.items():
            yield from _row_figures(maps, row, f"{name}, row {row}")
        yield "".join(_share_of_row(s, row) for s in shown)
    for name, maps in inputs.items():
        if not maps or name in rowwise:
            continue
        yield f"<h3>{escape(name)}</h3>"
        if maps[0].dims[1:] == ("feature",):
            yield "".join(_feature_bars(e) for e in maps)
        else:
            yield f"<p>{_NO_PICTURE}</p>"


def _inputs_without_map(shown: Sequence[MethodMaps]) -> str:
    """Which inputs have no map, and why."""
    lines = []
    for s in shown:
        missing = [n for n in s.names if n not in s.named]
        if missing:
            reason = "whole numbers have no derivative" if s.e.evidence.index == "none" else "they are held as they are"
            why = "class activation maps are of one input" if _needs_channels(s.e) else reason
            lines.append(f"{s.e.evidence.method} has no map of {', '.join(missing)}: {why}.")
    return "".join(f"<p class=faint>{escape(line)}</p>" for line in lines)


def _needs_channels(e: Explanation) -> bool:
    """Whether the method works on the channels of a layer, as class activation maps do."""
    spec = of_id(e.method_id)
    return spec is not None and bool(load(spec.run).channels)


def _share_tables(shown: Sequence[MethodMaps]) -> str:
    parts = [_share_table(s) for s in shown]
    if not any(parts):
        return "<p class=faint>None of these methods adds up, so no share of the answer belongs to an input.</p>"
    return "<h3>How much comes from each input</h3>" + "".join(parts)


def _share_table(s: MethodMaps) -> str:
    """Of the rows together."""
    input_sums = sums_by_input(s.parts)
    if input_sums is None:
        return ""
    over = f"{len(input_sums):,} rows" if len(input_sums) != 1 else "one row"
    about = (
        f"{s.e.evidence.method}, mean of {over}. A row's sums make its score less its baseline score; a share is of the mean sizes of the sums, "
        "whatever their signs."
    )
    return f"<p class=faint>{escape(about)}</p>" + table(
        ("Input", "Sum", "Share"), share_lines(input_sums, tuple(s.named), float(negligible(s.e).max()))
    )


def _share_of_row(s: MethodMaps, row: int) -> str:
    input_sums = sums_by_input(s.parts)
    if input_sums is None or row >= len(input_sums):
        return ""
    *each, total = share_lines(input_sums[[row]], tuple(s.named), float(negligible(s.e).max()))
    listed = ", ".join(f"{name} {sum_}{f' ({share})' if share else ''}" for name, sum_, share in each)
    return f"<p>{escape(f'{s.e.evidence.method} of this row: {listed}; together {total[1]}.')}</p>"


def _row_label(e: Explanation, row: int) -> str:
    target, target_name = e.extras.get("target"), e.extras.get("target_name")
    about = (
        f"{target_name[1][row]}, "
        if target_name is not None
        else f"output {int(target[1][row])}, "
        if target is not None
        else ""
    )
    score = "" if e.prediction is None else f"score {number(float(np.asarray(e.prediction)[row]))}"
    return f"Row {e.coords['row'][row]}: {about}{score}"


def _row_figures(maps: Sequence[Explanation], row: int, label: str) -> Iterator[str]:
    kind = maps[0].dims[1:]
    if kind == ("y", "x"):
        yield _picture_figure([e for e in maps if e.shape[1:] == maps[0].shape[1:]], row, label)
        yield from (_picture_figure([e], row, label) for e in maps if e.shape[1:] != maps[0].shape[1:])
    elif kind in TEXT_DIMS:
        yield from (_text_figure(e, row, label) for e in maps)
    else:
        yield _series_figure(maps, row, label)


def _strongest(e: Explanation, row: int, most: int) -> Iterator[tuple[str, str, str]]:
    """(method, place, value) of the strongest places."""
    values = e.values[row]
    for at in np.argsort(-np.abs(values), axis=None, kind="stable")[:most]:
        where = np.unravel_index(at, values.shape)
        error = "" if e.std_error is None else f" ± {number(float(e.std_error[(row, *where)]), 2)}"
        place = ", ".join(f"{d} {e.coords[d][k]}" for d, k in zip(e.dims[1:], where, strict=True))
        yield e.evidence.method, place, f"{number(float(values[where]))}{error}"


def _picture_figure(maps: Sequence[Explanation], row: int, label: str) -> str:
    lines = [line for e in maps for line in _strongest(e, row, MAX_TABLE_POSITIONS)]
    return panels(
        _picture_panels(maps, row),
        title=label,
        description=f"{label}. The input, then one map a method, each on its own scale; red speaks for, blue against, where a map has signs.",
        table=table(
            ("Method", "Place", "Value"), lines, caption=f"The {MAX_TABLE_POSITIONS} strongest places", text=(1,)
        ),
    )


def _picture_panels(maps: Sequence[Explanation], row: int) -> list[Callable[[], Axes]]:
    """What draws the input, and the map of each method."""

    def input_() -> Axes:
        drawn = picture_of(maps[0], row, ax=axes(None, *PANEL_INCHES))
        assert drawn is not None  # noqa: S101  # asked for where there is one
        drawn.set_anchor("NW")  # all at one height
        return drawn

    def of(e: Explanation) -> Axes:
        drawn = overlay(e, row, ax=axes(None, *PANEL_INCHES), title=e.evidence.method)
        drawn.set_anchor("NW")
        return drawn

    first = [input_] if "input" in maps[0].extras else []
    return [*first, *(partial(of, e) for e in maps)]


def _series_figure(maps: Sequence[Explanation], row: int, label: str) -> str:
    lines = [line for e in maps for line in _strongest(e, row, MAX_TABLE_POSITIONS)]
    drawn = "The series in black over its own map" if maps[0].values.ndim == 2 else "One line a feature"
    return panels(
        [lambda: tracks(maps, row)],
        title=label,
        description=f"{label}. {drawn}, one picture a method, each on its own scale; red speaks for, blue against, where a map has signs.",
        table=table(
            ("Method", "Place", "Value"), lines, caption=f"The {MAX_TABLE_POSITIONS} strongest places", text=(1,)
        ),
    )


def _text_figure(e: Explanation, row: int, label: str) -> str:
    dim = e.dims[1]
    held = e.extras.get(dim)
    texts = [str(t) for t in (held[1][row] if held is not None else e.coords[dim])]
    lines = [(t, number(float(v))) for t, v in zip(texts, e.values[row], strict=True) if np.isfinite(v)]
    row_map = e[row]
    spans = " ".join(
        f'<span style="background:{tint}">{escape(t)}</span>'
        for t, v, tint in zip(texts, row_map.values, word_colors(row_map), strict=True)
        if np.isfinite(v)
    )
    drawn = f"<div class=words>{spans}</div>"
    return folded(
        drawn, f"{label}, {e.evidence.method}: {legend_of(row_map)}.", table((dim.capitalize(), "Value"), lines)
    )


def _feature_bars(e: Explanation) -> str:
    order = e.ordered(12)
    lines = [(e.feature_names[j], number(float(np.abs(e.values[:, j]).mean()))) for j in order]
    return figure(
        lambda: bar(e, title=title_of(e)),
        title=e.evidence.method,
        description=f"{e.evidence.method}: mean absolute value over {len(e):,} row{'s' if len(e) != 1 else ''}, {e.units}.",
        table=table(("Feature", "Mean absolute value"), lines),
    )
