"""What a notebook shows: a small static table with bars, and the evidence. No script, readable in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from whybox.data.table import Floats
from whybox.explanation.errors_of_values import median_error_text
from whybox.explanation.labelled import Labelled
from whybox.explanation.lines_html import NAME_STYLE, lines_table
from whybox.explanation.negligible import negligible_size, without_rounding
from whybox.explanation.number_text import number_text
from whybox.models.links import PREDICTION_UNITS

__all__ = [
    "NAME_STYLE",
    "NEGATIVE",
    "POSITIVE",
    "bar_cell",
    "capitalized",
    "effects_html",
    "error_text",
    "evidence_html",
    "framed_table",
    "largest_size",
    "number_text",
    "table_html",
]

MAX_ROWS_SHOWN = 8
MAX_FEATURES_SHOWN = 12
MAX_COLUMNS_SHOWN = 8  # features of several rows: no more has room in a notebook
MAX_UNBROKEN = 20  # characters of a value that stays on one line
MAX_OUTPUTS_SHOWN = 6  # whose predictions are written
# Of a table that may be wider than its page, which then scrolls; a telephone shows no scroll bar.
WIDE_TABLE_HINT = (
    "<style>.whybox-hint{display:none}@media (max-width:48em){.whybox-hint{display:block}}</style>"
    '<div class="whybox-hint"><i>If columns are cut off, scroll the table sideways.</i></div>'
)
POSITIVE, NEGATIVE = "#d1495b", "#2e86c1"


def capitalized(text: str) -> str:
    """Return words with a capital letter first, the others as they are."""
    return f"{text[0].upper()}{text[1:]}"


def error_text(e: Labelled, at: Any) -> str:
    """Return `` ± 0.012``, the standard error of the value at a position; nothing of an exact value."""
    error = 0.0 if e.std_error is None else float(e.std_error[at])
    return "" if error == 0.0 else f" ± {number_text(error, 2)}"


def table_html(e: Labelled) -> str:
    """Return the explanation's first rows (or features) as HTML; of several outputs the first, of one row whose outputs are classes the predicted one."""
    at = _shown_output(e)
    flat = e[..., at] if "output" in e.dims else e
    if "point" in flat.dims:
        body = _curve_line(flat)
    elif flat.dims == ("row", "feature"):
        body = _attribution_table(flat)
    elif flat.dims == ("feature", "method"):
        body = _agreement_table(flat)
    elif e.kind == "saliency" and "row" in flat.dims:
        body = _saliency_table(flat)
    elif e.kind == "saliency" and len(flat.dims) > 1:
        body = _map_line(flat)
    else:
        body = _row_line(e) + _feature_table(flat)
    return framed_table(e, f"{body}{_findings_list(e)}", output=at)


def _shown_output(e: Labelled) -> int:
    if "output" not in e.dims or e.kind != "attribution" or "row" in e.dims or e.prediction is None:
        return 0
    return int(np.argmax(e.prediction)) if e.units != PREDICTION_UNITS else 0


def framed_table(e: Labelled, body: str, *, output: int = 0) -> str:
    """Return a table as HTML, below a line that says what it is of and above the evidence; of several outputs one is shown, at position `output`."""
    units = "" if e.kind == "rule" else f" in {escape(e.units)}"
    names = [str(name) for name in e.coords.get("output", ())]
    many = f" (output {escape(names[output])} of {len(names)})" if "output" in e.dims else ""
    if len(names) == 1 and names != [PREDICTION_UNITS] and e.kind == "attribution":
        many = f" (output {escape(names[0])})"
    about_errors = "; ± standard error" if e.std_error is not None and {*e.dims} & {"feature", "word"} else ""
    if e.kind == "interaction" and about_errors:  # what is shown are means over pairs
        about_errors = median_error_text(e)
    axes = ", ".join(_counted_features(d, n) for d, n in zip(e.dims, e.shape, strict=True)) or "one number"
    return (
        f'<div style="font:13px/1.5 system-ui,sans-serif"><div><b>{escape(e.kind.capitalize())}</b>{units}: {axes}{many}. '
        f"{escape(e.evidence.method)}{', exact' if e.evidence.exact else ', not exact'}{about_errors}.</div>{body}{evidence_html(e)}</div>"
    )


def _counted_features(dim: str, n: int) -> str:
    """``5 rows``, ``1 feature``; places are counted along their axes: ``y 224``."""
    name = dim.replace("_", " ")
    if dim in ("x", "y", "z") or dim.startswith("axis"):
        return f"{name} {n:,}"
    return f"{n:,} {name}{'' if n == 1 else 's'}"


def _saliency_table(e: Labelled) -> str:
    """One line a row of maps: its score, the largest value and where, and how far the map is from adding up."""
    completeness = e.extras.get("completeness_error")
    head = ["row", "score", "largest value", "at", *(["adds up within"] if completeness is not None else [])]
    lines = []
    for i in range(min(len(e), MAX_ROWS_SHOWN)):
        size = np.abs(np.nan_to_num(e.values[i]))
        at = np.unravel_index(int(size.argmax()), size.shape)
        score = "" if e.prediction is None else number_text(float(np.asarray(e.prediction).reshape(len(e), -1)[i, 0]))
        cells = [
            str(e.coords["row"][i]),
            score,
            number_text(float(e.values[i][at])),
            ", ".join(f"{d} {k}" for d, k in zip(e.dims[1:], at, strict=True)),
        ]
        if completeness is not None:
            cells.append(number_text(abs(float(completeness[1][i])), 2))
        lines.append(
            "<tr>"
            + "".join(f'<td style="text-align:right;padding:1px 10px 1px 0">{escape(c)}</td>' for c in cells)
            + "</tr>"
        )
    top = "".join(f'<th style="text-align:right;padding:1px 10px 1px 0">{h}</th>' for h in head)
    more = (
        f"<div>and {len(e) - len(lines):,} more rows; .plot.overlay(row) draws one</div>" if len(e) > len(lines) else ""
    )
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>{more}"


def _map_line(e: Labelled) -> str:
    """One map: its score, the largest value and where."""
    score = "" if e.prediction is None else f"score {number_text(float(e.prediction))}, "
    size = np.abs(np.nan_to_num(e.values))
    at = np.unravel_index(int(size.argmax()), size.shape)
    where = ", ".join(f"{d} {k}" for d, k in zip(e.dims, at, strict=True))
    draws = "; .plot.overlay() draws it" if e.dims == ("y", "x") else ""
    return f"<div>{score}largest value {number_text(float(e.values[at]))} at {escape(where)}{draws}</div>"


def effects_html(effects: Mapping[Any, Labelled], names: Sequence[Any]) -> str:
    """Return the sizes of the effects of these names as HTML, and the evidence of the first; the others are counted."""
    from whybox.explanation.axis_points import curve_spread

    names = names[:MAX_FEATURES_SHOWN]
    most = max((curve_spread(effects[n]) for n in names), default=0.0)
    lines = "".join(
        f'<tr><td style="{NAME_STYLE};max-width:22em">{escape(n if isinstance(n, str) else " x ".join(n))}</td>'
        f'<td>{bar_cell(curve_spread(effects[n]), most)}</td><td style="text-align:right">{number_text(curve_spread(effects[n]))}</td></tr>'
        for n in names
    )
    more = len(effects) - len(names)
    tail = f'<tr><td colspan="3" style="text-align:left">and {more} more</td></tr>' if more else ""
    first = effects[names[0]]
    caption = (
        f"{escape(first.evidence.method)}, in {escape(first.units)}: standard deviation of each curve over the rows."
    )
    return f'<div style="font:13px/1.5 system-ui,sans-serif"><div><b>Effects</b>. {caption}</div><table>{lines}{tail}</table>{evidence_html(first)}</div>'


def _curve_line(e: Labelled) -> str:
    """Up to eight points of a curve with their values; of a surface or of many rows, the mean."""
    from whybox.explanation.axis_points import point_labels

    axes = tuple(i for i, d in enumerate(e.dims) if d != "point")
    values = e.values.mean(axis=axes) if axes else e.values
    count = MAX_ROWS_SHOWN if "point" in e.dims else 0
    shown = np.unique(np.linspace(0, len(values) - 1, count).astype(np.int64))
    most = float(np.abs(np.nan_to_num(values)).max(initial=0.0))
    lines = "".join(
        f'<tr><td style="{NAME_STYLE}">{escape(w)}</td><td>{bar_cell(float(values[i]), most)}</td><td style="text-align:right">{number_text(float(values[i]))}</td></tr>'
        for i, w in zip(shown, point_labels(e.coords["point"][shown]) if len(shown) else (), strict=True)
    )
    return f"<table>{lines}</table>"


def evidence_html(e: Labelled) -> str:
    """Return the evidence as a folded list."""
    return f"<details><summary>Evidence</summary>{lines_table(e.evidence.lines())}</details>"


def bar_cell(value: float, most: float) -> str:
    """Return a value as a bar to the right or left of the middle; `most` fills half of the cell."""
    width = 0.0 if most == 0 or not np.isfinite(value) else 50 * abs(value) / most
    left = 50 if value >= 0 else 50 - width
    return (
        f'<span style="display:inline-block;position:relative;width:110px;height:10px;vertical-align:middle">'
        f'<span style="position:absolute;left:{left:.1f}%;width:{width:.1f}%;height:100%;background:{POSITIVE if value >= 0 else NEGATIVE}"></span></span>'
    )


def largest_size(e: Labelled, values: Floats) -> float:
    """Return the largest value, of which bars are shares; zero where all are rounding."""
    most = float(np.abs(values).max(initial=0.0))
    return most if most > negligible_size(e).max() else 0.0


def _feature_table(e: Labelled) -> str:
    """One line a feature, largest first: for one row, or for an importance."""
    if "feature" not in e.dims:
        error = error_text(e, ()) if e.values.ndim == 0 else ""
        return f"<div>{escape(number_text(float(np.mean(e.values))) + error)}</div>"
    axes = tuple(i for i, d in enumerate(e.dims) if d != "feature")
    e = without_rounding(e)
    values = e.values.mean(axis=axes) if axes else e.values
    if "feature_2" in e.dims:
        values = np.abs(e.values).mean(axis=axes)
    order = e.ordered(MAX_FEATURES_SHOWN)
    has_errors = e.kind in ("attribution", "importance") and not axes
    if e.kind == "importance" and not axes:
        order = np.argsort(-values, kind="stable")[:MAX_FEATURES_SHOWN]  # a negative one is not large
    most = largest_size(e, values[order])
    cells = _cells_of_row(e, [e.feature_names[j] for j in order])
    lines = "".join(
        f'<tr><td style="{NAME_STYLE};max-width:22em">{escape(e.feature_names[j])}</td>{cell}<td>{bar_cell(float(values[j]), most)}</td>'
        f'<td style="white-space:nowrap;text-align:right">{number_text(float(values[j]))}{error_text(e, j) if has_errors else ""}</td></tr>'
        for j, cell in zip(order, cells, strict=True)
    )
    more = len(e.feature_names) - len(order)
    tail = f'<tr><td colspan="4" style="text-align:left">and {more} more</td></tr>' if more else ""
    return f"<table>{lines}{tail}</table>"


def _cells_of_row(e: Labelled, names: Sequence[str]) -> list[str]:
    """What one row has in these features, a cell of a table each; nothing where there are several rows, or none."""
    from whybox.explanation.feature_values import value_of_row

    if e.kind != "attribution" or e.dims != ("feature",) or e.data is None:
        return [""] * len(names)
    texts = [value_of_row(e, name) or "" for name in names]
    styles = [
        f"{NAME_STYLE};max-width:16em" if len(t) > MAX_UNBROKEN else "text-align:left;white-space:nowrap" for t in texts
    ]
    return [f'<td style="{style};padding-left:10px">{escape(t)}</td>' for style, t in zip(styles, texts, strict=True)]


def _row_line(e: Labelled) -> str:
    """The label of one row, its prediction, of several outputs the largest first, and the base."""
    if e.kind != "attribution" or "row" in e.dims or "row" not in e.coords or e.prediction is None:
        return ""
    e = without_rounding(e)
    prediction = np.reshape(np.asarray(e.prediction), -1)
    order = np.argsort(-prediction, kind="stable")
    names = e.output_names or ("",)
    each = [f"{names[k]} {number_text(float(prediction[k]))}".strip() for k in order[:MAX_OUTPUTS_SHOWN]]
    more = f" and {len(order) - len(each)} more" if len(order) > len(each) else ""
    base = "" if e.base.ndim or not np.isfinite(e.base) else f", base {number_text(float(e.base))}"
    return f"<div>Row {escape(str(e.coords['row'][0]))}: prediction <b>{escape(', '.join(each))}</b>{more}{base}</div>"


def _agreement_table(e: Labelled) -> str:
    """One line a feature, one column a method: its share of the largest, and the rank with its interval."""
    order = e.ordered(MAX_FEATURES_SHOWN)
    ranks = e.extras["rank"][1]
    ends = e.extras["rank_interval"][1]
    most = float(np.nanmax(np.abs(e.values), initial=0.0))
    lines = []
    for j in order:
        cells = "".join(
            f'<td style="padding-right:10px;white-space:nowrap">{bar_cell(float(e.values[j, k]), most)} '
            f"{number_text(float(e.values[j, k]), 2)}<br>rank {escape(_rank_text(ranks[j, k], ends[j, k]))}</td>"
            for k in range(e.values.shape[1])
        )
        lines.append(
            f'<tr><td style="{NAME_STYLE};min-width:8em;max-width:22em">{escape(e.feature_names[j])}</td>{cells}</tr>'
        )
    head = "".join(f'<th style="text-align:left">{escape(str(name))}</th>' for name in e.coords["method"])
    more = f"<div>and {len(e) - len(order)} more features</div>" if len(e) > len(order) else ""
    return f'<div style="overflow-x:auto"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>{WIDE_TABLE_HINT}{more}'


def _rank_text(rank: float, ends: Floats) -> str:
    """``3 (2 to 5)``; the rank alone where it is certain or its interval is not known."""
    low, high = (float(end) for end in ends)
    return f"{rank:.0f}" if np.isnan(low) or low == high else f"{rank:.0f} ({low:.0f} to {high:.0f})"


def _findings_list(e: Labelled) -> str:
    """What methods disagree about, one sentence a line."""
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in e.findings)
    return f"<ul>{lines}</ul>" if lines else ""


def _column_heading(name: str) -> str:
    return f'<th style="min-width:5em;max-width:13em;white-space:normal;overflow-wrap:break-word;text-align:right;vertical-align:bottom">{escape(name)}</th>'


def _attribution_table(e: Labelled) -> str:
    """One line a row, the largest features first."""
    order = e.ordered(MAX_COLUMNS_SHOWN)
    differ = "base" in e.extras and (np.isnan(e.base).any() or e.offset is not None)
    bases = e.base_values if differ else None  # of rows that differ in it
    head = "".join(_column_heading(e.feature_names[j]) for j in order)
    more = []
    if len(e.values) > MAX_ROWS_SHOWN:
        more.append(f"{len(e.values) - MAX_ROWS_SHOWN:,} more rows")
    if len(e.feature_names) > len(order):
        more.append(f"{len(e.feature_names) - len(order):,} more features")
    e = without_rounding(e)
    most = largest_size(e, e.values[:MAX_ROWS_SHOWN, order])
    lines = []
    for i in range(min(MAX_ROWS_SHOWN, len(e.values))):
        cells = "".join(
            f'<td style="text-align:right;white-space:nowrap">{number_text(v)}{error_text(e, (i, j))}'
            f'<span style="display:block;margin-left:auto;height:3px;width:{0 if most == 0 else 40 * abs(v) / most:.0f}px;'
            f'background:{POSITIVE if v >= 0 else NEGATIVE}"></span></td>'
            for j, v in zip(order, map(float, e.values[i, order]), strict=True)
        )
        prediction_cell = (
            ""
            if e.prediction is None
            else f'<td style="text-align:right"><b>{number_text(float(e.prediction[i]))}</b></td>'
        )
        base_cell = f'<td style="text-align:right">{number_text(float(bases[i]))}</td>' if bases is not None else ""
        lines.append(
            f'<tr><td style="text-align:left">{escape(str(e.coords["row"][i]))}</td>{base_cell}{prediction_cell}{cells}</tr>'
        )
    base = [f"base {number_text(float(e.base))}"] if np.isfinite(e.base) else []
    rest = [f"and {' and '.join(more)}"] if more else []
    note = f"<div>{'; '.join([*rest, *base])}</div>" if rest or base else ""
    right = "vertical-align:bottom;text-align:right"
    base_cell = "" if bases is None else f'<th style="{right}">base</th>'
    prediction_cell = "" if e.prediction is None else f'<th style="{right}">{e.explained}</th>'
    top = f'<tr><th style="text-align:left;vertical-align:bottom">row</th>{base_cell}{prediction_cell}{head}</tr>'
    return f'<div style="overflow-x:auto"><table>{top}{"".join(lines)}</table></div>{WIDE_TABLE_HINT}{note}'
