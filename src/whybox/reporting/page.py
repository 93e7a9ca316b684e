"""One HTML page that asks nothing of anybody: no script, no network, light and dark, printable."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

__all__ = ["html_page", "html_table"]

# No scripts, no requests; styles are the page's own, pictures are inside it.
_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)

_STYLE_SHEET: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #5a6472; --line: #d9dee5; --paper: #ffffff; --box: #f5f7f9; --good: #1a7f4b; --bad: #b3261e;
  --shade: #1b1f2466; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --faint: #a0a9b6; --line: #343b45; --paper: #14171b; --box: #1d2229; --good: #5cc98d; --bad: #ff8a80;
    --shade: #ffffff66; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1.2rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .3rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.faint { color: var(--faint); }
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
table { border-collapse: collapse; font-size: .88rem; margin: .5rem 0; }
th, td { padding: .18rem .8rem .18rem 0; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; min-width: 6.5rem; max-width: 24rem; }
td.text, th.text { text-align: left; overflow-wrap: anywhere; min-width: 5rem; max-width: 34rem; }
td.word, th.word { text-align: left; white-space: nowrap; } td.whole { white-space: nowrap; }
caption { text-align: left; color: var(--faint); padding-bottom: .2rem; }
.grid > * { min-width: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: .4rem 1.6rem; }
.cards { display: flex; flex-wrap: wrap; gap: .7rem; margin: .6rem 0; }
.card { background: var(--box); border: 1px solid var(--line); border-radius: 8px; padding: .5rem .9rem; min-width: 8rem; }
.card b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--faint); font-size: .82rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
code { font-size: .88em; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .picture { overflow-x: auto; background: linear-gradient(90deg, transparent, var(--paper) 60%) right / 2.4rem 100% no-repeat local,
    linear-gradient(90deg, transparent, var(--shade)) right / .9rem 100% no-repeat scroll; }
  .picture svg { max-width: none; width: auto; min-width: 26rem; }
  th:first-child, td:first-child, td.text, th.text { max-width: 11rem; }
  .checks, .checks thead, .checks tbody { display: block; }
  .checks tr { display: grid; grid-template-columns: 1fr 7rem 4.5rem; border-bottom: 1px solid var(--line); }
  .checks th, .checks td { border: 0; }
  .checks th.text, .checks td.text { grid-column: 1 / -1; max-width: none; }
}
@media (max-width: 27rem) { .picture::after { content: "The picture is wider: scroll it sideways."; position: sticky; left: 0; display: block;
  width: fit-content; color: var(--faint); font-size: .82rem; } }
@media print {
  :root { color-scheme: light; --ink: #000; --faint: #444; --line: #bbb; --paper: #fff; --box: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2, h3, section > p, summary { break-after: avoid; }
  h2, h3, p { break-inside: avoid; }
  h2 { margin-top: 1.2rem; }
  svg { max-height: 10cm; }
  .words span { print-color-adjust: exact; }
  .grid { display: block; }
  .grid svg { max-width: 9cm; }
  table { font-size: 8.5pt; line-height: 1.3; }
  tr { break-inside: avoid; }
  figure { break-inside: auto; }
  .picture, .panels, figcaption { break-inside: avoid; break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  .scroll { overflow: visible; }
}
"""


def html_page(title: str, subtitle: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """Return the whole page.

    Args:
        title, subtitle: plain text.
        sections: (anchor, heading, HTML body).
    """
    links = "".join(f'<li><a href="#{escape(anchor)}">{escape(heading)}</a></li>' for anchor, heading, _ in sections)
    body = "".join(
        f'<section id="{escape(anchor)}"><h2>{escape(heading)}</h2>{html}</section>'
        for anchor, heading, html in sections
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_SECURITY_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{_STYLE_SHEET}</style></head>'
        f'<body><header><h1>{escape(title)}</h1><p class="faint">{escape(subtitle)}</p></header>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav><main>{body}</main></body></html>\n'
    )


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
