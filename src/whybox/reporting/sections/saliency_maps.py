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
from whybox.methods.registry import MethodSpec, of_id
from whybox.methods.saliency.recipe import read_recipe
from whybox.plots.bar import bar
from whybox.plots.saliency_image import legend_of, overlay, picture_of, tints, title_of
from whybox.plots.saliency_series import SERIES_DIMS, TEXT_DIMS, tracks
from whybox.plots.style import axes
from whybox.reporting.page import table
from whybox.reporting.svg import figure, folded, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROWWISE", "MethodMaps", "saliency_maps_section", "share_lines", "sums"]

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
    def found(self) -> Explanation | tuple[Explanation, ...]:
        """As ``whybox.saliency`` gave them."""
        return self.parts if self.several else self.parts[0]

    @property
    def named(self) -> dict[str, Explanation]:
        """The explanations under the names of their inputs."""
        which = read_recipe(self.e).inputs if self.several else (0,)
        return {self.names[k]: e for k, e in zip(which, self.parts, strict=True)}


def sums(parts: Sequence[Explanation]) -> Floats | None:
    """Sum of each input's attributions, (rows, inputs) [, outputs], which together make score - base; None where maps need not add up."""
    if not parts[0].evidence.additive:
        return None
    out = []
    for e in parts:
        last = e.values.ndim - ("output" in e.dims)
        out.append(np.nansum(e.values, axis=tuple(range(1, last))))
    return np.stack(out, axis=1)


def share_lines(found: Floats, names: Sequence[str], least: float = 0.0) -> list[tuple[str, str, str]]:
    """(input, sum, share) of each input, then of all: the mean sum over the rows, and its share of the sizes of these sums, whatever their signs.

    Args:
        found: (rows, inputs), of :func:`sums`. names: of the inputs. least: what rounding explains, of which there are no shares.
    """
    sizes = np.abs(found).mean(axis=0)
    whole = float(sizes.sum())
    shares = [f"{s / whole:.1%}" if whole > least else "" for s in sizes]
    means = found.mean(axis=0)
    lines = [(n, number(float(m), 3), s) for n, m, s in zip(names, means, shares, strict=True)]
    return [*lines, ("together", number(float(means.sum()), 3), "100%" if whole > least else "")]


def saliency_maps_section(shown: Sequence[MethodMaps], rows: int) -> str:
    """The section, with a figure for each of the first `rows` rows where maps are of single rows, and one for each method where they are of tables."""
    first = shown[0].e
    drawn = range(min(rows, len(first)))
    fewer = "; methods but the first were asked about these alone" if any(len(s.e) < len(first) for s in shown) else ""
    rowwise = any(e.dims[1:] in ROWWISE for s in shown for e in s.parts)
    said = (
        f"<p class=faint>The first {len(drawn)} of {len(first):,} rows{fewer}.</p>"
        if rowwise and len(drawn) < len(first)
        else ""
    )
    if not shown[0].several:
        return said + "".join(_single([s.e for s in shown], drawn))
    return said + _shares(shown) + "".join(_several(shown, drawn)) + _inputs_without_map(shown)


def _single(found: Sequence[Explanation], rows: range) -> Iterator[str]:
    kind = found[0].dims[1:]
    if kind in ROWWISE:
        for row in rows:
            yield from _of_row(found, row, _label(found[0], row))
    elif kind == ("feature",):
        for e in found:
            yield _bars(e)
    else:
        yield f"<p>{_NO_PICTURE}</p>"


_NO_PICTURE: Final = "Maps of this shape have no picture; the numbers are in the explanation itself."


def _several(shown: Sequence[MethodMaps], rows: range) -> Iterator[str]:
    """Row by row the inputs that are drawn so, then the others."""
    inputs: Mapping[str, list[Explanation]] = {n: [s.named[n] for s in shown if n in s.named] for n in shown[0].names}
    rowwise = {n: found for n, found in inputs.items() if found and found[0].dims[1:] in ROWWISE}
    for row in rows if rowwise else ():
        yield f"<h3>{escape(_label(shown[0].e, row))}</h3>"
        for name, found in rowwise.items():
            yield from _of_row(found, row, f"{name}, row {row}")
        yield "".join(_share_of_row(s, row) for s in shown)
    for name, found in inputs.items():
        if not found or name in rowwise:
            continue
        yield f"<h3>{escape(name)}</h3>"
        if found[0].dims[1:] == ("feature",):
            yield "".join(_bars(e) for e in found)
        else:
            yield f"<p>{_NO_PICTURE}</p>"


def _inputs_without_map(shown: Sequence[MethodMaps]) -> str:
    """Which inputs have no map, and why."""
    lines = []
    for s in shown:
        missing = [n for n in s.names if n not in s.named]
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


def _shares(shown: Sequence[MethodMaps]) -> str:
    parts = [_share_table(s) for s in shown]
    if not any(parts):
        return "<p class=faint>None of these methods adds up, so no share of the answer belongs to an input.</p>"
    return "<h3>How much comes from each input</h3>" + "".join(parts)


def _share_table(s: MethodMaps) -> str:
    """Of the rows together."""
    found = sums(s.parts)
    if found is None:
        return ""
    over = f"{len(found):,} rows" if len(found) != 1 else "one row"
    about = (
        f"{s.e.evidence.method}, mean of {over}. A row's sums make its score less its baseline score; a share is of the mean sizes of the sums, "
        "whatever their signs."
    )
    return f"<p class=faint>{escape(about)}</p>" + table(
        ("Input", "Sum", "Share"), share_lines(found, tuple(s.named), float(negligible(s.e).max()))
    )


def _share_of_row(s: MethodMaps, row: int) -> str:
    found = sums(s.parts)
    if found is None or row >= len(found):
        return ""
    *each, whole = share_lines(found[[row]], tuple(s.named), float(negligible(s.e).max()))
    listed = ", ".join(f"{name} {sum_}{f' ({share})' if share else ''}" for name, sum_, share in each)
    return f"<p>{escape(f'{s.e.evidence.method} of this row: {listed}; together {whole[1]}.')}</p>"


def _label(e: Explanation, row: int) -> str:
    found, called = e.extras.get("target"), e.extras.get("target_name")
    about = (
        f"{called[1][row]}, " if called is not None else f"output {int(found[1][row])}, " if found is not None else ""
    )
    score = "" if e.prediction is None else f"score {number(float(np.asarray(e.prediction)[row]))}"
    return f"Row {e.coords['row'][row]}: {about}{score}"


def _of_row(found: Sequence[Explanation], row: int, label: str) -> Iterator[str]:
    kind = found[0].dims[1:]
    if kind == ("y", "x"):
        yield _pictures([e for e in found if e.shape[1:] == found[0].shape[1:]], row, label)
        yield from (_pictures([e], row, label) for e in found if e.shape[1:] != found[0].shape[1:])
    elif kind in TEXT_DIMS:
        yield from (_texts(e, row, label) for e in found)
    else:
        yield _series(found, row, label)


def _strongest(e: Explanation, row: int, most: int) -> Iterator[tuple[str, str, str]]:
    """(method, place, value) of the strongest places."""
    values = e.values[row]
    for at in np.argsort(-np.abs(values), axis=None, kind="stable")[:most]:
        where = np.unravel_index(at, values.shape)
        error = "" if e.std_error is None else f" ± {number(float(e.std_error[(row, *where)]), 2)}"
        place = ", ".join(f"{d} {e.coords[d][k]}" for d, k in zip(e.dims[1:], where, strict=True))
        yield e.evidence.method, place, f"{number(float(values[where]))}{error}"


def _pictures(found: Sequence[Explanation], row: int, label: str) -> str:
    lines = [line for e in found for line in _strongest(e, row, MAX_TABLE_POSITIONS)]
    return panels(
        _small(found, row),
        title=label,
        description=f"{label}. The input, then one map a method, each on its own scale; red speaks for, blue against, where a map has signs.",
        table=table(
            ("Method", "Place", "Value"), lines, caption=f"The {MAX_TABLE_POSITIONS} strongest places", text=(1,)
        ),
    )


def _small(found: Sequence[Explanation], row: int) -> list[Callable[[], Axes]]:
    """What draws the input, and the map of each method."""

    def input_() -> Axes:
        drawn = picture_of(found[0], row, ax=axes(None, *PANEL_INCHES))
        assert drawn is not None  # noqa: S101  # asked for where there is one
        drawn.set_anchor("NW")  # all at one height
        return drawn

    def of(e: Explanation) -> Axes:
        drawn = overlay(e, row, ax=axes(None, *PANEL_INCHES), title=e.evidence.method)
        drawn.set_anchor("NW")
        return drawn

    first = [input_] if "input" in found[0].extras else []
    return [*first, *(partial(of, e) for e in found)]


def _series(found: Sequence[Explanation], row: int, label: str) -> str:
    lines = [line for e in found for line in _strongest(e, row, MAX_TABLE_POSITIONS)]
    drawn = "The series in black over its own map" if found[0].values.ndim == 2 else "One line a feature"
    return panels(
        [lambda: tracks(found, row)],
        title=label,
        description=f"{label}. {drawn}, one picture a method, each on its own scale; red speaks for, blue against, where a map has signs.",
        table=table(
            ("Method", "Place", "Value"), lines, caption=f"The {MAX_TABLE_POSITIONS} strongest places", text=(1,)
        ),
    )


def _texts(e: Explanation, row: int, label: str) -> str:
    dim = e.dims[1]
    held = e.extras.get(dim)
    texts = [str(t) for t in (held[1][row] if held is not None else e.coords[dim])]
    lines = [(t, number(float(v))) for t, v in zip(texts, e.values[row], strict=True) if np.isfinite(v)]
    one = e[row]
    spans = " ".join(
        f'<span style="background:{tint}">{escape(t)}</span>'
        for t, v, tint in zip(texts, one.values, tints(one), strict=True)
        if np.isfinite(v)
    )
    drawn = f"<div class=words>{spans}</div>"
    return folded(drawn, f"{label}, {e.evidence.method}: {legend_of(one)}.", table((dim.capitalize(), "Value"), lines))


def _bars(e: Explanation) -> str:
    order = e.ordered(12)
    lines = [(e.feature_names[j], number(float(np.abs(e.values[:, j]).mean()))) for j in order]
    return figure(
        lambda: bar(e, title=title_of(e)),
        title=e.evidence.method,
        description=f"{e.evidence.method}: mean absolute value over {len(e):,} row{'s' if len(e) != 1 else ''}, {e.units}.",
        table=table(("Feature", "Mean absolute value"), lines),
    )
