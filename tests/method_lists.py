"""The lists of methods in the docs, written from the registry: ``python tests/method_lists.py --write``."""

from __future__ import annotations

import re
import sys
import textwrap
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


def entry(text):
    """One method as an entry of a list, in lines that are short enough; what stands in backticks stays in one."""
    kept = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    filled = textwrap.fill(
        kept, 120, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return filled.replace("\0", " ")


def every_method():
    """All methods, family by family, for docs/methods.md."""
    out = []
    for family in FAMILIES:
        out += ["", f"### {VERBS[family]}", ""]
        for s in methods(family):
            numbers = "exact" if s.exact else "estimated"
            out.append(
                entry(
                    f"**`{s.id}`** ({s.title}): {s.summary}. *Needs* {', '.join(s.needs)}; *numbers are* {numbers}. {s.reference}."
                )
            )
    return "\n".join(out[1:])


def option(o):
    return f"`{o.name}`" if o.default is MISSING or o.default is None else f"`{o.name}={o.default!r}`"


def of_saliency():
    """The methods of saliency with their options and what they cost, for docs/saliency.md."""
    out = []
    for s in methods("saliency"):
        options = ", ".join(map(option, options_of(s)))
        out.append(
            entry(
                f'**`"{s.id}"`**: {s.summary}. '
                + (f"*Options*: {options}. " if options else "")
                + f"*A row costs* {s.cost}."
            )
        )
    return "\n".join(out)


PAGES = {DOCS / "methods.md": every_method, DOCS / "saliency.md": of_saliency}


def parts(page):
    """What stands before the list of a page, in it and behind it."""
    head, rest = page.read_text(encoding="utf-8").split(BEGIN)
    return head, *rest.split(END)


def inside(page):
    return parts(page)[1].strip()


if "--write" in sys.argv:
    for page, table in PAGES.items():
        head, _, tail = parts(page)
        page.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}", encoding="utf-8")
