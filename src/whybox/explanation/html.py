"""What a notebook shows: a small static table with bars, and the evidence. No script, readable in light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from whybox.explanation.explanation import Explanation

__all__ = ["evidence_html", "number", "table_html"]

ROWS = 8
FEATURES = 12
_POSITIVE, _NEGATIVE = "#d1495b", "#2e86c1"


def number(value: float) -> str:
    """Return a number short enough for a table."""
    if not np.isfinite(value):
        return str(value)
    size = abs(value)
    return f"{value:.4g}" if size == 0 or 1e-4 <= size < 1e6 else f"{value:.3e}"


def table_html(e: Explanation) -> str:
    """Return the explanation's first rows (or features) as HTML."""
    flat = e
    if "output" in e.dims:
        flat = e[..., 0]
    body = _rows(flat) if flat.dims == ("row", "feature") else _features(flat)
    many = f" (output {escape(e.output_names[0])} of {len(e.output_names)})" if "output" in e.dims else ""
    axes = ", ".join(
        f"{n:,} {d.replace('_', ' ')}s" if n != 1 else f"1 {d.replace('_', ' ')}"
        for d, n in zip(e.dims, e.shape, strict=True)
    )
    return (
        f'<div style="font:13px/1.5 system-ui,sans-serif"><div><b>{escape(e.kind.capitalize())}</b> in {escape(e.units)}: {axes}{many}. '
        f"{escape(e.evidence.method)}{', exact' if e.evidence.exact else ', not exact'}.</div>{body}{evidence_html(e)}</div>"
    )


def evidence_html(e: Explanation) -> str:
    """Return the evidence as a folded list."""
    items = "".join(
        f'<tr><td style="text-align:left;padding:1px 10px 1px 0">{escape(k)}</td><td style="text-align:left">{escape(v)}</td></tr>'
        for k, v in e.evidence.lines()
    )
    return f"<details><summary>Evidence</summary><table>{items}</table></details>"


def _bar(value: float, most: float) -> str:
    width = 0.0 if most == 0 or not np.isfinite(value) else 50 * abs(value) / most
    left = 50 if value >= 0 else 50 - width
    return (
        f'<span style="display:inline-block;position:relative;width:110px;height:10px;vertical-align:middle">'
        f'<span style="position:absolute;left:{left:.1f}%;width:{width:.1f}%;height:100%;background:{_POSITIVE if value >= 0 else _NEGATIVE}"></span></span>'
    )


def _features(e: Explanation) -> str:
    """One line a feature, largest first: for one row, or for an importance."""
    if "feature" not in e.dims:
        return f"<div>{escape(number(float(np.mean(e.values))))}</div>"
    axes = tuple(i for i, d in enumerate(e.dims) if d != "feature")
    values = e.values.mean(axis=axes) if axes else e.values
    if "feature_2" in e.dims:
        values = np.abs(e.values).mean(axis=axes)
    order = e.ordered(FEATURES)
    most = float(np.abs(values[order]).max(initial=0.0))
    lines = "".join(
        f'<tr><td style="text-align:left">{escape(e.feature_names[j])}</td><td>{_bar(float(values[j]), most)}</td><td style="text-align:right">{number(float(values[j]))}</td></tr>'
        for j in order
    )
    more = len(e.feature_names) - len(order)
    tail = f'<tr><td colspan="3" style="text-align:left">and {more} more</td></tr>' if more else ""
    return f"<table>{lines}{tail}</table>"


def _rows(e: Explanation) -> str:
    """One line a row, the largest features first."""
    order = e.ordered(FEATURES)
    head = "".join(f"<th>{escape(e.feature_names[j])}</th>" for j in order)
    most = float(np.abs(e.values[:ROWS, order]).max(initial=0.0))
    lines = []
    for i in range(min(ROWS, len(e.values))):
        cells = "".join(
            f'<td style="text-align:right">{number(v)}<br><span style="display:inline-block;height:3px;width:{0 if most == 0 else 40 * abs(v) / most:.0f}px;'
            f'background:{_POSITIVE if v >= 0 else _NEGATIVE}"></span></td>'
            for v in map(float, e.values[i, order])
        )
        told = (
            "" if e.prediction is None else f'<td style="text-align:right"><b>{number(float(e.prediction[i]))}</b></td>'
        )
        lines.append(f'<tr><td style="text-align:left">{escape(str(e.coords["row"][i]))}</td>{cells}{told}</tr>')
    more = []
    if len(e.values) > ROWS:
        more.append(f"{len(e.values) - ROWS:,} more rows")
    if len(e.feature_names) > len(order):
        more.append(f"{len(e.feature_names) - len(order):,} more features")
    note = (
        f"<div>and {' and '.join(more)}; base {number(float(e.base))}</div>"
        if more
        else f"<div>base {number(float(e.base))}</div>"
    )
    told = "" if e.prediction is None else "<th>prediction</th>"
    return f'<table><tr><th style="text-align:left">row</th>{head}{told}</tr>{"".join(lines)}</table>{note}'
