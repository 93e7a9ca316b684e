"""One HTML page that asks nothing of anybody: no script, no network, light and dark, printable."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from html import escape
from typing import Final

from whybox.plots.style import minus_signs

__all__ = ["NO_BREAK", "guide_html", "html_page", "html_table"]

NO_BREAK: Final = "\N{NO-BREAK SPACE}"
# No scripts, no requests; styles are the page's own, pictures are inside it.
_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)

_LONG_WORD: Final = re.compile(r"\S{13,}")
_LONG_PIECE: Final = re.compile(r"(?:&[#\w]+;|.){1,16}")  # a character of HTML is never cut

_STYLE_SHEET: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #5a6472; --line: #d9dee5; --paper: #ffffff; --box: #f5f7f9; --good: #1a7f4b; --bad: #b3261e; --shade: #0003; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --faint: #a0a9b6; --line: #343b45; --paper: #14171b; --box: #1d2229; --good: #5cc98d; --bad: #ff8a80; --shade: #fff4; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.2rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h4 { font-size: .95rem; margin: .9rem 0 .2rem; overflow-wrap: anywhere; }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.faint { color: var(--faint); }
.guide { color: var(--faint); margin: .15rem 0; } .guide strong { color: var(--ink); font-weight: 600; }
.guide + :not(.guide) { margin-top: .9rem; }
.cover { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .8rem 0; max-width: 46rem; }
.cover dt { color: var(--faint); } .cover dd { margin: 0; overflow-wrap: anywhere; }
.answers dt { font-weight: 600; margin-top: .9rem; } .answers dd { margin: .1rem 0 0; max-width: 46rem; }
.answers ul { margin: .2rem 0; padding-left: 1.2rem; }
.decision { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); gap: .2rem 1.6rem; align-items: start; margin: 1rem 0 1.6rem; }
.decision > :first-child, .decision > .wide { grid-column: 1 / -1; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .8rem 0; }
a { color: inherit; }
figure { margin: .8rem 0 1.2rem; }
figure svg { display: block; max-width: 100%; height: auto; color: var(--ink); }
.panels { display: flex; flex-wrap: wrap; gap: .3rem .4rem; }
.words { margin: .2rem 0; line-height: 2; max-width: 46rem; overflow-wrap: anywhere; }
.words span { padding: .1rem .35rem; border-radius: 5px; }
figcaption { color: var(--faint); font-size: .88rem; max-width: 46rem; margin: .3rem 0; overflow-wrap: anywhere; }
details { margin: .3rem 0; }
summary { cursor: pointer; color: var(--faint); font-size: .88rem; }
.scroll { overflow-x: auto; }
/* a shadow at the side where there is more */
.picture, .scroll { background: linear-gradient(to right, var(--paper) 30%, transparent) left / 2.2rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 30%, transparent) right / 2.2rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .8rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .88rem; margin: .5rem 0; }
th, td { padding: .18rem .8rem .18rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; overflow-wrap: break-word; min-width: 6.5rem; max-width: 24rem; }
td.text, th.text { text-align: left; overflow-wrap: break-word; min-width: 5rem; max-width: 34rem; }
td.word, th.word { text-align: left; white-space: nowrap; } td.whole { white-space: nowrap; }
caption { text-align: left; max-width: calc(100vw - 2.6rem); color: var(--faint); padding-bottom: .2rem; }
.grid > * { min-width: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: .4rem 1.6rem; }
.cards { display: flex; flex-wrap: wrap; gap: .7rem; margin: .6rem 0; }
.card { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: .5rem .9rem; min-width: 8rem; }
.card b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--faint); font-size: .82rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
code { font-size: .88em; overflow-wrap: anywhere; }
@media (max-width: 60rem) { .decision { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 40rem) {
  .picture { overflow-x: auto; }
  .picture svg { max-width: 35rem; width: auto; min-width: 26rem; } .grid .picture svg { max-width: 100%; min-width: 0; width: 100%; }
  h1 { font-size: 1.35rem; }
  .cover { grid-template-columns: 1fr; gap: 0; } .cover dd { margin-bottom: .3rem; }
  th, td { padding-right: .5rem; } th:first-child, td:first-child { min-width: 5.6rem; max-width: 11rem; } td.text { min-width: 6rem; }
  .checks, .checks thead, .checks tbody { display: block; }
  .checks tr { display: grid; grid-template-columns: 1fr 7rem 4.5rem; border-bottom: 1px solid var(--line); }
  .checks th, .checks td { border: 0; }
  .checks th.text, .checks td.text { grid-column: 1 / -1; max-width: none; }
}
@media (max-width: 27rem) { .picture::after { content: "The picture is wider: scroll it sideways."; position: sticky; left: 0; display: block;
  width: fit-content; color: var(--faint); font-size: .82rem; } .grid .picture::after { content: none; } }
@page { margin: 15mm 14mm; }
@media print {
  :root { color-scheme: light; --ink: #000; --faint: #444; --line: #bbb; --paper: #fff; --box: #fff; }
  body { max-width: none; padding: 0; font-size: 8.6pt; line-height: 1.3; }
  nav { display: none; }
  .titled { break-after: page; padding-top: 30mm; } .titled h1 { font-size: 20pt; margin-bottom: 8mm; }
  section { break-before: page; } section.follows, main > section:first-child { break-before: auto; } section.follows { break-inside: avoid; }
  h2, h3, h4, section > p, summary { break-after: avoid; }
  h2, h3, p { break-inside: avoid; }
  h2 { margin-top: .6rem; } section:not(.follows) > h2 { border: 0; margin: 0; padding: 0; }
  svg { max-height: 8.6cm; }
  .grid svg { max-height: 5cm; } .grid figure { margin: .2rem 0 0; }
  figcaption, summary { margin: 0; font-size: 8pt; }
  .words span { print-color-adjust: exact; }
  .grid { grid-template-columns: 1fr 1fr; gap: .2rem .8rem; } .grid > * { break-inside: avoid; }
  .seen { break-inside: avoid; } .seen svg { max-height: 7.4cm; } .seen > p { margin: .2rem 0; }
  th:first-child, td:first-child { min-width: 4.5rem; } td.text, th.text { min-width: 3.6rem; }
  .decision { grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); break-inside: avoid; margin: .3rem 0 .6rem; }
  .decision svg { max-height: 8.4cm; } .decision h4 { margin: .2rem 0 0; }
  .decision p { margin: .1rem 0; } .decision .faint { font-size: 8pt; } .decision table { margin: .1rem 0; font-size: 7.5pt; }
  table { font-size: 8pt; line-height: 1.3; }
  th, td { padding: .1rem .5rem .1rem 0; }
  tr { break-inside: avoid; }
  figure { break-inside: auto; margin: .4rem 0 .6rem; }
  .picture, .panels, figcaption { break-inside: avoid; } .picture, .panels { break-after: avoid; }
  figure details { display: none; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  .scroll { overflow: visible; break-inside: avoid; } .picture, .scroll { background: none; }
}
"""


def guide_html(look_for: str, not_conclude: str) -> str:
    """Return the two sentences under a heading, plain texts: what to look for, and what not to conclude."""
    return (
        f"<p class=guide><strong>Look for:</strong> {escape(look_for)}</p>"
        f"<p class=guide><strong>Do not conclude:</strong> {escape(not_conclude)}</p>"
    )


def html_page(
    title: str,
    sections: Sequence[tuple[str, str, str]],
    *,
    cover: str = "",
    follows: Container[str] = (),
) -> str:
    """Return the whole page.

    Args:
        title: plain text. cover: HTML below it; printed, both have a page of their own.
        sections: (anchor, heading, HTML body). follows: anchors of sections that, printed, do not begin a page.
    """
    links = "".join(f'<li><a href="#{escape(anchor)}">{escape(heading)}</a></li>' for anchor, heading, _ in sections)
    body = "".join(
        f'<section id="{escape(anchor)}"{"" if anchor not in follows else " class=follows"}><h2>{escape(heading)}</h2>{html}</section>'
        for anchor, heading, html in sections
    )
    return _typeset(
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_SECURITY_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{_STYLE_SHEET}</style></head>'
        f"<body><header{' class=titled' if cover else ''}><h1>{escape(title)}</h1>{cover}</header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main>{body}</main></body></html>\n'
    )


def _typeset(html: str) -> str:
    """Set the page's own words: minus signs as in pictures, no line break inside ``95 %``, ``class 1`` and before ``=``, and places to break long names at.

    Pictures, code and the words of explained texts stay as they are.
    """

    def set_text(found: re.Match[str]) -> str:
        if found[2] is None:
            return found[0]
        text = re.sub(r" (?=%|= )|(?<=\b[Cc]lass) (?=\d)", NO_BREAK, minus_signs(found[2]))
        return _LONG_WORD.sub(_breakable, text)

    return re.sub(
        r"<(?:(svg|style|code|title)\b.*?</\1>|div class=words>.*?</div>)|(?<=>)([^<]+)",
        set_text,
        html,
        flags=re.DOTALL,
    )


def _breakable(word: re.Match[str]) -> str:
    """A long name or fingerprint with places where a line may break: behind underscores and slashes, and in what is still long."""
    pieces = re.split(r"(?<=[_/])(?=[^_/])", word[0])
    return "<wbr>".join("<wbr>".join(_LONG_PIECE.findall(piece)) for piece in pieces)


def html_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", text: Sequence[int] = ()
) -> str:
    """Return an HTML table of plain texts; the first column names the row, columns in `text` are set left.

    Args:
        head: column headings. rows: cells. caption: above the table. text: positions of further columns that hold words.
    """

    def cell(tag: str, at: int, value: str) -> str:
        return f"<{tag}{' class=text' if at in text else ''}>{escape(value)}</{tag}>"

    lines = "".join("<tr>" + "".join(cell("td", i, c) for i, c in enumerate(row)) + "</tr>" for row in rows)
    top = "".join(cell("th", i, c) for i, c in enumerate(head))
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{named}<thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table></div>'
