"""The report about a network: where it looks, by several methods, and whether the maps hold."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from whybox.checks.check import check
from whybox.checks.result import Checks
from whybox.errors import OptionError, UnsupportedModelError
from whybox.explanation.explanation import Explanation
from whybox.explanation.html import number
from whybox.methods.saliency.catalog import METHODS
from whybox.methods.saliency.saliency import saliency
from whybox.plots.bar import bar
from whybox.plots.overlay import beside, title_of, words
from whybox.reporting.figures import figure
from whybox.reporting.page import page, table
from whybox.storage import writing

__all__ = ["network_report"]

USUAL: Final = ("gradient", "integrated_gradients", "gradcam")  # the last where the network has layers with places
ROWS: Final = 6  # with a picture
PLACES: Final = 5  # in the table behind a picture
CHECKED: Final = 4  # rows


def network_report(  # noqa: PLR0913  # what a report can be asked
    net: Any,
    inputs: Any,
    path: str | Path,
    *,
    output: Any = None,
    output_names: Any = None,
    background: Any = None,
    methods: Sequence[str] | None = None,
    title: str | None = None,
    source: str = "",
) -> Explanation:
    """Write one offline page: the network and its answers, maps by several methods side by side, what the checks found, the evidence.

    Args:
        net, inputs, output_names, background: as for ``whybox.saliency``; output: its target.
        methods: names; None: gradient, integrated gradients, and Grad-CAM where there is a layer for it.

    Returns:
        The explanation by the first method.

    Raises:
        OptionError: several inputs, or several outputs at once. Others as ``whybox.saliency``.
    """
    if isinstance(inputs, (tuple, dict)):
        raise OptionError("a report shows networks of one input; use whybox.saliency for several.")
    if output == "all" or (isinstance(output, list) and all(isinstance(o, str) for o in output)):
        raise OptionError(
            "a report of a network shows one output a row; name one, or leave output out for the largest of each row."
        )
    found, kept = _maps(net, inputs, output, output_names, background, methods)
    first = found[0]
    checks = [
        check(e, net, inputs, background=background if METHODS[name].background else None, max_rows=CHECKED)
        for e, name in zip(found, kept, strict=True)
    ]
    parts = [
        ("asked", "What was asked", _asked(first)),
        ("maps", "Where it looks", _looks(found)),
        ("checks", "Do the maps hold?", "".join(_checked(e, c) for e, c in zip(found, checks, strict=True))),
        ("evidence", "Evidence", "".join(_evidence(e) for e in found)),
    ]
    html = page(
        title or f"Where {first.evidence.model.split(' (')[0]} looks",
        f"{len(first):,} rows" + (f" from {source}" if source else ""),
        parts,
    )
    with writing(path) as part:
        part.write_text(html, encoding="utf-8")
    return first


def _maps(
    net: Any, inputs: Any, output: Any, names: Any, background: Any, methods: Sequence[str] | None
) -> tuple[list[Explanation], list[str]]:
    """One explanation a method, and the methods; of those nobody asked for, the ones that do not fit are left out."""
    found, kept = [], []
    for method in USUAL if methods is None else methods:
        takes = method in METHODS and METHODS[method].background
        options = {"background": background} if background is not None and takes else {}
        try:
            e = saliency(net, inputs, output, method, output_names=names, **options)
        except UnsupportedModelError:
            if methods is not None or method == "gradient":
                raise
            continue
        assert isinstance(e, Explanation)  # noqa: S101  # of one input
        found.append(e)
        kept.append(method)
    if not found:
        raise OptionError("methods= is empty: name at least one.")
    return found, kept


def _asked(e: Explanation) -> str:
    shape = " x ".join(f"{n:,} {d}" for d, n in zip(e.dims[1:], e.shape[1:], strict=True))
    names = [str(n) for n in e.coords.get("output", ())]
    about = (
        f"output {names[0]}"
        if names
        else "the largest output of each row"
        if "target" in e.extras
        else "its only output"
    )
    return (
        f"<p>{escape(e.evidence.model)}. It was asked about {len(e):,} rows; the maps have {escape(shape)}. Explained is {escape(about)}.</p>"
        "<p>A map says which parts of the input this answer hangs on, by the method's own definition of “hangs on”. Methods answer "
        "different questions, so their maps differ also where each is right; what the checks below found says how far each can be believed.</p>"
    )


def _looks(found: Sequence[Explanation]) -> str:
    rows = range(min(ROWS, len(found[0])))
    more = len(found[0]) - len(rows)
    said = f"<p class=faint>The first {len(rows)} of {len(found[0]):,} rows.</p>" if more > 0 else ""
    kind = found[0].dims[1:]
    if kind == ("y", "x"):
        return said + "".join(_pictures(found, row) for row in rows)
    if kind in (("token",), ("word",)):
        return said + "".join(_texts(e, row) for row in rows for e in found)
    if kind == ("feature",):
        return "".join(_bars(e) for e in found)
    return said + "<p>Maps of this shape have no picture; the numbers are in the explanation itself.</p>"


def _label(e: Explanation, row: int) -> str:
    found = e.extras.get("target")
    about = f"output {int(found[1][row])}, " if found is not None else ""
    score = "" if e.prediction is None else f"score {number(float(np.asarray(e.prediction)[row]))}"
    return f"Row {e.coords['row'][row]}: {about}{score}"


def _pictures(found: Sequence[Explanation], row: int) -> str:
    lines = []
    for e in found:
        values = e.values[row]
        for at in np.argsort(-np.abs(values), axis=None, kind="stable")[:PLACES]:
            y, x = np.unravel_index(at, values.shape)
            error = "" if e.std_error is None else f" ± {number(float(e.std_error[row, y, x]), 2)}"
            lines.append((e.evidence.method, f"y {y}, x {x}", f"{number(float(values[y, x]))}{error}"))
    label = _label(found[0], row)
    return figure(
        lambda: beside(found, row, columns=3)[0],
        title=label,
        description=f"{label}. The input, then one map a method, each on its own scale; red speaks for, blue against, where a map has signs.",
        table=table(("Method", "Place", "Value"), lines, caption=f"The {PLACES} strongest places", text=(1,)),
    )


def _texts(e: Explanation, row: int) -> str:
    dim = e.dims[1]
    held = e.extras.get(dim)
    texts = [str(t) for t in (held[1][row] if held is not None else e.coords[dim])]
    lines = [(t, number(float(v))) for t, v in zip(texts, e.values[row], strict=True) if np.isfinite(v)]
    return figure(
        lambda: words(e, row),
        title=_label(e, row),
        description=f"{_label(e, row)}, {e.evidence.method}.",
        table=table((dim.capitalize(), "Value"), lines),
    )


def _bars(e: Explanation) -> str:
    order = e.ordered(12)
    lines = [(e.feature_names[j], number(float(np.abs(e.values[:, j]).mean()))) for j in order]
    return figure(
        lambda: bar(e, title=title_of(e)),
        title=e.evidence.method,
        description=f"{e.evidence.method}: mean absolute value over the rows, {e.units}.",
        table=table(("Feature", "Mean absolute value"), lines),
    )


def _checked(e: Explanation, found: Checks) -> str:
    colour = {"pass": "good", "fail": "bad", "disagree": "bad"}
    verdict = "holds in every check that applies" if found.passed else "does not hold in every check"
    lines = "".join(
        f"<tr><td>{escape(c.name)}</td><td class='text {colour.get(c.verdict, 'faint')}'>{escape(c.verdict)}</td>"
        f"<td>{'' if c.number is None else escape(number(c.number))}</td><td class=text>{escape(c.reason)}</td></tr>"
        for c in found.rows
    )
    head = "<tr><th>Check</th><th class=text>Verdict</th><th>Number</th><th class=text>Why</th></tr>"
    return f"<h3>{escape(e.evidence.method)}: {verdict}</h3><div class=scroll><table><thead>{head}</thead><tbody>{lines}</tbody></table></div>"


def _evidence(e: Explanation) -> str:
    return f"<h3>{escape(e.evidence.method)}</h3>" + table(("What", "Is"), e.evidence.lines(), text=(1,))
