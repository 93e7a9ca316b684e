"""The tables of methods in the docs, written from the registry: ``python tests/method_tables.py --write``."""

from __future__ import annotations

import sys
from dataclasses import MISSING
from pathlib import Path

from whybox.methods.method_spec import FAMILIES
from whybox.methods.registry import methods, options_of

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"
VERBS = {
    "shap": "`wb.explain(model, X, method=...)`",
    "effects": "`wb.effects(model, X, kind=...)`",
    "interactions": "`wb.interactions(model, X)`",
    "regions": "`wb.regions(model, X, feature)`",
    "importance": "`wb.importance(model, X, method=...)`",
    "lime": "`wb.lime(model, X, background, method=...)`",
    "anchors": "`wb.anchors(model, X, background)`",
    "saliency": "`wb.saliency(net, inputs, method=...)`",
}


def lines(head, rows):
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]  # a bar would end the cell
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in cells)]


def every_method():
    """All methods, family by family, for docs/methods.md."""
    out = []
    for family in FAMILIES:
        rows = [
            (f"`{s.id}`", s.title, s.summary, ", ".join(s.needs), "exact" if s.exact else "estimated", s.reference)
            for s in methods(family)
        ]
        out += ["", f"### {VERBS[family]}", ""]
        out += lines(("method", "title", "what it is", "needs", "numbers are", "reference"), rows)
    return "\n".join(out[1:])


def option(o):
    return f"`{o.name}`" if o.default is MISSING or o.default is None else f"`{o.name}={o.default!r}`"


def of_saliency():
    """The methods of saliency with their options and what they cost, for docs/saliency.md."""
    rows = [(f'`"{s.id}"`', s.summary, ", ".join(map(option, options_of(s))), s.cost) for s in methods("saliency")]
    return "\n".join(lines(("method", "what it is", "options", "costs, a row"), rows))


PAGES = {DOCS / "methods.md": every_method, DOCS / "saliency.md": of_saliency}


def inside(page):
    return page.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()


if "--write" in sys.argv:
    for page, table in PAGES.items():
        head, tail = page.read_text(encoding="utf-8").split(BEGIN)[0], page.read_text(encoding="utf-8").split(END)[1]
        page.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}", encoding="utf-8")
