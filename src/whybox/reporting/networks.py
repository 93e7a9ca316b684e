"""The report about a network: where it looks, by several methods, and whether the maps hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final, final

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
WAIT: Final = 60.0  # seconds that the checks of one method may take, unless all were asked for
CHECKED: Final = (16, 8, 4)  # rows: as many as may be within that time
FEWEST: Final = 4  # rows over which a check that counts rows can tell anything
GROUPS: Final = {"numerical": 1, "stability": 8, "model dependence": 18, "faithfulness": 0}  # maps of each row, at most
COUNTED: Final = ("model dependence", "faithfulness")  # verdicts hang on an interval over rows
PICTURED: Final = (("y", "x"), ("token",), ("word",))  # maps that are drawn one row at a time
CURVES: Final = 700  # forwards of each row for deletion and insertion


@final
@dataclass(frozen=True)
class _Shown:
    """A map, and what it was made from: of pictures and texts, methods but the first are asked about the rows that are shown."""

    e: Explanation
    inputs: Any
    background: Any


def network_report(  # noqa: PLR0913  # what a report can be asked
    net: Any,
    inputs: Any,
    path: str | Path,
    *,
    output: Any = None,
    output_names: Any = None,
    background: Any = None,
    methods: Sequence[str] | None = None,
    checks: Sequence[str] | str | None = None,
    reading: Mapping[str, Any] | None = None,
    title: str | None = None,
    source: str = "",
) -> Explanation:
    """Write one offline page: the network and its answers, maps by several methods side by side, what the checks found, the evidence.

    Args:
        net, inputs, output_names, background: as for ``whybox.saliency``; output: its target.
        methods: names; None: gradient, integrated gradients, and Grad-CAM where there is a layer for it.
        checks: as for ``whybox.check``; None: those that take about WAIT seconds a method. reading: embedding, tokenizer, words of ``whybox.saliency``.

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
    shown = _maps(net, inputs, output, background, methods, {"output_names": output_names, **(reading or {})})
    found = [s.e for s in shown]
    first = found[0]
    parts = [
        ("asked", "What was asked", _asked(first)),
        ("maps", "Where it looks", _looks(found)),
        (
            "checks",
            "Do the maps hold?",
            _judged(shown, net, checks, output if callable(output) else None, (reading or {}).get("tokenizer")),
        ),
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
    net: Any, inputs: Any, output: Any, background: Any, methods: Sequence[str] | None, options: Mapping[str, Any]
) -> list[_Shown]:
    """One explanation a method; of those nobody asked for, the ones that do not fit are left out."""
    found: list[_Shown] = []
    for method in USUAL if methods is None else methods:
        behind = background if method in METHODS and METHODS[method].background else None
        asked, target = inputs, output
        if found and found[0].e.dims[1:] in PICTURED and len(found[0].e) > ROWS:
            asked, target = inputs[:ROWS], _first(output, len(found[0].e))
        try:
            e = saliency(net, asked, target, method, background=behind, **options)
        except UnsupportedModelError:
            if methods is not None or method == "gradient":
                raise
            continue
        assert isinstance(e, Explanation)  # noqa: S101  # of one input
        found.append(_Shown(e, asked, behind))
    if not found:
        raise OptionError("methods= is empty: name at least one.")
    return found


def _first(output: Any, rows: int) -> Any:
    """The targets of the rows shown, where there is one a row."""
    each = not isinstance(output, (str, tuple)) and hasattr(output, "__len__") and len(output) == rows
    return output[:ROWS] if each else output


def _asked(e: Explanation) -> str:
    places = list(zip(e.dims[1:], e.shape[1:], strict=True))
    shape = (
        " x ".join(f"{n:,}" for _, n in places) + " places (" + ", ".join(d for d, _ in places) + ")"
        if len(places) > 1
        else f"{places[0][1]:,} {places[0][0]}{'s' if places[0][1] != 1 else ''}"
    )
    names = [str(n) for n in e.coords.get("output", ())]
    about = (
        f"output {names[0]}"
        if names
        else "the largest output of each row"
        if "target" in e.extras
        else "its only output"
    )
    return (
        f"<p>{escape(e.evidence.model)}. It was asked about {len(e):,} row{'s' if len(e) != 1 else ''}; a map has {escape(shape)}. Explained is {escape(about)}.</p>"
        "<p>A map says which parts of the input this answer hangs on, by the method's own definition of “hangs on”. Methods answer "
        "different questions, so their maps differ also where each is right; what the checks below found says how far each can be believed.</p>"
    )


def _looks(found: Sequence[Explanation]) -> str:
    rows = range(min(ROWS, len(found[0])))
    more = len(found[0]) - len(rows)
    fewer = "; methods but the first were asked about these alone" if any(len(e) < len(found[0]) for e in found) else ""
    said = f"<p class=faint>The first {len(rows)} of {len(found[0]):,} rows{fewer}.</p>" if more > 0 else ""
    kind = found[0].dims[1:]
    if kind == ("y", "x"):
        return said + "".join(_pictures(found, row) for row in rows)
    if kind in (("token",), ("word",)):
        return said + "".join(_texts(e, row) for row in rows for e in found)
    if kind == ("feature",):
        return "".join(_bars(e) for e in found)
    return said + "<p>Maps of this shape have no picture; the numbers are in the explanation itself.</p>"


def _label(e: Explanation, row: int) -> str:
    found, called = e.extras.get("target"), e.extras.get("target_name")
    about = (
        f"{called[1][row]}, " if called is not None else f"output {int(found[1][row])}, " if found is not None else ""
    )
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
        lambda: beside(found, row, columns=min(len(found) + 1, 4), width=2.7)[0],
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


def _judged(shown: Sequence[_Shown], net: Any, asked: Sequence[str] | str | None, function: Any, tokenizer: Any) -> str:
    """The checks of each method, and which were left out."""
    spent = [s.e.evidence for s in shown]
    forward = max(e.seconds / max(e.passes["forward"] + e.passes["backward"], 1) for e in spent)
    parts = []
    for s in shown:
        groups, rows, left = (asked, CHECKED[0], "") if asked is not None else _affordable(s.e, forward)
        found = check(
            s.e,
            net,
            s.inputs,
            checks=groups,
            background=s.background,
            max_rows=rows,
            target=function,
            tokenizer=tokenizer,
        )
        parts.append(_checked(s.e, found, left))
    return "".join(parts)


def _affordable(e: Explanation, forward: float) -> tuple[Sequence[str], int, str]:
    """Which checks, of how many rows, and what was left out and why, by what a map and a forward took."""
    one = e.evidence.seconds / len(e)
    cost = {g: maps * one + (CURVES * forward if g == "faithfulness" else 0.0) for g, maps in GROUPS.items()}
    able = [g for g in GROUPS if len(e) >= FEWEST or g not in COUNTED]
    few = [g for g in GROUPS if g not in able]
    for rows in CHECKED:
        if min(rows, len(e)) * sum(cost[g] for g in able) <= WAIT:
            return able, rows, _left(few, [])
    rows, kept = min(CHECKED[-1], len(e)), ["numerical"]
    for group in able[1:]:
        if rows * (cost[group] + sum(cost[g] for g in kept)) <= WAIT:
            kept.append(group)
    while rows > 1 and len(kept) == 1 and rows * cost["numerical"] > WAIT:
        rows //= 2
    return kept, rows, _left(few, [g for g in able if g not in kept])


def _left(few: Sequence[str], dear: Sequence[str]) -> str:
    why = [f"{', '.join(few)} (fewer than {FEWEST} rows tell nothing)"] if few else []
    why += [f"{', '.join(dear)} (more than {WAIT:.0f} seconds)"] if dear else []
    return f"<p>Left out: {'; '.join(why)}. Nothing is with <code>checks=&quot;all&quot;</code>.</p>" if why else ""


def _checked(e: Explanation, found: Checks, left: str) -> str:
    colour = {"pass": "good", "fail": "bad", "disagree": "bad"}
    verdict = (
        f"holds in every check {'made' if left else 'that applies'}" if found.passed else "does not hold in every check"
    )
    lines = "".join(
        f"<tr><td>{escape(c.name)}</td><td class='word {colour.get(c.verdict, 'faint')}'>{escape(c.verdict)}</td>"
        f"<td class=whole>{'' if c.number is None else escape(number(c.number, 3))}</td><td class=text>{escape(c.reason)}</td></tr>"
        for c in found.rows
    )
    head = "<tr><th>Check</th><th class=word>Verdict</th><th>Number</th><th class=text>Why</th></tr>"
    rows = f"<p class=faint>{found.about['rows']} of {found.about['rows explained']:,} rows checked, seed {found.about['seed']}.</p>"
    return f"<h3>{escape(e.evidence.method)}: {verdict}</h3>{rows}{left}<div class=scroll><table><thead>{head}</thead><tbody>{lines}</tbody></table></div>"


def _evidence(e: Explanation) -> str:
    return f"<h3>{escape(e.evidence.method)}</h3>" + table(("What", "Is"), e.evidence.lines(), text=(1,))
